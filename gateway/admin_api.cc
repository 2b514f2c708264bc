#include "gateway/admin_api.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "gateway/http_gateway.h"

namespace ringtalk::gateway {
namespace {

using nlohmann::json;

constexpr uint64_t kBody = 64 * kKiB;

// # stands for an id: a number from 1 on, without leading zeros.
bool matches(std::string_view pattern, std::string_view path, uint32_t& id) {
  const size_t hash = pattern.find('#');
  if (hash == pattern.npos) return path == pattern;
  const std::string_view behind = pattern.substr(hash + 1);
  if (!path.starts_with(pattern.substr(0, hash)) || !path.ends_with(behind)) return false;
  if (path.size() <= hash + behind.size()) return false;
  const char* from        = path.data() + hash;
  const char* to          = path.data() + path.size() - behind.size();
  const auto [end, error] = std::from_chars(from, to, id);
  return error == std::errc{} && end == to && *from != '0';
}

}  // namespace

const AdminApi::Route AdminApi::kRoutes[] = {
    {"GET", "/api/v1/users", &AdminApi::list_users, kBody},
    {"POST", "/api/v1/users", &AdminApi::add_user, kBody},
    {"POST", "/api/v1/users:bulk", &AdminApi::add_users, kBulkBytesMax},
    {"GET", "/api/v1/users/#", &AdminApi::get_user, kBody},
    {"PATCH", "/api/v1/users/#", &AdminApi::patch_user, kBody},
    {"POST", "/api/v1/users/#/token", &AdminApi::mint_token, kBody},
    {"GET", "/api/v1/departments", &AdminApi::list_departments, kBody},
    {"POST", "/api/v1/departments", &AdminApi::add_department, kBody},
    {"PATCH", "/api/v1/departments/#", &AdminApi::patch_department, kBody},
    {"DELETE", "/api/v1/departments/#", &AdminApi::remove_department, kBody},
    {"GET", "/api/v1/groups", &AdminApi::list_groups, kBody},
    {"POST", "/api/v1/groups", &AdminApi::add_group, kBulkBytesMax},
    {"GET", "/api/v1/groups/#", &AdminApi::get_group, kBody},
    {"PATCH", "/api/v1/groups/#", &AdminApi::patch_group, kBody},
    {"DELETE", "/api/v1/groups/#", &AdminApi::dismiss_group, kBody},
    {"GET", "/api/v1/groups/#/members", &AdminApi::list_members, kBody},
    {"POST", "/api/v1/groups/#/members", &AdminApi::change_members, kBulkBytesMax},
    {"POST", "/api/v1/groups/#/members:everybody", &AdminApi::add_everybody, kBody},
    {"POST", "/api/v1/messages", &AdminApi::put_message, kBody},
    {"GET", "/api/v1/sessions", &AdminApi::list_sessions, kBody},
    {"POST", "/api/v1/sessions:kick", &AdminApi::kick_sessions, kBody},
    {"GET", "/api/v1/status", &AdminApi::show_status, kBody},
    {"POST", "/api/v1/reload", &AdminApi::reload, kBody},
};

AdminApi::AdminApi(const Setup& setup)
    : setup_(setup), began_s_(setup.shard.context().loop.wall_s()) {}

std::optional<uint64_t> AdminApi::body_bytes_max(std::string_view method, std::string_view path) {
  uint32_t id = 0;
  for (const Route& route : kRoutes)
    if (route.method == method && matches(route.path, path, id)) return route.body_bytes_max;
  return {};
}

void AdminApi::handle(uint64_t connection, const HttpRequest& request) {
  const std::string_view method = request.method == "HEAD" ? "GET" : request.method;
  std::string allowed;
  for (const Route& route : kRoutes) {
    uint32_t id = 0;
    if (!matches(route.path, request.path, id)) continue;
    if (route.method == method) return (this->*route.handle)({connection, id, request});
    allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
    if (route.method == "GET") allowed += ", HEAD";
  }
  if (allowed.empty()) return fail(connection, 404, "not found");
  setup_.http.respond(connection, {.status = 405,
                                   .body   = "{\"error\":\"method not allowed\"}\n",
                                   .fields = "Allow: " + allowed + "\r\n"});
}

void AdminApi::respond(uint64_t connection, unsigned status, const json& body) {
  // Texts may come from a database that others have written: bad UTF-8 is replaced, not thrown.
  setup_.http.respond(
      connection,
      {.status = status, .body = body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"});
}

void AdminApi::fail(uint64_t connection, unsigned status, std::string_view what) {
  respond(connection, status, json{{"error", what}});
}

void AdminApi::fail(uint64_t connection, Error error) {
  if (error.code == Errc::not_found) return fail(connection, 404, "not found");
  if (error.code == Errc::exists) return fail(connection, 409, "name is taken");
  if (error.code == Errc::full) return fail(connection, 503, "busy");
  fail(connection, 503, "storage is not available");
}

void AdminApi::check(uint64_t connection, const Result<void>& asked) {
  if (!asked) fail(connection, asked.error());
}

void AdminApi::announce(std::span<const store::UserState> states, Then then) {
  const uint32_t ticket = next_ticket_++;
  announced_[ticket]    = std::move(then);
  setup_.shard.announce_users(states, ticket);
}

void AdminApi::on_users_done(uint32_t ticket) {
  const auto at = announced_.find(ticket);
  if (at == announced_.end()) return;
  Then then = std::move(at->second);
  announced_.erase(at);
  then();
}

}  // namespace ringtalk::gateway
