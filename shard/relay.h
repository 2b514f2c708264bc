// Relay: 0x0601, what one client tells another (typing, window shaking); not stored, not answered.
//
// Rule  From the session's user, to every device of the receiver and the sender's other ones; lost if
//       nobody is there. Paced together with the user's messages.
#pragma once

#include "shard/context.h"

namespace ringtalk::shard {

Taken relay(Context& context, Session& session, uint16_t sequence, Bytes body);
// On the receiver's home.
void on_relay(Context& context, const Relay& event);

}  // namespace ringtalk::shard
