#include "engine/log.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <optional>
#include <thread>

#include "engine/log_line.h"

namespace ringtalk::engine::log {
namespace {

constexpr uint32_t kQueueLines     = 1024;
constexpr uint32_t kQueueKept      = kQueueLines / 4;  // not for write_each()
constexpr uint32_t kCauses         = 256;  // distinct event names with a limit of their own
constexpr uint64_t kLinesPerSecond = 10;   // per cause
constexpr size_t kWriteBytes = 4096;  // PIPE_BUF: a ready pipe takes this much without blocking

static_assert(kWriteBytes >= 2 * kLogLineBytes);

// Bounded queue, many producers, one consumer.
// Source: D. Vyukov, "Bounded MPMC queue". A cell's sequence says whose turn it is:
// position = free for the producer of that position, position + 1 = filled, position + slots = free again.
class LineQueue {
 public:
  LineQueue() {
    for (uint32_t i = 0; i < kQueueLines; ++i)
      cells_[i].sequence.store(i, std::memory_order_relaxed);
  }

  // False: fewer than `kept` + 1 cells are free.
  bool push(std::string_view line, uint32_t kept) {
    uint64_t position = pushed_.load(std::memory_order_relaxed);
    for (;;) {
      // If the cell that far ahead is free, those between are.
      const uint64_t ahead = position + kept;
      if (kept > 0 && cells_[ahead % kQueueLines].sequence.load(std::memory_order_acquire) < ahead)
        return false;
      Cell& cell = cells_[position % kQueueLines];
      // Acquire: partner is the release in pop(); the consumer has left the cell.
      const uint64_t sequence = cell.sequence.load(std::memory_order_acquire);
      if (sequence < position) return false;
      if (sequence > position) {
        position = pushed_.load(std::memory_order_relaxed);
        continue;
      }
      if (!pushed_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed))
        continue;
      std::memcpy(cell.text, line.data(), line.size());
      cell.bytes = static_cast<uint16_t>(line.size());
      cell.sequence.store(position + 1, std::memory_order_release);  // partner: pop()
      return true;
    }
  }

  // Appends the oldest line to `to` if it fits. Returns its bytes; 0: nothing there, or no room.
  size_t pop(std::span<char> to) {
    Cell& cell = cells_[popped_ % kQueueLines];
    if (cell.sequence.load(std::memory_order_acquire) != popped_ + 1) return 0;
    if (cell.bytes > to.size()) return 0;
    const size_t bytes = cell.bytes;
    std::memcpy(to.data(), cell.text, bytes);
    cell.sequence.store(popped_ + kQueueLines, std::memory_order_release);
    ++popped_;
    return bytes;
  }

 private:
  struct Cell {
    std::atomic<uint64_t> sequence;
    uint16_t bytes;
    char text[kLogLineBytes];
  };
  alignas(kCacheLineBytes) std::atomic<uint64_t> pushed_{0};
  alignas(kCacheLineBytes) uint64_t popped_ = 0;  // the writer thread's
  std::array<Cell, kQueueLines> cells_;
};

// Counts lines per cause and second. A slot is claimed once by compare-and-swap and then stays.
class CauseLimit {
 public:
  struct Cause {
    std::atomic<uint64_t> key{0};         // hash of the event name; 0: free
    std::atomic<uint64_t> window{0};      // second << 16 | lines in it
    std::atomic<uint64_t> suppressed{0};  // not yet told
    std::atomic<bool> named{false};       // release/acquire: `name` may be read
    uint8_t name_bytes = 0;
    char name[64];
  };

  bool admit(std::string_view event, uint64_t second) {
    Cause& cause     = find(event);
    uint64_t current = cause.window.load(std::memory_order_relaxed);
    for (;;) {
      const bool same = current >> 16 == second;
      if (same && (current & 0xffff) >= kLinesPerSecond) {
        cause.suppressed.fetch_add(1, std::memory_order_relaxed);
        return false;
      }
      const uint64_t next = same ? current + 1 : (second << 16 | 1);
      if (cause.window.compare_exchange_weak(current, next, std::memory_order_relaxed)) return true;
    }
  }

