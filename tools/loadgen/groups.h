// Groups: makes the groups of a run as their first members would: login, 0x0405, members by 0x0407.
//
// Errors  A server that does not answer 0x0405 within kAnswerMs has no groups: Made::unsupported.
// Cost    Blocking, one connection after the other, before the load.
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

}  // namespace ringtalk::loadgen
