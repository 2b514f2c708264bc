// WireReader: protobuf's primitives over a span, with exactly the rules of protobuf 3.21 lite.
//
// Errors  Every read returns false on malformed or missing bytes; then the whole body is malformed
//         and the reader must not be used again.
// Bound   Groups nest 100 deep, as in protobuf; no recursion, no allocation.
// Source  google/protobuf/parse_context.{h,cc} 3.21: a tag has at most 5 bytes and wraps at 32 bits;
//         a varint has at most 10 and keeps its low bits; a length has at most 5 and stays 16 below
//         2^31.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/bytes.h"

namespace ringtalk::proto {

enum class WireType : uint8_t {
  varint      = 0,
  fixed64     = 1,
  delimited   = 2,
  group_start = 3,
  group_end   = 4,
  fixed32     = 5,
};

constexpr uint32_t make_tag(uint32_t field, WireType type) {
  return field << 3 | static_cast<uint32_t>(type);
}

class WireReader {
 public:
  static constexpr size_t kGroupDepthMax = 100;

  explicit WireReader(Bytes bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  bool at_end() const { return at_ == end_; }

  bool read_tag(uint32_t& tag) {
    if (at_ != end_ && byte() < 0x80) {
      tag = static_cast<uint32_t>(*at_++);
      return true;
    }
    uint64_t value = 0;
    if (!read_varint_up_to<5>(value)) return false;
    tag = static_cast<uint32_t>(value);
    return true;
  }

  bool read_varint(uint64_t& value) {
    if (at_ != end_ && byte() < 0x80) {
      value = static_cast<uint64_t>(*at_++);
      return true;
    }
    value = 0;
    return read_varint_up_to<10>(value);
  }

  // A length and that many bytes, viewed in place.
  bool read_delimited(Bytes& value) {
    uint64_t length = 0;
    if (!read_varint_up_to<5>(length)) return false;
    if (length > kDelimitedBytesMax || length > static_cast<size_t>(end_ - at_)) return false;
    value = {at_, static_cast<size_t>(length)};
    at_ += length;
    return true;
  }

  // Passes over the value of an unknown field whose tag has been read, groups as a whole.
  bool skip(uint32_t tag);

 private:
  static constexpr uint64_t kDelimitedBytesMax = 0x7fffffff - 16;

  uint8_t byte() const { return static_cast<uint8_t>(*at_); }

  template <int kBytesMax>
  bool read_varint_up_to(uint64_t& value) {
    for (int i = 0; i < kBytesMax && at_ != end_; ++i) {
      const uint8_t b = byte();
      ++at_;
      value |= static_cast<uint64_t>(b & 0x7f) << (7 * i);  // of the tenth byte one bit remains
      if (b < 0x80) return true;
    }
    return false;
  }

  bool skip_bytes(size_t count) {
    if (static_cast<size_t>(end_ - at_) < count) return false;
    at_ += count;
    return true;
  }

  bool skip_plain(uint32_t tag) {
    uint64_t number = 0;
    Bytes bytes;
    switch (static_cast<WireType>(tag & 7)) {
      case WireType::varint: return read_varint(number);
      case WireType::fixed64: return skip_bytes(8);
      case WireType::delimited: return read_delimited(bytes);
      case WireType::fixed32: return skip_bytes(4);
      default: return false;
    }
  }

  const std::byte* at_;
  const std::byte* end_;
};

inline bool WireReader::skip(uint32_t tag) {
  uint32_t open[kGroupDepthMax];  // field numbers of the groups we are in
  size_t depth = 0;
  for (;;) {
    const uint32_t field = tag >> 3;
    if (field == 0) return false;
    switch (static_cast<WireType>(tag & 7)) {
      case WireType::group_start:
        if (depth == kGroupDepthMax) return false;
        open[depth++] = field;
        break;
      case WireType::group_end:
        if (depth == 0 || open[depth - 1] != field) return false;
        --depth;
        break;
      default:
        if (!skip_plain(tag)) return false;
    }
    if (depth == 0) return true;
    if (!read_tag(tag)) return false;
  }
}

}  // namespace ringtalk::proto
