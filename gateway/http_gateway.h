// HttpGateway: the HTTP door of a shard: connections, routes, who may ask.
//
//   /healthz                  everybody          the process runs
//   /readyz                   everybody          and takes clients (503 while it drains)
//   /metrics                  loopback, or with the administration token
//   /api/v1/…                 with the administration token, else 401 (gateway/admin_api.h)
//
// Thread rule  Shard 0's thread: few requests, no reason to spread them.
// Bound        kConnectionsMax; further ones are closed at once.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <string>
#include <vector>

#include "engine/listener.h"
#include "engine/metrics.h"
#include "gateway/http_connection.h"

namespace ringtalk::gateway {

class AdminApi;

class HttpGateway final : public engine::Listener::Owner {
 public:
  static constexpr size_t kConnectionsMax = 256;

  struct Setup {
    engine::Loop& loop;
    std::string admin_token;
    std::vector<engine::MetricSource> metrics;  // of all shards
  };

  HttpGateway(Setup setup, int listener_fd);
  ~HttpGateway() override;
  void connect(AdminApi& api) { api_ = &api; }

  engine::Loop& loop() { return setup_.loop; }
  uint64_t body_bytes_max(std::string_view path, uint64_t otherwise) const;
  void handle(HttpConnection& connection, const HttpRequest& request);
  // The connection of an earlier request may be gone: then nothing happens.
  void respond(uint64_t connection, const HttpResponse& response);
  void closed(HttpConnection& connection);

  void begin_drain();
  bool drained() const { return connections_.empty() && listener_.closed(); }

 private:
  void on_connection(engine::Listener& door, engine::Slot slot, uint32_t address) override;
  bool authorised(const HttpRequest& request) const;
  std::string metrics_text();

  const Setup setup_;
  engine::Metrics process_;  // what belongs to no shard: the log
  engine::Listener listener_;
  AdminApi* api_ = nullptr;
  boost::unordered_flat_map<uint64_t, HttpConnection*> connections_;
  uint64_t next_id_ = 1;
  bool draining_    = false;
};

}  // namespace ringtalk::gateway
