// FlatTable: hash table of small plain entries, insert-only, whose growth never holds the shard.
//
// Bound      memory: size() / 0.85 … size() / 0.68 entries once a part has outgrown its first array.
// Cost       find: one cache miss as a rule. Growing moves one of 256 parts: at 10 million entries
//            39,000 of them, below 1 ms.
// Invariants linear probing inside a part; entries are never removed, so a probe ends at a free one.
// Why        boost::unordered_flat_map doubles (up to 94 bytes for an entry of 40) and moves everything
//            at once. Keys are mixed with a seed: who picks his peers cannot pick their places.
//
// Entry: trivially copyable, all-zero = free, with Key, `bool used() const`, `bool is(Key) const`,
// `void assign(Key)`, `static uint64_t mix(Key)` (one word that names the key).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>

#include "engine/base/assert.h"

namespace ringtalk::store {

template <class Entry>
class FlatTable {
  static_assert(std::is_trivially_copyable_v<Entry>);

 public:
  using Key                        = typename Entry::Key;
  static constexpr uint32_t kParts = 256;

  explicit FlatTable(uint64_t seed) : seed_(seed), parts_(std::make_unique<Part[]>(kParts)) {}

  uint64_t size() const { return size_; }
  uint64_t memory_bytes() const { return entries_ * sizeof(Entry) + kParts * sizeof(Part); }

  const Entry* find(Key key) const { return const_cast<FlatTable*>(this)->find(key); }
  Entry* find(Key key) {
    const uint64_t hash = place(key);
    Part& part          = parts_[hash >> 56];
    if (part.capacity == 0) return nullptr;
    Entry& entry = probe(part, hash, key);
    return entry.used() ? &entry : nullptr;
  }

  // The entry of `key`, made (and otherwise zero) if there was none. Valid until the next insert.
  Entry& find_or_insert(Key key) {
    const uint64_t hash = place(key);
    Part& part          = parts_[hash >> 56];
    if (part.capacity > 0) {
      Entry& entry = probe(part, hash, key);
      if (entry.used()) return entry;
    }
    if (uint64_t{part.size + 1} * 100 > uint64_t{part.capacity} * 85) grow(part);
    Entry& entry = probe(part, hash, key);
    entry.assign(key);
    RT_ASSERT(entry.used());
    ++part.size;
    ++size_;
    return entry;
  }

  template <class Visit>
  void for_each(Visit&& visit) const {
    for (uint32_t p = 0; p < kParts; ++p)
      for (uint32_t i = 0; i < parts_[p].capacity; ++i)
        if (parts_[p].entries.get()[i].used()) visit(parts_[p].entries.get()[i]);
  }

 private:
  struct Free {
    void operator()(Entry* entries) const { std::free(entries); }
  };
  struct Part {
    std::unique_ptr<Entry, Free> entries;
    uint32_t capacity = 0;
    uint32_t size     = 0;
  };

  uint64_t place(Key key) const {
    uint64_t x = Entry::mix(key) ^ seed_;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    return x;
  }

  Entry& probe(Part& part, uint64_t hash, Key key) {
    uint64_t at = ((hash & 0xffffffffu) * part.capacity) >> 32;
    for (;;) {
      Entry& entry = part.entries.get()[at];
      if (!entry.used() || entry.is(key)) return entry;
      if (++at == part.capacity) at = 0;
    }
  }

  void grow(Part& part) {
    const uint32_t capacity = next_capacity(part.capacity);
    Part larger;
    larger.entries.reset(static_cast<Entry*>(std::calloc(capacity, sizeof(Entry))));
    RT_ASSERT(larger.entries != nullptr);
    larger.capacity = capacity;
    larger.size     = part.size;
    for (uint32_t i = 0; i < part.capacity; ++i) {
      const Entry& entry = part.entries.get()[i];
      if (entry.used()) probe(larger, place(entry.key_of()), entry.key_of()) = entry;
    }
    entries_ += capacity - part.capacity;
    part = std::move(larger);
  }

  // Sizes the allocator has classes for: four per doubling, so nothing is lost to rounding.
  static uint32_t next_capacity(uint32_t capacity) {
    uint64_t power = 512;
    for (;; power *= 2)
      for (uint64_t quarter = 4; quarter < 8; ++quarter)
        if (const uint64_t fits = power * quarter / 4 / sizeof(Entry); fits > capacity + 2)
          return static_cast<uint32_t>(fits);
  }

  const uint64_t seed_;
  std::unique_ptr<Part[]> parts_;
  uint64_t size_    = 0;
  uint64_t entries_ = 0;
};

}  // namespace ringtalk::store
