#include "store/embedded/embedded_store.h"

#include <gtest/gtest.h>

#include "tests/store/log_world.h"

namespace ringtalk::store {
namespace {

std::string text(uint64_t n, size_t bytes = 40) {
  std::string out = "message " + std::to_string(n) + " ";
  while (out.size() < bytes) out += static_cast<char>('a' + out.size() % 26);
  return out;
}

TEST(EmbeddedStore, AppendCommitReadRestart) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(world.send(pair(1, 2), 1 + i % 2, text(i)));
    ASSERT_TRUE(world.send(group(7), 5, text(i + 1000)));
    if (i % 7 == 0) world.turn();
  }
  world.run_until_idle();
  EXPECT_EQ(world.model[pair(1, 2)].size(), 500u);
  world.check_all();
  ASSERT_TRUE(world.close());

  ASSERT_TRUE(world.open());
  EXPECT_EQ(world.stores->report().records_read, 0u);  // footers said it all
  EXPECT_EQ(world.stores->report().conversations, 2u);
  world.check_all();
  ASSERT_TRUE(world.send(pair(1, 2), 2, "after"));
  world.run_until_idle();
  world.check_all();
}

TEST(EmbeddedStore, ResultsNeverInsideAppendAndInOrder) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(world.send(pair(1, 2 + i % 3), 1, text(i)));
  EXPECT_TRUE(world.order.empty());
  world.run_until_idle();
  ASSERT_EQ(world.order.size(), 100u);
  EXPECT_TRUE(std::ranges::is_sorted(world.order));
}

TEST(EmbeddedStore, KillLosesNothingAcknowledged) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(world.send(pair(1, 2 + i % 5), 1, text(round * 100 + i)));
      if (i % 9 == round % 9) world.turn();
    }
    world.drop();
    world.disk.kill();
    ASSERT_TRUE(world.open(1 + round % 3));
    ASSERT_NO_FATAL_FAILURE(world.adopt_and_check());
    EXPECT_TRUE(world.stores->report().damages.empty());
  }
}

}  // namespace
}  // namespace ringtalk::store
