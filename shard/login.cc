#include "shard/login.h"

#include <algorithm>
#include <array>

#include "engine/log.h"
#include "proto/login.pb.h"
#include "proto/parse.h"
#include "proto/utf8.h"
#include "shard/frames.h"
#include "shard/membership.h"
#include "shard/presence.h"
#include "shard/profile.h"

namespace ringtalk::shard {
namespace {

using engine::Payload;
using engine::PayloadRef;
using proto::CommandId;

constexpr char kSuccess[]               = "成功";
constexpr char kWrong[]                 = "用户名/密码错误";
constexpr char kTooMany[]               = "用户名/密码错误次数太多";
constexpr char kUnavailable[]           = "服务端异常";
constexpr char kFull[]                  = "负载过高";
constexpr std::string_view kTokenPrefix = "token:";
constexpr size_t kNameBytesMax          = 128;  // 32 characters of up to four bytes; more is nobody
constexpr uint64_t kFailureBytes        = 16 * kMiB;
constexpr uint32_t kProvedUsers         = 128 * 1024;  // whole process: 4 MiB

std::array<std::byte, 4> network_order(uint32_t address) {
  std::array<std::byte, 4> bytes;
  store_be32(bytes.data(), address);
  return bytes;
}

}  // namespace

Login::Login(Context& context, const LoginSetup& setup)
    : context_(context),
      setup_(setup),
      failures_({context.limits.wrong_passwords_max, context.limits.wrong_password_window_s,
                 kFailureBytes / context.shards},
                setup.random, context.loop.now_ns()),
      proved_(std::max(1024u, kProvedUsers / context.shards), setup.random) {}

// --- accepting shard ----------------------------------------------------------------------------------------

Taken Login::ask(Session& session, uint16_t sequence, Bytes body) {
  IM::Login::IMLoginReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const uint32_t desk = login_desk(request.user_name(), context_.shards);
  if (desk == context_.self) {
    session.state = SessionState::checking;
    on_ask(context_.self, {session.key, session.address, sequence, Payload::copy(body)});
    return Taken::taken;
  }
  if (!context_.mailbox.open_request(desk)) return context_.stall(session);
  session.state = SessionState::checking;
  context_.mailbox.push(
      desk, Event::of(LoginAsk{session.key, session.address, sequence, Payload::copy(body)}));
  return Taken::taken;
}

void Login::on_done(uint32_t from, const LoginDone& done) {
  context_.mailbox.close_request(from);
  on_verdict(done.session, done);
}

void Login::on_verdict(SessionKey key, const LoginDone& done) {
  PayloadRef response = PayloadRef::adopt(done.response);
  Session* session    = context_.sessions.find(key);
  if (!session || session->state != SessionState::checking) return;  // it did not wait
  if (done.verdict == LoginVerdict::refused) {
    context_.metrics.add(Counter::close_login_failed);
    answer(*session, response);
    session->finish();
    return;
  }
  session->user        = done.user;
  session->client_type = done.client_type;
  if (context_.home_of(done.user) == context_.self)
    return arrive(*session, done.asked_ns, std::move(response), {});
  session->state = SessionState::moving;
  Move move{.session  = key,
            .user     = done.user,
            .sequence = proto::decode_header(response.bytes().data()).sequence,
            .asked_ns = done.asked_ns,
            .response = std::move(response)};
  try_move(move);
  moves_.push_back(std::move(move));
}

// True: nothing more to try. A lane or a heartbeat's echo may be in the way: next turn again.
bool Login::try_move(Move& move) {
  Session* session = context_.sessions.find(move.session);
  if (move.passing) return true;
  if (!session || session->state != SessionState::moving) return true;
  const uint32_t to = context_.home_of(move.user);
  if (!move.reserved) move.reserved = context_.mailbox.reserve(to);
  if (!move.reserved || !session->can_move()) return false;
  move.passing = true;
  session->move_to(to);
  return true;
}

void Login::on_turn() {
  setup_.passwords.collect(context_.self);
  for (size_t i = 0; i < moves_.size();) {
    Move& move       = moves_[i];
    Session* session = context_.sessions.find(move.session);
    if (!move.passing && (!session || session->state != SessionState::moving)) {
      if (move.reserved) context_.mailbox.unreserve(context_.home_of(move.user));
      moves_[i] = std::move(moves_.back());
      moves_.pop_back();
      continue;
    }
    try_move(move);
    ++i;
  }
}

void Login::on_moved(Session& session, int32_t result) {
  const auto at = std::ranges::find(moves_, session.key, &Move::session);
  RT_ASSERT(at != moves_.end() && at->passing);
  Move move = std::move(*at);
  moves_.erase(at);
  const uint32_t to = context_.home_of(move.user);
  if (result >= 0) {
    // Also when this side is closing meanwhile: the other ring holds the descriptor and must know.
    context_.metrics.add(Counter::handovers);
    context_.mailbox.push(
        to, Event::of(Handover{static_cast<engine::Slot>(result), session.address, session.user,
                               session.client_type, move.response.release(),
                               session.take_unread().release(), move.asked_ns}));
    session.abort();
    return;
  }
  context_.mailbox.unreserve(to);
  context_.metrics.add(Counter::handovers_refused);
  if (session.state != SessionState::moving) return;
  turn_away(session, move.response, Errc::full);
}

PayloadRef Login::refusal(uint16_t sequence, uint32_t code, const char* text) {
  IM::Login::IMLoginRes response;
  response.set_server_time(context_.now_s());
  response.set_result_code(static_cast<IM::BaseDefine::ResultType>(code));
  response.set_result_string(text);
  return frame_of(CommandId::login_response, sequence, response);
}

// Instead of `response`, which would have let him in.
void Login::turn_away(Session& session, const PayloadRef& response, Errc why) {
  const uint16_t sequence = proto::decode_header(response.bytes().data()).sequence;
  const bool full         = why == Errc::full;
  answer(session, refusal(sequence,
                          full ? IM::BaseDefine::REFUSE_REASON_MSG_SERVER_FULL
                               : IM::BaseDefine::REFUSE_REASON_NO_DB_SERVER,
                          full ? kFull : kUnavailable));
  session.finish();
}

// --- desk -----------------------------------------------------------------------------------------------------

void Login::on_ask(uint32_t from, const LoginAsk& ask) {
  const PayloadRef body = PayloadRef::adopt(ask.body);
  IM::Login::IMLoginReq request;
  RT_ASSERT(proto::parse(request, body.bytes()));  // the accepting shard has parsed it
  decide({.origin        = from,
          .session       = ask.session,
          .address       = ask.address,
          .sequence      = ask.sequence,
          .client_type   = static_cast<uint8_t>(request.client_type()),
          .online_status = static_cast<uint8_t>(request.online_status()),
          .asked_ns      = context_.loop.now_ns(),
          .name          = std::move(*request.mutable_user_name()),
          .password      = std::move(*request.mutable_password())});
}

void Login::decide(Case login) {
  const bool token = login.password.starts_with(kTokenPrefix);
  if (!token &&
      failures_.too_many(login.name, network_order(login.address), context_.loop.now_ns())) {
    context_.metrics.add(Counter::logins_too_many);
    return refuse(login, IM::BaseDefine::REFUSE_REASON_DB_VALIDATE_FAILED, kTooMany);
  }
  if (login.name.empty() || login.name.size() > kNameBytesMax ||
      !proto::valid_utf8(as_bytes(login.name)))
    return check_password(std::move(login), nullptr);  // nobody; as dear as somebody
  const std::string name = login.name;
  const auto asked       = context_.store.find_account(
      name, [this, login](Result<store::Account> found) { on_account(login, std::move(found)); });
  if (asked) return;
  const bool busy = asked.error().code == Errc::full;
  context_.metrics.add(busy ? Counter::logins_busy : Counter::logins_failed);
  refuse(login,
         busy ? IM::BaseDefine::REFUSE_REASON_MSG_SERVER_FULL
              : IM::BaseDefine::REFUSE_REASON_NO_DB_SERVER,
         busy ? kFull : kUnavailable);
}

bool Login::allowed(const store::Account& account) const {
  return std::ranges::find(context_.limits.allowed_states, account.user.status) !=
         context_.limits.allowed_states.end();
}

void Login::on_account(Case login, Result<store::Account> found) {
  if (!found && found.error().code != Errc::not_found) {
    context_.metrics.add(Counter::logins_failed);
    return refuse(login, IM::BaseDefine::REFUSE_REASON_NO_DB_SERVER, kUnavailable);
  }
  std::unique_ptr<store::Account> account;
  if (found && allowed(*found)) account = std::make_unique<store::Account>(std::move(*found));

  if (login.password.starts_with(kTokenPrefix)) {
    const auto token = setup_.tokens.open(
        std::string_view(login.password).substr(kTokenPrefix.size()), context_.now_s());
    if (account && token && token->user == account->user.id &&
        token->password_epoch == account->epoch)
      return accept(login, *account);
    // Nobody guesses a token, and whoever comes with one that ran out has not guessed a password.
    context_.metrics.add(Counter::logins_refused);
    return refuse(login, IM::BaseDefine::REFUSE_REASON_DB_VALIDATE_FAILED, kWrong);
  }
  const uint64_t now = context_.loop.now_ns();
  if (account && proved_.matches(account->user.id, account->epoch, login.password, now)) {
    failures_.clear(login.name, network_order(login.address));
    return accept(login, *account);
  }
  check_password(std::move(login), std::move(account));
}

void Login::check_password(Case login, std::unique_ptr<store::Account> account) {
  const store::Account* row = account.get();
  std::string password      = login.password;
  auto shared               = std::make_shared<Case>(std::move(login));
  const auto asked          = setup_.passwords.check(
      context_.self, row, std::move(password),
      [this, shared, account = std::move(account)](PasswordPool::Checked checked) {
        on_checked(*shared, account.get(), std::move(checked));
      });
  if (asked) return;
  context_.metrics.add(Counter::logins_busy);
  refuse(*shared, IM::BaseDefine::REFUSE_REASON_MSG_SERVER_FULL, kFull);
}

void Login::on_checked(const Case& login, const store::Account* account,
                       PasswordPool::Checked checked) {
  const uint64_t now = context_.loop.now_ns();
  if (!account || checked.verdict == PasswordVerdict::wrong) {
    failures_.record_failure(login.name, network_order(login.address), now);
    context_.metrics.add(Counter::logins_refused);
    return refuse(login, IM::BaseDefine::REFUSE_REASON_DB_VALIDATE_FAILED, kWrong);
  }
  failures_.clear(login.name, network_order(login.address));
  proved_.remember(account->user.id, account->epoch, login.password, now);
  if (!checked.upgraded.empty()) {
    // Should it fail, the old form still verifies and the next login tries again.
    const auto upgraded = context_.store.upgrade_password(
        account->user.id, account->epoch, std::move(checked.upgraded), [](Result<void> stored) {
          if (!stored) engine::log::warn("password_upgrade_failed", {{"errno", stored.error().os}});
        });
    if (!upgraded) engine::log::warn("password_upgrade_postponed");
  }
  accept(login, *account);
}

void Login::accept(const Case& login, const store::Account& account) {
  context_.metrics.add(Counter::logins_accepted);
  IM::Login::IMLoginRes response;
  response.set_server_time(context_.now_s());
  response.set_result_code(IM::BaseDefine::REFUSE_REASON_NONE);
  response.set_result_string(kSuccess);
  response.set_online_status(static_cast<IM::BaseDefine::UserStatType>(login.online_status));
  fill(*response.mutable_user_info(), account.user, 0);
  response.set_session_token(setup_.tokens.mint(
      {account.user.id, account.epoch,
       uint64_t{context_.now_s()} + uint64_t{context_.limits.token_hours} * 3600}));
  reply(login, LoginVerdict::accepted, account.user.id,
        frame_of(CommandId::login_response, login.sequence, response));
}

void Login::refuse(const Case& login, uint32_t code, const char* text) {
  reply(login, LoginVerdict::refused, UserId{}, refusal(login.sequence, code, text));
}

void Login::reply(const Case& login, LoginVerdict verdict, UserId user, PayloadRef response) {
  const LoginDone done{login.session,      user,          verdict, login.client_type,
                       response.release(), login.asked_ns};
  if (login.origin == context_.self) return on_verdict(login.session, done);
  context_.mailbox.reply(login.origin, Event::of(done));
}

// --- home -------------------------------------------------------------------------------------------------------

void Login::on_handover(const Handover& handover) {
  PayloadRef response = PayloadRef::adopt(handover.response);
  PayloadRef unread   = PayloadRef::adopt(handover.unread);
  Session& session    = context_.doors->adopt(handover.slot, handover.address);
  session.user        = handover.user;
  session.client_type = handover.client_type;
  arrive(session, handover.asked_ns, std::move(response), std::move(unread));
}

// His groups come first: every message of theirs that is acknowledged behind his 0x0104 reaches him.
void Login::arrive(Session& session, uint64_t asked_ns, PayloadRef response, PayloadRef unread) {
  if (context_.memberships->known(session.user))
    return open(session, asked_ns, response, unread.bytes());
  session.state     = SessionState::moving;
  const auto loaded = [this, key = session.key, asked_ns, response, unread](Result<void> groups) {
    Session* arrived = context_.sessions.find(key);
    if (!arrived || arrived->state != SessionState::moving) return;  // it did not wait
    if (!groups) return turn_away(*arrived, response, groups.error().code);
    open(*arrived, asked_ns, response, unread.bytes());
  };
  const auto asked = context_.memberships->load(session.user, loaded);
  if (!asked) turn_away(session, response, asked.error().code);
}

void Login::expel(UserId user, uint64_t before_ns) {
  constexpr size_t kSweptAt = 1024;
  const uint64_t age        = uint64_t{context_.limits.login_deadline_s} * kNsPerS;
  if (expelled_.size() >= kSweptAt)
    boost::unordered::erase_if(
        expelled_, [&](const auto& entry) { return entry.second + age < context_.loop.now_ns(); });
  expelled_[raw(user)] = before_ns;
}

void Login::open(Session& session, uint64_t asked_ns, const PayloadRef& response, Bytes unread) {
  // What was proved may have changed between the proof and here.
  if (const auto at = expelled_.find(raw(session.user));
      at != expelled_.end() && asked_ns < at->second)
    return turn_away(session, response, Errc::full);
  // A login that replaces a session of its class takes no further place.
  bool replaces = false;
  context_.users.each_session(session.user, [&](const Session& other) {
    replaces |= other.is_mobile() == session.is_mobile();
  });
  const uint32_t max  = context_.limits.connections_max;
  const uint32_t open = setup_.open_sessions.fetch_add(1, std::memory_order_relaxed);
  if (max > 0 && open >= max && !replaces) {
    setup_.open_sessions.fetch_sub(1, std::memory_order_relaxed);
    return turn_away(session, response, Errc::full);
  }
  // Among the open ones before the other goes: a PC that replaces a PC was never away.
  session.state   = SessionState::open;
  session.since_s = context_.now_s();
  context_.metrics.add(engine::Gauge::sessions, 1);
  context_.users.attach(session);
  context_.memberships->opened(session);
  kick_class(session.user, session.is_mobile(), IM::BaseDefine::KICK_REASON_DUPLICATE_USER,
             &session);
  answer(session, response);  // first of all on this connection
  context_.presence->opened(session);
  session.opened(unread);
}

void Login::closed(Session& session) {
  context_.metrics.add(engine::Gauge::sessions, -1);
  context_.memberships->closed(session);
  context_.users.detach(session, context_.loop.now_ns());
  setup_.open_sessions.fetch_sub(1, std::memory_order_relaxed);
  context_.presence->closed(session);
}

uint32_t Login::kick_class(UserId user, bool mobile, uint32_t reason, const Session* except) {
  uint32_t kicked = 0;
  IM::Login::IMKickUser notice;
  notice.set_user_id(raw(user));
  notice.set_kick_reason(static_cast<IM::BaseDefine::KickReasonType>(reason));
  context_.users.each_session(user, [&](Session& session) {
    if (&session == except || session.is_mobile() != mobile) return;
    ++kicked;
    context_.metrics.add(Counter::kicks);
    closed(session);
    session.state = SessionState::kicked;
    answer(session, frame_of(CommandId::kick_user, 0, notice));
    session.kicked();
  });
  return kicked;
}

}  // namespace ringtalk::shard
