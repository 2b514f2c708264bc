#include "store/embedded/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>

#include "store/embedded/footer.h"
#include "store/embedded/recovery.h"
#include "store/embedded/snapshot.h"

namespace ringtalk::store {
namespace {

class Verifier {
 public:
  Verifier(engine::Disk& disk, LogFiles files)
      : disk_(disk), files_(std::move(files)), salt_(salt_sum(files_.salt)) {}

  Result<VerifyReport> run() {
    for (uint32_t segment : files_.damaged_headers)
      problem("{}: header damaged", segment_path(segment));
    for (const CutShort& cut : files_.cut_short)
      problem("{}: cut short, {} bytes are left", segment_path(cut.segment), cut.bytes);
    for (uint32_t segment : files_.segments)
      if (auto done = check_segment(segment); !done) return std::unexpected(done.error());
    check_snapshot();
    close_block_file();
    report_.segments      = files_.segments.size();
    report_.conversations = heads_.size();
    return std::move(report_);
  }

 private:
  template <class... Args>
  void problem(fmt::format_string<Args...> format, Args&&... args) {
    ++report_.problems_count;
    if (report_.problems.size() < VerifyReport::kProblemsMax)
      report_.problems.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  Result<void> check_segment(uint32_t segment) {
    auto fd = disk_.open(segment_path(segment), engine::Disk::Open::read);
    if (!fd) return std::unexpected(fd.error());
    auto footer = load_footer(disk_, *fd, segment, salt_);
    if (!footer && footer.error().code == Errc::corrupt)
      problem("{}: footer damaged", segment_path(segment));
    if (!footer) ++report_.unsealed;

    FooterBuilder builder;
    auto scan = scan_segment(disk_, *fd, segment, salt_, footer ? footer->end : 0,
                             [&](const RecordView& record, Pointer place) {
                               builder.add(record, place);
                               check_record(record, place);
                             });
    disk_.close(*fd);
    if (!scan) return std::unexpected(scan.error());
    report_.records += scan->records;
    report_.bytes += scan->end - kSegmentHeaderBytes;
    report_.torn_bytes += scan->torn_bytes;
    for (const Damage& damage : scan->damages) {
      problem("{}: {} bytes damaged at {} (conversation {:016x}, message {})",
              segment_path(segment), damage.bytes, damage.offset, damage.conversation,
              damage.msg_id);
      damaged_ = true;
    }
    if (footer && scan->damages.empty())
      compare(*footer, builder.finish(segment, *scan, footer->sealed));
    return {};
  }

  void compare(const Footer& said, const Footer& is) {
    const auto same = [](const auto& a, const auto& b) {  // entries have no padding
      return std::ranges::equal(std::as_bytes(std::span(a)), std::as_bytes(std::span(b)));
    };
    if (said.records != is.records || said.last_batch != is.last_batch ||
        !same(said.heads, is.heads) || !same(said.cursors, is.cursors) ||
        !same(said.repeats, is.repeats))
      problem("{}: footer does not agree with the records", segment_path(said.segment));
  }

  void check_record(const RecordView& record, Pointer place) {
    const RecordHeader& header = record.header;
    if (header.kind == RecordKind::message) {
      ++report_.messages;
      Known& known = heads_[header.conversation];
      if (header.msg_id != known.msg_id + 1 && !damaged_)
        problem("{} at {}: conversation {:016x} goes from message {} to {}",
                segment_path(place.segment()), place.offset(), header.conversation, known.msg_id,
                header.msg_id);
      else if (header.msg_id == known.msg_id + 1 && header.prev != known.newest)
        problem("{} at {}: conversation {:016x} message {}: prev points elsewhere",
                segment_path(place.segment()), place.offset(), header.conversation, header.msg_id);
      known = {header.msg_id, place};
    } else if (header.kind == RecordKind::block) {
      ++report_.blocks;
      check_block(record, place);
    }
  }

  void check_block(const RecordView& record, Pointer place) {
    const RecordHeader& header = record.header;
    const auto* pointers       = reinterpret_cast<const Pointer*>(record.body.data());
    for (uint32_t i = 0; i < kBlockMessages; ++i)
      check_pointer(header, place, pointers[i], RecordKind::message,
                    header.msg_id - kBlockMessages + 1 + i);
    const uint32_t block = header.msg_id / kBlockMessages;
    const std::span jumps(pointers + kBlockMessages, jump_count(block));
    if (!jumps.empty()) {
      const uint32_t first  = jump_towards(block, jumps, 1).block;
      const JumpStep nearer = jump_towards(block, jumps, block - 1);
      check_pointer(header, place, jumps.back(), RecordKind::block, first * kBlockMessages);
      check_pointer(header, place, nearer.pointer, RecordKind::block,
                    nearer.block * kBlockMessages);
    }
  }

  void check_pointer(const RecordHeader& from, Pointer place, Pointer to, RecordKind kind,
                     uint32_t msg_id) {
    if (damaged_) return;  // it may point at what is damaged and already named
    RecordHeader header{};
    const bool read = read_header(to, header);
    if (!read || header.kind != kind || header.conversation != from.conversation ||
        header.msg_id != msg_id)
      problem("{} at {}: conversation {:016x}: block record {} points wrongly to {} {}",
              segment_path(place.segment()), place.offset(), from.conversation,
              from.msg_id / kBlockMessages,
              kind == RecordKind::message ? "message" : "block up to message", msg_id);
  }

  bool read_header(Pointer place, RecordHeader& header) {
    if (!place) return false;
    if (place.segment() != block_segment_) {
      close_block_file();
      auto fd = disk_.open(segment_path(place.segment()), engine::Disk::Open::read);
      if (!fd) return false;
      block_fd_      = *fd;
      block_segment_ = place.segment();
    }
    auto got = disk_.read(block_fd_, std::as_writable_bytes(std::span(&header, 1)), place.offset());
    return got && *got == sizeof header;
  }

  void close_block_file() {
    if (block_fd_ >= 0) disk_.close(block_fd_);
    block_fd_      = -1;
    block_segment_ = 0;
  }

  void check_snapshot() {
    const SnapshotVisitor visit{
        .head =
            [this](const HeadEntry& entry) {
              const auto known = heads_.find(entry.conversation);
              if (!damaged_ && (known == heads_.end() || known->second.msg_id < entry.msg_id))
                problem("log/snapshot: conversation {:016x} message {} is in no segment",
                        entry.conversation, entry.msg_id);
            },
        .cursor = nullptr,
        .repeat = nullptr};
    auto loaded      = load_snapshot(disk_, visit);
    report_.snapshot = loaded.has_value();
    if (!loaded && loaded.error().code != Errc::not_found) problem("log/snapshot: damaged");
  }

  struct Known {
    uint32_t msg_id = 0;
    Pointer newest;
  };

  engine::Disk& disk_;
  const LogFiles files_;
  const uint32_t salt_;
  VerifyReport report_;
  boost::unordered_flat_map<uint64_t, Known> heads_;
  bool damaged_           = false;  // named above; gaps it causes are not counted again
  int block_fd_           = -1;
  uint32_t block_segment_ = 0;
};

constexpr std::string_view kDamaged = "damaged";
constexpr std::string_view kTorn    = "torn";

const char* kind_name(RecordKind kind) {
  switch (kind) {
    case RecordKind::message: return "message";
    case RecordKind::control: return "control";
    case RecordKind::cursor: return "cursor";
    case RecordKind::block: return "block";
  }
  return "?";
}

std::string body_text(Bytes body) {
  const std::string_view text = as_text(body.first(std::min<size_t>(body.size(), 60)));
  const bool plain = std::ranges::all_of(text, [](char c) { return c >= 32 && c < 127; });
  return plain ? fmt::format(" \"{}\"{}", text, body.size() > 60 ? "…" : "") : "";
}

Result<LogFiles> look(engine::Disk& disk) {
  auto files = look_at_log(disk);
  if (!files) return files;
  if (files->segments.empty() && !files->has_snapshot) return fail(Errc::not_found);
  if (!files->has_salt) return fail(Errc::corrupt);
  return files;
}

}  // namespace

Result<VerifyReport> verify_log(engine::Disk& disk) {
  auto files = look(disk);
  if (!files) return std::unexpected(files.error());
  return Verifier(disk, std::move(*files)).run();
}

Result<void> dump_log(engine::Disk& disk, std::optional<uint64_t> conversation,
                      const std::function<void(const DumpEntry&)>& print) {
  auto files = look(disk);
  if (!files) return std::unexpected(files.error());
  const uint32_t salt = salt_sum(files->salt);
  for (uint32_t segment : files->segments) {
    auto fd = disk.open(segment_path(segment), engine::Disk::Open::read);
    if (!fd) return std::unexpected(fd.error());
    auto footer     = load_footer(disk, *fd, segment, salt);
    const auto show = [&](const RecordView& record, Pointer place) {
      const RecordHeader& header = record.header;
      if (conversation && header.conversation != *conversation) return;
      print({.kind    = kind_name(header.kind),
             .segment = segment,
             .offset  = place.offset(),
             .record  = &record});
    };
    auto scan = scan_segment(disk, *fd, segment, salt, footer ? footer->end : 0, show);
    disk.close(*fd);
    if (!scan) return std::unexpected(scan.error());
    for (const Damage& damage : scan->damages)
      print({.kind = kDamaged, .segment = segment, .offset = damage.offset, .bytes = damage.bytes});
    if (scan->torn_bytes > 0)
      print({.kind = kTorn, .segment = segment, .offset = scan->end, .bytes = scan->torn_bytes});
    print({.kind    = "segment",
           .segment = segment,
           .records = scan->records,
           .sealed  = footer.has_value()});
  }
  return {};
}

std::string dump_text(const DumpEntry& entry) {
  if (entry.kind == kDamaged)
    return fmt::format("{:08x}:{:<9} DAMAGED {} bytes", entry.segment, entry.offset, entry.bytes);
  if (entry.kind == kTorn)
    return fmt::format("{:08x}:{:<9} torn tail, {} bytes", entry.segment, entry.offset,
                       entry.bytes);
  if (!entry.record)
    return fmt::format("{:08x}: {} record{}, {}", entry.segment, entry.records,
                       entry.records == 1 ? "" : "s", entry.sealed ? "sealed" : "not sealed");
  const RecordHeader& header = entry.record->header;
  return fmt::format(
      "{:08x}:{:<9} batch {:<6} {:<7} {:016x} id {:<8} by {:<8} time {} type {} bytes {}{}",
      entry.segment, entry.offset, header.batch, entry.kind, header.conversation, header.msg_id,
      header.author, header.time, header.type, header.body_bytes,
      header.kind == RecordKind::message ? body_text(entry.record->body) : "");
}

}  // namespace ringtalk::store
