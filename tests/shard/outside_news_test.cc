// What another program wrote into the store, through the whole server at 1, 2 and 4 shards. It writes by the
// store's own calls, of which the shards hear nothing until on_outside_changes().
#include <gtest/gtest.h>

#include "proto/group.pb.h"
#include "tests/shard/harness.h"

namespace ringtalk::sim {
namespace {

constexpr uint32_t kText = IM::BaseDefine::MSG_TYPE_GROUP_TEXT;

class OutsideNewsTest : public testing::TestWithParam<uint32_t> {
 protected:
  static Options unpaced(uint32_t shards) {
    Options o                    = {.shards = shards, .users = 6};
    o.limits.sends_per_second    = 0;
    o.limits.requests_per_second = 0;
    return o;
  }
  store::Store& store() { return *world.seat(0).store; }
  void tell(const store::OutsideChanges& changes) {
    world.seat(0).shard->on_outside_changes(changes);
    world.settle();
  }
  void set_status(uint32_t user, uint8_t status) {
    bool done = false;
    ASSERT_TRUE(store().update_user(UserId(user), {.status = status},
                                    [&](const auto& result) { done = result.has_value(); }));
    world.settle();
    ASSERT_TRUE(done);
  }
  uint32_t make_group(std::vector<UserId> members) {
    uint32_t id = 0;
    EXPECT_TRUE(
        store().add_group({.name = "g", .creator = UserId(1), .members = std::move(members)},
                          [&](const auto& made) { id = raw(made->id); }));
    world.settle();
    return id;
  }
  uint32_t change(uint32_t group, bool add, std::vector<UserId> users) {
    uint32_t version = 0;
    EXPECT_TRUE(store().change_members(
        {.group = GroupId(group), .add = add, .first = 2, .users = std::move(users)},
        [&](const auto& changed) { version = changed->version; }));
    world.settle();
    return version;
  }
  // Whether it was taken.
  bool say(Client& client, uint32_t to, uint16_t sequence, uint32_t type = 1) {
    client.write(chat_frame(to, "hello", sequence, {}, type));
    world.settle();
    return client.acks().contains(sequence) && client.acks()[sequence] != 0;
  }

