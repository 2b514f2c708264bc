#include "store/mysql/lane_lock.h"

namespace ringtalk::store {

namespace {

constexpr std::string_view kHolder =
    "SELECT IS_USED_LOCK(CONCAT('ringtalk.', MD5(DATABASE()), '.', ?))";
constexpr std::string_view kTake =
    "SELECT GET_LOCK(CONCAT('ringtalk.', MD5(DATABASE()), '.', ?), 1)";
constexpr std::string_view kKill = "KILL ?";

}  // namespace

sql::Answer<void> take_lane_lock(sql::Connection& connection, uint64_t lane) {
  auto holder = connection.query(kHolder, {lane});
  if (holder && !holder->empty() && holder->number(0, 0) != 0) {
    // One that has gone by itself meanwhile is an error, too.
    if (auto ended = connection.execute(kKill, {holder->number(0, 0)});
        !ended && !connection.alive())
      return std::unexpected(ended.error());
  }
  auto taken = holder ? connection.query(kTake, {lane}) : std::unexpected(holder.error());
  if (!taken) {
    if (taken.error().fault == sql::Fault::other) return {};
    return std::unexpected(taken.error());
  }
  if (taken->number(0, 0) == 1) return {};
  return std::unexpected(sql::Trouble{sql::Fault::conflict, 0, "the lane's lock is not free"});
}

}  // namespace ringtalk::store
