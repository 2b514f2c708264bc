// Footer: what a sealed segment says about itself, so that a restart need not read its records.
//
// Sealing  writes footer and trailer behind the records, syncs, then cuts the file to its length and
//          syncs again. A crash in between leaves an unsealed segment: sealed anew.
// Source   a running shard notes every record as it writes it; after a crash the records are read back.
//          Both feed the same FooterBuilder, so both make the same footer.
// Bound    the preallocated bytes: a shard counts footer_reserve() along with its records, so sealing
//          needs no new space on a full disk.
#pragma once

#include <deque>
#include <vector>

#include "engine/disk.h"
#include "store/embedded/format.h"
#include "store/embedded/segment_scan.h"

namespace ringtalk::store {

inline constexpr uint32_t kFooterHeaderBytes = 64;
inline constexpr uint32_t kTrailerBytes      = 32;

struct Footer {
  uint32_t segment    = 0;
  uint32_t last_batch = 0;
  uint32_t sealed     = 0;  // seconds
  uint64_t records    = 0;
  uint64_t end        = kSegmentHeaderBytes;
  std::vector<HeadEntry> heads;      // by conversation
  std::vector<CursorEntry> cursors;  // by conversation, user
  std::vector<RepeatEntry> repeats;  // in log order

  uint64_t bytes() const {
    return kFooterHeaderBytes + heads.size() * sizeof(HeadEntry) +
           cursors.size() * sizeof(CursorEntry) + repeats.size() * sizeof(RepeatEntry);
  }
};

// Notes in the order of the log; sorting and joining wait for finish(), which is the worker's, not a
// shard's. So a shard never pauses for a table or an array that grows.
//
// Bound    the notes of a segment are smaller than the segment, which has room for its footer.
class FooterBuilder {
 public:
  void add(const RecordView& record, Pointer place);
  // The two halves of add(), for who joins the heads of a batch himself.
  static HeadEntry head_of(const RecordHeader& record, Pointer place);
  void add_head(const HeadEntry& head) { heads_.push_back(head); }
  void add_rest(const RecordHeader& record, const RecordKeys& keys);
  // A damaged newest message: its id is taken and must not be given again.
  void add_damaged(const Damage& damage);
  // Leaves the builder empty.
  Footer finish(uint32_t segment, const Scan& scan, uint32_t now);

 private:
  std::deque<HeadEntry> heads_;  // a conversation may be in it often
  std::deque<CursorEntry> cursors_;
  std::deque<RepeatEntry> repeats_;
};

// Whether a file of so many bytes ends as a sealed segment does.
bool has_trailer(engine::Disk& disk, int fd, uint64_t bytes);

// Errc::not_found: not sealed. Errc::corrupt: sealed, but the footer is damaged.
Result<Footer> load_footer(engine::Disk& disk, int fd, uint32_t segment, uint32_t salt);

Result<void> write_footer(engine::Disk& disk, int fd, const Footer& footer, uint32_t salt);

// Reads the records of an unsealed segment (or of one whose footer is damaged).
Result<Footer> rebuild_footer(engine::Disk& disk, int fd, uint32_t segment, uint32_t salt,
                              uint32_t now, Scan* scan);

}  // namespace ringtalk::store
