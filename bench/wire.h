// The little of the wire that the chat driver speaks: header, varints, four messages.
//
//     OFFSET SIZE FIELD (big-endian)
//          0    4 length of header and body
//          4    2 version, 1
//          6    2 flag, 0
//          8    2 service
//         10    2 command
//         12    2 sequence
//         14    2 reserved, 0
//
// Why  The driver must not share code with what it checks: an error in a common codec would cancel
//      itself out. Reading is strict enough to notice a damaged body and no more general than that.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringtalk::bench {

inline constexpr size_t kHeaderBytes   = 16;
inline constexpr size_t kFrameBytesMax = 400 * 1024;

inline constexpr uint16_t kLoginRequest = 0x0103;
inline constexpr uint16_t kLoginAnswer  = 0x0104;
inline constexpr uint16_t kKick         = 0x0107;
inline constexpr uint16_t kMessage      = 0x0301;
inline constexpr uint16_t kMessageAck   = 0x0302;

using Buffer = std::vector<uint8_t>;
using Bytes  = std::span<const uint8_t>;

inline uint16_t load_be16(const uint8_t* p) { return static_cast<uint16_t>(p[0] << 8 | p[1]); }
inline uint32_t load_be32(const uint8_t* p) {
  return static_cast<uint32_t>(load_be16(p)) << 16 | load_be16(p + 2);
}
inline void store_be16(uint8_t* p, uint16_t v) {
  p[0] = static_cast<uint8_t>(v >> 8);
  p[1] = static_cast<uint8_t>(v);
}
inline void store_be32(uint8_t* p, uint32_t v) {
  store_be16(p, static_cast<uint16_t>(v >> 16));
  store_be16(p + 2, static_cast<uint16_t>(v));
}

// Appends one frame: construct, write the fields, finish() fills in the length.
class FrameWriter {
 public:
  FrameWriter(Buffer& out, uint16_t command, uint16_t sequence) : out_(out), start_(out.size()) {
    uint8_t header[kHeaderBytes] = {};
    store_be16(header + 4, 1);
    store_be16(header + 8, static_cast<uint16_t>(command >> 8));
    store_be16(header + 10, command);
    store_be16(header + 12, sequence);
    out_.insert(out_.end(), header, header + kHeaderBytes);
  }

  FrameWriter& number(uint32_t tag, uint32_t value) {
    uint8_t bytes[10];
    size_t size = put_varint(bytes, tag << 3);
    size += put_varint(bytes + size, value);
    out_.insert(out_.end(), bytes, bytes + size);
    return *this;
  }

  FrameWriter& text(uint32_t tag, std::string_view value) {
    uint8_t bytes[10];
    size_t size = put_varint(bytes, tag << 3 | 2);
    size += put_varint(bytes + size, static_cast<uint32_t>(value.size()));
    out_.insert(out_.end(), bytes, bytes + size);
    out_.insert(out_.end(), value.begin(), value.end());
    return *this;
  }

  void finish() { store_be32(out_.data() + start_, static_cast<uint32_t>(out_.size() - start_)); }

 private:
  static size_t put_varint(uint8_t* to, uint32_t value) {
    size_t size = 0;
    for (; value >= 0x80; value >>= 7) to[size++] = static_cast<uint8_t>(value | 0x80);
    to[size++] = static_cast<uint8_t>(value);
    return size;
  }

  Buffer& out_;
  size_t start_;
};

// Walks the fields of a body. next() is false at the end or at the first damage; ok() tells which.
class FieldReader {
 public:
  explicit FieldReader(Bytes body) : at_(body.data()), end_(body.data() + body.size()) {}

  uint32_t tag   = 0;
  uint64_t value = 0;      // of a number
  std::string_view bytes;  // of a length-delimited field

  bool next() {
    if (at_ == end_ || !ok_) return false;
    uint64_t key = 0;
    if (!varint(key)) return ok_ = false;
    tag   = static_cast<uint32_t>(key >> 3);
    bytes = {};
    switch (key & 7) {
      case 0: return ok_ = varint(value);
      case 1: return ok_ = skip(8);
      case 2: {
        uint64_t size = 0;
        if (!varint(size) || size > static_cast<uint64_t>(end_ - at_)) return ok_ = false;
        bytes = {reinterpret_cast<const char*>(at_), static_cast<size_t>(size)};
        at_ += size;
        return true;
      }
      case 5: return ok_ = skip(4);
      default: return ok_ = false;
    }
  }

  bool ok() const { return ok_; }

 private:
  bool varint(uint64_t& out) {
    out = 0;
    for (uint32_t shift = 0; shift < 64 && at_ != end_; shift += 7) {
      uint8_t byte = *at_++;
      out |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool skip(size_t size) {
    if (static_cast<size_t>(end_ - at_) < size) return false;
    at_ += size;
    return true;
  }

  const uint8_t* at_;
  const uint8_t* end_;
  bool ok_ = true;
};

struct LoginAnswer {
  uint32_t result_code = UINT32_MAX;
  std::string_view result_string;
};

inline bool read_login_answer(Bytes body, LoginAnswer& out) {
  FieldReader fields(body);
  while (fields.next()) {
    if (fields.tag == 2) out.result_code = static_cast<uint32_t>(fields.value);
    if (fields.tag == 3) out.result_string = fields.bytes;
  }
  return fields.ok() && out.result_code != UINT32_MAX;
}

struct Message {
  uint32_t from = 0, to = 0, id = 0, type = 0;
  std::string_view data;
};

inline bool read_message(Bytes body, Message& out) {
  FieldReader fields(body);
  uint32_t seen = 0;
  while (fields.next()) {
    if (fields.tag < 8) seen |= 1u << fields.tag;
    switch (fields.tag) {
      case 1: out.from = static_cast<uint32_t>(fields.value); break;
      case 2: out.to = static_cast<uint32_t>(fields.value); break;
      case 3: out.id = static_cast<uint32_t>(fields.value); break;
      case 5: out.type = static_cast<uint32_t>(fields.value); break;
      case 6: out.data = fields.bytes; break;
      default: break;
    }
  }
  return fields.ok() && seen == 0x7e;  // tags 1..6 are required
}

struct MessageAck {
  uint32_t user = 0, session = 0, id = 0, session_type = 0;
};

inline bool read_message_ack(Bytes body, MessageAck& out) {
  FieldReader fields(body);
  uint32_t seen = 0;
  while (fields.next()) {
    if (fields.tag < 5) seen |= 1u << fields.tag;
    switch (fields.tag) {
      case 1: out.user = static_cast<uint32_t>(fields.value); break;
      case 2: out.session = static_cast<uint32_t>(fields.value); break;
      case 3: out.id = static_cast<uint32_t>(fields.value); break;
      case 4: out.session_type = static_cast<uint32_t>(fields.value); break;
      default: break;
    }
  }
  return fields.ok() && seen == 0x1e;
}

}  // namespace ringtalk::bench
