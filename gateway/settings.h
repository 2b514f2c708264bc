// Settings of ringtalkd: the typed form of conf/ringtalk.toml.
//
// A new key is a field here and a line in settings.cc; then `./dev build` and
// `build/ringtalkd --check-config > conf/ringtalk.toml` renew the manual, which a test compares.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/units.h"
#include "engine/config.h"

namespace ringtalk::gateway {

struct LimitSettings {
  uint32_t max_connections                 = 0;  // 0: what RLIMIT_NOFILE and memory allow
  uint32_t login_deadline_s                = 15;
  uint32_t sends_per_second                = 20;  // 0: no limit
  uint32_t sends_burst                     = 20;
  uint32_t requests_per_second             = 50;  // 0: no limit
  uint32_t requests_burst                  = 200;
  uint32_t push_queue_bytes                = 256 * kKiB;
  uint32_t send_stall_s                    = 15;
  uint32_t idle_pc_s                       = 120;
  uint32_t idle_mobile_s                   = 300;
  uint32_t delivery_ack_wait_s             = 15;
  uint32_t anonymous_per_address           = 256;
  uint32_t connects_per_second_per_address = 200;
  uint32_t send_decision_ms                = 4000;
  uint32_t group_members_max               = 2000;
  bool group_session_revive                = false;
  uint64_t memory_bytes_max                = 0;  // 0: none
};

struct LoginSettings {
  uint32_t wrong_passwords_max        = 10;
  uint32_t wrong_password_window_s    = 1800;
  std::vector<int64_t> allowed_states = {0};
  uint32_t password_threads           = 0;  // 0: half of the cores, at least 1
  uint32_t password_queue             = 64;
  uint32_t token_hours                = 24;
};

struct StoreSettings {
  std::string driver     = "embedded";  // or mysql
  uint64_t segment_bytes = 0;           // 0: 64 MiB / shards, at least 4 MiB
};

struct MySqlSettings {
  std::string host = "127.0.0.1";
  uint16_t port    = 3306;
  std::string socket;  // instead of host and port, if not empty
  std::string database = "teamtalk";
  std::string user     = "ringtalk";
  std::string password;
  std::string password_file;  // its first line, if not empty
  bool tls = false;
  std::string tls_ca, tls_cert, tls_key;
  uint32_t connect_timeout_ms = 2000;
  uint32_t read_timeout_ms    = 4000;
  uint32_t write_timeout_ms   = 4000;
  uint32_t connections        = 4;
  std::string read_host;  // empty: no replica
  uint16_t read_port = 3306;
};

struct RedisPoolSettings {
  std::string host = "127.0.0.1";
  uint16_t port    = 6379;
  uint32_t db      = 0;
  uint32_t size    = 1;
};

struct RedisSettings {
  bool enabled = false;
  std::string password;
  std::string password_file;  // its first line, if not empty
  uint32_t timeout_ms = 1000;
  RedisPoolSettings unread{.db = 1};
  RedisPoolSettings group_set{.db = 2};
  RedisPoolSettings sync{.db = 3};
  RedisPoolSettings token{.db = 4};
  RedisPoolSettings group_member{.db = 5};
};

struct LogSettings {
  std::string level  = "info";
  std::string format = "auto";
};

struct MessageSettings {
  std::string aes_key = "12345678901234567890123456789012";
};

struct Settings {
  engine::Address listen{"127.0.0.1", 8000};
  engine::Address http{"127.0.0.1", 8080};
  std::string data_dir = "var/ringtalk";
  uint32_t shards      = 0;  // 0: one per core
  std::string ports_file;    // empty: none

  LimitSettings limits;
  LoginSettings login;
  MessageSettings messages;
  StoreSettings store;
  MySqlSettings mysql;
  RedisSettings redis;
  LogSettings log;
};

inline constexpr uint32_t kShardsMax = 256;

// Every key with its documentation, bound to the fields of `settings`.
engine::ConfigSchema settings_schema(Settings& settings);

// The text of conf/ringtalk.toml with the values that `settings` holds.
std::string settings_toml(const Settings& settings);

// Relations between settings that no single range can say; errors in the form of ConfigReport.
std::vector<std::string> settings_conflicts(const Settings& settings);

}  // namespace ringtalk::gateway
