// The relational store on a disk that forgets: whatever was acknowledged is there after any power
// cut, failed call or full disk; what was refused is not.
#include "store/embedded/sqlite_vfs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string>

#include "engine/fake_disk.h"
#include "engine/log.h"
#include "store/embedded/relational.h"

namespace ringtalk::store {
namespace {

using engine::FakeDisk;

struct World {
  explicit World(uint64_t seed) : random(seed) {
    engine::log::set_level(engine::log::Level::off);  // thousands of failures, all wanted
  }

  Result<void> open() {
    auto opened =
        Relational::open({.path = "ringtalk.db", .vfs_name = vfs.name(), .jobs_max = 64}, clock);
    if (!opened) return std::unexpected(opened.error());
    relational = std::move(*opened);
    return {};
  }

  Result<std::vector<User>> add(std::vector<NewUser> users) {
    std::optional<Result<std::vector<User>>> result;
    EXPECT_TRUE(relational->add_users(
        0, std::move(users), [&](Result<std::vector<User>> got) { result = std::move(got); }));
    relational->run_some();
    relational->collect(0);
    return *result;
  }
  bool has(std::string_view name) {
    std::optional<bool> found;
    EXPECT_TRUE(
        relational->find_account(0, name, [&](Result<Account> got) { found = got.has_value(); }));
    relational->run_some();
    relational->collect(0);
    return *found;
  }

