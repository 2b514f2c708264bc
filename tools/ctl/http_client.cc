#include "tools/ctl/http_client.h"

#include <fmt/format.h>
#include <httplib.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

namespace ringtalk::ctl {

namespace {

constexpr uint32_t kPageRows     = 500;
constexpr size_t kTokenBytesMax  = 256;
constexpr time_t kConnectSeconds = 2;
constexpr time_t kAnswerSeconds  = 30;
constexpr size_t kReasonBytesMax = 500;

// What a failed answer says (its own "error" text if it has one), and what the operator can do about it.
std::string reason_of(const httplib::Response& response) {
  const Json body    = Json::parse(response.body, nullptr, false);
  std::string reason = fmt::format("HTTP status {}", response.status);
  if (body.is_object() && body.contains("error") && body["error"].is_string()) {
    reason = body["error"].get<std::string>().substr(0, kReasonBytesMax);
  }
  switch (response.status) {
    case 401:
      return reason + " (--data-dir must name the data directory of the server behind --http)";
    case 503: return reason + " (`ringtalkctl status` tells more; try again)";
    default: return reason;
  }
}

bool read_user(const Json& from) {
  uint32_t number = 0;
  std::string text;
  return read_number(from, "id", number) && read_text(from, "name", text) &&
         read_text(from, "nick", text) && read_number(from, "department", number) &&
         read_number(from, "status", number);
}

}  // namespace

bool read_number(const Json& from, const char* key, uint32_t& to) {
  if (!from.is_object()) return false;
  const auto at = from.find(key);
  if (at == from.end() || !at->is_number_unsigned() || at->get<uint64_t>() > UINT32_MAX)
    return false;
  to = at->get<uint32_t>();
  return true;
}

bool read_text(const Json& from, const char* key, std::string& to) {
  if (!from.is_object()) return false;
  const auto at = from.find(key);
  if (at == from.end() || !at->is_string()) return false;
  to = at->get<std::string>();
  return true;
}

std::string field_text(const Json& from, const char* key) {
  if (!from.is_object()) return {};
  const auto at = from.find(key);
  if (at == from.end() || at->is_null()) return {};
  if (at->is_string()) return at->get<std::string>();
  return at->dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string url_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

struct HttpClient::Connection {
  explicit Connection(const Address& address) : client(address.host, address.port) {}

  // Nothing: no answer, or one that is too long.
  httplib::Result ask(Method method, const std::string& path, const std::string& body) {
    constexpr const char* kType = "application/json";
    std::string text;
    switch (method) {
      case Method::get: {
        auto result = client.Get(path, [&](const char* data, size_t size) {
          text.append(data, size);
          return text.size() <= kAnswerBytesMax;
        });
        if (result) result->body = std::move(text);
        return result;
      }
      case Method::post: return client.Post(path, body, kType);
      case Method::patch: return client.Patch(path, body, kType);
      case Method::remove: return client.Delete(path);
    }
    std::unreachable();
  }

  httplib::Client client;
};

HttpClient::HttpClient(Address address, std::string token)
    : place_(fmt::format("http://{}:{}", address.host, address.port)),
      connection_(std::make_unique<Connection>(address)) {
  auto& client = connection_->client;
  client.set_connection_timeout(kConnectSeconds);
  client.set_read_timeout(kAnswerSeconds);
  client.set_write_timeout(kAnswerSeconds);
  client.set_keep_alive(true);
  if (!token.empty()) client.set_default_headers({{"Authorization", "Bearer " + token}});
}

HttpClient::~HttpClient() = default;

Answer<Json> HttpClient::call(Method method, const std::string& path, const Json& body) {
  std::string text;
  if (body.is_object()) {
    try {
      text = body.dump();
    } catch (const Json::exception&) {
      return {.problem = "what is given must be UTF-8"};
    }
  }
  const auto result = connection_->ask(method, path, text);
  if (!result) {
    return {.problem = fmt::format("cannot reach {}: is ringtalkd running, and is --http its door?",
                                   place_)};
  }
  Answer<Json> answer{.status = result->status};
  if (result->status != 200 && result->status != 201) {
    answer.problem = reason_of(*result);
    return answer;
  }
  answer.value = Json::parse(result->body, nullptr, false);
  if (!answer.value.is_object()) {
    answer.problem = fmt::format("{} does not answer like ringtalkd", place_);
  }
  return answer;
}

Answer<std::string> HttpClient::text(const std::string& path) {
  const auto result = connection_->ask(Method::get, path, {});
  if (!result) {
    return {.problem = fmt::format("cannot reach {}: is ringtalkd running, and is --http its door?",
                                   place_)};
  }
  if (result->status != 200) return {.problem = reason_of(*result), .status = result->status};
  return {.value = result->body, .status = result->status};
}

Answer<std::vector<Json>> HttpClient::list(const std::string& path, const char* key,
                                           const std::function<bool(const Json&)>& good) {
  Answer<std::vector<Json>> answer;
  const auto failed = [](std::string problem, int status = 0) {
    return Answer<std::vector<Json>>{.problem = std::move(problem), .status = status};
  };
  uint64_t after = 0;
  do {
    auto page = call(Method::get, fmt::format("{}?after={}&limit={}", path, after, kPageRows));
    if (!page) return failed(page.problem, page.status);
    const auto rows  = page.value.find(key);
    const auto next  = page.value.find("next");
    const bool whole = rows != page.value.end() && rows->is_array() && next != page.value.end() &&
                       next->is_number_unsigned();
    const uint64_t to = whole ? next->get<uint64_t>() : 0;
    // A page that leads back would be read for ever.
    if (!whole || (to != 0 && (to <= after || rows->empty()))) {
      return failed(fmt::format("{} does not answer like ringtalkd", place_));
    }
    for (Json& row : *rows) {
      if (!good(row)) return failed(fmt::format("{} lists a row that is none", place_));
      if (answer.value.size() == kRowsMax)
        return failed(fmt::format("more than {} rows", kRowsMax));
      answer.value.push_back(std::move(row));
    }
    after = to;
  } while (after != 0);
  return answer;
}

Answer<std::vector<Json>> HttpClient::list_users() {
  return list("/api/v1/users", "users", &read_user);
}

Answer<Json> HttpClient::find_user(std::string_view who) {
  const std::string unknown =
      fmt::format("no user {}: `ringtalkctl user list` shows them (an id is written #12)", who);
  if (who.starts_with('#')) {
    uint32_t id             = 0;
    const auto [end, error] = std::from_chars(who.data() + 1, who.data() + who.size(), id);
    if (error != std::errc{} || end != who.data() + who.size()) return {.problem = unknown};
    auto answer = call(Method::get, fmt::format("/api/v1/users/{}", id));
    if (answer.status == 404) answer.problem = unknown;
    if (answer && !read_user(answer.value))
      answer.problem = fmt::format("{} does not answer like ringtalkd", place_);
    return answer;
  }
  auto answer = call(Method::get, "/api/v1/users?name=" + url_encoded(who));
  if (!answer) return answer;
  const auto users = answer.value.find("users");
  if (users == answer.value.end() || !users->is_array()) {
    return {.problem = fmt::format("{} does not answer like ringtalkd", place_)};
  }
  for (const Json& user : *users) {
    if (read_user(user) && user["name"] == who) return {.value = Json(user), .status = 200};
  }
  return {.problem = unknown, .status = 404};
}

Answer<std::string> read_admin_token(const std::string& data_dir) {
  const std::string path = data_dir + "/admin.token";
  errno                  = 0;
  std::ifstream file(path);
  std::string token;
  if (!file || !std::getline(file, token)) {
    const char* reason = errno != 0 ? std::strerror(errno) : "it is empty";
    const char* next   = errno == EACCES ? "run this as the server's user, or as root"
                                         : "--data-dir names the server's data directory";
    return {.problem = fmt::format("cannot read {}: {} ({})", path, reason, next)};
  }
  // A header value must be one line of visible characters.
  const bool visible = std::ranges::all_of(token, [](char c) { return c > 0x20 && c < 0x7f; });
  if (token.empty() || token.size() > kTokenBytesMax || !visible) {
    return {.problem = fmt::format("{} holds no token", path)};
  }
  return {.value = token};
}

}  // namespace ringtalk::ctl
