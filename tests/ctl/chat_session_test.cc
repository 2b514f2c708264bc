// A scripted server: frames are made here by the generated messages, never by the session's own code.
#include "tools/ctl/chat_session.h"

#include <gtest/gtest.h>

#include <random>

#include "proto/buddy.pb.h"
#include "proto/encode.h"
#include "proto/login.pb.h"
#include "proto/message.pb.h"
#include "proto/parse.h"

namespace ringtalk::ctl {
namespace {

using namespace std::chrono_literals;
using proto::CommandId;
using State = ChatSession::State;

constexpr UserId kAlice{1}, kBob{2}, kCarol{3};

template <class M>
std::string frame(CommandId command, uint16_t sequence, const M& message) {
  std::string out(proto::encoded_size(message), '\0');
  proto::encode_frame(std::as_writable_bytes(std::span(out)), command, sequence, message);
  return out;
}

std::string login_answer(uint16_t sequence, int code, std::string_view text,
                         std::string_view token = "") {
  IM::Login::IMLoginRes answer;
  answer.set_server_time(1000);
  answer.set_result_code(static_cast<IM::BaseDefine::ResultType>(code));
  answer.set_result_string(std::string(text));
  if (code == 0) {
    answer.set_online_status(IM::BaseDefine::USER_STATUS_ONLINE);
    auto& user = *answer.mutable_user_info();
    user.set_user_id(raw(kAlice));
    user.set_user_gender(0);
    user.set_user_nick_name("Alice");
    user.set_avatar_url("");
    user.set_department_id(0);
    user.set_email("");
    user.set_user_real_name("alice");
    user.set_user_tel("");
    user.set_user_domain("");
    user.set_status(0);
    answer.set_session_token(std::string(token));
  }
  return frame(CommandId::login_response, sequence, answer);
}

std::string push(UserId from, UserId to, uint32_t id, std::string_view content, int type = 1) {
  IM::Message::IMMsgData message;
  message.set_from_user_id(raw(from));
  message.set_to_session_id(raw(to));
  message.set_msg_id(id);
  message.set_create_time(5000 + id);
  message.set_msg_type(static_cast<IM::BaseDefine::MsgType>(type));
  message.set_msg_data(std::string(content));
  return frame(CommandId::msg_data, 0, message);
}

std::string ack(uint16_t sequence, UserId peer, uint32_t id) {
  IM::Message::IMMsgDataAck message;
  message.set_user_id(raw(kAlice));
  message.set_session_id(raw(peer));
  message.set_msg_id(id);
  message.set_session_type(IM::BaseDefine::SESSION_TYPE_SINGLE);
  return frame(CommandId::msg_data_ack, sequence, message);
}

std::string kick(int reason) {
  IM::Login::IMKickUser message;
  message.set_user_id(raw(kAlice));
  message.set_kick_reason(static_cast<IM::BaseDefine::KickReasonType>(reason));
  return frame(CommandId::kick_user, 0, message);
}

struct Entry {
  uint32_t id;
  UserId author;
  std::string text;
};

std::string history_answer(uint16_t sequence, UserId peer, const std::vector<Entry>& newest_first) {
  IM::Message::IMGetMsgListRsp message;
  message.set_user_id(raw(kAlice));
  message.set_session_type(IM::BaseDefine::SESSION_TYPE_SINGLE);
  message.set_session_id(raw(peer));
  message.set_msg_id_begin(0);
  for (const Entry& entry : newest_first) {
    auto& info = *message.add_msg_list();
    info.set_msg_id(entry.id);
    info.set_from_session_id(raw(entry.author));
    info.set_create_time(5000);
    info.set_msg_type(IM::BaseDefine::MSG_TYPE_SINGLE_TEXT);
    info.set_msg_data(proto::TextCodec().encrypt(entry.text));
  }
  return frame(CommandId::get_msg_list_response, sequence, message);
}

struct Sent {
  CommandId command;
  uint16_t sequence;
  std::string body;
  template <class M>
  M as() const {
    M message;
    EXPECT_TRUE(proto::parse(message, as_bytes(body)));
    return message;
  }
};

class ChatSessionTest : public testing::Test {
 protected:
  ChatSession session{{.name           = "alice",
                       .secret         = "5f4dcc3b5aa765d61d8327deb882cf99",
                       .send_id_prefix = "run-7-",
                       .first_sequence = 500}};
  ChatSession::Time now = ChatSession::Time{} + 1000s;