  template <class Tell>
  void take_suppressed(Tell tell) {
    for (Cause& cause : causes_) {
      if (!cause.named.load(std::memory_order_acquire)) continue;
      const uint64_t count = cause.suppressed.exchange(0, std::memory_order_relaxed);
      if (count != 0) tell(std::string_view(cause.name, cause.name_bytes), count);
    }
    const uint64_t count = rest_.suppressed.exchange(0, std::memory_order_relaxed);
    if (count != 0) tell(std::string_view("other"), count);
  }

 private:
  static uint64_t hash(std::string_view text) {  // FNV-1a; 0 means free
    uint64_t value = 0xcbf29ce484222325;
    for (char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    // The last bytes of FNV do not reach the high bits; this multiplication spreads them.
    return ((value ^ value >> 32) * 0x9e3779b97f4a7c15) | 1;
  }

  Cause& find(std::string_view event) {
    event              = event.substr(0, sizeof Cause::name);
    const uint64_t key = hash(event);
    for (uint64_t probe = 0; probe < 8; ++probe) {
      Cause& cause   = causes_[((key >> 48) + probe) % kCauses];
      uint64_t found = cause.key.load(std::memory_order_relaxed);
      if (found == 0 && cause.key.compare_exchange_strong(found, key, std::memory_order_relaxed)) {
        std::memcpy(cause.name, event.data(), event.size());
        cause.name_bytes = static_cast<uint8_t>(event.size());
        cause.named.store(true, std::memory_order_release);
        return cause;
      }
      if (found == key) return cause;
    }
    return rest_;  // more causes than slots: they share one limit
  }

  std::array<Cause, kCauses> causes_;
  Cause rest_;
};

struct Counts {
  std::atomic<uint64_t> written{0};
  std::atomic<uint64_t> suppressed{0};
  std::atomic<uint64_t> dropped{0};
};
constinit Counts counts;
constinit std::atomic<Level> level_min{Level::info};

constinit thread_local uint32_t shard_of_thread = kNoShard;

RealClock real_clock;

Format choose_format(Format wanted, int fd) {
  if (wanted != Format::automatic) return wanted;
  return isatty(fd) ? Format::text : Format::json;
}

class Log {
 public:
  Log(const Options& options, Log* previous)
      : fd_(options.fd),
        format_(choose_format(options.format, options.fd)),
        clock_(options.clock != nullptr ? *options.clock : static_cast<Clock&>(real_clock)),
        previous_(previous) {
    sem_init(&work_, 0, 0);
    sem_init(&done_, 0, 0);
    dropped_told_ = counts.dropped.load(std::memory_order_relaxed);
    thread_       = std::thread([this] { run(); });
  }

