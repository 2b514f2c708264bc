// Metrics: the text of /metrics as numbers.
//
//   name{label="value",…} 12.5        # lines are comments; a time behind the value is ignored
//
// Bound   kMetricsMax lines; what is no line of this form is skipped.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringtalk::ctl {

class Metrics {
 public:
  static constexpr size_t kMetricsMax = 100'000;

  explicit Metrics(std::string_view text);

  // Sum over all lines of that name (without "ringtalk_"), or over those with the shard label.
  double sum(std::string_view name, std::optional<int> shard = std::nullopt) const;
  bool has(std::string_view name) const { return lines_.contains(name); }
  // Cumulative buckets of a histogram, by rising bound; +Inf is last.
  struct Bucket {
    double bound = 0;
    double count = 0;
  };
  std::vector<Bucket> buckets(std::string_view name, std::optional<int> shard = std::nullopt) const;
  std::vector<int> shards() const;  // rising

 private:
  struct Line {
    std::optional<int> shard;
    std::optional<double> bound;  // le
    double value = 0;
  };
  std::map<std::string, std::vector<Line>, std::less<>> lines_;
};

// The bound under which a fraction (0…1) of what was counted between two readings lies; nothing if
// nothing was. Linear within a bucket; the last finite bound stands for +Inf.
std::optional<double> quantile(const std::vector<Metrics::Bucket>& before,
                               const std::vector<Metrics::Bucket>& now, double fraction);

}  // namespace ringtalk::ctl
