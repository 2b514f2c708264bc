// TcpGateway: one shard's door for TeamTalk clients: listener, connections, hand-over, farewell.
//
// Bound        Connections: the ring's slots. Below 5 % free, accepting pauses (the backlog waits).
//              Strangers per source address and connects per second of one are limited; loopback is
//              exempt. Shards count apart, so each has an equal share of both limits.
// Thread rule  The shard's thread.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "engine/listener.h"
#include "gateway/address_limits.h"
#include "gateway/tcp_connection.h"
#include "shard/shard.h"

namespace ringtalk::gateway {

class TcpGateway final : public engine::Listener::Owner {
 public:
  struct Setup {
    engine::Loop& loop;
    shard::Shard& shard;
    const shard::Limits& limits;
    uint32_t slots;             // of this shard's ring
    std::vector<int> bell_fds;  // of all shards
  };

  TcpGateway(const Setup& setup, int listener_fd);
  ~TcpGateway() override;

  // --- for the shard's gateway
  shard::Session& adopt(engine::Slot slot, uint32_t address);
  void on_turn();
  bool work_waits() const { return !ready_.empty(); }
  void begin_drain();
  bool close_some(bool hurry);

  uint32_t connections() const { return connections_; }

  // --- for connections
  engine::Loop& loop() { return setup_.loop; }
  engine::Metrics& metrics() { return setup_.loop.metrics(); }
  const shard::Limits& limits() const { return setup_.limits; }
  int bell_fd(uint32_t shard) const { return setup_.bell_fds[shard]; }
  uint64_t login_deadline_ns() const;
  shard::Taken take(TcpConnection& connection, const proto::Split& frame);
  void list_ready(shard::SessionKey key) { ready_.push_back(key); }
  void leaving(TcpConnection& connection) { setup_.shard.leaving(connection); }
  void passed(TcpConnection& connection, int32_t result);
  void known(TcpConnection& connection);   // no stranger any more
  void closed(TcpConnection& connection);  // deletes it

 private:
  static constexpr uint32_t kReadyPerTurn = 1024;
  static constexpr uint32_t kLooksPerTurn = 4096;
  static constexpr uint64_t kSilentNs     = kNsPerS;
  static constexpr uint32_t kClosesPerS   = 50'000;  // of all shards

  void on_connection(engine::Listener& door, engine::Slot slot, uint32_t address) override;
  void on_accept_failed(int error) override;
  TcpConnection& make(engine::Slot slot, uint32_t address);
  void balance_accepting();

  const Setup setup_;
  engine::Listener listener_;
  AddressLimits addresses_;
  std::deque<shard::SessionKey> ready_;
  uint32_t connections_      = 0;
  bool draining_             = false;
  uint64_t closing_since_ns_ = 0;
  uint64_t closed_           = 0;  // by the drain
  uint32_t closes_per_s_     = 0;  // 0: not closing yet
  uint32_t close_place_      = 0;  // in the session table, where the next round goes on
};

}  // namespace ringtalk::gateway
