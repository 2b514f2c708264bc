#include "tools/ctl/doctor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#include "engine/base/units.h"
#include "engine/uring.h"
#include "tools/ctl/table.h"

namespace ringtalk::ctl {

namespace {

using Level = Finding::Level;

constexpr size_t kFileBytesMax       = 64 * kKiB;
constexpr uint64_t kNofileWanted     = 1'048'576;
constexpr uint64_t kNofileEnough     = 65'536;
constexpr uint64_t kNofileLeast      = 4096;
constexpr uint64_t kBacklog          = 4096;  // what the server asks listen() for
constexpr uint64_t kMemlockEnough    = 8 * kMiB;
constexpr uint64_t kPortsEnough      = 16'000;
constexpr uint64_t kFreeBytesEnough  = 4 * kGiB;
constexpr uint64_t kFreeBytesLeast   = 512 * kMiB;
constexpr double kFsyncGoodS         = 0.010;
constexpr double kFsyncBearableS     = 0.100;
constexpr size_t kPageBytes          = 4096;
constexpr int64_t kStepLeastMs       = 5;
constexpr long kTmpfs                = 0x01021994;
constexpr long kNfs                  = 0x6969;
constexpr const char* kGoodSources[] = {"tsc", "kvm-clock", "arch_sys_counter", "xen",
                                        "hyperv_clocksource_tsc_page"};

Finding ok(std::string name, std::string text) {
  return {std::move(name), Level::ok, std::move(text), {}};
}
Finding warn(std::string name, std::string text, std::string fix) {
  return {std::move(name), Level::warn, std::move(text), std::move(fix)};
}
Finding bad(std::string name, std::string text, std::string fix) {
  return {std::move(name), Level::bad, std::move(text), std::move(fix)};
}

// The start of a file, or nothing.
std::optional<std::string> read_text(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::string text(kFileBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return std::nullopt;
  text.resize(static_cast<size_t>(file.gcount()));
  while (text.ends_with('\n') || text.ends_with(' ')) text.pop_back();
  return text;
}

std::optional<uint64_t> read_number(std::string_view text) {
  uint64_t value          = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string> words_of(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(std::move(word));
  return words;
}

std::optional<uint64_t> number_in(const std::string& path) {
  const auto text = read_text(path);
  return text ? read_number(*text) : std::nullopt;
}

Finding unreadable(std::string name, const std::string& path) {
  return warn(std::move(name), fmt::format("{} cannot be read", path), "ls -l " + path);
}

std::string sysctl_fix(std::string_view setting) {
  return fmt::format(
      "echo '{}' | sudo tee -a /etc/sysctl.d/90-ringtalk.conf && sudo sysctl --system", setting);
}

std::string unit_fix(std::string_view setting) {
  return fmt::format(
      "sudo mkdir -p /etc/systemd/system/ringtalk.service.d && printf '[Service]\\n{}\\n' | sudo "
      "tee "
      "-a /etc/systemd/system/ringtalk.service.d/limits.conf && sudo systemctl daemon-reload && "
      "sudo systemctl restart ringtalk",
      setting);
}

// The hard limit of that name in /proc/…/limits; the largest number for "unlimited".
//   Max open files            1024                 1048576              files
std::optional<uint64_t> hard_limit(const std::string& root, std::string_view process,
                                   std::string_view name) {
  const auto text = read_text(fmt::format("{}/proc/{}/limits", root, process));
  if (!text) return std::nullopt;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name)) continue;
    const auto words = words_of(std::string_view(line).substr(name.size()));
    if (words.size() < 2) return std::nullopt;
    if (words[1] == "unlimited") return std::numeric_limits<uint64_t>::max();
    return read_number(words[1]);
  }
  return std::nullopt;
}

std::string limit_text(uint64_t limit) {
  return limit == std::numeric_limits<uint64_t>::max() ? "unlimited" : fmt::format("{}", limit);
}

std::string existing_part(const std::string& directory) {
  std::error_code ignored;
  std::filesystem::path path = std::filesystem::absolute(directory, ignored);
  while (!path.empty() && path != path.root_path() && !std::filesystem::exists(path, ignored))
    path = path.parent_path();
  return path.empty() ? "." : path.string();
}

std::chrono::nanoseconds wall_minus_monotonic() {
  return std::chrono::system_clock::now().time_since_epoch() -
         std::chrono::steady_clock::now().time_since_epoch();
}

// A file that is gone when this is.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& directory)
      : path_(fmt::format("{}/.doctor-{}", directory, getpid())) {
    fd_    = open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    errno_ = fd_ < 0 ? errno : 0;
  }
  ~ScratchFile() {
    if (fd_ < 0) return;
    close(fd_);
    unlink(path_.c_str());
  }
  ScratchFile(const ScratchFile&)            = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  int fd() const { return fd_; }
  int error() const { return errno_; }

