#include "shard/read_mark.h"

#include <algorithm>
#include <utility>

#include "proto/message.pb.h"
#include "shard/frames.h"
#include "shard/membership.h"

namespace ringtalk::shard {

Taken ReadMarks::ask(Session& session, const proto::MessageAck& ack) {
  const bool group = ack.session_type == proto::SessionType::group;
  const UserId peer{ack.session_id};
  if (group) {
    // One that he is not in and one that does not exist look the same.
    if (!context_.memberships->find(session.user, GroupId(ack.session_id))) return Taken::taken;
  } else if (peer == session.user || raw(peer) == 0) {
    return Taken::taken;
  }
  const auto conversation = group ? ConversationId::group(GroupId(ack.session_id))
                                  : ConversationId::single(session.user, peer);
  const Mark mark{session.key, session.user, conversation, ack.msg_id};
  if (mark.msg_id != 0 && mark.msg_id <= position_of(mark)) return Taken::taken;
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

// What lies before a member's first message is as good as read.
uint32_t ReadMarks::position_of(const Mark& mark) const {
  const uint32_t cursor = context_.store.cursor(mark.user, mark.conversation);
  if (!mark.conversation.is_group()) return cursor;
  const Held* held = context_.memberships->find(mark.user, mark.conversation.group());
  return held ? std::max(cursor, held->first - 1) : cursor;
}

void ReadMarks::move(const Mark& mark, uint32_t newest) {
  const uint32_t position = mark.msg_id == 0 ? newest : std::min(mark.msg_id, newest);
  if (position <= position_of(mark)) return;
  context_.store.set_cursor(mark.user, mark.conversation, position);
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
      const bool group = mark.conversation.is_group();
      notify.set_session_id(group ? raw(mark.conversation.group())
                                  : raw(mark.conversation.peer_of(mark.user)));
      notify.set_msg_id(position);
      notify.set_session_type(group ? IM::BaseDefine::SESSION_TYPE_GROUP
                                    : IM::BaseDefine::SESSION_TYPE_SINGLE);
      frame = frame_of(proto::CommandId::msg_data_read_notify, 0, notify);
    }
    push(context_, session, frame);
  });
}

}  // namespace ringtalk::shard
