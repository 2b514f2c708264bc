// The group checker finds each anomaly and nothing else. Method as in checker_test.cc.
#include "tools/loadgen/group_checker.h"

#include <gtest/gtest.h>

#include "engine/random.h"
#include "tools/loadgen/body.h"

namespace ringtalk::loadgen {
namespace {

constexpr uint32_t kRun     = 7;
constexpr uint32_t kGroup   = 900;
constexpr uint32_t kMembers = 5;

struct Event {
  enum class Kind : uint8_t { send, ack, push };
  Kind kind;
  uint32_t member = 0;
  uint64_t op     = 0;
  uint32_t id     = 0;
  uint32_t author = 0;
  bool damaged    = false;
};

// Members send at random; each hears of the ids in order, at his own time.
std::vector<Event> clean_history(uint64_t seed, uint32_t messages) {
  engine::SeededRandom random(seed);
  std::vector<Event> events;
  std::vector<uint32_t> authors;  // by op; the id is op + 1
  std::array<uint32_t, kMembers> heard{};
  uint32_t finished = 0;
  while (finished < kMembers) {
    if (authors.size() < messages && random.below(4) == 0) {
      authors.push_back(static_cast<uint32_t>(random.below(kMembers)));
      events.push_back({Event::Kind::send, authors.back(), authors.size() - 1});
    }
    const auto member = static_cast<uint32_t>(random.below(kMembers));
    if (heard[member] == authors.size()) continue;
    const uint32_t op = heard[member]++;
    if (heard[member] == messages) ++finished;
    const auto kind = authors[op] == member ? Event::Kind::ack : Event::Kind::push;
    events.push_back({kind, member, op, op + 1, authors[op]});
  }
  return events;
}

AnomalyLog play(const std::vector<Event>& events, bool* done = nullptr) {
  AnomalyLog log;
  std::vector<uint32_t> users;
  for (uint32_t i = 0; i < kMembers; ++i) users.push_back(100 + i);
  GroupChecker checker(kRun, kGroup, users, log);
  for (const Event& e : events) {
    std::byte bytes[kBodyBytesMin];
    encode_body(bytes, {kRun, users[e.author], kGroup, e.op, 1});
    if (e.damaged) bytes[20] ^= std::byte{1};
    switch (e.kind) {
      case Event::Kind::send: EXPECT_EQ(checker.send(e.member, 1), e.op); break;
      case Event::Kind::ack: checker.ack(e.member, Conversation::sequence_of(e.op), e.id); break;
      case Event::Kind::push: checker.push(e.member, {users[e.author], kGroup, e.id, bytes}); break;
    }
  }
  if (done) *done = checker.is_done();
  checker.finish();
  return log;
}

class GroupCheckerTest : public testing::TestWithParam<uint64_t> {
 protected:
  std::vector<Event> events_ = clean_history(GetParam(), 300);
  engine::SeededRandom random_{GetParam()};

  size_t any(Event::Kind kind) {
    for (;;)
      if (const size_t at = random_.below(events_.size()); events_[at].kind == kind) return at;
  }
};

TEST_P(GroupCheckerTest, ACleanHistoryHasNoAnomaly) {
  bool done = false;
  EXPECT_EQ(play(events_, &done).total(), 0u);
  EXPECT_TRUE(done);
}

TEST_P(GroupCheckerTest, AMemberWhoIsLeftOutIsFound) {
  events_.erase(events_.begin() + static_cast<ptrdiff_t>(any(Event::Kind::push)));
  bool done            = true;
  const AnomalyLog log = play(events_, &done);
  EXPECT_EQ(log.count(Anomaly::undelivered), 1u);
  EXPECT_EQ(log.total(), 1u);
  EXPECT_FALSE(done);
}

TEST_P(GroupCheckerTest, ASecondPushIsADuplicate) {
  const size_t at   = any(Event::Kind::push);
  const Event again = events_[at];
  events_.insert(
      events_.begin() + static_cast<ptrdiff_t>(at + 1 + random_.below(events_.size() - at)), again);
  const AnomalyLog log = play(events_);
  EXPECT_EQ(log.count(Anomaly::duplicate), 1u);
  EXPECT_EQ(log.total(), 1u);
}

TEST_P(GroupCheckerTest, ALatePushIsAnInversion) {
  size_t first  = 0;
  size_t second = 0;
  do {  // until it was not that member's last
    first  = any(Event::Kind::push);
    second = first + 1;
    while (second < events_.size() && (events_[second].kind != Event::Kind::push ||
                                       events_[second].member != events_[first].member))
      ++second;
  } while (second == events_.size());
  const Event late = events_[first];
  events_.insert(events_.begin() + static_cast<ptrdiff_t>(second + 1), late);
  events_.erase(events_.begin() + static_cast<ptrdiff_t>(first));
  const AnomalyLog log = play(events_);
  EXPECT_EQ(log.count(Anomaly::inversion), 1u);
  EXPECT_EQ(log.total(), 1u);
}

TEST_P(GroupCheckerTest, DamagedBytesAreCorrupted) {
  Event damaged   = events_[any(Event::Kind::push)];
  damaged.damaged = true;
  events_.push_back(damaged);
  const AnomalyLog log = play(events_);
  EXPECT_EQ(log.count(Anomaly::corrupted), 1u);
  EXPECT_EQ(log.total(), 1u);
}

TEST_P(GroupCheckerTest, AMissingAckIsALostSend) {
  events_.erase(events_.begin() + static_cast<ptrdiff_t>(any(Event::Kind::ack)));
  const AnomalyLog log = play(events_);
  EXPECT_EQ(log.count(Anomaly::lost), 1u);
  EXPECT_EQ(log.total() - log.count(Anomaly::undelivered), 1u)
      << "its author saw no id for it either";
}

INSTANTIATE_TEST_SUITE_P(Seeds, GroupCheckerTest, testing::Range<uint64_t>(1, 21));

}  // namespace
}  // namespace ringtalk::loadgen
