#include "store/embedded/relational.h"

#include <algorithm>
#include <utility>

#include "engine/base/assert.h"
#include "engine/base/units.h"
#include "engine/killpoint.h"

namespace ringtalk::store {

namespace {

// Every column but id and name has a default: operators and tests insert rows by hand.
// AUTOINCREMENT, because an id used again would inherit somebody's conversations.
constexpr const char* kSchema = R"sql(
  BEGIN IMMEDIATE;
  CREATE TABLE user (
    id              INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id BETWEEN 1 AND 4294967295),
    name            TEXT    NOT NULL,
    nick            TEXT    NOT NULL DEFAULT '',
    domain          TEXT    NOT NULL DEFAULT '',
    phone           TEXT    NOT NULL DEFAULT '',
    email           TEXT    NOT NULL DEFAULT '',
    avatar          TEXT    NOT NULL DEFAULT '',
    sign_info       TEXT    NOT NULL DEFAULT '',
    department      INTEGER NOT NULL DEFAULT 0 CHECK (department BETWEEN 0 AND 4294967295),
    sex             INTEGER NOT NULL DEFAULT 0 CHECK (sex BETWEEN 0 AND 255),
    status          INTEGER NOT NULL DEFAULT 0 CHECK (status BETWEEN 0 AND 255),
    created         INTEGER NOT NULL DEFAULT 0,
    updated         INTEGER NOT NULL DEFAULT 0,
    stamp           INTEGER NOT NULL DEFAULT 0 CHECK (stamp >= 0),
    password        TEXT    NOT NULL DEFAULT '',
    legacy_password TEXT    NOT NULL DEFAULT '',
    legacy_salt     TEXT    NOT NULL DEFAULT '',
    epoch           INTEGER NOT NULL DEFAULT 0 CHECK (epoch BETWEEN 0 AND 4294967295)
  ) STRICT;
  CREATE UNIQUE INDEX user_name ON user (name) WHERE status <> 3;
  CREATE INDEX user_stamp ON user (stamp);
  CREATE TABLE session (
    user_id INTEGER NOT NULL,
    type    INTEGER NOT NULL CHECK (type IN (1, 2)),
    peer_id INTEGER NOT NULL,
    status  INTEGER NOT NULL DEFAULT 0 CHECK (status IN (0, 1)),
    created INTEGER NOT NULL DEFAULT 0,
    updated INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, type, peer_id)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  PRAGMA user_version=1;
  COMMIT;
)sql";

// Each takes the file from one version to the next: a new file is made as version 1 and goes all the way.
constexpr const char* kSchemaSteps[] = {
    R"sql(
  BEGIN IMMEDIATE;
  ALTER TABLE session ADD COLUMN hidden_to INTEGER NOT NULL DEFAULT 0;
  CREATE INDEX user_left_name ON user (name) WHERE status = 3;
  CREATE INDEX user_department ON user (department) WHERE department <> 0;
  CREATE TABLE department (
    id       INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id BETWEEN 1 AND 4294967295),
    name     TEXT    NOT NULL,
    parent   INTEGER NOT NULL DEFAULT 0 CHECK (parent BETWEEN 0 AND 4294967295),
    priority INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN 0 AND 4294967295),
    status   INTEGER NOT NULL DEFAULT 0 CHECK (status IN (0, 1)),
    created  INTEGER NOT NULL DEFAULT 0,
    updated  INTEGER NOT NULL DEFAULT 0,
    stamp    INTEGER NOT NULL DEFAULT 0 CHECK (stamp >= 0)
  ) STRICT;
  CREATE INDEX department_stamp ON department (stamp);
  CREATE INDEX department_parent ON department (parent);
  PRAGMA user_version=2;
  COMMIT;
)sql",
    R"sql(
  BEGIN IMMEDIATE;
  ALTER TABLE user ADD COLUMN push_shield INTEGER NOT NULL DEFAULT 0 CHECK (push_shield IN (0, 1));
  CREATE TABLE push_token (
    user_id INTEGER PRIMARY KEY,
    vendor  TEXT    NOT NULL,
    token   TEXT    NOT NULL UNIQUE,
    updated INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  PRAGMA user_version=3;
  COMMIT;
)sql",
    R"sql(
  BEGIN IMMEDIATE;
  CREATE TABLE chat_group (
    id      INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id BETWEEN 1 AND 4294967295),
    name    TEXT    NOT NULL,
    avatar  TEXT    NOT NULL DEFAULT '',
    creator INTEGER NOT NULL DEFAULT 0 CHECK (creator BETWEEN 0 AND 4294967295),
    type    INTEGER NOT NULL DEFAULT 1 CHECK (type IN (1, 2)),
    status  INTEGER NOT NULL DEFAULT 0 CHECK (status IN (0, 1)),
    version INTEGER NOT NULL DEFAULT 1 CHECK (version BETWEEN 1 AND 4294967295),
    members INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL DEFAULT 0,
    updated INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE member (
    group_id INTEGER NOT NULL,
    user_id  INTEGER NOT NULL,
    first    INTEGER NOT NULL DEFAULT 1,
    muted    INTEGER NOT NULL DEFAULT 0 CHECK (muted IN (0, 1)),
    hidden_to INTEGER NOT NULL DEFAULT 0,
    joined   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (group_id, user_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX member_user ON member (user_id);
  PRAGMA user_version=4;
  COMMIT;
)sql",
};
static_assert(Relational::kSchemaVersion == 1 + std::size(kSchemaSteps));

// The order that read_user() and read_account() take.
#define RT_USER_COLUMNS                                                                         \
  "id, name, nick, domain, phone, email, avatar, sign_info, department, sex, status, created, " \
  "stamp"

constexpr std::string_view kFindAccount = "SELECT " RT_USER_COLUMNS
                                          ", password, legacy_password, legacy_salt, epoch"
                                          " FROM user WHERE name = ?1 AND status <> 3";
constexpr std::string_view kFindUser  = "SELECT " RT_USER_COLUMNS " FROM user WHERE id = ?1";
constexpr std::string_view kFindEpoch = "SELECT epoch FROM user WHERE id = ?1";
constexpr std::string_view kListUsers =
    "SELECT " RT_USER_COLUMNS " FROM user WHERE id > ?1 ORDER BY id LIMIT ?2";
constexpr std::string_view kNewestStamp = "SELECT coalesce(max(stamp), 0) FROM user";
constexpr std::string_view kInsertUser =
    "INSERT INTO user (name, nick, department, password, created, updated, stamp)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)";
