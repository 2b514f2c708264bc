// `ringtalkctl config`: the server's configuration, by the server's own schema.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>

#include "tools/ctl/command.h"
#include "tools/ctl/effective.h"
#include "tools/ctl/http_client.h"
#include "tools/ctl/table.h"

namespace ringtalk::ctl {

namespace {

std::string named_file(const std::string& given) {
  const char* variable = std::getenv("RINGTALK_CONFIG");
  return given.empty() && variable != nullptr ? variable : given;
}

// The file alone: whoever checks a file wants the same answer in every shell.
int check(const Context& context, const std::string& file) {
  const Effective read = read_effective(file, {});
  if (context.json) {
    print_json({{"file", file}, {"ok", read.errors.empty()}, {"errors", read.errors}});
  } else if (read.errors.empty()) {
    fmt::print("{}: good\n", file);
  }
  if (!context.json) {
    for (const std::string& error : read.errors) complain(error);
    if (!read.errors.empty()) complain("every key with its range: `ringtalkctl config default`");
  }
  return read.errors.empty() ? kExitOk : kExitFailed;
}

int dump(const Context& context, const std::string& given) {
  const std::string file = named_file(given);
  auto environment       = engine::read_environment();
  environment.erase("RINGTALK_PASSWORD");  // ours, no mistyped setting
  const Effective read = read_effective(file, environment);
  for (const std::string& warning : read.warnings) complain(warning);
  if (!read.errors.empty()) {
    for (const std::string& error : read.errors) complain(error);
    return kExitFailed;
  }
  if (context.json) {
    Json values = Json::object();
    for (const EffectiveValue& value : read.values)
      values[value.path] = {{"value", value.value}, {"origin", value.origin}};
    print_json({{"settings", std::move(values)}});
    return kExitOk;
  }
  Table table({"KEY", "VALUE", "FROM"});
  for (const EffectiveValue& value : read.values)
    table.add({value.path, value.value, value.origin});
  fmt::print("{}", table.text());
  return kExitOk;
}

int print_default(const Context& context) {
  const std::string text = gateway::settings_toml(gateway::Settings{});
  if (context.json) {
    print_json({{"toml", text}});
  } else {
    fmt::print("{}", text);
  }
  return kExitOk;
}

}  // namespace

void add_config_command(CLI::App& app, Context& context) {
  CLI::App* config =
      app.add_subcommand("config", "the server's configuration: check, default, dump");
  config->require_subcommand(1);
  auto file = std::make_shared<std::string>();

  CLI::App* one =
      config->add_subcommand("check", "is this file good; exit 1 and each error if not");
  one->add_option("FILE", *file, "TOML file")->type_name("FILE")->required();
  one->callback(
      [&context, file] { context.run = [&context, file] { return check(context, *file); }; });

  CLI::App* manual =
      config->add_subcommand("default", "a file with every key, its manual and default");
  manual->callback([&context] { context.run = [&context] { return print_default(context); }; });

  CLI::App* values = config->add_subcommand(
      "dump", "the value of every key, and whether file, environment or default set it");
  values->add_option("FILE", *file, "TOML file (default: the variable RINGTALK_CONFIG, else none)")
      ->type_name("FILE");
  values->callback(
      [&context, file] { context.run = [&context, file] { return dump(context, *file); }; });
}

}  // namespace ringtalk::ctl
