#include "store/embedded/embedded_store.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>

#include "engine/uring.h"
#include "store/embedded/sqlite_vfs.h"
#include "store/embedded/verify.h"
#include "tests/store/log_world.h"

namespace ringtalk::store {
namespace {

std::string text(uint64_t n, size_t bytes = 40) {
  std::string out = "message " + std::to_string(n) + " ";
  while (out.size() < bytes) out += static_cast<char>('a' + out.size() % 26);
  return out;
}

// With 64 shards a stop used to read 512 MiB of segments, most of them empty.
TEST(EmbeddedStore, AnOrderlyStopReadsNothingBack) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(world.send(pair(1, 2), 1 + i % 2, text(i)));
  world.run_until_idle();
  const uint64_t reads = world.disk.calls(engine::FakeDisk::Call::read);
  ASSERT_TRUE(world.close());
  EXPECT_EQ(world.disk.calls(engine::FakeDisk::Call::read), reads);
  ASSERT_TRUE(world.open());
  EXPECT_EQ(world.stores->report().records_read, 0u);
  world.check_all();
  ASSERT_TRUE(world.close());
}

TEST(EmbeddedStore, AppendCommitReadRestart) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(world.send(pair(1, 2), 1 + i % 2, text(i)));
    ASSERT_TRUE(world.send(group(7), 5, text(i + 1000)));
    if (i % 7 == 0) world.turn();
  }
  world.run_until_idle();
  EXPECT_EQ(world.model[pair(1, 2)].size(), 500u);
  world.check_all();
  ASSERT_TRUE(world.close());

  ASSERT_TRUE(world.open());
  EXPECT_EQ(world.stores->report().records_read, 0u);  // footers said it all
  EXPECT_EQ(world.stores->report().conversations, 2u);
  world.check_all();
  ASSERT_TRUE(world.send(pair(1, 2), 2, "after"));
  world.run_until_idle();
  world.check_all();
}

TEST(EmbeddedStore, ResultsNeverInsideAppendAndInOrder) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(world.send(pair(1, 2 + i % 3), 1, text(i)));
  EXPECT_TRUE(world.order.empty());
  world.run_until_idle();
  ASSERT_EQ(world.order.size(), 100u);
  EXPECT_TRUE(std::ranges::is_sorted(world.order));
}

TEST(EmbeddedStore, KillLosesNothingAcknowledged) {
  LogWorld world;
  ASSERT_TRUE(world.open());
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(world.send(pair(1, 2 + i % 5), 1, text(round * 100 + i)));
      if (i % 9 == round % 9) world.turn();
    }
    world.drop();
    world.disk.kill();
    ASSERT_TRUE(world.open(1 + round % 3));
    ASSERT_NO_FATAL_FAILURE(world.adopt_and_check());
    EXPECT_TRUE(world.stores->report().damages.empty());
  }
}

// A failed sync of the users' database ends the process as one of the log does.
TEST(EmbeddedStore, AFailedSyncOfTheDatabaseIsToldToEveryShardOnce) {
  LogWorld world;
  engine::FakeDisk disk;
  SqliteVfs vfs("failing", disk, world.clock, world.random);
  auto relational = Relational::open(
      {.path = "ringtalk.db", .vfs_name = vfs.name(), .shards = 2, .jobs_max = 64}, world.clock);
  ASSERT_TRUE(relational.has_value());
  world.relational = relational->get();
  ASSERT_TRUE(world.open(2));
  const auto add = [&](const char* name) {
    std::optional<bool> added;
    EXPECT_TRUE(world.of(UserId(1)).store->add_users({{.name = name}}, [&](const auto& result) {
      EXPECT_EQ(result.has_value(), world.failure.code == Errc::ok) << "told before the answers";
      added = result.has_value();
    }));
    (*relational)->run_some();
    world.turn();
    return added;
  };
  EXPECT_EQ(add("alice"), true);
  EXPECT_EQ(world.failures, 0);
  disk.fail(engine::FakeDisk::Call::sync, 1, EIO);
  EXPECT_EQ(add("bob"), false);
  EXPECT_EQ(world.failure.os, EIO);
  EXPECT_EQ(add("carol"), false);
  EXPECT_EQ(world.failures, 2);
}

// The same over a real ring, real files and worker threads: what the fakes cannot get wrong.
class RealSink final : public Sink {
 public:
  void on_appended(const Appended& result) override {
    EXPECT_EQ(result.error.code, Errc::ok);
    ++appended;
  }
  void on_page(uint64_t, Error error, std::span<const Message> page) override {
    EXPECT_EQ(error.code, Errc::ok);
    for (const Message& message : page) bodies.emplace_back(as_text(message.body));
    ++pages;
  }
  void on_failed(Error error) override { FAIL() << error.os; }

  uint64_t appended = 0, pages = 0;
  std::vector<std::string> bodies;
};

TEST(EmbeddedStore, OnARealRingAndRealFiles) {
  char directory[] = "/tmp/ringtalk-store-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  engine::RealClock clock;
  auto disk = engine::open_disk(directory);
  ASSERT_TRUE(disk.has_value());
  constexpr uint64_t kMessages = 3000;
  for (int run = 0; run < 3; ++run) {
    auto ring =
        engine::UringRing::make({.sq_entries = 64, .cq_entries = 256, .slots = 16, .buffers = 16});
    if (!ring) GTEST_SKIP() << "no io_uring here";
    auto stores = EmbeddedStores::open(
        {.directory = directory, .homes = homes(1), .segment_bytes = kSegmentBytesMin}, **disk,
        clock);
    ASSERT_TRUE(stores.has_value());
    EXPECT_EQ(EmbeddedStores::open({.directory = directory, .homes = homes(1)}, **disk, clock)
                  .error()
                  .code,
              Errc::exists);
    (*stores)->start();
    RealSink sink;
    const auto metrics = std::make_unique<engine::Metrics>();
    auto store         = (*stores)->make(0, **ring, *metrics, sink);
    const auto turn    = [&] {
      store->on_turn(clock.now_ns());
      store->on_tick(clock.now_ns());
      (*ring)->turn(kNsPerMs);
    };
    EXPECT_EQ(store->head(pair(1, 2)).newest, kMessages * static_cast<uint64_t>(run));
    for (uint64_t i = 0; i < kMessages; ++i) {
      const std::string body = text(i + run * kMessages, 300 + i % 2000);
      while (!store->append({.conversation = pair(1, 2),
                             .author       = UserId(1),
                             .body         = as_bytes(body),
                             .deadline_ns  = ~uint64_t{0}}))
        turn();
    }
    while (!store->idle()) turn();
    EXPECT_EQ(sink.appended, kMessages);
    for (uint32_t from = 1; from <= kMessages * (run + 1); from += 997) {
      sink.bodies.clear();
      ASSERT_TRUE(store->read_page({pair(1, 2), from, 50, 1 << 20, 0}));
      for (const uint64_t before = sink.pages; sink.pages == before;) turn();
      ASSERT_EQ(sink.bodies.size(), std::min(from, 50u));
      for (uint32_t i = 0; i < sink.bodies.size(); ++i) {
        const uint64_t n = from - 1 - i;
        EXPECT_EQ(sink.bodies[i], text(n, 300 + n % kMessages % 2000));
      }
    }
    store.reset();
    if (run != 1) {
      EXPECT_TRUE((*stores)->close().has_value());
    }
  }
  auto verified = verify_log(**disk);
  ASSERT_TRUE(verified.has_value());
  EXPECT_TRUE(verified->clean());
  EXPECT_EQ(verified->messages, 3 * kMessages);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace ringtalk::store
