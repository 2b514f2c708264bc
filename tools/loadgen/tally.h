// Tally: what one worker counts, per second and in all.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

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
  engine::Histogram ack;        // intended send → 0x0302
  engine::Histogram delivery;   // intended send → push at the receiver
  engine::Histogram login;      // connect, or the cut before it → 0x0104
  engine::Histogram history;    // 0x0309 → 0x030a
  engine::Histogram lateness;   // intended send → handed to the ring: the generator's own fault
  engine::Histogram heartbeat;  // 0x0701 → its answer

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

// What came of a group that others write in (watch_group): who got which of its messages, and when.
struct Watch {
  struct Message {
    uint64_t connections = 0;  // that have it
    uint64_t first_ns    = 0;  // monotonic; 0: nobody has it
    uint64_t last_ns     = 0;
  };
  static constexpr size_t kMessagesMax = 1000;  // with times; what is above is checked, too

  uint64_t watchers   = 0;  // connections
  uint64_t newest_sum = 0;  // of the newest id of each
  uint32_t newest     = 0;
  std::vector<Message> messages;  // [id − 1]

  void note(uint32_t id, uint64_t now_ns);
  void merge(const Watch& other);
  uint64_t missing() const { return newest * watchers - newest_sum; }
};

using Errors = std::map<std::string, uint64_t>;

}  // namespace ringtalk::loadgen
