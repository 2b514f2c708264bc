#include "tools/ctl/teamtalk/site.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "tools/ctl/teamtalk/dbproxy_conf.h"

namespace ringtalk::ctl {

namespace {

// A statement may copy a table: hours are no reason to give up.
constexpr uint32_t kPatienceMs = 7 * 24 * 3600 * 1000u;
constexpr uint32_t kConnectMs  = 15'000;
constexpr uint32_t kDbMax      = 65'535;

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  if (!in || !std::getline(in, line)) throw std::runtime_error("cannot read a line of " + path);
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

void apply_pool(RedisSettings& redis, const std::string& text) {
  const size_t equals = text.find('='), slash = text.rfind('/');
  for (size_t i = 0; i < kPools && equals != std::string::npos; ++i) {
    if (text.substr(0, equals) != name_of(static_cast<Pool>(i))) continue;
    const bool with_db = slash != std::string::npos && slash > equals;
    const auto db      = with_db ? decimal(text.substr(slash + 1)) : 0;
    if (!db || *db > kDbMax) break;
    auto& place                      = redis.pools[i];
    std::tie(place.host, place.port) = read_host_port(
        text.substr(equals + 1, with_db ? slash - equals - 1 : std::string::npos), "--redis-pool");
    place.db = static_cast<uint32_t>(*db);
    return;
  }
  throw std::runtime_error(
      "--redis-pool wants NAME=HOST:PORT/DB, with NAME one of unread, group_set, "
      "token, sync, group_member, not " +
      text);
}

}  // namespace

void add_site_options(CLI::App& app, SiteOptions& options) {
  app.add_option("--dbproxy-conf", options.conf,
                 "the site's dbproxyserver.conf: where MySQL and Redis are")
      ->type_name("FILE");
  app.add_option("--mysql", options.mysql, "HOST:PORT of the master (default: 127.0.0.1:3306)");
  app.add_option("--mysql-socket", options.socket, "its socket, instead of an address")
      ->type_name("FILE");
  app.add_option("--database", options.database, "its database (default: teamtalk)");
  app.add_option("--user", options.user, "its user");
  app.add_option("--password-file", options.password_file, "his password is the first line")
      ->type_name("FILE");
  app.add_option("--redis", options.redis, "HOST:PORT, for all pools (default: 127.0.0.1:6379)");
  app.add_option("--redis-pool", options.pools,
                 "NAME=HOST:PORT/DB, of one pool: unread, group_set, token, sync, group_member");
  app.add_option("--redis-password-file", options.redis_password_file,
                 "its password is the first line")
      ->type_name("FILE");
}

std::pair<std::string, uint16_t> read_host_port(const std::string& text, const std::string& what) {
  const size_t colon = text.rfind(':');
  const auto port =
      colon == std::string::npos ? std::nullopt : decimal(std::string_view(text).substr(colon + 1));
  if (!port || *port == 0 || *port > UINT16_MAX || colon == 0)
    throw std::runtime_error(fmt::format("{} wants HOST:PORT, not {}", what, text));
  return {text.substr(0, colon), static_cast<uint16_t>(*port)};
}

Site read_site(const SiteOptions& options) {
  Site site;
  site.mysql.user = "root";
  if (!options.conf.empty()) {
    const DbproxyConf conf = DbproxyConf::read_file(options.conf);
    conf.apply(site.mysql);
    conf.apply(site.redis);
  }
  if (!options.mysql.empty())
    std::tie(site.mysql.host, site.mysql.port) = read_host_port(options.mysql, "--mysql");
  if (!options.socket.empty()) site.mysql.socket = options.socket;
  if (!options.database.empty()) site.mysql.database = options.database;
  if (!options.user.empty()) site.mysql.user = options.user;
  if (!options.password_file.empty()) site.mysql.password = first_line(options.password_file);
  site.mysql.connect_timeout_ms = kConnectMs;
  site.mysql.read_timeout_ms    = kPatienceMs;
  site.mysql.write_timeout_ms   = kPatienceMs;
  if (!options.redis.empty()) {
    const auto [host, port] = read_host_port(options.redis, "--redis");
    for (auto& place : site.redis.pools) {
      place.host = host;
      place.port = port;
    }
  }
  for (const std::string& pool : options.pools) apply_pool(site.redis, pool);
  if (!options.redis_password_file.empty())
    site.redis.password = first_line(options.redis_password_file);
  return site;
}

std::unique_ptr<Database> open_database(const Site& site) {
  return std::make_unique<Database>(site.mysql);
}

std::unique_ptr<RedisPools> open_redis(const SiteOptions& options, const Site& site) {
  return options.without_redis ? nullptr : std::make_unique<RedisPools>(site.redis);
}

}  // namespace ringtalk::ctl
