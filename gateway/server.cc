#include "gateway/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include "engine/disk.h"
#include "engine/log.h"
#include "engine/random.h"
#include "engine/runtime.h"
#include "gateway/command_line.h"
#include "gateway/plan.h"
#include "gateway/shard_gateway.h"
#include "proto/parse.h"
#include "store/embedded/embedded_store.h"

namespace ringtalk::gateway {
namespace {

namespace log = engine::log;

constexpr int kSocketBufferBytes = 64 * kKiB;  // a reader that stalls pins this much in the kernel

std::string reason(Error error) {
  return error.code == Errc::os ? std::strerror(error.os)
                                : "code " + std::to_string(int(error.code));
}

// The process, in the order of its start. Destroyed in reverse.
class Server {
 public:
  explicit Server(const Settings& settings) : settings_(settings), plan_(make_plan(settings)) {}
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
    log::stop();
    fmt::print(stderr, "ringtalkd: {}: {}\n", what, why);
    return code;
  }
  int open_data();
  int open_store();
  int open_doors();
  int kernel_refused(Error error);
  void fill_limits();
  void tell_plan();
  void connect_bells();
  void live(engine::Runtime::Seat& seat);
  int wait_for_the_end();
  bool write_ports_file();
  // This shard's part of a limit that all of them share.
  uint32_t share(uint32_t limit) const { return (limit + plan_.shards - 1) / plan_.shards; }
  void ring_all() {
    for (uint32_t i = 0; i < plan_.shards; ++i) runtime_->bell(i).ring();
  }

  const Settings settings_;
  const Plan plan_;
  shard::Limits limits_;
  engine::RealClock clock_;
  engine::SystemRandom random_;
  std::string admin_token_;
  std::optional<shard::TokenSigner> tokens_;
  std::unique_ptr<engine::Disk> log_disk_;
  std::unique_ptr<store::Relational> relational_;
  std::unique_ptr<store::EmbeddedStores> stores_;
  std::vector<store::UserState> users_;
  std::unique_ptr<shard::PasswordPool> passwords_;
  std::unique_ptr<engine::LaneMatrix<shard::Event>> lanes_;
  Doors doors_;
  shard::DrainState drain_;
  std::vector<const engine::Metrics*> metrics_;  // by shard; set before the bodies run
  std::atomic<uint32_t> living_{0};
  std::atomic<uint32_t> open_sessions_{0};
  std::unique_ptr<engine::Runtime> runtime_;
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
  auto disk = engine::open_disk(settings_.data_dir);
  if (!disk) return fail(kExitStore, settings_.data_dir, reason(disk.error()));
  log_disk_ = std::move(*disk);

  auto relational = store::Relational::open(
      {.path = settings_.data_dir + "/ringtalk.db", .shards = plan_.shards}, clock_);
  if (!relational)
    return fail(kExitStore, settings_.data_dir + "/ringtalk.db",
                relational.error().code == Errc::unsupported
                    ? "made by a newer version, or not ours"
                    : reason(relational.error()));
  relational_ = std::move(*relational);
  auto users  = relational_->load_user_states();
  if (!users) return fail(kExitStore, "users", reason(users.error()));
  users_ = std::move(*users);

