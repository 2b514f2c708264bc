#include "engine/fake_disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <string>

namespace ringtalk::engine {
namespace {

constexpr uint64_t kSector = FakeDisk::kSectorBytes;

int create(FakeDisk& disk, std::string_view path) {
  return disk.open(path, Disk::Open::create_new).value();
}

// A file that survives: its bytes and its name are durable.
int create_durable(FakeDisk& disk, std::string_view path, std::string_view text) {
  const int fd = create(disk, path);
  EXPECT_TRUE(disk.write(fd, as_bytes(text), 0));
  EXPECT_TRUE(disk.sync(fd));
  EXPECT_TRUE(disk.sync_directory(""));
  return fd;
}

std::string text_of(const std::optional<std::vector<std::byte>>& bytes) {
  return bytes ? std::string(as_text(*bytes)) : "(absent)";
}

TEST(FakeDisk, WhatWasSyncedSurvivesEveryCrash) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SeededRandom random(seed);
    FakeDisk disk;
    const std::string text(3000, 'a');
    const int fd = create_durable(disk, "file", text);
    ASSERT_TRUE(disk.write(fd, as_bytes("later"), 5000));
    disk.crash(random);
    const std::string found = text_of(disk.contents("file"));
    ASSERT_GE(found.size(), text.size()) << "seed " << seed;
    EXPECT_EQ(found.substr(0, text.size()), text) << "seed " << seed;
    EXPECT_EQ(disk.contents("file"), disk.durable("file"));
    EXPECT_EQ(disk.size(fd).error().os, EBADF);
    disk.close(fd);
  }
}

// Goal: every fate of an unsynced sector occurs, and no other. Method: overwrite 64 durable
// sectors, crash, classify each.
TEST(FakeDisk, UnsyncedSectorsDieSurviveOrTear) {
  size_t old = 0, fresh = 0, torn = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SeededRandom random(seed);
    FakeDisk disk;
    const int fd = create_durable(disk, "file", std::string(64 * kSector, 'a'));
    ASSERT_TRUE(disk.write(fd, as_bytes(std::string(64 * kSector, 'b')), 0));
    disk.crash(random);
    const std::string found = text_of(disk.contents("file"));
    ASSERT_EQ(found.size(), 64 * kSector);
    for (size_t i = 0; i < 64; ++i) {
      const std::string sector = found.substr(i * kSector, kSector);
      const size_t news        = static_cast<size_t>(std::ranges::count(sector, 'b'));
      ASSERT_EQ(news + static_cast<size_t>(std::ranges::count(sector, 'a')), kSector);
      (news == 0 ? old : news == kSector ? fresh : torn)++;
      if (news != 0 && news != kSector) {
        const size_t changes = sector.find(sector[0] == 'a' ? 'b' : 'a');
        EXPECT_EQ(sector.find(sector[0], changes), std::string::npos) << "one seam only";
      }
    }
  }
  EXPECT_GT(old, 1000u);
  EXPECT_GT(fresh, 900u);
  EXPECT_GT(torn, 50u);
  EXPECT_LT(torn, 500u);
}

TEST(FakeDisk, UnsyncedSizeIsOneItHasHad) {
  std::set<size_t> sizes;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SeededRandom random(seed);
    FakeDisk disk;
    const int fd = create_durable(disk, "file", std::string(100, 'a'));
    ASSERT_TRUE(disk.write(fd, as_bytes(std::string(900, 'b')), 100));
    ASSERT_TRUE(disk.truncate(fd, 50));
    ASSERT_TRUE(disk.allocate(fd, 4096));
    disk.crash(random);
    const std::string found = text_of(disk.contents("file"));
    sizes.insert(found.size());
    if (found.size() == 4096) {
      EXPECT_EQ(found.substr(1000), std::string(3096, '\0'));
    }
  }
  EXPECT_EQ(sizes, (std::set<size_t>{50, 100, 1000, 4096}));
}

TEST(FakeDisk, BytesBeyondALostSizeDoNotComeBack) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SeededRandom random(seed);
    FakeDisk disk;
    int fd = create_durable(disk, "file", "abc");
    ASSERT_TRUE(disk.write(fd, as_bytes(std::string(2000, 'b')), 3));
    disk.crash(random);
    if (text_of(disk.contents("file")).size() != 3) continue;
    fd = disk.open("file", Disk::Open::read_write).value();
    ASSERT_TRUE(disk.allocate(fd, 2003));
    EXPECT_EQ(text_of(disk.contents("file")), "abc" + std::string(2000, '\0'));
  }
}

TEST(FakeDisk, NamesNeedTheirDirectorySynced) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SeededRandom random(seed);
    FakeDisk disk;
    create_durable(disk, "old", "old");
    ASSERT_TRUE(disk.remove("old"));
    ASSERT_TRUE(disk.sync(create(disk, "new")));
    disk.crash(random);
    std::string names;
    const auto listed = disk.list("").value();
    for (const auto& name : listed) names += name + " ";
    outcomes.insert(names);
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{"", "new ", "old ", "new old "}));
}

