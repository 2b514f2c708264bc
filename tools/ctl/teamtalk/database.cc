#include "tools/ctl/teamtalk/database.h"

#include <fmt/format.h>

#include <stdexcept>

#include "engine/base/assert.h"

namespace ringtalk::ctl {

namespace sql = store::sql;

namespace {

template <class T>
T value_of(sql::Answer<T> answer, std::string_view what) {
  if (!answer) {
    throw std::runtime_error(fmt::format("MySQL: {} ({}); it was: {}", answer.error().text,
                                         answer.error().number, what.substr(0, 200)));
  }
  if constexpr (!std::is_void_v<T>) return std::move(*answer);
}

}  // namespace

Database::Database(const sql::Server& server) {
  auto connected = sql::connect(server);
  if (!connected) {
    throw std::runtime_error(fmt::format(
        "cannot connect to MySQL at {} as {}: {}",
        server.socket.empty() ? fmt::format("{}:{}", server.host, server.port) : server.socket,
        server.user, connected.error().text));
  }
  connection_ = std::move(*connected);
  inspect();
}

const sql::Inspection& Database::inspect() {
  inspection_ = value_of(sql::inspect(*connection_), "looking at the schema");
  return inspection_;
}

sql::Rows Database::rows(std::string_view text, std::span<const sql::Value> values) {
  return value_of(connection_->query(inspection_.names.in(text), values), text);
}

uint64_t Database::number(std::string_view text, std::initializer_list<sql::Value> values) {
  const sql::Rows found = rows(text, values);
  return found.empty() ? 0 : found.number(0, 0);
}

sql::Done Database::execute(std::string_view text, std::initializer_list<sql::Value> values) {
  return value_of(connection_->execute(inspection_.names.in(text), values), text);
}

void Database::run(std::string_view text) {
  value_of(connection_->run(inspection_.names.in(text)), text);
}

Transaction::~Transaction() {
  // Without an answer the server undoes it by itself, as the connection is gone.
  if (open_) (void)database_.connection().run("ROLLBACK");
}

void Transaction::commit() {
  database_.run("COMMIT");
  open_ = false;
}

NumberRows::NumberRows(Database& database, std::string_view text, size_t columns,
                       bool own_transaction)
    : database_(database),
      sql_(database.inspection().names.in(text)),
      own_transaction_(own_transaction),
      columns_(columns) {}

void NumberRows::add(std::initializer_list<uint64_t> row) {
  RT_ASSERT(row.size() == columns_.size());
  size_t column = 0;
  for (const uint64_t value : row) columns_[column++].push_back(value);
  ++count_;
  if (columns_.front().size() == kRows) flush();
}

void NumberRows::flush() {
  const size_t rows = columns_.front().size();
  if (rows == 0) return;
  std::vector<sql::Column> bound;
  for (const auto& column : columns_) bound.push_back({.numbers = column});
  const auto write = [&] {
    value_of(database_.connection().execute_many(sql_, bound, rows), sql_);
  };
  if (own_transaction_) {
    Transaction transaction(database_);
    write();
    transaction.commit();
  } else {
    write();
  }
  for (auto& column : columns_) column.clear();
}

}  // namespace ringtalk::ctl
