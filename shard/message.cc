#include "shard/message.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "engine/log.h"
#include "engine/seeded_bug.h"
#include "proto/utf8.h"
#include "shard/extension.h"
#include "shard/frames.h"
#include "shard/groups.h"
#include "shard/membership.h"

namespace ringtalk::shard {

using engine::Payload;
using engine::PayloadRef;
using proto::MessageDataView;

Messages::~Messages() = default;

namespace {

ConversationId conversation_of(UserId author, const MessageDataView& message) {
  return proto::is_group(message.type)
             ? ConversationId::group(GroupId(message.to_session_id))
             : ConversationId::single(author, UserId(message.to_session_id));
}

// Who or what is written to, as the author names it.
uint32_t target_of(ConversationId conversation, UserId author) {
  return conversation.is_group() ? raw(conversation.group()) : raw(conversation.peer_of(author));
}

}  // namespace

// --- author's home: checks ---------------------------------------------------------------------------

bool Messages::acceptable(const Session& session, const MessageDataView& message) const {
  const UserId to{message.to_session_id};
  if (proto::is_group(message.type)) {
    // One that does not exist and one the author is not in look the same.
    if (!context_.memberships->find(session.user, GroupId(message.to_session_id)) &&
        !RT_SEEDED_BUG("membership_skipped"))
      return false;
  } else if (to == session.user || !context_.directory.reachable(to)) {
    return false;
  }
  return acceptable_content(message);
}

bool Messages::acceptable_content(const MessageDataView& message) {
  if (message.client_msg_id &&
      (message.client_msg_id->empty() || message.client_msg_id->size() > kClientMsgIdMax ||
       !proto::valid_utf8(*message.client_msg_id)))
    return false;
  const size_t bytes = message.data.size();
  if (proto::is_audio(message.type)) return bytes >= kSoundBytesMin && bytes <= kSoundBytesMax;
  if (bytes == 0 || bytes > kTextBytesMax) return false;
  const auto characters = proto::count_utf8_characters(message.data);
  return characters && *characters <= kTextCharactersMax;
}

Messages::Checked Messages::fingerprints(UserId author, uint16_t sequence,
                                         const MessageDataView& message) {
  // The author is not part of `content`: it is compared among his own sends only.
  const uint64_t target = uint64_t{message.to_session_id} << 8 | static_cast<uint8_t>(message.type);
  const uint64_t body   = XXH3_64bits(message.data.data(), message.data.size());
  Checked checked{.to           = message.to_session_id,
                  .conversation = conversation_of(author, message),
                  .content      = mix(body ^ mix(target))};
  checked.repeat_key = RepeatWindow::sequence_key(checked.content ^ mix(raw(author)), sequence);
  if (message.client_msg_id) {
    const Bytes id     = *message.client_msg_id;
    checked.client_key = mix(XXH3_64bits(id.data(), id.size()) ^ mix(raw(author))) | 1;
    checked.full_key   = mix(checked.client_key ^ mix(checked.content)) | 1;
  }
  return checked;
}

Taken Messages::send(Session& session, uint16_t sequence, const MessageDataView& message) {
  if (!context_.store.has_room()) {
    if (context_.home_of(conversation_of(session.user, message)) == context_.self)
      return context_.wait_for_store(session);
  }
  const Checked checked = fingerprints(session.user, sequence, message);
  UserEntry* user       = context_.users.find(session.user);
  RT_ASSERT(user != nullptr);
  const Limits& limits = context_.limits;
  const uint64_t until =
      user->sends.wait_until(context_.loop.now_ns(), limits.sends_per_second, limits.sends_burst);
  if (until > 0) {
    context_.metrics.add(Counter::sends_paced);
    session.wake_at(until);
    return Taken::waits;
  }
  if (!acceptable(session, message)) {
    user->sends.take(context_.loop.now_ns(), limits.sends_per_second);
    context_.metrics.add(Counter::sends_refused_rule);
    tell_refused(session.key, sequence, refusal_of(context_, session, message));
    return Taken::taken;
  }
  if (session.sends_count >= kSendsInFlightMax) {
    session.waits_for_send = true;
    return Taken::waits;
  }
  if (!repeats(session, sequence, message, checked) &&
      !admit(session.user, &session, sequence, message, checked))
    return context_.stall(session);
  user->sends.take(context_.loop.now_ns(), limits.sends_per_second);
  return Taken::taken;
}

Result<void> Messages::post(UserId author, const MessageDataView& message, Posted done) {
  const UserId to{message.to_session_id};
  const bool group = proto::is_group(message.type);  // its home knows whether he is in it
  if (!acceptable_content(message)) return fail(Errc::too_large);
  if (!context_.directory.reachable(author) || (!group && !context_.directory.reachable(to)))
    return fail(Errc::not_found);
  if (!group && to == author) return fail(Errc::refused);
  Checked checked     = fingerprints(author, 0, message);
  checked.repeat_key  = 0;
  posting_            = std::move(done);
  const auto admitted = admit(author, nullptr, 0, message, checked);
  posting_            = nullptr;
  if (!admitted) return std::unexpected(admitted.error());
  return {};
}

bool Messages::repeats(Session& session, uint16_t sequence, const MessageDataView& message,
                       const Checked& checked) {
  const uint32_t now = context_.now_s();
  const UserId user  = session.user;
  auto found = checked.client_key ? context_.client_repeats.find(checked.full_key, user, now)
                                  : context_.repeats.find(checked.repeat_key, user, now);
  if (found && !found->waiting) {
    context_.metrics.add(Counter::sends_repeated);
    acknowledge(session.key, sequence, user, checked.to, static_cast<uint8_t>(message.type),
                found->value);
    return true;
  }
  if (found) {
    join(found->value, session, sequence);
    return true;
  }
  if (checked.client_key && context_.client_repeats.find(checked.client_key, user, now)) {
    context_.metrics.add(Counter::sends_refused_rule);  // the same client_msg_id for something else
    tell_refused(session.key, sequence, IM::Ext::Sys::EXT_RESULT_ALREADY);
    return true;
  }
  if (message.client_msg_id) return false;
  for (uint32_t at = session.sends_head; at != ~0u; at = pending_[at].next)
    if (pending_[at].content == checked.content && pending_[at].client_key == 0) {
      join(at, session, sequence);
      return true;
    }
  return false;
}

void Messages::join(uint32_t pending, Session& session, uint16_t sequence) {
  context_.metrics.add(Counter::sends_repeated);
  auto& others = joined_[pending];
  if (others.size() >= kSendsInFlightMax) return;  // a flood of repeats: its client retries anyway
  others.push_back({session.key, sequence});
  pending_[pending].joined = true;
}

Result<uint32_t> Messages::admit(UserId author, Session* session, uint16_t sequence,
                                 const MessageDataView& message, const Checked& checked) {
  const ConversationId conversation = checked.conversation;
  const uint32_t place_at           = context_.home_of(conversation);
  const SessionKey key              = session ? session->key : SessionKey{};
  const AppendHead head{
      .conversation = conversation,
      .author       = author,
      .type         = static_cast<uint8_t>(message.type),
      .repeat_key   = checked.repeat_key,
      .client_key   = checked.client_key,
      .full_key     = checked.full_key,
      .deadline_ns  = context_.loop.now_ns() + context_.limits.send_decision_ms * kNsPerMs,
  };
  if (place_at != context_.self) {
    if (!context_.mailbox.open_request(place_at)) {
      context_.metrics.add(Counter::lane_full);
      return fail(Errc::full);
    }
    const uint32_t pending = make_pending(session, sequence, head, checked);
    context_.mailbox.push(place_at,
                          Event::of(AppendAsk{pending, key, pack(head, message.data).release()}));
    return pending;
  }
  if (conversation.is_group()) {
    const uint32_t pending         = make_pending(session, sequence, head, checked);
    const uint32_t placement       = make_placement(context_.self, pending, key, head);
    placements_[placement].message = pack(head, message.data);
    place(placement);
    return pending;
  }

  const uint32_t receiver = context_.home_of(UserId(checked.to));
  const bool far          = receiver != context_.self;
  if (far && !context_.mailbox.reserve(receiver)) {
    context_.metrics.add(Counter::lane_full);
    return fail(Errc::full);
  }
  const uint32_t pending          = make_pending(session, sequence, head, checked);
  const uint32_t placement        = make_placement(context_.self, pending, key, head);
  placements_[placement].reserved = far;
  const bool is_new =
      context_.store.head(conversation).newest == 0 || opening_.contains(conversation.key);
  if (is_new || !unplaced_.empty()) {
    placements_[placement].message = pack(head, message.data);
    place(placement);
    return pending;
  }
  const auto stored = store_now(placement, message.data);
  if (stored) return pending;
  if (stored.error().code != Errc::full) {
    refuse(placement, stored.error());
    return pending;
  }
  if (far) context_.mailbox.unreserve(receiver);
  placements_[placement].reserved = false;
  drop_placement(placement);
  unlink_from_session(pending);
  forget_repeat(pending_[pending]);
  posted_.erase(pending);
  drop_pending(pending);
  return fail(Errc::full);
}

// --- pending sends -------------------------------------------------------------------------------------

uint32_t Messages::make_pending(Session* session, uint16_t sequence, const AppendHead& head,
                                const Checked& checked) {
  if (pending_free_ == ~0u) {
    pending_free_ = static_cast<uint32_t>(pending_.size());
    pending_.emplace_back();
  }
  const uint32_t index = pending_free_;
  Pending& pending     = pending_[index];
  pending_free_        = pending.next;
  ++pending_used_;
  pending = {.session    = session ? session->key : SessionKey{},
             .author     = head.author,
             .to         = checked.to,
             .content    = checked.content,
             .repeat_key = head.repeat_key,
             .client_key = head.client_key,
             .full_key   = head.full_key,
             .sequence   = sequence,
             .type       = head.type,
             .posted     = session == nullptr};
  if (!session) {
    posted_[index] = std::move(posting_);
    return index;
  }
  // At the end: results come in the order of sending, so the first is the one to be unlinked.
  (session->sends_head == ~0u ? session->sends_head : pending_[session->sends_tail].next) = index;
  session->sends_tail                                                                     = index;
  ++session->sends_count;
  const uint32_t now = context_.now_s();
  if (head.client_key) {
    context_.client_repeats.put_waiting(head.client_key, head.author, index, now);
    context_.client_repeats.put_waiting(head.full_key, head.author, index, now);
  } else {
    context_.repeats.put_waiting(head.repeat_key, head.author, index, now);
  }
  return index;
}

void Messages::drop_pending(uint32_t index) {
  pending_[index].next = pending_free_;
  pending_free_        = index;
  --pending_used_;
}

void Messages::forget_repeat(const Pending& pending) {
  if (pending.client_key) {
    context_.client_repeats.forget(pending.client_key, pending.author);
    context_.client_repeats.forget(pending.full_key, pending.author);
  } else if (pending.repeat_key) {
    context_.repeats.forget(pending.repeat_key, pending.author);
  }
}

void Messages::unlink_from_session(uint32_t index) {
  Session* session = context_.sessions.find(pending_[index].session);
  if (!session) return;
  uint32_t before = ~0u;
  for (uint32_t at = session->sends_head; at != ~0u; before = at, at = pending_[at].next) {
    if (at != index) continue;
    (before == ~0u ? session->sends_head : pending_[before].next) = pending_[index].next;
    if (session->sends_tail == index) session->sends_tail = before;
    --session->sends_count;
    break;
  }
  if (session->waits_for_send) {
    session->waits_for_send = false;
    session->wake();
  }
}

void Messages::on_session_gone(Session& session) {
  session.sends_head  = ~0u;  // the sends go on; nobody waits for their acknowledgement
  session.sends_count = 0;
}

void Messages::decided(uint32_t index, Error error, uint32_t msg_id, uint32_t time, Bytes body) {
  const Pending pending = pending_[index];
  unlink_from_session(index);
  const uint32_t now = context_.now_s();
  const bool ok      = error.code == Errc::ok;
  if (pending.client_key && ok) {
    context_.client_repeats.put_durable(pending.client_key, pending.author, msg_id, now);
    context_.client_repeats.put_durable(pending.full_key, pending.author, msg_id, now);
  } else if (ok && pending.repeat_key) {
    context_.repeats.put_durable(pending.repeat_key, pending.author, msg_id, now);
  } else if (!ok) {
    forget_repeat(pending);
  }
  std::vector<Joined> joined;
  Posted posted;
  if (pending.posted) {
    posted = std::move(posted_.at(index));
    posted_.erase(index);
  }
  if (pending.joined) {
    if (const auto at = joined_.find(index); at != joined_.end()) {
      joined = std::move(at->second);
      joined_.erase(at);
    }
  }
  drop_pending(index);
  if (posted) posted(error, msg_id, time);
  if (!ok) {
    const bool rule = error.code == Errc::not_found;  // not in the group any more
    const auto told = rule ? IM::Ext::Sys::EXT_RESULT_NOT_EXIST : IM::Ext::Sys::EXT_RESULT_STORAGE;
    context_.metrics.add(rule ? Counter::sends_refused_rule : Counter::sends_refused_store);
    tell_refused(pending.session, pending.sequence, told);
    for (const Joined& other : joined) tell_refused(other.session, other.sequence, told);
    return;
  }
  context_.metrics.add(Counter::sends_acknowledged);
  if (engine::log::message_lines())  // never its content
    engine::log::write_each("message", {{"from", raw(pending.author)},
                                        {"to", pending.to},
                                        {"msg_id", msg_id},
                                        {"type", uint32_t{pending.type}},
                                        {"bytes", body.size()},
                                        {"time", time}});
  acknowledge(pending.session, pending.sequence, pending.author, pending.to, pending.type, msg_id);
  for (const Joined& other : joined)
    acknowledge(other.session, other.sequence, pending.author, pending.to, pending.type, msg_id);
  if (proto::is_group(proto::MessageType(pending.type))) {  // his other devices are in the fan-out
    const GroupId group{pending.to};
    context_.store.note_own(pending.author, ConversationId::group(group), msg_id);
    context_.memberships->show(pending.author, group);
    return;
  }

  // The author's other devices.
  const UserEntry* user = context_.users.find(pending.author);
  const Session* sender = context_.sessions.find(pending.session);
  if (!user || !user->first || (user->first == sender && !sender->next_of_user)) return;
  const MessageDataView view{.from_user_id  = raw(pending.author),
                             .to_session_id = pending.to,
                             .msg_id        = msg_id,
                             .create_time   = time,
                             .type          = proto::MessageType(pending.type),
                             .data          = body};
  scratch_.resize(proto::message_data_bytes(view));
  proto::encode_message_data(scratch_, view);
  deliver(pending.author, pending.author, msg_id, scratch_, sender);
}

// Stock clients get silence, those that said hello 0x2003.
void Messages::tell_refused(SessionKey key, uint16_t sequence, uint32_t result) {
  shard::refuse(context_, context_.sessions.find(key), proto::CommandId::msg_data, sequence,
                static_cast<ExtResult>(result));
}

void Messages::acknowledge(SessionKey key, uint16_t sequence, UserId author, uint32_t to,
                           uint8_t type, uint32_t msg_id) {
  Session* session = context_.sessions.find(key);
  if (!session || !session->is_open()) return;
  const proto::MessageAck ack{raw(author), to, msg_id,
                              proto::session_type_of(proto::MessageType(type))};
  const size_t bytes = proto::message_ack_bytes(ack);
  proto::encode_message_ack({session->reserve(static_cast<uint32_t>(bytes)), bytes}, sequence, ack);
  context_.metrics.add(Counter::frames_out);
}

// --- conversation's home ---------------------------------------------------------------------------------

uint32_t Messages::make_placement(uint32_t origin, uint32_t pending, SessionKey session,
                                  const AppendHead& head) {
  if (placements_free_ == ~0u) {
    placements_free_ = static_cast<uint32_t>(placements_.size());
    placements_.emplace_back();
  }
  const uint32_t index = placements_free_;
  Placement& placement = placements_[index];
  placements_free_     = placement.next;
  ++placements_used_;
  placement.origin   = origin;
  placement.pending  = pending;
  placement.head     = head;
  placement.session  = session;
  placement.reserved = placement.admitted = false;
  return index;
}

void Messages::drop_placement(uint32_t index) {
  Placement& placement = placements_[index];
  RT_ASSERT(!placement.reserved);
  placement.message = {};
  placement.next    = placements_free_;
  placements_free_  = index;
  --placements_used_;
}

PayloadRef Messages::pack(const AppendHead& head, Bytes body) {
  Payload* payload = Payload::make(sizeof head + body.size());
  std::memcpy(payload->data(), &head, sizeof head);
  std::memcpy(payload->data() + sizeof head, body.data(), body.size());
  return PayloadRef::adopt(payload);
}

Bytes Messages::body_of(const PayloadRef& message) {
  return message.bytes().subspan(sizeof(AppendHead));
}

void Messages::on_append_ask(uint32_t from, const AppendAsk& ask) {
  PayloadRef message = PayloadRef::adopt(ask.message);
  AppendHead head;
  std::memcpy(&head, message.bytes().data(), sizeof head);
  const uint32_t placement       = make_placement(from, ask.pending, ask.session, head);
  placements_[placement].message = std::move(message);
  place(placement);
}

void Messages::place(uint32_t index) {
  const AppendHead& head = placements_[index].head;
  if (head.conversation.is_group())
    return context_.groups->place(head.conversation.group(), head.author, index);
  const auto at = opening_.find(head.conversation.key);
  if (at != opening_.end()) {
    at->second.waiting.push_back(index);
  } else if (context_.store.head(head.conversation).newest > 0) {
    store_or_queue(index);
  } else {
    opening_[head.conversation.key].waiting.push_back(index);
    open_conversation(head.conversation);
  }
}

void Messages::store_or_queue(uint32_t index) {
  if (!unplaced_.empty()) {  // behind what came earlier
    unplaced_.push_back(index);
    return;
  }
  const auto stored = store_now(index, body_of(placements_[index].message));
  if (stored) return;
  if (stored.error().code != Errc::full) return refuse(index, stored.error());
  store_has_room_ = false;
  unplaced_.push_back(index);
}

Result<void> Messages::store_now(uint32_t index, Bytes body) {
  const AppendHead& head = placements_[index].head;
  return context_.store.append({.conversation = head.conversation,
                                .author       = head.author,
                                .type         = head.type,
                                .body         = body,
                                .repeat_key   = head.repeat_key,
                                .client_key   = head.client_key,
                                .full_key     = head.full_key,
                                .deadline_ns  = head.deadline_ns,
                                .cookie       = index});
}

void Messages::open_conversation(ConversationId conversation) {
  const auto asked = context_.store.open_conversation(
      conversation, context_.now_s(),
      [this, conversation](Result<void> opened) { on_opened(conversation, opened); });
  if (asked) {
    opening_[conversation.key].asked = true;
  } else if (asked.error().code != Errc::full) {
    on_opened(conversation, asked);
  }  // full: on_tick() asks again until the deadlines pass
}

void Messages::on_opened(ConversationId conversation, Result<void> opened) {
  const auto at = opening_.find(conversation.key);
  if (at == opening_.end()) return;
  const std::vector<uint32_t> waiting = std::move(at->second.waiting);
  opening_.erase(at);
  for (const uint32_t index : waiting) {
    if (opened) {
      store_or_queue(index);
    } else {
      refuse(index, opened.error());
    }
  }
}

void Messages::on_turn() {
  while (!unplaced_.empty()) {
    const uint32_t index = unplaced_.front();
    const auto stored    = store_now(index, body_of(placements_[index].message));
    if (!stored && stored.error().code == Errc::full) {
      store_has_room_ = false;
      return;
    }
    unplaced_.pop_front();
    if (!stored) refuse(index, stored.error());
  }
  store_has_room_ = true;
}

void Messages::on_tick() {
  const uint64_t now = context_.loop.now_ns();
  std::vector<uint32_t> late;
  const auto expired = [&](uint32_t index) {
    const bool is_late = placements_[index].head.deadline_ns <= now;
    if (is_late) late.push_back(index);
    return is_late;
  };
  std::erase_if(unplaced_, expired);
  context_.groups->expire(expired);
  std::vector<uint64_t> again;
  for (auto& [key, opening] : opening_) {
    std::erase_if(opening.waiting, expired);
    if (!opening.asked) again.push_back(key);
  }
  for (const uint32_t index : late) refuse(index, {Errc::timeout});
  for (const uint64_t key : again) {
    if (opening_[key].waiting.empty()) {
      opening_.erase(key);
    } else {
      open_conversation({key});
    }
  }
  store_has_room_ = true;
}

void Messages::on_appended(const store::Appended& result) {
  finish_placement(static_cast<uint32_t>(result.cookie), result.error, result.msg_id, result.time,
                   result.body);
}

void Messages::refuse(uint32_t index, Error error) { finish_placement(index, error, 0, 0, {}); }

void Messages::admitted(uint32_t index) {
  placements_[index].admitted = true;
  store_or_queue(index);
}

void Messages::finish_placement(uint32_t index, Error error, uint32_t msg_id, uint32_t time,
                                Bytes body) {
  Placement placement         = std::move(placements_[index]);
  placements_[index].reserved = false;
  const GroupId group         = placement.head.conversation.group();
  const bool admitted         = placement.admitted;
  drop_placement(index);
  tell_outcome(std::move(placement), error, msg_id, time, body);
  if (admitted) context_.groups->decided(group);
}

void Messages::tell_outcome(Placement placement, Error error, uint32_t msg_id, uint32_t time,
                            Bytes body) {
  const AppendHead& head = placement.head;
  const bool reserved    = placement.reserved;
  const bool group       = head.conversation.is_group();
  if (placement.origin == context_.self) {
    decided(placement.pending, error, msg_id, time, body);
  } else {
    context_.mailbox.reply(
        placement.origin,
        Event::of(AppendDone{placement.pending, msg_id, time, error, placement.message.release()}));
  }
  const UserId to         = group ? UserId{} : head.conversation.peer_of(head.author);
  const uint32_t receiver = context_.home_of(to);
  if (error.code != Errc::ok) {
    if (reserved) context_.mailbox.unreserve(receiver);
    return;
  }
  context_.bus.publish({.conversation = head.conversation, .value = msg_id});
  const MessageDataView view{.from_user_id  = raw(head.author),
                             .to_session_id = target_of(head.conversation, head.author),
                             .msg_id        = msg_id,
                             .create_time   = time,
                             .type          = proto::MessageType(head.type),
                             .data          = body};
  const size_t bytes = proto::message_data_bytes(view);
  if (group) {
    const PayloadRef frame = PayloadRef::adopt(Payload::make(bytes));
    proto::encode_message_data({frame.get()->data(), bytes}, view);
    return context_.groups->fan_out(head.conversation.group(), head.author, msg_id,
                                    placement.session, frame);
  }
  if (!reserved) {  // the receiver lives here
    if (!context_.users.find(to)) return;
    scratch_.resize(bytes);
    proto::encode_message_data(scratch_, view);
    deliver(to, head.author, msg_id, scratch_, nullptr);
    return;
  }
  Payload* frame = Payload::make(bytes);
  proto::encode_message_data({frame->data(), bytes}, view);
  context_.mailbox.push(receiver, Event::of(Deliver{to, head.author, msg_id, frame}));
}

void Messages::on_append_done(uint32_t from, const AppendDone& done) {
  context_.mailbox.close_request(from);
  const PayloadRef message = PayloadRef::adopt(done.message);
  decided(done.pending, done.error, done.msg_id, done.time, message ? body_of(message) : Bytes{});
}

// --- receiver's home ----------------------------------------------------------------------------------------

void Messages::on_deliver(const Deliver& event) {
  const PayloadRef frame = PayloadRef::adopt(event.frame);
  deliver(event.to, event.author, event.msg_id, frame.bytes(), nullptr);
}

void Messages::deliver(UserId to, UserId author, uint32_t msg_id, Bytes frame,
                       const Session* except) {
  PayloadRef shared;
  const uint32_t now = context_.now_s();
  context_.users.each_session(to, [&](Session& session) {
    if (&session == except) return;
    push_to(session, frame, shared);
    if (to != author)
      context_.watch.delivered(uint64_t{session.key.index} << 32 | session.key.generation,
                               raw(author), msg_id, now);
  });
}

void Messages::push_to(Session& session, Bytes frame, PayloadRef& shared) {
  if (is_too_slow(context_, session, frame.size())) {
    context_.metrics.add(Counter::close_slow_reader);
    session.abort();
    return;
  }
  context_.metrics.add(Counter::frames_out);
  context_.metrics.add(Counter::deliveries);
  if (frame.size() <= engine::SendQueue::kCopyBytesMax) {
    std::memcpy(session.reserve(static_cast<uint32_t>(frame.size())), frame.data(), frame.size());
    return;
  }
  if (!shared) shared = PayloadRef::adopt(Payload::copy(frame));
  session.push(shared);
}

// The conversation is named differently by each client: its own id and the peer (Windows), 0 and the
// peer (iOS), the author and its own id (Android). Whichever is neither its own id nor 0 counts.
void Messages::confirm(Session& session, const proto::MessageAck& ack) {
  if (ack.session_type != proto::SessionType::single) return;
  const uint32_t self = raw(session.user);
  uint32_t peer       = ack.session_id;
  if (peer == 0 || peer == self) peer = ack.user_id;
  if (context_.watch.confirmed(uint64_t{session.key.index} << 32 | session.key.generation, peer,
                               ack.msg_id))
    context_.metrics.add(Counter::delivery_acks);
}

void Messages::recover(std::span<const store::Repeat> repeats) {
  for (const store::Repeat& repeat : repeats) {
    if (repeat.client_key) {
      context_.client_repeats.put_durable(repeat.client_key, repeat.author, repeat.msg_id,
                                          repeat.time);
      if (repeat.full_key)
        context_.client_repeats.put_durable(repeat.full_key, repeat.author, repeat.msg_id,
                                            repeat.time);
    } else if (repeat.repeat_key) {
      context_.repeats.put_durable(repeat.repeat_key, repeat.author, repeat.msg_id, repeat.time);
    }
  }
}

}  // namespace ringtalk::shard
