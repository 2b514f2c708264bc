// Migrate: a TeamTalk database and its Redis become ones that ringtalkd works on.
//
//   look      schema, duplicates, oddities, what Redis adds: a report, nothing is written
//   apply     missing tables → duplicates settled → one ALTER per table → RT tables filled → version
//
// Restart   the version is written last and the engine refuses without it, so whatever was begun is begun
//           again: each step finds done what is done, or empties its tables first.
// Errors    thrown (std::runtime_error), as by Database and RedisPools.
#pragma once

#include <functional>
#include <string_view>

#include "tools/ctl/teamtalk/database.h"
#include "tools/ctl/teamtalk/redis_pools.h"
#include "tools/ctl/teamtalk/settle.h"
#include "tools/ctl/teamtalk/survey.h"
#include "tools/ctl/teamtalk/take_over.h"

namespace ringtalk::ctl {

using Progress = std::function<void(std::string_view)>;

// Why this database is not to be touched; empty: it may be.
std::string refusal(const store::sql::Inspection& inspection);
// Nothing is left to be done.
bool up_to_date(const store::sql::Inspection& inspection);
// The statements that bring the schema up to date, in their order; none is run.
std::vector<std::string> planned_statements(const store::sql::Inspection& inspection);
// Seconds since the original's servers showed themselves in Redis; a large number if they never did.
uint64_t original_silent_s(RedisPools& redis);

struct Migrated {
  Settled settled;
  Taken taken;
  uint64_t renumbered =
      0;  // rows that an earlier time under ringtalk left: the original's, from now on
};

// `redis` nullptr: without it.
Migrated migrate(Database& database, RedisPools* redis, const Progress& progress);

}  // namespace ringtalk::ctl
