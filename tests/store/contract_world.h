// ContractWorld: what every driver of store.h has to keep, tried on any of them, with a slow model beside.
//
// A Deployment opens the driver, turns its shards and workers by hand, and drops it as a kill would. The model
// holds what was acknowledged; what a kill left without a result may be stored or not, but in order.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/clock.h"
#include "engine/random.h"
#include "store/store.h"

namespace ringtalk::store {

class Deployment {
 public:
  virtual ~Deployment() = default;

  // One sink per shard.
  virtual void open(const Homes& homes, std::span<Sink* const> sinks) = 0;
  virtual Store& store(uint32_t shard)                                = 0;
  virtual std::vector<Repeat> take_repeats(uint32_t shard)            = 0;
  virtual void run_workers()                                          = 0;
  // Everything is written; the stores are idle.
  virtual void close() = 0;
  // Nothing more is written.
  virtual void kill() = 0;

  engine::FakeClock& clock() { return clock_; }

 protected:
  engine::FakeClock clock_;
};

using MakeDeployment = std::function<std::unique_ptr<Deployment>()>;  // null: not here

struct Told {
  std::string body;
  uint32_t author = 0;
  uint32_t time   = 0;
  uint8_t type    = 0;
};

struct ReadPage {
  bool answered = false;
  Error error;
  std::vector<Message> messages;
  std::vector<std::string> bodies;
};

class ContractWorld {
 public:
  explicit ContractWorld(std::unique_ptr<Deployment> made) : deployment(std::move(made)) {}
  ~ContractWorld() { deployment->kill(); }

  static uint32_t home_of_user(UserId id, uint32_t shards) {
    return raw(id) * 2654435761u % shards;
  }
  static uint32_t home_of_conversation(ConversationId id, uint32_t shards) {
    return id.is_group() ? static_cast<uint32_t>(id.key * 2654435761u % shards)
                         : home_of_user(id.small(), shards);
  }

  void open(uint32_t count) {
    shards = count;
    sinks_.clear();
    std::vector<Sink*> list;
    for (uint32_t i = 0; i < count; ++i)
      list.push_back(sinks_.emplace_back(std::make_unique<Shard>(*this)).get());
    deployment->open({count, home_of_user, home_of_conversation}, list);
  }
  void kill() {
    deployment->kill();
    for (auto& [cookie, known] : sent) maybe[known.conversation].push_back(std::move(known.told));
    sent.clear();
    pages.clear();
  }
  void close() {
    run_until_idle();
    deployment->close();
    ASSERT_TRUE(sent.empty()) << "an append without a result";
  }

  Store& of(ConversationId conversation) {
    return deployment->store(home_of_conversation(conversation, shards));
  }
  Store& of(UserId user) { return deployment->store(home_of_user(user, shards)); }

  Result<void> send(ConversationId conversation, uint32_t author, std::string body,
                    uint8_t type = 0, uint64_t repeat = 0, uint64_t client = 0,
                    uint64_t deadline_ns = 0) {
    if (type == 0) type = conversation.is_group() ? 17 : 1;
    const uint64_t cookie = ++cookies;
    const auto taken      = of(conversation)
                           .append({.conversation = conversation,
                                    .author       = UserId(author),
                                    .type         = type,
                                    .body         = as_bytes(body),
                                    .repeat_key   = repeat,
                                    .client_key   = client,
                                    .full_key     = client ? client + 1 : 0,
                                    .deadline_ns  = deadline_ns,
                                    .cookie       = cookie});
    if (taken) sent[cookie] = {conversation, {std::move(body), author, 0, type}};
    return taken;
  }

  void turn() {
    for (uint32_t i = 0; i < shards; ++i)
      deployment->store(i).on_turn(deployment->clock().now_ns());
    deployment->run_workers();
  }
  void tick(uint64_t ns = 100 * kNsPerMs) {
    deployment->clock().advance(ns);
    for (uint32_t i = 0; i < shards; ++i)
      deployment->store(i).on_tick(deployment->clock().now_ns());
  }
  bool idle() {
    for (uint32_t i = 0; i < shards; ++i)
      if (!deployment->store(i).idle()) return false;
    return true;
  }
  void run_until_idle() {
    for (int i = 0; i < 20'000; ++i) {
      turn();
      if (idle() && i > 3) return;
      if (i % 8 == 7) tick();
    }
    FAIL() << "does not come to rest";
  }

