#include "gateway/command_line.h"

#include <CLI/CLI.hpp>

#include <sstream>

#include "engine/killpoint.h"

#ifndef RINGTALK_VERSION
#error "the build file passes RINGTALK_VERSION"
#endif

namespace ringtalk::gateway {
namespace {

struct Switches {
  bool check_config    = false;
  bool list_killpoints = false;
};

constexpr struct {
  const char* flag;
  const char* path;  // of the setting
  const char* shown;
  const char* doc;
} kFlags[] = {
    {"--data-dir", "data_dir", "DIR", "directory of everything that must survive"},
    {"--listen", "listen", "HOST:PORT", "where clients connect"},
    {"--http", "http", "HOST:PORT", "where HTTP is served"},
    {"--shards", "shards", "N", "serving threads; 0: one per core"},
    {"--ports-file", "ports_file", "FILE", "gets the ports as JSON once the server is ready"},
};

// Values stay texts here: their rules, and the wording of their errors, are the schema's.
void add_options(CLI::App& app, Invocation& invocation, Switches& switches) {
  app.set_version_flag("--version", std::string("ringtalkd ") + RINGTALK_VERSION);
  app.add_option("--config", invocation.config_file, "TOML file; every key: conf/ringtalk.toml")
      ->type_name("FILE");
  for (const auto& flag : kFlags)
    app.add_option_function<std::string>(
           flag.flag,
           [&invocation, path = flag.path](const std::string& text) {
             invocation.flags[path] = text;
           },
           flag.doc)
        ->type_name(flag.shown);
  app.add_flag("--check-config", switches.check_config,
               "print the configuration in force, with its manual, and exit");
  app.add_flag("--list-killpoints", switches.list_killpoints,
               "print the kill-points of this build (tests) and exit");
}

// False: the invocation is over; exit code and texts are set.
bool parse_flags(int argc, const char* const* argv, Invocation& invocation, Switches& switches) {
  CLI::App app("ringtalkd: chat server for TeamTalk clients", "ringtalkd");
  add_options(app, invocation, switches);
  try {
    app.parse(argc, argv);
    return true;
  } catch (const CLI::ParseError& error) {
    std::ostringstream output, problem;
    invocation.exit_code = app.exit(error, output, problem) == 0 ? 0 : kExitUsage;
    invocation.output    = output.str();
    invocation.error     = problem.str();
    return false;
  }
}

engine::ConfigReport load(const std::string& file,
                          const std::map<std::string, std::string>& environment,
                          const std::map<std::string, std::string>& flags, Settings& settings) {
  Settings fresh;
  engine::ConfigSchema schema = settings_schema(fresh);
  engine::ConfigReport report =
      schema.load({.file = file, .environment = environment, .flags = flags});
  if (report.ok()) report.errors = settings_conflicts(fresh);
  if (report.ok()) settings = fresh;
  return report;
}

void refuse(Invocation& invocation, const std::vector<std::string>& errors) {
  invocation.exit_code = kExitUsage;
  for (const std::string& error : errors) invocation.error += "ringtalkd: " + error + "\n";
}

std::string killpoint_lines() {
  std::string lines;
  for (std::string_view name : engine::list_killpoints()) (lines += name) += '\n';
  return lines;
}

}  // namespace

Invocation read_command_line(int argc, const char* const* argv,
                             const std::map<std::string, std::string>& environment) {
  Invocation invocation;
  Switches switches;
  if (!parse_flags(argc, argv, invocation, switches)) return invocation;
  if (switches.list_killpoints) {
    invocation.output = killpoint_lines();
    return invocation;
  }
  const auto named = environment.find("RINGTALK_CONFIG");
  if (invocation.config_file.empty() && named != environment.end())
    invocation.config_file = named->second;
  engine::ConfigReport report =
      load(invocation.config_file, environment, invocation.flags, invocation.settings);
#if RT_KILLPOINTS
  const std::string problem = engine::killpoint_problem();
  if (!problem.empty()) report.errors.push_back(problem);
#endif
  invocation.warnings = std::move(report.warnings);
  if (!report.ok()) {
    refuse(invocation, report.errors);
  } else if (switches.check_config) {
    invocation.output = settings_toml(invocation.settings);
    for (const std::string& warning : invocation.warnings)
      invocation.error += "ringtalkd: warning: " + warning + "\n";
  } else {
    invocation.run = true;
  }
  return invocation;
}

engine::ConfigReport reload_settings(const Invocation& invocation,
                                     const std::map<std::string, std::string>& environment,
                                     Settings& settings) {
  return load(invocation.config_file, environment, invocation.flags, settings);
}

}  // namespace ringtalk::gateway
