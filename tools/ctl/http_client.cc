#include "tools/ctl/http_client.h"

#include <fmt/format.h>
#include <httplib.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

namespace ringtalk::ctl {

namespace {

using Json = nlohmann::json;

constexpr uint32_t kPageUsers    = 500;
constexpr size_t kTokenBytesMax  = 256;
constexpr time_t kConnectSeconds = 2;
constexpr time_t kAnswerSeconds  = 30;

// What a failed answer says: its own "error" text if it has one.
std::string reason_of(const httplib::Response& response) {
  const Json body = Json::parse(response.body, nullptr, false);
  if (body.is_object() && body.contains("error") && body["error"].is_string()) {
    return body["error"].get<std::string>();
  }
  return fmt::format("HTTP status {}", response.status);
}

// A foreign server may answer anything: a field that is missing or of another type is no user.
bool read_number(const Json& from, const char* key, uint32_t& to) {
  const auto at = from.find(key);
  if (at == from.end() || !at->is_number_unsigned() || at->get<uint64_t>() > UINT32_MAX)
    return false;
  to = at->get<uint32_t>();
  return true;
}

bool read_text(const Json& from, const char* key, std::string& to) {
  const auto at = from.find(key);
  if (at == from.end() || !at->is_string()) return false;
  to = at->get<std::string>();
  return true;
}

bool read_new_user(const Json& from, UserRow& to) {
  return from.is_object() && read_number(from, "id", to.id) && read_text(from, "name", to.name);
}

bool read_user(const Json& from, UserRow& to) {
  return read_new_user(from, to) && read_text(from, "nick", to.nick) &&
         read_number(from, "department", to.department) && read_number(from, "status", to.status);
}

}  // namespace

struct HttpClient::Connection {
  explicit Connection(const Address& address) : client(address.host, address.port) {}
  httplib::Client client;
};

HttpClient::HttpClient(Address address, std::string token)
    : place_(fmt::format("http://{}:{}", address.host, address.port)),
      connection_(std::make_unique<Connection>(address)) {
  auto& client = connection_->client;
  client.set_connection_timeout(kConnectSeconds);
  client.set_read_timeout(kAnswerSeconds);
  client.set_write_timeout(kAnswerSeconds);
  client.set_default_headers({{"Authorization", "Bearer " + token}});
}

HttpClient::~HttpClient() = default;

Answer<UserRow> HttpClient::add_user(const NewUser& user) {
  Json body = {{"name", user.name}, {"password", user.password}, {"department", user.department}};
  if (!user.nick.empty()) body["nick"] = user.nick;
  std::string text;
  try {
    text = body.dump();
  } catch (const Json::exception&) {
    return {.problem = "name, nick and password must be UTF-8"};
  }
  const auto result = connection_->client.Post("/api/v1/users", text, "application/json");
  if (!result) return {.problem = fmt::format("cannot reach {}: is ringtalkd running?", place_)};
  if (result->status != 201) return {.problem = reason_of(*result)};
  Answer<UserRow> answer;
  if (!read_new_user(Json::parse(result->body, nullptr, false), answer.value)) {
    answer.problem = fmt::format("{} does not answer like ringtalkd", place_);
  }
  return answer;
}

Answer<std::vector<UserRow>> HttpClient::list_users() {
  Answer<std::vector<UserRow>> answer;
  const auto failed = [&](std::string problem) {
    return Answer<std::vector<UserRow>>{.problem = std::move(problem)};
  };
  uint32_t after = 0;
  do {
    const auto result =
        connection_->client.Get(fmt::format("/api/v1/users?after={}&limit={}", after, kPageUsers));
    if (!result) return failed(fmt::format("cannot reach {}: is ringtalkd running?", place_));
    if (result->status != 200) return failed(reason_of(*result));
    const Json page = Json::parse(result->body, nullptr, false);
    const bool good = page.is_object() && page.contains("users") && page["users"].is_array() &&
                      page.contains("next") && page["next"].is_number_unsigned();
    const uint64_t next = good ? page["next"].get<uint64_t>() : 0;
    // A page that leads back would be read for ever.
    if (!good || next > UINT32_MAX || (next != 0 && next <= after)) {
      return failed(fmt::format("{} does not answer like ringtalkd", place_));
    }
    for (const Json& entry : page["users"]) {
      UserRow row;
      if (!read_user(entry, row))
        return failed(fmt::format("{} lists a user that is none", place_));
      if (answer.value.size() == kUsersMax)
        return failed(fmt::format("more than {} users", kUsersMax));
      answer.value.push_back(std::move(row));
    }
    after = static_cast<uint32_t>(next);
  } while (after != 0);
  return answer;
}

Answer<std::string> read_admin_token(const std::string& data_dir) {
  const std::string path = data_dir + "/admin.token";
  errno                  = 0;
  std::ifstream file(path);
  std::string token;
  if (!file || !std::getline(file, token)) {
    const char* reason = errno != 0 ? std::strerror(errno) : "it is empty";
    return {.problem = fmt::format(
                "cannot read {}: {} (--data-dir names the server's data directory)", path, reason)};
  }
  // A header value must be one line of visible characters.
  const bool visible = std::ranges::all_of(token, [](char c) { return c > 0x20 && c < 0x7f; });
  if (token.empty() || token.size() > kTokenBytesMax || !visible) {
    return {.problem = fmt::format("{} holds no token", path)};
  }
  return {.value = token};
}

}  // namespace ringtalk::ctl
