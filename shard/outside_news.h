// OutsideNews: what other programs wrote into a shared database, told to every shard.
//
//   store ─ on_changes() ─┬─ users: announce_users() ─ all know ─ who may not log in any more, or with another
//                         │         password, loses his connections
//                         └─ groups: group_ask(take_in) ─▶ home of the group: members' shards, connections
//
// Thread rule  The shard whose store looks around.
// Bound        What one look finds, and what of that could not be told yet.
// Errors       Busy, or the store is away: again with the next tick.
#pragma once

#include <deque>
#include <vector>

#include "store/store.h"

namespace ringtalk::shard {

class Shard;

class OutsideNews {
 public:
  static constexpr uint32_t kTicketBit = 1u << 31;  // of announcements that are ours

  explicit OutsideNews(Shard& shard) : shard_(shard) {}

  void on_changes(const store::OutsideChanges& changes);
  void announced(uint32_t ticket);
  void on_tick();

 private:
  struct Told {
    uint32_t ticket = 0;
    std::vector<UserId> expelled;
  };

  bool may_log_in(uint8_t status) const;
  void expel();
  void ask(store::OutsideGroup group);

  Shard& shard_;
  uint32_t next_ticket_ = kTicketBit;
  std::vector<Told> told_;                 // not by every shard
  std::deque<UserId> expelled_;            // every shard knows; not asked for
  std::deque<store::OutsideGroup> again_;  // their home could not
};

}  // namespace ringtalk::shard
