// Snapshot: heads, cursors and repeats of many sealed segments in one sorted file, log/snapshot.
//
//   OFFSET SIZE FIELD
//        0    8 magic "RTLOGSNP"
//        8    4 version         12 4 header bytes, 64
//       16    8 salt
//       24    4 covered up to: every segment <= this number is in the file
//       28    4 time written, seconds
//       32   28 zero            60 4 crc32c of bytes 0…59
//   then blocks: 4 kind, 4 count of entries, 4 crc32c of salt, kind, count and entries, 4 zero, entries.
//   kinds: 1 segments above "covered up to" that are in it too, 4 bytes each
//          2 heads by conversation, 48   3 cursors by (conversation, user), 16
//          4 repeats with a client key, 40   5 end: count = blocks before it, no entries
//          6 covered segments sealed less than 60 s before: 4 number, 4 sealed (seconds)
//
// Writing  snapshot.tmp, synced, renamed over the old one, directory synced.
// Repeats  keys that live 60 s stay in the footers; a start within that time reads those of the segments of
//          kind 6. Copying them from snapshot to snapshot would cost more than all the rest.
// Bound    kRepeatsMax repeats are kept, the newest: 40 MiB at most, here and in memory at start.
// Errors   any flipped bit fails a checksum; the file is then ignored and everything rebuilt from the
//          footers, which stay in the segments.
#pragma once

#include <functional>
#include <vector>

#include "engine/disk.h"
#include "store/embedded/footer.h"

namespace ringtalk::store {

inline constexpr uint32_t kRepeatsMax = 1024 * 1024;

struct Covered {
  uint32_t up_to = 0;
  std::vector<uint32_t> more;  // sorted, each above up_to

  bool has(uint32_t segment) const;
  void add(uint32_t segment);
  // Moves `more` into up_to as far as no segment in `open` (sorted) lies below.
  void settle(const std::vector<uint32_t>& open, uint32_t newest);
};

struct YoungSegment {
  uint32_t number = 0;
  uint32_t sealed = 0;  // seconds
};
static_assert(sizeof(YoungSegment) == 8);

struct SnapshotVisitor {
  std::function<void(const HeadEntry&)> head;
  std::function<void(const CursorEntry&)> cursor;
  std::function<void(const RepeatEntry&)> repeat;
};

struct SnapshotInfo {
  uint64_t salt = 0;
  Covered covered;
  std::vector<YoungSegment> young;
  uint64_t bytes = 0;
};

// Errc::not_found: none. corrupt: ignore it. unsupported: newer version, stop.
Result<SnapshotInfo> check_snapshot(engine::Disk& disk);
Result<SnapshotInfo> load_snapshot(engine::Disk& disk, const SnapshotVisitor& visit);

// Writes the old snapshot (if there is one; it must be whole) and the footers as a new one.
Result<SnapshotInfo> merge_snapshot(engine::Disk& disk, uint64_t salt, const Covered& covered,
                                    std::vector<Footer> footers, uint32_t now);

}  // namespace ringtalk::store
