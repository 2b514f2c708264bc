// What store.h promises of messages, tried on every driver. The MySQL driver needs a server
// (RINGTALK_TEST_MYSQL, as tests/servers.py sets it); without one its tests are skipped.
#include <gtest/gtest.h>

#include "engine/fake_disk.h"
#include "engine/fake_ring.h"
#include "store/embedded/embedded_store.h"
#include "store/mysql/mysql_store.h"
#include "tests/store/contract_world.h"
#include "tests/store/sql_database.h"

namespace ringtalk::store {
namespace {

ConversationId pair(uint32_t a, uint32_t b) { return ConversationId::single(UserId(a), UserId(b)); }
ConversationId group(uint32_t id) { return ConversationId::group(GroupId(id)); }

class EmbeddedDeployment final : public Deployment {
 public:
  ~EmbeddedDeployment() override { kill(); }

  void open(const Homes& homes, std::span<Sink* const> sinks) override {
    auto opened =
        EmbeddedStores::open({.homes = homes, .segment_bytes = 4 * kMiB, .seed = 7}, disk_, clock_);
    ASSERT_TRUE(opened.has_value());
    owner_ = std::move(*opened);
    for (uint32_t i = 0; i < sinks.size(); ++i) {
      metrics_.push_back(std::make_unique<engine::Metrics>());
      rings_.push_back(std::make_unique<engine::FakeRing>(world_, engine::FakeRing::Options{}));
      stores_.push_back(owner_->make(i, *rings_[i], *metrics_[i], *sinks[i]));
    }
  }
  Store& store(uint32_t shard) override { return *stores_[shard]; }
  std::vector<Repeat> take_repeats(uint32_t shard) override { return owner_->take_repeats(shard); }
  void run_workers() override {
    for (auto& ring : rings_) ring->turn(0);
    owner_->run_workers();
  }
  void close() override {
    stores_.clear();
    rings_.clear();
    ASSERT_TRUE(owner_->close().has_value());
    owner_.reset();
  }
  void kill() override {
    for (auto& ring : rings_) ring.reset();
    rings_.clear();
    stores_.clear();
    owner_.reset();
  }

 private:
  engine::FakeDisk disk_;
  engine::FakeWorld world_{clock_, &disk_, 1};
  std::unique_ptr<EmbeddedStores> owner_;
  std::vector<std::unique_ptr<engine::Metrics>> metrics_;
  std::vector<std::unique_ptr<engine::FakeRing>> rings_;
  std::vector<std::unique_ptr<EmbeddedStore>> stores_;
};

class MySqlDeployment final : public Deployment {
 public:
  explicit MySqlDeployment(std::unique_ptr<sql::TestDatabase> database)
      : database_(std::move(database)) {
    const auto made = sql::create_schema(database_->connection());
    EXPECT_TRUE(made) << made.error().text;
  }
  ~MySqlDeployment() override { kill(); }

  void open(const Homes& homes, std::span<Sink* const> sinks) override {
    auto opened = MySqlStores::open(
        {.master = [this] { return sql::connect(database_->server()); }, .homes = homes}, clock_);
    ASSERT_TRUE(opened) << opened.error().text;
    owner_ = std::move(*opened);
    for (uint32_t i = 0; i < sinks.size(); ++i) {
      metrics_.push_back(std::make_unique<engine::Metrics>());
      rings_.push_back(std::make_unique<engine::FakeRing>(world_, engine::FakeRing::Options{}));
      stores_.push_back(owner_->make(i, *rings_[i], *metrics_[i], *sinks[i]));
    }
  }
  Store& store(uint32_t shard) override { return *stores_[shard]; }
  std::vector<Repeat> take_repeats(uint32_t shard) override { return owner_->take_repeats(shard); }
  void run_workers() override { owner_->run_workers(); }
  void close() override {
    stores_.clear();
    ASSERT_TRUE(owner_->close().has_value());
    owner_.reset();
  }
  void kill() override {
    stores_.clear();
    rings_.clear();
    owner_.reset();
  }

