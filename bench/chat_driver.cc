// bench_chat_driver: loads a chat server over one-to-one conversations and checks every answer.
//
// Question      Messages per second, latency and server processor time per durable, delivered and
//               acknowledged message; memory per idle connection (--idle).
// Method        One thread on epoll. Users 2k and 2k+1 of the token file talk to each other. Closed loop:
//               each connection keeps --window messages unacknowledged. Open loop (--rate): a fixed
//               schedule over all connections; latency counts from the intended time, so a stall of the
//               server is not hidden by the sends it prevented. --burst B gives the schedule the shape of a
//               window: single messages cost ten times what coalesced ones do, on any server. What a turn makes a connection say
//               leaves in one send. Every push is answered with the receiver's 0x0302.
// Checked       Each send is acknowledged once; each op of the partner is pushed once, in order, with the
//               author's bytes and sequence 0; message ids rise; ack and push of a message name one id;
//               nothing is missing after the drain. --raw leaves out what a server without ids cannot
//               give. The first violations are named; any violation ends the program with 2.
// What misleads Client and server share the machine: schedule_lag says whether the driver itself kept up.
// Bound         kSlotsMax sends in flight per connection; later ones wait, their clock running.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <deque>
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
constexpr size_t kReceiveBytes           = 256 * 1024;

uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * kSecond + static_cast<uint64_t>(t.tv_nsec);
}

double seconds_of(uint64_t ns) { return static_cast<double>(ns) / 1e9; }

// One send in flight, found by op number modulo the connection's slot count.
struct Slot {
  uint64_t sent_ns = 0;
  uint32_t id      = 0;
  bool acked       = false;
  bool delivered   = false;
};

struct Connection {
  int fd         = -1;
  uint32_t index = 0;
  bool logged_in = false;
  bool dirty     = false;  // has output that this turn must send
  bool blocked   = false;  // waits for EPOLLOUT
  Buffer partial;          // head of a frame whose rest has not come
  Buffer out;
  size_t out_sent = 0;

  // As author. done <= acked-or-not <= sent; slots hold ops done..sent-1.
  uint64_t ops_sent = 0;
  uint64_t ops_done = 0;  // all ops below are acknowledged and delivered
  uint32_t unacked  = 0;
  uint32_t ack_id   = 0;  // of the newest op acknowledged in order
  uint64_t ack_op   = 0;  // op behind the newest acknowledged one
  std::vector<Slot> slots;
  std::deque<uint64_t> late;  // intended times of sends that wait for a slot

  // As reader.
  uint64_t ops_received = 0;
  uint32_t push_id      = 0;
};