 private:
  std::string path_;
  int fd_    = -1;
  int errno_ = 0;
};

bool write_page(int fd, uint64_t offset, char fill) {
  std::array<char, kPageBytes> page;
  page.fill(fill);
  return pwrite(fd, page.data(), page.size(), static_cast<off_t>(offset)) ==
         static_cast<ssize_t>(page.size());
}

// Seconds of each write with its fdatasync, into blocks that are there already, as the log's are.
std::vector<double> time_syncs(int fd) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> times;
  for (unsigned i = 0; i < kFsyncWritesMax; ++i) {
    if (!write_page(fd, i * kPageBytes, '\0')) return times;
  }
  if (fsync(fd) != 0) return times;
  const auto start = Clock::now();
  for (unsigned i = 0; i < kFsyncWritesMax; ++i) {
    const auto before = Clock::now();
    if (!write_page(fd, i * kPageBytes, 'x') || fdatasync(fd) != 0) return {};
    times.push_back(std::chrono::duration<double>(Clock::now() - before).count());
    if (std::chrono::duration<double>(Clock::now() - start).count() > kFsyncSeconds) break;
  }
  return times;
}

}  // namespace

std::string_view level_text(Level level) {
  switch (level) {
    case Level::ok: return "ok";
    case Level::warn: return "warn";
    case Level::bad: return "bad";
  }
  return "";
}

// ---- kernel ----

Finding check_kernel(const std::string& root) {
  const std::string path = root + "/proc/sys/kernel/osrelease";
  const auto release     = read_text(path);
  if (!release) return unreadable("kernel", path);
  uint32_t major = 0, minor = 0;
  if (std::sscanf(release->c_str(), "%u.%u", &major, &minor) != 2)
    return warn("kernel", fmt::format("{}: no version is to be seen in it", *release), "uname -r");
  if (major < 6 || (major == 6 && minor < 1))
    return bad("kernel", fmt::format("Linux {}: 6.1 or newer is needed", *release),
               "sudo apt install linux-image-amd64 && sudo reboot  (Debian 12 or newer, or its "
               "backports)");
  const bool quick_bell = major > 6 || minor >= 13;
  return ok("kernel", fmt::format("Linux {}{}", *release,
                                  quick_bell ? "" : "; 6.13 wakes sleeping shards more cheaply"));
}

Finding check_io_uring_sysctl(const std::string& root) {
  const auto value = number_in(root + "/proc/sys/kernel/io_uring_disabled");
  if (!value || *value == 0) return ok("io_uring sysctl", "io_uring is allowed");
  return bad("io_uring sysctl",
             fmt::format("kernel.io_uring_disabled is {}: {}", *value,
                         *value == 1 ? "only members of kernel.io_uring_group may use it"
                                     : "nobody may use it"),
             sysctl_fix("kernel.io_uring_disabled = 0"));
}

Finding check_io_uring() {
  const auto ring = engine::UringRing::make(
      {.sq_entries = 8, .cq_entries = 16, .slots = 16, .buffers = 8, .buffer_bytes = 4096});
  if (ring) return ok("io_uring", "a ring with all that is needed can be made");
  const Error error = ring.error();
  if (error.code == Errc::unsupported)
    return bad("io_uring", "the kernel's io_uring lacks what is needed: Linux 6.1 or newer",
               "sudo apt install linux-image-amd64 && sudo reboot");
  const char* fix = error.os == EPERM || error.os == ENOSYS
                        ? "sudo sysctl -w kernel.io_uring_disabled=0  (in a container: run it with "
                          "--security-opt seccomp=unconfined, or a profile that allows io_uring)"
                        : "ulimit -a";
  return bad("io_uring", fmt::format("no ring can be made here: {}", std::strerror(error.os)), fix);
}