// The weaker hash goes with the first success of the better one, and with a new password.
constexpr std::string_view kReplacePassword =
    "UPDATE user SET password = ?2, legacy_password = '', legacy_salt = '' WHERE id = ?1";
constexpr std::string_view kShowSession =
    "INSERT INTO session (user_id, type, peer_id, status, created, updated)"
    " VALUES (?1, 1, ?2, 0, ?3, ?3)"
    " ON CONFLICT (user_id, type, peer_id) DO UPDATE SET status = 0, updated = excluded.updated"
    " WHERE status <> 0";

constexpr std::string_view kListSessions =
    "SELECT peer_id, hidden_to FROM session WHERE user_id = ?1 AND type = 1"
    " ORDER BY updated DESC LIMIT ?2";
constexpr std::string_view kHideSession =
    "UPDATE session SET status = 1, hidden_to = ?3, updated = ?4"
    " WHERE user_id = ?1 AND type = 1 AND peer_id = ?2 AND hidden_to < ?3";

constexpr std::string_view kFindUserByName =
    "SELECT * FROM (SELECT " RT_USER_COLUMNS
    " FROM user WHERE name = ?1 AND status <> 3"
    " UNION ALL SELECT * FROM (SELECT " RT_USER_COLUMNS
    " FROM user WHERE name = ?1 AND status = 3 ORDER BY id DESC LIMIT 1)) ORDER BY status = 3"
    " LIMIT 1";
constexpr std::string_view kListUsersSince =
    "SELECT " RT_USER_COLUMNS " FROM user WHERE stamp > ?1 ORDER BY stamp, id LIMIT ?2";
constexpr std::string_view kListStamp =
    "SELECT " RT_USER_COLUMNS " FROM user WHERE stamp = ?1 ORDER BY id LIMIT ?2";
constexpr std::string_view kUpdateUser =
    "UPDATE user SET nick = ?2, domain = ?3, phone = ?4, email = ?5, avatar = ?6, sign_info = ?7,"
    " department = ?8, sex = ?9, status = ?10, updated = ?11, stamp = ?12, epoch = epoch + ?13"
    " WHERE id = ?1";

#define RT_DEPARTMENT_COLUMNS "id, name, parent, priority, status, created, stamp"
constexpr std::string_view kFindDepartment =
    "SELECT " RT_DEPARTMENT_COLUMNS " FROM department WHERE id = ?1 AND status = 0";
constexpr std::string_view kListDepartments = "SELECT " RT_DEPARTMENT_COLUMNS
                                              " FROM department WHERE stamp > ?1"
                                              " ORDER BY stamp, id LIMIT ?2";
constexpr std::string_view kDepartmentStamp = "SELECT " RT_DEPARTMENT_COLUMNS
                                              " FROM department WHERE stamp = ?1"
                                              " ORDER BY id LIMIT ?2";
constexpr std::string_view kNewestDepartment = "SELECT coalesce(max(stamp), 0) FROM department";
constexpr std::string_view kInsertDepartment =
    "INSERT INTO department (name, parent, priority, created, updated, stamp)"
    " VALUES (?1, ?2, ?3, ?4, ?4, ?5)";
constexpr std::string_view kUpdateDepartment =
    "UPDATE department SET name = ?2, parent = ?3, priority = ?4, status = ?5, updated = ?6,"
    " stamp = ?7 WHERE id = ?1";
constexpr std::string_view kDepartmentUsed =
    "SELECT EXISTS (SELECT 1 FROM user WHERE department = ?1 AND department <> 0 AND status <> 3)"
    " OR EXISTS (SELECT 1 FROM department WHERE parent = ?1 AND status = 0)";
// Whether ?2 is ?1 or above it. UNION: a circle made by hand ends the walk.
constexpr std::string_view kAbove =
    "WITH RECURSIVE up (id) AS (SELECT ?1 UNION SELECT department.parent FROM department"
    " JOIN up ON department.id = up.id) SELECT EXISTS (SELECT 1 FROM up WHERE id = ?2)";

#define RT_GROUP_COLUMNS "id, name, avatar, creator, type, version, members, created"
constexpr std::string_view kInsertGroup =
    "INSERT INTO chat_group (name, avatar, creator, type, members, created, updated)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)";
constexpr std::string_view kFindGroup =
    "SELECT " RT_GROUP_COLUMNS " FROM chat_group WHERE id = ?1 AND status = 0";
constexpr std::string_view kListGroups = "SELECT " RT_GROUP_COLUMNS
                                         " FROM chat_group WHERE id > ?1 AND status = 0"
                                         " ORDER BY id LIMIT ?2";
constexpr std::string_view kUpdateGroup =
    "UPDATE chat_group SET name = ?2, avatar = ?3, version = ?4, members = ?5, status = ?6,"
    " updated = ?7 WHERE id = ?1";
constexpr std::string_view kListMembers =
    "SELECT user_id, first, muted FROM member WHERE group_id = ?1 AND user_id > ?2"
    " ORDER BY user_id LIMIT ?3";
constexpr std::string_view kInsertMember =
    "INSERT OR IGNORE INTO member (group_id, user_id, first, joined) VALUES (?1, ?2, ?3, ?4)";
constexpr std::string_view kDeleteMember =
    "DELETE FROM member WHERE group_id = ?1 AND user_id = ?2";
constexpr std::string_view kDeleteMembers = "DELETE FROM member WHERE group_id = ?1";
constexpr std::string_view kMuteGroup =
    "UPDATE member SET muted = ?3 WHERE group_id = ?1 AND user_id = ?2";
constexpr std::string_view kHideGroup =
    "UPDATE member SET hidden_to = ?3 WHERE group_id = ?1 AND user_id = ?2";
constexpr std::string_view kListMemberships =
    "SELECT m.group_id, g.version, m.first, g.type, m.muted, m.hidden_to FROM member AS m"
    " JOIN chat_group AS g ON g.id = m.group_id WHERE m.user_id = ?1 AND g.status = 0"
    " ORDER BY m.group_id LIMIT ?2";

Group read_group(const Query& row) {
  return {
      .id      = GroupId(static_cast<uint32_t>(row.integer(0))),
      .name    = row.text(1),
      .avatar  = row.text(2),
      .creator = UserId(static_cast<uint32_t>(row.integer(3))),
      .type    = static_cast<uint8_t>(row.integer(4)),
      .version = static_cast<uint32_t>(row.integer(5)),
      .members = static_cast<uint32_t>(row.integer(6)),
      .created = static_cast<uint32_t>(row.integer(7)),
  };
}

