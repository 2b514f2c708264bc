// RT_ASSERT: an invariant of ours, compiled into every build; prints and aborts.
// RT_VERIFY: the same for checks dearer than O(1); debug and sanitizer builds only.
//
// Never on bytes from a socket, a file or a database: those are errors (engine/base/result.h).
#pragma once

#include <cstdio>
#include <cstdlib>

namespace ringtalk {
[[noreturn, gnu::cold, gnu::noinline]] inline void assert_failed(const char* what, const char* file,
                                                                 int line) {
  std::fprintf(stderr, "ringtalk: invariant broken: %s (%s:%d)\n", what, file, line);
  std::abort();
}
}  // namespace ringtalk

#define RT_ASSERT(condition)              \
  (static_cast<bool>(condition) ? void(0) \
                                : ::ringtalk::assert_failed(#condition, __FILE__, __LINE__))

#if defined(NDEBUG) || defined(__OPTIMIZE__)
#define RT_VERIFY(condition) ((void)0)
#else
#define RT_VERIFY(condition) RT_ASSERT(condition)
#endif
