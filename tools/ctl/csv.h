// CsvReader: rows of RFC 4180 out of bytes that come in pieces.
//
//   row    = field *("," field) (LF / CRLF / end)
//   field  = *(any byte but , " LF CR) / DQUOTE *(any byte but DQUOTE / 2DQUOTE) DQUOTE
//
// Bound   kRowBytesMax per row, kFieldsMax fields; a longer row is one bad row, the rest is still read.
// Errors  in Row::problem, one row each; reading goes on behind the line in which it went wrong. An empty
//         line is no row, a byte order mark at the very start is none of the first field.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/units.h"

namespace ringtalk::ctl {

class CsvReader {
 public:
  static constexpr size_t kRowBytesMax = 64 * kKiB;
  static constexpr size_t kFieldsMax   = 64;

  struct Row {
    uint64_t line = 0;  // where it starts, from 1
    std::vector<std::string> fields;
    std::string problem;  // empty: fields are good
  };

  // Rows that are complete with these bytes.
  std::vector<Row> feed(std::string_view bytes);
  // The last row, if no line end closed it.
  std::vector<Row> finish();

 private:
  enum class State : uint8_t { start, plain, quoted, quote, skip };

  void take(char byte, std::vector<Row>& rows);
  void end_field();
  void end_row(std::vector<Row>& rows);
  void spoil(std::string problem);

  State state_   = State::start;  // of the field
  uint64_t line_ = 1;
  Row row_{.line = 1};
  std::string field_;
  size_t row_bytes_ = 0;
  bool touched_     = false;  // the row has a byte
  size_t mark_      = 0;      // bytes of a byte order mark seen at the start; kMarkDone behind it
};

}  // namespace ringtalk::ctl
