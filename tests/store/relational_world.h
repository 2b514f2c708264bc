// The relational calls of either driver, asked and answered in one go: for tests of what both promise.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/clock.h"
#include "store/embedded/relational.h"
#include "store/mysql/mysql_relational.h"
#include "store/mysql/schema.h"
#include "tests/store/sql_database.h"

namespace ringtalk::store {

enum class Driver : uint8_t { embedded, mysql };

class RelationalWorld {
 public:
  static constexpr uint64_t kNow = 1'700'000'000;  // FakeClock's wall time, seconds

  // False: the driver needs a server, and none was named.
  bool make(Driver driver) {
    driver_ = driver;
    if (driver == Driver::embedded) {
      std::string name = (std::filesystem::temp_directory_path() / "relational.XXXXXX").string();
      if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no directory");
      root_ = name;
    } else {
      database_ = sql::TestDatabase::open();
      if (!database_) return false;
      if (auto made = sql::create_schema(database_->connection()); !made)
        throw std::runtime_error(made.error().text);
    }
    open();
    return true;
  }
  ~RelationalWorld() {
    close();
    if (!root_.empty()) std::filesystem::remove_all(root_);
  }

  bool is_mysql() const { return driver_ == Driver::mysql; }
  sql::TestDatabase& database() { return *database_; }
  MySqlRelational& mysql() { return *std::get<1>(relational_); }
  engine::FakeClock& clock() { return clock_; }

  void open() {
    close();
    if (is_mysql()) {
      relational_ = open_mysql();
    } else {
      auto opened = Relational::open(
          {.path = root_ + "/ringtalk.db", .shards = 2, .jobs_max = 64, .busy_ms = 50}, clock_);
      if (!opened) throw std::runtime_error("the file does not open");
      relational_ = std::move(*opened);
    }
  }
  // Another one at the same database.
  std::unique_ptr<MySqlRelational> open_mysql(uint32_t lane = MySqlRelational::kLane) {
    return open_mysql(lane, clock_);
  }
  // One whose threads wait needs a clock that goes.
  std::unique_ptr<MySqlRelational> open_mysql(uint32_t lane, engine::Clock& clock) {
    auto opened = MySqlRelational::open(
        {.connect  = [server = database_->server()] { return sql::connect(server); },
         .shards   = 2,
         .jobs_max = 64,
         .readers  = 2,
         .lane     = lane},
        clock);
    if (!opened) throw std::runtime_error("the database does not open");
    return std::move(*opened);
  }
  void close() { relational_ = std::unique_ptr<Relational>(); }

  // Whatever both have in common.
  template <class Do>
  decltype(auto) on(Do&& act) {
    return std::visit([&](auto& relational) -> decltype(auto) { return act(*relational); },
                      relational_);
  }

  // Runs everything that waits and brings it home.
  void settle() {
    on([](auto& relational) { settle(relational); });
  }
  template <class Engine>
  static void settle(Engine& relational) {
    for (bool busy = true; busy;) {
      busy = relational.run_some() > 0;
      for (uint32_t shard = 0; shard < 2; ++shard)
        while (relational.collect(shard) > 0) busy = true;
    }
  }

  template <class T>
  static Callback<T> into(std::optional<Result<T>>& place) {
    return [&place](Result<T> result) { place = std::move(result); };
  }
  // make(relational, done): what is answered.
  template <class T, class Make>
  Result<T> ask(Make&& make) {
    return on([&](auto& relational) { return ask<T>(relational, make); });
  }
  template <class T, class Engine, class Make>
  static Result<T> ask(Engine& relational, Make&& make) {
    std::optional<Result<T>> result;
    EXPECT_TRUE(make(relational, into(result)));
    settle(relational);
    return std::move(*result);
  }

