#include "tools/ctl/csv.h"

#include <utility>

namespace ringtalk::ctl {

namespace {

constexpr std::string_view kMark = "\xef\xbb\xbf";
constexpr size_t kMarkDone       = 4;

}  // namespace

std::vector<CsvReader::Row> CsvReader::feed(std::string_view bytes) {
  std::vector<Row> rows;
  for (const char byte : bytes) {
    if (mark_ < kMark.size()) {
      if (byte == kMark[mark_]) {
        ++mark_;
        continue;
      }
      const size_t seen = std::exchange(mark_, kMarkDone);
      for (const char start : kMark.substr(0, seen)) take(start, rows);
    }
    take(byte, rows);
  }
  return rows;
}

std::vector<CsvReader::Row> CsvReader::finish() {
  std::vector<Row> rows;
  if (mark_ < kMark.size()) {
    for (const char start : kMark.substr(0, std::exchange(mark_, kMarkDone))) take(start, rows);
  }
  if (state_ == State::quoted) spoil("a quotation mark is never closed");
  if (touched_) end_row(rows);
  return rows;
}

void CsvReader::take(char byte, std::vector<Row>& rows) {
  const bool line_ends = byte == '\n';
  if (line_ends) ++line_;
  if (!line_ends && byte != '\r') touched_ = true;
  if (state_ != State::skip && ++row_bytes_ > kRowBytesMax) {
    spoil("the row is longer than 64 KiB");
    // Within quotation marks nobody knows where it ends: the next line is as good a guess as any.
  }
  switch (state_) {
    case State::start:
      if (byte == '"') {
        state_ = State::quoted;
        return;
      }
      [[fallthrough]];
    case State::plain:
      if (byte == '\n') return end_row(rows);
      if (byte == ',') return end_field();
      if (byte == '"') return spoil("a quotation mark within a field that does not start with one");
      field_ += byte;  // a CR at the end of a line goes when the row ends
      state_ = State::plain;
      return;
    case State::quoted:
      touched_ = true;
      if (byte == '"') {
        state_ = State::quote;
      } else {
        field_ += byte;
      }
      return;
    case State::quote:
      if (byte == '"') {
        field_ += '"';
        state_ = State::quoted;
      } else if (byte == ',') {
        end_field();
      } else if (byte == '\n') {
        end_row(rows);
      } else if (byte != '\r') {
        spoil("text behind a closing quotation mark");
      }
      return;
    case State::skip:
      if (byte == '\n') end_row(rows);
      return;
  }
}

void CsvReader::end_field() {
  if (row_.fields.size() == kFieldsMax) return spoil("more than 64 fields");
  row_.fields.push_back(std::exchange(field_, {}));
  state_ = State::start;
}

void CsvReader::end_row(std::vector<Row>& rows) {
  if (state_ == State::plain && field_.ends_with('\r')) field_.pop_back();
  if (state_ != State::skip && touched_) end_field();
  if (state_ == State::skip) row_.fields.clear();
  if (touched_) rows.push_back(std::move(row_));
  row_ = Row{.line = line_};
  field_.clear();
  state_     = State::start;
  row_bytes_ = 0;
  touched_   = false;
}

void CsvReader::spoil(std::string problem) {
  row_.problem = std::move(problem);
  field_.clear();
  state_ = State::skip;
}

}  // namespace ringtalk::ctl
