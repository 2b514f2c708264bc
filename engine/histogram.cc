#include "engine/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/base/assert.h"

namespace ringtalk::engine {
namespace {
constexpr uint64_t kLinear   = uint64_t{1} << Histogram::kLinearBits;
constexpr uint64_t kValueMax = (uint64_t{1} << Histogram::kValueBits) - 1;
}  // namespace

// Bucket = (doublings above the linear part) * 64 + the six bits below the leading one.
uint32_t Histogram::bucket_of(uint64_t value) noexcept {
  value = std::min(value, kValueMax);
  if (value < kLinear) return static_cast<uint32_t>(value);
  const uint32_t shift = static_cast<uint32_t>(std::bit_width(value)) - kLinearBits - 1;
  return (shift << kLinearBits) + static_cast<uint32_t>(value >> shift);
}

uint64_t Histogram::bucket_floor(uint32_t bucket) noexcept {
  if (bucket < kLinear) return bucket;
  const uint32_t shift = (bucket >> kLinearBits) - 1;
  return (kLinear + (bucket & (kLinear - 1))) << shift;
}

void Histogram::record(uint64_t value) noexcept {
  add(buckets_[bucket_of(value)], 1);
  add(count_, 1);
  add(sum_, value);
  if (value > max()) max_.store(value, std::memory_order_relaxed);
}

void Histogram::merge(const Histogram& other) noexcept {
  RT_ASSERT(this != &other);
  // The buckets decide the count, so that the sum of buckets is the count even while other records.
  uint64_t count = 0;
  for (uint32_t i = 0; i < kBuckets; ++i) {
    const uint64_t n = other.buckets_[i].load(std::memory_order_relaxed);
    if (n != 0) add(buckets_[i], n);
    count += n;
  }
  add(count_, count);
  add(sum_, other.sum());
  max_.store(std::max(max(), other.max()), std::memory_order_relaxed);
}

uint64_t Histogram::quantile(double q) const noexcept {
  uint64_t total = 0;
  for (const auto& bucket : buckets_) total += bucket.load(std::memory_order_relaxed);
  if (total == 0) return 0;
  const double wanted = std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(total));
  const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(wanted), 1, total);
  uint64_t seen       = 0;
  for (uint32_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i].load(std::memory_order_relaxed);
    if (seen < rank) continue;
    const uint64_t floor = bucket_floor(i);
    const uint64_t width = i < kLinear ? 1 : uint64_t{1} << ((i >> kLinearBits) - 1);
    return std::min(floor + (width - 1) / 2, std::max(max(), floor));
  }
  return max();
}

uint64_t Histogram::counts_below_powers(uint32_t first, uint32_t step,
                                        std::span<uint64_t> counts) const noexcept {
  uint64_t below       = 0;
  uint32_t bucket      = 0;
  const auto add_up_to = [&](uint32_t end) {
    for (; bucket < end; ++bucket) below += buckets_[bucket].load(std::memory_order_relaxed);
  };
  for (size_t i = 0; i < counts.size(); ++i) {
    const uint32_t exponent = first + static_cast<uint32_t>(i) * step;
    add_up_to(exponent >= kValueBits ? kBuckets : bucket_of(uint64_t{1} << exponent));
    counts[i] = below;
  }
  add_up_to(kBuckets);
  return below;
}

}  // namespace ringtalk::engine
