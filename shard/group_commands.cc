#include "shard/group_commands.h"

#include <algorithm>
#include <boost/unordered/unordered_flat_set.hpp>
#include <utility>

#include "proto/group.pb.h"
#include "proto/parse.h"
#include "proto/utf8.h"
#include "shard/extension.h"
#include "shard/frames.h"
#include "shard/groups.h"
#include "shard/membership.h"

namespace ringtalk::shard {

using engine::PayloadRef;
using proto::CommandId;

namespace {

constexpr size_t kInfosBytesMax = 380 * kKiB;

bool is_text(const std::string& text) {
  const auto characters = proto::count_utf8_characters(as_bytes(text));
  return characters && *characters <= kGroupTextMax;
}

// That one request may name.
uint32_t members_max(const Limits& limits) {
  return std::min(limits.group_members_max, store::kMembersPerCall);
}

// Each once, in the order named, without 0.
template <class Ids>
std::vector<UserId> distinct(const Ids& ids) {
  boost::unordered_flat_set<uint32_t> seen;
  std::vector<UserId> users;
  for (const uint32_t id : ids)
    if (id != 0 && seen.insert(id).second) users.push_back(UserId(id));
  return users;
}

}  // namespace

Session* GroupCommands::release(SessionKey key) {
  Session* session = context_.sessions.find(key);
  if (!session || !session->busy) return nullptr;
  session->busy = false;
  session->wake();
  return session->is_open() ? session : nullptr;
}

// --- 0x0401, 0x0403 ---------------------------------------------------------------------------------------------

Taken GroupCommands::list(Session& session, uint16_t sequence, Bytes body) {
  IM::Group::IMNormalGroupListReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  IM::Group::IMNormalGroupListRsp response;
  response.set_user_id(raw(session.user));
  uint32_t looked_at = 0;
  context_.memberships->each(session.user, [&](const Held& held, uint32_t version) {
    ++looked_at;
    if (held.type != store::kGroupNormal) return;
    auto& info = *response.add_group_version_list();
    info.set_group_id(raw(held.group));
    info.set_version(version);
  });
  context_.charge(session, looked_at);
  answer(session, frame_of(CommandId::normal_group_list_response, sequence, response));
  return Taken::taken;
}

Taken GroupCommands::info(Session& session, uint16_t sequence, Bytes body) {
  IM::Group::IMGroupInfoListReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  context_.charge(session, static_cast<uint32_t>(request.group_version_list_size()));
  Infos infos{.session = session.key, .sequence = sequence, .wanted = {}};
  boost::unordered_flat_set<uint32_t> seen;
  for (const auto& wanted : request.group_version_list())
    if (seen.insert(wanted.group_id()).second &&
        context_.memberships->find(session.user, GroupId(wanted.group_id())))
      infos.wanted.push_back({GroupId(wanted.group_id()), wanted.version(), {}});
  session.busy         = true;
  const uint32_t index = infos_.take();
  infos_[index]        = std::move(infos);
  advance(index);
  return Taken::taken;
}

// Answers may come within the question: they are only noted then, and looked at here.
void GroupCommands::advance(uint32_t index) {
  if (std::exchange(infos_[index].advancing, true)) return;
  const auto goes_on = [this, index] {
    const Infos& infos = infos_[index];
    return infos.begun < infos.wanted.size() && !infos.failed && infos.bytes <= kInfosBytesMax;
  };
  while (goes_on() && infos_[index].asking < kInfosAtOnce) {
    Infos& infos           = infos_[index];
    const uint32_t place   = infos.begun++;
    const Wanted& wanted   = infos.wanted[place];
    const Session* session = context_.sessions.find(infos.session);
    const UserId user      = session ? session->user : UserId{};
    const Held* held       = context_.memberships->find(user, wanted.group);
    if (!held) continue;
    ++infos.asking;
    context_.groups->ask({.group  = wanted.group,
                          .user   = user,
                          .value  = wanted.version,
                          .op     = GroupOp::info,
                          .member = true,
                          .muted  = held->muted},
                         [this, index, place](Error error, PayloadRef found) {
                           on_info(index, place, error, std::move(found));
                         });
  }
  infos_[index].advancing = false;
  if (!goes_on() && infos_[index].asking == 0) complete(index);
}

void GroupCommands::on_info(uint32_t index, uint32_t place, Error error, PayloadRef found) {
  Infos& infos = infos_[index];
  --infos.asking;
  infos.failed |= error.code != Errc::ok && error.code != Errc::not_found;
  infos.bytes += found.bytes().size();
  infos.wanted[place].found = std::move(found);
  advance(index);
}

void GroupCommands::complete(uint32_t index) {
  const Infos infos = infos_.give_back(index);
  Session* session  = release(infos.session);
  if (!session) return;
  if (infos.failed)
    return refuse(context_, session, CommandId::group_info_list_request, infos.sequence,
                  IM::Ext::Sys::EXT_RESULT_STORAGE);
  IM::Group::IMGroupInfoListRsp response;
  response.set_user_id(raw(session->user));
  size_t bytes    = 0;
  uint32_t listed = 0;
  for (const Wanted& wanted : infos.wanted) {
    const Bytes found = wanted.found.bytes();
    bytes += found.size();
    if (bytes > kInfosBytesMax && listed > 0) break;
    if (found.empty()) continue;
    ++listed;
    auto& info = *response.add_group_info_list();
    RT_ASSERT(info.ParseFromArray(found.data(), static_cast<int>(found.size())));
    context_.charge(*session, static_cast<uint32_t>(info.group_member_list_size()));
  }
  answer(*session, frame_of(CommandId::group_info_list_response, infos.sequence, response));
}

// --- 0x0405 -----------------------------------------------------------------------------------------------------

Taken GroupCommands::create(Session& session, uint16_t sequence, Bytes body) {
  IM::Group::IMGroupCreateReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  NewGroup group{.session  = session.key,
                 .user     = session.user,
                 .sequence = sequence,
                 .name     = request.group_name(),
                 .members  = distinct(request.member_id_list())};
  context_.charge(session, static_cast<uint32_t>(request.member_id_list_size()));
  std::erase_if(group.members, [&](UserId user) { return !context_.directory.reachable(user); });
  const bool nobody = group.members.empty();
  if (std::ranges::find(group.members, session.user) == group.members.end())
    group.members.push_back(session.user);
  const bool valid = request.group_type() == IM::BaseDefine::GROUP_TYPE_TMP && !nobody &&
                     !group.name.empty() && is_text(group.name) &&
                     is_text(request.group_avatar()) &&
                     group.members.size() <= members_max(context_.limits);
  if (!valid) {
    answer_create(session, group, GroupId{});
    return Taken::taken;
  }
  const auto made = context_.store.add_group({.name    = group.name,
                                              .avatar  = request.group_avatar(),
                                              .creator = session.user,
                                              .type    = store::kGroupTemporary,
                                              .members = group.members},
                                             [this, group](const Result<store::Group>& row) {
                                               --asked_;
                                               on_made(group, row);
                                             });
  if (made) {
    ++asked_;
    session.busy = true;
    return Taken::taken;
  }
  if (made.error().code == Errc::full) return context_.stall(session);
  answer_create(session, group, GroupId{});
  return Taken::taken;
}

void GroupCommands::on_made(const NewGroup& group, const Result<store::Group>& made) {
  if (!made) {
    if (Session* session = release(group.session)) answer_create(*session, group, GroupId{});
    return;
  }
  ++asked_;
  context_.groups->ask({.group = made->id, .op = GroupOp::open},
                       [this, group, id = made->id](Error, const PayloadRef&) {
                         --asked_;
                         // Should its home not have heard, it reads the rows when it is asked.
                         if (Session* session = release(group.session))
                           answer_create(*session, group, id);
                       });
}

void GroupCommands::answer_create(Session& session, const NewGroup& group, GroupId made) {
  IM::Group::IMGroupCreateRsp response;
  response.set_user_id(raw(session.user));
  response.set_result_code(raw(made) == 0 ? 1 : 0);
  // Echoed even when it is refused, but not what would make the answer as large as the request.
  response.set_group_name(is_text(group.name) ? group.name : std::string());
  if (raw(made) != 0) {
    response.set_group_id(raw(made));
    for (const UserId user : group.members) response.add_user_id_list(raw(user));
  }
  answer(session, frame_of(CommandId::group_create_response, group.sequence, response));
}

// --- 0x0407 -----------------------------------------------------------------------------------------------------

Taken GroupCommands::change(Session& session, uint16_t sequence, Bytes body) {
  IM::Group::IMGroupChangeMemberReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const GroupId group{request.group_id()};
  const auto type = request.change_type();
  const bool add  = type == IM::BaseDefine::GROUP_MODIFY_TYPE_ADD;
  auto users      = distinct(request.member_id_list());
  context_.charge(session, static_cast<uint32_t>(request.member_id_list_size()));
  if (add) std::erase_if(users, [&](UserId user) { return !context_.directory.reachable(user); });
  if (raw(group) == 0 || users.size() > members_max(context_.limits)) {
    answer_change(session, sequence, group, type, {}, {});
    return Taken::taken;
  }
  session.busy = true;
  ++asked_;
  context_.groups->ask(
      {.group   = group,
       .user    = session.user,
       .session = session.key,
       .value   = context_.limits.group_members_max,
       .op      = add ? GroupOp::add : GroupOp::remove,
       .member  = context_.memberships->find(session.user, group) != nullptr,
       .body    = engine::Payload::copy(std::as_bytes(std::span(users)))},
      [this, key = session.key, sequence, group, type, users](Error, const PayloadRef& changed) {
        --asked_;
        if (Session* asker = release(key))
          answer_change(*asker, sequence, group, type, users, changed);
      });
  return Taken::taken;
}

// changed: null: it was refused.
void GroupCommands::answer_change(Session& session, uint16_t sequence, GroupId group,
                                  IM::BaseDefine::GroupModifyType type,
                                  const std::vector<UserId>& named, const PayloadRef& changed) {
  IM::Group::IMGroupChangeMemberRsp response;
  response.set_user_id(raw(session.user));
  response.set_change_type(type);
  response.set_result_code(changed ? 0 : 1);
  response.set_group_id(raw(group));
  if (changed) {
    const auto head = load_native<GroupChanged>(changed.bytes().data());
    Bytes rest      = changed.bytes().subspan(sizeof head);
    const auto take = [&rest] {
      const auto id = load_native<uint32_t>(rest.data());
      rest          = rest.subspan(sizeof id);
      return id;
    };
    // Added: those who are new. Removed: those who were named, as clients know it.
    const bool add = type == IM::BaseDefine::GROUP_MODIFY_TYPE_ADD;
    for (uint32_t i = 0; i < head.changed; ++i) {
      const uint32_t id = take();
      if (add) response.add_chg_user_id_list(id);
    }
    if (!add)
      for (const UserId user : named) response.add_chg_user_id_list(raw(user));
    for (uint32_t i = 0; i < head.listed; ++i) response.add_cur_user_id_list(take());
  }
  answer(session, frame_of(CommandId::group_change_member_response, sequence, response));
}

// --- 0x0409 -----------------------------------------------------------------------------------------------------

Taken GroupCommands::mute(Session& session, uint16_t sequence, Bytes body) {
  IM::Group::IMGroupShieldReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const GroupId group{request.group_id()};
  if (request.shield_status() > 1 || !context_.memberships->find(session.user, group)) {
    answer_mute(session, sequence, group, false);
    return Taken::taken;
  }
  const bool muted = request.shield_status() == 1;
  const auto asked = context_.store.mute_group(
      session.user, group, muted,
      [this, key = session.key, user = session.user, sequence, group, muted](Result<void> done) {
        --asked_;
        Held* held = context_.memberships->find(user, group);
        if (done && held) held->muted = muted;
        if (Session* asker = release(key)) answer_mute(*asker, sequence, group, done.has_value());
      });
  if (asked) {
    ++asked_;
    session.busy = true;
    return Taken::taken;
  }
  if (asked.error().code == Errc::full) return context_.stall(session);
  answer_mute(session, sequence, group, false);
  return Taken::taken;
}

void GroupCommands::answer_mute(Session& session, uint16_t sequence, GroupId group, bool done) {
  IM::Group::IMGroupShieldRsp response;
  response.set_user_id(raw(session.user));
  response.set_group_id(raw(group));
  response.set_result_code(done ? 0 : 1);
  answer(session, frame_of(CommandId::group_shield_response, sequence, response));
}

}  // namespace ringtalk::shard
