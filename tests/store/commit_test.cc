// Refusals, full disks and failing disks: who gets which answer, and that nothing refused is stored.
#include "store/embedded/commit.h"

#include <gtest/gtest.h>

#include "store/embedded/verify.h"
#include "tests/store/log_world.h"

namespace ringtalk::store {
namespace {

using engine::FakeDisk;
using engine::FakeOp;

TEST(Commit, ALateAppendIsRefusedAndLeavesNoHole) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  auto& shard = world.of(pair(1, 2));
  shard.ring->hold(FakeOp::sync);
  ASSERT_TRUE(world.send(pair(1, 2), 1, "first", 1, 0, 0, world.clock.now_ns() + kNsPerS));
  world.turn();  // flies
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(world.send(pair(1, 2), 1, "waits " + std::to_string(i), 1, 0, 0,
                           world.clock.now_ns() + (i % 2 ? 100 * kNsPerS : kNsPerS)));
  for (int i = 0; i < 20; ++i) world.tick();  // 2 s pass
  EXPECT_EQ(world.refused.size(), 5u);
  for (const Appended& result : world.refused) EXPECT_EQ(result.error.code, Errc::timeout);
  shard.ring->release(FakeOp::sync);
  world.run_until_idle();
  // The one that flew was awaited although its time was over; the others follow without a gap.
  const auto& stored = world.model[pair(1, 2)];
  ASSERT_EQ(stored.size(), 6u);
  EXPECT_EQ(stored[0].body, "first");
  EXPECT_EQ(stored[1].body, "waits 1");
  EXPECT_EQ(stored[5].body, "waits 9");
  world.check_all();
  world.crash();
  ASSERT_TRUE(world.open());
  world.check_all();
}

TEST(Commit, FullMeansLater) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  auto& shard = world.of(pair(1, 2));
  shard.ring->hold(FakeOp::sync);
  ASSERT_TRUE(world.send(pair(1, 2), 1, "flies"));
  world.turn();
  uint32_t taken = 0;
  Result<void> last;
  while ((last = world.send(pair(1, 2), 1, std::string(1000, 'x')))) ++taken;
  EXPECT_EQ(last.error().code, Errc::full);
  EXPECT_GT(taken, 200u);
  shard.ring->release(FakeOp::sync);
  world.run_until_idle();
  EXPECT_EQ(world.model[pair(1, 2)].size(), taken + 1);
  world.check_all();
}

TEST(Commit, LongestBodyFitsTheSmallestSegment) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  EXPECT_EQ(world.send(pair(1, 2), 1, std::string(kBodyBytesMax + 1, 'x')).error().code,
            Errc::too_large);
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(world.send(pair(1, 2), 1, std::to_string(i) + std::string(kBodyBytesMax - 2, 'x'),
                           1, 1, 2));
    world.run_until_idle();
  }
  world.check_all();
}

// The smallest segment and the fullest batch: the shortest records make the largest footer.
TEST(Commit, ShortestRecordsFitWithTheirFooter) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  uint32_t to = 2;
  for (int i = 0; i < 20'000; ++i) {
    while (!world.send(pair(1, ++to), 1, "", 1, 1)) world.turn();
  }
  world.run_until_idle();
  ASSERT_TRUE(world.close());
  for (uint32_t number = 1; number < 20; ++number)
    if (auto bytes = world.disk.contents(segment_path(number))) {
      EXPECT_LE(bytes->size(), kSegmentBytesMin);
    }
  auto verified = verify_log(world.disk);
  ASSERT_TRUE(verified.has_value());
  EXPECT_TRUE(verified->clean());
  EXPECT_EQ(verified->conversations, 20'000u);
}

// A batch of several turns' results: they come in slices, a page behind those that it may show.
TEST(Commit, ResultsOfALargeBatchComeInSlicesAndPagesBehindThem) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  constexpr size_t kRows  = 2 * Commit::kResultsPerTurn + 100;
  const auto conversation = pair(1, 2);
  for (size_t i = 0; i < kRows; ++i) ASSERT_TRUE(world.send(conversation, 1, std::to_string(i)));
  const auto ask = [&] {
    const uint64_t cookie = ++world.cookies;
    EXPECT_TRUE(world.of(conversation).store->read_page({conversation, 0, 1, 1000, cookie}));
    return cookie;
  };
  const uint64_t early = ask();
  uint64_t late        = 0;
  size_t told          = 0;
  int slices           = 0;
  for (int turn = 0; turn < 1000 && told < kRows; ++turn) {
    world.turn();
    const size_t now = world.model[conversation].size();
    ASSERT_LE(now - told, Commit::kResultsPerTurn);
    slices += now > told;
    told = now;
    if (told > 0 && late == 0) late = ask();  // while the batch lands
    if (told < kRows) {
      ASSERT_FALSE(world.pages[early].answered || (late && world.pages[late].answered));
      ASSERT_FALSE(world.idle());
    }
  }
  EXPECT_EQ(told, kRows);
  EXPECT_EQ(slices, 3);
  world.run_until_idle();
  EXPECT_EQ(world.pages[early].bodies, std::vector{std::to_string(kRows - 1)});
  EXPECT_EQ(world.pages[late].bodies, std::vector{std::to_string(kRows - 1)});
  world.check_all();
}

