#include "store/embedded/page_reader.h"

#include <gtest/gtest.h>

#include "store/embedded/verify.h"
#include "tests/store/log_world.h"

namespace ringtalk::store {
namespace {

std::string body_of(engine::Random& random, uint64_t n) {
  size_t bytes = random.below(60);
  if (random.below(50) == 0) bytes = 3000 + random.below(3000);        // about a read window
  if (random.below(400) == 0) bytes = 20'000 + random.below(200'000);  // a sound
  std::string body = std::to_string(n) + ":";
  while (body.size() < bytes) body += static_cast<char>('a' + (body.size() * 7 + n) % 26);
  return body;
}

void fill(LogWorld& world, const std::vector<ConversationId>& conversations, int messages) {
  for (int i = 0; i < messages; ++i) {
    const ConversationId to = conversations[world.random.below(conversations.size())];
    const std::string body  = body_of(world.random, static_cast<uint64_t>(i));
    while (!world.send(to, to.is_group() ? 9 : raw(world.random.below(2) ? to.small() : to.big()),
                       body))
      world.turn();
    if (world.random.below(20) == 0) world.turn();
    if (world.random.below(200) == 0) world.tick();
  }
}

void ask_at_random(LogWorld& world, const std::vector<ConversationId>& conversations, int pages) {
  for (int i = 0; i < pages; ++i) {
    const ConversationId conversation = conversations[world.random.below(conversations.size())];
    const uint64_t newest             = world.model[conversation].size();
    const auto from =
        static_cast<uint32_t>(world.random.below(4) ? world.random.below(newest + 3) : 0);
    const auto count = static_cast<uint32_t>(world.random.below(3) ? world.random.below(140) : 1);
    const auto bytes_max =
        static_cast<uint32_t>(world.random.below(3) ? 1u << 20 : world.random.below(30'000));
    ASSERT_NO_FATAL_FAILURE(world.expect_page(conversation, from, count, bytes_max));
  }
}

// Warm (tails, block records from memory) and after a restart (nothing in memory but heads).
TEST(PageReader, AgreesWithASlowModelWarmAndCold) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    LogWorld world(seed, 4 * kMiB);
    ASSERT_TRUE(world.open());
    const std::vector<ConversationId> conversations{pair(1, 2), pair(1, 3), pair(2, 3), group(1),
                                                    group(2)};
    ASSERT_NO_FATAL_FAILURE(fill(world, conversations, 6000));
    world.run_until_idle();
    ASSERT_NO_FATAL_FAILURE(ask_at_random(world, conversations, 400));
    ASSERT_TRUE(world.close());
    ASSERT_TRUE(world.open());
    ASSERT_NO_FATAL_FAILURE(ask_at_random(world, conversations, 400));
    // Cold conversations go on: their next block records need the pointers to be collected.
    ASSERT_NO_FATAL_FAILURE(fill(world, conversations, 1000));
    world.run_until_idle();
    ASSERT_NO_FATAL_FAILURE(ask_at_random(world, conversations, 400));
    auto verified = verify_log(world.disk);
    ASSERT_TRUE(verified.has_value());
    EXPECT_TRUE(verified->clean()) << verified->problems[0];
    EXPECT_GT(verified->blocks, 6000u / 32 - 20);
  }
}

// More conversations than warm tails: block records come late, from the builder, or not at all.
TEST(PageReader, ManyColdConversations) {
  LogWorld world(11, 4 * kMiB);
  ASSERT_TRUE(world.open(40));  // 512 tails a shard
  std::vector<ConversationId> conversations;
  for (uint32_t i = 0; i < 1500; ++i) conversations.push_back(group(i * 40 + 40));
  for (int round = 0; round < 70; ++round) {
    for (ConversationId conversation : conversations) {
      while (!world.send(conversation, 1, std::to_string(round))) world.turn();
    }
    world.turn();
    if (round % 8 == 0) world.tick();
  }
  world.run_until_idle();
  ASSERT_NO_FATAL_FAILURE(ask_at_random(world, conversations, 300));
  auto verified = verify_log(world.disk);
  ASSERT_TRUE(verified.has_value());
  EXPECT_TRUE(verified->clean()) << verified->problems[0];
  std::printf("late block records: %llu of %zu\n",
              static_cast<unsigned long long>(verified->blocks), conversations.size() * 2);
  EXPECT_GT(verified->blocks, conversations.size());
}

TEST(PageReader, WithFaultyReads) {
  LogWorld world(5, 4 * kMiB);
  ASSERT_TRUE(world.open());
  const std::vector<ConversationId> conversations{pair(1, 2), group(1)};
  ASSERT_NO_FATAL_FAILURE(fill(world, conversations, 3000));
  world.run_until_idle();
  ASSERT_TRUE(world.close());
  world.faults = {.short_file = 300, .delay = 300, .reorder = true};
  ASSERT_TRUE(world.open());
  ASSERT_NO_FATAL_FAILURE(ask_at_random(world, conversations, 300));
}

TEST(PageReader, APageSeesWhatWasAppendedBefore) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(world.send(pair(1, 2), 1, std::to_string(i)));
    const Page page = world.page(pair(1, 2), 0, 1);
    ASSERT_EQ(page.messages.size(), 1u);
    EXPECT_EQ(page.bodies[0], std::to_string(i));
  }
}

