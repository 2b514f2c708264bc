// Link: a worker's connection to MySQL, made again when it went, and what its faults mean to a call.
//
// Thread rule  One thread, the worker's.
// Away         Connecting is tried again after 50 ms … 1 s. Where it may wait, a call waits for that until the
//              server has been away for kPatienceNs; after that, and where it may not, calls fail at once.
// Errors       exists: a unique key has the row; refused: the values do not fit, the server is read-only or
//              full; timeout: deadlock or lock wait; unsupported: a table or column is missing; os: the
//              rest. After a fault that ended the transaction (fault() says which) every further call
//              fails with it until open().
// Read-only    A server that has become a replica stays one: the next open() connects again, which finds the
//              new master where a name or a proxy leads to it.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "engine/base/result.h"
#include "engine/base/units.h"
#include "engine/clock.h"
#include "store/mysql/connection.h"

namespace ringtalk::store {

class Link {
 public:
  static constexpr uint64_t kPatienceNs   = 3 * kNsPerS;
  static constexpr uint64_t kBackoffMinNs = 50 * kNsPerMs;
  static constexpr uint64_t kBackoffMaxNs = kNsPerS;

  // may_wait: asked before each wait.
  Link(sql::Connect connect, engine::Clock& clock, std::function<bool()> may_wait)
      : connect_(std::move(connect)), clock_(clock), may_wait_(std::move(may_wait)) {}

  // A connection is there, and no transaction. os: not now.
  Result<void> open();

  Result<sql::Rows> query(std::string_view sql, std::span<const sql::Value> values);
  Result<sql::Done> execute(std::string_view sql, std::span<const sql::Value> values);
  Result<sql::Done> execute_many(std::string_view sql, std::span<const sql::Column> columns,
                                 size_t rows);
  Result<void> run(std::string_view sql);

  Result<sql::Rows> query(std::string_view sql, std::initializer_list<sql::Value> values = {}) {
    return query(sql, std::span(values.begin(), values.size()));
  }
  Result<sql::Done> execute(std::string_view sql, std::initializer_list<sql::Value> values = {}) {
    return execute(sql, std::span(values.begin(), values.size()));
  }

  // What ended the transaction: lost, timeout or conflict.
  std::optional<sql::Fault> fault() const { return fault_; }
  bool lost() const { return fault_ == sql::Fault::lost || fault_ == sql::Fault::timeout; }
  uint64_t connects() const { return connects_; }

 private:
  Result<void> connect();
  std::unexpected<Error> failed(const sql::Trouble& trouble);

  const sql::Connect connect_;
  engine::Clock& clock_;
  const std::function<bool()> may_wait_;
  std::unique_ptr<sql::Connection> connection_;
  std::optional<sql::Fault> fault_;
  bool in_transaction_ = false;
  bool stale_          = false;  // to be replaced when nothing is open on it
  Error why_away_;               // of the last attempt to connect
  uint64_t away_since_ns_ = 0;   // 0: it is not
  uint64_t next_try_ns_   = 0;
  uint64_t backoff_ns_    = 0;
  uint64_t connects_      = 0;
};

Error error_of(const sql::Trouble& trouble);

}  // namespace ringtalk::store
