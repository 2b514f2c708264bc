#include "gateway/http_connection.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>

#include "gateway/http_gateway.h"

namespace ringtalk::gateway {
namespace {

namespace http = boost::beast::http;

constexpr uint32_t kHeaderBytesMax  = 8 * kKiB;
constexpr size_t kFieldsMax         = 64;
constexpr uint64_t kBodyBytesMax    = 64 * kKiB;
constexpr uint32_t kAnswerBytesMax  = 256 * kKiB;  // unread; above it no further request is taken
constexpr uint64_t kHeadSeconds     = 5;
constexpr uint64_t kIdleSeconds     = 60;
constexpr uint64_t kFarewellSeconds = 5;
constexpr uint64_t kAnswerSeconds   = 30;

}  // namespace

HttpConnection::HttpConnection(HttpGateway& gateway, engine::Slot slot, uint32_t address,
                               uint64_t id)
    : Stream(gateway.loop(), slot),
      gateway_(gateway),
      id_(id),
      address_(address),
      alarm_([](engine::Timer& t) noexcept { static_cast<Alarm&>(t).connection.on_alarm(); },
             *this) {}

HttpConnection::~HttpConnection() { loop().timers().cancel(alarm_); }

void HttpConnection::start() {
  heard_ns_ = loop().now_ns();
  begin_request();
  arm(kHeadSeconds);
  receive(/*multishot=*/false);
}

void HttpConnection::arm(uint64_t seconds) {
  loop().timers().arm(alarm_, loop().now_ns() + seconds * kNsPerS);
}

void HttpConnection::begin_request() {
  parser_.emplace();
  parser_->header_limit(kHeaderBytesMax);
  parser_->body_limit(UINT64_MAX);  // the path decides: head_done()
  parser_->eager(false);            // so stop behind the header
  head_seen_ = false;
}

void HttpConnection::on_bytes(Bytes bytes) {
  if (leaving_) return;
  heard_ns_ = loop().now_ns();
  input_.append(as_text(bytes));
  if (answering_ || clogged()) return pause();
  if (!head_seen_ && input_.size() == bytes.size()) arm(kHeadSeconds);
  parse();
}

void HttpConnection::parse() {
  while (!answering_ && !input_.empty() && !leaving_ && !clogged()) {
    boost::system::error_code error;
    const size_t used = parser_->put(boost::asio::buffer(input_), error);
    input_.erase(0, used);
    if (error == http::error::need_more) {
      // Of a body only the head of a chunk, or what stands behind the last one, is not taken at once.
      if (input_.size() <= kHeaderBytesMax) return;
      return parser_->is_header_done() ? refuse(400, "not HTTP/1.1")
                                       : refuse(431, "header too large");
    }
    if (error == http::error::header_limit) return refuse(431, "header too large");
    if (error == http::error::body_limit) return refuse(413, "body too large");
    if (error) return refuse(400, "not HTTP/1.1");
    if (!head_seen_ && parser_->is_header_done() && !head_done()) return;
    if (parser_->is_done()) return run_request();
    if (used == 0) return;
  }
}

bool HttpConnection::head_done() {
  head_seen_          = true;
  const auto& request = parser_->get();
  if (static_cast<size_t>(std::distance(request.begin(), request.end())) > kFieldsMax) {
    refuse(431, "too many header fields");
    return false;
  }
  if (const std::string_view wrong = wrong_head(); !wrong.empty()) {
    refuse(400, wrong);
    return false;
  }
  const std::string_view method(request.method_string().data(), request.method_string().size());
  const uint64_t limit = gateway_.body_bytes_max(method, path(), kBodyBytesMax);
  parser_->body_limit(limit);
  if (const auto length = parser_->content_length(); length && *length > limit) {
    refuse(413, "body too large");
    return false;
  }
  // Neither a length nor chunks: no body (RFC 9112 §6.3), whatever the method.
  const bool has_body = parser_->chunked() || parser_->content_length().value_or(0) > 0;
  if (has_body && !gateway_.admits(path(), bearer())) {
    refuse(401, "unauthorized");
    return false;
  }
  if (const auto expect = request[http::field::expect];
      !expect.empty() && request.version() >= 11) {
    if (!boost::beast::iequals(expect, "100-continue")) {
      refuse(417, "unknown expectation");
      return false;
    }
    if (has_body && input_.empty()) push(as_bytes("HTTP/1.1 100 Continue\r\n\r\n"));
  }
  arm(kHeadSeconds + parser_->content_length().value_or(limit) / (64 * kKiB));
  parser_->eager(true);
  return true;
}

// What Beast lets pass and another reader may take otherwise.
std::string_view HttpConnection::wrong_head() const {
  const auto& request = parser_->get();
  const size_t hosts  = request.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && request.version() >= 11)) return "Host: exactly one is needed";
  const size_t codings = request.count(http::field::transfer_encoding);
  if (codings == 0) return {};
  if (codings > 1 || request.version() < 11 ||
      !boost::beast::iequals(request[http::field::transfer_encoding], "chunked"))
    return "Transfer-Encoding: chunked only";
  return {};
}

