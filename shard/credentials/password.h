// Passwords: what is stored, and what it costs to check.
//
// Received   md5hex of the plain password, 32 lower-case hex digits: password-equivalent, never logged.
// Stored     argon2id of that, m = 19 MiB, t = 2, p = 1, libsodium's encoded text (97 characters);
//            or TeamTalk's own row, md5hex(received + salt), replaced at its first success.
// Cost       one argon2id is about 16 ms of a core and 19 MiB: the password threads only.
// Thread rule   pure functions, any thread.
// Why        verify_password() computes exactly one argon2id whatever is stored, also for names that do
//            not exist and for rows in the old form: the time tells nothing about the name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/result.h"
#include "engine/base/units.h"
#include "engine/random.h"

namespace ringtalk::shard {

// Source: OWASP Password Storage Cheat Sheet 2023, smallest recommended argon2id row.
struct PasswordCost {
  uint64_t passes       = 2;
  uint64_t memory_bytes = 19 * kMiB;
};

bool is_md5hex(std::string_view text);  // 32 digits 0-9a-f

// md5hex of plain text: what a client would send for it.
std::string md5hex_of(std::string_view plain);

// Errc::malformed: no md5hex. Errc::os with ENOMEM: the memory is not there.
Result<std::string> argon2id_hash(std::string_view md5hex, engine::Random& random,
                                  PasswordCost cost = {});

// Constant time in the password. Stored text whose cost is out of bounds never matches: it could
// only come from a damaged database, and would occupy the machine.
bool argon2id_verify(std::string_view stored, std::string_view md5hex);

// md5hex(received + salt) == stored. An empty or malformed stored value never matches.
bool legacy_verify(std::string_view md5hex, std::string_view stored, std::string_view salt);

// A stored text that no password matches, at the usual cost; made once per process.
Result<std::string> dummy_hash(engine::Random& random, PasswordCost cost = {});

// What the store knows of a user. All empty: no such name, or a user without a password.
struct StoredPassword {
  std::string_view argon2id;
  std::string_view legacy_md5;
  std::string_view legacy_salt;
};

enum class PasswordVerdict : uint8_t {
  wrong,
  right,
  right_upgrade,  // matched the old form: store argon2id_hash() of it
};

PasswordVerdict verify_password(const StoredPassword& stored, std::string_view md5hex,
                                std::string_view dummy);

}  // namespace ringtalk::shard
