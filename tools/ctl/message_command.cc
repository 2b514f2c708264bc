// `ringtalkctl message` and `announce`: messages in a user's name, through the server's HTTP interface.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "proto/text_codec.h"
#include "tools/ctl/command.h"
#include "tools/ctl/http_client.h"
#include "tools/ctl/lookup.h"
#include "tools/ctl/printable.h"
#include "tools/ctl/table.h"

namespace ringtalk::ctl {

namespace {

using Method = HttpClient::Method;

constexpr const char* kGroupsPath = "/api/v1/groups";
constexpr const char* kUnlike     = "the server does not answer like ringtalkd";

struct MessageOptions {
  std::string from;
  std::string user;
  std::string group;
  std::string group_name = "Announcements";
  std::string text;
};

// Before anything is asked or changed. Empty: it is fit to be sent.
std::string wrong_text(const std::string& text) {
  if (text.empty()) return "TEXT is empty";
  if (text.size() > proto::kPlainTextBytesMax)
    return fmt::format("TEXT has {} bytes of at most {}", text.size(), proto::kPlainTextBytesMax);
  return {};
}

Answer<Json> put_message(HttpClient& client, const Json& message) {
  auto sent       = client.call(Method::post, "/api/v1/messages", message);
  uint32_t number = 0;
  if (sent &&
      (!read_number(sent.value, "msg_id", number) || !read_number(sent.value, "time", number)))
    sent.problem = kUnlike;
  if (!sent) sent.problem = "not sent: " + sent.problem;
  return sent;
}

// ---- message send ----

int send_message(const Context& context, const MessageOptions& options) {
  if (options.user.empty() == options.group.empty()) {
    complain("send wants --user or --group");
    return kExitUsage;
  }
  if (const std::string wrong = wrong_text(options.text); !wrong.empty()) {
    complain(wrong);
    return kExitUsage;
  }
  return with_server(context, [&](HttpClient& client) {
    const auto from = client.find_user(options.from);
    if (!from) return fail_with(from.problem);
    const bool single = !options.user.empty();
    const auto to     = single ? client.find_user(options.user) : find_group(client, options.group);
    if (!to) return fail_with(to.problem);
    const auto sent = put_message(client, {{"from", from.value["id"]},
                                           {single ? "user" : "group", to.value["id"]},
                                           {"text", options.text}});
    if (!sent) return fail_with(sent.problem);
    if (context.json) {
      print_json(sent.value);
    } else {
      fmt::print("message {} from {} to {}{}\n", field_text(sent.value, "msg_id"),
                 escaped(field_text(from.value, "name")), single ? "" : "group ",
                 escaped(field_text(to.value, "name")));
    }
    return kExitOk;
  });
}

// ---- announce ----

// The normal group of that name, made if there is none; `made` says so.
Answer<Json> announcement_group(HttpClient& client, const std::string& name, bool& made) {
  const auto list = list_groups(client);
  if (!list) return {.problem = list.problem, .status = list.status};
  Answer<Json> found;
  for (const Json& group : list.value) {
    if (group["name"] != name || group["type"] != "normal") continue;
    if (!found.value.is_null())
      return {.problem = fmt::format("several groups are called {}: give another --group", name)};
    found.value = group;
  }
  if (!found.value.is_null()) return found;
  found = client.call(Method::post, kGroupsPath, {{"name", name}, {"type", "normal"}});
  if (!found) {
    found.problem = fmt::format("group {} not created: {}", name, found.problem);
  } else if (!is_group(found.value)) {
    found.problem = kUnlike;
  }
  made = true;
  return found;
}

int announce(const Context& context, const MessageOptions& options) {
  if (const std::string wrong = wrong_text(options.text); !wrong.empty()) {
    complain(wrong);
    return kExitUsage;
  }
  return with_server(context, [&](HttpClient& client) {
    const auto from = client.find_user(options.from);
    if (!from) return fail_with(from.problem);
    if (field_text(from.value, "status") == "3")
      return fail_with(fmt::format("{} is disabled, so nobody would hear him", options.from));
    bool made        = false;
    const auto group = announcement_group(client, options.group_name, made);
    if (!group) return fail_with(group.problem);
    const std::string path = fmt::format("{}/{}", kGroupsPath, group.value["id"].get<uint32_t>());
    const auto joined      = client.call(Method::post, path + "/members:everybody");
    if (!joined)
      return fail_with(
          fmt::format("nobody added to group {}: {}", options.group_name, joined.problem));
    const auto sent = put_message(
        client, {{"from", from.value["id"]}, {"group", group.value["id"]}, {"text", options.text}});
    if (!sent) return fail_with(sent.problem);
    const auto now = client.call(Method::get, path);  // with those who came just now
    uint32_t added = 0, members = 0;
    if (!read_number(joined.value, "added", added) || !is_group(now.value))
      return fail_with(kUnlike);
    read_number(now.value, "member_count", members);
    if (context.json) {
      Json report          = sent.value;
      report["group"]      = now.value["id"];
      report["group_made"] = made;
      report["added"]      = added;
      report["members"]    = members;
      print_json(report);
    } else {
      fmt::print("message {} to {} of group {} ({}), {} of them new{}\n",
                 field_text(sent.value, "msg_id"), counted(members, "member"),
                 field_text(now.value, "id"), escaped(options.group_name), added,
                 made ? "; the group was made for it" : "");
    }
    return kExitOk;
  });
}

}  // namespace

void add_message_commands(CLI::App& app, Context& context) {
  auto options     = std::make_shared<MessageOptions>();
  const auto takes = [&](CLI::App* made) {
    made->add_option("--from", options->from, "sender: login name, or an id as #12")->required();
    made->add_option("TEXT", options->text, "what is said")->required();
  };
  CLI::App* message = app.add_subcommand("message", "messages: send one in a user's name");
  message->require_subcommand(1);
  CLI::App* send = message->add_subcommand("send", "to one user, or to a group the sender is in");
  takes(send);
  CLI::Option* group = send->add_option("--group", options->group, "its id, or its name");
  send->add_option("--user", options->user, "login name, or an id as #12")->excludes(group);
  send->callback([&context, options] {
    context.run = [&context, options] { return send_message(context, *options); };
  });

  CLI::App* all = app.add_subcommand("announce", "a message to everybody, in a group for that");
  takes(all);
  all->add_option("--group", options->group_name, "name of the group; made if there is none")
      ->capture_default_str();
  all->callback([&context, options] {
    context.run = [&context, options] { return announce(context, *options); };
  });
}

}  // namespace ringtalk::ctl