  Result<std::vector<User>> add(std::vector<NewUser> users) {
    return ask<std::vector<User>>([&](auto& relational, auto done) {
      return relational.add_users(0, std::move(users), std::move(done));
    });
  }
  Result<Account> account(std::string_view name) {
    return ask<Account>([&](auto& relational, auto done) {
      return relational.find_account(0, name, std::move(done));
    });
  }
  Result<User> user(uint32_t id) {
    return ask<User>([&](auto& relational, auto done) {
      return relational.find_user(1, UserId(id), std::move(done));
    });
  }
  Result<User> named(std::string_view name) {
    return ask<User>([&](auto& relational, auto done) {
      return relational.find_user_by_name(0, name, std::move(done));
    });
  }
  Result<std::vector<User>> list(uint32_t after, uint32_t limit) {
    return ask<std::vector<User>>([&](auto& relational, auto done) {
      return relational.list_users(0, UserId(after), limit, std::move(done));
    });
  }
  Result<User> patch(uint32_t id, UserPatch wanted) {
    return ask<User>([&](auto& relational, auto done) {
      return relational.update_user(0, UserId(id), std::move(wanted), std::move(done));
    });
  }
  Result<void> upgrade(uint32_t id, uint32_t epoch, std::string hash) {
    return ask<void>([&](auto& relational, auto done) {
      return relational.upgrade_password(0, UserId(id), epoch, std::move(hash), std::move(done));
    });
  }
  UserPage since(uint64_t stamp, uint32_t limit) {
    return *ask<UserPage>([&](auto& relational, auto done) {
      return relational.list_users_since(0, stamp, limit, std::move(done));
    });
  }
  Result<Department> add_department(std::string name, uint32_t parent = 0) {
    return ask<Department>([&](auto& relational, auto done) {
      return relational.add_department(0, {std::move(name), parent, 7}, std::move(done));
    });
  }
  Result<Department> patch_department(uint32_t id, DepartmentPatch wanted) {
    return ask<Department>([&](auto& relational, auto done) {
      return relational.update_department(0, id, std::move(wanted), std::move(done));
    });
  }
  Result<void> remove_department(uint32_t id) {
    return ask<void>([&](auto& relational, auto done) {
      return relational.remove_department(0, id, std::move(done));
    });
  }
  std::vector<Department> departments(uint64_t stamp, uint32_t limit = kDepartmentsMax) {
    return ask<DepartmentPage>([&](auto& relational, auto done) {
             return relational.list_departments(0, stamp, limit, std::move(done));
           })
        ->departments;
  }
  Result<void> converse(uint32_t a, uint32_t b, uint32_t time) {
    const auto pair = ConversationId::single(UserId(a), UserId(b));
    if (!is_mysql())
      return ask<void>(*std::get<0>(relational_), [&](auto& relational, auto done) {
        return relational.open_conversation(0, pair, time, std::move(done));
      });
    const auto relation = ask<uint32_t>(mysql(), [&](auto& relational, auto done) {
      return relational.open_conversation(0, pair, time, std::move(done));
    });
    if (!relation) return std::unexpected(relation.error());
    return {};
  }
  std::vector<SessionRow> sessions(uint32_t user) {
    return *ask<std::vector<SessionRow>>([&](auto& relational, auto done) {
      return relational.list_sessions(0, UserId(user), std::move(done));
    });
  }
  Result<void> hide(uint32_t user, uint32_t peer, uint32_t newest) {
    return ask<void>([&](auto& relational, auto done) {
      return relational.hide_session(0, UserId(user), UserId(peer), newest, std::move(done));
    });
  }
  Result<void> set_token(uint32_t user, PushVendor vendor, std::string token) {
    return ask<void>([&](auto& relational, auto done) {
      return relational.set_push_token(0, UserId(user), {vendor, std::move(token)},
                                       std::move(done));
    });
  }
  Result<void> clear_token(uint32_t user) {
    return ask<void>([&](auto& relational, auto done) {
      return relational.clear_push_token(1, UserId(user), std::move(done));
    });
  }
  Result<void> set_shield(uint32_t user, bool on_at_night) {
    return ask<void>([&](auto& relational, auto done) {
      return relational.set_push_shield(0, UserId(user), on_at_night, std::move(done));
    });
  }
  Result<bool> shield(uint32_t user) {
    return ask<bool>([&](auto& relational, auto done) {
      return relational.push_shield(1, UserId(user), std::move(done));
    });
  }
  Result<Group> add_group(NewGroup wanted) {
    return ask<Group>([&](auto& relational, auto done) {
      return relational.add_group(0, std::move(wanted), std::move(done));
    });
  }
  Result<Group> group(uint32_t id) {
    return ask<Group>([&](auto& relational, auto done) {
      return relational.find_group(1, GroupId(id), std::move(done));
    });
  }
  std::vector<uint32_t> groups(uint32_t after, uint32_t limit) {
    const auto rows = ask<std::vector<Group>>([&](auto& relational, auto done) {
      return relational.list_groups(0, GroupId(after), limit, std::move(done));
    });
    std::vector<uint32_t> ids;
    for (const Group& row : *rows) ids.push_back(raw(row.id));
    return ids;
  }
  Result<Group> patch_group(uint32_t id, GroupPatch wanted) {
    return ask<Group>([&](auto& relational, auto done) {
      return relational.update_group(0, GroupId(id), std::move(wanted), std::move(done));
    });
  }
  Result<void> dismiss(uint32_t id) {
    return ask<void>([&](auto& relational, auto done) {
      return relational.dismiss_group(0, GroupId(id), std::move(done));
    });
  }
  Result<MembersChanged> change(uint32_t id, bool add_them, uint32_t first,
                                const std::vector<uint32_t>& users) {
    MemberChange wanted{.group = GroupId(id), .add = add_them, .first = first, .users = {}};
    for (const uint32_t each : users) wanted.users.push_back(UserId(each));
    return ask<MembersChanged>([&](auto& relational, auto done) {
      return relational.change_members(0, std::move(wanted), std::move(done));
    });
  }
  std::vector<Member> members(uint32_t id) {
    return *ask<std::vector<Member>>([&](auto& relational, auto done) {
      return relational.list_members(0, GroupId(id), UserId{}, kMembersPerCall, std::move(done));
    });
  }
  std::vector<uint32_t> firsts(uint32_t id) {
    std::vector<uint32_t> found;
    for (const Member& member : members(id)) found.push_back(member.first);
    return found;
  }
  std::vector<Membership> memberships(uint32_t user) {
    return *ask<std::vector<Membership>>([&](auto& relational, auto done) {
      return relational.list_memberships(0, UserId(user), std::move(done));
    });
  }
  Result<void> mute(uint32_t user, uint32_t group, bool muted) {
    return ask<void>([&](auto& relational, auto done) {
      return relational.mute_group(0, UserId(user), GroupId(group), muted, std::move(done));
    });
  }
  Result<void> hide_group(uint32_t user, uint32_t group, uint32_t to) {
    return ask<void>([&](auto& relational, auto done) {
      return relational.hide_group(0, UserId(user), GroupId(group), to, std::move(done));
    });
  }

