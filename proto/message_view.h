// Message view: the three hot bodies read straight from the received bytes, and the two hot frames
// written straight into memory of the caller.
//
//   0x0301 IMMsgData    0x0302 IMMsgDataAck    0x0303 IMMsgDataReadAck
//
// Cost      No allocation; spans point into the body.
// Errors    Errc::malformed for exactly the bytes that protobuf 3.21 lite refuses: a required field
//           missing or with an unknown enum value, broken wire format. Of repeats the last wins.
// Lifetime  A view is good as long as the bytes it was read from.
// Why       sending is what a chat server does all day; protobuf would allocate three times per
//           message. Everything colder goes through the generated classes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "engine/base/bytes.h"
#include "engine/base/result.h"

namespace ringtalk::proto {

// IM.BaseDefine.MsgType and SessionType without the generated header.
enum class MessageType : uint8_t {
  single_text  = 0x01,
  single_audio = 0x02,
  group_text   = 0x11,
  group_audio  = 0x12,
};
enum class SessionType : uint8_t { single = 1, group = 2 };

constexpr bool is_group(MessageType type) { return (static_cast<uint8_t>(type) & 0x10) != 0; }
constexpr bool is_audio(MessageType type) { return (static_cast<uint8_t>(type) & 0x0f) == 2; }
constexpr SessionType session_type_of(MessageType type) {
  return is_group(type) ? SessionType::group : SessionType::single;
}

// 0x0301. attach_data (tag 20) is checked for its form and dropped.
struct MessageDataView {
  uint32_t from_user_id  = 0;  // from clients never believed
  uint32_t to_session_id = 0;
  uint32_t msg_id        = 0;
  uint32_t create_time   = 0;  // seconds
  MessageType type       = MessageType::single_text;
  Bytes data;
  std::optional<Bytes> client_msg_id;  // extension; length and UTF-8 are the caller's to judge
};

// 0x0302 and 0x0303 share one shape.
struct MessageAck {
  uint32_t user_id         = 0;
  uint32_t session_id      = 0;
  uint32_t msg_id          = 0;
  SessionType session_type = SessionType::single;

  friend bool operator==(const MessageAck&, const MessageAck&) = default;
};

Result<MessageDataView> parse_message_data(Bytes body);
Result<MessageAck> parse_message_ack(Bytes body);
Result<MessageAck> parse_read_ack(Bytes body);

// Whole frames, header included; out.size() is what the matching …_bytes() returned. The bytes
// equal protobuf's own serialisation.
size_t message_ack_bytes(const MessageAck& ack);
void encode_message_ack(MutableBytes out, uint16_t sequence, const MessageAck& ack);

// A push (sequence 0). client_msg_id is not relayed.
size_t message_data_bytes(const MessageDataView& message);
void encode_message_data(MutableBytes out, const MessageDataView& message);

}  // namespace ringtalk::proto
