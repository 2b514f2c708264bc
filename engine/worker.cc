#include "engine/worker.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bit>

#include "engine/base/assert.h"

namespace ringtalk::engine {

Worker::Worker(uint32_t shards, uint32_t jobs_max, uint32_t batch_jobs_max)
    : batch_jobs_max_(batch_jobs_max) {
  for (uint32_t i = 0; i < shards; ++i)
    lanes_.push_back(std::make_unique<Lane>(std::bit_ceil(jobs_max)));
}

Worker::~Worker() {
  stop();
  Job* job = nullptr;
  for (auto& lane : lanes_) {
    while (lane->waiting.pop(job)) delete job;
    while (lane->finished.pop(job)) delete job;
  }
}

Result<void> Worker::submit(uint32_t from, std::unique_ptr<Job>& job) {
  Lane& lane = *lanes_[from];
  if (lane.out == lane.waiting.capacity()) return fail(Errc::full);
  ++lane.out;
  const bool pushed = lane.waiting.push(job.release());
  RT_ASSERT(pushed);
  signal_.fetch_add(1, std::memory_order_release);  // partner: loop()'s wait
  signal_.notify_one();
  return {};
}

uint32_t Worker::collect(uint32_t from) {
  Lane& lane     = *lanes_[from];
  uint32_t count = 0;
  for (Job* job = nullptr; count < kBatchJobsMax && lane.finished.pop(job); ++count) {
    std::unique_ptr<Job> owned(job);
    --lane.out;
    owned->done();
  }
  return count;
}

uint32_t Worker::run_some() {
  struct Taken {
    std::unique_ptr<Job> job;
    Lane* lane;
  };
  std::vector<Taken> batch;
  for (size_t i = 0; i < lanes_.size(); ++i) {
    Lane* lane = lanes_[(first_lane_ + i) % lanes_.size()].get();
    for (Job* job = nullptr; batch.size() < batch_jobs_max_ && lane->waiting.pop(job);)
      batch.push_back({std::unique_ptr<Job>(job), lane});
  }
  first_lane_ = (first_lane_ + 1) % lanes_.size();
  if (batch.empty()) return 0;

  begin();
  for (auto& [job, lane] : batch) job->run();
  if (auto committed = commit(); !committed)
    for (auto& [job, lane] : batch) job->failed(committed.error());
  for (auto& [job, lane] : batch) {
    const bool pushed = lane->finished.push(job.release());
    RT_ASSERT(pushed);  // `out` bounds both queues together
  }
  for (auto& lane : lanes_)
    if (lane->bell && !lane->finished.empty()) lane->bell->ring();
  return static_cast<uint32_t>(batch.size());
}

void Worker::start(const char* thread_name, int nice) {
  thread_ = std::thread([this, nice] {
    // Of this thread only: on Linux a thread has a priority of its own. Raising the number never fails.
    if (nice > 0) ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), nice);
    loop();
  });
  pthread_setname_np(thread_.native_handle(), thread_name);
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_release);
  signal_.fetch_add(1, std::memory_order_release);
  signal_.notify_one();
  thread_.join();
}

void Worker::loop() {
  on_own_thread_ = true;
  for (;;) {
    const uint32_t seen = signal_.load(std::memory_order_acquire);
    if (run_some() > 0) continue;
    if (stopping_.load(std::memory_order_acquire)) break;
    signal_.wait(seen, std::memory_order_acquire);
  }
  on_own_thread_ = false;
}

}  // namespace ringtalk::engine
