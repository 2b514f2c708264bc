// `ringtalkctl group`: groups and who is in them, through the server's HTTP interface.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tools/ctl/command.h"
#include "tools/ctl/http_client.h"
#include "tools/ctl/lookup.h"
#include "tools/ctl/printable.h"
#include "tools/ctl/table.h"

namespace ringtalk::ctl {

namespace {

using Method = HttpClient::Method;

constexpr const char* kPath   = "/api/v1/groups";
constexpr const char* kUnlike = "the server does not answer like ringtalkd";

struct GroupOptions {
  std::string which;
  std::string name;
  std::string type = "normal";
  std::string avatar;
  std::string creator;
  std::vector<std::string> users;
};

std::string path_of(const Json& group, std::string_view below = "") {
  return fmt::format("{}/{}{}", kPath, group["id"].get<uint32_t>(), below);
}

std::string shown(const Json& group) {
  return fmt::format("group {} ({})", field_text(group, "id"), escaped(field_text(group, "name")));
}

// All that are named, or the first who is nobody.
Answer<std::vector<uint32_t>> find_users(HttpClient& client,
                                         const std::vector<std::string>& names) {
  Answer<std::vector<uint32_t>> out;
  for (const std::string& name : names) {
    const auto user = client.find_user(name);
    if (!user) return {.problem = user.problem, .status = user.status};
    out.value.push_back(user.value["id"].get<uint32_t>());
  }
  return out;
}

// Finds the group and the server, and lets `action` do the rest.
int with_group(const Context& context, const GroupOptions& options,
               const std::function<int(HttpClient&, const Json&)>& action) {
  return with_server(context, [&](HttpClient& client) {
    const auto group = find_group(client, options.which);
    if (!group) return fail_with(group.problem);
    return action(client, group.value);
  });
}

int print_group(const Context& context, const Json& group, std::string_view done) {
  if (!is_group(group)) return fail_with(kUnlike);
  if (context.json) {
    print_json(group);
  } else {
    fmt::print("{}: {}\n", shown(group), done);
  }
  return kExitOk;
}

// ---- groups ----

int show_groups(const Context& context, const GroupOptions&) {
  return with_server(context, [&](HttpClient& client) {
    auto list = list_groups(client);
    if (!list) return fail_with(list.problem);
    if (context.json) {
      print_json({{"groups", std::move(list.value)}});
      return kExitOk;
    }
    Table table({"ID>", "NAME", "TYPE", "MEMBERS>", "CREATOR>"});
    for (const Json& group : list.value) {
      table.add({field_text(group, "id"), field_text(group, "name"), field_text(group, "type"),
                 field_text(group, "member_count"), field_text(group, "creator")});
    }
    fmt::print("{}", table.text());
    return kExitOk;
  });
}

int show_group(const Context& context, const GroupOptions& options) {
  return with_group(context, options, [&](HttpClient&, const Json& group) {
    if (context.json) {
      print_json(group);
      return kExitOk;
    }
    for (const char* key :
         {"id", "name", "type", "member_count", "creator", "avatar", "created", "version"}) {
      if (group.contains(key)) fmt::print("{:<14}{}\n", key, escaped(field_text(group, key)));
    }
    return kExitOk;
  });
}

int create_group(const Context& context, const GroupOptions& options) {
  return with_server(context, [&](HttpClient& client) {
    const auto users = find_users(client, options.users);
    if (!users) return fail_with(users.problem);
    Json body = {{"name", options.name}, {"type", options.type}};
    if (!users.value.empty()) body["members"] = users.value;
    if (!options.avatar.empty()) body["avatar"] = options.avatar;
    if (!options.creator.empty()) {
      const auto creator = client.find_user(options.creator);
      if (!creator) return fail_with(creator.problem);
      body["creator"] = creator.value["id"];
    }
    const auto made = client.call(Method::post, kPath, body);
    if (!made)
      return fail_with(fmt::format("group {} not created: {}", options.name, made.problem));
    uint32_t members = 0;
    read_number(made.value, "member_count", members);
    return print_group(context, made.value, "created with " + counted(members, "member"));
  });
}

int change_group(const Context& context, const GroupOptions& options, const Json& change,
                 std::string_view done) {
  return with_group(context, options, [&](HttpClient& client, const Json& group) {
    const auto changed = client.call(Method::patch, path_of(group), change);
    if (!changed)
      return fail_with(fmt::format("group {} not changed: {}", options.which, changed.problem));
    return print_group(context, changed.value, done);
  });
}

int dismiss_group(const Context& context, const GroupOptions& options) {
  return with_group(context, options, [&](HttpClient& client, const Json& group) {
    const auto gone = client.call(Method::remove, path_of(group));
    if (!gone)
      return fail_with(fmt::format("group {} not dismissed: {}", options.which, gone.problem));
    if (context.json) {
      print_json({{"id", group["id"]}, {"dismissed", true}});
    } else {
      fmt::print("{}: dismissed\n", shown(group));
    }
    return kExitOk;
  });
}

// ---- members ----

bool is_member(const Json& row) {
  uint32_t number = 0;
  return read_number(row, "user", number) && read_number(row, "first_message", number);
}

int show_members(const Context& context, const GroupOptions& options) {
  return with_group(context, options, [&](HttpClient& client, const Json& group) {
    auto members = client.list(path_of(group, "/members"), "members", &is_member);
    if (!members) return fail_with(members.problem);
    if (context.json) {
      print_json({{"members", std::move(members.value)}});
      return kExitOk;
    }
    const auto users = client.list_users();
    if (!users) return fail_with(users.problem);
    std::map<uint32_t, const Json*> known;
    for (const Json& user : users.value) known[user["id"].get<uint32_t>()] = &user;
    Table table({"ID>", "NAME", "NICK", "SEES FROM>", "MUTED"});
    for (const Json& member : members.value) {
      const auto user  = known.find(member["user"].get<uint32_t>());
      const auto about = [&](const char* key) {
        return user == known.end() ? std::string() : field_text(*user->second, key);
      };
      table.add({field_text(member, "user"), about("name"), about("nick"),
                 field_text(member, "first_message"),
                 field_text(member, "muted") == "true" ? "muted" : ""});
    }
    fmt::print("{}", table.text());
    return kExitOk;
  });
}

int change_members(const Context& context, const GroupOptions& options, bool add) {
  return with_group(context, options, [&](HttpClient& client, const Json& group) {
    const auto users = find_users(client, options.users);
    if (!users) return fail_with(users.problem);
    const auto answer = client.call(Method::post, path_of(group, "/members"),
                                    {{add ? "add" : "remove", users.value}});
    if (!answer)
      return fail_with(fmt::format("group {} not changed: {}", options.which, answer.problem));
    if (context.json) {
      print_json(answer.value);
      return kExitOk;
    }
    const auto changed = answer.value.find("changed");
    if (changed == answer.value.end() || !changed->is_array()) return fail_with(kUnlike);
    fmt::print("{}: {} {}\n", shown(group), counted(changed->size(), "member"),
               add ? "added" : "removed");
    return kExitOk;
  });
}

int add_everybody(const Context& context, const GroupOptions& options) {
  return with_group(context, options, [&](HttpClient& client, const Json& group) {
    const auto answer = client.call(Method::post, path_of(group, "/members:everybody"));
    if (!answer)
      return fail_with(fmt::format("group {} not changed: {}", options.which, answer.problem));
    if (context.json) {
      print_json(answer.value);
      return kExitOk;
    }
    uint32_t added = 0;
    if (!read_number(answer.value, "added", added)) return fail_with(kUnlike);
    fmt::print("{}: {} added\n", shown(group), counted(added, "member"));
    return kExitOk;
  });
}

}  // namespace

void add_group_command(CLI::App& app, Context& context) {
  CLI::App* group =
      app.add_subcommand("group",
                         "groups: list, show, create, rename, avatar, add, remove, everybody, "
                         "members, dismiss");
  group->require_subcommand(1);
  auto options    = std::make_shared<GroupOptions>();
  const auto verb = [&](const char* name, const char* what, auto action) {
    CLI::App* made = group->add_subcommand(name, what);
    made->callback([&context, options, action] {
      context.run = [&context, options, action] { return action(context, *options); };
    });
    return made;
  };
  const auto takes_one = [&](CLI::App* made) {
    made->add_option("GROUP", options->which, "its id, or its name")->required();
    return made;
  };
  const auto takes_users = [&](CLI::App* made) {
    return made->add_option("USER", options->users, "login names, or ids as #12");
  };

  verb("list", "all groups", &show_groups);
  takes_one(verb("show", "all that is known of a group", &show_group));
  CLI::App* create = verb("create", "make a group", &create_group);
  create->add_option("NAME", options->name, "its name")->required();
  takes_users(create);
  create
      ->add_option("--type", options->type,
                   "normal: its members are yours to choose; temporary: members add others")
      ->check(CLI::IsMember({"normal", "temporary"}))
      ->capture_default_str();
  create->add_option("--creator", options->creator,
                     "user who may remove members; is in it (default: nobody)");
  create->add_option("--avatar", options->avatar, "path or URL of its picture");
  CLI::App* rename = verb("rename", "change a name", [](const Context& c, const GroupOptions& o) {
    return change_group(c, o, {{"name", o.name}}, "renamed");
  });
  takes_one(rename)->add_option("NAME", options->name, "the new name")->required();
  CLI::App* avatar =
      verb("avatar", "change a picture", [](const Context& c, const GroupOptions& o) {
        return change_group(c, o, {{"avatar", o.avatar}}, "new avatar");
      });
  takes_one(avatar)->add_option("AVATAR", options->avatar, "path or URL; '': none")->required();
  takes_users(takes_one(verb("add", "add members", [](const Context& c, const GroupOptions& o) {
    return change_members(c, o, /*add=*/true);
  })))->required();
  takes_users(takes_one(verb("remove", "remove members",
                             [](const Context& c, const GroupOptions& o) {
                               return change_members(c, o, /*add=*/false);
                             })))
      ->required();
  takes_one(verb("everybody", "add all users who are not disabled", &add_everybody));
  takes_one(verb("members", "who is in a group", &show_members));
  takes_one(verb("dismiss", "end a group for good", &dismiss_group));
}

}  // namespace ringtalk::ctl
