// Format: how the message log lies on the disk, version 1. Little-endian, used in place.
//
// A segment file is  header block (4 KiB) | records, 8-byte aligned | zeros (while it is written to)
//                or  header block (4 KiB) | records | footer | trailer   (sealed)
//
// Segment header, 64 bytes at 0 and again at 2048; the rest of the block is zero:
//   OFFSET SIZE FIELD
//        0    8 magic "RTLOGSEG"
//        8    4 version           these two, the size and the checksum are the same in all versions
//       12    4 header bytes, 64
//       16    4 segment number, from 1, process-wide
//       20    4 shard that wrote it
//       24    4 shards there were
//       28    4 zero
//       32    8 created, seconds since 1970
//       40    8 bytes preallocated
//       48    8 salt of this log (see Checksum)
//       56    4 zero
//       60    4 crc32c of bytes 0…59
//
// Record header, 72 bytes:
//        0    4 length of the whole record, a multiple of 8; 0 = end of the data
//        4    4 checksum
//        8    1 kind: 1 message, 2 control, 3 cursor, 4 block
//        9    1 flags: 1 last record of its commit, 2 keys follow the header, 4 control hides its target
//       10    1 type: message: MsgType; control: command
//       11    1 zero
//       12    4 batch: number of the commit within the segment, from 1
//       16    8 conversation
//       24    4 msg_id: message: its own; control: its target; cursor: read up to; block: 32 k
//       28    4 author: message: sender; control: operator; cursor: reader; block: 0
//       32    4 time, seconds
//       36    4 small count: messages of the smaller user id among 1…msg_id
//       40    4 hidden: hidden messages among 1…newest, this record included
//       44    4 body bytes
//       48    8 prev: message: message msg_id − 1; control: control before; block: block before
//       56    8 block: newest block record of the conversation known when this was written
//       64    8 repeat key
//       72   16 client key, full key: only with flag 2
//       then the body and zeros up to the next multiple of 8.
//
// Pointer: segment << 32 | offset / 8.   Checksum: crc32c over salt, own pointer, length and all bytes
// from kind on. Bound to the place, so a stale or misplaced copy is never taken for a record; salted,
// so no sender can put bytes into a body that recovery would take for a record.
//
// Block record: body = 32 pointers to messages 32k−31 … 32k, then jump pointers to earlier block
// records. Number the blocks from 1 and write k − 1 in base 8: digit j says how many jump pointers of
// level j there are; they name the multiples of 8^j below k and above the last multiple of 8^(j+1),
// nearest first, level 0 first. The smallest one not below block t is the next step to t, and every
// step drops at least one level: 10^6 messages take at most 5 reads, 2^32 at most 9. The block after
// it is computed from this one alone.
// Why a record of its own: the 32 pointers of a cold conversation are not in memory and must be
// collected first; inside message 32 k they would delay its append. Readers walk prev without it.
//
// Footer, at the end of the records (its first 8 bytes are zero, so a reader of records stops there):
//        0    8 zero
//        8    8 magic "RTLOGFTR"
//       16    4 version        20 4 segment
//       24    4 heads          28 4 cursors
//       32    4 repeats        36 4 last batch
//       40    8 records        48 8 end of the records = offset of this footer
//       56    4 sealed, seconds 60 4 zero
//       64   heads × 48, cursors × 16, repeats × 40
//   trailer, the last 32 bytes of the file:
//        0    8 footer offset   8 8 footer bytes, trailer not included
//       16    4 crc32c of salt, segment and the footer   20 4 version   24 8 magic "RTLOGEND"
//
// Worked example: "hi" from user 1 to user 2, their first message, the only record of its commit, first
// of segment 1 in a log of salt 0, at 0x6553f100 (a test pins it):
//   50000000 9c72dfce 01010100 01000000 0200000001000000 01000000 01000000 00f15365 01000000 00000000
//   02000000 0000000000000000 0000000000000000 0000000000000000 6869000000000000
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include "engine/base/bytes.h"
#include "engine/base/units.h"
#include "store/store.h"

