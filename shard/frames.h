// Frames: generated messages as payloads, and what happens to bodies that do not parse.
#pragma once

#include <algorithm>
#include <cstring>
#include <string_view>

#include "engine/payload.h"
#include "engine/send_queue.h"
#include "proto/command.h"
#include "proto/encode.h"
#include "proto/message_view.h"
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

// Whether pushes of `bytes` more are too much for this reader: above the limit, and it does not take
// what it has (what comes at once is not its fault), or far above it.
inline bool is_too_slow(const Context& context, Session& session, size_t bytes) {
  const uint32_t queued = session.queued_bytes();
  session.answer_bytes  = std::min(session.answer_bytes, queued);
  const uint64_t pushes = queued - session.answer_bytes;
  const uint64_t limit  = context.limits.push_queue_bytes;
  if (pushes == 0 || pushes + bytes <= limit) return false;
  return session.is_behind() || pushes + bytes > limit * kPushQueueFactor;
}

// A reader that is too slow is closed: it fetches what it missed after it comes back.
inline void push(Context& context, Session& session, const engine::PayloadRef& frame) {
  if (is_too_slow(context, session, frame.bytes().size())) {
    context.metrics.add(Counter::close_slow_reader);
    return session.abort();
  }
  context.metrics.add(Counter::frames_out);
  session.push(frame);
}

// The same for frames that many get: small ones are copied, so that their counts are not fought over.
inline void push_shared(Context& context, Session& session, const engine::PayloadRef& frames,
                        uint32_t count) {
  const Bytes bytes = frames.bytes();
  if (is_too_slow(context, session, bytes.size())) {
    context.metrics.add(Counter::close_slow_reader);
    return session.abort();
  }
  context.metrics.add(Counter::frames_out, count);
  if (bytes.size() > engine::SendQueue::kCopyBytesMax) return session.push(frames);
  std::memcpy(session.reserve(static_cast<uint32_t>(bytes.size())), bytes.data(), bytes.size());
}

// Ends what made the session busy: its answer, if there is one, then what waits behind it.
inline void answer_busy(Context& context, SessionKey key, const engine::PayloadRef& frame) {
  Session* session = context.sessions.find(key);
  if (!session || !session->busy) return;
  session->busy = false;
  if (frame && session->is_open()) answer(*session, frame);
  session->wake();
}

// "[语音]" in the form of a text message: what lists show for a sound.
inline constexpr std::string_view kSoundPlaceholder = "QhGXlpFjvMFUNrtl1aaPzA==";

inline Bytes shown_body(const store::Message& message) {
  return proto::is_audio(proto::MessageType(message.type)) ? as_bytes(kSoundPlaceholder)
                                                           : message.body;
}

}  // namespace ringtalk::shard
