#include "store/mysql/message_batch.h"

#include <algorithm>
#include <cstring>

namespace ringtalk::store {

void MessageBatch::compact() {
  if (std::erase_if(rows_, [](const Row& row) { return row.told; }) == 0) return;
  uint32_t to = 0;
  for (Row& row : rows_) {
    std::memmove(bytes_.data() + to, bytes_.data() + row.body_at, row.body_bytes);
    row.body_at = to;
    to += row.body_bytes;
  }
  bytes_.resize(to);
}

void MessageBatch::prepare(const Conversations& conversations) {
  compact();
  places_.clear();
  place_of_.clear();
  earliest_ = UINT64_MAX;
  for (Row& row : rows_) {
    const auto [at, fresh] =
        place_of_.try_emplace(row.conversation.key, static_cast<uint32_t>(places_.size()));
    if (fresh) places_.push_back({.base = conversations.get(row.conversation)});
    row.place = at->second;
    if (row.deadline_ns != 0) earliest_ = std::min(earliest_, row.deadline_ns);
  }
}

void MessageBatch::clear() {
  rows_.clear();
  bytes_.clear();
  cursors_.clear();
  places_.clear();
  place_of_.clear();
}

bool MessageBatch::holds(ConversationId conversation) const {
  return std::ranges::any_of(
      rows_, [&](const Row& row) { return !row.told && row.conversation == conversation; });
}

}  // namespace ringtalk::store
