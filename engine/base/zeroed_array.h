// ZeroedArray: a fixed array of zero bytes whose pages cost nothing until they are touched.
//
// Why  A std::vector writes its zeroes: a table sized for the worst case would be resident at once.
//      calloc of this size is fresh memory from the kernel, zero by itself.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <type_traits>

#include "engine/base/assert.h"

namespace ringtalk {

template <class T>
class ZeroedArray {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  ZeroedArray() = default;
  explicit ZeroedArray(size_t count) : size_(count) {
    // Room to align by hand: calloc promises 16 bytes only.
    memory_.reset(static_cast<std::byte*>(std::calloc(1, count * sizeof(T) + alignof(T))));
    RT_ASSERT(memory_ != nullptr);
    void* at     = memory_.get();
    size_t space = count * sizeof(T) + alignof(T);
    first_       = static_cast<T*>(std::align(alignof(T), count * sizeof(T), at, space));
  }

  size_t size() const { return size_; }
  T& operator[](size_t i) { return first_[i]; }
  const T& operator[](size_t i) const { return first_[i]; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  size_t size_ = 0;
  std::unique_ptr<std::byte[], Free> memory_;
  T* first_ = nullptr;
};

}  // namespace ringtalk
