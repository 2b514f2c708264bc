#include "shard/credentials/secret_key.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "engine/killpoint.h"

namespace ringtalk::shard {
namespace {

constexpr const char* kName    = "secret.key";
constexpr const char* kNewName = "secret.key.new";

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&)            = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Result<SecretKey> load(int dir) {
  const Fd file(openat(dir, kName, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return errno == ELOOP ? fail(Errc::refused) : fail_os(errno);
  struct stat status{};
  if (fstat(file.get(), &status) != 0) return fail_os(errno);
  if (!S_ISREG(status.st_mode) || (status.st_mode & 077) != 0 || status.st_uid != geteuid())
    return fail(Errc::refused);
  SecretKey key;
  char more;
  const ssize_t bytes = read(file.get(), key.data(), key.size());
  if (bytes < 0) return fail_os(errno);
  if (bytes != static_cast<ssize_t>(key.size()) || read(file.get(), &more, 1) != 0)
    return fail(Errc::corrupt);
  return key;
}

Result<SecretKey> create(int dir, engine::Random& random) {
  SecretKey key;
  random.fill(key);
  unlinkat(dir, kNewName, 0);  // left by a crash
  const Fd file(openat(dir, kNewName, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (file.get() < 0) return fail_os(errno);
  const ssize_t bytes = write(file.get(), key.data(), key.size());
  if (bytes < 0) return fail_os(errno);
  if (bytes != static_cast<ssize_t>(key.size())) return fail_os(ENOSPC);
  if (fsync(file.get()) != 0) return fail_os(errno);
  RT_KILLPOINT("secret_key_before_rename");
  if (renameat(dir, kNewName, dir, kName) != 0) return fail_os(errno);
  if (fsync(dir) != 0) return fail_os(errno);
  return key;
}

}  // namespace

Result<SecretKey> load_or_create_secret_key(const std::string& data_dir, engine::Random& random) {
  const Fd dir(open(data_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.get() < 0) return fail_os(errno);
  const Result<SecretKey> loaded = load(dir.get());
  if (loaded || loaded.error().code != Errc::os || loaded.error().os != ENOENT) return loaded;
  return create(dir.get(), random);
}

}  // namespace ringtalk::shard
