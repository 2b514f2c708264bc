// `ringtalkctl migrate`: a TeamTalk database becomes one that ringtalkd works on.
//
// Errors  exit 1: it cannot be done, or was not; standard error says why. Nothing is written without
//         --apply.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "tools/ctl/command.h"
#include "tools/ctl/printable.h"
#include "tools/ctl/table.h"
#include "tools/ctl/teamtalk/dbproxy_conf.h"
#include "tools/ctl/teamtalk/migrate.h"
#include "tools/ctl/teamtalk/site.h"

namespace ringtalk::ctl {

namespace {

using Json = nlohmann::json;

// MariaDB 10.11 on two cores with a local disk adds columns and keys at about this rate.
constexpr double kAlterRowsPerSecond = 250'000;
// The original's job leaves a trace every 5 s.
constexpr uint64_t kSilentEnough_s = 20;
constexpr uint64_t kLockWait_s     = 60;

struct MigrateOptions {
  SiteOptions site;
  bool apply      = false;
  bool stopped    = false;
  bool print_conf = false;
};

Json json_of(const Settled& settled) {
  return {{"relations_adopted", settled.adopted}, {"relations_turned", settled.turned},
          {"relations_merged", settled.merged},   {"messages_appended", settled.appended},
          {"messages_left", settled.kept},        {"sessions_dropped", settled.sessions},
          {"members_dropped", settled.members}};
}

Json json_of(const Taken& taken) {
  return {{"conversations", taken.conversations},
          {"groups", taken.groups},
          {"messages", taken.messages},
          {"cursors", taken.cursors},
          {"unread", taken.unread},
          {"counters_behind", taken.counters_behind},
          {"counters_insane", taken.counters_insane},
          {"sessions_made", taken.sessions_made},
          {"sessions_hidden", taken.sessions_hidden},
          {"members", taken.members},
          {"members_joined", taken.members_joined},
          {"members_left", taken.members_left},
          {"members_unknown", taken.members_unknown},
          {"muted", taken.muted},
          {"counts_mended", taken.counts_mended},
          {"tokens", taken.tokens},
          {"tokens_skipped", taken.tokens_skipped}};
}

Json json_of(const std::vector<Finding>& findings) {
  Json list = Json::array();
  for (const Finding& finding : findings) {
    Json examples = Json::array();
    for (const std::string& example : finding.examples) examples.push_back(escaped(example));
    list.push_back({{"name", finding.name},
                    {"text", finding.text},
                    {"count", finding.count},
                    {"examples", std::move(examples)}});
  }
  return list;
}

void print(const std::vector<Finding>& findings) {
  if (findings.empty()) {
    fmt::print("duplicates and oddities: none\n");
    return;
  }
  fmt::print("duplicates and oddities:\n");
  for (const Finding& finding : findings) {
    fmt::print("  {:>8}  {}\n{:12}for example {}\n", finding.count, finding.text, "",
               escaped(fmt::format("{}", fmt::join(finding.examples, ", "))));
  }
}

void print(const Taken& taken) {
  fmt::print("taken over: {} in {} and {}; {} with something unread\n",
             counted(taken.messages, "message"), counted(taken.conversations, "conversation"),
             counted(taken.groups, "group"), counted(taken.unread, "reader"));
  fmt::print("  {} in groups ({} known to Redis only, {} to MySQL only, {} of nobody)\n",
             counted(taken.members, "member"), taken.members_joined, taken.members_left,
             taken.members_unknown);
  fmt::print("  {} muted, {} ({} skipped)\n", counted(taken.muted, "membership"),
             counted(taken.tokens, "push token"), taken.tokens_skipped);
  if (taken.counters_behind + taken.counters_insane > 0) {
    fmt::print(
        "  counters in Redis: {} below the highest stored id, {} are none: the stored id counts\n",
        taken.counters_behind, taken.counters_insane);
  }
}

// The survey and the walk read these.
bool can_be_surveyed(const store::sql::Inspection& inspection) {
  return std::ranges::none_of(inspection.missing, [](const std::string& table) {
    return table.starts_with("IM") && table != "IMTransmitFile" && table != "IMAdmin" &&
           table != "IMDiscovery";
  });
}

void warn(Database& database) {
  const auto& seen = database.inspection();
  if (seen.flush != 1)
    complain(
        fmt::format("innodb_flush_log_at_trx_commit is {}: a power failure can take the last"
                    " second of acknowledged messages; 1 keeps them",
                    seen.flush));
  if (seen.own_files)
    complain("IMTransmitFile has columns of its own: it is left alone and not used");
}

// As long as the connection lives.
void lock_out_others(Database& database) {
  if (database.number("SELECT GET_LOCK('ringtalkctl migrate', ?)", {kLockWait_s}) != 1) {
    throw std::runtime_error(
        "another migrate is at work on this server, or the statement of one"
        " that was ended still is: try again later");
  }
}

int apply(const Context& context, Database& database, RedisPools* redis) {
  lock_out_others(database);
  database.inspect();
  const Progress progress = [&](std::string_view text) {
    if (context.json) return;
    fmt::print("{}\n", text);
    std::fflush(stdout);
  };
  const Migrated done = migrate(database, redis, progress);
  if (context.json) {
    print_json({{"applied", true},
                {"settled", json_of(done.settled)},
                {"taken", json_of(done.taken)},
                {"renumbered", done.renumbered}});
  } else {
    print(done.taken);
  }
  return kExitOk;
}

int report(const Context& context, Database& database, RedisPools* redis) {
  const auto& seen      = database.inspection();
  const auto statements = planned_statements(seen);
  const auto sizes      = sizes_of_gaps(database);
  uint64_t rows         = 0;
  for (const TableSize& size : sizes) rows += size.rows;
  std::vector<Finding> findings;
  Taken taken;
  const bool whole = can_be_surveyed(seen);
  if (whole) {
    findings = survey(database);
    taken    = TakeOver(database, redis, /*write=*/false, [](std::string_view) {}).run();
  }
  const double seconds = static_cast<double>(rows) / kAlterRowsPerSecond;
  if (context.json) {
    print_json({{"applied", false},
                {"up_to_date", false},
                {"server", seen.server},
                {"statements", statements},
                {"alter_rows", rows},
                {"surveyed", whole},
                {"findings", json_of(findings)},
                {"taken", json_of(taken)}});
    return kExitOk;
  }
  fmt::print("MySQL {}\n{} to make, {} to alter", seen.server,
             counted(seen.missing.size(), "table"), seen.gaps.size());
  if (!sizes.empty())
    fmt::print(
        " with about {}: some {} on a local disk, longer where tables are larger than memory",
        counted(rows, "row"), duration_text(seconds));
  fmt::print("\n");
  if (!seen.teamtalk && seen.missing.size() == statements.size())
    fmt::print("the database is empty: everything would be made\n");
  else if (!whole)
    fmt::print("tables are missing, so the rest was not looked at\n");
  if (whole) {
    print(findings);
    print(taken);
  }
  fmt::print("nothing was changed; --apply does it. Every statement: --json\n");
  return kExitOk;
}

int run(const Context& context, const MigrateOptions& options) {
  if (options.print_conf) {
    if (options.site.conf.empty()) {
      complain("--print-config wants --dbproxy-conf FILE");
      return kExitUsage;
    }
    fmt::print("{}", DbproxyConf::read_file(options.site.conf).as_toml());
    return kExitOk;
  }
  const Site site     = read_site(options.site);
  const auto database = open_database(site);
  if (const std::string why = refusal(database->inspection()); !why.empty()) return fail_with(why);
  warn(*database);
  if (up_to_date(database->inspection())) {
    if (context.json)
      print_json({{"applied", options.apply}, {"up_to_date", true}});
    else
      fmt::print("up to date: ringtalkd may start\n");
    return kExitOk;
  }
  const auto redis = open_redis(options.site, site);
  if (redis && !options.stopped) {
    if (const uint64_t silent = original_silent_s(*redis); silent < kSilentEnough_s) {
      const std::string sentence =
          fmt::format("the original wrote to Redis {} ago: its servers have to be stopped",
                      duration_text(static_cast<double>(silent)));
      if (options.apply) return fail_with(sentence + " (--stopped if they are)");
      complain(sentence + " before --apply");
    }
  }
  return options.apply ? apply(context, *database, redis.get())
                       : report(context, *database, redis.get());
}

}  // namespace

void add_migrate_command(CLI::App& app, Context& context) {
  CLI::App* migrate = app.add_subcommand(
      "migrate", "make a TeamTalk database ready for ringtalkd; without --apply only look");
  auto options = std::make_shared<MigrateOptions>();
  add_site_options(*migrate, options->site);
  migrate->add_flag("--without-redis", options->site.without_redis,
                    "there is none any more: everything counts as read");
  migrate->add_flag("--apply", options->apply, "do it; may be repeated after whatever stopped it");
  migrate->add_flag("--stopped", options->stopped,
                    "the original's servers are stopped, whatever Redis says");
  migrate->add_flag("--print-config", options->print_conf,
                    "print the sections for ringtalk.toml that say what --dbproxy-conf says");
  migrate->callback([&context, options] {
    context.run = [&context, options] { return run(context, *options); };
  });
}

}  // namespace ringtalk::ctl
