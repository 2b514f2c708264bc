#include "engine/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/base/assert.h"
#include "engine/base/units.h"

namespace ringtalk::engine {

namespace {

constexpr uint64_t kPageBytes = 4096;
alignas(kPageBytes) constinit const std::byte kZeros[256 * kKiB]{};

// An owned descriptor. close() is not repeated on EINTR: Linux has freed the number by then.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

template <class Call>
auto without_eintr(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

Result<void> checked(int result) {
  if (result < 0) return fail_os(errno);
  return {};
}

class RealDisk final : public Disk {
 public:
  explicit RealDisk(Descriptor root) : root_(std::move(root)) {}

  Result<int> open(std::string_view path, Open mode) override {
    if (!stays_inside(path)) return fail_os(EINVAL);
    uint64_t flags = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
    switch (mode) {
      case Open::read: flags |= O_RDONLY; break;
      case Open::read_write: flags |= O_RDWR; break;
      case Open::create_new: flags |= O_RDWR | O_CREAT | O_EXCL; break;
    }
    auto file = open_beneath(path, flags);
    if (!file) return std::unexpected(file.error());
    return file->release();
  }

  void close(int fd) override { ::close(fd); }

  Result<size_t> read(int fd, MutableBytes into, uint64_t offset) override {
    size_t done = 0;
    while (done < into.size()) {
      const ssize_t got = without_eintr([&] {
        return ::pread(fd, into.data() + done, into.size() - done,
                       static_cast<off_t>(offset + done));
      });
      if (got < 0) return fail_os(errno);
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  Result<void> write(int fd, Bytes bytes, uint64_t offset) override {
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t put = without_eintr([&] {
        return ::pwrite(fd, bytes.data() + done, bytes.size() - done,
                        static_cast<off_t>(offset + done));
      });
      if (put < 0) return fail_os(errno);
      if (put == 0) return fail_os(EIO);
      done += static_cast<size_t>(put);
    }
    return {};
  }

  // Past the page cache where the file system can: copying zeros into fresh pages costs more processor
  // time than all else that a message log does in the background.
  Result<void> zero(int fd, uint64_t offset, uint64_t bytes) override {
    const int flags   = ::fcntl(fd, F_GETFL);
    const bool direct = offset % kPageBytes == 0 && bytes % kPageBytes == 0 && flags >= 0 &&
                        ::fcntl(fd, F_SETFL, flags | O_DIRECT) == 0;
    Result<void> done;
    while (direct && done && bytes > 0) {
      const uint64_t count = std::min<uint64_t>(bytes, sizeof kZeros);
      done                 = write(fd, Bytes(kZeros, count), offset);
      if (!done) break;
      offset += count;
      bytes -= count;
    }
    if (direct) ::fcntl(fd, F_SETFL, flags);
    // EINVAL: this file system takes no direct writes (or not so aligned); then through the cache.
    if (bytes == 0 || (!done && done.error().os != EINVAL)) return done;
    return Disk::zero(fd, offset, bytes);
  }

  Result<void> write_back(int fd, uint64_t offset, uint64_t bytes) override {
    constexpr unsigned kWriteAndWait =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (::sync_file_range(fd, static_cast<off_t>(offset), static_cast<off_t>(bytes),
                          kWriteAndWait) == 0)
      return {};
    // A file system that cannot: then all is left to sync().
    if (errno == EINVAL || errno == ENOSYS || errno == ESPIPE || errno == EOPNOTSUPP) return {};
    return fail_os(errno);
  }

  // posix_fallocate() falls back to writing where the file system cannot reserve. It returns the
  // errno instead of setting it.
  Result<void> allocate(int fd, uint64_t bytes) override {
    if (bytes == 0) return {};
    int error = EINTR;
    while (error == EINTR) error = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
    if (error != 0) return fail_os(error);
    return {};
  }

  Result<void> truncate(int fd, uint64_t bytes) override {
    return checked(without_eintr([&] { return ::ftruncate(fd, static_cast<off_t>(bytes)); }));
  }

  Result<uint64_t> size(int fd) override {
    struct stat status{};
    if (::fstat(fd, &status) < 0) return fail_os(errno);
    return static_cast<uint64_t>(status.st_size);
  }

  // EINTR is safe to repeat; no other failure is, and the caller must not (a retried fsync lies).
  Result<void> sync(int fd) override {
    return checked(without_eintr([&] { return ::fsync(fd); }));
  }

  Result<void> sync_directory(std::string_view path) override {
    auto directory = open_directory(path, O_RDONLY);
    if (!directory) return std::unexpected(directory.error());
    return sync(directory->get());
  }

  Result<void> make_directory(std::string_view path) override {
    auto place = locate(path);
    if (!place) return std::unexpected(place.error());
    if (::mkdirat(place->parent.get(), place->name.c_str(), 0700) == 0) return {};
    if (errno != EEXIST) return fail_os(errno);
    auto existing = open_directory(path, O_PATH);  // ENOTDIR when it is a file
    if (!existing) return std::unexpected(existing.error());
    return {};
  }

  Result<void> rename(std::string_view from, std::string_view to) override {
    auto source = locate(from);
    if (!source) return std::unexpected(source.error());
    auto target = locate(to);
    if (!target) return std::unexpected(target.error());
    return checked(::renameat(source->parent.get(), source->name.c_str(), target->parent.get(),
                              target->name.c_str()));
  }

  Result<void> remove(std::string_view path) override {
    auto place = locate(path);
    if (!place) return std::unexpected(place.error());
    return checked(::unlinkat(place->parent.get(), place->name.c_str(), 0));
  }

  Result<std::vector<std::string>> list(std::string_view path) override {
    auto directory = open_directory(path, O_RDONLY);
    if (!directory) return std::unexpected(directory.error());
    DIR* stream = ::fdopendir(directory->get());
    if (stream == nullptr) return fail_os(errno);
    directory->release();  // the stream closes it
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(stream)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
      errno = 0;
    }
    const int error = errno;
    ::closedir(stream);
    if (error != 0) return fail_os(error);
    std::ranges::sort(names);
    return names;
  }

 private:
  struct Place {
    Descriptor parent;
    std::string name;
  };

  // openat2 because O_NOFOLLOW guards the last component only. Source: openat2(2), Linux 5.6.
  Result<Descriptor> open_beneath(std::string_view path, uint64_t flags) {
    open_how how{};
    how.flags   = flags;
    how.mode    = (flags & O_CREAT) ? 0600 : 0;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const std::string name(path);
    const long fd = without_eintr([&] {
      long result = ::syscall(SYS_openat2, root_.get(), name.c_str(), &how, sizeof how);
      // EAGAIN: a rename elsewhere raced the walk; the manual asks for a retry.
      while (result < 0 && errno == EAGAIN)
        result = ::syscall(SYS_openat2, root_.get(), name.c_str(), &how, sizeof how);
      return result;
    });
    if (fd < 0) return fail_os(errno);
    return Descriptor(static_cast<int>(fd));
  }

  Result<Descriptor> open_directory(std::string_view path, uint64_t flags) {
    if (path.empty() || path == ".") return open_beneath(".", flags | O_DIRECTORY | O_CLOEXEC);
    if (!stays_inside(path)) return fail_os(EINVAL);
    return open_beneath(path, flags | O_DIRECTORY | O_CLOEXEC);
  }

  Result<Place> locate(std::string_view path) {
    if (!stays_inside(path)) return fail_os(EINVAL);
    const size_t slash = path.rfind('/');
    const bool nested  = slash != std::string_view::npos;
    auto parent        = open_directory(nested ? path.substr(0, slash) : ".", O_PATH);
    if (!parent) return std::unexpected(parent.error());
    return Place{std::move(*parent), std::string(nested ? path.substr(slash + 1) : path)};
  }

  const Descriptor root_;
};

}  // namespace

Result<void> Disk::zero(int fd, uint64_t offset, uint64_t bytes) {
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t count = std::min<uint64_t>(bytes - done, sizeof kZeros);
    if (auto written = write(fd, Bytes(kZeros, count), offset + done); !written) return written;
    done += count;
  }
  return {};
}

bool stays_inside(std::string_view path) {
  if (path.empty()) return false;
  if (path.find('\0') != std::string_view::npos) return false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end            = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

Result<std::unique_ptr<Disk>> open_disk(const std::string& root) {
  const int fd =
      without_eintr([&] { return ::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return fail_os(errno);
  return std::make_unique<RealDisk>(Descriptor(fd));
}

}  // namespace ringtalk::engine
