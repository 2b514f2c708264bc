// Unread: 0x0307, how many messages of others a user has not read, per conversation.
//
//   user's home: ask() ─ his conversations from the store, his read positions
//      └─ unread_ask to each shard that is home to some of them
//   conversation's home: newest message, and the one at the read position: two look-ups each
//      └─ unread_done; the last one completes the answer
//
// Rule   unread = newest − position − own − hidden, from the running counts in the records; nothing is
//        counted one by one, nothing is written per message and reader.
// Bound  kReadsAtOnce per asking user and shard; the newest entries that fit in 400 KiB are listed,
//        total_cnt is the sum of those. One answer per session at a time.
// Errors Storage failed: no answer (an empty list would be believed).
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "shard/context.h"

namespace ringtalk::shard {

// What unread_ask carries, one per conversation.
struct UnreadWanted {
  ConversationId conversation;
  uint32_t cursor;
  uint32_t spare = 0;
};

// What unread_done carries: each followed by `bytes` of the newest message.
struct UnreadFound {
  UserId peer;
  UserId author;
  uint32_t count;
  uint32_t newest;
  uint32_t time;
  uint32_t bytes;
  uint8_t type;
};

class Unread {
 public:
  static constexpr uint64_t kCookieBit = 1ull << 63;  // marks our pages among the store's results

  explicit Unread(Context& context) : context_(context) {}

  Taken ask(Session& session, uint16_t sequence, Bytes body);
  void on_ask(uint32_t from, const UnreadAsk& ask);
  void on_done(uint32_t from, const UnreadDone& done);
  void on_page(uint64_t cookie, Error error, std::span<const store::Message> page);
  void on_turn();

  bool idle() const { return gatherings_used_ == 0 && tallies_used_ == 0; }

 private:
  static constexpr uint32_t kReadsAtOnce = 16;

  // An answer in the making, on the user's home.
  struct Gathering {
    SessionKey session;
    UserId user{};
    uint16_t sequence = 0;
    uint32_t missing  = 0;  // shards that have not answered
    bool failed       = false;
    std::vector<engine::PayloadRef> found;
    uint32_t next = ~0u;
  };
  // One shard's share of it, on that shard.
  struct Tally {
    uint32_t origin    = 0;
    uint32_t gathering = 0;
    UserId user{};
    std::vector<UnreadWanted> wanted;
    size_t begun     = 0;
    uint32_t reading = 0;
    bool failed      = false;
    std::vector<std::byte> found;
    uint32_t next = ~0u;
  };
  // One conversation being read.
  struct Item {
    uint32_t tally = 0;
    UnreadWanted wanted{};
    bool have_newest = false;
    UnreadFound entry{};
    uint32_t small_count = 0, hidden = 0;  // of the newest
    Error refused;                         // by the store at once; told on the next turn
    std::vector<std::byte> body;
    uint32_t next = ~0u;
  };
  struct Unsent {
    uint32_t to;
    UnreadAsk ask;
  };

  template <class T>
  static uint32_t take(std::vector<T>& pool, uint32_t& free);

  void on_conversations(uint32_t gathering, Result<std::vector<UserId>> peers);
  void ask_shard(uint32_t to, uint32_t gathering, UserId user,
                 std::span<const UnreadWanted> wanted);
  void arrived(uint32_t gathering, engine::PayloadRef found);
  void complete(uint32_t gathering);
  void advance(uint32_t tally);
  void read(uint32_t item);
  void finish_item(uint32_t item, const store::Message* at_cursor);
  engine::PayloadRef encode(const Gathering& gathering) const;

  Context& context_;
  std::vector<Gathering> gatherings_;
  uint32_t gatherings_free_ = ~0u;
  uint32_t gatherings_used_ = 0;
  std::vector<Tally> tallies_;
  uint32_t tallies_free_ = ~0u;
  uint32_t tallies_used_ = 0;
  std::vector<Item> items_;
  uint32_t items_free_ = ~0u;
  std::deque<uint32_t> postponed_;  // items that found the store's read queue full
  std::deque<Unsent> unsent_;       // found no credit
};

}  // namespace ringtalk::shard
