#include "tools/ctl/chat_screen.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace ringtalk::ctl {

ChatScreen::~ChatScreen() {
  if (!is_terminal()) return;
  std::fputs("\r\x1b[K", stdout);
  std::fflush(stdout);
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
    const std::string line = editor_.redraw(prompt_, terminal_size().columns);
    std::fwrite(line.data(), 1, line.size(), stdout);
  }
  std::fflush(stdout);
}

void ChatScreen::read_input() {
  std::array<char, 4096> buffer;
  const ssize_t got = read(STDIN_FILENO, buffer.data(), buffer.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got <= 0) {  // a terminal that hangs up gives EIO
    if (!partial_.empty()) end_plain_line();
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

void ChatScreen::end_plain_line() {
  if (std::exchange(overlong_, false)) {
    ++skipped_;
    fmt::print(stderr, "ringtalkctl: a line over {} bytes was skipped\n", kLineBytesMax);
    return partial_.clear();
  }
  if (partial_.ends_with('\r')) partial_.pop_back();
  lines_.push_back(std::exchange(partial_, {}));
}

void ChatScreen::take_plain(std::string_view bytes) {
  for (const char byte : bytes) {
    if (byte == '\n') {
      end_plain_line();
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
