#include "shard/roster.h"

#include <algorithm>
#include <boost/unordered/unordered_flat_set.hpp>
#include <utility>

namespace ringtalk::shard {

using engine::Payload;
using engine::PayloadRef;

// Fills chunks, one behind the other.
class Roster::Writer {
 public:
  struct Item {
    uint64_t stamp;
    uint32_t id;
    bool left;
    std::string_view entry;
  };

  explicit Writer(std::vector<ChunkRef>& to) : to_(to) {}

  bool empty() const { return entries_.empty(); }

  // Lowest stamps first, all of a stamp at once: a chunk ends between two stamps.
  void add(std::span<const Item> items) {
    for (size_t at = 0; at < items.size();) {
      size_t end = at, bytes = 0;
      for (; end < items.size() && items[end].stamp == items[at].stamp; ++end)
        bytes += items[end].entry.size();
      if (this->bytes() + bytes > kChunkBytes) close();
      for (; at < end; ++at) {
        if (this->bytes() + items[at].entry.size() > kPageBytes) close();
        add(items[at]);
      }
    }
  }
  // As a chunk of its own, as it is.
  void add(const ChunkRef& chunk) {
    close();
    to_.push_back(chunk);
  }
  void close() {
    if (entries_.empty()) return;
    Chunk chunk;
    if (!here_.empty()) chunk.here = PayloadRef::adopt(Payload::copy(as_bytes(here_)));
    if (!left_.empty()) chunk.left = PayloadRef::adopt(Payload::copy(as_bytes(left_)));
    chunk.entries    = std::exchange(entries_, {});
    chunk.left_count = std::exchange(left_count_, 0);
    here_.clear();
    left_.clear();
    to_.push_back(std::make_shared<const Chunk>(std::move(chunk)));
  }

 private:
  size_t bytes() const { return here_.size() + left_.size(); }
  void add(const Item& item) {
    std::string& part = item.left ? left_ : here_;
    entries_.push_back({.stamp = item.stamp,
                        .id    = item.id,
                        .begin = static_cast<uint32_t>(part.size()),
                        .bytes = static_cast<uint32_t>(item.entry.size()),
                        .left  = item.left});
    part += item.entry;
    left_count_ += item.left;
  }

  std::vector<ChunkRef>& to_;
  std::string here_, left_;
  std::vector<Entry> entries_;
  uint32_t left_count_ = 0;
};

bool Roster::add(std::vector<Row> rows) {
  std::shared_ptr<const Version> old;
  {
    const std::lock_guard lock(mutex_);
    if (adding_) return false;
    adding_ = true;
    old     = version_;
  }
  // What another shard added since the store was asked is there already.
  std::erase_if(rows, [&](const Row& row) { return row.stamp <= old->newest; });
  std::shared_ptr<const Version> next = rows.empty() ? old : with(*old, rows);
  const std::lock_guard lock(mutex_);
  version_ = std::move(next);  // `old` keeps the last one from being freed under the lock
  adding_  = false;
  return true;
}

std::shared_ptr<const Roster::Version> Roster::with(const Version& old, std::span<const Row> rows) {
  boost::unordered_flat_set<uint32_t> changed;
  std::vector<Writer::Item> added, stay;
  for (const Row& row : rows) {
    const UserId id{row.id};  // what cannot be remembered may be known
    if (known_.has(id) || !known_.set(id, true)) changed.insert(row.id);
    added.push_back({row.stamp, row.id, row.left, row.entry});
  }
  const auto stays = [&](const Entry& entry) { return !changed.contains(entry.id); };
  auto next        = std::make_shared<Version>();
  Writer writer(next->chunks);
  for (const ChunkRef& chunk : old.chunks) {
    const bool small = chunk->bytes() < kChunkBytes / 2;
    const bool joins = small && (chunk == old.chunks.back() || !writer.empty());
    if (!joins && (changed.empty() || std::ranges::all_of(chunk->entries, stays))) {
      writer.add(chunk);
      continue;
    }
    stay.clear();
    for (const Entry& entry : chunk->entries)
      if (stays(entry))
        stay.push_back({entry.stamp, entry.id, entry.left, as_text(chunk->of(entry))});
    writer.add(stay);
  }
  writer.add(added);
  writer.close();
  for (const ChunkRef& chunk : next->chunks)
    next->bytes += chunk->bytes() + chunk->entries.size() * sizeof(Entry);
  next->newest = rows.back().stamp;
  return next;
}

Roster::Page Roster::page(uint64_t asked, uint64_t reached, uint64_t began) const {
  const auto now = version();
  Page page{.parts = {}, .reached = reached};
  // A newcomer never saw those who had left when he asked.
  const auto hides = [&](uint64_t stamp) { return asked == 0 && stamp <= began; };
  auto at          = std::ranges::partition_point(
      now->chunks, [&](const ChunkRef& chunk) { return chunk->last_stamp() <= reached; });
  const auto listed = [&](const Entry& entry) {
    return entry.stamp > reached && !(entry.left && hides(entry.stamp));
  };
  for (; at != now->chunks.end(); ++at) {
    const Chunk& chunk = **at;
    const bool hidden  = chunk.left_count > 0 && hides(chunk.first_stamp());
    const bool whole   = chunk.first_stamp() > reached && (!hidden || hides(chunk.last_stamp()));
    std::string some;
    uint32_t count = 0;
    size_t bytes   = 0;
    if (whole) {
      count = static_cast<uint32_t>(chunk.entries.size()) - (hidden ? chunk.left_count : 0);
      bytes = hidden ? chunk.here.bytes().size() : chunk.bytes();
    } else {
      for (const Entry& entry : chunk.entries)
        if (listed(entry)) some += as_text(chunk.of(entry)), ++count;
      bytes = some.size();
    }
    if (page.bytes + bytes > kPageBytes) {
      page.more = true;
      return page;
    }
    if (!whole && bytes > 0) page.parts.push_back(PayloadRef::adopt(Payload::copy(as_bytes(some))));
    if (whole && chunk.here) page.parts.push_back(chunk.here);
    if (whole && chunk.left && !hidden) page.parts.push_back(chunk.left);
    page.bytes += static_cast<uint32_t>(bytes);
    page.entries += count;
    page.reached = chunk.last_stamp();
  }
  return page;
}

}  // namespace ringtalk::shard
