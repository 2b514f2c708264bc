#include "tools/ctl/chat_session.h"

#include <algorithm>
#include <string>

#include "engine/base/assert.h"
#include "proto/buddy.pb.h"
#include "proto/encode.h"
#include "proto/login.pb.h"
#include "proto/message.pb.h"
#include "proto/parse.h"
#include "proto/utf8.h"

namespace ringtalk::ctl {

namespace {

using namespace IM::BaseDefine;  // NOLINT: enumerators carry their type's name already
using proto::CommandId;

// A flood of different peers must not grow the table for ever.
constexpr size_t kWatchedMax = 1000;

uint32_t sound_seconds(std::string_view content) {
  return content.size() < 4 ? 0 : load_be32(content.data());
}

bool is_sound(MsgType type) {
  return type == MSG_TYPE_SINGLE_AUDIO || type == MSG_TYPE_GROUP_AUDIO;
}

bool is_group(MsgType type) { return type == MSG_TYPE_GROUP_TEXT || type == MSG_TYPE_GROUP_AUDIO; }

bool is_online(UserStatType status) { return status == USER_STATUS_ONLINE; }

void fill_content(ChatLine& line, const proto::TextCodec& codec, MsgType type,
                  const std::string& content) {
  if (is_sound(type)) {
    line.kind          = ChatLine::Kind::sound;
    line.sound_seconds = sound_seconds(content);
    return;
  }
  auto text = codec.decrypt(content);
  if (text && proto::valid_utf8(as_bytes(*text))) {
    line.text = std::move(*text);
  } else {
    line.kind = ChatLine::Kind::opaque;
    line.text = content;
  }
}

}  // namespace

ChatSession::ChatSession(Options options)
    : options_(std::move(options)), next_sequence_(options_.first_sequence) {
  RT_ASSERT(next_sequence_ >= 1);
  RT_ASSERT(next_sequence_ <= kSequenceMax);
  RT_ASSERT(options_.send_id_prefix.size() <= kSendIdPrefixMax);
}

// ---- what goes out ----

template <class M>
void ChatSession::write(CommandId command, uint16_t sequence, const M& message) {
  const size_t before = output_.size();
  output_.resize(before + proto::encoded_size(message));
  const auto room = std::as_writable_bytes(std::span(output_)).subspan(before);
  proto::encode_frame(room, command, sequence, message);
}

void ChatSession::write_empty(CommandId command, uint16_t sequence) {
  const size_t before = output_.size();
  output_.resize(before + proto::kHeaderBytes);
  proto::encode_empty_frame(std::as_writable_bytes(std::span(output_)).subspan(before), command,
                            sequence);
}

void ChatSession::write_send(Send& send) {
  RT_ASSERT(state_ == State::online);
  IM::Message::IMMsgData message;
  message.set_from_user_id(raw(user_));
  message.set_to_session_id(raw(send.peer));
  message.set_msg_id(0);
  message.set_create_time(0);
  message.set_msg_type(MSG_TYPE_SINGLE_TEXT);
  message.set_msg_data(send.content);
  if (!options_.send_id_prefix.empty()) {
    message.set_client_msg_id(options_.send_id_prefix + std::to_string(send.ticket));
  }
  write(CommandId::msg_data, send.sequence, message);
  send.on_wire = true;
}

bool ChatSession::sequence_in_use(uint16_t sequence) const {
  const auto same = [&](const auto& entry) { return entry.sequence == sequence; };
  const auto late = [&](const auto& entry) { return entry.first == sequence; };
  return std::ranges::any_of(sends_, same) || std::ranges::any_of(late_, late) ||
         history_.contains(sequence);
}

// 0 is for pushes, and an answer finds its question by this number: none in use is given again.
uint16_t ChatSession::take_sequence() {
  uint16_t sequence = 0;
  do {
    sequence       = next_sequence_;
    next_sequence_ = next_sequence_ == kSequenceMax ? 1 : next_sequence_ + 1;
  } while (sequence_in_use(sequence));
  return sequence;
}

Ticket ChatSession::send_text(UserId peer, std::string_view text, Time now) {
  RT_ASSERT(can_send());
  RT_ASSERT(!text.empty() && text.size() <= proto::kPlainTextBytesMax);
  RT_ASSERT(raw(peer) != 0 && peer != user_);
  sends_.push_back({.ticket   = next_ticket_++,
                    .sequence = take_sequence(),
                    .peer     = peer,
                    .content  = options_.codec.encrypt(text),
                    .deadline = now + kAnswerLimit});
  if (state_ == State::online) write_send(sends_.back());
  return sends_.back().ticket;
}

void ChatSession::ask_history(HistoryRequest request, uint32_t count, Time now) {
  RT_ASSERT(state_ == State::online);
  request.deadline        = now + kAnswerLimit;
  const uint16_t sequence = take_sequence();
  IM::Message::IMGetMsgListReq message;
  message.set_user_id(raw(user_));
  message.set_session_type(SESSION_TYPE_SINGLE);
  message.set_session_id(raw(request.peer));
  message.set_msg_id_begin(request.before == 0 ? 0 : request.before - 1);
  message.set_msg_cnt(count);
  write(CommandId::get_msg_list_request, sequence, message);
  history_.emplace(sequence, request);
}

void ChatSession::request_history(UserId peer, uint32_t count, Time now, uint32_t before) {
  RT_ASSERT(count >= 1 && count <= kHistoryLinesMax);
  if (before == 1) {  // nothing is older than the first
    events_.emplace_back(History{peer, {}, true});
    return;
  }
  if (state_ != State::online || history_.size() >= kPendingSendsMax) {
    events_.emplace_back(HistoryFailed{peer});
    return;
  }
  ask_history({.peer = peer, .purpose = Purpose::show, .before = before}, count, now);
}

bool ChatSession::awaits_history() const {
  return std::ranges::any_of(
      history_, [](const auto& entry) { return entry.second.purpose == Purpose::show; });
}

void ChatSession::watch(UserId peer, Time now) {
  if (watched_.size() >= kWatchedMax && !watched_.contains(peer)) return;
  const Watched& watched = watched_[peer];
  const auto about_him   = [&](const auto& entry) { return entry.second.peer == peer; };
  if (watched.newest_is_known || state_ != State::online) return;
  if (std::ranges::any_of(history_, about_him)) return;  // its answer tells the newest, too
  ask_history({.peer = peer, .purpose = Purpose::newest}, 1, now);
}

void ChatSession::mark_read(UserId peer, uint32_t msg_id) {
  RT_ASSERT(raw(peer) != 0);
  if (watched_.size() >= kWatchedMax && !watched_.contains(peer)) return;
  Watched& watched = watched_[peer];
  if (msg_id <= watched.read_upto) return;
  watched.read_upto    = msg_id;
  watched.mark_is_sent = false;
  if (state_ == State::online) write_mark(peer, watched);
}

void ChatSession::write_mark(UserId peer, Watched& watched) {
  IM::Message::IMMsgDataReadAck message;
  message.set_user_id(raw(user_));
  message.set_session_id(raw(peer));
  message.set_msg_id(watched.read_upto);
  message.set_session_type(SESSION_TYPE_SINGLE);
  write(CommandId::msg_data_read_ack, take_sequence(), message);
  watched.mark_is_sent = true;
}

void ChatSession::request_unread() {
  if (state_ != State::online) return;
  IM::Message::IMUnreadMsgCntReq message;
  message.set_user_id(raw(user_));
  write(CommandId::unread_msg_cnt_request, take_sequence(), message);
}

void ChatSession::request_users() {
  if (state_ != State::online) return;
  IM::Buddy::IMAllUserReq message;
  message.set_user_id(raw(user_));
  message.set_latest_update_time(users_stamp_);
  write(CommandId::all_user_request, take_sequence(), message);
}

void ChatSession::request_statuses(const std::vector<UserId>& users) {
  RT_ASSERT(users.size() <= kStatusesMax);
  if (state_ != State::online) return;
  IM::Buddy::IMUsersStatReq message;
  message.set_user_id(raw(user_));
  for (const UserId user : users) message.add_user_id_list(raw(user));
  write(CommandId::users_stat_request, take_sequence(), message);
}

void ChatSession::leave(Time now) {
  RT_ASSERT(state_ == State::online);
  state_          = State::leaving;
  login_deadline_ = now + kAnswerLimit;
  write_empty(CommandId::logout_request, take_sequence());
}

// ---- the connection ----

void ChatSession::on_connected(Time now) {
  RT_ASSERT(state_ == State::offline);
  state_          = State::logging_in;
  login_deadline_ = now + kLoginLimit;
  login_sequence_ = take_sequence();
  heard_at_       = now;
  IM::Login::IMLoginReq message;
  message.set_user_name(options_.name);
  message.set_password(session_token_.empty() ? options_.secret : "token:" + session_token_);
  message.set_online_status(USER_STATUS_ONLINE);
  message.set_client_type(options_.mobile ? CLIENT_TYPE_ANDROID : CLIENT_TYPE_WINDOWS);
  message.set_client_version("ringtalkctl");
  write(CommandId::login_request, login_sequence_, message);
}

void ChatSession::on_bytes(Bytes bytes, Time now) {
  if (state_ != State::logging_in && state_ != State::online && state_ != State::leaving) return;
  heard_at_ = now;
  input_ += as_text(bytes);
  size_t used = 0;
  while (true) {
    const auto split = proto::split_frame(ringtalk::as_bytes(std::string_view(input_).substr(used)),
                                          proto::FrameLimits::from_server());
    if (split.status == proto::Split::Status::need_more) break;
    if (split.status != proto::Split::Status::frame) {
      break_off("the server sends no frames of this protocol");
      return;
    }
    used += split.whole.size();
    on_frame(split, now);
    if (input_.empty()) return;  // the frame ended the connection; what follows it counts no more
  }
  input_.erase(0, used);
}

void ChatSession::on_frame(const proto::Split& split, Time now) {
  const uint16_t sequence = split.header.sequence;
  const CommandId command = split.header.id();
  switch (state_) {
    case State::logging_in:
      if (command == CommandId::login_response) on_login_answer(split.body, sequence, now);
      if (command == CommandId::kick_user) on_kick(split.body);
      return;
    case State::online:
    case State::leaving: break;
    case State::offline:
    case State::refused:
    case State::kicked: return;
  }
  switch (command) {
    case CommandId::msg_data: return on_message(split.body);
    case CommandId::msg_data_ack: return on_acknowledgement(split.body, sequence);
    case CommandId::get_msg_list_response: return on_history(split.body, sequence);
    case CommandId::unread_msg_cnt_response: return on_unread(split.body);
    case CommandId::msg_data_read_notify: return on_read_elsewhere(split.body);
    case CommandId::user_stat_notify: return on_presence(split.body);
    case CommandId::users_stat_response: return on_statuses(split.body);
    case CommandId::pc_login_status_notify: return on_own_pc(split.body);
    case CommandId::all_user_response: return on_users(split.body);
    case CommandId::kick_user: return on_kick(split.body);
    case CommandId::logout_response:
      if (state_ != State::leaving) return;
      forget_connection();
      events_.emplace_back(LoggedOut{});
      return;
    default: return;  // the heartbeat's echo has done its work by arriving; a server may know more
  }
}

void ChatSession::on_login_answer(Bytes body, uint16_t sequence, Time now) {
  IM::Login::IMLoginRes answer;
  if (sequence != login_sequence_ || !proto::parse(answer, body)) return;
  const bool complete = answer.has_user_info() && answer.user_info().user_id() != 0;
  if (answer.result_code() == REFUSE_REASON_NONE && complete) {
    user_          = UserId(answer.user_info().user_id());
    session_token_ = answer.session_token();
    events_.emplace_back(LoggedIn{user_, answer.user_info().user_nick_name(), has_been_online_});
    on_logged_in(now);
    return;
  }
  const bool wrong_secret = answer.result_code() == REFUSE_REASON_DB_VALIDATE_FAILED;
  if (wrong_secret && !session_token_.empty()) {
    session_token_.clear();  // it lives for a day, or until the password changes
    break_off("the session has ended");
    return;
  }
  if (!wrong_secret && has_been_online_) {
    break_off("the server takes no logins now");
    return;
  }
  state_ = State::refused;
  events_.emplace_back(
      LoginRefused{static_cast<int>(answer.result_code()), answer.result_string()});
}

// After a break: first what the others wrote, then what of ours has no answer.
void ChatSession::on_logged_in(Time now) {
  state_           = State::online;
  heartbeat_at_    = now + kHeartbeatInterval;
  has_been_online_ = true;
  for (auto& [peer, watched] : watched_) {
    // A handful of conversations is a person's; the server paces anything beyond that.
    if (watched.newest_is_known) {
      ask_history({.peer = peer, .purpose = Purpose::catch_up, .known_msg_id = watched.newest_seen},
                  kHistoryLinesMax, now);
    } else {
      ask_history({.peer = peer, .purpose = Purpose::newest}, 1, now);
    }
  }
  for (auto& [peer, watched] : watched_) {
    if (watched.read_upto != 0 && !watched.mark_is_sent) write_mark(peer, watched);
  }
  for (Send& send : sends_) write_send(send);
}

void ChatSession::on_closed() {
  switch (state_) {
    case State::leaving:
      forget_connection();
      events_.emplace_back(LoggedOut{});
      return;
    case State::logging_in:
    case State::online: break_off("the connection is broken"); return;
    case State::offline:
    case State::refused:
    case State::kicked: return;
  }
}

void ChatSession::break_off(std::string why) {
  forget_connection();
  events_.emplace_back(Broken{std::move(why)});
}

void ChatSession::forget_connection() {
  state_ = State::offline;
  input_.clear();
  output_.clear();
  for (Send& send : sends_) send.on_wire = false;
  for (auto& [peer, watched] : watched_) {
    watched.first_pushed = 0;
    watched.mark_is_sent = false;  // 0x0303 has no answer: it may not have arrived
  }
  for (const auto& [sequence, request] : history_) {
    if (request.purpose == Purpose::show) events_.emplace_back(HistoryFailed{request.peer});
    // Its gap is still open, whatever has been pushed behind it: showing a line twice beats losing one.
    if (request.purpose == Purpose::catch_up)
      watched_[request.peer].newest_seen = request.known_msg_id;
  }
  history_.clear();
}

// ---- time ----

ChatSession::Time ChatSession::next_deadline() const {
  Time next = Time::max();
  for (const Send& send : sends_) next = std::min(next, send.deadline);
  for (const auto& [sequence, request] : history_) next = std::min(next, request.deadline);
  switch (state_) {
    case State::logging_in:
    case State::leaving: return std::min(next, login_deadline_);
    case State::online: return std::min({next, heartbeat_at_, heard_at_ + kSilenceLimit});
    case State::offline:
    case State::refused:
    case State::kicked: return next;
  }
  return next;
}

void ChatSession::on_time(Time now) {
  give_up_sends(now);
  give_up_history(now);
  if (state_ == State::logging_in && now >= login_deadline_) {
    return break_off("the server does not answer the login");
  }
  if (state_ == State::leaving && now >= login_deadline_) return on_closed();
  if (state_ != State::online) return;
  if (now >= heard_at_ + kSilenceLimit) return break_off("the server is silent");
  if (now >= heartbeat_at_) {
    write_empty(CommandId::heartbeat, take_sequence());
    heartbeat_at_ = now + kHeartbeatInterval;
  }
}

void ChatSession::give_up_sends(Time now) {
  // Not the front alone: an earlier one may have been answered out of turn.
  for (auto send = sends_.begin(); send != sends_.end();) {
    if (now < send->deadline) {
      ++send;
      continue;
    }
    events_.emplace_back(NotDelivered{send->ticket});
    late_.emplace_back(send->sequence, send->ticket);
    if (late_.size() > kLateSendsMax) late_.pop_front();
    send = sends_.erase(send);
  }
}

void ChatSession::give_up_history(Time now) {
  std::erase_if(history_, [&](const auto& entry) {
    if (now < entry.second.deadline) return false;
    if (entry.second.purpose == Purpose::show)
      events_.emplace_back(HistoryFailed{entry.second.peer});
    return true;
  });
}

// ---- what comes in ----

void ChatSession::saw(UserId peer, uint32_t msg_id) {
  for (auto& [sequence, request] : history_) {
    if (request.peer == peer && request.purpose == Purpose::show && request.first_pushed == 0)
      request.first_pushed = msg_id;
  }
  if (watched_.size() >= kWatchedMax && !watched_.contains(peer)) return;
  Watched& watched        = watched_[peer];
  watched.newest_seen     = std::max(watched.newest_seen, msg_id);
  watched.newest_is_known = true;
}

void ChatSession::on_message(Bytes body) {
  IM::Message::IMMsgData message;
  if (!proto::parse(message, body) || message.msg_id() == 0) return;
  const UserId author{message.from_user_id()};
  ChatLine line{.author = author, .msg_id = message.msg_id(), .create_time = message.create_time()};
  fill_content(line, options_.codec, message.msg_type(), message.msg_data());
  if (is_group(message.msg_type())) {
    line.group = GroupId(message.to_session_id());
    events_.emplace_back(Arrived{std::move(line)});
    return;
  }
  line.peer = author == user_ ? UserId(message.to_session_id()) : author;
  IM::Message::IMMsgDataAck answer;
  answer.set_user_id(raw(user_));
  answer.set_session_id(raw(line.peer));
  answer.set_msg_id(line.msg_id);
  answer.set_session_type(SESSION_TYPE_SINGLE);
  if (state_ == State::online) write(CommandId::msg_data_ack, 0, answer);

  saw(line.peer, line.msg_id);
  const auto watched = watched_.find(line.peer);
  if (watched != watched_.end() && watched->second.first_pushed == 0) {
    watched->second.first_pushed = line.msg_id;
  }
  events_.emplace_back(Arrived{std::move(line)});
}

void ChatSession::on_acknowledgement(Bytes body, uint16_t sequence) {
  IM::Message::IMMsgDataAck answer;
  if (!proto::parse(answer, body)) return;
  const auto send = std::ranges::find(sends_, sequence, &Send::sequence);
  if (send != sends_.end()) {
    const Ticket ticket = send->ticket;
    const UserId peer   = send->peer;
    sends_.erase(send);
    if (answer.msg_id() == 0) {  // the original's way to say that it could not store
      events_.emplace_back(NotDelivered{ticket});
      return;
    }
    saw(peer, answer.msg_id());
    events_.emplace_back(Acknowledged{ticket, answer.msg_id(), false});
    return;
  }
  const auto late = std::ranges::find(late_, sequence, &std::pair<uint16_t, Ticket>::first);
  if (late == late_.end() || answer.msg_id() == 0) return;
  events_.emplace_back(Acknowledged{late->second, answer.msg_id(), true});
  late_.erase(late);
  if (answer.session_id() != 0) saw(UserId(answer.session_id()), answer.msg_id());
}

void ChatSession::on_history(Bytes body, uint16_t sequence) {
  const auto found = history_.find(sequence);
  IM::Message::IMGetMsgListRsp answer;
  if (found == history_.end() || !proto::parse(answer, body)) return;
  const HistoryRequest request = found->second;
  if (answer.session_id() != raw(request.peer)) return;
  history_.erase(found);

  std::vector<ChatLine> lines;
  for (const MsgInfo& info : answer.msg_list()) {
    ChatLine line{.peer        = request.peer,
                  .author      = UserId(info.from_session_id()),
                  .msg_id      = info.msg_id(),
                  .create_time = info.create_time()};
    fill_content(line, options_.codec, info.msg_type(), info.msg_data());
    lines.push_back(std::move(line));
  }
  std::ranges::sort(lines, {}, &ChatLine::msg_id);
  const uint32_t newest = lines.empty() ? 0 : lines.back().msg_id;
  switch (request.purpose) {
    case Purpose::newest: break;
    case Purpose::show:
      if (request.first_pushed != 0) {
        std::erase_if(lines, [&](const auto& line) { return line.msg_id >= request.first_pushed; });
      }
      events_.emplace_back(History{request.peer, std::move(lines), request.before != 0});
      break;
    case Purpose::catch_up: on_catch_up(request, std::move(lines)); break;
  }
  saw(request.peer, newest);
}

// Shows what lies between the last message seen before the break and the first one pushed after it.
void ChatSession::on_catch_up(const HistoryRequest& request, std::vector<ChatLine> lines) {
  const uint32_t pushed = watched_[request.peer].first_pushed;
  const uint32_t end    = pushed == 0 ? std::numeric_limits<uint32_t>::max() : pushed;
  if (!lines.empty() && lines.front().msg_id > request.known_msg_id + 1) {
    events_.emplace_back(Missed{request.peer});
  }
  for (ChatLine& line : lines) {
    if (line.msg_id <= request.known_msg_id || line.msg_id >= end) continue;
    // Ours, stored before the break, its acknowledgement lost: it is repeated and acknowledged now.
    const auto same = [&](const Send& send) {
      return line.author == user_ && send.peer == request.peer &&
             line.kind == ChatLine::Kind::text && options_.codec.decrypt(send.content) == line.text;
    };
    if (!std::ranges::any_of(sends_, same)) events_.emplace_back(Arrived{std::move(line), true});
  }
}

void ChatSession::on_kick(Bytes body) {
  IM::Login::IMKickUser message;
  if (!proto::parse(message, body)) return;
  forget_connection();
  state_ = State::kicked;
  events_.emplace_back(Kicked{static_cast<int>(message.kick_reason())});
}

void ChatSession::on_unread(Bytes body) {
  IM::Message::IMUnreadMsgCntRsp answer;
  if (!proto::parse(answer, body)) return;
  Unread unread;
  for (const UnreadInfo& info : answer.unreadinfo_list()) {
    Unread::Conversation conversation{.count = info.unread_cnt()};
    if (info.session_type() == SESSION_TYPE_GROUP) {
      conversation.group = conversation.newest.group = GroupId(info.session_id());
    } else {
      conversation.peer = conversation.newest.peer = UserId(info.session_id());
    }
    conversation.newest.author = UserId(info.latest_msg_from_user_id());
    conversation.newest.msg_id = info.latest_msg_id();
    fill_content(conversation.newest, options_.codec, info.latest_msg_type(),
                 info.latest_msg_data());
    unread.conversations.push_back(std::move(conversation));
  }
  events_.emplace_back(std::move(unread));
}

void ChatSession::on_read_elsewhere(Bytes body) {
  IM::Message::IMMsgDataReadNotify message;
  if (!proto::parse(message, body)) return;
  ReadElsewhere event{.msg_id = message.msg_id()};
  if (message.session_type() == SESSION_TYPE_GROUP) {
    event.group = GroupId(message.session_id());
  } else {
    event.peer         = UserId(message.session_id());
    const auto watched = watched_.find(event.peer);
    // Not told again, and not answered: two devices would echo each other for ever.
    if (watched != watched_.end()) {
      if (watched->second.read_upto >= event.msg_id) return;
      watched->second.read_upto    = event.msg_id;
      watched->second.mark_is_sent = true;
    }
  }
  events_.emplace_back(event);
}

void ChatSession::on_presence(Bytes body) {
  IM::Buddy::IMUserStatNotify message;
  if (!proto::parse(message, body)) return;
  const UserId user{message.user_stat().user_id()};
  const auto watched = watched_.find(user);
  if (watched == watched_.end() || user == user_) return;
  const bool online = is_online(message.user_stat().status());
  if (watched->second.online == online) return;
  watched->second.online = online;
  events_.emplace_back(Presence{user, online});
}

void ChatSession::on_statuses(Bytes body) {
  IM::Buddy::IMUsersStatRsp answer;
  if (!proto::parse(answer, body)) return;
  Statuses statuses;
  for (const UserStat& entry : answer.user_stat_list()) {
    const Presence presence{UserId(entry.user_id()), is_online(entry.status())};
    const auto watched = watched_.find(presence.user);
    if (watched != watched_.end()) watched->second.online = presence.online;
    statuses.users.push_back(presence);
  }
  events_.emplace_back(std::move(statuses));
}

void ChatSession::on_own_pc(Bytes body) {
  IM::Buddy::IMPCLoginStatusNotify message;
  if (!proto::parse(message, body)) return;
  events_.emplace_back(OwnPc{is_online(message.login_stat())});
}

void ChatSession::on_users(Bytes body) {
  IM::Buddy::IMAllUserRsp answer;
  if (!proto::parse(answer, body)) return;
  users_stamp_ = std::max(users_stamp_, answer.latest_update_time());
  Users users;
  for (const UserInfo& info : answer.user_list()) {
    // TeamTalk's "real name" is the login name.
    users.users.push_back({UserId(info.user_id()), info.user_real_name(), info.status() == 3});
  }
  if (!users.users.empty()) events_.emplace_back(std::move(users));
}

}  // namespace ringtalk::ctl
