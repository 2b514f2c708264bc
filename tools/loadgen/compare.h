// Compare: is side B better or worse than side A, or is the difference within what identical runs differ?
//
// Rule  Each side is the reports of one or more runs; a figure is their median, its spread the range of
//       them relative to it. A difference counts if the ranges do not overlap and the medians are more
//       than kFloor apart. A side of fewer than three runs has no spread of its own: kAssumed is taken.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace ringtalk::loadgen {

inline constexpr double kSpreadAssumed =
    0.15;  // what identical runs on one machine were seen to differ
inline constexpr double kSpreadFloor = 0.03;

enum class Verdict : uint8_t { better, worse, same };

struct Figure {
  std::string name;
  double median_a = 0, median_b = 0;
  double spread_a = 0, spread_b = 0;  // half the range, relative to the median
  Verdict verdict = Verdict::same;
};

// rises: more is better.
Figure compare_figure(const std::string& name, bool rises, std::vector<double> a,
                      std::vector<double> b);

struct Comparison {
  std::vector<Figure> figures;
  std::vector<std::string> remarks;  // what makes the two sides hard to compare
};
using Documents = std::vector<nlohmann::ordered_json>;
Comparison compare_documents(const Documents& a, const Documents& b);
std::string comparison_text(const Comparison& comparison);

// Reads reports; false and the reason in `problem`.
bool read_documents(const std::vector<std::string>& files, Documents& documents,
                    std::string& problem);

}  // namespace ringtalk::loadgen
