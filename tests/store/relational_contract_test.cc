// What the relational calls promise, whichever driver answers them.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "tests/store/relational_world.h"

namespace ringtalk::store {
namespace {

class RelationalContract : public testing::TestWithParam<Driver>, protected RelationalWorld {
 protected:
  void SetUp() override {
    if (!make(GetParam())) GTEST_SKIP() << "RINGTALK_TEST_MYSQL names no server";
  }

  Result<std::vector<UserState>> states_now() {
    return on([](auto& relational) { return relational.load_user_states(); });
  }
  std::string tokens() {
    return sql("SELECT user_id, vendor, token FROM push_token ORDER BY user_id",
               "SELECT userId, IF(serviceType = 1, 'ios', 'android'), token FROM RTPushReg"
               " ORDER BY userId");
  }
};

INSTANTIATE_TEST_SUITE_P(Drivers, RelationalContract,
                         testing::Values(Driver::embedded, Driver::mysql), [](const auto& test) {
                           return test.param == Driver::mysql ? "mysql" : "embedded";
                         });

TEST_P(RelationalContract, AddedUsersAreFound) {
  for (const char* name : {"one", "two", "three"}) ASSERT_TRUE(add_department(name));
  auto added = add({{.name = "alice", .nick = "Alice", .password = "$argon2id$a", .department = 3},
                    {.name = "bob"}});
  ASSERT_TRUE(added);
  ASSERT_EQ(added->size(), 2u);
  EXPECT_EQ(raw((*added)[0].id), 1u);
  EXPECT_EQ(raw((*added)[1].id), 2u);
  EXPECT_EQ((*added)[0].stamp, kNow);
  EXPECT_EQ((*added)[1].stamp, kNow);
  const auto alice = account("alice");
  ASSERT_TRUE(alice);
  EXPECT_EQ(alice->user.name, "alice");
  EXPECT_EQ(alice->user.nick, "Alice");
  EXPECT_EQ(alice->user.department, 3u);
  EXPECT_EQ(alice->user.created, kNow);
  EXPECT_EQ(alice->user.stamp, kNow);
  EXPECT_EQ(alice->password, "$argon2id$a");
  EXPECT_EQ(alice->epoch, 0u);
  EXPECT_EQ(account("Alice").error().code, Errc::not_found) << "names are compared byte by byte";
  EXPECT_EQ(account("").error().code, Errc::not_found);

  EXPECT_EQ(user(2)->name, "bob");
  EXPECT_EQ(user(3).error().code, Errc::not_found);
}

TEST_P(RelationalContract, CallbackRunsInCollectOfItsShard) {
  on([](auto& relational) {
    int ran = 0;
    ASSERT_TRUE(relational.find_user(1, UserId(1), [&](Result<User>) { ++ran; }));
    EXPECT_EQ(relational.run_some(), 1u);
    EXPECT_EQ(relational.collect(0), 0u);
    EXPECT_EQ(ran, 0);
    EXPECT_EQ(relational.collect(1), 1u);
    EXPECT_EQ(ran, 1);
  });
}

TEST_P(RelationalContract, AllOrNoneOfABulk) {
  ASSERT_TRUE(add({{.name = "alice"}}));
  EXPECT_EQ(add({{.name = "bob"}, {.name = "alice"}, {.name = "carol"}}).error().code,
            Errc::exists);
  EXPECT_EQ(add({{.name = "dave"}, {.name = "dave"}}).error().code, Errc::exists);
  EXPECT_EQ(account("bob").error().code, Errc::not_found);
  EXPECT_EQ(account("dave").error().code, Errc::not_found);
  EXPECT_EQ(list(0, 10)->size(), 1u);
  ASSERT_TRUE(add({}));
}

TEST_P(RelationalContract, NameOfOneWhoLeftIsFree) {
  ASSERT_TRUE(add({{.name = "alice"}}));
  sql("UPDATE user SET status = 3 WHERE name = 'alice'",
      "UPDATE IMUser SET status = 3 WHERE name = 'alice'");
  EXPECT_EQ(account("alice").error().code, Errc::not_found);
  auto again = add({{.name = "alice"}});
  ASSERT_TRUE(again);
  EXPECT_EQ(raw((*again)[0].id), 2u);
  EXPECT_EQ(raw(account("alice")->user.id), 2u);
  sql("DELETE FROM user WHERE id = 2", "DELETE FROM IMUser WHERE id = 2");
  EXPECT_EQ(raw((*add({{.name = "eve"}}))[0].id), 3u) << "an id is never used again";
}

TEST_P(RelationalContract, StampsRiseWhateverTheClockDoes) {
  EXPECT_EQ((*add({{.name = "a"}}))[0].stamp, kNow);
  EXPECT_EQ((*add({{.name = "b"}}))[0].stamp, kNow + 1);
  clock().set_wall(5 * kNsPerS);
  EXPECT_EQ((*add({{.name = "c"}}))[0].stamp, kNow + 2);
  clock().set_wall((kNow + 100) * kNsPerS);
  EXPECT_EQ((*add({{.name = "d"}}))[0].stamp, kNow + 100);
}

// Goal: the size of a big site's import, in calls as large as they may be, and one too large.
TEST_P(RelationalContract, HundredThousandUsersInOneCall) {
  std::vector<NewUser> users;
  for (size_t i = 0; i < Relational::kUsersPerCallMax; ++i)
    users.push_back({.name = "user" + std::to_string(i)});
  const auto added = add(users);
  ASSERT_TRUE(added);
  ASSERT_EQ(added->size(), users.size());
  EXPECT_EQ(raw(added->back().id), 100'000u);
  EXPECT_EQ(sql("SELECT max(n), count(*) FROM (SELECT count(*) n FROM user GROUP BY stamp)",
                "SELECT max(n), count(*) FROM (SELECT count(*) n FROM RTUserSync"
                " WHERE userId > 0 GROUP BY stamp) s"),
            "300|334|");
  EXPECT_EQ(raw(account("user99999")->user.id), 100'000u);
  const auto states = states_now();
  ASSERT_TRUE(states);
  EXPECT_EQ(states->size(), 100'000u);
  EXPECT_EQ(raw(states->back().id), 100'000u);

  users.push_back({.name = "one more"});
  const auto refused = on([&](auto& relational) {
    return relational.add_users(0, users, [](Result<std::vector<User>>) { FAIL(); });
  });
  EXPECT_EQ(refused.error().code, Errc::too_large);
}

TEST_P(RelationalContract, ListGoesByIdAndIsBounded) {
  std::vector<NewUser> users(10);
  for (size_t i = 0; i < users.size(); ++i)
    users[i].name = std::string(1, static_cast<char>('a' + i));
  ASSERT_TRUE(add(users));
  const auto names = [&](uint32_t after, uint32_t limit) {
    std::string all;
    const auto rows = list(after, limit);
    for (const User& each : *rows) all += each.name;
    return all;
  };
  EXPECT_EQ(names(0, 4), "abcd");
  EXPECT_EQ(names(4, 4), "efgh");
  EXPECT_EQ(names(8, 4), "ij");
  EXPECT_EQ(names(10, 4), "");
  EXPECT_EQ(names(0, 0), "");
  EXPECT_EQ(names(0, ~0u), "abcdefghij");
  EXPECT_EQ(names(~0u, ~0u), "");
}

TEST_P(RelationalContract, RowsInsertedByHandLogIn) {
  EXPECT_EQ(
      sql("INSERT INTO user (id, name, nick, department, status, legacy_password, legacy_salt,"
          " password) VALUES (7, 'old', 'Old', 2, 0, '0123456789abcdef', '1234', '')",
          "INSERT INTO IMUser (id, name, nick, departId, status, password, salt, created, updated)"
          " VALUES (7, 'old', 'Old', 2, 0, '0123456789abcdef', '1234', 5, 5)"),
      "");
  auto found = account("old");
  ASSERT_TRUE(found);
  EXPECT_EQ(raw(found->user.id), 7u);
  EXPECT_EQ(found->legacy_password, "0123456789abcdef");
  EXPECT_EQ(found->legacy_salt, "1234");
  EXPECT_EQ(found->password, "");
  EXPECT_EQ(found->user.stamp, 0u);

  open();
  EXPECT_EQ(upgrade(8, 0, "$argon2id$new").error().code, Errc::not_found);
  EXPECT_TRUE(upgrade(7, 0, "$argon2id$new"));
  found = account("old");
  EXPECT_EQ(found->password, "$argon2id$new");
  EXPECT_EQ(found->legacy_password, "");
  EXPECT_EQ(found->legacy_salt, "");
  EXPECT_EQ(found->epoch, 0u);
}

TEST_P(RelationalContract, ConversationRowsAreMadeOrRevivedOnBothSides) {
  ASSERT_TRUE(converse(9, 4, 100));
  const auto all = [&] {
    return sql("SELECT user_id, type, peer_id, status, created, updated FROM session",
               "SELECT userId, type, peerId, status, created, updated FROM IMRecentSession"
               " ORDER BY userId, type, peerId");
  };
  EXPECT_EQ(all(), "4|1|9|0|100|100|9|1|4|0|100|100|");
  ASSERT_TRUE(converse(4, 9, 200));
  EXPECT_EQ(all(), "4|1|9|0|100|100|9|1|4|0|100|100|") << "visible rows are left alone";
  sql("UPDATE session SET status = 1 WHERE user_id = 9",
      "UPDATE IMRecentSession SET status = 1 WHERE userId = 9");
  ASSERT_TRUE(converse(4, 9, 300));
  EXPECT_EQ(all(), "4|1|9|0|100|100|9|1|4|0|100|300|");
  ASSERT_TRUE(converse(5, 5, 400));
  EXPECT_EQ(sessions(5).size(), 1u);
  const auto of_group = on([](auto& relational) {
    return relational.open_conversation(0, ConversationId::group(GroupId(1)), 1,
                                        [](const auto&) { FAIL(); });
  });
  EXPECT_EQ(of_group.error().code, Errc::unsupported);
}

TEST_P(RelationalContract, EverythingIsThereAfterARestart) {
  ASSERT_TRUE(add({{.name = "alice", .nick = "Alice"}, {.name = "bob"}}));
  ASSERT_TRUE(converse(1, 2, 7));
  ASSERT_TRUE(patch(2, {.status = kUserLeft}));
  open();
  EXPECT_EQ(account("alice")->user.nick, "Alice");
  const auto states = states_now();
  ASSERT_TRUE(states);
  ASSERT_EQ(states->size(), 2u);
  EXPECT_EQ((*states)[0].status, 0);
  EXPECT_EQ((*states)[1].status, 3);
  EXPECT_EQ(sessions(1).size() + sessions(2).size(), 2u);
}

TEST_P(RelationalContract, FullQueueIsAnAnswer) {
  on([](auto& relational) {
    int ran          = 0;
    uint32_t taken   = 0;
    const auto write = [&](uint32_t shard) {
      return relational.clear_push_token(shard, UserId(1), [&](Result<void>) { ++ran; });
    };
    while (write(0)) ASSERT_LT(++taken, 1000u);
    EXPECT_EQ(taken, 64u);
    const auto refused =
        relational.add_users(0, {{.name = "x"}}, [](Result<std::vector<User>>) { FAIL(); });
    EXPECT_EQ(refused.error().code, Errc::full);
    EXPECT_TRUE(write(1)) << "each shard its own";
    settle(relational);
    EXPECT_EQ(ran, 65);
    taken = 0;
    while (relational.find_user(0, UserId(1), [&](Result<User>) { ++ran; }))
      ASSERT_LT(++taken, 1000u);
    EXPECT_GE(taken, 64u);
    settle(relational);
    EXPECT_EQ(ran, 65 + static_cast<int>(taken));
    EXPECT_TRUE(write(0));
    settle(relational);
  });
  EXPECT_EQ(account("x").error().code, Errc::not_found);
}

TEST_P(RelationalContract, WorksOnItsOwnThreadsForTwoShards) {
  std::atomic<int> added = 0, taken = 0;
  on([&](auto& relational) {
    if constexpr (requires { relational.start(); }) {
      relational.start();
    } else {
      relational.start("sqlite");
    }
    const auto shard = [&](uint32_t number) {
      for (int i = 0; i < 200;) {
        const std::string name = "user" + std::to_string(i);  // both try every name
        if (relational.add_users(number, {{.name = name}}, [&](Result<std::vector<User>> result) {
              result ? ++added : ++taken;
            }))
          ++i;
        relational.collect(number);
      }
      while (added + taken < 400) {
        relational.collect(number);
        std::this_thread::yield();
      }
    };
    {
      std::jthread one(shard, 0), two(shard, 1);
    }
    relational.stop();
  });
  EXPECT_EQ(added, 200);
  EXPECT_EQ(taken, 200);
  EXPECT_EQ(states_now()->size(), 200u);
}

TEST_P(RelationalContract, PatchChangesWhatIsSetAndStamps) {
  ASSERT_TRUE(add_department("one"));
  ASSERT_TRUE(add({{.name = "alice", .nick = "A", .password = "old", .department = 1}}));
  const auto legacy = [&] {
    return sql("SELECT legacy_password, legacy_salt FROM user",
               "SELECT COALESCE(NULLIF(password, ''), '-'), COALESCE(NULLIF(salt, ''), '-')"
               " FROM IMUser");
  };
  const auto nick = patch(1, {.nick = "Alice' OR 1=1", .sex = 2});
  ASSERT_TRUE(nick);
  EXPECT_EQ(nick->nick, "Alice' OR 1=1");
  EXPECT_EQ(nick->department, 1u);
  EXPECT_EQ(nick->stamp, kNow + 1);
  auto now = account("alice");
  EXPECT_EQ(now->user.nick, "Alice' OR 1=1");
  EXPECT_EQ(now->user.sex, 2);
  EXPECT_EQ(now->password, "old");
  EXPECT_EQ(now->epoch, 0u);

  const auto all = patch(1, {.nick       = "",
                             .domain     = "ai",
                             .phone      = "1",
                             .email      = "a@b",
                             .avatar     = "/g0/x",
                             .signature  = "hi",
                             .password   = "new",
                             .department = 0});
  ASSERT_TRUE(all);
  now = account("alice");
  EXPECT_EQ(now->user.nick + now->user.domain + now->user.phone + now->user.email +
                now->user.avatar + now->user.signature,
            "ai1a@b/g0/xhi");
  EXPECT_EQ(now->user.department, 0u);
  EXPECT_EQ(now->user.sex, 2);
  EXPECT_EQ(now->user.stamp, kNow + 2);
  EXPECT_EQ(now->password, "new");
  EXPECT_EQ(now->legacy_password, "");
  EXPECT_EQ(legacy(), is_mysql() ? "-|-|" : "||");
  EXPECT_EQ(now->epoch, 1u);
  EXPECT_EQ(patch(9, {.nick = "x"}).error().code, Errc::not_found);
}

// A login checked the old password while an administrator set the new one.
TEST_P(RelationalContract, TheBetterHashOfAnOldPasswordIsRefused) {
  ASSERT_TRUE(add({{.name = "alice", .password = "old"}}));
  ASSERT_TRUE(patch(1, {.password = "new"}));
  EXPECT_EQ(upgrade(1, 0, "better old").error().code, Errc::refused);
  EXPECT_EQ(account("alice")->password, "new");
  EXPECT_TRUE(upgrade(1, 1, "better new"));
  EXPECT_EQ(account("alice")->password, "better new");
}

TEST_P(RelationalContract, DisablingFreesTheNameAndEndsTokens) {
  ASSERT_TRUE(add({{.name = "alice"}, {.name = "bob"}}));
  ASSERT_TRUE(patch(1, {.status = kUserLeft}));
  EXPECT_EQ(account("alice").error().code, Errc::not_found);
  EXPECT_EQ(named("alice")->status, kUserLeft) << "an operator finds who left";
  EXPECT_EQ(
      sql("SELECT epoch FROM user WHERE id = 1", "SELECT epoch FROM RTUserSync WHERE userId = 1"),
      "1|");
  ASSERT_TRUE(add({{.name = "alice"}}));
  EXPECT_EQ(raw(named("alice")->id), 3u) << "who works here comes before who left";
  const auto rows = [&] {
    return sql("SELECT * FROM user",
               "SELECT id, nick, status, updated, stamp, seen, epoch"
               " FROM IMUser JOIN RTUserSync ON userId = id ORDER BY id");
  };
  const std::string before = rows();
  EXPECT_EQ(patch(1, {.nick = "x", .status = kUserActive}).error().code, Errc::exists);
  EXPECT_EQ(rows(), before);
  ASSERT_TRUE(patch(3, {.status = kUserLeft}));
  EXPECT_EQ(raw(named("alice")->id), 3u) << "the last who had it";
  ASSERT_TRUE(patch(1, {.status = kUserActive}));
  EXPECT_EQ(raw(account("alice")->user.id), 1u);
  EXPECT_EQ(named("' OR '1'='1").error().code, Errc::not_found);
}

TEST_P(RelationalContract, FindUsersKeepsTheOrderAndLeavesOutNobody) {
  ASSERT_TRUE(add({{.name = "a"}, {.name = "b"}, {.name = "c"}}));
  const auto find = [&](std::vector<UserId> ids) {
    std::string names;
    auto found = ask<std::vector<User>>([&](auto& relational, auto done) {
      return relational.find_users(0, std::move(ids), std::move(done));
    });
    for (const User& user : *found) names += user.name;
    return names;
  };
  EXPECT_EQ(find({UserId(3), UserId(0), UserId(1), UserId(99), UserId(3), UserId(~0u)}), "cac");
  EXPECT_EQ(find({}), "");
  std::vector<UserId> backwards;
  for (uint32_t id = 1000; id > 0; --id) backwards.push_back(UserId(id));
  EXPECT_EQ(find(backwards), "cba");
  const auto refused = on([](auto& relational) {
    return relational.find_users(0, std::vector<UserId>(kUsersAskedMax + 1),
                                 [](Result<std::vector<User>>) { FAIL(); });
  });
  EXPECT_EQ(refused.error().code, Errc::too_large);
}

// Stamps never split: whoever goes on from the last one misses nobody.
TEST_P(RelationalContract, PagesOfUsersHoldWholeStamps) {
  std::vector<NewUser> many;
  for (int i = 0; i < 1750; ++i) many.push_back({.name = "n" + std::to_string(i)});
  ASSERT_TRUE(add(std::move(many)));  // six stamps: 5 × 300, 250
  ASSERT_TRUE(patch(1000, {.status = kUserLeft}));
  for (const uint32_t limit : {1u, 499u, 500u, 501u, 999u, 1000u, 5000u, ~0u}) {
    std::set<uint32_t> ids;
    uint64_t stamp = 0;
    for (int i = 0; i < 10; ++i) {
      const UserPage page = since(stamp, limit);
      EXPECT_LE(page.users.size(), std::max(size_t{limit}, Relational::kUsersPerStampMax));
      for (const User& user : page.users) {
        EXPECT_TRUE(ids.insert(raw(user.id)).second) << "twice with limit " << limit;
        EXPECT_GE(user.stamp, stamp);
      }
      if (page.users.empty()) break;
      stamp = page.users.back().stamp;
      if (!page.more) break;
    }
    EXPECT_EQ(ids.size(), 1750u) << limit;
    EXPECT_TRUE(since(stamp, limit).users.empty());
  }
  const UserPage last = since(kNow + 5, 100);
  ASSERT_EQ(last.users.size(), 1u) << "a change brings exactly that user";
  EXPECT_EQ(last.users[0].status, kUserLeft);
  EXPECT_TRUE(since(~uint64_t{0}, 10).users.empty());
}

TEST_P(RelationalContract, RowsInsertedByHandAreStampedAtTheNextStart) {
  ASSERT_TRUE(add({{.name = "alice"}}));
  std::string names;
  for (int i = 0; i < 1100; ++i)
    names += (i > 0 ? ", ('h" : "('h") + std::to_string(i) + (is_mysql() ? "', 0, 1, 1)" : "')");
  EXPECT_EQ(sql("INSERT INTO user (name) VALUES " + names,
                "INSERT INTO IMUser (name, departId, created, updated) VALUES " + names),
            "");
  EXPECT_EQ(sql("INSERT INTO department (name) VALUES ('x'), ('y')",
                "INSERT INTO IMDepart (departName, parentId, created, updated)"
                " VALUES ('x', 0, 1, 1), ('y', 0, 1, 1)"),
            "");
  open();
  std::map<uint64_t, size_t> stamps;
  for (const User& each : since(0, 5000).users) ++stamps[each.stamp];
  size_t users = 0;
  for (const auto& [stamp, count] : stamps) {
    EXPECT_LE(count, 300u);
    EXPECT_GE(stamp, kNow);
    users += count;
  }
  EXPECT_EQ(users, 1101u);
  EXPECT_EQ(since(kNow, 5000).users.size(), 1100u);
  const auto both = departments(0);
  ASSERT_EQ(both.size(), 2u);
  EXPECT_LT(both[0].stamp, both[1].stamp);
}

TEST_P(RelationalContract, DepartmentsAreATree) {
  const auto top = add_department("top");
  ASSERT_TRUE(top);
  EXPECT_EQ(top->id, 1u);
  EXPECT_EQ(top->priority, 7u);
  ASSERT_TRUE(add_department("mid", 1));
  ASSERT_TRUE(add_department("leaf", 2));
  EXPECT_EQ(add_department("lost", 99).error().code, Errc::refused);
  EXPECT_EQ(patch_department(1, {.parent = 3}).error().code, Errc::refused) << "above itself";
  EXPECT_EQ(patch_department(2, {.parent = 2}).error().code, Errc::refused);
  EXPECT_EQ(patch_department(2, {.parent = 50}).error().code, Errc::refused);
  EXPECT_EQ(patch_department(50, {.name = "x"}).error().code, Errc::not_found);
  const auto moved = patch_department(3, {.name = "blatt", .parent = 1, .priority = 1});
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved->name, "blatt");

  ASSERT_TRUE(add({{.name = "alice", .department = 3}, {.name = "bob", .department = 3}}));
  EXPECT_EQ(remove_department(3).error().code, Errc::exists) << "somebody works there";
  EXPECT_EQ(remove_department(1).error().code, Errc::exists) << "departments are in it";
  ASSERT_TRUE(patch(1, {.status = kUserLeft}));
  ASSERT_TRUE(patch(2, {.department = 2}));
  const uint64_t before = departments(0).back().stamp;
  EXPECT_TRUE(remove_department(3));
  EXPECT_EQ(remove_department(3).error().code, Errc::not_found);
  EXPECT_EQ(patch_department(3, {.name = "x"}).error().code, Errc::not_found);
  EXPECT_EQ(add_department("in a removed one", 3).error().code, Errc::refused);
  const auto news = departments(before);
  ASSERT_EQ(news.size(), 1u) << "exactly what changed";
  EXPECT_EQ(news[0].id, 3u);
  EXPECT_EQ(news[0].status, 1);
  EXPECT_EQ(departments(0).size(), 3u);
  sql("UPDATE department SET parent = 3 - id WHERE id < 3",
      "UPDATE IMDepart SET parentId = 3 - id WHERE id < 3");
  EXPECT_EQ(add_department("below a circle", 2)->id, 4u);
  EXPECT_EQ(patch_department(1, {.parent = 4}).error().code, Errc::refused);
}

TEST_P(RelationalContract, UsersAreInDepartmentsThatThereAre) {
  ASSERT_TRUE(add_department("stays"));
  ASSERT_TRUE(add_department("goes"));
  ASSERT_TRUE(remove_department(2));
  ASSERT_TRUE(add({{.name = "alice", .department = 1}, {.name = "bob"}}));
  for (const uint32_t nowhere : {2u, 3u, UINT32_MAX}) {
    EXPECT_EQ(patch(1, {.department = nowhere}).error().code, Errc::refused);
    EXPECT_EQ(add({{.name = "carol", .department = 1}, {.name = "dave", .department = nowhere}})
                  .error()
                  .code,
              Errc::refused);
    EXPECT_EQ(account("carol").error().code, Errc::not_found) << "all or none";
  }
  EXPECT_EQ(patch(9, {.department = 3}).error().code, Errc::not_found);
  EXPECT_EQ(account("alice")->user.department, 1u);
  EXPECT_TRUE(patch(1, {.department = 0}));
  // Who is in one that went before this was checked can still be changed otherwise.
  sql("UPDATE user SET department = 2 WHERE id = 2", "UPDATE IMUser SET departId = 2 WHERE id = 2");
  EXPECT_TRUE(patch(2, {.nick = "Bob"}));
}

TEST_P(RelationalContract, AHiddenSessionRemembersHowFar) {
  ASSERT_TRUE(converse(1, 2, 100));
  ASSERT_TRUE(converse(1, 3, 100));
  EXPECT_EQ(hide(1, 2, 0).error().code, Errc::not_found) << "nothing was written yet";
  EXPECT_TRUE(hide(1, 2, 5));
  EXPECT_EQ(hide(1, 2, 5).error().code, Errc::not_found) << "no message since";
  EXPECT_EQ(hide(1, 2, 4).error().code, Errc::not_found);
  EXPECT_TRUE(hide(1, 2, 6));
  EXPECT_EQ(hide(1, 9, 6).error().code, Errc::not_found);
  const auto rows = sessions(1);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(raw(rows[0].peer), 2u);
  EXPECT_EQ(rows[0].hidden_to, 6u);
  EXPECT_EQ(rows[1].hidden_to, 0u);
  ASSERT_EQ(sessions(2).size(), 1u);
  EXPECT_EQ(sessions(2)[0].hidden_to, 0u) << "the peer keeps his";
}

TEST_P(RelationalContract, ATokenBelongsToWhoRegisteredItLast) {
  ASSERT_TRUE(add({{.name = "alice"}, {.name = "bob"}}));
  EXPECT_TRUE(set_token(1, PushVendor::ios, "first"));
  EXPECT_TRUE(set_token(2, PushVendor::android, "other's"));
  EXPECT_EQ(tokens(), "1|ios|first|2|android|other's|");
  EXPECT_TRUE(set_token(1, PushVendor::android, "second"));
  EXPECT_EQ(tokens(), "1|android|second|2|android|other's|") << "one per user";
  EXPECT_TRUE(set_token(1, PushVendor::android, "second"));
  EXPECT_EQ(tokens(), "1|android|second|2|android|other's|") << "again";
  EXPECT_TRUE(set_token(1, PushVendor::ios, "other's"));
  EXPECT_EQ(tokens(), "1|ios|other's|") << "nobody else keeps it, whatever the vendor";
  open();
  EXPECT_EQ(tokens(), "1|ios|other's|");
  EXPECT_TRUE(clear_token(2)) << "there is none";
  EXPECT_EQ(tokens(), "1|ios|other's|");
  EXPECT_TRUE(clear_token(1));
  EXPECT_EQ(tokens(), "");
  for (const char* hostile : {"'; DROP TABLE user; --", "%s%n", "a|b"}) {
    EXPECT_TRUE(set_token(1, PushVendor::ios, hostile));
    EXPECT_EQ(tokens(), std::string("1|ios|") + hostile + "|");
  }
}

TEST_P(RelationalContract, SilentNightsMoveNoStamp) {
  ASSERT_TRUE(add({{.name = "alice"}, {.name = "bob"}}));
  EXPECT_EQ(shield(1), false);
  EXPECT_TRUE(set_shield(1, true));
  EXPECT_TRUE(set_shield(1, true)) << "what is so already";
  EXPECT_EQ(shield(1), true);
  EXPECT_EQ(shield(2), false);
  EXPECT_TRUE(since(kNow, 10).users.empty()) << "others do not see it";
  ASSERT_TRUE(patch(1, {.nick = "A"}));
  open();
  EXPECT_EQ(shield(1), true);
  EXPECT_TRUE(set_shield(1, false));
  EXPECT_EQ(shield(1), false);
  EXPECT_EQ(set_shield(9, true).error().code, Errc::not_found);
  EXPECT_EQ(shield(9).error().code, Errc::not_found);
}

TEST_P(RelationalContract, AGroupIsFoundListedPatchedAndDismissed) {
  EXPECT_EQ(group(1).error().code, Errc::not_found);
  const auto made = add_group({.name    = "one",
                               .avatar  = "face",
                               .creator = UserId(7),
                               .type    = kGroupTemporary,
                               .members = {UserId(7), UserId(9)}});
  ASSERT_TRUE(made);
  EXPECT_EQ(raw(made->id), 1u);
  EXPECT_EQ(made->version, 1u);
  EXPECT_EQ(made->members, 2u);
  EXPECT_EQ(made->created, kNow);
  ASSERT_TRUE(add_group({.name = "two", .type = kGroupNormal, .members = {}}));
  ASSERT_TRUE(add_group({.name = "three", .members = {UserId(7)}}));
  auto found = group(1);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->name, "one");
  EXPECT_EQ(found->avatar, "face");
  EXPECT_EQ(raw(found->creator), 7u);
  EXPECT_EQ(found->type, kGroupTemporary);
  EXPECT_EQ(found->members, 2u);
  EXPECT_EQ(group(2)->type, kGroupNormal);
  EXPECT_EQ(raw(group(2)->creator), 0u);
  EXPECT_EQ(groups(0, 100), (std::vector<uint32_t>{1, 2, 3}));
  EXPECT_EQ(groups(1, 1), (std::vector<uint32_t>{2}));
  EXPECT_TRUE(groups(3, 100).empty());

  const auto patched = patch_group(1, {.name = "uno"});
  ASSERT_TRUE(patched);
  EXPECT_EQ(patched->name, "uno");
  EXPECT_EQ(patched->avatar, "face");
  EXPECT_EQ(patched->version, 2u) << "clients that know the old name must ask again";
  EXPECT_EQ(patched->members, 2u);
  EXPECT_EQ(group(1)->name, "uno");

  EXPECT_TRUE(dismiss(1));
  EXPECT_EQ(dismiss(1).error().code, Errc::not_found);
  EXPECT_EQ(group(1).error().code, Errc::not_found);
  EXPECT_EQ(change(1, true, 5, {8}).error().code, Errc::not_found);
  EXPECT_EQ(patch_group(1, {.name = "x"}).error().code, Errc::not_found);
  EXPECT_EQ(groups(0, 100), (std::vector<uint32_t>{2, 3}));
  EXPECT_EQ(memberships(7).size(), 1u);
  EXPECT_TRUE(members(1).empty());
  EXPECT_EQ(sql("SELECT status, version, members FROM chat_group WHERE id = 1",
                "SELECT status, version, userCnt FROM IMGroup WHERE id = 1"),
            "1|3|0|");
  open();
  EXPECT_EQ(raw(add_group({.name = "four", .members = {}})->id), 4u) << "ids are used once";
}

TEST_P(RelationalContract, MembersComeAndGoAndAreCounted) {
  ASSERT_TRUE(add_group({.name = "g", .members = {UserId(1), UserId(2)}}));
  const auto changed = [this](bool add, uint32_t first, const std::vector<uint32_t>& users) {
    const auto done = change(1, add, first, users);
    std::vector<uint32_t> told{done->version};
    for (const UserId user : done->users) told.push_back(raw(user));
    return told;  // version, who was changed
  };
  using Told = std::vector<uint32_t>;
  EXPECT_EQ(changed(true, 10, {2, 3, 4, 3}), (Told{2, 3, 4})) << "who was not in";
  EXPECT_EQ(group(1)->members, 4u);
  EXPECT_EQ(firsts(1), (std::vector<uint32_t>{1, 1, 10, 10}));
  EXPECT_EQ(changed(true, 20, {2, 3, 4}), Told{3}) << "also when nobody was changed";
  EXPECT_EQ(firsts(1), (std::vector<uint32_t>{1, 1, 10, 10})) << "who is in stays as he was";
  EXPECT_EQ(changed(false, 0, {3, 9, 1}), (Told{4, 3, 1}));
  EXPECT_EQ(changed(false, 0, {3}), Told{5});
  EXPECT_EQ(group(1)->version, 5u);
  EXPECT_EQ(group(1)->members, 2u);
  EXPECT_EQ(changed(true, 30, {3}), (Told{6, 3}));
  EXPECT_EQ(firsts(1), (std::vector<uint32_t>{1, 30, 10}));
  EXPECT_EQ(group(1)->members, 3u);
  open();
  EXPECT_EQ(group(1)->version, 6u);
  EXPECT_EQ(firsts(1), (std::vector<uint32_t>{1, 30, 10}));

  // By id, from behind `after`, not more than the limit.
  const auto page = ask<std::vector<Member>>([&](auto& relational, auto done) {
    return relational.list_members(1, GroupId(1), UserId(2), 1, std::move(done));
  });
  ASSERT_EQ(page->size(), 1u);
  EXPECT_EQ(raw(page->front().user), 3u);
  EXPECT_TRUE(members(99).empty());
}

TEST_P(RelationalContract, AMembersSideOfHisGroups) {
  ASSERT_TRUE(add_group({.name = "a", .type = kGroupNormal, .members = {UserId(1), UserId(2)}}));
  ASSERT_TRUE(add_group({.name = "b", .members = {UserId(2)}}));
  ASSERT_TRUE(change(2, true, 6, {1}));
  EXPECT_TRUE(mute(1, 1, true));
  EXPECT_TRUE(hide_group(1, 2, 8));
  for (const uint32_t foreign : {2u, 3u}) {
    EXPECT_EQ(mute(3, foreign, true).error().code, Errc::not_found);
    EXPECT_EQ(hide_group(3, foreign, 1).error().code, Errc::not_found);
  }
  open();
  auto rows = memberships(1);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(raw(rows[0].group), 1u);
  EXPECT_EQ(rows[0].version, 1u);
  EXPECT_EQ(rows[0].first, 1u);
  EXPECT_EQ(rows[0].type, kGroupNormal);
  EXPECT_TRUE(rows[0].muted);
  EXPECT_EQ(rows[0].hidden_to, 0u);
  EXPECT_EQ(raw(rows[1].group), 2u);
  EXPECT_EQ(rows[1].version, 2u);
  EXPECT_EQ(rows[1].first, 6u);
  EXPECT_FALSE(rows[1].muted);
  EXPECT_EQ(rows[1].hidden_to, 8u);
  EXPECT_FALSE(memberships(2)[0].muted);
  EXPECT_TRUE(members(1)[0].muted);
  EXPECT_TRUE(hide_group(1, 2, 0));
  EXPECT_EQ(memberships(1)[1].hidden_to, 0u);

  // Who comes again begins afresh.
  ASSERT_TRUE(change(1, false, 0, {1}));
  EXPECT_EQ(mute(1, 1, false).error().code, Errc::not_found);
  ASSERT_TRUE(change(1, true, 9, {1}));
  rows = memberships(1);
  EXPECT_FALSE(rows[0].muted);
  EXPECT_EQ(rows[0].version, 3u);
  ASSERT_TRUE(dismiss(2));
  EXPECT_EQ(memberships(1).size(), 1u);
  EXPECT_TRUE(memberships(77).empty());
}

TEST_P(RelationalContract, AsManyMembersAsACallTakes) {
  std::vector<UserId> all;
  for (uint32_t id = 1; id <= kMembersPerCall; ++id) all.push_back(UserId(id));
  ASSERT_TRUE(add_group({.name = "large", .members = all}));
  EXPECT_EQ(group(1)->members, kMembersPerCall);
  EXPECT_EQ(members(1).size(), kMembersPerCall);
  std::vector<UserId> more;
  for (const UserId id : all) more.push_back(UserId(raw(id) + kMembersPerCall));
  auto changed = ask<MembersChanged>([&](auto& relational, auto done) {
    return relational.change_members(0, {.group = GroupId(1), .first = 2, .users = more},
                                     std::move(done));
  });
  EXPECT_EQ(changed->users.size(), kMembersPerCall);
  EXPECT_EQ(group(1)->members, 2 * kMembersPerCall);
  all.push_back(UserId(kMembersPerCall + 1));
  on([&](auto& relational) {
    const auto never = [](auto) { ADD_FAILURE() << "called"; };
    EXPECT_EQ(relational.add_group(0, {.name = "g", .members = all}, never).error().code,
              Errc::too_large);
    EXPECT_EQ(relational.change_members(0, {.group = GroupId(1), .users = all}, never).error().code,
              Errc::too_large);
  });
  settle();
  EXPECT_EQ(group(1)->members, 2 * kMembersPerCall);
}

TEST_P(RelationalContract, OneBadCallDoesNotPoisonItsBatch) {
  ASSERT_TRUE(add({{.name = "taken"}}));
  std::optional<Result<std::vector<User>>> before, bad, after;
  std::optional<Result<void>> missing;
  std::optional<Result<Group>> made, twice;
  on([&](auto& relational) {
    ASSERT_TRUE(relational.add_users(0, {{.name = "one"}}, into(before)));
    ASSERT_TRUE(relational.add_users(0, {{.name = "half"}, {.name = "taken"}}, into(bad)));
    ASSERT_TRUE(relational.upgrade_password(0, UserId(99), 0, "x", into(missing)));
    ASSERT_TRUE(relational.add_group(0, {.name = "good", .members = {UserId(1)}}, into(made)));
    ASSERT_TRUE(relational.add_group(
        0, {.name = "twice", .members = {UserId(1), UserId(2), UserId(1)}}, into(twice)));
    ASSERT_TRUE(relational.add_users(1, {{.name = "two"}}, into(after)));
    EXPECT_EQ(relational.run_some(), 6u) << "one batch";
  });
  settle();
  EXPECT_TRUE(*before);
  EXPECT_EQ(bad->error().code, Errc::exists);
  EXPECT_EQ(missing->error().code, Errc::not_found);
  EXPECT_TRUE(*made);
  EXPECT_EQ(twice->error().code, Errc::exists);
  EXPECT_TRUE(*after);
  std::string names;
  const auto rows = list(0, 10);
  for (const User& each : *rows) names += each.name + " ";
  EXPECT_EQ(names, "taken one two ");
  EXPECT_EQ(groups(0, 10).size(), 1u);
  EXPECT_EQ(memberships(1).size(), 1u);
  EXPECT_TRUE(memberships(2).empty());
}

// Texts that mean something to somebody on the way. (Longer ones and bytes that are no text: each driver
// has its own limits.)
TEST_P(RelationalContract, HostileTextIsStoredExactly) {
  using namespace std::string_literals;
  const std::string hostile[] = {
      "'; DROP TABLE user; --",
      "\"",
      "`",
      "?1",
      "?",
      "nul\0inside"s,
      "\0"s,
      "nul"s,
      "\\",
      "\\'",
      "%_*[a]",
      "ünï",
      "uni",
      " lead",
      "lead",
      "lead ",
      "Lead",
      "\xf0\x9f\x98\x80",
      "\xf0\x9f\x98\x81",
      "\r\n\t\x1b[2J",
      "NULL",
      "1",
      "1.0",
      "x'00'",
      "",
      " ",
      std::string(31, 'n'),
  };
  for (const std::string& name : hostile) {
    auto added = add({{.name = name, .nick = name, .password = name}});
    ASSERT_TRUE(added) << name;
    EXPECT_EQ((*added)[0].name, name);
    const auto found = account(name);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(found->user.id, (*added)[0].id);
    EXPECT_EQ(found->user.name, name);
    EXPECT_EQ(found->user.nick, name);
    EXPECT_EQ(found->password, name);
    EXPECT_EQ(add({{.name = name}}).error().code, Errc::exists);
    EXPECT_EQ(add({{.name = "new"}, {.name = name}, {.name = "newer"}}).error().code, Errc::exists);
    EXPECT_EQ(account(name + "  ").error().code, Errc::not_found);
    EXPECT_EQ(named(name)->id, (*added)[0].id);
  }
  open();
  for (const std::string& name : hostile) EXPECT_EQ(account(name)->user.name, name);
  EXPECT_EQ(list(0, 100)->size(), std::size(hostile));
  EXPECT_EQ(account("new").error().code, Errc::not_found);

  // Many at once take another way.
  std::vector<NewUser> many;
  for (const std::string& name : hostile) many.push_back({.name = "b" + name, .password = name});
  const auto added = add(many);
  ASSERT_TRUE(added);
  for (size_t i = 0; i < many.size(); ++i) {
    const auto found = account(many[i].name);
    ASSERT_TRUE(found) << many[i].name;
    EXPECT_EQ(found->user.id, (*added)[i].id);
    EXPECT_EQ(found->password, many[i].password);
    EXPECT_EQ(raw((*added)[i].id), raw((*added)[0].id) + i);
  }
  const auto first = add_group({.name = "\xf0\x9f\x98\x80'", .members = {UserId(1)}});
  ASSERT_TRUE(first);
  EXPECT_EQ(group(1)->name, "\xf0\x9f\x98\x80'");
  EXPECT_EQ(add_department("\xf0\x9f\x98\x81\"")->name, "\xf0\x9f\x98\x81\"");
  EXPECT_EQ(departments(0)[0].name, "\xf0\x9f\x98\x81\"");
}

}  // namespace
}  // namespace ringtalk::store
