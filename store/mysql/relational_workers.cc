#include "store/mysql/relational_workers.h"

#include "engine/log.h"

namespace ringtalk::store {

// --- writer ----------------------------------------------------------------------------------------------

RelationalWriter::RelationalWriter(sql::Connect connect, engine::Clock& clock, uint32_t shards,
                                   uint32_t jobs_max, uint32_t batch_max, uint32_t lane)
    : Worker(shards, jobs_max, batch_max),
      clock_(clock),
      lane_(lane),
      link_(std::move(connect), clock, [this] { return may_wait(); }) {}

namespace {

constexpr std::string_view kFindBatch = "SELECT batchNo FROM RTLane WHERE lane = ? FOR UPDATE";
constexpr std::string_view kWriteBatch =
    "INSERT INTO RTLane (lane, batchNo) VALUES (?, ?)"
    " ON DUPLICATE KEY UPDATE batchNo = VALUES(batchNo)";

}  // namespace

Result<void> RelationalWriter::open() {
  if (auto opened = link_.open(); !opened) return opened;
  figures_.connects = link_.connects();
  const auto rows   = link_.query(kFindBatch, {uint64_t{lane_}});
  if (!rows) return std::unexpected(rows.error());
  batch_no_ = rows->empty() ? 0 : rows->number(0, 0);
  return {};
}

// The batch: its calls have only been noted so far. Each has its result afterwards, so it never fails.
Result<void> RelationalWriter::commit() {
  figures_.calls.fetch_add(batch_.size(), std::memory_order_relaxed);
  const uint64_t began = clock_.now_ns();
  for (uint32_t attempt = 1;; ++attempt) {
    Outcome outcome = Outcome::refused;
    if (const auto opened = link_.open(); opened) {
      outcome = write_batch();
      if (outcome == Outcome::unknown) outcome = find_out();
    } else {
      error_ = opened.error();
    }
    figures_.connects.store(link_.connects(), std::memory_order_relaxed);
    if (link_.fault() == sql::Fault::conflict)
      figures_.conflicts.fetch_add(1, std::memory_order_relaxed);
    const bool tired = attempt == kAttemptsMax || clock_.now_ns() - began >= Link::kPatienceNs;
    if (outcome == Outcome::not_written && !tired) continue;
    if (outcome == Outcome::unknown) error_ = {Errc::timeout};
    if (outcome != Outcome::committed) refuse_all(error_);
    break;
  }
  batch_.clear();
  return {};
}

RelationalWriter::Outcome RelationalWriter::write_batch() {
  bool wrote = false;
  auto ran   = link_.run("BEGIN");
  for (Call* call : batch_) {
    if (ran) ran = link_.run("SAVEPOINT job");  // in the place of the last one
    if (!ran) break;
    const bool kept = call->work(link_);
    wrote |= kept;
    if (link_.fault()) {
      ran = link_.run("ROLLBACK TO job");  // the error of the fault
      break;
    }
    if (!kept) ran = link_.run("ROLLBACK TO job");
  }
  if (ran) return end_batch(wrote);
  error_ = ran.error();
  return link_.fault() ? Outcome::not_written : Outcome::refused;
}

RelationalWriter::Outcome RelationalWriter::end_batch(bool wrote) {
  if (!wrote) return Outcome::committed;  // the next open() rolls back
  ++batch_no_;
  if (const auto noted = link_.execute(kWriteBatch, {uint64_t{lane_}, batch_no_}); !noted) {
    error_ = noted.error();
    return link_.fault() ? Outcome::not_written : Outcome::refused;
  }
  const auto committed = link_.run("COMMIT");
  if (committed) {
    figures_.commits.fetch_add(1, std::memory_order_relaxed);
    return Outcome::committed;
  }
  error_ = committed.error();
  if (link_.lost()) {
    figures_.unknown.fetch_add(1, std::memory_order_relaxed);
    return Outcome::unknown;
  }
  return link_.fault() ? Outcome::not_written : Outcome::refused;
}

// The row is locked by the transaction whose COMMIT has no answer: it is read when that has ended.
RelationalWriter::Outcome RelationalWriter::find_out() {
  const uint64_t began = clock_.now_ns();
  do {
    if (auto opened = link_.open(); !opened) break;
    const auto rows = link_.query(kFindBatch, {uint64_t{lane_}});
    if (!rows) continue;
    const bool in = !rows->empty() && rows->number(0, 0) == batch_no_;
    engine::log::warn("mysql_commit_looked_up", {{"stored", in}});
    return in ? Outcome::committed : Outcome::not_written;
  } while (may_wait() && clock_.now_ns() - began < Link::kPatienceNs);
  engine::log::error("mysql_commit_unknown", {{"calls", batch_.size()}});
  return Outcome::unknown;
}

void RelationalWriter::refuse_all(Error error) {
  for (Call* call : batch_) call->refuse(error);
}

// --- reader ----------------------------------------------------------------------------------------------

RelationalReader::RelationalReader(sql::Connect connect, engine::Clock& clock, uint32_t shards,
                                   uint32_t jobs_max)
    : Worker(shards, jobs_max, /*batch_jobs_max=*/1),
      clock_(clock),
      link_(std::move(connect), clock, [this] { return on_own_thread() && !stopping(); }) {}

void RelationalReader::answer(Call& call) {
  const uint64_t began = clock_.now_ns();
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (const auto opened = link_.open(); !opened) {
      call.refuse(opened.error());
      break;
    }
    call.work(link_);
    if (!link_.lost() || clock_.now_ns() - began >= kRepeatWithinNs) break;
  }
  connects_.store(link_.connects(), std::memory_order_relaxed);
  drop_load();
}

}  // namespace ringtalk::store
