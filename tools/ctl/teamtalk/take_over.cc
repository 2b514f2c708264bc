#include "tools/ctl/teamtalk/take_over.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <map>

#include "tools/ctl/teamtalk/message_walk.h"

namespace ringtalk::ctl {

namespace {

using store::sql::kMessageTables;
using store::sql::Rows;

constexpr uint64_t kSingle     = 1;
constexpr uint64_t kGroup      = 2;
constexpr size_t kGroupsAtOnce = 100;
constexpr size_t kUsersAtOnce  = 5'000;
constexpr size_t kPairsAtOnce  = 20'000;

constexpr uint64_t pair_key(uint64_t first, uint64_t second) { return first << 32 | second; }

// A part of a range, as a range.
template <class T>
std::span<const T> part_of(const std::vector<T>& all, size_t first, size_t count) {
  return std::span(all).subspan(first, std::min(count, all.size() - first));
}

}  // namespace

TakeOver::TakeOver(Database& database, RedisPools* redis, bool write,
                   std::function<void(std::string_view)> progress)
    : database_(database),
      redis_(redis),
      write_(write),
      progress_(std::move(progress)),
      now_(static_cast<uint32_t>(std::time(nullptr))) {}

Taken TakeOver::run() {
  if (write_) forget();
  load_relations();
  load_unread();
  conversations();
  groups();
  if (write_) sessions();
  tokens();
  return taken_;
}

void TakeOver::forget() {
  for (const char* table : {"{RTConversation}", "{RTReadCursor}", "{RTSession}", "{RTGroupMember}"})
    database_.run(std::string("TRUNCATE TABLE ") + table);
}

void TakeOver::load_relations() {
  const Rows rows = database_.rows(
      "SELECT id, smallId, bigId FROM {IMRelationShip} WHERE smallId > 0 AND smallId < bigId"
      " ORDER BY id");
  relations_.reserve(rows.size());
  for (size_t i = 0; i < rows.size(); ++i)
    relations_.push_back({number32(rows, i, 0), number32(rows, i, 1), number32(rows, i, 2)});
  const Rows users = database_.rows("SELECT id FROM {IMUser}");
  for (size_t i = 0; i < users.size(); ++i) users_.insert(number32(users, i, 0));
  const Rows removed =
      database_.rows("SELECT userId, peerId FROM {IMRecentSession} WHERE type = 2 AND status <> 0");
  for (size_t i = 0; i < removed.size(); ++i)
    removed_groups_.insert(pair_key(removed.number(i, 0), removed.number(i, 1)));
}

void TakeOver::load_unread() {
  if (!redis_) return;
  std::vector<uint32_t> readers(users_.begin(), users_.end());
  std::vector<std::string> keys;
  for (size_t first = 0; first < readers.size(); first += kUsersAtOnce) {
    const auto part = part_of(readers, first, kUsersAtOnce);
    keys.clear();
    for (const uint32_t user : part) keys.push_back(fmt::format("unread_{}", user));
    const auto hashes = redis_->hashes(Pool::unread, keys);
    for (size_t i = 0; i < part.size(); ++i) {
      for (const auto& [peer, count] : hashes[i]) {
        const auto peer_id = decimal(peer), unread = decimal(count);
        if (peer_id && *peer_id <= UINT32_MAX && unread.value_or(0) > 0)
          unread_[pair_key(part[i], *peer_id)] = *unread;
      }
    }
  }
}

std::vector<std::optional<uint64_t>> TakeOver::counters(std::string_view prefix,
                                                        const std::vector<uint32_t>& ids) {
  if (!redis_) return std::vector<std::optional<uint64_t>>(ids.size());
  std::vector<std::string> keys;
  for (const uint32_t id : ids) keys.push_back(fmt::format("{}{}", prefix, id));
  return redis_->numbers(Pool::unread, keys);
}

Conversation TakeOver::conversation_of(std::vector<OldMessage>& messages,
                                       std::optional<uint64_t> counter, uint32_t small) {
  sort_messages(messages);
  taken_.messages += messages.size();
  if (counter && *counter > 0 && !is_sane(*counter)) ++taken_.counters_insane;
  Conversation conversation(messages, counter, small, now_);
  if (counter && is_sane(*counter) && *counter < conversation.newest()) ++taken_.counters_behind;
  return conversation;
}

void TakeOver::conversations() {
  constexpr std::string_view kFigures =
      "INSERT INTO {RTConversation} (`type`, convId, newest, `small`, hidden, `time`)"
      " VALUES (?, ?, ?, ?, ?, ?)";
  constexpr std::string_view kCursors =
      "INSERT INTO {RTReadCursor} (userId, `type`, convId, msgId, updated) VALUES (?, ?, ?, ?, ?)";
  NumberRows figures(database_, kFigures, 6), cursors(database_, kCursors, 5);
  for (uint32_t table = 0; table < kMessageTables; ++table) {
    conversations_of(table, figures, cursors);
    progress_(fmt::format("conversations of two, table {} of {}: {} with {} messages", table + 1,
                          kMessageTables, taken_.conversations, taken_.messages));
  }
  figures.flush();
  cursors.flush();
}

void TakeOver::conversations_of(uint32_t table, NumberRows& figures, NumberRows& cursors) {
  auto messages = MessageWalk::of_pairs(database_, table);
  std::vector<Relation> mine;
  std::ranges::copy_if(relations_, std::back_inserter(mine), [&](const Relation& relation) {
    return relation.id % kMessageTables == table;
  });
  for (size_t first = 0; first < mine.size(); first += kPairsAtOnce) {
    const auto part = part_of(mine, first, kPairsAtOnce);
    std::vector<uint32_t> ids;
    for (const Relation& relation : part) ids.push_back(relation.id);
    const auto counts = counters("msg_id_", ids);
    for (size_t i = 0; i < part.size(); ++i) {
      auto rows = messages.of(part[i].id);
      take_pair(part[i], conversation_of(rows, counts[i], part[i].small), figures, cursors);
    }
  }
}

void TakeOver::take_pair(const Relation& relation, const Conversation& conversation,
                         NumberRows& figures, NumberRows& cursors) {
  if (conversation.empty()) return;
  ++taken_.conversations;
  if (write_)
    figures.add({kSingle, relation.id, conversation.newest(), conversation.small(),
                 conversation.hidden(), conversation.time()});
  for (const auto& [reader, peer] :
       {std::pair(relation.small, relation.big), std::pair(relation.big, relation.small)}) {
    const auto unread = unread_.find(pair_key(reader, peer));
    if (unread != unread_.end()) ++taken_.unread;
    const uint32_t position =
        conversation.below(unread == unread_.end() ? 0 : unread->second, peer);
    if (position == 0) continue;
    ++taken_.cursors;
    if (write_) cursors.add({reader, kSingle, peer, position, now_});
  }
}

// Rows that a conversation lacks come as removed ones: its next message shows them, as the original did.
void TakeOver::sessions() {
  constexpr const char* kMissing =
      "INSERT INTO {{IMRecentSession}} (userId, peerId, type, status, created, updated)"
      " SELECT r.{0}, r.{1}, 1, 1, c.`time`, c.`time` FROM {{RTConversation}} c"
      " JOIN {{IMRelationShip}} r ON r.id = c.convId LEFT JOIN {{IMRecentSession}} s"
      " ON s.userId = r.{0} AND s.peerId = r.{1} AND s.type = 1 WHERE c.`type` = 1 AND s.id IS "
      "NULL";
  taken_.sessions_made =
      database_.execute(fmt::format(fmt::runtime(kMissing), "smallId", "bigId")).rows +
      database_.execute(fmt::format(fmt::runtime(kMissing), "bigId", "smallId")).rows;
  taken_.sessions_hidden =
      database_
          .execute(
              "INSERT INTO {RTSession} (userId, peerId, `type`, hiddenTo)"
              " SELECT s.userId, s.peerId, 1, c.newest FROM {IMRecentSession} s"
              " JOIN {IMRelationShip} r ON r.smallId = LEAST(s.userId, s.peerId)"
              " AND r.bigId = GREATEST(s.userId, s.peerId)"
              " JOIN {RTConversation} c ON c.`type` = 1 AND c.convId = r.id"
              " WHERE s.type = 1 AND s.status <> 0")
          .rows;
  progress_(fmt::format("conversation lists: {} removed rows noted, {} rows made",
                        taken_.sessions_hidden, taken_.sessions_made));
}

struct TakeOver::Member {
  bool row       = false;  // in IMGroupMember
  bool in        = false;  // by its status
  bool belongs   = false;  // by the rule
  uint32_t since = 0;      // joined: what the row says, then what Redis says
  uint32_t said  = 0;      // what the row says
  bool muted     = false;
};

void TakeOver::groups() {
  NumberRows figures(
      database_,
      "INSERT INTO {RTConversation} (`type`, convId, newest, `small`, hidden, `time`)"
      " VALUES (?, ?, ?, ?, ?, ?)",
      6);
  NumberRows cursors(
      database_,
      "INSERT INTO {RTReadCursor} (userId, `type`, convId, msgId, updated) VALUES (?, ?, ?, ?, ?)",
      5);
  for (uint32_t table = 0; table < kMessageTables; ++table) {
    groups_of(table, figures, cursors);
    progress_(fmt::format("groups, table {} of {}: {} with messages, {} members", table + 1,
                          kMessageTables, taken_.groups, taken_.members));
  }
  figures.flush();
  cursors.flush();
}

void TakeOver::groups_of(uint32_t table, NumberRows& figures, NumberRows& cursors) {
  auto messages  = MessageWalk::of_groups(database_, table);
  const Rows all = database_.rows("SELECT id, status FROM {IMGroup} WHERE id % 8 = ? ORDER BY id",
                                  {uint64_t{table}});
  for (size_t first = 0; first < all.size(); first += kGroupsAtOnce) {
    std::vector<uint32_t> ids, in_use;
    for (size_t i = first; i < std::min(first + kGroupsAtOnce, all.size()); ++i) {
      ids.push_back(number32(all, i, 0));
      if (all.number(i, 1) == 0) in_use.push_back(ids.back());
    }
    const auto counts = counters("group_msg_id_", ids);
    std::unordered_map<uint32_t, Conversation> conversations;
    for (size_t i = 0; i < ids.size(); ++i) {
      auto rows = messages.of(ids[i]);
      const auto& conversation =
          conversations.emplace(ids[i], conversation_of(rows, counts[i], 0)).first->second;
      if (conversation.empty()) continue;
      ++taken_.groups;
      if (write_)
        figures.add(
            {kGroup, ids[i], conversation.newest(), 0, conversation.hidden(), conversation.time()});
    }
    take_members(in_use, conversations, cursors);
  }
}

void TakeOver::take_members(const std::vector<uint32_t>& groups,
                            const std::unordered_map<uint32_t, Conversation>& conversations,
                            NumberRows& cursors) {
  std::map<uint32_t, std::map<uint32_t, Member>> members;
  for (const uint32_t group : groups) {
    const Rows rows = database_.rows(
        "SELECT userId, status, updated FROM {IMGroupMember} WHERE groupId = ? ORDER BY updated, "
        "id",
        {uint64_t{group}});
    for (size_t i = 0; i < rows.size(); ++i) {
      Member& member = members[group][number32(rows, i, 0)];
      const bool in  = rows.number(i, 1) == 0;
      if (member.in && !in) continue;  // of double rows, which only a dry run meets
      const uint32_t updated = number32(rows, i, 2);
      member = {.row = true, .in = in, .belongs = in, .since = updated, .said = updated};
    }
  }
  std::vector<std::optional<uint64_t>> totals(groups.size());
  if (redis_) {
    std::vector<std::string> keys, mute_keys, total_keys;
    for (const uint32_t group : groups) {
      keys.push_back(fmt::format("group_member_{}", group));
      mute_keys.push_back(fmt::format("group_set_{}", group));
      total_keys.push_back(fmt::format("{}_im_group_msg", group));
    }
    const auto hashes = redis_->hashes(Pool::group_member, keys);
    const auto muted  = redis_->hashes(Pool::group_set, mute_keys);
    totals            = redis_->field(Pool::unread, total_keys, "count");
    for (size_t i = 0; i < groups.size(); ++i) {
      auto& of_group = members[groups[i]];
      if (!hashes[i].empty()) {
        for (auto& [user, member] : of_group) member.belongs = false;
        for (const auto& [name, joined] : hashes[i]) {
          const auto user = decimal(name), since = decimal(joined);
          if (!user || *user > UINT32_MAX) continue;
          Member& member = of_group[static_cast<uint32_t>(*user)];
          member.belongs = true;
          if (since && *since > 0 && *since <= UINT32_MAX)
            member.since = static_cast<uint32_t>(*since);
        }
      }
      for (const auto& [name, value] : muted[i]) {
        constexpr std::string_view kMute = "_1";
        const std::string_view text      = name;
        if (!text.ends_with(kMute) || value != "1") continue;
        const auto user = decimal(text.substr(0, text.size() - kMute.size()));
        if (!user) continue;
        const auto member = of_group.find(static_cast<uint32_t>(*user));
        if (member != of_group.end()) member->second.muted = true;
      }
    }
  }

  std::vector<std::string> copy_keys;
  for (const auto& [group, of_group] : members) {
    for (const auto& [user, member] : of_group)
      if (member.belongs) copy_keys.push_back(fmt::format("{}_{}_im_user_group", user, group));
  }
  const auto copies = redis_ ? redis_->field(Pool::unread, copy_keys, "count")
                             : std::vector<std::optional<uint64_t>>(copy_keys.size());

  NumberRows sides(database_,
                   "INSERT INTO {RTGroupMember} (groupId, userId, firstMsgId, shield, hiddenTo)"
                   " VALUES (?, ?, ?, ?, ?)",
                   5, /*own_transaction=*/false);
  std::optional<Transaction> transaction;
  if (write_) transaction.emplace(database_);
  size_t copy = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    const uint32_t group             = groups[i];
    const Conversation& conversation = conversations.at(group);
    uint64_t count                   = 0;
    for (auto& [user, member] : members[group]) {
      const auto copied = member.belongs ? copies[copy++] : std::nullopt;
      if (member.belongs && !users_.contains(user)) {
        ++taken_.members_unknown;
        member.belongs = false;
      }
      if (member.belongs && !member.in) ++taken_.members_joined;
      if (!member.belongs && member.in) ++taken_.members_left;
      if (write_) write_member(group, user, member);
      if (!member.belongs) continue;
      ++count;
      taken_.muted += member.muted ? 1 : 0;
      const uint32_t first    = conversation.first_since(member.since);
      const auto unread       = group_unread(totals[i], copied);
      const uint32_t position = unread ? conversation.below(*unread, 0) : first - 1;
      // Removing is reading, and a removed group stays removed: he did it where he has read to, or before.
      const bool removed = removed_groups_.contains(pair_key(user, group)) && !conversation.empty();
      if (write_)
        sides.add({group, user, first, member.muted, removed ? std::max(position, 1u) : 0});
      if (unread.value_or(1) > 0) ++taken_.unread;
      if (position == 0) continue;
      ++taken_.cursors;
      if (write_) cursors.add({user, kGroup, group, position, now_});
    }
    taken_.members += count;
    if (write_) {
      taken_.counts_mended +=
          database_
              .execute("UPDATE {IMGroup} SET userCnt = ? WHERE id = ? AND userCnt <> ?",
                       {count, uint64_t{group}, count})
              .rows;
    }
  }
  sides.flush();
  if (transaction) transaction->commit();
}

