#include "shard/extension.h"

#include "proto/parse.h"
#include "proto/utf8.h"
#include "shard/frames.h"
#include "shard/membership.h"

namespace ringtalk::shard {
namespace {

constexpr uint32_t kVersion  = 1;
constexpr uint32_t kFeatures = 0;  // ExtFeature bits that have commands here

}  // namespace

Taken hello(Context& context, Session& session, uint16_t sequence, Bytes body) {
  IM::Ext::Sys::ExtHelloReq request;
  if (!proto::parse(request, body)) return unparsable(context, session);
  const bool known = request.ext_version() >= kVersion;
  if (known) session.said_hello = true;
  IM::Ext::Sys::ExtHelloRsp response;
  response.set_user_id(raw(session.user));
  response.set_result_code(known ? IM::Ext::Sys::EXT_RESULT_OK : IM::Ext::Sys::EXT_RESULT_PARAM);
  response.set_ext_version(kVersion);
  response.set_features(known ? request.features() & kFeatures : 0);
  response.set_max_pdu(proto::kAnswerBytesMax);
  answer(session, frame_of(proto::CommandId::ext_hello_response, sequence, response));
  return Taken::taken;
}

void refuse(Context& context, Session* session, proto::CommandId command, uint16_t sequence,
            ExtResult result) {
  if (!session || !session->said_hello || !session->is_open()) return;
  IM::Ext::Sys::ExtError error;
  error.set_user_id(raw(session->user));
  error.set_result_code(result);
  error.set_command(raw(command));
  error.set_seq(sequence);
  context.metrics.add(Counter::frames_out);
  answer(*session, frame_of(proto::CommandId::ext_error, sequence, error));
}

ExtResult refusal_of(const Context& context, const Session& session,
                     const proto::MessageDataView& message) {
  const UserId to{message.to_session_id};
  if (proto::is_group(message.type)) {
    if (!context.memberships->find(session.user, GroupId(message.to_session_id)))
      return IM::Ext::Sys::EXT_RESULT_NOT_EXIST;
  } else if (to == session.user) {
    return IM::Ext::Sys::EXT_RESULT_PARAM;
  } else if (!context.directory.reachable(to)) {
    return IM::Ext::Sys::EXT_RESULT_NOT_EXIST;
  }
  const bool sound   = proto::is_audio(message.type);
  const size_t bytes = message.data.size();
  if (bytes > (sound ? kSoundBytesMax : kTextBytesMax)) return IM::Ext::Sys::EXT_RESULT_LIMIT;
  const auto characters = sound ? std::nullopt : proto::count_utf8_characters(message.data);
  if (characters && *characters > kTextCharactersMax) return IM::Ext::Sys::EXT_RESULT_LIMIT;
  return IM::Ext::Sys::EXT_RESULT_PARAM;
}

}  // namespace ringtalk::shard