TEST(FakeDisk, SyncedRenameReplacesForGood) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SeededRandom random(seed);
    FakeDisk disk;
    create_durable(disk, "snapshot", "old");
    const int fd = create(disk, "snapshot.tmp");
    ASSERT_TRUE(disk.write(fd, as_bytes("new"), 0));
    ASSERT_TRUE(disk.sync(fd));
    ASSERT_TRUE(disk.rename("snapshot.tmp", "snapshot"));
    const bool synced = seed % 2 == 0;
    if (synced) {
      ASSERT_TRUE(disk.sync_directory(""));
    }
    disk.crash(random);
    const std::string found = text_of(disk.contents("snapshot"));
    if (synced) {
      EXPECT_EQ(found, "new");
      EXPECT_FALSE(disk.contents("snapshot.tmp"));
    } else {
      EXPECT_TRUE(found == "old" || found == "new") << found;
    }
  }
}

TEST(FakeDisk, FilesOfALostDirectoryAreGone) {
  bool lost = false, kept = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SeededRandom random(seed);
    FakeDisk disk;
    ASSERT_TRUE(disk.make_directory("log"));
    ASSERT_TRUE(disk.sync(create(disk, "log/a")));
    ASSERT_TRUE(disk.sync_directory("log"));
    disk.crash(random);
    const bool there = disk.list("log").has_value();
    EXPECT_EQ(disk.contents("log/a").has_value(), there);
    (there ? kept : lost) = true;
  }
  EXPECT_TRUE(lost);
  EXPECT_TRUE(kept);
}

TEST(FakeDisk, FailedSyncLosesPagesAndTheNextOneLies) {
  bool lost = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SeededRandom random(seed);
    FakeDisk disk;
    const int fd = create_durable(disk, "file", std::string(kSector, 'a'));
    ASSERT_TRUE(disk.write(fd, as_bytes(std::string(kSector, 'b')), 0));
    disk.fail(FakeDisk::Call::sync, 1, EIO);
    EXPECT_EQ(disk.sync(fd).error().os, EIO);
    EXPECT_TRUE(disk.sync(fd)) << "as Linux: the error is reported once";
    EXPECT_EQ(text_of(disk.contents("file")), std::string(kSector, 'b'));
    EXPECT_EQ(text_of(disk.durable("file")), std::string(kSector, 'a'));
    disk.crash(random);
    lost |= text_of(disk.contents("file")) == std::string(kSector, 'a');
  }
  EXPECT_TRUE(lost);
}

TEST(FakeDisk, EachKindOfCallFailsWhenPlanned) {
  FakeDisk disk;
  const int fd = create(disk, "file");
  disk.fail(FakeDisk::Call::write, 2, EIO);
  EXPECT_TRUE(disk.write(fd, as_bytes("a"), 0));
  EXPECT_EQ(disk.write(fd, as_bytes("b"), 0).error().os, EIO);
  EXPECT_TRUE(disk.write(fd, as_bytes("c"), 1));
  EXPECT_EQ(text_of(disk.contents("file")), "ac");
  EXPECT_EQ(disk.calls(FakeDisk::Call::write), 3u);
  disk.fail(FakeDisk::Call::read, 1, EIO);
  std::byte one[1];
  EXPECT_EQ(disk.read(fd, one, 0).error().os, EIO);
  disk.fail(FakeDisk::Call::allocate, 1, ENOSPC);
  EXPECT_EQ(disk.allocate(fd, 10).error().os, ENOSPC);
  disk.fail(FakeDisk::Call::truncate, 1, EIO);
  EXPECT_EQ(disk.truncate(fd, 0).error().os, EIO);
  disk.fail(FakeDisk::Call::rename, 1, EIO);
  EXPECT_EQ(disk.rename("file", "b").error().os, EIO);
  disk.fail(FakeDisk::Call::remove, 1, EIO);
  EXPECT_EQ(disk.remove("file").error().os, EIO);
  disk.fail(FakeDisk::Call::make_directory, 1, ENOSPC);
  EXPECT_EQ(disk.make_directory("d").error().os, ENOSPC);
  disk.fail(FakeDisk::Call::sync_directory, 1, EIO);
  EXPECT_EQ(disk.sync_directory("").error().os, EIO);
  disk.fail(FakeDisk::Call::open, 1, EMFILE);
  EXPECT_EQ(disk.open("file", Disk::Open::read).error().os, EMFILE);
  EXPECT_EQ(text_of(disk.contents("file")), "ac");
}

TEST(FakeDisk, FullDiskKeepsWhatFitsAndRecovers) {
  FakeDisk disk;
  disk.set_space(8192);
  const int fd = create(disk, "a");
  EXPECT_EQ(disk.write(fd, as_bytes(std::string(10000, 'x')), 0).error().os, ENOSPC);
  EXPECT_EQ(disk.size(fd).value(), 8192u);
  EXPECT_TRUE(disk.write(fd, as_bytes("over"), 100)) << "overwriting needs no space";
  const int other = create(disk, "b");
  EXPECT_EQ(disk.write_some(other, as_bytes("x"), 0), -ENOSPC);
  EXPECT_EQ(disk.allocate(other, 1).error().os, ENOSPC);
  EXPECT_EQ(disk.space_used(), 8192u);
  ASSERT_TRUE(disk.remove("a"));
  EXPECT_EQ(disk.write_some(other, as_bytes("x"), 0), -ENOSPC) << "still open, still there";
  disk.close(fd);
  EXPECT_EQ(disk.write_some(other, as_bytes("x"), 0), 1);
  EXPECT_EQ(disk.space_used(), 4096u);
  EXPECT_EQ(disk.write_some(other, as_bytes(std::string(9000, 'y')), 1), 8191) << "short";
}

