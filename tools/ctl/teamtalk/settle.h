// Settle: what unique keys do not allow, made single. TeamTalk has no unique keys: two servers that saw
// nothing of each other wrote the same row twice.
//
// Restart  each step is one transaction per case, and a case that is settled is none any more.
// Errors   thrown, as by Database.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "tools/ctl/teamtalk/database.h"
#include "tools/ctl/teamtalk/redis_pools.h"

namespace ringtalk::ctl {

struct Settled {
  uint64_t adopted  = 0;  // relations made again for messages that had none
  uint64_t turned   = 0;  // relations written the wrong way round
  uint64_t merged   = 0;  // second relations of a pair
  uint64_t appended = 0;  // their messages that went behind the main one's
  uint64_t kept     = 0;  // their messages that stayed under the old number
  uint64_t sessions = 0;  // rows dropped
  uint64_t members  = 0;  // rows dropped
};

// `redis` may be nullptr: then the highest stored id alone says where a conversation's numbers end.
Settled settle(Database& database, RedisPools* redis,
               const std::function<void(std::string_view)>& progress);

}  // namespace ringtalk::ctl
