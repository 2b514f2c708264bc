// Database: the MySQL side of a TeamTalk site, for tools: what goes wrong is thrown.
//
// Texts   name our tables in braces, "{IMUser}": the site may write them in lower case.
// Errors  std::runtime_error with the statement and the server's words.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/mysql/connection.h"
#include "store/mysql/schema.h"

namespace ringtalk::ctl {

class Database {
 public:
  explicit Database(const store::sql::Server& server);

  store::sql::Connection& connection() { return *connection_; }
  // Looks again: names and gaps are those of now.
  const store::sql::Inspection& inspect();
  const store::sql::Inspection& inspection() const { return inspection_; }

  store::sql::Rows rows(std::string_view sql,
                        std::initializer_list<store::sql::Value> values = {}) {
    return rows(sql, std::span(values.begin(), values.size()));
  }
  store::sql::Rows rows(std::string_view sql, std::span<const store::sql::Value> values);
  // The first column of the first row, 0 without one.
  uint64_t number(std::string_view sql, std::initializer_list<store::sql::Value> values = {});
  // Rows affected.
  store::sql::Done execute(std::string_view sql,
                           std::initializer_list<store::sql::Value> values = {});
  void run(std::string_view sql);

 private:
  friend class NumberRows;
  std::unique_ptr<store::sql::Connection> connection_;
  store::sql::Inspection inspection_;
};

// Committed by commit(), or undone.
class Transaction {
 public:
  explicit Transaction(Database& database) : database_(database) { database_.run("BEGIN"); }
  ~Transaction();
  Transaction(const Transaction&)            = delete;
  Transaction& operator=(const Transaction&) = delete;

  void commit();

 private:
  Database& database_;
  bool open_ = true;
};

// Rows of numbers on their way into a table, some thousand in a transaction.
class NumberRows {
 public:
  // "INSERT … VALUES (?, ?)"; for whom commits himself `own_transaction` is false.
  NumberRows(Database& database, std::string_view sql, size_t columns, bool own_transaction = true);

  void add(std::initializer_list<uint64_t> row);
  // What is left; to be called at the end.
  void flush();
  uint64_t count() const { return count_; }

 private:
  static constexpr size_t kRows = 5000;

  Database& database_;
  const std::string sql_;
  const bool own_transaction_;
  std::vector<std::vector<uint64_t>> columns_;
  uint64_t count_ = 0;
};

}  // namespace ringtalk::ctl
