// DirectoryLock: one process per data directory.
//
// Lifetime  holds flock on <directory>/LOCK until destroyed; the kernel lets go when the process dies.
// Errors    Errc::exists: another process has it.
#pragma once

#include <string>

#include "engine/base/result.h"

namespace ringtalk::store {

class DirectoryLock {
 public:
  static Result<DirectoryLock> take(const std::string& directory);
  DirectoryLock() = default;
  DirectoryLock(DirectoryLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  DirectoryLock& operator=(DirectoryLock&& other) noexcept;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace ringtalk::store
