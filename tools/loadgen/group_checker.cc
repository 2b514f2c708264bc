#include "tools/loadgen/group_checker.h"

#include <algorithm>
#include <bit>

#include "engine/base/assert.h"
#include "tools/loadgen/body.h"

namespace ringtalk::loadgen {

GroupChecker::GroupChecker(uint32_t run, uint32_t group, std::vector<uint32_t> users,
                           AnomalyLog& log)
    : run_(run), group_(group), log_(&log), slots_(64), here_(static_cast<uint32_t>(users.size())) {
  members_.reserve(users.size());
  for (const uint32_t user : users) members_.push_back({.user = user});
}

uint64_t GroupChecker::send(uint32_t member, uint64_t intended_ns) {
  RT_ASSERT(has_room());
  if (sent_ - done_ == slots_.size()) {
    std::vector<Slot> larger(slots_.size() * 2);
    for (uint64_t op = done_; op < sent_; ++op) larger[op & (larger.size() - 1)] = slot(op);
    slots_ = std::move(larger);
  }
  slot(sent_) = {.intended_ns = intended_ns, .author = member};
  return sent_++;
}

// False: this member has seen the id before.
bool GroupChecker::see(Member& member, uint32_t id) {
  if (id < member.next_id) return false;
  while (id - member.next_id >=
         64) {  // the window moves on; what it leaves behind unseen is missing
    if ((member.ahead & 1) == 0)
      log_->add(Anomaly::undelivered, "never saw id", member.user, member.next_id);
    member.ahead >>= 1;
    ++member.next_id;
  }
  const uint64_t bit = uint64_t{1} << (id - member.next_id);
  if (member.ahead & bit) return false;
  member.ahead |= bit;
  const int seen = std::countr_one(member.ahead);
  member.next_id += static_cast<uint32_t>(seen);
  member.ahead = seen == 64 ? 0 : member.ahead >> seen;
  return true;
}

void GroupChecker::note_id(Slot& of, uint64_t op, uint32_t id) {
  id_max_ = std::max(id_max_, id);
  if (of.id != 0 && of.id != id)
    log_->add(Anomaly::mismatch, "one message under several ids, op", members_[of.author].user, op);
  of.id = id;
}

std::optional<Conversation::Acked> GroupChecker::ack(uint32_t index, uint16_t sequence,
                                                     uint32_t msg_id) {
  Member& member    = members_[index];
  const auto ahead  = static_cast<uint16_t>(sequence - Conversation::sequence_of(done_));
  const uint64_t op = done_ + ahead;
  if (op >= sent_ || slot(op).acked || slot(op).author != index) {
    log_->add(Anomaly::duplicate, "acknowledged twice or never sent, sequence", member.user,
              sequence);
    return {};
  }
  Slot& s = slot(op);
  s.acked = true;
  note_id(s, op, msg_id);
  if (!see(member, msg_id))
    log_->add(Anomaly::duplicate, "id given to two messages, id", member.user, msg_id);
  const Conversation::Acked acked{op, s.intended_ns};
  advance();
  return acked;
}

std::optional<uint64_t> GroupChecker::push(uint32_t index, const Delivery& delivery) {
  Member& member  = members_[index];
  const auto body = decode_body(delivery.data);
  if (!body) {
    log_->add(Anomaly::corrupted, "pushed bytes that nobody wrote, id", member.user,
              delivery.msg_id);
    return {};
  }
  if (body->run != run_ || body->receiver != group_ || body->op >= sent_ ||
      body->sender == member.user) {
    log_->add(Anomaly::foreign, "pushed a message of another conversation, id", member.user,
              delivery.msg_id);
    return {};
  }
  if (delivery.from != body->sender || delivery.to != group_)
    log_->add(Anomaly::mismatch, "frame and body name different people, op", member.user, body->op);
  if (!see(member, delivery.msg_id)) {
    log_->add(Anomaly::duplicate, "pushed twice, id", member.user, delivery.msg_id);
    return {};
  }
  if (delivery.msg_id < member.push_id)
    log_->add(Anomaly::inversion, "pushed out of order, id", member.user, delivery.msg_id);
  member.push_id = std::max(member.push_id, delivery.msg_id);
  if (body->op < done_) return {};  // a member who had left: his share was given up
  Slot& s = slot(body->op);
  note_id(s, body->op, delivery.msg_id);
  if (members_[s.author].user != body->sender)
    log_->add(Anomaly::foreign, "a body of another author, op", member.user, body->op);
  ++s.pushed;
  const uint64_t intended = s.intended_ns;
  advance();
  return intended;
}

void GroupChecker::leave(uint32_t index) {
  if (!members_[index].here) return;
  members_[index].here = false;
  --here_;
  for (uint64_t op = done_; op < sent_; ++op)
    if (slot(op).author == index && !slot(op).acked) slot(op).unknown = true;
  advance();
}

void GroupChecker::advance() {
  for (; done_ < sent_; ++done_) {
    const Slot& s         = slot(done_);
    const uint32_t wanted = here_ - (members_[s.author].here ? 1 : 0);
    if (s.unknown) {
      ++unknown_;
    } else if (!s.acked || s.pushed < wanted) {
      return;
    }
  }
}

void GroupChecker::finish() {
  for (uint64_t op = done_; op < sent_; ++op) {
    const Slot& s = slot(op);
    if (s.unknown) {
      ++unknown_;
    } else if (!s.acked) {
      log_->add(Anomaly::lost, "neither acknowledged nor refused, op", members_[s.author].user, op);
      if (s.id != 0) see(members_[s.author], s.id);  // one fault, one name
    }
  }
  for (const Member& member : members_) {
    if (!member.here || unknown_ > 0)
      continue;  // an unknown send may hold an id that nobody was told
    for (uint32_t id = member.next_id; id <= id_max_; ++id)
      if (id - member.next_id >= 64 || (member.ahead >> (id - member.next_id) & 1) == 0)
        log_->add(Anomaly::undelivered, "never saw id", member.user, id);
  }
}

}  // namespace ringtalk::loadgen
