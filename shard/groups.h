// Groups: what a group's home decides: who is in it, in which order changes and messages take effect,
// and which shards hear of them.
//
//   any shard: ask() ── group_ask ──▶ home: run() ─ the store ─ apply() ── group_news ──▶ every shard of
//      a member ── group_heard ──▶ … all heard: group_done ──▶ done(error, body)
//   Messages: place() ─ a member? ─ the store ─ decided(), fan_out() ── group_deliver ──▶ each shard of a
//      member, once however many members it has ── group_heard (every connection has it) ──▶
//
// Order   One group's messages and changes go one after another through its queue. A change waits until
//         the messages before it are durable, and messages wait until the change is: so a member's first
//         visible id is exact, and nobody who was removed writes or hears anything behind it.
//         Everything to one shard leaves in the order it was decided.
// Truth   The rows in the store; the rosters here are read from there when a group is first needed.
//         Nothing is answered before every shard that must know has heard.
// Bound   kUnheardMax messages on their way to a shard, the rest waits here; above kBacklogMax events or
//         kBacklogBytes a group's new messages wait, unstored, in their senders' credits.
// Memory  8 bytes per member of a group that was needed since the start.
// Errors  To done(): not_found (no such group, or it is not for him), refused, full, or the store's.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "shard/context.h"
#include "shard/pool.h"

namespace ringtalk::shard {

class Messages;
enum class GroupChange : uint8_t;

inline constexpr uint32_t kMembersListed = 20'000;  // ids in one list to clients

// What GroupDone carries for add and remove; behind it the changed users, then the current ones.
struct GroupChanged {
  uint32_t version = 0;
  uint32_t changed = 0;
  uint32_t listed  = 0;  // current ones that follow, at most kMembersListed
};

class Groups {
 public:
  using Done = std::move_only_function<void(Error, engine::PayloadRef)>;

  Groups(Context& context, Messages& messages) : context_(context), messages_(messages) {
    lanes_.resize(context.shards);
  }

  // --- on any shard. The body goes along; `done` may run at once.
  void ask(GroupAsk ask, Done done);
  void on_done(uint32_t from, const GroupDone& done);

  // --- on the group's home
  // A message: Messages::admitted() or Messages::refuse() follows, perhaps at once.
  void place(GroupId group, UserId author, uint32_t placement);
  // One that was admitted is durable, or will never be.
  void decided(GroupId group);
  void fan_out(GroupId group, UserId author, uint32_t msg_id, SessionKey session,
               const engine::PayloadRef& frame);
  // Those of the waiting messages that are too late.
  template <class IsLate>
  void expire(IsLate&& is_late) {
    if (waiting_ == 0) return;
    for (auto& [_, room] : rooms_)
      waiting_ -= std::erase_if(room->waiting, [&](const Task& task) {
        return task.is_message && is_late(task.placement);
      });
  }
  void on_ask(uint32_t from, const GroupAsk& ask);
  void on_heard(uint32_t from, const GroupHeard& heard);

  void on_turn();
  void on_tick();
  bool idle() const { return asked_.used() + announcing_.used() == 0 && backlog_ == 0; }
  uint64_t bytes() const { return rooms_.size() * (sizeof(Room) + 64) + seats_ * sizeof(Seat); }

 private:
  static constexpr uint32_t kBacklogMax   = 256;  // events, per shard
  static constexpr uint64_t kBacklogBytes = 32 * kMiB;

  struct Asked {
    Done done;
    uint32_t to = 0;
    GroupAsk ask{};
  };
  struct Task {
    bool is_message    = false;
    uint32_t placement = 0;
    UserId author{};
    uint32_t from = 0;  // of the ask
    GroupAsk ask{};
    bool silent = false;  // nobody waits for the answer
  };
  struct Seat {
    UserId user{};
    uint32_t first = 0;
  };
  enum class State : uint8_t { unknown, loading, row, ready, gone };
  // A group as its home knows it.
  struct Room {
    store::Group row;
    State state        = State::unknown;
    bool changing      = false;
    bool running       = false;
    bool blocked       = false;    // in blocked_
    uint32_t undecided = 0;        // messages with the store
    std::vector<Seat> seats;       // by user
    std::vector<uint64_t> shards;  // a bit for each that has, or had, a member
    std::deque<Task> waiting;
  };
  struct Announcing {
    uint32_t missing = 0;  // shards that have not heard
    Task task;
    engine::PayloadRef body;
  };
  struct Outgoing {
    Event event;
    uint32_t bytes;
  };
  struct Lane {
    std::deque<Outgoing> waiting;
    std::deque<uint32_t> unheard;  // bytes of each
  };

  void send_ask(uint32_t ticket);
  void run(GroupId group);
  bool run_front(GroupId group, Room& room);  // false: not now
  void load_row(GroupId group, Room& room);
  void load_seats(GroupId group, UserId after);
  void retry(GroupId group) { retries_.push_back(group); }
  void lose(GroupId group, Error error);
  static bool may_change(const Room& room, const Task& task, std::span<const UserId> users);
  Room* find(GroupId group);
  Task take_front(Room& room);
  // False: not now, the store is full.
  bool perform(GroupId group, Room& room, Task task);
  bool begun(GroupId group, Room& room, Task task, Result<void> asked);
  bool refresh(GroupId group, Room& room, Task task);
  static const Seat* seat_of(const Room& room, UserId user);
  bool change(GroupId group, Room& room, Task task);
  void on_changed(GroupId group, Task task, uint32_t first, Result<store::MembersChanged> changed);
  bool dismiss(GroupId group, Room& room, Task task);
  bool take_in(GroupId group, Room& room, Task task);
  void on_taken_in(GroupId group, Room& room, Task task, bool there);
  void announce(GroupId group, Room& room, Task task, GroupChange change, uint32_t first,
                std::span<const UserId> changed, engine::PayloadRef body);
  static engine::PayloadRef changed_body(const Room& room, std::span<const UserId> changed);
  static engine::PayloadRef info_of(const Room& room, bool muted);
  void add_seats(Room& room, std::span<const UserId> users, uint32_t first);
  void remove_seats(Room& room, std::span<const UserId> users);
  void note_shard(Room& room, UserId user);
  void answer(const Task& task, Error error, engine::PayloadRef body = {});
  void finish(uint32_t ticket, Error error, engine::PayloadRef body);

  bool is_behind() const {
    return backlog_ > uint64_t{kBacklogMax} * context_.shards || backlog_bytes_ > kBacklogBytes;
  }
  void send(uint32_t to, const Event& event, uint32_t bytes);
  void pump(uint32_t to);

  Context& context_;
  Messages& messages_;
  Pool<Asked> asked_;
  std::deque<uint32_t> unsent_;  // tickets that found no credit
  boost::unordered_flat_map<uint32_t, std::unique_ptr<Room>> rooms_;
  uint64_t seats_   = 0;
  uint32_t waiting_ = 0;            // messages, in all rooms
  std::vector<GroupId> retries_;    // found the store full
  std::vector<GroupId> blocked_;    // wait for the backlog
  Pool<Announcing> announcing_;     // index = ticket − 1
  std::vector<Lane> lanes_;         // one per shard, this one too
  uint64_t unpushed_      = 0;      // events that wait in them
  bool pumping_           = false;  // this shard's own
  uint64_t backlog_       = 0;      // events not heard of
  uint64_t backlog_bytes_ = 0;
};

}  // namespace ringtalk::shard
