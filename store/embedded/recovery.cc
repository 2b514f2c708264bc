#include "store/embedded/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "engine/base/assert.h"

namespace ringtalk::store {
namespace {

class Recovery {
 public:
  Recovery(engine::Disk& disk, engine::Clock& clock, const RecoverySettings& settings)
      : disk_(disk), clock_(clock), settings_(settings), shards_(settings.homes.shards) {
    RT_ASSERT(shards_ > 0 && settings.homes.of_user && settings.homes.of_conversation);
  }

  Result<Recovered> run() {
    const uint64_t start_ns = clock_.now_ns();
    auto looked             = look_at_log(disk_);
    if (!looked) return std::unexpected(looked.error());
    files_ = std::move(*looked);
    if (!files_.has_salt && !files_.segments.empty()) return fail(Errc::corrupt);
    out_.salt                   = files_.has_salt ? files_.salt : settings_.fresh_salt;
    out_.report.segments        = static_cast<uint32_t>(files_.segments.size());
    out_.report.damaged_headers = files_.damaged_headers;
    out_.report.cut_short       = files_.cut_short;
    for (uint32_t i = 0; i < shards_; ++i)
      out_.shards.push_back(std::make_unique<ShardState>(out_.salt));

    if (auto made = disk_.make_directory("log"); !made) return std::unexpected(made.error());
    if (auto synced = disk_.sync_directory(""); !synced) return std::unexpected(synced.error());
    read_snapshot();
    make_worker();
    for (uint32_t segment : files_.segments)
      if (!snapshot_.covered.has(segment))
        if (auto done = take_segment(segment); !done) return std::unexpected(done.error());
    read_young();
    deal_repeats();
    (void)out_.worker->merge_if_due();  // tried again after the next seal
    finish_report(start_ns);
    return std::move(out_);
  }

 private:
  void read_snapshot() {
    const SnapshotVisitor visit{
        .head   = [this](const HeadEntry& entry) { add(entry); },
        .cursor = [this](const CursorEntry& entry) { add(entry); },
        .repeat = [this](const RepeatEntry& entry) { repeats_.push_back(entry); }};
    auto loaded = load_snapshot(disk_, visit);
    if (loaded) {
      snapshot_ = std::move(*loaded);
      return;
    }
    // What its whole blocks said is true and stays; the footers repeat it and bring the rest.
    out_.report.snapshot_rebuilt = loaded.error().code != Errc::not_found;
    if (out_.report.snapshot_rebuilt) (void)disk_.remove("log/snapshot");
  }

  void make_worker() {
    out_.segment_bytes = segment_bytes_of(settings_.segment_bytes, shards_);
    uint32_t newest    = snapshot_.covered.up_to;
    if (!snapshot_.covered.more.empty()) newest = std::max(newest, snapshot_.covered.more.back());
    if (!files_.segments.empty()) newest = std::max(newest, files_.segments.back());
    out_.worker =
        std::make_unique<SegmentWorker>(disk_, clock_,
                                        SegmentWorker::Settings{.shards        = shards_,
                                                                .segment_bytes = out_.segment_bytes,
                                                                .salt          = out_.salt,
                                                                .next_number   = newest + 1});
    out_.worker->set_snapshot(snapshot_);
    for (uint32_t segment : files_.segments)
      if (!snapshot_.covered.has(segment)) out_.worker->add_open(segment);
  }

