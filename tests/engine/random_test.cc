#include "engine/random.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

namespace ringtalk::engine {
namespace {

TEST(SeededRandom, OneSeedOneSequence) {
  SeededRandom a(7), b(7), c(8);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t value = a.next();
    EXPECT_EQ(value, b.next());
    differs |= value != c.next();
  }
  EXPECT_TRUE(differs);
}

// The first words of xoshiro256** seeded by splitmix64(0), from the authors' reference code.
TEST(SeededRandom, EqualsTheReference) {
  SeededRandom random(0);
  EXPECT_EQ(random.next(), 0x99ec5f36cb75f2b4u);
  EXPECT_EQ(random.next(), 0xbf6e1f784956452au);
}

TEST(SeededRandom, FillsEveryLength) {
  for (size_t bytes = 0; bytes < 40; ++bytes) {
    SeededRandom random(3);
    std::vector<std::byte> buffer(bytes + 1, std::byte{0xee});
    random.fill(MutableBytes(buffer).first(bytes));
    EXPECT_EQ(buffer[bytes], std::byte{0xee});
    SeededRandom again(3);
    for (size_t at = 0; at < bytes; at += 8) {
      const uint64_t word = again.next();
      EXPECT_EQ(std::memcmp(&buffer[at], &word, std::min<size_t>(8, bytes - at)), 0);
    }
  }
}

TEST(Random, BelowStaysBelowAndIsEven) {
  SeededRandom random(1);
  std::array<int, 10> seen{};
  for (int i = 0; i < 100'000; ++i) ++seen[random.below(10)];
  for (int count : seen) EXPECT_NEAR(count, 10'000, 500);  // 5 sigma
  EXPECT_EQ(random.below(1), 0u);
  for (int i = 0; i < 1000; ++i) EXPECT_LT(random.below(UINT64_MAX / 2 + 2), UINT64_MAX / 2 + 2);
}

TEST(SystemRandom, DoesNotRepeat) {
  SystemRandom random;
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(seen.insert(random.next()).second);
}

}  // namespace
}  // namespace ringtalk::engine
