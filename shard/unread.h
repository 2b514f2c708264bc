// Unread: 0x0307, how many messages of others a user has not read, per conversation.
//
//   user's home: ask() ─ his conversations from the store, his read positions
//      └─ unread_ask to each shard that is home to some of them
//   conversation's home: the message at the read position, and the newest for the list: two look-ups
//      └─ unread_done; the last one completes the answer
//
// Rule   unread = newest − position − own − hidden, from the running counts in the records; nothing is
//        counted one by one, nothing is written per message and reader. In a group whoever writes has
//        read, so there is nothing of his own; what lies before his first message counts as read.
// Bound  kReadsAtOnce per asking user and shard; the newest entries that fit in 400 KiB are listed and
//        nothing more is read, total_cnt is the sum of those. One answer per session at a time.
// Errors Storage failed: no answer (an empty list would be believed). A conversation whose newest
//        message, or the one at the read position, is damaged is left out.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "shard/context.h"
#include "shard/pool.h"

namespace ringtalk::shard {

// What unread_ask carries, one per conversation.
struct UnreadWanted {
  ConversationId conversation;
  uint32_t cursor;
  uint32_t spare = 0;
};

// What unread_done carries: each followed by `bytes` of the newest message.
struct UnreadFound {
  uint32_t peer;  // user or group
  UserId author;
  uint32_t count;
  uint32_t newest;
  uint32_t time;
  uint32_t bytes;
  uint8_t type;
  bool group;
};

class Unread {
 public:
  // Marks our pages among the store's results: this bit, the tally << 32, the item.
  static constexpr uint64_t kCookieBit = 1ull << 63;

  explicit Unread(Context& context) : context_(context) {}

  Taken ask(Session& session, uint16_t sequence, Bytes body);
  void on_ask(uint32_t from, const UnreadAsk& ask);
  void on_done(uint32_t from, const UnreadDone& done);
  void on_page(uint64_t cookie, Error error, std::span<const store::Message> page);
  void on_turn();

  bool idle() const { return gatherings_.used() + tallies_.used() == 0; }

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
  };
  // One conversation, as it was when it was asked for.
  struct Item {
    UnreadWanted wanted;
    store::Head head;
    uint32_t count = 0;
    bool counted   = false;
  };
  // One shard's share of it, on that shard.
  struct Tally {
    uint32_t origin    = 0;
    uint32_t gathering = 0;
    UserId user{};
    std::vector<Item> items;  // newest first
    uint32_t begun   = 0;
    uint32_t reading = 0;
    bool failed      = false;
    std::vector<std::byte> found;
  };
  struct Unsent {
    uint32_t to;
    UnreadAsk ask;
  };

  void on_rows(uint32_t gathering, Result<std::vector<store::SessionRow>> rows);
  void ask_shard(uint32_t to, uint32_t gathering, UserId user,
                 std::span<const UnreadWanted> wanted);
  void arrived(uint32_t gathering, engine::PayloadRef found);
  void complete(uint32_t gathering);
  void advance(uint32_t tally);
  void read(uint64_t cookie);
  static uint32_t count_of(UserId user, const Item& item, const store::Head& seen);
  static void list(Tally& tally, const Item& item, const store::Message& newest);
  engine::PayloadRef encode(const Gathering& gathering);

  Context& context_;
  Pool<Gathering> gatherings_;
  Pool<Tally> tallies_;
  std::deque<uint64_t> postponed_;  // cookies of reads that found the store's queue full
  std::deque<Unsent> unsent_;       // found no credit
};

}  // namespace ringtalk::shard
