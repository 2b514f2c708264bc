#include "shard/presence.h"

#include <algorithm>
#include <span>
#include <vector>

#include "proto/buddy.pb.h"
#include "proto/parse.h"
#include "shard/frames.h"

namespace ringtalk::shard {

using engine::Payload;
using engine::PayloadRef;
using proto::CommandId;

namespace {

// A protobuf field of a small number, and where the next one goes.
uint8_t* put_field(uint8_t* to, uint8_t tag, uint32_t value) {
  *to++ = tag;
  for (; value >= 0x80; value >>= 7) *to++ = static_cast<uint8_t>(value | 0x80);
  *to++ = static_cast<uint8_t>(value);
  return to;
}

IM::BaseDefine::UserStatType state_of(bool online) {
  return online ? IM::BaseDefine::USER_STATUS_ONLINE : IM::BaseDefine::USER_STATUS_OFFLINE;
}

}  // namespace

// --- user's home ---------------------------------------------------------------------------------------------

void Presence::opened(const Session& session) {
  if (!session.is_mobile()) note(session.user, true);
  if (has_pc(session.user)) tell_own_phones(session.user, true);
}

void Presence::closed(const Session& session) {
  if (stopped_ || session.is_mobile()) return;
  bool others = false;
  context_.users.each_session(session.user,
                              [&](const Session& other) { others |= !other.is_mobile(); });
  if (others) return;
  note(session.user, false);
  tell_own_phones(session.user, false);
}

void Presence::note(UserId user, bool online) {
  if (context_.shards > 1) unshared_[raw(user)] = online;
  learn(user, online);
}

void Presence::tell_own_phones(UserId user, bool online) {
  PayloadRef frame;
  context_.users.each_session(user, [&](Session& session) {
    if (!session.is_mobile()) return;
    if (!frame) {
      IM::Buddy::IMPCLoginStatusNotify notify;
      notify.set_user_id(raw(user));
      notify.set_login_stat(state_of(online));
      frame = frame_of(CommandId::pc_login_status_notify, 0, notify);
    }
    push(context_, session, frame);
  });
}

// All or none of the other shards, so that one list serves them all.
void Presence::on_turn_end() {
  const uint64_t now = context_.loop.now_ns();
  if (unshared_.empty() || stopped_) return;
  if (now < next_share_ns_) {
    if (!share_alarm_.armed()) context_.loop.timers().arm(share_alarm_, next_share_ns_);
    return;
  }
  for (uint32_t to = 0; to < context_.shards; ++to) {
    if (to == context_.self || context_.mailbox.reserve(to)) continue;
    context_.metrics.add(Counter::lane_full);
    while (to-- > 0)
      if (to != context_.self) context_.mailbox.unreserve(to);
    return;
  }
  std::vector<PresenceChange> changes;
  changes.reserve(unshared_.size());
  for (const auto& [user, online] : unshared_) changes.push_back({UserId(user), online});
  unshared_.clear();
  const PayloadRef news = PayloadRef::adopt(Payload::copy(std::as_bytes(std::span(changes))));
  for (uint32_t to = 0; to < context_.shards; ++to)
    if (to != context_.self)
      context_.mailbox.push(to, Event::of(PresenceNews{PayloadRef(news).release()}));
  next_share_ns_ = now + context_.shards * kShareNs;
}

// --- every shard -----------------------------------------------------------------------------------------------

void Presence::on_news(const PresenceNews& event) {
  const PayloadRef news = PayloadRef::adopt(event.changes);
  const Bytes bytes     = news.bytes();
  for (size_t at = 0; at < bytes.size(); at += sizeof(PresenceChange)) {
    const auto change = load_native<PresenceChange>(bytes.data() + at);
    learn(change.user, change.online != 0);
  }
}

void Presence::learn(UserId user, bool online) {
  if (pcs_.has(user) != online && pcs_.set(user, online)) online ? ++pcs_online_ : --pcs_online_;
  if (stopped_) return;
  const auto [at, fresh] = untold_.insert_or_assign(raw(user), online);
  if (fresh) order_.push_back(user);
}

void Presence::on_tick() {
  const uint64_t now = context_.loop.now_ns();
  if (telling_ || untold_.empty() || stopped_ || now < next_telling_ns_) return;
  telling_         = encode_waiting();
  told_slots_      = 0;
  next_telling_ns_ = now + std::max(kIntervalNs, pcs_online_ * kPerPcNs);
}

PayloadRef Presence::encode_waiting() {
  std::vector<std::byte> frames;
  while (!order_.empty() && frames.size() < kTellBytesMax) {
    const auto at = untold_.find(raw(order_.front()));
    IM::Buddy::IMUserStatNotify notify;
    notify.mutable_user_stat()->set_user_id(raw(order_.front()));
    notify.mutable_user_stat()->set_status(state_of(at->second));
    const size_t bytes = proto::encoded_size(notify);
    frames.resize(frames.size() + bytes);
    proto::encode_frame(MutableBytes(frames).last(bytes), CommandId::user_stat_notify, 0, notify);
    untold_.erase(at);
    order_.pop_front();
  }
  return PayloadRef::adopt(Payload::copy(frames));
}

// Sessions that come while their slot was passed already ask for the states themselves.
void Presence::on_turn() {
  if (!telling_) return;
  const uint32_t end = std::min(told_slots_ + kSlotsPerSlice, context_.sessions.places());
  for (; told_slots_ < end; ++told_slots_) {
    Session* session = context_.sessions.at(told_slots_);
    if (!session || !session->is_open() || session->is_mobile()) continue;
    context_.metrics.add(Counter::presence_pushes);
    push(context_, *session, telling_);
  }
  if (told_slots_ >= context_.sessions.places()) telling_ = {};
}

void Presence::stop() {
  stopped_ = true;
  telling_ = {};
  unshared_.clear();
  untold_.clear();
  order_.clear();
}

Taken Presence::status(Session& session, uint16_t sequence, Bytes body) {
  IM::Buddy::IMUsersStatReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  // Written by hand: a frame of ids is up to 64 Ki entries, and as many objects would hold the shard
  // for 10 ms.
  constexpr size_t kEntryBytesMax = 2 + 1 + 5 + 2;
  std::vector<std::byte> frame(proto::kHeaderBytes + 6 +
                               static_cast<size_t>(request.user_id_list_size()) * kEntryBytesMax);
  uint8_t* const begin = reinterpret_cast<uint8_t*>(frame.data());
  uint8_t* to          = put_field(begin + proto::kHeaderBytes, 0x08, raw(session.user));
  for (const uint32_t id : request.user_id_list()) {
    uint8_t* const entry = to + 2;
    uint8_t* end         = put_field(entry, 0x08, id);
    end                  = put_field(end, 0x10, state_of(has_pc(UserId(id))));
    to[0]                = 0x12;
    to[1]                = static_cast<uint8_t>(end - entry);
    to                   = end;
  }
  frame.resize(static_cast<size_t>(to - begin));
  proto::encode_header(frame.data(), proto::make_header(CommandId::users_stat_response, sequence,
                                                        frame.size() - proto::kHeaderBytes));
  context_.charge(session, static_cast<uint32_t>(request.user_id_list_size()));
  answer(session, PayloadRef::adopt(Payload::copy(frame)));
  return Taken::taken;
}

}  // namespace ringtalk::shard
