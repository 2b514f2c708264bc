#include "store/redis/changes.h"

#include <algorithm>
#include <utility>

#include "engine/base/assert.h"

namespace ringtalk::store::redis {
namespace {

void raise(Changes::Values<uint32_t>& values, uint32_t key, uint32_t value) {
  uint32_t& known = values[key];
  known           = std::max(known, value);
}

}  // namespace

void Changes::take(const Event& event, uint64_t now_ns) {
  const ConversationId conversation = event.conversation;
  const UserId user{event.user};
  switch (event.kind) {
    case Event::Kind::opened: return raise(pair_heads, event.relation, 0);
    case Event::Kind::stored:
      if (conversation.is_group())
        return raise(group_heads, raw(conversation.group()), event.msg_id);
      raise(pair_heads, event.relation, event.msg_id);
      if (pairs.contains(conversation.key)) return;
      return take_told(conversation, conversation.peer_of(user),
                       recent_.stored(conversation, user, event.msg_id));
    case Event::Kind::read_to:
      if (conversation.is_group())
        return take_position({conversation.group(), user}, event.msg_id, now_ns);
      if (pairs.contains(conversation.key)) return;
      return take_told(conversation, user, recent_.read_to(conversation, user, event.msg_id));
    case Event::Kind::group: groups.insert(raw(conversation.group())); return;
    case Event::Kind::member: members.insert(packed({conversation.group(), user})); return;
    case Event::Kind::token: users.insert(raw(user)); return;
    case Event::Kind::forgotten: break;
  }
  std::unreachable();
}

void Changes::take_told(ConversationId pair, UserId user, Recent::Told told) {
  switch (told) {
    case Recent::Told::nothing: return;
    case Recent::Told::unknown: pairs.insert(pair.key); return;
    case Recent::Told::count:
      unread[uint64_t{raw(user)} << 32 | raw(pair.peer_of(user))] = recent_.unread(pair, user);
      return;
  }
}

void Changes::take_position(MemberKey member, uint32_t position, uint64_t now_ns) {
  const uint64_t key = packed(member);
  if (members.contains(key)) return;
  const auto raised = floors_.raise(key, position, now_ns);
  if (!raised) {
    positions.erase(key);
    members.insert(key);
    return;
  }
  uint32_t& known = positions[key];
  known           = std::max(known, *raised);
}

void Changes::answer(const PairRow& row) {
  recent_.set(row);
  raise(pair_heads, row.relation, row.newest);
  unread[uint64_t{raw(row.small)} << 32 | raw(row.big)] = row.small_unread;
  unread[uint64_t{raw(row.big)} << 32 | raw(row.small)] = row.big_unread;
}

void Changes::wrote(const MemberRow& row, uint64_t now_ns) {
  const uint64_t key = packed(row.key);
  positions.erase(key);
  if (row.in) floors_.note(key, row.read_to(), now_ns);
}

void Changes::forget(uint64_t now_ns) {
  pair_heads  = {};
  group_heads = {};
  unread      = {};
  positions   = {};
  pairs       = {};
  members     = {};
  groups      = {};
  users       = {};
  recent_.clear();
  floors_.distrust(now_ns);
}

}  // namespace ringtalk::store::redis
