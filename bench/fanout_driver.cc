// bench_fanout_driver: one user sends to a group, all others receive; every delivery is checked.
//
// Question      Deliveries per second, and the server's processor time per delivery, of durable messages
//               to a group of N others.
// Method        One thread on epoll. The first user of the token file sends, the next --receivers ones
//               receive. Closed loop: --window messages are unfinished; one is finished when it is
//               acknowledged and all receivers have it. Window 1: the server sends each message alone.
//               With more, what finishes together is followed together, and a server may send a receiver
//               all of it in one go. --answer: receivers answer with a 0x0302, as clients do.
// Checked       Each receiver gets every op once, in order, with the sender's bytes, the group's id and
//               sequence 0; ids rise, and are the same for all and in the ack; nothing is missing after
//               the drain. --raw leaves out what a server without ids cannot give. Any violation ends the
//               program with 2.
// What misleads Client and server share the machine: driver_cores says how much of it the client used.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>
#include <vector>

#include "bench/driver_settings.h"
#include "bench/flags.h"
#include "bench/histogram.h"
#include "bench/payload.h"
#include "bench/process_stat.h"
#include "bench/report.h"
#include "bench/wire.h"

namespace ringtalk::bench {
namespace {

constexpr int kExitFailed     = 1;
constexpr int kExitViolations = 2;

constexpr uint32_t kLoginsInFlightMax    = 200;  // below a server's cap of anonymous connections
constexpr uint32_t kConnectionsPerSource = 64;   // several addresses: caps per address, free ports
constexpr uint64_t kSecond               = 1'000'000'000;
constexpr uint64_t kSetupNsMax           = 120 * kSecond;
constexpr uint16_t kLoginSequence        = 1;
constexpr uint16_t kFirstSequence        = 2;
constexpr uint8_t kAndroid               = 0x12;
constexpr uint32_t kGroupText            = 0x11;  // msg_type
constexpr uint32_t kGroup                = 2;     // session_type
constexpr size_t kReceiveBytes           = 256 * 1024;

struct FanoutSettings {
  std::string host;
  uint16_t port      = 0;
  uint32_t receivers = 1000;
  uint32_t group     = 1;
  uint32_t window    = 1;
  uint32_t payload   = 120;
  double seconds     = 5;
  double warmup      = 1;
  double drain       = 15;  // seconds to wait for the last deliveries
  pid_t server       = 0;
  bool answer        = false;
  bool raw           = false;
  bool json          = false;
};

uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * kSecond + static_cast<uint64_t>(t.tv_nsec);
}

double seconds_of(uint64_t ns) { return static_cast<double>(ns) / 1e9; }

// A message in flight, found by op number modulo the window's slots.
struct Slot {
  uint64_t sent_ns    = 0;
  uint32_t id         = 0;
  uint32_t deliveries = 0;
  bool acked          = false;
};

struct Connection {
  int fd         = -1;
  bool logged_in = false;
  bool blocked   = false;  // waits for EPOLLOUT
  Buffer partial;          // head of a frame whose rest has not come
  Buffer out;
  size_t out_sent       = 0;
  uint64_t ops_received = 0;
  uint32_t push_id      = 0;
};

class Driver {
 public:
  Driver(const FanoutSettings& settings, std::vector<User> users)
      : settings_(settings), users_(std::move(users)), payload_(settings.payload) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    receive_.resize(kReceiveBytes + kFrameBytesMax);
    slots_.resize(std::bit_ceil(settings.window));
    connections_.resize(settings.receivers + 1);
  }

  int run() {
    if (!log_in_all()) return kExitFailed;
    load();
    drain();
    report_.count("receivers", settings_.receivers);
    report_.print(settings_.json);
    if (report_.count() > 0) return kExitViolations;
    if (!measured_)
      std::fprintf(stderr, "the server used no processor time: wrong --server-pid?\n");
    return measured_ ? 0 : kExitFailed;
  }

