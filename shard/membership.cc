#include "shard/membership.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "shard/frames.h"
#include "shard/groups.h"

namespace ringtalk::shard {

using engine::Payload;
using engine::PayloadRef;

namespace {

constexpr uint32_t kNoMessage = ~0u;
constexpr uint32_t kNoNotice  = ~0u;

}  // namespace

// --- login, logout -----------------------------------------------------------------------------------------

bool Memberships::known(UserId user) const {
  const UserEntry* entry = context_.users.find(user);
  return entry && entry->first;
}

Result<void> Memberships::load(UserId user, Loaded done) {
  if (const auto at = loading_.find(raw(user)); at != loading_.end()) {
    at->second->waiting.push_back(std::move(done));
    return {};
  }
  const auto asked = context_.store.list_memberships(
      user, [this, user](Result<std::vector<store::Membership>> rows) {
        on_loaded(user, std::move(rows));
      });
  if (!asked) return asked;
  auto& loading = loading_[raw(user)] = std::make_unique<Loading>();
  loading->waiting.push_back(std::move(done));
  return {};
}

void Memberships::on_loaded(UserId user, Result<std::vector<store::Membership>> rows) {
  const auto at                          = loading_.find(raw(user));
  const std::unique_ptr<Loading> loading = std::move(at->second);
  loading_.erase(at);
  if (!rows) {
    for (Loaded& done : loading->waiting) done(std::unexpected(rows.error()));
    return;
  }
  if (!rows->empty() || !loading->news.empty()) {
    auto& groups = users_[raw(user)] = std::make_unique<UserGroups>();
    for (const store::Membership& row : *rows) {
      join(user, *groups,
           {.group     = row.group,
            .first     = row.first,
            .version   = row.version,
            .type      = row.type,
            .muted     = row.muted,
            .hidden_to = row.hidden_to});
    }
    for (const News& news : loading->news) apply(user, news.group, news.head);
  }
  for (Loaded& done : loading->waiting) done({});
  if (known(user)) return;
  const auto left = users_.find(raw(user));  // nobody waited for it
  if (left == users_.end()) return;
  for (const Held& held : left->second->held) let_go(held.local);
  users_.erase(left);
}

void Memberships::opened(Session& session) {
  const auto at = users_.find(raw(session.user));
  if (at == users_.end()) return;
  UserGroups& groups = *at->second;
  Places& places     = groups.sessions.emplace_back(Places{&session, {}});
  places.at.resize(groups.held.size());
  for (uint32_t link = 0; link < groups.held.size(); ++link)
    enter(groups_[groups.held[link].local], places, link, groups.held[link].first);
}

void Memberships::closed(Session& session) {
  if (giving_) return gone_.push_back(&session);
  const auto at = users_.find(raw(session.user));
  if (at == users_.end()) return;
  UserGroups& groups = *at->second;
  const auto mine    = std::ranges::find(groups.sessions, &session, &Places::session);
  if (mine == groups.sessions.end()) return;
  for (uint32_t link = 0; link < groups.held.size(); ++link)
    drop(groups_[groups.held[link].local], mine->at[link]);
  groups.sessions.erase(mine);
  if (!groups.sessions.empty()) return;
  for (const Held& held : groups.held) let_go(held.local);
  users_.erase(at);
}

// --- what a user holds ----------------------------------------------------------------------------------------

Held* Memberships::find(UserId user, GroupId group) {
  const auto at = users_.find(raw(user));
  if (at == users_.end()) return nullptr;
  const auto held = std::ranges::find(at->second->held, group, &Held::group);
  return held == at->second->held.end() ? nullptr : &*held;
}

void Memberships::show(UserId user, GroupId group) {
  Held* held = find(user, group);
  if (!held || held->hidden_to == 0) return;
  held->hidden_to = 0;
  shown_.push_back({user, group});
}

uint32_t Memberships::local_of(GroupId group) {
  const auto [at, fresh] = places_.try_emplace(raw(group), 0);
  if (!fresh) return at->second;
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(groups_.size()));
    groups_.emplace_back();
  }
  at->second = free_.back();
  free_.pop_back();
  groups_[at->second].id = group;
  return at->second;
}

