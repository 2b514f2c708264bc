// Server: one process put together: store, workers, shards, doors; runs until told to stop.
//
// Exit codes  0 drained and closed; 1 the store cannot be opened or failed, or a shard did not end in
//             time; 2 configuration, address or data directory; 3 the kernel lacks or forbids what is
//             needed.
// Signals     TERM, INT: drain; a second one: at once.  HUP: reload (gateway/reload.h).
//             USR1: statistics to the log.  USR2: a log line per message, or none again.
// Systemd     readiness, reloads, status and watchdog over NOTIFY_SOCKET, if there is one.
#pragma once

#include "gateway/command_line.h"

namespace ringtalk::gateway {

inline constexpr int kExitStore  = 1;
inline constexpr int kExitKernel = 3;

// Blocks until the end. Call with no other thread running: it masks signals for all of them.
int run_server(const Invocation& invocation);

}  // namespace ringtalk::gateway
