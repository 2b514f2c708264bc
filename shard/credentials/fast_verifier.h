// FastVerifier: remembers in memory which password a user last proved, so that a reconnect storm
// costs no argon2id.
//
// Thread rule   one shard.
// Bound         sets of 4 entries of 32 B, taken at construction; a full set forgets the entry that
//               expires first, whose user then pays one argon2id.
// Cost          one keyed BLAKE2b, about 0.5 µs.
// Safety        holds a keyed hash, not the password; the key is made at each start and never leaves.
//               A changed password epoch or 24 h make an entry void.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/units.h"
#include "engine/random.h"
#include "proto/ids.h"

namespace ringtalk::shard {

class FastVerifier {
 public:
  static constexpr uint64_t kLifetimeNs = 24 * 3600 * kNsPerS;

  // users: how many should fit; rounded up to a power of two, at least 4.
  FastVerifier(uint32_t users, engine::Random& random);

  void remember(UserId user, uint64_t password_epoch, std::string_view md5hex, uint64_t now_ns);
  // False means: unknown here, ask argon2id.
  bool matches(UserId user, uint64_t password_epoch, std::string_view md5hex,
               uint64_t now_ns) const;
  void forget(UserId user);

  size_t memory_bytes() const { return sets_.size() * sizeof(Set); }

 private:
  using Hash = std::array<unsigned char, 16>;
  struct Entry {
    uint64_t expiry_ns = 0;
    UserId user{};  // 0: free
    Hash hash{};
  };
  static constexpr uint32_t kWays = 4;
  using Set                       = std::array<Entry, kWays>;
  static_assert(sizeof(Entry) == 32);

  size_t set_of(UserId user) const;
  Hash hash_of(UserId user, uint64_t password_epoch, std::string_view md5hex) const;

  std::array<std::byte, 32> key_;
  std::vector<Set> sets_;
};

}  // namespace ringtalk::shard
