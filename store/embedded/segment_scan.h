// Scan: reads the records of one segment file in order, whatever state it is in.
//
// Torn tail  Batch b + 1 is written only after batch b came home synced, so after a crash only the
//            newest batch may be incomplete. An unreadable record is the torn tail when nothing proves
//            the opposite; the proofs are a footer behind it, or a valid record of a batch that could
//            only have been written after this place was synced. With a proof it is damage.
// Damage     named by place and, where the header can still be read, by conversation; the records
//            behind it are found again by their checksums and stay readable.
// Errors     an unreadable disk block counts as damaged bytes, not as an error.
// Cost       memory: one window of 2 MiB. About 1 GiB/s.
#pragma once

#include <functional>
#include <vector>

#include "engine/disk.h"
#include "store/embedded/format.h"

namespace ringtalk::store {

struct Damage {
  uint32_t segment = 0;
  uint64_t offset  = 0;
  uint64_t bytes   = 0;
  // What the header of the damaged record says, if it still makes sense; else 0. Not to be trusted.
  uint64_t conversation = 0;
  uint32_t msg_id       = 0;
  Pointer prev;
};

struct Scan {
  uint64_t end        = kSegmentHeaderBytes;  // of the last record
  uint32_t last_batch = 0;
  uint64_t records    = 0;
  uint64_t torn_bytes = 0;  // behind the end: an incomplete batch
  std::vector<Damage> damages;
};

using VisitRecord = std::function<void(const RecordView&, Pointer)>;

// known_end: where a footer says the records end; 0 = not known.
Result<Scan> scan_segment(engine::Disk& disk, int fd, uint32_t segment, uint32_t salt,
                          uint64_t known_end, const VisitRecord& visit);

}  // namespace ringtalk::store
