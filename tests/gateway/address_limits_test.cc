#include "gateway/address_limits.h"

#include <gtest/gtest.h>

#include <map>

#include "engine/random.h"

namespace ringtalk::gateway {
namespace {

constexpr uint32_t kSomebody = 0x0a000001;

TEST(AddressLimits, StrangersPerAddress) {
  AddressLimits limits(3, 1000);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limits.admit(kSomebody, kNsPerS));
  EXPECT_FALSE(limits.admit(kSomebody, kNsPerS));
  EXPECT_TRUE(limits.admit(kSomebody + 1, kNsPerS)) << "another address";
  limits.forget(kSomebody);
  EXPECT_TRUE(limits.admit(kSomebody, kNsPerS));
  EXPECT_FALSE(limits.admit(kSomebody, kNsPerS));
}

TEST(AddressLimits, ConnectsPerSecond) {
  AddressLimits limits(0, 10);
  uint64_t now = kNsPerS;
  int admitted = 0;
  for (int i = 0; i < 100; ++i) admitted += limits.admit(kSomebody, now);
  EXPECT_EQ(admitted, 10);
  now += kNsPerS;
  for (int i = 0; i < 100; ++i) admitted += limits.admit(kSomebody, now);
  EXPECT_EQ(admitted, 20);
}

TEST(AddressLimits, ARefusedOneIsNotCounted) {
  AddressLimits limits(2, 1000);
  limits.admit(kSomebody, kNsPerS);
  limits.admit(kSomebody, kNsPerS);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(limits.admit(kSomebody, kNsPerS));
  limits.forget(kSomebody);
  limits.forget(kSomebody);
  limits.forget(kSomebody);  // one too many changes nothing
  EXPECT_TRUE(limits.admit(kSomebody, 2 * kNsPerS));
  EXPECT_TRUE(limits.admit(kSomebody, 2 * kNsPerS));
  EXPECT_FALSE(limits.admit(kSomebody, 2 * kNsPerS));
}

TEST(AddressLimits, LoopbackAndUnknownAreExempt) {
  AddressLimits limits(1, 1);
  for (int i = 0; i < 100; ++i)
    for (const uint32_t address : {0x7f000001u, 0x7fffffffu, 0u})
      EXPECT_TRUE(limits.admit(address, 1));
  limits.forget(0);
  limits.forget(0x7f000001);
}

TEST(AddressLimits, OffIsOff) {
  AddressLimits limits(0, 0);
  for (int i = 0; i < 10'000; ++i) EXPECT_TRUE(limits.admit(kSomebody, 1));
}

TEST(AddressLimits, AFloodOfAddressesIsBoundedAndForgotten) {
  AddressLimits limits(2, 10);
  for (uint32_t i = 0; i < AddressLimits::kEntriesMax; ++i)
    EXPECT_TRUE(limits.admit(0x0b000000 + i, kNsPerS));
  // Full of strangers: unknown addresses are admitted unchecked, known ones are still held to it.
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(limits.admit(0x0c000000, kNsPerS));
  EXPECT_TRUE(limits.admit(0x0b000000, kNsPerS));
  EXPECT_FALSE(limits.admit(0x0b000000, kNsPerS));
  // They leave: there is room for new entries, which are checked again.
  for (uint32_t i = 0; i < AddressLimits::kEntriesMax; ++i) limits.forget(0x0b000000 + i);
  int admitted = 0;
  for (int i = 0; i < 10; ++i) admitted += limits.admit(0x0d000000, 5 * kNsPerS);
  EXPECT_EQ(admitted, 2);
}

TEST(AddressLimits, AgainstAModel) {
  engine::SeededRandom random(6);
  AddressLimits limits(4, 0);
  std::map<uint32_t, uint32_t> model;
  for (int i = 0; i < 50'000; ++i) {
    const auto address = static_cast<uint32_t>(0x0a000000 + random.below(30));
    if (random.below(2)) {
      const bool room = model[address] < 4;
      ASSERT_EQ(limits.admit(address, 1), room);
      model[address] += room;
    } else if (model[address] > 0) {
      limits.forget(address);
      --model[address];
    }
  }
}

}  // namespace
}  // namespace ringtalk::gateway
