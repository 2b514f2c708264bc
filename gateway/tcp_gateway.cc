#include "gateway/tcp_gateway.h"

#include <algorithm>
#include <cerrno>

namespace ringtalk::gateway {

using engine::Counter;
using shard::SessionState;

TcpGateway::TcpGateway(const Setup& setup, int listener_fd)
    : setup_(setup),
      listener_(setup.loop, *this, listener_fd),
      addresses_(setup.limits.anonymous_per_address, setup.limits.connects_per_second) {
  metrics().set(engine::Gauge::connection_slots, setup.slots);
  listener_.resume();
}

TcpGateway::~TcpGateway() = default;

TcpConnection& TcpGateway::make(engine::Slot slot, uint32_t address) {
  auto* connection = new TcpConnection(*this, slot, address);  // jemalloc's slabs are the pool
  setup_.shard.add(*connection);
  ++connections_;
  metrics().set(engine::Gauge::connections, connections_);
  return *connection;
}

void TcpGateway::on_connection(engine::Listener&, engine::Slot slot, uint32_t address) {
  metrics().add(Counter::accepts);
  TcpConnection& connection = make(slot, address);
  addresses_.set(limits().anonymous_per_address, limits().connects_per_second);
  if (draining_ || !addresses_.admit(address, loop().now_ns())) {
    metrics().add(draining_ ? Counter::close_drain : Counter::close_limit);
    return connection.abort();
  }
  connection.anonymous_ = true;
  connection.start();
  balance_accepting();
}

shard::Session& TcpGateway::adopt(engine::Slot slot, uint32_t address) {
  TcpConnection& connection = make(slot, address);
  balance_accepting();
  return connection;
}

void TcpGateway::on_accept_failed(int error) {
  metrics().add(error == EMFILE   ? Counter::accept_emfile
                : error == ENFILE ? Counter::accept_enfile
                                  : Counter::accept_other);
}

void TcpGateway::balance_accepting() {
  if (draining_) return;
  const uint32_t free = setup_.slots - std::min(connections_, setup_.slots);
  if (free * 20 < setup_.slots) {
    if (!listener_.accepting()) return;
    metrics().add(Counter::accept_pauses);
    listener_.pause();
  } else if (!listener_.accepting() && free * 16 >= setup_.slots) {
    listener_.resume();
  }
}

uint64_t TcpGateway::login_deadline_ns() const {
  const uint32_t free    = setup_.slots - std::min(connections_, setup_.slots);
  const uint32_t seconds = setup_.limits.login_deadline_s;
  return (free * 10 < setup_.slots ? std::min(seconds, 10u) : seconds) * kNsPerS;
}

shard::Taken TcpGateway::take(TcpConnection& connection, const proto::Split& frame) {
  return setup_.shard.take(connection, frame);
}

void TcpGateway::passed(TcpConnection& connection, int32_t result) {
  setup_.shard.login().on_moved(connection, result);
}

void TcpGateway::known(TcpConnection& connection) {
  if (!connection.anonymous_) return;
  connection.anonymous_ = false;
  addresses_.forget(connection.address);
}

void TcpGateway::closed(TcpConnection& connection) {
  known(connection);
  setup_.shard.gone(connection);
  --connections_;
  metrics().set(engine::Gauge::connections, connections_);
  delete &connection;
  balance_accepting();
}

void TcpGateway::on_turn() {
  for (size_t n = std::min<size_t>(ready_.size(), kReadyPerTurn); n > 0; --n) {
    const shard::SessionKey key = ready_.front();
    ready_.pop_front();
    if (shard::Session* session = setup_.shard.context().sessions.find(key))
      static_cast<TcpConnection*>(session)->resume();
  }
}

// --- farewell ----------------------------------------------------------------------------------------------

void TcpGateway::begin_drain() {
  draining_ = true;
  listener_.close();
}

bool TcpGateway::close_some(bool hurry) {
  const uint64_t now = loop().now_ns();
  // Clients come back at once: not all in one moment, but within 10 s however many there are.
  if (closes_per_s_ == 0) {
    const auto shards = static_cast<uint32_t>(setup_.bell_fds.size());
    closes_per_s_     = std::max(kClosesPerS / shards, connections_ / 10) + 1;
    closing_since_ns_ = now;
  }
  auto& sessions = setup_.shard.context().sessions;
  if (hurry) sessions.each([](shard::Session& session) { session.abort(); });
  // By the time that passed: turns may be a tick apart. Each place is looked at once per round: looking
  // at all of them for a few took longer than closing those.
  const uint64_t due = (now - closing_since_ns_) / kNsPerMs * closes_per_s_ / 1000 + 1;
  for (uint32_t looks = 0; looks < kLooksPerTurn && closed_ < due; ++looks) {
    if (close_place_ >= sessions.places()) {
      close_place_ = 0;
      break;
    }
    shard::Session* session = sessions.at(close_place_++);
    if (!session || session->state == SessionState::leaving) continue;
    ++closed_;
    metrics().add(Counter::close_drain);
    // Nothing is under way to or from who was silent: no farewell to wait for. A half-close costs a
    // kernel thread's work, half of what it takes to send a million idle clients away.
    const bool silent =
        session->queued_bytes() == 0 && !session->busy && now > session->received_ns() + kSilentNs;
    if (silent) {
      session->abort();
    } else {
      session->finish();
    }
  }
  return connections_ == 0 && listener_.closed();
}

}  // namespace ringtalk::gateway
