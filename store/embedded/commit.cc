#include "store/embedded/commit.h"

#include <algorithm>
#include <cstdlib>
#include <unordered_map>

#include "engine/base/assert.h"
#include "engine/killpoint.h"
#include "engine/seeded_bug.h"

namespace ringtalk::store {
namespace {

constexpr uint64_t kFooterFixedBytes = kFooterHeaderBytes + kTrailerBytes;
// What one row may add to the footer: a head, a repeat, and in a group its author's read position.
constexpr uint64_t kFooterRowBytes = sizeof(HeadEntry) + sizeof(RepeatEntry) + sizeof(CursorEntry);

// RT_SEEDED_BUG("id_from_cache"): the counter lives in a cache that is written behind, every 16 ids; a
// restart begins with the older value.
uint32_t next_cached_id(uint64_t conversation, uint32_t newest) {
  thread_local std::unordered_map<uint64_t, uint32_t> cache;
  return ++cache.try_emplace(conversation, newest / 16 * 16).first->second;
}

// What a batch may need besides its rows: block records, cursors and their footer entries.
constexpr uint64_t overhead_bytes(uint64_t rows) {
  const uint64_t blocks  = (rows + Commit::kStagedMax) * kBlockRecordBytesMax;
  const uint64_t cursors = Commit::kCursorsMax * (kRecordHeaderBytes + sizeof(CursorEntry));
  return std::min<uint64_t>(blocks + cursors, Batch::kExtraBytes) + cursors +
         Commit::kStagedMax * sizeof(HeadEntry);
}
constexpr uint64_t kBatchOverheadBytes = overhead_bytes(Batch::kRowsMax);
static_assert(Commit::kCursorsMax * kRecordHeaderBytes < Batch::kExtraBytes / 2);
// The smallest segment takes the fullest batch: shortest records, so most rows.
constexpr uint64_t kBatchBytesMin = (kRecordBytesMax + 4 * kKiB) / 8 * 8;
static_assert(kSegmentHeaderBytes + kBatchBytesMin + kBatchOverheadBytes + kFooterFixedBytes +
                  (kBatchBytesMin / kRecordHeaderBytes) * kFooterRowBytes <
              kSegmentBytesMin);

}  // namespace

uint32_t batch_bytes_max(uint64_t segment_bytes) {
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(segment_bytes / 4 / 8 * 8, kBatchBytesMin, 2 * kMiB));
}

Commit::Commit(const Parts& parts, std::optional<Segment> current)
    : ring_(parts.ring),
      clock_(parts.clock),
      sink_(parts.sink),
      heads_(parts.heads),
      cursors_(parts.cursors),
      tails_(parts.tails),
      supply_(parts.supply),
      listener_(parts.listener),
      metrics_(parts.metrics),
      salt_(salt_sum(parts.salt)),
      segment_bytes_(parts.segment_bytes),
      current_(current),
      batches_{Batch(batch_bytes_max(parts.segment_bytes)),
               Batch(batch_bytes_max(parts.segment_bytes)),
               Batch(batch_bytes_max(parts.segment_bytes))},
      pending_(Batch::kRowsMax + kStagedMax, parts.salt) {
#if RT_KILLPOINTS
  if (const char* stall = std::getenv("RINGTALK_STALL_FSYNC_MS"))
    stall_ns_ = std::strtoull(stall, nullptr, 10) * kNsPerMs;
#endif
}

// --- taking in ----------------------------------------------------------------------------------------

bool Commit::fits(uint64_t bytes, uint64_t rows) const {
  return current_ && used_ + bytes + overhead_bytes(rows) + footer_reserve_ +
                             rows * kFooterRowBytes + kFooterFixedBytes <=
                         segment_bytes_;
}

Result<void> Commit::admit(uint32_t length) {
  if (failed_) return fail(Errc::closed);
  if (!open_->has_room(length)) return fail(Errc::full);
  if (supply_.out_of_space() && !fits(open_->row_bytes() + length, open_->rows().size() + 1))
    return fail(Errc::refused);
  return {};
}

