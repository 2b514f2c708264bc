// The writer and the readers of MySqlRelational on a server that fails when it is told to.
#include "store/mysql/relational_workers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace ringtalk::store {
namespace {

using sql::Answer;
using sql::Fault;
using sql::Trouble;

// A server with one table, "ADD <word>", and RTLane. What a transaction did is in when it is committed.
struct FakeServer {
  struct State {
    std::vector<std::string> words;
    std::map<uint64_t, uint64_t> lanes;
  };
  // Asked before each statement of each connection: what happens instead; `after` says: it has taken effect.
  struct Failure {
    Fault fault{};
    bool after = false;
  };
  std::function<std::optional<Failure>(const std::string& sql)> fails = [](const auto&) {
    return std::nullopt;
  };
  std::optional<Fault> refuses;  // connections
  State state;
  uint32_t connections = 0;
  std::vector<std::string> log;

  sql::Connect connect();
};

class FakeConnection final : public sql::Connection {
 public:
  explicit FakeConnection(FakeServer& server) : server_(server) {}

  using sql::Connection::execute;
  using sql::Connection::query;
  Answer<sql::Rows> query(std::string_view sql, std::span<const sql::Value> values) override {
    if (auto done = act(std::string(sql), values); !done) return std::unexpected(done.error());
    sql::Rows rows(1);
    if (sql.starts_with("SELECT batchNo")) {
      const auto& lanes = (open_ ? work_ : server_.state).lanes;
      const auto at     = lanes.find(std::get<uint64_t>(values[0]));
      if (at != lanes.end()) rows.add(at->second);
    } else {
      rows.add(uint64_t{server_.state.words.size()});
    }
    return rows;
  }
  Answer<sql::Done> execute(std::string_view sql, std::span<const sql::Value> values) override {
    if (auto done = act(std::string(sql), values); !done) return std::unexpected(done.error());
    return sql::Done{1, 1};
  }
  Answer<sql::Done> execute_many(std::string_view, std::span<const sql::Column>, size_t) override {
    ADD_FAILURE();
    return sql::Done{};
  }
  Answer<void> run(std::string_view sql) override { return act(std::string(sql), {}); }
  bool alive() const override { return alive_; }

 private:
  Answer<void> act(const std::string& sql, std::span<const sql::Value> values) {
    EXPECT_TRUE(alive_) << "a lost connection was used";
    server_.log.push_back(sql);
    const auto failure = server_.fails(sql);
    if (!failure || failure->after) apply(sql, values);
    if (!failure) return {};
    if (failure->fault == Fault::lost || failure->fault == Fault::timeout) alive_ = false;
    if (failure->fault == Fault::conflict) open_ = false;  // rolled back
    return std::unexpected(Trouble{failure->fault, 1, "as told"});
  }
  void apply(const std::string& sql, std::span<const sql::Value> values) {
    State& now = open_ ? work_ : server_.state;
    if (sql == "BEGIN") {
      EXPECT_FALSE(open_);
      open_ = true;
      work_ = server_.state;
    } else if (sql == "COMMIT") {
      server_.state = work_;
      open_         = false;
    } else if (sql == "ROLLBACK") {
      open_ = false;
    } else if (sql == "SAVEPOINT job") {
      EXPECT_TRUE(open_);
      saved_ = work_;
    } else if (sql == "ROLLBACK TO job") {
      EXPECT_TRUE(open_);
      work_ = saved_;
    } else if (sql.starts_with("INSERT INTO RTLane")) {
      now.lanes[std::get<uint64_t>(values[0])] = std::get<uint64_t>(values[1]);
    } else if (sql.starts_with("ADD ")) {
      EXPECT_TRUE(open_);
      now.words.push_back(sql.substr(4));
    }
  }

  using State = FakeServer::State;
  FakeServer& server_;
  bool alive_ = true, open_ = false;
  State work_, saved_;
};

sql::Connect FakeServer::connect() {
  return [this]() -> Answer<std::unique_ptr<sql::Connection>> {
    if (refuses) return std::unexpected(Trouble{*refuses, 1, "as told"});
    ++connections;
    return std::make_unique<FakeConnection>(*this);
  };
}

class RelationalWorkers : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(writer_.open()); }

  // Asks for ADD word.
  void ask(const std::string& word) {
    const auto work = [word](Link& link) -> Result<void> {
      if (auto done = link.execute("ADD " + word); !done) return std::unexpected(done.error());
      return {};
    };
    using Call = RelationalCall<RelationalWriter::Call, RelationalWriter, void,
                                std::decay_t<decltype(work)>>;
    std::unique_ptr<engine::Job> job = std::make_unique<Call>(
        writer_, work, [this, word](Result<void> result) { answers_[word] = result; });
    ASSERT_TRUE(writer_.submit(0, job));
  }
  void settle() {
    while (writer_.run_some() > 0) {
    }
    while (writer_.collect(0) > 0) {
    }
  }
  std::string answer(const std::string& word) {
    if (!answers_.contains(word)) return "none";
    const auto& result = answers_.at(word);
    if (result) return "ok";
    switch (result.error().code) {
      case Errc::refused: return "refused";
      case Errc::timeout: return "timeout";
      case Errc::os: return "os";
      case Errc::exists: return "exists";
      default: return "other";
    }
  }
  // Fails once, at the statement that begins so.
  void fail_once(std::string begin, Fault fault, bool after = false) {
    server_.fails = [this, begin, fault,
                     after](const std::string& sql) -> std::optional<FakeServer::Failure> {
      if (!sql.starts_with(begin)) return std::nullopt;
      server_.fails = [](const auto&) { return std::nullopt; };
      return FakeServer::Failure{fault, after};
    };
  }
  void fail_always(std::string begin, Fault fault) {
    server_.fails = [begin, fault](const std::string& sql) -> std::optional<FakeServer::Failure> {
      if (!sql.starts_with(begin)) return std::nullopt;
      return FakeServer::Failure{fault, false};
    };
  }
  std::string stored() const {
    std::string all;
    for (const std::string& word : server_.state.words) all += word + " ";
    return all;
  }

  engine::FakeClock clock_;
  FakeServer server_;
  RelationalWriter writer_{server_.connect(), clock_, 1, 64, 64, 9};
  std::map<std::string, Result<void>> answers_;
};

