#include "store/redis/recent.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <vector>

#include "engine/random.h"

namespace ringtalk::store::redis {
namespace {

constexpr UserId kSmall{1}, kBig{2};
const ConversationId kPair = ConversationId::single(kSmall, kBig);

TEST(Recent, CountsWhatTheOtherWrote) {
  Recent recent;
  EXPECT_EQ(recent.stored(kPair, kSmall, 1), Recent::Told::unknown);
  recent.set({.small = kSmall, .big = kBig, .newest = 1, .big_unread = 1});
  EXPECT_EQ(recent.stored(kPair, kSmall, 1), Recent::Told::nothing) << "it is in the row";
  EXPECT_EQ(recent.stored(kPair, kSmall, 2), Recent::Told::count);
  EXPECT_EQ(recent.unread(kPair, kBig), 2u);
  EXPECT_EQ(recent.stored(kPair, kBig, 3), Recent::Told::count);
  EXPECT_EQ(recent.unread(kPair, kSmall), 1u);
  EXPECT_EQ(recent.read_to(kPair, kBig, 3), Recent::Told::count);
  EXPECT_EQ(recent.unread(kPair, kBig), 0u);
}

TEST(Recent, AGapIsAskedFor) {
  Recent recent;
  recent.set({.small = kSmall, .big = kBig, .newest = 1});
  EXPECT_EQ(recent.stored(kPair, kSmall, 3), Recent::Told::unknown);
  EXPECT_EQ(recent.size(), 0u);
}

TEST(Recent, HoldsNoMoreThanItMay) {
  Recent recent(100);
  for (uint32_t user = 2; user < 5000; ++user) {
    recent.set({.small = kSmall, .big = UserId(user), .newest = user});
    EXPECT_LE(recent.size(), 200u);
    // One that is used often stays.
    EXPECT_NE(recent.read_to(kPair, kBig, user), Recent::Told::unknown) << user;
  }
}

// Two shards tell, each in its own order; rows of the source come in between. Whenever a count is told it is
// that of some state between what was heard of and what is true; in the end it is what is true.
TEST(Recent, TheOrderOfTwoShardsDoesNotMatter) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(seed);
    engine::SeededRandom random(seed);
    std::vector<bool> by_small;
    uint32_t read[2] = {};
    const auto row   = [&] {
      PairRow now{.small      = kSmall,
                    .big        = kBig,
                    .newest     = static_cast<uint32_t>(by_small.size()),
                    .small_read = read[0],
                    .big_read   = read[1]};
      for (uint32_t id = 1; id <= now.newest; ++id)
        (by_small[id - 1] ? now.big_unread : now.small_unread) +=
            id > (by_small[id - 1] ? read[1] : read[0]);
      return now;
    };
    struct Read {
      UserId user;
      uint32_t msg_id;
    };
    std::deque<uint32_t> stored;  // ids that were not told yet
    std::deque<Read> reads[2];
    std::map<UserId, uint32_t> written;  // what a mirror would have written
    Recent recent;
    const auto hear = [&](UserId user, Recent::Told told) {
      if (told == Recent::Told::count) written[user] = recent.unread(kPair, user);
      if (told != Recent::Told::unknown) return;
      recent.set(row());
      written = {{kSmall, row().small_unread}, {kBig, row().big_unread}};
    };
    const auto tell = [&](uint64_t which) {
      if (which == 0 && !stored.empty()) {
        const uint32_t id = stored.front();
        stored.pop_front();
        const bool small = by_small[id - 1];
        hear(small ? kBig : kSmall, recent.stored(kPair, small ? kSmall : kBig, id));
      } else if (which > 0 && !reads[which - 1].empty()) {
        const Read one = reads[which - 1].front();
        reads[which - 1].pop_front();
        hear(one.user, recent.read_to(kPair, one.user, one.msg_id));
      }
    };
    for (uint32_t step = 0; step < 60; ++step) {
      switch (random.below(4)) {
        case 0:
          by_small.push_back(random.below(2) == 0);
          stored.push_back(static_cast<uint32_t>(by_small.size()));
          break;
        case 1: {
          if (by_small.empty()) break;
          const uint64_t who    = random.below(2);
          const uint32_t msg_id = static_cast<uint32_t>(1 + random.below(by_small.size()));
          if (msg_id <= read[who]) break;
          read[who] = msg_id;
          reads[who].push_back({who == 0 ? kSmall : kBig, msg_id});
          break;
        }
        default: tell(random.below(3));
      }
    }
    while (!stored.empty() || !reads[0].empty() || !reads[1].empty()) tell(random.below(3));
    EXPECT_EQ(written[kSmall], row().small_unread);
    EXPECT_EQ(written[kBig], row().big_unread);
  }
}

}  // namespace
}  // namespace ringtalk::store::redis
