// RawTerminal: standard input without echo and line editing, while this lives.
//
// Lifetime  settings are restored at the end: signals must end the program through the destructor.
// Errors    is_on() is false when input or output is no terminal, or one that knows no escape sequences
//           (TERM unset or dumb): then plain lines are all there is.
#pragma once

#include <termios.h>

#include <cstddef>
#include <optional>

namespace ringtalk::ctl {

class RawTerminal {
 public:
  RawTerminal();
  ~RawTerminal();
  RawTerminal(const RawTerminal&)            = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

  bool is_on() const { return before_.has_value(); }

 private:
  std::optional<termios> before_;
};

struct TerminalSize {
  size_t columns = 80;
  size_t rows    = 24;
};
TerminalSize terminal_size();

}  // namespace ringtalk::ctl
