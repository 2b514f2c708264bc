// Session: one client connection as the shard sees it: who it is, what it may do, where answers go.
//
// Shape        The gateway's connection derives from it and implements the sink; the shard never
//              knows whether bytes leave by TCP, TLS or WebSocket.
// States       accepted ─ login_request ▶ checking ─ accepted ▶ moving (to the home shard) ▶ open
//              open ─ another login of the class ▶ kicked ─ 5 s ▶ closed;  any ▶ leaving ▶ closed
// Thread rule  The shard's thread. Others name it by SessionKey, through events.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/bytes.h"
#include "engine/payload.h"
#include "proto/ids.h"
#include "shard/event.h"
#include "shard/pace.h"

namespace ringtalk::shard {

enum class SessionState : uint8_t { accepted, checking, moving, open, kicked, leaving };

// What happened to a frame that the connection offered.
enum class Taken : uint8_t {
  taken,
  waits,   // not now: keep it and everything behind it; wake() tells when to offer it again
  closes,  // the connection is being closed
};

class Session {
 public:
  virtual ~Session() = default;

  // --- sink. reserve(): room for one whole frame of at most SendQueue::kCopyBytesMax bytes.
  virtual std::byte* reserve(uint32_t bytes)          = 0;
  virtual void push(const engine::PayloadRef& frames) = 0;
  virtual uint32_t queued_bytes() const               = 0;
  virtual bool is_behind() const                      = 0;  // it does not take what it is sent
  virtual void wake()                                 = 0;  // offer waiting frames again, soon
  virtual void wake_at(uint64_t ns)                   = 0;
  virtual void finish()                               = 0;  // flush, then close
  virtual void abort()                                = 0;
  virtual bool can_move() const                       = 0;  // nothing queued or in flight
  virtual uint64_t received_ns() const { return 0; }        // its last byte
  virtual void move_to(uint32_t shard) = 0;                 // then Login::on_moved()
  virtual void kicked()                = 0;                 // closes after kKickLingerNs
  // Logged in on this shard: frames may come at full speed. `unread` was read before the move.
  virtual void opened(Bytes unread)        = 0;
  virtual engine::PayloadRef take_unread() = 0;  // for the move

  bool is_mobile() const { return (client_type & 0x10) != 0; }
  bool is_open() const { return state == SessionState::open; }

  SessionKey key;
  UserId user{};
  Pace requests;              // everything but sends and confirmations
  uint32_t address      = 0;  // peer, see Ring::peer_address()
  uint32_t since_s      = 0;  // wall clock, when it was opened
  uint32_t answer_bytes = 0;  // of the queue: answers to its own requests, which push limits spare
  uint32_t sends_head   = ~0u;  // its sends in flight, a list in Messages, oldest first
  uint32_t sends_tail   = ~0u;
  uint16_t sends_count  = 0;
  uint8_t client_type   = 0;
  uint8_t unparsable    = 0;
  SessionState state    = SessionState::accepted;
  bool busy             = false;  // an answer is being prepared; what follows waits
  bool waits_for_send   = false;  // wake when one of its sends is decided
  bool waits_for_store  = false;  // listed in Context::unstored
  bool said_hello       = false;  // it understands frames of the extension services
  Session* next_of_user = nullptr;
};

}  // namespace ringtalk::shard
