// MirrorWorld: a store in memory that tells a mirror what changes, and a fake Redis that must end up with it.
//
// Every change is in the source at once; its event waits in its shard's queue until the test passes it on, so
// that the events of different shards come in any order, and late.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/clock.h"
#include "engine/metrics.h"
#include "engine/random.h"
#include "store/redis/mirror.h"
#include "tests/store/fake_redis.h"

namespace ringtalk::store::redis {

class MirrorWorld final : public MirrorSource {
 public:
  static constexpr uint32_t kShards = 3;

  struct Setup {
    Pools pools;
    uint32_t lane_events = 1024;
    size_t changes_max   = 10'000;
    Connect connect;  // empty: to `redis`
  };

  struct Pair {
    UserId small{}, big{};
    std::vector<bool> by_small;  // author of each message
    std::set<uint32_t> hidden;   // ids
    uint32_t read[2]{};
  };
  struct Member {
    bool in = true, muted = false;
    uint32_t joined = 0, first = 0, position = 0;
  };
  struct Group {
    bool in_use     = true;
    uint32_t newest = 0;
    std::map<uint32_t, Member> members;
  };

  MirrorWorld() : MirrorWorld(Setup()) {}
  explicit MirrorWorld(Setup setup, uint64_t seed = 1) : random(seed), setup_(std::move(setup)) {
    if (!setup_.connect)
      setup_.connect = [this](const Server& server) { return redis.connect(server); };
    start();
  }

  // Another process: the lanes of the one before are gone.
  void start() {
    mirror.reset();
    for (auto& queue : told) queue.clear();
    mirror = std::make_unique<Mirror>(Mirror::Options{.shards      = kShards,
                                                      .pools       = setup_.pools,
                                                      .connect     = setup_.connect,
                                                      .lane_events = setup_.lane_events,
                                                      .changes_max = setup_.changes_max},
                                      *this, clock, random, metrics);
    for (uint32_t i = 0; i < kShards; ++i) mirror->attach(i, &shard_metrics[i]);
  }

  // --- what people do ----------------------------------------------------------------------------------

  void add_users(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) tokens_of[next_user_++] = {};
  }
  void send(uint32_t author, uint32_t to) {
    const auto key   = ConversationId::single(UserId(author), UserId(to));
    auto [at, fresh] = relations.try_emplace(key.key, 0);
    if (fresh) {
      at->second            = next_relation_++;
      all_pairs[at->second] = {key.small(), key.big(), {}, {}, {}};
      tell(of(key), [=, relation = at->second](uint32_t from, Mirror& to_mirror) {
        to_mirror.opened(from, key, relation);
      });
    }
    Pair& pair = all_pairs[at->second];
    pair.by_small.push_back(UserId(author) == key.small());
    tell(of(key), [=, relation = at->second, id = static_cast<uint32_t>(pair.by_small.size())](
                      uint32_t from, Mirror& to_mirror) {
      to_mirror.stored(from, key, relation, UserId(author), id);
    });
  }
  void read(uint32_t user, uint32_t peer, uint32_t msg_id) {
    const auto key = ConversationId::single(UserId(user), UserId(peer));
    if (!relations.contains(key.key)) return;
    Pair& pair     = all_pairs[relations[key.key]];
    uint32_t& mine = pair.read[UserId(user) == key.small() ? 0 : 1];
    msg_id         = std::min<uint32_t>(msg_id, static_cast<uint32_t>(pair.by_small.size()));
    if (msg_id <= mine) return;
    mine = msg_id;
    tell_read(user, key, msg_id);
  }
  void make_group(uint32_t group, std::vector<uint32_t> users) {
    Group& made = all_groups[group];
    for (const uint32_t user : users) made.members[user] = {.joined = now_s(), .first = 1};
    tell(of(ConversationId::group(GroupId(group))),
         [=](uint32_t from, Mirror& to_mirror) { to_mirror.group_changed(from, GroupId(group)); });
  }
  void dismiss(uint32_t group) {
    all_groups[group].in_use = false;
    tell(of(ConversationId::group(GroupId(group))),
         [=](uint32_t from, Mirror& to_mirror) { to_mirror.group_changed(from, GroupId(group)); });
  }
  void send_group(uint32_t author, uint32_t group) {
    Group& to = all_groups[group];
    if (!is_in(group, author)) return;
    const auto key    = ConversationId::group(GroupId(group));
    const uint32_t id = ++to.newest;
    tell(of(key), [=](uint32_t from, Mirror& to_mirror) {
      to_mirror.stored(from, key, 0, UserId(author), id);
    });
    read_group(author, group, id);
  }
  void read_group(uint32_t user, uint32_t group, uint32_t msg_id) {
    if (!is_in(group, user)) return;
    Group& in      = all_groups[group];
    Member& member = in.members[user];
    msg_id         = std::min(msg_id, in.newest);
    if (msg_id <= member.position || msg_id < member.first) return;  // as ReadMarks has it
    member.position = msg_id;
    tell_read(user, ConversationId::group(GroupId(group)), msg_id);
  }
  void join(uint32_t user, uint32_t group) {
    if (!all_groups[group].in_use || is_in(group, user)) return;
    Member& member = all_groups[group].members[user];
    member.in      = true;
    member.joined  = now_s();
    member.first   = all_groups[group].newest + 1;
    tell_member(group, user);
  }
  void leave(uint32_t user, uint32_t group) {
    if (!is_in(group, user)) return;
    all_groups[group].members[user].in = false;
    tell_member(group, user);
  }
  void mute(uint32_t user, uint32_t group, bool on) {
    if (!is_in(group, user)) return;
    all_groups[group].members[user].muted = on;
    tell(user % kShards, [=](uint32_t from, Mirror& to_mirror) {
      to_mirror.member_changed(from, GroupId(group), UserId(user));
    });
  }
  void set_token(uint32_t user, PushVendor vendor, const std::string& token) {
    for (auto& [other, had] : tokens_of) {
      if (other == user || token.empty() || had.token != token) continue;
      had.token.clear();
      tell_token(user % kShards, other);
    }
    tokens_of[user] = {vendor, token};
    tell_token(user % kShards, user);
  }

