// Units. A number without one is a count.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ringtalk {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;

inline constexpr uint64_t kNsPerUs = 1'000;
inline constexpr uint64_t kNsPerMs = 1'000'000;
inline constexpr uint64_t kNsPerS  = 1'000'000'000;

inline constexpr size_t kCacheLineBytes = 64;

}  // namespace ringtalk