// Killed, or with a failing disk behind it, between two slices: all of the batch is there.
TEST(Commit, ACrashBetweenSlicesLosesNothing) {
  for (const bool fail_next : {false, true}) {
    LogWorld world;
    ASSERT_TRUE(world.open());
    const auto conversation = pair(1, 2);
    for (int i = 0; i < 3000; ++i) ASSERT_TRUE(world.send(conversation, 1, std::to_string(i)));
    while (world.model[conversation].empty()) world.turn();
    ASSERT_LT(world.model[conversation].size(), 3000u);
    if (fail_next) {
      ASSERT_TRUE(world.send(conversation, 1, "never"));
      world.disk.fail(FakeDisk::Call::write, 1, EIO);
      for (int i = 0; i < 20; ++i) world.turn();
      EXPECT_TRUE(world.of(conversation).failed);
      EXPECT_EQ(world.model[conversation].size(), 3000u) << "durable, so told";
    }
    world.crash();
    ASSERT_TRUE(world.open());
    ASSERT_NO_FATAL_FAILURE(world.adopt_and_check());
    EXPECT_GE(world.model[conversation].size(), 3000u);
  }
}

TEST(Commit, FailedSyncAcknowledgesNothingAnyMore) {
  for (const bool fail_write : {false, true}) {
    LogWorld world;
    ASSERT_TRUE(world.open());
    ASSERT_TRUE(world.send(pair(1, 2), 1, "good"));
    world.run_until_idle();
    ASSERT_TRUE(world.send(pair(1, 2), 1, "in flight"));
    auto& shard = world.of(pair(1, 2));
    world.disk.fail(fail_write ? FakeDisk::Call::write : FakeDisk::Call::sync, 1, EIO);
    for (int i = 0; i < 10; ++i) world.turn();
    EXPECT_TRUE(shard.failed);
    EXPECT_EQ(world.failure.os, EIO);
    EXPECT_EQ(world.model[pair(1, 2)].size(), 1u);
    EXPECT_EQ(world.send(pair(1, 2), 1, "more").error().code, Errc::closed);
    EXPECT_EQ(shard.store->read_page({pair(1, 2), 0, 1, 1000, 999}).error().code, Errc::closed);
    for (int i = 0; i < 30; ++i) {
      world.turn();
      world.tick();
    }
    EXPECT_EQ(world.model[pair(1, 2)].size(), 1u);
    world.crash();
    ASSERT_TRUE(world.open());
    ASSERT_NO_FATAL_FAILURE(world.adopt_and_check());
  }
}

TEST(Commit, AShortWriteIsAFailure) {
  LogWorld world(2);
  world.faults = {.short_file = 1000};
  ASSERT_TRUE(world.open());
  ASSERT_TRUE(world.send(pair(1, 2), 1, std::string(5000, 'x')));
  for (int i = 0; i < 10; ++i) world.turn();
  EXPECT_TRUE(world.of(pair(1, 2)).failed);
  EXPECT_TRUE(world.model[pair(1, 2)].empty());
}

