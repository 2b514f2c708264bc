#include "engine/random.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "engine/base/assert.h"

namespace ringtalk::engine {

uint64_t Random::next() {
  uint64_t value;
  fill(std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

// Source: Lemire, "Fast random integer generation in an interval", 2019: one multiplication, and a
// division only in the rare case that decides about rejection.
uint64_t Random::below(uint64_t bound) {
  RT_ASSERT(bound != 0);
  unsigned __int128 product = static_cast<unsigned __int128>(next()) * bound;
  if (static_cast<uint64_t>(product) < bound) {
    const uint64_t reject_below = (0 - bound) % bound;
    while (static_cast<uint64_t>(product) < reject_below)
      product = static_cast<unsigned __int128>(next()) * bound;
  }
  return static_cast<uint64_t>(product >> 64);
}

void SystemRandom::fill(MutableBytes to) {
  while (!to.empty()) {
    const ssize_t bytes = getrandom(to.data(), to.size(), 0);
    if (bytes < 0 && errno == EINTR) continue;
    RT_ASSERT(bytes > 0);  // ENOSYS came with Linux 3.17; nothing else is possible
    to = to.subspan(static_cast<size_t>(bytes));
  }
}

// Source: splitmix64 spreads the seed, as the authors of xoshiro advise; no state is all zero.
SeededRandom::SeededRandom(uint64_t seed) {
  for (uint64_t& word : state_) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t z = seed;
    z          = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z          = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    word       = z ^ (z >> 31);
  }
}

uint64_t SeededRandom::next() {  // xoshiro256**, Blackman and Vigna 2018
  const uint64_t result  = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

void SeededRandom::fill(MutableBytes to) {
  while (!to.empty()) {
    const uint64_t word = next();
    const size_t bytes  = std::min(to.size(), sizeof word);
    std::memcpy(to.data(), &word, bytes);
    to = to.subspan(bytes);
  }
}

}  // namespace ringtalk::engine
