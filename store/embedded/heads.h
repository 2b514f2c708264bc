// Heads: the newest durable message of every conversation of a shard, in memory.
//
// Bound  one row of 40 bytes per conversation (47–59 with the free places), for ever: the table is
//        what makes an append and an unread count two look-ups. Rare fields live in a side table.
// Source the rows come from footers and snapshot at start, then from each commit.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>

#include "store/flat_table.h"
#include "store/embedded/format.h"

namespace ringtalk::store {

struct HeadRow {
  using Key = uint64_t;

  uint64_t key;
  Pointer newest;
  Pointer block;
  uint32_t msg_id;
  uint32_t time;
  uint32_t small_count;
  uint32_t tail;  // index of the warm tail + 1, a hint; upper bit: a row in the side table exists

  bool used() const { return key != 0; }
  bool is(Key k) const { return key == k; }
  void assign(Key k) { key = k; }
  Key key_of() const { return key; }
  static uint64_t mix(Key k) { return k; }
};
static_assert(sizeof(HeadRow) == 40, "64 bytes per cold conversation with everything");

class Heads {
 public:
  explicit Heads(uint64_t seed) : rows_(seed) {}

  // A zero entry for a conversation nobody wrote in. *tail: the hint, 0 = none.
  HeadEntry get(uint64_t conversation, uint32_t* tail = nullptr) const;
  // Replaces what is known of entry.conversation.
  void set(const HeadEntry& entry, uint32_t tail);

  uint64_t size() const { return rows_.size(); }
  uint64_t memory_bytes() const;

 private:
  static constexpr uint32_t kHasRare = 1u << 31;
  struct Rare {
    Pointer control;
    uint32_t hidden = 0;
  };

  FlatTable<HeadRow> rows_;
  boost::unordered_flat_map<uint64_t, Rare> rare_;
};

}  // namespace ringtalk::store
