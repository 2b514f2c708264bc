#include "store/embedded/paced_disk.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "engine/fake_disk.h"

namespace ringtalk::store {
namespace {

using Open = engine::Disk::Open;

class PacedDiskTest : public testing::Test {
 protected:
  static constexpr uint64_t kPortion = PacedDisk::kPortionBytes;

  int create(const char* name) { return *paced_.open(name, Open::create_new); }
  std::vector<std::byte> content(int fd) {
    std::vector<std::byte> all(*paced_.size(fd));
    EXPECT_EQ(*paced_.read(fd, all, 0), all.size());
    return all;
  }

  engine::FakeClock clock_;
  engine::FakeDisk disk_;
  int rests_ = 0;
  PacedDisk paced_{disk_, clock_, [this](uint64_t) { ++rests_; }};
};

TEST_F(PacedDiskTest, WritesArriveWholeWhateverTheirLength) {
  std::mt19937 random(3);
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, kPortion - 1, kPortion, kPortion + 1,
                               3 * kPortion, 3 * kPortion + 17}) {
    std::vector<std::byte> wanted(bytes);
    for (auto& b : wanted) b = std::byte(random());
    const std::string name = "f" + std::to_string(bytes);
    const int fd           = create(name.c_str());
    ASSERT_TRUE(paced_.write(fd, wanted, 100));
    auto got = content(fd);
    if (bytes > 0) {
      ASSERT_EQ(got.size(), 100 + bytes);
      got.erase(got.begin(), got.begin() + 100);
    }
    EXPECT_EQ(got, wanted) << bytes;
    ASSERT_TRUE(paced_.zero(fd, 100, bytes));
    got = content(fd);
    for (uint64_t i = 100; i < got.size(); ++i) ASSERT_EQ(got[i], std::byte{0}) << i;
    paced_.close(fd);
  }
}

TEST_F(PacedDiskTest, RestsBehindEachPortionButNotBehindASmallWrite) {
  const int fd = create("f");
  ASSERT_TRUE(paced_.write(fd, std::vector<std::byte>(kPortion), 0));
  EXPECT_EQ(rests_, 0);
  ASSERT_TRUE(paced_.write(fd, std::vector<std::byte>(3 * kPortion + 1), 0));
  EXPECT_EQ(rests_, 4);
  ASSERT_TRUE(paced_.zero(fd, 0, 2 * kPortion));
  EXPECT_EQ(rests_, 6);
}

TEST_F(PacedDiskTest, StopsAtTheFirstError) {
  const int fd = create("f");
  disk_.set_space(2 * kPortion);
  const auto written = paced_.write(fd, std::vector<std::byte>(5 * kPortion), 0);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().os, ENOSPC);
  EXPECT_LE(rests_, 2);
}

// The kernel reports a failed write-back once: to whoever waits for it first.
TEST_F(PacedDiskTest, AFailedWriteBackIsAFailedWrite) {
  class Failing final : public engine::FakeDisk {
   public:
    Result<void> write_back(int, uint64_t, uint64_t) override { return fail_os(EIO); }
  } failing;
  PacedDisk paced(failing, clock_, [](uint64_t) {});
  const int fd       = *paced.open("f", Open::create_new);
  const auto written = paced.write(fd, std::vector<std::byte>(2 * kPortion), 0);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().os, EIO);
}

}  // namespace
}  // namespace ringtalk::store
