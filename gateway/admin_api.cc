#include "gateway/admin_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>

#include "gateway/http_gateway.h"
#include "proto/utf8.h"

namespace ringtalk::gateway {
namespace {

using nlohmann::json;

constexpr int kJsonDepthMax     = 16;
constexpr size_t kNameMax       = 32;    // characters, as the column
constexpr size_t kPasswordMax   = 1024;  // bytes of plain text
constexpr uint32_t kListDefault = 100;
constexpr uint32_t kListMax     = 1000;

// The parser recurses into nothing, but what it builds is walked: refuse depth before building.
bool shallow(std::string_view text) {
  int depth    = 0;
  bool quoted  = false;
  bool escaped = false;
  for (const char c : text) {
    if (quoted) {
      if (escaped) {
        escaped = false;
      } else if (c == '\\') {
        escaped = true;
      } else if (c == '"') {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kJsonDepthMax) return false;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return true;
}

json parse_object(std::string_view text) {
  if (!shallow(text)) return json::value_t::discarded;
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_object() ? value : json(json::value_t::discarded);
}

// Printable, no control characters, at most kNameMax characters.
bool is_label(std::string_view text, size_t characters_min) {
  const auto characters = proto::count_utf8_characters(as_bytes(text));
  return characters && *characters >= characters_min && *characters <= kNameMax &&
         std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

// What is wrong with the entry, or empty. Login names hold no blanks.
std::string read_user(const json& entry, store::NewUser& user) {
  if (!entry.is_object()) return "a user must be an object";
  const auto text = [&](const char* key, std::string& to) {
    const auto at = entry.find(key);
    if (at == entry.end()) return true;
    if (!at->is_string()) return false;
    to = at->get<std::string>();
    return true;
  };
  if (!text("name", user.name) || !is_label(user.name, 1) || user.name.find(' ') != user.name.npos)
    return "name: 1 to 32 printable characters without blanks";
  user.nick = user.name;
  if (!text("nick", user.nick) || !is_label(user.nick, 0))
    return "nick: at most 32 printable characters";
  if (const auto at = entry.find("department"); at != entry.end()) {
    if (!at->is_number_unsigned() || at->get<uint64_t>() > UINT32_MAX)
      return "department: a number";
    user.department = at->get<uint32_t>();
  }
  return {};
}

bool flag(const json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_boolean() && at->get<bool>();
}

bool number_of(std::string_view query, std::string_view key, uint32_t& value) {
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), part.size() + 1));
    if (!part.starts_with(key) || part.size() <= key.size() || part[key.size()] != '=') continue;
    const char* from        = part.data() + key.size() + 1;
    const char* to          = part.data() + part.size();
    const auto [end, error] = std::from_chars(from, to, value);
    if (error != std::errc{} || end != to) return false;
  }
  return true;
}

}  // namespace

void AdminApi::handle(uint64_t connection, const HttpRequest& request) {
  if (request.path == "/api/v1/users") {
    if (request.method == "GET") return list_users(connection, request);
    if (request.method == "POST") return add_user(connection, request);
    return fail(connection, 405, "method not allowed");
  }
  if (request.path == "/api/v1/users:bulk") {
    if (request.method == "POST") return add_users(connection, request);
    return fail(connection, 405, "method not allowed");
  }
  fail(connection, 404, "not found");
}

void AdminApi::respond(uint64_t connection, unsigned status, std::string body) {
  body += '\n';
  setup_.http.respond(connection, {.status = status, .body = std::move(body)});
}

void AdminApi::fail(uint64_t connection, unsigned status, std::string_view what) {
  respond(connection, status, json{{"error", what}}.dump());
}

void AdminApi::fail(uint64_t connection, Error error) {
  if (error.code == Errc::exists) return fail(connection, 409, "name is taken");
  if (error.code == Errc::full) return fail(connection, 503, "busy");
  fail(connection, 503, "storage is not available");
}

// --- users -------------------------------------------------------------------------------------------------

