#include "store/redis/event_lane.h"

#include <gtest/gtest.h>

#include <thread>

#include "engine/random.h"

namespace ringtalk::store::redis {
namespace {

Event numbered(uint32_t number) { return {.msg_id = number, .kind = Event::Kind::stored}; }

TEST(EventLane, WhatDoesNotFitIsSaidToBeForgotten) {
  EventLane lane(8);
  for (uint32_t i = 1; i <= 7; ++i) EXPECT_TRUE(lane.push(numbered(i)));
  for (uint32_t i = 0; i < 100; ++i) EXPECT_FALSE(lane.push(numbered(99)));
  Event event;
  for (uint32_t i = 1; i <= 7; ++i) {
    ASSERT_TRUE(lane.pop(event));
    EXPECT_EQ(event.msg_id, i);
  }
  ASSERT_TRUE(lane.pop(event));
  EXPECT_EQ(event.kind, Event::Kind::forgotten);
  EXPECT_FALSE(lane.pop(event));
  EXPECT_TRUE(lane.push(numbered(8))) << "it goes on";
}

// After everything was popped, what was pushed last without being popped is followed by `forgotten`.
TEST(EventLane, NothingIsForgottenInSilence) {
  engine::SeededRandom random(3);
  for (const uint32_t slots : {2u, 4u, 8u}) {
    EventLane lane(slots);
    uint32_t next = 0, seen = 0;
    bool owed = false;  // something was forgotten, and not said yet
    Event event;
    for (uint32_t step = 0; step < 20'000; ++step) {
      if (random.below(2)) {
        owed |= !lane.push(numbered(++next));
      } else if (lane.pop(event)) {
        if (event.kind == Event::Kind::forgotten) {
          owed = false;
          continue;
        }
        EXPECT_GT(event.msg_id, seen);
        seen = event.msg_id;
      }
      EXPECT_FALSE(owed && lane.empty());
    }
  }
}

// Two threads: the reader knows of every number, or that some are missing behind the last one it saw.
TEST(EventLane, AcrossThreads) {
  EventLane lane(16);
  constexpr uint32_t kEvents = 200'000;
  std::thread shard([&] {
    for (uint32_t i = 1; i <= kEvents; ++i) lane.push(numbered(i));
    while (!lane.push(numbered(kEvents + 1))) std::this_thread::yield();
  });
  uint32_t seen  = 0;
  bool forgotten = false;
  for (Event event; seen <= kEvents;) {
    if (!lane.pop(event)) {
      std::this_thread::yield();
      continue;
    }
    if (event.kind == Event::Kind::forgotten) {
      forgotten = true;
      continue;
    }
    EXPECT_TRUE(event.msg_id == seen + 1 || forgotten) << event.msg_id << " after " << seen;
    ASSERT_GT(event.msg_id, seen);
    seen      = event.msg_id;
    forgotten = false;
  }
  shard.join();
}

}  // namespace
}  // namespace ringtalk::store::redis
