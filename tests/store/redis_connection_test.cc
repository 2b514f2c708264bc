// With a Redis of its own, RINGTALK_TEST_REDIS=host:port (tests/servers.py starts one); what needs none is told
// by a listener of the test's.
#include "store/redis/connection.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "engine/clock.h"
#include "store/redis/write_all.h"
#include "tests/store/mirror_world.h"

namespace ringtalk::store::redis {
namespace {

TEST(RedisFault, ByTheFirstWord) {
  EXPECT_EQ(fault_of_reply("WRONGTYPE Operation against a key"), Fault::wrong_type);
  EXPECT_EQ(fault_of_reply("OOM command not allowed"), Fault::refused);
  EXPECT_EQ(fault_of_reply("READONLY You can't write against a read only replica."),
            Fault::refused);
  EXPECT_EQ(fault_of_reply("ERR max number of clients reached"), Fault::refused);
  EXPECT_EQ(fault_of_reply("LOADING Redis is loading the dataset in memory"), Fault::loading);
  EXPECT_EQ(fault_of_reply("NOAUTH Authentication required."), Fault::denied);
  EXPECT_EQ(fault_of_reply("ERR invalid password"), Fault::denied);
  EXPECT_EQ(fault_of_reply("ERR syntax error"), Fault::other);
  EXPECT_EQ(fault_of_reply(""), Fault::other);
}

TEST(RedisPipeline, KeepsItsWords) {
  Pipeline one, two;
  one.add({"SET", "", std::string_view("a\0b", 3)});
  one.add({"MSET"});
  one.extend({"k", "v"});
  two.append(one);
  two.append(one, 1);
  ASSERT_EQ(two.size(), 3u);
  EXPECT_EQ(two.words(0), 3u);
  EXPECT_EQ(two.word(0, 1), "");
  EXPECT_EQ(two.word(0, 2), std::string_view("a\0b", 3));
  EXPECT_EQ(two.words(2), 3u);
  EXPECT_EQ(two.word(2, 2), "v");
  two.clear();
  EXPECT_TRUE(two.empty());
}

// A listener that lets connect and says nothing.
class Mute {
 public:
  Mute() {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in at{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(fd_, 8), 0);
    socklen_t size = sizeof at;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
  }
  ~Mute() { ::close(fd_); }
  uint16_t port = 0;

 private:
  int fd_ = -1;
};

TEST(RedisConnect, PatienceEnds) {
  const Mute mute;
  const auto answer = connect({.port = mute.port, .read_timeout_ms = 50});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().fault, Fault::timeout);
}

TEST(RedisConnect, NobodyThere) {
  uint16_t port = 0;
  {
    const Mute mute;
    port = mute.port;
  }
  const auto answer = connect({.port = port});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().fault, Fault::lost);
}

class RealRedis : public testing::Test {
 protected:
  static constexpr uint32_t kDb = 9;

  void SetUp() override {
    const char* given = std::getenv("RINGTALK_TEST_REDIS");
    if (!given) GTEST_SKIP() << "RINGTALK_TEST_REDIS is not set";
    const std::string text(given);
    const size_t colon = text.rfind(':');
    server_.host       = text.substr(0, colon);
    server_.port       = static_cast<uint16_t>(std::stoul(text.substr(colon + 1)));
    server_.db         = kDb;
    ask({"FLUSHDB"});
  }
  void TearDown() override {
    if (IsSkipped()) return;
    ask({"CONFIG", "SET", "requirepass", ""});
    ask({"CONFIG", "SET", "maxmemory", "0"});
  }

  Reply ask(std::initializer_list<std::string_view> words) {
    if (!own_ || !own_->alive()) own_ = std::move(*connect(server_));
    Pipeline pipeline;
    pipeline.add(words);
    auto replies = own_->run(pipeline);
    return replies ? replies->front() : Reply{replies.error().fault, false, replies.error().text};
  }

