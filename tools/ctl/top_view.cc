#include "tools/ctl/top_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "tools/ctl/printable.h"
#include "tools/ctl/table.h"

namespace ringtalk::ctl {

namespace {

std::optional<double> number_of(const Json& object, const char* key) {
  if (!object.is_object()) return std::nullopt;
  const auto at = object.find(key);
  if (at == object.end() || !at->is_number()) return std::nullopt;
  return at->get<double>();
}

// The shard's entry of the status; null if there is none.
const Json& status_of(const Json& status, int shard) {
  static const Json kNone;
  if (!status.is_object()) return kNone;
  const auto list = status.find("shards");
  if (list == status.end() || !list->is_array()) return kNone;
  for (const Json& entry : *list) {
    if (number_of(entry, "shard") == shard) return entry;
  }
  return kNone;
}

class Difference {
 public:
  Difference(const Reading& before, const Reading& now) : before_(before), now_(now) {
    seconds_ = std::max(1e-3, std::chrono::duration<double>(now.at - before.at).count());
  }

  ShardRates of(std::optional<int> shard) const {
    ShardRates out{.shard = shard};
    out.connections      = now_.metrics.sum("connections", shard);
    out.messages_per_s   = rate("sends_acknowledged_total", shard);
    out.deliveries_per_s = rate("deliveries_total", shard);
    out.busy             = rate("loop_busy_seconds_total", shard);
    out.turn_p99_s       = p99("loop_turn_seconds", shard);
    out.commit_p99_s     = p99("commit_seconds", shard);
    out.batch_rows       = mean("commit_messages", shard);
    if (!shard) return out;
    const Json& status = status_of(now_.status, *shard);
    out.sessions       = number_of(status, "sessions");
    out.queued_bytes   = number_of(status, "queued_bytes");
    if (const auto lag = number_of(status, "loop_lag_ms")) out.lag_s = *lag / 1e3;
    return out;
  }

 private:
  // A server that was started anew counts from zero: no negative rates.
  double grown(std::string_view name, std::optional<int> shard) const {
    const double now    = now_.metrics.sum(name, shard);
    const double before = before_.metrics.sum(name, shard);
    return now >= before ? now - before : now;
  }
  double rate(std::string_view name, std::optional<int> shard) const {
    return grown(name, shard) / seconds_;
  }
  std::optional<double> p99(std::string_view name, std::optional<int> shard) const {
    return quantile(before_.metrics.buckets(name, shard), now_.metrics.buckets(name, shard), 0.99);
  }
  std::optional<double> mean(std::string_view name, std::optional<int> shard) const {
    const double count = grown(std::string(name) + "_count", shard);
    if (!(count > 0)) return std::nullopt;
    return grown(std::string(name) + "_sum", shard) / count;
  }

  const Reading& before_;
  const Reading& now_;
  double seconds_ = 1;
};

void add_up(std::optional<double>& total, const std::optional<double>& part) {
  if (part) total = total.value_or(0) + *part;
}

std::string shown(const std::optional<double>& value, auto form) {
  return value ? form(*value) : std::string("-");
}

std::string milliseconds(double seconds) { return fmt::format("{:.1f} ms", seconds * 1e3); }

Json json_of(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

std::string head_line(const Reading& now) {
  if (!now.status.is_object()) return "ringtalkd";
  const auto ready  = now.status.find("ready");
  const bool is     = ready != now.status.end() && ready->is_boolean() && ready->get<bool>();
  const auto uptime = number_of(now.status, "uptime_s");
  std::string line =
      fmt::format("ringtalkd {}, pid {}, up {}, {}", field_text(now.status, "version"),
                  field_text(now.status, "pid"), shown(uptime, &duration_text),
                  is ? "ready" : "not ready: " + field_text(now.status, "reason"));
  const auto memory = now.status.find("memory");
  if (memory != now.status.end()) {
    if (const auto rss = number_of(*memory, "rss")) line += ", " + bytes_text(*rss);
  }
  return escaped(line);
}

}  // namespace

std::vector<ShardRates> rates_between(const Reading& before, const Reading& now) {
  const Difference difference(before, now);
  std::vector<ShardRates> out;
  ShardRates total = difference.of(std::nullopt);
  for (const int shard : now.metrics.shards()) {
    out.push_back(difference.of(shard));
    add_up(total.sessions, out.back().sessions);
    add_up(total.queued_bytes, out.back().queued_bytes);
    if (out.back().lag_s) total.lag_s = std::max(total.lag_s.value_or(0), *out.back().lag_s);
  }
  if (!out.empty()) total.busy /= static_cast<double>(out.size());
  out.push_back(total);
  return out;
}

std::string top_text(const Reading& now, const std::vector<ShardRates>& rates) {
  Table table({"SHARD", "CONN>", "SESS>", "MSG/S>", "DELIV/S>", "BUSY>", "TURN P99>", "LAG>",
               "QUEUED>", "COMMIT P99>", "BATCH>"});
  for (const ShardRates& row : rates) {
    table.add({row.shard ? fmt::format("{}", *row.shard) : "all", short_number(row.connections),
               shown(row.sessions, &short_number), short_number(row.messages_per_s),
               short_number(row.deliveries_per_s), fmt::format("{:.0f} %", row.busy * 100),
               shown(row.turn_p99_s, &milliseconds), shown(row.lag_s, &milliseconds),
               shown(row.queued_bytes, &bytes_text), shown(row.commit_p99_s, &milliseconds),
               shown(row.batch_rows, [](double rows) { return fmt::format("{:.1f}", rows); })});
  }
  return head_line(now) + "\n" + table.text();
}

Json top_json(const std::vector<ShardRates>& rates) {
  Json shards = Json::array();
  Json total;
  for (const ShardRates& row : rates) {
    Json entry = {{"connections", row.connections},
                  {"sessions", json_of(row.sessions)},
                  {"messages_per_s", row.messages_per_s},
                  {"deliveries_per_s", row.deliveries_per_s},
                  {"busy", row.busy},
                  {"turn_p99_s", json_of(row.turn_p99_s)},
                  {"loop_lag_s", json_of(row.lag_s)},
                  {"queued_bytes", json_of(row.queued_bytes)},
                  {"commit_p99_s", json_of(row.commit_p99_s)},
                  {"batch_rows", json_of(row.batch_rows)}};
    if (row.shard) {
      entry["shard"] = *row.shard;
      shards.push_back(std::move(entry));
    } else {
      total = std::move(entry);
    }
  }
  return {{"shards", std::move(shards)}, {"total", std::move(total)}};
}

}  // namespace ringtalk::ctl