  World world{unpaced(GetParam())};
};

INSTANTIATE_TEST_SUITE_P(Shards, OutsideNewsTest, testing::Values(1u, 2u, 4u));

TEST_P(OutsideNewsTest, WhoMayNotLogInLosesHisConnections) {
  Client& one   = world.enter(1);
  Client& two   = world.enter(2);
  Client& phone = world.enter(2, kPhone);
  Client& three = world.enter(3);
  ASSERT_TRUE(say(one, 2, 1));
  set_status(2, store::kUserLeft);
  EXPECT_TRUE(say(one, 2, 2)) << "nobody has noticed";
  tell({.users = {{UserId(2), store::kUserLeft, false}}, .groups = {}});
  EXPECT_EQ(two.count(CommandId::kick_user), 1u);
  EXPECT_EQ(phone.count(CommandId::kick_user), 1u);
  EXPECT_FALSE(say(one, 2, 3));
  EXPECT_FALSE(say(three, 2, 1));
  set_status(2, store::kUserActive);
  tell({.users = {{UserId(2), store::kUserActive, false}}, .groups = {}});
  EXPECT_TRUE(say(one, 2, 4));
  EXPECT_EQ(one.count(CommandId::kick_user) + three.count(CommandId::kick_user), 0u);
}

TEST_P(OutsideNewsTest, ANewPasswordEndsConnectionsAndANickDoesNot) {
  Client& two   = world.enter(2);
  Client& three = world.enter(3);
  tell({.users = {{UserId(2), 0, true}, {UserId(3), 0, false}}, .groups = {}});
  EXPECT_EQ(two.count(CommandId::kick_user), 1u);
  EXPECT_EQ(three.count(CommandId::kick_user), 0u);
  EXPECT_TRUE(say(three, 2, 1));
}

TEST_P(OutsideNewsTest, WhoWentHearsNoMoreAndWhoCameDoes) {
  const uint32_t group = make_group({UserId(1), UserId(2), UserId(3)});
  Client& one          = world.enter(1);
  Client& two          = world.enter(2);
  Client& three        = world.enter(3);
  Client& four         = world.enter(4);
  ASSERT_TRUE(say(one, group, 1, kText));
  EXPECT_EQ(two.deliveries().size(), 1u);
  change(group, false, {UserId(2)});
  const uint32_t version = change(group, true, {UserId(4)});
  tell({.users  = {},
        .groups = {{.id      = GroupId(group),
                    .version = version,
                    .first   = 2,
                    .joined  = {UserId(4)},
                    .left    = {UserId(2)}}}});
  ASSERT_TRUE(say(one, group, 2, kText));
  EXPECT_EQ(two.deliveries().size(), 1u);
  EXPECT_EQ(three.deliveries().size(), 2u);
  EXPECT_EQ(four.deliveries().size(), 1u);
  EXPECT_FALSE(say(two, group, 1, kText));
  EXPECT_TRUE(say(four, group, 1, kText));
  // Told once more it changes nothing.
  tell({.users  = {},
        .groups = {{.id      = GroupId(group),
                    .version = version,
                    .first   = 2,
                    .joined  = {UserId(4)},
                    .left    = {UserId(2)}}}});
  ASSERT_TRUE(say(one, group, 3, kText));
  EXPECT_EQ(four.deliveries().size(), 2u);
  EXPECT_EQ(two.deliveries().size(), 1u);
}

// He was taken out by the other program and put back by us before anybody told of it.
TEST_P(OutsideNewsTest, WhoCameBackMeanwhileStays) {
  const uint32_t group = make_group({UserId(1), UserId(2)});
  Client& one          = world.enter(1);
  Client& two          = world.enter(2);
  ASSERT_TRUE(say(one, group, 1, kText));
  const uint32_t version = change(group, false, {UserId(2)});
  IM::Group::IMGroupChangeMemberReq request;
  request.set_user_id(1);
  request.set_change_type(IM::BaseDefine::GROUP_MODIFY_TYPE_ADD);
  request.set_group_id(group);
  request.add_member_id_list(2);
  one.write(frame(CommandId::group_change_member_request, 9, request));
  world.settle();
  ASSERT_EQ(one.count(CommandId::group_change_member_response), 1u);
  tell({.users = {}, .groups = {{.id = GroupId(group), .version = version, .left = {UserId(2)}}}});
  ASSERT_TRUE(say(one, group, 2, kText));
  EXPECT_TRUE(say(two, group, 1, kText));
  EXPECT_EQ(one.deliveries().size(), 1u);
}

TEST_P(OutsideNewsTest, ADismissedGroupIsGone) {
  const uint32_t group = make_group({UserId(1), UserId(2)});
  Client& one          = world.enter(1);
  Client& two          = world.enter(2);
  ASSERT_TRUE(say(one, group, 1, kText));
  bool done = false;
  ASSERT_TRUE(store().dismiss_group(GroupId(group),
                                    [&](const auto& result) { done = result.has_value(); }));
  world.settle();
  ASSERT_TRUE(done);
  tell({.users  = {},
        .groups = {{.id        = GroupId(group),
                    .version   = 2,
                    .dismissed = true,
                    .left      = {UserId(1), UserId(2)}}}});
  EXPECT_EQ(two.count(CommandId::group_change_member_notify), 1u);
  EXPECT_FALSE(say(one, group, 2, kText));
  EXPECT_FALSE(say(two, group, 1, kText));
  // One that nobody needed since the start.
  const uint32_t other = make_group({UserId(1), UserId(3)});
  Client& three        = world.enter(3);
  ASSERT_TRUE(store().dismiss_group(GroupId(other), [](const auto&) {}));
  world.settle();
  tell({.users  = {},
        .groups = {{.id = GroupId(other), .version = 2, .dismissed = true, .left = {UserId(3)}}}});
  EXPECT_EQ(three.count(CommandId::group_change_member_notify), 1u);
}

}  // namespace
}  // namespace ringtalk::sim
