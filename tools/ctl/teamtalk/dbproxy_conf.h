// DbproxyConf: dbproxyserver.conf, the file in which a TeamTalk site says where its MySQL and Redis are.
//
//   teamtalk_master_host=127.0.0.1        unread_host=127.0.0.1
//   teamtalk_master_port=3306             unread_port=6379
//   teamtalk_master_dbname=teamtalk       unread_db=1          … group_set, token, sync, group_member
//   teamtalk_master_username=…  _password=…  _maxconncnt=16
//
// Source  the original's CConfigFileReader: NAME=VALUE, blanks around both are dropped, '#' begins a
//         comment at the beginning of a line; of a name that comes twice the last one counts.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "store/mysql/connection.h"
#include "tools/ctl/teamtalk/redis_pools.h"

namespace ringtalk::ctl {

class DbproxyConf {
 public:
  // Throws std::runtime_error: cannot be read, or a value that is none.
  static DbproxyConf read_file(const std::string& path);
  static DbproxyConf parse(std::string_view text);

  // What the file says, over what is there.
  void apply(store::sql::Server& server) const;
  void apply(RedisSettings& redis) const;
  // The same as sections of ringtalk's configuration file; without the password.
  std::string as_toml() const;

 private:
  std::string text(std::string_view name, std::string_view otherwise) const;
  uint32_t number(const std::string& name, uint32_t otherwise, uint32_t max) const;

  std::map<std::string, std::string, std::less<>> values_;
};

}  // namespace ringtalk::ctl
