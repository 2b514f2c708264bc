// Table: rows of text in columns, for a terminal.
//
// Cost  two passes over the cells; foreign text is escaped here, so nothing added can move the cursor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringtalk::ctl {

class Table {
 public:
  // A heading that ends in '>' makes a column of numbers: set flush right, the '>' itself not shown.
  explicit Table(std::vector<std::string> headings);

  // As many cells as headings.
  void add(const std::vector<std::string>& cells);

  // Lines without blanks at their ends, each with its newline.
  std::string text() const;

 private:
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> lines_;
};

// "1 session", "3 sessions"
std::string counted(uint64_t count, std::string_view what);
// "12", "9.8k", "1.2M": at most four characters for anything below a thousand million.
std::string short_number(double value);
// "512 B", "12.3 KiB", "1.5 GiB"
std::string bytes_text(double bytes);
// "47 s", "12 min", "3 h 05 min", "4 d 02 h"
std::string duration_text(double seconds);

}  // namespace ringtalk::ctl
