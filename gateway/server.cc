#include "gateway/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include "engine/log.h"
#include "engine/notify.h"
#include "engine/published.h"
#include "engine/random.h"
#include "engine/runtime.h"
#include "gateway/command_line.h"
#include "gateway/open_store.h"
#include "gateway/plan.h"
#include "gateway/reload.h"
#include "gateway/shard_gateway.h"
#include "proto/parse.h"

namespace ringtalk::gateway {
namespace {

namespace log = engine::log;

constexpr int kSocketBufferBytes = 64 * kKiB;  // a reader that stalls pins this much in the kernel

// Of the main thread, which waits for signals and looks around meanwhile.
constexpr uint64_t kLookNs       = 100 * kNsPerMs;
constexpr uint64_t kStatusNs     = 10 * kNsPerS;
constexpr uint64_t kStatisticsNs = 300 * kNsPerS;
constexpr uint64_t kTakeNs       = 2 * kNsPerS;   // for all shards to take over a reload
constexpr uint64_t kDrainNs      = 26 * kNsPerS;  // then all is closed at once
constexpr uint64_t kHurryNs      = 3 * kNsPerS;   // then the process ends without those that hang

log::Level level_of(const Settings& settings) {
  return settings.log.level == "debug"   ? log::Level::debug
         : settings.log.level == "warn"  ? log::Level::warn
         : settings.log.level == "error" ? log::Level::error
                                         : log::Level::info;
}

// The process, in the order of its start. Destroyed in reverse.
class Server {
 public:
  explicit Server(const Invocation& invocation)
      : invocation_(invocation),
        settings_(invocation.settings),
        in_force_(invocation.settings),
        plan_(make_plan(invocation.settings)) {}
  int run();

 private:
  struct Doors {
    std::vector<int> tcp;  // one listening socket per shard
    int http           = -1;
    uint16_t tcp_port  = 0;
    uint16_t http_port = 0;
  };

  int fail(int code, std::string_view what, std::string_view why) {
    log::error("start_failed", {{"what", what}, {"why", why}});
    notify_.status(fmt::format("{}: {}", what, why));
    log::stop();
    fmt::print(stderr, "ringtalkd: {}: {}\n", what, why);
    return code;
  }
  int open_data();
  int open_store();
  int open_doors();
  int kernel_refused(Error error);
  shard::Limits limits_of(const Settings& settings) const;
  void tell_plan();
  void connect_bells();
  void live(engine::Runtime::Seat& seat);
  int wait_for_the_end();
  bool write_ports_file();

  // --- the main thread's, once all run
  void on_signal(int signal);
  void drain();
  void watch_drain(uint64_t now_ns);
  [[noreturn]] void give_up(std::string_view event);
  void reload();
  ReloadOutcome try_reload();
  void await_taken();
  void look_around();
  void feed_watchdog(uint64_t now_ns);
  std::string status_text() const;
  void tell_statistics();
  uint64_t sum(engine::Counter counter) const;
  int64_t sum(engine::Gauge gauge) const;
  // This shard's part of a limit that all of them share.
  uint32_t share(uint32_t limit) const { return (limit + plan_.shards - 1) / plan_.shards; }
  void ring_all() {
    for (uint32_t i = 0; i < plan_.shards; ++i) runtime_->bell(i).ring();
  }

