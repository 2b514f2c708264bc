#include "engine/metrics.h"

#include <fmt/format.h>

#include <array>
#include <concepts>
#include <iterator>
#include <vector>

#include "engine/base/units.h"

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

// Appends to the text. A scrape has thousands of lines, and a shard stands still meanwhile.
class Out {
 public:
  explicit Out(std::string& text) : text_(text) {}

  Out& operator<<(std::string_view part) {
    text_ += part;
    return *this;
  }
  Out& operator<<(std::integral auto number) {
    const fmt::format_int digits(number);
    text_.append(digits.data(), digits.size());
    return *this;
  }
  void put_seconds(double ns) { fmt::format_to(std::back_inserter(text_), "{}", ns / 1e9); }

 private:
  std::string& text_;
};

// Powers of two are borders of the histogram's buckets, so these counts are exact.
// Seconds: 1 µs…69 s. Anything else: 1…2^30. Each second power keeps the text short.
struct Borders {
  static constexpr uint32_t kStep = 2;

  explicit Borders(MetricUnit unit)
      : first(unit == MetricUnit::seconds ? 10 : 0), last(unit == MetricUnit::seconds ? 36 : 30) {
    for (uint32_t power = first; power <= last; power += kStep) {
      const auto border = static_cast<double>(uint64_t{1} << power);
      names.push_back(fmt::format("{}", unit == MetricUnit::seconds ? border / 1e9 : border));
    }
  }

  uint32_t first, last;
  std::vector<std::string> names;
};

void put_histogram(Out out, const MetricRow& row, std::string_view labels,
                   const Histogram& histogram) {
  static const Borders kSeconds(MetricUnit::seconds), kOther(MetricUnit::none);
  const Borders& borders = row.unit == MetricUnit::seconds ? kSeconds : kOther;
  std::array<uint64_t, 32> below;
  const std::span<uint64_t> counts = std::span(below).first(borders.names.size());
  const uint64_t count = histogram.counts_below_powers(borders.first, Borders::kStep, counts);
  for (size_t i = 0; i < counts.size(); ++i) {
    out << "ringtalk_" << row.name << "_bucket{" << labels << ",le=\"" << borders.names[i] << "\"} "
        << counts[i] << "\n";
  }
  out << "ringtalk_" << row.name << "_bucket{" << labels << ",le=\"+Inf\"} " << count << "\n";
  out << "ringtalk_" << row.name << "_sum{" << labels << "} ";
  if (row.unit == MetricUnit::seconds)
    out.put_seconds(static_cast<double>(histogram.sum()));
  else
    out << histogram.sum();
  out << "\nringtalk_" << row.name << "_count{" << labels << "} " << count << "\n";
}

void put_value(Out out, MetricUnit unit, std::integral auto value) {
  if (unit == MetricUnit::seconds)
    out.put_seconds(static_cast<double>(value));
  else
    out << value;
}

void put_row(Out out, const MetricRow& row, const MetricSource& source, std::string_view shard) {
  std::string joined;
  std::string_view labels = row.label.empty() ? shard : row.label;
  if (!row.label.empty() && !shard.empty())
    labels = joined = fmt::format("{},{}", shard, row.label);
  if (row.kind == MetricKind::histogram) {
    const auto timing = static_cast<Timing>(row.index);
    return put_histogram(out, row, labels, source.metrics->histogram(timing));
  }
  out << "ringtalk_" << row.name;
  if (!labels.empty()) out << "{" << labels << "}";
  out << " ";
  if (row.kind == MetricKind::counter)
    put_value(out, row.unit, source.metrics->value(static_cast<Counter>(row.index)));
  else
    put_value(out, row.unit, source.metrics->value(static_cast<Gauge>(row.index)));
  out << "\n";
}

}  // namespace

std::span<const MetricRow> metric_rows() { return kRows; }

// More than a shard's lines take: a growing text would be copied, and its pages be fresh each time.
constexpr size_t kBytesPerSource = 8 * kKiB;

PrometheusText::PrometheusText(std::vector<MetricSource> sources) : sources_(std::move(sources)) {
  text_.reserve(sources_.size() * kBytesPerSource);
  for (const MetricSource& source : sources_)
    labels_.push_back(source.shard.empty() ? "" : fmt::format("shard=\"{}\"", source.shard));
}

bool PrometheusText::write(size_t bytes) {
  Out out(text_);
  const size_t enough = text_.size() + bytes;
  for (; row_ < std::size(kRows); ++row_, source_ = 0) {
    const MetricRow& row = kRows[row_];
    const bool first     = row_ == 0 || kRows[row_ - 1].name != row.name;
    if (first && source_ == 0)
      out << "# HELP ringtalk_" << row.name << " " << row.help << "\n# TYPE ringtalk_" << row.name
          << " " << kKindNames[static_cast<size_t>(row.kind)] << "\n";
    for (; source_ < sources_.size(); ++source_) {
      if (text_.size() >= enough && source_ > 0) return false;
      if (row.of_process == labels_[source_].empty())
        put_row(out, row, sources_[source_], labels_[source_]);
    }
  }
  return true;
}

std::string prometheus_text(std::span<const MetricSource> sources) {
  PrometheusText text({sources.begin(), sources.end()});
  text.write(SIZE_MAX / 2);
  return text.take();
}

}  // namespace ringtalk::engine
