// Messages: chat, from a client's 0x0301 to the acknowledgement and the deliveries.
//
//   author's home                    conversation's home              receiver's home
//   send(): check, pace, repeat?     place(): open row if new,
//     └─ append_ask ───────────────▶   store.append()
//                                    on_appended(): durable
//   decided(): 0x0302, own devices ◀─ append_done
//                                      └─ deliver ─────────────────▶  deliver(): 0x0301
//
// One of the two users is the smaller id, so at most two shards take part; each hop falls away when
// both ends are the same shard. A group's home places its messages when Groups admits them, and Groups
// takes them to all its members, the author's other devices among them.
//
// Order       Results of a conversation come from the store in id order and lanes keep it, so every
//             session sees ids rising.
// Bound       kSendsInFlightMax per session, and the lanes' credits. What is not admitted waits:
//             send() answers Taken::waits, and its connection takes in no more than some KiB behind it.
// Outcome     ok, or refused before its deadline (4 s after dispatch) and then never stored. Refusals
//             are silent: stock clients have no other signal, and an id of 0 would read as success;
//             sessions that said hello get 0x2003.
// Repeats     Kept at the author's home: equal (seq, target, type, data) within 60 s, or an equal
//             client_msg_id within 24 h, gets the first one's id; while the first still waits, it joins.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "proto/frame.h"
#include "proto/message_view.h"
#include "shard/context.h"

namespace ringtalk::shard {

class Messages {
 public:
  explicit Messages(Context& context) : context_(context) {}
  ~Messages();

  // --- requests of a session on its home shard
  Taken send(Session& session, uint16_t sequence, const proto::MessageDataView& message);
  void confirm(Session& session, const proto::MessageAck& ack);
  // A message that the administration writes in a user's name, on that user's home; `to` is a user or a
  // group, as the type says. Not paced, and no repeat of anything. `done` may run at once. full: later.
  using Posted = std::move_only_function<void(Error, uint32_t msg_id, uint32_t time)>;
  Result<void> post(UserId author, const proto::MessageDataView& message, Posted done);

  // --- events
  void on_append_ask(uint32_t from, const AppendAsk& ask);
  void on_append_done(uint32_t from, const AppendDone& done);
  void on_deliver(const Deliver& deliver);

  // --- store
  void on_appended(const store::Appended& result);
  void recover(std::span<const store::Repeat> repeats);

  // --- from Groups, on the group's home: a placement that waited may be stored, or will not be
  void admitted(uint32_t placement);
  void refuse(uint32_t placement, Error error);

  // What found the store full; once per turn.
  void on_turn();
  // Deadlines of messages that wait for their conversation's row or for room in the store.
  void on_tick();
  void on_session_gone(Session& session);

  bool idle() const { return pending_used_ == 0 && placements_used_ == 0; }
  bool work_waits() const { return !unplaced_.empty() && store_has_room_; }

 private:
  // A send whose outcome is open, on the author's home.
  struct Pending {
    SessionKey session;
    UserId author{};
    uint32_t to         = 0;  // user or group
    uint64_t content    = 0;  // fingerprint of (target, type, data)
    uint64_t repeat_key = 0;
    uint64_t client_key = 0;
    uint64_t full_key   = 0;
    uint32_t next       = ~0u;  // of the session's list, oldest first, or of the free list
    uint16_t sequence   = 0;
    uint8_t type        = 0;
    bool joined         = false;  // others wait for the same outcome: see joined_
    bool posted         = false;  // no session sent it: see posted_
  };
  struct Joined {
    SessionKey session;
    uint16_t sequence;
  };
  // A message on its way into the store, on the conversation's home. Its index is the cookie.
  struct Placement {
    uint32_t origin  = 0;  // shard of `pending`
    uint32_t pending = 0;
    AppendHead head{};
    SessionKey session;          // the sender's
    engine::PayloadRef message;  // AppendHead and body; unset if the author is at home here
    uint32_t next = ~0u;
    bool reserved = false;  // a slot of the lane to the receiver's home
    bool admitted = false;  // by Groups, which waits for the outcome
  };
  // The first messages of a conversation, until its row is durable.
  struct Opening {
    bool asked = false;  // the store has the request
    std::vector<uint32_t> waiting;
  };
  struct Checked {
    uint32_t to;
    ConversationId conversation;
    uint64_t content;
    uint64_t repeat_key;
    uint64_t client_key;
    uint64_t full_key;
  };

  bool acceptable(const Session& session, const proto::MessageDataView& message) const;
  static bool acceptable_content(const proto::MessageDataView& message);
  static Checked fingerprints(UserId author, uint16_t sequence,
                              const proto::MessageDataView& message);
  // True: it repeats an earlier send and was dealt with.
  bool repeats(Session& session, uint16_t sequence, const proto::MessageDataView& message,
               const Checked& checked);
  void join(uint32_t pending, Session& session, uint16_t sequence);
  // session: null: it is posted. full: not now.
  Result<uint32_t> admit(UserId author, Session* session, uint16_t sequence,
                         const proto::MessageDataView& message, const Checked& checked);
  uint32_t make_pending(Session* session, uint16_t sequence, const AppendHead& head,
                        const Checked& checked);
  void drop_pending(uint32_t index);
  void forget_repeat(const Pending& pending);
  void unlink_from_session(uint32_t index);

  uint32_t make_placement(uint32_t origin, uint32_t pending, SessionKey session,
                          const AppendHead& head);
  void drop_placement(uint32_t index);
  static engine::PayloadRef pack(const AppendHead& head, Bytes body);
  static Bytes body_of(const engine::PayloadRef& message);
  // Into the store, or into the queue of what must wait for its conversation's row or for room.
  Result<void> store_now(uint32_t placement, Bytes body);
  void store_or_queue(uint32_t placement);
  void place(uint32_t placement);
  void open_conversation(ConversationId conversation);
  void on_opened(ConversationId conversation, Result<void> opened);
  void finish_placement(uint32_t placement, Error error, uint32_t msg_id, uint32_t time,
                        Bytes body);
  void tell_outcome(Placement placement, Error error, uint32_t msg_id, uint32_t time, Bytes body);

  void decided(uint32_t pending, Error error, uint32_t msg_id, uint32_t time, Bytes body);
  void tell_refused(SessionKey session, uint16_t sequence, uint32_t result);
  void acknowledge(SessionKey session, uint16_t sequence, UserId author, uint32_t to, uint8_t type,
                   uint32_t msg_id);
  void deliver(UserId to, UserId author, uint32_t msg_id, Bytes frame, const Session* except);
  void push_to(Session& session, Bytes frame, engine::PayloadRef& shared);

  Context& context_;
  std::vector<Pending> pending_;
  uint32_t pending_free_ = ~0u;
  uint32_t pending_used_ = 0;
  boost::unordered_flat_map<uint32_t, std::vector<Joined>> joined_;  // by pending; rare
  boost::unordered_flat_map<uint32_t, Posted> posted_;               // by pending; rare
  Posted posting_;  // of the pending that admit() is about to make
  std::vector<Placement> placements_;
  uint32_t placements_free_ = ~0u;
  uint32_t placements_used_ = 0;
  boost::unordered_flat_map<uint64_t, Opening> opening_;  // by conversation
  std::deque<uint32_t> unplaced_;  // placements that found the store full, in order
  bool store_has_room_ = true;
  std::vector<std::byte> scratch_;  // one outgoing frame
};

}  // namespace ringtalk::shard
