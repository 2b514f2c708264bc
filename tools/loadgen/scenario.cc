#include "tools/loadgen/scenario.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "tools/loadgen/body.h"

namespace ringtalk::loadgen {
namespace {

namespace fs = std::filesystem;

// Where the scenarios may stand: beside the installed binary, in the sources, where it was installed.
std::vector<fs::path> scenario_folders() {
  std::vector<fs::path> folders;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (!error) folders.push_back(self.parent_path().parent_path() / "share/ringtalk/scenarios");
  folders.emplace_back(RINGTALK_SCENARIOS_SOURCE);
  folders.emplace_back(RINGTALK_SCENARIOS_INSTALLED);
  return folders;
}

std::vector<std::string> conflicts(const Scenario& s) {
  std::vector<std::string> problems;
  if (s.group_size == 0 && s.connections % 2 != 0)
    problems.push_back("connections: must be even, people talk in pairs");
  if (s.window > 0 && s.burst > 1)
    problems.push_back("burst: has no meaning with window, which sends when an answer comes");
  if (s.group_size > 0 && s.connections % s.group_size != 0)
    problems.push_back("connections: must be a multiple of group_size");
  if (s.group_size > 0 &&
      (s.offline_percent | s.slow_percent | s.churn_rate | s.storm_percent | s.history_rate))
    problems.push_back(
        "group_size: groups are checked with everybody there; offline_percent, slow_percent, "
        "churn_rate, storm_percent and history_rate are of pairs");
  if (s.group_size > 0 && s.watch_group > 0)
    problems.push_back("watch_group: a run either makes groups or watches one");
  if (s.group_size == 1) problems.push_back("group_size: a group has at least two members");
  return problems;
}

// The schema takes only keys it has: what a user may mistype is looked at here.
std::vector<std::string> unknown_keys(const engine::ConfigSchema& schema,
                                      const std::map<std::string, std::string>& flags) {
  std::vector<std::string> problems;
  for (const auto& [key, value] : flags)
    if (std::ranges::none_of(schema.settings(), [&](const auto& s) { return s.path() == key; }))
      problems.push_back(fmt::format("{}: no such key (`ringtalk-loadgen list` shows all)", key));
  return problems;
}

}  // namespace

engine::ConfigSchema scenario_schema(Scenario& s) {
  engine::ConfigSchema schema;
  schema.text("description", s.description, {0, 200}, "What the scenario is for, in one line.");
  schema.number("connections", s.connections, {2, 2'000'000},
                "Users, each with one connection. Users 2k and 2k+1 talk to each other.");
  schema.choice("client", s.client, {"mobile", "pc"},
                "Class of the logins. The comings and goings of pc are told to every other pc.");
  schema.number("talking_percent", s.talking_percent, {0, 100},
                "Share of the pairs that send; the others only hold their connection.");
  schema.number(
      "offline_percent", s.offline_percent, {0, 100},
      "Share of the pairs whose second user logs in only after the measurement, reads what\n"
      "he missed, and until then is only written to.");
  schema.number("slow_percent", s.slow_percent, {0, 100},
                "Share of the pairs whose second user stops reading while it is measured.");
  schema.number(
      "group_size", s.group_size, {0, 100'000},
      "Members of a group; 0: people talk in pairs. The connections form as many groups.");
  schema.number(
      "watch_group", s.watch_group, {0, UINT32_MAX},
      "Id of a group of all users in which others write, from its first message on: who gets\n"
      "what is counted. 0: none.");
  schema.number("rate", s.rate, {0, 10'000'000},
                "Messages per second of the whole generator, by a fixed schedule (open loop).");
  schema.number("burst", s.burst, {1, 1000},
                "Messages that one user sends at one time of the schedule.");
  schema.number(
      "window", s.window, {0, 1000},
      "Closed loop instead: each user keeps so many messages unacknowledged. 0: open loop.");
  schema.choice("arrivals", s.arrivals, {"exponential", "constant"},
                "Gaps of the schedule: as of many independent people, or all equal.");
  schema.number("payload_bytes", s.payload_bytes, {kBodyBytesMin, kBodyBytesMax},
                "Bytes of a message's text.");
  schema.number("read_percent", s.read_percent, {0, 100},
                "Share of the deliveries that are followed by \"read up to here\" (0x0303).");
  schema.number("history_rate", s.history_rate, {0, 1'000'000},
                "Requests for the newest 20 messages of a conversation (0x0309) per second.");
  schema.number(
      "churn_rate", s.churn_rate, {0, 1'000'000},
      "Connections per second that are cut and log in again. Login latency counts from the cut.");
  schema.number("storm_percent", s.storm_percent, {0, 100},
                "Share of the connections that are cut all at once when the measurement begins.");
  schema.number("heartbeat_ms", s.heartbeat_ms, {0, 3'600'000}, "Between two heartbeats. 0: none.");
  schema.number("logins_in_flight", s.logins_in_flight, {1, 100'000},
                "Connections that may be under way at once, from connect to the login's answer.");
  schema.number("login_rate", s.login_rate, {0, 1'000'000},
                "Logins per second while connecting. 0: as fast as logins_in_flight lets them.");
  schema.boolean(
      "redial", s.redial,
      "Whether somebody whose connection is lost logs in again. false: to watch a server\n"
      "send everybody away.");
  schema.number("slow_receive_bytes", s.slow_receive_bytes, {2048, 16 << 20},
                "Receive buffer of slow readers in the kernel.");
  schema.number("warmup_ms", s.warmup_ms, {0, 3'600'000},
                "Load that is not measured, before it is.");
  schema.number("duration_ms", s.duration_ms, {100, 86'400'000}, "Load that is measured.");
  schema.number("drain_ms", s.drain_ms, {0, 3'600'000},
                "How long to wait at the end for what is still under way.");
  schema.number("connect_ms", s.connect_ms, {1000, 3'600'000},
                "How long logging in may take in all.");
  schema.number("seed", s.seed, {0, UINT32_MAX}, "Of the schedule and of who sends.");
  schema.number(
      "threads", s.threads, {0, 1024},
      "Threads, each with a ring. 0: half of the cores; more where the connections need more\n"
      "than one ring's table holds.");
  return schema;
}

std::string find_scenario(const std::string& name) {
  std::error_code error;
  if (name.find('/') != std::string::npos || name.ends_with(".toml"))
    return fs::is_regular_file(name, error) ? name : "";
  for (const fs::path& folder : scenario_folders()) {
    const fs::path file = folder / (name + ".toml");
    if (fs::is_regular_file(file, error)) return file.string();
  }
  return "";
}

std::vector<std::string> list_scenarios() {
  std::set<std::string> names;
  for (const fs::path& folder : scenario_folders()) {
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
      if (at->path().extension() == ".toml") names.insert(at->path().stem().string());
  }
  return {names.begin(), names.end()};
}

std::vector<std::string> load_scenario(const std::string& file,
                                       const std::map<std::string, std::string>& flags,
                                       Scenario& scenario) {
  Scenario fresh;
  fresh.name                  = fs::path(file).stem().string();
  engine::ConfigSchema schema = scenario_schema(fresh);
  if (auto unknown = unknown_keys(schema, flags); !unknown.empty()) return unknown;
  const engine::ConfigReport report = schema.load({.file = file, .flags = flags});
  if (!report.ok()) return report.errors;
  std::vector<std::string> problems = conflicts(fresh);
  if (problems.empty()) scenario = fresh;
  return problems;
}

}  // namespace ringtalk::loadgen
