// ringtalk-loadgen: the name is taken, the program is not written yet; it says so and does nothing.
#include <fmt/format.h>

#include <cstdio>
#include <string_view>

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    fmt::print("ringtalk-loadgen {}\n", RINGTALK_VERSION);
    return 0;
  }
  fmt::print(
      stderr,
      "ringtalk-loadgen: the load generator is not part of this version; ./dev bench measures\n");
  return 2;
}
