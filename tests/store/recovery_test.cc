#include "store/embedded/recovery.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <map>

#include "store/embedded/crc32c.h"
#include "store/embedded/verify.h"
#include "tests/store/log_world.h"

namespace ringtalk::store {
namespace {

std::map<std::string, std::vector<std::byte>> contents(engine::FakeDisk& disk) {
  std::map<std::string, std::vector<std::byte>> all;
  const auto names = disk.list("log");
  for (const std::string& name : *names) all[name] = *disk.contents("log/" + name);
  return all;
}

// Many runs with another number of shards each time: rolls, footers, snapshots, kills in between.
TEST(Recovery, AnyShardCountSeesEverything) {
  LogWorld world(21);
  for (int run = 0; run < 12; ++run) {
    ASSERT_TRUE(world.open(static_cast<uint32_t>(1 + world.random.below(9))));
    ASSERT_NO_FATAL_FAILURE(world.adopt_and_check());
    for (const auto& [conversation, messages] : world.model)
      for (UserId user : {conversation.small(), conversation.big()}) {
        const auto read = static_cast<uint32_t>(messages.size() / 2);
        if (!conversation.is_group()) world.of(user).store->set_cursor(user, conversation, read);
      }
    for (int i = 0; i < 300; ++i) {
      const auto a = static_cast<uint32_t>(1 + world.random.below(30));
      const auto b = static_cast<uint32_t>(31 + world.random.below(3));
      while (!world.send(pair(a, b), a,
                         std::to_string(i) + std::string(world.random.below(9000), 'x')))
        world.turn();
      if (i % 3 == 0) world.turn();
    }
    world.run_until_idle();
    if (run % 3 == 2) {
      world.drop();
      world.disk.kill();
    } else {
      ASSERT_TRUE(world.close());
    }
  }
  ASSERT_TRUE(world.disk.contents("log/snapshot").has_value());
  ASSERT_TRUE(world.open(5));
  ASSERT_NO_FATAL_FAILURE(world.check_all());
  auto verified = verify_log(world.disk);
  ASSERT_TRUE(verified.has_value());
  EXPECT_TRUE(verified->clean()) << verified->problems[0];
}

TEST(Recovery, WithoutItsSnapshotTheLogTellsTheSame) {
  LogWorld world(22);
  for (int run = 0; run < 10; ++run) {
    ASSERT_TRUE(world.open());
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(world.send(pair(1, 2 + i % 7), 1, std::to_string(i)));
    world.of(UserId(1)).store->set_cursor(UserId(1), pair(1, 2), static_cast<uint32_t>(run) + 1);
    world.run_until_idle();
    ASSERT_TRUE(world.close());
  }
  ASSERT_TRUE(world.disk.remove("log/snapshot"));
  ASSERT_TRUE(world.open(2));
  EXPECT_EQ(world.of(UserId(1)).store->cursor(UserId(1), pair(1, 2)), 10u);
  ASSERT_NO_FATAL_FAILURE(world.check_all());
  EXPECT_EQ(world.stores->report().records_read, 0u);
}

TEST(Recovery, NewSegmentsNeverReuseANumber) {
  LogWorld world(23);
  uint32_t highest = 0;
  for (int run = 0; run < 30; ++run) {
    ASSERT_TRUE(world.open(3));
    ASSERT_TRUE(world.send(pair(1, 2), 1, std::to_string(run)));
    world.run_until_idle();
    auto names      = world.disk.list("log");
    uint32_t newest = 0;
    for (const std::string& name : *names)
      newest = std::max(newest, segment_of_name(name).value_or(0));
    EXPECT_GT(newest, 0u);
    if (run % 2) {
      ASSERT_TRUE(world.close());
    } else {
      world.crash();
    }
    highest = std::max(highest, newest);
  }
  ASSERT_TRUE(world.open());
  ASSERT_NO_FATAL_FAILURE(world.adopt_and_check());
}

TEST(Recovery, RepeatsComeBackWithTheirAges) {
  for (const bool sealed : {false, true}) {
    LogWorld world(24);
    ASSERT_TRUE(world.open());
    ASSERT_TRUE(world.send(pair(1, 2), 1, "old", 1, 100));
    ASSERT_TRUE(world.send(pair(1, 2), 1, "old with client key", 1, 101, 900));
    world.run_until_idle();
    world.clock.advance(50 * kNsPerS);
    ASSERT_TRUE(world.send(pair(2, 3), 3, "young", 1, 102));
    world.run_until_idle();
    if (sealed) {
      ASSERT_TRUE(world.close());
    } else {
      world.crash();
    }
    world.clock.advance(20 * kNsPerS);
    ASSERT_TRUE(world.open(4));
    std::map<uint32_t, Repeat> found;  // by msg_id and author
    for (uint32_t shard = 0; shard < 4; ++shard)
      for (const Repeat& repeat : world.stores->take_repeats(shard)) {
        EXPECT_EQ(home_of_user(repeat.author, 4), shard);
        found[raw(repeat.author) * 100 + repeat.msg_id] = repeat;
      }
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[102].repeat_key, 0u);  // 70 s old: only the client key protects
    EXPECT_EQ(found[102].client_key, 900u);
    EXPECT_EQ(found[102].full_key, 901u);
    EXPECT_EQ(found[301].repeat_key, 102u);
    ASSERT_TRUE(world.close());
    world.clock.advance(25 * 3600 * kNsPerS);
    ASSERT_TRUE(world.open());
    EXPECT_TRUE(world.stores->take_repeats(0).empty());
  }
}

// Keys of segments that the snapshot has swallowed: 60 s ones come from their footers, others from it.
TEST(Recovery, RepeatsOfMergedSegmentsComeBackOnce) {
  LogWorld world(28);
  for (uint32_t run = 0; run < 20; ++run) {
    ASSERT_TRUE(world.open(2));
    ASSERT_TRUE(
        world.send(pair(1, 2), 1, std::to_string(run), 1, 1000 + run, run % 2 ? 5000 + run : 0));
    world.run_until_idle();
    ASSERT_TRUE(world.close());
    world.clock.advance(4 * kNsPerS);
  }
  ASSERT_TRUE(world.disk.contents("log/snapshot").has_value());
  ASSERT_TRUE(world.open(3));
  std::map<uint32_t, uint32_t> times_found;
  for (uint32_t shard = 0; shard < 3; ++shard)
    for (const Repeat& repeat : world.stores->take_repeats(shard)) {
      ++times_found[repeat.msg_id];
      const uint32_t run = repeat.msg_id - 1;
      const uint32_t age = wall_seconds(world.clock) - repeat.time;
      EXPECT_EQ(repeat.repeat_key, age <= kRepeatSeconds ? 1000 + run : 0);
      EXPECT_EQ(repeat.client_key, run % 2 ? 5000 + run : 0);
    }
  for (uint32_t run = 0; run < 20; ++run) {
    const bool young = (20 - run) * 4 <= kRepeatSeconds;
    EXPECT_EQ(times_found[run + 1], young || run % 2 ? 1u : 0u) << run;
  }
}

TEST(Recovery, ANewerFormatIsRefusedUntouched) {
  for (const bool in_snapshot : {false, true}) {
    LogWorld world(25);
    for (int run = 0; run < 9; ++run) {
      ASSERT_TRUE(world.open());
      ASSERT_TRUE(world.send(pair(1, 2), 1, "x"));
      world.run_until_idle();
      ASSERT_TRUE(world.close());
    }
    const std::string path = in_snapshot ? "log/snapshot" : "log/00000001.seg";
    auto bytes             = *world.disk.contents(path);
    const uint32_t newer   = kFormatVersion + 1;
    std::memcpy(bytes.data() + 8, &newer, 4);
    const uint32_t sum = crc32c(0, Bytes(bytes).first(60));
    std::memcpy(bytes.data() + 60, &sum, 4);
    auto fd = world.disk.open(path, engine::Disk::Open::read_write);
    ASSERT_TRUE(world.disk.write(*fd, Bytes(bytes).first(64), 0));
    world.disk.close(*fd);
    const auto before     = contents(world.disk);
    const uint64_t writes = world.disk.calls(engine::FakeDisk::Call::write);
    auto opened           = world.open();
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().code, Errc::unsupported);
    EXPECT_EQ(world.disk.calls(engine::FakeDisk::Call::write), writes);
    EXPECT_EQ(before, contents(world.disk));
    EXPECT_EQ(verify_log(world.disk).error().code, Errc::unsupported);
  }
}

