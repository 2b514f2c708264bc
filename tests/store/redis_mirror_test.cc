#include "store/redis/mirror.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/store/mirror_world.h"

namespace ringtalk::store::redis {
namespace {

using engine::Counter;
using engine::Gauge;

// As the installer of TeamTalk numbers its databases.
Pools several_databases() {
  Pools pools;
  pools.unread.db       = 1;
  pools.group_set.db    = 2;
  pools.token.db        = 4;
  pools.group_member.db = 5;
  return pools;
}

// Something of everything.
void live(MirrorWorld& world) {
  world.add_users(6);
  world.send(1, 2);
  world.send(1, 2);
  world.send(2, 1);
  world.read(2, 1, 1);
  world.send(3, 1);
  world.make_group(7, {1, 2, 3});
  world.send_group(1, 7);
  world.send_group(2, 7);
  world.read_group(3, 7, 1);
  world.mute(2, 7, true);
  world.set_token(1, PushVendor::ios, "aaaa");
  world.set_token(2, PushVendor::android, "bbbb");
}

void live_on(MirrorWorld& world) {
  world.leave(2, 7);
  world.set_token(2, PushVendor::ios, "aaaa");
  world.set_token(1, PushVendor::ios, "");
  world.read(1, 3, 1);
  world.join(4, 7);
  world.mute(3, 7, true);
  world.send_group(3, 7);
  world.send(2, 3);
  world.read(2, 1, 3);
}

TEST(Mirror, EverythingIsAsTheOriginalKeepsIt) {
  MirrorWorld world;
  live(world);
  ASSERT_TRUE(world.settle());
  FakeRedis& redis = world.redis;
  EXPECT_EQ(redis.string("msg_id_1"), "3");
  EXPECT_EQ(redis.hash("unread_1"), (FakeRedis::Hash{{"2", "1"}, {"3", "1"}}));
  EXPECT_EQ(redis.hash("unread_2"), (FakeRedis::Hash{{"1", "1"}}));
  EXPECT_EQ(redis.string("group_msg_id_7"), "2");
  EXPECT_EQ(redis.hash("7_im_group_msg"), (FakeRedis::Hash{{"count", "2"}}));
  EXPECT_EQ(redis.hash("1_7_im_user_group"), (FakeRedis::Hash{{"count", "1"}}));
  EXPECT_EQ(redis.hash("2_7_im_user_group"), (FakeRedis::Hash{{"count", "2"}}));
  EXPECT_EQ(redis.hash("group_member_7").size(), 3u);
  EXPECT_EQ(redis.hash("group_set_7"), (FakeRedis::Hash{{"2_1", "1"}}));
  EXPECT_EQ(redis.string("device_1"), "ios:aaaa");
  EXPECT_EQ(redis.string("device_aaaa"), "1");
  EXPECT_EQ(redis.string("device_2"), "android:bbbb");
  EXPECT_NE(redis.string("last_update_group"), "(nil)");
  world.check();
}

TEST(Mirror, ChangesArriveWithoutARebuild) {
  MirrorWorld world;
  live(world);
  ASSERT_TRUE(world.settle());
  live_on(world);
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.metrics.value(Counter::redis_rebuilds), 1u) << "that of the start";
  EXPECT_EQ(world.redis.string("device_aaaa"), "2");
  EXPECT_EQ(world.redis.string("device_1"), "");
  EXPECT_EQ(world.redis.string("device_bbbb"), "");
  EXPECT_FALSE(world.redis.hash("group_member_7").contains("2"));
  world.check();
}

TEST(Mirror, PoolsMayBeDatabasesOfTheirOwn) {
  MirrorWorld world({.pools = several_databases()});
  live(world);
  ASSERT_TRUE(world.settle());
  live_on(world);
  ASSERT_TRUE(world.settle());
  EXPECT_TRUE(world.redis.db(1).contains("msg_id_1"));
  EXPECT_TRUE(world.redis.db(4).contains("device_2"));
  EXPECT_TRUE(world.redis.db(5).contains("group_member_7"));
  EXPECT_TRUE(world.redis.db(0).empty());
  world.check();
}

// What follows from an event is not asked for: a pair's row is read once.
TEST(Mirror, UnreadCountsFollowFromTheEvents) {
  MirrorWorld world;
  world.add_users(2);
  world.send(1, 2);
  ASSERT_TRUE(world.settle());
  world.asked = 0;
  for (uint32_t i = 0; i < 50; ++i) {
    world.send(1, 2);
    if (i % 7 == 0) world.send(2, 1);
    if (i % 11 == 0) world.read(2, 1, UINT32_MAX);
    world.pass_all_on();
    world.round();
  }
  ASSERT_TRUE(world.settle());
  EXPECT_LE(world.asked, 1u);
  world.check();
}

TEST(Mirror, OneRoundIsOnePipelineWithEachKeyOnce) {
  MirrorWorld world;
  world.add_users(2);
  world.send(1, 2);
  ASSERT_TRUE(world.settle());
  const uint64_t pipelines = world.metrics.value(Counter::redis_pipelines);
  const uint64_t commands  = world.metrics.value(Counter::redis_commands);
  for (uint32_t i = 0; i < 200; ++i) world.send(1, 2);
  world.pass_all_on();
  world.round();
  EXPECT_EQ(world.metrics.value(Counter::redis_pipelines), pipelines + 1);
  EXPECT_LE(world.metrics.value(Counter::redis_commands), commands + 3);
  world.check();
}

TEST(Mirror, AnIdleServerHasNothingToSave) {
  MirrorWorld world;
  live(world);
  ASSERT_TRUE(world.settle());
  const FakeRedis::Data before = world.redis.data;
  for (uint32_t i = 0; i < 100; ++i) world.round(kNsPerS);
  EXPECT_EQ(world.redis.data, before);
}

// A number as a token would name another user's key.
TEST(Mirror, ATokenOfDigitsTakesNobodysKey) {
  MirrorWorld world;
  world.add_users(3);
  world.set_token(2, PushVendor::ios, "bbbb");
  ASSERT_TRUE(world.settle());
  world.set_token(1, PushVendor::android, "2");
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.redis.string("device_2"), "ios:bbbb");
  EXPECT_EQ(world.redis.string("device_1"), "android:2");
  world.set_token(1, PushVendor::android, "cccc");
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.redis.string("device_2"), "ios:bbbb");
  world.check();
}