constexpr std::string_view kDeletePushToken = "DELETE FROM push_token WHERE user_id = ?1";
// REPLACE: the user's old token goes, and whoever else had this one loses it.
constexpr std::string_view kReplacePushToken =
    "REPLACE INTO push_token (user_id, vendor, token, updated) VALUES (?1, ?2, ?3, ?4)";
constexpr std::string_view kWritePushShield = "UPDATE user SET push_shield = ?2 WHERE id = ?1";
constexpr std::string_view kPushShield      = "SELECT push_shield FROM user WHERE id = ?1";

constexpr std::string_view name_of(PushVendor vendor) {
  switch (vendor) {
    case PushVendor::ios: return "ios";
    case PushVendor::android: return "android";
  }
  std::unreachable();
}

User read_user(const Query& row) {
  return {
      .id         = UserId(static_cast<uint32_t>(row.integer(0))),
      .name       = row.text(1),
      .nick       = row.text(2),
      .domain     = row.text(3),
      .phone      = row.text(4),
      .email      = row.text(5),
      .avatar     = row.text(6),
      .signature  = row.text(7),
      .department = static_cast<uint32_t>(row.integer(8)),
      .sex        = static_cast<uint8_t>(row.integer(9)),
      .status     = static_cast<uint8_t>(row.integer(10)),
      .created    = static_cast<uint32_t>(row.integer(11)),
      .stamp      = static_cast<uint64_t>(row.integer(12)),
  };
}

Department read_department(const Query& row) {
  return {
      .id       = static_cast<uint32_t>(row.integer(0)),
      .name     = row.text(1),
      .parent   = static_cast<uint32_t>(row.integer(2)),
      .priority = static_cast<uint32_t>(row.integer(3)),
      .status   = static_cast<uint8_t>(row.integer(4)),
      .created  = static_cast<uint32_t>(row.integer(5)),
      .stamp    = static_cast<uint64_t>(row.integer(6)),
  };
}

// Every row of `query`, read by `read`.
template <class Read>
auto all_rows(Query& query, Read read) -> Result<std::vector<decltype(read(query))>> {
  std::vector<decltype(read(query))> rows;
  for (;;) {
    auto row = query.step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return rows;
    rows.push_back(read(query));
  }
}

Account read_account(const Query& row) {
  return {
      .user            = read_user(row),
      .password        = row.text(13),
      .legacy_password = row.text(14),
      .legacy_salt     = row.text(15),
      .epoch           = static_cast<uint32_t>(row.integer(16)),
  };
}

}  // namespace

// --- calls ---------------------------------------------------------------------------------------

template <class T, bool kWrites, class Work>
class Relational::Call final : public engine::Job {
 public:
  Call(Relational& owner, Work work, Callback<T> done)
      : owner_(owner), work_(std::move(work)), done_(std::move(done)) {}

  void run() override {
    if constexpr (kWrites) {
      if (auto opened = owner_.open_job(); !opened) {
        result_ = std::unexpected(opened.error());
        return;
      }
      result_ = owner_.close_job<T>(work_());
    } else {
      result_ = work_();
    }
  }
  void failed(Error error) override { result_ = std::unexpected(error); }
  void done() override { done_(std::move(result_)); }

 private:
  Relational& owner_;
  Work work_;
  Callback<T> done_;
  Result<T> result_ = fail(Errc::closed);
};

template <class T, bool kWrites, class Work>
Result<void> Relational::call(uint32_t shard, Work work, Callback<T> done) {
  std::unique_ptr<engine::Job> job =
      std::make_unique<Call<T, kWrites, Work>>(*this, std::move(work), std::move(done));
  return submit(shard, job);
}

Result<void> Relational::find_account(uint32_t shard, std::string_view name,
                                      Callback<Account> done) {
  return call<Account, false>(
      shard, [this, name = std::string(name)] { return select_account(name); }, std::move(done));
}

Result<void> Relational::find_user(uint32_t shard, UserId id, Callback<User> done) {
  return call<User, false>(shard, [this, id] { return select_user(id); }, std::move(done));
}

Result<void> Relational::add_users(uint32_t shard, std::vector<NewUser> users,
                                   Callback<std::vector<User>> done) {
  if (users.size() > kUsersPerCallMax) return fail(Errc::too_large);
  return call<std::vector<User>, true>(
      shard, [this, users = std::move(users)] { return insert_users(users); }, std::move(done));
}

Result<void> Relational::list_users(uint32_t shard, UserId after, uint32_t limit,
                                    Callback<std::vector<User>> done) {
  return call<std::vector<User>, false>(
      shard, [this, after, limit] { return select_users(after, limit); }, std::move(done));
}

Result<void> Relational::upgrade_password(uint32_t shard, UserId id, uint32_t epoch,
                                          std::string argon2id, Callback<void> done) {
  return call<void, true>(
      shard,
      [this, id, epoch, argon2id = std::move(argon2id)] {
        return upgrade_hash(id, epoch, argon2id);
      },
      std::move(done));
}

Result<void> Relational::open_conversation(uint32_t shard, ConversationId conversation,
                                           uint32_t time, Callback<void> done) {
  if (conversation.is_group()) return fail(Errc::unsupported);
  const UserId small = conversation.small(), big = conversation.big();
  return call<void, true>(
      shard,
      [this, small, big, time]() -> Result<void> {
        if (auto shown = show_session(small, big, time); !shown || small == big) return shown;
        return show_session(big, small, time);
      },
      std::move(done));
}

Result<void> Relational::list_sessions(uint32_t shard, UserId user,
                                       Callback<std::vector<SessionRow>> done) {
  return call<std::vector<SessionRow>, false>(
      shard, [this, user] { return select_sessions(user); }, std::move(done));
}

Result<void> Relational::hide_session(uint32_t shard, UserId user, UserId peer, uint32_t newest,
                                      Callback<void> done) {
  return call<void, true>(
      shard, [this, user, peer, newest] { return hide_row(user, peer, newest); }, std::move(done));
}

Result<void> Relational::find_user_by_name(uint32_t shard, std::string_view name,
                                           Callback<User> done) {
  return call<User, false>(
      shard, [this, name = std::string(name)] { return select_user_by_name(name); },
      std::move(done));
}

