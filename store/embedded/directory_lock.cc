#include "store/embedded/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace ringtalk::store {

Result<DirectoryLock> DirectoryLock::take(const std::string& directory) {
  const std::string path = directory + "/LOCK";
  const int fd           = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return fail_os(errno);
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return DirectoryLock(fd);
  const int error = errno;
  ::close(fd);
  if (error == EWOULDBLOCK) return fail(Errc::exists);
  return fail_os(error);
}

DirectoryLock& DirectoryLock::operator=(DirectoryLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace ringtalk::store
