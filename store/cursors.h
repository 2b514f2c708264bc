// Cursors: how far each user of a shard has read each conversation, and which of it is not durable yet.
//
// Bound  16 bytes per (user, conversation), 19–24 with the free places. Changes wait in `dirty`, one
//        entry per cursor however often it moves, and leave with the next commit.
#pragma once

#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <vector>

#include "engine/base/bytes.h"
#include "store/flat_table.h"

namespace ringtalk::store {

struct CursorKey {
  uint64_t conversation                        = 0;
  uint32_t user                                = 0;
  friend bool operator==(CursorKey, CursorKey) = default;
  uint64_t mix() const { return conversation * 0x9e3779b97f4a7c15u + user; }
};

struct CursorRow {
  using Key = CursorKey;

  uint64_t conversation;
  uint32_t user;
  uint32_t msg_id;

  bool used() const { return conversation != 0; }
  bool is(Key k) const { return conversation == k.conversation && user == k.user; }
  void assign(Key k) { conversation = k.conversation, user = k.user; }
  Key key_of() const { return {conversation, user}; }
  static uint64_t mix(Key k) { return k.mix(); }
};
static_assert(sizeof(CursorRow) == 16);

class Cursors {
 public:
  explicit Cursors(uint64_t seed) : rows_(seed) {}

  uint32_t get(CursorKey key) const;
  // max(old, msg_id). True when it moved; it is then dirty until taken.
  bool raise(CursorKey key, uint32_t msg_id);
  // At start: raises without making dirty.
  void load(CursorKey key, uint32_t msg_id);

  uint64_t dirty() const { return dirty_.size(); }
  // Calls write(key, msg_id) for up to `count` dirty cursors, which are clean afterwards.
  template <class Write>
  void take_dirty(uint32_t count, Write&& write) {
    for (; !dirty_.empty() && count > 0; --count) {
      const CursorKey key = dirty_.back();
      dirty_.pop_back();
      is_dirty_.erase(key);
      write(key, get(key));
    }
  }

  uint64_t size() const { return rows_.size(); }
  uint64_t memory_bytes() const { return rows_.memory_bytes(); }

 private:
  struct Hash {
    using is_avalanching = void;
    size_t operator()(CursorKey key) const {
      uint64_t x = key.mix();
      x ^= x >> 32;
      x *= 0xd6e8feb86659fd93u;
      return x ^ (x >> 32);
    }
  };

  FlatTable<CursorRow> rows_;
  std::vector<CursorKey> dirty_;
  boost::unordered_flat_set<CursorKey, Hash> is_dirty_;
};

}  // namespace ringtalk::store
