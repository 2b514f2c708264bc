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
static_assert(Relational::kSchemaVersion == 1, "kSchema writes the number");

// The order that read_user() and read_account() take.
#define RT_USER_COLUMNS                                                                         \
  "id, name, nick, domain, phone, email, avatar, sign_info, department, sex, status, created, " \
  "stamp"

constexpr std::string_view kFindAccount = "SELECT " RT_USER_COLUMNS
                                          ", password, legacy_password, legacy_salt, epoch"
                                          " FROM user WHERE name = ?1 AND status <> 3";
constexpr std::string_view kFindUser = "SELECT " RT_USER_COLUMNS " FROM user WHERE id = ?1";
constexpr std::string_view kListUsers =
    "SELECT " RT_USER_COLUMNS " FROM user WHERE id > ?1 ORDER BY id LIMIT ?2";
constexpr std::string_view kNewestStamp = "SELECT coalesce(max(stamp), 0) FROM user";
constexpr std::string_view kInsertUser =
    "INSERT INTO user (name, nick, department, password, created, updated, stamp)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)";
// The weaker hash goes with the first success of the better one.
constexpr std::string_view kUpgradePassword =
    "UPDATE user SET password = ?2, legacy_password = '', legacy_salt = '' WHERE id = ?1";
constexpr std::string_view kShowSession =
    "INSERT INTO session (user_id, type, peer_id, status, created, updated)"
    " VALUES (?1, 1, ?2, 0, ?3, ?3)"
    " ON CONFLICT (user_id, type, peer_id) DO UPDATE SET status = 0, updated = excluded.updated"
    " WHERE status <> 0";

constexpr std::string_view kListSessions =
    "SELECT peer_id FROM session WHERE user_id = ?1 AND type = 1 AND status = 0 LIMIT ?2";

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

Result<void> Relational::upgrade_password(uint32_t shard, UserId id, std::string argon2id,
                                          Callback<void> done) {
  return call<void, true>(
      shard, [this, id, argon2id = std::move(argon2id)] { return replace_password(id, argon2id); },
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

Result<void> Relational::list_conversations(uint32_t shard, UserId user,
                                            Callback<std::vector<UserId>> done) {
  return call<std::vector<UserId>, false>(
      shard, [this, user] { return select_sessions(user); }, std::move(done));
}

// --- opening -------------------------------------------------------------------------------------

Relational::Relational(const Options& options, engine::Clock& clock)
    : Worker(options.shards, options.jobs_max), clock_(clock) {}

Relational::~Relational() { stop(); }  // the thread uses what is destroyed next

Result<std::unique_ptr<Relational>> Relational::open(const Options& options, engine::Clock& clock) {
  std::unique_ptr<Relational> made(new Relational(options, clock));
  if (auto opened = made->open_file(options); !opened) return std::unexpected(opened.error());
  if (auto prepared = made->prepare(); !prepared) return std::unexpected(prepared.error());
  return made;
}

Result<void> Relational::open_file(const Options& options) {
  auto opened = db_.open({.path      = options.path,
                          .vfs_name  = options.vfs_name,
                          .busy_ms   = options.busy_ms,
                          .exclusive = !options.vfs_name.empty()});
  if (!opened) return opened;
  const auto version = db_.number("PRAGMA user_version");
  if (!version) return std::unexpected(version.error());
  const auto objects = db_.number("SELECT count(*) FROM sqlite_schema");
  if (!objects) return std::unexpected(objects.error());
  const bool fresh = *version == 0 && *objects == 0;
  if (!fresh && *version != kSchemaVersion) return fail(Errc::unsupported);
  if (auto tuned = db_.tune(); !tuned) return tuned;
  if (!fresh) return {};
  return db_.execute(kSchema);
}

Result<void> Relational::prepare() {
  const std::pair<Statement*, std::string_view> all[] = {
      {&begin_, "BEGIN IMMEDIATE"},   {&commit_, "COMMIT"},
      {&rollback_, "ROLLBACK"},       {&savepoint_, "SAVEPOINT job"},
      {&release_, "RELEASE job"},     {&undo_, "ROLLBACK TO job"},
      {&find_account_, kFindAccount}, {&find_user_, kFindUser},
      {&list_users_, kListUsers},     {&newest_stamp_, kNewestStamp},
      {&insert_user_, kInsertUser},   {&upgrade_password_, kUpgradePassword},
      {&show_session_, kShowSession}, {&list_sessions_, kListSessions},
  };
  for (const auto& [statement, sql] : all)
    if (auto prepared = statement->prepare(db_, sql); !prepared) return prepared;
  return {};
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
  if (!db_.in_transaction()) return;
  if (auto rolled = Query(rollback_).run(); !rolled) broken_ = rolled.error();
}

Result<void> Relational::commit() {
  Result<void> result;
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

Result<std::vector<User>> Relational::select_users(UserId after, uint32_t limit) {
  Query query(list_users_);
  query.bind(1, raw(after)).bind(2, std::min(limit, kListMax));
  std::vector<User> users;
  for (;;) {
    auto row = query.step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return users;
    users.push_back(read_user(query));
  }
}

Result<std::vector<User>> Relational::insert_users(const std::vector<NewUser>& users) {
  const auto now = static_cast<uint32_t>(clock_.wall_ns() / kNsPerS);
  auto stamp     = next_stamp(now);
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
  Query query(upgrade_password_);
  if (auto ran = query.bind(1, raw(id)).bind(2, argon2id).run(); !ran) return ran;
  if (db_.changes() == 0) return fail(Errc::not_found);
  return {};
}

Result<std::vector<UserId>> Relational::select_sessions(UserId user) {
  Query query(list_sessions_);
  query.bind(1, raw(user)).bind(2, kConversationsMax);
  std::vector<UserId> peers;
  for (;;) {
    auto row = query.step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return peers;
    peers.push_back(UserId(static_cast<uint32_t>(query.integer(0))));
  }
}

Result<void> Relational::show_session(UserId user, UserId peer, uint32_t time) {
  Query query(show_session_);
  return query.bind(1, raw(user)).bind(2, raw(peer)).bind(3, time).run();
}

}  // namespace ringtalk::store
