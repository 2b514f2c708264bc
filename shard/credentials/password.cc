#include "shard/credentials/password.h"

#include <openssl/evp.h>
#include <sodium.h>

#include <array>
#include <cerrno>
#include <charconv>

#include "engine/base/assert.h"

namespace ringtalk::shard {
namespace {

constexpr size_t kMd5HexBytes       = 32;
constexpr size_t kSaltBytes         = crypto_pwhash_argon2id_SALTBYTES;
constexpr size_t kHashBytes         = 32;
constexpr uint64_t kStoredKiBMax    = 256 * kKiB;  // 256 MiB; ours are 19 MiB
constexpr uint64_t kStoredPassesMax = 16;

bool number_between(std::string_view& text, std::string_view head, uint64_t max, uint64_t& value) {
  if (!text.starts_with(head)) return false;
  text.remove_prefix(head.size());
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return error == std::errc{} && value >= 1 && value <= max;
}

// $argon2id$v=19$m=…,t=…,p=1$salt$hash, the cost within bounds.
bool cost_is_bearable(std::string_view stored) {
  uint64_t value;
  if (stored.size() >= crypto_pwhash_argon2id_STRBYTES) return false;
  for (char c : stored)  // libsodium 1.0.18 reads bytes above 127 as if they were base64's 'A'
    if (static_cast<unsigned char>(c) > 127) return false;
  return number_between(stored, "$argon2id$v=19$m=", kStoredKiBMax, value) &&
         number_between(stored, ",t=", kStoredPassesMax, value) &&
         number_between(stored, ",p=", 1, value) && stored.starts_with('$');
}

std::string base64(const unsigned char* bytes, size_t count) {
  constexpr int kVariant = sodium_base64_VARIANT_ORIGINAL_NO_PADDING;
  std::string text(sodium_base64_encoded_len(count, kVariant), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes, count, kVariant);
  text.pop_back();  // the terminator
  return text;
}

std::string md5hex_of_two(std::string_view first, std::string_view second) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned bytes      = 0;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  RT_ASSERT(context != nullptr);
  const bool done = EVP_DigestInit_ex(context, EVP_md5(), nullptr) == 1 &&
                    EVP_DigestUpdate(context, first.data(), first.size()) == 1 &&
                    EVP_DigestUpdate(context, second.data(), second.size()) == 1 &&
                    EVP_DigestFinal_ex(context, digest.data(), &bytes) == 1;
  EVP_MD_CTX_free(context);
  // A FIPS-only OpenSSL has no MD5; then no client of this protocol can be served at all.
  RT_ASSERT(done && bytes == kMd5HexBytes / 2);
  std::string text(2 * bytes + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), digest.data(), bytes);
  text.pop_back();
  return text;
}

// The text is built here, not by crypto_pwhash_str(), because the salt must come from `random`.
Result<std::string> hash_bytes(std::string_view secret, engine::Random& random, PasswordCost cost) {
  RT_ASSERT(sodium_init() >= 0);
  std::array<unsigned char, kSaltBytes> salt;
  std::array<unsigned char, kHashBytes> hash;
  random.fill(std::as_writable_bytes(std::span(salt)));
  errno = 0;
  if (crypto_pwhash(hash.data(), hash.size(), secret.data(), secret.size(), salt.data(),
                    cost.passes, cost.memory_bytes, crypto_pwhash_ALG_ARGON2ID13) != 0)
    return fail_os(errno != 0 ? errno : ENOMEM);
  return "$argon2id$v=19$m=" + std::to_string(cost.memory_bytes / kKiB) +
         ",t=" + std::to_string(cost.passes) + ",p=1$" + base64(salt.data(), salt.size()) + "$" +
         base64(hash.data(), hash.size());
}

}  // namespace

bool is_md5hex(std::string_view text) {
  if (text.size() != kMd5HexBytes) return false;
  for (char c : text)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  return true;
}

std::string md5hex_of(std::string_view plain) { return md5hex_of_two(plain, {}); }

Result<std::string> argon2id_hash(std::string_view md5hex, engine::Random& random,
                                  PasswordCost cost) {
  if (!is_md5hex(md5hex)) return fail(Errc::malformed);
  return hash_bytes(md5hex, random, cost);
}

bool argon2id_verify(std::string_view stored, std::string_view md5hex) {
  if (!is_md5hex(md5hex) || !cost_is_bearable(stored)) return false;
  RT_ASSERT(sodium_init() >= 0);
  std::array<char, crypto_pwhash_argon2id_STRBYTES> text{};
  stored.copy(text.data(), text.size() - 1);
  return crypto_pwhash_argon2id_str_verify(text.data(), md5hex.data(), md5hex.size()) == 0;
}

bool legacy_verify(std::string_view md5hex, std::string_view stored, std::string_view salt) {
  if (!is_md5hex(md5hex) || !is_md5hex(stored)) return false;
  const std::string computed = md5hex_of_two(md5hex, salt);
  return sodium_memcmp(computed.data(), stored.data(), kMd5HexBytes) == 0;
}

// 32 random bytes are the password: no md5hex equals them but with probability 2^-128.
Result<std::string> dummy_hash(engine::Random& random, PasswordCost cost) {
  std::array<char, 32> secret;
  random.fill(std::as_writable_bytes(std::span(secret)));
  secret[0] = '\0';  // and no hex digit: not even then
  return hash_bytes({secret.data(), secret.size()}, random, cost);
}

PasswordVerdict verify_password(const StoredPassword& stored, std::string_view md5hex,
                                std::string_view dummy) {
  if (!is_md5hex(md5hex)) return PasswordVerdict::wrong;  // says nothing about the name
  const bool has_own      = cost_is_bearable(stored.argon2id);
  const bool own_right    = argon2id_verify(has_own ? stored.argon2id : dummy, md5hex);
  const bool legacy_right = legacy_verify(md5hex, stored.legacy_md5, stored.legacy_salt);
  if (has_own) return own_right ? PasswordVerdict::right : PasswordVerdict::wrong;
  // A row that has an argon2id text which cannot be read was upgraded once: the old form is void.
  return legacy_right && stored.argon2id.empty() ? PasswordVerdict::right_upgrade
                                                 : PasswordVerdict::wrong;
}

}  // namespace ringtalk::shard
