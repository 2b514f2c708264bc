// FakeMySql: as much of a MySQL server as message lanes use, in memory: transactions, savepoints, unique keys,
// row locks, named locks, connections that are lost while the server goes on. Faults at every call, by chance
// or planned.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "engine/clock.h"
#include "engine/random.h"
#include "store/mysql/connection.h"

namespace ringtalk::store::sql {

struct FakeMessage {
  uint64_t author = 0, peer = 0, time = 0, type = 0, small = 0;
  std::string content;
  std::string key;
  bool operator==(const FakeMessage&) const = default;
};

class FakeMySql {
 public:
  using MessageKey = std::tuple<bool, uint64_t, uint64_t>;  // group?, relation, rtSeq
  using CursorKey  = std::tuple<uint64_t, uint64_t, uint64_t>;

  // Chances in a thousand of each call.
  struct Chances {
    uint32_t lost_before = 0;  // the call does not arrive
    uint32_t lost_after  = 0;  // its answer does not
    uint32_t stuck       = 0;  // of the lost: the server has not noticed, its locks stay
    uint32_t deadlock    = 0;
    uint32_t unwilling   = 0;  // read-only, full, …
    uint32_t unreachable = 0;  // of connecting
    uint32_t slow        = 0;  // time passes
    uint32_t neighbour   = 0;  // of BEGIN: another node writes in between
  };
  struct Planned {
    std::string statement;  // how it begins
    Fault fault = Fault::lost;
    bool after  = false;  // it takes effect
  };

  FakeMySql(engine::FakeClock& c, uint64_t seed) : clock(c), random(seed) {}

  Answer<std::unique_ptr<Connection>> connect();
  size_t open_transactions() const {
    return static_cast<size_t>(std::ranges::count_if(
        sessions_, [](const auto& session) { return session.second.in_transaction; }));
  }

  // --- what is committed, or will be
  std::map<uint64_t, uint64_t> lanes;
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> relations;
  std::map<MessageKey, FakeMessage> messages;
  std::map<CursorKey, uint64_t> cursors;
  std::map<std::pair<uint64_t, std::string>, std::pair<uint64_t, uint64_t>> clients;  // msgId, time
  std::map<uint64_t, uint64_t> sounds;  // duration, by audio
  std::map<uint64_t, std::string> sound_bytes;

  engine::FakeClock& clock;
  engine::SeededRandom random;
  Chances chances;
  std::deque<Planned> planned;               // the first is looked for
  std::function<void()> on_slow  = [] {};    // while a call hangs
  std::function<void()> on_begin = [] {};    // before a transaction: another node's moment
  std::string unfit              = "unfit";  // contents with it are refused
  std::map<std::string, uint32_t> calls;     // by first two words
  uint32_t commits = 0;

 private:
  friend class FakeConnection;
  struct Session {
    bool in_transaction = false;
    std::vector<std::function<void()>> undo;
    size_t savepoint = 0;
    std::optional<uint64_t> lane_lock;  // of the row in RTLane
    std::set<std::string> named_locks;
  };

  bool chance(uint32_t per_mille) { return per_mille > 0 && random.below(1000) < per_mille; }
  void roll_back(Session& session, size_t to = 0) {
    while (session.undo.size() > to) {
      session.undo.back()();
      session.undo.pop_back();
    }
    if (to == 0) session.in_transaction = false, session.lane_lock.reset();
  }
  void end(uint64_t id) {
    const auto at = sessions_.find(id);
    if (at == sessions_.end()) return;
    roll_back(at->second);
    sessions_.erase(at);
  }

  std::map<uint64_t, Session> sessions_;
  uint64_t next_session_  = 1;
  uint64_t next_audio_    = 1;
  uint64_t next_relation_ = 1;
};

class FakeConnection final : public Connection {
 public:
  FakeConnection(FakeMySql& server, uint64_t id) : server_(server), id_(id) {}
  ~FakeConnection() override {
    if (alive_) server_.end(id_);  // said goodbye
  }

