#include "engine/loop.h"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "engine/stream.h"

namespace ringtalk::engine {
namespace {

constexpr uint64_t kLongTurnNs     = 2 * kNsPerMs;
constexpr uint64_t kCpuReadEveryNs = kNsPerMs / 2;

}  // namespace

Loop::Loop(Ring& ring, Clock& clock, Bell& bell, Metrics& metrics)
    : ring_(ring), clock_(clock), bell_(bell), timers_(clock.now_ns()), metrics_(metrics) {
  read_clock();
  cpu_ns_    = clock_.cpu_ns();
  cpu_at_ns_ = now_ns_;
}

void Loop::read_clock() {
  now_ns_  = clock_.now_ns();
  wall_ns_ = clock_.wall_ns();
  stale_   = false;
}

void Loop::turn(bool may_sleep) {
  uint64_t wait_ns = 0;
  if (may_sleep) {
    const uint64_t due = std::min(timers_.next_due_ns(), client_->wake_ns());
    wait_ns            = due > now_ns_ ? std::min(due - now_ns_, kSleepNsMax) : 0;
    bell_.fall_asleep();
    if (client_->work_waits()) wait_ns = 0;
  }
  if (wait_ns == 0 && client_->lets_others_first()) ::sched_yield();
  stale_ = true;  // completions run behind the wait, inside turn()
  ring_.turn(wait_ns);
  iovecs_.clear();  // those of the previous turn's sends are submitted now
  bell_.wake_up();
  const uint64_t began = now_ns();

  client_->on_turn();
  timers_.advance(now_ns_);
  flush_dirty();
  client_->on_turn_end();
  flush_dirty();  // what the end of the turn answered must not lie here while the loop sleeps
  const uint64_t worked = clock_.now_ns() - began;
  metrics_.add(Counter::loop_turns);
  metrics_.add(Counter::loop_busy, worked);
  if (wait_ns > 0) metrics_.add(Counter::loop_sleeps);
  metrics_.record(Timing::turn_time, worked);
  judge_turn(worked);
}

// Whether the shard was held by its own work or by somebody else on its core. The processor time is read
// no more often than a system call costs nothing; what was used since the last reading, up to
// kCpuReadEveryNs before this turn, counts as this turn's.
void Loop::judge_turn(uint64_t worked_ns) {
  const uint64_t now   = now_ns_ + worked_ns;
  const bool long_turn = worked_ns > kLongTurnNs;
  if (!long_turn && now - cpu_at_ns_ < kCpuReadEveryNs) return;
  const uint64_t cpu  = clock_.cpu_ns();
  const uint64_t used = cpu - std::exchange(cpu_ns_, cpu);
  cpu_at_ns_          = now;
  if (!long_turn) return;
  metrics_.add(Counter::loop_long_turns);
  if (used > kLongTurnNs) metrics_.add(Counter::loop_held_turns);
}

void Loop::flush_dirty() {
  // A flush only queues operations; nothing becomes dirty meanwhile.
  for (Stream* stream : dirty_) stream->flush();
  dirty_.clear();
}

void Loop::forget(Stream& stream) { std::erase(dirty_, &stream); }

}  // namespace ringtalk::engine
