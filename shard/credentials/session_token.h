// SessionToken: proof of an earlier login that outlives a restart and costs no argon2id.
//
//   OFFSET  SIZE  FIELD (before base64url without padding: 71 characters)
//   0       1     version, 1
//   1       4     user id, little-endian
//   5       8     password epoch, little-endian: grows when the password changes or the user is disabled
//   13      8     expiry, seconds since 1970, little-endian
//   21      32    keyed BLAKE2b-256 of the 21 bytes before; key = KDF(secret key, "rttoken1")
//
// Thread rule   const after construction: any thread.
// Cost          about 1 µs each way; no store access, no write.
// Errors        open(): malformed, refused (not ours), timeout (expired). The caller still compares user
//               and epoch with the store: only there is a token revoked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/result.h"
#include "proto/ids.h"
#include "shard/credentials/secret_key.h"

namespace ringtalk::shard {

inline constexpr size_t kSessionTokenCharacters = 71;
static_assert(kSessionTokenCharacters <= 128, "spec: IMLoginRes.session_token");

struct SessionToken {
  UserId user{};
  uint64_t password_epoch = 0;
  uint64_t expiry_s       = 0;  // wall clock

  friend bool operator==(const SessionToken&, const SessionToken&) = default;
};

class TokenSigner {
 public:
  explicit TokenSigner(const SecretKey& secret);

  std::string mint(const SessionToken& token) const;
  Result<SessionToken> open(std::string_view text, uint64_t wall_s) const;

 private:
  SecretKey key_;
};

}  // namespace ringtalk::shard