void TakeOver::write_member(uint32_t group, uint32_t user, const Member& member) {
  const uint64_t since = member.since;
  if (!member.row) {
    if (!member.belongs) return;
    database_.execute(
        "INSERT INTO {IMGroupMember} (groupId, userId, status, created, updated)"
        " VALUES (?, ?, 0, ?, ?)",
        {uint64_t{group}, uint64_t{user}, since, since});
  } else if (member.belongs != member.in || (member.belongs && member.since != member.said)) {
    database_.execute(
        "UPDATE {IMGroupMember} SET status = ?, updated = ? WHERE groupId = ? AND userId = ?",
        {uint64_t{member.belongs ? 0u : 1u}, member.belongs ? since : uint64_t{member.said},
         uint64_t{group}, uint64_t{user}});
  }
}

void TakeOver::tokens() {
  struct Token {
    uint64_t service = 0;
    std::string text;
  };
  std::map<uint32_t, Token> tokens;
  if (redis_) {
    std::vector<uint32_t> ids(users_.begin(), users_.end());
    std::ranges::sort(ids);
    std::map<std::string, std::vector<uint32_t>> owners;
    std::vector<std::string> keys;
    for (size_t first = 0; first < ids.size(); first += kUsersAtOnce) {
      const auto part = part_of(ids, first, kUsersAtOnce);
      keys.clear();
      for (const uint32_t user : part) keys.push_back(fmt::format("device_{}", user));
      const auto found = redis_->texts(Pool::token, keys);
      for (size_t i = 0; i < part.size(); ++i) {
        if (!found[i] || found[i]->empty()) continue;
        constexpr std::string_view kIos = "ios:", kAndroid = "android:";
        const std::string_view text  = *found[i];
        const bool ios               = text.starts_with(kIos);
        const std::string_view token = ios                          ? text.substr(kIos.size())
                                       : text.starts_with(kAndroid) ? text.substr(kAndroid.size())
                                                                    : std::string_view();
        if (token.empty() || token.size() > 512) {
          ++taken_.tokens_skipped;
          continue;
        }
        tokens[part[i]] = {ios ? store::sql::kPushServiceIos : store::sql::kPushServiceAndroid,
                           std::string(token)};
        owners[std::string(token)].push_back(part[i]);
      }
    }
    // One that two have is whose the other key says, else the last one's.
    for (const auto& [token, users] : owners) {
      if (users.size() == 1) continue;
      const std::vector<std::string> key{"device_" + token};
      const auto said      = redis_->numbers(Pool::token, key).front();
      const bool believed  = said && std::ranges::find(users, *said) != users.end();
      const uint64_t owner = believed ? *said : users.back();
      for (const uint32_t user : users) {
        if (user == owner) continue;
        tokens.erase(user);
        ++taken_.tokens_skipped;
      }
    }
  }
  taken_.tokens = tokens.size();
  if (!write_) return;
  Transaction transaction(database_);
  database_.execute("DELETE FROM {RTPushReg} WHERE deviceId = ''");
  for (const auto& [user, token] : tokens) {
    database_.execute(
        "INSERT INTO {RTPushReg} (userId, deviceId, serviceType, packageName, token, appVersion,"
        " updated) VALUES (?, '', ?, '', ?, '', ?)",
        {uint64_t{user}, token.service, std::string_view(token.text), uint64_t{now_}});
  }
  transaction.commit();
  progress_(fmt::format("push tokens: {}, {} skipped", taken_.tokens, taken_.tokens_skipped));
}

}  // namespace ringtalk::ctl
