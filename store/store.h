// Store: what a shard remembers, as one asynchronous interface with several drivers.
//
// Thread rule  One Store per shard; every call and every callback on that shard's thread, callbacks
//              never inside the call that asked for them.
// Durability   on_appended() with Errc::ok runs only after the message is durable: written and
//              synced (embedded), committed (MySQL). The id it names was decided by that very write.
// Ids          1…N per conversation, no gap, no repeat, for ever. Results of one conversation come
//              in id order.
// Refusal      A refused append was not stored and never will be. An append not durable at its
//              deadline is refused if its write has not begun; afterwards its result is awaited.
// Bound        append() and the relational calls answer Errc::full when their queue is full: the
//              caller keeps its request (unread in the socket) and tries again.
// Errors       After on_failed() nothing more becomes durable, and only what was is still acknowledged;
//              the process ends (a retried fsync lies). A full disk is not a failure: appends answer
//              Errc::refused until space is back.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/result.h"
#include "proto/ids.h"

namespace ringtalk::store {

// --- messages --------------------------------------------------------------------------------------

struct Append {
  ConversationId conversation;
  UserId author{};
  uint8_t type = 0;         // MsgType as on the wire
  Bytes body;               // copied before append() returns
  uint64_t repeat_key = 0;  // fingerprint of (author, seq, target, type, body); kept 60 s
  uint64_t client_key = 0;  // fingerprint of (author, client_msg_id), 0 = none; kept 24 h
  uint64_t full_key   = 0;  // fingerprint of (client_key, target, type, body), 0 without client_key
  uint64_t deadline_ns = 0;  // monotonic
  uint64_t cookie      = 0;  // comes back with the result
};

struct Appended {
  uint64_t cookie = 0;
  Error error;  // ok, or refused / timeout / os: then nothing below but conversation counts
  ConversationId conversation;
  UserId author{};
  uint32_t msg_id = 0;
  uint32_t time   = 0;  // seconds, never below that of the message before
  uint8_t type    = 0;
  Bytes body;  // valid during the call
};

struct Message {
  uint32_t msg_id = 0;
  UserId author{};
  uint32_t time        = 0;
  uint8_t type         = 0;
  uint32_t small_count = 0;  // visible messages of the smaller id among 1…msg_id (1:1)
  uint32_t hidden      = 0;  // ids among 1…msg_id that no visible message has
  Bytes body;                // valid during the call
};

struct Head {
  uint32_t newest      = 0;  // newest durable id, 0: none
  uint32_t time        = 0;
  uint32_t small_count = 0;
  uint32_t hidden      = 0;
};

struct PageRequest {
  ConversationId conversation;
  uint32_t from      = 0;  // newest id wanted, inclusive; 0 = the newest
  uint32_t count     = 0;  // at most
  uint32_t bytes_max = 0;  // sum of bodies; at least one message is delivered if there is any
  uint64_t cookie    = 0;
};

// A send remembered for repeat protection, found again after a restart.
struct Repeat {
  UserId author{};
  uint64_t repeat_key = 0;
  uint64_t client_key = 0;
  uint64_t full_key   = 0;  // fingerprint of (client_key, target, type, body), 0 without client_key
  uint32_t msg_id     = 0;
  uint32_t time       = 0;
};

// Of a user whom another program changed.
struct OutsideUser {
  UserId id{};
  uint8_t status = 0;
  bool password  = false;  // what he logs in with may be another now: his epoch has risen
};

// Of a group that is new, or whose name, picture or members another program changed.
struct OutsideGroup {
  GroupId id{};
  uint32_t version = 0;
  uint32_t first   = 0;  // id of the first message that those who joined may see
  bool dismissed   = false;
  std::vector<UserId> joined, left;
};

// What other programs wrote into a shared database. It has its stamps and versions already.
struct OutsideChanges {
  std::vector<OutsideUser> users;
  std::vector<OutsideGroup> groups;
};

class Sink {
 public:
  virtual ~Sink()                                  = default;
  virtual void on_appended(const Appended& result) = 0;
  // Newest first. error: ok (perhaps empty), corrupt (messages before the damage are delivered), os.
  virtual void on_page(uint64_t cookie, Error error, std::span<const Message> page) = 0;
  virtual void on_failed(Error error)                                               = 0;
  // On one shard: every shard that must know is told by it.
  virtual void on_outside_changes(const OutsideChanges& /*changes*/) {}
  // The result of an append with this key follows within a few calls: a hint, memory may be fetched.
  virtual void on_append_soon(UserId /*author*/, uint64_t /*repeat_key*/) {}
};

// --- users and conversations (relational) ---------------------------------------------------------

struct User {
  UserId id{};
  std::string name, nick, domain, phone, email, avatar, signature;
  uint32_t department = 0;
  uint8_t sex         = 0;
  uint8_t status      = 0;  // 0 active … 3 left
  uint32_t created    = 0;
  uint64_t stamp = 0;  // sync stamp, see spec of 0x0208: max(now, newest stamp + 1) at each change
};

struct Account {
  User user;
  std::string password;         // argon2id text of md5hex(plain); empty: none
  std::string legacy_password;  // md5hex(md5hex(plain) + salt); empty: none
  std::string legacy_salt;
  uint32_t epoch = 0;  // rises with every password change and disabling
};

struct NewUser {
  std::string name, nick;
  std::string password;  // argon2id text, or empty
  uint32_t department = 0;
};

struct UserState {
  UserId id{};
  uint8_t status = 0;
};

inline constexpr uint8_t kUserActive = 0;
inline constexpr uint8_t kUserLeft   = 3;  // disabled; the name is free again

// What is set changes; the rest stays.
struct UserPatch {
  std::optional<std::string> nick, domain, phone, email, avatar, signature;
  std::optional<std::string> password;  // argon2id text; raises the epoch: session tokens die
  std::optional<uint32_t> department;
  std::optional<uint8_t> sex;
  std::optional<uint8_t> status;  // kUserLeft raises the epoch
};

// In the order of their stamps; a stamp's users are all in it or none.
struct UserPage {
  std::vector<User> users;
  bool more = false;  // beyond the last stamp
};

struct Department {
  uint32_t id = 0;
  std::string name;
  uint32_t parent   = 0;  // 0: root
  uint32_t priority = 0;  // display order
  uint8_t status    = 0;  // 0 ok, 1 removed
  uint32_t created  = 0;
  uint64_t stamp    = 0;  // sync stamp, see spec of 0x0210; each change has one of its own
};

// As UserPage.
struct DepartmentPage {
  std::vector<Department> departments;
  bool more = false;
};

struct NewDepartment {
  std::string name;
  uint32_t parent   = 0;
  uint32_t priority = 0;
};

struct DepartmentPatch {
  std::optional<std::string> name;
  std::optional<uint32_t> parent, priority;
};

// A line of somebody's conversation list. Visible while the conversation's newest id is beyond
// hidden_to: the next message revives it, and nothing is written for that.
struct SessionRow {
  UserId peer{};
  uint32_t hidden_to = 0;  // newest id when its owner removed it; 0: never
};

inline constexpr uint8_t kGroupNormal    = 1;  // made by the administration
inline constexpr uint8_t kGroupTemporary = 2;  // made by users

struct Group {
  GroupId id{};
  std::string name, avatar;
  UserId creator{};      // 0: the administration
  uint8_t type     = 0;  // kGroupNormal, kGroupTemporary
  uint32_t version = 0;  // rises with every change
  uint32_t members = 0;  // how many
  uint32_t created = 0;
};

struct NewGroup {
  std::string name, avatar;
  UserId creator{};
  uint8_t type = kGroupTemporary;
  std::vector<UserId> members;  // each once
};

// What is set changes; the rest stays.
struct GroupPatch {
  std::optional<std::string> name, avatar;
};

struct Member {
  UserId user{};
  uint32_t first = 0;  // id of the first message that he may see
  bool muted     = false;
};

struct MemberChange {
  GroupId group{};
  bool add       = true;  // else remove
  uint32_t first = 0;     // add: id of the first message that they may see
  std::vector<UserId> users;
};

struct MembersChanged {
  uint32_t version = 0;
  std::vector<UserId> users;  // who was not in and is now, or the other way round
};

// A user's side of a group.
struct Membership {
  GroupId group{};
  uint32_t version   = 0;  // of the group when this was read
  uint32_t first     = 0;
  uint8_t type       = 0;
  bool muted         = false;
  uint32_t hidden_to = 0;  // newest id when he took it off his conversation list; 0: it is on it
};

// Where a user's notifications go: one device, whichever registered last.
enum class PushVendor : uint8_t { ios, android };

struct PushToken {
  PushVendor vendor = PushVendor::ios;
  std::string token;
};

template <class T>
using Callback = std::move_only_function<void(Result<T>)>;

// A shard's store in figures, for metrics.
struct Figures {
  uint64_t waiting           = 0;  // appends not yet durable
  uint64_t commits           = 0;  // batches, since the start
  uint64_t conversations     = 0;
  uint64_t memory_bytes      = 0;  // of what is kept for each of them
  uint64_t repeats_forgotten = 0;  // by recovery, beyond what it may keep
  uint64_t blocks_forgotten  = 0;  // block records left out: history reads walk there
};

class Store {
 public:
  virtual ~Store() = default;

