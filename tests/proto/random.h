// The seed of a randomised test: --seed=N, else a fixed one; printed when a test asks for it.
#pragma once

#include <cstdint>
#include <random>

namespace ringtalk::test {

uint64_t seed();  // defined in main.cc

class Random {
 public:
  explicit Random(uint64_t value) : engine_(value) {}

  // 0…bound - 1
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(engine_() % bound); }
  bool one_in(uint32_t n) { return below(n) == 0; }
  uint64_t next() { return engine_(); }

  // Numbers near the places where encodings change their length, and any others.
  uint32_t number() {
    const uint32_t power = uint32_t{1} << below(32);
    switch (below(4)) {
      case 0: return below(4);
      case 1: return power - 1;
      case 2: return power;
      default: return static_cast<uint32_t>(engine_());
    }
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace ringtalk::test