Result<void> Relational::find_users(uint32_t shard, std::vector<UserId> ids,
                                    Callback<std::vector<User>> done) {
  if (ids.size() > kUsersAskedMax) return fail(Errc::too_large);
  return call<std::vector<User>, false>(
      shard,
      [this, ids = std::move(ids)]() -> Result<std::vector<User>> {
        std::vector<User> users;
        for (const UserId id : ids) {
          auto user = select_user(id);
          if (user) {
            users.push_back(std::move(*user));
          } else if (user.error().code != Errc::not_found) {
            return std::unexpected(user.error());
          }
        }
        return users;
      },
      std::move(done));
}

Result<void> Relational::list_users_since(uint32_t shard, uint64_t stamp, uint32_t limit,
                                          Callback<UserPage> done) {
  return call<UserPage, false>(
      shard, [this, stamp, limit] { return select_users_since(stamp, limit); }, std::move(done));
}

Result<void> Relational::update_user(uint32_t shard, UserId id, UserPatch patch,
                                     Callback<User> done) {
  return call<User, true>(
      shard, [this, id, patch = std::move(patch)] { return patch_user(id, patch); },
      std::move(done));
}

Result<void> Relational::list_departments(uint32_t shard, uint64_t stamp, uint32_t limit,
                                          Callback<DepartmentPage> done) {
  return call<DepartmentPage, false>(
      shard, [this, stamp, limit] { return select_departments(stamp, limit); }, std::move(done));
}

Result<void> Relational::add_department(uint32_t shard, NewDepartment department,
                                        Callback<Department> done) {
  return call<Department, true>(
      shard, [this, department = std::move(department)] { return insert_department(department); },
      std::move(done));
}

Result<void> Relational::update_department(uint32_t shard, uint32_t id, DepartmentPatch patch,
                                           Callback<Department> done) {
  return call<Department, true>(
      shard, [this, id, patch = std::move(patch)] { return patch_department(id, patch); },
      std::move(done));
}

Result<void> Relational::remove_department(uint32_t shard, uint32_t id, Callback<void> done) {
  return call<void, true>(shard, [this, id] { return delete_department(id); }, std::move(done));
}

Result<void> Relational::add_group(uint32_t shard, NewGroup group, Callback<Group> done) {
  if (group.members.size() > kMembersPerCall) return fail(Errc::too_large);
  return call<Group, true>(
      shard, [this, group = std::move(group)] { return insert_group(group); }, std::move(done));
}

Result<void> Relational::find_group(uint32_t shard, GroupId id, Callback<Group> done) {
  return call<Group, false>(shard, [this, id] { return select_group(id); }, std::move(done));
}

Result<void> Relational::list_groups(uint32_t shard, GroupId after, uint32_t limit,
                                     Callback<std::vector<Group>> done) {
  return call<std::vector<Group>, false>(
      shard, [this, after, limit] { return select_groups(after, limit); }, std::move(done));
}

Result<void> Relational::update_group(uint32_t shard, GroupId id, GroupPatch patch,
                                      Callback<Group> done) {
  return call<Group, true>(
      shard, [this, id, patch = std::move(patch)] { return patch_group(id, patch); },
      std::move(done));
}

Result<void> Relational::dismiss_group(uint32_t shard, GroupId id, Callback<void> done) {
  return call<void, true>(shard, [this, id] { return remove_group(id); }, std::move(done));
}

Result<void> Relational::list_members(uint32_t shard, GroupId id, UserId after, uint32_t limit,
                                      Callback<std::vector<Member>> done) {
  return call<std::vector<Member>, false>(
      shard, [this, id, after, limit] { return select_members(id, after, limit); },
      std::move(done));
}

Result<void> Relational::change_members(uint32_t shard, MemberChange change,
                                        Callback<MembersChanged> done) {
  if (change.users.size() > kMembersPerCall) return fail(Errc::too_large);
  return call<MembersChanged, true>(
      shard, [this, change = std::move(change)] { return write_members(change); }, std::move(done));
}

Result<void> Relational::mute_group(uint32_t shard, UserId user, GroupId group, bool muted,
                                    Callback<void> done) {
  return call<void, true>(
      shard, [this, user, group, muted] { return mark_member(mute_group_, user, group, muted); },
      std::move(done));
}

Result<void> Relational::hide_group(uint32_t shard, UserId user, GroupId group, uint32_t hidden_to,
                                    Callback<void> done) {
  return call<void, true>(
      shard,
      [this, user, group, hidden_to] { return mark_member(hide_group_, user, group, hidden_to); },
      std::move(done));
}

Result<void> Relational::list_memberships(uint32_t shard, UserId user,
                                          Callback<std::vector<Membership>> done) {
  return call<std::vector<Membership>, false>(
      shard, [this, user] { return select_memberships(user); }, std::move(done));
}

Result<void> Relational::set_push_token(uint32_t shard, UserId user, PushToken token,
                                        Callback<void> done) {
  return call<void, true>(
      shard, [this, user, token = std::move(token)] { return replace_push_token(user, token); },
      std::move(done));
}

Result<void> Relational::clear_push_token(uint32_t shard, UserId user, Callback<void> done) {
  return call<void, true>(shard, [this, user] { return delete_push_token(user); }, std::move(done));
}

Result<void> Relational::set_push_shield(uint32_t shard, UserId user, bool on,
                                         Callback<void> done) {
  return call<void, true>(
      shard, [this, user, on] { return write_push_shield(user, on); }, std::move(done));
}

Result<void> Relational::push_shield(uint32_t shard, UserId user, Callback<bool> done) {
  return call<bool, false>(
      shard, [this, user] { return select_push_shield(user); }, std::move(done));
}

// --- opening -------------------------------------------------------------------------------------

Relational::Relational(const Options& options, engine::Clock& clock)
    : Worker(options.shards, options.jobs_max), clock_(clock) {}

Relational::~Relational() { stop(); }  // the thread uses what is destroyed next

Result<std::unique_ptr<Relational>> Relational::open(const Options& options, engine::Clock& clock) {
  std::unique_ptr<Relational> made(new Relational(options, clock));
  if (auto opened = made->open_file(options); !opened) return std::unexpected(opened.error());
  if (auto prepared = made->prepare(); !prepared) return std::unexpected(prepared.error());
  if (made->db_.sync_failed()) return std::unexpected(made->db_.sync_failure());
  return made;
}

