#include "shard/unread.h"

#include <algorithm>

#include "proto/message.pb.h"
#include "proto/parse.h"
#include "shard/extension.h"
#include "shard/frames.h"
#include "shard/membership.h"

namespace ringtalk::shard {
namespace {

using engine::Payload;
using engine::PayloadRef;

constexpr uint64_t kAnswerBytesMax = 380 * kKiB;
constexpr uint64_t kEntryBytes     = 48;  // fields of one entry, at most

}  // namespace

// --- user's home -------------------------------------------------------------------------------------------

Taken Unread::ask(Session& session, uint16_t sequence, Bytes body) {
  IM::Message::IMUnreadMsgCntReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const uint32_t index        = gatherings_.take();
  gatherings_[index].session  = session.key;
  gatherings_[index].user     = session.user;
  gatherings_[index].sequence = sequence;
  const auto asked            = context_.store.list_sessions(
      session.user, [this, index](Result<std::vector<store::SessionRow>> rows) {
        on_rows(index, std::move(rows));
      });
  if (asked) {
    session.busy = true;
    return Taken::taken;
  }
  gatherings_.give_back(index);
  if (asked.error().code == Errc::full) return context_.stall(session);
  refuse(context_, &session, proto::CommandId::unread_msg_cnt_request, sequence,
         IM::Ext::Sys::EXT_RESULT_STORAGE);
  return Taken::taken;
}

void Unread::on_rows(uint32_t index, Result<std::vector<store::SessionRow>> rows) {
  Gathering& gathering = gatherings_[index];
  if (!rows) {
    gathering.failed = true;
    return complete(index);
  }
  std::vector<std::vector<UnreadWanted>> by_shard(context_.shards);
  for (const store::SessionRow& row : *rows) {
    const auto conversation = ConversationId::single(gathering.user, row.peer);
    // What was taken off the list is read; a power cut may know the one and not yet the other.
    const uint32_t cursor = context_.store.cursor(gathering.user, conversation);
    by_shard[context_.home_of(conversation)].push_back(
        {conversation, std::max(cursor, row.hidden_to)});
  }
  uint32_t groups = 0;
  context_.memberships->each(gathering.user, [&](const Held& held, uint32_t) {
    const auto conversation = ConversationId::group(held.group);
    const uint32_t cursor   = context_.store.cursor(gathering.user, conversation);
    by_shard[context_.home_of(conversation)].push_back(
        {conversation, std::max({cursor, held.first - 1, held.hidden_to})});
    ++groups;
  });
  // Paid for what is looked at: what is listed in the end may be nothing.
  if (Session* session = context_.sessions.find(gathering.session))
    context_.charge(*session, static_cast<uint32_t>(rows->size()) + groups);
  gathering.missing = static_cast<uint32_t>(
      std::ranges::count_if(by_shard, [](const auto& wanted) { return !wanted.empty(); }));
  if (gathering.missing == 0) return complete(index);
  const UserId user = gathering.user;
  for (uint32_t to = 0; to < context_.shards; ++to)
    if (!by_shard[to].empty()) ask_shard(to, index, user, by_shard[to]);
}

void Unread::ask_shard(uint32_t to, uint32_t gathering, UserId user,
                       std::span<const UnreadWanted> wanted) {
  const UnreadAsk ask{gathering, user, Payload::copy(std::as_bytes(wanted))};
  if (to == context_.self) return on_ask(to, ask);
  if (context_.mailbox.open_request(to)) return context_.mailbox.push(to, Event::of(ask));
  unsent_.push_back({to, ask});
}

void Unread::on_done(uint32_t from, const UnreadDone& done) {
  context_.mailbox.close_request(from);
  arrived(done.gathering, PayloadRef::adopt(done.found));
}

void Unread::arrived(uint32_t index, PayloadRef found) {
  Gathering& gathering = gatherings_[index];
  if (found) {
    gathering.found.push_back(std::move(found));
  } else {
    gathering.failed = true;
  }
  if (--gathering.missing == 0) complete(index);
}

void Unread::complete(uint32_t index) {
  const Gathering gathering = gatherings_.give_back(index);
  Session* session          = context_.sessions.find(gathering.session);
  if (!session || !session->busy) return;
  session->busy = false;
  if (gathering.failed) {
    refuse(context_, session, proto::CommandId::unread_msg_cnt_request, gathering.sequence,
           IM::Ext::Sys::EXT_RESULT_STORAGE);
  } else if (session->is_open()) {
    answer(*session, encode(gathering));
  }
  session->wake();
}

PayloadRef Unread::encode(const Gathering& gathering) {
  struct Entry {
    UnreadFound found;
    Bytes body;
  };
  std::vector<Entry> entries;
  for (const PayloadRef& part : gathering.found)
    for (Bytes rest = part.bytes(); !rest.empty();) {
      Entry entry{load_native<UnreadFound>(rest.data()), {}};
      entry.body = rest.subspan(sizeof(UnreadFound), entry.found.bytes);
      rest       = rest.subspan(sizeof(UnreadFound) + entry.found.bytes);
      entries.push_back(entry);
    }
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    return a.found.time != b.found.time ? a.found.time > b.found.time : a.found.peer < b.found.peer;
  });
  IM::Message::IMUnreadMsgCntRsp response;
  response.set_user_id(raw(gathering.user));
  uint32_t total = 0;
  uint64_t bytes = 0;
  for (const auto& [found, body] : entries) {
    bytes += kEntryBytes + body.size();
    if (bytes > kAnswerBytesMax) break;
    total += found.count;
    auto& info = *response.add_unreadinfo_list();
    info.set_session_id(found.peer);
    info.set_session_type(found.group ? IM::BaseDefine::SESSION_TYPE_GROUP
                                      : IM::BaseDefine::SESSION_TYPE_SINGLE);
    info.set_unread_cnt(found.count);
    info.set_latest_msg_id(found.newest);
    info.set_latest_msg_data(body.data(), body.size());
    info.set_latest_msg_type(static_cast<IM::BaseDefine::MsgType>(found.type));
    info.set_latest_msg_from_user_id(raw(found.author));
  }
  response.set_total_cnt(total);
  return frame_of(proto::CommandId::unread_msg_cnt_response, gathering.sequence, response);
}

