// Pacer: the times at which an open loop sends, fixed by rate and seed before the first answer is seen.
//
// Why  A generator that waits for answers sends less while the server stalls, and so leaves out of its
//      statistics exactly the requests that would have suffered. These times do not move.
#pragma once

#include <cstdint>

#include "engine/random.h"

namespace ringtalk::loadgen {

enum class Arrivals : uint8_t { exponential, constant };

class Pacer {
 public:
  static constexpr uint64_t kNever = UINT64_MAX;

  // per_second 0: never due.
  Pacer(double per_second, Arrivals arrivals, uint64_t seed);

  void start(uint64_t now_ns);
  // When the next one is due.
  uint64_t due_ns() const { return due_ns_; }
  void advance();

 private:
  double exponential_gap_ns() noexcept;

  const double mean_gap_ns_;  // 0: never
  const Arrivals arrivals_;
  engine::SeededRandom random_;
  uint64_t count_    = 0;  // of points so far
  double at_ns_      = 0;  // of the next one, since start_ns_
  uint64_t start_ns_ = 0;
  uint64_t due_ns_   = kNever;
};

}  // namespace ringtalk::loadgen
