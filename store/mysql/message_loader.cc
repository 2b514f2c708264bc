#include "store/mysql/message_loader.h"

#include <sys/random.h>

#include <boost/unordered/unordered_flat_map.hpp>
#include <charconv>

#include "engine/base/assert.h"
#include "engine/base/units.h"
#include "store/mysql/lane_lock.h"
#include "store/mysql/texts.h"

namespace ringtalk::store {

using sql::Answer;

namespace {

constexpr uint64_t kPortion     = 20'000;  // rows of one statement
constexpr uint64_t kBackPortion = 4096;
constexpr uint32_t kRepeatS     = 60;
constexpr uint32_t kClientS     = 24 * 3600;
// Rows of transactions that overlap are not quite in the order of their times.
constexpr uint32_t kSlackS = 10;

constexpr std::string_view kTakeLane =
    "INSERT INTO RTLane (lane, batchNo) VALUES (?, 1) ON DUPLICATE KEY UPDATE batchNo = batchNo + "
    "1";
constexpr std::string_view kTakeLanes =
    "UPDATE RTLane SET batchNo = batchNo + 1 WHERE lane BETWEEN ? AND ?";
constexpr std::string_view kReadLane = "SELECT batchNo FROM RTLane WHERE lane = ?";
constexpr std::string_view kRelations =
    "SELECT id, smallId, bigId FROM IMRelationShip WHERE id > ? ORDER BY id LIMIT 20000";
constexpr std::string_view kTaken =
    "SELECT convId, newest, small, hidden, time FROM RTConversation WHERE type = ? AND convId > ? "
    "ORDER BY convId LIMIT 20000";
constexpr std::string_view kCursors =
    "SELECT userId, type, convId, msgId FROM RTReadCursor "
    "WHERE userId > ? OR (userId = ? AND (type > ? OR (type = ? AND convId > ?))) "
    "ORDER BY userId, type, convId LIMIT 20000";
constexpr std::string_view kClients =
    "SELECT userId, clientMsgId, msgId, bodyHash, created FROM RTClientMsg "
    "WHERE created >= ? AND (userId > ? OR (userId = ? AND clientMsgId > ?)) "
    "ORDER BY userId, clientMsgId LIMIT 20000";

const TableTexts kNewestSingle(
    "SELECT t.relateId, m.rtSeq, m.created, m.rtSmall FROM "
    "(SELECT relateId, MAX(rtSeq) AS newest FROM IMMessage_{} WHERE relateId > ? "
    "GROUP BY relateId ORDER BY relateId LIMIT 20000) t "
    "LEFT JOIN IMMessage_{} m ON m.relateId = t.relateId AND m.rtSeq = t.newest");
const TableTexts kNewestGroup(
    "SELECT t.groupId, m.rtSeq, m.created, 0 FROM "
    "(SELECT groupId, MAX(rtSeq) AS newest FROM IMGroupMessage_{} WHERE groupId > ? "
    "GROUP BY groupId ORDER BY groupId LIMIT 20000) t "
    "LEFT JOIN IMGroupMessage_{} m ON m.groupId = t.groupId AND m.rtSeq = t.newest");
const TableTexts kLatestSingle(
    "SELECT id, fromId, rtSeq, created, rtKey, relateId FROM IMMessage_{} WHERE id < ? "
    "ORDER BY id DESC LIMIT 4096");
const TableTexts kLatestGroup(
    "SELECT id, userId, rtSeq, created, rtKey, groupId FROM IMGroupMessage_{} WHERE id < ? "
    "ORDER BY id DESC LIMIT 4096");

uint32_t to_u32(uint64_t value) { return static_cast<uint32_t>(value); }

class Loader {
 public:
  Loader(sql::Connection& connection, const Homes& homes, uint32_t node, uint32_t now_s)
      : connection_(connection), homes_(homes), node_(node), now_s_(now_s) {}

  Answer<LoadedMessages> run();

 private:
  Answer<void> take_lanes();
  Answer<void> load_relations();
  Answer<void> load_newest(bool group, uint32_t table);
  Answer<void> load_taken(bool group);
  Answer<void> load_cursors();
  Answer<void> load_latest(bool group, uint32_t table);
  Answer<void> load_clients();
  template <class Note>
  Answer<void> portions(std::string_view statement, uint64_t first, Note note);
  // Null: a relation of nobody.
  Conversations* place(bool group, uint64_t relation, Conversation& conversation);
  LoadedShard& of_user(uint32_t user) {
    return out_.shards[homes_.of_user(UserId(user), homes_.shards)];
  }

