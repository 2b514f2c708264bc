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

uint64_t offset_ns(uint64_t monotonic_ns) {
  static const char* const path = std::getenv("RINGTALK_CLOCK_OFFSET_FILE");
  if (path == nullptr) return 0;
  // Relaxed: each value stands for itself; two threads that read the file together agree.
  static std::atomic<uint64_t> read_again_ns{0};
  static std::atomic<int64_t> offset_ms{0};
  if (monotonic_ns >= read_again_ns.load(std::memory_order_relaxed)) {
    read_again_ns.store(monotonic_ns + 10 * kNsPerMs, std::memory_order_relaxed);
    offset_ms.store(read_offset_ms(path), std::memory_order_relaxed);
  }
  return static_cast<uint64_t>(offset_ms.load(std::memory_order_relaxed)) * kNsPerMs;
}
#else
uint64_t offset_ns(uint64_t) { return 0; }
#endif

}  // namespace

uint64_t RealClock::now_ns() {
  const uint64_t now = read_clock(CLOCK_MONOTONIC);
  return now + offset_ns(now);
}

uint64_t RealClock::wall_ns() {
#if RT_KILLPOINTS
  return read_clock(CLOCK_REALTIME) + offset_ns(read_clock(CLOCK_MONOTONIC));
#else
  return read_clock(CLOCK_REALTIME);
#endif
}

}  // namespace ringtalk::engine
