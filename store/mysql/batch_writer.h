// BatchWriter: writes the batches of one lane, each in one transaction, on a connection of its own.
//
// Thread rule  The lane's worker. It blocks; the server's timeouts bound each statement.
// Ids          newest committed id + 1, decided here, in the transaction that stores them. Another node that
//              was faster shows as a duplicate key: the heads are read again and the batch is numbered anew.
// Lane         RTLane(lane, batchNo) is raised first in each transaction. It tells whether a COMMIT whose
//              answer was lost is in, and that nobody else took the lane (then nothing is written any more).
// Deadlines    COMMIT leaves only before the earliest deadline of the batch, and only if the shard has not
//              abandoned the batch meanwhile.
// Errors       deadlock: again at once. A row that MySQL does not take is found by halves and left out; the
//              others are numbered without it. What cannot be helped here is reported.
// Kill-points  mysql_before_commit, mysql_after_commit.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/clock.h"
#include "store/mysql/connection.h"
#include "store/mysql/message_batch.h"

namespace ringtalk::store {

class BatchWriter {
 public:
  enum class Outcome : uint8_t {
    stored,      // committed; rows that are unfit are not in it
    late,        // nothing is stored: a deadline passed first
    not_stored,  // nothing is stored: see trouble
    unknown,     // a COMMIT left and its answer did not come: write() again finds out
    fenced,      // the lane is somebody else's
  };
  struct Report {
    Outcome outcome = Outcome::not_stored;
    sql::Trouble trouble;
    uint64_t took_ns    = 0;
    uint32_t connects   = 0;  // connections made
    uint32_t conflicts  = 0;  // transactions repeated after a deadlock
    uint32_t duplicates = 0;  // … after another node was faster
  };

  // batch_no: of RTLane as the loader took it.
  BatchWriter(sql::Connect connect, engine::Clock& clock, uint32_t lane, uint64_t batch_no);

  // unknown: what the last write() of this batch reported.
  Report write(MessageBatch& batch, bool unknown);

 private:
  static constexpr uint32_t kRoundsMax      = 16;  // of one write()
  static constexpr uint32_t kStatementBytes = 512 * kKiB;
  static constexpr uint32_t kTables         = 2 * kMessageTables;
  static constexpr uint32_t kClientsKeptS   = 24 * 3600;
  static constexpr uint32_t kForgetEveryS   = 10;
  static constexpr uint32_t kForgetRowsMin  = 100;

  using Rows = std::vector<MessageBatch::Row*>;

  sql::Answer<void> make_ready();
  std::optional<Outcome> find_out(MessageBatch& batch);
  std::optional<Outcome> write_once(MessageBatch& batch);
  sql::Answer<void> fill(MessageBatch& batch);
  sql::Answer<void> raise_lane();
  sql::Answer<void> find_relation(MessageBatch::Place& place);
  void number(MessageBatch& batch);
  void deal_out(MessageBatch& batch);
  sql::Answer<void> insert_sounds(MessageBatch& batch);
  sql::Answer<void> insert_messages(const MessageBatch& batch);
  sql::Answer<void> insert_rows(const MessageBatch& batch, uint32_t table,
                                std::span<MessageBatch::Row* const> rows);
  sql::Answer<void> insert_clients(MessageBatch& batch);
  sql::Answer<void> insert_cursors(MessageBatch& batch);
  std::optional<Outcome> undo(MessageBatch& batch, sql::Trouble trouble);
  sql::Answer<void> find_unfit(MessageBatch& batch);
  sql::Answer<void> halve(const MessageBatch& batch, uint32_t table,
                          std::span<MessageBatch::Row* const> rows);
  sql::Answer<void> reload(MessageBatch& batch);
  void roll_back(MessageBatch& batch);
  void forget_clients();
  std::string_view content(const MessageBatch& batch, const MessageBatch::Row& row) const;
  uint32_t now_s() const;

  const sql::Connect connect_;
  engine::Clock& clock_;
  const uint64_t lane_;
  uint64_t batch_no_;
  std::unique_ptr<sql::Connection> connection_;
  Report report_;
  bool fenced_ = false;
  std::array<Rows, kTables> rows_of_;  // by table: of pairs, then of groups
  std::vector<std::string> sounds_;    // by row: what the content column says; empty: no sound
  uint32_t unfit_          = 0;        // rows found unfit by this write()
  uint64_t clients_        = 0;        // rows in RTClientMsg, written since others were deleted
  uint32_t forget_clients_ = 0;        // when the next are, in wall seconds
};

// Message types of TeamTalk whose content is the number of a sound.
constexpr bool is_sound(uint8_t type) { return type == 2 || type == 18; }

}  // namespace ringtalk::store
