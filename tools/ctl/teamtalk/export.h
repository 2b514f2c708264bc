// Export: an embedded store, as TeamTalk's schema with our tables beside it: what ringtalkd with the MySQL
// driver starts on, and what `ringtalkctl handback` makes ready for the original.
//
// Source   the SQLite file and the log of a data directory on which no server runs.
// Restart  none: the version is written last, so what was begun is not started on. The database has to be
//          empty at the beginning; drop it and begin again.
// Memory   20 bytes for each conversation and each read position.
// Errors   thrown, as by Database; std::runtime_error for what the data directory lacks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "store/embedded/format.h"
#include "store/embedded/sqlite.h"
#include "tools/ctl/teamtalk/database.h"

namespace ringtalk::ctl {

struct Exported {
  uint64_t users = 0, departments = 0, groups = 0, members = 0, sessions = 0, tokens = 0;
  uint64_t relations = 0, messages = 0, sounds = 0, positions = 0;
  uint64_t shortened = 0;                     // values that are longer than TeamTalk's columns
  std::vector<std::string> without_password;  // active users that the original cannot let in
};

class Export {
 public:
  Export(std::string directory, Database& database, std::function<void(std::string_view)> progress);
  ~Export();

  Exported run();

 private:
  class MessageRows;

  void open_sqlite();
  void users();
  void departments();
  void groups();
  void sessions();
  void messages();
  void take_message(const store::RecordView& record);
  void positions();
  uint64_t add_sound(const store::RecordView& record, uint64_t receiver);
  uint32_t relation_of(ConversationId conversation, uint64_t created);
  std::string fitted(std::string text, size_t chars);
  // Rows of the SQLite file, one after another.
  void each(std::string_view sql, const std::function<void(const store::Query&)>& take);

  const std::string directory_;
  Database& database_;
  const std::function<void(std::string_view)> progress_;
  store::Sqlite sqlite_;
  Exported done_;
  std::unordered_map<uint64_t, uint32_t> relations_;  // by conversation
  struct Position {
    uint32_t msg_id = 0, time = 0;
  };
  std::unordered_map<uint64_t, std::unordered_map<uint32_t, Position>> read_;  // conversation, user
  std::vector<std::pair<uint64_t, uint32_t>> hidden_;                          // by control records
  std::vector<MessageRows> rows_;  // of singles, then of groups, by table
};

}  // namespace ringtalk::ctl
