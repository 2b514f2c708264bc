#include "engine/fake_ring.h"

#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/assert.h"

namespace ringtalk::engine {

namespace {

constexpr uint32_t kMultishotRounds = 32;  // per turn and operation, as io_uring's own bound
constexpr std::byte kPoison{0xdd};         // what a buffer holds after it was given back

// The slot's end of a refused or closed connection. Unread bytes turn the FIN into a reset.
void server_leaves(FakeSocket& socket) {
  if (!socket.to_server.empty()) socket.reset_by_server = true;
  socket.server_finished = true;
  socket.server_gone     = true;
  socket.to_server.clear();
}

bool readable(const FakeSocket& socket) {
  return !socket.to_server.empty() || socket.error_pending || socket.client_finished ||
         socket.broken;
}

bool writable(const FakeSocket& socket) {
  return socket.error_pending || socket.broken || socket.server_finished || socket.client_gone ||
         socket.to_client.size() < socket.window;
}

}  // namespace

// --- FakeClient ----------------------------------------------------------------------------------

void FakeClient::write(Bytes bytes) {
  RT_ASSERT(!socket_->client_finished);
  if (socket_->broken || bytes.empty()) return;
  if (socket_->server_gone) {
    socket_->reset_by_server = true;
    return;
  }
  socket_->to_server.append(as_text(bytes));
}

std::string FakeClient::read(size_t bytes_max) {
  std::string taken = socket_->to_client.substr(0, bytes_max);
  socket_->to_client.erase(0, taken.size());
  return taken;
}

void FakeClient::finish() { socket_->client_finished = true; }

// Unread bytes make the client's kernel answer with a reset at once.
void FakeClient::close() {
  if (!socket_->to_client.empty()) {
    reset();
    return;
  }
  socket_->client_finished = true;
  socket_->client_gone     = true;
}

void FakeClient::reset() {
  socket_->client_finished = true;
  socket_->client_gone     = true;
  socket_->broken          = true;
  socket_->error_pending   = true;
  socket_->to_client.clear();
}

FakeClient::End FakeClient::end() const {
  if (socket_->broken || socket_->reset_by_server) return End::reset;
  return socket_->server_finished ? End::finished : End::open;
}

// --- FakeWorld -----------------------------------------------------------------------------------

int FakeWorld::listen() {
  listeners_[next_fd_];
  return next_fd_++;
}

void FakeWorld::close_listener(int listener_fd) {
  for (auto& socket : listeners_.at(listener_fd)) {
    socket->reset_by_server = true;
    server_leaves(*socket);
  }
  listeners_.erase(listener_fd);
}

FakeClient FakeWorld::connect(int listener_fd, uint32_t address, uint32_t send_window) {
  RT_ASSERT(send_window > 0);
  auto socket     = std::make_shared<FakeSocket>();
  socket->id      = next_socket_++;
  socket->window  = send_window;
  socket->address = address;
  if (auto it = listeners_.find(listener_fd); it != listeners_.end()) {
    it->second.push_back(socket);
  } else {
    socket->reset_by_server = true;
    server_leaves(*socket);
  }
  return FakeClient(std::move(socket));
}

FakeClient FakeWorld::take_dialled(uint16_t port) {
  const auto it = answered_.find(port);
  if (it == answered_.end() || it->second.empty()) return {};
  FakeClient far(std::move(it->second.front()));
  it->second.pop_front();
  return far;
}

size_t FakeWorld::waiting(int listener_fd) const {
  const auto it = listeners_.find(listener_fd);
  return it == listeners_.end() ? 0 : it->second.size();
}

bool FakeWorld::busy() const {
  return next_due_ns() != ~uint64_t{0} ||
         std::ranges::any_of(rings_, [](const auto& entry) { return entry.second->ready(); });
}

uint64_t FakeWorld::next_due_ns() const {
  uint64_t due = ~uint64_t{0};
  for (const auto& [fd, ring] : rings_) {
    for (const auto& operation : ring->flying_) {
      const bool file = operation.op == FakeOp::read || operation.op == FakeOp::write ||
                        operation.op == FakeOp::sync;
      if (file) due = std::min(due, operation.due_ns);
    }
  }
  return due;
}

// --- FakeRing: queueing --------------------------------------------------------------------------

FakeRing::FakeRing(FakeWorld& world, const Options& options)
    : world_(world),
      options_(options),
      bell_fd_(world.next_fd_++),
      faults_(options.faults),
      slots_(options.slots),
      addresses_(options.slots),
      memory_(size_t{options.buffers} * options.buffer_bytes, kPoison),
      buffers_out_(options.buffers),
      slots_out_(options.slots) {
  RT_ASSERT(options.slots > 0);
  RT_ASSERT(options.buffers <= 65536);
  for (uint32_t id = 0; id < options.buffers; ++id)
    buffers_free_.push_back(static_cast<uint16_t>(id));
  world_.rings_.emplace(bell_fd_, this);
}

FakeRing::~FakeRing() {
  for (Slot slot = 0; slot < slots_.size(); ++slot)
    if (slots_[slot]) let_go(slot);
  world_.rings_.erase(bell_fd_);
}

FakeRing::Operation& FakeRing::queue(FakeOp op, Completion& done) {
  RT_ASSERT(done.run != nullptr);
  if (op != FakeOp::cancel) RT_ASSERT(!out_.contains(&done));  // one operation per completion
  out_.insert(&done);
  ++counts_[static_cast<size_t>(op)];
  queued_.push_back({.op = op, .done = &done});
  return queued_.back();
}

std::shared_ptr<FakeSocket>& FakeRing::socket(Slot slot) {
  RT_ASSERT(slot < slots_.size());
  RT_ASSERT(slots_[slot] != nullptr);
  return slots_[slot];
}

void FakeRing::accept(int listener_fd, Completion& done) {
  Operation& operation = queue(FakeOp::accept, done);
  operation.fd         = listener_fd;
  operation.multishot  = true;
}

void FakeRing::connect(const Dial& dial, Completion& done) {
  Operation& operation = queue(FakeOp::connect, done);
  operation.fd         = dial.to_port;
  operation.offset     = dial.to_address;
}

void FakeRing::recv(Slot slot, Completion& done) {
  socket(slot);
  queue(FakeOp::recv, done).slot = slot;
  ++slots_out_[slot];
}

void FakeRing::recv_multishot(Slot slot, Completion& done) {
  recv(slot, done);
  queued_.back().multishot = true;
}

void FakeRing::send(Slot slot, Bytes bytes, Completion& done) {
  socket(slot);
  Operation& operation = queue(FakeOp::send, done);
  operation.slot       = slot;
  operation.parts      = {{const_cast<std::byte*>(bytes.data()), bytes.size()}};
  ++slots_out_[slot];
}

void FakeRing::sendv(Slot slot, std::span<const iovec> parts, Completion& done) {
  send(slot, {}, done);
  queued_.back().parts_given = parts.data();
  queued_.back().parts_count = parts.size();
}

void FakeRing::shutdown(Slot slot, Completion& done) {
  socket(slot);
  queue(FakeOp::shutdown, done).slot = slot;
  ++slots_out_[slot];
}

void FakeRing::close(Slot slot, Completion& done) {
  socket(slot);
  queue(FakeOp::close, done).slot = slot;
  ++slots_out_[slot];
}

void FakeRing::cancel(Completion& target, Completion& done) {
  queue(FakeOp::cancel, done).other = &target;
}

void FakeRing::pass(Slot slot, int target_bell_fd, Completion& done) {
  socket(slot);
  Operation& operation = queue(FakeOp::pass, done);
  operation.slot       = slot;
  operation.fd         = target_bell_fd;
  ++slots_out_[slot];
}

void FakeRing::read(int fd, MutableBytes into, uint64_t offset, Completion& done) {
  RT_ASSERT(world_.disk_ != nullptr);
  Operation& operation = queue(FakeOp::read, done);
  operation.fd         = fd;
  operation.into       = into;
  operation.offset     = offset;
}

void FakeRing::write_sync(int fd, Bytes bytes, uint64_t offset, Completion& done) {
  RT_ASSERT(world_.disk_ != nullptr);
  Operation& operation = queue(FakeOp::write, done);
  operation.fd         = fd;
  operation.parts      = {{const_cast<std::byte*>(bytes.data()), bytes.size()}};
  operation.offset     = offset;
  ++counts_[static_cast<size_t>(FakeOp::sync)];
}

void FakeRing::ring_bell(int target_bell_fd) {
  if (auto it = world_.rings_.find(target_bell_fd); it != world_.rings_.end()) ++it->second->bells_;
}

uint32_t FakeRing::peer_address(Slot slot) {
  socket(slot);
  return addresses_[slot];
}

// --- provided buffers ----------------------------------------------------------------------------

MutableBytes FakeRing::buffer(uint16_t id) {
  RT_ASSERT(id < options_.buffers);
  return MutableBytes(memory_).subspan(size_t{id} * options_.buffer_bytes, options_.buffer_bytes);
}

void FakeRing::give_back(uint16_t id) {
  RT_ASSERT(id < options_.buffers);
  RT_ASSERT(buffers_out_[id]);
  buffers_out_[id] = false;
  --lent_;
  std::ranges::fill(buffer(id), kPoison);
  buffers_free_.push_back(id);
}

// --- turn ----------------------------------------------------------------------------------------

uint32_t FakeRing::turn(uint64_t) {
  RT_ASSERT(!turning_);
  turning_ = true;
  ++turns_;
  submit();
  for (Operation& operation : flying_)
    if (!operation.over) work(operation);
  std::erase_if(flying_, [](const Operation& operation) { return operation.over; });
  const uint32_t ran = run(collect());
  turning_           = false;
  return ran;
}

void FakeRing::submit() {
  while (!queued_.empty()) {
    Operation operation = std::move(queued_.front());
    queued_.pop_front();
    begin(std::move(operation));
  }
}

void FakeRing::begin(Operation operation) {
  if (operation.parts_given != nullptr)
    operation.parts.assign(operation.parts_given, operation.parts_given + operation.parts_count);
  operation.checksum = checksum(operation.parts);
  const Slot slot    = operation.slot;
  switch (operation.op) {
    case FakeOp::shutdown: {
      FakeSocket& peer     = *socket(slot);
      const bool connected = !peer.broken;
      peer.server_finished = true;
      return deliver(operation, connected ? 0 : -ENOTCONN);
    }
    case FakeOp::close:
      RT_ASSERT(slots_out_[slot] == 1);  // this close; nothing else in flight
      let_go(slot);
      // The place is free from now on: another connection may take it, and be passed or closed, before this
      // completion comes home.
      --slots_out_[slot];
      operation.slot = kNoSlot;
      return deliver(operation, 0);
    case FakeOp::pass:
      RT_ASSERT(slots_out_[slot] == 1);
      return deliver(operation, pass_now(slot, operation.fd));
    case FakeOp::cancel: return deliver(operation, cancel_now(*operation.other));
    case FakeOp::connect: return deliver(operation, connect_now(operation));
    case FakeOp::read:
    case FakeOp::write: operation.due_ns = file_due_ns(); break;
    case FakeOp::accept:
    case FakeOp::recv:
    case FakeOp::send:
    case FakeOp::sync: break;
  }
  flying_.push_back(std::move(operation));
}

void FakeRing::work(Operation& operation) {
  switch (operation.op) {
    case FakeOp::accept: work_accept(operation); break;
    case FakeOp::recv: work_recv(operation); break;
    case FakeOp::send: work_send(operation); break;
    case FakeOp::read:
    case FakeOp::write:
    case FakeOp::sync: work_file(operation); break;
    default: RT_ASSERT(false);
  }
}

void FakeRing::work_accept(Operation& operation) {
  if (chance(faults_.cancelled)) return deliver(operation, -ECANCELED);
  const auto it = world_.listeners_.find(operation.fd);
  if (it == world_.listeners_.end()) return deliver(operation, -EBADF);
  for (uint32_t round = 0; round < kMultishotRounds && !it->second.empty(); ++round) {
    auto peer = std::move(it->second.front());
    it->second.pop_front();
    const Slot slot = free_slot();
    int32_t refusal = 0;
    if (chance(faults_.accept_emfile)) refusal = -EMFILE;
    if (slot == kNoSlot || chance(faults_.accept_enfile)) refusal = -ENFILE;
    if (refusal != 0) {
      server_leaves(*peer);
      return deliver(operation, refusal);
    }
    addresses_[slot] = peer->address;
    ++peer->references;
    slots_[slot]    = std::move(peer);
    const bool more = !chance(faults_.lose_more);
    deliver(operation, static_cast<int32_t>(slot), more ? kMore : 0);
    if (!more) return;
  }
}

// As io_uring does it: a buffer is taken first (-ENOBUFS even with nothing to read), then the
// socket is asked, and only then the operation waits.
void FakeRing::work_recv(Operation& operation) {
  FakeSocket& peer = *socket(operation.slot);
  const bool fresh = std::exchange(operation.fresh, false);
  if (chance(faults_.cancelled)) return deliver(operation, -ECANCELED);
  if (!fresh && !readable(peer)) return;
  if (buffers_free_.empty()) return deliver(operation, -ENOBUFS);
  if (!readable(peer)) return;
  if (chance(faults_.reset)) FakeClient(socket(operation.slot)).reset();

  for (uint32_t round = 0; round < kMultishotRounds && readable(peer); ++round) {
    if (peer.to_server.empty()) {
      const bool error = std::exchange(peer.error_pending, false);
      return deliver(operation, error ? -ECONNRESET : 0);
    }
    if (buffers_free_.empty() || chance(faults_.no_buffers)) return deliver(operation, -ENOBUFS);
    const uint16_t id = buffers_free_.front();
    buffers_free_.pop_front();
    buffers_out_[id] = true;
    ++lent_;
    const size_t count = shortened(std::min<size_t>(peer.to_server.size(), options_.buffer_bytes),
                                   faults_.short_count);
    std::memcpy(buffer(id).data(), peer.to_server.data(), count);
    peer.to_server.erase(0, count);
    const bool more = operation.multishot && !chance(faults_.lose_more);
    deliver(operation, static_cast<int32_t>(count),
            kHasBuffer | uint32_t{id} << 16 | (more ? kMore : 0));
    if (!more) return;
  }
}

void FakeRing::work_send(Operation& operation) {
  FakeSocket& peer = *socket(operation.slot);
  if (!writable(peer)) return;
  if (chance(faults_.reset)) FakeClient(socket(operation.slot)).reset();
  if (std::exchange(peer.error_pending, false)) return deliver(operation, -ECONNRESET);
  if (peer.broken || peer.server_finished) return deliver(operation, -EPIPE);

  size_t total = 0;
  for (const iovec& part : operation.parts) total += part.iov_len;
  if (peer.client_gone) {  // the kernel takes the bytes; the peer's reset comes back for them
    peer.broken = true;
    return deliver(operation, static_cast<int32_t>(total));
  }
  const size_t room  = peer.window - std::min<size_t>(peer.window, peer.to_client.size());
  const size_t count = shortened(std::min(total, room), faults_.short_count);
  size_t left        = count;
  for (const iovec& part : operation.parts) {
    const size_t take = std::min(left, part.iov_len);
    peer.to_client.append(static_cast<const char*>(part.iov_base), take);
    left -= take;
  }
  deliver(operation, static_cast<int32_t>(count));
}

void FakeRing::work_file(Operation& operation) {
  if (world_.clock_.now_ns() < operation.due_ns) return;
  FakeDisk& disk = *world_.disk_;
  if (operation.op == FakeOp::sync) {
    const int32_t synced = disk.datasync(operation.fd);
    return deliver(operation, synced < 0 ? synced : operation.written);
  }
  if (operation.op == FakeOp::read) {
    const size_t count = shortened(operation.into.size(), faults_.short_file);
    return deliver(operation,
                   disk.read_some(operation.fd, operation.into.first(count), operation.offset));
  }
  const auto* bytes     = static_cast<const std::byte*>(operation.parts[0].iov_base);
  const size_t wanted   = operation.parts[0].iov_len;
  const size_t count    = shortened(wanted, faults_.short_file);
  const int32_t written = disk.write_some(operation.fd, Bytes(bytes, count), operation.offset);
  if (written < 0 || static_cast<size_t>(written) < wanted) return deliver(operation, written);
  operation.op      = FakeOp::sync;
  operation.due_ns  = file_due_ns();
  operation.written = written;
  work_file(operation);
}

int32_t FakeRing::cancel_now(const Completion& target) {
  for (Operation& operation : flying_) {
    if (operation.over) continue;
    if (operation.done != &target) continue;
    const bool file = operation.op == FakeOp::read || operation.op == FakeOp::write ||
                      operation.op == FakeOp::sync;
    if (file) return -EALREADY;
    deliver(operation, -ECANCELED);
    return 0;
  }
  return -ENOENT;
}

int32_t FakeRing::connect_now(const Operation& operation) {
  const auto it = world_.answered_.find(static_cast<uint16_t>(operation.fd));
  if (it == world_.answered_.end()) return -ECONNREFUSED;
  const Slot slot = free_slot();
  if (slot == kNoSlot) return -ENFILE;
  auto made        = std::make_shared<FakeSocket>();
  made->id         = world_.next_socket_++;
  made->window     = 65536;
  made->address    = static_cast<uint32_t>(operation.offset);
  made->references = 1;
  slots_[slot]     = made;
  addresses_[slot] = made->address;
  it->second.push_back(std::move(made));
  return static_cast<int32_t>(slot);
}

int32_t FakeRing::pass_now(Slot slot, int target_bell_fd) {
  const auto it = world_.rings_.find(target_bell_fd);
  if (it == world_.rings_.end()) return -EBADF;
  FakeRing& target = *it->second;
  if (&target == this) return -EINVAL;
  const Slot there = target.free_slot();
  if (there == kNoSlot || chance(faults_.pass_enfile)) return -ENFILE;
  target.slots_[there]     = socket(slot);
  target.addresses_[there] = 0;
  ++target.slots_[there]->references;
  return static_cast<int32_t>(there);
}

// A result without kMore ends the operation.
void FakeRing::deliver(Operation& operation, int32_t result, uint32_t flags) {
  RT_ASSERT(!operation.over);
  operation.over      = (flags & kMore) == 0;
  const uint64_t late = chance(faults_.delay) ? 1 + world_.random_.below(8) : 0;
  ready_.push_back({.op       = operation.op,
                    .done     = operation.done,
                    .result   = result,
                    .flags    = flags,
                    .slot     = operation.slot,
                    .turn     = turns_ + late,
                    .parts    = operation.over ? std::move(operation.parts) : std::vector<iovec>(),
                    .checksum = operation.checksum});
}

// What may run now; results of one operation stay in order, whatever is held or late.
std::vector<FakeRing::Ready> FakeRing::collect() {
  std::vector<Ready> batch, rest;
  std::set<const Completion*> blocked;
  for (Ready& ready : ready_) {
    const bool now = ready.turn <= turns_ && !held_[static_cast<size_t>(ready.op)] &&
                     !blocked.contains(ready.done);
    if (!now) blocked.insert(ready.done);
    (now ? batch : rest).push_back(std::move(ready));
  }
  ready_ = std::move(rest);
  if (!faults_.reorder) return batch;

  // Shuffle, then give each operation's places to its results in their old order.
  std::vector<size_t> order(batch.size());
  for (size_t i = 0; i < order.size(); ++i) {
    const size_t j = world_.random_.below(i + 1);
    order[i]       = order[j];
    order[j]       = i;
  }
  std::map<const Completion*, std::deque<size_t>> results;
  for (size_t i = 0; i < batch.size(); ++i) results[batch[i].done].push_back(i);
  std::vector<Ready> shuffled;
  for (const size_t i : order) {
    auto& waiting     = results[batch[i].done];
    const size_t next = waiting.front();
    waiting.pop_front();
    shuffled.push_back(batch[next]);
  }
  return shuffled;
}

uint32_t FakeRing::run(std::vector<Ready> batch) {
  for (const Ready& ready : batch) {
    if ((ready.flags & kMore) == 0) {
      RT_ASSERT(ready.checksum == checksum(ready.parts));  // bytes in flight were changed
      out_.erase(out_.find(ready.done));
      if (ready.slot != kNoSlot) --slots_out_[ready.slot];
    }
    ready.done->run(*ready.done, ready.result, ready.flags);
  }
  return static_cast<uint32_t>(batch.size());
}

// --- state ---------------------------------------------------------------------------------------

bool FakeRing::can_progress(const Operation& operation) const {
  switch (operation.op) {
    case FakeOp::accept: return world_.waiting(operation.fd) > 0;
    case FakeOp::recv: return operation.fresh || readable(*slots_[operation.slot]);
    case FakeOp::send: return writable(*slots_[operation.slot]);
    default: return world_.clock_.now_ns() >= operation.due_ns;
  }
}

bool FakeRing::ready() const {
  return !queued_.empty() || ready_.size() > withheld() ||
         std::ranges::any_of(flying_,
                             [&](const auto& operation) { return can_progress(operation); });
}

size_t FakeRing::withheld() const {
  size_t count = 0;
  std::set<const void*> blocked;
  for (const Ready& ready : ready_) {
    if (!held_[static_cast<size_t>(ready.op)] && !blocked.contains(ready.done)) continue;
    blocked.insert(ready.done);
    ++count;
  }
  return count;
}

uint32_t FakeRing::slots_used() const {
  uint32_t used = 0;
  for (const auto& held : slots_) used += held != nullptr;
  return used;
}

Slot FakeRing::free_slot() const {
  for (Slot slot = 0; slot < slots_.size(); ++slot)
    if (!slots_[slot]) return slot;
  return kNoSlot;
}

void FakeRing::let_go(Slot slot) {
  auto peer = std::move(slots_[slot]);
  slots_[slot].reset();
  addresses_[slot] = 0;
  RT_ASSERT(peer->references > 0);
  if (--peer->references == 0) server_leaves(*peer);
}

uint64_t FakeRing::file_due_ns() {
  const uint64_t now = world_.clock_.now_ns();
  return now + world_.random_.below(faults_.file_latency_ns_max + 1);
}

uint64_t FakeRing::shortened(uint64_t count, uint16_t per_mille) {
  return count > 1 && chance(per_mille) ? 1 + world_.random_.below(count - 1) : count;
}

uint64_t FakeRing::checksum(std::span<const iovec> parts) {
  uint64_t sum = 0;
  for (const iovec& part : parts) sum = XXH3_64bits_withSeed(part.iov_base, part.iov_len, sum);
  return sum;
}

}  // namespace ringtalk::engine
