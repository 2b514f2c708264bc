// RT_KILLPOINT("name"): a place where a test build may die as if by power loss.
//
// Cost   nothing unless the build has -Dkillpoints=true; then one branch.
// Use    RINGTALK_KILLPOINT=name or name:n. At the n-th passage (from 1) of any site of that name the
//        process sends itself SIGKILL: no destructor, no flush, nothing after it happens.
// Why    each name is a type, so its site registers itself before main and list_killpoints() holds
//        exactly the names that were linked in. No central list can forget one.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringtalk::engine {

// Every name linked in, sorted. Empty in a build without kill-points.
std::vector<std::string_view> list_killpoints();

// Empty, or why RINGTALK_KILLPOINT can never fire: unknown name, bad count.
std::string killpoint_problem();

class KillpointSite {
 public:
  explicit KillpointSite(const char* name);

  void pass() noexcept {
    if (armed_at_ != 0) count();
  }

 private:
  friend std::vector<std::string_view> list_killpoints();
  void count() noexcept;

  const char* name_;
  KillpointSite* next_;
  uint64_t armed_at_ = 0;              // passage to die at; 0: never
  std::atomic<uint64_t> passages_{0};  // relaxed: one thread gets the n-th value, whoever it is
};

template <size_t kBytes>
struct KillpointName {
  char text[kBytes];
  consteval KillpointName(const char (&literal)[kBytes]) { std::copy_n(literal, kBytes, text); }
};

template <KillpointName kName>
struct Killpoint {
  static void pass() noexcept { site.pass(); }
  static inline KillpointSite site{kName.text};
};

}  // namespace ringtalk::engine

#if RT_KILLPOINTS
#define RT_KILLPOINT(name) ::ringtalk::engine::Killpoint<name>::pass()
#else
#define RT_KILLPOINT(name) ((void)0)
#endif
