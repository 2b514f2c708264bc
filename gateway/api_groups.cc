// /api/v1/groups: groups, who is in them; /api/v1/messages: a message in a user's name.
//
// Order  Changes of members go through the group's home, as those of clients do: an answer comes when
//        every shard knows, and members have been told by 0x040b.
#include <fmt/format.h>

#include <algorithm>
#include <boost/unordered/unordered_flat_set.hpp>
#include <nlohmann/json.hpp>

#include "gateway/admin_api.h"
#include "gateway/api_fields.h"
#include "gateway/http_gateway.h"
#include "proto/text_codec.h"

namespace ringtalk::gateway {
namespace {

using nlohmann::json;
using shard::GroupOp;

constexpr TextRule kName{.characters_min = 1, .characters_max = shard::kGroupTextMax};
constexpr TextRule kAvatar{.characters_max = shard::kGroupTextMax};
constexpr uint32_t kListDefault = 100;
constexpr uint32_t kListMax     = 1000;
constexpr uint32_t kPageMax = 200;  // groups, whatever was asked for: each costs its shard some us

json group_json(const store::Group& group) {
  return {{"id", raw(group.id)},
          {"name", group.name},
          {"avatar", group.avatar},
          {"type", group.type == store::kGroupNormal ? "normal" : "temporary"},
          {"creator", raw(group.creator)},
          {"version", group.version},
          {"member_count", group.members},
          {"created", group.created}};
}

engine::Payload* body_of(std::span<const UserId> users) {
  return engine::Payload::copy(std::as_bytes(users));
}

}  // namespace

void AdminApi::fail_group(uint64_t connection, Error error) {
  if (error.code == Errc::refused)
    return fail(connection, 400, fmt::format("add: more than {} members", kMembersMax));
  fail(connection, error);
}

std::vector<UserId> AdminApi::read_users(Fields& fields, std::string_view key) {
  std::vector<UserId> users;
  if (!fields.has(key)) return users;
  const json* list = fields.list(key, store::kMembersPerCall);
  if (!list) return users;
  boost::unordered_flat_set<uint32_t> seen;
  for (const json& entry : *list) {
    const uint64_t id = entry.is_number_unsigned() ? entry.get<uint64_t>() : 0;
    const auto user   = UserId(static_cast<uint32_t>(id));
    if (id == 0 || id > UINT32_MAX || !setup_.shard.context().directory.reachable(user)) {
      fields.fail(key, "each a user who has not left");
      return {};
    }
    if (seen.insert(raw(user)).second) users.push_back(user);
  }
  return users;
}

// --- groups ---------------------------------------------------------------------------------------------------

void AdminApi::list_groups(const Call& call) {
  Query query(call.request.query);
  const auto after = query.number("after", 0, UINT32_MAX).value_or(0);
  const auto limit =
      std::min<uint64_t>(kPageMax, query.number("limit", 1, kListMax).value_or(kListDefault));
  if (const std::string wrong = query.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  check(call.connection,
        store().list_groups(
            GroupId(static_cast<uint32_t>(after)), static_cast<uint32_t>(limit),
            [this, connection = call.connection, limit](Result<std::vector<store::Group>> found) {
              if (!found) return fail(connection, found.error());
              json list = json::array();
              for (const store::Group& group : *found) list.push_back(group_json(group));
              const uint32_t next = found->size() < limit ? 0 : raw(found->back().id);
              respond(connection, 200, json{{"groups", std::move(list)}, {"next", next}});
            }));
}

void AdminApi::get_group(const Call& call) {
  check(call.connection, store().find_group(GroupId(call.id), [this, connection = call.connection](
                                                                  Result<store::Group> found) {
    if (!found) return fail(connection, found.error());
    respond(connection, 200, group_json(*found));
  }));
}

void AdminApi::add_group(const Call& call) {
  const ParsedJson body = parse_object(call.request.body);
  if (!body.wrong.empty()) return fail(call.connection, 400, body.wrong);
  Fields fields(body.value);
  fields.require("name");
  store::NewGroup group;
  group.name       = fields.text("name", kName).value_or("");
  group.avatar     = fields.text("avatar", kAvatar).value_or("");
  group.creator    = UserId(fields.number("creator").value_or(0));
  group.members    = read_users(fields, "members");
  const auto named = fields.text("type", {}).value_or("normal");
  group.type       = named == "normal" ? store::kGroupNormal : store::kGroupTemporary;
  if (named != "normal" && named != "temporary") fields.fail("type", "normal or temporary");
  if (raw(group.creator) != 0) {
    const bool in = std::ranges::find(group.members, group.creator) != group.members.end();
    if (!setup_.shard.context().directory.reachable(group.creator))
      fields.fail("creator", "a user who has not left, or 0");
    if (!in && group.members.size() == store::kMembersPerCall)
      fields.fail("members", fmt::format("with the creator, more than {}", store::kMembersPerCall));
    if (!in) group.members.push_back(group.creator);
  }
  if (const std::string wrong = fields.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  check(call.connection, store().add_group(std::move(group), [this, connection = call.connection](
                                                                 Result<store::Group> added) {
    if (!added) return fail(connection, added.error());
    open_group(connection, *added);
  }));
}

void AdminApi::open_group(uint64_t connection, const store::Group& group) {
  setup_.shard.groups().ask({.group = group.id, .op = GroupOp::open},
                            [this, connection, group](Error error, const engine::PayloadRef&) {
                              if (error.code != Errc::ok) return fail(connection, error);
                              respond(connection, 201, group_json(group));
                            });
}

void AdminApi::patch_group(const Call& call) {
  const ParsedJson body = parse_object(call.request.body);
  if (!body.wrong.empty()) return fail(call.connection, 400, body.wrong);
  Fields fields(body.value);
  store::GroupPatch patch;
  patch.name   = fields.text("name", kName);
  patch.avatar = fields.text("avatar", kAvatar);
  if (const std::string wrong = fields.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  if (body.value.empty()) return fail(call.connection, 400, "body: names no field to change");
  check(call.connection,
        store().update_group(GroupId(call.id), std::move(patch),
                             [this, connection = call.connection](Result<store::Group> updated) {
                               if (!updated) return fail(connection, updated.error());
                               setup_.shard.groups().ask(
                                   {.group = updated->id, .op = GroupOp::refresh},
                                   [this, connection, group = *updated](Error error,
                                                                        const engine::PayloadRef&) {
                                     if (error.code != Errc::ok) return fail(connection, error);
                                     respond(connection, 200, group_json(group));
                                   });
                             }));
}

void AdminApi::dismiss_group(const Call& call) {
  setup_.shard.groups().ask(
      {.group = GroupId(call.id), .op = GroupOp::dismiss},
      [this, connection = call.connection](Error error, const engine::PayloadRef&) {
        if (error.code != Errc::ok) return fail(connection, error);
        respond(connection, 200, json::object());
      });
}

// --- members --------------------------------------------------------------------------------------------------

void AdminApi::list_members(const Call& call) {
  Query query(call.request.query);
  const auto after = query.number("after", 0, UINT32_MAX).value_or(0);
  const auto limit = query.number("limit", 1, kListMax).value_or(kListDefault);
  if (const std::string wrong = query.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  const GroupId group{call.id};
  check(call.connection,
        store().find_group(group, [this, connection = call.connection, group, after,
                                   limit](const Result<store::Group>& found) {
          if (!found) return fail(connection, found.error());
          check(connection,
                store().list_members(
                    group, UserId(static_cast<uint32_t>(after)), static_cast<uint32_t>(limit),
                    [this, connection, limit](Result<std::vector<store::Member>> members) {
                      if (!members) return fail(connection, members.error());
                      json list = json::array();
                      for (const store::Member& member : *members)
                        list.push_back({{"user", raw(member.user)},
                                        {"first_message", member.first},
                                        {"muted", member.muted}});
                      const uint32_t next = members->size() < limit ? 0 : raw(members->back().user);
                      respond(connection, 200, json{{"members", std::move(list)}, {"next", next}});
                    }));
        }));
}

void AdminApi::change_members(const Call& call) {
  const ParsedJson body = parse_object(call.request.body);
  if (!body.wrong.empty()) return fail(call.connection, 400, body.wrong);
  Fields fields(body.value);
  const bool add = fields.has("add");
  if (add == fields.has("remove")) return fail(call.connection, 400, "body: either add or remove");
  std::vector<UserId> users;
  if (add) {
    users = read_users(fields, "add");
  } else if (const json* list = fields.list("remove", store::kMembersPerCall)) {
    for (const json& entry : *list) {  // whoever has left may still be in it
      if (!entry.is_number_unsigned() || entry.get<uint64_t>() > UINT32_MAX)
        fields.fail("remove", "each a user's id");
      else
        users.push_back(UserId(entry.get<uint32_t>()));
    }
  }
  if (const std::string wrong = fields.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  setup_.shard.groups().ask(
      {.group = GroupId(call.id),
       .value = kMembersMax,
       .op    = add ? GroupOp::add : GroupOp::remove,
       .body  = body_of(users)},
      [this, connection = call.connection](Error error, const engine::PayloadRef& changed) {
        if (error.code != Errc::ok) return fail_group(connection, error);
        const auto head = load_native<shard::GroupChanged>(changed.bytes().data());
        json list       = json::array();
        for (uint32_t i = 0; i < head.changed; ++i)
          list.push_back(
              load_native<uint32_t>(changed.bytes().data() + sizeof head + i * sizeof(uint32_t)));
        respond(connection, 200, json{{"version", head.version}, {"changed", std::move(list)}});
      });
}

void AdminApi::add_everybody(const Call& call) {
  if (!call.request.body.empty()) {
    const ParsedJson body   = parse_object(call.request.body);
    const std::string wrong = body.wrong.empty() ? Fields(body.value).wrong() : body.wrong;
    if (!wrong.empty()) return fail(call.connection, 400, wrong);
  }
  add_users_after(call.connection, GroupId(call.id), UserId{}, 0);
}

// Page by page: other requests of the store get through between them.
void AdminApi::add_users_after(uint64_t connection, GroupId group, UserId after, uint32_t added) {
  check(
      connection,
      store().list_users(
          after, store::kMembersPerCall,
          [this, connection, group, added](const Result<std::vector<store::User>>& found) {
            if (!found) return fail(connection, found.error());
            std::vector<UserId> users;
            for (const store::User& user : *found)
              if (user.status != store::kUserLeft) users.push_back(user.id);
            const bool more   = found->size() == store::kMembersPerCall;
            const UserId last = more ? found->back().id : UserId{};
            setup_.shard.groups().ask(
                {.group = group, .value = kMembersMax, .op = GroupOp::add, .body = body_of(users)},
                [this, connection, group, added, more, last](Error error,
                                                             const engine::PayloadRef& changed) {
                  if (error.code != Errc::ok) return fail_group(connection, error);
                  const auto head = load_native<shard::GroupChanged>(changed.bytes().data());
                  if (more) return add_users_after(connection, group, last, added + head.changed);
                  respond(connection, 200,
                          json{{"version", head.version}, {"added", added + head.changed}});
                });
          }));
}

// --- messages -------------------------------------------------------------------------------------------------

void AdminApi::put_message(const Call& call) {
  const ParsedJson body = parse_object(call.request.body);
  if (!body.wrong.empty()) return fail(call.connection, 400, body.wrong);
  Fields fields(body.value);
  fields.require("from");
  fields.require("text");
  const auto from  = fields.number("from", 1);
  const auto user  = fields.number("user", 1);
  const auto group = fields.number("group", 1);
  const auto text  = fields.secret("text", proto::kPlainTextBytesMax);
  if (fields.has("user") == fields.has("group")) fields.fail("user", "either user or group");
  if (user && user == from) fields.fail("user", "is the sender");
  if (const std::string wrong = fields.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  const std::string content = proto::TextCodec(setup_.limits.text_key).encrypt(*text);
  const auto type = group ? proto::MessageType::group_text : proto::MessageType::single_text;
  const auto told = [this, connection = call.connection](Error error, uint32_t id, uint32_t time) {
    if (error.code == Errc::ok)
      return respond(connection, 201, json{{"msg_id", id}, {"time", time}});
    if (error.code == Errc::not_found)
      return fail(connection, 404, "no such user or group, or the sender is not in it");
    if (error.code == Errc::refused) return fail(connection, 503, "disk full");
    fail(connection, error);
  };
  check(call.connection,
        setup_.shard.operations().post(UserId(*from), group ? *group : *user,
                                       static_cast<uint8_t>(type), as_bytes(content), told));
}

}  // namespace ringtalk::gateway
