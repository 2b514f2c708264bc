#include "tools/loadgen/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include "tools/loadgen/report_json.h"
#include "tools/loadgen/report_text.h"

namespace ringtalk::loadgen {
namespace {

using Json = nlohmann::ordered_json;

struct Subject {
  const char* name;
  const char* pointer;  // RFC 6901
  bool rises;
};
constexpr Subject kSubjects[] = {
    {"acknowledged/s", "/rates/acked_per_s", true},
    {"delivered/s", "/rates/delivered_per_s", true},
    {"ack p50, us", "/latency_us/ack/p50", false},
    {"ack p99, us", "/latency_us/ack/p99", false},
    {"ack p99.9, us", "/latency_us/ack/p99_9", false},
    {"delivery p50, us", "/latency_us/delivery/p50", false},
    {"delivery p99, us", "/latency_us/delivery/p99", false},
    {"logins/s, connect", "/connect/logins_per_s", true},
    {"login p99, us", "/latency_us/login/p99", false},
    {"server CPU us/message", "/server_usage/cpu_us_per_message", false},
    {"server cores", "/server_usage/cores", false},
    {"server RSS after", "/server_usage/rss_after", false},
};

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::vector<double> values_of(const Documents& documents, const char* pointer) {
  std::vector<double> values;
  for (const Json& document : documents) {
    const Json::json_pointer at(pointer);
    if (document.contains(at) && document[at].is_number() && document[at] != 0)
      values.push_back(document[at].get<double>());
  }
  return values;
}

void remark(const Documents& side, const char* name, Comparison& comparison) {
  for (const Json& document : side) {
    const std::string result = document.at("result");
    if (result != "clean")
      comparison.remarks.push_back(fmt::format("a run of {} is {}", name, result));
  }
}

}  // namespace

Figure compare_figure(const std::string& name, bool rises, std::vector<double> a,
                      std::vector<double> b) {
  Figure figure{.name = name, .median_a = median_of(a), .median_b = median_of(b)};
  struct Span {
    double low, high;
  };
  const auto span_of = [](std::vector<double>& values, double median, double& spread) -> Span {
    if (values.size() < 3) {
      spread = kSpreadAssumed;
      return {median * (1 - spread), median * (1 + spread)};
    }
    const auto [low, high] = std::ranges::minmax(values);
    spread                 = median == 0 ? 0 : (high - low) / 2 / std::abs(median);
    return {low, high};
  };
  const Span of_a  = span_of(a, figure.median_a, figure.spread_a);
  const Span of_b  = span_of(b, figure.median_b, figure.spread_b);
  const bool apart = of_a.high < of_b.low || of_b.high < of_a.low;
  const double by  = std::abs(figure.median_b - figure.median_a);
  if (!apart || by <= kSpreadFloor * std::abs(figure.median_a)) return figure;
  figure.verdict = (figure.median_b > figure.median_a) == rises ? Verdict::better : Verdict::worse;
  return figure;
}

Comparison compare_documents(const Documents& a, const Documents& b) {
  Comparison comparison;
  for (const Subject& subject : kSubjects) {
    const auto of_a = values_of(a, subject.pointer), of_b = values_of(b, subject.pointer);
    if (of_a.empty() || of_b.empty()) continue;
    comparison.figures.push_back(compare_figure(subject.name, subject.rises, of_a, of_b));
  }
  for (const auto& [key, value] : a[0].at("scenario").items()) {
    const Json other = b[0].at("scenario").value(key, Json());
    if (key != "seed" && key != "description" && other != value)
      comparison.remarks.push_back(
          fmt::format("the scenarios differ: {} is {} and {}", key, value.dump(), other.dump()));
  }
  if (a[0].at("machine") != b[0].at("machine")) comparison.remarks.push_back("the machines differ");
  if (a[0].at("loop") != b[0].at("loop"))
    comparison.remarks.push_back("one side is open loop, the other closed");
  remark(a, "A", comparison);
  remark(b, "B", comparison);
  return comparison;
}

std::string comparison_text(const Comparison& comparison) {
  std::string out = fmt::format("{:<24} {:>14} {:>9} {:>14} {:>9} {:>9}  {}\n", "", "A", "+-", "B",
                                "+-", "B/A", "verdict");
  constexpr const char* kWords[] = {"better", "WORSE", "no difference beyond spread"};
  for (const Figure& f : comparison.figures) {
    out += fmt::format("{:<24} {:>14} {:>8.1f}% {:>14} {:>8.1f}% {:>9.3f}  {}\n", f.name,
                       number_text(f.median_a), f.spread_a * 100, number_text(f.median_b),
                       f.spread_b * 100, f.median_a == 0 ? 0 : f.median_b / f.median_a,
                       kWords[static_cast<size_t>(f.verdict)]);
  }
  for (const std::string& text : comparison.remarks) out += "note: " + text + '\n';
  return out;
}

bool read_documents(const std::vector<std::string>& files, Documents& documents,
                    std::string& problem) {
  for (const std::string& file : files) {
    std::ifstream in(file);
    Json document   = Json::parse(in, nullptr, false);
    const bool ours = document.is_object() && document.value("tool", "") == "ringtalk-loadgen" &&
                      document.contains("scenario") && document.contains("machine") &&
                      document.contains("loop") && document.contains("result");
    if (!ours || document.value("format", 0) != kReportFormat) {
      problem = fmt::format("{}: {}", file,
                            in.is_open() ? "is no report of this version" : "cannot be read");
      return false;
    }
    documents.push_back(std::move(document));
  }
  return true;
}

}  // namespace ringtalk::loadgen
