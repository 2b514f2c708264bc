// IdSet: user ids as a bitmap in pages of 32 Ki ids, made when the first id of a page appears.
//
// Bound  ids below kUserIdMax: at most 16 MiB; a dense million costs 128 KiB.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "proto/ids.h"
#include "shard/limits.h"

namespace ringtalk::shard {

class IdSet {
 public:
  // False: the id is beyond what can be held.
  bool set(UserId user, bool is_in) {
    if (raw(user) >= kUserIdMax) return false;
    const uint32_t page = raw(user) / kPageBits;
    if (page >= pages_.size()) pages_.resize(page + 1);
    if (!pages_[page]) pages_[page] = std::make_unique<Page>();
    uint64_t& word     = (*pages_[page])[raw(user) % kPageBits / 64];
    const uint64_t bit = 1ull << (raw(user) % 64);
    word               = is_in ? word | bit : word & ~bit;
    return true;
  }

  bool has(UserId user) const {
    const uint32_t page = raw(user) / kPageBits;
    if (page >= pages_.size() || !pages_[page]) return false;
    return (*pages_[page])[raw(user) % kPageBits / 64] >> (raw(user) % 64) & 1;
  }

  uint64_t bytes() const {
    uint64_t made = 0;
    for (const auto& page : pages_) made += page ? sizeof(Page) : 0;
    return made;
  }

 private:
  static constexpr uint32_t kPageBits = 32 * 1024;
  using Page                          = std::array<uint64_t, kPageBits / 64>;
  std::vector<std::unique_ptr<Page>> pages_;
};

}  // namespace ringtalk::shard
