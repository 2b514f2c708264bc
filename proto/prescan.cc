#include "proto/prescan.h"

#include <algorithm>

#include "proto/frame.h"
#include "proto/wire_reader.h"

namespace ringtalk::proto {
namespace {

// Every varint ends with a byte below 0x80.
uint32_t count_varints(Bytes packed) {
  return static_cast<uint32_t>(
      std::ranges::count_if(packed, [](std::byte b) { return b < std::byte{0x80}; }));
}

bool affordable(size_t body_bytes, size_t nested) {
  const size_t heap_bytes_max = 4 * std::max<size_t>(body_bytes, kFrameBytesMax);
  return body_bytes + nested * kNestedHeapBytes <= heap_bytes_max;
}

}  // namespace

Result<BodyShape> prescan(Bytes body, uint32_t ids_field) {
  BodyShape shape;
  WireReader reader(body);
  while (!reader.at_end()) {
    uint32_t tag = 0;
    if (!reader.read_tag(tag)) return fail(Errc::malformed);
    ++shape.values;
    const auto type   = static_cast<WireType>(tag & 7);
    const bool is_ids = ids_field != 0 && tag >> 3 == ids_field;
    if (is_ids && type == WireType::delimited) {
      Bytes packed;
      if (!reader.read_delimited(packed)) return fail(Errc::malformed);
      shape.ids += count_varints(packed);
      continue;
    }
    if (is_ids && type == WireType::varint) ++shape.ids;
    if (type == WireType::delimited || type == WireType::group_start) ++shape.nested;
    if (!reader.skip(tag)) return fail(Errc::malformed);
    if (!affordable(body.size(), shape.nested)) return fail(Errc::too_large);
  }
  return shape;
}

}  // namespace ringtalk::proto
