#include "store/embedded/segment_worker.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "engine/base/assert.h"
#include "engine/killpoint.h"

namespace ringtalk::store {
namespace {
constexpr uint64_t kFillBytes = kMiB;           // zeros between two looks at whether to stop
constexpr uint64_t kRestShare = 4;              // rests so many times as long as it worked,
constexpr uint64_t kRestNsMax = 20 * kNsPerMs;  // but a slow disk is no reason to do nothing
}  // namespace

uint32_t wall_seconds(engine::Clock& clock) {
  return static_cast<uint32_t>(clock.wall_ns() / kNsPerS);
}

SegmentWorker::SegmentWorker(engine::Disk& disk, engine::Clock& clock, const Settings& settings)
    : Worker(settings.shards, kJobsMax, /*batch_jobs_max=*/1),
      disk_(disk),
      paced_(disk, clock, [this](uint64_t worked_ns) { rest(worked_ns); }),
      clock_(clock),
      settings_(settings),
      salt_(salt_sum(settings.salt)),
      next_number_(settings.next_number) {
  RT_ASSERT(settings.segment_bytes >= kSegmentBytesMin);
  RT_ASSERT(settings.segment_bytes <= kSegmentBytesMax);
}

void SegmentWorker::add_open(uint32_t number) {
  open_.insert(std::ranges::upper_bound(open_, number), number);
}

Result<Segment> SegmentWorker::create(uint32_t shard) {
  const uint32_t number  = next_number_;
  const std::string path = segment_path(number);
  auto fd                = disk_.open(path, engine::Disk::Open::create_new);
  if (!fd) return std::unexpected(fd.error());
  RT_KILLPOINT("segment_after_create");
  auto filled = fill(*fd, number, shard);
  if (filled) filled = disk_.sync_directory("log");
  if (!filled) {
    disk_.close(*fd);
    (void)disk_.remove(path);
    return std::unexpected(filled.error());
  }
  RT_KILLPOINT("segment_after_sync");
  hurry_.store(false, std::memory_order_relaxed);
  ++next_number_;
  add_open(number);
  return Segment{number, *fd};
}

Result<void> SegmentWorker::fill(int fd, uint32_t number, uint32_t shard) {
  if (auto done = disk_.allocate(fd, settings_.segment_bytes); !done) return done;
  std::vector<std::byte> header(kSegmentHeaderBytes);
  encode_segment_header(header.data(), {.segment       = number,
                                        .shard         = shard,
                                        .shards        = settings_.shards,
                                        .created       = wall_seconds(clock_),
                                        .segment_bytes = settings_.segment_bytes,
                                        .salt          = settings_.salt});
  if (auto done = disk_.write(fd, header, 0); !done) return done;
  for (uint64_t at = kSegmentHeaderBytes; at < settings_.segment_bytes;) {
    const uint64_t count = std::min(kFillBytes, settings_.segment_bytes - at);
    if (auto done = paced_.zero(fd, at, count); !done) return done;
    at += count;
    if (stopping()) return fail(Errc::closed);  // nobody will write to it
  }
  RT_KILLPOINT("segment_after_fill");
  return disk_.sync(fd);
}

void SegmentWorker::rest(uint64_t worked_ns) {
  if (on_own_thread() && !stopping() && !hurry_.load(std::memory_order_relaxed))
    std::this_thread::sleep_for(
        std::chrono::nanoseconds(std::min(worked_ns * kRestShare, kRestNsMax)));
}

Result<void> SegmentWorker::seal(LeftSegment left) {
  auto fd = disk_.open(segment_path(left.number), engine::Disk::Open::read_write);
  if (!fd) return std::unexpected(fd.error());
  return seal_with(*fd, left.footer.finish(left.number, left.scan, wall_seconds(clock_)), false);
}

Result<void> SegmentWorker::seal(uint32_t number, Scan* scan) {
  auto fd = disk_.open(segment_path(number), engine::Disk::Open::read_write);
  if (!fd) return std::unexpected(fd.error());
  auto footer = rebuild_footer(disk_, *fd, number, salt_, wall_seconds(clock_), scan);
  if (footer) return seal_with(*fd, *footer, !scan->damages.empty());
  disk_.close(*fd);
  return std::unexpected(footer.error());
}

// Closes fd.
Result<void> SegmentWorker::seal_with(int fd, const Footer& footer, bool damaged) {
  Result<void> done;
  if (footer.records == 0 && !damaged) {
    done = disk_.remove(segment_path(footer.segment));
  } else {
    done = write_footer(paced_, fd, footer, salt_);
    if (done) sealed_.push_back({footer.segment, footer.bytes()});
  }
  disk_.close(fd);
  if (done) std::erase(open_, footer.segment);
  return done;
}

Result<void> SegmentWorker::seal_all() {
  Result<void> done;
  for (const uint32_t number : std::vector<uint32_t>(open_)) {
    Scan scan;
    if (auto sealed = seal(number, &scan); !sealed) done = sealed;
  }
  if (done) done = merge_if_due();
  return done;
}

Result<void> SegmentWorker::merge_if_due() {
  uint64_t footer_bytes = 0;
  for (const Sealed& sealed : sealed_) footer_bytes += sealed.footer_bytes;
  const bool heavy = footer_bytes > std::max(kMergeFooterBytes, snapshot_.bytes / 4);
  if (sealed_.size() < kMergeSegments && !heavy) return {};

  Covered covered = snapshot_.covered;
  std::vector<Footer> footers;
  for (const Sealed& sealed : sealed_) {
    auto fd = disk_.open(segment_path(sealed.number), engine::Disk::Open::read);
    if (!fd) return std::unexpected(fd.error());
    auto footer = load_footer(disk_, *fd, sealed.number, salt_);
    disk_.close(*fd);
    if (!footer) return std::unexpected(footer.error());
    footers.push_back(std::move(*footer));
    covered.add(sealed.number);
  }
  covered.settle(open_, next_number_ - 1);
  auto merged =
      merge_snapshot(paced_, settings_.salt, covered, std::move(footers), wall_seconds(clock_));
  if (!merged) return std::unexpected(merged.error());
  snapshot_ = *merged;
  sealed_.clear();
  return {};
}

}  // namespace ringtalk::store
