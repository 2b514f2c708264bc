// SegmentWorker: the actor that makes, seals and merges segments, so that no shard ever waits for it.
//
// Thread rule  create(), seal(), merge_if_due() on the worker's thread (inside a job's run()), or before
//              it starts and after it stopped. The rest of the class: engine::Worker.
// Pace         all that is written rests between portions, so that the shards' commits find the device
//              free; not any more once a shard is about to need the segment.
// Numbers      one counter for the process: a conversation's newer records lie in higher segments,
//              whatever shard wrote them in whatever run.
// Errors       no space: os ENOSPC, nothing is left behind. A segment that cannot be sealed stays as it
//              is; the next start seals it.
#pragma once

#include <algorithm>
#include <atomic>
#include <vector>

#include "engine/clock.h"
#include "engine/disk.h"
#include "engine/worker.h"
#include "store/embedded/footer.h"
#include "store/embedded/paced_disk.h"
#include "store/embedded/snapshot.h"

namespace ringtalk::store {

// An open segment, ready for its first record.
struct Segment {
  uint32_t number = 0;
  int fd          = -1;
};

// A segment nobody writes to any more, and what was written.
struct LeftSegment {
  uint32_t number = 0;
  FooterBuilder footer;
  Scan scan;
};

class SegmentWorker final : public engine::Worker {
 public:
  static constexpr uint32_t kJobsMax          = 64;    // per shard
  static constexpr uint32_t kMergeSegments    = 8;     // sealed ones that make a merge due
  static constexpr uint64_t kMergeFooterBytes = kMiB;  // footers smaller than this can wait

  struct Settings {
    uint32_t shards        = 1;
    uint64_t segment_bytes = 0;
    uint64_t salt          = 0;
    uint32_t next_number   = 1;
  };

  SegmentWorker(engine::Disk& disk, engine::Clock& clock, const Settings& settings);

  engine::Disk& disk() { return disk_; }

  // Any thread: a shard will need its next segment soon. Until one is made nothing rests.
  void hurry() { hurry_.store(true, std::memory_order_relaxed); }

  // Creates, zero-fills and syncs a segment and its directory entry.
  Result<Segment> create(uint32_t shard);
  // Writes the footer of a segment nobody writes to any more; one without a record is removed.
  Result<void> seal(LeftSegment left);
  // The same for one whose writer is gone: its records are read back. scan: what that found.
  Result<void> seal(uint32_t number, Scan* scan);
  // After the last write of the process: every segment that is not sealed.
  Result<void> seal_all();
  // Puts sealed segments into the snapshot when there are enough of them.
  Result<void> merge_if_due();
  // At start: what the snapshot has; each segment it does not have; those that are sealed; those that
  // held nothing and are gone.
  void set_snapshot(const SnapshotInfo& info) { snapshot_ = info; }
  void add_open(uint32_t number);
  void add_found(uint32_t number, uint64_t footer_bytes) {
    forget_open(number);
    sealed_.push_back({number, footer_bytes});
  }
  void forget_open(uint32_t number) { std::erase(open_, number); }

 private:
  struct Sealed {
    uint32_t number;
    uint64_t footer_bytes;
  };

  Result<void> fill(int fd, uint32_t number, uint32_t shard);
  // After a portion of writing that took so long.
  void rest(uint64_t worked_ns);
  Result<void> seal_with(int fd, const Footer& footer, bool damaged);

  engine::Disk& disk_;
  PacedDisk paced_;
  engine::Clock& clock_;
  const Settings settings_;
  const uint32_t salt_;
  uint32_t next_number_;
  std::vector<uint32_t> open_;  // created or found, not sealed; sorted
  std::vector<Sealed> sealed_;  // not yet in the snapshot
  SnapshotInfo snapshot_;
  std::atomic<bool> hurry_{false};
};

uint32_t wall_seconds(engine::Clock& clock);

}  // namespace ringtalk::store
