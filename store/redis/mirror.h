// Mirror: keeps Redis as TeamTalk's own servers and pages expect it. The engine never reads it back.
//
//   shards ─ lanes ─▶ Changes (coalesced by key) ─▶ one pipeline per round and server ─▶ Redis
//                        │ what an event does not say          ▲
//                        └──▶ MirrorSource (MySQL) ────────────┤
//                             Rebuild: walks all of it ────────┘
//
// Thread rule  stored() … token_changed() on shard `from`; everything else on the mirror's thread (or the
//              simulator's), or before it starts.
// Never waits  A lane that is full forgets, and says so with its last slot: a rebuild is due. Redis away:
//              changes are kept up to a bound, then forgotten likewise.
// Bound        lanes kLaneEvents × 24 bytes per shard; Changes::kKeysMax keys; Recent::kRowsMax conversations.
// Values       are absolute, so a pipeline that may or may not have been run is sent again.
// Order        Events of one lane are in order; of two lanes they are not. All values either only grow
//              (ids, read positions) or are counted from such (unread) or are read from the source.
// Loss         rt:seq, see channel.h.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/clock.h"
#include "engine/metrics.h"
#include "engine/random.h"
#include "engine/spsc_queue.h"
#include "store/redis/connection.h"
#include "store/redis/mirror_source.h"

namespace ringtalk::store::redis {

// As a site's dbproxyserver.conf has them; several may be the same server and database. `sync` exists there,
// but nothing was ever written to it.
struct Pools {
  Server unread, group_set, token, sync, group_member;
};

class Mirror {
 public:
  static constexpr uint32_t kLaneEvents = 32'768;

  struct Options {
    uint32_t shards = 1;
    Pools pools;
    Connect connect          = &redis::connect;
    MirrorSource* source     = nullptr;  // outlives the mirror
    engine::Clock* clock     = nullptr;
    engine::Random* random   = nullptr;
    engine::Metrics* metrics = nullptr;  // the mirror's own: its thread is the only writer
  };

  explicit Mirror(const Options& options);
  ~Mirror();

  // --- shards: after the COMMIT; they never fail and never block -----------------------------------------

  // The relation of two users exists, without a message.
  void opened(uint32_t from, uint32_t relation, ConversationId pair);
  // relation: 0 for a group.
  void stored(uint32_t from, ConversationId conversation, uint32_t relation, UserId author,
              uint32_t msg_id);
  // A read position moved, also by an own message in a group. All of one user from one shard, growing.
  void read_to(uint32_t from, UserId user, ConversationId conversation, uint32_t msg_id);
  // Made, dismissed, or so many members changed that all are to be looked at.
  void group_changed(uint32_t from, GroupId group);
  // Joined, left, muted, unmuted.
  void member_changed(uint32_t from, GroupId group, UserId user);
  // Also of the one who lost the token to somebody else.
  void token_changed(uint32_t from, UserId user);
  // Events that a shard's full lane forgot; on that shard.
  uint64_t forgotten(uint32_t from) const;

  // --- the mirror's thread -------------------------------------------------------------------------------

  void start();  // a thread that calls run_some() every few milliseconds
  void stop();   // after a last round; what Redis does not take then is forgotten
  // One round. True: something moved, and another round may move more at once.
  bool run_some();
  // Everything that was told is written, and no rebuild is due.
  bool settled() const;
};

}  // namespace ringtalk::store::redis
