#include "gateway/http_gateway.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include "gateway/admin_api.h"
#include "gateway/process_metrics.h"

namespace ringtalk::gateway {
namespace {
constexpr size_t kMetricsPortionBytes = 128 * kKiB;  // some 0.3 ms
}  // namespace

HttpGateway::HttpGateway(Setup setup, int listener_fd)
    : setup_(std::move(setup)),
      metrics_turn_(
          [](engine::Timer& timer) noexcept {
            static_cast<MetricsTurn&>(timer).gateway.go_on_with_metrics();
          },
          *this),
      listener_(setup_.loop, *this, listener_fd),
      began_ns_(setup_.loop.now_ns()) {
  process_.set(engine::Gauge::store_damages, static_cast<int64_t>(setup_.store_damages));
  listener_.resume();
}

HttpGateway::~HttpGateway() {
  RT_ASSERT(connections_.empty());
  setup_.loop.timers().cancel(metrics_turn_);
}

void HttpGateway::on_connection(engine::Listener&, engine::Slot slot, uint32_t address) {
  auto* connection = new HttpConnection(*this, slot, address, next_id_++);
  connections_.emplace(connection->id(), connection);
  count_connections();
  if (closing_ || !make_room(*connection)) return connection->abort();
  connection->start();
}

bool HttpGateway::make_room(const HttpConnection& newest) {
  const size_t max = setup_.connections_max;
  if (connections_.size() <= max) return true;
  if (connections_.size() > 2 * max) return false;  // those that are closing included
  size_t open              = 0;
  HttpConnection* quietest = nullptr;
  for (const auto& [id, connection] : connections_) {
    if (!connection->is_open()) continue;
    ++open;
    if (connection->answering() || connection == &newest) continue;
    if (!quietest || connection->heard_ns() < quietest->heard_ns()) quietest = connection;
  }
  if (open <= max) return true;
  if (!quietest) return false;
  quietest->abort();
  return true;
}

void HttpGateway::count_connections() {
  setup_.loop.metrics().set(engine::Gauge::http_connections,
                            static_cast<int64_t>(connections_.size()));
}

void HttpGateway::closed(HttpConnection& connection) {
  connections_.erase(connection.id());
  count_connections();
  delete &connection;
}

uint64_t HttpGateway::body_bytes_max(std::string_view method, std::string_view path,
                                     uint64_t otherwise) const {
  return AdminApi::body_bytes_max(method, path).value_or(otherwise);
}

bool HttpGateway::authorised(std::string_view bearer) const {
  const std::string& token = setup_.admin_token;
  return bearer.size() == token.size() &&
         CRYPTO_memcmp(bearer.data(), token.data(), token.size()) == 0;
}

bool HttpGateway::admits(std::string_view path, std::string_view bearer) const {
  return !path.starts_with("/api/v1/") || authorised(bearer);
}

std::string HttpGateway::unready() {
  if (setup_.drain && setup_.drain->failed.load(std::memory_order_relaxed)) return "store failed";
  if (draining_) return "draining";
  const uint64_t now = setup_.loop.now_ns();
  for (const auto& [shard, metrics] : setup_.metrics) {
    const auto ticked = static_cast<uint64_t>(metrics->value(engine::Gauge::tick_time));
    if (ticked == 0 && now - began_ns_ < kStalledNs) return "starting";
    if (now > ticked + kStalledNs) return fmt::format("shard {} stalled", shard);
    if (metrics->value(engine::Gauge::store_out_of_space) != 0) return "disk full";
  }
  return {};
}

void HttpGateway::handle(HttpConnection& connection, const HttpRequest& request) {
  const bool reads           = request.method == "GET" || request.method == "HEAD";
  const HttpResponse no_such = {404, "{\"error\":\"not found\"}\n"};
  const HttpResponse only_read{.status = 405,
                               .body   = "{\"error\":\"method not allowed\"}\n",
                               .fields = "Allow: GET, HEAD\r\n"};
  const HttpResponse who{.status = 401,
                         .body   = "{\"error\":\"unauthorized\"}\n",
                         .fields = "WWW-Authenticate: Bearer\r\n"};
  if (request.path == "/healthz" || request.path == "/readyz") {
    if (!reads) return connection.respond(only_read);
    if (request.path == "/healthz") return connection.respond({200, "ok\n", "text/plain"});
    const std::string why = unready();
    if (why.empty()) return connection.respond({200, "ready\n", "text/plain"});
    return connection.respond({503, why + "\n", "text/plain"});
  }
  if (request.path == "/metrics") {
    if (!request.from_loopback && !authorised(request.bearer)) return connection.respond(who);
    if (!reads) return connection.respond(only_read);
    scrapes_.push_back(connection.id());
    if (scrapes_.size() == 1) go_on_with_metrics();
    return;
  }
  if (request.path.starts_with("/api/v1/")) {
    if (!authorised(request.bearer)) return connection.respond(who);
    // Who answers may be gone before the answer.
    if (draining_) return connection.respond({503, "{\"error\":\"draining\"}\n"});
    return api_->handle(connection.id(), request);
  }
  connection.respond(no_such);
}

void HttpGateway::go_on_with_metrics() {
  if (!metrics_text_) {
    refresh_process_metrics(process_, setup_.mirror_metrics);
    auto sources = setup_.metrics;
    sources.push_back({"", &process_});
    metrics_text_.emplace(std::move(sources));
  }
  const bool done = metrics_text_->write(kMetricsPortionBytes);
  if (done) {
    const uint64_t asker = scrapes_.front();
    const HttpResponse response{200, metrics_text_->take() + build_info_text(),
                                "text/plain; version=0.0.4"};
    metrics_text_.reset();
    scrapes_.pop_front();
    respond(asker, response);  // may bring the next request of the same client, even to here
  }
  if (!scrapes_.empty()) setup_.loop.timers().arm(metrics_turn_, setup_.loop.now_ns());
}

void HttpGateway::respond(uint64_t id, const HttpResponse& response) {
  if (const auto at = connections_.find(id); at != connections_.end() && at->second->is_open())
    at->second->respond(response);
}

void HttpGateway::close(bool hurry) {
  if (!closing_) {
    closing_ = true;
    listener_.close();
    for (auto& [id, connection] : connections_) connection->leave();
  }
  if (hurry)
    for (auto& [id, connection] : connections_) connection->abort();
}

}  // namespace ringtalk::gateway
