// Prescan: refuses a body whose parse would take far more memory than its bytes.
//
// Two bytes on the wire (an empty sub-message) become about 50 on the heap, three times that when
// the sub-message holds one unknown field. So before a full parse the top level is walked and
// its nested values are counted.
//
// Bound   estimated heap ≤ 4 × max(body, kFrameBytesMax), counting kNestedHeapBytes per nested value
//         and the body once for what is copied.
// Cost    one pass over the top-level tags. Sub-messages are not entered: no request has repeated
//         fields below the first level, and what a sub-message does not know is kept as plain bytes.
// Errors  Errc::malformed: broken at the top level (protobuf would refuse it too);
//         Errc::too_large: see Bound.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/bytes.h"
#include "engine/base/result.h"

namespace ringtalk::proto {

// Object, pointer with its share of the doubled array, and the holder of unknown fields.
inline constexpr size_t kNestedHeapBytes = 112;

struct BodyShape {
  uint32_t values = 0;  // fields at the top level
  uint32_t nested = 0;  // those that are length-delimited or groups
  uint32_t ids    = 0;  // elements of the repeated number field asked for, packed or not
};

// ids_field: number of a repeated uint32 field, or 0.
Result<BodyShape> prescan(Bytes body, uint32_t ids_field = 0);

}  // namespace ringtalk::proto
