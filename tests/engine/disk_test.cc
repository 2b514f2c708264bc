// Both forms of Disk keep the same contract: each test runs on a temporary directory and in memory.
#include "engine/disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "engine/fake_disk.h"

namespace ringtalk::engine {
namespace {

class DiskContract : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      disk_ = std::make_unique<FakeDisk>();
      return;
    }
    std::string name = (std::filesystem::temp_directory_path() / "disk_test.XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_     = name;
    auto disk = open_disk(root_);
    ASSERT_TRUE(disk);
    disk_ = std::move(*disk);
  }
  void TearDown() override {
    if (!root_.empty()) std::filesystem::remove_all(root_);
  }

  std::string read_all(int fd) {
    std::string text(disk_->size(fd).value(), '?');
    EXPECT_EQ(disk_->read(fd, std::as_writable_bytes(std::span(text)), 0).value(), text.size());
    return text;
  }
  int create(std::string_view path) {
    auto fd = disk_->open(path, Disk::Open::create_new);
    EXPECT_TRUE(fd);
    return fd.value_or(-1);
  }

  std::string root_;
  std::unique_ptr<Disk> disk_;
};

TEST_P(DiskContract, WritesReadBackAndHolesAreZero) {
  const int fd = create("file");
  EXPECT_EQ(disk_->size(fd).value(), 0u);
  ASSERT_TRUE(disk_->write(fd, as_bytes("world"), 1000));
  ASSERT_TRUE(disk_->write(fd, as_bytes("hello"), 0));
  EXPECT_EQ(read_all(fd), "hello" + std::string(995, '\0') + "world");
  std::string tail(10, '?');
  EXPECT_EQ(disk_->read(fd, std::as_writable_bytes(std::span(tail)), 1002).value(), 3u);
  EXPECT_EQ(tail, "rld???????");
  EXPECT_EQ(disk_->read(fd, std::as_writable_bytes(std::span(tail)), 5000).value(), 0u);
  disk_->close(fd);
}

TEST_P(DiskContract, TruncateCutsAndRegrowsZeros) {
  const int fd = create("file");
  ASSERT_TRUE(disk_->write(fd, as_bytes(std::string(2000, 'x')), 0));
  ASSERT_TRUE(disk_->sync(fd));
  ASSERT_TRUE(disk_->truncate(fd, 700));
  ASSERT_TRUE(disk_->truncate(fd, 1500));
  EXPECT_EQ(read_all(fd), std::string(700, 'x') + std::string(800, '\0'));
  disk_->close(fd);
}

TEST_P(DiskContract, AllocateGrowsAndNeverShrinks) {
  const int fd = create("file");
  ASSERT_TRUE(disk_->write(fd, as_bytes("abc"), 0));
  ASSERT_TRUE(disk_->allocate(fd, 8192));
  EXPECT_EQ(disk_->size(fd).value(), 8192u);
  ASSERT_TRUE(disk_->allocate(fd, 100));
  ASSERT_TRUE(disk_->allocate(fd, 0));
  EXPECT_EQ(read_all(fd), "abc" + std::string(8189, '\0'));
  disk_->close(fd);
}

TEST_P(DiskContract, OpenModes) {
  EXPECT_EQ(disk_->open("file", Disk::Open::read).error().os, ENOENT);
  EXPECT_EQ(disk_->open("file", Disk::Open::read_write).error().os, ENOENT);
  EXPECT_EQ(disk_->open("no/file", Disk::Open::create_new).error().os, ENOENT);
  disk_->close(create("file"));
  EXPECT_EQ(disk_->open("file", Disk::Open::create_new).error().os, EEXIST);
  EXPECT_EQ(disk_->open("file/x", Disk::Open::create_new).error().os, ENOTDIR);
  const int fd = disk_->open("file", Disk::Open::read).value();
  EXPECT_EQ(disk_->write(fd, as_bytes("x"), 0).error().os, EBADF);
  EXPECT_EQ(disk_->truncate(fd, 1).error().os, EINVAL);
  disk_->close(fd);
  EXPECT_EQ(disk_->size(fd).error().os, EBADF);
}

