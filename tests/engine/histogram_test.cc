// Method: random samples of several shapes, recorded and also sorted; the histogram's quantile must
// lie within its promised 0.8 % of the sorted one.
#include "engine/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <thread>
#include <vector>

#include "engine/random.h"

namespace ringtalk::engine {
namespace {

void expect_near(uint64_t got, uint64_t exact) {
  const double slack = std::max(0.5, static_cast<double>(exact) * 0.008);
  EXPECT_NEAR(static_cast<double>(got), static_cast<double>(exact), slack);
}

void expect_equals_sorted(std::vector<uint64_t> samples) {
  auto histogram = std::make_unique<Histogram>();
  uint64_t sum   = 0;
  for (uint64_t sample : samples) {
    histogram->record(sample);
    sum += sample;
  }
  std::sort(samples.begin(), samples.end());
  EXPECT_EQ(histogram->count(), samples.size());
  EXPECT_EQ(histogram->sum(), sum);
  EXPECT_EQ(histogram->max(), samples.back());
  for (double q : {0.0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    const double rank  = std::ceil(q * static_cast<double>(samples.size()));
    const size_t index = static_cast<size_t>(std::max(rank, 1.0)) - 1;
    expect_near(histogram->quantile(q), samples[index]);
  }
  std::array<uint64_t, 43> below;
  EXPECT_EQ(histogram->counts_below_powers(0, 1, below), samples.size());
  for (uint32_t power = 0; power <= 42; ++power) {
    const auto end = std::lower_bound(samples.begin(), samples.end(), uint64_t{1} << power);
    EXPECT_EQ(below[power], static_cast<uint64_t>(end - samples.begin()));
  }
}

TEST(Histogram, BucketsAreOrderedAndGapless) {
  for (uint32_t i = 0; i < Histogram::kBuckets; ++i) {
    ASSERT_EQ(Histogram::bucket_of(Histogram::bucket_floor(i)), i);
    if (i == 0) continue;
    ASSERT_EQ(Histogram::bucket_of(Histogram::bucket_floor(i) - 1), i - 1);
  }
  EXPECT_EQ(Histogram::bucket_of((uint64_t{1} << 42) - 1), Histogram::kBuckets - 1);
}

TEST(Histogram, QuantilesFollowSortedSamples) {
  SeededRandom random(11);
  for (size_t count : {1u, 2u, 3u, 100u, 50'000u}) {
    std::vector<uint64_t> uniform, skewed, tiny;
    for (size_t i = 0; i < count; ++i) {
      uniform.push_back(random.below(uint64_t{1} << 40));
      skewed.push_back(random.next() >> (22 + random.below(42)));
      tiny.push_back(random.below(70));
    }
    expect_equals_sorted(uniform);
    expect_equals_sorted(skewed);
    expect_equals_sorted(tiny);
  }
}

TEST(Histogram, EmptyAnswersZero) {
  auto histogram = std::make_unique<Histogram>();
  EXPECT_EQ(histogram->quantile(0.5), 0u);
  EXPECT_EQ(histogram->max(), 0u);
}

TEST(Histogram, ValuesBeyondTheRangeAreKept) {
  auto histogram = std::make_unique<Histogram>();
  histogram->record(UINT64_MAX / 4);
  histogram->record(5);
  EXPECT_EQ(histogram->count(), 2u);
  EXPECT_EQ(histogram->max(), UINT64_MAX / 4);
  EXPECT_GE(histogram->quantile(1), Histogram::bucket_floor(Histogram::kBuckets - 1));
}

TEST(Histogram, MergeEqualsRecordingEverything) {
  SeededRandom random(12);
  auto all = std::make_unique<Histogram>(), merged = std::make_unique<Histogram>();
  for (int part = 0; part < 4; ++part) {
    auto histogram = std::make_unique<Histogram>();
    for (int i = 0; i < 1000; ++i) {
      const uint64_t value = random.next() >> (22 + random.below(30));
      histogram->record(value);
      all->record(value);
    }
    merged->merge(*histogram);
  }
  EXPECT_EQ(merged->count(), all->count());
  EXPECT_EQ(merged->sum(), all->sum());
  EXPECT_EQ(merged->max(), all->max());
  for (double q = 0; q <= 1; q += 0.01) EXPECT_EQ(merged->quantile(q), all->quantile(q));
}

TEST(Histogram, ReadableWhileItsOwnerRecords) {
  auto histogram = std::make_unique<Histogram>();
  std::thread owner([&] {
    for (int i = 0; i < 200'000; ++i) histogram->record(1000);
  });
  uint64_t last = 0;
  while (last < 200'000) {
    auto copy = std::make_unique<Histogram>();
    copy->merge(*histogram);
    EXPECT_GE(copy->count(), last);
    last = copy->count();
    if (last > 0) expect_near(copy->quantile(0.5), 1000);
  }
  owner.join();
}

}  // namespace
}  // namespace ringtalk::engine
