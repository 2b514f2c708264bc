// Client: one connection of one virtual user: frames in and out; what they mean is the worker's.
//
// Thread rule  Its worker's thread.
// Lifetime     Made when the ring has connected; its listener frees it in on_gone().
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/stream.h"
#include "proto/frame.h"
#include "proto/message_view.h"
#include "tools/loadgen/body.h"

namespace google::protobuf {
class MessageLite;
}

namespace ringtalk::loadgen {

class Client final : public engine::Stream {
 public:
  class Listener {
   public:
    virtual ~Listener()                                              = default;
    virtual void on_frame(Client& client, const proto::Split& frame) = 0;
    virtual void on_bad_frame(Client& client)                        = 0;
    virtual void on_received(Client& client) = 0;  // a receive is worked off
    virtual void on_gone(Client& client)     = 0;  // frees it
  };

  Client(engine::Loop& loop, engine::Slot slot, Listener& listener, uint32_t person)
      : Stream(loop, slot), listener_(listener), person_(person) {}

  uint32_t person() const { return person_; }

  void send(proto::CommandId command, uint16_t sequence,
            const google::protobuf::MessageLite& message);
  void send_empty(proto::CommandId command, uint16_t sequence);
  void send_ack(const proto::MessageAck& ack);
  void send_read(const proto::MessageAck& read);
  void send_message(proto::MessageType type, uint16_t sequence, const Body& body, uint32_t bytes);

 private:
  void on_bytes(Bytes bytes) override;
  void on_eof() override { abort(); }
  void on_closed() override { listener_.on_gone(*this); }

  Listener& listener_;
  const uint32_t person_;
  std::vector<std::byte> partial_;  // head of a frame whose rest has not come
};

}  // namespace ringtalk::loadgen
