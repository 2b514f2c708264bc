// Plan: what this machine's limits allow, decided before anything is opened.
#pragma once

#include <cstdint>
#include <string>

#include "engine/uring.h"
#include "gateway/settings.h"

namespace ringtalk::gateway {

struct Plan {
  uint32_t shards = 1;
  engine::RingConfig ring;   // of each shard
  uint32_t http_slots  = 0;  // of shard 0's ring; the rest, and all of the others', is for clients
  uint64_t connections = 0;  // that fit, all shards
  std::string bounded_by;    // which limit to raise for more
  uint64_t lane_bytes          = 0;
  uint64_t buffer_bytes        = 0;
  uint64_t repeat_window_bytes = 0;
  uint64_t segment_notes_bytes = 0;  // at most, of the segments being written
  uint64_t connection_bytes    = 0;  // user space of all connections, idle
  uint32_t client_slots(uint32_t shard) const { return ring.slots - (shard == 0 ? http_slots : 0); }
  uint32_t http_connections() const { return http_slots * 4 / 5; }
  uint64_t fixed_bytes() const {
    return lane_bytes + buffer_bytes + repeat_window_bytes + segment_notes_bytes;
  }
};

// Raises the soft RLIMIT_NOFILE to the hard one first.
Plan make_plan(const Settings& settings);

}  // namespace ringtalk::gateway