TEST_F(RelationalWorkers, OneTransactionForAllThatWaits) {
  ask("a"), ask("b"), ask("c");
  settle();
  EXPECT_EQ(stored(), "a b c ");
  EXPECT_EQ(std::ranges::count(server_.log, "COMMIT"), 1);
  EXPECT_EQ(server_.state.lanes.at(9), 1u);
  ask("d");
  settle();
  EXPECT_EQ(server_.state.lanes.at(9), 2u);
  EXPECT_EQ(answer("a") + answer("d"), "okok");
}

TEST_F(RelationalWorkers, ABadRowIsRefusedAlone) {
  ask("a"), ask("bad"), ask("c");
  fail_once("ADD bad", Fault::row);
  settle();
  EXPECT_EQ(stored(), "a c ");
  EXPECT_EQ(answer("a") + answer("bad") + answer("c"), "okrefusedok");
  ask("bad"), ask("e");
  fail_once("ADD bad", Fault::duplicate);
  settle();
  EXPECT_EQ(answer("bad") + answer("e"), "existsok");
  ask("bad");
  fail_once("ADD bad", Fault::row);
  settle();
  EXPECT_EQ(std::ranges::count(server_.log, "COMMIT"), 2) << "nothing to commit";
  ask("f");
  settle();
  EXPECT_EQ(stored(), "a c e f ");
}

TEST_F(RelationalWorkers, ADeadlockRepeatsEverything) {
  for (const char* where : {"BEGIN", "SAVEPOINT", "ADD b", "INSERT INTO RTLane", "COMMIT"}) {
    server_.state.words.clear();
    ask("a"), ask("b"), ask("c");
    fail_once(where, Fault::conflict);
    settle();
    EXPECT_EQ(stored(), "a b c ") << where;
    EXPECT_EQ(answer("a") + answer("b") + answer("c"), "okokok") << where;
  }
  EXPECT_EQ(writer_.figures().conflicts.load(), 5u);
  EXPECT_EQ(server_.connections, 1u);
  fail_always("ADD b", Fault::conflict);
  ask("b"), ask("d");
  settle();
  EXPECT_EQ(answer("b") + answer("d"), "timeouttimeout") << "not for ever";
  EXPECT_EQ(stored(), "a b c ");
}

TEST_F(RelationalWorkers, LostBeforeCommitIsDoneAgain) {
  for (const Fault fault : {Fault::lost, Fault::timeout}) {
    for (const bool after : {false, true}) {
      for (const char* where : {"BEGIN", "SAVEPOINT", "ADD b", "INSERT INTO RTLane"}) {
        server_.state.words.clear();
        answers_.clear();
        ask("a"), ask("b");
        fail_once(where, fault, after);
        settle();
        EXPECT_EQ(stored(), "a b ") << where;
        EXPECT_EQ(answer("a") + answer("b"), "okok") << where;
      }
    }
  }
  EXPECT_EQ(server_.connections, 17u);
  EXPECT_EQ(writer_.figures().unknown.load(), 0u);
}

// Whether a COMMIT without an answer took effect is looked up: never twice, never lost.
TEST_F(RelationalWorkers, CommitWithoutAnAnswerIsLookedUp) {
  for (int round = 0; round < 50; ++round) {
    const bool after       = round % 2 == 0;
    const std::string word = "w" + std::to_string(round);
    ask(word), ask(word + "'");
    fail_once("COMMIT", round % 3 == 0 ? Fault::timeout : Fault::lost, after);
    settle();
    EXPECT_EQ(answer(word) + answer(word + "'"), "okok");
  }
  EXPECT_EQ(server_.state.words.size(), 100u);
  EXPECT_EQ(writer_.figures().unknown.load(), 50u);
}

