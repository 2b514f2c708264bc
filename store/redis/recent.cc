#include "store/redis/recent.h"

#include <algorithm>
#include <utility>

#include "engine/base/assert.h"

namespace ringtalk::store::redis {

Recent::Row* Recent::find(ConversationId pair) {
  if (const auto row = young_.find(pair.key); row != young_.end()) return &row->second;
  const auto row = old_.find(pair.key);
  if (row == old_.end()) return nullptr;
  const Row moved = row->second;
  old_.erase(row);
  if (young_.size() >= rows_max_) old_ = std::exchange(young_, {});
  return &(young_[pair.key] = moved);
}

Recent::Told Recent::stored(ConversationId pair, UserId author, uint32_t msg_id) {
  RT_ASSERT(!pair.is_group());
  Row* row = find(pair);
  if (!row) return Told::unknown;
  if (msg_id <= row->newest) return Told::nothing;
  if (msg_id != row->newest + 1) {  // events in between were forgotten
    forget(pair);
    return Told::unknown;
  }
  row->newest        = msg_id;
  const size_t other = 1 - side(pair, author);
  if (msg_id <= row->read[other]) return Told::nothing;
  ++row->unread[other];
  return Told::count;
}

Recent::Told Recent::read_to(ConversationId pair, UserId user, uint32_t msg_id) {
  RT_ASSERT(!pair.is_group());
  Row* row = find(pair);
  if (!row) return Told::unknown;
  const size_t own = side(pair, user);
  uint32_t& unread = row->unread[own];
  if (msg_id <= row->read[own]) return Told::nothing;
  const uint32_t before = std::exchange(row->read[own], msg_id);
  if (unread == 0) return Told::nothing;
  if (msg_id >= row->newest) {
    unread = 0;
  } else if (unread == row->newest - before) {  // all of them are the other's
    unread = row->newest - msg_id;
  } else {
    forget(pair);
    return Told::unknown;
  }
  return Told::count;
}

uint32_t Recent::unread(ConversationId pair, UserId user) {
  const Row* row = find(pair);
  RT_ASSERT(row != nullptr);
  return row->unread[side(pair, user)];
}

void Recent::set(const PairRow& from) {
  const auto pair = ConversationId::single(from.small, from.big);
  Row* row        = find(pair);
  if (!row) {
    if (young_.size() >= rows_max_) old_ = std::exchange(young_, {});
    row = &young_[pair.key];
  }
  *row = {from.newest, {from.small_read, from.big_read}, {from.small_unread, from.big_unread}};
}

void Recent::refresh(const PairRow& row) {
  if (!row.valid()) return;
  const uint64_t key = ConversationId::single(row.small, row.big).key;
  if (young_.contains(key) || old_.contains(key)) set(row);
}

void Recent::clear() {
  young_ = {};
  old_   = {};
}

}  // namespace ringtalk::store::redis
