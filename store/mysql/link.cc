#include "store/mysql/link.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "engine/base/assert.h"
#include "engine/log.h"

namespace ringtalk::store {

Error error_of(const sql::Trouble& trouble) {
  using sql::Fault;
  switch (trouble.fault) {
    case Fault::duplicate: return {Errc::exists};
    case Fault::row:
    case Fault::read_only:
    case Fault::full: return {Errc::refused};
    case Fault::conflict: return {Errc::timeout};
    case Fault::no_such: return {Errc::unsupported};
    case Fault::lost: return Error::from_errno(ECONNRESET);
    case Fault::timeout: return Error::from_errno(ETIMEDOUT);
    case Fault::too_many: return Error::from_errno(EAGAIN);
    case Fault::denied: return Error::from_errno(EACCES);
    case Fault::other: return Error::from_errno(EIO);
  }
  std::unreachable();
}

Result<void> Link::open() {
  fault_.reset();
  if (connection_ && connection_->alive() && !stale_) {
    // What a batch left open when it gave up.
    if (!in_transaction_) return {};
    if (run("ROLLBACK")) return {};
    fault_.reset();
  }
  connection_.reset();
  in_transaction_ = stale_ = false;
  for (;;) {
    const uint64_t now = clock_.now_ns();
    if (now >= next_try_ns_) {
      if (auto made = connect(); made) return {};
    }
    const uint64_t after = clock_.now_ns();
    if (after - away_since_ns_ >= kPatienceNs || !may_wait_()) return std::unexpected(why_away_);
    // In slices: whoever stops us does not wait.
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

Result<void> Link::connect() {
  // A lock that somebody forgot must not be waited for longer than an answer.
  constexpr std::string_view kLockWait = "SET SESSION innodb_lock_wait_timeout = 2";
  auto made                            = connect_();
  if (made)
    if (auto set = (*made)->run(kLockWait); !set) made = std::unexpected(set.error());
  if (made) {
    ++connects_;
    connection_    = std::move(*made);
    away_since_ns_ = next_try_ns_ = backoff_ns_ = 0;
    return {};
  }
  const uint64_t now = clock_.now_ns();
  if (away_since_ns_ == 0) {
    away_since_ns_ = now;
    engine::log::error("mysql_away", {{"number", made.error().number}});
  }
  backoff_ns_  = std::clamp(2 * backoff_ns_, kBackoffMinNs, kBackoffMaxNs);
  next_try_ns_ = now + backoff_ns_;
  why_away_    = error_of(made.error());
  return std::unexpected(why_away_);
}

std::unexpected<Error> Link::failed(const sql::Trouble& trouble) {
  using sql::Fault;
  if (trouble.fault == Fault::lost || trouble.fault == Fault::timeout ||
      trouble.fault == Fault::conflict)
    fault_ = trouble.fault;
  stale_ |= trouble.fault == Fault::read_only;
  return std::unexpected(error_of(trouble));
}

Result<sql::Rows> Link::query(std::string_view sql, std::span<const sql::Value> values) {
  if (fault_) return failed({.fault = *fault_, .text = {}});
  auto rows = connection_->query(sql, values);
  if (!rows) return failed(rows.error());
  return std::move(*rows);
}

Result<sql::Done> Link::execute(std::string_view sql, std::span<const sql::Value> values) {
  if (fault_) return failed({.fault = *fault_, .text = {}});
  auto done = connection_->execute(sql, values);
  if (!done) return failed(done.error());
  return *done;
}

Result<sql::Done> Link::execute_many(std::string_view sql, std::span<const sql::Column> columns,
                                     size_t rows) {
  if (fault_) return failed({.fault = *fault_, .text = {}});
  auto done = connection_->execute_many(sql, columns, rows);
  if (!done) return failed(done.error());
  return *done;
}

Result<void> Link::run(std::string_view sql) {
  if (fault_) return failed({.fault = *fault_, .text = {}});
  auto done = connection_->run(sql);
  if (!done) return failed(done.error());
  if (sql == "BEGIN") in_transaction_ = true;
  if (sql == "COMMIT" || sql == "ROLLBACK") in_transaction_ = false;
  return {};
}

}  // namespace ringtalk::store