void Memberships::join(UserId user, UserGroups& groups, const Held& held) {
  RT_ASSERT(raw(user) != 0);
  const uint32_t local = local_of(held.group);
  LocalGroup& group    = groups_[local];
  ++group.holders;
  group.version   = std::max(group.version, held.version);
  const auto link = static_cast<uint32_t>(groups.held.size());
  groups.held.push_back(held);
  ++held_;
  groups.held.back().local = local;
  for (Places& places : groups.sessions) {
    places.at.push_back(0);
    enter(group, places, link, held.first);
  }
}

// What was learnt after `version` stays. What is on its way was for him: it goes first.
void Memberships::leave(UserId user, GroupId id, uint32_t version) {
  const auto at = users_.find(raw(user));
  if (at == users_.end()) return;
  UserGroups& groups = *at->second;
  const auto held    = std::ranges::find(groups.held, id, &Held::group);
  if (held == groups.held.end() || held->version >= version) return;
  const auto link      = static_cast<uint32_t>(held - groups.held.begin());
  const uint32_t local = held->local;
  const uint32_t last  = groups.held[groups.held.size() - 1].local;
  giving_              = true;
  for (Places& places : groups.sessions) {
    give_rest(groups_[local], places.at[link]);
    drop(groups_[local], places.at[link]);
    if (link + 1 < groups.held.size()) {
      places.at[link]                             = places.at.back();
      groups_[last].entries[places.at[link]].link = link;
    }
    places.at.pop_back();
  }
  *held = groups.held.back();  // the last takes its place
  groups.held.pop_back();
  let_go(local);
  end_giving();
}

// The last user of it here went.
void Memberships::let_go(uint32_t local) {
  LocalGroup& group = groups_[local];
  --held_;
  if (--group.holders > 0) return;
  RT_ASSERT(group.entries.empty());
  places_.erase(raw(group.id));
  if (group.walks) return;  // on_turn() ends it
  group = {};
  free_.push_back(local);
}

// --- the arrays -----------------------------------------------------------------------------------------------

void Memberships::enter(LocalGroup& group, Places& places, uint32_t link, uint32_t first) {
  places.at[link] = static_cast<uint32_t>(group.entries.size());
  group.entries.push_back({places.session, first, link});
  ++entries_;
}

// The hole is filled from the end of the part that it is in: what a walk has passed stays passed.
void Memberships::drop(LocalGroup& group, uint32_t at) {
  if (at < group.walked) {
    --group.walked;
    move(group, group.walked, at);
    at = group.walked;
  }
  move(group, static_cast<uint32_t>(group.entries.size() - 1), at);
  group.entries.pop_back();
  --entries_;
}

void Memberships::move(LocalGroup& group, uint32_t from, uint32_t to) {
  if (from == to) return;
  const Entry entry  = group.entries[from];
  group.entries[to]  = entry;
  UserGroups& groups = *users_.at(raw(entry.session->user));
  std::ranges::find(groups.sessions, entry.session, &Places::session)->at[entry.link] = to;
}

// --- events ---------------------------------------------------------------------------------------------------

void Memberships::heard(uint32_t shard, uint32_t ticket) {
  if (shard == context_.self) return context_.groups->on_heard(shard, {ticket});
  context_.mailbox.reply(shard, Event::of(GroupHeard{ticket}));
}

void Memberships::on_deliver(uint32_t from, const GroupDeliver& event) {
  PayloadRef frame = PayloadRef::adopt(event.frame);
  const auto at    = places_.find(raw(event.group));
  if (at == places_.end()) return heard(from, 0);
  const bool author_here = context_.home_of(event.author) == context_.self;
  queue(at->second, {.frame  = std::move(frame),
                     .from   = from,
                     .msg_id = event.msg_id,
                     .except = author_here ? event.session : SessionKey{}});
}

