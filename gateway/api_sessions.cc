// /api/v1/sessions: who is logged in, and how an operator ends it.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "gateway/admin_api.h"
#include "gateway/api_fields.h"
#include "gateway/http_gateway.h"

namespace ringtalk::gateway {
namespace {

using nlohmann::json;

constexpr uint32_t kListDefault = 100;
constexpr uint32_t kListMax     = 1000;
constexpr uint32_t kPageMax     = 200;  // whatever was asked for: each costs its shard some us
static_assert(kPageMax <= store::kUsersAskedMax, "their names are asked for in one go");

std::string device_of(uint8_t client_type) {
  switch (client_type) {
    case 0x01: return "windows";
    case 0x02: return "mac";
    case 0x11: return "ios";
    case 0x12: return "android";
    default: return client_type & 0x10 ? "mobile" : "pc";
  }
}

std::string address_text(uint32_t address) {
  if (address == 0) return "";
  return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 255, address >> 8 & 255,
                     address & 255);
}

json session_json(const shard::SessionFacts& session) {
  return {{"user", raw(session.user)},
          {"client_type", session.client_type},
          {"device", device_of(session.client_type)},
          {"shard", session.shard},
          {"address", address_text(session.address)},
          {"since", session.since_s},
          {"idle_s", session.idle_s},
          {"queued_bytes", session.queued_bytes}};
}

}  // namespace

void AdminApi::list_sessions(const Call& call) {
  Query query(call.request.query);
  const auto user  = query.number("user", 1, UINT32_MAX);
  const auto after = user ? 0 : query.number("after", 0, UINT64_MAX).value_or(0);
  const auto limit =
      user
          ? 1
          : std::min<uint64_t>(kPageMax, query.number("limit", 1, kListMax).value_or(kListDefault));
  if (const std::string wrong = query.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  auto done = [this, connection = call.connection](shard::SessionPage page) {
    name_sessions(connection, std::move(page));
  };
  shard::Operator& operations = setup_.shard.operations();
  check(call.connection,
        user ? operations.of_user(UserId(static_cast<uint32_t>(*user)), std::move(done))
             : operations.list(after, static_cast<uint32_t>(limit), std::move(done)));
}

void AdminApi::name_sessions(uint64_t connection, shard::SessionPage page) {
  std::vector<UserId> ids;
  for (const shard::SessionFacts& session : page.sessions) ids.push_back(session.user);
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  const auto answer = [this, connection](const shard::SessionPage& listed,
                                         const std::vector<store::User>& users) {
    boost::unordered_flat_map<uint32_t, const store::User*> by_id;
    for (const store::User& user : users) by_id[raw(user.id)] = &user;
    json list = json::array();
    for (const shard::SessionFacts& session : listed.sessions) {
      json entry = session_json(session);
      if (const auto at = by_id.find(raw(session.user)); at != by_id.end())
        entry["name"] = at->second->name;
      list.push_back(std::move(entry));
    }
    respond(connection, 200, json{{"sessions", std::move(list)}, {"next", listed.next}});
  };
  if (ids.empty()) return answer(page, {});
  // Names are a comfort: sessions are shown while the database is away, too.
  const auto asked =
      store().find_users(std::move(ids), [answer, page](Result<std::vector<store::User>> found) {
        answer(page, found ? *found : std::vector<store::User>{});
      });
  if (!asked) answer(page, {});
}

void AdminApi::kick_sessions(const Call& call) {
  const ParsedJson body = parse_object(call.request.body);
  if (!body.wrong.empty()) return fail(call.connection, 400, body.wrong);
  Fields fields(body.value);
  fields.require("user");
  const auto user       = fields.number("user", 1);
  const auto named      = fields.text("device", {}).value_or("all");
  const uint8_t devices = named == "all"      ? shard::Operator::kPc | shard::Operator::kMobile
                          : named == "pc"     ? shard::Operator::kPc
                          : named == "mobile" ? shard::Operator::kMobile
                                              : 0;
  if (devices == 0) fields.fail("device", "all, pc or mobile");
  if (const std::string wrong = fields.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  check(call.connection,
        setup_.shard.operations().kick(UserId(*user), devices, /*expel=*/false,
                                       [this, connection = call.connection](uint32_t n) {
                                         respond(connection, 200, json{{"kicked", n}});
                                       }));
}

}  // namespace ringtalk::gateway
