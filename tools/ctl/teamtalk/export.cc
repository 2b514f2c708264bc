#include "tools/ctl/teamtalk/export.h"

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <stdexcept>

#include "engine/disk.h"
#include "store/embedded/relational.h"
#include "store/embedded/verify.h"
#include "tools/ctl/server_lock.h"

namespace ringtalk::ctl {

using store::sql::kMessageTables;

namespace {

constexpr size_t kDurationBytes = 4;  // of a sound on the wire, before the sound itself
constexpr uint8_t kSingleSound  = 2;
constexpr uint8_t kGroupSound   = 18;

// "in 1…N": what SQLite answered with a Result.
template <class T>
T must(Result<T> result, std::string_view what) {
  if (!result)
    throw std::runtime_error(fmt::format("{}: error {} ({})", what,
                                         static_cast<int>(result.error().code), result.error().os));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

// Messages on their way into one table.
class Export::MessageRows {
 public:
  MessageRows(Database& database, bool single, uint32_t table)
      : database_(database),
        sql_(database.inspection().names.in(
            single
                ? fmt::format("INSERT INTO {{IMMessage_{}}} (relateId, fromId, toId, msgId, rtSeq,"
                              " rtSmall, type, status, updated, created, content)"
                              " VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)",
                              table)
                : fmt::format("INSERT INTO {{IMGroupMessage_{}}} (groupId, userId, msgId, rtSeq,"
                              " type, status, updated, created, content)"
                              " VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?)",
                              table))),
        numbers_(single ? 9 : 7) {}

  void add(std::initializer_list<uint64_t> numbers, std::string_view content) {
    size_t column = 0;
    for (const uint64_t number : numbers) numbers_[column++].push_back(number);
    texts_.emplace_back(content);
    bytes_ += content.size();
    if (texts_.size() == kRows || bytes_ > kBytes) flush();
  }

  void flush() {
    if (texts_.empty()) return;
    std::vector<store::sql::Column> columns;
    for (const auto& numbers : numbers_) columns.push_back({.numbers = numbers});
    const std::vector<std::string_view> texts(texts_.begin(), texts_.end());
    columns.push_back({.texts = texts});
    Transaction transaction(database_);
    const auto done = database_.connection().execute_many(sql_, columns, texts.size());
    if (!done) throw std::runtime_error("MySQL: " + done.error().text);
    transaction.commit();
    for (auto& numbers : numbers_) numbers.clear();
    texts_.clear();
    bytes_ = 0;
  }

 private:
  static constexpr size_t kRows  = 2000;
  static constexpr size_t kBytes = 4'000'000;  // MySQL refuses packets of 16 MiB, some of 4

  Database& database_;
  std::string sql_;
  std::vector<std::vector<uint64_t>> numbers_;
  std::vector<std::string> texts_;
  size_t bytes_ = 0;
};

Export::Export(std::string directory, Database& database,
               std::function<void(std::string_view)> progress)
    : directory_(std::move(directory)), database_(database), progress_(std::move(progress)) {}

Export::~Export() = default;

Exported Export::run() {
  const auto kept = keep_servers_away(directory_);
  if (!kept && kept.error().code == Errc::exists)
    throw std::runtime_error("a server is running on " + directory_);
  must(kept, directory_);
  open_sqlite();
  size_t tables = 0;
  for (const auto& def : store::sql::table_defs()) tables += def.copies;
  if (database_.inspection().missing.size() != tables)
    throw std::runtime_error("the database has tables of TeamTalk already: an empty one is wanted");
  auto made = store::sql::create_tables(database_.connection(), database_.inspection());
  if (!made) throw std::runtime_error("MySQL: " + made.error().text);
  database_.inspect();
  departments();
  users();
  groups();
  sessions();
  messages();
  positions();
  auto written = store::sql::write_version(database_.connection());
  if (!written) throw std::runtime_error("MySQL: " + written.error().text);
  progress_("version written: ringtalkd may start on it");
  return done_;
}

void Export::open_sqlite() {
  const std::string path = directory_ + "/ringtalk.db";
  if (!std::filesystem::is_regular_file(path))
    throw std::runtime_error(path + ": there is no store");
  must(sqlite_.open({.path = path}), path);
  const int64_t version = must(sqlite_.number("PRAGMA user_version"), path);
  if (version != store::Relational::kSchemaVersion) {
    throw std::runtime_error(
        fmt::format("{} is of version {}, not {}: start and stop ringtalkd of this version once",
                    path, version, store::Relational::kSchemaVersion));
  }
}

void Export::each(std::string_view sql, const std::function<void(const store::Query&)>& take) {
  store::Statement statement;
  must(statement.prepare(sqlite_, sql), sql);
  store::Query query(statement);
  while (must(query.step(), sql)) take(query);
}

// Columns count characters.
std::string Export::fitted(std::string text, size_t chars) {
  size_t count = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xc0) != 0x80;
    if (!begins || ++count <= chars) continue;
    ++done_.shortened;
    text.resize(i);
  }
  return text;
}

void Export::departments() {
  Transaction transaction(database_);
  each("SELECT id, name, parent, priority, status, created, updated FROM department ORDER BY id",
       [&](const store::Query& row) {
         ++done_.departments;
         const auto name = fitted(row.text(1), 64);
         database_.execute(
             "INSERT INTO {IMDepart} (id, departName, parentId, priority, status, created,"
             " updated) VALUES (?, ?, ?, ?, ?, ?, ?)",
             {row.integer(0), std::string_view(name), row.integer(2), row.integer(3),
              row.integer(4), row.integer(5), row.integer(6)});
       });
  transaction.commit();
}

void Export::users() {
  Transaction transaction(database_);
  each(
      "SELECT id, name, nick, domain, phone, email, avatar, sign_info, department, sex, status, "
      "created,"
      " updated, stamp, password, legacy_password, legacy_salt, epoch, push_shield FROM user ORDER "
      "BY id",
      [&](const store::Query& row) {
        ++done_.users;
        constexpr std::array<size_t, 7> kChars{32, 32, 32, 11, 64, 255, 128};
        std::array<std::string, 7> texts;
        for (size_t i = 0; i < texts.size(); ++i)
          texts[i] = fitted(row.text(static_cast<int>(i) + 1), kChars[i]);
        const std::string hash = row.text(14), legacy = row.text(15), salt = row.text(16);
        const auto view = [](const std::string& text) { return std::string_view(text); };
        database_.execute(
            "INSERT INTO {IMUser} (id, name, nick, domain, phone, email, avatar, sign_info, "
            "departId, sex,"
            " status, created, updated, password, salt, push_shield_status)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            {row.integer(0), view(texts[0]), view(texts[1]), view(texts[2]), view(texts[3]),
             view(texts[4]), view(texts[5]), view(texts[6]), row.integer(8), row.integer(9),
             row.integer(10), row.integer(11), row.integer(12), view(legacy), view(salt),
             row.integer(18)});
        // `seen` is of no row: the server stamps it once it looks, so clients hear of everybody again.
        database_.execute(
            "INSERT INTO {RTUserSync} (userId, stamp, seen, epoch) VALUES (?, ?, 0, ?)",
            {row.integer(0), row.integer(13), row.integer(17)});
        if (!hash.empty())
          database_.execute(
              "INSERT INTO {RTPassword} (userId, hash, password, salt) VALUES (?, ?, ?, ?)",
              {row.integer(0), view(hash), view(legacy), view(salt)});
        if (row.integer(10) == 0 && legacy.empty()) done_.without_password.push_back(texts[0]);
      });
  each("SELECT user_id, vendor, token, updated FROM push_token ORDER BY user_id",
       [&](const store::Query& row) {
         ++done_.tokens;
         const std::string token = row.text(2);
         const uint64_t service =
             row.text(1) == "ios" ? store::sql::kPushServiceIos : store::sql::kPushServiceAndroid;
         database_.execute(
             "INSERT INTO {RTPushReg} (userId, deviceId, serviceType, token, updated)"
             " VALUES (?, '', ?, ?, ?)",
             {row.integer(0), service, std::string_view(token), row.integer(3)});
       });
  transaction.commit();
  progress_(fmt::format("{} users in {} departments, {} push tokens", done_.users,
                        done_.departments, done_.tokens));
}

