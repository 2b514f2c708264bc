// Commit: collects appends and makes them durable, one write and one sync for all that wait.
//
//     append ──▶ open batch ──close──▶ flying batch ──written and synced──▶ heads ──▶ landing batch ──▶ results
//                   ▲ grows while the others fly and land ▲
//
// Thread rule  the shard's thread.
// Invariants   (1) at most one batch flies: when one is closed, all earlier ones are durable, so the
//              durable heads are the newest and ids are decided right here, in the write that stores
//              them; (2) nothing is acknowledged before its batch's sync came home; (3) results of a
//              batch come in log order, after all its heads were updated.
// Errors       a failed or short write, or a failed sync, of a live segment: on_failed(), for good. The
//              rows that flew get no result: whether they are stored is not known.
//              No room and no spare segment: full while one is being made, refused while none can be.
// Bound        three batches; cursors leave kCursorsMax at a time; at most kResultsPerTurn results a
//              turn, so that a large batch does not hold the shard while the next one already flies.
// Cost         per row: one copy, one checksum, three look-ups, two of them in a small table, and an entry
//              for the footer; per conversation and batch two more of both.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "engine/clock.h"
#include "engine/metrics.h"
#include "engine/ring.h"
#include "store/embedded/batch.h"
#include "store/cursors.h"
#include "store/embedded/footer.h"
#include "store/embedded/heads.h"
#include "store/embedded/pending_heads.h"
#include "store/embedded/segment_supply.h"
#include "store/embedded/tails.h"
#include "store/store.h"

namespace ringtalk::store {

// A change to a message that is already stored: revoke, override, delete.
struct Control {
  ConversationId conversation;
  uint32_t target = 0;  // msg_id
  UserId operator_user{};
  uint8_t command = 0;
  bool hides      = false;  // one message more is hidden
  Bytes content;
  uint64_t deadline_ns = 0;
  uint64_t cookie      = 0;
};

// A block record whose pointers had to be read back; see block_builder.h.
struct StagedBlock {
  uint64_t conversation = 0;
  uint32_t block        = 0;  // number, from 1
  Pointer before;             // block record block − 1, nowhere for the first
  uint32_t jumps_count = 0;
  std::array<Pointer, kBlockMessages> pointers;
  std::array<Pointer, kJumpsMax> jumps;
};

class CommitListener {
 public:
  virtual ~CommitListener()                         = default;
  virtual void on_committed(uint64_t batch)         = 0;
  virtual void on_left_block(uint64_t conversation) = 0;  // its newest block record is missing
  // left: the segment written until now, number 0 = none.
  virtual void on_rolled(Segment left, Segment current)          = 0;
  virtual void on_staged(const StagedBlock& block, bool written) = 0;
};

class Commit {
 public:
  static constexpr uint32_t kCursorsMax       = 512;  // cursor records per batch
  static constexpr uint32_t kStagedMax        = 16;
  static constexpr uint32_t kResultsPerTurn   = 1024;
  static constexpr uint32_t kUsualRecordBytes = 1024;
  static constexpr uint32_t kResultsAhead     = 8;               // told to the sink beforehand
  static constexpr uint64_t kCursorDelayNs    = 500 * kNsPerMs;  // half of what is promised

  struct Parts {
    engine::Ring& ring;
    engine::Clock& clock;
    Sink& sink;
    Heads& heads;
    Cursors& cursors;
    Tails& tails;
    SegmentSupply& supply;
    CommitListener& listener;
    engine::Metrics& metrics;
    uint64_t salt          = 0;
    uint64_t segment_bytes = 0;
  };

  Commit(const Parts& parts, std::optional<Segment> current);

  Result<void> append(const Append& message);
  // For a message of usual length.
  bool has_room() const { return open_->has_room(kUsualRecordBytes); }
  Result<void> append_control(const Control& control);
  // A block to be written with the next batch; the listener hears of it. Errc::full: later.
  Result<void> stage(const StagedBlock& block);

  void on_turn(uint64_t now_ns);
  void on_tick(uint64_t now_ns);
  // Cursors leave with the next turn instead of after a while.
  void hurry() { hurry_ = true; }

