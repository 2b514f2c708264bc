#include "shard/history.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "proto/encode.h"
#include "proto/message.pb.h"
#include "proto/parse.h"
#include "shard/extension.h"
#include "shard/frames.h"
#include "shard/membership.h"

namespace ringtalk::shard {
namespace {

using engine::Payload;
using engine::PayloadRef;

proto::CommandId command_of(PageKind kind) {
  switch (kind) {
    case PageKind::page: return proto::CommandId::get_msg_list_request;
    case PageKind::listed: return proto::CommandId::get_msg_by_id_request;
    case PageKind::newest: break;
  }
  return proto::CommandId::get_latest_msg_id_request;
}

// The fields that every request and answer of this area has.
template <class M>
M response_to(const PageAsk& ask, IM::BaseDefine::SessionType type) {
  M response;
  response.set_user_id(raw(ask.user));
  response.set_session_type(type);
  response.set_session_id(ask.peer);
  return response;
}

IM::BaseDefine::SessionType type_of(const PageAsk& ask) {
  return ask.conversation.is_group() ? IM::BaseDefine::SESSION_TYPE_GROUP
                                     : IM::BaseDefine::SESSION_TYPE_SINGLE;
}

template <class M>
PageAsk ask_of(const Session& session, uint16_t sequence, PageKind kind, const M& request) {
  return {.session      = session.key,
          .user         = session.user,
          .peer         = request.session_id(),
          .conversation = {},
          .from         = 0,
          .count        = 0,
          .first        = 1,
          .sequence     = sequence,
          .kind         = kind,
          .ids          = nullptr};
}

// Newest first, each once, without 0: the first kHistoryCountMax different ones.
template <class Ids>
std::vector<uint32_t> first_ids(const Ids& asked) {
  std::vector<uint32_t> ids;
  ids.reserve(kHistoryCountMax);
  for (const uint32_t id : asked) {
    if (ids.size() == kHistoryCountMax) break;
    const auto at = std::ranges::lower_bound(ids, id, std::greater());
    if (id != 0 && (at == ids.end() || *at != id)) ids.insert(at, id);
  }
  return ids;
}

}  // namespace

// --- asker's home ------------------------------------------------------------------------------------

// Else it looks like a conversation that nobody began.
bool History::find_conversation(PageAsk& ask, uint32_t type) const {
  if (type == IM::BaseDefine::SESSION_TYPE_GROUP) {
    const Held* held = context_.memberships->find(ask.user, GroupId(ask.peer));
    if (!held) return false;
    ask.conversation = ConversationId::group(held->group);
    ask.first        = held->first;
    return true;
  }
  if (ask.peer == 0 || ask.peer == raw(ask.user)) return false;
  ask.conversation = ConversationId::single(ask.user, UserId(ask.peer));
  return true;
}

Taken History::ask(Session& session, uint16_t sequence, Bytes body) {
  IM::Message::IMGetMsgListReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  PageAsk ask = ask_of(session, sequence, PageKind::page, request);
  ask.from    = request.msg_id_begin();
  ask.count   = std::min(request.msg_cnt(), kHistoryCountMax);
  if (ask.count > 0 && find_conversation(ask, request.session_type()))
    return submit(session, ask, {}, ask.count);
  auto empty = response_to<IM::Message::IMGetMsgListRsp>(ask, request.session_type());
  empty.set_msg_id_begin(ask.from);
  answer(session, frame_of(proto::CommandId::get_msg_list_response, sequence, empty));
  return Taken::taken;
}

Taken History::ask_listed(Session& session, uint16_t sequence, Bytes body) {
  IM::Message::IMGetMsgByIdReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  PageAsk ask    = ask_of(session, sequence, PageKind::listed, request);
  const auto ids = first_ids(request.msg_id_list());
  if (!ids.empty() && find_conversation(ask, request.session_type()))
    return submit(session, ask, ids, static_cast<uint32_t>(ids.size()));
  const auto empty = response_to<IM::Message::IMGetMsgByIdRsp>(ask, request.session_type());
  answer(session, frame_of(proto::CommandId::get_msg_by_id_response, sequence, empty));
  return Taken::taken;
}

Taken History::ask_newest(Session& session, uint16_t sequence, Bytes body) {
  IM::Message::IMGetLatestMsgIdReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  PageAsk ask = ask_of(session, sequence, PageKind::newest, request);
  if (find_conversation(ask, request.session_type())) return submit(session, ask, {}, 0);
  auto none = response_to<IM::Message::IMGetLatestMsgIdRsp>(ask, request.session_type());
  none.set_latest_msg_id(0);
  answer(session, frame_of(proto::CommandId::get_latest_msg_id_response, sequence, none));
  return Taken::taken;
}

Taken History::submit(Session& session, PageAsk ask, std::span<const uint32_t> ids, uint32_t cost) {
  const uint32_t at = context_.home_of(ask.conversation);
  if (at != context_.self && !context_.mailbox.open_request(at)) return context_.stall(session);
  context_.charge(session, cost);
  session.busy = true;
  if (!ids.empty()) ask.ids = Payload::copy(std::as_bytes(ids));
  if (at == context_.self) {
    begin(at, ask);
  } else {
    context_.mailbox.push(at, Event::of(ask));
  }
  return Taken::taken;
}

void History::on_page_done(uint32_t from, const PageDone& done) {
  context_.mailbox.close_request(from);
  settle(done);
}

void History::settle(const PageDone& done) {
  const PayloadRef frame = PayloadRef::adopt(done.frame);
  Session* session       = context_.sessions.find(done.session);
  if (!session || !session->busy) return;
  session->busy = false;
  if (!frame) {
    refuse(context_, session, command_of(done.kind), done.sequence,
           IM::Ext::Sys::EXT_RESULT_STORAGE);
  } else if (session->is_open()) {
    answer(*session, frame);
  }
  session->wake();
}

// --- conversation's home -------------------------------------------------------------------------------

void History::on_page_ask(uint32_t from, const PageAsk& ask) { begin(from, ask); }

void History::begin(uint32_t origin, const PageAsk& ask) {
  const PayloadRef ids = PayloadRef::adopt(ask.ids);
  if (ask.kind == PageKind::newest) {
    auto response         = response_to<IM::Message::IMGetLatestMsgIdRsp>(ask, type_of(ask));
    const uint32_t newest = context_.store.head(ask.conversation).newest;
    response.set_latest_msg_id(newest >= ask.first ? newest : 0);
    return reply(origin, ask,
                 frame_of(proto::CommandId::get_latest_msg_id_response, ask.sequence, response));
  }
  const uint32_t index = reads_.take();
  Read& read           = reads_[index];
  read.origin          = origin;
  read.ask             = ask;
  if (ids) {
    const Bytes bytes = ids.bytes();
    make_spans(read, {reinterpret_cast<const uint32_t*>(bytes.data()), bytes.size() / 4});
  } else {
    read.spans.push_back({ask.from, ask.count});
  }
  advance(index);
}

void History::make_spans(Read& read, std::span<const uint32_t> ids) const {
  const uint32_t newest = context_.store.head(read.ask.conversation).newest;
  for (const uint32_t id : ids) {
    if (id > newest || id < read.ask.first) continue;
    if (!read.spans.empty() && read.spans.back().from - read.spans.back().count == id) {
      ++read.spans.back().count;
    } else {
      read.spans.push_back({id, 1});
    }
  }
}

// Begins what may be begun; when nothing is left, answers.
void History::advance(uint32_t index) {
  Read& read = reads_[index];
  while (read.begun < read.spans.size() && read.reading < kSpansAtOnce && !read.failed &&
         read.floor == 0 && read.bytes < kHistoryBytesMax)
    start(uint64_t{index} << 16 | read.begun++);
  if (read.reading == 0) complete(index);
}

void History::start(uint64_t cookie) {
  Read& owner = reads_[cookie >> 16];
  ++owner.reading;
  if (waiting_.empty()) {
    const auto begun = read(cookie);
    if (begun) return;
    if (begun.error().code != Errc::full) {
      owner.failed = true;
      --owner.reading;
      return;
    }
  }
  waiting_.push_back(cookie);  // bounded by the sessions: one answer each
}

Result<void> History::read(uint64_t cookie) {
  const Read& read = reads_[cookie >> 16];
  const Span span  = read.spans[cookie & 0xffff];
  const auto room  = kHistoryBytesMax - std::min<uint64_t>(read.bytes, kHistoryBytesMax - 1);
  return context_.store.read_page({.conversation = read.ask.conversation,
                                   .from         = span.from,
                                   .count        = span.count,
                                   .bytes_max    = static_cast<uint32_t>(room),
                                   .cookie       = cookie});
}

void History::on_turn() {
  while (!waiting_.empty()) {
    const uint64_t cookie = waiting_.front();
    const auto begun      = read(cookie);
    if (!begun && begun.error().code == Errc::full) return;
    waiting_.pop_front();
    if (!begun) on_page(cookie, begun.error(), {});
  }
}

void History::on_page(uint64_t cookie, Error error, std::span<const store::Message> page) {
  const auto index = static_cast<uint32_t>(cookie >> 16);
  Read& read       = reads_[index];
  Span& span       = read.spans[cookie & 0xffff];
  --read.reading;
  const bool damaged = error.code == Errc::corrupt;
  if (error.code != Errc::ok && !damaged) read.failed = true;
  for (const store::Message& message : page) {
    read.bytes += message.body.size();
    read.found.push_back({message.msg_id, message.author, message.time, message.type,
                          std::string(as_text(message.body))});
  }
  const auto found = static_cast<uint32_t>(page.size());
  if (damaged && found + 1 < span.count) {
    const uint32_t newest = context_.store.head(read.ask.conversation).newest;
    const uint32_t top    = span.from == 0 ? newest : std::min(span.from, newest);
    const uint32_t bad    = page.empty() ? top : page.back().msg_id - 1;
    span                  = {bad - 1, span.count - found - 1};
    if (bad > 1) start(cookie);
  } else if (!damaged && found > 0 && found < span.count) {
    read.floor = std::max(read.floor, page.back().msg_id);
  }
  advance(index);
}

void History::complete(uint32_t index) {
  Read read = reads_.give_back(index);
  reply(read.origin, read.ask, read.failed ? PayloadRef{} : encode(read));
}

PayloadRef History::encode(Read& read) {
  const PageAsk& ask = read.ask;
  std::ranges::sort(read.found, std::greater(), &Found::msg_id);
  const auto fill = [&read](auto& response) {
    uint64_t bytes = 0;
    for (Found& message : read.found) {
      bytes += message.body.size();
      if (message.msg_id < read.floor || (bytes > kHistoryBytesMax && response.msg_list_size() > 0))
        break;
      if (message.msg_id < read.ask.first || !IM::BaseDefine::MsgType_IsValid(message.type))
        continue;  // one such row spoils a client's list
      auto& info = *response.add_msg_list();
      info.set_msg_id(message.msg_id);
      info.set_from_session_id(raw(message.author));
      info.set_create_time(message.time);
      info.set_msg_type(static_cast<IM::BaseDefine::MsgType>(message.type));
      info.set_msg_data(std::move(message.body));
    }
  };
  if (ask.kind == PageKind::listed) {
    auto response = response_to<IM::Message::IMGetMsgByIdRsp>(ask, type_of(ask));
    fill(response);
    return frame_of(proto::CommandId::get_msg_by_id_response, ask.sequence, response);
  }
  auto response = response_to<IM::Message::IMGetMsgListRsp>(ask, type_of(ask));
  response.set_msg_id_begin(ask.from);
  fill(response);
  return frame_of(proto::CommandId::get_msg_list_response, ask.sequence, response);
}

void History::reply(uint32_t origin, const PageAsk& ask, PayloadRef frame) {
  const PageDone done{ask.session, frame.release(), ask.sequence, ask.kind};
  if (origin == context_.self) return settle(done);
  context_.mailbox.reply(origin, Event::of(done));
}

}  // namespace ringtalk::shard
