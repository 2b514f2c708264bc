#include "tools/ctl/lookup.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

namespace ringtalk::ctl {

namespace {

using Method = HttpClient::Method;

constexpr const char* kUnlike = "the server does not answer like ringtalkd";

std::optional<uint32_t> read_id(std::string_view text) {
  uint32_t id             = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return id;
}

}  // namespace

// ---- departments ----

Answer<std::vector<Json>> list_departments(HttpClient& client) {
  auto answer = client.call(Method::get, "/api/v1/departments");
  if (!answer) return {.problem = answer.problem, .status = answer.status};
  const auto list = answer.value.find("departments");
  if (list == answer.value.end() || !list->is_array()) return {.problem = kUnlike};
  Answer<std::vector<Json>> out;
  for (Json& entry : *list) {
    uint32_t id = 0;
    std::string name;
    if (!read_number(entry, "id", id) || !read_text(entry, "name", name))
      return {.problem = "the server lists a department that is none"};
    out.value.push_back(std::move(entry));
  }
  return out;
}

bool is_removed(const Json& department) {
  uint32_t status = 0;
  return read_number(department, "status", status) && status != 0;
}

Answer<uint32_t> find_department(HttpClient& client, std::string_view which) {
  if (const auto id = read_id(which)) return {.value = *id};
  const auto list = list_departments(client);
  if (!list) return {.problem = list.problem, .status = list.status};
  Answer<uint32_t> found{
      .problem = fmt::format("no department {}: `ringtalkctl department list` shows them", which)};
  for (const Json& entry : list.value) {
    if (is_removed(entry) || entry["name"] != which) continue;
    if (found) {
      found.problem = fmt::format("several departments are called {}: give the id", which);
      break;
    }
    found = {.value = entry["id"].get<uint32_t>()};
  }
  return found;
}

// ---- groups ----

bool is_group(const Json& row) {
  uint32_t number = 0;
  std::string text;
  return read_number(row, "id", number) && read_text(row, "name", text) &&
         read_text(row, "type", text) && read_number(row, "member_count", number);
}

Answer<std::vector<Json>> list_groups(HttpClient& client) {
  return client.list("/api/v1/groups", "groups", &is_group);
}

Answer<Json> find_group(HttpClient& client, std::string_view which) {
  const std::string unknown =
      fmt::format("no group {}: `ringtalkctl group list` shows them", which);
  if (const auto id = read_id(which.starts_with('#') ? which.substr(1) : which)) {
    auto answer = client.call(Method::get, fmt::format("/api/v1/groups/{}", *id));
    if (answer.status == 404) answer.problem = unknown;
    if (answer && !is_group(answer.value)) answer.problem = kUnlike;
    return answer;
  }
  const auto list = list_groups(client);
  if (!list) return {.problem = list.problem, .status = list.status};
  Answer<Json> found{.problem = unknown, .status = 404};
  for (const Json& group : list.value) {
    if (group["name"] != which) continue;
    if (found) return {.problem = fmt::format("several groups are called {}: give the id", which)};
    found = {.value = Json(group), .status = 200};
  }
  return found;
}

}  // namespace ringtalk::ctl
