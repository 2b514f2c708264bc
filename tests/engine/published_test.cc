#include "engine/published.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace ringtalk::engine {
namespace {

TEST(Published, AReaderTakesTheNewestOnce) {
  Published<int> value(2, 1);
  int mine = 0;
  EXPECT_FALSE(value.take(0, mine)) << "the first is everybody's already";
  EXPECT_TRUE(value.taken());
  EXPECT_TRUE(value.publish(2));
  EXPECT_TRUE(value.publish(3));
  EXPECT_FALSE(value.taken());
  EXPECT_TRUE(value.take(0, mine));
  EXPECT_EQ(mine, 3);
  EXPECT_FALSE(value.take(0, mine));
  EXPECT_FALSE(value.taken());
  EXPECT_TRUE(value.take(1, mine));
  EXPECT_TRUE(value.taken());
}

TEST(Published, AReaderThatNeverTakesBoundsWhatIsKept) {
  Published<int> value(2, 0);
  int mine       = 0;
  size_t success = 0;
  for (int i = 1; i <= 100; ++i) {
    success += value.publish(i);
    value.take(0, mine);
  }
  EXPECT_EQ(success, Published<int>::kKeptMax - 1);
  EXPECT_TRUE(value.take(1, mine));
  EXPECT_EQ(mine, static_cast<int>(success));
  EXPECT_TRUE(value.publish(7)) << "room again";
}

// Every number of a value is the same; a torn or freed one would show different ones (or ASan does).
TEST(Published, ThreadsSeeWholeValuesInOrder) {
  using Value                 = std::array<uint64_t, 64>;
  constexpr uint32_t kReaders = 3;
  constexpr uint64_t kLast    = 2'000;
  Published<Value> value(kReaders, Value{});
  std::atomic<uint32_t> torn{0};
  std::vector<std::thread> readers;
  for (uint32_t i = 0; i < kReaders; ++i)
    readers.emplace_back([&, i] {
      Value mine{};
      for (uint64_t before = 0; mine[0] != kLast;) {
        if (!value.take(i, mine)) continue;
        for (const uint64_t number : mine) torn += number != mine[0];
        torn += mine[0] <= before;
        before = mine[0];
      }
    });
  for (uint64_t n = 1; n <= kLast; ++n) {
    Value next;
    next.fill(n);
    while (!value.publish(next)) std::this_thread::yield();
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(torn, 0u);
  EXPECT_TRUE(value.taken());
}

}  // namespace
}  // namespace ringtalk::engine
