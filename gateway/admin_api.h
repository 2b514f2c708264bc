// AdminApi: /api/v1, the operator's interface in JSON: routes here, handlers by resource in api_*.cc.
//
//   a request ─▶ route ─▶ fields checked ─▶ store, password threads or other shards ─▶ one answer
//
// Errors  {"error":"…"}: 400 which field is wrong, 404, 405, 409 what is in the way, 503 storage, the
//         password threads or a shard are busy or away. docs/API.md lists them all.
// Order   An answer comes after what it says is durable and every shard knows it: a message to a new
//         user sent then is never refused, one to a disabled user never accepted.
// Bound   bodies 64 KiB, bulk 4 MiB; JSON as in api_fields.h. A bulk of users holds its shard for about
//         2 us each, hence 500; ids of members cost a tenth of that.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/units.h"
#include "gateway/http_connection.h"
#include "shard/shard.h"

namespace ringtalk::gateway {

class Fields;

class AdminApi {
 public:
  static constexpr uint64_t kBulkBytesMax = 4 * kMiB;
  static constexpr size_t kBulkUsersMax   = 500;
  static constexpr uint32_t kMembersMax   = 1'000'000;  // of one group

  struct Setup {
    HttpGateway& http;
    shard::Shard& shard;
    shard::PasswordPool& passwords;
    const shard::TokenSigner& tokens;
    const shard::Limits& limits;
  };

  explicit AdminApi(const Setup& setup);

  // Of a route that is ours.
  static std::optional<uint64_t> body_bytes_max(std::string_view method, std::string_view path);
  void handle(uint64_t connection, const HttpRequest& request);
  void on_users_done(uint32_t ticket);

 private:
  // A request at its handler; gone when that returns.
  struct Call {
    uint64_t connection;
    uint32_t id;  // what stood for # in the path
    const HttpRequest& request;
  };
  struct Route {
    std::string_view method, path;
    void (AdminApi::*handle)(const Call&);
    uint64_t body_bytes_max;
  };
  static const Route kRoutes[];
  using Then = std::move_only_function<void()>;

  // --- api_users.cc
  void list_users(const Call& call);
  void get_user(const Call& call);
  void add_user(const Call& call);
  void add_users(const Call& call);
  void patch_user(const Call& call);
  void mint_token(const Call& call);
  void find_users_named(const Call& call, std::string name);
  void store_users(uint64_t connection, std::vector<store::NewUser> users, bool tokens, bool bulk);
  void on_stored(uint64_t connection, const std::vector<store::User>& users, bool tokens,
                 bool bulk);
  void update_user(uint64_t connection, UserId id, store::UserPatch patch);
  void on_updated(uint64_t connection, const store::User& user, bool announced, bool expelled);
  void mint_token_for(uint64_t connection, const store::User& user);
  // Every shard knows them when `then` runs.
  void announce(std::span<const store::UserState> states, Then then);

  // --- api_departments.cc
  void list_departments(const Call& call);
  void add_department(const Call& call);
  void patch_department(const Call& call);
  void remove_department(const Call& call);
  void answer_department(uint64_t connection, unsigned status,
                         const Result<store::Department>& department);

  // --- api_groups.cc
  void list_groups(const Call& call);
  void get_group(const Call& call);
  void add_group(const Call& call);
  void patch_group(const Call& call);
  void dismiss_group(const Call& call);
  void list_members(const Call& call);
  void change_members(const Call& call);
  void add_everybody(const Call& call);
  void add_users_after(uint64_t connection, GroupId group, UserId after, uint32_t added);
  void open_group(uint64_t connection, const store::Group& group);
  void put_message(const Call& call);
  void fail_group(uint64_t connection, Error error);
  // Those of a list that exist, each once; an entry that names nobody is wrong.
  std::vector<UserId> read_users(Fields& fields, std::string_view key);

  // --- api_sessions.cc
  void list_sessions(const Call& call);
  void kick_sessions(const Call& call);
  void name_sessions(uint64_t connection, shard::SessionPage page);

  // --- api_status.cc
  void show_status(const Call& call);
  void reload(const Call& call);

  store::Store& store() { return setup_.shard.context().store; }
  void respond(uint64_t connection, unsigned status, const nlohmann::json& body);
  void fail(uint64_t connection, unsigned status, std::string_view what);
  void fail(uint64_t connection, Error error);  // of the store, or of a queue
  // Not asked at all, because there was no room: the answer.
  void check(uint64_t connection, const Result<void>& asked);

  const Setup setup_;
  const uint64_t began_s_;                               // wall clock
  boost::unordered_flat_map<uint32_t, Then> announced_;  // by ticket
  uint32_t next_ticket_ = 1;
};

}  // namespace ringtalk::gateway
