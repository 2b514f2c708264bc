#include "store/mysql/schema.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <set>
#include <string>

#include "engine/base/assert.h"

namespace ringtalk::store::sql {

namespace {

constexpr std::string_view kUtf8    = "ENGINE=InnoDB DEFAULT CHARSET=utf8";
constexpr std::string_view kUtf8mb4 = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";
// Ids, names of ours, hashes: compared byte by byte.
constexpr std::string_view kAscii = "ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin";

#define RT_ID "int(11) unsigned NOT NULL"
#define RT_COUNT "int(11) unsigned NOT NULL DEFAULT '0'"

constexpr bool kUnique = true;
constexpr bool kOurs   = true;

// Types, defaults and keys as TeamTalk's own schema file has them; beside each key what it serves here.
std::vector<TableDef> make_table_defs() {
  std::vector<TableDef> defs;

  defs.push_back({.name    = "IMAdmin",
                  .charset = kUtf8,
                  .columns = {{"id", "mediumint(6) unsigned NOT NULL AUTO_INCREMENT"},
                              {"uname", "varchar(40) NOT NULL"},
                              {"pwd", "char(32) NOT NULL"},
                              {"status", "tinyint(2) unsigned NOT NULL DEFAULT '0'"},
                              {"created", RT_COUNT},
                              {"updated", RT_COUNT}},
                  .keys    = {{"", "id"}}});

  defs.push_back({.name    = "IMAudio",
                  .charset = kUtf8mb4,
                  .columns = {{"id", "int(11) NOT NULL AUTO_INCREMENT"},
                              {"fromId", RT_ID},
                              {"toId", RT_ID},
                              {"path", "varchar(255) DEFAULT ''"},
                              {"size", RT_COUNT},
                              {"duration", RT_COUNT},
                              {"created", RT_ID}},
                  .keys    = {{"", "id"},  // the sound of a message
                              {"idx_fromId_toId", "fromId, toId"}}});

  defs.push_back({.name    = "IMDepart",
                  .charset = kUtf8mb4,
                  .columns = {{"id", "int(11) unsigned NOT NULL AUTO_INCREMENT"},
                              {"departName", "varchar(64) NOT NULL DEFAULT ''"},
                              {"priority", RT_COUNT},
                              {"parentId", RT_ID},
                              {"status", RT_COUNT},
                              {"created", RT_ID},
                              {"updated", RT_ID}},
                  .keys    = {{"", "id"},
                              {"idx_departName", "departName"},
                              {"idx_priority_status", "priority, status"}}});

  defs.push_back({.name    = "IMDiscovery",
                  .charset = kUtf8mb4,
                  .columns = {{"id", "int(11) unsigned NOT NULL AUTO_INCREMENT"},
                              {"itemName", "varchar(64) NOT NULL DEFAULT ''"},
                              {"itemUrl", "varchar(64) NOT NULL DEFAULT ''"},
                              {"itemPriority", RT_ID},
                              {"status", RT_COUNT},
                              {"created", RT_ID},
                              {"updated", RT_ID}},
                  .keys    = {{"", "id"}, {"idx_itemName", "itemName"}}});

  defs.push_back({.name    = "IMGroup",
                  .charset = kUtf8mb4,
                  .columns = {{"id", "int(11) NOT NULL AUTO_INCREMENT"},
                              {"name", "varchar(256) NOT NULL DEFAULT ''"},
                              {"avatar", "varchar(256) NOT NULL DEFAULT ''"},
                              {"creator", RT_COUNT},
                              {"type", "tinyint(3) unsigned NOT NULL DEFAULT '1'"},
                              {"userCnt", RT_COUNT},
                              {"status", "tinyint(3) unsigned NOT NULL DEFAULT '1'"},
                              {"version", "int(11) unsigned NOT NULL DEFAULT '1'"},
                              {"lastChated", RT_COUNT},
                              {"updated", RT_COUNT},
                              {"created", RT_COUNT}},
                  .keys    = {{"", "id"},  // a group, groups after an id
                              {"idx_name", "name(191)"},
                              {"idx_creator", "creator"}}});

  defs.push_back(
      {.name    = "IMGroupMember",
       .charset = kUtf8,
       .columns = {{"id", "int(11) NOT NULL AUTO_INCREMENT"},
                   {"groupId", RT_ID},
                   {"userId", RT_ID},
                   {"status", "tinyint(4) unsigned NOT NULL DEFAULT '1'"},
                   {"created", RT_COUNT},
                   {"updated", RT_COUNT}},
       .keys    = {{"", "id"},
                   {"idx_groupId_userId_status", "groupId, userId, status"},  // members of a group
                   {"idx_userId_status_updated", "userId, status, updated"},  // groups of a user
                   {"idx_groupId_updated", "groupId, updated"},
                   {"rt_member", "groupId, userId", kUnique, kOurs}}});  // joining: insert or revive

  defs.push_back(
      {.name    = "IMGroupMessage_",
       .copies  = kMessageTables,
       .charset = kUtf8mb4,
       .columns = {{"id", "int(11) NOT NULL AUTO_INCREMENT"},
                   {"groupId", RT_ID},
                   {"userId", RT_ID},
                   {"msgId", RT_ID},
                   {"content", "varchar(4096) NOT NULL DEFAULT ''"},
                   {"type", "tinyint(3) unsigned NOT NULL DEFAULT '2'"},
                   {"status", RT_COUNT},
                   {"updated", RT_COUNT},
                   {"created", RT_COUNT},
                   {"rtSeq", "int(11) unsigned DEFAULT NULL"},
                   {"rtKey", "binary(16) DEFAULT NULL"}},
       .keys    = {{"", "id"},  // newest rows first, for the keys of repeat protection at the start
                   {"idx_groupId_status_created", "groupId, status, created"},
                   // pages of the original's rows
                   {"idx_groupId_msgId_status_created", "groupId, msgId, status, created"},
                   // numbering, pages of our rows, newest of every group (loose scan)
                   {"rt_seq", "groupId, rtSeq", kUnique, kOurs}}});

  defs.push_back(
      {.name    = "IMMessage_",
       .copies  = kMessageTables,
       .charset = kUtf8mb4,
       .columns = {{"id", "int(11) NOT NULL AUTO_INCREMENT"},
                   {"relateId", RT_ID},
                   {"fromId", RT_ID},
                   {"toId", RT_ID},
                   {"msgId", RT_ID},
                   {"content", "varchar(4096) DEFAULT ''"},
                   {"type", "tinyint(2) unsigned NOT NULL DEFAULT '1'"},
                   {"status", "tinyint(1) unsigned NOT NULL DEFAULT '0'"},
                   {"updated", RT_ID},
                   {"created", RT_ID},
                   {"rtSeq", "int(11) unsigned DEFAULT NULL"},
                   {"rtKey", "binary(16) DEFAULT NULL"},
                   {"rtSmall", "int(11) unsigned DEFAULT NULL"}},
       .keys    = {{"", "id"},  // as of groups
                   {"idx_relateId_status_created", "relateId, status, created"},
                   // pages of the original's rows
                   {"idx_relateId_status_msgId_created", "relateId, status, msgId, created"},
                   {"idx_fromId_toId_created", "fromId, toId, status"},
                   // numbering, pages of our rows, newest of every conversation (loose scan)
                   {"rt_seq", "relateId, rtSeq", kUnique, kOurs}}});

  defs.push_back({.name    = "IMRecentSession",
                  .charset = kUtf8,
                  .columns = {{"id", "int(11) NOT NULL AUTO_INCREMENT"},
                              {"userId", RT_ID},
                              {"peerId", RT_ID},
                              {"type", "tinyint(1) unsigned DEFAULT '0'"},
                              {"status", "tinyint(1) unsigned DEFAULT '0'"},
                              {"created", RT_COUNT},
                              {"updated", RT_COUNT}},
                  .keys    = {{"", "id"},
                              {"idx_userId_peerId_status_updated", "userId, peerId, status, updated"},
                              {"idx_userId_peerId_type", "userId, peerId, type"},
                              // a user's list; opening a conversation inserts or revives
                              {"rt_session", "userId, peerId, type", kUnique, kOurs}}});

  defs.push_back({.name    = "IMRelationShip",
                  .charset = kUtf8,
                  .columns = {{"id", "int(11) NOT NULL AUTO_INCREMENT"},
                              {"smallId", RT_ID},
                              {"bigId", RT_ID},
                              {"status", "tinyint(1) unsigned DEFAULT '0'"},
                              {"created", RT_COUNT},
                              {"updated", RT_COUNT}},
                  .keys    = {{"", "id"},  // all relations, at the start
                              {"idx_smallId_bigId_status_updated", "smallId, bigId, status, updated"},
                              {"rt_pair", "smallId, bigId", kUnique,
                               kOurs}}});  // one per pair, whoever is faster

  defs.push_back({.name    = "IMUser",
                  .charset = kUtf8mb4,
                  .columns = {{"id", "int(11) unsigned NOT NULL AUTO_INCREMENT"},
                              {"sex", "tinyint(1) unsigned NOT NULL DEFAULT '0'"},
                              {"name", "varchar(32) NOT NULL DEFAULT ''"},
                              {"domain", "varchar(32) NOT NULL DEFAULT ''"},
                              {"nick", "varchar(32) NOT NULL DEFAULT ''"},
                              {"password", "varchar(32) NOT NULL DEFAULT ''"},
                              {"salt", "varchar(4) NOT NULL DEFAULT ''"},
                              {"phone", "varchar(11) NOT NULL DEFAULT ''"},
                              {"email", "varchar(64) NOT NULL DEFAULT ''"},
                              {"avatar", "varchar(255) DEFAULT ''"},
                              {"departId", RT_ID},
                              {"status", "tinyint(2) unsigned DEFAULT '0'"},
                              {"created", RT_ID},
                              {"updated", RT_ID},
                              {"push_shield_status", "tinyint(1) unsigned NOT NULL DEFAULT '0'"},
                              {"sign_info", "varchar(128) NOT NULL DEFAULT ''"}},
                  .keys    = {{"", "id"},
                              {"idx_domain", "domain"},
                              {"idx_name", "name"},  // login
                              {"idx_phone", "phone"},
                              // edits of other programs, looked for every few seconds
                              {"rt_updated", "updated", false, kOurs},
                              // whether somebody is in a department
                              {"rt_depart", "departId", false, kOurs}}});

  // Not in TeamTalk's schema file: the types are our choice.
  defs.push_back({.name    = "IMTransmitFile",
                  .charset = kUtf8mb4,
                  .columns = {{"id", "int(11) unsigned NOT NULL AUTO_INCREMENT"},
                              {"fromId", RT_ID},
                              {"toId", RT_ID},
                              {"fileName", "varchar(512) NOT NULL DEFAULT ''"},
                              {"size", RT_COUNT},
                              {"taskId", "varchar(64) NOT NULL DEFAULT ''"},
                              {"status", "tinyint(3) unsigned NOT NULL DEFAULT '0'"},
                              {"created", RT_COUNT},
                              {"updated", RT_COUNT}},
                  .keys    = {{"", "id"},
                              // what waits for a user
                              {"idx_toId_status_created", "toId, status, created"}}});

  defs.push_back(
      {.name    = "RTSchema",
       .ours    = kOurs,
       .charset = kAscii,
       .columns = {{"name", "varchar(32) NOT NULL"}, {"value", "bigint unsigned NOT NULL"}},
       .keys    = {{"", "name"}}});

  defs.push_back({.name    = "RTConversation",
                  .ours    = kOurs,
                  .charset = kAscii,
                  .columns = {{"type", "tinyint unsigned NOT NULL"},
                              {"convId", RT_ID},
                              {"newest", RT_COUNT},
                              {"small", RT_COUNT},
                              {"hidden", RT_COUNT},
                              {"time", RT_COUNT}},
                  .keys    = {{"", "type, convId"}}});

  defs.push_back({.name    = "RTMerged",
                  .ours    = kOurs,
                  .charset = kAscii,
                  .columns = {{"relateId", RT_ID}, {"mainId", RT_ID}, {"merged", RT_COUNT}},
                  .keys    = {{"", "relateId"}, {"rt_main", "mainId", false, kOurs}}});

  defs.push_back({.name    = "RTReadCursor",
                  .ours    = kOurs,
                  .charset = kAscii,
                  .columns = {{"userId", RT_ID},
                              {"type", "tinyint unsigned NOT NULL"},
                              {"convId", RT_ID},
                              {"msgId", RT_COUNT},
                              {"updated", RT_COUNT}},
                  .keys    = {{"", "userId, type, convId"}}});  // all, at the start, in this order

  defs.push_back({.name    = "RTSession",
                  .ours    = kOurs,
                  .charset = kAscii,
                  .columns = {{"userId", RT_ID},
                              {"peerId", RT_ID},
                              {"type", "tinyint unsigned NOT NULL"},
                              {"hiddenTo", RT_COUNT}},
                  .keys    = {{"", "userId, peerId, type"}}});

  defs.push_back({.name    = "RTGroupMember",
                  .ours    = kOurs,
                  .charset = kAscii,
                  .columns = {{"groupId", RT_ID},
                              {"userId", RT_ID},
                              {"firstMsgId", RT_COUNT},
                              {"shield", "tinyint unsigned NOT NULL DEFAULT '0'"},
                              {"hiddenTo", RT_COUNT}},
                  .keys    = {{"", "groupId, userId"}, {"rt_user", "userId", false, kOurs}}});

  defs.push_back(
      {.name    = "RTUserSync",
       .ours    = kOurs,
       .charset = kAscii,
       .columns = {{"userId", RT_ID}, {"stamp", RT_COUNT}, {"seen", RT_COUNT}, {"epoch", RT_COUNT}},
       .keys    = {{"", "userId"}, {"rt_stamp", "stamp", false, kOurs}}});  // users since a stamp

  defs.push_back({.name    = "RTDepartSync",
                  .ours    = kOurs,
                  .charset = kAscii,
                  .columns = {{"departId", RT_ID}, {"stamp", RT_COUNT}, {"seen", RT_COUNT}},
                  .keys    = {{"", "departId"}, {"rt_stamp", "stamp", false, kOurs}}});

  defs.push_back({.name    = "RTGroupSync",
                  .ours    = kOurs,
                  .charset = kAscii,
                  .columns = {{"groupId", RT_ID},
                              {"seen", RT_COUNT},
                              {"members", "bigint NOT NULL DEFAULT '0'"}},
                  .keys    = {{"", "groupId"}}});

  defs.push_back({.name    = "RTLane",
                  .ours    = kOurs,
                  .charset = kAscii,
                  .columns = {{"lane", RT_ID}, {"batchNo", "bigint unsigned NOT NULL DEFAULT '0'"}},
                  .keys    = {{"", "lane"}}});

  defs.push_back({.name    = "RTPassword",
                  .ours    = kOurs,
                  .charset = kUtf8mb4,
                  .columns = {{"userId", RT_ID},
                              {"hash", "varchar(128) NOT NULL"},
                              {"password", "varchar(32) NOT NULL DEFAULT ''"},
                              {"salt", "varchar(4) NOT NULL DEFAULT ''"}},
                  .keys    = {{"", "userId"}}});

  defs.push_back({.name    = "RTPushReg",
                  .ours    = kOurs,
                  .charset = kUtf8mb4,
                  .columns = {{"userId", RT_ID},
                              {"deviceId", "varchar(64) NOT NULL DEFAULT ''"},
                              {"serviceType", "tinyint unsigned NOT NULL"},
                              {"packageName", "varchar(128) NOT NULL DEFAULT ''"},
                              {"token", "varchar(512) NOT NULL"},
                              {"appVersion", "varchar(32) NOT NULL DEFAULT ''"},
                              {"updated", RT_COUNT}},
                  .keys    = {{"", "userId, deviceId"},
                              {"rt_token", "token(64)", false, kOurs}}});  // who else has it

  defs.push_back({.name    = "RTAudio",
                  .ours    = kOurs,
                  .charset = kAscii,
                  .columns = {{"audioId", RT_ID}, {"data", "mediumblob NOT NULL"}},
                  .keys    = {{"", "audioId"}}});

  defs.push_back({.name    = "RTClientMsg",
                  .ours    = kOurs,
                  .charset = kUtf8mb4,
                  .columns = {{"userId", RT_ID},
                              {"clientMsgId", "varchar(64) NOT NULL"},
                              {"convType", "tinyint unsigned NOT NULL"},
                              {"convId", RT_ID},
                              {"msgId", RT_ID},
                              {"bodyHash", "binary(16) NOT NULL"},
                              {"created", RT_ID}},
                  .keys    = {{"", "userId, clientMsgId"},
                              {"rt_created", "created", false, kOurs}}});  // those of the last 24 h

  return defs;
}

#undef RT_ID
#undef RT_COUNT

std::string lower(std::string_view text) {
  std::string low(text);
  for (char& c : low) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return low;
}

std::string quoted(std::string_view name) { return "`" + std::string(name) + "`"; }

// "a, b(64)" → "`a`, `b`(64)": `small` and `time` want the quotes.
std::string quoted_columns(std::string_view columns) {
  std::string out;
  while (!columns.empty()) {
    const size_t comma          = columns.find(", ");
    const std::string_view part = columns.substr(0, comma);
    const size_t length         = part.find('(');
    if (!out.empty()) out += ", ";
    out += quoted(part.substr(0, length));
    if (length != std::string_view::npos) out += part.substr(length);
    columns.remove_prefix(comma == std::string_view::npos ? columns.size() : comma + 2);
  }
  return out;
}

std::string key_text(const KeyDef& key) {
  const std::string columns = "(" + quoted_columns(key.columns) + ")";
  if (key.name.empty()) return "PRIMARY KEY " + columns;
  return (key.unique ? "UNIQUE KEY " : "KEY ") + quoted(key.name) + " " + columns;
}

// Without a default a column cannot be added to rows that exist: it is no variant that we know.
bool can_be_added(const ColumnDef& column) {
  return column.type.find("DEFAULT") != std::string_view::npos;
}

// Length of a varchar, 0 for anything else.
uint64_t chars_of(std::string_view type) {
  constexpr std::string_view kVarchar = "varchar(";
  uint64_t chars                      = 0;
  if (type.starts_with(kVarchar))
    std::from_chars(type.data() + kVarchar.size(), type.data() + type.size(), chars);
  return chars;
}

struct FoundColumn {
  std::string name;
  uint64_t chars = 0;
  bool nullable  = false;
};

struct FoundKey {
  bool unique = false;
  std::string columns;  // as in KeyDef, lower case
};

struct FoundTable {
  std::string real;
  std::vector<FoundColumn> columns;
  std::map<std::string, FoundKey> keys;  // by name

