#include "tools/loadgen/report_text.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace ringtalk::loadgen {

using Json = nlohmann::ordered_json;

std::string number_text(double value) {
  if (std::abs(value) < 100 && value != std::floor(value)) return fmt::format("{:.2f}", value);
  std::string digits = fmt::format("{:.0f}", std::abs(value));
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return (value < 0 ? "-" : "") + digits;
}

std::string us_text(double us) {
  if (us < 1000) return fmt::format("{:.0f} us", us);
  if (us < 10'000) return fmt::format("{:.2f} ms", us / 1000);
  if (us < 1'000'000) return fmt::format("{:.1f} ms", us / 1000);
  return fmt::format("{:.2f} s", us / 1e6);
}

std::string bytes_text(double bytes) {
  if (bytes < 1024) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1024 * 1024) return fmt::format("{:.1f} KiB", bytes / 1024);
  if (bytes < 1024.0 * 1024 * 1024) return fmt::format("{:.1f} MiB", bytes / 1024 / 1024);
  return fmt::format("{:.2f} GiB", bytes / 1024 / 1024 / 1024);
}

namespace {

std::string latency_line(const char* name, const Json& l) {
  if (l.at("count") == 0) return "";
  return fmt::format("  {:<14} {:>10} {:>10} {:>10} {:>10} {:>10} {:>12}\n", name,
                     us_text(l.at("p50")), us_text(l.at("p90")), us_text(l.at("p99")),
                     us_text(l.at("p99_9")), us_text(l.at("max")), number_text(l.at("count")));
}

std::string usage_line(const char* name, const Json& usage, double connections) {
  if (usage.is_null()) return fmt::format("  {:<14} not known\n", name);
  const double per_message =
      usage.at("cpu_us_per_message").is_null() ? 0 : usage.at("cpu_us_per_message").get<double>();
  const double before = usage.at("rss_before"), connected = usage.at("rss_connected");
  return fmt::format("  {:<14} {:>10.2f} {:>14} {:>12} {:>12} {:>12} {:>14}\n", name,
                     usage.at("cores").get<double>(),
                     per_message > 0 ? fmt::format("{:.2f} us", per_message) : "-",
                     bytes_text(before), bytes_text(connected), bytes_text(usage.at("rss_after")),
                     bytes_text(std::max(0.0, connected - before) / connections));
}

std::string head(const Json& d) {
  const Json& s   = d.at("scenario");
  std::string out = fmt::format(
      "\nringtalk-loadgen {} ({})  scenario {}  {}\n", d.at("version").get<std::string>(),
      d.at("commit").get<std::string>(), s.at("name").get<std::string>(),
      d.at("loop") == "open"
          ? (s.at("rate") == 0
                 ? "no messages"
                 : fmt::format("open loop, {} messages/s, {} arrivals", number_text(s.at("rate")),
                               s.at("arrivals").get<std::string>()))
          : fmt::format("CLOSED LOOP, window {}: latencies leave out what a stall held back",
                        s.at("window").get<int>()));
  const Json& m = d.at("machine");
  out += fmt::format("{} x {}, {}, {}\n", m.at("cores").get<int>(), m.at("cpu").get<std::string>(),
                     bytes_text(m.at("memory_bytes")), m.at("kernel").get<std::string>());
  const Json& server = d.at("server");
  if (server.at("known").get<bool>())
    out += fmt::format("server {} with {} shards{}; rate limits {}\n",
                       server.at("version").get<std::string>(), server.at("shards").get<int>(),
                       server.at("same_machine").get<bool>() ? " on this machine" : "",
                       d.at("rate_limits").get<std::string>());
  else
    out += "server not asked; rate limits unknown\n";
  return out;
}

std::string counts(const Json& d) {
  const Json& rates   = d.at("rates");
  const Json& connect = d.at("connect");
  std::string out;
  if (connect.at("users_per_s").get<double>() > 0)
    out += fmt::format("  users made     {:>12}/s\n", number_text(connect.at("users_per_s")));
  out += fmt::format("  logins         {:>12}/s   {} in {:.2f} s while connecting\n",
                     number_text(connect.at("logins_per_s")), number_text(connect.at("logins")),
                     connect.at("seconds").get<double>());
  if (rates.at("logins_per_s").get<double>() > 0)
    out += fmt::format("  logins         {:>12}/s   while measuring\n",
                       number_text(rates.at("logins_per_s")));
  if (d.at("measured").at("sent") > 0) {
    out += fmt::format("  sent           {:>12}/s\n", number_text(rates.at("sent_per_s")));
    out += fmt::format("  acknowledged   {:>12}/s   {} in {:.2f} s\n",
                       number_text(rates.at("acked_per_s")),
                       number_text(d.at("measured").at("acked")), d.at("measured_s").get<double>());
    out += fmt::format("  delivered      {:>12}/s\n", number_text(rates.at("delivered_per_s")));
  }
  if (d.at("total").at("fetched") > 0)
    out += fmt::format("  fetched        {:>12}     from histories after a login\n",
                       number_text(d.at("total").at("fetched")));
  if (d.at("total").at("heartbeats") > 0)
    out += fmt::format("  heartbeats     {:>12}     {} answered\n",
                       number_text(d.at("total").at("heartbeats")),
                       number_text(d.at("total").at("heartbeats_answered")));
  if (d.contains("watch") && d["watch"].is_object()) {
    for (const Json& message : d["watch"].at("messages"))
      out += fmt::format(
          "  group message  {:>12}     on {} connections, {:.3f} s from the first to "
          "the last\n",
          message.at("id").get<uint32_t>(), number_text(message.at("connections")),
          (message.at("last_ns").get<double>() - message.at("first_ns").get<double>()) / 1e9);
  }
  if (d.at("storm_over_s").get<double>() > 0)
    out += fmt::format("  storm over     {:>12.3f} s\n", d.at("storm_over_s").get<double>());
  out += fmt::format("  drain          {:>12.3f} s{}\n", d.at("drain").at("seconds").get<double>(),
                     d.at("drain").at("complete").get<bool>() ? "" : "   NOT COMPLETE");
  return out;
}

std::string checks(const Json& d) {
  std::string out = "\nchecks";
  if (d.at("anomalies_total") == 0) {
    out +=
        fmt::format("           {} messages, no anomaly\n", number_text(d.at("total").at("acked")));
  } else {
    out += "           ANOMALIES:";
    for (const auto& [kind, count] : d.at("anomalies").items())
      if (count > 0) out += fmt::format("  {} {}", number_text(count), kind);
    out += '\n';
    for (const Json& sample : d.at("anomaly_samples"))
      out += "  " + sample.get<std::string>() + '\n';
  }
  if (d.at("unknown") > 0)
    out += fmt::format("  {} sends have an unknown end: their connection was cut\n",
                       number_text(d.at("unknown")));
  if (d.at("total").at("unsent") > 0)
    out += fmt::format("  {} sends never left: too many were unfinished before them\n",
                       number_text(d.at("total").at("unsent")));
  if (d.at("total").at("skipped") > 0)
    out += fmt::format("  {} points of the schedule found nobody logged in to use them\n",
                       number_text(d.at("total").at("skipped")));
  for (const auto& [kind, count] : d.at("errors").items())
    out += fmt::format("  {} x {}\n", number_text(count), kind);
  return out;
}

}  // namespace