class Driver {
 public:
  Driver(const Settings& settings, std::vector<User> users)
      : settings_(settings), users_(std::move(users)), payload_(settings.payload) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    receive_.resize(kReceiveBytes + kFrameBytesMax);
    uint32_t slots = std::max(kSlotsMin, std::bit_ceil(settings.window * 4));
    slot_mask_     = slots - 1;
    connections_.resize(settings.connections);
    for (uint32_t i = 0; i < settings.connections; ++i) {
      connections_[i].index = i;
      if (!settings.idle) connections_[i].slots.resize(slots);
    }
  }

  int run() {
    uint64_t rss_before = resident_bytes(settings_.server).value_or(0);
    if (rss_before == 0) {
      std::fprintf(stderr, "--server-pid %d: cannot read its memory\n", settings_.server);
      return kExitFailed;
    }
    if (!log_in_all()) return kExitFailed;
    if (settings_.idle) {
      hold_idle(rss_before);
    } else {
      load();
      drain();
    }
    report_.count("connections", settings_.connections);
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
    for (uint32_t next = 0; logged_in_ < settings_.connections;) {
      for (uint32_t i = 0; i < 16 && next < settings_.connections; ++i) {
        if (next - logged_in_ >= kLoginsInFlightMax) break;
        if (!connect_one(connections_[next])) return false;
        ++next;
      }
      turn(next < settings_.connections && next - logged_in_ < kLoginsInFlightMax ? 0
                                                                                  : kSecond / 10);
      if (report_.count() > 0 || now_ns() - start > kSetupNsMax) {
        std::fprintf(stderr, "login: %u of %u connections after %.1f s\n", logged_in_,
                     settings_.connections, seconds_of(now_ns() - start));
        report_.print(false);
        return false;
      }
    }
    double seconds = seconds_of(now_ns() - start);
    report_.text("mode", settings_.idle ? "idle" : settings_.rate > 0 ? "open" : "closed");
    report_.number("login_seconds", seconds);
    report_.number("logins_per_second", settings_.connections / seconds);
    return true;
  }

  // Connects in order and waits, so that a server that pairs by order of arrival pairs as we do.
  bool connect_one(Connection& c) {
    c.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
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
      source.sin_addr.s_addr = htonl(0x7f000002 + c.index / kConnectionsPerSource);
      if (bind(c.fd, reinterpret_cast<sockaddr*>(&source), sizeof source) != 0)
        return failed("bind");
    }
    address.sin_port = htons(settings_.port);
    if (connect(c.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      return failed("connect");
    }
    epoll_event event{};
    event.events   = EPOLLIN;
    event.data.u32 = c.index;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &event);
    const User& user = users_[c.index];
    FrameWriter(c.out, kLoginRequest, kLoginSequence)
        .text(1, user.name)
        .text(2, "token:" + user.token)
        .number(3, 1)
        .number(4, kAndroid)
        .text(5, "bench_chat_driver")
        .finish();
    flush(c);
    return true;
  }

  static bool failed(const char* what) {
    std::perror(what);
    return false;
  }

  void hold_idle(uint64_t rss_before) {
    wait_for(1);
    uint64_t rss_after = resident_bytes(settings_.server).value_or(0);
    wait_for(settings_.seconds);
    uint64_t rss_held = resident_bytes(settings_.server).value_or(0);
    report_.count("server_rss_before", rss_before);
    report_.count("server_rss_after", rss_after);
    report_.count("server_rss_held", rss_held);
    double grown =
        static_cast<double>(std::max(rss_after, rss_held)) - static_cast<double>(rss_before);
    report_.number("user_bytes_per_connection", grown / settings_.connections);
  }

  void wait_for(double seconds) {
    uint64_t end = now_ns() + static_cast<uint64_t>(seconds * 1e9);
    for (uint64_t now; (now = now_ns()) < end;) turn(end - now);
  }

  // --- Load -------------------------------------------------------------------------------------

  void load() {
    uint64_t start  = now_ns();
    measure_start_  = start + static_cast<uint64_t>(settings_.warmup * 1e9);
    measure_end_    = measure_start_ + static_cast<uint64_t>(settings_.seconds * 1e9);
    schedule_start_ = start;
    sending_        = true;
    for (Connection& c : connections_) fill_window(c, start);
    flush_dirty();
    run_until(measure_start_);
    uint64_t rss_before = resident_bytes(settings_.server).value_or(0);
    double server_start = cpu_seconds(settings_.server).value_or(0);
    double driver_start = cpu_seconds(getpid()).value_or(0);
    uint64_t began      = now_ns();
    acked_ = delivered_ = receives_ = 0;
    run_until(measure_end_);
    double elapsed    = seconds_of(now_ns() - began);
    double server_cpu = cpu_seconds(settings_.server).value_or(0) - server_start;
    double driver_cpu = cpu_seconds(getpid()).value_or(0) - driver_start;
    auto acked        = static_cast<double>(acked_);
    report_.number("measured_seconds", elapsed);
    report_.count("acked", acked_);
    report_.count("delivered", delivered_);
    report_.number("acked_per_second", acked / elapsed);
    report_.number("delivered_per_second", static_cast<double>(delivered_) / elapsed);
    report_.number("server_cpu_seconds", server_cpu);
    report_.number("server_cpu_us_per_message", acked > 0 ? server_cpu * 1e6 / acked : 0);
    report_.number("server_cores", server_cpu / elapsed);
    report_.number("driver_cores", driver_cpu / elapsed);
    report_.count("server_rss_before", rss_before);
    report_.count("server_rss_after", resident_bytes(settings_.server).value_or(0));
    report_.number("receives_per_message", acked > 0 ? static_cast<double>(receives_) / acked : 0);
    if (acked_ == 0) report_.violation("no message was acknowledged while measuring");
    measured_ = acked_ == 0 || server_cpu > 0;
  }

  void run_until(uint64_t end) {
    for (uint64_t now; (now = now_ns()) < end;) {
      uint64_t wake = settings_.rate > 0 ? send_due(now, end) : end;
      flush_dirty();
      turn(wake > now ? wake - now : 0);
    }
  }

  // Sends everything whose time has come; returns when the next one is due, at most `end`.
  uint64_t send_due(uint64_t now, uint64_t end) {
    for (;;) {
      double burst_ns = settings_.burst * 1e9 / settings_.rate;
      uint64_t due =
          schedule_start_ + static_cast<uint64_t>(static_cast<double>(bursts_) * burst_ns);
      if (due > now) return std::min(due, end);
      Connection& c = connections_[bursts_ % settings_.connections];
      ++bursts_;
      if (in_measure(due)) schedule_lag_.add(now - due);
      c.late.insert(c.late.end(), settings_.burst, due);
      send_late(c);
    }
  }

  void send_late(Connection& c) {
    while (!c.late.empty() && has_slot(c)) {
      send_message(c, c.late.front());
      c.late.pop_front();
    }
  }

  bool has_slot(const Connection& c) const {
    return c.fd >= 0 && c.ops_sent - c.ops_done <= slot_mask_;
  }

  void fill_window(Connection& c, uint64_t now) {
    if (settings_.rate > 0) return send_late(c);
    while (sending_ && c.unacked < settings_.window && has_slot(c)) send_message(c, now);
  }

  void send_message(Connection& c, uint64_t intended_ns) {
    uint64_t op              = c.ops_sent++;
    c.slots[op & slot_mask_] = Slot{.sent_ns = intended_ns};
    ++c.unacked;
    uint32_t user = users_[c.index].id;
    FrameWriter(c.out, kMessage, static_cast<uint16_t>(op + kFirstSequence))
        .number(1, user)
        .number(2, users_[c.index ^ 1].id)
        .number(3, 0)
        .number(4, 0)
        .number(5, 1)
        .text(6, payload_.make(user, op))
        .finish();
    mark_dirty(c);
  }

  void drain() {
    sending_     = false;
    uint64_t end = now_ns() + static_cast<uint64_t>(settings_.drain * 1e9);
    while (!all_done() && now_ns() < end) turn(kSecond / 100);
    uint64_t lost_acks = 0, lost_pushes = 0;
    for (const Connection& c : connections_) {
      for (uint64_t op = c.ops_done; op < c.ops_sent; ++op) {
        const Slot& slot = c.slots[op & slot_mask_];
        if (!slot.acked) ++lost_acks;
        if (!slot.delivered) ++lost_pushes;
        if (!slot.acked) name(c, "never acknowledged", op);
        if (!slot.delivered) name(c, "never delivered", op);
      }
    }
    report_.count("never_acked", lost_acks);
    report_.count("never_delivered", lost_pushes);
    report_.latency("ack_us", ack_latency_);
    report_.latency("delivery_us", delivery_latency_);
    if (settings_.rate > 0) report_.latency("schedule_lag_us", schedule_lag_);
  }

  bool all_done() const {
    return std::ranges::all_of(connections_, [](const Connection& c) {
      return c.late.empty() && c.ops_done == c.ops_sent;
    });
  }

  bool in_measure(uint64_t ns) const { return ns >= measure_start_ && ns < measure_end_; }

  // --- Motion of bytes --------------------------------------------------------------------------

  void turn(uint64_t wait_ns) {
    timespec timeout{static_cast<time_t>(wait_ns / kSecond), static_cast<long>(wait_ns % kSecond)};
    epoll_event events[512];
    int count = epoll_pwait2(epoll_, events, 512, &timeout, nullptr);
    for (int i = 0; i < count; ++i) {
      Connection& c = connections_[events[i].data.u32];
      if (c.fd >= 0 && events[i].events & EPOLLOUT) flush(c);
      if (c.fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
    }
    flush_dirty();
  }

  void receive(Connection& c) {
    size_t kept = c.partial.size();
    std::copy(c.partial.begin(), c.partial.end(), receive_.begin());
    ssize_t got = recv(c.fd, receive_.data() + kept, kReceiveBytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return lose(c, got == 0 ? "closed by the server" : std::strerror(errno));
    ++receives_;
    uint64_t now = now_ns();
    size_t size  = kept + static_cast<size_t>(got);
    size_t used  = 0;
    while (c.fd >= 0 && size - used >= kHeaderBytes) {
      const uint8_t* frame = receive_.data() + used;
      uint32_t length      = load_be32(frame);
      if (length < kHeaderBytes || length > kFrameBytesMax) return lose(c, "frame length");
      if (size - used < length) break;
      on_frame(c, Bytes(frame, length), now);
      used += length;
    }
    if (c.fd < 0) return;
    c.partial.assign(receive_.begin() + static_cast<ptrdiff_t>(used),
                     receive_.begin() + static_cast<ptrdiff_t>(size));
    if (c.logged_in && !settings_.idle) fill_window(c, now);
  }

  void mark_dirty(Connection& c) {
    if (c.dirty) return;
    c.dirty = true;
    dirty_.push_back(c.index);
  }

  void flush_dirty() {
    for (uint32_t index : dirty_) {
      Connection& c = connections_[index];
      c.dirty       = false;
      if (!c.blocked) flush(c);
    }
    dirty_.clear();
  }

  void flush(Connection& c) {
    while (c.fd >= 0 && c.out_sent < c.out.size()) {
      ssize_t put = send(c.fd, c.out.data() + c.out_sent, c.out.size() - c.out_sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EAGAIN) return set_blocked(c, true);
      if (put < 0) return lose(c, std::strerror(errno));
      c.out_sent += static_cast<size_t>(put);
    }
    c.out.clear();
    c.out_sent = 0;
    if (c.blocked) set_blocked(c, false);
  }

  void set_blocked(Connection& c, bool blocked) {
    if (c.blocked == blocked || c.fd < 0) return;
    c.blocked = blocked;
    epoll_event event{};
    event.events   = blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.u32 = c.index;
    epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd, &event);
  }

  void lose(Connection& c, const std::string& why) {
    report_.violation("user " + std::to_string(users_[c.index].id) + ": connection lost: " + why);
    close(c.fd);
    c.fd = -1;
  }

  // --- Answers ----------------------------------------------------------------------------------

  void on_frame(Connection& c, Bytes frame, uint64_t now) {
    uint16_t command  = load_be16(frame.data() + 10);
    uint16_t sequence = load_be16(frame.data() + 12);
    Bytes body        = frame.subspan(kHeaderBytes);
    if (command == kMessage)
      on_push(c, sequence, body, now);
    else if (command == kMessageAck)
      on_ack(c, sequence, body, now);
    else if (command == kLoginAnswer)
      on_login(c, body);
    else if (command == kKick)
      lose(c, "kicked");
    // Anything else is a push this client has no use for (presence, notices).
  }

  void on_login(Connection& c, Bytes body) {
    LoginAnswer answer;
    if (!read_login_answer(body, answer)) return name(c, "login answer does not parse", 0);
    if (answer.result_code != 0) {
      return lose(c, "login refused: code " + std::to_string(answer.result_code) + " " +
                         std::string(answer.result_string));
    }
    if (c.logged_in) return name(c, "second login answer", 0);
    c.logged_in = true;
    ++logged_in_;
  }

  void on_ack(Connection& c, uint16_t sequence, Bytes body, uint64_t now) {
    MessageAck ack;
    if (!read_message_ack(body, ack)) return name(c, "ack does not parse", sequence);
    // The sequence is the op's low 16 bits; fewer than 65,536 ops are open, so it names one.
    auto ahead =
        static_cast<uint16_t>(sequence - static_cast<uint16_t>(c.ops_done + kFirstSequence));
    uint64_t op = c.ops_done + ahead;
    if (op >= c.ops_sent) return name(c, "acked twice or never sent, sequence", sequence);
    Slot& slot = c.slots[op & slot_mask_];
    if (slot.acked) return name(c, "acked twice, op", op);
    slot.acked = true;
    --c.unacked;
    ++acked_;
    if (in_measure(slot.sent_ns)) ack_latency_.add(now - slot.sent_ns);
    if (!settings_.raw) check_ack(c, ack, op, slot);
    finish_ops(c);
  }

  void check_ack(Connection& c, const MessageAck& ack, uint64_t op, Slot& slot) {
    if (ack.user != users_[c.index].id || ack.session != users_[c.index ^ 1].id ||
        ack.session_type != 1) {
      name(c, "ack names another conversation", op);
    }
    if (op < c.ack_op)
      name(c, "ack out of order", op);
    else if (ack.id <= c.ack_id)
      name(c, "ack id does not rise", op);
    c.ack_op = op + 1;
    c.ack_id = ack.id;
    check_id(c, op, slot, ack.id);
  }

  // Ack and push may come in either order; the second must name the id of the first.
  void check_id(const Connection& author, uint64_t op, Slot& slot, uint32_t id) {
    if (slot.id != 0 && slot.id != id) name(author, "ack and push name different ids", op);
    slot.id = id;
  }

  void on_push(Connection& c, uint16_t sequence, Bytes body, uint64_t now) {
    Message message;
    if (!read_message(body, message)) return name(c, "push does not parse", 0);
    if (sequence != 0) name(c, "push with a sequence", sequence);
    Connection& author = connections_[c.index ^ 1];
    uint64_t op        = 0;
    if (!payload_.read(message.data, users_[author.index].id, op)) {
      return name(c, "push with foreign or damaged bytes, expected op", c.ops_received);
    }
    answer_push(c, message);
    if (op != c.ops_received) {
      name(c, op < c.ops_received ? "pushed twice or late" : "pushed too early, one is missing",
           op);
    }
    c.ops_received = std::max(c.ops_received, op + 1);
    ++delivered_;
    if (op < author.ops_done || op >= author.ops_sent) return name(c, "push of an op not open", op);
    Slot& slot = author.slots[op & slot_mask_];
    if (slot.delivered) return;
    slot.delivered = true;
    if (in_measure(slot.sent_ns)) delivery_latency_.add(now - slot.sent_ns);
    if (!settings_.raw) check_push(c, message, op, author, slot);
    finish_ops(author);
    fill_window(author, now);  // its slots may have been full of acknowledged, undelivered ops
  }

  void check_push(Connection& c, const Message& message, uint64_t op, const Connection& author,
                  Slot& slot) {
    if (message.from != users_[author.index].id || message.to != users_[c.index].id ||
        message.type != 1) {
      name(c, "push names another conversation", op);
    }
    if (message.id <= c.push_id) name(c, "push id does not rise", op);
    c.push_id = message.id;
    check_id(author, op, slot, message.id);
  }

  void answer_push(Connection& c, const Message& message) {
    FrameWriter(c.out, kMessageAck, 0)
        .number(1, users_[c.index].id)
        .number(2, message.from)
        .number(3, message.id)
        .number(4, 1)
        .finish();
    mark_dirty(c);
  }

  void finish_ops(Connection& author) {
    while (author.ops_done < author.ops_sent) {
      const Slot& slot = author.slots[author.ops_done & slot_mask_];
      if (!slot.acked || !slot.delivered) return;
      ++author.ops_done;
    }
  }

  void name(const Connection& c, const char* what, uint64_t number) {
    report_.violation("user " + std::to_string(users_[c.index].id) + ": " + what + " " +
                      std::to_string(number));
  }

  Settings settings_;
  std::vector<User> users_;
  std::vector<Connection> connections_;
  Payload payload_;
  Report report_;
  int epoll_ = -1;
  Buffer receive_;
  std::vector<uint32_t> dirty_;
  uint64_t slot_mask_ = 0;
  uint32_t logged_in_ = 0;

  bool sending_            = false;
  uint64_t measure_start_  = UINT64_MAX;
  uint64_t measure_end_    = 0;
  uint64_t schedule_start_ = 0;
  uint64_t bursts_         = 0;
  uint64_t acked_          = 0;
  uint64_t delivered_      = 0;
  uint64_t receives_       = 0;     // that brought bytes: how well the server coalesces
  bool measured_           = true;  // false: the server's processor time could not be read
  Histogram ack_latency_, delivery_latency_, schedule_lag_;
};

