#include "store/embedded/tails.h"

namespace ringtalk::store {

void Tail::push(uint32_t id, Pointer place) {
  RT_ASSERT(id > 0);
  const bool new_block = (id - 1) % kBlockMessages == 0;
  if (new_block || id != first + count) {
    first = id;
    count = 0;
  }
  RT_ASSERT(count < kBlockMessages);
  pointers[count++] = place;
}

Tail& Tails::open(uint64_t conversation, uint32_t* hint) {
  for (;;) {
    Tail& tail           = tails_[hand_];
    const uint32_t index = hand_;
    hand_                = (hand_ + 1) % static_cast<uint32_t>(tails_.size());
    if (tail.used) {
      tail.used = 0;
      continue;
    }
    tail.conversation = conversation;
    tail.first = tail.count = tail.jumps_block = 0;
    tail.used                                  = 1;
    *hint                                      = index + 1;
    return tail;
  }
}

}  // namespace ringtalk::store
