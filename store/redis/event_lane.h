// EventLane: what a shard tells the mirror, one way, without ever waiting.
//
// Thread rule  push() on the shard, pop() on the mirror's thread.
// Bound        `slots` events of 24 bytes. The last slot is kept for the event `forgotten`: whatever does not
//              fit is dropped, and the mirror learns that something was, behind all that was told before.
// Invariant    An event is dropped only while `forgotten` is the newest event in the lane: what is dropped
//              was committed before the mirror reads it, so the rebuild that follows sees it.
#pragma once

#include <cstdint>
#include <utility>

#include "engine/spsc_queue.h"
#include "proto/ids.h"

namespace ringtalk::store::redis {

struct Event {
  enum class Kind : uint8_t { opened, stored, read_to, group, member, token, forgotten };

  ConversationId conversation;  // group, member: the group's
  uint32_t user     = 0;        // author, reader, member
  uint32_t msg_id   = 0;
  uint32_t relation = 0;
  Kind kind         = Kind::forgotten;
};
static_assert(sizeof(Event) == 24);

class EventLane {
 public:
  explicit EventLane(uint32_t slots) : queue_(slots) {}

  // False: it was forgotten.
  bool push(const Event& event) {
    const uint32_t free = queue_.free();
    if (free >= 2) {
      put(event);
      told_ = false;
      return true;
    }
    if (!std::exchange(told_, true)) put({});
    return false;
  }

  bool pop(Event& event) { return queue_.pop(event); }
  bool empty() const { return queue_.empty(); }

 private:
  void put(Event event) {
    const bool pushed = queue_.push(std::move(event));
    RT_ASSERT(pushed);
  }

  engine::SpscQueue<Event> queue_;
  bool told_ = false;  // shard: `forgotten` is the newest event
};

}  // namespace ringtalk::store::redis