TEST(Mirror, ALatePositionDoesNotUndoAReturn) {
  MirrorWorld world;
  world.add_users(3);
  world.make_group(7, {1, 2});
  for (uint32_t i = 0; i < 10; ++i) world.send_group(1, 7);
  ASSERT_TRUE(world.settle());
  world.read_group(2, 7, 4);  // his shard has not told it yet …
  world.leave(2, 7);
  world.join(2, 7);  // … when the group's has told this
  while (world.pass_on(7 % MirrorWorld::kShards)) {
  }
  world.round();
  world.round();
  EXPECT_EQ(world.redis.hash("2_7_im_user_group")["count"], "10");
  ASSERT_TRUE(world.settle());
  world.check();
}

// --- a server that forgets ----------------------------------------------------------------------------------

// Runs live() and live_on() with `mischief` before the command of each number in turn.
void at_every_point(const std::function<void(MirrorWorld&)>& mischief) {
  uint64_t commands = UINT64_MAX;
  for (uint64_t at = 0; at < commands; ++at) {
    SCOPED_TRACE("command " + std::to_string(at));
    MirrorWorld world({.pools = several_databases()});
    bool done          = false;
    world.redis.before = [&](uint64_t number) {
      if (number == at && !std::exchange(done, true)) mischief(world);
    };
    live(world);
    ASSERT_TRUE(world.settle());
    live_on(world);
    world.pass_all_on();
    world.round();
    if (commands == UINT64_MAX) commands = world.redis.commands + 1;
    ASSERT_TRUE(world.settle());
    world.check();
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(Mirror, FlushedAtEveryPoint) {
  at_every_point([](MirrorWorld& world) { world.redis.flush(); });
}

TEST(Mirror, OneDatabaseFlushedAtEveryPoint) {
  at_every_point([](MirrorWorld& world) { world.redis.data.erase(5); });
}

TEST(Mirror, ConnectionsLostAtEveryPoint) {
  at_every_point([](MirrorWorld& world) { world.redis.drop_connections(); });
}

TEST(Mirror, FlushIsNoticedWithinTwoSecondsWhenNothingHappens) {
  MirrorWorld world;
  live(world);
  ASSERT_TRUE(world.settle());
  world.redis.flush();
  for (uint32_t ms = 0; ms < 2000; ms += Mirror::kRoundMs) world.round();
  EXPECT_TRUE(world.mirror->settled());
  EXPECT_EQ(world.metrics.value(Counter::redis_rebuilds), 2u);
  world.check();
}

// A snapshot of every moment, come back at every later moment.
TEST(Mirror, AnOlderSnapshotOfEveryPoint) {
  uint64_t commands = 0;
  {
    MirrorWorld world;
    live(world);
    ASSERT_TRUE(world.settle());
    live_on(world);
    ASSERT_TRUE(world.settle());
    commands = world.redis.commands;
  }
  for (uint64_t taken = 0; taken < commands; taken += 3) {
    for (uint64_t back = taken + 1; back < commands; back += 2) {
      SCOPED_TRACE("taken " + std::to_string(taken) + " back " + std::to_string(back));
      MirrorWorld world;
      FakeRedis::Data snapshot;
      bool done          = false;
      world.redis.before = [&](uint64_t number) {
        if (number == taken) snapshot = world.redis.data;
        if (number == back && !std::exchange(done, true)) world.redis.restart(snapshot);
      };
      live(world);
      ASSERT_TRUE(world.settle());
      live_on(world);
      ASSERT_TRUE(world.settle());
      world.check();
      if (::testing::Test::HasFailure()) return;
    }
  }
}

// What a server that stood still runs when it goes on is older than what was written meanwhile.
TEST(Mirror, PipelinesThatAreRunLate) {
  for (uint64_t late = 0; late < 12; ++late) {
    SCOPED_TRACE(late);
    MirrorWorld world;
    live(world);
    ASSERT_TRUE(world.settle());
    world.redis.stopped = true;
    live_on(world);
    world.pass_all_on();
    world.round();
    world.redis.stopped = false;
    world.send(1, 2);
    world.read(2, 1, UINT32_MAX);
    world.set_token(3, PushVendor::ios, "aaaa");
    const uint64_t at  = world.redis.commands + late;
    world.redis.before = [&](uint64_t number) {
      if (number == at && world.redis.has_late()) world.redis.run_late();
    };
    ASSERT_TRUE(world.settle());
    if (world.redis.has_late()) world.redis.run_late();
    ASSERT_TRUE(world.settle());
    world.check();
  }
}

TEST(Mirror, ARebuildThatIsInterruptedIsNotLost) {
  MirrorWorld world;
  world.add_users(3000);
  for (uint32_t user = 2; user <= 2500; ++user) world.send(user, 1);
  for (uint64_t cut = 0; cut < 12'000; cut += 613) {
    SCOPED_TRACE(cut);
    world.redis.flush();
    world.redis.cut_after = static_cast<int64_t>(cut);
    world.send(2, 3);
    ASSERT_TRUE(world.settle());
    world.check();
  }
}

TEST(Mirror, ARebuildGoesOnWhereItWas) {
  MirrorWorld world;
  world.add_users(6000);
  for (uint32_t user = 2; user <= 5000; ++user) world.send(user, 1);
  ASSERT_TRUE(world.settle());
  world.redis.flush();
  world.round(kNsPerS);
  while (world.mirror->rebuild_done() < 2000 || !world.round(0)) world.round();
  const uint64_t done = world.mirror->rebuild_done();
  world.redis.drop_connections();
  world.round();
  EXPECT_GE(world.mirror->rebuild_done(), done);
  EXPECT_EQ(world.metrics.value(Gauge::redis_rebuild_due), 1);
  EXPECT_GT(world.metrics.value(Gauge::redis_rebuild_total), 10'000);
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.metrics.value(Counter::redis_rebuilds), 2u) << "of the start and of the flush";
  EXPECT_EQ(world.metrics.value(Gauge::redis_rebuild_due), 0);
  EXPECT_EQ(world.metrics.value(Gauge::redis_rebuild_done),
            world.metrics.value(Gauge::redis_rebuild_total));
  world.check();
}

TEST(Mirror, ChangesDuringARebuild) {
  MirrorWorld world;
  world.add_users(4000);
  for (uint32_t user = 2; user <= 4000; ++user) world.send(user, 1);
  world.make_group(7, {1, 2, 3});
  world.pass_all_on();
  world.mirror->run_some();
  for (uint32_t i = 0; i < 200; ++i) {
    world.send(2 + i * 19 % 3999, 1);
    world.read(1, 2 + i * 17 % 3999, UINT32_MAX);
    world.send_group(1, 7);
    if (i % 2) world.leave(2, 7);
    if (i % 2 == 0) world.join(2, 7);
    world.set_token(2 + i % 5, PushVendor::ios, i % 3 ? "aaaa" : "bbbb");
    if (i % 3 == 0) world.pass_all_on();
    world.round(0);
  }
  ASSERT_TRUE(world.settle());
  world.check();
}

// --- a server that refuses ----------------------------------------------------------------------------------

TEST(Mirror, KeysOfAnotherKindAreReplaced) {
  MirrorWorld world;
  live(world);
  ASSERT_TRUE(world.settle());
  std::vector<std::string> keys;
  for (const auto& [key, value] : world.redis.db()) keys.push_back(key);
  for (const std::string& key : keys) {
    SCOPED_TRACE(key);
    world.redis.db()[key] = FakeRedis::List{"not ours"};
    world.send(1, 2);
    world.send(3, 2);
    world.send(2, 1);
    world.send(2, 3);
    world.send(3, 1);
    world.send_group(1, 7);
    world.send_group(2, 7);
    world.send_group(3, 7);
    world.mute(1, 7, !world.all_groups[7].members[1].muted);
    world.set_token(1, PushVendor::ios, world.tokens_of[1].token == "aaaa" ? "cccc" : "aaaa");
    world.set_token(2, PushVendor::ios, world.tokens_of[2].token == "bbbb" ? "dddd" : "bbbb");
    ASSERT_TRUE(world.settle());
    world.tokens_may_stay |= key.starts_with("device_");  // what device_<user> said is lost
    world.check();
  }
  EXPECT_GT(world.metrics.value(Counter::redis_wrong_type), 0u);
}

TEST(Mirror, OutOfMemoryIsWaitedFor) {
  MirrorWorld world;
  live(world);
  ASSERT_TRUE(world.settle());
  world.redis.out_of_memory = true;
  live_on(world);
  world.pass_all_on();
  for (uint32_t i = 0; i < 100; ++i) world.round(kNsPerS);
  EXPECT_FALSE(world.mirror->settled());
  EXPECT_GT(world.metrics.value(Counter::redis_refused), 10u);
  EXPECT_LT(world.metrics.value(Counter::redis_refused), 200u) << "once a second is enough";
  EXPECT_EQ(world.mirror->trouble().fault, Fault::refused);
  EXPECT_GT(world.metrics.value(Gauge::redis_lag), static_cast<int64_t>(98 * kNsPerS));
  world.redis.out_of_memory = false;
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.metrics.value(Counter::redis_rebuilds), 1u);
  EXPECT_EQ(world.metrics.value(Gauge::redis_lag), 0);
  world.check();
}

TEST(Mirror, AServerThatLoadsOrWantsAPasswordIsTriedAgain) {
  MirrorWorld world;
  world.redis.loading = true;
  live(world);
  world.pass_all_on();
  for (uint32_t i = 0; i < 10; ++i) world.round(kNsPerS);
  EXPECT_EQ(world.mirror->trouble().fault, Fault::loading);
  world.redis.loading  = false;
  world.redis.password = "secret";
  for (uint32_t i = 0; i < 10; ++i) world.round(kNsPerS);
  EXPECT_EQ(world.mirror->trouble().fault, Fault::denied);
  EXPECT_EQ(world.metrics.value(Gauge::redis_connected), 0);
  world.redis.password.clear();
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.metrics.value(Gauge::redis_connected), 1);
  world.check();
}

