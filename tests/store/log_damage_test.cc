// Flipped bits, truncations and zeroed blocks of a log: detected, named, never served; the rest readable.
#include <gtest/gtest.h>

#include "store/embedded/verify.h"
#include "tests/store/log_world.h"

namespace ringtalk::store {
namespace {

// Everything that can be read must be what was sent; what cannot be read must be called corrupt.
// Returns how many messages were not served.
uint64_t read_all_that_is_left(LogWorld& world) {
  uint64_t missing = 0;
  for (const auto& [conversation, messages] : world.model) {
    const uint32_t newest = world.of(conversation).store->head(conversation).newest;
    EXPECT_LE(newest, messages.size());
    missing += messages.size() - std::min<size_t>(newest, messages.size());
    for (uint32_t from = newest; from > 0;) {
      const Page page = world.page(conversation, from, 100);
      EXPECT_TRUE(page.error.code == Errc::ok || page.error.code == Errc::corrupt ||
                  page.error.code == Errc::os);
      for (size_t i = 0; i < page.messages.size(); ++i) {
        const uint32_t id = from - static_cast<uint32_t>(i);
        EXPECT_EQ(page.messages[i].msg_id, id);
        if (id <= messages.size()) {
          EXPECT_EQ(page.bodies[i], messages[id - 1].body) << "corrupt bytes were served";
          EXPECT_EQ(raw(page.messages[i].author), messages[id - 1].author);
        }
      }
      EXPECT_TRUE(page.error.code != Errc::ok || !page.messages.empty());
      from -= static_cast<uint32_t>(page.messages.size());
      if (page.error.code != Errc::ok) {
        ++missing;
        if (from > 0) --from;  // step over the damaged one
      }
      if (page.messages.empty() && page.error.code == Errc::ok) break;
    }
  }
  return missing;
}

void fill(LogWorld& world, int messages) {
  for (int i = 0; i < messages; ++i) {
    const auto peer  = static_cast<uint32_t>(2 + i % 3);
    std::string body = std::to_string(i) + std::string(world.random.below(60), 'x');
    while (!world.send(pair(1, peer), i % 2 ? 1 : peer, body, 1, static_cast<uint64_t>(i) + 1))
      world.turn();
    if (i % 5 == 0) world.turn();
    if (i % 50 == 0) world.of(UserId(peer)).store->set_cursor(UserId(peer), pair(1, peer), 1);
  }
  world.run_until_idle();
}

std::vector<std::string> files(LogWorld& world) {
  std::vector<std::string> out;
  auto names = world.disk.list("log");
  for (const std::string& name : *names) out.push_back("log/" + name);
  return out;
}

void write_file(engine::FakeDisk& disk, const std::string& path,
                const std::vector<std::byte>& bytes) {
  (void)disk.remove(path);
  auto fd = disk.open(path, engine::Disk::Open::create_new);
  ASSERT_TRUE(fd.has_value());
  ASSERT_TRUE(disk.write(*fd, bytes, 0).has_value());
  ASSERT_TRUE(disk.sync(*fd).has_value());
  disk.close(*fd);
}

using Files = std::map<std::string, std::vector<std::byte>>;

Files save(LogWorld& world) {
  Files saved;
  for (const std::string& path : files(world)) saved[path] = *world.disk.contents(path);
  return saved;
}

void restore(LogWorld& world, const Files& saved) {
  for (const std::string& path : files(world))
    if (!saved.contains(path)) (void)world.disk.remove(path);
  for (const auto& [path, bytes] : saved) write_file(world.disk, path, bytes);
  (void)world.disk.sync_directory("log");
}

// A closed store of three segments, one of them in a snapshot of its own making.
struct Closed {
  explicit Closed(bool with_snapshot, uint64_t seed = 1) : world(seed) {
    for (int run = 0; run < (with_snapshot ? 9 : 3); ++run) {
      EXPECT_TRUE(world.open());
      fill(world, 120);
      EXPECT_TRUE(world.close());
    }
    saved = save(world);
    EXPECT_EQ(saved.contains("log/snapshot"), with_snapshot);
  }
  LogWorld world;
  Files saved;
};

void flip_everywhere(bool with_snapshot, uint64_t flips, uint64_t seed) {
  Closed closed(with_snapshot, seed);
  LogWorld& world = closed.world;
  std::vector<std::string> names;
  uint64_t total = 0;
  for (const auto& [path, bytes] : closed.saved) total += bytes.size();
  uint64_t silent = 0, seen = 0, lost = 0;
  for (uint64_t i = 0; i < flips; ++i) {
    uint64_t at = world.random.below(total);
    std::string path;
    for (const auto& [name, bytes] : closed.saved) {
      path = name;
      if (at < bytes.size()) break;
      at -= bytes.size();
    }
    const uint64_t bit = at * 8 + world.random.below(8);
    world.disk.flip_bit(path, bit);
    auto verified    = verify_log(world.disk);
    const bool named = !verified || !verified->clean();
    auto opened      = world.open();
    ASSERT_TRUE(opened.has_value()) << path << " bit " << bit;
    const uint64_t missing = read_all_that_is_left(world);
    lost += missing;
    ASSERT_LE(missing, 1u) << path << " bit " << bit;
    // A flip in padding of the header block harms nothing and is allowed to go unseen.
    const bool in_header_padding = path.ends_with(".seg") && at < kSegmentHeaderBytes &&
                                   at % kSegmentHeaderCopy >= sizeof(SegmentHeader);
    const bool in_a_header_copy = path.ends_with(".seg") && at < kSegmentHeaderBytes;
    if (!named && !in_header_padding && !in_a_header_copy) ++silent;
    if (named) ++seen;
    ASSERT_TRUE(missing == 0 || named) << path << " bit " << bit;
    world.drop();
    world.disk.kill();
    restore(world, closed.saved);
  }
  std::printf("flips %llu: named %llu, silent %llu, messages not served %llu\n",
              static_cast<unsigned long long>(flips), static_cast<unsigned long long>(seen),
              static_cast<unsigned long long>(silent), static_cast<unsigned long long>(lost));
  EXPECT_EQ(silent, 0u);
}

TEST(LogDamage, FlippedBitsOfAClosedStore) { flip_everywhere(false, 700, 1); }
TEST(LogDamage, FlippedBitsWithASnapshot) { flip_everywhere(true, 300, 2); }

TEST(LogDamage, TruncationsOfAClosedStore) {
  Closed closed(false, 3);
  LogWorld& world = closed.world;
  for (int i = 0; i < 300; ++i) {
    auto it = closed.saved.begin();
    std::advance(it, static_cast<ptrdiff_t>(world.random.below(closed.saved.size())));
    auto bytes = it->second;
    bytes.resize(world.random.below(bytes.size()));
    write_file(world.disk, it->first, bytes);
    auto opened = world.open();
    ASSERT_TRUE(opened.has_value());
    const uint64_t missing = read_all_that_is_left(world);
    // Messages before the cut and those of other files: all there.
    ASSERT_LE(missing, 3u * 360u);
    world.drop();
    world.disk.kill();
    restore(world, closed.saved);
  }
}

// Each segment of a closed store cut at any place: told by verify and at the next start, and kept, however
// little is left; messages of other segments are served, those above the cut first.
TEST(LogDamage, ACutSegmentIsNamedAndKept) {
  Closed closed(false, 4);
  LogWorld& world = closed.world;
  for (int i = 0; i < 60; ++i) {
    auto it = closed.saved.begin();
    std::advance(it, static_cast<ptrdiff_t>(world.random.below(closed.saved.size())));
    const std::string& path = it->first;
    auto bytes              = it->second;
    bytes.resize(sizeof(SegmentHeader) + world.random.below(bytes.size() - sizeof(SegmentHeader)));
    write_file(world.disk, path, bytes);

    auto verified = verify_log(world.disk);
    ASSERT_TRUE(verified.has_value());
    ASSERT_FALSE(verified->clean()) << path << " cut to " << bytes.size();
    EXPECT_NE(verified->problems[0].find(path), std::string::npos);
    ASSERT_TRUE(world.open().has_value());
    const RecoveryReport& report = world.stores->report();
    ASSERT_EQ(report.cut_short.size(), 1u) << path << " cut to " << bytes.size();
    EXPECT_EQ(report.cut_short[0].bytes, bytes.size());
    EXPECT_NE(report.lines()[1].find(path), std::string::npos);
    EXPECT_TRUE(world.disk.contents(path).has_value());
    (void)read_all_that_is_left(world);
    for (const auto& [conversation, messages] : world.model) {
      const uint32_t newest = world.of(conversation).store->head(conversation).newest;
      EXPECT_EQ(world.page(conversation, newest, 10).messages.size(), 10u) << path;
    }
    world.drop();
    world.disk.kill();
    restore(world, closed.saved);
  }
}

TEST(LogDamage, AboveASegmentThatIsGoneIsServed) {
  Closed closed(false, 5);
  LogWorld& world        = closed.world;
  const std::string lost = std::next(closed.saved.begin())->first;
  ASSERT_TRUE(world.disk.remove(lost).has_value());
  ASSERT_TRUE(world.open().has_value());
  for (const auto& [conversation, messages] : world.model) {
    const auto newest = static_cast<uint32_t>(messages.size());
    const Page page   = world.page(conversation, newest, 100);
    EXPECT_EQ(page.error.code, Errc::corrupt);
    EXPECT_EQ(page.messages.size(), 40u);  // of the third segment
  }
  (void)read_all_that_is_left(world);
  world.drop();
}

// Damage in the middle of a segment that was never sealed: proven by the batches behind it.
TEST(LogDamage, DamageInTheMiddleOfALiveSegmentIsNamed) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    LogWorld world(seed);
    ASSERT_TRUE(world.open());
    fill(world, 400);
    const uint32_t end_of_data = [&] {
      const auto bytes = *world.disk.contents("log/00000001.seg");
      size_t last      = 0;
      for (size_t i = 0; i < bytes.size(); ++i)
        if (bytes[i] != std::byte{0}) last = i;
      return static_cast<uint32_t>(last);
    }();
    world.drop();
    world.disk.kill();
    // Not in the last commits: there it would be a torn tail.
    const uint64_t at =
        kSegmentHeaderBytes + world.random.below(end_of_data * 9 / 10 - kSegmentHeaderBytes);
    world.disk.flip_bit("log/00000001.seg", at * 8 + world.random.below(8));
    ASSERT_TRUE(world.open());
    const RecoveryReport& report = world.stores->report();
    ASSERT_EQ(report.damages.size(), 1u) << "seed " << seed << " at " << at;
    EXPECT_EQ(report.torn_bytes, 0u);
    EXPECT_EQ(report.damages[0].segment, 1u);
    EXPECT_LE(report.damages[0].offset, at);
    EXPECT_GT(report.damages[0].offset + report.damages[0].bytes, at);
    EXPECT_LE(read_all_that_is_left(world), 1u) << "seed " << seed;
    // Service goes on; ids of every conversation continue.
    for (uint32_t peer = 2; peer < 5; ++peer) {
      const uint32_t newest = world.of(pair(1, peer)).store->head(pair(1, peer)).newest;
      EXPECT_EQ(newest, world.model[pair(1, peer)].size()) << "seed " << seed;
      ASSERT_TRUE(world.send(pair(1, peer), 1, "after"));
    }
    world.run_until_idle();
    EXPECT_LE(read_all_that_is_left(world), 1u);
  }
}