void Export::groups() {
  Transaction transaction(database_);
  each(
      "SELECT id, name, avatar, creator, type, status, version, members, created, updated"
      " FROM chat_group ORDER BY id",
      [&](const store::Query& row) {
        ++done_.groups;
        const auto name = fitted(row.text(1), 256), avatar = fitted(row.text(2), 256);
        database_.execute(
            "INSERT INTO {IMGroup} (id, name, avatar, creator, type, status, version,"
            " userCnt, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            {row.integer(0), std::string_view(name), std::string_view(avatar), row.integer(3),
             row.integer(4), row.integer(5), row.integer(6), row.integer(7), row.integer(8),
             row.integer(9)});
      });
  transaction.commit();
  NumberRows members(database_,
                     "INSERT INTO {IMGroupMember} (groupId, userId, status, created, updated)"
                     " VALUES (?, ?, 0, ?, ?)",
                     4);
  NumberRows sides(database_,
                   "INSERT INTO {RTGroupMember} (groupId, userId, firstMsgId, shield, hiddenTo)"
                   " VALUES (?, ?, ?, ?, ?)",
                   5);
  each(
      "SELECT group_id, user_id, first, muted, hidden_to, joined FROM member ORDER BY group_id, "
      "user_id",
      [&](const store::Query& row) {
        const auto at = [&](int column) { return static_cast<uint64_t>(row.integer(column)); };
        members.add({at(0), at(1), at(5), at(5)});
        sides.add({at(0), at(1), at(2), at(3), at(4)});
      });
  members.flush();
  sides.flush();
  done_.members = members.count();
  progress_(fmt::format("{} groups with {} members", done_.groups, done_.members));
}

