// Relational: the slow, relational state of an embedded deployment, in SQLite: users, departments,
// groups and the conversation list. (Messages, heads and cursors are in the log, never here.)
//
// Thread rule  The shard calls on shard `shard`, whose callbacks run in collect(shard); SQL on the
//              worker's thread (run_some() in a simulator); blocking calls before start().
// Bound        jobs_max calls per shard; beyond it Errc::full and the callback is never called.
// Durability   A callback with a value runs after COMMIT with synchronous=FULL.
// Errors       A call that fails (a name taken) fails alone: its statements are rolled back to a
//              savepoint. If the transaction breaks, or its COMMIT fails, every call of the batch
//              gets the error and nothing of the batch is stored. refused: the disk is full or a
//              rule of the schema was broken; timeout: another process holds the file. Each batch
//              starts afresh, so service resumes when the cause is gone. A failed sync is for good:
//              failure() tells it, every call fails, the process is to end (a retried sync lies, and
//              SQLite would commit behind what is lost). What was refused by it may be there after a
//              restart; what was acknowledged is.
// File         <data>/ringtalk.db, mode 0600, WAL; schema version in user_version. An older version is
//              brought up to date at opening, in one transaction. A newer version, or a database of
//              somebody else, is refused untouched: Errc::unsupported. Opening writes the -wal's own bytes
//              again, so that nothing stands on what an earlier failed sync lost; for that it needs the
//              write lock (Errc::timeout).
// Kill-points  sqlite_before_commit, sqlite_after_commit.
//
//   user        one row per person; name is unique among those who have not left (status 3)
//   department  a tree; removed ones stay, so that clients learn of it
//   session     the conversation list: (user, kind, peer); kind 1 a user, 2 a group. status 1 and
//               hidden_to: removed by its owner, until a message beyond hidden_to shows it again
//   chat_group  a dismissed one stays (status 1), so that its id and messages are nobody else's
//   member      who is in a group; leaving removes the row
//   push_token  where a user's notifications go: one row per user and per token
//   meta        key, value
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/clock.h"
#include "engine/worker.h"
#include "store/embedded/sqlite.h"
#include "store/store.h"

namespace ringtalk::store {

class Relational final : public engine::Worker {
 public:
  static constexpr int64_t kSchemaVersion = 4;
  // One answer to a client must hold a stamp's users, with the longest profiles there are.
  static constexpr size_t kUsersPerStampMax = 300;
  static constexpr size_t kUsersPerCallMax  = 100'000;  // one transaction; more is Errc::too_large
  static constexpr uint32_t kListMax        = 20'000;   // a longer list is cut to it

  struct Options {
    std::string path;      // of ringtalk.db
    std::string vfs_name;  // empty: SQLite's own; another one is opened exclusively
    uint32_t shards   = 1;
    uint32_t jobs_max = 1024;  // per shard
    int busy_ms       = 2000;
  };

  // `clock` (wall time) must outlive the object.
  static Result<std::unique_ptr<Relational>> open(const Options& options, engine::Clock& clock);
  ~Relational() override;

  // Blocking, at start.
  Result<std::vector<UserState>> load_user_states();

  // Any thread: the failed sync, ok while there is none. Seen by a shard before the answers of the
  // batch that met it.
  Error failure() const;

  // As in store.h.
  Result<void> find_account(uint32_t shard, std::string_view name, Callback<Account> done);
  Result<void> find_user(uint32_t shard, UserId id, Callback<User> done);
  Result<void> add_users(uint32_t shard, std::vector<NewUser> users,
                         Callback<std::vector<User>> done);
  Result<void> list_users(uint32_t shard, UserId after, uint32_t limit,
                          Callback<std::vector<User>> done);
  Result<void> upgrade_password(uint32_t shard, UserId id, uint32_t epoch, std::string argon2id,
                                Callback<void> done);
  // Users only; Errc::unsupported for a group (its list follows from its members).
  Result<void> open_conversation(uint32_t shard, ConversationId conversation, uint32_t time,
                                 Callback<void> done);
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
  Result<void> clear_push_token(uint32_t shard, UserId user, Callback<void> done);
  Result<void> set_push_shield(uint32_t shard, UserId user, bool on, Callback<void> done);
  Result<void> push_shield(uint32_t shard, UserId user, Callback<bool> done);

 private:
  template <class T, bool kWrites, class Work>
  class Call;

