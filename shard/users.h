// Users: who is online on their home shard, with which sessions, and how fast they send.
//
// Shape        One entry per online user: a list through the sessions (at most a few: one per device
//              class, and kicked ones are taken out at once) and the pace of all of them together.
// Bound        The shard's sessions. A user who left keeps his entry until his pace is full again
//              (at most a few seconds), so that reconnecting does not buy a new burst.
// Thread rule  The users' home shard.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>

#include "shard/home.h"
#include "shard/pace.h"
#include "shard/session.h"

namespace ringtalk::shard {

struct UserEntry {
  Session* first = nullptr;
  Pace sends;
};

class Users {
 public:
  // Valid until the next attach() or tick().
  UserEntry* find(UserId user) {
    const auto at = entries_.find(raw(user));
    return at == entries_.end() ? nullptr : &at->second;
  }

  void attach(Session& session) {
    UserEntry& entry     = entries_[raw(session.user)];
    session.next_of_user = entry.first;
    entry.first          = &session;
  }

  void detach(Session& session, uint64_t now_ns) {
    UserEntry* entry = find(session.user);
    if (!entry) return;
    for (Session** at = &entry->first; *at; at = &(*at)->next_of_user) {
      if (*at != &session) continue;
      *at                  = session.next_of_user;
      session.next_of_user = nullptr;
      break;
    }
    if (entry->first) return;
    if (entry->sends.full(now_ns)) {
      entries_.erase(raw(session.user));
    } else {
      cooling_.push_back(session.user);
    }
  }

  // About ten times a second.
  void tick(uint64_t now_ns) {
    for (size_t n = cooling_.size(); n > 0; --n) {
      const UserId user = cooling_.front();
      cooling_.pop_front();
      UserEntry* entry = find(user);
      if (!entry || entry->first) continue;
      if (entry->sends.full(now_ns)) {
        entries_.erase(raw(user));
      } else {
        cooling_.push_back(user);
      }
    }
  }

  // Every session of `user` that may be given something. visit() may abort sessions: that takes
  // effect later.
  template <class Visit>
  void each_session(UserId user, Visit&& visit) {
    UserEntry* entry = find(user);
    for (Session* s = entry ? entry->first : nullptr; s;) {
      Session* next = s->next_of_user;
      if (s->is_open()) visit(*s);
      s = next;
    }
  }

  size_t count() const { return entries_.size(); }
  // An entry and a byte of its hash for each place, and 1 in 15 of those bytes more.
  uint64_t bytes() const {
    return entries_.bucket_count() * sizeof(*entries_.begin()) + entries_.bucket_count() * 16 / 15;
  }

 private:
  struct Hash {
    using is_avalanching = void;
    size_t operator()(uint32_t id) const { return mix(id); }
  };
  boost::unordered_flat_map<uint32_t, UserEntry, Hash> entries_;
  std::deque<UserId> cooling_;
};

}  // namespace ringtalk::shard
