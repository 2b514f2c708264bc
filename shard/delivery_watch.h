// DeliveryWatch: which pushed messages their receiver has not confirmed (0x0302, 0x0303) yet.
//
// Purpose      Statistics only: nothing is ever sent again on a live connection; what repairs a loss
//              is the stored unread state.
// Shape        Buckets of eight 32-bit tags with their expiry; fixed memory, no allocation.
// Bound        bytes given; a full bucket forgets its oldest entry uncounted (untracked()).
// Cost         One cache line per delivery and per confirmation. A session's deliveries lie in four
//              neighbouring lines, so what is in use stays in the cache; the sweep touches the whole
//              table once per second in slices, one per tick.
// Thread rule  The receiver's home shard.
#pragma once

#include <cstdint>

#include "engine/base/zeroed_array.h"

namespace ringtalk::shard {

class DeliveryWatch {
 public:
  DeliveryWatch(uint64_t bytes_max, uint32_t wait_s);

  // `session`: any number that names the session's use of its slot.
  void delivered(uint64_t session, uint32_t author, uint32_t msg_id, uint32_t now_s);
  // True if it was waited for.
  bool confirmed(uint64_t session, uint32_t author, uint32_t msg_id);
  // About ten times a second; returns how many were missed since.
  uint32_t sweep(uint32_t now_s);

  uint64_t untracked() const { return untracked_; }

 private:
  static constexpr uint32_t kWays   = 8;
  static constexpr uint32_t kSlices = 10;
  static constexpr uint32_t kLines  = 4;  // of one session
  struct alignas(64) Bucket {
    uint32_t tag[kWays];     // 0: free
    uint32_t expiry[kWays];  // seconds
  };
  static_assert(sizeof(Bucket) == 64);

  struct Place {
    Bucket* bucket;
    uint32_t tag;
  };
  Place place(uint64_t session, uint32_t author, uint32_t msg_id);

  const uint32_t wait_s_;
  ZeroedArray<Bucket> buckets_;
  uint64_t mask_      = 0;
  uint64_t untracked_ = 0;
  uint64_t waiting_   = 0;
  uint64_t next_      = 0;  // bucket the sweep continues at
};

}  // namespace ringtalk::shard
