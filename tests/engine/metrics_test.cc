#include "engine/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <thread>

namespace ringtalk::engine {
namespace {

std::string text_of(const Metrics& metrics) {
  const MetricSource source{"0", &metrics};
  return prometheus_text({&source, 1});
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST(Metrics, CountersAndGaugesAppearWithTheirLabels) {
  auto metrics = std::make_unique<Metrics>();
  metrics->add(Counter::accepts);
  metrics->add(Counter::accepts, 41);
  metrics->add(Counter::close_idle, 3);
  metrics->set(Gauge::connections, 7);
  metrics->add(Gauge::connections, -9);
  metrics->add(Counter::loop_busy, 1'500'000'000);
  const std::string text = text_of(*metrics);
  EXPECT_TRUE(has_line(text, "# TYPE ringtalk_accepts_total counter"));
  EXPECT_TRUE(has_line(text, "ringtalk_accepts_total{shard=\"0\"} 42"));
  EXPECT_TRUE(has_line(text, "ringtalk_closes_total{shard=\"0\",cause=\"idle\"} 3"));
  EXPECT_TRUE(has_line(text, "ringtalk_connections{shard=\"0\"} -2"));
  EXPECT_TRUE(has_line(text, "ringtalk_loop_busy_seconds_total{shard=\"0\"} 1.5"));
}

TEST(Metrics, LargeCountersKeepEveryDigit) {
  auto metrics = std::make_unique<Metrics>();
  metrics->add(Counter::bytes_in, 12'345'678'901'234'567);
  EXPECT_TRUE(
      has_line(text_of(*metrics), "ringtalk_bytes_in_total{shard=\"0\"} 12345678901234567"));
}

TEST(Metrics, HistogramsAreCumulativeAndEndWithInf) {
  auto metrics = std::make_unique<Metrics>();
  for (uint64_t ns : {500ull, 3'000ull, 3'000ull, 2'000'000ull, 200'000'000'000ull})
    metrics->record(Timing::turn_time, ns);
  const std::string text = text_of(*metrics);
  EXPECT_TRUE(has_line(text, "# TYPE ringtalk_loop_turn_seconds histogram"));
  EXPECT_TRUE(has_line(text, "ringtalk_loop_turn_seconds_bucket{shard=\"0\",le=\"1.024e-06\"} 1"));
  EXPECT_TRUE(has_line(text, "ringtalk_loop_turn_seconds_bucket{shard=\"0\",le=\"4.096e-06\"} 3"));
  EXPECT_TRUE(
      has_line(text, "ringtalk_loop_turn_seconds_bucket{shard=\"0\",le=\"68.719476736\"} 4"));
  EXPECT_TRUE(has_line(text, "ringtalk_loop_turn_seconds_bucket{shard=\"0\",le=\"+Inf\"} 5"));
  EXPECT_TRUE(has_line(text, "ringtalk_loop_turn_seconds_count{shard=\"0\"} 5"));
  EXPECT_TRUE(has_line(text, "ringtalk_loop_turn_seconds_sum{shard=\"0\"} 200.0020065"));
}

// name{shard="0|store"[,label="…"]} number; empty when the line is anything else.
std::string name_of_sample(const std::string& line) {
  const size_t brace = line.find('{'), end = line.find("\"} ");
  if (brace == std::string::npos || end == std::string::npos) return {};
  const std::string labels = line.substr(brace, end - brace);
  if (!labels.starts_with("{shard=\"0") && !labels.starts_with("{shard=\"store")) return {};
  size_t parsed = 0;
  std::stod(line.substr(end + 3), &parsed);
  return end + 3 + parsed == line.size() ? line.substr(0, brace) : std::string();
}

TEST(Metrics, WhatBelongsToTheProcessIsPrintedOnceWithoutAShard) {
  auto shard = std::make_unique<Metrics>(), process = std::make_unique<Metrics>();
  shard->add(Counter::log_lines, 5);
  process->add(Counter::log_lines, 7);
  process->add(Counter::accepts, 9);
  process->set(Gauge::process_start_time, 1'795'251'809'500'000'000);
  const MetricSource sources[] = {{"0", shard.get()}, {"", process.get()}};
  const std::string text       = prometheus_text(sources);
  EXPECT_TRUE(has_line(text, "ringtalk_log_lines_total 7"));
  EXPECT_TRUE(has_line(text, "ringtalk_process_start_time_seconds 1795251809.5"));
  EXPECT_EQ(text.find("ringtalk_log_lines_total{"), std::string::npos);
  EXPECT_EQ(text.find(" 9\n"), std::string::npos) << "a shard's metric of the process";
}

// Each sample after its family's HELP and TYPE, none twice.
TEST(Metrics, TextFollowsTheFormat) {
  auto a = std::make_unique<Metrics>(), b = std::make_unique<Metrics>();
  const MetricSource sources[] = {{"0", a.get()}, {"store", b.get()}};
  std::istringstream text(prometheus_text(sources));
  std::set<std::string> families, samples;
  std::string family;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("# HELP ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(families.insert(family).second) << family;
      EXPECT_GT(line.size(), 7 + family.size() + 5) << "no help";
      continue;
    }
    if (line.starts_with("# TYPE ")) {
      EXPECT_TRUE(line.starts_with("# TYPE " + family + " "));
      continue;
    }
    const std::string name = name_of_sample(line);
    ASSERT_TRUE(name.starts_with("ringtalk_")) << line;
    EXPECT_TRUE(name.starts_with(family)) << line;
    EXPECT_TRUE(samples.insert(line.substr(0, line.find("} "))).second) << line;
  }
  const auto of_process = std::ranges::count_if(metric_rows(), &MetricRow::of_process);
  EXPECT_GE(samples.size(), (metric_rows().size() - size_t(of_process)) * 2);
}

TEST(Metrics, InPortionsTheTextIsTheSame) {
  auto a = std::make_unique<Metrics>(), b = std::make_unique<Metrics>();
  a->record(Timing::turn_time, 5'000);
  b->add(Counter::accepts, 3);
  const std::vector<MetricSource> sources = {{"0", a.get()}, {"1", b.get()}, {"", b.get()}};
  for (size_t bytes : {1u, 300u, 5'000u, 1u << 20}) {
    PrometheusText text(sources);
    size_t portions = 1;
    while (!text.write(bytes)) ++portions;
    const std::string whole = text.take();
    EXPECT_EQ(whole, prometheus_text(sources));
    EXPECT_LE(portions, whole.size() / bytes + 1);
    EXPECT_GE(portions, std::min<size_t>(whole.size() / 3 / bytes, 100));
  }
}

TEST(Metrics, ReadableWhileItsOwnerCounts) {
  auto metrics = std::make_unique<Metrics>();
  std::thread owner([&] {
    for (int i = 0; i < 100'000; ++i) {
      metrics->add(Counter::frames_in);
      metrics->record(Timing::turn_time, 2000);
    }
  });
  uint64_t last = 0;
  for (int i = 0; i < 50; ++i) {
    EXPECT_GE(metrics->value(Counter::frames_in), last);
    last = metrics->value(Counter::frames_in);
    text_of(*metrics);
  }
  owner.join();
  EXPECT_EQ(metrics->value(Counter::frames_in), 100'000u);
}

}  // namespace
}  // namespace ringtalk::engine
