// ringtalkd: the server.
#include <cstdio>

#include "gateway/command_line.h"
#include "gateway/server.h"

// jemalloc reads it before main(). Its default returns every block above 8 MiB to the kernel at once; a
// sealed segment's footer is that large, and half the worker's time went into pages it had just given
// back.
extern "C" __attribute__((visibility("default"))) const char* malloc_conf;
const char* malloc_conf = "oversize_threshold:0";

int main(int argc, char** argv) {
  const auto invocation =
      ringtalk::gateway::read_command_line(argc, argv, ringtalk::engine::read_environment());
  std::fputs(invocation.output.c_str(), stdout);
  std::fputs(invocation.error.c_str(), stderr);
  if (!invocation.run) return invocation.exit_code;
  for (const std::string& warning : invocation.warnings)
    std::fprintf(stderr, "ringtalkd: warning: %s\n", warning.c_str());
  return ringtalk::gateway::run_server(invocation);
}
