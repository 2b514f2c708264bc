// Disk: blocking file operations for start-up, recovery and workers (never on a shard's turn),
// as an interface with a real and a fake form. A shard's own writes and reads go through its Ring.
//
// Errors  Error::os with the errno. Paths are relative to the directory the Disk was made for;
//         no call leaves it.
// Why     The simulator's disk forgets what was not synced; recovery must run on it unchanged.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/result.h"

namespace ringtalk::engine {

class Disk {
 public:
  enum class Open : uint8_t { read, read_write, create_new };  // create_new fails with EEXIST

  virtual ~Disk() = default;

  virtual Result<int> open(std::string_view path,
                           Open mode) = 0;  // mode bits 0600, O_NOFOLLOW, O_CLOEXEC
  virtual void close(int fd)          = 0;
  // Exactly bytes.size() bytes, or an error; a read past the end returns fewer.
  virtual Result<size_t> read(int fd, MutableBytes into, uint64_t offset) = 0;
  virtual Result<void> write(int fd, Bytes bytes, uint64_t offset)        = 0;
  // Writes zeros. They need not stay in memory: a file that is prepared ahead is not read soon.
  virtual Result<void> zero(int fd, uint64_t offset, uint64_t bytes);
  // Sends these bytes of the page cache to the device and waits. No promise of durability: it only leaves
  // less for the next sync() to do. An error here is one that sync() will not report again.
  virtual Result<void> write_back(int /*fd*/, uint64_t /*offset*/, uint64_t /*bytes*/) {
    return {};
  }
  virtual Result<void> allocate(int fd, uint64_t bytes)      = 0;  // blocks reserved, ENOSPC now
  virtual Result<void> truncate(int fd, uint64_t bytes)      = 0;
  virtual Result<uint64_t> size(int fd)                      = 0;
  virtual Result<void> sync(int fd)                          = 0;  // data and metadata
  virtual Result<void> sync_directory(std::string_view path) = 0;
  virtual Result<void> make_directory(std::string_view path) = 0;  // ok when it exists
  virtual Result<void> rename(std::string_view from, std::string_view to) = 0;
  virtual Result<void> remove(std::string_view path)                      = 0;
  virtual Result<std::vector<std::string>> list(std::string_view path)    = 0;  // names, sorted
};

// True for the paths that open(), make_directory(), rename() and remove() take: names joined by single
// slashes, none of them "." or "..", no NUL; others get EINVAL. "" and "." name the root for
// sync_directory() and list(). Symbolic links are not followed (ELOOP).
bool stays_inside(std::string_view path);

// The real one. `root` must exist.
Result<std::unique_ptr<Disk>> open_disk(const std::string& root);

}  // namespace ringtalk::engine