Result<void> Commit::append(const Append& message) {
  RT_ASSERT(message.conversation.key != 0);
  if (message.body.size() > kBodyBytesMax) return fail(Errc::too_large);
  const uint8_t flags = message.client_key != 0 ? kHasKeys : 0;
  if (auto ok = admit(record_bytes(flags, static_cast<uint32_t>(message.body.size()))); !ok)
    return ok;
  open_->add({.kind         = RecordKind::message,
              .flags        = flags,
              .type         = message.type,
              .conversation = message.conversation.key,
              .author       = raw(message.author),
              .repeat_key   = message.repeat_key},
             {message.client_key, message.full_key}, message.body, message.cookie,
             message.deadline_ns);
  return {};
}

Result<void> Commit::append_control(const Control& control) {
  RT_ASSERT(control.conversation.key != 0);
  if (control.content.size() > kBodyBytesMax) return fail(Errc::too_large);
  if (auto ok = admit(record_bytes(0, static_cast<uint32_t>(control.content.size()))); !ok)
    return ok;
  open_->add({.kind         = RecordKind::control,
              .flags        = control.hides ? kHides : uint8_t{0},
              .type         = control.command,
              .conversation = control.conversation.key,
              .msg_id       = control.target,
              .author       = raw(control.operator_user)},
             {}, control.content, control.cookie, control.deadline_ns);
  return {};
}

Result<void> Commit::stage(const StagedBlock& block) {
  if (failed_) return fail(Errc::closed);
  // Flying ones keep their places until they land.
  if (staged_count_ == kStagedMax) return fail(Errc::full);
  staged_[staged_count_++] = block;
  return {};
}

uint64_t Commit::waiting_for(uint64_t conversation) {
  for (const Batch::Row& row : open_->rows())
    if (!row.dropped && open_->header(row).conversation == conversation) return open_batch_;
  if (flying())
    for (const Batch::Row& row : flying_->rows())
      if (flying_->header(row).conversation == conversation) return open_batch_ - 1;
  for (size_t i = landed_; i < landing_->rows().size(); ++i)
    if (landing_->header(landing_->rows()[i]).conversation == conversation) return landing_batch_;
  return 0;
}

// --- time ---------------------------------------------------------------------------------------------

void Commit::on_turn(uint64_t now_ns) {
  if (results_wait()) tell_results();
  if (flight_ == Flight::synced && now_ns >= hold_until_ns_) land();
  results_left_ = kResultsPerTurn;
  if (failed_ || flying()) return;
  if (something_due(now_ns)) drop_late(now_ns);
  if (!something_due(now_ns)) {
    short_since_ns_ = 0;  // whoever waited for a segment was refused
    return;
  }
  if (!fits(open_->row_bytes(), open_->rows().size()) && !roll(now_ns)) return;
  close_and_write();
}

void Commit::on_tick(uint64_t now_ns) {
  supply_.on_tick(now_ns);
  if (failed_) return;
  drop_late(now_ns);
  if (cursors_.dirty() > 0 && cursors_since_ns_ == 0) cursors_since_ns_ = now_ns;
  on_turn(now_ns);
}

bool Commit::something_due(uint64_t now_ns) const {
  if (!open_->rows().empty() || staged_count_ > 0) return true;
  if (cursors_.dirty() == 0) return false;
  return hurry_ || (cursors_since_ns_ != 0 && now_ns >= cursors_since_ns_ + kCursorDelayNs);
}

// A row whose deadline passed while it waited is told so and leaves; nothing of it was written.
void Commit::drop_late(uint64_t now_ns) {
  bool dropped = false;
  Batch& batch = *open_;
  for (size_t i = 0; i < batch.rows().size(); ++i) {
    Batch::Row& row = batch.rows()[i];
    if (row.dropped || row.deadline_ns == 0 || now_ns < row.deadline_ns) continue;
    row.dropped = dropped = true;
    refuse(batch, row, Errc::timeout);
  }
  if (dropped) batch.compact();
}

void Commit::refuse(Batch& batch, Batch::Row& row, Errc why) {
  const RecordHeader& header = batch.header(row);
  sink_.on_appended({.cookie       = row.cookie,
                     .error        = {why},
                     .conversation = {header.conversation},
                     .author       = UserId(header.author),
                     .type         = header.type});
}

// --- segments -------------------------------------------------------------------------------------------

