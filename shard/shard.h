// Shard: one core's tables and the areas that decide; routes events, store results and turns to them.
//
// Thread rule  One thread. From outside only: the lanes, and DrainState.
// Why          A deterministic state machine: its inputs are frames, events, store results, job
//              results and time, all given to it; so the simulator runs exactly this code.
#pragma once

#include <atomic>
#include <memory>

#include "engine/loop.h"
#include "shard/contacts.h"
#include "shard/context.h"
#include "shard/dispatch.h"
#include "shard/group_commands.h"
#include "shard/groups.h"
#include "shard/history.h"
#include "shard/login.h"
#include "shard/membership.h"
#include "shard/message.h"
#include "shard/operator.h"
#include "shard/outside_news.h"
#include "shard/presence.h"
#include "shard/profile_edit.h"
#include "shard/profile_news.h"
#include "shard/push_settings.h"
#include "shard/read_mark.h"
#include "shard/session_list.h"
#include "shard/unread.h"

namespace ringtalk::shard {

// How all shards stop together: when asked, each takes no new frames; once every shard is quiet (its
// sends are decided, its store idle) all flush and close.
struct DrainState {
  std::atomic<bool> asked{false};
  std::atomic<bool> hurry{false};   // the second signal: close now
  std::atomic<uint32_t> quiet{0};   // shards
  std::atomic<bool> failed{false};  // a store failed: nothing is acknowledged any more
};

// The gateway's half of a shard's turn.
class Gateway : public Doors {
 public:
  virtual void on_turn()                      = 0;
  virtual bool work_waits() const             = 0;
  virtual void on_users_done(uint32_t ticket) = 0;
  virtual void begin_drain()                  = 0;  // stop listening
  virtual bool close_some(bool hurry)         = 0;  // paced; true: everything is closed
  virtual uint64_t connection_bytes() const   = 0;  // of the connections' own objects
};

class Shard final : public engine::LoopClient, public store::Sink {
 public:
  struct Setup {
    uint32_t self;
    uint32_t shards;
    engine::Loop& loop;
    engine::LaneMatrix<Event>& lanes;
    const Limits& limits;
    LoginSetup login;
    DrainState& drain;
    Bus& bus;
    Rosters& rosters;
  };

  explicit Shard(const Setup& setup);

  // The store needs the shard as its sink and the shard needs the store: given once, before the first turn.
  void connect(store::Store& store, Gateway& gateway);

  Context& context() { return *context_; }
  Messages& messages() { return *messages_; }
  Login& login() { return *login_; }
  Operator& operations() { return *operator_; }
  Groups& groups() { return *groups_; }
  bool draining() const { return draining_; }
  bool finished() const { return finished_; }

  // --- from the gateway
  void add(Session& session);      // accepted here, or adopted
  void gone(Session& session);     // its connection is closed
  void leaving(Session& session);  // it is not served any more
  Taken take(Session& session, const proto::Split& frame);
  // Tells every shard of new or changed users; on_users_done(ticket) follows.
  void announce_users(std::span<const store::UserState> users, uint32_t ticket);

  // --- LoopClient
  void on_turn() override;
  void on_turn_end() override;
  bool work_waits() override;
  bool lets_others_first() override {
    return memberships_->work_waits() && !context_->store.idle();
  }

  // --- store::Sink
  void on_appended(const store::Appended& result) override { messages_->on_appended(result); }
  void on_append_soon(UserId author, uint64_t repeat_key) override {
    context_->repeats.prefetch(repeat_key, author);
  }
  void on_page(uint64_t cookie, Error error, std::span<const store::Message> page) override {
    if (cookie & Unread::kCookieBit) return unread_->on_page(cookie, error, page);
    if (cookie & SessionList::kCookieBit) return session_list_->on_page(cookie, error, page);
    history_->on_page(cookie, error, page);
  }
  void on_failed(Error error) override;
  void on_outside_changes(const store::OutsideChanges& changes) override {
    outside_news_->on_changes(changes);
  }

 private:
  struct Tick : engine::Timer {
    Tick(Fire fire, Shard& s) : Timer(fire), shard(s) {}
    Shard& shard;
  };
  struct Announcement {
    uint32_t ticket  = 0;
    uint32_t missing = 0;
  };
  static constexpr uint64_t kTickNs         = 100 * kNsPerMs;
  static constexpr uint32_t kStalledPerTurn = 256;

  void on_event(uint32_t from, const Event& event);
  void on_tick();
  void retry_stalled();
  void learn_users(const engine::PayloadRef& states);
  void announced(uint32_t ticket);
  void drain_turn();
  bool quiet() const;

  const Setup setup_;
  std::unique_ptr<Mailbox> mailbox_;
  std::unique_ptr<Context> context_;
  std::unique_ptr<Messages> messages_;
  std::unique_ptr<History> history_;
  std::unique_ptr<Unread> unread_;
  std::unique_ptr<ReadMarks> read_marks_;
  std::unique_ptr<SessionList> session_list_;
  std::unique_ptr<Contacts> contacts_;
  std::unique_ptr<Presence> presence_;
  std::unique_ptr<Memberships> memberships_;
  std::unique_ptr<Groups> groups_;
  std::unique_ptr<GroupCommands> group_commands_;
  std::unique_ptr<ProfileNews> profile_news_;
  std::unique_ptr<ProfileEdit> profile_edit_;
  std::unique_ptr<PushSettings> push_settings_;
  std::unique_ptr<Login> login_;
  std::unique_ptr<Operator> operator_;
  std::unique_ptr<OutsideNews> outside_news_;
  std::unique_ptr<Dispatch> dispatch_;
  Gateway* gateway_ = nullptr;
  std::vector<Announcement> announcements_;
  struct Waiting {
    uint32_t to;
    UsersAsk ask;
  };
  std::vector<Waiting> announce_waiting_;  // found no credit
  Tick tick_;
  uint64_t tick_due_ns_    = 0;
  bool draining_           = false;
  bool counted_quiet_      = false;
  bool finished_           = false;
  uint64_t drain_began_ns_ = 0;
};

}  // namespace ringtalk::shard