TEST(Commit, DiskFullRefusesAndServiceResumesByItself) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(world.send(pair(1, 2), 1, std::to_string(i)));
  world.run_until_idle();
  world.disk.set_space(world.disk.space_used() + 4096);
  // The current segment and the spare take what they were made for; then refusals.
  bool refused = false;
  for (int i = 0; i < 400 && !refused; ++i) {
    auto ok = world.send(pair(1, 2), 1, std::string(20'000, 'x'), 1, 0, 0,
                         world.clock.now_ns() + 4 * kNsPerS);
    refused = !ok && ok.error().code == Errc::refused;
    world.turn();
    if (i % 4 == 0) world.tick();
  }
  ASSERT_TRUE(refused);
  for (int i = 0; i < 60; ++i) {
    world.turn();
    world.tick();
  }
  EXPECT_FALSE(world.of(pair(1, 2)).failed);
  EXPECT_EQ(world.send(pair(1, 2), 1, std::string(20'000, 'y')).error().code, Errc::refused);
  world.check_all();  // reads go on
  EXPECT_TRUE(world.of(pair(1, 2)).store->out_of_space());
  // One try a second, however many turns there are and whatever waits.
  world.of(UserId(2)).store->set_cursor(UserId(2), pair(1, 2), 1);
  const uint64_t tries = world.disk.calls(FakeDisk::Call::allocate);
  for (int i = 0; i < 50; ++i) {
    for (int turn = 0; turn < 20; ++turn) world.turn();
    world.tick();
  }
  EXPECT_GE(world.disk.calls(FakeDisk::Call::allocate) - tries, 4u) << "in five seconds";
  EXPECT_LE(world.disk.calls(FakeDisk::Call::allocate) - tries, 6u);
  world.of(UserId(1)).store->set_cursor(UserId(1), pair(1, 2), 1);
  world.run_until_idle();  // a shut-down does not wait for what may never leave

  world.disk.set_space(~uint64_t{0});
  uint64_t waited = 0;
  while (!world.send(pair(1, 2), 1, "space again")) {
    world.turn();
    world.tick();
    ASSERT_LT(++waited, 50u) << "5 s";
  }
  world.run_until_idle();
  world.check_all();
  world.crash();
  ASSERT_TRUE(world.open());
  ASSERT_NO_FATAL_FAILURE(world.adopt_and_check());
}

TEST(Commit, StartsOnAFullDiskAndReads) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(world.send(pair(1, 2), 1, std::to_string(i)));
  world.run_until_idle();
  world.crash();
  world.disk.set_space(0);
  ASSERT_TRUE(world.open());
  world.check_all();
  // Before the first try of the shard itself an append may be taken; it is then refused by its deadline.
  (void)world.send(pair(1, 2), 1, "no room", 1, 0, 0, world.clock.now_ns() + kNsPerS);
  for (int i = 0; i < 30; ++i) {
    world.turn();
    world.tick();
  }
  EXPECT_EQ(world.send(pair(1, 2), 1, "no room").error().code, Errc::refused);
  EXPECT_EQ(world.model[pair(1, 2)].size(), 50u);
  world.disk.set_space(~uint64_t{0});
  for (int i = 0; i < 30; ++i) {
    world.turn();
    world.tick();
  }
  ASSERT_TRUE(world.send(pair(1, 2), 1, "room"));
  world.run_until_idle();
  world.check_all();
}

TEST(Commit, TheSpareIsAwaitedNotDemanded) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  world.run_workers = false;  // no spare is made
  uint32_t taken    = 0;
  Result<void> last;
  for (int i = 0; i < 3000 && (last = world.send(pair(1, 2), 1, std::string(2000, 'x'))); ++i) {
    ++taken;
    for (int t = 0; t < 3; ++t) world.turn();
  }
  ASSERT_FALSE(last.has_value());
  EXPECT_EQ(last.error().code, Errc::full);
  world.run_workers = true;
  world.run_until_idle();
  EXPECT_EQ(world.model[pair(1, 2)].size(), taken);
  world.check_all();
}

TEST(Commit, TimeNeverGoesBack) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  ASSERT_TRUE(world.send(pair(1, 2), 1, "a"));
  world.run_until_idle();
  const uint32_t first = world.model[pair(1, 2)][0].time;
  world.clock.set_wall(1000 * kNsPerS);
  ASSERT_TRUE(world.send(pair(1, 2), 1, "b"));
  world.run_until_idle();
  EXPECT_EQ(world.model[pair(1, 2)][1].time, first);
}

TEST(Commit, ControlRecordsAreChainedAndCounted) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  const ConversationId conversation = pair(1, 2);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(world.send(conversation, 1, std::to_string(i)));
  world.run_until_idle();
  auto control = [&](uint32_t target, bool hides) {
    const uint64_t cookie = ++world.cookies;
    world.sent[cookie]    = {conversation, {}, true};
    ASSERT_TRUE(world.of(conversation)
                    .store->append_control({.conversation  = conversation,
                                            .target        = target,
                                            .operator_user = UserId(1),
                                            .command       = 3,
                                            .hides         = hides,
                                            .content       = as_bytes("why"),
                                            .cookie        = cookie}));
  };
  control(3, true);
  control(4, false);
  world.run_until_idle();
  control(5, true);
  world.run_until_idle();
  ASSERT_TRUE(world.send(conversation, 2, "behind them"));
  world.run_until_idle();
  EXPECT_EQ(world.of(conversation).store->head(conversation).hidden, 2u);
  EXPECT_EQ(world.page(conversation, 0, 1).messages[0].hidden, 2u);
  EXPECT_EQ(world.page(conversation, 10, 1).messages[0].hidden, 0u);
  for (int restart = 0; restart < 2; ++restart) {
    // The chain: newest first, each naming the one before.
    const Pointer newest = world.of(conversation).store->newest_control(conversation);
    std::vector<uint32_t> targets;
    for (Pointer at = newest; at;) {
      const auto bytes = world.disk.contents(segment_path(at.segment()));
      RecordView record;
      ASSERT_EQ(parse_record(Bytes(*bytes).subspan(at.offset()), at, salt_sum(77), record, nullptr),
                Parse::record);
      EXPECT_EQ(record.header.kind, RecordKind::control);
      EXPECT_EQ(as_text(record.body), "why");
      targets.push_back(record.header.msg_id);
      at = record.header.prev;
    }
    EXPECT_EQ(targets, (std::vector<uint32_t>{5, 4, 3}));
    EXPECT_EQ(world.of(conversation).store->head(conversation).hidden, 2u);
    world.check_all();
    if (restart == 0) world.crash();
    if (restart == 0) {
      ASSERT_TRUE(world.open(3));
    }
  }
}

}  // namespace
}  // namespace ringtalk::store
