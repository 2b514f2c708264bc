// Sqlite, Statement, Query: the little of SQLite's C interface that we use, with Result for its
// codes.
//
// Thread rule  One thread at a time for a database and its statements (opened without SQLite's
//              mutexes).
// Bound        A value is at most kValueBytesMax; longer ones answer Errc::too_large.
// Errors       see error_of(): exists, refused (disk full, a CHECK), timeout (locked), corrupt,
//              too_large, os. Each but exists and refused by a rule is also logged, with SQLite's
//              text.
// Failed sync  sync_failed() from then on; see error_of() and on_commit(). SQLite itself would go on:
//              it takes the success of a later sync for that of the lost bytes.
// Why          SQL text is a literal of ours, values are bound: nothing a client sends is ever
//              parsed. Text is stored and compared byte by byte, whatever bytes it holds.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/result.h"
#include "engine/base/units.h"

namespace ringtalk::store {

class Sqlite {
 public:
  static constexpr int kValueBytesMax = 1 * kMiB;

  struct Options {
    std::string path;
    std::string vfs_name;  // empty: SQLite's own
    int busy_ms = 2000;    // how long a lock of another process is waited for
    // Nobody else may open the file: for a VFS without shared memory, and what a file is opened as
    // anyway when the disk has no room for it (logged: sqlite_exclusive).
    bool exclusive = false;
  };

  Sqlite() = default;
  ~Sqlite();
  Sqlite(const Sqlite&)            = delete;
  Sqlite& operator=(const Sqlite&) = delete;

  // Opens or creates the file; changes nothing in one that exists until tune() is called.
  Result<void> open(const Options& options);
  // Writes the write-ahead log's own bytes over it and syncs. After a failed sync, until the machine
  // restarts, reads show bytes that the disk never got and that no sync would write: whoever goes on
  // behind them builds on nothing. To be called before the connection that goes on recovers them.
  Result<void> renew_wal();
  // WAL, FULL, and the settings that distrust the file. Only for a file known to be ours.
  Result<void> tune();
  // One literal, or several with semicolons.
  Result<void> execute(const char* sql);
  Result<int64_t> number(const char* sql);  // the first column of the first row

  bool in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }
  int64_t last_insert_id() const { return sqlite3_last_insert_rowid(db_); }
  int64_t changes() const { return sqlite3_changes64(db_); }
  sqlite3* raw() const { return db_; }

  // A sync failed, once: nothing that is committed later is durable. Closing does not write then.
  bool sync_failed() const { return sync_failed_.has_value(); }
  Error sync_failure() const { return *sync_failed_; }

  Error error_of(int code);

 private:
  Result<void> connect();
  void close();
  static int on_commit(void* self, sqlite3* db, const char* name, int wal_pages);

  sqlite3* db_ = nullptr;
  std::optional<Error> sync_failed_;
  Options options_;
};

// Prepared once, run many times. Before its database in destruction order.
class Statement {
 public:
  Statement() = default;
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&)            = delete;
  Statement& operator=(const Statement&) = delete;

  Result<void> prepare(Sqlite& db, std::string_view sql);

 private:
  friend class Query;
  Sqlite* db_              = nullptr;
  sqlite3_stmt* statement_ = nullptr;
};

// One run of a statement; at its end the statement is reset. What is bound outlives the query.
class Query {
 public:
  explicit Query(Statement& statement) : db_(*statement.db_), statement_(statement.statement_) {}
  ~Query();
  Query(const Query&)            = delete;
  Query& operator=(const Query&) = delete;

  Query& bind(int index, int64_t value);
  Query& bind(int index, std::string_view text);

  Result<bool> step();  // true: a row is there
  Result<void> run();   // for statements without rows
  void reset();         // to run again; bindings stay

  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  std::string text(int column) const;

 private:
  Sqlite& db_;
  sqlite3_stmt* statement_;
  int failed_ = SQLITE_OK;  // of a bind; step() tells it
};

}  // namespace ringtalk::store
