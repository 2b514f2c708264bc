// Operator: what the administration asks of the shards: who is logged in, and to throw somebody out.
//
//   shard 0: list() ─ operator_ask ─▶ a shard, and the next one while the page has room
//            of_user(), kick(), post() ─ operator_ask ─▶ home of the user
//   └─ operator_done: facts, how many were kicked, or the id of the message
//
// Cursor  Shard and place in its session table: no sorting, nothing is kept between pages. A session
//         that stays is listed once; one that comes meanwhile may be missed.
// Kick    0x0107 with reason 1, the one that every stock client takes for "do not come back by yourself";
//         then as for any kicked session (dispatch.h).
// Bound   kPagePlacesMax places of a table per ask and turn; kAsksMax questions at once, then Errc::full.
// Errors  A shard that does not turn does not answer: the caller's own time limit decides.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>
#include <functional>
#include <vector>

#include "shard/context.h"

namespace ringtalk::shard {

class Login;
class Messages;

struct SessionFacts {
  UserId user{};
  uint32_t shard        = 0;
  uint32_t address      = 0;  // IPv4, host order; 0: unknown
  uint32_t since_s      = 0;  // wall clock
  uint32_t idle_s       = 0;
  uint32_t queued_bytes = 0;
  uint8_t client_type   = 0;
};

struct SessionPage {
  std::vector<SessionFacts> sessions;
  uint64_t next = 0;  // cursor; 0: that was all
};

class Operator {
 public:
  static constexpr uint8_t kPc = 1, kMobile = 2;  // devices
  static constexpr size_t kAsksMax = 1024;

  using OnPage   = std::move_only_function<void(SessionPage)>;
  using OnKicked = std::move_only_function<void(uint32_t sessions)>;
  using OnPosted = std::move_only_function<void(Error, uint32_t msg_id, uint32_t time)>;

  Operator(Context& context, Login& login, Messages& messages)
      : context_(context), login_(login), messages_(messages) {}

  // `done` may be called at once. after: 0, or `next` of an earlier page.
  Result<void> list(uint64_t after, uint32_t limit, OnPage done);
  Result<void> of_user(UserId user, OnPage done);
  // expel: what he logs in with has changed, so logins asked for until now do not open either.
  Result<void> kick(UserId user, uint8_t devices, bool expel, OnKicked done);

  // A message in a user's name; type: MsgType, to: a user or a group. Errors: Messages::post(), and those
  // of sends.
  Result<void> post(UserId author, uint32_t to, uint8_t type, Bytes body, OnPosted done);

  void on_ask(uint32_t from, const OperatorAsk& ask);
  void on_done(uint32_t from, const OperatorDone& done);
  void on_turn();
  bool work_waits() const { return goes_on_; }

 private:
  static constexpr uint32_t kPagePlacesMax = 4096;

  struct Question {
    OperatorAsk ask{};
    uint32_t to    = 0;
    uint32_t limit = 0;  // of the page
    bool expel     = false;
    SessionPage page;
    OnPage on_page;
    OnKicked on_kicked;
    OnPosted on_posted;
  };

  Result<void> ask(Question question, bool now = true);
  void send(uint32_t to, const OperatorAsk& ask);
  OperatorDone answer_to(const OperatorAsk& ask);
  void answer(uint32_t to, const OperatorDone& done);
  void put_message(uint32_t from, const OperatorAsk& ask);
  SessionFacts facts_of(const Session& session) const;
  void on_answer(const OperatorDone& done);
  bool has_more(Question& question, uint32_t next);

  Context& context_;
  Login& login_;
  Messages& messages_;
  boost::unordered_flat_map<uint32_t, Question> questions_;  // by ticket
  std::deque<uint32_t> unsent_;                              // found no credit, or goes on
  bool goes_on_         = false;                             // some of them: with the next turn
  uint32_t next_ticket_ = 1;
};

}  // namespace ringtalk::shard
