// Flags: the few command line arguments of a bench program, `--name value` or a bare `--switch`.
//
// Errors  An unknown name, a missing value or a value that is no number prints the list of names and
//         ends the program with 64, so that it is never taken for a measured failure.
// Why     The programs under bench/limit may depend on nothing but std and liburing.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

namespace ringtalk::bench {

inline constexpr int kExitUsage = 64;

class Flags {
 public:
  // `known` maps each name to the help of its value; an empty help makes it a switch.
  Flags(int argc, char** argv, std::map<std::string, std::string> known)
      : program_(argv[0]), known_(std::move(known)) {
    for (int i = 1; i < argc; ++i) {
      auto name = known_.find(argv[i]);
      if (name == known_.end()) usage(std::string("unknown argument ") + argv[i]);
      if (name->second.empty()) {
        given_[name->first] = "1";
      } else {
        if (++i == argc) usage(name->first + " needs a value");
        given_[name->first] = argv[i];
      }
    }
  }

  bool has(const std::string& name) const { return given_.contains(name); }

  std::string text(const std::string& name, std::string fallback = {}) const {
    auto found = given_.find(name);
    return found == given_.end() ? std::move(fallback) : found->second;
  }

  template <class Number>
  Number number(const std::string& name, Number fallback) const {
    auto found = given_.find(name);
    if (found == given_.end()) return fallback;
    Number value{};
    const std::string& text = found->second;
    auto [end, error]       = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) usage(name + ": not a number");
    return value;
  }

  [[noreturn]] void usage(const std::string& complaint) const {
    std::fprintf(stderr, "%s: %s\n", program_, complaint.c_str());
    for (const auto& [name, help] : known_) {
      std::fprintf(stderr, "  %s%s%s\n", name.c_str(), help.empty() ? "" : " ", help.c_str());
    }
    std::exit(kExitUsage);
  }

 private:
  const char* program_;
  std::map<std::string, std::string> known_;
  std::map<std::string, std::string> given_;
};

// "127.0.0.1:8000" in its two halves; false if the port is missing or no 16-bit number.
inline bool split_host_port(std::string_view text, std::string& host, uint16_t& port) {
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  host              = text.substr(0, colon);
  const char* last  = text.data() + text.size();
  auto [end, error] = std::from_chars(text.data() + colon + 1, last, port);
  return error == std::errc{} && end == last && !host.empty();
}

}  // namespace ringtalk::bench
