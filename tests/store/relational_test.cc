#include "store/embedded/relational.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>

namespace ringtalk::store {
namespace {

constexpr uint64_t kNow = 1'700'000'000;  // FakeClock's wall time, seconds

const std::string kNewerVersion = std::to_string(Relational::kSchemaVersion + 1);
// What takes a file of version 3 back to version 2.
// From the schema of today back to that of version 3, and of version 2.
const std::string kWithoutGroups = "DROP TABLE chat_group; DROP TABLE member;";
const std::string kWithoutPush =
    kWithoutGroups + "DROP TABLE push_token; ALTER TABLE user DROP COLUMN push_shield;";

class RelationalTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "relational.XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    open();
  }
  void TearDown() override {
    relational_.reset();
    std::filesystem::remove_all(root_);
  }

  std::string path() const { return root_ + "/ringtalk.db"; }

  void open() {
    relational_.reset();
    auto opened = Relational::open(options(), clock_);
    ASSERT_TRUE(opened) << static_cast<int>(opened.error().code);
    relational_ = std::move(*opened);
  }
  Relational::Options options() const {
    return {.path = path(), .shards = 2, .jobs_max = 64, .busy_ms = 50};
  }

  // Runs everything that waits and brings it home.
  void settle() {
    while (relational_->run_some() > 0) {
    }
    for (uint32_t shard = 0; shard < 2; ++shard)
      while (relational_->collect(shard) > 0) {
      }
  }

  template <class T>
  static Callback<T> into(std::optional<Result<T>>& place) {
    return [&place](Result<T> result) { place = std::move(result); };
  }

  Result<std::vector<User>> add(std::vector<NewUser> users) {
    std::optional<Result<std::vector<User>>> result;
    EXPECT_TRUE(relational_->add_users(0, std::move(users), into(result)));
    settle();
    return *result;
  }
  Result<Account> account(std::string_view name) {
    std::optional<Result<Account>> result;
    EXPECT_TRUE(relational_->find_account(0, name, into(result)));
    settle();
    return *result;
  }
  Result<void> converse(uint32_t a, uint32_t b, uint32_t time) {
    std::optional<Result<void>> result;
    EXPECT_TRUE(relational_->open_conversation(0, ConversationId::single(UserId(a), UserId(b)),
                                               time, into(result)));
    settle();
    return *result;
  }

  // Any other call: what it answers.
  template <class T, class Ask>
  Result<T> ask(Ask&& make) {
    std::optional<Result<T>> result;
    EXPECT_TRUE(make(into(result)));
    settle();
    return std::move(*result);
  }
  Result<User> patch(uint32_t id, UserPatch wanted) {
    return ask<User>([&](auto done) {
      return relational_->update_user(0, UserId(id), std::move(wanted), std::move(done));
    });
  }
  Result<User> named(std::string_view name) {
    return ask<User>(
        [&](auto done) { return relational_->find_user_by_name(0, name, std::move(done)); });
  }
  UserPage since(uint64_t stamp, uint32_t limit) {
    return *ask<UserPage>(
        [&](auto done) { return relational_->list_users_since(0, stamp, limit, std::move(done)); });
  }
  Result<Department> add_department(std::string name, uint32_t parent = 0) {
    return ask<Department>([&](auto done) {
      return relational_->add_department(0, {std::move(name), parent, 7}, std::move(done));
    });
  }
  Result<Department> patch_department(uint32_t id, DepartmentPatch wanted) {
    return ask<Department>([&](auto done) {
      return relational_->update_department(0, id, std::move(wanted), std::move(done));
    });
  }
  Result<void> remove_department(uint32_t id) {
    return ask<void>(
        [&](auto done) { return relational_->remove_department(0, id, std::move(done)); });
  }
  std::vector<Department> departments(uint64_t stamp, uint32_t limit = kDepartmentsMax) {
    return ask<DepartmentPage>([&](auto done) {
             return relational_->list_departments(0, stamp, limit, std::move(done));
           })
        ->departments;
  }
  Result<void> set_token(uint32_t user, PushVendor vendor, std::string token) {
    return ask<void>([&](auto done) {
      return relational_->set_push_token(0, UserId(user), {vendor, std::move(token)},
                                         std::move(done));
    });
  }
  Result<void> clear_token(uint32_t user) {
    return ask<void>(
        [&](auto done) { return relational_->clear_push_token(1, UserId(user), std::move(done)); });
  }
  std::string tokens() {
    return sql("SELECT user_id, vendor, token FROM push_token ORDER BY user_id");
  }
  Result<void> set_shield(uint32_t user, bool on) {
    return ask<void>([&](auto done) {
      return relational_->set_push_shield(0, UserId(user), on, std::move(done));
    });
  }
  Result<bool> shield(uint32_t user) {
    return ask<bool>(
        [&](auto done) { return relational_->push_shield(1, UserId(user), std::move(done)); });
  }
  Result<void> hide(uint32_t user, uint32_t peer, uint32_t newest) {
    return ask<void>([&](auto done) {
      return relational_->hide_session(0, UserId(user), UserId(peer), newest, std::move(done));
    });
  }