  const Invocation& invocation_;
  const Settings settings_;  // of the start
  Settings in_force_;        // after reloads
  const Plan plan_;
  std::string notify_problem_;
  engine::Notify notify_{engine::read_notify_environment(), notify_problem_};
  std::optional<engine::Published<shard::Limits>> limits_;
  ReloadDesk reloads_;
  engine::RealClock clock_;
  engine::SystemRandom random_;
  std::string admin_token_;
  std::optional<shard::TokenSigner> tokens_;
  std::unique_ptr<store::Stores> stores_;
  std::vector<store::UserState> users_;
  std::unique_ptr<shard::PasswordPool> passwords_;
  std::unique_ptr<engine::LaneMatrix<shard::Event>> lanes_;
  Doors doors_;
  shard::DrainState drain_;
  std::vector<const engine::Metrics*> metrics_;  // by shard; set before the bodies run
  std::atomic<uint32_t> living_{0};
  std::atomic<uint32_t> open_sessions_{0};
  shard::Rosters rosters_;
  std::unique_ptr<engine::Runtime> runtime_;
  std::optional<engine::Watchdog> watchdog_;
  uint64_t drain_began_ns_    = 0;  // 0: not draining
  uint64_t hurry_began_ns_    = 0;
  uint64_t status_due_ns_     = 0;
  uint64_t statistics_due_ns_ = 0;
  std::string status_told_;
  uint32_t silent_told_ = engine::Watchdog::kNobody;
};

// --- start -----------------------------------------------------------------------------------------------

int Server::open_data() {
  std::error_code error;
  std::filesystem::create_directories(settings_.data_dir, error);
  if (error) return fail(kExitUsage, settings_.data_dir, error.message());
  ::chmod(settings_.data_dir.c_str(), 0700);
  auto secret = shard::load_or_create_secret_key(settings_.data_dir, random_);
  if (!secret) return fail(kExitUsage, settings_.data_dir + "/secret.key", reason(secret.error()));
  tokens_.emplace(*secret);

  const std::string path = settings_.data_dir + "/admin.token";
  int fd                 = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) {
    std::byte raw[32];
    random_.fill(raw);
    for (const std::byte b : raw) admin_token_ += fmt::format("{:02x}", uint8_t(b));
    fd                     = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const std::string line = admin_token_ + "\n";
    const bool written = fd >= 0 && ::write(fd, line.data(), line.size()) == ssize_t(line.size()) &&
                         ::fsync(fd) == 0;
    if (!written) return fail(kExitUsage, path, std::strerror(errno));
  } else if (fd >= 0) {
    struct stat info{};
    char text[256];
    const ssize_t bytes = ::read(fd, text, sizeof text);
    if (::fstat(fd, &info) != 0 || (info.st_mode & 077) != 0)
      return fail(kExitUsage, path, "readable by others: chmod 600 it");
    admin_token_.assign(text, bytes > 0 ? size_t(bytes) : 0);
    while (!admin_token_.empty() && std::isspace(static_cast<unsigned char>(admin_token_.back())))
      admin_token_.pop_back();
    if (admin_token_.size() < 32)
      return fail(kExitUsage, path, "too short; remove it for a new one");
  } else {
    return fail(kExitUsage, path, std::strerror(errno));
  }
  ::close(fd);
  return 0;
}

int Server::open_store() {
  auto stores = gateway::open_store(settings_, plan_.shards, clock_);
  if (!stores) return fail(kExitStore, stores.error().what, stores.error().why);
  stores_    = std::move(*stores);
  auto users = stores_->load_user_states();
  if (!users) return fail(kExitStore, "users", reason(users.error()));
  users_ = std::move(*users);
  return 0;
}

sigset_t our_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, signal);
  return set;
}

// With SO_REUSEPORT a second server would quietly take half of the connections: look first.
bool taken(const engine::Address& address) {
  if (address.port == 0) return false;
  auto probe = engine::open_listener(address, 0, 0, /*shared=*/false);
  if (probe) ::close(probe->fd);
  return !probe && probe.error().os == EADDRINUSE;
}

int Server::open_doors() {
  if (taken(settings_.listen))
    return fail(kExitUsage, settings_.listen.text(), "address is in use");
  engine::Address address = settings_.listen;
  for (uint32_t i = 0; i < plan_.shards; ++i) {
    auto door = engine::open_listener(address, kSocketBufferBytes, kSocketBufferBytes, true);
    if (!door) return fail(kExitUsage, settings_.listen.text(), reason(door.error()));
    doors_.tcp.push_back(door->fd);
    address.port = doors_.tcp_port = door->port;
  }
  auto http = engine::open_listener(settings_.http, kSocketBufferBytes, kSocketBufferBytes, false);
  if (!http) return fail(kExitUsage, settings_.http.text(), reason(http.error()));
  doors_.http      = http->fd;
  doors_.http_port = http->port;
  return 0;
}

