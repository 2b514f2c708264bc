// Changes: what events told and Redis does not have yet, one entry per key however often it changes.
//
// Thread rule  The mirror's thread.
// Bound        size() entries; the owner clears it above its bound, and rebuilds.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <span>

#include "store/redis/event_lane.h"
#include "store/redis/floors.h"
#include "store/redis/mirror_source.h"
#include "store/redis/recent.h"

namespace ringtalk::store::redis {

constexpr uint64_t packed(MemberKey key) { return uint64_t{raw(key.group)} << 32 | raw(key.user); }
constexpr MemberKey member_of(uint64_t packed) {
  return {GroupId(packed >> 32), UserId(packed & 0xffffffffu)};
}

class Changes {
 public:
  template <class K>
  using Values = boost::unordered_flat_map<K, uint32_t>;
  template <class K>
  using Keys = boost::unordered_flat_set<K>;

  // Not `forgotten`.
  void take(const Event& event, uint64_t now_ns);
  // Answers of the source to what was asked: the values that follow wait to be written.
  void answer(const PairRow& row);
  // The member was written as the source has it; whatever was told of him before is in it.
  void wrote(const MemberRow& row, uint64_t now_ns);
  // A rebuild writes this row.
  void refresh(const PairRow& row) { recent_.refresh(row); }
  // Events were lost.
  void forget(uint64_t now_ns);
  void distrust(uint64_t now_ns) { floors_.distrust(now_ns); }

  size_t size() const {
    return pair_heads.size() + group_heads.size() + unread.size() + positions.size() +
           pairs.size() + members.size() + groups.size() + users.size();
  }
  bool empty() const { return size() == 0; }

  // To be written.
  Values<uint32_t> pair_heads;   // relation → newest
  Values<uint32_t> group_heads;  // group → newest
  Values<uint64_t> unread;       // user << 32 | peer → count
  Values<uint64_t> positions;    // packed MemberKey → read position
  // To be asked for: the source knows what is to be written.
  Keys<uint64_t> pairs;    // ConversationId::key
  Keys<uint64_t> members;  // packed MemberKey
  Keys<uint32_t> groups;   // all of its members
  Keys<uint32_t> users;    // push token

 private:
  void take_told(ConversationId pair, UserId user, Recent::Told told);
  void take_position(MemberKey member, uint32_t position, uint64_t now_ns);

  Recent recent_;
  Floors floors_;
};

}  // namespace ringtalk::store::redis
