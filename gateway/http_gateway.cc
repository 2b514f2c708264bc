#include "gateway/http_gateway.h"

#include <openssl/crypto.h>

#include "engine/log.h"
#include "gateway/admin_api.h"

namespace ringtalk::gateway {

HttpGateway::HttpGateway(Setup setup, int listener_fd)
    : setup_(std::move(setup)), listener_(setup_.loop, *this, listener_fd) {
  listener_.resume();
}

HttpGateway::~HttpGateway() { RT_ASSERT(connections_.empty()); }

void HttpGateway::on_connection(engine::Listener&, engine::Slot slot, uint32_t address) {
  auto* connection = new HttpConnection(*this, slot, address, next_id_++);
  connections_.emplace(connection->id(), connection);
  if (draining_ || connections_.size() > kConnectionsMax) return connection->abort();
  connection->start();
}

void HttpGateway::closed(HttpConnection& connection) {
  connections_.erase(connection.id());
  delete &connection;
}

uint64_t HttpGateway::body_bytes_max(std::string_view path, uint64_t otherwise) const {
  return path.starts_with("/api/v1/") && path.ends_with(":bulk") ? AdminApi::kBulkBytesMax
                                                                 : otherwise;
}

bool HttpGateway::authorised(const HttpRequest& request) const {
  const std::string& token = setup_.admin_token;
  return request.bearer.size() == token.size() &&
         CRYPTO_memcmp(request.bearer.data(), token.data(), token.size()) == 0;
}

void HttpGateway::handle(HttpConnection& connection, const HttpRequest& request) {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (request.path == "/healthz" || request.path == "/readyz") {
    if (!reads) return connection.respond({405, "{\"error\":\"method not allowed\"}\n"});
    if (draining_ && request.path == "/readyz")
      return connection.respond({503, "draining\n", "text/plain"});
    return connection.respond({200, "ok\n", "text/plain"});
  }
  if (request.path == "/metrics") {
    if (!request.from_loopback && !authorised(request))
      return connection.respond({401, "{\"error\":\"unauthorized\"}\n"});
    if (!reads) return connection.respond({405, "{\"error\":\"method not allowed\"}\n"});
    return connection.respond({200, metrics_text(), "text/plain; version=0.0.4"});
  }
  if (request.path.starts_with("/api/v1/")) {
    if (!authorised(request)) return connection.respond({401, "{\"error\":\"unauthorized\"}\n"});
    return api_->handle(connection.id(), request);
  }
  connection.respond({404, "{\"error\":\"not found\"}\n"});
}

std::string HttpGateway::metrics_text() {
  const auto totals  = engine::log::totals();
  const auto grow_to = [this](engine::Counter counter, uint64_t total) {
    process_.add(counter, total - process_.value(counter));
  };
  grow_to(engine::Counter::log_lines, totals.written);
  grow_to(engine::Counter::log_suppressed, totals.suppressed);
  grow_to(engine::Counter::log_dropped, totals.dropped);
  auto sources = setup_.metrics;
  sources.push_back({"process", &process_});
  return engine::prometheus_text(sources);
}

void HttpGateway::respond(uint64_t id, const HttpResponse& response) {
  if (const auto at = connections_.find(id); at != connections_.end() && at->second->is_open())
    at->second->respond(response);
}

void HttpGateway::begin_drain() {
  draining_ = true;
  listener_.close();
  for (auto& [id, connection] : connections_) connection->leave();
}

}  // namespace ringtalk::gateway
