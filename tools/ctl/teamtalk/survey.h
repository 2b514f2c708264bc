// Survey: what in a TeamTalk database is not as the schema means it: double rows, rows of nobody, ids that
// are none. Only reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/ctl/teamtalk/database.h"

namespace ringtalk::ctl {

struct Finding {
  std::string name;  // a word for programs
  std::string text;  // what it is, and what becomes of it
  uint64_t count = 0;
  std::vector<std::string> examples;  // at most kExamples
};

inline constexpr size_t kExamples = 3;

// Those with a count above 0, in the order of their tables.
std::vector<Finding> survey(Database& database);

// About how many rows and bytes the tables have that are to be altered.
struct TableSize {
  std::string table;
  uint64_t rows = 0, bytes = 0;
};
std::vector<TableSize> sizes_of_gaps(Database& database);

}  // namespace ringtalk::ctl
