#include "engine/clock.h"

#include <ctime>

#if RT_KILLPOINTS
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#endif

namespace ringtalk::engine {
namespace {

uint64_t read_clock(clockid_t id) {
  timespec time{};
  const int result = clock_gettime(id, &time);
  RT_ASSERT(result == 0);
  return static_cast<uint64_t>(time.tv_sec) * kNsPerS + static_cast<uint64_t>(time.tv_nsec);
}

#if RT_KILLPOINTS
// A missing, empty or malformed file counts as 0; the writer replaces it by rename.
int64_t read_offset_ms(const char* path) {
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return 0;
  char text[32];
  const size_t bytes = std::fread(text, 1, sizeof text, file);
  std::fclose(file);
  int64_t ms = 0;
  std::from_chars(text, text + bytes, ms);
  return ms;
}

struct Offsets {
  uint64_t wall_ns   = 0;
  uint64_t steady_ns = 0;  // the highest so far: a running monotonic clock does not fall
};

Offsets offsets(uint64_t monotonic_ns) {
  static const char* const path = std::getenv("RINGTALK_CLOCK_OFFSET_FILE");
  if (path == nullptr) return {};
  // Relaxed: each value stands for itself; two threads that read the file together agree.
  static std::atomic<uint64_t> read_again_ns{0};
  static std::atomic<int64_t> offset_ms{0};
  static std::atomic<int64_t> highest_ms{0};
  if (monotonic_ns >= read_again_ns.load(std::memory_order_relaxed)) {
    read_again_ns.store(monotonic_ns + 10 * kNsPerMs, std::memory_order_relaxed);
    const int64_t ms = read_offset_ms(path);
    offset_ms.store(ms, std::memory_order_relaxed);
    int64_t highest = highest_ms.load(std::memory_order_relaxed);
    while (ms > highest &&
           !highest_ms.compare_exchange_weak(highest, ms, std::memory_order_relaxed)) {
    }
  }
  return {static_cast<uint64_t>(offset_ms.load(std::memory_order_relaxed)) * kNsPerMs,
          static_cast<uint64_t>(highest_ms.load(std::memory_order_relaxed)) * kNsPerMs};
}
#endif

}  // namespace

uint64_t RealClock::now_ns() {
  const uint64_t now = read_clock(CLOCK_MONOTONIC);
#if RT_KILLPOINTS
  return now + offsets(now).steady_ns;
#else
  return now;
#endif
}

uint64_t RealClock::cpu_ns() { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

uint64_t RealClock::wall_ns() {
#if RT_KILLPOINTS
  return read_clock(CLOCK_REALTIME) + offsets(read_clock(CLOCK_MONOTONIC)).wall_ns;
#else
  return read_clock(CLOCK_REALTIME);
#endif
}

}  // namespace ringtalk::engine
