// LogWorld: the message log over a fake disk and fake rings, with a slow model beside it.
//
// The model holds what the store acknowledged and, while results are out, what it may have stored.
// check() reads everything back through read_page() and compares.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/clock.h"
#include "engine/fake_disk.h"
#include "engine/fake_ring.h"
#include "engine/random.h"
#include "store/embedded/embedded_store.h"

namespace ringtalk::store {

inline uint32_t home_of_user(UserId id, uint32_t shards) { return raw(id) * 2654435761u % shards; }
inline uint32_t home_of_conversation(ConversationId id, uint32_t shards) {
  return id.is_group() ? static_cast<uint32_t>(id.key * 2654435761u % shards)
                       : home_of_user(id.small(), shards);
}
inline Homes homes(uint32_t shards) { return {shards, home_of_user, home_of_conversation}; }

struct ModelMessage {
  std::string body;
  uint32_t author = 0;
  uint32_t time   = 0;
  uint8_t type    = 0;
};

struct Page {
  bool answered = false;
  Error error;
  std::vector<Message> messages;
  std::vector<std::string> bodies;
};

class LogWorld {
 public:
  struct Shard final : Sink {
    explicit Shard(LogWorld& w) : world(w) {}
    void on_appended(const Appended& result) override { world.on_appended(result); }
    void on_page(uint64_t cookie, Error error, std::span<const Message> page) override {
      Page& to = world.pages[cookie];
      ASSERT_FALSE(to.answered);
      to.answered = true;
      to.error    = error;
      for (const Message& message : page) {
        to.messages.push_back(message);
        to.bodies.emplace_back(as_text(message.body));
      }
    }
    void on_failed(Error error) override {
      failed        = true;
      world.failure = error;
      ++world.failures;
    }

    LogWorld& world;
    engine::Metrics metrics;
    std::unique_ptr<engine::FakeRing> ring;
    std::unique_ptr<EmbeddedStore> store;
    bool failed = false;
  };

  struct Sent {
    ConversationId conversation;
    ModelMessage message;
    bool control = false;
  };

  explicit LogWorld(uint64_t seed = 1, uint64_t segment_size = kSegmentBytesMin)
      : random(seed), segment_bytes(segment_size), world(clock, &disk, seed) {}
  ~LogWorld() { drop(); }

  Result<void> open(uint32_t shards = 1) {
    auto opened = EmbeddedStores::open({.homes         = homes(shards),
                                        .segment_bytes = segment_bytes,
                                        .seed          = 77,
                                        .relational    = relational},
                                       disk, clock);
    if (!opened) return std::unexpected(opened.error());
    stores      = std::move(*opened);
    shard_count = shards;
    failure     = {};
    for (uint32_t i = 0; i < shards; ++i) {
      auto& shard = shards_.emplace_back(std::make_unique<Shard>(*this));
      shard->ring =
          std::make_unique<engine::FakeRing>(world, engine::FakeRing::Options{.faults = faults});
      shard->store = stores->make(i, *shard->ring, shard->metrics, *shard);
    }
    return {};
  }

  // As after SIGKILL: nothing is drained; what is in flight never comes home.
  void drop() {
    for (auto& shard : shards_) {
      shard->ring.reset();
      shard->store.reset();
    }
    shards_.clear();
    stores.reset();
    unknown();
  }
  // As after SIGTERM.
  Result<void> close() {
    for (auto& shard : shards_) shard->store->drain();
    run_until_idle();
    for (auto& shard : shards_) {
      shard->store.reset();
      shard->ring.reset();
    }
    shards_.clear();
    auto closed = stores->close();
    stores.reset();
    return closed;
  }
  void crash() {
    drop();
    disk.crash(random);
  }

  Shard& of(ConversationId conversation) {
    return *shards_[home_of_conversation(conversation, shard_count)];
  }
  Shard& of(UserId user) { return *shards_[home_of_user(user, shard_count)]; }

