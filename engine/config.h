// Configuration: a table of settings, filled from file, environment and flags.
//
// Order     flag over environment (RINGTALK_SECTION_KEY, upper case) over TOML file over default.
// Errors    all of them at once, one line each, with file and line, variable or flag. A key that no
//           setting has, a wrong type and a value out of range are errors; a RINGTALK_ variable that
//           no setting has is a warning.
// Use       bind every field of a plain struct; the value it has then is its default:
//             schema.section("limits", "What one connection may do");
//             schema.number("sends_per_second", limits.sends_per_second, {0, 10'000}, "…");
// Reload    reloadable() names the keys that a running process can take over; others need a restart.
// Lifetime  the bound fields outlive the schema. Nothing is written to them when there is an error.
// Why       the table is also the manual: to_toml() prints it, conf/ringtalk.toml is that text, and a
//           test compares the two, so no key is undocumented and no document is stale.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace ringtalk::engine {

// HOST:PORT. The host is a literal IPv4 or IPv6 address, or localhost, which means 127.0.0.1: names
// that need a resolver may change or hang. [::1]:8000 is the form for IPv6.
struct Address {
  std::string host;
  uint16_t port = 0;

  bool is_loopback() const;
  bool is_ipv6() const { return host.find(':') != std::string::npos; }
  std::string text() const;
  friend bool operator==(const Address&, const Address&) = default;
};
// False and the reason in `problem` if the text is none.
bool parse_address(std::string_view text, Address& address, std::string& problem);

struct Range {
  int64_t min;
  int64_t max;
};

// What a setting holds, in the form that files and the environment are turned into.
using SettingValue = std::variant<bool, int64_t, std::string, Address, std::vector<int64_t>,
                                  std::vector<std::string>>;

enum class SettingKind : uint8_t { boolean, number, bytes, text, choice, address, numbers, texts };

struct Setting {
  std::string section;  // empty: top of the file
  std::string key;
  SettingKind kind;
  Range range{INT64_MIN,
              INT64_MAX};  // of numbers; of the byte count of texts; of elements of lists
  std::vector<std::string> choices;
  std::string doc;  // lines without '#'
  SettingValue initial;
  std::function<SettingValue()> get;
  std::function<void(const SettingValue&)> set;
  bool reloads = false;  // see ConfigSchema::reloadable()

  std::string path() const { return section.empty() ? key : section + "." + key; }
  std::string variable() const;  // RINGTALK_…
  // As the manual has them: "1…3600", "info, warn" or empty; the default in a file's form.
  std::string range_text() const;
  std::string default_text() const;
};

struct ConfigSources {
  std::string file;                                // path; empty: none
  std::map<std::string, std::string> environment;  // see read_environment()
  std::map<std::string, std::string> flags;        // setting path → text; named --key in errors
};

struct ConfigReport {
  std::vector<std::string> errors;
  std::vector<std::string> warnings;

  bool ok() const { return errors.empty(); }
};

class ConfigSchema {
 public:
  // Later settings belong to this section. `doc` is printed above its head.
  void section(std::string name, std::string doc);

  void boolean(std::string key, bool& field, std::string doc);
  template <std::integral T>
  void number(std::string key, T& field, Range range, std::string doc) {
    add_integer(SettingKind::number, std::move(key), field, range, std::move(doc));
  }
  // File: an integer, or a text with KiB, MiB or GiB.
  template <std::integral T>
  void bytes(std::string key, T& field, Range range, std::string doc) {
    add_integer(SettingKind::bytes, std::move(key), field, range, std::move(doc));
  }
  void text(std::string key, std::string& field, Range bytes, std::string doc);
  void choice(std::string key, std::string& field, std::vector<std::string> choices,
              std::string doc);
  void address(std::string key, Address& field, std::string doc);
  void numbers(std::string key, std::vector<int64_t>& field, Range range, std::string doc);
  void texts(std::string key, std::vector<std::string>& field, Range bytes, std::string doc);

  // These keys may change while the process runs. Each must have been declared.
  void reloadable(std::initializer_list<std::string_view> paths);

  // Environment names that are known without being settings, e.g. RINGTALK_CONFIG.
  void ignore_variable(std::string name) { ignored_variables_.push_back(std::move(name)); }

  ConfigReport load(const ConfigSources& sources);
  ConfigReport load_text(std::string_view toml, const ConfigSources& sources);

  // Everything as it now is, with the documentation. `head` becomes comment lines at the top.
  std::string to_toml(std::string_view head = {}) const;

  const std::vector<Setting>& settings() const& { return settings_; }

 private:
  template <class T>
  void add_integer(SettingKind kind, std::string key, T& field, Range range, std::string doc) {
    add({.key   = std::move(key),
         .kind  = kind,
         .range = range,
         .doc   = std::move(doc),
         .get   = [&field] { return SettingValue(static_cast<int64_t>(field)); },
         .set = [&field](const SettingValue& v) { field = static_cast<T>(std::get<int64_t>(v)); }});
  }
  template <class T>
  void add_plain(SettingKind kind, std::string key, T& field, Range range, std::string doc) {
    add({.key   = std::move(key),
         .kind  = kind,
         .range = range,
         .doc   = std::move(doc),
         .get   = [&field] { return SettingValue(field); },
         .set   = [&field](const SettingValue& v) { field = std::get<T>(v); }});
  }
  void add(Setting setting);

  struct Section {
    std::string name;
    std::string doc;
  };
  std::vector<Section> sections_{{"", ""}};
  std::vector<Setting> settings_;
  std::vector<std::string> ignored_variables_;
};

// The RINGTALK_… variables of this process.
std::map<std::string, std::string> read_environment();

}  // namespace ringtalk::engine
