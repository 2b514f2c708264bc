// Stores: a driver of store.h for a whole process: what it opens before the shards run, and closes after.
//
// Thread rule  make() once per shard, on its thread; the rest on the main thread.
// Order        open (see the drivers), load_user_states(), set_bell() for each shard, start(), make();
//              close() when all stores are gone.
#pragma once

#include <memory>
#include <vector>

#include "engine/bell.h"
#include "engine/metrics.h"
#include "engine/ring.h"
#include "store/store.h"

namespace ringtalk::store {

class Stores {
 public:
  virtual ~Stores() = default;

  virtual Result<std::vector<UserState>> load_user_states() = 0;
  // Whom to wake when work comes back.
  virtual void set_bell(uint32_t shard, engine::Bell* bell) = 0;
  virtual void start()                                      = 0;
  virtual std::unique_ptr<Store> make(uint32_t shard, engine::Ring& ring, engine::Metrics& metrics,
                                      Sink& sink)           = 0;
  // Sends of the last 60 s (24 h with a client key) by users of this shard. Once.
  virtual std::vector<Repeat> take_repeats(uint32_t shard) = 0;
  // Damaged places that were found at opening.
  virtual uint64_t damages() const { return 0; }
  // Rows redis_… of the process; null: there is no mirror in Redis.
  virtual const engine::Metrics* mirror_metrics() const { return nullptr; }
  virtual Result<void> close() = 0;
};

}  // namespace ringtalk::store
