#include "shard/bus.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace ringtalk::shard {
namespace {

Hint message(uint32_t id) {
  return {.conversation = ConversationId::single(UserId(1), UserId(2)), .value = id};
}

std::vector<uint32_t> drain(Bus& bus) {
  std::vector<uint32_t> ids;
  while (auto hint = bus.poll()) ids.push_back(hint->value);
  return ids;
}

TEST(Bus, LocalTellsNobody) {
  LocalBus bus;
  bus.publish(message(1));
  EXPECT_EQ(bus.poll(), std::nullopt);
}

TEST(Bus, OthersHearInOrderWithoutFaults) {
  engine::SeededRandom random(1);
  FakeBusHub hub(random, {});
  FakeBus a(hub), b(hub), c(hub);
  for (uint32_t id = 1; id <= 100; ++id) a.publish(message(id));
  std::vector<uint32_t> all(100);
  std::ranges::generate(all, [n = 0u]() mutable { return ++n; });
  EXPECT_EQ(drain(b), all);
  EXPECT_EQ(drain(c), all);
  EXPECT_TRUE(drain(a).empty()) << "a node does not hear itself";
}

// Every fault shows, and nothing is ever heard that was not said.
TEST(Bus, FaultsLoseRepeatAndReorderButInventNothing) {
  engine::SeededRandom random(7);
  FakeBusHub hub(random, {.lose_percent = 20, .repeat_percent = 20, .reorder_percent = 20});
  FakeBus a(hub), b(hub);
  constexpr uint32_t kHints = 1000;
  for (uint32_t id = 1; id <= kHints; ++id) a.publish(message(id));
  const std::vector<uint32_t> heard = drain(b);
  std::vector<uint32_t> sorted      = heard;
  std::ranges::sort(sorted);
  EXPECT_FALSE(std::ranges::is_sorted(heard));
  EXPECT_NE(std::ranges::adjacent_find(sorted), sorted.end()) << "some came twice";
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  EXPECT_LT(sorted.size(), kHints) << "some were lost";
  EXPECT_GT(sorted.size(), kHints / 2);
  EXPECT_GE(sorted.front(), 1u);
  EXPECT_LE(sorted.back(), kHints);
}

}  // namespace
}  // namespace ringtalk::shard