uint32_t Export::relation_of(ConversationId conversation, uint64_t created) {
  const auto [it, made] = relations_.try_emplace(conversation.key, 0);
  if (made) {
    it->second = static_cast<uint32_t>(
        database_
            .execute("INSERT INTO {IMRelationShip} (smallId, bigId, status, created, updated)"
                     " VALUES (?, ?, 0, ?, ?)",
                     {uint64_t{raw(conversation.small())}, uint64_t{raw(conversation.big())},
                      created, created})
            .insert_id);
    ++done_.relations;
  }
  return it->second;
}

void Export::sessions() {
  NumberRows rows(database_,
                  "INSERT INTO {IMRecentSession} (userId, peerId, type, status, created, updated)"
                  " VALUES (?, ?, 1, ?, ?, ?)",
                  5);
  NumberRows hidden(database_,
                    "INSERT INTO {RTSession} (userId, peerId, `type`, hiddenTo)"
                    " VALUES (?, ?, 1, ?)",
                    3);
  each(
      "SELECT user_id, peer_id, status, created, updated, hidden_to FROM session WHERE type = 1"
      " ORDER BY user_id, peer_id",
      [&](const store::Query& row) {
        const auto at = [&](int column) { return static_cast<uint64_t>(row.integer(column)); };
        rows.add({at(0), at(1), at(2), at(3), at(4)});
        if (at(5) > 0) hidden.add({at(0), at(1), at(5)});
      });
  rows.flush();
  hidden.flush();
  done_.sessions = rows.count();
  Transaction transaction(database_);
  each(
      "SELECT DISTINCT min(user_id, peer_id), max(user_id, peer_id), created FROM session"
      " WHERE type = 1 AND user_id <> peer_id",
      [&](const store::Query& row) {
        relation_of(ConversationId::single(UserId(static_cast<uint32_t>(row.integer(0))),
                                           UserId(static_cast<uint32_t>(row.integer(1)))),
                    static_cast<uint64_t>(row.integer(2)));
      });
  transaction.commit();
  progress_(fmt::format("conversation lists: {} rows", done_.sessions));
}

