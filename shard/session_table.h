// SessionTable: sessions of one shard by key; a key of an earlier use of the slot finds nothing.
//
// Cost  O(1); 16 bytes per slot.
#pragma once

#include <vector>

#include "shard/session.h"

namespace ringtalk::shard {

class SessionTable {
 public:
  void add(Session& session) {
    if (free_.empty()) {
      free_.push_back(static_cast<uint32_t>(entries_.size()));
      entries_.push_back({});
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    entries_[index].session = &session;
    session.key             = {index, entries_[index].generation};
    ++count_;
  }

  void remove(Session& session) {
    Entry& entry = entries_[session.key.index];
    RT_ASSERT(entry.session == &session);
    entry.session = nullptr;
    ++entry.generation;
    free_.push_back(session.key.index);
    --count_;
  }

  Session* find(SessionKey key) const {
    if (key.index >= entries_.size() || entries_[key.index].generation != key.generation)
      return nullptr;
    return entries_[key.index].session;
  }

  uint32_t count() const { return count_; }

  uint64_t bytes() const {
    return entries_.capacity() * sizeof(Entry) + free_.capacity() * sizeof(uint32_t);
  }

  // Walking in pieces: the session at a place below places(), or null.
  uint32_t places() const { return static_cast<uint32_t>(entries_.size()); }
  Session* at(uint32_t place) const { return entries_[place].session; }

  template <class Visit>
  void each(Visit&& visit) {
    for (size_t i = 0; i < entries_.size(); ++i)
      if (entries_[i].session) visit(*entries_[i].session);
  }

 private:
  struct Entry {
    Session* session    = nullptr;
    uint32_t generation = 0;
  };
  std::vector<Entry> entries_;
  std::vector<uint32_t> free_;
  uint32_t count_ = 0;
};

}  // namespace ringtalk::shard
