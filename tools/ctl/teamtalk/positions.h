// Positions: what a conversation of the original's amounts to, and where its readers stand: the rules by
// which rows and Redis counters become ids. No database: numbers in, numbers out.
//
// Rows    those of one conversation, in the order of sort_messages(); 0 and 4294967295 are no ids. An id
//         that several visible rows share is one message to whoever names it (the last of them), and
//         several to whoever counted them as they came, as the original's counters did.
// Source  docs/MIGRATE.md, "What becomes of what".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace ringtalk::ctl {

struct OldMessage {
  uint32_t id      = 0;  // of the row
  uint32_t msg_id  = 0;
  uint32_t author  = 0;
  uint32_t created = 0;
  bool visible     = false;
};

// By msg_id; equal ones by created, then by id.
void sort_messages(std::vector<OldMessage>& messages);

bool is_sane(uint64_t msg_id);

// What a reader can see, and what RTConversation keeps of it.
class Conversation {
 public:
  // `counter`: of Redis. `small`: the smaller user id, 0 for a group. Times beyond `now` are not believed.
  Conversation(std::span<const OldMessage> sorted, std::optional<uint64_t> counter, uint32_t small,
               uint32_t now);

  uint32_t newest() const { return newest_; }
  uint32_t small() const { return small_; }    // ids whose message the smaller user wrote
  uint32_t hidden() const { return hidden_; }  // ids in 1…newest() without a visible message
  uint32_t time() const { return time_; }
  bool empty() const { return newest_ == 0; }

  // Read position of who has `unread` messages of `author` (0: of anybody) before him.
  uint32_t below(uint64_t unread, uint32_t author) const;
  // Of a group: the first id that somebody who joined at `time` may see.
  uint32_t first_since(uint32_t time) const;
  // The last id that each author wrote.
  std::unordered_map<uint32_t, uint32_t> newest_by_author() const;
  // How many are unread behind `position`, not counting those of `reader`.
  uint32_t unread_behind(uint32_t position, uint32_t reader) const;

 private:
  struct Seen {
    uint32_t msg_id  = 0;
    uint32_t author  = 0;
    uint32_t created = 0;
  };
  std::vector<Seen> seen_;     // visible rows, lowest id first
  std::vector<Seen> by_time_;  // of groups; lowest time first; msg_id: the lowest from there on
  uint32_t newest_ = 0;
  uint32_t small_  = 0;
  uint32_t hidden_ = 0;
  uint32_t time_   = 0;
};

// Of a group: messages that came since `copy` was taken. nullopt: since he joined.
std::optional<uint64_t> group_unread(std::optional<uint64_t> total, std::optional<uint64_t> copy);

}  // namespace ringtalk::ctl
