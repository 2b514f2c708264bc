// FakeRedis: a small Redis in memory, with what can go wrong between it and a client.
//
// It knows the commands that the mirror sends, and fails a test that sends another. Strings and hashes; the
// error texts are those of Redis 7.0.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "store/redis/connection.h"

namespace ringtalk::store::redis {

class FakeRedis {
 public:
  using Hash     = std::map<std::string, std::string>;
  using List     = std::vector<std::string>;  // no command of ours works on one
  using Value    = std::variant<std::string, Hash, List>;
  using Database = std::map<std::string, Value>;
  using Data     = std::map<uint32_t, Database>;

  Data data;

  // What is wrong.
  bool down          = false;  // nobody listens
  bool stopped       = false;  // SIGSTOP: what is sent is run when the test says run_late()
  bool out_of_memory = false;
  bool loading       = false;
  std::string password;

  // Before each command, with its number since the start: a test's place for mischief.
  std::function<void(uint64_t)> before;
  uint64_t commands = 0;
  uint64_t connects = 0;
  int64_t cut_after = -1;  // so many further commands are run, then the connection goes

  Database& db(uint32_t number = 0) { return data[number]; }
  void flush() { data.clear(); }
  // Every connection is gone; what they had sent is gone too.
  void restart(const Data& snapshot) {
    data = snapshot;
    late_.clear();
    ++life_;
  }
  void drop_connections() { ++life_; }
  // What was sent while it was stopped, by whomever.
  void run_late() {
    const auto late = std::exchange(late_, {});
    for (const Late& one : late)
      for (size_t i = 0; i < one.pipeline.size(); ++i) run(one.db, one.pipeline, i);
  }
  bool has_late() const { return !late_.empty(); }

  std::string string(const std::string& key, uint32_t number = 0) {
    const auto value = db(number).find(key);
    if (value == db(number).end()) return "(nil)";
    const auto* text = std::get_if<std::string>(&value->second);
    return text ? *text : "(another kind)";
  }
  Hash hash(const std::string& key, uint32_t number = 0) {
    const auto value = db(number).find(key);
    if (value == db(number).end()) return {};
    const auto* fields = std::get_if<Hash>(&value->second);
    return fields ? *fields : Hash{{"(another kind)", ""}};
  }

  Answer<std::unique_ptr<Connection>> connect(const Server& server) {
    ++connects;
    if (down) return std::unexpected(Trouble{Fault::lost, "Connection refused"});
    if (stopped)
      return std::unexpected(Trouble{Fault::timeout, "Resource temporarily unavailable"});
    if (server.password != password)
      return std::unexpected(Trouble{Fault::denied, "WRONGPASS invalid username-password pair"});
    if (loading) return std::unexpected(Trouble{Fault::loading, "LOADING"});
    return std::make_unique<Client>(*this, server.db, life_);
  }

 private:
  class Client final : public Connection {
   public:
    Client(FakeRedis& server, uint32_t db, uint64_t life) : server_(server), db_(db), life_(life) {}

    Answer<std::vector<Reply>> run(const Pipeline& pipeline) override {
      if (!alive()) return std::unexpected(Trouble{Fault::lost, "gone"});
      if (server_.stopped) {
        server_.late_.push_back({db_, pipeline});
        return lose(Fault::timeout);
      }
      std::vector<Reply> replies;
      for (size_t i = 0; i < pipeline.size(); ++i) {
        if (server_.before) server_.before(server_.commands);
        if (life_ != server_.life_ || server_.down) return lose(Fault::lost);
        if (server_.cut_after == 0) {
          server_.cut_after = -1;
          return lose(Fault::lost);
        }
        if (server_.cut_after > 0) --server_.cut_after;
        ++server_.commands;
        replies.push_back(server_.run(db_, pipeline, i));
      }
      return replies;
    }
    bool alive() const override { return alive_; }

   private:
    std::unexpected<Trouble> lose(Fault fault) {
      alive_ = false;
      return std::unexpected(Trouble{fault, "lost"});
    }

    FakeRedis& server_;
    const uint32_t db_;
    const uint64_t life_;
    bool alive_ = true;
  };

  struct Late {
    uint32_t db;
    Pipeline pipeline;
  };

  static Reply error(std::string text) {
    const Fault fault = fault_of_reply(text);
    return {fault, false, std::move(text)};
  }
  static Reply nil() { return {Fault::none, true, {}}; }

  Reply run(uint32_t number, const Pipeline& pipeline, size_t index) {
    std::vector<std::string> words;
    for (size_t i = 0; i < pipeline.words(index); ++i) words.emplace_back(pipeline.word(index, i));
    const std::string& name = words.at(0);
    const std::string& key  = words.at(1);
    if (loading) return error("LOADING Redis is loading the dataset in memory");
    const bool grows = name == "SET" || name == "MSET" || name == "GETSET" || name == "HSET";
    if (out_of_memory && grows)
      return error("OOM command not allowed when used memory > 'maxmemory'.");
    Database& keys   = db(number);
    const auto value = keys.find(key);
    const bool there = value != keys.end();
    const Reply kind = error("WRONGTYPE Operation against a key holding the wrong kind of value");
    if (name == "SET") {
      EXPECT_EQ(words.size(), 3u);
      keys[key] = words[2];
      return {Fault::none, false, "OK"};
    }
    if (name == "MSET") {
      EXPECT_EQ(words.size() % 2, 1u);
      for (size_t i = 1; i < words.size(); i += 2) keys[words[i]] = words[i + 1];
      return {Fault::none, false, "OK"};
    }
    if (name == "DEL") {
      EXPECT_EQ(words.size(), 2u);
      keys.erase(key);
      return {Fault::none, false, there ? "1" : "0"};
    }
    if (name == "GET" || name == "GETSET") {
      EXPECT_EQ(words.size(), name == "GET" ? 2u : 3u);
      if (there && !std::holds_alternative<std::string>(value->second)) return kind;
      const Reply old =
          there ? Reply{Fault::none, false, std::get<std::string>(value->second)} : nil();
      if (name == "GETSET") keys[key] = words[2];
      return old;
    }
    if (there && !std::holds_alternative<Hash>(value->second)) return kind;
    if (name == "HSET") {
      EXPECT_EQ(words.size(), 4u);
      if (!there) keys[key] = Hash();
      const bool fresh = std::get<Hash>(keys[key]).insert_or_assign(words[2], words[3]).second;
      return {Fault::none, false, fresh ? "1" : "0"};
    }
    if (name == "HDEL") {
      EXPECT_EQ(words.size(), 3u);
      if (!there) return {Fault::none, false, "0"};
      Hash& fields      = std::get<Hash>(value->second);
      const size_t gone = fields.erase(words[2]);
      if (fields.empty()) keys.erase(value);
      return {Fault::none, false, gone ? "1" : "0"};
    }
    ADD_FAILURE() << "a command that the fake does not know: " << name;
    return error("ERR unknown command");
  }

  std::deque<Late> late_;
  uint64_t life_ = 0;
};

}  // namespace ringtalk::store::redis
