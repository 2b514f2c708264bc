// FakeWorld, FakeRing, FakeClient: a kernel of our own, for tests and the simulator.
//
// Thread rule  One thread for a whole world. turn() never blocks: it does what is due by the clock.
// Model        A connection is two byte queues between a FakeClient and one or more slots; a ring that
//              dials is the client in the world's terms, but has the server's end here. What is
//              sent waits in a window of send_window bytes until the client reads, so a send comes
//              back short, or waits. Operations are taken over at the next turn(), worked on at
//              each turn() and delivered after all were collected, as io_uring does with deferred
//              task work.
// Errors       The kernel's: -ENOBUFS, -ENFILE and -EMFILE end a multishot operation, a success
//              without kMore does too; accepting into a full table closes the client; a reset gives
//              -ECONNRESET once, then -EPIPE (send) or 0 (receive).
// Invariants   Asserted, because callers break them silently on a real ring: nothing in flight on a
//              slot that is closed or passed; bytes in flight unchanged until they came home; a
//              buffer given back once (its bytes are then overwritten); one operation per
//              completion, but that cancels may share one (their results say nothing).
// Lifetime     World before its rings; clients any time. Destroying a ring is the death of its
//              process: connections close, what was in flight never completes.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/bell.h"
#include "engine/clock.h"
#include "engine/fake_disk.h"
#include "engine/random.h"
#include "engine/ring.h"

namespace ringtalk::engine {

enum class FakeOp : uint8_t {
  accept,
  connect,
  recv,
  send,
  shutdown,
  close,
  cancel,
  pass,
  read,
  write,
  sync  // what a write becomes before it completes
};
inline constexpr size_t kFakeOps = 11;

// Chances in 1,000, per event named. All zero: every operation does what it can at once.
struct FakeFaults {
  uint16_t short_count   = 0;  // a receive or send moves fewer bytes than it could
  uint16_t short_file    = 0;  // the same for file reads and writes
  uint16_t lose_more     = 0;  // a multishot result comes without kMore (completion queue overflow)
  uint16_t cancelled     = 0;  // a waiting receive or accept ends with -ECANCELED
  uint16_t reset         = 0;  // a connection that is worked on is reset by its peer
  uint16_t accept_emfile = 0;  // accept ends with -EMFILE, the client is closed
  uint16_t accept_enfile = 0;  // the same with -ENFILE
  uint16_t pass_enfile   = 0;  // pass finds the other table full
  uint16_t no_buffers    = 0;  // a receive finds no provided buffer
  uint16_t delay         = 0;  // a completion comes 1 to 8 turns later than it could
  bool reorder           = false;    // completions of different operations in any order
  uint64_t file_latency_ns_max = 0;  // file operations take up to this long
};

// --- a connection --------------------------------------------------------------------------------

struct FakeSocket {
  std::string to_server, to_client;
  uint64_t id          = 0;
  uint32_t window      = 0;
  uint32_t address     = 0;
  uint32_t references  = 0;      // slots that hold it
  bool client_finished = false;  // FIN of the client: reads give 0 after the data
  bool client_gone     = false;  // closed: what the server sends is answered by a reset
  bool broken          = false;  // reset by either side
  bool error_pending   = false;  // -ECONNRESET not yet reported
  bool server_finished = false;  // FIN of the server
  bool server_gone     = false;  // no slot holds it any more
  bool reset_by_server = false;
};

// The far end. A copy is the same connection.
class FakeClient {
 public:
  enum class End : uint8_t { open, finished, reset };

  FakeClient() = default;
  explicit FakeClient(std::shared_ptr<FakeSocket> socket) : socket_(std::move(socket)) {}

  void write(Bytes bytes);
  void write(std::string_view text) { write(as_bytes(text)); }
  // Takes what has arrived, at most bytes_max; this is what moves the send window.
  std::string read(size_t bytes_max = ~size_t{0});
  size_t readable() const { return socket_->to_client.size(); }
  void finish();  // half-close: still reads
  void close();
  void reset();
  // What read() meets once it has returned everything.
  End end() const;
  bool accepted() const { return socket_->references > 0; }
  explicit operator bool() const { return socket_ != nullptr; }

 private:
  std::shared_ptr<FakeSocket> socket_;
};

// --- the world -----------------------------------------------------------------------------------

class FakeRing;

class FakeWorld {
 public:
  explicit FakeWorld(Clock& clock, FakeDisk* disk = nullptr, uint64_t seed = 1)
      : clock_(clock), disk_(disk), random_(seed) {}

  int listen();
  void close_listener(int listener_fd);  // refuses further clients; closes those that wait
  FakeClient connect(int listener_fd, uint32_t address = 0x7f000001, uint32_t send_window = 65536);
  size_t waiting(int listener_fd) const;  // clients that no ring has accepted yet

  // Answers who dials this port; take_dialled() then gives the far ends, oldest first.
  void answer(uint16_t port) { answered_[port]; }
  // An empty client when nobody waits.
  FakeClient take_dialled(uint16_t port);

  // Any operation of any ring that could end now or later without outside help; for
  // run-until-quiet.
  bool busy() const;
  // The earliest time at which a delayed file operation ends; ~0: none waits.
  uint64_t next_due_ns() const;
  SeededRandom& random() { return random_; }

 private:
  friend class FakeRing;

