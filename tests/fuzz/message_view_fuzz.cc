// Fuzz: message_view and prescan against protobuf itself, for the same bytes.
//
// Input  a body, as it is.
// Check  verdict, every field and the re-encoded frame of 0x0301, 0x0302 and 0x0303; prescan calls
//        malformed what protobuf refuses, and nothing else. See tests/proto/view_oracle.h.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "proto/parse.h"
#include "tests/proto/view_oracle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool silent = (ringtalk::proto::silence_protobuf_log(), true);
  if (!silent || size > 64 * 1024) return 0;
  const auto what = ringtalk::test::compare_all(std::as_bytes(std::span(data, size)));
  if (!what.empty()) {
    std::fprintf(stderr, "differs: %s\n", what.c_str());
    std::abort();
  }
  return 0;
}
