// Log: one line per event, as text on a terminal and as JSON elsewhere.
//
//   2026-11-21T09:03:29.123Z INFO  listening address=127.0.0.1:8000 shards=4
//   {"time":"2026-11-21T09:03:29.123Z","level":"info","event":"listening","address":"127.0.0.1:8000",…}
//
// Thread rule   any thread. The caller formats into a fixed slot; one writer thread does the I/O.
// Bound         1,024 lines of 1 KiB wait; further ones are dropped and counted, so neither a slow disk
//               nor a full pipe stalls a caller. Fields that do not fit are left out ("cut").
//               10 lines per second and cause (the event's name); the rest is counted and told in one
//               line "log_suppressed" per second and cause. write_each() is not limited so, but leaves
//               a quarter of the queue to the others.
// Cost          a withheld line: a hash and two atomic operations. A written one: about 1 µs.
// Errors        none reach the caller; no function throws or allocates.
// Safety        bytes of peers may be given as values: everything but printable characters is
//               escaped, invalid UTF-8 by byte (\xNN; \u00NN in JSON). Never give it secrets.
// Why           own: spdlog's queue takes a lock that shards would share, and has no limit per cause.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "engine/clock.h"

namespace ringtalk::engine::log {

enum class Level : uint8_t { debug, info, warn, error, off };
enum class Format : uint8_t { automatic, text, json };

class Value {
 public:
  enum class Kind : uint8_t { text, integer, count, real, boolean };

  template <std::signed_integral T>
  constexpr Value(T value) : kind(Kind::integer), integer(value) {}
  template <std::unsigned_integral T>
  constexpr Value(T value) : kind(Kind::count), count(value) {}
  constexpr Value(bool value) : kind(Kind::boolean), boolean(value) {}
  constexpr Value(double value) : kind(Kind::real), real(value) {}
  constexpr Value(std::string_view value) : kind(Kind::text), text(value) {}
  template <std::convertible_to<std::string_view> T>
  constexpr Value(const T& value) : kind(Kind::text), text(value) {}

  Kind kind;
  union {
    std::string_view text;
    int64_t integer;
    uint64_t count;
    double real;
    bool boolean;
  };
};

struct Field {
  std::string_view key;  // ours: letters, digits and _
  Value value;
};
using Fields = std::initializer_list<Field>;

struct Options {
  int fd        = 2;
  Level level   = Level::info;
  Format format = Format::automatic;  // text if fd is a terminal, else JSON
  Clock* clock  = nullptr;            // null: the real one; must outlive the log
};

// Starts the writer thread. Before start() and after stop() lines are written by their callers.
void start(const Options& options);

// Writes what waits, for at most wait_ms: a reader that is gone for good must not block the exit.
void stop(uint32_t wait_ms = 1000);

void set_level(Level level);
bool enabled(Level level) noexcept;

void write(Level level, std::string_view event, Fields fields = {}) noexcept;
inline void debug(std::string_view event, Fields fields = {}) noexcept {
  write(Level::debug, event, fields);
}
inline void info(std::string_view event, Fields fields = {}) noexcept {
  write(Level::info, event, fields);
}
inline void warn(std::string_view event, Fields fields = {}) noexcept {
  write(Level::warn, event, fields);
}
inline void error(std::string_view event, Fields fields = {}) noexcept {
  write(Level::error, event, fields);
}

// A line that an operator asked for: whatever the level, without the limit per cause.
void write_each(std::string_view event, Fields fields = {}) noexcept;

// Lines of this thread carry the field "shard" from now on.
void set_shard(uint32_t shard) noexcept;

// Whether each message gets a line (SIGUSR2).
inline constinit std::atomic<bool> message_lines_wanted{false};  // relaxed: it orders nothing
inline bool message_lines() noexcept {
  return message_lines_wanted.load(std::memory_order_relaxed);
}

struct Totals {
  uint64_t written;
  uint64_t suppressed;  // by the limit per cause
  uint64_t dropped;     // the queue was full, or the descriptor refused
};
Totals totals() noexcept;

}  // namespace ringtalk::engine::log
