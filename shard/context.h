// Context: what the areas of a shard (login, messages, history) share.
#pragma once

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "engine/loop.h"
#include "engine/mailbox.h"
#include "engine/metrics.h"
#include "shard/bus.h"
#include "shard/delivery_watch.h"
#include "shard/directory.h"
#include "shard/event.h"
#include "shard/limits.h"
#include "shard/repeat_window.h"
#include "shard/roster.h"
#include "shard/session_table.h"
#include "shard/users.h"
#include "store/store.h"

namespace ringtalk::shard {

using Mailbox = engine::Mailbox<Event>;
using engine::Counter;

class Presence;
class Groups;
class Memberships;

// The gateway's part that a shard needs: a connection for a descriptor that arrived from elsewhere.
class Doors {
 public:
  virtual ~Doors()                                            = default;
  virtual Session& adopt(engine::Slot slot, uint32_t address) = 0;
};

inline constexpr uint64_t kRequestDebtNs = 2 * kNsPerS;  // clients wait 6 s for an answer

struct Context {
  const uint32_t self;
  const uint32_t shards;
  engine::Loop& loop;
  engine::Metrics& metrics;
  Mailbox& mailbox;
  store::Store& store;
  const Limits& limits;
  Bus& bus;  // to other nodes
  Rosters& rosters;
  Doors* doors             = nullptr;
  Presence* presence       = nullptr;
  Groups* groups           = nullptr;
  Memberships* memberships = nullptr;

  SessionTable sessions;
  Users users;
  Directory directory;
  RepeatWindow repeats;         // stock clients' retries, 60 s
  RepeatWindow client_repeats;  // client_msg_id, 24 h
  DeliveryWatch watch;
  std::vector<SessionKey> stalled;  // found a lane or a queue full; offered again next turn
  std::deque<SessionKey> unstored;  // found no room in the store; offered again when there is some

  uint32_t now_s() { return loop.wall_s(); }
  uint32_t home_of(UserId user) const { return home(user, shards); }
  uint32_t home_of(ConversationId conversation) const { return home(conversation, shards); }

  // Of the session's requests, beside the one that every request costs; in hundredths of one.
  void charge(Session& session, uint32_t cost) {
    session.requests.take_cost(loop.now_ns(), limits.requests_per_second, limits.requests_burst,
                               cost, kRequestDebtNs);
  }
  Taken stall(Session& session) {
    stalled.push_back(session.key);
    return Taken::waits;
  }
  Taken wait_for_store(Session& session) {
    if (!std::exchange(session.waits_for_store, true)) unstored.push_back(session.key);
    return Taken::waits;
  }
};

// An answer to a session's own request: it does not count against the limit of its pushes.
inline void answer(Session& session, const engine::PayloadRef& frame) {
  // What has left is no answer any more: never more than what is still queued.
  session.answer_bytes = std::min(session.answer_bytes, session.queued_bytes());
  session.answer_bytes += static_cast<uint32_t>(frame.bytes().size());
  session.push(frame);
}

}  // namespace ringtalk::shard
