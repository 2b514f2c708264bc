#include "engine/notify.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "engine/base/assert.h"
#include "engine/base/units.h"

namespace ringtalk::engine {
namespace {

constexpr const char* kVariables[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};

uint64_t whole_number(const std::map<std::string, std::string>& from, const char* name) {
  const auto found = from.find(name);
  uint64_t value   = 0;
  if (found == from.end()) return 0;
  const char* to          = found->second.data() + found->second.size();
  const auto [end, error] = std::from_chars(found->second.data(), to, value);
  return error == std::errc{} && end == to ? value : 0;
}

// One line: a newline in a status would begin the next assignment.
std::string one_line(std::string_view text) {
  std::string line(text);
  std::ranges::replace_if(line, [](unsigned char c) { return c < 0x20; }, ' ');
  return line;
}

}  // namespace

Notify::Notify(const std::map<std::string, std::string>& environment, std::string& problem) {
  problem.clear();
  const auto named = environment.find("NOTIFY_SOCKET");
  if (named == environment.end() || named->second.empty()) return;
  address_ = named->second;
  if (address_[0] != '/' && address_[0] != '@') {
    problem = "NOTIFY_SOCKET: neither a path nor an abstract name: " + address_;
    return;
  }
  if (address_.size() < 2 || address_.size() >= sizeof(sockaddr_un::sun_path)) {
    problem = "NOTIFY_SOCKET: too short or too long for a socket's name";
    return;
  }
  if (address_[0] == '@') address_[0] = '\0';
  fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) {
    problem = fmt::format("NOTIFY_SOCKET: {}", std::strerror(errno));
    return;
  }
  const timeval wait{.tv_sec = kSendMs / 1000, .tv_usec = kSendMs % 1000 * 1000};
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
  // A watchdog may be meant for the process that started us.
  const uint64_t pid = whole_number(environment, "WATCHDOG_PID");
  if (pid == 0 || pid == static_cast<uint64_t>(::getpid()))
    watchdog_ns_ =
        std::min(whole_number(environment, "WATCHDOG_USEC"), UINT64_MAX / kNsPerUs) * kNsPerUs;
}

Notify::~Notify() {
  if (fd_ >= 0) ::close(fd_);
}

bool Notify::send(std::string_view lines) {
  if (fd_ < 0) return false;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  ssize_t sent;
  do {
    sent = ::sendto(fd_, lines.data(), lines.size(), MSG_NOSIGNAL,
                    reinterpret_cast<const sockaddr*>(&to), bytes);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(lines.size());
}

bool Notify::status(std::string_view status) { return send("STATUS=" + one_line(status)); }

bool Notify::ready(std::string_view status) { return send("READY=1\nSTATUS=" + one_line(status)); }

bool Notify::reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);  // the manager's clock, which no test moves
  return send(fmt::format("RELOADING=1\nMONOTONIC_USEC={}",
                          uint64_t(now.tv_sec) * 1'000'000 + uint64_t(now.tv_nsec) / kNsPerUs));
}

bool Notify::stopping(std::string_view status) {
  return send("STOPPING=1\nSTATUS=" + one_line(status));
}

bool Notify::feed() { return send("WATCHDOG=1"); }

std::map<std::string, std::string> read_notify_environment() {
  std::map<std::string, std::string> found;
  for (const char* name : kVariables)
    if (const char* value = std::getenv(name)) found[name] = value;
  return found;
}

Watchdog::Verdict Watchdog::look(uint64_t now_ns, std::span<const uint64_t> turns) {
  RT_ASSERT(turns.size() == fed_at_.size());
  if (period_ns_ == 0 || now_ns < next_ns_) return {};
  for (uint32_t i = 0; i < turns.size(); ++i)
    if (turns[i] == fed_at_[i]) return {.silent = i};
  std::ranges::copy(turns, fed_at_.begin());
  next_ns_ = now_ns + period_ns_ / 2;
  return {.feed = true};
}

}  // namespace ringtalk::engine