  using Connection::execute;
  using Connection::query;

  Answer<Rows> query(std::string_view sql, std::span<const Value> values) override {
    Rows rows;
    auto done = call(sql, [&]() -> Answer<void> { return select(sql, values, rows); });
    if (!done) return std::unexpected(done.error());
    return rows;
  }
  Answer<Done> execute(std::string_view sql, std::span<const Value> values) override {
    Done out;
    auto done = call(sql, [&]() -> Answer<void> { return change(sql, values, out); });
    if (!done) return std::unexpected(done.error());
    return out;
  }
  Answer<Done> execute_many(std::string_view sql, std::span<const Column> columns,
                            size_t rows) override {
    Done out;
    auto done = call(sql, [&]() -> Answer<void> {
      for (size_t row = 0; row < rows; ++row) {  // what comes before a bad row is in
        std::vector<Value> values;
        for (const Column& column : columns) {
          if (!column.nulls.empty() && column.nulls[row])
            values.push_back(std::monostate());
          else if (!column.numbers.empty())
            values.push_back(column.numbers[row]);
          else
            values.push_back(column.texts[row]);
        }
        if (auto changed = change(sql, values, out); !changed) return changed;
      }
      return {};
    });
    if (!done) return std::unexpected(done.error());
    return out;
  }
  Answer<void> run(std::string_view sql) override {
    return call(sql, [&]() -> Answer<void> { return control(sql); });
  }
  bool alive() const override { return alive_; }

 private:
  using Session = FakeMySql::Session;

  static std::unexpected<Trouble> trouble(Fault fault) {
    return std::unexpected(Trouble{fault, 1, "fake"});
  }
  std::unexpected<Trouble> lose(Fault fault, bool stuck) {
    alive_ = false;
    if (!stuck) server_.end(id_);
    return trouble(fault);
  }

  template <class Do>
  Answer<void> call(std::string_view sql, Do&& effect) {
    const size_t first = sql.find(' ');
    ++server_.calls[std::string(sql.substr(
        0, first == std::string_view::npos ? first : sql.find_first_of(" (", first + 1)))];
    if (!alive_) return trouble(Fault::lost);
    if (!server_.sessions_.contains(id_)) return lose(Fault::lost, false);  // killed
    const auto& chances = server_.chances;
    if (server_.chance(chances.slow)) {
      server_.clock.advance(server_.random.below(1500) * kNsPerMs);
      server_.on_slow();
    }
    if (!server_.planned.empty() && sql.starts_with(server_.planned.front().statement)) {
      const FakeMySql::Planned plan = server_.planned.front();
      server_.planned.pop_front();
      return fail_as(plan.fault, plan.after, false, effect);
    }
    if (server_.chance(chances.lost_before) || server_.chance(chances.lost_after)) {
      const bool after = chances.lost_after > 0 && server_.random.below(2);
      return fail_as(server_.random.below(3) ? Fault::lost : Fault::timeout, after,
                     server_.chance(chances.stuck), effect);
    }
    if (server_.chance(chances.deadlock)) return fail_as(Fault::conflict, false, false, effect);
    if (server_.chance(chances.unwilling)) {
      constexpr Fault kFaults[] = {Fault::read_only, Fault::full, Fault::too_many, Fault::other};
      const bool lock = sql.find("_LOCK(") != std::string_view::npos;  // other: knows no such thing
      return fail_as(kFaults[server_.random.below(lock ? 3 : 4)], false, false, effect);
    }
    return effect();
  }

  template <class Do>
  Answer<void> fail_as(Fault fault, bool after, bool stuck, Do& effect) {
    if (after) (void)effect();
    if (fault == Fault::lost || fault == Fault::timeout) return lose(fault, stuck);
    if (fault == Fault::conflict) server_.roll_back(session());
    return trouble(fault);
  }