  Result<void> send(ConversationId conversation, uint32_t author, std::string body,
                    uint8_t type = 1, uint64_t repeat = 0, uint64_t client = 0,
                    uint64_t deadline_ns = 0) {
    const uint64_t cookie = ++cookies;
    auto ok               = of(conversation)
                  .store->append({.conversation = conversation,
                                  .author       = UserId(author),
                                  .type         = type,
                                  .body         = as_bytes(body),
                                  .repeat_key   = repeat,
                                  .client_key   = client,
                                  .full_key     = client ? client + 1 : 0,
                                  .deadline_ns  = deadline_ns,
                                  .cookie       = cookie});
    if (ok) sent[cookie] = {conversation, {std::move(body), author, 0, type}};
    return ok;
  }

  void turn() {
    for (auto& shard : shards_) {
      shard->ring->turn(0);
      shard->store->on_turn(clock.now_ns());
    }
    if (run_workers) stores->run_workers();
  }
  void tick() {
    clock.advance(100 * kNsPerMs);
    for (auto& shard : shards_) shard->store->on_tick(clock.now_ns());
  }
  bool idle() const {
    for (const auto& shard : shards_)
      if (!shard->failed && !shard->store->idle()) return false;
    return true;
  }
  void run_until_idle(int turns_max = 200'000) {
    for (int i = 0; i < turns_max; ++i) {
      turn();
      if (idle() && i > 3) return;
      if (i % 8 == 7) tick();
    }
    FAIL() << "does not come to rest";
  }

  Page page(ConversationId conversation, uint32_t from, uint32_t count,
            uint32_t bytes_max = 1 << 20) {
    const uint64_t cookie = ++cookies;
    auto ok = of(conversation).store->read_page({conversation, from, count, bytes_max, cookie});
    EXPECT_TRUE(ok.has_value());
    for (int i = 0; i < 200'000 && !pages[cookie].answered; ++i) {
      turn();
      clock.advance(10 * kNsPerUs);
    }
    Page answer = std::move(pages[cookie]);
    pages.erase(cookie);
    EXPECT_TRUE(answer.answered);
    return answer;
  }

  // What page() must say, from the model.
  void expect_page(ConversationId conversation, uint32_t from, uint32_t count, uint32_t bytes_max) {
    const Page got  = page(conversation, from, count, bytes_max);
    const auto& all = model[conversation];
    const auto high =
        static_cast<uint32_t>(from == 0 ? all.size() : std::min<size_t>(from, all.size()));
    uint64_t sum    = 0;
    size_t expected = 0;
    for (uint32_t id = high; id >= 1 && expected < std::min(count, PageReader::kMessagesMax);
         --id) {
      sum += all[id - 1].body.size();
      if (expected > 0 && sum > std::min(bytes_max, PageReader::kBytesMax)) break;
      ++expected;
    }
    ASSERT_EQ(static_cast<int>(got.error.code), 0);
    ASSERT_EQ(got.messages.size(), expected)
        << "from " << from << " of " << all.size() << " count " << count;
    for (size_t i = 0; i < expected; ++i) {
      const uint32_t id = high - static_cast<uint32_t>(i);
      expect_message(conversation, got, i, id);
    }
  }

  void expect_message(ConversationId conversation, const Page& got, size_t i, uint32_t id) {
    const ModelMessage& wanted = model[conversation][id - 1];
    ASSERT_EQ(got.messages[i].msg_id, id);
    ASSERT_EQ(got.bodies[i], wanted.body);
    ASSERT_EQ(raw(got.messages[i].author), wanted.author);
    ASSERT_EQ(got.messages[i].type, wanted.type);
    ASSERT_EQ(got.messages[i].time, wanted.time);
    if (!conversation.is_group()) {
      uint32_t small = 0;
      for (uint32_t m = 0; m < id; ++m)
        small += model[conversation][m].author == raw(conversation.small());
      ASSERT_EQ(got.messages[i].small_count, small);
    }
  }