 private:
  // --- Connecting -------------------------------------------------------------------------------

  bool log_in_all() {
    uint64_t start = now_ns();
    for (uint32_t next = 0; logged_in_ < connections_.size();) {
      for (uint32_t i = 0; i < 16 && next < connections_.size(); ++i) {
        if (next - logged_in_ >= kLoginsInFlightMax) break;
        if (!connect_one(next)) return false;
        ++next;
      }
      bool more = next < connections_.size() && next - logged_in_ < kLoginsInFlightMax;
      turn(more ? 0 : kSecond / 10);
      if (report_.count() > 0 || now_ns() - start > kSetupNsMax) {
        std::fprintf(stderr, "login: %u of %zu connections after %.1f s\n", logged_in_,
                     connections_.size(), seconds_of(now_ns() - start));
        report_.print(false);
        return false;
      }
    }
    return true;
  }

  bool connect_one(uint32_t index) {
    Connection& c = connections_[index];
    c.fd          = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c.fd < 0) return failed("socket");
    int on = 1;
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    if (inet_pton(AF_INET, settings_.host.c_str(), &address.sin_addr) != 1)
      return failed("--connect");
    if ((ntohl(address.sin_addr.s_addr) >> 24) == 127) {
      sockaddr_in source{};
      source.sin_family      = AF_INET;
      source.sin_addr.s_addr = htonl(0x7f000002 + index / kConnectionsPerSource);
      if (bind(c.fd, reinterpret_cast<sockaddr*>(&source), sizeof source) != 0)
        return failed("bind");
    }
    address.sin_port = htons(settings_.port);
    if (connect(c.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      return failed("connect");
    epoll_event event{};
    event.events   = EPOLLIN;
    event.data.u32 = index;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &event);
    const User& user = users_[index];
    FrameWriter(c.out, kLoginRequest, kLoginSequence)
        .text(1, user.name)
        .text(2, "token:" + user.token)
        .number(3, 1)
        .number(4, kAndroid)
        .text(5, "bench_fanout_driver")
        .finish();
    flush(index);
    return true;
  }

  static bool failed(const char* what) {
    std::perror(what);
    return false;
  }

  // --- Load -------------------------------------------------------------------------------------

  void load() {
    sending_ = true;
    fill_window();
    run_for(settings_.warmup);
    double server_start = cpu_seconds(settings_.server).value_or(0);
    double driver_start = cpu_seconds(getpid()).value_or(0);
    uint64_t began      = now_ns();
    delivered_ = receives_ = finished_ = 0;
    measuring_                         = true;
    run_for(settings_.seconds);
    measuring_        = false;
    double elapsed    = seconds_of(now_ns() - began);
    double server_cpu = cpu_seconds(settings_.server).value_or(0) - server_start;
    double driver_cpu = cpu_seconds(getpid()).value_or(0) - driver_start;
    auto delivered    = static_cast<double>(delivered_);
    report_.number("measured_seconds", elapsed);
    report_.count("messages", finished_);
    report_.count("delivered", delivered_);
    report_.number("delivered_per_second", delivered / elapsed);
    report_.number("server_cpu_seconds", server_cpu);
    report_.number("server_cpu_us_per_delivery", delivered_ ? server_cpu * 1e6 / delivered : 0);
    report_.number("server_cores", server_cpu / elapsed);
    report_.number("driver_cores", driver_cpu / elapsed);
    report_.number("receives_per_delivery",
                   delivered_ ? static_cast<double>(receives_) / delivered : 0);
    if (delivered_ == 0) report_.violation("nothing was delivered while measuring");
    measured_ = delivered_ == 0 || server_cpu > 0;
  }

  void run_for(double seconds) {
    uint64_t end = now_ns() + static_cast<uint64_t>(seconds * 1e9);
    for (uint64_t now; (now = now_ns()) < end && report_.count() == 0;) turn(end - now);
  }

