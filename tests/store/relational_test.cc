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

// --- groups ------------------------------------------------------------------------------------------

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
