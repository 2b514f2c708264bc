// LimitServer: what the bare servers of this directory have in common, around one ring.
//
// Shape   One thread, one ring, direct descriptors, multishot receive from a buffer ring. Logins are
//         answered at once. All messages that arrive while a commit is in flight form the next batch: one
//         WRITE with RWF_DSYNC into a zero-filled file; then Program::on_durable() says what
//         leaves, and Program::start_sends() sends it, one send in flight per connection.
// Bound   kFrameBytesMax per frame, kBatchBytesMax per batch; the first closes the connection, the
//         second ends the program: a limit that stalls its clients would measure the stall.
// Why     A template, not virtual calls: what is measured is the kernel's part.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bench/flags.h"
#include "bench/limit/zero_file.h"

namespace ringtalk::bench {

inline constexpr uint32_t kHeaderBytes     = 16;
inline constexpr uint32_t kFrameBytesMax   = 257 * 1024;
inline constexpr uint32_t kReceiveBytes    = 4096;
inline constexpr uint32_t kReceiveBuffers  = 4096;  // a power of two: the ring masks its tail
inline constexpr uint32_t kSubmitEntries   = 4096;
inline constexpr uint32_t kCompleteEntries = 32768;
inline constexpr size_t kBatchBytesMax     = 64u << 20;
inline constexpr uint16_t kBufferGroup     = 0;

// Body: user 128, session 129, message 1 written in three bytes, single. A varint may be padded; the
// sizes are those of a site with some thousand users and conversations of some ten thousand messages.
inline constexpr uint8_t kAckFrame[] = {
    0,    0,    0,    28,   0,    1,    0,    0,    0,    3,    3,    2, 0, 0, 0, 0,  //
    0x08, 0x80, 0x01, 0x10, 0x81, 0x01, 0x18, 0x81, 0x80, 0x00, 0x20, 1};
static_assert(sizeof kAckFrame == 28);

// Body: server_time 1, result_code 0.
inline constexpr uint8_t kLoginFrame[] = {0, 0, 0, 20, 0, 1, 0,    0, 0,    1,
                                          1, 4, 0, 0,  0, 0, 0x08, 1, 0x10, 0};
static_assert(sizeof kLoginFrame == 20);

inline volatile sig_atomic_t stop_requested = 0;

struct Connection {
  uint32_t slot  = 0;
  bool open      = true;
  bool receiving = false;
  bool in_flight = false;  // a send, of rest
  bool dirty     = false;  // listed in dirty_
  std::span<const uint8_t> rest;
  std::vector<uint8_t> partial;  // head of a frame whose rest has not come
  std::vector<uint8_t> sending, pending;
};

struct Entry {
  uint32_t connection, offset, length;
};

struct Batch {
  std::vector<uint8_t> bytes;
  std::vector<Entry> entries;
};

template <class Program>
class LimitServer {
 public:
  LimitServer(const std::string& host, uint16_t port, int file, uint64_t file_bytes)
      : file_(file), file_bytes_(file_bytes) {
    setup_ring();
    setup_buffers();
    listen_on(host, port);
  }

  void announce() const {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    std::printf("{\"tcp\": %u, \"pid\": %d}\n", ntohs(address.sin_port), getpid());
    std::fflush(stdout);
  }

  void run() {
    arm_accept();
    while (!stop_requested) {
      int rc = io_uring_submit_and_wait(&ring_, 1);
      if (rc < 0 && rc != -EINTR && rc != -EBUSY && rc != -EAGAIN) die("io_uring_enter", -rc);
      reap();
      start_commit();
      program().start_sends();
    }
  }

 protected:
  enum class Kind : uint8_t { accept, receive, send, close, write };

  Program& program() { return static_cast<Program&>(*this); }

  uint8_t* answer(uint32_t index, const uint8_t* frame, size_t length, const uint8_t* sequence) {
    Connection& c = *connections_[index];
    if (!c.dirty) {
      c.dirty = true;
      dirty_.push_back(index);
    }
    size_t start = c.pending.size();
    c.pending.insert(c.pending.end(), frame, frame + length);
    std::memcpy(c.pending.data() + start + 12, sequence, 2);
    return c.pending.data() + start;
  }

