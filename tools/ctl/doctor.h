// Doctor: what of the machine a server depends on, each with the command that puts it right.
//
// Bound   all of it within about 4 s: the disk is measured for kFsyncSeconds at most, nothing else waits.
// Errors  a file that cannot be read is a warning that says so; nothing here changes the machine but a
//         scratch file in the data directory, which is removed.
// Why     files of /proc and /sys are read below a root, so that a test can be any machine.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringtalk::ctl {

struct Finding {
  enum class Level : uint8_t { ok, warn, bad };

  std::string name;
  Level level = Level::ok;
  std::string text;
  std::string fix;  // a command; empty if ok
};

std::string_view level_text(Finding::Level level);

// ---- of files: root is "" for this machine ----
Finding check_kernel(const std::string& root);
Finding check_io_uring_sysctl(const std::string& root);
Finding check_nofile(const std::string& root, std::string_view process);  // "self" or a process id
Finding check_file_max(const std::string& root, std::string_view process);
Finding check_memlock(const std::string& root, std::string_view process);
Finding check_backlog(const std::string& root);
Finding check_ports(const std::string& root, const std::vector<uint16_t>& doors);
Finding check_huge_pages(const std::string& root);
Finding check_clock_source(const std::string& root);

// ---- of this machine, by trying ----
Finding check_io_uring();    // opens a small ring as the server does
Finding check_clock_sync();  // whether the kernel's clock is disciplined

// The wall clock against the monotonic one, from here to finding().
class ClockWatch {
 public:
  ClockWatch();
  Finding finding() const;

 private:
  std::chrono::nanoseconds difference_;
};

// ---- of the data directory; of the nearest directory above it while it does not exist ----
inline constexpr double kFsyncSeconds     = 2;
inline constexpr unsigned kFsyncWritesMax = 200;

Finding check_directory(const std::string& data_dir);
Finding check_free_space(const std::string& data_dir);
Finding check_fsync(const std::string& data_dir);

struct DoctorOptions {
  std::string root;
  std::string process = "self";
  std::string data_dir;
  std::vector<uint16_t> doors;
};
// In the order above. With a root other than "" only what is read from files.
std::vector<Finding> examine(const DoctorOptions& options);

}  // namespace ringtalk::ctl
