#include "shard/outside_news.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/log.h"
#include "shard/shard.h"

namespace ringtalk::shard {

using engine::Payload;
using engine::PayloadRef;

void OutsideNews::on_changes(const store::OutsideChanges& changes) {
  engine::log::info("changed_outside",
                    {{"users", changes.users.size()}, {"groups", changes.groups.size()}});
  if (!changes.users.empty()) {
    std::vector<store::UserState> states;
    Told told{.ticket = next_ticket_++ | kTicketBit, .expelled = {}};
    for (const store::OutsideUser& user : changes.users) {
      states.push_back({user.id, user.status});
      if (user.password || !may_log_in(user.status)) told.expelled.push_back(user.id);
    }
    const uint32_t ticket = told.ticket;
    told_.push_back(std::move(told));
    shard_.announce_users(states, ticket);
  }
  for (const store::OutsideGroup& group : changes.groups) ask(group);
}

bool OutsideNews::may_log_in(uint8_t status) const {
  const auto& allowed = shard_.context().limits.allowed_states;
  return std::ranges::find(allowed, status) != allowed.end();
}

// First nobody can reach who has left, then his sessions end.
void OutsideNews::announced(uint32_t ticket) {
  const auto at = std::ranges::find(told_, ticket, &Told::ticket);
  if (at == told_.end()) return;
  expelled_.insert(expelled_.end(), at->expelled.begin(), at->expelled.end());
  told_.erase(at);
  expel();
}

void OutsideNews::expel() {
  constexpr uint8_t kDevices = Operator::kPc | Operator::kMobile;
  while (!expelled_.empty() &&
         shard_.operations().kick(expelled_.front(), kDevices, /*expel=*/true, [](uint32_t) {}))
    expelled_.pop_front();
}

void OutsideNews::ask(store::OutsideGroup group) {
  const size_t ids = group.joined.size() + group.left.size();
  const GroupTakenIn head{.version   = group.version,
                          .first     = group.first,
                          .joined    = static_cast<uint32_t>(group.joined.size()),
                          .dismissed = group.dismissed};
  Payload* body = Payload::make(sizeof head + ids * sizeof(UserId));
  std::byte* to = body->data();
  std::memcpy(to, &head, sizeof head);
  to += sizeof head;
  for (const auto* users : {&group.joined, &group.left}) {
    if (!users->empty()) std::memcpy(to, users->data(), users->size() * sizeof(UserId));
    to += users->size() * sizeof(UserId);
  }
  const GroupId id = group.id;
  shard_.groups().ask({.group = id, .op = GroupOp::take_in, .body = body},
                      [this, group = std::move(group)](Error error, PayloadRef) mutable {
                        if (error.code != Errc::ok) again_.push_back(std::move(group));
                      });
}

void OutsideNews::on_tick() {
  expel();
  for (store::OutsideGroup& group : std::exchange(again_, {})) ask(std::move(group));
}

}  // namespace ringtalk::shard