  Session& session() { return server_.sessions_.at(id_); }
  static uint64_t number(const Value& value) {
    if (const auto* n = std::get_if<uint64_t>(&value)) return *n;
    return 0;
  }
  static std::string text(const Value& value) {
    if (const auto* t = std::get_if<std::string_view>(&value)) return std::string(*t);
    if (const auto* b = std::get_if<Bytes>(&value)) return std::string(as_text(*b));
    return {};
  }
  template <class Map>
  void put(Map& map, const typename Map::key_type& key, typename Map::mapped_type value) {
    const auto at = map.find(key);
    std::optional<typename Map::mapped_type> before;
    if (at != map.end()) before = at->second;
    if (session().in_transaction)
      session().undo.push_back([&map, key, before] {
        if (before)
          map[key] = *before;
        else
          map.erase(key);
      });
    map[key] = std::move(value);
  }

  Answer<void> control(std::string_view sql) {
    Session& mine = session();
    if (sql == "BEGIN") {
      EXPECT_FALSE(mine.in_transaction);
      server_.on_begin();
      mine.in_transaction = true;
    } else if (sql == "COMMIT") {
      EXPECT_TRUE(mine.in_transaction);
      mine.undo.clear();
      server_.roll_back(mine);
      ++server_.commits;
    } else if (sql == "ROLLBACK") {
      server_.roll_back(mine);
    } else if (sql.starts_with("SAVEPOINT")) {
      mine.savepoint = mine.undo.size();
    } else if (sql.starts_with("ROLLBACK TO")) {
      while (mine.undo.size() > mine.savepoint) {
        mine.undo.back()();
        mine.undo.pop_back();
      }
    } else if (!sql.starts_with("SET")) {
      ADD_FAILURE() << "unknown: " << sql;
    }
    return {};
  }

  // The row of the lane with its lock; a transaction of another connection may have it.
  bool lock_lane(uint64_t lane) {
    for (const auto& [id, other] : server_.sessions_)
      if (id != id_ && other.lane_lock == lane) return false;
    session().lane_lock = lane;
    return true;
  }

  Answer<void> select(std::string_view sql, std::span<const Value> values, Rows& rows) {
    if (sql.starts_with("SELECT batchNo")) {
      if (!lock_lane(number(values[0]))) return trouble(Fault::conflict);
      rows = Rows(1);
      if (server_.lanes.contains(number(values[0]))) rows.add(server_.lanes[number(values[0])]);
    } else if (sql.starts_with("SELECT IS_USED_LOCK")) {
      rows = Rows(1);
      for (const auto& [id, other] : server_.sessions_)
        if (other.named_locks.contains(std::to_string(number(values[0])))) {
          rows.add(id);
          return {};
        }
      rows.add_null();
    } else if (sql.starts_with("SELECT GET_LOCK")) {
      const std::string name = std::to_string(number(values[0]));
      const bool taken       = std::ranges::any_of(server_.sessions_, [&](const auto& other) {
        return other.first != id_ && other.second.named_locks.contains(name);
      });
      if (!taken) session().named_locks.insert(name);
      rows = Rows(1);
      rows.add(uint64_t{taken ? 0u : 1u});
    } else if (sql.starts_with("SELECT id FROM IMRelationShip")) {
      rows          = Rows(1);
      const auto at = server_.relations.find({number(values[0]), number(values[1])});
      if (at != server_.relations.end()) rows.add(at->second);
    } else if (sql.starts_with("SELECT newest, small")) {
      rows = Rows(4);
    } else if (sql.starts_with("SELECT rtSeq, created")) {
      rows             = Rows(3);
      const bool group = sql.find("IMGroupMessage_") != std::string_view::npos;
      auto at          = server_.messages.upper_bound({group, number(values[0]), UINT64_MAX});
      if (at == server_.messages.begin()) return {};
      --at;
      if (std::get<0>(at->first) != group || std::get<1>(at->first) != number(values[0])) return {};
      rows.add(std::get<2>(at->first));
      rows.add(at->second.time);
      rows.add(at->second.small);
    } else {
      ADD_FAILURE() << "unknown: " << sql;
    }
    return {};
  }

