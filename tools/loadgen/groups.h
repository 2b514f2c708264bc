// Groups: makes the groups of a run before its load.
//
//   small ones as their first members would: login, 0x0405, members by 0x0407
//   larger ones than members may bring together (limits.group_members_max) through the admin API
//
// Errors  A server that does not answer 0x0405 within kAnswerMs has no groups: MadeGroups::unsupported.
// Cost    Blocking, one request after the other.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/config.h"
#include "tools/loadgen/users.h"

namespace ringtalk::loadgen {

struct MadeGroups {
  std::vector<uint32_t> ids;
  bool unsupported = false;
  std::string problem;  // not empty: there are none
};

// Groups of `size` in the order of the accounts; what is left over is in none.
MadeGroups make_groups(const engine::Address& server, std::span<const Account> accounts,
                       uint32_t size, bool pc);
MadeGroups make_large_groups(Admin& admin, std::span<const Account> accounts, uint32_t size);

}  // namespace ringtalk::loadgen
