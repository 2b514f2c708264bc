// Ring: everything a shard asks of the kernel, as one interface with a real and a fake form.
//
// Thread rule  All calls on the shard's own thread, but bell_fd(), which is constant.
// Contract     A call only queues; the kernel sees it at the next turn(). Completions run inside
//              turn(), after all of them were collected: no callback runs inside a submission. A turn
//              may leave some for the next one, so that none takes too long.
//              Memory handed in (bytes, iovecs) stays untouched by its owner until the completion
//              has run; for sendv() only the bytes, the iovec array itself until turn() returns.
// Endings      Every operation completes exactly once without kMore. Multishot ones may end at any
//              result: -ENOBUFS (no provided buffer), a success without kMore (completion queue
//              overflowed), -EMFILE/-ENFILE (accept with a full table), -ECANCELED. Who armed it
//              re-arms it, on the next turn at the earliest.
// Source       io_uring(7), io_uring_enter(2); descriptor passing: IORING_MSG_SEND_FD (6.0).
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "engine/base/bytes.h"
#include "engine/completion.h"

namespace ringtalk::engine {

// Completion flags, the kernel's values: a buffer id sits in the upper 16 bits.
inline constexpr uint32_t kHasBuffer = 1u << 0;
inline constexpr uint32_t kMore      = 1u << 1;
constexpr uint16_t buffer_id(uint32_t flags) { return static_cast<uint16_t>(flags >> 16); }

using Slot                    = uint32_t;  // direct descriptor: index into this ring's table
inline constexpr Slot kNoSlot = ~0u;

// Where a connection is opened from and to. IPv4, host order.
struct Dial {
  uint32_t from_address = 0;  // 0: the kernel chooses
  uint16_t from_port  = 0;  // 0: likewise; naming it is what goes beyond the range of such choices
  uint32_t to_address = 0;
  uint16_t to_port    = 0;
  uint32_t receive_bytes = 0;  // of the socket's receive buffer; 0: the kernel's own
};

// Since the ring was made.
struct RingCounters {
  uint64_t cq_overflows = 0;  // times the kernel had to hold completions back
  uint64_t bells_sent   = 0;
};

class Ring {
 public:
  virtual ~Ring() = default;

  // --- sockets ---------------------------------------------------------------------------------
  // Multishot accept; each result is the new connection's slot.
  virtual void accept(int listener_fd, Completion& done) = 0;
  // Opens a connection without Nagle's delay; result: its slot, -ENFILE when the table is full,
  // -EADDRINUSE for a taken source, or what the network says. Until then it holds an ordinary
  // descriptor, so who dials bounds how many are under way.
  virtual void connect(const Dial& dial, Completion& done) = 0;
  // One receive into a provided buffer (flags carry its id); result 0 = the peer closed.
  virtual void recv(Slot slot, Completion& done) = 0;
  // The same, armed until it ends.
  virtual void recv_multishot(Slot slot, Completion& done) = 0;
  // result: bytes sent, which may be fewer than given.
  virtual void send(Slot slot, Bytes bytes, Completion& done)                   = 0;
  virtual void sendv(Slot slot, std::span<const iovec> parts, Completion& done) = 0;
  // Half-close (SHUT_WR): what was sent before still arrives.
  virtual void shutdown(Slot slot, Completion& done) = 0;
  // Frees the slot. Nothing else may be in flight on it.
  virtual void close(Slot slot, Completion& done) = 0;
  // Asks for the end of `target` (which completes on its own). result: 0, or -ENOENT: already over.
  virtual void cancel(Completion& target, Completion& done) = 0;
  // Copies the descriptor into another ring's table: result = slot there, -ENFILE when it is full.
  // Nothing may be in flight on the slot; it stays open here until closed.
  virtual void pass(Slot slot, int target_bell_fd, Completion& done) = 0;
  // The peer's IPv4 address (host order) and port of a fresh connection; 0 when unknown.
  virtual uint32_t peer_address(Slot slot) = 0;

  // --- provided buffers ------------------------------------------------------------------------
  // Lends out buffer_count() buffers of buffer_bytes() each; who got one gives it back.
  virtual MutableBytes buffer(uint16_t id) = 0;
  virtual void give_back(uint16_t id)      = 0;
  virtual uint32_t buffers_lent() const    = 0;

  // --- files (ordinary descriptors) --------------------------------------------------------------
  virtual void read(int fd, MutableBytes into, uint64_t offset, Completion& done) = 0;
  // A write that is durable when it completes, as by fdatasync (RWF_DSYNC). result: bytes written, which
  // may be fewer than given and are then not to be trusted; negative: also when only the sync failed.
  virtual void write_sync(int fd, Bytes bytes, uint64_t offset, Completion& done) = 0;

  // --- turn --------------------------------------------------------------------------------------
  // Wakes the loop that waits on another ring (result is not reported).
  virtual void ring_bell(int target_bell_fd) = 0;
  // Names this ring to others: ring_bell() and pass() take it. Any thread.
  virtual int bell_fd() const = 0;
  // Submits what is queued; waits for a completion or a bell up to wait_ns (0: does not wait);
  // collects and runs completions. Returns how many ran (bells not counted).
  virtual uint32_t turn(uint64_t wait_ns) = 0;
  // Operations queued but not yet submitted; a loop that has some must not sleep first.
  virtual uint32_t queued() const = 0;
  virtual RingCounters counters() const { return {}; }
};

}  // namespace ringtalk::engine