TEST(Recovery, ReadErrorsAndForeignFilesDoNotStopIt) {
  LogWorld world(26);
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(world.send(pair(1, 2), 1, std::to_string(i)));
  world.run_until_idle();
  world.crash();
  auto fd = world.disk.open("log/notes.txt", engine::Disk::Open::create_new);
  ASSERT_TRUE(fd.has_value());
  world.disk.close(*fd);
  fd = world.disk.open("log/00000099.seg",
                       engine::Disk::Open::create_new);  // empty: a crash in creation
  ASSERT_TRUE(fd.has_value());
  world.disk.close(*fd);
  ASSERT_TRUE(world.open());
  ASSERT_NO_FATAL_FAILURE(world.adopt_and_check());
}

// The whole open() fails cleanly when the disk does, at every call, and works once the disk does.
TEST(Recovery, EveryDiskErrorIsAnAnswer) {
  using Call = engine::FakeDisk::Call;
  for (const Call call :
       {Call::open, Call::read, Call::write, Call::allocate, Call::truncate, Call::sync,
        Call::sync_directory, Call::make_directory, Call::rename, Call::remove}) {
    for (uint32_t n = 1; n < 25; ++n) {
      LogWorld world(27);
      for (int run = 0; run < 2; ++run) {
        ASSERT_TRUE(world.open());
        for (int i = 0; i < 40; ++i) ASSERT_TRUE(world.send(pair(1, 2), 1, std::to_string(i)));
        world.run_until_idle();
        world.crash();
      }
      world.disk.fail(call, n, EIO);
      [[maybe_unused]] const auto opened = world.open(2);
      world.drop();
      world.disk.kill();
      for (int i = 0; i < 30; ++i) (void)world.disk.list("log");
      ASSERT_TRUE(world.open()) << static_cast<int>(call) << " " << n;
      // An unreadable block is damage; what it holds may be gone, but nothing wrong is served.
      if (call != Call::read) {
        ASSERT_NO_FATAL_FAILURE(world.adopt_and_check()) << static_cast<int>(call) << " " << n;
      }
      world.drop();
    }
  }
}

