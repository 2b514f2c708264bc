#include "shard/profile_news.h"

#include <algorithm>
#include <vector>

#include "shard/frames.h"

namespace ringtalk::shard {

using engine::Payload;
using engine::PayloadRef;

namespace {

void append(std::vector<std::byte>& to, Bytes bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

// --- user's home --------------------------------------------------------------------------------------------

void ProfileNews::changed(UserId user, ProfileField field, PayloadRef frame) {
  if (stopped_) return;
  const Key key{user, field};
  if (context_.shards > 1) unshared_.insert_or_assign(key, frame);
  learn(key, std::move(frame));
}

// All or none of the other shards, so that one list serves them all.
void ProfileNews::on_turn_end() {
  if (unshared_.empty()) return;
  for (uint32_t to = 0; to < context_.shards; ++to) {
    if (to == context_.self || context_.mailbox.reserve(to)) continue;
    context_.metrics.add(Counter::lane_full);
    while (to-- > 0)
      if (to != context_.self) context_.mailbox.unreserve(to);
    return;
  }
  std::vector<std::byte> changes;
  for (const auto& [key, frame] : unshared_) {
    const ProfileChange change{key.user, key.field, static_cast<uint32_t>(frame.bytes().size())};
    append(changes, std::as_bytes(std::span(&change, 1)));
    append(changes, frame.bytes());
  }
  unshared_.clear();
  const PayloadRef news = PayloadRef::adopt(Payload::copy(changes));
  for (uint32_t to = 0; to < context_.shards; ++to)
    if (to != context_.self)
      context_.mailbox.push(to, Event::of(ProfileChanges{PayloadRef(news).release()}));
}

// --- every shard ---------------------------------------------------------------------------------------------

void ProfileNews::on_changes(const ProfileChanges& event) {
  const PayloadRef news = PayloadRef::adopt(event.changes);
  if (stopped_) return;
  for (Bytes rest = news.bytes(); !rest.empty();) {
    const auto change = load_native<ProfileChange>(rest.data());
    const Bytes frame = rest.subspan(sizeof change, change.bytes);
    learn({change.user, change.field}, PayloadRef::adopt(Payload::copy(frame)));
    rest = rest.subspan(sizeof change + change.bytes);
  }
}

void ProfileNews::learn(Key key, PayloadRef frame) {
  const auto [at, fresh] = entries_.try_emplace(key);
  at->second.frame       = std::move(frame);
  if (fresh) ready_.push_back(key);
}

void ProfileNews::cool_down(uint64_t now_ns) {
  while (!cooling_.empty()) {
    const auto at = entries_.find(cooling_.front());
    if (at->second.due_ns > now_ns) return;
    if (at->second.frame) {
      ready_.push_back(at->first);
    } else {
      entries_.erase(at);
    }
    cooling_.pop_front();
  }
}

PayloadRef ProfileNews::gather(uint64_t now_ns) {
  std::vector<std::byte> frames;
  while (!ready_.empty()) {
    Entry& entry      = entries_.at(ready_.front());
    const Bytes frame = entry.frame.bytes();
    if (frames.size() + frame.size() > kTellBytesMax) break;
    append(frames, frame);
    entry = {.due_ns = now_ns + kPerUserNs};
    cooling_.push_back(ready_.front());
    ready_.pop_front();
  }
  return PayloadRef::adopt(Payload::copy(frames));
}

// Sessions that come while their slot was passed already read the new profile.
void ProfileNews::on_turn() {
  const uint64_t now = context_.loop.now_ns();
  cool_down(now);
  if (!telling_ && may_tell()) {
    telling_         = gather(now);
    told_slots_      = 0;
    next_telling_ns_ = now + context_.sessions.count() * kPerSessionNs;
  }
  if (!telling_) return;
  const uint32_t end = std::min(told_slots_ + kSlotsPerSlice, context_.sessions.places());
  for (; told_slots_ < end; ++told_slots_) {
    Session* session = context_.sessions.at(told_slots_);
    if (!session || !session->is_open()) continue;
    context_.metrics.add(Counter::profile_pushes);
    push(context_, *session, telling_);
  }
  if (told_slots_ >= context_.sessions.places()) telling_ = {};
}

void ProfileNews::stop() {
  stopped_ = true;
  telling_ = {};
  unshared_.clear();
  entries_.clear();
  ready_.clear();
  cooling_.clear();
}

}  // namespace ringtalk::shard
