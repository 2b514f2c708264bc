#include "shard/delivery_watch.h"

#include <algorithm>
#include <bit>

#include "shard/home.h"

namespace ringtalk::shard {

DeliveryWatch::DeliveryWatch(uint64_t bytes_max, uint32_t wait_s)
    : wait_s_(wait_s),
      buckets_(std::max<uint64_t>(1, std::bit_floor(bytes_max / sizeof(Bucket))), Pages::huge),
      mask_(buckets_.size() - 1) {}

DeliveryWatch::Place DeliveryWatch::place(uint64_t session, uint32_t author, uint32_t msg_id) {
  const uint64_t group = mix(session) * kLines;
  const uint64_t hash  = mix(session ^ mix(uint64_t{author} << 32 | msg_id));
  return {&buckets_[(group + hash % kLines) & mask_], static_cast<uint32_t>(hash >> 32) | 1};
}

void DeliveryWatch::delivered(uint64_t session, uint32_t author, uint32_t msg_id, uint32_t now_s) {
  auto [bucket, tag] = place(session, author, msg_id);
  uint32_t at        = 0;
  for (uint32_t way = 0; way < kWays; ++way) {
    if (bucket->tag[way] == 0) {
      at = way;
      break;
    }
    if (bucket->expiry[way] < bucket->expiry[at]) at = way;
  }
  if (bucket->tag[at] != 0) {
    ++untracked_;
  } else {
    ++waiting_;
  }
  bucket->tag[at]    = tag;
  bucket->expiry[at] = now_s + wait_s_;
}

bool DeliveryWatch::confirmed(uint64_t session, uint32_t author, uint32_t msg_id) {
  auto [bucket, tag] = place(session, author, msg_id);
  for (uint32_t way = 0; way < kWays; ++way) {
    if (bucket->tag[way] != tag) continue;
    bucket->tag[way] = 0;
    --waiting_;
    return true;
  }
  return false;
}

uint32_t DeliveryWatch::sweep(uint32_t now_s) {
  if (waiting_ == 0) return 0;
  uint32_t missed      = 0;
  const uint64_t slice = (buckets_.size() + kSlices - 1) / kSlices;
  for (uint64_t i = 0; i < slice; ++i) {
    Bucket& bucket = buckets_[next_++ & mask_];
    for (uint32_t way = 0; way < kWays; ++way) {
      if (bucket.tag[way] == 0 || bucket.expiry[way] > now_s) continue;
      bucket.tag[way] = 0;
      ++missed;
    }
  }
  waiting_ -= missed;
  return missed;
}

}  // namespace ringtalk::shard
