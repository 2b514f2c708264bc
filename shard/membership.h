// Memberships: the groups of the users who are online here, and their connections, group by group.
//
//   login       load() ─ his groups from the store ─ opened(): his connection joins each group's array
//   group's home ── group_news ──▶ on_news(): who came, who went; 0x040b to the connections
//   group's home ── group_deliver ──▶ on_deliver(): walked over the array in slices of turns
//
// Truth   What this shard holds of a group changes only by news, which come on the same lane as the
//         group's messages: whoever is in the array when a message comes is a member, from `first` on.
//         A list read at login may be older or newer than news that come meanwhile: versions decide.
// Walk    All that waits for a group goes to each connection in one piece, encoded once. A connection
//         that was passed already gets nothing twice, one that was not gets everything (drop()). One that
//         a push closes, too slow a reader, leaves the arrays when nobody goes over them any more.
// Bound   limits.group_pushes_per_turn connections a turn, the groups one after another. What waits is
//         bounded by the group's home (groups.h): it sends on only when it has heard.
// Memory  16 bytes per connection and group in the arrays, 28 per user and group beside them.
// Thread rule  The users' home shard.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "shard/context.h"

namespace ringtalk::shard {

// A user's side of a group, while he is online.
struct Held {
  GroupId group{};
  uint32_t local     = 0;  // place among the groups here
  uint32_t first     = 0;  // id of the first message that he may see
  uint32_t version   = 0;  // of the group when it was learnt
  uint8_t type       = 0;
  bool muted         = false;
  uint32_t hidden_to = 0;  // newest id when he took it off his conversation list; 0: it is on it
};

enum class GroupChange : uint8_t { opened, added, removed, dismissed, renamed };

// What group_news carries; behind it `changed` times a UserId, then the frame 0x040b, if any.
struct GroupNewsHead {
  uint32_t version = 0;
  uint32_t first   = 0;  // of those who came
  uint32_t changed = 0;
  UserId user{};  // who did it; his connection `session` has an answer of its own
  SessionKey session;
  GroupChange change = GroupChange::opened;
  uint8_t type       = 0;
  bool only_changed  = false;  // the frame is for those who came or went
};

class Memberships {
 public:
  using Loaded = std::move_only_function<void(Result<void>)>;

  explicit Memberships(Context& context) : context_(context) {}

  // --- login, logout
  // His groups are known here: another connection of his is open.
  bool known(UserId user) const;
  // `done` runs later, and opens his connection in the same call or not at all. full: later.
  Result<void> load(UserId user, Loaded done);
  void opened(Session& session);
  void closed(Session& session);

  // --- of a user who is online here
  // Valid until the next event. Null: he is not in it, or there is no such group.
  Held* find(UserId user, GroupId group);
  // He wrote in it: it is on his conversation list again.
  void show(UserId user, GroupId group);
  template <class Visit>
  void each(UserId user, Visit&& visit) {
    const auto at = users_.find(raw(user));
    if (at == users_.end()) return;
    for (const Held& held : at->second->held) visit(held, groups_[held.local].version);
  }

  // --- events
  void on_deliver(uint32_t from, const GroupDeliver& deliver);
  void on_news(uint32_t from, const GroupNews& news);
  void on_turn();
  // A walk goes on with the next turn.
  bool work_waits() const { return !walks_.empty(); }
  bool idle() const { return walks_.empty() && loading_.empty() && shown_.empty(); }

  uint64_t bytes() const {
    return users_.size() * (sizeof(UserGroups) + sizeof(Places) + 16) + held_ * sizeof(Held) +
           entries_ * (sizeof(Entry) + sizeof(uint32_t)) + groups_.size() * sizeof(LocalGroup);
  }

 private:
  static constexpr size_t kItemsJoined = 64;
  static constexpr size_t kBytesJoined = 32 * kKiB;

  struct Entry {
    Session* session;
    uint32_t first;
    uint32_t link;  // which of the user's groups this is
  };
  static_assert(sizeof(Entry) == 16);
  // One connection's places in the arrays, one per group of its user, in the same order.
  struct Places {
    Session* session;
    std::vector<uint32_t> at;
  };
  struct UserGroups {
    std::vector<Held> held;
    std::vector<Places> sessions;
  };
  // A message or a notice on its way to the connections.
  struct Item {
    engine::PayloadRef frame;
    uint32_t from    = 0;
    uint32_t msg_id  = 0;  // 0: a notice
    uint32_t version = 0;  // of the group, which a notice tells of
    SessionKey except;     // a session here that does not get it
  };
  struct LocalGroup {
    GroupId id{};
    uint32_t version = 0;
    uint32_t holders = 0;      // users
    bool walks       = false;  // in walks_
    std::vector<Entry> entries;
    std::deque<Item> queue;
    std::vector<Item> walking;  // what the walk brings …
    engine::PayloadRef joined;  // … in one piece
    uint32_t walked  = 0;       // entries that have it
    uint32_t oldest  = 0;       // id of the first message in it; ~0: there is none
    uint32_t noticed = 0;       // version that the first notice in it tells of; ~0: there is none
    bool excepts     = false;   // some of it is not for some session here
  };
  struct News {
    GroupId group{};
    GroupNewsHead head;
  };
  struct Loading {
    std::vector<Loaded> waiting;
    std::vector<News> news;  // of him, that came meanwhile
  };

  void on_loaded(UserId user, Result<std::vector<store::Membership>> rows);
  uint32_t local_of(GroupId group);
  void join(UserId user, UserGroups& groups, const Held& held);
  void leave(UserId user, GroupId group, uint32_t version);
  void let_go(uint32_t local);
  void enter(LocalGroup& group, Places& places, uint32_t link, uint32_t first);
  void drop(LocalGroup& group, uint32_t at);
  void move(LocalGroup& group, uint32_t from, uint32_t to);
  void apply(UserId user, GroupId group, const GroupNewsHead& head);
  void queue(uint32_t local, Item item);
  void begin_walk(LocalGroup& group);
  uint32_t walk(LocalGroup& group, uint32_t pushes_max);
  void give(LocalGroup& group, const Entry& entry);
  void give(const Entry& entry, const Item& item);
  // All that the entry at this place has not got.
  void give_rest(LocalGroup& group, uint32_t at);
  uint32_t version_of(const Entry& entry) const;
  void end_giving();
  void heard(uint32_t shard, uint32_t ticket);

  struct Shown {
    UserId user{};
    GroupId group{};
  };

  Context& context_;
  boost::unordered_flat_map<uint32_t, std::unique_ptr<UserGroups>> users_;
  boost::unordered_flat_map<uint32_t, std::unique_ptr<Loading>> loading_;
  boost::unordered_flat_map<uint32_t, uint32_t> places_;  // of a group in groups_
  std::deque<LocalGroup> groups_;                         // stable places
  std::vector<uint32_t> free_;
  std::deque<uint32_t> walks_;  // groups with something to bring, in turn
  std::deque<Shown> shown_;     // found the store full
  std::vector<Session*> gone_;  // closed while giving_
  bool giving_      = false;    // an array is gone over, and pushed to
  uint64_t held_    = 0;        // of all users
  uint64_t entries_ = 0;        // of all arrays
};

}  // namespace ringtalk::shard
