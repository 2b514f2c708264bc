// MessageWalk: the messages of one table, conversation by conversation, lowest number first.
//
// Order   conversations are asked for in rising order; those that are not are passed over.
// Memory  kRowsAtOnce messages, or those of one conversation if it has more: some 150 bytes each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/ctl/teamtalk/database.h"
#include "tools/ctl/teamtalk/positions.h"

namespace ringtalk::ctl {

class MessageWalk {
 public:
  static MessageWalk of_pairs(Database& database, uint32_t table);
  // With `authors` it reads rows, else an index has all of it (and authors are 0).
  static MessageWalk of_groups(Database& database, uint32_t table, bool authors = false);

  // In no order; see sort_messages().
  std::vector<OldMessage> of(uint32_t conversation);

 private:
  static constexpr size_t kRowsAtOnce   = 200'000;
  static constexpr size_t kCountsAtOnce = 20'000;

  struct Row {
    uint32_t conversation = 0;
    OldMessage message;
  };
  struct Count {
    uint32_t conversation = 0;
    uint64_t messages     = 0;
  };

  MessageWalk(Database& database, std::string table, std::string owner, std::string columns);
  bool load(uint32_t conversation);
  bool count(uint32_t from);

  Database& database_;
  const std::string table_, owner_, columns_;
  std::vector<Count> counts_;
  size_t next_ = 0;
  std::vector<Row> loaded_;
  size_t at_ = 0;
};

// The column of a row as an id, a count or a time.
uint32_t number32(const store::sql::Rows& rows, size_t row, uint32_t column);

}  // namespace ringtalk::ctl
