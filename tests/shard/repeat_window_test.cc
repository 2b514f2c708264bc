#include "shard/repeat_window.h"

#include <gtest/gtest.h>

#include <map>

#include "engine/base/units.h"
#include "engine/random.h"

namespace ringtalk::shard {
namespace {

using Places = RepeatWindow::Places;

constexpr uint32_t kNow = 1'700'000'000;

// Roomy enough that nothing is evicted: then it must answer as a map does.
class RepeatWindowPlaces : public testing::TestWithParam<Places> {};
INSTANTIATE_TEST_SUITE_P(Both, RepeatWindowPlaces,
                         testing::Values(Places::by_key, Places::by_sequence));

TEST_P(RepeatWindowPlaces, AgainstAMap) {
  engine::SeededRandom random(9);
  RepeatWindow window(4 * kMiB, 60, GetParam());
  struct Entry {
    uint32_t value, time;
    bool waiting;
  };
  std::map<std::pair<uint64_t, uint32_t>, Entry> model;
  uint32_t now = kNow;
  std::vector<uint64_t> keys;
  for (int i = 0; i < 300; ++i) keys.push_back(random.next() | 1);
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t key = keys[random.below(keys.size())];
    const auto author  = static_cast<uint32_t>(1 + random.below(2));
    const auto value   = static_cast<uint32_t>(random.next());
    Entry* known       = model.contains({key, author}) ? &model[{key, author}] : nullptr;
    switch (random.below(5)) {
      case 0:
        window.put_waiting(key, UserId(author), value, now);
        model[{key, author}] = {value, now, true};
        break;
      case 1:
        window.put_durable(key, UserId(author), value, now);
        model[{key, author}] = {value, now, false};
        break;
      case 2:
        window.forget(key, UserId(author));
        if (known && known->waiting) model.erase({key, author});
        break;
      case 3: now += static_cast<uint32_t>(random.below(3)); break;
      default: {
        const auto found = window.find(key, UserId(author), now);
        const bool want  = known && (known->waiting || now <= known->time + 60);
        ASSERT_EQ(found.has_value(), want) << i;
        if (want) {
          EXPECT_EQ(found->value, known->value);
          EXPECT_EQ(found->waiting, known->waiting);
        }
      }
    }
  }
  EXPECT_EQ(window.evicted_early(), 0u);
}

TEST(RepeatWindow, SixtySecondsAndAClockThatGoesBack) {
  RepeatWindow window(kMiB, 60, Places::by_key);
  window.put_durable(5, UserId(1), 42, kNow);
  EXPECT_TRUE(window.find(5, UserId(1), kNow + 60));
  EXPECT_FALSE(window.find(5, UserId(1), kNow + 61));
  EXPECT_TRUE(window.find(5, UserId(1), kNow - 3600)) << "never aged by a clock set back";
  EXPECT_FALSE(window.find(5, UserId(2), kNow)) << "another author's";
  EXPECT_FALSE(window.find(7, UserId(1), kNow));
  window.put_waiting(9, UserId(1), 3, kNow);
  EXPECT_TRUE(window.find(9, UserId(1), kNow + 86'400)) << "storage may take long";
  window.put_durable(9, UserId(1), 4, kNow);
  window.forget(9, UserId(1));
  EXPECT_TRUE(window.find(9, UserId(1), kNow)) << "what is durable is not forgotten";
  window.put_durable(11, UserId(1), 1, 0);  // a machine without a clock
  EXPECT_TRUE(window.find(11, UserId(1), 0));
}

TEST(RepeatWindow, AFullBucketForgetsItsOldestAndCountsItIfYoung) {
  RepeatWindow window(64, 60, Places::by_key);  // one bucket of three
  EXPECT_EQ(window.bytes(), 64u);
  for (uint64_t key = 1; key <= 3; ++key)
    window.put_durable(key, UserId(1), static_cast<uint32_t>(key),
                       kNow + static_cast<uint32_t>(key));
  EXPECT_EQ(window.evicted_early(), 0u);
  window.put_durable(4, UserId(1), 4, kNow + 10);
  EXPECT_EQ(window.evicted_early(), 1u);
  EXPECT_FALSE(window.find(1, UserId(1), kNow + 10)) << "the oldest went";
  EXPECT_TRUE(window.find(2, UserId(1), kNow + 10));
  window.put_durable(2, UserId(1), 22, kNow + 11);  // renewed in place
  EXPECT_EQ(window.evicted_early(), 1u);
  window.put_durable(5, UserId(1), 5, kNow + 500);  // everything is old by now
  EXPECT_EQ(window.evicted_early(), 1u);
  // The same key of two authors is two entries; losing one early counts.
  RepeatWindow shared(64, 60, Places::by_key);
  for (uint32_t author = 1; author <= 4; ++author)
    shared.put_durable(8, UserId(author), author, kNow);
  EXPECT_EQ(shared.evicted_early(), 1u);
}

TEST(RepeatWindow, AKeyHoldsItsSequence) {
  for (const uint16_t sequence : {0, 1, 0x7fff, 0xffff}) {
    const uint64_t key = RepeatWindow::sequence_key(12345, sequence);
    EXPECT_EQ(key & 0xffff, sequence);
    EXPECT_NE(key >> 16, 0u) << "0 means: no key";
    EXPECT_NE(key, RepeatWindow::sequence_key(12346, sequence));
  }
}

// By sequence: what one author sends in a minute stays, however full other places are; an author who
// does not count keeps three.
TEST(RepeatWindow, SequencesSpreadAndAConstantOneDoesNot) {
  RepeatWindow window(4 * kMiB, 60, Places::by_sequence);
  for (uint32_t author = 1; author <= 20; ++author)
    for (uint16_t sequence = 0; sequence < 1200; ++sequence)
      window.put_durable(RepeatWindow::sequence_key(author * 10'000 + sequence, sequence),
                         UserId(author), sequence, kNow);
  EXPECT_LT(window.evicted_early(), 24'000u / 20) << "24,000 in room for 196,608";
  RepeatWindow constant(4 * kMiB, 60, Places::by_sequence);
  for (uint32_t n = 0; n < 10; ++n)
    constant.put_durable(RepeatWindow::sequence_key(n, 7), UserId(1), n, kNow + n);
  EXPECT_EQ(constant.evicted_early(), 7u);
  EXPECT_TRUE(constant.find(RepeatWindow::sequence_key(9, 7), UserId(1), kNow + 10));
}

TEST(RepeatWindow, ABoundIsABound) {
  RepeatWindow tiny(0, 60, Places::by_key);
  EXPECT_EQ(tiny.bytes(), 64u);
  RepeatWindow odd(kMiB + 12345, 60, Places::by_key);
  EXPECT_LE(odd.bytes(), kMiB + 12345);
  engine::SeededRandom random(1);
  for (int i = 0; i < 100'000; ++i) tiny.put_durable(random.next(), UserId(1), 1, kNow);
  EXPECT_EQ(tiny.bytes(), 64u);
  EXPECT_EQ(tiny.evicted_early(), 99'997u);
}

}  // namespace
}  // namespace ringtalk::shard
