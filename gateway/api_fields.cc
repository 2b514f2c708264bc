#include "gateway/api_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "proto/utf8.h"

namespace ringtalk::gateway {
namespace {

using nlohmann::json;

constexpr size_t kQueryEntriesMax = 16;

// What the parser would build before anybody looks at it: refused by its outline.
std::string_view wrong_outline(std::string_view text) {
  std::array<size_t, kJsonDepthMax> commas{};
  size_t depth = 0;
  bool quoted  = false;
  bool escaped = false;
  if (text.starts_with("\xef\xbb\xbf")) return "body: begins with a byte order mark";
  for (const char c : text) {
    if (quoted) {
      quoted  = escaped || c != '"';
      escaped = !escaped && c == '\\';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (depth == commas.size()) return "body: nested deeper than 16";
      commas[depth++] = 0;
    } else if (c == '}' || c == ']') {
      depth -= depth > 0;
    } else if (c == ',' && depth > 0 && ++commas[depth - 1] >= kJsonElementsMax) {
      return "body: more than 20000 entries in one list";
    }
  }
  return {};
}

bool printable(std::string_view text) {
  return std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

std::string describe(const TextRule& rule) {
  std::string text = rule.characters_min > 0
                         ? fmt::format("{} to {}", rule.characters_min, rule.characters_max)
                         : fmt::format("at most {}", rule.characters_max);
  text += " printable characters";
  if (!rule.blanks) text += " without blanks";
  if (rule.bytes_max != SIZE_MAX) text += fmt::format(", at most {} bytes", rule.bytes_max);
  return text;
}

// Names of fields are the outside's too.
std::string shown(std::string_view key) {
  if (key.size() > 64 || !printable(key) || !proto::valid_utf8(as_bytes(key))) return "a field";
  return std::string(key);
}

// The first key that an object has twice. A pass of its own: the parser with a callback looks through a
// whole list at the end of each of its objects.
class KeyWatch : public nlohmann::json_sax<json> {
 public:
  const std::string& twice() const { return twice_; }

  bool start_object(size_t) override {
    open_.emplace_back();
    return true;
  }
  bool key(std::string& name) override {
    if (twice_.empty() && !open_.back().insert(name).second) twice_ = name;
    return true;
  }
  bool end_object() override {
    open_.pop_back();
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(int64_t) override { return true; }
  bool number_unsigned(uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(json::binary_t&) override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  std::vector<std::set<std::string, std::less<>>> open_;  // keys of the objects that are open
  std::string twice_;
};

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> decode_percent(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i] == '+' ? ' ' : text[i];
      continue;
    }
    if (i + 2 >= text.size()) return {};
    const int high = hex(text[i + 1]), low = hex(text[i + 2]);
    if (high < 0 || low < 0) return {};
    out += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return out;
}

}  // namespace

ParsedJson parse_object(std::string_view text) {
  const json discarded(json::value_t::discarded);
  if (const std::string_view wrong = wrong_outline(text); !wrong.empty())
    return {discarded, std::string(wrong)};
  KeyWatch watch;
  if (!json::sax_parse(text, &watch)) return {discarded, std::string(kNoJson)};
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) return {discarded, std::string(kNoJson)};
  if (!watch.twice().empty()) return {discarded, shown(watch.twice()) + ": twice"};
  return {std::move(value), {}};
}

// --- Fields -----------------------------------------------------------------------------------------------

Fields::Fields(const json& object) : object_(object) {
  if (!object.is_object()) wrong_ = "must be an object";
}

const json* Fields::take(std::string_view key) {
  if (!object_.is_object()) return nullptr;
  taken_.push_back(key);
  const auto at = object_.find(key);
  return at == object_.end() ? nullptr : &*at;
}

void Fields::fail(std::string_view key, std::string_view why) {
  if (wrong_.empty()) wrong_ = fmt::format("{}: {}", key, why);
}

void Fields::require(std::string_view key) {
  if (!has(key)) fail(key, "is missing");
}

std::optional<std::string> Fields::text(std::string_view key, const TextRule& rule) {
  const json* at = take(key);
  if (!at) return {};
  if (at->is_string()) {
    const auto& text      = at->get_ref<const std::string&>();
    const auto characters = proto::count_utf8_characters(as_bytes(text));
    const bool fits       = characters && *characters >= rule.characters_min &&
                      *characters <= rule.characters_max && text.size() <= rule.bytes_max;
    if (fits && printable(text) && (rule.blanks || text.find(' ') == text.npos)) return text;
  }
  fail(key, describe(rule));
  return {};
}

std::optional<uint32_t> Fields::number(std::string_view key, uint32_t min, uint32_t max) {
  const json* at = take(key);
  if (!at) return {};
  if (at->is_number_unsigned())
    if (const auto number = at->get<uint64_t>(); number >= min && number <= max)
      return static_cast<uint32_t>(number);
  fail(key, fmt::format("a whole number from {} to {}", min, max));
  return {};
}

std::optional<bool> Fields::flag(std::string_view key) {
  const json* at = take(key);
  if (!at) return {};
  if (at->is_boolean()) return at->get<bool>();
  fail(key, "true or false");
  return {};
}

const json* Fields::list(std::string_view key, size_t entries_max) {
  const json* at = take(key);
  if (!at) return nullptr;
  if (at->is_array() && !at->empty() && at->size() <= entries_max) return at;
  fail(key, fmt::format("a list of 1 to {} entries", entries_max));
  return nullptr;
}

std::optional<std::string> Fields::secret(std::string_view key, size_t bytes_max) {
  const json* at = take(key);
  if (!at) return {};
  if (at->is_string())
    if (const auto& text = at->get_ref<const std::string&>();
        !text.empty() && text.size() <= bytes_max)
      return text;
  fail(key, fmt::format("a text of 1 to {} bytes", bytes_max));
  return {};
}

std::string Fields::wrong() {
  if (!wrong_.empty()) return wrong_;
  for (const auto& [key, value] : object_.items())
    if (std::ranges::find(taken_, key) == taken_.end()) return shown(key) + ": unknown field";
  return {};
}

// --- Query ------------------------------------------------------------------------------------------------

Query::Query(std::string_view text) {
  while (!text.empty() && wrong_.empty()) {
    const std::string_view part = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    if (part.empty()) continue;
    const size_t equals = part.find('=');
    auto key            = decode_percent(part.substr(0, equals));
    auto value = decode_percent(equals == part.npos ? std::string_view{} : part.substr(equals + 1));
    if (!key || !value) {
      wrong_ = "query: bad percent encoding";
    } else if (entries_.size() == kQueryEntriesMax) {
      wrong_ = "query: too many fields";
    } else if (std::ranges::find(entries_, *key, &Entry::key) != entries_.end()) {
      wrong_ = shown(*key) + ": twice";
    } else {
      entries_.push_back({std::move(*key), std::move(*value)});
    }
  }
}

std::optional<std::string> Query::text(std::string_view key) {
  const auto at = std::ranges::find(entries_, key, &Entry::key);
  if (at == entries_.end()) return {};
  at->taken = true;
  return at->value;
}

std::optional<uint64_t> Query::number(std::string_view key, uint64_t min, uint64_t max) {
  const auto value = text(key);
  if (!value) return {};
  uint64_t number         = 0;
  const char* end         = value->data() + value->size();
  const auto [at, failed] = std::from_chars(value->data(), end, number);
  if (failed == std::errc{} && at == end && number >= min && number <= max) return number;
  if (wrong_.empty()) wrong_ = fmt::format("{}: a whole number from {} to {}", key, min, max);
  return {};
}

std::string Query::wrong() {
  if (!wrong_.empty()) return wrong_;
  for (const Entry& entry : entries_)
    if (!entry.taken) return shown(entry.key) + ": unknown field";
  return {};
}

}  // namespace ringtalk::gateway