  ReadPage page(ConversationId conversation, uint32_t from, uint32_t count,
                uint32_t bytes_max = 1 << 20) {
    const uint64_t cookie = ++cookies;
    EXPECT_TRUE(of(conversation).read_page({conversation, from, count, bytes_max, cookie}));
    for (int i = 0; i < 20'000 && !pages[cookie].answered; ++i) turn();
    ReadPage answer = std::move(pages[cookie]);
    pages.erase(cookie);
    EXPECT_TRUE(answer.answered);
    return answer;
  }

  void expect_page(ConversationId conversation, uint32_t from, uint32_t count, uint32_t bytes_max) {
    const ReadPage got = page(conversation, from, count, bytes_max);
    const auto& all    = model[conversation];
    const auto high =
        static_cast<uint32_t>(from == 0 ? all.size() : std::min<size_t>(from, all.size()));
    uint64_t sum    = 0;
    size_t expected = 0;
    for (uint32_t id = high; id >= 1 && expected < count; --id, ++expected) {
      sum += all[id - 1].body.size();
      if (expected > 0 && sum > bytes_max) break;
    }
    ASSERT_EQ(got.error.code, Errc::ok);
    ASSERT_EQ(got.messages.size(), expected)
        << "from " << from << " of " << all.size() << " count " << count;
    for (size_t i = 0; i < expected; ++i) {
      const uint32_t id  = high - static_cast<uint32_t>(i);
      const Told& wanted = all[id - 1];
      ASSERT_EQ(got.messages[i].msg_id, id);
      ASSERT_EQ(got.bodies[i], wanted.body);
      ASSERT_EQ(raw(got.messages[i].author), wanted.author);
      ASSERT_EQ(got.messages[i].type, wanted.type);
      ASSERT_EQ(got.messages[i].time, wanted.time);
      if (!conversation.is_group()) {
        ASSERT_EQ(got.messages[i].small_count, small_among(conversation, id));
      }
    }
  }
  uint32_t small_among(ConversationId conversation, uint32_t ids) {
    uint32_t small = 0;
    for (uint32_t i = 0; i < ids; ++i)
      small += model[conversation][i].author == raw(conversation.small());
    return small;
  }

  void check(ConversationId conversation) {
    const auto newest = static_cast<uint32_t>(model[conversation].size());
    const Head head   = of(conversation).head(conversation);
    ASSERT_EQ(head.newest, newest);
    if (newest > 0) {
      ASSERT_EQ(head.time, model[conversation].back().time);
    }
    if (!conversation.is_group()) {
      ASSERT_EQ(head.small_count, small_among(conversation, newest));
    }
    for (uint32_t from = newest; from > 0; from = from > 100 ? from - 100 : 0)
      ASSERT_NO_FATAL_FAILURE(expect_page(conversation, from, 100, 1 << 20));
  }
  void check_all() {
    std::vector<ConversationId> all;
    for (const auto& [conversation, messages] : model) all.push_back(conversation);
    for (const ConversationId conversation : all) ASSERT_NO_FATAL_FAILURE(check(conversation));
  }

  // After a kill: what has no result may be stored, in the order sent, behind what is known.
  void adopt_and_check() {
    std::map<ConversationId, bool> all;
    for (const auto& [conversation, messages] : model) all[conversation];
    for (const auto& [conversation, messages] : maybe) all[conversation];
    for (const auto& [conversation, unused] : all) {
      auto& known           = model[conversation];
      auto& candidates      = maybe[conversation];
      const uint32_t newest = of(conversation).head(conversation).newest;
      ASSERT_GE(newest, known.size()) << "acknowledged messages are missing";
      while (known.size() < newest) {
        const ReadPage got = page(conversation, static_cast<uint32_t>(known.size() + 1), 1);
        ASSERT_EQ(got.messages.size(), 1u);
        while (!candidates.empty() && candidates.front().body != got.bodies[0])
          candidates.pop_front();
        ASSERT_FALSE(candidates.empty()) << "a message nobody sent, or out of order";
        known.push_back(candidates.front());
        known.back().time = got.messages[0].time;
        candidates.pop_front();
      }
      candidates.clear();
      ASSERT_NO_FATAL_FAILURE(check(conversation));
    }
  }

  struct Sent {
    ConversationId conversation;
    Told told;
  };

  std::unique_ptr<Deployment> deployment;
  uint32_t shards  = 0;
  uint64_t cookies = 0;
  std::map<ConversationId, std::vector<Told>> model;
  std::map<ConversationId, std::deque<Told>> maybe;
  std::map<uint64_t, Sent> sent;
  std::map<uint64_t, ReadPage> pages;
  std::vector<Appended> refused;
  int failures = 0;

 private:
  struct Shard final : Sink {
    explicit Shard(ContractWorld& w) : world(w) {}
    void on_appended(const Appended& result) override { world.on_appended(result); }
    void on_page(uint64_t cookie, Error error, std::span<const Message> page) override {
      ReadPage& to = world.pages[cookie];
      ASSERT_FALSE(to.answered);
      to.answered = true;
      to.error    = error;
      for (const Message& message : page) {
        to.messages.push_back(message);
        to.bodies.emplace_back(as_text(message.body));
      }
    }
    void on_failed(Error) override { ++world.failures; }

    ContractWorld& world;
  };

  void on_appended(const Appended& result) {
    const auto at = sent.find(result.cookie);
    ASSERT_NE(at, sent.end()) << "a result nobody waits for";
    Sent known = std::move(at->second);
    sent.erase(at);
    ASSERT_EQ(result.conversation, known.conversation);
    ASSERT_EQ(raw(result.author), known.told.author);
    if (result.error.code != Errc::ok) {
      refused.push_back(result);
      return;
    }
    auto& messages = model[known.conversation];
    ASSERT_EQ(result.msg_id, messages.size() + 1) << "ids must be dense";
    ASSERT_EQ(as_text(result.body), known.told.body);
    if (!messages.empty()) {
      ASSERT_GE(result.time, messages.back().time);
    }
    known.told.time = result.time;
    messages.push_back(std::move(known.told));
  }

  std::vector<std::unique_ptr<Shard>> sinks_;
};

}  // namespace ringtalk::store
