// Pace: so many a second with a burst, as one number (generic cell rate algorithm).
//
// Meaning  next_ns is when the bucket would be full again. Taking one moves it one interval on; it
//          may run ahead of the clock by the burst.
// Why      Eight bytes per user; nothing ticks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/base/units.h"

namespace ringtalk::shard {

class Pace {
 public:
  // 0: may take one now. Else the time at which it may.
  uint64_t wait_until(uint64_t now_ns, uint32_t per_second, uint32_t burst) const {
    if (per_second == 0) return 0;  // off
    const uint64_t interval = kNsPerS / per_second;
    const uint64_t ahead    = interval * (std::max(burst, 1u) - 1);
    return next_ns_ <= now_ns + ahead ? 0 : next_ns_ - ahead;
  }
  void take(uint64_t now_ns, uint32_t per_second) {
    if (per_second == 0) return;
    next_ns_ = std::max(next_ns_, now_ns) + kNsPerS / per_second;
  }
  // The same for something dearer: `cost` in hundredths of one. Nobody waits for more than debt_ns: a
  // client that asked for much must still hear its next heartbeat before it gives up.
  void take_cost(uint64_t now_ns, uint32_t per_second, uint32_t burst, uint32_t cost,
                 uint64_t debt_ns) {
    if (per_second == 0) return;
    const uint64_t interval = kNsPerS / per_second;
    const uint64_t most     = now_ns + interval * (std::max(burst, 1u) - 1) + debt_ns;
    next_ns_ =
        std::max(next_ns_, std::min(std::max(next_ns_, now_ns) + interval * cost / 100, most));
  }
  bool full(uint64_t now_ns) const { return next_ns_ <= now_ns; }
  uint64_t next_ns() const { return next_ns_; }

 private:
  uint64_t next_ns_ = 0;
};

}  // namespace ringtalk::shard
