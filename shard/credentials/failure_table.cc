#include "shard/credentials/failure_table.h"

#include <sodium.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/base/assert.h"

namespace ringtalk::shard {
namespace {

constexpr std::array<unsigned char, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// Four bytes of IPv4, or the first eight of IPv6.
Bytes network_of(Bytes address) {
  RT_ASSERT(address.size() == 4 || address.size() == 16);
  if (address.size() == 4) return address;
  if (std::memcmp(address.data(), kMappedPrefix.data(), kMappedPrefix.size()) == 0)
    return address.subspan(12);
  return address.first(8);
}

uint64_t siphash(const unsigned char* input, size_t bytes, const std::byte* key) {
  uint64_t hash;
  static_assert(crypto_shorthash_BYTES == sizeof hash);
  crypto_shorthash(reinterpret_cast<unsigned char*>(&hash), input, bytes,
                   reinterpret_cast<const unsigned char*>(key));
  return hash;
}

}  // namespace

FailureTable::FailureTable(const FailureLimits& limits, engine::Random& random, uint64_t now_ns)
    : window_s_(limits.window_s),
      times_(limits.failures_max + 1),
      entry_words_(kKeyWords + times_),
      start_ns_(now_ns) {
  static_assert(crypto_shorthash_KEYBYTES == sizeof hash_key_);
  RT_ASSERT(sodium_init() >= 0);
  RT_ASSERT(limits.failures_max >= 1 && limits.failures_max <= 62);
  RT_ASSERT(limits.window_s >= 1);
  const uint64_t set_bytes = uint64_t{kWays} * entry_words_ * sizeof(uint32_t);
  sets_                    = std::bit_floor(std::max<uint64_t>(limits.memory_bytes / set_bytes, 1));
  // Looked up once per login: a TLB miss is nothing beside the check of a password.
  words_ = ZeroedArray<uint32_t>(sets_ * kWays * entry_words_, Pages::small);
  random.fill(hash_key_);
}

void FailureTable::record_failure(std::string_view name, Bytes address, uint64_t now_ns) {
  const uint64_t key = key_of(name, address);
  const size_t set   = set_of(key);
  uint32_t* victim   = entry(set, 0);
  for (uint32_t way = 0; way < kWays; ++way) {
    uint32_t* const candidate = entry(set, way);
    if (stored_key(candidate) == key) {
      victim = candidate;
      break;
    }
    if (candidate[kKeyWords] < victim[kKeyWords]) victim = candidate;  // a free one has 0
  }
  if (stored_key(victim) != key) {
    std::fill_n(victim, entry_words_, 0);
    victim[0] = static_cast<uint32_t>(key);
    victim[1] = static_cast<uint32_t>(key >> 32);
  }
  uint32_t* const times = victim + kKeyWords;
  std::memmove(times + 1, times, (times_ - 1) * sizeof *times);
  times[0] = second_of(now_ns);
}

// The oldest of the last failures_max + 1 failures is the last word: it alone decides.
bool FailureTable::too_many(std::string_view name, Bytes address, uint64_t now_ns) const {
  const uint32_t* const found = find(key_of(name, address));
  if (found == nullptr) return false;
  const uint32_t oldest = found[kKeyWords + times_ - 1];
  return oldest != 0 && second_of(now_ns) - oldest < window_s_;
}

void FailureTable::clear(std::string_view name, Bytes address) {
  const uint32_t* const found = find(key_of(name, address));
  if (found != nullptr) std::fill_n(const_cast<uint32_t*>(found), entry_words_, 0);
}

const uint32_t* FailureTable::find(uint64_t key) const {
  const size_t set = set_of(key);
  for (uint32_t way = 0; way < kWays; ++way)
    if (stored_key(entry(set, way)) == key) return entry(set, way);
  return nullptr;
}

// Address and name are hashed apart, so that no name can imitate another's address, and no length
// of a name needs a buffer.
uint64_t FailureTable::key_of(std::string_view name, Bytes address) const {
  const Bytes network = network_of(address);
  std::array<unsigned char, 8 + 8 + 1> input{};
  const uint64_t name_hash =
      siphash(reinterpret_cast<const unsigned char*>(name.data()), name.size(), hash_key_.data());
  std::memcpy(&input[0], &name_hash, 8);
  std::memcpy(&input[8], network.data(), network.size());
  input[16] = static_cast<unsigned char>(network.size());
  return siphash(input.data(), input.size(), hash_key_.data()) | 1;
}

// Rounded down and from 1. A uint32_t of seconds lasts 136 years of uptime.
uint32_t FailureTable::second_of(uint64_t now_ns) const {
  return now_ns < start_ns_ ? 1 : static_cast<uint32_t>((now_ns - start_ns_) / kNsPerS) + 1;
}

}  // namespace ringtalk::shard
