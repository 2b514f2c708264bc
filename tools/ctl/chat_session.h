// ChatSession: a client's side of the protocol as a state machine: bytes and time in, bytes and events out.
//
// Thread rule  one thread; knows no socket, clock or terminal. The caller connects, carries take_output()
//              to the server and what the server says to on_bytes(), calls on_time() at next_deadline(),
//              and reads take_events() after each call.
// Bound        kPendingSendsMax sends without an answer (can_send()), kLateSendsMax remembered after they
//              were given up, one frame of at most 400 KiB being assembled. Lists of users and of unread
//              conversations are handed on as they come and not kept.
// Errors       whatever makes the connection useless is the event Broken: the caller closes the socket,
//              waits and connects again. A frame that cannot be read is ignored, as servers do.
// Lifetime     outlives its connections. Sends that have no answer when one breaks go out again on the
//              next as they were: the server knows a client_msg_id of the last 24 h (or, without one, an
//              equal send of the last 60 s) and answers with the id it gave then. So a broken connection
//              neither loses nor doubles, and the same words said twice are two messages.
//
//     offline ── on_connected ──▶ logging_in ── 0x0104 ──▶ online ── leave() ──▶ leaving
//        ▲                            │  └─ refused            │  └─ kicked          │
//        └──────── Broken, on_closed ─┴────────────────────────┴────────────────────┘
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/base/bytes.h"
#include "proto/frame.h"
#include "proto/ids.h"
#include "proto/text_codec.h"

namespace ringtalk::ctl {

inline constexpr size_t kPendingSendsMax   = 16;
inline constexpr size_t kLateSendsMax      = 64;
inline constexpr uint32_t kHistoryLinesMax = 100;  // the server lists no more in one answer
inline constexpr size_t kStatusesMax       = 300;  // what stock clients ask for at a time
inline constexpr auto kAnswerLimit         = std::chrono::seconds(6);  // as stock clients wait
inline constexpr auto kLoginLimit          = std::chrono::seconds(10);
inline constexpr auto kHeartbeatInterval   = std::chrono::seconds(30);
inline constexpr auto kSilenceLimit        = std::chrono::seconds(60);  // two heartbeats unanswered

// One message as it is to be shown.
struct ChatLine {
  enum class Kind : uint8_t {
    text,    // text is what the sender typed
    opaque,  // text is the content as it came: it does not decrypt
    sound,   // sound_seconds long
  };

  UserId peer{};  // the other of the conversation; nobody in a group
  GroupId group{};
  UserId author{};
  uint32_t msg_id      = 0;
  uint32_t create_time = 0;  // seconds since 1970
  Kind kind            = Kind::text;
  std::string text;  // foreign bytes: escape before showing
  uint32_t sound_seconds = 0;
};

using Ticket = uint32_t;  // names a send of ours

struct LoggedIn {
  UserId user{};
  std::string nick;
  bool again = false;  // after a break
};
struct LoginRefused {  // for good; the server closes
  int code = 0;
  std::string reason;
};
struct Kicked {
  int reason = 0;  // 1 another login of the same device class or an operator, 2 the user's phone
};
struct LoggedOut {};
struct Arrived {
  ChatLine line;
  bool missed = false;  // fetched from history after a break
};
struct Missed {  // more was missed than one history answer holds
  UserId peer{};
};
struct Acknowledged {
  Ticket ticket   = 0;
  uint32_t msg_id = 0;
  bool late       = false;  // NotDelivered was said before
};
struct NotDelivered {
  Ticket ticket = 0;
};
struct History {
  UserId peer{};
  std::vector<ChatLine> lines;  // oldest first
  bool older = false;           // a page before messages that were shown, not the newest
};
struct HistoryFailed {
  UserId peer{};
};
struct Unread {
  struct Conversation {
    UserId peer{};  // nobody in a group
    GroupId group{};
    uint32_t count = 0;
    ChatLine newest;
  };
  std::vector<Conversation> conversations;  // as the server lists them
};
struct ReadElsewhere {  // on another device of ours
  UserId peer{};
  GroupId group{};
  uint32_t msg_id = 0;
};
struct Presence {  // pushed: of somebody watched, and only when it changed
  UserId user{};
  bool online = false;
};
struct Statuses {  // asked for
  std::vector<Presence> users;
};
struct OwnPc {  // a phone hears whether its user's PC is there
  bool online = false;
};
struct Users {
  struct User {
    UserId user{};
    std::string name;
    bool gone = false;
  };
  std::vector<User> users;  // a part of them; more parts may follow
};
struct Broken {
  std::string why;
};

using ChatEvent = std::variant<LoggedIn, LoginRefused, Kicked, LoggedOut, Arrived, Missed,
                               Acknowledged, NotDelivered, History, HistoryFailed, Unread,
                               ReadElsewhere, Presence, Statuses, OwnPc, Users, Broken>;

class ChatSession {
 public:
  using Time = std::chrono::steady_clock::time_point;

  struct Options {
    std::string name;
    std::string secret;   // the password's MD5 in lower-case hex, or "token:" and a session token
    bool mobile = false;  // device class; one login of each class lives at a time
    proto::TextCodec codec{};
    std::string
        send_id_prefix{};  // makes client_msg_id, ≤ kSendIdPrefixMax bytes: random, or two runs
                           // of a user would repeat each other; empty: none is sent
    uint16_t first_sequence = 1;  // 1…kSequenceMax; random for the same reason
  };

