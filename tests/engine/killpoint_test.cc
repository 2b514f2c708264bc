// Goal: a process with the variable set dies by SIGKILL at exactly the passage named, else lives.
// Method: sites register before main, so every case runs this program again with the variable set;
// the child prints one dot per passage.
#include "engine/killpoint.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace ringtalk::engine {
namespace {

std::string own_path;

inline void pass_in_inline_function() { Killpoint<"second">::pass(); }

int run_child() {
  for (int i = 0; i < 5; ++i) {
    Killpoint<"first">::pass();
    pass_in_inline_function();
    Killpoint<"second">::pass();  // the same name at another site: one count
    std::fputs(".", stdout);
    std::fflush(stdout);
  }
  std::fputs(killpoint_problem().c_str(), stdout);
  return 0;
}

struct Outcome {
  std::string output;
  int signal;
};

Outcome child_with(const char* variable) {
  const std::string command =
      std::string("RINGTALK_KILLPOINT='") + variable + "' exec " + own_path + " --child";
  std::FILE* pipe = popen(command.c_str(), "r");
  std::string output;
  for (int c; (c = std::fgetc(pipe)) != EOF;) output += static_cast<char>(c);
  const int status = pclose(pipe);
  return {output, WIFSIGNALED(status) ? WTERMSIG(status) : 0};
}

void expect_killed(const char* variable, const char* output) {
  const Outcome outcome = child_with(variable);
  EXPECT_EQ(outcome.signal, SIGKILL) << variable;
  EXPECT_EQ(outcome.output, output) << variable;
}

TEST(Killpoint, DiesAtTheNamedPassage) {
  expect_killed("first", "");
  expect_killed("first:1", "");
  expect_killed("first:3", "..");
  expect_killed("second:1", "");
  expect_killed("second:2", "");
  expect_killed("second:3", ".");
  expect_killed("second:10", "....");
}

TEST(Killpoint, LivesWhenNeverReached) {
  EXPECT_EQ(child_with("first:6").output, ".....");
  EXPECT_EQ(child_with("").output, ".....");
}

TEST(Killpoint, ImpossibleTargetsAreNamed) {
  EXPECT_NE(child_with("third").output.find("no such kill-point"), std::string::npos);
  for (const char* count : {"first:", "first:0", "first:x", "first:2x", "first:-1"})
    EXPECT_NE(child_with(count).output.find("must be a number"), std::string::npos) << count;
}

TEST(Killpoint, EveryNameOnceAndSorted) {
  EXPECT_EQ(list_killpoints(), (std::vector<std::string_view>{"first", "second"}));
}

}  // namespace
}  // namespace ringtalk::engine

int main(int argc, char** argv) {
  ringtalk::engine::own_path = argv[0];
  if (argc > 1 && std::strcmp(argv[1], "--child") == 0) return ringtalk::engine::run_child();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
