#include "shard/shard.h"

#include <cstring>

#include "engine/log.h"
#include "shard/relay.h"

namespace ringtalk::shard {

using engine::Payload;
using engine::PayloadRef;

Shard::Shard(const Setup& setup)
    : setup_(setup),
      mailbox_(std::make_unique<Mailbox>(setup.lanes, setup.self)),
      tick_([](engine::Timer& timer) noexcept { static_cast<Tick&>(timer).shard.on_tick(); },
            *this) {}

void Shard::connect(store::Store& store, Gateway& gateway) {
  const uint64_t window = setup_.limits.repeat_window_bytes / setup_.shards;
  context_.reset(new Context{
      .self    = setup_.self,
      .shards  = setup_.shards,
      .loop    = setup_.loop,
      .metrics = setup_.loop.metrics(),
      .mailbox = *mailbox_,
      .store   = store,
      .limits  = setup_.limits,
      .bus     = setup_.bus,
      .rosters = setup_.rosters,
      .doors   = &gateway,
      .repeats = RepeatWindow(window * 3 / 4, kRepeatKeepS, RepeatWindow::Places::by_sequence),
      .client_repeats = RepeatWindow(window / 4, kClientRepeatKeepS, RepeatWindow::Places::by_key),
      .watch          = DeliveryWatch(4 * kMiB / setup_.shards, setup_.limits.delivery_ack_wait_s),
  });
  messages_             = std::make_unique<Messages>(*context_);
  history_              = std::make_unique<History>(*context_);
  unread_               = std::make_unique<Unread>(*context_);
  read_marks_           = std::make_unique<ReadMarks>(*context_);
  session_list_         = std::make_unique<SessionList>(*context_, *read_marks_);
  contacts_             = std::make_unique<Contacts>(*context_);
  presence_             = std::make_unique<Presence>(*context_);
  context_->presence    = presence_.get();
  memberships_          = std::make_unique<Memberships>(*context_);
  context_->memberships = memberships_.get();
  groups_               = std::make_unique<Groups>(*context_, *messages_);
  context_->groups      = groups_.get();
  group_commands_       = std::make_unique<GroupCommands>(*context_);
  profile_news_         = std::make_unique<ProfileNews>(*context_);
  profile_edit_         = std::make_unique<ProfileEdit>(*context_, *profile_news_);
  push_settings_        = std::make_unique<PushSettings>(*context_);
  login_                = std::make_unique<Login>(*context_, setup_.login);
  operator_             = std::make_unique<Operator>(*context_, *login_, *messages_);
  outside_news_         = std::make_unique<OutsideNews>(*this);
  dispatch_ = std::make_unique<Dispatch>(*context_, *login_, *messages_, *history_, *unread_,
                                         *read_marks_, *session_list_, *contacts_, *group_commands_,
                                         *profile_edit_, *push_settings_);
  gateway_  = &gateway;
  setup_.loop.set_client(*this);
  setup_.loop.metrics().set(engine::Gauge::tick_time, static_cast<int64_t>(setup_.loop.now_ns()));
  tick_due_ns_ = setup_.loop.now_ns() + kTickNs;
  setup_.loop.timers().arm(tick_, tick_due_ns_);
}

// --- from the gateway ------------------------------------------------------------------------------------

void Shard::add(Session& session) { context_->sessions.add(session); }

void Shard::leaving(Session& session) {
  if (session.state == SessionState::leaving) return;
  if (session.state == SessionState::open) login_->closed(session);
  session.state = SessionState::leaving;
}

void Shard::gone(Session& session) {
  leaving(session);
  messages_->on_session_gone(session);
  context_->sessions.remove(session);
}

Taken Shard::take(Session& session, const proto::Split& frame) {
  if (draining_) return Taken::waits;
  context_->metrics.add(Counter::frames_in);
  return dispatch_->take(session, frame);
}

// --- turn -------------------------------------------------------------------------------------------------

void Shard::on_turn() {
  mailbox_->drain([this](uint32_t from, const Event& event) { on_event(from, event); });
  login_->on_turn();
  messages_->on_turn();
  history_->on_turn();
  unread_->on_turn();
  read_marks_->on_turn();
  session_list_->on_turn();
  contacts_->on_turn();
  presence_->on_turn();
  memberships_->on_turn();
  groups_->on_turn();
  profile_news_->on_turn();
  operator_->on_turn();
  retry_stalled();
  gateway_->on_turn();
  if (setup_.drain.asked.load(std::memory_order_relaxed)) drain_turn();
}

void Shard::on_turn_end() {
  context_->store.on_turn(context_->loop.now_ns());
  presence_->on_turn_end();
  profile_news_->on_turn_end();
  mailbox_->flush(context_->loop.ring());
}

bool Shard::work_waits() {
  if (finished_) return true;  // do not sleep: the owner is about to stop turning
  return mailbox_->inbound_waits() || gateway_->work_waits() || login_->work_waits() ||
         messages_->work_waits() || presence_->work_waits() || operator_->work_waits() ||
         contacts_->work_waits() || memberships_->work_waits() || profile_news_->work_waits() ||
         context_->store.work_waits() ||
         (!context_->unstored.empty() && context_->store.has_room());
}

void Shard::retry_stalled() {
  // Nobody is tried in vain: a try costs almost as much as a send.
  auto& unstored = context_->unstored;
  if (!unstored.empty() && context_->store.has_room()) {
    for (size_t n = std::min<size_t>(unstored.size(), kStalledPerTurn); n > 0; --n) {
      if (Session* session = context_->sessions.find(unstored.front())) {
        session->waits_for_store = false;
        session->wake();
      }
      unstored.pop_front();
    }
  }
  auto& stalled = context_->stalled;
  if (stalled.empty()) return;
  // Whoever finds no room again comes back to the end.
  const size_t count = std::min<size_t>(stalled.size(), kStalledPerTurn);
  const std::vector<SessionKey> now(stalled.begin(), stalled.begin() + static_cast<long>(count));
  stalled.erase(stalled.begin(), stalled.begin() + static_cast<long>(count));
  for (const SessionKey key : now)
    if (Session* session = context_->sessions.find(key)) session->wake();
}

void Shard::on_tick() {
  const uint64_t now = context_->loop.now_ns();
  context_->store.on_tick(now);
  messages_->on_tick();
  presence_->on_tick();
  groups_->on_tick();
  outside_news_->on_tick();
  context_->users.tick(now);
  context_->metrics.add(Counter::delivery_missed, context_->watch.sweep(context_->now_s()));
  auto& metrics      = context_->metrics;
  const auto grow_to = [&](Counter counter, uint64_t total) {
    metrics.add(counter, total - metrics.value(counter));
  };
  engine::Ring& ring = context_->loop.ring();
  grow_to(Counter::cq_overflow, ring.counters().cq_overflows);
  grow_to(Counter::doorbells, ring.counters().bells_sent);
  grow_to(Counter::lane_events, mailbox_->pushed());
  metrics.set(engine::Gauge::lane_waiting, static_cast<int64_t>(mailbox_->outbound_waiting()));
  metrics.set(engine::Gauge::recv_buffers_lent, ring.buffers_lent());
  metrics.set(engine::Gauge::tick_time, static_cast<int64_t>(now));
  metrics.set(engine::Gauge::tick_lag, static_cast<int64_t>(now - std::min(now, tick_due_ns_)));
  metrics.set(engine::Gauge::send_queue_bytes,
              static_cast<int64_t>(context_->loop.blocks().out_bytes()));
  metrics.set(engine::Gauge::store_out_of_space, context_->store.out_of_space() ? 1 : 0);
  metrics.set(engine::Gauge::timers_armed, context_->loop.timers().armed_count());
  const store::Figures store = context_->store.figures();
  grow_to(Counter::store_commits, store.commits);
  metrics.set(engine::Gauge::store_waiting, static_cast<int64_t>(store.waiting));
  metrics.set(engine::Gauge::store_conversations, static_cast<int64_t>(store.conversations));
  metrics.set(engine::Gauge::store_index_bytes, static_cast<int64_t>(store.memory_bytes));
  metrics.set(engine::Gauge::store_repeats_forgotten,
              static_cast<int64_t>(store.repeats_forgotten));
  metrics.set(engine::Gauge::store_blocks_forgotten, static_cast<int64_t>(store.blocks_forgotten));
  metrics.set(engine::Gauge::sessions_open, static_cast<int64_t>(context_->users.count()));
  metrics.set(engine::Gauge::connections_bytes, static_cast<int64_t>(gateway_->connection_bytes()));
  metrics.set(engine::Gauge::session_table_bytes, static_cast<int64_t>(context_->sessions.bytes()));
  metrics.set(engine::Gauge::online_users_bytes, static_cast<int64_t>(context_->users.bytes()));
  metrics.set(engine::Gauge::directory_bytes, static_cast<int64_t>(context_->directory.bytes()));
  metrics.set(engine::Gauge::memberships_bytes, static_cast<int64_t>(memberships_->bytes()));
  metrics.set(engine::Gauge::groups_bytes, static_cast<int64_t>(groups_->bytes()));
  if (context_->self == 0)
    metrics.set(engine::Gauge::contact_cache_bytes,
                static_cast<int64_t>(context_->rosters.users.bytes() +
                                     context_->rosters.departments.bytes()));
  metrics.set(engine::Gauge::repeat_window_bytes,
              static_cast<int64_t>(context_->repeats.bytes() + context_->client_repeats.bytes()));
  metrics.set(engine::Gauge::repeat_evicted_early,
              static_cast<int64_t>(context_->repeats.evicted_early() +
                                   context_->client_repeats.evicted_early()));
  for (auto waiting = std::move(announce_waiting_); auto& [to, ask] : waiting) {
    if (mailbox_->open_request(to)) {
      mailbox_->push(to, Event::of(ask));
    } else {
      announce_waiting_.push_back({to, ask});
    }
  }
  tick_due_ns_ = now + kTickNs;
  setup_.loop.timers().arm(tick_, tick_due_ns_);
}

void Shard::on_event(uint32_t from, const Event& event) {
  switch (event.kind()) {
    case EventKind::login_ask: return login_->on_ask(from, event.as<LoginAsk>());
    case EventKind::login_done: return login_->on_done(from, event.as<LoginDone>());
    case EventKind::handover: return login_->on_handover(event.as<Handover>());
    case EventKind::append_ask: return messages_->on_append_ask(from, event.as<AppendAsk>());
    case EventKind::append_done: return messages_->on_append_done(from, event.as<AppendDone>());
    case EventKind::deliver: return messages_->on_deliver(event.as<Deliver>());
    case EventKind::page_ask: return history_->on_page_ask(from, event.as<PageAsk>());
    case EventKind::page_done: return history_->on_page_done(from, event.as<PageDone>());
    case EventKind::unread_ask: return unread_->on_ask(from, event.as<UnreadAsk>());
    case EventKind::unread_done: return unread_->on_done(from, event.as<UnreadDone>());
    case EventKind::newest_ask: return read_marks_->on_newest_ask(from, event.as<NewestAsk>());
    case EventKind::newest_done: return read_marks_->on_newest_done(from, event.as<NewestDone>());
    case EventKind::operator_ask: return operator_->on_ask(from, event.as<OperatorAsk>());
    case EventKind::operator_done: return operator_->on_done(from, event.as<OperatorDone>());
    case EventKind::sessions_ask: return session_list_->on_ask(from, event.as<SessionsAsk>());
    case EventKind::sessions_done: return session_list_->on_done(from, event.as<SessionsDone>());
    case EventKind::relay: return on_relay(*context_, event.as<Relay>());
    case EventKind::presence_news: return presence_->on_news(event.as<PresenceNews>());
    case EventKind::group_ask: return groups_->on_ask(from, event.as<GroupAsk>());
    case EventKind::group_done: return groups_->on_done(from, event.as<GroupDone>());
    case EventKind::group_deliver: return memberships_->on_deliver(from, event.as<GroupDeliver>());
    case EventKind::group_news: return memberships_->on_news(from, event.as<GroupNews>());
    case EventKind::group_heard: return groups_->on_heard(from, event.as<GroupHeard>());
    case EventKind::profile_changes: return profile_news_->on_changes(event.as<ProfileChanges>());
    case EventKind::users_ask: {
      const auto ask = event.as<UsersAsk>();
      learn_users(PayloadRef::adopt(ask.states));
      return mailbox_->reply(from, Event::of(UsersDone{ask.ticket}));
    }
    case EventKind::users_done:
      mailbox_->close_request(from);
      return announced(event.as<UsersDone>().ticket);
  }
}

// --- users --------------------------------------------------------------------------------------------------

void Shard::learn_users(const PayloadRef& states) {
  const Bytes bytes = states.bytes();
  for (size_t at = 0; at < bytes.size(); at += sizeof(store::UserState)) {
    const auto state = load_native<store::UserState>(bytes.data() + at);
    context_->directory.set(state.id, state.status);
  }
}

void Shard::announce_users(std::span<const store::UserState> users, uint32_t ticket) {
  PayloadRef states = PayloadRef::adopt(Payload::copy(std::as_bytes(users)));
  learn_users(states);
  announcements_.push_back({ticket, setup_.shards});
  for (uint32_t to = 0; to < setup_.shards; ++to) {
    if (to == setup_.self) continue;
    const UsersAsk ask{ticket, PayloadRef(states).release()};
    // One that waits for that shard already goes first: the later of two changes must come later.
    const bool in_turn =
        std::ranges::find(announce_waiting_, to, &Waiting::to) == announce_waiting_.end();
    if (in_turn && mailbox_->open_request(to)) {
      mailbox_->push(to, Event::of(ask));
    } else {
      announce_waiting_.push_back({to, ask});
    }
  }
  announced(ticket);  // this shard itself
}

void Shard::announced(uint32_t ticket) {
  for (size_t i = 0; i < announcements_.size(); ++i) {
    if (announcements_[i].ticket != ticket || --announcements_[i].missing > 0) continue;
    announcements_.erase(announcements_.begin() + static_cast<long>(i));
    if (ticket & OutsideNews::kTicketBit) return outside_news_->announced(ticket);
    return gateway_->on_users_done(ticket);
  }
}

// --- ends -----------------------------------------------------------------------------------------------------

void Shard::on_failed(Error error) {
  engine::log::error("store_failed", {{"errno", error.os}});
  setup_.drain.failed.store(true, std::memory_order_relaxed);
}

bool Shard::quiet() const {
  return messages_->idle() && history_->idle() && unread_->idle() && read_marks_->idle() &&
         session_list_->idle() && contacts_->idle() && memberships_->idle() && groups_->idle() &&
         group_commands_->idle() && profile_edit_->idle() && push_settings_->idle() &&
         context_->store.idle();
}

void Shard::drain_turn() {
  const bool hurry = setup_.drain.hurry.load(std::memory_order_relaxed) ||
                     setup_.drain.failed.load(std::memory_order_relaxed);
  if (!draining_) {
    draining_       = true;
    drain_began_ns_ = context_->loop.now_ns();
    gateway_->begin_drain();
    presence_->stop();
    profile_news_->stop();
  }
  const bool is_quiet = quiet();
  if (is_quiet != counted_quiet_) {
    counted_quiet_ = is_quiet;
    setup_.drain.quiet.fetch_add(is_quiet ? 1 : -1, std::memory_order_acq_rel);
  }
  const bool all_quiet  = setup_.drain.quiet.load(std::memory_order_acquire) == setup_.shards;
  const uint64_t waited = context_->loop.now_ns() - drain_began_ns_;
  // Quiet everywhere and nothing on the way here; or sends that outlived every deadline.
  if ((all_quiet && !mailbox_->inbound_waits()) || hurry || waited > 10 * kNsPerS)
    finished_ = gateway_->close_some(hurry);
}

}  // namespace ringtalk::shard