void Memberships::on_news(uint32_t from, const GroupNews& event) {
  const PayloadRef body   = PayloadRef::adopt(event.body);
  const auto head         = load_native<GroupNewsHead>(body.bytes().data());
  const Bytes ids         = body.bytes().subspan(sizeof head, head.changed * sizeof(UserId));
  const Bytes frame       = body.bytes().subspan(sizeof head + ids.size());
  const bool asker_here   = raw(head.user) != 0 && context_.home_of(head.user) == context_.self;
  const SessionKey except = asker_here ? head.session : SessionKey{};
  const PayloadRef notice = frame.empty() ? PayloadRef{} : PayloadRef::adopt(Payload::copy(frame));
  const bool came         = head.change == GroupChange::added || head.change == GroupChange::opened;
  for (size_t at = 0; at < ids.size(); at += sizeof(UserId)) {
    const auto user = load_native<UserId>(ids.data() + at);
    if (context_.home_of(user) != context_.self) continue;
    apply(user, event.group, head);
    if (!notice || (came && !head.only_changed)) continue;
    context_.users.each_session(user, [&](Session& session) {
      if (session.key != except) push_shared(context_, session, notice, 1);
    });
  }
  const auto at = places_.find(raw(event.group));
  if (at != places_.end()) {
    LocalGroup& group = groups_[at->second];
    group.version     = std::max(group.version, head.version);
    if (notice && !head.only_changed)
      queue(at->second, {.frame   = notice,
                         .from    = context_.self,
                         .msg_id  = 0,
                         .version = head.version,
                         .except  = except});
  }
  heard(from, event.ticket);
}

void Memberships::apply(UserId user, GroupId group, const GroupNewsHead& head) {
  if (const auto at = loading_.find(raw(user)); at != loading_.end())
    return at->second->news.push_back({group, head});
  if (head.change == GroupChange::removed || head.change == GroupChange::dismissed)
    return leave(user, group, head.version);
  auto at = users_.find(raw(user));
  if (at == users_.end()) {
    if (!known(user)) return;
    at = users_.emplace(raw(user), std::make_unique<UserGroups>()).first;
    context_.users.each_session(
        user, [&](Session& session) { at->second->sessions.push_back({&session, {}}); });
  }
  if (Held* held = find(user, group)) {
    // Another program had removed him, and nobody has told of it yet: what it did is older.
    held->version = std::max(held->version, head.version);
    return;
  }
  join(user, *at->second,
       {.group = group, .first = head.first, .version = head.version, .type = head.type});
}

// --- walks ----------------------------------------------------------------------------------------------------

void Memberships::queue(uint32_t local, Item item) {
  LocalGroup& group = groups_[local];
  group.queue.push_back(std::move(item));
  if (!std::exchange(group.walks, true)) walks_.push_back(local);
}

void Memberships::on_turn() {
  for (size_t n = shown_.size(); n > 0; --n) {
    const auto [user, group] = shown_.front();
    const auto asked = context_.store.hide_group(user, group, 0, [](const Result<void>&) {});
    if (!asked && asked.error().code == Errc::full) break;
    shown_.pop_front();
  }
  for (uint32_t left = context_.limits.group_pushes_per_turn; left > 0 && !walks_.empty();) {
    const uint32_t local = walks_.front();
    walks_.pop_front();
    LocalGroup& group = groups_[local];
    if (group.walking.empty()) begin_walk(group);
    left -= std::min(left, 1 + walk(group, left));
    if (!group.walking.empty() || !group.queue.empty()) {
      walks_.push_back(local);
      continue;
    }
    group.walks = false;
    if (group.holders > 0) continue;
    group = {};
    free_.push_back(local);
  }
}

