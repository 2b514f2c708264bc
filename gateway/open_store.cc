#include "gateway/open_store.h"

#include <fmt/format.h>
#include <mysql.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>

#include "engine/disk.h"
#include "engine/log.h"
#include "shard/home.h"
#include "store/embedded/embedded_store.h"
#include "store/mysql/mysql_store.h"

namespace ringtalk::gateway {
namespace {

namespace log = engine::log;

using Opened = std::expected<std::unique_ptr<store::Stores>, OpenFailure>;

std::unexpected<OpenFailure> failure(std::string what, std::string why) {
  return std::unexpected(OpenFailure{std::move(what), std::move(why)});
}

store::Homes homes(uint32_t shards) {
  return {shards, [](UserId user, uint32_t n) { return shard::home(user, n); },
          [](ConversationId conversation, uint32_t n) { return shard::home(conversation, n); }};
}

// --- embedded -------------------------------------------------------------------------------------------

// The log and what it stands on, in the order of their lives.
class EmbeddedFiles final : public store::Stores {
 public:
  EmbeddedFiles(std::unique_ptr<engine::Disk> disk, std::unique_ptr<store::Relational> relational,
                std::unique_ptr<store::EmbeddedStores> stores)
      : disk_(std::move(disk)), relational_(std::move(relational)), stores_(std::move(stores)) {}

  Result<std::vector<store::UserState>> load_user_states() override {
    return relational_->load_user_states();
  }
  void set_bell(uint32_t shard, engine::Bell* bell) override {
    stores_->set_bell(shard, bell);
    relational_->set_bell(shard, bell);
  }
  void start() override {
    relational_->start("sqlite");
    stores_->start();
  }
  std::unique_ptr<store::Store> make(uint32_t shard, engine::Ring& ring, engine::Metrics& metrics,
                                     store::Sink& sink) override {
    return stores_->make(shard, ring, metrics, sink);
  }
  std::vector<store::Repeat> take_repeats(uint32_t shard) override {
    return stores_->take_repeats(shard);
  }
  uint64_t damages() const override { return stores_->report().damages.size(); }
  Result<void> close() override {
    auto closed = stores_->close();
    relational_->stop();
    return closed;
  }

