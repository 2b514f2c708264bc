#include "tools/ctl/line_editor.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/assert.h"
#include "tools/ctl/printable.h"

namespace ringtalk::ctl {

namespace {

constexpr char key(char letter) { return static_cast<char>(letter & 0x1f); }  // with Control held
constexpr char kEscape             = 0x1b;
constexpr char kBackspace          = 0x7f;
constexpr size_t kSequenceBytesMax = 16;

bool continues(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

// Bytes that a character with this first byte has; 0 for none that may start one.
size_t bytes_of(char byte) {
  const auto first = static_cast<unsigned char>(byte);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  return first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
}

}  // namespace

LineEditor::Result LineEditor::feed(std::string_view bytes) {
  Result result;
  for (const char byte : bytes) {
    take(byte, result);
    if (result.ended) break;
  }
  RT_ASSERT(cursor_ <= text_.size());
  RT_ASSERT(text_.size() <= kLineBytesMax);
  return result;
}

void LineEditor::take(char byte, Result& result) {
  if (mode_ != Mode::plain) return take_escape(byte);
  if (!partial_.empty() && !continues(byte)) partial_.clear();
  const auto value = static_cast<unsigned char>(byte);
  if (value < 0x20 || byte == kBackspace) return take_control(byte, result);
  if (partial_.empty() && bytes_of(byte) == 0) return;
  partial_ += byte;
  if (partial_.size() < bytes_of(partial_[0])) return;
  const CodePoint point = first_code_point(partial_);
  if (point.valid && !(point.value >= 0x80 && point.value < 0xa0)) insert(partial_, result);
  partial_.clear();
}

void LineEditor::take_control(char byte, Result& result) {
  switch (byte) {
    case '\r':
    case '\n': return finish_line(result);
    case key('C'): result.ended = true; return;
    case key('D'):
      if (text_.empty()) {
        result.ended = true;
      } else {
        erase_between(cursor_, after(cursor_));
      }
      return;
    case key('H'):
    case kBackspace: return erase_between(before(cursor_), cursor_);
    case key('A'): cursor_ = 0; return;
    case key('E'): cursor_ = text_.size(); return;
    case key('B'): cursor_ = before(cursor_); return;
    case key('F'): cursor_ = after(cursor_); return;
    case key('U'): return erase_between(0, cursor_);
    case key('K'): return erase_between(cursor_, text_.size());
    case key('W'): return erase_between(word_start(cursor_), cursor_);
    case key('P'): return step_back_in_history();
    case key('N'): return step_forward_in_history();
    case '\t': return insert(" ", result);
    case kEscape: mode_ = Mode::escape; return;
    default: return;
  }
}

// ESC [ parameters final, ESC O final, or ESC and one more byte.
void LineEditor::take_escape(char byte) {
  switch (mode_) {
    case Mode::escape:
      sequence_.clear();
      mode_ = byte == '[' ? Mode::sequence : byte == 'O' ? Mode::single : Mode::plain;
      return;
    case Mode::single: mode_ = Mode::plain; return finish_sequence(byte);
    case Mode::sequence:
      if (byte >= 0x40 && byte <= 0x7e) {
        mode_ = Mode::plain;
        return finish_sequence(byte);
      }
      if (byte < 0x20 || byte > 0x3f || sequence_.size() == kSequenceBytesMax) {
        mode_ = Mode::plain;  // no terminal sends this
        return;
      }
      sequence_ += byte;
      return;
    case Mode::plain: return;
  }
}

void LineEditor::finish_sequence(char last) {
  switch (last) {
    case 'A': return step_back_in_history();
    case 'B': return step_forward_in_history();
    case 'C': cursor_ = after(cursor_); return;
    case 'D': cursor_ = before(cursor_); return;
    case 'H': cursor_ = 0; return;
    case 'F': cursor_ = text_.size(); return;
    case '~':
      if (sequence_ == "1" || sequence_ == "7") cursor_ = 0;
      if (sequence_ == "4" || sequence_ == "8") cursor_ = text_.size();
      if (sequence_ == "3") erase_between(cursor_, after(cursor_));
      return;  // 200~ and 201~ frame a paste: what is between them is typed
    default: return;
  }
}

void LineEditor::insert(std::string_view character, Result& result) {
  if (text_.size() + character.size() > kLineBytesMax) {
    result.bell = true;
    return;
  }
  text_.insert(cursor_, character);
  cursor_ += character.size();
}

void LineEditor::finish_line(Result& result) {
  const bool repeated = !remembered_.empty() && remembered_.back() == text_;
  if (!text_.empty() && !repeated) remembered_.push_back(text_);
  if (remembered_.size() > kRememberedLinesMax) remembered_.pop_front();
  recalled_ = remembered_.size();
  draft_.clear();
  result.lines.push_back(std::move(text_));
  text_.clear();
  cursor_ = 0;
}

void LineEditor::erase_between(size_t from, size_t to) {
  RT_ASSERT(from <= to);
  RT_ASSERT(to <= text_.size());
  text_.erase(from, to - from);
  cursor_ = from;
}

void LineEditor::recall(size_t index) {
  RT_ASSERT(index <= remembered_.size());
  if (recalled_ == remembered_.size()) draft_ = text_;
  recalled_ = index;
  text_     = index == remembered_.size() ? draft_ : remembered_[index];
  cursor_   = text_.size();
}

void LineEditor::step_back_in_history() {
  if (recalled_ > 0) recall(recalled_ - 1);
}

void LineEditor::step_forward_in_history() {
  if (recalled_ < remembered_.size()) recall(recalled_ + 1);
}

size_t LineEditor::before(size_t at) const {
  if (at == 0) return 0;
  do --at;
  while (at > 0 && continues(text_[at]));
  return at;
}

size_t LineEditor::after(size_t at) const {
  if (at == text_.size()) return at;
  do ++at;
  while (at < text_.size() && continues(text_[at]));
  return at;
}

size_t LineEditor::word_start(size_t at) const {
  while (at > 0 && text_[at - 1] == ' ') --at;
  while (at > 0 && text_[at - 1] != ' ') --at;
  return at;
}

std::string LineEditor::redraw(std::string_view prompt, size_t columns) const {
  const size_t prompt_columns = column_width(prompt);
  // The last column stays free: a character there would wrap the line.
  const size_t room = columns > prompt_columns + 2 ? columns - prompt_columns - 1 : 1;

  // From the cursor back while it fits, then from there on while it fits.
  size_t from = cursor_;
  size_t used = 0;
  while (from > 0) {
    const size_t previous = before(from);
    const size_t width    = column_width(std::string_view(text_).substr(previous, from - previous));
    if (used + width > room) break;
    used += width;
    from = previous;
  }
  const size_t cursor_columns = used;
  size_t to                   = cursor_;
  while (to < text_.size()) {
    const size_t next  = after(to);
    const size_t width = column_width(std::string_view(text_).substr(to, next - to));
    if (used + width > room) break;
    used += width;
    to = next;
  }
  std::string out =
      fmt::format("{}{}{}", erase(), prompt, std::string_view(text_).substr(from, to - from));
  const size_t back = used - cursor_columns;
  if (back > 0) out += fmt::format("\x1b[{}D", back);
  return out;
}

}  // namespace ringtalk::ctl
