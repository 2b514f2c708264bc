// PacedDisk: a disk whose writes leave room for others: in portions, each on the device before the next,
// with a rest in between.
//
// Thread rule  as the disk behind it; rest() is called on the writing thread.
// Why          Segments of zeros, footers and snapshots go to the same device as the shards' commits. A
//              sync of 12 MiB of footer held every commit behind it for 7 to 30 ms.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>

#include "engine/base/units.h"
#include "engine/clock.h"
#include "engine/disk.h"

namespace ringtalk::store {

class PacedDisk final : public engine::Disk {
 public:
  static constexpr uint64_t kPortionBytes = 256 * kKiB;

  // rest(ns): a portion took so long.
  PacedDisk(engine::Disk& disk, engine::Clock& clock, std::function<void(uint64_t)> rest)
      : disk_(disk), clock_(clock), rest_(std::move(rest)) {}

  Result<void> write(int fd, Bytes bytes, uint64_t offset) override {
    return portions(
        offset, bytes.size(),
        [&](uint64_t at, uint64_t count) {
          return disk_.write(fd, bytes.subspan(at - offset, count), at);
        },
        fd);
  }
  Result<void> zero(int fd, uint64_t offset, uint64_t bytes) override {
    return portions(
        offset, bytes, [&](uint64_t at, uint64_t count) { return disk_.zero(fd, at, count); }, fd);
  }

  Result<int> open(std::string_view path, Open mode) override { return disk_.open(path, mode); }
  void close(int fd) override { disk_.close(fd); }
  Result<size_t> read(int fd, MutableBytes into, uint64_t offset) override {
    return disk_.read(fd, into, offset);
  }
  Result<void> write_back(int fd, uint64_t offset, uint64_t bytes) override {
    return disk_.write_back(fd, offset, bytes);
  }
  Result<void> allocate(int fd, uint64_t bytes) override { return disk_.allocate(fd, bytes); }
  Result<void> truncate(int fd, uint64_t bytes) override { return disk_.truncate(fd, bytes); }
  Result<uint64_t> size(int fd) override { return disk_.size(fd); }
  Result<void> sync(int fd) override { return disk_.sync(fd); }
  Result<void> sync_directory(std::string_view path) override { return disk_.sync_directory(path); }
  Result<void> make_directory(std::string_view path) override { return disk_.make_directory(path); }
  Result<void> rename(std::string_view from, std::string_view to) override {
    return disk_.rename(from, to);
  }
  Result<void> remove(std::string_view path) override { return disk_.remove(path); }
  Result<std::vector<std::string>> list(std::string_view path) override { return disk_.list(path); }

 private:
  template <class Put>
  Result<void> portions(uint64_t offset, uint64_t bytes, Put&& put, int fd) {
    for (uint64_t at = offset; at < offset + bytes;) {
      const uint64_t began = clock_.now_ns();
      const uint64_t count = std::min(kPortionBytes, offset + bytes - at);
      if (auto done = put(at, count); !done) return done;
      at += count;
      if (at == offset + bytes && bytes <= kPortionBytes) return {};  // a small one: nobody notices
      if (auto done = disk_.write_back(fd, at - count, count); !done) return done;
      rest_(clock_.now_ns() - began);
    }
    return {};
  }

  engine::Disk& disk_;
  engine::Clock& clock_;
  const std::function<void(uint64_t)> rest_;
};

}  // namespace ringtalk::store