// ---- limits ----

Finding check_nofile(const std::string& root, std::string_view process) {
  const auto limit = hard_limit(root, process, "Max open files");
  if (!limit) return unreadable("nofile", fmt::format("{}/proc/{}/limits", root, process));
  const std::string text =
      fmt::format("{} open files at most{}: so many connections per shard", limit_text(*limit),
                  process == "self" ? " here" : fmt::format(" for process {}", process));
  if (*limit >= kNofileEnough) return ok("nofile", text);
  const std::string fix = unit_fix(fmt::format("LimitNOFILE={}", kNofileWanted));
  return *limit < kNofileLeast ? bad("nofile", text, fix) : warn("nofile", text, fix);
}

Finding check_file_max(const std::string& root, std::string_view process) {
  const std::string path = root + "/proc/sys/fs/file-nr";  // allocated, free, most
  const auto text        = read_text(path);
  const auto words       = words_of(text.value_or(""));
  const auto used        = words.size() == 3 ? read_number(words[0]) : std::nullopt;
  const auto most        = words.size() == 3 ? read_number(words[2]) : std::nullopt;
  if (!used || !most) return unreadable("file-max", path);
  const std::string state =
      fmt::format("{} of {} open files of the machine are in use", *used, *most);
  const std::string fix =
      sysctl_fix(fmt::format("fs.file-max = {}", std::max(*most, kNofileWanted) * 2));
  if (*used > *most / 100 * 95) return bad("file-max", state, fix);
  const uint64_t nofile = hard_limit(root, process, "Max open files").value_or(0);
  const bool infinite   = nofile == std::numeric_limits<uint64_t>::max();
  if (*used > *most / 100 * 75 || (!infinite && *most < nofile))
    return warn("file-max", state, fix);
  return ok("file-max", state);
}

Finding check_memlock(const std::string& root, std::string_view process) {
  const auto limit = hard_limit(root, process, "Max locked memory");
  if (!limit) return unreadable("memlock", fmt::format("{}/proc/{}/limits", root, process));
  if (*limit >= kMemlockEnough)
    return ok("memlock", *limit == std::numeric_limits<uint64_t>::max()
                             ? "unlimited"
                             : bytes_text(static_cast<double>(*limit)));
  return warn("memlock",
              fmt::format("{} of locked memory at most: rings and buffers may not fit",
                          bytes_text(static_cast<double>(*limit))),
              unit_fix("LimitMEMLOCK=infinity"));
}

// ---- network ----

Finding check_backlog(const std::string& root) {
  const std::string path = root + "/proc/sys/net/core/somaxconn";
  const auto value       = number_in(path);
  if (!value) return unreadable("somaxconn", path);
  const std::string text = fmt::format("{} connections may wait to be accepted", *value);
  if (*value >= kBacklog) return ok("somaxconn", text);
  return warn("somaxconn", text + fmt::format(", the server asks for {}", kBacklog),
              sysctl_fix(fmt::format("net.core.somaxconn = {}", kBacklog)));
}

namespace {

// "8000,8080-8090" holds the port.
bool holds_port(std::string_view list, uint64_t port) {
  while (!list.empty()) {
    const std::string_view part = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), part.size() + 1));
    const size_t dash = part.find('-');
    const auto first  = read_number(part.substr(0, dash));
    const auto last   = dash == std::string_view::npos ? first : read_number(part.substr(dash + 1));
    if (first && last && *first <= port && port <= *last) return true;
  }
  return false;
}

}  // namespace

