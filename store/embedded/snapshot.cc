#include "store/embedded/snapshot.h"

#include <algorithm>
#include <utility>

#include "engine/base/assert.h"
#include "engine/killpoint.h"
#include "store/embedded/crc32c.h"

namespace ringtalk::store {
namespace {

constexpr const char* kPath          = "log/snapshot";
constexpr const char* kTemporary     = "log/snapshot.tmp";
constexpr uint32_t kBlockEntryBytes  = 64 * kKiB;  // entries of a block, at most
constexpr uint32_t kWriteBufferBytes = kMiB;

struct Header {
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes;
  uint64_t salt;
  uint32_t covered_up_to;
  uint32_t time;
  uint32_t zero[7];
  uint32_t crc;
};
static_assert(sizeof(Header) == 64);

enum Kind : uint32_t {
  kSegments = 1,
  kHeads    = 2,
  kCursors  = 3,
  kRepeats  = 4,
  kEnd      = 5,
  kYoung    = 6
};

struct BlockHeader {
  uint32_t kind;
  uint32_t count;
  uint32_t crc;
  uint32_t zero;
};
static_assert(sizeof(BlockHeader) == 16);

uint32_t entry_bytes(uint32_t kind) {
  switch (kind) {
    case kSegments: return sizeof(uint32_t);
    case kHeads: return sizeof(HeadEntry);
    case kCursors: return sizeof(CursorEntry);
    case kRepeats: return sizeof(RepeatEntry);
    case kYoung: return sizeof(YoungSegment);
    default: return 0;
  }
}

uint32_t header_sum(const Header& header) {
  return crc32c(0, std::as_bytes(std::span(&header, 1)).first(offsetof(Header, crc)));
}

uint32_t block_sum(const BlockHeader& header, Bytes entries, uint32_t salt) {
  return crc32c(crc32c_of(salt, uint64_t{header.kind} << 32 | header.count), entries);
}

std::pair<uint64_t, uint32_t> order(const CursorEntry& entry) {
  return {entry.conversation, entry.user};
}

// --- reading ----------------------------------------------------------------------------------------

// Yields the file block by block. Memory: one block.
class Reader {
 public:
  explicit Reader(engine::Disk& disk) : disk_(disk) {}
  ~Reader() {
    if (fd_ >= 0) disk_.close(fd_);
  }
  Reader(const Reader&)            = delete;
  Reader& operator=(const Reader&) = delete;

  Result<void> open() {
    auto fd = disk_.open(kPath, engine::Disk::Open::read);
    if (!fd) return fail(fd.error().os == ENOENT ? Errc::not_found : Errc::corrupt);
    fd_       = *fd;
    auto size = disk_.size(fd_);
    if (!size) return std::unexpected(size.error());
    bytes_ = *size;
    if (!read(std::as_writable_bytes(std::span(&header_, 1)))) return fail(Errc::corrupt);
    if (header_.magic != kSnapshotMagic || header_sum(header_) != header_.crc)
      return fail(Errc::corrupt);
    if (header_.version > kFormatVersion) return fail(Errc::unsupported);
    salt_ = salt_sum(header_.salt);
    return {};
  }

  const Header& header() const { return header_; }
  uint64_t bytes() const { return bytes_; }
  uint32_t kind() const { return block_.kind; }
  template <class T>
  std::span<const T> entries() const {
    return {reinterpret_cast<const T*>(entries_.data()), block_.count};
  }

  // False at the end; Errc::corrupt when a block is not what was written.
  Result<bool> next() {
    if (!read(std::as_writable_bytes(std::span(&block_, 1)))) return fail(Errc::corrupt);
    const uint64_t bytes = uint64_t{block_.count} * entry_bytes(block_.kind);
    if (block_.kind < kSegments || block_.kind > kYoung || bytes > kBlockEntryBytes ||
        block_.zero != 0)
      return fail(Errc::corrupt);
    entries_.resize(bytes / 8 + 1);
    const MutableBytes into = std::as_writable_bytes(std::span(entries_)).first(bytes);
    if (!read(into) || block_sum(block_, into, salt_) != block_.crc) return fail(Errc::corrupt);
    if (block_.kind != kEnd) {
      ++blocks_;
      return true;
    }
    if (block_.count != blocks_ || at_ != bytes_) return fail(Errc::corrupt);
    return false;
  }

