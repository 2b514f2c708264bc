// Random: the only source of randomness.
//
// Thread rule   SystemRandom from any thread; SeededRandom belongs to one.
// Why           an interface, so that one seed replays a whole simulation. SeededRandom is
//               xoshiro256**: good for tests and load, never for secrets.
#pragma once

#include <array>
#include <cstdint>

#include "engine/base/bytes.h"

namespace ringtalk::engine {

class Random {
 public:
  virtual ~Random() = default;

  virtual void fill(MutableBytes to) = 0;
  virtual uint64_t next();

  // 0…bound-1, each equally likely. bound must not be 0.
  uint64_t below(uint64_t bound);
};

// getrandom(2). Blocks only before the kernel's pool is first seeded, early at boot.
class SystemRandom final : public Random {
 public:
  void fill(MutableBytes to) override;
};

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed);
  void fill(MutableBytes to) override;
  uint64_t next() override;

 private:
  std::array<uint64_t, 4> state_;
};

}  // namespace ringtalk::engine
