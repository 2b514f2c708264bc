#include "proto/frame.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proto/encode.h"
#include "proto/message.pb.h"
#include "tests/proto/random.h"

namespace ringtalk::proto {
namespace {

using Status = Split::Status;

std::string header_bytes(FrameHeader header) {
  std::string bytes(kHeaderBytes, '\0');
  encode_header(reinterpret_cast<std::byte*>(bytes.data()), header);
  return bytes;
}

std::string frame_of(uint16_t command, size_t body_bytes, uint16_t sequence = 0) {
  FrameHeader header{.length   = static_cast<uint32_t>(kHeaderBytes + body_bytes),
                     .service  = static_cast<uint16_t>(command >> 8),
                     .command  = command,
                     .sequence = sequence};
  std::string bytes = header_bytes(header);
  for (size_t i = 0; i < body_bytes; ++i) bytes.push_back(static_cast<char>(i * 7 + command));
  return bytes;
}

Split split_header(uint32_t length, uint16_t command, FrameLimits limits) {
  const std::string bytes = header_bytes({.length = length, .command = command});
  return split_frame(as_bytes(bytes), limits);
}

TEST(Frame, HeaderIsSixteenBytesBigEndian) {
  const std::string bytes = header_bytes({.length   = 0x01020304,
                                          .version  = 0x0506,
                                          .flag     = 0x0708,
                                          .service  = 0x090a,
                                          .command  = 0x0b0c,
                                          .sequence = 0x0d0e,
                                          .reserved = 0x0f10});
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], static_cast<char>(i + 1));
  const FrameHeader header = decode_header(as_bytes(bytes).data());
  EXPECT_EQ(header.length, 0x01020304u);
  EXPECT_EQ(header.sequence, 0x0d0e);
  EXPECT_EQ(header_bytes(header), bytes);
}

TEST(Frame, LengthEdgesBeforeAndAfterLogin) {
  struct Case {
    uint64_t length;
    uint16_t command;
    FrameLimits limits;
    Status expected;
  };
  const auto before       = FrameLimits::before_login();
  const auto after        = FrameLimits::after_login();
  const auto file         = FrameLimits::file_connection();
  std::vector<Case> cases = {
      {16, 0x0701, before, Status::frame},
      {17, 0x0701, before, Status::need_more},
      {4 * kKiB, 0x0103, before, Status::need_more},
      {4 * kKiB + 1, 0x0103, before, Status::too_large},
      {4 * kKiB + 1, 0x0301, before, Status::too_large},
      {64 * kKiB, 0x0601, after, Status::need_more},
      {64 * kKiB + 1, 0x0601, after, Status::too_large},
      {64 * kKiB + 1, 0x0302, after, Status::too_large},
      {64 * kKiB + 1, 0x0301, after, Status::need_more},
      {257 * kKiB, 0x0301, after, Status::need_more},
      {257 * kKiB + 1, 0x0301, after, Status::too_large},
      {64 * kKiB, 0x0505, file, Status::need_more},
      {64 * kKiB + 1, 0x0505, file, Status::too_large},
      {64 * kKiB + 1, 0x0301, file, Status::too_large},
  };
  for (const auto limits : {before, after, file}) {
    for (const uint16_t command : {0x0103, 0x0301, 0x0000, 0xffff}) {
      for (uint64_t length = 0; length < 16; ++length) {
        cases.push_back({length, command, limits, Status::malformed});
      }
      for (const uint64_t length : {0x7fffffffull, 0x80000000ull, 0xffffffffull}) {
        cases.push_back({length, command, limits, Status::too_large});
      }
    }
  }
  for (const auto& c : cases) {
    const auto length = static_cast<uint32_t>(c.length);
    EXPECT_EQ(split_header(length, c.command, c.limits).status, c.expected)
        << "length " << c.length << " command " << c.command;
  }
}

TEST(Frame, LargestFramesAreTaken) {
  for (const uint16_t command : {0x0301, 0x0601}) {
    const size_t bytes_max  = FrameLimits::after_login().bytes_max(CommandId(command));
    const std::string bytes = frame_of(command, bytes_max - kHeaderBytes);
    const Split split       = split_frame(as_bytes(bytes), FrameLimits::after_login());
    ASSERT_EQ(split.status, Status::frame);
    EXPECT_EQ(split.body.size(), bytes_max - kHeaderBytes);
  }
}