shard::Limits Server::limits_of(const Settings& settings) const {
  const LimitSettings& from = settings.limits;
  shard::Limits limits;
  limits.login_deadline_s        = from.login_deadline_s;
  limits.sends_per_second        = from.sends_per_second;
  limits.sends_burst             = from.sends_burst;
  limits.requests_per_second     = from.requests_per_second;
  limits.requests_burst          = from.requests_burst;
  limits.push_queue_bytes        = from.push_queue_bytes;
  limits.send_stall_s            = from.send_stall_s;
  limits.idle_pc_s               = from.idle_pc_s;
  limits.idle_mobile_s           = from.idle_mobile_s;
  limits.delivery_ack_wait_s     = from.delivery_ack_wait_s;
  limits.send_decision_ms        = from.send_decision_ms;
  limits.anonymous_per_address   = share(from.anonymous_per_address);
  limits.connects_per_second     = share(from.connects_per_second_per_address);
  limits.connections_max         = from.max_connections;
  limits.group_members_max       = from.group_members_max;
  limits.group_session_revive    = from.group_session_revive;
  limits.text_key                = settings.messages.aes_key;
  limits.wrong_passwords_max     = settings.login.wrong_passwords_max;
  limits.wrong_password_window_s = settings.login.wrong_password_window_s;
  limits.token_hours             = settings.login.token_hours;
  limits.allowed_states.assign(settings.login.allowed_states.begin(),
                               settings.login.allowed_states.end());
  limits.public_host = settings.listen.host;
  limits.public_port = doors_.tcp_port;
  return limits;
}

void Server::tell_plan() {
  log::info("plan", {{"shards", plan_.shards},
                     {"connections", plan_.connections},
                     {"bounded_by", plan_.bounded_by}});
  log::info("memory_sum",
            {{"receive_buffers_bytes", plan_.buffer_bytes},
             {"lanes_bytes", plan_.lane_bytes},
             {"repeat_windows_bytes", plan_.repeat_window_bytes},
             {"segment_notes_bytes_at_most", plan_.segment_notes_bytes},
             {"password_threads_bytes", std::max(1u, settings_.login.password_threads) * 19 * kMiB},
             {"idle_connections_bytes_if_all_are_used", plan_.connection_bytes}});
}

// --- the shards ----------------------------------------------------------------------------------------------

void Server::connect_bells() {
  for (uint32_t i = 0; i < plan_.shards; ++i) {
    auto& reader   = lanes_->reader(i);
    reader.bell    = &runtime_->bell(i);
    reader.bell_fd = runtime_->bell_fd(i);
    stores_->set_bell(i, reader.bell);
    passwords_->set_bell(i, reader.bell);
  }
}

void Server::live(engine::Runtime::Seat& seat) {
  proto::silence_protobuf_log();
  log::set_shard(seat.shard);
  shard::Limits limits = limits_of(settings_);  // the shard's own: changes between turns only
  shard::LocalBus bus;
  shard::Shard shard({.self    = seat.shard,
                      .shards  = plan_.shards,
                      .loop    = seat.loop,
                      .lanes   = *lanes_,
                      .limits  = limits,
                      .login   = {*passwords_, *tokens_, random_, open_sessions_},
                      .drain   = drain_,
                      .bus     = bus,
                      .rosters = rosters_});
  const auto store = stores_->make(seat.shard, seat.ring, seat.loop.metrics(), shard);
  ShardGateway gateway;
  shard.connect(*store, gateway);
  for (const store::UserState& user : users_) shard.context().directory.set(user.id, user.status);
  shard.messages().recover(stores_->take_repeats(seat.shard));
  std::vector<int> bell_fds;
  for (uint32_t i = 0; i < plan_.shards; ++i) bell_fds.push_back(runtime_->bell_fd(i));
  gateway.open({.loop     = seat.loop,
                .shard    = shard,
                .limits   = limits,
                .slots    = plan_.client_slots(seat.shard),
                .bell_fds = bell_fds},
               doors_.tcp[seat.shard]);
  if (seat.shard == 0) {
    HttpGateway::Setup http{.loop            = seat.loop,
                            .admin_token     = admin_token_,
                            .store_damages   = stores_->damages(),
                            .mirror_metrics  = stores_->mirror_metrics(),
                            .drain           = &drain_,
                            .data_dir        = settings_.data_dir,
                            .reloads         = &reloads_,
                            .connections_max = plan_.http_connections()};
    for (uint32_t i = 0; i < plan_.shards; ++i)
      http.metrics.push_back({std::to_string(i), metrics_[i]});
    gateway.open_http(std::move(http), doors_.http, shard, *passwords_, *tokens_, limits);
    gateway.hear(reloads_);
  }
  living_.fetch_add(1, std::memory_order_release);
  while (!shard.finished()) {
    limits_->take(seat.shard, limits);
    seat.loop.turn();
  }
  living_.fetch_sub(1, std::memory_order_release);
}

