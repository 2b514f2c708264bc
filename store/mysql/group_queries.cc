#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "engine/base/assert.h"
#include "store/mysql/queries.h"

namespace ringtalk::store::queries {

using sql::Rows;
using sql::Value;

namespace {

// The order that read_group() takes.
#define RT_GROUP_COLUMNS \
  "g.id, g.name, g.avatar, g.creator, g.type, g.version, g.userCnt, g.created"
constexpr std::string_view kFindGroup =
    "SELECT " RT_GROUP_COLUMNS " FROM IMGroup g WHERE g.id = ? AND g.status = 0";
constexpr std::string_view kListGroups = "SELECT " RT_GROUP_COLUMNS
                                         " FROM IMGroup g WHERE g.id > ? AND g.status = 0"
                                         " ORDER BY g.id LIMIT ?";
constexpr std::string_view kListMembers =
    "SELECT m.userId, r.firstMsgId, r.shield FROM IMGroupMember m LEFT JOIN RTGroupMember r"
    " ON r.groupId = m.groupId AND r.userId = m.userId"
    " WHERE m.groupId = ? AND m.userId > ? AND m.status = 0 ORDER BY m.userId LIMIT ?";
constexpr std::string_view kListMemberships =
    "SELECT m.groupId, g.version, r.firstMsgId, g.type, r.shield, r.hiddenTo FROM IMGroupMember m"
    " JOIN IMGroup g ON g.id = m.groupId LEFT JOIN RTGroupMember r"
    " ON r.groupId = m.groupId AND r.userId = m.userId"
    " WHERE m.userId = ? AND m.status = 0 AND g.status = 0 ORDER BY m.groupId LIMIT ?";

// Numbers of the row may have been changed by others since it was seen: then what is seen stays behind.
constexpr std::string_view kLockGroup = "SELECT " RT_GROUP_COLUMNS ", s.seen <> " RT_GROUP_SEEN
                                        " FROM IMGroup g LEFT JOIN RTGroupSync s"
                                        " ON s.groupId = g.id WHERE g.id = ? AND g.status = 0"
                                        " FOR UPDATE";
constexpr std::string_view kInsertGroup =
    "INSERT INTO IMGroup (name, avatar, creator, type, userCnt, status, version, lastChated,"
    " updated, created) VALUES (?, ?, ?, ?, ?, 0, 1, 0, ?, ?)";
constexpr std::string_view kUpdateGroup =
    "UPDATE IMGroup SET name = ?, avatar = ?, version = ?, userCnt = ?, status = ?, updated = ?"
    " WHERE id = ?";
// ?: what the members are more by, what they are less by; 1 keeps a difference, as that of users.
constexpr std::string_view kNoteGroup =
    "INSERT INTO RTGroupSync (groupId, seen, members) SELECT g.id, " RT_GROUP_SEEN
    " ^ ?, ? FROM IMGroup g WHERE g.id = ?"
    " ON DUPLICATE KEY UPDATE seen = VALUES(seen),"
    " members = RTGroupSync.members + VALUES(members) - ?";

#define RT_INSERT_MEMBER \
  "INSERT INTO IMGroupMember (groupId, userId, status, created, updated) VALUES "
constexpr std::string_view kInsertMember = RT_INSERT_MEMBER "(?, ?, 0, ?, ?)";
constexpr std::string_view kInsertSide =
    "REPLACE INTO RTGroupMember (groupId, userId, firstMsgId, shield, hiddenTo)"
    " VALUES (?, ?, ?, 0, 0)";
constexpr std::string_view kRemoveMembers =
    "UPDATE IMGroupMember SET status = 1 WHERE groupId = ? AND status = 0";
constexpr std::string_view kRemoveSides = "DELETE FROM RTGroupMember WHERE groupId = ?";
constexpr std::string_view kIsMember =
    "SELECT 1 FROM IMGroupMember WHERE groupId = ? AND userId = ? AND status = 0";
#define RT_MARK_MEMBER \
  "INSERT INTO RTGroupMember (groupId, userId, firstMsgId, shield, hiddenTo) VALUES "
constexpr std::string_view kMute =
    RT_MARK_MEMBER "(?, ?, 1, ?, 0) ON DUPLICATE KEY UPDATE shield = VALUES(shield)";
constexpr std::string_view kHide =
    RT_MARK_MEMBER "(?, ?, 1, 0, ?) ON DUPLICATE KEY UPDATE hiddenTo = VALUES(hiddenTo)";

Group read_group(const Rows& rows, size_t row) {
  return {
      .id      = GroupId(static_cast<uint32_t>(rows.number(row, 0))),
      .name    = std::string(rows.text(row, 1)),
      .avatar  = std::string(rows.text(row, 2)),
      .creator = UserId(static_cast<uint32_t>(rows.number(row, 3))),
      .type    = static_cast<uint8_t>(rows.number(row, 4)),
      .version = static_cast<uint32_t>(rows.number(row, 5)),
      .members = static_cast<uint32_t>(rows.number(row, 6)),
      .created = static_cast<uint32_t>(rows.number(row, 7)),
  };
}

// Without a row of ours he is of the original's time: he sees everything.
uint32_t first_of(const Rows& rows, size_t row, uint32_t column) {
  return std::max<uint32_t>(1, static_cast<uint32_t>(rows.number(row, column)));
}

struct Locked {
  Group group;
  bool differs = false;
};

Result<Locked> lock(Link& link, GroupId id) {
  const auto rows = link.query(kLockGroup, {uint64_t{raw(id)}});
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return fail(Errc::not_found);
  return Locked{read_group(*rows, 0), rows->null(0, 8) || rows->number(0, 8) != 0};
}

struct Marks {
  int64_t more = 0, less = 0;
};

Result<void> note(Link& link, GroupId id, bool differs, Marks marks) {
  const auto done =
      link.execute(kNoteGroup, {uint64_t{differs}, marks.more, uint64_t{raw(id)}, marks.less});
  if (!done) return std::unexpected(done.error());
  return {};
}

Result<void> write(Link& link, const Locked& locked, bool dismissed, Marks marks, uint32_t now) {
  const Group& group = locked.group;
  const auto done =
      link.execute(kUpdateGroup, {std::string_view(group.name), std::string_view(group.avatar),
                                  uint64_t{group.version}, uint64_t{group.members},
                                  uint64_t{dismissed}, uint64_t{now}, uint64_t{raw(group.id)}});
  if (!done) return std::unexpected(done.error());
  return note(link, group.id, locked.differs, marks);
}

Result<void> insert_many(Link& link, std::string_view sql, GroupId group,
                         std::span<const UserId> users, std::span<const uint64_t> rest) {
  const std::vector<uint64_t> groups(users.size(), raw(group));
  std::vector<uint64_t> ids;
  ids.reserve(users.size());
  for (const UserId user : users) ids.push_back(raw(user));
  std::vector<std::vector<uint64_t>> same;
  for (const uint64_t value : rest) same.emplace_back(users.size(), value);
  std::vector<sql::Column> columns{{.numbers = groups}, {.numbers = ids}};
  for (const auto& column : same) columns.push_back({.numbers = column});
  if (auto done = link.execute_many(sql, columns, users.size()); !done)
    return std::unexpected(done.error());
  return {};
}

// Rows that TeamTalk keeps of a membership, whether it lasts or not.
Result<std::unordered_map<uint32_t, bool>> find_rows(Link& link, GroupId group,
                                                     std::span<const Value> keys) {
  static const Pieces kFind(
      "SELECT userId, status FROM IMGroupMember WHERE groupId = ? AND userId IN (", ") FOR UPDATE");
  std::unordered_map<uint32_t, bool> inside;
  const Value first[] = {uint64_t{raw(group)}};
  const auto read =
      kFind.each(first, keys, [&](std::string_view text, auto values) -> Result<void> {
        const auto rows = link.query(text, values);
        if (!rows) return std::unexpected(rows.error());
        for (size_t row = 0; row < rows->size(); ++row)
          inside[static_cast<uint32_t>(rows->number(row, 0))] = rows->number(row, 1) == 0;
        return {};
      });
  if (!read) return std::unexpected(read.error());
  return inside;
}

std::vector<Value> keys_of(std::span<const UserId> users) {
  std::vector<Value> keys;
  keys.reserve(users.size());
  for (const UserId user : users) keys.emplace_back(uint64_t{raw(user)});
  return keys;
}

// Who was not in is, from the message `first` on. `known`: of each whether he is in; not named: never was.
Result<std::vector<UserId>> add_members(Link& link, const MemberChange& change,
                                        const std::unordered_map<uint32_t, bool>& known,
                                        uint32_t now) {
  static const Pieces kRevive(
      "UPDATE IMGroupMember SET status = 0, updated = ? WHERE groupId = ? AND userId IN (", ")");
  std::vector<UserId> added, fresh, back;
  std::unordered_set<uint32_t> seen;
  for (const UserId user : change.users) {
    const auto at = known.find(raw(user));
    if ((at != known.end() && at->second) || !seen.insert(raw(user)).second) continue;
    added.push_back(user);
    (at == known.end() ? fresh : back).push_back(user);
  }
  const uint64_t times[] = {now, now}, side[] = {change.first};
  if (auto ok = insert_many(link, kInsertMember, change.group, fresh, times); !ok)
    return std::unexpected(ok.error());
  const Value first[] = {uint64_t{now}, uint64_t{raw(change.group)}};
  const auto revived  = kRevive.each(first, keys_of(back), [&](std::string_view text, auto values) {
    return link.execute(text, values);
  });
  if (!revived) return std::unexpected(revived.error());
  if (auto ok = insert_many(link, kInsertSide, change.group, added, side); !ok)
    return std::unexpected(ok.error());
  return added;
}

Result<std::vector<UserId>> remove_members(Link& link, const MemberChange& change,
                                           const std::unordered_map<uint32_t, bool>& known) {
  static const Pieces kLeave(
      "UPDATE IMGroupMember SET status = 1 WHERE groupId = ? AND userId IN (", ")");
  static const Pieces kForget("DELETE FROM RTGroupMember WHERE groupId = ? AND userId IN (", ")");
  std::vector<UserId> removed;
  std::unordered_set<uint32_t> seen;
  for (const UserId user : change.users) {
    const auto at = known.find(raw(user));
    if (at != known.end() && at->second && seen.insert(raw(user)).second) removed.push_back(user);
  }
  const std::vector<Value> keys = keys_of(removed);
  const Value first[]           = {uint64_t{raw(change.group)}};
  const auto run = [&](std::string_view text, auto values) { return link.execute(text, values); };
  if (auto ok = kLeave.each(first, keys, run); !ok) return std::unexpected(ok.error());
  if (auto ok = kForget.each(first, keys, run); !ok) return std::unexpected(ok.error());
  return removed;
}

int64_t mark_of(std::span<const UserId> users) {
  int64_t sum = 0;
  for (const UserId user : users) sum += member_mark(user);
  return sum;
}

Result<void> mark_member(Link& link, std::string_view sql, UserId user, GroupId group,
                         uint64_t value) {
  const uint64_t owner = raw(user), id = raw(group);
  const auto rows = link.query(kIsMember, {id, owner});
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return fail(Errc::not_found);
  if (auto done = link.execute(sql, {id, owner, value}); !done)
    return std::unexpected(done.error());
  return {};
}

}  // namespace

// As MySQL's CRC32() of the id, which it takes as text.
int64_t member_mark(UserId user) {
  uint32_t crc = ~0u;
  for (const char digit : std::to_string(raw(user))) {
    crc ^= static_cast<uint8_t>(digit);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

// --- reading ---------------------------------------------------------------------------------------------

Result<Group> find_group(Link& link, GroupId id) {
  const auto rows = link.query(kFindGroup, {uint64_t{raw(id)}});
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return fail(Errc::not_found);
  return read_group(*rows, 0);
}

Result<std::vector<Group>> list_groups(Link& link, GroupId after, uint32_t limit) {
  return all_rows(
      link.query(kListGroups, {uint64_t{raw(after)}, uint64_t{std::min(limit, kListMax)}}),
      read_group);
}

Result<std::vector<Member>> list_members(Link& link, GroupId id, UserId after, uint32_t limit) {
  return all_rows(link.query(kListMembers, {uint64_t{raw(id)}, uint64_t{raw(after)},
                                            uint64_t{std::min(limit, kListMax)}}),
                  [](const Rows& rows, size_t row) {
                    return Member{UserId(static_cast<uint32_t>(rows.number(row, 0))),
                                  first_of(rows, row, 1), rows.number(row, 2) != 0};
                  });
}

Result<std::vector<Membership>> list_memberships(Link& link, UserId user) {
  return all_rows(link.query(kListMemberships, {uint64_t{raw(user)}, uint64_t{kConversationsMax}}),
                  [](const Rows& rows, size_t row) {
                    return Membership{.group = GroupId(static_cast<uint32_t>(rows.number(row, 0))),
                                      .version   = static_cast<uint32_t>(rows.number(row, 1)),
                                      .first     = first_of(rows, row, 2),
                                      .type      = static_cast<uint8_t>(rows.number(row, 3)),
                                      .muted     = rows.number(row, 4) != 0,
                                      .hidden_to = static_cast<uint32_t>(rows.number(row, 5))};
                  });
}

// --- writing ---------------------------------------------------------------------------------------------

Result<Group> add_group(Link& link, const NewGroup& wanted, uint32_t now) {
  Group made{.name    = wanted.name,
             .avatar  = wanted.avatar,
             .creator = wanted.creator,
             .type    = wanted.type,
             .version = 1,
             .members = static_cast<uint32_t>(wanted.members.size()),
             .created = now};
  const auto done =
      link.execute(kInsertGroup, {std::string_view(made.name), std::string_view(made.avatar),
                                  uint64_t{raw(made.creator)}, uint64_t{made.type},
                                  uint64_t{made.members}, uint64_t{now}, uint64_t{now}});
  if (!done) return std::unexpected(done.error());
  made.id                = GroupId(static_cast<uint32_t>(done->insert_id));
  const uint64_t times[] = {now, now}, side[] = {1};
  // Somebody twice: the key refuses him.
  if (auto ok = insert_many(link, kInsertMember, made.id, wanted.members, times); !ok)
    return std::unexpected(ok.error());
  if (auto ok = insert_many(link, kInsertSide, made.id, wanted.members, side); !ok)
    return std::unexpected(ok.error());
  if (auto ok = note(link, made.id, false, {.more = mark_of(wanted.members)}); !ok)
    return std::unexpected(ok.error());
  return made;
}

Result<Group> update_group(Link& link, GroupId id, const GroupPatch& patch, uint32_t now) {
  auto found = lock(link, id);
  if (!found) return std::unexpected(found.error());
  Group& group = found->group;
  group.name   = patch.name.value_or(group.name);
  group.avatar = patch.avatar.value_or(group.avatar);
  ++group.version;  // clients that know the old name ask for what is newer
  if (auto ok = write(link, *found, false, {}, now); !ok) return std::unexpected(ok.error());
  return group;
}

Result<void> dismiss_group(Link& link, GroupId id, uint32_t now) {
  static constexpr std::string_view kMarks = "SELECT members FROM RTGroupSync WHERE groupId = ?";
  auto found                               = lock(link, id);
  if (!found) return std::unexpected(found.error());
  const uint64_t key = raw(id);
  const auto marks   = link.query(kMarks, {key});
  if (!marks) return std::unexpected(marks.error());
  for (const std::string_view sql : {kRemoveMembers, kRemoveSides})
    if (auto done = link.execute(sql, {key}); !done) return std::unexpected(done.error());
  found->group.members = 0;
  ++found->group.version;
  return write(link, *found, true,
               {.less = marks->empty() ? 0 : static_cast<int64_t>(marks->number(0, 0))}, now);
}

Result<MembersChanged> change_members(Link& link, const MemberChange& change, uint32_t now) {
  auto found = lock(link, change.group);
  if (!found) return std::unexpected(found.error());
  Group& group     = found->group;
  const auto known = find_rows(link, change.group, keys_of(change.users));
  if (!known) return std::unexpected(known.error());
  auto users =
      change.add ? add_members(link, change, *known, now) : remove_members(link, change, *known);
  if (!users) return std::unexpected(users.error());
  const auto count = static_cast<uint32_t>(users->size());
  group.members =
      change.add ? group.members + count : group.members - std::min(group.members, count);
  ++group.version;
  const int64_t mark = mark_of(*users);
  const Marks marks  = change.add ? Marks{.more = mark} : Marks{.less = mark};
  if (auto ok = write(link, *found, false, marks, now); !ok) return std::unexpected(ok.error());
  return MembersChanged{.version = group.version, .users = std::move(*users)};
}

Result<void> mute_group(Link& link, UserId user, GroupId group, bool muted) {
  return mark_member(link, kMute, user, group, muted);
}

Result<void> hide_group(Link& link, UserId user, GroupId group, uint32_t hidden_to) {
  return mark_member(link, kHide, user, group, hidden_to);
}

}  // namespace ringtalk::store::queries