  // bytes: stay where they are until Program::on_sent().
  void send(uint32_t index, std::span<const uint8_t> bytes) {
    connections_[index]->rest = bytes;
    send_rest(index);
  }

  // Nothing of earlier connections is on its way: their indexes may be used again.
  bool unused() const {
    return open_.entries.empty() && !committing_ && closing_ == 0 && dirty_.empty();
  }

  std::vector<std::unique_ptr<Connection>> connections_;  // in order of arrival
  std::vector<uint32_t> dirty_;                           // have something pending

 private:
  void setup_ring() {
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                   IORING_SETUP_SUBMIT_ALL;
    params.cq_entries = kCompleteEntries;
    int rc            = io_uring_queue_init_params(kSubmitEntries, &ring_, &params);
    if (rc < 0) die("io_uring_setup", -rc);
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    auto slots = static_cast<uint32_t>(std::min<rlim_t>(files.rlim_cur, 32768));
    rc         = io_uring_register_files_sparse(&ring_, slots);
    if (rc < 0) die("register files", -rc);
  }

  void setup_buffers() {
    size_t ring_bytes = kReceiveBuffers * sizeof(io_uring_buf);
    void* ring_memory =
        mmap(nullptr, ring_bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (ring_memory == MAP_FAILED) die("mmap", errno);
    buffer_ring_ = static_cast<io_uring_buf_ring*>(ring_memory);
    io_uring_buf_reg registration{};
    registration.ring_addr    = reinterpret_cast<uint64_t>(ring_memory);
    registration.ring_entries = kReceiveBuffers;
    registration.bgid         = kBufferGroup;
    int rc                    = io_uring_register_buf_ring(&ring_, &registration, 0);
    if (rc < 0) die("register buffer ring", -rc);
    io_uring_buf_ring_init(buffer_ring_);
    buffers_ = std::make_unique<uint8_t[]>(size_t{kReceiveBuffers} * kReceiveBytes);
    for (uint32_t i = 0; i < kReceiveBuffers; ++i) lend(static_cast<uint16_t>(i));
    return_buffers();
  }

  void listen_on(const std::string& host, uint16_t port) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on    = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // accepted sockets inherit it
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port   = htons(port);
    if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) die("--listen", EINVAL);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        listen(listener_, 4096) != 0) {
      die("listen", errno);
    }
  }

  io_uring_sqe* take_sqe(Kind kind, uint32_t index) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) {
      io_uring_submit(&ring_);
      sqe = io_uring_get_sqe(&ring_);
      if (sqe == nullptr) die("submission queue", EBUSY);
    }
    *sqe           = io_uring_sqe{};
    sqe->user_data = static_cast<uint64_t>(kind) << 32 | index;
    return sqe;
  }

  void arm_accept() {
    io_uring_sqe* sqe = take_sqe(Kind::accept, 0);
    uint64_t data     = sqe->user_data;
    io_uring_prep_multishot_accept_direct(sqe, listener_, nullptr, nullptr, 0);
    sqe->user_data = data;
  }

  void arm_receive(uint32_t index) {
    Connection& c     = *connections_[index];
    io_uring_sqe* sqe = take_sqe(Kind::receive, index);
    sqe->opcode       = IORING_OP_RECV;
    sqe->fd           = static_cast<int>(c.slot);
    sqe->flags        = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->ioprio       = IORING_RECV_MULTISHOT;
    sqe->buf_group    = kBufferGroup;
    c.receiving       = true;
  }

  void reap() {
    io_uring_cqe* cqe;
    unsigned head, count = 0;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      ++count;
      auto index = static_cast<uint32_t>(cqe->user_data);
      switch (static_cast<Kind>(cqe->user_data >> 32)) {
        case Kind::accept: on_accept(cqe->res, cqe->flags); break;
        case Kind::receive: on_receive(index, cqe->res, cqe->flags); break;
        case Kind::send: on_send(index, cqe->res); break;
        case Kind::close: on_close(); break;
        case Kind::write: on_write(cqe->res); break;
      }
    }
    io_uring_cq_advance(&ring_, count);
    return_buffers();
  }

  void on_accept(int32_t result, uint32_t flags) {
    if (result >= 0) {
      if (open_count_ == 0) program().on_first();
      ++open_count_;
      connections_.push_back(std::make_unique<Connection>());
      connections_.back()->slot = static_cast<uint32_t>(result);
      arm_receive(static_cast<uint32_t>(connections_.size() - 1));
    }
    if (flags & IORING_CQE_F_MORE) return;
    // A full table would fail again at once: wait for a slot.
    if (result == -ENFILE || result == -EMFILE)
      accept_waits_ = true;
    else
      arm_accept();
  }

  void on_receive(uint32_t index, int32_t result, uint32_t flags) {
    Connection& c = *connections_[index];
    if (result > 0) {
      auto buffer          = static_cast<uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
      const uint8_t* bytes = buffers_.get() + size_t{buffer} * kReceiveBytes;
      if (c.open && !take_bytes(index, bytes, static_cast<size_t>(result))) shut(index);
      lend(buffer);
    }
    if (flags & IORING_CQE_F_MORE) return;
    c.receiving = false;
    // Multishot ends silently: no buffer left, or a completion queue that was full once.
    if (c.open && (result > 0 || result == -ENOBUFS))
      arm_receive(index);
    else
      shut(index);
  }

  // False when a length is out of bounds.
  bool take_bytes(uint32_t index, const uint8_t* bytes, size_t size) {
    Connection& c = *connections_[index];
    if (!c.partial.empty()) {
      c.partial.insert(c.partial.end(), bytes, bytes + size);
      size_t used = take_frames(index, c.partial.data(), c.partial.size());
      if (used == SIZE_MAX) return false;
      c.partial.erase(c.partial.begin(), c.partial.begin() + static_cast<ptrdiff_t>(used));
      return true;
    }
    size_t used = take_frames(index, bytes, size);
    if (used == SIZE_MAX) return false;
    c.partial.assign(bytes + used, bytes + size);
    return true;
  }

  size_t take_frames(uint32_t index, const uint8_t* bytes, size_t size) {
    size_t used = 0;
    while (size - used >= kHeaderBytes) {
      const uint8_t* frame = bytes + used;
      uint32_t length =
          static_cast<uint32_t>(frame[0]) << 24 | frame[1] << 16 | frame[2] << 8 | frame[3];
      if (length < kHeaderBytes || length > kFrameBytesMax) return SIZE_MAX;
      if (size - used < length) break;
      uint32_t command = static_cast<uint32_t>(frame[10]) << 8 | frame[11];
      if (command == 0x0301)
        append(index, frame, length);
      else if (command == 0x0103)
        answer(index, kLoginFrame, sizeof kLoginFrame, frame + 12);
      used += length;
    }
    return used;
  }

  void append(uint32_t index, const uint8_t* frame, uint32_t length) {
    if (open_.bytes.size() + length > kBatchBytesMax) die("batch", E2BIG);
    open_.entries.push_back({index, static_cast<uint32_t>(open_.bytes.size()), length});
    open_.bytes.insert(open_.bytes.end(), frame, frame + length);
  }

  void start_commit() {
    if (committing_ || open_.entries.empty()) return;
    std::swap(open_, durable_);
    committing_ = true;
    if (file_offset_ + durable_.bytes.size() > file_bytes_) file_offset_ = 0;
    io_uring_sqe* sqe = take_sqe(Kind::write, 0);
    sqe->opcode       = IORING_OP_WRITE;
    sqe->fd           = file_;
    sqe->rw_flags     = RWF_DSYNC;
    sqe->addr         = reinterpret_cast<uint64_t>(durable_.bytes.data());
    sqe->len          = static_cast<uint32_t>(durable_.bytes.size());
    sqe->off          = file_offset_;
    file_offset_ += durable_.bytes.size();
  }

  void on_write(int32_t result) {
    if (result < 0) die("write", -result);
    if (static_cast<size_t>(result) != durable_.bytes.size()) die("short write", EIO);
    program().on_durable(durable_);
    durable_.bytes.clear();
    durable_.entries.clear();
    committing_ = false;
  }

  void send_rest(uint32_t index) {
    Connection& c     = *connections_[index];
    io_uring_sqe* sqe = take_sqe(Kind::send, index);
    sqe->opcode       = IORING_OP_SEND;
    sqe->fd           = static_cast<int>(c.slot);
    sqe->flags        = IOSQE_FIXED_FILE;
    sqe->addr         = reinterpret_cast<uint64_t>(c.rest.data());
    sqe->len          = static_cast<uint32_t>(c.rest.size());
    sqe->msg_flags    = MSG_NOSIGNAL;
    c.in_flight       = true;
  }

  void on_send(uint32_t index, int32_t result) {
    Connection& c = *connections_[index];
    c.in_flight   = false;
    if (result < 0 || !c.open) return shut(index);
    c.rest = c.rest.subspan(static_cast<size_t>(result));
    if (!c.rest.empty()) return send_rest(index);
    program().on_sent(index);
  }

  // Closes once nothing of the connection is in the kernel; callers come again with each ending.
  void shut(uint32_t index) {
    Connection& c = *connections_[index];
    if (c.open) {
      c.open = false;
      --open_count_;
      ++closing_;
      if (c.receiving) {
        io_uring_sqe* sqe = take_sqe(Kind::close, index);
        sqe->opcode       = IORING_OP_SHUTDOWN;
        sqe->fd           = static_cast<int>(c.slot);
        sqe->flags        = IOSQE_FIXED_FILE;
        sqe->len          = SHUT_RDWR;
      }
    }
    if (c.receiving || c.in_flight || closed(c)) return;
    io_uring_sqe* sqe = take_sqe(Kind::close, index);
    sqe->opcode       = IORING_OP_CLOSE;
    sqe->file_index   = c.slot + 1;
    c.slot            = kNoSlot;
    --closing_;
  }

  static bool closed(const Connection& c) { return c.slot == kNoSlot; }

  void on_close() {
    if (!accept_waits_) return;
    accept_waits_ = false;
    arm_accept();
  }

  void lend(uint16_t buffer) {
    io_uring_buf_ring_add(buffer_ring_, buffers_.get() + size_t{buffer} * kReceiveBytes,
                          kReceiveBytes, buffer, io_uring_buf_ring_mask(kReceiveBuffers), lent_++);
  }

  void return_buffers() {
    io_uring_buf_ring_advance(buffer_ring_, lent_);
    lent_ = 0;
  }

  static constexpr uint32_t kNoSlot = UINT32_MAX;

  io_uring ring_{};
  io_uring_buf_ring* buffer_ring_ = nullptr;
  std::unique_ptr<uint8_t[]> buffers_;
  int lent_ = 0;

  int listener_        = -1;
  bool accept_waits_   = false;
  uint32_t open_count_ = 0;
  uint32_t closing_    = 0;

  int file_;
  uint64_t file_bytes_;
  uint64_t file_offset_ = 0;
  Batch open_, durable_;
  bool committing_ = false;
};