void raise_file_limit() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) std::perror("--cpu");
}

int run(int argc, char** argv) {
  Flags flags(argc, argv,
              {{"--connect", "HOST:PORT"},
               {"--tokens", "FILE with lines `id name token`"},
               {"--connections", "N, even (1000)"},
               {"--window", "W unacknowledged messages per connection (1)"},
               {"--payload", "BYTES per body (100)"},
               {"--seconds", "SECONDS measured, or held with --idle (10)"},
               {"--warmup", "SECONDS before (2)"},
               {"--drain", "SECONDS to wait for the last answers (15)"},
               {"--rate", "MESSAGES per second over all connections; 0 is closed loop"},
               {"--burst", "MESSAGES of one connection at a time, with --rate (1)"},
               {"--server-pid", "PID"},
               {"--cpu", "N to pin the thread to"},
               {"--raw", ""},
               {"--idle", ""},
               {"--json", ""}});
  Settings settings = read_settings(flags);
  raise_file_limit();
  if (flags.has("--cpu")) pin_to(flags.number("--cpu", 0));
  prctl(PR_SET_TIMERSLACK, 1000);  // ns: the schedule of --rate is finer than the usual 50 us
  return Driver(settings, read_users(flags, settings.connections)).run();
}

}  // namespace
}  // namespace ringtalk::bench

int main(int argc, char** argv) { return ringtalk::bench::run(argc, argv); }
