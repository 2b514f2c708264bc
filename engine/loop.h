// Loop: one shard's turn, over and over: wait, run completions, drain lanes, fire timers, flush sends.
//
//     ring.turn ─ completions ─▶ client.on_turn ─ lanes, workers, ready work ─▶ timers
//         ▲                                                                      │
//         └── client.on_turn_end (commit, announce lanes) ◀── flush dirty streams ┘
//
// Thread rule  One thread. Nothing here blocks but ring.turn(), and that only when no work waits.
// Cost         The clock is read once per turn, by the first who asks after the wait.
// Why          Sends queued during a turn leave together at its end: coalescing is what pays.
#pragma once

#include <array>
#include <deque>
#include <vector>

#include "engine/bell.h"
#include "engine/block_pool.h"
#include "engine/clock.h"
#include "engine/metrics.h"
#include "engine/ring.h"
#include "engine/send_queue.h"
#include "engine/timer_wheel.h"

namespace ringtalk::engine {

class Stream;

class LoopClient {
 public:
  virtual ~LoopClient() = default;
  // Lanes, finished jobs, postponed work. Bounded; what is left over shows in work_waits().
  virtual void on_turn() = 0;
  // After the sends of this turn were queued: start commits, announce lanes.
  virtual void on_turn_end() = 0;
  // True: do not sleep.
  virtual bool work_waits() = 0;
  // Of what waits nothing is urgent, and the kernel's threads have work of ours (a commit's sync): they go
  // first, where they share this core. Else they would wait for a whole slice of the scheduler, 3 ms.
  virtual bool lets_others_first() { return false; }
  // Sleep no longer than until then (monotonic): for who needs a finer time than the timers' tick.
  virtual uint64_t wake_ns() { return UINT64_MAX; }
};

class Loop {
 public:
  static constexpr uint64_t kSleepNsMax = kNsPerS;

  Loop(Ring& ring, Clock& clock, Bell& bell, Metrics& metrics);
  Loop(const Loop&)            = delete;
  Loop& operator=(const Loop&) = delete;

  void set_client(LoopClient& client) { client_ = &client; }

  Ring& ring() { return ring_; }
  TimerWheel& timers() { return timers_; }
  BlockPool& blocks() { return blocks_; }
  uint64_t now_ns() {  // monotonic
    if (stale_) read_clock();
    return now_ns_;
  }
  uint64_t wall_ns() {  // since 1970
    if (stale_) read_clock();
    return wall_ns_;
  }
  uint32_t wall_s() { return static_cast<uint32_t>(wall_ns() / kNsPerS); }

  // One turn. `may_sleep` false: looks, but does not wait (simulator, drain).
  void turn(bool may_sleep = true);

  // Its timing turn_time: nanoseconds of work in a turn, which a completion may have had to wait.
  Metrics& metrics() { return metrics_; }

  // --- for streams
  void flush_later(Stream& stream) { dirty_.push_back(&stream); }
  // Forgets a stream that goes away while waiting to be flushed.
  void forget(Stream& stream);
  // Memory for an iovec array that must live until the next submission.
  std::span<iovec> iovecs() { return iovecs_.emplace_back(); }
  // For operations whose result says nothing that another completion does not say too.
  Completion& ignored() { return ignored_; }

 private:
  void read_clock();
  void flush_dirty();
  void judge_turn(uint64_t worked_ns);

  Ring& ring_;
  Clock& clock_;
  Bell& bell_;
  LoopClient* client_ = nullptr;
  uint64_t now_ns_    = 0;
  uint64_t wall_ns_   = 0;
  bool stale_         = false;  // the loop may have slept since the clock was read
  uint64_t cpu_ns_    = 0;      // processor time of this thread, as read …
  uint64_t cpu_at_ns_ = 0;      // … at this time
  TimerWheel timers_;
  BlockPool blocks_;
  std::vector<Stream*> dirty_;
  std::deque<std::array<iovec, SendQueue::kGatherMax>> iovecs_;
  Completion ignored_{[](Completion&, int32_t, uint32_t) noexcept {}};
  Metrics& metrics_;
};

}  // namespace ringtalk::engine
