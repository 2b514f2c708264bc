#include "store/embedded/crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#else
#include <array>
#endif

namespace ringtalk::store {

#if defined(__x86_64__)

[[gnu::target("sse4.2")]] uint32_t crc32c(uint32_t crc, Bytes bytes) {
  uint64_t sum        = ~crc;
  const std::byte* at = bytes.data();
  size_t left         = bytes.size();
  for (; left >= 8; at += 8, left -= 8) sum = _mm_crc32_u64(sum, load_native<uint64_t>(at));
  auto narrow = static_cast<uint32_t>(sum);
  for (; left > 0; ++at, --left) narrow = _mm_crc32_u8(narrow, static_cast<uint8_t>(*at));
  return ~narrow;
}

[[gnu::target("sse4.2")]] uint32_t crc32c_of(uint32_t crc, uint64_t value) {
  return ~static_cast<uint32_t>(_mm_crc32_u64(static_cast<uint32_t>(~crc), value));
}

#else

namespace {
constexpr auto kTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) ? 0x82f63b78u : 0);
    table[i] = value;
  }
  return table;
}();
}  // namespace

uint32_t crc32c(uint32_t crc, Bytes bytes) {
  uint32_t sum = ~crc;
  for (std::byte b : bytes) sum = kTable[(sum ^ static_cast<uint8_t>(b)) & 0xff] ^ (sum >> 8);
  return ~sum;
}

uint32_t crc32c_of(uint32_t crc, uint64_t value) {
  return crc32c(crc, std::as_bytes(std::span(&value, 1)));
}

#endif

}  // namespace ringtalk::store
