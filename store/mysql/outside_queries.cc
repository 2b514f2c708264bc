#include <algorithm>

#include "store/mysql/queries.h"

namespace ringtalk::store::queries {

using sql::Rows;
using sql::Value;

namespace {

constexpr uint64_t kUsersAtOnce = 10'000, kDepartmentsAtOnce = 1'000, kGroupsAtOnce = 200;

// They read everything there is, in pieces that take the server far less than a time limit: some 2 ms per
// 1,000 users, 0.3 ms per 1,000 members.
constexpr uint64_t kUsersPerLook = 50'000, kGroupsPerLook = 2'000;  // ids

constexpr std::string_view kNewestUser  = "SELECT COALESCE(MAX(id), 0) FROM IMUser";
constexpr std::string_view kNewestGroup = "SELECT COALESCE(MAX(id), 0) FROM IMGroup";
constexpr std::string_view kSuspectUsers =
    "SELECT u.id FROM IMUser u LEFT JOIN RTUserSync s ON s.userId = u.id"
    " WHERE u.id > ? AND u.id <= ? AND (s.userId IS NULL OR s.seen <> " RT_USER_SEEN ") LIMIT ?";
constexpr std::string_view kDeletedUsers =
    "SELECT s.userId FROM RTUserSync s LEFT JOIN IMUser u ON u.id = s.userId"
    " WHERE s.userId > 0 AND u.id IS NULL LIMIT ?";
constexpr std::string_view kSuspectDepartments =
    "SELECT d.id FROM IMDepart d LEFT JOIN RTDepartSync s ON s.departId = d.id"
    " WHERE s.departId IS NULL OR s.seen <> " RT_DEPARTMENT_SEEN " LIMIT ?";
constexpr std::string_view kSuspectGroups =
    "SELECT g.id FROM IMGroup g LEFT JOIN RTGroupSync s ON s.groupId = g.id LEFT JOIN"
    " (SELECT groupId, SUM(CRC32(userId)) AS members FROM IMGroupMember"
    " WHERE status = 0 AND groupId > ? AND groupId <= ? GROUP BY groupId) m ON m.groupId = g.id"
    " WHERE g.id > ? AND g.id <= ? AND (s.groupId IS NULL OR s.seen <> " RT_GROUP_SEEN
    " OR s.members <> COALESCE(m.members, 0)) LIMIT ?";
constexpr std::string_view kDeletedGroups =
    "SELECT s.groupId FROM RTGroupSync s LEFT JOIN IMGroup g ON g.id = s.groupId"
    " WHERE g.id IS NULL LIMIT ?";

// Appends the ids that a statement lists.
template <class Id>
Result<void> list_ids(Link& link, std::string_view sql, std::initializer_list<Value> values,
                      std::vector<Id>& ids) {
  const auto rows = link.query(sql, values);
  if (!rows) return std::unexpected(rows.error());
  for (size_t row = 0; row < rows->size(); ++row)
    ids.push_back(static_cast<Id>(static_cast<uint32_t>(rows->number(row, 0))));
  return {};
}

Result<uint64_t> number(Link& link, std::string_view sql) {
  const auto rows = link.query(sql);
  if (!rows) return std::unexpected(rows.error());
  return rows->number(0, 0);
}

// Calls look(lowest - 1, highest) for pieces of the lower (0) or upper (1) half of the ids that there are.
template <class Look>
Result<void> each_piece(Link& link, std::string_view newest, uint32_t half, uint64_t piece,
                        Look look) {
  const auto last = number(link, newest);
  if (!last) return std::unexpected(last.error());
  const uint64_t middle = *last / 2, end = half == 0 ? middle : *last;
  for (uint64_t at = half == 0 ? 0 : middle; at < end; at += piece)
    if (auto ok = look(at, std::min(at + piece, end)); !ok) return ok;
  return {};
}

template <class Id>
std::vector<Value> keys_of(std::span<const Id> ids) {
  std::vector<Value> keys;
  keys.reserve(ids.size());
  for (const Id id : ids) keys.emplace_back(uint64_t{static_cast<uint32_t>(id)});
  return keys;
}

Result<void> execute(Link& link, const Pieces& pieces, std::span<const Value> first,
                     std::span<const Value> keys) {
  return pieces.each(
      first, keys, [&](std::string_view text, auto values) { return link.execute(text, values); });
}

// --- users

const Pieces& stamp_users() {
  static const Pieces pieces(
      "INSERT INTO RTUserSync (userId, stamp, seen, epoch) SELECT u.id, ?, " RT_USER_SEEN
      ", 0 FROM IMUser u WHERE u.id IN (",
      ") ON DUPLICATE KEY UPDATE stamp = VALUES(stamp), seen = VALUES(seen)");
  return pieces;
}

// What of up to kUsersPerStampMax users is to be done.
struct ChangedUsers {
  std::vector<Value> all, epochs, passwords;
};

Result<ChangedUsers> look_at_users(Link& link, std::span<const Value> keys,
                                   OutsideChanges& changes) {
  static const Pieces kLook("SELECT u.id, u.status, s.userId, s.seen <> " RT_USER_SEEN
                            ", p.userId, CAST(p.password AS BINARY) <> CAST(u.password AS BINARY)"
                            " OR CAST(p.salt AS BINARY) <> CAST(u.salt AS BINARY)"
                            " FROM IMUser u LEFT JOIN RTUserSync s ON s.userId = u.id"
                            " LEFT JOIN RTPassword p ON p.userId = u.id WHERE u.id IN (",
                            ") FOR UPDATE");
  ChangedUsers changed;
  const auto read = kLook.each({}, keys, [&](std::string_view text, auto values) -> Result<void> {
    const auto rows = link.query(text, values);
    if (!rows) return std::unexpected(rows.error());
    for (size_t row = 0; row < rows->size(); ++row) {
      const bool known = !rows->null(row, 2);
      if (known && rows->number(row, 3) == 0) continue;  // noticed meanwhile
      const Value key      = rows->number(row, 0);
      const auto status    = static_cast<uint8_t>(rows->number(row, 1));
      const bool witnessed = !rows->null(row, 4);
      const bool password  = witnessed && rows->number(row, 5) != 0;
      changed.all.push_back(key);
      if (known && (password || status == kUserLeft)) changed.epochs.push_back(key);
      if (password || !witnessed) changed.passwords.push_back(key);
      changes.users.push_back(
          {UserId(static_cast<uint32_t>(rows->number(row, 0))), status, known && password});
    }
    return {};
  });
  if (!read) return std::unexpected(read.error());
  return changed;
}

Result<void> take_in_users(Link& link, std::span<const UserId> users, uint32_t now,
                           OutsideChanges& changes) {
  static const Pieces kRaiseEpochs("UPDATE RTUserSync SET epoch = epoch + 1 WHERE userId IN (",
                                   ")");
  static const Pieces kForgetHashes(
      "REPLACE INTO RTPassword (userId, hash, password, salt)"
      " SELECT id, '', password, salt FROM IMUser WHERE id IN (",
      ")");
  if (users.empty()) return {};
  auto stamp = lock_user_stamp(link, now);
  if (!stamp) return std::unexpected(stamp.error());
  for (size_t at = 0; at < users.size(); at += kUsersPerStampMax) {
    const size_t count = std::min(kUsersPerStampMax, users.size() - at);
    const auto changed = look_at_users(link, keys_of(users.subspan(at, count)), changes);
    if (!changed) return std::unexpected(changed.error());
    if (changed->all.empty()) continue;
    const Value first[] = {*stamp};
    auto ok             = execute(link, stamp_users(), first, changed->all);
    if (ok) ok = execute(link, kRaiseEpochs, {}, changed->epochs);
    if (ok) ok = execute(link, kForgetHashes, {}, changed->passwords);
    if (ok) ok = raise_user_stamp(link, *stamp);
    if (!ok) return ok;
    ++*stamp;
  }
  return {};
}

// Nobody can be told of a row that is gone, but nobody reaches him either.
Result<void> forget_users(Link& link, std::span<const UserId> users, OutsideChanges& changes) {
  static constexpr std::string_view kForget =
      "DELETE s FROM RTUserSync s LEFT JOIN IMUser u ON u.id = s.userId"
      " WHERE s.userId = ? AND u.id IS NULL";
  static constexpr std::string_view kForgetPassword = "DELETE FROM RTPassword WHERE userId = ?";
  for (const UserId user : users) {
    auto done = link.execute(kForget, {uint64_t{raw(user)}});
    if (!done) return std::unexpected(done.error());
    if (done->rows == 0) continue;
    if (done = link.execute(kForgetPassword, {uint64_t{raw(user)}}); !done)
      return std::unexpected(done.error());
    changes.users.push_back({user, kUserLeft, true});
  }
  return {};
}

// --- departments

Result<void> take_in_departments(Link& link, std::span<const uint32_t> departments, uint32_t now) {
  static constexpr std::string_view kStamp =
      "INSERT INTO RTDepartSync (departId, stamp, seen) SELECT d.id, ?, " RT_DEPARTMENT_SEEN
      " FROM IMDepart d LEFT JOIN RTDepartSync s ON s.departId = d.id"
      " WHERE d.id = ? AND (s.departId IS NULL OR s.seen <> " RT_DEPARTMENT_SEEN
      ") ON DUPLICATE KEY UPDATE stamp = VALUES(stamp), seen = VALUES(seen)";
  if (departments.empty()) return {};
  auto stamp = lock_department_stamp(link, now);
  if (!stamp) return std::unexpected(stamp.error());
  for (const uint32_t id : departments) {
    const auto done = link.execute(kStamp, {*stamp, uint64_t{id}});
    if (!done) return std::unexpected(done.error());
    if (done->rows == 0) continue;
    if (auto ok = raise_department_stamp(link, *stamp); !ok) return ok;
    ++*stamp;
  }
  return {};
}

// --- groups

// The newest message, whoever numbered it.
Result<uint64_t> newest_of(Link& link, GroupId group) {
#define RT_NEWEST(table)                                                                    \
  "SELECT GREATEST(COALESCE((SELECT MAX(rtSeq) FROM IMGroupMessage_" #table                 \
  " WHERE groupId = ?), 0), COALESCE((SELECT newest FROM RTConversation WHERE type = 2 AND" \
  " convId = ?), 0))"
  static constexpr std::string_view kNewest[] = {RT_NEWEST(0), RT_NEWEST(1), RT_NEWEST(2),
                                                 RT_NEWEST(3), RT_NEWEST(4), RT_NEWEST(5),
                                                 RT_NEWEST(6), RT_NEWEST(7)};
#undef RT_NEWEST
  const uint64_t id = raw(group);
  const auto rows   = link.query(kNewest[id % std::size(kNewest)], {id, id});
  if (!rows) return std::unexpected(rows.error());
  return rows->number(0, 0);
}

#define RT_SIDES_ARE " ON r.groupId = m.groupId AND r.userId = m.userId"

Result<void> raise_version(Link& link, const OutsideGroup& group, uint64_t count, uint64_t mark) {
  static constexpr std::string_view kRaise =
      "UPDATE IMGroup SET version = ?, userCnt = ? WHERE id = ?";
  static constexpr std::string_view kNote =
      "INSERT INTO RTGroupSync (groupId, seen, members) SELECT g.id, " RT_GROUP_SEEN
      ", ? FROM IMGroup g WHERE g.id = ?"
      " ON DUPLICATE KEY UPDATE seen = VALUES(seen), members = VALUES(members)";
  const uint64_t id = raw(group.id);
  auto done         = link.execute(kRaise, {uint64_t{group.version}, count, id});
  if (done) done = link.execute(kNote, {mark, id});
  if (!done) return std::unexpected(done.error());
  return {};
}

// Nobody is in it any more.
Result<void> take_in_dismissed(Link& link, OutsideGroup& group) {
  const uint64_t id = raw(group.id);
  group.dismissed   = true;
  if (auto ok =
          list_ids(link, "SELECT userId FROM RTGroupMember WHERE groupId = ?", {id}, group.left);
      !ok)
    return ok;
  auto done = link.execute("DELETE FROM RTGroupMember WHERE groupId = ?", {id});
  if (done)
    done =
        link.execute("UPDATE IMGroupMember SET status = 1 WHERE groupId = ? AND status = 0", {id});
  if (!done) return std::unexpected(done.error());
  return {};
}

// Who joined sees from the next message on; all, if the group is new. Who left has no side any more.
Result<void> take_in_members(Link& link, OutsideGroup& group, bool known) {
  static constexpr std::string_view kJoined =
      "SELECT m.userId FROM IMGroupMember m LEFT JOIN RTGroupMember r" RT_SIDES_ARE
      " WHERE m.groupId = ? AND m.status = 0 AND r.userId IS NULL";
  static constexpr std::string_view kLeft =
      "SELECT r.userId FROM RTGroupMember r LEFT JOIN IMGroupMember m" RT_SIDES_ARE
      " AND m.status = 0 WHERE r.groupId = ? AND m.userId IS NULL";
  static constexpr std::string_view kAddSides =
      "INSERT INTO RTGroupMember (groupId, userId, firstMsgId, shield, hiddenTo)"
      " SELECT m.groupId, m.userId, ?, 0, 0 FROM IMGroupMember m LEFT JOIN"
      " RTGroupMember r" RT_SIDES_ARE " WHERE m.groupId = ? AND m.status = 0 AND r.userId IS NULL";
  static constexpr std::string_view kDropSides =
      "DELETE r FROM RTGroupMember r LEFT JOIN IMGroupMember m" RT_SIDES_ARE
      " AND m.status = 0 WHERE r.groupId = ? AND m.userId IS NULL";
  const uint64_t id = raw(group.id);
  auto ok           = list_ids(link, kJoined, {id}, group.joined);
  if (ok) ok = list_ids(link, kLeft, {id}, group.left);
  const auto newest = known ? newest_of(link, group.id) : Result<uint64_t>(0);
  if (!newest) return std::unexpected(newest.error());
  if (!ok) return ok;
  group.first = static_cast<uint32_t>(*newest + 1);
  auto done   = link.execute(kAddSides, {*newest + 1, id});
  if (done) done = link.execute(kDropSides, {id});
  if (!done) return std::unexpected(done.error());
  return {};
}

Result<void> take_in_group(Link& link, GroupId id, OutsideChanges& changes) {
  static constexpr std::string_view kLook =
      "SELECT s.groupId, s.seen <> " RT_GROUP_SEEN
      ", s.members, g.version, g.status FROM IMGroup g LEFT JOIN RTGroupSync s"
      " ON s.groupId = g.id WHERE g.id = ? FOR UPDATE";
  static constexpr std::string_view kMembers =
      "SELECT COUNT(*), COALESCE(SUM(CRC32(userId)), 0) FROM IMGroupMember"
      " WHERE groupId = ? AND status = 0";
  static constexpr std::string_view kForget = "DELETE FROM RTGroupSync WHERE groupId = ?";
  const uint64_t key                        = raw(id);
  const auto row                            = link.query(kLook, {key});
  if (!row) return std::unexpected(row.error());
  OutsideGroup group{.id = id, .version = UINT32_MAX};
  if (row->empty()) {
    const auto done = link.execute(kForget, {key});
    if (!done) return std::unexpected(done.error());
    if (done->rows == 0) return {};
    if (auto ok = take_in_dismissed(link, group); !ok) return ok;
    changes.groups.push_back(std::move(group));
    return {};
  }
  const bool known = !row->null(0, 0), dismissed = row->number(0, 4) != 0;
  group.version = static_cast<uint32_t>(row->number(0, 3)) + 1;
  if (known && dismissed)
    if (auto ok = take_in_dismissed(link, group); !ok) return ok;
  const auto members = link.query(kMembers, {key});
  if (!members) return std::unexpected(members.error());
  const uint64_t mark = members->number(0, 1);
  if (known && row->number(0, 1) == 0 && row->number(0, 2) == mark) return {};  // noticed meanwhile
  if (!dismissed)
    if (auto ok = take_in_members(link, group, known); !ok) return ok;
  if (auto ok = raise_version(link, group, members->number(0, 0), mark); !ok) return ok;
  // A new one in which nobody may do anything: its status is not what somebody meant.
  if (known || !dismissed) changes.groups.push_back(std::move(group));
  return {};
}

// --- at start: in pieces of ids, so that no statement takes long

constexpr uint64_t kUsersPerRange = 20'000, kGroupsPerRange = 1'000;

// Calls take(lowest, highest) for pieces of the ids up to that of `newest`, each in its transaction.
template <class Take>
Result<void> take_ranges(Link& link, std::string_view newest, uint64_t range, Take take) {
  const auto last = number(link, newest);
  if (!last) return std::unexpected(last.error());
  for (uint64_t at = 0; at < *last; at += range) {
    auto ok = link.run("BEGIN");
    if (ok) ok = take(at, at + range);
    if (ok) ok = link.run("COMMIT");
    if (!ok) return ok;
  }
  return {};
}

Result<void> take_over_users(Link& link, uint64_t after, uint64_t last, uint32_t now) {
  static constexpr std::string_view kUnseen =
      "SELECT u.id FROM IMUser u LEFT JOIN RTUserSync s ON s.userId = u.id"
      " WHERE u.id > ? AND u.id <= ? AND s.userId IS NULL ORDER BY u.id";
  static constexpr std::string_view kWitness =
      "INSERT IGNORE INTO RTPassword (userId, hash, password, salt)"
      " SELECT u.id, '', u.password, u.salt FROM IMUser u LEFT JOIN RTPassword p"
      " ON p.userId = u.id WHERE u.id > ? AND u.id <= ? AND p.userId IS NULL";
  auto stamp = lock_user_stamp(link, now);
  if (!stamp) return std::unexpected(stamp.error());
  std::vector<UserId> users;
  if (auto ok = list_ids(link, kUnseen, {after, last}, users); !ok) return ok;
  for (size_t at = 0; at < users.size(); at += kUsersPerStampMax) {
    const size_t count  = std::min(kUsersPerStampMax, users.size() - at);
    const Value first[] = {*stamp};
    auto ok             = execute(link, stamp_users(), first,
                                  keys_of(std::span<const UserId>(users).subspan(at, count)));
    if (ok) ok = raise_user_stamp(link, *stamp);
    if (!ok) return ok;
    ++*stamp;
  }
  if (auto done = link.execute(kWitness, {after, last}); !done)
    return std::unexpected(done.error());
  return {};
}

Result<void> take_over_groups(Link& link, uint64_t after, uint64_t last) {
  static constexpr std::string_view kSides =
      "INSERT IGNORE INTO RTGroupMember (groupId, userId, firstMsgId, shield, hiddenTo)"
      " SELECT m.groupId, m.userId, 1, 0, 0 FROM IMGroupMember m"
      " LEFT JOIN RTGroupSync s ON s.groupId = m.groupId"
      " WHERE m.groupId > ? AND m.groupId <= ? AND m.status = 0 AND s.groupId IS NULL";
  static constexpr std::string_view kNote =
      "INSERT IGNORE INTO RTGroupSync (groupId, seen, members)"
      " SELECT g.id, " RT_GROUP_SEEN
      ", COALESCE((SELECT SUM(CRC32(m.userId)) FROM IMGroupMember m"
      " WHERE m.groupId = g.id AND m.status = 0), 0) FROM IMGroup g LEFT JOIN RTGroupSync s"
      " ON s.groupId = g.id WHERE g.id > ? AND g.id <= ? AND s.groupId IS NULL";
  for (const std::string_view sql : {kSides, kNote})
    if (auto done = link.execute(sql, {after, last}); !done) return std::unexpected(done.error());
  return {};
}

}  // namespace

Pieces::Pieces(std::string_view before, std::string_view after) {
  const auto text = [&](size_t count) {
    std::string sql(before);
    for (size_t i = 0; i < count; ++i) sql += i == 0 ? "?" : ", ?";
    return sql.append(after);
  };
  one_  = text(1);
  many_ = text(kMany);
}

Result<Suspects> find_suspects(Link& link, uint32_t half) {
  Suspects found;
  auto ok = each_piece(link, kNewestUser, half, kUsersPerLook, [&](uint64_t after, uint64_t last) {
    return list_ids(link, kSuspectUsers, {after, last, kUsersAtOnce}, found.users);
  });
  if (ok)
    ok = each_piece(link, kNewestGroup, half, kGroupsPerLook, [&](uint64_t after, uint64_t last) {
      return list_ids(link, kSuspectGroups, {after, last, after, last, kGroupsAtOnce},
                      found.groups);
    });
  if (ok) ok = list_ids(link, kSuspectDepartments, {kDepartmentsAtOnce}, found.departments);
  if (ok && half == 0) ok = list_ids(link, kDeletedUsers, {kUsersAtOnce}, found.deleted);
  if (ok && half == 0) ok = list_ids(link, kDeletedGroups, {kGroupsAtOnce}, found.groups);
  if (!ok) return std::unexpected(ok.error());
  // The rest next time: taking in holds up writers.
  found.users.resize(std::min<size_t>(found.users.size(), kUsersAtOnce));
  found.groups.resize(std::min<size_t>(found.groups.size(), kGroupsAtOnce));
  return found;
}

Result<OutsideChanges> take_in(Link& link, const Suspects& suspects, uint32_t now) {
  OutsideChanges changes;
  auto ok = take_in_users(link, suspects.users, now, changes);
  if (ok) ok = forget_users(link, suspects.deleted, changes);
  if (ok) ok = take_in_departments(link, suspects.departments, now);
  if (!ok) return std::unexpected(ok.error());
  for (const GroupId group : suspects.groups)
    if (ok = take_in_group(link, group, changes); !ok) return std::unexpected(ok.error());
  return changes;
}

Result<void> take_over(Link& link, uint32_t now) {
  auto ok = take_ranges(
      link, "SELECT COALESCE(MAX(id), 0) FROM IMUser", kUsersPerRange,
      [&](uint64_t after, uint64_t last) { return take_over_users(link, after, last, now); });
  if (!ok) return ok;
  ok = take_ranges(
      link, "SELECT COALESCE(MAX(id), 0) FROM IMGroup", kGroupsPerRange,
      [&](uint64_t after, uint64_t last) { return take_over_groups(link, after, last); });
  if (!ok) return ok;
  // As from now on, each with a stamp of its own.
  std::vector<uint32_t> departments;
  do {
    departments.clear();
    ok = list_ids(link, kSuspectDepartments, {kDepartmentsAtOnce}, departments);
    if (ok) ok = link.run("BEGIN");
    if (ok) ok = take_in_departments(link, departments, now);
    if (ok) ok = link.run("COMMIT");
  } while (ok && departments.size() == kDepartmentsAtOnce);
  return ok;
}

}  // namespace ringtalk::store::queries