bool Commit::roll(uint64_t now_ns) {
  supply_.prepare();
  if (!supply_.ready()) {
    supply_.hurry();
    if (short_since_ns_ == 0) short_since_ns_ = now_ns;
    return false;
  }
  if (const uint64_t since = std::exchange(short_since_ns_, 0); since != 0)
    metrics_.add(engine::Counter::segment_wait, now_ns - since);
  RT_KILLPOINT("roll_before_switch");
  const std::optional<Segment> next = supply_.take();
  RT_ASSERT(next.has_value());
  const Segment left = current_.value_or(Segment{});
  if (current_) supply_.seal(leave());
  current_ = next;
  listener_.on_rolled(left, *next);
  used_           = kSegmentHeaderBytes;
  footer_reserve_ = 0;
  batch_number_   = 0;
  records_        = 0;
  RT_ASSERT(fits(open_->row_bytes(), open_->rows().size()));
  RT_KILLPOINT("roll_after_switch");
  return true;
}

LeftSegment Commit::leave() {
  return {.number = current_segment(),
          .footer = std::exchange(footer_, {}),
          .scan   = {.end = used_, .last_batch = batch_number_, .records = records_}};
}

// --- closing ----------------------------------------------------------------------------------------------

void Commit::close_and_write() {
  RT_ASSERT(!flying() && current_);
  std::swap(open_, flying_);
  RT_ASSERT(open_->rows().empty());
  ++open_batch_;
  ++batch_number_;
  time_ = wall_seconds(clock_);
  pending_.clear();

  Batch& batch = *flying_;
  for (const Batch::Row& row : batch.rows())
    assign(batch.header(row), Pointer::at(current_->number, used_ + row.offset));
  add_staged();
  add_cursors();
  if (batch.all_bytes() == 0) {  // every staged block was stale
    --batch_number_;
    flight_ = Flight::synced;
    return land();
  }
  finish_records();

  flight_ = Flight::writing;
  RT_KILLPOINT("commit_before_write");
  const uint64_t end      = used_ + batch.all_bytes();
  const uint64_t page_end = (end + Batch::kPageBytes - 1) / Batch::kPageBytes * Batch::kPageBytes;
  const auto zeros        = static_cast<uint32_t>(std::min(page_end, segment_bytes_) - end);
  batch.pad(zeros);
  write_bytes_    = batch.all_bytes() + zeros;
  write_began_ns_ = clock_.now_ns();
  ring_.write_sync(current_->fd, {batch.bytes(), write_bytes_}, used_, durable_);
  used_ = end;
  if (used_ + footer_reserve_ > segment_bytes_ / 2) supply_.hurry();
}

PendingHead& Commit::pending(uint64_t conversation) {
  bool fresh           = false;
  PendingHead& pending = pending_.get(conversation, &fresh);
  if (fresh) {
    pending.head = heads_.get(conversation, &pending.tail);
    // Counted once per conversation and segment: its footer has one head for all of them.
    if (pending.head.newest.segment() != current_->number) footer_reserve_ += sizeof(HeadEntry);
  }
  return pending;
}

void Commit::assign(RecordHeader& header, Pointer place) {
  PendingHead& entry = pending(header.conversation);
  header.batch       = batch_number_;
  if (header.kind == RecordKind::message) {
    assign_message(entry, header, place);
    return;
  }
  RT_ASSERT(header.kind == RecordKind::control);
  HeadEntry& head = entry.head;
  if (header.flags & kHides) ++head.hidden;
  header.time        = std::max(time_, head.time);
  header.small_count = head.small_count;
  header.hidden      = head.hidden;
  header.prev        = head.control;
  header.block       = head.block;
  head.control       = place;
}

void Commit::assign_message(PendingHead& pending, RecordHeader& header, Pointer place) {
  HeadEntry& head = pending.head;
  const ConversationId conversation{header.conversation};
  RT_ASSERT(head.msg_id < UINT32_MAX);
  head.msg_id = RT_SEEDED_BUG("id_from_cache") ? next_cached_id(header.conversation, head.msg_id)
                                               : head.msg_id + 1;
  if (!conversation.is_group() && header.author == raw(conversation.small())) ++head.small_count;
  head.time          = std::max(time_, head.time);
  header.msg_id      = head.msg_id;
  header.time        = head.time;
  header.small_count = head.small_count;
  header.hidden      = head.hidden;
  header.prev        = head.newest;
  header.block       = head.block;
  head.newest        = place;
  if (header.repeat_key != 0 || (header.flags & kHasKeys)) footer_reserve_ += sizeof(RepeatEntry);
  if (conversation.is_group()) footer_reserve_ += sizeof(CursorEntry);
  note_place(pending, head.msg_id, place);
}

