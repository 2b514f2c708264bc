// Payload: immutable bytes shared by whoever must send them, on any shard.
//
// Lifetime     Reference-counted; the last PayloadRef frees it. An event between shards carries the
//              bare pointer: release() on one side, adopt() on the other.
// Thread rule  The bytes are written before the first share and never after. The count is atomic.
// Cost         One allocation. Pushes below kCopyBytesMax (send_queue.h) are copied into the
//              receiver's queue instead of being referenced, so the count is touched once per shard
//              and message, and per receiver only for large ones, where a copy would cost more.
#pragma once

#include <atomic>
#include <cstdlib>
#include <new>
#include <utility>

#include "engine/base/assert.h"
#include "engine/base/bytes.h"

namespace ringtalk::engine {

class Payload {
 public:
  static Payload* make(size_t bytes) {
    void* memory = std::malloc(sizeof(Payload) + bytes);
    RT_ASSERT(memory != nullptr);
    return new (memory) Payload(static_cast<uint32_t>(bytes));
  }
  static Payload* copy(Bytes bytes) {
    Payload* payload = make(bytes.size());
    if (!bytes.empty()) std::memcpy(payload->data(), bytes.data(), bytes.size());
    return payload;
  }

  Bytes bytes() const { return {reinterpret_cast<const std::byte*>(this + 1), bytes_}; }
  // Only by the maker, before it is shared.
  std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }

  void hold() { references_.fetch_add(1, std::memory_order_relaxed); }
  void drop() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {  // pairs with the others' drops
      this->~Payload();
      std::free(this);
    }
  }

 private:
  explicit Payload(uint32_t bytes) : bytes_(bytes) {}
  std::atomic<uint32_t> references_{1};
  const uint32_t bytes_;
};

class PayloadRef {
 public:
  PayloadRef() = default;
  static PayloadRef adopt(Payload* payload) { return PayloadRef(payload); }
  PayloadRef(const PayloadRef& other) : payload_(other.payload_) {
    if (payload_) payload_->hold();
  }
  PayloadRef(PayloadRef&& other) noexcept : payload_(std::exchange(other.payload_, nullptr)) {}
  PayloadRef& operator=(PayloadRef other) noexcept {
    std::swap(payload_, other.payload_);
    return *this;
  }
  ~PayloadRef() {
    if (payload_) payload_->drop();
  }

  explicit operator bool() const { return payload_ != nullptr; }
  Bytes bytes() const { return payload_ ? payload_->bytes() : Bytes{}; }
  Payload* get() const { return payload_; }
  Payload* release() { return std::exchange(payload_, nullptr); }

 private:
  explicit PayloadRef(Payload* payload) : payload_(payload) {}
  Payload* payload_ = nullptr;
};

}  // namespace ringtalk::engine
