// TakeOver: what only Redis knew, and what the original derived anew each time, written into the RT tables:
// where each conversation's numbers go on, who has read how far, who is in which group and since when,
// who took what off his list, whose device has which token.
//
// Restart   everything but IMGroupMember is emptied and written again: nobody else uses it before the
//           version is written. IMGroupMember comes out the same, however often.
// Dry run   the same walk without a write, for its counts.
// Memory    the messages of the longest conversation, some 100 bytes each; 20 bytes for each relation.
// Errors    thrown, as by Database and RedisPools.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tools/ctl/teamtalk/database.h"
#include "tools/ctl/teamtalk/positions.h"
#include "tools/ctl/teamtalk/redis_pools.h"

namespace ringtalk::ctl {

struct Taken {
  uint64_t conversations   = 0;  // of two, with a message
  uint64_t groups          = 0;  // with a message
  uint64_t messages        = 0;
  uint64_t cursors         = 0;
  uint64_t unread          = 0;  // pairs of user and conversation with something unread
  uint64_t counters_behind = 0;  // in Redis, lower than the highest stored id
  uint64_t counters_insane = 0;
  uint64_t sessions_made   = 0;  // rows that a conversation lacked, as removed ones
  uint64_t sessions_hidden = 0;
  uint64_t members         = 0;
  uint64_t members_joined  = 0;  // in Redis only: IMGroupMember learns of them
  uint64_t members_left    = 0;  // in IMGroupMember only
  uint64_t members_unknown = 0;  // in Redis, but no user
  uint64_t muted           = 0;
  uint64_t counts_mended   = 0;  // IMGroup.userCnt
  uint64_t tokens          = 0;
  uint64_t tokens_skipped  = 0;  // no prefix, or somebody else's
};

struct Relation {
  uint32_t id = 0, small = 0, big = 0;
};

class TakeOver {
 public:
  // `redis` nullptr: without it. Then everything counts as read, and IMGroupMember alone says who is in.
  TakeOver(Database& database, RedisPools* redis, bool write,
           std::function<void(std::string_view)> progress);

  Taken run();

 private:
  struct Member;

  void forget();
  void load_relations();
  void load_unread();
  void conversations();
  void conversations_of(uint32_t table, NumberRows& figures, NumberRows& cursors);
  void take_pair(const Relation& relation, const Conversation& conversation, NumberRows& figures,
                 NumberRows& cursors);
  void sessions();
  void groups();
  void groups_of(uint32_t table, NumberRows& figures, NumberRows& cursors);
  void take_members(const std::vector<uint32_t>& groups,
                    const std::unordered_map<uint32_t, Conversation>& conversations,
                    NumberRows& cursors);
  void write_member(uint32_t group, uint32_t user, const Member& member);
  void tokens();
  Conversation conversation_of(std::vector<OldMessage>& messages, std::optional<uint64_t> counter,
                               uint32_t small);
  std::vector<std::optional<uint64_t>> counters(std::string_view prefix,
                                                const std::vector<uint32_t>& ids);

  Database& database_;
  RedisPools* const redis_;
  const bool write_;
  const std::function<void(std::string_view)> progress_;
  const uint32_t now_;
  Taken taken_;
  std::vector<Relation> relations_;                // by id
  std::unordered_map<uint64_t, uint64_t> unread_;  // reader << 32 | peer
  std::unordered_set<uint64_t> removed_groups_;    // user << 32 | group: off his list
  std::unordered_set<uint32_t> users_;
};

}  // namespace ringtalk::ctl
