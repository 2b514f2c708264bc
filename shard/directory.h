// Directory: which user ids exist and have not left, two bits' worth of answer per id.
//
// Why          A send to nobody must be refused without asking the store, on any shard.
// Shape        A bitmap in pages of 32 Ki ids, made when the first id of a page appears.
// Bound        ids below kUserIdMax: at most 16 MiB; a dense million costs 128 KiB per shard.
// Thread rule  The shard's own copy; changes arrive by event (users_ask).
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "proto/ids.h"
#include "shard/limits.h"

namespace ringtalk::shard {

class Directory {
 public:
  static constexpr uint8_t kLeft = 3;  // user status: gone, nobody can reach them

  // False: the id is beyond what can be held.
  bool set(UserId user, uint8_t status) {
    if (raw(user) >= kUserIdMax) return false;
    const uint32_t page = raw(user) / kPageBits;
    if (page >= pages_.size()) pages_.resize(page + 1);
    if (!pages_[page]) pages_[page] = std::make_unique<Page>();
    uint64_t& word     = (*pages_[page])[raw(user) % kPageBits / 64];
    const uint64_t bit = 1ull << (raw(user) % 64);
    word               = status == kLeft ? word & ~bit : word | bit;
    return true;
  }

  bool reachable(UserId user) const {
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
