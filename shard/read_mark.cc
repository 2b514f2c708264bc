#include "shard/read_mark.h"

#include <algorithm>
#include <utility>

#include "proto/message.pb.h"
#include "shard/frames.h"

namespace ringtalk::shard {

Taken ReadMarks::ask(Session& session, const proto::MessageAck& ack) {
  const Mark mark{session.key, session.user, UserId(ack.session_id), ack.msg_id};
  // A group that he is not in and one that does not exist look the same; there are none yet.
  if (ack.session_type != proto::SessionType::single || mark.peer == mark.user ||
      raw(mark.peer) == 0)
    return Taken::taken;
  const auto conversation = ConversationId::single(mark.user, mark.peer);
  if (mark.msg_id != 0 && mark.msg_id <= context_.store.cursor(mark.user, conversation))
    return Taken::taken;
  const uint32_t at = context_.home_of(conversation);
  if (at == context_.self) {
    move(mark, context_.store.head(conversation).newest);
    return Taken::taken;
  }
  if (!context_.mailbox.open_request(at)) return context_.stall(session);
  const uint32_t ticket = waiting_.take();
  waiting_[ticket].mark = mark;
  session.busy          = true;
  context_.mailbox.push(at, Event::of(NewestAsk{ticket, conversation}));
  return Taken::taken;
}

void ReadMarks::find_newest(ConversationId conversation, Newest done) {
  const uint32_t at = context_.home_of(conversation);
  if (at == context_.self) return done(context_.store.head(conversation).newest);
  const uint32_t ticket = waiting_.take();
  waiting_[ticket].done = std::move(done);
  unsent_.push_back({at, {ticket, conversation}});
  on_turn();
}

void ReadMarks::on_turn() {
  for (size_t n = unsent_.size(); n > 0; --n) {
    const Unsent unsent = unsent_.front();
    unsent_.pop_front();
    if (context_.mailbox.open_request(unsent.to)) {
      context_.mailbox.push(unsent.to, Event::of(unsent.ask));
    } else {
      unsent_.push_back(unsent);
    }
  }
}

void ReadMarks::on_newest_ask(uint32_t from, const NewestAsk& ask) {
  const uint32_t newest = context_.store.head(ask.conversation).newest;
  context_.mailbox.reply(from, Event::of(NewestDone{ask.ticket, newest}));
}

void ReadMarks::on_newest_done(uint32_t from, const NewestDone& event) {
  context_.mailbox.close_request(from);
  Waiting waiting = waiting_.give_back(event.ticket);
  if (waiting.done) return waiting.done(event.newest);
  move(waiting.mark, event.newest);  // also when its session is gone
  Session* session = context_.sessions.find(waiting.mark.session);
  if (!session || !session->busy) return;
  session->busy = false;
  session->wake();
}

void ReadMarks::move(const Mark& mark, uint32_t newest) {
  const auto conversation = ConversationId::single(mark.user, mark.peer);
  const uint32_t position = mark.msg_id == 0 ? newest : std::min(mark.msg_id, newest);
  if (position <= context_.store.cursor(mark.user, conversation)) return;
  context_.store.set_cursor(mark.user, conversation, position);
  context_.metrics.add(Counter::read_positions_moved);
  tell_others(mark, position);
}

void ReadMarks::tell_others(const Mark& mark, uint32_t position) {
  engine::PayloadRef frame;
  context_.users.each_session(mark.user, [&](Session& session) {
    if (session.key == mark.session) return;
    if (!frame) {
      IM::Message::IMMsgDataReadNotify notify;
      notify.set_user_id(raw(mark.user));
      notify.set_session_id(raw(mark.peer));
      notify.set_msg_id(position);
      notify.set_session_type(IM::BaseDefine::SESSION_TYPE_SINGLE);
      frame = frame_of(proto::CommandId::msg_data_read_notify, 0, notify);
    }
    push(context_, session, frame);
  });
}

}  // namespace ringtalk::shard
