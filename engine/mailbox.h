// Mailbox: one shard's lanes to and from every other shard, with the admission rule.
//
// Shape         One SpscQueue per ordered pair of shards; a bitmap per reader names the lanes that
//               hold something; a bell (ring message) only if the reader sleeps.
// Thread rule   Each Mailbox belongs to one shard. LaneMatrix is built before the shards run.
// Bound         lane_slots(N) = max(64, 16384 / N) events per lane, each at most 64 bytes.
// No deadlock   A shard always drains its inbound lanes, and what it must produce while doing so has
//               room reserved beforehand. Only new work from clients is refused admission:
//                 reserve(to)        room for one consequence that this shard will push later;
//                 open_request(to)   a request that will be answered: takes a slot, and a credit that
//                                    bounds how many answers may come back at once;
//                 reply(to)          always fits: the asker's credits are fewer than the slots that
//                                    reserve() and open_request() leave alone.
// Room          A writer that was refused room says so (starved); who empties the lane then rings it,
//               as if something had been pushed: what was kept back is offered again at once.
// Cost          push: one store; per turn and target one read-modify-write and perhaps one bell.
// Why           One lane per pair needs no compare-and-swap and keeps the order of each pair.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <type_traits>
#include <vector>

#include "engine/bell.h"
#include "engine/ring.h"
#include "engine/spsc_queue.h"

namespace ringtalk::engine {

constexpr uint32_t lane_slots(uint32_t shards) {
  return std::max<uint32_t>(64, std::bit_floor(16384 / std::max(1u, shards)));
}

// What is shared between the shards: the lanes, and for each reader its bitmap and its bell.
template <class Event>
class LaneMatrix {
  static_assert(sizeof(Event) <= kCacheLineBytes && std::is_trivially_copyable_v<Event>);

 public:
  struct Reader {
    std::unique_ptr<std::atomic<uint64_t>[]> pending;  // bit per writer
    std::unique_ptr<std::atomic<uint64_t>[]> starved;  // bit per writer that waits for room
    Bell* bell  = nullptr;
    int bell_fd = -1;  // set when the reader's ring exists
  };

  explicit LaneMatrix(uint32_t shards) : shards_(shards), readers_(shards) {
    lanes_.resize(size_t{shards} * shards);
    for (uint32_t from = 0; from < shards; ++from)
      for (uint32_t to = 0; to < shards; ++to)
        if (from != to)
          lanes_[from * shards + to] = std::make_unique<SpscQueue<Event>>(lane_slots(shards));
    for (Reader& reader : readers_) {
      reader.pending = std::make_unique<std::atomic<uint64_t>[]>((shards + 63) / 64);
      reader.starved = std::make_unique<std::atomic<uint64_t>[]>((shards + 63) / 64);
    }
  }

  uint32_t shards() const { return shards_; }
  uint64_t bytes() const {
    return uint64_t{shards_} * (shards_ - 1) * lane_slots(shards_) * sizeof(Event);
  }
  SpscQueue<Event>& lane(uint32_t from, uint32_t to) { return *lanes_[from * shards_ + to]; }
  Reader& reader(uint32_t shard) { return readers_[shard]; }

 private:
  const uint32_t shards_;
  std::vector<std::unique_ptr<SpscQueue<Event>>> lanes_;
  std::vector<Reader> readers_;
};

template <class Event>
class Mailbox {
 public:
  Mailbox(LaneMatrix<Event>& matrix, uint32_t self)
      : matrix_(matrix),
        self_(self),
        slots_(lane_slots(matrix.shards())),
        credits_max_(slots_ / 4),
        peers_(matrix.shards()) {
    dirty_.reserve(matrix.shards());
  }

  uint32_t self() const { return self_; }
  uint32_t credits_max() const { return credits_max_; }
  uint64_t pushed() const { return pushed_; }
  // Events that the other shards have not taken yet.
  uint64_t outbound_waiting() {
    uint64_t count = 0;
    for (uint32_t to = 0; to < matrix_.shards(); ++to)
      if (to != self_) count += slots_ - matrix_.lane(self_, to).free();
    return count;
  }

  // Room for one event that this shard will push() later as a consequence of what it admits now.
  bool reserve(uint32_t to) {
    Peer& peer = peers_[to];
    if (peer.room == 0 && !refresh(to)) return false;
    --peer.room;
    ++peer.reserved;
    return true;
  }
  void unreserve(uint32_t to) {
    RT_ASSERT(peers_[to].reserved > 0);
    --peers_[to].reserved;
  }
  void push(uint32_t to, const Event& event) {
    unreserve(to);
    put(to, event);
  }

