// SpscQueue: bounded ring of values, one producer thread, one consumer thread, no locks.
//
// Thread rule  push(), free() on the producer; pop(), front(), empty() on the consumer.
// Bound        capacity() values, a power of two, allocated once.
// Cost         one release store per push or pop; the other side's index is re-read only when the
//              cached copy says full or empty.
// Invariants   (1) popped_ <= pushed_ <= popped_ + capacity  (2) a slot is written only while the
//              consumer cannot see it: the release store of pushed_ pairs with the consumer's
//              acquire load, and popped_ the other way round.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <utility>

#include "engine/base/assert.h"
#include "engine/base/units.h"

namespace ringtalk::engine {

template <class T>
class SpscQueue {
 public:
  explicit SpscQueue(uint32_t capacity)
      : mask_(capacity - 1), slots_(std::make_unique<T[]>(capacity)) {
    RT_ASSERT(std::has_single_bit(capacity));
  }

  uint32_t capacity() const { return mask_ + 1; }

  // Producer. False when full; the value is then untouched.
  bool push(T&& value) {
    const uint32_t at = pushed_.load(std::memory_order_relaxed);
    if (at - popped_seen_ > mask_) {
      popped_seen_ = popped_.load(std::memory_order_acquire);
      if (at - popped_seen_ > mask_) return false;
    }
    slots_[at & mask_] = std::move(value);
    pushed_.store(at + 1, std::memory_order_release);
    return true;
  }

  // Producer. Slots that push() is sure to find now.
  uint32_t free() {
    popped_seen_ = popped_.load(std::memory_order_acquire);
    return capacity() - (pushed_.load(std::memory_order_relaxed) - popped_seen_);
  }

  // Consumer.
  bool pop(T& out) {
    const uint32_t at = popped_.load(std::memory_order_relaxed);
    if (at == pushed_seen_) {
      pushed_seen_ = pushed_.load(std::memory_order_acquire);
      if (at == pushed_seen_) return false;
    }
    out = std::move(slots_[at & mask_]);
    popped_.store(at + 1, std::memory_order_release);
    return true;
  }

  // Consumer.
  bool empty() const {
    return popped_.load(std::memory_order_relaxed) == pushed_.load(std::memory_order_acquire);
  }

 private:
  const uint32_t mask_;
  const std::unique_ptr<T[]> slots_;
  alignas(kCacheLineBytes) std::atomic<uint32_t> pushed_{0};  // producer writes
  uint32_t popped_seen_ = 0;                                  // producer's copy
  alignas(kCacheLineBytes) std::atomic<uint32_t> popped_{0};  // consumer writes
  uint32_t pushed_seen_ = 0;                                  // consumer's copy
};

}  // namespace ringtalk::engine
