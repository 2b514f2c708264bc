// MySqlRelational beside others: a second one at the same database, and programs that know nothing of ours.
#include "store/mysql/mysql_relational.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <thread>

#include "tests/store/relational_world.h"

namespace ringtalk::store {
namespace {

class MySqlRelationalTest : public testing::Test, protected RelationalWorld {
 protected:
  void SetUp() override {
    if (!make(Driver::mysql)) GTEST_SKIP() << "RINGTALK_TEST_MYSQL names no server";
  }

  std::string run(const std::string& text) { return sql("", text); }
  // Both halves of the ids.
  OutsideChanges look() { return look(mysql()); }
  static OutsideChanges look(MySqlRelational& relational) {
    OutsideChanges all;
    for (int half = 0; half < 2; ++half) {
      const auto found = ask<OutsideChanges>(
          relational, [](auto& asked, auto done) { return asked.look_around(1, std::move(done)); });
      EXPECT_TRUE(found);
      all.users.insert(all.users.end(), found->users.begin(), found->users.end());
      all.groups.insert(all.groups.end(), found->groups.begin(), found->groups.end());
    }
    std::ranges::sort(all.users, {}, &OutsideUser::id);
    return all;
  }
  bool quiet() {
    const OutsideChanges found = look();
    return found.users.empty() && found.groups.empty();
  }
};

// --- what other programs change ------------------------------------------------------------------------

TEST_F(MySqlRelationalTest, WhatWeWriteIsNotNews) {
  ASSERT_TRUE(add_department("d"));
  ASSERT_TRUE(add({{.name = "alice", .department = 1}, {.name = "bob", .password = "x"}}));
  std::vector<NewUser> many(601);
  for (size_t i = 0; i < many.size(); ++i) many[i].name = "m" + std::to_string(i);
  ASSERT_TRUE(add(many));
  ASSERT_TRUE(patch(1, {.nick = "A"}));
  ASSERT_TRUE(patch(2, {.password = "y", .status = kUserLeft}));
  ASSERT_TRUE(upgrade(1, 0, "better"));
  ASSERT_TRUE(set_shield(1, true));
  ASSERT_TRUE(patch_department(1, {.name = "e"}));
  ASSERT_TRUE(add_group({.name = "g", .members = {UserId(1), UserId(2)}}));
  ASSERT_TRUE(add_group({.name = "h", .members = {UserId(1)}}));
  ASSERT_TRUE(change(1, true, 4, {3, 4, 5}));
  ASSERT_TRUE(change(1, false, 0, {1, 4}));
  ASSERT_TRUE(change(1, true, 6, {4}));
  ASSERT_TRUE(patch_group(1, {.name = "i"}));
  ASSERT_TRUE(dismiss(2));
  ASSERT_TRUE(mute(3, 1, true));
  ASSERT_TRUE(converse(1, 2, 5));
  const std::string before = run("SELECT SUM(stamp) FROM RTUserSync");
  EXPECT_TRUE(quiet());
  open();
  EXPECT_TRUE(quiet());
  EXPECT_EQ(run("SELECT SUM(stamp) FROM RTUserSync"), before);
  run("UPDATE IMGroup SET lastChated = 77");
  EXPECT_TRUE(quiet()) << "a message";
}

TEST_F(MySqlRelationalTest, EditedUsersAreStampedAndTold) {
  ASSERT_TRUE(add({{.name = "alice"}, {.name = "bob"}, {.name = "carol"}}));
  // In the second of ours, and without touching `updated`, as pages do.
  run("UPDATE IMUser SET nick = 'Al' WHERE id = 1");
  run("UPDATE IMUser SET status = 3 WHERE id = 2");
  run("INSERT INTO IMUser (name, departId, created, updated) VALUES ('dave', 0, 1, 1)");
  const OutsideChanges found = look();
  ASSERT_EQ(found.users.size(), 3u);
  EXPECT_EQ(raw(found.users[0].id), 1u);
  EXPECT_EQ(found.users[0].status, 0);
  EXPECT_EQ(raw(found.users[1].id), 2u);
  EXPECT_EQ(found.users[1].status, kUserLeft);
  EXPECT_EQ(raw(found.users[2].id), 4u);
  for (const OutsideUser& each : found.users) EXPECT_FALSE(each.password);
  UserPage news = since(kNow, 10);
  ASSERT_EQ(news.users.size(), 3u);
  std::ranges::sort(news.users, {}, &User::id);
  EXPECT_EQ(news.users[0].nick, "Al");
  EXPECT_EQ(news.users[1].status, kUserLeft);
  EXPECT_EQ(run("SELECT epoch FROM RTUserSync WHERE userId = 2"), "1|") << "his tokens end";
  EXPECT_TRUE(quiet());
  run("UPDATE IMUser SET updated = 5 WHERE id = 3");
  EXPECT_EQ(look().users.size(), 1u);
  run("DELETE FROM IMUser WHERE id = 3");
  const OutsideChanges gone = look();
  ASSERT_EQ(gone.users.size(), 1u);
  EXPECT_EQ(raw(gone.users[0].id), 3u);
  EXPECT_EQ(gone.users[0].status, kUserLeft);
  EXPECT_TRUE(quiet());
}

// What is changed by us before anybody looked is still told.
TEST_F(MySqlRelationalTest, AnEditIsNotLostBehindOneOfOurs) {
  ASSERT_TRUE(add({{.name = "alice"}}));
  run("UPDATE IMUser SET status = 3 WHERE id = 1");
  ASSERT_TRUE(patch(1, {.signature = "hello"}));
  auto found = look();
  ASSERT_EQ(found.users.size(), 1u);
  EXPECT_EQ(found.users[0].status, kUserLeft);
  EXPECT_TRUE(quiet());
  ASSERT_TRUE(add_group({.name = "g", .members = {UserId(1)}}));
  run("INSERT INTO IMGroupMember (groupId, userId, status) VALUES (1, 7, 0)");
  run("UPDATE IMGroup SET name = 'h' WHERE id = 1");
  ASSERT_TRUE(patch_group(1, {.avatar = "face"}));
  ASSERT_TRUE(change(1, true, 2, {8}));
  found = look();
  ASSERT_EQ(found.groups.size(), 1u);
  EXPECT_EQ(found.groups[0].joined, std::vector<UserId>{UserId(7)});
  EXPECT_EQ(group(1)->members, 3u);
  EXPECT_TRUE(quiet());
}

TEST_F(MySqlRelationalTest, APasswordThatAPageSetIsTheOne) {
  ASSERT_TRUE(add({{.name = "alice"}}));
  const auto set = [&](const char* hash) {
    run("UPDATE IMUser SET password = '" + std::string(hash) + "', salt = '12' WHERE id = 1");
  };
  set("first");
  look();
  EXPECT_EQ(account("alice")->legacy_password, "first");
  EXPECT_EQ(account("alice")->epoch, 1u);
  ASSERT_TRUE(upgrade(1, 1, "better first"));
  EXPECT_EQ(account("alice")->password, "better first");
  EXPECT_EQ(account("alice")->legacy_password, "");

  set("second");
  auto now = account("alice");
  EXPECT_EQ(now->password, "") << "at once, not only when it was noticed";
  EXPECT_EQ(now->legacy_password, "second");
  EXPECT_EQ(now->epoch, 2u) << "tokens and remembered proofs end at once";
  EXPECT_EQ(upgrade(1, 1, "better first").error().code, Errc::refused) << "checked before";
  const auto found = look();
  ASSERT_EQ(found.users.size(), 1u);
  EXPECT_TRUE(found.users[0].password);
  now = account("alice");
  EXPECT_EQ(now->epoch, 2u);
  EXPECT_EQ(upgrade(1, 1, "better first").error().code, Errc::refused);
  EXPECT_TRUE(upgrade(1, 2, "better second"));
  EXPECT_EQ(account("alice")->password, "better second");
  EXPECT_EQ(run("SELECT password FROM IMUser"), "second|") << "the original can come back";
  ASSERT_TRUE(patch(1, {.password = "ours"}));
  EXPECT_EQ(run("SELECT CONCAT('<', password, salt, '>') FROM IMUser"), "<>|");
  EXPECT_EQ(account("alice")->epoch, 3u);
  EXPECT_TRUE(quiet());
}

TEST_F(MySqlRelationalTest, EditedDepartmentsAreStamped) {
  ASSERT_TRUE(add_department("a"));
  ASSERT_TRUE(add_department("b"));
  run("UPDATE IMDepart SET departName = 'bee' WHERE id = 2");
  run("INSERT INTO IMDepart (departName, parentId, created, updated) VALUES ('c', 1, 1, 1)");
  look();
  const auto news = departments(kNow + 1);
  ASSERT_EQ(news.size(), 2u);
  EXPECT_EQ(news[0].name, "bee");
  EXPECT_EQ(news[1].name, "c");
  EXPECT_LT(news[0].stamp, news[1].stamp);
  const std::string before = run("SELECT SUM(stamp) FROM RTDepartSync");
  look();
  EXPECT_EQ(run("SELECT SUM(stamp) FROM RTDepartSync"), before);
}

TEST_F(MySqlRelationalTest, EditedGroupsHaveANewVersion) {
  ASSERT_TRUE(add_group({.name = "one", .members = {UserId(1), UserId(2), UserId(3)}}));
  ASSERT_TRUE(add_group({.name = "two", .members = {UserId(1)}}));
  run("INSERT INTO IMGroupMessage_1 (groupId, userId, msgId, content, rtSeq)"
      " VALUES (1, 1, 41, 'x', 41)");
  run("UPDATE IMGroupMember SET status = 1 WHERE groupId = 1 AND userId = 2");
  run("INSERT INTO IMGroupMember (groupId, userId, status) VALUES (1, 9, 0), (1, 8, 0)");
  auto found = look();
  ASSERT_EQ(found.groups.size(), 1u);
  EXPECT_EQ(raw(found.groups[0].id), 1u);
  EXPECT_EQ(found.groups[0].version, 2u);
  EXPECT_EQ(found.groups[0].first, 42u);
  EXPECT_EQ(found.groups[0].left, std::vector<UserId>{UserId(2)});
  const std::set<UserId> joined(found.groups[0].joined.begin(), found.groups[0].joined.end());
  EXPECT_EQ(joined, (std::set<UserId>{UserId(8), UserId(9)}));
  EXPECT_EQ(group(1)->version, 2u);
  EXPECT_EQ(group(1)->members, 4u);
  EXPECT_EQ(firsts(1), (std::vector<uint32_t>{1, 1, 42, 42}));
  EXPECT_TRUE(quiet());

  run("UPDATE IMGroup SET name = 'uno' WHERE id = 1");
  found = look();
  ASSERT_EQ(found.groups.size(), 1u);
  EXPECT_TRUE(found.groups[0].joined.empty() && found.groups[0].left.empty());
  EXPECT_EQ(group(1)->version, 3u);

  run("UPDATE IMGroup SET status = 1 WHERE id = 2");
  found = look();
  ASSERT_EQ(found.groups.size(), 1u);
  EXPECT_TRUE(found.groups[0].dismissed);
  EXPECT_EQ(found.groups[0].left, std::vector<UserId>{UserId(1)});
  EXPECT_EQ(memberships(1).size(), 1u);
  run("DELETE FROM IMGroup WHERE id = 1");
  found = look();
  ASSERT_EQ(found.groups.size(), 1u);
  EXPECT_TRUE(found.groups[0].dismissed);
  EXPECT_EQ(found.groups[0].left.size(), 4u);
  EXPECT_TRUE(quiet());

  run("INSERT INTO IMGroup (id, name, status) VALUES (50, 'new', 0)");
  run("INSERT INTO IMGroupMember (groupId, userId, status) VALUES (50, 5, 0)");
  found = look();
  ASSERT_EQ(found.groups.size(), 1u);
  EXPECT_EQ(found.groups[0].first, 1u);
  EXPECT_EQ(memberships(5).size(), 1u);
  run("INSERT INTO IMGroup (id, name) VALUES (51, 'forgot the status')");
  EXPECT_TRUE(quiet());
}

// Marks of members add up, so that two changes do not cancel each other.
TEST_F(MySqlRelationalTest, ExchangedMembersAreNoticed) {
  ASSERT_TRUE(add_group({.name = "g", .members = {UserId(10), UserId(13)}}));
  run("UPDATE IMGroupMember SET userId = userId + IF(userId = 10, 1, -1)");  // 11, 12
  const auto found = look();
  ASSERT_EQ(found.groups.size(), 1u);
  EXPECT_EQ(found.groups[0].joined.size(), 2u);
  EXPECT_EQ(found.groups[0].left.size(), 2u);
}

TEST_F(MySqlRelationalTest, ATakenOverSiteIsTakenAsItIs) {
  close();
  run("INSERT INTO IMUser (name, departId, created, updated, password, salt)"
      " VALUES ('old', 0, 1, 1, 'p', 's'), ('old', 0, 1, 1, 'q', 's')");
  run("INSERT INTO IMGroup (id, name, status, version) VALUES (3, 'g', 0, 7)");
  run("INSERT INTO IMGroupMember (groupId, userId, status) VALUES (3, 1, 0), (3, 2, 1)");
  run("INSERT INTO RTGroupMember (groupId, userId, firstMsgId, shield) VALUES (3, 1, 5, 1)");
  open();
  EXPECT_TRUE(quiet());
  EXPECT_EQ(group(3)->version, 7u);
  EXPECT_EQ(firsts(3), std::vector<uint32_t>{5});
  EXPECT_TRUE(memberships(1)[0].muted);
  EXPECT_EQ(raw(account("old")->user.id), 2u) << "of two with one name the last";
  EXPECT_EQ(account("old")->legacy_password, "q");
  run("UPDATE IMUser SET status = 1 WHERE id = 2");
  EXPECT_EQ(raw(account("old")->user.id), 1u) << "one who may log in comes first";
  EXPECT_EQ(add({{.name = "old"}}).error().code, Errc::exists);
}

// --- limits of the columns --------------------------------------------------------------------------------

TEST_F(MySqlRelationalTest, WhatDoesNotFitIsRefusedAlone) {
  std::optional<Result<std::vector<User>>> before, after;
  std::optional<Result<std::vector<User>>> bad[4];
  const std::string names[] = {std::string(33, 'n'), "\xff\xfe", "\xf0\x9f\x98", "x\xc0\xaf"};
  ASSERT_TRUE(mysql().add_users(0, {{.name = "before"}}, into(before)));
  for (size_t i = 0; i < std::size(names); ++i)
    ASSERT_TRUE(mysql().add_users(0, {{.name = "ok" + std::to_string(i)}, {.name = names[i]}},
                                  into(bad[i])));
  ASSERT_TRUE(mysql().add_users(0, {{.name = "after"}}, into(after)));
  settle();
  EXPECT_TRUE(*before);
  EXPECT_TRUE(*after);
  for (auto& result : bad) EXPECT_EQ(result->error().code, Errc::refused);
  EXPECT_EQ(run("SELECT COUNT(*) FROM IMUser"), "2|");
  EXPECT_EQ(patch(1, {.phone = "123456789012"}).error().code, Errc::refused);
  EXPECT_EQ(add_group({.name = std::string(257, 'g'), .members = {}}).error().code, Errc::refused);
  EXPECT_EQ(set_token(1, PushVendor::ios, std::string(513, 't')).error().code, Errc::refused);
  EXPECT_TRUE(quiet());
}

TEST_F(MySqlRelationalTest, TheRelationOfAPairIsOne) {
  const auto open_pair = [&](MySqlRelational& relational, uint32_t a, uint32_t b) {
    return *ask<uint32_t>(relational, [&](auto& asked, auto done) {
      return asked.open_conversation(0, ConversationId::single(UserId(a), UserId(b)), 5,
                                     std::move(done));
    });
  };
  const auto other    = open_mysql(2);
  const uint32_t pair = open_pair(mysql(), 4, 9);
  EXPECT_NE(pair, 0u);
  EXPECT_EQ(open_pair(mysql(), 9, 4), pair);
  EXPECT_EQ(open_pair(*other, 4, 9), pair);
  EXPECT_NE(open_pair(*other, 4, 8), pair);
  run("UPDATE IMRelationShip SET status = 1");
  EXPECT_EQ(open_pair(mysql(), 9, 4), pair) << "one that was removed comes back";
  EXPECT_EQ(run("SELECT COUNT(*) FROM IMRelationShip WHERE status = 0"), "1|");
  const auto relations = mysql().load_relations();
  ASSERT_TRUE(relations);
  ASSERT_EQ(relations->size(), 2u);
  EXPECT_EQ((*relations)[0].id, pair);
  EXPECT_EQ(raw((*relations)[0].small), 4u);
  EXPECT_EQ(raw((*relations)[0].big), 9u);
}

// --- two at one database ----------------------------------------------------------------------------------

// Each asks for `count` things from its own thread, of both processes at once.
template <class Ask>
void at_once(MySqlRelational& one, MySqlRelational& two, int count, Ask ask) {
  const auto side = [&](MySqlRelational& relational, int which) {
    std::atomic<int> answered = 0;
    for (int i = 0; i < count;) {
      if (ask(relational, which, i, answered)) ++i;
      relational.collect(0);
    }
    while (answered < count) {
      relational.collect(0);
      std::this_thread::yield();
    }
  };
  std::jthread first([&] { side(one, 0); });
  side(two, 1);
}

TEST_F(MySqlRelationalTest, TwoNeverGiveANameOrAStampTwice) {
  const auto other = open_mysql(2);
  mysql().start();
  other->start();
  constexpr int kNames   = 60;
  std::atomic<int> added = 0, taken = 0;
  std::atomic<bool> stop = false;
  // Somebody who pages through the stamps all the time misses nobody.
  std::set<uint32_t> seen;
  std::jthread pager([&] {
    const auto third = open_mysql(3);
    uint64_t stamp   = 0;
    for (bool last = false; !last;) {
      last            = stop;
      const auto page = *ask<UserPage>(*third, [&](auto& relational, auto done) {
        return relational.list_users_since(0, stamp, 7, std::move(done));
      });
      for (const User& each : page.users) {
        EXPECT_GT(each.stamp, stamp);
        EXPECT_TRUE(seen.insert(raw(each.id)).second);
      }
      if (!page.users.empty()) stamp = page.users.back().stamp, last = false;
    }
  });
  at_once(mysql(), *other, kNames, [&](auto& relational, int, int i, auto& answered) {
    return relational.add_users(0, {{.name = "name" + std::to_string(i)}},
                                [&](Result<std::vector<User>> result) {
                                  EXPECT_TRUE(result || result.error().code == Errc::exists);
                                  result ? ++added : ++taken;
                                  ++answered;
                                });
  });
  stop = true;
  pager.join();
  mysql().stop();
  other->stop();
  EXPECT_EQ(added, kNames);
  EXPECT_EQ(taken, kNames);
  EXPECT_EQ(seen.size(), static_cast<size_t>(kNames));
  EXPECT_EQ(run("SELECT COUNT(DISTINCT stamp), COUNT(*) FROM RTUserSync WHERE userId > 0"),
            "60|60|");
  EXPECT_TRUE(quiet());
}

TEST_F(MySqlRelationalTest, TwoCountTheMembersOfAGroup) {
  const auto other = open_mysql(2);
  ASSERT_TRUE(add_group({.name = "g", .members = {UserId(1)}}));
  mysql().start();
  other->start();
  std::atomic<int> came = 0, went = 0;
  at_once(mysql(), *other, 50, [&](auto& relational, int which, int i, auto& answered) {
    // Both add and remove the same people, in other orders.
    const uint32_t user = 2 + static_cast<uint32_t>(which == 0 ? i % 10 : (50 - i) % 10);
    const bool add_him  = (i / 10 + which) % 2 == 0;
    MemberChange wanted{.group = GroupId(1), .add = add_him, .first = 1, .users = {UserId(user)}};
    return relational.change_members(0, std::move(wanted), [&, add_him](auto result) {
      EXPECT_TRUE(result);
      if (result) (add_him ? came : went) += static_cast<int>(result->users.size());
      ++answered;
    });
  });
  mysql().stop();
  other->stop();
  const auto left = static_cast<uint32_t>(1 + came - went);
  EXPECT_EQ(group(1)->version, 101u);
  EXPECT_EQ(group(1)->members, left);
  EXPECT_EQ(members(1).size(), left);
  EXPECT_TRUE(quiet());
}

// A lock that somebody forgot: those behind it are told in bounded time, and reading goes on.
TEST_F(MySqlRelationalTest, AForgottenLockFailsWritersOnly) {
  ASSERT_TRUE(add({{.name = "alice"}}));
  auto holder = sql::connect(database().server());
  ASSERT_TRUE(holder);
  std::optional<Result<std::vector<User>>> added;
  engine::RealClock clock;
  const auto other = open_mysql(2, clock);
  ASSERT_TRUE((*holder)->run("BEGIN"));
  ASSERT_TRUE((*holder)->query("SELECT * FROM RTUserSync WHERE userId = 0 FOR UPDATE"));
  other->start();
  ASSERT_TRUE(other->add_users(0, {{.name = "bob"}}, into(added)));
  std::optional<Result<Account>> read;
  ASSERT_TRUE(other->find_account(1, "alice", into(read)));
  while (!read) other->collect(1);
  EXPECT_TRUE(*read);
  EXPECT_FALSE(added);
  while (!added) other->collect(0);
  EXPECT_EQ(added->error().code, Errc::timeout);
  ASSERT_TRUE((*holder)->run("ROLLBACK"));
  other->stop();
  EXPECT_TRUE(add({{.name = "bob"}}));
}

// Connections that an operator kills, all the time: every call has the answer that is true.
TEST_F(MySqlRelationalTest, KilledConnectionsLoseNothing) {
  engine::RealClock clock;
  const auto other = open_mysql(2, clock);
  other->start();
  std::atomic<bool> stop = false;
  const auto mine        = database().connection().query("SELECT CONNECTION_ID()")->number(0, 0);
  std::jthread killer([&] {
    auto admin = sql::connect(database().server());
    ASSERT_TRUE(admin);
    while (!stop) {
      auto all = (*admin)->query(
          "SELECT id FROM information_schema.PROCESSLIST WHERE db = DATABASE()"
          " AND id NOT IN (?, CONNECTION_ID()) ORDER BY RAND() LIMIT 1",
          {mine});
      ASSERT_TRUE(all);
      if (all->empty()) continue;
      // Ids are numbers; KILL takes no bound value.
      (void)(*admin)->run("KILL " + std::to_string(all->number(0, 0)));
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
  });
  std::set<std::string> promised, unknown;
  int answered = 0, asked = 0;
  for (; asked < 300; ++asked) {
    const std::string name = "u" + std::to_string(asked);
    ASSERT_TRUE(other->add_users(0, {{.name = name}}, [&, name](auto result) {
      ++answered;
      const Errc error = result ? Errc::ok : result.error().code;
      EXPECT_TRUE(error == Errc::ok || error == Errc::timeout || error == Errc::os);
      if (error == Errc::ok) promised.insert(name);
      if (error == Errc::timeout) unknown.insert(name);
    }));
    while (asked - answered > 4) other->collect(0);
  }
  while (answered < asked) other->collect(0);
  stop = true;
  killer.join();
  other->stop();
  auto rows = database().connection().query("SELECT name FROM IMUser");
  ASSERT_TRUE(rows);
  std::set<std::string> there;
  for (size_t row = 0; row < rows->size(); ++row)
    EXPECT_TRUE(there.emplace(rows->text(row, 0)).second) << "stored twice";
  for (const std::string& name : promised) EXPECT_TRUE(there.contains(name)) << name;
  for (const std::string& name : there)
    EXPECT_TRUE(promised.contains(name) || unknown.contains(name)) << name;
  EXPECT_GT(other->figures().connects, 4u);
  open();
  EXPECT_TRUE(quiet());
}

}  // namespace
}  // namespace ringtalk::store
