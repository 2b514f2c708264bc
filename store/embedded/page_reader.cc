#include "store/embedded/page_reader.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "engine/base/assert.h"
#include "store/embedded/message_search.h"

namespace ringtalk::store {
namespace {

// Neighbours are read together while the highest still starts in the first 3 KiB of the window.
constexpr uint64_t kClusterBytes = 3 * kKiB;
static_assert(kClusterBytes < RecordReader::kWindowBytes);

constexpr uint32_t kTargetsMax =
    12;  // blocks looked for at once: 5 cover a page, the rest are detours
constexpr uint32_t kTagBlock     = 1u << 16;
constexpr uint32_t kTagWalk      = 2u << 16;
constexpr uint32_t kTagLong      = 3u << 16;
constexpr uint32_t kTagMask      = 0xffff;
constexpr uint32_t kSearchesMax  = 8;  // of one page
constexpr size_t kArenaKeptBytes = 512 * kKiB;

constexpr uint32_t block_of(uint32_t msg_id) { return (msg_id - 1) / kBlockMessages + 1; }

}  // namespace

class PageReader::Page final : public ReadClient {
 public:
  explicit Page(PageReader& owner) : owner_(owner) {}

  void start(const PageRequest& request, const HeadEntry& head, const Tail* tail);
  void advance();
  void on_read(uint32_t tag, Pointer place, Result<Bytes> bytes) noexcept override;
  void on_found(MessageSearch::Found found);

  bool again = false;  // stands in owner_.again_
  uint64_t cookie() const { return request_.cookie; }
  Message message(uint32_t index) const;
  void trim() {
    if (arena_.capacity() > kArenaKeptBytes) std::vector<std::byte>().swap(arena_);
  }

 private:
  enum class State : uint8_t { unknown, placed, reading, have, too_long, reading_long, bad };
  struct Item {
    Pointer place;
    Pointer prev;
    State state         = State::unknown;
    bool alone          = false;  // its record did not fit behind its neighbours
    uint32_t length     = 0;      // of the record, when too_long
    uint32_t cluster    = 0;      // items read with it, itself included
    uint32_t body_at    = 0;
    uint32_t body_bytes = 0;
    Message meta;
  };
  // A block record looked for, and the nearest known one not below it.
  struct Target {
    uint32_t block   = 0;
    uint32_t nearest = 0;  // number of the record at `at`; 0 = not known yet
    Pointer at;
    bool over    = false;  // found, or cannot be found this way
    bool reading = false;
  };
  struct Spot {
    uint32_t msg_id = 0;
    Pointer place;
  };

  uint32_t id_of(uint32_t index) const { return high_ - index; }
  void place_item(uint32_t msg_id, Pointer place);
  void lower_anchor(uint32_t msg_id, Pointer place);
  void add_target(uint32_t block, Pointer root);
  void fill_from(const Tail& tail);
  bool locate();
  bool walk();
  bool search();
  void chain();
  bool fetch();
  bool fetch_long(uint32_t messages);
  bool read(uint32_t tag, Pointer place, uint32_t bytes);
  uint32_t within_budget(bool* cut) const;
  bool wanted(const RecordView& record, uint32_t msg_id) const;
  void take(Item& item, const RecordView& record);
  void on_block(Pointer place, const Result<Bytes>& bytes);
  void on_walked(Pointer place, const Result<Bytes>& bytes);
  void on_items(uint32_t first, Pointer place, const Result<Bytes>& bytes);
  void on_long(uint32_t index, const Result<Bytes>& bytes);
  void give_up(Target& target);
  void new_root(Pointer root);

