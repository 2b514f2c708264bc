// HttpConnection: one HTTP/1.1 client: requests in, one answer at a time, keep-alive.
//
// Parser  Beast's, fed from the stream; what is ambiguous is refused (two lengths, length and chunks,
//         another transfer coding, no Host or two).
// Bounds  Header block 8 KiB and 64 fields (431); body 64 KiB, or what the path allows (413), refused
//         by the declared length before a byte of it is taken, as is one that may not be sent at all
//         (401); header within 5 s, body within
//         5 s + 1 s per 64 KiB (408); idle keep-alive 60 s. While an answer is made, or 256 KiB of them wait,
//         nothing is read.
// Errors  An answer with a JSON error, then the connection closes.
#pragma once

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "engine/stream.h"

namespace ringtalk::gateway {

class HttpGateway;

struct HttpRequest {
  std::string_view method, path, query;
  std::string_view bearer;  // token of the Authorization field, or empty
  std::string_view body;
  bool from_loopback = false;
};

struct HttpResponse {
  unsigned status = 200;
  std::string body;
  std::string_view type = "application/json";
  std::string fields    = {};  // further header lines, each with its end
};

class HttpConnection final : public engine::Stream {
 public:
  HttpConnection(HttpGateway& gateway, engine::Slot slot, uint32_t address, uint64_t id);
  ~HttpConnection() override;

  uint64_t id() const { return id_; }
  bool answering() const { return answering_; }
  uint64_t heard_ns() const { return heard_ns_; }  // of the last byte
  void start();
  // The answer to the request in hand.
  void respond(const HttpResponse& response);
  void leave();  // drain: after the answer in hand, or now

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  struct Alarm : engine::Timer {
    Alarm(Fire fire, HttpConnection& c) : Timer(fire), connection(c) {}
    HttpConnection& connection;
  };

  void on_bytes(Bytes bytes) override;
  void on_eof() override;
  void on_drained() override;
  void on_closed() override;

  void parse();
  void go_on();
  bool clogged() const;
  bool head_done();
  std::string_view wrong_head() const;
  std::string_view path() const;
  std::string_view bearer() const;
  void begin_request();
  void run_request();
  void refuse(unsigned status, std::string_view what);
  void on_alarm() noexcept;
  void arm(uint64_t seconds);

  HttpGateway& gateway_;
  const uint64_t id_;
  const uint32_t address_;
  std::optional<Parser> parser_;
  std::string input_;  // received and not yet taken by the parser
  uint64_t heard_ns_ = 0;
  bool head_seen_    = false;  // of the request in hand
  bool answering_    = false;
  bool keep_alive_   = false;
  bool head_only_    = false;
  bool leaving_      = false;
  Alarm alarm_;
};

}  // namespace ringtalk::gateway
