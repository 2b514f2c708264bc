#include "tools/ctl/effective.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace ringtalk::ctl {
namespace {

class EffectiveTest : public testing::Test {
 protected:
  std::string file = testing::TempDir() + "ringtalk-effective.toml";
  void write(std::string_view text) { std::ofstream(file) << text; }
  void TearDown() override { std::remove(file.c_str()); }

  static EffectiveValue value_of(const Effective& effective, std::string_view path) {
    for (const EffectiveValue& value : effective.values) {
      if (value.path == path) return value;
    }
    return {};
  }
};

TEST_F(EffectiveTest, EveryValueHasAnOrigin) {
  write("shards = 2\n\n[limits]\nsends_per_second = 7\nsends_burst = 9\n");
  const Effective read = read_effective(file, {{"RINGTALK_LIMITS_SENDS_BURST", "11"}});
  ASSERT_TRUE(read.errors.empty());
  EXPECT_EQ(value_of(read, "shards").value, "2");
  EXPECT_EQ(value_of(read, "shards").origin, file + ":1");
  EXPECT_EQ(value_of(read, "limits.sends_per_second").origin, file + ":4");
  EXPECT_EQ(value_of(read, "limits.sends_burst").value, "11");
  EXPECT_EQ(value_of(read, "limits.sends_burst").origin, "RINGTALK_LIMITS_SENDS_BURST");
  EXPECT_EQ(value_of(read, "listen").value, "\"127.0.0.1:8000\"");
  EXPECT_EQ(value_of(read, "listen").origin, "default");
  EXPECT_EQ(value_of(read, "login.allowed_states").value, "[0]");
  gateway::Settings settings;
  EXPECT_EQ(read.values.size(), gateway::settings_schema(settings).settings().size());
}

TEST_F(EffectiveTest, ErrorsNameFileAndLine) {
  write("shards = 1\nno_such_key = 1\n[limits]\nsends_burst = \"x\"\n");
  const Effective read = read_effective(file, {});
  ASSERT_EQ(read.errors.size(), 2U);
  EXPECT_EQ(read.errors[0].rfind(file + ":", 0), 0U) << read.errors[0];
  EXPECT_TRUE(read.values.empty());
  EXPECT_FALSE(read_effective(file + ".none", {}).errors.empty());
  write("[[[\n");
  EXPECT_FALSE(read_effective(file, {}).errors.empty());
}

TEST_F(EffectiveTest, ConflictsAreErrorsToo) {
  write("listen = \"127.0.0.1:8080\"\n");
  EXPECT_FALSE(read_effective(file, {}).errors.empty());
}

TEST_F(EffectiveTest, SecretsAreKnownByName) {
  engine::Setting setting{.key = "mysql_password", .kind = engine::SettingKind::text};
  EXPECT_TRUE(is_secret(setting));
  setting.key = "password_threads";
  EXPECT_TRUE(is_secret(setting));
  setting.kind = engine::SettingKind::number;
  EXPECT_FALSE(is_secret(setting));
  setting = {.key = "listen", .kind = engine::SettingKind::text};
  EXPECT_FALSE(is_secret(setting));
}

}  // namespace
}  // namespace ringtalk::ctl
