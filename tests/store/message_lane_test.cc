#include "store/mysql/message_lane.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>

#include "engine/log.h"
#include "store/mysql/texts.h"
#include "tests/store/fake_mysql.h"

namespace ringtalk::store {
namespace {

using sql::FakeMySql;
using sql::Fault;

constexpr uint32_t kLane = 3;

ConversationId pair(uint32_t a, uint32_t b) { return ConversationId::single(UserId(a), UserId(b)); }
ConversationId group(uint32_t id) { return ConversationId::group(GroupId(id)); }

// A lane at a fake server, the worker turned by hand, and a model of what was sent and told.
struct World final : Sink {
  struct Sent {
    ConversationId conversation;
    uint32_t author = 0;
    std::string body;
    uint8_t type         = 0;
    uint64_t client      = 0;
    uint64_t deadline_ns = 0;
    bool told            = false;
    bool stored          = false;
    uint32_t msg_id      = 0;
  };

  explicit World(uint64_t seed = 1) : server(clock, seed) {
    engine::log::set_level(engine::log::Level::error);
    server.lanes[kLane] = 1;
    worker = std::make_unique<LaneWorker>([this] { return server.connect(); }, clock, kLane,
                                          server.lanes[kLane]);
    lane   = std::make_unique<MessageLane>(
        MessageLane::Parts{*worker, clock, *this, conversations, cursors, *metrics});
  }

  Result<void> send(ConversationId conversation, uint32_t author, std::string body,
                    uint64_t patience_ns = 0, uint8_t type = 0, uint64_t client = 0) {
    if (type == 0) type = conversation.is_group() ? 17 : 1;
    const uint64_t deadline = patience_ns ? clock.now_ns() + patience_ns : 0;
    const uint64_t cookie   = sent.size();
    auto taken              = lane->append({.conversation = conversation,
                                            .author       = UserId(author),
                                            .type         = type,
                                            .body         = as_bytes(body),
                                            .repeat_key   = cookie + 1,
                                            .client_key   = client,
                                            .full_key     = client ? client + 7 : 0,
                                            .deadline_ns  = deadline,
                                            .cookie       = cookie});
    if (taken) sent.push_back({conversation, author, std::move(body), type, client, deadline});
    return taken;
  }
  void turn() {
    lane->on_turn(clock.now_ns());
    worker->run_some();
  }
  void tick() {
    clock.advance(100 * kNsPerMs);
    lane->on_tick(clock.now_ns());
  }
  void run_until_idle() {
    for (int i = 0; i < 2000; ++i) {
      turn();
      if (lane->idle()) return;
      if (i % 4 == 3) tick();
    }
    FAIL() << "does not come to rest";
  }

  void on_appended(const Appended& result) override {
    ASSERT_LT(result.cookie, sent.size());
    Sent& known = sent[result.cookie];
    ASSERT_FALSE(std::exchange(known.told, true)) << "told twice";
    EXPECT_EQ(result.conversation, known.conversation);
    EXPECT_EQ(as_text(result.body), known.body);
    if (result.error.code != Errc::ok) {
      ++refused;
      if (result.error.code == Errc::timeout) {
        EXPECT_GE(clock.now_ns(), known.deadline_ns);
      } else {
        EXPECT_NE(known.body.find("unfit"), std::string::npos) << "refused without a reason";
      }
      return;
    }
    known.stored = true;
    known.msg_id = result.msg_id;
    EXPECT_GT(result.msg_id, last_id[result.conversation]) << "results come in the order of ids";
    last_id[result.conversation] = result.msg_id;
    EXPECT_GE(result.time, last_time[result.conversation]);
    last_time[result.conversation] = result.time;
  }
  void on_page(uint64_t, Error, std::span<const Message>) override {}
  void on_failed(Error) override { ++failures; }

