#include "store/redis/rebuild.h"

#include <algorithm>
#include <utility>

#include "engine/base/assert.h"
#include "store/redis/key.h"
#include "store/redis/rows.h"

namespace ringtalk::store::redis {

Result<void> Rebuild::start() {
  const auto size = source_.size();
  if (!size) return std::unexpected(size.error());
  phase_  = Phase::pairs;
  pair_   = 0;
  group_  = {};
  member_ = {};
  user_   = {};
  done_   = 0;
  total_  = size->pairs + size->groups + size->members + size->users;
  return {};
}

Result<bool> Rebuild::step(Outlet& outlet, Changes& changes, uint32_t wall_s) {
  RT_ASSERT(outlet.commands() == 0);
  switch (phase_) {
    case Phase::pairs: return step_pairs(outlet, changes);
    case Phase::groups: return step_groups(outlet);
    case Phase::members: return step_members(outlet);
    case Phase::tokens: return step_tokens(outlet);
    case Phase::last:
      // Where it is missing, the original's servers look through every group there is when they start.
      outlet.to(Pool::unread).add({"SET", "last_update_group", Key(wall_s)});
      if (!outlet.send()) return false;
      phase_ = Phase::none;
      return true;
    case Phase::none: break;
  }
  std::unreachable();
}

Result<bool> Rebuild::step_pairs(Outlet& outlet, Changes& changes) {
  const auto rows = source_.pairs(pair_, kSliceRows);
  if (!rows) return std::unexpected(rows.error());
  for (const PairRow& row : *rows) put(outlet, row);
  if (!outlet.send()) return false;
  for (const PairRow& row : *rows) changes.refresh(row);
  if (!rows->empty()) pair_ = rows->back().relation;
  advance(rows->size(), Phase::groups);
  return true;
}

Result<bool> Rebuild::step_groups(Outlet& outlet) {
  const auto rows = source_.groups(group_, kSliceRows);
  if (!rows) return std::unexpected(rows.error());
  for (const GroupRow& row : *rows) put(outlet, row);
  if (!outlet.send()) return false;
  if (!rows->empty()) group_ = rows->back().group;
  advance(rows->size(), Phase::members);
  return true;
}

Result<bool> Rebuild::step_members(Outlet& outlet) {
  const auto rows = source_.members(member_, kSliceRows);
  if (!rows) return std::unexpected(rows.error());
  for (const MemberRow& row : *rows) put(outlet, row);
  if (!outlet.send()) return false;
  if (!rows->empty()) member_ = rows->back().key;
  advance(rows->size(), Phase::tokens);
  return true;
}

Result<bool> Rebuild::step_tokens(Outlet& outlet) {
  const auto rows = source_.tokens(user_, kSliceRows);
  if (!rows) return std::unexpected(rows.error());
  if (!write_tokens(outlet, *rows)) return false;
  if (!rows->empty()) user_ = rows->back().user;
  advance(rows->size(), Phase::last);
  return true;
}

void Rebuild::advance(size_t rows, Phase next) {
  done_ += rows;
  total_ = std::max(total_, done_);
  if (rows < kSliceRows) phase_ = next;
}

}  // namespace ringtalk::store::redis
