#include "store/embedded/footer.h"

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <tuple>

#include "engine/base/assert.h"
#include "engine/killpoint.h"
#include "store/embedded/crc32c.h"

namespace ringtalk::store {
namespace {

struct FooterHeader {
  uint64_t zero = 0;
  uint64_t magic;
  uint32_t version;
  uint32_t segment;
  uint32_t heads;
  uint32_t cursors;
  uint32_t repeats;
  uint32_t last_batch;
  uint64_t records;
  uint64_t end;
  uint32_t sealed;
  uint32_t zero2 = 0;
};
static_assert(sizeof(FooterHeader) == kFooterHeaderBytes);

struct Trailer {
  uint64_t offset;
  uint64_t bytes;
  uint32_t crc;
  uint32_t version;
  uint64_t magic;
};
static_assert(sizeof(Trailer) == kTrailerBytes);

uint32_t footer_sum(Bytes bytes, uint32_t segment, uint32_t salt) {
  return crc32c(crc32c_of(salt, segment), bytes);
}

template <class T>
void append(std::vector<std::byte>& out, const std::vector<T>& items) {
  const auto bytes = std::as_bytes(std::span(items));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

template <class T>
const std::byte* take(const std::byte* from, uint64_t count, std::vector<T>& items) {
  items.resize(count);
  if (count > 0) std::memcpy(static_cast<void*>(items.data()), from, count * sizeof(T));
  return from + count * sizeof(T);
}

}  // namespace

HeadEntry FooterBuilder::head_of(const RecordHeader& record, Pointer place) {
  HeadEntry head{.conversation = record.conversation};
  switch (record.kind) {
    case RecordKind::message:
      head.newest      = place;
      head.msg_id      = record.msg_id;
      head.time        = record.time;
      head.small_count = record.small_count;
      head.hidden      = record.hidden;
      head.block       = record.block;
      break;
    case RecordKind::control:
      head.control = place;
      head.hidden  = record.hidden;
      break;
    case RecordKind::block: head.block = place; break;
    case RecordKind::cursor: break;
  }
  return head;
}

void FooterBuilder::add_rest(const RecordHeader& record, const RecordKeys& keys) {
  if (record.kind == RecordKind::cursor)
    cursors_.push_back({record.conversation, record.author, record.msg_id});
  // Who writes in a group has read it: his read position needs no record of its own.
  if (record.kind == RecordKind::message && ConversationId{record.conversation}.is_group())
    cursors_.push_back({record.conversation, record.author, record.msg_id});
  if (record.kind == RecordKind::message && (record.repeat_key != 0 || keys.client_key != 0))
    repeats_.push_back({.author     = record.author,
                        .msg_id     = record.msg_id,
                        .time       = record.time,
                        .repeat_key = record.repeat_key,
                        .client_key = keys.client_key,
                        .full_key   = keys.full_key});
}

void FooterBuilder::add(const RecordView& record, Pointer place) {
  if (record.header.kind != RecordKind::cursor) add_head(head_of(record.header, place));
  add_rest(record.header, record.keys);
}

void FooterBuilder::add_damaged(const Damage& damage) {
  add_head({.conversation = damage.conversation,
            .newest       = Pointer::at(damage.segment, damage.offset),
            .msg_id       = damage.msg_id});
}

Footer FooterBuilder::finish(uint32_t segment, const Scan& scan, uint32_t now) {
  Footer footer{.segment    = segment,
                .last_batch = scan.last_batch,
                .sealed     = now,
                .records    = scan.records,
                .end        = scan.end};
  // Joined before they are sorted: there are far more notes than conversations.
  boost::unordered_flat_map<uint64_t, uint32_t> places;
  for (const HeadEntry& head : heads_) {
    const auto [at, fresh] =
        places.try_emplace(head.conversation, static_cast<uint32_t>(footer.heads.size()));
    if (fresh)
      footer.heads.push_back(head);
    else
      footer.heads[at->second].merge(head);
  }
  std::ranges::sort(footer.heads, {}, &HeadEntry::conversation);
  const auto key = [](const CursorEntry& cursor) {
    return std::tuple(cursor.conversation, cursor.user, cursor.msg_id);
  };
  std::ranges::sort(cursors_, {}, key);
  for (const CursorEntry& cursor : cursors_) {  // the last of a user is the furthest
    if (!footer.cursors.empty() && footer.cursors.back().conversation == cursor.conversation &&
        footer.cursors.back().user == cursor.user)
      footer.cursors.back() = cursor;
    else
      footer.cursors.push_back(cursor);
  }
  footer.repeats.reserve(repeats_.size());
  for (RepeatEntry& repeat : repeats_)
    if (still_protects(repeat, now)) footer.repeats.push_back(repeat);
  heads_   = {};
  cursors_ = {};
  repeats_ = {};
  return footer;
}

bool has_trailer(engine::Disk& disk, int fd, uint64_t bytes) {
  if (bytes < kSegmentHeaderBytes + kFooterHeaderBytes + kTrailerBytes) return false;
  Trailer trailer{};
  const auto got =
      disk.read(fd, std::as_writable_bytes(std::span(&trailer, 1)), bytes - kTrailerBytes);
  return got && *got == kTrailerBytes && trailer.magic == kTrailerMagic;
}

Result<Footer> load_footer(engine::Disk& disk, int fd, uint32_t segment, uint32_t salt) {
  auto size = disk.size(fd);
  if (!size) return std::unexpected(size.error());
  if (*size < kSegmentHeaderBytes + kFooterHeaderBytes + kTrailerBytes || *size % 8 != 0)
    return fail(Errc::not_found);
  Trailer trailer{};
  auto got = disk.read(fd, std::as_writable_bytes(std::span(&trailer, 1)), *size - kTrailerBytes);
  if (!got) return fail(Errc::corrupt);
  if (*got != kTrailerBytes || trailer.magic != kTrailerMagic) return fail(Errc::not_found);
  const uint64_t bytes = *size - kTrailerBytes - std::min(trailer.offset, *size - kTrailerBytes);
  if (trailer.version != kFormatVersion || trailer.bytes != bytes || bytes < kFooterHeaderBytes)
    return fail(Errc::corrupt);

  std::vector<std::byte> all(bytes);
  got = disk.read(fd, all, trailer.offset);
  if (!got || *got != bytes) return fail(Errc::corrupt);
  if (footer_sum(all, segment, salt) != trailer.crc) return fail(Errc::corrupt);
  const auto header       = load_native<FooterHeader>(all.data());
  const uint64_t expected = kFooterHeaderBytes + uint64_t{header.heads} * sizeof(HeadEntry) +
                            uint64_t{header.cursors} * sizeof(CursorEntry) +
                            uint64_t{header.repeats} * sizeof(RepeatEntry);
  if (header.magic != kFooterMagic || header.segment != segment || header.end != trailer.offset ||
      expected != bytes)
    return fail(Errc::corrupt);

  Footer footer{.segment    = segment,
                .last_batch = header.last_batch,
                .sealed     = header.sealed,
                .records    = header.records,
                .end        = header.end};
  const std::byte* at = all.data() + kFooterHeaderBytes;
  at                  = take(at, header.heads, footer.heads);
  at                  = take(at, header.cursors, footer.cursors);
  at                  = take(at, header.repeats, footer.repeats);
  RT_ASSERT(at == all.data() + all.size());
  return footer;
}

Result<void> write_footer(engine::Disk& disk, int fd, const Footer& footer, uint32_t salt) {
  std::vector<std::byte> out;
  out.reserve(footer.bytes() + kTrailerBytes);
  out.resize(kFooterHeaderBytes);
  const FooterHeader header{.magic      = kFooterMagic,
                            .version    = kFormatVersion,
                            .segment    = footer.segment,
                            .heads      = static_cast<uint32_t>(footer.heads.size()),
                            .cursors    = static_cast<uint32_t>(footer.cursors.size()),
                            .repeats    = static_cast<uint32_t>(footer.repeats.size()),
                            .last_batch = footer.last_batch,
                            .records    = footer.records,
                            .end        = footer.end,
                            .sealed     = footer.sealed};
  std::memcpy(out.data(), &header, sizeof header);
  append(out, footer.heads);
  append(out, footer.cursors);
  append(out, footer.repeats);
  const Trailer trailer{.offset  = footer.end,
                        .bytes   = out.size(),
                        .crc     = footer_sum(out, footer.segment, salt),
                        .version = kFormatVersion,
                        .magic   = kTrailerMagic};
  append(out, std::vector{trailer});

  RT_KILLPOINT("footer_before_write");
  if (auto done = disk.write(fd, out, footer.end); !done) return done;
  RT_KILLPOINT("footer_after_write");
  if (auto done = disk.sync(fd); !done) return done;
  RT_KILLPOINT("footer_before_truncate");
  if (auto done = disk.truncate(fd, footer.end + out.size()); !done) return done;
  if (auto done = disk.sync(fd); !done) return done;
  RT_KILLPOINT("footer_after_sync");
  return {};
}

namespace {

// A damaged header may lie about its id. It is believed when the message before it is where it says.
bool confirmed(engine::Disk& disk, int fd, uint32_t salt, const Damage& damage) {
  if (damage.conversation == 0 || damage.msg_id == 0) return false;
  if (damage.msg_id == 1) return !damage.prev;
  if (!damage.prev) return false;
  int prev_fd = fd;
  if (damage.prev.segment() != damage.segment) {
    auto opened = disk.open(segment_path(damage.prev.segment()), engine::Disk::Open::read);
    if (!opened) return false;
    prev_fd = *opened;
  }
  std::vector<std::byte> bytes(kRecordBytesMax);
  auto got = disk.read(prev_fd, bytes, damage.prev.offset());
  if (prev_fd != fd) disk.close(prev_fd);
  if (!got) return false;
  RecordView record;
  return parse_record(Bytes(bytes).first(*got), damage.prev, salt, record, nullptr) ==
             Parse::record &&
         record.header.kind == RecordKind::message &&
         record.header.conversation == damage.conversation &&
         record.header.msg_id + 1 == damage.msg_id;
}

}  // namespace

Result<Footer> rebuild_footer(engine::Disk& disk, int fd, uint32_t segment, uint32_t salt,
                              uint32_t now, Scan* scan) {
  FooterBuilder builder;
  auto scanned =
      scan_segment(disk, fd, segment, salt, 0,
                   [&](const RecordView& record, Pointer place) { builder.add(record, place); });
  if (!scanned) return std::unexpected(scanned.error());
  for (const Damage& damage : scanned->damages)
    if (confirmed(disk, fd, salt, damage)) builder.add_damaged(damage);
  Footer footer = builder.finish(segment, *scanned, now);
  if (scan) *scan = std::move(*scanned);
  return footer;
}

}  // namespace ringtalk::store
