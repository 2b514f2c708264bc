#include "proto/text_codec.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>

namespace ringtalk::proto {
namespace {

// Made by stock clients under the key that all of them carry.
constexpr std::pair<std::string_view, std::string_view> kVectors[] = {
    {"hello", "nnZSBwfPCz60q69ddmfIJA=="},
    {"[语音]", "QhGXlpFjvMFUNrtl1aaPzA=="},
    {"0123456789ab", "pjioVtcJuh77LuSiew7aJw=="},
    {"0123456789abc", "TAzR6N1CfvlADH+XckBekQr+GZ43+2mMfQMFqTsGBjY="},
    {"0123456789abcdef", "BY1wZOT9JPljcE5qNjw9cQfU6OB7fpsvZh6GP3dYB9g="},
};

TEST(TextCodec, StockClientsVectors) {
  const TextCodec codec;
  for (const auto& [plain, sealed] : kVectors) {
    EXPECT_EQ(codec.encrypt(plain), sealed);
    EXPECT_EQ(codec.decrypt(sealed), plain);
  }
}

TEST(TextCodec, EveryLengthComesBack) {
  const TextCodec codec;
  for (size_t size = 0; size <= 200; ++size) {
    std::string plain;
    for (size_t i = 0; i < size; ++i) plain += static_cast<char>(i * 37 + size);
    const std::string sealed = codec.encrypt(plain);
    // Four length bytes always fit: 12 → one block, 13 → two, 28 → two, 29 → three.
    EXPECT_EQ(sealed.size(), ((size + 4 + 15) / 16 * 16 + 2) / 3 * 4) << size;
    ASSERT_EQ(codec.decrypt(sealed), plain) << size;
  }
}

TEST(TextCodec, TheLongestTextFillsTheColumn) {
  const TextCodec codec;
  EXPECT_EQ(codec.encrypt(std::string(kPlainTextBytesMax, 'x')).size(), kContentCharactersMax);
  EXPECT_GT(codec.encrypt(std::string(kPlainTextBytesMax + 1, 'x')).size(), kContentCharactersMax);
}

TEST(TextCodec, AnotherKeyReadsNothing) {
  const std::string sealed = TextCodec().encrypt("hello");
  EXPECT_NE(TextCodec("abcdefghijklmnopqrstuvwxyz012345").decrypt(sealed), "hello");
}

TEST(TextCodec, RefusesWhatIsNotBase64) {
  const TextCodec codec;
  for (const std::string_view text :
       {"", " ", "=", "====", "hello", "nnZSBwfPCz60q69ddmfIJA=", "nnZSBwfPCz60q69ddmfIJA",
        "nnZSBwfPCz60q69ddmfIJA==\n", " nnZSBwfPCz60q69ddmfIJA==", "nnZSBwfPCz60q69d\ndmfIJA==",
        "nnZSBwfPCz60q69ddmfIJ===", "=nZSBwfPCz60q69ddmfIJA==", "nnZS====nnZSBwfPCz60q69ddmfI",
        "nnZSBwfPCz60q69ddmf-JA==", "nnZSBwfPCz60q69ddmfIJA==nnZSBwfPCz60q69ddmfIJA=="}) {
    EXPECT_EQ(codec.decrypt(text), std::nullopt) << text;
  }
}

TEST(TextCodec, RefusesWhatIsNoWholeNumberOfBlocks) {
  EXPECT_EQ(TextCodec().decrypt("AAAA"), std::nullopt);                  // 3 bytes
  EXPECT_EQ(TextCodec().decrypt("AAAAAAAAAAAAAAAAAAAA"), std::nullopt);  // 15 bytes
}

// Goal: a length field beyond its block never reads out of bounds. Method: random blocks, whose length
// field is random after decryption, and every bit flip and truncation of a good content.
TEST(TextCodec, GarbageIsRefusedOrShort) {
  const TextCodec codec;
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::mt19937 random(7);
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (int i = 0; i < 64; ++i) text += alphabet[random() % alphabet.size()];  // 48 bytes
    const auto plain = codec.decrypt(text);
    if (plain) {
      EXPECT_LE(plain->size(), 44U);
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, 19'000);

  const std::string good = codec.encrypt("0123456789abcdef");
  for (size_t cut = 0; cut < good.size(); ++cut) {
    const auto plain = codec.decrypt(good.substr(0, cut));
    EXPECT_LE(plain.value_or("").size(), 12U);
  }
  for (size_t i = 0; i < good.size() * 8; ++i) {
    std::string bent = good;
    bent[i / 8]      = static_cast<char>(bent[i / 8] ^ (1 << (i % 8)));
    const auto plain = codec.decrypt(bent);
    EXPECT_LE(plain.value_or("").size(), 28U);
  }
}

}  // namespace
}  // namespace ringtalk::proto