bool Server::write_ports_file() {
  if (settings_.ports_file.empty()) return true;
  const std::string tmp  = settings_.ports_file + ".tmp";
  const std::string text = fmt::format("{{\"tcp\": {}, \"http\": {}, \"pid\": {}}}\n",
                                       doors_.tcp_port, doors_.http_port, ::getpid());
  FILE* file             = std::fopen(tmp.c_str(), "w");
  if (!file) return false;
  const bool written = std::fputs(text.c_str(), file) >= 0;
  return std::fclose(file) == 0 && written &&
         ::rename(tmp.c_str(), settings_.ports_file.c_str()) == 0;
}

int Server::kernel_refused(Error error) {
  const char* why =
      error.code == Errc::unsupported
          ? "this kernel's io_uring lacks what is needed: Linux 6.1 or newer (Debian 12 "
            "has it, also as backports)"
      : error.os == EPERM || error.os == EACCES
          ? "io_uring is forbidden here: sysctl kernel.io_uring_disabled must be 0 (or 1 "
            "with kernel.io_uring_group naming our group); in a container its seccomp "
            "profile must allow io_uring"
      : error.os == ENOSYS
          ? "there is no io_uring here: Linux 6.1 or newer is needed, and in a container a seccomp "
            "profile that allows it"
          : std::strerror(error.os);
  return fail(kExitKernel, "io_uring", why);
}

int Server::run() {
  ::umask(077);
  // Before anything is made or touched: the least of rings.
  if (auto ring =
          engine::UringRing::make({.sq_entries = 2, .cq_entries = 4, .slots = 1, .buffers = 1});
      !ring)
    return kernel_refused(ring.error());
  if (!notify_problem_.empty()) log::warn("notify_failed", {{"why", notify_problem_}});
  notify_.status("opening the store");
  if (sodium_init() < 0) return fail(kExitUsage, "libsodium", "no source of randomness");
  if (const int code = open_data()) return code;
  if (const int code = open_store()) return code;
  if (const int code = open_doors()) return code;
  limits_.emplace(plan_.shards, limits_of(settings_));
  tell_plan();
  const uint64_t most = plan_.fixed_bytes() + plan_.connection_bytes;
  if (settings_.limits.memory_bytes_max > 0 && most > settings_.limits.memory_bytes_max)
    return fail(
        kExitUsage, "limits.memory_bytes_max",
        fmt::format("{} bytes are planned (see memory_sum): lower shards or max_connections",
                    most));

  auto dummy = shard::dummy_hash(random_);
  if (!dummy) return fail(kExitUsage, "argon2id", reason(dummy.error()));
  const uint32_t cores = std::max(1u, std::thread::hardware_concurrency());
  const uint32_t threads =
      settings_.login.password_threads ? settings_.login.password_threads : std::max(1u, cores / 2);
  passwords_ = std::make_unique<shard::PasswordPool>(
      plan_.shards, threads, settings_.login.password_queue, std::move(*dummy), random_);
  lanes_   = std::make_unique<engine::LaneMatrix<shard::Event>>(plan_.shards);
  runtime_ = std::make_unique<engine::Runtime>();

  // Signals come to this thread only.
  const sigset_t set = our_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  const auto started = runtime_->start(
      plan_.shards, plan_.ring, [this](engine::Runtime::Seat& seat) { live(seat); },
      [this] {
        connect_bells();
        for (uint32_t i = 0; i < plan_.shards; ++i) metrics_.push_back(&runtime_->metrics(i));
        stores_->start();
        passwords_->start();
      });
  if (!started) return kernel_refused(started.error());
  while (living_.load(std::memory_order_acquire) < plan_.shards) ::usleep(1000);
  users_.clear();
  users_.shrink_to_fit();
  log::info("listening", {{"address", settings_.listen.host},
                          {"port", doors_.tcp_port},
                          {"http_port", doors_.http_port},
                          {"shards", plan_.shards}});
  if (!write_ports_file()) log::error("ports_file_failed", {{"file", settings_.ports_file}});
  watchdog_.emplace(notify_.watchdog_ns(), plan_.shards);
  status_told_ = status_text();
  if (notify_.wanted() && !notify_.ready(status_told_)) log::warn("notify_failed");
  return wait_for_the_end();
}

