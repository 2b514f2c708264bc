// UringRing: the real Ring, one io_uring with direct descriptors and one group of provided buffers.
//
// Thread rule  Made, used and destroyed on one thread (SINGLE_ISSUER, DEFER_TASKRUN).
// Bound        config.slots direct descriptors (RLIMIT_NOFILE bounds each table, not their number),
//              config.buffers receive buffers, config.cq_entries completions before the kernel
//              overflows (nothing is lost then, but multishot operations end).
// Errors       make() names what the kernel lacks or forbids: Errc::unsupported, or os EPERM/ENOSYS.
// Why          accept() is kept as a set of one-shot accepts with an address buffer each: a
//              multishot accept has room for one peer address only, and wrong passwords are counted
//              per source address.
#pragma once

#include <liburing.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/units.h"
#include "engine/bell.h"
#include "engine/ring.h"

namespace ringtalk::engine {

struct RingConfig {
  uint32_t sq_entries   = 1024;
  uint32_t cq_entries   = 8192;
  uint32_t slots        = 1024;
  uint32_t buffers      = 256;  // power of two
  uint32_t buffer_bytes = 4096;
};

class UringRing final : public Ring {
 public:
  static Result<std::unique_ptr<UringRing>> make(const RingConfig& config);
  ~UringRing() override;

  void accept(int listener_fd, Completion& done) override;
  void connect(const Dial& dial, Completion& done) override;
  void recv(Slot slot, Completion& done) override;
  void recv_multishot(Slot slot, Completion& done) override;
  void send(Slot slot, Bytes bytes, Completion& done) override;
  void sendv(Slot slot, std::span<const iovec> parts, Completion& done) override;
  void shutdown(Slot slot, Completion& done) override;
  void close(Slot slot, Completion& done) override;
  void cancel(Completion& target, Completion& done) override;
  void pass(Slot slot, int target_bell_fd, Completion& done) override;
  uint32_t peer_address(Slot slot) override { return addresses_[slot]; }

  MutableBytes buffer(uint16_t id) override;
  void give_back(uint16_t id) override;
  uint32_t buffers_lent() const override { return lent_; }

  void read(int fd, MutableBytes into, uint64_t offset, Completion& done) override;
  void write_sync(int fd, Bytes bytes, uint64_t offset, Completion& done) override;

  void ring_bell(int target_bell_fd) override;
  int bell_fd() const override { return ring_.ring_fd; }
  uint32_t turn(uint64_t wait_ns) override;
  uint32_t queued() const override { return io_uring_sq_ready(&ring_); }

  RingCounters counters() const override { return counters_; }

 private:
  static constexpr uint32_t kAcceptsArmed = 16;  // at most; see accepts_armed_
  static constexpr uint16_t kBufferGroup  = 0;
  // Completions run for so long in one turn; the rest waits for the next, behind the lanes, timers
  // and sends of this one.
  static constexpr uint64_t kRunNs    = kNsPerMs;
  static constexpr uint32_t kRunCheck = 16;  // completions between two looks at the clock

  // One of the one-shot accepts behind accept(), and all of them for one listener.
  struct AcceptSet;
  struct AcceptOp : Completion {
    AcceptSet* set = nullptr;
    sockaddr_storage address{};
    socklen_t address_bytes = 0;
    bool armed              = false;
  };
  struct AcceptSet {
    UringRing* ring  = nullptr;
    int listener_fd  = -1;
    Completion* done = nullptr;
    uint32_t armed   = 0;  // and the one whose connection is being told
    bool ending      = false;
    int32_t error    = 0;  // why it ends; reported when the last of the set is home
    std::array<AcceptOp, kAcceptsArmed> ops;
  };
  // One connect(): the socket is made and bound at once, connected by the ring, then moved into the
  // table of direct descriptors. OP_SOCKET and OP_BIND would save the moving, but no 6.1 has them.
  struct ConnectOp : Completion {
    enum class Phase : uint8_t { idle, failed, connecting, moving };
    UringRing* ring  = nullptr;
    Completion* done = nullptr;
    Phase phase      = Phase::idle;
    int fd           = -1;  // on the move: the kernel writes the slot here
    int original     = -1;
    int32_t error    = 0;
    sockaddr_in to{};
  };
  struct Ran {
    Completion* completion;
    int32_t result;
    uint32_t flags;
  };

  explicit UringRing(const RingConfig& config);
  Result<void> open();
  Result<void> open_buffers();
  io_uring_sqe* sqe(Completion& done);
  AcceptSet& accept_set(Completion& done);
  void arm_accept(AcceptOp& op);
  static void on_accept(Completion& op, int32_t result, uint32_t flags) noexcept;
  static void on_connect(Completion& op, int32_t result, uint32_t flags) noexcept;
  static int open_dialled(const Dial& dial);
  void move_connected(ConnectOp& op);
  void collect();
  uint32_t run_collected();

  const RingConfig config_;
  io_uring ring_{};
  bool open_                      = false;
  io_uring_buf_ring* buffer_ring_ = nullptr;
  std::byte* buffers_             = nullptr;
  uint32_t lent_                  = 0;
  std::deque<msghdr> headers_;  // of sendv(), until submitted
  std::vector<Ran> ran_;
  size_t ran_count_ = 0;             // of them, those that did run
  std::vector<uint32_t> addresses_;  // by slot

  // The kernel closes whom it accepts into a full table: no more accepts than there are places left
  // when an owner pauses, some hundredths before the end.
  const uint32_t accepts_armed_;
  std::vector<std::unique_ptr<AcceptSet>> accepts_;  // one per listener that ever accepted
  std::deque<ConnectOp> connects_;                   // as many as were ever under way at once
  std::vector<ConnectOp*> connects_idle_;
  RingCounters counters_;
  Completion ignored_{[](Completion&, int32_t, uint32_t) noexcept {}};
};

// The bell of a loop on a UringRing: a register call posts to the ring without one of one's own;
// kernels before 6.13 get an eventfd that the ring reads.
class UringBell final : public Bell {
 public:
  ~UringBell() override;
  // On the loop's thread, before anybody rings.
  void attach(UringRing& ring);

 protected:
  void wake() override;

 private:
  void arm_eventfd();
  void on_eventfd(int32_t result, uint32_t flags) noexcept;

  UringRing* ring_ = nullptr;
  int ring_fd_     = -1;
  int eventfd_     = -1;
  uint64_t value_  = 0;
  Op<UringBell, &UringBell::on_eventfd> read_{*this};
};

// IPv4 in host order; IPv6: 127.0.0.1 for ::1, the mapped address, or a hash of the /64.
uint32_t address_of(const sockaddr_storage& address);

}  // namespace ringtalk::engine