  // Messages. Errc::full: later; refused: disk full; closed: after on_failed() or close().
  virtual Result<void> append(const Append& message) = 0;
  // False: append() would answer Errc::full to anything but the shortest message, and it is cheaper
  // not to try.
  virtual bool has_room() const = 0;
  // A page sees every message appended before it. Errc::full: too many reads at once.
  virtual Result<void> read_page(const PageRequest& request) = 0;
  // Durable state only; results that are still to be told may be in it. {0} for a conversation nobody wrote in.
  virtual Head head(ConversationId conversation) const = 0;
  // Read position: max(old, msg_id); durable within one second. The caller clamps to the newest id.
  virtual void set_cursor(UserId user, ConversationId conversation, uint32_t msg_id) = 0;
  virtual uint32_t cursor(UserId user, ConversationId conversation) const            = 0;
  // The author of a group's message has read up to it. The message itself says so: nothing is written.
  virtual void note_own(UserId author, ConversationId group, uint32_t msg_id) = 0;

  // Once per turn of the loop: starts a commit if something waits and none is in flight.
  virtual void on_turn(uint64_t now_ns) = 0;
  // About every 100 ms: deadlines, cursors.
  virtual void on_tick(uint64_t now_ns) = 0;
  // Results of workers wait to be taken by on_turn(): the loop must not sleep.
  virtual bool work_waits() const = 0;
  // Nothing waits and nothing is in flight.
  virtual bool idle() const = 0;
  // The disk is full: appends are refused until it is not.
  virtual bool out_of_space() const { return false; }
  virtual Figures figures() const { return {}; }

