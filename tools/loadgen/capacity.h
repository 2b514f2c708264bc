// Capacity: the highest rate that a server holds with an ack p99 within a limit and without an anomaly.
//
// Method  Short open-loop runs of one scenario with the same users: the rate doubles until it fails, then
//         the interval is halved until it is narrower than kPrecision. A run holds if nothing is wrong,
//         p99 is within the limit and 99 % of what was due was acknowledged in the measured time.
// Limits  A void run does not hold: then the result is a lower bound, and says so. A run that fails is
//         tried once more: a burst of other work on the machine must not decide a bisection.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tools/loadgen/phases.h"

namespace ringtalk::loadgen {

struct CapacityLimits {
  uint64_t p99_ns   = 5 * kNsPerMs;
  uint32_t rate_max = 2'000'000;
};

struct CapacityStep {
  uint32_t rate = 0;
  bool holds    = false;
  std::string why;  // it does not
  double acked_per_s = 0;
  uint64_t p99_ns    = 0;
};

struct Capacity {
  std::string problem;
  int exit_code          = kExitClean;
  uint32_t rate          = 0;  // the highest that held; 0: none did
  bool generator_limited = false;
  std::vector<CapacityStep> steps;
};

// Prints a line per run on standard error.
Capacity search_capacity(Scenario scenario, const Target& target, const CapacityLimits& limits);

nlohmann::ordered_json capacity_document(const Capacity& capacity, const Scenario& scenario,
                                         const CapacityLimits& limits);

}  // namespace ringtalk::loadgen
