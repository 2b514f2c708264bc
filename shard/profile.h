// Profile: a user's row as clients read it.
//
// Bound  A profile is at most kProfileBytesMax on the wire, whatever a row inserted by hand holds.
// Why    Texts of old databases may be no UTF-8; C++ clients let that pass, Java and Dart throw.
#pragma once

#include <string>
#include <string_view>

#include "proto/base_define.pb.h"
#include "proto/utf8.h"
#include "store/store.h"

namespace ringtalk::shard {

inline constexpr size_t kProfileBytesMax = 1200;

// At most `bytes_max` bytes, cut at a character; what is no UTF-8 is shown as question marks.
inline std::string shown(std::string_view text, size_t bytes_max) {
  if (text.size() > bytes_max) {
    while (bytes_max > 0 && (text[bytes_max] & 0xc0) == 0x80) --bytes_max;
    text = text.substr(0, bytes_max);
  }
  std::string result(text);
  if (proto::valid_utf8(as_bytes(text))) return result;
  for (char& c : result)
    if (c & 0x80) c = '?';
  return result;
}

// `status`: in a login answer always 0, elsewhere the row's.
inline void fill(IM::BaseDefine::UserInfo& info, const store::User& user, uint32_t status) {
  constexpr size_t kName = 32 * 4;  // 32 characters
  info.set_user_id(raw(user.id));
  info.set_user_gender(user.sex);
  info.set_user_nick_name(shown(user.nick, kName));
  info.set_avatar_url(shown(user.avatar, 255));
  info.set_department_id(user.department);
  info.set_email(shown(user.email, 256));
  info.set_user_real_name(shown(user.name, kName));
  info.set_user_tel(shown(user.phone, 44));
  info.set_user_domain(shown(user.domain, kName));
  info.set_status(status);
  info.set_sign_info(shown(user.signature, 128));
}

}  // namespace ringtalk::shard