  PageReader& owner_;
  PageRequest request_;
  HeadEntry head_;
  uint32_t high_  = 0;  // id of items_[0]
  uint32_t count_ = 0;
  uint32_t reads_ = 0;
  Errc error_     = Errc::ok;  // of the disk
  int32_t os_     = 0;
  std::array<Item, kMessagesMax> items_;
  std::array<Target, kTargetsMax> targets_;
  uint32_t targets_count_ = 0;
  Spot anchor_;                // the lowest known message above high_
  Spot sure_;                  // the same, but never by a damaged record's word
  bool hinted_       = false;  // items_[0] was placed by a damaged record's word
  bool dead_end_     = false;  // the record at anchor_ does not lead on
  uint32_t searches_ = 0;
  Pointer root_;  // the newest block record not yet found wanting
  std::vector<std::byte> arena_;
};

static_assert(PageReader::kPagesMax + RecordReader::kReadsMax <= FileOpener::kJobsMax);

class PageReader::SearchJob final : public engine::Job {
 public:
  SearchJob(Page& page, FileOpener& opener, const MessageSearch& search)
      : page_(page), opener_(opener), search_(search) {}
  void run() override { found_ = search_.run(opener_.disk()); }
  void done() override { page_.on_found(found_); }

 private:
  Page& page_;
  FileOpener& opener_;
  const MessageSearch search_;
  MessageSearch::Found found_;
};

// --- owner ------------------------------------------------------------------------------------------------

PageReader::PageReader(RecordReader& reader, FileOpener& opener, uint32_t shard, Sink& sink,
                       uint32_t salt)
    : reader_(reader), opener_(opener), shard_(shard), sink_(sink), salt_(salt) {}

PageReader::~PageReader() = default;

void PageReader::start(const PageRequest& request, const HeadEntry& head, const Tail* tail) {
  RT_ASSERT(!full());
  ++pages_;
  if (free_.empty()) free_.push_back(all_.emplace_back(std::make_unique<Page>(*this)).get());
  Page& page = *free_.back();
  free_.pop_back();
  page.start(request, head, tail);
  page.again = true;
  again_.push_back(&page);
}

void PageReader::on_turn() {
  const std::vector<Page*> pages = std::exchange(again_, {});
  for (Page* page : pages) {
    page->again = false;
    page->advance();
  }
}

void PageReader::finish(Page& page, Errc error, uint32_t messages) {
  RT_ASSERT(pages_ > 0);
  --pages_;
  out_.clear();
  for (uint32_t i = 0; i < messages; ++i) out_.push_back(page.message(i));
  sink_.on_page(page.cookie(), {error, error == Errc::os ? EIO : 0}, out_);
  page.trim();
  free_.push_back(&page);
}

// --- start --------------------------------------------------------------------------------------------------

void PageReader::Page::start(const PageRequest& request, const HeadEntry& head, const Tail* tail) {
  request_ = request;
  head_    = head;
  high_    = request.from == 0 ? head.msg_id : std::min(request.from, head.msg_id);
  count_   = std::min({request.count, high_, kMessagesMax});
  reads_   = 0;
  error_   = Errc::ok;
  for (uint32_t i = 0; i < count_; ++i) items_[i] = {};
  targets_count_ = 0;
  dead_end_      = false;
  searches_      = 0;
  root_          = head.block;
  arena_.clear();
  if (count_ == 0) return;

  anchor_ = sure_ = {};
  hinted_         = false;
  place_item(head.msg_id, head.newest);
  if (tail) fill_from(*tail);
  for (uint32_t i = 0; i < count_; ++i)
    if (items_[i].state == State::unknown) add_target(block_of(id_of(i)), root_);
}

void PageReader::Page::fill_from(const Tail& tail) {
  for (uint32_t i = 0; i < tail.count; ++i)
    if (tail.first + i <= head_.msg_id) place_item(tail.first + i, tail.pointers[i]);
}

void PageReader::Page::place_item(uint32_t msg_id, Pointer place) {
  if (msg_id > high_) {
    lower_anchor(msg_id, place);
    return;
  }
  const uint32_t index = high_ - msg_id;
  if (index >= count_ || items_[index].state != State::unknown) return;
  items_[index].place = place;
  items_[index].state = place ? State::placed : State::bad;
}

void PageReader::Page::lower_anchor(uint32_t msg_id, Pointer place) {
  if (anchor_.msg_id == 0 || msg_id < anchor_.msg_id) anchor_ = sure_ = {msg_id, place};
}

void PageReader::Page::add_target(uint32_t block, Pointer root) {
  for (uint32_t i = 0; i < targets_count_; ++i)
    if (targets_[i].block == block) return;
  if (targets_count_ == kTargetsMax) return;
  targets_[targets_count_++] = {.block = block, .at = root, .over = !root};
}

// --- the machine ----------------------------------------------------------------------------------------------

void PageReader::Page::advance() {
  bool started = locate();
  chain();
  started |= fetch();
  // Only when nothing else can find the first message: step down to it.
  if (!started && reads_ == 0) started = walk();
  if (reads_ > 0 || again) return;
  RT_ASSERT(!started);
  bool cut                = false;
  const uint32_t messages = within_budget(&cut);
  if (fetch_long(messages)) return;
  if (again) return;
  owner_.finish(*this, cut ? (error_ == Errc::ok ? Errc::corrupt : error_) : Errc::ok, messages);
}

// A read, or a place in the line for one. True when it is under way.
bool PageReader::Page::read(uint32_t tag, Pointer place, uint32_t bytes) {
  if (reads_ < kReadsMax && owner_.reader_.start(*this, tag, place, bytes)) {
    ++reads_;
    return true;
  }
  if (reads_ == 0 && !again) {  // nothing of ours will come home and bring us back here
    again = true;
    owner_.again_.push_back(this);
  }
  return false;
}

void PageReader::Page::on_read(uint32_t tag, Pointer place, Result<Bytes> bytes) noexcept {
  RT_ASSERT(reads_ > 0);
  --reads_;
  // A segment that is gone is damage, like one that cannot be read; what lies elsewhere is served.
  if (!bytes && bytes.error().os != ENOENT) {
    error_ = Errc::os;
    os_    = bytes.error().os;
  }
  switch (tag & ~kTagMask) {
    case kTagBlock: on_block(place, bytes); break;
    case kTagWalk: on_walked(place, bytes); break;
    case kTagLong: on_long(tag & kTagMask, bytes); break;
    default: on_items(tag, place, bytes); break;
  }
  advance();
}

bool PageReader::Page::wanted(const RecordView& record, uint32_t msg_id) const {
  return record.header.kind == RecordKind::message &&
         record.header.conversation == head_.conversation && record.header.msg_id == msg_id;
}

// --- block records ----------------------------------------------------------------------------------------------

bool PageReader::Page::locate() {
  bool started = false;
  for (uint32_t i = 0; i < targets_count_; ++i) {
    Target& target = targets_[i];
    if (target.over || target.reading) continue;
    bool shared = false;  // several targets lead over one record: it is read once
    for (uint32_t j = 0; j < targets_count_; ++j)
      if (targets_[j].reading && targets_[j].at == target.at) shared = true;
    if (!shared && !read(kTagBlock, target.at, kBlockRecordBytesMax)) continue;
    target.reading = started = true;
  }
  return started;
}

void PageReader::Page::on_block(Pointer place, const Result<Bytes>& bytes) {
  RecordView record;
  const bool valid =
      bytes && parse_record(*bytes, place, owner_.salt_, record, nullptr) == Parse::record &&
      record.header.kind == RecordKind::block && record.header.conversation == head_.conversation;
  const uint32_t number = valid ? record.header.msg_id / kBlockMessages : 0;
  const auto* pointers  = reinterpret_cast<const Pointer*>(record.body.data());
  for (uint32_t i = 0; i < targets_count_; ++i) {
    Target& target = targets_[i];
    if (!target.reading || target.at != place) continue;
    target.reading = false;
    if (!valid || (target.nearest != 0 && target.nearest != number)) {
      give_up(target);
      continue;
    }
    if (number == target.block) {
      target.over = true;
      for (uint32_t p = kBlockMessages; p-- > 0;)
        place_item((number - 1) * kBlockMessages + 1 + p, pointers[p]);
    } else if (number < target.block) {
      target.over = true;  // newer than the newest block record
    } else {
      const std::span jumps(pointers + kBlockMessages, jump_count(number));
      const JumpStep step = jump_towards(number, jumps, target.block);
      target.nearest      = step.block;
      target.at           = step.pointer;
      if (!step.pointer) give_up(target);
    }
  }
}

// The way to this block is damaged: come to its last message from the block above.
void PageReader::Page::give_up(Target& target) {
  target.over = true;
  if (uint64_t{target.block} * kBlockMessages < head_.msg_id) add_target(target.block + 1, root_);
}

// --- walking down to the first message -----------------------------------------------------------------------------

bool PageReader::Page::walk() {
  if (count_ == 0 || items_[0].state != State::unknown || anchor_.msg_id == 0 || !anchor_.place)
    return false;
  if (dead_end_) return search();
  return read(kTagWalk, anchor_.place, RecordReader::kWindowBytes) || again;
}

void PageReader::Page::on_walked(Pointer place, const Result<Bytes>& bytes) {
  if (place != anchor_.place) return;  // a block record has brought us lower meanwhile
  RecordView record;
  uint32_t needed = 0;
  const Parse parsed =
      bytes ? parse_record(*bytes, place, owner_.salt_, record, &needed) : Parse::bad;
  if (parsed == Parse::more && bytes->size() == RecordReader::kWindowBytes &&
      needed > bytes->size()) {
    read(kTagWalk, place, needed);
    return;
  }
  // Also a damaged record's header is tried: the record that prev leads to tells whether it was right.
  const bool readable = bytes && bytes->size() >= kRecordHeaderBytes;
  if (parsed != Parse::record && readable)
    std::memcpy(&record.header, bytes->data(), sizeof record.header);
  if (!readable || !wanted(record, anchor_.msg_id) || !record.header.prev) {
    dead_end_ = true;
    return;
  }
  const Pointer prev  = record.header.prev;
  const Pointer block = record.header.block;
  const uint32_t next = anchor_.msg_id - 1;
  if (parsed == Parse::record) sure_ = anchor_;
  if (next > high_) {
    anchor_ = {next, prev};
  } else {
    place_item(next, prev);
    hinted_ = parsed != Parse::record;
  }
  if (parsed == Parse::record && block && block < root_) new_root(block);
}

bool PageReader::Page::search() {
  if (searches_ == kSearchesMax) return false;
  ++searches_;
  ++reads_;
  std::unique_ptr<engine::Job> job =
      std::make_unique<SearchJob>(*this, owner_.opener_,
                                  MessageSearch{.conversation = head_.conversation,
                                                .below_id     = sure_.msg_id,
                                                .below_place  = sure_.place,
                                                .salt         = owner_.salt_});
  const bool submitted = owner_.opener_.submit(owner_.shard_, job).has_value();
  RT_ASSERT(submitted);  // pages and reads together are fewer than jobs
  return true;
}

void PageReader::Page::on_found(MessageSearch::Found found) {
  RT_ASSERT(reads_ > 0);
  --reads_;
  if (found.msg_id > high_) {
    anchor_ = sure_ = {found.msg_id, found.place};
    dead_end_       = false;
  } else if (found.msg_id == high_) {
    place_item(high_, found.place);
  } else {
    searches_ = kSearchesMax;  // the message asked for is itself lost
  }
  advance();
}

// An older block record, found on the way around a damaged one.
void PageReader::Page::new_root(Pointer root) {
  root_ = root;
  for (uint32_t i = 0; i < targets_count_; ++i) {
    Target& target       = targets_[i];
    const uint32_t index = high_ - std::min(high_, target.block * kBlockMessages);
    const bool open      = target.over && index < count_ && items_[index].state == State::unknown;
    if (open) target = {.block = target.block, .at = root};
  }
}

// Where no block record will bring the place of a message, the one above it names it.
void PageReader::Page::chain() {
  for (uint32_t i = 0; i + 1 < count_; ++i) {
    const Item& item = items_[i];
    if (items_[i + 1].state != State::unknown) continue;
    if (item.state != State::have && item.state != State::too_long) continue;
    const uint32_t block = block_of(id_of(i + 1));
    const bool sought =
        std::ranges::any_of(std::span(targets_).first(targets_count_),
                            [&](const Target& t) { return !t.over && t.block == block; });
    if (!sought) place_item(id_of(i + 1), item.prev);
  }
}

// --- messages ----------------------------------------------------------------------------------------------------------

// Starts reads for placed messages; neighbours in one window.
bool PageReader::Page::fetch() {
  bool started = false;
  for (uint32_t i = 0; i < count_; ++i) {
    Item& item = items_[i];
    if (item.state == State::bad) break;  // the page ends here
    if (item.state != State::placed) continue;
    uint32_t last = i;
    while (!item.alone && last + 1 < count_) {
      const Item& next = items_[last + 1];
      if (next.state != State::placed || next.alone ||
          next.place.segment() != item.place.segment() || next.place >= item.place ||
          item.place.offset() - next.place.offset() > kClusterBytes)
        break;
      ++last;
    }
    if (!read(i, items_[last].place, RecordReader::kWindowBytes)) break;
    item.cluster = last - i + 1;
    for (uint32_t k = i; k <= last; ++k) items_[k].state = State::reading;
    started = true;
    i       = last;
  }
  return started;
}

void PageReader::Page::on_items(uint32_t first, Pointer place, const Result<Bytes>& bytes) {
  const uint32_t end = first + items_[first].cluster;
  RT_ASSERT(end <= count_);
  for (uint32_t i = first; i < end; ++i) {
    Item& item = items_[i];
    RT_ASSERT(item.state == State::reading);
    item.state = State::bad;
    if (!bytes) continue;
    const uint64_t skip = item.place.offset() - place.offset();
    if (skip >= bytes->size()) continue;
    RecordView record;
    uint32_t needed = 0;
    const Parse parsed =
        parse_record(bytes->subspan(skip), item.place, owner_.salt_, record, &needed);
    const bool at_end = bytes->size() < RecordReader::kWindowBytes;
    if (parsed == Parse::record && wanted(record, id_of(i))) {
      take(item, record);
    } else if (parsed == Parse::more && !at_end && skip > 0) {
      item.state = State::placed;
      item.alone = true;
    } else if (parsed == Parse::more && !at_end) {
      // Its length is the record's own word; the budget uses it, the checksum decides later.
      item.state      = State::too_long;
      item.length     = needed;
      item.body_bytes = record.header.body_bytes;
      if (wanted(record, id_of(i))) item.prev = record.header.prev;
    }
  }
  if (first == 0 && items_[0].state == State::bad && std::exchange(hinted_, false)) {
    items_[0].state = State::unknown;  // the hint was wrong, not the message: search for it
    dead_end_       = true;
  }
}

void PageReader::Page::take(Item& item, const RecordView& record) {
  item.state      = State::have;
  item.prev       = record.header.prev;
  item.body_at    = static_cast<uint32_t>(arena_.size());
  item.body_bytes = static_cast<uint32_t>(record.body.size());
  item.meta       = {.msg_id      = record.header.msg_id,
                     .author      = UserId(record.header.author),
                     .time        = record.header.time,
                     .type        = record.header.type,
                     .small_count = record.header.small_count,
                     .hidden      = record.header.hidden};
  arena_.insert(arena_.end(), record.body.begin(), record.body.end());
}

Message PageReader::Page::message(uint32_t index) const {
  Message message = items_[index].meta;
  message.body    = Bytes(arena_).subspan(items_[index].body_at, items_[index].body_bytes);
  return message;
}

// How many messages, from the newest on, are there and fit. *cut: something unreadable ends them.
uint32_t PageReader::Page::within_budget(bool* cut) const {
  const uint64_t budget = std::min(request_.bytes_max, kBytesMax);
  uint64_t sum          = 0;
  for (uint32_t i = 0; i < count_; ++i) {
    const Item& item = items_[i];
    if (item.state != State::have && item.state != State::too_long) {
      *cut = true;
      return i;
    }
    sum += item.body_bytes;
    if (i > 0 && sum > budget) return i;
  }
  return count_;
}

bool PageReader::Page::fetch_long(uint32_t messages) {
  bool waits = false;
  for (uint32_t i = 0; i < messages; ++i) {
    Item& item = items_[i];
    if (item.state != State::too_long) continue;
    waits = true;
    if (!read(kTagLong | i, item.place, item.length)) return true;
    item.state = State::reading_long;
  }
  return waits;
}

void PageReader::Page::on_long(uint32_t index, const Result<Bytes>& bytes) {
  Item& item = items_[index];
  RT_ASSERT(item.state == State::reading_long);
  item.state = State::bad;
  RecordView record;
  if (bytes && parse_record(*bytes, item.place, owner_.salt_, record, nullptr) == Parse::record &&
      wanted(record, id_of(index)))
    take(item, record);
}

}  // namespace ringtalk::store
