#include "engine/metrics.h"

#include <fmt/format.h>

#include <iterator>

namespace ringtalk::engine {
namespace {

#define RT_COUNTER(id, name, label, unit, help) \
  MetricRow{MetricKind::counter,                \
            static_cast<uint16_t>(Counter::id), \
            name,                               \
            label,                              \
            MetricUnit::unit,                   \
            help},
#define RT_GAUGE(id, name, label, unit, help) \
  MetricRow{                                  \
      MetricKind::gauge, static_cast<uint16_t>(Gauge::id), name, label, MetricUnit::unit, help},
#define RT_HISTOGRAM(id, name, label, unit, help) \
  MetricRow{MetricKind::histogram,                \
            static_cast<uint16_t>(Timing::id),    \
            name,                                 \
            label,                                \
            MetricUnit::unit,                     \
            help},
#define RT_PROCESS_COUNTER(id, name, label, unit, help) \
  MetricRow{MetricKind::counter,                        \
            static_cast<uint16_t>(Counter::id),         \
            name,                                       \
            label,                                      \
            MetricUnit::unit,                           \
            help,                                       \
            true},
#define RT_PROCESS_GAUGE(id, name, label, unit, help) \
  MetricRow{MetricKind::gauge,                        \
            static_cast<uint16_t>(Gauge::id),         \
            name,                                     \
            label,                                    \
            MetricUnit::unit,                         \
            help,                                     \
            true},
constexpr MetricRow kRows[] = {
#include "engine/metrics_table.h"
};
#undef RT_PROCESS_COUNTER
#undef RT_PROCESS_GAUGE
#undef RT_COUNTER
#undef RT_GAUGE
#undef RT_HISTOGRAM

consteval bool names_are_valid() {
  for (const MetricRow& row : kRows) {
    for (char c : row.name)
      if (!(c == '_' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) return false;
    if (row.name.ends_with("_total") != (row.kind == MetricKind::counter)) return false;
    const bool bytes   = row.name.find("bytes") != std::string_view::npos;
    const bool seconds = row.name.find("seconds") != std::string_view::npos;
    if (bytes != (row.unit == MetricUnit::bytes)) return false;
    if (seconds != (row.unit == MetricUnit::seconds)) return false;
  }
  return true;
}

// A name's rows stand together, are of one kind and unit, and the first has the help.
consteval bool families_are_whole() {
  for (size_t i = 0; i < std::size(kRows); ++i) {
    const bool first = i == 0 || kRows[i].name != kRows[i - 1].name;
    if (first == kRows[i].help.empty()) return false;
    if (!first && kRows[i].kind != kRows[i - 1].kind) return false;
    if (!first && kRows[i].unit != kRows[i - 1].unit) return false;
    for (size_t j = 0; j < i; ++j) {
      if (kRows[j].name != kRows[i].name) continue;
      if (first || kRows[j].label == kRows[i].label) return false;
    }
  }
  return true;
}

static_assert(names_are_valid(),
              "metrics_table.h: characters, _total for counters, unit in the name");
static_assert(families_are_whole(),
              "metrics_table.h: rows of one name adjacent, first has the help");

constexpr std::string_view kKindNames[] = {"counter", "gauge", "histogram"};

using Out = std::back_insert_iterator<std::string>;

void put_number(Out out, MetricUnit unit, double value) {
  fmt::format_to(out, "{}", unit == MetricUnit::seconds ? value / 1e9 : value);
}

// Powers of two are borders of the histogram's buckets, so these counts are exact.
// Seconds: 1 µs…69 s. Anything else: 1…2^30. Each second power keeps the text short.
void put_histogram(Out out, const MetricRow& row, const std::string& labels,
                   const Histogram& histogram) {
  const uint32_t first = row.unit == MetricUnit::seconds ? 10 : 0;
  const uint32_t last  = row.unit == MetricUnit::seconds ? 36 : 30;
  uint64_t below       = 0;
  for (uint32_t power = first; power <= last; power += 2) {
    below = histogram.count_below_power(power);
    fmt::format_to(out, "ringtalk_{}_bucket{{{},le=\"", row.name, labels);
    put_number(out, row.unit, static_cast<double>(uint64_t{1} << power));
    fmt::format_to(out, "\"}} {}\n", below);
  }
  // The owner may be recording: what was counted must not exceed +Inf.
  const uint64_t count = std::max(histogram.count_below_power(64), below);
  fmt::format_to(out, "ringtalk_{}_bucket{{{},le=\"+Inf\"}} {}\n", row.name, labels, count);
  fmt::format_to(out, "ringtalk_{}_sum{{{}}} ", row.name, labels);
  put_number(out, row.unit, static_cast<double>(histogram.sum()));
  fmt::format_to(out, "\nringtalk_{}_count{{{}}} {}\n", row.name, labels, count);
}

void put_row(Out out, const MetricRow& row, const MetricSource& source) {
  std::string labels = row.of_process ? "" : fmt::format("shard=\"{}\"", source.shard);
  if (!row.label.empty())
    fmt::format_to(std::back_inserter(labels), "{}{}", labels.empty() ? "" : ",", row.label);
  if (row.kind == MetricKind::histogram) {
    const auto timing = static_cast<Timing>(row.index);
    return put_histogram(out, row, labels, source.metrics->histogram(timing));
  }
  fmt::format_to(out, "ringtalk_{}", row.name);
  if (!labels.empty()) fmt::format_to(out, "{{{}}}", labels);
  *out = ' ';
  if (row.kind == MetricKind::counter) {
    const uint64_t value = source.metrics->value(static_cast<Counter>(row.index));
    if (row.unit == MetricUnit::seconds)
      put_number(out, row.unit, static_cast<double>(value));
    else
      fmt::format_to(out, "{}", value);
  } else {
    const int64_t value = source.metrics->value(static_cast<Gauge>(row.index));
    if (row.unit == MetricUnit::seconds)
      put_number(out, row.unit, static_cast<double>(value));
    else
      fmt::format_to(out, "{}", value);
  }
  *out = '\n';
}

}  // namespace

std::span<const MetricRow> metric_rows() { return kRows; }

std::string prometheus_text(std::span<const MetricSource> sources) {
  std::string text;
  const Out out = std::back_inserter(text);
  std::string_view family;
  for (const MetricRow& row : kRows) {
    if (row.name != family) {
      family = row.name;
      fmt::format_to(out, "# HELP ringtalk_{} {}\n# TYPE ringtalk_{} {}\n", row.name, row.help,
                     row.name, kKindNames[static_cast<size_t>(row.kind)]);
    }
    for (const MetricSource& source : sources)
      if (row.of_process == source.shard.empty()) put_row(out, row, source);
  }
  return text;
}

}  // namespace ringtalk::engine
