#include "tools/ctl/password.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
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

Result<std::string> ask_once(std::string_view prompt, bool terminal) {
  const EchoOff echo_off;  // before the question: who sees it may type
  if (terminal) fmt::print(stderr, "{}", prompt);
  return read_line(terminal);
}

Result<std::string> read_first_line(const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  std::string line(kPasswordBytesMax + 2, '\0');
  if (!file) return fail_os(errno != 0 ? errno : EIO);
  file.read(line.data(), static_cast<std::streamsize>(line.size()));
  if (file.bad() || (file.gcount() == 0 && errno != 0)) return fail_os(errno != 0 ? errno : EIO);
  line.resize(static_cast<size_t>(file.gcount()));
  line.resize(std::min(line.find('\n'), line.size()));
  if (line.ends_with('\r')) line.pop_back();
  if (line.size() > kPasswordBytesMax) return fail(Errc::too_large);
  return line;
}

}  // namespace

void add_password_options(CLI::App& app, PasswordSource& source) {
  app.add_option("--password", source.given,
                 "password (others see it in `ps`); - reads it from standard input")
      ->type_name("PW");
  app.add_option("--password-file", source.file, "file whose first line is the password")
      ->type_name("FILE");
  app.footer("Without these two: the variable RINGTALK_PASSWORD, else the terminal is asked.");
}

Result<std::string> obtain_password(const PasswordSource& source, std::string_view prompt,
                                    Ask ask) {
  if (!source.given.empty() && source.given != "-") return source.given;
  if (source.given.empty() && !source.file.empty()) return read_first_line(source.file);
  const char* variable = std::getenv("RINGTALK_PASSWORD");
  if (source.given.empty() && variable != nullptr) return std::string(variable);
  const bool terminal = isatty(STDIN_FILENO) == 1;
  if (source.given.empty() && !terminal) return fail(Errc::unsupported);
  auto password = ask_once(prompt, terminal);
  if (!password || !terminal || ask == Ask::once || password->empty()) return password;
  const auto again = ask_once("the same again: ", terminal);
  if (!again) return again;
  return *again == *password ? password : fail(Errc::refused);
}

std::string password_problem(const Error& error, const PasswordSource& source) {
  constexpr std::string_view kWays =
      "--password-file FILE, RINGTALK_PASSWORD, or --password - to read it from standard input";
  switch (error.code) {
    case Errc::refused: return "the two passwords differ: nothing was done";
    case Errc::too_large: return fmt::format("a password has at most {} bytes", kPasswordBytesMax);
    case Errc::os: return fmt::format("cannot read {}: {}", source.file, std::strerror(error.os));
    default: return fmt::format("no password given: {}", kWays);
  }
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
