// Published: a value that one thread replaces now and then, and that each reader takes over as a whole.
//
// Thread rule  publish() and taken() on one thread; take(i) on reader i's.
// Cost         take(): one load when nothing is new.
// Bound        kKeptMax values wait for readers that do not take; then publish() refuses.
// Why          a reader copies between two turns, so a turn never sees two settings that do not belong
//              together; and no reader waits, as it would for a lock.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "engine/base/assert.h"

namespace ringtalk::engine {

template <class T>
class Published {
 public:
  static constexpr size_t kKeptMax = 16;

  // Every reader is taken to have `first` already.
  Published(uint32_t readers, T first) : taken_(readers) {
    kept_.push_back(std::make_unique<const Entry>(Entry{1, std::move(first)}));
    newest_.store(kept_.back().get(), std::memory_order_release);
    for (Reader& reader : taken_) reader.version.store(1, std::memory_order_relaxed);
  }
  Published(const Published&)            = delete;
  Published& operator=(const Published&) = delete;

  // False: kKeptMax values were not taken yet.
  bool publish(T value) {
    // A reader may look at the entry that it has taken, and at newer ones: older ones are free to go.
    const uint64_t oldest = oldest_taken();
    while (kept_.size() > 1 && kept_.front()->version < oldest) kept_.pop_front();
    if (kept_.size() >= kKeptMax) return false;
    const uint64_t version = kept_.back()->version + 1;
    kept_.push_back(std::make_unique<const Entry>(Entry{version, std::move(value)}));
    newest_.store(kept_.back().get(), std::memory_order_release);  // partner: take()
    return true;
  }

  // True: every reader has what was published last.
  bool taken() const { return oldest_taken() == kept_.back()->version; }

  // Copies the newest value to `into` if this reader has not taken it yet.
  bool take(uint32_t reader, T& into) {
    RT_ASSERT(reader < taken_.size());
    std::atomic<uint64_t>& mine = taken_[reader].version;
    const Entry& entry          = *newest_.load(std::memory_order_acquire);
    if (entry.version == mine.load(std::memory_order_relaxed)) return false;
    into = entry.value;
    mine.store(entry.version, std::memory_order_release);  // partner: oldest_taken()
    return true;
  }

 private:
  struct Entry {
    uint64_t version;
    T value;
  };
  struct alignas(64) Reader {
    std::atomic<uint64_t> version{0};
  };

  uint64_t oldest_taken() const {
    uint64_t oldest = UINT64_MAX;
    for (const Reader& reader : taken_)
      oldest = std::min(oldest, reader.version.load(std::memory_order_acquire));
    return oldest;
  }

  std::vector<Reader> taken_;
  std::deque<std::unique_ptr<const Entry>> kept_;  // oldest first
  std::atomic<const Entry*> newest_{nullptr};
};

}  // namespace ringtalk::engine