// All that waits and fits in one piece: a connection gets it with one copy, and one send takes it away.
void Memberships::begin_walk(LocalGroup& group) {
  size_t bytes  = 0;
  group.oldest  = kNoMessage;
  group.noticed = kNoNotice;
  group.excepts = false;
  group.walked  = 0;
  while (!group.queue.empty() && group.walking.size() < kItemsJoined) {
    Item& item = group.queue.front();
    bytes += item.frame.bytes().size();
    if (!group.walking.empty() && bytes > kBytesJoined) break;
    if (item.msg_id != 0 && group.oldest == kNoMessage) group.oldest = item.msg_id;
    if (item.msg_id == 0) group.noticed = std::min(group.noticed, item.version);
    group.excepts |= item.except != SessionKey{};
    group.walking.push_back(std::move(item));
    group.queue.pop_front();
  }
  if (group.walking.size() == 1) {
    group.joined = group.walking.front().frame;
    return;
  }
  bytes = 0;
  for (const Item& item : group.walking) bytes += item.frame.bytes().size();
  Payload* joined = Payload::make(bytes);
  std::byte* to   = joined->data();
  for (const Item& item : group.walking) {
    const Bytes frame = item.frame.bytes();
    std::memcpy(to, frame.data(), frame.size());
    to += frame.size();
  }
  group.joined = PayloadRef::adopt(joined);
}

// Returns the connections it went to.
uint32_t Memberships::walk(LocalGroup& group, uint32_t pushes_max) {
  const auto end = static_cast<uint32_t>(
      std::min<size_t>(group.entries.size(), size_t{group.walked} + pushes_max));
  const uint32_t pushed = end - group.walked;
  giving_               = true;
  for (; group.walked < end; ++group.walked) give(group, group.entries[group.walked]);
  end_giving();
  if (group.walked < group.entries.size()) return pushed;
  // Whatever is told by those who hear of it finds no walk here.
  const std::vector<Item> walked = std::exchange(group.walking, {});
  group.joined                   = {};
  group.walked                   = 0;
  for (const Item& item : walked)
    if (item.msg_id != 0) heard(item.from, 0);
  return pushed;
}

void Memberships::give(LocalGroup& group, const Entry& entry) {
  Session& session = *entry.session;
  if (!session.is_open()) return;
  bool whole = group.oldest == kNoMessage || entry.first <= group.oldest;
  if (whole && group.excepts)
    whole = std::ranges::find(group.walking, session.key, &Item::except) == group.walking.end();
  if (whole && group.noticed != kNoNotice) whole = version_of(entry) <= group.noticed;
  if (whole) {
    context_.metrics.add(Counter::deliveries, group.walking.size());
    return push_shared(context_, session, group.joined,
                       static_cast<uint32_t>(group.walking.size()));
  }
  for (const Item& item : group.walking) give(entry, item);
}

void Memberships::give(const Entry& entry, const Item& item) {
  if (!entry.session->is_open() || item.except == entry.session->key) return;
  // What happened before he came is not told to him, nor what he was told as he went.
  if (item.msg_id != 0 ? item.msg_id < entry.first : item.version < version_of(entry)) return;
  context_.metrics.add(Counter::deliveries);
  push_shared(context_, *entry.session, item.frame, 1);
}

void Memberships::give_rest(LocalGroup& group, uint32_t at) {
  const Entry& entry = group.entries[at];
  if (!group.walking.empty() && at >= group.walked) give(group, entry);
  for (const Item& item : group.queue) give(entry, item);
}

void Memberships::end_giving() {
  giving_ = false;
  for (Session* session : std::exchange(gone_, {})) closed(*session);
}

uint32_t Memberships::version_of(const Entry& entry) const {
  return users_.at(raw(entry.session->user))->held[entry.link].version;
}

}  // namespace ringtalk::shard
