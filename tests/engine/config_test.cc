#include "engine/config.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "engine/random.h"

namespace ringtalk::engine {
namespace {

struct Fields {
  Address listen{"127.0.0.1", 8000};
  std::string name         = "plain";
  uint32_t count           = 5;
  uint64_t size            = 64 * 1024;
  bool flag                = false;
  std::string level        = "info";
  std::vector<int64_t> ids = {0};
  std::vector<std::string> hosts;

  void bind(ConfigSchema& schema) {
    schema.address("listen", listen, "Where.");
    schema.text("name", name, {1, 40}, "Who.");
    schema.section("limits", "Bounds.");
    schema.number("count", count, {0, 100}, "How many.\nSecond line.");
    schema.bytes("size", size, {1024, 1 << 30}, "How much.");
    schema.boolean("flag", flag, "Whether.");
    schema.section("other", "Rest.");
    schema.choice("level", level, {"info", "warn"}, "Level.");
    schema.numbers("ids", ids, {0, 9}, "Ids.");
    schema.texts("hosts", hosts, {1, 9}, "Hosts.");
    schema.ignore_variable("RINGTALK_CONFIG");
  }
};

struct Loaded : Fields {
  explicit Loaded(std::string_view toml, ConfigSources sources = {}) {
    bind(schema);
    sources.file = "test.toml";
    report       = schema.load_text(toml, sources);
  }
  bool has_error(std::string_view text) const {
    for (const std::string& error : report.errors)
      if (error.find(text) != std::string::npos) return true;
    return false;
  }
  ConfigSchema schema;
  ConfigReport report;
};

TEST(Config, EmptyFileMeansDefaults) {
  const Loaded config("");
  EXPECT_TRUE(config.report.ok());
  EXPECT_EQ(config.count, 5u);
  EXPECT_EQ(config.listen.text(), "127.0.0.1:8000");
}

TEST(Config, EveryKindIsRead) {
  const Loaded config(R"(
listen = "[::1]:0"
name = "a \"b\""
[limits]
count = 100
size = "3 MiB"
flag = true
[other]
level = "warn"
ids = [1, 2, 3]
hosts = ["x", "y"]
)");
  ASSERT_TRUE(config.report.ok()) << config.report.errors.front();
  EXPECT_EQ(config.listen, (Address{"::1", 0}));
  EXPECT_EQ(config.name, "a \"b\"");
  EXPECT_EQ(config.count, 100u);
  EXPECT_EQ(config.size, 3u << 20);
  EXPECT_TRUE(config.flag);
  EXPECT_EQ(config.level, "warn");
  EXPECT_EQ(config.ids, (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(config.hosts, (std::vector<std::string>{"x", "y"}));
}

TEST(Config, FlagOverEnvironmentOverFileOverDefault) {
  const std::string file = "name = 'file'\n[limits]\ncount = 1\nsize = 2048\n";
  const Loaded config(file, {.environment = {{"RINGTALK_NAME", "environment"},
                                             {"RINGTALK_LIMITS_COUNT", "2"},
                                             {"RINGTALK_LIMITS_FLAG", "1"},
                                             {"RINGTALK_OTHER_IDS", "4, 5"}},
                             .flags       = {{"name", "flag"}}});
  ASSERT_TRUE(config.report.ok()) << config.report.errors.front();
  EXPECT_EQ(config.name, "flag");
  EXPECT_EQ(config.count, 2u);
  EXPECT_EQ(config.size, 2048u);
  EXPECT_TRUE(config.flag);
  EXPECT_EQ(config.ids, (std::vector<int64_t>{4, 5}));
  EXPECT_EQ(config.level, "info");
}

TEST(Config, AllErrorsAtOnceWithFileAndLineAndNothingIsStored) {
  const Loaded config(
      "name = 7\n"
      "nmae = \"x\"\n"
      "[limits]\n"
      "count = 101\n"
      "size = \"1 XB\"\n"
      "flag = 1\n"
      "[other]\n"
      "ids = [1, \"a\"]\n"
      "level = \"loud\"\n"
      "[more]\n"
      "x = 1\n",
      {.environment = {{"RINGTALK_LISTEN", "example.org:1"}}, .flags = {{"listen", "nowhere"}}});
  EXPECT_EQ(config.report.errors.size(), 10u);
  EXPECT_TRUE(config.has_error("test.toml:1: name: a text is expected"));
  EXPECT_TRUE(config.has_error("test.toml:2: unknown key nmae"));
  EXPECT_TRUE(config.has_error("test.toml:4: limits.count: 101 is outside 0…100"));
  EXPECT_TRUE(config.has_error("test.toml:5: limits.size: an integer or a text like"));
  EXPECT_TRUE(config.has_error("test.toml:6: limits.flag: true or false"));
  EXPECT_TRUE(config.has_error("test.toml:8: other.ids: a list of integers"));
  EXPECT_TRUE(config.has_error("test.toml:9: other.level: must be one of info, warn"));
  EXPECT_TRUE(config.has_error("test.toml:10: unknown key more"));
  EXPECT_TRUE(config.has_error("RINGTALK_LISTEN: listen: the host must be"));
  EXPECT_TRUE(config.has_error("--listen: listen: HOST:PORT is expected"));
  EXPECT_EQ(config.name, "plain");
  EXPECT_EQ(config.count, 5u);
}

TEST(Config, SyntaxErrorsNameTheLine) {
  EXPECT_TRUE(Loaded("name = 'a'\nname = 'b'\n").has_error("test.toml:2: "));
  EXPECT_TRUE(Loaded("[limits\n").has_error("test.toml:1: "));
  EXPECT_TRUE(Loaded("limits = 3\n").has_error("test.toml:1: limits is a section"));
  EXPECT_TRUE(Loaded("[limits.count]\nx = 1\n").has_error("limits.count: an integer"));
  EXPECT_TRUE(Loaded("name = \"\xff\"\n").has_error("test.toml:1"));
}

TEST(Config, ReloadableKeysAreMarkedInTheManual) {
  uint32_t count = 1, other = 2;
  ConfigSchema schema;
  schema.section("limits", "Limits.");
  schema.number("count", count, {0, 9}, "A count.");
  schema.number("other", other, {0, 9}, "Another.");
  schema.reloadable({"limits.count"});
  EXPECT_TRUE(schema.settings()[0].reloads);
  EXPECT_FALSE(schema.settings()[1].reloads);
  EXPECT_EQ(schema.settings()[0].range_text(), "0…9");
  EXPECT_EQ(schema.settings()[0].default_text(), "1");
  const std::string text = schema.to_toml();
  EXPECT_NE(text.find("# Range 0…9, default 1. RINGTALK_LIMITS_COUNT. Reloadable.\ncount = 1\n"),
            std::string::npos);
  EXPECT_NE(text.find("# Range 0…9, default 2. RINGTALK_LIMITS_OTHER\nother = 2\n"),
            std::string::npos);
  EXPECT_DEATH(schema.reloadable({"limits.counts"}), "");
}

TEST(Config, UnknownVariablesAreWarned) {
  const Loaded config("",
                      {.environment = {{"RINGTALK_LIMIT_COUNT", "1"}, {"RINGTALK_CONFIG", "x"}}});
  EXPECT_TRUE(config.report.ok());
  ASSERT_EQ(config.report.warnings.size(), 1u);
  EXPECT_NE(config.report.warnings[0].find("RINGTALK_LIMIT_COUNT"), std::string::npos);
}

TEST(Config, NumbersAtTheirBounds) {
  for (const char* text : {"-1", "101", "1.5", "9223372036854775807", "\"5\"", "true", "[5]"})
    EXPECT_FALSE(Loaded(std::string("[limits]\ncount = ") + text).report.ok()) << text;
  for (const char* text : {"", " 5", "5 ", "0x5", "5e1", "-1", "99999999999999999999"})
    EXPECT_FALSE(Loaded("", {.environment = {{"RINGTALK_LIMITS_COUNT", text}}}).report.ok())
        << text;
  EXPECT_EQ(Loaded("[limits]\ncount = 0").count, 0u);
  for (const char* text : {"9223372036854775807 KiB", "1 KiB KiB", "KiB", "-1 MiB", "1kb", "2 GiB"})
    EXPECT_FALSE(Loaded("", {.environment = {{"RINGTALK_LIMITS_SIZE", text}}}).report.ok()) << text;
  EXPECT_EQ(Loaded("", {.environment = {{"RINGTALK_LIMITS_SIZE", "1GiB"}}}).size, 1u << 30);
  EXPECT_EQ(Loaded("", {.environment = {{"RINGTALK_LIMITS_SIZE", "2048B"}}}).size, 2048u);
}

TEST(Config, TextsAreBoundedAndFreeOfControls) {
  EXPECT_TRUE(Loaded("name = ''").has_error("must not be empty"));
  EXPECT_TRUE(Loaded("name = '" + std::string(41, 'x') + "'").has_error("41 bytes long"));
  EXPECT_TRUE(Loaded("name = \"a\\u0007\"").has_error("control character"));
}

TEST(Config, PrintedFormIsReadBackEqual) {
  const Loaded config("name = 'a\\b\"c'\n[limits]\nsize = 1536\n[other]\nhosts = ['p', 'q\"']\n");
  ASSERT_TRUE(config.report.ok());
  const std::string printed = config.schema.to_toml("Head\n\nof file");
  EXPECT_TRUE(printed.starts_with("# Head\n#\n# of file\n"));
  EXPECT_NE(printed.find("# How many.\n# Second line.\n# Range 0…100, default 5. "
                         "RINGTALK_LIMITS_COUNT\ncount = 5\n"),
            std::string::npos)
      << printed;
  const Loaded again(printed);
  ASSERT_TRUE(again.report.ok()) << again.report.errors.front();
  EXPECT_EQ(again.schema.to_toml("Head\n\nof file"), printed);
}

TEST(Config, GarbageIsRefusedWithoutHarm) {
  SeededRandom random(9);
  const std::string good = Loaded("").schema.to_toml();
  for (size_t bytes = 0; bytes < good.size(); ++bytes) Loaded(good.substr(0, bytes));
  for (int i = 0; i < 2000; ++i) {
    std::string text = good;
    for (uint64_t n = random.below(4) + 1; n > 0; --n)
      text[random.below(text.size())] = static_cast<char>(random.next());
    const Loaded config(text);
    EXPECT_TRUE(config.report.ok() || config.name == "plain");
  }
}

TEST(Config, FilesThatCannotBeReadAreNamed) {
  Fields fields;
  ConfigSchema schema;
  fields.bind(schema);
  EXPECT_NE(schema.load({.file = "/nonexistent/x.toml"})
                .errors.at(0)
                .find("/nonexistent/x.toml: No such"),
            std::string::npos);
  EXPECT_NE(schema.load({.file = "/tmp"}).errors.at(0).find("not a regular file"),
            std::string::npos);
  const std::string path = testing::TempDir() + "ringtalk_config_test.toml";
  std::ofstream(path) << "[limits]\ncount = 9\n";
  EXPECT_TRUE(schema.load({.file = path}).ok());
  EXPECT_EQ(fields.count, 9u);
  std::ofstream(path) << std::string(2 << 20, '#');
  EXPECT_NE(schema.load({.file = path}).errors.at(0).find("larger than"), std::string::npos);
  std::remove(path.c_str());
}

TEST(Address, OnlyLiteralHostsAndRealPorts) {
  Address address;
  std::string problem;
  for (const char* text : {"", ":", ":80", "1.2.3.4", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:-1",
                           "1.2.3.4:65536", "1.2.3:80", "host:80", "::1:80", "[::1]", "[::1:80",
                           "[1.2.3.4]:80", "1.2.3.4:80 ", " 1.2.3.4:80", "1.2.3.4:+80"}) {
    EXPECT_FALSE(parse_address(text, address, problem)) << text;
    EXPECT_FALSE(problem.empty());
  }
  ASSERT_TRUE(parse_address("localhost:80", address, problem));
  EXPECT_EQ(address.text(), "127.0.0.1:80");
  EXPECT_TRUE(address.is_loopback());
  ASSERT_TRUE(parse_address("[fe80::1]:65535", address, problem));
  EXPECT_EQ(address.text(), "[fe80::1]:65535");
  EXPECT_FALSE(address.is_loopback());
  ASSERT_TRUE(parse_address("0.0.0.0:0", address, problem));
  EXPECT_FALSE(address.is_loopback());
}

TEST(Environment, OnlyOurVariables) {
  setenv("RINGTALK_X_TEST", "a=b", 1);
  const auto variables = read_environment();
  EXPECT_EQ(variables.at("RINGTALK_X_TEST"), "a=b");
  for (const auto& [name, value] : variables) EXPECT_TRUE(name.starts_with("RINGTALK_"));
}

}  // namespace
}  // namespace ringtalk::engine
