#include "tools/ctl/teamtalk/positions.h"

#include <algorithm>
#include <tuple>

#include "store/mysql/schema.h"

namespace ringtalk::ctl {

bool is_sane(uint64_t msg_id) { return msg_id > 0 && msg_id < store::sql::kInsaneMsgId; }

void sort_messages(std::vector<OldMessage>& messages) {
  std::ranges::sort(messages, {}, [](const OldMessage& message) {
    return std::tuple(message.msg_id, message.created, message.id);
  });
}

Conversation::Conversation(std::span<const OldMessage> sorted, std::optional<uint64_t> counter,
                           uint32_t small, uint32_t now) {
  if (counter && is_sane(*counter)) newest_ = static_cast<uint32_t>(*counter);
  for (const OldMessage& message : sorted) {
    if (!is_sane(message.msg_id)) continue;
    newest_ = std::max(newest_, message.msg_id);
    if (message.visible) seen_.push_back({message.msg_id, message.author, message.created});
  }
  hidden_ = newest_;
  for (size_t i = 0; i < seen_.size(); ++i) {
    if (i + 1 < seen_.size() && seen_[i + 1].msg_id == seen_[i].msg_id) continue;
    --hidden_;
    if (small != 0 && seen_[i].author == small) ++small_;
  }
  if (!seen_.empty()) time_ = std::min(seen_.back().created, now);
  if (small != 0) return;
  by_time_ = seen_;
  std::ranges::stable_sort(by_time_, {}, &Seen::created);
  for (size_t i = by_time_.size(); i-- > 1;)
    by_time_[i - 1].msg_id = std::min(by_time_[i - 1].msg_id, by_time_[i].msg_id);
}

uint32_t Conversation::below(uint64_t unread, uint32_t author) const {
  if (unread == 0) return newest_;
  for (size_t i = seen_.size(); i-- > 0;) {
    if ((author == 0 || seen_[i].author == author) && --unread == 0) return seen_[i].msg_id - 1;
  }
  return 0;
}

uint32_t Conversation::first_since(uint32_t time) const {
  const auto from = std::ranges::lower_bound(by_time_, time, {}, &Seen::created);
  return from == by_time_.end() ? newest_ + 1 : from->msg_id;
}

std::unordered_map<uint32_t, uint32_t> Conversation::newest_by_author() const {
  std::unordered_map<uint32_t, uint32_t> newest;
  for (const Seen& seen : seen_) newest[seen.author] = seen.msg_id;
  return newest;
}

uint32_t Conversation::unread_behind(uint32_t position, uint32_t reader) const {
  const auto from = std::ranges::upper_bound(seen_, position, {}, &Seen::msg_id);
  return static_cast<uint32_t>(
      std::count_if(from, seen_.end(), [&](const Seen& seen) { return seen.author != reader; }));
}

std::optional<uint64_t> group_unread(std::optional<uint64_t> total, std::optional<uint64_t> copy) {
  if (!total) return 0;
  if (!copy) return std::nullopt;
  return *total > *copy ? *total - *copy : 0;
}

}  // namespace ringtalk::ctl
