// MessageSearch: finds a message that no pointer leads to any more, because the record that had the
// pointer is damaged. Slow, blocking, rare: it reads footers, and records of one segment or a few.
//
// Thread rule  FileOpener's thread.
// Bound        kSegmentsMax segments back from the damage.
#pragma once

#include "engine/disk.h"
#include "store/embedded/format.h"

namespace ringtalk::store {

struct MessageSearch {
  static constexpr uint32_t kSegmentsMax = 256;

  uint64_t conversation = 0;
  uint32_t below_id     = 0;  // the newest message with a smaller id …
  Pointer below_place;        // … that lies before this place
  uint32_t salt = 0;

  // Its id and place; id 0: not found.
  struct Found {
    uint32_t msg_id = 0;
    Pointer place;
  };
  Found run(engine::Disk& disk) const;

 private:
  Found look_into(engine::Disk& disk, uint32_t segment) const;
};

}  // namespace ringtalk::store
