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
  SealJob(SegmentSupply& owner, uint32_t number)
      : owner_(owner), worker_(owner.worker_), number_(number) {}
  void run() override {
    done_ = worker_.seal(number_, &scan_);
    // A merge that fails is tried again after the next seal; the footers remain until then.
    if (done_) (void)worker_.merge_if_due();
  }
  void done() override { owner_.on_sealed(number_, done_, std::move(scan_)); }

 private:
  SegmentSupply& owner_;
  SegmentWorker& worker_;
  const uint32_t number_;
  Result<void> done_;
  Scan scan_;
};

SegmentSupply::~SegmentSupply() {
  if (spare_) worker_.disk().close(spare_->fd);
}

void SegmentSupply::prepare() {
  if (spare_ || preparing_) return;
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

void SegmentSupply::seal(uint32_t number) {
  std::unique_ptr<engine::Job> job = std::make_unique<SealJob>(*this, number);
  if (!worker_.submit(shard_, job)) unsealed_.push_back(number);
}

void SegmentSupply::on_tick(uint64_t now_ns) {
  while (!unsealed_.empty()) {
    std::unique_ptr<engine::Job> job = std::make_unique<SealJob>(*this, unsealed_.back());
    if (!worker_.submit(shard_, job)) break;
    unsealed_.pop_back();
  }
  if (now_ns < retry_at_ns_) return;
  retry_at_ns_ = now_ns + kRetryNs;
  prepare();
}

void SegmentSupply::on_prepared(Result<Segment> made) {
  RT_ASSERT(preparing_ && !spare_);
  preparing_ = false;
  short_     = !made;
  if (made) spare_ = *made;
}

void SegmentSupply::on_sealed(uint32_t, Result<void> done, Scan scan) {
  // A segment that could not be sealed keeps its records; the next start seals it.
  if (done) damages_.insert(damages_.end(), scan.damages.begin(), scan.damages.end());
}

}  // namespace ringtalk::store
