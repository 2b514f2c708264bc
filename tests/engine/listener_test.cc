#include "engine/listener.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <vector>

#include "engine/fake_ring.h"
#include "engine/uring.h"

namespace ringtalk::engine {
namespace {

class Quiet final : public LoopClient {
 public:
  void on_turn() override {}
  void on_turn_end() override {}
  bool work_waits() override { return false; }
};

class ListenerTest : public testing::Test, public Listener::Owner {
 protected:
  ListenerTest() { loop_.set_client(quiet_); }
  void on_connection(Listener&, Slot slot, uint32_t address) override {
    slots_.push_back(slot);
    addresses_.push_back(address);
  }
  void on_accept_failed(int error) override { failures_.push_back(error); }
  void turns(int n = 6) {
    for (int i = 0; i < n; ++i) loop_.turn(false);
  }
  void close_slot(size_t i) {
    ring_.close(slots_[i], closes_.emplace_back(Completion{ignore}));
    turns();
  }

  static void ignore(Completion&, int32_t, uint32_t) noexcept {}

  FakeClock clock_;
  FakeWorld world_{clock_, nullptr, 5};
  FakeRing ring_{world_, {.slots = 4, .buffers = 4}};
  Metrics metrics_;
  Loop loop_{ring_, clock_, ring_.bell(), metrics_};
  Quiet quiet_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> addresses_;
  std::vector<int> failures_;
  std::deque<Completion> closes_;
};

TEST_F(ListenerTest, AcceptsOnlyWhenAskedAndTellsTheAddress) {
  const int fd = world_.listen();
  Listener listener(loop_, *this, fd);
  auto client = world_.connect(fd, 0x0a0b0c0d);
  turns();
  EXPECT_TRUE(slots_.empty());
  listener.resume();
  listener.resume();
  turns();
  ASSERT_EQ(slots_.size(), 1u);
  EXPECT_EQ(addresses_[0], 0x0a0b0c0du);
  EXPECT_TRUE(client.accepted());
  listener.close();
  turns();
  EXPECT_TRUE(listener.closed());
  EXPECT_EQ(ring_.in_flight(), 0u);
}

TEST_F(ListenerTest, APauseLeavesThemInTheBacklog) {
  const int fd = world_.listen();
  Listener listener(loop_, *this, fd);
  listener.resume();
  turns();
  listener.pause();
  turns();
  auto client = world_.connect(fd);
  turns();
  EXPECT_EQ(world_.waiting(fd), 1u);
  EXPECT_EQ(client.end(), FakeClient::End::open);
  listener.resume();
  turns();
  EXPECT_EQ(slots_.size(), 1u);
  // Pause and resume in one turn: still accepting.
  listener.pause();
  listener.resume();
  turns();
  world_.connect(fd);
  turns();
  EXPECT_EQ(slots_.size(), 2u);
  listener.close();
  turns();
}

TEST_F(ListenerTest, AFullTableWaitsBeforeItTriesAgain) {
  const int fd = world_.listen();
  Listener listener(loop_, *this, fd);
  listener.resume();
  std::vector<FakeClient> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(world_.connect(fd));
  turns();
  ASSERT_EQ(slots_.size(), 4u);
  EXPECT_EQ(failures_, (std::vector<int>{ENFILE}));
  clients.push_back(world_.connect(fd));
  const uint64_t before = ring_.count(FakeOp::accept);
  turns(50);
  EXPECT_EQ(ring_.count(FakeOp::accept), before) << "it spins";
  EXPECT_EQ(world_.waiting(fd), 1u) << "nobody is closed whom there may soon be room for";
  close_slot(0);
  clock_.advance(Listener::kRetryNs + 20 * kNsPerMs);
  turns();
  EXPECT_EQ(slots_.size(), 5u);
  EXPECT_EQ(world_.waiting(fd), 0u);
  listener.close();
  turns();
}

TEST_F(ListenerTest, SurvivesEveryEnding) {
  ring_.faults() = {.lose_more = 300, .cancelled = 100, .accept_emfile = 100, .delay = 200};
  const int fd   = world_.listen();
  Listener listener(loop_, *this, fd);
  listener.resume();
  for (int i = 0; i < 500; ++i) {
    world_.connect(fd);
    if (world_.random().below(5) == 0) {
      listener.pause();
      turns(static_cast<int>(world_.random().below(3)));
      listener.resume();
    }
    turns(2);
    if (world_.random().below(3) == 0) clock_.advance(Listener::kRetryNs + 10 * kNsPerMs);
    while (ring_.slots_used() > 2) {
      ring_.close(slots_.back(), closes_.emplace_back(Completion{ignore}));
      slots_.pop_back();
      turns(12);
    }
  }
  for (int i = 0; i < 100; ++i) {
    clock_.advance(Listener::kRetryNs + 10 * kNsPerMs);
    turns(3);
    while (ring_.slots_used() > 2) {
      ring_.close(slots_.back(), closes_.emplace_back(Completion{ignore}));
      slots_.pop_back();
      turns(12);
    }
  }
  EXPECT_EQ(world_.waiting(fd), 0u);
  EXPECT_FALSE(failures_.empty());
  listener.close();
  for (int i = 0; i < 20; ++i) turns();
  EXPECT_TRUE(listener.closed());
}

// A door that pauses as soon as the table is full, on the kernel's own ring.
class TinyTable : public testing::TestWithParam<uint32_t>, public Listener::Owner {
 protected:
  void on_connection(Listener& door, Slot slot, uint32_t) override {
    slots_.push_back(slot);
    if (slots_.size() == GetParam()) door.pause();
  }
  void on_accept_failed(int error) override { failures_.push_back(error); }
  static int connect_to(uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family      = AF_INET;
    to.sin_port        = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int rc       = ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to);
    EXPECT_TRUE(rc == 0 || errno == EINPROGRESS);
    return fd;
  }
  static void ignore(Completion&, int32_t, uint32_t) noexcept {}

