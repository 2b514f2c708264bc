// gtest with one flag of ours: --seed=N replays a randomised run.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "proto/parse.h"
#include "tests/proto/random.h"

namespace {
uint64_t g_seed = 20240229;
}

namespace ringtalk::test {
uint64_t seed() {
  std::printf("seed %llu\n", static_cast<unsigned long long>(g_seed));
  return g_seed;
}
}  // namespace ringtalk::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    constexpr std::string_view kFlag = "--seed=";
    if (std::string_view(argv[i]).starts_with(kFlag)) {
      g_seed = std::strtoull(argv[i] + kFlag.size(), nullptr, 10);
    }
  }
  ringtalk::proto::silence_protobuf_log();
  return RUN_ALL_TESTS();
}
