#include "store/embedded/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "engine/base/assert.h"
#include "store/embedded/crc32c.h"

namespace ringtalk::store {
namespace {

uint32_t record_sum(const std::byte* record, uint32_t length, Pointer place, uint32_t salt) {
  uint32_t sum = crc32c_of(salt, place.value);
  sum          = crc32c_of(sum, length);
  return crc32c(sum, {record + 8, length - 8});
}

}  // namespace

uint32_t salt_sum(uint64_t salt) { return crc32c_of(0, salt); }

void finish_record(std::byte* record, Pointer place, uint32_t salt) {
  const auto length = load_native<uint32_t>(record);
  RT_ASSERT(length >= kRecordHeaderBytes && length % 8 == 0);
  const uint32_t sum = record_sum(record, length, place, salt);
  std::memcpy(record + offsetof(RecordHeader, crc), &sum, sizeof sum);
}

bool plausible(const RecordHeader& header) {
  if (header.kind < RecordKind::message || header.kind > RecordKind::block) return false;
  if ((header.flags & ~kFlagsAll) != 0 || header.spare != 0) return false;
  if (header.body_bytes > kBodyBytesMax || header.batch == 0) return false;
  return header.length == record_bytes(header.flags, header.body_bytes);
}

Parse parse_record(Bytes from, Pointer place, uint32_t salt, RecordView& out, uint32_t* needed) {
  if (from.size() >= 4 && load_native<uint32_t>(from.data()) == 0) return Parse::end;
  if (needed) *needed = kRecordHeaderBytes;
  if (from.size() < kRecordHeaderBytes) return Parse::more;
  std::memcpy(&out.header, from.data(), sizeof out.header);
  const RecordHeader& header = out.header;
  if (!plausible(header)) return Parse::bad;
  if (header.length > from.size()) {
    if (needed) *needed = header.length;
    return Parse::more;
  }
  if (record_sum(from.data(), header.length, place, salt) != header.crc) return Parse::bad;
  uint32_t at = kRecordHeaderBytes;
  out.keys    = {};
  if (header.flags & kHasKeys) {
    std::memcpy(&out.keys, from.data() + at, sizeof out.keys);
    at += sizeof out.keys;
  }
  out.body = from.subspan(at, header.body_bytes);
  if (header.kind == RecordKind::block) {
    const bool shaped =
        header.msg_id != 0 && header.msg_id % kBlockMessages == 0 &&
        header.body_bytes == block_body_bytes(jump_count(header.msg_id / kBlockMessages));
    if (!shaped) return Parse::bad;
  }
  return Parse::record;
}

// --- block records --------------------------------------------------------------------------------

uint32_t jump_count(uint32_t block) {
  RT_ASSERT(block > 0);
  uint32_t sum = 0;
  for (uint32_t rest = block - 1; rest > 0; rest /= 8) sum += rest % 8;
  return sum;
}

uint32_t next_jumps(uint32_t block, Pointer place, Pointer* jumps) {
  const uint32_t count = jump_count(block);
  // Levels below the one that `block` completes are dropped; they are reached through it.
  uint32_t dropped = 0, level = 0, digits = block - 1;
  for (uint32_t rest = block; rest % 8 == 0; rest /= 8, digits /= 8, ++level) dropped += digits % 8;
  // `block` goes in front of its own level: nearest first.
  RT_ASSERT(count - dropped + 1 <= kJumpsMax);
  std::memmove(jumps + 1, jumps + dropped, (count - dropped) * sizeof(Pointer));
  jumps[0] = place;
  RT_ASSERT(count - dropped + 1 == jump_count(block + 1));
  return count - dropped + 1;
}

JumpStep jump_towards(uint32_t from, std::span<const Pointer> jumps, uint32_t target) {
  RT_ASSERT(target > 0 && target < from);
  JumpStep best;
  uint64_t power = 1;
  size_t index   = 0;
  for (uint32_t rest = from - 1; rest > 0; rest /= 8, power *= 8) {
    for (uint32_t digit = 0; digit < rest % 8; ++digit, ++index) {
      const uint64_t named = (rest - digit) * power;  // multiples of 8^level, nearest first
      if (named < target) return best;
      RT_ASSERT(index < jumps.size());
      best = {static_cast<uint32_t>(named), jumps[index]};
    }
  }
  return best;
}

// --- segment header, footer entries -----------------------------------------------------------------

namespace {
uint32_t header_sum(const SegmentHeader& header) {
  return crc32c(0, std::as_bytes(std::span(&header, 1)).first(offsetof(SegmentHeader, crc)));
}
}  // namespace

void encode_segment_header(std::byte* block, SegmentHeader header) {
  header.magic        = kSegmentMagic;
  header.version      = kFormatVersion;
  header.header_bytes = sizeof header;
  header.crc          = header_sum(header);
  std::memcpy(block, &header, sizeof header);
  std::memcpy(block + kSegmentHeaderCopy, &header, sizeof header);
}

Result<SegmentHeader> decode_segment_header(Bytes block) {
  for (const uint32_t at : {0u, kSegmentHeaderCopy}) {
    if (block.size() < at + sizeof(SegmentHeader)) break;
    const auto header = load_native<SegmentHeader>(block.data() + at);
    if (header.magic != kSegmentMagic || header_sum(header) != header.crc) continue;
    if (header.version > kFormatVersion) return fail(Errc::unsupported);
    return header;
  }
  return fail(Errc::corrupt);
}

void HeadEntry::merge(const HeadEntry& other) {
  newest      = std::max(newest, other.newest);
  block       = std::max(block, other.block);
  control     = std::max(control, other.control);
  msg_id      = std::max(msg_id, other.msg_id);
  time        = std::max(time, other.time);
  small_count = std::max(small_count, other.small_count);
  hidden      = std::max(hidden, other.hidden);
}

bool still_protects(RepeatEntry& entry, uint32_t now) {
  // A wall clock that was set back must not end the protection early: unsigned ages of "future"
  // entries count as 0.
  const uint32_t age = now > entry.time ? now - entry.time : 0;
  if (age > kRepeatSeconds) entry.repeat_key = 0;
  if (age > kClientKeySeconds) entry.client_key = entry.full_key = 0;
  return entry.repeat_key != 0 || entry.client_key != 0;
}

uint64_t segment_bytes_of(uint64_t asked, uint32_t shards) {
  if (asked == 0) asked = std::max<uint64_t>(4 * kMiB, 64 * kMiB / shards);
  return std::clamp(asked / kSegmentHeaderBytes * kSegmentHeaderBytes, kSegmentBytesMin,
                    kSegmentBytesMax);
}

std::string segment_path(uint32_t segment) { return fmt::format("log/{:08x}.seg", segment); }

std::optional<uint32_t> segment_of_name(std::string_view name) {
  if (name.size() != 12 || !name.ends_with(".seg")) return {};
  uint32_t number         = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + 8, number, 16);
  if (error != std::errc{} || end != name.data() + 8 || number == 0) return {};
  return number;
}

}  // namespace ringtalk::store