Finding check_ports(const std::string& root, const std::vector<uint16_t>& doors) {
  const std::string path = root + "/proc/sys/net/ipv4/ip_local_port_range";
  const auto text        = read_text(path);
  const auto words       = words_of(text.value_or(""));
  const auto first       = words.size() == 2 ? read_number(words[0]) : std::nullopt;
  const auto last        = words.size() == 2 ? read_number(words[1]) : std::nullopt;
  if (!first || !last || *last < *first) return unreadable("ports", path);
  const std::string reserved =
      read_text(root + "/proc/sys/net/ipv4/ip_local_reserved_ports").value_or("");
  std::string taken;
  for (const uint16_t port : doors) {
    if (port != 0 && *first <= port && port <= *last && !holds_port(reserved, port))
      taken += fmt::format("{}{}", taken.empty() ? "" : ",", port);
  }
  if (!taken.empty())
    return warn("ports",
                fmt::format("{} is within {}…{}: an outgoing connection may sit on it when the "
                            "server starts",
                            taken, *first, *last),
                sysctl_fix(fmt::format("net.ipv4.ip_local_reserved_ports = {}{}{}", reserved,
                                       reserved.empty() ? "" : ",", taken)));
  const uint64_t count = *last - *first + 1;
  if (count < kPortsEnough)
    return warn("ports", fmt::format("only {} ports for outgoing connections", count),
                sysctl_fix("net.ipv4.ip_local_port_range = 15000 60999"));
  return ok("ports", fmt::format("{}…{} for outgoing connections, ours are outside or reserved",
                                 *first, *last));
}

// ---- memory and clocks ----

