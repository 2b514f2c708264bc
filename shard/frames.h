// Frames: generated messages as payloads, and what happens to bodies that do not parse.
#pragma once

#include "engine/payload.h"
#include "proto/command.h"
#include "proto/encode.h"
#include "shard/context.h"

namespace ringtalk::shard {

template <class M>
engine::PayloadRef frame_of(proto::CommandId command, uint16_t sequence, const M& message) {
  const size_t bytes       = proto::encoded_size(message);
  engine::Payload* payload = engine::Payload::make(bytes);
  proto::encode_frame({payload->data(), bytes}, command, sequence, message);
  return engine::PayloadRef::adopt(payload);
}

// Ignored and counted; the tenth on a connection closes it, before login the first.
inline Taken unparsable(Context& context, Session& session) {
  context.metrics.add(Counter::frames_unparsable);
  if (session.state != SessionState::accepted && ++session.unparsable < kUnparsableMax)
    return Taken::taken;
  context.metrics.add(Counter::close_malformed);
  session.abort();
  return Taken::closes;
}

}  // namespace ringtalk::shard
