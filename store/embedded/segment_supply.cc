#include "store/embedded/segment_supply.h"

#include <utility>

#include "engine/base/assert.h"

namespace ringtalk::store {

class SegmentSupply::PrepareJob final : public engine::Job {
 public:
  explicit PrepareJob(SegmentSupply& owner)
      : owner_(owner), worker_(owner.worker_), disk_(owner.worker_.disk()), shard_(owner.shard_) {}
  // Never collected: the owner is gone, and the worker is being destroyed; the disk outlives both.
  ~PrepareJob() override {
    if (made_) disk_.close(made_->fd);
  }
  void run() override { made_ = worker_.create(shard_); }
  void done() override { owner_.on_prepared(std::exchange(made_, fail(Errc::closed))); }

 private:
  SegmentSupply& owner_;
  SegmentWorker& worker_;
  engine::Disk& disk_;
  const uint32_t shard_;
  Result<Segment> made_ = fail(Errc::closed);
};

class SegmentSupply::SealJob final : public engine::Job {
 public:
  SealJob(SegmentWorker& worker, LeftSegment left) : worker_(worker), left_(std::move(left)) {}
  void run() override {
    // A segment that could not be sealed keeps its records; the next start seals it. A merge that
    // fails is tried again after the next seal; the footers remain until then.
    if (worker_.seal(std::move(left_))) (void)worker_.merge_if_due();
  }
  void done() override {}
  LeftSegment take_back() { return std::move(left_); }

 private:
  SegmentWorker& worker_;
  LeftSegment left_;
};

SegmentSupply::~SegmentSupply() {
  if (spare_) worker_.disk().close(spare_->fd);
}

void SegmentSupply::prepare() {
  if (spare_ || preparing_ || rests_) return;
  std::unique_ptr<engine::Job> job = std::make_unique<PrepareJob>(*this);
  if (worker_.submit(shard_, job)) preparing_ = true;
}

std::optional<Segment> SegmentSupply::take() {
  if (!spare_) return {};
  Segment taken = *spare_;
  spare_.reset();
  prepare();
  return taken;
}

void SegmentSupply::seal(LeftSegment left) {
  unsealed_.push_back(std::move(left));
  hand_over();
}

void SegmentSupply::hand_over() {
  while (!unsealed_.empty()) {
    std::unique_ptr<engine::Job> job =
        std::make_unique<SealJob>(worker_, std::move(unsealed_.back()));
    if (!worker_.submit(shard_, job)) {
      unsealed_.back() = static_cast<SealJob&>(*job).take_back();
      return;
    }
    unsealed_.pop_back();
  }
}

void SegmentSupply::on_tick(uint64_t now_ns) {
  hand_over();
  if (now_ns < retry_at_ns_) return;
  retry_at_ns_ = now_ns + kRetryNs;
  rests_       = false;
  prepare();
}

void SegmentSupply::on_prepared(Result<Segment> made) {
  RT_ASSERT(preparing_ && !spare_);
  preparing_ = false;
  short_ = rests_ = !made;
  if (made) spare_ = *made;
}

}  // namespace ringtalk::store
