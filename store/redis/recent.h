// Recent: what is known of the conversations of two that events told of lately, so that an unread count
// follows from an event and nothing need be asked.
//
// Thread rule  The mirror's thread.
// Bound        2 × kRowsMax rows of some 40 bytes: rows that were not touched for kRowsMax others go.
// Invariant    A row is a state that the conversation was in, or was about to be: positions may be ahead of
//              `newest`, since they come from another shard. Both only grow, so the order of the events of
//              two shards does not matter, and an event that comes again changes nothing.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <optional>

#include "store/redis/mirror_source.h"

namespace ringtalk::store::redis {

class Recent {
 public:
  static constexpr size_t kRowsMax = 1 << 17;

  enum class Told : uint8_t {
    nothing,  // no count has changed
    count,    // unread() of the user has
    unknown,  // the source has to be asked; the row is gone
  };

  explicit Recent(size_t rows_max = kRowsMax) : rows_max_(rows_max) {}

  // A message of the author for the other: the other's count.
  Told stored(ConversationId pair, UserId author, uint32_t msg_id);
  Told read_to(ConversationId pair, UserId user, uint32_t msg_id);
  uint32_t unread(ConversationId pair, UserId user);

  // What the source says: at least as new as the row that is here.
  void set(const PairRow& row);
  // Only if there is a row.
  void refresh(const PairRow& row);
  void clear();
  size_t size() const { return young_.size() + old_.size(); }

 private:
  struct Row {
    uint32_t newest = 0;
    uint32_t read[2]{}, unread[2]{};  // of the smaller user id, of the larger
  };
  using Rows = boost::unordered_flat_map<uint64_t, Row>;

  static size_t side(ConversationId pair, UserId user) { return user == pair.small() ? 0 : 1; }
  Row* find(ConversationId pair);
  void forget(ConversationId pair) {
    young_.erase(pair.key);
    old_.erase(pair.key);
  }

  const size_t rows_max_;
  Rows young_, old_;
};

}  // namespace ringtalk::store::redis
