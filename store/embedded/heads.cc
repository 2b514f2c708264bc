#include "store/embedded/heads.h"

namespace ringtalk::store {

HeadEntry Heads::get(uint64_t conversation, uint32_t* tail) const {
  HeadEntry entry{.conversation = conversation};
  if (tail) *tail = 0;
  if (conversation == 0) return entry;
  const HeadRow* row = rows_.find(conversation);
  if (!row) return entry;
  entry.newest      = row->newest;
  entry.block       = row->block;
  entry.msg_id      = row->msg_id;
  entry.time        = row->time;
  entry.small_count = row->small_count;
  if (row->tail & kHasRare) {
    const auto rare = rare_.find(conversation);
    RT_ASSERT(rare != rare_.end());
    entry.control = rare->second.control;
    entry.hidden  = rare->second.hidden;
  }
  if (tail) *tail = row->tail & ~kHasRare;
  return entry;
}

void Heads::set(const HeadEntry& entry, uint32_t tail) {
  RT_ASSERT(entry.conversation != 0 && (tail & kHasRare) == 0);
  HeadRow& row    = rows_.find_or_insert(entry.conversation);
  row.newest      = entry.newest;
  row.block       = entry.block;
  row.msg_id      = entry.msg_id;
  row.time        = entry.time;
  row.small_count = entry.small_count;
  row.tail        = tail;
  if (entry.control || entry.hidden != 0) {
    rare_[entry.conversation] = {entry.control, entry.hidden};
    row.tail |= kHasRare;
  }
}

uint64_t Heads::memory_bytes() const {
  return rows_.memory_bytes() + rare_.bucket_count() * (sizeof(Rare) + sizeof(uint64_t) + 1);
}

}  // namespace ringtalk::store
