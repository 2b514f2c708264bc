#include "engine/uring.h"

#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <span>
#include <utility>

#include "engine/base/assert.h"
#include "engine/base/units.h"
#include "engine/clock.h"
#include "engine/seeded_bug.h"

namespace ringtalk::engine {
namespace {

// Newer than liburing 2.3's header.
constexpr uint64_t kMsgSendFd           = 1;        // IORING_MSG_SEND_FD
constexpr uint32_t kMsgRingCqeSkip      = 1u << 0;  // IORING_MSG_RING_CQE_SKIP
constexpr unsigned kRegisterSendMsgRing = 31;       // IORING_REGISTER_SEND_MSG_RING, 6.13
constexpr uint64_t kBellData            = 0;        // user_data of a bell: nobody's completion

uint64_t data_of(Completion& done) { return reinterpret_cast<uint64_t>(&done); }

// What is asked for is well-formed: the kernel does not know it.
Result<void> refused(int rc) {
  if (rc == -EINVAL) return fail(Errc::unsupported);
  return fail_os(-rc);
}

}  // namespace

uint32_t address_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET)
    return ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr);
  if (address.ss_family != AF_INET6) return 0;
  const in6_addr& six = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  if (IN6_IS_ADDR_LOOPBACK(&six)) return INADDR_LOOPBACK;
  if (IN6_IS_ADDR_V4MAPPED(&six)) return load_be32(&six.s6_addr[12]);
  // One subscriber holds a /64. In 240.0.0.0/4, where no IPv4 sender is: least of all in 127.0.0.0/8.
  return 0xf0000000u | static_cast<uint32_t>(XXH3_64bits(six.s6_addr, 8)) >> 4;
}

UringRing::UringRing(const RingConfig& config)
    : config_(config), accepts_armed_(std::clamp(config.slots / 64, 1u, kAcceptsArmed)) {}

Result<std::unique_ptr<UringRing>> UringRing::make(const RingConfig& config) {
  std::unique_ptr<UringRing> ring(new UringRing(config));
  if (auto opened = ring->open(); !opened) return std::unexpected(opened.error());
  return ring;
}

Result<void> UringRing::open() {
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_SUBMIT_ALL;
  params.cq_entries = config_.cq_entries;
  if (const int rc = io_uring_queue_init_params(config_.sq_entries, &ring_, &params); rc < 0)
    return refused(rc);
  open_ = true;
  if (const int rc = io_uring_register_files_sparse(&ring_, config_.slots); rc < 0)
    return refused(rc);
  addresses_.resize(config_.slots);
  ran_.reserve(config_.cq_entries);
  io_uring_register_ring_fd(
      &ring_);  // saves a descriptor look-up per enter; failure costs only that
  return open_buffers();
}