  std::vector<Sent> sent() {
    std::vector<Sent> out;
    const std::string bytes = session.take_output();
    for (Bytes rest = as_bytes(bytes); !rest.empty();) {
      const auto split = proto::split_frame(rest, proto::FrameLimits::after_login());
      EXPECT_EQ(split.status, proto::Split::Status::frame);
      EXPECT_EQ(split.header.version, 1);
      EXPECT_EQ(split.header.service, split.header.command >> 8);
      out.push_back({split.header.id(), split.header.sequence, std::string(as_text(split.body))});
      rest = rest.subspan(split.whole.size());
    }
    return out;
  }

  Sent only_sent(CommandId command) {
    const auto all = sent();
    EXPECT_EQ(all.size(), 1U);
    if (all.empty()) return {};
    EXPECT_EQ(all[0].command, command);
    return all[0];
  }

  void hear(std::string_view bytes) { session.on_bytes(as_bytes(bytes), now); }

  template <class E>
  E only_event() {
    const auto events = session.take_events();
    EXPECT_EQ(events.size(), 1U);
    if (events.empty() || !std::holds_alternative<E>(events[0])) {
      ADD_FAILURE() << "another event";
      return {};
    }
    return std::get<E>(events[0]);
  }

  void expect_no_event() { EXPECT_TRUE(session.take_events().empty()); }

  void log_in(std::string_view token = "tok") {
    session.on_connected(now);
    hear(login_answer(only_sent(CommandId::login_request).sequence, 0, "成功", token));
    EXPECT_EQ(session.state(), State::online);
  }

  void log_in_quietly(std::string_view token = "tok") {
    log_in(token);
    only_event<LoggedIn>();
  }

