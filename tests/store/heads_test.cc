#include "store/embedded/heads.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>

#include "engine/random.h"
#include "store/cursors.h"
#include "store/embedded/pending_heads.h"
#include "store/embedded/tails.h"

namespace ringtalk::store {
namespace {

TEST(Heads, AgreesWithASlowModel) {
  engine::SeededRandom random(3);
  Heads heads(99);
  std::map<uint64_t, std::pair<HeadEntry, uint32_t>> model;
  for (int i = 0; i < 200'000; ++i) {
    const uint64_t key = random.below(2) ? 1 + random.below(20'000)
                                         : (1 + random.below(300)) << 32 | random.below(300);
    if (random.below(3) > 0) {
      HeadEntry entry{.conversation = key,
                      .newest       = {1 + random.below(1 << 30)},
                      .block        = {random.below(1 << 30)},
                      .msg_id       = static_cast<uint32_t>(1 + random.below(1000)),
                      .time         = static_cast<uint32_t>(random.below(1000)),
                      .small_count  = static_cast<uint32_t>(random.below(1000))};
      // A conversation keeps its rare fields once it has them.
      const auto old = model.find(key);
      if (old != model.end())
        entry.control = old->second.first.control, entry.hidden = old->second.first.hidden;
      if (random.below(50) == 0) entry.control = {1 + random.below(1000)};
      if (random.below(50) == 0) entry.hidden += 1;
      const auto tail = static_cast<uint32_t>(random.below(1000));
      heads.set(entry, tail);
      model[key] = {entry, tail};
    }
    uint32_t tail       = 7;
    const HeadEntry got = heads.get(key, &tail);
    const auto known    = model.find(key);
    const HeadEntry want =
        known == model.end() ? HeadEntry{.conversation = key} : known->second.first;
    ASSERT_EQ(got.newest, want.newest);
    ASSERT_EQ(got.block, want.block);
    ASSERT_EQ(got.control, want.control);
    ASSERT_EQ(got.msg_id, want.msg_id);
    ASSERT_EQ(got.time, want.time);
    ASSERT_EQ(got.small_count, want.small_count);
    ASSERT_EQ(got.hidden, want.hidden);
    ASSERT_EQ(tail, known == model.end() ? 0 : known->second.second);
  }
  EXPECT_EQ(heads.size(), model.size());
  EXPECT_EQ(heads.get(0).msg_id, 0u);
}

// Goal: 64 bytes per cold conversation at any size, and no growth step that a shard would feel.
TEST(Heads, MemoryAndLongestPauseAtAMillion) {
  Heads heads(1);
  uint64_t worst_ns = 0, worst_bytes = 0;
  using Steady = std::chrono::steady_clock;
  for (uint64_t i = 1; i <= 1'000'000; ++i) {
    const auto start = Steady::now();
    heads.set({.conversation = i << 32 | (i * 7919 % 1'000'000 + 1), .newest = {i}, .msg_id = 1},
              0);
    const auto ns = static_cast<uint64_t>((Steady::now() - start).count());
    worst_ns      = std::max(worst_ns, ns);
    if (i >= 50'000) worst_bytes = std::max(worst_bytes, heads.memory_bytes() * 1000 / i);
  }
  std::printf(
      "heads at 1,000,000: %.1f bytes each (worst on the way %.1f), longest insert %.3f ms\n",
      static_cast<double>(heads.memory_bytes()) / 1e6, static_cast<double>(worst_bytes) / 1e3,
      static_cast<double>(worst_ns) / 1e6);
  EXPECT_LE(heads.memory_bytes(), 64'000'000u);
  EXPECT_LE(worst_bytes, 64'000u);
}

TEST(Cursors, AgreesWithASlowModel) {
  engine::SeededRandom random(4);
  Cursors cursors(5);
  std::map<std::pair<uint64_t, uint32_t>, uint32_t> model, dirty;
  for (int i = 0; i < 100'000; ++i) {
    const CursorKey key{1 + random.below(500), static_cast<uint32_t>(1 + random.below(20))};
    const auto id = static_cast<uint32_t>(random.below(1000));
    uint32_t& now = model[{key.conversation, key.user}];
    EXPECT_EQ(cursors.raise(key, id), id > now);
    if (id > now) now = dirty[{key.conversation, key.user}] = id;
    ASSERT_EQ(cursors.get(key), now);
    if (random.below(100) == 0) {
      cursors.take_dirty(static_cast<uint32_t>(random.below(60)),
                         [&](CursorKey taken, uint32_t msg_id) {
                           const auto known = dirty.find({taken.conversation, taken.user});
                           ASSERT_NE(known, dirty.end());
                           EXPECT_EQ(known->second, msg_id);
                           dirty.erase(known);
                         });
    }
    ASSERT_EQ(cursors.dirty(), dirty.size());
  }
}

TEST(PendingHeads, FindsWhatItHoldsAndForgetsAtClear) {
  PendingHeads pending(64, 3);
  for (int round = 0; round < 1000; ++round) {
    for (uint64_t key = 1; key <= 64; ++key) {
      bool fresh                                  = false;
      pending.get(key * 1000, &fresh).head.msg_id = static_cast<uint32_t>(key);
      EXPECT_TRUE(fresh);
    }
    for (uint64_t key = 1; key <= 64; ++key) {
      bool fresh = true;
      EXPECT_EQ(pending.get(key * 1000, &fresh).head.msg_id, key);
      EXPECT_FALSE(fresh);
    }
    EXPECT_EQ(pending.all().size(), 64u);
    pending.clear();
  }
}

TEST(Tails, HoldsTheMessagesSinceTheLastBlock) {
  Tails tails(2);
  uint32_t hint = 0;
  Tail& tail    = tails.open(42, &hint);
  tail.push(30, {30});
  EXPECT_FALSE(tail.complete(1));
  for (uint32_t id = 31; id <= 32; ++id) tail.push(id, {id});
  EXPECT_EQ(tail.find(29), Pointer{});
  EXPECT_EQ(tail.find(30), Pointer{30});
  tail.jumps_block = 1;
  EXPECT_FALSE(tail.complete(1));  // the first 29 are missing
  for (uint32_t id = 33; id <= 64; ++id) tail.push(id, {id});
  EXPECT_EQ(tail.find(32), Pointer{});
  EXPECT_FALSE(tail.complete(2));  // its jumps are not known
  tail.jumps_block = 2;
  EXPECT_TRUE(tail.complete(2));
}

TEST(Tails, TheLeastUsedIsTakenOver) {
  Tails tails(3);
  uint32_t a = 0, b = 0, c = 0, d = 0;
  tails.open(1, &a);
  tails.open(2, &b);
  tails.open(3, &c);
  tails.open(4, &d);  // all were used: the hand goes round once and takes the first
  EXPECT_EQ(d, a);
  EXPECT_EQ(tails.get(a, 1), nullptr);
  EXPECT_NE(tails.get(d, 4), nullptr);
  EXPECT_NE(tails.get(b, 2), nullptr);  // touched
  uint32_t e = 0;
  tails.open(5, &e);
  EXPECT_EQ(e, c);
  EXPECT_EQ(tails.get(0, 5), nullptr);
  EXPECT_EQ(tails.get(99, 5), nullptr);
}

}  // namespace
}  // namespace ringtalk::store
