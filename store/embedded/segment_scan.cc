#include "store/embedded/segment_scan.h"

#include <algorithm>

#include "engine/base/assert.h"

namespace ringtalk::store {
namespace {

constexpr uint64_t kWindowBytes    = 2 * kMiB;
constexpr uint64_t kReadRetryBytes = 4 * kKiB;
static_assert(kWindowBytes > 2 * kRecordBytesMax);

// A file seen through one buffer.
class Window {
 public:
  Window(engine::Disk& disk, int fd, uint64_t file_bytes)
      : disk_(disk), fd_(fd), file_bytes_(file_bytes), buffer_(kWindowBytes) {}

  uint64_t file_bytes() const { return file_bytes_; }

  // Everything buffered from `offset` on: at least `bytes`, unless the file ends before.
  Bytes from(uint64_t offset, uint64_t bytes) {
    RT_ASSERT(bytes <= kWindowBytes - kReadRetryBytes);
    const uint64_t wanted_end = std::min(offset + bytes, file_bytes_);
    if (offset < base_ || wanted_end > base_ + filled_) fill(offset);
    if (offset >= base_ + filled_) return {};
    return Bytes(buffer_).subspan(offset - base_, base_ + filled_ - offset);
  }

 private:
  void fill(uint64_t offset) {
    base_   = offset / kReadRetryBytes * kReadRetryBytes;
    filled_ = std::min(kWindowBytes, file_bytes_ - std::min(base_, file_bytes_));
    const MutableBytes all(buffer_.data(), filled_);
    if (auto got = disk_.read(fd_, all, base_); got && *got == filled_) return;
    // Some of it cannot be read: keep what can be, block by block; the rest counts as zeros.
    for (uint64_t at = 0; at < filled_; at += kReadRetryBytes) {
      const MutableBytes piece = all.subspan(at, std::min(kReadRetryBytes, filled_ - at));
      auto got                 = disk_.read(fd_, piece, base_ + at);
      const size_t good        = got ? *got : 0;
      std::fill(piece.begin() + static_cast<ptrdiff_t>(good), piece.end(), std::byte{0});
    }
  }

  engine::Disk& disk_;
  const int fd_;
  const uint64_t file_bytes_;
  std::vector<std::byte> buffer_;
  uint64_t base_   = 0;
  uint64_t filled_ = 0;
};

class Scanner {
 public:
  Scanner(engine::Disk& disk, int fd, uint64_t file_bytes, uint32_t segment, uint32_t salt,
          uint64_t known_end)
      : window_(disk, fd, file_bytes), segment_(segment), salt_(salt), known_end_(known_end) {}

  Scan run(const VisitRecord& visit) {
    uint64_t at = kSegmentHeaderBytes;
    for (;;) {
      if (known_end_ != 0 && at >= known_end_) break;
      RecordView record;
      if (valid_at(at, record, std::max(1u, last_batch_))) {
        if (visit) visit(record, Pointer::at(segment_, at));
        ++result_.records;
        last_batch_ = record.header.batch;
        batch_over_ = record.header.flags & kBatchEnd;
        at += record.header.length;
        result_.end = at;
        continue;
      }
      if (!skip_damage(at)) break;
    }
    if (known_end_ != 0) result_.end = known_end_;
    result_.last_batch = last_batch_;
    return std::move(result_);
  }

 private:
  bool valid_at(uint64_t at, RecordView& record, uint32_t batch_min) {
    Bytes bytes     = window_.from(at, kRecordHeaderBytes);
    uint32_t needed = 0;
    Parse parsed    = parse_record(bytes, Pointer::at(segment_, at), salt_, record, &needed);
    if (parsed == Parse::more && needed > kRecordHeaderBytes && needed <= kRecordBytesMax) {
      bytes  = window_.from(at, needed);
      parsed = parse_record(bytes, Pointer::at(segment_, at), salt_, record, &needed);
    }
    return parsed == Parse::record && record.header.batch >= batch_min;
  }

