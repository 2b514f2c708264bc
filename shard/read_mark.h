// ReadMarks: 0x0303, how far a user has read a conversation, and 0x0304 for his other devices.
//
//   user's home: ask() ── newest_ask ──▶ conversation's home: its newest id ── newest_done ──▶ move()
//
// Rule   position = max(position, min(msg_id, newest)); msg_id 0 is the newest. Only a position that
//        really moved is told to the other devices: clients answer 0x0304 with another 0x0303.
// Order  The session is busy until its mark is set: a count asked for behind it knows of it.
// Bound  One mark per session at a time. What moves nothing is decided here, without asking anybody.
// Why    Positions live at the user's home, where his devices are; ids at the conversation's. Nobody
//        can mark what does not exist, so there are no positions in conversations that nobody began.
#pragma once

#include <deque>
#include <functional>

#include "proto/message_view.h"
#include "shard/context.h"
#include "shard/pool.h"

namespace ringtalk::shard {

class ReadMarks {
 public:
  using Newest = std::move_only_function<void(uint32_t newest)>;

  explicit ReadMarks(Context& context) : context_(context) {}

  Taken ask(Session& session, const proto::MessageAck& ack);
  // The newest durable id, 0: nobody wrote. done() runs within the call if the conversation lives here.
  void find_newest(ConversationId conversation, Newest done);
  // On the user's home; newest as find_newest() told it. The other devices are not told.
  void read_all(UserId user, ConversationId conversation, uint32_t newest) {
    context_.store.set_cursor(user, conversation, newest);
  }

  void on_newest_ask(uint32_t from, const NewestAsk& ask);
  void on_newest_done(uint32_t from, const NewestDone& done);
  void on_turn();

  bool idle() const { return waiting_.used() == 0; }

 private:
  struct Mark {
    SessionKey session;
    UserId user{};
    ConversationId conversation;
    uint32_t msg_id = 0;
  };
  struct Waiting {
    Mark mark;
    Newest done;  // set: somebody else's question
  };
  struct Unsent {
    uint32_t to;
    NewestAsk ask;
  };

  uint32_t position_of(const Mark& mark) const;
  void move(const Mark& mark, uint32_t newest);
  void tell_others(const Mark& mark, uint32_t position);

  Context& context_;
  Pool<Waiting> waiting_;      // index = ticket
  std::deque<Unsent> unsent_;  // found no credit
};

}  // namespace ringtalk::shard