// The version of the schema; 0: a new file.
Result<int64_t> Relational::open_ours(Sqlite& db, const Options& options) {
  auto opened = db.open({.path      = options.path,
                         .vfs_name  = options.vfs_name,
                         .busy_ms   = options.busy_ms,
                         .exclusive = !options.vfs_name.empty()});
  if (!opened) return std::unexpected(opened.error());
  const auto version = db.number("PRAGMA user_version");
  if (!version) return version;
  const auto objects = db.number("SELECT count(*) FROM sqlite_schema");
  if (!objects) return objects;
  if (*version == 0 && *objects == 0) return 0;
  if (*version < 1 || *version > kSchemaVersion) return fail(Errc::unsupported);
  return version;
}

// Two connections: the second recovers what the first made durable.
Result<void> Relational::open_file(const Options& options) {
  {
    Sqlite first;
    const auto version = open_ours(first, options);
    if (!version) return std::unexpected(version.error());
    if (*version != 0)
      if (auto renewed = first.renew_wal(); !renewed) return renewed;
  }
  const auto version = open_ours(db_, options);
  if (!version) return std::unexpected(version.error());
  if (auto tuned = db_.tune(); !tuned) return tuned;
  if (*version == 0)
    if (auto made = db_.execute(kSchema); !made) return made;
  for (int64_t at = std::max<int64_t>(*version, 1); at < kSchemaVersion; ++at)
    if (auto stepped = db_.execute(kSchemaSteps[at - 1]); !stepped) return stepped;
  return {};
}

Result<void> Relational::prepare() {
  const std::pair<Statement*, std::string_view> all[] = {
      {&begin_, "BEGIN IMMEDIATE"},
      {&commit_, "COMMIT"},
      {&rollback_, "ROLLBACK"},
      {&savepoint_, "SAVEPOINT job"},
      {&release_, "RELEASE job"},
      {&undo_, "ROLLBACK TO job"},
      {&find_account_, kFindAccount},
      {&find_user_, kFindUser},
      {&find_epoch_, kFindEpoch},
      {&list_users_, kListUsers},
      {&newest_stamp_, kNewestStamp},
      {&insert_user_, kInsertUser},
      {&replace_password_, kReplacePassword},
      {&show_session_, kShowSession},
      {&list_sessions_, kListSessions},
      {&hide_session_, kHideSession},
      {&find_user_by_name_, kFindUserByName},
      {&list_users_since_, kListUsersSince},
      {&list_stamp_, kListStamp},
      {&update_user_, kUpdateUser},
      {&find_department_, kFindDepartment},
      {&list_departments_, kListDepartments},
      {&department_stamp_, kDepartmentStamp},
      {&newest_department_, kNewestDepartment},
      {&insert_department_, kInsertDepartment},
      {&update_department_, kUpdateDepartment},
      {&department_used_, kDepartmentUsed},
      {&above_, kAbove},
      {&insert_group_, kInsertGroup},
      {&find_group_, kFindGroup},
      {&list_groups_, kListGroups},
      {&update_group_, kUpdateGroup},
      {&list_members_, kListMembers},
      {&insert_member_, kInsertMember},
      {&delete_member_, kDeleteMember},
      {&delete_members_, kDeleteMembers},
      {&mute_group_, kMuteGroup},
      {&hide_group_, kHideGroup},
      {&list_memberships_, kListMemberships},
      {&delete_push_token_, kDeletePushToken},
      {&replace_push_token_, kReplacePushToken},
      {&write_push_shield_, kWritePushShield},
      {&push_shield_, kPushShield},
  };
  for (const auto& [statement, sql] : all)
    if (auto prepared = statement->prepare(db_, sql); !prepared) return prepared;
  return stamp_foreign_rows();
}

// Rows inserted by hand have no stamp, and who asks by stamps would never hear of them.
Result<void> Relational::stamp_foreign_rows() {
  const auto users = db_.number("SELECT count(*) FROM user WHERE stamp = 0");
  if (!users) return std::unexpected(users.error());
  const auto departments = db_.number("SELECT count(*) FROM department WHERE stamp = 0");
  if (!departments) return std::unexpected(departments.error());
  if (*users == 0 && *departments == 0) return {};
  Statement stamp_users, stamp_departments;
  const std::pair<Statement*, std::string_view> all[] = {
      {&stamp_users,
       "UPDATE user SET stamp = ?1 WHERE id IN (SELECT id FROM user WHERE stamp = 0 LIMIT ?2)"},
      {&stamp_departments,
       "UPDATE department SET stamp = ?1"
       " WHERE id = (SELECT min(id) FROM department WHERE stamp = 0)"}};
  for (const auto& [statement, sql] : all)
    if (auto prepared = statement->prepare(db_, sql); !prepared) return prepared;
  const auto work = [&]() -> Result<void> {
    for (int64_t left = *users; left > 0; left -= kUsersPerStampMax) {
      const auto stamp = next_stamp(now_s());
      if (!stamp) return std::unexpected(stamp.error());
      Query query(stamp_users);
      query.bind(1, static_cast<int64_t>(*stamp)).bind(2, int64_t{kUsersPerStampMax});
      if (auto ran = query.run(); !ran) return ran;
    }
    for (int64_t left = *departments; left > 0; --left) {
      const auto stamp = next_department_stamp(now_s());
      if (!stamp) return std::unexpected(stamp.error());
      if (auto ran = Query(stamp_departments).bind(1, static_cast<int64_t>(*stamp)).run(); !ran)
        return ran;
    }
    return {};
  };
  if (auto begun = Query(begin_).run(); !begun) return begun;
  auto done = work();
  if (done) done = Query(commit_).run();
  if (!done && db_.in_transaction()) (void)Query(rollback_).run();
  return done;
}

Result<std::vector<UserState>> Relational::load_user_states() {
  Statement select;
  if (auto ok = select.prepare(db_, "SELECT id, status FROM user ORDER BY id"); !ok)
    return std::unexpected(ok.error());
  std::vector<UserState> states;
  Query query(select);
  for (;;) {
    auto row = query.step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return states;
    states.push_back(
        {UserId(static_cast<uint32_t>(query.integer(0))), static_cast<uint8_t>(query.integer(1))});
  }
}

// --- batches -------------------------------------------------------------------------------------

// A transaction whose rollback failed must not take the next batch along.
void Relational::begin() {
  not_begun_.reset();
  broken_.reset();
  if (db_.sync_failed()) broken_ = db_.sync_failure();
  if (!db_.in_transaction()) return;
  if (auto rolled = Query(rollback_).run(); !rolled) broken_ = rolled.error();
}

