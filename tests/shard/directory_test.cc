#include "shard/directory.h"

#include <gtest/gtest.h>

#include <set>

#include "engine/random.h"

namespace ringtalk::shard {
namespace {

TEST(Directory, AgainstASet) {
  engine::SeededRandom random(1);
  Directory directory;
  std::set<uint32_t> model;
  const auto pick = [&] {
    const uint32_t edges[] = {0, 1, 63, 64, 65, 32767, 32768, 32769, kUserIdMax - 1};
    return random.below(3) ? static_cast<uint32_t>(random.below(200'000))
                           : edges[random.below(std::size(edges))];
  };
  for (int i = 0; i < 20'000; ++i) {
    const uint32_t id = pick();
    const auto status = static_cast<uint8_t>(random.below(5));
    ASSERT_TRUE(directory.set(UserId(id), status));
    if (status == Directory::kLeft) {
      model.erase(id);
    } else {
      model.insert(id);
    }
    const uint32_t ask = pick();
    ASSERT_EQ(directory.reachable(UserId(ask)), model.contains(ask)) << ask;
  }
}

TEST(Directory, BeyondItsBoundIsRefusedAndCostsNothing) {
  Directory directory;
  EXPECT_FALSE(directory.set(UserId(kUserIdMax), 0));
  EXPECT_FALSE(directory.set(UserId(UINT32_MAX), 0));
  EXPECT_FALSE(directory.reachable(UserId(kUserIdMax)));
  EXPECT_FALSE(directory.reachable(UserId(UINT32_MAX)));
  EXPECT_EQ(directory.bytes(), 0u);
}

TEST(Directory, ADenseMillionCosts128KiB) {
  Directory directory;
  for (uint32_t id = 1; id <= 1'000'000; ++id) directory.set(UserId(id), 0);
  EXPECT_LE(directory.bytes(), 128 * kKiB);
  directory.set(UserId(kUserIdMax - 1), 0);
  EXPECT_LE(directory.bytes(), 132 * kKiB) << "one far id makes one page";
}

}  // namespace
}  // namespace ringtalk::shard
