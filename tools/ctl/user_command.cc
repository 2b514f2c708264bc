// `ringtalkctl user`: accounts, through the server's HTTP interface.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "tools/ctl/command.h"
#include "tools/ctl/http_client.h"
#include "tools/ctl/lookup.h"
#include "tools/ctl/password.h"
#include "tools/ctl/printable.h"
#include "tools/ctl/table.h"
#include "tools/ctl/user_import.h"

namespace ringtalk::ctl {

namespace {

using Method = HttpClient::Method;

constexpr size_t kReadBytes     = 64 * kKiB;
constexpr size_t kShownTroubles = 20;

struct UserOptions {
  std::string name;
  std::string nick;  // empty: the server's choice
  std::string department = "0";
  Json change            = Json::object();  // edit: the fields that are given, "" as well
  PasswordSource password;
  std::string file;
  bool dry_run       = false;
  bool skip_existing = false;
};

std::string status_text(const Json& user) {
  uint32_t status = 0;
  if (!read_number(user, "status", status)) return {};
  switch (status) {
    case 0: return "active";
    case 3: return "disabled";
    default: return fmt::format("{}", status);
  }
}

constexpr std::array<std::string_view, 3> kSexes = {"unknown", "male", "female"};

std::string sex_text(const Json& user) {
  uint32_t sex     = 0;
  const bool named = read_number(user, "sex", sex) && sex < kSexes.size();
  return named ? std::string(kSexes[sex]) : field_text(user, "sex");
}

// ---- add, edit, passwd ----

Result<std::string> new_password(const UserOptions& options) {
  auto password = obtain_password(
      options.password, fmt::format("password of {}: ", escaped(options.name)), Ask::twice);
  if (password && password->empty()) return fail(Errc::closed);
  return password;
}

int no_password(const Error& error, const UserOptions& options) {
  complain(password_problem(error, options.password));
  return kExitUsage;
}

int add_user(const Context& context, const UserOptions& options) {
  const auto password = new_password(options);
  if (!password) return no_password(password.error(), options);
  return with_server(context, [&](HttpClient& client) {
    const auto department = find_department(client, options.department);
    if (!department) return fail_with(department.problem);
    Json user = {{"name", options.name}, {"password", *password}, {"department", department.value}};
    if (!options.nick.empty()) user["nick"] = options.nick;
    auto added  = client.call(Method::post, "/api/v1/users", user);
    uint32_t id = 0;
    std::string name;
    if (added && (!read_number(added.value, "id", id) || !read_text(added.value, "name", name)))
      added.problem = fmt::format("{} does not answer like ringtalkd", context.http);
    if (added.status == 409) {
      added.problem +=
          " (`ringtalkctl user show` tells who has it, `user passwd` changes his "
          "password)";
    }
    if (!added) return fail_with(fmt::format("user {} not added: {}", options.name, added.problem));
    if (context.json) {
      print_json({{"id", id}, {"name", name}});
    } else {
      fmt::print("{} has id {}\n", escaped(name), id);
    }
    return kExitOk;
  });
}

// Finds the user, changes him, says so.
int change_user(const Context& context, const std::string& who, const Json& change,
                std::string_view done) {
  return with_server(context, [&](HttpClient& client) {
    const auto user = client.find_user(who);
    if (!user) return fail_with(user.problem);
    const auto id      = user.value["id"].get<uint32_t>();
    const auto changed = client.call(Method::patch, fmt::format("/api/v1/users/{}", id), change);
    if (!changed) return fail_with(fmt::format("user {} not changed: {}", who, changed.problem));
    if (context.json) {
      print_json(changed.value);
    } else {
      fmt::print("{} (id {}): {}\n", escaped(field_text(changed.value, "name")), id, done);
    }
    return kExitOk;
  });
}

int edit_user(const Context& context, const UserOptions& options) {
  if (options.change.empty()) {
    complain("edit wants a field to change: `ringtalkctl user edit --help` lists them");
    return kExitUsage;
  }
  if (!options.change.contains("department"))
    return change_user(context, options.name, options.change, "changed");
  return with_server(context, [&](HttpClient& client) {
    const auto department =
        find_department(client, options.change["department"].get<std::string>());
    if (!department) return fail_with(department.problem);
    Json change          = options.change;
    change["department"] = department.value;
    return change_user(context, options.name, change, "changed");
  });
}

int change_password(const Context& context, const UserOptions& options) {
  const auto password = new_password(options);
  if (!password) return no_password(password.error(), options);
  return change_user(context, options.name, {{"password", *password}},
                     "new password; his tokens have ended and his sessions are closed");
}

// ---- list, show ----

int list_users(const Context& context) {
  return with_server(context, [&](HttpClient& client) {
    auto users = client.list_users();
    if (!users) return fail_with(users.problem);
    if (context.json) {
      print_json({{"users", std::move(users.value)}});
      return kExitOk;
    }
    Table table({"ID>", "NAME", "NICK", "DEPARTMENT>", "STATUS"});
    for (const Json& user : users.value) {
      table.add({field_text(user, "id"), field_text(user, "name"), field_text(user, "nick"),
                 field_text(user, "department"), status_text(user)});
    }
    fmt::print("{}", table.text());
    return kExitOk;
  });
}

int show_user(const Context& context, const UserOptions& options) {
  return with_server(context, [&](HttpClient& client) {
    const auto user = client.find_user(options.name);
    if (!user) return fail_with(user.problem);
    if (context.json) {
      print_json(user.value);
      return kExitOk;
    }
    for (const char* key : {"id", "name", "nick", "department", "status", "sex", "domain", "phone",
                            "email", "avatar", "signature", "created", "stamp"}) {
      if (!user.value.contains(key)) continue;
      const std::string_view field = key;
      const std::string text       = field == "status" ? status_text(user.value)
                                     : field == "sex"  ? sex_text(user.value)
                                                       : field_text(user.value, key);
      fmt::print("{:<12}{}\n", key, escaped(text));
    }
    return kExitOk;
  });
}

// ---- import ----

Json trouble_json(const std::vector<UserImport::Trouble>& troubles) {
  Json list = Json::array();
  for (const auto& trouble : troubles) {
    list.push_back({{"line", trouble.line}, {"name", trouble.name}, {"error", trouble.problem}});
  }
  return list;
}

void print_troubles(const std::vector<UserImport::Trouble>& troubles) {
  for (size_t i = 0; i < troubles.size() && i < kShownTroubles; ++i) {
    complain(fmt::format("line {}: {}{}{}", troubles[i].line, troubles[i].name,
                         troubles[i].name.empty() ? "" : ": ", troubles[i].problem));
  }
  if (troubles.size() > kShownTroubles)
    complain(fmt::format("and {} more (--json lists all)", troubles.size() - kShownTroubles));
}

void print_report(const Context& context, const UserOptions& options,
                  const UserImport::Report& report) {
  if (context.json) {
    Json json = {{"rows", report.rows},
                 {"added", report.added},
                 {"existing", trouble_json(report.existing)},
                 {"bad", trouble_json(report.bad)},
                 {"dry_run", options.dry_run}};
    if (!report.fatal.empty()) json["error"] = report.fatal;
    return print_json(json);
  }
  print_troubles(report.bad);
  if (!options.skip_existing) print_troubles(report.existing);
  fmt::print("{}: {} {}, {} existing, {} bad\n", counted(report.rows, "row"), report.added,
             options.dry_run ? "would be added" : "added", report.existing.size(),
             report.bad.size());
}

int import_users(const Context& context, const UserOptions& options) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      options.file == "-" ? stdin : std::fopen(options.file.c_str(), "re"), &std::fclose);
  if (!file)
    return fail_with(fmt::format("cannot open {}: {}", options.file, std::strerror(errno)));
  bool broken     = false;
  const auto read = [&] {
    std::string bytes(kReadBytes, '\0');
    bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file.get()));
    broken = std::ferror(file.get()) != 0;
    return bytes;
  };
  const bool shows    = isatty(STDERR_FILENO) == 1;
  const auto progress = [&](const UserImport::Report& report) {
    if (shows) fmt::print(stderr, "\r{}, {} added", counted(report.rows, "row"), report.added);
  };
  return with_server(context, [&](HttpClient& client) {
    const auto report = UserImport(client, options.dry_run).run(read, progress);
    if (shows && report.rows >= UserImport::kPortionRows) fmt::print(stderr, "\n");
    if (!report.fatal.empty()) complain(fmt::format("{}: {}", options.file, report.fatal));
    if (broken) complain(fmt::format("{}: cannot be read to its end", options.file));
    if (report.fatal.empty() || report.rows > 0 || context.json)
      print_report(context, options, report);
    const bool clean = report.fatal.empty() && !broken && report.bad.empty() &&
                       (options.skip_existing || report.existing.empty());
    return clean ? kExitOk : kExitFailed;
  });
}

}  // namespace

