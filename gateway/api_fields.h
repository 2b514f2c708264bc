// ApiFields: the outside's JSON and query strings, each field taken by name with its type and bounds.
//
// Errors  The first thing that is wrong, as a text that names the field; a field that nobody took is
//         wrong too. Two fields of one name are: readers disagree about which of them counts.
// Bound   JSON depth 16, 20,000 entries in one list or object; the byte length is the caller's.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringtalk::gateway {

inline constexpr int kJsonDepthMax        = 16;
inline constexpr size_t kJsonElementsMax  = 20'000;
inline constexpr std::string_view kNoJson = "body: must be a JSON object";

// Not an object, or bad JSON: discarded, and why.
struct ParsedJson {
  nlohmann::json value;
  std::string wrong;
};
ParsedJson parse_object(std::string_view text);

struct TextRule {
  size_t characters_min = 0;
  size_t characters_max = 32;
  size_t bytes_max      = SIZE_MAX;
  bool blanks           = true;
};

class Fields {
 public:
  // `object` outlives this. If it is none, that is wrong.
  explicit Fields(const nlohmann::json& object);

  // Absent or wrong: nothing. Texts are valid UTF-8 without control characters.
  std::optional<std::string> text(std::string_view key, const TextRule& rule);
  std::optional<uint32_t> number(std::string_view key, uint32_t min = 0, uint32_t max = UINT32_MAX);
  std::optional<bool> flag(std::string_view key);
  const nlohmann::json* list(std::string_view key, size_t entries_max);
  // As it is; its bytes only are bounded.
  std::optional<std::string> secret(std::string_view key, size_t bytes_max);

  bool has(std::string_view key) const { return object_.is_object() && object_.contains(key); }
  void require(std::string_view key);
  void fail(std::string_view key, std::string_view why);
  // Empty: all is well. Ask last.
  std::string wrong();

 private:
  const nlohmann::json* take(std::string_view key);

  const nlohmann::json& object_;
  std::vector<std::string_view> taken_;
  std::string wrong_;
};

// The part of a target behind '?': a=1&b=x%20y.
class Query {
 public:
  explicit Query(std::string_view text);

  std::optional<std::string> text(std::string_view key);
  std::optional<uint64_t> number(std::string_view key, uint64_t min, uint64_t max);
  std::string wrong();

 private:
  struct Entry {
    std::string key, value;
    bool taken = false;
  };
  std::vector<Entry> entries_;
  std::string wrong_;
};

}  // namespace ringtalk::gateway
