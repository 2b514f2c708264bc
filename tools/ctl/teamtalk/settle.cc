#include "tools/ctl/teamtalk/settle.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <tuple>
#include <vector>

#include "tools/ctl/teamtalk/positions.h"

namespace ringtalk::ctl {

namespace {

using store::sql::Rows;
using Key = std::tuple<uint64_t, uint64_t, uint64_t>;

std::string message_table(uint64_t relation) {
  return "{" + store::sql::numbered("IMMessage_", relation % store::sql::kMessageTables) + "}";
}

// Messages whose relation is gone: the two who wrote them tell whose it was.
uint64_t adopt(Database& database) {
  uint64_t adopted = 0;
  for (uint32_t n = 0; n < store::sql::kMessageTables; ++n) {
    const std::string table = message_table(n);
    const Rows orphans      = database.rows(
        "SELECT d.relateId FROM (SELECT DISTINCT relateId FROM " + table +
            ") d LEFT JOIN {IMRelationShip} r ON r.id = d.relateId LEFT JOIN {RTMerged} g ON"
                 " g.relateId = d.relateId WHERE r.id IS NULL AND g.relateId IS NULL AND d.relateId > 0"
                 " AND d.relateId % 8 = ?",
        {uint64_t{n}});
    for (size_t i = 0; i < orphans.size(); ++i) {
      const uint64_t id = orphans.number(i, 0);
      const Rows pairs =
          database.rows("SELECT DISTINCT LEAST(fromId, toId), GREATEST(fromId, toId) FROM " +
                            table + " WHERE relateId = ? LIMIT 2",
                        {id});
      const uint64_t small = pairs.number(0, 0), big = pairs.number(0, 1);
      if (pairs.size() != 1 || small == 0 || small == big) continue;
      // Beside another relation of the two it becomes a second one, unless the key is there already.
      adopted += database
                     .execute(
                         "INSERT IGNORE INTO {IMRelationShip} (id, smallId, bigId, status,"
                         " created, updated) SELECT ?, ?, ?, 0, MIN(created), MIN(created)"
                         " FROM " +
                             table + " WHERE relateId = ?",
                         {id, small, big, id})
                     .rows;
    }
  }
  return adopted;
}

struct Candidate {
  uint64_t id       = 0;
  uint64_t messages = 0;
  uint64_t newest   = 0;  // created
  uint64_t msg_id   = 0;  // highest
};

Candidate read_candidate(Database& database, uint64_t id) {
  const Rows rows = database.rows(
      "SELECT COUNT(*), COALESCE(MAX(created), 0), COALESCE(MAX(CASE WHEN msgId < 4294967295 THEN"
      " msgId END), 0) FROM " +
          message_table(id) + " WHERE relateId = ?",
      {id});
  return {id, rows.number(0, 0), rows.number(0, 1), rows.number(0, 2)};
}

struct Late {
  uint64_t created = 0, id = 0, relation = 0;
  auto operator<=>(const Late&) const = default;
};

// Leaves one relation of the two.
void merge_pair(Database& database, RedisPools* redis, uint64_t small, uint64_t big, Settled& sum) {
  Transaction transaction(database);
  const Rows ids = database.rows(
      "SELECT id FROM {IMRelationShip} WHERE smallId = ? AND bigId = ? ORDER BY id FOR UPDATE",
      {small, big});
  std::vector<Candidate> all;
  for (size_t i = 0; i < ids.size(); ++i) all.push_back(read_candidate(database, ids.number(i, 0)));
  // Of equal ones the last: it is what the original's readers find.
  const auto main = *std::ranges::max_element(all, {}, [](const Candidate& candidate) {
    return std::tuple(candidate.messages, candidate.id);
  });
  uint64_t next   = main.msg_id;
  if (redis) {
    const std::vector<std::string> key{fmt::format("msg_id_{}", main.id)};
    const auto counter = redis->numbers(Pool::unread, key).front();
    if (counter && is_sane(*counter)) next = std::max(next, *counter);
  }

  std::vector<Late> late;
  for (const Candidate& other : all) {
    if (other.id == main.id) continue;
    const Rows newer = database.rows("SELECT created, id FROM " + message_table(other.id) +
                                         " WHERE relateId = ? AND created > ?",
                                     {other.id, main.newest});
    for (size_t i = 0; i < newer.size(); ++i)
      late.push_back({newer.number(i, 0), newer.number(i, 1), other.id});
    sum.kept += other.messages - newer.size();
    ++sum.merged;
  }
  std::ranges::sort(late);
  for (const Late& message : late) {
    const std::string from = message_table(message.relation);
    database.execute(
        "INSERT INTO " + message_table(main.id) +
            " (relateId, fromId, toId, msgId, content, type, status, updated, created)"
            " SELECT ?, fromId, toId, ?, content, type, status, updated, created FROM " +
            from + " WHERE id = ?",
        {main.id, ++next, message.id});
    database.execute("DELETE FROM " + from + " WHERE id = ?", {message.id});
  }
  sum.appended += late.size();
  for (const Candidate& other : all) {
    if (other.id == main.id) continue;
    database.execute("REPLACE INTO {RTMerged} (relateId, mainId, merged) VALUES (?, ?, ?)",
                     {other.id, main.id, static_cast<uint64_t>(std::time(nullptr))});
    database.execute("DELETE FROM {IMRelationShip} WHERE id = ?", {other.id});
  }
  database.execute("UPDATE {IMRelationShip} SET status = 0 WHERE id = ? AND status <> 0",
                   {main.id});
  transaction.commit();
}

void merge(Database& database, RedisPools* redis, Settled& sum) {
  const Rows pairs = database.rows(
      "SELECT smallId, bigId FROM {IMRelationShip} WHERE smallId < bigId GROUP BY smallId, bigId"
      " HAVING COUNT(*) > 1");
  for (size_t i = 0; i < pairs.size(); ++i)
    merge_pair(database, redis, pairs.number(i, 0), pairs.number(i, 1), sum);
  // Nobody talks to himself: any one of these is as good as the others.
  database.execute(
      "DELETE a FROM {IMRelationShip} a JOIN {IMRelationShip} b ON b.smallId = a.smallId"
      " AND b.bigId = a.bigId AND b.id > a.id WHERE a.smallId = a.bigId");
}

// Of rows that are the same but for `order`, all but the first one go. Returns how many.
uint64_t drop(Database& database, std::string_view table, std::string_view columns,
              std::string_view order) {
  const Rows rows =
      database.rows(fmt::format("SELECT t.id, {0} FROM {1} t JOIN (SELECT {2} FROM {1} GROUP BY {2}"
                                " HAVING COUNT(*) > 1) d USING ({2}) ORDER BY {0}, {3}",
                                columns, table, columns, order));
  const bool with_type = columns.ends_with("type");
  uint64_t dropped     = 0;
  Key before;
  Transaction transaction(database);
  for (size_t i = 0; i < rows.size(); ++i) {
    const Key key(rows.number(i, 1), rows.number(i, 2), with_type ? rows.number(i, 3) : 0);
    if (i > 0 && key == before)
      dropped +=
          database.execute(fmt::format("DELETE FROM {} WHERE id = ?", table), {rows.number(i, 0)})
              .rows;
    before = key;
  }
  transaction.commit();
  return dropped;
}

}  // namespace

Settled settle(Database& database, RedisPools* redis,
               const std::function<void(std::string_view)>& progress) {
  Settled sum;
  sum.adopted = adopt(database);
  progress(fmt::format("messages without a relation: {} relations made", sum.adopted));
  // IGNORE: after an earlier take-over the key is there, and the right one with it.
  sum.turned = database
                   .execute(
                       "UPDATE IGNORE {IMRelationShip} a JOIN {IMRelationShip} b ON b.id = a.id"
                       " SET a.smallId = b.bigId, a.bigId = b.smallId WHERE b.smallId > b.bigId")
                   .rows;
  progress(fmt::format("relations the wrong way round: {} turned", sum.turned));
  merge(database, redis, sum);
  progress(
      fmt::format("second relations: {} merged, {} messages appended, {} left under the old"
                  " number",
                  sum.merged, sum.appended, sum.kept));
  // The original asks for status 0: to it NULL is a removed row.
  database.execute("UPDATE {IMRecentSession} SET status = 1 WHERE status IS NULL");
  sum.sessions = drop(database, "{IMRecentSession}", "userId, peerId, type",
                      "status = 0 DESC, updated DESC, id DESC");
  progress(fmt::format("double session rows: {} dropped", sum.sessions));
  sum.members = drop(database, "{IMGroupMember}", "groupId, userId",
                     "status = 0 DESC, updated DESC, id DESC");
  progress(fmt::format("double member rows: {} dropped", sum.members));
  return sum;
}

}  // namespace ringtalk::ctl