  // --- the passage of time -----------------------------------------------------------------------------

  // The next event of a shard reaches the mirror's lane.
  bool pass_on(uint32_t shard) {
    if (told[shard].empty()) return false;
    told[shard].front()(shard, *mirror);
    told[shard].pop_front();
    return true;
  }
  void pass_all_on() {
    for (uint32_t shard = 0; shard < kShards; ++shard)
      while (pass_on(shard)) {
      }
  }
  bool round(uint64_t ns = Mirror::kRoundMs * kNsPerMs) {
    clock.advance(ns);
    return mirror->run_some();
  }
  // Until the mirror has found out whatever is wrong and mended it.
  ::testing::AssertionResult settle(uint32_t rounds_max = 2000) {
    pass_all_on();
    uint32_t calm = 0;
    for (uint32_t i = 0; i < rounds_max; ++i) {
      round(400 * kNsPerMs);
      calm = mirror->settled() ? calm + 1 : 0;
      if (calm == 5) return ::testing::AssertionSuccess();  // two looks at rt:seq
    }
    return ::testing::AssertionFailure() << "after " << rounds_max << " rounds it is not settled";
  }

  // --- what Redis must hold then -----------------------------------------------------------------------

  struct Wanted {
    std::map<std::string, std::string> strings;
    std::map<std::string, FakeRedis::Hash> hashes;
  };

  std::map<Pool, Wanted> wanted() const {
    std::map<Pool, Wanted> all;
    Wanted& unread = all[Pool::unread];
    for (const auto& [relation, pair] : all_pairs) {
      unread.strings["msg_id_" + text(relation)] = text(pair.by_small.size());
      const PairRow row                          = row_of(relation, pair);
      const auto [small, big]                    = std::pair(text(row.small), text(row.big));
      if (row.small_unread) unread.hashes["unread_" + small][big] = text(row.small_unread);
      if (row.big_unread) unread.hashes["unread_" + big][small] = text(row.big_unread);
    }
    for (const auto& [id, group] : all_groups) {
      if (!group.in_use) continue;
      unread.strings["group_msg_id_" + text(id)]         = text(group.newest);
      unread.hashes[text(id) + "_im_group_msg"]["count"] = text(group.newest);
      for (const auto& [user, member] : group.members) {
        if (!member.in) continue;
        unread.hashes[text(user) + "_" + text(id) + "_im_user_group"]["count"] =
            text(row_of({GroupId(id), UserId(user)}, group, member).read_to());
        all[Pool::group_member].hashes["group_member_" + text(id)][text(user)] =
            text(member.joined);
        if (member.muted)
          all[Pool::group_set].hashes["group_set_" + text(id)][text(user) + "_1"] = "1";
      }
    }
    for (const auto& [user, token] : tokens_of) {
      if (token.token.empty()) continue;
      const std::string vendor = token.vendor == PushVendor::ios ? "ios:" : "android:";
      all[Pool::token].strings["device_" + text(user)]  = vendor + token.token;
      all[Pool::token].strings["device_" + token.token] = text(user);
    }
    return all;
  }