  Pools pools() const {
    return {.unread = server_, .group_set = server_, .token = server_, .group_member = server_};
  }
  // Runs the world's mirror, on the real clock, until it is settled.
  static void settle(MirrorWorld& world, Mirror& mirror) {
    for (uint32_t shard = 0; shard < MirrorWorld::kShards; ++shard)
      while (!world.told[shard].empty()) {
        world.told[shard].front()(shard, mirror);
        world.told[shard].pop_front();
      }
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    do {
      if (!mirror.run_some()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ASSERT_LT(std::chrono::steady_clock::now(), end) << "not settled";
    } while (!mirror.settled());
  }
  // Of one key each way is enough: which keys there are is the fake's matter.
  void check(MirrorWorld& world) {
    for (const auto& [pool, wanted] : world.wanted()) {
      for (const auto& [key, value] : wanted.strings)
        EXPECT_EQ(ask({"GET", key}).text, value) << key;
      for (const auto& [key, fields] : wanted.hashes) {
        EXPECT_EQ(ask({"HLEN", key}).text, std::to_string(fields.size())) << key;
        for (const auto& [field, value] : fields)
          EXPECT_EQ(ask({"HGET", key, field}).text, value) << key << " " << field;
      }
    }
  }
  static void live(MirrorWorld& world) {
    world.add_users(50);
    for (uint32_t i = 0; i < 500; ++i) world.send(1 + i % 7, 8 + i % 41);
    world.make_group(7, {1, 2, 3});
    for (uint32_t i = 0; i < 20; ++i) world.send_group(1 + i % 3, 7);
    world.mute(2, 7, true);
    for (uint32_t user = 1; user < 50; user += 3)
      world.set_token(user, PushVendor::android, "token" + std::to_string(user));
  }

  Server server_;
  std::unique_ptr<Connection> own_;
  engine::RealClock clock_;
};

TEST_F(RealRedis, AnswersAsTheFakeDoes) {
  EXPECT_TRUE(ask({"GETSET", "a", "1"}).nil);
  EXPECT_EQ(ask({"GETSET", "a", "2"}).text, "1");
  EXPECT_EQ(ask({"HSET", "h", "f", "v"}).text, "1");
  EXPECT_EQ(ask({"HDEL", "h", "f"}).text, "1");
  EXPECT_TRUE(ask({"GET", "h"}).nil) << "an empty hash is none";
  EXPECT_EQ(ask({"MSET", "a", "1", "b", "x", "a", "3"}).text, "OK");
  EXPECT_EQ(ask({"GET", "a"}).text, "3") << "named twice: the last value";
  EXPECT_EQ(ask({"RPUSH", "l", "1"}).text, "1");
  for (const std::string_view command : {"GET", "GETSET", "HSET", "HDEL"}) {
    Reply reply;
    if (command == "GET") reply = ask({"GET", "l"});
    if (command == "GETSET") reply = ask({"GETSET", "l", "1"});
    if (command == "HSET") reply = ask({"HSET", "l", "f", "v"});
    if (command == "HDEL") reply = ask({"HDEL", "l", "f"});
    EXPECT_EQ(reply.fault, Fault::wrong_type) << command;
  }
  EXPECT_EQ(ask({"SET", "l", "v"}).text, "OK");
  EXPECT_EQ(ask({"NOSUCH", "l"}).fault, Fault::other);
}

TEST_F(RealRedis, Passwords) {
  ask({"CONFIG", "SET", "requirepass", "secret"});
  const auto without = connect(server_);
  ASSERT_FALSE(without);
  EXPECT_EQ(without.error().fault, Fault::denied);
  Server wrong   = server_;
  wrong.password = "wrong";
  const auto bad = connect(wrong);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().fault, Fault::denied);
  Server right   = server_;
  right.password = "secret";
  EXPECT_TRUE(connect(right));
}

TEST_F(RealRedis, OutOfMemoryIsSaid) {
  ask({"CONFIG", "SET", "maxmemory", "1"});
  EXPECT_EQ(ask({"SET", "a", "1"}).fault, Fault::refused);
  EXPECT_EQ(ask({"GETSET", "a", "1"}).fault, Fault::refused);
  EXPECT_EQ(ask({"HDEL", "a", "1"}).fault, Fault::none);
  ask({"CONFIG", "SET", "maxmemory", "0"});
}

TEST_F(RealRedis, TheMirrorKeepsItThroughAFlushAndAKilledConnection) {
  MirrorWorld world;
  live(world);
  engine::Metrics metrics;
  Mirror mirror({.shards = MirrorWorld::kShards, .pools = pools()}, world, clock_, world.random,
                metrics);
  settle(world, mirror);
  check(world);

  ask({"FLUSHDB"});
  while (metrics.value(engine::Counter::redis_rebuilds) < 2) {
    world.send(1, 2);  // whatever: a pipeline finds it out at once
    settle(world, mirror);
  }
  check(world);

  ask({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  world.send(1, 2);
  world.read(2, 1, UINT32_MAX);
  settle(world, mirror);
  check(world);
  EXPECT_EQ(metrics.value(engine::Counter::redis_rebuilds), 2u) << "nothing was lost by that";
}

TEST_F(RealRedis, AHundredThousandConversationsWithinTenSeconds) {
  MirrorWorld world;
  world.add_users(1000);
  for (uint32_t pair = 0; pair < 100'000; ++pair)
    world.send(1 + pair % 400, 401 + pair / 400 % 600);
  ASSERT_EQ(world.all_pairs.size(), 100'000u);
  for (auto& queue : world.told) queue.clear();
  const uint64_t began = clock_.now_ns();
  std::string why;
  uint64_t told = 0;
  ASSERT_TRUE(write_all(
      pools(), &connect, world, clock_, world.random, [&](uint64_t done, uint64_t) { told = done; },
      why))
      << why;
  RecordProperty("ms", std::to_string((clock_.now_ns() - began) / kNsPerMs));
  EXPECT_EQ(told, 101'000u);
  EXPECT_EQ(ask({"DBSIZE"}).text, std::to_string(100'000 + 250 + 2));
  EXPECT_EQ(ask({"HLEN", "unread_401"}).text, "400");
}

TEST(WriteAll, SaysWhyItCannot) {
  MirrorWorld world;
  engine::FakeClock clock;
  std::string why;
  const auto refuse = [](const Server&) -> Answer<std::unique_ptr<Connection>> {
    return std::unexpected(Trouble{Fault::denied, "WRONGPASS"});
  };
  const auto pass_time = [&](uint64_t, uint64_t) { clock.advance(kNsPerS); };
  const auto written   = write_all({}, refuse, world, clock, world.random, pass_time, why);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Errc::closed);
  EXPECT_NE(why.find("WRONGPASS"), std::string::npos) << why;
}

}  // namespace
}  // namespace ringtalk::store::redis
