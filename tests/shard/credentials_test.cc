#include "shard/credentials.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <vector>

namespace ringtalk::shard {
namespace {

using engine::SeededRandom;

// The smallest cost libsodium takes; one test runs at the real one.
constexpr PasswordCost kCheap{.passes = 1, .memory_bytes = 8 * kKiB};

// Source: spec/data.md section 6.
const std::string kMd5    = "cc03e747a6afbbcbf8be7668acfebee5";  // of test123
const std::string kLegacy = "4e66e8c029d64e67f7aadf045ca45851";  // with salt 1234

std::vector<std::string> not_md5hex() {
  std::vector<std::string> texts{"",
                                 kMd5 + "0",
                                 "CC03E747A6AFBBCBF8BE7668ACFEBEE5",
                                 kMd5.substr(0, 31) + "g",
                                 kMd5.substr(0, 31) + '\0',
                                 std::string(1'000'000, 'a')};
  for (size_t bytes = 0; bytes < 32; ++bytes) texts.push_back(kMd5.substr(0, bytes));
  return texts;
}

TEST(Md5Hex, FollowsTheVector) { EXPECT_EQ(md5hex_of("test123"), kMd5); }

TEST(LegacyPassword, FollowsTheVector) {
  EXPECT_TRUE(legacy_verify(kMd5, kLegacy, "1234"));
  EXPECT_FALSE(legacy_verify(kMd5, kLegacy, "1235"));
  EXPECT_FALSE(legacy_verify(kMd5, kLegacy, ""));
  EXPECT_FALSE(legacy_verify(kLegacy, kLegacy, "1234"));
}

TEST(LegacyPassword, EmptyOrMalformedNeverMatches) {
  EXPECT_FALSE(legacy_verify(kMd5, "", ""));
  EXPECT_FALSE(legacy_verify("", "", ""));
  for (const std::string& text : not_md5hex()) {
    EXPECT_FALSE(legacy_verify(text, kLegacy, "1234"));
    EXPECT_FALSE(legacy_verify(text, md5hex_of(text + "1234"), "1234"));
    EXPECT_FALSE(legacy_verify(kMd5, text, "1234"));
  }
}

TEST(Argon2id, RealCostMatchesOnlyItsPassword) {
  SeededRandom random(1);
  const auto stored = argon2id_hash(kMd5, random);
  ASSERT_TRUE(stored);
  EXPECT_TRUE(stored->starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
  EXPECT_LE(stored->size(), 128u);
  EXPECT_TRUE(argon2id_verify(*stored, kMd5));
  EXPECT_FALSE(argon2id_verify(*stored, kLegacy));
}

TEST(Argon2id, SaltComesFromTheGivenRandom) {
  SeededRandom a(1), b(1), c(2);
  const std::string first = argon2id_hash(kMd5, a, kCheap).value();
  EXPECT_EQ(first, argon2id_hash(kMd5, b, kCheap).value());
  EXPECT_NE(first, argon2id_hash(kMd5, c, kCheap).value());
  EXPECT_NE(first, argon2id_hash(kMd5, b, kCheap).value());
}

TEST(Argon2id, DamagedTextNeverMatches) {
  SeededRandom random(3);
  const std::string stored = argon2id_hash(kMd5, random, kCheap).value();
  ASSERT_TRUE(argon2id_verify(stored, kMd5));
  for (size_t bytes = 0; bytes < stored.size(); ++bytes)
    EXPECT_FALSE(argon2id_verify(stored.substr(0, bytes), kMd5)) << bytes;
  for (size_t at = 0; at < stored.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = stored;
      flipped[at]         = static_cast<char>(flipped[at] ^ (1 << bit));
      EXPECT_FALSE(argon2id_verify(flipped, kMd5)) << at << " " << bit;
    }
  EXPECT_FALSE(argon2id_verify(stored + "x", kMd5));
  EXPECT_FALSE(argon2id_verify(stored + std::string(100'000, 'x'), kMd5));
}

TEST(Argon2id, ACostThatWouldOccupyTheMachineIsRefused) {
  const std::string tail = "$MfD7rCM1gLfysQFRjlE49A$N8B3ofdu+DF+KmzSbu/2c8PbA92RqynrJeuWtJfwOpk";
  for (const char* cost : {"m=4194304,t=2,p=1", "m=19456,t=4294967295,p=1", "m=19456,t=2,p=255",
                           "m=0,t=2,p=1", "m=-1,t=2,p=1", "m=99999999999999999999,t=2,p=1"})
    EXPECT_FALSE(argon2id_verify(std::string("$argon2id$v=19$") + cost + tail, kMd5)) << cost;
}

TEST(Argon2id, MalformedPasswordsAreNotHashed) {
  SeededRandom random(4);
  for (const std::string& text : not_md5hex()) {
    EXPECT_EQ(argon2id_hash(text, random, kCheap).error().code, Errc::malformed);
    EXPECT_FALSE(argon2id_verify("$argon2id$", text));
  }
}

struct VerifyPassword : testing::Test {
  SeededRandom random{5};
  const std::string dummy  = dummy_hash(random, kCheap).value();
  const std::string stored = argon2id_hash(kMd5, random, kCheap).value();
};

TEST_F(VerifyPassword, PrefersTheStrongForm) {
  EXPECT_EQ(verify_password({stored, "", ""}, kMd5, dummy), PasswordVerdict::right);
  EXPECT_EQ(verify_password({stored, kLegacy, "1234"}, kMd5, dummy), PasswordVerdict::right);
  EXPECT_EQ(verify_password({stored, "", ""}, kLegacy, dummy), PasswordVerdict::wrong);
  // The old form must not open an account whose password has since been changed.
  const std::string other = argon2id_hash(kLegacy, random, kCheap).value();
  EXPECT_EQ(verify_password({other, kLegacy, "1234"}, kMd5, dummy), PasswordVerdict::wrong);
  EXPECT_EQ(verify_password({"damaged", kLegacy, "1234"}, kMd5, dummy), PasswordVerdict::wrong);
}

TEST_F(VerifyPassword, OldRowsMatchAndAskForTheUpgrade) {
  EXPECT_EQ(verify_password({"", kLegacy, "1234"}, kMd5, dummy), PasswordVerdict::right_upgrade);
  EXPECT_EQ(verify_password({"", kLegacy, "1"}, kMd5, dummy), PasswordVerdict::wrong);
}

TEST_F(VerifyPassword, NobodyIsNeverRight) {
  EXPECT_EQ(verify_password({}, kMd5, dummy), PasswordVerdict::wrong);
  for (const std::string& text : not_md5hex())
    EXPECT_EQ(verify_password({stored, kLegacy, "1234"}, text, dummy), PasswordVerdict::wrong);
}

// Time itself is not compared here (a loaded machine would decide); the work is: at the real cost
// each of the three must take at least half of what one argon2id takes.
TEST_F(VerifyPassword, EveryKindOfFailureCostsOneArgon2id) {
  const std::string real_dummy = dummy_hash(random).value();
  const std::string real       = argon2id_hash(kMd5, random).value();
  const auto time_of           = [&](const StoredPassword& password) {
    timespec a{}, b{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    EXPECT_EQ(verify_password(password, kLegacy, real_dummy), PasswordVerdict::wrong);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    return static_cast<double>(b.tv_sec - a.tv_sec) * 1e9 +
           static_cast<double>(b.tv_nsec - a.tv_nsec);
  };
  const double strong = std::min(time_of({real, "", ""}), time_of({real, "", ""}));
  EXPECT_GT(time_of({}), strong / 2);
  EXPECT_GT(time_of({"", kLegacy, "1234"}), strong / 2);
}

struct TokenTest : testing::Test {
  static SecretKey key(uint64_t seed) {
    SecretKey secret;
    SeededRandom(seed).fill(secret);
    return secret;
  }
  const TokenSigner signer{key(1)};
  const SessionToken token{UserId(77), 5, 2'000'000'000};
};

TEST_F(TokenTest, OpensToWhatWasMinted) {
  const std::string text = signer.mint(token);
  EXPECT_EQ(text.size(), kSessionTokenCharacters);
  EXPECT_EQ(
      text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
      std::string::npos);
  EXPECT_EQ(signer.open(text, 1'999'999'999).value(), token);
  const SessionToken extreme{UserId(UINT32_MAX), UINT64_MAX, UINT64_MAX};
  EXPECT_EQ(signer.open(signer.mint(extreme), 1).value(), extreme);
  EXPECT_EQ(TokenSigner(key(1)).open(text, 0).value(), token)
      << "another process with the same key";
}

TEST_F(TokenTest, ExpiresToTheSecond) {
  EXPECT_EQ(signer.open(signer.mint(token), 2'000'000'000).error().code, Errc::timeout);
}

TEST_F(TokenTest, AnotherKeyRefuses) {
  EXPECT_EQ(TokenSigner(key(2)).open(signer.mint(token), 0).error().code, Errc::refused);
}

TEST_F(TokenTest, EveryChangeOfACharacterIsRefused) {
  const std::string text = signer.mint(token);
  for (size_t at = 0; at < text.size(); ++at)
    for (int c = 0; c < 256; ++c) {
      if (static_cast<char>(c) == text[at]) continue;
      std::string changed = text;
      changed[at]         = static_cast<char>(c);
      ASSERT_FALSE(signer.open(changed, 0)) << at << " " << c;
    }
}

TEST_F(TokenTest, EveryOtherLengthIsMalformed) {
  const std::string text = signer.mint(token);
  for (size_t bytes = 0; bytes < text.size(); ++bytes)
    EXPECT_EQ(signer.open(text.substr(0, bytes), 0).error().code, Errc::malformed);
  for (const char* tail : {"=", "A", "\n", " ", "=="})
    EXPECT_EQ(signer.open(text + tail, 0).error().code, Errc::malformed);
  EXPECT_EQ(signer.open(std::string(1'000'000, 'A'), 0).error().code, Errc::malformed);
}

struct SecretKeyFile : testing::Test {
  SecretKeyFile() {
    std::string pattern = testing::TempDir() + "ringtalk_key_XXXXXX";
    dir                 = mkdtemp(pattern.data());
  }
  ~SecretKeyFile() override { std::filesystem::remove_all(dir); }
  std::string path() const { return dir + "/secret.key"; }
  void write(const std::string& bytes, mode_t mode) const {
    std::ofstream(path(), std::ios::binary) << bytes;
    chmod(path().c_str(), mode);
  }
  std::string dir;
  SeededRandom random{6};
};

TEST_F(SecretKeyFile, IsMadeOnceAndPrivate) {
  const auto made = load_or_create_secret_key(dir, random);
  ASSERT_TRUE(made);
  struct stat status{};
  ASSERT_EQ(stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(status.st_size, 32);
  EXPECT_EQ(load_or_create_secret_key(dir, random).value(), made.value());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir), {}), 1);
}

TEST_F(SecretKeyFile, LeftoversOfACrashAreReplaced) {
  std::ofstream(dir + "/secret.key.new") << "half";
  EXPECT_TRUE(load_or_create_secret_key(dir, random));
  EXPECT_FALSE(std::filesystem::exists(dir + "/secret.key.new"));
}

TEST_F(SecretKeyFile, ReadableByOthersIsRefused) {
  for (mode_t mode : {0644, 0640, 0604, 0620, 0601, 0666}) {
    std::filesystem::remove(path());
    write(std::string(32, 'k'), mode);
    EXPECT_EQ(load_or_create_secret_key(dir, random).error().code, Errc::refused) << mode;
  }
  chmod(path().c_str(), 0400);
  EXPECT_TRUE(load_or_create_secret_key(dir, random));
}

TEST_F(SecretKeyFile, AnotherSizeIsCorruptAndNotOverwritten) {
  for (size_t bytes : {0u, 1u, 31u, 33u, 4096u}) {
    write(std::string(bytes, 'k'), 0600);
    EXPECT_EQ(load_or_create_secret_key(dir, random).error().code, Errc::corrupt) << bytes;
    EXPECT_EQ(std::filesystem::file_size(path()), bytes);
  }
}

TEST_F(SecretKeyFile, LinksPipesAndDirectoriesAreRefused) {
  std::ofstream(dir + "/elsewhere") << std::string(32, 'k');
  std::filesystem::create_symlink(dir + "/elsewhere", path());
  EXPECT_EQ(load_or_create_secret_key(dir, random).error().code, Errc::refused);
  std::filesystem::remove(path());
  ASSERT_EQ(mkfifo(path().c_str(), 0600), 0);
  EXPECT_EQ(load_or_create_secret_key(dir, random).error().code, Errc::refused);
  std::filesystem::remove(path());
  std::filesystem::create_directory(path());
  EXPECT_EQ(load_or_create_secret_key(dir, random).error().code, Errc::refused);
  EXPECT_EQ(load_or_create_secret_key(dir + "/nowhere", random).error().os, ENOENT);
}

TEST(FastVerifier, KnowsOnlyTheLastProvenPassword) {
  SeededRandom random(7);
  FastVerifier verifier(16, random);
  const UserId user{9};
  EXPECT_FALSE(verifier.matches(user, 1, kMd5, 0));
  verifier.remember(user, 1, kMd5, 100);
  EXPECT_TRUE(verifier.matches(user, 1, kMd5, 100));
  EXPECT_FALSE(verifier.matches(user, 2, kMd5, 100)) << "the password was changed";
  EXPECT_FALSE(verifier.matches(user, 1, kLegacy, 100));
  EXPECT_FALSE(verifier.matches(UserId(10), 1, kMd5, 100));
  EXPECT_TRUE(verifier.matches(user, 1, kMd5, 99 + FastVerifier::kLifetimeNs));
  EXPECT_FALSE(verifier.matches(user, 1, kMd5, 100 + FastVerifier::kLifetimeNs));
  verifier.remember(user, 2, kLegacy, 200);
  EXPECT_FALSE(verifier.matches(user, 1, kMd5, 200));
  EXPECT_TRUE(verifier.matches(user, 2, kLegacy, 200));
  verifier.forget(user);
  EXPECT_FALSE(verifier.matches(user, 2, kLegacy, 200));
  for (const std::string& text : not_md5hex()) EXPECT_FALSE(verifier.matches(user, 2, text, 200));
  EXPECT_FALSE(verifier.matches(UserId(0), 0, kMd5, 0));
}

// Against a map. The table may forget under pressure, it must never know what the map does not.
TEST(FastVerifier, NeverKnowsMoreThanTheModel) {
  SeededRandom random(8);
  FastVerifier verifier(64, random);
  std::map<uint32_t, std::pair<uint64_t, std::string>> model;
  uint64_t now = 0, known = 0, asked = 0;
  for (int step = 0; step < 20'000; ++step) {
    now += random.below(kNsPerS);
    const UserId user{static_cast<uint32_t>(random.below(100) + 1)};
    const uint64_t epoch  = random.below(2);
    const std::string md5 = random.below(2) == 0 ? kMd5 : kLegacy;
    switch (random.below(5)) {
      case 0:
        verifier.remember(user, epoch, md5, now);
        model[raw(user)] = {epoch, md5};
        ASSERT_TRUE(verifier.matches(user, epoch, md5, now));
        break;
      case 1:
        if (random.below(10) != 0) break;
        verifier.forget(user);
        model.erase(raw(user));
        break;
      default: {
        const auto found = model.find(raw(user));
        const bool right = found != model.end() && found->second == std::pair(epoch, md5);
        const bool says  = verifier.matches(user, epoch, md5, now);
        ASSERT_TRUE(right || !says);
        asked += right;
        known += says;
      }
    }
  }
  EXPECT_GT(asked, 1000u);
  EXPECT_GT(known, asked / 3) << "64 of 100 users fit";
  EXPECT_EQ(verifier.memory_bytes(), 64u * 32);
}

TEST(FastVerifier, AllFitWhenThereIsRoom) {
  SeededRandom random(9);
  FastVerifier verifier(4096, random);
  uint32_t known = 0;
  for (uint32_t user = 1; user <= 1000; ++user) verifier.remember(UserId(user), 1, kMd5, user);
  for (uint32_t user = 1; user <= 1000; ++user)
    known += verifier.matches(UserId(user), 1, kMd5, 2000);
  EXPECT_GE(known, 990u);
}

Bytes address_of(const std::string& bytes) { return as_bytes(bytes); }
const std::string kHome("\x7f\0\0\1", 4), kAway("\x7f\0\0\2", 4);

TEST(FailureTable, MoreThanTenInHalfAnHourAreTooMany) {
  SeededRandom random(10);
  FailureTable table({}, random, 0);
  uint64_t now = 5 * kNsPerS;
  for (int i = 0; i < 11; ++i) {
    EXPECT_FALSE(table.too_many("alice", address_of(kHome), now)) << i;
    table.record_failure("alice", address_of(kHome), now);
    now += kNsPerS;
  }
  EXPECT_TRUE(table.too_many("alice", address_of(kHome), now));
  EXPECT_FALSE(table.too_many("alice", address_of(kAway), now)) << "nobody is locked out elsewhere";
  EXPECT_FALSE(table.too_many("bob", address_of(kHome), now));
  EXPECT_TRUE(table.too_many("alice", address_of(kHome), (5 + 1799) * kNsPerS));
  EXPECT_FALSE(table.too_many("alice", address_of(kHome), (5 + 1800) * kNsPerS));
  table.clear("alice", address_of(kHome));
  EXPECT_FALSE(table.too_many("alice", address_of(kHome), now));
}

TEST(FailureTable, SourcesAreAddressesOrNetworksOfOneClient) {
  SeededRandom random(11);
  FailureTable table({.failures_max = 1}, random, 0);
  const std::string mapped = std::string(10, '\0') + "\xff\xff" + kHome;
  const std::string six("\x20\x01\x0d\xb8\0\0\0\1\0\0\0\0\0\0\0\1", 16);
  std::string same_network = six, other_network = six;
  same_network[15] = 9;
  other_network[7] = 9;
  table.record_failure("a", address_of(kHome), 0);
  table.record_failure("a", address_of(mapped), 0);
  EXPECT_TRUE(table.too_many("a", address_of(kHome), 0));
  table.record_failure("a", address_of(six), 0);
  table.record_failure("a", address_of(same_network), 0);
  EXPECT_TRUE(table.too_many("a", address_of(six), 0));
  EXPECT_FALSE(table.too_many("a", address_of(other_network), 0));
}

TEST(FailureTable, NamesOfAnyBytesAndLengthsAreDistinct) {
  SeededRandom random(12);
  FailureTable table({.failures_max = 1}, random, 0);
  const std::string long_name(1'000'000, 'x');
  for (const std::string& name :
       {std::string(), std::string("a"), std::string("a\0", 2), long_name}) {
    EXPECT_FALSE(table.too_many(name, address_of(kHome), 0));
    for (int i = 0; i < 2; ++i) table.record_failure(name, address_of(kHome), 0);
    EXPECT_TRUE(table.too_many(name, address_of(kHome), 0));
  }
}

TEST(FailureTable, FitsItsMemory) {
  SeededRandom random(13);
  const FailureTable usual({}, random, 0);
  EXPECT_LE(usual.memory_bytes(), 16 * kMiB);
  EXPECT_GT(usual.memory_bytes(), 8 * kMiB - 1);
  const FailureTable least({.failures_max = 62, .memory_bytes = 1}, random, 0);
  EXPECT_LE(least.memory_bytes(), 4096u);
}

// Against lists of times. Small enough a population that nothing is evicted: then the two are equal.
TEST(FailureTable, EqualsTheModelWithoutPressure) {
  SeededRandom random(14);
  const FailureLimits limits{.failures_max = 3, .window_s = 60, .memory_bytes = kMiB};
  FailureTable table(limits, random, 1000 * kNsPerS);
  std::map<std::string, std::deque<uint64_t>> model;
  uint64_t second  = 1000;
  uint64_t refused = 0;
  for (int step = 0; step < 50'000; ++step) {
    if (random.below(8) == 0) second += random.below(4);
    const std::string name = "user" + std::to_string(random.below(50));
    auto& times            = model[name];
    while (!times.empty() && second - times.front() >= limits.window_s) times.pop_front();
    const bool expected = times.size() > limits.failures_max;
    ASSERT_EQ(table.too_many(name, address_of(kHome), second * kNsPerS), expected) << step;
    refused += expected;
    if (expected) continue;  // refused attempts do not count
    if (random.below(30) == 0) {
      table.clear(name, address_of(kHome));
      times.clear();
    } else {
      table.record_failure(name, address_of(kHome), second * kNsPerS);
      times.push_back(second);
    }
  }
  EXPECT_GT(refused, 1000u);
}

TEST(FailureTable, PressureForgetsTheOldestNotTheNewest) {
  SeededRandom random(15);
  FailureTable table({.failures_max = 1, .memory_bytes = 1}, random, 0);  // one set of 8
  const auto fail_twice = [&](const std::string& name, uint64_t second) {
    for (int i = 0; i < 2; ++i) table.record_failure(name, address_of(kHome), second * kNsPerS);
  };
  for (uint64_t i = 0; i < 9; ++i) fail_twice("user" + std::to_string(i), i + 1);
  EXPECT_FALSE(table.too_many("user0", address_of(kHome), 10 * kNsPerS));
  for (int i = 1; i < 9; ++i)
    EXPECT_TRUE(table.too_many("user" + std::to_string(i), address_of(kHome), 10 * kNsPerS)) << i;
}

TEST(FailureTable, AClockSetBackIsHarmless) {
  SeededRandom random(16);
  FailureTable table({.failures_max = 1}, random, 100 * kNsPerS);
  for (int i = 0; i < 2; ++i) table.record_failure("a", address_of(kHome), 200 * kNsPerS);
  table.too_many("a", address_of(kHome), 0);
  EXPECT_TRUE(table.too_many("a", address_of(kHome), 201 * kNsPerS));
}

}  // namespace
}  // namespace ringtalk::shard
