#include "store/mysql/connection.h"

#include <errmsg.h>
#include <mysql.h>
#include <mysqld_error.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <unordered_map>

#include "engine/base/assert.h"

namespace ringtalk::store::sql {

uint64_t Rows::number(size_t row, uint32_t column) const {
  const Cell& cell = at(row, column);
  if (cell.kind != Kind::text) return cell.value;
  uint64_t value              = 0;
  const std::string_view text = this->text(row, column);
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string_view Rows::text(size_t row, uint32_t column) const {
  const Cell& cell = at(row, column);
  return cell.kind == Kind::text ? std::string_view(texts_).substr(cell.value, cell.size)
                                 : std::string_view();
}

namespace {

Fault fault_of(uint32_t number) {
  switch (number) {
    case CR_SERVER_GONE_ERROR:
    case CR_SERVER_LOST:
    case CR_CONNECTION_ERROR:
    case CR_CONN_HOST_ERROR:
    case CR_IPSOCK_ERROR:
    case CR_SOCKET_CREATE_ERROR:
    case CR_UNKNOWN_HOST:
    case CR_MALFORMED_PACKET:
    case CR_COMMANDS_OUT_OF_SYNC:
    case CR_SERVER_LOST_EXTENDED:
    case ER_SERVER_SHUTDOWN:
    case ER_NET_READ_ERROR:
    case ER_NET_READ_INTERRUPTED:
    case ER_NET_ERROR_ON_WRITE:
    case ER_NET_WRITE_INTERRUPTED:
    case ER_NEW_ABORTING_CONNECTION:
    case ER_ABORTING_CONNECTION:
    case ER_CONNECTION_KILLED:
    case ER_QUERY_INTERRUPTED: return Fault::lost;
    case ER_LOCK_DEADLOCK:
    case ER_LOCK_WAIT_TIMEOUT: return Fault::conflict;
    case ER_DUP_ENTRY:
    case ER_DUP_KEY:
    case ER_DUP_ENTRY_WITH_KEY_NAME: return Fault::duplicate;
    case ER_DATA_TOO_LONG:
    case ER_WARN_DATA_OUT_OF_RANGE:
    case ER_TRUNCATED_WRONG_VALUE:
    case ER_TRUNCATED_WRONG_VALUE_FOR_FIELD:
    case ER_BAD_NULL_ERROR:
    case ER_INVALID_CHARACTER_STRING:
    case ER_TOO_BIG_ROWSIZE:
    case ER_NET_PACKET_TOO_LARGE:
    case WARN_DATA_TRUNCATED: return Fault::row;
    case ER_OPTION_PREVENTS_STATEMENT:
    case ER_READ_ONLY_MODE:
    case ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION:
    case ER_OPEN_AS_READONLY: return Fault::read_only;
    case ER_CON_COUNT_ERROR:
    case ER_TOO_MANY_USER_CONNECTIONS:
    case ER_USER_LIMIT_REACHED:
    case ER_OUT_OF_RESOURCES: return Fault::too_many;
    case ER_ACCESS_DENIED_ERROR:
    case ER_ACCESS_DENIED_NO_PASSWORD_ERROR:
    case ER_DBACCESS_DENIED_ERROR:
    case ER_TABLEACCESS_DENIED_ERROR:
    case ER_COLUMNACCESS_DENIED_ERROR:
    case ER_SPECIFIC_ACCESS_DENIED_ERROR:
    case ER_HOST_NOT_PRIVILEGED:
    case ER_HOST_IS_BLOCKED:
    case ER_MUST_CHANGE_PASSWORD:
    case CR_SSL_CONNECTION_ERROR: return Fault::denied;
    case ER_NO_SUCH_TABLE:
    case ER_BAD_FIELD_ERROR:
    case ER_BAD_DB_ERROR: return Fault::no_such;
    case ER_DISK_FULL:
    case ER_RECORD_FILE_FULL: return Fault::full;
    default: return Fault::other;
  }
}

// What a value looks like to the library. Owns nothing.
struct Binding {
  uint64_t number      = 0;
  unsigned long length = 0;
  char indicator       = STMT_INDICATOR_NONE;
};

void bind_value(MYSQL_BIND& bind, Binding& place, const Value& value) {
  bind = {};
  if (std::holds_alternative<std::monostate>(value)) {
    bind.buffer_type = MYSQL_TYPE_NULL;
    return;
  }
  if (const auto* number = std::get_if<uint64_t>(&value)) {
    place.number     = *number;
    bind.is_unsigned = 1;
  } else if (const auto* whole = std::get_if<int64_t>(&value)) {
    place.number = static_cast<uint64_t>(*whole);
  } else {
    const auto* text = std::get_if<std::string_view>(&value);
    const Bytes* raw = std::get_if<Bytes>(&value);
    place.length     = text ? text->size() : raw->size();
    bind.buffer_type = text ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
    bind.buffer = const_cast<void*>(text ? static_cast<const void*>(text->data()) : raw->data());
    bind.buffer_length = place.length;
    bind.length        = &place.length;
    return;
  }
  bind.buffer_type = MYSQL_TYPE_LONGLONG;
  bind.buffer      = &place.number;
}

bool is_whole(enum_field_types type) {
  return type == MYSQL_TYPE_TINY || type == MYSQL_TYPE_SHORT || type == MYSQL_TYPE_INT24 ||
         type == MYSQL_TYPE_LONG || type == MYSQL_TYPE_LONGLONG || type == MYSQL_TYPE_YEAR;
}

class MySql final : public Connection {
 public:
  explicit MySql(MYSQL* handle) : handle_(handle) {
    unsigned long extended = 0;
    mariadb_get_infov(handle_, MARIADB_CONNECTION_EXTENDED_SERVER_CAPABILITIES, &extended);
    bulk_ = (extended & (MARIADB_CLIENT_STMT_BULK_OPERATIONS >> 32)) != 0;
  }
  ~MySql() override {
    for (auto& [sql, statement] : statements_) mysql_stmt_close(statement);
    mysql_close(handle_);
  }
  MySql(const MySql&)            = delete;
  MySql& operator=(const MySql&) = delete;

  using Connection::execute;
  using Connection::query;

  Answer<Rows> query(std::string_view sql, std::span<const Value> values) override {
    auto statement = run_statement(sql, values);
    if (!statement) return std::unexpected(statement.error());
    return fetch(*statement);
  }

  Answer<Done> execute(std::string_view sql, std::span<const Value> values) override {
    auto statement = run_statement(sql, values);
    if (!statement) return std::unexpected(statement.error());
    return Done{mysql_stmt_affected_rows(*statement), mysql_stmt_insert_id(*statement)};
  }

  Answer<Done> execute_many(std::string_view sql, std::span<const Column> columns,
                            size_t rows) override {
    if (rows == 0) return Done{};
    return bulk_ ? execute_array(sql, columns, rows) : execute_rows(sql, columns, rows);
  }

  Answer<void> run(std::string_view sql) override {
    if (!alive_) return gone();
    if (mysql_real_query(handle_, sql.data(), sql.size()) != 0)
      return trouble(mysql_errno(handle_), mysql_error(handle_));
    // A statement with a result would leave the line out of step.
    if (MYSQL_RES* result = mysql_store_result(handle_)) mysql_free_result(result);
    return {};
  }

  bool alive() const override { return alive_; }

 private:
  static constexpr size_t kRowsPerStatement = 64;  // without array binding

  std::unexpected<Trouble> gone() const {
    return std::unexpected(Trouble{Fault::lost, CR_SERVER_GONE_ERROR, "the connection is gone"});
  }
  std::unexpected<Trouble> trouble(uint32_t number, const char* text) {
    const Fault fault = fault_of(number);
    if (fault == Fault::lost || fault == Fault::timeout) alive_ = false;
    return std::unexpected(Trouble{fault, number, text});
  }
  std::unexpected<Trouble> trouble(MYSQL_STMT* statement) {
    return trouble(mysql_stmt_errno(statement), mysql_stmt_error(statement));
  }

  Answer<MYSQL_STMT*> prepared(std::string_view sql) {
    if (!alive_) return gone();
    const auto known = statements_.find(std::string(sql));
    if (known != statements_.end()) return known->second;
    MYSQL_STMT* statement = mysql_stmt_init(handle_);
    RT_ASSERT(statement != nullptr);
    const bool yes = true;
    mysql_stmt_attr_set(statement, STMT_ATTR_UPDATE_MAX_LENGTH, &yes);
    if (mysql_stmt_prepare(statement, sql.data(), sql.size()) != 0) {
      auto error = trouble(statement);
      mysql_stmt_close(statement);
      return error;
    }
    statements_.emplace(sql, statement);
    return statement;
  }

  Answer<MYSQL_STMT*> run_statement(std::string_view sql, std::span<const Value> values) {
    auto statement = prepared(sql);
    if (!statement) return statement;
    RT_ASSERT(mysql_stmt_param_count(*statement) == values.size());
    binds_.resize(values.size());
    places_.assign(values.size(), {});
    for (size_t i = 0; i < values.size(); ++i) bind_value(binds_[i], places_[i], values[i]);
    if ((!values.empty() && mysql_stmt_bind_param(*statement, binds_.data()) != 0) ||
        mysql_stmt_execute(*statement) != 0)
      return trouble(*statement);
    return statement;
  }

  Answer<Rows> fetch(MYSQL_STMT* statement) {
    MYSQL_RES* about = mysql_stmt_result_metadata(statement);
    if (!about) return Rows();
    if (mysql_stmt_store_result(statement) != 0) {
      auto error = trouble(statement);
      mysql_free_result(about);
      return error;
    }
    const uint32_t columns    = mysql_num_fields(about);
    const MYSQL_FIELD* fields = mysql_fetch_fields(about);
    std::vector<MYSQL_BIND> binds(columns);
    std::vector<uint64_t> numbers(columns);
    std::vector<unsigned long> lengths(columns);
    std::vector<my_bool> nulls(columns);
    std::vector<std::string> texts(columns);
    for (uint32_t i = 0; i < columns; ++i) {
      binds[i]         = {};
      binds[i].is_null = &nulls[i];
      binds[i].length  = &lengths[i];
      if (is_whole(fields[i].type)) {
        binds[i].buffer_type = MYSQL_TYPE_LONGLONG;
        binds[i].buffer      = &numbers[i];
        binds[i].is_unsigned = (fields[i].flags & UNSIGNED_FLAG) != 0;
      } else {
        texts[i].resize(std::max<size_t>(fields[i].max_length, 1));
        binds[i].buffer_type   = MYSQL_TYPE_STRING;
        binds[i].buffer        = texts[i].data();
        binds[i].buffer_length = texts[i].size();
      }
    }
    mysql_stmt_bind_result(statement, binds.data());
    Rows rows(columns);
    int code = 0;
    while ((code = mysql_stmt_fetch(statement)) == 0) {
      for (uint32_t i = 0; i < columns; ++i) {
        if (nulls[i])
          rows.add_null();
        else if (is_whole(fields[i].type))
          rows.add(numbers[i]);
        else
          rows.add(std::string_view(texts[i].data(), lengths[i]));
      }
    }
    RT_ASSERT(code != MYSQL_DATA_TRUNCATED);
    mysql_free_result(about);
    mysql_stmt_free_result(statement);
    if (code != MYSQL_NO_DATA) return trouble(statement);
    return rows;
  }

  Answer<Done> execute_array(std::string_view sql, std::span<const Column> columns, size_t rows) {
    auto statement = prepared(sql);
    if (!statement) return std::unexpected(statement.error());
    RT_ASSERT(mysql_stmt_param_count(*statement) == columns.size());
    unsigned int count = static_cast<unsigned int>(rows);
    mysql_stmt_attr_set(*statement, STMT_ATTR_ARRAY_SIZE, &count);
    binds_.assign(columns.size(), {});
    pointers_.resize(columns.size());
    lengths_.resize(columns.size());
    for (size_t i = 0; i < columns.size(); ++i) {
      const Column& column = columns[i];
      MYSQL_BIND& bind     = binds_[i];
      if (!column.numbers.empty()) {
        RT_ASSERT(column.numbers.size() == rows);
        bind.buffer_type = MYSQL_TYPE_LONGLONG;
        bind.is_unsigned = 1;
        bind.buffer      = const_cast<uint64_t*>(column.numbers.data());
      } else {
        RT_ASSERT(column.texts.size() == rows);
        pointers_[i].resize(rows);
        lengths_[i].resize(rows);
        for (size_t row = 0; row < rows; ++row) {
          pointers_[i][row] = const_cast<char*>(column.texts[row].data());
          lengths_[i][row]  = column.texts[row].size();
        }
        bind.buffer_type = MYSQL_TYPE_STRING;
        bind.buffer      = pointers_[i].data();
        bind.length      = lengths_[i].data();
      }
      if (!column.nulls.empty()) bind.u.indicator = const_cast<char*>(column.nulls.data());
    }
    static_assert(STMT_INDICATOR_NONE == 0 && STMT_INDICATOR_NULL == 1, "Column::nulls as it is");
    Answer<Done> done;
    if (mysql_stmt_bind_param(*statement, binds_.data()) != 0 ||
        mysql_stmt_execute(*statement) != 0)
      done = trouble(*statement);
    else
      done = Done{mysql_stmt_affected_rows(*statement), mysql_stmt_insert_id(*statement)};
    count = 0;  // the next execute() of the same text has one row
    mysql_stmt_attr_set(*statement, STMT_ATTR_ARRAY_SIZE, &count);
    return done;
  }

  // "… VALUES (?, ?) …" → "… VALUES (?, ?), (?, ?), … …"
  Answer<Done> execute_rows(std::string_view sql, std::span<const Column> columns, size_t rows) {
    constexpr std::string_view kBefore = "VALUES ";
    const size_t open                  = sql.find(kBefore) + kBefore.size();
    const size_t end                   = sql.find(')', open) + 1;
    RT_ASSERT(open > kBefore.size() && end > open);
    const std::string_view row_text = sql.substr(open, end - open);
    Done sum;
    std::vector<Value> values;
    for (size_t first = 0; first < rows;) {
      const size_t count = rows - first >= kRowsPerStatement ? kRowsPerStatement : 1;
      std::string text(sql.substr(0, end));
      for (size_t i = 1; i < count; ++i) text.append(", ").append(row_text);
      text.append(sql.substr(end));
      values.clear();
      for (size_t row = first; row < first + count; ++row) {
        for (const Column& column : columns) {
          if (!column.nulls.empty() && column.nulls[row])
            values.push_back(std::monostate());
          else if (!column.numbers.empty())
            values.push_back(column.numbers[row]);
          else
            values.push_back(column.texts[row]);
        }
      }
      auto done = execute(text, std::span<const Value>(values));
      if (!done) return done;
      sum.rows += done->rows;
      if (first == 0) sum.insert_id = done->insert_id;
      first += count;
    }
    return sum;
  }

  MYSQL* const handle_;
  bool alive_ = true;
  bool bulk_  = false;
  std::unordered_map<std::string, MYSQL_STMT*> statements_;
  std::vector<MYSQL_BIND> binds_;
  std::vector<Binding> places_;
  std::vector<std::vector<char*>> pointers_;
  std::vector<std::vector<unsigned long>> lengths_;
};

}  // namespace

Answer<std::unique_ptr<Connection>> connect(const Server& server) {
  MYSQL* handle = mysql_init(nullptr);
  RT_ASSERT(handle != nullptr);
  const auto seconds           = [](uint32_t ms) { return std::max(1u, (ms + 999) / 1000); };
  const unsigned int connect_s = seconds(server.connect_timeout_ms);
  const unsigned int read_s    = seconds(server.read_timeout_ms);
  const unsigned int write_s   = seconds(server.write_timeout_ms);
  const my_bool no = 0, yes = 1;
  mysql_options(handle, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
  mysql_options(handle, MYSQL_OPT_READ_TIMEOUT, &read_s);
  mysql_options(handle, MYSQL_OPT_WRITE_TIMEOUT, &write_s);
  mysql_options(handle, MYSQL_OPT_RECONNECT, &no);
  mysql_options(handle, MYSQL_SET_CHARSET_NAME, "utf8mb4");
  mysql_options(handle, MYSQL_OPT_LOCAL_INFILE, &no);
  if (server.tls || !server.tls_ca.empty()) {
    const auto path = [](const std::string& text) { return text.empty() ? nullptr : text.c_str(); };
    mysql_ssl_set(handle, path(server.tls_key), path(server.tls_cert), path(server.tls_ca), nullptr,
                  nullptr);
    mysql_options(handle, MYSQL_OPT_SSL_ENFORCE, &yes);
    const my_bool& verify = server.tls_ca.empty() ? no : yes;
    mysql_options(handle, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
  }
  // The variable of the isolation level has two names, by the server's age; this statement has one.
  mysql_options(handle, MYSQL_INIT_COMMAND,
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
  mysql_options(handle, MYSQL_INIT_COMMAND,
                "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', "
                "SESSION time_zone = '+00:00', SESSION autocommit = 1");
  const bool local = !server.socket.empty();
  if (!mysql_real_connect(handle, local ? nullptr : server.host.c_str(), server.user.c_str(),
                          server.password.c_str(), server.database.c_str(), local ? 0 : server.port,
                          local ? server.socket.c_str() : nullptr, 0)) {
    Trouble trouble{fault_of(mysql_errno(handle)), mysql_errno(handle), mysql_error(handle)};
    mysql_close(handle);
    return std::unexpected(std::move(trouble));
  }
  return std::make_unique<MySql>(handle);
}

}  // namespace ringtalk::store::sql
