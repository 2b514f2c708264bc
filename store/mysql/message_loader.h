// What the shards keep in memory of the messages in MySQL, read at the start: newest message of each
// conversation, read positions, sends of the last while.
//
// Cost    Index scans in portions: the newest messages by a loose scan of the unique key (conversation,
//         rtSeq), the sends of the last minute backwards along the primary keys.
// Order   The lanes are taken first: after that no process that had them before commits anything, and what is
//         read stays true.
// Errors  Trouble of the connection: nothing was changed but the lanes.
#pragma once

#include <memory>
#include <vector>

#include "engine/clock.h"
#include "store/cursors.h"
#include "store/mysql/connection.h"
#include "store/mysql/conversations.h"
#include "store/store.h"

namespace ringtalk::store {

inline constexpr uint32_t kLanesPerNode = 256;

// Lane of a shard in RTLane.
constexpr uint32_t lane_of(uint32_t node, uint32_t shard) { return node * kLanesPerNode + shard; }

struct LoadedShard {
  std::unique_ptr<Conversations> conversations;
  std::unique_ptr<Cursors> cursors;
  std::vector<Repeat> repeats;  // by users of the shard
  uint64_t batch_no = 0;        // of its lane
};

struct LoadedMessages {
  std::vector<LoadedShard> shards;
  uint64_t repeats_forgotten = 0;  // tables or portions that had more than is kept
};

inline constexpr uint32_t kRepeatsLoadedMax = 1'000'000;  // of each kind

sql::Answer<LoadedMessages> load_messages(sql::Connection& connection, const Homes& homes,
                                          uint32_t node, engine::Clock& clock);

}  // namespace ringtalk::store