TEST_F(RelationalWorkers, NobodyKnowsWhileTheServerIsAway) {
  for (const bool after : {false, true}) {
    server_.fails = [this, after](const std::string& sql) -> std::optional<FakeServer::Failure> {
      if (sql != "COMMIT") return std::nullopt;
      server_.refuses = Fault::lost;
      return FakeServer::Failure{Fault::lost, after};
    };
    ask("a");
    settle();
    EXPECT_EQ(answer("a"), "timeout");
    ask("b");
    settle();
    EXPECT_EQ(answer("b"), "os");
    server_.fails = [](const auto&) { return std::nullopt; };
    server_.refuses.reset();
    clock_.advance(Link::kBackoffMaxNs);
    answers_.clear();
    ask("c");
    settle();
    EXPECT_EQ(answer("c"), "ok");
    EXPECT_EQ(stored(), after ? "c a c " : "c ") << "and is not mistaken for the lost batch";
  }
}

TEST_F(RelationalWorkers, AwayIsAnAnswerAtOnceAndThenServiceResumes) {
  for (const Fault fault : {Fault::lost, Fault::too_many, Fault::denied}) {
    fail_once("BEGIN", Fault::lost);
    server_.refuses = fault;
    ask("a");
    settle();
    EXPECT_EQ(answer("a"), "os");
    const uint32_t before = server_.connections;
    server_.refuses.reset();
    ask("b");
    settle();
    EXPECT_EQ(answer("b"), "os") << "the pause between attempts is kept";
    clock_.advance(Link::kBackoffMinNs);
    ask("c");
    settle();
    EXPECT_EQ(answer("c"), "ok");
    EXPECT_EQ(server_.connections, before + 1);
    clock_.advance(kNsPerS);
  }
}

TEST_F(RelationalWorkers, PausesGrowToASecond) {
  fail_once("BEGIN", Fault::lost);
  server_.refuses = Fault::lost;
  std::vector<uint64_t> tries;
  uint64_t waited = 0;
  ask("first");
  settle();
  const sql::Connect count = server_.connect();
  uint32_t attempts        = 0;
  RelationalWriter other(
      [&]() {
        ++attempts;
        return count();
      },
      clock_, 1, 4, 4, 1);
  EXPECT_FALSE(other.open());
  for (uint32_t seen = attempts; tries.size() < 8; waited += 10 * kNsPerMs) {
    clock_.advance(10 * kNsPerMs);
    EXPECT_FALSE(other.open());
    if (attempts == seen) continue;
    seen = attempts;
    tries.push_back(waited);
    waited = 0;
  }
  EXPECT_LE(tries.front(), 60 * kNsPerMs);
  for (const uint64_t pause : tries) EXPECT_LE(pause, kNsPerS);
  EXPECT_GE(tries.back(), 900 * kNsPerMs);
}

// A server that has become a replica: what it refuses is refused, and the next batch looks for the master.
TEST_F(RelationalWorkers, AReadOnlyServerIsLeft) {
  fail_always("ADD", Fault::read_only);
  ask("a"), ask("b");
  settle();
  EXPECT_EQ(answer("a") + answer("b"), "refusedrefused");
  EXPECT_EQ(server_.connections, 1u);
  server_.fails = [](const auto&) { return std::nullopt; };
  ask("c");
  settle();
  EXPECT_EQ(answer("c"), "ok");
  EXPECT_EQ(server_.connections, 2u);
  EXPECT_EQ(stored(), "c ");
}

TEST_F(RelationalWorkers, AFullServerRefuses) {
  fail_once("COMMIT", Fault::full);
  ask("a");
  settle();
  EXPECT_EQ(answer("a"), "refused");
  ask("b");
  settle();
  EXPECT_EQ(stored(), "b ");
}

TEST_F(RelationalWorkers, AReaderTriesAnOldConnectionOnce) {
  RelationalReader reader(server_.connect(), clock_, 1, 16);
  std::vector<std::string> answers;
  const auto read = [&] {
    const auto work = [](Link& link) -> Result<bool> {
      auto rows = link.query("SELECT words");
      if (!rows) return std::unexpected(rows.error());
      return true;
    };
    using Call = RelationalCall<RelationalReader::Call, RelationalReader, bool,
                                std::decay_t<decltype(work)>>;
    std::unique_ptr<engine::Job> job = std::make_unique<Call>(
        reader, work, [&](Result<bool> result) { answers.push_back(result ? "ok" : "no"); });
    reader.add_load();
    ASSERT_TRUE(reader.submit(0, job));
    while (reader.run_some() > 0) {
    }
    while (reader.collect(0) > 0) {
    }
    EXPECT_EQ(reader.load(), 0u);
  };
  read();
  fail_once("SELECT words", Fault::lost);
  read();
  fail_always("SELECT words", Fault::lost);
  read();
  // What took as long as a time limit is not asked again.
  uint32_t asked = 0;
  server_.fails  = [&](const std::string& sql) -> std::optional<FakeServer::Failure> {
    if (sql != "SELECT words") return std::nullopt;
    ++asked;
    clock_.advance(4 * kNsPerS);
    return FakeServer::Failure{Fault::timeout, false};
  };
  read();
  EXPECT_EQ(asked, 1u);
  EXPECT_EQ(answers, (std::vector<std::string>{"ok", "ok", "no", "no"}));
}

}  // namespace
}  // namespace ringtalk::store
