// Frame: the 16-byte header in front of every PDU, and the splitter that cuts a stream into frames.
//
//   OFFSET SIZE FIELD      all integers unsigned, big-endian
//        0    4 length     header and body, bytes
//        4    2 version    claimed by the peer; never used
//        6    2 flag       0; ignored
//        8    2 service    high byte of the command; servers do not look at it
//       10    2 command    what the body is (proto/command.h)
//       12    2 sequence   a response repeats the request's; 0 in every push
//       14    2 reserved   0; ignored
//
// Example: a heartbeat, sequence 7:  00000010 0001 0000 0007 0701 0007 0000
//
// Cost    split_frame() allocates nothing and copies nothing: a whole frame is viewed in place.
// Bound   FrameLimits; a longer frame is refused as soon as its header is there.
// Why     the limits depend on the command, so a length is believed only with its whole header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "engine/base/bytes.h"
#include "engine/base/units.h"
#include "proto/command.h"

namespace ringtalk::proto {

inline constexpr size_t kHeaderBytes = 16;

inline constexpr uint32_t kLoginFrameBytesMax = 4 * kKiB;   // before login
inline constexpr uint32_t kFrameBytesMax      = 64 * kKiB;  // after it, and on the file connection
inline constexpr uint32_t kMessageFrameBytesMax =
    257 * kKiB;                                          // 0x0301: 256 KiB of sound and fields
inline constexpr uint32_t kAnswerBytesMax = 400 * kKiB;  // to a client; Android drops longer

static_assert(kLoginFrameBytesMax <= kFrameBytesMax);
static_assert(kFrameBytesMax <= kMessageFrameBytesMax);
static_assert(kMessageFrameBytesMax < kAnswerBytesMax, "what comes in must be allowed out");

struct FrameHeader {  // values in host order
  uint32_t length   = 0;
  uint16_t version  = 1;
  uint16_t flag     = 0;
  uint16_t service  = 0;
  uint16_t command  = 0;
  uint16_t sequence = 0;
  uint16_t reserved = 0;

  CommandId id() const { return CommandId(command); }
  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};
static_assert(sizeof(FrameHeader) == kHeaderBytes && offsetof(FrameHeader, service) == 8);
static_assert(std::is_trivially_copyable_v<FrameHeader>);

// Both take kHeaderBytes bytes of unaligned memory.
FrameHeader decode_header(const std::byte* from);
void encode_header(std::byte* to, const FrameHeader& header);

// The header of a frame we send: version 1, the command's own service.
FrameHeader make_header(CommandId command, uint16_t sequence, size_t body_bytes);

// How long a frame may be, header included. Who reads chooses by the connection's state.
struct FrameLimits {
  uint32_t frame_bytes_max;
  uint32_t message_frame_bytes_max;  // 0x0301 only

  static constexpr FrameLimits before_login() { return {kLoginFrameBytesMax, kLoginFrameBytesMax}; }
  static constexpr FrameLimits after_login() { return {kFrameBytesMax, kMessageFrameBytesMax}; }
  static constexpr FrameLimits file_connection() { return {kFrameBytesMax, kFrameBytesMax}; }
  static constexpr FrameLimits from_server() { return {kAnswerBytesMax, kAnswerBytesMax}; }

  constexpr uint32_t bytes_max(CommandId command) const {
    return command == CommandId::msg_data ? message_frame_bytes_max : frame_bytes_max;
  }
};

struct Split {
  enum class Status : uint8_t {
    frame,      // header, whole and body are set
    need_more,  // missing says how many bytes until the header, or then the frame, is complete
    malformed,  // length below 16: close
    too_large,  // length above its limit: close; header is set
  };

  Status status = Status::need_more;
  FrameHeader header;
  Bytes whole;  // header and body, as they came
  Bytes body;
  size_t missing = 0;  // bytes, at least 1
};

// Looks at bytes that start at a frame boundary. After Status::frame the next boundary is
// whole.size() further on. The result does not depend on how the stream was cut into pieces.
Split split_frame(Bytes at_hand, FrameLimits limits);

}  // namespace ringtalk::proto
