// `ringtalkctl user`: accounts, through the server's HTTP interface.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/ctl/command.h"
#include "tools/ctl/http_client.h"
#include "tools/ctl/password.h"
#include "tools/ctl/printable.h"

namespace ringtalk::ctl {

namespace {

using Json = nlohmann::json;

int fail_with(std::string_view problem) {
  complain(problem);
  return kExitFailed;
}

// Finds the server and its token, then lets `action` do the work.
template <class Action>
int with_server(const Context& context, Action action) {
  const auto address = parse_address(context.http);
  if (!address) {
    complain(fmt::format("--http wants HOST:PORT, not {}", context.http));
    return kExitUsage;
  }
  const auto token = read_admin_token(context.data_dir);
  if (!token) return fail_with(token.problem);
  HttpClient client(*address, token.value);
  return action(client);
}

int add_user(const Context& context, NewUser user) {
  auto password =
      obtain_password(user.password, fmt::format("password of {}: ", escaped(user.name)));
  if (!password || password->empty()) {
    complain("no password given");
    return kExitUsage;
  }
  user.password = *password;
  return with_server(context, [&](HttpClient& client) {
    const auto added = client.add_user(user);
    if (!added) return fail_with(fmt::format("user {} not added: {}", user.name, added.problem));
    if (context.json) {
      fmt::print("{}\n", Json{{"id", added.value.id}, {"name", added.value.name}}.dump());
    } else {
      fmt::print("{} has id {}\n", escaped(added.value.name), added.value.id);
    }
    return kExitOk;
  });
}

void print_json(const std::vector<UserRow>& users) {
  Json list = Json::array();
  for (const UserRow& user : users) {
    list.push_back({{"id", user.id},
                    {"name", user.name},
                    {"nick", user.nick},
                    {"department", user.department},
                    {"status", user.status}});
  }
  // A name from an imported database may not be UTF-8; a replacement character beats an exception.
  fmt::print("{}\n", Json{{"users", list}}.dump(2, ' ', false, Json::error_handler_t::replace));
}

constexpr size_t kColumns = 5;
using Cells               = std::array<std::string, kColumns>;

void print_table(const std::vector<UserRow>& users) {
  std::vector<Cells> lines = {{"ID", "NAME", "NICK", "DEPARTMENT", "STATUS"}};
  for (const UserRow& user : users) {
    lines.push_back({std::to_string(user.id), escaped(user.name), escaped(user.nick),
                     std::to_string(user.department), std::to_string(user.status)});
  }
  std::array<size_t, kColumns> widths{};
  for (const Cells& line : lines) {
    for (size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], column_width(line[i]));
  }
  for (const Cells& line : lines) {
    std::string out;
    for (size_t i = 0; i < kColumns; ++i) {
      out += line[i];
      if (i + 1 < kColumns) out.append(widths[i] - column_width(line[i]) + 2, ' ');
    }
    fmt::print("{}\n", out);
  }
}

int list_users(const Context& context) {
  return with_server(context, [&](HttpClient& client) {
    const auto users = client.list_users();
    if (!users) return fail_with(users.problem);
    context.json ? print_json(users.value) : print_table(users.value);
    return kExitOk;
  });
}

}  // namespace

void add_user_command(CLI::App& app, Context& context) {
  CLI::App* user = app.add_subcommand("user", "accounts: add, list");
  user->require_subcommand(1);

  auto wanted   = std::make_shared<NewUser>();
  CLI::App* add = user->add_subcommand("add", "make an account");
  add->add_option("NAME", wanted->name, "login name")->required();
  add->add_option("--password", wanted->password, "password; - reads it from standard input")
      ->required();
  add->add_option("--nick", wanted->nick, "name shown to others (default: the login name)");
  add->add_option("--department", wanted->department, "department id (default 0)");
  add->callback([&context, wanted] {
    context.run = [&context, wanted] { return add_user(context, *wanted); };
  });

  CLI::App* list = user->add_subcommand("list", "all accounts");
  list->callback([&context] { context.run = [&context] { return list_users(context); }; });
}

}  // namespace ringtalk::ctl