  Result<Group> add_group(NewGroup wanted) {
    return ask<Group>(
        [&](auto done) { return relational_->add_group(0, std::move(wanted), std::move(done)); });
  }
  Result<Group> group(uint32_t id) {
    return ask<Group>(
        [&](auto done) { return relational_->find_group(1, GroupId(id), std::move(done)); });
  }
  std::vector<uint32_t> groups(uint32_t after, uint32_t limit) {
    const auto rows = ask<std::vector<Group>>([&](auto done) {
      return relational_->list_groups(0, GroupId(after), limit, std::move(done));
    });
    std::vector<uint32_t> ids;
    for (const Group& row : *rows) ids.push_back(raw(row.id));
    return ids;
  }
  Result<void> dismiss(uint32_t id) {
    return ask<void>(
        [&](auto done) { return relational_->dismiss_group(0, GroupId(id), std::move(done)); });
  }
  Result<MembersChanged> change(uint32_t id, bool add, uint32_t first,
                                const std::vector<uint32_t>& users) {
    MemberChange wanted{.group = GroupId(id), .add = add, .first = first, .users = {}};
    for (const uint32_t user : users) wanted.users.push_back(UserId(user));
    return ask<MembersChanged>([&](auto done) {
      return relational_->change_members(0, std::move(wanted), std::move(done));
    });
  }
  std::vector<Member> members(uint32_t id) {
    return *ask<std::vector<Member>>([&](auto done) {
      return relational_->list_members(0, GroupId(id), UserId{}, kMembersPerCall, std::move(done));
    });
  }
  std::vector<uint32_t> firsts(uint32_t id) {
    std::vector<uint32_t> found;
    for (const Member& member : members(id)) found.push_back(member.first);
    return found;
  }
  std::vector<Membership> memberships(uint32_t user) {
    return *ask<std::vector<Membership>>(
        [&](auto done) { return relational_->list_memberships(0, UserId(user), std::move(done)); });
  }

  // SQL behind the back of the actor, as an operator's shell would run it.
  std::string sql(const std::string& text) {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open(path().c_str(), &db), SQLITE_OK);
    std::string rows;
    char* message = nullptr;
    sqlite3_exec(
        db, text.c_str(),
        [](void* out, int columns, char** values, char**) {
          for (int i = 0; i < columns; ++i)
            *static_cast<std::string*>(out) += std::string(values[i] ? values[i] : "-") + "|";
          return 0;
        },
        &rows, &message);
    if (message) rows += message;
    sqlite3_free(message);
    sqlite3_close(db);
    return rows;
  }

  std::string file_bytes() const {
    std::ifstream in(path(), std::ios::binary);
    std::ostringstream bytes;
    bytes << in.rdbuf();
    return bytes.str();
  }

  engine::FakeClock clock_;
  std::string root_;
  std::unique_ptr<Relational> relational_;
};

TEST_F(RelationalTest, FileIsPrivateAndDurableByItsSettings) {
  for (const char* suffix : {"", "-wal", "-shm"}) {
    struct stat status{};
    ASSERT_EQ(::stat((path() + suffix).c_str(), &status), 0) << suffix;
    EXPECT_EQ(status.st_mode & 0777, 0600u) << suffix;
  }
  EXPECT_EQ(sql("PRAGMA journal_mode; PRAGMA user_version"), "wal|4|");
}

TEST_F(RelationalTest, AddedUsersAreFound) {
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

  std::optional<Result<User>> found, missing;
  ASSERT_TRUE(relational_->find_user(1, UserId(2), into(found)));
  ASSERT_TRUE(relational_->find_user(1, UserId(3), into(missing)));
  settle();
  EXPECT_EQ((*found)->name, "bob");
  EXPECT_EQ(missing->error().code, Errc::not_found);
}

TEST_F(RelationalTest, CallbackRunsInCollectOfItsShard) {
  int ran = 0;
  ASSERT_TRUE(relational_->find_user(1, UserId(1), [&](Result<User>) { ++ran; }));
  EXPECT_EQ(relational_->run_some(), 1u);
  EXPECT_EQ(relational_->collect(0), 0u);
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(relational_->collect(1), 1u);
  EXPECT_EQ(ran, 1);
}

TEST_F(RelationalTest, AllOrNoneOfABulk) {
  ASSERT_TRUE(add({{.name = "alice"}}));
  EXPECT_EQ(add({{.name = "bob"}, {.name = "alice"}, {.name = "carol"}}).error().code,
            Errc::exists);
  EXPECT_EQ(add({{.name = "dave"}, {.name = "dave"}}).error().code, Errc::exists);
  EXPECT_EQ(account("bob").error().code, Errc::not_found);
  EXPECT_EQ(account("dave").error().code, Errc::not_found);
  EXPECT_EQ(sql("SELECT count(*) FROM user"), "1|");
  ASSERT_TRUE(add({}));
}

TEST_F(RelationalTest, NameOfOneWhoLeftIsFree) {
  ASSERT_TRUE(add({{.name = "alice"}}));
  sql("UPDATE user SET status = 3 WHERE name = 'alice'");
  EXPECT_EQ(account("alice").error().code, Errc::not_found);
  auto again = add({{.name = "alice"}});
  ASSERT_TRUE(again);
  EXPECT_EQ(raw((*again)[0].id), 2u);
  EXPECT_EQ(raw(account("alice")->user.id), 2u);
  sql("DELETE FROM user WHERE id = 2");
  EXPECT_EQ(raw((*add({{.name = "eve"}}))[0].id), 3u) << "an id is never used again";
}