std::string_view HttpConnection::path() const {
  const auto target = parser_->get().target();
  return std::string_view(target.data(), target.size()).substr(0, target.find('?'));
}

std::string_view HttpConnection::bearer() const {
  if (parser_->get().count(http::field::authorization) != 1) return {};
  const auto field = parser_->get()[http::field::authorization];
  std::string_view value(field.data(), field.size());
  constexpr std::string_view kScheme = "Bearer ";  // in any case (RFC 9110 §11.1)
  if (!boost::beast::iequals(value.substr(0, kScheme.size()), kScheme)) return {};
  value.remove_prefix(std::min(value.find_first_not_of(' ', kScheme.size()), value.size()));
  return value;
}

void HttpConnection::run_request() {
  const auto& request = parser_->get();
  answering_          = true;
  keep_alive_         = request.keep_alive();
  head_only_          = request.method() == http::verb::head;
  arm(kAnswerSeconds);
  const std::string_view target(request.target().data(), request.target().size());
  const size_t question = target.find('?');
  const auto method     = request.method_string();
  gateway_.handle(*this, {.method = {method.data(), method.size()},
                          .path   = path(),
                          .query  = question == target.npos ? "" : target.substr(question + 1),
                          .bearer = bearer(),
                          .body   = request.body(),
                          .from_loopback = address_ >> 24 == 127});
}

void HttpConnection::respond(const HttpResponse& response) {
  const bool close     = !keep_alive_ || leaving_ || saw_eof();
  const uint64_t grace = leaving_ ? kFarewellSeconds : kAnswerSeconds;  // to read it
  const auto reason    = http::obsolete_reason(static_cast<http::status>(response.status));
  push(as_bytes(fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\n{}\r\n",
      response.status, std::string_view(reason.data(), reason.size()), response.type,
      response.body.size(), close ? "close" : "keep-alive", response.fields)));
  if (!head_only_ && !response.body.empty()) push(as_bytes(response.body));
  answering_ = false;
  if (close) {
    leaving_ = true;
    arm(grace);
    return finish();
  }
  begin_request();
  arm(kIdleSeconds);
  go_on();
}

// Whoever asks and does not read waits, with what he has sent, until he has read.
bool HttpConnection::clogged() const { return queued_bytes() > kAnswerBytesMax; }

void HttpConnection::go_on() {
  parse();
  if (!answering_ && !leaving_ && !clogged()) receive(/*multishot=*/false);
}

void HttpConnection::on_drained() {
  if (leaving_ && queued_bytes() == 0) arm(kFarewellSeconds);
  // A question may be here already although receiving was never paused: it came with the last one.
  if ((paused() || !input_.empty()) && !answering_ && !leaving_ && !clogged()) go_on();
}

void HttpConnection::refuse(unsigned status, std::string_view what) {
  keep_alive_ = false;
  head_only_  = false;
  respond({.status = status,
           .body   = fmt::format("{{\"error\":\"{}\"}}\n", what),
           .fields = status == 401 ? "WWW-Authenticate: Bearer\r\n" : ""});
}

void HttpConnection::leave() {
  if (leaving_) return;
  leaving_ = true;
  if (answering_) return;
  // Kept alive for a next request, by a monitor for example: nothing is owed to it, and a server that
  // stops does not wait for it.
  if (!head_seen_ && input_.empty() && queued_bytes() == 0) return abort();
  arm(kFarewellSeconds);
  finish();
}

void HttpConnection::on_eof() {
  if (!answering_) finish();
}

void HttpConnection::on_closed() { gateway_.closed(*this); }

void HttpConnection::on_alarm() noexcept {
  const bool idle = !head_seen_ && input_.empty();
  if (leaving_ || answering_ || idle || queued_bytes() > 0) return abort();  // or given up on
  refuse(408, "too slow");
}

}  // namespace ringtalk::gateway