// --- conversation's home -------------------------------------------------------------------------------------

void Unread::on_ask(uint32_t from, const UnreadAsk& ask) {
  const PayloadRef wanted = PayloadRef::adopt(ask.wanted);
  const uint32_t index    = tallies_.take();
  Tally& tally            = tallies_[index];
  tally.origin            = from;
  tally.gathering         = ask.gathering;
  tally.user              = ask.user;
  for (Bytes rest = wanted.bytes(); !rest.empty(); rest = rest.subspan(sizeof(UnreadWanted))) {
    Item item{.wanted = load_native<UnreadWanted>(rest.data()), .head = {}};
    item.head = context_.store.head(item.wanted.conversation);
    if (item.head.newest <= item.wanted.cursor) continue;
    // Nothing is to be looked up at the position.
    const bool plain = item.wanted.conversation.is_group() && item.head.hidden == 0;
    item.counted     = item.wanted.cursor == 0 || plain;
    if (item.counted &&
        (item.count = count_of(ask.user, item, {.newest = item.wanted.cursor})) == 0)
      continue;
    tally.items.push_back(item);
  }
  std::ranges::sort(tally.items, [](const Item& a, const Item& b) {
    if (a.head.time != b.head.time) return a.head.time > b.head.time;
    return a.wanted.conversation < b.wanted.conversation;
  });
  advance(index);
}

// Begins what may be begun; when nothing is left, answers.
void Unread::advance(uint32_t index) {
  Tally& now = tallies_[index];
  while (now.begun < now.items.size() && now.reading < kReadsAtOnce && !now.failed &&
         now.found.size() < kAnswerBytesMax) {
    ++now.reading;
    read(kCookieBit | uint64_t{index} << 32 | now.begun++);
  }
  if (now.reading > 0) return;
  const Tally tally = tallies_.give_back(index);
  PayloadRef found  = tally.failed ? PayloadRef{} : PayloadRef::adopt(Payload::copy(tally.found));
  if (tally.origin == context_.self) return arrived(tally.gathering, std::move(found));
  context_.mailbox.reply(tally.origin, Event::of(UnreadDone{tally.gathering, found.release()}));
}