TEST_F(RelationalTest, StampsRiseWhateverTheClockDoes) {
  EXPECT_EQ((*add({{.name = "a"}}))[0].stamp, kNow);
  EXPECT_EQ((*add({{.name = "b"}}))[0].stamp, kNow + 1);
  clock_.set_wall(5 * kNsPerS);
  EXPECT_EQ((*add({{.name = "c"}}))[0].stamp, kNow + 2);
  clock_.set_wall((kNow + 100) * kNsPerS);
  EXPECT_EQ((*add({{.name = "d"}}))[0].stamp, kNow + 100);
}

// Goal: the size of a big site's import, in calls as large as they may be, and one too large.
TEST_F(RelationalTest, HundredThousandUsersInOneCall) {
  std::vector<NewUser> users;
  for (size_t i = 0; i < Relational::kUsersPerCallMax; ++i)
    users.push_back({.name = "user" + std::to_string(i)});
  const auto added = add(users);
  ASSERT_TRUE(added);
  ASSERT_EQ(added->size(), users.size());
  EXPECT_EQ(raw(added->back().id), 100'000u);
  EXPECT_EQ(sql("SELECT max(n), count(*) FROM (SELECT count(*) n FROM user GROUP BY stamp)"),
            "300|334|");
  EXPECT_EQ(raw(account("user99999")->user.id), 100'000u);
  const auto states = relational_->load_user_states();
  ASSERT_TRUE(states);
  EXPECT_EQ(states->size(), 100'000u);
  EXPECT_EQ(raw(states->back().id), 100'000u);

  users.push_back({.name = "one more"});
  std::optional<Result<std::vector<User>>> result;
  const auto refused = relational_->add_users(0, users, into(result));
  EXPECT_EQ(refused.error().code, Errc::too_large);
}

TEST_F(RelationalTest, ListGoesByIdAndIsBounded) {
  std::vector<NewUser> users(10);
  for (size_t i = 0; i < users.size(); ++i)
    users[i].name = std::string(1, static_cast<char>('a' + i));
  ASSERT_TRUE(add(users));
  const auto list = [&](uint32_t after, uint32_t limit) {
    std::optional<Result<std::vector<User>>> result;
    EXPECT_TRUE(relational_->list_users(0, UserId(after), limit, into(result)));
    settle();
    std::string names;
    for (const User& user : **result) names += user.name;
    return names;
  };
  EXPECT_EQ(list(0, 4), "abcd");
  EXPECT_EQ(list(4, 4), "efgh");
  EXPECT_EQ(list(8, 4), "ij");
  EXPECT_EQ(list(10, 4), "");
  EXPECT_EQ(list(0, 0), "");
  EXPECT_EQ(list(0, ~0u), "abcdefghij");
  EXPECT_EQ(list(~0u, ~0u), "");
}

TEST_F(RelationalTest, RowsInsertedByHandLogIn) {
  EXPECT_EQ(
      sql("INSERT INTO user (id, name, nick, department, status, legacy_password, legacy_salt,"
          " password) VALUES (7, 'old', 'Old', 2, 0, '0123456789abcdef', '1234', '')"),
      "");
  auto found = account("old");
  ASSERT_TRUE(found);
  EXPECT_EQ(raw(found->user.id), 7u);
  EXPECT_EQ(found->legacy_password, "0123456789abcdef");
  EXPECT_EQ(found->legacy_salt, "1234");
  EXPECT_EQ(found->password, "");
  EXPECT_EQ(found->user.stamp, 0u);

  std::optional<Result<void>> upgraded, missing;
  ASSERT_TRUE(relational_->upgrade_password(0, UserId(7), 0, "$argon2id$new", into(upgraded)));
  ASSERT_TRUE(relational_->upgrade_password(0, UserId(8), 0, "$argon2id$new", into(missing)));
  settle();
  EXPECT_TRUE(*upgraded);
  EXPECT_EQ(missing->error().code, Errc::not_found);
  found = account("old");
  EXPECT_EQ(found->password, "$argon2id$new");
  EXPECT_EQ(found->legacy_password, "");
  EXPECT_EQ(found->legacy_salt, "");
  EXPECT_EQ(found->epoch, 0u);
}

TEST_F(RelationalTest, ConversationRowsAreMadeOrRevivedOnBothSides) {
  ASSERT_TRUE(converse(9, 4, 100));
  const std::string all = "SELECT user_id, type, peer_id, status, created, updated FROM session";
  EXPECT_EQ(sql(all), "4|1|9|0|100|100|9|1|4|0|100|100|");
  ASSERT_TRUE(converse(4, 9, 200));
  EXPECT_EQ(sql(all), "4|1|9|0|100|100|9|1|4|0|100|100|") << "visible rows are left alone";
  sql("UPDATE session SET status = 1 WHERE user_id = 9");
  ASSERT_TRUE(converse(4, 9, 300));
  EXPECT_EQ(sql(all), "4|1|9|0|100|100|9|1|4|0|100|300|");
  ASSERT_TRUE(converse(5, 5, 400));
  EXPECT_EQ(sql("SELECT count(*) FROM session"), "3|");
  const auto group = relational_->open_conversation(0, ConversationId::group(GroupId(1)), 1,
                                                    [](Result<void>) { FAIL(); });
  EXPECT_EQ(group.error().code, Errc::unsupported);
}

TEST_F(RelationalTest, OneBadJobDoesNotPoisonItsBatch) {
  ASSERT_TRUE(add({{.name = "taken"}}));
  std::optional<Result<std::vector<User>>> before, bad, after;
  std::optional<Result<Account>> seen;
  std::optional<Result<void>> opened, missing;
  ASSERT_TRUE(relational_->add_users(0, {{.name = "one"}}, into(before)));
  ASSERT_TRUE(relational_->add_users(0, {{.name = "half"}, {.name = "taken"}}, into(bad)));
  ASSERT_TRUE(relational_->upgrade_password(0, UserId(99), 0, "x", into(missing)));
  ASSERT_TRUE(relational_->find_account(0, "one", into(seen)));
  ASSERT_TRUE(relational_->add_users(1, {{.name = "two"}}, into(after)));
  ASSERT_TRUE(relational_->open_conversation(1, ConversationId::single(UserId(1), UserId(2)), 5,
                                             into(opened)));
  EXPECT_EQ(relational_->run_some(), 6u) << "one batch";
  settle();
  EXPECT_TRUE(*before);
  EXPECT_EQ(bad->error().code, Errc::exists);
  EXPECT_EQ(missing->error().code, Errc::not_found);
  EXPECT_TRUE(*seen) << "a later call of the batch sees the earlier ones";
  EXPECT_TRUE(*after);
  EXPECT_TRUE(*opened);
  EXPECT_EQ(sql("SELECT name FROM user ORDER BY id"), "taken|one|two|");
}

TEST_F(RelationalTest, EverythingIsThereAfterARestart) {
  ASSERT_TRUE(add({{.name = "alice", .nick = "Alice"}, {.name = "bob"}}));
  ASSERT_TRUE(converse(1, 2, 7));
  sql("UPDATE user SET status = 3 WHERE id = 2");
  open();
  EXPECT_EQ(account("alice")->user.nick, "Alice");
  const auto states = relational_->load_user_states();
  ASSERT_TRUE(states);
  ASSERT_EQ(states->size(), 2u);
  EXPECT_EQ((*states)[0].status, 0);
  EXPECT_EQ((*states)[1].status, 3);
  EXPECT_EQ(sql("SELECT count(*) FROM session"), "2|");
}

TEST_F(RelationalTest, NewerSchemaIsRefusedUntouched) {
  ASSERT_TRUE(add({{.name = "alice"}}));
  relational_.reset();
  sql("PRAGMA user_version=" + kNewerVersion);
  const std::string before = file_bytes();
  EXPECT_EQ(Relational::open(options(), clock_).error().code, Errc::unsupported);
  EXPECT_EQ(file_bytes(), before);
  EXPECT_EQ(sql("PRAGMA user_version"), kNewerVersion + "|");
}

TEST_F(RelationalTest, NewerSchemaInAnUncheckpointedLogIsRefusedUntouched) {
  relational_.reset();
  sqlite3* other = nullptr;  // stays open, so that its log is not folded into the file
  ASSERT_EQ(sqlite3_open(path().c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, ("PRAGMA user_version=" + kNewerVersion).c_str(), nullptr, nullptr,
                         nullptr),
            SQLITE_OK);
  const std::string before = file_bytes();
  EXPECT_EQ(Relational::open(options(), clock_).error().code, Errc::unsupported);
  EXPECT_EQ(file_bytes(), before);
  sqlite3_close(other);
}

TEST_F(RelationalTest, ForeignFilesAreRefusedUntouched) {
  relational_.reset();
  std::filesystem::remove(path());
  sql("CREATE TABLE recipes (name)");
  const std::string before = file_bytes();
  EXPECT_EQ(Relational::open(options(), clock_).error().code, Errc::unsupported);
  EXPECT_EQ(file_bytes(), before);

  std::ofstream(path(), std::ios::binary | std::ios::trunc) << std::string(8192, 'x');
  EXPECT_EQ(Relational::open(options(), clock_).error().code, Errc::corrupt);
  EXPECT_EQ(file_bytes(), std::string(8192, 'x'));

  std::filesystem::remove(path());
  std::filesystem::create_symlink(root_ + "/elsewhere", path());
  EXPECT_EQ(Relational::open(options(), clock_).error().os, ELOOP);
  EXPECT_EQ(Relational::open({.path = root_ + "/no/where.db"}, clock_).error().os, ENOENT);
}

TEST_F(RelationalTest, HostileTextIsStoredExactlyOrRefused) {
  using namespace std::string_literals;
  const std::string hostile[] = {
      "'; DROP TABLE user; --",
      "\"",
      "`",
      "?1",
      "nul\0inside"s,
      "\0"s,
      "nul"s,
      std::string(4096, 'n'),
      "\xff\xfe\x80 not utf-8",
      "\xc0\xaf",
      "\xed\xa0\x80",
      "%_*[a]",
      "ünï",
      " lead",
      "lead",
      std::string(4096, '\xff'),
      "\r\n\t\x1b[2J",
      "NULL",
      "1",
      "1.0",
      "x'00'",
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
    EXPECT_EQ(account(name + " ").error().code, Errc::not_found);
  }
  open();
  for (const std::string& name : hostile) EXPECT_EQ(account(name)->user.name, name);
  EXPECT_EQ(sql("SELECT count(*) FROM user"), std::to_string(std::size(hostile)) + "|");
  const std::string huge(Sqlite::kValueBytesMax + 1, 'h');
  EXPECT_EQ(add({{.name = "fine"}, {.name = huge}}).error().code, Errc::too_large);
  EXPECT_EQ(account(huge).error().code, Errc::too_large);
  EXPECT_EQ(account("fine").error().code, Errc::not_found);
}

TEST_F(RelationalTest, FullQueueIsAnAnswer) {
  int ran        = 0;
  uint32_t taken = 0;
  while (relational_->find_user(0, UserId(1), [&](Result<User>) { ++ran; }))
    ASSERT_LT(++taken, 1000u);
  EXPECT_EQ(taken, 64u);
  const auto refused =
      relational_->add_users(0, {{.name = "x"}}, [](Result<std::vector<User>>) { FAIL(); });
  EXPECT_EQ(refused.error().code, Errc::full);
  EXPECT_TRUE(relational_->find_user(1, UserId(1), [&](Result<User>) { ++ran; }))
      << "each shard its own";
  settle();
  EXPECT_EQ(ran, 65);
  EXPECT_TRUE(relational_->find_user(0, UserId(1), [&](Result<User>) { ++ran; }));
  settle();
  EXPECT_EQ(ran, 66);
  EXPECT_EQ(account("x").error().code, Errc::not_found);
}

// Another process holds the write lock: writers fail in bounded time, readers do not, and the next
// batch works again.
TEST_F(RelationalTest, LockedFileFailsWritersOnly) {
  ASSERT_TRUE(add({{.name = "alice"}}));
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path().c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  std::optional<Result<std::vector<User>>> added[20];
  for (auto& result : added)
    ASSERT_TRUE(relational_->add_users(0, {{.name = "bob"}}, into(result)));
  std::optional<Result<Account>> read;
  ASSERT_TRUE(relational_->find_account(0, "alice", into(read)));
  engine::RealClock clock;
  const uint64_t start = clock.now_ns();
  settle();
  EXPECT_LT(clock.now_ns() - start, 1 * kNsPerS) << "the lock is waited for once per batch";
  for (auto& result : added) EXPECT_EQ(result->error().code, Errc::timeout);
  EXPECT_TRUE(*read);
  sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  EXPECT_TRUE(add({{.name = "bob"}}));
}

// Opening writes the log again under the write lock, so that it is nobody's who writes.
TEST_F(RelationalTest, OpeningRenewsALogThatIsInUse) {
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path().c_str(), &other), SQLITE_OK);
  const auto run = [&](const char* sql) {
    return sqlite3_exec(other, sql, nullptr, nullptr, nullptr);
  };
  ASSERT_EQ(run("SELECT count(*) FROM user"), SQLITE_OK);  // now the log stays when we close
  ASSERT_TRUE(add({{.name = "alice", .nick = std::string(200'000, 'n')}}));
  ASSERT_EQ(run("BEGIN IMMEDIATE"), SQLITE_OK);
  EXPECT_EQ(Relational::open(options(), clock_).error().code, Errc::timeout);
  ASSERT_EQ(run("INSERT INTO user (name) VALUES ('bob'); COMMIT"), SQLITE_OK);
  EXPECT_GT(std::filesystem::file_size(path() + "-wal"), 200'000u);
  open();
  EXPECT_TRUE(account("alice"));
  EXPECT_TRUE(account("bob"));
  ASSERT_TRUE(add({{.name = "carol"}}));
  EXPECT_EQ(run("INSERT INTO user (name) VALUES ('dave')"), SQLITE_OK);
  sqlite3_close(other);
  open();
  EXPECT_EQ(relational_->load_user_states()->size(), 4u);
  EXPECT_EQ(relational_->failure().code, Errc::ok);
}

TEST_F(RelationalTest, WorksOnItsOwnThreadForTwoShards) {
  relational_->start("sqlite");
  std::atomic<int> added = 0, taken = 0;
  const auto shard = [&](uint32_t number) {
    for (int i = 0; i < 200;) {
      const std::string name = "user" + std::to_string(i);  // both try every name
      if (relational_->add_users(number, {{.name = name}}, [&](Result<std::vector<User>> result) {
            result ? ++added : ++taken;
          }))
        ++i;
      relational_->collect(number);
    }
    while (added + taken < 400) {
      relational_->collect(number);
      std::this_thread::yield();
    }
  };
  {
    std::jthread one(shard, 0), two(shard, 1);
  }
  EXPECT_EQ(added, 200);
  EXPECT_EQ(taken, 200);
  relational_->stop();
  EXPECT_EQ(relational_->load_user_states()->size(), 200u);
}

// --- users and departments, as operators and clients need them --------------------------------------------

TEST_F(RelationalTest, AFileOfVersionOneIsBroughtUpToDate) {
  ASSERT_TRUE(add({{.name = "alice"}, {.name = "bob"}}));
  ASSERT_TRUE(converse(1, 2, 5));
  relational_.reset();
  EXPECT_EQ(sql(kWithoutPush +
                "DROP INDEX user_left_name; DROP INDEX user_department; DROP TABLE department;"
                "ALTER TABLE session DROP COLUMN hidden_to; PRAGMA user_version=1"),
            "");
  open();
  EXPECT_EQ(sql("PRAGMA user_version"), "4|");
  EXPECT_EQ(raw(named("bob")->id), 2u);
  EXPECT_TRUE(hide(1, 2, 3));
  EXPECT_TRUE(add_department("sales"));
  open();
  EXPECT_EQ(departments(0).size(), 1u);
  EXPECT_EQ(sql("SELECT user_id, status, hidden_to FROM session"), "1|1|3|2|0|0|");
}

TEST_F(RelationalTest, AStepThatFailsLeavesTheOldVersion) {
  relational_.reset();
  sql(kWithoutPush +
      "DROP INDEX user_left_name; DROP INDEX user_department;"
      "ALTER TABLE session DROP COLUMN hidden_to; PRAGMA user_version=1");  // department is in the way
  EXPECT_FALSE(Relational::open(options(), clock_).has_value());
  EXPECT_EQ(sql("PRAGMA user_version; SELECT count(*) FROM pragma_table_info('session')"
                " WHERE name = 'hidden_to'"),
            "1|0|");
  sql("DROP TABLE department");
  open();
  EXPECT_EQ(sql("PRAGMA user_version"), "4|");
}

TEST_F(RelationalTest, PatchChangesWhatIsSetAndStamps) {
  ASSERT_TRUE(add_department("one"));
  ASSERT_TRUE(add({{.name = "alice", .nick = "A", .password = "old", .department = 1}}));
  sql("UPDATE user SET legacy_password = 'l', legacy_salt = 's'");
  const auto nick = patch(1, {.nick = "Alice' OR 1=1", .sex = 2});
  ASSERT_TRUE(nick);
  EXPECT_EQ(nick->nick, "Alice' OR 1=1");
  EXPECT_EQ(nick->department, 1u);
  EXPECT_EQ(nick->stamp, kNow + 1);
  auto now = account("alice");
  EXPECT_EQ(now->user.nick, "Alice' OR 1=1");
  EXPECT_EQ(now->user.sex, 2);
  EXPECT_EQ(now->password, "old");
  EXPECT_EQ(now->legacy_password, "l");
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
  EXPECT_EQ(now->epoch, 1u);
  EXPECT_EQ(patch(9, {.nick = "x"}).error().code, Errc::not_found);
}

// A login checked the old password while an administrator set the new one.
TEST_F(RelationalTest, TheBetterHashOfAnOldPasswordIsRefused) {
  ASSERT_TRUE(add({{.name = "alice", .password = "old"}}));
  ASSERT_TRUE(patch(1, {.password = "new"}));
  const auto upgrade = [&](uint32_t epoch) {
    return ask<void>([&](auto done) {
      return relational_->upgrade_password(0, UserId(1), epoch, "better old", std::move(done));
    });
  };
  EXPECT_EQ(upgrade(0).error().code, Errc::refused);
  EXPECT_EQ(account("alice")->password, "new");
  EXPECT_TRUE(upgrade(1));
  EXPECT_EQ(account("alice")->password, "better old");
}

TEST_F(RelationalTest, DisablingFreesTheNameAndEndsTokens) {
  ASSERT_TRUE(add({{.name = "alice"}, {.name = "bob"}}));
  ASSERT_TRUE(patch(1, {.status = kUserLeft}));
  EXPECT_EQ(account("alice").error().code, Errc::not_found);
  EXPECT_EQ(named("alice")->status, kUserLeft) << "an operator finds who left";
  EXPECT_EQ(sql("SELECT epoch FROM user WHERE id = 1"), "1|");
  ASSERT_TRUE(add({{.name = "alice"}}));
  EXPECT_EQ(raw(named("alice")->id), 3u) << "who works here comes before who left";
  const std::string before = sql("SELECT * FROM user");
  EXPECT_EQ(patch(1, {.nick = "x", .status = kUserActive}).error().code, Errc::exists);
  EXPECT_EQ(sql("SELECT * FROM user"), before);
  ASSERT_TRUE(patch(3, {.status = kUserLeft}));
  EXPECT_EQ(raw(named("alice")->id), 3u) << "the last who had it";
  ASSERT_TRUE(patch(1, {.status = kUserActive}));
  EXPECT_EQ(raw(account("alice")->user.id), 1u);
  EXPECT_EQ(named("' OR '1'='1").error().code, Errc::not_found);
}

TEST_F(RelationalTest, FindUsersKeepsTheOrderAndLeavesOutNobody) {
  ASSERT_TRUE(add({{.name = "a"}, {.name = "b"}, {.name = "c"}}));
  const auto find = [&](std::vector<UserId> ids) {
    std::string names;
    auto found = ask<std::vector<User>>(
        [&](auto done) { return relational_->find_users(0, std::move(ids), std::move(done)); });
    for (const User& user : *found) names += user.name;
    return names;
  };
  EXPECT_EQ(find({UserId(3), UserId(0), UserId(1), UserId(99), UserId(3), UserId(~0u)}), "cac");
  EXPECT_EQ(find({}), "");
  const auto refused = relational_->find_users(0, std::vector<UserId>(kUsersAskedMax + 1),
                                               [](Result<std::vector<User>>) { FAIL(); });
  EXPECT_EQ(refused.error().code, Errc::too_large);
}

// Stamps never split: whoever goes on from the last one misses nobody.
TEST_F(RelationalTest, PagesOfUsersHoldWholeStamps) {
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

TEST_F(RelationalTest, RowsInsertedByHandAreStampedAtTheNextStart) {
  ASSERT_TRUE(add({{.name = "alice"}}));
  std::string text = "BEGIN;";
  for (int i = 0; i < 1100; ++i)
    text += "INSERT INTO user (name) VALUES ('h" + std::to_string(i) + "');";
  EXPECT_EQ(sql(text + "INSERT INTO department (name) VALUES ('x'), ('y'); COMMIT"), "");
  open();
  EXPECT_EQ(sql("SELECT count(*) FROM user WHERE stamp = 0"), "0|");
  EXPECT_EQ(sql("SELECT max(n) FROM (SELECT count(*) n FROM user GROUP BY stamp)"), "300|");
  EXPECT_EQ(since(kNow, 5000).users.size(), 1100u);
  const auto both = departments(0);
  ASSERT_EQ(both.size(), 2u);
  EXPECT_LT(both[0].stamp, both[1].stamp);
}

TEST_F(RelationalTest, DepartmentsAreATree) {
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
  sql("UPDATE department SET parent = 2 WHERE id = 1; UPDATE department SET parent = 1 WHERE id = "
      "2");
  EXPECT_EQ(add_department("below a circle", 2)->id, 4u);
  EXPECT_EQ(patch_department(1, {.parent = 4}).error().code, Errc::refused);
}

TEST_F(RelationalTest, UsersAreInDepartmentsThatThereAre) {
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
  sql("UPDATE user SET department = 2 WHERE id = 2");
  EXPECT_TRUE(patch(2, {.nick = "Bob"}));
}

TEST_F(RelationalTest, AHiddenSessionRemembersHowFar) {
  ASSERT_TRUE(converse(1, 2, 100));
  ASSERT_TRUE(converse(1, 3, 100));
  EXPECT_EQ(hide(1, 2, 0).error().code, Errc::not_found) << "nothing was written yet";
  EXPECT_TRUE(hide(1, 2, 5));
  EXPECT_EQ(hide(1, 2, 5).error().code, Errc::not_found) << "no message since";
  EXPECT_EQ(hide(1, 2, 4).error().code, Errc::not_found);
  EXPECT_TRUE(hide(1, 2, 6));
  EXPECT_EQ(hide(1, 9, 6).error().code, Errc::not_found);
  const auto rows = ask<std::vector<SessionRow>>(
      [&](auto done) { return relational_->list_sessions(0, UserId(1), std::move(done)); });
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ(raw((*rows)[0].peer), 2u);
  EXPECT_EQ((*rows)[0].hidden_to, 6u);
  EXPECT_EQ((*rows)[1].hidden_to, 0u);
  EXPECT_EQ(sql("SELECT hidden_to FROM session WHERE user_id = 2"), "0|") << "the peer keeps his";
}

// --- notifications -----------------------------------------------------------------------------------

TEST_F(RelationalTest, AFileOfVersionTwoIsBroughtUpToDate) {
  ASSERT_TRUE(add({{.name = "alice"}, {.name = "bob"}}));
  const std::string profiles = "SELECT id, name, stamp FROM user ORDER BY id";
  const std::string before   = sql(profiles);
  relational_.reset();
  EXPECT_EQ(sql(kWithoutPush + "PRAGMA user_version=2"), "");
  open();
  EXPECT_EQ(sql("PRAGMA user_version"), "4|");
  EXPECT_EQ(sql(profiles), before);
  EXPECT_EQ(shield(2), false);
  EXPECT_EQ(tokens(), "");
  EXPECT_TRUE(set_token(1, PushVendor::ios, "abc"));
  EXPECT_TRUE(set_shield(1, true));
  open();
  EXPECT_EQ(tokens(), "1|ios|abc|");
  EXPECT_EQ(shield(1), true);
}

TEST_F(RelationalTest, ATokenBelongsToWhoRegisteredItLast) {
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

TEST_F(RelationalTest, SilentNightsMoveNoStamp) {
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

// --- groups ------------------------------------------------------------------------------------------

TEST_F(RelationalTest, AGroupIsFoundListedPatchedAndDismissed) {
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

  const auto patched = ask<Group>([&](auto done) {
    return relational_->update_group(0, GroupId(1), {.name = "uno"}, std::move(done));
  });
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
  EXPECT_EQ(ask<Group>([&](auto done) {
              return relational_->update_group(0, GroupId(1), {.name = "x"}, std::move(done));
            })
                .error()
                .code,
            Errc::not_found);
  EXPECT_EQ(groups(0, 100), (std::vector<uint32_t>{2, 3}));
  EXPECT_EQ(memberships(7).size(), 1u);
  EXPECT_EQ(sql("SELECT count(*) FROM member WHERE group_id = 1"), "0|");
  EXPECT_EQ(sql("SELECT status, version, members FROM chat_group WHERE id = 1"), "1|3|0|");
  open();
  EXPECT_EQ(raw(add_group({.name = "four", .members = {}})->id), 4u) << "ids are used once";
}

TEST_F(RelationalTest, MembersComeAndGoAndAreCounted) {
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
  EXPECT_EQ(sql("SELECT members FROM chat_group; SELECT count(*) FROM member"), "3|3|");
  open();
  EXPECT_EQ(group(1)->version, 6u);
  EXPECT_EQ(firsts(1), (std::vector<uint32_t>{1, 30, 10}));

  // By id, from behind `after`, not more than the limit.
  const auto page = ask<std::vector<Member>>([&](auto done) {
    return relational_->list_members(1, GroupId(1), UserId(2), 1, std::move(done));
  });
  ASSERT_EQ(page->size(), 1u);
  EXPECT_EQ(raw(page->front().user), 3u);
  EXPECT_TRUE(members(99).empty());
}

TEST_F(RelationalTest, AMembersSideOfHisGroups) {
  ASSERT_TRUE(add_group({.name = "a", .type = kGroupNormal, .members = {UserId(1), UserId(2)}}));
  ASSERT_TRUE(add_group({.name = "b", .members = {UserId(2)}}));
  ASSERT_TRUE(change(2, true, 6, {1}));
  const auto mute = [&](uint32_t user, uint32_t id, bool muted) {
    return ask<void>([&](auto done) {
      return relational_->mute_group(0, UserId(user), GroupId(id), muted, std::move(done));
    });
  };
  const auto hide = [&](uint32_t user, uint32_t id, uint32_t to) {
    return ask<void>([&](auto done) {
      return relational_->hide_group(0, UserId(user), GroupId(id), to, std::move(done));
    });
  };
  EXPECT_TRUE(mute(1, 1, true));
  EXPECT_TRUE(hide(1, 2, 8));
  for (const uint32_t foreign : {2u, 3u}) {
    EXPECT_EQ(mute(3, foreign, true).error().code, Errc::not_found);
    EXPECT_EQ(hide(3, foreign, 1).error().code, Errc::not_found);
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
  EXPECT_TRUE(hide(1, 2, 0));
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

TEST_F(RelationalTest, AGroupThatFailsLeavesNothingAndItsBatchGoesOn) {
  std::optional<Result<Group>> good, twice;
  std::optional<Result<MembersChanged>> changed, missing;
  ASSERT_TRUE(relational_->add_group(0, {.name = "good", .members = {UserId(1)}}, into(good)));
  ASSERT_TRUE(relational_->add_group(
      0, {.name = "twice", .members = {UserId(1), UserId(2), UserId(1)}}, into(twice)));
  ASSERT_TRUE(relational_->change_members(
      0, {.group = GroupId(9), .first = 1, .users = {UserId(3)}}, into(missing)));
  ASSERT_TRUE(relational_->change_members(
      0, {.group = GroupId(1), .first = 1, .users = {UserId(3)}}, into(changed)));
  settle();
  EXPECT_TRUE(*good);
  EXPECT_EQ(twice->error().code, Errc::exists);
  EXPECT_EQ(missing->error().code, Errc::not_found);
  ASSERT_TRUE(*changed);
  EXPECT_EQ((*changed)->version, 2u);
  EXPECT_EQ(sql("SELECT name, members FROM chat_group; SELECT user_id FROM member"), "good|2|1|3|");

  // The file is locked: nobody of the batch is in.
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path().c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_FALSE(change(1, true, 5, {4, 5}));
  EXPECT_FALSE(dismiss(1));
  EXPECT_TRUE(group(1)) << "reading goes on";
  sqlite3_close(other);
  EXPECT_EQ(members(1).size(), 2u);
  EXPECT_EQ(group(1)->version, 2u);
  EXPECT_TRUE(change(1, true, 5, {4, 5}));
}

TEST_F(RelationalTest, AsManyMembersAsACallTakes) {
  std::vector<UserId> all;
  for (uint32_t id = 1; id <= kMembersPerCall; ++id) all.push_back(UserId(id));
  ASSERT_TRUE(add_group({.name = "large", .members = all}));
  EXPECT_EQ(group(1)->members, kMembersPerCall);
  EXPECT_EQ(members(1).size(), kMembersPerCall);
  std::vector<UserId> more;
  for (const UserId id : all) more.push_back(UserId(raw(id) + kMembersPerCall));
  auto changed = ask<MembersChanged>([&](auto done) {
    return relational_->change_members(0, {.group = GroupId(1), .first = 2, .users = more},
                                       std::move(done));
  });
  EXPECT_EQ(changed->users.size(), kMembersPerCall);
  EXPECT_EQ(group(1)->members, 2 * kMembersPerCall);
  all.push_back(UserId(kMembersPerCall + 1));
  const auto never = [](auto) { ADD_FAILURE() << "called"; };
  EXPECT_EQ(relational_->add_group(0, {.name = "g", .members = all}, never).error().code,
            Errc::too_large);
  EXPECT_EQ(relational_->change_members(0, {.group = GroupId(1), .users = all}, never).error().code,
            Errc::too_large);
  settle();
  EXPECT_EQ(group(1)->members, 2 * kMembersPerCall);
}

// Files as versions 2 and 3 left them.
TEST_F(RelationalTest, FilesFromBeforeGroupsAreBroughtUpToDate) {
  for (const bool with_push : {false, true}) {
    relational_.reset();
    std::filesystem::remove(path());
    open();
    ASSERT_TRUE(add({{.name = "alice"}, {.name = "bob"}}));
    ASSERT_TRUE(converse(1, 2, 5));
    relational_.reset();
    EXPECT_EQ(sql(with_push ? kWithoutGroups + "PRAGMA user_version=3"
                            : kWithoutPush + "PRAGMA user_version=2"),
              "");
    open();
    EXPECT_EQ(sql("PRAGMA user_version"), "4|");
    EXPECT_TRUE(account("bob"));
    EXPECT_EQ(hide(1, 2, 3).has_value(), true);
    ASSERT_TRUE(add_group({.name = "g", .members = {UserId(1), UserId(2)}}));
    EXPECT_EQ(memberships(2).size(), 1u);
  }
}

}  // namespace
}  // namespace ringtalk::store