TEST(Mirror, BackWithinFiveSeconds) {
  MirrorWorld world;
  live(world);
  ASSERT_TRUE(world.settle());
  world.redis.down = true;
  world.redis.drop_connections();
  for (uint32_t i = 0; i < 600; ++i) world.round(100 * kNsPerMs);
  EXPECT_LT(world.redis.connects, 80u) << "once a second is enough";
  world.redis.down = false;
  live_on(world);
  world.pass_all_on();
  for (uint32_t ms = 0; ms < 5000; ms += Mirror::kRoundMs) world.round();
  EXPECT_TRUE(world.mirror->settled());
  world.check();
}

// --- too much -----------------------------------------------------------------------------------------------

TEST(Mirror, AFullLaneForgetsAndRebuilds) {
  MirrorWorld world({.lane_events = 16});
  live(world);
  ASSERT_TRUE(world.settle());
  for (uint32_t i = 0; i < 40; ++i) world.send(1, 2);
  for (uint32_t i = 0; i < 40; ++i) world.send_group(1, 7);
  live_on(world);
  world.pass_all_on();
  uint64_t forgotten = 0;
  for (const auto& metrics : world.shard_metrics)
    forgotten += metrics.value(Counter::redis_forgotten);
  EXPECT_GT(forgotten, 30u);
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.metrics.value(Counter::redis_rebuilds), 2u);
  world.check();
}

