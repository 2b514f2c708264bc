#include "tools/ctl/prometheus.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>

namespace ringtalk::ctl {

namespace {

constexpr std::string_view kPrefix = "ringtalk_";
constexpr size_t kNumberBytesMax   = 64;
constexpr int kShardNumberMax      = 4096;

std::optional<double> read_value(std::string_view text) {
  if (text == "+Inf") return std::numeric_limits<double>::infinity();
  if (text.empty() || text.size() > kNumberBytesMax) return std::nullopt;
  const std::string copy(text);  // std::strtod wants its end
  char* end          = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (end != copy.c_str() + copy.size() || std::isnan(value)) return std::nullopt;
  return value;
}

// The text between the quotes of key="…", or nothing. Our labels hold no escapes.
std::optional<std::string_view> label(std::string_view labels, std::string_view key) {
  while (!labels.empty()) {
    const size_t equals = labels.find("=\"");
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string_view name = labels.substr(0, equals);
    labels.remove_prefix(equals + 2);
    const size_t end = labels.find('"');
    if (end == std::string_view::npos) return std::nullopt;
    if (name == key) return labels.substr(0, end);
    labels.remove_prefix(end + 1);
    if (labels.starts_with(',')) labels.remove_prefix(1);
  }
  return std::nullopt;
}

}  // namespace

Metrics::Metrics(std::string_view text) {
  size_t count = 0;
  while (!text.empty() && count < kMetricsMax) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (!line.starts_with(kPrefix)) continue;
    line.remove_prefix(kPrefix.size());
    const size_t name_end = line.find_first_of("{ ");
    if (name_end == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, name_end);
    line.remove_prefix(name_end);
    std::string_view labels;
    if (line.starts_with('{')) {
      const size_t close = line.rfind('}');
      if (close == std::string_view::npos) continue;
      labels = line.substr(1, close - 1);
      line.remove_prefix(close + 1);
    }
    while (line.starts_with(' ')) line.remove_prefix(1);
    const auto value = read_value(line.substr(0, line.find(' ')));
    if (!value) continue;
    Line parsed{.value = *value};
    if (const auto shard = label(labels, "shard")) {
      const auto number = read_value(*shard);
      if (!number || *number < 0 || *number > kShardNumberMax) continue;
      parsed.shard = static_cast<int>(*number);
    }
    if (const auto bound = label(labels, "le")) parsed.bound = read_value(*bound);
    auto found = lines_.find(name);
    if (found == lines_.end()) found = lines_.emplace(std::string(name), std::vector<Line>()).first;
    found->second.push_back(parsed);
    ++count;
  }
}

double Metrics::sum(std::string_view name, std::optional<int> shard) const {
  const auto found = lines_.find(name);
  double total     = 0;
  if (found == lines_.end()) return 0;
  for (const Line& line : found->second) {
    if (!shard || line.shard == shard) total += line.value;
  }
  return total;
}

std::vector<Metrics::Bucket> Metrics::buckets(std::string_view name,
                                              std::optional<int> shard) const {
  const auto found = lines_.find(std::string(name) + "_bucket");
  std::map<double, double> sums;
  if (found != lines_.end()) {
    for (const Line& line : found->second) {
      if (line.bound && (!shard || line.shard == shard)) sums[*line.bound] += line.value;
    }
  }
  std::vector<Bucket> out;
  for (const auto& [bound, count] : sums) out.push_back({bound, count});
  return out;
}

std::vector<int> Metrics::shards() const {
  std::set<int> found;
  for (const auto& [name, lines] : lines_) {
    for (const Line& line : lines) {
      if (line.shard) found.insert(*line.shard);
    }
  }
  return {found.begin(), found.end()};
}

std::optional<double> quantile(const std::vector<Metrics::Bucket>& before,
                               const std::vector<Metrics::Bucket>& now, double fraction) {
  // A bound that was not there before (buckets without counts may be left out) had what is below it.
  const auto before_at = [&](double bound) {
    double count = 0;
    for (const auto& bucket : before) {
      if (bucket.bound <= bound) count = bucket.count;
    }
    return count;
  };
  if (now.empty()) return std::nullopt;
  const double total = now.back().count - before_at(now.back().bound);
  if (!(total > 0)) return std::nullopt;
  double below       = 0;
  double lower_bound = 0;
  for (const auto& bucket : now) {
    const double upto = bucket.count - before_at(bucket.bound);
    if (upto >= fraction * total && upto > below) {
      if (std::isinf(bucket.bound)) return lower_bound;
      return lower_bound +
             (bucket.bound - lower_bound) * (fraction * total - below) / (upto - below);
    }
    below       = std::max(below, upto);
    lower_bound = bucket.bound;
  }
  return lower_bound;
}

}  // namespace ringtalk::ctl
