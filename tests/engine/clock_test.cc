#include "engine/clock.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <thread>

namespace ringtalk::engine {
namespace {

#if RT_KILLPOINTS
std::string offset_path() { return testing::TempDir() + "ringtalk_clock_offset"; }

void write_offset(const char* text) {
  const std::string next = offset_path() + ".next";
  std::ofstream(next) << text;
  ASSERT_EQ(std::rename(next.c_str(), offset_path().c_str()), 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(25));
}

// The variable is read once per process: it must stand before the first reading.
const bool kPathSet = [] {
  std::remove(offset_path().c_str());
  return setenv("RINGTALK_CLOCK_OFFSET_FILE", offset_path().c_str(), 1) == 0;
}();

TEST(RealClock, OffsetFileMovesBothClocks) {
  ASSERT_TRUE(kPathSet);
  RealClock clock;
  const uint64_t now = clock.now_ns(), wall = clock.wall_ns();
  write_offset("3600000\n");
  EXPECT_GE(clock.now_ns(), now + 3600 * kNsPerS);
  EXPECT_LT(clock.now_ns(), now + 3660 * kNsPerS);
  EXPECT_GE(clock.wall_ns(), wall + 3600 * kNsPerS);
  EXPECT_LT(clock.wall_ns(), wall + 3660 * kNsPerS);
  write_offset("garbage");
  EXPECT_LT(clock.wall_ns(), wall + 60 * kNsPerS) << "the wall clock may be set back";
  EXPECT_GE(clock.now_ns(), now + 3600 * kNsPerS) << "a running monotonic clock never falls";
}
#endif

TEST(RealClock, NeverGoesBack) {
  RealClock clock;
  uint64_t last = clock.now_ns();
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t now = clock.now_ns();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(RealClock, WallIsUnixTime) {
  RealClock clock;
  const uint64_t seconds = static_cast<uint64_t>(std::time(nullptr));
  EXPECT_NEAR(static_cast<double>(clock.wall_ns() / kNsPerS), static_cast<double>(seconds), 2.0);
}

TEST(FakeClock, MovesOnlyWhenTold) {
  FakeClock clock(5, 100);
  EXPECT_EQ(clock.now_ns(), 5u);
  EXPECT_EQ(clock.wall_ns(), 100u);
  clock.advance(10);
  EXPECT_EQ(clock.now_ns(), 15u);
  EXPECT_EQ(clock.wall_ns(), 110u);
  clock.set_wall(7);
  EXPECT_EQ(clock.now_ns(), 15u);
  EXPECT_EQ(clock.wall_ns(), 7u);
}

}  // namespace
}  // namespace ringtalk::engine
