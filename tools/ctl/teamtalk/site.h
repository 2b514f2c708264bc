// Site: where a TeamTalk deployment's MySQL and Redis are, by options, dbproxyserver.conf or both.
//
// Order   options over --dbproxy-conf over defaults.
// Errors  thrown: a file that cannot be read, a server that cannot be reached.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tools/ctl/teamtalk/database.h"
#include "tools/ctl/teamtalk/redis_pools.h"

namespace CLI {
class App;
}

namespace ringtalk::ctl {

struct SiteOptions {
  std::string conf;  // --dbproxy-conf
  std::string mysql, socket, database, user, password_file;
  std::string redis, redis_password_file;
  std::vector<std::string> pools;  // NAME=HOST:PORT/DB
  bool without_redis = false;
};

void add_site_options(CLI::App& app, SiteOptions& options);

struct Site {
  store::sql::Server mysql;
  RedisSettings redis;
};
Site read_site(const SiteOptions& options);

// "HOST:PORT". Throws std::runtime_error with `what` for anything else.
std::pair<std::string, uint16_t> read_host_port(const std::string& text, const std::string& what);

std::unique_ptr<Database> open_database(const Site& site);
// nullptr with --without-redis.
std::unique_ptr<RedisPools> open_redis(const SiteOptions& options, const Site& site);

}  // namespace ringtalk::ctl