int Server::wait_for_the_end() {
  const sigset_t set = our_signals();
  statistics_due_ns_ = clock_.now_ns() + kStatisticsNs;
  const uint64_t wait =
      notify_.watchdog_ns() > 0 ? std::min(kLookNs, notify_.watchdog_ns() / 4) : kLookNs;
  while (living_.load(std::memory_order_acquire) > 0) {
    const timespec until{0, static_cast<long>(wait)};
    const int signal = sigtimedwait(&set, nullptr, &until);
    // Nothing may be acknowledged after a failed write; memory and kernel may disagree about buffers
    // in flight. Leave without unwinding.
    if (drain_.failed.load(std::memory_order_relaxed)) give_up("store_failed_exit");
    if (signal > 0) on_signal(signal);
    look_around();
  }
  runtime_->join();
  if (drain_.failed.load(std::memory_order_relaxed)) give_up("store_failed_exit");
  passwords_->stop();
  const auto closed = stores_->close();
  if (!closed) log::warn("store_close_failed", {{"why", reason(closed.error())}});
  if (!settings_.ports_file.empty()) ::unlink(settings_.ports_file.c_str());
  log::info("stopped");
  return 0;
}

// --- signals -----------------------------------------------------------------------------------------------

void Server::on_signal(int signal) {
  switch (signal) {
    case SIGTERM:
    case SIGINT: return drain();
    case SIGHUP: return reload();
    case SIGUSR1: return tell_statistics();
    case SIGUSR2: {
      const bool on = !log::message_lines();
      log::message_lines_wanted.store(on, std::memory_order_relaxed);
      return log::write_each("message_lines", {{"on", on}});
    }
  }
}

void Server::drain() {
  const bool second  = drain_.asked.exchange(true, std::memory_order_relaxed);
  const uint64_t now = clock_.now_ns();
  if (!second) drain_began_ns_ = now;
  if (second && hurry_began_ns_ == 0) {
    hurry_began_ns_ = now;
    drain_.hurry.store(true, std::memory_order_relaxed);
  }
  log::info(second ? "closing_now" : "draining");
  if (!second) notify_.stopping("draining");
  ring_all();
}

void Server::watch_drain(uint64_t now_ns) {
  if (hurry_began_ns_ == 0 && now_ns > drain_began_ns_ + kDrainNs) {
    log::warn("drain_too_long", {{"shards", living_.load(std::memory_order_relaxed)}});
    drain();
  }
  // A disk or a kernel that hangs: what was acknowledged is on it already.
  if (hurry_began_ns_ > 0 && now_ns > hurry_began_ns_ + kHurryNs) give_up("drain_given_up");
}

void Server::give_up(std::string_view event) {
  log::error(event);
  notify_.status(event);
  log::stop();
  std::_Exit(kExitStore);
}

// --- reload --------------------------------------------------------------------------------------------------

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, " "));
}

void Server::reload() {
  const bool asked = reloads_.asked();
  const ReloadOutcome outcome =
      drain_began_ns_ > 0 ? ReloadOutcome{.errors = {"draining"}} : try_reload();
  for (const std::string& error : outcome.errors) log::error("reload_refused", {{"why", error}});
  if (outcome.ok())
    log::write_each("reloaded", {{"changed", joined(outcome.changed)},
                                 {"restart_needed", joined(outcome.restart_needed)}});
  if (!asked) return;
  reloads_.answer(outcome);
  runtime_->bell(0).ring();
}

ReloadOutcome Server::try_reload() {
  notify_.reloading();
  Settings wanted;
  Settings next = in_force_;
  const engine::ConfigReport report =
      reload_settings(invocation_, engine::read_environment(), wanted);
  for (const std::string& warning : report.warnings) log::warn("configuration", {{"why", warning}});
  ReloadOutcome outcome =
      report.ok() ? take_over(next, wanted) : ReloadOutcome{.errors = report.errors};
  if (outcome.ok() && !outcome.changed.empty()) {
    if (limits_->publish(limits_of(next))) {
      in_force_ = next;
      log::set_level(level_of(in_force_));
      await_taken();
    } else {
      outcome = {.errors = {"a shard is stalled and has not taken earlier reloads yet"}};
    }
  }
  notify_.ready(status_told_);
  return outcome;
}

// So that whoever asked for the reload finds it in force. A shard that is stuck takes it when it goes on.
void Server::await_taken() {
  ring_all();
  const uint64_t until = clock_.now_ns() + kTakeNs;
  while (!limits_->taken() && clock_.now_ns() < until) ::usleep(1000);
  if (!limits_->taken()) log::warn("reload_slow", {{"why", "a shard has not taken it yet"}});
}

// --- looking around ------------------------------------------------------------------------------------------

