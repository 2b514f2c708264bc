#include "store/embedded/message_search.h"

#include <algorithm>

#include "store/embedded/footer.h"
#include "store/embedded/segment_scan.h"

namespace ringtalk::store {

MessageSearch::Found MessageSearch::run(engine::Disk& disk) const {
  const uint32_t newest = below_place.segment();
  const uint32_t oldest = newest > kSegmentsMax ? newest - kSegmentsMax : 1;
  for (uint32_t segment = newest; segment >= oldest; --segment)
    if (const Found found = look_into(disk, segment); found.msg_id != 0) return found;
  return {};
}

MessageSearch::Found MessageSearch::look_into(engine::Disk& disk, uint32_t segment) const {
  auto fd = disk.open(segment_path(segment), engine::Disk::Open::read);
  if (!fd) return {};  // numbers have gaps: segments that held nothing are removed
  Found found;
  auto footer = load_footer(disk, *fd, segment, salt);
  if (footer) {
    const auto entry =
        std::ranges::lower_bound(footer->heads, conversation, {}, &HeadEntry::conversation);
    const bool here =
        entry != footer->heads.end() && entry->conversation == conversation && entry->newest;
    if (!here || (entry->msg_id < below_id && entry->newest < below_place)) {
      disk.close(*fd);
      return here ? Found{entry->msg_id, entry->newest} : Found{};
    }
  }
  (void)scan_segment(disk, *fd, segment, salt, footer ? footer->end : 0,
                     [&](const RecordView& record, Pointer place) {
                       const RecordHeader& header = record.header;
                       if (header.kind == RecordKind::message &&
                           header.conversation == conversation && header.msg_id < below_id &&
                           place < below_place && header.msg_id > found.msg_id)
                         found = {header.msg_id, place};
                     });
  disk.close(*fd);
  return found;
}

}  // namespace ringtalk::store
