// Command: what the subcommands of ringtalkctl share, and the one place that lists them.
//
// A new subcommand is one file with its add_…_command(), one line here and one in main.cc. It adds
// itself to the command line and, when chosen, leaves in Context::run what is to be done.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace ringtalk::ctl {

class HttpClient;

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
int fail_with(std::string_view problem);  // complains; kExitFailed

// On standard output, two blanks deep. A text that is not UTF-8 (from an imported database) is mended.
void print_json(const nlohmann::json& value);

// Finds the server and its token, then lets `action` do the work.
int with_server(const Context& context, const std::function<int(HttpClient&)>& action);

void add_user_command(CLI::App& app, Context& context);
void add_department_command(CLI::App& app, Context& context);
void add_group_command(CLI::App& app, Context& context);
void add_message_commands(CLI::App& app, Context& context);  // message, announce
void add_session_command(CLI::App& app, Context& context);
void add_status_commands(CLI::App& app, Context& context);  // status, token, reload
void add_top_command(CLI::App& app, Context& context);
void add_doctor_command(CLI::App& app, Context& context);
void add_config_command(CLI::App& app, Context& context);
void add_chat_command(CLI::App& app, Context& context);
void add_store_command(CLI::App& app, Context& context);
void add_migrate_command(CLI::App& app, Context& context);
void add_handback_command(CLI::App& app, Context& context);
void add_export_command(CLI::App& app, Context& context);
void add_completion_command(CLI::App& app, Context& context);  // hidden; reads all the others

}  // namespace ringtalk::ctl
