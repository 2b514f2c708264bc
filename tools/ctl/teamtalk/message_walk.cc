#include "tools/ctl/teamtalk/message_walk.h"

#include <fmt/format.h>

#include <algorithm>

namespace ringtalk::ctl {

using store::sql::Rows;

uint32_t number32(const Rows& rows, size_t row, uint32_t column) {
  return static_cast<uint32_t>(rows.number(row, column));
}

MessageWalk MessageWalk::of_pairs(Database& database, uint32_t table) {
  return {database, "{" + store::sql::numbered("IMMessage_", table) + "}", "relateId",
          "id, msgId, fromId, created, status = 0"};
}

MessageWalk MessageWalk::of_groups(Database& database, uint32_t table, bool authors) {
  return {database, "{" + store::sql::numbered("IMGroupMessage_", table) + "}", "groupId",
          authors ? "id, msgId, userId, created, status = 0" : "id, msgId, 0, created, status = 0"};
}

MessageWalk::MessageWalk(Database& database, std::string table, std::string owner,
                         std::string columns)
    : database_(database),
      table_(std::move(table)),
      owner_(std::move(owner)),
      columns_(std::move(columns)) {}

std::vector<OldMessage> MessageWalk::of(uint32_t conversation) {
  while (at_ == loaded_.size() || loaded_[at_].conversation < conversation) {
    if (at_ < loaded_.size())
      ++at_;
    else if (!load(conversation))
      return {};
  }
  std::vector<OldMessage> messages;
  for (; at_ < loaded_.size() && loaded_[at_].conversation == conversation; ++at_)
    messages.push_back(loaded_[at_].message);
  return messages;
}

// False: there is nothing from `conversation` on.
bool MessageWalk::load(uint32_t conversation) {
  while (next_ == counts_.size() || counts_[next_].conversation < conversation) {
    if (next_ < counts_.size())
      ++next_;
    else if (!count(conversation))
      return false;
  }
  const uint32_t first = counts_[next_].conversation;
  uint32_t last        = first;
  for (uint64_t sum = 0; next_ < counts_.size(); ++next_) {
    sum += counts_[next_].messages;
    if (counts_[next_].conversation != first && sum > kRowsAtOnce) break;
    last = counts_[next_].conversation;
  }
  const Rows rows = database_.rows(
      fmt::format("SELECT {0}, {1} FROM {2} WHERE {0} BETWEEN ? AND ?", owner_, columns_, table_),
      {uint64_t{first}, uint64_t{last}});
  loaded_.clear();
  at_ = 0;
  loaded_.reserve(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    loaded_.push_back({number32(rows, i, 0),
                       {number32(rows, i, 1), number32(rows, i, 2), number32(rows, i, 3),
                        number32(rows, i, 4), rows.number(i, 5) != 0}});
  }
  std::ranges::sort(loaded_, {}, &Row::conversation);
  return !loaded_.empty();
}

bool MessageWalk::count(uint32_t from) {
  const Rows rows = database_.rows(
      fmt::format(
          "SELECT {0}, COUNT(*) FROM {1} WHERE {0} >= ? GROUP BY {0} ORDER BY {0} LIMIT {2}",
          owner_, table_, kCountsAtOnce),
      {uint64_t{from}});
  counts_.clear();
  next_ = 0;
  for (size_t i = 0; i < rows.size(); ++i)
    counts_.push_back({number32(rows, i, 0), rows.number(i, 1)});
  return !counts_.empty();
}

}  // namespace ringtalk::ctl