Result<void> UringRing::open_buffers() {
  RT_ASSERT(std::has_single_bit(config_.buffers));
  const size_t ring_bytes = config_.buffers * sizeof(io_uring_buf);
  const size_t data_bytes = size_t{config_.buffers} * config_.buffer_bytes;
  void* ring =
      mmap(nullptr, ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void* data =
      mmap(nullptr, data_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (ring == MAP_FAILED || data == MAP_FAILED) return fail_os(ENOMEM);
  buffer_ring_ = static_cast<io_uring_buf_ring*>(ring);
  buffers_     = static_cast<std::byte*>(data);
  io_uring_buf_reg reg{};
  reg.ring_addr    = reinterpret_cast<uint64_t>(ring);
  reg.ring_entries = config_.buffers;
  reg.bgid         = kBufferGroup;
  if (const int rc = io_uring_register_buf_ring(&ring_, &reg, 0); rc < 0) return refused(rc);
  io_uring_buf_ring_init(buffer_ring_);
  lent_ = config_.buffers;
  for (uint32_t id = 0; id < config_.buffers; ++id) give_back(static_cast<uint16_t>(id));
  return {};
}

UringRing::~UringRing() {
  if (open_) io_uring_queue_exit(&ring_);
  for (const ConnectOp& op : connects_)
    if (op.original >= 0) ::close(op.original);
  if (buffer_ring_) munmap(buffer_ring_, config_.buffers * sizeof(io_uring_buf));
  if (buffers_) munmap(buffers_, size_t{config_.buffers} * config_.buffer_bytes);
}

io_uring_sqe* UringRing::sqe(Completion& done) {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  while (!entry) {  // more was queued in one turn than the submission ring holds
    io_uring_submit(&ring_);
    entry = io_uring_get_sqe(&ring_);
  }
  entry->user_data = data_of(done);  // the prep helpers leave it alone
  return entry;
}

// --- sockets -------------------------------------------------------------------------------------

UringRing::AcceptSet& UringRing::accept_set(Completion& done) {
  for (auto& set : accepts_)
    if (set->done == &done || set->armed == 0) return *set;
  auto& set = *accepts_.emplace_back(std::make_unique<AcceptSet>());
  set.ring  = this;
  for (AcceptOp& op : set.ops) {
    op.run = &on_accept;
    op.set = &set;
  }
  return set;
}

void UringRing::accept(int listener_fd, Completion& done) {
  AcceptSet& set = accept_set(done);
  RT_ASSERT(set.armed == 0);
  set.listener_fd = listener_fd;
  set.done        = &done;
  set.ending      = false;
  set.error       = 0;
  for (AcceptOp& op : std::span(set.ops).first(accepts_armed_)) arm_accept(op);
}

void UringRing::arm_accept(AcceptOp& op) {
  op.address_bytes    = sizeof op.address;
  op.armed            = true;
  io_uring_sqe* entry = sqe(op);
  io_uring_prep_accept(entry, op.set->listener_fd, reinterpret_cast<sockaddr*>(&op.address),
                       &op.address_bytes, 0);
  entry->file_index = IORING_FILE_INDEX_ALLOC;
  ++op.set->armed;
}

void UringRing::on_accept(Completion& completion, int32_t result, uint32_t) noexcept {
  auto& op       = static_cast<AcceptOp&>(completion);
  AcceptSet& set = *op.set;
  op.armed       = false;
  const bool passing =
      result == -ECONNABORTED || result == -EINTR;  // that client's trouble, not ours
  if (result >= 0) set.ring->addresses_[result] = address_of(op.address);
  if (result < 0 && !passing && !set.ending) {
    // A full table closes whom it accepts: the others of the set must not each do that once more.
    set.ending = true;
    set.error  = result;
    for (AcceptOp& other : set.ops)
      if (other.armed) set.ring->cancel(other, set.ring->ignored_);
  }
  // The owner first: if that was the last place, it cancels, and nothing may be armed any more.
  if (result >= 0) set.done->run(*set.done, result, kMore);
  --set.armed;
  if (!set.ending) set.ring->arm_accept(op);
  if (set.armed == 0) set.done->run(*set.done, set.error, 0);
}

// A descriptor, or -errno.
int UringRing::open_dialled(const Dial& dial) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const int one = 1;
  sockaddr_in from{};
  from.sin_family      = AF_INET;
  from.sin_port        = htons(dial.from_port);
  from.sin_addr.s_addr = htonl(dial.from_address);
  bool good            = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0;
  if (dial.from_port != 0)  // a port whose last connection is in TIME_WAIT may be had
    good = good && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0;
  const int bytes = static_cast<int>(dial.receive_bytes);
  if (bytes > 0) good = good && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) == 0;
  if (dial.from_address != 0 || dial.from_port != 0)
    good = good && ::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) == 0;
  if (good) return fd;
  const int error = errno;
  ::close(fd);
  return -error;
}

void UringRing::connect(const Dial& dial, Completion& done) {
  if (connects_idle_.empty()) {
    ConnectOp& fresh = connects_.emplace_back();
    fresh.run        = &on_connect;
    fresh.ring       = this;
    connects_idle_.push_back(&fresh);
  }
  ConnectOp& op = *connects_idle_.back();
  connects_idle_.pop_back();
  op.done     = &done;
  op.original = op.fd = open_dialled(dial);
  if (op.fd < 0) {  // told at the next turn: no callback runs inside a submission
    op.phase            = ConnectOp::Phase::failed;
    op.error            = std::exchange(op.original, -1);
    io_uring_sqe* entry = sqe(op);
    io_uring_prep_nop(entry);
    return;
  }
  op.phase            = ConnectOp::Phase::connecting;
  op.to               = {};
  op.to.sin_family    = AF_INET;
  op.to.sin_port      = htons(dial.to_port);
  op.to.sin_addr      = {htonl(dial.to_address)};
  io_uring_sqe* entry = sqe(op);
  io_uring_prep_connect(entry, op.fd, reinterpret_cast<const sockaddr*>(&op.to), sizeof op.to);
}

void UringRing::move_connected(ConnectOp& op) {
  op.phase            = ConnectOp::Phase::moving;
  io_uring_sqe* entry = sqe(op);
  io_uring_prep_files_update(entry, &op.fd, 1, static_cast<int>(IORING_FILE_INDEX_ALLOC));
}

