// Stream: one TCP connection on a shard: receive, coalesced send, orderly close, hand-over.
//
// Receive      First one-shot into a provided buffer, so that nothing is in flight while a login is
//              decided and the connection may move to another ring; then multishot. Either way an
//              idle connection owns no buffer. Every ending re-arms; pause() stops it.
// Send         One in flight, gathering all that is queued, submitted at the end of the turn.
// Close        finish(): flush, half-close, read on (discarding) until the peer closes, then close:
//              a close with unread input would send a reset that overtakes the last answer.
//              abort(): cancel what is in flight, close.
//              Either way on_closed() runs once, later, with nothing in flight: the owner may free it.
// Thread rule  The shard's thread.
// Errors       A failed receive or send aborts; the owner hears only on_closed().
#pragma once

#include <cstdint>

#include "engine/completion.h"
#include "engine/loop.h"
#include "engine/ring.h"
#include "engine/send_queue.h"

namespace ringtalk::engine {

class Stream {
 public:
  enum class State : uint8_t {
    open,
    finishing,  // flushing what is queued, executing nothing more
    lingering,  // our half is closed, waiting for theirs
    closing,    // cancelling, then closing the descriptor
    closed,
  };

  Stream(Loop& loop, Slot slot) : loop_(loop), slot_(slot) {}
  virtual ~Stream();
  Stream(const Stream&)            = delete;
  Stream& operator=(const Stream&) = delete;

  bool is_open() const { return state_ == State::open; }
  Slot slot() const { return slot_; }

  // --- receive
  void receive(bool multishot);  // starts, or resumes after pause()
  void pause();                  // bytes already delivered to this process may still arrive
  bool paused() const { return !want_receive_; }
  bool saw_eof() const { return eof_; }

  // --- send. Room for `bytes` (≤ SendQueue::kCopyBytesMax), to be filled before returning to the loop.
  std::byte* reserve(uint32_t bytes);
  void push(Bytes bytes);
  void push(const PayloadRef& payload);
  uint32_t queued_bytes() const { return queue_.bytes(); }
  // Something of an earlier turn has not left yet: the reader is behind.
  bool is_behind() const { return behind_bytes_ > 0; }
  // Since when nothing left although something waits; 0: not waiting.
  uint64_t stalled_since_ns() const { return queue_.empty() ? 0 : progress_ns_; }

  // --- close
  void finish();
  void abort();

  // --- hand-over: copies the descriptor to another ring; on_passed() follows. Nothing may be in
  // flight or queued. Afterwards the owner calls abort() to free this side.
  bool can_pass() const { return !receiving_ && queue_.empty() && phase_ == Phase::none; }
  void pass(int target_bell_fd);

  void flush();  // the loop's

 protected:
  Loop& loop() { return loop_; }
  virtual void on_bytes(Bytes bytes) = 0;  // valid during the call
  virtual void on_eof() { finish(); }      // the peer will send nothing more
  virtual void on_drained() {}             // a send completed; the queue may be empty now
  virtual void on_passed(int32_t /*slot there or -errno*/) {}
  virtual void on_closed() = 0;  // last call; may delete this

 private:
  enum class Phase : uint8_t { none, shutdown, pass, close };  // what misc_ is in flight for

  void arm_receive();
  void on_recv(int32_t result, uint32_t flags) noexcept;
  void on_send(int32_t result, uint32_t flags) noexcept;
  void on_misc(int32_t result, uint32_t flags) noexcept;
  void became_dirty();
  void half_close();
  void close_if_idle();

  Loop& loop_;
  Op<Stream, &Stream::on_recv> recv_{*this};
  Op<Stream, &Stream::on_send> send_{*this};
  Op<Stream, &Stream::on_misc> misc_{*this};
  SendQueue queue_;
  uint64_t progress_ns_  = 0;
  uint32_t behind_bytes_ = 0;  // queued when flush() last ran, and not sent since
  Slot slot_;
  State state_       = State::open;
  Phase phase_       = Phase::none;
  bool want_receive_ = false;
  bool multishot_    = false;
  bool receiving_    = false;  // recv_ is in flight
  bool eof_          = false;  // the peer's half is closed
  bool dirty_        = false;
  bool cancelled_    = false;  // closing: cancels were sent
};

}  // namespace ringtalk::engine
