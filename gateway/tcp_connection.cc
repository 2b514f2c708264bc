#include "gateway/tcp_connection.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "gateway/tcp_gateway.h"
#include "proto/frame.h"
#include "shard/limits.h"

namespace ringtalk::gateway {
namespace {

using engine::Counter;
using engine::PayloadRef;
using proto::Split;
using shard::SessionState;
using shard::Taken;

constexpr uint32_t kFramesPerTurn  = 64;
constexpr uint32_t kLoginBytesMax  = 16 * kKiB;
constexpr uint8_t kLoginFramesMax  = 8;
constexpr uint64_t kFrameNs        = 15 * kNsPerS;   // to finish a frame, and
constexpr uint64_t kFrameBytesPerS = 4 * kKiB;       // one second more for each of these
constexpr uint64_t kBehindNs       = 10 * kNsPerMs;  // nothing left for so long: the reader's doing
constexpr uint64_t kFarewellNs     = 2 * kNsPerS;    // for the peer to close after we did
constexpr uint32_t kUnreadRoomMin  = 256;
// While something waits, so much more is taken in before the kernel is told to keep it: stopping and
// starting a receive costs more than a message.
constexpr uint32_t kUnreadMax = 4 * kKiB;

}  // namespace

TcpConnection::TcpConnection(TcpGateway& gateway, engine::Slot slot, uint32_t peer_address)
    : Stream(gateway.loop(), slot),
      gateway_(gateway),
      alarm_([](engine::Timer& t) noexcept { static_cast<Alarm&>(t).connection.on_alarm(); },
             *this) {
  address      = peer_address;
  since_ns_    = loop().now_ns();
  received_ns_ = since_ns_;
}

TcpConnection::~TcpConnection() {
  loop().timers().cancel(alarm_);
  std::free(unread_);
}

void TcpConnection::start() {
  receive(/*multishot=*/false);
  arm_by(next_deadline());
}

// --- output ---------------------------------------------------------------------------------------------

std::byte* TcpConnection::reserve(uint32_t bytes) {
  if (Stream::queued_bytes() == 0)
    arm_by(loop().now_ns() + gateway_.limits().send_stall_s * kNsPerS);
  return Stream::reserve(bytes);
}

void TcpConnection::push(const PayloadRef& frames) {
  if (Stream::queued_bytes() == 0)
    arm_by(loop().now_ns() + gateway_.limits().send_stall_s * kNsPerS);
  Stream::push(frames);
}

// A reader that takes what it is given is not behind while this shard has not looked at its sends yet.
bool TcpConnection::is_behind() const {
  return Stream::is_behind() && gateway_.loop().now_ns() >= stalled_since_ns() + kBehindNs;
}

void TcpConnection::on_drained() {
  if (waiting_ && !busy && !waits_for_store && wake_ns_ == 0) wake();
}

// --- input ----------------------------------------------------------------------------------------------

void TcpConnection::on_bytes(Bytes bytes) {
  received_ns_ = loop().now_ns();
  gateway_.metrics().add(Counter::bytes_in, bytes.size());
  if (state == SessionState::leaving) return;
  if (state == SessionState::accepted && !within_login_limits(bytes.size()))
    return close_malformed();
  if (unread_bytes_ > 0 || waiting_) {
    keep(bytes);
    if (waiting_) {
      if (unread_bytes_ > kUnreadMax) pause();
      return;
    }
    consume_unread(process({unread_, unread_bytes_}));
  } else {
    const size_t taken = process(bytes);
    if (taken < bytes.size()) keep(bytes.subspan(taken));
  }
  after_processing();
}

// A stranger's bytes and frames are counted whatever they are.
bool TcpConnection::within_login_limits(size_t bytes) {
  if (login_bytes_ + bytes > kLoginBytesMax) return false;
  login_bytes_ = static_cast<uint16_t>(login_bytes_ + bytes);
  return true;
}

size_t TcpConnection::process(Bytes bytes) {
  size_t done = 0;
  for (uint32_t frames = 0; done < bytes.size(); ++frames) {
    if (frames == kFramesPerTurn) {
      waiting_ = true;
      wake();
      break;
    }
    if (Stream::queued_bytes() > shard::kAnswerQueueBytesMax) {  // answers are made as they drain
      waiting_ = true;
      break;
    }
    const auto limits = state == SessionState::accepted ? proto::FrameLimits::before_login()
                                                        : proto::FrameLimits::after_login();
    const Split split = proto::split_frame(bytes.subspan(done), limits);
    if (split.status == Split::Status::need_more) break;
    if (split.status != Split::Status::frame) {
      close_malformed();
      return bytes.size();
    }
    if (state == SessionState::accepted && ++login_frames_ > kLoginFramesMax) {
      close_malformed();
      return bytes.size();
    }
    const Taken taken = gateway_.take(*this, split);
    if (taken == Taken::closes) return bytes.size();
    if (taken == Taken::waits) {
      waiting_ = true;
      break;
    }
    done += split.whole.size();
  }
  return done;
}

void TcpConnection::after_processing() {
  const bool login = state == SessionState::checking || state == SessionState::moving;
  if (waiting_ || login) {
    waiting_       = true;
    unfinished_ns_ = 0;
    // Nothing may be in flight on a connection that is about to move to its home shard.
    if (state != SessionState::open || unread_bytes_ > kUnreadMax) pause();
    return;
  }
  // What is left is the beginning of a frame; its rest has to come in time.
  if (unread_bytes_ == 0) {
    unfinished_ns_ = 0;
  } else if (unfinished_ns_ == 0) {
    unfinished_ns_ = loop().now_ns();
    arm_by(unfinished_ns_ + kFrameNs);
  }
}

void TcpConnection::resume() {
  listed_ = false;
  if (!Stream::is_open() || state == SessionState::leaving) return;
  waiting_ = false;
  wake_ns_ = 0;
  if (unread_bytes_ > 0) consume_unread(process({unread_, unread_bytes_}));
  if (state == SessionState::leaving) return;
  after_processing();
  if (!waiting_) {
    if (saw_eof()) return finish_after_answers();
    receive(/*multishot=*/state != SessionState::accepted);
  }
}

void TcpConnection::keep(Bytes bytes) {
  const uint32_t wanted = unread_bytes_ + static_cast<uint32_t>(bytes.size());
  if (wanted > unread_room_) {
    unread_room_ = std::max({kUnreadRoomMin, unread_room_ * 2, wanted});
    unread_      = static_cast<std::byte*>(std::realloc(unread_, unread_room_));
    RT_ASSERT(unread_ != nullptr);
  }
  std::memcpy(unread_ + unread_bytes_, bytes.data(), bytes.size());
  unread_bytes_ = wanted;
}

void TcpConnection::consume_unread(size_t bytes) {
  unread_bytes_ -= static_cast<uint32_t>(bytes);
  if (unread_bytes_ > 0) {
    if (bytes > 0) std::memmove(unread_, unread_ + bytes, unread_bytes_);
    return;
  }
  std::free(unread_);
  unread_      = nullptr;
  unread_room_ = 0;
}

// The peer will send nothing more; what it asked is still answered.
void TcpConnection::on_eof() {
  gateway_.metrics().add(Counter::close_peer);
  if (waiting_) return;  // resume() ends it, or the alarm
  finish_after_answers();
}

void TcpConnection::finish_after_answers() {
  if (!busy && sends_count == 0) return finish();
  waiting_       = true;
  waits_for_send = true;  // each decided send wakes; so does the answer that makes it busy
}

void TcpConnection::close_malformed() {
  gateway_.metrics().add(Counter::close_malformed);
  abort();
}

// --- the shard's wishes --------------------------------------------------------------------------------------

void TcpConnection::wake() {
  if (listed_) return;
  listed_ = true;
  gateway_.list_ready(key);
}

void TcpConnection::wake_at(uint64_t ns) {
  wake_ns_ = ns;
  arm_by(ns);
}

void TcpConnection::finish() {
  if (state == SessionState::leaving) return;
  gateway_.leaving(*this);
  since_ns_ = loop().now_ns();
  arm_by(since_ns_ + kFarewellNs);
  Stream::finish();
}

void TcpConnection::abort() {
  gateway_.leaving(*this);
  Stream::abort();
}

PayloadRef TcpConnection::take_unread() {
  if (unread_bytes_ == 0) return {};
  PayloadRef bytes = PayloadRef::adopt(engine::Payload::copy({unread_, unread_bytes_}));
  consume_unread(unread_bytes_);
  return bytes;
}

void TcpConnection::move_to(uint32_t shard) {
  RT_ASSERT(can_pass());
  Stream::pass(gateway_.bell_fd(shard));
}

void TcpConnection::on_passed(int32_t result) { gateway_.passed(*this, result); }

void TcpConnection::opened(Bytes unread) {
  since_ns_    = loop().now_ns();
  received_ns_ = since_ns_;
  if (!unread.empty()) keep(unread);
  gateway_.known(*this);
  arm_by(next_deadline());
  waiting_ = true;
  wake();
}

void TcpConnection::kicked() {
  since_ns_ = loop().now_ns();
  waiting_  = true;  // look at what it sends at once: heartbeats and a logout are still answered
  busy      = false;
  wake();
  arm_by(since_ns_ + shard::kKickLingerNs);
}

void TcpConnection::on_closed() { gateway_.closed(*this); }

// --- time -----------------------------------------------------------------------------------------------------

void TcpConnection::arm_by(uint64_t ns) {
  if (ns >= alarm_ns_) return;
  alarm_ns_ = ns;
  loop().timers().arm(alarm_, ns);
}

// The earliest moment at which something may have to happen; what is due now happens here.
uint64_t TcpConnection::next_deadline() {
  const uint64_t now          = loop().now_ns();
  const shard::Limits& limits = gateway_.limits();
  uint64_t next               = UINT64_MAX;
  const auto passed           = [&](uint64_t ns) {
    if (ns > now) next = std::min(next, ns);
    return ns <= now;
  };
  const auto close_for = [&](Counter cause) {
    gateway_.metrics().add(cause);
    abort();
    return UINT64_MAX;
  };
  if (const uint64_t stalled = stalled_since_ns();
      stalled && passed(stalled + limits.send_stall_s * kNsPerS))
    return close_for(Counter::close_send_stall);
  switch (state) {
    case SessionState::accepted:
    case SessionState::checking:
    case SessionState::moving:
      if (passed(since_ns_ + gateway_.login_deadline_ns()))
        return close_for(Counter::close_login_deadline);
      break;
    case SessionState::open:
      if (waiting_) received_ns_ = now;  // it is we who do not read
      if (passed(received_ns_ + (is_mobile() ? limits.idle_mobile_s : limits.idle_pc_s) * kNsPerS))
        return close_for(Counter::close_idle);
      break;
    case SessionState::kicked:
      if (passed(since_ns_ + shard::kKickLingerNs)) {
        gateway_.metrics().add(Counter::close_kicked);
        finish();
        return now + kFarewellNs;
      }
      break;
    case SessionState::leaving:
      // A stalled flush is the stall limit's; here it is the peer that does not close its half.
      if (Stream::queued_bytes() == 0 && passed(since_ns_ + kFarewellNs)) {
        Stream::abort();
        return UINT64_MAX;
      }
      if (Stream::queued_bytes() > 0) next = std::min(next, now + kFarewellNs);
      return next;
  }
  if (unfinished_ns_ &&
      passed(unfinished_ns_ + kFrameNs + unread_bytes_ * kNsPerS / kFrameBytesPerS))
    return close_for(Counter::close_malformed);
  if (wake_ns_ && passed(wake_ns_)) {
    wake_ns_ = 0;
    wake();
  }
  return next;
}

void TcpConnection::on_alarm() noexcept {
  alarm_ns_           = UINT64_MAX;
  const uint64_t next = next_deadline();
  if (next != UINT64_MAX) arm_by(next);
}

}  // namespace ringtalk::gateway
