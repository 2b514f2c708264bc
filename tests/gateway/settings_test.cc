#include "gateway/settings.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>

#include "gateway/command_line.h"

namespace ringtalk::gateway {
namespace {

const std::string kConfPath = RT_SOURCE_ROOT "/conf/ringtalk.toml";

std::string read_all(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Invocation run(std::vector<const char*> flags,
               std::map<std::string, std::string> environment = {}) {
  flags.insert(flags.begin(), "ringtalkd");
  return read_command_line(static_cast<int>(flags.size()), flags.data(), environment);
}

struct TempFile {
  explicit TempFile(const std::string& text) { std::ofstream(path) << text; }
  ~TempFile() { std::remove(path.c_str()); }
  const std::string path = testing::TempDir() + "ringtalk_settings_test.toml";
};

TEST(Conf, IsTheSchemaWithItsDefaults) {
  EXPECT_EQ(read_all(kConfPath), settings_toml(Settings()))
      << "renew it: ringtalkd --check-config > conf/ringtalk.toml";
}

TEST(Conf, LoadsAndEqualsTheDefaults) {
  const Invocation loaded = run({"--config", kConfPath.c_str()});
  ASSERT_TRUE(loaded.run) << loaded.error;
  EXPECT_EQ(settings_toml(loaded.settings), settings_toml(Settings()));
}

// Read by eye, so to speak: lines, not the parser that wrote them.
TEST(Conf, NamesAndExplainsEveryKeyExactlyOnce) {
  std::istringstream text(read_all(kConfPath));
  std::string section, previous;
  std::multiset<std::string> seen;
  for (std::string line; std::getline(text, line); previous = line) {
    EXPECT_LE(line.size(), 110u) << line;
    if (line.starts_with("[")) section = line.substr(1, line.size() - 2);
    const size_t equals = line.find(" = ");
    if (line.starts_with("#") || equals == std::string::npos) continue;
    seen.insert(section.empty() ? line.substr(0, equals) : section + "." + line.substr(0, equals));
    EXPECT_TRUE(previous.starts_with("# ") && previous.find("efault") != std::string::npos) << line;
  }
  Settings settings;
  std::multiset<std::string> wanted;
  const engine::ConfigSchema schema = settings_schema(settings);
  for (const engine::Setting& setting : schema.settings()) {
    wanted.insert(setting.path());
    EXPECT_GE(setting.doc.size(), 10u) << setting.path();
  }
  EXPECT_EQ(seen, wanted);
}

// A row of the table in docs/CONFIGURE.md.
std::string table_row(const engine::Setting& setting) {
  std::string doc;
  for (const char c : setting.doc) {
    if (c == '<')
      doc += "&lt;";
    else if (c == '|')
      doc += "\\|";
    else
      doc += c == '\n' ? ' ' : c;
  }
  return "| `" + setting.path() + "` | `" + setting.default_text() + "` | " + setting.range_text() +
         " | " + (setting.reloads ? "reload" : "restart") + " | " + doc + " |";
}

TEST(Configure, ThePageHasEveryKeyAsItIsAndNoOther) {
  Settings settings;
  const engine::ConfigSchema schema = settings_schema(settings);
  std::vector<std::string> wanted, found;
  for (const engine::Setting& setting : schema.settings()) wanted.push_back(table_row(setting));
  std::istringstream page(read_all(RT_SOURCE_ROOT "/docs/CONFIGURE.md"));
  for (std::string line; std::getline(page, line);)
    if (line.starts_with("| `")) found.push_back(line);
  for (const std::string& row : wanted)
    EXPECT_NE(std::ranges::find(found, row), found.end()) << "missing: " << row;
  for (const std::string& row : found)
    EXPECT_NE(std::ranges::find(wanted, row), wanted.end()) << "stale: " << row;
  EXPECT_EQ(found.size(), wanted.size());
}

TEST(Settings, DefaultsAreThoseOfTheSpecification) {
  const Settings settings;
  EXPECT_EQ(settings.listen.text(), "127.0.0.1:8000");
  EXPECT_EQ(settings.http.text(), "127.0.0.1:8080");
  EXPECT_TRUE(settings.listen.is_loopback() && settings.http.is_loopback());
  EXPECT_EQ(settings.data_dir, "var/ringtalk");
  EXPECT_EQ(settings.limits.push_queue_bytes, 262'144u);
  EXPECT_EQ(settings.limits.idle_pc_s, 120u);
  EXPECT_EQ(settings.limits.idle_mobile_s, 300u);
  EXPECT_EQ(settings.login.wrong_passwords_max, 10u);
  EXPECT_EQ(settings.login.wrong_password_window_s, 1800u);
  EXPECT_EQ(settings.login.allowed_states, (std::vector<int64_t>{0}));
}

TEST(CommandLine, NothingGivenRunsOnDefaults) {
  const Invocation invocation = run({});
  EXPECT_TRUE(invocation.run);
  EXPECT_TRUE(invocation.error.empty());
}

TEST(CommandLine, EveryFlagReachesItsSetting) {
  const Invocation invocation = run({"--data-dir", "/x", "--listen", "0.0.0.0:1", "--http=[::1]:0",
                                     "--shards", "4", "--ports-file", "p.json"});
  ASSERT_TRUE(invocation.run) << invocation.error;
  EXPECT_EQ(invocation.settings.data_dir, "/x");
  EXPECT_EQ(invocation.settings.listen.text(), "0.0.0.0:1");
  EXPECT_EQ(invocation.settings.http.text(), "[::1]:0");
  EXPECT_EQ(invocation.settings.shards, 4u);
  EXPECT_EQ(invocation.settings.ports_file, "p.json");
}

TEST(CommandLine, FlagOverEnvironmentOverFile) {
  const TempFile file("data_dir = 'file'\nshards = 2\n[limits]\nidle_pc_s = 60\n");
  const std::map<std::string, std::string> environment{{"RINGTALK_DATA_DIR", "environment"},
                                                       {"RINGTALK_SHARDS", "3"}};
  const Invocation invocation =
      run({"--config", file.path.c_str(), "--data-dir", "flag"}, environment);
  ASSERT_TRUE(invocation.run) << invocation.error;
  EXPECT_EQ(invocation.settings.data_dir, "flag");
  EXPECT_EQ(invocation.settings.shards, 3u);
  EXPECT_EQ(invocation.settings.limits.idle_pc_s, 60u);

  std::ofstream(file.path) << "shards = 2\n[limits]\nidle_pc_s = 90\n";
  Settings reloaded;
  EXPECT_TRUE(reload_settings(invocation, environment, reloaded).ok());
  EXPECT_EQ(reloaded.limits.idle_pc_s, 90u);
  EXPECT_EQ(reloaded.data_dir, "flag");
  std::ofstream(file.path) << "shard = 2\n";
  EXPECT_FALSE(reload_settings(invocation, environment, reloaded).ok());
  EXPECT_EQ(reloaded.limits.idle_pc_s, 90u);
}

TEST(CommandLine, FileMayBeNamedByTheEnvironment) {
  const TempFile file("shards = 7\n");
  EXPECT_EQ(run({}, {{"RINGTALK_CONFIG", file.path}}).settings.shards, 7u);
  EXPECT_EQ(run({}, {{"RINGTALK_CONFIG", "/nonexistent"}}).exit_code, 2);
}

TEST(CommandLine, MistakesExitWith2AndSayAll) {
  const Invocation bad = run({"--shards", "999", "--listen", "8000", "--http", "host:1"});
  EXPECT_FALSE(bad.run);
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_NE(bad.error.find("--shards: shards: 999 is outside 0…256"), std::string::npos);
  EXPECT_NE(bad.error.find("--listen: listen: HOST:PORT"), std::string::npos);
  EXPECT_NE(bad.error.find("--http: http: the host must"), std::string::npos);
  for (std::vector<const char*> flags :
       std::vector<std::vector<const char*>>{{"--nonsense"},
                                             {"extra"},
                                             {"--shards"},
                                             {"--data-dir", ""},
                                             {"--config", "/nonexistent"},
                                             {"--listen", "127.0.0.1:9", "--http", "127.0.0.1:9"},
                                             {"--shards", "1", "--shards", "2"}}) {
    const Invocation invocation = run(flags);
    EXPECT_FALSE(invocation.run) << flags[0];
    EXPECT_EQ(invocation.exit_code, 2) << flags[0];
    EXPECT_FALSE(invocation.error.empty()) << flags[0];
  }
}

TEST(CommandLine, UnknownKeysNameFileAndLine) {
  const TempFile file("shards = 1\n[limits]\nidle_pcs = 60\n");
  const Invocation invocation = run({"--config", file.path.c_str()});
  EXPECT_EQ(invocation.exit_code, 2);
  EXPECT_EQ(invocation.error, "ringtalkd: " + file.path + ":3: unknown key limits.idle_pcs\n");
}

TEST(CommandLine, ConflictsAreErrors) {
  EXPECT_EQ(run({}, {{"RINGTALK_LOGIN_ALLOWED_STATES", ""}}).exit_code, 2);
  EXPECT_EQ(run({}, {{"RINGTALK_STORE_SEGMENT_BYTES", "4096"}}).exit_code, 2);
  EXPECT_TRUE(run({}, {{"RINGTALK_STORE_SEGMENT_BYTES", "1 MiB"}}).run);
}

TEST(CommandLine, CheckConfigPrintsWhatIsInForce) {
  const Invocation invocation = run({"--check-config", "--shards", "3"}, {{"RINGTALK_TYPO", "1"}});
  EXPECT_FALSE(invocation.run);
  EXPECT_EQ(invocation.exit_code, 0);
  EXPECT_NE(invocation.output.find("\nshards = 3\n"), std::string::npos);
  EXPECT_NE(invocation.output.find("default 0. RINGTALK_SHARDS"), std::string::npos);
  EXPECT_NE(invocation.error.find("warning: RINGTALK_TYPO"), std::string::npos);
  const TempFile file(invocation.output);
  EXPECT_EQ(run({"--check-config", "--config", file.path.c_str()}).output, invocation.output);
}

TEST(CommandLine, VersionHelpAndKillpointsExit0) {
  EXPECT_EQ(run({"--version"}).output.find("ringtalkd "), 0u);
  EXPECT_EQ(run({"--version"}).exit_code, 0);
  EXPECT_NE(run({"--help"}).output.find("--ports-file"), std::string::npos);
  EXPECT_EQ(run({"--help"}).exit_code, 0);
  EXPECT_EQ(run({"--list-killpoints"}).exit_code, 0);
  EXPECT_FALSE(run({"--list-killpoints"}).run);
}

}  // namespace
}  // namespace ringtalk::gateway
