// Command: what the subcommands of ringtalkctl share, and the one place that lists them.
//
// A new subcommand is one file with its add_…_command(), one line here and one in main.cc. It adds
// itself to the command line and, when chosen, leaves in Context::run what is to be done.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace ringtalk::ctl {

inline constexpr int kExitOk     = 0;
inline constexpr int kExitFailed = 1;  // the server, the store or a file said no
inline constexpr int kExitUsage  = 2;  // the command line is wrong

struct Context {
  std::string http     = "127.0.0.1:8080";
  std::string data_dir = "var/ringtalk";
  bool json            = false;
  std::function<int()> run;  // set by the chosen subcommand; returns the exit code
};

// One line on standard error: "ringtalkctl: " and the text, control bytes escaped.
void complain(std::string_view text);

void add_user_command(CLI::App& app, Context& context);
void add_chat_command(CLI::App& app, Context& context);
void add_store_command(CLI::App& app, Context& context);

}  // namespace ringtalk::ctl
