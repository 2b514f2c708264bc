// One log line as bytes: pure formatting into memory of the caller (see engine/log.h for the forms).
//
// Bound   kLogLineBytes with the newline; fields that do not fit are left out and "cut" says so.
#pragma once

#include <span>

#include "engine/log.h"

namespace ringtalk::engine::log {

inline constexpr size_t kLogLineBytes  = 1024;
inline constexpr size_t kValueBytesMax = 400;  // of one text value, before escaping

inline constexpr uint32_t kNoShard = UINT32_MAX;

// Returns bytes written, newline included. `to` holds at least 256 bytes; format is text or json.
// shard: the first field, unless kNoShard.
size_t format_line(std::span<char> to, Format format, Level level, uint64_t wall_ns,
                   std::string_view event, Fields fields, uint32_t shard = kNoShard) noexcept;

}  // namespace ringtalk::engine::log
