#include "tools/loadgen/phases.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <thread>

#include "engine/random.h"
#include "engine/runtime.h"
#include "proto/parse.h"
#include "tools/loadgen/admin.h"
#include "tools/loadgen/groups.h"

namespace ringtalk::loadgen {
namespace {

constexpr uint64_t kStepNs          = 10 * kNsPerMs;  // the conductor's sleep
constexpr uint32_t kSourceNets      = 1u << 14;       // networks of 256 in 127.64.0.0/10
constexpr uint32_t kSourceFirst     = 0x7f40'0001;
constexpr double kOwnCpuMax         = 0.9;
constexpr double kLateShareMax      = 0.001;
constexpr uint32_t kGroupMembersMax = 2000;  // the server's default

volatile sig_atomic_t interrupted = 0;
void on_interrupt(int) { interrupted = interrupted + 1; }

std::string error_text(const Error& error) {
  if (error.code == Errc::unsupported) return "the kernel lacks an io_uring feature (6.1 has all)";
  return fmt::format("io_uring: {}", std::strerror(error.os));
}

}  // namespace

double share_above(const engine::Histogram& histogram, uint64_t value) {
  if (histogram.count() == 0 || histogram.max() <= value) return 0;
  double low = 0, high = 1;  // quantile(low) <= value < quantile(high)
  for (int i = 0; i < 40; ++i) {
    const double middle                                = (low + high) / 2;
    (histogram.quantile(middle) <= value ? low : high) = middle;
  }
  return 1 - low;
}

uint64_t late_ns(const Timings& timings) {
  return std::max<uint64_t>(kNsPerMs, timings.ack.quantile(0.99) / 10);
}

namespace {

// The life of one run.
class Conductor {
 public:
  Conductor(const Target& target, const Accounts& accounts, std::vector<uint32_t> groups,
            RunResult& result)
      : target_(target),
        accounts_(accounts),
        groups_(std::move(groups)),
        r_(result),
        s_(result.scenario) {}

  void run() {
    struct sigaction ours{}, before_int{}, before_term{};
    ours.sa_handler = &on_interrupt;
    sigaction(SIGINT, &ours, &before_int);
    sigaction(SIGTERM, &ours, &before_term);
    interrupted             = 0;
    epoch_ns_               = clock_.now_ns();
    r_.server.rss_before    = sample(server_pid()).rss_bytes;
    r_.generator.rss_before = sample(::getpid()).rss_bytes;
    make_workers();
    engine::Runtime runtime;
    const uint32_t unit       = std::max(2u, s_.group_size);  // shares differ by one of them
    const uint32_t per_thread = (s_.connections / unit + r_.threads - 1) / r_.threads * unit;
    const engine::RingConfig config{.sq_entries   = 2048,
                                    .cq_entries   = 16'384,
                                    .slots        = per_thread + 256,
                                    .buffers      = 1024,
                                    .buffer_bytes = 4096};
    const auto started = runtime.start(
        r_.threads, config,
        [this](engine::Runtime::Seat& seat) { workers_[seat.shard]->run(seat); }, [] {});
    if (started) {
      conduct();
      runtime.join();
      gather();
    } else {
      r_.problem   = error_text(started.error());
      r_.exit_code = kExitTrouble;
    }
    sigaction(SIGINT, &before_int, nullptr);
    sigaction(SIGTERM, &before_term, nullptr);
  }

 private:
  void make_workers() {
    // What is not divided: a pair, or a group.
    const uint32_t unit  = std::max(2u, s_.group_size);
    const uint32_t units = s_.connections / unit;
    engine::SystemRandom random;
    const auto run = static_cast<uint32_t>(random.next());
    const auto net = static_cast<uint32_t>(random.below(kSourceNets));
    in_addr server{};
    inet_pton(AF_INET, target_.server.host.c_str(), &server);
    uint32_t first = 0;
    for (uint32_t i = 0; i < r_.threads; ++i) {
      const uint32_t count = units / r_.threads + (i < units % r_.threads ? 1 : 0);
      workers_.push_back(std::make_unique<Worker>(WorkerSetup{
          .scenario = s_,
          .stage    = stage_,
          .accounts =
              std::span(accounts_.list).subspan(uint64_t{first} * unit, uint64_t{count} * unit),
          .groups = std::span(groups_).subspan(s_.group_size > 0 ? first : 0,
                                               s_.group_size > 0 ? count : 0),
          .first_pair     = first,
          .pairs_all      = units,
          .index          = i,
          .workers        = r_.threads,
          .run            = run,
          .fresh          = accounts_.fresh,
          .server_address = ntohl(server.s_addr),
          .server_port    = target_.server.port,
          .source_address =
              target_.server.is_loopback() ? kSourceFirst + (((net + i) % kSourceNets) << 8) : 0,
          .epoch_ns = epoch_ns_}));
      first += count;
    }
  }

