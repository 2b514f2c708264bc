// Login: from a stranger's 0x0103 to a session at home on its user's shard; kicks; the way out.
//
//   accepting shard           desk of the name               home of the user
//   ask() ── login_ask ─────▶ too many tries? store, then
//                             token, memory or argon2id
//   on_done() ◀─ login_done ─ whole 0x0104
//     ├ refused: send, close
//     └ accepted: pass the descriptor, then ── handover ───▶ his groups, kick the class, 0x0104, open
//
// One desk per name counts its wrong passwords (per source address) and knows who proved a password
// lately, whichever shard accepted the connection.
//
// Time    An unknown name costs the same argon2id as a wrong password.
// Bound   One login per connection; the lanes' credits; the password pool's queue: then "server full".
#pragma once

#include <atomic>
#include <boost/unordered/unordered_flat_map.hpp>
#include <memory>
#include <string>
#include <vector>

#include "shard/context.h"
#include "shard/credentials.h"
#include "shard/password_pool.h"

namespace ringtalk::shard {

struct LoginSetup {
  PasswordPool& passwords;
  const TokenSigner& tokens;
  engine::Random& random;
  std::atomic<uint32_t>& open_sessions;  // of the whole process, for limits.max_connections
};

class Login {
 public:
  Login(Context& context, const LoginSetup& setup);

  Taken ask(Session& session, uint16_t sequence, Bytes body);
  // Kicks the open sessions of one device class, all but `except`. reason: IM.BaseDefine.KickReasonType.
  // Returns how many.
  uint32_t kick_class(UserId user, bool mobile, uint32_t reason, const Session* except);
  // His password or status has changed: a login of his that was asked for earlier does not open.
  void expel(UserId user, uint64_t before_ns);
  // The descriptor went to the home shard's ring (slot there), or did not (-errno).
  void on_moved(Session& session, int32_t result);

  void on_ask(uint32_t from, const LoginAsk& ask);
  void on_done(uint32_t from, const LoginDone& done);
  void on_handover(const Handover& handover);

  // An open session stops being one: kicked, leaving.
  void closed(Session& session);

  void on_turn();
  bool work_waits() const { return setup_.passwords.has_finished(context_.self); }

 private:
  struct Case {  // at the desk
    uint32_t origin = 0;
    SessionKey session;
    uint32_t address      = 0;
    uint16_t sequence     = 0;
    uint8_t client_type   = 0;
    uint8_t online_status = 0;
    uint64_t asked_ns     = 0;
    std::string name, password;
  };
  struct Move {
    SessionKey session;
    UserId user{};
    uint16_t sequence = 0;  // of the login request
    uint64_t asked_ns = 0;
    engine::PayloadRef response;
    bool reserved = false;
    bool passing  = false;
  };

  void decide(Case login);
  void on_account(Case login, Result<store::Account> found);
  void check_password(Case login, std::unique_ptr<store::Account> account);
  void on_checked(const Case& login, const store::Account* account, PasswordPool::Checked checked);
  bool allowed(const store::Account& account) const;
  void accept(const Case& login, const store::Account& account);
  void refuse(const Case& login, uint32_t code, const char* text);
  void reply(const Case& login, LoginVerdict verdict, UserId user, engine::PayloadRef response);

  void on_verdict(SessionKey session, const LoginDone& done);
  bool try_move(Move& move);
  engine::PayloadRef refusal(uint16_t sequence, uint32_t code, const char* text);
  void turn_away(Session& session, const engine::PayloadRef& response, Errc why);
  void arrive(Session& session, uint64_t asked_ns, engine::PayloadRef response,
              engine::PayloadRef unread);
  void open(Session& session, uint64_t asked_ns, const engine::PayloadRef& response, Bytes unread);

  Context& context_;
  const LoginSetup setup_;
  FailureTable failures_;
  FastVerifier proved_;
  std::vector<Move> moves_;                                 // accepted, on their way home
  boost::unordered_flat_map<uint32_t, uint64_t> expelled_;  // user → before, for a login's time
};

}  // namespace ringtalk::shard