  // Relational. Errc::full leaves the callback uncalled.
  virtual Result<void> find_account(std::string_view name,
                                    Callback<Account> done)      = 0;  // not_found
  virtual Result<void> find_user(UserId id, Callback<User> done) = 0;  // not_found
  // All or none; exists: a name is taken (by another row with status other than 3); refused: no such
  // department.
  virtual Result<void> add_users(std::vector<NewUser> users, Callback<std::vector<User>> done) = 0;
  virtual Result<void> list_users(UserId after, uint32_t limit,
                                  Callback<std::vector<User>> done)                            = 0;
  // Who has the name and has not left; else the last one who had it. not_found.
  virtual Result<void> find_user_by_name(std::string_view name, Callback<User> done) = 0;
  // Those that exist, in the order asked. too_large: more than kUsersAskedMax ids.
  virtual Result<void> find_users(std::vector<UserId> ids, Callback<std::vector<User>> done) = 0;
  // Users of every status whose stamp is larger, lowest stamps first, about `limit`. Once a stamp was
  // listed no row appears with it or a lower one: a store whose writers overlap lists only up to a
  // stamp that is settled.
  virtual Result<void> list_users_since(uint64_t stamp, uint32_t limit,
                                        Callback<UserPage> done) = 0;
  // The user as it is now, with a new stamp. not_found; exists: the name was taken meanwhile;
  // refused: no such department.
  virtual Result<void> update_user(UserId id, UserPatch patch, Callback<User> done) = 0;
  // Those whose stamp is larger, removed ones too; otherwise as list_users_since().
  virtual Result<void> list_departments(uint64_t stamp, uint32_t limit,
                                        Callback<DepartmentPage> done) = 0;
  // refused: no such parent, or there are kDepartmentsMax already.
  virtual Result<void> add_department(NewDepartment department, Callback<Department> done) = 0;
  // not_found; refused: no such parent, or the department would be above itself.
  virtual Result<void> update_department(uint32_t id, DepartmentPatch patch,
                                         Callback<Department> done) = 0;
  // not_found; exists: somebody who has not left, or a department, is in it.
  virtual Result<void> remove_department(uint32_t id, Callback<void> done) = 0;
  // The better hash of the password that was checked when the account had this epoch: it stays.
  // not_found; refused: the password is another by now.
  virtual Result<void> upgrade_password(UserId id, uint32_t epoch, std::string argon2id,
                                        Callback<void> done) = 0;
  // Rows of both users in the conversation list; durable before the first message is acknowledged.
  virtual Result<void> open_conversation(ConversationId conversation, uint32_t time,
                                         Callback<void> done) = 0;
  // The user's conversations (1:1), hidden ones too, at most kConversationsMax.
  virtual Result<void> list_sessions(UserId user, Callback<std::vector<SessionRow>> done) = 0;
  // Hides the row of `user` up to the message `newest`. not_found: it is hidden that far already.
  virtual Result<void> hide_session(UserId user, UserId peer, uint32_t newest,
                                    Callback<void> done) = 0;

