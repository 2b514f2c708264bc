#include "shard/history.h"

#include <algorithm>

#include "proto/encode.h"
#include "proto/message.pb.h"
#include "proto/parse.h"
#include "shard/frames.h"

namespace ringtalk::shard {

using engine::PayloadRef;

Taken History::ask(Session& session, uint16_t sequence, Bytes body) {
  IM::Message::IMGetMsgListReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const PageAsk ask{.session  = session.key,
                    .user     = session.user,
                    .peer     = UserId(request.session_id()),
                    .from     = request.msg_id_begin(),
                    .count    = std::min(request.msg_cnt(), kHistoryCountMax),
                    .sequence = sequence};
  const auto charge = [&] {
    session.requests.take_cost(context_.loop.now_ns(), context_.limits.requests_per_second,
                               ask.count);
  };
  const bool single = request.session_type() == IM::BaseDefine::SESSION_TYPE_SINGLE;
  if (!single || ask.count == 0 || ask.peer == session.user || raw(ask.peer) == 0) {
    IM::Message::IMGetMsgListRsp empty;
    empty.set_user_id(raw(session.user));
    empty.set_session_type(request.session_type());
    empty.set_session_id(request.session_id());
    empty.set_msg_id_begin(request.msg_id_begin());
    answer(session, frame_of(proto::CommandId::get_msg_list_response, sequence, empty));
    return Taken::taken;
  }
  const uint32_t at = context_.home_of(ConversationId::single(session.user, ask.peer));
  if (at == context_.self) {
    charge();
    session.busy = true;
    begin(context_.self, ask);
  } else {
    if (!context_.mailbox.open_request(at)) return context_.stall(session);
    charge();
    session.busy = true;
    context_.mailbox.push(at, Event::of(ask));
  }
  return Taken::taken;
}

void History::on_page_ask(uint32_t from, const PageAsk& ask) { begin(from, ask); }

void History::begin(uint32_t origin, const PageAsk& ask) {
  if (free_ == ~0u) {
    free_ = static_cast<uint32_t>(reads_.size());
    reads_.emplace_back();
  }
  const uint32_t index = free_;
  free_                = reads_[index].next;
  ++used_;
  reads_[index] = {origin, ask, ~0u};
  if (waiting_.empty()) {
    const auto begun = read(index);
    if (begun) return;
    if (begun.error().code != Errc::full) return on_page(index, begun.error(), {});
  }
  waiting_.push_back(index);  // bounded by the sessions: one page each
}

Result<void> History::read(uint32_t index) {
  const PageAsk& ask = reads_[index].ask;
  return context_.store.read_page({.conversation = ConversationId::single(ask.user, ask.peer),
                                   .from         = ask.from,
                                   .count        = ask.count,
                                   .bytes_max    = kHistoryBytesMax,
                                   .cookie       = index});
}

void History::on_turn() {
  while (!waiting_.empty()) {
    const uint32_t index = waiting_.front();
    const auto begun     = read(index);
    if (!begun && begun.error().code == Errc::full) return;
    waiting_.pop_front();
    if (!begun) on_page(index, begun.error(), {});
  }
}

void History::on_page(uint64_t cookie, Error error, std::span<const store::Message> page) {
  Read& read        = reads_[cookie];
  const PageAsk ask = read.ask;
  const auto origin = read.origin;
  read.next         = free_;
  free_             = static_cast<uint32_t>(cookie);
  --used_;
  // Damage ends a page, it does not forbid what lies before it.
  const bool failed = error.code != Errc::ok && error.code != Errc::corrupt;
  reply(origin, ask, failed ? PayloadRef{} : encode(ask, page));
}

PayloadRef History::encode(const PageAsk& ask, std::span<const store::Message> page) {
  IM::Message::IMGetMsgListRsp response;
  response.set_user_id(raw(ask.user));
  response.set_session_type(IM::BaseDefine::SESSION_TYPE_SINGLE);
  response.set_session_id(raw(ask.peer));
  response.set_msg_id_begin(ask.from);
  for (const store::Message& message : page) {
    if (!IM::BaseDefine::MsgType_IsValid(message.type))
      continue;  // one such row spoils a client's list
    auto& info = *response.add_msg_list();
    info.set_msg_id(message.msg_id);
    info.set_from_session_id(raw(message.author));
    info.set_create_time(message.time);
    info.set_msg_type(static_cast<IM::BaseDefine::MsgType>(message.type));
    info.set_msg_data(message.body.data(), message.body.size());
  }
  return frame_of(proto::CommandId::get_msg_list_response, ask.sequence, response);
}

void History::reply(uint32_t origin, const PageAsk& ask, PayloadRef frame) {
  if (origin == context_.self) return settle(ask.session, std::move(frame));
  context_.mailbox.reply(origin, Event::of(PageDone{ask.session, frame.release()}));
}

void History::on_page_done(uint32_t from, const PageDone& done) {
  context_.mailbox.close_request(from);
  settle(done.session, PayloadRef::adopt(done.frame));
}

void History::settle(SessionKey key, PayloadRef frame) {
  Session* session = context_.sessions.find(key);
  if (!session || !session->busy) return;
  session->busy = false;
  if (frame && session->is_open()) answer(*session, frame);
  session->wake();
}

}  // namespace ringtalk::shard
