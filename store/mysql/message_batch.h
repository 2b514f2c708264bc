// MessageBatch: the appends and read positions that go to MySQL in one transaction.
//
// Thread rule  The shard fills it, and the lane's worker has it from submit() to done(). Meanwhile the
//              shard reads what rows() say of the request, and abandons it through `phase`.
// Bound        kRowsMax rows and kBytesMax of bodies, kCursorsMax read positions; memory stays for the next.
#pragma once

#include <atomic>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/units.h"
#include "store/mysql/conversations.h"
#include "store/store.h"

namespace ringtalk::store {

class MessageBatch {
 public:
  static constexpr uint32_t kRowsMax    = 1024;
  static constexpr uint32_t kBytesMax   = 1 * kMiB;
  static constexpr uint32_t kCursorsMax = 1024;

  struct Row {
    ConversationId conversation;
    UserId author{};
    uint8_t type         = 0;
    uint32_t body_at     = 0;
    uint32_t body_bytes  = 0;
    uint64_t repeat_key  = 0;
    uint64_t client_key  = 0;
    uint64_t full_key    = 0;
    uint64_t deadline_ns = 0;
    uint64_t cookie      = 0;

    // Decided by the write.
    uint32_t place  = 0;  // in places()
    uint32_t msg_id = 0;
    uint32_t time   = 0;
    uint32_t small  = 0;
    bool unfit      = false;  // MySQL does not take it, whatever is done
    // The shard's.
    bool told = false;
  };

  struct Cursor {
    ConversationId conversation;
    UserId user{};
    uint32_t msg_id = 0;
  };

  // A conversation of the batch: as it is committed, and as it will be.
  struct Place {
    Conversation base;
    Conversation now;
    bool relation_made = false;  // by the transaction that runs
  };

  enum class Phase : uint8_t {
    deciding,    // a COMMIT was sent and not answered: nobody knows, so nobody is refused
    writing,     // nothing is stored, and nothing will be if the shard abandons it
    committing,  // COMMIT is about to leave: the result is awaited
    abandoned,   // by the shard, because a deadline passed
  };

  MessageBatch() { rows_.reserve(kRowsMax), bytes_.reserve(kBytesMax); }

  bool has_room(size_t bytes) const {
    return rows_.size() < kRowsMax && (rows_.empty() || bytes_.size() + bytes <= kBytesMax);
  }
  void add(const Append& message) {
    rows_.push_back({.conversation = message.conversation,
                     .author       = message.author,
                     .type         = message.type,
                     .body_at      = static_cast<uint32_t>(bytes_.size()),
                     .body_bytes   = static_cast<uint32_t>(message.body.size()),
                     .repeat_key   = message.repeat_key,
                     .client_key   = message.client_key,
                     .full_key     = message.full_key,
                     .deadline_ns  = message.deadline_ns,
                     .cookie       = message.cookie});
    bytes_.insert(bytes_.end(), message.body.begin(), message.body.end());
  }
  void add(const Cursor& cursor) { cursors_.push_back(cursor); }

  // Rows that were told leave, with their bodies.
  void compact();
  // Then the places of the others are made anew.
  void prepare(const Conversations& conversations);
  void clear();

  bool empty() const { return rows_.empty() && cursors_.empty(); }
  // Of the rows that prepare() left.
  uint64_t earliest_deadline() const { return earliest_; }
  bool holds(ConversationId conversation) const;

  std::vector<Row>& rows() { return rows_; }
  const std::vector<Row>& rows() const { return rows_; }
  std::vector<Cursor>& cursors() { return cursors_; }
  std::vector<Place>& places() { return places_; }
  const std::vector<Place>& places() const { return places_; }
  Bytes body(const Row& row) const { return Bytes(bytes_).subspan(row.body_at, row.body_bytes); }
  size_t bytes() const { return bytes_.size(); }

  std::atomic<Phase> phase{Phase::writing};

 private:
  std::vector<Row> rows_;
  std::vector<std::byte> bytes_;
  std::vector<Cursor> cursors_;
  std::vector<Place> places_;
  boost::unordered_flat_map<uint64_t, uint32_t> place_of_;
  uint64_t earliest_ = UINT64_MAX;
};

}  // namespace ringtalk::store