  uint64_t relation_of(ConversationId id) {
    return id.is_group() ? raw(id.group()) : server.relations[{raw(id.small()), raw(id.big())}];
  }
  // What another node writes.
  void neighbour_writes(ConversationId id, uint32_t author, std::string body) {
    if (!id.is_group() && relation_of(id) == 0)
      server.relations[{raw(id.small()), raw(id.big())}] = 1000 + id.key % 1000;
    const uint64_t relation = relation_of(id);
    uint64_t seq = 1, small = 0;
    while (server.messages.contains({id.is_group(), relation, seq}))
      small = server.messages[{id.is_group(), relation, seq++}].small;
    if (!id.is_group() && author == raw(id.small())) ++small;
    server.messages[{id.is_group(), relation, seq}] = {
        author, 0, clock.wall_ns() / kNsPerS, 1, small, std::move(body), {}};
    ++neighbours;
  }

  // Everything was told; what is stored is what was acknowledged, under its id, once, without a gap.
  void check() {
    std::map<std::string, int> expected;
    size_t stored = 0;
    for (const Sent& message : sent) {
      ASSERT_TRUE(message.told) << message.body;
      if (!message.stored) continue;
      ++stored;
      const auto at = server.messages.find(
          {message.conversation.is_group(), relation_of(message.conversation), message.msg_id});
      ASSERT_NE(at, server.messages.end()) << "acknowledged and not stored: " << message.body;
      if (is_sound(message.type)) {
        const uint64_t audio = std::stoull(at->second.content);
        EXPECT_EQ(server.sounds.at(audio), load_be32(message.body.data()));
        EXPECT_EQ(server.sound_bytes.at(audio), message.body.substr(4));
      } else {
        EXPECT_EQ(at->second.content, message.body);
      }
      EXPECT_EQ(at->second.author, message.author);
      EXPECT_EQ(at->second.key, key_text({uint64_t(&message - sent.data()) + 1,
                                          message.client ? message.client + 7 : 0}));
      if (message.client) {
        EXPECT_TRUE(server.clients.contains({message.author, fmt_client(message.client)}));
      }
    }
    EXPECT_EQ(server.messages.size(), stored + neighbours) << "refused ones are never stored";
    FakeMySql::MessageKey before{};
    uint64_t small = 0;
    for (const auto& [key, message] : server.messages) {
      const auto [is_group, relation, seq] = key;
      const bool next = is_group == std::get<0>(before) && relation == std::get<1>(before);
      ASSERT_EQ(seq, next ? std::get<2>(before) + 1 : 1) << "a gap in " << relation;
      if (!next) small = 0;
      if (!is_group) {
        for (const auto& [ids, id] : server.relations)
          if (id == relation) small += ids.first == message.author;
        EXPECT_EQ(message.small, small) << relation << " " << seq;
      }
      before = key;
    }
    for (const auto& [conversation, id] : last_id) {
      const uint32_t newest = conversations.get(conversation).newest;
      EXPECT_GE(newest, id);
      EXPECT_TRUE(
          server.messages.contains({conversation.is_group(), relation_of(conversation), newest}));
    }
  }
  static std::string fmt_client(uint64_t key) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(key));
    return text;
  }

  engine::FakeClock clock;
  FakeMySql server;
  Conversations conversations{5};
  Cursors cursors{5};
  std::unique_ptr<engine::Metrics> metrics = std::make_unique<engine::Metrics>();
  std::unique_ptr<LaneWorker> worker;
  std::unique_ptr<MessageLane> lane;
  std::vector<Sent> sent;
  std::map<ConversationId, uint32_t> last_id, last_time;
  uint32_t refused    = 0;
  uint32_t neighbours = 0;
  int failures        = 0;
};

TEST(MessageLane, WritesABatchInOneTransaction) {
  World w;
  for (int i = 0; i < 200; ++i)
    ASSERT_TRUE(w.send(i % 2 ? pair(1, 2) : group(5), 1 + i % 2, "m" + std::to_string(i), 0, 0,
                       i % 10 ? 0 : 1000 + i));
  w.run_until_idle();
  EXPECT_EQ(w.server.commits, 1u);
  EXPECT_EQ(w.server.lanes[kLane], 2u);
  // A statement for each of the two tables, not for each row.
  EXPECT_EQ(w.server.calls["INSERT INTO"], 3u) << "relation, messages of the pair, of the group";
  w.check();
  EXPECT_EQ(w.conversations.get(pair(1, 2)).small, 0u);
}

