// `ringtalkctl export-teamtalk`: an embedded store moves into a MySQL database of TeamTalk's schema.
//
// Errors  exit 1: it cannot be done, or was not; standard error says why.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/ctl/command.h"
#include "tools/ctl/printable.h"
#include "tools/ctl/table.h"
#include "tools/ctl/teamtalk/export.h"
#include "tools/ctl/teamtalk/site.h"

namespace ringtalk::ctl {

namespace {

struct ExportOptions {
  SiteOptions site;
  std::string directory;
};

int run(const Context& context, const ExportOptions& options) {
  const auto database = open_database(read_site(options.site));
  const Exported done = Export(options.directory, *database, [&](std::string_view text) {
                          if (context.json) return;
                          fmt::print("{}\n", text);
                          std::fflush(stdout);
                        }).run();
  if (context.json) {
    nlohmann::json names = nlohmann::json::array();
    for (const std::string& name : done.without_password) names.push_back(escaped(name));
    print_json({{"users", done.users},
                {"departments", done.departments},
                {"groups", done.groups},
                {"members", done.members},
                {"sessions", done.sessions},
                {"tokens", done.tokens},
                {"conversations", done.relations},
                {"messages", done.messages},
                {"sounds", done.sounds},
                {"positions", done.positions},
                {"shortened", done.shortened},
                {"without_password", std::move(names)}});
    return kExitOk;
  }
  if (done.shortened > 0)
    complain(counted(done.shortened, "value") + " cut to the length of TeamTalk's columns");
  for (const std::string& name : done.without_password)
    fmt::print("no password of the original's form: {}\n", escaped(name));
  return kExitOk;
}

}  // namespace

void add_export_command(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand(
      "export-teamtalk",
      "copy an embedded store into an empty MySQL database of TeamTalk's schema");
  auto options = std::make_shared<ExportOptions>();
  command->add_option("DIR", options->directory, "data directory")->type_name("DIR")->required();
  add_site_options(*command, options->site);
  command->callback([&context, options] {
    context.run = [&context, options] { return run(context, *options); };
  });
}

}  // namespace ringtalk::ctl
