// GroupChecker: says of every message of one group whether every member got it as he had to.
//
// Promises     The checker's (checker.h), for a group made by this run: its ids are 1…N, and each member
//              sees all of them, his own as an acknowledgement, those of others as a push.
// Bound        kSlotsMax sends between the oldest unfinished one and the newest; 24 bytes a member, with a
//              window of 64 ids that may come ahead of a missing one.
// Limit        Connections that are cut are not repaired from the history: who loses one is left out.
// Thread rule  One thread: all members of a group belong to one worker.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tools/loadgen/checker.h"

namespace ringtalk::loadgen {

class GroupChecker {
 public:
  static constexpr uint32_t kSlotsMax = 4096;

  // users: the ids of the members, in their order.
  GroupChecker(uint32_t run, uint32_t group, std::vector<uint32_t> users, AnomalyLog& log);

  uint32_t group() const { return group_; }
  bool has_room() const { return sent_ - done_ < kSlotsMax; }
  uint64_t send(uint32_t member, uint64_t intended_ns);
  // Nothing: not the first acknowledgement of a send of this member.
  std::optional<Conversation::Acked> ack(uint32_t member, uint16_t sequence, uint32_t msg_id);
  // The intended time of the send, if this is its first push to the member.
  std::optional<uint64_t> push(uint32_t member, const Delivery& delivery);
  // The member's connection is gone: nothing more is expected of him or for him.
  void leave(uint32_t member);

  bool is_done() const { return sent_ == done_; }
  void finish();
  uint64_t unknown() const { return unknown_; }

 private:
  struct Slot {
    uint64_t intended_ns = 0;
    uint32_t author      = 0;
    uint32_t id          = 0;
    uint32_t pushed      = 0;  // to how many
    bool acked           = false;
    bool unknown         = false;  // its author is gone
  };
  struct Member {
    uint32_t user    = 0;
    uint32_t next_id = 1;  // all below were seen
    uint64_t ahead   = 0;  // bit i: next_id + i was
    uint32_t push_id = 0;  // newest pushed
    bool here        = true;
  };

  Slot& slot(uint64_t op) { return slots_[op & (slots_.size() - 1)]; }
  bool see(Member& member, uint32_t id);
  void note_id(Slot& of, uint64_t op, uint32_t id);
  void advance();

  const uint32_t run_, group_;
  AnomalyLog* log_;
  std::vector<Member> members_;
  std::vector<Slot> slots_;
  uint64_t sent_ = 0, done_ = 0;
  uint32_t here_    = 0;
  uint32_t id_max_  = 0;
  uint64_t unknown_ = 0;
};

}  // namespace ringtalk::loadgen
