// Encode: a protobuf message with its header into memory of the caller.
//
// Two steps, so that the caller can take exactly the memory that is needed:
//   out = room for encoded_size(message) bytes;  encode_frame(out, command, sequence, message);
// The first step leaves the sizes cached in the message; do not change the message in between.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/bytes.h"
#include "proto/command.h"

namespace google::protobuf {
class MessageLite;
}

namespace ringtalk::proto {

// Bytes of the whole frame, header included.
size_t encoded_size(const google::protobuf::MessageLite& message);

// out.size() is what encoded_size() returned, and every required field is set: old clients throw on
// a frame that lacks one.
void encode_frame(MutableBytes out, CommandId command, uint16_t sequence,
                  const google::protobuf::MessageLite& message);

// A frame without a body; out has kHeaderBytes.
void encode_empty_frame(MutableBytes out, CommandId command, uint16_t sequence);

}  // namespace ringtalk::proto