void Server::look_around() {
  const uint64_t now = clock_.now_ns();
  if (drain_began_ns_ > 0) return watch_drain(now);
  feed_watchdog(now);
  if (now >= statistics_due_ns_) {
    statistics_due_ns_ = now + kStatisticsNs;
    tell_statistics();
  }
  if (notify_.wanted() && now >= status_due_ns_) {
    status_due_ns_   = now + kStatusNs;
    std::string text = status_text();
    if (text != status_told_ && notify_.status(text)) status_told_ = std::move(text);
  }
}

// A shard turns ten times a second at least; one that does not serves nobody.
void Server::feed_watchdog(uint64_t now_ns) {
  if (notify_.watchdog_ns() == 0) return;
  std::vector<uint64_t> turns;
  for (const engine::Metrics* metrics : metrics_)
    turns.push_back(metrics->value(engine::Counter::loop_turns));
  const auto verdict = watchdog_->look(now_ns, turns);
  if (verdict.feed) {
    silent_told_ = verdict.silent;
    notify_.feed();
  } else if (verdict.silent != engine::Watchdog::kNobody && verdict.silent != silent_told_) {
    silent_told_ = verdict.silent;
    log::error("watchdog_withheld", {{"stalled_shard", verdict.silent}});
  }
}

std::string Server::status_text() const {
  return fmt::format("serving on {}:{}: {} connections, {} users", settings_.listen.host,
                     doors_.tcp_port, sum(engine::Gauge::connections),
                     sum(engine::Gauge::sessions_open));
}

uint64_t Server::sum(engine::Counter counter) const {
  uint64_t total = 0;
  for (const engine::Metrics* metrics : metrics_) total += metrics->value(counter);
  return total;
}

int64_t Server::sum(engine::Gauge gauge) const {
  int64_t total = 0;
  for (const engine::Metrics* metrics : metrics_) total += metrics->value(gauge);
  return total;
}

// The sums since the start, then what tells the shards apart. All of it, and more: /metrics.
void Server::tell_statistics() {
  using engine::Counter;
  using engine::Gauge;
  log::write_each("statistics", {{"connections", sum(Gauge::connections)},
                                 {"users", sum(Gauge::sessions_open)},
                                 {"accepts", sum(Counter::accepts)},
                                 {"logins", sum(Counter::logins_accepted)},
                                 {"logins_refused", sum(Counter::logins_refused)},
                                 {"frames_in", sum(Counter::frames_in)},
                                 {"frames_out", sum(Counter::frames_out)},
                                 {"bytes_in", sum(Counter::bytes_in)},
                                 {"bytes_out", sum(Counter::bytes_out)},
                                 {"messages", sum(Counter::sends_acknowledged)},
                                 {"repeated", sum(Counter::sends_repeated)},
                                 {"refused", sum(Counter::sends_refused_rule)},
                                 {"refused_by_store", sum(Counter::sends_refused_store)},
                                 {"deliveries", sum(Counter::deliveries)},
                                 {"confirmed", sum(Counter::delivery_acks)},
                                 {"missed", sum(Counter::delivery_missed)},
                                 {"log_dropped", log::totals().dropped}});
  for (size_t i = 0; i < metrics_.size(); ++i) {
    const engine::Metrics& of = *metrics_[i];
    log::write_each("shard_statistics",
                    {{"shard", i},
                     {"connections", of.value(Gauge::connections)},
                     {"users", of.value(Gauge::sessions_open)},
                     {"messages", of.value(Counter::sends_acknowledged)},
                     {"deliveries", of.value(Counter::deliveries)},
                     {"turns", of.value(Counter::loop_turns)},
                     {"long_turns", of.value(Counter::loop_long_turns)},
                     {"held_turns", of.value(Counter::loop_held_turns)},
                     {"busy_s", double(of.value(Counter::loop_busy)) / double(kNsPerS)}});
  }
}

}  // namespace

int run_server(const Invocation& invocation) {
  const Settings& settings = invocation.settings;
  // These would end the process by default; TERM and INT may, until there is something to drain.
  sigset_t early;
  sigemptyset(&early);
  for (const int signal : {SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&early, signal);
  pthread_sigmask(SIG_BLOCK, &early, nullptr);
  const auto format = settings.log.format == "json"   ? log::Format::json
                      : settings.log.format == "text" ? log::Format::text
                                                      : log::Format::automatic;
  log::start({.level = level_of(settings), .format = format});
  int code = 0;
  {
    Server server(invocation);
    code = server.run();
  }
  log::stop();
  return code;
}

}  // namespace ringtalk::gateway
