#include "tools/ctl/teamtalk/dbproxy_conf.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace ringtalk::ctl {

namespace {

constexpr uint32_t kPortMax = 65'535;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t first                = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// A TOML basic string.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + '"';
}

}  // namespace

DbproxyConf DbproxyConf::read_file(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) throw std::runtime_error("cannot read " + path);
  return parse(text.str());
}

DbproxyConf DbproxyConf::parse(std::string_view text) {
  DbproxyConf conf;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    const size_t equals = line.find('=');
    if (line.starts_with('#') || equals == std::string::npos) continue;
    const std::string_view name     = trimmed(std::string_view(line).substr(0, equals));
    conf.values_[std::string(name)] = trimmed(std::string_view(line).substr(equals + 1));
  }
  if (conf.values_.empty())
    throw std::runtime_error("no NAME=VALUE in it: is it dbproxyserver.conf?");
  return conf;
}

std::string DbproxyConf::text(std::string_view name, std::string_view otherwise) const {
  const auto it = values_.find(name);
  return it == values_.end() ? std::string(otherwise) : it->second;
}

uint32_t DbproxyConf::number(const std::string& name, uint32_t otherwise, uint32_t max) const {
  const auto it = values_.find(name);
  if (it == values_.end()) return otherwise;
  const auto value = decimal(it->second);
  if (!value || *value > max)
    throw std::runtime_error(fmt::format("{}={} is no number up to {}", name, it->second, max));
  return static_cast<uint32_t>(*value);
}

void DbproxyConf::apply(store::sql::Server& server) const {
  server.host     = text("teamtalk_master_host", server.host);
  server.port     = static_cast<uint16_t>(number("teamtalk_master_port", server.port, kPortMax));
  server.database = text("teamtalk_master_dbname", server.database);
  server.user     = text("teamtalk_master_username", server.user);
  server.password = text("teamtalk_master_password", server.password);
}

void DbproxyConf::apply(RedisSettings& redis) const {
  for (size_t i = 0; i < kPools; ++i) {
    const std::string name(name_of(static_cast<Pool>(i)));
    auto& place = redis.pools[i];
    place.host  = text(name + "_host", place.host);
    place.port  = static_cast<uint16_t>(number(name + "_port", place.port, kPortMax));
    place.db    = number(name + "_db", place.db, kPortMax);
  }
}

std::string DbproxyConf::as_toml() const {
  store::sql::Server server;
  apply(server);
  std::string out = fmt::format(
      "[store]\ndriver = \"mysql\"\n\n[mysql]\nhost = {}\nport = {}\ndatabase = {}\nuser = {}\n"
      "# password_file = \"…\"  # a file with the password, readable for the server only\n",
      quoted(server.host), server.port, quoted(server.database), quoted(server.user));
  const std::string read_host = text("teamtalk_slave_host", server.host);
  const uint32_t read_port    = number("teamtalk_slave_port", server.port, kPortMax);
  if (read_host != server.host || read_port != server.port)
    out += fmt::format("read_host = {}\nread_port = {}\n", quoted(read_host), read_port);
  RedisSettings redis;
  apply(redis);
  out += "\n[redis]\nenabled = true\n";
  for (size_t i = 0; i < kPools; ++i) {
    const std::string_view name = name_of(static_cast<Pool>(i));
    const auto& place           = redis.pools[i];
    out += fmt::format("{0}_host = {1}\n{0}_port = {2}\n{0}_db = {3}\n", name, quoted(place.host),
                       place.port, place.db);
  }
  return out;
}

}  // namespace ringtalk::ctl