  Answer<void> change(std::string_view sql, std::span<const Value> values, Done& done) {
    const auto n = [&](size_t i) { return number(values[i]); };
    done.rows += 1;
    if (sql.starts_with("UPDATE RTLane")) {
      EXPECT_TRUE(session().in_transaction);
      if (!lock_lane(n(1))) return trouble(Fault::conflict);
      if (!server_.lanes.contains(n(1)) || server_.lanes[n(1)] != n(2)) {
        done.rows = 0;
        return {};
      }
      put(server_.lanes, n(1), n(0));
    } else if (sql.starts_with("KILL")) {
      server_.end(n(0));
    } else if (sql.starts_with("INSERT INTO IMRelationShip")) {
      if (server_.relations.contains({n(0), n(1)})) return trouble(Fault::duplicate);
      done.insert_id = server_.next_relation_++;
      put(server_.relations, {n(0), n(1)}, done.insert_id);
    } else if (sql.starts_with("INSERT INTO IMMessage_")) {
      return insert({false, n(0), n(8)},
                    {n(1), n(2), n(6), n(5), n(10), text(values[4]), text(values[9])}, sql, n(3));
    } else if (sql.starts_with("INSERT INTO IMGroupMessage_")) {
      return insert({true, n(0), n(7)}, {n(1), 0, n(5), n(4), 0, text(values[3]), text(values[8])},
                    sql, n(2));
    } else if (sql.starts_with("INSERT INTO IMAudio")) {
      done.insert_id = server_.next_audio_++;
      put(server_.sounds, done.insert_id, n(3));
    } else if (sql.starts_with("INSERT INTO RTAudio")) {
      if (text(values[1]).find(server_.unfit) != std::string::npos) return trouble(Fault::row);
      put(server_.sound_bytes, n(0), text(values[1]));
    } else if (sql.starts_with("REPLACE INTO RTClientMsg")) {
      put(server_.clients, {n(0), text(values[1])}, {n(4), n(6)});
    } else if (sql.starts_with("DELETE FROM RTClientMsg")) {
      std::erase_if(server_.clients, [&](const auto& row) { return row.second.second < n(0); });
    } else if (sql.starts_with("INSERT INTO RTReadCursor")) {
      const FakeMySql::CursorKey key{n(0), n(1), n(2)};
      const auto at = server_.cursors.find(key);
      put(server_.cursors, key, at == server_.cursors.end() ? n(3) : std::max(at->second, n(3)));
    } else {
      ADD_FAILURE() << "unknown: " << sql;
    }
    return {};
  }

  Answer<void> insert(const FakeMySql::MessageKey& key, FakeMessage message, std::string_view sql,
                      uint64_t msg_id) {
    EXPECT_TRUE(session().in_transaction);
    EXPECT_EQ(msg_id, std::get<2>(key));
    EXPECT_NE(std::get<1>(key), 0u);
    const std::string table = "Message_" + std::to_string(std::get<1>(key) % 8) + " ";
    EXPECT_NE(sql.find(table), std::string_view::npos) << sql;
    if (message.content.find(server_.unfit) != std::string::npos) return trouble(Fault::row);
    if (server_.messages.contains(key)) return trouble(Fault::duplicate);
    put(server_.messages, key, std::move(message));
    return {};
  }

  FakeMySql& server_;
  const uint64_t id_;
  bool alive_ = true;
};

inline Answer<std::unique_ptr<Connection>> FakeMySql::connect() {
  if (chance(chances.unreachable)) return std::unexpected(Trouble{Fault::lost, 2, "unreachable"});
  sessions_[next_session_];
  return std::make_unique<FakeConnection>(*this, next_session_++);
}

}  // namespace ringtalk::store::sql