TEST(Recovery, ASecondProcessIsRefused) {
  char directory[] = "/tmp/ringtalk-lock-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  {
    auto first = DirectoryLock::take(directory);
    ASSERT_TRUE(first.has_value());
    const pid_t child = fork();
    if (child == 0) {
      auto second = DirectoryLock::take(directory);
      _exit(!second && second.error().code == Errc::exists ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_TRUE(DirectoryLock::take(directory).has_value());  // free again
  std::filesystem::remove_all(directory);
}

// Not asserted on time: prints what a restart costs.
TEST(Recovery, AMillionConversations) {
  constexpr uint32_t kConversations = 1'000'000;
  engine::FakeDisk disk;
  engine::FakeClock clock;
  ASSERT_TRUE(disk.make_directory("log"));
  {
    Footer footer{.segment = 1, .end = kSegmentHeaderBytes};
    for (uint32_t i = 1; i <= kConversations; ++i)
      footer.heads.push_back({.conversation = uint64_t{i} << 32 | (i + 1),
                              .newest       = Pointer::at(1, 4096 + i * 8ull),
                              .msg_id       = i,
                              .time         = i});
    std::vector<Footer> footers;
    footers.push_back(std::move(footer));
    ASSERT_TRUE(merge_snapshot(disk, 77, {.up_to = 1, .more = {}}, std::move(footers), 1));
  }
  const auto start = std::chrono::steady_clock::now();
  auto stores      = EmbeddedStores::open(
      {.homes = homes(1), .segment_bytes = kSegmentBytesMin, .seed = 77}, disk, clock);
  const double ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  ASSERT_TRUE(stores.has_value());
  EXPECT_EQ((*stores)->report().conversations, kConversations);
  engine::FakeWorld world(clock, &disk);
  engine::FakeRing ring(world);
  const auto metrics = std::make_unique<engine::Metrics>();
  struct Ignore final : Sink {
    void on_appended(const Appended&) override {}
    void on_page(uint64_t, Error, std::span<const Message>) override {}
    void on_failed(Error) override {}
  } sink;
  auto store = (*stores)->make(0, ring, *metrics, sink);
  EXPECT_EQ(store->head(pair(500, 501)).newest, 500u);
  std::printf("1,000,000 conversations: start %.0f ms, memory %.1f bytes each (tails included)\n",
              ms, static_cast<double>(store->figures().memory_bytes) / kConversations);
}

}  // namespace
}  // namespace ringtalk::store
