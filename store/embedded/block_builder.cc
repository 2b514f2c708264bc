#include "store/embedded/block_builder.h"

#include <algorithm>

#include "engine/base/assert.h"

namespace ringtalk::store {

// Most messages are shorter; a longer one is read again.
constexpr uint32_t kFirstReadBytes = 1024;

class BlockBuilder::Walker final : public ReadClient {
 public:
  explicit Walker(BlockBuilder& owner) : owner_(owner) {}

  bool free() const { return state_ == State::free; }
  uint64_t conversation() const { return conversation_; }

  void start(uint64_t conversation);
  void on_turn(Commit& commit);
  void on_staged(bool written);
  void on_read(uint32_t tag, Pointer place, Result<Bytes> bytes) noexcept override;

 private:
  enum class State : uint8_t { free, to_read, reading, to_stage, staged };
  struct Spot {
    uint32_t msg_id = 0;
    Pointer place;
  };

  void begin_walk();
  void step(uint32_t msg_id, Pointer place);
  void finish() {
    state_ = State::free;
    --owner_.walking_;
  }
  uint32_t first_wanted() const { return done_ * kBlockMessages + 1; }

  BlockBuilder& owner_;
  State state_           = State::free;
  uint64_t conversation_ = 0;
  uint32_t done_         = 0;  // blocks there are
  Pointer before_;             // the newest of them
  uint32_t at_id_ = 0;         // message being read; 0: block record `before_`
  Pointer at_;
  uint32_t at_bytes_    = 0;
  uint32_t jumps_count_ = 0;
  std::array<Pointer, kJumpsMax> jumps_;
  std::vector<Pointer> places_;  // ring by msg_id
  uint32_t places_to_ = 0;       // known: first_wanted() … places_to_
};

BlockBuilder::BlockBuilder(RecordReader& reader, const Heads& heads, Tails& tails, uint32_t salt)
    : reader_(reader), heads_(heads), tails_(tails), salt_(salt) {
  for (auto& walker : walkers_) walker = std::make_unique<Walker>(*this);
}

BlockBuilder::~BlockBuilder() = default;

void BlockBuilder::add(uint64_t conversation) {
  if (queued_.contains(conversation)) return;
  if (queue_.size() == kQueueMax) {
    ++forgotten_;
    return;
  }
  queue_.push_back(conversation);
  queued_.insert(conversation);
}

void BlockBuilder::on_turn(Commit& commit) {
  for (auto& walker : walkers_) {
    if (walker->free() && !queue_.empty()) {
      const uint64_t conversation = queue_.front();
      queue_.pop_front();
      queued_.erase(conversation);
      // Who walks it already looks at the newest head again before he ends.
      if (std::ranges::any_of(walkers_, [&](const auto& w) {
            return !w->free() && w->conversation() == conversation;
          }))
        continue;
      ++walking_;
      walker->start(conversation);
    }
    walker->on_turn(commit);
  }
}

void BlockBuilder::on_staged(const StagedBlock& block, bool written) {
  for (auto& walker : walkers_)
    if (!walker->free() && walker->conversation() == block.conversation) walker->on_staged(written);
}

// --- one walk -----------------------------------------------------------------------------------------------

void BlockBuilder::Walker::start(uint64_t conversation) {
  conversation_        = conversation;
  const HeadEntry head = owner_.heads_.get(conversation);
  done_                = 0;
  before_              = head.block;
  jumps_count_         = 0;
  places_.resize(kPlacesMax);
  places_to_ = 0;
  if (!before_) {
    begin_walk();
    return;
  }
  at_id_    = 0;
  at_       = before_;
  at_bytes_ = kBlockRecordBytesMax;
  state_    = State::to_read;
}

void BlockBuilder::Walker::begin_walk() {
  uint32_t hint        = 0;
  const HeadEntry head = owner_.heads_.get(conversation_, &hint);
  if (head.block != before_ || head.msg_id < first_wanted() + kBlockMessages - 1) {
    finish();
    return;
  }
  // The warm tail saves the first steps.
  Spot from{head.msg_id, head.newest};
  if (const Tail* tail = owner_.tails_.get(hint, conversation_))
    for (uint32_t id = std::min(head.msg_id, tail->first + tail->count - 1);
         id >= tail->first && id > 0; --id) {
      from = {id, tail->find(id)};
      if (from.msg_id < first_wanted()) break;
      places_[id % kPlacesMax] = from.place;
      places_to_               = std::max(places_to_, id);
    }
  if (from.msg_id <= first_wanted()) {
    state_ = State::to_stage;
    return;
  }
  step(from.msg_id, from.place);
}

// `place` is message msg_id: go on with the one before it.
void BlockBuilder::Walker::step(uint32_t msg_id, Pointer place) {
  places_[msg_id % kPlacesMax] = place;
  places_to_                   = std::max(places_to_, msg_id);
  places_to_ = std::min(places_to_, msg_id + kPlacesMax - 1);  // older ones push newer out
  if (msg_id == first_wanted()) {
    state_ = State::to_stage;
    return;
  }
  at_id_    = msg_id;
  at_       = place;
  at_bytes_ = kFirstReadBytes;
  state_    = State::to_read;
}

void BlockBuilder::Walker::on_turn(Commit& commit) {
  if (state_ == State::to_read && owner_.reader_.start(*this, 0, at_, at_bytes_))
    state_ = State::reading;
  if (state_ != State::to_stage) return;
  if (places_to_ < first_wanted() + kBlockMessages - 1) {
    finish();
    return;
  }
  StagedBlock staged{.conversation = conversation_,
                     .block        = done_ + 1,
                     .before       = before_,
                     .jumps_count  = jumps_count_,
                     .pointers     = {},
                     .jumps        = jumps_};
  for (uint32_t i = 0; i < kBlockMessages; ++i)
    staged.pointers[i] = places_[(first_wanted() + i) % kPlacesMax];
  if (commit.stage(staged)) state_ = State::staged;
}

void BlockBuilder::Walker::on_staged(bool written) {
  if (state_ != State::staged) return;
  const HeadEntry head = owner_.heads_.get(conversation_);
  if (!written || !head.block) {
    finish();
    return;
  }
  ++done_;
  before_      = head.block;
  jumps_count_ = next_jumps(done_, before_, jumps_.data());
  if (places_to_ >= first_wanted() + kBlockMessages - 1)
    state_ = State::to_stage;
  else
    begin_walk();
}

void BlockBuilder::Walker::on_read(uint32_t, Pointer place, Result<Bytes> bytes) noexcept {
  RT_ASSERT(state_ == State::reading);
  RecordView record;
  uint32_t needed = 0;
  if (!bytes) {
    finish();
    return;
  }
  const Parse parsed = parse_record(*bytes, place, owner_.salt_, record, &needed);
  if (parsed == Parse::more && bytes->size() == at_bytes_ && needed > at_bytes_) {
    at_bytes_ = needed;
    state_    = State::to_read;
    return;
  }
  if (parsed != Parse::record || record.header.conversation != conversation_) {
    finish();
    return;
  }
  if (at_id_ == 0) {
    if (record.header.kind != RecordKind::block) {
      finish();
      return;
    }
    done_                = record.header.msg_id / kBlockMessages;
    const auto* pointers = reinterpret_cast<const Pointer*>(record.body.data());
    std::copy_n(pointers + kBlockMessages, jump_count(done_), jumps_.begin());
    jumps_count_ = next_jumps(done_, before_, jumps_.data());
    begin_walk();
    return;
  }
  if (record.header.kind != RecordKind::message || record.header.msg_id != at_id_ ||
      !record.header.prev) {
    finish();
    return;
  }
  step(at_id_ - 1, record.header.prev);
}

}  // namespace ringtalk::store