std::string report_text(const Json& d) {
  std::string out = head(d);
  for (const Json& finding : d.at("doctor"))
    if (finding.at("grade") == "warning")
      out += "  note: " + finding.at("text").get<std::string>() + '\n';
  out += '\n' + counts(d);
  const Json& l = d.at("latency_us");
  out += fmt::format("\nlatency          {:>10} {:>10} {:>10} {:>10} {:>10} {:>12}\n", "p50", "p90",
                     "p99", "p99.9", "max", "count");
  out += latency_line("ack", l.at("ack")) + latency_line("delivery", l.at("delivery")) +
         latency_line("login", l.at("login")) +
         latency_line("login, connect", l.at("connect_login")) +
         latency_line("history", l.at("history")) +
         (l.contains("heartbeat") ? latency_line("heartbeat", l["heartbeat"]) : "") +
         latency_line("own lateness", l.at("lateness"));
  out += fmt::format("\nuse              {:>10} {:>14} {:>12} {:>12} {:>12} {:>14}\n", "cores",
                     "CPU/message", "RSS before", "connected", "after", "RSS/connection");
  const double connections = d.at("scenario").at("connections");
  out += usage_line("server", d.at("server_usage"), connections);
  out += usage_line("generator", d.at("generator_usage"), connections);
  out += checks(d);
  if (!d.at("void").empty()) {
    out += "\nVOID: this result says nothing about the server\n";
    for (const Json& reason : d.at("void")) out += "  " + reason.get<std::string>() + '\n';
  }
  return out;
}

}  // namespace ringtalk::loadgen
