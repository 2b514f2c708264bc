#include "store/mysql/batch_writer.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/assert.h"
#include "engine/killpoint.h"
#include "store/mysql/lane_lock.h"
#include "store/mysql/texts.h"

namespace ringtalk::store {

using sql::Answer;
using sql::Fault;
using sql::Trouble;

namespace {

constexpr std::string_view kRaiseLane =
    "UPDATE RTLane SET batchNo = ? WHERE lane = ? AND batchNo = ?";
constexpr std::string_view kReadLane = "SELECT batchNo FROM RTLane WHERE lane = ? FOR UPDATE";
constexpr std::string_view kFindRelation =
    "SELECT id FROM IMRelationShip WHERE smallId = ? AND bigId = ? ORDER BY id DESC LIMIT 1";
constexpr std::string_view kInsertRelation =
    "INSERT INTO IMRelationShip (smallId, bigId, status, created, updated) VALUES (?, ?, 0, ?, ?)";
constexpr std::string_view kInsertAudio =
    "INSERT INTO IMAudio (fromId, toId, path, size, duration, created) VALUES (?, ?, '', ?, ?, ?)";
constexpr std::string_view kInsertSound = "INSERT INTO RTAudio (audioId, data) VALUES (?, ?)";
constexpr std::string_view kInsertClient =
    "REPLACE INTO RTClientMsg (userId, clientMsgId, convType, convId, msgId, bodyHash, created) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)";
constexpr std::string_view kForgetClients =
    "DELETE FROM RTClientMsg WHERE created < ? ORDER BY created LIMIT ?";
constexpr std::string_view kInsertCursor =
    "INSERT INTO RTReadCursor (userId, type, convId, msgId, updated) VALUES (?, ?, ?, ?, ?) "
    "ON DUPLICATE KEY UPDATE msgId = GREATEST(msgId, VALUES(msgId)), updated = VALUES(updated)";
constexpr std::string_view kReadTaken =
    "SELECT newest, small, hidden, time FROM RTConversation WHERE type = ? AND convId = ?";

const TableTexts kInsertSingle(
    "INSERT INTO IMMessage_{} (relateId, fromId, toId, msgId, content, type, status, updated, "
    "created, rtSeq, rtKey, rtSmall) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)");
const TableTexts kInsertGroup(
    "INSERT INTO IMGroupMessage_{} (groupId, userId, msgId, content, type, status, updated, "
    "created, rtSeq, rtKey) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?)");
const TableTexts kNewestSingle(
    "SELECT rtSeq, created, rtSmall FROM IMMessage_{} WHERE relateId = ? AND rtSeq > 0 "
    "ORDER BY rtSeq DESC LIMIT 1");
const TableTexts kNewestGroup(
    "SELECT rtSeq, created, 0 FROM IMGroupMessage_{} WHERE groupId = ? AND rtSeq > 0 "
    "ORDER BY rtSeq DESC LIMIT 1");

// Columns of one statement, filled row by row.
class Numbers {
 public:
  void add(uint64_t value) { values_.push_back(value); }
  sql::Column column() const { return {.numbers = values_}; }

 private:
  std::vector<uint64_t> values_;
};

// binary(16) or NULL.
class Keys {
 public:
  explicit Keys(size_t rows) { bytes_.reserve(rows * kKeyBytes); }  // the views stay valid
  void add(KeyPair keys) {
    const size_t at = bytes_.size();
    bytes_ += key_text(keys);
    texts_.push_back(std::string_view(bytes_).substr(at, kKeyBytes));
    nulls_.push_back(keys.first == 0 && keys.second == 0 ? 1 : 0);
  }
  sql::Column column() const { return {.texts = texts_, .nulls = nulls_}; }

