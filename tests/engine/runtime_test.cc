#include "engine/runtime.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>

#include "engine/mailbox.h"

namespace ringtalk::engine {
namespace {

RingConfig small() {
  return {.sq_entries = 64, .cq_entries = 256, .slots = 8, .buffers = 8, .buffer_bytes = 1024};
}

#define SKIP_WITHOUT_URING() \
  if (!UringRing::make(small())) GTEST_SKIP() << "this kernel forbids io_uring"

TEST(Runtime, EveryBodyRunsOnceBehindReady) {
  SKIP_WITHOUT_URING();
  for (const uint32_t shards : {1u, 2u, 5u}) {
    Runtime runtime;
    std::atomic<bool> ready{false};
    std::atomic<uint32_t> early{0}, ran{0};
    std::set<int> fds;
    const auto started = runtime.start(
        shards, small(),
        [&](Runtime::Seat& seat) {
          early += !ready.load();
          EXPECT_LT(seat.shard, shards);
          EXPECT_EQ(seat.ring.bell_fd(), runtime.bell_fd(seat.shard));
          EXPECT_EQ(&seat.bell, &runtime.bell(seat.shard));
          ++ran;
        },
        [&] {
          for (uint32_t i = 0; i < shards; ++i) fds.insert(runtime.bell_fd(i));
          ready = true;
        });
    ASSERT_TRUE(started);
    runtime.join();
    EXPECT_EQ(ran, shards);
    EXPECT_EQ(early, 0u);
    EXPECT_EQ(fds.size(), shards);
    EXPECT_FALSE(fds.contains(-1));
  }
}

TEST(Runtime, ARingThatCannotBeMadeIsReportedAndNoBodyRuns) {
  SKIP_WITHOUT_URING();
  Runtime runtime;
  std::atomic<uint32_t> ran{0};
  RingConfig bad     = small();
  bad.sq_entries     = 0;
  const auto started = runtime.start(3, bad, [&](Runtime::Seat&) { ++ran; }, [&] { ran += 100; });
  EXPECT_FALSE(started);
  EXPECT_EQ(ran, 0u);
}

struct Event {
  uint32_t from;
  uint32_t hop;
};

// A token runs round all shards, each asleep until it is rung, many times; several at once.
TEST(Runtime, AllShardsRingEachOther) {
  SKIP_WITHOUT_URING();
  constexpr uint32_t kShards = 4, kHops = 4000, kTokens = 3;
  LaneMatrix<Event> lanes(kShards);
  Runtime runtime;
  std::atomic<uint32_t> arrived{0};

  struct Life final : LoopClient {
    Life(Mailbox<Event>& b, Ring& r, std::atomic<uint32_t>& a) : box(b), ring(r), arrived(a) {}
    void on_turn() override {
      box.drain([&](uint32_t from, const Event& event) {
        EXPECT_EQ(event.from, from);
        if (event.hop == kHops) {
          ++arrived;
          return;
        }
        pass_on(event.hop + 1);
      });
    }
    void pass_on(uint32_t hop) {
      // Not always the neighbour: every pair of shards rings.
      const uint32_t to = (box.self() + 1 + hop % (kShards - 1)) % kShards;
      RT_ASSERT(box.reserve(to));
      box.push(to, {box.self(), hop});
    }
    void on_turn_end() override { box.flush(ring); }
    bool work_waits() override { return box.inbound_waits(); }
    Mailbox<Event>& box;
    Ring& ring;
    std::atomic<uint32_t>& arrived;
  };

  const auto started = runtime.start(
      kShards, small(),
      [&](Runtime::Seat& seat) {
        Mailbox<Event> box(lanes, seat.shard);
        Life life(box, seat.ring, arrived);
        seat.loop.set_client(life);
        if (seat.shard == 0)
          for (uint32_t i = 0; i < kTokens; ++i) life.pass_on(1);
        while (arrived.load() < kTokens) seat.loop.turn();
        for (uint32_t i = 0; i < kShards; ++i) runtime.bell(i).ring();
      },
      [&] {
        for (uint32_t i = 0; i < kShards; ++i) {
          lanes.reader(i).bell    = &runtime.bell(i);
          lanes.reader(i).bell_fd = runtime.bell_fd(i);
        }
      });
  ASSERT_TRUE(started);
  runtime.join();
  EXPECT_EQ(arrived, kTokens);
  // Most turns slept in between: a lost bell would have cost each a second.
  uint64_t sleeps = 0;
  for (uint32_t i = 0; i < kShards; ++i) sleeps += runtime.metrics(i).value(Counter::loop_sleeps);
  EXPECT_LT(sleeps, uint64_t{kHops} * kTokens * 3);
}

// A writer fills its lane, is refused room, and sleeps; nothing comes back to it but the room.
TEST(Runtime, RoomInALaneWakesTheWriter) {
  SKIP_WITHOUT_URING();
  constexpr uint64_t kEvents = 60ull * lane_slots(2);
  LaneMatrix<Event> lanes(2);
  Runtime runtime;
  std::atomic<bool> done{false};

  struct Writer final : LoopClient {
    Writer(Mailbox<Event>& b, Ring& r) : box(b), ring(r) {}
    void on_turn() override {
      box.drain([](uint32_t, const Event&) {});
      while (sent < kEvents && box.reserve(1)) box.push(1, {0, static_cast<uint32_t>(++sent)});
      refused += sent < kEvents;
    }
    void on_turn_end() override { box.flush(ring); }
    bool work_waits() override { return box.inbound_waits(); }
    Mailbox<Event>& box;
    Ring& ring;
    uint64_t sent    = 0;
    uint64_t refused = 0;
  };
  struct Reader final : LoopClient {
    Reader(Mailbox<Event>& b, Ring& r, std::atomic<bool>& d) : box(b), ring(r), done(d) {}
    void on_turn() override {
      box.drain([&](uint32_t, const Event& event) { EXPECT_EQ(event.hop, ++seen); });
      if (seen == kEvents) done = true;
    }
    void on_turn_end() override { box.flush(ring); }
    bool work_waits() override { return box.inbound_waits(); }
    Mailbox<Event>& box;
    Ring& ring;
    std::atomic<bool>& done;
    uint32_t seen = 0;
  };

  uint64_t refused = 0;
  const auto live  = [&](Runtime::Seat& seat, LoopClient& client) {
    seat.loop.set_client(client);
    while (!done) seat.loop.turn();
    for (uint32_t i = 0; i < 2; ++i) runtime.bell(i).ring();
  };
  RealClock clock;
  const uint64_t began = clock.now_ns();
  const auto started   = runtime.start(
      2, small(),
      [&](Runtime::Seat& seat) {
        Mailbox<Event> box(lanes, seat.shard);
        if (seat.shard == 0) {
          Writer writer(box, seat.ring);
          live(seat, writer);
          refused = writer.refused;
        } else {
          Reader reader(box, seat.ring, done);
          live(seat, reader);
        }
      },
      [&] {
        for (uint32_t i = 0; i < 2; ++i) {
          lanes.reader(i).bell    = &runtime.bell(i);
          lanes.reader(i).bell_fd = runtime.bell_fd(i);
        }
      });
  ASSERT_TRUE(started);
  runtime.join();
  EXPECT_GE(refused, 60u);
  // A sleep ends by itself after a second: sixty of them, if nobody rang.
  EXPECT_LT(clock.now_ns() - began, 30 * kNsPerS);
}

// A foreign thread wakes sleeping shards; each wake-up is one turn, not a second of waiting.
TEST(Runtime, AForeignThreadWakesEveryShard) {
  SKIP_WITHOUT_URING();
  constexpr uint32_t kShards = 3;
  Runtime runtime;
  struct Quiet final : LoopClient {
    void on_turn() override {}
    void on_turn_end() override {}
    bool work_waits() override { return stop; }
    std::atomic<bool> stop{false};
  };
  std::array<Quiet, kShards> quiet;
  std::array<std::atomic<uint64_t>, kShards> turns{};
  const auto started = runtime.start(
      kShards, small(),
      [&](Runtime::Seat& seat) {
        seat.loop.set_client(quiet[seat.shard]);
        while (!quiet[seat.shard].stop) {
          seat.loop.turn();
          turns[seat.shard].fetch_add(1);
          turns[seat.shard].notify_all();
        }
      },
      [] {});
  ASSERT_TRUE(started);
  RealClock clock;
  const uint64_t before = clock.now_ns();
  for (int i = 0; i < 200; ++i)
    for (uint32_t s = 0; s < kShards; ++s) {
      const uint64_t seen = turns[s].load();
      runtime.bell(s).ring();
      turns[s].wait(seen);
    }
  EXPECT_LT(clock.now_ns() - before, 100 * kNsPerS) << "600 seconds if nobody hears the bell";
  for (uint32_t s = 0; s < kShards; ++s) {
    quiet[s].stop = true;
    runtime.bell(s).ring();
  }
  runtime.join();
}

}  // namespace
}  // namespace ringtalk::engine