TEST(LogDamage, AZeroedBlockInTheMiddleIsDamageToo) {
  LogWorld world(5);
  ASSERT_TRUE(world.open());
  fill(world, 400);
  world.drop();
  world.disk.kill();
  auto bytes = *world.disk.contents("log/00000001.seg");
  std::fill_n(bytes.begin() + 12288, 4096, std::byte{0});
  write_file(world.disk, "log/00000001.seg", bytes);
  ASSERT_TRUE(world.open());
  EXPECT_EQ(world.stores->report().damages.size(), 1u);
  const uint64_t missing = read_all_that_is_left(world);
  EXPECT_GT(missing, 0u);
  EXPECT_LT(missing, 60u);
}

// A body full of records that would be valid elsewhere must not be taken for records.
TEST(LogDamage, RecordsInsideABodyAreNotBelieved) {
  LogWorld world(6);
  ASSERT_TRUE(world.open());
  fill(world, 30);
  const auto log = *world.disk.contents("log/00000001.seg");
  std::string copy(reinterpret_cast<const char*>(log.data()) + kSegmentHeaderBytes, 3000);
  ASSERT_TRUE(world.send(pair(1, 2), 1, copy));
  world.run_until_idle();
  fill(world, 30);
  world.drop();
  world.disk.kill();
  ASSERT_TRUE(world.open());
  EXPECT_TRUE(world.stores->report().damages.empty());
  world.check_all();
}

TEST(LogDamage, VerifyAndDumpTellWhatIsThere) {
  LogWorld world(7);
  ASSERT_TRUE(world.open());
  fill(world, 200);
  world.drop();
  world.disk.kill();
  auto verified = verify_log(world.disk);
  ASSERT_TRUE(verified.has_value());
  EXPECT_TRUE(verified->clean());
  EXPECT_EQ(verified->messages, 200u);
  EXPECT_EQ(verified->conversations, 3u);
  EXPECT_EQ(verified->unsealed, 2u);  // the live one and the spare
  uint64_t lines = 0;
  ASSERT_TRUE(dump_log(world.disk, pair(1, 2).key, [&](const DumpEntry& entry) {
                lines += entry.kind == "message";
                EXPECT_EQ(dump_text(entry).find('\n'), std::string::npos);
              }).has_value());
  EXPECT_EQ(lines, world.model[pair(1, 2)].size());
}

}  // namespace
}  // namespace ringtalk::store