TEST(Mirror, MemoryIsBoundedWhileRedisIsAway) {
  MirrorWorld world({.changes_max = 500});
  world.add_users(5000);
  ASSERT_TRUE(world.settle());
  world.redis.down = true;
  world.redis.drop_connections();
  int64_t most = 0;
  for (uint32_t user = 2; user <= 5000; ++user) {
    world.send(user, 1);
    world.pass_all_on();
    world.round();
    most = std::max(most, world.metrics.value(Gauge::redis_changes));
  }
  EXPECT_LE(most, 500);
  world.redis.down = false;
  ASSERT_TRUE(world.settle());
  world.check();
}

TEST(Mirror, TheSourceAwayIsWaitedFor) {
  MirrorWorld world;
  world.away = true;
  live(world);
  world.pass_all_on();
  for (uint32_t i = 0; i < 10; ++i) world.round(kNsPerS);
  EXPECT_TRUE(world.mirror->source_away());
  EXPECT_FALSE(world.mirror->settled());
  world.away = false;
  ASSERT_TRUE(world.settle());
  EXPECT_FALSE(world.mirror->source_away());
  world.away = true;
  live_on(world);
  world.pass_all_on();
  for (uint32_t i = 0; i < 10; ++i) world.round(kNsPerS);
  EXPECT_FALSE(world.mirror->settled());
  world.away = false;
  ASSERT_TRUE(world.settle());
  world.check();
}

