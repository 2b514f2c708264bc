#include "tools/ctl/address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <memory>

#include "engine/base/assert.h"

namespace ringtalk::ctl {

Result<Address> parse_address(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return fail(Errc::malformed);
  std::string_view host       = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  const bool bracketed        = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty() || (!bracketed && host.find(':') != std::string_view::npos)) {
    return fail(Errc::malformed);
  }
  uint16_t number         = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc{} || end != port.data() + port.size() || number == 0) {
    return fail(Errc::malformed);
  }
  return Address{std::string(host), number};
}

void Socket::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<Socket> connect_tcp(const Address& address, std::chrono::seconds limit) {
  addrinfo hints{};
  hints.ai_family   = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags    = AI_NUMERICSERV;
  addrinfo* found   = nullptr;
  if (getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found) !=
      0) {
    return fail(Errc::not_found);
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, &freeaddrinfo);
  int last_errno = EHOSTUNREACH;
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    Socket socket(
        ::socket(entry->ai_family, entry->ai_socktype | SOCK_CLOEXEC, entry->ai_protocol));
    // Linux bounds a blocking connect by the send timeout too (socket(7)).
    const timeval timeout{.tv_sec = limit.count(), .tv_usec = 0};
    const int one = 1;
    if (socket.is_open() &&
        setsockopt(socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) == 0 &&
        setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 &&
        ::connect(socket.fd(), entry->ai_addr, entry->ai_addrlen) == 0) {
      return socket;
    }
    last_errno = errno == EINPROGRESS ? ETIMEDOUT : errno;
  }
  return fail_os(last_errno);
}

bool send_all(const Socket& socket, std::string_view bytes) {
  RT_ASSERT(socket.is_open());
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

}  // namespace ringtalk::ctl
