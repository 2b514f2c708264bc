// Batch: the appends that become durable together, already in the layout of the log.
//
// Bound     bytes_max of records and kRowsMax rows, plus kExtraBytes for block and cursor records; one
//           allocation for ever.
// Cost      one copy of the body; nothing else is done with it but the checksum.
// Why       ids, times and pointers are filled in when the batch is closed: a row whose deadline passed
//           while it waited is dropped without leaving a hole.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/base/assert.h"
#include "store/embedded/format.h"

namespace ringtalk::store {

class Batch {
 public:
  static constexpr uint32_t kRowsMax    = 8192;
  static constexpr uint32_t kExtraBytes = 288 * kKiB;
  static constexpr uint32_t kPageBytes  = 4 * kKiB;

  struct Row {
    uint64_t cookie;
    uint64_t deadline_ns;
    uint32_t offset;
    bool dropped;
  };

  explicit Batch(uint32_t bytes_max)
      : bytes_max_(bytes_max),
        words_(std::make_unique_for_overwrite<uint64_t[]>((bytes_max + kExtraBytes + kPageBytes) /
                                                          8)) {
    RT_ASSERT(bytes_max % 8 == 0 && bytes_max >= kRecordBytesMax);
    rows_.reserve(kRowsMax);
  }

  bool has_room(uint32_t length) const {
    return rows_.size() < kRowsMax && bytes_ + length <= bytes_max_;
  }
  // Adds a record: `header` without its length; keys only with kHasKeys.
  void add(RecordHeader header, const RecordKeys& keys, Bytes body, uint64_t cookie,
           uint64_t deadline_ns) {
    header.body_bytes = static_cast<uint32_t>(body.size());
    header.length     = record_bytes(header.flags, header.body_bytes);
    RT_ASSERT(has_room(header.length));
    rows_.push_back({cookie, deadline_ns, bytes_, false});
    write(bytes_, header, keys, body);
    bytes_ += header.length;
  }
  // Space for a record behind the rows, or null when kExtraBytes are used up.
  std::byte* add_extra(uint32_t length) {
    if (bytes_ + extra_ + length > bytes_max_ + kExtraBytes || extra_ + length > kExtraBytes)
      return nullptr;
    std::byte* at = bytes() + bytes_ + extra_;
    extra_ += length;
    return at;
  }

  // Zeros behind the last record, fewer than a page: a write that ends with its page needs no page read
  // from disk, and what it covers is zero there already.
  void pad(uint32_t zeros) {
    RT_ASSERT(zeros < kPageBytes);
    std::memset(bytes() + all_bytes(), 0, zeros);
  }

  // Removes dropped rows and closes the gaps.
  void compact() {
    uint32_t to = 0, kept = 0;
    for (Row& row : rows_) {
      if (row.dropped) continue;
      const uint32_t length = header(row).length;
      if (to != row.offset) std::memmove(bytes() + to, bytes() + row.offset, length);
      row.offset    = to;
      rows_[kept++] = row;
      to += length;
    }
    rows_.resize(kept);
    bytes_ = to;
  }
  void clear() {
    rows_.clear();
    bytes_ = extra_ = 0;
  }

  std::vector<Row>& rows() { return rows_; }
  const std::vector<Row>& rows() const { return rows_; }
  uint32_t row_bytes() const { return bytes_; }
  uint32_t all_bytes() const { return bytes_ + extra_; }
  std::byte* bytes() { return reinterpret_cast<std::byte*>(words_.get()); }
  RecordHeader& header(const Row& row) { return header_at(row.offset); }
  RecordHeader& header_at(uint32_t offset) {
    return *reinterpret_cast<RecordHeader*>(bytes() + offset);  // 8-aligned, trivially copyable
  }
  Bytes body(const Row& row) {
    const RecordHeader& head = header(row);
    const uint32_t before = kRecordHeaderBytes + ((head.flags & kHasKeys) ? sizeof(RecordKeys) : 0);
    return {bytes() + row.offset + before, head.body_bytes};
  }

 private:
  void write(uint32_t at, const RecordHeader& header, const RecordKeys& keys, Bytes body) {
    std::byte* to = bytes() + at;
    std::memset(to + header.length - 8, 0, 8);  // padding; header or body comes over it
    std::memcpy(to, &header, sizeof header);
    to += sizeof header;
    if (header.flags & kHasKeys) {
      std::memcpy(to, &keys, sizeof keys);
      to += sizeof keys;
    }
    if (!body.empty()) std::memcpy(to, body.data(), body.size());
  }

  const uint32_t bytes_max_;
  std::unique_ptr<uint64_t[]> words_;
  std::vector<Row> rows_;
  uint32_t bytes_ = 0;
  uint32_t extra_ = 0;
};

}  // namespace ringtalk::store
