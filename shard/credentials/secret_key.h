// SecretKey: the 32 bytes in <data-dir>/secret.key that session tokens are signed with.
//
// Lifetime   made at first start; losing it only makes clients log in by password again.
// Errors     refused: not a regular file of ours, or readable by anybody else (mode & 077).
//            corrupt: not 32 bytes. os: the system call's errno.
// Thread rule   start-up only, under the lock of the data directory: it blocks.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "engine/base/result.h"
#include "engine/random.h"

namespace ringtalk::shard {

using SecretKey = std::array<std::byte, 32>;

// The new key is written beside its place, synced and renamed: no crash leaves a short one.
Result<SecretKey> load_or_create_secret_key(const std::string& data_dir, engine::Random& random);

}  // namespace ringtalk::shard
