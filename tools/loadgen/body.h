// Body: what a generated message carries, so that whoever gets it can say whose it is and whether it is whole.
//
//   OFFSET SIZE FIELD       lower-case hex digits: text must be UTF-8, and histories must be readable
//        0    1 'R'
//        1    8 run         which run of the generator wrote it
//        9    8 sender      user id
//       17    8 receiver    user or group id
//       25   10 op          number of the send, per sender and conversation, from 0
//       35   16 intended    monotonic ns at which the schedule wanted it sent
//       51    n padding     letters
//     51+n   16 checksum    XXH3 of everything before it
//
// Cost  One hash of the body per send and per delivery.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/base/bytes.h"

namespace ringtalk::loadgen {

inline constexpr uint32_t kBodyBytesMin = 51 + 16;
inline constexpr uint32_t kBodyBytesMax = 4096;  // the protocol's limit of characters in a text

struct Body {
  uint32_t run         = 0;
  uint32_t sender      = 0;
  uint32_t receiver    = 0;
  uint64_t op          = 0;  // below 2^40
  uint64_t intended_ns = 0;

  friend bool operator==(const Body&, const Body&) = default;
};

// out.size() is kBodyBytesMin…kBodyBytesMax.
void encode_body(MutableBytes out, const Body& body);
// Nothing: not one of ours, or damaged.
std::optional<Body> decode_body(Bytes bytes);

}  // namespace ringtalk::loadgen