TEST_P(DiskContract, NamesListRenameRemove) {
  ASSERT_TRUE(disk_->make_directory("log"));
  ASSERT_TRUE(disk_->make_directory("log"));
  for (const char* name : {"log/b", "log/a", "c"}) disk_->close(create(name));
  EXPECT_EQ(disk_->list("").value(), (std::vector<std::string>{"c", "log"}));
  EXPECT_EQ(disk_->list(".").value(), (std::vector<std::string>{"c", "log"}));
  EXPECT_EQ(disk_->list("log").value(), (std::vector<std::string>{"a", "b"}));
  ASSERT_TRUE(disk_->rename("log/a", "log/b"));
  ASSERT_TRUE(disk_->remove("c"));
  EXPECT_EQ(disk_->list("").value(), (std::vector<std::string>{"log"}));
  EXPECT_EQ(disk_->list("log").value(), (std::vector<std::string>{"b"}));
  EXPECT_EQ(disk_->remove("c").error().os, ENOENT);
  EXPECT_EQ(disk_->remove("log").error().os, EISDIR);
  EXPECT_EQ(disk_->rename("c", "d").error().os, ENOENT);
  EXPECT_EQ(disk_->list("nowhere").error().os, ENOENT);
  EXPECT_EQ(disk_->list("log/b").error().os, ENOTDIR);
  EXPECT_EQ(disk_->make_directory("log/b").error().os, ENOTDIR);
  EXPECT_EQ(disk_->make_directory("no/where").error().os, ENOENT);
  EXPECT_TRUE(disk_->sync_directory(""));
  EXPECT_TRUE(disk_->sync_directory("log"));
  EXPECT_EQ(disk_->sync_directory("nowhere").error().os, ENOENT);
}

TEST_P(DiskContract, OpenFileOutlivesItsName) {
  const int fd = create("file");
  ASSERT_TRUE(disk_->remove("file"));
  ASSERT_TRUE(disk_->write(fd, as_bytes("still"), 0));
  EXPECT_EQ(read_all(fd), "still");
  disk_->close(fd);
}

TEST_P(DiskContract, PathsThatLeaveTheRootAreRefused) {
  using namespace std::string_view_literals;
  for (const std::string_view path :
       {"/etc/passwd"sv, ".."sv, "../x"sv, "a/../x"sv, "a//b"sv, "./a"sv, "a/."sv, ""sv, "a/"sv,
        "/"sv, "a\0b"sv, "log/../../x"sv}) {
    EXPECT_FALSE(stays_inside(path)) << path;
    EXPECT_EQ(disk_->open(path, Disk::Open::create_new).error().os, EINVAL) << path;
    EXPECT_EQ(disk_->open(path, Disk::Open::read).error().os, EINVAL) << path;
    EXPECT_EQ(disk_->make_directory(path).error().os, EINVAL) << path;
    EXPECT_EQ(disk_->remove(path).error().os, EINVAL) << path;
    EXPECT_EQ(disk_->rename(path, "b").error().os, EINVAL) << path;
  }
  disk_->close(create("b"));
  EXPECT_EQ(disk_->rename("b", "../b").error().os, EINVAL);
  EXPECT_EQ(disk_->list("..").error().os, EINVAL);
  EXPECT_EQ(disk_->sync_directory("/").error().os, EINVAL);
  for (const std::string_view path : {"a"sv, "a/b"sv, "..a"sv, "a..b/..."sv, "a b"sv})
    EXPECT_TRUE(stays_inside(path)) << path;
}

INSTANTIATE_TEST_SUITE_P(Forms, DiskContract, testing::Bool(),
                         [](const auto& form) { return form.param ? "Fake" : "Real"; });

class RealDisk : public DiskContract {};

TEST_P(RealDisk, FilesArePrivateAndClosedOnExec) {
  const int fd = create("file");
  struct stat status{};
  ASSERT_EQ(::fstat(fd, &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC);
  disk_->close(fd);
  ASSERT_TRUE(disk_->make_directory("log"));
  ASSERT_EQ(::stat((root_ + "/log").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_P(RealDisk, SymbolicLinksAreNotFollowed) {
  disk_->close(create("file"));
  std::filesystem::create_symlink("file", root_ + "/link");
  std::filesystem::create_directory_symlink("/tmp", root_ + "/away");
  EXPECT_EQ(disk_->open("link", Disk::Open::read).error().os, ELOOP);
  EXPECT_FALSE(disk_->open("away/x", Disk::Open::create_new));
  EXPECT_FALSE(disk_->list("away"));
  EXPECT_FALSE(disk_->remove("away/x"));
  EXPECT_FALSE(disk_->rename("file", "away/x"));
  EXPECT_FALSE(disk_->make_directory("away"));
}

TEST_P(RealDisk, MissingRootIsAnError) {
  EXPECT_EQ(open_disk(root_ + "/nowhere").error().os, ENOENT);
  disk_->close(create("file"));
  EXPECT_EQ(open_disk(root_ + "/file").error().os, ENOTDIR);
}

INSTANTIATE_TEST_SUITE_P(Forms, RealDisk, testing::Values(false),
                         [](const auto&) { return "Real"; });

}  // namespace
}  // namespace ringtalk::engine
