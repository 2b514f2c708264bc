#include "engine/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "engine/log_line.h"
#include "engine/random.h"

namespace ringtalk::engine::log {
namespace {

constexpr uint64_t kTime = 1'795'251'809'123'456'789;  // 2026-11-21T09:03:29.123Z

std::string line_of(Format format, std::string_view event, Fields fields) {
  char line[kLogLineBytes];
  return {line, format_line(line, format, Level::info, kTime, event, fields)};
}

TEST(LogLine, TextShowsWordsPlainAndQuotesTheRest) {
  EXPECT_EQ(line_of(Format::text, "listening",
                    {{"address", "127.0.0.1:8000"}, {"shards", 4}, {"ok", true}, {"load", 0.5}}),
            "2026-11-21T09:03:29.123Z INFO  listening address=127.0.0.1:8000 shards=4 ok=true "
            "load=0.5\n");
  EXPECT_EQ(line_of(Format::text, "x", {{"a", "two words"}, {"b", ""}, {"c", "q\"=\\"}}),
            "2026-11-21T09:03:29.123Z INFO  x a=\"two words\" b=\"\" c=\"q\\\"=\\\\\"\n");
}

TEST(LogLine, TextEscapesWhatATerminalWouldObey) {
  EXPECT_EQ(line_of(Format::text, "x", {{"a", "\x1b[2J\r\n"}}).substr(31),
            "x a=\"\\x1b[2J\\x0d\\n\"\n");
  EXPECT_EQ(line_of(Format::text, "x", {{"a", "\xff\xc0\x80"}}).substr(31),
            "x a=\"\\xff\\xc0\\x80\"\n");
  EXPECT_EQ(line_of(Format::text, "x", {{"a", "\xe7\x94\xa8\xe6\x88\xb7"}}).substr(31),
            "x a=\"\xe7\x94\xa8\xe6\x88\xb7\"\n");
  // U+202E turns the direction of what follows; U+0085 is a C1 control.
  EXPECT_EQ(line_of(Format::text, "x", {{"a", "\xe2\x80\xae\xc2\x85"}}).substr(31),
            "x a=\"\\xe2\\x80\\xae\\xc2\\x85\"\n");
}

TEST(LogLine, JsonIsAlwaysJson) {
  SeededRandom random(3);
  for (int i = 0; i < 20'000; ++i) {
    std::string name(random.below(20), '\0'), body(random.below(i % 50 == 0 ? 2000 : 30), '\0');
    random.fill(std::as_writable_bytes(std::span(name)));
    random.fill(std::as_writable_bytes(std::span(body)));
    const std::string line =
        line_of(Format::json, name,
                {{"body", body}, {"count", random.next()}, {"minus", -5}, {"again", body}});
    ASSERT_LE(line.size(), kLogLineBytes);
    ASSERT_EQ(line.find('\n'), line.size() - 1);
    const auto parsed = nlohmann::json::parse(line, nullptr, false);
    ASSERT_FALSE(parsed.is_discarded()) << line;
    ASSERT_EQ(parsed["level"], "info");
    ASSERT_TRUE(parsed.contains("cut") || parsed["minus"] == -5);
  }
}

TEST(LogLine, TextIsOneLineOfPrintableCharacters) {
  SeededRandom random(4);
  for (int i = 0; i < 5'000; ++i) {
    std::string body(random.below(600), '\0');
    random.fill(std::as_writable_bytes(std::span(body)));
    const std::string line = line_of(Format::text, body, {{"body", body}, {"again", body}});
    ASSERT_LE(line.size(), kLogLineBytes);
    ASSERT_EQ(line.back(), '\n');
    for (char c : line.substr(0, line.size() - 1)) {
      ASSERT_FALSE(static_cast<unsigned char>(c) < 0x20 || c == 0x7f);
    }
  }
}

TEST(LogLine, WhatDoesNotFitIsLeftOutAndSaid) {
  const std::string big(4000, 'x');
  const std::string line =
      line_of(Format::json, "e", {{"a", big}, {"b", big}, {"c", big}, {"d", 7}});
  const auto parsed = nlohmann::json::parse(line);
  EXPECT_EQ(parsed["a"].get<std::string>().size(), kValueBytesMax);
  EXPECT_TRUE(parsed.contains("b"));
  EXPECT_FALSE(parsed.contains("c"));
  EXPECT_EQ(parsed["d"], 7);
  EXPECT_EQ(parsed["cut"], true);
}

TEST(LogLine, NumbersThatJsonLacksAreNull) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(nlohmann::json::parse(line_of(Format::json, "e", {{"a", nan}}))["a"].is_null());
}

class ManualClock final : public Clock {
 public:
  uint64_t now_ns() override { return now_.load(); }
  uint64_t wall_ns() override { return kTime; }
  uint64_t cpu_ns() override { return 0; }
  void advance(uint64_t ns) { now_.fetch_add(ns); }

