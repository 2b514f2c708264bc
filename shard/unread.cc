#include "shard/unread.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "proto/message.pb.h"
#include "proto/message_view.h"
#include "proto/parse.h"
#include "shard/frames.h"

namespace ringtalk::shard {
namespace {

using engine::Payload;
using engine::PayloadRef;

// "[语音]" in the form of a text message: what lists show for a sound.
constexpr std::string_view kSoundPlaceholder = "QhGXlpFjvMFUNrtl1aaPzA==";
constexpr uint64_t kAnswerBytesMax           = 380 * kKiB;
constexpr uint64_t kEntryBytes               = 48;  // fields of one entry, at most

}  // namespace

template <class T>
uint32_t Unread::take(std::vector<T>& pool, uint32_t& free) {
  if (free == ~0u) {
    free = static_cast<uint32_t>(pool.size());
    pool.emplace_back();
  }
  const uint32_t index = free;
  free                 = pool[index].next;
  pool[index]          = T{};
  return index;
}

// --- user's home -------------------------------------------------------------------------------------------

Taken Unread::ask(Session& session, uint16_t sequence, Bytes body) {
  IM::Message::IMUnreadMsgCntReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const uint32_t index = take(gatherings_, gatherings_free_);
  ++gatherings_used_;
  gatherings_[index].session  = session.key;
  gatherings_[index].user     = session.user;
  gatherings_[index].sequence = sequence;
  const auto asked            = context_.store.list_conversations(
      session.user, [this, index](Result<std::vector<UserId>> peers) {
        on_conversations(index, std::move(peers));
      });
  if (asked) {
    session.busy = true;
    return Taken::taken;
  }
  gatherings_[index].next = gatherings_free_;
  gatherings_free_        = index;
  --gatherings_used_;
  return asked.error().code == Errc::full ? context_.stall(session) : Taken::taken;
}

void Unread::on_conversations(uint32_t index, Result<std::vector<UserId>> peers) {
  Gathering& gathering = gatherings_[index];
  if (!peers) {
    gathering.failed = true;
    return complete(index);
  }
  std::vector<std::vector<UnreadWanted>> by_shard(context_.shards);
  for (const UserId peer : *peers) {
    const auto conversation = ConversationId::single(gathering.user, peer);
    by_shard[context_.home_of(conversation)].push_back(
        {conversation, context_.store.cursor(gathering.user, conversation)});
  }
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
  Gathering gathering     = std::move(gatherings_[index]);
  gatherings_[index]      = {};
  gatherings_[index].next = gatherings_free_;
  gatherings_free_        = index;
  --gatherings_used_;
  Session* session = context_.sessions.find(gathering.session);
  if (!session || !session->busy) return;
  session->busy = false;
  if (!gathering.failed && session->is_open()) answer(*session, encode(gathering));
  session->wake();
}

PayloadRef Unread::encode(const Gathering& gathering) const {
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
    info.set_session_id(raw(found.peer));
    info.set_session_type(IM::BaseDefine::SESSION_TYPE_SINGLE);
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
  const uint32_t index    = take(tallies_, tallies_free_);
  ++tallies_used_;
  Tally& tally    = tallies_[index];
  tally.origin    = from;
  tally.gathering = ask.gathering;
  tally.user      = ask.user;
  tally.wanted.resize(wanted.bytes().size() / sizeof(UnreadWanted));
  std::memcpy(tally.wanted.data(), wanted.bytes().data(), wanted.bytes().size());
  advance(index);
}

// Begins what may be begun; when nothing is left, answers.
void Unread::advance(uint32_t index) {
  for (;;) {
    Tally& tally = tallies_[index];
    if (tally.reading == kReadsAtOnce) return;
    if (tally.begun == tally.wanted.size()) break;
    const UnreadWanted wanted = tally.wanted[tally.begun++];
    const store::Head head    = context_.store.head(wanted.conversation);
    if (head.newest <= wanted.cursor) continue;
    ++tally.reading;
    const uint32_t item       = take(items_, items_free_);
    items_[item].tally        = index;
    items_[item].wanted       = wanted;
    items_[item].entry.newest = head.newest;
    items_[item].entry.peer   = wanted.conversation.peer_of(tally.user);
    read(item);
  }
  if (tallies_[index].reading > 0) return;
  Tally tally          = std::move(tallies_[index]);
  tallies_[index]      = {};
  tallies_[index].next = tallies_free_;
  tallies_free_        = index;
  --tallies_used_;
  PayloadRef found = tally.failed ? PayloadRef{} : PayloadRef::adopt(Payload::copy(tally.found));
  if (tally.origin == context_.self) return arrived(tally.gathering, std::move(found));
  context_.mailbox.reply(tally.origin, Event::of(UnreadDone{tally.gathering, found.release()}));
}

void Unread::read(uint32_t index) {
  const Item& item = items_[index];
  const auto asked =
      context_.store.read_page({.conversation = item.wanted.conversation,
                                .from  = item.have_newest ? item.wanted.cursor : item.entry.newest,
                                .count = 1,
                                .bytes_max = 1,
                                .cookie    = kCookieBit | index});
  if (asked) return;
  // Whatever it is, not from within the caller's loop.
  items_[index].refused = asked.error().code == Errc::full ? Error{} : asked.error();
  postponed_.push_back(index);
}

void Unread::on_turn() {
  for (size_t n = postponed_.size(); n > 0; --n) {
    const uint32_t index = postponed_.front();
    postponed_.pop_front();
    if (items_[index].refused.code == Errc::ok) {
      read(index);
    } else {
      on_page(index, items_[index].refused, {});
    }
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
  const auto index = static_cast<uint32_t>(cookie & ~kCookieBit);
  Item& item       = items_[index];
  if (page.empty()) {
    // A damaged newest message is left out of lists; storage that is away spoils the whole answer.
    if (error.code != Errc::ok && error.code != Errc::corrupt) tallies_[item.tally].failed = true;
    item.entry.count = 0;
    item.have_newest = false;
    return finish_item(index, nullptr);
  }
  const store::Message& message = page.front();
  if (item.have_newest) return finish_item(index, &message);
  item.have_newest  = true;
  item.small_count  = message.small_count;
  item.hidden       = message.hidden;
  item.entry.author = message.author;
  item.entry.time   = message.time;
  item.entry.type   = message.type;
  const Bytes body = proto::is_audio(proto::MessageType(message.type)) ? as_bytes(kSoundPlaceholder)
                                                                       : message.body;
  item.body.assign(body.begin(), body.end());
  if (item.wanted.cursor == 0) return finish_item(index, nullptr);
  read(index);
}

void Unread::finish_item(uint32_t index, const store::Message* at_cursor) {
  Item item          = std::move(items_[index]);
  items_[index]      = {};
  items_[index].next = items_free_;
  items_free_        = index;
  Tally& tally       = tallies_[item.tally];
  --tally.reading;
  if (item.have_newest) {
    const uint32_t since  = item.entry.newest - item.wanted.cursor;
    const uint32_t small  = item.small_count - (at_cursor ? at_cursor->small_count : 0);
    const uint32_t hidden = item.hidden - (at_cursor ? at_cursor->hidden : 0);
    const uint32_t own    = tally.user == item.wanted.conversation.small() ? small : since - small;
    const uint32_t others = since - own;
    item.entry.count      = others > hidden ? others - hidden : 0;
    if (item.entry.count > 0) {
      item.entry.bytes = static_cast<uint32_t>(item.body.size());
      const auto head  = std::as_bytes(std::span(&item.entry, 1));
      tally.found.insert(tally.found.end(), head.begin(), head.end());
      tally.found.insert(tally.found.end(), item.body.begin(), item.body.end());
    }
  }
  advance(item.tally);
}

}  // namespace ringtalk::shard
