#include "shard/session_list.h"

#include <algorithm>
#include <cstring>

#include "proto/buddy.pb.h"
#include "proto/message_view.h"
#include "proto/parse.h"
#include "shard/extension.h"
#include "shard/frames.h"
#include "shard/membership.h"
#include "shard/read_mark.h"

namespace ringtalk::shard {

using engine::Payload;
using engine::PayloadRef;
using proto::CommandId;

namespace {

constexpr uint64_t kAnswerBytesMax = 380 * kKiB;
constexpr uint64_t kEntryBytes     = 48;  // fields of one entry, at most

IM::BaseDefine::SessionType type_of(bool group) {
  return group ? IM::BaseDefine::SESSION_TYPE_GROUP : IM::BaseDefine::SESSION_TYPE_SINGLE;
}

bool is_newer(const SessionFound& a, const SessionFound& b) {
  return a.time != b.time ? a.time > b.time : a.peer < b.peer;
}

}  // namespace

// --- the list, user's home --------------------------------------------------------------------------------

Taken SessionList::ask(Session& session, uint16_t sequence, Bytes body) {
  IM::Buddy::IMRecentContactSessionReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const uint32_t index = gatherings_.take();
  gatherings_[index]   = {.session  = session.key,
                          .user     = session.user,
                          .since    = request.latest_update_time(),
                          .sequence = sequence};
  const auto asked     = context_.store.list_sessions(
      session.user, [this, index](Result<std::vector<store::SessionRow>> rows) {
        on_rows(index, std::move(rows));
      });
  if (asked) {
    session.busy = true;
    return Taken::taken;
  }
  gatherings_.give_back(index);
  if (asked.error().code == Errc::full) return context_.stall(session);
  refuse(context_, &session, CommandId::recent_contact_session_request, sequence,
         IM::Ext::Sys::EXT_RESULT_STORAGE);
  return Taken::taken;
}

void SessionList::on_rows(uint32_t index, Result<std::vector<store::SessionRow>> rows) {
  if (!rows) {
    gatherings_[index].failed = true;
    return complete(index);
  }
  Gathering& gathering = gatherings_[index];
  std::vector<std::vector<SessionWanted>> by_shard(context_.shards);
  for (const store::SessionRow& row : *rows) {
    const auto conversation = ConversationId::single(gathering.user, row.peer);
    by_shard[context_.home_of(conversation)].push_back(
        {conversation, raw(row.peer), row.hidden_to});
  }
  uint32_t groups = 0;
  context_.memberships->each(gathering.user, [&](const Held& held, uint32_t) {
    ++groups;
    if (held.hidden_to > 0 && !context_.limits.group_session_revive) return;
    const auto conversation = ConversationId::group(held.group);
    by_shard[context_.home_of(conversation)].push_back(
        {conversation, raw(held.group), std::max(held.first - 1, held.hidden_to)});
  });
  if (Session* session = context_.sessions.find(gathering.session))
    context_.charge(*session, kListMax + static_cast<uint32_t>(rows->size()) + groups);
  gathering.missing = static_cast<uint32_t>(
      std::ranges::count_if(by_shard, [](const auto& wanted) { return !wanted.empty(); }));
  if (gathering.missing == 0) return complete(index);
  const uint32_t since = gathering.since;
  for (uint32_t to = 0; to < context_.shards; ++to) {
    if (by_shard[to].empty()) continue;
    send({to, {index, since, Payload::copy(std::as_bytes(std::span(by_shard[to])))}});
  }
}

void SessionList::send(const Unsent& unsent) {
  if (unsent.to == context_.self) return on_ask(unsent.to, unsent.ask);
  if (!context_.mailbox.open_request(unsent.to)) return unsent_.push_back(unsent);
  context_.mailbox.push(unsent.to, Event::of(unsent.ask));
}

void SessionList::on_done(uint32_t from, const SessionsDone& done) {
  context_.mailbox.close_request(from);
  arrived(done.gathering, PayloadRef::adopt(done.found));
}

void SessionList::arrived(uint32_t index, PayloadRef found) {
  Gathering& gathering = gatherings_[index];
  if (found) {
    gathering.found.push_back(std::move(found));
  } else {
    gathering.failed = true;
  }
  if (--gathering.missing == 0) complete(index);
}

void SessionList::complete(uint32_t index) {
  const Gathering gathering = gatherings_.give_back(index);
  Session* session          = context_.sessions.find(gathering.session);
  if (!session || !session->busy) return;
  session->busy = false;
  if (gathering.failed) {
    refuse(context_, session, CommandId::recent_contact_session_request, gathering.sequence,
           IM::Ext::Sys::EXT_RESULT_STORAGE);
  } else if (session->is_open()) {
    answer(*session, encode(gathering));
  }
  session->wake();
}

PayloadRef SessionList::encode(const Gathering& gathering) const {
  struct Entry {
    SessionFound found;
    Bytes body;
  };
  std::vector<Entry> entries;
  for (const PayloadRef& part : gathering.found)
    for (Bytes rest = part.bytes(); !rest.empty();) {
      Entry entry{load_native<SessionFound>(rest.data()), {}};
      entry.body = rest.subspan(sizeof(SessionFound), entry.found.bytes);
      rest       = rest.subspan(sizeof(SessionFound) + entry.found.bytes);
      entries.push_back(entry);
    }
  std::ranges::sort(entries, is_newer, &Entry::found);
  entries.resize(std::min<size_t>(entries.size(), kListMax));
  IM::Buddy::IMRecentContactSessionRsp response;
  response.set_user_id(raw(gathering.user));
  uint64_t bytes = 0;
  for (const auto& [found, body] : entries) {
    bytes += kEntryBytes + body.size();
    if (bytes > kAnswerBytesMax) break;
    auto& info = *response.add_contact_session_list();
    info.set_session_id(found.peer);
    info.set_session_type(type_of(found.group));
    info.set_session_status(IM::BaseDefine::SESSION_STATUS_OK);
    info.set_updated_time(found.time);
    info.set_latest_msg_id(found.newest);
    info.set_latest_msg_data(body.data(), body.size());
    info.set_latest_msg_type(static_cast<IM::BaseDefine::MsgType>(found.type));
    info.set_latest_msg_from_user_id(raw(found.author));
  }
  return frame_of(CommandId::recent_contact_session_response, gathering.sequence, response);
}

// --- the list, conversation's home ---------------------------------------------------------------------------

// No more than the newest of each shard can be among the newest of all.
void SessionList::on_ask(uint32_t from, const SessionsAsk& ask) {
  const PayloadRef wanted = PayloadRef::adopt(ask.wanted);
  std::vector<std::pair<SessionFound, ConversationId>> visible;
  const Bytes bytes = wanted.bytes();
  for (size_t at = 0; at < bytes.size(); at += sizeof(SessionWanted)) {
    const auto row         = load_native<SessionWanted>(bytes.data() + at);
    const store::Head head = context_.store.head(row.conversation);
    if (head.newest <= row.hidden_to || head.time <= ask.since) continue;
    visible.push_back({SessionFound{.peer   = row.peer,
                                    .newest = head.newest,
                                    .time   = head.time,
                                    .group  = row.conversation.is_group()},
                       row.conversation});
  }
  const auto count = static_cast<long>(std::min<size_t>(visible.size(), kListMax));
  std::ranges::partial_sort(visible, visible.begin() + count, is_newer,
                            [](const auto& row) { return row.first; });
  const uint32_t index = tallies_.take();
  Tally& tally         = tallies_[index];
  tally.origin         = from;
  tally.gathering      = ask.gathering;
  for (long i = 0; i < count; ++i) {
    tally.wanted.push_back(visible[static_cast<size_t>(i)].first);
    tally.conversations.push_back(visible[static_cast<size_t>(i)].second);
  }
  advance(index);
}

// Begins what may be begun; when nothing is left, answers.
void SessionList::advance(uint32_t index) {
  for (;;) {
    Tally& tally = tallies_[index];
    if (tally.reading == kReadsAtOnce) return;
    if (tally.begun == tally.wanted.size()) break;
    ++tally.reading;
    const auto row   = static_cast<uint32_t>(tally.begun++);
    const uint32_t r = reads_.take();
    reads_[r]        = {.tally = index, .row = row, .refused = {}};
    read(r);
  }
  if (tallies_[index].reading > 0) return;
  const Tally tally = tallies_.give_back(index);
  PayloadRef found  = tally.failed ? PayloadRef{} : PayloadRef::adopt(Payload::copy(tally.found));
  if (tally.origin == context_.self) return arrived(tally.gathering, std::move(found));
  context_.mailbox.reply(tally.origin, Event::of(SessionsDone{tally.gathering, found.release()}));
}

void SessionList::read(uint32_t index) {
  const Read& one    = reads_[index];
  const Tally& tally = tallies_[one.tally];
  const auto asked   = context_.store.read_page({.conversation = tally.conversations[one.row],
                                                 .from         = tally.wanted[one.row].newest,
                                                 .count        = 1,
                                                 .bytes_max    = 1,
                                                 .cookie       = kCookieBit | index});
  if (asked) return;
  // Whatever it is, not from within the caller's loop.
  reads_[index].refused = asked.error().code == Errc::full ? Error{} : asked.error();
  postponed_.push_back(index);
}

void SessionList::on_page(uint64_t cookie, Error error, std::span<const store::Message> page) {
  const Read one = reads_.give_back(static_cast<uint32_t>(cookie & ~kCookieBit));
  Tally& tally   = tallies_[one.tally];
  --tally.reading;
  if (page.empty()) {
    // A damaged newest message is left out of lists; storage that is away spoils the whole answer.
    tally.failed |= error.code != Errc::ok && error.code != Errc::corrupt;
    return advance(one.tally);
  }
  const store::Message& message = page.front();
  SessionFound found            = tally.wanted[one.row];
  found.author                  = message.author;
  found.type                    = message.type;
  const Bytes body              = shown_body(message);
  found.bytes                   = static_cast<uint32_t>(body.size());
  // An older one: the newest is damaged, or hidden, which is no reason to leave the conversation out.
  const bool last = message.msg_id == found.newest ||
                    context_.store.head(tally.conversations[one.row]).hidden > 0;
  if (last && IM::BaseDefine::MsgType_IsValid(message.type)) {
    const auto head = std::as_bytes(std::span(&found, 1));
    tally.found.insert(tally.found.end(), head.begin(), head.end());
    tally.found.insert(tally.found.end(), body.begin(), body.end());
  }
  advance(one.tally);
}

// --- off the list -----------------------------------------------------------------------------------------

Taken SessionList::remove(Session& session, uint16_t sequence, Bytes body) {
  IM::Buddy::IMRemoveSessionReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const uint32_t peer = request.session_id();
  const bool group    = request.session_type() == IM::BaseDefine::SESSION_TYPE_GROUP;
  const Held* held    = context_.memberships->find(session.user, GroupId(peer));
  if (group ? !held || held->hidden_to > 0 : peer == 0 || peer == raw(session.user)) {
    answer_removal(session, sequence, 1, request.session_type(), peer);
    return Taken::taken;
  }
  const auto conversation = group ? ConversationId::group(GroupId(peer))
                                  : ConversationId::single(session.user, UserId(peer));
  const uint32_t index    = removals_.take();
  removals_[index]        = {.session      = session.key,
                             .user         = session.user,
                             .conversation = conversation,
                             .sequence     = sequence};
  session.busy            = true;
  read_marks_.find_newest(conversation, [this, index](uint32_t newest) {
    removals_[index].newest = newest;
    hide(index);
  });
  return Taken::taken;
}

void SessionList::hide(uint32_t index) {
  const Removal& removal = removals_[index];
  const auto done        = [this, index](Result<void> hidden) { removed(index, hidden); };
  Result<void> asked;
  if (!removal.conversation.is_group()) {
    asked = context_.store.hide_session(removal.user, removal.conversation.peer_of(removal.user),
                                        removal.newest, done);
  } else {
    const GroupId group = removal.conversation.group();
    const Held* held    = context_.memberships->find(removal.user, group);
    // A group in which nobody wrote for him is not on his list.
    asked = held && removal.newest >= held->first
                ? context_.store.hide_group(removal.user, group, removal.newest, done)
                : Result<void>(fail(Errc::not_found));
  }
  if (asked) return;
  if (asked.error().code == Errc::full) return unhidden_.push_back(index);
  removed(index, asked);
}

void SessionList::removed(uint32_t index, Result<void> hidden) {
  const Removal removal = removals_.give_back(index);
  const bool group      = removal.conversation.is_group();
  if (hidden) {
    read_marks_.read_all(removal.user, removal.conversation, removal.newest);
    if (group) {
      const GroupId id = removal.conversation.group();
      if (Held* held = context_.memberships->find(removal.user, id))
        held->hidden_to = removal.newest;
      // Another device of his wrote, or read on, while this was stored.
      if (context_.store.cursor(removal.user, removal.conversation) > removal.newest)
        context_.memberships->show(removal.user, id);
    }
  }
  Session* session = context_.sessions.find(removal.session);
  if (session && session->busy) {
    session->busy = false;
    if (session->is_open())
      answer_removal(*session, removal.sequence, hidden ? 0 : 1, type_of(group),
                     group ? raw(removal.conversation.group())
                           : raw(removal.conversation.peer_of(removal.user)));
    session->wake();
  }
  if (hidden && !group) tell_removed(removal);
}

void SessionList::tell_removed(const Removal& removal) {
  PayloadRef frame;
  context_.users.each_session(removal.user, [&](Session& other) {
    if (other.key == removal.session) return;
    if (!frame) {
      IM::Buddy::IMRemoveSessionNotify notify;
      notify.set_user_id(raw(removal.user));
      notify.set_session_type(IM::BaseDefine::SESSION_TYPE_SINGLE);
      notify.set_session_id(raw(removal.conversation.peer_of(removal.user)));
      frame = frame_of(CommandId::remove_session_notify, 0, notify);
    }
    push(context_, other, frame);
  });
}

void SessionList::answer_removal(Session& session, uint16_t sequence, uint32_t result,
                                 uint32_t type, uint32_t peer) {
  IM::Buddy::IMRemoveSessionRsp response;
  response.set_user_id(raw(session.user));
  response.set_result_code(result);
  response.set_session_type(static_cast<IM::BaseDefine::SessionType>(type));
  response.set_session_id(peer);
  answer(session, frame_of(CommandId::remove_session_response, sequence, response));
}

// --- what found no room -----------------------------------------------------------------------------------

void SessionList::on_turn() {
  for (size_t n = postponed_.size(); n > 0; --n) {
    const uint32_t index = postponed_.front();
    postponed_.pop_front();
    if (reads_[index].refused.code == Errc::ok) {
      read(index);
    } else {
      on_page(index, reads_[index].refused, {});
    }
  }
  for (size_t n = unhidden_.size(); n > 0; --n) {
    const uint32_t index = unhidden_.front();
    unhidden_.pop_front();
    hide(index);
  }
  for (size_t n = unsent_.size(); n > 0; --n) {
    const Unsent unsent = unsent_.front();
    unsent_.pop_front();
    send(unsent);
  }
}

}  // namespace ringtalk::shard