void Unread::read(uint64_t cookie) {
  Tally& tally     = tallies_[(cookie & ~kCookieBit) >> 32];
  const Item& item = tally.items[static_cast<uint32_t>(cookie)];
  const auto asked =
      context_.store.read_page({.conversation = item.wanted.conversation,
                                .from      = item.counted ? item.head.newest : item.wanted.cursor,
                                .count     = 1,
                                .bytes_max = 1,
                                .cookie    = cookie});
  if (asked) return;
  if (asked.error().code == Errc::full) return postponed_.push_back(cookie);
  tally.failed = true;
  --tally.reading;
}

void Unread::on_turn() {
  for (size_t n = postponed_.size(); n > 0; --n) {
    const uint64_t cookie = postponed_.front();
    postponed_.pop_front();
    const size_t others = postponed_.size();
    read(cookie);
    const bool full = postponed_.size() > others;
    advance(static_cast<uint32_t>((cookie & ~kCookieBit) >> 32));
    if (full) break;
  }
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

void Unread::on_page(uint64_t cookie, Error error, std::span<const store::Message> page) {
  const auto index = static_cast<uint32_t>((cookie & ~kCookieBit) >> 32);
  Tally& tally     = tallies_[index];
  Item& item       = tally.items[static_cast<uint32_t>(cookie)];
  if (error.code != Errc::ok && error.code != Errc::corrupt) tally.failed = true;
  if (!page.empty() && item.counted) {
    list(tally, item, page.front());
  } else if (!item.counted && (!page.empty() || error.code == Errc::ok)) {
    item.counted     = true;
    store::Head seen = {.newest = item.wanted.cursor};
    // Nothing visible may have the position itself: what lies between is not read, but not to be seen either.
    if (item.head.hidden > 0) seen.newest = page.empty() ? 0 : page.front().msg_id;
    if (!page.empty()) {
      seen.small_count = page.front().small_count;
      seen.hidden      = page.front().hidden;
    }
    item.count = count_of(tally.user, item, seen);
    if (item.count > 0 && !tally.failed) {
      read(cookie);
      return advance(index);
    }
  }
  --tally.reading;
  advance(index);
}

// What others wrote and he can see, behind what he has read.
uint32_t Unread::count_of(UserId user, const Item& item, const store::Head& seen) {
  const uint32_t since  = item.head.newest - seen.newest;
  const uint32_t hidden = item.head.hidden - seen.hidden;
  if (item.wanted.conversation.is_group()) return since > hidden ? since - hidden : 0;
  const uint32_t small = item.head.small_count - seen.small_count;
  if (user != item.wanted.conversation.small()) return small;
  return since > small + hidden ? since - small - hidden : 0;
}

void Unread::list(Tally& tally, const Item& item, const store::Message& newest) {
  // One entry of a type that a client does not know would make it drop the whole answer.
  if (!IM::BaseDefine::MsgType_IsValid(newest.type)) return;
  const Bytes body                  = shown_body(newest);
  const ConversationId conversation = item.wanted.conversation;
  const bool group                  = conversation.is_group();
  const UnreadFound entry{
      .peer   = group ? raw(conversation.group()) : raw(conversation.peer_of(tally.user)),
      .author = newest.author,
      .count  = item.count,
      .newest = item.head.newest,
      .time   = newest.time,
      .bytes  = static_cast<uint32_t>(body.size()),
      .type   = newest.type,
      .group  = group};
  const auto head = std::as_bytes(std::span(&entry, 1));
  tally.found.insert(tally.found.end(), head.begin(), head.end());
  tally.found.insert(tally.found.end(), body.begin(), body.end());
}

}  // namespace ringtalk::shard
