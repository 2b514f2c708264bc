// Method: the wheel against a map of deadlines under random operations. The model says which tick
// each timer must fire at; every difference is a failure. The seed is RINGTALK_TEST_SEED.
#include "engine/timer_wheel.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/random.h"

namespace ringtalk::engine {
namespace {

constexpr uint64_t kTick  = 8 * kNsPerMs;
constexpr uint64_t kStart = 12'345'678'901;

struct Probe : Timer {
  Probe() : Timer(&Probe::call) {}
  static void call(Timer& timer) noexcept {
    Probe& probe = static_cast<Probe&>(timer);
    ++probe.fired;
    if (probe.then) probe.then();
  }
  int fired = 0;
  std::function<void()> then;
};

TEST(TimerWheel, NeverEarlyAtMostOneTickLate) {
  for (uint64_t delay : {uint64_t{1}, kTick - 1, kTick, kTick + 1, 63 * kTick, 64 * kTick,
                         65 * kTick, 65'535 * kTick, 65'536 * kTick, 65'537 * kTick + 5,
                         (uint64_t{1} << 26) * kTick, (uint64_t{1} << 26) * kTick + 77}) {
    for (uint64_t offset : {uint64_t{0}, uint64_t{1}, 61 * kTick + 3, 70'000 * kTick}) {
      TimerWheel wheel(kStart);
      wheel.advance(kStart + offset);
      Probe probe;
      const uint64_t deadline = kStart + offset + delay;
      wheel.arm(probe, deadline);
      wheel.advance(deadline - 1);
      EXPECT_EQ(probe.fired, 0) << delay << " " << offset;
      EXPECT_LE(wheel.next_due_ns(), deadline + kTick);
      wheel.advance(deadline + kTick);
      EXPECT_EQ(probe.fired, 1) << delay << " " << offset;
      EXPECT_FALSE(probe.armed());
      EXPECT_EQ(wheel.next_due_ns(), TimerWheel::kNever);
    }
  }
}

TEST(TimerWheel, FollowingTheHintAloneFiresOnTime) {
  for (uint64_t ticks : {1ull, 100ull, 70'000ull, 1ull << 27, 1ull << 31, (1ull << 32) + 12'345}) {
    TimerWheel wheel(kStart);
    Probe probe;
    wheel.arm(probe, kStart + ticks * kTick);
    int turns    = 0;
    uint64_t now = kStart;
    for (; probe.fired == 0 && turns < 100; ++turns) wheel.advance(now = wheel.next_due_ns());
    EXPECT_EQ(probe.fired, 1);
    EXPECT_EQ(now, kStart + ticks * kTick);
    EXPECT_LE(turns, 8) << "a far timer costs a few placings, not a turn per tick";
  }
}

TEST(TimerWheel, FarthestDeadlineIsKeptNotFired) {
  TimerWheel wheel(kStart);
  Probe probe;
  wheel.arm(probe, UINT64_MAX);
  wheel.advance(kStart + (uint64_t{1} << 40) * kTick);
  EXPECT_EQ(probe.fired, 0);
  wheel.check_invariants();
  wheel.cancel(probe);
  EXPECT_EQ(wheel.armed_count(), 0u);
}

TEST(TimerWheel, FiresInOrderOfTick) {
  TimerWheel wheel(kStart);
  std::vector<int> order;
  std::vector<Probe> probes(200);
  for (int i = 0; i < 200; ++i) {
    probes[i].then = [&order, i] { order.push_back(i); };
    wheel.arm(probes[i], kStart + static_cast<uint64_t>(199 - i) * 97 * kTick + kTick);
  }
  wheel.advance(kStart + 100'000 * kTick);
  ASSERT_EQ(order.size(), 200u);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(order[i], 199 - i);
}

TEST(TimerWheel, CallbackMayRearmItselfWithoutRunningTwiceInATick) {
  TimerWheel wheel(kStart);
  Probe probe;
  probe.then = [&] { wheel.arm(probe, 0); };
  wheel.arm(probe, 0);
  wheel.advance(kStart + 10 * kTick);
  EXPECT_EQ(probe.fired, 10);
}

TEST(TimerWheel, CallbackMayCancelItsNeighboursAndDestroyItself) {
  TimerWheel wheel(kStart);
  auto probes = std::make_unique<std::vector<std::unique_ptr<Probe>>>();
  int fired   = 0;
  for (int i = 0; i < 3; ++i) probes->push_back(std::make_unique<Probe>());
  for (auto& probe : *probes) {
    wheel.arm(*probe, kStart + 5 * kTick);
    probe->then = [&] {
      ++fired;
      for (auto& other : *probes) wheel.cancel(*other);
    };
  }
  wheel.advance(kStart + 6 * kTick);
  EXPECT_EQ(fired, 1) << "the others were due in the same tick and still unfired";
  auto* own = new Probe;
  own->then = [&] {
    ++fired;
    delete own;
  };
  wheel.arm(*own, kStart + 9 * kTick);
  wheel.advance(kStart + 20 * kTick);
  EXPECT_EQ(fired, 2);
  EXPECT_EQ(wheel.armed_count(), 0u);
}

TEST(TimerWheel, ABoundedTurnContinuesWhereItStopped) {
  TimerWheel wheel(kStart);
  std::vector<Probe> probes(1000);
  for (Probe& probe : probes) wheel.arm(probe, kStart + 3 * kTick);
  const uint64_t now = kStart + 50 * kTick;
  uint32_t fired     = 0;
  for (int turn = 0; turn < 10; ++turn) {
    EXPECT_LE(wheel.next_due_ns(), now);
    const uint32_t count = wheel.advance(now, 100);
    EXPECT_EQ(count, 100u);
    fired += count;
    wheel.check_invariants();
  }
  EXPECT_EQ(fired, 1000u);
  EXPECT_EQ(wheel.advance(now, 100), 0u);
}

TEST(TimerWheel, AClockSetBackIsHarmless) {
  TimerWheel wheel(kStart);
  Probe probe;
  wheel.arm(probe, kStart + 10 * kTick);
  wheel.advance(kStart + 5 * kTick);
  wheel.advance(kStart);
  wheel.advance(0);
  EXPECT_EQ(probe.fired, 0);
  wheel.advance(kStart + 10 * kTick);
  EXPECT_EQ(probe.fired, 1);
}

// Counts comparisons of time, not time itself: a turn with nothing due must not look at timers.
TEST(TimerWheel, ManyIdleTimersCostFewMoves) {
  TimerWheel wheel(kStart);
  std::vector<Probe> probes(100'000);
  SeededRandom random(5);
  for (Probe& probe : probes) wheel.arm(probe, kStart + 100 * kNsPerS + random.below(20 * kNsPerS));
  uint64_t now  = kStart;
  uint32_t wake = 0;
  while (wheel.next_due_ns() <= kStart + 100 * kNsPerS) {
    wheel.advance(now = wheel.next_due_ns());
    ++wake;
  }
  EXPECT_LE(wake, 2u) << "nothing was due for 100 s";
  for (Probe& probe : probes) ASSERT_EQ(probe.fired, 0);
  wheel.advance(kStart + 121 * kNsPerS);
  for (Probe& probe : probes) ASSERT_EQ(probe.fired, 1);
}

class Model {
 public:
  explicit Model(uint64_t seed) : random_(seed), wheel_(kStart), probes_(300), due_(300, 0) {
    for (size_t i = 0; i < probes_.size(); ++i) probes_[i].then = [this, i] { on_fire(i); };
  }

  void run(int steps) {
    for (int step = 0; step < steps; ++step) {
      switch (random_.below(8)) {
        case 0:
        case 1:
        case 2: arm(random_.below(probes_.size())); break;
        case 3: cancel(random_.below(probes_.size())); break;
        case 4:
          advance(wheel_.next_due_ns() == TimerWheel::kNever ? now_ : wheel_.next_due_ns());
          break;
        default: advance(now_ + random_distance()); break;
      }
      if (step % 64 == 0) wheel_.check_invariants();
    }
    draining_ = true;
    advance(now_ + (uint64_t{1} << 34) * kTick);
    EXPECT_EQ(wheel_.armed_count(), 0u);
    EXPECT_GT(fired_, 100u);
  }

 private:
  // Ticks of every magnitude, so that every level and every border between levels is met.
  uint64_t random_distance() {
    const uint64_t magnitude = random_.below(33);
    return random_.below((uint64_t{1} << magnitude) * 2) * kTick / 2 + random_.below(kTick);
  }

  void arm(size_t i) {
    const uint64_t deadline = now_ + random_distance();
    wheel_.arm(probes_[i], deadline);
    const uint64_t exact = (deadline - kStart + kTick - 1) / kTick;
    due_[i]              = std::max(exact, current_tick_ + 1);
    ASSERT_TRUE(probes_[i].armed());
  }

  void cancel(size_t i) {
    wheel_.cancel(probes_[i]);
    due_[i] = 0;
    ASSERT_FALSE(probes_[i].armed());
  }

  void advance(uint64_t now) {
    now_ = std::max(now, now_);
    wheel_.advance(now_);
    current_tick_ = (now_ - kStart) / kTick;
    last_tick_    = 0;
    for (size_t i = 0; i < due_.size(); ++i)
      ASSERT_TRUE(due_[i] == 0 || due_[i] > current_tick_) << "timer " << i << " did not fire";
  }

  void on_fire(size_t i) {
    ASSERT_NE(due_[i], 0u) << "fired unarmed";
    ASSERT_LE(due_[i] * kTick + kStart, now_) << "fired early";
    ASSERT_GE(due_[i], last_tick_) << "out of order";
    current_tick_ = last_tick_ = due_[i];
    due_[i]                    = 0;
    ++fired_;
    if (draining_) return;
    if (random_.below(4) == 0) arm(random_.below(probes_.size()));
    if (random_.below(4) == 0) cancel(random_.below(probes_.size()));
  }

  SeededRandom random_;
  TimerWheel wheel_;
  uint64_t now_          = kStart;
  uint64_t current_tick_ = 0;  // the tick being fired, else the last one of the turn
  uint64_t last_tick_    = 0;
  uint64_t fired_        = 0;
  bool draining_         = false;  // callbacks arm nothing new
  std::vector<Probe> probes_;
  std::vector<uint64_t> due_;  // tick; 0: not armed
};

TEST(TimerWheel, EqualsTheModelUnderRandomOperations) {
  const char* given   = std::getenv("RINGTALK_TEST_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 20'240'601;
  for (uint64_t round = 0; round < 20; ++round) {
    SCOPED_TRACE("RINGTALK_TEST_SEED=" + std::to_string(seed + round));
    Model(seed + round).run(5'000);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace ringtalk::engine