  bool footer_at(uint64_t at) {
    const Bytes bytes = window_.from(at, 24);
    return bytes.size() >= 24 && load_native<uint64_t>(bytes.data()) == 0 &&
           load_native<uint64_t>(bytes.data() + 8) == kFooterMagic &&
           load_native<uint32_t>(bytes.data() + 20) == segment_;
  }

  // First place from `at` on with a valid record of batch >= batch_min, or 0.
  uint64_t find_record(uint64_t at, uint32_t batch_min) {
    RecordView record;
    const uint64_t end = known_end_ ? known_end_ : window_.file_bytes();
    for (; at + kRecordHeaderBytes <= end; at += 8) {
      const Bytes bytes = window_.from(at, kRecordHeaderBytes);
      if (load_native<uint64_t>(bytes.data()) == 0) continue;
      if (!plausible(load_native<RecordHeader>(bytes.data()))) continue;
      if (valid_at(at, record, batch_min)) return at;
    }
    return 0;
  }

  // Decides what the unreadable place `at` is. False: the data ends here.
  bool skip_damage(uint64_t& at) {
    if (known_end_ == 0 && footer_at(at)) return false;
    if (known_end_ == 0)
      if (const uint64_t footer = find_footer(at); footer != 0) known_end_ = footer;
    const uint64_t next = find_record(at + 8, std::max(1u, last_batch_));
    if (known_end_ == 0 && !proven(next)) {
      result_.torn_bytes = used_bytes(at);
      return false;
    }
    const uint64_t end = next != 0 ? next : known_end_;
    note_damage(at, end);
    at = end;
    return true;
  }

  bool proven(uint64_t next) {
    if (next == 0) return false;
    const uint32_t batch_min = last_batch_ + (batch_over_ ? 2 : 1);
    if (proof_at_ > next && proof_batch_ >= batch_min) return true;
    const uint64_t proof = find_record(next, batch_min);
    if (proof == 0) return false;
    RecordView record;
    const bool valid = valid_at(proof, record, batch_min);
    RT_ASSERT(valid);
    proof_at_    = proof;
    proof_batch_ = record.header.batch;
    return true;
  }

  uint64_t find_footer(uint64_t at) {
    for (; at + 24 <= window_.file_bytes(); at += 8) {
      const Bytes bytes = window_.from(at, 24);
      if (load_native<uint64_t>(bytes.data() + 8) == kFooterMagic && footer_at(at)) return at;
    }
    return 0;
  }

  uint64_t used_bytes(uint64_t at) {
    uint64_t used = 0;
    for (uint64_t p = at; p + 8 <= window_.file_bytes(); p += 8)
      if (load_native<uint64_t>(window_.from(p, 8).data()) != 0) used = p + 8 - at;
    return used;
  }

  void note_damage(uint64_t at, uint64_t end) {
    Damage damage{.segment = segment_, .offset = at, .bytes = end - at};
    const Bytes bytes = window_.from(at, kRecordHeaderBytes);
    if (bytes.size() >= kRecordHeaderBytes) {
      const auto header = load_native<RecordHeader>(bytes.data());
      if (plausible(header) && header.kind == RecordKind::message && at + header.length <= end) {
        damage.conversation = header.conversation;
        damage.msg_id       = header.msg_id;
        damage.prev         = header.prev;
      }
    }
    result_.damages.push_back(damage);
  }

  Window window_;
  const uint32_t segment_;
  const uint32_t salt_;
  uint64_t known_end_;
  uint32_t last_batch_  = 0;
  bool batch_over_      = true;
  uint64_t proof_at_    = 0;
  uint32_t proof_batch_ = 0;
  Scan result_;
};

}  // namespace

Result<Scan> scan_segment(engine::Disk& disk, int fd, uint32_t segment, uint32_t salt,
                          uint64_t known_end, const VisitRecord& visit) {
  auto size = disk.size(fd);
  if (!size) return std::unexpected(size.error());
  if (known_end > *size || known_end % 8 != 0) known_end = 0;
  return Scanner(disk, fd, *size, segment, salt, known_end).run(visit);
}

}  // namespace ringtalk::store