TEST(MessageLane, WhatComesMeanwhileIsTheNextBatch) {
  World w;
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(w.send(pair(1, 2), 1, "m" + std::to_string(i)));
    if (i % 10 == 0) w.lane->on_turn(w.clock.now_ns());  // the worker is not turned
  }
  EXPECT_EQ(w.lane->waiting(), 50u);
  w.run_until_idle();
  EXPECT_EQ(w.server.commits, 2u);
  w.check();
}

TEST(MessageLane, AFullBatchTakesNoMore) {
  World w;
  uint32_t taken = 0;
  while (w.send(group(1), 1, "x")) ++taken;
  EXPECT_EQ(taken, MessageBatch::kRowsMax);
  EXPECT_FALSE(w.lane->has_room());
  w.turn();
  EXPECT_TRUE(w.lane->has_room());
  w.run_until_idle();
  uint32_t large = 0;
  while (w.send(group(1), 1, std::string(200 * kKiB, 'x'))) ++large;
  EXPECT_LE(large, 6u);
  w.run_until_idle();
  w.check();
}

TEST(MessageLane, AnUnfitRowIsRefusedAloneAndTheOthersMoveUp) {
  for (const int bad : {0, 1, 50, 98, 99}) {
    World w;
    for (int i = 0; i < 100; ++i)
      ASSERT_TRUE(w.send(i % 3 ? pair(1, 2) : group(1), 1,
                         (i == bad || i == (bad + 1) % 100 ? "unfit" : "m") + std::to_string(i)));
    w.run_until_idle();
    EXPECT_EQ(w.refused, 2u);
    w.check();
    EXPECT_EQ(w.metrics->value(engine::Counter::store_refused_row), 2u);
    EXPECT_LT(w.server.calls["INSERT INTO"], 60u) << "found by halves";
  }
}

TEST(MessageLane, AnUnfitSoundIsRefusedAlone) {
  World w;
  ASSERT_TRUE(w.send(pair(1, 2), 1, "before"));
  ASSERT_TRUE(w.send(pair(1, 2), 1, std::string("\0\0\0\2good", 8), 0, 2));
  ASSERT_TRUE(w.send(pair(1, 2), 1, std::string("\0\0\0\2unfit", 9), 0, 2));
  ASSERT_TRUE(w.send(group(3), 1, std::string("\0\0\1\2", 4) + "more", 0, 18));
  ASSERT_TRUE(w.send(pair(1, 2), 2, "behind"));
  w.run_until_idle();
  EXPECT_EQ(w.refused, 1u);
  EXPECT_EQ(w.sent[4].msg_id, 3u);
  w.check();
}

TEST(MessageLane, AnotherNodeThatWasFasterCostsNoIdAndNoMessage) {
  World w;
  ASSERT_TRUE(w.send(pair(1, 2), 1, "one"));
  w.run_until_idle();
  w.neighbour_writes(pair(1, 2), 2, "from elsewhere");
  w.neighbour_writes(pair(1, 2), 1, "from elsewhere, too");
  w.neighbour_writes(pair(7, 8), 7, "a conversation that we do not know");
  ASSERT_TRUE(w.send(pair(1, 2), 1, "two"));
  ASSERT_TRUE(w.send(pair(7, 8), 8, "three"));
  w.run_until_idle();
  EXPECT_EQ(w.sent[1].msg_id, 4u);
  EXPECT_EQ(w.sent[2].msg_id, 2u);
  EXPECT_GT(w.metrics->value(engine::Counter::store_repeats_duplicate), 0u);
  w.check();
}

