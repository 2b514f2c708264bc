// FileCache: open descriptors of segments a shard reads from.
//
// Thread rule  the shard's thread; opening happens on the FileOpener's.
// Bound        files_max descriptors; more only while more than that many are being read from.
// Errors       a segment that cannot be opened: every waiter gets the errno.
// Why          a worker of its own: an open must not stand in line behind a merge of seconds.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/disk.h"
#include "engine/worker.h"

namespace ringtalk::store {

class FileOpener final : public engine::Worker {
 public:
  static constexpr uint32_t kJobsMax = 256;  // per shard
  FileOpener(engine::Disk& disk, uint32_t shards) : Worker(shards, kJobsMax), disk_(disk) {}
  engine::Disk& disk() { return disk_; }

 private:
  engine::Disk& disk_;
};

class FileWaiter {
 public:
  virtual ~FileWaiter()                         = default;
  virtual void on_file(Result<int> fd) noexcept = 0;
};

class FileCache {
 public:
  FileCache(FileOpener& opener, uint32_t shard, uint32_t files_max)
      : opener_(opener), shard_(shard), files_max_(files_max) {}
  ~FileCache();
  FileCache(const FileCache&)            = delete;
  FileCache& operator=(const FileCache&) = delete;

  // The descriptor, held until release(); or -1: on_file() follows, and with a descriptor it is held.
  int acquire(uint32_t segment, FileWaiter& waiter);
  void release(uint32_t segment);
  // A descriptor that somebody else keeps open (the segment being written).
  void lend(uint32_t segment, int fd);
  // From now on it is ours to close.
  void own(uint32_t segment);

  size_t size() const { return files_.size(); }

 private:
  struct File {
    uint32_t segment = 0;
    int fd           = -1;  // -1: being opened
    uint32_t holders = 0;
    bool lent        = false;
    uint64_t used    = 0;
    std::vector<FileWaiter*> waiters;
  };
  class OpenJob;

  File* find(uint32_t segment);
  void on_opened(uint32_t segment, Result<int> fd);
  void shrink();

  FileOpener& opener_;
  const uint32_t shard_;
  const uint32_t files_max_;
  uint64_t uses_ = 0;
  std::vector<File> files_;  // few: searched in line
};

}  // namespace ringtalk::store
