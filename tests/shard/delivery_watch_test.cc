#include "shard/delivery_watch.h"

#include <gtest/gtest.h>

#include <map>
#include <tuple>

#include "engine/base/units.h"
#include "engine/random.h"

namespace ringtalk::shard {
namespace {

uint32_t sweep_all(DeliveryWatch& watch, uint32_t now) {
  uint32_t missed = 0;
  for (int i = 0; i < 11; ++i) missed += watch.sweep(now);
  return missed;
}

TEST(DeliveryWatch, ConfirmedOnceOrMissedOnce) {
  DeliveryWatch watch(kMiB, 15);
  watch.delivered(1, 2, 3, 100);
  EXPECT_FALSE(watch.confirmed(1, 2, 4));
  EXPECT_FALSE(watch.confirmed(1, 3, 3));
  EXPECT_FALSE(watch.confirmed(2, 2, 3)) << "another session's";
  EXPECT_TRUE(watch.confirmed(1, 2, 3));
  EXPECT_FALSE(watch.confirmed(1, 2, 3)) << "once";
  watch.delivered(1, 2, 5, 100);
  EXPECT_EQ(sweep_all(watch, 114), 0u);
  EXPECT_EQ(sweep_all(watch, 115), 1u);
  EXPECT_EQ(sweep_all(watch, 1000), 0u);
  EXPECT_FALSE(watch.confirmed(1, 2, 5)) << "too late";
}

TEST(DeliveryWatch, EveryDeliveryHasOneEnd) {
  engine::SeededRandom random(4);
  DeliveryWatch watch(256 * kKiB, 15);
  std::map<std::tuple<uint64_t, uint32_t, uint32_t>, bool> out;
  uint64_t delivered = 0, confirmed = 0, missed = 0;
  uint32_t now = 1000;
  for (int i = 0; i < 50'000; ++i) {
    const uint64_t session = random.below(50);
    const auto author      = static_cast<uint32_t>(random.below(20));
    if (random.below(2)) {
      const auto id = static_cast<uint32_t>(i);
      watch.delivered(session, author, id, now);
      out[{session, author, id}] = true;
      ++delivered;
    } else if (!out.empty()) {
      const auto at         = out.begin();
      const auto [s, a, id] = at->first;
      confirmed += watch.confirmed(s, a, id);
      out.erase(at);
    }
    if (i % 100 == 0) {
      now += static_cast<uint32_t>(random.below(3));
      missed += watch.sweep(now);
    }
  }
  missed += sweep_all(watch, now + 100);
  // Two that share a tag in one bucket may stand for each other: the sums agree all the same.
  EXPECT_EQ(delivered, confirmed + missed + watch.untracked());
  EXPECT_GT(confirmed, 1000u);
}

TEST(DeliveryWatch, AFullBucketForgetsTheOldestUncounted) {
  DeliveryWatch watch(64, 15);  // one bucket of eight
  for (uint32_t id = 1; id <= 8; ++id) watch.delivered(1, 1, id, 100 + id);
  EXPECT_EQ(watch.untracked(), 0u);
  watch.delivered(1, 1, 9, 120);
  EXPECT_EQ(watch.untracked(), 1u);
  EXPECT_FALSE(watch.confirmed(1, 1, 1));
  EXPECT_TRUE(watch.confirmed(1, 1, 2));
  EXPECT_TRUE(watch.confirmed(1, 1, 9));
  EXPECT_EQ(sweep_all(watch, 1000), 6u);
}

TEST(DeliveryWatch, TheSweepReachesEverythingWithinASecond) {
  for (const uint64_t bytes : {64u, 128u, 640u, 4096u, 65'536u}) {
    DeliveryWatch watch(bytes, 15);
    uint32_t put = 0;
    for (uint32_t id = 0; id < bytes / 64; ++id, ++put) watch.delivered(7, 1, id, 100);
    uint32_t missed = 0;
    for (int tick = 0; tick < 10; ++tick) missed += watch.sweep(200);
    EXPECT_EQ(missed + watch.untracked(), put) << bytes;
  }
}

}  // namespace
}  // namespace ringtalk::shard