  engine::FakeClock clock;
  engine::SeededRandom random;
  FakeDisk disk;
  static inline int worlds = 0;
  SqliteVfs vfs{"fake" + std::to_string(++worlds), disk, clock, random};
  std::unique_ptr<Relational> relational;
};

void power_cut(World& world, uint64_t fate) {
  world.disk.cut_power();
  world.relational.reset();
  world.disk.set_observer(nullptr);
  engine::SeededRandom random(fate);
  world.disk.crash(random);
}

TEST(SqliteVfs, StoreRunsOnAFakeDisk) {
  World world(1);
  ASSERT_TRUE(world.open());
  ASSERT_TRUE(world.add({{.name = "alice"}}));
  EXPECT_TRUE(world.has("alice"));
  world.relational.reset();
  EXPECT_EQ(world.disk.descriptors_open(), 0u);
  ASSERT_TRUE(world.open());
  EXPECT_TRUE(world.has("alice"));
  EXPECT_EQ(sqlite3_vfs_find("no such"), nullptr);
}

// Somebody who only looks creates the log's name and goes: it still has to become durable.
TEST(SqliteVfs, ALogThatSomebodyElseCreatedSurvivesAPowerCut) {
  for (uint64_t round = 0; round < 8; ++round) {
    World world(1);
    ASSERT_TRUE(world.open());
    world.relational.reset();
    {
      Sqlite look;
      ASSERT_TRUE(
          look.open({.path = "ringtalk.db", .vfs_name = world.vfs.name(), .exclusive = true}));
      ASSERT_TRUE(look.number("SELECT count(*) FROM user"));
    }
    ASSERT_TRUE(world.disk.contents("ringtalk.db-wal"));
    ASSERT_TRUE(world.open());
    ASSERT_TRUE(world.add({{.name = "alice"}}));
    power_cut(world, round);
    ASSERT_TRUE(world.open());
    EXPECT_TRUE(world.has("alice")) << round;
  }
}

// Adds pairs until one is refused or all are in; returns how many pairs were acknowledged. Some
// pairs are large, so that checkpoints happen. `said` tells each pair's answer.
constexpr int kPairs = 60;

std::vector<bool> run_pairs(World& world) {
  std::vector<bool> said;
  if (!world.open()) return said;
  for (int i = 0; i < kPairs; ++i) {
    const std::string nick(i % 4 == 0 ? 200'000 : 100, 'n');
    const std::string number = std::to_string(i);
    said.push_back(
        world.add({{.name = "a" + number, .nick = nick}, {.name = "b" + number}}).has_value());
  }
  return said;
}

void check_pairs(World& world, const std::vector<bool>& said, bool refused_is_gone) {
  ASSERT_TRUE(world.open());
  for (size_t i = 0; i < said.size(); ++i) {
    const bool a = world.has("a" + std::to_string(i)), b = world.has("b" + std::to_string(i));
    EXPECT_EQ(a, b) << "half of pair " << i;
    if (said[i]) {
      EXPECT_TRUE(a) << "acknowledged pair " << i << " is lost";
    } else if (refused_is_gone) {
      EXPECT_FALSE(a) << "refused pair " << i << " is stored";
    }
  }
  EXPECT_TRUE(world.add({{.name = "afterwards"}}));
}

uint64_t changes(const FakeDisk& disk) {
  using enum FakeDisk::Call;
  uint64_t sum = 0;
  for (const auto call :
       {write, allocate, truncate, sync, sync_directory, make_directory, rename, remove})
    sum += disk.calls(call);
  return sum;
}

TEST(SqliteVfs, PowerCutAtAnyCallLosesNothingAcknowledged) {
  World model(1);
  EXPECT_EQ(run_pairs(model), std::vector<bool>(kPairs, true));
  const uint64_t total = changes(model.disk);
  ASSERT_GT(total, 1000u);
  engine::SeededRandom pick(2);
  for (uint64_t round = 0; round < 150; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    World world(1);
    const uint64_t at =
        round < 40 ? round : pick.below(total);  // all of the creation, samples of the rest
    uint64_t seen = 0;
    world.disk.set_observer([&](FakeDisk::Call) {
      if (seen++ == at) world.disk.cut_power();
    });
    const auto said = run_pairs(world);
    power_cut(world, round);
    check_pairs(world, said, false);
    if (HasFailure()) return;
  }
}

void restart_and_add(World& world) {
  world.disk.cut_power();  // the process ends without a word …
  world.relational.reset();
  world.disk.kill();  // … and the machine goes on
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(world.add({{.name = "later" + std::to_string(i)}}));
}

// Goal: after a failed write the store goes on, and a power cut later shows no lie.
TEST(SqliteVfs, FailedWritesRefuseAndTheNextBatchWorks) {
  World model(1);
  run_pairs(model);
  const uint64_t total = model.disk.calls(FakeDisk::Call::write);
  size_t refused       = 0;
  for (uint64_t round = 0; round < 120; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    World world(1);
    world.disk.fail(FakeDisk::Call::write, static_cast<uint32_t>(1 + round * (total - 1) / 119),
                    EIO);
    const auto said = run_pairs(world);
    if (said.empty()) continue;  // refused to open
    refused += static_cast<size_t>(std::ranges::count(said, false));
    EXPECT_LE(std::ranges::count(said, false), 1) << "service resumes";
    EXPECT_TRUE(said.back() || said[said.size() - 2]);
    EXPECT_EQ(world.relational->failure().code, Errc::ok);
    for (size_t i = 0; i < said.size(); ++i)
      EXPECT_EQ(world.has("a" + std::to_string(i)), said[i]) << i;
    power_cut(world, round);
    check_pairs(world, said, said.back());
    if (HasFailure()) return;
  }
  EXPECT_GT(refused, 40u);
}

// A failed sync loses what it was to write, and SQLite would commit behind it: the tail of what was
// acknowledged before (it pads a commit beyond what it syncs) or the frames of what was refused.
TEST(SqliteVfs, NothingIsAcknowledgedBehindAFailedSync) {
  for (uint64_t round = 0; round < 20; ++round) {
    SCOPED_TRACE(round);
    World world(1);
    ASSERT_TRUE(world.open());
    ASSERT_TRUE(world.add({{.name = "alice"}}));
    EXPECT_EQ(world.relational->failure().code, Errc::ok);
    world.disk.fail(FakeDisk::Call::sync, 1, round % 2 == 0 ? EIO : ENOSPC);
    EXPECT_FALSE(world.add({{.name = "bob"}}));
    EXPECT_EQ(world.relational->failure().code, Errc::os);
    const bool carol = world.add({{.name = "carol"}}).has_value();
    EXPECT_FALSE(carol);
    power_cut(world, round);
    ASSERT_TRUE(world.open());
    EXPECT_TRUE(world.has("alice"));
    EXPECT_EQ(world.has("carol"), carol);
  }
}

// Each sync fails once; then the power goes, at once or after another process has gone on with what
// memory shows and the disk never got.
TEST(SqliteVfs, EverySyncMayFailAndTheProcessStartAgain) {
  for (const bool padded : {true, false}) {
    const auto prepare = [padded](World& world) {
      if (!padded) world.vfs.promise_powersafe_overwrite();
    };
    World model(1);
    prepare(model);
    run_pairs(model);
    for (const auto call : {FakeDisk::Call::sync, FakeDisk::Call::sync_directory}) {
      const uint64_t total = model.disk.calls(call);
      for (uint64_t at = 1; at <= total; ++at) {
        for (uint64_t fate = 0; fate < 3; ++fate) {
          SCOPED_TRACE("call " + std::to_string(static_cast<int>(call)) + " at " +
                       std::to_string(at) + (padded ? " padded" : "") + " fate " +
                       std::to_string(fate));
          World world(1);
          prepare(world);
          world.disk.fail(call, static_cast<uint32_t>(at), EIO);
          const auto said = run_pairs(world);
          EXPECT_TRUE(std::ranges::is_sorted(said, std::greater())) << "acknowledged behind it";
          EXPECT_TRUE(said.empty() || world.relational->failure().os == EIO);
          if (fate > 0) restart_and_add(world);
          power_cut(world, at * 3 + fate);
          check_pairs(world, said, false);
          if (fate > 0) {
            EXPECT_TRUE(world.has("later0")) << "acknowledged after the restart, and lost";
            EXPECT_TRUE(world.has("later3")) << "acknowledged after the restart, and lost";
          }
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(SqliteVfs, FullDiskRefusesTheWholeBatchOrJustTheCallAndRecovers) {
  for (uint64_t spare = 0; spare < 40; ++spare) {
    SCOPED_TRACE(spare);
    World world(1);
    ASSERT_TRUE(world.open());
    ASSERT_TRUE(world.add({{.name = "alice"}}));
    world.disk.set_space(world.disk.space_used() + spare * FakeDisk::kBlockBytes);
    std::optional<Result<std::vector<User>>> small, big, last;
    std::vector<NewUser> many(3000);
    for (size_t i = 0; i < many.size(); ++i)
      many[i] = {.name = "m" + std::to_string(i), .nick = std::string(500, 'n')};
    const auto into = [](auto& place) {
      return [&place](Result<std::vector<User>> result) { place = std::move(result); };
    };
    ASSERT_TRUE(world.relational->add_users(0, {{.name = "small"}}, into(small)));
    ASSERT_TRUE(world.relational->add_users(0, many, into(big)));
    ASSERT_TRUE(world.relational->add_users(0, {{.name = "last"}}, into(last)));
    EXPECT_EQ(world.relational->run_some(), 3u);
    world.relational->collect(0);
    ASSERT_FALSE(*big);
    EXPECT_EQ(big->error().os, ENOSPC);
    EXPECT_EQ(world.has("small"), small->has_value());
    EXPECT_EQ(world.has("last"), last->has_value());
    EXPECT_FALSE(world.has("m0"));
    EXPECT_TRUE(world.has("alice"));
    world.disk.set_space(~uint64_t{0});
    EXPECT_TRUE(world.add(many));
    EXPECT_TRUE(world.has("m2999"));
  }
}

TEST(SqliteVfs, FlippedBitsAreAnErrorNotACrash) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    World world(seed);
    ASSERT_TRUE(world.open());
    std::vector<NewUser> many(200);
    for (size_t i = 0; i < many.size(); ++i) many[i].name = "m" + std::to_string(i);
    ASSERT_TRUE(world.add(many));
    world.relational.reset();
    const uint64_t bits = world.disk.contents("ringtalk.db")->size() * 8;
    for (int i = 0; i < 20; ++i) world.disk.flip_bit("ringtalk.db", world.random.below(bits));
    if (!world.open()) continue;
    (void)world.relational->load_user_states();
    for (size_t i = 0; i < many.size(); ++i) world.has("m" + std::to_string(i));
    (void)world.add({{.name = "more"}});
  }
}

}  // namespace
}  // namespace ringtalk::store
