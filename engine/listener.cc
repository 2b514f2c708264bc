#include "engine/listener.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

namespace ringtalk::engine {
namespace {

struct Socket {
  int fd = -1;
  ~Socket() {
    if (fd >= 0) ::close(fd);
  }
};

uint16_t bound_port(int fd) {
  sockaddr_storage bound{};
  socklen_t bytes = sizeof bound;
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &bytes);
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(bound).sin_port);
}

}  // namespace

Result<Listening> open_listener(const Address& address, int send_buffer_bytes,
                                int receive_buffer_bytes, bool shared) {
  addrinfo hints{};
  hints.ai_flags         = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype      = SOCK_STREAM;
  addrinfo* found        = nullptr;
  const std::string port = std::to_string(address.port);
  if (getaddrinfo(address.host.empty() ? nullptr : address.host.c_str(), port.c_str(), &hints,
                  &found) != 0)
    return fail_os(EADDRNOTAVAIL);
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, &freeaddrinfo);

  Socket socket{::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (socket.fd < 0) return fail_os(errno);
  const int on = 1;
  setsockopt(socket.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (shared) setsockopt(socket.fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  setsockopt(socket.fd, IPPROTO_TCP, TCP_NODELAY, &on,
             sizeof on);  // inherited; we coalesce ourselves
  const auto limit = [&](int option, int bytes) {
    if (bytes > 0) setsockopt(socket.fd, SOL_SOCKET, option, &bytes, sizeof bytes);
  };
  limit(SO_SNDBUF, send_buffer_bytes);
  limit(SO_RCVBUF, receive_buffer_bytes);
  if (bind(socket.fd, found->ai_addr, found->ai_addrlen) < 0) return fail_os(errno);
  if (listen(socket.fd, 4096) < 0) return fail_os(errno);
  const uint16_t chosen = bound_port(socket.fd);
  return Listening{std::exchange(socket.fd, -1), chosen};
}

Listener::~Listener() {
  RT_ASSERT(!armed_);
  loop_.timers().cancel(retry_);
  close_socket();
}

void Listener::resume() {
  want_ = true;
  if (armed_ || ending_ || fd_ < 0) return;
  armed_ = true;
  loop_.ring().accept(fd_, accept_);
}

void Listener::pause() {
  want_ = false;
  loop_.timers().cancel(retry_);
  if (armed_) loop_.ring().cancel(accept_, loop_.ignored());
}

void Listener::close() {
  ending_ = true;
  pause();
  if (!armed_) close_socket();
}

void Listener::close_socket() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Listener::on_accept(int32_t result, uint32_t flags) noexcept {
  if (!(flags & kMore)) armed_ = false;
  if (result >= 0) {
    owner_.on_connection(*this, static_cast<Slot>(result), loop_.ring().peer_address(result));
  } else if (result != -ECANCELED) {
    owner_.on_accept_failed(-result);
  }
  if (armed_) return;
  if (ending_) return close_socket();
  if (!want_) return;
  if (result >= 0 || result == -ECANCELED) return resume();
  loop_.timers().arm(retry_, loop_.now_ns() + kRetryNs);  // no spinning on a full table
}

void Listener::on_retry(Timer& timer) noexcept { static_cast<Retry&>(timer).listener.resume(); }

}  // namespace ringtalk::engine
