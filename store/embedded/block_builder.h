// BlockBuilder: writes the block records that could not leave with their 32nd message, because the
// conversation was not warm: walks back along prev, collects the pointers, hands the block to the commit.
//
// Thread rule  the shard's thread.
// Bound        kWalkersMax conversations at once, kQueueMax waiting; one more is forgotten until its next
//              32nd message. One walk keeps the kPlacesMax oldest pointers it met.
// Errors       an unreadable record ends the walk: readers of that conversation go on along prev.
#pragma once

#include <array>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "store/embedded/commit.h"
#include "store/embedded/record_reader.h"

namespace ringtalk::store {

class BlockBuilder {
 public:
  static constexpr uint32_t kWalkersMax = 4;
  static constexpr uint32_t kQueueMax   = 4096;
  static constexpr uint32_t kPlacesMax  = 1024;

  BlockBuilder(RecordReader& reader, const Heads& heads, Tails& tails, uint32_t salt);
  ~BlockBuilder();

  // The newest block record of the conversation is missing.
  void add(uint64_t conversation);
  void on_staged(const StagedBlock& block, bool written);
  void on_turn(Commit& commit);
  bool idle() const { return queue_.empty() && walking_ == 0; }
  uint64_t forgotten() const { return forgotten_; }

 private:
  class Walker;

  RecordReader& reader_;
  const Heads& heads_;
  Tails& tails_;
  const uint32_t salt_;
  std::array<std::unique_ptr<Walker>, kWalkersMax> walkers_;
  uint32_t walking_ = 0;
  std::deque<uint64_t> queue_;
  boost::unordered_flat_set<uint64_t> queued_;
  uint64_t forgotten_ = 0;
};

}  // namespace ringtalk::store
