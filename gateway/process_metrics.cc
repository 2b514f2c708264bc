#include "gateway/process_metrics.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <ctime>
#include <filesystem>
#include <string_view>

#include "engine/base/units.h"
#include "engine/log.h"

namespace ringtalk::gateway {
namespace {

using engine::Counter;
using engine::Gauge;

std::string read_proc(const char* path) {
  char text[1024];
  const int fd        = ::open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t bytes = fd < 0 ? 0 : ::read(fd, text, sizeof text);
  if (fd >= 0) ::close(fd);
  return {text, bytes > 0 ? static_cast<size_t>(bytes) : 0};
}

// The index-th word, from 0, as a number; 0 if there is none.
uint64_t number_at(std::string_view text, int index) {
  for (; index > 0; --index) text.remove_prefix(std::min(text.size(), text.find(' ') + 1));
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

int64_t ns_of(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return now.tv_sec * int64_t{kNsPerS} + now.tv_nsec;
}

// Source: proc(5), /proc/[pid]/stat: (22) starttime, in clock ticks after boot. The name, field 2, may
// hold blanks: counted from behind its bracket, where field 3 begins.
int64_t start_time_ns() {
  const std::string text = read_proc("/proc/self/stat");
  const size_t bracket   = text.rfind(") ");
  if (bracket == text.npos) return 0;
  const uint64_t ticks = number_at(std::string_view(text).substr(bracket + 2), 22 - 3);
  const auto since     = static_cast<int64_t>(ticks * kNsPerS / uint64_t(::sysconf(_SC_CLK_TCK)));
  return ns_of(CLOCK_REALTIME) - ns_of(CLOCK_BOOTTIME) + since;
}

int64_t open_descriptors() {
  std::error_code error;
  int64_t count = -1;  // the one that reads the directory
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error))
    ++count;
  return count;
}

uint64_t cpu_ns() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto ns = [](const timeval& time) {
    return uint64_t(time.tv_sec) * kNsPerS + uint64_t(time.tv_usec) * kNsPerUs;
  };
  return ns(used.ru_utime) + ns(used.ru_stime);
}

}  // namespace

void refresh_process_metrics(engine::Metrics& metrics, const engine::Metrics* mirror) {
  const auto grow_to = [&](Counter counter, uint64_t total) {
    metrics.add(counter, total - std::min(total, metrics.value(counter)));
  };
  for (const engine::MetricRow& row : engine::metric_rows()) {
    if (!mirror || !row.of_process || !row.name.starts_with("redis_")) continue;
    if (row.kind == engine::MetricKind::counter)
      grow_to(Counter(row.index), mirror->value(Counter(row.index)));
    else
      metrics.set(Gauge(row.index), mirror->value(Gauge(row.index)));
  }
  const auto totals = engine::log::totals();
  grow_to(Counter::log_lines, totals.written);
  grow_to(Counter::log_suppressed, totals.suppressed);
  grow_to(Counter::log_dropped, totals.dropped);
  grow_to(Counter::process_cpu, cpu_ns());
  if (metrics.value(Gauge::process_start_time) == 0)
    metrics.set(Gauge::process_start_time, start_time_ns());
  // Source: proc(5), statm: (2) resident pages.
  if (const uint64_t pages = number_at(read_proc("/proc/self/statm"), 1))
    metrics.set(Gauge::process_resident_bytes,
                static_cast<int64_t>(pages * uint64_t(::sysconf(_SC_PAGESIZE))));
  if (const int64_t count = open_descriptors(); count >= 0)
    metrics.set(Gauge::process_open_fds, count);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    metrics.set(Gauge::process_max_fds, static_cast<int64_t>(limit.rlim_cur));
}

std::string build_info_text() {
  return fmt::format(
      "# HELP ringtalk_build_info 1; the version is the label\n"
      "# TYPE ringtalk_build_info gauge\n"
      "ringtalk_build_info{{version=\"{}\"}} 1\n",
      RINGTALK_VERSION);
}

}  // namespace ringtalk::gateway
