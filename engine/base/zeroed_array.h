// ZeroedArray: a fixed array of zero bytes, fresh pages from the kernel.
//
// Pages::small  cost nothing until they are touched, then half a microsecond each. A std::vector writes
//               its zeroes: a table sized for the worst case would be resident at once.
// Pages::huge   for what is looked up at random on a hot path, where a TLB miss costs as much as the cache
//               miss behind it. They are touched here: a first touch zeroes 2 MiB, which takes up to 2.5
//               ms, and at that time nobody waits for the thread. So such a table is resident at once.
//               Below two such pages: small ones.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "engine/base/assert.h"
#include "engine/base/units.h"

namespace ringtalk {

enum class Pages : uint8_t { small, huge };

template <class T>
class ZeroedArray {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  static constexpr size_t kHugePageBytes = 2 * kMiB;

  ZeroedArray() = default;
  ZeroedArray(size_t count, Pages pages) : size_(count) {
    if (count == 0) return;
    void* memory =
        mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    RT_ASSERT(memory != MAP_FAILED);
    if (pages == Pages::huge && bytes() >= 2 * kHugePageBytes) {
      // Advice: where it is not taken, pages are small or come when they are touched.
      madvise(memory, bytes(), MADV_HUGEPAGE);
      madvise(memory, bytes(), MADV_POPULATE_WRITE);
    }
    first_ = static_cast<T*>(memory);
  }
  ZeroedArray(ZeroedArray&& other) noexcept
      : size_(std::exchange(other.size_, 0)), first_(std::exchange(other.first_, nullptr)) {}
  ZeroedArray& operator=(ZeroedArray other) noexcept {
    std::swap(size_, other.size_);
    std::swap(first_, other.first_);
    return *this;
  }
  ~ZeroedArray() {
    if (first_) munmap(first_, bytes());
  }

  size_t size() const { return size_; }
  T& operator[](size_t i) { return first_[i]; }
  const T& operator[](size_t i) const { return first_[i]; }

 private:
  size_t bytes() const { return size_ * sizeof(T); }

  size_t size_ = 0;
  T* first_    = nullptr;
};

}  // namespace ringtalk
