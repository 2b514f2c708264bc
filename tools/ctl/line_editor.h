// LineEditor: a line being typed, as a state machine over the bytes of a raw terminal.
//
// Thread rule  one thread; reads and writes nothing itself.
// Bound        kLineBytesMax per line (more is refused with a bell), kRememberedLinesMax earlier lines.
// Errors       bytes that are no UTF-8 and unknown escape sequences are swallowed, wherever a read cut them.
// Why          small on purpose: what chat needs, and it can be redrawn at any time, so that what comes
//              in is printed above the line instead of through it.
//
// Keys: ← → Home End ^A ^E ^B ^F, Backspace Delete ^H, ^U ^K ^W, ↑ ↓ ^P ^N (earlier lines), ^L,
//       Enter; ^C, and ^D on an empty line, end the input.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace ringtalk::ctl {

inline constexpr size_t kLineBytesMax       = 8 * 1024;
inline constexpr size_t kRememberedLinesMax = 100;

class LineEditor {
 public:
  struct Result {
    std::vector<std::string> lines;  // finished by Enter, in order
    bool ended = false;              // ^C or ^D; what was typed behind it is dropped
    bool bell  = false;
  };

  Result feed(std::string_view bytes);

  // Clears the terminal's current line and draws prompt and text, scrolled so that the cursor is within
  // `columns`. The prompt holds printable text only.
  std::string redraw(std::string_view prompt, size_t columns) const;
  static std::string_view erase() { return "\r\x1b[K"; }

  const std::string& text() const { return text_; }
  size_t cursor() const { return cursor_; }  // bytes before it

 private:
  enum class Mode : unsigned char { plain, escape, sequence, single };

  void take(char byte, Result& result);
  void take_control(char byte, Result& result);
  void take_escape(char byte);
  void finish_sequence(char last);
  void insert(std::string_view character, Result& result);
  void finish_line(Result& result);
  void erase_between(size_t from, size_t to);
  void recall(size_t index);
  void step_back_in_history();
  void step_forward_in_history();
  size_t before(size_t at) const;
  size_t after(size_t at) const;
  size_t word_start(size_t at) const;

  std::string text_;
  size_t cursor_ = 0;
  std::string partial_;   // a character whose last bytes have not come yet
  std::string sequence_;  // parameters of an escape sequence
  Mode mode_ = Mode::plain;
  std::deque<std::string> remembered_;  // oldest first
  size_t recalled_ = 0;                 // index into remembered_; its size = the line being typed
  std::string draft_;                   // that line, while an earlier one is shown
};

}  // namespace ringtalk::ctl
