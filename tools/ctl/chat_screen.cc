#include "tools/ctl/chat_screen.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace ringtalk::ctl {

namespace {

constexpr size_t kColumnsDefault = 80;

size_t terminal_columns() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kColumnsDefault;
  return size.ws_col;
}

}  // namespace

ChatScreen::ChatScreen() {
  termios before{};
  if (isatty(STDOUT_FILENO) != 1 || tcgetattr(STDIN_FILENO, &before) != 0) return;
  termios raw = before;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG | IEXTEN);
  raw.c_iflag &= ~static_cast<tcflag_t>(IXON);
  raw.c_cc[VMIN]  = 1;
  raw.c_cc[VTIME] = 0;
  if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0) terminal_before_ = before;
}

ChatScreen::~ChatScreen() {
  if (!terminal_before_) return;
  std::fputs("\r\x1b[K", stdout);
  std::fflush(stdout);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &*terminal_before_);
}

void ChatScreen::show(std::string_view line) {
  if (is_terminal()) std::fwrite(LineEditor::erase().data(), 1, LineEditor::erase().size(), stdout);
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
  draw();
}

void ChatScreen::set_prompt(std::string prompt) {
  prompt_ = std::move(prompt);
  draw();
}

void ChatScreen::draw() {
  if (is_terminal()) {
    const std::string line = editor_.redraw(prompt_, terminal_columns());
    std::fwrite(line.data(), 1, line.size(), stdout);
  }
  std::fflush(stdout);
}

void ChatScreen::read_input() {
  std::array<char, 4096> buffer;
  const ssize_t got = read(STDIN_FILENO, buffer.data(), buffer.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got <= 0) {  // a terminal that hangs up gives EIO
    if (!partial_.empty() && !overlong_) lines_.push_back(std::exchange(partial_, {}));
    ended_ = true;
    return;
  }
  const std::string_view bytes(buffer.data(), static_cast<size_t>(got));
  if (!is_terminal()) return take_plain(bytes);
  auto result = editor_.feed(bytes);
  for (std::string& line : result.lines) {
    // Stays on the screen as it was typed.
    fmt::print("{}{}{}\n", LineEditor::erase(), prompt_, line);
    lines_.push_back(std::move(line));
  }
  if (result.bell) std::fputc('\a', stdout);
  ended_ = result.ended;
  draw();
}

void ChatScreen::take_plain(std::string_view bytes) {
  for (const char byte : bytes) {
    if (byte == '\n') {
      if (overlong_) {
        fmt::print(stderr, "ringtalkctl: a line over {} bytes was skipped\n", kLineBytesMax);
      } else {
        if (partial_.ends_with('\r')) partial_.pop_back();
        lines_.push_back(std::move(partial_));
      }
      partial_.clear();
      overlong_ = false;
    } else if (partial_.size() == kLineBytesMax) {
      overlong_ = true;
    } else {
      partial_ += byte;
    }
  }
}

std::optional<std::string> ChatScreen::next_line() {
  if (lines_.empty()) return std::nullopt;
  std::string line = std::move(lines_.front());
  lines_.pop_front();
  return line;
}

}  // namespace ringtalk::ctl
