// ringtalkd: the server.
#include <cstdio>

#include "gateway/command_line.h"
#include "gateway/server.h"

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
