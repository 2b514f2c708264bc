// What protobuf itself says about a hot body, compared with proto/message_view.h.
// Used by the unit test and by the fuzz target.
#pragma once

#include <string>

#include "engine/base/bytes.h"
#include "proto/encode.h"
#include "proto/message.pb.h"
#include "proto/message_view.h"
#include "proto/prescan.h"

namespace ringtalk::test {

template <class M>
bool parse_by_protobuf(M& message, Bytes body) {
  return message.ParsePartialFromArray(body.data(), static_cast<int>(body.size())) &&
         message.IsInitialized();
}

inline std::string frame_by_protobuf(proto::CommandId command, uint16_t sequence,
                                     const google::protobuf::MessageLite& message) {
  std::string frame(proto::encoded_size(message), '\0');
  proto::encode_frame(std::as_writable_bytes(std::span(frame)), command, sequence, message);
  return frame;
}

// Each returns what differs, or "" if view and protobuf agree on these bytes in every respect.
inline std::string compare_message_data(Bytes body) {
  IM::Message::IMMsgData truth;
  const bool accepted = parse_by_protobuf(truth, body);
  const auto view     = proto::parse_message_data(body);
  if (accepted != view.has_value()) return accepted ? "view refuses" : "view accepts";
  if (!accepted) return view.error().code == Errc::malformed ? "" : "error code";
  if (view->from_user_id != truth.from_user_id()) return "from_user_id";
  if (view->to_session_id != truth.to_session_id()) return "to_session_id";
  if (view->msg_id != truth.msg_id()) return "msg_id";
  if (view->create_time != truth.create_time()) return "create_time";
  if (static_cast<int>(view->type) != static_cast<int>(truth.msg_type())) return "msg_type";
  if (as_text(view->data) != truth.msg_data()) return "msg_data";
  if (view->client_msg_id.has_value() != truth.has_client_msg_id()) return "has client_msg_id";
  if (view->client_msg_id && as_text(*view->client_msg_id) != truth.client_msg_id()) {
    return "client_msg_id";
  }

  IM::Message::IMMsgData push;
  push.set_from_user_id(truth.from_user_id());
  push.set_to_session_id(truth.to_session_id());
  push.set_msg_id(truth.msg_id());
  push.set_create_time(truth.create_time());
  push.set_msg_type(truth.msg_type());
  push.set_msg_data(truth.msg_data());
  std::string frame(proto::message_data_bytes(*view), '\0');
  proto::encode_message_data(std::as_writable_bytes(std::span(frame)), *view);
  return frame == frame_by_protobuf(proto::CommandId::msg_data, 0, push) ? "" : "encoding";
}

template <class M>
std::string compare_ack(Bytes body, const Result<proto::MessageAck>& view) {
  M truth;
  const bool accepted = parse_by_protobuf(truth, body);
  if (accepted != view.has_value()) return accepted ? "view refuses" : "view accepts";
  if (!accepted) return view.error().code == Errc::malformed ? "" : "error code";
  if (view->user_id != truth.user_id()) return "user_id";
  if (view->session_id != truth.session_id()) return "session_id";
  if (view->msg_id != truth.msg_id()) return "msg_id";
  if (static_cast<int>(view->session_type) != static_cast<int>(truth.session_type())) {
    return "session_type";
  }

  IM::Message::IMMsgDataAck ack;
  ack.set_user_id(truth.user_id());
  ack.set_session_id(truth.session_id());
  ack.set_msg_id(truth.msg_id());
  ack.set_session_type(truth.session_type());
  std::string frame(proto::message_ack_bytes(*view), '\0');
  proto::encode_message_ack(std::as_writable_bytes(std::span(frame)), 0xff03, *view);
  return frame == frame_by_protobuf(proto::CommandId::msg_data_ack, 0xff03, ack) ? "" : "encoding";
}

// All three readers over the same bytes; and prescan may call only that malformed which protobuf
// refuses as well.
inline std::string compare_all(Bytes body) {
  if (auto what = compare_message_data(body); !what.empty()) return "0x0301: " + what;
  if (auto what = compare_ack<IM::Message::IMMsgDataAck>(body, proto::parse_message_ack(body));
      !what.empty()) {
    return "0x0302: " + what;
  }
  if (auto what = compare_ack<IM::Message::IMMsgDataReadAck>(body, proto::parse_read_ack(body));
      !what.empty()) {
    return "0x0303: " + what;
  }
  const auto shape = proto::prescan(body);
  IM::Message::IMClientTimeReq anything;  // no fields: everything is unknown to it
  const bool accepted = parse_by_protobuf(anything, body);
  if (shape && !accepted) return "prescan accepts";
  if (!shape && shape.error().code == Errc::malformed && accepted) return "prescan refuses";
  return "";
}

}  // namespace ringtalk::test