  void conduct() {
    r_.server.known    = r_.examination.server_pid != 0;
    r_.generator.known = true;
    last_server_       = sample(server_pid());
    last_generator_    = sample(::getpid());
    if (!connect()) {
      stage_.give_up.store(true, std::memory_order_relaxed);
      phase_ = "leave";
      return wait_over();
    }
    r_.connect_s           = seconds(clock_.now_ns() - epoch_ns_);
    r_.server.rss_idle     = sample(server_pid()).rss_bytes;
    r_.generator.rss_idle  = sample(::getpid()).rss_bytes;
    const uint64_t begin   = clock_.now_ns() + 2 * kStepNs;
    const uint64_t measure = begin + s_.warmup_ms * kNsPerMs;
    const uint64_t end     = measure + s_.duration_ms * kNsPerMs;
    stage_.begin_ns.store(begin, std::memory_order_relaxed);
    phase_ = "warm-up";
    wait_until(measure);
    const ProcessSample server = sample(server_pid()), generator = sample(::getpid());
    const uint64_t began = clock_.now_ns();
    phase_               = "measure";
    if (interrupted == 0) wait_until(end);
    if (interrupted > 0) {
      r_.interrupted = true;
      stage_.stop.store(true, std::memory_order_relaxed);
    }
    r_.measured_s          = seconds(clock_.now_ns() - began);
    r_.server.cpu_s        = sample(server_pid()).cpu_s - server.cpu_s;
    r_.generator.cpu_s     = sample(::getpid()).cpu_s - generator.cpu_s;
    r_.server.rss_after    = sample(server_pid()).rss_bytes;
    r_.generator.rss_after = sample(::getpid()).rss_bytes;
    phase_                 = "drain";
    wait_over();
  }

  // False: somebody could not log in.
  bool connect() {
    phase_               = "connect";
    const uint64_t limit = epoch_ns_ + s_.connect_ms * kNsPerMs;
    for (;;) {
      const auto [wanted, online, over] = progress();
      if (wanted > 0 && online >= wanted) break;
      if (interrupted > 0) {
        r_.problem   = "interrupted while connecting";
        r_.exit_code = kExitTrouble;
        return false;
      }
      if (wanted == 0 || clock_.now_ns() >= limit) {
        r_.problem   = fmt::format("{} of {} connections were logged in {}", online, asked(),
                                 wanted == 0 ? "and nobody tries any more" : "in time");
        r_.exit_code = kExitTrouble;
        return false;
      }
      step();
    }
    if (progress().online < asked()) {
      r_.problem =
          fmt::format("{} of {} logins were refused", asked() - progress().online, asked());
      r_.exit_code = kExitTrouble;
      return false;
    }
    return true;
  }

  uint32_t asked() const {
    const uint32_t pairs = s_.connections / 2;
    return s_.connections - static_cast<uint32_t>(uint64_t{pairs} * s_.offline_percent / 100);
  }

  Worker::Progress progress() const {
    Worker::Progress sum{.over = true};
    for (const auto& worker : workers_) {
      const auto one = worker->progress();
      sum.wanted += one.wanted;
      sum.online += one.online;
      sum.over = sum.over && one.over;
    }
    return sum;
  }

  void wait_until(uint64_t ns) {
    while (clock_.now_ns() < ns && interrupted == 0) step();
  }

  void wait_over() {
    const int before = interrupted;
    while (!progress().over) {
      if (interrupted > before) stage_.give_up.store(true, std::memory_order_relaxed);
      step();
    }
  }