  sql::Connection& connection_;
  const Homes& homes_;
  const uint32_t node_;
  const uint32_t now_s_;
  LoadedMessages out_;
  boost::unordered_flat_map<uint32_t, uint64_t> pair_of_;  // by relation
};

Answer<LoadedMessages> Loader::run() {
  uint64_t seed = 0;
  RT_ASSERT(::getrandom(&seed, sizeof seed, 0) == sizeof seed);
  for (uint32_t i = 0; i < homes_.shards; ++i)
    out_.shards.push_back({.conversations = std::make_unique<Conversations>(seed),
                           .cursors       = std::make_unique<Cursors>(seed)});
  if (auto done = take_lanes(); !done) return std::unexpected(done.error());
  if (auto done = load_relations(); !done) return std::unexpected(done.error());
  for (const bool group : {false, true}) {
    if (auto done = load_taken(group); !done) return std::unexpected(done.error());
    for (uint32_t table = 0; table < kMessageTables; ++table) {
      if (auto done = load_newest(group, table); !done) return std::unexpected(done.error());
      if (auto done = load_latest(group, table); !done) return std::unexpected(done.error());
    }
  }
  if (auto done = load_cursors(); !done) return std::unexpected(done.error());
  if (auto done = load_clients(); !done) return std::unexpected(done.error());
  return std::move(out_);
}

// A process that had them before finds its number gone, and ends.
Answer<void> Loader::take_lanes() {
  for (uint32_t shard = 0; shard < homes_.shards; ++shard) {
    const uint64_t lane = lane_of(node_, shard);
    if (auto locked = take_lane_lock(connection_, lane); !locked)
      return std::unexpected(locked.error());
    if (auto taken = connection_.execute(kTakeLane, {lane}); !taken)
      return std::unexpected(taken.error());
    auto read = connection_.query(kReadLane, {lane});
    if (!read) return std::unexpected(read.error());
    out_.shards[shard].batch_no = read->number(0, 0);
  }
  auto taken = connection_.execute(
      kTakeLanes, {uint64_t{lane_of(node_, homes_.shards)}, uint64_t{lane_of(node_ + 1, 0)} - 1});
  if (!taken) return std::unexpected(taken.error());
  return {};
}

// Rows in the order of their first column, which `statement` wants larger than its value.
template <class Note>
Answer<void> Loader::portions(std::string_view statement, uint64_t first, Note note) {
  for (uint64_t after = first;;) {
    auto rows = connection_.query(statement, {after});
    if (!rows) return std::unexpected(rows.error());
    for (size_t i = 0; i < rows->size(); ++i) {
      after = std::max(after, rows->number(i, 0));
      note(*rows, i);
    }
    if (rows->size() < kPortion) return {};
  }
}

Answer<void> Loader::load_relations() {
  return portions(kRelations, 0, [&](const sql::Rows& rows, size_t i) {
    const uint32_t small = to_u32(rows.number(i, 1)), big = to_u32(rows.number(i, 2));
    if (small == 0 || small >= big) return;
    pair_of_[to_u32(rows.number(i, 0))] = ConversationId::single(UserId(small), UserId(big)).key;
  });
}

Conversations* Loader::place(bool group, uint64_t relation, Conversation& conversation) {
  ConversationId id{relation};
  if (!group) {
    const auto pair = pair_of_.find(to_u32(relation));
    if (pair == pair_of_.end()) return nullptr;
    id = {pair->second};
  }
  if (id.key == 0) return nullptr;
  LoadedShard& shard    = out_.shards[homes_.of_conversation(id, homes_.shards)];
  conversation          = shard.conversations->get(id);
  conversation.relation = to_u32(relation);
  return shard.conversations.get();
}

Answer<void> Loader::load_taken(bool group) {
  const uint64_t kind = group ? kGroupKind : kSingleKind;
  for (uint64_t after = 0;;) {
    auto rows = connection_.query(kTaken, {kind, after});
    if (!rows) return std::unexpected(rows.error());
    for (size_t i = 0; i < rows->size(); ++i) {
      after = rows->number(i, 0);
      Conversation conversation;
      Conversations* const to = place(group, after, conversation);
      if (!to) continue;
      take_over(conversation, *rows, i, 1);
      to->set(conversation);
    }
    if (rows->size() < kPortion) return {};
  }
}

Answer<void> Loader::load_newest(bool group, uint32_t table) {
  const std::string_view statement = group ? kNewestGroup[table] : kNewestSingle[table];
  return portions(statement, 0, [&](const sql::Rows& rows, size_t i) {
    if (rows.null(i, 1)) return;  // only rows of the original's
    Conversation conversation;
    Conversations* const to = place(group, rows.number(i, 0), conversation);
    if (!to) return;
    note_newest(conversation, rows, i, 1);
    to->set(conversation);
  });
}

Answer<void> Loader::load_cursors() {
  uint64_t user = 0, kind = 0, target = 0;
  for (;;) {
    auto rows = connection_.query(kCursors, {user, user, kind, kind, target});
    if (!rows) return std::unexpected(rows.error());
    for (size_t i = 0; i < rows->size(); ++i) {
      user   = rows->number(i, 0);
      kind   = rows->number(i, 1);
      target = rows->number(i, 2);
      of_user(to_u32(user))
          .cursors->load({conversation_of(kind, UserId(to_u32(user)), target).key, to_u32(user)},
                         to_u32(rows->number(i, 3)));
    }
    if (rows->size() < kPortion) return {};
  }
}

// Backwards until a portion has nothing young.
Answer<void> Loader::load_latest(bool group, uint32_t table) {
  const std::string_view statement = group ? kLatestGroup[table] : kLatestSingle[table];
  uint32_t kept                    = 0;
  for (uint64_t before = UINT32_MAX;;) {
    auto rows = connection_.query(statement, {before});
    if (!rows) return std::unexpected(rows.error());
    bool young = false;
    for (size_t i = 0; i < rows->size(); ++i) {
      before              = rows->number(i, 0);
      const uint32_t time = to_u32(rows->number(i, 3));
      if (time + kRepeatS + kSlackS < now_s_ || rows->null(i, 2)) continue;
      young               = true;
      const uint32_t user = to_u32(rows->number(i, 1)), id = to_u32(rows->number(i, 2));
      // Who writes in a group has read up to there, and no row may say so yet: it is written again.
      if (group) of_user(user).cursors->raise({rows->number(i, 5), user}, id);
      const KeyPair keys = keys_of(rows->text(i, 4));
      if (keys.first == 0 || time + kRepeatS < now_s_) continue;
      of_user(user).repeats.push_back(
          {.author = UserId(user), .repeat_key = keys.first, .msg_id = id, .time = time});
      ++kept;
    }
    if (!young || rows->size() < kBackPortion) return {};
    if (kept >= kRepeatsLoadedMax / (2 * kMessageTables)) {
      ++out_.repeats_forgotten;
      return {};
    }
  }
}

Answer<void> Loader::load_clients() {
  const uint64_t since = now_s_ > kClientS ? now_s_ - kClientS : 0;
  uint64_t user        = 0;
  uint32_t kept        = 0;
  std::string text;
  for (;;) {
    auto rows = connection_.query(kClients, {since, user, user, std::string_view(text)});
    if (!rows) return std::unexpected(rows.error());
    for (size_t i = 0; i < rows->size(); ++i) {
      user = rows->number(i, 0);
      text = rows->text(i, 1);
      Repeat repeat{.author   = UserId(to_u32(user)),
                    .full_key = keys_of(rows->text(i, 3)).first,
                    .msg_id   = to_u32(rows->number(i, 2)),
                    .time     = to_u32(rows->number(i, 4))};
      const char* const end = text.data() + text.size();
      if (std::from_chars(text.data(), end, repeat.client_key, 16).ptr != end) continue;
      of_user(to_u32(user)).repeats.push_back(repeat);
      ++kept;
    }
    if (rows->size() < kPortion) return {};
    if (kept >= kRepeatsLoadedMax) {
      ++out_.repeats_forgotten;
      return {};
    }
  }
}

}  // namespace

Answer<LoadedMessages> load_messages(sql::Connection& connection, const Homes& homes, uint32_t node,
                                     engine::Clock& clock) {
  return Loader(connection, homes, node, to_u32(clock.wall_ns() / kNsPerS)).run();
}

}  // namespace ringtalk::store
