// Machines that are none: trees of the files that are looked at.
#include "tools/ctl/doctor.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace ringtalk::ctl {
namespace {

using Level  = Finding::Level;
namespace fs = std::filesystem;

constexpr const char* kLimits =
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max cpu time              unlimited            unlimited            seconds   \n"
    "Max open files            1024                 1048576              files     \n"
    "Max locked memory         8388608              unlimited            bytes     \n";

class DoctorTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/ringtalk-doctor-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root = name;
    write("proc/sys/kernel/osrelease", "6.12.9-amd64\n");
    write("proc/sys/kernel/io_uring_disabled", "0\n");
    write("proc/self/limits", kLimits);
    write("proc/sys/fs/file-nr", "2144\t0\t9223372036854775807\n");
    write("proc/sys/net/core/somaxconn", "4096\n");
    write("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
    write("proc/sys/net/ipv4/ip_local_reserved_ports", "\n");
    write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    write("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
    write("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet\n");
  }
  void TearDown() override { fs::remove_all(root); }

  void write(const std::string& path, std::string_view text) {
    fs::create_directories(fs::path(root + "/" + path).parent_path());
    std::ofstream(root + "/" + path) << text;
  }

  static void expect(const Finding& finding, Level level, std::string_view fix = "") {
    EXPECT_EQ(level_text(finding.level), level_text(level)) << finding.text;
    EXPECT_EQ(finding.fix.empty(), level == Level::ok) << finding.fix;
    EXPECT_NE(finding.fix.find(fix), std::string::npos) << finding.fix;
    EXPECT_FALSE(finding.text.empty());
  }

  std::string root;
};

TEST_F(DoctorTest, AGoodMachineHasNoFault) {
  const auto findings = examine({.root = root, .data_dir = root, .doors = {8000, 8080}});
  EXPECT_EQ(findings.size(), 9U);
  for (const Finding& finding : findings) expect(finding, Level::ok);
}

TEST_F(DoctorTest, NothingToReadIsAWarningOrFine) {
  fs::remove_all(root + "/proc");
  fs::remove_all(root + "/sys");
  for (const Finding& finding : examine({.root = root, .data_dir = root, .doors = {}}))
    EXPECT_NE(finding.level, Level::bad) << finding.text;
}

TEST_F(DoctorTest, GarbageIsAWarningOrFine) {
  for (const char* garbage : {"", "\n", "x", "-1\n", "99999999999999999999999\n", "1 2 3 4 5 6"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      if (entry.is_regular_file()) std::ofstream(entry.path()) << garbage;
    }
    write("proc/sys/kernel/io_uring_disabled", "0\n");
    for (const Finding& finding : examine({.root = root, .data_dir = root, .doors = {8000}}))
      EXPECT_NE(finding.level, Level::bad) << garbage << finding.text;
  }
}

TEST_F(DoctorTest, Kernel) {
  for (const char* release : {"5.10.0-30-amd64", "6.0.12", "4.19"}) {
    write("proc/sys/kernel/osrelease", release);
    expect(check_kernel(root), Level::bad, "apt install");
  }
  for (const char* release : {"6.1.0-18-amd64", "7.0"}) {
    write("proc/sys/kernel/osrelease", release);
    expect(check_kernel(root), Level::ok);
  }
}

TEST_F(DoctorTest, IoUringSysctl) {
  for (const char* value : {"1\n", "2\n"}) {
    write("proc/sys/kernel/io_uring_disabled", value);
    expect(check_io_uring_sysctl(root), Level::bad, "kernel.io_uring_disabled = 0");
  }
  fs::remove(root + "/proc/sys/kernel/io_uring_disabled");  // before Linux 6.6
  expect(check_io_uring_sysctl(root), Level::ok);
}

TEST_F(DoctorTest, OpenFilesByTheHardLimitOfTheProcess) {
  expect(check_nofile(root, "self"), Level::ok);
  write("proc/77/limits", "Max open files            1024                 20000     files\n");
  expect(check_nofile(root, "77"), Level::warn, "LimitNOFILE=1048576");
  write("proc/77/limits", "Max open files            1024                 1024      files\n");
  expect(check_nofile(root, "77"), Level::bad, "LimitNOFILE=1048576");
  write("proc/77/limits", "Max open files            1024                 unlimited files\n");
  expect(check_nofile(root, "77"), Level::ok);
  expect(check_nofile(root, "78"), Level::warn);
}

TEST_F(DoctorTest, FilesOfTheMachine) {
  write("proc/sys/fs/file-nr", "99000\t0\t100000\n");
  expect(check_file_max(root, "self"), Level::bad, "fs.file-max = 2097152");
  write("proc/sys/fs/file-nr", "1000\t0\t100000\n");  // fewer than one process may have
  expect(check_file_max(root, "self"), Level::warn, "fs.file-max");
}

TEST_F(DoctorTest, LockedMemory) {
  expect(check_memlock(root, "self"), Level::ok);
  write("proc/self/limits", "Max locked memory         65536                65536     bytes\n");
  expect(check_memlock(root, "self"), Level::warn, "LimitMEMLOCK=infinity");
}

TEST_F(DoctorTest, Backlog) {
  write("proc/sys/net/core/somaxconn", "128\n");
  expect(check_backlog(root), Level::warn, "net.core.somaxconn = 4096");
}

TEST_F(DoctorTest, PortsThatOutgoingConnectionsMayTake) {
  write("proc/sys/net/ipv4/ip_local_port_range", "1024 65535");
  expect(check_ports(root, {8000, 8080}), Level::warn, "ip_local_reserved_ports = 8000,8080");
  write("proc/sys/net/ipv4/ip_local_reserved_ports", "22,8000-8005\n");
  expect(check_ports(root, {8000, 8080}), Level::warn, "= 22,8000-8005,8080");
  write("proc/sys/net/ipv4/ip_local_reserved_ports", "8000-8005,8080\n");
  expect(check_ports(root, {8000, 8080, 0}), Level::ok);
  write("proc/sys/net/ipv4/ip_local_port_range", "60000 60999");
  expect(check_ports(root, {8000}), Level::warn, "ip_local_port_range");
}

TEST_F(DoctorTest, HugePages) {
  write("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n");
  expect(check_huge_pages(root), Level::warn, "echo madvise");
  fs::remove_all(root + "/sys/kernel/mm");
  expect(check_huge_pages(root), Level::ok);
}

TEST_F(DoctorTest, ClockSource) {
  write("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
  expect(check_clock_source(root), Level::warn, "echo tsc");
  write("sys/devices/system/clocksource/clocksource0/available_clocksource", "hpet acpi_pm\n");
  expect(check_clock_source(root), Level::warn, "dmesg");
}

TEST_F(DoctorTest, TheDiskIsMeasuredAndLeftAsItWas) {
  const auto start      = std::chrono::steady_clock::now();
  const Finding finding = check_fsync(root);
  EXPECT_NE(finding.text.find("made durable"), std::string::npos) << finding.text;
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  for (const auto& entry : fs::directory_iterator(root))
    EXPECT_FALSE(entry.path().filename().string().starts_with(".doctor")) << entry.path();
  EXPECT_EQ(check_free_space(root).name, "disk space");
}

TEST_F(DoctorTest, ADirectoryToCome) {
  const Finding finding = check_directory(root + "/not/there");
  EXPECT_NE(finding.text.find(root), std::string::npos) << finding.text;
  check_fsync(root + "/not/there");
  EXPECT_FALSE(fs::exists(root + "/not"));
  fs::permissions(root, fs::perms(0755));
  expect(check_directory(root), Level::warn, "chmod 0700");
}

TEST_F(DoctorTest, AClockThatRunsHasNotStepped) { expect(ClockWatch().finding(), Level::ok); }

}  // namespace
}  // namespace ringtalk::ctl