void AdminApi::add_user(uint64_t connection, const HttpRequest& request) {
  const json body = parse_object(request.body);
  if (body.is_discarded()) return fail(connection, 400, "body must be a JSON object");
  store::NewUser user;
  if (const std::string wrong = read_user(body, user); !wrong.empty())
    return fail(connection, 400, wrong);
  const bool token = flag(body, "token");
  const auto at    = body.find("password");
  if (at == body.end()) return store_users(connection, {std::move(user)}, token, /*bulk=*/false);
  if (!at->is_string()) return fail(connection, 400, "password: a text");
  const auto& plain = at->get_ref<const std::string&>();
  if (plain.empty() || plain.size() > kPasswordMax)
    return fail(connection, 400, "password: 1 to 1024 bytes");
  const auto asked =
      setup_.passwords.hash(setup_.shard.context().self, shard::md5hex_of(plain),
                            [this, connection, user, token](Result<std::string> hashed) mutable {
                              if (!hashed) return fail(connection, hashed.error());
                              user.password = std::move(*hashed);
                              store_users(connection, {std::move(user)}, token, /*bulk=*/false);
                            });
  if (!asked) fail(connection, asked.error());
}

void AdminApi::add_users(uint64_t connection, const HttpRequest& request) {
  const json body = parse_object(request.body);
  const auto list = body.is_discarded() ? body.end() : body.find("users");
  if (body.is_discarded() || list == body.end() || !list->is_array())
    return fail(connection, 400, "body must be {\"users\":[…]}");
  if (list->empty() || list->size() > kBulkUsersMax)
    return fail(connection, 400, "users: 1 to 20000 entries");
  std::vector<store::NewUser> users(list->size());
  for (size_t i = 0; i < users.size(); ++i) {
    const json& entry = (*list)[i];
    std::string wrong = read_user(entry, users[i]);
    if (wrong.empty() && entry.contains("password"))
      wrong = "password: not in bulk, one argon2id each would take minutes";
    if (!wrong.empty()) return fail(connection, 400, fmt::format("users[{}]: {}", i, wrong));
  }
  store_users(connection, std::move(users), flag(body, "tokens"), /*bulk=*/true);
}

void AdminApi::store_users(uint64_t connection, std::vector<store::NewUser> users, bool tokens,
                           bool bulk) {
  const auto asked = setup_.shard.context().store.add_users(
      std::move(users), [this, connection, tokens, bulk](Result<std::vector<store::User>> stored) {
        if (!stored) return fail(connection, stored.error());
        on_stored(connection, *stored, tokens, bulk);
      });
  if (!asked) fail(connection, asked.error());
}

void AdminApi::on_stored(uint64_t connection, const std::vector<store::User>& users, bool tokens,
                         bool bulk) {
  const uint64_t expiry =
      setup_.shard.context().now_s() + uint64_t{setup_.limits.token_hours} * 3600;
  json list = json::array();
  std::vector<store::UserState> states;
  states.reserve(users.size());
  for (const store::User& user : users) {
    json entry{{"id", raw(user.id)}, {"name", user.name}};
    if (tokens) entry["token"] = setup_.tokens.mint({user.id, 0, expiry});
    list.push_back(std::move(entry));
    states.push_back({user.id, user.status});
  }
  const uint32_t ticket = next_ticket_++;
  announced_[ticket]    = {connection,
                        bulk ? json{{"users", std::move(list)}}.dump() : list[0].dump()};
  setup_.shard.announce_users(states, ticket);
}

void AdminApi::on_users_done(uint32_t ticket) {
  const auto at = announced_.find(ticket);
  if (at == announced_.end()) return;
  Answer answer = std::move(at->second);
  announced_.erase(at);
  respond(answer.connection, 201, std::move(answer.body));
}

void AdminApi::list_users(uint64_t connection, const HttpRequest& request) {
  uint32_t after = 0;
  uint32_t limit = kListDefault;
  if (!number_of(request.query, "after", after) || !number_of(request.query, "limit", limit) ||
      limit == 0)
    return fail(connection, 400, "after, limit: numbers");
  limit            = std::min(limit, kListMax);
  const auto asked = setup_.shard.context().store.list_users(
      UserId(after), limit, [this, connection, limit](Result<std::vector<store::User>> found) {
        if (!found) return fail(connection, found.error());
        json list = json::array();
        for (const store::User& user : *found)
          list.push_back({{"id", raw(user.id)},
                          {"name", user.name},
                          {"nick", user.nick},
                          {"department", user.department},
                          {"status", user.status}});
        const uint32_t next = found->size() < limit ? 0 : raw(found->back().id);
        // Names come from a database that others may have written: bad UTF-8 is replaced, not thrown.
        respond(connection, 200,
                json{{"users", std::move(list)}, {"next", next}}.dump(
                    -1, ' ', false, json::error_handler_t::replace));
      });
  if (!asked) fail(connection, asked.error());
}

}  // namespace ringtalk::gateway
