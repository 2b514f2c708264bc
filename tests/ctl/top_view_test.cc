// Also of prometheus.h, whose only reader this is.
#include "tools/ctl/top_view.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "engine/metrics.h"

namespace ringtalk::ctl {
namespace {

using namespace std::chrono_literals;

std::string metrics_text(int sends, int fast_turns, int slow_turns) {
  return fmt::format(
      "# HELP ringtalk_sends_acknowledged_total x\n"
      "ringtalk_sends_acknowledged_total{{shard=\"0\"}} {0}\n"
      "ringtalk_sends_acknowledged_total{{shard=\"1\"}} 10\n"
      "ringtalk_connections{{shard=\"0\"}} 7\n"
      "ringtalk_closes_total{{shard=\"0\",cause=\"peer\"}} 3\n"
      "ringtalk_closes_total{{shard=\"0\",cause=\"idle\"}} 4\n"
      "ringtalk_loop_turn_seconds_bucket{{shard=\"0\",le=\"0.001\"}} {1}\n"
      "ringtalk_loop_turn_seconds_bucket{{shard=\"0\",le=\"0.002\"}} {2}\n"
      "ringtalk_loop_turn_seconds_bucket{{shard=\"0\",le=\"+Inf\"}} {2}\n"
      "ringtalk_loop_turn_seconds_count{{shard=\"0\"}} {2}\n",
      sends, fast_turns, fast_turns + slow_turns);
}

Reading reading(int seconds, const std::string& text, Json status = nullptr) {
  return {.at      = std::chrono::steady_clock::time_point{} + std::chrono::seconds(seconds),
          .metrics = Metrics(text),
          .status  = std::move(status)};
}

TEST(Metrics, SumsOverLabelsAndByShard) {
  const Metrics metrics(metrics_text(100, 1, 1));
  EXPECT_EQ(metrics.sum("closes_total"), 7);
  EXPECT_EQ(metrics.sum("sends_acknowledged_total"), 110);
  EXPECT_EQ(metrics.sum("sends_acknowledged_total", 1), 10);
  EXPECT_EQ(metrics.sum("nothing"), 0);
  EXPECT_EQ(metrics.shards(), (std::vector<int>{0, 1}));
  EXPECT_EQ(metrics.buckets("loop_turn_seconds", 0).size(), 3U);
}

TEST(Metrics, WhatIsNoLineIsSkipped) {
  const Metrics metrics(
      "ringtalk_a\nringtalk_b{ 5\nringtalk_c x\nringtalk_d nan\nother 5\n\n{}\nringtalk_e{shard=\"9"
      "999999\"} 1\nringtalk_f 2 1700000000\nringtalk_g{shard=\"0\"");
  EXPECT_FALSE(metrics.has("a"));
  EXPECT_FALSE(metrics.has("b"));
  EXPECT_FALSE(metrics.has("c"));
  EXPECT_FALSE(metrics.has("d"));
  EXPECT_FALSE(metrics.has("e"));
  EXPECT_EQ(metrics.sum("f"), 2);
  EXPECT_TRUE(metrics.shards().empty());
}

TEST(Metrics, BentTextNeverCrashes) {
  std::mt19937 random(5);
  const std::string text = metrics_text(5, 5, 5);
  for (int round = 0; round < 3000; ++round) {
    std::string bent = text.substr(0, random() % text.size());
    for (int flips = 0; flips < 4 && !bent.empty(); ++flips)
      bent[random() % bent.size()] ^= static_cast<char>(1 << random() % 8);
    const Reading now = reading(1, bent);
    top_text(now, rates_between(reading(0, text), now));
  }
}

TEST(Quantile, OfWhatCameBetween) {
  const auto before = Metrics(metrics_text(0, 1000, 0)).buckets("loop_turn_seconds");
  const auto now    = Metrics(metrics_text(0, 1010, 90)).buckets("loop_turn_seconds");
  // Of the 100 new ones 10 took up to 1 ms and 90 up to 2 ms.
  EXPECT_NEAR(*quantile(before, now, 0.05), 0.0005, 1e-9);
  EXPECT_NEAR(*quantile(before, now, 0.55), 0.0015, 1e-9);
  EXPECT_NEAR(*quantile(before, now, 1), 0.002, 1e-9);
  EXPECT_FALSE(quantile(now, now, 0.99));
  EXPECT_FALSE(quantile({}, {}, 0.99));
}

TEST(TopView, RatesPerShardAndTotal) {
  const Json status = {{"version", "1\x1b[2J"},
                       {"ready", true},
                       {"shards",
                        {{{"shard", 0}, {"sessions", 5}, {"queued_bytes", 2048}},
                         {{"shard", 1}, {"sessions", 6}, {"loop_lag_ms", 3}}}}};
  const Reading now = reading(2, metrics_text(300, 20, 20), status);
  const auto rates  = rates_between(reading(0, metrics_text(100, 10, 10)), now);
  ASSERT_EQ(rates.size(), 3U);
  EXPECT_EQ(rates[0].messages_per_s, 100);
  EXPECT_EQ(rates[1].messages_per_s, 0);
  EXPECT_EQ(rates[0].connections, 7);
  EXPECT_FALSE(rates[0].commit_p99_s);
  EXPECT_FALSE(rates[1].turn_p99_s);
  EXPECT_EQ(rates[2].sessions, 11);
  EXPECT_EQ(rates[2].queued_bytes, 2048);
  EXPECT_EQ(rates[2].lag_s, 0.003);
  const std::string text = top_text(now, rates);
  EXPECT_NE(text.find("1\\x1b[2J"), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  const Json json = top_json(rates);
  EXPECT_EQ(json["shards"].size(), 2U);
  EXPECT_TRUE(json["shards"][0]["commit_p99_s"].is_null());
  EXPECT_EQ(json["total"]["sessions"], 11);
}

// What is read under a name that the server does not export would stay empty for ever.
TEST(TopView, EveryNumberIsOneThatTheServerExports) {
  engine::Metrics metrics;
  const auto read_now = [&](int seconds) {
    const engine::MetricSource source{"0", &metrics};
    return reading(seconds, engine::prometheus_text({&source, 1}));
  };
  const Reading before = read_now(0);
  for (size_t i = 0; i < static_cast<size_t>(engine::Counter::count); ++i)
    metrics.add(static_cast<engine::Counter>(i), 100);
  for (size_t i = 0; i < static_cast<size_t>(engine::Gauge::count); ++i)
    metrics.set(static_cast<engine::Gauge>(i), 100);
  for (size_t i = 0; i < static_cast<size_t>(engine::Timing::count); ++i)
    metrics.record(static_cast<engine::Timing>(i), 100);
  const Json row = top_json(rates_between(before, read_now(1)))["shards"][0];
  for (const char* key : {"connections", "messages_per_s", "deliveries_per_s", "busy", "turn_p99_s",
                          "commit_p99_s", "batch_rows"}) {
    ASSERT_TRUE(row[key].is_number()) << key << ": " << row;
    EXPECT_GT(row[key].get<double>(), 0) << key;
  }
}

TEST(TopView, ARestartedServerHasNoNegativeRates) {
  const auto rates =
      rates_between(reading(0, metrics_text(1000, 50, 50)), reading(1, metrics_text(20, 1, 1)));
  EXPECT_EQ(rates[0].messages_per_s, 20);
}

TEST(TopView, AStatusOfAnotherShapeIsNone) {
  for (const char* text : {"[]", "5", "{\"shards\":5}", "{\"shards\":[1,[],{}]}",
                           "{\"shards\":[{\"shard\":\"0\"}],\"memory\":[],\"ready\":\"x\"}"}) {
    const Reading now = reading(1, metrics_text(1, 1, 1), Json::parse(text));
    EXPECT_NE(top_text(now, rates_between(reading(0, metrics_text(1, 1, 1)), now)), "");
  }
}

}  // namespace
}  // namespace ringtalk::ctl
