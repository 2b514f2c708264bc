// Conversations: the newest durable message of every conversation of a shard, in memory, and the number
// that TeamTalk's tables know the conversation by.
//
// Bound   32 bytes per conversation that has a message (38–47 with the free places).
// Source  MessageLoader at start, then each commit of the shard's MessageLane.
#pragma once

#include <cstdint>

#include "proto/ids.h"
#include "store/flat_table.h"
#include "store/mysql/schema.h"
#include "store/store.h"

namespace ringtalk::store {

using sql::kMessageTables;

struct Conversation {
  using Key = uint64_t;

  uint64_t key      = 0;
  uint32_t relation = 0;  // IMRelationShip.id of a pair, the id of a group; 0: not known yet
  uint32_t newest   = 0;
  uint32_t time     = 0;  // of the newest
  uint32_t small    = 0;  // messages of the smaller id among 1…newest
  uint32_t hidden   = 0;  // ids among 1…newest that no visible message has
  uint32_t taken    = 0;  // newest id that TeamTalk gave; what lies above is ours

  bool used() const { return key != 0; }
  bool is(Key k) const { return key == k; }
  void assign(Key k) { key = k; }
  Key key_of() const { return key; }
  static uint64_t mix(Key k) { return k; }

  bool is_group() const { return ConversationId{key}.is_group(); }
  uint32_t table() const { return relation % kMessageTables; }
  Head head() const { return {newest, time, small, hidden}; }
};
static_assert(sizeof(Conversation) == 32);

class Conversations {
 public:
  explicit Conversations(uint64_t seed) : rows_(seed) {}

  // Nothing but the key (and a group's relation) for one that nobody wrote in.
  Conversation get(ConversationId id) const {
    if (const Conversation* row = id.key ? rows_.find(id.key) : nullptr) return *row;
    return {.key = id.key, .relation = id.is_group() ? raw(id.group()) : 0};
  }
  void set(const Conversation& conversation) {
    rows_.find_or_insert(conversation.key) = conversation;
  }

  uint64_t size() const { return rows_.size(); }
  uint64_t memory_bytes() const { return rows_.memory_bytes(); }

 private:
  FlatTable<Conversation> rows_;
};

}  // namespace ringtalk::store