TEST(MessageLane, ALostAnswerToCommitIsFoundOut) {
  for (const bool took_effect : {true, false})
    for (const Fault fault : {Fault::lost, Fault::timeout, Fault::other}) {
      if (fault == Fault::other && took_effect) continue;  // the fake's session lives on with it
      World w;
      w.server.planned.push_back({"COMMIT", fault, took_effect});
      ASSERT_TRUE(w.send(pair(1, 2), 1, "one", kNsPerS));
      ASSERT_TRUE(w.send(pair(1, 2), 2, "two", kNsPerS));
      w.turn();
      w.lane->on_turn(w.clock.now_ns());
      ASSERT_TRUE(w.send(pair(1, 2), 1, "three"));
      EXPECT_EQ(w.lane->waiting(), 3u) << "nobody knows, so nobody is told";
      for (int i = 0; i < 12; ++i) w.lane->on_tick(w.clock.now_ns() + 2 * kNsPerS);
      EXPECT_EQ(w.refused, 0u) << "not at the deadline either";
      w.run_until_idle();
      w.check();
      EXPECT_EQ(w.metrics->value(engine::Counter::store_commits_unanswered), 1u);
      EXPECT_EQ(w.refused, 0u);
    }
}

TEST(MessageLane, ALostCommitThatIsNotInIsRefusedWhenItIsLate) {
  World w;
  w.server.planned.push_back({"COMMIT", Fault::lost, false});
  ASSERT_TRUE(w.send(pair(1, 2), 1, "one", kNsPerS));
  w.turn();
  w.lane->on_turn(w.clock.now_ns());
  w.clock.advance(2 * kNsPerS);
  w.run_until_idle();
  EXPECT_EQ(w.refused, 1u);
  w.check();
}

TEST(MessageLane, ADeadlockIsRepeatedAlsoAtCommit) {
  World w;
  w.server.planned.push_back({"INSERT INTO IMMessage", Fault::conflict, false});
  w.server.planned.push_back({"COMMIT", Fault::conflict, false});
  ASSERT_TRUE(w.send(pair(1, 2), 1, "one"));
  w.turn();
  w.lane->on_turn(w.clock.now_ns());
  EXPECT_TRUE(w.sent[0].stored) << "at once";
  EXPECT_EQ(w.metrics->value(engine::Counter::store_repeats_conflict), 2u);
  w.check();
}

TEST(MessageLane, WithoutAServerSendsAreRefusedInTimeAndServiceResumes) {
  World w;
  ASSERT_TRUE(w.send(pair(1, 2), 1, "before"));
  w.run_until_idle();
  w.server.chances.unreachable = 1000;
  w.server.planned.push_back({"BEGIN", Fault::lost, false});
  for (int i = 0; i < 100; ++i) {  // ten seconds
    ASSERT_TRUE(w.send(pair(1, 2), 1, "m" + std::to_string(i), 4 * kNsPerS));
    for (int turns = 0; turns < 3; ++turns) w.turn();
    w.tick();
    for (const World::Sent& message : w.sent)
      ASSERT_TRUE(message.told || message.deadline_ns + 100 * kNsPerMs > w.clock.now_ns());
  }
  EXPECT_TRUE(w.lane->away());
  EXPECT_LE(w.lane->waiting(), 42u);
  w.server.chances.unreachable = 0;
  const uint64_t back          = w.clock.now_ns();
  w.run_until_idle();
  EXPECT_LE(w.clock.now_ns() - back, 2 * kNsPerS);
  EXPECT_FALSE(w.lane->away());
  w.check();
  EXPECT_GT(w.refused, 50u);
}

