#include "shard/users.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>

#include "engine/random.h"

namespace ringtalk::shard {
namespace {

class Nobody final : public Session {
 public:
  explicit Nobody(uint32_t id) {
    user  = UserId(id);
    state = SessionState::open;
  }
  std::byte* reserve(uint32_t) override { return nullptr; }
  void push(const engine::PayloadRef&) override {}
  uint32_t queued_bytes() const override { return 0; }
  bool is_behind() const override { return false; }
  void wake() override {}
  void wake_at(uint64_t) override {}
  void finish() override {}
  void abort() override {}
  bool can_move() const override { return false; }
  void move_to(uint32_t) override {}
  void kicked() override {}
  void opened(Bytes) override {}
  engine::PayloadRef take_unread() override { return {}; }
};

TEST(Users, AgainstAModel) {
  engine::SeededRandom random(5);
  Users users;
  std::map<uint32_t, std::set<Session*>> model;
  std::vector<std::unique_ptr<Nobody>> all;
  uint64_t now = kNsPerS;
  for (int i = 0; i < 20'000; ++i) {
    const auto id = static_cast<uint32_t>(1 + random.below(40));
    switch (random.below(4)) {
      case 0: {
        all.push_back(std::make_unique<Nobody>(id));
        users.attach(*all.back());
        model[id].insert(all.back().get());
        break;
      }
      case 1:
        if (!model[id].empty()) {
          Session* session = *model[id].begin();
          users.detach(*session, now);
          users.detach(*session, now);  // a second time changes nothing
          model[id].erase(session);
        }
        break;
      case 2:
        if (auto* entry = users.find(UserId(id))) entry->sends.take(now, 20);
        break;
      default: now += random.below(200 * kNsPerMs); users.tick(now);
    }
    std::set<Session*> seen;
    users.each_session(UserId(id), [&](Session& s) { EXPECT_TRUE(seen.insert(&s).second); });
    ASSERT_EQ(seen, model[id]);
  }
}

TEST(Users, WhoLeavesKeepsHisPaceUntilItIsFull) {
  Users users;
  Nobody first(7);
  users.attach(first);
  const uint64_t now = 10 * kNsPerS;
  for (int i = 0; i < 20; ++i) users.find(UserId(7))->sends.take(now, 20);
  users.detach(first, now);
  EXPECT_EQ(users.count(), 1u);
  users.tick(now + 900 * kNsPerMs);
  Nobody again(7);
  users.attach(again);
  EXPECT_NE(users.find(UserId(7))->sends.wait_until(now, 20, 20), 0u) << "no new burst";
  users.tick(now + 2 * kNsPerS);
  EXPECT_NE(users.find(UserId(7)), nullptr) << "he is here again";
  users.detach(again, now + 2 * kNsPerS);
  EXPECT_EQ(users.count(), 0u) << "full: forgotten at once";

  // Flapping does not pile up.
  for (int i = 0; i < 1000; ++i) {
    Nobody flap(8);
    users.attach(flap);
    users.find(UserId(8))->sends.take(now, 20);
    users.detach(flap, now);
  }
  users.tick(now + 3600 * kNsPerS);
  EXPECT_EQ(users.count(), 0u);
}

TEST(Users, OnlyOpenSessionsAreVisited) {
  Users users;
  Nobody a(1), b(1), c(1);
  for (Nobody* s : {&a, &b, &c}) users.attach(*s);
  b.state  = SessionState::leaving;
  int seen = 0;
  users.each_session(UserId(1), [&](Session& s) {
    ++seen;
    users.detach(s, 0);  // as a kick does, in the middle of the visit
  });
  EXPECT_EQ(seen, 2);
  int left = 0;
  b.state  = SessionState::open;
  users.each_session(UserId(1), [&](Session&) { ++left; });
  EXPECT_EQ(left, 1);
}

}  // namespace
}  // namespace ringtalk::shard
