#include "engine/loop.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "engine/fake_ring.h"

namespace ringtalk::engine {
namespace {

class Journal final : public LoopClient {
 public:
  void on_turn() override {
    text += 't';
    if (during) during();
  }
  void on_turn_end() override { text += 'e'; }
  bool work_waits() override {
    ++asked;
    return waits;
  }
  uint64_t wake_ns() override { return wake; }
  std::string text;
  std::function<void()> during;
  int asked     = 0;
  bool waits    = false;
  uint64_t wake = UINT64_MAX;
};

// A ring that only remembers how long it was told to wait, and can complete something meanwhile.
class WaitingRing final : public Ring {
 public:
  void accept(int, Completion&) override {}
  void connect(const Dial&, Completion&) override {}
  void recv(Slot, Completion&) override {}
  void recv_multishot(Slot, Completion&) override {}
  void send(Slot, Bytes, Completion&) override {}
  void sendv(Slot, std::span<const iovec>, Completion&) override {}
  void shutdown(Slot, Completion&) override {}
  void close(Slot, Completion&) override {}
  void cancel(Completion&, Completion&) override {}
  void pass(Slot, int, Completion&) override {}
  uint32_t peer_address(Slot) override { return 0; }
  MutableBytes buffer(uint16_t) override { return {}; }
  void give_back(uint16_t) override {}
  uint32_t buffers_lent() const override { return 0; }
  void read(int, MutableBytes, uint64_t, Completion&) override {}
  void write_sync(int, Bytes, uint64_t, Completion&) override {}
  void ring_bell(int) override {}
  int bell_fd() const override { return -1; }
  uint32_t turn(uint64_t wait_ns) override {
    waited = wait_ns;
    if (during) during();
    return 0;
  }
  uint32_t queued() const override { return 0; }

  uint64_t waited = 0;
  std::function<void()> during;
};

class TestBell final : public Bell {
 public:
  int rung = 0;

 protected:
  void wake() override { ++rung; }
};

struct LoopTest : testing::Test {
  LoopTest() { loop.set_client(journal); }
  FakeClock clock;
  WaitingRing ring;
  TestBell bell;
  Metrics metrics;
  Journal journal;
  Loop loop{ring, clock, bell, metrics};
};

TEST_F(LoopTest, SleepsNoLongerThanItsClientAsks) {
  journal.wake = clock.now_ns() + 70'000;
  loop.turn();
  EXPECT_EQ(ring.waited, 70'000u) << "finer than the timers' tick";
  journal.wake = clock.now_ns() - 1;
  loop.turn();
  EXPECT_EQ(ring.waited, 0u) << "already past";
}

// A turn may be long because the machine gave its core away: only processor time is the shard's own.
TEST_F(LoopTest, TellsItsOwnLongTurnsFromStolenOnes) {
  const auto turn = [&](uint64_t stolen_ns, uint64_t worked_ns) {
    journal.during = [=, this] {
      clock.advance(stolen_ns);
      clock.work(worked_ns);
    };
    loop.turn();
    return std::pair(metrics.value(Counter::loop_long_turns),
                     metrics.value(Counter::loop_held_turns));
  };
  EXPECT_EQ(turn(0, kNsPerMs), std::pair(0ul, 0ul));
  EXPECT_EQ(turn(5 * kNsPerMs, kNsPerMs), std::pair(1ul, 0ul));
  EXPECT_EQ(turn(0, 3 * kNsPerMs), std::pair(2ul, 1ul));
  for (int i = 0; i < 100; ++i) turn(0, kNsPerMs / 10);
  EXPECT_EQ(turn(5 * kNsPerMs, kNsPerMs), std::pair(3ul, 1ul))
      << "what was before is not this turn's";
}

TEST_F(LoopTest, SleepsOnlyWhenNothingWaits) {
  loop.turn();
  EXPECT_EQ(ring.waited, Loop::kSleepNsMax) << "no timer: at most this long";
  EXPECT_EQ(journal.text, "te");
  journal.waits = true;
  loop.turn();
  EXPECT_EQ(ring.waited, 0u);
  journal.waits = false;
  loop.turn(/*may_sleep=*/false);
  EXPECT_EQ(ring.waited, 0u);
  Timer timer([](Timer&) noexcept {});
  loop.timers().arm(timer, clock.now_ns() + 100 * kNsPerMs);
  loop.turn();
  EXPECT_GT(ring.waited, 80 * kNsPerMs);
  EXPECT_LE(ring.waited, 116 * kNsPerMs);
  loop.timers().cancel(timer);
}

// The bell's protocol: asleep before the last look at the queues, awake after the wait.
TEST_F(LoopTest, LooksAtTheQueuesAfterSayingItSleeps) {
  ring.during = [&] {
    bell.ring();
    bell.ring();
  };
  loop.turn();
  EXPECT_EQ(bell.rung, 1) << "once per sleep";
  ring.during = nullptr;
  bell.ring();
  EXPECT_EQ(bell.rung, 1) << "awake: no bell";
  ring.during = [&] { bell.ring(); };
  loop.turn(/*may_sleep=*/false);
  EXPECT_EQ(bell.rung, 1) << "a loop that does not sleep needs none";
}

TEST_F(LoopTest, TheClockIsFreshForCompletionsAndStandsStillWithinATurn) {
  uint64_t seen = 0;
  ring.during   = [&] {
    clock.advance(3 * kNsPerS);
    seen = loop.now_ns();
  };
  loop.turn();
  EXPECT_EQ(seen, clock.now_ns());
  ring.during = nullptr;
  loop.turn();
  const uint64_t now = loop.now_ns();
  clock.advance(kNsPerS);
  EXPECT_EQ(loop.now_ns(), now);
  EXPECT_EQ(loop.wall_s(), loop.wall_ns() / kNsPerS);
}

TEST_F(LoopTest, TimersFireInTheTurnTheyAreDue) {
  struct Mark : Timer {
    explicit Mark(Journal& j)
        : Timer([](Timer& t) noexcept { static_cast<Mark&>(t).journal.text += '!'; }), journal(j) {}
    Journal& journal;
  } mark(journal);
  loop.timers().arm(mark, clock.now_ns() + 50 * kNsPerMs);
  loop.turn();
  EXPECT_EQ(journal.text, "te");
  ring.during = [&] { clock.advance(70 * kNsPerMs); };
  loop.turn();
  EXPECT_EQ(journal.text, "tet!e") << "behind on_turn, before on_turn_end";
}

}  // namespace
}  // namespace ringtalk::engine
