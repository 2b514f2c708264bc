// PushSettings: where a user's notifications go and when they stay away: 0x0108 the token of his phone,
// 0x010c and 0x010e silent nights; and 0x0105, with which a phone takes its token back.
//
// Rules  One token per user, of the phone that registered last; only phones register, a PC's 0x0108 is
//        ignored; an empty token takes the registered one back. A phone that logs out takes the user's token along, a PC or a kicked session does not.
// Order  The session is busy until the store has answered: an answer means durable, and what was sent
//        behind a logout is never looked at.
// Errors 0x010d, 0x010f and 0x0106 say result 1 when storage failed; 0x0109 has no result code, so
//        there is none. A logout ends the connection all the same.
#pragma once

#include "proto/command.h"
#include "shard/context.h"

namespace ringtalk::shard {

inline constexpr size_t kPushTokenBytesMax = 256;

class PushSettings {
 public:
  explicit PushSettings(Context& context) : context_(context) {}

  Taken device_token(Session& session, uint16_t sequence, Bytes body);
  Taken set_shield(Session& session, uint16_t sequence, Bytes body);
  Taken shield(Session& session, uint16_t sequence, Bytes body);
  Taken logout(Session& session, uint16_t sequence, Bytes body);

  bool idle() const { return asked_ == 0; }

 private:
  Taken waits_for(Session& session, const Result<void>& asked);
  Taken leave(Session& session, uint16_t sequence, uint32_t result);

  Context& context_;
  uint32_t asked_ = 0;  // calls that the store has not answered
};

}  // namespace ringtalk::shard