TEST(Mirror, ALargeGroupIsReadInSlices) {
  MirrorWorld world;
  world.add_users(6000);
  ASSERT_TRUE(world.settle());
  std::vector<uint32_t> users;
  for (uint32_t user = 1; user <= 5000; ++user) users.push_back(user);
  world.make_group(7, users);
  world.make_group(8, {1});
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.redis.hash("group_member_7").size(), 5000u);
  world.dismiss(7);
  ASSERT_TRUE(world.settle());
  EXPECT_TRUE(world.redis.hash("group_member_7").empty());
  EXPECT_EQ(world.metrics.value(Counter::redis_rebuilds), 1u);
  world.check();
}

TEST(Mirror, ItsThreadWritesAndStops) {
  engine::RealClock clock;
  MirrorWorld world;
  live(world);
  engine::Metrics metrics;
  Mirror mirror({.shards  = MirrorWorld::kShards,
                 .connect = [&](const Server& server) { return world.redis.connect(server); }},
                world, clock, world.random, metrics);
  mirror.start();
  while (metrics.value(Counter::redis_rebuilds) == 0 ||
         metrics.value(Gauge::redis_rebuild_due) != 0)
    std::this_thread::yield();
  mirror.stored(0, ConversationId::single(UserId(1), UserId(2)), 1, UserId(1), 4);
  mirror.stop();
  EXPECT_EQ(world.redis.string("msg_id_1"), "4") << "what was told before stop() is written";
}

