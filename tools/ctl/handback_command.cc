// `ringtalkctl handback`: the original's servers may run again on the MySQL and Redis that ringtalkd had.
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
#include "tools/ctl/teamtalk/hand_back.h"
#include "tools/ctl/teamtalk/site.h"

namespace ringtalk::ctl {

namespace {

struct HandbackOptions {
  SiteOptions site;
  bool stopped = false;
};

// What handback itself began counts as ready.
std::string why_not(const store::sql::Inspection& inspection) {
  if (inspection.version == 0 && inspection.handed_back != 0)
    return "it was handed back already: what the original did since then would be lost";
  auto begun        = inspection;
  begun.handed_back = 0;
  return store::sql::ready(begun);
}

int run(const Context& context, const HandbackOptions& options) {
  const Site site     = read_site(options.site);
  const auto database = open_database(site);
  if (const std::string why = why_not(database->inspection()); !why.empty()) return fail_with(why);
  const uint64_t others = database->number(
      "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE()"
      " AND ID <> CONNECTION_ID()");
  if (others > 0 && !options.stopped) {
    return fail_with(
        fmt::format("{} to the database: ringtalkd has to be stopped (--stopped if it is,"
                    " and these are of others)",
                    counted(others, "other connection")));
  }
  const auto redis      = open_redis(options.site, site);
  const HandedBack done = HandBack(*database, *redis, [&](std::string_view text) {
                            if (context.json) return;
                            fmt::print("{}\n", text);
                            std::fflush(stdout);
                          }).run();
  if (context.json) {
    nlohmann::json names = nlohmann::json::array();
    for (const std::string& name : done.without_password) names.push_back(escaped(name));
    print_json({{"conversations", done.conversations},
                {"groups", done.groups},
                {"members", done.members},
                {"unread", done.unread},
                {"sessions", done.sessions},
                {"tokens", done.tokens},
                {"without_password", std::move(names)}});
    return kExitOk;
  }
  for (const std::string& name : done.without_password)
    fmt::print("no password of the original's form: {}\n", escaped(name));
  return kExitOk;
}

}  // namespace

void add_handback_command(CLI::App& app, Context& context) {
  CLI::App* handback = app.add_subcommand(
      "handback",
      "bring TeamTalk's tables and Redis up to date, so that the original can run again");
  auto options = std::make_shared<HandbackOptions>();
  add_site_options(*handback, options->site);
  handback->add_flag("--stopped", options->stopped,
                     "ringtalkd is stopped, whoever else is connected to the database");
  handback->callback([&context, options] {
    context.run = [&context, options] { return run(context, *options); };
  });
}

}  // namespace ringtalk::ctl
