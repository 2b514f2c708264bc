// RepeatWindow: which sends of the last while were this one already.
//
// Shape        Buckets of three entries, one cache line each. An entry is a durable send (its msg_id)
//              or one that still waits for storage (its pending number).
// Places       by_key: the key chooses the bucket. by_sequence: the author and the key's low 16 bits,
//              his request number, do, so that what he sends one behind the other lies in neighbouring
//              lines: at full rate that saves most of the cache misses of a table this large. An author
//              who never counts has one bucket: his last three sends are remembered.
// Thread rule  The author's home shard.
// Bound        bytes given at the start. A full bucket forgets its oldest entry; if that was younger
//              than keep_s it counts as evicted_early() (a metric: the promise was shortened).
// Cost         One cache line per look-up or insertion; no deletion, no sweep.
// Why          A false match would swallow a message: 64 bits of key and the author must agree, within
//              keep_s. At 10^6 sends a second that is once in 500 years; by_sequence 16 of the bits are
//              the sequence and 47 are a hash, and only entries of the same sequence meet.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/base/zeroed_array.h"
#include "proto/ids.h"
#include "shard/home.h"

namespace ringtalk::shard {

class RepeatWindow {
 public:
  struct Found {
    bool waiting;  // value is the number of the pending send, else the msg_id
    uint32_t value;
  };

  enum class Places : uint8_t { by_key, by_sequence };

  RepeatWindow(uint64_t bytes_max, uint32_t keep_s, Places places);

  // A key for Places::by_sequence.
  static uint64_t sequence_key(uint64_t content, uint16_t sequence) {
    return (mix(content) | 1) << 16 | sequence;
  }

  // Says that find() follows soon: the cache line is on its way meanwhile. by_sequence: of `key` only the
  // sequence counts.
  void prefetch(uint64_t key, UserId author) const { __builtin_prefetch(&bucket(key, author)); }
  std::optional<Found> find(uint64_t key, UserId author, uint32_t now_s) const;
  void put_waiting(uint64_t key, UserId author, uint32_t pending, uint32_t now_s);
  // Durable now, whether or not the waiting entry is still there.
  void put_durable(uint64_t key, UserId author, uint32_t msg_id, uint32_t now_s);
  // A waiting send was refused: the same send may be tried again.
  void forget(uint64_t key, UserId author);

  uint64_t bytes() const { return buckets_.size() * sizeof(Bucket); }
  uint64_t evicted_early() const { return evicted_early_; }

 private:
  static constexpr uint32_t kWays    = 3;
  static constexpr uint32_t kWaiting = 1u << 31;  // in time_s: 31 bits of seconds last until 2088
  struct alignas(64) Bucket {
    uint64_t key[kWays];
    uint32_t author[kWays];  // 0: free
    uint32_t value[kWays];
    uint32_t time_s[kWays];  // of the send, in seconds since 2020; the top bit: still waiting
  };
  static_assert(sizeof(Bucket) == 64);

  uint64_t place(uint64_t key, UserId author) const {
    return places_ == Places::by_key ? key : mix(raw(author)) + (key & 0xffff);
  }
  Bucket& bucket(uint64_t key, UserId author) { return buckets_[place(key, author) & mask_]; }
  const Bucket& bucket(uint64_t key, UserId author) const {
    return buckets_[place(key, author) & mask_];
  }
  void put(uint64_t key, UserId author, uint32_t value, uint32_t time_s, bool waiting);

  const uint32_t keep_s_;
  const Places places_;
  ZeroedArray<Bucket> buckets_;
  uint64_t mask_          = 0;
  uint64_t evicted_early_ = 0;
};

}  // namespace ringtalk::shard
