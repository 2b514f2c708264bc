// Power cuts and kills of the message log: nothing acknowledged is missing, ids stay dense, work goes on.
#include <gtest/gtest.h>

#include "store/embedded/verify.h"
#include "tests/store/log_world.h"

// A power cut leaves a worker's run_some() by an exception, which no running program does; the jobs it
// had taken are lost with the machine.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:ringtalk::store::SegmentSupply::seal\nleak:ringtalk::store::SegmentSupply::"
         "prepare\n";
}

namespace ringtalk::store {
namespace {

using engine::FakeDisk;

struct PowerCut {};

// A little of everything: several conversations, bodies of all sizes, cursors, rolls, seals, merges.
void work(LogWorld& world, int messages) {
  for (int i = 0; i < messages; ++i) {
    const auto peer = static_cast<uint32_t>(2 + world.random.below(5));
    std::string body(world.random.below(8) ? world.random.below(300) : world.random.below(40'000),
                     'b');
    body = std::to_string(world.cookies) + ":" + body;
    if (!world.send(pair(1, peer), world.random.below(2) ? 1 : peer, body, 1, world.cookies + 1))
      world.turn();
    if (world.random.below(10) == 0) {
      const uint32_t head = world.of(pair(1, peer)).store->head(pair(1, peer)).newest;
      world.of(UserId(peer)).store->set_cursor(UserId(peer), pair(1, peer), head);
    }
    if (world.random.below(4) == 0) world.turn();
    if (world.random.below(40) == 0) world.tick();
  }
}

void check_after(LogWorld& world) {
  EXPECT_TRUE(world.stores->report().damages.empty()) << "a crash must never look like damage";
  ASSERT_NO_FATAL_FAILURE(world.adopt_and_check());
}

TEST(LogCrash, PowerCutsAtRandomMoments) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    LogWorld world(seed);
    world.faults = {.delay = 200, .reorder = true, .file_latency_ns_max = 2 * kNsPerMs};
    ASSERT_TRUE(world.open());
    for (int round = 0; round < 12; ++round) {
      work(world, static_cast<int>(20 + world.random.below(300)));
      world.crash();
      ASSERT_TRUE(world.open(static_cast<uint32_t>(1 + world.random.below(4)))) << "seed " << seed;
      ASSERT_NO_FATAL_FAILURE(check_after(world)) << "seed " << seed << " round " << round;
    }
    ASSERT_TRUE(world.close());
    auto verified = verify_log(world.disk);
    ASSERT_TRUE(verified.has_value());
    EXPECT_TRUE(verified->clean()) << "seed " << seed << " " << verified->problems[0];
    EXPECT_EQ(verified->unsealed, 0u);
  }
}

// Goal: a power cut before every single write, sync and directory change, in running service, in
// sealing, in merging and in recovery itself. Method: the disk's observer throws at the n-th step; the
// world is dropped there, crashed, recovered (perhaps cut again), checked.
void cut_at_every_step(uint64_t seed, bool cut_recovery_too, uint64_t stride) {
  bool finished = false;
  uint64_t cuts = 0;
  for (uint64_t step = 1; !finished; step += stride) {
    LogWorld world(seed);
    uint64_t left = step;
    bool armed    = false;
    world.disk.set_observer([&](FakeDisk::Call) {
      if (armed && --left == 0) {
        armed = false;
        throw PowerCut{};
      }
    });
    finished = true;
    try {
      armed = true;
      ASSERT_TRUE(world.open());
      // Fewer messages but several segments: bodies of 30 kB, and a merge after eight of them.
      for (int i = 0; i < 400; ++i) {
        std::string body = std::to_string(i) + std::string(30'000, 'z');
        while (!world.send(pair(1, 2 + i % 3), 1, body)) world.turn();
        world.turn();
      }
      world.run_until_idle();
      ASSERT_TRUE(world.close());
      armed = false;
    } catch (const PowerCut&) {
      finished = false;
      ++cuts;
    }
    world.crash();
    if (cut_recovery_too) {
      left = 1 + world.random.below(12);
      try {
        armed       = true;
        auto opened = world.open(2);
        armed       = false;
        ASSERT_TRUE(opened.has_value());
      } catch (const PowerCut&) {
      }
      armed = false;
      world.crash();
    }
    ASSERT_TRUE(world.open()) << "step " << step;
    ASSERT_NO_FATAL_FAILURE(check_after(world)) << "step " << step;
    // Later appends continue.
    ASSERT_TRUE(world.send(pair(1, 2), 1, "after"));
    world.run_until_idle();
    ASSERT_NO_FATAL_FAILURE(world.check(pair(1, 2)));
  }
  std::printf("power cuts: %llu\n", static_cast<unsigned long long>(cuts));
  EXPECT_GT(cuts, 20u);
}

TEST(LogCrash, PowerCutBeforeEveryStep) { cut_at_every_step(1, false, 7); }
TEST(LogCrash, PowerCutBeforeEveryStepAndInRecovery) { cut_at_every_step(2, true, 13); }

TEST(LogCrash, KillsWithAnotherShardCountEachTime) {
  LogWorld world(9);
  ASSERT_TRUE(world.open());
  for (int round = 0; round < 30; ++round) {
    work(world, 60);
    world.drop();
    world.disk.kill();
    ASSERT_TRUE(world.open(static_cast<uint32_t>(1 + world.random.below(8))));
    ASSERT_NO_FATAL_FAILURE(check_after(world)) << round;
  }
}

TEST(LogCrash, CursorsAreDurableWithinASecond) {
  LogWorld world(3);
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(world.send(pair(1, 2), 1, "m"));
  world.run_until_idle();
  world.of(UserId(2)).store->set_cursor(UserId(2), pair(1, 2), 40);
  world.of(UserId(2)).store->set_cursor(UserId(2), pair(1, 2), 60);
  world.of(UserId(2)).store->set_cursor(UserId(2), pair(1, 2), 50);  // never back
  EXPECT_EQ(world.of(UserId(2)).store->cursor(UserId(2), pair(1, 2)), 60u);
  for (int i = 0; i < 9; ++i) {
    world.tick();
    world.turn();
    world.turn();
  }
  world.crash();
  ASSERT_TRUE(world.open(3));
  EXPECT_EQ(world.of(UserId(2)).store->cursor(UserId(2), pair(1, 2)), 60u);
  EXPECT_EQ(world.of(UserId(2)).store->cursor(UserId(2), pair(1, 3)), 0u);
  EXPECT_EQ(world.of(UserId(1)).store->cursor(UserId(1), pair(1, 2)), 0u);
  ASSERT_NO_FATAL_FAILURE(world.adopt_and_check());
}

TEST(LogCrash, ManyCursorsLeaveInSeveralCommits) {
  LogWorld world(4);
  ASSERT_TRUE(world.open());
  constexpr uint32_t kUsers = 3000;
  for (uint32_t user = 2; user < kUsers; ++user)
    world.of(UserId(user)).store->set_cursor(UserId(user), group(1), user);
  world.run_until_idle();
  world.crash();
  ASSERT_TRUE(world.open(2));
  for (uint32_t user = 2; user < kUsers; ++user)
    ASSERT_EQ(world.of(UserId(user)).store->cursor(UserId(user), group(1)), user);
}

}  // namespace
}  // namespace ringtalk::store
