#include "tools/loadgen/report_html.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/units.h"
#include "tools/loadgen/report_text.h"
#include "tools/loadgen/svg_chart.h"

namespace ringtalk::loadgen {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kStyle = R"(<style>
:root{--page:#f6f7f9;--card:#fff;--ink:#16181d;--soft:#5b6472;--rule:#e3e6eb;--band:#f0f2f5;
--line-1:#2563c9;--line-2:#d9631e;--line-3:#1b8a5a;--line-4:#8a4fbf;--good:#1b8a5a;--bad:#c62b3a;--warn:#b26a00}
@media(prefers-color-scheme:dark){:root{--page:#14161a;--card:#1c1f25;--ink:#eceef2;--soft:#9aa3b2;--rule:#2d323b;
--band:#23272e;--line-1:#6aa0f8;--line-2:#f39255;--line-3:#4fc48d;--line-4:#bd8cec;--good:#4fc48d;--bad:#f2727e;--warn:#e6a23c}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1200px;margin:0 auto;padding:32px 24px 64px}h1{font-size:26px;margin:0 12px 0 0;font-weight:650}
h2{font-size:16px;margin:36px 0 12px}header{display:flex;flex-wrap:wrap;align-items:center;gap:8px}
.badge{color:#fff;border-radius:999px;padding:2px 14px;font-weight:600;font-size:14px}
.clean{background:var(--good)}.anomaly,.failed{background:var(--bad)}.void,.unsupported{background:var(--warn)}
@media(prefers-color-scheme:dark){.badge{color:#14161a}}
.soft,figcaption,th,.tick{color:var(--soft)}p{margin:6px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:12px;margin-top:22px}
.tile,figure,.card{background:var(--card);border:1px solid var(--rule);border-radius:10px}
.tile{padding:12px 16px}.tile b{display:block;font-size:23px;font-weight:650;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}.card{padding:6px 18px;overflow-x:auto}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:14px}
figure{margin:0;padding:14px 14px 6px}figcaption{font-size:14px;font-weight:600}
.key{font-weight:400;margin-left:14px;white-space:nowrap}.key i{display:inline-block;width:14px;height:3px;border-radius:2px;
vertical-align:middle;margin-right:5px}svg{width:100%;height:auto;display:block}.grid{stroke:var(--rule);stroke-width:1}
.span{fill:var(--band)}.tick{fill:var(--soft);font-size:11px}polyline{fill:none;stroke-width:2;stroke-linejoin:round}
circle{opacity:0}circle:hover{opacity:1}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:7px 10px;border-bottom:1px solid var(--rule);font-weight:400;white-space:nowrap}
th:first-child,td:first-child{text-align:left}tr:last-child td{border-bottom:0}code{font:13px ui-monospace,monospace;
overflow-wrap:anywhere}td.wrap{text-align:left;white-space:normal}.alarm{border-left:4px solid var(--bad)}
.alarm.warn{border-left-color:var(--warn)}
</style>)";

std::string tile(const std::string& value, const std::string& name) {
  return fmt::format("<div class=\"tile\"><b>{}</b><span>{}</span></div>", html_escaped(value),
                     html_escaped(name));
}

std::string row(const std::string& name, const std::string& value) {
  return fmt::format("<tr><td>{}</td><td class=\"wrap\">{}</td></tr>", html_escaped(name), value);
}

std::string header(const Json& d) {
  const Json& s            = d.at("scenario");
  const std::string result = d.at("result");
  const std::string kind   = result.starts_with("anomaly") ? "anomaly" : result;
  std::string out          = fmt::format(
      "<header><h1>{}</h1><span class=\"badge {}\">{}</span></header><p class=\"soft\">{}</p><p "
               "class=\"soft\">",
      html_escaped(s.at("name")), kind, html_escaped(result), html_escaped(s.at("description")));
  if (d.at("loop") == "open" && s.at("rate") == 0)
    out += "No messages.";
  else if (d.at("loop") == "open")
    out += fmt::format(
        "Open loop: {} messages/s on a fixed schedule; latency counts from the intended time.",
        number_text(s.at("rate")));
  else
    out += fmt::format("<b>Closed loop</b>, window {}: latencies leave out what a stall held back.",
                       s.at("window").get<int>());
  out += fmt::format(" {} connections, rate limits {}.</p>", number_text(s.at("connections")),
                     html_escaped(d.at("rate_limits")));
  const auto alarm = [&](const Json& lines, const char* title, const char* grade) {
    if (lines.empty()) return;
    out += fmt::format("<div class=\"card alarm {}\"><p><b>{}</b></p>", grade, title);
    for (const Json& line : lines) out += "<p>" + html_escaped(line) + "</p>";
    out += "</div>";
  };
  alarm(d.at("anomaly_samples"), "Anomalies", "");
  alarm(d.at("void"), "Void: this result says nothing about the server", "warn");
  if (!d.at("problem").get<std::string>().empty())
    alarm(Json::array({d.at("problem")}), "Failed", "");
  return out;
}

std::string tiles(const Json& d) {
  const Json &rates = d.at("rates"), &ack = d.at("latency_us").at("ack");
  std::string out = "<div class=\"tiles\">";
  if (d.at("measured").at("acked") > 0) {
    out += tile(number_text(rates.at("acked_per_s")) + "/s", "acknowledged");
    out += tile(number_text(rates.at("delivered_per_s")) + "/s", "delivered");
    out += tile(us_text(ack.at("p50")), "ack p50") + tile(us_text(ack.at("p99")), "ack p99");
  }
  out += tile(number_text(d.at("connect").at("logins_per_s")) + "/s", "logins while connecting");
  if (const Json& use = d.at("server_usage"); !use.is_null()) {
    if (!use.at("cpu_us_per_message").is_null())
      out += tile(number_text(use.at("cpu_us_per_message")) + " us", "server CPU per message");
    out += tile(bytes_text(use.at("rss_after")), "server memory");
  }
  out += tile(number_text(d.at("anomalies_total")), "anomalies");
  return out + "</div>";
}

// For an axis, whose numbers are round.
std::string us_tick(double us) {
  if (us < 1000) return fmt::format("{:g} us", us);
  return us < 1e6 ? fmt::format("{:g} ms", us / 1000) : fmt::format("{:g} s", us / 1e6);
}

std::string mib_tick(double bytes) { return fmt::format("{:g} MiB", bytes / kMiB); }

std::string bare_number(double value) { return number_text(value); }

using Points = std::vector<std::pair<double, double>>;

// What was counted in a fraction of the last second would look like a fall; a very short run has no more.
bool is_drawn(const Json& d, const Json& row) {
  return row.value("whole", true) || d.at("series").size() < 4;
}

Points series(const Json& d, const char* key, bool positive = false) {
  Points points;
  for (const Json& row : d.at("series"))
    if (is_drawn(d, row) && row.contains(key) && (!positive || row.at(key) > 0))
      points.emplace_back(row.at("second"), row.at(key));
  return points;
}

std::vector<ChartSpan> phases_beside_measure(const Json& d) {
  std::vector<ChartSpan> spans;
  for (const Json& row : d.at("series")) {
    const std::string phase = row.at("phase");
    const double second     = row.at("second");
    if (phase == "measure") continue;
    if (!spans.empty() && spans.back().name == phase && spans.back().to == second)
      spans.back().to = second + 1;
    else
      spans.push_back({second, second + 1, phase});
  }
  return spans;
}

Points curve(const Json& d, const char* name) {
  Points points;
  for (const Json& point : d.at("percentiles").at(name))
    if (point[0] < 1) points.emplace_back(point[0], point[1]);
  return points;
}

std::string charts(const Json& d) {
  const auto spans = phases_beside_measure(d);
  using enum Chart::Axis;
  std::string out = "<h2>Over time</h2><div class=\"charts\">";
  out += svg_chart({"Messages per second",
                    linear,
                    linear,
                    bare_number,
                    bare_number,
                    1,
                    {{"sent", 1, series(d, "sent")},
                     {"acknowledged", 3, series(d, "acked")},
                     {"delivered", 2, series(d, "delivered")}},
                    spans});
  out += svg_chart(
      {"Acknowledgement latency",
       linear,
       logarithmic,
       us_text,
       us_tick,
       1,
       {{"p50", 1, series(d, "ack_p50_us", true)}, {"p99", 2, series(d, "ack_p99_us", true)}},
       spans});
  out += svg_chart(
      {"Processor time, cores",
       linear,
       linear,
       bare_number,
       bare_number,
       1,
       {{"server", 1, series(d, "server_cores")}, {"generator", 4, series(d, "generator_cores")}},
       spans});
  out += svg_chart({"Resident memory",
                    linear,
                    linear,
                    bytes_text,
                    mib_tick,
                    kMiB,
                    {{"server", 1, series(d, "server_rss", true)},
                     {"generator", 4, series(d, "generator_rss", true)}},
                    spans});
  out += svg_chart({"Connections logged in",
                    linear,
                    linear,
                    bare_number,
                    bare_number,
                    1,
                    {{"online", 3, series(d, "online")}},
                    spans});
  out += svg_chart({"Logins per second",
                    linear,
                    linear,
                    bare_number,
                    bare_number,
                    1,
                    {{"logins", 1, series(d, "logins")}},
                    spans});
  out +=
      "</div><p class=\"soft\">Shaded: connect, warm-up and drain.</p><h2>Percentiles</h2><div "
      "class=\"charts\">";
  out += svg_chart({"Latency by percentile",
                    percentile,
                    logarithmic,
                    us_text,
                    us_tick,
                    1,
                    {{"ack", 1, curve(d, "ack")}, {"delivery", 2, curve(d, "delivery")}},
                    {}});
  out += svg_chart({"Login latency by percentile",
                    percentile,
                    logarithmic,
                    us_text,
                    us_tick,
                    1,
                    {{"login", 1, curve(d, "login")}},
                    {}});
  return out + "</div>";
}

std::string latencies(const Json& d) {
  std::string out =
      "<h2>Latencies</h2><div "
      "class=\"card\"><table><tr><th></th><th>p50</th><th>p90</th><th>p99</th>"
      "<th>p99.9</th><th>max</th><th>count</th></tr>";
  const std::pair<const char*, const char*> kNames[] = {{"ack", "acknowledgement"},
                                                        {"delivery", "delivery"},
                                                        {"login", "login while measuring"},
                                                        {"connect_login", "login while connecting"},
                                                        {"history", "history"},
                                                        {"lateness", "generator's own lateness"}};
  for (const auto& [key, name] : kNames) {
    const Json& l = d.at("latency_us").at(key);
    if (l.at("count") == 0) continue;
    out += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        name, us_text(l.at("p50")), us_text(l.at("p90")), us_text(l.at("p99")),
        us_text(l.at("p99_9")), us_text(l.at("max")), number_text(l.at("count")));
  }
  return out + "</table></div>";
}

std::string use(const Json& d) {
  std::string out =
      "<h2>Use while measuring</h2><div "
      "class=\"card\"><table><tr><th></th><th>cores</th><th>CPU/message</th>"
      "<th>RSS before</th><th>connected</th><th>after</th></tr>";
  for (const char* name : {"server", "generator"}) {
    const Json& u = d.at(std::string(name) + "_usage");
    if (u.is_null()) continue;
    out += fmt::format(
        "<tr><td>{}</td><td>{:.2f}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", name,
        u.at("cores").get<double>(),
        u.at("cpu_us_per_message").is_null() ? "-"
                                             : number_text(u.at("cpu_us_per_message")) + " us",
        bytes_text(u.at("rss_before")), bytes_text(u.at("rss_connected")),
        bytes_text(u.at("rss_after")));
  }
  return out + "</table></div>";
}

std::string facts(const Json& d) {
  const Json& m = d.at("machine");
  std::string command, keys;
  for (const Json& word : d.at("command_line"))
    command += (command.empty() ? "" : " ") + word.get<std::string>();
  for (const auto& [key, value] : d.at("scenario").items())
    if (key != "name" && key != "description")
      keys += (keys.empty() ? "" : "  ") + key + "=" +
              (value.is_string() ? value.get<std::string>() : value.dump());
  std::string out = "<h2>Checks</h2><div class=\"card\"><table>";
  out += row("messages checked", number_text(d.at("total").at("acked")));
  for (const auto& [kind, count] : d.at("anomalies").items()) out += row(kind, number_text(count));
  out += row("unknown end, connection cut", number_text(d.at("unknown")));
  for (const auto& [kind, count] : d.at("errors").items()) out += row(kind, number_text(count));
  out += "</table></div><h2>Circumstances</h2><div class=\"card\"><table>";
  out += row("time", html_escaped(d.at("time")));
  out += row("machine", html_escaped(fmt::format("{} x {}, {}", m.at("cores").get<int>(),
                                                 m.at("cpu").get<std::string>(),
                                                 bytes_text(m.at("memory_bytes")))));
  out += row("kernel", html_escaped(m.at("kernel")));
  out +=
      row("generator",
          html_escaped(fmt::format("{} ({}), {} threads", d.at("version").get<std::string>(),
                                   d.at("commit").get<std::string>(), d.at("threads").get<int>())));
  if (d.at("server").at("known").get<bool>())
    out += row("server",
               html_escaped(fmt::format(
                   "{}, {} shards{}", d.at("server").at("version").get<std::string>(),
                   d.at("server").at("shards").get<int>(),
                   d.at("server").at("same_machine").get<bool>() ? ", on this machine" : "")));
  out += row("command line", "<code>" + html_escaped(command) + "</code>");
  out += row("keys in force", "<code>" + html_escaped(keys) + "</code>");
  for (const Json& finding : d.at("doctor"))
    out +=
        row("doctor, " + finding.at("grade").get<std::string>(), html_escaped(finding.at("text")));
  return out + "</table></div>";
}

}  // namespace

std::string report_html(const Json& d) {
  return fmt::format(
             "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
             "content=\"width=device-width,initial-scale=1\"><title>{} - "
             "ringtalk-loadgen</title>{}<main>",
             html_escaped(d.at("scenario").at("name")), kStyle) +
         header(d) + tiles(d) + charts(d) + latencies(d) + use(d) + facts(d) + "</main></html>\n";
}

}  // namespace ringtalk::loadgen
