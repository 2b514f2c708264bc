#include "shard/relay.h"

#include "proto/parse.h"
#include "proto/switch_service.pb.h"
#include "proto/utf8.h"
#include "shard/extension.h"
#include "shard/frames.h"

namespace ringtalk::shard {

using engine::PayloadRef;
using proto::CommandId;

Taken relay(Context& context, Session& session, uint16_t sequence, Bytes body) {
  IM::SwitchService::IMP2PCmdMsg message;
  if (!proto::parse(message, body)) return unparsable(context, session);
  const UserId to{message.to_user_id()};
  UserEntry* user = context.users.find(session.user);
  RT_ASSERT(user != nullptr);
  const Limits& limits = context.limits;
  const uint64_t now   = context.loop.now_ns();
  if (const uint64_t until =
          user->sends.wait_until(now, limits.sends_per_second, limits.sends_burst)) {
    context.metrics.add(Counter::sends_paced);
    session.wake_at(until);
    return Taken::waits;
  }
  const std::string& text = message.cmd_msg_data();
  const bool known        = context.directory.reachable(to);
  if (!known || text.size() > kRelayBytesMax || !proto::valid_utf8(as_bytes(text))) {
    user->sends.take(now, limits.sends_per_second);
    context.metrics.add(Counter::sends_refused_rule);
    refuse(context, &session, CommandId::p2p_cmd_msg, sequence,
           !known                         ? IM::Ext::Sys::EXT_RESULT_NOT_EXIST
           : text.size() > kRelayBytesMax ? IM::Ext::Sys::EXT_RESULT_LIMIT
                                          : IM::Ext::Sys::EXT_RESULT_PARAM);
    return Taken::taken;
  }
  const uint32_t receiver = context.home_of(to);
  const bool far          = to != session.user && receiver != context.self;
  if (far && !context.mailbox.reserve(receiver)) {
    context.metrics.add(Counter::lane_full);
    return context.stall(session);
  }
  user->sends.take(now, limits.sends_per_second);
  context.metrics.add(Counter::relays);
  // Made anew: unknown fields of the sender's would come through, unchecked and of any size.
  IM::SwitchService::IMP2PCmdMsg relayed;
  relayed.set_from_user_id(raw(session.user));
  relayed.set_to_user_id(raw(to));
  relayed.set_cmd_msg_data(text);
  PayloadRef frame = frame_of(CommandId::p2p_cmd_msg, 0, relayed);
  context.users.each_session(session.user, [&](Session& other) {
    if (&other != &session) push(context, other, frame);
  });
  if (to == session.user) return Taken::taken;
  if (far) {
    context.mailbox.push(receiver, Event::of(Relay{to, frame.release()}));
  } else {
    context.users.each_session(to, [&](Session& other) { push(context, other, frame); });
  }
  return Taken::taken;
}

void on_relay(Context& context, const Relay& event) {
  const PayloadRef frame = PayloadRef::adopt(event.frame);
  context.users.each_session(event.to, [&](Session& session) { push(context, session, frame); });
}

}  // namespace ringtalk::shard
