// HttpGateway: the HTTP door of a shard: connections, routes, who may ask.
//
//   /healthz                  everybody          the process runs
//   /readyz                   everybody          and takes clients; else 503 and why
//   /metrics                  loopback, or with the administration token
//   /api/v1/…                 with the administration token, else 401 (gateway/admin_api.h)
//
// Thread rule  Shard 0's thread: few requests, no reason to spread them.
// /metrics     Written in portions, one in a turn, if there are many shards; who asks meanwhile waits.
// Bound        kConnectionsMax. A further one takes the place of the one that has been silent longest
//              and waits for nothing; if all wait for answers it is closed.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "engine/listener.h"
#include "engine/metrics.h"
#include "gateway/http_connection.h"
#include "shard/shard.h"

namespace ringtalk::gateway {

class AdminApi;
class ReloadDesk;

class HttpGateway final : public engine::Listener::Owner {
 public:
  static constexpr size_t kConnectionsMax = 256;
  static constexpr uint64_t kStalledNs    = 2 * kNsPerS;  // a shard ticks ten times a second

  struct Setup {
    engine::Loop& loop;
    std::string admin_token;
    std::vector<engine::MetricSource> metrics;  // of all shards, in their order
    uint64_t store_damages = 0;                 // found at the start
    const engine::Metrics* mirror_metrics =
        nullptr;  // of the store's mirror in Redis, if there is one
    const shard::DrainState* drain = nullptr;
    std::string data_dir;              // whose disk /api/v1/status shows; empty: none
    ReloadDesk* reloads    = nullptr;  // null: nothing to reload from
    size_t connections_max = kConnectionsMax;
  };

  HttpGateway(Setup setup, int listener_fd);
  ~HttpGateway() override;
  void connect(AdminApi& api) { api_ = &api; }

  engine::Loop& loop() { return setup_.loop; }
  const Setup& setup() const { return setup_; }
  uint64_t body_bytes_max(std::string_view method, std::string_view path, uint64_t otherwise) const;
  // May who shows this token send a body there?
  bool admits(std::string_view path, std::string_view bearer) const;
  // Empty: clients are served. Else why not.
  std::string unready();
  void handle(HttpConnection& connection, const HttpRequest& request);
  // The connection of an earlier request may be gone: then nothing happens.
  void respond(uint64_t connection, const HttpResponse& response);
  void closed(HttpConnection& connection);

  void begin_drain() { draining_ = true; }  // /readyz says so; the door stays open
  // Closes the door and, when their answers are out, the connections. hurry: without the answers.
  void close(bool hurry);
  bool drained() const { return connections_.empty() && listener_.closed(); }

 private:
  struct MetricsTurn : engine::Timer {
    MetricsTurn(Fire fire, HttpGateway& g) : Timer(fire), gateway(g) {}
    HttpGateway& gateway;
  };

  void on_connection(engine::Listener& door, engine::Slot slot, uint32_t address) override;
  bool make_room(const HttpConnection& newest);
  void count_connections();
  bool authorised(std::string_view bearer) const;
  void go_on_with_metrics();

  const Setup setup_;
  engine::Metrics process_;                             // what belongs to no shard: the log
  std::deque<uint64_t> scrapes_;                        // connections that wait for /metrics
  std::optional<engine::PrometheusText> metrics_text_;  // of the first of them, being written
  MetricsTurn metrics_turn_;
  engine::Listener listener_;
  const uint64_t began_ns_;
  AdminApi* api_ = nullptr;
  boost::unordered_flat_map<uint64_t, HttpConnection*> connections_;
  uint64_t next_id_ = 1;
  bool draining_    = false;
  bool closing_     = false;
};

}  // namespace ringtalk::gateway
