// Metrics: counters, gauges and histograms of one thread (a shard, a worker), and their text form.
//
// Thread rule   one writer: the owner's thread. Any thread may read: values never tear, but two
//               values need not be of the same instant.
// Cost          add(): a plain addition in memory; no lock prefix, no name is looked up.
// Bound         the rows of metrics_table.h; 8 B per counter and gauge, 19 KiB per histogram.
// Why           names, units and labels are checked by the compiler, so a dashboard never meets a
//               metric that changed its meaning between two files.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/histogram.h"

namespace ringtalk::engine {

#define RT_PROCESS_COUNTER(...) RT_COUNTER(__VA_ARGS__)
#define RT_PROCESS_GAUGE(...) RT_GAUGE(__VA_ARGS__)
#define RT_GAUGE(...)
#define RT_HISTOGRAM(...)
#define RT_COUNTER(id, ...) id,
enum class Counter : uint16_t {
#include "engine/metrics_table.h"
  count
};
#undef RT_COUNTER
#undef RT_GAUGE
#define RT_COUNTER(...)
#define RT_GAUGE(id, ...) id,
enum class Gauge : uint16_t {
#include "engine/metrics_table.h"
  count
};
#undef RT_GAUGE
#undef RT_HISTOGRAM
#define RT_GAUGE(...)
#define RT_HISTOGRAM(id, ...) id,
enum class Timing : uint16_t {
#include "engine/metrics_table.h"
  count
};
#undef RT_COUNTER
#undef RT_GAUGE
#undef RT_HISTOGRAM
#undef RT_PROCESS_COUNTER
#undef RT_PROCESS_GAUGE

class Metrics {
 public:
  void add(Counter counter, uint64_t n = 1) noexcept {
    // Relaxed load + store: one writer. Partner: value() on any thread.
    auto& to = counters_[static_cast<size_t>(counter)];
    to.store(to.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void set(Gauge gauge, int64_t value) noexcept {
    gauges_[static_cast<size_t>(gauge)].store(value, std::memory_order_relaxed);
  }
  void add(Gauge gauge, int64_t n) noexcept { set(gauge, value(gauge) + n); }
  void record(Timing timing, uint64_t value) noexcept {
    histograms_[static_cast<size_t>(timing)].record(value);
  }

  uint64_t value(Counter counter) const noexcept {
    return counters_[static_cast<size_t>(counter)].load(std::memory_order_relaxed);
  }
  int64_t value(Gauge gauge) const noexcept {
    return gauges_[static_cast<size_t>(gauge)].load(std::memory_order_relaxed);
  }
  const Histogram& histogram(Timing timing) const noexcept {
    return histograms_[static_cast<size_t>(timing)];
  }

 private:
  std::array<std::atomic<uint64_t>, static_cast<size_t>(Counter::count)> counters_{};
  std::array<std::atomic<int64_t>, static_cast<size_t>(Gauge::count)> gauges_{};
  std::array<Histogram, static_cast<size_t>(Timing::count)> histograms_{};
};

enum class MetricKind : uint8_t { counter, gauge, histogram };
enum class MetricUnit : uint8_t { none, bytes, seconds };

struct MetricRow {
  MetricKind kind;
  uint16_t index;          // of its enum
  std::string_view name;   // without "ringtalk_"
  std::string_view label;  // key="value" or empty
  MetricUnit unit;
  std::string_view help;
  bool of_process = false;
};

std::span<const MetricRow> metric_rows();

// One thread's metrics and the value of its label `shard`: "0", "1", …; empty: those of the process.
struct MetricSource {
  std::string shard;
  const Metrics* metrics;
};

// All metrics of all sources in Prometheus' text format 0.0.4, in portions: of 64 shards they are 460 KB
// and take 1 ms, too long for one turn of a shard.
// Source: https://prometheus.io/docs/instrumenting/exposition_formats/
class PrometheusText {
 public:
  explicit PrometheusText(std::vector<MetricSource> sources);

  // Writes about so much more; true: this was the last.
  bool write(size_t bytes);
  std::string take() { return std::move(text_); }

 private:
  const std::vector<MetricSource> sources_;
  std::vector<std::string> labels_;  // of each source
  size_t row_ = 0, source_ = 0;      // what comes next
  std::string text_;
};

std::string prometheus_text(std::span<const MetricSource> sources);

}  // namespace ringtalk::engine