void Export::messages() {
  for (const bool single : {true, false})
    for (uint32_t table = 0; table < kMessageTables; ++table)
      rows_.emplace_back(database_, single, table);
  auto disk         = must(engine::open_disk(directory_), directory_);
  const auto dumped = store::dump_log(*disk, std::nullopt, [&](const store::DumpEntry& entry) {
    if (entry.kind == "damaged")
      throw std::runtime_error(
          fmt::format("segment {} is damaged at {}: see `ringtalkctl store verify`", entry.segment,
                      entry.offset));
    if (entry.record == nullptr) return;
    const store::RecordHeader& header = entry.record->header;
    if (header.kind == store::RecordKind::message) {
      take_message(*entry.record);
    } else if (header.kind == store::RecordKind::cursor) {
      Position& position = read_[header.conversation][header.author];
      position.msg_id    = std::max(position.msg_id, header.msg_id);
      position.time      = std::max(position.time, header.time);
    } else if (header.kind == store::RecordKind::control && (header.flags & store::kHides) != 0) {
      hidden_.emplace_back(header.conversation, header.msg_id);
    }
  });
  if (!dumped && dumped.error().code != Errc::not_found) must(dumped, "the message log");
  for (MessageRows& rows : rows_) rows.flush();
  for (const auto& [key, msg_id] : hidden_) {
    const ConversationId conversation{key};
    const bool group  = conversation.is_group();
    const uint64_t id = group ? raw(conversation.group()) : relations_[key];
    database_.execute(fmt::format("UPDATE {{{}{}}} SET status = 2 WHERE {} = ? AND rtSeq = ?",
                                  group ? "IMGroupMessage_" : "IMMessage_", id % kMessageTables,
                                  group ? "groupId" : "relateId"),
                      {id, uint64_t{msg_id}});
  }
  progress_(fmt::format("{} messages, {} of them sounds, in {} conversations of two and in groups",
                        done_.messages, done_.sounds, done_.relations));
}

void Export::take_message(const store::RecordView& record) {
  const store::RecordHeader& header = record.header;
  const ConversationId conversation{header.conversation};
  const bool group         = conversation.is_group();
  const UserId author      = UserId(header.author);
  const uint64_t receiver  = group ? raw(conversation.group()) : raw(conversation.peer_of(author));
  const bool sound         = header.type == (group ? kGroupSound : kSingleSound);
  const std::string number = sound && record.body.size() >= kDurationBytes
                                 ? std::to_string(add_sound(record, receiver))
                                 : "";
  const std::string_view content = sound ? std::string_view(number) : text_of(record.body);
  if (group) {
    const uint32_t id = raw(conversation.group());
    rows_[kMessageTables + id % kMessageTables].add(
        {id, header.author, header.msg_id, header.msg_id, header.type, header.time, header.time},
        content);
    // Who writes has read up to there.
    Position& position = read_[header.conversation][header.author];
    position.msg_id    = std::max(position.msg_id, header.msg_id);
    position.time      = std::max(position.time, header.time);
  } else {
    const uint32_t id = relation_of(conversation, header.time);
    rows_[id % kMessageTables].add({id, header.author, receiver, header.msg_id, header.msg_id,
                                    header.small_count, header.type, header.time, header.time},
                                   content);
  }
  ++done_.messages;
}

// The bytes go into RTAudio; without a path the original leaves them out.
uint64_t Export::add_sound(const store::RecordView& record, uint64_t receiver) {
  uint64_t duration = 0;
  for (size_t i = 0; i < kDurationBytes; ++i)
    duration = duration << 8 | std::to_integer<uint64_t>(record.body[i]);
  const Bytes sound = record.body.subspan(kDurationBytes);
  Transaction transaction(database_);
  const uint64_t id = database_
                          .execute(
                              "INSERT INTO {IMAudio} (fromId, toId, path, size, duration, created)"
                              " VALUES (?, ?, '', ?, ?, ?)",
                              {uint64_t{record.header.author}, receiver, uint64_t{sound.size()},
                               duration, uint64_t{record.header.time}})
                          .insert_id;
  database_.execute("INSERT INTO {RTAudio} (audioId, data) VALUES (?, ?)", {id, sound});
  transaction.commit();
  ++done_.sounds;
  return id;
}

void Export::positions() {
  NumberRows rows(database_,
                  "INSERT INTO {RTReadCursor} (userId, `type`, convId, msgId, updated)"
                  " VALUES (?, ?, ?, ?, ?)",
                  5);
  for (const auto& [key, readers] : read_) {
    const ConversationId conversation{key};
    for (const auto& [user, position] : readers) {
      const bool group = conversation.is_group();
      const uint32_t target =
          group ? raw(conversation.group()) : raw(conversation.peer_of(UserId(user)));
      rows.add({user, group ? 2u : 1u, target, position.msg_id, position.time});
    }
  }
  rows.flush();
  done_.positions = rows.count();
  progress_(fmt::format("{} read positions", done_.positions));
}

}  // namespace ringtalk::ctl
