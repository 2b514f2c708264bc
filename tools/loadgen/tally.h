// Tally: what one worker counts, per second and in all.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "engine/histogram.h"

namespace ringtalk::loadgen {

struct Tally {
  uint64_t sent                = 0;  // messages that left for the server
  uint64_t acked               = 0;
  uint64_t delivered           = 0;  // pushed to their receiver
  uint64_t fetched             = 0;  // first seen in a history
  uint64_t logins              = 0;
  uint64_t cuts                = 0;  // connections that we ended
  uint64_t lost_connections    = 0;  // that we did not end
  uint64_t heartbeats          = 0;
  uint64_t heartbeats_answered = 0;
  uint64_t histories           = 0;  // answers to 0x0309
  uint64_t reads               = 0;  // 0x0303
  uint64_t skipped             = 0;  // schedule points whose sender was not logged in
  uint64_t unsent              = 0;  // that found the window full to the end of the run
  uint64_t received_bytes      = 0;

  Tally& operator+=(const Tally& other);
  Tally operator-(const Tally& other) const;
};

// Latencies in ns.
struct Timings {
  engine::Histogram ack;       // intended send → 0x0302
  engine::Histogram delivery;  // intended send → push at the receiver
  engine::Histogram login;     // connect, or the cut before it → 0x0104
  engine::Histogram history;   // 0x0309 → 0x030a
  engine::Histogram lateness;  // intended send → handed to the ring: the generator's own fault

  void merge(const Timings& other);
};

// One second of one worker; those of all workers are added up.
struct Second {
  uint64_t index = 0;  // since the run began
  Tally tally;
  std::unique_ptr<engine::Histogram> ack;  // empty: none was acknowledged
  std::unique_ptr<engine::Histogram> delivery;
  std::unique_ptr<engine::Histogram> login;
};

using Errors = std::map<std::string, uint64_t>;

}  // namespace ringtalk::loadgen
