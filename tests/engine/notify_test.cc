#include "engine/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <filesystem>

#include "engine/base/units.h"

namespace ringtalk::engine {
namespace {

// The manager's end. Names with a leading @ are abstract, as in the variable.
class Manager {
 public:
  explicit Manager(const std::string& name) : name_(name) {
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, name.data(), name.size());
    if (name[0] == '@') at.sun_path[0] = '\0';
    const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), bytes), 0) << std::strerror(errno);
  }
  ~Manager() {
    ::close(fd_);
    if (name_[0] != '@') ::unlink(name_.c_str());
  }
  std::string next() {
    char text[4096];
    const ssize_t bytes = ::recv(fd_, text, sizeof text, 0);
    return bytes < 0 ? "nothing" : std::string(text, static_cast<size_t>(bytes));
  }

 private:
  const std::string name_;
  int fd_;
};

std::string unique_name(const char* kind) {
  return std::string("ringtalk-notify-test-") + kind + "-" + std::to_string(::getpid());
}

uint64_t monotonic_us() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1'000'000 + uint64_t(now.tv_nsec) / 1000;
}

void expect_protocol(const std::string& name) {
  Manager manager(name);
  std::string problem;
  Notify notify({{"NOTIFY_SOCKET", name}, {"WATCHDOG_USEC", "3000000"}}, problem);
  EXPECT_EQ(problem, "");
  ASSERT_TRUE(notify.wanted());
  EXPECT_EQ(notify.watchdog_ns(), 3 * kNsPerS);
  EXPECT_TRUE(notify.status("opening\nREADY=1"));
  EXPECT_EQ(manager.next(), "STATUS=opening READY=1") << "a status must not become an assignment";
  EXPECT_TRUE(notify.ready("serving"));
  EXPECT_EQ(manager.next(), "READY=1\nSTATUS=serving");
  const uint64_t before = monotonic_us();
  EXPECT_TRUE(notify.reloading());
  const std::string reloading = manager.next();
  const std::string head      = "RELOADING=1\nMONOTONIC_USEC=";
  ASSERT_TRUE(reloading.starts_with(head)) << reloading;
  const uint64_t told = std::stoull(reloading.substr(head.size()));
  EXPECT_GE(told, before);
  EXPECT_LE(told, monotonic_us());
  EXPECT_TRUE(notify.feed());
  EXPECT_EQ(manager.next(), "WATCHDOG=1");
  EXPECT_TRUE(notify.stopping("draining"));
  EXPECT_EQ(manager.next(), "STOPPING=1\nSTATUS=draining");
  EXPECT_EQ(manager.next(), "nothing");
}

TEST(Notify, SpeaksToAPath) { expect_protocol(testing::TempDir() + unique_name("path")); }
TEST(Notify, SpeaksToAnAbstractName) { expect_protocol("@" + unique_name("abstract")); }

TEST(Notify, WithoutASocketNothingHappens) {
  std::string problem;
  Notify notify({{"WATCHDOG_USEC", "1000"}}, problem);
  EXPECT_EQ(problem, "");
  EXPECT_FALSE(notify.wanted());
  EXPECT_EQ(notify.watchdog_ns(), 0u);
  EXPECT_FALSE(notify.ready("x"));
  EXPECT_FALSE(notify.feed());
}

TEST(Notify, NonsenseIsRefusedWithAReason) {
  for (const std::string& name :
       {std::string("vsock:2:1234"), std::string("relative/path"), std::string("@"),
        std::string("/"), "/" + std::string(200, 'x')}) {
    std::string problem;
    Notify notify({{"NOTIFY_SOCKET", name}}, problem);
    EXPECT_FALSE(notify.wanted()) << name;
    EXPECT_FALSE(problem.empty()) << name;
  }
  std::string problem;
  Notify nobody({{"NOTIFY_SOCKET", "/nonexistent/socket"}}, problem);
  EXPECT_FALSE(nobody.ready("x")) << "nobody listens: told, not fatal";
}

TEST(Notify, AManagerThatDoesNotReadCostsABoundedWait) {
  const std::string name = "@" + unique_name("full");
  Manager manager(name);
  std::string problem;
  Notify notify({{"NOTIFY_SOCKET", name}}, problem);
  int sent = 0;
  while (sent < 10'000 && notify.feed()) ++sent;
  EXPECT_GT(sent, 0);
  EXPECT_LT(sent, 10'000) << "the queue of a socket is bounded";
}

TEST(Notify, AWatchdogForAnotherProcessIsNotOurs) {
  std::string problem;
  const std::string name = "@" + unique_name("pid");
  const auto watchdog    = [&](const std::string& pid, const std::string& usec) {
    return Notify({{"NOTIFY_SOCKET", name}, {"WATCHDOG_PID", pid}, {"WATCHDOG_USEC", usec}},
                     problem)
        .watchdog_ns();
  };
  EXPECT_EQ(watchdog(std::to_string(::getpid()), "2000"), 2 * kNsPerMs);
  EXPECT_EQ(watchdog("1", "2000"), 0u);
  EXPECT_EQ(watchdog(std::to_string(::getpid()), "-5"), 0u);
  EXPECT_EQ(watchdog(std::to_string(::getpid()), "5 s"), 0u);
  EXPECT_GT(watchdog(std::to_string(::getpid()), "18446744073709551615"), kNsPerS) << "no overflow";
}

// --- the watchdog ----------------------------------------------------------------------------------------

using Turns = std::vector<uint64_t>;

TEST(Watchdog, FeedsAtHalfThePeriodWhenEveryShardTurned) {
  Watchdog watchdog(10 * kNsPerS, 2);
  EXPECT_TRUE(watchdog.look(0, Turns{1, 1}).feed);
  EXPECT_FALSE(watchdog.look(4 * kNsPerS, Turns{5, 5}).feed) << "not yet";
  EXPECT_TRUE(watchdog.look(5 * kNsPerS, Turns{6, 6}).feed);
}

TEST(Watchdog, OneSilentShardStarvesItUntilItTurnsAgain) {
  Watchdog watchdog(10 * kNsPerS, 3);
  ASSERT_TRUE(watchdog.look(0, Turns{1, 1, 1}).feed);
  for (uint64_t s = 5; s < 60; ++s) {
    const auto verdict = watchdog.look(s * kNsPerS, Turns{s, 1, s});
    EXPECT_FALSE(verdict.feed);
    EXPECT_EQ(verdict.silent, 1u);
  }
  const auto verdict = watchdog.look(60 * kNsPerS, Turns{60, 2, 60});
  EXPECT_TRUE(verdict.feed);
  EXPECT_EQ(verdict.silent, Watchdog::kNobody);
}

TEST(Watchdog, AShardThatNeverTurnedIsSilent) {
  Watchdog watchdog(kNsPerS, 2);
  EXPECT_EQ(watchdog.look(0, Turns{1, 0}).silent, 1u);
}

TEST(Watchdog, OffIsOff) {
  Watchdog watchdog(0, 1);
  const auto verdict = watchdog.look(kNsPerS, Turns{0});
  EXPECT_FALSE(verdict.feed);
  EXPECT_EQ(verdict.silent, Watchdog::kNobody);
}

}  // namespace
}  // namespace ringtalk::engine
