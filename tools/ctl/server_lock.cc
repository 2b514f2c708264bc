#include "tools/ctl/server_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

namespace ringtalk::ctl {

Result<void> keep_servers_away(const std::string& directory) {
  const int fd = ::open((directory + "/LOCK").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return errno == ENOENT ? Result<void>{} : fail_os(errno);
  if (::flock(fd, LOCK_SH | LOCK_NB) == 0) return {};
  const int error = errno;
  ::close(fd);
  return error == EWOULDBLOCK ? fail(Errc::exists) : fail_os(error);
}

}  // namespace ringtalk::ctl
