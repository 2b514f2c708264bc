// What the kernel says about a process: processor seconds and resident memory.
//
// Why  The sum of user and system time in /proc/PID/stat is scaled by the kernel to the exact run
//      time of all threads, the ring's worker threads and threads already gone included; only its
//      unit (10 ms) is coarse. smaps_rollup walks the page tables, while the counters in
//      /proc/PID/status may be off by 64 pages per thread.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

namespace ringtalk::bench {

inline std::optional<std::string> read_proc(pid_t pid, const char* name) {
  std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  int fd           = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  char bytes[8192];
  ssize_t got = read(fd, bytes, sizeof bytes);
  close(fd);
  if (got <= 0) return std::nullopt;
  return std::string(bytes, static_cast<size_t>(got));
}

// Seconds of user and system time of the whole process; nothing if it is gone.
inline std::optional<double> cpu_seconds(pid_t pid) {
  auto stat = read_proc(pid, "stat");
  if (!stat) return std::nullopt;
  size_t name_end = stat->rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  unsigned long user = 0, system = 0;
  // proc(5): after "(comm)" come state, ten fields, then utime and stime.
  if (std::sscanf(stat->c_str() + name_end + 1,
                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
    return std::nullopt;
  }
  return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// Resident bytes of a process; nothing if it is gone or not ours.
inline std::optional<uint64_t> resident_bytes(pid_t pid) {
  auto rollup = read_proc(pid, "smaps_rollup");
  if (!rollup) return std::nullopt;
  const char* rss = std::strstr(rollup->c_str(), "\nRss:");
  if (rss == nullptr) return std::nullopt;
  return std::strtoull(rss + 5, nullptr, 10) * 1024;
}

}  // namespace ringtalk::bench