  const FoundColumn* column(std::string_view name) const {
    const auto it = std::ranges::find_if(
        columns, [&](const FoundColumn& column) { return lower(column.name) == lower(name); });
    return it == columns.end() ? nullptr : &*it;
  }
  // By what it is of, not by what it is called. A unique one serves where a plain one is wanted.
  bool has(const KeyDef& key) const {
    return std::ranges::any_of(keys, [&](const auto& found) {
      return found.second.columns == lower(key.columns) && (found.second.unique || !key.unique);
    });
  }
};

using Found = std::map<std::string, FoundTable>;  // by lower case name

Answer<Found> read_tables(Connection& connection) {
  Found found;
  auto columns = connection.query(
      "SELECT TABLE_NAME, COLUMN_NAME, COALESCE(CHARACTER_MAXIMUM_LENGTH, 0), IS_NULLABLE = 'YES'"
      " FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()"
      " ORDER BY TABLE_NAME, ORDINAL_POSITION");
  if (!columns) return std::unexpected(columns.error());
  for (size_t row = 0; row < columns->size(); ++row) {
    FoundTable& table           = found[lower(columns->text(row, 0))];
    const std::string_view name = columns->text(row, 0);
    // Of two names that differ in case only the first one counts, as long as it lasts.
    if (table.real.empty()) table.real = name;
    if (table.real != name) continue;
    table.columns.push_back({std::string(columns->text(row, 1)), columns->number(row, 2),
                             columns->number(row, 3) != 0});
  }
  auto keys = connection.query(
      "SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, COALESCE(SUB_PART, 0)"
      " FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE()"
      " ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX");
  if (!keys) return std::unexpected(keys.error());
  for (size_t row = 0; row < keys->size(); ++row) {
    FoundTable& table = found[lower(keys->text(row, 0))];
    if (table.real != keys->text(row, 0)) continue;
    FoundKey& key = table.keys[std::string(keys->text(row, 1))];
    key.unique    = keys->number(row, 2) == 0;
    if (!key.columns.empty()) key.columns += ", ";
    key.columns += lower(keys->text(row, 3));
    if (const uint64_t part = keys->number(row, 4); part > 0)
      key.columns += "(" + std::to_string(part) + ")";
  }
  return found;
}

void compare(const TableDef& def, const std::string& name, const FoundTable& table,
             Inspection& result) {
  TableGap gap{.table = name, .def = &def};
  for (const ColumnDef& column : def.columns) {
    const FoundColumn* found = table.column(column.name);
    if (!found) {
      if (can_be_added(column))
        gap.columns.push_back(&column);
      else
        result.foreign.push_back(name + " has no column " + std::string(column.name));
    } else if (const uint64_t wanted = chars_of(column.type); found->chars < wanted) {
      gap.narrow.push_back(&column);
      gap.narrow_nullable |= found->nullable;
    }
  }
  for (const KeyDef& key : def.keys) {
    if (!table.has(key) && !key.name.empty()) gap.keys.push_back(&key);
  }
  if (!gap.columns.empty() || !gap.narrow.empty() || !gap.keys.empty())
    result.gaps.push_back(std::move(gap));
}

// Hand-made and never used by the engine before it knows its columns: no reason to refuse all the rest.
bool is_optional(const TableDef& def) { return def.name == "IMTransmitFile"; }

Answer<void> read_state(Connection& connection, Inspection& result) {
  auto rows = connection.query(result.names.in("SELECT name, value FROM {RTSchema}"));
  if (!rows) return std::unexpected(rows.error());
  for (size_t row = 0; row < rows->size(); ++row) {
    if (rows->text(row, 0) == "version") result.version = rows->number(row, 1);
    if (rows->text(row, 0) == "handed_back") result.handed_back = rows->number(row, 1);
  }
  return {};
}

Answer<void> read_server(Connection& connection, Inspection& result) {
  auto rows = connection.query(
      "SELECT VERSION(), @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.read_only");
  if (!rows) return std::unexpected(rows.error());
  result.server    = rows->text(0, 0);
  result.mariadb   = lower(result.server).find("mariadb") != std::string::npos;
  result.flush     = static_cast<uint32_t>(rows->number(0, 1));
  result.read_only = rows->number(0, 2) != 0;
  // Array binding came with MariaDB 10.2; its version texts may begin with "5.5.5-" for old clients.
  std::string_view version = result.server;
  if (version.starts_with("5.5.5-")) version.remove_prefix(std::strlen("5.5.5-"));
  uint32_t major = 0, minor = 0;
  const char* const end = version.data() + version.size();
  const auto first      = std::from_chars(version.data(), end, major);
  if (first.ptr != end) std::from_chars(first.ptr + 1, end, minor);
  result.bulk = result.mariadb && (major > 10 || (major == 10 && minor >= 2));
  return {};
}

}  // namespace

std::span<const TableDef> table_defs() {
  static const std::vector<TableDef> defs = make_table_defs();
  return defs;
}

std::string numbered(std::string_view name, uint32_t number) {
  return std::string(name) + std::to_string(number);
}

std::vector<std::string> names_of(const TableDef& def) {
  if (def.copies == 1) return {std::string(def.name)};
  std::vector<std::string> names;
  for (uint32_t i = 0; i < def.copies; ++i) names.push_back(numbered(def.name, i));
  return names;
}

std::string_view TableNames::real(std::string_view name) const {
  const auto it = real_.find(name);
  return it == real_.end() ? name : std::string_view(it->second);
}

std::string TableNames::in(std::string_view sql) const {
  std::string out;
  for (;;) {
    const size_t open = sql.find('{');
    out += sql.substr(0, open);
    if (open == std::string_view::npos) return out;
    const size_t close = sql.find('}', open);
    RT_ASSERT(close != std::string_view::npos);
    out += quoted(real(sql.substr(open + 1, close - open - 1)));
    sql.remove_prefix(close + 1);
  }
}

std::string create_statement(const TableDef& def, std::string_view real_name) {
  std::string sql = "CREATE TABLE IF NOT EXISTS " + quoted(real_name) + " (";
  for (const ColumnDef& column : def.columns)
    sql.append(quoted(column.name)).append(" ").append(column.type).append(", ");
  for (const KeyDef& key : def.keys) sql.append(key_text(key)).append(", ");
  sql.resize(sql.size() - 2);
  return sql.append(") ").append(def.charset);
}

bool TableGap::adds_unique() const {
  return std::ranges::any_of(keys, [](const KeyDef* key) { return key->unique; });
}

std::string alter_statement(const TableGap& gap, std::string_view real_name, bool with_unique) {
  std::string sql;
  const auto add = [&sql](const std::string& part) { sql += (sql.empty() ? "" : ", ") + part; };
  for (const ColumnDef* column : gap.columns)
    add("ADD COLUMN " + quoted(column->name) + " " + std::string(column->type));
  for (const ColumnDef* column : gap.narrow) {
    // A column that may be NULL stays so: rows with NULL would refuse the change.
    std::string type(column->type);
    constexpr std::string_view kNotNull = " NOT NULL";
    const size_t at                     = type.find(kNotNull);
    if (gap.narrow_nullable && at != std::string::npos) type.erase(at, kNotNull.size());
    add("MODIFY COLUMN " + quoted(column->name) + " " + type);
  }
  for (const KeyDef* key : gap.keys) {
    if (!key->unique || with_unique) add("ADD " + key_text(*key));
  }
  return sql.empty() ? sql : "ALTER TABLE " + quoted(real_name) + " " + sql;
}

bool Inspection::has(std::string_view table) const {
  return std::ranges::find(missing, table) == missing.end();
}

const TableGap* Inspection::gap_of(std::string_view table) const {
  const auto it = std::ranges::find(gaps, table, &TableGap::table);
  return it == gaps.end() ? nullptr : &*it;
}

Answer<Inspection> inspect(Connection& connection) {
  Inspection result;
  if (auto read = read_server(connection, result); !read) return std::unexpected(read.error());
  auto found = read_tables(connection);
  if (!found) return std::unexpected(found.error());
  for (const TableDef& def : table_defs()) {
    for (const std::string& name : names_of(def)) {
      const auto it = found->find(lower(name));
      if (it == found->end()) {
        result.missing.push_back(name);
        continue;
      }
      result.names.learn(name, it->second.real);
      const size_t gaps = result.gaps.size(), foreign = result.foreign.size();
      compare(def, name, it->second, result);
      if (is_optional(def) && result.foreign.size() > foreign) {
        result.foreign.resize(foreign);
        result.gaps.resize(gaps);
        result.own_files = true;
      }
    }
  }
  // New tables follow the habit of those that are there.
  if (const auto user = found->find("imuser"); user != found->end()) {
    result.teamtalk = true;
    if (user->second.real == "imuser") {
      for (const std::string& name : result.missing) {
        if (name.starts_with("IM")) result.names.learn(name, lower(name));
      }
    }
    const FoundColumn* signature = user->second.column("sign_info");
    result.signature_chars       = signature ? static_cast<uint32_t>(signature->chars) : 0;
    result.push_shield           = user->second.column("push_shield_status") != nullptr;
  }
  if (result.has("RTSchema")) {
    if (auto read = read_state(connection, result); !read) return std::unexpected(read.error());
  }
  return result;
}

std::string ready(const Inspection& inspection) {
  constexpr const char* kMigrate = "run `ringtalkctl migrate`";
  if (inspection.version > kSchemaVersion)
    return "the schema is of a newer version (" + std::to_string(inspection.version) +
           ", ours is " + std::to_string(kSchemaVersion) + "): use the newer program";
  if (!inspection.teamtalk)
    return std::string("the database has no TeamTalk tables: ") + kMigrate +
           " --apply to make them";
  if (!inspection.foreign.empty())
    return "this is no schema of TeamTalk that we know: " + inspection.foreign.front();
  if (inspection.handed_back != 0)
    return std::string("the database was handed back to the original: ") + kMigrate +
           " to take it over again";
  if (!inspection.missing.empty())
    return "the database has no table " + inspection.missing.front() + ": " + kMigrate;
  if (!inspection.gaps.empty()) {
    const TableGap& gap = inspection.gaps.front();
    if (!gap.columns.empty())
      return gap.table + " has no column " + std::string(gap.columns.front()->name) + ": " +
             kMigrate;
    if (!gap.narrow.empty())
      return gap.table + "." + std::string(gap.narrow.front()->name) +
             " is too narrow: " + kMigrate;
    return gap.table + " has no index on (" + std::string(gap.keys.front()->columns) +
           "): " + kMigrate;
  }
  if (inspection.version < kSchemaVersion)
    return std::string("the database is not (completely) migrated: ") + kMigrate;
  return {};
}

Answer<void> create_tables(Connection& connection, const Inspection& inspection) {
  for (const TableDef& def : table_defs()) {
    for (const std::string& name : names_of(def)) {
      if (inspection.has(name)) continue;
      if (auto made = connection.run(create_statement(def, inspection.names.real(name))); !made)
        return made;
    }
  }
  return {};
}

Answer<void> write_version(Connection& connection) {
  auto done = connection.execute(
      "INSERT INTO RTSchema (name, value) VALUES ('version', ?)"
      " ON DUPLICATE KEY UPDATE value = VALUES(value)",
      {uint64_t{kSchemaVersion}});
  if (!done) return std::unexpected(done.error());
  return {};
}

Answer<void> create_schema(Connection& connection) {
  auto inspection = inspect(connection);
  if (!inspection) return std::unexpected(inspection.error());
  size_t tables = 0;
  for (const TableDef& def : table_defs()) tables += def.copies;
  if (inspection->missing.size() != tables)
    return std::unexpected(Trouble{Fault::other, 0, "the database is not empty"});
  if (auto made = create_tables(connection, *inspection); !made) return made;
  return write_version(connection);
}

}  // namespace ringtalk::store::sql
