// MessageLane: collects the appends and read positions of a shard, and has them written batch by batch.
//
//     append ──▶ open batch ──submit──▶ LaneWorker: BatchWriter ──collect──▶ conversations, results
//                  ▲ grows while the other is written ▲      └─ held: again later, without the late ┘
//
// Thread rule  the shard's thread; the worker has a thread of its own (run_some() in a simulator).
// Batches      leave as soon as the one before is decided, with what has come until then: under load they
//              grow to MessageBatch's bound by themselves, without it a message waits for nobody.
// Deadlines    a row is refused at its deadline, also while the worker hangs in a statement: the batch is
//              then abandoned, and the worker finds that out before COMMIT. Only rows whose COMMIT has left
//              wait for its outcome; while that is unknown nothing of the lane goes on.
// Errors       a lost or unwilling server is no failure: tried again at most every second, rows are refused
//              at their deadlines. on_failed() only when another process took the lane.
// Bound        two batches.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/clock.h"
#include "engine/metrics.h"
#include "engine/worker.h"
#include "store/cursors.h"
#include "store/mysql/batch_writer.h"
#include "store/mysql/conversations.h"
#include "store/mysql/message_batch.h"
#include "store/redis/mirror.h"
#include "store/store.h"

namespace ringtalk::store {

class LaneWorker final : public engine::Worker {
 public:
  LaneWorker(sql::Connect connect, engine::Clock& clock, uint32_t lane, uint64_t batch_no)
      : Worker(1, 1, 1), writer_(std::move(connect), clock, lane, batch_no) {}
  ~LaneWorker() override { stop(); }

  BatchWriter& writer() { return writer_; }

 private:
  BatchWriter writer_;
};

class MessageLane {
 public:
  static constexpr uint32_t kBodyBytesMax  = 257 * kKiB;
  static constexpr uint32_t kUsualBytes    = 1024;
  static constexpr uint64_t kCursorDelayNs = 500 * kNsPerMs;  // half of what is promised
  static constexpr uint64_t kRetryNsMin    = 50 * kNsPerMs;
  static constexpr uint64_t kRetryNsMax    = 1 * kNsPerS;

  struct Parts {
    LaneWorker& worker;
    engine::Clock& clock;
    Sink& sink;
    Conversations& conversations;
    Cursors& cursors;
    engine::Metrics& metrics;
    redis::Mirror* mirror = nullptr;  // null: there is no Redis
    uint32_t shard        = 0;
  };

  explicit MessageLane(const Parts& parts);

  Result<void> append(const Append& message);
  bool has_room() const { return open_->has_room(kUsualBytes); }

  void on_turn(uint64_t now_ns);
  void on_tick(uint64_t now_ns);

  // The batch that holds the newest append of the conversation not yet decided; 0 = none does.
  uint64_t waiting_for(ConversationId conversation) const;
  // Batches up to this one are decided.
  uint64_t decided() const { return decided_; }
  bool results_wait() const { return worker_.has_finished(0); }
  // Read positions wait for nobody while there is no server.
  bool idle() const;
  bool failed() const { return failed_; }
  // The last attempt found no server, or one that takes nothing.
  bool away() const { return away_; }
  bool server_full() const { return full_; }
  size_t waiting() const;
  uint64_t commits() const { return commits_; }

 private:
  class WriteJob;
  using Outcome = BatchWriter::Outcome;

  void submit(uint64_t now_ns);
  void fly(std::unique_ptr<MessageBatch> batch);
  void land(std::unique_ptr<MessageBatch> batch, const BatchWriter::Report& report);
  void count(const BatchWriter::Report& report);
  void tell(MessageBatch& batch, uint64_t took_ns);
  void tell_mirror(MessageBatch& batch);
  void hold(std::unique_ptr<MessageBatch> batch, uint64_t again_ns);
  void finish(std::unique_ptr<MessageBatch> batch);
  void take_cursors(uint64_t now_ns);
  bool drop_late(MessageBatch& batch, uint64_t now_ns);
  void refuse(MessageBatch& batch, MessageBatch::Row& row, Errc why);
  void note_server(const BatchWriter::Report& report);

  LaneWorker& worker_;
  engine::Clock& clock_;
  Sink& sink_;
  Conversations& conversations_;
  Cursors& cursors_;
  engine::Metrics& metrics_;
  redis::Mirror* const mirror_;
  const uint32_t shard_;

  std::unique_ptr<MessageBatch> open_ = std::make_unique<MessageBatch>();
  std::unique_ptr<MessageBatch> spare_ =
      std::make_unique<MessageBatch>();  // or it flies, or is held
  std::unique_ptr<MessageBatch> held_;   // to be written again
  MessageBatch* flying_      = nullptr;
  uint64_t open_batch_       = 1;
  uint64_t decided_          = 0;
  uint64_t commits_          = 0;
  uint64_t again_ns_         = 0;  // when the held batch is tried
  uint64_t retry_ns_         = kRetryNsMin;
  uint64_t cursors_since_ns_ = 0;  // when the first dirty cursor was seen; 0 = none
  bool unknown_              = false;
  bool away_                 = false;
  bool full_                 = false;
  bool failed_               = false;
};

}  // namespace ringtalk::store
