#include "shard/dispatch.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "proto/file.pb.h"
#include "proto/login.pb.h"
#include "proto/message.pb.h"
#include "proto/message_view.h"
#include "proto/parse.h"
#include "shard/contacts.h"
#include "shard/extension.h"
#include "shard/frames.h"
#include "shard/group_commands.h"
#include "shard/groups.h"
#include "shard/history.h"
#include "shard/login.h"
#include "shard/message.h"
#include "shard/presence.h"
#include "shard/profile_edit.h"
#include "shard/push_settings.h"
#include "shard/read_mark.h"
#include "shard/relay.h"
#include "shard/session_list.h"
#include "shard/unread.h"

namespace ringtalk::shard {
namespace {

using proto::CommandId;
using proto::Split;

constexpr uint8_t bit(SessionState state) { return 1u << static_cast<uint8_t>(state); }
constexpr uint8_t kStranger = bit(SessionState::accepted);
constexpr uint8_t kOpen     = bit(SessionState::open);
constexpr uint8_t kKicked   = bit(SessionState::kicked);
// Sends have a pace of their own, per user; a busy group makes hundreds of confirmations a second.
constexpr bool kPaced = true;
constexpr bool kFree  = false;

}  // namespace

constexpr Dispatch::Row Dispatch::kRows[] = {
    {CommandId::msg_serv_request, kStranger, kPaced, Relation::none, 0, &Dispatch::server_address},
    {CommandId::login_request, kStranger | kOpen, kPaced, Relation::none, 0,
     &Dispatch::login_request},
    {CommandId::logout_request, kOpen | kKicked, kPaced, Relation::self, 0, &Dispatch::logout},
    {CommandId::device_token_request, kOpen, kPaced, Relation::self_mobile, 0,
     &Dispatch::device_token},
    {CommandId::kick_pc_client_request, kOpen, kPaced, Relation::self_mobile, 0,
     &Dispatch::kick_pc},
    {CommandId::push_shield_request, kOpen, kPaced, Relation::self, 0, &Dispatch::push_shield},
    {CommandId::query_push_shield_request, kOpen, kPaced, Relation::self, 0,
     &Dispatch::query_push_shield},
    {CommandId::recent_contact_session_request, kOpen, kPaced, Relation::self,
     SessionList::kListMax, &Dispatch::session_list},
    {CommandId::users_info_request, kOpen, kPaced, Relation::directory, store::kUsersAskedMax,
     &Dispatch::profiles},
    {CommandId::remove_session_request, kOpen, kPaced, Relation::conversation, 0,
     &Dispatch::remove_session},
    {CommandId::all_user_request, kOpen, kPaced, Relation::directory, 0, &Dispatch::all_users},
    {CommandId::users_stat_request, kOpen, kPaced, Relation::directory, 0, &Dispatch::users_status},
    {CommandId::change_avatar_request, kOpen, kPaced, Relation::self, 0, &Dispatch::change_avatar},
    {CommandId::department_request, kOpen, kPaced, Relation::directory, 0, &Dispatch::departments},
    {CommandId::change_sign_info_request, kOpen, kPaced, Relation::self, 0,
     &Dispatch::change_signature},
    {CommandId::msg_data, kOpen, kFree, Relation::conversation, 0, &Dispatch::message},
    {CommandId::msg_data_ack, kOpen, kFree, Relation::conversation, 0, &Dispatch::message_ack},
    {CommandId::msg_data_read_ack, kOpen, kFree, Relation::conversation, 0, &Dispatch::read_ack},
    {CommandId::client_time_request, kOpen, kPaced, Relation::none, 0, &Dispatch::server_time},
    {CommandId::unread_msg_cnt_request, kOpen, kPaced, Relation::self, 0, &Dispatch::unread_count},
    {CommandId::get_msg_list_request, kOpen, kPaced, Relation::conversation, kHistoryCountMax,
     &Dispatch::message_list},
    {CommandId::get_latest_msg_id_request, kOpen, kPaced, Relation::conversation, 0,
     &Dispatch::latest_message_id},
    {CommandId::get_msg_by_id_request, kOpen, kPaced, Relation::conversation, kHistoryCountMax,
     &Dispatch::messages_by_id},
    {CommandId::normal_group_list_request, kOpen, kPaced, Relation::self, 0,
     &Dispatch::normal_groups},
    {CommandId::group_info_list_request, kOpen, kPaced, Relation::member, kMembersListed,
     &Dispatch::group_info},
    {CommandId::group_create_request, kOpen, kPaced, Relation::reachable, store::kMembersPerCall,
     &Dispatch::create_group},
    {CommandId::group_change_member_request, kOpen, kPaced, Relation::may_change,
     store::kMembersPerCall, &Dispatch::change_members},
    {CommandId::group_shield_request, kOpen, kPaced, Relation::member, 0, &Dispatch::mute_group},
    {CommandId::file_has_offline_request, kOpen, kPaced, Relation::self, 0,
     &Dispatch::offline_files},
    {CommandId::p2p_cmd_msg, kOpen, kFree, Relation::reachable, 0, &Dispatch::relayed},
    {CommandId::heartbeat, kStranger | kOpen | kKicked, kPaced, Relation::none, 0,
     &Dispatch::heartbeat},
    {CommandId::ext_hello_request, kOpen, kPaced, Relation::self, 0, &Dispatch::hello_said},
};

namespace {

// What clients may send, and this version ignores: files, and what stands behind hello.
constexpr bool is_ignored(CommandId command) {
  const uint16_t service = proto::service_of(command);
  return command != CommandId::file_has_offline_request &&
         (service == 0x05 || (service > 0x20 && service <= 0x24));
}

// Numbers in rows of 64 per service: where a command's row is, from 1.
constexpr uint32_t kServices = 0x25, kNumbers = 64;
constexpr uint32_t place_of(uint16_t number) {
  const uint32_t service = number >> 8, low = number & 0xff;
  return service < kServices && low < kNumbers ? service * kNumbers + low : 0;
}

}  // namespace

constexpr bool Dispatch::is_complete() {
  const auto has_row = [](CommandId command) {
    return std::ranges::find(kRows, command, &Row::command) != std::end(kRows);
  };
#define RT_HAS_ROW(number, direction, name)                       \
  if ((proto::Direction::direction == proto::Direction::client || \
       proto::Direction::direction == proto::Direction::both) &&  \
      has_row(CommandId::name) == is_ignored(CommandId::name))    \
    return false;
  RT_PROTO_COMMANDS(RT_HAS_ROW)
#undef RT_HAS_ROW
  return true;
}

const Dispatch::Row* Dispatch::row_of(CommandId command) {
  static_assert(is_complete(), "a command of clients without a row");
  static constexpr auto kPlaces = [] {
    std::array<uint8_t, kServices * kNumbers> places{};
    for (size_t i = 0; i < std::size(kRows); ++i)
      places[place_of(raw(kRows[i].command))] = static_cast<uint8_t>(i + 1);
    return places;
  }();
  const uint8_t place = kPlaces[place_of(raw(command))];
  return place == 0 ? nullptr : &kRows[place - 1];
}

Taken Dispatch::take(Session& session, const Split& frame) {
  switch (session.state) {
    case SessionState::checking:
    case SessionState::moving: return Taken::waits;
    case SessionState::leaving: return Taken::closes;
    default: break;
  }
  if (session.busy) return Taken::waits;
  const CommandId command = frame.header.id();
  const Row* row          = row_of(command);
  const bool paced        = session.is_open() && (!row || row->paced);
  if (paced) {
    const Limits& limits = context_.limits;
    const uint64_t until = session.requests.wait_until(
        context_.loop.now_ns(), limits.requests_per_second, limits.requests_burst);
    if (until > 0) {
      session.wake_at(until);
      return Taken::waits;
    }
  }
  const bool known  = row && row->states & bit(session.state);
  const Taken taken = known ? (this->*row->handle)(session, frame) : foreign(session, command);
  // What must wait is offered again: it is charged once, when it is taken.
  if (paced && taken == Taken::taken)
    session.requests.take(context_.loop.now_ns(), context_.limits.requests_per_second);
  return taken;
}

Taken Dispatch::foreign(Session& session, CommandId command) {
  if (session.state == SessionState::kicked) return Taken::taken;
  const bool internal = proto::direction(command) == proto::Direction::internal;
  if (session.state == SessionState::accepted || internal) {
    context_.metrics.add(internal ? Counter::frames_internal : Counter::frames_before_login);
    context_.metrics.add(Counter::close_malformed);
    session.abort();
    return Taken::closes;
  }
  context_.metrics.add(Counter::frames_unknown);
  return Taken::taken;
}

Taken Dispatch::server_address(Session& session, const Split& frame) {
  IM::Login::IMMsgServReq request;
  if (!proto::parse(request, frame.body)) return unparsable(context_, session);
  IM::Login::IMMsgServRsp response;
  response.set_result_code(IM::BaseDefine::REFUSE_REASON_NONE);
  response.set_prior_ip(context_.limits.public_host);
  response.set_backip_ip(context_.limits.public_host);
  response.set_port(context_.limits.public_port);
  answer(session, frame_of(CommandId::msg_serv_response, frame.header.sequence, response));
  session.finish();
  return Taken::closes;
}

Taken Dispatch::login_request(Session& session, const Split& frame) {
  if (session.is_open()) return Taken::taken;  // a second login is ignored, however often
  return login_.ask(session, frame.header.sequence, frame.body);
}

Taken Dispatch::logout(Session& session, const Split& frame) {
  return push_settings_.logout(session, frame.header.sequence, frame.body);
}

Taken Dispatch::device_token(Session& session, const Split& frame) {
  return push_settings_.device_token(session, frame.header.sequence, frame.body);
}

Taken Dispatch::kick_pc(Session& session, const Split& frame) {
  IM::Login::IMKickPCClientReq request;
  if (!proto::parse(request, frame.body)) return unparsable(context_, session);
  if (!session.is_mobile()) return Taken::taken;
  login_.kick_class(session.user, /*mobile=*/false, IM::BaseDefine::KICK_REASON_MOBILE_KICK,
                    nullptr);
  IM::Login::IMKickPCClientRsp response;
  response.set_user_id(raw(session.user));
  response.set_result_code(0);
  answer(session, frame_of(CommandId::kick_pc_client_response, frame.header.sequence, response));
  return Taken::taken;
}

Taken Dispatch::push_shield(Session& session, const Split& frame) {
  return push_settings_.set_shield(session, frame.header.sequence, frame.body);
}

Taken Dispatch::query_push_shield(Session& session, const Split& frame) {
  return push_settings_.shield(session, frame.header.sequence, frame.body);
}

// Byte for byte, sequence and reserved field included. A sign of life, nothing else.
Taken Dispatch::heartbeat(Session& session, const Split& frame) {
  if (frame.whole.size() > kHeartbeatBytesMax) return unparsable(context_, session);
  std::ranges::copy(frame.whole, session.reserve(static_cast<uint32_t>(frame.whole.size())));
  return Taken::taken;
}

Taken Dispatch::message(Session& session, const Split& frame) {
  context_.repeats.prefetch(frame.header.sequence, session.user);  // looked up when all is checked
  const auto view = proto::parse_message_data(frame.body);
  if (!view) return unparsable(context_, session);
  return messages_.send(session, frame.header.sequence, *view);
}

Taken Dispatch::message_ack(Session& session, const Split& frame) {
  const auto ack = proto::parse_message_ack(frame.body);
  if (!ack) return unparsable(context_, session);
  messages_.confirm(session, *ack);
  return Taken::taken;
}

Taken Dispatch::read_ack(Session& session, const Split& frame) {
  const auto ack = proto::parse_read_ack(frame.body);
  if (!ack) return unparsable(context_, session);
  messages_.confirm(session, *ack);
  return read_marks_.ask(session, *ack);
}

Taken Dispatch::server_time(Session& session, const Split& frame) {
  IM::Message::IMClientTimeReq request;
  if (!proto::parse(request, frame.body)) return unparsable(context_, session);
  IM::Message::IMClientTimeRsp response;
  response.set_server_time(context_.now_s());
  answer(session, frame_of(CommandId::client_time_response, frame.header.sequence, response));
  return Taken::taken;
}

Taken Dispatch::unread_count(Session& session, const Split& frame) {
  return unread_.ask(session, frame.header.sequence, frame.body);
}

Taken Dispatch::message_list(Session& session, const Split& frame) {
  return history_.ask(session, frame.header.sequence, frame.body);
}

Taken Dispatch::latest_message_id(Session& session, const Split& frame) {
  return history_.ask_newest(session, frame.header.sequence, frame.body);
}

Taken Dispatch::messages_by_id(Session& session, const Split& frame) {
  return history_.ask_listed(session, frame.header.sequence, frame.body);
}

// Nobody can leave a file yet; clients wait for the answer before they go on after their login.
Taken Dispatch::offline_files(Session& session, const Split& frame) {
  IM::File::IMFileHasOfflineReq request;
  if (!proto::parse(request, frame.body)) return unparsable(context_, session);
  IM::File::IMFileHasOfflineRsp response;
  response.set_user_id(raw(session.user));
  answer(session, frame_of(CommandId::file_has_offline_response, frame.header.sequence, response));
  return Taken::taken;
}

Taken Dispatch::session_list(Session& session, const Split& frame) {
  return session_list_.ask(session, frame.header.sequence, frame.body);
}

Taken Dispatch::remove_session(Session& session, const Split& frame) {
  return session_list_.remove(session, frame.header.sequence, frame.body);
}

Taken Dispatch::profiles(Session& session, const Split& frame) {
  return contacts_.profiles(session, frame.header.sequence, frame.body);
}

Taken Dispatch::all_users(Session& session, const Split& frame) {
  return contacts_.users(session, frame.header.sequence, frame.body);
}

Taken Dispatch::users_status(Session& session, const Split& frame) {
  return context_.presence->status(session, frame.header.sequence, frame.body);
}

Taken Dispatch::change_avatar(Session& session, const Split& frame) {
  return profile_edit_.avatar(session, frame.header.sequence, frame.body);
}

Taken Dispatch::change_signature(Session& session, const Split& frame) {
  return profile_edit_.signature(session, frame.header.sequence, frame.body);
}

Taken Dispatch::departments(Session& session, const Split& frame) {
  return contacts_.departments(session, frame.header.sequence, frame.body);
}

Taken Dispatch::normal_groups(Session& session, const Split& frame) {
  return groups_.list(session, frame.header.sequence, frame.body);
}

Taken Dispatch::group_info(Session& session, const Split& frame) {
  return groups_.info(session, frame.header.sequence, frame.body);
}

Taken Dispatch::create_group(Session& session, const Split& frame) {
  return groups_.create(session, frame.header.sequence, frame.body);
}

Taken Dispatch::change_members(Session& session, const Split& frame) {
  return groups_.change(session, frame.header.sequence, frame.body);
}

Taken Dispatch::mute_group(Session& session, const Split& frame) {
  return groups_.mute(session, frame.header.sequence, frame.body);
}

Taken Dispatch::relayed(Session& session, const Split& frame) {
  return relay(context_, session, frame.header.sequence, frame.body);
}

Taken Dispatch::hello_said(Session& session, const Split& frame) {
  return hello(context_, session, frame.header.sequence, frame.body);
}

}  // namespace ringtalk::shard
