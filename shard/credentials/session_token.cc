#include "shard/credentials/session_token.h"

#include <sodium.h>

#include <array>
#include <cstring>

#include "engine/base/assert.h"
#include "engine/base/bytes.h"

namespace ringtalk::shard {
namespace {

constexpr int kVariant           = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
constexpr size_t kBodyBytes      = 21;
constexpr size_t kMacBytes       = 32;
constexpr size_t kTokenBytes     = kBodyBytes + kMacBytes;
constexpr unsigned char kVersion = 1;

static_assert(sodium_base64_ENCODED_LEN(kTokenBytes, kVariant) == kSessionTokenCharacters + 1);
static_assert(crypto_kdf_KEYBYTES == std::tuple_size_v<SecretKey>);

// libsodium 1.0.18 reads bytes above 127 as if they were 'A': they are refused before.
bool is_ascii(std::string_view text) {
  for (char c : text)
    if (static_cast<unsigned char>(c) > 127) return false;
  return true;
}

using Mac = std::array<unsigned char, kMacBytes>;

Mac mac_of(const unsigned char* body, const SecretKey& key) {
  Mac mac;
  const int result =
      crypto_generichash(mac.data(), mac.size(), body, kBodyBytes,
                         reinterpret_cast<const unsigned char*>(key.data()), key.size());
  RT_ASSERT(result == 0);
  return mac;
}

}  // namespace

TokenSigner::TokenSigner(const SecretKey& secret) {
  RT_ASSERT(sodium_init() >= 0);
  crypto_kdf_derive_from_key(reinterpret_cast<unsigned char*>(key_.data()), key_.size(), 1,
                             "rttoken1", reinterpret_cast<const unsigned char*>(secret.data()));
}

std::string TokenSigner::mint(const SessionToken& token) const {
  std::array<unsigned char, kTokenBytes> bytes;
  const uint32_t user = raw(token.user);
  bytes[0]            = kVersion;
  std::memcpy(&bytes[1], &user, sizeof user);
  std::memcpy(&bytes[5], &token.password_epoch, sizeof token.password_epoch);
  std::memcpy(&bytes[13], &token.expiry_s, sizeof token.expiry_s);
  const Mac mac = mac_of(bytes.data(), key_);
  std::memcpy(&bytes[kBodyBytes], mac.data(), mac.size());
  std::string text(kSessionTokenCharacters + 1, '\0');
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(), kVariant);
  text.pop_back();
  return text;
}

Result<SessionToken> TokenSigner::open(std::string_view text, uint64_t wall_s) const {
  std::array<unsigned char, kTokenBytes> bytes;
  size_t size = 0;
  if (text.size() != kSessionTokenCharacters || !is_ascii(text)) return fail(Errc::malformed);
  if (sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(), nullptr, &size,
                        nullptr, kVariant) != 0)
    return fail(Errc::malformed);
  if (size != kTokenBytes) return fail(Errc::malformed);
  const Mac mac = mac_of(bytes.data(), key_);
  if (sodium_memcmp(mac.data(), &bytes[kBodyBytes], mac.size()) != 0) return fail(Errc::refused);
  if (bytes[0] != kVersion) return fail(Errc::unsupported);
  const SessionToken token{.user           = UserId(load_native<uint32_t>(&bytes[1])),
                           .password_epoch = load_native<uint64_t>(&bytes[5]),
                           .expiry_s       = load_native<uint64_t>(&bytes[13])};
  if (token.expiry_s <= wall_s) return fail(Errc::timeout);
  return token;
}

}  // namespace ringtalk::shard
