#include "tools/loadgen/pacer.h"

#include <gtest/gtest.h>

#include "engine/base/units.h"

namespace ringtalk::loadgen {
namespace {

TEST(Pacer, ConstantGapsDoNotDrift) {
  Pacer pacer(3, Arrivals::constant, 1);
  pacer.start(0);
  for (int i = 1; i < 3'000'000; ++i) pacer.advance();
  EXPECT_NEAR(static_cast<double>(pacer.due_ns()), 1'000'000.0 * kNsPerS, 1000);
}

TEST(Pacer, ExponentialGapsHaveTheRateAndTheSpread) {
  Pacer pacer(1000, Arrivals::exponential, 7);
  pacer.start(5);
  uint64_t last = 5, above_mean = 0;
  constexpr int kCount = 100'000;
  for (int i = 0; i < kCount; ++i, pacer.advance()) {
    EXPECT_GE(pacer.due_ns(), last);
    above_mean += pacer.due_ns() - last > kNsPerMs;
    last = pacer.due_ns();
  }
  EXPECT_NEAR(static_cast<double>(last) / kNsPerS, kCount / 1000.0, 1.5);
  EXPECT_NEAR(static_cast<double>(above_mean) / kCount, 0.368, 0.01) << "1/e of them";
}

TEST(Pacer, OneSeedIsOneSchedule) {
  Pacer one(50, Arrivals::exponential, 9), same(50, Arrivals::exponential, 9),
      other(50, Arrivals::exponential, 10);
  one.start(0), same.start(0), other.start(0);
  bool differs = false;
  for (int i = 0; i < 100; ++i, one.advance(), same.advance(), other.advance()) {
    EXPECT_EQ(one.due_ns(), same.due_ns());
    differs = differs || one.due_ns() != other.due_ns();
  }
  EXPECT_TRUE(differs);
}

TEST(Pacer, RateZeroIsNeverDue) {
  Pacer pacer(0, Arrivals::exponential, 1);
  pacer.start(1);
  EXPECT_EQ(pacer.due_ns(), Pacer::kNever);
}

}  // namespace
}  // namespace ringtalk::loadgen
