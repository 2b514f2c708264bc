#include "tools/loadgen/client.h"

#include <google/protobuf/message_lite.h>

#include "proto/encode.h"

namespace ringtalk::loadgen {

using proto::CommandId;

void Client::send(CommandId command, uint16_t sequence,
                  const google::protobuf::MessageLite& message) {
  const size_t bytes = proto::encoded_size(message);
  proto::encode_frame({reserve(static_cast<uint32_t>(bytes)), bytes}, command, sequence, message);
}

void Client::send_empty(CommandId command, uint16_t sequence) {
  proto::encode_empty_frame({reserve(proto::kHeaderBytes), proto::kHeaderBytes}, command, sequence);
}

void Client::send_ack(const proto::MessageAck& ack) {
  const size_t bytes = proto::message_ack_bytes(ack);
  proto::encode_message_ack({reserve(static_cast<uint32_t>(bytes)), bytes}, 0, ack);
}

// 0x0303 has the shape of 0x0302.
void Client::send_read(const proto::MessageAck& read) {
  const size_t bytes = proto::message_ack_bytes(read);
  std::byte* out     = reserve(static_cast<uint32_t>(bytes));
  proto::encode_message_ack({out, bytes}, 0, read);
  store_be16(out + 10, static_cast<uint16_t>(CommandId::msg_data_read_ack));
}

void Client::send_message(proto::MessageType type, uint16_t sequence, const Body& body,
                          uint32_t bytes) {
  std::byte text[kBodyBytesMax];
  encode_body({text, bytes}, body);
  const proto::MessageDataView view{.from_user_id  = body.sender,
                                    .to_session_id = body.receiver,
                                    .type          = type,
                                    .data          = {text, bytes}};
  const size_t size = proto::message_data_bytes(view);
  std::byte frame[kBodyBytesMax + 128];
  const bool small = size <= engine::SendQueue::kCopyBytesMax;
  std::byte* out   = small ? reserve(static_cast<uint32_t>(size)) : frame;
  RT_ASSERT(small || size <= sizeof frame);
  proto::encode_message_data({out, size}, view);
  store_be16(out + 12, sequence);  // the encoder writes pushes, which have none
  if (!small) push({out, size});
}

void Client::on_bytes(Bytes bytes) {
  if (!partial_.empty()) {
    partial_.insert(partial_.end(), bytes.begin(), bytes.end());
    bytes = partial_;
  }
  const bool gathered = !partial_.empty();
  while (is_open() && !bytes.empty()) {
    const proto::Split frame = proto::split_frame(bytes, proto::FrameLimits::from_server());
    if (frame.status == proto::Split::Status::need_more) break;
    if (frame.status != proto::Split::Status::frame) {
      listener_.on_bad_frame(*this);
      return abort();
    }
    listener_.on_frame(*this, frame);
    bytes = bytes.subspan(frame.whole.size());
  }
  if (gathered) {
    partial_.erase(partial_.begin(), partial_.end() - static_cast<ptrdiff_t>(bytes.size()));
    if (partial_.empty() && partial_.capacity() > 16 * kKiB) partial_.shrink_to_fit();
  } else {
    partial_.assign(bytes.begin(), bytes.end());
  }
  if (is_open()) listener_.on_received(*this);
}

}  // namespace ringtalk::loadgen
