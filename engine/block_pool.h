// BlockPool: memory for bytes on their way out, in three sizes, with free lists.
//
// Thread rule  One shard's own.
// Bound        What the send queues may hold; kept free blocks are bounded by kKeptBytesMax per size,
//              the rest goes back to the allocator.
// Cost         A pop or a push of a list; the steady state allocates nothing.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>

#include "engine/base/assert.h"
#include "engine/base/units.h"

namespace ringtalk::engine {

class BlockPool {
 public:
  static constexpr std::array<uint32_t, 3> kBlockBytes = {512, 4 * 1024, 16 * 1024};
  static constexpr uint64_t kKeptBytesMax              = 2 * kMiB;

  BlockPool()                            = default;
  BlockPool(const BlockPool&)            = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool() {
    for (Size& size : sizes_)
      while (Free* block = size.head) {
        size.head = block->next;
        std::free(block);
      }
  }

  // The smallest size with at least `bytes`, or the largest there is.
  static uint8_t size_for(uint64_t bytes) {
    for (uint8_t i = 0; i + 1u < kBlockBytes.size(); ++i)
      if (bytes <= kBlockBytes[i]) return i;
    return kBlockBytes.size() - 1;
  }

  void* take(uint8_t size) {
    Size& list = sizes_[size];
    out_bytes_ += kBlockBytes[size];
    if (!list.head) {
      void* fresh = std::malloc(kBlockBytes[size]);
      RT_ASSERT(fresh != nullptr);
      return fresh;
    }
    Free* block = list.head;
    list.head   = block->next;
    --list.kept;
    return block;
  }

  void give(void* memory, uint8_t size) {
    Size& list = sizes_[size];
    out_bytes_ -= kBlockBytes[size];
    if (list.kept * uint64_t{kBlockBytes[size]} >= kKeptBytesMax) return std::free(memory);
    auto* block = static_cast<Free*>(memory);
    block->next = list.head;
    list.head   = block;
    ++list.kept;
  }

  uint64_t out_bytes() const { return out_bytes_; }

 private:
  struct Free {
    Free* next;
  };
  struct Size {
    Free* head    = nullptr;
    uint32_t kept = 0;
  };
  std::array<Size, kBlockBytes.size()> sizes_;
  uint64_t out_bytes_ = 0;
};

}  // namespace ringtalk::engine
