#include "tools/loadgen/compare.h"

#include <gtest/gtest.h>

#include "tools/loadgen/phases.h"
#include "tools/loadgen/report_json.h"

namespace ringtalk::loadgen {
namespace {

TEST(Compare, WithinTheSpreadIsNoDifference) {
  EXPECT_EQ(compare_figure("x", true, {100, 110, 90}, {95, 105, 99}).verdict, Verdict::same);
  EXPECT_EQ(compare_figure("x", true, {100}, {125}).verdict, Verdict::same)
      << "15 % each are assumed";
  EXPECT_EQ(compare_figure("x", true, {100, 100, 100}, {102, 102, 102}).verdict, Verdict::same)
      << "floor";
}

TEST(Compare, BeyondItTheDirectionDecides) {
  EXPECT_EQ(compare_figure("x", true, {100, 101, 99}, {120, 121, 119}).verdict, Verdict::better);
  EXPECT_EQ(compare_figure("x", false, {100, 101, 99}, {120, 121, 119}).verdict, Verdict::worse);
  EXPECT_EQ(compare_figure("x", true, {100}, {50}).verdict, Verdict::worse);
  EXPECT_EQ(compare_figure("x", false, {100}, {50}).verdict, Verdict::better);
}

TEST(Compare, MediansAndSpreads) {
  const Figure figure = compare_figure("x", true, {90, 100, 130, 110}, {5, 4, 6});
  EXPECT_DOUBLE_EQ(figure.median_a, 105);
  EXPECT_NEAR(figure.spread_a, 20.0 / 105, 1e-9);
  EXPECT_DOUBLE_EQ(figure.median_b, 5);
}

TEST(Late, TheShareAboveAValueIsFound) {
  engine::Histogram histogram;
  EXPECT_EQ(share_above(histogram, 0), 0);
  for (uint64_t i = 0; i < 1000; ++i) histogram.record(i < 990 ? 1000 : 1'000'000);
  EXPECT_NEAR(share_above(histogram, 500'000), 0.01, 1e-6);
  EXPECT_EQ(share_above(histogram, 2'000'000), 0);
  EXPECT_NEAR(share_above(histogram, 10), 1, 1e-6);
}

TEST(Hgrm, IsSortedAndEndsWithTheMaximum) {
  engine::Histogram histogram;
  for (uint64_t i = 1; i <= 1000; ++i) histogram.record(i * 1'000'000);
  const std::string text = hgrm_text(histogram);
  EXPECT_NE(text.find("1000.000 1.000000000000       1000\n"), std::string::npos) << text;
  EXPECT_NE(text.find("#[Max     =     1000.000, Total count    =         1000]"),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace ringtalk::loadgen
