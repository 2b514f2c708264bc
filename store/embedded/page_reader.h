// PageReader: pages of a conversation, newest first, from memory's hints and the log's bytes.
//
// Locating   warm tail → block records (jump pointers; several in parallel) → prev of the message above.
//            Where a block record is missing or damaged, messages above it are walked instead.
// Trust      every record is checked: checksum, kind, conversation, msg_id. A damaged message ends its
//            page: what is newer is delivered with Errc::corrupt. Its own prev may still be used to get
//            past it; whether that pointer was right shows at the record it leads to. When it was
//            not, the message below is searched for in the segments.
// Bound      kPagesMax pages, kReadsMax reads of one page at once; kMessagesMax messages and bytes_max
//            (at most kBytesMax) of bodies a page. More pages: Errc::full.
// Cost       neighbours in the log are read together. Cold newest 100: the block record, up to 31 steps
//            along prev, the rest in parallel.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "store/embedded/record_reader.h"
#include "store/embedded/tails.h"
#include "store/store.h"

namespace ringtalk::store {

class PageReader {
 public:
  static constexpr uint32_t kPagesMax    = 64;
  static constexpr uint32_t kMessagesMax = 128;
  static constexpr uint32_t kBytesMax    = kMiB;
  static constexpr uint32_t kReadsMax    = 32;

  PageReader(RecordReader& reader, FileOpener& opener, uint32_t shard, Sink& sink, uint32_t salt);
  ~PageReader();

  // Whether one more page can be taken.
  bool full() const { return pages_ == kPagesMax; }
  // head and tail: as they are now, when all earlier appends of the conversation are durable.
  void start(const PageRequest& request, const HeadEntry& head, const Tail* tail);
  void on_turn();
  uint32_t count() const { return pages_; }
  // on_turn() has something to do.
  bool waits() const { return !again_.empty(); }
  bool idle() const { return pages_ == 0; }

 private:
  class Page;
  class SearchJob;
  friend class Page;

  void finish(Page& page, Errc error, uint32_t messages);

  RecordReader& reader_;
  FileOpener& opener_;
  const uint32_t shard_;
  Sink& sink_;
  const uint32_t salt_;
  uint32_t pages_ = 0;
  std::vector<std::unique_ptr<Page>> all_;
  std::vector<Page*> free_;
  std::vector<Page*> again_;  // to be advanced at the next turn
  std::vector<Message> out_;
};

}  // namespace ringtalk::store