 private:
  const std::unique_ptr<engine::Disk> disk_;
  const std::unique_ptr<store::Relational> relational_;
  const std::unique_ptr<store::EmbeddedStores> stores_;
};

Opened open_embedded(const Settings& settings, uint32_t shards, engine::Clock& clock) {
  auto disk = engine::open_disk(settings.data_dir);
  if (!disk) return failure(settings.data_dir, reason(disk.error()));
  const std::string file = settings.data_dir + "/ringtalk.db";
  auto relational        = store::Relational::open({.path = file, .shards = shards}, clock);
  if (!relational)
    return failure(file, relational.error().code == Errc::unsupported
                             ? "made by a newer version, or not ours"
                             : reason(relational.error()));
  auto stores = store::EmbeddedStores::open({.directory     = settings.data_dir,
                                             .homes         = homes(shards),
                                             .segment_bytes = settings.store.segment_bytes,
                                             .relational    = relational->get()},
                                            **disk, clock);
  if (!stores) {
    const Errc code = stores.error().code;
    return failure(settings.data_dir,
                   code == Errc::exists        ? "another process uses this data directory"
                   : code == Errc::unsupported ? "the log was written by a newer version"
                                               : reason(stores.error()));
  }
  const auto& found = (*stores)->report();
  log::info("store_open", {{"segments", found.segments},
                           {"conversations", found.conversations},
                           {"records_read", found.records_read},
                           {"torn_bytes", found.torn_bytes},
                           {"damages", found.damages.size()},
                           {"ms", found.duration_ns / kNsPerMs}});
  const auto lines = found.lines();  // the first is the summary
  for (size_t i = 1; i < lines.size(); ++i) log::warn("store_recovery", {{"finding", lines[i]}});
  return std::make_unique<EmbeddedFiles>(std::move(*disk), std::move(*relational),
                                         std::move(*stores));
}

// --- MySQL ----------------------------------------------------------------------------------------------

// False: it cannot be read.
bool read_password(const std::string& file, std::string& password) {
  if (file.empty()) return true;
  std::ifstream in(file);
  return static_cast<bool>(std::getline(in, password));
}

store::redis::Server redis_server(const RedisSettings& from, const RedisPoolSettings& pool,
                                  const std::string& password) {
  return {.host               = pool.host,
          .port               = pool.port,
          .db                 = pool.db,
          .password           = password,
          .connect_timeout_ms = from.timeout_ms,
          .read_timeout_ms    = from.timeout_ms,
          .write_timeout_ms   = from.timeout_ms};
}

Opened open_mysql(const Settings& settings, uint32_t shards, engine::Clock& clock) {
  const MySqlSettings& from = settings.mysql;
  store::sql::Server server{.host               = from.host,
                            .port               = from.port,
                            .socket             = from.socket,
                            .database           = from.database,
                            .user               = from.user,
                            .password           = from.password,
                            .tls_ca             = from.tls_ca,
                            .tls_cert           = from.tls_cert,
                            .tls_key            = from.tls_key,
                            .tls                = from.tls,
                            .connect_timeout_ms = from.connect_timeout_ms,
                            .read_timeout_ms    = from.read_timeout_ms,
                            .write_timeout_ms   = from.write_timeout_ms};
  if (!read_password(from.password_file, server.password))
    return failure(from.password_file, "no password can be read from it");
  std::optional<store::redis::Pools> pools;
  if (const RedisSettings& redis = settings.redis; redis.enabled) {
    std::string password = redis.password;
    if (!read_password(redis.password_file, password))
      return failure(redis.password_file, "no password can be read from it");
    const auto pool = [&](const RedisPoolSettings& of) {
      return redis_server(redis, of, password);
    };
    pools = {.unread       = pool(redis.unread),
             .group_set    = pool(redis.group_set),
             .token        = pool(redis.token),
             .group_member = pool(redis.group_member),
             .sync         = pool(redis.sync)};
  }
  mysql_library_init(0, nullptr, nullptr);  // before there are threads
  const store::sql::Connect master = [server] { return store::sql::connect(server); };
  store::sql::Connect replica;
  if (!from.read_host.empty()) {
    server.host = from.read_host;
    server.port = from.read_port;
    server.socket.clear();
    replica = [server] { return store::sql::connect(server); };
  }
  const std::string what = fmt::format(
      "mysql {}/{}", from.socket.empty() ? fmt::format("{}:{}", from.host, from.port) : from.socket,
      from.database);
  auto stores = store::MySqlStores::open({.master      = master,
                                          .replica     = replica,
                                          .homes       = homes(shards),
                                          .connections = from.connections,
                                          .redis       = std::move(pools)},
                                         clock);
  if (!stores) return failure(what, stores.error().text);
  const auto& found = (*stores)->report();
  log::info("store_open", {{"conversations", found.conversations},
                           {"read_positions", found.cursors},
                           {"repeats", found.repeats},
                           {"ms", found.duration_ns / kNsPerMs}});
  if (found.weak_flush)
    log::warn(
        "mysql_flush_weak",
        {{"why",
          "innodb_flush_log_at_trx_commit is not 1: power loss may lose what was acknowledged"}});
  return std::move(*stores);
}

}  // namespace

std::string reason(Error error) {
  return error.code == Errc::os ? std::strerror(error.os)
                                : "code " + std::to_string(int(error.code));
}

Opened open_store(const Settings& settings, uint32_t shards, engine::Clock& clock) {
  return settings.store.driver == "mysql" ? open_mysql(settings, shards, clock)
                                          : open_embedded(settings, shards, clock);
}

}  // namespace ringtalk::gateway
