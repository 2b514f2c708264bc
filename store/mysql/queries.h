// Queries: what the relational calls are in SQL, one function each, over a Link.
//
// Thread rule  As Link: the thread of the worker whose connection it is.
// Writing      In a transaction of the caller; a function that fails is undone by the caller's savepoint.
// Locks        A writer of users takes the row of RTUserSync with userId 0 first, one of departments that
//              of RTDepartSync, one of a group its row of IMGroup: so stamps are committed in their order,
//              and what was looked for stays as it was found. (Programs of others take no such locks.)
// Errors       As in store.h; a Link's for the rest.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/mysql/link.h"
#include "store/store.h"

namespace ringtalk::store::queries {

inline constexpr size_t kUsersPerStampMax = 300;
inline constexpr uint32_t kListMax        = 20'000;  // a longer list is cut to it

// Statements about many keys, "… IN (?, ?, …)", in two lengths: few texts are prepared, whatever is asked.
class Pieces {
 public:
  static constexpr size_t kMany = 100;

  Pieces(std::string_view before, std::string_view after);

  // Calls run(text, values) until every key was in a call; values: `first`, then the keys, of which
  // the last is repeated.
  template <class Run>
  Result<void> each(std::span<const sql::Value> first, std::span<const sql::Value> keys,
                    Run&& run) const {
    std::vector<sql::Value> values;
    for (size_t at = 0; at < keys.size();) {
      const bool one     = keys.size() - at <= kFew;
      const size_t count = one ? 1 : std::min(kMany, keys.size() - at);
      values.assign(first.begin(), first.end());
      values.insert(values.end(), keys.begin() + static_cast<long>(at),
                    keys.begin() + static_cast<long>(at + count));
      if (!one) values.resize(first.size() + kMany, keys[at + count - 1]);
      if (auto ran = run(std::string_view(one ? one_ : many_), std::span<const sql::Value>(values));
          !ran)
        return std::unexpected(ran.error());
      at += count;
    }
    return {};
  }

