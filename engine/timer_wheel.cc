#include "engine/timer_wheel.h"

#include <algorithm>
#include <bit>

#include "engine/base/assert.h"

namespace ringtalk::engine {

TimerWheel::TimerWheel(uint64_t now_ns, uint64_t tick_ns) : start_ns_(now_ns), tick_ns_(tick_ns) {
  RT_ASSERT(tick_ns > 0);
}

void TimerWheel::arm(Timer& timer, uint64_t deadline_ns) {
  if (timer.armed()) cancel(timer);
  // A callback that arms its own timer for «now» must not be run again in this turn.
  timer.tick_ = std::max(tick_of(deadline_ns), current_ + 1);
  place(timer);
  ++armed_count_;
}

void TimerWheel::cancel(Timer& timer) {
  if (!timer.armed()) return;
  unlink(timer);
  RT_ASSERT(armed_count_ > 0);
  --armed_count_;  // next_event_ stays: it may now be too early, never too late
}

uint32_t TimerWheel::advance(uint64_t now_ns, uint32_t fires_max) {
  // A test build's clock may be set back: then there is nothing to do.
  const uint64_t target = now_ns <= start_ns_ ? 0 : (now_ns - start_ns_) / tick_ns_;
  uint32_t fired        = fire_due(fires_max);
  while (due_ == nullptr && current_ < target) {
    if (next_event_ > target) {
      current_ = target;
      break;
    }
    RT_ASSERT(next_event_ > current_);
    current_ = next_event_;
    open_slots();
    next_event_ = find_next_event();
    fired += fire_due(fires_max - fired);
  }
  return fired;
}

uint64_t TimerWheel::next_due_ns() const {
  if (due_ != nullptr) return start_ns_ + current_ * tick_ns_;
  if (next_event_ == kNever) return kNever;
  uint64_t from_start;
  uint64_t ns;
  if (__builtin_mul_overflow(next_event_, tick_ns_, &from_start)) return kNever;
  if (__builtin_add_overflow(start_ns_, from_start, &ns)) return kNever;
  return ns;
}

// Rounded up: a timer never fires early.
uint64_t TimerWheel::tick_of(uint64_t deadline_ns) const {
  if (deadline_ns <= start_ns_) return 0;
  const uint64_t ns = deadline_ns - start_ns_;
  return ns / tick_ns_ + (ns % tick_ns_ != 0);
}

void TimerWheel::place(Timer& timer) {
  RT_ASSERT(timer.tick_ >= current_);
  constexpr uint64_t kReach = (uint64_t{1} << 32) - 1;
  const uint64_t distance   = std::min(timer.tick_ - current_, kReach);
  const uint64_t tick       = current_ + distance;
  uint32_t number           = 0;
  while (distance >= uint64_t{kLevel[number].slots} << kLevel[number].shift) ++number;
  const Level& level  = kLevel[number];
  const uint64_t turn = tick >> level.shift;
  const uint32_t slot = level.first_slot + static_cast<uint32_t>(turn & (level.slots - 1));
  push(heads_[slot], timer);
  occupied_[slot / 64] |= uint64_t{1} << slot % 64;
  next_event_ = std::min(next_event_, turn << level.shift);
}

void TimerWheel::push(Timer*& head, Timer& timer) {
  timer.next_ = head;
  timer.link_ = &head;
  if (head != nullptr) head->link_ = &timer.next_;
  head = &timer;
}

void TimerWheel::unlink(Timer& timer) {
  RT_ASSERT(*timer.link_ == &timer);
  *timer.link_ = timer.next_;
  if (timer.next_ != nullptr) timer.next_->link_ = timer.link_;
  // Compared as integers: link_ usually points into another timer.
  const uintptr_t link  = reinterpret_cast<uintptr_t>(timer.link_);
  const uintptr_t first = reinterpret_cast<uintptr_t>(heads_.data());
  if (timer.next_ == nullptr && link >= first && link < first + sizeof heads_) {
    const uint64_t slot = (link - first) / sizeof(Timer*);
    occupied_[slot / 64] &= ~(uint64_t{1} << slot % 64);
  }
  timer.next_ = nullptr;
  timer.link_ = nullptr;
}

// Spreads the slots of higher levels whose time has come, highest first, then takes level 0's.
void TimerWheel::open_slots() {
  for (uint32_t number = kLevels; number-- > 0;) {
    const Level& level = kLevel[number];
    if ((current_ & ((uint64_t{1} << level.shift) - 1)) != 0) continue;
    const uint64_t slot = level.first_slot + ((current_ >> level.shift) & (level.slots - 1));
    Timer* timer        = heads_[slot];
    heads_[slot]        = nullptr;
    occupied_[slot / 64] &= ~(uint64_t{1} << slot % 64);
    if (number == 0) {
      RT_ASSERT(due_ == nullptr);
      due_ = timer;
      if (timer != nullptr) timer->link_ = &due_;
      continue;
    }
    while (timer != nullptr) {
      Timer* const next = timer->next_;
      place(*timer);
      timer = next;
    }
  }
}

uint32_t TimerWheel::fire_due(uint32_t fires_max) {
  uint32_t fired = 0;
  while (due_ != nullptr && fired < fires_max) {
    Timer& timer = *due_;
    RT_ASSERT(timer.tick_ == current_);
    cancel(timer);
    ++fired;
    timer.fire_(timer);
  }
  return fired;
}

uint64_t TimerWheel::find_next_event() const {
  uint64_t tick = kNever;
  for (const Level& level : kLevel) {
    const uint64_t turn  = current_ >> level.shift;
    const uint64_t slots = slots_until_occupied(level, turn & (level.slots - 1));
    if (slots != 0) tick = std::min(tick, (turn + slots) << level.shift);
  }
  return tick;
}

// Slots from `from` (exclusive, going round) to the next that is not empty: 1…slots; 0 if none is.
// `from` itself was opened, so what it holds belongs to the next round.
uint64_t TimerWheel::slots_until_occupied(const Level& level, uint64_t from) const {
  const uint64_t* const words = &occupied_[level.first_slot / 64];
  const uint64_t count        = level.slots / 64;
  const uint64_t start        = (from + 1) % level.slots;
  for (uint64_t i = 0; i <= count; ++i) {
    const uint64_t index = (start / 64 + i) % count;
    uint64_t word        = words[index];
    if (i == 0) word &= ~uint64_t{0} << start % 64;
    if (word == 0) continue;
    const uint64_t slot = index * 64 + static_cast<uint64_t>(std::countr_zero(word));
    return (slot + level.slots - start) % level.slots + 1;
  }
  return 0;
}

void TimerWheel::check_invariants() const {
  uint32_t count = 0;
  for (const Timer* timer = due_; timer != nullptr; timer = timer->next_) {
    RT_ASSERT(timer->tick_ == current_);
    ++count;
  }
  for (uint32_t number = 0; number < kLevels; ++number) {
    const Level& level = kLevel[number];
    for (uint32_t i = 0; i < level.slots; ++i) {
      const uint32_t slot = level.first_slot + i;
      const bool bit      = (occupied_[slot / 64] >> slot % 64 & 1) != 0;
      RT_ASSERT(bit == (heads_[slot] != nullptr));
      Timer* const* link = &heads_[slot];
      for (const Timer* timer = heads_[slot]; timer != nullptr; timer = timer->next_) {
        RT_ASSERT(timer->link_ == link);
        RT_ASSERT(timer->tick_ > current_);
        RT_ASSERT(number == kLevels - 1 || (timer->tick_ >> level.shift) % level.slots == i);
        RT_ASSERT(next_event_ <= timer->tick_);
        link = &timer->next_;
        ++count;
      }
    }
  }
  RT_ASSERT(count == armed_count_);
  RT_ASSERT(due_ != nullptr || count == 0 || next_event_ <= find_next_event());
}

}  // namespace ringtalk::engine
