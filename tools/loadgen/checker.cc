#include "tools/loadgen/checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/base/assert.h"
#include "tools/loadgen/body.h"

namespace ringtalk::loadgen {

std::string_view name_of(Anomaly anomaly) {
  switch (anomaly) {
    case Anomaly::lost: return "lost";
    case Anomaly::undelivered: return "undelivered";
    case Anomaly::duplicate: return "duplicate";
    case Anomaly::inversion: return "inversion";
    case Anomaly::gap: return "gap";
    case Anomaly::foreign: return "foreign";
    case Anomaly::corrupted: return "corrupted";
    case Anomaly::mismatch: return "mismatch";
  }
  return "";
}

// --- the log -------------------------------------------------------------------------------------

void AnomalyLog::add(Anomaly kind, std::string_view what, uint32_t user, uint64_t number) {
  ++counts_[static_cast<size_t>(kind)];
  if (samples_.size() < kSamplesMax)
    samples_.push_back(fmt::format("{}: user {}: {} {}", name_of(kind), user, what, number));
}

void AnomalyLog::merge(const AnomalyLog& other) {
  for (size_t i = 0; i < kAnomalies; ++i) counts_[i] += other.counts_[i];
  for (const std::string& sample : other.samples_)
    if (samples_.size() < kSamplesMax) samples_.push_back(sample);
}

uint64_t AnomalyLog::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), uint64_t{0});
}

// --- sending -------------------------------------------------------------------------------------

void Conversation::grow(Side& side) {
  const size_t old = side.slots.size();
  if (side.sent - side.done < old) return;
  RT_ASSERT(old < kSlotsMax);
  std::vector<Slot> larger(old == 0 ? 4 : old * 2);
  for (uint64_t op = side.done; op < side.sent; ++op)
    larger[op & (larger.size() - 1)] = side.slots[op & (old - 1)];
  side.slots = std::move(larger);
}

uint64_t Conversation::send(uint32_t side, uint64_t intended_ns) {
  RT_ASSERT(has_room(side));
  Side& author = sides_[side];
  grow(author);
  const uint64_t op = author.sent++;
  slot(author, op)  = {.intended_ns = intended_ns};
  return op;
}

std::optional<Conversation::Acked> Conversation::ack(uint32_t side, uint16_t sequence,
                                                     uint32_t msg_id) {
  Side& author        = sides_[side];
  const uint32_t user = setup_.users[side];
  // The sequence is the op's low bits; fewer than 65,536 ops are open, so it names one.
  const auto ahead  = static_cast<uint16_t>(sequence - sequence_of(author.done));
  const uint64_t op = author.done + ahead;
  if (op >= author.sent) {
    log_->add(Anomaly::duplicate, "acknowledged twice or never sent, sequence", user, sequence);
    return {};
  }
  Slot& s = slot(author, op);
  if (s.flags & kAcked) {
    log_->add(Anomaly::duplicate, "acknowledged twice, op", user, op);
    return {};
  }
  s.flags |= kAcked;
  if (op < author.ack_next) {
    log_->add(Anomaly::inversion, "acknowledged out of order, op", user, op);
  } else if (msg_id <= author.ack_id) {
    log_->add(Anomaly::inversion, "acknowledged with an id that does not rise, id", user, msg_id);
  }
  author.ack_next = std::max(author.ack_next, op + 1);
  author.ack_id   = std::max(author.ack_id, msg_id);
  note_id(side, s, op, msg_id);
  const Acked acked{op, s.intended_ns};
  advance(author);
  return acked;
}

// --- receiving -----------------------------------------------------------------------------------