Result<void> Relational::commit() {
  auto result = end_batch();
  if (db_.sync_failed()) failed_errno_.store(db_.sync_failure().os, std::memory_order_release);
  return result;
}

// Partner: commit(). The answers come through a queue that orders them behind it.
Error Relational::failure() const {
  const int os = failed_errno_.load(std::memory_order_acquire);
  return os == 0 ? Error{} : Error::from_errno(os);
}

Result<void> Relational::end_batch() {
  Result<void> result;
  if (db_.sync_failed()) broken_ = db_.sync_failure();
  if (broken_) result = std::unexpected(*broken_);
  if (!db_.in_transaction()) return result;
  if (result) {
    RT_KILLPOINT("sqlite_before_commit");
    result = Query(commit_).run();
  }
  if (result) {
    RT_KILLPOINT("sqlite_after_commit");
    return result;
  }
  if (db_.in_transaction()) (void)Query(rollback_).run();
  return result;
}

// The transaction begins with the first call that writes.
Result<void> Relational::open_job() {
  if (broken_) return std::unexpected(*broken_);
  if (not_begun_) return std::unexpected(*not_begun_);
  if (!db_.in_transaction()) {
    if (auto begun = Query(begin_).run(); !begun) {
      not_begun_ = begun.error();
      return begun;
    }
  }
  return Query(savepoint_).run();
}

template <class T>
Result<T> Relational::close_job(Result<T> result) {
  if (!result) {
    undo_job(result.error());
    return result;
  }
  if (auto released = Query(release_).run(); !released) {
    undo_job(released.error());
    return std::unexpected(released.error());
  }
  return result;
}

// A full disk or an I/O error may have ended the whole transaction, earlier calls included.
void Relational::undo_job(Error error) {
  if (db_.in_transaction() && Query(undo_).run() && Query(release_).run()) return;
  broken_ = error;
}

// --- SQL -----------------------------------------------------------------------------------------

uint32_t Relational::now_s() const { return static_cast<uint32_t>(clock_.wall_ns() / kNsPerS); }

Result<Account> Relational::select_account(std::string_view name) {
  Query query(find_account_);
  auto row = query.bind(1, name).step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return fail(Errc::not_found);
  return read_account(query);
}

Result<User> Relational::select_user(UserId id) {
  Query query(find_user_);
  auto row = query.bind(1, raw(id)).step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return fail(Errc::not_found);
  return read_user(query);
}

Result<User> Relational::select_user_by_name(std::string_view name) {
  Query query(find_user_by_name_);
  auto row = query.bind(1, name).step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return fail(Errc::not_found);
  return read_user(query);
}

Result<std::vector<User>> Relational::select_users(UserId after, uint32_t limit) {
  Query query(list_users_);
  query.bind(1, raw(after)).bind(2, std::min(limit, kListMax));
  return all_rows(query, read_user);
}

Result<UserPage> Relational::select_users_since(uint64_t stamp, uint32_t limit) {
  return whole_stamps<UserPage>(list_users_since_, list_stamp_, stamp, limit, read_user);
}

// Whole stamps only: who asks again by the last one would lose the rest of it.
template <class Page, class Read>
Result<Page> Relational::whole_stamps(Statement& since, Statement& of_stamp, uint64_t stamp,
                                      uint32_t limit, Read read) {
  limit = std::clamp<uint32_t>(limit, 1, kListMax);
  Query query(since);
  query.bind(1, static_cast<int64_t>(std::min<uint64_t>(stamp, INT64_MAX))).bind(2, limit + 1);
  auto rows = all_rows(query, read);
  if (!rows) return std::unexpected(rows.error());
  if (rows->size() <= limit) return Page{std::move(*rows), false};
  const uint64_t cut = rows->back().stamp;
  while (!rows->empty() && rows->back().stamp == cut) rows->pop_back();
  if (!rows->empty()) return Page{std::move(*rows), true};
  Query whole(of_stamp);
  rows = all_rows(whole.bind(1, static_cast<int64_t>(cut)).bind(2, kListMax), read);
  if (!rows) return std::unexpected(rows.error());
  return Page{std::move(*rows), true};
}

Result<User> Relational::patch_user(UserId id, const UserPatch& patch) {
  auto found = select_user(id);
  if (!found) return found;
  if (patch.department)
    if (auto ok = check_departments({*patch.department}); !ok) return std::unexpected(ok.error());
  User user        = std::move(*found);
  const auto apply = [](auto& field, const auto& wanted) {
    if (wanted) field = *wanted;
  };
  apply(user.nick, patch.nick);
  apply(user.domain, patch.domain);
  apply(user.phone, patch.phone);
  apply(user.email, patch.email);
  apply(user.avatar, patch.avatar);
  apply(user.signature, patch.signature);
  apply(user.department, patch.department);
  apply(user.sex, patch.sex);
  apply(user.status, patch.status);
  const uint32_t now = now_s();
  const auto stamp   = next_stamp(now);
  if (!stamp) return std::unexpected(stamp.error());
  user.stamp            = *stamp;
  const bool tokens_die = patch.password || patch.status == kUserLeft;
  Query query(update_user_);
  query.bind(1, raw(id)).bind(2, user.nick).bind(3, user.domain).bind(4, user.phone);
  query.bind(5, user.email).bind(6, user.avatar).bind(7, user.signature).bind(8, user.department);
  query.bind(9, user.sex).bind(10, user.status).bind(11, now);
  query.bind(12, static_cast<int64_t>(user.stamp)).bind(13, tokens_die ? 1 : 0);
  if (auto ran = query.run(); !ran) return std::unexpected(ran.error());
  if (patch.password)
    if (auto ran = replace_password(id, *patch.password); !ran) return std::unexpected(ran.error());
  return user;
}

Result<std::vector<User>> Relational::insert_users(const std::vector<NewUser>& users) {
  std::vector<uint32_t> departments;
  departments.reserve(users.size());
  for (const NewUser& user : users) departments.push_back(user.department);
  if (auto ok = check_departments(std::move(departments)); !ok) return std::unexpected(ok.error());
  const uint32_t now = now_s();
  auto stamp         = next_stamp(now);
  if (!stamp) return std::unexpected(stamp.error());
  std::vector<User> added;
  added.reserve(users.size());
  for (size_t i = 0; i < users.size(); ++i) {
    User user{.name       = users[i].name,
              .nick       = users[i].nick,
              .department = users[i].department,
              .created    = now,
              .stamp      = *stamp + i / kUsersPerStampMax};
    if (auto ok = insert_user(user, users[i].password); !ok) return std::unexpected(ok.error());
    added.push_back(std::move(user));
  }
  return added;
}

