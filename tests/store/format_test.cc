#include "store/embedded/format.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "engine/random.h"
#include "store/embedded/crc32c.h"

namespace ringtalk::store {
namespace {

constexpr uint64_t kSalt = 0x1122334455667788;
const Pointer kPlace     = Pointer::at(3, 4096);

std::vector<std::byte> make(RecordHeader header, std::string_view body, RecordKeys keys = {}) {
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.length     = record_bytes(header.flags, header.body_bytes);
  std::vector<std::byte> bytes(header.length);
  std::memcpy(bytes.data(), &header, sizeof header);
  size_t at = sizeof header;
  if (header.flags & kHasKeys) {
    std::memcpy(bytes.data() + at, &keys, sizeof keys);
    at += sizeof keys;
  }
  std::memcpy(bytes.data() + at, body.data(), body.size());
  finish_record(bytes.data(), kPlace, salt_sum(kSalt));
  return bytes;
}

RecordHeader message_header(uint8_t flags = 0) {
  return {.kind         = RecordKind::message,
          .flags        = flags,
          .type         = 1,
          .batch        = 9,
          .conversation = uint64_t{5} << 32 | 6,
          .msg_id       = 77,
          .author       = 5,
          .time         = 1'700'000'000,
          .small_count  = 40,
          .hidden       = 2,
          .prev         = Pointer::at(2, 8192),
          .block        = Pointer::at(1, 4096),
          .repeat_key   = 0xabcdef};
}

Parse parse(Bytes bytes, RecordView& view, Pointer place = kPlace) {
  uint32_t needed = 0;
  return parse_record(bytes, place, salt_sum(kSalt), view, &needed);
}

TEST(Crc32c, KnownValues) {
  // RFC 3720 B.4.
  const std::vector<std::byte> zeros(32), ones(32, std::byte{0xff});
  EXPECT_EQ(crc32c(0, zeros), 0x8a9136aau);
  EXPECT_EQ(crc32c(0, ones), 0x62a8ab43u);
  EXPECT_EQ(crc32c(0, as_bytes("123456789")), 0xe3069283u);
  EXPECT_EQ(crc32c(crc32c(0, as_bytes("1234")), as_bytes("56789")), 0xe3069283u);
  const uint64_t word = 0x0123456789abcdef;
  EXPECT_EQ(crc32c_of(7, word), crc32c(7, std::as_bytes(std::span(&word, 1))));
}

TEST(Format, WorkedExample) {
  RecordHeader header{.kind         = RecordKind::message,
                      .flags        = kBatchEnd,
                      .type         = 1,
                      .batch        = 1,
                      .conversation = uint64_t{1} << 32 | 2,
                      .msg_id       = 1,
                      .author       = 1,
                      .time         = 0x6553f100,
                      .small_count  = 1,
                      .body_bytes   = 2};
  header.length = record_bytes(0, 2);
  std::vector<std::byte> bytes(header.length);
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, "hi", 2);
  finish_record(bytes.data(), Pointer::at(1, 4096), salt_sum(0));
  std::string hex;
  for (std::byte b : bytes) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<unsigned>(b));
    hex += two;
  }
  EXPECT_EQ(hex,
            "50000000"
            "9c72dfce"
            "01010100"
            "01000000"
            "0200000001000000"
            "01000000"
            "01000000"
            "00f15365"
            "01000000"
            "00000000"
            "02000000"
            "0000000000000000"
            "0000000000000000"
            "0000000000000000"
            "6869000000000000");
}

