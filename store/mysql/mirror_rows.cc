#include "store/mysql/mirror_rows.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/base/assert.h"
#include "store/mysql/schema.h"
#include "store/mysql/texts.h"

namespace ringtalk::store {

using redis::GroupRow;
using redis::MemberKey;
using redis::MemberRow;
using redis::PairRow;
using redis::TokenRow;
using sql::Rows;
using sql::Value;

namespace {

uint32_t to_u32(uint64_t value) { return static_cast<uint32_t>(value); }

// "CASE id % 8 WHEN 0 THEN (… 0 …) … END": which of the message tables is known per row only.
std::string by_table(std::string_view id, std::string_view text) {
  const TableTexts texts(text);
  std::string all = "CASE " + std::string(id) + " % 8";
  for (uint32_t table = 0; table < kMessageTables; ++table)
    all += " WHEN " + std::to_string(table) + " THEN (" + std::string(texts[table]) + ")";
  return all + " END";
}
static_assert(kMessageTables == 8);

// A statement about some keys: `one` per key, in a few lengths; the last key fills what is left over.
class SomeKeys {
 public:
  SomeKeys(const std::string& before, std::string_view one, std::string_view between,
           std::string_view after) {
    for (size_t i = 0; i < std::size(kCounts); ++i) {
      texts_[i] = before;
      for (size_t n = 0; n < kCounts[i]; ++n) texts_[i].append(n ? between : "").append(one);
      texts_[i] += after;
    }
  }
  // Fills `values`, which have `width` per key.
  std::string_view text(std::vector<Value>& values, size_t width) const {
    RT_ASSERT(!values.empty() && values.size() % width == 0);
    const auto count =
        std::ranges::find_if(kCounts, [&](size_t n) { return n >= values.size() / width; });
    RT_ASSERT(count != std::end(kCounts));
    const std::vector<Value> last(values.end() - static_cast<long>(width), values.end());
    while (values.size() < *count * width) values.insert(values.end(), last.begin(), last.end());
    return texts_[static_cast<size_t>(count - std::begin(kCounts))];
  }

