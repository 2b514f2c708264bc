#include "shard/roster.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <thread>

namespace ringtalk::shard {
namespace {

// What stands in for an encoded entry: "id:stamp:left;", so that answers can be read back.
std::string entry_of(uint32_t id, uint64_t stamp, bool left, size_t padding = 0) {
  return std::to_string(id) + ":" + std::to_string(stamp) + (left ? ":1" : ":0") +
         std::string(padding, ' ') + ";";
}

Roster::Row row(uint32_t id, uint64_t stamp, bool left = false, size_t padding = 0) {
  return {.id = id, .stamp = stamp, .left = left, .entry = entry_of(id, stamp, left, padding)};
}

struct Told {
  uint32_t id;
  uint64_t stamp;
  bool left;
  auto operator<=>(const Told&) const = default;
};

std::vector<Told> read(const Roster::Page& page) {
  std::vector<Told> told;
  size_t bytes = 0;
  for (const auto& part : page.parts) {
    std::string text(as_text(part.bytes()));
    bytes += text.size();
    for (size_t at = 0; at < text.size();) {
      unsigned id = 0, left = 0;
      unsigned long long stamp = 0;
      EXPECT_EQ(std::sscanf(text.c_str() + at, "%u:%llu:%u", &id, &stamp, &left), 3);
      told.push_back({id, stamp, left == 1});
      at = text.find(';', at) + 1;
    }
  }
  EXPECT_EQ(bytes, page.bytes);
  EXPECT_EQ(told.size(), page.entries);
  EXPECT_LE(page.bytes, Roster::kPageBytes);
  return told;
}

// Everything that a client which asked since `asked` gets, in as many pages as it takes.
std::vector<Told> list(const Roster& roster, uint64_t asked, size_t* pages = nullptr) {
  std::vector<Told> all;
  uint64_t reached = asked;
  for (size_t n = 1;; ++n) {
    const auto page = roster.page(asked, reached, roster.newest());
    const auto told = read(page);
    for (const Told& one : told) {
      EXPECT_GT(one.stamp, reached);
      EXPECT_LE(one.stamp, page.reached);
    }
    all.insert(all.end(), told.begin(), told.end());
    EXPECT_TRUE(page.reached > reached || !page.more) << "pages must go on";
    reached = page.reached;
    if (pages) *pages = n;
    if (!page.more || n > 1000) return all;
  }
}

TEST(Roster, AnEmptyOneListsNothing) {
  Roster roster;
  EXPECT_EQ(roster.newest(), 0u);
  const auto page = roster.page(0, 0, roster.newest());
  EXPECT_TRUE(page.parts.empty());
  EXPECT_FALSE(page.more);
  EXPECT_EQ(roster.page(7, 7, roster.newest()).reached, 7u) << "the stamp that was asked";
  EXPECT_TRUE(roster.add({}));
}

TEST(Roster, AChangedRowComesLastAndOnce) {
  Roster roster;
  ASSERT_TRUE(roster.add({row(1, 10), row(2, 10), row(3, 11)}));
  ASSERT_TRUE(roster.add({row(1, 12)}));
  EXPECT_EQ(list(roster, 0), (std::vector<Told>{{2, 10, false}, {3, 11, false}, {1, 12, false}}));
  EXPECT_EQ(list(roster, 10), (std::vector<Told>{{3, 11, false}, {1, 12, false}}));
  EXPECT_EQ(list(roster, 11), (std::vector<Told>{{1, 12, false}}));
  EXPECT_TRUE(list(roster, 12).empty());
  EXPECT_EQ(roster.newest(), 12u);
}

TEST(Roster, WhoLeftIsToldToThoseWhoMayKnowHim) {
  Roster roster;
  ASSERT_TRUE(roster.add({row(1, 10), row(2, 11), row(3, 12)}));
  ASSERT_TRUE(roster.add({row(2, 13, true)}));
  EXPECT_EQ(list(roster, 0), (std::vector<Told>{{1, 10, false}, {3, 12, false}}));
  EXPECT_EQ(roster.page(0, 0, roster.newest()).reached, 13u) << "his leaving counts as told";
  EXPECT_EQ(list(roster, 11), (std::vector<Told>{{3, 12, false}, {2, 13, true}}));
  ASSERT_TRUE(roster.add({row(2, 14)}));
  EXPECT_EQ(list(roster, 0), (std::vector<Told>{{1, 10, false}, {3, 12, false}, {2, 14, false}}));
}

// He may have been told of him on an earlier page.
TEST(Roster, WhoLeavesWhileANewcomerReadsIsToldToHim) {
  Roster roster;
  std::vector<Roster::Row> rows;
  for (uint32_t id = 1; id <= 6000; ++id) rows.push_back(row(id, id, id == 2, 150));
  ASSERT_TRUE(roster.add(rows));
  const uint64_t began = roster.newest();
  const auto first     = roster.page(0, 0, began);
  ASSERT_TRUE(first.more);
  ASSERT_TRUE(roster.add({row(7, 6001, true), row(8, 6001)}));
  std::vector<Told> rest;
  for (uint64_t reached = first.reached;;) {
    const auto page = roster.page(0, reached, began);
    const auto told = read(page);
    rest.insert(rest.end(), told.begin(), told.end());
    reached = page.reached;
    if (!page.more) break;
  }
  EXPECT_EQ(std::ranges::count(rest, Told{7, 6001, true}), 1);
  EXPECT_EQ(std::ranges::count(rest, 2u, &Told::id), 0) << "he left before";
  for (const Told& one : list(roster, 0)) EXPECT_FALSE(one.left) << "to the next newcomer nobody";
}

TEST(Roster, IdsBeyondTheBitmapAreToldOnce) {
  Roster roster;
  for (uint64_t stamp = 1; stamp <= 5; ++stamp) ASSERT_TRUE(roster.add({row(~0u - 1, stamp)}));
  EXPECT_EQ(list(roster, 0), (std::vector<Told>{{~0u - 1, 5, false}}));
}

TEST(Roster, RowsThatAnotherShardAddedMeanwhileAreSkipped) {
  Roster roster;
  ASSERT_TRUE(roster.add({row(1, 10), row(2, 11)}));
  ASSERT_TRUE(roster.add({row(1, 10), row(2, 11), row(3, 12)}));
  ASSERT_TRUE(roster.add({row(1, 10)}));
  EXPECT_EQ(list(roster, 0).size(), 3u);
}

TEST(Roster, PagesNeverPartAStamp) {
  Roster roster;
  std::vector<Roster::Row> rows;
  for (uint32_t id = 1; id <= 6000; ++id) rows.push_back(row(id, 100 + id / 300, false, 150));
  ASSERT_TRUE(roster.add(rows));
  size_t pages = 0;
  EXPECT_EQ(list(roster, 0, &pages).size(), 6000u);
  EXPECT_GT(pages, 2u);
  const auto first = roster.page(0, 0, roster.newest());
  std::map<uint64_t, size_t> by_stamp;
  for (const Told& one : read(first)) ++by_stamp[one.stamp];
  EXPECT_EQ(by_stamp.rbegin()->second, 300u);
  EXPECT_EQ(by_stamp.rbegin()->first, first.reached);
}

TEST(Roster, AStampLargerThanAPageIsCutAndTheListGoesOn) {
  Roster roster;
  std::vector<Roster::Row> rows;
  for (uint32_t id = 1; id <= 300; ++id) rows.push_back(row(id, 100, false, 2000));
  rows.push_back(row(301, 101));
  ASSERT_TRUE(roster.add(rows));
  const auto all = list(roster, 0);
  EXPECT_GT(all.size(), 150u);
  EXPECT_EQ(all.back().id, 301u);
}

// What is sent is what others are sent: no copy per client.
TEST(Roster, PagesShareTheirMemory) {
  Roster roster;
  std::vector<Roster::Row> rows;
  for (uint32_t id = 1; id <= 2000; ++id) rows.push_back(row(id, id, false, 150));
  ASSERT_TRUE(roster.add(rows));
  const auto one = roster.page(0, 0, roster.newest()), other = roster.page(0, 0, roster.newest());
  ASSERT_EQ(one.parts.size(), other.parts.size());
  for (size_t i = 0; i < one.parts.size(); ++i) EXPECT_EQ(one.parts[i].get(), other.parts[i].get());
  const auto since = roster.page(1, 1, roster.newest());
  EXPECT_NE(since.parts.front().get(), one.parts.front().get()) << "it begins inside a chunk";
  EXPECT_EQ(since.parts.back().get(), one.parts.back().get());
  EXPECT_LT(roster.bytes(), 2 * 2000 * (150 + 40));
}

// A directory against a plain map, through thousands of changes: nothing is lost, told twice or stale,
// whatever stamp a client comes with; and the chunks do not fall to dust.
TEST(Roster, EqualsAPlainMapWhateverChanges) {
  std::mt19937 random(7);
  Roster roster;
  std::map<uint32_t, Told> truth;
  uint64_t stamp = 1000;
  for (int round = 0; round < 400; ++round) {
    std::vector<Roster::Row> rows;
    std::set<uint32_t> used;
    for (uint32_t n = random() % 40; n > 0; --n) {
      stamp += random() % 3 > 0;
      const uint32_t id = 1 + random() % 1500;
      if (!used.insert(id).second) continue;
      // A stamp is told once: no row may come later with one that was newest before.
      if (stamp <= roster.newest()) stamp = roster.newest() + 1;
      const bool left = random() % 5 == 0;
      rows.push_back(row(id, stamp, left, random() % 300));
      truth[id] = {id, stamp, left};
    }
    ASSERT_TRUE(roster.add(std::move(rows)));
    const uint64_t asked = round % 3 == 0 ? 0 : 1000 + random() % (stamp - 999);
    std::vector<Told> wanted;
    for (const auto& [id, told] : truth)
      if (told.stamp > asked && !(asked == 0 && told.left)) wanted.push_back(told);
    auto got = list(roster, asked);
    std::ranges::sort(got);
    std::ranges::sort(wanted);
    ASSERT_EQ(got, wanted) << "round " << round << " asked " << asked;
  }
  EXPECT_LE(roster.page(0, 0, roster.newest()).parts.size(),
            2 + 2 * roster.bytes() / Roster::kChunkBytes);
}

TEST(Roster, ShardsReadWhileOneAdds) {
  Roster roster;
  std::atomic<bool> stop{false};
  std::vector<std::jthread> readers;
  for (int n = 0; n < 2; ++n)
    readers.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        std::set<uint32_t> ids;
        const auto page = roster.page(0, 0, roster.newest());
        for (const Told& one : read(page)) EXPECT_TRUE(ids.insert(one.id).second);
        EXPECT_LE(ids.size(), 500u);
      }
    });
  std::atomic<uint64_t> stamp{0};
  std::vector<std::jthread> writers;
  for (int n = 0; n < 2; ++n)
    writers.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        const uint64_t now = stamp.fetch_add(1) + 1;
        while (!roster.add({row(static_cast<uint32_t>(now % 500), now)})) std::this_thread::yield();
      }
    });
  writers.clear();
  stop = true;
  readers.clear();
  EXPECT_EQ(roster.newest(), 1000u);
}

}  // namespace
}  // namespace ringtalk::shard
