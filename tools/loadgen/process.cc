#include "tools/loadgen/process.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "engine/base/units.h"

namespace ringtalk::loadgen {
namespace {

std::string read_line(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// The rest of the line that begins with `key`, without the colon and blanks before it.
std::string field_of(const std::string& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const size_t from = line.find_first_not_of(" \t:", key.size());
    return from == std::string::npos ? "" : line.substr(from);
  }
  return {};
}

uint64_t kib_of(const std::string& key) {
  return std::strtoull(field_of("/proc/meminfo", key).c_str(), nullptr, 10) * kKiB;
}

}  // namespace

std::optional<ProcessSample> sample_process(int pid) {
  if (pid <= 0) return {};
  const std::string stat = read_line(fmt::format("/proc/{}/stat", pid));
  const size_t name_end  = stat.rfind(')');  // the name may hold blanks and parentheses
  if (name_end == std::string::npos) return {};
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;  // proc(5): utime is field 14
  uint64_t user = 0, system = 0;
  if (!(fields >> user >> system)) return {};
  uint64_t pages = 0, resident = 0;
  std::istringstream(read_line(fmt::format("/proc/{}/statm", pid))) >> pages >> resident;
  return ProcessSample{
      .cpu_s     = static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK)),
      .rss_bytes = resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE))};
}

std::string process_name(int pid) {
  return pid > 0 ? read_line(fmt::format("/proc/{}/comm", pid)) : "";
}

Machine this_machine() {
  Machine machine{.cpu                    = field_of("/proc/cpuinfo", "model name"),
                  .memory_bytes           = kib_of("MemTotal"),
                  .memory_available_bytes = kib_of("MemAvailable")};
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    machine.cores = static_cast<uint32_t>(CPU_COUNT(&set));
  utsname names{};
  if (uname(&names) == 0) {
    machine.kernel = fmt::format("{} {} {}", names.sysname, names.release, names.machine);
    machine.host   = names.nodename;
  }
  return machine;
}

}  // namespace ringtalk::loadgen
