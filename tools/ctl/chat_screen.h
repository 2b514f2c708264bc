// ChatScreen: where a chat is typed and shown: a terminal with an input line, or plain pipes.
//
// Lifetime  a terminal is raw from construction to destruction, and restored then. Signals must end the
//           program through the destructor.
// Bound     kQueuedLinesMax typed lines wait in it; beyond that it does not want to read.
// Why       on a terminal each shown line is printed above the line being typed. On pipes there is no
//           prompt, and every line is flushed, so that a program at the other end sees it at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "tools/ctl/line_editor.h"
#include "tools/ctl/raw_terminal.h"

namespace ringtalk::ctl {

class ChatScreen {
 public:
  static constexpr size_t kQueuedLinesMax = 1024;

  ChatScreen() = default;
  ~ChatScreen();
  ChatScreen(const ChatScreen&)            = delete;
  ChatScreen& operator=(const ChatScreen&) = delete;

  bool is_terminal() const { return terminal_.is_on(); }

  // Printable text, without a newline. Nothing but this and the prompt is ever written.
  void show(std::string_view line);
  void set_prompt(std::string prompt);
  void redraw() { draw(); }  // after the terminal's size changed

  uint64_t skipped_lines() const { return skipped_; }  // too long, on pipes

  // Call when standard input is readable; lines come out of next_line().
  bool wants_input() const { return !ended_ && lines_.size() < kQueuedLinesMax; }
  void read_input();
  std::optional<std::string> next_line();
  bool ended() const { return ended_ && lines_.empty(); }  // end of input, and all of it taken

 private:
  void draw();
  void take_plain(std::string_view bytes);
  void end_plain_line();

  const RawTerminal terminal_;
  LineEditor editor_;
  std::string prompt_;
  std::string partial_;  // plain: a line whose end has not come yet
  bool overlong_    = false;
  uint64_t skipped_ = 0;
  std::deque<std::string> lines_;
  bool ended_ = false;
};

}  // namespace ringtalk::ctl
