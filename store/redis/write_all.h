// write_all(): everything that Redis should hold, written once and to the end, for `ringtalkctl handback`.
//
// Thread rule  The caller's; it blocks. No engine runs on the store meanwhile.
// Errors       closed: Redis, os: the source, if either fails for kPatienceNs without a row between; said in
//              `why`. What was written by then stays; called again it begins anew.
#pragma once

#include <functional>
#include <string>

#include "store/redis/mirror.h"

namespace ringtalk::store::redis {

inline constexpr uint64_t kPatienceNs = 10 * kNsPerS;

// progress: rows written and, about, to be written; called between slices.
Result<void> write_all(const Pools& pools, const Connect& connect, MirrorSource& source,
                       engine::Clock& clock, engine::Random& random,
                       const std::function<void(uint64_t done, uint64_t total)>& progress,
                       std::string& why);

}  // namespace ringtalk::store::redis