 private:
  std::string bytes_;
  std::vector<std::string_view> texts_;
  std::vector<char> nulls_;
};

}  // namespace

BatchWriter::BatchWriter(sql::Connect connect, engine::Clock& clock, uint32_t lane,
                         uint64_t batch_no)
    : connect_(std::move(connect)), clock_(clock), lane_(lane), batch_no_(batch_no) {}

uint32_t BatchWriter::now_s() const { return static_cast<uint32_t>(clock_.wall_ns() / kNsPerS); }

// --- connection ---------------------------------------------------------------------------------------

Answer<void> BatchWriter::make_ready() {
  if (connection_ && connection_->alive()) return {};
  connection_.reset();
  auto made = connect_();
  if (!made) return std::unexpected(made.error());
  ++report_.connects;
  if (auto taken = take_lane_lock(**made, lane_); !taken) return taken;
  // Below the read timeout: a lock that is not given is a conflict, not a lost connection.
  (void)(*made)->run("SET SESSION innodb_lock_wait_timeout = 2");
  if (!(*made)->alive())
    return std::unexpected(Trouble{Fault::lost, 0, "the connection went at once"});
  connection_ = std::move(*made);
  return {};
}

// --- one batch ----------------------------------------------------------------------------------------

BatchWriter::Report BatchWriter::write(MessageBatch& batch, bool unknown) {
  report_              = {};
  unfit_               = 0;
  const uint64_t began = clock_.now_ns();
  const auto finish    = [&](Outcome outcome) {
    report_.outcome = outcome;
    report_.took_ns = clock_.now_ns() - began;
    return report_;
  };
  if (fenced_) return finish(Outcome::fenced);
  for (uint32_t round = 0, connects = 0; round < kRoundsMax; ++round) {
    if (!connection_ || !connection_->alive()) {
      // The second time because a server closes what was idle for long.
      if (connects++ == 2) break;
      if (auto ready = make_ready(); !ready) {
        report_.trouble = std::move(ready.error());
        break;
      }
    }
    if (unknown) {
      const auto found = find_out(batch);
      if (found) return finish(*found);
      unknown = false;
      batch.phase.store(MessageBatch::Phase::writing);
      continue;  // the connection may have gone meanwhile
    }
    if (const auto outcome = write_once(batch)) {
      if (*outcome == Outcome::stored) forget_clients();
      return finish(*outcome);
    }
  }
  return finish(unknown ? Outcome::unknown : Outcome::not_stored);
}

// Whoever reads the lane's row with its lock sees what became of the transaction that had the lock.
// Nothing: it is not in.
std::optional<BatchWriter::Outcome> BatchWriter::find_out(MessageBatch& batch) {
  auto asked = connection_->run("BEGIN");
  Answer<sql::Rows> read =
      asked ? connection_->query(kReadLane, {lane_}) : std::unexpected(asked.error());
  roll_back(batch);
  if (!read) {
    report_.trouble = std::move(read.error());
    return Outcome::unknown;
  }
  const uint64_t found = read->empty() ? 0 : read->number(0, 0);
  if (found == batch_no_) return {};
  if (found == batch_no_ + 1) {
    ++batch_no_;
    return Outcome::stored;
  }
  fenced_ = true;
  return Outcome::fenced;
}

// Nothing: again.
std::optional<BatchWriter::Outcome> BatchWriter::write_once(MessageBatch& batch) {
  if (auto filled = fill(batch); !filled) return undo(batch, std::move(filled.error()));
  auto phase = MessageBatch::Phase::writing;
  if (clock_.now_ns() >= batch.earliest_deadline() ||
      !batch.phase.compare_exchange_strong(phase, MessageBatch::Phase::committing)) {
    roll_back(batch);
    return Outcome::late;
  }
  RT_KILLPOINT("mysql_before_commit");
  auto committed = connection_->run("COMMIT");
  if (committed) {
    RT_KILLPOINT("mysql_after_commit");
    ++batch_no_;
    return Outcome::stored;
  }
  if (committed.error().fault == Fault::conflict) {  // a cluster says so at COMMIT
    batch.phase.store(MessageBatch::Phase::writing);
    return undo(batch, std::move(committed.error()));
  }
  report_.trouble = std::move(committed.error());
  connection_.reset();
  return Outcome::unknown;
}

Answer<void> BatchWriter::fill(MessageBatch& batch) {
  if (auto begun = connection_->run("BEGIN"); !begun) return begun;
  if (auto raised = raise_lane(); !raised) return raised;
  for (MessageBatch::Place& place : batch.places())
    if (place.base.relation == 0)
      if (auto found = find_relation(place); !found) return found;
  number(batch);
  deal_out(batch);
  if (auto inserted = insert_sounds(batch); !inserted) return inserted;
  if (auto inserted = insert_messages(batch); !inserted) return inserted;
  if (auto inserted = insert_clients(batch); !inserted) return inserted;
  return insert_cursors(batch);
}

Answer<void> BatchWriter::raise_lane() {
  auto raised = connection_->execute(kRaiseLane, {batch_no_ + 1, lane_, batch_no_});
  if (!raised) return std::unexpected(raised.error());
  if (raised->rows == 1) return {};
  fenced_ = true;
  return std::unexpected(Trouble{Fault::other, 0, "another process has taken the lane"});
}

Answer<void> BatchWriter::find_relation(MessageBatch::Place& place) {
  const ConversationId id{place.base.key};
  auto found =
      connection_->query(kFindRelation, {uint64_t{raw(id.small())}, uint64_t{raw(id.big())}});
  if (!found) return std::unexpected(found.error());
  if (!found->empty()) {
    place.base.relation = static_cast<uint32_t>(found->number(0, 0));
    return {};
  }
  const uint64_t now = now_s();
  auto made          = connection_->execute(kInsertRelation,
                                            {uint64_t{raw(id.small())}, uint64_t{raw(id.big())}, now, now});
  if (!made) return std::unexpected(made.error());
  place.base.relation = static_cast<uint32_t>(made->insert_id);
  place.relation_made = true;
  return {};
}

void BatchWriter::number(MessageBatch& batch) {
  const uint32_t now = now_s();
  for (MessageBatch::Place& place : batch.places()) place.now = place.base;
  for (MessageBatch::Row& row : batch.rows()) {
    if (row.unfit) continue;
    Conversation& head = batch.places()[row.place].now;
    RT_ASSERT(head.newest < UINT32_MAX);
    ++head.newest;
    if (!head.is_group() && row.author == row.conversation.small()) ++head.small;
    head.time  = std::max(now, head.time);
    row.msg_id = head.newest;
    row.time   = head.time;
    row.small  = head.small;
  }
}

void BatchWriter::deal_out(MessageBatch& batch) {
  for (Rows& rows : rows_of_) rows.clear();
  for (MessageBatch::Row& row : batch.rows()) {
    if (row.unfit) continue;
    const Conversation& of = batch.places()[row.place].now;
    rows_of_[of.table() + (of.is_group() ? kMessageTables : 0)].push_back(&row);
  }
}

// --- statements -----------------------------------------------------------------------------------------

// One by one: each needs the number that the server gives it. Sounds are rare.
Answer<void> BatchWriter::insert_sounds(MessageBatch& batch) {
  sounds_.clear();
  const auto failed = [&](MessageBatch::Row& row, Trouble trouble) -> Answer<void> {
    if (trouble.fault == Fault::row) {
      row.unfit = true;
      ++unfit_;
    }
    return std::unexpected(std::move(trouble));
  };
  for (size_t i = 0; i < batch.rows().size(); ++i) {
    MessageBatch::Row& row = batch.rows()[i];
    if (row.unfit || !is_sound(row.type)) continue;
    const Bytes body        = batch.body(row);
    const Bytes sound       = body.subspan(std::min(body.size(), kDurationBytes));
    const uint64_t duration = body.size() < kDurationBytes ? 0 : load_be32(body.data());
    auto made               = connection_->execute(
        kInsertAudio, {uint64_t{raw(row.author)}, uint64_t{target_of(row.conversation, row.author)},
                                     uint64_t{sound.size()}, duration, uint64_t{row.time}});
    if (!made) return failed(row, std::move(made.error()));
    auto kept = connection_->execute(kInsertSound, {made->insert_id, sound});
    if (!kept) return failed(row, std::move(kept.error()));
    sounds_.resize(batch.rows().size());
    sounds_[i] = std::to_string(made->insert_id);
  }
  return {};
}

std::string_view BatchWriter::content(const MessageBatch& batch,
                                      const MessageBatch::Row& row) const {
  if (!is_sound(row.type)) return as_text(batch.body(row));
  const auto i = static_cast<size_t>(&row - batch.rows().data());
  return i < sounds_.size() ? std::string_view(sounds_[i]) : std::string_view("0");
}

Answer<void> BatchWriter::insert_messages(const MessageBatch& batch) {
  for (uint32_t table = 0; table < kTables; ++table) {
    const std::span<MessageBatch::Row* const> rows(rows_of_[table]);
    for (size_t first = 0; first < rows.size();) {
      size_t count = 0, bytes = 0;
      while (first + count < rows.size() &&
             (count == 0 || bytes + rows[first + count]->body_bytes <= kStatementBytes))
        bytes += rows[first + count++]->body_bytes;
      if (auto inserted = insert_rows(batch, table, rows.subspan(first, count)); !inserted)
        return inserted;
      first += count;
    }
  }
  return {};
}

Answer<void> BatchWriter::insert_rows(const MessageBatch& batch, uint32_t table,
                                      std::span<MessageBatch::Row* const> rows) {
  const bool group = table >= kMessageTables;
  Numbers relation, from, to, id, type, time, small;
  std::vector<std::string_view> contents;
  Keys keys(rows.size());
  for (const MessageBatch::Row* row : rows) {
    relation.add(batch.places()[row->place].now.relation);
    from.add(raw(row->author));
    to.add(target_of(row->conversation, row->author));
    id.add(row->msg_id);
    contents.push_back(content(batch, *row));
    type.add(row->type);
    time.add(row->time);
    keys.add({row->repeat_key, row->full_key});
    small.add(row->small);
  }
  const sql::Column text{.texts = contents};
  const std::vector<sql::Column> columns =
      group
          ? std::vector{relation.column(), from.column(), id.column(), text,         type.column(),
                        time.column(),     time.column(), id.column(), keys.column()}
          : std::vector{relation.column(), from.column(), to.column(),   id.column(), text,
                        type.column(),     time.column(), time.column(), id.column(), keys.column(),
                        small.column()};
  const std::string_view statement =
      group ? kInsertGroup[table - kMessageTables] : kInsertSingle[table];
  auto done = connection_->execute_many(statement, columns, rows.size());
  if (!done) return std::unexpected(done.error());
  return {};
}

Answer<void> BatchWriter::insert_clients(MessageBatch& batch) {
  Numbers user, kind, target, id, time;
  std::vector<std::string> texts;
  Keys hashes(batch.rows().size());
  for (const MessageBatch::Row& row : batch.rows()) {
    if (row.unfit || row.client_key == 0) continue;
    user.add(raw(row.author));
    texts.push_back(fmt::format("{:016x}", row.client_key));
    kind.add(kind_of(row.conversation));
    target.add(target_of(row.conversation, row.author));
    id.add(row.msg_id);
    hashes.add({row.full_key, 0});
    time.add(row.time);
  }
  if (texts.empty()) return {};
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const sql::Column columns[] = {user.column(), {.texts = views}, kind.column(), target.column(),
                                 id.column(),   hashes.column(),  time.column()};
  auto done                   = connection_->execute_many(kInsertClient, columns, texts.size());
  if (!done) return std::unexpected(done.error());
  clients_ += texts.size();
  return {};
}

Answer<void> BatchWriter::insert_cursors(MessageBatch& batch) {
  if (batch.cursors().empty()) return {};
  Numbers user, kind, target, id, time;
  const uint64_t now = now_s();
  for (const MessageBatch::Cursor& cursor : batch.cursors()) {
    user.add(raw(cursor.user));
    kind.add(kind_of(cursor.conversation));
    target.add(target_of(cursor.conversation, cursor.user));
    id.add(cursor.msg_id);
    time.add(now);
  }
  const sql::Column columns[] = {user.column(), kind.column(), target.column(), id.column(),
                                 time.column()};
  auto done = connection_->execute_many(kInsertCursor, columns, batch.cursors().size());
  if (!done) return std::unexpected(done.error());
  return {};
}

// Twice as many as came, now and then, if so many are old enough. What fails is tried again later.
void BatchWriter::forget_clients() {
  const uint32_t now = now_s();
  if (clients_ == 0 || now < forget_clients_ || now < kClientsKeptS) return;
  forget_clients_  = now + kForgetEveryS;
  const auto limit = std::max<uint64_t>(kForgetRowsMin, 2 * std::exchange(clients_, 0));
  (void)connection_->execute(kForgetClients, {uint64_t{now - kClientsKeptS}, limit});
}

// --- what went wrong ------------------------------------------------------------------------------------

void BatchWriter::roll_back(MessageBatch& batch) {
  for (MessageBatch::Place& place : batch.places())
    if (std::exchange(place.relation_made, false)) place.base.relation = 0;
  if (connection_ && (!connection_->alive() || !connection_->run("ROLLBACK"))) connection_.reset();
}

// Nothing: again.
std::optional<BatchWriter::Outcome> BatchWriter::undo(MessageBatch& batch, Trouble trouble) {
  roll_back(batch);
  report_.trouble = std::move(trouble);
  if (fenced_) return Outcome::fenced;
  Answer<void> helped;
  switch (report_.trouble.fault) {
    case Fault::conflict: ++report_.conflicts; return {};
    case Fault::lost: return {};  // COMMIT had not left
    case Fault::timeout: return Outcome::not_stored;
    case Fault::duplicate:
      ++report_.duplicates;
      helped = reload(batch);
      break;
    case Fault::row: {
      const uint32_t before = std::exchange(unfit_, 0);
      if (before == 0) helped = find_unfit(batch);
      if (!helped && helped.error().fault == Fault::duplicate) {  // it stands behind the unfit one
        ++report_.duplicates;
        helped = reload(batch);
        break;
      }
      if (helped && before + std::exchange(unfit_, 0) == 0) return Outcome::not_stored;
      break;
    }
    default: return Outcome::not_stored;
  }
  if (helped) return {};
  report_.trouble   = std::move(helped.error());
  const Fault fault = report_.trouble.fault;
  if (fault == Fault::lost || fault == Fault::conflict || fault == Fault::duplicate) return {};
  return Outcome::not_stored;
}

// The statement does not say which row: halves of it do. What is inserted meanwhile is rolled back, and
// the rows that fit get their numbers afterwards.
Answer<void> BatchWriter::find_unfit(MessageBatch& batch) {
  Answer<void> found = connection_ ? connection_->run("BEGIN")
                                   : std::unexpected(Trouble{Fault::lost, 0, "not connected"});
  for (MessageBatch::Place& place : batch.places())
    if (found && place.base.relation == 0) found = find_relation(place);
  if (found) {
    number(batch);
    deal_out(batch);
    sounds_.clear();
  }
  for (uint32_t table = 0; found && table < kTables; ++table)
    found = halve(batch, table, rows_of_[table]);
  roll_back(batch);
  return found;
}

Answer<void> BatchWriter::halve(const MessageBatch& batch, uint32_t table,
                                std::span<MessageBatch::Row* const> rows) {
  if (rows.empty()) return {};
  if (auto saved = connection_->run("SAVEPOINT halves"); !saved) return saved;
  auto inserted = insert_rows(batch, table, rows);
  if (inserted || inserted.error().fault != Fault::row) return inserted;
  if (auto back = connection_->run("ROLLBACK TO SAVEPOINT halves"); !back) return back;
  if (rows.size() == 1) {
    rows[0]->unfit = true;
    ++unfit_;
    return {};
  }
  const size_t half = rows.size() / 2;
  if (auto first = halve(batch, table, rows.first(half)); !first) return first;
  return halve(batch, table, rows.subspan(half));
}

// The heads of the batch's conversations as they are committed now.
Answer<void> BatchWriter::reload(MessageBatch& batch) {
  if (!connection_) return std::unexpected(Trouble{Fault::lost, 0, "not connected"});
  for (MessageBatch::Place& place : batch.places()) {
    Conversation& base = place.base;
    if (!base.is_group()) {
      const ConversationId id{base.key};
      auto relation =
          connection_->query(kFindRelation, {uint64_t{raw(id.small())}, uint64_t{raw(id.big())}});
      if (!relation) return std::unexpected(relation.error());
      base.relation = relation->empty() ? 0 : static_cast<uint32_t>(relation->number(0, 0));
    }
    if (base.relation == 0) continue;
    auto taken =
        connection_->query(kReadTaken, {uint64_t{kind_of({base.key})}, uint64_t{base.relation}});
    if (!taken) return std::unexpected(taken.error());
    if (!taken->empty()) take_over(base, *taken, 0, 0);
    auto newest = connection_->query((base.is_group() ? kNewestGroup : kNewestSingle)[base.table()],
                                     {uint64_t{base.relation}});
    if (!newest) return std::unexpected(newest.error());
    if (!newest->empty()) note_newest(base, *newest, 0, 0);
  }
  return {};
}

}  // namespace ringtalk::store
