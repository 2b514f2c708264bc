#include "engine/worker.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace ringtalk::engine {
namespace {

struct Note {
  std::string ran, done;
  int failures = 0;
};

class Letter final : public Job {
 public:
  Letter(Note& note, char letter) : note_(note), letter_(letter) {}
  void run() override { note_.ran += letter_; }
  void failed(Error error) override {
    EXPECT_EQ(error.os, 5);
    failed_ = true;
  }
  void done() override {
    note_.done += letter_;
    note_.failures += failed_;
  }

 private:
  Note& note_;
  char letter_;
  bool failed_ = false;
};

class Batches final : public Worker {
 public:
  using Worker::Worker;
  void begin() override { ++begun; }
  Result<void> commit() override {
    ++committed;
    return fails ? Result<void>(fail_os(5)) : Result<void>();
  }
  int begun = 0, committed = 0;
  bool fails = false;
};

Result<void> submit(Worker& worker, uint32_t from, Note& note, char letter) {
  std::unique_ptr<Job> job = std::make_unique<Letter>(note, letter);
  auto ok                  = worker.submit(from, job);
  EXPECT_EQ(job == nullptr, ok.has_value()) << "a refused job stays with its owner";
  return ok;
}

// Jobs that take long come back one by one, and each shard has its turn.
TEST(Worker, BatchesOfOne) {
  Batches worker(2, 8, /*batch_jobs_max=*/1);
  Note a, b;
  for (char c = 'a'; c < 'd'; ++c) {
    ASSERT_TRUE(submit(worker, 0, a, c));
    ASSERT_TRUE(submit(worker, 1, b, c));
  }
  EXPECT_EQ(worker.run_some(), 1u);
  EXPECT_EQ(worker.collect(0) + worker.collect(1), 1u) << "not held back by those behind it";
  EXPECT_EQ(worker.run_some(), 1u);
  EXPECT_EQ(a.ran + b.ran, "aa") << "the other shard's turn";
  while (worker.run_some() > 0) {
  }
  worker.collect(0);
  worker.collect(1);
  EXPECT_EQ(a.done, "abc");
  EXPECT_EQ(b.done, "abc");
}

TEST(Worker, OrderPerShardAndOneBatch) {
  Batches worker(2, 8);
  Note a, b;
  EXPECT_EQ(worker.run_some(), 0u);
  EXPECT_EQ(worker.begun, 0) << "nothing waits: no empty transaction";
  for (char c = 'a'; c < 'e'; ++c) {
    ASSERT_TRUE(submit(worker, 0, a, c));
    ASSERT_TRUE(submit(worker, 1, b, c));
  }
  EXPECT_FALSE(worker.has_finished(0));
  EXPECT_EQ(worker.run_some(), 8u);
  EXPECT_EQ(worker.begun, 1);
  EXPECT_EQ(worker.committed, 1);
  EXPECT_EQ(a.ran, "abcd");
  EXPECT_EQ(a.done, "") << "done() runs on the shard, out of collect()";
  EXPECT_TRUE(worker.has_finished(0));
  EXPECT_EQ(worker.collect(0), 4u);
  EXPECT_EQ(a.done, "abcd");
  EXPECT_EQ(b.done, "");
  EXPECT_EQ(worker.collect(1), 4u);
  EXPECT_EQ(b.done, "abcd");
  EXPECT_FALSE(worker.has_finished(1));
}

TEST(Worker, FullCountsWhatWaitsAndWhatCameBack) {
  Batches worker(2, 4);
  Note note, other;
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(submit(worker, 0, note, 'x'));
  EXPECT_EQ(submit(worker, 0, note, 'y').error().code, Errc::full);
  EXPECT_TRUE(submit(worker, 1, other, 'o')) << "another shard has its own share";
  worker.run_some();
  EXPECT_EQ(submit(worker, 0, note, 'y').error().code, Errc::full) << "not collected yet";
  worker.collect(0);
  EXPECT_TRUE(submit(worker, 0, note, 'z'));
  worker.run_some();
  worker.collect(0);
  EXPECT_EQ(note.done, "xxxxz");
}

TEST(Worker, AFailedCommitReachesEveryJobOfTheBatch) {
  Batches worker(2, 8);
  Note a, b;
  worker.fails = true;
  submit(worker, 0, a, 'a');
  submit(worker, 1, b, 'b');
  worker.run_some();
  worker.fails = false;
  submit(worker, 0, a, 'c');
  worker.run_some();
  worker.collect(0);
  worker.collect(1);
  EXPECT_EQ(a.failures, 1);
  EXPECT_EQ(b.failures, 1);
  EXPECT_EQ(a.done, "ac");
}

TEST(Worker, ABusyShardDoesNotStarveTheOthers) {
  Batches worker(3, 1024);
  Note busy, modest;
  for (int i = 0; i < 1024; ++i) submit(worker, 0, busy, '.');
  submit(worker, 1, modest, 'm');
  submit(worker, 2, modest, 'n');
  for (int i = 0; i < 2; ++i) {
    worker.run_some();
    while (worker.collect(0) > 0)
      for (int k = 0; k < 256; ++k)
        if (!submit(worker, 0, busy, '.')) break;
  }
  EXPECT_EQ(modest.ran.size(), 2u);
}

TEST(Worker, JobsNeverRunAreDropped) {
  Note note;
  {
    Batches worker(1, 8);
    submit(worker, 0, note, 'a');
    worker.run_some();
    submit(worker, 0, note, 'b');
  }
  EXPECT_EQ(note.ran, "a");
  EXPECT_EQ(note.done, "");
}

class CountingBell final : public Bell {
 public:
  std::atomic<uint32_t> rung{0};

 protected:
  void wake() override {
    rung.fetch_add(1);
    rung.notify_all();
  }
};

// Real threads: stop() runs what still waits; bells wake only who sleeps.
TEST(Worker, ThreadsAndStop) {
  constexpr uint32_t kShards = 3;
  constexpr int kEach        = 5000;
  Worker worker(kShards, 64);
  std::array<CountingBell, kShards> bells;
  for (uint32_t i = 0; i < kShards; ++i) worker.set_bell(i, &bells[i]);
  worker.start("test-worker");
  std::array<Note, kShards> notes;
  std::vector<std::thread> shards;
  for (uint32_t i = 0; i < kShards; ++i)
    shards.emplace_back([&, i] {
      for (int n = 0; n < kEach;) {
        if (submit(worker, i, notes[i], static_cast<char>('a' + n % 26))) {
          ++n;
          continue;
        }
        const uint32_t seen = bells[i].rung.load();
        bells[i].fall_asleep();
        if (!worker.has_finished(i)) bells[i].rung.wait(seen);
        bells[i].wake_up();
        worker.collect(i);
      }
    });
  for (auto& shard : shards) shard.join();
  worker.stop();
  for (uint32_t i = 0; i < kShards; ++i) {
    while (worker.collect(i) > 0) {
    }
    ASSERT_EQ(notes[i].done.size(), static_cast<size_t>(kEach));
    for (int n = 0; n < kEach; ++n) ASSERT_EQ(notes[i].done[static_cast<size_t>(n)], 'a' + n % 26);
    EXPECT_EQ(notes[i].ran, notes[i].done);
  }
  worker.stop();  // again: nothing happens
}

}  // namespace
}  // namespace ringtalk::engine
