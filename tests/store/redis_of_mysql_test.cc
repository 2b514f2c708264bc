// The MySQL driver with its mirror: what people do through the store is what Redis holds, with both servers
// real (RINGTALK_TEST_MYSQL, RINGTALK_TEST_REDIS; tests/servers.py starts them).
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>

#include "engine/fake_ring.h"
#include "engine/random.h"
#include "store/mysql/mysql_store.h"
#include "store/mysql/schema.h"
#include "store/redis/write_all.h"
#include "tests/store/contract_world.h"
#include "tests/store/sql_database.h"

namespace ringtalk::store {
namespace {

constexpr uint32_t kDb = 8;

class Here final : public Deployment {
 public:
  Here(sql::TestDatabase& database, redis::Server server)
      : database_(database), pools_{server, server, server, server, server} {}
  ~Here() override { kill(); }

  void open(const Homes& homes, std::span<Sink* const> sinks) override {
    auto opened = MySqlStores::open({.master  = [this] { return sql::connect(database_.server()); },
                                     .replica = nullptr,
                                     .homes   = homes,
                                     .redis   = pools_},
                                    clock_);
    ASSERT_TRUE(opened) << opened.error().text;
    owner = std::move(*opened);
    for (uint32_t i = 0; i < sinks.size(); ++i) {
      metrics_.push_back(std::make_unique<engine::Metrics>());
      stores_.push_back(owner->make(i, ring_, *metrics_.back(), *sinks[i]));
    }
  }
  Store& store(uint32_t shard) override { return *stores_[shard]; }
  std::vector<Repeat> take_repeats(uint32_t shard) override { return owner->take_repeats(shard); }
  void run_workers() override { owner->run_workers(); }
  void close() override { kill(); }
  void kill() override {
    stores_.clear();
    owner.reset();
  }

  std::unique_ptr<MySqlStores> owner;

 private:
  sql::TestDatabase& database_;
  const redis::Pools pools_;
  engine::FakeWorld world_{clock_, nullptr, 1};
  engine::FakeRing ring_{world_, engine::FakeRing::Options{}};
  std::vector<std::unique_ptr<engine::Metrics>> metrics_;
  std::vector<std::unique_ptr<Store>> stores_;
};

ConversationId pair(uint32_t a, uint32_t b) { return ConversationId::single(UserId(a), UserId(b)); }

class RedisOfMySql : public testing::Test {
 protected:
  void SetUp() override {
    database_         = sql::TestDatabase::open();
    const char* given = std::getenv("RINGTALK_TEST_REDIS");
    if (!database_ || !given)
      GTEST_SKIP() << "RINGTALK_TEST_MYSQL or RINGTALK_TEST_REDIS names no server";
    const std::string text(given);
    server_.host    = text.substr(0, text.rfind(':'));
    server_.port    = static_cast<uint16_t>(std::stoul(text.substr(text.rfind(':') + 1)));
    server_.db      = kDb;
    auto connection = redis::connect(server_);
    ASSERT_TRUE(connection) << connection.error().text;
    own_ = std::move(*connection);
    ask({"FLUSHDB"});
    const auto made = sql::create_schema(database_->connection());
    ASSERT_TRUE(made) << made.error().text;
    auto here = std::make_unique<Here>(*database_, server_);
    here_     = here.get();
    world_    = std::make_unique<ContractWorld>(std::move(here));
  }
  void TearDown() override { world_.reset(); }

  redis::Reply ask(std::initializer_list<std::string_view> words) {
    redis::Pipeline pipeline;
    pipeline.add(words);
    auto replies = own_->run(pipeline);
    return replies ? replies->front() : redis::Reply{redis::Fault::lost, false, ""};
  }
  std::string get(const std::string& key) { return ask({"GET", key}).text; }
  std::string field(const std::string& key, const std::string& name) {
    return ask({"HGET", key, name}).text;
  }