  // A segment the snapshot does not have.
  Result<void> take_segment(uint32_t segment) {
    const uint32_t salt = salt_sum(out_.salt);
    auto fd             = disk_.open(segment_path(segment), engine::Disk::Open::read_write);
    if (!fd) return std::unexpected(fd.error());
    auto footer = load_footer(disk_, *fd, segment, salt);
    if (footer) {
      disk_.close(*fd);
      add(*footer);
      out_.worker->add_found(segment, footer->bytes());
      return {};
    }
    if (footer.error().code == Errc::corrupt) out_.report.damaged_footers.push_back(segment);

    Scan scan;
    footer = rebuild_footer(disk_, *fd, segment, salt, wall_seconds(clock_), &scan);
    if (!footer) {
      disk_.close(*fd);
      return std::unexpected(footer.error());
    }
    note(segment, scan);
    add(*footer);
    // One that lost all its records is kept, and found damaged by who looks for them.
    const auto& cut  = files_.cut_short;
    const bool whole = std::ranges::find(cut, segment, &CutShort::segment) == cut.end();
    const bool empty = footer->records == 0 && scan.damages.empty() && whole;
    Result<void> done =
        empty ? disk_.remove(segment_path(segment)) : write_footer(disk_, *fd, *footer, salt);
    disk_.close(*fd);
    if (!done)
      out_.report.unsealed.push_back(segment);
    else if (empty)
      out_.worker->forget_open(segment);
    else
      out_.worker->add_found(segment, footer->bytes());
    return {};
  }

  // Covered segments whose 60 s keys may still protect: their footers have them, the snapshot has not.
  void read_young() {
    const uint32_t now = wall_seconds(clock_);
    for (const YoungSegment& young : snapshot_.young) {
      if (uint64_t{young.sealed} + kRepeatSeconds < now) continue;
      auto fd = disk_.open(segment_path(young.number), engine::Disk::Open::read);
      if (!fd) continue;
      const uint32_t salt = salt_sum(out_.salt);
      auto footer         = load_footer(disk_, *fd, young.number, salt);
      if (!footer) footer = rebuild_footer(disk_, *fd, young.number, salt, now, nullptr);
      disk_.close(*fd);
      if (!footer) continue;
      for (const RepeatEntry& entry : footer->repeats)
        if (entry.client_key == 0) repeats_.push_back(entry);
    }
  }

  void note(uint32_t segment, const Scan& scan) {
    RecoveryReport& report = out_.report;
    ++report.segments_read;
    report.bytes_read += scan.end - kSegmentHeaderBytes;
    report.records_read += scan.records;
    report.torn_bytes += scan.torn_bytes;
    if (scan.torn_bytes > 0) report.torn.push_back({segment, scan.end, scan.torn_bytes});
    report.damages.insert(report.damages.end(), scan.damages.begin(), scan.damages.end());
  }

  void add(const Footer& footer) {
    for (const HeadEntry& entry : footer.heads) add(entry);
    for (const CursorEntry& entry : footer.cursors) add(entry);
    repeats_.insert(repeats_.end(), footer.repeats.begin(), footer.repeats.end());
  }

  void add(const HeadEntry& entry) {
    if (entry.conversation == 0) return;
    const ConversationId id{entry.conversation};
    Heads& heads     = out_.shards[settings_.homes.of_conversation(id, shards_)]->heads;
    HeadEntry merged = heads.get(entry.conversation);
    merged.merge(entry);
    heads.set(merged, 0);
  }

  void add(const CursorEntry& entry) {
    const uint32_t home = settings_.homes.of_user(UserId(entry.user), shards_);
    out_.shards[home]->cursors.load({entry.conversation, entry.user}, entry.msg_id);
  }

  void deal_repeats() {
    const uint32_t now = wall_seconds(clock_);
    out_.repeats.resize(shards_);
    std::erase_if(repeats_, [now](RepeatEntry& entry) { return !still_protects(entry, now); });
    std::ranges::stable_sort(repeats_, {}, &RepeatEntry::time);
    if (repeats_.size() > kRepeatsMax) {
      out_.report.repeats_forgotten = repeats_.size() - kRepeatsMax;
      repeats_.erase(repeats_.begin(), repeats_.end() - kRepeatsMax);
    }
    for (const RepeatEntry& entry : repeats_) {
      const auto author = UserId(entry.author);
      out_.repeats[settings_.homes.of_user(author, shards_)].push_back(
          {.author     = author,
           .repeat_key = entry.repeat_key,
           .client_key = entry.client_key,
           .full_key   = entry.full_key,
           .msg_id     = entry.msg_id,
           .time       = entry.time});
    }
  }

