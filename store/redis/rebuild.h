// Rebuild: everything that Redis should hold, walked through the source in slices.
//
// Thread rule  The mirror's thread.
// Cost         a slice is one read of the source and one pipeline (three for tokens).
// Order        pairs, groups, members, tokens, each by its key. A slice that could not be read or written is
//              read again, so it is never older than what events told before it was written.
#pragma once

#include <cstdint>

#include "store/redis/changes.h"
#include "store/redis/mirror_source.h"
#include "store/redis/outlet.h"

namespace ringtalk::store::redis {

class Rebuild {
 public:
  static constexpr uint32_t kSliceRows = 1024;

  explicit Rebuild(MirrorSource& source) : source_(source) {}

  bool running() const { return phase_ != Phase::none; }
  // From the beginning.
  Result<void> start();
  void abort() { phase_ = Phase::none; }
  // One slice. The source's error, or true: it is written; false: Redis did not take it.
  Result<bool> step(Outlet& outlet, Changes& changes, uint32_t wall_s);

  uint64_t done() const { return done_; }
  uint64_t total() const { return total_; }  // about

 private:
  enum class Phase : uint8_t { none, pairs, groups, members, tokens, last };

  Result<bool> step_pairs(Outlet& outlet, Changes& changes);
  Result<bool> step_groups(Outlet& outlet);
  Result<bool> step_members(Outlet& outlet);
  Result<bool> step_tokens(Outlet& outlet);
  void advance(size_t rows, Phase next);

  MirrorSource& source_;
  Phase phase_ = Phase::none;
  // What was written last in each walk.
  uint32_t pair_ = 0;
  GroupId group_{};
  MemberKey member_;
  UserId user_{};
  uint64_t done_ = 0, total_ = 0;
};

}  // namespace ringtalk::store::redis
