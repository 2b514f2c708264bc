#include "proto/encode.h"

#include <google/protobuf/message_lite.h>

#include "engine/base/assert.h"
#include "proto/frame.h"

namespace ringtalk::proto {

size_t encoded_size(const google::protobuf::MessageLite& message) {
  return kHeaderBytes + message.ByteSizeLong();
}

void encode_frame(MutableBytes out, CommandId command, uint16_t sequence,
                  const google::protobuf::MessageLite& message) {
  RT_VERIFY(message.IsInitialized());
  RT_ASSERT(out.size() >= kHeaderBytes);
  const size_t body_bytes = out.size() - kHeaderBytes;
  RT_ASSERT(body_bytes == static_cast<size_t>(message.GetCachedSize()));
  encode_header(out.data(), make_header(command, sequence, body_bytes));
  auto* body      = reinterpret_cast<uint8_t*>(out.data() + kHeaderBytes);
  const auto* end = message.SerializeWithCachedSizesToArray(body);
  RT_ASSERT(end == body + body_bytes);
}

void encode_empty_frame(MutableBytes out, CommandId command, uint16_t sequence) {
  RT_ASSERT(out.size() == kHeaderBytes);
  encode_header(out.data(), make_header(command, sequence, 0));
}

}  // namespace ringtalk::proto
