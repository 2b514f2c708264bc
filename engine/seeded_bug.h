// RT_SEEDED_BUG("name"): true in a test build that was asked to have this defect.
//
// Cost   nothing unless the build has -Dseeded_bugs=true: the condition is a constant.
// Use    RINGTALK_SEEDED_BUG=name. Names: grep for the macro; tests/chaos/chaos.py has what must find each.
// Why    a test that never failed proves little. Each defect is one that servers like this one have had; the
//        suites that exist to find it must do so, under its name, or they are void.
#pragma once

#include <cstdlib>
#include <string_view>

namespace ringtalk::engine {

inline bool is_seeded(std::string_view bug) {
  const char* wanted = std::getenv("RINGTALK_SEEDED_BUG");
  return wanted != nullptr && bug == wanted;
}

}  // namespace ringtalk::engine

#if RT_SEEDED_BUGS
#define RT_SEEDED_BUG(name)                                     \
  ([]() noexcept {                                              \
    static const bool on = ::ringtalk::engine::is_seeded(name); \
    return on;                                                  \
  }())
#else
#define RT_SEEDED_BUG(name) false
#endif
