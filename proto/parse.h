// Parse: a peer's bytes into a generated message, bounded and silent.
//
// Errors  false: the body is not the command's message, lacks a required field or is a memory bomb
//         (proto/prescan.h). The message then holds leftovers; do not read it.
// Why     the library's own ParseFromArray logs every missing field: a stranger could fill a disk.
#pragma once

#include <cstdint>
#include <limits>

#include "engine/base/bytes.h"
#include "proto/prescan.h"

namespace ringtalk::proto {

// Process-wide, once at start: protobuf writes nothing to stderr any more.
void silence_protobuf_log();

namespace detail {

// The one repeated uint32 field of a request, or 0. Growing it element by element could hold twelve
// bytes per packed one; with the room taken first it is four.
template <class M>
constexpr uint32_t ids_field_of() {
  if constexpr (requires(M& m) { m.mutable_user_id_list(); }) {
    return M::kUserIdListFieldNumber;
  } else if constexpr (requires(M& m) { m.mutable_member_id_list(); }) {
    return M::kMemberIdListFieldNumber;
  } else if constexpr (requires(M& m) { m.mutable_msg_id_list(); }) {
    return M::kMsgIdListFieldNumber;
  } else {
    return 0;
  }
}

template <class M>
void reserve_ids(M& message, uint32_t count) {
  if constexpr (requires { message.mutable_user_id_list(); }) {
    message.mutable_user_id_list()->Reserve(static_cast<int>(count));
  } else if constexpr (requires { message.mutable_member_id_list(); }) {
    message.mutable_member_id_list()->Reserve(static_cast<int>(count));
  } else if constexpr (requires { message.mutable_msg_id_list(); }) {
    message.mutable_msg_id_list()->Reserve(static_cast<int>(count));
  }
}

}  // namespace detail

template <class M>
bool parse(M& message, Bytes body) {
  if (body.size() > static_cast<size_t>(std::numeric_limits<int>::max())) return false;
  const auto shape = prescan(body, detail::ids_field_of<M>());
  if (!shape) return false;
  detail::reserve_ids(message, shape->ids);
  return message.ParsePartialFromArray(body.data(), static_cast<int>(body.size())) &&
         message.IsInitialized();
}

}  // namespace ringtalk::proto
