// Runtime: N threads, each with a ring, a bell and a loop; pinned one per core when there are enough.
//
// Thread rule  start() and join() from one thread. A body runs on its shard's thread.
// Errors       start() reports the first ring that could not be made; then no body runs.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "engine/base/result.h"
#include "engine/clock.h"
#include "engine/loop.h"
#include "engine/uring.h"

namespace ringtalk::engine {

class Runtime {
 public:
  struct Seat {
    uint32_t shard;
    Loop& loop;
    UringRing& ring;
    Bell& bell;
  };
  // Runs the shard's life; returns when it is over.
  using Body = std::function<void(Seat&)>;

  ~Runtime() { join(); }

  // Makes all rings, then calls ready() (bells and bell_fds are valid) on the caller's thread, then
  // lets the bodies run.
  Result<void> start(uint32_t shards, const RingConfig& config, Body body,
                     const std::function<void()>& ready);
  void join();

  uint32_t shards() const { return static_cast<uint32_t>(seats_.size()); }
  Bell& bell(uint32_t shard) { return seats_[shard]->bell; }
  const Metrics& metrics(uint32_t shard) const { return seats_[shard]->metrics; }
  int bell_fd(uint32_t shard) const { return seats_[shard]->bell_fd; }

 private:
  struct Thread {
    UringBell bell;
    Metrics metrics;  // outlives the loop that writes it: others read
    int bell_fd = -1;
    Error error;
    std::thread thread;
  };
  std::vector<std::unique_ptr<Thread>> seats_;
};

}  // namespace ringtalk::engine