TEST(FakeDisk, FlippedBitIsSeenByEverybody) {
  FakeDisk disk;
  create_durable(disk, "file", std::string(1000, 'a'));
  disk.flip_bit("file", 8 * 700 + 1);
  EXPECT_EQ(text_of(disk.contents("file"))[700], 'a' ^ 2);
  EXPECT_EQ(text_of(disk.durable("file"))[700], 'a' ^ 2);
  disk.flip_bit("file", 8 * 700 + 1);
  EXPECT_EQ(text_of(disk.contents("file")), std::string(1000, 'a'));
}

TEST(FakeDisk, KillKeepsThePageCache) {
  FakeDisk disk;
  const int fd = create(disk, "file");
  ASSERT_TRUE(disk.write(fd, as_bytes("unsynced"), 0));
  disk.kill();
  EXPECT_EQ(disk.size(fd).error().os, EBADF);
  EXPECT_EQ(text_of(disk.contents("file")), "unsynced");
  EXPECT_FALSE(disk.durable("file"));
  EXPECT_EQ(disk.descriptors_open(), 0u);
}

TEST(FakeDisk, CrashInsideACallLeavesItUndone) {
  SeededRandom random(1);
  FakeDisk disk;
  const int fd = create_durable(disk, "file", "aaaa");
  disk.set_observer([&](FakeDisk::Call call) {
    if (call == FakeDisk::Call::sync) disk.crash(random);
  });
  ASSERT_TRUE(disk.write(fd, as_bytes("bbbb"), 0));
  EXPECT_EQ(disk.sync(fd).error().os, EBADF);
}

TEST(FakeDisk, NothingChangesWithoutPower) {
  SeededRandom random(1);
  FakeDisk disk;
  const int fd = create_durable(disk, "file", "aaaa");
  disk.set_observer([&](FakeDisk::Call call) {
    if (call == FakeDisk::Call::write) disk.cut_power();
  });
  EXPECT_EQ(disk.write(fd, as_bytes("bbbb"), 0).error().os, EIO);
  EXPECT_EQ(disk.remove("file").error().os, EIO);
  EXPECT_EQ(disk.open("new", Disk::Open::create_new).error().os, EIO);
  EXPECT_EQ(disk.sync(fd).error().os, EIO);
  disk.crash(random);
  EXPECT_EQ(disk.list("").value(), std::vector<std::string>{"file"});
  EXPECT_EQ(text_of(disk.contents("file")), "aaaa");
}

TEST(FakeDisk, ZerosOverHolesCostNothingAndReadAsZeros) {
  FakeDisk disk;
  const int fd = create(disk, "segment");
  const std::string zeros(1 << 20, '\0');
  for (uint64_t at = 0; at < 64; ++at) ASSERT_TRUE(disk.write(fd, as_bytes(zeros), at << 20));
  ASSERT_TRUE(disk.sync(fd));
  ASSERT_TRUE(disk.sync_directory(""));
  EXPECT_EQ(disk.size(fd).value(), 64u << 20);
  ASSERT_TRUE(disk.write(fd, as_bytes("x"), 0));
  ASSERT_TRUE(disk.write(fd, as_bytes(std::string_view("\0", 1)), 0));
  ASSERT_TRUE(disk.sync(fd));
  EXPECT_EQ(text_of(disk.durable("segment")).find_first_not_of('\0'), std::string::npos);
}

// Random calls against a plain string: whatever the page cache does, readers must not notice.
TEST(FakeDisk, ReadersSeeAPlainFile) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    SeededRandom random(seed);
    FakeDisk disk;
    const int fd = create(disk, "file");
    std::string model;
    for (int step = 0; step < 300; ++step) {
      const uint64_t at = random.below(3000);
      switch (random.below(5)) {
        case 0:
        case 1: {
          const std::string text(random.below(1500), static_cast<char>('a' + random.below(26)));
          ASSERT_TRUE(disk.write(fd, as_bytes(text), at));
          if (text.empty()) break;
          if (model.size() < at + text.size()) model.resize(at + text.size());
          model.replace(at, text.size(), text);
          break;
        }
        case 2:
          ASSERT_TRUE(disk.truncate(fd, at));
          model.resize(at);
          break;
        case 3: ASSERT_TRUE(disk.sync(fd)); break;
        case 4:
          disk.fail(FakeDisk::Call::sync, 1, EIO);
          ASSERT_FALSE(disk.sync(fd));
          break;
      }
      ASSERT_EQ(text_of(disk.contents("file")), model) << "seed " << seed << " step " << step;
    }
  }
}

}  // namespace
}  // namespace ringtalk::engine