TEST(MessageLane, AHangingStatementDelaysNoRefusalAndTheBatchIsNotCommitted) {
  World w;
  ASSERT_TRUE(w.send(pair(1, 2), 1, "impatient", kNsPerS));
  ASSERT_TRUE(w.send(pair(1, 2), 1, "patient", 60 * kNsPerS));
  w.server.chances.slow = 1000;
  w.server.on_slow      = [&] {
    if (w.refused > 0) return;
    w.clock.advance(2 * kNsPerS);
    w.lane->on_tick(w.clock.now_ns());
    EXPECT_EQ(w.refused, 1u) << "while the worker waits";
    w.server.chances.slow = 0;
  };
  w.run_until_idle();
  EXPECT_FALSE(w.sent[0].stored);
  EXPECT_EQ(w.sent[1].msg_id, 1u);
  w.check();
}

TEST(MessageLane, ALockThatALostConnectionStillHoldsIsTakenFromIt) {
  World w;
  w.server.chances.stuck = 1000;
  w.server.planned.push_back({"INSERT INTO IMMessage", Fault::timeout, false});
  ASSERT_TRUE(w.send(pair(1, 2), 1, "one"));
  ASSERT_TRUE(w.send(pair(1, 2), 1, "two"));
  w.server.chances.lost_before = 0;
  w.run_until_idle();
  w.check();
  EXPECT_EQ(w.server.open_transactions(), 0u);
}

TEST(MessageLane, EndsWhenAnotherProcessHasTakenTheLane) {
  World w;
  ASSERT_TRUE(w.send(pair(1, 2), 1, "one"));
  w.run_until_idle();
  ++w.server.lanes[kLane];
  ASSERT_TRUE(w.send(pair(1, 2), 1, "two"));
  for (int i = 0; i < 5; ++i) w.turn();
  EXPECT_EQ(w.failures, 1);
  EXPECT_FALSE(w.sent[1].told);
  EXPECT_EQ(w.server.messages.size(), 1u);
  EXPECT_EQ(w.send(pair(1, 2), 1, "three").error().code, Errc::closed);
}

TEST(MessageLane, ReadPositionsLeaveCoalescedWithinASecond) {
  World w;
  for (uint32_t id = 1; id <= 50; ++id) w.cursors.raise({pair(1, 2).key, 2}, id);
  w.cursors.raise({group(9).key, 4}, 7);
  for (int i = 0; i < 9; ++i) {
    w.tick();
    w.turn();
    w.turn();
  }
  EXPECT_EQ(w.server.commits, 1u);
  EXPECT_EQ(w.server.cursors, (std::map<FakeMySql::CursorKey, uint64_t>{{{2, kSingleKind, 1}, 50},
                                                                        {{4, kGroupKind, 9}, 7}}));
  EXPECT_TRUE(w.lane->idle());
}

TEST(MessageLane, ClientKeysAreForgottenAfterADay) {
  World w;
  ASSERT_TRUE(w.send(pair(1, 2), 1, "one", 0, 0, 51));
  w.run_until_idle();
  w.clock.advance(23 * 3600 * kNsPerS);
  ASSERT_TRUE(w.send(pair(1, 2), 1, "two", 0, 0, 52));
  w.run_until_idle();
  EXPECT_EQ(w.server.clients.size(), 2u);
  w.clock.advance(2 * 3600 * kNsPerS);
  ASSERT_TRUE(w.send(pair(1, 2), 1, "three", 0, 0, 53));
  w.run_until_idle();
  EXPECT_EQ(w.server.clients.size(), 2u);
  EXPECT_FALSE(w.server.clients.contains({1, World::fmt_client(51)}));
}

TEST(MessageLane, NothingWaitsForReadPositionsThatCannotLeave) {
  World w;
  w.server.chances.unreachable = 1000;
  w.cursors.raise({pair(1, 2).key, 2}, 3);
  EXPECT_FALSE(w.lane->idle());
  for (int i = 0; i < 10; ++i) {
    w.tick();
    w.turn();
    w.lane->on_turn(w.clock.now_ns());
  }
  EXPECT_TRUE(w.lane->idle());
  w.server.chances.unreachable = 0;
  for (int i = 0; i < 20; ++i) {
    w.tick();
    w.turn();
  }
  EXPECT_EQ(w.server.cursors.size(), 1u) << "they are not forgotten";
}

