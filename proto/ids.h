// Identities. Every id is a type of its own: a user is not a group, a group is not a conversation.
#pragma once

#include <compare>
#include <cstdint>

namespace ringtalk {

enum class UserId : uint32_t {};   // 1…; 0 is nobody
enum class GroupId : uint32_t {};  // 1…; 0 is none

constexpr uint32_t raw(UserId id) { return static_cast<uint32_t>(id); }
constexpr uint32_t raw(GroupId id) { return static_cast<uint32_t>(id); }

// A conversation of two users (small << 32 | big) or of a group (0 << 32 | group).
// User ids start at 1, so the two kinds never meet. This is also the key in the message log.
struct ConversationId {
  uint64_t key = 0;

  static constexpr ConversationId single(UserId a, UserId b) {
    const uint64_t x = raw(a), y = raw(b);
    return {x < y ? (x << 32 | y) : (y << 32 | x)};
  }
  static constexpr ConversationId group(GroupId id) { return {raw(id)}; }

  constexpr bool is_group() const { return key >> 32 == 0; }
  constexpr UserId small() const { return UserId(key >> 32); }
  constexpr UserId big() const { return UserId(key & 0xffffffffu); }
  constexpr GroupId group() const { return GroupId(key & 0xffffffffu); }
  constexpr UserId peer_of(UserId user) const { return user == small() ? big() : small(); }

  friend constexpr auto operator<=>(ConversationId, ConversationId) = default;
};

}  // namespace ringtalk
