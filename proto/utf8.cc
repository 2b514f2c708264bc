#include "proto/utf8.h"

#include <cstdint>

namespace ringtalk::proto {
namespace {

constexpr uint64_t kHighBits = 0x8080808080808080;

struct LeadRule {
  uint8_t bytes;       // of the whole character; 0: no lead byte
  uint8_t second_min;  // range of the second byte, inclusive; further ones are 0x80…0xbf
  uint8_t second_max;
};

// Unicode standard, table 3-7 (well-formed UTF-8 byte sequences).
constexpr LeadRule rule_of(uint8_t lead) {
  if (lead < 0xc2) return {0, 0, 0};  // continuation, or an overlong form of ASCII
  if (lead <= 0xdf) return {2, 0x80, 0xbf};
  if (lead == 0xe0) return {3, 0xa0, 0xbf};
  if (lead == 0xed) return {3, 0x80, 0x9f};
  if (lead <= 0xef) return {3, 0x80, 0xbf};
  if (lead == 0xf0) return {4, 0x90, 0xbf};
  if (lead <= 0xf3) return {4, 0x80, 0xbf};
  if (lead == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

// Bytes of the well-formed multi-byte character at `at`, or 0.
size_t multibyte_length(const uint8_t* at, size_t left) {
  const LeadRule rule = rule_of(at[0]);
  if (rule.bytes == 0 || rule.bytes > left) return 0;
  if (at[1] < rule.second_min || at[1] > rule.second_max) return 0;
  for (size_t i = 2; i < rule.bytes; ++i) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  return rule.bytes;
}

}  // namespace

std::optional<size_t> count_utf8_characters(Bytes text) {
  const auto* at  = reinterpret_cast<const uint8_t*>(text.data());
  const auto* end = at + text.size();
  size_t count    = 0;
  while (at != end) {
    while (end - at >= 8 && (load_native<uint64_t>(at) & kHighBits) == 0) at += 8, count += 8;
    if (at == end) break;
    if (*at < 0x80) {
      ++at;
    } else {
      const size_t length = multibyte_length(at, static_cast<size_t>(end - at));
      if (length == 0) return std::nullopt;
      at += length;
    }
    ++count;
  }
  return count;
}

}  // namespace ringtalk::proto