Result<void> Relational::insert_user(User& user, std::string_view password) {
  Query query(insert_user_);
  query.bind(1, user.name).bind(2, user.nick).bind(3, user.department).bind(4, password);
  query.bind(5, user.created).bind(6, static_cast<int64_t>(user.stamp));
  if (auto inserted = query.run(); !inserted) return inserted;
  user.id = UserId(static_cast<uint32_t>(db_.last_insert_id()));
  return {};
}

// max(now, newest + 1): asked of the table each time, because rows may be inserted by others.
Result<uint64_t> Relational::next_stamp(uint32_t now) {
  Query query(newest_stamp_);
  auto row = query.step();
  if (!row) return std::unexpected(row.error());
  RT_ASSERT(*row);  // an aggregate always has one
  return std::max<uint64_t>(now, static_cast<uint64_t>(query.integer(0)) + 1);
}

Result<void> Relational::replace_password(UserId id, std::string_view argon2id) {
  Query query(replace_password_);
  if (auto ran = query.bind(1, raw(id)).bind(2, argon2id).run(); !ran) return ran;
  if (db_.changes() == 0) return fail(Errc::not_found);
  return {};
}

// A new password that came while the old one was checked stays.
Result<void> Relational::upgrade_hash(UserId id, uint32_t epoch, std::string_view argon2id) {
  {
    Query query(find_epoch_);
    auto row = query.bind(1, raw(id)).step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return fail(Errc::not_found);
    if (query.integer(0) != epoch) return fail(Errc::refused);
  }
  return replace_password(id, argon2id);
}

// --- departments

Result<Department> Relational::select_department(uint32_t id) {
  Query query(find_department_);
  auto row = query.bind(1, id).step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return fail(Errc::not_found);
  return read_department(query);
}

Result<DepartmentPage> Relational::select_departments(uint64_t stamp, uint32_t limit) {
  return whole_stamps<DepartmentPage>(list_departments_, department_stamp_, stamp, limit,
                                      read_department);
}

// Users may be in them. A bulk names few departments many times: each is looked for once.
Result<void> Relational::check_departments(std::vector<uint32_t> ids) {
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (const uint32_t id : ids)
    if (auto ok = check_parent(id, 0); !ok) return ok;
  return {};
}

// `below` (0: a new one) may hang under `parent`.
Result<void> Relational::check_parent(uint32_t parent, uint32_t below) {
  if (parent == 0) return {};
  if (auto found = select_department(parent); !found)
    return found.error().code == Errc::not_found ? fail(Errc::refused)
                                                 : std::unexpected(found.error());
  if (below == 0) return {};
  Query query(above_);
  auto row = query.bind(1, parent).bind(2, below).step();
  if (!row) return std::unexpected(row.error());
  if (query.integer(0) != 0) return fail(Errc::refused);
  return {};
}

Result<uint64_t> Relational::next_department_stamp(uint32_t now) {
  Query query(newest_department_);
  auto row = query.step();
  if (!row) return std::unexpected(row.error());
  RT_ASSERT(*row);  // an aggregate always has one
  return std::max<uint64_t>(now, static_cast<uint64_t>(query.integer(0)) + 1);
}

Result<Department> Relational::insert_department(const NewDepartment& wanted) {
  if (auto ok = check_parent(wanted.parent, 0); !ok) return std::unexpected(ok.error());
  const auto count = db_.number("SELECT count(*) FROM department");
  if (!count) return std::unexpected(count.error());
  if (*count >= kDepartmentsMax) return fail(Errc::refused);
  const uint32_t now = now_s();
  const auto stamp   = next_department_stamp(now);
  if (!stamp) return std::unexpected(stamp.error());
  Department made{.name     = wanted.name,
                  .parent   = wanted.parent,
                  .priority = wanted.priority,
                  .created  = now,
                  .stamp    = *stamp};
  Query query(insert_department_);
  query.bind(1, made.name).bind(2, made.parent).bind(3, made.priority).bind(4, now);
  if (auto ran = query.bind(5, static_cast<int64_t>(made.stamp)).run(); !ran)
    return std::unexpected(ran.error());
  made.id = static_cast<uint32_t>(db_.last_insert_id());
  return made;
}

Result<Department> Relational::patch_department(uint32_t id, const DepartmentPatch& patch) {
  auto found = select_department(id);
  if (!found) return found;
  if (patch.parent)
    if (auto ok = check_parent(*patch.parent, id); !ok) return std::unexpected(ok.error());
  Department changed = std::move(*found);
  changed.name       = patch.name.value_or(changed.name);
  changed.parent     = patch.parent.value_or(changed.parent);
  changed.priority   = patch.priority.value_or(changed.priority);
  return write_department(std::move(changed));
}

Result<void> Relational::delete_department(uint32_t id) {
  auto found = select_department(id);
  if (!found) return std::unexpected(found.error());
  {
    Query query(department_used_);
    auto row = query.bind(1, id).step();
    if (!row) return std::unexpected(row.error());
    if (query.integer(0) != 0) return fail(Errc::exists);
  }
  found->status = 1;
  if (auto ran = write_department(std::move(*found)); !ran) return std::unexpected(ran.error());
  return {};
}

Result<Department> Relational::write_department(Department department) {
  const uint32_t now = now_s();
  const auto stamp   = next_department_stamp(now);
  if (!stamp) return std::unexpected(stamp.error());
  department.stamp = *stamp;
  Query query(update_department_);
  query.bind(1, department.id).bind(2, department.name).bind(3, department.parent);
  query.bind(4, department.priority).bind(5, department.status).bind(6, now);
  if (auto ran = query.bind(7, static_cast<int64_t>(*stamp)).run(); !ran)
    return std::unexpected(ran.error());
  return department;
}

// --- groups

Result<Group> Relational::select_group(GroupId id) {
  Query query(find_group_);
  auto row = query.bind(1, raw(id)).step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return fail(Errc::not_found);
  return read_group(query);
}

Result<std::vector<Group>> Relational::select_groups(GroupId after, uint32_t limit) {
  Query query(list_groups_);
  query.bind(1, raw(after)).bind(2, std::min(limit, kListMax));
  return all_rows(query, read_group);
}

