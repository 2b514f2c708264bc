#include "tools/ctl/password.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <iterator>

#include "engine/base/assert.h"

namespace ringtalk::ctl {

namespace {

constexpr char kInterrupt = 0x03;

// Keeps a terminal from showing what is typed, and makes ^C end the line instead of the program, which
// would leave the terminal mute; nothing on a pipe.
class EchoOff {
 public:
  EchoOff() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ISIG);
    quiet.c_cc[VEOL] = kInterrupt;
    changed_         = tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0;
  }
  ~EchoOff() {
    if (!changed_) return;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
    std::fputc('\n', stderr);  // the one that was typed has not been shown
  }
  EchoOff(const EchoOff&)            = delete;
  EchoOff& operator=(const EchoOff&) = delete;

 private:
  termios before_{};
  bool changed_ = false;
};

Result<std::string> read_line(bool terminal) {
  std::string line;
  while (true) {
    char c            = 0;
    const ssize_t got = read(STDIN_FILENO, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_os(errno);
    if (got == 0) return line.empty() ? Result<std::string>(fail(Errc::closed)) : line;
    if (c == '\n') break;
    if (terminal && c == kInterrupt) return fail(Errc::closed);
    if (line.size() == kPasswordBytesMax) return fail(Errc::too_large);
    line += c;
  }
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

}  // namespace

Result<std::string> obtain_password(std::string_view given, std::string_view prompt) {
  if (!given.empty() && given != "-") return std::string(given);
  const bool terminal = isatty(STDIN_FILENO) == 1;
  if (given.empty() && !terminal) return fail(Errc::unsupported);
  const EchoOff echo_off;  // before the question: who sees it may type
  if (terminal) fmt::print(stderr, "{}", prompt);
  return read_line(terminal);
}

std::string md5hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  const bool done =
      EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_md5(), nullptr) == 1;
  RT_ASSERT(done);
  std::string out;
  for (unsigned i = 0; i < size; ++i) fmt::format_to(std::back_inserter(out), "{:02x}", digest[i]);
  return out;
}

}  // namespace ringtalk::ctl
