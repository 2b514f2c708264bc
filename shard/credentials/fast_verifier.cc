#include "shard/credentials/fast_verifier.h"

#include <sodium.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/base/assert.h"
#include "shard/credentials/password.h"

namespace ringtalk::shard {

FastVerifier::FastVerifier(uint32_t users, engine::Random& random)
    : sets_(std::bit_ceil(std::max(users, kWays)) / kWays) {
  RT_ASSERT(sodium_init() >= 0);
  random.fill(key_);
}

void FastVerifier::remember(UserId user, uint64_t password_epoch, std::string_view md5hex,
                            uint64_t now_ns) {
  RT_ASSERT(raw(user) != 0);
  RT_ASSERT(is_md5hex(md5hex));
  Set& set      = sets_[set_of(user)];
  Entry* victim = &set[0];
  for (Entry& entry : set) {
    if (entry.user == user) {
      victim = &entry;
      break;
    }
    if (entry.expiry_ns < victim->expiry_ns) victim = &entry;  // a free one has 0
  }
  *victim = {now_ns + kLifetimeNs, user, hash_of(user, password_epoch, md5hex)};
}

bool FastVerifier::matches(UserId user, uint64_t password_epoch, std::string_view md5hex,
                           uint64_t now_ns) const {
  if (raw(user) == 0 || !is_md5hex(md5hex)) return false;
  for (const Entry& entry : sets_[set_of(user)]) {
    if (entry.user != user) continue;
    if (now_ns >= entry.expiry_ns) return false;
    const Hash hash = hash_of(user, password_epoch, md5hex);
    return sodium_memcmp(hash.data(), entry.hash.data(), hash.size()) == 0;
  }
  return false;
}

void FastVerifier::forget(UserId user) {
  if (raw(user) == 0) return;
  for (Entry& entry : sets_[set_of(user)])
    if (entry.user == user) entry = {};
}

// User ids of one shard share low bits of their hash; this one is of its own.
size_t FastVerifier::set_of(UserId user) const {
  return (raw(user) * 0x9e3779b97f4a7c15ull >> 32) & (sets_.size() - 1);
}

FastVerifier::Hash FastVerifier::hash_of(UserId user, uint64_t password_epoch,
                                         std::string_view md5hex) const {
  std::array<unsigned char, 4 + 8 + 32> input;
  const uint32_t id = raw(user);
  std::memcpy(&input[0], &id, 4);
  std::memcpy(&input[4], &password_epoch, 8);
  std::memcpy(&input[12], md5hex.data(), 32);
  Hash hash;
  crypto_generichash(hash.data(), hash.size(), input.data(), input.size(),
                     reinterpret_cast<const unsigned char*>(key_.data()), key_.size());
  sodium_memzero(input.data(), input.size());
  return hash;
}

}  // namespace ringtalk::shard
