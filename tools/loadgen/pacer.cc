#include "tools/loadgen/pacer.h"

#include <cmath>

#include "engine/base/units.h"

namespace ringtalk::loadgen {

Pacer::Pacer(double per_second, Arrivals arrivals, uint64_t seed)
    : mean_gap_ns_(per_second > 0 ? static_cast<double>(kNsPerS) / per_second : 0),
      arrivals_(arrivals),
      random_(seed) {}

double Pacer::exponential_gap_ns() noexcept {
  const double share = static_cast<double>((random_.next() >> 11) + 1) * 0x1p-53;  // (0, 1]
  return -std::log(share) * mean_gap_ns_;
}

void Pacer::start(uint64_t now_ns) {
  if (mean_gap_ns_ == 0) return;
  start_ns_ = now_ns;
  at_ns_    = 0;
  count_    = 0;
  advance();
}

void Pacer::advance() {
  // Equal gaps are multiplied, not added: the rounding of millions of them is a drift.
  ++count_;
  at_ns_  = arrivals_ == Arrivals::constant ? static_cast<double>(count_) * mean_gap_ns_
                                            : at_ns_ + exponential_gap_ns();
  due_ns_ = start_ns_ + static_cast<uint64_t>(at_ns_);
}

}  // namespace ringtalk::loadgen
