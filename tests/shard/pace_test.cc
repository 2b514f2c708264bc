#include "shard/pace.h"

#include <gtest/gtest.h>

#include "engine/random.h"

namespace ringtalk::shard {
namespace {

// How many are let through in a run that asks all the time.
uint32_t greedy(Pace& pace, uint64_t from, uint64_t to, uint64_t step, uint32_t rate,
                uint32_t burst) {
  uint32_t taken = 0;
  for (uint64_t now = from; now < to; now += step)
    while (pace.wait_until(now, rate, burst) == 0) {
      pace.take(now, rate);
      ++taken;
    }
  return taken;
}

TEST(Pace, BurstThenRate) {
  Pace pace;
  const uint64_t start = 5 * kNsPerS;
  EXPECT_EQ(greedy(pace, start, start + 1, 1, 20, 20), 20u);
  EXPECT_EQ(greedy(pace, start + 1, start + 10 * kNsPerS, kNsPerMs, 20, 20), 199u);
  EXPECT_EQ(greedy(pace, start + 100 * kNsPerS, start + 100 * kNsPerS + 1, 1, 20, 20), 20u)
      << "idleness is worth one burst, not more";
}

TEST(Pace, SaysExactlyWhen) {
  Pace pace;
  const uint64_t now = kNsPerS;
  for (int i = 0; i < 20; ++i) pace.take(now, 20);
  const uint64_t until = pace.wait_until(now, 20, 20);
  EXPECT_EQ(until, now + 50 * kNsPerMs);
  EXPECT_NE(pace.wait_until(until - 1, 20, 20), 0u);
  EXPECT_EQ(pace.wait_until(until, 20, 20), 0u);
}

TEST(Pace, OffAndTiny) {
  Pace off;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(off.wait_until(0, 0, 0), 0u);
    off.take(0, 0);
    off.take_cost(0, 0, 0, 100, 0);
  }
  EXPECT_TRUE(off.full(0));
  Pace one;
  EXPECT_EQ(greedy(one, kNsPerS, kNsPerS + 1, 1, 1, 0), 1u) << "a burst of 0 is one";
  Pace fast;  // faster than the clock can tell
  fast.take(7, 2'000'000'000);
  EXPECT_EQ(fast.wait_until(7, 2'000'000'000, 1), 0u);
}

TEST(Pace, NeverMoreThanBurstPlusRateInAnyWindow) {
  engine::SeededRandom random(3);
  for (int round = 0; round < 50; ++round) {
    const auto rate  = static_cast<uint32_t>(1 + random.below(100));
    const auto burst = static_cast<uint32_t>(1 + random.below(50));
    Pace pace;
    std::vector<uint64_t> taken;
    uint64_t now = kNsPerS;
    for (int i = 0; i < 3000; ++i) {
      now += random.below(2 * kNsPerS / rate);
      if (pace.wait_until(now, rate, burst) != 0) continue;
      pace.take(now, rate);
      taken.push_back(now);
    }
    for (size_t i = 0; i < taken.size(); i += 7)
      for (size_t k = i; k < taken.size(); k += 13)
        ASSERT_LE(k - i + 1, burst + (taken[k] - taken[i]) * rate / kNsPerS + 1);
  }
}

TEST(Pace, CostCountsInHundredths) {
  Pace pace;
  pace.take_cost(kNsPerS, 50, 10, 100, kNsPerS);
  EXPECT_EQ(pace.next_ns(), kNsPerS + 20 * kNsPerMs);
  pace.take_cost(kNsPerS, 50, 10, 50, kNsPerS);
  EXPECT_EQ(pace.next_ns(), kNsPerS + 30 * kNsPerMs);
  EXPECT_FALSE(pace.full(kNsPerS));
  EXPECT_TRUE(pace.full(kNsPerS + 30 * kNsPerMs));
}

TEST(Pace, NobodyOwesMoreThanTheDebt) {
  Pace pace;
  pace.take_cost(kNsPerS, 50, 10, 1'000'000, 2 * kNsPerS);
  EXPECT_EQ(pace.wait_until(kNsPerS, 50, 10), 3 * kNsPerS);
  pace.take_cost(2 * kNsPerS, 50, 10, 1'000'000, 2 * kNsPerS);
  EXPECT_EQ(pace.wait_until(2 * kNsPerS, 50, 10), 4 * kNsPerS) << "from now on, not from then";
  pace.take_cost(kNsPerS, 50, 10, 100, 0);
  EXPECT_EQ(pace.wait_until(2 * kNsPerS, 50, 10), 4 * kNsPerS) << "a debt never shrinks";
}

}  // namespace
}  // namespace ringtalk::shard
