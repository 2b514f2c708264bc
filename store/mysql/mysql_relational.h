// MySqlRelational: users, departments, groups, the conversation list and push settings in TeamTalk's own
// MySQL tables, with what they lack in the RT tables. The calls and their meaning are those of
// embedded/relational.h. (Messages and read positions go their own way.)
//
//   shard ─ a call that writes ─▶ writer, one connection ─ a transaction of up to kBatchMax calls ─┐
//   shard ─ a call that reads  ─▶ the least busy of the readers, a connection each                 │
//   shard ◀─ collect() ────────────────────────────────────────────────────────────────────────────┘
//
// Thread rule  The shard calls on shard `shard`, whose callbacks run in collect(shard); SQL on the
//              workers' threads (run_some() in a simulator); blocking calls before start().
// Order        Writes of one shard run and come back in the order asked. Reads overtake each other and
//              waiting writes; a read sees everything that was answered before it was asked: readers are
//              connected to the master too.
// Bound        jobs_max writes and, per reader, jobs_max reads for each shard; beyond it Errc::full and
//              the callback is never called.
// Durability   A callback with a value runs after COMMIT was answered, or found in RTLane (relational_workers.h).
// Errors       A call that fails fails alone, by its savepoint. exists: a key has the row; refused: the
//              values do not fit a column, or the server is read-only; os: the server is away or out of
//              connections, and nothing was written; timeout: the server went during COMMIT and did not come
//              back in time, so it is unknown whether it was written: asked again with the same values
//              everything but add_users() and add_group() comes to the same. Deadlocks are repeated.
// Users        Who works here has his name alone, although IMUser has no key for it: whoever adds or
//              changes users holds the row of RTUserSync with userId 0, the newest stamp. Rows that others
//              made twice stay; the highest id is the one that logs in.
// Password     legacy_* is IMUser's, and empty while RTPassword has a better hash of the same password.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/bell.h"
#include "engine/clock.h"
#include "store/mysql/connection.h"
#include "store/mysql/relational_workers.h"
#include "store/store.h"

namespace ringtalk::store {

// A pair of users, and what their messages are stored under.
struct Relation {
  uint32_t id = 0;
  UserId small{}, big{};
};

class MySqlRelational final {
 public:
  static constexpr size_t kUsersPerStampMax = 300;      // as embedded
  static constexpr size_t kUsersPerCallMax  = 100'000;  // one transaction; more is Errc::too_large
  static constexpr uint32_t kListMax        = 20'000;   // a longer list is cut to it
  static constexpr uint32_t kBatchMax       = 64;       // calls in one transaction
  static constexpr uint32_t kLane           = 1'000'000;

  struct Options {
    sql::Connect connect;  // to the master; called on the workers' threads
    uint32_t shards   = 1;
    uint32_t jobs_max = 1024;   // per shard
    uint32_t readers  = 3;      // connections; and one each for writing and for looking around
    uint32_t lane     = kLane;  // of RTLane: nobody else's at the same database
  };

  struct Figures {
    uint64_t connects  = 0;  // connections made, the first ones too
    uint64_t conflicts = 0;  // transactions repeated after a deadlock
    uint64_t unknown   = 0;  // COMMITs without an answer
    uint64_t commits   = 0;
    uint64_t calls     = 0;  // that wrote
  };

  // Blocking: connects, and gives stamps to users and departments that have none. `clock` (wall time)
  // must outlive the object. os: the server is away; unsupported: a table or column is missing.
  static Result<std::unique_ptr<MySqlRelational>> open(Options options, engine::Clock& clock);
  ~MySqlRelational();

  // Blocking, at start.
  Result<std::vector<UserState>> load_user_states();
  Result<std::vector<Relation>> load_relations();

  // Whom to wake when calls of `shard` come back; before start().
  void set_bell(uint32_t shard, engine::Bell* bell);
  void start();
  void stop();  // runs what waits
  // For a simulator, instead of start(): one batch of each worker. Returns how many jobs ran.
  uint32_t run_some();
  // Runs the callbacks of finished calls of `shard`; returns how many.
  uint32_t collect(uint32_t shard);
  bool has_finished(uint32_t shard) const;

  Figures figures() const;

  // What other programs changed: users and groups of the lower half of the ids and of the upper one by
  // turns. They get stamps and versions in the database before this is answered. One at a time; asked
  // about every 3 s by one shard.
  Result<void> look_around(uint32_t shard, Callback<OutsideChanges> done);

