// ProfileEdit: 0x020c and 0x0213, a user's own avatar and signature.
//
//   ask ─ the store, where the user's sync stamp moves ─ the answer ─ ProfileNews tells everybody
//
// Rules  0x020d goes to all of the user's connections when it says success, else only to the one that
//        asked; 0x0214 always only to that one.
// Order  The session is busy until its answer is queued.
// Errors Result 1: a value that no client may be given, or storage failed. Nobody else is told.
// Why    Everybody gets these texts, and strict clients throw at what is no UTF-8: one bad value would
//        disconnect them all. An avatar is opened by clients, so other schemes than http are refused;
//        and a backslash, since a Windows client would ask whatever host it names for the file.
#pragma once

#include <string_view>

#include "proto/command.h"
#include "shard/context.h"

namespace ringtalk::shard {

class ProfileNews;

inline constexpr size_t kAvatarBytesMax    = 255;
inline constexpr size_t kSignatureBytesMax = 128;

// Empty, a path or an http(s) URL.
bool acceptable_avatar(std::string_view avatar);
// Any text, HTML too.
bool acceptable_signature(std::string_view signature);

class ProfileEdit {
 public:
  ProfileEdit(Context& context, ProfileNews& news) : context_(context), news_(news) {}

  Taken avatar(Session& session, uint16_t sequence, Bytes body);
  Taken signature(Session& session, uint16_t sequence, Bytes body);

  bool idle() const { return asked_ == 0; }

 private:
  Taken change(Session& session, store::UserPatch patch, store::Callback<store::User> done,
               const engine::PayloadRef& refusal);
  void on_avatar(SessionKey asker, uint16_t sequence, UserId user, Result<store::User> stored);
  void on_signature(SessionKey asker, uint16_t sequence, UserId user, Result<store::User> stored);

  Context& context_;
  ProfileNews& news_;
  uint32_t asked_ = 0;  // calls that the store has not answered
};

}  // namespace ringtalk::shard