  void fill_window() {
    if (!sending_ || connections_[0].fd < 0) return;
    const uint64_t now = now_ns();
    bool sent          = false;
    for (; ops_sent_ - ops_done_ < settings_.window; sent = true) {
      uint64_t op         = ops_sent_++;
      slot_of(op)         = Slot{.sent_ns = now};
      const uint32_t from = users_[0].id;
      FrameWriter(connections_[0].out, kMessage, static_cast<uint16_t>(op + kFirstSequence))
          .number(1, from)
          .number(2, settings_.group)
          .number(3, 0)
          .number(4, 0)
          .number(5, kGroupText)
          .text(6, payload_.make(from, op))
          .finish();
    }
    if (sent && !connections_[0].blocked) flush(0);
  }

  void drain() {
    sending_     = false;
    uint64_t end = now_ns() + static_cast<uint64_t>(settings_.drain * 1e9);
    while (ops_done_ < ops_sent_ && now_ns() < end && report_.count() == 0) turn(kSecond / 100);
    uint64_t missing = 0;
    for (uint64_t op = ops_done_; op < ops_sent_; ++op) {
      if (!slot_of(op).acked) name(0, "never acknowledged, op", op);
      missing += settings_.receivers - slot_of(op).deliveries;
    }
    if (missing > 0) name(0, "deliveries that never came:", missing);
    for (uint32_t index = 1; index < connections_.size(); ++index)
      if (connections_[index].ops_received < ops_done_)
        name(index, "ops received", connections_[index].ops_received);
    report_.latency("all_have_it_us", latency_);
  }

  // --- Motion of bytes --------------------------------------------------------------------------