// Keeps the warm tail, and writes the block record when the 32nd message completes it.
void Commit::note_place(PendingHead& pending, uint32_t msg_id, Pointer place) {
  Tail* tail = tails_.get(pending.tail, pending.head.conversation);
  if (!tail) tail = &tails_.open(pending.head.conversation, &pending.tail);
  tail->push(msg_id, place);
  if (msg_id == 1) tail->jumps_block = 1;  // the first block has no jumps
  if (msg_id % kBlockMessages != 0) return;

  const uint32_t block = msg_id / kBlockMessages;
  if (tail->complete(block)) {
    const Pointer written = write_block(pending, block, tail->pointers, tail->jumps);
    if (written) {
      next_jumps(block, written, tail->jumps);
      tail->jumps_block = block + 1;
      return;
    }
  }
  tail->jumps_block = 0;
  listener_.on_left_block(pending.head.conversation);
}

Pointer Commit::write_block(PendingHead& pending, uint32_t block, const Pointer* pointers,
                            const Pointer* jumps) {
  const uint32_t jumps_count = jump_count(block);
  const uint32_t body        = block_body_bytes(jumps_count);
  const uint32_t length      = record_bytes(0, body);
  // The rest of the space is for the cursors.
  if (flying_->all_bytes() - flying_->row_bytes() + length >
      Batch::kExtraBytes - kCursorsMax * kRecordHeaderBytes)
    return {};
  const uint64_t offset = used_ + flying_->all_bytes();
  std::byte* at         = flying_->add_extra(length);
  if (!at) return {};
  const RecordHeader header{.length       = length,
                            .kind         = RecordKind::block,
                            .batch        = batch_number_,
                            .conversation = pending.head.conversation,
                            .msg_id       = block * kBlockMessages,
                            .time         = time_,
                            .body_bytes   = body,
                            .prev         = pending.head.block,
                            .block        = pending.head.block};
  std::memcpy(at, &header, sizeof header);
  std::memcpy(at + sizeof header, pointers, kBlockMessages * sizeof(Pointer));
  std::memcpy(at + sizeof header + kBlockMessages * sizeof(Pointer), jumps,
              jumps_count * sizeof(Pointer));
  pending.head.block = Pointer::at(current_->number, offset);
  return pending.head.block;
}

void Commit::add_staged() {
  staged_flying_ = staged_count_;
  for (uint32_t i = 0; i < staged_count_; ++i) {
    const StagedBlock& staged = staged_[i];
    PendingHead& entry        = pending(staged.conversation);
    staged_written_[i]        = false;
    if (entry.head.block != staged.before) continue;  // somebody was faster
    const Pointer written =
        write_block(entry, staged.block, staged.pointers.data(), staged.jumps.data());
    if (!written) continue;
    staged_written_[i] = true;
    Tail* tail         = tails_.get(entry.tail, staged.conversation);
    if (!tail || (tail->first + tail->count - 1) / kBlockMessages != staged.block) continue;
    // The tail's next message is in the very next block: from there on it writes its own again.
    std::ranges::copy(staged.jumps, tail->jumps);
    next_jumps(staged.block, written, tail->jumps);
    tail->jumps_block = staged.block + 1;
  }
}

void Commit::add_cursors() {
  cursors_.take_dirty(kCursorsMax, [this](CursorKey key, uint32_t msg_id) {
    std::byte* at = flying_->add_extra(kRecordHeaderBytes);
    RT_ASSERT(at != nullptr);
    const RecordHeader header{.length       = kRecordHeaderBytes,
                              .kind         = RecordKind::cursor,
                              .batch        = batch_number_,
                              .conversation = key.conversation,
                              .msg_id       = msg_id,
                              .author       = key.user,
                              .time         = time_};
    std::memcpy(at, &header, sizeof header);
    footer_reserve_ += sizeof(CursorEntry);
  });
  cursors_since_ns_ = cursors_.dirty() > 0 ? cursors_since_ns_ : 0;
}

