// EmbeddedStore: store.h on one append-only log per process, written by each shard through its own ring.
//
//   append ─▶ Commit ─▶ segment files ─▶ heads, results      relational calls ─▶ Relational (SQLite)
//   read_page ─▶ (waits for the commit) ─▶ PageReader ─▶ RecordReader ─▶ ring
//   SegmentWorker: prepares, seals, merges     FileOpener: opens old segments
//
// Lifetime  EmbeddedStores outlives its stores. A store may be destroyed when idle(), or together with
//           its ring; then EmbeddedStores::close() seals what was written.
// Kill-points  commit_before_write, commit_after_sync, commit_between_results,
//           roll_before_switch, roll_after_switch, segment_after_create, segment_after_fill,
//           segment_after_sync, footer_before_write, footer_after_write, footer_before_truncate,
//           footer_after_sync, snapshot_before_tmp, snapshot_after_tmp_write, snapshot_before_rename,
//           snapshot_after_rename. RINGTALK_STALL_FSYNC_MS holds each commit's results back.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "store/embedded/block_builder.h"
#include "store/embedded/commit.h"
#include "store/embedded/directory_lock.h"
#include "store/embedded/file_cache.h"
#include "store/embedded/page_reader.h"
#include "store/embedded/recovery.h"
#include "store/embedded/relational.h"
#include "store/relational_calls.h"
#include "store/store.h"

namespace ringtalk::store {

class EmbeddedStores;

// It prepares and tidies up: a quarter of a contended core is enough to stay ahead of a shard, and its
// bursts must not delay commits.
inline constexpr int kWorkerNice = 5;

class EmbeddedStore final : public RelationalCalls<Relational>, private CommitListener {
 public:
  static constexpr uint32_t kTailsMax = 16'384;  // of the process, dealt out to the shards …
  static constexpr uint32_t kTailsMin = 512;     // … but not fewer each
  static constexpr uint32_t kFilesMax = 64;

  ~EmbeddedStore() override;

  Result<void> append(const Append& message) override { return commit_.append(message); }
  bool has_room() const override { return commit_.has_room(); }
  Result<void> append_control(const Control& control) { return commit_.append_control(control); }
  Result<void> read_page(const PageRequest& request) override;
  Head head(ConversationId conversation) const override;
  void set_cursor(UserId user, ConversationId conversation, uint32_t msg_id) override;
  uint32_t cursor(UserId user, ConversationId conversation) const override;
  void note_own(UserId author, ConversationId group, uint32_t msg_id) override;
  void on_turn(uint64_t now_ns) override;
  void on_tick(uint64_t now_ns) override;
  bool work_waits() const override;
  bool idle() const override;

  Result<void> open_conversation(ConversationId conversation, uint32_t time,
                                 Callback<void> done) override;

  // Cursors leave at once from now on: nothing more than the present work is waited for.
  void drain() { commit_.hurry(); }

  Figures figures() const override;
  bool out_of_space() const override { return supply_.out_of_space(); }
  // The control record chain's newest entry; nowhere if there is none.
  Pointer newest_control(ConversationId conversation) const {
    return state_->heads.get(conversation.key).control;
  }
  Pointer newest_block(ConversationId conversation) const {
    return state_->heads.get(conversation.key).block;
  }

 private:
  friend class EmbeddedStores;
  struct Waiting {
    PageRequest request;
    uint64_t batch;
  };

  EmbeddedStore(EmbeddedStores& owner, uint32_t shard, std::unique_ptr<ShardState> state,
                std::optional<Segment> current, engine::Ring& ring, engine::Metrics& metrics,
                Sink& sink);

  void collect_relational();
  void start_page(const PageRequest& request);
  void start_pages(uint64_t committed);
  void on_committed(uint64_t batch) override;
  void on_left_block(uint64_t conversation) override { builder_.add(conversation); }
  void on_rolled(Segment left, Segment current) override;
  void on_staged(const StagedBlock& block, bool written) override {
    builder_.on_staged(block, written);
  }

  EmbeddedStores& owner_;
  Sink& sink_;
  std::unique_ptr<ShardState> state_;
  Tails tails_;
  SegmentSupply supply_;
  FileCache files_;
  RecordReader reader_;
  Commit commit_;
  PageReader pages_;
  BlockBuilder builder_;
  std::vector<Waiting> waiting_;
  uint64_t committed_     = 0;
  bool relational_failed_ = false;  // the sink was told
};

class EmbeddedStores {
 public:
  struct Options {
    std::string
        directory;  // of the lock; empty: none is taken (a simulator's disk has no processes)
    Homes homes;
    uint64_t segment_bytes = 0;  // 0: max(4 MiB, 64 MiB / shards)
    uint64_t seed          = 0;  // salt of a new log; 0: random
    Relational* relational =
        nullptr;  // outlives this object; null: relational calls are unsupported
  };

  // Blocking; disk and clock outlive the object. exists: another process has the directory;
  // unsupported: a newer format, nothing was touched; os, corrupt: see recovery.h.
  static Result<std::unique_ptr<EmbeddedStores>> open(const Options& options, engine::Disk& disk,
                                                      engine::Clock& clock);
  ~EmbeddedStores();

  const RecoveryReport& report() const { return recovered_.report; }
  // Once per shard; on its thread, or before it runs. The clock is the shard's.
  std::unique_ptr<EmbeddedStore> make(uint32_t shard, engine::Ring& ring, engine::Metrics& metrics,
                                      Sink& sink);
  // Sends of the last 60 s (24 h with a client key) by users of this shard. Once.
  std::vector<Repeat> take_repeats(uint32_t shard);

  // Whom to wake when work comes back; before start().
  void set_bell(uint32_t shard, engine::Bell* bell);
  void start();
  // For a simulator, instead of start(): what waits is done now. Returns how many jobs.
  uint32_t run_workers();
  // After all stores are gone: stops the workers and seals what was written, so that the next start
  // reads no records.
  Result<void> close();

 private:
  friend class EmbeddedStore;
  EmbeddedStores(const Options& options, engine::Disk& disk, engine::Clock& clock,
                 DirectoryLock lock, Recovered recovered);

  const Options options_;
  engine::Disk& disk_;
  engine::Clock& clock_;
  DirectoryLock lock_;
  Recovered recovered_;
  std::mutex left_mutex_;          // stores go on their shards' threads
  std::vector<LeftSegment> left_;  // by stores that are gone, to be sealed
  FileOpener opener_;
  std::vector<std::optional<Segment>> first_;  // segment each shard starts with
};

}  // namespace ringtalk::store
