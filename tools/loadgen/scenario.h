// Scenario: what the users of a run do: a table of keys, filled from a TOML file and the command line.
//
// Order   command line over file over default.
// Errors  all at once, each with file and line, or the flag; see engine/config.h.
// Why     one generator with few, independent keys: what people call a scenario is a set of values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/config.h"

namespace ringtalk::loadgen {

struct Scenario {
  std::string name;         // of the file, without folder and ending
  std::string description;  // one line

  // who
  uint32_t connections     = 1000;
  std::string client       = "mobile";
  uint32_t talking_percent = 100;
  uint32_t offline_percent = 0;
  uint32_t slow_percent    = 0;
  uint32_t group_size      = 0;
  uint32_t watch_group     = 0;

  // how much
  uint32_t rate          = 5000;
  uint32_t burst         = 1;
  uint32_t window        = 0;
  std::string arrivals   = "exponential";
  uint32_t payload_bytes = 100;
  uint32_t read_percent  = 0;
  uint32_t history_rate  = 0;
  uint32_t churn_rate    = 0;
  uint32_t storm_percent = 0;
  uint32_t heartbeat_ms  = 100'000;

  // how
  uint32_t logins_in_flight   = 200;
  uint32_t login_rate         = 0;
  bool redial                 = true;
  uint32_t slow_receive_bytes = 8192;
  uint32_t warmup_ms          = 2000;
  uint32_t duration_ms        = 10'000;
  uint32_t drain_ms           = 15'000;
  uint32_t connect_ms         = 120'000;
  uint32_t seed               = 1;
  uint32_t threads            = 0;

  bool closed_loop() const { return window > 0; }
};

engine::ConfigSchema scenario_schema(Scenario& scenario);

// The file that `name` means: a path, or the name of one that is installed or stands in the sources.
// Empty: there is none.
std::string find_scenario(const std::string& name);
// Names of the scenarios that find_scenario() knows.
std::vector<std::string> list_scenarios();

// Problems, one line each; none: `scenario` is filled.
std::vector<std::string> load_scenario(const std::string& file,
                                       const std::map<std::string, std::string>& flags,
                                       Scenario& scenario);

}  // namespace ringtalk::loadgen