  // A request that `to` will answer with exactly one reply(); false: not now.
  bool open_request(uint32_t to) {
    Peer& peer = peers_[to];
    if (peer.credits_used == credits_max_ || !reserve(to)) return false;
    ++peer.credits_used;
    return true;
  }
  // Its answer has arrived.
  void close_request(uint32_t to) {
    RT_ASSERT(peers_[to].credits_used > 0);
    --peers_[to].credits_used;
  }
  void reply(uint32_t to, const Event& event) { put(to, event); }

  // Drains every inbound lane that holds something, at most slots_ events of each.
  // visit(from, event) may push and reply. Returns events taken.
  template <class Visit>
  uint32_t drain(Visit&& visit) {
    uint32_t taken = 0;
    auto& pending  = matrix_.reader(self_).pending;
    for (uint32_t word = 0; word * 64 < matrix_.shards(); ++word) {
      if (pending[word].load(std::memory_order_relaxed) == 0) continue;
      // Clear first, then drain: an event pushed meanwhile sets its bit again.
      uint64_t bits = pending[word].exchange(0, std::memory_order_acq_rel);
      for (; bits; bits &= bits - 1) taken += drain_lane(word * 64 + std::countr_zero(bits), visit);
    }
    if (taken > 0) feed_starved();
    return taken;
  }

  bool inbound_waits() const {
    auto& pending = matrix_.reader(self_).pending;
    for (uint32_t word = 0; word * 64 < matrix_.shards(); ++word)
      if (pending[word].load(std::memory_order_acquire) != 0) return true;
    return false;
  }

  // End of turn: tells the readers of what was pushed. Rings through `ring` who sleeps.
  void flush(Ring& ring) {
    for (const uint32_t to : dirty_) {
      peers_[to].dirty = false;
      auto& reader     = matrix_.reader(to);
      reader.pending[self_ / 64].fetch_or(1ull << (self_ % 64), std::memory_order_acq_rel);
      if (reader.bell->claim()) ring.ring_bell(reader.bell_fd);
    }
    dirty_.clear();
  }

 private:
  struct Peer {
    uint32_t room         = 0;  // slots that reserve() may still hand out before a refresh()
    uint32_t reserved     = 0;  // handed out and not yet pushed
    uint32_t credits_used = 0;
    bool dirty            = false;
  };

  bool refresh(uint32_t to) {
    if (look_for_room(to)) return true;
    // Say so, then look again: the reader empties its lane, then looks for whom to tell.
    auto& starved       = matrix_.reader(to).starved[self_ / 64];
    const uint64_t self = 1ull << (self_ % 64);
    if (starved.load(std::memory_order_relaxed) & self) return false;
    starved.fetch_or(self, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // partner: feed_starved()
    return look_for_room(to);
  }

  bool look_for_room(uint32_t to) {
    Peer& peer          = peers_[to];
    const uint32_t free = matrix_.lane(self_, to).free();
    const uint32_t kept = credits_max_ + peer.reserved;  // replies always fit
    peer.room           = free > kept ? free - kept : 0;
    return peer.room > 0;
  }

  // Whoever is told without need is refused once more, and says so once more.
  void feed_starved() {
    std::atomic_thread_fence(std::memory_order_seq_cst);  // partner: refresh()
    auto& starved = matrix_.reader(self_).starved;
    for (uint32_t word = 0; word * 64 < matrix_.shards(); ++word) {
      if (starved[word].load(std::memory_order_relaxed) == 0) continue;
      uint64_t bits = starved[word].exchange(0, std::memory_order_relaxed);
      for (; bits; bits &= bits - 1) mark_dirty(word * 64 + std::countr_zero(bits));
    }
  }

  void mark_dirty(uint32_t to) {
    if (peers_[to].dirty) return;
    peers_[to].dirty = true;
    dirty_.push_back(to);
  }

  void put(uint32_t to, const Event& event) {
    ++pushed_;
    Event copy        = event;
    const bool pushed = matrix_.lane(self_, to).push(std::move(copy));
    RT_ASSERT(pushed);  // the admission rule
    mark_dirty(to);
  }

  template <class Visit>
  uint32_t drain_lane(uint32_t from, Visit& visit) {
    auto& lane = matrix_.lane(from, self_);
    Event event;
    uint32_t taken = 0;
    while (taken < slots_ && lane.pop(event)) {
      ++taken;
      visit(from, event);
    }
    if (!lane.empty())  // the rest next turn
      matrix_.reader(self_).pending[from / 64].fetch_or(1ull << (from % 64),
                                                        std::memory_order_relaxed);
    return taken;
  }

  LaneMatrix<Event>& matrix_;
  const uint32_t self_;
  const uint32_t slots_;
  const uint32_t credits_max_;
  std::vector<Peer> peers_;
  uint64_t pushed_ = 0;          // events, since the start
  std::vector<uint32_t> dirty_;  // targets with events not yet announced
};

}  // namespace ringtalk::engine