void UringRing::on_connect(Completion& completion, int32_t result, uint32_t) noexcept {
  auto& op        = static_cast<ConnectOp&>(completion);
  UringRing& ring = *op.ring;
  if (op.phase == ConnectOp::Phase::connecting && result == 0) return ring.move_connected(op);
  int32_t told = op.phase == ConnectOp::Phase::failed ? op.error : result;
  if (op.phase == ConnectOp::Phase::moving && result > 0) {
    told                   = op.fd;
    ring.addresses_[op.fd] = ntohl(op.to.sin_addr.s_addr);
  }
  if (op.original >= 0) ::close(std::exchange(op.original, -1));
  op.phase         = ConnectOp::Phase::idle;
  Completion& done = *op.done;
  ring.connects_idle_.push_back(&op);
  done.run(done, told, 0);
}

void UringRing::recv(Slot slot, Completion& done) {
  io_uring_sqe* entry = sqe(done);
  io_uring_prep_recv(entry, static_cast<int>(slot), nullptr, 0, 0);
  entry->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
  entry->buf_group = kBufferGroup;
}

void UringRing::recv_multishot(Slot slot, Completion& done) {
  recv(slot, done);
  io_uring_sqe* entry = &ring_.sq.sqes[(ring_.sq.sqe_tail - 1) & *ring_.sq.kring_mask];
  entry->ioprio |= IORING_RECV_MULTISHOT;
}

void UringRing::send(Slot slot, Bytes bytes, Completion& done) {
  io_uring_sqe* entry = sqe(done);
  io_uring_prep_send(entry, static_cast<int>(slot), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  entry->flags |= IOSQE_FIXED_FILE;
}

void UringRing::sendv(Slot slot, std::span<const iovec> parts, Completion& done) {
  msghdr& header      = headers_.emplace_back();
  header.msg_iov      = const_cast<iovec*>(parts.data());
  header.msg_iovlen   = parts.size();
  io_uring_sqe* entry = sqe(done);
  io_uring_prep_sendmsg(entry, static_cast<int>(slot), &header, MSG_NOSIGNAL);
  entry->flags |= IOSQE_FIXED_FILE;
}

void UringRing::shutdown(Slot slot, Completion& done) {
  io_uring_sqe* entry = sqe(done);
  io_uring_prep_shutdown(entry, static_cast<int>(slot), SHUT_WR);
  entry->flags |= IOSQE_FIXED_FILE;
}

void UringRing::close(Slot slot, Completion& done) {
  io_uring_sqe* entry = sqe(done);
  io_uring_prep_close_direct(entry, slot);
}

void UringRing::cancel(Completion& target, Completion& done) {
  for (auto& set : accepts_) {  // the completion of an accept stands for its whole set
    if (set->done != &target || set->armed == 0) continue;
    set->ending = true;
    if (set->error == 0) set->error = -ECANCELED;
    AcceptOp* last = nullptr;  // its cancellation answers for all
    for (AcceptOp& op : set->ops)
      if (op.armed) {
        if (last) cancel(*last, ignored_);
        last = &op;
      }
    if (!last) break;  // none waits: the last one is being told; `done` still gets its answer
    cancel(*last, done);
    return;
  }
  Completion* asked = &target;
  for (ConnectOp& op : connects_)  // the kernel knows a connect by ours
    if (op.phase != ConnectOp::Phase::idle && op.done == &target) asked = &op;
  io_uring_sqe* entry = sqe(done);
  io_uring_prep_cancel64(entry, data_of(*asked), 0);
}

void UringRing::pass(Slot slot, int target_bell_fd, Completion& done) {
  io_uring_sqe* entry = sqe(done);
  io_uring_prep_rw(IORING_OP_MSG_RING, entry, target_bell_fd, nullptr, 0, 0);
  entry->addr           = kMsgSendFd;
  entry->addr3          = slot;
  entry->file_index     = IORING_FILE_INDEX_ALLOC;
  entry->msg_ring_flags = kMsgRingCqeSkip;  // the mailbox tells the target, with all it needs
}

// --- provided buffers ------------------------------------------------------------------------------

MutableBytes UringRing::buffer(uint16_t id) {
  RT_ASSERT(id < config_.buffers);
  return {buffers_ + size_t{id} * config_.buffer_bytes, config_.buffer_bytes};
}

void UringRing::give_back(uint16_t id) {
  RT_ASSERT(lent_ > 0);
  --lent_;
  io_uring_buf_ring_add(buffer_ring_, buffer(id).data(), config_.buffer_bytes, id,
                        static_cast<int>(config_.buffers - 1), 0);
  io_uring_buf_ring_advance(buffer_ring_, 1);
}

// --- files -----------------------------------------------------------------------------------------

void UringRing::read(int fd, MutableBytes into, uint64_t offset, Completion& done) {
  io_uring_sqe* entry = sqe(done);
  io_uring_prep_read(entry, fd, into.data(), static_cast<unsigned>(into.size()), offset);
}

void UringRing::write_sync(int fd, Bytes bytes, uint64_t offset, Completion& done) {
  // One operation: a write linked to an fsync costs a second trip through the kernel's worker, and a
  // turn of this loop between the two.
  io_uring_sqe* entry = sqe(done);
  io_uring_prep_write(entry, fd, bytes.data(), static_cast<unsigned>(bytes.size()), offset);
  entry->rw_flags = RWF_DSYNC;
  if (RT_SEEDED_BUG("never_sync")) entry->rw_flags = 0;
  if (RT_SEEDED_BUG("ack_before_sync")) {  // synced now and then
    static Completion ignored{[](Completion&, int32_t, uint32_t) noexcept {}};
    static std::atomic<uint32_t> writes;
    entry->rw_flags = 0;
    if (++writes % 16 == 0) io_uring_prep_fsync(sqe(ignored), fd, IORING_FSYNC_DATASYNC);
  }
}

// --- turn --------------------------------------------------------------------------------------------

void UringRing::ring_bell(int target_bell_fd) {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  while (!entry) {
    io_uring_submit(&ring_);
    entry = io_uring_get_sqe(&ring_);
  }
  io_uring_prep_msg_ring(entry, target_bell_fd, 0, kBellData, 0);
  entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  entry->user_data = kBellData;
  ++counters_.bells_sent;
}

uint32_t UringRing::turn(uint64_t wait_ns) {
  const bool left_over = ran_count_ < ran_.size();
  if (left_over) {
    // The kernel keeps what comes until the rest has run: the completion queue cannot overflow meanwhile,
    // and bytes stay in their sockets.
    io_uring_submit(&ring_);
  } else if (wait_ns > 0) {
    __kernel_timespec wait{static_cast<long long>(wait_ns / kNsPerS),
                           static_cast<long long>(wait_ns % kNsPerS)};
    io_uring_cqe* first = nullptr;
    io_uring_submit_and_wait_timeout(&ring_, &first, 1, &wait, nullptr);
  } else {
    io_uring_submit_and_get_events(&ring_);
  }
  headers_.clear();
  if (!left_over) collect();
  return run_collected();
}

void UringRing::collect() {
  if (*ring_.sq.kflags & IORING_SQ_CQ_OVERFLOW) ++counters_.cq_overflows;
  ran_.clear();
  ran_count_        = 0;
  unsigned head     = 0;
  unsigned seen     = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    ++seen;
    if (cqe->flags & IORING_CQE_F_BUFFER) ++lent_;
    if (cqe->user_data != kBellData)
      ran_.push_back({reinterpret_cast<Completion*>(cqe->user_data), cqe->res, cqe->flags});
  }
  io_uring_cq_advance(&ring_, seen);
}

