// Groups through the whole server at 1, 2 and 4 shards: who is in them, who hears what and from which
// message on, logins in the middle of changes; and a simulation against a model of what must be true.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <set>

#include "proto/buddy.pb.h"
#include "proto/ext_sys.pb.h"
#include "proto/group.pb.h"
#include "shard/groups.h"
#include "shard/membership.h"
#include "tests/shard/harness.h"

namespace ringtalk::sim {
namespace {

using shard::GroupOp;
using Ids = std::vector<uint32_t>;

constexpr auto kGroup        = IM::BaseDefine::SESSION_TYPE_GROUP;
constexpr auto kTemporary    = IM::BaseDefine::GROUP_TYPE_TMP;
constexpr uint16_t kSequence = 0xfd02;
constexpr uint32_t kText     = IM::BaseDefine::MSG_TYPE_GROUP_TEXT;
constexpr uint32_t kNoGroup  = 77;  // nobody made it

Options unpaced(uint32_t shards, uint32_t users = 8) {
  Options o                    = {.shards = shards, .users = users};
  o.limits.sends_per_second    = 0;
  o.limits.requests_per_second = 0;
  return o;
}

Ids range(uint32_t from, uint32_t to) {
  Ids ids;
  for (uint32_t id = from; id <= to; ++id) ids.push_back(id);
  return ids;
}

// --- what clients say ------------------------------------------------------------------------------------

std::string group_frame(uint32_t group, std::string_view text, uint16_t sequence) {
  return chat_frame(group, text, sequence, {}, kText);
}

std::string create_frame(const Ids& members, std::string_view name = "we",
                         std::string_view avatar        = "",
                         IM::BaseDefine::GroupType type = kTemporary) {
  IM::Group::IMGroupCreateReq request;
  request.set_user_id(3);  // claims somebody else
  request.set_group_type(type);
  request.set_group_name(std::string(name));
  request.set_group_avatar(std::string(avatar));
  for (const uint32_t id : members) request.add_member_id_list(id);
  return frame(CommandId::group_create_request, kSequence, request);
}

std::string change_frame(uint32_t group, bool add, const Ids& users,
                         uint16_t sequence = kSequence) {
  IM::Group::IMGroupChangeMemberReq request;
  request.set_user_id(3);
  request.set_change_type(add ? IM::BaseDefine::GROUP_MODIFY_TYPE_ADD
                              : IM::BaseDefine::GROUP_MODIFY_TYPE_DEL);
  request.set_group_id(group);
  for (const uint32_t id : users) request.add_member_id_list(id);
  return frame(CommandId::group_change_member_request, sequence, request);
}

// Settles, and takes the one answer.
template <class M>
M asked(World& world, Client& client, const std::string& question, CommandId response) {
  const size_t before = client.count(response);
  client.write(question);
  world.settle();
  const auto answers = client.all(response);
  EXPECT_EQ(answers.size(), before + 1);
  if (answers.size() <= before) return {};
  EXPECT_EQ(answers.back()->header.sequence, kSequence);
  const M message = answers.back()->as<M>();
  EXPECT_EQ(message.user_id(), client.user) << "the connection's user, whatever the body claims";
  return message;
}

IM::Group::IMGroupCreateRsp create_answer(World& world, Client& client, const std::string& asks) {
  return asked<IM::Group::IMGroupCreateRsp>(world, client, asks, CommandId::group_create_response);
}

uint32_t create(World& world, Client& client, const Ids& members) {
  const auto made = create_answer(world, client, create_frame(members));
  EXPECT_EQ(made.result_code(), 0u);
  EXPECT_GT(made.group_id(), 0u);
  return made.group_id();
}

IM::Group::IMGroupChangeMemberRsp change(World& world, Client& client, uint32_t group, bool add,
                                         const Ids& users) {
  return asked<IM::Group::IMGroupChangeMemberRsp>(world, client, change_frame(group, add, users),
                                                  CommandId::group_change_member_response);
}

std::vector<IM::BaseDefine::GroupInfo> infos(World& world, Client& client,
                                             const std::vector<std::pair<uint32_t, uint32_t>>& of) {
  IM::Group::IMGroupInfoListReq request;
  request.set_user_id(0);
  for (const auto& [group, version] : of) {
    auto& wanted = *request.add_group_version_list();
    wanted.set_group_id(group);
    wanted.set_version(version);
  }
  const auto response = asked<IM::Group::IMGroupInfoListRsp>(
      world, client, frame(CommandId::group_info_list_request, kSequence, request),
      CommandId::group_info_list_response);
  return {response.group_info_list().begin(), response.group_info_list().end()};
}

Ids members_of(World& world, Client& client, uint32_t group) {
  const auto list = infos(world, client, {{group, 0}});
  if (list.size() != 1) return {};
  return {list[0].group_member_list().begin(), list[0].group_member_list().end()};
}

std::map<uint32_t, uint32_t> normal_groups(World& world, Client& client) {
  IM::Group::IMNormalGroupListReq request;
  request.set_user_id(0);
  const auto response = asked<IM::Group::IMNormalGroupListRsp>(
      world, client, frame(CommandId::normal_group_list_request, kSequence, request),
      CommandId::normal_group_list_response);
  std::map<uint32_t, uint32_t> found;
  for (const auto& info : response.group_version_list()) found[info.group_id()] = info.version();
  return found;
}

uint32_t mute(World& world, Client& client, uint32_t group, uint32_t status) {
  IM::Group::IMGroupShieldReq request;
  request.set_user_id(0);
  request.set_group_id(group);
  request.set_shield_status(status);
  const auto response = asked<IM::Group::IMGroupShieldRsp>(
      world, client, frame(CommandId::group_shield_request, kSequence, request),
      CommandId::group_shield_response);
  EXPECT_EQ(response.group_id(), group);
  return response.result_code();
}

struct Unread {
  uint32_t count, newest;
  friend bool operator==(const Unread&, const Unread&) = default;
};
std::map<uint32_t, Unread> unread(World& world, Client& client) {
  IM::Message::IMUnreadMsgCntReq request;
  request.set_user_id(0);
  const auto response = asked<IM::Message::IMUnreadMsgCntRsp>(
      world, client, frame(CommandId::unread_msg_cnt_request, kSequence, request),
      CommandId::unread_msg_cnt_response);
  std::map<uint32_t, Unread> found;
  uint32_t sum = 0;
  for (const auto& info : response.unreadinfo_list()) {
    EXPECT_EQ(info.session_type(), kGroup);
    found[info.session_id()] = {info.unread_cnt(), info.latest_msg_id()};
    sum += info.unread_cnt();
  }
  EXPECT_EQ(response.total_cnt(), sum);
  return found;
}

Ids page(World& world, Client& client, uint32_t group, uint32_t from = 0, uint32_t count = 100) {
  IM::Message::IMGetMsgListReq request;
  request.set_user_id(0);
  request.set_session_type(kGroup);
  request.set_session_id(group);
  request.set_msg_id_begin(from);
  request.set_msg_cnt(count);
  const auto response = asked<IM::Message::IMGetMsgListRsp>(
      world, client, frame(CommandId::get_msg_list_request, kSequence, request),
      CommandId::get_msg_list_response);
  Ids ids;
  for (const auto& info : response.msg_list()) ids.insert(ids.begin(), info.msg_id());
  return ids;
}

Ids by_id(World& world, Client& client, uint32_t group, const Ids& wanted) {
  IM::Message::IMGetMsgByIdReq request;
  request.set_user_id(0);
  request.set_session_type(kGroup);
  request.set_session_id(group);
  for (const uint32_t id : wanted) request.add_msg_id_list(id);
  const auto response = asked<IM::Message::IMGetMsgByIdRsp>(
      world, client, frame(CommandId::get_msg_by_id_request, kSequence, request),
      CommandId::get_msg_by_id_response);
  Ids ids;
  for (const auto& info : response.msg_list()) ids.insert(ids.begin(), info.msg_id());
  return ids;
}

uint32_t latest(World& world, Client& client, uint32_t group) {
  IM::Message::IMGetLatestMsgIdReq request;
  request.set_user_id(0);
  request.set_session_type(kGroup);
  request.set_session_id(group);
  return asked<IM::Message::IMGetLatestMsgIdRsp>(
             world, client, frame(CommandId::get_latest_msg_id_request, kSequence, request),
             CommandId::get_latest_msg_id_response)
      .latest_msg_id();
}

std::string read_frame(uint32_t group, uint32_t msg_id) {
  IM::Message::IMMsgDataReadAck ack;
  ack.set_user_id(0);
  ack.set_session_id(group);
  ack.set_msg_id(msg_id);
  ack.set_session_type(kGroup);
  return frame(CommandId::msg_data_read_ack, 0, ack);
}

std::set<uint32_t> sessions(World& world, Client& client) {
  IM::Buddy::IMRecentContactSessionReq request;
  request.set_user_id(0);
  request.set_latest_update_time(0);
  const auto response = asked<IM::Buddy::IMRecentContactSessionRsp>(
      world, client, frame(CommandId::recent_contact_session_request, kSequence, request),
      CommandId::recent_contact_session_response);
  std::set<uint32_t> ids;
  for (const auto& info : response.contact_session_list()) {
    EXPECT_EQ(info.session_type(), kGroup);
    ids.insert(info.session_id());
  }
  return ids;
}

uint32_t take_off(World& world, Client& client, uint32_t group) {
  IM::Buddy::IMRemoveSessionReq request;
  request.set_user_id(0);
  request.set_session_type(kGroup);
  request.set_session_id(group);
  const auto response = asked<IM::Buddy::IMRemoveSessionRsp>(
      world, client, frame(CommandId::remove_session_request, kSequence, request),
      CommandId::remove_session_response);
  EXPECT_EQ(response.session_id(), group);
  EXPECT_EQ(response.session_type(), kGroup);
  return response.result_code();
}

void hello(World& world, Client& client) {
  IM::Ext::Sys::ExtHelloReq request;
  request.set_user_id(0);
  request.set_ext_version(1);
  request.set_features(63);
  client.write(frame(CommandId::ext_hello_request, kSequence, request));
  world.settle();
  EXPECT_EQ(client.count(CommandId::ext_hello_response), 1u);
}

// --- what clients hear -----------------------------------------------------------------------------------

Ids heard(const Client& client, uint32_t group) {
  Ids ids;
  for (const Delivery& d : client.deliveries())
    if (d.to == group) ids.push_back(d.msg_id);
  return ids;
}

struct Notice {
  uint32_t by, group;
  bool added;
  Ids current, changed;
  friend bool operator==(const Notice&, const Notice&) = default;
};
std::vector<Notice> notices(const Client& client) {
  std::vector<Notice> found;
  for (const Frame* f : client.all(CommandId::group_change_member_notify)) {
    EXPECT_EQ(f->header.sequence, 0);
    const auto m = f->as<IM::Group::IMGroupChangeMemberNotify>();
    found.push_back({m.user_id(),
                     m.group_id(),
                     m.change_type() == IM::BaseDefine::GROUP_MODIFY_TYPE_ADD,
                     {m.cur_user_id_list().begin(), m.cur_user_id_list().end()},
                     {m.chg_user_id_list().begin(), m.chg_user_id_list().end()}});
  }
  return found;
}

// --- the administration and the store --------------------------------------------------------------------

engine::Payload* body_of(const Ids& users) {
  return engine::Payload::copy(std::as_bytes(std::span(users)));
}

void operate(World& world, GroupOp op, uint32_t group, const Ids& users,
             std::function<void(Error)> done, uint32_t through = 0) {
  const bool body = op == GroupOp::add || op == GroupOp::remove;
  world.seat(through).shard->groups().ask(
      {.group = GroupId(group),
       .value = 1'000'000,
       .op    = op,
       .body  = body ? body_of(users) : nullptr},
      [done = std::move(done)](Error error, const engine::PayloadRef&) { done(error); });
}

Errc operated(World& world, GroupOp op, uint32_t group, const Ids& users = {}) {
  std::optional<Error> told;
  operate(world, op, group, users, [&told](Error error) { told = error; });
  world.settle();
  EXPECT_TRUE(told.has_value());
  return told ? told->code : Errc::closed;
}

template <class T, class Ask>
Result<T> stored(World& world, Ask&& ask, uint32_t shard = 0) {
  std::optional<Result<T>> result;
  EXPECT_TRUE(ask(*world.seat(shard).store,
                  store::Callback<T>([&result](Result<T> got) { result = std::move(got); })));
  world.settle();
  EXPECT_TRUE(result.has_value());
  return std::move(*result);
}

// As the administration makes them.
uint32_t found_group(World& world, const Ids& members, uint8_t type = store::kGroupNormal,
                     uint32_t creator = 0) {
  store::NewGroup group{
      .name = "made", .avatar = "face", .creator = UserId(creator), .type = type, .members = {}};
  for (const uint32_t id : members) group.members.push_back(UserId(id));
  const auto made = stored<store::Group>(world, [&](store::Store& s, auto done) {
    return s.add_group(std::move(group), std::move(done));
  });
  EXPECT_TRUE(made.has_value());
  EXPECT_EQ(operated(world, GroupOp::open, raw(made->id)), Errc::ok);
  return raw(made->id);
}

std::map<uint32_t, uint32_t> stored_members(World& world, uint32_t group) {  // first by user
  const auto rows = stored<std::vector<store::Member>>(world, [&](store::Store& s, auto done) {
    return s.list_members(GroupId(group), UserId{}, store::kMembersPerCall, std::move(done));
  });
  std::map<uint32_t, uint32_t> found;
  for (const store::Member& row : *rows) found[raw(row.user)] = row.first;
  return found;
}

uint32_t home_of_group(World& world, uint32_t group) {
  return shard::home(GroupId(group), world.shards());
}

// --- cases -----------------------------------------------------------------------------------------------

class Groups : public testing::TestWithParam<uint32_t> {
 protected:
  Options options(uint32_t users = 8) { return unpaced(GetParam(), users); }

