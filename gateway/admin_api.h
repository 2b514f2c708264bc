// AdminApi: /api/v1, the operator's interface in JSON.
//
//   POST /api/v1/users        {"name","password"?,"nick"?,"department"?,"token"?}   201 {"id","name"[,"token"]}
//   POST /api/v1/users:bulk   {"users":[{"name","nick"?,"department"?}…],"tokens"?} 201 {"users":[…]}
//   GET  /api/v1/users?after=ID&limit=N                             200 {"users":[…],"next":ID or 0}
//
// Errors  {"error":"…"}: 400 a field is wrong (and which), 404, 405, 409 a name is taken, 503 storage or
//         the password threads are busy or away.
// Order   201 comes after the users are durable and every shard knows them: a message to a new user
//         sent then is never refused.
// Bound   bodies 64 KiB, bulk 4 MiB and 20,000 users; JSON depth 16.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/units.h"
#include "gateway/http_connection.h"
#include "shard/shard.h"

namespace ringtalk::gateway {

class AdminApi {
 public:
  static constexpr uint64_t kBulkBytesMax = 4 * kMiB;
  static constexpr size_t kBulkUsersMax   = 20'000;

  struct Setup {
    HttpGateway& http;
    shard::Shard& shard;
    shard::PasswordPool& passwords;
    const shard::TokenSigner& tokens;
    const shard::Limits& limits;
  };

  explicit AdminApi(const Setup& setup) : setup_(setup) {}

  void handle(uint64_t connection, const HttpRequest& request);
  void on_users_done(uint32_t ticket);

 private:
  void add_user(uint64_t connection, const HttpRequest& request);
  void add_users(uint64_t connection, const HttpRequest& request);
  void list_users(uint64_t connection, const HttpRequest& request);
  void store_users(uint64_t connection, std::vector<store::NewUser> users, bool tokens, bool bulk);
  void on_stored(uint64_t connection, const std::vector<store::User>& users, bool tokens,
                 bool bulk);
  void respond(uint64_t connection, unsigned status, std::string body);
  void fail(uint64_t connection, unsigned status, std::string_view what);
  void fail(uint64_t connection, Error error);

  struct Answer {
    uint64_t connection;
    std::string body;
  };

  const Setup setup_;
  boost::unordered_flat_map<uint32_t, Answer> announced_;  // by ticket
  uint32_t next_ticket_ = 1;
};

}  // namespace ringtalk::gateway
