// UringRing on the kernel this runs on. Waits for events only; a turn's own limit is a second, so a
// lost one shows as a failed count, not as a hang.
#include "engine/uring.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <functional>
#include <string>
#include <thread>

#include "engine/clock.h"
#include "engine/listener.h"
#include "engine/random.h"

namespace ringtalk::engine {
namespace {

constexpr int kTurnsMax = 1000;

struct Note : Completion {
  Note() : Completion{&Note::on_result} {}
  static void on_result(Completion& self, int32_t result, uint32_t flags) noexcept {
    auto& note = static_cast<Note&>(self);
    note.results.push_back(result);
    note.flags = flags;
    note.over  = (flags & kMore) == 0;
    if (note.then) note.then(result, flags);
  }
  int32_t last() const { return results.empty() ? 1'000'000 : results.back(); }

  std::vector<int32_t> results;
  uint32_t flags = 0;
  bool over      = false;
  std::function<void(int32_t, uint32_t)> then;
};

bool turn_until(UringRing& ring, const std::function<bool()>& wanted) {
  for (int i = 0; i < kTurnsMax && !wanted(); ++i) ring.turn(50 * kNsPerMs);
  return wanted();
}

struct Peer {
  explicit Peer(uint16_t port, int receive_bytes = 0)
      : fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_bytes) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    sockaddr_in to{};
    to.sin_family      = AF_INET;
    to.sin_port        = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  Peer(Peer&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  ~Peer() { close(); }
  void close() {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
  void write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
      ASSERT_GT(n, 0);
      text.remove_prefix(static_cast<size_t>(n));
    }
  }
  std::string read_some() {
    char bytes[65536];
    const ssize_t n = ::recv(fd, bytes, sizeof bytes, 0);
    return {bytes, n > 0 ? static_cast<size_t>(n) : 0};
  }
  int fd;
};

class UringTest : public testing::Test {
 protected:
  void SetUp() override {
    auto probe = UringRing::make(small());
    if (!probe) GTEST_SKIP() << "this kernel forbids io_uring";
  }
  static RingConfig small() {
    return {.sq_entries = 64, .cq_entries = 256, .slots = 32, .buffers = 8, .buffer_bytes = 1024};
  }
  static std::unique_ptr<UringRing> make(const RingConfig& config = small()) {
    auto made = UringRing::make(config);
    RT_ASSERT(made.has_value());
    return std::move(*made);
  }
  // A connected pair: the slot here, the socket there.
  static std::pair<Peer, Slot> connected(UringRing& ring, int receive_bytes = 0) {
    auto door = open_listener({"127.0.0.1", 0}, 0, 0, false);
    RT_ASSERT(door.has_value());
    Note accepted, ignored;
    ring.accept(door->fd, accepted);
    ring.turn(0);
    Peer peer(door->port, receive_bytes);
    EXPECT_TRUE(turn_until(ring, [&] { return !accepted.results.empty(); }));
    const int32_t slot = accepted.results[0];
    EXPECT_GE(slot, 0);
    ring.cancel(accepted, ignored);
    EXPECT_TRUE(turn_until(ring, [&] { return accepted.over; }));
    for (int i = 0; i < 3; ++i) ring.turn(0);
    ::close(door->fd);
    return {std::move(peer), static_cast<Slot>(slot)};
  }
  static std::string take(UringRing& ring, int32_t result, uint32_t flags) {
    if (!(flags & kHasBuffer)) return {};
    std::string text(
        as_text(ring.buffer(buffer_id(flags)).first(static_cast<size_t>(std::max(result, 0)))));
    ring.give_back(buffer_id(flags));
    return text;
  }
};

std::string pattern(size_t bytes, uint64_t seed = 1) {
  SeededRandom random(seed);
  std::string text(bytes, '\0');
  random.fill(std::as_writable_bytes(std::span(text)));
  return text;
}

TEST_F(UringTest, ConnectGivesASlotFromTheAskedSource) {
  auto ring = make();
  auto door = open_listener({"127.0.0.1", 0}, 0, 0, false);
  ASSERT_TRUE(door.has_value());
  Note accepted, connected, sent, received;
  ring->accept(door->fd, accepted);
  ring->connect({.from_address = 0x7f000a01, .to_address = 0x7f000001, .to_port = door->port},
                connected);
  ASSERT_TRUE(turn_until(*ring, [&] { return connected.over && !accepted.results.empty(); }));
  ASSERT_GE(connected.last(), 0);
  const auto there = static_cast<Slot>(accepted.results[0]);
  EXPECT_EQ(ring->peer_address(there), 0x7f000a01u);
  ring->send(static_cast<Slot>(connected.last()), as_bytes("hello"), sent);
  ring->recv(there, received);
  ASSERT_TRUE(turn_until(*ring, [&] { return received.over; }));
  EXPECT_EQ(received.last(), 5);
  ring->give_back(buffer_id(received.flags));
  ::close(door->fd);
}

TEST_F(UringTest, AConnectThatFailsIsToldAtATurn) {
  auto ring = make();
  auto door = open_listener({"127.0.0.1", 0}, 0, 0, false);
  ASSERT_TRUE(door.has_value());
  Note taken, refused;
  ring->connect({.from_address = 0x7f000001,
                 .from_port    = door->port,  // somebody listens there
                 .to_address   = 0x7f000001,
                 .to_port      = door->port},
                taken);
  EXPECT_TRUE(taken.results.empty());
  ASSERT_TRUE(turn_until(*ring, [&] { return taken.over; }));
  EXPECT_EQ(taken.last(), -EADDRINUSE);
  ::close(door->fd);
  ring->connect({.to_address = 0x7f000001, .to_port = door->port}, refused);
  ASSERT_TRUE(turn_until(*ring, [&] { return refused.over; }));
  EXPECT_EQ(refused.last(), -ECONNREFUSED);
}

TEST_F(UringTest, ConnectingIntoAFullTableHoldsNothing) {
  auto ring = make();
  auto door = open_listener({"127.0.0.1", 0}, 0, 0, false);
  ASSERT_TRUE(door.has_value());
  std::array<Note, 33> notes;  // small() has 32 slots
  for (Note& note : notes) ring->connect({.to_address = 0x7f000001, .to_port = door->port}, note);
  const auto over = [&] { return std::ranges::all_of(notes, [](auto& n) { return n.over; }); };
  ASSERT_TRUE(turn_until(*ring, over));
  EXPECT_EQ(std::ranges::count_if(notes, [](auto& n) { return n.last() == -ENFILE; }), 1);
  EXPECT_EQ(std::ranges::count_if(notes, [](auto& n) { return n.last() >= 0; }), 32);
  ::close(door->fd);
}

TEST_F(UringTest, AcceptTellsThePeersAddress) {
  auto ring         = make();
  auto [peer, slot] = connected(*ring);
  EXPECT_EQ(ring->peer_address(slot), INADDR_LOOPBACK);
  Note closed;
  ring->close(slot, closed);
  EXPECT_TRUE(turn_until(*ring, [&] { return closed.over; }));
  EXPECT_EQ(closed.last(), 0);
  EXPECT_EQ(peer.read_some(), "");
}

TEST_F(UringTest, TwoListenersOnOneRing) {
  auto ring = make();
  auto one  = open_listener({"127.0.0.1", 0}, 0, 0, false);
  auto two  = open_listener({"127.0.0.1", 0}, 0, 0, false);
  Note first, second, ignored;
  ring->accept(one->fd, first);
  ring->accept(two->fd, second);
  ring->turn(0);
  std::vector<Peer> peers;
  for (int i = 0; i < 5; ++i) {
    peers.emplace_back(one->port);
    if (i % 2) peers.emplace_back(two->port);
  }
  EXPECT_TRUE(
      turn_until(*ring, [&] { return first.results.size() == 5 && second.results.size() == 2; }));
  // Cancelling one leaves the other.
  ring->cancel(first, ignored);
  EXPECT_TRUE(turn_until(*ring, [&] { return first.over; }));
  EXPECT_EQ(first.last(), -ECANCELED);
  EXPECT_FALSE(second.over);
  peers.emplace_back(two->port);
  EXPECT_TRUE(turn_until(*ring, [&] { return second.results.size() == 3; }));
  // And again.
  first.over = false;
  ring->accept(one->fd, first);
  peers.emplace_back(one->port);
  EXPECT_TRUE(turn_until(*ring, [&] { return first.results.size() == 7; }));
  EXPECT_GE(first.last(), 0);
  for (Note* note : {&first, &second}) ring->cancel(*note, ignored);
  EXPECT_TRUE(turn_until(*ring, [&] { return first.over && second.over; }));
  ::close(one->fd);
  ::close(two->fd);
}

TEST_F(UringTest, MultishotReceiveRunsOutOfBuffersAndGoesOn) {
  auto ring              = make();
  auto [peer, slot]      = connected(*ring);
  const std::string text = pattern(200'000);
  std::string got;
  std::vector<std::pair<int32_t, uint32_t>> held;  // buffers kept, to exhaust them
  int endings = 0;
  bool armed  = false;
  Note recv;
  recv.then = [&](int32_t result, uint32_t flags) {
    if (flags & kHasBuffer) held.push_back({result, flags});
    if (flags & kMore) return;
    armed = false;
    ++endings;
    if (!(flags & kHasBuffer)) {
      EXPECT_TRUE(result == -ENOBUFS || result == -ECANCELED) << result;
    }
  };
  std::thread writer([&, &p = peer] { p.write(text); });
  for (int i = 0; i < kTurnsMax && got.size() < text.size(); ++i) {
    if (!armed) {
      ring->recv_multishot(slot, recv);
      armed = true;
    }
    ring->turn(10 * kNsPerMs);
    EXPECT_EQ(ring->buffers_lent(), held.size());
    EXPECT_LE(ring->buffers_lent(), 8u);
    if (armed && held.size() < 8 && got.size() + held.size() * 1024 < text.size()) continue;
    for (const auto& [result, flags] : held) got += take(*ring, result, flags);
    held.clear();
    EXPECT_EQ(ring->buffers_lent(), 0u);
  }
  writer.join();
  EXPECT_EQ(got, text);
  EXPECT_GT(endings, 5) << "the buffers never ran out";
  Note cancelled, closed;
  if (armed) {
    ring->cancel(recv, cancelled);
    EXPECT_TRUE(turn_until(*ring, [&] { return recv.over && cancelled.over; }));
  }
  ring->close(slot, closed);
  EXPECT_TRUE(turn_until(*ring, [&] { return closed.over; }));
}

TEST_F(UringTest, CancelEndsWhatWaitsAndMissesWhatIsOver) {
  auto ring         = make();
  auto [peer, slot] = connected(*ring, 4096);
  Note recv, send, c1, c2, c3, closed;
  const std::string big = pattern(4 << 20);
  ring->recv_multishot(slot, recv);
  ring->send(slot, as_bytes(big), send);
  ring->turn(0);
  ring->turn(0);
  EXPECT_TRUE(recv.results.empty());
  ring->cancel(recv, c1);
  if (!send.over) ring->cancel(send, c2);
  EXPECT_TRUE(turn_until(*ring, [&] { return recv.over && send.over && c1.over; }));
  EXPECT_EQ(recv.last(), -ECANCELED);
  EXPECT_EQ(c1.last(), 0);
  ring->cancel(recv, c3);
  EXPECT_TRUE(turn_until(*ring, [&] { return c3.over; }));
  EXPECT_EQ(c3.last(), -ENOENT);
  ring->close(slot, closed);
  EXPECT_TRUE(turn_until(*ring, [&] { return closed.over; }));
}

TEST_F(UringTest, GatheredSendsKeepTheirOrder) {
  auto ring              = make();
  auto [peer, slot]      = connected(*ring);
  const std::string text = pattern(300'000);
  std::string got;
  std::thread reader([&, &p = peer] {
    while (got.size() < text.size()) {
      const std::string some = p.read_some();
      if (some.empty()) return;
      got += some;
    }
  });
  size_t sent = 0;
  while (sent < text.size()) {
    std::vector<iovec> parts;
    for (size_t at = sent; at < text.size() && parts.size() < 16; at += 1000)
      parts.push_back(
          {const_cast<char*>(text.data()) + at, std::min<size_t>(1000, text.size() - at)});
    Note send;
    ring->sendv(slot, parts, send);
    ring->turn(0);
    parts.clear();  // the array may go once turn() has returned
    ASSERT_TRUE(turn_until(*ring, [&] { return send.over; }));
    ASSERT_GT(send.last(), 0);
    sent += static_cast<size_t>(send.last());
  }
  Note shut, closed;
  ring->shutdown(slot, shut);
  EXPECT_TRUE(turn_until(*ring, [&] { return shut.over; }));
  reader.join();
  EXPECT_EQ(got, text);
  EXPECT_EQ(peer.read_some(), "") << "half-closed";
  ring->close(slot, closed);
  EXPECT_TRUE(turn_until(*ring, [&] { return closed.over; }));
}

TEST_F(UringTest, MoreOperationsThanTheSubmissionRingHolds) {
  RingConfig config = small();
  config.sq_entries = 8;
  auto ring         = make(config);
  auto [peer, slot] = connected(*ring);
  std::vector<std::unique_ptr<Note>> notes;
  std::vector<std::array<iovec, 2>> parts(100);
  for (size_t i = 0; i < 100; ++i) {
    notes.push_back(std::make_unique<Note>());
    parts[i] = {iovec{const_cast<char*>("ab"), 2}, iovec{const_cast<char*>("cd"), 2}};
    ring->sendv(slot, parts[i], *notes.back());
  }
  EXPECT_TRUE(turn_until(*ring, [&] {
    return std::ranges::all_of(notes, [](const auto& note) { return note->over; });
  }));
  std::string got;
  while (got.size() < 400) got += peer.read_some();
  for (size_t at = 0; at < 400; at += 4) ASSERT_EQ(got.substr(at, 4), "abcd");
  Note closed;
  ring->close(slot, closed);
  EXPECT_TRUE(turn_until(*ring, [&] { return closed.over; }));
}

// A connection is passed after a cancelled multishot receive while the peer keeps writing: no byte is
// lost or doubled, in either ring's hands.
TEST_F(UringTest, PassBetweenThreadsKeepsEveryByte) {
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> target_fd{-1};
    std::atomic<int> slot_there{-2};
    std::string got_here, got_there;
    const std::string text = pattern(400'000, static_cast<uint64_t>(round));
    std::thread second([&] {
      auto ring = make();
      target_fd = ring->bell_fd();
      target_fd.notify_one();
      // Turns while it waits, as a shard does: passing needs the target's attention.
      for (int i = 0; i < kTurnsMax && slot_there.load() == -2; ++i) ring->turn(kNsPerMs);
      if (slot_there.load() < 0) return;
      const auto slot = static_cast<Slot>(slot_there.load());
      Note recv;
      bool armed = false;
      bool eof   = false;
      recv.then  = [&](int32_t result, uint32_t flags) {
        got_there += take(*ring, result, flags);
        if (result == 0) eof = true;
        armed = (flags & kMore) != 0;
      };
      for (int i = 0; i < kTurnsMax && !eof; ++i) {
        if (!armed) {
          ring->recv_multishot(slot, recv);
          armed = true;
        }
        ring->turn(10 * kNsPerMs);
      }
      Note closed;
      ring->close(slot, closed);
      EXPECT_TRUE(turn_until(*ring, [&] { return closed.over; }));
    });
    target_fd.wait(-1);
    auto ring         = make();
    auto [peer, slot] = connected(*ring);
    std::thread writer([&, &p = peer] {
      p.write(text);
      ::shutdown(p.fd, SHUT_WR);
    });
    Note recv, cancelled, passed, closed;
    bool armed = true;
    recv.then  = [&](int32_t result, uint32_t flags) {
      got_here += take(*ring, result, flags);
      armed = (flags & kMore) != 0;
    };
    ring->recv_multishot(slot, recv);
    EXPECT_TRUE(turn_until(*ring, [&] {
      if (!armed && got_here.size() < 20'000) {
        ring->recv_multishot(slot, recv);
        armed = true;
      }
      return got_here.size() >= 20'000;
    }));
    if (armed) {
      ring->cancel(recv, cancelled);
      EXPECT_TRUE(turn_until(*ring, [&] { return !armed; }));
    }
    ring->pass(slot, target_fd, passed);
    EXPECT_TRUE(turn_until(*ring, [&] { return passed.over; }));
    EXPECT_GE(passed.last(), 0);
    ring->close(slot, closed);
    EXPECT_TRUE(turn_until(*ring, [&] { return closed.over; }));
    slot_there = passed.last();
    second.join();
    writer.join();
    ASSERT_EQ(got_here.size() + got_there.size(), text.size());
    ASSERT_EQ(got_here + got_there, text);
  }
}

// What FakeRing does, too: a place is free when its close is executed, and another ring may fill it before
// the owner hears of the close.
TEST_F(UringTest, APlaceIsFreeBeforeItsCloseIsTold) {
  RingConfig tiny   = small();
  tiny.sq_entries   = 1;
  tiny.slots        = 1;
  auto target       = make(tiny);
  auto ring         = make();
  auto [old, place] = connected(*target);
  auto [peer, slot] = connected(*ring);
  Note closed, missing, passed, sent, a, b;
  target->close(place, closed);
  target->cancel(passed, missing);  // there is no room for a second one: the first is submitted
  EXPECT_EQ(old.read_some(), "") << "closed";
  ring->pass(slot, target->bell_fd(), passed);
  EXPECT_TRUE(turn_until(*ring, [&] { return passed.over; }));
  EXPECT_EQ(passed.last(), static_cast<int32_t>(place));
  EXPECT_FALSE(closed.over);
  EXPECT_TRUE(turn_until(*target, [&] { return closed.over && missing.over; }));
  EXPECT_EQ(closed.last(), 0);
  // The close was the old one's.
  target->send(place, as_bytes("here"), sent);
  EXPECT_TRUE(turn_until(*target, [&] { return sent.over; }));
  EXPECT_EQ(peer.read_some(), "here");
  target->close(place, a);
  EXPECT_TRUE(turn_until(*target, [&] { return a.over; }));
  ring->close(slot, b);
  EXPECT_TRUE(turn_until(*ring, [&] { return b.over; }));
}

TEST_F(UringTest, PassIntoAFullTableIsEnfile) {
  RingConfig tiny = small();
  tiny.slots      = 1;
  auto target     = make(tiny);
  auto ring       = make();
  auto one        = connected(*ring);
  auto two        = connected(*ring);
  Note first, second, closed, a, b;
  ring->pass(one.second, target->bell_fd(), first);
  EXPECT_TRUE(turn_until(*ring, [&] {
    target->turn(0);
    return first.over;
  }));
  EXPECT_EQ(first.last(), 0);
  ring->pass(two.second, target->bell_fd(), second);
  EXPECT_TRUE(turn_until(*ring, [&] {
    target->turn(0);
    return second.over;
  }));
  EXPECT_EQ(second.last(), -ENFILE);
  // It is still good here.
  Note send;
  ring->send(two.second, as_bytes("still here"), send);
  EXPECT_TRUE(turn_until(*ring, [&] { return send.over; }));
  EXPECT_EQ(two.first.read_some(), "still here");
  ring->close(one.second, a);
  ring->close(two.second, b);
  target->close(static_cast<Slot>(first.last()), closed);
  EXPECT_TRUE(turn_until(*ring, [&] { return a.over && b.over; }));
  EXPECT_TRUE(turn_until(*target, [&] { return closed.over; }));
}

TEST_F(UringTest, AFullTableEndsTheAccept) {
  RingConfig tiny = small();
  tiny.slots      = 2;
  auto ring       = make(tiny);
  auto door       = open_listener({"127.0.0.1", 0}, 0, 0, false);
  Note accepted, ignored;
  ring->accept(door->fd, accepted);
  ring->turn(0);
  std::vector<Peer> peers;
  for (int i = 0; i < 3; ++i) peers.emplace_back(door->port);
  EXPECT_TRUE(turn_until(*ring, [&] { return accepted.over; })) << "a full table must be reported";
  EXPECT_EQ(accepted.last(), -ENFILE);
  int good = 0;
  for (const int32_t result : accepted.results) good += result >= 0;
  EXPECT_EQ(good, 2);
  // Whoever knocks now stays in the backlog.
  peers.emplace_back(door->port);
  for (int i = 0; i < 5; ++i) ring->turn(0);
  pollfd last{peers.back().fd, POLLIN, 0};
  EXPECT_EQ(::poll(&last, 1, 0), 0) << "closed by a table that was known to be full";
  if (!accepted.over) ring->cancel(accepted, ignored);
  ::close(door->fd);
}

TEST_F(UringTest, BellsFromAnotherRingAndFromAForeignThread) {
  std::unique_ptr<UringRing> sleeper = make();
  UringBell bell;
  bell.attach(*sleeper);
  // From a thread without a ring: the sleeper's next turn, told to wait for long, returns at once.
  for (int i = 0; i < 50; ++i) {
    bell.fall_asleep();
    std::thread ringer([&] { bell.ring(); });
    RealClock clock;
    const uint64_t before = clock.now_ns();
    sleeper->turn(20 * kNsPerS);
    EXPECT_LT(clock.now_ns() - before, 10 * kNsPerS) << "the bell was not heard";
    bell.wake_up();
    ringer.join();
  }
  // From another ring.
  for (int i = 0; i < 50; ++i) {
    bell.fall_asleep();
    std::thread ringer([&] {
      auto ring = make();
      if (bell.claim()) ring->ring_bell(sleeper->bell_fd());
      ring->turn(0);
    });
    RealClock clock;
    const uint64_t before = clock.now_ns();
    sleeper->turn(20 * kNsPerS);
    EXPECT_LT(clock.now_ns() - before, 10 * kNsPerS);
    bell.wake_up();
    ringer.join();
  }
  EXPECT_FALSE(bell.claim()) << "awake";
}

TEST_F(UringTest, WriteSyncThenRead) {
  auto ring    = make();
  char name[]  = "/tmp/uring_test_XXXXXX";
  const int fd = ::mkstemp(name);
  ASSERT_GE(fd, 0);
  ::unlink(name);
  const std::string text = pattern(10'000);
  Note written, read;
  ring->write_sync(fd, as_bytes(text), 4096, written);
  EXPECT_TRUE(turn_until(*ring, [&] { return written.over; }));
  EXPECT_EQ(written.last(), 10'000);
  std::string back(10'000, '\0');
  ring->read(fd, std::as_writable_bytes(std::span(back)), 4096, read);
  EXPECT_TRUE(turn_until(*ring, [&] { return read.over; }));
  EXPECT_EQ(back, text);
  ::close(fd);
  Note bad;
  const int read_only = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ring->write_sync(read_only, as_bytes(text), 0, bad);
  EXPECT_TRUE(turn_until(*ring, [&] { return bad.over; }));
  EXPECT_EQ(bad.last(), -EBADF);
  ::close(read_only);
}

TEST(AddressOf, FamiliesAndMappings) {
  sockaddr_storage storage{};
  EXPECT_EQ(address_of(storage), 0u);
  auto& four           = reinterpret_cast<sockaddr_in&>(storage);
  four.sin_family      = AF_INET;
  four.sin_addr.s_addr = htonl(0x0a000001);
  EXPECT_EQ(address_of(storage), 0x0a000001u);
  auto six = [](const char* text) {
    sockaddr_storage s{};
    auto& v6       = reinterpret_cast<sockaddr_in6&>(s);
    v6.sin6_family = AF_INET6;
    EXPECT_EQ(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return address_of(s);
  };
  EXPECT_EQ(six("::1"), 0x7f000001u);
  EXPECT_EQ(six("::ffff:10.0.0.1"), 0x0a000001u);
  EXPECT_EQ(six("2001:db8::1"), six("2001:db8::2")) << "one subscriber holds a /64";
  EXPECT_NE(six("2001:db8::1"), six("2001:db8:0:1::1"));
  for (int net = 0; net < 4096; ++net)
    ASSERT_EQ(six(fmt::format("2001:db8:1:{:x}::1", net).c_str()) >> 28, 15u)
        << "nobody gets the rights of 127.0.0.0/8, or those of an address that is not known";
}

}  // namespace
}  // namespace ringtalk::engine