  auto stores = store::EmbeddedStores::open(
      {.directory = settings_.data_dir,
       .homes     = {
           plan_.shards, [](UserId user, uint32_t n) { return shard::home(user, n); },
           [](ConversationId conversation, uint32_t n) { return shard::home(conversation, n); }},
       .segment_bytes = settings_.store.segment_bytes,
       .relational    = relational_.get()},
      *log_disk_, clock_);
  if (!stores) {
    const Errc code = stores.error().code;
    return fail(kExitStore, settings_.data_dir,
                code == Errc::exists        ? "another process uses this data directory"
                : code == Errc::unsupported ? "the log was written by a newer version"
                                            : reason(stores.error()));
  }
  stores_           = std::move(*stores);
  const auto& found = stores_->report();
  log::info("store_open", {{"segments", found.segments},
                           {"conversations", found.conversations},
                           {"records_read", found.records_read},
                           {"torn_bytes", found.torn_bytes},
                           {"damages", found.damages.size()},
                           {"ms", found.duration_ns / kNsPerMs}});
  const auto lines = found.lines();  // the first is the summary
  for (size_t i = 1; i < lines.size(); ++i) log::warn("store_recovery", {{"finding", lines[i]}});
  return 0;
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

void Server::fill_limits() {
  const LimitSettings& from       = settings_.limits;
  limits_.login_deadline_s        = from.login_deadline_s;
  limits_.sends_per_second        = from.sends_per_second;
  limits_.sends_burst             = from.sends_burst;
  limits_.requests_per_second     = from.requests_per_second;
  limits_.requests_burst          = from.requests_burst;
  limits_.push_queue_bytes        = from.push_queue_bytes;
  limits_.send_stall_s            = from.send_stall_s;
  limits_.idle_pc_s               = from.idle_pc_s;
  limits_.idle_mobile_s           = from.idle_mobile_s;
  limits_.delivery_ack_wait_s     = from.delivery_ack_wait_s;
  limits_.send_decision_ms        = from.send_decision_ms;
  limits_.wrong_passwords_max     = settings_.login.wrong_passwords_max;
  limits_.wrong_password_window_s = settings_.login.wrong_password_window_s;
  limits_.token_hours             = settings_.login.token_hours;
  limits_.allowed_states.assign(settings_.login.allowed_states.begin(),
                                settings_.login.allowed_states.end());
  limits_.connections_max = settings_.limits.max_connections;
  limits_.public_host     = settings_.listen.host;
  limits_.public_port     = doors_.tcp_port;
}

void Server::tell_plan() {
  log::info("plan", {{"shards", plan_.shards},
                     {"connections", plan_.connections},
                     {"bounded_by", plan_.bounded_by}});
  log::info("memory_sum",
            {{"receive_buffers_bytes", plan_.buffer_bytes},
             {"lanes_bytes", plan_.lane_bytes},
             {"repeat_windows_bytes", plan_.repeat_window_bytes},
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
    relational_->set_bell(i, reader.bell);
    passwords_->set_bell(i, reader.bell);
  }
}

void Server::live(engine::Runtime::Seat& seat) {
  proto::silence_protobuf_log();
  shard::LocalBus bus;
  shard::Shard shard({.self   = seat.shard,
                      .shards = plan_.shards,
                      .loop   = seat.loop,
                      .lanes  = *lanes_,
                      .limits = limits_,
                      .login  = {*passwords_, *tokens_, random_, open_sessions_},
                      .drain  = drain_,
                      .bus    = bus});
  const auto store = stores_->make(seat.shard, seat.ring, seat.loop.metrics(), shard);
  ShardGateway gateway;
  shard.connect(*store, gateway);
  for (const store::UserState& user : users_) shard.context().directory.set(user.id, user.status);
  shard.messages().recover(stores_->take_repeats(seat.shard));
  std::vector<int> bell_fds;
  for (uint32_t i = 0; i < plan_.shards; ++i) bell_fds.push_back(runtime_->bell_fd(i));
  gateway.open({.loop          = seat.loop,
                .shard         = shard,
                .limits        = limits_,
                .slots         = plan_.ring.slots,
                .anonymous_max = share(settings_.limits.anonymous_per_address),
                .connects_max  = share(settings_.limits.connects_per_second_per_address),
                .bell_fds      = bell_fds},
               doors_.tcp[seat.shard]);
  if (seat.shard == 0) {
    HttpGateway::Setup http{.loop = seat.loop, .admin_token = admin_token_};
    for (uint32_t i = 0; i < plan_.shards; ++i)
      http.metrics.push_back({std::to_string(i), metrics_[i]});
    gateway.open_http(std::move(http), doors_.http, shard, *passwords_, *tokens_, limits_);
  }
  living_.fetch_add(1, std::memory_order_release);
  while (!shard.finished()) seat.loop.turn();
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
      : error.os == ENOSYS ? "this kernel has no io_uring: Linux 6.1 or newer is needed"
                           : std::strerror(error.os);
  return fail(kExitKernel, "io_uring", why);
}

int Server::run() {
  ::umask(077);
  if (sodium_init() < 0) return fail(kExitUsage, "libsodium", "no source of randomness");
  if (const int code = open_data()) return code;
  if (const int code = open_store()) return code;
  if (const int code = open_doors()) return code;
  fill_limits();
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
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  const auto started = runtime_->start(
      plan_.shards, plan_.ring, [this](engine::Runtime::Seat& seat) { live(seat); },
      [this] {
        connect_bells();
        for (uint32_t i = 0; i < plan_.shards; ++i) metrics_.push_back(&runtime_->metrics(i));
        relational_->start("sqlite");
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
  return wait_for_the_end();
}

int Server::wait_for_the_end() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, signal);
  while (living_.load(std::memory_order_acquire) > 0) {
    const timespec wait{0, 100'000'000};
    const int signal = sigtimedwait(&set, nullptr, &wait);
    if (drain_.failed.load(std::memory_order_relaxed)) {
      // Nothing may be acknowledged after a failed write; memory and kernel may disagree about buffers
      // in flight. Leave without unwinding.
      log::error("store_failed_exit");
      log::stop();
      std::_Exit(kExitStore);
    }
    if (signal != SIGTERM && signal != SIGINT) continue;
    const bool second = drain_.asked.exchange(true, std::memory_order_relaxed);
    if (second) drain_.hurry.store(true, std::memory_order_relaxed);
    log::info(second ? "closing_now" : "draining");
    ring_all();
  }
  runtime_->join();
  passwords_->stop();
  const auto closed = stores_->close();
  relational_->stop();
  if (!closed) log::warn("store_close_failed", {{"why", reason(closed.error())}});
  if (!settings_.ports_file.empty()) ::unlink(settings_.ports_file.c_str());
  log::info("stopped");
  return 0;
}

}  // namespace

int run_server(const Settings& settings) {
  const auto level  = settings.log.level == "debug"   ? log::Level::debug
                      : settings.log.level == "warn"  ? log::Level::warn
                      : settings.log.level == "error" ? log::Level::error
                                                      : log::Level::info;
  const auto format = settings.log.format == "json"   ? log::Format::json
                      : settings.log.format == "text" ? log::Format::text
                                                      : log::Format::automatic;
  log::start({.level = level, .format = format});
  int code = 0;
  {
    Server server(settings);
    code = server.run();
  }
  log::stop();
  return code;
}

}  // namespace ringtalk::gateway
