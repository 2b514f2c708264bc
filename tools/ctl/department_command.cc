// `ringtalkctl department`: the organisation's tree, through the server's HTTP interface.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "tools/ctl/command.h"
#include "tools/ctl/http_client.h"
#include "tools/ctl/lookup.h"
#include "tools/ctl/printable.h"
#include "tools/ctl/table.h"

namespace ringtalk::ctl {

namespace {

using Method = HttpClient::Method;

constexpr const char* kPath = "/api/v1/departments";

struct DepartmentOptions {
  std::string which;
  std::string name;
  std::string parent;
  std::optional<uint32_t> priority;
};

int print_department(const Context& context, const Json& department, std::string_view done) {
  if (context.json) {
    print_json(department);
  } else {
    fmt::print("department {} ({}): {}\n", field_text(department, "id"),
               escaped(field_text(department, "name")), done);
  }
  return kExitOk;
}

int show_departments(const Context& context, const DepartmentOptions&) {
  return with_server(context, [&](HttpClient& client) {
    auto list = list_departments(client);
    if (!list) return fail_with(list.problem);
    if (context.json) {
      print_json({{"departments", std::move(list.value)}});
      return kExitOk;
    }
    Table table({"ID>", "NAME", "PARENT>", "PRIORITY>", "STATUS"});
    for (const Json& entry : list.value) {
      table.add({field_text(entry, "id"), field_text(entry, "name"), field_text(entry, "parent"),
                 field_text(entry, "priority"), is_removed(entry) ? "removed" : "active"});
    }
    fmt::print("{}", table.text());
    return kExitOk;
  });
}

int add_department(const Context& context, const DepartmentOptions& options) {
  return with_server(context, [&](HttpClient& client) {
    Json body = {{"name", options.name}};
    if (options.priority) body["priority"] = *options.priority;
    if (!options.parent.empty()) {
      const auto parent = find_department(client, options.parent);
      if (!parent) return fail_with(parent.problem);
      body["parent"] = parent.value;
    }
    const auto made = client.call(Method::post, kPath, body);
    if (!made)
      return fail_with(fmt::format("department {} not added: {}", options.name, made.problem));
    return print_department(context, made.value, "added");
  });
}

int change_department(const Context& context, const DepartmentOptions& options, bool move) {
  return with_server(context, [&](HttpClient& client) {
    const auto id = find_department(client, options.which);
    if (!id) return fail_with(id.problem);
    Json body = Json::object();
    if (!options.name.empty()) body["name"] = options.name;
    if (options.priority) body["priority"] = *options.priority;
    if (!options.parent.empty()) {
      const auto parent = find_department(client, options.parent);
      if (!parent) return fail_with(parent.problem);
      body["parent"] = parent.value;
    }
    if (body.empty()) {
      complain("move wants --parent or --priority");
      return kExitUsage;
    }
    const auto changed = client.call(Method::patch, fmt::format("{}/{}", kPath, id.value), body);
    if (!changed)
      return fail_with(
          fmt::format("department {} not changed: {}", options.which, changed.problem));
    return print_department(context, changed.value, move ? "moved" : "renamed");
  });
}

int remove_department(const Context& context, const DepartmentOptions& options) {
  return with_server(context, [&](HttpClient& client) {
    const auto id = find_department(client, options.which);
    if (!id) return fail_with(id.problem);
    const auto removed = client.call(Method::remove, fmt::format("{}/{}", kPath, id.value));
    if (!removed) {
      return fail_with(fmt::format(
          "department {} not removed: {}{}", options.which, removed.problem,
          removed.status == 409 ? " (move its users and its departments elsewhere first)" : ""));
    }
    if (context.json) {
      print_json({{"id", id.value}, {"removed", true}});
    } else {
      fmt::print("department {} removed\n", id.value);
    }
    return kExitOk;
  });
}

}  // namespace

void add_department_command(CLI::App& app, Context& context) {
  CLI::App* department =
      app.add_subcommand("department", "departments: list, add, rename, move, remove");
  department->require_subcommand(1);
  auto options    = std::make_shared<DepartmentOptions>();
  const auto verb = [&](const char* name, const char* what, auto action) {
    CLI::App* made = department->add_subcommand(name, what);
    made->callback([&context, options, action] {
      context.run = [&context, options, action] { return action(context, *options); };
    });
    return made;
  };
  const auto takes_one = [&](CLI::App* made) {
    made->add_option("DEPARTMENT", options->which, "its id, or its name")->required();
  };
  const auto takes_place = [&](CLI::App* made) {
    made->add_option("--parent", options->parent, "the department above it (id or name; 0: none)");
    made->add_option("--priority", options->priority, "place among its neighbours, lowest first");
  };

  verb("list", "all departments", &show_departments);
  CLI::App* add = verb("add", "make a department", &add_department);
  add->add_option("NAME", options->name, "its name")->required();
  takes_place(add);
  CLI::App* rename =
      verb("rename", "change a name", [](const Context& c, const DepartmentOptions& o) {
        return change_department(c, o, /*move=*/false);
      });
  takes_one(rename);
  rename->add_option("NAME", options->name, "the new name")->required();
  CLI::App* move =
      verb("move", "change the place", [](const Context& c, const DepartmentOptions& o) {
        return change_department(c, o, /*move=*/true);
      });
  takes_one(move);
  takes_place(move);
  takes_one(verb("remove", "remove an empty department", &remove_department));
}

}  // namespace ringtalk::ctl
