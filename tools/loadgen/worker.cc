#include "tools/loadgen/worker.h"

#include <fmt/format.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "proto/login.pb.h"
#include "proto/parse.h"

namespace ringtalk::loadgen {
namespace {

using proto::CommandId;

constexpr uint32_t kFirstPort = 10'000;
constexpr uint32_t kPorts     = 50'000;
constexpr uint64_t kPollNs    = 5 * kNsPerMs;    // looks at Stage while connecting or draining
constexpr uint64_t kRetryNs   = 100 * kNsPerMs;  // after a refusal that may pass
constexpr uint64_t kGraceNs   = 200 * kNsPerMs;  // a duplicate of the last message comes after it

// Of each hundred in a row `percent`, evenly spread.
bool is_of_share(uint64_t index, uint32_t percent) {
  return (index + 1) * percent / 100 > index * percent / 100;
}

double share_of(uint32_t whole, const WorkerSetup& setup) {
  return static_cast<double>(whole) * static_cast<double>(setup.accounts.size()) /
         static_cast<double>(setup.scenario.connections);
}

Arrivals arrivals_of(const Scenario& scenario) {
  return scenario.arrivals == "constant" ? Arrivals::constant : Arrivals::exponential;
}

}  // namespace

Worker::Worker(const WorkerSetup& setup)
    : setup_(setup),
      s_(setup.scenario),
      random_(uint64_t{s_.seed} << 32 | setup.index),
      sends_(s_.closed_loop() ? 0 : share_of(s_.rate, setup) / s_.burst, arrivals_of(s_),
             s_.seed + 1000ull * setup.index + 1),
      churn_(share_of(s_.churn_rate, setup), arrivals_of(s_), s_.seed + 1000ull * setup.index + 2),
      histories_(share_of(s_.history_rate, setup), arrivals_of(s_),
                 s_.seed + 1000ull * setup.index + 3),
      logins_(share_of(s_.login_rate, setup), Arrivals::constant, 0) {
  for (uint32_t i = 0; i < setup_.accounts.size(); ++i) people_.emplace_back(*this, i);
  is_grouped() ? make_groups() : make_conversations();
  count_wanted();
}

void Worker::make_groups() {
  const uint32_t size = s_.group_size;
  RT_ASSERT(setup_.accounts.size() == size * setup_.groups.size());
  for (size_t i = 0; i < setup_.groups.size(); ++i) {
    std::vector<uint32_t> users;
    for (const Account& account : setup_.accounts.subspan(i * size, size))
      users.push_back(account.id);
    groups_.emplace_back(setup_.run, setup_.groups[i], std::move(users), out_.anomalies);
  }
  for (const Person& person : people_) talkers_.push_back(person.index);
}

void Worker::make_conversations() {
  const auto count = static_cast<uint32_t>(setup_.accounts.size());
  RT_ASSERT(count % 2 == 0);
  conversations_.reserve(count / 2);
  for (uint32_t i = 0; i < count; i += 2) {
    conversations_.emplace_back(
        Conversation::Setup{.run   = setup_.run,
                            .users = {setup_.accounts[i].id, setup_.accounts[i + 1].id},
                            .fresh = setup_.fresh},
        out_.anomalies);
    const uint64_t pair   = setup_.first_pair + i / 2;
    const bool offline    = is_of_share(pair, s_.offline_percent);
    const bool slow       = !offline && is_of_share(pair + setup_.pairs_all / 2, s_.slow_percent);
    people_[i + 1].wanted = !offline;
    people_[i + 1].slow   = slow;
    Conversation& conversation = conversations_.back();
    if (offline) conversation.stay_away(1);
    if (!setup_.fresh)  // what was written before this run is found out at the first login
      for (uint32_t side = 0; side < 2; ++side) conversation.stay_away(side);
    const bool talks = offline || slow || is_of_share(pair, s_.talking_percent);
    if (talks) talkers_.push_back(i);
    if (talks && !offline && !slow) talkers_.push_back(i + 1);
  }
}

// Before the thread runs, so that nobody takes a worker that has not begun for one that is done.
void Worker::count_wanted() {
  const auto wanted = std::ranges::count_if(people_, [](const Person& p) { return p.wanted; });
  wanted_.store(static_cast<uint32_t>(wanted), std::memory_order_relaxed);
}

Worker::~Worker() { RT_ASSERT(clients_ == 0); }

void Worker::run(engine::Runtime::Seat& seat) {
  prctl(PR_SET_TIMERSLACK, 1000);  // ns: the schedule is finer than the usual 50 us
  loop_ = &seat.loop;
  loop_->set_client(*this);
  const uint64_t began = now();
  logins_.start(began);
  second_.index = (began - setup_.epoch_ns) / kNsPerS;
  for (Person& person : people_) {
    if (!person.wanted) continue;
    person.state = Person::State::queued;
    queue_.push_back(person.index);
  }
  while (phase_ != Phase::over) loop_->turn();
  roll_second(UINT64_MAX);
  over_.store(true, std::memory_order_release);  // partner: progress()
}

Worker::Progress Worker::progress() const {
  return {wanted_.load(std::memory_order_relaxed), online_.load(std::memory_order_relaxed),
          over_.load(std::memory_order_acquire)};
}

std::vector<Second> Worker::take_seconds() {
  const std::lock_guard lock(seconds_mutex_);
  return std::exchange(seconds_, {});
}

void Worker::roll_second(uint64_t now) {
  const bool last      = now == UINT64_MAX;
  const uint64_t index = last ? second_.index + 1 : (now - setup_.epoch_ns) / kNsPerS;
  if (index == second_.index) return;
  out_.total += second_.tally;
  Second finished = std::exchange(second_, {.index = index});
  const std::lock_guard lock(seconds_mutex_);
  seconds_.push_back(std::move(finished));
}

// --- phases --------------------------------------------------------------------------------------

void Worker::on_turn() {
  const uint64_t at = now();
  roll_second(at);
  if (setup_.stage.give_up.load(std::memory_order_relaxed) && phase_ < Phase::leave) leave(at);
  start_connects(at);
  switch (phase_) {
    case Phase::connect: {
      const uint64_t begin = setup_.stage.begin_ns.load(std::memory_order_relaxed);
      if (begin != 0 && begin <= at) begin_load(begin);
      break;
    }
    case Phase::load:
      if (!measuring_ && at >= measure_begin_ns_) begin_measure(at);
      if (setup_.stage.stop.load(std::memory_order_relaxed))
        measure_end_ns_ = std::min(measure_end_ns_, at);
      run_schedule(std::min(at, measure_end_ns_));
      if (at >= measure_end_ns_) begin_drain(at);
      break;
    case Phase::drain:
      if (is_drained()) {
        if (!out_.drained) {
          out_.drained    = true;
          out_.drain_ns   = at - drain_began_ns_;
          leave_began_ns_ = at + kGraceNs;
        }
        if (at >= leave_began_ns_) leave(at);
      } else {
        out_.drained = false;
        if (at >= drain_began_ns_ + s_.drain_ms * kNsPerMs) leave(at);
      }
      break;
    case Phase::leave:
      if (clients_ == 0 && in_flight_ == 0) phase_ = Phase::over;
      break;
    case Phase::over: break;
  }
}

uint64_t Worker::wake_ns() {
  uint64_t wake = setup_.epoch_ns + (second_.index + 1) * kNsPerS;
  if (!retries_.empty()) wake = std::min(wake, retries_.front().at_ns);
  if (phase_ == Phase::load) {
    wake = std::min({wake, sends_.due_ns(), churn_.due_ns(), histories_.due_ns()});
    return std::min(wake, measuring_ ? measure_end_ns_ : measure_begin_ns_);
  }
  const bool paced = phase_ == Phase::connect && !queue_.empty() && s_.login_rate > 0;
  if (paced) wake = std::min(wake, logins_.due_ns());
  return std::min(wake, now() + kPollNs);
}

void Worker::begin_load(uint64_t at) {
  phase_            = Phase::load;
  measure_begin_ns_ = at + s_.warmup_ms * kNsPerMs;
  measure_end_ns_   = measure_begin_ns_ + s_.duration_ms * kNsPerMs;
  sends_.start(at);
  histories_.start(at);
  churn_.start(measure_begin_ns_);
  if (s_.closed_loop())
    for (const uint32_t talker : talkers_) fill_window(people_[talker]);
}

void Worker::begin_measure(uint64_t at) {
  measuring_ = true;
  at_begin_  = out_.total;
  at_begin_ += second_.tally;
  for (Person& person : people_) {
    if (person.slow && person.client && person.state == Person::State::online)
      person.client->pause();
    if (!is_of_share(setup_.first_pair * 2ull + person.index, s_.storm_percent)) continue;
    if (person.state != Person::State::online) continue;
    storm_ns_       = at;
    person.in_storm = true;
    ++storm_left_;
    cut(person, at);
  }
}

void Worker::begin_drain(uint64_t at) {
  out_.measured = out_.total;
  out_.measured += second_.tally;
  out_.measured   = out_.measured - at_begin_;
  phase_          = Phase::drain;
  drain_began_ns_ = at;
  for (Person& person : people_) {
    if (person.slow && person.client && person.client->is_open()) person.client->receive(true);
    if (person.wanted || person.state != Person::State::away) continue;
    person.wanted = true;
    want(person, at);
  }
}

bool Worker::is_drained() {
  if (!queue_.empty() || !retries_.empty() || in_flight_ > 0 || fetching_ > 0 || storm_left_ > 0)
    return false;
  if (is_grouped())
    return std::ranges::all_of(groups_, [](const GroupChecker& group) { return group.is_done(); });
  const auto count = static_cast<uint32_t>(conversations_.size());
  while (done_cursor_ < count && conversations_[done_cursor_].is_done()) ++done_cursor_;
  return done_cursor_ == count;
}

void Worker::leave(uint64_t at) {
  if (!out_.drained) out_.drain_ns = drain_began_ns_ > 0 ? at - drain_began_ns_ : 0;
  finish_checks();
  phase_ = Phase::leave;
  queue_.clear();
  retries_.clear();
  for (Person& person : people_) {
    loop_->timers().cancel(person.heartbeat);
    if (person.client) person.client->abort();
    if (person.state == Person::State::connecting)
      loop_->ring().cancel(person.connected, loop_->ignored());
  }
}

void Worker::finish_checks() {
  for (const Person& person : people_)
    if (person.late) second_.tally.unsent += person.late->size();
  if (!measuring_) return;  // gave up before anything was sent that counts
  if (s_.watch_group != 0) {
    out_.watch.watchers = people_.size();
    for (const Person& person : people_) out_.watch.newest_sum += person.watched;
  }
  for (GroupChecker& group : groups_) {
    group.finish();
    out_.unknown += group.unknown();
  }
  for (uint32_t i = 0; i < conversations_.size(); ++i) {
    std::array<bool, 2> here{};
    for (uint32_t side = 0; side < 2; ++side) {
      const Person& person = people_[i * 2 + side];
      here[side] = person.state == Person::State::online && !conversations_[i].is_behind(side);
    }
    conversations_[i].finish(here);
    out_.unknown += conversations_[i].unknown();
  }
}

// --- connections ---------------------------------------------------------------------------------

void Worker::want(Person& person, uint64_t since_ns) {
  person.state    = Person::State::queued;
  person.since_ns = since_ns;
  queue_.push_back(person.index);
  wanted_.fetch_add(1, std::memory_order_relaxed);
}

void Worker::want_later(Person& person, uint64_t since_ns, uint64_t delay_ns) {
  person.state    = Person::State::queued;
  person.since_ns = since_ns;
  retries_.push_back({now() + delay_ns, person.index});
  wanted_.fetch_add(1, std::memory_order_relaxed);
}

void Worker::start_connects(uint64_t at) {
  if (phase_ >= Phase::leave) return;
  while (!retries_.empty() && retries_.front().at_ns <= at) {
    queue_.push_back(retries_.front().person);
    retries_.pop_front();
  }
  const uint32_t in_flight_max = std::max(1u, s_.logins_in_flight / setup_.workers);
  while (!queue_.empty() && in_flight_ < in_flight_max) {
    Person& person = people_[queue_.front()];
    if (phase_ == Phase::connect && s_.login_rate > 0) {
      if (logins_.due_ns() > at) return;
      if (person.since_ns == 0) person.since_ns = logins_.due_ns();
      logins_.advance();
    }
    queue_.pop_front();
    if (person.since_ns == 0) person.since_ns = now();
    dial(person);
  }
}

void Worker::dial(Person& person) {
  person.state = Person::State::connecting;
  ++in_flight_;
  engine::Dial dial{.to_address    = setup_.server_address,
                    .to_port       = setup_.server_port,
                    .receive_bytes = person.slow ? s_.slow_receive_bytes : 0};
  if (setup_.source_address != 0) {
    dial.from_address = setup_.source_address + static_cast<uint32_t>(dials_ / kPorts % 250);
    dial.from_port    = static_cast<uint16_t>(kFirstPort + dials_ % kPorts);
  }
  ++dials_;
  loop_->ring().connect(dial, person.connected);
}

void Worker::on_connected(Person& person, int32_t result) noexcept {
  if (result < 0) {
    --in_flight_;
    person.state = Person::State::away;
    wanted_.fetch_sub(1, std::memory_order_relaxed);
    if (phase_ >= Phase::leave) return;
    const bool taken = result == -EADDRINUSE || result == -EADDRNOTAVAIL;  // the next port is free
    if (!taken) error(fmt::format("connect: {}", std::strerror(-result)));
    return want_later(person, person.since_ns, taken ? 0 : kRetryNs);
  }
  person.client = new Client(*loop_, static_cast<engine::Slot>(result), *this, person.index);
  ++clients_;
  person.state = Person::State::login;
  if (phase_ >= Phase::leave) return person.client->abort();
  const Account& account = account_of(person);
  IM::Login::IMLoginReq request;
  request.set_user_name(account.name);
  request.set_password(account.secret);
  request.set_online_status(IM::BaseDefine::USER_STATUS_ONLINE);
  request.set_client_type(s_.client == "pc" ? IM::BaseDefine::CLIENT_TYPE_WINDOWS
                                            : IM::BaseDefine::CLIENT_TYPE_ANDROID);
  request.set_client_version("ringtalk-loadgen");
  person.client->send(CommandId::login_request, kLoginSequence, request);
  person.client->receive(true);
}

void Worker::on_login(Person& person, const proto::Split& frame) {
  if (person.state != Person::State::login) return error("login answered twice");
  IM::Login::IMLoginRes answer;
  if (!proto::parse(answer, frame.body)) {
    error("login answer does not parse");
    return person.client->abort();
  }
  if (answer.result_code() != 0) {
    error(fmt::format("login refused: code {} {}", static_cast<int>(answer.result_code()),
                      answer.result_string()));
    // 2 full, 3 storage away: later. Anything else will not change.
    person.wanted = answer.result_code() == 2 || answer.result_code() == 3;
    return person.client->abort();
  }
  const uint64_t at = now();
  --in_flight_;
  person.state   = Person::State::online;
  person.unacked = 0;
  online_.fetch_add(1, std::memory_order_relaxed);
  ++second_.tally.logins;
  const uint64_t took = at - std::min(at, person.since_ns);
  if (phase_ == Phase::connect) {
    out_.connect_login.record(took);
  } else if (is_measured(person.since_ns)) {
    out_.timings.login.record(took);
  }
  if (!second_.login) second_.login = std::make_unique<engine::Histogram>();
  second_.login->record(took);
  if (std::exchange(person.in_storm, false) && --storm_left_ == 0)
    out_.storm_over_ns = at - storm_ns_;
  if (s_.heartbeat_ms > 0) {  // spread, or all beat at once for ever
    const uint64_t every = s_.heartbeat_ms * kNsPerMs;
    loop_->timers().arm(person.heartbeat, at + 1 + random_.below(every));
  }
  if (!is_grouped() && conversation_of(person).is_behind(person.index & 1)) {
    person.behind      = true;
    person.fetch_floor = conversation_of(person).floor(person.index & 1);
    ++fetching_;
    ask_history(person, 0, kPageMessages, kCatchUpSequence);
  }
  if (phase_ == Phase::load && s_.closed_loop()) fill_window(person);
}

void Worker::cut(Person& person, uint64_t since_ns) {
  person.state    = Person::State::leaving;
  person.since_ns = since_ns;
  ++second_.tally.cuts;
  online_.fetch_sub(1, std::memory_order_relaxed);
  person.client->abort();
}

// Whatever the person had under way on this connection is over.
void Worker::ended(Person& person) {
  loop_->timers().cancel(person.heartbeat);
  if (std::exchange(person.behind, false)) --fetching_;
  person.asked   = false;
  person.unacked = 0;
  if (is_grouped()) return group_of(person).leave(member_of(person));
  conversation_of(person).cut(person.index & 1);
}

void Worker::on_gone(Client& client) {
  Person& person = people_[client.person()];
  RT_ASSERT(person.client == &client);
  delete &client;
  person.client = nullptr;
  --clients_;
  const auto was = std::exchange(person.state, Person::State::away);
  wanted_.fetch_sub(1, std::memory_order_relaxed);
  if (was == Person::State::login) --in_flight_;
  if (was == Person::State::online) online_.fetch_sub(1, std::memory_order_relaxed);
  if (phase_ >= Phase::leave) return;
  if (was == Person::State::leaving) {
    ended(person);
    return want(person, person.since_ns);
  }
  if (was == Person::State::online) {
    person.wanted = person.wanted && s_.redial;
    ended(person);
    ++second_.tally.lost_connections;
    error(person.slow ? "slow reader closed by the server" : "connection closed by the server");
    person.slow     = false;  // comes back as one who reads
    person.since_ns = now();
  } else if (person.wanted) {
    error("connection closed before the login was answered");
  }
  if (person.wanted) want_later(person, person.since_ns, kRetryNs);
}

}  // namespace ringtalk::loadgen
