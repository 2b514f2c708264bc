// Roster: the list of all users, or of all departments, encoded once for whoever asks for it.
//
//   any shard: rows newer than newest() from the store ─ add() ─ a new version
//   any shard: page() of the version that is there now
//
// Shape        Chunks of about kChunkBytes in the order of sync stamps. A chunk holds the entries as
//              they stand in an answer, those who left apart: it is sent as it is, by reference, to
//              everybody at once. A changed row leaves its chunk and comes last again.
// Thread rule  Any shard. A version is never changed, only replaced; the lock is held for copying a
//              pointer. One shard at a time prepares the next version, the others come back.
// Cost         page(): one reference per chunk; entries are copied only where a client's stamp lies
//              inside a chunk. add(): the chunks that lose or win a row are written anew, and if
//              known rows changed every entry is looked at (24 bytes each). Memory: the answer with
//              everybody in it (some 100 bytes per user) and those 24 bytes, once per process.
// Why          Thousands of clients ask for everything when a server comes back, some in a loop: a row
//              is read again only when it changes (at a cold start by each shard that is asked), and
//              what waits for slow readers is memory they share.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "engine/payload.h"
#include "shard/id_set.h"

namespace ringtalk::shard {

class Roster {
 public:
  static constexpr size_t kChunkBytes = 48 * 1024;
  static constexpr size_t kPageBytes  = 380 * 1024;  // entries of one answer

  struct Row {
    uint32_t id    = 0;
    uint64_t stamp = 0;
    bool left      = false;  // told only to who asks since a stamp
    std::string entry;       // one element of the answer's list, with tag and length
  };

  struct Page {
    std::vector<engine::PayloadRef> parts;  // entries, in no order among themselves
    uint32_t bytes   = 0;                   // of all parts
    uint32_t entries = 0;
    uint64_t reached = 0;  // everything up to this stamp was listed
    bool more        = false;
  };

  // The largest stamp that the present version holds, 0: empty.
  uint64_t newest() const { return version()->newest; }

  // Takes rows as the store lists them after any stamp that was newest(): lowest stamps first, each
  // stamp whole. False: another shard is doing that; ask the store again.
  bool add(std::vector<Row> rows);

  // What a client gets that asked since the stamp `asked` and has everything up to `reached`.
  // began: newest() when its first page was made; who left later is told even to a newcomer, who may
  // have been told of him before. At most kPageBytes and whole stamps; a stamp that is larger alone is
  // cut.
  Page page(uint64_t asked, uint64_t reached, uint64_t began) const;

  uint64_t bytes() const { return version()->bytes; }

 private:
  struct Entry {
    uint64_t stamp;
    uint32_t id;
    uint32_t begin;  // in its part
    uint32_t bytes;
    bool left;
  };
  struct Chunk {
    engine::PayloadRef here, left;
    std::vector<Entry> entries;  // lowest stamps first; never empty
    uint32_t left_count = 0;

    uint64_t first_stamp() const { return entries.front().stamp; }
    uint64_t last_stamp() const { return entries.back().stamp; }
    size_t bytes() const { return here.bytes().size() + left.bytes().size(); }
    Bytes of(const Entry& entry) const {
      return (entry.left ? left : here).bytes().subspan(entry.begin, entry.bytes);
    }
  };
  using ChunkRef = std::shared_ptr<const Chunk>;
  struct Version {
    std::vector<ChunkRef> chunks;
    uint64_t newest = 0;
    uint64_t bytes  = 0;
  };
  class Writer;

  // By whoever is adding.
  std::shared_ptr<const Version> with(const Version& old, std::span<const Row> rows);
  std::shared_ptr<const Version> version() const {
    const std::lock_guard lock(mutex_);
    return version_;
  }

  mutable std::mutex mutex_;
  std::shared_ptr<const Version> version_ = std::make_shared<const Version>();
  bool adding_                            = false;
  IdSet known_;  // of whoever is adding
};

// Of a process: one for each list.
struct Rosters {
  Roster users, departments;
};

}  // namespace ringtalk::shard
