// `ringtalkctl status`, `token` and `reload`: one question or order each.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "tools/ctl/command.h"
#include "tools/ctl/http_client.h"
#include "tools/ctl/printable.h"
#include "tools/ctl/table.h"

namespace ringtalk::ctl {

namespace {

using Method = HttpClient::Method;

std::string number_text(const Json& from, const char* key, std::string (*form)(double)) {
  const auto at = from.is_object() ? from.find(key) : from.end();
  if (!from.is_object() || at == from.end() || !at->is_number()) return "-";
  return form(at->get<double>());
}

const Json& member(const Json& from, const char* key) {
  static const Json kNone;
  return from.is_object() && from.contains(key) ? from[key] : kNone;
}

bool is_ready(const Json& status) {
  const Json& ready = member(status, "ready");
  return ready.is_boolean() && ready.get<bool>();
}

void print_status(const Json& status) {
  const std::string reason = field_text(status, "reason");
  fmt::print("{}",
             escaped(fmt::format(
                 "ringtalkd {}, pid {}, up {}: {}{}", field_text(status, "version"),
                 field_text(status, "pid"), number_text(status, "uptime_s", &duration_text),
                 is_ready(status) ? "ready" : "not ready", reason.empty() ? "" : ", " + reason)));
  fmt::print("\nmemory {}, disk {} free of {}\n",
             number_text(member(status, "memory"), "rss", &bytes_text),
             number_text(member(status, "disk"), "free", &bytes_text),
             number_text(member(status, "disk"), "total", &bytes_text));
  const Json& shards = member(status, "shards");
  if (!shards.is_array() || shards.empty()) return;
  Table table({"SHARD>", "CONNECTIONS>", "SESSIONS>", "USERS>", "MESSAGES>", "LAG MS>", "QUEUED>",
               "WAITING>", "COMMITS>"});
  for (const Json& shard : shards) {
    const Json& store = member(shard, "store");
    table.add({field_text(shard, "shard"), field_text(shard, "connections"),
               field_text(shard, "sessions"), field_text(shard, "users"),
               field_text(shard, "messages"), field_text(shard, "loop_lag_ms"),
               number_text(shard, "queued_bytes", &bytes_text), field_text(store, "waiting"),
               field_text(store, "commits")});
  }
  fmt::print("\n{}", table.text());
}

int show_status(const Context& context) {
  return with_server(context, [&](HttpClient& client) {
    const auto status = client.call(Method::get, "/api/v1/status");
    if (!status) return fail_with(status.problem);
    if (context.json) {
      print_json(status.value);
    } else {
      print_status(status.value);
    }
    return is_ready(status.value) ? kExitOk : kExitFailed;
  });
}

int make_token(const Context& context, const std::string& who) {
  return with_server(context, [&](HttpClient& client) {
    const auto user = client.find_user(who);
    if (!user) return fail_with(user.problem);
    const auto id = user.value["id"].get<uint32_t>();
    auto answer   = client.call(Method::post, fmt::format("/api/v1/users/{}/token", id));
    std::string token;
    if (answer && !read_text(answer.value, "token", token))
      answer.problem = "the server does not answer like ringtalkd";
    if (!answer) return fail_with(fmt::format("no token for {}: {}", who, answer.problem));
    if (context.json) {
      print_json({{"id", id}, {"name", user.value["name"]}, {"token", token}});
    } else {
      fmt::print("{}\n", escaped(token));
    }
    return kExitOk;
  });
}

void print_names(const Json& answer, const char* key, const char* what) {
  const Json& list = member(answer, key);
  if (!list.is_array() || list.empty()) return;
  std::string names;
  for (const Json& name : list) {
    if (name.is_string()) names += (names.empty() ? "" : ", ") + name.get<std::string>();
  }
  fmt::print("{}: {}\n", what, escaped(names));
}

int reload(const Context& context) {
  return with_server(context, [&](HttpClient& client) {
    const auto answer = client.call(Method::post, "/api/v1/reload");
    if (answer.status == 400) {
      return fail_with(fmt::format(
          "nothing was changed: {} (`ringtalkctl config check FILE` checks without a server)",
          answer.problem));
    }
    if (!answer) return fail_with(answer.problem);
    if (context.json) {
      print_json(answer.value);
      return kExitOk;
    }
    const Json& changed = member(answer.value, "changed");
    const Json& later   = member(answer.value, "restart_needed");
    print_names(answer.value, "changed", "in force now");
    print_names(answer.value, "restart_needed", "changed, but needs a restart");
    if ((!changed.is_array() || changed.empty()) && (!later.is_array() || later.empty()))
      fmt::print("nothing has changed\n");
    return kExitOk;
  });
}

}  // namespace

void add_status_commands(CLI::App& app, Context& context) {
  CLI::App* status =
      app.add_subcommand("status", "is it well: shards, memory, disk; exit 1 if it is not ready");
  status->callback([&context] { context.run = [&context] { return show_status(context); }; });

  auto who        = std::make_shared<std::string>();
  CLI::App* token = app.add_subcommand(
      "token", "a new session token of a user, to log in by the password token:…");
  token->add_option("NAME", *who, "login name, or an id as #12")->required();
  token->callback(
      [&context, who] { context.run = [&context, who] { return make_token(context, *who); }; });

  CLI::App* again =
      app.add_subcommand("reload", "read the configuration file again, as SIGHUP does");
  again->callback([&context] { context.run = [&context] { return reload(context); }; });
}

}  // namespace ringtalk::ctl
