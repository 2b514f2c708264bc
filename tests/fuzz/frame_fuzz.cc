// Fuzz: the splitter finds the same frames whatever the segmentation.
//
// Input  byte 0: which limits; byte 1: n; n bytes: sizes of the segments, used in turn; the stream.
// Check  (1) frames and ending of the segmented stream equal those of the whole one;
//        (2) whole frames lie inside the bytes at hand and are as long as their header says;
//        (3) one byte less than `missing` is never enough, `missing` bytes always lead on.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/base/assert.h"
#include "proto/frame.h"

namespace {

using ringtalk::Bytes;
using ringtalk::proto::FrameLimits;
using ringtalk::proto::Split;
using ringtalk::proto::split_frame;

struct Found {
  std::vector<size_t> offsets;  // of whole frames, in the stream
  Split::Status ending = Split::Status::need_more;
  size_t pending       = 0;  // offset of the first byte that belongs to no whole frame

  bool operator==(const Found&) const = default;
};

FrameLimits limits_of(uint8_t choice) {
  switch (choice % 3) {
    case 0: return FrameLimits::before_login();
    case 1: return FrameLimits::after_login();
    default: return FrameLimits::file_connection();
  }
}

// Takes frames off `have` bytes of the stream until none is left; false after a broken one.
bool drain(Bytes stream, size_t have, FrameLimits limits, Found& found) {
  for (;;) {
    const Bytes at_hand = stream.subspan(found.pending, have - found.pending);
    const Split split   = split_frame(at_hand, limits);
    found.ending        = split.status;
    if (split.status == Split::Status::need_more) {
      RT_ASSERT(split.missing > 0);
      return true;
    }
    if (split.status != Split::Status::frame) return false;
    RT_ASSERT(split.whole.data() == at_hand.data());
    RT_ASSERT(split.whole.size() == split.header.length && split.whole.size() <= at_hand.size());
    RT_ASSERT(split.whole.size() <= limits.bytes_max(split.header.id()));
    RT_ASSERT(split.body.size() + ringtalk::proto::kHeaderBytes == split.whole.size());
    found.offsets.push_back(found.pending);
    found.pending += split.whole.size();
  }
}

Found split_in_segments(Bytes stream, Bytes script, FrameLimits limits) {
  Found found;
  size_t have = 0;
  for (size_t turn = 0; have < stream.size(); ++turn) {
    const size_t step = script.empty() ? 1 : 1 + static_cast<size_t>(script[turn % script.size()]);
    have              = std::min(stream.size(), have + step);
    if (!drain(stream, have, limits, found)) break;
  }
  return found;
}

// A reader that takes exactly what is said to be missing, as one that sizes its buffer by it.
Found split_by_need(Bytes stream, FrameLimits limits) {
  Found found;
  size_t have = 0;
  for (;;) {
    if (!drain(stream, have, limits, found)) return found;
    const Split split = split_frame(stream.subspan(found.pending, have - found.pending), limits);
    if (have + split.missing > stream.size()) break;
    const Bytes almost = stream.subspan(found.pending, have + split.missing - 1 - found.pending);
    RT_ASSERT(split_frame(almost, limits).status == Split::Status::need_more);
    have += split.missing;
  }
  if (have < stream.size()) drain(stream, stream.size(), limits, found);
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const Bytes input         = std::as_bytes(std::span(data, size));
  const FrameLimits limits  = limits_of(data[0]);
  const size_t script_bytes = std::min<size_t>(data[1], size - 2);
  const Bytes script        = input.subspan(2, script_bytes);
  const Bytes stream        = input.subspan(2 + script_bytes);

  Found whole;
  drain(stream, stream.size(), limits, whole);
  if (!stream.empty()) RT_ASSERT(split_in_segments(stream, script, limits) == whole);
  RT_ASSERT(split_by_need(stream, limits) == whole);
  return 0;
}