Finding check_huge_pages(const std::string& root) {
  const auto text = read_text(root + "/sys/kernel/mm/transparent_hugepage/enabled");
  if (!text) return ok("huge pages", "this kernel has no transparent huge pages");
  if (text->find("[always]") == std::string::npos) return ok("huge pages", *text);
  return warn("huge pages",
              "transparent huge pages are always on: idle connections take more memory, and "
              "collapsing pages stalls threads",
              "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
}

Finding check_clock_source(const std::string& root) {
  const std::string folder = root + "/sys/devices/system/clocksource/clocksource0/";
  const auto current       = read_text(folder + "current_clocksource");
  if (!current) return ok("clock source", "this kernel does not tell");
  const bool good = std::ranges::any_of(kGoodSources, [&](auto name) { return *current == name; });
  if (good) return ok("clock source", *current);
  std::string better;
  for (const std::string& name :
       words_of(read_text(folder + "available_clocksource").value_or(""))) {
    const bool fast = std::ranges::any_of(kGoodSources, [&](auto known) { return name == known; });
    if (fast && better.empty()) better = name;
  }
  const std::string text =
      fmt::format("{}: each look at the clock is a slow call into the kernel", *current);
  if (better.empty())
    return warn("clock source", text, "sudo dmesg | grep -i -e tsc -e clocksource");
  return warn("clock source", text,
              fmt::format("echo {} | sudo tee "
                          "/sys/devices/system/clocksource/clocksource0/current_clocksource",
                          better));
}

Finding check_clock_sync() {
  timex state{};
  if (adjtimex(&state) < 0 || (state.status & STA_UNSYNC) == 0)
    return ok("clock sync", "the kernel's clock is kept by a time service");
  return warn("clock sync", "nothing keeps this machine's clock right: messages carry its time",
              "sudo timedatectl set-ntp true");
}

ClockWatch::ClockWatch() : difference_(wall_minus_monotonic()) {}

Finding ClockWatch::finding() const {
  const auto step =
      std::chrono::duration_cast<std::chrono::milliseconds>(wall_minus_monotonic() - difference_)
          .count();
  if (step > -kStepLeastMs && step < kStepLeastMs)
    return ok("clock steps", "the wall clock ran with the monotonic one while this looked");
  return warn("clock steps",
              fmt::format("the wall clock jumped by {} ms while this looked: two time services, or "
                          "one that steps?",
                          step),
              "timedatectl show-timesync; systemctl list-units '*ntp*' '*chrony*' '*timesync*'");
}

// ---- the data directory ----

Finding check_directory(const std::string& data_dir) {
  const std::string place = existing_part(data_dir);
  struct statfs system{};
  if (statfs(place.c_str(), &system) != 0)
    return bad("data directory", fmt::format("{}: {}", place, std::strerror(errno)),
               "ls -ld " + place);
  if (access(place.c_str(), R_OK | W_OK | X_OK) != 0)
    return warn("data directory", fmt::format("{} is not ours: {}", place, std::strerror(errno)),
                fmt::format("sudo -u ringtalk ringtalkctl --data-dir {} doctor", data_dir));
  if (static_cast<long>(system.f_type) == kTmpfs)
    return warn("data directory", fmt::format("{} is in memory: all is gone at a restart", place),
                "ringtalkd --data-dir /var/lib/ringtalk");
  if (static_cast<long>(system.f_type) == kNfs)
    return warn("data directory",
                fmt::format("{} is on NFS: its locks and syncs are not to be relied on", place),
                "ringtalkd --data-dir /var/lib/ringtalk");
  struct stat status{};
  if (stat(data_dir.c_str(), &status) != 0)
    return ok("data directory",
              fmt::format("{} is not there yet: made at the first start, in {}", data_dir, place));
  if ((status.st_mode & 0077) != 0)
    return warn("data directory",
                fmt::format("others may look into {} (mode {:o})", data_dir, status.st_mode & 0777),
                "sudo chmod 0700 " + data_dir);
  return ok("data directory", data_dir);
}

Finding check_free_space(const std::string& data_dir) {
  const std::string place = existing_part(data_dir);
  struct statvfs space{};
  if (statvfs(place.c_str(), &space) != 0)
    return bad("disk space", fmt::format("{}: {}", place, std::strerror(errno)), "df -h " + place);
  const uint64_t free    = uint64_t{space.f_bavail} * space.f_frsize;
  const uint64_t total   = uint64_t{space.f_blocks} * space.f_frsize;
  const std::string text = fmt::format("{} of {} free", bytes_text(static_cast<double>(free)),
                                       bytes_text(static_cast<double>(total)));
  const std::string fix =
      fmt::format("df -h {0} && sudo du -xh --max-depth=2 {0} | sort -h | tail", place);
  if (free < kFreeBytesLeast) return bad("disk space", text, fix);
  if (free < kFreeBytesEnough || free < total / 20) return warn("disk space", text, fix);
  if (space.f_files > 0 && space.f_favail < space.f_files / 50)
    return warn("disk space", fmt::format("only {} inodes free", space.f_favail), "df -i " + place);
  return ok("disk space", text);
}

Finding check_fsync(const std::string& data_dir) {
  const std::string place = existing_part(data_dir);
  const ScratchFile file(place);
  if (file.fd() < 0)
    return warn("fsync", fmt::format("{}: not measured, {}", place, std::strerror(file.error())),
                fmt::format("sudo -u ringtalk ringtalkctl --data-dir {} doctor", data_dir));
  std::vector<double> times = time_syncs(file.fd());
  if (times.empty())
    return bad("fsync", fmt::format("{}: writing fails: {}", place, std::strerror(errno)),
               "sudo dmesg | tail; df -h " + place);
  std::ranges::sort(times);
  const double median    = times[times.size() / 2];
  const double slow      = times[times.size() * 95 / 100];
  const std::string text = fmt::format(
      "{} writes of 4 KiB made durable: median {:.2f} ms, 95 % within {:.2f} ms, worst "
      "{:.2f} ms",
      times.size(), median * 1e3, slow * 1e3, times.back() * 1e3);
  if (slow <= kFsyncGoodS) return ok("fsync", text);
  const std::string fix = fmt::format(
      "iostat -x 1 5  (who else writes there?); then move {} to a local SSD: stop the server, cp "
      "-a, "
      "start with --data-dir",
      data_dir);
  return slow <= kFsyncBearableS ? warn("fsync", text, fix) : bad("fsync", text, fix);
}

std::vector<Finding> examine(const DoctorOptions& options) {
  const std::string& root = options.root;
  const ClockWatch watch;
  std::vector<Finding> out = {check_kernel(root),
                              check_io_uring_sysctl(root),
                              check_nofile(root, options.process),
                              check_file_max(root, options.process),
                              check_memlock(root, options.process),
                              check_backlog(root),
                              check_ports(root, options.doors),
                              check_huge_pages(root),
                              check_clock_source(root)};
  if (!root.empty()) return out;
  out.push_back(check_io_uring());
  out.push_back(check_directory(options.data_dir));
  out.push_back(check_free_space(options.data_dir));
  out.push_back(check_fsync(options.data_dir));
  out.push_back(check_clock_sync());
  out.push_back(watch.finding());
  return out;
}

}  // namespace ringtalk::ctl