 private:
  static constexpr size_t kFew = 8;
  std::string one_, many_;
};

// Every row, read by read(rows, row).
template <class Read>
auto all_rows(const Result<sql::Rows>& rows, Read read)
    -> Result<std::vector<decltype(read(*rows, 0))>> {
  if (!rows) return std::unexpected(rows.error());
  std::vector<decltype(read(*rows, 0))> list;
  list.reserve(rows->size());
  for (size_t row = 0; row < rows->size(); ++row) list.push_back(read(*rows, row));
  return list;
}

// Whole stamps only: who asks again by the last one would lose the rest of it. `rows`: up to limit + 1,
// in the order of their stamps; rows_of(stamp) has every one of a stamp.
template <class Page, class Row, class RowsOf>
Result<Page> whole_stamps(std::vector<Row> rows, uint32_t limit, RowsOf rows_of) {
  if (rows.size() <= limit) return Page{std::move(rows), false};
  const uint64_t cut = rows.back().stamp;
  while (!rows.empty() && rows.back().stamp == cut) rows.pop_back();
  if (!rows.empty()) return Page{std::move(rows), true};
  auto whole = rows_of(cut);
  if (!whole) return std::unexpected(whole.error());
  return Page{std::move(*whole), true};
}

// --- users (user_queries.cc)

Result<Account> find_account(Link& link, std::string_view name);
Result<User> find_user(Link& link, UserId id);
Result<User> find_user_by_name(Link& link, std::string_view name);
Result<std::vector<User>> find_users(Link& link, std::span<const UserId> ids);
Result<std::vector<User>> list_users(Link& link, UserId after, uint32_t limit);
Result<UserPage> list_users_since(Link& link, uint64_t stamp, uint32_t limit);
Result<std::vector<User>> add_users(Link& link, const std::vector<NewUser>& users, uint32_t now);
Result<User> update_user(Link& link, UserId id, const UserPatch& patch, uint32_t now);
Result<void> upgrade_password(Link& link, UserId id, uint32_t epoch, std::string_view argon2id);
Result<void> set_push_shield(Link& link, UserId user, bool on);
Result<bool> push_shield(Link& link, UserId user);
// A new stamp; the row is locked until the transaction ends.
Result<uint64_t> lock_user_stamp(Link& link, uint32_t now);
Result<void> raise_user_stamp(Link& link, uint64_t stamp);

// --- departments (department_queries.cc)

Result<DepartmentPage> list_departments(Link& link, uint64_t stamp, uint32_t limit);
Result<Department> add_department(Link& link, const NewDepartment& wanted, uint32_t now);
Result<Department> update_department(Link& link, uint32_t id, const DepartmentPatch& patch,
                                     uint32_t now);
Result<void> remove_department(Link& link, uint32_t id, uint32_t now);
// refused: one of them is not there. They stay until the transaction ends.
Result<void> hold_departments(Link& link, std::vector<uint32_t> ids);
Result<uint64_t> lock_department_stamp(Link& link, uint32_t now);
Result<void> raise_department_stamp(Link& link, uint64_t stamp);

// --- groups (group_queries.cc)

Result<Group> find_group(Link& link, GroupId id);
Result<std::vector<Group>> list_groups(Link& link, GroupId after, uint32_t limit);
Result<std::vector<Member>> list_members(Link& link, GroupId id, UserId after, uint32_t limit);
Result<std::vector<Membership>> list_memberships(Link& link, UserId user);
Result<Group> add_group(Link& link, const NewGroup& wanted, uint32_t now);
Result<Group> update_group(Link& link, GroupId id, const GroupPatch& patch, uint32_t now);
Result<void> dismiss_group(Link& link, GroupId id, uint32_t now);
Result<MembersChanged> change_members(Link& link, const MemberChange& change, uint32_t now);
Result<void> mute_group(Link& link, UserId user, GroupId group, bool muted);
Result<void> hide_group(Link& link, UserId user, GroupId group, uint32_t hidden_to);

// --- conversation list and notifications (session_queries.cc)

// The relation of the two.
Result<uint32_t> open_conversation(Link& link, UserId small, UserId big, uint32_t time);
Result<std::vector<SessionRow>> list_sessions(Link& link, UserId user);
Result<void> hide_session(Link& link, UserId user, UserId peer, uint32_t newest, uint32_t now);
// Who had the token until now.
Result<std::vector<UserId>> set_push_token(Link& link, UserId user, const PushToken& token,
                                           uint32_t now);
Result<void> clear_push_token(Link& link, UserId user);

// --- what other programs change (outside_queries.cc)

// What differs from what was last seen. Without locks; take_in…() look again.
struct Suspects {
  std::vector<UserId> users, deleted;
  std::vector<uint32_t> departments;
  std::vector<GroupId> groups;

  bool empty() const {
    return users.empty() && deleted.empty() && departments.empty() && groups.empty();
  }
};
// Of the half `half` (0, 1) of the ids of users and groups, so that one look reads half of them.
Result<Suspects> find_suspects(Link& link, uint32_t half);
// Stamps, versions and counts for those that did change; in a transaction of their own.
Result<OutsideChanges> take_in(Link& link, const Suspects& suspects, uint32_t now);
// At start: rows that were never seen are taken as they are.
Result<void> take_over(Link& link, uint32_t now);

// What the row of a user, department or group looks like, without its own stamp.
#define RT_USER_SEEN                                                                              \
  "CRC32(CONCAT_WS('\\n', u.sex, u.name, u.domain, u.nick, u.password, u.salt, u.phone, u.email," \
  " COALESCE(u.avatar, ''), u.departId, COALESCE(u.status, 0), u.sign_info, u.updated))"
#define RT_DEPARTMENT_SEEN \
  "CRC32(CONCAT_WS('\\n', d.departName, d.priority, d.parentId, d.status, d.updated))"
#define RT_GROUP_SEEN                                                                            \
  "CRC32(CONCAT_WS('\\n', g.name, g.avatar, g.creator, g.type, g.status, g.version, g.userCnt, " \
  "g.updated))"

// A sum over members that two different sets do not share: SUM(CRC32(userId)).
int64_t member_mark(UserId user);

}  // namespace ringtalk::store::queries
