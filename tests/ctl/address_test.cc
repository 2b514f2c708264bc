#include "tools/ctl/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>

namespace ringtalk::ctl {
namespace {

TEST(Address, HostAndPort) {
  for (const auto& [text, host] :
       {std::pair{"127.0.0.1:8000", "127.0.0.1"}, std::pair{"chat.example:8000", "chat.example"},
        std::pair{"[::1]:8000", "::1"}}) {
    const auto address = parse_address(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->host, host);
    EXPECT_EQ(address->port, 8000);
  }
}

TEST(Address, RefusesWhatIsNone) {
  for (const char* text : {"", ":", "host", "host:", ":80", "host:0", "host:65536", "host:-1",
                           "host:80x", "host: 80", "::1:80", "[]:80", "host:999999999999"}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
}

TEST(Address, ConnectsSendsAndReportsARefusal) {
  const Socket listener(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in at{};
  at.sin_family      = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size     = sizeof at;
  ASSERT_EQ(bind(listener.fd(), reinterpret_cast<sockaddr*>(&at), size), 0);
  ASSERT_EQ(getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&at), &size), 0);
  const Address address{"127.0.0.1", ntohs(at.sin_port)};

  const auto refused = connect_tcp(address, std::chrono::seconds(2));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().os, ECONNREFUSED);

  ASSERT_EQ(listen(listener.fd(), 1), 0);
  auto socket = connect_tcp(address, std::chrono::seconds(2));
  ASSERT_TRUE(socket);
  const Socket peer(accept(listener.fd(), nullptr, nullptr));
  ASSERT_TRUE(send_all(*socket, "hello"));
  std::array<char, 8> got{};
  EXPECT_EQ(recv(peer.fd(), got.data(), got.size(), 0), 5);
}

}  // namespace
}  // namespace ringtalk::ctl