  template <class T>
  T must(std::function<Result<void>(Callback<T>)> call) {
    std::optional<Result<T>> result;
    EXPECT_TRUE(call([&](Result<T> told) { result = std::move(told); }));
    for (uint32_t i = 0; i < 1000 && !result; ++i) world_->turn();
    EXPECT_TRUE(result && *result);
    return result && *result ? std::move(**result) : T();
  }
  void must_do(std::function<Result<void>(Callback<void>)> call) {
    std::optional<Result<void>> result;
    EXPECT_TRUE(call([&](Result<void> told) { result = told; }));
    for (uint32_t i = 0; i < 1000 && !result; ++i) world_->turn();
    EXPECT_TRUE(result && *result);
  }
  void add_users(uint32_t count) {
    std::vector<NewUser> users;
    for (uint32_t i = 1; i <= count; ++i) users.push_back({.name = "user" + std::to_string(i)});
    const auto added = must<std::vector<User>>([&](auto done) {
      return world_->of(UserId(1)).add_users(std::move(users), std::move(done));
    });
    ASSERT_EQ(added.size(), count);
    ASSERT_EQ(raw(added.back().id), count) << "a fresh schema";
  }
  void send(uint32_t author, ConversationId to) {
    if (!to.is_group() && opened_.insert(to.key).second)
      must_do(
          [&](auto done) { return world_->of(to).open_conversation(to, 1000, std::move(done)); });
    ASSERT_TRUE(world_->send(to, author, "hello"));
    world_->run_until_idle();
    if (to.is_group())
      world_->of(UserId(author)).note_own(UserId(author), to, world_->of(to).head(to).newest);
    else
      authors_[to.key].push_back(author);
  }
  void read(uint32_t user, ConversationId conversation, uint32_t msg_id) {
    world_->of(UserId(user)).set_cursor(UserId(user), conversation, msg_id);
  }
  // Positions are durable after a second at most; Redis has it all a round later.
  void settle() {
    redis::Mirror& mirror = *here_->owner->mirror();
    uint32_t calm         = 0;
    for (uint32_t i = 0; i < 500 && calm < 12; ++i) {
      world_->tick();
      world_->turn();
      calm = mirror.settled() ? calm + 1 : 0;
    }
    ASSERT_EQ(calm, 12u) << "not settled: " << mirror.trouble().text;
  }
  uint32_t unread(uint32_t user, uint32_t peer) {
    const std::vector<uint32_t>& authors = authors_[pair(user, peer).key];
    const uint32_t cursor = world_->of(UserId(user)).cursor(UserId(user), pair(user, peer));
    uint32_t count        = 0;
    for (uint32_t id = cursor + 1; id <= authors.size(); ++id) count += authors[id - 1] == peer;
    return count;
  }
  void check_unread(uint32_t users) {
    for (uint32_t user = 1; user <= users; ++user)
      for (uint32_t peer = 1; peer <= users; ++peer) {
        if (user == peer) continue;
        const uint32_t count = unread(user, peer);
        EXPECT_EQ(field("unread_" + std::to_string(user), std::to_string(peer)),
                  count ? std::to_string(count) : "")
            << user << " of " << peer;
      }
  }
  void flush_and_settle() {
    ask({"FLUSHDB"});
    const auto* metrics = here_->owner->mirror_metrics();
    const auto before   = metrics->value(engine::Counter::redis_rebuilds);
    for (uint32_t i = 0; i < 30 && metrics->value(engine::Counter::redis_rebuilds) == before; ++i) {
      world_->tick();
      world_->turn();
    }
    ASSERT_EQ(metrics->value(engine::Counter::redis_rebuilds), before + 1);
    settle();
  }

