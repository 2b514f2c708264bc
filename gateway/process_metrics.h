// Process metrics: what belongs to no shard, read when somebody asks for /metrics.
//
// Thread rule  one thread. Reads /proc/self, which does not wait for a disk.
// Errors       what cannot be read keeps its last value.
#pragma once

#include <string>

#include "engine/metrics.h"

namespace ringtalk::gateway {

// mirror: that of the store in Redis, or null.
void refresh_process_metrics(engine::Metrics& metrics, const engine::Metrics* mirror);

// The version as a label, in the text form of /metrics.
std::string build_info_text();

}  // namespace ringtalk::gateway
