// Event: everything one shard tells another, by value, at most 64 bytes.
//
//   ASK (needs a credit)    REPLY            MEANING
//   login_ask               login_done       check this login request
//   append_ask              append_done      make this message durable in your conversation
//   page_ask                page_done        read a page of your conversation
//   unread_ask              unread_done      count what this user has not read in your conversations
//   newest_ask              newest_done      the newest id of your conversation
//   sessions_ask            sessions_done    the newest messages of these conversations of yours
//   users_ask               users_done       these users exist now, or changed
//   operator_ask            operator_done    your sessions, or throw this user out
//   group_ask               group_done       do or tell something with your group
//   group_deliver           group_heard      give this to your connections in the group
//   group_news              group_heard      the group's members changed
//   PUSH (needs a reserved slot)
//   handover                                 this connection is yours now
//   deliver                                  give this to your user's devices
//   relay                                    the same, nothing waits for a confirmation
//   presence_news                            these users have, or have no more, a PC online
//   profile_changes                          these users have another avatar or signature
//
// Ownership  A Payload pointer in an event is one reference, handed over with it.
#pragma once

#include <cstring>
#include <type_traits>

#include "engine/base/assert.h"
#include "engine/base/result.h"
#include "engine/payload.h"
#include "engine/ring.h"
#include "proto/ids.h"

