// FakeDisk: a Disk in memory that forgets what was not synced.
//
// Thread rule  One thread (a simulator's or a test's).
// Model        A file has durable sectors (512 bytes) and a page cache over them. sync(fd) makes
//              that file's bytes and size durable; creates, renames, removes and new directories
//              become durable with sync_directory() of the directory they happened in. crash() is
//              the power cut: every unsynced sector independently survives, dies or (one in 16)
//              tears; a file's size falls back to any size it has had since its last sync; each
//              unsynced directory operation independently survives or not; open descriptors become
//              invalid.
// Errors       As Linux gives them. After a failed sync the pages are lost but marked clean: reads
//              still see them, the next sync succeeds without writing them, a crash shows it.
//              A write that meets the space budget keeps what fitted and answers ENOSPC.
// Cost         A sector of zeros over a hole occupies nothing, so preallocated segments are cheap.
//              The budget counts sizes, rounded up to 4 KiB, holes included.
// Why          Recovery code is proven by crashing it at every point, not by reading it.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/disk.h"
#include "engine/random.h"

namespace ringtalk::engine {

class FakeDisk : public Disk {
 public:
  static constexpr uint64_t kSectorBytes = 512;
  static constexpr uint64_t kBlockBytes  = 4096;  // unit of the space budget

  enum class Call : uint8_t {
    open,
    read,
    write,
    allocate,
    truncate,
    sync,
    sync_directory,
    make_directory,
    rename,
    remove,
  };
  static constexpr size_t kCalls = 10;

  // --- Disk --------------------------------------------------------------------------------------
  Result<int> open(std::string_view path, Open mode) override;
  void close(int fd) override;
  Result<size_t> read(int fd, MutableBytes into, uint64_t offset) override;
  Result<void> write(int fd, Bytes bytes, uint64_t offset) override;
  Result<void> allocate(int fd, uint64_t bytes) override;
  Result<void> truncate(int fd, uint64_t bytes) override;
  Result<uint64_t> size(int fd) override;
  Result<void> sync(int fd) override;
  Result<void> sync_directory(std::string_view path) override;
  Result<void> make_directory(std::string_view path) override;
  Result<void> rename(std::string_view from, std::string_view to) override;
  Result<void> remove(std::string_view path) override;
  Result<std::vector<std::string>> list(std::string_view path) override;

  // --- as a ring asks: bytes moved or -errno -----------------------------------------------------
  int32_t read_some(int fd, MutableBytes into, uint64_t offset);
  int32_t write_some(int fd, Bytes bytes, uint64_t offset);  // short when the space ends
  int32_t datasync(int fd);

  // --- faults ------------------------------------------------------------------------------------
  // The n-th call of this kind from now (from 1) fails with errno `error` and has no effect but
  // that of a failed sync. Several may be planned.
  void fail(Call call, uint32_t n, int error);
  // Calls of this kind so far, failed ones included: a way to fail each in turn.
  uint64_t calls(Call call) const { return counters_[static_cast<size_t>(call)]; }
  // Bytes that may be in use; files that exist already may exceed it.
  void set_space(uint64_t bytes) { space_bytes_ = bytes; }
  uint64_t space_used() const;
  // Called before each write, sync and directory change takes effect: a place to crash at.
  void set_observer(std::function<void(Call)> observer) { observer_ = std::move(observer); }

  // From now every call fails with EIO and changes nothing, until crash() or kill(): what the code
  // does after the lights went out does not count. May be called by the observer.
  void cut_power() { powered_ = false; }
  // Power is cut (if it was not), and back.
  void crash(Random& random);
  // The process died, the machine lives: descriptors are gone, the page cache is not.
  void kill();

  // --- a look at the medium ----------------------------------------------------------------------
  void flip_bit(std::string_view path,
                uint64_t bit);  // durable and cached; the file must be longer
  // What everybody reads; nullopt when there is no such file.
  std::optional<std::vector<std::byte>> contents(std::string_view path) const;
  // What remains if everything unsynced dies.
  std::optional<std::vector<std::byte>> durable(std::string_view path) const;
  size_t descriptors_open() const { return open_.size(); }

 private:
  using Sector = std::array<std::byte, kSectorBytes>;

  struct Cached {
    Sector bytes;
    bool dirty = true;  // false: a sync failed on it; read, but never written by a later sync
  };

  struct File {
    std::map<uint64_t, Sector> medium;  // absent: zeros
    std::map<uint64_t, Cached> cache;
    uint64_t size         = 0;
    uint64_t durable_size = 0;
    std::vector<uint64_t> sizes;  // since the last sync, newest last; at most kSizesMax

    const Sector& sector(uint64_t index) const;
    void write(uint64_t offset, Bytes bytes);
    void zero_from(uint64_t offset);
    void read(uint64_t offset, MutableBytes into) const;
    void resize(uint64_t bytes);
    void sync();
    void lose();
    void crash(Random& random);
    void settle(Random& random);
  };
  using FileRef = std::shared_ptr<File>;

  // A name's state: a file, or a directory (null). Paths are relative; the root has no entry.
  using Names = std::map<std::string, FileRef, std::less<>>;

  // One unsynced change of names: `from` vanishes (unless empty), `to` appears (unless empty).
  struct Change {
    std::string from, to;
    FileRef file;  // what `to` becomes; null: a directory
  };

  struct Descriptor {
    FileRef file;
    bool writable = false;
  };

  struct Planned {
    Call call;
    uint64_t at;  // value of the counter
    int error;
  };

  static void apply(const Change& change, Names& names);

  int enter(Call call);  // 0, or the planned errno
  Descriptor* find(int fd);
  Result<void> check_parent(std::string_view path) const;
  bool is_directory(std::string_view path) const;
  uint64_t room_for(const File& file, uint64_t size) const;
  void change(Change change);

  Names names_;
  Names durable_names_;
  std::vector<Change> changes_;
  std::map<int, Descriptor> open_;
  int next_fd_          = 100'000;  // never reused: a stale descriptor answers EBADF
  uint64_t space_bytes_ = ~uint64_t{0};
  std::array<uint64_t, kCalls> counters_{};
  std::vector<Planned> planned_;
  std::function<void(Call)> observer_;
  bool powered_ = true;
};

}  // namespace ringtalk::engine