void Commit::finish_records() {
  Batch& batch       = *flying_;
  const uint32_t end = batch.all_bytes();
  for (uint32_t at = 0; at < end;) {
    RecordHeader& header = batch.header_at(at);
    const uint32_t next  = at + header.length;
    if (next == end) header.flags |= kBatchEnd;
    const Pointer place = Pointer::at(current_->number, used_ + at);
    finish_record(batch.bytes() + at, place, salt_);
    note(header, batch.bytes() + at, place);
    at = next;
  }
  for (const PendingHead& pending : pending_.all())
    if (pending.noted.conversation != 0) footer_.add_head(pending.noted);
}

// For the footer. The record is not durable yet; if it never is, nor will the footer be written.
void Commit::note(const RecordHeader& header, const std::byte* record, Pointer place) {
  RecordKeys keys;
  if (header.flags & kHasKeys) keys = load_native<RecordKeys>(record + kRecordHeaderBytes);
  footer_.add_rest(header, keys);
  if (header.kind != RecordKind::cursor) {
    HeadEntry& noted   = pending(header.conversation).noted;
    noted.conversation = header.conversation;
    noted.merge(FooterBuilder::head_of(header, place));
  }
  ++records_;
}

// --- coming home ----------------------------------------------------------------------------------------

void Commit::on_durable(int32_t result, uint32_t) noexcept {
  RT_ASSERT(flight_ == Flight::writing);
  if (failed_) return;
  // A short count at a place that was filled before is a failing disk, not a full one.
  if (result < 0 || static_cast<uint32_t>(result) != write_bytes_)
    return fail_all(Error::from_errno(result < 0 ? -result : EIO));
  RT_KILLPOINT("commit_after_sync");
  flight_ = Flight::synced;
  metrics_.record(engine::Timing::commit_time, clock_.now_ns() - write_began_ns_);
  metrics_.record(engine::Timing::commit_rows, flying_->rows().size());
  metrics_.add(engine::Counter::commit_bytes, flying_->all_bytes());
  if (stall_ns_ > 0) {
    hold_until_ns_ = clock_.now_ns() + stall_ns_;
    return;
  }
  land();
}

void Commit::land() {
  if (results_wait()) return;  // one batch after the other: on_turn() comes back here
  for (const PendingHead& pending : pending_.all()) heads_.set(pending.head, pending.tail);

  std::swap(flying_, landing_);
  landed_        = 0;
  landing_batch_ = open_batch_ - 1;
  flight_        = Flight::none;
  if (staged_flying_ > 0) land_staged();
  tell_results();
}

void Commit::tell_results() {
  Batch& batch     = *landing_;
  const size_t end = std::min(batch.rows().size(), landed_ + results_left_);
  results_left_ -= static_cast<uint32_t>(end - landed_);
  while (landed_ < end) {
    if (landed_ + kResultsAhead < end) {
      const RecordHeader& ahead = batch.header(batch.rows()[landed_ + kResultsAhead]);
      sink_.on_append_soon(UserId(ahead.author), ahead.repeat_key);
    }
    const Batch::Row& row      = batch.rows()[landed_++];
    const RecordHeader& header = batch.header(row);
    sink_.on_appended({.cookie       = row.cookie,
                       .error        = {},
                       .conversation = {header.conversation},
                       .author       = UserId(header.author),
                       .msg_id       = header.msg_id,
                       .time         = header.time,
                       .type         = header.type,
                       .body         = batch.body(row)});
    RT_KILLPOINT("commit_between_results");
  }
  if (results_wait()) return;
  batch.clear();
  landed_ = 0;
  listener_.on_committed(landing_batch_);  // pages come behind the results they may show
}

void Commit::land_staged() {
  const uint32_t landed                      = std::exchange(staged_flying_, 0);
  const std::array<bool, kStagedMax> written = staged_written_;
  std::array<StagedBlock, kStagedMax> done;
  std::copy_n(staged_.begin(), landed, done.begin());
  // What was staged meanwhile stands behind those that flew.
  std::copy(staged_.begin() + landed, staged_.begin() + staged_count_, staged_.begin());
  staged_count_ -= landed;
  for (uint32_t i = 0; i < landed; ++i) listener_.on_staged(done[i], written[i]);
}

void Commit::fail_all(Error error) {
  if (std::exchange(failed_, true)) return;
  sink_.on_failed(error);
}

}  // namespace ringtalk::store