namespace ringtalk::store {

inline constexpr uint32_t kFormatVersion      = 1;
inline constexpr uint32_t kSegmentHeaderBytes = 4 * kKiB;
inline constexpr uint32_t kSegmentHeaderCopy  = 2 * kKiB;  // where the second copy lies
inline constexpr uint32_t kBodyBytesMax       = 257 * kKiB;
inline constexpr uint64_t kSegmentBytesMin    = kMiB;
inline constexpr uint64_t kSegmentBytesMax    = kGiB;
inline constexpr uint32_t kBlockMessages      = 32;
inline constexpr uint32_t kJumpLevels         = 9;  // 8^9 blocks of 32 = 2^32 messages
inline constexpr uint32_t kJumpsMax           = 7 * kJumpLevels;

// Where a record lies. 0 is nowhere: segments count from 1.
struct Pointer {
  uint64_t value = 0;

  static constexpr Pointer at(uint32_t segment, uint64_t offset) {
    return {uint64_t{segment} << 32 | offset / 8};
  }
  constexpr uint32_t segment() const { return static_cast<uint32_t>(value >> 32); }
  constexpr uint64_t offset() const { return (value & 0xffffffffu) * 8; }
  constexpr explicit operator bool() const { return value != 0; }
  friend constexpr auto operator<=>(Pointer, Pointer) = default;
};

enum class RecordKind : uint8_t { message = 1, control = 2, cursor = 3, block = 4 };

inline constexpr uint8_t kBatchEnd = 1;
inline constexpr uint8_t kHasKeys  = 2;
inline constexpr uint8_t kHides    = 4;
inline constexpr uint8_t kFlagsAll = kBatchEnd | kHasKeys | kHides;

struct RecordHeader {
  uint32_t length;
  uint32_t crc;
  RecordKind kind;
  uint8_t flags;
  uint8_t type;
  uint8_t spare;
  uint32_t batch;
  uint64_t conversation;
  uint32_t msg_id;
  uint32_t author;
  uint32_t time;
  uint32_t small_count;
  uint32_t hidden;
  uint32_t body_bytes;
  Pointer prev;
  Pointer block;
  uint64_t repeat_key;
};
static_assert(sizeof(RecordHeader) == 72 && offsetof(RecordHeader, conversation) == 16);
static_assert(offsetof(RecordHeader, prev) == 48 && offsetof(RecordHeader, repeat_key) == 64);
static_assert(std::is_trivially_copyable_v<RecordHeader>);

struct RecordKeys {
  uint64_t client_key = 0;
  uint64_t full_key   = 0;
};
static_assert(sizeof(RecordKeys) == 16);

inline constexpr uint32_t kRecordHeaderBytes = sizeof(RecordHeader);

constexpr uint32_t record_bytes(uint8_t flags, uint32_t body_bytes) {
  const uint32_t head = kRecordHeaderBytes + ((flags & kHasKeys) ? sizeof(RecordKeys) : 0);
  return (head + body_bytes + 7) / 8 * 8;
}
inline constexpr uint32_t kRecordBytesMax = record_bytes(kHasKeys, kBodyBytesMax);
static_assert(kRecordBytesMax + kSegmentHeaderBytes < kSegmentBytesMin / 2);

// A checked record in somebody else's memory.
struct RecordView {
  RecordHeader header;
  RecordKeys keys;
  Bytes body;
};

// The sum every checksum of a log starts from.
uint32_t salt_sum(uint64_t salt);

// Fills in the checksum of the complete record at `record`, which will lie at `place`.
void finish_record(std::byte* record, Pointer place, uint32_t salt);

enum class Parse : uint8_t {
  record,  // whole and valid
  end,     // length 0
  more,    // a header that may be right, but the record is longer than `from`; see *length
  bad,
};
// Reads the record that starts at from[0]. With Parse::more, *needed is the length it claims.
Parse parse_record(Bytes from, Pointer place, uint32_t salt, RecordView& out, uint32_t* needed);

// Whether the 72 bytes could be a record header: lengths agree, kinds and flags are known.
bool plausible(const RecordHeader& header);

// --- block records --------------------------------------------------------------------------------

// Jump pointers that block k carries: the digit sum of k − 1 in base 8.
uint32_t jump_count(uint32_t block);
constexpr uint32_t block_body_bytes(uint32_t jumps) { return 8 * (kBlockMessages + jumps); }
inline constexpr uint32_t kBlockRecordBytesMax = record_bytes(0, block_body_bytes(kJumpsMax));

// jumps[] of block k, and block k's own place, become jumps[] of block k + 1. Returns how many.
uint32_t next_jumps(uint32_t block, Pointer place, Pointer* jumps);

struct JumpStep {
  uint32_t block = 0;
  Pointer pointer;
};
// From block `from` (whose jumps are given) the step nearest to `target` < from, never past it.
JumpStep jump_towards(uint32_t from, std::span<const Pointer> jumps, uint32_t target);

// --- segment header, footer entries -----------------------------------------------------------------

struct SegmentHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes;
  uint32_t segment;
  uint32_t shard;
  uint32_t shards;
  uint32_t zero;
  uint64_t created;
  uint64_t segment_bytes;
  uint64_t salt;
  uint32_t zero2;
  uint32_t crc;
};
static_assert(sizeof(SegmentHeader) == 64 && offsetof(SegmentHeader, salt) == 48);

