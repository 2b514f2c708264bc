#include "store/embedded/file_cache.h"

#include <memory>
#include <utility>

#include "engine/base/assert.h"
#include "store/embedded/format.h"

namespace ringtalk::store {

class FileCache::OpenJob final : public engine::Job {
 public:
  OpenJob(FileCache& owner, uint32_t segment)
      : owner_(owner), disk_(owner.opener_.disk()), segment_(segment) {}
  // Never collected: the owner is gone, and the opener is being destroyed; the disk outlives both.
  ~OpenJob() override {
    if (fd_) disk_.close(*fd_);
  }
  void run() override { fd_ = disk_.open(segment_path(segment_), engine::Disk::Open::read); }
  void done() override { owner_.on_opened(segment_, std::exchange(fd_, fail(Errc::closed))); }

 private:
  FileCache& owner_;
  engine::Disk& disk_;
  const uint32_t segment_;
  Result<int> fd_ = fail(Errc::closed);
};

FileCache::~FileCache() {
  for (const File& file : files_)
    if (file.fd >= 0 && !file.lent) opener_.disk().close(file.fd);
}

FileCache::File* FileCache::find(uint32_t segment) {
  for (File& file : files_)
    if (file.segment == segment) return &file;
  return nullptr;
}

int FileCache::acquire(uint32_t segment, FileWaiter& waiter) {
  File* file = find(segment);
  if (!file) {
    shrink();
    file                             = &files_.emplace_back(File{.segment = segment});
    std::unique_ptr<engine::Job> job = std::make_unique<OpenJob>(*this, segment);
    const bool submitted             = opener_.submit(shard_, job).has_value();
    RT_ASSERT(submitted);  // reads in flight are fewer than jobs
  }
  file->used = ++uses_;
  ++file->holders;
  if (file->fd >= 0) return file->fd;
  file->waiters.push_back(&waiter);
  return -1;
}

void FileCache::release(uint32_t segment) {
  File* file = find(segment);
  RT_ASSERT(file && file->holders > 0);
  --file->holders;
  if (files_.size() > files_max_) shrink();
}

void FileCache::lend(uint32_t segment, int fd) {
  RT_ASSERT(!find(segment));
  files_.push_back({.segment = segment, .fd = fd, .lent = true, .used = ++uses_});
}

void FileCache::own(uint32_t segment) {
  File* file = find(segment);
  RT_ASSERT(file && file->lent);
  file->lent = false;
  shrink();
}

void FileCache::on_opened(uint32_t segment, Result<int> fd) {
  File* file = find(segment);
  RT_ASSERT(file && file->fd < 0);
  const std::vector<FileWaiter*> waiters = std::exchange(file->waiters, {});
  if (fd)
    file->fd = *fd;
  else
    files_.erase(files_.begin() + (file - files_.data()));
  for (FileWaiter* waiter : waiters) waiter->on_file(fd);
}

// Closes the least recently used until there is room for one more.
void FileCache::shrink() {
  while (files_.size() >= files_max_) {
    File* oldest = nullptr;
    for (File& file : files_)
      if (file.holders == 0 && file.fd >= 0 && !file.lent && (!oldest || file.used < oldest->used))
        oldest = &file;
    if (!oldest) return;
    opener_.disk().close(oldest->fd);
    files_.erase(files_.begin() + (oldest - files_.data()));
  }
}

}  // namespace ringtalk::store
