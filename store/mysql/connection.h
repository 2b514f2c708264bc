// Connection: one conversation with a MySQL or MariaDB server, blocking, behind an interface that a test
// or a simulator fakes.
//
// Thread rule  One thread at a time; workers own theirs. Never on a shard's thread.
// Statements   Prepared, one per text, kept for the life of the connection: texts are constants of ours and
//              values are bound, never pasted.
// Session      autocommit, READ COMMITTED, utf8mb4, STRICT_TRANS_TABLES, time zone UTC. No reconnect by
//              itself: what was open on a lost connection is gone, and its owner has to know.
// Errors       Trouble says what the owner can do about it. After `lost` or `timeout` the connection is
//              closed, every further call answers `lost`, and what the last call did is unknown.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/base/bytes.h"

namespace ringtalk::store::sql {

enum class Fault : uint8_t {
  lost,     // the connection went, or could not be made: it is unknown whether the call took effect
  timeout,  // as lost, but by our own patience
  conflict,  // deadlock or lock wait: the transaction was rolled back, it may succeed when repeated
  duplicate,  // a unique key has the row already
  row,        // the values of one row do not fit: too long, out of range, bad characters
  read_only,  // the server refuses writes for now
  too_many,   // no connection is free at the server
  denied,     // user, password, rights, TLS: not before somebody changes a setting
  no_such,    // table or column
  full,       // the server's disk or table is full
  other,
};

struct Trouble {
  Fault fault     = Fault::other;
  uint32_t number = 0;  // of MySQL, 0: none
  std::string text;     // the server's words, without values
};

template <class T>
using Answer = std::expected<T, Trouble>;

// std::monostate: NULL. Text and bytes are valid during the call only.
using Value = std::variant<std::monostate, uint64_t, int64_t, std::string_view, Bytes>;

// A result, whole in memory: the statement bounds it.
class Rows {
 public:
  Rows() = default;
  explicit Rows(uint32_t columns) : columns_(columns) {}

  size_t size() const { return columns_ == 0 ? 0 : cells_.size() / columns_; }
  bool empty() const { return cells_.empty(); }
  uint32_t columns() const { return columns_; }
  bool null(size_t row, uint32_t column) const { return at(row, column).kind == Kind::null; }
  // 0 for NULL; a text of digits counts as its number; a negative number as its two's complement.
  uint64_t number(size_t row, uint32_t column) const;
  // Empty for NULL and numbers; valid as long as the rows.
  std::string_view text(size_t row, uint32_t column) const;

  // Row by row, column by column.
  void add_null() { cells_.push_back({}); }
  void add(uint64_t number) { cells_.push_back({Kind::number, 0, number}); }
  void add(std::string_view text) {
    cells_.push_back({Kind::text, static_cast<uint32_t>(text.size()), texts_.size()});
    texts_.append(text);
  }

 private:
  enum class Kind : uint8_t { null, number, text };
  struct Cell {
    Kind kind      = Kind::null;
    uint32_t size  = 0;  // of a text
    uint64_t value = 0;  // or where the text begins in texts_
  };
  const Cell& at(size_t row, uint32_t column) const { return cells_[row * columns_ + column]; }

  uint32_t columns_ = 0;
  std::vector<Cell> cells_;
  std::string texts_;
};

struct Done {
  uint64_t rows      = 0;  // affected; a row that was found but not different is not
  uint64_t insert_id = 0;  // of the first row
};

// Values of one column for many rows: either numbers or texts, of the length of the table.
struct Column {
  std::span<const uint64_t> numbers;
  std::span<const std::string_view> texts;
  std::span<const char> nulls;  // empty: none is NULL; else 1 where it is
};

class Connection {
 public:
  virtual ~Connection() = default;

  virtual Answer<Rows> query(std::string_view sql, std::span<const Value> values)   = 0;
  virtual Answer<Done> execute(std::string_view sql, std::span<const Value> values) = 0;
  // `sql` has one row, "… VALUES (?, ?, …) …". Array binding where the server knows it (MariaDB), else
  // statements of several rows. All rows or none if the caller is in a transaction and rolls back.
  virtual Answer<Done> execute_many(std::string_view sql, std::span<const Column> columns,
                                    size_t rows) = 0;
  // Without values: BEGIN, COMMIT, ROLLBACK, DDL.
  virtual Answer<void> run(std::string_view sql) = 0;

  Answer<Rows> query(std::string_view sql, std::initializer_list<Value> values = {}) {
    return query(sql, std::span(values.begin(), values.size()));
  }
  Answer<Done> execute(std::string_view sql, std::initializer_list<Value> values = {}) {
    return execute(sql, std::span(values.begin(), values.size()));
  }

  // False once it is lost.
  virtual bool alive() const = 0;
};

struct Server {
  std::string host = "127.0.0.1";
  uint16_t port    = 3306;
  std::string socket;  // instead of host and port, if not empty
  std::string database = "teamtalk";
  std::string user, password;
  std::string tls_ca;  // PEM file; with one, TLS is demanded and the server's name checked
  std::string tls_cert, tls_key;
  bool tls                    = false;
  uint32_t connect_timeout_ms = 2000;
  uint32_t read_timeout_ms    = 4000;  // whole seconds are what the library knows: rounded up
  uint32_t write_timeout_ms   = 4000;
};

using Connect = std::function<Answer<std::unique_ptr<Connection>>()>;

// With libmariadb.
Answer<std::unique_ptr<Connection>> connect(const Server& server);

}  // namespace ringtalk::store::sql