  // Groups. One that was dismissed is not found. Changes of one group are asked for one after another.
  virtual Result<void> add_group(NewGroup group, Callback<Group> done) = 0;
  virtual Result<void> find_group(GroupId id, Callback<Group> done)    = 0;  // not_found
  virtual Result<void> list_groups(GroupId after, uint32_t limit,
                                   Callback<std::vector<Group>> done)  = 0;
  // Raises the version.
  virtual Result<void> update_group(GroupId id, GroupPatch patch,
                                    Callback<Group> done)             = 0;  // not_found
  virtual Result<void> dismiss_group(GroupId id, Callback<void> done) = 0;  // not_found
  // In the order of their ids.
  virtual Result<void> list_members(GroupId id, UserId after, uint32_t limit,
                                    Callback<std::vector<Member>> done) = 0;
  // Raises the version, also when nobody was changed. not_found; too_large: more than kMembersPerCall.
  virtual Result<void> change_members(MemberChange change, Callback<MembersChanged> done) = 0;
  // not_found: he is not in it.
  virtual Result<void> mute_group(UserId user, GroupId group, bool muted, Callback<void> done) = 0;
  virtual Result<void> hide_group(UserId user, GroupId group, uint32_t hidden_to,
                                  Callback<void> done)                                         = 0;
  virtual Result<void> list_memberships(UserId user, Callback<std::vector<Membership>> done)   = 0;

  // The user's only token from now on; whoever else had registered the same one has none any more.
  virtual Result<void> set_push_token(UserId user, PushToken token, Callback<void> done) = 0;
  // Fine if there is none.
  virtual Result<void> clear_push_token(UserId user, Callback<void> done) = 0;
  // Whether nights are silent. No sync stamp moves: others do not see it. not_found.
  virtual Result<void> set_push_shield(UserId user, bool on, Callback<void> done) = 0;
  virtual Result<void> push_shield(UserId user, Callback<bool> done)              = 0;  // not_found
};

inline constexpr uint32_t kMembersPerCall   = 20'000;  // of one add_group(), change_members()
inline constexpr uint32_t kConversationsMax = 10'000;  // of one user's list
inline constexpr uint32_t kUsersAskedMax    = 1'000;   // of one find_users()
inline constexpr uint32_t kDepartmentsMax   = 20'000;  // removed ones too

// Which shard owns what; pure functions of the id. The store distributes what it recovers by them.
struct Homes {
  uint32_t shards                                              = 1;
  uint32_t (*of_user)(UserId, uint32_t shards)                 = nullptr;
  uint32_t (*of_conversation)(ConversationId, uint32_t shards) = nullptr;
};

}  // namespace ringtalk::store