TEST(PageReader, AWaitingPageIsAnsweredWhenTheAppendIsRefused) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  ASSERT_TRUE(world.send(pair(1, 2), 1, "kept"));
  world.run_until_idle();
  ASSERT_TRUE(world.send(pair(1, 2), 1, "late", 1, 0, 0, world.clock.now_ns() + 1));
  ASSERT_TRUE(world.of(pair(1, 2)).store->read_page({pair(1, 2), 0, 10, 1000, 5000}));
  world.run_until_idle();
  ASSERT_EQ(world.refused.size() + world.model[pair(1, 2)].size(), 2u);
  EXPECT_TRUE(world.pages[5000].answered);
}

TEST(PageReader, EmptyAndBoundedRequests) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  EXPECT_TRUE(world.page(pair(8, 9), 0, 10).messages.empty());
  EXPECT_TRUE(world.page(pair(8, 9), 77, 10).messages.empty());
  ASSERT_TRUE(world.send(pair(1, 2), 1, std::string(5000, 'x')));
  ASSERT_TRUE(world.send(pair(1, 2), 1, std::string(5000, 'y')));
  EXPECT_EQ(world.page(pair(1, 2), 0, 0).messages.size(), 0u);
  EXPECT_EQ(world.page(pair(1, 2), 0, 10, 0).messages.size(), 1u);  // at least one
  EXPECT_EQ(world.page(pair(1, 2), UINT32_MAX, UINT32_MAX, UINT32_MAX).messages.size(), 2u);
  // Reads in flight are bounded.
  uint32_t taken = 0;
  while (world.of(pair(1, 2)).store->read_page({pair(1, 2), 0, 10, 1000, 100'000 + taken})) ++taken;
  EXPECT_EQ(taken, PageReader::kPagesMax);
  world.run_until_idle();
  for (uint32_t i = 0; i < taken; ++i) EXPECT_TRUE(world.pages[100'000 + i].answered);
}

// Reads that depend on each other are what a cold page costs: count the rounds.
TEST(PageReader, FewDependentReadsOnALongConversation) {
  LogWorld world(1, 64 * kMiB);
  ASSERT_TRUE(world.open());
  constexpr int kMessages = 100'000;
  for (int i = 0; i < kMessages; ++i)
    while (!world.send(pair(1, 2), 1, "x")) world.turn();
  world.run_until_idle();
  world.model.clear();
  ASSERT_TRUE(world.close());
  ASSERT_TRUE(world.open());
  auto& shard    = world.of(pair(1, 2));
  uint32_t worst = 0;
  for (uint32_t from : {0u, 1u, 100u, 50'000u, 99'968u, 99'999u, 31u, 32u, 33u, 65'536u}) {
    const uint64_t cookie = ++world.cookies;
    ASSERT_TRUE(shard.store->read_page({pair(1, 2), from, 100, 1 << 20, cookie}));
    uint32_t rounds = 0;
    uint64_t before = shard.ring->count(engine::FakeOp::read);
    while (!world.pages[cookie].answered) {
      world.turn();
      const uint64_t now = shard.ring->count(engine::FakeOp::read);
      rounds += now != before;
      before = now;
    }
    worst = std::max(worst, rounds);
    EXPECT_EQ(world.pages[cookie].messages.front().msg_id, from == 0 ? kMessages : from);
    EXPECT_EQ(world.pages[cookie].messages.size(), std::min(from == 0 ? 100 : from, 100u));
  }
  std::printf("dependent rounds of reads for 100 of %d messages: at most %u\n", kMessages, worst);
  EXPECT_LE(worst, 40u);
}

}  // namespace
}  // namespace ringtalk::store