 private:
  bool read(MutableBytes into) {
    if (into.empty()) return true;
    auto got = disk_.read(fd_, into, at_);
    at_ += into.size();
    return got && *got == into.size();
  }

  engine::Disk& disk_;
  int fd_          = -1;
  uint64_t bytes_  = 0;
  uint64_t at_     = 0;
  uint32_t salt_   = 0;
  uint32_t blocks_ = 0;
  Header header_{};
  BlockHeader block_{};
  std::vector<uint64_t> entries_;
};

Result<SnapshotInfo> read_all(engine::Disk& disk, const SnapshotVisitor* visit) {
  Reader reader(disk);
  if (auto opened = reader.open(); !opened) return std::unexpected(opened.error());
  SnapshotInfo info{.salt = reader.header().salt, .bytes = reader.bytes()};
  info.covered.up_to = reader.header().covered_up_to;
  for (;;) {
    auto more = reader.next();
    if (!more) return std::unexpected(more.error());
    if (!*more) return info;
    switch (reader.kind()) {
      case kSegments:
        for (uint32_t segment : reader.entries<uint32_t>()) info.covered.more.push_back(segment);
        break;
      case kYoung:
        for (const YoungSegment& segment : reader.entries<YoungSegment>())
          info.young.push_back(segment);
        break;
      case kHeads:
        if (visit && visit->head)
          for (const auto& entry : reader.entries<HeadEntry>()) visit->head(entry);
        break;
      case kCursors:
        if (visit && visit->cursor)
          for (const auto& entry : reader.entries<CursorEntry>()) visit->cursor(entry);
        break;
      case kRepeats:
        if (visit && visit->repeat)
          for (const auto& entry : reader.entries<RepeatEntry>()) visit->repeat(entry);
        break;
    }
  }
}

// --- writing ----------------------------------------------------------------------------------------

class Writer {
 public:
  Writer(engine::Disk& disk, int fd, uint64_t salt) : disk_(disk), fd_(fd), salt_(salt_sum(salt)) {
    out_.reserve(kWriteBufferBytes + kBlockEntryBytes);
  }

  void put(Bytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }

  template <class T>
  void add(uint32_t kind, const T& entry) {
    if (kind != kind_ || entries_.size() + sizeof(T) > kBlockEntryBytes) flush_block();
    kind_            = kind;
    const auto bytes = std::as_bytes(std::span(&entry, 1));
    entries_.insert(entries_.end(), bytes.begin(), bytes.end());
    ++count_;
  }

  // Ends the file. Returns its size.
  Result<uint64_t> finish() {
    flush_block();
    kind_  = kEnd;
    count_ = blocks_;
    write_block();
    flush();
    if (error_.code != Errc::ok) return std::unexpected(error_);
    return at_;
  }

 private:
  void flush_block() {
    if (count_ == 0) return;
    write_block();
    ++blocks_;
    entries_.clear();
    count_ = 0;
    if (out_.size() >= kWriteBufferBytes) flush();
  }
  void write_block() {
    BlockHeader header{.kind = kind_, .count = count_, .crc = 0, .zero = 0};
    header.crc = block_sum(header, entries_, salt_);
    put(std::as_bytes(std::span(&header, 1)));
    put(entries_);
  }
  void flush() {
    if (error_.code == Errc::ok)
      if (auto done = disk_.write(fd_, out_, at_); !done) error_ = done.error();
    at_ += out_.size();
    out_.clear();
  }