Result<Group> Relational::insert_group(const NewGroup& wanted) {
  Group made{.name    = wanted.name,
             .avatar  = wanted.avatar,
             .creator = wanted.creator,
             .type    = wanted.type,
             .version = 1,
             .members = static_cast<uint32_t>(wanted.members.size()),
             .created = now_s()};
  {
    Query query(insert_group_);
    query.bind(1, made.name).bind(2, made.avatar).bind(3, raw(made.creator)).bind(4, made.type);
    if (auto ran = query.bind(5, made.members).bind(6, made.created).run(); !ran)
      return std::unexpected(ran.error());
  }
  made.id = GroupId(static_cast<uint32_t>(db_.last_insert_id()));
  for (const UserId user : wanted.members) {
    auto inserted = write_member(made.id, user, {.add = true, .first = 1});
    if (!inserted) return std::unexpected(inserted.error());
    if (!*inserted) return fail(Errc::exists);
  }
  return made;
}

Result<bool> Relational::write_member(GroupId group, UserId user, const MemberChange& change) {
  Query query(change.add ? insert_member_ : delete_member_);
  query.bind(1, raw(group)).bind(2, raw(user));
  if (change.add) query.bind(3, change.first).bind(4, now_s());
  if (auto ran = query.run(); !ran) return std::unexpected(ran.error());
  return db_.changes() > 0;
}

Result<MembersChanged> Relational::write_members(const MemberChange& change) {
  auto group = select_group(change.group);
  if (!group) return std::unexpected(group.error());
  MembersChanged changed{.version = ++group->version, .users = {}};
  for (const UserId user : change.users) {
    auto written = write_member(change.group, user, change);
    if (!written) return std::unexpected(written.error());
    if (*written) changed.users.push_back(user);
  }
  const auto count = static_cast<uint32_t>(changed.users.size());
  group->members   = change.add ? group->members + count : group->members - count;
  if (auto ran = write_group(*group, false); !ran) return std::unexpected(ran.error());
  return changed;
}

Result<void> Relational::write_group(const Group& group, bool dismissed) {
  Query query(update_group_);
  query.bind(1, raw(group.id)).bind(2, group.name).bind(3, group.avatar).bind(4, group.version);
  return query.bind(5, group.members).bind(6, dismissed ? 1 : 0).bind(7, now_s()).run();
}

Result<Group> Relational::patch_group(GroupId id, const GroupPatch& patch) {
  auto group = select_group(id);
  if (!group) return group;
  group->name   = patch.name.value_or(group->name);
  group->avatar = patch.avatar.value_or(group->avatar);
  ++group->version;  // clients that know the old name ask for what is newer
  if (auto ran = write_group(*group, false); !ran) return std::unexpected(ran.error());
  return group;
}

Result<void> Relational::remove_group(GroupId id) {
  auto group = select_group(id);
  if (!group) return std::unexpected(group.error());
  if (auto ran = Query(delete_members_).bind(1, raw(id)).run(); !ran) return ran;
  group->members = 0;
  ++group->version;
  return write_group(*group, true);
}

Result<std::vector<Member>> Relational::select_members(GroupId id, UserId after, uint32_t limit) {
  Query query(list_members_);
  query.bind(1, raw(id)).bind(2, raw(after)).bind(3, std::min(limit, kListMax));
  return all_rows(query, [](const Query& row) {
    return Member{UserId(static_cast<uint32_t>(row.integer(0))),
                  static_cast<uint32_t>(row.integer(1)), row.integer(2) != 0};
  });
}

Result<std::vector<Membership>> Relational::select_memberships(UserId user) {
  Query query(list_memberships_);
  query.bind(1, raw(user)).bind(2, kConversationsMax);
  return all_rows(query, [](const Query& row) {
    return Membership{.group     = GroupId(static_cast<uint32_t>(row.integer(0))),
                      .version   = static_cast<uint32_t>(row.integer(1)),
                      .first     = static_cast<uint32_t>(row.integer(2)),
                      .type      = static_cast<uint8_t>(row.integer(3)),
                      .muted     = row.integer(4) != 0,
                      .hidden_to = static_cast<uint32_t>(row.integer(5))};
  });
}

Result<void> Relational::mark_member(Statement& statement, UserId user, GroupId group,
                                     int64_t value) {
  Query query(statement);
  if (auto ran = query.bind(1, raw(group)).bind(2, raw(user)).bind(3, value).run(); !ran)
    return ran;
  if (db_.changes() == 0) return fail(Errc::not_found);
  return {};
}

// --- notifications

Result<void> Relational::replace_push_token(UserId user, const PushToken& token) {
  Query query(replace_push_token_);
  query.bind(1, raw(user)).bind(2, name_of(token.vendor)).bind(3, token.token).bind(4, now_s());
  return query.run();
}

Result<void> Relational::delete_push_token(UserId user) {
  return Query(delete_push_token_).bind(1, raw(user)).run();
}

Result<void> Relational::write_push_shield(UserId user, bool on) {
  Query query(write_push_shield_);
  if (auto ran = query.bind(1, raw(user)).bind(2, on ? 1 : 0).run(); !ran) return ran;
  if (db_.changes() == 0) return fail(Errc::not_found);
  return {};
}

Result<bool> Relational::select_push_shield(UserId user) {
  Query query(push_shield_);
  auto row = query.bind(1, raw(user)).step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return fail(Errc::not_found);
  return query.integer(0) != 0;
}

// --- conversation list

Result<std::vector<SessionRow>> Relational::select_sessions(UserId user) {
  Query query(list_sessions_);
  query.bind(1, raw(user)).bind(2, kConversationsMax);
  return all_rows(query, [](const Query& row) {
    return SessionRow{UserId(static_cast<uint32_t>(row.integer(0))),
                      static_cast<uint32_t>(row.integer(1))};
  });
}

Result<void> Relational::hide_row(UserId user, UserId peer, uint32_t newest) {
  Query query(hide_session_);
  query.bind(1, raw(user)).bind(2, raw(peer)).bind(3, newest).bind(4, now_s());
  if (auto ran = query.run(); !ran) return ran;
  if (db_.changes() == 0) return fail(Errc::not_found);
  return {};
}

Result<void> Relational::show_session(UserId user, UserId peer, uint32_t time) {
  Query query(show_session_);
  return query.bind(1, raw(user)).bind(2, raw(peer)).bind(3, time).run();
}

}  // namespace ringtalk::store
