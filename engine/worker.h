// Worker: the actor that may block. Shards hand it jobs; it runs them and hands them back.
//
// Thread rule  submit() on shard `from`, one thread per shard; run_some() on the worker's thread (or
//              the simulator's); collect() on shard `from`, which runs Job::done() there.
// Order        Jobs of one shard run, and come back, in the order submitted.
// Bound        jobs_max per shard, waiting and finished together: a shard that has so many out gets
//              Errc::full, so the way back always has room and a worker never waits for a shard.
// Fairness     Batches begin with each shard in turn: one that always has a full batch waiting does not
//              keep the others out.
// Batches      run_some() takes all that waits (up to a bound) and brackets it with begin() and
//              commit(): a SQLite worker makes one transaction of them. Results go back only after
//              commit(); when it fails each job's failed() is called instead of leaving it done.
// Why          run_some() is a plain call, so the simulator runs the same workers without threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "engine/base/result.h"
#include "engine/bell.h"
#include "engine/spsc_queue.h"

namespace ringtalk::engine {

class Job {
 public:
  virtual ~Job()     = default;
  virtual void run() = 0;        // worker thread; may block
  virtual void failed(Error) {}  // worker thread: the batch did not commit
  virtual void done() = 0;       // shard thread
};

class Worker {
 public:
  static constexpr uint32_t kBatchJobsMax = 256;

  // batch_jobs_max: 1 for jobs that take long and gain nothing from company.
  Worker(uint32_t shards, uint32_t jobs_max, uint32_t batch_jobs_max = kBatchJobsMax);
  virtual ~Worker();
  Worker(const Worker&)            = delete;
  Worker& operator=(const Worker&) = delete;

  // Whom to wake when shard `shard`'s jobs come back. Before the first submit().
  void set_bell(uint32_t shard, Bell* bell) { lanes_[shard]->bell = bell; }

  // Errc::full leaves `job` with the caller.
  Result<void> submit(uint32_t from, std::unique_ptr<Job>& job);
  // Runs done() of finished jobs of shard `from`; returns how many.
  uint32_t collect(uint32_t from);
  // Shard: collect() would find something. To be asked before the loop sleeps.
  bool has_finished(uint32_t from) const { return !lanes_[from]->finished.empty(); }

  // One batch: returns the number of jobs run (0: nothing waits).
  uint32_t run_some();

  // A thread that calls run_some() until stop(), which runs what still waits and joins. nice: see
  // setpriority(2); above 0 it gives way to shards and to workers that somebody waits for.
  void start(const char* thread_name, int nice = 0);
  void stop();

 protected:
  // Worker's thread. False in a simulator, where a job must not wait for real time to pass.
  bool on_own_thread() const { return on_own_thread_; }
  // stop() was called: jobs that only prepare something need not be finished.
  bool stopping() const { return stopping_.load(std::memory_order_relaxed); }

  virtual void begin() {}
  virtual Result<void> commit() { return {}; }

 private:
  struct Lane {
    explicit Lane(uint32_t jobs) : waiting(jobs), finished(jobs) {}
    SpscQueue<Job*> waiting;
    SpscQueue<Job*> finished;
    uint32_t out = 0;  // shard: submitted and not yet collected
    Bell* bell   = nullptr;
  };

  void loop();

  const uint32_t batch_jobs_max_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  size_t first_lane_ = 0;            // worker: whose jobs the next batch takes first
  std::atomic<uint32_t> signal_{0};  // raised by submit(); the worker waits on it
  std::atomic<bool> stopping_{false};
  bool on_own_thread_ = false;  // worker
  std::thread thread_;
};

}  // namespace ringtalk::engine