inline void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) die("--cpu", errno);
}

template <class Program>
int run_limit(int argc, char** argv) {
  Flags flags(argc, argv,
              {{"--listen", "HOST:PORT (port 0 picks one; printed as JSON)"},
               {"--file", "PATH of the log file, created and zero-filled"},
               {"--file-mib", "MIB (256)"},
               {"--cpu", "N to pin the thread to"}});
  std::string host;
  uint16_t port = 0;
  if (!split_host_port(flags.text("--listen", "127.0.0.1:0"), host, port)) {
    flags.usage("--listen: not HOST:PORT");
  }
  if (!flags.has("--file")) flags.usage("--file is missing");
  uint64_t file_bytes = flags.number<uint64_t>("--file-mib", 256) << 20;
  if (file_bytes < kBatchBytesMax) flags.usage("--file-mib: at least 64");
  if (flags.has("--cpu")) pin_to(flags.number<int>("--cpu", 0));

  struct sigaction action{};
  action.sa_handler = [](int) { stop_requested = 1; };
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);

  std::string path = flags.text("--file");
  int file         = open_zero_filled(path, file_bytes, O_WRONLY);
  Program server(host, port, file, file_bytes);
  server.announce();
  server.run();
  unlink(path.c_str());
  return 0;
}

}  // namespace ringtalk::bench
