#include "proto/message_view.h"

#include <bit>
#include <cstring>

#include "engine/base/assert.h"
#include "proto/command.h"
#include "proto/frame.h"
#include "proto/wire_reader.h"

namespace ringtalk::proto {
namespace {

constexpr uint32_t varint_tag(uint32_t field) { return make_tag(field, WireType::varint); }
constexpr uint32_t bytes_tag(uint32_t field) { return make_tag(field, WireType::delimited); }

// Enums travel as 64-bit varints of which protobuf looks at the low 32 bits.
bool known(uint32_t value, MessageType& type) {
  if (value != 0x01 && value != 0x02 && value != 0x11 && value != 0x12) return false;
  type = static_cast<MessageType>(value);
  return true;
}

bool known(uint32_t value, SessionType& type) {
  if (value != 1 && value != 2) return false;
  type = static_cast<SessionType>(value);
  return true;
}

bool read_number(WireReader& reader, uint32_t& to) {
  uint64_t value = 0;
  if (!reader.read_varint(value)) return false;
  to = static_cast<uint32_t>(value);
  return true;
}

// An unknown value counts as an unknown field: it neither sets nor clears what was read before.
template <class Enum>
bool read_enum(WireReader& reader, Enum& to, uint32_t& seen, uint32_t bit) {
  uint32_t value = 0;
  if (!read_number(reader, value)) return false;
  if (known(value, to)) seen |= bit;
  return true;
}

Result<MessageAck> parse_ack(Bytes body) {
  MessageAck ack;
  uint32_t seen = 0;  // bit n - 1: required field n
  WireReader reader(body);
  while (!reader.at_end()) {
    uint32_t tag = 0;
    if (!reader.read_tag(tag)) return fail(Errc::malformed);
    bool good = false;
    switch (tag) {
      case varint_tag(1): good = read_number(reader, ack.user_id), seen |= 1; break;
      case varint_tag(2): good = read_number(reader, ack.session_id), seen |= 2; break;
      case varint_tag(3): good = read_number(reader, ack.msg_id), seen |= 4; break;
      case varint_tag(4): good = read_enum(reader, ack.session_type, seen, 8); break;
      default: good = reader.skip(tag);
    }
    if (!good) return fail(Errc::malformed);
  }
  if (seen != 0xf) return fail(Errc::malformed);
  return ack;
}

constexpr size_t varint_bytes(uint32_t value) {
  return (static_cast<size_t>(std::bit_width(value | 1)) + 6) / 7;
}
static_assert(varint_bytes(0) == 1 && varint_bytes(127) == 1 && varint_bytes(128) == 2);
static_assert(varint_bytes(0xffffffff) == 5);

std::byte* write_varint(std::byte* to, uint32_t value) {
  for (; value >= 0x80; value >>= 7) *to++ = static_cast<std::byte>(value | 0x80);
  *to++ = static_cast<std::byte>(value);
  return to;
}

// Fields 1…15: their tags are one byte.
std::byte* write_field(std::byte* to, uint32_t field, uint32_t value) {
  *to++ = static_cast<std::byte>(varint_tag(field));
  return write_varint(to, value);
}

std::byte* write_header(MutableBytes out, CommandId command, uint16_t sequence) {
  encode_header(out.data(), make_header(command, sequence, out.size() - kHeaderBytes));
  return out.data() + kHeaderBytes;
}

}  // namespace

Result<MessageDataView> parse_message_data(Bytes body) {
  MessageDataView view;
  uint32_t seen = 0;  // bit n - 1: required field n
  WireReader reader(body);
  while (!reader.at_end()) {
    uint32_t tag = 0;
    if (!reader.read_tag(tag)) return fail(Errc::malformed);
    bool good = false;
    switch (tag) {
      case varint_tag(1): good = read_number(reader, view.from_user_id), seen |= 1; break;
      case varint_tag(2): good = read_number(reader, view.to_session_id), seen |= 2; break;
      case varint_tag(3): good = read_number(reader, view.msg_id), seen |= 4; break;
      case varint_tag(4): good = read_number(reader, view.create_time), seen |= 8; break;
      case varint_tag(5): good = read_enum(reader, view.type, seen, 16); break;
      case bytes_tag(6): good = reader.read_delimited(view.data), seen |= 32; break;
      case bytes_tag(21): good = reader.read_delimited(view.client_msg_id.emplace()); break;
      default: good = reader.skip(tag);
    }
    if (!good) return fail(Errc::malformed);
  }
  if (seen != 0x3f) return fail(Errc::malformed);
  return view;
}

Result<MessageAck> parse_message_ack(Bytes body) { return parse_ack(body); }
Result<MessageAck> parse_read_ack(Bytes body) { return parse_ack(body); }

size_t message_ack_bytes(const MessageAck& ack) {
  return kHeaderBytes + 5 + varint_bytes(ack.user_id) + varint_bytes(ack.session_id) +
         varint_bytes(ack.msg_id);  // four tags and a session type of one byte
}

void encode_message_ack(MutableBytes out, uint16_t sequence, const MessageAck& ack) {
  RT_ASSERT(out.size() == message_ack_bytes(ack));
  std::byte* to = write_header(out, CommandId::msg_data_ack, sequence);
  to            = write_field(to, 1, ack.user_id);
  to            = write_field(to, 2, ack.session_id);
  to            = write_field(to, 3, ack.msg_id);
  to            = write_field(to, 4, static_cast<uint32_t>(ack.session_type));
  RT_ASSERT(to == out.data() + out.size());
}

size_t message_data_bytes(const MessageDataView& message) {
  RT_ASSERT(message.data.size() <= kAnswerBytesMax);
  const auto data_bytes = static_cast<uint32_t>(message.data.size());
  return kHeaderBytes + 7 + varint_bytes(message.from_user_id) +
         varint_bytes(message.to_session_id) + varint_bytes(message.msg_id) +
         varint_bytes(message.create_time) + varint_bytes(data_bytes) + data_bytes;
}

void encode_message_data(MutableBytes out, const MessageDataView& message) {
  RT_ASSERT(out.size() == message_data_bytes(message));
  std::byte* to = write_header(out, CommandId::msg_data, 0);
  to            = write_field(to, 1, message.from_user_id);
  to            = write_field(to, 2, message.to_session_id);
  to            = write_field(to, 3, message.msg_id);
  to            = write_field(to, 4, message.create_time);
  to            = write_field(to, 5, static_cast<uint32_t>(message.type));
  *to++         = static_cast<std::byte>(bytes_tag(6));
  to            = write_varint(to, static_cast<uint32_t>(message.data.size()));
  if (!message.data.empty()) std::memcpy(to, message.data.data(), message.data.size());
  RT_ASSERT(to + message.data.size() == out.data() + out.size());
}

}  // namespace ringtalk::proto
