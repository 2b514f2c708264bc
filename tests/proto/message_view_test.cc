// Goal    message_view accepts, refuses and reads exactly like protobuf, for any bytes.
// Method  valid bodies, hand-made evil ones, every truncation and random mutations, each given to
//         both; view_oracle.h compares verdict, every field and the re-encoded frame.
#include "proto/message_view.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/proto/random.h"
#include "tests/proto/view_oracle.h"

namespace ringtalk::proto {
namespace {

std::string varint(uint64_t value, int bytes_min = 1) {
  std::string out;
  for (; value >= 0x80 || bytes_min > 1; value >>= 7, --bytes_min) {
    out.push_back(static_cast<char>(value | 0x80));
  }
  out.push_back(static_cast<char>(value));
  return out;
}
std::string tag(uint32_t field, uint32_t type) { return varint(uint64_t{field} << 3 | type); }
std::string number(uint32_t field, uint64_t value) { return tag(field, 0) + varint(value); }
std::string bytes(uint32_t field, std::string_view value) {
  return tag(field, 2) + varint(value.size()) + std::string(value);
}

// The required fields of 0x0301, one string each; of 0x0302 and 0x0303 likewise.
std::vector<std::string> data_fields() {
  return {number(1, 0),          number(2, 300),  number(3, 0),
          number(4, 1700000000), number(5, 0x11), bytes(6, "nnZSBwfPCz60q69ddmfIJA==")};
}
std::vector<std::string> ack_fields() {
  return {number(1, 1), number(2, 0xffffffff), number(3, 7), number(4, 2)};
}

std::string join(const std::vector<std::string>& parts) {
  std::string all;
  for (const auto& part : parts) all += part;
  return all;
}

std::string differs(std::string_view body) { return test::compare_all(as_bytes(body)); }
bool data_ok(std::string_view body) { return parse_message_data(as_bytes(body)).has_value(); }
bool ack_ok(std::string_view body) { return parse_message_ack(as_bytes(body)).has_value(); }

void expect_data(std::string_view body, bool accepted, const char* what) {
  EXPECT_EQ(data_ok(body), accepted) << what;
  EXPECT_EQ(differs(body), "") << what;
}

TEST(MessageView, ReadsEveryField) {
  const std::string body = join(data_fields()) + bytes(21, "retry-1");
  const auto view        = parse_message_data(as_bytes(body));
  ASSERT_TRUE(view);
  EXPECT_EQ(view->to_session_id, 300u);
  EXPECT_EQ(view->create_time, 1700000000u);
  EXPECT_EQ(view->type, MessageType::group_text);
  EXPECT_EQ(as_text(view->data), "nnZSBwfPCz60q69ddmfIJA==");
  EXPECT_EQ(as_text(view->client_msg_id.value()), "retry-1");
  EXPECT_GE(view->data.data(), as_bytes(body).data()) << "viewed in place";
  EXPECT_EQ(differs(body), "");

  const auto ack = parse_read_ack(as_bytes(join(ack_fields())));
  ASSERT_TRUE(ack);
  EXPECT_EQ(*ack, (MessageAck{1, 0xffffffff, 7, SessionType::group}));
}

TEST(MessageView, EachRequiredFieldIsRequired) {
  for (size_t i = 0; i < 6; ++i) {
    auto fields = data_fields();
    fields.erase(fields.begin() + static_cast<ptrdiff_t>(i));
    expect_data(join(fields), false, "0x0301 lacks a field");
  }
  for (size_t i = 0; i < 4; ++i) {
    auto fields = ack_fields();
    fields.erase(fields.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_FALSE(ack_ok(join(fields)));
    EXPECT_EQ(differs(join(fields)), "");
  }
  expect_data("", false, "empty");
}

TEST(MessageView, AnyOrderOfFieldsIsFine) {
  auto fields = data_fields();
  std::ranges::sort(fields);
  do {
    const std::string body = join(fields);
    ASSERT_TRUE(data_ok(body));
    ASSERT_EQ(differs(body), "");
  } while (std::ranges::next_permutation(fields).found);
}

TEST(MessageView, OfRepeatedFieldsTheLastWins) {
  const std::string body = join(data_fields()) + number(2, 5) + bytes(6, "later") + number(5, 1) +
                           bytes(21, "one") + bytes(21, "");
  const auto view = parse_message_data(as_bytes(body));
  ASSERT_TRUE(view);
  EXPECT_EQ(view->to_session_id, 5u);
  EXPECT_EQ(as_text(view->data), "later");
  EXPECT_EQ(view->type, MessageType::single_text);
  EXPECT_TRUE(view->client_msg_id->empty());
  EXPECT_EQ(differs(body), "");
}

TEST(MessageView, UnknownEnumValuesCountAsMissing) {
  auto fields = data_fields();
  for (const uint64_t value : {uint64_t{0}, uint64_t{3}, uint64_t{0x10}, uint64_t{0x13},
                               uint64_t{0x55}, ~uint64_t{0}, uint64_t{0x100000100}}) {
    fields[4] = number(5, value);
    expect_data(join(fields), false, "unknown msg_type alone");
    expect_data(join(fields) + number(5, 2), true, "unknown, then known");
    expect_data(join(data_fields()) + number(5, value), true,
                "known, then unknown: the known stays");
  }
  fields[4] = number(5, 0x100000011);
  expect_data(join(fields), true, "protobuf looks at 32 bits of an enum");
}

TEST(MessageView, VarintsUpToTenBytesKeepTheirLowBits) {
  auto fields = data_fields();
  for (int length = 1; length <= 12; ++length) {
    fields[1] = tag(2, 0) + varint(length == 1 ? 77 : 300, length);
    expect_data(join(fields), length <= 10, "padded varint");
    fields[1] = tag(2, 0) + std::string(static_cast<size_t>(length) - 1, '\xff') + '\x7f';
    expect_data(join(fields), length <= 10, "all bits set");
  }
  fields[1]       = number(2, ~uint64_t{0});  // a negative int
  const auto view = parse_message_data(as_bytes(join(fields)));
  ASSERT_TRUE(view);
  EXPECT_EQ(view->to_session_id, 0xffffffffu);
}

TEST(MessageView, TagsAndLengthsUpToFiveBytes) {
  for (int length = 1; length <= 6; ++length) {
    auto fields = data_fields();
    fields[2]   = varint(3 << 3, length) + varint(9);
    expect_data(join(fields), length <= 5, "padded tag");
    fields    = data_fields();
    fields[5] = tag(6, 2) + varint(2, length) + "ab";
    expect_data(join(fields), length <= 5, "padded length");
  }
  auto fields = data_fields();
  fields[2]   = varint(uint64_t{1} << 32 | 3 << 3) + varint(9);
  expect_data(join(fields), true, "a tag wraps at 32 bits");
  for (const uint64_t length : {uint64_t{3}, uint64_t{0x7fffffef}, uint64_t{0x7ffffff0},
                                uint64_t{0x7fffffff}, uint64_t{0x80000000}, uint64_t{0xffffffff}}) {
    fields    = data_fields();
    fields[5] = tag(6, 2) + varint(length) + "ab";
    expect_data(join(fields), false, "length beyond the end");
  }
}

TEST(MessageView, UnknownFieldsArePassedOver) {
  const std::string group = tag(40, 3) + number(1, 5) + bytes(6, "x") + tag(40, 4);
  for (const std::string& unknown :
       {number(99, 5), bytes(99, "abc"), tag(99, 1) + std::string(8, 'x'),
        tag(99, 5) + std::string(4, 'x'), bytes(20, "attach"), number(20, 4), number(21, 4),
        bytes(1, "wrong wire type"), number(6, 4), bytes(5, "\x11"), number(0x1fffffff, 1), group,
        tag(40, 3) + group + tag(40, 4), bytes(99, std::string(60 * 1024, 'u'))}) {
    expect_data(unknown + join(data_fields()), true, "unknown before");
    expect_data(join(data_fields()) + unknown, true, "unknown behind");
  }
  const auto view = parse_message_data(as_bytes(join(data_fields()) + bytes(2, "\x07")));
  ASSERT_TRUE(view);
  EXPECT_EQ(view->to_session_id, 300u) << "a packed singular is not a number";
}

TEST(MessageView, BrokenWireFormatIsMalformed) {
  for (const std::string& bad : std::vector<std::string>{
           std::string(1, '\0'), tag(0, 1) + std::string(8, 'x'), bytes(0, "x"), tag(0, 3),
           tag(0, 4), tag(0, 5) + "1234", tag(7, 6), tag(7, 7), tag(1, 6), tag(7, 4), tag(40, 3),
           tag(40, 3) + tag(41, 4), tag(40, 3) + std::string(1, '\0') + tag(40, 4),
           tag(40, 3) + tag(41, 3) + tag(40, 4) + tag(41, 4), tag(40, 3) + tag(7, 6) + tag(40, 4),
           tag(99, 1) + "1234567", tag(99, 5) + "123", std::string(5, '\xff') + "\x01"}) {
    expect_data(bad + join(data_fields()), false, "broken before");
    expect_data(join(data_fields()) + bad, false, "broken behind");
  }
}

TEST(MessageView, GroupsNestAHundredDeep) {
  for (const int depth : {1, 99, 100, 101, 102, 5000, 100000}) {
    std::string nest;
    for (int i = 0; i < depth; ++i) nest += tag(30, 3);
    expect_data(nest + join(data_fields()), false, "never closed");
    for (int i = 0; i < depth; ++i) nest += tag(30, 4);
    expect_data(nest + join(data_fields()), depth <= 100, "nested groups");
  }
}

TEST(MessageView, EveryTruncationLikeProtobuf) {
  const std::string group = tag(40, 3) + number(1, 300) + tag(40, 4);
  const std::string body =
      join(data_fields()) + bytes(21, "retry") + group + tag(99, 1) + "12345678" + number(5, 2);
  for (size_t length = 0; length <= body.size(); ++length) {
    ASSERT_EQ(differs(body.substr(0, length)), "") << length;
    ASSERT_EQ(differs(body.substr(length)), "") << "from " << length;
  }
  const std::string ack = join(ack_fields());
  for (size_t length = 0; length < ack.size(); ++length) {
    ASSERT_FALSE(ack_ok(ack.substr(0, length)));
    ASSERT_EQ(differs(ack.substr(0, length)), "");
  }
}

TEST(MessageView, EveryBitFlipAndEveryByteValueLikeProtobuf) {
  for (const std::string& original :
       {join(data_fields()) + bytes(21, "retry"), join(ack_fields())}) {
    for (size_t at = 0; at < original.size(); ++at) {
      std::string body = original;
      for (int value = 0; value < 256; ++value) {
        body[at] = static_cast<char>(value);
        ASSERT_EQ(differs(body), "") << "byte " << at << " = " << value;
      }
    }
  }
}

std::string random_field(test::Random& random) {
  const uint32_t field = random.one_in(8) ? random.number() & 0x1fffffff : random.below(23);
  switch (random.below(6)) {
    case 0: return tag(field, 0) + varint(random.next(), static_cast<int>(random.below(12)));
    case 1: return bytes(field, std::string(random.below(20), 'b'));
    case 2: return tag(field, 1) + std::string(8, 'f');
    case 3: return tag(field, 5) + std::string(4, 'f');
    case 4: return tag(field, 3) + number(random.below(9), random.number()) + tag(field, 4);
    default: return number(field, random.number());
  }
}

std::string random_body(test::Random& random) {
  IM::Message::IMMsgData message;
  message.set_from_user_id(random.number());
  message.set_to_session_id(random.number());
  message.set_msg_id(random.number());
  message.set_create_time(random.number());
  const IM::BaseDefine::MsgType types[] = {
      IM::BaseDefine::MSG_TYPE_SINGLE_TEXT, IM::BaseDefine::MSG_TYPE_SINGLE_AUDIO,
      IM::BaseDefine::MSG_TYPE_GROUP_TEXT, IM::BaseDefine::MSG_TYPE_GROUP_AUDIO};
  message.set_msg_type(types[random.below(4)]);
  message.set_msg_data(std::string(random.below(random.one_in(20) ? 20000 : 60), 'd'));
  if (random.one_in(3)) message.set_client_msg_id(std::string(random.below(70), 'c'));
  if (random.one_in(3)) message.set_attach_data("attach");
  if (random.one_in(2)) return message.SerializeAsString();
  auto fields = random.one_in(2) ? data_fields() : ack_fields();
  for (uint32_t i = random.below(4); i > 0; --i) fields.push_back(random_field(random));
  for (size_t i = fields.size(); i > 1; --i) {
    std::swap(fields[i - 1], fields[random.below(static_cast<uint32_t>(i))]);
  }
  return join(fields);
}

void mutate(std::string& body, test::Random& random) {
  for (uint32_t i = random.below(4); i > 0 && !body.empty(); --i) {
    const uint32_t at = random.below(static_cast<uint32_t>(body.size()));
    switch (random.below(4)) {
      case 0: body[at] = static_cast<char>(random.next()); break;
      case 1: body.erase(at, 1 + random.below(3)); break;
      case 2: body.insert(at, 1 + random.below(3), static_cast<char>(random.next())); break;
      default: body[at] = static_cast<char>(body[at] ^ 1 << random.below(8));
    }
  }
}

TEST(MessageView, RandomBodiesAndMutationsLikeProtobuf) {
  test::Random random(test::seed());
  int accepted = 0;
  for (int round = 0; round < 60000; ++round) {
    std::string body = random_body(random);
    mutate(body, random);
    ASSERT_EQ(differs(body), "") << "round " << round << " " << testing::PrintToString(body);
    accepted += data_ok(body);
  }
  EXPECT_GT(accepted, 6000) << "the generator must reach both verdicts";
  EXPECT_LT(accepted, 54000);
}

TEST(MessageView, PlainGarbageLikeProtobuf) {
  test::Random random(test::seed());
  for (int round = 0; round < 60000; ++round) {
    std::string body(random.below(40), '\0');
    for (char& c : body) c = static_cast<char>(random.one_in(3) ? random.next() : random.below(64));
    ASSERT_EQ(differs(body), "") << testing::PrintToString(body);
  }
}

TEST(MessageView, AckFramesOfEveryVarintLength) {
  for (int bits = 0; bits < 32; ++bits) {
    const uint32_t value = (uint32_t{1} << bits) - (bits % 2);
    const MessageAck ack{value, value + 1, ~value,
                         bits % 2 ? SessionType::group : SessionType::single};
    IM::Message::IMMsgDataAck truth;
    truth.set_user_id(ack.user_id);
    truth.set_session_id(ack.session_id);
    truth.set_msg_id(ack.msg_id);
    truth.set_session_type(static_cast<IM::BaseDefine::SessionType>(ack.session_type));
    std::string frame(message_ack_bytes(ack), '\0');
    encode_message_ack(std::as_writable_bytes(std::span(frame)), 0xffff, ack);
    EXPECT_EQ(frame, test::frame_by_protobuf(CommandId::msg_data_ack, 0xffff, truth));
    const auto back = parse_message_ack(as_bytes(frame).subspan(16));
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, ack);
  }
}

}  // namespace
}  // namespace ringtalk::proto
