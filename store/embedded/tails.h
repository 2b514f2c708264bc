// Tails: for conversations written to lately, where their messages since the last block record lie.
//
// Bound     tails_max tails of 792 bytes, all taken at start; the least recently used goes (clock).
// Cost      O(1); no allocation.
// Lifetime  a tail may be taken over by another conversation at any open(): who keeps an index asks
//           get(index, conversation) each time.
// Why       with the 32 pointers at hand a block record leaves in the same commit as message 32 k, and
//           a page of a warm conversation starts without a single dependent read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/assert.h"
#include "store/embedded/format.h"

namespace ringtalk::store {

struct Tail {
  uint64_t conversation = 0;
  uint32_t first        = 0;  // id of pointers[0]
  uint32_t count        = 0;
  uint32_t jumps_block  = 0;  // jumps[] are those of this block number; 0 = not known
  uint32_t used         = 0;  // since the clock hand came by
  Pointer pointers[kBlockMessages];
  Pointer jumps[kJumpsMax];

  // Notes where message `id` lies. Ids come in order; after a gap only the newest are kept.
  void push(uint32_t id, Pointer place);
  // Whether block k, whose last message was just pushed, can be written from memory.
  bool complete(uint32_t block) const {
    return count == kBlockMessages && first == (block - 1) * kBlockMessages + 1 &&
           jumps_block == block;
  }
  // Where message `id` lies, or nowhere.
  Pointer find(uint32_t id) const {
    return id >= first && id - first < count ? pointers[id - first] : Pointer{};
  }
};

class Tails {
 public:
  explicit Tails(uint32_t tails_max) : tails_(tails_max) { RT_ASSERT(tails_max > 0); }

  // Index + 1 as kept in a head row; 0 and indices of tails taken over give nullptr.
  Tail* get(uint32_t hint, uint64_t conversation) {
    if (hint == 0 || hint > tails_.size() || tails_[hint - 1].conversation != conversation)
      return nullptr;
    Tail& tail = tails_[hint - 1];
    tail.used  = 1;
    return &tail;
  }
  // A fresh, empty tail; *hint names it from now on.
  Tail& open(uint64_t conversation, uint32_t* hint);

  uint64_t memory_bytes() const { return tails_.size() * sizeof(Tail); }

 private:
  std::vector<Tail> tails_;
  uint32_t hand_ = 0;
};

}  // namespace ringtalk::store
