// MirrorSource: where the mirror reads what is true, when an event alone does not say it.
//
// Thread rule  The mirror's thread only; it may block.
// Contract     It shows at least every change that the mirror was told of: changes are told after their
//              COMMIT, and rows are read from the server that commits (a replica may lag).
//              A row is of one instant; different rows need not be.
// Bound        A slice has at most `limit` rows; fewer, or none, mean that the walk is at its end.
// Errors       Any: the mirror keeps what it wants to know and asks again a second later.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/result.h"
#include "proto/ids.h"
#include "store/store.h"

namespace ringtalk::store::redis {

// A conversation of two.
struct PairRow {
  uint32_t relation = 0;  // IMRelationShip.id
  UserId small{}, big{};
  uint32_t newest     = 0;  // id, 0: none
  uint32_t small_read = 0;  // read position of each …
  uint32_t big_read   = 0;
  uint32_t small_unread =
      0;  // … and how many visible messages of the other lie between it and newest
  uint32_t big_unread = 0;

  // False for a row that no program of ours made: it is passed over.
  bool valid() const { return raw(small) != 0 && small < big; }
};

struct GroupRow {
  GroupId group{};
  uint32_t newest = 0;
};

struct MemberKey {
  GroupId group{};
  UserId user{};

  friend constexpr auto operator<=>(MemberKey, MemberKey) = default;
};

// Whoever has a row in IMGroupMember: also those who left, so that what Redis says of them goes.
struct MemberRow {
  MemberKey key;
  bool in         = false;  // false too if the group was dismissed
  bool muted      = false;
  uint32_t joined = 0;  // seconds
  uint32_t first  = 0;  // id of the first message that he may see
  uint32_t position =
      0;  // what Store::cursor() would answer after a restart: own messages count as read

  // What lies before his first message is as good as read.
  uint32_t read_to() const { return first > position ? first - 1 : position; }
};

struct TokenRow {
  UserId user{};
  PushToken token;  // empty: he has none
};

// How many rows the walks will find, about: for the progress.
struct SourceSize {
  uint64_t pairs = 0, groups = 0, members = 0, users = 0;
};

class MirrorSource {
 public:
  virtual ~MirrorSource() = default;

  virtual Result<SourceSize> size() = 0;

  // Walks: in the order of the keys, behind `after`.
  virtual Result<std::vector<PairRow>> pairs(uint32_t after_relation, uint32_t limit) = 0;
  // Those in use.
  virtual Result<std::vector<GroupRow>> groups(GroupId after, uint32_t limit)     = 0;
  virtual Result<std::vector<MemberRow>> members(MemberKey after, uint32_t limit) = 0;
  // Every user, with and without a token.
  virtual Result<std::vector<TokenRow>> tokens(UserId after, uint32_t limit) = 0;

  // Those that exist, in any order; at most kSourceKeysMax are asked for.
  virtual Result<std::vector<PairRow>> find_pairs(std::span<const ConversationId> pairs)  = 0;
  virtual Result<std::vector<MemberRow>> find_members(std::span<const MemberKey> members) = 0;
  virtual Result<std::vector<TokenRow>> find_tokens(std::span<const UserId> users)        = 0;
};

inline constexpr uint32_t kSourceKeysMax = 256;  // of one find_…()

}  // namespace ringtalk::store::redis