// Whatever happens at whatever call: what is acknowledged is there, once, in order, without a gap, and what
// was refused is not; and all of it is told.
TEST(MessageLane, HoldsAgainstAnythingAtAnyTime) {
  uint32_t stored = 0, refused = 0, unanswered = 0, duplicates = 0;
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World w(seed);
    engine::SeededRandom random(seed * 77);
    auto& chances   = w.server.chances;
    const auto some = [&](uint32_t most) {
      return random.below(2) ? static_cast<uint32_t>(random.below(most)) : 0;
    };
    chances                  = {.lost_before = some(40),
                                .lost_after  = some(40),
                                .stuck       = some(1000),
                                .deadlock    = some(40),
                                .unwilling   = some(40),
                                .unreachable = some(600),
                                .slow        = some(60)};
    const uint32_t neighbour = some(500);
    w.server.on_slow         = [&] { w.lane->on_tick(w.clock.now_ns()); };
    const auto conversation  = [&] {
      const auto a = static_cast<uint32_t>(1 + random.below(4));
      return random.below(3) ? pair(a, a + 1 + static_cast<uint32_t>(random.below(2))) : group(a);
    };
    w.server.on_begin = [&] {
      if (random.below(1000) < neighbour) {
        const ConversationId id = conversation();
        w.neighbour_writes(id, id.is_group() ? 1 : raw(random.below(2) ? id.small() : id.big()),
                           "elsewhere");
      }
    };
    const uint64_t steps = 20 + random.below(150);
    for (uint64_t step = 0; step < steps; ++step) {
      for (uint64_t n = random.below(5); n > 0; --n) {
        const ConversationId id = conversation();
        const uint32_t author   = id.is_group() ? 1 + static_cast<uint32_t>(random.below(5))
                                                : raw(random.below(2) ? id.small() : id.big());
        const std::string body = (random.below(30) ? "m" : "unfit") + std::to_string(w.sent.size());
        const bool sound       = random.below(12) == 0;
        const uint8_t type     = sound ? (id.is_group() ? 18 : 2) : (id.is_group() ? 17 : 1);
        (void)w.send(id, author, sound ? std::string("\0\0\0\3", 4) + body : body,
                     random.below(10) ? 1 + random.below(4 * kNsPerS) : 0, type,
                     random.below(5) ? 0 : 1 + w.sent.size());
      }
      if (random.below(4) == 0) w.cursors.raise({group(1).key, 2}, static_cast<uint32_t>(step));
      if (random.below(3)) w.turn();
      if (random.below(4) == 0) w.tick();
      if (random.below(30) == 0) w.clock.advance(random.below(3 * kNsPerS));
    }
    chances           = {};
    w.server.on_begin = [] {};
    ASSERT_NO_FATAL_FAILURE(w.run_until_idle());
    for (int i = 0; i < 15 && w.cursors.dirty() > 0; ++i) w.tick(), w.turn();
    ASSERT_NO_FATAL_FAILURE(w.run_until_idle());
    ASSERT_NO_FATAL_FAILURE(w.check());
    ASSERT_EQ(w.failures, 0);
    ASSERT_EQ(w.server.open_transactions(), 0u);
    if (const uint32_t at = w.cursors.get({group(1).key, 2}); at > 0) {
      EXPECT_EQ((w.server.cursors[{2, kGroupKind, 1}]), at);
    }
    for (const World::Sent& message : w.sent) stored += message.stored;
    refused += w.refused;
    unanswered += w.metrics->value(engine::Counter::store_commits_unanswered);
    duplicates += w.metrics->value(engine::Counter::store_repeats_duplicate);
    if (HasFailure()) return;
  }
  // It was not a walk in the park.
  EXPECT_GT(stored, 10'000u);
  EXPECT_GT(refused, 1'000u);
  EXPECT_GT(unanswered, 100u);
  EXPECT_GT(duplicates, 100u);
}

}  // namespace
}  // namespace ringtalk::store
