#include "tools/ctl/teamtalk/survey.h"

#include <fmt/format.h>

namespace ringtalk::ctl {

namespace {

using store::sql::Rows;

// `sql` has a row with one column, the example, for each case. {0} in those of messages: the table's
// number; they are asked of all eight.
struct Question {
  std::string_view name, text, sql;
};

constexpr Question kQuestions[] = {
    {"relations_double",
     "pairs with several relations: the one with most messages stays, newer messages"
     " of the others are appended to it",
     "SELECT CONCAT(LEAST(smallId, bigId), ':', GREATEST(smallId, bigId)) AS x FROM "
     "{IMRelationShip}"
     " WHERE smallId <> bigId GROUP BY LEAST(smallId, bigId), GREATEST(smallId, bigId)"
     " HAVING COUNT(*) > 1"},
    {"relations_turned", "relations written the wrong way round: turned",
     "SELECT CONCAT(smallId, ':', bigId) AS x FROM {IMRelationShip} WHERE smallId > bigId"},
    {"relations_void", "relations of somebody with himself or with user 0: left alone, not used",
     "SELECT CONCAT('relation ', id) AS x FROM {IMRelationShip} WHERE smallId = bigId OR smallId = "
     "0"
     " OR bigId = 0"},
    {"relations_listless",
     "conversations that one of the two has no session row for: a removed one is"
     " made, which the next message shows",
     "SELECT CONCAT(r.smallId, ':', r.bigId) AS x FROM {IMRelationShip} r"
     " LEFT JOIN {IMRecentSession} a ON a.userId = r.smallId AND a.peerId = r.bigId AND a.type = 1"
     " LEFT JOIN {IMRecentSession} b ON b.userId = r.bigId AND b.peerId = r.smallId AND b.type = 1"
     " WHERE r.smallId < r.bigId AND (a.id IS NULL OR b.id IS NULL)"},
    {"sessions_double", "session rows that there are several of: the newest visible one stays",
     "SELECT CONCAT('user ', userId, ' with ', peerId) AS x FROM {IMRecentSession}"
     " WHERE type IS NOT NULL GROUP BY userId, peerId, type HAVING COUNT(*) > 1"},
    {"sessions_untyped", "session rows of neither a user nor a group: left alone, not used",
     "SELECT CONCAT('row ', id) AS x FROM {IMRecentSession} WHERE type IS NULL OR type NOT IN (1, "
     "2)"},
    {"members_double", "members that there are several rows of: one stays",
     "SELECT CONCAT('user ', userId, ' in group ', groupId) AS x FROM {IMGroupMember}"
     " GROUP BY groupId, userId HAVING COUNT(*) > 1"},
    {"members_lost", "members of groups that do not exist, or who do not: left alone, not used",
     "SELECT CONCAT('user ', m.userId, ' in group ', m.groupId) AS x FROM {IMGroupMember} m"
     " LEFT JOIN {IMGroup} g ON g.id = m.groupId LEFT JOIN {IMUser} u ON u.id = m.userId"
     " WHERE m.status = 0 AND (g.id IS NULL OR u.id IS NULL)"},
    {"names_shared", "names that several active users have: the highest id logs in",
     "SELECT name AS x FROM {IMUser} WHERE status = 0 GROUP BY name HAVING COUNT(*) > 1"},
    {"users_locked", "active users without a password: they cannot log in before one is set",
     "SELECT name AS x FROM {IMUser} WHERE status = 0 AND password = ''"},
    {"groups_unused",
     "groups whose status is not 0: out of use (the column's default is 1, so rows made"
     " by hand may be meant)",
     "SELECT CONCAT('group ', id) AS x FROM {IMGroup} WHERE status <> 0"},
    {"departments_unsent", "departments whose `updated` is 0: the original never showed them",
     "SELECT CONCAT('department ', id) AS x FROM {IMDepart} WHERE updated = 0"},
};

constexpr Question kOfMessages[] = {
    {"messages_lost",
     "conversations whose relation is gone: made again if all their messages are of"
     " the same two, else left alone",
     "SELECT CONCAT('relation ', d.relateId) AS x FROM (SELECT DISTINCT relateId FROM"
     " {{IMMessage_{0}}}) d LEFT JOIN {{IMRelationShip}} r ON r.id = d.relateId WHERE r.id IS NULL"
     " AND d.relateId % 8 = {0}"},
    {"messages_astray",
     "conversations with messages in a table that is not theirs: the original does"
     " not find them, left alone",
     "SELECT CONCAT('relation ', d.relateId, ' in table {0}') AS x FROM (SELECT DISTINCT relateId "
     "FROM"
     " {{IMMessage_{0}}}) d WHERE d.relateId % 8 <> {0}"},
    {"messages_strange", "messages whose author or receiver is not of their relation",
     "SELECT CONCAT('row ', m.id, ' of table {0}') AS x FROM {{IMMessage_{0}}} m"
     " JOIN {{IMRelationShip}} r ON r.id = m.relateId WHERE LEAST(m.fromId, m.toId) <>"
     " LEAST(r.smallId, r.bigId) OR GREATEST(m.fromId, m.toId) <> GREATEST(r.smallId, r.bigId)"},
    {"ids_insane",
     "messages with the id 4294967295 (Redis was away), and 0: no client can name them",
     "SELECT CONCAT('relation ', relateId) AS x FROM {{IMMessage_{0}}} WHERE msgId = 4294967295"
     " OR msgId = 0"},
    {"ids_double",
     "ids that several visible messages of a conversation share (Redis was lost): clients"
     " show one of them",
     "SELECT CONCAT('relation ', relateId, ' id ', msgId) AS x FROM {{IMMessage_{0}}} WHERE status "
     "= 0"
     " AND msgId <> 4294967295 AND msgId <> 0 GROUP BY relateId, msgId HAVING COUNT(*) > 1"},
    {"types_strange", "messages that are neither text nor sound: left out",
     "SELECT CONCAT('row ', id, ' of table {0}') AS x FROM {{IMMessage_{0}}} WHERE type NOT IN (1, "
     "2)"},
    {"sounds_lost",
     "sound messages without a readable sound (no row, no path, no size, no duration):"
     " left out",
     "SELECT CONCAT('row ', m.id, ' of table {0}') AS x FROM {{IMMessage_{0}}} m LEFT JOIN"
     " {{IMAudio}} a ON a.id = CAST(m.content AS UNSIGNED) WHERE m.type = 2 AND m.status = 0 AND"
     " (a.id IS NULL OR COALESCE(a.path, '') = '' OR a.size = 0 OR a.duration = 0)"},
    {"group_messages_lost", "groups that have messages and no row: left alone",
     "SELECT CONCAT('group ', d.groupId) AS x FROM (SELECT DISTINCT groupId FROM"
     " {{IMGroupMessage_{0}}}) d LEFT JOIN {{IMGroup}} g ON g.id = d.groupId WHERE g.id IS NULL"
     " AND d.groupId % 8 = {0}"},
    {"group_messages_astray", "groups with messages in a table that is not theirs: left alone",
     "SELECT CONCAT('group ', d.groupId, ' in table {0}') AS x FROM (SELECT DISTINCT groupId FROM"
     " {{IMGroupMessage_{0}}}) d WHERE d.groupId % 8 <> {0}"},
    {"group_ids_insane", "group messages with the id 4294967295 or 0: no client can name them",
     "SELECT CONCAT('group ', groupId) AS x FROM {{IMGroupMessage_{0}}} WHERE msgId = 4294967295"
     " OR msgId = 0"},
    {"group_ids_double",
     "ids that several visible messages of a group share: clients show one of them",
     "SELECT CONCAT('group ', groupId, ' id ', msgId) AS x FROM {{IMGroupMessage_{0}}} WHERE "
     "status = 0"
     " AND msgId <> 4294967295 AND msgId <> 0 GROUP BY groupId, msgId HAVING COUNT(*) > 1"},
    {"group_types_strange", "group messages that are neither text nor sound: left out",
     "SELECT CONCAT('row ', id, ' of table {0}') AS x FROM {{IMGroupMessage_{0}}}"
     " WHERE type NOT IN (17, 18)"},
    {"group_sounds_lost", "sound messages to groups without a readable sound: left out",
     "SELECT CONCAT('row ', m.id, ' of table {0}') AS x FROM {{IMGroupMessage_{0}}} m LEFT JOIN"
     " {{IMAudio}} a ON a.id = CAST(m.content AS UNSIGNED) WHERE m.type = 18 AND m.status = 0 AND"
     " (a.id IS NULL OR COALESCE(a.path, '') = '' OR a.size = 0 OR a.duration = 0)"},
};

void ask(Database& database, std::string_view sql, Finding& finding) {
  const uint64_t count = database.number(fmt::format("SELECT COUNT(*) FROM ({}) q", sql));
  finding.count += count;
  if (count == 0 || finding.examples.size() >= kExamples) return;
  const Rows rows = database.rows(fmt::format("{} LIMIT {}", sql, kExamples));
  for (size_t i = 0; i < rows.size() && finding.examples.size() < kExamples; ++i)
    finding.examples.emplace_back(rows.text(i, 0));
}

// Merged relations left messages behind: those are known.
std::string without_merged(const Database& database, std::string_view name, std::string sql) {
  if (name == "messages_lost" && database.inspection().has("RTMerged"))
    sql += " AND d.relateId NOT IN (SELECT relateId FROM {RTMerged})";
  return sql;
}

}  // namespace

std::vector<Finding> survey(Database& database) {
  std::vector<Finding> findings;
  const auto keep = [&](Finding finding) {
    if (finding.count > 0) findings.push_back(std::move(finding));
  };
  for (const Question& question : kQuestions) {
    Finding finding{std::string(question.name), std::string(question.text), 0, {}};
    ask(database, question.sql, finding);
    keep(std::move(finding));
  }
  for (const Question& question : kOfMessages) {
    Finding finding{std::string(question.name), std::string(question.text), 0, {}};
    for (uint32_t table = 0; table < store::sql::kMessageTables; ++table)
      ask(database,
          without_merged(database, question.name, fmt::format(fmt::runtime(question.sql), table)),
          finding);
    keep(std::move(finding));
  }
  return findings;
}

std::vector<TableSize> sizes_of_gaps(Database& database) {
  std::vector<TableSize> sizes;
  for (const auto& gap : database.inspection().gaps) {
    const Rows rows = database.rows(
        "SELECT COALESCE(TABLE_ROWS, 0), COALESCE(DATA_LENGTH + INDEX_LENGTH, 0)"
        " FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?",
        {database.inspection().names.real(gap.table)});
    if (!rows.empty()) sizes.push_back({gap.table, rows.number(0, 0), rows.number(0, 1)});
  }
  return sizes;
}

}  // namespace ringtalk::ctl
