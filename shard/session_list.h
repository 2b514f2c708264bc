// SessionList: 0x0201, with whom a user talks, newest first; 0x0206, taking somebody off the list.
//
//   user's home: ask() ─ his rows from the store
//      └─ sessions_ask to each shard that is home to some of the conversations
//   conversation's home: of those that are visible and newer than asked, the newest 100 and their
//      └─ newest messages: sessions_done; the last one completes the answer
//   user's home: remove() ─ newest id (ReadMarks) ─ hide the row up to it ─ answer, 0x020f, all is read
//
// Rule   A row is visible while its conversation's newest id is beyond what was hidden; its time is
//        that of the newest message. So the next message revives it, for its owner as for the peer,
//        and nothing is written for that. A group is on a member's list as soon as it has a message that
//        he may see; taken off, it comes back when he writes (or with limits.group_session_revive, when
//        anybody does).
// Bound  100 rows and 380 KiB per answer, the newest that fit; kReadsAtOnce per asking user and shard;
//        one answer per session at a time.
// Errors Storage failed: no list (an empty one would be believed); 0x0207 result 1.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "shard/context.h"
#include "shard/pool.h"

namespace ringtalk::shard {

class ReadMarks;

// What sessions_ask carries, one per conversation.
struct SessionWanted {
  ConversationId conversation;
  uint32_t peer;  // user or group
  uint32_t hidden_to;
};

// What sessions_done carries: each followed by `bytes` of the newest message.
struct SessionFound {
  uint32_t peer;  // user or group
  UserId author;
  uint32_t newest;
  uint32_t time;
  uint32_t bytes;
  uint8_t type;
  bool group;
};

class SessionList {
 public:
  static constexpr uint32_t kListMax   = 100;         // rows of one answer
  static constexpr uint64_t kCookieBit = 1ull << 62;  // marks our pages among the store's results

  SessionList(Context& context, ReadMarks& read_marks)
      : context_(context), read_marks_(read_marks) {}

  Taken ask(Session& session, uint16_t sequence, Bytes body);
  Taken remove(Session& session, uint16_t sequence, Bytes body);

  void on_ask(uint32_t from, const SessionsAsk& ask);
  void on_done(uint32_t from, const SessionsDone& done);
  void on_page(uint64_t cookie, Error error, std::span<const store::Message> page);
  void on_turn();

  bool idle() const { return gatherings_.used() + tallies_.used() + removals_.used() == 0; }

 private:
  static constexpr uint32_t kReadsAtOnce = 16;

  // An answer in the making, on the user's home.
  struct Gathering {
    SessionKey session;
    UserId user{};
    uint32_t since    = 0;
    uint32_t missing  = 0;  // shards that have not answered
    uint16_t sequence = 0;
    bool failed       = false;
    std::vector<engine::PayloadRef> found;
  };
  // One shard's share of it, on that shard.
  struct Tally {
    uint32_t origin    = 0;
    uint32_t gathering = 0;
    std::vector<SessionFound> wanted;  // newest first; peer, newest and time are known
    std::vector<ConversationId> conversations;
    size_t begun     = 0;
    uint32_t reading = 0;
    bool failed      = false;
    std::vector<std::byte> found;
  };
  struct Read {
    uint32_t tally = 0;
    uint32_t row   = 0;
    Error refused;  // by the store at once; told on the next turn
  };
  struct Removal {
    SessionKey session;
    UserId user{};
    ConversationId conversation;
    uint32_t newest   = 0;
    uint16_t sequence = 0;
  };
  struct Unsent {
    uint32_t to;
    SessionsAsk ask;
  };

  void on_rows(uint32_t gathering, Result<std::vector<store::SessionRow>> rows);
  void send(const Unsent& unsent);
  void arrived(uint32_t gathering, engine::PayloadRef found);
  void complete(uint32_t gathering);
  void advance(uint32_t tally);
  void read(uint32_t read);
  engine::PayloadRef encode(const Gathering& gathering) const;
  void hide(uint32_t removal);
  void removed(uint32_t removal, Result<void> hidden);
  void tell_removed(const Removal& removal);
  void answer_removal(Session& session, uint16_t sequence, uint32_t result, uint32_t type,
                      uint32_t peer);

  Context& context_;
  ReadMarks& read_marks_;
  Pool<Gathering> gatherings_;
  Pool<Tally> tallies_;
  Pool<Read> reads_;  // index = cookie
  Pool<Removal> removals_;
  std::deque<uint32_t> postponed_;  // reads that found the store's read queue full
  std::deque<uint32_t> unhidden_;   // removals that found the store full
  std::deque<Unsent> unsent_;       // found no credit
};

}  // namespace ringtalk::shard