  // Every key that is wanted is there, and of what should be gone nothing is.
  void check() {
    auto all = wanted();
    for (const Pool pool : {Pool::unread, Pool::group_set, Pool::token, Pool::group_member}) {
      FakeRedis::Database& keys = redis.db(setup_.pools[pool].db);
      for (const auto& [key, value] : all[pool].strings)
        EXPECT_EQ(redis.string(key, setup_.pools[pool].db), value) << key;
      for (const auto& [key, fields] : all[pool].hashes)
        EXPECT_EQ(redis.hash(key, setup_.pools[pool].db), fields) << key;
      for (const auto& [key, value] : keys) {
        const bool counted = key.starts_with("unread_") || key.starts_with("group_member_") ||
                             key.starts_with("group_set_");
        bool is_wanted = false;
        for (auto& [other, of_other] : all)
          is_wanted |= of_other.hashes.contains(key) || of_other.strings.contains(key);
        EXPECT_TRUE(is_wanted || !counted) << key << " should be gone";
        // A device has no user, and a user no device, beside the wanted ones; see write_tokens().
        if (key.starts_with("device_") && !is_wanted && !tokens_may_stay) {
          const auto* text_of = std::get_if<std::string>(&value);
          EXPECT_TRUE(text_of && text_of->empty()) << key;
        }
      }
    }
  }

  // --- MirrorSource ------------------------------------------------------------------------------------

  Result<SourceSize> size() override {
    if (away) return fail(Errc::os);
    SourceSize size{
        .pairs = all_pairs.size(), .groups = all_groups.size(), .users = tokens_of.size()};
    for (const auto& [id, group] : all_groups) size.members += group.members.size();
    return size;
  }
  Result<std::vector<PairRow>> pairs(uint32_t after, uint32_t limit) override {
    return walk<PairRow>(all_pairs.upper_bound(after), all_pairs.end(), limit,
                         [](const auto& at) { return row_of(at.first, at.second); });
  }
  Result<std::vector<GroupRow>> groups(GroupId after, uint32_t limit) override {
    if (away) return fail(Errc::os);
    std::vector<GroupRow> rows;
    for (auto at = all_groups.upper_bound(raw(after)); at != all_groups.end(); ++at)
      if (at->second.in_use && rows.size() < limit)
        rows.push_back({GroupId(at->first), at->second.newest});
    return rows;
  }
  Result<std::vector<MemberRow>> members(MemberKey after, uint32_t limit) override {
    if (away) return fail(Errc::os);
    std::vector<MemberRow> rows;
    for (const auto& [id, group] : all_groups)
      for (const auto& [user, member] : group.members)
        if (const MemberKey key{GroupId(id), UserId(user)}; key > after && rows.size() < limit)
          rows.push_back(row_of(key, group, member));
    ++walks;
    return rows;
  }
  Result<std::vector<TokenRow>> tokens(UserId after, uint32_t limit) override {
    return walk<TokenRow>(tokens_of.upper_bound(raw(after)), tokens_of.end(), limit,
                          [](const auto& at) { return TokenRow{UserId(at.first), at.second}; });
  }
  Result<std::vector<PairRow>> find_pairs(std::span<const ConversationId> wanted_pairs) override {
    EXPECT_LE(wanted_pairs.size(), kSourceKeysMax);
    if (away) return fail(Errc::os);
    std::vector<PairRow> rows;
    for (const ConversationId pair : wanted_pairs)
      if (relations.contains(pair.key))
        rows.push_back(row_of(relations[pair.key], all_pairs[relations[pair.key]]));
    asked += wanted_pairs.size();
    return rows;
  }
  Result<std::vector<MemberRow>> find_members(std::span<const MemberKey> keys) override {
    EXPECT_LE(keys.size(), kSourceKeysMax);
    if (away) return fail(Errc::os);
    std::vector<MemberRow> rows;
    for (const MemberKey key : keys) {
      const Group& group = all_groups[raw(key.group)];
      const auto member  = group.members.find(raw(key.user));
      if (member != group.members.end()) rows.push_back(row_of(key, group, member->second));
    }
    asked += keys.size();
    return rows;
  }
  Result<std::vector<TokenRow>> find_tokens(std::span<const UserId> users) override {
    EXPECT_LE(users.size(), kSourceKeysMax);
    if (away) return fail(Errc::os);
    std::vector<TokenRow> rows;
    for (const UserId user : users) rows.push_back({user, tokens_of[raw(user)]});
    asked += users.size();
    return rows;
  }

