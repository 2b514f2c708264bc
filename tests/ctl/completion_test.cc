#include "tools/ctl/completion.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>

namespace ringtalk::ctl {
namespace {

// What bash offers when the last word is being typed.
std::string offered(const CLI::App& app, const std::string& line) {
  const std::string path = testing::TempDir() + "ringtalk-completion.sh";
  std::ofstream(path) << bash_completion(app) << "read -r -a COMP_WORDS <<< '" + line + "'\n"
                      << (line.ends_with(' ') ? "COMP_WORDS+=('')\n" : "")
                      << "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_tool\n"
                      << "printf '%s\\n' \"${COMPREPLY[@]}\" | sort | tr '\\n' ' '\n";
  std::string out(4096, '\0');
  std::FILE* bash = popen(("bash " + path).c_str(), "r");
  out.resize(std::fread(out.data(), 1, out.size(), bash));
  EXPECT_EQ(pclose(bash), 0);
  std::remove(path.c_str());
  while (out.ends_with(' ')) out.pop_back();
  return out;
}

class CompletionTest : public testing::Test {
 protected:
  CompletionTest() {
    app.name("tool");
    app.set_help_flag();
    app.add_option("--door", text, "where");
    app.add_option("--data", text, "directory")->type_name("DIR");
    app.add_flag("--json", flag, "form");
    app.fallthrough();
    CLI::App* user = app.add_subcommand("user", "people");
    CLI::App* add  = user->add_subcommand("add", "one");
    add->add_option("NAME", text, "name");
    add->add_option("--kind", text, "which")->check(CLI::IsMember({"small", "large"}));
    add->add_option("--secret", text, "hidden")->group("");
    user->add_subcommand("list", "all");
    CLI::App* load = app.add_subcommand("load", "a file");
    load->add_option("FILE", text, "file")->type_name("FILE");
    app.add_subcommand("hidden", "none of your business")->group("");
  }
  CLI::App app;
  std::string text;
  bool flag = false;
};

TEST_F(CompletionTest, VerbsAndOptionsOfEachLevel) {
  EXPECT_EQ(offered(app, "tool "), "--data --door --json load user");
  EXPECT_EQ(offered(app, "tool us"), "user");
  EXPECT_EQ(offered(app, "tool user "), "--data --door --json add list");
  EXPECT_EQ(offered(app, "tool user add --k"), "--kind");
  EXPECT_EQ(offered(app, "tool user list --"), "--data --door --json");
  EXPECT_EQ(offered(app, "tool user add --s"), "");
  EXPECT_EQ(offered(app, "tool hid"), "");
}

TEST_F(CompletionTest, ValuesOfOptions) {
  EXPECT_EQ(offered(app, "tool user add --kind "), "large small");
  EXPECT_EQ(offered(app, "tool user add --kind s"), "small");
  EXPECT_EQ(offered(app, "tool --door "), "");
  EXPECT_EQ(offered(app, "tool user add --door "), "");
  EXPECT_EQ(offered(app, "tool --data /us"), "/usr");
  EXPECT_NE(offered(app, "tool load /etc/hostn").find("/etc/hostname"), std::string::npos);
}

TEST_F(CompletionTest, AValueIsNoVerb) {
  EXPECT_EQ(offered(app, "tool --door user u"), "user");
  EXPECT_EQ(offered(app, "tool user add user --k"), "--kind");
  EXPECT_EQ(offered(app, "tool --json user a"), "add");
}

}  // namespace
}  // namespace ringtalk::ctl