// --- all of it ----------------------------------------------------------------------------------------------

// Whatever happens in whatever order: when it is over, Redis holds what the store holds.
class MirrorSeeds : public testing::TestWithParam<uint64_t> {};

TEST_P(MirrorSeeds, RedisEndsAsTheStore) {
  for (uint64_t seed = GetParam() * 100; seed < GetParam() * 100 + 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    engine::SeededRandom random(seed);
    MirrorWorld world({.pools       = seed % 2 ? several_databases() : Pools{},
                       .lane_events = seed % 3 ? 64u : 8u,
                       .changes_max = seed % 5 ? 1000u : 12u},
                      seed);
    world.add_users(8);
    FakeRedis::Data snapshot;
    const auto user  = [&] { return static_cast<uint32_t>(1 + random.below(8)); };
    const auto group = [&] { return static_cast<uint32_t>(1 + random.below(3)); };
    const auto two   = [&](auto&& act) {
      const uint32_t one = user(), other = user();
      if (one != other) act(one, other);
    };
    for (uint32_t id = 1; id <= 3; ++id) world.make_group(id, {id, id + 1, id + 2});
    const bool with_faults = random.below(4) != 0;
    uint64_t mischief_at   = UINT64_MAX;
    uint64_t mischief      = 0;
    world.redis.before     = [&](uint64_t number) {
      if (number < mischief_at) return;
      mischief_at = UINT64_MAX;
      switch (mischief) {
        case 0: return world.redis.flush();
        case 1: return world.redis.drop_connections();
        case 2: snapshot = world.redis.data; return;
        case 3: return world.redis.restart(snapshot);
        case 4: return world.redis.run_late();
        case 5: world.redis.out_of_memory = true; return;
        default: world.redis.cut_after = static_cast<int64_t>(random.below(20)); return;
      }
    };
    for (uint32_t step = 0; step < 300; ++step) {
      switch (random.below(16)) {
        case 0:
        case 1:
        case 2: two([&](uint32_t a, uint32_t b) { world.send(a, b); }); break;
        case 3:
        case 4:
          two([&](uint32_t a, uint32_t b) {
            world.read(a, b, static_cast<uint32_t>(1 + random.below(12)));
          });
          break;
        case 5: world.send_group(user(), group()); break;
        case 6:
          world.read_group(user(), group(), static_cast<uint32_t>(1 + random.below(12)));
          break;
        case 7: world.join(user(), group()); break;
        case 8: world.leave(user(), group()); break;
        case 9: world.mute(user(), group(), random.below(2) == 0); break;
        case 10:
          world.set_token(user(), random.below(2) ? PushVendor::ios : PushVendor::android,
                          std::string(random.below(3), 't') + (random.below(3) ? "x" : ""));
          break;
        case 11:
        case 12: world.pass_on(static_cast<uint32_t>(random.below(MirrorWorld::kShards))); break;
        case 13: world.round(random.below(3) * 300 * kNsPerMs); break;
        case 14:
          world.pass_all_on();
          world.round();
          break;
        case 15:
          if (!with_faults) break;
          mischief    = random.below(7);
          mischief_at = world.redis.commands + random.below(30);
          switch (random.below(8)) {
            case 0: world.redis.stopped = world.tokens_may_stay = true; break;
            case 1: world.redis.stopped = false; break;
            case 2: world.redis.down = !world.redis.down; break;
            case 3: world.away = !world.away; break;
            case 4: world.redis.out_of_memory = false; break;
            case 5: world.redis.loading = !world.redis.loading; break;
            case 6: world.start(); break;
            default: break;
          }
          break;
      }
      if (step == 250 && random.below(3) == 0) world.dismiss(group());
    }
    mischief_at         = UINT64_MAX;
    world.redis.stopped = world.redis.down = world.redis.out_of_memory = false;
    world.redis.loading = world.away = false;
    world.redis.cut_after            = -1;
    ASSERT_TRUE(world.settle());
    world.redis.run_late();
    ASSERT_TRUE(world.settle());
    world.check();
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, MirrorSeeds, testing::Range<uint64_t>(0, 20));

}  // namespace
}  // namespace ringtalk::store::redis