  Relational(const Options& options, engine::Clock& clock);
  static Result<int64_t> open_ours(Sqlite& db, const Options& options);
  Result<void> open_file(const Options& options);
  Result<void> prepare();
  Result<void> stamp_foreign_rows();

  template <class T, bool kWrites, class Work>
  Result<void> call(uint32_t shard, Work work, Callback<T> done);

  void begin() override;
  Result<void> commit() override;
  Result<void> end_batch();
  Result<void> open_job();
  template <class T>
  Result<T> close_job(Result<T> result);
  void undo_job(Error error);

  Result<Account> select_account(std::string_view name);
  Result<User> select_user(UserId id);
  Result<std::vector<User>> select_users(UserId after, uint32_t limit);
  Result<std::vector<User>> insert_users(const std::vector<NewUser>& users);
  Result<void> insert_user(User& user, std::string_view password);
  Result<uint64_t> next_stamp(uint32_t now);
  Result<void> replace_password(UserId id, std::string_view argon2id);
  Result<void> upgrade_hash(UserId id, uint32_t epoch, std::string_view argon2id);
  Result<void> show_session(UserId user, UserId peer, uint32_t time);
  Result<std::vector<SessionRow>> select_sessions(UserId user);
  Result<void> hide_row(UserId user, UserId peer, uint32_t newest);
  Result<User> select_user_by_name(std::string_view name);
  Result<UserPage> select_users_since(uint64_t stamp, uint32_t limit);
  Result<User> patch_user(UserId id, const UserPatch& patch);
  Result<Department> select_department(uint32_t id);
  Result<DepartmentPage> select_departments(uint64_t stamp, uint32_t limit);
  template <class Page, class Read>
  Result<Page> whole_stamps(Statement& since, Statement& of_stamp, uint64_t stamp, uint32_t limit,
                            Read read);
  Result<void> check_parent(uint32_t parent, uint32_t below);
  Result<void> check_departments(std::vector<uint32_t> ids);
  Result<uint64_t> next_department_stamp(uint32_t now);
  Result<Department> insert_department(const NewDepartment& department);
  Result<Department> patch_department(uint32_t id, const DepartmentPatch& patch);
  Result<void> delete_department(uint32_t id);
  Result<Department> write_department(Department department);
  Result<Group> insert_group(const NewGroup& group);
  Result<Group> select_group(GroupId id);
  Result<std::vector<Group>> select_groups(GroupId after, uint32_t limit);
  Result<void> write_group(const Group& group, bool dismissed);
  Result<Group> patch_group(GroupId id, const GroupPatch& patch);
  Result<void> remove_group(GroupId id);
  Result<bool> write_member(GroupId group, UserId user, const MemberChange& change);
  Result<MembersChanged> write_members(const MemberChange& change);
  Result<std::vector<Member>> select_members(GroupId id, UserId after, uint32_t limit);
  Result<std::vector<Membership>> select_memberships(UserId user);
  Result<void> mark_member(Statement& statement, UserId user, GroupId group, int64_t value);
  Result<void> replace_push_token(UserId user, const PushToken& token);
  Result<void> delete_push_token(UserId user);
  Result<void> write_push_shield(UserId user, bool on);
  Result<bool> select_push_shield(UserId user);
  uint32_t now_s() const;

  engine::Clock& clock_;
  Sqlite db_;  // before its statements: they go first
  Statement begin_, commit_, rollback_, savepoint_, release_, undo_;
  Statement find_account_, find_user_, find_epoch_, list_users_, newest_stamp_, insert_user_,
      replace_password_, show_session_, list_sessions_, hide_session_, find_user_by_name_,
      list_users_since_, list_stamp_, update_user_, find_department_, list_departments_,
      department_stamp_, newest_department_, insert_department_, update_department_,
      department_used_, above_;
  Statement insert_group_, find_group_, list_groups_, update_group_, list_members_, insert_member_,
      delete_member_, delete_members_, mute_group_, hide_group_, list_memberships_;
  Statement delete_push_token_, replace_push_token_, write_push_shield_, push_shield_;

  // State of the batch that runs.
  std::optional<Error> not_begun_;  // BEGIN failed: calls that write fail, reads do not
  std::optional<Error> broken_;     // SQLite gave up the transaction: everything fails

  std::atomic<int> failed_errno_{0};  // of a sync; the worker writes it
};

}  // namespace ringtalk::store