  // After a crash: results that never came may be stored, in the order sent, behind what is known.
  // Takes them over from the store; everything else must match exactly.
  void adopt_and_check() {
    std::set<ConversationId> all;
    for (const auto& [conversation, messages] : model) all.insert(conversation);
    for (const auto& [conversation, messages] : maybe) all.insert(conversation);
    for (ConversationId conversation : all) {
      auto& known         = model[conversation];
      const uint32_t head = of(conversation).store->head(conversation).newest;
      ASSERT_GE(head, known.size()) << "acknowledged messages are missing";
      auto& candidates = maybe[conversation];
      while (known.size() < head) {
        const auto id  = static_cast<uint32_t>(known.size() + 1);
        const Page got = page(conversation, id, 1);
        ASSERT_EQ(got.messages.size(), 1u);
        bool found = false;
        while (!candidates.empty() && !found) {
          found = candidates.front().body == got.bodies[0];
          if (found) {
            known.push_back(candidates.front());
            known.back().time = got.messages[0].time;
          }
          candidates.pop_front();
        }
        ASSERT_TRUE(found) << "a message nobody sent, or out of order";
      }
      candidates.clear();
      check(conversation);
    }
  }

  void check(ConversationId conversation) {
    const auto newest = static_cast<uint32_t>(model[conversation].size());
    ASSERT_EQ(of(conversation).store->head(conversation).newest, newest);
    for (uint32_t from = newest; from > 0; from = from > 100 ? from - 100 : 0)
      ASSERT_NO_FATAL_FAILURE(expect_page(conversation, from, 100, 1 << 20));
  }
  void check_all() {
    std::vector<ConversationId> all;
    for (const auto& [conversation, messages] : model) all.push_back(conversation);
    for (ConversationId conversation : all) ASSERT_NO_FATAL_FAILURE(check(conversation));
  }

  std::map<ConversationId, std::vector<ModelMessage>> model;
  std::map<ConversationId, std::deque<ModelMessage>> maybe;
  std::map<uint64_t, Sent> sent;
  std::map<uint64_t, Page> pages;
  std::vector<Appended> refused;
  std::vector<uint64_t> order;  // cookies of results, as they came
  uint64_t cookies = 0;
  Error failure;
  int failures           = 0;  // told, by all shards
  Relational* relational = nullptr;

  engine::SeededRandom random;
  uint64_t segment_bytes;
  engine::FakeClock clock;
  engine::FakeDisk disk;
  engine::FakeWorld world;
  engine::FakeFaults faults;
  bool run_workers = true;
  std::unique_ptr<EmbeddedStores> stores;
  std::vector<std::unique_ptr<Shard>> shards_;
  uint32_t shard_count = 0;

 private:
  void on_appended(const Appended& result) {
    auto it = sent.find(result.cookie);
    ASSERT_NE(it, sent.end()) << "a result nobody waits for";
    Sent known = std::move(it->second);
    sent.erase(it);
    order.push_back(result.cookie);
    if (known.control) return;
    ASSERT_EQ(result.conversation, known.conversation);
    ASSERT_EQ(raw(result.author), known.message.author);
    if (result.error.code != Errc::ok) {
      refused.push_back(result);
      return;
    }
    auto& messages = model[known.conversation];
    ASSERT_EQ(result.msg_id, messages.size() + 1) << "ids must be dense";
    ASSERT_EQ(as_text(result.body), known.message.body);
    if (!messages.empty()) {
      ASSERT_GE(result.time, messages.back().time);
    }
    known.message.time = result.time;
    messages.push_back(std::move(known.message));
  }

  // Results that will never come.
  void unknown() {
    for (auto& [cookie, known] : sent)
      if (!known.control) maybe[known.conversation].push_back(std::move(known.message));
    sent.clear();
    pages.clear();
  }
};

inline ConversationId pair(uint32_t a, uint32_t b) {
  return ConversationId::single(UserId(a), UserId(b));
}
inline ConversationId group(uint32_t id) { return ConversationId::group(GroupId(id)); }

}  // namespace ringtalk::store
