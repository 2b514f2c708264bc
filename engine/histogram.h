// Histogram: log-linear counts of durations (or sizes), fixed memory.
//
// Thread rule   record() on the owner's thread; everything else from any thread, without tearing:
//               a reader may miss the newest values, never sees half a number.
// Cost          record(): one bit scan and three plain adds. 19 KiB each.
// Bound         0…2^42-1 (73 minutes in ns); larger values count as the largest bucket, max() is exact.
// Precision     values below 64 exact; above, quantile() is within 0.8 % (64 buckets per doubling).
// Why           merging is adding, so shards are summed without loss, which sampled quantiles are not.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

namespace ringtalk::engine {

class Histogram {
 public:
  static constexpr uint32_t kLinearBits = 6;
  static constexpr uint32_t kValueBits  = 42;
  static constexpr uint32_t kBuckets    = (kValueBits - kLinearBits + 1) << kLinearBits;

  void record(uint64_t value) noexcept;
  void merge(const Histogram& other) noexcept;  // this histogram's owner only

  uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }
  uint64_t sum() const noexcept { return sum_.load(std::memory_order_relaxed); }
  uint64_t max() const noexcept { return max_.load(std::memory_order_relaxed); }

  // The value that the share q (0…1) of all recorded ones does not exceed; 0 when empty.
  uint64_t quantile(double q) const noexcept;
  // Recorded values below 2^first, 2^(first + step) …: one for each of `counts`, and as the result all
  // values. Exact: a power of two is a border between buckets. One pass over them.
  uint64_t counts_below_powers(uint32_t first, uint32_t step,
                               std::span<uint64_t> counts) const noexcept;

  static uint32_t bucket_of(uint64_t value) noexcept;
  static uint64_t bucket_floor(uint32_t bucket) noexcept;

 private:
  // Relaxed load + store, not fetch_add: one writer, so no lock prefix. Partner: any reader above.
  static void add(std::atomic<uint64_t>& to, uint64_t n) noexcept {
    to.store(to.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  std::atomic<uint64_t> count_{0};
  std::atomic<uint64_t> sum_{0};
  std::atomic<uint64_t> max_{0};
  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
};

}  // namespace ringtalk::engine
