// Clock: monotonic and wall time; the only source of either.
//
// Thread rule   now_ns() of RealClock from any thread; FakeClock belongs to one thread.
// Cost          one vDSO call. A loop reads it once per turn and keeps the value.
// Why           an interface, so that the simulator and the tests tell the time instead of waiting.
//               A build with kill-points also adds the milliseconds written in the file named by
//               RINGTALK_CLOCK_OFFSET_FILE to both clocks: idle limits and expiries in seconds. The
//               wall clock follows the file back and forth, the monotonic one only forth.
#pragma once

#include <cstdint>

#include "engine/base/assert.h"
#include "engine/base/units.h"

namespace ringtalk::engine {

class Clock {
 public:
  virtual ~Clock() = default;

  virtual uint64_t now_ns()  = 0;  // monotonic; no meaning between processes
  virtual uint64_t wall_ns() = 0;  // since 1970 UTC; may jump either way
  // Processor time of the calling thread: a system call, and not to be set against now_ns().
  virtual uint64_t cpu_ns() = 0;
};

class RealClock final : public Clock {
 public:
  uint64_t now_ns() override;
  uint64_t wall_ns() override;
  uint64_t cpu_ns() override;
};

class FakeClock final : public Clock {
 public:
  explicit FakeClock(uint64_t now_ns = kNsPerS, uint64_t wall_ns = 1'700'000'000 * kNsPerS)
      : now_ns_(now_ns), wall_ns_(wall_ns) {}

  uint64_t now_ns() override { return now_ns_; }
  uint64_t wall_ns() override { return wall_ns_; }
  uint64_t cpu_ns() override { return cpu_ns_; }

  void work(uint64_t ns) {  // as advance(), on the processor
    cpu_ns_ += ns;
    advance(ns);
  }
  void advance(uint64_t ns) {
    RT_ASSERT(now_ns_ + ns >= now_ns_);
    now_ns_ += ns;
    wall_ns_ += ns;
  }
  void set_wall(uint64_t wall_ns) { wall_ns_ = wall_ns; }  // as an operator or NTP would

 private:
  uint64_t now_ns_;
  uint64_t wall_ns_;
  uint64_t cpu_ns_ = 0;
};

}  // namespace ringtalk::engine