void Conversation::note_id(uint32_t author, Slot& of, uint64_t op, uint32_t id) {
  const uint32_t user = setup_.users[author];
  if (of.id != 0) {
    if (of.id != id)
      log_->add(Anomaly::mismatch, "acknowledged and delivered with different ids, op", user, op);
    return;
  }
  of.id = id;
  if (id == 0) return log_->add(Anomaly::mismatch, "id 0, op", user, op);
  if (ids_.empty()) ids_.resize(kIdsKept);
  uint32_t& kept = ids_[id % kIdsKept];
  if (kept == id) log_->add(Anomaly::duplicate, "id given to two messages, id", user, id);
  kept    = id;
  id_min_ = ids_seen_ == 0 ? id : std::min(id_min_, id);
  id_max_ = std::max(id_max_, id);
  ++ids_seen_;
}

std::optional<uint64_t> Conversation::push(uint32_t side, const Delivery& delivery) {
  const uint32_t user = setup_.users[side];
  const auto body     = decode_body(delivery.data);
  if (!body) {
    log_->add(Anomaly::corrupted, "pushed bytes that nobody wrote, id", user, delivery.msg_id);
    return {};
  }
  const bool own = body->run == setup_.run && body->sender == user &&
                   body->receiver == setup_.users[side ^ 1] && body->op < sides_[side].cut_below;
  if (own) {
    echo(side, body->op, delivery.msg_id);
    return {};
  }
  Side& author = sides_[side ^ 1];
  if (body->run != setup_.run || body->sender != setup_.users[side ^ 1] || body->receiver != user ||
      body->op >= author.sent) {
    log_->add(Anomaly::foreign, "pushed a message of another conversation, id", user,
              delivery.msg_id);
    return {};
  }
  if (delivery.from != body->sender || delivery.to != user)
    log_->add(Anomaly::mismatch, "frame and body name different people, op", user, body->op);
  const uint64_t op = body->op;
  Side& reader      = sides_[side];
  const bool held   = op >= author.done;
  if (op < author.push_next) {
    if (!held || slot(author, op).flags & kPushed) {
      log_->add(Anomaly::duplicate, "pushed twice, op", user, op);
      return {};
    }
    log_->add(Anomaly::inversion, "pushed out of order, op", user, op);
  } else {
    author.push_next = op + 1;
    if (delivery.msg_id <= reader.push_id)
      log_->add(Anomaly::inversion, "pushed with an id that does not rise, id", user,
                delivery.msg_id);
    reader.push_id = std::max(reader.push_id, delivery.msg_id);
    if (!reader.behind) reader.read_id = std::max(reader.read_id, delivery.msg_id);
  }
  if (!held) return {};  // excused or fetched long ago
  Slot& s          = slot(author, op);
  const bool first = (s.flags & (kPushed | kFetched)) == 0;
  s.flags |= kPushed;
  note_id(side ^ 1, s, op, delivery.msg_id);
  advance(author);
  if (!first) return {};
  return body->intended_ns;
}

void Conversation::echo(uint32_t side, uint64_t op, uint32_t msg_id) {
  Side& own = sides_[side];
  if (op < own.done) return;  // excused by now, or found by other ways
  Slot& s = slot(own, op);
  if (!(s.flags & kCut))
    log_->add(Anomaly::duplicate, "an acknowledged send came back, op", setup_.users[side], op);
  s.flags |= kAcked;
  note_id(side, s, op, msg_id);
  advance(own);
}

std::optional<uint64_t> Conversation::fetch(uint32_t side, const Delivery& delivery, bool& older) {
  const uint32_t user = setup_.users[side];
  const auto body     = decode_body(delivery.data);
  older               = false;
  if (!body || body->run != setup_.run) {
    // What stood here before this run is none of our business; in a fresh conversation nothing did.
    older = true;
    if (setup_.fresh)
      log_->add(Anomaly::corrupted, "history holds bytes that nobody wrote, id", user,
                delivery.msg_id);
    return {};
  }
  const uint32_t from = body->sender == user ? side : side ^ 1;
  Side& author        = sides_[from];
  if (body->sender != setup_.users[from] || body->receiver != setup_.users[from ^ 1] ||
      body->op >= author.sent) {
    log_->add(Anomaly::foreign, "history holds a message of another conversation, id", user,
              delivery.msg_id);
    return {};
  }
  if (delivery.from != body->sender)
    log_->add(Anomaly::mismatch, "history and body name different authors, op", user, body->op);
  sides_[side].fetched_id = std::max(sides_[side].fetched_id, delivery.msg_id);
  if (body->op < author.done) return {};
  Slot& s = slot(author, body->op);
  note_id(from, s, body->op, delivery.msg_id);
  if (from == side) {  // an own send that was cut: it is stored
    if (s.flags & kCut) s.flags |= kAcked;
    return {};
  }
  const bool first = (s.flags & (kPushed | kFetched)) == 0;
  s.flags |= kFetched;
  const uint64_t intended = s.intended_ns;
  advance(author);
  if (!first) return {};
  return intended;
}

