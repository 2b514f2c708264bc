// ServerLock: while it is held no server starts on the data directory. Several of us may hold it.
#pragma once

#include <string>

#include "engine/base/result.h"

namespace ringtalk::ctl {

// Held until the program ends. The server takes the same lock for itself alone: exists, if one runs.
Result<void> keep_servers_away(const std::string& directory);

}  // namespace ringtalk::ctl