  enum class State : uint8_t { offline, logging_in, online, leaving, refused, kicked };

  static constexpr uint16_t kSequenceMax   = 0x7fff;
  static constexpr size_t kSendIdPrefixMax = 48;  // of the 64 bytes of a client_msg_id

  explicit ChatSession(Options options);

  State state() const { return state_; }
  UserId user() const { return user_; }

  // ---- the connection ----
  void on_connected(Time now);
  void on_bytes(Bytes bytes, Time now);
  void on_closed();  // by the server, or a socket error
  void on_time(Time now);
  Time next_deadline() const;  // Time::max() if there is none

  // ---- the user ----
  bool can_send() const { return sends_.size() < kPendingSendsMax; }
  bool has_pending_sends() const { return !sends_.empty(); }
  // can_send(); text is 1…kPlainTextBytesMax bytes of UTF-8; peer is neither nobody nor oneself.
  Ticket send_text(UserId peer, std::string_view text, Time now);
  // count (1…kHistoryLinesMax) messages, the newest or those before `before`; ends in History or
  // HistoryFailed. What is pushed before the answer is not repeated in it.
  void request_history(UserId peer, uint32_t count, Time now, uint32_t before = 0);
  bool awaits_history() const;
  // From now on, what this peer writes during a break is fetched after it, and his comings and goings are
  // told.
  void watch(UserId peer, Time now);
  // All up to this message has been seen by a person. Without a connection it is told after the next login.
  void mark_read(UserId peer, uint32_t msg_id);
  // Answers come as the events of their names; without a connection, or to a server that does not know
  // these questions, nothing comes.
  void request_unread();
  void request_users();                                     // those changed since the last answer
  void request_statuses(const std::vector<UserId>& users);  // at most kStatusesMax
  void leave(Time now);                                     // online; ends in LoggedOut or Broken

  std::string take_output() { return std::exchange(output_, {}); }
  std::vector<ChatEvent> take_events() { return std::exchange(events_, {}); }

 private:
  struct Send {
    Ticket ticket     = 0;
    uint16_t sequence = 0;
    UserId peer{};
    std::string content;
    Time deadline{};
    bool on_wire = false;  // of the present connection
  };
  enum class Purpose : uint8_t { show, newest, catch_up };
  struct HistoryRequest {
    UserId peer{};
    Purpose purpose       = Purpose::show;
    uint32_t known_msg_id = 0;  // catch_up: what had been seen when the connection broke
    uint32_t before       = 0;  // show: the page of what is older than this; 0: the newest
    uint32_t first_pushed = 0;  // show: the first one pushed or acknowledged since; 0: none
    Time deadline{};
  };
  struct Watched {
    uint32_t newest_seen  = 0;
    uint32_t first_pushed = 0;  // on this connection; 0 = none yet
    bool newest_is_known  = false;
    uint32_t read_upto    = 0;      // marked as read
    bool mark_is_sent     = false;  // on this connection
    std::optional<bool> online;
  };

  template <class M>
  void write(proto::CommandId command, uint16_t sequence, const M& message);
  void write_empty(proto::CommandId command, uint16_t sequence);
  void write_send(Send& send);
  uint16_t take_sequence();
  bool sequence_in_use(uint16_t sequence) const;
  void ask_history(HistoryRequest request, uint32_t count, Time now);

  void on_frame(const proto::Split& split, Time now);
  void on_login_answer(Bytes body, uint16_t sequence, Time now);
  void on_logged_in(Time now);
  void on_message(Bytes body);
  void on_acknowledgement(Bytes body, uint16_t sequence);
  void on_history(Bytes body, uint16_t sequence);
  void on_catch_up(const HistoryRequest& request, std::vector<ChatLine> lines);
  void on_kick(Bytes body);
  void on_unread(Bytes body);
  void on_read_elsewhere(Bytes body);
  void on_presence(Bytes body);
  void on_statuses(Bytes body);
  void on_own_pc(Bytes body);
  void on_users(Bytes body);

  void break_off(std::string why);
  void forget_connection();
  void give_up_sends(Time now);
  void give_up_history(Time now);
  void saw(UserId peer, uint32_t msg_id);
  void write_mark(UserId peer, Watched& watched);

  const Options options_;
  State state_ = State::offline;
  UserId user_{};
  std::string session_token_;  // from the last login; spares the server a password check
  bool has_been_online_ = false;
  uint16_t next_sequence_;
  Ticket next_ticket_ = 1;

  std::string input_;
  std::string output_;
  std::vector<ChatEvent> events_;

  uint16_t login_sequence_ = 0;
  Time login_deadline_{};  // also of the logout
  Time heard_at_{};
  Time heartbeat_at_{};

  std::deque<Send> sends_;                        // oldest first
  std::deque<std::pair<uint16_t, Ticket>> late_;  // sequence of a send given up
  std::map<uint16_t, HistoryRequest> history_;    // by sequence
  std::map<UserId, Watched> watched_;
  uint32_t users_stamp_ = 0;  // of the newest user list
};

}  // namespace ringtalk::ctl
