// Mirror: keeps Redis as TeamTalk's own servers and pages expect it. The engine never reads it back.
//
//   shards ─ lanes ─▶ Changes (one per key) ─▶ Outlet: one pipeline per round and server ─▶ Redis
//                        │ what an event does not say                 ▲
//                        └──▶ MirrorSource (MySQL) ───────────────────┤
//                             Rebuild: walks all of it ───────────────┘
//
// Thread rule  opened() … token_changed() on shard `from`; attach(), start(), stop() while no shard runs or
//              tells; everything else on the mirror's thread (or the simulator's).
// Never waits  A lane that is full forgets, and says so with its last slot: a rebuild is due. Redis or the
//              source away: changes are kept up to kChangesMax, then forgotten likewise.
// Bound        kLaneEvents × 24 bytes per shard; kChangesMax entries; the rows of Recent and Floors: 1 MiB per shard
//              and 30 MiB at most.
// Values       are absolute, so a pipeline that may or may not have been run is sent again.
// Order        Events of one lane are in order, of two lanes they are not. All values either only grow
//              (ids, read positions), or are counted from such (unread), or are read from the source.
// Loss         A flush, an older snapshot (see channel.h), forgotten events and the start of the process make a
//              rebuild due. Changes go on meanwhile, ahead of its slices.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/random.h"
#include "store/redis/event_lane.h"
#include "store/redis/mirror_source.h"
#include "store/redis/outlet.h"
#include "store/redis/rebuild.h"

namespace ringtalk::store::redis {

class Mirror {
 public:
  static constexpr uint32_t kLaneEvents = 32'768;
  static constexpr size_t kChangesMax   = 131'072;
  static constexpr size_t kPipelineMax  = 8'192;  // commands, about
  static constexpr uint32_t kRoundMs    = 20;     // between two rounds: what is coalesced
  static constexpr uint32_t kAsksMax    = 16;  // of a kind in one round, kSourceKeysMax keys each

  struct Options {
    uint32_t shards = 1;
    Pools pools;
    Connect connect      = &redis::connect;
    uint32_t lane_events = kLaneEvents;  // a power of two
    size_t changes_max   = kChangesMax;
  };

  // metrics: the mirror's own, written by its thread only. All outlive the mirror.
  Mirror(const Options& options, MirrorSource& source, engine::Clock& clock, engine::Random& random,
         engine::Metrics& metrics);
  ~Mirror();
  Mirror(const Mirror&)            = delete;
  Mirror& operator=(const Mirror&) = delete;

  // Where shard `from` counts what it could not tell.
  void attach(uint32_t from, engine::Metrics* metrics) { lanes_[from]->metrics = metrics; }

  // --- shards: after the COMMIT; never fail, never wait --------------------------------------------------

  // The relation of two users exists, without a message.
  void opened(uint32_t from, ConversationId pair, uint32_t relation);
  // relation: 0 for a group. All of one conversation from one shard, in the order of their ids.
  void stored(uint32_t from, ConversationId conversation, uint32_t relation, UserId author,
              uint32_t msg_id);
  // A read position moved, also by an own message in a group. All of one user from one shard, growing.
  void read_to(uint32_t from, UserId user, ConversationId conversation, uint32_t msg_id);
  // Made, dismissed, or so many members changed that all of them are looked at.
  void group_changed(uint32_t from, GroupId group);
  // Joined, left, muted, unmuted.
  void member_changed(uint32_t from, GroupId group, UserId user);
  // Also of one who lost his token to somebody else.
  void token_changed(uint32_t from, UserId user);

  // --- the mirror's thread -------------------------------------------------------------------------------

  void start();  // a thread that calls run_some()
  void stop();   // tells Redis what it takes at once, and joins
  // One round. True: the next one should follow at once.
  bool run_some();
  // Everything that was told is written, and no rebuild is due.
  bool settled() const;
  // Why nothing moves, or none.
  const Trouble& trouble() const { return outlet_.trouble(); }
  bool source_away() const { return source_away_; }
  uint64_t rebuild_done() const { return rebuild_.done(); }
  uint64_t rebuild_total() const { return rebuild_.total(); }

 private:
  struct Lane {
    explicit Lane(uint32_t events) : queue(events) {}
    EventLane queue;
    engine::Metrics* metrics = nullptr;
  };

  void tell(uint32_t from, const Event& event);
  void drain();
  void notice_loss();
  void forget();
  // Each is false if it could not do all: what is left stays, and is tried again.
  bool ask_pairs();
  bool flush();
  bool write_members();
  bool write_groups();
  bool write_group(GroupId group);
  bool write_users();
  bool advance_rebuild();
  bool source_fails(const Error& error);
  void show();
  void loop();

  const Options options_;
  MirrorSource& source_;
  engine::Clock& clock_;
  engine::Metrics& metrics_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  Outlet outlet_;
  Changes changes_;
  Rebuild rebuild_;
  bool due_              = true;   // a rebuild
  bool distrust_         = false;  // it is due since events were forgotten, or is running for that
  bool source_away_      = false;
  uint64_t source_at_ns_ = 0;  // not to be asked before
  uint64_t told_ns_      = 0;  // the oldest change that is not written, about

  std::mutex mutex_;
  std::condition_variable bell_;  // stop() only
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace ringtalk::store::redis
