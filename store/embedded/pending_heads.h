// PendingHeads: heads of the conversations in the batch being closed, ahead of the durable ones.
//
// Bound     one entry per record of a batch at most; all memory taken at start.
// Cost      one look-up in a table that stays in the second-level cache; clear() is O(1).
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "engine/base/assert.h"
#include "store/embedded/format.h"

namespace ringtalk::store {

struct PendingHead {
  HeadEntry head;
  HeadEntry noted;    // what this batch adds to its segment's footer
  uint32_t tail = 0;  // hint, see Tails
};

class PendingHeads {
 public:
  explicit PendingHeads(uint32_t heads_max, uint64_t seed)
      : seed_(seed),
        slots_(std::bit_ceil(heads_max * 2)),
        shift_(64 - std::countr_zero(slots_.size())) {
    heads_.reserve(heads_max);
  }

  // *fresh: not in this batch yet; the entry is then zero and to be filled by the caller.
  PendingHead& get(uint64_t conversation, bool* fresh) {
    const uint64_t mask = slots_.size() - 1;
    for (uint64_t at = ((conversation ^ seed_) * 0x9e3779b97f4a7c15u) >> shift_;;
         at          = (at + 1) & mask) {
      Slot& slot = slots_[at];
      if (slot.generation != generation_) {
        RT_ASSERT(heads_.size() < heads_.capacity());
        slot   = {conversation, generation_, static_cast<uint32_t>(heads_.size())};
        *fresh = true;
        return heads_.emplace_back();
      }
      if (slot.conversation == conversation) {
        *fresh = false;
        return heads_[slot.index];
      }
    }
  }

  const std::vector<PendingHead>& all() const { return heads_; }

  void clear() {
    heads_.clear();
    if (++generation_ == 0) {
      std::ranges::fill(slots_, Slot{});
      generation_ = 1;
    }
  }

 private:
  struct Slot {
    uint64_t conversation = 0;
    uint32_t generation   = 0;
    uint32_t index        = 0;
  };

  const uint64_t seed_;
  std::vector<Slot> slots_;
  const int shift_;
  std::vector<PendingHead> heads_;
  uint32_t generation_ = 1;
};

}  // namespace ringtalk::store
