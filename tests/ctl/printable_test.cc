#include "tools/ctl/printable.h"

#include <gtest/gtest.h>

#include <random>

#include "proto/utf8.h"

namespace ringtalk::ctl {
namespace {

TEST(Printable, LeavesTextAlone) {
  for (const std::string_view text : {"", "hello", "Grüße, 你好, привет 🙂", "a\\n", "¡ÿ"}) {
    EXPECT_EQ(escaped(text), text);
  }
}

TEST(Printable, ShowsWhatATerminalWouldObey) {
  EXPECT_EQ(escaped("\x1b]0;owned\x07"), "\\x1b]0;owned\\x07");
  EXPECT_EQ(escaped("a\rb\nc\td"), "a\\rb\\nc\\td");
  EXPECT_EQ(escaped(std::string_view("\0\x7f", 2)), "\\x00\\x7f");
  EXPECT_EQ(escaped("\xc2\x9b"
                    "31m"),
            "\\u009b31m");  // C1: control sequence introducer
  EXPECT_EQ(escaped("\xe2\x80\xae"
                    "abc"),
            "\\u202eabc");                        // right to left
  EXPECT_EQ(escaped("\xe2\x80\xa8"), "\\u2028");  // line separator
  EXPECT_EQ(escaped("\x9b"
                    "31m"),
            "\\x9b31m");  // 8-bit control, no UTF-8
}

TEST(Printable, InvalidBytesAreShownOneByOne) {
  EXPECT_EQ(escaped("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(escaped("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // surrogate
  EXPECT_EQ(escaped("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(escaped("\xe4\xbd"), "\\xe4\\xbd");  // cut
  EXPECT_EQ(escaped("\xe0\x80\xaf"), "\\xe0\\x80\\xaf");
}

// Whatever comes in: one line of valid UTF-8 without a control byte comes out.
TEST(Printable, RandomBytesComeOutHarmless) {
  std::mt19937 random(11);
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (size_t size = random() % 12; text.size() < size;) text += static_cast<char>(random());
    const std::string safe = escaped(text);
    ASSERT_TRUE(proto::valid_utf8(as_bytes(safe)));
    for (const char c : safe) ASSERT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    ASSERT_EQ(escaped(safe), safe);
  }
}

// The decoder here agrees with the strict one of proto.
TEST(Printable, ValidMeansWhatTheProtocolMeans) {
  std::mt19937 random(13);
  for (int round = 0; round < 50'000; ++round) {
    std::string text;
    for (size_t size = 1 + random() % 4; text.size() < size;) {
      text += static_cast<char>(random() % 3 == 0 ? random() : 0x80 | (random() & 0x7f));
    }
    bool valid = true;
    for (std::string_view rest = text; !rest.empty();) {
      const CodePoint point = first_code_point(rest);
      valid                 = valid && point.valid;
      rest.remove_prefix(point.bytes);
    }
    ASSERT_EQ(valid, proto::valid_utf8(as_bytes(text))) << escaped(text);
  }
}

TEST(Printable, Columns) {
  EXPECT_EQ(column_width("abc"), 3U);
  EXPECT_EQ(column_width("你好"), 4U);
  EXPECT_EQ(column_width("e\xcc\x81"), 1U);  // e and a combining accent
  EXPECT_EQ(column_width("🙂"), 2U);
}

}  // namespace
}  // namespace ringtalk::ctl