  Clock& clock_;
  FakeDisk* const disk_;
  SeededRandom random_;
  std::map<int, std::deque<std::shared_ptr<FakeSocket>>> listeners_;
  std::map<uint16_t, std::deque<std::shared_ptr<FakeSocket>>> answered_;  // by port
  std::map<int, FakeRing*> rings_;                                        // by bell_fd
  int next_fd_          = 5'000;
  uint64_t next_socket_ = 1;
};

// --- the ring ------------------------------------------------------------------------------------

class FakeRing final : public Ring {
 public:
  struct Options {
    uint32_t slots        = 1024;
    uint32_t buffers      = 256;
    uint32_t buffer_bytes = 4096;
    FakeFaults faults;
  };

  FakeRing(FakeWorld& world, const Options& options);
  explicit FakeRing(FakeWorld& world) : FakeRing(world, Options()) {}
  ~FakeRing() override;

  // --- Ring --------------------------------------------------------------------------------------
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
  uint32_t peer_address(Slot slot) override;
  MutableBytes buffer(uint16_t id) override;
  void give_back(uint16_t id) override;
  uint32_t buffers_lent() const override { return lent_; }
  void read(int fd, MutableBytes into, uint64_t offset, Completion& done) override;
  void write_sync(int fd, Bytes bytes, uint64_t offset, Completion& done) override;
  void ring_bell(int target_bell_fd) override;
  int bell_fd() const override { return bell_fd_; }
  uint32_t turn(uint64_t wait_ns) override;
  uint32_t queued() const override { return static_cast<uint32_t>(queued_.size()); }

  // --- the test's side ---------------------------------------------------------------------------
  FakeFaults& faults() { return faults_; }
  // Completions of this kind are kept back, though their effects happen, until release().
  void hold(FakeOp op) { held_[static_cast<size_t>(op)] = true; }
  void release(FakeOp op) { held_[static_cast<size_t>(op)] = false; }
  size_t withheld() const;  // ready completions that a hold keeps back
  // turn() would run something now.
  bool ready() const;
  // Operations that have not come home, queued and withheld ones included.
  size_t in_flight() const { return out_.size(); }
  uint32_t slots_used() const;
  // Times somebody rang this ring's bell; taking them is what a waiting turn() does.
  uint64_t bells() const { return bells_; }
  // For workers and other producers without a ring.
  Bell& bell() { return producer_bell_; }
  uint64_t count(FakeOp op) const { return counts_[static_cast<size_t>(op)]; }  // submitted so far

 private:
  friend class FakeWorld;

  struct Operation {
    FakeOp op;
    bool multishot    = false;
    Completion* done  = nullptr;
    Slot slot         = kNoSlot;
    int fd            = -1;
    uint64_t offset   = 0;
    uint64_t due_ns   = 0;
    uint64_t checksum = 0;
    bool fresh        = true;  // not yet worked on
    MutableBytes into{};
    std::vector<iovec> parts{};          // bytes to send or write
    const iovec* parts_given = nullptr;  // sendv(): copied at submission
    size_t parts_count       = 0;
    Completion* other        = nullptr;  // cancel: the target
    int32_t written          = 0;        // sync: by the write before it
    bool over                = false;
  };

  struct Ready {
    FakeOp op;
    Completion* done;
    int32_t result;
    uint32_t flags;
    Slot slot;
    uint64_t turn;  // not before
    std::vector<iovec> parts;
    uint64_t checksum;
  };

  class ProducerBell final : public Bell {
   public:
    explicit ProducerBell(FakeRing& ring) : ring_(ring) {}

   private:
    void wake() override { ++ring_.bells_; }
    FakeRing& ring_;
  };

  Operation& queue(FakeOp op, Completion& done);
  void submit();
  void begin(Operation operation);
  void work(Operation& operation);
  void work_accept(Operation& operation);
  void work_recv(Operation& operation);
  void work_send(Operation& operation);
  void work_file(Operation& operation);
  int32_t cancel_now(const Completion& target);
  int32_t connect_now(const Operation& operation);
  int32_t pass_now(Slot slot, int target_bell_fd);
  void deliver(Operation& operation, int32_t result, uint32_t flags = 0);
  bool can_progress(const Operation& operation) const;
  uint64_t file_due_ns();
  std::vector<Ready> collect();
  uint32_t run(std::vector<Ready> batch);

  bool chance(uint16_t per_mille) {
    return per_mille > 0 && world_.random_.below(1000) < per_mille;
  }
  uint64_t shortened(uint64_t count, uint16_t per_mille);
  std::shared_ptr<FakeSocket>& socket(Slot slot);
  Slot free_slot() const;
  void let_go(Slot slot);
  static uint64_t checksum(std::span<const iovec> parts);

  FakeWorld& world_;
  const Options options_;
  const int bell_fd_;
  FakeFaults faults_;
  std::vector<std::shared_ptr<FakeSocket>> slots_;
  std::vector<uint32_t> addresses_;
  std::vector<std::byte> memory_;
  std::deque<uint16_t> buffers_free_;
  std::vector<bool> buffers_out_;
  uint32_t lent_ = 0;

  std::deque<Operation> queued_;
  std::deque<Operation> flying_;          // taken over, not ended
  std::vector<Ready> ready_;              // results not delivered, oldest first
  std::multiset<const Completion*> out_;  // operations that have not come home
  std::vector<uint32_t> slots_out_;       // how many of them per slot
  std::array<bool, kFakeOps> held_{};
  std::array<uint64_t, kFakeOps> counts_{};
  uint64_t turns_ = 0;
  uint64_t bells_ = 0;
  bool turning_   = false;
  ProducerBell producer_bell_{*this};
};

}  // namespace ringtalk::engine
