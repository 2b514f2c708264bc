// Checker: says of every message of a one-to-one conversation whether it arrived as it had to.
//
// Promises     An acknowledged send is stored and delivered to who is logged in, once, in id order,
//              with the author's bytes; acknowledgements come in the order of the sends; ids of a
//              conversation are 1…N without gap or repeat; acknowledgement and delivery name one id.
//              A send without an end on a connection that lived is lost. One whose connection was cut
//              may have been stored or not: it is unknown until somebody sees it.
// Two ways     A message is delivered by push, or found in the history after a login (fetched). One
//              found there may still be pushed, for the push was on its way: no duplicate.
// Echo         A send whose connection was cut is pushed to its author's next one if it was still under
//              way when that logged in: it is his other device then.
// Bound        kSlotsMax sends per direction between the oldest unfinished one and the newest; when
//              they are used up has_room() is false. 16 bytes each, taken as needed.
// Limit        Two sends that were given one id are told at once if at most kIdsKept ids lie between
//              them, else by the count at the end.
// Thread rule  One thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"

namespace ringtalk::loadgen {

enum class Anomaly : uint8_t {
  lost,         // sent, and neither acknowledged nor excused by a cut connection
  undelivered,  // acknowledged, and never delivered to a receiver who was there
  duplicate,    // pushed or acknowledged twice, or one id for two messages
  inversion,    // out of order: pushes, acknowledgements or ids
  gap,          // an id between the first and the last that no message has
  foreign,      // of another conversation, or never sent
  corrupted,    // bytes that nobody wrote
  mismatch,     // frame and body, or acknowledgement and delivery, contradict each other
};
inline constexpr size_t kAnomalies = 8;
std::string_view name_of(Anomaly anomaly);

// Counts, and the first few in words.
class AnomalyLog {
 public:
  static constexpr size_t kSamplesMax = 20;

  void add(Anomaly kind, std::string_view what, uint32_t user, uint64_t number);
  void merge(const AnomalyLog& other);
  uint64_t count(Anomaly kind) const { return counts_[static_cast<size_t>(kind)]; }
  uint64_t total() const;
  const std::vector<std::string>& samples() const { return samples_; }

 private:
  std::array<uint64_t, kAnomalies> counts_{};
  std::vector<std::string> samples_;
};

// What stood in a 0x0301 or in one entry of a history.
struct Delivery {
  uint32_t from   = 0;
  uint32_t to     = 0;
  uint32_t msg_id = 0;
  Bytes data;
};

class Conversation {
 public:
  static constexpr uint32_t kSlotsMax = 4096;
  static constexpr uint32_t kIdsKept  = 128;

  struct Setup {
    uint32_t run = 0;
    std::array<uint32_t, 2> users{};
    bool fresh = false;  // nobody ever wrote here: the first id is 1
  };
  Conversation(const Setup& setup, AnomalyLog& log) : setup_(setup), log_(&log) {}

  // --- as it happens; `side` is 0 or 1: who sends, receives or reads
  bool has_room(uint32_t side) const { return sides_[side].sent - sides_[side].done < kSlotsMax; }
  // The number of the new send, which goes into the body.
  uint64_t send(uint32_t side, uint64_t intended_ns);
  static uint16_t sequence_of(uint64_t op) { return static_cast<uint16_t>(op + 2); }

  struct Acked {
    uint64_t op          = 0;
    uint64_t intended_ns = 0;
  };
  // Nothing: not the first acknowledgement of a send.
  std::optional<Acked> ack(uint32_t side, uint16_t sequence, uint32_t msg_id);
  // Both: the intended time of the send, if this is its first delivery to this side.
  std::optional<uint64_t> push(uint32_t side, const Delivery& delivery);
  std::optional<uint64_t> fetch(uint32_t side, const Delivery& delivery, bool& older);

  // The side's connection is gone.
  void cut(uint32_t side);
  // It was not there from the beginning: what it misses is in the history.
  void stay_away(uint32_t side) { sides_[side].behind = true; }
  // It has read the history down to floor().
  void caught_up(uint32_t side);
  bool is_behind(uint32_t side) const { return sides_[side].behind; }
  uint32_t floor(uint32_t side) const;

  // --- at the end. here: whose connection is open and not behind
  bool is_done() const {
    return sides_[0].sent == sides_[0].done && sides_[1].sent == sides_[1].done;
  }
  void finish(const std::array<bool, 2>& here);
  // Sends whose end nobody saw, for want of a connection.
  uint64_t unknown() const { return unknown_; }

 private:
  enum Flag : uint8_t { kAcked = 1, kPushed = 2, kFetched = 4, kCut = 8, kExcused = 16 };
  struct Slot {
    uint64_t intended_ns = 0;
    uint32_t id          = 0;
    uint8_t flags        = 0;
  };
  struct Side {
    uint64_t sent       = 0;  // ops [0, sent) left
    uint64_t done       = 0;  // all below are finished; slots hold [done, sent)
    uint64_t ack_next   = 0;  // behind the newest acknowledged op
    uint64_t cut_below  = 0;  // ops below were sent on connections that are gone
    uint64_t push_next  = 0;  // behind the newest op pushed to the other side
    uint32_t ack_id     = 0;
    uint32_t push_id    = 0;  // newest id pushed to this side
    uint32_t read_id    = 0;  // all ids up to here reached this side
    uint32_t fetched_id = 0;  // newest of the history it is reading
    bool behind         = false;
    std::vector<Slot> slots;  // power of two
  };

  void echo(uint32_t side, uint64_t op, uint32_t msg_id);
  Slot& slot(Side& side, uint64_t op) { return side.slots[op & (side.slots.size() - 1)]; }
  void grow(Side& side);
  void note_id(uint32_t author, Slot& of, uint64_t op, uint32_t id);
  void advance(Side& side);
  bool is_over(const Slot& s) const;

  Setup setup_;
  AnomalyLog* log_;
  std::array<Side, 2> sides_;
  std::vector<uint32_t> ids_;  // those seen lately, by id modulo kIdsKept
  uint64_t ids_seen_ = 0;
  uint32_t id_min_   = 0;
  uint32_t id_max_   = 0;
  uint64_t unknown_  = 0;
  uint64_t unseen_   = 0;  // of them, those whose id, if they have one, nobody told us
};

}  // namespace ringtalk::loadgen
