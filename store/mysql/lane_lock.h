// The named lock of a lane: which connection at the server is the lane's.
//
// Why  A connection that we lost may live on at the server, with its row locks, until the server notices: for
//      hours if the network swallows what it sends. Its successor finds it by the lock that it holds, whatever
//      server it meets, and ends it. A server that does not know these words is asked in vain.
// Errors  Trouble of the connection; conflict: the lock is not free yet.
#pragma once

#include <cstdint>

#include "store/mysql/connection.h"

namespace ringtalk::store {

// Ends the connection that has the lane, if there is one, and takes the lane's lock for this one.
sql::Answer<void> take_lane_lock(sql::Connection& connection, uint64_t lane);

}  // namespace ringtalk::store
