#include "engine/spsc_queue.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <thread>

#include "engine/random.h"

namespace ringtalk::engine {
namespace {

TEST(SpscQueue, AgainstADeque) {
  SeededRandom random(2);
  for (const uint32_t capacity : {1u, 2u, 8u, 64u}) {
    SpscQueue<std::unique_ptr<int>> queue(capacity);
    std::deque<int> model;
    for (int i = 0; i < 20'000; ++i) {
      if (random.below(2)) {
        auto value        = std::make_unique<int>(i);
        const bool pushed = queue.push(std::move(value));
        ASSERT_EQ(pushed, model.size() < capacity);
        ASSERT_EQ(value == nullptr, pushed) << "a refused value stays with its owner";
        if (pushed) model.push_back(i);
      } else {
        std::unique_ptr<int> out;
        ASSERT_EQ(queue.pop(out), !model.empty());
        if (out) {
          ASSERT_EQ(*out, model.front());
          model.pop_front();
        }
      }
      ASSERT_EQ(queue.empty(), model.empty());
      ASSERT_EQ(queue.free(), capacity - model.size());
    }
  }
}

TEST(SpscQueue, FreeIsAPromise) {
  SpscQueue<int> queue(16);
  for (int round = 0; round < 100; ++round) {
    for (uint32_t n = queue.free(); n > 0; --n) ASSERT_TRUE(queue.push(int{round}));
    ASSERT_FALSE(queue.push(1));
    int out;
    for (int n = round % 16; n >= 0; --n) ASSERT_TRUE(queue.pop(out));
  }
}

// Two threads; every value arrives once and in order. The race detector watches.
TEST(SpscQueue, TwoThreads) {
  constexpr uint64_t kCount = 300'000;
  SpscQueue<std::array<uint64_t, 8>> queue(64);
  std::thread producer([&] {
    for (uint64_t i = 0; i < kCount;) {
      for (uint32_t n = queue.free(); n > 0 && i < kCount; --n, ++i) {
        std::array<uint64_t, 8> value;
        value.fill(i);
        RT_ASSERT(queue.push(std::move(value)));
      }
      std::this_thread::yield();
    }
  });
  uint64_t wanted = 0;
  bool right      = true;
  std::array<uint64_t, 8> got{};
  while (wanted < kCount) {
    if (!queue.pop(got)) {
      std::this_thread::yield();
      continue;
    }
    for (const uint64_t word : got) right &= word == wanted;
    ++wanted;
  }
  producer.join();
  EXPECT_TRUE(right);
  EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace ringtalk::engine
