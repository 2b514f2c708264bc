#include <algorithm>
#include <array>
#include <ranges>
#include <set>
#include <unordered_map>

#include "engine/base/assert.h"
#include "store/mysql/queries.h"

namespace ringtalk::store::queries {

using sql::Rows;
using sql::Value;

namespace {

// The order that read_user() takes. LEFT JOIN: a row that others made a moment ago has no stamp yet.
#define RT_USER_COLUMNS                                                                          \
  "u.id, u.name, u.nick, u.domain, u.phone, u.email, u.avatar, u.sign_info, u.departId, u.sex, " \
  "u.status, u.created, s.stamp"
#define RT_USER_FROM " FROM IMUser u LEFT JOIN RTUserSync s ON s.userId = u.id "
// Names are compared byte by byte, and an index narrows it down; ?: twice the name.
#define RT_NAME_IS "u.name = ? AND CAST(u.name AS BINARY) = CAST(? AS BINARY) "
#define RT_HAS_LEFT "COALESCE(u.status, 0) = 3"

// Of several with one name who works here: one that logs in, the highest id (behind the original).
constexpr std::string_view kFindAccount =
    "SELECT " RT_USER_COLUMNS
    ", s.epoch, u.password, u.salt, p.hash, p.password, p.salt" RT_USER_FROM
    "LEFT JOIN RTPassword p ON p.userId = u.id WHERE " RT_NAME_IS "AND NOT " RT_HAS_LEFT
    " ORDER BY COALESCE(u.status, 0) = 0 DESC, u.id DESC LIMIT 1";
constexpr std::string_view kFindByName =
    "SELECT " RT_USER_COLUMNS RT_USER_FROM "WHERE " RT_NAME_IS "ORDER BY " RT_HAS_LEFT
    ", COALESCE(u.status, 0) = 0 DESC, u.id DESC LIMIT 1";
constexpr std::string_view kFindUser = "SELECT " RT_USER_COLUMNS RT_USER_FROM "WHERE u.id = ?";
constexpr std::string_view kListUsers =
    "SELECT " RT_USER_COLUMNS RT_USER_FROM "WHERE u.id > ? ORDER BY u.id LIMIT ?";
#define RT_USERS_BY_STAMP   \
  "SELECT " RT_USER_COLUMNS \
  " FROM RTUserSync s STRAIGHT_JOIN IMUser u ON u.id = s.userId WHERE s.userId > 0 AND s.stamp "
constexpr std::string_view kListUsersSince =
    RT_USERS_BY_STAMP "> ? ORDER BY s.stamp, s.userId LIMIT ?";
constexpr std::string_view kListStamp = RT_USERS_BY_STAMP "= ? ORDER BY s.userId LIMIT ?";

constexpr std::string_view kLockStamp = "SELECT stamp FROM RTUserSync WHERE userId = 0 FOR UPDATE";
constexpr std::string_view kMakeStamp =
    "INSERT IGNORE INTO RTUserSync (userId, stamp, seen, epoch)"
    " SELECT 0, COALESCE(MAX(stamp), 0), 0, 0 FROM RTUserSync";
constexpr std::string_view kRaiseStamp = "UPDATE RTUserSync SET stamp = ? WHERE userId = 0";

#define RT_INSERT_USER                                                                          \
  "INSERT INTO IMUser (name, nick, departId, created, updated, status, sex, domain, password, " \
  "salt, phone, email, avatar, sign_info) VALUES "
#define RT_NEW_USER "(?, ?, ?, ?, ?, 0, 0, '', '', '', '', '', '', '')"
constexpr std::string_view kInsertUser = RT_INSERT_USER RT_NEW_USER;
constexpr std::string_view kReplacePassword =
    "REPLACE INTO RTPassword (userId, hash, password, salt) VALUES (?, ?, '', '')";

// The row is locked: what it is compared with does not move. different: others changed it, and nobody
// has noticed yet.
constexpr std::string_view kLockUser =
    "SELECT " RT_USER_COLUMNS ", s.seen <> " RT_USER_SEEN RT_USER_FROM "WHERE u.id = ? FOR UPDATE";
constexpr std::string_view kUpdateUser =
    "UPDATE IMUser SET nick = ?, domain = ?, phone = ?, email = ?, avatar = ?, sign_info = ?,"
    " departId = ?, sex = ?, status = ?, updated = ? WHERE id = ?";
// With it the original's form of the old password ends.
constexpr std::string_view kForgetLegacy =
    "UPDATE IMUser SET password = '', salt = '' WHERE id = ?";
// The last ?: 1 keeps a difference that look_around() has still to tell of.
constexpr std::string_view kStampUser =
    "INSERT INTO RTUserSync (userId, stamp, seen, epoch)"
    " SELECT u.id, ?, " RT_USER_SEEN
    " ^ ?, ? FROM IMUser u WHERE u.id = ?"
    " ON DUPLICATE KEY UPDATE stamp = VALUES(stamp), seen = VALUES(seen),"
    " epoch = RTUserSync.epoch + VALUES(epoch)";
// An id that was used before (MySQL 5 forgets at a restart what was deleted) is another user's.
#define RT_STAMP_NEW_USERS                                                            \
  "INSERT INTO RTUserSync (userId, stamp, seen, epoch) SELECT u.id, ?, " RT_USER_SEEN \
  ", 0 FROM IMUser u WHERE u.id IN ("
#define RT_STAMP_NEW_USERS_END                                             \
  ") ON DUPLICATE KEY UPDATE stamp = VALUES(stamp), seen = VALUES(seen), " \
  "epoch = RTUserSync.epoch + 1"

constexpr std::string_view kLockEpoch =
    "SELECT s.epoch, s.seen = " RT_USER_SEEN RT_USER_FROM "WHERE u.id = ? FOR UPDATE";
constexpr std::string_view kUpgradePassword =
    "REPLACE INTO RTPassword (userId, hash, password, salt)"
    " SELECT id, ?, password, salt FROM IMUser WHERE id = ?";

constexpr std::string_view kFindShield = "SELECT push_shield_status FROM IMUser WHERE id = ?";
constexpr std::string_view kSetShield  = "UPDATE IMUser SET push_shield_status = ? WHERE id = ?";

User read_user(const Rows& rows, size_t row) {
  return {
      .id         = UserId(static_cast<uint32_t>(rows.number(row, 0))),
      .name       = std::string(rows.text(row, 1)),
      .nick       = std::string(rows.text(row, 2)),
      .domain     = std::string(rows.text(row, 3)),
      .phone      = std::string(rows.text(row, 4)),
      .email      = std::string(rows.text(row, 5)),
      .avatar     = std::string(rows.text(row, 6)),
      .signature  = std::string(rows.text(row, 7)),
      .department = static_cast<uint32_t>(rows.number(row, 8)),
      .sex        = static_cast<uint8_t>(rows.number(row, 9)),
      .status     = static_cast<uint8_t>(rows.number(row, 10)),
      .created    = static_cast<uint32_t>(rows.number(row, 11)),
      .stamp      = rows.number(row, 12),
  };
}

Result<User> only_user(const Result<Rows>& rows) {
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return fail(Errc::not_found);
  return read_user(*rows, 0);
}

// exists: somebody who has not left has one of the names.
Result<void> check_names(Link& link, std::span<const Value> names) {
  static const Pieces kNamed(
      "SELECT u.name FROM IMUser u WHERE NOT " RT_HAS_LEFT " AND u.name IN (", ")");
  std::set<std::string_view> wanted;
  for (const Value& name : names)
    if (!wanted.insert(std::get<std::string_view>(name)).second) return fail(Errc::exists);
  return kNamed.each({}, names, [&](std::string_view text, auto values) -> Result<void> {
    const auto rows = link.query(text, values);
    if (!rows) return std::unexpected(rows.error());
    // A collation finds more than what is the same.
    for (size_t row = 0; row < rows->size(); ++row)
      if (wanted.contains(rows->text(row, 0))) return fail(Errc::exists);
    return {};
  });
}

std::array<Value, 5> row_of(const User& user) {
  return {std::string_view(user.name), std::string_view(user.nick), uint64_t{user.department},
          uint64_t{user.created}, uint64_t{user.created}};
}

Result<void> insert_one(Link& link, User& user) {
  const auto done = link.execute(kInsertUser, row_of(user));
  if (!done) return std::unexpected(done.error());
  user.id = UserId(static_cast<uint32_t>(done->insert_id));
  return {};
}

// kUsersPerStampMax users in one statement. Their ids follow each other only where nobody set it otherwise:
// they are read again.
Result<void> insert_piece(Link& link, std::span<User> users) {
  static const std::string kInsert = [] {
    std::string text = RT_INSERT_USER;
    for (size_t i = 0; i < kUsersPerStampMax; ++i)
      text.append(i == 0 ? "" : ", ").append(RT_NEW_USER);
    return text;
  }();
  static const Pieces kIds("SELECT id, name FROM IMUser WHERE created = ? AND name IN (",
                           ") ORDER BY id");
  RT_ASSERT(users.size() == kUsersPerStampMax);
  std::vector<Value> rows, names;
  std::unordered_map<std::string_view, User*> by_name;
  for (User& user : users) {
    for (const Value& value : row_of(user)) rows.push_back(value);
    names.emplace_back(std::string_view(user.name));
    by_name.emplace(user.name, &user);
  }
  if (auto done = link.execute(kInsert, rows); !done) return std::unexpected(done.error());
  const Value first[] = {uint64_t{users[0].created}};
  return kIds.each(first, names, [&](std::string_view text, auto values) -> Result<void> {
    const auto found = link.query(text, values);
    if (!found) return std::unexpected(found.error());
    for (size_t row = 0; row < found->size(); ++row)
      if (const auto at = by_name.find(found->text(row, 1)); at != by_name.end())
        at->second->id = UserId(static_cast<uint32_t>(found->number(row, 0)));
    return {};
  });
}

Result<void> store_passwords(Link& link, std::span<const User> users,
                             std::span<const NewUser> wanted) {
  std::vector<uint64_t> ids;
  std::vector<std::string_view> hashes;
  for (size_t i = 0; i < users.size(); ++i) {
    ids.push_back(raw(users[i].id));
    hashes.push_back(wanted[i].password);
  }
  const sql::Column columns[] = {{.numbers = ids}, {.texts = hashes}};
  const auto done             = link.execute_many(kReplacePassword, columns, users.size());
  if (!done) return std::unexpected(done.error());
  return {};
}

// As many as share a stamp.
Result<void> add_piece(Link& link, std::span<User> users, std::span<const NewUser> wanted) {
  static const Pieces kStamp(RT_STAMP_NEW_USERS, RT_STAMP_NEW_USERS_END);
  if (users.size() == kUsersPerStampMax) {
    if (auto ok = insert_piece(link, users); !ok) return ok;
  } else {
    for (User& user : users)
      if (auto ok = insert_one(link, user); !ok) return ok;
  }
  std::vector<Value> ids;
  for (const User& user : users) ids.emplace_back(uint64_t{raw(user.id)});
  const Value first[] = {users[0].stamp};
  const auto stamped  = kStamp.each(
      first, ids, [&](std::string_view text, auto values) { return link.execute(text, values); });
  if (!stamped) return stamped;
  return store_passwords(link, users, wanted);
}

}  // namespace

// --- reading ---------------------------------------------------------------------------------------------

Result<Account> find_account(Link& link, std::string_view name) {
  const auto rows = link.query(kFindAccount, {name, name});
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return fail(Errc::not_found);
  Account account{.user            = read_user(*rows, 0),
                  .password        = std::string(rows->text(0, 16)),
                  .legacy_password = std::string(rows->text(0, 14)),
                  .legacy_salt     = std::string(rows->text(0, 15)),
                  .epoch           = static_cast<uint32_t>(rows->number(0, 13))};
  const bool known = !rows->null(0, 16);
  if (known &&
      (account.legacy_password != rows->text(0, 17) || account.legacy_salt != rows->text(0, 18))) {
    // Somebody set another password; take_in() raises the epoch so.
    account.password.clear();
    ++account.epoch;
  } else if (!account.password.empty()) {
    account.legacy_password.clear();
    account.legacy_salt.clear();
  }
  return account;
}

Result<User> find_user(Link& link, UserId id) {
  return only_user(link.query(kFindUser, {uint64_t{raw(id)}}));
}

Result<User> find_user_by_name(Link& link, std::string_view name) {
  return only_user(link.query(kFindByName, {name, name}));
}

Result<std::vector<User>> find_users(Link& link, std::span<const UserId> ids) {
  static const Pieces kFind("SELECT " RT_USER_COLUMNS RT_USER_FROM "WHERE u.id IN (", ")");
  std::vector<Value> keys;
  for (const UserId id : ids) keys.emplace_back(uint64_t{raw(id)});
  std::unordered_map<uint32_t, User> found;
  const auto read = kFind.each({}, keys, [&](std::string_view text, auto values) -> Result<void> {
    auto users = all_rows(link.query(text, values), read_user);
    if (!users) return std::unexpected(users.error());
    for (User& user : *users) found.insert_or_assign(raw(user.id), std::move(user));
    return {};
  });
  if (!read) return std::unexpected(read.error());
  std::vector<User> users;
  for (const UserId id : ids)
    if (const auto at = found.find(raw(id)); at != found.end()) users.push_back(at->second);
  return users;
}

Result<std::vector<User>> list_users(Link& link, UserId after, uint32_t limit) {
  return all_rows(
      link.query(kListUsers, {uint64_t{raw(after)}, uint64_t{std::min(limit, kListMax)}}),
      read_user);
}

Result<UserPage> list_users_since(Link& link, uint64_t stamp, uint32_t limit) {
  limit     = std::clamp<uint32_t>(limit, 1, kListMax);
  auto rows = all_rows(link.query(kListUsersSince, {stamp, uint64_t{limit} + 1}), read_user);
  if (!rows) return std::unexpected(rows.error());
  return whole_stamps<UserPage>(std::move(*rows), limit, [&](uint64_t cut) {
    return all_rows(link.query(kListStamp, {cut, uint64_t{kListMax}}), read_user);
  });
}

Result<bool> push_shield(Link& link, UserId user) {
  const auto rows = link.query(kFindShield, {uint64_t{raw(user)}});
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return fail(Errc::not_found);
  return rows->number(0, 0) != 0;
}

// --- writing ---------------------------------------------------------------------------------------------

Result<uint64_t> lock_user_stamp(Link& link, uint32_t now) {
  auto rows = link.query(kLockStamp);
  if (rows && rows->empty()) {
    if (auto made = link.execute(kMakeStamp); !made) return std::unexpected(made.error());
    rows = link.query(kLockStamp);
  }
  if (!rows) return std::unexpected(rows.error());
  RT_ASSERT(!rows->empty());
  return std::max<uint64_t>(now, rows->number(0, 0) + 1);
}

Result<void> raise_user_stamp(Link& link, uint64_t stamp) {
  if (auto done = link.execute(kRaiseStamp, {stamp}); !done) return std::unexpected(done.error());
  return {};
}

Result<std::vector<User>> add_users(Link& link, const std::vector<NewUser>& users, uint32_t now) {
  const auto stamp = lock_user_stamp(link, now);
  if (!stamp) return std::unexpected(stamp.error());
  std::vector<uint32_t> departments;
  std::vector<Value> names;
  std::vector<User> added;
  added.reserve(users.size());
  for (size_t i = 0; i < users.size(); ++i) {
    departments.push_back(users[i].department);
    names.emplace_back(std::string_view(users[i].name));
    added.push_back({.name       = users[i].name,
                     .nick       = users[i].nick,
                     .department = users[i].department,
                     .created    = now,
                     .stamp      = *stamp + i / kUsersPerStampMax});
  }
  if (auto ok = hold_departments(link, std::move(departments)); !ok)
    return std::unexpected(ok.error());
  if (auto ok = check_names(link, names); !ok) return std::unexpected(ok.error());
  for (size_t at = 0; at < added.size(); at += kUsersPerStampMax) {
    const size_t count = std::min(kUsersPerStampMax, added.size() - at);
    const auto ok =
        add_piece(link, std::span(added).subspan(at, count), std::span(users).subspan(at, count));
    if (!ok) return std::unexpected(ok.error());
  }
  if (added.empty()) return added;
  if (auto ok = raise_user_stamp(link, added.back().stamp); !ok) return std::unexpected(ok.error());
  return added;
}

Result<User> update_user(Link& link, UserId id, const UserPatch& patch, uint32_t now) {
  const auto stamp = lock_user_stamp(link, now);
  if (!stamp) return std::unexpected(stamp.error());
  const auto rows = link.query(kLockUser, {uint64_t{raw(id)}});
  auto found      = only_user(rows);
  if (!found) return found;
  if (patch.department)
    if (auto ok = hold_departments(link, {*patch.department}); !ok)
      return std::unexpected(ok.error());
  User user          = std::move(*found);
  const bool returns = user.status == kUserLeft && patch.status && *patch.status != kUserLeft;
  const auto apply   = [](auto& field, const auto& wanted) {
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
  user.stamp = *stamp;
  if (returns) {
    const Value name[] = {std::string_view(user.name)};
    if (auto ok = check_names(link, name); !ok) return std::unexpected(ok.error());
  }
  const uint64_t key    = raw(id);
  const bool differs    = rows->null(0, 13) || rows->number(0, 13) != 0;
  const bool tokens_die = patch.password || patch.status == kUserLeft;
  auto done =
      link.execute(kUpdateUser, {std::string_view(user.nick), user.domain, user.phone, user.email,
                                 user.avatar, user.signature, uint64_t{user.department},
                                 uint64_t{user.sex}, uint64_t{user.status}, uint64_t{now}, key});
  if (done && patch.password) done = link.execute(kForgetLegacy, {key});
  if (done && patch.password)
    done = link.execute(kReplacePassword, {key, std::string_view(*patch.password)});
  if (done)
    done =
        link.execute(kStampUser, {*stamp, uint64_t{differs}, uint64_t{tokens_die ? 1u : 0u}, key});
  if (!done) return std::unexpected(done.error());
  if (auto ok = raise_user_stamp(link, *stamp); !ok) return std::unexpected(ok.error());
  return user;
}

// A new password that came while the old one was checked stays, noticed or not.
Result<void> upgrade_password(Link& link, UserId id, uint32_t epoch, std::string_view argon2id) {
  const uint64_t key = raw(id);
  const auto rows    = link.query(kLockEpoch, {key});
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return fail(Errc::not_found);
  if (rows->number(0, 0) != epoch || rows->number(0, 1) == 0) return fail(Errc::refused);
  if (auto done = link.execute(kUpgradePassword, {argon2id, key}); !done)
    return std::unexpected(done.error());
  return {};
}

Result<void> set_push_shield(Link& link, UserId user, bool on) {
  if (auto found = push_shield(link, user); !found) return std::unexpected(found.error());
  if (auto done = link.execute(kSetShield, {uint64_t{on}, uint64_t{raw(user)}}); !done)
    return std::unexpected(done.error());
  return {};
}

}  // namespace ringtalk::store::queries