TEST(Format, EveryKindRoundTrips) {
  for (const RecordKind kind : {RecordKind::message, RecordKind::control, RecordKind::cursor}) {
    for (const uint8_t flags : {uint8_t{0}, kBatchEnd, kHasKeys, kFlagsAll}) {
      for (size_t size : {0u, 1u, 7u, 8u, 9u, 200u, 16384u}) {
        RecordHeader header = message_header(flags);
        header.kind         = kind;
        const std::string body(size, 'x');
        const auto bytes = make(header, body, {11, 12});
        RecordView view;
        ASSERT_EQ(parse(bytes, view), Parse::record);
        EXPECT_EQ(view.header.kind, kind);
        EXPECT_EQ(view.header.flags, flags);
        EXPECT_EQ(view.header.batch, 9u);
        EXPECT_EQ(view.header.conversation, header.conversation);
        EXPECT_EQ(view.header.msg_id, 77u);
        EXPECT_EQ(view.header.author, 5u);
        EXPECT_EQ(view.header.small_count, 40u);
        EXPECT_EQ(view.header.hidden, 2u);
        EXPECT_EQ(view.header.prev, header.prev);
        EXPECT_EQ(view.header.block, header.block);
        EXPECT_EQ(view.header.repeat_key, 0xabcdefu);
        EXPECT_EQ(as_text(view.body), body);
        EXPECT_EQ(view.keys.client_key, (flags & kHasKeys) ? 11u : 0u);
        EXPECT_EQ(view.keys.full_key, (flags & kHasKeys) ? 12u : 0u);
      }
    }
  }
}

TEST(Format, EveryTruncationAsksForMore) {
  const auto bytes = make(message_header(kHasKeys), "some text of a message");
  for (size_t size = 0; size < bytes.size(); ++size) {
    RecordView view;
    // An exact copy of the prefix: a read beyond it is an error of the sanitizer build.
    const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_EQ(parse(cut, view), Parse::more) << size;
  }
}