  engine::Disk& disk_;
  const int fd_;
  const uint32_t salt_;
  uint64_t at_     = 0;
  uint32_t kind_   = 0;
  uint32_t count_  = 0;
  uint32_t blocks_ = 0;
  std::vector<std::byte> entries_;
  std::vector<std::byte> out_;
  Error error_;
};

// What the footers say, sorted and one entry per key.
struct Gathered {
  std::vector<HeadEntry> heads;
  std::vector<CursorEntry> cursors;
  std::vector<RepeatEntry> repeats;
  std::vector<YoungSegment> young;
};

Gathered gather(std::vector<Footer> footers) {
  Gathered all;
  std::ranges::sort(footers, {}, &Footer::segment);
  for (Footer& footer : footers) {
    all.heads.insert(all.heads.end(), footer.heads.begin(), footer.heads.end());
    all.cursors.insert(all.cursors.end(), footer.cursors.begin(), footer.cursors.end());
    std::ranges::copy_if(footer.repeats, std::back_inserter(all.repeats),
                         [](const RepeatEntry& entry) { return entry.client_key != 0; });
    if (footer.repeats.size() > 0) all.young.push_back({footer.segment, footer.sealed});
    footer = {};
  }
  std::ranges::stable_sort(all.heads, {}, &HeadEntry::conversation);
  std::ranges::stable_sort(all.cursors, {}, order);
  return all;
}

// Merges sorted `fresh` into the sorted stream of old entries.
class HeadMerge {
 public:
  HeadMerge(Writer& writer, const std::vector<HeadEntry>& fresh) : writer_(writer), fresh_(fresh) {}
  void old(HeadEntry entry) {
    while (at_ < fresh_.size() && fresh_[at_].conversation < entry.conversation) emit(take());
    if (at_ < fresh_.size() && fresh_[at_].conversation == entry.conversation) entry.merge(take());
    emit(entry);
  }
  void finish() {
    while (at_ < fresh_.size()) emit(take());
  }

 private:
  HeadEntry take() {
    HeadEntry entry = fresh_[at_++];
    for (; at_ < fresh_.size() && fresh_[at_].conversation == entry.conversation; ++at_)
      entry.merge(fresh_[at_]);
    return entry;
  }
  void emit(const HeadEntry& entry) { writer_.add(kHeads, entry); }

  Writer& writer_;
  const std::vector<HeadEntry>& fresh_;
  size_t at_ = 0;
};

class CursorMerge {
 public:
  CursorMerge(Writer& writer, const std::vector<CursorEntry>& fresh)
      : writer_(writer), fresh_(fresh) {}
  void old(CursorEntry entry) {
    while (at_ < fresh_.size() && order(fresh_[at_]) < order(entry)) emit(take());
    if (at_ < fresh_.size() && order(fresh_[at_]) == order(entry))
      entry.msg_id = std::max(entry.msg_id, take().msg_id);
    emit(entry);
  }
  void finish() {
    while (at_ < fresh_.size()) emit(take());
  }

 private:
  CursorEntry take() {
    CursorEntry entry = fresh_[at_++];
    for (; at_ < fresh_.size() && order(fresh_[at_]) == order(entry); ++at_)
      entry.msg_id = std::max(entry.msg_id, fresh_[at_].msg_id);
    return entry;
  }
  void emit(const CursorEntry& entry) { writer_.add(kCursors, entry); }

