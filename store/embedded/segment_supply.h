// SegmentSupply: a shard's stock of prepared segments: one spare, made before it is needed.
//
// Thread rule  the shard's thread. Work happens in the SegmentWorker.
// Bound        one spare, one preparation under way, one seal per segment left.
// Errors       without space the preparation is tried again every second, for ever; out_of_space() says
//              so meanwhile. Service resumes by itself.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "store/embedded/segment_worker.h"

namespace ringtalk::store {

class SegmentSupply {
 public:
  static constexpr uint64_t kRetryNs = kNsPerS;

  SegmentSupply(SegmentWorker& worker, uint32_t shard) : worker_(worker), shard_(shard) {}
  ~SegmentSupply();
  SegmentSupply(const SegmentSupply&)            = delete;
  SegmentSupply& operator=(const SegmentSupply&) = delete;

  // Asks for a spare if there is none.
  void prepare();
  // The spare, and a new one is asked for; nothing while there is none.
  std::optional<Segment> take();
  bool ready() const { return spare_.has_value(); }
  // The spare will be needed soon.
  void hurry() {
    if (!spare_) worker_.hurry();
  }
  // No spare, and the last try to make one failed.
  bool out_of_space() const { return !spare_ && short_; }
  // Nobody writes to this segment any more.
  void seal(LeftSegment left);
  void on_tick(uint64_t now_ns);
  // The number of the spare, which holds nothing; 0 = none.
  uint32_t spare_number() const { return spare_ ? spare_->number : 0; }

 private:
  class PrepareJob;
  class SealJob;

  void hand_over();
  void on_prepared(Result<Segment> made);

  SegmentWorker& worker_;
  const uint32_t shard_;
  std::optional<Segment> spare_;
  std::vector<LeftSegment> unsealed_;  // could not be handed over yet
  uint64_t retry_at_ns_ = 0;
  bool preparing_       = false;
  bool short_           = false;
  bool rests_           = false;  // after a failure, until retry_at_ns_
};

}  // namespace ringtalk::store
