// Floors: where the visible part of a group begins for those who joined lately.
//
// Why    A read position told by the user's shard may be from before he left and joined again, and come behind
//        what was read of his new membership. Nothing would correct it: the later events are those of others.
// Bound  2 × kRowsMax rows. A row is kept for kKeptNs at least, many times as long as a position takes from its
//        COMMIT to the mirror; when there are too many, positions are not believed for as long.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <optional>
#include <utility>

#include "engine/base/units.h"

namespace ringtalk::store::redis {

class Floors {
 public:
  static constexpr size_t kRowsMax  = 1 << 16;
  static constexpr uint64_t kKeptNs = 30 * kNsPerS;

  void note(uint64_t member, uint32_t position, uint64_t now_ns) {
    turn(now_ns);
    if (young_.size() < kRowsMax)
      young_[member] = position;
    else
      distrust(now_ns);
  }
  // Nothing is known of those who joined before now.
  void distrust(uint64_t now_ns) { distrusted_to_ns_ = now_ns + kKeptNs; }

  // The position told, or the floor if that is higher; none: the source has to be asked.
  std::optional<uint32_t> raise(uint64_t member, uint32_t position, uint64_t now_ns) {
    turn(now_ns);
    for (const Rows* rows : {&young_, &old_})
      if (const auto row = rows->find(member); row != rows->end())
        return std::max(position, row->second);
    if (now_ns < distrusted_to_ns_) return std::nullopt;
    return position;
  }

 private:
  using Rows = boost::unordered_flat_map<uint64_t, uint32_t>;

  void turn(uint64_t now_ns) {
    if (now_ns < turn_at_ns_) return;
    old_        = std::exchange(young_, {});
    turn_at_ns_ = now_ns + kKeptNs;
  }

  Rows young_, old_;
  uint64_t turn_at_ns_ = 0, distrusted_to_ns_ = 0;
};

}  // namespace ringtalk::store::redis