 private:
  static constexpr size_t kCounts[] = {1, 16, redis::kSourceKeysMax};
  std::string texts_[std::size(kCounts)];
};

// Columns: 0 relation, 1 smaller, 2 larger, 3–5 what was taken over (newest, small, hidden), 6 read by the
// smaller, 7 by the larger, 8 newest of ours, and small at: 9 the newest, 10 and 11 the positions.
const std::string kPair =
    "SELECT r.id, r.smallId, r.bigId, t.newest, t.small, t.hidden, a.msgId, b.msgId, " +
    by_table("r.id",
             "SELECT x.rtSeq FROM IMMessage_{} x WHERE x.relateId = r.id "
             "ORDER BY x.rtSeq DESC LIMIT 1") +
    ", " +
    by_table("r.id",
             "SELECT x.rtSmall FROM IMMessage_{} x WHERE x.relateId = r.id "
             "ORDER BY x.rtSeq DESC LIMIT 1") +
    ", " +
    by_table("r.id",
             "SELECT x.rtSmall FROM IMMessage_{} x WHERE x.relateId = r.id AND x.rtSeq = a.msgId") +
    ", " +
    by_table("r.id",
             "SELECT x.rtSmall FROM IMMessage_{} x WHERE x.relateId = r.id AND x.rtSeq = b.msgId") +
    " FROM IMRelationShip r"
    " LEFT JOIN RTConversation t ON t.type = 1 AND t.convId = r.id"
    " LEFT JOIN RTReadCursor a ON a.userId = r.smallId AND a.type = 1 AND a.convId = r.bigId"
    " LEFT JOIN RTReadCursor b ON b.userId = r.bigId AND b.type = 1 AND b.convId = r.smallId"
    " WHERE ";
const std::string kWalkPairs = kPair + "r.id > ? ORDER BY r.id LIMIT ?";
const SomeKeys kFindPairs(kPair, "(r.smallId = ? AND r.bigId = ?)", " OR ", "");
// Of the original's rows above a position: ids that visible messages have, and those of one author.
const TableTexts kAbove(
    "SELECT COUNT(DISTINCT msgId), COUNT(DISTINCT IF(fromId = ?, msgId, NULL)) FROM IMMessage_{} "
    "WHERE relateId = ? AND status = 0 AND msgId > ? AND msgId <= ? AND rtSeq IS NULL");

const std::string kWalkGroups =
    "SELECT g.id, t.newest, " +
    by_table("g.id",
             "SELECT x.rtSeq FROM IMGroupMessage_{} x WHERE x.groupId = g.id "
             "ORDER BY x.rtSeq DESC LIMIT 1") +
    " FROM IMGroup g LEFT JOIN RTConversation t ON t.type = 2 AND t.convId = g.id"
    " WHERE g.id > ? AND g.status = 0 ORDER BY g.id LIMIT ?";

const std::string kMember =
    "SELECT m.groupId, m.userId, m.status, g.status, s.shield, m.updated, s.firstMsgId, c.msgId"
    " FROM IMGroupMember m JOIN IMGroup g ON g.id = m.groupId"
    " LEFT JOIN RTGroupMember s ON s.groupId = m.groupId AND s.userId = m.userId"
    " LEFT JOIN RTReadCursor c ON c.userId = m.userId AND c.type = 2 AND c.convId = m.groupId"
    " WHERE ";
const std::string kWalkMember =
    kMember + "m.groupId = ? AND m.userId > ? ORDER BY m.groupId, m.userId LIMIT ?";
const std::string kWalkMembers = kMember + "m.groupId > ? ORDER BY m.groupId, m.userId LIMIT ?";
const SomeKeys kFindMembers(kMember, "(m.groupId = ? AND m.userId = ?)", " OR ", "");

const std::string kToken =
    "SELECT u.id, p.serviceType, p.token FROM IMUser u"
    " LEFT JOIN RTPushReg p ON p.userId = u.id AND p.deviceId = '' WHERE ";
const std::string kWalkTokens = kToken + "u.id > ? ORDER BY u.id LIMIT ?";
const SomeKeys kFindTokens(kToken + "u.id IN (", "?", ", ", ")");

constexpr std::string_view kSize =
    "SELECT (SELECT COUNT(*) FROM IMRelationShip), (SELECT COUNT(*) FROM IMGroup),"
    " (SELECT COUNT(*) FROM IMGroupMember), (SELECT COUNT(*) FROM IMUser)";

template <class Row, class Read>
void read_rows(const Rows& rows, std::vector<Row>& into, Read read) {
  for (size_t row = 0; row < rows.size(); ++row) into.push_back(read(rows, row));
}

MemberRow to_member(const Rows& rows, size_t row) {
  return {.key      = {GroupId(to_u32(rows.number(row, 0))), UserId(to_u32(rows.number(row, 1)))},
          .in       = rows.number(row, 2) == 0 && rows.number(row, 3) == 0,
          .muted    = rows.number(row, 4) != 0,
          .joined   = to_u32(rows.number(row, 5)),
          .first    = to_u32(rows.number(row, 6)),
          .position = to_u32(rows.number(row, 7))};
}

TokenRow to_token(const Rows& rows, size_t row) {
  TokenRow token{.user = UserId(to_u32(rows.number(row, 0))), .token = {}};
  const uint64_t service = rows.number(row, 1);
  if (service != sql::kPushServiceIos && service != sql::kPushServiceAndroid) return token;
  token.token = {service == sql::kPushServiceIos ? PushVendor::ios : PushVendor::android,
                 std::string(rows.text(row, 2))};
  return token;
}

GroupRow to_group(const Rows& rows, size_t row) {
  return {GroupId(to_u32(rows.number(row, 0))),
          to_u32(std::max(rows.number(row, 1), rows.number(row, 2)))};
}

}  // namespace

MirrorRows::MirrorRows(sql::Connect master, engine::Clock& clock)
    : link_(std::move(master), clock, [] { return false; }) {}

Result<Rows> MirrorRows::query(std::string_view text, std::span<const Value> values) {
  if (auto opened = link_.open(); !opened) return std::unexpected(opened.error());
  return link_.query(text, values);
}

Result<redis::SourceSize> MirrorRows::size() {
  const auto rows = query(kSize, {});
  if (!rows) return std::unexpected(rows.error());
  return redis::SourceSize{.pairs   = rows->number(0, 0),
                           .groups  = rows->number(0, 1),
                           .members = rows->number(0, 2),
                           .users   = rows->number(0, 3)};
}

// --- pairs ----------------------------------------------------------------------------------------------

Result<std::vector<PairRow>> MirrorRows::pairs(uint32_t after, uint32_t limit) {
  const Value values[] = {uint64_t{after}, uint64_t{limit}};
  const auto rows      = query(kWalkPairs, values);
  if (!rows) return std::unexpected(rows.error());
  return to_pairs(*rows);
}

Result<std::vector<PairRow>> MirrorRows::find_pairs(std::span<const ConversationId> pairs) {
  RT_ASSERT(pairs.size() <= redis::kSourceKeysMax);
  if (pairs.empty()) return std::vector<PairRow>();
  std::vector<Value> values;
  for (const ConversationId pair : pairs) {
    values.emplace_back(uint64_t{raw(pair.small())});
    values.emplace_back(uint64_t{raw(pair.big())});
  }
  const std::string_view text = kFindPairs.text(values, 2);
  const auto rows             = query(text, values);
  if (!rows) return std::unexpected(rows.error());
  return to_pairs(*rows);
}

Result<std::vector<PairRow>> MirrorRows::to_pairs(const Rows& rows) {
  std::vector<PairRow> pairs;
  pairs.reserve(rows.size());
  for (size_t row = 0; row < rows.size(); ++row) {
    PairRow pair{.relation   = to_u32(rows.number(row, 0)),
                 .small      = UserId(to_u32(rows.number(row, 1))),
                 .big        = UserId(to_u32(rows.number(row, 2))),
                 .newest     = to_u32(std::max(rows.number(row, 3), rows.number(row, 8))),
                 .small_read = to_u32(rows.number(row, 6)),
                 .big_read   = to_u32(rows.number(row, 7))};
    const auto small = unread(rows, row, pair, true);
    const auto big   = unread(rows, row, pair, false);
    if (!small) return std::unexpected(small.error());
    if (!big) return std::unexpected(big.error());
    pair.small_unread = *small;
    pair.big_unread   = *big;
    pairs.push_back(pair);
  }
  return pairs;
}

// Messages of ours above the position by the difference of the running counts; those of the original's by
// what the take-over counted, or by a count of their own where the position is in their midst.
Result<uint32_t> MirrorRows::unread(const Rows& rows, size_t row, PairRow& pair, bool of_small) {
  const uint32_t taken       = to_u32(rows.number(row, 3));
  const uint32_t taken_small = to_u32(rows.number(row, 4));
  const uint32_t position    = of_small ? pair.small_read : pair.big_read;
  if (position >= pair.newest) return 0u;
  const uint32_t newest_small = pair.newest > taken ? to_u32(rows.number(row, 9)) : taken_small;
  uint32_t above = pair.newest - taken, by_small = newest_small - taken_small;
  if (position > taken) {
    above    = pair.newest - position;
    by_small = newest_small - to_u32(rows.number(row, of_small ? 10 : 11));
  } else if (position == 0) {
    above += taken - to_u32(rows.number(row, 5));
    by_small += taken_small;
  } else if (position < taken) {
    const Value values[] = {uint64_t{raw(pair.small)}, uint64_t{pair.relation}, uint64_t{position},
                            uint64_t{taken}};
    const auto counted   = query(kAbove[pair.relation % kMessageTables], values);
    if (!counted) return std::unexpected(counted.error());
    above += to_u32(counted->number(0, 0));
    by_small += to_u32(counted->number(0, 1));
  }
  return of_small ? above - by_small : by_small;
}

// --- groups ---------------------------------------------------------------------------------------------

Result<std::vector<GroupRow>> MirrorRows::groups(GroupId after, uint32_t limit) {
  const Value values[] = {uint64_t{raw(after)}, uint64_t{limit}};
  const auto rows      = query(kWalkGroups, values);
  if (!rows) return std::unexpected(rows.error());
  std::vector<GroupRow> groups;
  read_rows(*rows, groups, to_group);
  return groups;
}

// The rest of the group of `after`, then the groups behind it: either is a range of the key.
Result<std::vector<MemberRow>> MirrorRows::members(MemberKey after, uint32_t limit) {
  std::vector<MemberRow> members;
  const uint64_t group = raw(after.group);
  const Value rest[]   = {group, uint64_t{raw(after.user)}, uint64_t{limit}};
  const auto of_group  = query(kWalkMember, rest);
  if (!of_group) return std::unexpected(of_group.error());
  read_rows(*of_group, members, to_member);
  if (members.size() >= limit) return members;
  const Value behind[]  = {group, uint64_t{limit - members.size()}};
  const auto of_further = query(kWalkMembers, behind);
  if (!of_further) return std::unexpected(of_further.error());
  read_rows(*of_further, members, to_member);
  return members;
}

Result<std::vector<MemberRow>> MirrorRows::find_members(std::span<const MemberKey> keys) {
  RT_ASSERT(keys.size() <= redis::kSourceKeysMax);
  std::vector<MemberRow> members;
  if (keys.empty()) return members;
  std::vector<Value> values;
  for (const MemberKey key : keys) {
    values.emplace_back(uint64_t{raw(key.group)});
    values.emplace_back(uint64_t{raw(key.user)});
  }
  const std::string_view text = kFindMembers.text(values, 2);
  const auto rows             = query(text, values);
  if (!rows) return std::unexpected(rows.error());
  read_rows(*rows, members, to_member);
  return members;
}

// --- tokens ---------------------------------------------------------------------------------------------

Result<std::vector<TokenRow>> MirrorRows::tokens(UserId after, uint32_t limit) {
  const Value values[] = {uint64_t{raw(after)}, uint64_t{limit}};
  const auto rows      = query(kWalkTokens, values);
  if (!rows) return std::unexpected(rows.error());
  std::vector<TokenRow> tokens;
  read_rows(*rows, tokens, to_token);
  return tokens;
}

Result<std::vector<TokenRow>> MirrorRows::find_tokens(std::span<const UserId> users) {
  RT_ASSERT(users.size() <= redis::kSourceKeysMax);
  std::vector<TokenRow> tokens;
  if (users.empty()) return tokens;
  std::vector<Value> values;
  for (const UserId user : users) values.emplace_back(uint64_t{raw(user)});
  const std::string_view text = kFindTokens.text(values, 1);
  const auto rows             = query(text, values);
  if (!rows) return std::unexpected(rows.error());
  read_rows(*rows, tokens, to_token);
  return tokens;
}

}  // namespace ringtalk::store
