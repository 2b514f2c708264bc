// Bus: what a node tells the other nodes of a site: hints, each to be looked up again in the store.
//
// Contract     At most once, in any order, possibly lost: a node that misses a hint notices the gap in
//              the ids. A hint names things, it carries no content, so a forged or replayed one can
//              only cause a look-up.
// Forms        LocalBus: one node, nobody to tell. FakeBus: several nodes in one test, whose hints may
//              be lost, repeated and reordered. A site's bus over Redis takes the same interface.
// Thread rule  publish() and poll() on the shard that owns the bus.
// Why          An interface from the start: no code may assume that all devices of a user, or both
//              ends of a conversation, are in this process.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "engine/random.h"
#include "proto/ids.h"

namespace ringtalk::shard {

struct Hint {
  enum class Kind : uint8_t {
    message,  // conversation has `value` as its newest durable id
    user,     // this user's row changed
  };
  Kind kind = Kind::message;
  ConversationId conversation;
  UserId user{};
  uint32_t value = 0;

  friend bool operator==(const Hint&, const Hint&) = default;
};

class Bus {
 public:
  virtual ~Bus()                         = default;
  virtual void publish(const Hint& hint) = 0;
  virtual std::optional<Hint> poll()     = 0;  // from the other nodes
};

class LocalBus final : public Bus {
 public:
  void publish(const Hint&) override {}
  std::optional<Hint> poll() override { return std::nullopt; }
};

// One hub, one FakeBus per node.
class FakeBusHub {
 public:
  struct Faults {
    uint32_t lose_percent    = 0;
    uint32_t repeat_percent  = 0;
    uint32_t reorder_percent = 0;
  };

  FakeBusHub(engine::Random& random, Faults faults) : random_(random), faults_(faults) {}

  uint32_t join() {
    inboxes_.emplace_back();
    return static_cast<uint32_t>(inboxes_.size() - 1);
  }

  void publish(uint32_t from, const Hint& hint) {
    for (uint32_t to = 0; to < inboxes_.size(); ++to) {
      if (to == from || random_.below(100) < faults_.lose_percent) continue;
      deliver(inboxes_[to], hint);
      if (random_.below(100) < faults_.repeat_percent) deliver(inboxes_[to], hint);
    }
  }

  std::optional<Hint> poll(uint32_t node) {
    auto& inbox = inboxes_[node];
    if (inbox.empty()) return std::nullopt;
    const Hint hint = inbox.front();
    inbox.pop_front();
    return hint;
  }

 private:
  void deliver(std::deque<Hint>& inbox, const Hint& hint) {
    inbox.push_back(hint);
    if (inbox.size() > 1 && random_.below(100) < faults_.reorder_percent)
      std::swap(inbox.back(), inbox[random_.below(inbox.size())]);
  }

  engine::Random& random_;
  const Faults faults_;
  std::vector<std::deque<Hint>> inboxes_;
};

class FakeBus final : public Bus {
 public:
  explicit FakeBus(FakeBusHub& hub) : hub_(hub), node_(hub.join()) {}
  void publish(const Hint& hint) override { hub_.publish(node_, hint); }
  std::optional<Hint> poll() override { return hub_.poll(node_); }

 private:
  FakeBusHub& hub_;
  const uint32_t node_;
};

}  // namespace ringtalk::shard