  void finish_report(uint64_t start_ns) {
    for (const auto& shard : out_.shards) {
      out_.report.conversations += shard->heads.size();
      out_.report.cursors += shard->cursors.size();
    }
    for (const auto& repeats : out_.repeats) out_.report.repeats += repeats.size();
    out_.report.duration_ns = clock_.now_ns() - start_ns;
  }

  engine::Disk& disk_;
  engine::Clock& clock_;
  const RecoverySettings& settings_;
  const uint32_t shards_;
  LogFiles files_;
  SnapshotInfo snapshot_;
  std::vector<RepeatEntry> repeats_;
  Recovered out_;
};

}  // namespace

Result<LogFiles> look_at_log(engine::Disk& disk) {
  LogFiles files;
  auto names = disk.list("log");
  if (!names) {
    if (names.error().os == ENOENT) return files;
    return std::unexpected(names.error());
  }
  for (const std::string& name : *names)
    if (auto number = segment_of_name(name)) files.segments.push_back(*number);
  std::ranges::sort(files.segments);

  auto snapshot = check_snapshot(disk);
  if (snapshot) {
    files.has_snapshot = files.has_salt = true;
    files.salt                          = snapshot->salt;
  } else if (snapshot.error().code == Errc::unsupported) {
    return fail(Errc::unsupported);
  } else {
    files.snapshot_damaged = snapshot.error().code != Errc::not_found;
  }

  std::vector<std::byte> block(kSegmentHeaderBytes);
  for (uint32_t segment : files.segments) {
    auto fd = disk.open(segment_path(segment), engine::Disk::Open::read);
    if (!fd) return std::unexpected(fd.error());
    auto got         = disk.read(*fd, block, 0);
    const auto bytes = disk.size(*fd);
    const bool ended = bytes && has_trailer(disk, *fd, *bytes);
    disk.close(*fd);
    Result<SegmentHeader> header = fail(Errc::corrupt);
    if (got) header = decode_segment_header(Bytes(block).first(*got));
    if (!header && header.error().code == Errc::unsupported) return fail(Errc::unsupported);
    if (!header || header->segment != segment) {
      files.damaged_headers.push_back(segment);
      continue;
    }
    if (bytes && *bytes < header->segment_bytes && !ended)
      files.cut_short.push_back({segment, *bytes});
    if (!files.has_salt) files.salt = header->salt;
    files.has_salt = true;
  }
  return files;
}

Result<Recovered> recover(engine::Disk& disk, engine::Clock& clock,
                          const RecoverySettings& settings) {
  return Recovery(disk, clock, settings).run();
}

std::vector<std::string> RecoveryReport::lines() const {
  std::vector<std::string> out;
  out.push_back(
      fmt::format("message log: {} segments, {} conversations, {} cursors, {} repeats; read {} "
                  "records, {} bytes of {} "
                  "segments; {} ms",
                  segments, conversations, cursors, repeats, records_read, bytes_read,
                  segments_read, duration_ns / kNsPerMs));
  if (snapshot_rebuilt)
    out.push_back("message log: snapshot was damaged, rebuilt from the footers");
  for (const TornTail& tail : torn)
    out.push_back(fmt::format("message log: {} torn at {}: {} bytes cut, none of them acknowledged",
                              segment_path(tail.segment), tail.offset, tail.bytes));
  for (const Damage& damage : damages)
    out.push_back(
        fmt::format("message log: {} damaged at {}: {} bytes, conversation {:016x} message {}",
                    segment_path(damage.segment), damage.offset, damage.bytes, damage.conversation,
                    damage.msg_id));
  for (uint32_t segment : damaged_headers)
    out.push_back(fmt::format("message log: {}: header damaged", segment_path(segment)));
  for (const CutShort& cut : cut_short)
    out.push_back(fmt::format("message log: {} cut short: {} bytes are left, what followed is lost",
                              segment_path(cut.segment), cut.bytes));
  for (uint32_t segment : damaged_footers)
    out.push_back(fmt::format("message log: {}: footer damaged, rebuilt from the records",
                              segment_path(segment)));
  for (uint32_t segment : unsealed)
    out.push_back(fmt::format("message log: {}: could not be sealed", segment_path(segment)));
  return out;
}

}  // namespace ringtalk::store