  // As in store.h.
  Result<void> find_account(uint32_t shard, std::string_view name, Callback<Account> done);
  Result<void> find_user(uint32_t shard, UserId id, Callback<User> done);
  Result<void> add_users(uint32_t shard, std::vector<NewUser> users,
                         Callback<std::vector<User>> done);
  Result<void> list_users(uint32_t shard, UserId after, uint32_t limit,
                          Callback<std::vector<User>> done);
  Result<void> upgrade_password(uint32_t shard, UserId id, uint32_t epoch, std::string argon2id,
                                Callback<void> done);
  // Answers the relation of the two. Users only; Errc::unsupported for a group.
  Result<void> open_conversation(uint32_t shard, ConversationId conversation, uint32_t time,
                                 Callback<uint32_t> done);
  Result<void> find_user_by_name(uint32_t shard, std::string_view name, Callback<User> done);
  Result<void> find_users(uint32_t shard, std::vector<UserId> ids,
                          Callback<std::vector<User>> done);
  Result<void> list_users_since(uint32_t shard, uint64_t stamp, uint32_t limit,
                                Callback<UserPage> done);
  Result<void> update_user(uint32_t shard, UserId id, UserPatch patch, Callback<User> done);
  Result<void> list_departments(uint32_t shard, uint64_t stamp, uint32_t limit,
                                Callback<DepartmentPage> done);
  Result<void> add_department(uint32_t shard, NewDepartment department, Callback<Department> done);
  Result<void> update_department(uint32_t shard, uint32_t id, DepartmentPatch patch,
                                 Callback<Department> done);
  Result<void> remove_department(uint32_t shard, uint32_t id, Callback<void> done);
  Result<void> list_sessions(uint32_t shard, UserId user, Callback<std::vector<SessionRow>> done);
  Result<void> hide_session(uint32_t shard, UserId user, UserId peer, uint32_t newest,
                            Callback<void> done);
  Result<void> add_group(uint32_t shard, NewGroup group, Callback<Group> done);
  Result<void> find_group(uint32_t shard, GroupId id, Callback<Group> done);
  Result<void> list_groups(uint32_t shard, GroupId after, uint32_t limit,
                           Callback<std::vector<Group>> done);
  Result<void> update_group(uint32_t shard, GroupId id, GroupPatch patch, Callback<Group> done);
  Result<void> dismiss_group(uint32_t shard, GroupId id, Callback<void> done);
  Result<void> list_members(uint32_t shard, GroupId id, UserId after, uint32_t limit,
                            Callback<std::vector<Member>> done);
  Result<void> change_members(uint32_t shard, MemberChange change, Callback<MembersChanged> done);
  Result<void> mute_group(uint32_t shard, UserId user, GroupId group, bool muted,
                          Callback<void> done);
  Result<void> hide_group(uint32_t shard, UserId user, GroupId group, uint32_t hidden_to,
                          Callback<void> done);
  Result<void> list_memberships(uint32_t shard, UserId user,
                                Callback<std::vector<Membership>> done);
  Result<void> set_push_token(uint32_t shard, UserId user, PushToken token, Callback<void> done);
  // The same; answers who had the token until now.
  Result<void> take_push_token(uint32_t shard, UserId user, PushToken token,
                               Callback<std::vector<UserId>> done);
  Result<void> clear_push_token(uint32_t shard, UserId user, Callback<void> done);
  Result<void> set_push_shield(uint32_t shard, UserId user, bool on, Callback<void> done);
  Result<void> push_shield(uint32_t shard, UserId user, Callback<bool> done);

 private:
  MySqlRelational(Options options, engine::Clock& clock);

  template <class T, class Work>
  Result<void> read(uint32_t shard, Work work, Callback<T> done);
  template <class T, class Work>
  Result<void> write(uint32_t shard, Work work, Callback<T> done);
  template <class T, class Work>
  static Result<void> read_by(RelationalReader& reader, uint32_t shard, Work work,
                              Callback<T> done);
  uint32_t now_s() const { return static_cast<uint32_t>(clock_.wall_ns() / kNsPerS); }
  template <class Do>
  void each_worker(Do&& act) const;

  const Options options_;
  engine::Clock& clock_;
  std::unique_ptr<RelationalWriter> writer_;
  std::vector<std::unique_ptr<RelationalReader>> readers_;
  std::unique_ptr<RelationalReader> looker_;
  uint32_t half_ = 0;  // of the ids that are looked at next; of the shard that asks
};

}  // namespace ringtalk::store
