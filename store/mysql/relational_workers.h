// RelationalWriter, RelationalReader: the actors of MySqlRelational, a connection each.
//
// Writer  What waits is one transaction, each call behind a savepoint:
//
//           BEGIN ─ SAVEPOINT, a call, (ROLLBACK TO) ─ … ─ RTLane: number of the batch ─ COMMIT
//
//         A deadlock, or a connection lost before COMMIT was sent: nothing is written, and the whole is
//         done again. No answer to COMMIT: a new connection reads RTLane, whose row waits for the old
//         transaction to end, and knows. Until it knows no other batch begins; for kPatienceNs at
//         most, then the calls hear that nobody knows.
// Reader  One call after another, each without a transaction; done again once if the connection was an old
//         one that had gone.
// Thread rule  As engine/worker.h.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/clock.h"
#include "engine/worker.h"
#include "store/mysql/link.h"
#include "store/store.h"

namespace ringtalk::store {

class RelationalWriter final : public engine::Worker {
 public:
  static constexpr uint32_t kAttemptsMax = 10;

  // A call that writes. work() may run several times.
  class Call : public engine::Job {
   public:
    explicit Call(RelationalWriter& owner) : owner_(owner) {}
    void run() final { owner_.batch_.push_back(this); }
    virtual bool work(Link& link) = 0;  // false: undo it
    // For the whole batch.
    virtual void refuse(Error error) = 0;

   private:
    RelationalWriter& owner_;
  };

  struct Figures {
    std::atomic<uint64_t> connects{0}, conflicts{0}, unknown{0}, commits{0}, calls{0};
  };

  RelationalWriter(sql::Connect connect, engine::Clock& clock, uint32_t shards, uint32_t jobs_max,
                   uint32_t batch_max, uint32_t lane);
  ~RelationalWriter() override { stop(); }

  // Before start(): connects and reads how far the lane is.
  Result<void> open();
  Link& link() { return link_; }
  const Figures& figures() const { return figures_; }

 private:
  enum class Outcome : uint8_t {
    committed,
    not_written,  // done again if it pays
    refused,      // not written, and never will be
    unknown,
  };

  Result<void> commit() override;
  Outcome write_batch();
  Outcome end_batch(bool wrote);
  Outcome find_out();
  void refuse_all(Error error);
  bool may_wait() const { return on_own_thread() && !stopping(); }

  engine::Clock& clock_;
  const uint32_t lane_;
  Link link_;
  uint64_t batch_no_ = 0;  // of the last batch
  std::vector<Call*> batch_;
  Error error_;  // of what was not written
  Figures figures_;
};

class RelationalReader final : public engine::Worker {
 public:
  class Call : public engine::Job {
   public:
    explicit Call(RelationalReader& owner) : owner_(owner) {}
    void run() final { owner_.answer(*this); }
    virtual void work(Link& link)    = 0;
    virtual void refuse(Error error) = 0;

   private:
    RelationalReader& owner_;
  };

  RelationalReader(sql::Connect connect, engine::Clock& clock, uint32_t shards, uint32_t jobs_max);
  ~RelationalReader() override { stop(); }

  // Calls that wait or run; any thread.
  uint32_t load() const { return load_.load(std::memory_order_relaxed); }
  void add_load() { load_.fetch_add(1, std::memory_order_relaxed); }
  void drop_load() { load_.fetch_sub(1, std::memory_order_relaxed); }
  uint64_t connects() const { return connects_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint64_t kRepeatWithinNs = kNsPerS;  // what took longer was no old connection

  void answer(Call& call);

  engine::Clock& clock_;
  Link link_;
  std::atomic<uint32_t> load_{0};
  std::atomic<uint64_t> connects_{0};
};

// A call with a result, for either of them.
template <class Base, class Worker, class T, class Work>
class RelationalCall final : public Base {
 public:
  RelationalCall(Worker& owner, Work work, Callback<T> done)
      : Base(owner), work_(std::move(work)), done_(std::move(done)) {}

  auto work(Link& link) -> decltype(std::declval<Base&>().work(link)) override {
    result_ = work_(link);
    if constexpr (std::is_same_v<Base, RelationalWriter::Call>) return result_.has_value();
  }
  void refuse(Error error) override { result_ = std::unexpected(error); }
  void done() override { done_(std::move(result_)); }

 private:
  Work work_;
  Callback<T> done_;
  Result<T> result_ = fail(Errc::closed);
};

}  // namespace ringtalk::store