 private:
  std::atomic<uint64_t> now_{kNsPerS};
};

struct Pipe {
  Pipe() { EXPECT_EQ(pipe2(fd, O_CLOEXEC), 0); }
  ~Pipe() {
    for (int end : fd)
      if (end >= 0) close(end);
  }
  // Everything up to the end; the write end is closed first.
  std::string drain() {
    close(fd[1]);
    fd[1] = -1;
    std::string all;
    char buffer[4096];
    for (ssize_t n; (n = read(fd[0], buffer, sizeof buffer)) > 0;) all.append(buffer, n);
    return all;
  }
  int fd[2];
};

size_t count_of(const std::string& text, std::string_view part) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

TEST(Log, LinesArriveInOrderAndLevelsFilter) {
  Pipe pipe;
  start({.fd = pipe.fd[1], .level = Level::warn, .format = Format::text});
  info("hidden");
  warn("first", {{"n", 1}});
  error("second");
  stop();
  const std::string text = pipe.drain();
  EXPECT_EQ(count_of(text, "hidden"), 0u);
  EXPECT_LT(text.find("WARN  first n=1\n"), text.find("ERROR second\n"));
  EXPECT_EQ(count_of(text, "\n"), 2u);
}

TEST(Log, AFloodOfOneCauseIsSummedUpAndSparesTheOthers) {
  Pipe pipe;
  ManualClock clock;
  const Totals before = totals();
  start({.fd = pipe.fd[1], .format = Format::json, .clock = &clock});
  for (int i = 0; i < 500; ++i) info("flood", {{"i", i}});
  info("calm");
  clock.advance(kNsPerS);
  info("calm");
  for (int i = 0; i < 12; ++i) info("flood");
  stop();
  const std::string text = pipe.drain();
  EXPECT_EQ(count_of(text, "\"event\":\"flood\""), 20u);
  EXPECT_EQ(count_of(text, "\"event\":\"calm\""), 2u);
  uint64_t told = 0;
  for (size_t at = 0; (at = text.find("\"cause\":\"flood\",\"count\":", at)) != std::string::npos;)
    told += std::strtoull(text.c_str() + (at += 24), nullptr, 10);
  EXPECT_EQ(told, 492u);
  EXPECT_EQ(totals().suppressed - before.suppressed, 492u);
}

TEST(Log, MoreCausesThanSlotsStillLog) {
  Pipe pipe;
  ManualClock clock;
  start({.fd = pipe.fd[1], .format = Format::text, .clock = &clock});
  std::string text;
  std::thread reader([&] {
    char buffer[4096];
    for (ssize_t n; (n = read(pipe.fd[0], buffer, sizeof buffer)) > 0;) text.append(buffer, n);
  });
  for (int i = 0; i < 2000; ++i) {
    info("cause" + std::to_string(i));
    if (i % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  stop();
  close(pipe.fd[1]);
  pipe.fd[1] = -1;
  reader.join();
  EXPECT_GE(count_of(text, " cause"), 100u);
  EXPECT_GE(count_of(text, "log_suppressed cause=other"), 1u);
}

TEST(Log, AFullPipeNeverStallsCallersAndLossIsCounted) {
  Pipe pipe;                 // nobody reads: 64 KiB fit into it
  static ManualClock clock;  // outlives the writer that stop() leaves behind
  const Totals before = totals();
  start({.fd = pipe.fd[1], .format = Format::json, .clock = &clock});
  const std::string big(300, 'x');
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 5'000; ++i) {
    if (i % 10 == 0) clock.advance(kNsPerS);
    info("event", {{"big", big}, {"i", i}});
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  EXPECT_GT(totals().dropped - before.dropped, 3'000u);
  const auto stop_begin = std::chrono::steady_clock::now();
  stop(200);
  EXPECT_LT(std::chrono::steady_clock::now() - stop_begin, std::chrono::milliseconds(1500));
  std::this_thread::sleep_for(std::chrono::milliseconds(250));  // the abandoned writer lets go
}

TEST(Log, WhatTheOperatorAskedForIsNotLimitedPerCauseNorByLevel) {
  Pipe pipe;
  ManualClock clock;
  start({.fd = pipe.fd[1], .level = Level::error, .format = Format::text, .clock = &clock});
  const Totals before = totals();
  for (int i = 0; i < 100; ++i) write_each("message", {{"i", i}});
  info("hidden");
  stop();
  close(pipe.fd[1]);
  pipe.fd[1] = -1;
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(pipe.fd[0], buffer, sizeof buffer)) > 0;) text.append(buffer, n);
  EXPECT_EQ(count_of(text, " message i="), 100u);
  EXPECT_EQ(count_of(text, "hidden"), 0u);
  EXPECT_EQ(totals().suppressed, before.suppressed);
  set_level(Level::info);
}

// A flood of them over a pipe that nobody reads must not push out a line that matters.
TEST(Log, WhatTheOperatorAskedForLeavesRoomForTheRest) {
  Pipe pipe;
  static ManualClock clock;
  start({.fd = pipe.fd[1], .format = Format::json, .clock = &clock});
  const std::string big(300, 'x');
  for (int i = 0; i < 5'000; ++i) write_each("message", {{"big", big}});
  const Totals flooded = totals();
  for (int i = 0; i < 10; ++i) error("disk_failed", {{"i", i}});
  EXPECT_EQ(totals().dropped, flooded.dropped) << "there was room";
  std::string text;
  std::thread reader([&] {
    char buffer[4096];
    for (ssize_t n; (n = read(pipe.fd[0], buffer, sizeof buffer)) > 0;) text.append(buffer, n);
  });
  stop(5000);
  close(pipe.fd[1]);
  pipe.fd[1] = -1;
  reader.join();
  EXPECT_EQ(count_of(text, "disk_failed"), 10u);
}

TEST(Log, LinesOfAShardsThreadSayWhichShard) {
  Pipe pipe;
  ManualClock clock;
  start({.fd = pipe.fd[1], .format = Format::json, .clock = &clock});
  info("main_thread");
  std::thread([] {
    set_shard(7);
    info("shard_thread", {{"a", 1}});
  }).join();
  stop();
  close(pipe.fd[1]);
  pipe.fd[1] = -1;
  char buffer[4096];
  const ssize_t bytes = read(pipe.fd[0], buffer, sizeof buffer);
  ASSERT_GT(bytes, 0);
  const std::string text(buffer, static_cast<size_t>(bytes));
  const auto first  = nlohmann::json::parse(text.substr(0, text.find('\n')));
  const auto second = nlohmann::json::parse(text.substr(text.find('\n')));
  EXPECT_FALSE(first.contains("shard"));
  EXPECT_EQ(second["shard"], 7);
  EXPECT_EQ(second["a"], 1);
}

TEST(Log, AClosedReaderIsALossNotASignal) {
  Pipe pipe;
  close(pipe.fd[0]);
  pipe.fd[0]          = -1;
  const Totals before = totals();
  start({.fd = pipe.fd[1], .format = Format::json});
  info("event");
  stop();
  EXPECT_EQ(totals().dropped - before.dropped, 1u);
}

TEST(Log, ManyThreadsLoseNothingAndTearNothing) {
  Pipe pipe;
  ManualClock clock;
  start({.fd = pipe.fd[1], .format = Format::json, .clock = &clock});
  std::string text;
  std::thread reader([&] {
    char buffer[4096];
    for (ssize_t n; (n = read(pipe.fd[0], buffer, sizeof buffer)) > 0;) text.append(buffer, n);
  });
  const Totals before = totals();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 200; ++i)  // 20 causes per thread, 10 lines each: below the limit
        info("cause" + std::to_string(t) + "_" + std::to_string(i % 20), {{"i", i}});
    });
  for (std::thread& thread : threads) thread.join();
  stop();
  close(pipe.fd[1]);
  pipe.fd[1] = -1;
  reader.join();
  size_t lines = 0;
  for (size_t at = 0; at < text.size(); ++lines) {
    const size_t end = text.find('\n', at);
    ASSERT_FALSE(nlohmann::json::parse(text.substr(at, end - at), nullptr, false).is_discarded());
    at = end + 1;
  }
  EXPECT_EQ(lines, 800u);
  EXPECT_EQ(totals().written - before.written, 800u);
}

}  // namespace
}  // namespace ringtalk::engine::log
