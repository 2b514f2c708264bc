#include "tools/ctl/effective.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <string_view>

namespace ringtalk::ctl {

namespace {

constexpr const char* kSecretWords[] = {"password", "secret", "token", "key"};

// The value as it stands in the manual's line "key = value".
std::string text_of(const engine::Setting& setting) {
  const engine::SettingValue value = setting.get();
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<int64_t>(&value)) return fmt::format("{}", *number);
  if (const auto* text = std::get_if<std::string>(&value)) return fmt::format("\"{}\"", *text);
  if (const auto* address = std::get_if<engine::Address>(&value))
    return fmt::format("\"{}\"", address->text());
  if (const auto* numbers = std::get_if<std::vector<int64_t>>(&value))
    return fmt::format("[{}]", fmt::join(*numbers, ", "));
  return fmt::format("[\"{}\"]", fmt::join(std::get<std::vector<std::string>>(value), "\", \""));
}

// The line on which the file sets it; 0 if it does not. The file has been read without an error.
uint32_t line_of(const toml::table& table, const engine::Setting& setting) {
  const toml::table* section = setting.section.empty() ? &table : table[setting.section].as_table();
  const toml::node* node     = section == nullptr ? nullptr : section->get(setting.key);
  return node == nullptr ? 0 : node->source().begin.line;
}

}  // namespace

bool is_secret(const engine::Setting& setting) {
  const bool text =
      setting.kind == engine::SettingKind::text || setting.kind == engine::SettingKind::texts;
  return text && std::ranges::any_of(kSecretWords, [&](std::string_view word) {
           return setting.key.find(word) != std::string::npos;
         });
}

Effective read_effective(const std::string& file,
                         const std::map<std::string, std::string>& environment) {
  Effective out;
  engine::ConfigSchema schema = gateway::settings_schema(out.settings);
  engine::ConfigReport report =
      schema.load({.file = file, .environment = environment, .flags = {}});
  out.errors   = std::move(report.errors);
  out.warnings = std::move(report.warnings);
  if (out.errors.empty()) out.errors = gateway::settings_conflicts(out.settings);
  if (!out.errors.empty()) return out;

  toml::table table;
  if (!file.empty()) {
    try {
      table = toml::parse_file(file);
    } catch (const toml::parse_error& error) {  // changed since a moment ago
      out.errors.push_back(fmt::format("{}: {}", file, error.description()));
      return out;
    }
  }
  for (const engine::Setting& setting : schema.settings()) {
    EffectiveValue value{setting.path(), is_secret(setting) ? "(hidden)" : text_of(setting), {}};
    const uint32_t line = line_of(table, setting);
    if (environment.contains(setting.variable())) {
      value.origin = setting.variable();
    } else {
      value.origin = line == 0 ? "default" : fmt::format("{}:{}", file, line);
    }
    out.values.push_back(std::move(value));
  }
  return out;
}

}  // namespace ringtalk::ctl