  std::vector<Slot> slots_;
  std::vector<int> failures_;
};

TEST_P(TinyTable, ServesACrowdOneAfterTheOtherAndClosesNobody) {
  constexpr size_t kCrowd = 40;
  auto ring =
      UringRing::make({.sq_entries = 64, .cq_entries = 256, .slots = GetParam(), .buffers = 8});
  if (!ring) GTEST_SKIP() << "this kernel forbids io_uring";
  RealClock clock;
  UringBell bell;
  bell.attach(**ring);
  Metrics metrics;
  Loop loop(**ring, clock, bell, metrics);
  Quiet quiet;
  loop.set_client(quiet);
  const auto door = open_listener({"127.0.0.1", 0}, 0, 0, false);
  ASSERT_TRUE(door);
  Listener listener(loop, *this, door->fd);
  Completion ignored{ignore};
  const std::byte hello{'!'};

  std::vector<int> crowd;
  for (size_t i = 0; i < kCrowd; ++i) crowd.push_back(connect_to(door->port));
  listener.resume();
  size_t served = 0;
  for (int turn = 0; turn < 10'000 && served < kCrowd; ++turn) {
    loop.turn(false);
    if (slots_.size() < GetParam() && served + slots_.size() < kCrowd) continue;
    for (int i = 0; i < 5; ++i)
      loop.turn(false);  // what is armed in spite of the pause would take one now
    for (const Slot slot : slots_) {
      (*ring)->send(slot, {&hello, 1}, ignored);
      loop.turn(false);
      (*ring)->close(slot, ignored);
      ++served;
    }
    slots_.clear();
    loop.turn(false);
    listener.resume();
  }
  EXPECT_EQ(served, kCrowd);
  EXPECT_TRUE(failures_.empty()) << "errno " << failures_.front();
  size_t greeted = 0;
  for (const int fd : crowd) {
    char byte = 0;
    greeted += ::recv(fd, &byte, 1, 0) == 1;
    ::close(fd);
  }
  EXPECT_EQ(greeted, kCrowd) << "the others were closed unserved";
  listener.close();
  for (int turn = 0; turn < 100 && !listener.closed(); ++turn) loop.turn(false);
  EXPECT_TRUE(listener.closed());
}

INSTANTIATE_TEST_SUITE_P(Slots, TinyTable, testing::Values(1u, 2u, 3u));

TEST(OpenListener, PortsSharingAndErrors) {
  const auto one = open_listener({"127.0.0.1", 0}, 65536, 65536, true);
  ASSERT_TRUE(one);
  EXPECT_GT(one->port, 0);
  const auto two = open_listener({"127.0.0.1", one->port}, 0, 0, true);
  ASSERT_TRUE(two) << "shards share an address";
  EXPECT_EQ(two->port, one->port);
  const auto alone = open_listener({"127.0.0.1", one->port}, 0, 0, false);
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().os, EADDRINUSE);
  EXPECT_FALSE(open_listener({"no such host.invalid", 0}, 0, 0, true));
  EXPECT_FALSE(open_listener({"127.0.0.256", 0}, 0, 0, true));
  int bytes           = 0;
  socklen_t bytes_len = sizeof bytes;
  getsockopt(one->fd, SOL_SOCKET, SO_RCVBUF, &bytes, &bytes_len);
  EXPECT_EQ(bytes, 2 * 65536) << "the kernel doubles it";
  ::close(one->fd);
  ::close(two->fd);
}

}  // namespace
}  // namespace ringtalk::engine
