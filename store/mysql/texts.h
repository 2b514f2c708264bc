// What the files of the MySQL driver share about TeamTalk's tables: statement texts of the eight message
// tables, how keys and conversations are written down, how a conversation is read back.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "store/mysql/connection.h"
#include "store/mysql/conversations.h"

namespace ringtalk::store {

// A text per message table: "{}" is the number of the table.
class TableTexts {
 public:
  explicit TableTexts(std::string_view text) {
    constexpr std::string_view kPlace = "{}";
    for (uint32_t i = 0; i < kMessageTables; ++i) {
      texts_[i] = text;
      for (size_t at = 0; (at = texts_[i].find(kPlace, at)) != std::string::npos;)
        texts_[i].replace(at, kPlace.size(), std::to_string(i));
    }
  }
  std::string_view operator[](uint32_t table) const { return texts_[table]; }

 private:
  std::array<std::string, kMessageTables> texts_;
};

// IMRecentSession.type, and that of the RT tables.
inline constexpr uint32_t kSingleKind = 1;
inline constexpr uint32_t kGroupKind  = 2;

constexpr uint32_t kind_of(ConversationId id) { return id.is_group() ? kGroupKind : kSingleKind; }

// A conversation as one of its users names it: his peer or the group. So are RTReadCursor.convId and
// RTClientMsg.convId, as IMRecentSession.peerId: no table of pairs is needed to read them.
constexpr uint32_t target_of(ConversationId id, UserId user) {
  return id.is_group() ? raw(id.group()) : raw(id.peer_of(user));
}
constexpr ConversationId conversation_of(uint64_t kind, UserId user, uint64_t target) {
  return kind == kGroupKind ? ConversationId::group(GroupId(static_cast<uint32_t>(target)))
                            : ConversationId::single(user, UserId(static_cast<uint32_t>(target)));
}

// A sound on the wire: its duration in seconds, then the sound itself. IMAudio has the one, RTAudio the other.
inline constexpr size_t kDurationBytes = 4;

// Two fingerprints in a binary(16) column: IM…Message.rtKey has the repeat key and the full key,
// RTClientMsg.bodyHash the full key and nothing.
inline constexpr size_t kKeyBytes = 16;

struct KeyPair {
  uint64_t first = 0, second = 0;
};

inline std::string key_text(KeyPair keys) {
  std::string text(kKeyBytes, '\0');
  for (size_t i = 0; i < 8; ++i) {
    text[i]     = static_cast<char>(keys.first >> (56 - 8 * i));
    text[8 + i] = static_cast<char>(keys.second >> (56 - 8 * i));
  }
  return text;
}
// Zeros for anything else, NULL too.
inline KeyPair keys_of(std::string_view text) {
  KeyPair keys;
  if (text.size() != kKeyBytes) return keys;
  for (size_t i = 0; i < 8; ++i) {
    keys.first  = keys.first << 8 | static_cast<unsigned char>(text[i]);
    keys.second = keys.second << 8 | static_cast<unsigned char>(text[8 + i]);
  }
  return keys;
}

// From (newest, small, hidden, time) of RTConversation, at `column` of a row.
inline void take_over(Conversation& to, const sql::Rows& rows, size_t row, uint32_t column) {
  to.taken  = static_cast<uint32_t>(rows.number(row, column));
  to.newest = to.taken;
  to.small  = static_cast<uint32_t>(rows.number(row, column + 1));
  to.hidden = static_cast<uint32_t>(rows.number(row, column + 2));
  to.time   = static_cast<uint32_t>(rows.number(row, column + 3));
}

// From (rtSeq, created, rtSmall) of its newest row.
inline void note_newest(Conversation& to, const sql::Rows& rows, size_t row, uint32_t column) {
  const auto newest = static_cast<uint32_t>(rows.number(row, column));
  if (newest <= to.newest) return;
  to.newest = newest;
  to.time   = std::max(to.time, static_cast<uint32_t>(rows.number(row, column + 1)));
  to.small  = static_cast<uint32_t>(rows.number(row, column + 2));
}

}  // namespace ringtalk::store
