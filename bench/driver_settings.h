// Settings: what the chat driver is asked to do, and its users.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "bench/flags.h"
#include "bench/payload.h"

namespace ringtalk::bench {

inline constexpr uint32_t kWindowMax       = 4096;
inline constexpr uint32_t kSlotsMin        = 256;   // per connection, power of two
inline constexpr uint32_t kPayloadBytesMax = 4096;  // the server's limit for text

struct Settings {
  std::string host;
  uint16_t port        = 0;
  uint32_t connections = 1000;
  uint32_t window      = 1;
  uint32_t payload     = 100;
  double seconds       = 10;
  double warmup        = 2;
  double rate          = 0;   // messages/s over all connections; 0 is closed loop
  uint32_t burst       = 1;   // messages that share one intended time and connection
  double drain         = 15;  // seconds to wait for the last answers
  pid_t server         = 0;
  bool raw             = false;
  bool idle            = false;
  bool json            = false;
};

struct User {
  uint32_t id = 0;
  std::string name, token;
};

inline std::vector<User> read_users(const Flags& flags, uint32_t wanted) {
  std::string path = flags.text("--tokens");
  std::ifstream in(path);
  std::vector<User> users;
  for (std::string line; users.size() < wanted && std::getline(in, line);) {
    std::istringstream fields(line);
    User user;
    if (!(fields >> user.id >> user.name >> user.token))
      flags.usage(path + ": not `id name token`");
    users.push_back(std::move(user));
  }
  if (users.size() < wanted) flags.usage(path + ": fewer users than --connections");
  return users;
}

inline Settings read_settings(const Flags& flags) {
  Settings s;
  if (!split_host_port(flags.text("--connect"), s.host, s.port)) {
    flags.usage("--connect: not HOST:PORT");
  }
  s.connections = flags.number("--connections", s.connections);
  s.window      = flags.number("--window", s.window);
  s.payload     = flags.number("--payload", s.payload);
  s.seconds     = flags.number("--seconds", s.seconds);
  s.warmup      = flags.number("--warmup", s.warmup);
  s.rate        = flags.number("--rate", s.rate);
  s.drain       = flags.number("--drain", s.drain);
  s.burst       = flags.number("--burst", s.burst);
  s.server      = flags.number("--server-pid", s.server);
  s.raw         = flags.has("--raw");
  s.idle        = flags.has("--idle");
  s.json        = flags.has("--json");
  if (s.connections == 0 || s.connections % 2 != 0 || s.connections > 1'000'000) {
    flags.usage("--connections: an even number");
  }
  if (s.window == 0 || s.window > kWindowMax) flags.usage("--window: 1 to 4096");
  if (s.payload < kPayloadBytesMin || s.payload > kPayloadBytesMax) {
    flags.usage("--payload: 32 to 4096");
  }
  if (s.seconds <= 0 || s.warmup < 0 || s.rate < 0 || s.drain < 0)
    flags.usage("times and rate: not negative");
  if (s.burst == 0 || s.burst > kSlotsMin) flags.usage("--burst: 1 to 256");
  if (s.server <= 0) flags.usage("--server-pid is missing");
  return s;
}

}  // namespace ringtalk::bench
