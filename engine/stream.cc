#include "engine/stream.h"

#include <algorithm>
#include <cerrno>

#include "engine/seeded_bug.h"

namespace ringtalk::engine {

Stream::~Stream() {
  RT_ASSERT(state_ == State::closed);
  RT_ASSERT(!receiving_);
  if (dirty_) loop_.forget(*this);
}

// --- receive ---------------------------------------------------------------------------------------

void Stream::receive(bool multishot) {
  multishot_    = multishot;
  want_receive_ = true;
  if (!receiving_ && !eof_ && state_ == State::open) arm_receive();
}

void Stream::arm_receive() {
  receiving_ = true;
  if (multishot_) {
    loop_.ring().recv_multishot(slot_, recv_);
  } else {
    loop_.ring().recv(slot_, recv_);
  }
}

void Stream::pause() {
  if (!want_receive_) return;
  want_receive_ = false;
  if (receiving_ && multishot_) loop_.ring().cancel(recv_, loop_.ignored());
}

void Stream::on_recv(int32_t result, uint32_t flags) noexcept {
  if (!(flags & kMore)) receiving_ = false;
  if (flags & kHasBuffer) {
    const uint16_t id = buffer_id(flags);
    if (result > 0 && state_ == State::open)
      on_bytes(loop_.ring().buffer(id).first(static_cast<size_t>(result)));
    loop_.ring().give_back(id);
  }
  if (state_ == State::closing) return close_if_idle();
  if (result == 0) {  // end of their half
    eof_ = true;
    if (state_ == State::lingering) return abort();
    if (state_ == State::open) on_eof();
    return;
  }
  if (!receiving_ && multishot_ && want_receive_)
    loop_.metrics().add(result == -ENOBUFS ? Counter::recv_rearmed_enobufs
                                           : Counter::recv_rearmed_other);
  // Not errors: a pause, no free buffer (they come back within this turn).
  if (result < 0 && result != -ECANCELED && result != -ENOBUFS) return abort();
  if (RT_SEEDED_BUG("receive_not_rearmed") && result == -ENOBUFS) return;
  const bool reads = state_ == State::open || state_ == State::lingering;
  if (!receiving_ && !eof_ && want_receive_ && reads) arm_receive();
}

// --- send --------------------------------------------------------------------------------------------

void Stream::became_dirty() {
  if (queue_.empty()) progress_ns_ = loop_.now_ns();  // a further push is no progress
  if (dirty_) return;
  dirty_ = true;
  loop_.flush_later(*this);
}

std::byte* Stream::reserve(uint32_t bytes) {
  became_dirty();
  return queue_.reserve(bytes, loop_.blocks());
}

void Stream::push(Bytes bytes) {
  became_dirty();
  queue_.push(bytes, loop_.blocks());
}

void Stream::push(const PayloadRef& payload) {
  became_dirty();
  queue_.push(payload, loop_.blocks());
}

void Stream::flush() {
  dirty_        = false;
  behind_bytes_ = queue_.bytes();
  if (state_ != State::open && state_ != State::finishing) return;
  if (queue_.in_flight() > 0) return;  // on_send() comes back here
  if (queue_.empty()) {
    if (state_ == State::finishing) half_close();
    return;
  }
  const auto parts = queue_.gather(loop_.iovecs());
  if (parts.size() == 1) {
    loop_.ring().send(slot_, {static_cast<const std::byte*>(parts[0].iov_base), parts[0].iov_len},
                      send_);
  } else {
    loop_.ring().sendv(slot_, parts, send_);
  }
}

void Stream::on_send(int32_t result, uint32_t) noexcept {
  Metrics& metrics = loop_.metrics();
  metrics.add(Counter::sends);
  if (result > 0) {
    progress_ns_ = loop_.now_ns();
    metrics.add(Counter::bytes_out, static_cast<uint64_t>(result));
    if (static_cast<uint32_t>(result) < queue_.in_flight()) metrics.add(Counter::sends_short);
  }
  behind_bytes_ -= std::min(behind_bytes_, result > 0 ? static_cast<uint32_t>(result) : 0);
  queue_.consume(result > 0 ? static_cast<uint32_t>(result) : 0, loop_.blocks());
  if (state_ == State::closing) return close_if_idle();
  if (result < 0 && result != -EAGAIN && result != -EINTR) return abort();
  if (!dirty_ && (!queue_.empty() || state_ == State::finishing)) {
    dirty_ = true;
    loop_.flush_later(*this);
  }
  if (state_ == State::open) on_drained();
}

// --- close ---------------------------------------------------------------------------------------------

void Stream::finish() {
  if (state_ != State::open) return;
  state_ = State::finishing;
  if (!dirty_) {
    dirty_ = true;
    loop_.flush_later(*this);
  }
}

void Stream::half_close() {
  if (phase_ != Phase::none) return;
  phase_ = Phase::shutdown;
  loop_.ring().shutdown(slot_, misc_);
}

void Stream::abort() {
  if (state_ == State::closing || state_ == State::closed) return;
  state_ = State::closing;
  close_if_idle();
}

void Stream::close_if_idle() {
  if (phase_ != Phase::none) return;  // on_misc() comes back here
  if (receiving_ || queue_.in_flight() > 0) {
    if (cancelled_) return;
    cancelled_ = true;
    if (receiving_) loop_.ring().cancel(recv_, loop_.ignored());
    if (queue_.in_flight() > 0) loop_.ring().cancel(send_, loop_.ignored());
    return;
  }
  phase_ = Phase::close;
  loop_.ring().close(slot_, misc_);
}

void Stream::pass(int target_bell_fd) {
  RT_ASSERT(can_pass());
  phase_ = Phase::pass;
  loop_.ring().pass(slot_, target_bell_fd, misc_);
}

void Stream::on_misc(int32_t result, uint32_t) noexcept {
  const Phase phase = phase_;
  phase_            = Phase::none;
  switch (phase) {
    case Phase::pass:
      if (state_ == State::closing) close_if_idle();
      return on_passed(result);
    case Phase::shutdown:
      if (state_ == State::closing) return close_if_idle();
      if (result < 0 || eof_) return abort();  // nobody left to wait for
      state_        = State::lingering;
      want_receive_ = true;
      if (!receiving_) arm_receive();
      return;
    case Phase::close:
      queue_.clear(loop_.blocks());
      state_ = State::closed;
      return on_closed();
    case Phase::none: RT_ASSERT(false);
  }
}

}  // namespace ringtalk::engine
