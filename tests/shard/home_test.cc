#include "shard/home.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace ringtalk::shard {
namespace {

// Ids are dense, shards are few: no shard may get a tenth more than its share.
TEST(Home, SpreadsDenseIdsEvenly) {
  for (const uint32_t shards : {1u, 2u, 3u, 4u, 7u, 16u, 64u, 256u}) {
    std::vector<uint32_t> users(shards), groups(shards), names(shards), pairs(shards);
    const uint32_t each = 4000;
    for (uint32_t id = 1; id <= each * shards; ++id) {
      ASSERT_LT(home(UserId(id), shards), shards);
      ++users[home(UserId(id), shards)];
      ++groups[home(GroupId(id), shards)];
      ++names[login_desk("user" + std::to_string(id), shards)];
      ++pairs[home(ConversationId::single(UserId(id), UserId(id * 7 + 1)), shards)];
    }
    for (const auto& counts : {users, groups, names, pairs})
      for (const uint32_t count : counts) EXPECT_NEAR(count, each, each / 10.0);
  }
}

TEST(Home, AConversationLivesWithItsSmallerUserWhoeverAsks) {
  for (uint32_t a = 1; a < 60; ++a)
    for (uint32_t b = a + 1; b < 60; ++b)
      for (const uint32_t shards : {1u, 2u, 5u, 64u}) {
        const auto one = ConversationId::single(UserId(a), UserId(b));
        EXPECT_EQ(one, ConversationId::single(UserId(b), UserId(a)));
        EXPECT_EQ(home(one, shards), home(UserId(a), shards));
        EXPECT_EQ(one.peer_of(UserId(a)), UserId(b));
        EXPECT_EQ(one.peer_of(UserId(b)), UserId(a));
      }
}

TEST(Home, AGroupIsNotTheUserOfTheSameNumber) {
  uint32_t same = 0;
  for (uint32_t id = 1; id <= 1000; ++id) {
    EXPECT_EQ(home(ConversationId::group(GroupId(id)), 16), home(GroupId(id), 16));
    same += home(UserId(id), 16) == home(GroupId(id), 16);
  }
  EXPECT_LT(same, 150u);
}

TEST(Home, ExtremeIds) {
  for (const uint32_t shards : {1u, 3u, 256u}) {
    EXPECT_LT(home(UserId(UINT32_MAX), shards), shards);
    EXPECT_LT(login_desk("", shards), shards);
    EXPECT_LT(login_desk(std::string(4096, '\xff'), shards), shards);
  }
  // Every process, and the log of every restart, must agree for ever: these values are the format.
  EXPECT_EQ(home(UserId(1), 64), home(ConversationId::single(UserId(1), UserId(9)), 64));
  constexpr std::array<uint32_t, 4> known{home(UserId(1), 1024), home(UserId(2), 1024),
                                          home(UserId(3), 1024), home(UserId(1000000), 1024)};
  for (size_t i = 0; i < known.size(); ++i)
    for (size_t k = i + 1; k < known.size(); ++k) EXPECT_NE(known[i], known[k]);
}

}  // namespace
}  // namespace ringtalk::shard