  // SQL behind the back of the actors, as another program would run it: one text for each driver. Rows as
  // "a|b|a|b|".
  std::string sql(const std::string& embedded, const std::string& mysql) {
    return is_mysql() ? mysql_rows(mysql) : sqlite_rows(embedded);
  }

 private:
  std::string mysql_rows(const std::string& text) {
    std::string out;
    if (!text.starts_with("SELECT")) {
      const auto done = database_->connection().run(text);
      return done ? "" : done.error().text;
    }
    const auto rows = database_->connection().query(text);
    if (!rows) return rows.error().text;
    for (size_t row = 0; row < rows->size(); ++row) {
      for (uint32_t column = 0; column < rows->columns(); ++column) {
        const std::string_view cell = rows->text(row, column);
        out += cell.empty() ? std::to_string(rows->number(row, column)) : std::string(cell);
        out += "|";
      }
    }
    return out;
  }
  std::string sqlite_rows(const std::string& text) {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open((root_ + "/ringtalk.db").c_str(), &db), SQLITE_OK);
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

  Driver driver_ = Driver::embedded;
  engine::FakeClock clock_;
  std::string root_;                             // embedded
  std::unique_ptr<sql::TestDatabase> database_;  // mysql
  std::variant<std::unique_ptr<Relational>, std::unique_ptr<MySqlRelational>> relational_;
};

}  // namespace ringtalk::store
