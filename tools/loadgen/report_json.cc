#include "tools/loadgen/report_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <fstream>

#include "tools/loadgen/commit.h"

namespace ringtalk::loadgen {
namespace {

using nlohmann::ordered_json;

double us(uint64_t ns) { return std::round(static_cast<double>(ns) / 100) / 10; }

double rounded(double value, double digits = 3) {
  const double scale = std::pow(10, digits);
  return std::round(value * scale) / scale;
}

ordered_json latency_json(const engine::Histogram& h) {
  const double mean =
      h.count() == 0 ? 0 : static_cast<double>(h.sum()) / static_cast<double>(h.count());
  return {{"count", h.count()},          {"mean", us(static_cast<uint64_t>(mean))},
          {"p50", us(h.quantile(0.5))},  {"p90", us(h.quantile(0.9))},
          {"p99", us(h.quantile(0.99))}, {"p99_9", us(h.quantile(0.999))},
          {"max", us(h.max())}};
}

// 1 - 1/n grows by tenths of a decade: the axis of percentile curves.
std::vector<double> percentile_steps() {
  std::vector<double> steps{0};
  for (double behind = 1; behind > 2e-6; behind /= std::pow(10, 0.1)) steps.push_back(1 - behind);
  steps.push_back(1);
  return steps;
}

ordered_json curve_json(const engine::Histogram& h) {
  ordered_json curve = ordered_json::array();
  if (h.count() == 0) return curve;
  for (const double q : percentile_steps()) {
    const bool told = q == 1 || static_cast<double>(h.count()) * (1 - q) >= 1;
    if (told) curve.push_back({rounded(q, 7), us(q == 1 ? h.max() : h.quantile(q))});
  }
  return curve;
}

ordered_json tally_json(const Tally& t) {
  return {{"sent", t.sent},
          {"acked", t.acked},
          {"delivered", t.delivered},
          {"fetched", t.fetched},
          {"logins", t.logins},
          {"cuts", t.cuts},
          {"lost_connections", t.lost_connections},
          {"heartbeats", t.heartbeats},
          {"heartbeats_answered", t.heartbeats_answered},
          {"histories", t.histories},
          {"reads", t.reads},
          {"skipped", t.skipped},
          {"unsent", t.unsent},
          {"received_bytes", t.received_bytes}};
}

// All keys as they were in force, so that a run can be repeated from its report.
ordered_json scenario_json(Scenario scenario) {
  ordered_json keys{{"name", scenario.name}};
  const engine::ConfigSchema schema = scenario_schema(scenario);
  for (const engine::Setting& setting : schema.settings()) {
    const engine::SettingValue value = setting.get();
    if (const auto* number = std::get_if<int64_t>(&value)) keys[setting.path()] = *number;
    if (const auto* text = std::get_if<std::string>(&value)) keys[setting.path()] = *text;
  }
  return keys;
}

ordered_json usage_json(const Usage& usage, double measured_s, uint64_t acked) {
  if (!usage.known) return nullptr;
  return {{"cpu_s", rounded(usage.cpu_s)},
          {"cores", rounded(usage.cpu_s / std::max(1e-9, measured_s))},
          {"cpu_us_per_message",
           acked == 0 ? ordered_json(nullptr)
                      : ordered_json(rounded(usage.cpu_s * 1e6 / static_cast<double>(acked)))},
          {"rss_before", usage.rss_before},
          {"rss_connected", usage.rss_idle},
          {"rss_after", usage.rss_after}};
}

ordered_json row_json(const SecondRow& row) {
  ordered_json out{{"second", row.index},
                   {"phase", row.phase},
                   {"whole", row.whole},
                   {"online", row.online},
                   {"sent", row.tally.sent},
                   {"acked", row.tally.acked},
                   {"delivered", row.tally.delivered},
                   {"fetched", row.tally.fetched},
                   {"logins", row.tally.logins},
                   {"ack_p50_us", us(row.ack.quantile(0.5))},
                   {"ack_p99_us", us(row.ack.quantile(0.99))},
                   {"ack_max_us", us(row.ack.max())},
                   {"delivery_p99_us", us(row.delivery.quantile(0.99))},
                   {"login_p99_us", us(row.login.quantile(0.99))},
                   {"generator_cores", rounded(row.generator_cores)},
                   {"generator_rss", row.generator_rss}};
  if (row.server_cores >= 0) {
    out["server_cores"] = rounded(row.server_cores);
    out["server_rss"]   = row.server_rss;
  }
  return out;
}

ordered_json machine_json(const Machine& machine) {
  return {{"cpu", machine.cpu},
          {"cores", machine.cores},
          {"memory_bytes", machine.memory_bytes},
          {"kernel", machine.kernel},
          {"host", machine.host}};
}

ordered_json server_json(const Examination& e) {
  ordered_json out{{"known", e.server.is_object()}, {"same_machine", e.server_pid != 0}};
  if (!e.server.is_object()) return out;
  out["version"] = e.server.value("version", "");
  out["pid"]     = e.server.value("pid", 0);
  out["shards"]  = e.server.contains("shards") ? e.server["shards"].size() : 0;
  out["limits"]  = e.server.value("limits", nlohmann::json::object());
  return out;
}

// Times as of the monotonic clock, to compare with when others wrote; what is shown of them is rounded.
ordered_json watch_json(uint32_t group, const Watch& watch) {
  if (group == 0) return nullptr;
  ordered_json messages = ordered_json::array();
  for (size_t i = 0; i < watch.messages.size(); ++i)
    messages.push_back({{"id", i + 1},
                        {"connections", watch.messages[i].connections},
                        {"first_ns", watch.messages[i].first_ns},
                        {"last_ns", watch.messages[i].last_ns}});
  return {{"group", group},
          {"connections", watch.watchers},
          {"missing", watch.missing()},
          {"messages", messages}};
}

std::string verdict_of(const RunResult& r) {
  if (!r.problem.empty()) return r.exit_code == kExitUnsupported ? "unsupported" : "failed";
  if (r.exit_code == kExitAnomaly) return r.void_reasons.empty() ? "anomaly" : "anomaly, void";
  return r.void_reasons.empty() ? "clean" : "void";
}

std::string time_text() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

ordered_json report_document(const RunResult& r, const std::vector<std::string>& command_line) {
  const Worker::Outcome& sum = r.sum;
  const Timings& t           = sum.timings;
  const double measured      = std::max(1e-9, r.measured_s);
  const auto per_s    = [&](uint64_t n) { return rounded(static_cast<double>(n) / measured, 1); };
  const uint64_t late = late_ns(t);

  ordered_json anomalies;
  for (size_t i = 0; i < kAnomalies; ++i) {
    const auto kind                       = static_cast<Anomaly>(i);
    anomalies[std::string(name_of(kind))] = sum.anomalies.count(kind);
  }
  ordered_json rows = ordered_json::array();
  for (const auto& row : r.rows) rows.push_back(row_json(*row));
  ordered_json findings           = ordered_json::array();
  constexpr const char* kGrades[] = {"ok", "note", "warning", "fatal"};
  for (const Finding& finding : r.examination.findings)
    findings.push_back(
        {{"grade", kGrades[static_cast<size_t>(finding.grade)]}, {"text", finding.text}});

  ordered_json doc{
      {"format", kReportFormat},
      {"tool", "ringtalk-loadgen"},
      {"version", RINGTALK_VERSION},
      {"commit", RINGTALK_COMMIT},
      {"time", time_text()},
      {"command_line", command_line},
      {"result", verdict_of(r)},
      {"exit_code", r.exit_code},
      {"problem", r.problem},
      {"void", r.void_reasons},
      {"interrupted", r.interrupted},
      {"loop", r.scenario.closed_loop() ? "closed" : "open"},
      {"scenario", scenario_json(r.scenario)},
      {"machine", machine_json(r.examination.machine)},
      {"server", server_json(r.examination)},
      {"rate_limits", !r.examination.limits_known   ? "unknown"
                      : r.examination.limits_lifted ? "lifted"
                                                    : "in force"},
      {"doctor", findings},
      {"threads", r.threads},
      {"connect",
       {{"seconds", rounded(r.connect_s)},
        {"logins", sum.connect_login.count()},
        {"logins_per_s",
         rounded(static_cast<double>(sum.connect_login.count()) / std::max(1e-9, r.connect_s), 1)},
        {"users_made_s", rounded(r.users_s)},
        {"users_per_s", r.users_s > 0 ? rounded(r.scenario.connections / r.users_s, 0) : 0}}},
      {"measured_s", rounded(r.measured_s)},
      {"rates",
       {{"sent_per_s", per_s(sum.measured.sent)},
        {"acked_per_s", per_s(sum.measured.acked)},
        {"delivered_per_s", per_s(sum.measured.delivered)},
        {"logins_per_s", per_s(sum.measured.logins)},
        {"wanted_per_s", r.scenario.closed_loop() ? 0 : r.scenario.rate}}},
      {"measured", tally_json(sum.measured)},
      {"total", tally_json(sum.total)},
      {"drain",
       {{"complete", sum.drained},
        {"seconds", rounded(static_cast<double>(sum.drain_ns) / 1e9)},
        {"fetched_per_s", sum.drain_ns > 0 ? rounded(static_cast<double>(sum.total.fetched) /
                                                         (static_cast<double>(sum.drain_ns) / 1e9),
                                                     0)
                                           : 0}}},
      {"storm_over_s", rounded(static_cast<double>(sum.storm_over_ns) / 1e9)},
      {"latency_us",
       {{"ack", latency_json(t.ack)},
        {"delivery", latency_json(t.delivery)},
        {"connect_login", latency_json(sum.connect_login)},
        {"login", latency_json(t.login)},
        {"history", latency_json(t.history)},
        {"heartbeat", latency_json(t.heartbeat)},
        {"lateness", latency_json(t.lateness)}}},
      {"late", {{"limit_us", us(late)}, {"share", rounded(share_above(t.lateness, late), 6)}}},
      {"anomalies", anomalies},
      {"anomalies_total", sum.anomalies.total()},
      {"anomaly_samples", sum.anomalies.samples()},
      {"watch", watch_json(r.scenario.watch_group, sum.watch)},
      {"unknown", sum.unknown},
      {"errors", sum.errors},
      {"server_usage", usage_json(r.server, r.measured_s, sum.measured.acked)},
      {"generator_usage", usage_json(r.generator, r.measured_s, sum.measured.acked)},
      {"percentiles",
       {{"ack", curve_json(t.ack)},
        {"delivery", curve_json(t.delivery)},
        {"login", curve_json(t.login.count() > 0 ? t.login : sum.connect_login)}}},
      {"series", rows}};
  return doc;
}

std::string hgrm_text(const engine::Histogram& h) {
  std::string out  = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n";
  const auto total = static_cast<double>(h.count());
  const auto ms    = [](uint64_t ns) { return static_cast<double>(ns) / 1e6; };
  const auto line  = [&](double q) {
    const uint64_t value = q >= 1 ? h.max() : h.quantile(q);
    const auto count     = static_cast<uint64_t>(std::ceil(q * total));
    out += fmt::format("{:12.3f} {:2.12f} {:10}", ms(value), q, count);
    out += q >= 1 ? "\n" : fmt::format(" {:14.2f}\n", 1 / (1 - q));
  };
  // HdrHistogram's own steps: five to each halving of what is left.
  constexpr int kTicksPerHalf = 5;
  for (double left = 1; h.count() > 0 && left * total >= 1; left /= 2)
    for (int tick = 0; tick < kTicksPerHalf; ++tick)
      line(1 - left * (1 - tick / (2.0 * kTicksPerHalf)));
  if (h.count() > 0) line(1);
  const double mean = h.count() == 0 ? 0 : static_cast<double>(h.sum()) / total;
  out += fmt::format("#[Mean    = {:12.3f}]\n", mean / 1e6);
  out += fmt::format("#[Max     = {:12.3f}, Total count    = {:12}]\n", ms(h.max()), h.count());
  out += fmt::format("#[Buckets = {:12}, SubBuckets     = {:12}]\n",
                     engine::Histogram::kValueBits - engine::Histogram::kLinearBits + 1,
                     1 << engine::Histogram::kLinearBits);
  return out;
}

std::string write_file(const std::string& file, const std::string& text) {
  errno = 0;
  std::ofstream out(file, std::ios::trunc | std::ios::binary);
  out << text;
  out.close();
  return out ? ""
             : fmt::format("{}: {}", file, errno != 0 ? std::strerror(errno) : "cannot be written");
}

}  // namespace ringtalk::loadgen
