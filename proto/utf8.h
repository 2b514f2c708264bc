// UTF-8, strictly: no surrogates, no overlong forms, nothing above U+10FFFF.
//
// Cost  eight bytes a step through ASCII, which is what names and base64 texts are.
// Why   strict clients (Java, Dart) throw on what C++ protobuf lets pass; it must not be stored.
#pragma once

#include <cstddef>
#include <optional>

#include "engine/base/bytes.h"

namespace ringtalk::proto {

// Code points, or nothing if the bytes are not UTF-8.
std::optional<size_t> count_utf8_characters(Bytes text);

inline bool valid_utf8(Bytes text) { return count_utf8_characters(text).has_value(); }

}  // namespace ringtalk::proto
