#include "tools/loadgen/capacity.h"

#include <fmt/format.h>

#include "tools/loadgen/report_json.h"
#include "tools/loadgen/report_text.h"

namespace ringtalk::loadgen {
namespace {

constexpr double kPrecision  = 0.05;
constexpr double kAckedMin   = 0.99;
constexpr uint32_t kStepsMax = 24;

class Search {
 public:
  Search(Scenario& scenario, const Target& target, const CapacityLimits& limits, Capacity& found)
      : s_(scenario), target_(target), limits_(limits), found_(found) {}

  void run() {
    uint32_t low = 0, high = 0;  // the highest that held, the lowest that did not
    uint32_t rate = s_.rate;
    while (found_.exit_code == kExitClean && found_.steps.size() < kStepsMax) {
      const bool holds = try_rate(rate);
      if (found_.exit_code != kExitClean) return;
      (holds ? low : high) = rate;
      if (high == 0 && rate >= limits_.rate_max) break;
      if (low == 0 && rate <= 1) break;
      if (low > 0 && high > 0 && static_cast<double>(high - low) <= kPrecision * low) break;
      if (high == 0)
        rate = std::min(limits_.rate_max, rate * 2);
      else if (low == 0)
        rate = std::max(1u, rate / 2);
      else
        rate = low + (high - low) / 2;
    }
    found_.rate = low;
  }

 private:
  bool try_rate(uint32_t rate) {
    s_.rate = rate;
    for (int attempt = 0; attempt < 2; ++attempt) {
      RunResult result;
      run_scenario(s_, target_, accounts_, result);
      accounts_.fresh = false;  // the next run finds the messages of this one
      if (!result.problem.empty() || result.exit_code == kExitAnomaly || result.interrupted) {
        found_.exit_code = result.problem.empty() && !result.interrupted
                               ? kExitAnomaly
                               : std::max<int>(kExitTrouble, result.exit_code);
        found_.problem   = !result.problem.empty() ? result.problem
                           : result.interrupted    ? "interrupted"
                                                : fmt::format("anomaly at {} messages/s: {}", rate,
                                                              result.sum.anomalies.samples()[0]);
        return false;
      }
      const CapacityStep step = judge(rate, result);
      fmt::print(stderr, "{:>10} messages/s  ack p99 {:>9}  {}\n", number_text(rate),
                 us_text(static_cast<double>(step.p99_ns) / 1000), step.holds ? "holds" : step.why);
      found_.steps.push_back(step);
      if (step.holds) return true;
      found_.generator_limited = !result.void_reasons.empty();
    }
    return false;
  }

  CapacityStep judge(uint32_t rate, const RunResult& result) const {
    CapacityStep step{
        .rate        = rate,
        .acked_per_s = static_cast<double>(result.sum.measured.acked) / result.measured_s,
        .p99_ns      = result.sum.timings.ack.quantile(0.99)};
    if (!result.void_reasons.empty())
      step.why = "void: " + result.void_reasons[0];
    else if (step.p99_ns > limits_.p99_ns)
      step.why = "p99 above the limit";
    else if (step.acked_per_s <
             kAckedMin * static_cast<double>(result.sum.measured.sent) / result.measured_s)
      step.why = fmt::format("only {} of {} were acknowledged", result.sum.measured.acked,
                             result.sum.measured.sent);
    else if (result.sum.total.unsent > 0)
      step.why = fmt::format("{} never left", result.sum.total.unsent);
    step.holds = step.why.empty();
    return step;
  }

  Scenario& s_;
  const Target& target_;
  const CapacityLimits& limits_;
  Capacity& found_;
  Accounts accounts_;
};

}  // namespace

Capacity search_capacity(Scenario scenario, const Target& target, const CapacityLimits& limits) {
  Capacity found;
  if (scenario.closed_loop() || scenario.rate == 0) {
    found.exit_code = kExitUsage;
    found.problem   = "capacity: the scenario needs a rate to begin with, and no window";
    return found;
  }
  Search(scenario, target, limits, found).run();
  return found;
}

nlohmann::ordered_json capacity_document(const Capacity& capacity, const Scenario& scenario,
                                         const CapacityLimits& limits) {
  nlohmann::ordered_json steps = nlohmann::ordered_json::array();
  for (const CapacityStep& step : capacity.steps)
    steps.push_back({{"rate", step.rate},
                     {"holds", step.holds},
                     {"why", step.why},
                     {"acked_per_s", step.acked_per_s},
                     {"ack_p99_us", static_cast<double>(step.p99_ns) / 1000}});
  return {
      {"format", kReportFormat},     {"tool", "ringtalk-loadgen capacity"},
      {"scenario", scenario.name},   {"p99_limit_us", static_cast<double>(limits.p99_ns) / 1000},
      {"rate", capacity.rate},       {"generator_limited", capacity.generator_limited},
      {"problem", capacity.problem}, {"steps", steps}};
}

}  // namespace ringtalk::loadgen
