// Pool: things in the making, named by a small number that events and cookies can carry.
//
// Invariants  A number is used again only after give_back().
// Bound       Kept by the caller; the memory is that of the largest number at once.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace ringtalk::shard {

template <class T>
class Pool {
 public:
  uint32_t take() {
    if (free_.empty()) {
      free_.push_back(static_cast<uint32_t>(items_.size()));
      items_.emplace_back();
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    return index;
  }
  T give_back(uint32_t index) {
    free_.push_back(index);
    return std::exchange(items_[index], T{});
  }

  // Valid until the next take().
  T& operator[](uint32_t index) { return items_[index]; }
  uint32_t used() const { return static_cast<uint32_t>(items_.size() - free_.size()); }

 private:
  std::vector<T> items_;
  std::vector<uint32_t> free_;
};

}  // namespace ringtalk::shard
