// TcpConnection: a stream of PDUs and the session behind it.
//
// Input     Bytes are cut into frames where they lie; only an unfinished frame, or what must wait, is
//           copied into `unread`. Nothing is allocated for a length before its bytes arrive.
// Bounds    A frame's limit by state and command; before login 8 frames and 16 KiB in all; 64 frames a
//           turn, so that ten thousand tiny ones in one segment share the shard with others. Behind
//           what waits up to kUnreadMax is taken in, and what multishot had already delivered; the rest
//           stays with the kernel.
// Times     One timer: login deadline, idle limit, stalled reader, unfinished frame, kick, farewell.
//           It is armed for the earliest and looks at all of them when it fires.
// Memory    sizeof is pinned below: an idle logged-in connection owns nothing else.
#pragma once

#include <memory>

#include "engine/stream.h"
#include "shard/session.h"

namespace ringtalk::gateway {

class TcpGateway;

class TcpConnection final : public engine::Stream, public shard::Session {
 public:
  TcpConnection(TcpGateway& gateway, engine::Slot slot, uint32_t peer_address);
  ~TcpConnection() override;

  // --- shard::Session
  std::byte* reserve(uint32_t bytes) override;
  void push(const engine::PayloadRef& frames) override;
  uint32_t queued_bytes() const override { return Stream::queued_bytes(); }
  bool is_behind() const override;
  void wake() override;
  void wake_at(uint64_t ns) override;
  void finish() override;
  void abort() override;
  bool can_move() const override { return can_pass(); }
  uint64_t received_ns() const override { return received_ns_; }
  void move_to(uint32_t shard) override;
  void kicked() override;
  void opened(Bytes unread) override;
  engine::PayloadRef take_unread() override;

  void start();   // accepted here: first receive, login deadline
  void resume();  // the gateway's answer to wake()

 private:
  friend class TcpGateway;

  struct Alarm : engine::Timer {
    Alarm(Fire fire, TcpConnection& c) : Timer(fire), connection(c) {}
    TcpConnection& connection;
  };

  void on_bytes(Bytes bytes) override;
  void on_eof() override;
  void on_drained() override;
  void on_passed(int32_t result) override;
  void on_closed() override;

  size_t process(Bytes bytes);
  void keep(Bytes bytes);
  void consume_unread(size_t bytes);
  void after_processing();
  bool within_login_limits(size_t bytes);
  void finish_after_answers();
  void close_malformed();
  void arm_by(uint64_t ns);
  void on_alarm() noexcept;
  uint64_t next_deadline();

  TcpGateway& gateway_;
  Alarm alarm_;
  uint64_t alarm_ns_      = UINT64_MAX;
  uint64_t since_ns_      = 0;  // of the present part of life: accepted, opened, kicked, leaving
  uint64_t received_ns_   = 0;  // last byte
  uint64_t unfinished_ns_ = 0;  // when the frame at the front of `unread` began; 0: none
  uint64_t wake_ns_       = 0;  // when the pace lets it go on; 0: not paced
  std::byte* unread_      = nullptr;
  uint32_t unread_bytes_  = 0;
  uint32_t unread_room_   = 0;
  uint16_t login_bytes_   = 0;  // before login
  uint8_t login_frames_   = 0;
  bool waiting_           = false;  // a frame must not be taken now
  bool listed_            = false;  // in the gateway's ready list
  bool anonymous_         = false;  // counted against its address
};
static_assert(sizeof(TcpConnection) <= 384, "idle connection: 1 KiB in all structures, goal 512 B");

}  // namespace ringtalk::gateway