  void write(Level level, std::string_view event, Fields fields, bool each) noexcept {
    if (!each && !limit_.admit(event, clock_.now_ns() / kNsPerS)) {
      counts.suppressed.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    char line[kLogLineBytes];
    const size_t bytes =
        format_line(line, format_, level, clock_.wall_ns(), event, fields, shard_of_thread);
    if (!queue_.push({line, bytes}, each ? kQueueKept : 0)) {
      counts.dropped.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    sem_post(&work_);  // a system call only if the writer sleeps
  }

  void stop(uint32_t wait_ms) {
    stopping_.store(true, std::memory_order_release);
    sem_post(&work_);
    if (wait(done_, wait_ms))
      thread_.join();
    else {
      abandoned_.store(true, std::memory_order_relaxed);
      thread_.detach();  // stuck in the kernel; this object is never freed
    }
  }

 private:
  static bool wait(sem_t& semaphore, uint32_t ms) {
    timespec until{};
    clock_gettime(CLOCK_MONOTONIC, &until);
    const uint64_t ns = static_cast<uint64_t>(until.tv_nsec) + ms % 1000 * kNsPerMs;
    until.tv_sec += static_cast<time_t>(ms / 1000 + ns / kNsPerS);
    until.tv_nsec = static_cast<long>(ns % kNsPerS);
    int result;
    while ((result = sem_clockwait(&semaphore, CLOCK_MONOTONIC, &until)) != 0 && errno == EINTR) {
    }
    return result == 0;
  }

  void run() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals belong to main; EPIPE is a result here
    pthread_setname_np(pthread_self(), "rt-log");
    uint64_t told_second = clock_.now_ns() / kNsPerS;
    for (;;) {
      wait(work_, 1000);
      const bool stopping = stopping_.load(std::memory_order_acquire);
      while (write_waiting()) {
      }
      if (abandoned_.load(std::memory_order_relaxed)) return;  // the clock may be gone by now
      const uint64_t second = clock_.now_ns() / kNsPerS;
      if (second != told_second || stopping) tell_losses();
      told_second = second;
      if (stopping) break;
    }
    sem_post(&done_);
  }

  bool write_waiting() {
    char buffer[kWriteBytes];
    size_t bytes   = 0;
    uint64_t lines = 0;
    while (size_t more = queue_.pop(std::span(buffer).subspan(bytes))) {
      bytes += more;
      ++lines;
    }
    if (lines == 0) return false;
    write_bytes({buffer, bytes}, lines);
    return true;
  }

  void tell_losses() {
    limit_.take_suppressed([this](std::string_view cause, uint64_t count) {
      tell("log_suppressed", {{"cause", cause}, {"count", count}});
    });
    const uint64_t dropped = counts.dropped.load(std::memory_order_relaxed);
    if (dropped == dropped_told_) return;
    tell("log_dropped", {{"count", dropped - dropped_told_}});
    dropped_told_ = dropped;
  }

  // Not counted: a lost report of losses would have to be reported.
  void tell(std::string_view event, Fields fields) {
    char line[kLogLineBytes];
    write_bytes({line, format_line(line, format_, Level::warn, clock_.wall_ns(), event, fields)},
                0);
  }

  // Waits for the reader as long as it takes (callers meanwhile fill the queue and then drop), unless
  // stop() gave up on it.
  void write_bytes(std::string_view bytes, uint64_t lines) {
    while (!bytes.empty()) {
      pollfd ready{fd_, POLLOUT, 0};
      if (abandoned_.load(std::memory_order_relaxed)) break;
      if (poll(&ready, 1, 100) <= 0) continue;
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
      if (n < 0 && errno != EINTR && errno != EAGAIN) break;  // EPIPE, ENOSPC, EIO, EBADF: lost
    }
    (bytes.empty() ? counts.written : counts.dropped).fetch_add(lines, std::memory_order_relaxed);
  }

  const int fd_;
  const Format format_;
  Clock& clock_;
  [[maybe_unused]] Log* const
      previous_;  // keeps a stopped log reachable: a late caller may still be inside it
  LineQueue queue_;
  CauseLimit limit_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> abandoned_{false};
  uint64_t dropped_told_ = 0;
  sem_t work_;
  sem_t done_;
  std::thread thread_;
};

constinit std::atomic<Log*> running{nullptr};
constinit Log* newest = nullptr;

void write_now(Level level, std::string_view event, Fields fields) noexcept {
  char line[kLogLineBytes];
  const size_t bytes = format_line(line, choose_format(Format::automatic, STDERR_FILENO), level,
                                   real_clock.wall_ns(), event, fields, shard_of_thread);
  const ssize_t n    = ::write(STDERR_FILENO, line, bytes);
  (n == static_cast<ssize_t>(bytes) ? counts.written : counts.dropped)
      .fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

void start(const Options& options) {
  RT_ASSERT(running.load(std::memory_order_relaxed) == nullptr);
  set_level(options.level);
  newest = new Log(options, newest);
  running.store(newest, std::memory_order_release);  // partner: write()
}

void stop(uint32_t wait_ms) {
  Log* const log = running.exchange(nullptr, std::memory_order_acq_rel);
  if (log != nullptr) log->stop(wait_ms);
}

void set_level(Level level) { level_min.store(level, std::memory_order_relaxed); }

bool enabled(Level level) noexcept {
  return level >= level_min.load(std::memory_order_relaxed) && level != Level::off;
}

void write(Level level, std::string_view event, Fields fields) noexcept {
  if (!enabled(level)) return;
  Log* const log = running.load(std::memory_order_acquire);
  if (log != nullptr)
    log->write(level, event, fields, /*each=*/false);
  else
    write_now(level, event, fields);
}

void write_each(std::string_view event, Fields fields) noexcept {
  Log* const log = running.load(std::memory_order_acquire);
  if (log != nullptr)
    log->write(Level::info, event, fields, /*each=*/true);
  else
    write_now(Level::info, event, fields);
}

void set_shard(uint32_t shard) noexcept { shard_of_thread = shard; }

Totals totals() noexcept {
  return {counts.written.load(std::memory_order_relaxed),
          counts.suppressed.load(std::memory_order_relaxed),
          counts.dropped.load(std::memory_order_relaxed)};
}

}  // namespace ringtalk::engine::log
