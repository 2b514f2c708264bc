// ringtalkctl: what operators and the curious do from a terminal.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <string>

#include "proto/parse.h"
#include "tools/ctl/command.h"

namespace {

// Of a verb that there is not: CLI11 only says that one is missing. Else empty.
std::string unknown_verb(const CLI::App& app) {
  const auto rest = app.remaining(/*recurse=*/true);
  if (rest.empty() || rest.front().starts_with('-')) return {};
  const CLI::App* at = &app;
  std::string path   = app.get_name();
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  if (at->get_subcommands([](const CLI::App*) { return true; }).empty()) return {};
  return fmt::format("no verb {}: `{} --help` lists them", rest.front(), path);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace ringtalk::ctl;  // NOLINT: this file only joins what the others offer
  std::signal(SIGPIPE, SIG_IGN);
  ringtalk::proto::silence_protobuf_log();

  Context context;
  CLI::App app{
      "Looks after a ringtalk server: accounts, groups, sessions, health, configuration, a "
      "terminal chat."};
  app.name("ringtalkctl");
  app.set_version_flag("--version", std::string("ringtalkctl ") + RINGTALK_VERSION);
  app.add_option("--http", context.http, "HOST:PORT of the server's HTTP door")
      ->envname("RINGTALK_HTTP")
      ->capture_default_str();
  app.add_option("--data-dir", context.data_dir,
                 "data directory of the server; its admin.token is read")
      ->type_name("DIR")
      ->envname("RINGTALK_DATA_DIR")
      ->capture_default_str();
  app.add_flag("--json", context.json, "print JSON where a table would be printed");
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(
      "Exit codes: 0 done, 1 it failed (standard error says why), 2 the command line is wrong.");
  add_user_command(app, context);
  add_department_command(app, context);
  add_group_command(app, context);
  add_message_commands(app, context);
  add_session_command(app, context);
  add_status_commands(app, context);
  add_top_command(app, context);
  add_doctor_command(app, context);
  add_config_command(app, context);
  add_chat_command(app, context);
  add_store_command(app, context);
  add_migrate_command(app, context);
  add_handback_command(app, context);
  add_export_command(app, context);
  add_completion_command(app, context);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (const std::string unknown = unknown_verb(app);
        !unknown.empty() && error.get_exit_code() != 0) {
      complain(unknown);
      return kExitUsage;
    }
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  try {
    return context.run();
  } catch (const std::exception& error) {  // of a library, such as a closed standard output
    complain(error.what());
    return kExitFailed;
  }
}
