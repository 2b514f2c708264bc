// Report: the figures of one run as lines or as one JSON object, and what went wrong in it.
//
// Bound  The first kViolationsNamedMax violations keep their words, all are counted: a server that is
//        wrong throughout must not fill the driver's memory with complaints.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "bench/histogram.h"

namespace ringtalk::bench {

inline constexpr size_t kViolationsNamedMax = 20;

class Report {
 public:
  void violation(const std::string& what) {
    ++count_;
    if (named_.size() < kViolationsNamedMax) named_.push_back(what);
  }
  uint64_t count() const { return count_; }
  const std::vector<std::string>& named() const { return named_; }

  void number(const char* name, double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%.4f", value);
    fields_.push_back({name, text});
  }
  void count(const char* name, uint64_t value) { fields_.push_back({name, std::to_string(value)}); }
  void text(const char* name, const std::string& value) {
    fields_.push_back({name, quoted(value)});
  }
  void latency(const char* name, const Histogram& h) {
    char text[160];
    std::snprintf(text, sizeof text,
                  "{\"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}",
                  h.quantile_us(0.5), h.quantile_us(0.99), h.quantile_us(0.999), h.max_us());
    fields_.push_back({name, text});
  }

  void print(bool json) const {
    if (json) std::printf("{");
    const char* before = "";
    for (const auto& [name, value] : fields_) {
      if (json)
        std::printf("%s\"%s\": %s", before, name.c_str(), value.c_str());
      else
        std::printf("%-28s %s\n", name.c_str(), value.c_str());
      before = ", ";
    }
    if (json) {
      std::printf("%s\"violation_count\": %llu, \"violations\": [", before,
                  static_cast<unsigned long long>(count_));
      before = "";
      for (const std::string& v : named_) {
        std::printf("%s%s", before, quoted(v).c_str());
        before = ", ";
      }
      std::printf("]}\n");
    }
    for (const std::string& v : named_) std::fprintf(stderr, "violation: %s\n", v.c_str());
    if (count_ > named_.size()) {
      std::fprintf(stderr, "violations in all: %llu\n", static_cast<unsigned long long>(count_));
    }
  }

 private:
  static std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return out + '"';
  }

  std::vector<std::pair<std::string, std::string>> fields_;
  std::vector<std::string> named_;
  uint64_t count_ = 0;
};

}  // namespace ringtalk::bench
