#include "tools/loadgen/body.h"

#include <xxhash.h>

#include "engine/base/assert.h"

namespace ringtalk::loadgen {
namespace {

constexpr size_t kSumBytes = 16;
constexpr char kDigits[]   = "0123456789abcdef";

std::byte* put_hex(std::byte* at, int digits, uint64_t value) {
  for (int i = digits; i-- > 0; value >>= 4) at[i] = static_cast<std::byte>(kDigits[value & 15]);
  return at + digits;
}

bool take_hex(const std::byte*& at, int digits, uint64_t& value) {
  value = 0;
  for (int i = 0; i < digits; ++i, ++at) {
    const auto c = static_cast<uint8_t>(*at);
    if (c >= '0' && c <= '9') {
      value = value << 4 | (c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = value << 4 | (c - 'a' + 10u);
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

void encode_body(MutableBytes out, const Body& body) {
  RT_ASSERT(out.size() >= kBodyBytesMin && out.size() <= kBodyBytesMax);
  std::byte* at        = out.data();
  *at++                = std::byte{'R'};
  at                   = put_hex(at, 8, body.run);
  at                   = put_hex(at, 8, body.sender);
  at                   = put_hex(at, 8, body.receiver);
  at                   = put_hex(at, 10, body.op);
  at                   = put_hex(at, 16, body.intended_ns);
  std::byte* const sum = out.data() + out.size() - kSumBytes;
  for (char letter = 'a'; at != sum; letter = letter == 'z' ? 'a' : static_cast<char>(letter + 1))
    *at++ = static_cast<std::byte>(letter);
  put_hex(sum, 16, XXH3_64bits(out.data(), out.size() - kSumBytes));
}

std::optional<Body> decode_body(Bytes bytes) {
  if (bytes.size() < kBodyBytesMin || bytes.size() > kBodyBytesMax) return {};
  if (bytes[0] != std::byte{'R'}) return {};
  uint64_t run = 0, sender = 0, receiver = 0, sum = 0;
  Body body;
  const std::byte* tail = bytes.data() + bytes.size() - kSumBytes;
  if (!take_hex(tail, 16, sum) || sum != XXH3_64bits(bytes.data(), bytes.size() - kSumBytes))
    return {};
  const std::byte* at = bytes.data() + 1;
  if (!take_hex(at, 8, run) || !take_hex(at, 8, sender) || !take_hex(at, 8, receiver) ||
      !take_hex(at, 10, body.op) || !take_hex(at, 16, body.intended_ns))
    return {};
  body.run      = static_cast<uint32_t>(run);
  body.sender   = static_cast<uint32_t>(sender);
  body.receiver = static_cast<uint32_t>(receiver);
  return body;
}

}  // namespace ringtalk::loadgen