namespace ringtalk::shard {

// A session from outside its shard: the slot in the table, and which use of it.
struct SessionKey {
  uint32_t index                                 = ~0u;
  uint32_t generation                            = 0;
  friend bool operator==(SessionKey, SessionKey) = default;
};

enum class EventKind : uint32_t {
  login_ask,
  login_done,
  handover,
  append_ask,
  append_done,
  deliver,
  page_ask,
  page_done,
  users_ask,
  users_done,
  unread_ask,
  unread_done,
  operator_ask,
  operator_done,
  newest_ask,
  newest_done,
  sessions_ask,
  sessions_done,
  relay,
  presence_news,
  group_ask,
  group_done,
  group_deliver,
  group_news,
  group_heard,
  profile_changes,
};

struct LoginAsk {
  static constexpr EventKind kKind = EventKind::login_ask;
  SessionKey session;
  uint32_t address;
  uint16_t sequence;
  engine::Payload* body;  // IMLoginReq as received
};

enum class LoginVerdict : uint8_t { accepted, refused };

struct LoginDone {
  static constexpr EventKind kKind = EventKind::login_done;
  SessionKey session;
  UserId user;
  LoginVerdict verdict;
  uint8_t client_type;
  engine::Payload* response;  // whole frame
  uint64_t asked_ns;          // the account was read later than this
};

struct Handover {
  static constexpr EventKind kKind = EventKind::handover;
  engine::Slot slot;  // in the reader's table
  uint32_t address;
  UserId user;
  uint8_t client_type;
  engine::Payload* response;  // 0x0104, the first thing to send
  engine::Payload* unread;    // bytes read behind the login, or null
  uint64_t asked_ns;          // see LoginDone
};

// What the conversation's home needs to place a message; stands in front of the body in the payload.
struct AppendHead {
  ConversationId conversation;
  UserId author;
  uint8_t type;
  uint64_t repeat_key;
  uint64_t client_key;
  uint64_t full_key;
  uint64_t deadline_ns;
};

struct AppendAsk {
  static constexpr EventKind kKind = EventKind::append_ask;
  uint32_t pending;
  SessionKey session;        // the sender's, on his home
  engine::Payload* message;  // AppendHead, then the body
};

struct AppendDone {
  static constexpr EventKind kKind = EventKind::append_done;
  uint32_t pending;
  uint32_t msg_id;
  uint32_t time;
  Error error;
  engine::Payload* message;  // the one that was asked
};

struct Deliver {
  static constexpr EventKind kKind = EventKind::deliver;
  UserId to;
  UserId author;
  uint32_t msg_id;
  engine::Payload* frame;  // 0x0301, whole
};

enum class PageKind : uint8_t {
  page,    // 0x0309: `count` messages from `from` on
  listed,  // 0x030d: those in `ids`
  newest,  // 0x030b: only the newest id
};

struct PageAsk {
  static constexpr EventKind kKind = EventKind::page_ask;
  SessionKey session;
  UserId user;
  uint32_t peer;  // user or group, as asked: it is echoed
  ConversationId conversation;
  uint32_t from;   // as asked: it is echoed
  uint32_t count;  // already limited
  uint32_t first;  // what is older is not for him
  uint16_t sequence;
  PageKind kind;
  engine::Payload* ids;  // listed: uint32_t[], newest first; else null
};

struct PageDone {
  static constexpr EventKind kKind = EventKind::page_done;
  SessionKey session;
  engine::Payload* frame;  // the answer, or null: storage failed, there is none
  uint16_t sequence;
  PageKind kind;
};

struct UsersAsk {
  static constexpr EventKind kKind = EventKind::users_ask;
  uint32_t ticket;
  engine::Payload* states;  // store::UserState[]
};

struct UsersDone {
  static constexpr EventKind kKind = EventKind::users_done;
  uint32_t ticket;
};

struct UnreadAsk {
  static constexpr EventKind kKind = EventKind::unread_ask;
  uint32_t gathering;
  UserId user;
  engine::Payload* wanted;  // UnreadWanted[], see unread.h
};

struct UnreadDone {
  static constexpr EventKind kKind = EventKind::unread_done;
  uint32_t gathering;
  engine::Payload* found;  // see unread.h; null: storage failed
};

struct NewestAsk {
  static constexpr EventKind kKind = EventKind::newest_ask;
  uint32_t ticket;
  ConversationId conversation;
};

struct NewestDone {
  static constexpr EventKind kKind = EventKind::newest_done;
  uint32_t ticket;
  uint32_t newest;  // durable; 0: nobody wrote
};

enum class OperatorQuestion : uint8_t {
  sessions,
  sessions_of_user,
  kick,
  post,  // a message in the user's name
};

struct OperatorAsk {
  static constexpr EventKind kKind = EventKind::operator_ask;
  uint32_t ticket;
  UserId user;         // sessions_of_user, kick
  uint32_t from;       // sessions: place in the session table
  uint32_t count_max;  // sessions
  OperatorQuestion question;
  uint8_t devices;        // kick: see operator.h; post: MsgType
  uint64_t since_ns;      // kick: logins that were asked for before end too; 0: only sessions do
  uint32_t to;            // post: user or group
  engine::Payload* body;  // post: content
};

struct OperatorDone {
  static constexpr EventKind kKind = EventKind::operator_done;
  uint32_t ticket;
  uint32_t next;           // sessions: where to go on; 0: that was the last place. post: msg_id
  uint32_t kicked;         // sessions that were. post: time
  engine::Payload* found;  // SessionFacts[], see operator.h; null: none
  Error error;             // post
};

struct SessionsAsk {
  static constexpr EventKind kKind = EventKind::sessions_ask;
  uint32_t gathering;
  uint32_t since;           // only conversations whose newest message is later, seconds
  engine::Payload* wanted;  // SessionWanted[], see session_list.h
};

struct SessionsDone {
  static constexpr EventKind kKind = EventKind::sessions_done;
  uint32_t gathering;
  engine::Payload* found;  // see session_list.h; null: storage failed
};

struct Relay {
  static constexpr EventKind kKind = EventKind::relay;
  UserId to;
  engine::Payload* frame;  // whole
};

struct PresenceNews {
  static constexpr EventKind kKind = EventKind::presence_news;
  engine::Payload* changes;  // PresenceChange[], see presence.h
};

enum class GroupOp : uint8_t {
  open,     // tell the shards of those who are in it
  add,      // body: UserId[]
  remove,   // body: UserId[]
  info,     // if the version is larger than `value`
  refresh,  // its row was changed
  dismiss,
  take_in,  // another program changed it in the store; body: GroupTakenIn, UserId[]
};

// Behind it: who joined, then who left.
struct GroupTakenIn {
  uint32_t version = 0;
  uint32_t first   = 0;  // of who joined
  uint32_t joined  = 0;
  bool dismissed   = false;
};

struct GroupAsk {
  static constexpr EventKind kKind = EventKind::group_ask;
  uint32_t ticket;
  GroupId group;
  UserId user;         // who asks; 0: the administration
  SessionKey session;  // his, on his home
  uint32_t value;      // info: version known; add: most members allowed
  GroupOp op;
  bool member;  // his home says that he is in it
  bool muted;   // info: and that he muted it
  engine::Payload* body;
};

struct GroupDone {
  static constexpr EventKind kKind = EventKind::group_done;
  uint32_t ticket;
  Error error;
  engine::Payload* body;  // see groups.h; null: none
};

struct GroupDeliver {
  static constexpr EventKind kKind = EventKind::group_deliver;
  GroupId group;
  UserId author;
  uint32_t msg_id;
  SessionKey session;      // the author's, on his home: it has its acknowledgement
  engine::Payload* frame;  // 0x0301, whole
};

struct GroupNews {
  static constexpr EventKind kKind = EventKind::group_news;
  uint32_t ticket;
  GroupId group;
  engine::Payload* body;  // see membership.h
};

struct GroupHeard {
  static constexpr EventKind kKind = EventKind::group_heard;
  uint32_t ticket;  // of news; 0: of a message, which is with all connections
};

struct ProfileChanges {
  static constexpr EventKind kKind = EventKind::profile_changes;
  engine::Payload* changes;  // see profile_news.h
};

class Event {
 public:
  Event() = default;
  template <class T>
  static Event of(const T& body) {
    static_assert(sizeof(T) <= sizeof body_ && alignof(T) <= 8 && std::is_trivially_copyable_v<T>);
    Event event;
    event.kind_ = T::kKind;
    std::memcpy(event.body_, &body, sizeof body);
    return event;
  }

  EventKind kind() const { return kind_; }
  template <class T>
  T as() const {
    RT_ASSERT(kind_ == T::kKind);
    T body;
    std::memcpy(&body, body_, sizeof body);
    return body;
  }

 private:
  EventKind kind_{};
  [[maybe_unused]] uint32_t spare_ = 0;
  alignas(8) std::byte body_[56];
};
static_assert(sizeof(Event) == 64, "one cache line");

}  // namespace ringtalk::shard
