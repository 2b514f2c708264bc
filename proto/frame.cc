#include "proto/frame.h"

#include <cstdint>
#include <limits>

#include "engine/base/assert.h"

namespace ringtalk::proto {

FrameHeader decode_header(const std::byte* from) {
  return {.length   = load_be32(from),
          .version  = load_be16(from + 4),
          .flag     = load_be16(from + 6),
          .service  = load_be16(from + 8),
          .command  = load_be16(from + 10),
          .sequence = load_be16(from + 12),
          .reserved = load_be16(from + 14)};
}

void encode_header(std::byte* to, const FrameHeader& header) {
  store_be32(to, header.length);
  store_be16(to + 4, header.version);
  store_be16(to + 6, header.flag);
  store_be16(to + 8, header.service);
  store_be16(to + 10, header.command);
  store_be16(to + 12, header.sequence);
  store_be16(to + 14, header.reserved);
}

FrameHeader make_header(CommandId command, uint16_t sequence, size_t body_bytes) {
  RT_ASSERT(body_bytes <= std::numeric_limits<uint32_t>::max() - kHeaderBytes);
  return {.length   = static_cast<uint32_t>(kHeaderBytes + body_bytes),
          .version  = 1,
          .flag     = 0,
          .service  = service_of(command),
          .command  = raw(command),
          .sequence = sequence,
          .reserved = 0};
}

Split split_frame(Bytes at_hand, FrameLimits limits) {
  using enum Split::Status;
  if (at_hand.size() < kHeaderBytes) {
    return {.status = need_more, .missing = kHeaderBytes - at_hand.size()};
  }
  const FrameHeader header = decode_header(at_hand.data());
  if (header.length < kHeaderBytes) return {.status = malformed, .header = header};
  if (header.length > limits.bytes_max(header.id())) return {.status = too_large, .header = header};
  if (at_hand.size() < header.length) {
    return {.status = need_more, .header = header, .missing = header.length - at_hand.size()};
  }
  const Bytes whole = at_hand.first(header.length);
  return {.status = frame, .header = header, .whole = whole, .body = whole.subspan(kHeaderBytes)};
}

}  // namespace ringtalk::proto