TEST(Frame, ForeignProtocolsAreRefusedByTheirFirstBytes) {
  using namespace std::string_view_literals;
  for (const std::string_view text :
       {"GET / HTTP/1.1\r\n\r\n"sv, "SSH-2.0-OpenSSH_9.2\r\n"sv,
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"sv,
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 client hello"sv}) {
    EXPECT_EQ(split_frame(as_bytes(text), FrameLimits::before_login()).status, Status::too_large);
  }
  const std::string zeros(64, '\0');
  EXPECT_EQ(split_frame(as_bytes(zeros), FrameLimits::before_login()).status, Status::malformed);
}

TEST(Frame, AnyVersionFlagServiceAndReservedPass) {
  const std::string bytes = header_bytes({.length   = 16,
                                          .version  = 0xffff,
                                          .flag     = 0xffff,
                                          .service  = 0xffff,
                                          .command  = 0x0701,
                                          .sequence = 0xffff,
                                          .reserved = 0xffff});
  const Split split       = split_frame(as_bytes(bytes), FrameLimits::before_login());
  ASSERT_EQ(split.status, Status::frame);
  EXPECT_TRUE(split.body.empty());
  EXPECT_EQ(as_text(split.whole), bytes) << "a heartbeat goes back byte for byte";
}

TEST(Frame, EveryTruncationAsksForWhatIsMissing) {
  const std::string bytes = frame_of(0x0301, 300);
  for (size_t have = 0; have < bytes.size(); ++have) {
    const Bytes at_hand = as_bytes(bytes).first(have);
    const Split split   = split_frame(at_hand, FrameLimits::after_login());
    ASSERT_EQ(split.status, Status::need_more) << have;
    const size_t goal = have < kHeaderBytes ? kHeaderBytes : bytes.size();
    EXPECT_EQ(split.missing, goal - have) << have;
  }
}

// Cuts `stream` at `cuts` (ascending offsets) and returns the frames found, each as text, then the
// name of the ending.
std::vector<std::string> frames_of(std::string_view stream, std::vector<size_t> cuts) {
  std::vector<std::string> found;
  std::string pending;
  cuts.push_back(stream.size());
  size_t from = 0;
  for (const size_t cut : cuts) {
    pending.append(stream.substr(from, cut - from));
    from = cut;
    for (;;) {
      const Split split = split_frame(as_bytes(pending), FrameLimits::after_login());
      if (split.status == Status::need_more) break;
      if (split.status != Status::frame) {
        found.emplace_back(split.status == Status::malformed ? "malformed" : "too large");
        return found;
      }
      EXPECT_EQ(split.whole.size(), split.header.length);
      EXPECT_EQ(split.body.data(), split.whole.data() + kHeaderBytes);
      found.emplace_back(as_text(split.whole));
      pending.erase(0, split.whole.size());
    }
  }
  found.push_back("pending " + std::to_string(pending.size()));
  return found;
}

TEST(Frame, EverySplitOfAStreamGivesTheSameFrames) {
  const std::string stream = frame_of(0x0701, 0, 1) + frame_of(0x0301, 40, 2) +
                             frame_of(0x0302, 9, 3) + frame_of(0xffff, 1, 4) +
                             frame_of(0x0701, 0, 5) + frame_of(0x0103, 20, 6).substr(0, 30);
  const auto whole = frames_of(stream, {});
  ASSERT_EQ(whole.size(), 6u);
  EXPECT_EQ(whole.back(), "pending 30");
  for (size_t a = 0; a <= stream.size(); ++a) {
    for (size_t b = a; b <= stream.size(); ++b) ASSERT_EQ(frames_of(stream, {a, b}), whole);
  }
  std::vector<size_t> each(stream.size());
  for (size_t i = 0; i < each.size(); ++i) each[i] = i;
  EXPECT_EQ(frames_of(stream, each), whole) << "byte by byte";
}

TEST(Frame, ABadFrameBehindGoodOnesIsFoundWhateverTheSplit) {
  const std::string good = frame_of(0x0701, 0) + frame_of(0x0301, 5);
  for (const uint32_t length : {0u, 15u, 64u * 1024 + 1, 0xffffffffu}) {
    const std::string stream = good + header_bytes({.length = length, .command = 0x0601}) + "tail";
    const auto whole         = frames_of(stream, {});
    ASSERT_EQ(whole.size(), 3u);
    EXPECT_EQ(whole.back(), length < 16 ? "malformed" : "too large");
    for (size_t a = 0; a <= stream.size(); ++a) ASSERT_EQ(frames_of(stream, {a}), whole);
  }
}

TEST(Frame, RandomStreamsGiveTheSameFramesInAnySegmentation) {
  test::Random random(test::seed());
  for (int round = 0; round < 300; ++round) {
    std::string stream;
    for (uint32_t i = random.below(20); i > 0; --i) {
      stream += frame_of(static_cast<uint16_t>(random.next()), random.below(200));
    }
    if (random.one_in(3) && !stream.empty()) {
      stream[random.below(static_cast<uint32_t>(stream.size()))] ^= 1 << random.below(8);
    }
    std::vector<size_t> cuts;
    for (size_t at = 0; at < stream.size(); at += random.below(60)) cuts.push_back(at);
    ASSERT_EQ(frames_of(stream, cuts), frames_of(stream, {})) << "round " << round;
  }
}

TEST(Encode, FrameCarriesHeaderAndBody) {
  IM::Message::IMMsgDataAck ack;
  ack.set_user_id(1);
  ack.set_session_id(300);
  ack.set_msg_id(7);
  ack.set_session_type(IM::BaseDefine::SESSION_TYPE_SINGLE);
  std::string bytes(encoded_size(ack), '\0');
  encode_frame(std::as_writable_bytes(std::span(bytes)), CommandId::msg_data_ack, 0x1234, ack);

  const Split split = split_frame(as_bytes(bytes), FrameLimits::after_login());
  ASSERT_EQ(split.status, Status::frame);
  EXPECT_EQ(split.whole.size(), bytes.size());
  EXPECT_EQ(split.header,
            (FrameHeader{.length = 25, .service = 3, .command = 0x0302, .sequence = 0x1234}));
  EXPECT_EQ(as_text(split.body), ack.SerializeAsString());
}

TEST(Encode, EmptyFrameIsTheBareHeader) {
  std::string bytes(kHeaderBytes, 'x');
  encode_empty_frame(std::as_writable_bytes(std::span(bytes)), CommandId::heartbeat, 7);
  EXPECT_EQ(bytes, std::string("\0\0\0\x10\0\1\0\0\0\7\7\1\0\7\0\0", 16));
}

}  // namespace
}  // namespace ringtalk::proto
