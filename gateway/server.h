// Server: one process put together: store, workers, shards, doors; runs until told to stop.
//
// Exit codes  0 drained and closed; 1 the store cannot be opened or failed; 2 configuration, address or
//             data directory; 3 the kernel lacks or forbids what is needed.
// Signals     TERM, INT: drain (a second one: at once). Others are left to a later version and ignored.
#pragma once

#include "gateway/settings.h"

namespace ringtalk::gateway {

inline constexpr int kExitStore  = 1;
inline constexpr int kExitKernel = 3;

// Blocks until the end. Call with no other thread running: it masks signals for all of them.
int run_server(const Settings& settings);

}  // namespace ringtalk::gateway