  void turn(uint64_t wait_ns) {
    timespec timeout{static_cast<time_t>(wait_ns / kSecond), static_cast<long>(wait_ns % kSecond)};
    epoll_event events[512];
    int count = epoll_pwait2(epoll_, events, 512, &timeout, nullptr);
    for (int i = 0; i < count; ++i) {
      uint32_t index = events[i].data.u32;
      if (connections_[index].fd >= 0 && events[i].events & EPOLLOUT) flush(index);
      if (connections_[index].fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(index);
    }
    fill_window();
  }

  void receive(uint32_t index) {
    Connection& c = connections_[index];
    size_t kept   = c.partial.size();
    std::copy(c.partial.begin(), c.partial.end(), receive_.begin());
    ssize_t got = recv(c.fd, receive_.data() + kept, kReceiveBytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return lose(index, got == 0 ? "closed by the server" : std::strerror(errno));
    if (index > 0) ++receives_;
    size_t size = kept + static_cast<size_t>(got);
    size_t used = 0;
    while (c.fd >= 0 && size - used >= kHeaderBytes) {
      const uint8_t* frame = receive_.data() + used;
      uint32_t length      = load_be32(frame);
      if (length < kHeaderBytes || length > kFrameBytesMax) return lose(index, "frame length");
      if (size - used < length) break;
      on_frame(index, Bytes(frame, length));
      used += length;
    }
    if (c.fd < 0) return;
    c.partial.assign(receive_.begin() + static_cast<ptrdiff_t>(used),
                     receive_.begin() + static_cast<ptrdiff_t>(size));
    if (!c.out.empty() && !c.blocked) flush(index);
  }

  void flush(uint32_t index) {
    Connection& c = connections_[index];
    while (c.fd >= 0 && c.out_sent < c.out.size()) {
      ssize_t put = send(c.fd, c.out.data() + c.out_sent, c.out.size() - c.out_sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EAGAIN) return set_blocked(index, true);
      if (put < 0) return lose(index, std::strerror(errno));
      c.out_sent += static_cast<size_t>(put);
    }
    c.out.clear();
    c.out_sent = 0;
    if (c.blocked) set_blocked(index, false);
  }

  void set_blocked(uint32_t index, bool blocked) {
    Connection& c = connections_[index];
    if (c.blocked == blocked || c.fd < 0) return;
    c.blocked = blocked;
    epoll_event event{};
    event.events   = blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.u32 = index;
    epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd, &event);
  }

  void lose(uint32_t index, const std::string& why) {
    report_.violation("user " + std::to_string(users_[index].id) + ": connection lost: " + why);
    close(connections_[index].fd);
    connections_[index].fd = -1;
  }

  // --- Answers ----------------------------------------------------------------------------------

  void on_frame(uint32_t index, Bytes frame) {
    uint16_t command  = load_be16(frame.data() + 10);
    uint16_t sequence = load_be16(frame.data() + 12);
    Bytes body        = frame.subspan(kHeaderBytes);
    if (command == kMessage)
      on_push(index, sequence, body);
    else if (command == kMessageAck)
      on_ack(index, sequence, body);
    else if (command == kLoginAnswer)
      on_login(index, body);
    else if (command == kKick)
      lose(index, "kicked");
    // Anything else is a push this client has no use for (presence, notices).
  }

  void on_login(uint32_t index, Bytes body) {
    LoginAnswer answer;
    if (!read_login_answer(body, answer)) return name(index, "login answer does not parse", 0);
    if (answer.result_code != 0) {
      return lose(index, "login refused: code " + std::to_string(answer.result_code) + " " +
                             std::string(answer.result_string));
    }
    if (connections_[index].logged_in) return name(index, "second login answer", 0);
    connections_[index].logged_in = true;
    ++logged_in_;
  }

  void on_ack(uint32_t index, uint16_t sequence, Bytes body) {
    MessageAck ack;
    if (!read_message_ack(body, ack)) return name(index, "ack does not parse", sequence);
    // The window is below 65,536 ops, so the low 16 bits name one.
    auto ahead =
        static_cast<uint16_t>(sequence - static_cast<uint16_t>(ops_done_ + kFirstSequence));
    uint64_t op = ops_done_ + ahead;
    if (index != 0 || op >= ops_sent_)
      return name(index, "acked twice or never sent, sequence", sequence);
    Slot& slot = slot_of(op);
    if (slot.acked) return name(index, "acked twice, op", op);
    slot.acked = true;
    if (!settings_.raw) {
      if (ack.user != users_[0].id || ack.session != settings_.group || ack.session_type != kGroup)
        name(index, "ack names another conversation, op", op);
      check_id(index, op, slot, ack.id);
    }
    finish_ops();
  }

  // Acks and pushes may come in any order; all name one id.
  void check_id(uint32_t index, uint64_t op, Slot& slot, uint32_t id) {
    if (slot.id != 0 && slot.id != id) name(index, "another id than told elsewhere, op", op);
    slot.id = id;
  }

  void on_push(uint32_t index, uint16_t sequence, Bytes body) {
    Connection& c = connections_[index];
    Message message;
    if (!read_message(body, message)) return name(index, "push does not parse", 0);
    if (index == 0) return name(index, "push to its sender", 0);
    if (sequence != 0) name(index, "push with a sequence", sequence);
    uint64_t op = 0;
    if (!payload_.read(message.data, users_[0].id, op))
      return name(index, "push with foreign or damaged bytes, expected op", c.ops_received);
    if (op != c.ops_received) {
      return name(index,
                  op < c.ops_received ? "pushed twice or late" : "pushed too early, one is missing",
                  op);
    }
    ++c.ops_received;
    ++delivered_;
    if (message.to != settings_.group || message.from != users_[0].id ||
        message.type != kGroupText) {
      name(index, "push names another conversation, op", op);
    }
    if (op < ops_done_ || op >= ops_sent_) return name(index, "push of an op not open", op);
    Slot& slot = slot_of(op);
    ++slot.deliveries;
    if (!settings_.raw) {
      if (message.id <= c.push_id) name(index, "push id does not rise", op);
      c.push_id = message.id;
      check_id(index, op, slot, message.id);
    }
    if (settings_.answer) {
      FrameWriter(c.out, kMessageAck, 0)
          .number(1, users_[index].id)
          .number(2, settings_.group)
          .number(3, message.id)
          .number(4, kGroup)
          .finish();
    }
    finish_ops();
  }

  void finish_ops() {
    for (; ops_done_ < ops_sent_; ++ops_done_) {
      const Slot& slot = slot_of(ops_done_);
      if (!slot.acked || slot.deliveries < settings_.receivers) return;
      ++finished_;
      if (measuring_) latency_.add(now_ns() - slot.sent_ns);
    }
  }

  Slot& slot_of(uint64_t op) { return slots_[op & (slots_.size() - 1)]; }

  void name(uint32_t index, const char* what, uint64_t number) {
    report_.violation("user " + std::to_string(users_[index].id) + ": " + what + " " +
                      std::to_string(number));
  }

  FanoutSettings settings_;
  std::vector<User> users_;
  std::vector<Connection> connections_;  // the first is the sender's
  Payload payload_;
  Report report_;
  int epoll_ = -1;
  Buffer receive_;
  std::vector<Slot> slots_;
  uint32_t logged_in_ = 0;

  bool sending_       = false;
  bool measuring_     = false;
  uint64_t ops_sent_  = 0;
  uint64_t ops_done_  = 0;  // all below are acknowledged and delivered to all
  uint64_t finished_  = 0;
  uint64_t delivered_ = 0;
  uint64_t receives_  = 0;     // of receivers, that brought bytes: how well the server coalesces
  bool measured_      = true;  // false: the server's processor time could not be read
  Histogram latency_;
};

FanoutSettings read_fanout_settings(const Flags& flags) {
  FanoutSettings s;
  if (!split_host_port(flags.text("--connect"), s.host, s.port))
    flags.usage("--connect: not HOST:PORT");
  s.receivers = flags.number("--receivers", s.receivers);
  s.group     = flags.number("--group", s.group);
  s.window    = flags.number("--window", s.window);
  s.payload   = flags.number("--payload", s.payload);
  s.seconds   = flags.number("--seconds", s.seconds);
  s.warmup    = flags.number("--warmup", s.warmup);
  s.drain     = flags.number("--drain", s.drain);
  s.server    = flags.number("--server-pid", s.server);
  s.answer    = flags.has("--answer");
  s.raw       = flags.has("--raw");
  s.json      = flags.has("--json");
  if (s.receivers == 0 || s.receivers > 1'000'000) flags.usage("--receivers: 1 to 1000000");
  if (s.window == 0 || s.window > kWindowMax) flags.usage("--window: 1 to 4096");
  if (s.payload < kPayloadBytesMin || s.payload > kPayloadBytesMax)
    flags.usage("--payload: 32 to 4096");
  if (s.seconds <= 0 || s.warmup < 0 || s.drain < 0) flags.usage("times: not negative");
  if (s.server <= 0) flags.usage("--server-pid is missing");
  return s;
}

int run(int argc, char** argv) {
  Flags flags(argc, argv,
              {{"--connect", "HOST:PORT"},
               {"--tokens", "FILE with lines `id name token`, the sender's first"},
               {"--receivers", "N (1000)"},
               {"--group", "ID that messages are sent to (1)"},
               {"--window", "W unfinished messages (1)"},
               {"--payload", "BYTES per body (120)"},
               {"--seconds", "SECONDS measured (5)"},
               {"--warmup", "SECONDS before (1)"},
               {"--drain", "SECONDS to wait for the last deliveries (15)"},
               {"--server-pid", "PID"},
               {"--answer", ""},
               {"--raw", ""},
               {"--json", ""}});
  FanoutSettings settings = read_fanout_settings(flags);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  return Driver(settings, read_users(flags, settings.receivers + 1)).run();
}

}  // namespace
}  // namespace ringtalk::bench

int main(int argc, char** argv) { return ringtalk::bench::run(argc, argv); }
