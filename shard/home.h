// Home: which shard owns a user, a conversation, a login name. Pure functions of the id.
//
// Why  All devices, presence and unacknowledged state of a user live in one place, and routing is
//      arithmetic. A conversation of two lives with its smaller user id, so a message never needs a
//      third shard.
#pragma once

#include <string_view>

#include "proto/ids.h"

namespace ringtalk::shard {

constexpr uint64_t mix(uint64_t x) {  // splitmix64's finisher: ids are dense, shards are few
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

constexpr uint32_t home(UserId user, uint32_t shards) {
  return static_cast<uint32_t>(mix(raw(user)) % shards);
}
constexpr uint32_t home(GroupId group, uint32_t shards) {
  return static_cast<uint32_t>(mix(raw(group) | 1ull << 32) % shards);
}
constexpr uint32_t home(ConversationId conversation, uint32_t shards) {
  return conversation.is_group() ? home(conversation.group(), shards)
                                 : home(conversation.small(), shards);
}
// Who counts wrong passwords and checks them: one place per name, whichever shard accepted.
constexpr uint32_t login_desk(std::string_view name, uint32_t shards) {
  uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return static_cast<uint32_t>(mix(hash) % shards);
}

}  // namespace ringtalk::shard
