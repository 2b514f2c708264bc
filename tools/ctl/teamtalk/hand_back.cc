#include "tools/ctl/teamtalk/hand_back.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <map>

#include "tools/ctl/teamtalk/message_walk.h"

namespace ringtalk::ctl {

namespace {

using store::sql::kMessageTables;
using store::sql::Rows;

constexpr uint64_t kSingle = 1;
constexpr uint64_t kGroup  = 2;

constexpr uint64_t pair_key(uint64_t first, uint64_t second) { return first << 32 | second; }

}  // namespace

HandBack::HandBack(Database& database, RedisPools& redis,
                   std::function<void(std::string_view)> progress)
    : database_(database),
      redis_(redis),
      progress_(std::move(progress)),
      now_(static_cast<uint32_t>(std::time(nullptr))) {}

HandedBack HandBack::run() {
  begin();
  load_positions();
  conversations();
  groups();
  sessions();
  tokens();
  const Rows users =
      database_.rows("SELECT name FROM {IMUser} WHERE status = 0 AND password = '' ORDER BY id");
  for (size_t i = 0; i < users.size(); ++i) done_.without_password.emplace_back(users.text(i, 0));
  finish();
  return done_;
}

void HandBack::begin() {
  database_.execute(
      "INSERT INTO {RTSchema} (name, value) VALUES ('handed_back', ?)"
      " ON DUPLICATE KEY UPDATE value = VALUES(value)",
      {uint64_t{now_}});
  // What each conversation has come to; gone with the connection.
  database_.run(
      "CREATE TEMPORARY TABLE rt_heads (`type` tinyint unsigned NOT NULL, convId int unsigned NOT "
      "NULL,"
      " newest int unsigned NOT NULL, `time` int unsigned NOT NULL, PRIMARY KEY (`type`, convId))");
}

void HandBack::load_positions() {
  const Rows cursors = database_.rows("SELECT userId, `type`, convId, msgId FROM {RTReadCursor}");
  for (size_t i = 0; i < cursors.size(); ++i) {
    const uint64_t type = cursors.number(i, 1);
    if (type == kSingle || type == kGroup)
      read_[type][pair_key(cursors.number(i, 0), cursors.number(i, 2))] = number32(cursors, i, 3);
  }
  const Rows taken = database_.rows("SELECT `type`, convId, newest FROM {RTConversation}");
  for (size_t i = 0; i < taken.size(); ++i) {
    const uint64_t type = taken.number(i, 0);
    if (type == kSingle || type == kGroup)
      taken_[type][number32(taken, i, 1)] = number32(taken, i, 2);
  }
}

uint32_t HandBack::position(uint32_t user, uint64_t type, uint32_t target) const {
  const auto it = read_[type].find(pair_key(user, target));
  return it == read_[type].end() ? 0 : it->second;
}

Conversation HandBack::conversation_of(std::vector<OldMessage>& messages, uint64_t type,
                                       uint32_t id, uint32_t small) {
  sort_messages(messages);
  const auto taken = taken_[type].find(id);
  return {messages,
          taken == taken_[type].end() ? std::nullopt : std::optional<uint64_t>(taken->second),
          small, now_};
}

void HandBack::conversations() {
  // Hidden rows are read as far as they are hidden.
  std::unordered_map<uint64_t, uint32_t> hidden;
  const Rows hides =
      database_.rows("SELECT userId, peerId, hiddenTo FROM {RTSession} WHERE `type` = 1");
  for (size_t i = 0; i < hides.size(); ++i)
    hidden[pair_key(hides.number(i, 0), hides.number(i, 1))] = number32(hides, i, 2);
  const Rows users = database_.rows("SELECT id FROM {IMUser}");
  for (size_t i = 0; i < users.size(); ++i)
    redis_.add(Pool::unread, {"DEL", fmt::format("unread_{}", users.number(i, 0))});
  redis_.flush();

  NumberRows heads(database_,
                   "INSERT INTO rt_heads (`type`, convId, newest, `time`) VALUES (?, ?, ?, ?)", 4);
  for (uint32_t table = 0; table < kMessageTables; ++table) {
    auto messages        = MessageWalk::of_pairs(database_, table);
    const Rows relations = database_.rows(
        "SELECT id, smallId, bigId FROM {IMRelationShip} WHERE id % 8 = ? AND smallId > 0"
        " AND smallId < bigId ORDER BY id",
        {uint64_t{table}});
    for (size_t i = 0; i < relations.size(); ++i) {
      const uint32_t id = number32(relations, i, 0), small = number32(relations, i, 1),
                     big      = number32(relations, i, 2);
      auto rows               = messages.of(id);
      const auto conversation = conversation_of(rows, kSingle, id, small);
      redis_.add(Pool::unread,
                 {"SET", fmt::format("msg_id_{}", id), std::to_string(conversation.newest())});
      if (conversation.empty()) continue;
      ++done_.conversations;
      heads.add({kSingle, id, conversation.newest(), conversation.time()});
      for (const auto& [reader, peer] : {std::pair(small, big), std::pair(big, small)}) {
        const auto hide = hidden.find(pair_key(reader, peer));
        const uint32_t read =
            std::max(position(reader, kSingle, peer), hide == hidden.end() ? 0 : hide->second);
        const uint32_t unread = conversation.unread_behind(read, reader);
        if (unread == 0) continue;
        ++done_.unread;
        redis_.add(Pool::unread, {"HSET", fmt::format("unread_{}", reader), std::to_string(peer),
                                  std::to_string(unread)});
      }
    }
    progress_(fmt::format("conversations of two, table {} of {}: {}", table + 1, kMessageTables,
                          done_.conversations));
  }
  heads.flush();
  redis_.flush();
}

void HandBack::groups() {
  NumberRows heads(database_,
                   "INSERT INTO rt_heads (`type`, convId, newest, `time`) VALUES (?, ?, ?, ?)", 4);
  for (uint32_t table = 0; table < kMessageTables; ++table) {
    auto messages     = MessageWalk::of_groups(database_, table, /*authors=*/true);
    const Rows groups = database_.rows(
        "SELECT id, status FROM {IMGroup} WHERE id % 8 = ? ORDER BY id", {uint64_t{table}});
    for (size_t i = 0; i < groups.size(); ++i) {
      const uint32_t id       = number32(groups, i, 0);
      auto rows               = messages.of(id);
      const auto conversation = conversation_of(rows, kGroup, id, 0);
      const auto newest       = std::to_string(conversation.newest());
      redis_.add(Pool::unread, {"SET", fmt::format("group_msg_id_{}", id), newest});
      redis_.add(Pool::unread, {"HSET", fmt::format("{}_im_group_msg", id), "count", newest});
      if (!conversation.empty()) {
        ++done_.groups;
        heads.add({kGroup, id, conversation.newest(), conversation.time()});
      }
      const std::string member_key = fmt::format("group_member_{}", id);
      redis_.add(Pool::group_member, {"DEL", member_key});
      redis_.add(Pool::group_set, {"DEL", fmt::format("group_set_{}", id)});
      if (groups.number(i, 1) == 0) members_of(id, conversation);
    }
    redis_.flush();
    progress_(fmt::format("groups, table {} of {}: {} with messages, {} members", table + 1,
                          kMessageTables, done_.groups, done_.members));
  }
  heads.flush();
}

void HandBack::members_of(uint32_t group, const Conversation& conversation) {
  const Rows members = database_.rows(
      "SELECT m.userId, m.updated, COALESCE(r.firstMsgId, 0), COALESCE(r.shield, 0),"
      " COALESCE(r.hiddenTo, 0) FROM {IMGroupMember} m LEFT JOIN {RTGroupMember} r"
      " ON r.groupId = m.groupId AND r.userId = m.userId WHERE m.groupId = ? AND m.status = 0",
      {uint64_t{group}});
  auto own             = conversation.newest_by_author();
  const uint32_t taken = taken_[kGroup][group];
  for (size_t i = 0; i < members.size(); ++i) {
    const uint32_t user    = number32(members, i, 0);
    const std::string name = std::to_string(user);
    redis_.add(Pool::group_member, {"HSET", fmt::format("group_member_{}", group), name,
                                    std::to_string(members.number(i, 1))});
    if (members.number(i, 3) != 0)
      redis_.add(Pool::group_set, {"HSET", fmt::format("group_set_{}", group), name + "_1", "1"});
    // Under ringtalk who writes has read up to there; what was before his time he does not see. The
    // original's counters do not ask who wrote.
    const uint32_t first = number32(members, i, 2);
    const uint32_t wrote = own[user] > taken ? own[user] : 0;
    const uint32_t read  = std::max(
        {position(user, kGroup, group), wrote, first > 0 ? first - 1 : 0, number32(members, i, 4)});
    const uint32_t unread = conversation.unread_behind(read, /*reader=*/0);
    if (unread > 0) ++done_.unread;
    redis_.add(Pool::unread, {"HSET", fmt::format("{}_{}_im_user_group", user, group), "count",
                              std::to_string(conversation.newest() - unread)});
  }
  done_.members += members.size();
  database_.execute(
      "UPDATE {IMGroup} SET userCnt = ?, lastChated = GREATEST(lastChated, ?) WHERE id = ?",
      {uint64_t{members.size()}, uint64_t{conversation.time()}, uint64_t{group}});
}

// Single rows: shown again by a message behind what was hidden; their time is that of the newest one.
// Groups: the original's job gives every member a row with the first message; a removed one stays removed.
void HandBack::sessions() {
  done_.sessions +=
      database_
          .execute(
              "UPDATE {IMRecentSession} s JOIN {IMRelationShip} r"
              " ON r.smallId = LEAST(s.userId, s.peerId) AND r.bigId = GREATEST(s.userId, s.peerId)"
              " JOIN rt_heads h ON h.`type` = 1 AND h.convId = r.id"
              " LEFT JOIN {RTSession} k ON k.userId = s.userId AND k.peerId = s.peerId"
              " AND k.`type` = 1"
              " SET s.updated = GREATEST(s.updated, h.`time`), s.status = 0"
              " WHERE s.type = 1 AND ((k.hiddenTo IS NULL AND s.status = 0)"
              " OR k.hiddenTo < h.newest)")
          .rows;
  done_.sessions +=
      database_
          .execute(
              "INSERT INTO {IMRecentSession} (userId, peerId, type, status, created, updated)"
              " SELECT m.userId, m.groupId, 2, CASE WHEN m.hiddenTo > 0 THEN 1 ELSE 0 END,"
              " h.`time`, h.`time` FROM {RTGroupMember} m JOIN {IMGroupMember} i"
              " ON i.groupId = m.groupId AND i.userId = m.userId AND i.status = 0"
              " JOIN rt_heads h ON h.`type` = 2 AND h.convId = m.groupId"
              " WHERE h.newest >= m.firstMsgId ON DUPLICATE KEY UPDATE status = VALUES(status),"
              " updated = GREATEST({IMRecentSession}.updated, VALUES(updated))")
          .rows;
  // Who is not in any more has it no more on his list.
  done_.sessions +=
      database_
          .execute(
              "UPDATE {IMRecentSession} s JOIN {IMGroup} g ON g.id = s.peerId"
              " LEFT JOIN {IMGroupMember} i ON i.groupId = s.peerId AND i.userId = s.userId"
              " AND i.status = 0 SET s.status = 1"
              " WHERE s.type = 2 AND s.status = 0 AND i.id IS NULL")
          .rows;
  progress_(fmt::format("conversation lists: {} rows changed", done_.sessions));
}

void HandBack::tokens() {
  std::map<uint32_t, std::string> tokens;
  const Rows rows = database_.rows(
      "SELECT userId, serviceType, token FROM {RTPushReg} WHERE deviceId = '' ORDER BY userId");
  for (size_t i = 0; i < rows.size(); ++i)
    tokens[number32(rows, i, 0)] =
        (rows.number(i, 1) == store::sql::kPushServiceIos ? "ios:" : "android:") +
        std::string(rows.text(i, 2));
  done_.tokens = tokens.size();

  std::vector<std::string> keys;
  std::vector<uint32_t> users;
  const Rows all = database_.rows("SELECT id FROM {IMUser} ORDER BY id");
  for (size_t i = 0; i < all.size(); ++i) {
    users.push_back(number32(all, i, 0));
    keys.push_back(fmt::format("device_{}", users.back()));
  }
  const auto before = redis_.texts(Pool::token, keys);
  for (size_t i = 0; i < users.size(); ++i) {
    const auto it           = tokens.find(users[i]);
    const std::string value = it == tokens.end() ? std::string() : it->second;
    // As the original clears: the user's key and that of the token become empty.
    if (before[i] && *before[i] != value) {
      const std::string old = before[i]->substr(before[i]->find(':') + 1);
      if (!old.empty()) redis_.add(Pool::token, {"SET", "device_" + old, ""});
    }
    if (value.empty() && !before[i]) continue;
    redis_.add(Pool::token, {"SET", keys[i], value});
  }
  redis_.flush();
  for (const auto& [user, value] : tokens)
    redis_.add(Pool::token,
               {"SET", "device_" + value.substr(value.find(':') + 1), std::to_string(user)});
  redis_.flush();
  progress_(fmt::format("push tokens: {}", done_.tokens));
}

void HandBack::finish() {
  database_.execute("DELETE FROM {RTSchema} WHERE name = 'version'");
  progress_(
      "the original's servers may start; ringtalkd does not, before `ringtalkctl migrate --apply`");
}

}  // namespace ringtalk::ctl
