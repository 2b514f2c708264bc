#include "store/mysql/message_lane.h"

#include <algorithm>
#include <utility>

#include "engine/base/assert.h"
#include "engine/log.h"

namespace ringtalk::store {

using engine::Counter;
using sql::Fault;

class MessageLane::WriteJob final : public engine::Job {
 public:
  WriteJob(MessageLane& lane, std::unique_ptr<MessageBatch> batch)
      : lane_(lane),
        writer_(lane.worker_.writer()),
        batch_(std::move(batch)),
        unknown_(lane.unknown_) {}
  void run() override { report_ = writer_.write(*batch_, unknown_); }
  void done() override { lane_.land(std::move(batch_), report_); }

 private:
  MessageLane& lane_;
  BatchWriter& writer_;
  std::unique_ptr<MessageBatch> batch_;
  const bool unknown_;
  BatchWriter::Report report_;
};

MessageLane::MessageLane(const Parts& parts)
    : worker_(parts.worker),
      clock_(parts.clock),
      sink_(parts.sink),
      conversations_(parts.conversations),
      cursors_(parts.cursors),
      metrics_(parts.metrics),
      mirror_(parts.mirror),
      shard_(parts.shard) {}

Result<void> MessageLane::append(const Append& message) {
  RT_ASSERT(message.conversation.key != 0);
  if (failed_) return fail(Errc::closed);
  if (message.body.size() > kBodyBytesMax) return fail(Errc::too_large);
  if (!open_->has_room(message.body.size())) return fail(Errc::full);
  open_->add(message);
  return {};
}

uint64_t MessageLane::waiting_for(ConversationId conversation) const {
  if (open_->holds(conversation)) return open_batch_;
  const MessageBatch* before = flying_ ? flying_ : held_.get();
  return before && before->holds(conversation) ? open_batch_ - 1 : 0;
}

bool MessageLane::idle() const {
  const MessageBatch* before = flying_ ? flying_ : held_.get();
  if (!open_->rows().empty() || (before && !before->rows().empty())) return false;
  return away_ || failed_ || (!before && cursors_.dirty() == 0);
}

size_t MessageLane::waiting() const {
  const MessageBatch* before = flying_ ? flying_ : held_.get();
  return open_->rows().size() + (before ? before->rows().size() : 0);
}

// --- time ---------------------------------------------------------------------------------------------

void MessageLane::on_turn(uint64_t now_ns) {
  worker_.collect(0);
  if (!failed_ && !flying_) submit(now_ns);
}

void MessageLane::on_tick(uint64_t now_ns) {
  if (failed_) return;
  if (cursors_.dirty() > 0 && cursors_since_ns_ == 0) cursors_since_ns_ = now_ns;
  if (drop_late(*open_, now_ns)) open_->compact();
  if (flying_ && now_ns >= flying_->earliest_deadline()) {
    // Whoever comes first decides: after this the worker does not send COMMIT.
    auto phase = MessageBatch::Phase::writing;
    if (flying_->phase.compare_exchange_strong(phase, MessageBatch::Phase::abandoned) ||
        phase == MessageBatch::Phase::abandoned)
      drop_late(*flying_, now_ns);
  }
  if (held_ && !unknown_ && drop_late(*held_, now_ns)) hold(std::move(held_), again_ns_);
  on_turn(now_ns);
}

void MessageLane::submit(uint64_t now_ns) {
  if (held_) {
    if (now_ns < again_ns_) return;
    if (!unknown_) held_->prepare(conversations_);
    return fly(std::move(held_));
  }
  drop_late(*open_, now_ns);
  take_cursors(now_ns);
  open_->prepare(conversations_);
  if (open_->empty()) return open_->clear();
  std::swap(open_, spare_);
  ++open_batch_;
  fly(std::move(spare_));
}

void MessageLane::take_cursors(uint64_t now_ns) {
  if (cursors_since_ns_ == 0 || now_ns < cursors_since_ns_ + kCursorDelayNs) return;
  cursors_.take_dirty(MessageBatch::kCursorsMax, [this](CursorKey key, uint32_t msg_id) {
    open_->add(MessageBatch::Cursor{{key.conversation}, UserId(key.user), msg_id});
  });
  if (cursors_.dirty() == 0) cursors_since_ns_ = 0;
}

// True if there was one. What was not written in time never is.
bool MessageLane::drop_late(MessageBatch& batch, uint64_t now_ns) {
  bool dropped = false;
  for (size_t i = 0; i < batch.rows().size(); ++i) {  // who hears of it may append
    MessageBatch::Row& row = batch.rows()[i];
    if (row.told || row.deadline_ns == 0 || now_ns < row.deadline_ns) continue;
    refuse(batch, row, Errc::timeout);
    dropped = true;
  }
  return dropped;
}

void MessageLane::refuse(MessageBatch& batch, MessageBatch::Row& row, Errc why) {
  row.told = true;
  metrics_.add(why == Errc::timeout ? Counter::store_refused_deadline : Counter::store_refused_row);
  sink_.on_appended({.cookie       = row.cookie,
                     .error        = {why},
                     .conversation = row.conversation,
                     .author       = row.author,
                     .type         = row.type,
                     .body         = batch.body(row)});
}

// --- one batch ----------------------------------------------------------------------------------------

void MessageLane::fly(std::unique_ptr<MessageBatch> batch) {
  batch->phase.store(unknown_ ? MessageBatch::Phase::deciding : MessageBatch::Phase::writing);
  flying_                          = batch.get();
  std::unique_ptr<engine::Job> job = std::make_unique<WriteJob>(*this, std::move(batch));
  const auto taken                 = worker_.submit(0, job);
  RT_ASSERT(taken.has_value());
}

void MessageLane::land(std::unique_ptr<MessageBatch> batch, const BatchWriter::Report& report) {
  flying_            = nullptr;
  const uint64_t now = clock_.now_ns();
  count(report);
  unknown_ = report.outcome == Outcome::unknown;
  note_server(report);
  switch (report.outcome) {
    case Outcome::stored:
      retry_ns_ = kRetryNsMin;
      tell(*batch, report.took_ns);
      return finish(std::move(batch));
    case Outcome::late: break;
    case Outcome::not_stored: break;
    case Outcome::unknown: return hold(std::move(batch), now + retry_ns_);
    case Outcome::fenced:
      failed_ = true;
      held_   = std::move(batch);
      return sink_.on_failed(Error::from_errno(EBUSY));
  }
  for (MessageBatch::Row& row : batch->rows())
    if (row.unfit && !row.told) refuse(*batch, row, Errc::refused);
  drop_late(*batch, now);
  hold(std::move(batch), report.outcome == Outcome::late ? now : now + retry_ns_);
}

void MessageLane::count(const BatchWriter::Report& report) {
  metrics_.add(Counter::store_connects, report.connects);
  metrics_.add(Counter::store_repeats_conflict, report.conflicts);
  metrics_.add(Counter::store_repeats_duplicate, report.duplicates);
  if (report.outcome == Outcome::unknown) metrics_.add(Counter::store_commits_unanswered);
}

void MessageLane::tell(MessageBatch& batch, uint64_t took_ns) {
  ++commits_;
  metrics_.record(engine::Timing::commit_time, took_ns);
  metrics_.record(engine::Timing::commit_rows, batch.rows().size());
  metrics_.add(Counter::commit_bytes, batch.bytes());
  for (const MessageBatch::Place& place : batch.places()) conversations_.set(place.now);
  if (mirror_) tell_mirror(batch);
  for (MessageBatch::Row& row : batch.rows()) {
    if (row.told) continue;
    if (row.unfit) {
      refuse(batch, row, Errc::refused);
      continue;
    }
    row.told = true;
    sink_.on_appended({.cookie       = row.cookie,
                       .error        = {},
                       .conversation = row.conversation,
                       .author       = row.author,
                       .msg_id       = row.msg_id,
                       .time         = row.time,
                       .type         = row.type,
                       .body         = batch.body(row)});
  }
}

void MessageLane::tell_mirror(MessageBatch& batch) {
  for (const MessageBatch::Row& row : batch.rows())
    if (!row.told && !row.unfit)
      mirror_->stored(shard_, row.conversation, batch.places()[row.place].now.relation, row.author,
                      row.msg_id);
  for (const MessageBatch::Cursor& cursor : batch.cursors())
    mirror_->read_to(shard_, cursor.user, cursor.conversation, cursor.msg_id);
}

// Nothing of it left: it is decided.
void MessageLane::hold(std::unique_ptr<MessageBatch> batch, uint64_t again_ns) {
  if (!unknown_) {
    const bool rows = std::ranges::any_of(batch->rows(), [](const auto& row) { return !row.told; });
    if (!rows && batch->cursors().empty()) return finish(std::move(batch));
  }
  again_ns_ = again_ns;
  held_     = std::move(batch);
}

void MessageLane::finish(std::unique_ptr<MessageBatch> batch) {
  batch->clear();
  spare_   = std::move(batch);
  decided_ = open_batch_ - 1;
}

// Said once when it goes, once when it is back.
void MessageLane::note_server(const BatchWriter::Report& report) {
  const bool away = report.outcome == Outcome::not_stored || report.outcome == Outcome::unknown;
  if (report.outcome == Outcome::late) return;
  metrics_.set(engine::Gauge::store_away, away ? 1 : 0);
  full_ = away && report.trouble.fault == Fault::full;
  if (away) {
    if (std::exchange(away_, true)) {
      retry_ns_ = std::min(retry_ns_ * 2, kRetryNsMax);
    } else {
      engine::log::warn("mysql_away",
                        {{"number", report.trouble.number}, {"why", report.trouble.text}});
    }
  } else if (std::exchange(away_, false)) {
    engine::log::info("mysql_back");
  }
}

}  // namespace ringtalk::store