TEST(Format, EveryFlippedBitIsSeen) {
  auto bytes = make(message_header(kHasKeys | kBatchEnd), "some text of a message");
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    RecordView view;
    EXPECT_NE(parse(bytes, view), Parse::record) << bit;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(Format, ARecordIsBoundToItsPlaceAndLog) {
  const auto bytes = make(message_header(), "text");
  RecordView view;
  EXPECT_EQ(parse(bytes, view), Parse::record);
  EXPECT_EQ(parse(bytes, view, Pointer::at(3, 4104)), Parse::bad);
  EXPECT_EQ(parse(bytes, view, Pointer::at(4, 4096)), Parse::bad);
  EXPECT_EQ(parse_record(bytes, kPlace, salt_sum(kSalt + 1), view, nullptr), Parse::bad);
}

TEST(Format, GarbageIsNoRecord) {
  engine::SeededRandom random(5);
  std::vector<std::byte> bytes(2048);
  for (int i = 0; i < 20'000; ++i) {
    random.fill(bytes);
    if (i % 2) {  // a header that makes sense, with a wrong sum
      RecordHeader header = message_header();
      header.kind         = static_cast<RecordKind>(1 + random.below(4));
      header.flags        = static_cast<uint8_t>(random.below(8));
      header.body_bytes   = static_cast<uint32_t>(random.below(1500));
      header.length       = record_bytes(header.flags, header.body_bytes);
      std::memcpy(bytes.data(), &header, sizeof header);
    }
    RecordView view;
    const Parse parsed = parse(bytes, view);
    EXPECT_TRUE(parsed == Parse::bad || parsed == Parse::end || parsed == Parse::more);
  }
}

// --- jump pointers --------------------------------------------------------------------------------------

// Goal: from any block every earlier one is reached, in few steps, by pointers each block has from the
// one before it. Method: build the lists for the first 5,000 blocks; pointer of block k has offset 8 k.
TEST(Format, JumpPointersReachEveryBlock) {
  constexpr uint32_t kBlocks = 5000;
  std::vector<std::vector<Pointer>> jumps(kBlocks + 2);
  for (uint32_t k = 1; k <= kBlocks; ++k) {
    std::array<Pointer, kJumpsMax + 1> list{};
    std::ranges::copy(jumps[k], list.begin());
    ASSERT_EQ(jumps[k].size(), jump_count(k));
    const uint32_t count = next_jumps(k, Pointer::at(1, k * 8), list.data());
    jumps[k + 1].assign(list.begin(), list.begin() + count);
  }
  engine::SeededRandom random(1);
  for (int i = 0; i < 200'000; ++i) {
    const auto from   = static_cast<uint32_t>(2 + random.below(kBlocks - 1));
    const auto target = static_cast<uint32_t>(1 + random.below(from - 1));
    uint32_t at = from, steps = 0;
    while (at != target) {
      const JumpStep step = jump_towards(at, jumps[at], target);
      ASSERT_GE(step.block, target);
      ASSERT_LT(step.block, at);
      ASSERT_EQ(step.pointer.offset(), step.block * 8u);
      at = step.block;
      ++steps;
    }
    ASSERT_LE(steps, 5u);
  }
}

TEST(Format, JumpListsStayWithinTheirBound) {
  for (const uint32_t block : {1u, 8u, 9u, 512u, 513u, 1u << 27, (1u << 27) - 1, 134'217'727u}) {
    EXPECT_LE(jump_count(block), kJumpsMax);
    EXPECT_LE(record_bytes(0, block_body_bytes(jump_count(block))), kBlockRecordBytesMax);
  }
  EXPECT_EQ(jump_count(1), 0u);
  EXPECT_EQ(jump_count(8), 7u);
  EXPECT_EQ(jump_count(9), 1u);
  EXPECT_EQ(jump_count(1u << 27), kJumpsMax);
}

// --- segment header and names --------------------------------------------------------------------------------

TEST(Format, OneHeaderCopyIsEnough) {
  std::vector<std::byte> block(kSegmentHeaderBytes);
  encode_segment_header(block.data(), {.segment = 12, .shard = 1, .shards = 2, .salt = kSalt});
  for (const uint32_t copy : {0u, kSegmentHeaderCopy}) {
    for (size_t bit = 0; bit < 64 * 8; ++bit) {
      auto flipped = block;
      flipped[copy + bit / 8] ^= std::byte{1} << (bit % 8);
      auto header = decode_segment_header(flipped);
      ASSERT_TRUE(header.has_value()) << bit;
      EXPECT_EQ(header->salt, kSalt);
    }
  }
  for (size_t size = 0; size < 64; ++size)
    EXPECT_EQ(decode_segment_header(Bytes(block).first(size)).error().code, Errc::corrupt);
}

TEST(Format, NewerHeaderIsUnsupportedNotCorrupt) {
  std::vector<std::byte> block(kSegmentHeaderBytes);
  SegmentHeader header{
      .magic = kSegmentMagic, .version = kFormatVersion + 1, .header_bytes = 64, .segment = 1};
  header.crc = crc32c(0, std::as_bytes(std::span(&header, 1)).first(60));
  std::memcpy(block.data(), &header, sizeof header);
  EXPECT_EQ(decode_segment_header(block).error().code, Errc::unsupported);
}

TEST(Format, SegmentNames) {
  EXPECT_EQ(segment_path(0x1a), "log/0000001a.seg");
  EXPECT_EQ(segment_of_name("0000001a.seg"), 0x1au);
  for (const char* name : {"", "snapshot", "1a.seg", "0000001a.se", "0000001g.seg", "00000000.seg",
                           "0000001a.segx", "+000001a.seg", "-000001a.seg", "0x00001a.seg"})
    EXPECT_FALSE(segment_of_name(name).has_value()) << name;
}

TEST(Format, KeysProtectForTheirTime) {
  const RepeatEntry made{
      .author = 1, .msg_id = 2, .time = 1000, .repeat_key = 3, .client_key = 4, .full_key = 5};
  RepeatEntry entry = made;
  EXPECT_TRUE(still_protects(entry, 1060));
  EXPECT_EQ(entry.repeat_key, 3u);
  EXPECT_TRUE(still_protects(entry, 1061));
  EXPECT_EQ(entry.repeat_key, 0u);
  EXPECT_EQ(entry.client_key, 4u);
  EXPECT_FALSE(still_protects(entry, 1001 + 24 * 3600));
  entry = made;
  EXPECT_TRUE(still_protects(entry, 10));  // the wall clock was set back
  EXPECT_EQ(entry.repeat_key, 3u);
}

}  // namespace
}  // namespace ringtalk::store
