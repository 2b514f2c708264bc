// Presence: who has a PC online, and telling those who want to know.
//
//   user's home: opened(), closed() ── presence_news to each shard, many users in one ──▶ learn()
//   every shard: a bit per user with a PC, which answers status queries, and what its own PC sessions
//                have not been told yet ── once per interval: one payload of 0x0203 frames for all of
//                them, in slices of a turn
//
// Rules  ONLINE at every PC login, OFFLINE when a user's last PC goes; a change that was not told yet
//        is replaced by the next one of its user. The user's own phones hear 0x020e at once.
// Bound  What waits: one entry per user. A payload is at most kTellBytesMax; the rest waits for the
//        next interval, max(200 ms, PCs online × 50 µs). News to the other shards leave at once,
//        but never more often than every shards × 250 µs, however many log in.
// Why    Everybody with a PC hears of everybody's PC: quadratic work, which is spread, not multiplied.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>

#include "shard/context.h"
#include "shard/id_set.h"

namespace ringtalk::shard {

// What presence_news carries, one per user.
struct PresenceChange {
  UserId user;
  uint32_t online;
};

class Presence {
 public:
  static constexpr uint32_t kTellBytesMax = 64 * kKiB;

  explicit Presence(Context& context)
      : context_(context), share_alarm_([](engine::Timer&) noexcept {}) {}

  // --- on the user's home: the session is, or is no longer, among its user's open ones
  void opened(const Session& session);
  void closed(const Session& session);
  // 0x020a
  Taken status(Session& session, uint16_t sequence, Bytes body);
  bool has_pc(UserId user) const { return pcs_.has(user); }

  void on_news(const PresenceNews& news);
  void on_turn();
  void on_turn_end();
  void on_tick();
  // The process ends: that everybody leaves is no news.
  void stop();

  bool work_waits() const { return bool(telling_); }

 private:
  static constexpr uint64_t kIntervalNs    = 200 * kNsPerMs;
  static constexpr uint64_t kPerPcNs       = 50'000;
  static constexpr uint64_t kShareNs       = 250'000;  // per shard
  static constexpr uint32_t kSlotsPerSlice = 512;

  struct Hash {
    using is_avalanching = void;
    size_t operator()(uint32_t id) const { return mix(id); }
  };
  using Changes = boost::unordered_flat_map<uint32_t, bool, Hash>;

  void note(UserId user, bool online);
  void learn(UserId user, bool online);
  void tell_own_phones(UserId user, bool online);
  engine::PayloadRef encode_waiting();

  Context& context_;
  IdSet pcs_;
  uint32_t pcs_online_ = 0;    // of the whole process
  Changes unshared_;           // of users at home here, for the other shards
  Changes untold_;             // for the PC sessions of this shard …
  std::deque<UserId> order_;   // … oldest first
  engine::Timer share_alarm_;  // only to make a turn
  engine::PayloadRef telling_;
  uint32_t told_slots_      = 0;
  uint64_t next_share_ns_   = 0;
  uint64_t next_telling_ns_ = 0;
  bool stopped_             = false;
};

}  // namespace ringtalk::shard
