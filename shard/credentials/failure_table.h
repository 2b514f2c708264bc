// FailureTable: wrong passwords per user name and source address within a window.
//
// Thread rule   one thread.
// Bound         memory_bytes, taken at construction: sets of 8 entries. A full set forgets the entry
//               whose newest failure is oldest; its owner may guess again, each guess costing argon2id.
// Rule          exact and sliding: refused while more than `failures_max` failures are younger than the
//               window. A refused attempt is not to be recorded, so the window ends by itself.
// Why           name and address are hashed with a key of this start: nobody can aim at another's
//               entry or set. IPv6 sources count by /64, because that is what one client is given.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "engine/base/bytes.h"
#include "engine/base/units.h"
#include "engine/base/zeroed_array.h"
#include "engine/random.h"

namespace ringtalk::shard {

struct FailureLimits {
  uint32_t failures_max = 10;    // 1…62
  uint32_t window_s     = 1800;  // at least 1
  uint64_t memory_bytes = 16 * kMiB;
};

class FailureTable {
 public:
  FailureTable(const FailureLimits& limits, engine::Random& random, uint64_t now_ns);

  // address: 4 or 16 bytes, network order; IPv4 in IPv6 counts as IPv4.
  void record_failure(std::string_view name, Bytes address, uint64_t now_ns);
  bool too_many(std::string_view name, Bytes address, uint64_t now_ns) const;
  void clear(std::string_view name, Bytes address);

  size_t memory_bytes() const { return words_.size() * sizeof(uint32_t); }

 private:
  // An entry is words: key low, key high, then failures_max + 1 times of failures, newest first, in
  // seconds since start_ns_ + 1 (0: none). Key 0: free.
  static constexpr uint32_t kWays     = 8;
  static constexpr uint32_t kKeyWords = 2;

  uint64_t key_of(std::string_view name, Bytes address) const;
  uint32_t second_of(uint64_t now_ns) const;
  size_t set_of(uint64_t key) const { return (key >> 32) & (sets_ - 1); }
  uint32_t* entry(size_t set, uint32_t way) { return &words_[(set * kWays + way) * entry_words_]; }
  const uint32_t* entry(size_t set, uint32_t way) const {
    return &words_[(set * kWays + way) * entry_words_];
  }
  static uint64_t stored_key(const uint32_t* entry) { return entry[0] | uint64_t{entry[1]} << 32; }
  const uint32_t* find(uint64_t key) const;

  const uint32_t window_s_;
  const uint32_t times_;  // per entry: failures_max + 1
  const uint32_t entry_words_;
  const uint64_t start_ns_;
  size_t sets_;  // power of two
  std::array<std::byte, 16> hash_key_;
  ZeroedArray<uint32_t> words_;
};

}  // namespace ringtalk::shard
