// Listener: one door of one shard: a listening socket whose connections land in the shard's ring.
//
// Shape        Shards that share an address each have a socket of their own (SO_REUSEPORT); the kernel
//              spreads the connections by hash.
// Bound        pause() when slots run short: what knocks then waits in the backlog. A table that
//              fills up all the same ends the accept with -ENFILE; it is armed again after kRetryNs.
// Errors       open_listener() returns the errno of socket, bind or listen.
// Thread rule  The shard's thread; open_listener() anywhere.
#pragma once

#include <cstdint>

#include "engine/base/result.h"
#include "engine/config.h"
#include "engine/loop.h"

namespace ringtalk::engine {

struct Listening {
  int fd        = -1;
  uint16_t port = 0;  // the one the kernel chose for port 0
};

// Connections inherit the buffer sizes: they bound what a stranger or a stalled reader pins; 0 leaves
// the kernel's. shared: several sockets of this user may listen there (SO_REUSEPORT).
Result<Listening> open_listener(const Address& address, int send_buffer_bytes,
                                int receive_buffer_bytes, bool shared);

class Listener {
 public:
  static constexpr uint64_t kRetryNs = 100 * kNsPerMs;

  class Owner {
   public:
    virtual ~Owner() = default;
    // address: see Ring::peer_address().
    virtual void on_connection(Listener& door, Slot slot, uint32_t address) = 0;
    virtual void on_accept_failed(int) {}
  };

  // Takes `fd`.
  Listener(Loop& loop, Owner& owner, int fd) : loop_(loop), owner_(owner), fd_(fd) {}
  ~Listener();
  Listener(const Listener&)            = delete;
  Listener& operator=(const Listener&) = delete;

  void resume();
  void pause();
  // No more connections; the socket closes once nothing is in flight on it.
  void close();
  bool accepting() const { return armed_; }
  bool closed() const { return fd_ < 0; }

 private:
  void on_accept(int32_t result, uint32_t flags) noexcept;
  static void on_retry(Timer& timer) noexcept;
  void close_socket();

  struct Retry : Timer {
    Retry(Fire fire, Listener& l) : Timer(fire), listener(l) {}
    Listener& listener;
  };

  Loop& loop_;
  Owner& owner_;
  int fd_;
  bool armed_  = false;
  bool want_   = false;
  bool ending_ = false;
  Op<Listener, &Listener::on_accept> accept_{*this};
  Retry retry_{&on_retry, *this};
};

}  // namespace ringtalk::engine
