// Directory: which user ids exist and have not left.
//
// Why          A send to nobody must be refused without asking the store, on any shard.
// Bound        As IdSet: 16 MiB; a dense million costs 128 KiB per shard.
// Thread rule  The shard's own copy; changes arrive by event (users_ask).
#pragma once

#include "shard/id_set.h"

namespace ringtalk::shard {

class Directory {
 public:
  static constexpr uint8_t kLeft = 3;  // user status: gone, nobody can reach them

  // False: the id is beyond what can be held.
  bool set(UserId user, uint8_t status) { return reachable_.set(user, status != kLeft); }
  bool reachable(UserId user) const { return reachable_.has(user); }
  uint64_t bytes() const { return reachable_.bytes(); }

 private:
  IdSet reachable_;
};

}  // namespace ringtalk::shard
