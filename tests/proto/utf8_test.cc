#include "proto/utf8.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/proto/random.h"

namespace ringtalk::proto {
namespace {

// The slow twin: decodes by the definition and judges the number, not the bytes.
std::optional<size_t> model_count(std::string_view text) {
  size_t count = 0;
  for (size_t i = 0; i < text.size(); ++count) {
    const auto lead = static_cast<uint8_t>(text[i]);
    size_t length   = 0;
    uint32_t point  = 0;
    if (lead < 0x80) {
      length = 1, point = lead;
    } else if ((lead & 0xe0) == 0xc0) {
      length = 2, point = lead & 0x1f;
    } else if ((lead & 0xf0) == 0xe0) {
      length = 3, point = lead & 0x0f;
    } else if ((lead & 0xf8) == 0xf0) {
      length = 4, point = lead & 0x07;
    } else {
      return std::nullopt;
    }
    if (i + length > text.size()) return std::nullopt;
    for (size_t k = 1; k < length; ++k) {
      const auto b = static_cast<uint8_t>(text[i + k]);
      if ((b & 0xc0) != 0x80) return std::nullopt;
      point = point << 6 | (b & 0x3f);
    }
    constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < kSmallest[length] || point > 0x10ffff) return std::nullopt;
    if (point >= 0xd800 && point <= 0xdfff) return std::nullopt;
    i += length;
  }
  return count;
}

TEST(Utf8, CountsCodePoints) {
  EXPECT_EQ(count_utf8_characters({}), 0u);
  EXPECT_EQ(count_utf8_characters(as_bytes("plain ascii, more than eight bytes")), 34u);
  EXPECT_EQ(count_utf8_characters(as_bytes("成功")), 2u);
  EXPECT_EQ(count_utf8_characters(as_bytes("\xf0\x9f\x98\x80 a")), 3u);
  EXPECT_EQ(count_utf8_characters(as_bytes(std::string_view("a\0b", 3))), 3u)
      << "NUL is a character";
}

TEST(Utf8, RefusesWhatStrictClientsRefuse) {
  for (const std::string_view bad :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xed\xa0\x80",
        "\xed\xbf\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xff", "\xfe", "\xc3", "\xe4\xb8", "\xf0\x9f\x98", "\xc3\x28",
        "\xe4\x28\xad"}) {
    EXPECT_FALSE(valid_utf8(as_bytes(bad))) << testing::PrintToString(bad);
    for (size_t before = 0; before < 20; ++before) {  // at every place inside an ASCII stride
      EXPECT_FALSE(valid_utf8(as_bytes(std::string(before, 'a') + std::string(bad) + "tail tail")));
    }
  }
}

TEST(Utf8, EveryOneToThreeByteStringLikeTheModel) {
  for (uint32_t a = 0; a < 0x1000000; a += a < 0x10000 ? 1 : 3) {
    const char bytes[3] = {static_cast<char>(a >> 16), static_cast<char>(a >> 8),
                           static_cast<char>(a)};
    const std::string_view text(bytes, 3);
    ASSERT_EQ(count_utf8_characters(as_bytes(text)), model_count(text)) << a;
  }
}

TEST(Utf8, RandomTextsLikeTheModel) {
  test::Random random(test::seed());
  const std::string_view pieces[] = {
      "a", "abcdefgh", "é", "中", "\xf0\x9f\x98\x80", "\xed\xa0", "\xf4\x8f\xbf\xbf", "\x80"};
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (uint32_t i = random.below(12); i > 0; --i)
      text += pieces[random.below(random.one_in(4) ? 8 : 5)];
    if (random.one_in(4) && !text.empty()) {
      text[random.below(static_cast<uint32_t>(text.size()))] = static_cast<char>(random.next());
    }
    ASSERT_EQ(count_utf8_characters(as_bytes(text)), model_count(text))
        << testing::PrintToString(text);
  }
}

}  // namespace
}  // namespace ringtalk::proto
