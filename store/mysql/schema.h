// Schema: the tables of a TeamTalk database and the ones that we keep beside them (RT…), what of them a
// server has, and the statements that add what is missing.
//
// Thread rule  Constants may be read anywhere. inspect() and create_schema() block: at start, and in tools.
// Errors       Trouble of the connection. A schema that is not ready is no error: ready() says what lacks.
// Why          The engine never alters a schema: it refuses to start and names `ringtalkctl migrate`,
//              which takes a dump's worth of decisions that an operator has to see first. A newer version
//              of ours is refused untouched.
//
// What our tables and columns mean:
//
//   IM…Message_n.rtSeq    id in the conversation, 1…N without a gap; msgId is the same. NULL: a row of the
//                         original's, which keeps its msgId; these may repeat, and have gaps.
//   IM…Message_n.rtKey    fingerprints of repeat protection: repeat key, then full key, 8 bytes each.
//   IMMessage_n.rtSmall   messages of the smaller user id among 1…rtSeq: unread stays two look-ups.
//   RTSchema              name, value. 'version': kSchemaVersion, written by migrate when all is in place.
//                         'handed_back': when `ringtalkctl handback` gave the tables back to the original;
//                         the version row went with it, so that nobody numbers on behind its back.
//   RTConversation        type 1: convId = relateId, 2: groupId. Of the original's rows, at the take-over:
//                         newest: the highest sane id (4294967295 is none) of rows and Redis counter, where
//                         numbering goes on; small: ids that a visible message of the smaller user has;
//                         hidden: ids in 1…newest that no visible message has; time: of the newest message.
//                         An id that several rows share counts once, for the row that came last (created,
//                         then id). Conversations without such rows have no row here.
//   RTMerged              a second relation of the same two users: its messages that are newer than the
//                         main relation's newest were appended to that one; the older ones stay where
//                         they are, readable under their old number.
//   RTReadCursor          read positions; type as in RTConversation, convId as IMRecentSession.peerId has
//                         it: the other user, or the group.
//   RTSession             of rows of type 1. hiddenTo: newest id when its owner took the row off his list;
//                         IMRecentSession.status becomes 1 in the same transaction. The next message
//                         revives the row without a write: handback writes it down.
//   RTGroupMember         of a member (IMGroupMember.status 0): first visible id, mute, and hiddenTo as
//                         above; after a take-over where he has read to, if the row was removed.
//   RTUserSync            stamp of 0x0208; seen: what the row of IMUser looked like when it was given
//                         (queries.h), so that an edit of somebody else's shows; epoch: rises with every
//                         password change. userId 0: the newest stamp, locked by who gives the next.
//   RTDepartSync          the same for departments.
//   RTGroupSync           seen: of the row of IMGroup; members: a sum over the members that there were.
//   RTLane                lane, batchNo: tells after a lost answer to COMMIT whether the batch is in.
//   RTPassword            the better hash ('': none yet), and the password and salt that it was made for:
//                         others in IMUser mean that somebody set another password.
//   RTPushReg             deviceId '' for the token of 0x0108; serviceType as PushServiceType.
//   RTAudio               bytes of the sound that IMAudio.id names.
//   RTClientMsg           client_msg_id, kept 24 h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/mysql/connection.h"

namespace ringtalk::store::sql {

inline constexpr uint32_t kSchemaVersion = 1;
inline constexpr uint32_t kMessageTables =
    8;  // of each kind; the number is relateId or groupId mod 8
inline constexpr uint32_t kInsaneMsgId = 4'294'967'295;  // of a counter that Redis refused to raise
inline constexpr uint8_t kPushServiceIos     = 1;        // PushServiceType
inline constexpr uint8_t kPushServiceAndroid = 7;

struct ColumnDef {
  std::string_view name;
  std::string_view type;  // as after the name in CREATE TABLE
};

struct KeyDef {
  std::string_view name;     // empty: the primary key
  std::string_view columns;  // "a, b(64)"
  bool unique = false;
  bool ours   = false;  // TeamTalk does not know it
};

struct TableDef {
  std::string_view name;  // without its number if there are several
  uint32_t copies = 1;
  bool ours       = false;
  std::string_view charset;  // as after CREATE TABLE's columns
  std::vector<ColumnDef> columns;
  std::vector<KeyDef> keys;
};

// In the order in which they are made.
std::span<const TableDef> table_defs();

// "IMMessage_3".
std::string numbered(std::string_view name, uint32_t number);
// The names of the tables of `def`.
std::vector<std::string> names_of(const TableDef& def);

// What the tables are called at a server: some write them in lower case.
class TableNames {
 public:
  void learn(std::string name, std::string real) { real_[std::move(name)] = std::move(real); }
  std::string_view real(std::string_view name) const;
  // "SELECT id FROM {IMUser}" with the real names, in backquotes. For texts of ours only.
  std::string in(std::string_view sql) const;

 private:
  std::map<std::string, std::string, std::less<>> real_;
};

std::string create_statement(const TableDef& def, std::string_view real_name);

// What one table that exists lacks; in one statement, because a table is copied by each.
struct TableGap {
  std::string table;  // our name of it
  const TableDef* def = nullptr;
  std::vector<const ColumnDef*> columns;  // missing
  std::vector<const ColumnDef*> narrow;   // shorter than ours: IMUser.sign_info
  bool narrow_nullable = false;
  std::vector<const KeyDef*> keys;

  bool adds_unique() const;
};
// `with_unique` false: everything but unique keys, which may have to wait for duplicates to be settled.
// Empty if nothing is to be done.
std::string alter_statement(const TableGap& gap, std::string_view real_name, bool with_unique);

struct Inspection {
  TableNames names;
  std::string server;  // version text
  bool mariadb     = false;
  bool bulk        = false;  // array binding
  bool read_only   = false;
  uint32_t flush   = 1;      // innodb_flush_log_at_trx_commit; not 1: the last second may be lost
  bool teamtalk    = false;  // at least IMUser
  bool push_shield = true;   // false: the column lacks, all are 0
  uint32_t signature_chars = 128;
  std::vector<std::string> missing;  // tables
  std::vector<TableGap> gaps;
  std::vector<std::string> foreign;  // sentences: what we cannot add without guessing
  bool own_files = false;  // IMTransmitFile is there in a form of the site's: left alone, not used
  uint64_t version     = 0;  // of RTSchema; 0: not (completely) migrated
  uint64_t handed_back = 0;  // seconds

  bool has(std::string_view table) const;
  const TableGap* gap_of(std::string_view table) const;
};

Answer<Inspection> inspect(Connection& connection);

// Whether the engine can run on it. Empty: yes; else a sentence that says why not and what to do.
std::string ready(const Inspection& inspection);

// Every table in its final form, and the version. Fault::other if one of them is there already.
Answer<void> create_schema(Connection& connection);
// The tables that are missing, in their final form.
Answer<void> create_tables(Connection& connection, const Inspection& inspection);
Answer<void> write_version(Connection& connection);

}  // namespace ringtalk::store::sql
