#include "engine/config.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>
#include <set>

#include "engine/base/assert.h"
#include "engine/base/units.h"

extern char** environ;

namespace ringtalk::engine {
namespace {

constexpr size_t kFileBytesMax = kMiB;  // a configuration is a few KiB; a mistaken path may be huge
constexpr std::string_view kPrefix = "RINGTALK_";

struct Suffix {
  std::string_view name;
  int64_t bytes;
};
constexpr Suffix kSuffixes[] = {{"GiB", kGiB}, {"MiB", kMiB}, {"KiB", kKiB}, {"B", 1}};

// A value, or why there is none. Values are strings on their way in from environment and flags.
struct Parsed {
  std::optional<SettingValue> value;
  std::string problem;
};
Parsed bad(std::string problem) { return {std::nullopt, std::move(problem)}; }

bool parse_whole(std::string_view text, int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

bool parse_bytes(std::string_view text, int64_t& value) {
  for (const Suffix& suffix : kSuffixes) {
    if (!text.ends_with(suffix.name)) continue;
    text.remove_suffix(suffix.name.size());
    return parse_whole(trim(text), value) && !__builtin_mul_overflow(value, suffix.bytes, &value);
  }
  return parse_whole(text, value);
}

std::string bytes_text(int64_t bytes) {
  if (bytes != 0)
    for (const Suffix& suffix : kSuffixes)
      if (suffix.bytes > 1 && bytes % suffix.bytes == 0)
        return fmt::format("{} {}", bytes / suffix.bytes, suffix.name);
  return fmt::format("{}", bytes);
}

std::string integer_text(const Setting& setting, int64_t value) {
  return setting.kind == SettingKind::bytes ? bytes_text(value) : fmt::format("{}", value);
}

std::string range_problem(const Setting& setting, int64_t value) {
  return fmt::format("{} is outside {}…{}", integer_text(setting, value),
                     integer_text(setting, setting.range.min),
                     integer_text(setting, setting.range.max));
}

bool in_range(const Setting& setting, int64_t value) {
  return value >= setting.range.min && value <= setting.range.max;
}

Parsed check_integer(const Setting& setting, int64_t value) {
  if (!in_range(setting, value)) return bad(range_problem(setting, value));
  return {value, {}};
}

std::string text_problem(const Setting& setting, std::string_view text) {
  if (!in_range(setting, static_cast<int64_t>(text.size())))
    return text.empty() ? "must not be empty"
                        : fmt::format("is {} bytes long, {}…{} are allowed", text.size(),
                                      setting.range.min, setting.range.max);
  for (char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return "holds a control character";
  return {};
}

Parsed check_text(const Setting& setting, std::string text) {
  if (setting.kind == SettingKind::choice) {
    for (const std::string& choice : setting.choices)
      if (text == choice) return {std::move(text), {}};
    return bad(fmt::format("must be one of {}", fmt::join(setting.choices, ", ")));
  }
  if (setting.kind == SettingKind::address) {
    Address address;
    std::string problem;
    if (!parse_address(text, address, problem)) return bad(std::move(problem));
    return {std::move(address), {}};
  }
  std::string problem = text_problem(setting, text);
  if (!problem.empty()) return bad(std::move(problem));
  return {std::move(text), {}};
}

const char* expected(SettingKind kind) {
  switch (kind) {
    case SettingKind::boolean: return "true or false is expected";
    case SettingKind::number: return "an integer is expected";
    case SettingKind::bytes: return "an integer or a text like \"64 MiB\" is expected";
    case SettingKind::text:
    case SettingKind::choice: return "a text is expected";
    case SettingKind::address: return "a text HOST:PORT is expected";
    case SettingKind::numbers: return "a list of integers is expected";
    case SettingKind::texts: return "a list of texts is expected";
  }
  return "";
}

Parsed check_list(const Setting& setting, std::vector<std::string> items) {
  if (setting.kind == SettingKind::texts) {
    for (const std::string& item : items) {
      const std::string problem = text_problem(setting, item);
      if (!problem.empty()) return bad("an element " + problem);
    }
    return {std::move(items), {}};
  }
  std::vector<int64_t> values;
  for (const std::string& item : items) {
    int64_t value;
    if (!parse_whole(item, value)) return bad(expected(setting.kind));
    if (!in_range(setting, value)) return bad(range_problem(setting, value));
    values.push_back(value);
  }
  return {std::move(values), {}};
}

// From the environment or a flag: lists are separated by commas.
Parsed from_text(const Setting& setting, std::string_view text) {
  int64_t value = 0;
  switch (setting.kind) {
    case SettingKind::boolean:
      if (text == "true" || text == "1") return {true, {}};
      if (text == "false" || text == "0") return {false, {}};
      return bad(expected(setting.kind));
    case SettingKind::number:
      return parse_whole(text, value) ? check_integer(setting, value) : bad(expected(setting.kind));
    case SettingKind::bytes:
      return parse_bytes(text, value) ? check_integer(setting, value) : bad(expected(setting.kind));
    case SettingKind::text:
    case SettingKind::choice:
    case SettingKind::address: return check_text(setting, std::string(text));
    case SettingKind::numbers:
    case SettingKind::texts: break;
  }
  std::vector<std::string> items;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    items.emplace_back(trim(text.substr(0, comma)));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return check_list(setting, std::move(items));
}

Parsed from_node(const Setting& setting, const toml::node& node) {
  switch (setting.kind) {
    case SettingKind::boolean:
      if (const auto* value = node.as_boolean()) return {value->get(), {}};
      break;
    case SettingKind::bytes:
      if (const auto* value = node.as_string()) return from_text(setting, value->get());
      [[fallthrough]];
    case SettingKind::number:
      if (const auto* value = node.as_integer()) return check_integer(setting, value->get());
      break;
    case SettingKind::text:
    case SettingKind::choice:
    case SettingKind::address:
      if (const auto* value = node.as_string()) return check_text(setting, value->get());
      break;
    case SettingKind::numbers:
    case SettingKind::texts: {
      const auto* array = node.as_array();
      if (array == nullptr) break;
      std::vector<std::string> items;
      for (const toml::node& item : *array) {
        if (setting.kind == SettingKind::texts && item.is_string())
          items.push_back(item.as_string()->get());
        else if (setting.kind == SettingKind::numbers && item.is_integer())
          items.push_back(fmt::format("{}", item.as_integer()->get()));
        else
          return bad(expected(setting.kind));
      }
      return check_list(setting, std::move(items));
    }
  }
  return bad(expected(setting.kind));
}

std::string quoted(std::string_view text) {  // no control character passes text_problem()
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string value_text(const Setting& setting, const SettingValue& value) {
  switch (setting.kind) {
    case SettingKind::boolean: return std::get<bool>(value) ? "true" : "false";
    case SettingKind::number: return fmt::format("{}", std::get<int64_t>(value));
    case SettingKind::bytes: {
      const std::string text = bytes_text(std::get<int64_t>(value));
      return text.back() == 'B' ? quoted(text) : text;
    }
    case SettingKind::text:
    case SettingKind::choice: return quoted(std::get<std::string>(value));
    case SettingKind::address: return quoted(std::get<Address>(value).text());
    case SettingKind::numbers:
      return fmt::format("[{}]", fmt::join(std::get<std::vector<int64_t>>(value), ", "));
    case SettingKind::texts: {
      std::vector<std::string> items;
      for (const std::string& item : std::get<std::vector<std::string>>(value))
        items.push_back(quoted(item));
      return fmt::format("[{}]", fmt::join(items, ", "));
    }
  }
  return {};
}

// The line under a key's documentation.
std::string facts_line(const Setting& setting) {
  const std::string range = setting.range_text();
  return fmt::format("{}{}efault {}. {}{}",
                     range.empty()             ? ""
                     : setting.choices.empty() ? "Range "
                                               : "One of ",
                     range.empty() ? "D" : range + ", d", setting.default_text(),
                     setting.variable(), setting.reloads ? ". Reloadable." : "");
}

// One pass: collects the new values; the caller stores them only if there was no error.
class Loader {
 public:
  Loader(const std::vector<Setting>& settings, ConfigReport& report)
      : settings_(settings), report_(report), values_(settings.size()) {}

  void take_file(std::string_view text, const std::string& path) {
    const std::string name = path.empty() ? "configuration" : path;
    try {
      const toml::table table = toml::parse(text, name);
      take_table(table, "", name);
    } catch (const toml::parse_error& error) {
      report_.errors.push_back(
          fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()));
    }
  }

  void take_environment(const std::map<std::string, std::string>& variables,
                        const std::vector<std::string>& ignored) {
    std::set<std::string> known(ignored.begin(), ignored.end());
    for (size_t i = 0; i < settings_.size(); ++i) {
      const std::string name = settings_[i].variable();
      known.insert(name);
      const auto found = variables.find(name);
      if (found != variables.end()) take(i, from_text(settings_[i], found->second), name);
    }
    for (const auto& [name, value] : variables)
      if (!known.contains(name))
        report_.warnings.push_back(name + ": no setting has this name, ignored");
  }

  void take_flags(const std::map<std::string, std::string>& flags) {
    for (const auto& [path, text] : flags) {
      const size_t i = find(path);
      RT_ASSERT(i < settings_.size());
      std::string flag = "--" + settings_[i].key;
      std::replace(flag.begin(), flag.end(), '_', '-');
      take(i, from_text(settings_[i], text), flag);
    }
  }

  void store() const {
    for (size_t i = 0; i < settings_.size(); ++i)
      settings_[i].set(values_[i].value_or(settings_[i].initial));
  }

 private:
  size_t find(std::string_view path) const {
    size_t i = 0;
    while (i < settings_.size() && settings_[i].path() != path) ++i;
    return i;
  }

  bool is_section(std::string_view name) const {
    return std::any_of(settings_.begin(), settings_.end(),
                       [&](const Setting& setting) { return setting.section == name; });
  }

  void take(size_t i, Parsed parsed, const std::string& origin) {
    if (parsed.value.has_value())
      values_[i] = std::move(parsed.value);
    else
      report_.errors.push_back(
          fmt::format("{}: {}: {}", origin, settings_[i].path(), parsed.problem));
  }

  void take_table(const toml::table& table, const std::string& section, const std::string& file) {
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      const std::string path  = section.empty() ? name : section + "." + name;
      const std::string where = fmt::format("{}:{}", file, node.source().begin.line);
      const size_t i          = find(path);
      if (i < settings_.size())
        take(i, from_node(settings_[i], node), where);
      else if (section.empty() && is_section(name) && node.is_table())
        take_table(*node.as_table(), name, file);
      else if (section.empty() && is_section(name))
        report_.errors.push_back(fmt::format("{}: {} is a section: [{}]", where, name, name));
      else
        report_.errors.push_back(fmt::format("{}: unknown key {}", where, path));
    }
  }

  const std::vector<Setting>& settings_;
  ConfigReport& report_;
  std::vector<std::optional<SettingValue>> values_;
};

// Returns the problem, empty if the text was read.
std::string read_file(const std::string& path, std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return fmt::format("{}: {}", path, std::strerror(errno));
  struct stat status{};
  std::string problem;
  if (fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode)) {
    problem = path + ": not a regular file";
  } else {
    text.resize(kFileBytesMax + 1);
    text.resize(std::fread(text.data(), 1, text.size(), file));
    if (std::ferror(file) != 0) problem = fmt::format("{}: {}", path, std::strerror(errno));
    if (text.size() > kFileBytesMax) problem = path + ": larger than 1 MiB";
  }
  std::fclose(file);
  return problem;
}

void put_comment(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    out += end == 0 ? "#" : "# ";
    out += text.substr(0, end);
    out += '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace

bool Address::is_loopback() const {
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return host == "::1";
}

std::string Address::text() const {
  return is_ipv6() ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

bool parse_address(std::string_view text, Address& address, std::string& problem) {
  const size_t colon = text.rfind(':');
  problem            = "HOST:PORT is expected, e.g. 127.0.0.1:8000";
  if (colon == std::string_view::npos || colon == 0) return false;
  int64_t port                  = -1;
  const std::string_view digits = text.substr(colon + 1);
  if (digits.empty() || digits.front() == '-' || !parse_whole(digits, port) || port > 65'535) {
    problem = "the port must be 0…65535 (0 picks a free one)";
    return false;
  }
  std::string host(text.substr(0, colon));
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  unsigned char binary[16];
  problem = "the host must be an IPv4 address, an IPv6 address in [ ], or localhost";
  if (inet_pton(bracketed ? AF_INET6 : AF_INET, host.c_str(), binary) != 1) return false;
  address = {std::move(host), static_cast<uint16_t>(port)};
  problem.clear();
  return true;
}

std::string Setting::variable() const {
  std::string name = section.empty() ? key : section + "_" + key;
  for (char& c : name)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return std::string(kPrefix) + name;
}

std::string Setting::range_text() const {
  switch (kind) {
    case SettingKind::number:
    case SettingKind::bytes:
    case SettingKind::numbers:
      return fmt::format("{}…{}", integer_text(*this, range.min), integer_text(*this, range.max));
    default: return fmt::format("{}", fmt::join(choices, ", "));
  }
}

std::string Setting::default_text() const { return value_text(*this, initial); }

void ConfigSchema::section(std::string name, std::string doc) {
  for (const Section& known : sections_) RT_ASSERT(known.name != name);
  sections_.push_back({std::move(name), std::move(doc)});
}

void ConfigSchema::boolean(std::string key, bool& field, std::string doc) {
  add_plain(SettingKind::boolean, std::move(key), field, {}, std::move(doc));
}
void ConfigSchema::text(std::string key, std::string& field, Range bytes, std::string doc) {
  add_plain(SettingKind::text, std::move(key), field, bytes, std::move(doc));
}
void ConfigSchema::choice(std::string key, std::string& field, std::vector<std::string> choices,
                          std::string doc) {
  add_plain(SettingKind::choice, std::move(key), field, {}, std::move(doc));
  settings_.back().choices = std::move(choices);
}
void ConfigSchema::address(std::string key, Address& field, std::string doc) {
  add_plain(SettingKind::address, std::move(key), field, {}, std::move(doc));
}
void ConfigSchema::numbers(std::string key, std::vector<int64_t>& field, Range range,
                           std::string doc) {
  add_plain(SettingKind::numbers, std::move(key), field, range, std::move(doc));
}
void ConfigSchema::texts(std::string key, std::vector<std::string>& field, Range bytes,
                         std::string doc) {
  add_plain(SettingKind::texts, std::move(key), field, bytes, std::move(doc));
}

void ConfigSchema::add(Setting setting) {
  setting.section = sections_.back().name;
  setting.initial = setting.get();
  for (const Setting& known : settings_) {
    RT_ASSERT(known.path() != setting.path());
    RT_ASSERT(known.variable() != setting.variable());
  }
  settings_.push_back(std::move(setting));
}

void ConfigSchema::reloadable(std::initializer_list<std::string_view> paths) {
  for (const std::string_view path : paths) {
    const auto named = std::ranges::find(settings_, path, &Setting::path);
    RT_ASSERT(named != settings_.end());
    named->reloads = true;
  }
}

ConfigReport ConfigSchema::load(const ConfigSources& sources) {
  std::string text;
  if (!sources.file.empty()) {
    std::string problem = read_file(sources.file, text);
    if (!problem.empty()) return {.errors = {std::move(problem)}};
  }
  return load_text(text, sources);
}

ConfigReport ConfigSchema::load_text(std::string_view toml, const ConfigSources& sources) {
  ConfigReport report;
  Loader loader(settings_, report);
  loader.take_file(toml, sources.file);
  loader.take_environment(sources.environment, ignored_variables_);
  loader.take_flags(sources.flags);
  if (report.ok()) loader.store();
  return report;
}

std::string ConfigSchema::to_toml(std::string_view head) const {
  std::string out;
  put_comment(out, head);
  for (const Section& section : sections_) {
    if (!section.name.empty()) {
      out += '\n';
      put_comment(out, section.doc);
      out += fmt::format("[{}]\n", section.name);
    }
    for (const Setting& setting : settings_) {
      if (setting.section != section.name) continue;
      if (!out.empty()) out += '\n';
      put_comment(out, setting.doc);
      put_comment(out, facts_line(setting));
      out += fmt::format("{} = {}\n", setting.key, value_text(setting, setting.get()));
    }
  }
  return out;
}

std::map<std::string, std::string> read_environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals         = text.find('=');
    if (equals == std::string_view::npos || !text.starts_with(kPrefix)) continue;
    variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

}  // namespace ringtalk::engine
