#include "shard/profile_edit.h"

#include <algorithm>
#include <string>

#include "proto/buddy.pb.h"
#include "proto/parse.h"
#include "proto/utf8.h"
#include "shard/frames.h"
#include "shard/profile_news.h"

namespace ringtalk::shard {

using engine::PayloadRef;
using proto::CommandId;

namespace {

constexpr uint32_t kStored  = 0;
constexpr uint32_t kRefused = 1;

// UTF-8 without U+0000…U+001F and U+007F…U+009F.
bool printable(std::string_view text) {
  if (!proto::valid_utf8(as_bytes(text))) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte < 0x20 || byte == 0x7f) return false;
    if (byte == 0xc2 && static_cast<uint8_t>(text[i + 1]) < 0xa0) return false;
  }
  return true;
}

bool has_prefix(std::string_view text, std::string_view lower_case) {
  return text.size() > lower_case.size() &&
         std::ranges::equal(text.substr(0, lower_case.size()), lower_case, {},
                            [](char c) { return c >= 'A' && c <= 'Z' ? char(c | 0x20) : c; });
}

PayloadRef avatar_answer(UserId user, uint16_t sequence, uint32_t result) {
  IM::Buddy::IMChangeAvatarRsp response;
  response.set_user_id(raw(user));
  response.set_result_code(result);
  return frame_of(CommandId::change_avatar_response, sequence, response);
}

PayloadRef signature_answer(UserId user, uint16_t sequence, const std::string* stored) {
  IM::Buddy::IMChangeSignInfoRsp response;
  response.set_user_id(raw(user));
  response.set_result_code(stored ? kStored : kRefused);
  if (stored) response.set_sign_info(*stored);
  return frame_of(CommandId::change_sign_info_response, sequence, response);
}

}  // namespace

bool acceptable_avatar(std::string_view avatar) {
  if (avatar.size() > kAvatarBytesMax || !printable(avatar) || avatar.contains('\\')) return false;
  if (has_prefix(avatar, "http://") || has_prefix(avatar, "https://")) return true;
  // A colon in the first segment of a path would make it a scheme.
  return !avatar.substr(0, avatar.find_first_of("/?#")).contains(':');
}

bool acceptable_signature(std::string_view signature) {
  return signature.size() <= kSignatureBytesMax && printable(signature);
}

Taken ProfileEdit::avatar(Session& session, uint16_t sequence, Bytes body) {
  IM::Buddy::IMChangeAvatarReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const PayloadRef refusal = avatar_answer(session.user, sequence, kRefused);
  if (!acceptable_avatar(request.avatar_url())) {
    answer(session, refusal);
    return Taken::taken;
  }
  return change(
      session, {.avatar = std::move(*request.mutable_avatar_url())},
      [this, key = session.key, sequence, user = session.user](Result<store::User> stored) {
        on_avatar(key, sequence, user, std::move(stored));
      },
      refusal);
}

Taken ProfileEdit::signature(Session& session, uint16_t sequence, Bytes body) {
  IM::Buddy::IMChangeSignInfoReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const PayloadRef refusal = signature_answer(session.user, sequence, nullptr);
  if (!acceptable_signature(request.sign_info())) {
    answer(session, refusal);
    return Taken::taken;
  }
  return change(
      session, {.signature = std::move(*request.mutable_sign_info())},
      [this, key = session.key, sequence, user = session.user](Result<store::User> stored) {
        on_signature(key, sequence, user, std::move(stored));
      },
      refusal);
}

Taken ProfileEdit::change(Session& session, store::UserPatch patch,
                          store::Callback<store::User> done, const PayloadRef& refusal) {
  const auto asked = context_.store.update_user(session.user, std::move(patch), std::move(done));
  if (!asked && asked.error().code == Errc::full) return context_.stall(session);
  if (!asked) {
    answer(session, refusal);
    return Taken::taken;
  }
  ++asked_;
  session.busy = true;
  return Taken::taken;
}

void ProfileEdit::on_avatar(SessionKey asker, uint16_t sequence, UserId user,
                            Result<store::User> stored) {
  --asked_;
  answer_busy(context_, asker, avatar_answer(user, sequence, stored ? kStored : kRefused));
  if (!stored) return;
  const PayloadRef told = avatar_answer(user, 0, kStored);
  context_.users.each_session(user, [&](Session& other) {
    if (other.key != asker) push(context_, other, told);
  });
  IM::Buddy::IMAvatarChangedNotify notify;
  notify.set_changed_user_id(raw(user));
  notify.set_avatar_url(stored->avatar);
  news_.changed(user, ProfileField::avatar, frame_of(CommandId::avatar_changed_notify, 0, notify));
}

void ProfileEdit::on_signature(SessionKey asker, uint16_t sequence, UserId user,
                               Result<store::User> stored) {
  --asked_;
  answer_busy(context_, asker,
              signature_answer(user, sequence, stored ? &stored->signature : nullptr));
  if (!stored) return;
  IM::Buddy::IMSignInfoChangedNotify notify;
  notify.set_changed_user_id(raw(user));
  notify.set_sign_info(stored->signature);
  news_.changed(user, ProfileField::signature,
                frame_of(CommandId::sign_info_changed_notify, 0, notify));
}

}  // namespace ringtalk::shard
