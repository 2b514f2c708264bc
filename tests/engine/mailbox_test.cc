#include "engine/mailbox.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <thread>

#include "engine/fake_ring.h"
#include "engine/random.h"

namespace ringtalk::engine {
namespace {

struct Event {
  uint32_t kind;  // 0 consequence, 1 request, 2 reply
  uint32_t from;
  uint64_t number;
};

struct Lanes {
  explicit Lanes(uint32_t shards) : matrix(shards) {
    for (uint32_t i = 0; i < shards; ++i) {
      rings.push_back(
          std::make_unique<FakeRing>(world, FakeRing::Options{.slots = 1, .buffers = 1}));
      matrix.reader(i).bell    = &rings[i]->bell();
      matrix.reader(i).bell_fd = rings[i]->bell_fd();
      boxes.push_back(std::make_unique<Mailbox<Event>>(matrix, i));
    }
  }
  FakeClock clock;
  FakeWorld world{clock};
  LaneMatrix<Event> matrix;
  std::vector<std::unique_ptr<FakeRing>> rings;
  std::vector<std::unique_ptr<Mailbox<Event>>> boxes;
};

TEST(Mailbox, SlotsOfALane) {
  EXPECT_EQ(lane_slots(1), 16384u);
  EXPECT_EQ(lane_slots(2), 8192u);
  EXPECT_EQ(lane_slots(64), 256u);
  EXPECT_EQ(lane_slots(256), 64u);
  EXPECT_EQ(lane_slots(1000), 64u);
  for (uint32_t n = 1; n < 300; ++n) EXPECT_TRUE(std::has_single_bit(lane_slots(n)));
}

// The reader never drains: whatever is asked for first, admission ends before the lane does, and every
// request that was let in can still be answered.
TEST(Mailbox, RepliesAlwaysFit) {
  for (const uint32_t shards : {2u, 3u, 64u, 256u})
    for (const bool requests_first : {true, false}) {
      Lanes lanes(shards);
      Mailbox<Event>&a = *lanes.boxes[0], &b = *lanes.boxes[shards - 1];
      const uint32_t to_b = shards - 1;
      // a asks b as often as it may; b hears it all.
      uint64_t asked = 0;
      while (a.open_request(to_b)) {
        a.push(to_b, {1, 0, asked});
        ++asked;
      }
      EXPECT_EQ(asked, a.credits_max());
      EXPECT_LE(asked, lane_slots(shards) / 4);
      a.flush(*lanes.rings[0]);
      uint64_t heard = 0;
      b.drain([&](uint32_t from, const Event&) { heard += from == 0; });
      EXPECT_EQ(heard, asked);
      // b fills its lane to a with its own work, in either way; a drains nothing.
      uint64_t own    = 0;
      const auto fill = [&](bool requests) {
        while (requests ? b.open_request(0) : b.reserve(0)) {
          b.push(0, {requests ? 1u : 0u, to_b, own});
          ++own;
        }
      };
      fill(requests_first);
      fill(!requests_first);
      EXPECT_FALSE(b.reserve(0));
      // All answers still fit (an assertion inside would say otherwise).
      for (uint64_t i = 0; i < asked; ++i) b.reply(0, {2, to_b, i});
      b.flush(*lanes.rings[to_b]);
      uint64_t got = 0;
      while (a.inbound_waits())
        a.drain([&](uint32_t from, const Event& event) {
          EXPECT_EQ(from, to_b);
          ++got;
          if (event.kind == 2) a.close_request(from);
        });
      EXPECT_EQ(got, own + asked);
      EXPECT_TRUE(a.open_request(to_b)) << "credits came back";
      EXPECT_TRUE(b.reserve(0)) << "so did the room";
      a.unreserve(to_b);
      b.unreserve(0);
    }
}

// Reserved places are kept, whoever else asks, and given back unused.
TEST(Mailbox, AReservationIsAPlace) {
  Lanes lanes(2);
  Mailbox<Event>& a = *lanes.boxes[0];
  uint32_t places   = 0;
  while (a.reserve(1)) ++places;
  EXPECT_EQ(places, lane_slots(2) - a.credits_max());
  for (uint32_t i = 0; i < 10; ++i) a.unreserve(1);
  for (uint32_t i = 0; i < 10; ++i) EXPECT_TRUE(a.reserve(1));
  EXPECT_FALSE(a.reserve(1));
  EXPECT_FALSE(a.open_request(1));
  for (uint32_t i = 0; i < places; ++i) a.push(1, {0, 0, i});
  EXPECT_FALSE(a.reserve(1));
}

// All shards at once at random: everything sent arrives, in order per lane, and nobody asserts.
TEST(Mailbox, RandomTrafficIsCompleteAndInOrder) {
  for (const uint32_t shards : {2u, 5u, 64u, 130u}) {
    Lanes lanes(shards);
    SeededRandom random(shards);
    std::map<std::pair<uint32_t, uint32_t>, uint64_t> sent, seen;
    std::map<std::pair<uint32_t, uint32_t>, uint64_t> open;
    const auto put = [&](uint32_t from, uint32_t to, uint32_t kind) {
      const Event event{kind, from, ++sent[{from, to}]};
      if (kind == 2) {
        lanes.boxes[from]->reply(to, event);
      } else {
        lanes.boxes[from]->push(to, event);
      }
    };
    uint64_t answers = 0, requests = 0;
    const auto drain = [&](uint32_t at) {
      lanes.boxes[at]->drain([&](uint32_t from, const Event& event) {
        ASSERT_EQ(event.from, from);
        const uint64_t number = event.number;
        ASSERT_EQ(number, (++seen[{from, at}])) << "lost, doubled or out of order";
        if (event.kind == 1) put(at, from, 2);
        if (event.kind == 2) {
          lanes.boxes[at]->close_request(from);
          ++answers;
        }
      });
    };
    for (int i = 0; i < 60'000; ++i) {
      const auto from = static_cast<uint32_t>(random.below(shards));
      const auto to   = static_cast<uint32_t>((from + 1 + random.below(shards - 1)) % shards);
      if (random.below(3) && lanes.boxes[from]->open_request(to)) {
        ++requests;
        put(from, to, 1);
      } else if (lanes.boxes[from]->reserve(to)) {
        put(from, to, 0);
      }
      if (random.below(10) == 0) lanes.boxes[from]->flush(*lanes.rings[from]);
      if (random.below(200) == 0) drain(to);
    }
    for (int round = 0; round < 200; ++round)
      for (uint32_t at = 0; at < shards; ++at) {
        drain(at);
        lanes.boxes[at]->flush(*lanes.rings[at]);
      }
    EXPECT_EQ(sent, seen);
    EXPECT_EQ(answers, requests);
    for (auto& box : lanes.boxes) EXPECT_FALSE(box->inbound_waits());
  }
}

TEST(Mailbox, OnlyASleeperIsRungAndOnlyOnce) {
  Lanes lanes(2);
  const auto send = [&] {
    ASSERT_TRUE(lanes.boxes[0]->reserve(1));
    lanes.boxes[0]->push(1, {0, 0, 0});
    lanes.boxes[0]->flush(*lanes.rings[0]);
  };
  send();
  EXPECT_EQ(lanes.rings[1]->bells(), 0u) << "awake";
  EXPECT_TRUE(lanes.boxes[1]->inbound_waits()) << "who is about to sleep looks here";
  lanes.rings[1]->bell().fall_asleep();
  send();
  send();
  EXPECT_EQ(lanes.rings[1]->bells(), 1u);
  EXPECT_EQ(lanes.boxes[1]->drain([](uint32_t, const Event&) {}), 3u);
  EXPECT_FALSE(lanes.boxes[1]->inbound_waits());
}

TEST(Mailbox, WhoWasRefusedRoomIsWokenWhenThereIsSome) {
  Lanes lanes(2);
  Mailbox<Event>&writer = *lanes.boxes[0], &reader = *lanes.boxes[1];
  const auto take = [&] {
    const uint32_t taken = reader.drain([](uint32_t, const Event&) {});
    reader.flush(*lanes.rings[1]);
    return taken;
  };
  for (int round = 0; round < 3; ++round) {
    while (writer.reserve(1)) writer.push(1, {0, 0, 0});
    writer.flush(*lanes.rings[0]);
    lanes.rings[0]->bell().fall_asleep();
    const uint64_t before = lanes.rings[0]->bells();
    EXPECT_FALSE(writer.inbound_waits());
    EXPECT_GT(take(), 0u);
    EXPECT_EQ(lanes.rings[0]->bells(), before + 1);
    EXPECT_TRUE(writer.inbound_waits()) << "who is about to sleep looks here";
    EXPECT_EQ(writer.drain([](uint32_t, const Event&) {}), 0u) << "a ring, and nothing in the lane";
    EXPECT_FALSE(writer.inbound_waits());
    // Nobody waits any more: nobody is rung.
    lanes.rings[0]->bell().fall_asleep();
    ASSERT_TRUE(writer.reserve(1));
    writer.push(1, {0, 0, 0});
    writer.flush(*lanes.rings[0]);
    EXPECT_EQ(take(), 1u);
    EXPECT_EQ(lanes.rings[0]->bells(), before + 1);
  }
}

TEST(Mailbox, ADrainIsBoundedAndRemembersTheRest) {
  Lanes lanes(3);
  const uint32_t slots = lane_slots(3);
  uint32_t taken       = 0;
  for (int round = 0; round < 2; ++round) {
    while (lanes.boxes[0]->reserve(1)) lanes.boxes[0]->push(1, {0, 0, 0});
    lanes.boxes[0]->flush(*lanes.rings[0]);
    // While it drains, the writer goes on and on.
    taken = lanes.boxes[1]->drain([&](uint32_t, const Event&) {
      if (lanes.boxes[0]->reserve(1)) lanes.boxes[0]->push(1, {0, 0, 0});
    });
    EXPECT_LE(taken, slots);
    EXPECT_TRUE(lanes.boxes[1]->inbound_waits());
  }
}

// Real threads that never sleep: the race detector watches lanes, bitmap and bells.
class QuietBell final : public Bell {
  void wake() override {}
};

TEST(Mailbox, Threads) {
  constexpr uint32_t kShards = 3, kEach = 20'000;
  LaneMatrix<Event> matrix(kShards);
  std::array<QuietBell, kShards> bells;
  std::vector<std::thread> threads;
  std::array<uint64_t, kShards> answered{};
  std::atomic<uint32_t> finished{0};
  for (uint32_t i = 0; i < kShards; ++i) {
    matrix.reader(i).bell    = &bells[i];
    matrix.reader(i).bell_fd = static_cast<int>(i);
  }
  for (uint32_t self = 0; self < kShards; ++self)
    threads.emplace_back([&, self] {
      FakeClock own_clock;
      FakeWorld world(own_clock);
      FakeRing ring(world, {.slots = 1, .buffers = 1});
      Mailbox<Event> box(matrix, self);
      uint64_t asked = 0;
      while (finished.load() < kShards) {
        box.drain([&](uint32_t from, const Event& event) {
          if (event.kind == 1) box.reply(from, {2, self, event.number});
          if (event.kind == 2) {
            box.close_request(from);
            if (++answered[self] == kEach) finished.fetch_add(1);
          }
        });
        const auto to = static_cast<uint32_t>((self + 1 + asked % (kShards - 1)) % kShards);
        for (int n = 0; n < 50 && asked < kEach && box.open_request(to); ++n) {
          box.push(to, {1, self, asked});
          ++asked;
        }
        box.flush(ring);
        std::this_thread::yield();
      }
    });
  for (auto& thread : threads) thread.join();
  for (const uint64_t count : answered) EXPECT_EQ(count, kEach);
}

}  // namespace
}  // namespace ringtalk::engine
