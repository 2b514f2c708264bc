#include "shard/groups.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/seeded_bug.h"
#include "proto/group.pb.h"
#include "shard/frames.h"
#include "shard/membership.h"
#include "shard/message.h"

namespace ringtalk::shard {

using engine::Payload;
using engine::PayloadRef;
using proto::CommandId;

namespace {

constexpr size_t kChangedTold = 100;  // of a change to a group of more than kMembersListed

std::span<const UserId> ids_of(const Payload* body) {
  if (!body) return {};
  const Bytes bytes = body->bytes();
  return {reinterpret_cast<const UserId*>(bytes.data()), bytes.size() / sizeof(UserId)};
}

}  // namespace

// --- any shard ------------------------------------------------------------------------------------------------

void Groups::ask(GroupAsk ask, Done done) {
  const uint32_t ticket = asked_.take();
  ask.ticket            = ticket;
  const auto home       = context_.home_of(ConversationId::group(ask.group));
  asked_[ticket]        = {std::move(done), home, ask};
  send_ask(ticket);
}

void Groups::send_ask(uint32_t ticket) {
  const Asked& asked = asked_[ticket];
  if (asked.to == context_.self) return on_ask(context_.self, asked.ask);
  if (!context_.mailbox.open_request(asked.to)) return unsent_.push_back(ticket);
  context_.mailbox.push(asked.to, Event::of(asked.ask));
}

void Groups::on_done(uint32_t from, const GroupDone& done) {
  context_.mailbox.close_request(from);
  finish(done.ticket, done.error, PayloadRef::adopt(done.body));
}

void Groups::finish(uint32_t ticket, Error error, PayloadRef body) {
  Asked asked = asked_.give_back(ticket);
  asked.done(error, std::move(body));
}

// --- the queue of a group -------------------------------------------------------------------------------------

void Groups::on_ask(uint32_t from, const GroupAsk& ask) {
  auto& room = rooms_[raw(ask.group)];
  if (!room) room = std::make_unique<Room>();
  room->waiting.push_back({.from = from, .ask = ask});
  run(ask.group);
}

void Groups::place(GroupId group, UserId author, uint32_t placement) {
  auto& room = rooms_[raw(group)];
  if (!room) room = std::make_unique<Room>();
  room->waiting.push_back({.is_message = true, .placement = placement, .author = author});
  ++waiting_;
  run(group);
}

void Groups::decided(GroupId group) {
  Room* room = find(group);
  RT_ASSERT(room && room->undecided > 0);
  --room->undecided;
  run(group);
}

Groups::Room* Groups::find(GroupId group) {
  const auto at = rooms_.find(raw(group));
  return at == rooms_.end() ? nullptr : at->second.get();
}

void Groups::run(GroupId group) {
  Room* room = find(group);
  if (!room || room->running) return;
  room->running = true;
  while (!room->waiting.empty() && run_front(group, *room)) {
  }
  room->running   = false;
  const bool idle = room->waiting.empty() && !room->changing && room->undecided == 0;
  // What a stranger asked for is not kept.
  if (!idle || room->state == State::loading || room->state == State::ready) return;
  rooms_.erase(raw(group));
}

Groups::Task Groups::take_front(Room& room) {
  const Task task = room.waiting.front();
  room.waiting.pop_front();
  waiting_ -= task.is_message;
  return task;
}

bool Groups::run_front(GroupId group, Room& room) {
  const Task& front = room.waiting.front();
  switch (room.state) {
    case State::unknown: load_row(group, room); return false;
    case State::loading: return false;
    case State::row:
    case State::ready: break;
    case State::gone: {
      const Task task = take_front(room);
      if (task.is_message) {
        messages_.refuse(task.placement, {Errc::not_found});
      } else if (task.ask.op == GroupOp::take_in) {
        on_taken_in(group, room, task, /*there=*/false);
      } else {
        answer(task, {Errc::not_found});
      }
      return true;
    }
  }
  if (room.changing) return false;
  const GroupAsk& ask = front.ask;
  if (!front.is_message && raw(ask.user) != 0 && !ask.member && room.row.creator != ask.user) {
    const Task task = take_front(room);
    answer(task, {Errc::not_found});
    return true;
  }
  if (room.state == State::row) {
    seats_ -= std::exchange(room.seats, {}).size();
    load_seats(group, UserId{});
    return false;
  }
  if (front.is_message && is_behind()) {
    if (!std::exchange(room.blocked, true)) blocked_.push_back(group);
    return false;
  }
  const bool changes = !front.is_message && ask.op != GroupOp::info && ask.op != GroupOp::open;
  if (changes && room.undecided > 0) return false;
  Task task = take_front(room);
  if (!task.is_message) {
    return perform(group, room, std::move(task));
  } else if (!seat_of(room, task.author) && !RT_SEEDED_BUG("membership_skipped")) {
    messages_.refuse(task.placement, {Errc::not_found});
  } else {
    ++room.undecided;
    messages_.admitted(task.placement);
  }
  return true;
}

// --- reading it -----------------------------------------------------------------------------------------------

void Groups::load_row(GroupId group, Room& room) {
  room.state       = State::loading;
  const auto asked = context_.store.find_group(group, [this, group](Result<store::Group> row) {
    Room& found = *find(group);
    if (row) {
      found.row   = std::move(*row);
      found.state = State::row;
    } else if (row.error().code == Errc::not_found) {
      found.state = State::gone;
    } else {
      lose(group, row.error());
    }
    run(group);
  });
  if (asked) return;
  room.state = State::unknown;
  asked.error().code == Errc::full ? retries_.push_back(group) : lose(group, asked.error());
}

void Groups::load_seats(GroupId group, UserId after) {
  find(group)->state = State::loading;
  const auto asked   = context_.store.list_members(
      group, after, store::kMembersPerCall, [this, group](Result<std::vector<store::Member>> rows) {
        Room& room = *find(group);
        if (!rows) {
          lose(group, rows.error());
          return run(group);
        }
        room.seats.reserve(room.row.members);
        for (const store::Member& row : *rows) {
          room.seats.push_back({row.user, row.first});
          note_shard(room, row.user);
        }
        seats_ += rows->size();
        if (rows->size() == store::kMembersPerCall) return load_seats(group, rows->back().user);
        room.state = State::ready;
        run(group);
      });
  if (asked) return;
  find(group)->state = State::row;
  asked.error().code == Errc::full ? retries_.push_back(group) : lose(group, asked.error());
}

// The store failed: nobody is told that there is no such group.
void Groups::lose(GroupId group, Error error) {
  Room& room               = *find(group);
  room.state               = State::unknown;
  std::deque<Task> waiting = std::exchange(room.waiting, {});
  for (const Task& task : waiting) waiting_ -= task.is_message;
  for (const Task& task : waiting)
    task.is_message ? messages_.refuse(task.placement, error) : answer(task, error);
}

const Groups::Seat* Groups::seat_of(const Room& room, UserId user) {
  const auto at = std::ranges::lower_bound(room.seats, user, {}, &Seat::user);
  return at != room.seats.end() && at->user == user ? &*at : nullptr;
}

void Groups::note_shard(Room& room, UserId user) {
  const uint32_t shard = context_.home_of(user);
  room.shards.resize((context_.shards + 63) / 64);
  room.shards[shard / 64] |= uint64_t{1} << shard % 64;
}

// --- changing it ----------------------------------------------------------------------------------------------

bool Groups::perform(GroupId group, Room& room, Task task) {
  switch (task.ask.op) {
    case GroupOp::open: {
      std::vector<UserId> all;
      for (const Seat& seat : room.seats) all.push_back(seat.user);
      announce(group, room, std::move(task), GroupChange::opened, 1, all, {});
      return true;
    }
    case GroupOp::info:
      if (raw(task.ask.user) != 0 && !seat_of(room, task.ask.user)) {
        answer(task, {Errc::not_found});
      } else {
        const bool newer = room.row.version > task.ask.value;
        answer(task, {}, newer ? info_of(room, task.ask.muted) : PayloadRef{});
      }
      return true;
    case GroupOp::refresh: return refresh(group, room, std::move(task));
    case GroupOp::dismiss: return dismiss(group, room, std::move(task));
    case GroupOp::add:
    case GroupOp::remove: return change(group, room, std::move(task));
    case GroupOp::take_in: return take_in(group, room, std::move(task));
  }
  return true;
}

// What the store answered to a change that was asked for. False: it is full, and the change is the first
// again when it is tried again.
bool Groups::begun(GroupId group, Room& room, Task task, Result<void> asked) {
  if (asked) {
    room.changing = true;
  } else if (asked.error().code == Errc::full) {
    room.waiting.push_front(std::move(task));
    retries_.push_back(group);
    return false;
  } else {
    answer(task, asked.error());
  }
  return true;
}

// Temporary groups: members add, the creator removes; normal ones: the creator. Anybody may go, the
// creator only as the last.
bool Groups::may_change(const Room& room, const Task& task, std::span<const UserId> users) {
  const UserId user  = task.ask.user;
  const bool creator = room.row.creator == user;
  const bool member  = seat_of(room, user) != nullptr;
  if (raw(user) == 0) return true;
  if (task.ask.op == GroupOp::add)
    return creator || (room.row.type == store::kGroupTemporary && member);
  if (!creator) return member && users.size() == 1 && users[0] == user;
  return room.seats.size() == 1 || std::ranges::find(users, user) == users.end();
}

bool Groups::change(GroupId group, Room& room, Task task) {
  const auto users = ids_of(task.ask.body);
  const bool add   = task.ask.op == GroupOp::add;
  const auto fresh =
      std::ranges::count_if(users, [&](UserId user) { return seat_of(room, user) == nullptr; });
  const bool too_many = add && room.seats.size() + static_cast<size_t>(fresh) > task.ask.value;
  if (!may_change(room, task, users) || too_many) {
    answer(task, {Errc::refused});
    return true;
  }
  // No message of it is with the store, so the durable head is the newest there is.
  const uint32_t first = context_.store.head(ConversationId::group(group)).newest + 1;
  const auto asked     = context_.store.change_members(
      {.group = group, .add = add, .first = first, .users = {users.begin(), users.end()}},
      [this, group, task, first](Result<store::MembersChanged> changed) {
        on_changed(group, task, first, std::move(changed));
      });
  return begun(group, room, std::move(task), asked);
}

void Groups::on_changed(GroupId group, Task task, uint32_t first,
                        Result<store::MembersChanged> changed) {
  Room& room    = *find(group);
  room.changing = false;
  if (!changed) {
    answer(task, changed.error());
    return run(group);
  }
  PayloadRef::adopt(std::exchange(task.ask.body, nullptr));
  const bool add   = task.ask.op == GroupOp::add;
  room.row.version = changed->version;
  std::ranges::sort(changed->users);
  add ? add_seats(room, changed->users, first) : remove_seats(room, changed->users);
  PayloadRef body = changed_body(room, changed->users);
  announce(group, room, std::move(task), add ? GroupChange::added : GroupChange::removed, first,
           changed->users, std::move(body));
  run(group);
}

// `users`: sorted. Who is in it stays as he is: another program may have removed him, unnoticed so far.
void Groups::add_seats(Room& room, std::span<const UserId> users, uint32_t first) {
  const auto old = static_cast<long>(room.seats.size());
  std::vector<Seat> fresh;
  for (const UserId user : users) {
    if (!seat_of(room, user)) fresh.push_back({user, first});
    note_shard(room, user);
  }
  room.seats.insert(room.seats.end(), fresh.begin(), fresh.end());
  std::ranges::inplace_merge(room.seats, room.seats.begin() + old, {}, &Seat::user);
  seats_ += fresh.size();
}

void Groups::remove_seats(Room& room, std::span<const UserId> users) {
  seats_ -= std::erase_if(room.seats, [users](const Seat& seat) {
    return std::ranges::binary_search(users, seat.user);
  });
}

// A new name is a new version: every shard of a member must list it.
bool Groups::refresh(GroupId group, Room& room, Task task) {
  const auto asked =
      context_.store.find_group(group, [this, group, task](Result<store::Group> row) {
        Room& found    = *find(group);
        found.changing = false;
        if (row) {
          found.row = std::move(*row);
          announce(group, found, task, GroupChange::renamed, 0, {}, {});
        } else {
          answer(task, row.error());
        }
        run(group);
      });
  return begun(group, room, std::move(task), asked);
}

bool Groups::dismiss(GroupId group, Room& room, Task task) {
  if (raw(task.ask.user) != 0) {
    answer(task, {Errc::refused});
    return true;
  }
  const auto asked = context_.store.dismiss_group(group, [this, group, task](Result<void> done) {
    Room& found    = *find(group);
    found.changing = false;
    if (!done) {
      answer(task, done.error());
      return run(group);
    }
    std::vector<UserId> all;
    for (const Seat& seat : found.seats) all.push_back(seat.user);
    seats_ -= std::exchange(found.seats, {}).size();
    ++found.row.version;
    found.state = State::gone;
    announce(group, found, task, GroupChange::dismissed, 0, all, {});
    run(group);
  });
  return begun(group, room, std::move(task), asked);
}

// The row is read again; who came and went is known. The members are read again when they are needed next.
bool Groups::take_in(GroupId group, Room& room, Task task) {
  const auto asked =
      context_.store.find_group(group, [this, group, task](Result<store::Group> row) {
        Room& found    = *find(group);
        found.changing = false;
        if (!row && row.error().code != Errc::not_found) {
          answer(task, row.error());
          return run(group);
        }
        if (row) found.row = std::move(*row);
        on_taken_in(group, found, task, row.has_value());
        run(group);
      });
  return begun(group, room, std::move(task), asked);
}

void Groups::on_taken_in(GroupId group, Room& room, Task task, bool there) {
  const PayloadRef body = PayloadRef::adopt(std::exchange(task.ask.body, nullptr));
  const auto head       = load_native<GroupTakenIn>(body.bytes().data());
  std::vector<UserId> joined((body.bytes().size() - sizeof head) / sizeof(UserId));
  std::memcpy(joined.data(), body.bytes().data() + sizeof head, joined.size() * sizeof(UserId));
  std::vector<UserId> left(joined.begin() + head.joined, joined.end());
  joined.resize(head.joined);
  std::ranges::sort(joined);
  std::ranges::sort(left);
  // Under the version that it was seen with: what was decided here since then stays.
  const uint32_t version = std::max(there ? room.row.version : 0, head.version);
  room.row.version       = head.version;
  if (!there) {
    std::vector<UserId> all = left;
    for (const Seat& seat : room.seats)
      if (!std::ranges::binary_search(left, seat.user)) all.push_back(seat.user);
    seats_ -= std::exchange(room.seats, {}).size();
    room.state = State::gone;
    return announce(group, room, std::move(task), GroupChange::dismissed, 0, all, {});
  }
  const Task silent{.ask = {.ticket = 0, .group = group, .op = GroupOp::take_in}, .silent = true};
  remove_seats(room, left);
  add_seats(room, joined, head.first);
  if (!left.empty()) announce(group, room, silent, GroupChange::removed, 0, left, {});
  if (!joined.empty()) announce(group, room, silent, GroupChange::added, head.first, joined, {});
  room.row.version = version;
  announce(group, room, std::move(task), GroupChange::renamed, 0, {}, {});
  room.state = State::row;
}

// --- telling it -----------------------------------------------------------------------------------------------

void Groups::announce(GroupId group, Room& room, Task task, GroupChange change, uint32_t first,
                      std::span<const UserId> changed, PayloadRef body) {
  const GroupNewsHead head{
      .version      = room.row.version,
      .first        = first,
      .changed      = static_cast<uint32_t>(changed.size()),
      .user         = task.ask.user,
      .session      = task.ask.session,
      .change       = change,
      .type         = room.row.type,
      .only_changed = std::max(room.seats.size(), changed.size()) > kMembersListed};
  PayloadRef notice;
  // Of a large group only a few who came or went are told, and without the list of the others: it would
  // be some 100 KiB for each of a million connections.
  const bool told = !head.only_changed || changed.size() <= kChangedTold;
  if (change != GroupChange::opened && change != GroupChange::renamed && told) {
    IM::Group::IMGroupChangeMemberNotify notify;
    notify.set_user_id(raw(task.ask.user));
    notify.set_change_type(change == GroupChange::added ? IM::BaseDefine::GROUP_MODIFY_TYPE_ADD
                                                        : IM::BaseDefine::GROUP_MODIFY_TYPE_DEL);
    notify.set_group_id(raw(group));
    const size_t listed = head.only_changed ? 0 : room.seats.size();
    for (size_t i = 0; i < listed; ++i) notify.add_cur_user_id_list(raw(room.seats[i].user));
    for (const UserId user : changed.first(std::min<size_t>(changed.size(), kMembersListed)))
      notify.add_chg_user_id_list(raw(user));
    notice = frame_of(CommandId::group_change_member_notify, 0, notify);
  }
  Payload* payload = Payload::make(sizeof head + changed.size_bytes() + notice.bytes().size());
  std::byte* to    = payload->data();
  std::memcpy(to, &head, sizeof head);
  std::memcpy(to + sizeof head, changed.data(), changed.size_bytes());
  std::memcpy(to + sizeof head + changed.size_bytes(), notice.bytes().data(),
              notice.bytes().size());
  const PayloadRef news = PayloadRef::adopt(payload);

  for (const UserId user : changed) note_shard(room, user);
  std::vector<uint32_t> shards;
  for (uint32_t shard = 0; shard < context_.shards; ++shard)
    if (shard / 64 < room.shards.size() && room.shards[shard / 64] >> shard % 64 & 1)
      shards.push_back(shard);
  if (shards.empty()) return answer(task, {}, std::move(body));
  const uint32_t index = announcing_.take();
  announcing_[index]   = {.missing = static_cast<uint32_t>(shards.size()),
                          .task    = std::move(task),
                          .body    = std::move(body)};
  for (const uint32_t shard : shards)
    send(shard, Event::of(GroupNews{index + 1, group, PayloadRef(news).release()}),
         static_cast<uint32_t>(news.bytes().size()));
}

PayloadRef Groups::changed_body(const Room& room, std::span<const UserId> changed) {
  const auto listed = static_cast<uint32_t>(std::min<size_t>(room.seats.size(), kMembersListed));
  const GroupChanged head{.version = room.row.version,
                          .changed = static_cast<uint32_t>(changed.size()),
                          .listed  = listed};
  Payload* payload = Payload::make(sizeof head + changed.size_bytes() + listed * sizeof(UserId));
  std::byte* to    = payload->data();
  std::memcpy(to, &head, sizeof head);
  std::memcpy(to + sizeof head, changed.data(), changed.size_bytes());
  to += sizeof head + changed.size_bytes();
  for (uint32_t i = 0; i < listed; ++i, to += sizeof(UserId))
    std::memcpy(to, &room.seats[i].user, sizeof(UserId));
  return PayloadRef::adopt(payload);
}

PayloadRef Groups::info_of(const Room& room, bool muted) {
  IM::BaseDefine::GroupInfo info;
  info.set_group_id(raw(room.row.id));
  info.set_version(room.row.version);
  info.set_group_name(room.row.name);
  info.set_group_avatar(room.row.avatar);
  info.set_group_creator_id(raw(room.row.creator));
  info.set_group_type(static_cast<IM::BaseDefine::GroupType>(room.row.type));
  info.set_shield_status(muted ? 1 : 0);
  const size_t listed = std::min<size_t>(room.seats.size(), kMembersListed);
  for (size_t i = 0; i < listed; ++i) info.add_group_member_list(raw(room.seats[i].user));
  Payload* payload = Payload::make(info.ByteSizeLong());
  RT_ASSERT(info.SerializeToArray(payload->data(), static_cast<int>(payload->bytes().size())));
  return PayloadRef::adopt(payload);
}

void Groups::answer(const Task& task, Error error, PayloadRef body) {
  PayloadRef::adopt(task.ask.body);  // what was not used
  if (task.silent) return;
  if (task.from == context_.self) return finish(task.ask.ticket, error, std::move(body));
  context_.mailbox.reply(task.from, Event::of(GroupDone{task.ask.ticket, error, body.release()}));
}

// --- fan-out --------------------------------------------------------------------------------------------------

void Groups::fan_out(GroupId group, UserId author, uint32_t msg_id, SessionKey session,
                     const PayloadRef& frame) {
  const Room& room = *find(group);
  const auto bytes = static_cast<uint32_t>(frame.bytes().size());
  for (uint32_t word = 0; word < room.shards.size(); ++word)
    for (uint64_t bits = room.shards[word]; bits; bits &= bits - 1)
      send(word * 64 + static_cast<uint32_t>(std::countr_zero(bits)),
           Event::of(GroupDeliver{group, author, msg_id, session, PayloadRef(frame).release()}),
           bytes);
}

void Groups::send(uint32_t to, const Event& event, uint32_t bytes) {
  lanes_[to].waiting.push_back({event, bytes});
  ++unpushed_;
  ++backlog_;
  backlog_bytes_ += bytes;
  pump(to);
}

void Groups::pump(uint32_t to) {
  const bool own = to == context_.self;
  if (own && std::exchange(pumping_, true)) return;
  Lane& lane = lanes_[to];
  // A quarter of the credits: other questions must get through beside a large group.
  const uint32_t unheard_max = std::max(4u, context_.mailbox.credits_max() / 4);
  while (!lane.waiting.empty() && lane.unheard.size() < unheard_max) {
    if (!own && !context_.mailbox.open_request(to)) break;
    const Outgoing out = lane.waiting.front();
    lane.waiting.pop_front();
    --unpushed_;
    lane.unheard.push_back(out.bytes);
    if (!own) {
      context_.mailbox.push(to, out.event);
    } else if (out.event.kind() == EventKind::group_deliver) {
      context_.memberships->on_deliver(to, out.event.as<GroupDeliver>());
    } else {
      context_.memberships->on_news(to, out.event.as<GroupNews>());
    }
  }
  if (own) pumping_ = false;
}

void Groups::on_heard(uint32_t from, const GroupHeard& heard) {
  if (from != context_.self) context_.mailbox.close_request(from);
  Lane& lane = lanes_[from];
  backlog_bytes_ -= lane.unheard.front();  // not always that one's: it adds up
  lane.unheard.pop_front();
  --backlog_;
  if (heard.ticket != 0 && --announcing_[heard.ticket - 1].missing == 0) {
    Announcing told = announcing_.give_back(heard.ticket - 1);
    answer(told.task, {}, std::move(told.body));
  }
  pump(from);
}

void Groups::on_turn() {
  for (size_t n = unsent_.size(); n > 0; --n) {
    const uint32_t ticket = unsent_.front();
    unsent_.pop_front();
    send_ask(ticket);
  }
  for (uint32_t to = 0; unpushed_ > 0 && to < lanes_.size(); ++to) pump(to);
  if (blocked_.empty() || is_behind()) return;
  for (const GroupId group : std::exchange(blocked_, {})) {
    if (Room* room = find(group)) room->blocked = false;
    run(group);
  }
}

void Groups::on_tick() {
  for (const GroupId group : std::exchange(retries_, {})) run(group);
}

}  // namespace ringtalk::shard
