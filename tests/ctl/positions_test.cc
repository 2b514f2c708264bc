// The rules by which TeamTalk's rows and counters become ids and read positions.
#include "tools/ctl/teamtalk/positions.h"

#include <gtest/gtest.h>

#include <limits>

namespace ringtalk::ctl {
namespace {

constexpr uint32_t kNow    = 1'700'000'000;
constexpr uint32_t kInsane = std::numeric_limits<uint32_t>::max();

struct Line {
  uint32_t msg_id, author, created;
  bool visible = true;
};

Conversation made(std::initializer_list<Line> lines, std::optional<uint64_t> counter = std::nullopt,
                  uint32_t small = 1) {
  std::vector<OldMessage> messages;
  uint32_t id = 0;
  for (const Line& line : lines)
    messages.push_back({++id, line.msg_id, line.author, line.created, line.visible});
  sort_messages(messages);
  return {messages, counter, small, kNow};
}

TEST(Positions, PlainConversation) {
  const auto talk = made({{1, 1, 10}, {2, 2, 20}, {3, 1, 30}, {4, 2, 40}, {5, 2, 50}}, 5);
  EXPECT_EQ(talk.newest(), 5u);
  EXPECT_EQ(talk.small(), 2u);
  EXPECT_EQ(talk.hidden(), 0u);
  EXPECT_EQ(talk.time(), 50u);
  EXPECT_EQ(talk.below(0, 2), 5u);
  EXPECT_EQ(talk.below(1, 2), 4u);
  EXPECT_EQ(talk.below(2, 2), 3u);
  EXPECT_EQ(talk.below(3, 2), 1u);
  EXPECT_EQ(talk.below(4, 2), 0u) << "fewer than that";
  EXPECT_EQ(talk.below(std::numeric_limits<uint64_t>::max(), 2), 0u);
  EXPECT_EQ(talk.unread_behind(1, 1), 3u);
  EXPECT_EQ(talk.unread_behind(0, 2), 2u);
  EXPECT_EQ(talk.unread_behind(5, 1), 0u);
}

TEST(Positions, GapsDeletedRepeatedAndInsaneIds) {
  const auto talk = made({{1, 1, 10},
                          {2, 1, 20},
                          {2, 2, 25},
                          {4, 2, 30, false},
                          {7, 1, 40},
                          {kInsane, 2, 50},
                          {0, 2, 60}},
                         9);
  EXPECT_EQ(talk.newest(), 9u);
  EXPECT_EQ(talk.hidden(), 6u) << "3, 4, 5, 6, 8, 9";
  EXPECT_EQ(talk.small(), 2u) << "1 and 7; the later row of 2 is the other's";
  EXPECT_EQ(talk.time(), 40u);
  EXPECT_EQ(talk.below(1, 1), 6u);
  EXPECT_EQ(talk.below(2, 1), 1u) << "the counter counted the first row of 2, too";
  EXPECT_EQ(talk.below(1, 2), 1u);
  EXPECT_EQ(talk.unread_behind(1, 1), 1u);
}

// What the engine computes from newest, small and hidden is what was counted.
TEST(Positions, FiguresAgreeWithCounting) {
  const auto talk = made({{2, 1, 1}, {3, 2, 1}, {5, 1, 1}, {8, 2, 1, false}, {9, 2, 1}}, 12);
  EXPECT_EQ(talk.newest() - talk.small() - talk.hidden(), talk.unread_behind(0, 1));
  EXPECT_EQ(talk.small(), talk.unread_behind(0, 2));
}

TEST(Positions, CountersThatAreNone) {
  EXPECT_EQ(made({{3, 1, 1}}, kInsane).newest(), 3u);
  EXPECT_EQ(made({{3, 1, 1}}, uint64_t{kInsane} * 2).newest(), 3u);
  EXPECT_EQ(made({{3, 1, 1}}, 1).newest(), 3u) << "restarted from an old snapshot";
  EXPECT_EQ(made({{3, 1, 1}}, std::nullopt).newest(), 3u);
  EXPECT_TRUE(made({}).empty());
  EXPECT_TRUE(made({{kInsane, 1, 1}}, 0).empty());
  const auto lost = made({}, 4);
  EXPECT_EQ(lost.newest(), 4u) << "clients know ids up to 4";
  EXPECT_EQ(lost.hidden(), 4u);
}

TEST(Positions, TimesBeyondNowAreNotBelieved) {
  EXPECT_EQ(made({{1, 1, kNow + 1000}}).time(), kNow);
}

TEST(Positions, FirstIdOfAMember) {
  const auto talk = made({{1, 1, 10}, {2, 1, 30}, {3, 1, 20}, {4, 1, 40, false}}, 6, 0);
  EXPECT_EQ(talk.first_since(0), 1u);
  EXPECT_EQ(talk.first_since(10), 1u);
  EXPECT_EQ(talk.first_since(11), 2u);
  EXPECT_EQ(talk.first_since(25), 2u);
  EXPECT_EQ(talk.first_since(30), 2u);
  EXPECT_EQ(talk.first_since(31), 7u) << "a message that nobody sees is not the first";
  EXPECT_EQ(made({}, std::nullopt, 0).first_since(1), 1u);
}

TEST(Positions, NewestOfEachAuthor) {
  const auto newest = made({{1, 1, 1}, {2, 2, 1}, {3, 1, 1}}).newest_by_author();
  EXPECT_EQ(newest.at(1), 3u);
  EXPECT_EQ(newest.at(2), 2u);
}

TEST(Positions, GroupCounters) {
  EXPECT_EQ(group_unread(10, 7), 3u);
  EXPECT_EQ(group_unread(10, 12), 0u) << "less than nothing is nothing";
  EXPECT_EQ(group_unread(10, std::nullopt), std::nullopt);
  EXPECT_EQ(group_unread(std::nullopt, 3), 0u);
}

}  // namespace
}  // namespace ringtalk::ctl