  // Says something and returns the id it got, 0: none.
  static uint32_t say(World& world, Client& client, uint32_t group, const std::string& text) {
    const auto number = static_cast<uint16_t>(++said_);
    client.write(group_frame(group, text, number));
    world.settle();
    const auto acks = client.acks();
    return acks.contains(number) ? acks.at(number) : 0;
  }
  static inline uint16_t said_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Shards, Groups, testing::Values(1, 2, 4));

TEST_P(Groups, CreatingAnswersAndNobodyIsNotified) {
  World world(options());
  Client& creator = world.enter(1);
  Client& phone   = world.enter(1, kPhone);
  Client& two     = world.enter(2);
  Client& three   = world.enter(3);
  const auto made = create_answer(world, creator, create_frame({2, 3, 3, 0, 99, 2}, "姓名"));
  EXPECT_EQ(made.result_code(), 0u);
  EXPECT_EQ(made.group_name(), "姓名");
  EXPECT_EQ(Ids(made.user_id_list().begin(), made.user_id_list().end()), (Ids{2, 3, 1}))
      << "each once, those that exist, and the creator";
  const uint32_t group = made.group_id();
  for (const Client* client : {&creator, &phone, &two, &three})
    EXPECT_TRUE(notices(*client).empty());
  for (Client* client : {&creator, &phone, &two, &three}) {
    const auto list = infos(world, *client, {{group, 0}});
    ASSERT_EQ(list.size(), 1u);
    EXPECT_EQ(list[0].group_id(), group);
    EXPECT_EQ(list[0].version(), 1u);
    EXPECT_EQ(list[0].group_name(), "姓名");
    EXPECT_EQ(list[0].group_creator_id(), 1u);
    EXPECT_EQ(list[0].group_type(), kTemporary);
    EXPECT_EQ(list[0].shield_status(), 0u);
    EXPECT_EQ(Ids(list[0].group_member_list().begin(), list[0].group_member_list().end()),
              (Ids{1, 2, 3}));
  }
  EXPECT_EQ(say(world, three, group, "at once"), 1u);
  for (const Client* client : {&creator, &phone, &two}) EXPECT_EQ(heard(*client, group), Ids{1});
  EXPECT_TRUE(heard(three, group).empty());
}

TEST_P(Groups, WhatIsNoGroupIsRefused) {
  Options o                  = options();
  o.limits.group_members_max = 4;
  World world(o);
  Client& creator          = world.enter(1);
  const std::string wide   = std::string(256, 'n');
  const std::string asks[] = {create_frame({2}, ""),
                              create_frame({2}, wide + "n"),
                              create_frame({2}, "we", wide + "n"),
                              create_frame({2}, "\xff"),
                              create_frame({}),
                              create_frame({0, 99}),
                              create_frame({2, 3, 4, 5}),
                              create_frame({2}, "we", "", IM::BaseDefine::GROUP_TYPE_NORMAL)};
  for (const std::string& ask : asks) {
    const auto answer = create_answer(world, creator, ask);
    EXPECT_EQ(answer.result_code(), 1u);
    EXPECT_FALSE(answer.has_group_id());
    EXPECT_EQ(answer.user_id_list_size(), 0);
    EXPECT_LE(answer.group_name().size(), wide.size());
  }
  EXPECT_EQ(create_answer(world, creator, create_frame({2, 3, 4}, wide, wide)).result_code(), 0u);
}

TEST_P(Groups, MembersAddTheCreatorRemovesAnybodyGoes) {
  Options o                  = options();
  o.limits.group_members_max = 5;
  World world(o);
  std::vector<Client*> at{nullptr};
  for (uint32_t user = 1; user <= 6; ++user) at.push_back(&world.enter(user));
  const uint32_t group = create(world, *at[1], {2, 3});

  const auto current = [](const IM::Group::IMGroupChangeMemberRsp& answer) {
    return Ids(answer.cur_user_id_list().begin(), answer.cur_user_id_list().end());
  };
  const auto changed = [](const IM::Group::IMGroupChangeMemberRsp& answer) {
    return Ids(answer.chg_user_id_list().begin(), answer.chg_user_id_list().end());
  };
  auto answer = change(world, *at[2], group, true, {4, 3, 99, 4});
  EXPECT_EQ(answer.result_code(), 0u) << "a member";
  EXPECT_EQ(answer.change_type(), IM::BaseDefine::GROUP_MODIFY_TYPE_ADD);
  EXPECT_EQ(answer.group_id(), group);
  EXPECT_EQ(changed(answer), Ids{4}) << "those who are new";
  EXPECT_EQ(current(answer), (Ids{1, 2, 3, 4}));

  // No member, no such group: the same.
  const auto foreign = change(world, *at[5], group, true, {5});
  const auto missing = change(world, *at[5], kNoGroup, true, {5});
  EXPECT_EQ(foreign.result_code(), 1u);
  EXPECT_EQ(missing.result_code(), 1u);
  EXPECT_EQ(foreign.cur_user_id_list_size() + foreign.chg_user_id_list_size(), 0);
  EXPECT_EQ(foreign.ByteSizeLong(), missing.ByteSizeLong());
  EXPECT_EQ(change(world, *at[5], group, false, {2}).result_code(), 1u);
  EXPECT_EQ(change(world, *at[5], 0, true, {5}).result_code(), 1u);

  EXPECT_EQ(change(world, *at[2], group, false, {3}).result_code(), 1u) << "not the creator";
  EXPECT_EQ(change(world, *at[2], group, false, {2, 3}).result_code(), 1u);
  EXPECT_EQ(change(world, *at[2], group, true, {5, 6}).result_code(), 1u) << "six are too many";
  EXPECT_EQ(members_of(world, *at[3], group), (Ids{1, 2, 3, 4}));

  answer = change(world, *at[2], group, false, {2});
  EXPECT_EQ(answer.result_code(), 0u) << "he may go";
  EXPECT_EQ(current(answer), (Ids{1, 3, 4}));
  EXPECT_TRUE(members_of(world, *at[2], group).empty());
  EXPECT_EQ(change(world, *at[2], group, true, {2}).result_code(), 1u) << "but not come back";

  EXPECT_EQ(change(world, *at[1], group, false, {1}).result_code(), 1u) << "only as the last";
  EXPECT_EQ(change(world, *at[1], group, false, {1, 3, 4}).result_code(), 1u);
  answer = change(world, *at[1], group, false, {3, 6, 4});
  EXPECT_EQ(answer.result_code(), 0u);
  EXPECT_EQ(changed(answer), (Ids{3, 6, 4})) << "as named";
  EXPECT_EQ(current(answer), Ids{1});
  EXPECT_EQ(say(world, *at[1], group, "alone"), 1u);
  answer = change(world, *at[1], group, false, {1});
  EXPECT_EQ(answer.result_code(), 0u);
  EXPECT_TRUE(current(answer).empty());
  for (uint32_t user = 1; user <= 6; ++user)
    EXPECT_EQ(say(world, *at[user], group, "nobody's"), 0u);
  // It can be opened again by whoever made it.
  EXPECT_TRUE(stored_members(world, group).empty());
}

TEST_P(Groups, EveryConnectionButTheAskersIsToldOnce) {
  World world(options());
  struct Ear {
    Client* client;
    std::vector<Notice> want{};
  };
  std::vector<Ear> ears;
  const auto enter = [&](uint32_t user, uint8_t type, uint32_t door) {
    ears.push_back({&world.enter(user, type, door)});
    return ears.size() - 1;
  };
  const size_t pc1 = enter(1, kWindows, 0), phone1 = enter(1, kPhone, 1);
  const size_t pc2 = enter(2, kMac, 2), phone2 = enter(2, kAndroid, 3);
  const size_t pc3 = enter(3, kWindows, 0), pc4 = enter(4, kWindows, 1),
               phone4   = enter(4, kPhone, 2);
  const size_t stranger = enter(6, kWindows, 0);
  const uint32_t group  = create(world, *ears[pc1].client, {2, 3});
  const auto want       = [&](const std::vector<size_t>& who, const Notice& notice) {
    for (const size_t ear : who) ears[ear].want.push_back(notice);
  };
  change(world, *ears[pc1].client, group, true, {4, 5});
  want({phone1, pc2, phone2, pc3, pc4, phone4}, {1, group, true, {1, 2, 3, 4, 5}, {4, 5}});
  change(world, *ears[phone1].client, group, false, {4});
  want({pc1, pc2, phone2, pc3, pc4, phone4}, {1, group, false, {1, 2, 3, 5}, {4}});
  change(world, *ears[phone2].client, group, false, {2});
  want({pc1, phone1, pc2, pc3}, {2, group, false, {1, 3, 5}, {2}});
  EXPECT_EQ(operated(world, GroupOp::add, group, {2, 4}), Errc::ok);
  want({pc1, phone1, pc2, phone2, pc3, pc4, phone4}, {0, group, true, {1, 2, 3, 4, 5}, {2, 4}});
  EXPECT_EQ(operated(world, GroupOp::remove, group, {3}), Errc::ok);
  want({pc1, phone1, pc2, phone2, pc3, pc4, phone4}, {0, group, false, {1, 2, 4, 5}, {3}});
  change(world, *ears[stranger].client, group, true, {6});
  for (const Ear& ear : ears)
    EXPECT_EQ(notices(*ear.client), ear.want) << "user " << ear.client->user;
}

TEST_P(Groups, EveryConnectionHearsEveryMessageOnceInOrder) {
  World world(options());
  std::vector<Client*> pc{nullptr}, phone{nullptr};
  for (uint32_t user = 1; user <= 8; ++user) {
    pc.push_back(&world.enter(user, kWindows, user * 3));
    phone.push_back(&world.enter(user, kPhone, user));
  }
  const uint32_t all = create(world, *pc[1], range(2, 8));
  const uint32_t few = create(world, *pc[2], {5});
  uint16_t sequence  = 100;
  for (uint32_t round = 0; round < 20; ++round)
    for (uint32_t user = 1; user <= 8; ++user) {
      Client* by = round % 4 == 0 ? phone[user] : pc[user];
      by->write(group_frame(all, std::to_string(user) + "#" + std::to_string(round), ++sequence));
      if (user == 5) by->write(group_frame(few, "few " + std::to_string(round), ++sequence));
      if (round % 3 == 1) world.step();
    }
  world.settle();
  std::set<uint32_t> acked;
  std::map<uint32_t, std::string> texts;
  for (uint32_t user = 1; user <= 8; ++user)
    for (const Client* client : {pc[user], phone[user]}) {
      SCOPED_TRACE(user);
      std::set<uint32_t> own;
      for (const Frame* f : client->all(CommandId::msg_data_ack)) {
        const auto ack = proto::parse_message_ack(as_bytes(f->body));
        ASSERT_TRUE(ack.has_value());
        EXPECT_EQ(ack->session_type, proto::SessionType::group);
        EXPECT_EQ(ack->user_id, user);
        if (ack->session_id != all) continue;
        EXPECT_TRUE(own.insert(ack->msg_id).second);
        EXPECT_TRUE(acked.insert(ack->msg_id).second) << "an id twice";
      }
      Ids want;
      for (uint32_t id = 1; id <= 160; ++id)
        if (!own.contains(id)) want.push_back(id);
      EXPECT_EQ(heard(*client, all), want);
      for (const Delivery& d : client->deliveries())
        if (d.to == all) {
          EXPECT_EQ(texts.try_emplace(d.msg_id, d.text).first->second, d.text);
          EXPECT_EQ(d.text.substr(0, 1), std::to_string(d.from));
        }
      const size_t of_few = user == 2 ? 20u : user == 5 ? (client == pc[5] ? 5u : 15u) : 0u;
      EXPECT_EQ(heard(*client, few).size(), of_few);
    }
  EXPECT_EQ(acked.size(), 160u);
  EXPECT_EQ(*acked.rbegin(), 160u);
}

TEST_P(Groups, StrangersAndWhoWasRemovedSpeakIntoSilence) {
  World world(options());
  Client& one          = world.enter(1);
  Client& two          = world.enter(2);
  Client& three        = world.enter(3);
  Client& stranger     = world.enter(4);
  const uint32_t group = create(world, one, {2, 3});
  EXPECT_EQ(say(world, one, group, "first"), 1u);
  change(world, one, group, false, {3});
  for (Client* client : {&three, &stranger}) {
    const size_t frames = client->frames.size();
    EXPECT_EQ(say(world, *client, group, "let me in"), 0u);
    EXPECT_EQ(say(world, *client, kNoGroup, "let me in"), 0u);
    EXPECT_EQ(client->frames.size(), frames) << "silence";
    EXPECT_TRUE(page(world, *client, group).empty());
    EXPECT_TRUE(by_id(world, *client, group, {1}).empty());
    EXPECT_EQ(latest(world, *client, group), 0u);
    EXPECT_TRUE(unread(world, *client).empty());
    EXPECT_TRUE(infos(world, *client, {{group, 0}}).empty());
    EXPECT_EQ(mute(world, *client, group, 1), 1u);
    EXPECT_EQ(take_off(world, *client, group), 1u);
    hello(world, *client);
    EXPECT_EQ(say(world, *client, group, "after hello"), 0u);
    ASSERT_EQ(client->count(CommandId::ext_error), 1u);
    const auto error = client->all(CommandId::ext_error)[0]->as<IM::Ext::Sys::ExtError>();
    EXPECT_EQ(error.result_code(), IM::Ext::Sys::EXT_RESULT_NOT_EXIST);
    EXPECT_EQ(error.command(), 0x0301u);
  }
  EXPECT_EQ(say(world, two, group, "second"), 2u) << "what was refused took no number";
  EXPECT_EQ(heard(one, group), Ids{2});
  EXPECT_EQ(heard(three, group), Ids{1});
  EXPECT_TRUE(heard(stranger, group).empty());
}

// His home may believe that he is in it; the group's knows better.
TEST_P(Groups, ASendThatIsOvertakenByARemovalIsRefused) {
  World world(options());
  Client& one          = world.enter(1);
  const uint32_t group = create(world, one, range(2, 8));
  for (uint32_t user = 2; user <= 8; ++user) {
    if (world.home(user) == home_of_group(world, group)) continue;
    Client& late = world.enter(user);
    hello(world, late);
    world.seat(home_of_group(world, group)).frozen = true;
    bool removed                                   = false;
    operate(
        world, GroupOp::remove, group, {user}, [&](Error) { removed = true; },
        home_of_group(world, group));
    late.write(group_frame(group, "late", 1));
    world.settle();
    EXPECT_TRUE(late.acks().empty());
    world.seat(home_of_group(world, group)).frozen = false;
    world.settle();
    EXPECT_TRUE(removed);
    EXPECT_TRUE(late.acks().empty());
    EXPECT_EQ(late.count(CommandId::ext_error), 1u);
  }
  EXPECT_TRUE(heard(one, group).empty());
}

TEST_P(Groups, AMemberSeesNothingFromBeforeHeCame) {
  World world(options());
  Client& one          = world.enter(1);
  Client& four         = world.enter(4, kWindows, 1);
  const uint32_t group = create(world, one, {2});
  for (int i = 0; i < 5; ++i) say(world, one, group, "before " + std::to_string(i));
  change(world, one, group, true, {4});
  EXPECT_TRUE(page(world, four, group).empty());
  EXPECT_EQ(latest(world, four, group), 0u);
  EXPECT_TRUE(unread(world, four).empty());
  EXPECT_TRUE(sessions(world, four).empty());
  for (int i = 0; i < 3; ++i) say(world, one, group, "after " + std::to_string(i));
  for (int login = 0; login < 2; ++login) {
    Client& now = login == 0 ? four : world.enter(4, kWindows, 2);
    EXPECT_EQ(page(world, now, group), (Ids{6, 7, 8}));
    EXPECT_EQ(page(world, now, group, 7, 100), (Ids{6, 7}));
    EXPECT_EQ(page(world, now, group, 7, 1), Ids{7});
    EXPECT_TRUE(page(world, now, group, 5, 100).empty());
    EXPECT_EQ(by_id(world, now, group, range(1, 9)), (Ids{6, 7, 8}));
    EXPECT_EQ(latest(world, now, group), 8u);
    EXPECT_EQ(unread(world, now), (std::map<uint32_t, Unread>{{group, {3, 8}}}));
    EXPECT_EQ(sessions(world, now), std::set<uint32_t>{group});
  }
  EXPECT_EQ(heard(four, group), (Ids{6, 7, 8}));
  // Out and in again: what was in between is not his, nor what was before.
  change(world, one, group, false, {4});
  say(world, one, group, "between");
  change(world, one, group, true, {4});
  Client& again = world.enter(4, kWindows, 3);
  EXPECT_TRUE(page(world, again, group).empty());
  say(world, one, group, "now");
  EXPECT_EQ(page(world, again, group), Ids{10});
  EXPECT_EQ(heard(again, group), Ids{10});
  EXPECT_EQ(stored_members(world, group), (std::map<uint32_t, uint32_t>{{1, 1}, {2, 1}, {4, 10}}));
}

TEST_P(Groups, ReadPositions) {
  World world(options());
  Client& one          = world.enter(1);
  Client& two          = world.enter(2);
  Client& phone        = world.enter(2, kPhone);
  const uint32_t group = create(world, one, {2, 3});
  for (int i = 0; i < 6; ++i) say(world, one, group, std::to_string(i));
  EXPECT_EQ(unread(world, two)[group], (Unread{6, 6}));
  two.write(read_frame(group, 4));
  world.settle();
  EXPECT_EQ(unread(world, phone)[group], (Unread{2, 6}));
  ASSERT_EQ(phone.count(CommandId::msg_data_read_notify), 1u);
  const auto notify =
      phone.all(CommandId::msg_data_read_notify)[0]->as<IM::Message::IMMsgDataReadNotify>();
  EXPECT_EQ(notify.session_type(), kGroup);
  EXPECT_EQ(notify.session_id(), group);
  EXPECT_EQ(notify.msg_id(), 4u);
  EXPECT_EQ(two.count(CommandId::msg_data_read_notify), 0u);
  say(world, phone, group, "mine");
  EXPECT_TRUE(unread(world, two).empty()) << "who writes has read";
  EXPECT_TRUE(unread(world, one)[group] == (Unread{1, 7}));
  Client& four = world.enter(4);
  four.write(read_frame(group, 7));
  world.settle();
  EXPECT_EQ(world.metric(Counter::read_positions_moved), 1u) << "not his";
}

// No record says how far the author read: his message does.
TEST_P(Groups, AnAuthorHasReadAfterARestart) {
  for (const bool power_cut : {false, true}) {
    World world(options());
    std::vector<Client*> at{nullptr};
    for (uint32_t user = 1; user <= 4; ++user) at.push_back(&world.enter(user));
    const uint32_t group = create(world, *at[1], {2, 3, 4});
    for (int i = 0; i < 5; ++i) say(world, *at[1], group, std::to_string(i));
    EXPECT_EQ(say(world, *at[2], group, "six"), 6u);
    for (int i = 0; i < 2; ++i) say(world, *at[1], group, "more " + std::to_string(i));
    EXPECT_EQ(say(world, *at[3], group, "nine"), 9u);
    const auto check = [&] {
      std::map<uint32_t, uint32_t> found;
      for (uint32_t user = 1; user <= 4; ++user)
        found[user] = unread(world, world.enter(user))[group].count;
      EXPECT_EQ(found, (std::map<uint32_t, uint32_t>{{1, 1}, {2, 3}, {3, 0}, {4, 9}}));
    };
    for (int restart = 0; restart < 3; ++restart) {
      check();
      if (power_cut) {
        world.crash();
      } else {
        ASSERT_TRUE(world.stop());
      }
      world.boot();
    }
    check();
    Client& one = world.enter(1);
    EXPECT_EQ(say(world, one, group, "ten"), 10u);
    EXPECT_EQ(page(world, one, group), range(1, 10));
  }
}

TEST_P(Groups, AHiddenGroupComesBackWithAnOwnMessage) {
  for (const bool revive : {false, true}) {
    Options o                     = options();
    o.limits.group_session_revive = revive;
    World world(o);
    Client& one          = world.enter(1);
    Client* two          = &world.enter(2);
    const uint32_t group = create(world, one, {2});
    EXPECT_EQ(take_off(world, *two, group), 1u) << "it is not on it";
    say(world, one, group, "a");
    EXPECT_EQ(take_off(world, *two, group), 0u);
    EXPECT_EQ(take_off(world, *two, group), 1u);
    EXPECT_TRUE(sessions(world, *two).empty());
    EXPECT_TRUE(unread(world, *two).empty()) << "off the list is read";
    EXPECT_EQ(sessions(world, one), std::set<uint32_t>{group});
    ASSERT_TRUE(world.stop());
    world.boot();
    two           = &world.enter(2);
    Client& again = world.enter(1);
    EXPECT_TRUE(sessions(world, *two).empty());
    say(world, again, group, "b");
    EXPECT_EQ(heard(*two, group), Ids{2});
    EXPECT_EQ(unread(world, *two)[group].count, 1u);
    EXPECT_EQ(sessions(world, *two).contains(group), revive);
    say(world, *two, group, "c");
    EXPECT_EQ(sessions(world, *two), std::set<uint32_t>{group});
    world.advance_s(1);
    ASSERT_TRUE(world.stop());
    world.boot();
    two = &world.enter(2);
    EXPECT_EQ(sessions(world, *two), std::set<uint32_t>{group});
    EXPECT_EQ(take_off(world, *two, group), 0u);
  }
}

TEST_P(Groups, MutedIsHisOwnAndStays) {
  World world(options());
  Client* one          = &world.enter(1);
  Client* two          = &world.enter(2);
  const uint32_t group = create(world, *one, {2});
  const auto shield    = [&](Client& client) {
    const auto list = infos(world, client, {{group, 0}});
    EXPECT_EQ(list.size(), 1u);
    return list.empty() ? 9 : list[0].shield_status();
  };
  EXPECT_EQ(mute(world, *two, group, 2), 1u);
  EXPECT_EQ(mute(world, *two, kNoGroup, 1), 1u);
  EXPECT_EQ(mute(world, *two, group, 1), 0u);
  EXPECT_EQ(shield(*two), 1u);
  EXPECT_EQ(shield(*one), 0u);
  say(world, *one, group, "muted is not deaf");
  EXPECT_EQ(heard(*two, group), Ids{1});
  world.crash();
  world.boot();
  one = &world.enter(1);
  two = &world.enter(2);
  EXPECT_EQ(shield(*two), 1u);
  EXPECT_EQ(shield(*one), 0u);
  EXPECT_EQ(mute(world, *two, group, 0), 0u);
  EXPECT_EQ(shield(*two), 0u);
}

TEST_P(Groups, InfoOfWhatIsNewer) {
  World world(options());
  Client& one          = world.enter(1);
  Client& two          = world.enter(2);
  const uint32_t mine  = create(world, one, {2, 3});
  const uint32_t other = create(world, one, {3});
  EXPECT_TRUE(infos(world, two, {{mine, 1}}).empty()) << "known";
  change(world, one, mine, true, {4});
  const auto list = infos(world, two, {{other, 0}, {mine, 1}, {kNoGroup, 0}, {mine, 0}});
  ASSERT_EQ(list.size(), 1u) << "his own, each once";
  EXPECT_EQ(list[0].group_id(), mine);
  EXPECT_EQ(list[0].version(), 2u);
  EXPECT_TRUE(infos(world, two, {{mine, 2}}).empty());
  EXPECT_TRUE(infos(world, two, {}).empty());

  // 0x0401: the administration's only.
  const uint32_t normal = found_group(world, {2, 3});
  EXPECT_EQ(normal_groups(world, two), (std::map<uint32_t, uint32_t>{{normal, 1}}));
  EXPECT_TRUE(normal_groups(world, one).empty());
  EXPECT_EQ(change(world, two, normal, true, {5}).result_code(), 1u) << "members do not add there";
  EXPECT_EQ(change(world, two, normal, false, {2}).result_code(), 0u) << "but may go";
  EXPECT_TRUE(normal_groups(world, two).empty());
  EXPECT_EQ(operated(world, GroupOp::add, normal, {1}), Errc::ok);
  EXPECT_EQ(normal_groups(world, one), (std::map<uint32_t, uint32_t>{{normal, 3}}));
  Client& three = world.enter(3);
  EXPECT_EQ(normal_groups(world, three), (std::map<uint32_t, uint32_t>{{normal, 3}}));

  // A new name, without a new version.
  ASSERT_TRUE(stored<store::Group>(world, [&](store::Store& s, auto done) {
                return s.update_group(GroupId(mine), {.name = "renamed"}, std::move(done));
              }).has_value());
  EXPECT_EQ(operated(world, GroupOp::refresh, mine), Errc::ok);
  EXPECT_EQ(infos(world, two, {{mine, 0}}).at(0).group_name(), "renamed");
}

TEST_P(Groups, ThreeHundredGroupsInOneQuestion) {
  World world(options());
  Client& one = world.enter(1);
  std::vector<std::pair<uint32_t, uint32_t>> all;
  std::set<uint32_t> want, found;
  for (uint32_t i = 0; i < 300; ++i) {
    const uint32_t group = found_group(world, {1, 2 + i % 7}, store::kGroupTemporary, 1);
    all.push_back({group, 0});
    want.insert(group);
  }
  Client& phone = world.enter(1, kPhone, 2);
  for (Client* client : {&one, &phone}) {
    found.clear();
    for (const auto& info : infos(world, *client, all)) {
      EXPECT_TRUE(found.insert(info.group_id()).second);
      EXPECT_EQ(info.group_member_list_size(), 2);
      EXPECT_EQ(info.group_name(), "made");
    }
    EXPECT_EQ(found, want);
  }
  world.clients[0].write(group_frame(*want.begin(), "first", 1));
  world.clients[0].write(group_frame(*want.rbegin(), "last", 2));
  world.settle();
  EXPECT_EQ(heard(phone, *want.begin()), Ids{1});
  EXPECT_EQ(heard(phone, *want.rbegin()), Ids{1});
}

TEST_P(Groups, ADismissedGroupIsGone) {
  World world(options());
  Client& one          = world.enter(1);
  Client& two          = world.enter(2);
  const uint32_t group = create(world, one, {2, 3});
  say(world, one, group, "last words");
  EXPECT_EQ(operated(world, GroupOp::dismiss, kNoGroup), Errc::not_found);
  EXPECT_EQ(operated(world, GroupOp::dismiss, group), Errc::ok);
  for (const Client* client : {&one, &two})
    EXPECT_EQ(notices(*client), (std::vector<Notice>{{0, group, false, {}, {1, 2, 3}}}));
  for (int restart = 0; restart < 2; ++restart) {
    Client& late = world.enter(3, kWindows, static_cast<uint32_t>(restart));
    EXPECT_EQ(say(world, late, group, "anybody?"), 0u);
    EXPECT_TRUE(page(world, late, group).empty());
    EXPECT_TRUE(unread(world, late).empty());
    EXPECT_TRUE(infos(world, late, {{group, 0}}).empty());
    EXPECT_EQ(change(world, late, group, true, {3}).result_code(), 1u);
    EXPECT_EQ(operated(world, GroupOp::dismiss, group), Errc::not_found);
    EXPECT_EQ(operated(world, GroupOp::add, group, {1}), Errc::not_found);
    ASSERT_TRUE(world.stop());
    world.boot();
  }
  Client& again = world.enter(1);
  EXPECT_GT(create(world, again, {2}), group) << "its id is nobody else's";
}

TEST_P(Groups, TheAdministrationSpeaksInAMembersName) {
  World world(options());
  Client& one          = world.enter(1);
  Client& two          = world.enter(2);
  Client& phone        = world.enter(2, kPhone);
  const uint32_t group = create(world, one, {2});
  const auto post      = [&](uint32_t author, uint32_t to) {
    std::optional<std::pair<Errc, uint32_t>> told;
    EXPECT_TRUE(world.seat(0).shard->operations().post(
        UserId(author), to, static_cast<uint8_t>(kText), as_bytes("notice"),
        [&](Error error, uint32_t id, uint32_t) { told = {error.code, id}; }));
    world.settle();
    EXPECT_TRUE(told.has_value());
    return told.value_or(std::pair{Errc::closed, 0u});
  };
  EXPECT_EQ(post(2, group), (std::pair{Errc::ok, 1u}));
  EXPECT_EQ(post(2, group), (std::pair{Errc::ok, 2u})) << "no repeat of anything";
  EXPECT_EQ(post(3, group).first, Errc::not_found);
  EXPECT_EQ(post(2, kNoGroup).first, Errc::not_found);
  for (const Client* client : {&one, &two, &phone}) EXPECT_EQ(heard(*client, group), (Ids{1, 2}));
  EXPECT_TRUE(unread(world, two).empty());
}

// --- changes under way -----------------------------------------------------------------------------------

// The store cannot take the change at once: it waits, as it was asked for.
TEST_P(Groups, AChangeThatFindsTheStoreFullIsMadeLater) {
  World world(options());
  Client& one          = world.enter(1);
  const uint32_t group = create(world, one, {2, 3});
  for (int i = 0; i < 3; ++i) say(world, one, group, std::to_string(i));
  const uint32_t home     = home_of_group(world, group);
  world.run_store_workers = false;
  const auto fill         = [&] {
    while (world.seat(home).store->find_user(UserId(1), [](const Result<store::User>&) {})) {
    }
  };
  std::vector<Errc> told;
  const auto note = [&](Error error) { told.push_back(error.code); };
  fill();
  operate(world, GroupOp::add, group, {4, 5}, note, home);
  operate(world, GroupOp::remove, group, {2}, note, home);
  operate(world, GroupOp::refresh, group, {}, note, home);
  for (int i = 0; i < 5; ++i) {
    world.step();
    world.clock.advance(120 * kNsPerMs);
  }
  EXPECT_TRUE(told.empty());
  world.run_store_workers = true;
  world.advance_s(1);
  EXPECT_EQ(told, (std::vector<Errc>{Errc::ok, Errc::ok, Errc::ok}));
  EXPECT_EQ(stored_members(world, group),
            (std::map<uint32_t, uint32_t>{{1, 1}, {3, 1}, {4, 4}, {5, 4}}));
  world.run_store_workers = false;
  fill();
  operate(world, GroupOp::dismiss, group, {}, note, home);
  world.step();
  world.clock.advance(120 * kNsPerMs);
  world.step();
  world.run_store_workers = true;
  world.advance_s(1);
  EXPECT_EQ(told.size(), 4u);
  EXPECT_EQ(told.back(), Errc::ok);
}

// What was acknowledged while he was in it is his, also when his removal follows closely.
TEST_P(Groups, WhoIsRemovedStillHearsWhatWasBefore) {
  World world(options());
  Client& one = world.enter(1);
  std::vector<Client*> all;
  for (uint32_t user = 2; user <= 8; ++user) all.push_back(&world.enter(user));
  const uint32_t group = create(world, one, range(2, 8));
  const uint32_t home  = home_of_group(world, group);
  for (uint32_t shard = 0; shard < world.shards(); ++shard)
    world.seat(shard).frozen = shard != home && shard != world.home(1);
  for (uint16_t i = 1; i <= 3; ++i) one.write(group_frame(group, std::to_string(i), i));
  world.settle();
  EXPECT_EQ(one.acks().size(), 3u);
  operate(world, GroupOp::remove, group, range(2, 7), [](Error) {}, home);
  world.settle();
  operate(world, GroupOp::dismiss, group, {}, [](Error) {}, home);
  world.settle();
  for (uint32_t shard = 0; shard < world.shards(); ++shard) world.seat(shard).frozen = false;
  world.settle();
  for (const Client* client : all) {
    EXPECT_EQ(heard(*client, group), (Ids{1, 2, 3})) << client->user;
    EXPECT_EQ(notices(*client).size(), client->user == 8 ? 2u : 1u) << client->user;
  }
}

// Who is closed as too slow in the middle of a walk leaves no hole in it: nobody is passed over, wherever in
// the group he is, and not who is behind two of them.
TEST_P(Groups, AReaderWhoIsTooSlowIsClosedAndTheOthersHearEverything) {
  for (const Ids& slow :
       {Ids{2}, Ids{5}, Ids{12}, Ids{2, 3}, Ids{11, 12}, range(3, 11), range(2, 12)}) {
    SCOPED_TRACE(slow.front() * 100 + slow.back());
    Options o                 = options(12);
    o.limits.push_queue_bytes = 4 * kKiB;
    if (slow.size() % 2) o.limits.group_pushes_per_turn = 3;
    World world(o);
    std::vector<Client*> all;
    for (uint32_t user = 1; user <= 12; ++user) {
      const bool is_slow = std::ranges::count(slow, user) > 0;
      all.push_back(&world.enter(user, kWindows, user, is_slow ? 512 : 65536));
      all.back()->reads = !is_slow;
    }
    const uint32_t group = create(world, *all[0], range(2, 12));
    for (uint32_t id = 1; id <= 12; ++id) {
      EXPECT_EQ(say(world, *all[0], group, std::string(1000, '.')), id);
      world.advance(20 * kNsPerMs);
    }
    EXPECT_EQ(world.metric(Counter::close_slow_reader), slow.size());
    for (Client* client : all) {
      if (client == all[0]) continue;
      const bool is_slow = std::ranges::count(slow, client->user) > 0;
      EXPECT_EQ(client->is_open(), !is_slow) << client->user;
      if (is_slow) continue;
      EXPECT_EQ(heard(*client, group), range(1, 12)) << client->user;
    }
    uint32_t newest = 12;
    for (const uint32_t user : slow) {
      Client& back = world.enter(user);
      EXPECT_EQ(page(world, back, group), range(1, newest)) << user;
      EXPECT_EQ(say(world, *all[0], group, "again"), ++newest);
      EXPECT_EQ(heard(back, group), Ids{newest}) << user;
    }
  }
}

// What was on its way to somebody who is taken out is what closes him, with all his connections.
TEST_P(Groups, TooSlowAtHisRemoval) {
  Options o                      = options();
  o.limits.push_queue_bytes      = 4 * kKiB;
  o.limits.group_pushes_per_turn = 1;
  World world(o);
  std::vector<Client*> all;
  for (uint32_t user = 1; user <= 7; ++user) all.push_back(&world.enter(user));
  Client& pc           = world.enter(8, kWindows, 8, 512);
  Client& phone        = world.enter(8, kPhone, 8, 512);
  const uint32_t group = create(world, *all[0], range(2, 8));
  const uint32_t other = create(world, *all[0], range(2, 8));
  pc.reads = phone.reads = false;
  for (uint32_t id = 1; id <= 3; ++id) {
    EXPECT_EQ(say(world, *all[0], group, std::string(1000, '.')), id);
    world.advance(20 * kNsPerMs);
  }
  ASSERT_TRUE(pc.is_open() && phone.is_open());
  // His shard wakes up to three messages and the end of his membership.
  for (uint32_t shard = 0; shard < world.shards(); ++shard)
    world.seat(shard).frozen = world.shards() > 1 && shard == world.home(8);
  for (char i = '1'; i <= '3'; ++i)
    all[0]->write(group_frame(group, std::string(1000, i), static_cast<uint16_t>(1000 + i)));
  all[0]->write(change_frame(group, false, {8}));
  for (uint32_t i = 0; i < 20; ++i) world.step();
  for (uint32_t shard = 0; shard < world.shards(); ++shard) world.seat(shard).frozen = false;
  world.settle();
  EXPECT_FALSE(pc.is_open());
  EXPECT_FALSE(phone.is_open());
  EXPECT_EQ(world.metric(Counter::close_slow_reader), 2u);
  for (uint32_t user = 2; user <= 7; ++user)
    EXPECT_EQ(heard(*all[user - 1], group), range(1, 6)) << user;
  const uint32_t id = say(world, *all[0], other, "and on");
  for (uint32_t user = 2; user <= 7; ++user)
    EXPECT_EQ(heard(*all[user - 1], other), Ids{id}) << user;
}

// A login and changes of his membership, with every delay between them and each of the parts asleep.
TEST_P(Groups, LoginsInTheMiddleOfChanges) {
  World world(options());
  Client& one = world.enter(1);
  Client& two = world.enter(2);
  struct Change {
    bool was_in;
    std::vector<bool> adds;  // then removals
    bool dismissed = false;
  };
  const Change changes[] = {{false, {true}},
                            {true, {false}},
                            {true, {false, true}},
                            {false, {true, false}},
                            {true, {false, true, false}},
                            {true, {}, true}};
  enum Asleep : int { nobody, relational, his_home, groups_home, kinds };
  uint32_t late = 3;
  for (const Change& what : changes)
    for (int asleep = nobody; asleep < kinds; ++asleep)
      for (int delay = -8; delay <= 24; ++delay) {
        late = late == 8 ? 3 : late + 1;
        SCOPED_TRACE("change " + std::to_string(&what - changes) + " asleep " +
                     std::to_string(asleep) + " delay " + std::to_string(delay));
        const uint32_t group = found_group(world, what.was_in ? Ids{1, 2, late} : Ids{1, 2},
                                           store::kGroupTemporary, 1);
        const uint32_t home  = home_of_group(world, group);
        EXPECT_EQ(say(world, two, group, "before"), 1u);
        const auto sleep = [&](bool on) {
          if (asleep == relational) world.run_store_workers = !on;
          if (asleep == his_home) world.seat(world.home(late)).frozen = on;
          if (asleep == groups_home) world.seat(home).frozen = on;
        };
        Client& client = world.connect(late);
        client.user    = late;
        size_t told    = 0;
        const auto go  = [&] {
          for (const bool add : what.adds)
            operate(
                world, add ? GroupOp::add : GroupOp::remove, group, {late}, [&](Error) { ++told; },
                static_cast<uint32_t>(delay & 1) % world.shards());
          if (what.dismissed) operate(world, GroupOp::dismiss, group, {}, [&](Error) { ++told; });
        };
        if (delay < 0) go();
        for (int i = delay; i < 0; ++i) world.step();
        client.write(world.login_of(late));
        for (int i = 0; i < delay; ++i) {
          if (i == delay / 2) sleep(true);
          world.step();
        }
        sleep(true);
        if (delay >= 0) go();
        two.write(group_frame(group, "meanwhile", 50'000));
        for (int i = 0; i < 12; ++i) world.step();
        sleep(false);
        world.settle();
        ASSERT_EQ(told, what.adds.size() + what.dismissed);
        ASSERT_EQ(world.result_of_login(client), 0);
        const auto first = stored_members(world, group);
        const bool in    = first.contains(late);
        EXPECT_EQ(in, !what.dismissed && what.adds.back());
        const uint32_t end = say(world, one, group, "after");
        EXPECT_EQ(end == 0, what.dismissed);
        const Ids got = heard(client, group);
        EXPECT_TRUE(std::ranges::is_sorted(got, std::less_equal())) << "twice, or out of order";
        EXPECT_EQ(std::ranges::count(got, end), in ? 1 : 0);
        EXPECT_EQ(members_of(world, client, group).empty(), !in) << "a stale membership";
        if (in) {
          EXPECT_EQ(page(world, client, group), range(first.at(late), end));
          EXPECT_TRUE(what.was_in || got.at(0) >= first.at(late));
        }
        EXPECT_EQ(say(world, client, group, "mine") != 0, in);
        EXPECT_LE(notices(client).size(), what.adds.size() + what.dismissed);
        client.socket.close();
        world.settle();
        if (HasFailure()) return;
      }
}

}  // namespace
}  // namespace ringtalk::sim
