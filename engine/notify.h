// Notify: tells the service manager how this process is doing; and what decides whether it is well.
//
// Protocol     lines of NAME=value in one datagram to the socket named by NOTIFY_SOCKET: a path, or with
//              a leading @ a name in Linux' abstract space. Source: sd_notify(3), sd_watchdog_enabled(3).
// Errors       nobody listens, or not now: false, and the caller goes on; a datagram waits kSendMs at most.
// Thread rule  one thread, which may wait.
// Why          own: libsystemd would be a dependency for five lines of text.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringtalk::engine {

class Notify {
 public:
  static constexpr int kSendMs = 1000;

  // Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID of `environment`. Without a usable socket every
  // call below does nothing; `problem` then says why, empty if none was named.
  Notify(const std::map<std::string, std::string>& environment, std::string& problem);
  ~Notify();
  Notify(const Notify&)            = delete;
  Notify& operator=(const Notify&) = delete;

  bool wanted() const { return fd_ >= 0; }
  uint64_t watchdog_ns() const { return watchdog_ns_; }  // 0: nobody waits for feed()

  // `status` is shown to people: one line.
  bool status(std::string_view status);
  bool ready(std::string_view status);  // after the start, and after a reload
  bool reloading();
  bool stopping(std::string_view status);
  bool feed();

 private:
  bool send(std::string_view lines);

  int fd_ = -1;
  std::string address_;  // sun_path: a leading NUL for the abstract space
  uint64_t watchdog_ns_ = 0;
};

// The variables above, of this process.
std::map<std::string, std::string> read_notify_environment();

// Watchdog: says when to feed: at half of the period, if every shard turned since the last time.
class Watchdog {
 public:
  static constexpr uint32_t kNobody = UINT32_MAX;
  struct Verdict {
    bool feed       = false;
    uint32_t silent = kNobody;  // a shard that did not turn although it is time
  };

  // period_ns 0: off.
  Watchdog(uint64_t period_ns, uint32_t shards) : period_ns_(period_ns), fed_at_(shards) {}

  // turns: how often each shard turned since the start.
  Verdict look(uint64_t now_ns, std::span<const uint64_t> turns);

 private:
  const uint64_t period_ns_;
  uint64_t next_ns_ = 0;
  std::vector<uint64_t> fed_at_;  // turns when it was last fed
};

}  // namespace ringtalk::engine
