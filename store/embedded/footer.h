// Footer: what a sealed segment says about itself, so that a restart need not read its records.
//
// Sealing  writes footer and trailer behind the records, syncs, then cuts the file to its length and
//          syncs again. A crash in between leaves an unsealed segment: sealed anew.
// Source   a running shard notes every record as it writes it; after a crash the records are read back.
//          Both feed the same FooterBuilder, so both make the same footer.
// Bound    the preallocated bytes: a shard counts footer_reserve() along with its records, so sealing
//          needs no new space on a full disk.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
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

// Cost     per record one look-up by conversation, and one RepeatEntry if the record has keys.
class FooterBuilder {
 public:
  void add(const RecordView& record, Pointer place);
  // A damaged newest message: its id is taken and must not be given again.
  void add_damaged(const Damage& damage);
  Footer finish(uint32_t segment, const Scan& scan, uint32_t now);

 private:
  boost::unordered_flat_map<uint64_t, HeadEntry> heads_;
  boost::unordered_flat_map<uint64_t, boost::unordered_flat_map<uint32_t, uint32_t>> cursors_;
  std::vector<RepeatEntry> repeats_;
};

// Errc::not_found: not sealed. Errc::corrupt: sealed, but the footer is damaged.
Result<Footer> load_footer(engine::Disk& disk, int fd, uint32_t segment, uint32_t salt);

Result<void> write_footer(engine::Disk& disk, int fd, const Footer& footer, uint32_t salt);

// Reads the records of an unsealed segment (or of one whose footer is damaged).
Result<Footer> rebuild_footer(engine::Disk& disk, int fd, uint32_t segment, uint32_t salt,
                              uint32_t now, Scan* scan);

}  // namespace ringtalk::store