  void break_off() {
    session.on_closed();
    only_event<Broken>();
    EXPECT_EQ(session.state(), State::offline);
  }
};

TEST_F(ChatSessionTest, LoginCarriesNameAndDigest) {
  session.on_connected(now);
  const Sent request = only_sent(CommandId::login_request);
  EXPECT_EQ(request.sequence, 500);
  const auto login = request.as<IM::Login::IMLoginReq>();
  EXPECT_EQ(login.user_name(), "alice");
  EXPECT_EQ(login.password(), "5f4dcc3b5aa765d61d8327deb882cf99");
  EXPECT_EQ(login.client_type(), IM::BaseDefine::CLIENT_TYPE_WINDOWS);
  EXPECT_EQ(login.online_status(), IM::BaseDefine::USER_STATUS_ONLINE);
  hear(login_answer(500, 0, "成功"));
  const auto event = only_event<LoggedIn>();
  EXPECT_EQ(event.user, kAlice);
  EXPECT_EQ(event.nick, "Alice");
  EXPECT_FALSE(event.again);
}

TEST_F(ChatSessionTest, RefusedLoginIsFinal) {
  session.on_connected(now);
  hear(login_answer(500, 6, "用户名/密码错误"));
  const auto event = only_event<LoginRefused>();
  EXPECT_EQ(event.code, 6);
  EXPECT_EQ(event.reason, "用户名/密码错误");
  EXPECT_EQ(session.state(), State::refused);
  session.on_closed();
  hear(login_answer(500, 0, "成功"));
  session.on_time(now + 1h);
  expect_no_event();
}

TEST_F(ChatSessionTest, OnlyTheAnswerToThisLoginCounts) {
  session.on_connected(now);
  hear(login_answer(501, 0, "成功"));
  hear(ack(500, kBob, 7));
  hear(push(kBob, kAlice, 1, "x"));
  expect_no_event();
  EXPECT_EQ(session.state(), State::logging_in);
  session.on_time(now + 10s);
  only_event<Broken>();
}

TEST_F(ChatSessionTest, SuccessWithoutAProfileIsNone) {
  session.on_connected(now);
  IM::Login::IMLoginRes answer;
  answer.set_server_time(1);
  answer.set_result_code(IM::BaseDefine::REFUSE_REASON_NONE);
  hear(frame(CommandId::login_response, 500, answer));
  only_event<LoginRefused>();
}

TEST_F(ChatSessionTest, ASendIsAcknowledgedBySequence) {
  log_in_quietly();
  sent();
  const Ticket first  = session.send_text(kBob, "one", now);
  const Ticket second = session.send_text(kBob, "two", now);
  const auto out      = sent();
  ASSERT_EQ(out.size(), 2U);
  EXPECT_NE(out[0].sequence, 0);
  EXPECT_NE(out[0].sequence, out[1].sequence);
  const auto message = out[0].as<IM::Message::IMMsgData>();
  EXPECT_EQ(message.to_session_id(), raw(kBob));
  EXPECT_EQ(message.msg_id(), 0U);
  EXPECT_EQ(message.msg_data(), proto::TextCodec().encrypt("one"));
  // What the server knows a repeat by: two sends never share it.
  EXPECT_EQ(message.client_msg_id(), "run-7-1");
  EXPECT_EQ(out[1].as<IM::Message::IMMsgData>().client_msg_id(), "run-7-2");

  hear(ack(out[1].sequence, kBob, 8));
  const auto event = only_event<Acknowledged>();
  EXPECT_EQ(event.ticket, second);
  EXPECT_EQ(event.msg_id, 8U);
  EXPECT_FALSE(event.late);
  hear(ack(out[1].sequence, kBob, 9));  // a second one for the same send
  hear(ack(999, kBob, 9));              // one for nothing
  expect_no_event();
  hear(ack(out[0].sequence, kBob, 7));
  EXPECT_EQ(only_event<Acknowledged>().ticket, first);
  EXPECT_FALSE(session.has_pending_sends());
}

TEST_F(ChatSessionTest, WithoutAnAnswerItIsNotDeliveredAfterSixSeconds) {
  log_in_quietly();
  sent();
  const Ticket ticket = session.send_text(kBob, "one", now);
  const Sent message  = only_sent(CommandId::msg_data);
  EXPECT_EQ(session.next_deadline(), now + 6s);
  session.on_time(now + 5999ms);
  expect_no_event();
  session.on_time(now + 6s);
  EXPECT_EQ(only_event<NotDelivered>().ticket, ticket);
  session.on_time(now + 7s);
  expect_no_event();
  hear(ack(message.sequence, kBob, 5));
  const auto late = only_event<Acknowledged>();
  EXPECT_TRUE(late.late);
  EXPECT_EQ(late.ticket, ticket);
}

TEST_F(ChatSessionTest, AnIdOfZeroMeansNotStored) {
  log_in_quietly();
  sent();
  session.send_text(kBob, "one", now);
  hear(ack(only_sent(CommandId::msg_data).sequence, kBob, 0));
  only_event<NotDelivered>();
}

TEST_F(ChatSessionTest, SendsAreBounded) {
  log_in_quietly();
  for (size_t i = 0; i < kPendingSendsMax; ++i) {
    ASSERT_TRUE(session.can_send());
    session.send_text(kBob, "x", now);
  }
  EXPECT_FALSE(session.can_send());
  session.on_time(now + 6s);
  EXPECT_TRUE(session.can_send());
}

TEST_F(ChatSessionTest, AnIncomingMessageIsShownAndConfirmed) {
  log_in_quietly();
  sent();
  hear(push(kBob, kAlice, 3, proto::TextCodec().encrypt("hello, 世界")));
  const auto event = only_event<Arrived>();
  EXPECT_EQ(event.line.peer, kBob);
  EXPECT_EQ(event.line.author, kBob);
  EXPECT_EQ(event.line.msg_id, 3U);
  EXPECT_EQ(event.line.create_time, 5003U);
  EXPECT_EQ(event.line.kind, ChatLine::Kind::text);
  EXPECT_EQ(event.line.text, "hello, 世界");
  const Sent answer = only_sent(CommandId::msg_data_ack);
  const auto body   = answer.as<IM::Message::IMMsgDataAck>();
  EXPECT_EQ(body.user_id(), raw(kAlice));
  EXPECT_EQ(body.session_id(), raw(kBob));
  EXPECT_EQ(body.msg_id(), 3U);
}

TEST_F(ChatSessionTest, OwnMessagesFromAnotherDeviceBelongToTheirPartner) {
  log_in_quietly();
  hear(push(kAlice, kCarol, 3, proto::TextCodec().encrypt("x")));
  EXPECT_EQ(only_event<Arrived>().line.peer, kCarol);
}

TEST_F(ChatSessionTest, StrangeContentsAreMarked) {
  log_in_quietly();
  hear(push(kBob, kAlice, 1, "plain words"));
  auto line = only_event<Arrived>().line;
  EXPECT_EQ(line.kind, ChatLine::Kind::opaque);
  EXPECT_EQ(line.text, "plain words");
  hear(push(kBob, kAlice, 2, proto::TextCodec().encrypt("\xff\xfe")));  // decrypts to no text
  EXPECT_EQ(only_event<Arrived>().line.kind, ChatLine::Kind::opaque);
  hear(push(kBob, kAlice, 3, std::string("\0\0\0\x07sound", 9), 2));
  line = only_event<Arrived>().line;
  EXPECT_EQ(line.kind, ChatLine::Kind::sound);
  EXPECT_EQ(line.sound_seconds, 7U);
  hear(push(kBob, kAlice, 4, "abc", 2));  // shorter than its duration
  EXPECT_EQ(only_event<Arrived>().line.sound_seconds, 0U);
  hear(push(kBob, UserId(9), 4, proto::TextCodec().encrypt("all"), 17));
  line = only_event<Arrived>().line;
  EXPECT_EQ(line.group, GroupId(9));
  EXPECT_EQ(line.author, kBob);
}

TEST_F(ChatSessionTest, HistoryComesOldestFirst) {
  log_in_quietly();
  sent();
  session.request_history(kBob, 20, now);
  const Sent request = only_sent(CommandId::get_msg_list_request);
  const auto body    = request.as<IM::Message::IMGetMsgListReq>();
  EXPECT_EQ(body.session_id(), raw(kBob));
  EXPECT_EQ(body.msg_cnt(), 20U);
  EXPECT_EQ(body.msg_id_begin(), 0U);
  hear(history_answer(request.sequence + 1, kBob, {}));  // not asked for
  hear(history_answer(request.sequence, kCarol, {}));    // asked for somebody else
  expect_no_event();
  hear(history_answer(request.sequence, kBob, {{2, kBob, "two"}, {1, kAlice, "one"}}));
  const auto event = only_event<History>();
  ASSERT_EQ(event.lines.size(), 2U);
  EXPECT_EQ(event.lines[0].text, "one");
  EXPECT_EQ(event.lines[0].author, kAlice);
  EXPECT_EQ(event.lines[1].msg_id, 2U);
}

TEST_F(ChatSessionTest, HistoryWithoutAnAnswerFails) {
  session.request_history(kBob, 20, now);
  only_event<HistoryFailed>();  // offline
  log_in_quietly();
  session.request_history(kBob, 20, now);
  session.on_time(now + 6s);
  EXPECT_EQ(only_event<HistoryFailed>().peer, kBob);
  session.request_history(kBob, 20, now);
  session.on_closed();
  const auto events = session.take_events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_TRUE(std::holds_alternative<HistoryFailed>(events[0]));
}

TEST_F(ChatSessionTest, AKickEndsEverything) {
  log_in_quietly();
  sent();
  session.send_text(kBob, "x", now);
  hear(kick(1) + push(kBob, kAlice, 9, proto::TextCodec().encrypt("too late")));
  EXPECT_EQ(only_event<Kicked>().reason, 1);
  EXPECT_EQ(session.state(), State::kicked);
  EXPECT_TRUE(session.take_output().empty());
  session.on_closed();
  hear(push(kBob, kAlice, 10, "x"));
  expect_no_event();
}

TEST_F(ChatSessionTest, HeartbeatsEveryThirtySecondsAndSilenceIsADeadServer) {
  log_in_quietly();
  sent();
  session.on_time(now + 29s);
  EXPECT_TRUE(sent().empty());
  session.on_time(now + 30s);
  only_sent(CommandId::heartbeat);
  now += 31s;
  IM::Message::IMClientTimeRsp anything;
  anything.set_server_time(1);
  hear(frame(CommandId::client_time_response, 0, anything));
  session.on_time(now + 59s);
  only_sent(CommandId::heartbeat);
  expect_no_event();
  session.on_time(now + 60s);
  only_event<Broken>();
}

TEST_F(ChatSessionTest, LeavingWaitsForTheGoodbye) {
  log_in_quietly();
  sent();
  session.leave(now);
  only_sent(CommandId::logout_request);
  IM::Login::IMLogoutRsp answer;
  answer.set_result_code(0);
  hear(frame(CommandId::logout_response, 501, answer));
  only_event<LoggedOut>();
}

TEST_F(ChatSessionTest, LeavingEndsByACloseOrByTimeToo) {
  log_in_quietly();
  session.leave(now);
  session.on_closed();
  only_event<LoggedOut>();
  session.take_output();
  log_in();
  session.take_events();
  session.leave(now);
  session.on_time(now + 6s);
  only_event<LoggedOut>();
}

// ---- breaks ----

TEST_F(ChatSessionTest, ComesBackByTokenAndFallsBackToThePassword) {
  log_in_quietly("secret token");
  break_off();
  session.on_connected(now);
  Sent request = only_sent(CommandId::login_request);
  EXPECT_EQ(request.as<IM::Login::IMLoginReq>().password(), "token:secret token");
  hear(login_answer(request.sequence, 6, "expired"));
  only_event<Broken>();
  session.on_connected(now);
  request = only_sent(CommandId::login_request);
  EXPECT_EQ(request.as<IM::Login::IMLoginReq>().password(), "5f4dcc3b5aa765d61d8327deb882cf99");
  hear(
      login_answer(request.sequence, 2, "full"));  // a busy server is no refusal for somebody known
  only_event<Broken>();
  session.on_connected(now);
  request = only_sent(CommandId::login_request);
  hear(login_answer(request.sequence, 0, "成功"));
  EXPECT_TRUE(only_event<LoggedIn>().again);
}

TEST_F(ChatSessionTest, AChangedPasswordEndsIt) {
  log_in_quietly("");
  break_off();
  session.on_connected(now);
  hear(login_answer(only_sent(CommandId::login_request).sequence, 6, "wrong"));
  only_event<LoginRefused>();
}

TEST_F(ChatSessionTest, AnUnansweredSendIsRepeatedWithItsSequence) {
  log_in_quietly();
  sent();
  session.send_text(kBob, "one", now);
  const Sent before = only_sent(CommandId::msg_data);
  break_off();
  const Ticket typed_offline = session.send_text(kBob, "two", now + 1s);
  EXPECT_TRUE(sent().empty());
  log_in();
  session.take_events();
  const auto after = sent();
  ASSERT_EQ(after.size(), 2U);
  EXPECT_EQ(after[0].sequence, before.sequence);
  EXPECT_EQ(after[0].body, before.body);
  hear(ack(after[1].sequence, kBob, 12));
  EXPECT_EQ(only_event<Acknowledged>().ticket, typed_offline);
}

TEST_F(ChatSessionTest, GivenUpSendsAreNotRepeated) {
  log_in_quietly();
  session.send_text(kBob, "one", now);
  break_off();
  session.on_time(now + 6s);
  only_event<NotDelivered>();
  log_in();
  EXPECT_TRUE(sent().empty());
}

TEST_F(ChatSessionTest, WhatWasMissedIsFetchedOnce) {
  log_in_quietly();
  hear(push(kBob, kAlice, 5, proto::TextCodec().encrypt("five")));
  session.take_events();
  break_off();
  log_in();
  session.take_events();
  const Sent request = only_sent(CommandId::get_msg_list_request);
  EXPECT_EQ(request.as<IM::Message::IMGetMsgListReq>().session_id(), raw(kBob));
  hear(push(kBob, kAlice, 8, proto::TextCodec().encrypt("eight")));  // overtakes the answer
  session.take_events();
  hear(history_answer(
      request.sequence, kBob,
      {{8, kBob, "eight"}, {7, kBob, "seven"}, {6, kAlice, "six"}, {5, kBob, "five"}}));
  const auto events = session.take_events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(std::get<Arrived>(events[0]).line.msg_id, 6U);
  EXPECT_EQ(std::get<Arrived>(events[1]).line.msg_id, 7U);
  EXPECT_TRUE(std::get<Arrived>(events[1]).missed);
}

TEST_F(ChatSessionTest, AGapThatWasNotFilledIsAskedForAgain) {
  log_in_quietly();
  hear(push(kBob, kAlice, 5, proto::TextCodec().encrypt("five")));
  session.take_events();
  break_off();
  log_in();
  hear(push(kBob, kAlice, 8, proto::TextCodec().encrypt("eight")));
  session.take_events();
  break_off();  // before the answer
  sent();
  log_in();
  session.take_events();
  const Sent request = only_sent(CommandId::get_msg_list_request);
  hear(history_answer(request.sequence, kBob,
                      {{8, kBob, "eight"}, {7, kBob, "seven"}, {6, kBob, "six"}}));
  EXPECT_EQ(session.take_events().size(), 3U);
}

TEST_F(ChatSessionTest, MoreThanAPageMissedIsSaid) {
  log_in_quietly();
  hear(push(kBob, kAlice, 5, proto::TextCodec().encrypt("five")));
  session.take_events();
  break_off();
  log_in();
  session.take_events();
  hear(history_answer(only_sent(CommandId::get_msg_list_request).sequence, kBob,
                      {{200, kBob, "x"}}));
  const auto events = session.take_events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(std::get<Missed>(events[0]).peer, kBob);
}

TEST_F(ChatSessionTest, AStoredSendOfOursIsNotShownAsMissed) {
  log_in_quietly();
  hear(push(kBob, kAlice, 5, proto::TextCodec().encrypt("five")));
  session.take_events();
  session.send_text(kBob, "mine", now);
  break_off();
  sent();
  log_in();
  session.take_events();
  const auto out = sent();
  ASSERT_EQ(out.size(), 2U);
  hear(history_answer(out[0].sequence, kBob, {{6, kAlice, "mine"}}));
  expect_no_event();
  hear(ack(out[1].sequence, kBob, 6));
  only_event<Acknowledged>();
}

TEST_F(ChatSessionTest, AWatchedPartnerIsCaughtUpThoughNothingWasSaid) {
  log_in_quietly();
  sent();
  session.watch(kBob, now);
  hear(history_answer(only_sent(CommandId::get_msg_list_request).sequence, kBob, {}));
  expect_no_event();
  break_off();
  log_in();
  session.take_events();
  hear(history_answer(only_sent(CommandId::get_msg_list_request).sequence, kBob,
                      {{1, kBob, "first"}}));
  EXPECT_EQ(only_event<Arrived>().line.text, "first");
}

// ---- pages of history, read marks, lists ----

std::string stat_notify(UserId user, bool online) {
  IM::Buddy::IMUserStatNotify message;
  message.mutable_user_stat()->set_user_id(raw(user));
  message.mutable_user_stat()->set_status(online ? IM::BaseDefine::USER_STATUS_ONLINE
                                                 : IM::BaseDefine::USER_STATUS_OFFLINE);
  return frame(CommandId::user_stat_notify, 0, message);
}

std::string read_notify(UserId peer, uint32_t id) {
  IM::Message::IMMsgDataReadNotify message;
  message.set_user_id(raw(kAlice));
  message.set_session_id(raw(peer));
  message.set_msg_id(id);
  message.set_session_type(IM::BaseDefine::SESSION_TYPE_SINGLE);
  return frame(CommandId::msg_data_read_notify, 0, message);
}

TEST_F(ChatSessionTest, APageOfOlderMessages) {
  log_in_quietly();
  sent();
  session.request_history(kBob, 20, now, 41);
  const Sent request = only_sent(CommandId::get_msg_list_request);
  EXPECT_EQ(request.as<IM::Message::IMGetMsgListReq>().msg_id_begin(), 40U);
  EXPECT_TRUE(session.awaits_history());
  hear(history_answer(request.sequence, kBob, {{40, kBob, "x"}}));
  EXPECT_FALSE(session.awaits_history());
  EXPECT_TRUE(only_event<History>().older);
  session.request_history(kBob, 20, now, 1);  // nothing is before the first
  EXPECT_TRUE(only_event<History>().lines.empty());
  EXPECT_TRUE(sent().empty());
}

TEST_F(ChatSessionTest, WhatIsPushedMeanwhileIsNotRepeatedByTheHistory) {
  log_in_quietly();
  sent();
  session.request_history(kBob, 20, now);
  session.watch(kBob, now);
  const Sent request = only_sent(CommandId::get_msg_list_request);  // one serves both
  hear(push(kBob, kAlice, 7, proto::TextCodec().encrypt("seven")));
  only_event<Arrived>();
  hear(
      history_answer(request.sequence, kBob, {{8, kBob, "8"}, {7, kBob, "seven"}, {6, kBob, "6"}}));
  const auto event = only_event<History>();
  ASSERT_EQ(event.lines.size(), 1U);
  EXPECT_EQ(event.lines[0].msg_id, 6U);
}

TEST_F(ChatSessionTest, ReadMarksOnlyRise) {
  log_in_quietly();
  sent();
  session.mark_read(kBob, 5);
  const auto mark = only_sent(CommandId::msg_data_read_ack).as<IM::Message::IMMsgDataReadAck>();
  EXPECT_EQ(mark.session_id(), raw(kBob));
  EXPECT_EQ(mark.msg_id(), 5U);
  EXPECT_EQ(mark.session_type(), IM::BaseDefine::SESSION_TYPE_SINGLE);
  session.mark_read(kBob, 5);
  session.mark_read(kBob, 4);
  EXPECT_TRUE(sent().empty());
}

TEST_F(ChatSessionTest, AReadMarkOfABrokenConnectionIsToldAgain) {
  log_in_quietly();
  session.mark_read(kBob, 5);
  break_off();
  session.mark_read(kCarol, 2);
  EXPECT_TRUE(session.take_output().empty());
  log_in();
  std::vector<uint32_t> marks;
  for (const Sent& out : sent()) {
    if (out.command == CommandId::msg_data_read_ack)
      marks.push_back(out.as<IM::Message::IMMsgDataReadAck>().msg_id());
  }
  EXPECT_EQ(marks, (std::vector<uint32_t>{5, 2}));
}

TEST_F(ChatSessionTest, AnotherDevicesMarkIsShownAndNotEchoed) {
  log_in_quietly();
  session.mark_read(kBob, 5);
  sent();
  hear(read_notify(kBob, 5));  // known
  expect_no_event();
  hear(read_notify(kBob, 9));
  EXPECT_EQ(only_event<ReadElsewhere>().msg_id, 9U);
  session.mark_read(kBob, 8);  // behind it
  EXPECT_TRUE(sent().empty());
  hear(read_notify(kCarol, 3));
  EXPECT_EQ(only_event<ReadElsewhere>().peer, kCarol);
}

TEST_F(ChatSessionTest, UnreadConversations) {
  session.request_unread();
  EXPECT_TRUE(session.take_output().empty());  // offline
  log_in_quietly();
  sent();
  session.request_unread();
  only_sent(CommandId::unread_msg_cnt_request);
  IM::Message::IMUnreadMsgCntRsp answer;
  answer.set_user_id(raw(kAlice));
  answer.set_total_cnt(3);
  for (const bool group : {false, true}) {
    auto& info = *answer.add_unreadinfo_list();
    info.set_session_id(group ? 9 : raw(kBob));
    info.set_session_type(group ? IM::BaseDefine::SESSION_TYPE_GROUP
                                : IM::BaseDefine::SESSION_TYPE_SINGLE);
    info.set_unread_cnt(group ? 1 : 2);
    info.set_latest_msg_id(12);
    info.set_latest_msg_data(proto::TextCodec().encrypt("newest"));
    info.set_latest_msg_type(IM::BaseDefine::MSG_TYPE_SINGLE_TEXT);
    info.set_latest_msg_from_user_id(raw(kBob));
  }
  hear(frame(CommandId::unread_msg_cnt_response, 0, answer));
  const auto event = only_event<Unread>();
  ASSERT_EQ(event.conversations.size(), 2U);
  EXPECT_EQ(event.conversations[0].peer, kBob);
  EXPECT_EQ(event.conversations[0].count, 2U);
  EXPECT_EQ(event.conversations[0].newest.text, "newest");
  EXPECT_EQ(event.conversations[1].group, GroupId(9));
  EXPECT_EQ(raw(event.conversations[1].peer), 0U);
}

TEST_F(ChatSessionTest, PresenceOfThoseWatchedWhenItChanges) {
  log_in_quietly();
  hear(stat_notify(kBob, true));  // a stranger yet
  expect_no_event();
  session.watch(kBob, now);
  hear(stat_notify(kBob, true));
  EXPECT_TRUE(only_event<Presence>().online);
  hear(stat_notify(kBob, true));  // his second PC
  expect_no_event();
  hear(stat_notify(kBob, false));
  EXPECT_FALSE(only_event<Presence>().online);
  hear(stat_notify(kAlice, true));
  expect_no_event();
}

TEST_F(ChatSessionTest, StatusesAndUsersAreAskedFor) {
  log_in_quietly();
  sent();
  session.request_statuses({kBob, kCarol});
  EXPECT_EQ(
      only_sent(CommandId::users_stat_request).as<IM::Buddy::IMUsersStatReq>().user_id_list_size(),
      2);
  IM::Buddy::IMUsersStatRsp statuses;
  statuses.set_user_id(raw(kAlice));
  auto& entry = *statuses.add_user_stat_list();
  entry.set_user_id(raw(kBob));
  entry.set_status(IM::BaseDefine::USER_STATUS_ONLINE);
  hear(frame(CommandId::users_stat_response, 0, statuses));
  EXPECT_TRUE(only_event<Statuses>().users.at(0).online);

  session.request_users();
  EXPECT_EQ(
      only_sent(CommandId::all_user_request).as<IM::Buddy::IMAllUserReq>().latest_update_time(),
      0U);
  IM::Buddy::IMAllUserRsp users;
  users.set_user_id(raw(kAlice));
  users.set_latest_update_time(77);
  hear(frame(CommandId::all_user_response, 0, users));
  expect_no_event();  // none new
  session.request_users();
  EXPECT_EQ(
      only_sent(CommandId::all_user_request).as<IM::Buddy::IMAllUserReq>().latest_update_time(),
      77U);
}

// ---- hostile servers ----

std::string header(uint32_t length, uint16_t command) {
  std::string out(16, '\0');
  store_be32(out.data(), length);
  store_be16(out.data() + 8, command >> 8);
  store_be16(out.data() + 10, command);
  return out;
}

TEST_F(ChatSessionTest, LengthsThatAreNoneBreakTheConnection) {
  for (const uint32_t length : {0U, 15U, 409'601U, 0x80000000U, 0xffffffffU}) {
    log_in();
    session.take_events();
    hear(header(length, 0x0301));
    only_event<Broken>();
    hear(push(kBob, kAlice, 1, "x"));  // what follows belongs to no connection
    expect_no_event();
    session.take_output();
  }
}

TEST_F(ChatSessionTest, UnreadableBodiesAreIgnored) {
  log_in_quietly();
  for (const uint16_t command : {0x0104, 0x0106, 0x0107, 0x0203, 0x0209, 0x020b, 0x020e, 0x0301,
                                 0x0302, 0x0304, 0x0308, 0x030a, 0x0999, 0x0701, 0xffff}) {
    hear(header(20, command) + "\xff\xff\xff\xff");
  }
  expect_no_event();
  hear(push(kBob, kAlice, 1, proto::TextCodec().encrypt("still here")));
  only_event<Arrived>();
}

TEST_F(ChatSessionTest, EverySplitGivesTheSameEvents) {
  const std::string stream = login_answer(500, 0, "成功") +
                             push(kBob, kAlice, 1, proto::TextCodec().encrypt("a")) +
                             push(kBob, kAlice, 2, "b") + kick(2);
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    ChatSession fresh({.name = "alice", .secret = "x", .first_sequence = 500});
    fresh.on_connected(now);
    fresh.on_bytes(as_bytes(std::string_view(stream).substr(0, cut)), now);
    fresh.on_bytes(as_bytes(std::string_view(stream).substr(cut)), now);
    const auto events = fresh.take_events();
    ASSERT_EQ(events.size(), 4U) << cut;
    ASSERT_EQ(std::get<Arrived>(events[2]).line.msg_id, 2U);
    ASSERT_TRUE(std::holds_alternative<Kicked>(events[3]));
  }
}

TEST_F(ChatSessionTest, BentStreamsNeverCrash) {
  std::mt19937 random(23);
  const std::string stream =
      push(kBob, kAlice, 1, proto::TextCodec().encrypt("a")) + ack(501, kBob, 2) +
      history_answer(502, kBob, {{2, kBob, "two"}, {1, kAlice, "one"}}) +
      push(kBob, kAlice, 3, "abcd", 2) + read_notify(kBob, 2) + stat_notify(kBob, true);
  for (int round = 0; round < 5000; ++round) {
    ChatSession fresh({.name = "alice", .secret = "x", .first_sequence = 500});
    fresh.on_connected(now);
    fresh.on_bytes(as_bytes(login_answer(500, 0, "成功")), now);
    fresh.send_text(kBob, "x", now);
    fresh.request_history(kBob, 10, now);
    std::string bent = stream;
    for (unsigned flips = 1 + random() % 6; flips > 0; --flips) {
      bent[random() % bent.size()] ^= static_cast<char>(1 << random() % 8);
    }
    for (size_t at = 0; at < bent.size();) {
      const size_t size = std::min<size_t>(1 + random() % 64, bent.size() - at);
      fresh.on_bytes(as_bytes(std::string_view(bent).substr(at, size)), now);
      at += size;
    }
    fresh.on_time(now + 1h);
    fresh.take_events();
  }
}

TEST_F(ChatSessionTest, SequencesWrapAndSkipWhatIsInUse) {
  ChatSession fresh({.name = "alice", .secret = "x", .first_sequence = ChatSession::kSequenceMax});
  fresh.on_connected(now);
  fresh.on_bytes(as_bytes(login_answer(ChatSession::kSequenceMax, 0, "成功")), now);
  fresh.take_output();
  fresh.send_text(kBob, "x", now);
  const std::string bytes = fresh.take_output();
  EXPECT_EQ(load_be16(bytes.data() + 12), 1);
}

}  // namespace
}  // namespace ringtalk::ctl
