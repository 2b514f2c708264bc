// Byte spans, and big- and little-endian loads and stores from unaligned memory.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace ringtalk {

using Bytes        = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

inline Bytes as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class T>
T load_native(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline uint16_t load_be16(const void* from) {
  return __builtin_bswap16(load_native<uint16_t>(from));
}
inline uint32_t load_be32(const void* from) {
  return __builtin_bswap32(load_native<uint32_t>(from));
}
inline void store_be16(void* to, uint16_t value) {
  value = __builtin_bswap16(value);
  std::memcpy(to, &value, sizeof value);
}
inline void store_be32(void* to, uint32_t value) {
  value = __builtin_bswap32(value);
  std::memcpy(to, &value, sizeof value);
}

static_assert(std::endian::native == std::endian::little,
              "the log format is little-endian, in place");

}  // namespace ringtalk