  // The batch that holds the newest append of the conversation not yet durable; 0 = all are.
  uint64_t waiting_for(uint64_t conversation);
  bool idle() const {
    if (flying() || results_wait() || !open_->rows().empty()) return false;
    // On a full disk cursors and late block records may never leave: nobody waits for them.
    return supply_.out_of_space() || (cursors_.dirty() == 0 && staged_count_ == 0);
  }
  // Durable, and not yet told: the next on_turn() does.
  bool results_wait() const { return landed_ < landing_->rows().size(); }
  bool failed() const { return failed_; }
  size_t waiting() const { return open_->rows().size() + (flying() ? flying_->rows().size() : 0); }
  uint64_t commits() const { return open_batch_ - 1; }
  // When idle() and not failed(), the last call: the segment with what was noted of it, so that it is
  // sealed without being read. number 0: there is none.
  LeftSegment leave();
  uint32_t current_segment() const { return current_ ? current_->number : 0; }
  int current_fd() const { return current_ ? current_->fd : -1; }

 private:
  enum class Flight : uint8_t { none, writing, synced };

  bool flying() const { return flight_ != Flight::none; }
  Result<void> admit(uint32_t length);
  bool fits(uint64_t bytes, uint64_t rows) const;
  bool roll(uint64_t now_ns);
  void drop_late(uint64_t now_ns);
  bool something_due(uint64_t now_ns) const;
  void close_and_write();
  void assign(RecordHeader& header, Pointer place);
  void assign_message(PendingHead& pending, RecordHeader& header, Pointer place);
  void note_place(PendingHead& pending, uint32_t msg_id, Pointer place);
  PendingHead& pending(uint64_t conversation);
  Pointer write_block(PendingHead& pending, uint32_t block, const Pointer* pointers,
                      const Pointer* jumps);
  void add_staged();
  void add_cursors();
  void finish_records();
  void note(const RecordHeader& header, const std::byte* record, Pointer place);
  void on_durable(int32_t result, uint32_t flags) noexcept;
  void land();
  void tell_results();
  void land_staged();
  void fail_all(Error error);
  void refuse(Batch& batch, Batch::Row& row, Errc why);

  engine::Ring& ring_;
  engine::Clock& clock_;
  Sink& sink_;
  Heads& heads_;
  Cursors& cursors_;
  Tails& tails_;
  SegmentSupply& supply_;
  CommitListener& listener_;
  engine::Metrics& metrics_;
  const uint32_t salt_;
  const uint64_t segment_bytes_;

  engine::Op<Commit, &Commit::on_durable> durable_{*this};

  std::optional<Segment> current_;
  uint64_t used_           = kSegmentHeaderBytes;
  uint64_t footer_reserve_ = 0;
  uint32_t batch_number_   = 0;  // within the segment
  uint64_t records_        = 0;  // within the segment
  FooterBuilder footer_;         // of the segment

  std::array<Batch, 3> batches_;
  Batch* open_           = &batches_[0];
  Batch* flying_         = &batches_[1];
  Batch* landing_        = &batches_[2];
  size_t landed_         = 0;                // rows of the landing batch whose results were told
  uint32_t results_left_ = kResultsPerTurn;  // that may still be told in this turn
  PendingHeads pending_;
  uint64_t open_batch_    = 1;  // process-wide count of batches, for waiting_for()
  uint64_t landing_batch_ = 0;
  uint32_t time_          = 0;  // wall seconds of the batch being closed

  std::array<StagedBlock, kStagedMax> staged_;
  uint32_t staged_count_  = 0;
  uint32_t staged_flying_ = 0;
  std::array<bool, kStagedMax> staged_written_{};

  Flight flight_             = Flight::none;
  uint32_t write_bytes_      = 0;  // of the write in flight, its zeros included
  bool failed_               = false;
  bool hurry_                = false;
  uint64_t write_began_ns_   = 0;
  uint64_t short_since_ns_   = 0;  // no segment to go on in since then; 0 = there is one
  uint64_t hold_until_ns_    = 0;
  uint64_t cursors_since_ns_ = 0;  // when the first dirty cursor was seen; 0 = none
  uint64_t stall_ns_         = 0;
};

// Bytes of records a batch may hold, for segments of this size.
uint32_t batch_bytes_max(uint64_t segment_bytes);

}  // namespace ringtalk::store