// --- connections ---------------------------------------------------------------------------------

void Conversation::cut(uint32_t side) {
  Side& own     = sides_[side];
  own.behind    = true;
  own.cut_below = own.sent;
  for (uint64_t op = own.done; op < own.sent; ++op) {
    Slot& s = slot(own, op);
    if (!(s.flags & (kAcked | kCut))) s.flags |= kCut;
  }
}

uint32_t Conversation::floor(uint32_t side) const {
  const Side& own = sides_[side];
  for (uint64_t op = own.done; op < own.sent; ++op) {
    const Slot& s = own.slots[op & (own.slots.size() - 1)];
    if ((s.flags & (kCut | kAcked | kExcused)) == kCut) return std::min(own.read_id, own.ack_id);
  }
  return own.read_id;
}

void Conversation::caught_up(uint32_t side) {
  Side& own   = sides_[side];
  own.behind  = false;
  own.read_id = std::max({own.read_id, own.fetched_id, own.push_id});
  for (uint64_t op = own.done; op < own.sent; ++op) {
    Slot& s = slot(own, op);
    if ((s.flags & (kCut | kAcked | kExcused)) != kCut) continue;
    s.flags |= kExcused;  // not stored, or stored so late that only its push tells
    ++unknown_;
    if (s.id == 0) ++unseen_;
  }
  advance(own);
}

// --- ends ----------------------------------------------------------------------------------------

bool Conversation::is_over(const Slot& s) const {
  if (s.flags & kExcused) return true;
  return (s.flags & kAcked) && (s.flags & (kPushed | kFetched));
}

void Conversation::advance(Side& side) {
  while (side.done < side.sent && is_over(slot(side, side.done))) ++side.done;
}

void Conversation::finish(const std::array<bool, 2>& here) {
  for (uint32_t side = 0; side < 2; ++side) {
    Side& own           = sides_[side];
    const uint32_t user = setup_.users[side];
    for (uint64_t op = own.done; op < own.sent; ++op) {
      const Slot& s = slot(own, op);
      if (is_over(s)) continue;
      const bool delivered = s.flags & (kPushed | kFetched);
      if (!(s.flags & kAcked)) {
        if (s.flags & kCut || !here[side]) {
          ++unknown_;
          if (s.id == 0) ++unseen_;
        } else {
          log_->add(Anomaly::lost, "neither acknowledged nor refused, op", user, op);
        }
      } else if (!delivered && here[side ^ 1]) {
        log_->add(Anomaly::undelivered, "acknowledged and never delivered, op", user, op);
      } else if (!delivered) {
        ++unknown_;
      }
    }
  }
  if (ids_seen_ == 0) return;
  const uint64_t first = setup_.fresh ? 1 : id_min_;
  const uint64_t room  = id_max_ - first + 1;
  if (ids_seen_ > room) {
    log_->add(Anomaly::duplicate, "more messages than ids, excess", setup_.users[0],
              ids_seen_ - room);
  }
  // An unknown send may have taken an id that nobody saw.
  for (uint64_t missing = room - std::min(room, ids_seen_); missing > unseen_; --missing)
    log_->add(Anomaly::gap, "ids that no message has, up to", setup_.users[0], id_max_);
}

}  // namespace ringtalk::loadgen