 private:
  const std::unique_ptr<sql::TestDatabase> database_;
  engine::FakeWorld world_{clock_, nullptr, 1};
  std::unique_ptr<MySqlStores> owner_;
  std::vector<std::unique_ptr<engine::Metrics>> metrics_;
  std::vector<std::unique_ptr<engine::FakeRing>> rings_;
  std::vector<std::unique_ptr<Store>> stores_;
};

struct Driver {
  const char* name;
  MakeDeployment make;
};

class Contract : public testing::TestWithParam<Driver> {
 protected:
  void SetUp() override {
    auto deployment = GetParam().make();
    if (!deployment) GTEST_SKIP() << "RINGTALK_TEST_MYSQL names no server";
    world_ = std::make_unique<ContractWorld>(std::move(deployment));
  }
  engine::FakeClock& clock() { return world_->deployment->clock(); }

  std::unique_ptr<ContractWorld> world_;
};

INSTANTIATE_TEST_SUITE_P(
    Drivers, Contract,
    testing::Values(Driver{"embedded", [] { return std::make_unique<EmbeddedDeployment>(); }},
                    Driver{"mysql",
                           []() -> std::unique_ptr<Deployment> {
                             auto database = sql::TestDatabase::open();
                             if (!database) return nullptr;
                             return std::make_unique<MySqlDeployment>(std::move(database));
                           }}),
    [](const auto& driver) { return driver.param.name; });

TEST_P(Contract, NumbersEachConversationFromOneAndReadsItBack) {
  ContractWorld& w = *world_;
  w.open(2);
  for (uint32_t i = 0; i < 300; ++i) {
    ASSERT_TRUE(w.send(pair(1, 2), i % 3 ? 1 : 2, "m" + std::to_string(i)));
    if (i % 2) {
      ASSERT_TRUE(w.send(pair(2, 3), 3, "n" + std::to_string(i)));
    }
    if (i % 5 == 0) {
      ASSERT_TRUE(w.send(group(9), 1 + i % 7, "g" + std::to_string(i)));
    }
    if (i % 40 == 0) w.run_until_idle();
  }
  w.run_until_idle();
  EXPECT_EQ(w.model[pair(1, 2)].size(), 300u);
  EXPECT_EQ(w.model[pair(2, 3)].size(), 150u);
  EXPECT_EQ(w.model[group(9)].size(), 60u);
  w.check_all();
  EXPECT_EQ(w.of(pair(5, 6)).head(pair(5, 6)).newest, 0u);
  EXPECT_TRUE(w.page(pair(5, 6), 0, 10).messages.empty());
}

TEST_P(Contract, APageSeesWhatWasAppendedBeforeIt) {
  ContractWorld& w = *world_;
  w.open(1);
  for (uint32_t i = 1; i <= 40; ++i) {
    ASSERT_TRUE(w.send(pair(1, 2), 1, "m" + std::to_string(i)));
    if (i % 3 == 0) w.turn();  // sometimes one flies while the next one comes
    const ReadPage got = w.page(pair(1, 2), 0, 1);
    ASSERT_EQ(got.messages.size(), 1u);
    ASSERT_EQ(got.messages[0].msg_id, i);
    ASSERT_EQ(w.model[pair(1, 2)].size(), i) << "the result comes before the page";
  }
}

TEST_P(Contract, APageKeepsItsBounds) {
  ContractWorld& w = *world_;
  w.open(1);
  engine::SeededRandom random(3);
  for (uint32_t i = 0; i < 120; ++i)
    ASSERT_TRUE(w.send(group(4), 1, std::string(1 + random.below(400), 'a' + i % 26)));
  w.run_until_idle();
  for (const uint32_t from : {0u, 1u, 2u, 60u, 119u, 120u, 121u, 4'000'000'000u})
    for (const uint32_t count : {1u, 7u, 100u})
      for (const uint32_t bytes : {1u, 500u, 1u << 20})
        ASSERT_NO_FATAL_FAILURE(w.expect_page(group(4), from, count, bytes));
}

TEST_P(Contract, ARefusedMessageIsNeverStored) {
  ContractWorld& w = *world_;
  w.open(1);
  const uint64_t soon = clock().now_ns() + 2 * kNsPerS;
  ASSERT_TRUE(w.send(pair(1, 2), 1, "in time", 0, 0, 0, soon));
  w.run_until_idle();
  ASSERT_TRUE(w.send(pair(1, 2), 1, "late", 0, 0, 0, clock().now_ns() + kNsPerMs));
  ASSERT_TRUE(w.send(pair(1, 2), 2, "patient", 0, 0, 0, clock().now_ns() + 60 * kNsPerS));
  w.tick(10 * kNsPerMs);
  w.run_until_idle();
  ASSERT_EQ(w.refused.size(), 1u);
  EXPECT_EQ(w.refused[0].error.code, Errc::timeout);
  EXPECT_EQ(w.model[pair(1, 2)].size(), 2u);
  EXPECT_EQ(w.model[pair(1, 2)].back().body, "patient");
  w.close();
  w.open(1);
  w.check_all();
}

TEST_P(Contract, TakesWhatMessagesAreMadeOf) {
  ContractWorld& w = *world_;
  w.open(1);
  std::string widest;
  for (int i = 0; i < 4096; ++i) widest += "\xf0\x9f\x99\x82";  // 4 bytes each
  std::string sound(256 * kKiB, '\0');
  engine::SeededRandom random(11);
  for (char& c : sound) c = static_cast<char>(random.below(256));
  const std::string short_sound("\xff\xff\xff\xff\0", 5);
  ASSERT_TRUE(w.send(pair(1, 2), 1, widest));
  ASSERT_TRUE(w.send(pair(1, 2), 2, "it's a \"test\" \\ % _ ; -- /* ? */ 'x'"));
  ASSERT_TRUE(w.send(pair(1, 2), 1, sound, 2));
  ASSERT_TRUE(w.send(group(5), 1, short_sound, 18));
  ASSERT_TRUE(w.send(pair(1, 2), 2, short_sound, 2));
  ASSERT_TRUE(w.send(group(5), 2, "trailing spaces   "));
  w.run_until_idle();
  EXPECT_TRUE(w.refused.empty());
  w.check_all();
  w.close();
  w.open(1);
  w.check_all();
  const std::string huge(300 * kKiB, 'x');
  EXPECT_EQ(w.send(pair(1, 2), 1, huge).error().code, Errc::too_large);
}

TEST_P(Contract, AFullStoreSaysSoAndTakesAgain) {
  ContractWorld& w = *world_;
  w.open(1);
  uint32_t taken = 0;
  while (w.send(group(3), 1, std::string(4000, 'x'))) ++taken;
  EXPECT_GT(taken, 100u);
  EXPECT_LT(taken, 100'000u) << "the queue is bounded";
  EXPECT_EQ(w.send(group(3), 1, std::string(4000, 'x')).error().code, Errc::full);
  w.run_until_idle();
  EXPECT_EQ(w.model[group(3)].size(), taken);
  ASSERT_TRUE(w.of(group(3)).has_room());
  ASSERT_TRUE(w.send(group(3), 1, "one more"));
  w.run_until_idle();
  w.check(group(3));
}

TEST_P(Contract, TimeNeverGoesBackInAConversation) {
  ContractWorld& w = *world_;
  w.open(1);
  const uint64_t wall = clock().wall_ns();
  ASSERT_TRUE(w.send(pair(1, 2), 1, "now"));
  w.run_until_idle();
  clock().set_wall(wall - 3600 * kNsPerS);
  ASSERT_TRUE(w.send(pair(1, 2), 1, "the clock went back"));
  w.run_until_idle();
  w.kill();
  clock().set_wall(wall - 7200 * kNsPerS);
  w.open(1);
  ASSERT_TRUE(w.send(pair(1, 2), 1, "and again"));
  w.run_until_idle();
  w.check(pair(1, 2));
}

TEST_P(Contract, RemembersRepeatsOverAKill) {
  ContractWorld& w = *world_;
  w.open(2);
  ASSERT_TRUE(w.send(pair(1, 2), 1, "long ago", 0, 0x1111));
  ASSERT_TRUE(w.send(pair(1, 2), 1, "long ago, with an id", 0, 0x2222, 0x2223));
  w.run_until_idle();
  clock().advance(3600 * kNsPerS);
  ASSERT_TRUE(w.send(pair(1, 2), 2, "lately", 0, 0xffff'eeee'dddd'cccc));
  ASSERT_TRUE(w.send(group(7), 1, "lately, in a group", 0, 0x4444));
  ASSERT_TRUE(w.send(group(7), 2, "lately, with an id", 0, 0x5555, 0xf555'5555'5555'5555));
  ASSERT_TRUE(w.send(group(7), 2, "nothing to remember it by"));
  w.run_until_idle();
  w.kill();
  clock().advance(10 * kNsPerS);
  w.open(3);
  std::map<uint64_t, Repeat> by_repeat, by_client;
  for (uint32_t i = 0; i < 3; ++i) {
    for (const Repeat& repeat : w.deployment->take_repeats(i)) {
      EXPECT_EQ(ContractWorld::home_of_user(repeat.author, 3), i);
      if (repeat.client_key)
        by_client[repeat.client_key] = repeat;
      else
        by_repeat[repeat.repeat_key] = repeat;
    }
    EXPECT_TRUE(w.deployment->take_repeats(i).empty());
  }
  EXPECT_FALSE(by_repeat.contains(0x1111));
  ASSERT_TRUE(by_repeat.contains(0xffff'eeee'dddd'cccc));
  EXPECT_EQ(by_repeat[0xffff'eeee'dddd'cccc].msg_id, 3u);
  EXPECT_EQ(by_repeat[0xffff'eeee'dddd'cccc].author, UserId(2));
  ASSERT_TRUE(by_repeat.contains(0x4444));
  EXPECT_EQ(by_repeat[0x4444].msg_id, 1u);
  EXPECT_EQ(by_repeat[0x4444].time, w.model[group(7)][0].time);
  ASSERT_TRUE(by_client.contains(0x2223));
  EXPECT_EQ(by_client[0x2223].msg_id, 2u);
  EXPECT_EQ(by_client[0x2223].full_key, 0x2224u);
  ASSERT_TRUE(by_client.contains(0xf555'5555'5555'5555));
  EXPECT_EQ(by_client[0xf555'5555'5555'5555].author, UserId(2));
  EXPECT_EQ(by_client[0xf555'5555'5555'5555].full_key, 0xf555'5555'5555'5556u);
  w.kill();
  clock().advance(24 * 3600 * kNsPerS);
  w.open(1);
  EXPECT_TRUE(w.deployment->take_repeats(0).empty());
}

TEST_P(Contract, KeepsReadPositions) {
  ContractWorld& w = *world_;
  w.open(2);
  for (uint32_t i = 0; i < 9; ++i) {
    ASSERT_TRUE(w.send(pair(1, 2), 1, "m"));
    ASSERT_TRUE(w.send(group(6), 3, "g"));
  }
  w.run_until_idle();
  const auto set = [&](uint32_t user, ConversationId conversation, uint32_t id) {
    w.of(UserId(user)).set_cursor(UserId(user), conversation, id);
  };
  const auto at = [&](uint32_t user, ConversationId conversation) {
    return w.of(UserId(user)).cursor(UserId(user), conversation);
  };
  set(2, pair(1, 2), 5);
  set(2, pair(1, 2), 3);
  set(1, pair(1, 2), 9);
  set(1, group(6), 2);
  set(2, group(1), 1);  // the number of a user is not that of a group
  EXPECT_EQ(at(2, pair(1, 2)), 5u);
  EXPECT_EQ(at(1, group(6)), 2u);
  EXPECT_EQ(at(7, group(6)), 0u);
  w.of(UserId(3)).note_own(UserId(3), group(6), 9);
  EXPECT_EQ(at(3, group(6)), 9u);
  for (uint32_t i = 0; i < 10; ++i) {  // durable within a second
    w.tick();
    for (int turns = 0; turns < 4; ++turns) w.turn();
  }
  w.kill();
  w.open(3);
  EXPECT_EQ(at(2, pair(1, 2)), 5u);
  EXPECT_EQ(at(1, pair(1, 2)), 9u);
  EXPECT_EQ(at(1, group(6)), 2u);
  EXPECT_EQ(at(2, group(1)), 1u);
  EXPECT_EQ(at(3, group(6)), 9u);
  set(2, pair(1, 2), 4);
  set(1, group(6), 7);
  w.close();
  w.open(1);
  EXPECT_EQ(at(2, pair(1, 2)), 5u);
  EXPECT_EQ(at(1, group(6)), 7u);
}

// The author of a group's message has read up to it, whatever a kill left unwritten.
TEST_P(Contract, AnOwnMessageIsReadAfterAKill) {
  ContractWorld& w = *world_;
  w.open(1);
  ASSERT_TRUE(w.send(group(6), 3, "by another"));
  ASSERT_TRUE(w.send(group(6), 4, "own"));
  while (w.model[group(6)].size() < 2) w.turn();
  w.of(UserId(4)).note_own(UserId(4), group(6), 2);
  w.kill();
  w.open(1);
  EXPECT_EQ(w.of(UserId(4)).cursor(UserId(4), group(6)), 2u);
  EXPECT_EQ(w.of(UserId(3)).cursor(UserId(3), group(6)), 1u);
}

TEST_P(Contract, OtherNumbersOfShardsFindEverything) {
  ContractWorld& w = *world_;
  for (const uint32_t shards : {1u, 4u, 2u, 3u}) {
    w.open(shards);
    w.check_all();
    for (uint32_t user = 1; user <= 12; ++user)
      for (uint32_t i = 0; i < 5; ++i) {
        ASSERT_TRUE(w.send(pair(user, user + 1), user, "to my neighbour"));
        ASSERT_TRUE(w.send(group(user), user, "to all"));
      }
    w.close();
  }
  w.open(2);
  w.check_all();
}

// Nothing acknowledged is lost, no id is given twice, nothing refused appears, whenever it is killed.
TEST_P(Contract, KilledAtAnyTime) {
  ContractWorld& w = *world_;
  engine::SeededRandom random(2026);
  uint64_t keys = 0;
  for (int life = 0; life < 12; ++life) {
    w.open(1 + random.below(3));
    ASSERT_NO_FATAL_FAILURE(w.adopt_and_check());
    const uint32_t steps = 20 + random.below(100);
    for (uint32_t step = 0; step < steps; ++step) {
      const auto a = static_cast<uint32_t>(1 + random.below(4));
      const auto b = static_cast<uint32_t>(5 + random.below(3));
      const auto c = random.below(3) ? pair(a, b) : group(b);
      for (uint64_t n = random.below(6); n > 0; --n) {
        const uint64_t key = ++keys;
        (void)w.send(c, random.below(2) ? a : b, "m" + std::to_string(key), 0, key,
                     random.below(4) ? 0 : key,
                     random.below(8) ? 0 : clock().now_ns() + random.below(200 * kNsPerMs));
      }
      if (random.below(2)) w.turn();
      if (random.below(6) == 0) w.tick();
    }
    if (random.below(3)) {
      w.kill();
    } else {
      w.close();
    }
    clock().advance(kNsPerS);
  }
  w.open(2);
  w.adopt_and_check();
  EXPECT_EQ(w.failures, 0);
}

}  // namespace
}  // namespace ringtalk::store