  FakeRedis redis;
  engine::FakeClock clock;
  engine::SeededRandom random;
  engine::Metrics metrics;
  engine::Metrics shard_metrics[kShards];
  std::unique_ptr<Mirror> mirror;

  bool tokens_may_stay = false;  // device_<token> of a token that nobody has
  bool away            = false;  // the source
  uint64_t asked       = 0;      // keys, by find_…()
  uint64_t walks       = 0;      // of members
  std::map<uint64_t, uint32_t> relations;
  std::map<uint32_t, Pair> all_pairs;
  std::map<uint32_t, Group> all_groups;
  std::map<uint32_t, PushToken> tokens_of;
  std::deque<std::function<void(uint32_t, Mirror&)>> told[kShards];

 private:
  template <class T>
  static std::string text(T number) {
    return std::to_string(static_cast<uint64_t>(number));
  }
  static uint32_t of(ConversationId conversation) {
    return static_cast<uint32_t>(conversation.is_group() ? conversation.key % kShards
                                                         : raw(conversation.small()) % kShards);
  }
  uint32_t now_s() { return static_cast<uint32_t>(clock.wall_ns() / kNsPerS); }
  bool is_in(uint32_t group, uint32_t user) const {
    const auto at = all_groups.find(group);
    if (at == all_groups.end() || !at->second.in_use) return false;
    const auto member = at->second.members.find(user);
    return member != at->second.members.end() && member->second.in;
  }

  void tell(uint32_t shard, std::function<void(uint32_t, Mirror&)> event) {
    told[shard].push_back(std::move(event));
  }
  void tell_read(uint32_t user, ConversationId conversation, uint32_t msg_id) {
    tell(user % kShards, [=](uint32_t from, Mirror& to_mirror) {
      to_mirror.read_to(from, UserId(user), conversation, msg_id);
    });
  }
  void tell_member(uint32_t group, uint32_t user) {
    tell(of(ConversationId::group(GroupId(group))), [=](uint32_t from, Mirror& to_mirror) {
      to_mirror.member_changed(from, GroupId(group), UserId(user));
    });
  }
  void tell_token(uint32_t shard, uint32_t user) {
    tell(shard,
         [=](uint32_t from, Mirror& to_mirror) { to_mirror.token_changed(from, UserId(user)); });
  }

  static PairRow row_of(uint32_t relation, const Pair& pair) {
    PairRow row{.relation   = relation,
                .small      = pair.small,
                .big        = pair.big,
                .newest     = static_cast<uint32_t>(pair.by_small.size()),
                .small_read = pair.read[0],
                .big_read   = pair.read[1]};
    for (uint32_t id = 1; id <= row.newest; ++id) {
      if (pair.hidden.contains(id)) continue;
      if (pair.by_small[id - 1])
        row.big_unread += id > row.big_read;
      else
        row.small_unread += id > row.small_read;
    }
    return row;
  }
  static MemberRow row_of(MemberKey key, const Group& group, const Member& member) {
    return {.key      = key,
            .in       = group.in_use && member.in,
            .muted    = member.muted,
            .joined   = member.joined,
            .first    = member.first,
            .position = member.position};
  }
  template <class Row, class At, class Make>
  Result<std::vector<Row>> walk(At at, At end, uint32_t limit, Make make) {
    if (away) return fail(Errc::os);
    std::vector<Row> rows;
    for (; at != end && rows.size() < limit; ++at) rows.push_back(make(*at));
    return rows;
  }

  Setup setup_;
  uint32_t next_user_     = 1;
  uint32_t next_relation_ = 1;
};

}  // namespace ringtalk::store::redis
