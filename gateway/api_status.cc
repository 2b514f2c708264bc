// /api/v1/status and /api/v1/reload: how the process does, and new settings for it.
//
// Thread rule  Status reads the metrics of all shards from here: it answers while one of them is stuck.
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "gateway/admin_api.h"
#include "gateway/api_fields.h"
#include "gateway/http_gateway.h"
#include "gateway/reload.h"

namespace ringtalk::gateway {
namespace {

using engine::Counter;
using engine::Gauge;
using nlohmann::json;

uint64_t rss_bytes() {
  unsigned long long pages = 0, resident = 0;
  if (FILE* file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%llu %llu", &pages, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

json disk_json(const std::string& data_dir) {
  struct statvfs info{};
  if (data_dir.empty() || ::statvfs(data_dir.c_str(), &info) != 0)
    return {{"free", 0}, {"total", 0}};
  return {{"free", uint64_t{info.f_bavail} * info.f_frsize},
          {"total", uint64_t{info.f_blocks} * info.f_frsize}};
}

json limits_json(const shard::Limits& limits) {
  return {{"max_connections", limits.connections_max},
          {"sends_per_second", limits.sends_per_second},
          {"sends_burst", limits.sends_burst},
          {"requests_per_second", limits.requests_per_second},
          {"requests_burst", limits.requests_burst},
          {"push_queue_bytes", limits.push_queue_bytes},
          {"login_deadline_s", limits.login_deadline_s},
          {"idle_pc_s", limits.idle_pc_s},
          {"idle_mobile_s", limits.idle_mobile_s},
          {"send_stall_s", limits.send_stall_s},
          {"send_decision_ms", limits.send_decision_ms},
          {"group_members_max", limits.group_members_max},
          {"token_hours", limits.token_hours}};
}

json shard_json(uint32_t shard, const engine::Metrics& metrics, uint64_t now_ns) {
  // A shard that stands still does not tell its lag.
  const auto ticked = static_cast<uint64_t>(metrics.value(Gauge::tick_time));
  const auto lag_ns = static_cast<uint64_t>(metrics.value(Gauge::tick_lag));
  const auto silent = now_ns > ticked + kNsPerS ? now_ns - ticked : 0;
  return {{"shard", shard},
          {"connections", metrics.value(Gauge::connections)},
          {"connection_slots", metrics.value(Gauge::connection_slots)},
          {"sessions", metrics.value(Gauge::sessions)},
          {"users", metrics.value(Gauge::sessions_open)},
          {"loop_lag_ms", static_cast<double>(std::max(lag_ns, silent) / kNsPerUs) / 1000},
          {"queued_bytes", metrics.value(Gauge::send_queue_bytes)},
          {"messages", metrics.value(Counter::sends_acknowledged)},
          {"store",
           {{"waiting", metrics.value(Gauge::store_waiting)},
            {"commits", metrics.value(Counter::store_commits)},
            {"out_of_space", metrics.value(Gauge::store_out_of_space) != 0}}}};
}

}  // namespace

void AdminApi::show_status(const Call& call) {
  Query query(call.request.query);
  if (const std::string wrong = query.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  engine::Loop& loop    = setup_.http.loop();
  const auto& setup     = setup_.http.setup();
  const std::string why = setup_.http.unready();
  const uint64_t now    = loop.wall_s();
  json shards           = json::array();
  for (const engine::MetricSource& source : setup.metrics)
    shards.push_back(
        shard_json(static_cast<uint32_t>(shards.size()), *source.metrics, loop.now_ns()));
  respond(call.connection, 200,
          json{{"version", RINGTALK_VERSION},
               {"pid", ::getpid()},
               {"started", began_s_},
               {"uptime_s", now - std::min(now, began_s_)},
               {"ready", why.empty()},
               {"reason", why},
               {"shards", std::move(shards)},
               {"memory", {{"rss", rss_bytes()}}},
               {"limits", limits_json(setup_.limits)},
               {"disk", disk_json(setup.data_dir)}});
}

void AdminApi::reload(const Call& call) {
  if (!call.request.body.empty()) {
    const ParsedJson body   = parse_object(call.request.body);
    const std::string wrong = body.wrong.empty() ? Fields(body.value).wrong() : body.wrong;
    if (!wrong.empty()) return fail(call.connection, 400, wrong);
  }
  ReloadDesk* desk = setup_.http.setup().reloads;
  const bool asked =
      desk && desk->ask([this, connection = call.connection](const ReloadOutcome& outcome) {
        if (outcome.ok())
          return respond(
              connection, 200,
              json{{"changed", outcome.changed}, {"restart_needed", outcome.restart_needed}});
        std::string errors;
        for (const std::string& error : outcome.errors)
          errors += (errors.empty() ? "" : "\n") + error;
        fail(connection, 400, errors);
      });
  if (!asked) fail(call.connection, 503, "busy");
}

}  // namespace ringtalk::gateway
