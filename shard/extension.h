// Extension: hello, and refusals told to who said it.
//
// Rule  A session gets frames of the extension services only after 0x2001: a stock client may stop at
//       an unknown number. Requests are answered without it (a tool may skip it).
#pragma once

#include "proto/ext_sys.pb.h"
#include "proto/message_view.h"
#include "shard/context.h"

namespace ringtalk::shard {

using IM::Ext::Sys::ExtResult;

// 0x2001.
Taken hello(Context& context, Session& session, uint16_t sequence, Bytes body);

// 0x2003 for a request that has no answer with a result code of its own; nothing without hello.
void refuse(Context& context, Session* session, proto::CommandId command, uint16_t sequence,
            ExtResult result);

// Why a message was not acceptable.
ExtResult refusal_of(const Context& context, const Session& session,
                     const proto::MessageDataView& message);

}  // namespace ringtalk::shard