  Writer& writer_;
  const std::vector<CursorEntry>& fresh_;
  size_t at_ = 0;
};

Result<uint64_t> write_merged(engine::Disk& disk, int fd, uint64_t salt, const Covered& covered,
                              const Gathered& fresh, uint32_t now,
                              std::vector<YoungSegment>* young) {
  Writer writer(disk, fd, salt);
  Header header{.magic         = kSnapshotMagic,
                .version       = kFormatVersion,
                .header_bytes  = sizeof(Header),
                .salt          = salt,
                .covered_up_to = covered.up_to,
                .time          = now,
                .zero          = {},
                .crc           = 0};
  header.crc = header_sum(header);
  writer.put(std::as_bytes(std::span(&header, 1)));
  for (uint32_t segment : covered.more) writer.add(kSegments, segment);

  HeadMerge heads(writer, fresh.heads);
  CursorMerge cursors(writer, fresh.cursors);
  std::vector<RepeatEntry> repeats;
  bool heads_over = false;
  // Kinds come in order, so the heads are finished when the first later one appears.
  const auto finish_heads = [&] {
    if (!std::exchange(heads_over, true)) heads.finish();
  };
  const SnapshotVisitor old{.head = [&](const HeadEntry& entry) { heads.old(entry); },
                            .cursor =
                                [&](const CursorEntry& entry) {
                                  finish_heads();
                                  cursors.old(entry);
                                },
                            .repeat = [&](const RepeatEntry& entry) { repeats.push_back(entry); }};
  auto read = read_all(disk, &old);
  if (!read && read.error().code != Errc::not_found) return std::unexpected(read.error());
  if (read) *young = read->young;
  finish_heads();
  cursors.finish();

  repeats.insert(repeats.end(), fresh.repeats.begin(), fresh.repeats.end());
  std::erase_if(repeats, [now](RepeatEntry& entry) { return !still_protects(entry, now); });
  if (repeats.size() > kRepeatsMax) {
    std::ranges::stable_sort(repeats, {}, &RepeatEntry::time);
    repeats.erase(repeats.begin(), repeats.end() - kRepeatsMax);
  }
  for (const RepeatEntry& entry : repeats) writer.add(kRepeats, entry);
  young->insert(young->end(), fresh.young.begin(), fresh.young.end());
  std::erase_if(*young,
                [now](const YoungSegment& s) { return uint64_t{s.sealed} + kRepeatSeconds < now; });
  for (const YoungSegment& segment : *young) writer.add(kYoung, segment);
  return writer.finish();
}

}  // namespace

bool Covered::has(uint32_t segment) const {
  return segment <= up_to || std::ranges::binary_search(more, segment);
}

void Covered::add(uint32_t segment) {
  if (has(segment)) return;
  more.insert(std::ranges::upper_bound(more, segment), segment);
}

void Covered::settle(const std::vector<uint32_t>& open, uint32_t newest) {
  const uint32_t limit = open.empty() ? newest : open.front() - 1;
  up_to                = std::max(up_to, limit);
  std::erase_if(more, [this](uint32_t segment) { return segment <= up_to; });
}

Result<SnapshotInfo> check_snapshot(engine::Disk& disk) {
  Reader reader(disk);
  if (auto opened = reader.open(); !opened) return std::unexpected(opened.error());
  return SnapshotInfo{.salt = reader.header().salt, .bytes = reader.bytes()};
}

Result<SnapshotInfo> load_snapshot(engine::Disk& disk, const SnapshotVisitor& visit) {
  return read_all(disk, &visit);
}

Result<SnapshotInfo> merge_snapshot(engine::Disk& disk, uint64_t salt, const Covered& covered,
                                    std::vector<Footer> footers, uint32_t now) {
  const Gathered fresh = gather(std::move(footers));
  RT_KILLPOINT("snapshot_before_tmp");
  if (auto removed = disk.remove(kTemporary); !removed && removed.error().os != ENOENT)
    return std::unexpected(removed.error());
  auto fd = disk.open(kTemporary, engine::Disk::Open::create_new);
  if (!fd) return std::unexpected(fd.error());
  std::vector<YoungSegment> young;
  auto bytes          = write_merged(disk, *fd, salt, covered, fresh, now, &young);
  Result<void> synced = bytes ? Result<void>{} : Result<void>(std::unexpected(bytes.error()));
  RT_KILLPOINT("snapshot_after_tmp_write");
  if (synced) synced = disk.sync(*fd);
  disk.close(*fd);
  if (!synced) {
    (void)disk.remove(kTemporary);
    return std::unexpected(synced.error());
  }
  RT_KILLPOINT("snapshot_before_rename");
  if (auto done = disk.rename(kTemporary, kPath); !done) return std::unexpected(done.error());
  RT_KILLPOINT("snapshot_after_rename");
  if (auto done = disk.sync_directory("log"); !done) return std::unexpected(done.error());
  return SnapshotInfo{.salt = salt, .covered = covered, .young = std::move(young), .bytes = *bytes};
}

}  // namespace ringtalk::store
