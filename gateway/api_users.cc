// /api/v1/users: people, their passwords and session tokens.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "gateway/admin_api.h"
#include "gateway/api_fields.h"
#include "gateway/http_gateway.h"

namespace ringtalk::gateway {
namespace {

using nlohmann::json;

// The columns of TeamTalk's table IMUser.
constexpr TextRule kName{.characters_min = 1, .blanks = false};
constexpr TextRule kNick{};
constexpr TextRule kDomain{};
constexpr TextRule kPhone{.characters_max = 11};
constexpr TextRule kEmail{.characters_max = 64};
constexpr TextRule kAvatar{.characters_max = 255};
constexpr TextRule kSignature{.characters_max = 128, .bytes_max = 128};
constexpr uint32_t kSexMax      = 2;     // 0 unknown, 1 male, 2 female
constexpr size_t kPasswordMax   = 1024;  // bytes of plain text
constexpr uint32_t kListDefault = 100;
constexpr uint32_t kListMax     = 1000;
constexpr uint32_t kPageMax     = 200;  // whatever was asked for: each costs its shard about 4 us

constexpr std::string_view kNoDepartment = "department: no such department";
constexpr std::string_view kNoDepartmentInBulk =
    "users: the department of one does not exist; none was made";

json user_json(const store::User& user) {
  return {{"id", raw(user.id)},      {"name", user.name},
          {"nick", user.nick},       {"department", user.department},
          {"status", user.status},   {"sex", user.sex},
          {"domain", user.domain},   {"phone", user.phone},
          {"email", user.email},     {"avatar", user.avatar},
          {"created", user.created}, {"signature", user.signature},
          {"stamp", user.stamp}};
}

store::NewUser read_new_user(Fields& fields) {
  store::NewUser user;
  fields.require("name");
  user.name       = fields.text("name", kName).value_or("");
  user.nick       = fields.text("nick", kNick).value_or(user.name);
  user.department = fields.number("department").value_or(0);
  return user;
}

}  // namespace

// --- reading ------------------------------------------------------------------------------------------------

void AdminApi::list_users(const Call& call) {
  Query query(call.request.query);
  auto name        = query.text("name");
  const auto after = name ? 0 : query.number("after", 0, UINT32_MAX).value_or(0);
  const auto limit =
      name
          ? 1
          : std::min<uint64_t>(kPageMax, query.number("limit", 1, kListMax).value_or(kListDefault));
  if (const std::string wrong = query.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  if (name) return find_users_named(call, std::move(*name));
  check(call.connection,
        store().list_users(
            UserId(static_cast<uint32_t>(after)), static_cast<uint32_t>(limit),
            [this, connection = call.connection, limit](Result<std::vector<store::User>> found) {
              if (!found) return fail(connection, found.error());
              json list = json::array();
              for (const store::User& user : *found) list.push_back(user_json(user));
              const uint32_t next = found->size() < limit ? 0 : raw(found->back().id);
              respond(connection, 200, json{{"users", std::move(list)}, {"next", next}});
            }));
}

void AdminApi::find_users_named(const Call& call, std::string name) {
  check(call.connection, store().find_user_by_name(name, [this, connection = call.connection](
                                                             Result<store::User> found) {
    if (!found && found.error().code != Errc::not_found) return fail(connection, found.error());
    json list = json::array();
    if (found) list.push_back(user_json(*found));
    respond(connection, 200, json{{"users", std::move(list)}, {"next", 0}});
  }));
}

void AdminApi::get_user(const Call& call) {
  check(call.connection, store().find_user(UserId(call.id), [this, connection = call.connection](
                                                                Result<store::User> found) {
    if (!found) return fail(connection, found.error());
    respond(connection, 200, user_json(*found));
  }));
}

// --- adding -------------------------------------------------------------------------------------------------

void AdminApi::add_user(const Call& call) {
  const ParsedJson body = parse_object(call.request.body);
  if (!body.wrong.empty()) return fail(call.connection, 400, body.wrong);
  Fields fields(body.value);
  store::NewUser user = read_new_user(fields);
  const bool token    = fields.flag("token").value_or(false);
  const auto plain    = fields.secret("password", kPasswordMax);
  if (const std::string wrong = fields.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  if (!plain) return store_users(call.connection, {std::move(user)}, token, /*bulk=*/false);
  check(call.connection,
        setup_.passwords.hash(
            setup_.shard.context().self, shard::md5hex_of(*plain),
            [this, connection = call.connection, user, token](Result<std::string> hashed) mutable {
              if (!hashed) return fail(connection, hashed.error());
              user.password = std::move(*hashed);
              store_users(connection, {std::move(user)}, token, /*bulk=*/false);
            }));
}

void AdminApi::add_users(const Call& call) {
  const ParsedJson body = parse_object(call.request.body);
  if (!body.wrong.empty()) return fail(call.connection, 400, body.wrong);
  Fields fields(body.value);
  fields.require("users");
  const json* list  = fields.list("users", kBulkUsersMax);
  const bool tokens = fields.flag("tokens").value_or(false);
  if (const std::string wrong = fields.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  std::vector<store::NewUser> users(list->size());
  for (size_t i = 0; i < users.size(); ++i) {
    Fields entry((*list)[i]);
    users[i] = read_new_user(entry);
    if (entry.has("password")) entry.fail("password", "not in bulk, hashing would take minutes");
    if (const std::string wrong = entry.wrong(); !wrong.empty())
      return fail(call.connection, 400, fmt::format("users[{}]: {}", i, wrong));
  }
  store_users(call.connection, std::move(users), tokens, /*bulk=*/true);
}

void AdminApi::store_users(uint64_t connection, std::vector<store::NewUser> users, bool tokens,
                           bool bulk) {
  check(connection,
        store().add_users(std::move(users), [this, connection, tokens,
                                             bulk](Result<std::vector<store::User>> stored) {
          if (!stored && stored.error().code == Errc::refused)
            return fail(connection, 400, bulk ? kNoDepartmentInBulk : kNoDepartment);
          if (!stored) return fail(connection, stored.error());
          on_stored(connection, *stored, tokens, bulk);
        }));
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
  announce(states, [this, connection, bulk, list = std::move(list)]() mutable {
    respond(connection, 201, bulk ? json{{"users", std::move(list)}} : list[0]);
  });
}

// --- changing -----------------------------------------------------------------------------------------------

void AdminApi::patch_user(const Call& call) {
  const ParsedJson body = parse_object(call.request.body);
  if (!body.wrong.empty()) return fail(call.connection, 400, body.wrong);
  Fields fields(body.value);
  store::UserPatch patch;
  patch.nick       = fields.text("nick", kNick);
  patch.domain     = fields.text("domain", kDomain);
  patch.phone      = fields.text("phone", kPhone);
  patch.email      = fields.text("email", kEmail);
  patch.avatar     = fields.text("avatar", kAvatar);
  patch.signature  = fields.text("signature", kSignature);
  patch.department = fields.number("department");
  if (const auto sex = fields.number("sex", 0, kSexMax)) patch.sex = static_cast<uint8_t>(*sex);
  if (const auto disabled = fields.flag("disabled"))
    patch.status = *disabled ? store::kUserLeft : store::kUserActive;
  const auto plain = fields.secret("password", kPasswordMax);
  if (const std::string wrong = fields.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  if (body.value.empty()) return fail(call.connection, 400, "body: names no field to change");
  const UserId id{call.id};
  if (!plain) return update_user(call.connection, id, std::move(patch));
  check(call.connection,
        setup_.passwords.hash(setup_.shard.context().self, shard::md5hex_of(*plain),
                              [this, connection = call.connection, id,
                               patch = std::move(patch)](Result<std::string> hashed) mutable {
                                if (!hashed) return fail(connection, hashed.error());
                                patch.password = std::move(*hashed);
                                update_user(connection, id, std::move(patch));
                              }));
}

void AdminApi::update_user(uint64_t connection, UserId id, store::UserPatch patch) {
  const bool announced = patch.status.has_value();
  const bool expelled  = patch.password || patch.status == store::kUserLeft;
  check(connection,
        store().update_user(id, std::move(patch),
                            [this, connection, announced, expelled](Result<store::User> user) {
                              if (!user && user.error().code == Errc::refused)
                                return fail(connection, 400, kNoDepartment);
                              if (!user) return fail(connection, user.error());
                              on_updated(connection, *user, announced, expelled);
                            }));
}

// First nobody can reach who has left, then his sessions end.
void AdminApi::on_updated(uint64_t connection, const store::User& user, bool announced,
                          bool expelled) {
  if (announced) {
    const store::UserState state{user.id, user.status};
    return announce({&state, 1}, [this, connection, user, expelled] {
      on_updated(connection, user, /*announced=*/false, expelled);
    });
  }
  if (!expelled) return respond(connection, 200, user_json(user));
  check(connection, setup_.shard.operations().kick(
                        user.id, shard::Operator::kPc | shard::Operator::kMobile,
                        setup_.shard.context().loop.now_ns(), [this, connection, user](uint32_t) {
                          respond(connection, 200, user_json(user));
                        }));
}

// --- tokens -------------------------------------------------------------------------------------------------

void AdminApi::mint_token(const Call& call) {
  if (!call.request.body.empty()) {
    const ParsedJson body   = parse_object(call.request.body);
    const std::string wrong = body.wrong.empty() ? Fields(body.value).wrong() : body.wrong;
    if (!wrong.empty()) return fail(call.connection, 400, wrong);
  }
  check(call.connection, store().find_user(UserId(call.id), [this, connection = call.connection](
                                                                Result<store::User> found) {
    if (!found) return fail(connection, found.error());
    mint_token_for(connection, *found);
  }));
}

// The epoch stands in the account, which is found by name among those who have not left.
void AdminApi::mint_token_for(uint64_t connection, const store::User& user) {
  if (user.status == store::kUserLeft) return fail(connection, 409, "the user is disabled");
  check(connection, store().find_account(user.name, [this, connection,
                                                     id = user.id](Result<store::Account> found) {
    if (!found && found.error().code != Errc::not_found) return fail(connection, found.error());
    if (!found || found->user.id != id) return fail(connection, 409, "the user is disabled");
    const uint64_t expiry =
        setup_.shard.context().now_s() + uint64_t{setup_.limits.token_hours} * 3600;
    respond(connection, 201, json{{"token", setup_.tokens.mint({id, found->epoch, expiry})}});
  }));
}

}  // namespace ringtalk::gateway