void add_user_command(CLI::App& app, Context& context) {
  CLI::App* user = app.add_subcommand(
      "user", "accounts: add, list, show, edit, passwd, disable, enable, import");
  user->require_subcommand(1);
  auto options    = std::make_shared<UserOptions>();
  const auto verb = [&](const char* name, const char* what, auto action) {
    CLI::App* made = user->add_subcommand(name, what);
    made->callback([&context, options, action] {
      context.run = [&context, options, action] { return action(context, *options); };
    });
    return made;
  };
  const auto takes_user = [&](CLI::App* made) {
    made->add_option("NAME", options->name, "login name, or an id as #12")->required();
  };

  CLI::App* add = verb("add", "make an account", &add_user);
  add->add_option("NAME", options->name, "login name")->required();
  add->add_option("--nick", options->nick, "name shown to others (default: the login name)");
  add->add_option("--department", options->department, "department id or name (default 0: none)");
  add_password_options(*add, options->password);

  verb("list", "all accounts", [](const Context& c, const UserOptions&) { return list_users(c); });
  takes_user(verb("show", "all that is known of an account", &show_user));
  CLI::App* edit = verb("edit", "change what is known of an account", &edit_user);
  takes_user(edit);
  const auto takes_field = [&](const char* key, const char* what) {
    const auto given = [options, key](const std::string& text) { options->change[key] = text; };
    return edit->add_option_function<std::string>(std::string("--") + key, given, what);
  };
  takes_field("nick", "name shown to others");
  takes_field("department", "department id or name (0: none)");
  takes_field("phone", "telephone number");
  takes_field("email", "address for mail");
  takes_field("avatar", "path or URL of his picture");
  takes_field("signature", "line shown below the name");
  takes_field("domain", "the name in Latin letters");
  const auto sex = [options](const std::string& text) {
    options->change["sex"] = std::ranges::find(kSexes, text) - kSexes.begin();
  };
  edit->add_option_function<std::string>("--sex", sex, "male, female or unknown")
      ->check(CLI::IsMember({"unknown", "male", "female"}));
  CLI::App* passwd =
      verb("passwd", "change a password; ends the user's sessions", &change_password);
  takes_user(passwd);
  add_password_options(*passwd, options->password);
  takes_user(verb("disable", "let nobody log in by it; ends the user's sessions",
                  [](const Context& c, const UserOptions& o) {
                    return change_user(c, o.name, {{"disabled", true}},
                                       "disabled; `ringtalkctl user enable` undoes it");
                  }));
  takes_user(verb("enable", "the opposite of disable", [](const Context& c, const UserOptions& o) {
    return change_user(c, o.name, {{"disabled", false}}, "enabled");
  }));

  CLI::App* import = verb("import", "make accounts from a CSV file", &import_users);
  import->add_option("CSV", options->file, "file with a heading row; - is standard input")
      ->type_name("FILE")
      ->required();
  import->add_flag("--dry-run", options->dry_run, "say what would be done, do nothing");
  import->add_flag("--skip-existing", options->skip_existing,
                   "names that exist are no error (to repeat an import)");
}

}  // namespace ringtalk::ctl