inline constexpr uint64_t kSegmentMagic  = 0x474553474f4c5452;  // "RTLOGSEG"
inline constexpr uint64_t kFooterMagic   = 0x525446474f4c5452;  // "RTLOGFTR"
inline constexpr uint64_t kTrailerMagic  = 0x444e45474f4c5452;  // "RTLOGEND"
inline constexpr uint64_t kSnapshotMagic = 0x504e53474f4c5452;  // "RTLOGSNP"

// block: kSegmentHeaderBytes of zeros; writes both copies.
void encode_segment_header(std::byte* block, SegmentHeader header);
// Errc::corrupt: neither copy is whole. Errc::unsupported: a whole one of a newer version.
Result<SegmentHeader> decode_segment_header(Bytes block);

// The newest of a conversation. Every field only grows, so two entries merge by taking the maxima.
struct HeadEntry {
  uint64_t conversation = 0;
  Pointer newest, block, control;
  uint32_t msg_id = 0, time = 0, small_count = 0, hidden = 0;

  void merge(const HeadEntry& other);
};
static_assert(sizeof(HeadEntry) == 48);

struct CursorEntry {
  uint64_t conversation = 0;
  uint32_t user         = 0;
  uint32_t msg_id       = 0;
};
static_assert(sizeof(CursorEntry) == 16);

struct RepeatEntry {
  uint32_t author = 0, msg_id = 0, time = 0, zero = 0;
  uint64_t repeat_key = 0, client_key = 0, full_key = 0;
};
static_assert(sizeof(RepeatEntry) == 40);

// How long a key protects; see reliability of sends (60 s) and client_msg_id (24 h).
inline constexpr uint32_t kRepeatSeconds    = 60;
inline constexpr uint32_t kClientKeySeconds = 24 * 3600;
// Whether the entry still protects at `now`; drops the key that does not.
bool still_protects(RepeatEntry& entry, uint32_t now);

// What a segment of a log of that many shards takes. asked: the setting, 0 = 64 MiB for all of them together,
// but 4 MiB each at least.
uint64_t segment_bytes_of(uint64_t asked, uint32_t shards);

// "log/0000001a.seg"
std::string segment_path(uint32_t segment);
std::optional<uint32_t> segment_of_name(std::string_view name);  // "0000001a.seg"

}  // namespace ringtalk::store