  // Sleeps a little; once a second it takes stock.
  void step() {
    std::this_thread::sleep_for(std::chrono::nanoseconds(kStepNs));
    const uint64_t second = (clock_.now_ns() - epoch_ns_) / kNsPerS;
    if (second == second_) return;
    take_stock();
    second_ = second;
  }

  SecondRow& row(uint64_t index) {
    while (r_.rows.size() <= index) {
      r_.rows.push_back(std::make_unique<SecondRow>());
      r_.rows.back()->index = r_.rows.size() - 1;
      r_.rows.back()->phase = phase_;
    }
    return *r_.rows[index];
  }

  void collect_seconds() {
    for (const auto& worker : workers_) {
      for (const Second& second : worker->take_seconds()) {
        SecondRow& to = row(second.index);
        to.tally += second.tally;
        if (second.ack) to.ack.merge(*second.ack);
        if (second.delivery) to.delivery.merge(*second.delivery);
        if (second.login) to.login.merge(*second.login);
      }
    }
  }

  void take_stock() {
    collect_seconds();
    SecondRow& now      = row(second_);
    now.whole           = true;
    now.phase           = phase_;
    const uint64_t at   = clock_.now_ns();
    const double passed = seconds(
        at - last_stock_ns_ > kNsPerS / 2 && last_stock_ns_ > 0 ? at - last_stock_ns_ : kNsPerS);
    const ProcessSample server = sample(server_pid());
    const ProcessSample own    = sample(::getpid());
    const auto state           = progress();
    now.online                 = state.online;
    now.generator_cores        = (own.cpu_s - last_generator_.cpu_s) / passed;
    now.generator_rss          = own.rss_bytes;
    if (r_.server.known) {
      now.server_cores = (server.cpu_s - last_server_.cpu_s) / passed;
      now.server_rss   = server.rss_bytes;
    }
    last_server_    = server;
    last_generator_ = own;
    last_stock_ns_  = at;
    if (target_.progress) show(now);
  }

  void show(const SecondRow& now) const {
    const char* end = ::isatty(STDERR_FILENO) ? "\r" : "\n";
    fmt::print(stderr,
               "{:>4} s  {:<8} {:>8} online  {:>8} sent/s  {:>8} acked/s  {:>8} delivered/s  "
               "ack p50 {:>7.0f} us p99 {:>7.0f} us  server {:>4.2f} cores{}",
               now.index, now.phase, now.online, now.tally.sent, now.tally.acked,
               now.tally.delivered, us(now.ack.quantile(0.5)), us(now.ack.quantile(0.99)),
               std::max(0.0, now.server_cores), end);
    std::fflush(stderr);
  }

  void gather() {
    collect_seconds();
    if (target_.progress && ::isatty(STDERR_FILENO)) fmt::print(stderr, "\n");
    Worker::Outcome& sum = r_.sum;
    sum.drained          = true;
    for (const auto& worker : workers_) {
      const Worker::Outcome& one = worker->outcome();
      sum.total += one.total;
      sum.measured += one.measured;
      sum.timings.merge(one.timings);
      sum.connect_login.merge(one.connect_login);
      sum.anomalies.merge(one.anomalies);
      for (const auto& [kind, count] : one.errors) sum.errors[kind] += count;
      sum.unknown += one.unknown;
      sum.storm_over_ns = std::max(sum.storm_over_ns, one.storm_over_ns);
      sum.drain_ns      = std::max(sum.drain_ns, one.drain_ns);
      sum.drained       = sum.drained && one.drained;
      sum.watch.merge(one.watch);
    }
    check_watched();
    if (!r_.problem.empty()) {
      for (const auto& [kind, count] : sum.errors)
        r_.problem += fmt::format("; {} x {}", count, kind);
      return;
    }
    judge();
  }

  // Each has seen all up to his newest, or that was told before; so what is missing is above it.
  void check_watched() {
    const Watch& watch = r_.sum.watch;
    for (uint64_t n = watch.missing(); n > 0; --n)
      r_.sum.anomalies.add(Anomaly::undelivered, "of the watched group, newest id", s_.watch_group,
                           watch.newest);
  }

