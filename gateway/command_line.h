// Command line of ringtalkd: flags, environment and file become Settings, or a text and an exit code.
//
//   ringtalkd [--config FILE] [--data-dir DIR] [--listen HOST:PORT] [--http HOST:PORT] [--shards N]
//             [--ports-file FILE] [--check-config] [--list-killpoints] [--version] [--help]
//
// Errors   exit code 2 and every problem on a line of its own.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "gateway/settings.h"

namespace ringtalk::gateway {

inline constexpr int kExitUsage = 2;

struct Invocation {
  bool run      = false;  // else print both texts and exit
  int exit_code = 0;
  std::string output;  // for standard output
  std::string error;   // for standard error
  std::string config_file;
  Settings settings;
  std::vector<std::string> warnings;  // to be logged
  // Flags as given, for reading the file again at SIGHUP: reload_settings().
  std::map<std::string, std::string> flags;
};

// Reads --config, else the file named by RINGTALK_CONFIG, else none.
Invocation read_command_line(int argc, const char* const* argv,
                             const std::map<std::string, std::string>& environment);

// The same file, environment and flags once more. Not ok: nothing was changed in `settings`.
engine::ConfigReport reload_settings(const Invocation& invocation,
                                     const std::map<std::string, std::string>& environment,
                                     Settings& settings);

}  // namespace ringtalk::gateway
