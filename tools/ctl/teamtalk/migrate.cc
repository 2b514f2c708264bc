#include "tools/ctl/teamtalk/migrate.h"

#include <fmt/format.h>

#include <stdexcept>

namespace ringtalk::ctl {

namespace {

using store::sql::TableDef;
using store::sql::TableGap;

void create(Database& database, const Progress& progress) {
  auto made = store::sql::create_tables(database.connection(), database.inspection());
  if (!made) throw std::runtime_error("MySQL: " + made.error().text);
  progress(fmt::format("tables: {} made", database.inspection().missing.size()));
  database.inspect();
}

// All that a table lacks in one statement: each copies the table, or at least reads it.
void alter(Database& database, const Progress& progress) {
  const auto gaps = database.inspection().gaps;  // the inspection changes meanwhile
  for (const TableGap& gap : gaps) {
    progress(fmt::format("{}: adding what it lacks", gap.table));
    database.run(store::sql::alter_statement(gap, database.inspection().names.real(gap.table),
                                             /*with_unique=*/true));
  }
  progress(fmt::format("tables: {} altered", gaps.size()));
  database.inspect();
}

// What ringtalk numbered before a handback is the original's now, as what that wrote since.
uint64_t give_up_numbers(Database& database, const Progress& progress) {
  constexpr uint64_t kRowsAtOnce = 20'000;
  uint64_t rows                  = 0;
  for (const TableDef& def : store::sql::table_defs()) {
    if (def.copies == 1) continue;
    const bool single = def.name == "IMMessage_";
    for (const std::string& name : store::sql::names_of(def)) {
      const uint64_t end = database.number("SELECT COALESCE(MAX(id), 0) FROM {" + name + "}");
      for (uint64_t from = 0; from < end; from += kRowsAtOnce) {
        rows +=
            database
                .execute(fmt::format("UPDATE {{{}}} SET rtSeq = NULL, rtKey = NULL{} WHERE id > ?"
                                     " AND id <= ? AND rtSeq IS NOT NULL",
                                     name, single ? ", rtSmall = NULL" : ""),
                         {from, from + kRowsAtOnce})
                .rows;
      }
    }
  }
  progress(fmt::format("taking over again: {} messages of ours are the original's now", rows));
  return rows;
}

bool ringtalk_was_here(Database& database) {
  return database.inspection().handed_back != 0 ||
         database.number("SELECT COUNT(*) FROM {RTLane}") > 0;
}

void finish(Database& database) {
  Transaction transaction(database);
  auto written = store::sql::write_version(database.connection());
  if (!written) throw std::runtime_error("MySQL: " + written.error().text);
  database.execute("DELETE FROM {RTSchema} WHERE name = 'handed_back'");
  transaction.commit();
  database.inspect();
  if (const std::string lacks = store::sql::ready(database.inspection()); !lacks.empty())
    throw std::runtime_error("still not ready: " + lacks);
}

}  // namespace

std::string refusal(const store::sql::Inspection& inspection) {
  if (inspection.version > store::sql::kSchemaVersion)
    return fmt::format("the schema is of a newer version ({}): it is left untouched",
                       inspection.version);
  if (!inspection.foreign.empty()) {
    return fmt::format("this is no schema of TeamTalk that we know: {}; nothing is guessed",
                       fmt::join(inspection.foreign, "; "));
  }
  if (inspection.read_only) return "the server is read-only: name the master";
  return {};
}

bool up_to_date(const store::sql::Inspection& inspection) {
  return store::sql::ready(inspection).empty();
}

std::vector<std::string> planned_statements(const store::sql::Inspection& inspection) {
  std::vector<std::string> statements;
  for (const TableDef& def : store::sql::table_defs()) {
    for (const std::string& name : store::sql::names_of(def)) {
      const std::string_view real = inspection.names.real(name);
      if (!inspection.has(name)) {
        statements.push_back(store::sql::create_statement(def, real));
      } else if (const TableGap* gap = inspection.gap_of(name)) {
        statements.push_back(store::sql::alter_statement(*gap, real, true));
      }
    }
  }
  return statements;
}

uint64_t original_silent_s(RedisPools& redis) {
  // Its group job writes the key every five seconds; a clock that is behind ours counts as now.
  const std::vector<std::string> key{"last_update_group"};
  const auto last    = redis.numbers(Pool::unread, key).front().value_or(0);
  const uint64_t now = redis.now(Pool::unread);
  return now > last ? now - last : 0;
}

Migrated migrate(Database& database, RedisPools* redis, const Progress& progress) {
  Migrated done;
  if (up_to_date(database.inspection())) return done;
  const bool had_version = database.inspection().version != 0;
  create(database, progress);
  done.settled = settle(database, redis, progress);
  alter(database, progress);
  // A schema that somebody took a key from is mended; what the engine wrote meanwhile stays as it is.
  if (!had_version) {
    if (ringtalk_was_here(database)) done.renumbered = give_up_numbers(database, progress);
    done.taken = TakeOver(database, redis, /*write=*/true, progress).run();
  }
  finish(database);
  progress("version written: ringtalkd may start");
  return done;
}

}  // namespace ringtalk::ctl
