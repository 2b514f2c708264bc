// HandBack: what ringtalk derives or keeps in tables of its own, written where the original's servers look
// for it, so that they can start on the same MySQL and Redis.
//
//   IMRecentSession  times and statuses; rows of groups that have a message
//   IMGroup          userCnt, lastChated
//   Redis            id counters, unread counters, members, mutes, push tokens: all of data that we know
//
// Restart  it marks the database first: ringtalkd does not start on it any more; and takes the version away
//          last. In between it may be repeated, or undone with `ringtalkctl migrate --apply`.
// Errors   thrown, as by Database and RedisPools.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tools/ctl/teamtalk/database.h"
#include "tools/ctl/teamtalk/positions.h"
#include "tools/ctl/teamtalk/redis_pools.h"

namespace ringtalk::ctl {

struct HandedBack {
  uint64_t conversations = 0, groups = 0, members = 0, tokens = 0;
  uint64_t unread   = 0;  // pairs of user and conversation with something unread
  uint64_t sessions = 0;  // rows that changed or came
  std::vector<std::string> without_password;  // active users that the original cannot let in
};

class HandBack {
 public:
  HandBack(Database& database, RedisPools& redis, std::function<void(std::string_view)> progress);

  HandedBack run();

 private:
  void begin();
  void load_positions();
  void conversations();
  void groups();
  void members_of(uint32_t group, const Conversation& conversation);
  void sessions();
  void tokens();
  void finish();
  uint32_t position(uint32_t user, uint64_t type, uint32_t target) const;
  // Rows of the original's counted up to the take-over, and what came since.
  Conversation conversation_of(std::vector<OldMessage>& messages, uint64_t type, uint32_t id,
                               uint32_t small);

  Database& database_;
  RedisPools& redis_;
  const std::function<void(std::string_view)> progress_;
  const uint32_t now_;
  HandedBack done_;
  std::unordered_map<uint64_t, uint32_t> read_[3];   // by type; user << 32 | peer or group
  std::unordered_map<uint32_t, uint32_t> taken_[3];  // by type; RTConversation.newest
};

}  // namespace ringtalk::ctl
