// `ringtalkctl session`: who is connected, and putting somebody out.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <memory>

#include "tools/ctl/command.h"
#include "tools/ctl/http_client.h"
#include "tools/ctl/printable.h"
#include "tools/ctl/table.h"

namespace ringtalk::ctl {

namespace {

using Method = HttpClient::Method;

struct SessionOptions {
  std::string user;
  std::string device = "all";
};

bool is_session(const Json& row) {
  uint32_t number = 0;
  std::string text;
  return read_number(row, "user", number) && read_text(row, "device", text) &&
         read_number(row, "shard", number);
}

double seconds_of(const Json& row, const char* key) {
  const auto at = row.find(key);
  return at != row.end() && at->is_number() ? at->get<double>() : 0;
}

// All sessions, or those of one user, which come in one answer.
Answer<std::vector<Json>> sessions(HttpClient& client, const std::string& who) {
  constexpr const char* kPath = "/api/v1/sessions";
  if (who.empty()) return client.list(kPath, "sessions", &is_session);
  const auto user = client.find_user(who);
  if (!user) return {.problem = user.problem};
  auto answer =
      client.call(Method::get, fmt::format("{}?user={}", kPath, user.value["id"].get<uint32_t>()));
  if (!answer) return {.problem = answer.problem, .status = answer.status};
  const auto rows = answer.value.find("sessions");
  if (rows == answer.value.end() || !rows->is_array() || !std::ranges::all_of(*rows, is_session))
    return {.problem = "the server does not answer like ringtalkd"};
  return {.value = rows->get<std::vector<Json>>()};
}

int list_sessions(const Context& context, const SessionOptions& options) {
  return with_server(context, [&](HttpClient& client) {
    auto rows = sessions(client, options.user);
    if (!rows) return fail_with(rows.problem);
    if (context.json) {
      print_json({{"sessions", std::move(rows.value)}});
      return kExitOk;
    }
    const auto now = static_cast<double>(std::time(nullptr));
    Table table({"USER>", "NAME", "DEVICE", "SHARD>", "ADDRESS", "SINCE>", "IDLE>", "QUEUED>"});
    for (const Json& row : rows.value) {
      table.add({field_text(row, "user"), field_text(row, "name"), field_text(row, "device"),
                 field_text(row, "shard"), field_text(row, "address"),
                 duration_text(now - seconds_of(row, "since")),
                 duration_text(seconds_of(row, "idle_s")),
                 bytes_text(seconds_of(row, "queued_bytes"))});
    }
    fmt::print("{}", table.text());
    return kExitOk;
  });
}

int kick(const Context& context, const SessionOptions& options) {
  return with_server(context, [&](HttpClient& client) {
    const auto user = client.find_user(options.user);
    if (!user) return fail_with(user.problem);
    const auto answer = client.call(Method::post, "/api/v1/sessions:kick",
                                    {{"user", user.value["id"]}, {"device", options.device}});
    if (!answer) return fail_with(fmt::format("not kicked: {}", answer.problem));
    if (context.json) {
      print_json(answer.value);
      return kExitOk;
    }
    uint32_t kicked = 0;
    if (!read_number(answer.value, "kicked", kicked))
      return fail_with("the server does not answer like ringtalkd");
    fmt::print("{} of {} closed; to keep him out: `ringtalkctl user disable`\n",
               counted(kicked, "session"), escaped(field_text(user.value, "name")));
    return kExitOk;
  });
}

}  // namespace

void add_session_command(CLI::App& app, Context& context) {
  CLI::App* session = app.add_subcommand("session", "connected clients: list, kick");
  session->require_subcommand(1);
  auto options = std::make_shared<SessionOptions>();

  CLI::App* list = session->add_subcommand("list", "who is logged in, from where");
  list->add_option("NAME", options->user, "only this user's: login name, or an id as #12");
  list->callback([&context, options] {
    context.run = [&context, options] { return list_sessions(context, *options); };
  });

  CLI::App* out = session->add_subcommand("kick", "close a user's sessions");
  out->add_option("NAME", options->user, "login name, or an id as #12")->required();
  out->add_option("--device", options->device, "which of his devices")
      ->check(CLI::IsMember({"all", "pc", "mobile"}))
      ->capture_default_str();
  out->callback([&context, options] {
    context.run = [&context, options] { return kick(context, *options); };
  });
}

}  // namespace ringtalk::ctl
