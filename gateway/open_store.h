// Opens the store that the settings name.
//
// Blocking; on the main thread, before the shards run.
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "engine/clock.h"
#include "gateway/settings.h"
#include "store/stores.h"

namespace ringtalk::gateway {

struct OpenFailure {
  std::string what, why;
};

// "code 3", or what errno says.
std::string reason(Error error);

// The clock outlives the stores.
std::expected<std::unique_ptr<store::Stores>, OpenFailure> open_store(const Settings& settings,
                                                                      uint32_t shards,
                                                                      engine::Clock& clock);

}  // namespace ringtalk::gateway
