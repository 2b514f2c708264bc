#include "gateway/settings.h"

namespace ringtalk::gateway {
namespace {

constexpr int64_t kDayS = 86'400;

constexpr std::string_view kHead =
    "Configuration of ringtalkd, and its manual. Each key stands here once, with its default.\n"
    "A command line flag goes before the environment variable named below each key, that before "
    "this\n"
    "file, that before the default. Unknown keys, wrong types and values out of range are errors.\n"
    "`ringtalkd --check-config` prints the configuration in force in this form.\n"
    "SIGHUP and POST /api/v1/reload read it again: keys marked Reloadable take effect at once,\n"
    "others are named and need a restart. One error anywhere, and nothing changes.";

void add_doors(engine::ConfigSchema& schema, Settings& settings) {
  schema.address(
      "listen", settings.listen,
      "Where clients connect: HOST:PORT, TeamTalk frames over TCP. Port 0 picks a free one.\n"
      "Loopback until an address is named: 0.0.0.0 opens the server to every network.\n"
      "Flag --listen.");
  schema.address(
      "http", settings.http,
      "Where HTTP is served: health and the administration API, which needs the text of\n"
      "<data_dir>/admin.token. Passwords cross it in clear: leave it on loopback or put TLS in\n"
      "front. Port 0 picks a free one. Flag --http.");
  schema.text(
      "data_dir", settings.data_dir, {1, 4000},
      "Directory of everything that must survive: messages, users, keys. Made at first start,\n"
      "mode 0700. One process at a time. Needs a file system with working fsync. Flag --data-dir.");
  schema.number(
      "shards", settings.shards, {0, kShardsMax},
      "Threads that serve clients, each with its own ring and its own log. 0: one per core. More\n"
      "than cores is allowed (then they are not pinned) and raises the number of connections,\n"
      "because RLIMIT_NOFILE bounds each ring. Costs about 10 MiB each, and a lane per pair.\n"
      "May be changed between starts. Flag --shards.");
  schema.text("ports_file", settings.ports_file, {0, 4000},
              "File that gets {\"tcp\":…,\"http\":…,\"pid\":…} once the server is ready; waiting "
              "for it is\n"
              "waiting for readiness. Empty: none. Flag --ports-file.");
}

void add_limits(engine::ConfigSchema& schema, LimitSettings& limits) {
  schema.section(
      "limits",
      "What one client, one address and the whole process may use. What exceeds a rate waits in\n"
      "the client's socket: nothing is lost. What exceeds a bound closes the connection.");
  schema.number(
      "max_connections", limits.max_connections, {0, 10'000'000},
      "Connections in all. 0: what RLIMIT_NOFILE allows (printed at start). Each slot costs about\n"
      "1 KiB whether used or not; further clients are refused at once.");
  schema.number(
      "login_deadline_s", limits.login_deadline_s, {1, kDayS},
      "Seconds from connecting to a successful login, whatever is sent meanwhile; 10 at most\n"
      "while fewer than a tenth of the slots are free.");
  schema.number(
      "sends_per_second", limits.sends_per_second, {0, 1'000'000},
      "Messages per second of one user over all devices; beyond it reading pauses. 0: no limit.");
  schema.number("sends_burst", limits.sends_burst, {1, 1'000'000},
                "Messages that a user may send at once before the rate above counts.");
  schema.number("requests_per_second", limits.requests_per_second, {0, 1'000'000},
                "Other requests per second of one connection; long lists cost more. 0: no limit.");
  schema.number(
      "requests_burst", limits.requests_burst, {1, 1'000'000},
      "Other requests at once before the rate above counts. A login asks for many things.");
  schema.bytes("push_queue_bytes", limits.push_queue_bytes, {16 * kKiB, 64 * kMiB},
               "Pushes that may wait for one slow reader; beyond it he is closed if he takes "
               "nothing for 10 ms\n"
               "(and at 4 times as much in any case), and fetches them after he comes back. "
               "Memory: up to 4\n"
               "times this for each reader that hardly reads; payloads above 4 KiB are shared by "
               "receivers.");
  schema.number("send_stall_s", limits.send_stall_s, {1, 3600},
                "Seconds without any progress of waiting data after which a reader is closed.");
  schema.number(
      "idle_pc_s", limits.idle_pc_s, {5, kDayS},
      "Seconds of silence after which a PC client is closed. Stock clients send a heartbeat every\n"
      "5 to 45 s; shorter finds dead ones sooner, longer saves nothing.");
  schema.number("idle_mobile_s", limits.idle_mobile_s, {5, kDayS},
                "The same for mobile clients: Android sends a heartbeat every 240 s.");
  schema.number(
      "delivery_ack_wait_s", limits.delivery_ack_wait_s, {1, 3600},
      "Seconds a receiver has to acknowledge a message before it counts as missed. Statistics\n"
      "only: the message is stored and stays unread.");
  schema.number(
      "anonymous_per_address", limits.anonymous_per_address, {1, 10'000'000},
      "Connections of one source address that are not logged in. Raise it when many clients\n"
      "share one address (NAT, proxy).");
  schema.number(
      "connects_per_second_per_address", limits.connects_per_second_per_address, {1, 1'000'000},
      "New connections per second of one source address; further ones are closed at once.");
  schema.number(
      "send_decision_ms", limits.send_decision_ms, {100, 60'000},
      "Milliseconds after which a message that could not be made durable is refused for good: it\n"
      "is never stored later. Keep it below the time after which clients send again.");
  schema.number("group_members_max", limits.group_members_max, {2, 1'000'000},
                "Members that users may bring together in one group. The administration's groups "
                "may have\n1,000,000.");
  schema.boolean("group_session_revive", limits.group_session_revive,
                 "true: a group that a member took off his conversation list comes back when "
                 "anybody writes\nin it. false: when he himself does.");
  schema.bytes("memory_bytes_max", limits.memory_bytes_max, {0, int64_t{1} << 50},
               "Refuse to start if the memory sum printed at start is larger. 0: no such check.");
}

void add_login(engine::ConfigSchema& schema, LoginSettings& login) {
  schema.section("login", "Who gets in, and what a wrong password costs.");
  schema.number(
      "wrong_passwords_max", login.wrong_passwords_max, {1, 62},
      "Wrong passwords per user name and source address in the window below; more are refused\n"
      "unchecked, from that address only. A session token is never refused for this.");
  schema.number("wrong_password_window_s", login.wrong_password_window_s, {1, 7 * kDayS},
                "The window, in seconds.");
  schema.numbers(
      "allowed_states", login.allowed_states, {0, 255},
      "Values of a user's status that may log in (TeamTalk: 0 active, 1 probation, 2 confirmed,\n"
      "3 left, 4 intern). At least one.");
  schema.number(
      "password_threads", login.password_threads, {0, 256},
      "Threads that check passwords (argon2id: 19 MiB and about 20 ms of one core each time). 0:\n"
      "half of the cores, at least 1. Users seen since the start and session tokens need none.");
  schema.number("password_queue", login.password_queue, {1, 100'000},
                "Logins that may wait for those threads; further ones hear «server full». A login "
                "waits up to\n"
                "queue / threads × 20 ms: keep that below login_deadline_s.");
  schema.number(
      "token_hours", login.token_hours, {1, 720},
      "Hours a session token lives. It replaces the password at reconnect and ends early when the\n"
      "password changes or the user is disabled.");
}

void add_mysql(engine::ConfigSchema& schema, MySqlSettings& mysql) {
  schema.section("mysql",
                 "The database when store.driver is mysql: MySQL, MariaDB or what speaks their "
                 "protocol, with\n"
                 "TeamTalk's tables as `ringtalkctl migrate` prepares them.");
  schema.text("host", mysql.host, {1, 255}, "Of the server that takes writes (the master).");
  schema.number("port", mysql.port, {1, 65'535}, "Port of that server.");
  schema.text("socket", mysql.socket, {0, 107},
              "Path of its socket, instead of host and port. Empty: none.");
  schema.text("database", mysql.database, {1, 64}, "Name of the schema.");
  schema.text("user", mysql.user, {1, 80}, "Who logs in there.");
  schema.text("password", mysql.password, {0, 255},
              "His password. `--check-config` prints it; a file is not printed.");
  schema.text("password_file", mysql.password_file, {0, 4000},
              "File whose first line is the password. Goes before the key above. Empty: none.");
  schema.boolean("tls", mysql.tls, "true: no connection without TLS.");
  schema.text(
      "tls_ca", mysql.tls_ca, {0, 4000},
      "PEM file of the authority that signed the server's certificate: with one TLS is used,\n"
      "and the server's name is checked. Empty: none.");
  schema.text("tls_cert", mysql.tls_cert, {0, 4000},
              "PEM file of our own certificate. Empty: none.");
  schema.text("tls_key", mysql.tls_key, {0, 4000}, "PEM file of its key. Empty: none.");
  schema.number("connect_timeout_ms", mysql.connect_timeout_ms, {100, 60'000},
                "Milliseconds for making a connection; whole seconds count, rounded up.");
  schema.number(
      "read_timeout_ms", mysql.read_timeout_ms, {1000, 600'000},
      "Milliseconds to wait for an answer, likewise. A message is refused at\n"
      "limits.send_decision_ms whatever this is, unless its COMMIT is what was not answered.");
  schema.number("write_timeout_ms", mysql.write_timeout_ms, {1000, 600'000},
                "Milliseconds for sending a statement, likewise.");
  schema.number(
      "connections", mysql.connections, {1, 256},
      "Connections for reading history, and as many for users and groups. Each shard has one\n"
      "more, for writing its messages.");
  schema.text("read_host", mysql.read_host, {0, 255},
              "A replica, for reading history: what it has not got yet is read from the master.\n"
              "Empty: none.");
  schema.number("read_port", mysql.read_port, {1, 65'535}, "Port of that server.");
}

void add_redis_pool(engine::ConfigSchema& schema, const std::string& name, RedisPoolSettings& pool,
                    const char* holds) {
  schema.text(name + "_host", pool.host, {1, 255}, std::string("Where ") + holds);
  schema.number(name + "_port", pool.port, {1, 65'535}, "Port of that server.");
  schema.number(name + "_db", pool.db, {0, 1'000'000}, "Its database number.");
  schema.number(name + "_size", pool.size, {1, 64}, "Connections to it.");
}

void add_redis(engine::ConfigSchema& schema, RedisSettings& redis) {
  schema.section(
      "redis",
      "The counters and caches that TeamTalk's own servers and pages expect in Redis, in the five\n"
      "pools of its configuration. Written when store.driver is mysql, and never believed: it may\n"
      "be away or empty at any time.");
  schema.boolean("enabled", redis.enabled, "true: they are kept up to date.");
  schema.text("password", redis.password, {0, 255},
              "Of the Redis servers. `--check-config` prints it; a file is not printed.");
  schema.text("password_file", redis.password_file, {0, 4000},
              "File whose first line is the password. Goes before the key above. Empty: none.");
  schema.number("timeout_ms", redis.timeout_ms, {50, 60'000},
                "Milliseconds for connecting, and for each answer.");
  add_redis_pool(schema, "unread", redis.unread, "message ids and unread counts are.");
  add_redis_pool(schema, "group_set", redis.group_set, "muted groups are.");
  add_redis_pool(schema, "sync", redis.sync, "nothing is; TeamTalk configures it all the same.");
  add_redis_pool(schema, "token", redis.token, "push tokens are.");
  add_redis_pool(schema, "group_member", redis.group_member, "members of groups are.");
}

void add_rest(engine::ConfigSchema& schema, Settings& settings) {
  schema.section("messages", "What clients write to each other.");
  schema.text(
      "aes_key", settings.messages.aes_key, {32, 32},
      "The key that is compiled into the clients (TeamTalk: aesKey), 32 characters: for texts "
      "that the\nadministration writes. What clients write is stored as it comes.");
  schema.section("store", "Where messages, users and groups are kept.");
  schema.choice(
      "driver", settings.store.driver, {"embedded", "mysql"},
      "embedded: files under data_dir, nothing else is needed. mysql: a TeamTalk database, see\n"
      "[mysql]; data_dir then holds keys only.");
  schema.bytes(
      "segment_bytes", settings.store.segment_bytes, {0, 4 * kGiB},
      "Embedded: size of one file of a shard's message log. 0: 64 MiB / shards, at least 4 MiB. "
      "Each shard\n"
      "zero-fills one ahead, so this much disk per shard is taken at once; small ones make more\n"
      "files, large ones a longer restart. Else at least 1 MiB.");
  add_mysql(schema, settings.mysql);
  add_redis(schema, settings.redis);
  schema.section("log", "The process's own log, on standard error.");
  schema.choice("level", settings.log.level, {"debug", "info", "warn", "error"},
                "Least level that is written. At most 10 lines per second and cause are.");
  schema.choice("format", settings.log.format, {"auto", "text", "json"},
                "auto: text on a terminal, else one JSON object per line.");
}

}  // namespace

engine::ConfigSchema settings_schema(Settings& settings) {
  engine::ConfigSchema schema;
  add_doors(schema, settings);
  add_limits(schema, settings.limits);
  add_login(schema, settings.login);
  add_rest(schema, settings);
  // The rest sizes tables, opens doors or starts threads: at the start only.
  schema.reloadable({"limits.login_deadline_s", "limits.sends_per_second", "limits.sends_burst",
                     "limits.requests_per_second", "limits.requests_burst",
                     "limits.push_queue_bytes", "limits.send_stall_s", "limits.idle_pc_s",
                     "limits.idle_mobile_s", "limits.anonymous_per_address",
                     "limits.connects_per_second_per_address", "limits.send_decision_ms",
                     "limits.group_members_max", "limits.group_session_revive",
                     "login.allowed_states", "login.token_hours", "log.level"});
  // Known, but no settings: the file itself, and what test builds look at.
  for (const char* name :
       {"RINGTALK_CONFIG", "RINGTALK_KILLPOINT", "RINGTALK_CLOCK_OFFSET_FILE", "RINGTALK_TEST_SEED",
        "RINGTALK_TEST_MYSQL", "RINGTALK_TEST_MYSQL_CA", "RINGTALK_TEST_REDIS"})
    schema.ignore_variable(name);
  return schema;
}

std::string settings_toml(const Settings& settings) {
  // The defaults named in the comments are those of the binary, not the values in force.
  Settings shown;
  engine::ConfigSchema schema = settings_schema(shown);
  shown                       = settings;
  return schema.to_toml(kHead);
}

std::vector<std::string> settings_conflicts(const Settings& settings) {
  std::vector<std::string> errors;
  if (settings.listen.port != 0 && settings.listen == settings.http)
    errors.push_back("listen and http are the same address: " + settings.listen.text());
  if (settings.login.allowed_states.empty())
    errors.push_back("login.allowed_states: empty, nobody could log in");
  if (settings.store.segment_bytes != 0 && settings.store.segment_bytes < kMiB)
    errors.push_back("store.segment_bytes: must be 0 or at least 1 MiB");
  if (settings.mysql.tls_cert.empty() != settings.mysql.tls_key.empty())
    errors.push_back("mysql.tls_cert and mysql.tls_key: both or none");
  return errors;
}

}  // namespace ringtalk::gateway
