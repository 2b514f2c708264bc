// RecordReader: bounded reads of log bytes through the shard's ring.
//
// Thread rule  the shard's thread.
// Bound        kReadsMax reads at once, each with a window of kWindowBytes of its own; longer reads
//              (long bodies) allocate what they need and give it back.
// Errors       a short answer is read on; the end of the file ends it. Checksums are the client's.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/ring.h"
#include "store/embedded/file_cache.h"
#include "store/embedded/format.h"

namespace ringtalk::store {

class ReadClient {
 public:
  virtual ~ReadClient() = default;
  // bytes: valid during the call; fewer than asked at the end of the file.
  virtual void on_read(uint32_t tag, Pointer place, Result<Bytes> bytes) noexcept = 0;
};

class RecordReader {
 public:
  static constexpr uint32_t kReadsMax    = 96;
  static constexpr uint32_t kWindowBytes = 4 * kKiB;

  RecordReader(engine::Ring& ring, FileCache& files) : ring_(ring), files_(files) {}
  RecordReader(const RecordReader&)            = delete;
  RecordReader& operator=(const RecordReader&) = delete;

  // False when kReadsMax are under way: ask again after one came home.
  bool start(ReadClient& client, uint32_t tag, Pointer place, uint32_t bytes);
  uint32_t reading() const { return reading_; }

 private:
  struct Slot final : FileWaiter {
    explicit Slot(RecordReader& o) : owner(o) {}
    void on_file(Result<int> fd) noexcept override;
    void on_done(int32_t result, uint32_t flags) noexcept;
    void submit();
    void finish(Result<Bytes> bytes) noexcept;
    MutableBytes buffer() {
      return long_read.empty() ? MutableBytes(window) : MutableBytes(long_read);
    }

    RecordReader& owner;
    engine::Op<Slot, &Slot::on_done> read{*this};
    ReadClient* client = nullptr;
    uint32_t tag       = 0;
    uint32_t wanted    = 0;
    uint32_t got       = 0;
    int fd             = -1;
    Pointer place;
    std::vector<std::byte> long_read;
    alignas(8) std::byte window[kWindowBytes];
  };

  engine::Ring& ring_;
  FileCache& files_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;
  uint32_t reading_ = 0;
};

}  // namespace ringtalk::store
