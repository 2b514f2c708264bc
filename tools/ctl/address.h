// Address: "HOST:PORT" or "[IPV6]:PORT" on a command line, and a blocking TCP connection to it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "engine/base/result.h"

namespace ringtalk::ctl {

struct Address {
  std::string host;  // without brackets
  uint16_t port = 0;
};

// Errc::malformed: no host, no port, or a port outside 1…65535.
Result<Address> parse_address(std::string_view text);

// An open socket; closes it at the end.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    close();
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }

  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  void close();

 private:
  int fd_ = -1;
};

// Blocking, no Nagle delay; connecting and every send give up after the limit.
// Errors: Errc::not_found (no such host), Errc::os.
Result<Socket> connect_tcp(const Address& address, std::chrono::seconds limit);

// All of it, or false.
bool send_all(const Socket& socket, std::string_view bytes);

}  // namespace ringtalk::ctl