  void judge() {
    const double cores = std::min(r_.threads, r_.examination.machine.cores);
    const double busy  = r_.generator.cpu_s / std::max(1e-9, r_.measured_s) / cores;
    if (busy > kOwnCpuMax)
      r_.void_reasons.push_back(fmt::format("the generator itself used {:.0f} % of its {} {}",
                                            busy * 100, cores, cores == 1 ? "core" : "cores"));
    const double late = share_above(r_.sum.timings.lateness, late_ns(r_.sum.timings));
    if (late > kLateShareMax)
      r_.void_reasons.push_back(fmt::format(
          "{:.2f} % of the sends left more than {:.1f} ms late by the generator's own fault",
          late * 100, us(late_ns(r_.sum.timings)) / 1000));
    if (r_.sum.anomalies.total() > 0) {
      r_.exit_code = kExitAnomaly;
    } else if (!r_.void_reasons.empty()) {
      r_.exit_code = kExitVoid;
    }
  }

  static double seconds(uint64_t ns) {
    return static_cast<double>(ns) / static_cast<double>(kNsPerS);
  }
  static double us(uint64_t ns) { return static_cast<double>(ns) / static_cast<double>(kNsPerUs); }
  int server_pid() const { return r_.examination.server_pid; }
  static ProcessSample sample(int pid) { return sample_process(pid).value_or(ProcessSample{}); }

  const Target& target_;
  const Accounts& accounts_;
  const std::vector<uint32_t> groups_;
  RunResult& r_;
  const Scenario& s_;
  engine::RealClock clock_;
  Stage stage_;
  std::vector<std::unique_ptr<Worker>> workers_;
  uint64_t epoch_ns_      = 0;
  uint64_t second_        = 0;
  uint64_t last_stock_ns_ = 0;
  std::string phase_      = "connect";
  ProcessSample last_server_, last_generator_;
};

void fail_run(RunResult& result, int exit_code, std::string problem) {
  result.exit_code = exit_code;
  result.problem   = std::move(problem);
}

// Members may bring together so many; larger groups are the operator's.
MadeGroups groups_of(const Scenario& s, const Target& target, Admin& admin,
                     const nlohmann::json& status, std::span<const Account> accounts) {
  uint32_t members_max = kGroupMembersMax;
  if (const auto limits = status.find("limits"); limits != status.end() && limits->is_object())
    members_max = limits->value("group_members_max", kGroupMembersMax);
  if (s.group_size <= members_max)
    return make_groups(target.server, accounts, s.group_size, s.client == "pc");
  if (!target.token.empty()) return make_large_groups(admin, accounts, s.group_size);
  return {.problem =
              fmt::format("groups of more than {} are made through the admin API: --data-dir "
                          "or --admin-token-file is needed",
                          members_max)};
}

}  // namespace

void run_scenario(const Scenario& scenario, const Target& target, Accounts& accounts,
                  RunResult& result) {
  proto::silence_protobuf_log();
  result.scenario = scenario;
  if (target.server.is_ipv6())
    return fail_run(result, kExitUsage,
                    "--server: an IPv4 address is needed, sources are chosen by it");
  Admin admin(target.http, target.token);
  const Answer status = admin.get("/api/v1/status");
  result.examination  = examine(scenario, target.server,
                               status.ok() ? status.value : nlohmann::json(), status.problem);
  result.threads      = result.examination.threads;
  if (result.examination.fatal())
    return fail_run(result, kExitTrouble,
                    "the doctor says no:\n" + examination_text(result.examination, false));
  if (accounts.list.size() < scenario.connections) {
    accounts =
        target.users_file.empty()
            ? make_accounts(
                  admin,
                  fmt::format("lg{:08x}-", static_cast<uint32_t>(engine::SystemRandom().next())),
                  scenario.connections)
            : read_accounts(target.users_file, scenario.connections);
    if (!accounts.problem.empty()) return fail_run(result, kExitTrouble, accounts.problem);
    result.users_s = accounts.seconds;
  }
  MadeGroups groups;
  if (scenario.group_size > 0) {
    groups = groups_of(scenario, target, admin, status.value,
                       std::span(accounts.list).first(scenario.connections));
    if (!groups.problem.empty())
      return fail_run(result, groups.unsupported ? kExitUnsupported : kExitTrouble, groups.problem);
  }
  Conductor(target, accounts, std::move(groups.ids), result).run();
}

}  // namespace ringtalk::loadgen