uint32_t UringRing::run_collected() {
  RealClock clock;  // of the kernel's own ring, so real time in every build
  const uint64_t until = clock.now_ns() + kRunNs;
  const size_t first   = ran_count_;
  while (ran_count_ < ran_.size()) {
    const Ran ran = ran_[ran_count_++];
    ran.completion->run(*ran.completion, ran.result, ran.flags);
    if ((ran_count_ - first) % kRunCheck == 0 && clock.now_ns() >= until) break;
  }
  return static_cast<uint32_t>(ran_count_ - first);
}

// --- bell ----------------------------------------------------------------------------------------------

UringBell::~UringBell() {
  if (eventfd_ >= 0) ::close(eventfd_);
}

void UringBell::attach(UringRing& ring) {
  ring_    = &ring;
  ring_fd_ = ring.bell_fd();
  // The probe rings this very ring; a kernel that does not know the operation says EINVAL.
  io_uring_sqe probe{};
  probe.opcode  = IORING_OP_MSG_RING;
  probe.fd      = ring_fd_;
  const long rc = syscall(__NR_io_uring_register, -1, kRegisterSendMsgRing, &probe, 1);
  if (rc == 0) return;
  eventfd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  RT_ASSERT(eventfd_ >= 0);
  arm_eventfd();
}

void UringBell::wake() {
  if (eventfd_ >= 0) {
    const uint64_t one                     = 1;
    [[maybe_unused]] const ssize_t written = write(eventfd_, &one, sizeof one);
    return;
  }
  io_uring_sqe message{};
  message.opcode = IORING_OP_MSG_RING;
  message.fd     = ring_fd_;
  message.off    = kBellData;
  syscall(__NR_io_uring_register, -1, kRegisterSendMsgRing, &message, 1);
}

void UringBell::arm_eventfd() {
  ring_->read(eventfd_, {reinterpret_cast<std::byte*>(&value_), sizeof value_}, 0, read_);
}

void UringBell::on_eventfd(int32_t result, uint32_t) noexcept {
  if (result != -ECANCELED) arm_eventfd();
}

}  // namespace ringtalk::engine
