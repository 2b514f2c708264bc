#include "shard/repeat_window.h"

#include <algorithm>
#include <bit>

#include "engine/base/assert.h"

namespace ringtalk::shard {
namespace {

// Seconds since 2020, so that one bit of the 32 is free until 2088.
constexpr uint32_t kEpochS = 1'577'836'800;
constexpr uint32_t kTime   = (1u << 31) - 1;

uint32_t since_epoch(uint32_t wall_s) { return (wall_s > kEpochS ? wall_s - kEpochS : 0) & kTime; }

}  // namespace

RepeatWindow::RepeatWindow(uint64_t bytes_max, uint32_t keep_s, Places places)
    : keep_s_(keep_s),
      places_(places),
      buckets_(std::max<uint64_t>(1, std::bit_floor(bytes_max / sizeof(Bucket))), Pages::huge),
      mask_(buckets_.size() - 1) {}

std::optional<RepeatWindow::Found> RepeatWindow::find(uint64_t key, UserId author,
                                                      uint32_t now_s) const {
  const Bucket& at   = bucket(key, author);
  const uint32_t now = since_epoch(now_s);
  for (uint32_t way = 0; way < kWays; ++way) {
    if (at.key[way] != key || at.author[way] != raw(author)) continue;
    const bool waiting  = at.time_s[way] & kWaiting;
    const uint32_t time = at.time_s[way] & kTime;
    // A waiting send counts however long storage takes; a clock set back never ages an entry.
    if (waiting || now <= time + keep_s_) return Found{waiting, at.value[way]};
  }
  return std::nullopt;
}

void RepeatWindow::put_waiting(uint64_t key, UserId author, uint32_t pending, uint32_t now_s) {
  put(key, author, pending, since_epoch(now_s), true);
}

void RepeatWindow::put_durable(uint64_t key, UserId author, uint32_t msg_id, uint32_t now_s) {
  put(key, author, msg_id, since_epoch(now_s), false);
}

void RepeatWindow::put(uint64_t key, UserId author, uint32_t value, uint32_t time_s, bool waiting) {
  RT_ASSERT(raw(author) != 0);
  Bucket& at     = bucket(key, author);
  const auto age = [&](uint32_t way) {  // the smallest is replaced
    if (at.author[way] == raw(author) && at.key[way] == key) return int64_t{-2};
    return at.author[way] == 0 ? int64_t{-1} : int64_t{at.time_s[way] & kTime};
  };
  uint32_t oldest = 0;
  for (uint32_t way = 1; way < kWays; ++way)
    if (age(way) < age(oldest)) oldest = way;
  const bool other = at.author[oldest] != 0 && age(oldest) >= 0;
  if (other && time_s <= (at.time_s[oldest] & kTime) + keep_s_) ++evicted_early_;
  at.key[oldest]    = key;
  at.author[oldest] = raw(author);
  at.value[oldest]  = value;
  at.time_s[oldest] = time_s | (waiting ? kWaiting : 0);
}

void RepeatWindow::forget(uint64_t key, UserId author) {
  Bucket& at = bucket(key, author);
  for (uint32_t way = 0; way < kWays; ++way)
    if (at.key[way] == key && at.author[way] == raw(author) && (at.time_s[way] & kWaiting))
      at.author[way] = 0;
}

}  // namespace ringtalk::shard
