// Recovery: from the files of a log, whatever happened to it, to the tables of the shards.
//
// Steps    look at every header and the snapshot (a newer format is refused before anything is
//          written) → snapshot → footers of later sealed segments → records of unsealed ones, which are
//          sealed on the spot. Each shard then starts a fresh segment, so another number of shards is
//          nothing special: what is found is dealt out by Homes.
// Errors   unsupported: a newer format. corrupt: no header or snapshot tells the salt. os: the disk.
//          Damage is not an error: it is listed, and everything else is readable.
// Cost     reads snapshot and footers: 48 bytes per conversation; and the unsealed tails.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/clock.h"
#include "engine/disk.h"
#include "store/cursors.h"
#include "store/embedded/heads.h"
#include "store/embedded/segment_worker.h"
#include "store/store.h"

namespace ringtalk::store {

// One shard's share of what was found.
struct ShardState {
  explicit ShardState(uint64_t seed) : heads(seed), cursors(seed) {}
  Heads heads;
  Cursors cursors;
};

struct TornTail {
  uint32_t segment = 0;
  uint64_t offset  = 0;
  uint64_t bytes   = 0;
};

// A segment is made full size and cut to what it holds only when its footer is there: shorter, and without
// one, it has lost its end.
struct CutShort {
  uint32_t segment = 0;
  uint64_t bytes   = 0;  // left
};

struct RecoveryReport {
  uint32_t segments          = 0;  // files found
  uint32_t segments_read     = 0;  // whose records had to be read
  uint64_t bytes_read        = 0;  // of records
  uint64_t records_read      = 0;
  uint64_t conversations     = 0;
  uint64_t cursors           = 0;
  uint64_t repeats           = 0;
  uint64_t repeats_forgotten = 0;  // the oldest, beyond kRepeatsMax
  uint64_t torn_bytes        = 0;
  uint64_t duration_ns       = 0;
  bool snapshot_rebuilt      = false;  // it was damaged
  std::vector<TornTail> torn;
  std::vector<Damage> damages;
  std::vector<uint32_t> damaged_headers;
  std::vector<uint32_t> damaged_footers;
  std::vector<CutShort> cut_short;
  std::vector<uint32_t> unsealed;  // could not be sealed (disk full?); read again at the next start

  // One line per finding, for the log.
  std::vector<std::string> lines() const;
};

struct RecoverySettings {
  Homes homes;
  uint64_t segment_bytes = 0;  // 0: max(4 MiB, 64 MiB / shards)
  uint64_t fresh_salt    = 0;  // for a new log
};

struct Recovered {
  uint64_t salt          = 0;
  uint64_t segment_bytes = 0;
  std::vector<std::unique_ptr<ShardState>> shards;
  std::vector<std::vector<Repeat>> repeats;  // per shard
  std::unique_ptr<SegmentWorker> worker;
  RecoveryReport report;
};

Result<Recovered> recover(engine::Disk& disk, engine::Clock& clock,
                          const RecoverySettings& settings);

// Salt and version of a log: what verify needs too. not_found: an empty directory.
struct LogFiles {
  std::vector<uint32_t> segments;  // sorted
  std::vector<uint32_t> damaged_headers;
  std::vector<CutShort> cut_short;
  bool has_snapshot     = false;  // a whole header
  bool snapshot_damaged = false;
  uint64_t salt         = 0;
  bool has_salt         = false;
};
Result<LogFiles> look_at_log(engine::Disk& disk);

}  // namespace ringtalk::store
