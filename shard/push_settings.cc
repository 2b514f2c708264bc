#include "shard/push_settings.h"

#include <algorithm>
#include <optional>
#include <string>

#include "proto/login.pb.h"
#include "proto/parse.h"
#include "shard/extension.h"
#include "shard/frames.h"

namespace ringtalk::shard {

using engine::PayloadRef;
using proto::CommandId;

namespace {

constexpr uint32_t kDone    = 0;
constexpr uint32_t kRefused = 1;

store::PushVendor vendor_of(const Session& session) {
  return session.client_type == IM::BaseDefine::CLIENT_TYPE_IOS ? store::PushVendor::ios
                                                                : store::PushVendor::android;
}

bool printable_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
}

PayloadRef token_answer(UserId user, uint16_t sequence) {
  IM::Login::IMDeviceTokenRsp response;
  response.set_user_id(raw(user));
  return frame_of(CommandId::device_token_response, sequence, response);
}

// Without a value: refused, or storage failed.
template <class Answer>
PayloadRef shield_answer(CommandId command, UserId user, uint16_t sequence,
                         std::optional<bool> on) {
  Answer response;
  response.set_user_id(raw(user));
  response.set_result_code(on ? kDone : kRefused);
  if (on) response.set_shield_status(*on ? 1 : 0);
  return frame_of(command, sequence, response);
}

PayloadRef set_answer(UserId user, uint16_t sequence, std::optional<bool> on) {
  return shield_answer<IM::Login::IMPushShieldRsp>(CommandId::push_shield_response, user, sequence,
                                                   on);
}

PayloadRef query_answer(UserId user, uint16_t sequence, std::optional<bool> on) {
  return shield_answer<IM::Login::IMQueryPushShieldRsp>(CommandId::query_push_shield_response, user,
                                                        sequence, on);
}

}  // namespace

// The store has taken the question, or is full.
Taken PushSettings::waits_for(Session& session, const Result<void>& asked) {
  if (!asked) return context_.stall(session);
  ++asked_;
  session.busy = true;
  return Taken::taken;
}

Taken PushSettings::device_token(Session& session, uint16_t sequence, Bytes body) {
  IM::Login::IMDeviceTokenReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  if (!session.is_mobile()) return Taken::taken;
  std::string& token = *request.mutable_device_token();
  const auto refused = [&](ExtResult why) {
    refuse(context_, &session, CommandId::device_token_request, sequence, why);
    return Taken::taken;
  };
  if (token.size() > kPushTokenBytesMax) return refused(IM::Ext::Sys::EXT_RESULT_LIMIT);
  if (!printable_ascii(token)) return refused(IM::Ext::Sys::EXT_RESULT_PARAM);
  auto done = [this, key = session.key, user = session.user, sequence](Result<void> stored) {
    --asked_;
    if (!stored)
      refuse(context_, context_.sessions.find(key), CommandId::device_token_request, sequence,
             IM::Ext::Sys::EXT_RESULT_STORAGE);
    answer_busy(context_, key, stored ? token_answer(user, sequence) : PayloadRef{});
  };
  const auto asked =
      token.empty() ? context_.store.clear_push_token(session.user, std::move(done))
                    : context_.store.set_push_token(
                          session.user, {vendor_of(session), std::move(token)}, std::move(done));
  if (!asked && asked.error().code != Errc::full) return refused(IM::Ext::Sys::EXT_RESULT_STORAGE);
  return waits_for(session, asked);
}

Taken PushSettings::set_shield(Session& session, uint16_t sequence, Bytes body) {
  IM::Login::IMPushShieldReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const auto refused = [&] {
    answer(session, set_answer(session.user, sequence, {}));
    return Taken::taken;
  };
  if (request.shield_status() > 1) return refused();
  const bool on    = request.shield_status() == 1;
  const auto asked = context_.store.set_push_shield(
      session.user, on,
      [this, key = session.key, user = session.user, sequence, on](Result<void> stored) {
        --asked_;
        answer_busy(context_, key,
                    set_answer(user, sequence, stored ? std::optional(on) : std::nullopt));
      });
  if (!asked && asked.error().code != Errc::full) return refused();
  return waits_for(session, asked);
}

Taken PushSettings::shield(Session& session, uint16_t sequence, Bytes body) {
  IM::Login::IMQueryPushShieldReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const auto asked = context_.store.push_shield(
      session.user, [this, key = session.key, user = session.user, sequence](Result<bool> found) {
        --asked_;
        answer_busy(context_, key,
                    query_answer(user, sequence, found ? std::optional(*found) : std::nullopt));
      });
  if (!asked && asked.error().code != Errc::full) {
    answer(session, query_answer(session.user, sequence, {}));
    return Taken::taken;
  }
  return waits_for(session, asked);
}

Taken PushSettings::logout(Session& session, uint16_t sequence, Bytes body) {
  IM::Login::IMLogoutReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  if (!session.is_mobile() || !session.is_open()) return leave(session, sequence, kDone);
  const auto asked = context_.store.clear_push_token(
      session.user, [this, key = session.key, sequence](Result<void> cleared) {
        --asked_;
        Session* leaver = context_.sessions.find(key);
        if (!leaver || leaver->state == SessionState::leaving) return;
        leave(*leaver, sequence, cleared ? kDone : kRefused);
      });
  if (!asked && asked.error().code != Errc::full) return leave(session, sequence, kRefused);
  return waits_for(session, asked);
}

// The session stays busy, if it is: nothing that waits behind the logout is looked at.
Taken PushSettings::leave(Session& session, uint16_t sequence, uint32_t result) {
  IM::Login::IMLogoutRsp response;
  response.set_result_code(result);
  answer(session, frame_of(CommandId::logout_response, sequence, response));
  context_.metrics.add(Counter::close_logout);
  session.finish();
  return Taken::closes;
}

}  // namespace ringtalk::shard