  redis::Server server_;
  std::unique_ptr<redis::Connection> own_;
  std::unique_ptr<sql::TestDatabase> database_;
  std::unique_ptr<ContractWorld> world_;
  Here* here_ = nullptr;
  std::set<uint64_t> opened_;
  std::map<uint64_t, std::vector<uint32_t>> authors_;
};

TEST_F(RedisOfMySql, HasWhatTheStoreHas) {
  world_->open(3);
  add_users(6);
  engine::SeededRandom random(7);
  for (uint32_t i = 0; i < 120; ++i) {
    const auto a = static_cast<uint32_t>(1 + random.below(6));
    const auto b = static_cast<uint32_t>(1 + random.below(6));
    if (a == b) continue;
    if (random.below(3)) {
      send(a, pair(a, b));
    } else if (const auto newest = static_cast<uint32_t>(authors_[pair(a, b).key].size())) {
      read(a, pair(a, b), static_cast<uint32_t>(1 + random.below(newest)));
    }
    if (i % 40 == 0) settle();
  }
  settle();
  check_unread(6);
  for (const auto& [key, authors] : authors_) {
    const std::string relation = database_->ask(
        "SELECT id FROM IMRelationShip WHERE smallId = " + std::to_string(key >> 32) +
        " AND bigId = " + std::to_string(key & 0xffffffff));
    const std::string newest = authors.empty() ? "" : std::to_string(authors.size());
    EXPECT_EQ(get("msg_id_" + relation), newest);
  }
  EXPECT_EQ(here_->owner->mirror_metrics()->value(engine::Counter::redis_rebuilds), 1u);
  flush_and_settle();
  check_unread(6);
}

TEST_F(RedisOfMySql, GroupsAndTokens) {
  world_->open(2);
  add_users(5);
  Store& one         = world_->of(UserId(1));
  const Group made   = must<Group>([&](auto done) {
    return one.add_group({.name    = "g",
                            .avatar  = "",
                            .creator = UserId(1),
                            .members = {UserId(1), UserId(2), UserId(3)}},
                           std::move(done));
  });
  const auto talk    = ConversationId::group(made.id);
  const auto id      = std::to_string(raw(made.id));
  const auto members = "group_member_" + id;
  const auto copy    = [&](uint32_t user) {
    return field(std::to_string(user) + "_" + id + "_im_user_group", "count");
  };
  const auto change = [&](bool add, uint32_t first, std::vector<UserId> users) {
    must<MembersChanged>([&](auto done) {
      return world_->of(talk).change_members(
          {.group = made.id, .add = add, .first = first, .users = users}, std::move(done));
    });
  };
  settle();
  EXPECT_EQ(ask({"HLEN", members}).text, "3");
  EXPECT_EQ(get("group_msg_id_" + id), "0");
  send(1, talk);
  send(2, talk);
  send(1, talk);
  read(3, talk, 1);
  must_do([&](auto done) {
    return world_->of(UserId(2)).mute_group(UserId(2), made.id, true, std::move(done));
  });
  settle();
  const auto check = [&] {
    EXPECT_EQ(get("group_msg_id_" + id), "3");
    EXPECT_EQ(field(id + "_im_group_msg", "count"), "3");
    EXPECT_EQ(copy(1), "3");
    EXPECT_EQ(copy(2), "2");
    EXPECT_EQ(copy(3), "1");
    EXPECT_EQ(field("group_set_" + id, "2_1"), "1");
    EXPECT_EQ(field(members, "1"),
              database_->ask("SELECT updated FROM IMGroupMember WHERE userId = 1"));
  };
  check();
  flush_and_settle();
  check();

  change(false, 0, {UserId(2)});
  change(true, 4, {UserId(4)});
  settle();
  EXPECT_EQ(field(members, "2"), "");
  EXPECT_EQ(field("group_set_" + id, "2_1"), "");
  EXPECT_EQ(copy(4), "3") << "what was before him is as good as read";

  const auto token = [&](uint32_t user, PushVendor vendor, const std::string& text) {
    must_do([&](auto done) {
      return world_->of(UserId(user)).set_push_token(UserId(user), {vendor, text}, std::move(done));
    });
  };
  token(1, PushVendor::ios, "aaaa");
  settle();
  EXPECT_EQ(get("device_1"), "ios:aaaa");
  token(5, PushVendor::android, "aaaa");
  token(5, PushVendor::android, "bbbb");
  settle();
  EXPECT_EQ(get("device_1"), "") << "he lost it to user 5, who has another by now";
  EXPECT_EQ(get("device_5"), "android:bbbb");
  EXPECT_EQ(get("device_aaaa"), "");
  EXPECT_EQ(get("device_bbbb"), "5");
  must_do([&](auto done) {
    return world_->of(UserId(5)).clear_push_token(UserId(5), std::move(done));
  });
  settle();
  EXPECT_EQ(get("device_5"), "");

  must_do([&](auto done) { return world_->of(talk).dismiss_group(made.id, std::move(done)); });
  settle();
  EXPECT_EQ(ask({"EXISTS", members}).text, "0");
}

// Positions below, at, and above the take-over; ids that repeat, are missing, are hidden.
TEST_F(RedisOfMySql, UnreadAmongMessagesOfTheOriginal) {
  database_->must(
      "INSERT INTO IMRelationShip (id, smallId, bigId, status, created, updated) "
      "VALUES (11, 1, 2, 0, 5, 5)");
  const auto add = [&](int id, int from, int status) {
    const std::string text = std::to_string(from) + ", " + std::to_string(3 - from) + ", " +
                             std::to_string(id) + ", 'x', 1, " + std::to_string(status);
    database_->must(
        "INSERT INTO IMMessage_3 (relateId, fromId, toId, msgId, content, type, status, "
        "updated, created) VALUES (11, " +
        text + ", 1, 1)");
  };
  add(1, 1, 0);
  add(2, 2, 0);
  add(4, 1, 0);
  add(5, 1, 1);
  add(7, 2, 0);
  // Visible: 1, 2, 4, 7; of user 1: 1 and 4.
  database_->must(
      "INSERT INTO RTConversation (type, convId, newest, small, hidden, time) "
      "VALUES (1, 11, 9, 2, 5, 107)");
  world_->open(1);
  const auto shown = [&](uint32_t user) {
    return field("unread_" + std::to_string(user), std::to_string(3 - user));
  };
  settle();
  EXPECT_EQ(get("msg_id_11"), "9");
  EXPECT_EQ(shown(1), "2");
  EXPECT_EQ(shown(2), "2");
  opened_.insert(pair(1, 2).key);
  world_->model[pair(1, 2)].resize(9);  // ids go on from there
  send(1, pair(1, 2));
  send(2, pair(1, 2));
  send(2, pair(1, 2));
  settle();
  EXPECT_EQ(get("msg_id_11"), "12");
  EXPECT_EQ(shown(1), "4");
  EXPECT_EQ(shown(2), "3");
  struct Step {
    uint32_t first_reads, second_reads;
    const char *first_shown, *second_shown;
  };
  for (const Step& step :
       {Step{2, 2, "3", "2"}, Step{6, 4, "3", "1"}, Step{11, 9, "1", "1"}, Step{12, 10, "", ""}}) {
    SCOPED_TRACE(step.first_reads);
    read(1, pair(1, 2), step.first_reads);
    read(2, pair(1, 2), step.second_reads);
    settle();
    EXPECT_EQ(shown(1), step.first_shown);
    EXPECT_EQ(shown(2), step.second_shown);
    flush_and_settle();
    EXPECT_EQ(shown(1), step.first_shown) << "by a rebuild as by events";
    EXPECT_EQ(shown(2), step.second_shown);
  }
}

TEST_F(RedisOfMySql, WriteAllIsWhatTheMirrorWrites) {
  world_->open(2);
  add_users(3);
  send(1, pair(1, 2));
  send(1, pair(1, 2));
  send(3, pair(2, 3));
  settle();
  world_->kill();
  ask({"FLUSHDB"});
  engine::RealClock clock;
  MirrorRows rows([this] { return sql::connect(database_->server()); }, clock);
  engine::SeededRandom random(1);
  std::string why;
  const auto written = redis::write_all(
      {server_, server_, server_, server_, server_}, &redis::connect, rows, clock, random,
      [](uint64_t, uint64_t) {}, why);
  ASSERT_TRUE(written) << why;
  EXPECT_EQ(field("unread_2", "1"), "2");
  EXPECT_EQ(field("unread_2", "3"), "1");
}

TEST_F(RedisOfMySql, ManyConversations) {
  database_->must(
      "INSERT INTO IMRelationShip (smallId, bigId, status, created, updated) "
      "SELECT a.seq, 1000 + b.seq, 0, 1, 1 FROM seq_1_to_500 a, seq_1_to_200 b");
  for (uint32_t table = 0; table < 8; ++table)
    database_->must(
        "INSERT INTO IMMessage_" + std::to_string(table) +
        " (relateId, fromId, toId, msgId, rtSeq, rtSmall, content, type, status, updated, "
        "created) SELECT r.id, r.smallId, r.bigId, s.seq, s.seq, s.seq, 'x', 1, 0, 1, 1 "
        "FROM IMRelationShip r, seq_1_to_3 s WHERE r.id % 8 = " +
        std::to_string(table));
  database_->must(
      "INSERT INTO RTReadCursor (userId, type, convId, msgId, updated) "
      "SELECT bigId, 1, smallId, 1, 1 FROM IMRelationShip");
  engine::RealClock clock;
  MirrorRows rows([this] { return sql::connect(database_->server()); }, clock);
  engine::SeededRandom random(1);
  std::string why;
  const uint64_t began = clock.now_ns();
  const auto written   = redis::write_all(
      {server_, server_, server_, server_, server_}, &redis::connect, rows, clock, random,
      [](uint64_t, uint64_t) {}, why);
  ASSERT_TRUE(written) << why;
  RecordProperty("ms", std::to_string((clock.now_ns() - began) / kNsPerMs));
  std::printf("100,000 conversations: %lu ms\n", (clock.now_ns() - began) / kNsPerMs);
  EXPECT_EQ(field("unread_1001", "1"), "2");
  EXPECT_EQ(ask({"HLEN", "unread_1001"}).text, "500");
  EXPECT_EQ(ask({"DBSIZE"}).text, std::to_string(100'000 + 200 + 2));
}

}  // namespace
}  // namespace ringtalk::store
