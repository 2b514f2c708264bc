// TimerWheel: coarse timers of one loop.
//
// Thread rule   the loop that owns it.
// Cost          arm, cancel, re-arm O(1); a turn with nothing due is one comparison. A timer farther
//               away than 64 ticks is moved once or more before it fires (see the table).
// Precision     never early, at most one tick late (8 ms unless told otherwise).
// Lifetime      a Timer is part of the object that waits; cancel it before that object goes.
// Invariants    (1) every armed timer is in the slot of its deadline on the lowest level that
//                   reached it when it was placed, or in due_
//               (2) a slot's bit is set if and only if the slot is not empty
//               (3) next_event_ is at or before the first tick at which a slot must be opened
// Why           idle limits are re-armed lazily (the callback looks at the time of the last byte and
//               arms again), so a connection touches the wheel once per limit, not once per frame.
//               Level 0 is narrow so that opening one slot of level 1 moves few timers: a million
//               limits of 120 s come in portions of 4,300. Level 1 reaches 524 s, beyond every idle
//               limit, so those are moved once.
//
//   LEVEL  SLOTS  TICKS PER SLOT  REACH AT 8 ms
//   0         64               1  0.5 s
//   1       1024              64  524 s
//   2       1024          65,536  6.2 days
//   3         64      67,108,864  397 days; farther deadlines wait here and are placed again
#pragma once

#include <array>
#include <cstdint>

#include "engine/base/units.h"

namespace ringtalk::engine {

class Timer {
 public:
  using Fire = void (*)(Timer&) noexcept;

  explicit Timer(Fire fire) : fire_(fire) {}
  Timer(const Timer&)            = delete;
  Timer& operator=(const Timer&) = delete;

  bool armed() const { return link_ != nullptr; }

 private:
  friend class TimerWheel;
  Fire fire_;
  Timer* next_   = nullptr;
  Timer** link_  = nullptr;  // what points at this timer; null: not armed
  uint64_t tick_ = 0;        // deadline
};
static_assert(sizeof(Timer) == 32, "part of every session");

class TimerWheel {
 public:
  static constexpr uint64_t kNever = UINT64_MAX;

  explicit TimerWheel(uint64_t now_ns, uint64_t tick_ns = 8 * kNsPerMs);
  TimerWheel(const TimerWheel&)            = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Arms, or moves an armed timer. A deadline in the past fires at the next tick.
  void arm(Timer& timer, uint64_t deadline_ns);
  void cancel(Timer& timer);  // nothing happens if it is not armed

  // Fires what is due, by tick. A callback may arm and cancel any timer, its own included, and may
  // destroy its own. After fires_max the rest stays due for the next call. Returns timers fired.
  uint32_t advance(uint64_t now_ns, uint32_t fires_max = UINT32_MAX);

  // When to call advance() again: never later than the next timer needs, perhaps earlier.
  uint64_t next_due_ns() const;

  uint32_t armed_count() const { return armed_count_; }
  void check_invariants() const;  // O(armed)

 private:
  struct Level {
    uint32_t shift;       // log2 of ticks per slot
    uint32_t slots;       // power of two
    uint32_t first_slot;  // in heads_
  };
  static constexpr uint32_t kLevels = 4;
  static constexpr uint32_t kSlots  = 64 + 1024 + 1024 + 64;
  static constexpr std::array<Level, kLevels> kLevel{Level{0, 64, 0}, Level{6, 1024, 64},
                                                     Level{16, 1024, 1088}, Level{26, 64, 2112}};

  uint64_t tick_of(uint64_t deadline_ns) const;
  void place(Timer& timer);
  void push(Timer*& head, Timer& timer);
  void unlink(Timer& timer);
  void open_slots();
  uint32_t fire_due(uint32_t fires_max);
  uint64_t find_next_event() const;
  uint64_t slots_until_occupied(const Level& level, uint64_t from) const;

  const uint64_t start_ns_;
  const uint64_t tick_ns_;
  uint64_t current_     = 0;       // ticks since start_ns_; everything up to here was opened
  uint64_t next_event_  = kNever;  // tick
  Timer* due_           = nullptr;
  uint32_t armed_count_ = 0;
  std::array<Timer*, kSlots> heads_{};
  std::array<uint64_t, kSlots / 64> occupied_{};
};

}  // namespace ringtalk::engine
