#include "tools/loadgen/doctor.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>

#include "engine/base/units.h"

namespace ringtalk::loadgen {
namespace {

using Grade = Finding::Grade;

constexpr uint32_t kSlotsSpare = 512;  // of a ring's table: for logins that overlap with closes
constexpr uint64_t kConnectionBytes =
    2048;  // of ours, without sends under way; measured, rounded up
constexpr uint64_t kKernelBytes    = 7168;  // a loopback pair, both ends
constexpr uint32_t kEphemeralPorts = 28'000;

uint64_t raise_nofile() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  getrlimit(RLIMIT_NOFILE, &files);
  return files.rlim_cur;
}

void look_at_descriptors(const Scenario& s, Examination& e) {
  const uint64_t nofile   = raise_nofile();
  const uint64_t per_ring = nofile > 2 * kSlotsSpare ? nofile - kSlotsSpare : nofile / 2;
  const auto needed       = static_cast<uint32_t>((s.connections + per_ring - 1) / per_ring);
  const uint32_t wanted   = s.threads > 0 ? s.threads : std::max(1u, e.machine.cores / 2);
  e.threads               = std::clamp(std::max(wanted, needed), 1u,
                                       std::max(1u, s.connections / std::max(2u, s.group_size)));
  e.findings.push_back(
      {Grade::good, fmt::format("{} descriptors per ring, {} connections: {} {}", nofile,
                                s.connections, e.threads, e.threads == 1 ? "ring" : "rings")});
  const uint64_t unit  = std::max(2u, s.group_size);
  const uint64_t share = (s.connections / unit + e.threads - 1) / e.threads * unit;
  if (share > per_ring)
    e.findings.push_back(
        {Grade::fatal, fmt::format("the members of a group are on one ring, whose table holds {}, "
                                   "and {} are wanted (RLIMIT_NOFILE)",
                                   per_ring, share)});
  if (s.threads > 0 && needed > s.threads)
    e.findings.push_back(
        {Grade::note, fmt::format("threads = {}, raised to {}: a ring's table holds "
                                  "RLIMIT_NOFILE descriptors",
                                  s.threads, needed)});
}

void look_at_memory(const Scenario& s, bool same_machine, Examination& e) {
  const uint64_t each = kConnectionBytes + (same_machine ? kKernelBytes + 1024 : kKernelBytes / 2);
  const uint64_t needed = each * s.connections;
  const uint64_t have   = e.machine.memory_available_bytes;
  const auto text = fmt::format("about {} MiB for {} connections, {} MiB available", needed / kMiB,
                                s.connections, have / kMiB);
  e.findings.push_back({needed > have ? Grade::fatal : Grade::good, text});
}

void look_at_ports(const Scenario& s, const engine::Address& server, Examination& e) {
  if (server.is_loopback()) {
    e.findings.push_back({Grade::good,
                          "the target is loopback: sources in 127.64.0.0/10 with "
                          "explicit ports, no limit of 28,000 connections"});
    return;
  }
  unsigned low = 0, high = 0;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> low >> high;
  const uint32_t ports = high > low ? high - low + 1 : kEphemeralPorts;
  const bool enough    = s.connections <= ports;
  e.findings.push_back({enough ? Grade::good : Grade::fatal,
                        fmt::format("{} source ports towards {} (net.ipv4.ip_local_port_range)",
                                    ports, server.text())});
}

uint64_t number_of(const nlohmann::json& from, const char* key) {
  const auto at = from.find(key);
  return at != from.end() && at->is_number_unsigned() ? at->get<uint64_t>() : 0;
}

void look_at_limits(const Scenario& s, Examination& e) {
  const auto limits = e.server.find("limits");
  if (limits == e.server.end() || !limits->is_object()) return;
  e.limits_known       = true;
  const uint64_t sends = number_of(*limits, "sends_per_second");
  const uint64_t most  = number_of(*limits, "max_connections");
  e.limits_lifted      = sends == 0;
  const double each    = s.connections > 0 ? static_cast<double>(s.rate) / s.connections : 0;
  if (sends == 0) {
    e.findings.push_back({Grade::good, "the server's rate limit of sends is lifted"});
  } else {
    const bool meets = s.closed_loop() || each * 3 > static_cast<double>(sends);
    e.findings.push_back(
        {meets ? Grade::warning : Grade::note,
         fmt::format("the server's rate limit is in force: {} sends/s per user; this scenario {} "
                     "(limits.sends_per_second = 0 lifts it)",
                     sends,
                     s.closed_loop() ? "has no rate of its own and will meet it"
                                     : fmt::format("wants {:.2f}", each))});
  }
  if (most != 0 && most < s.connections)
    e.findings.push_back(
        {Grade::fatal, fmt::format("the server takes {} connections, {} are wanted "
                                   "(limits.max_connections)",
                                   most, s.connections)});
  uint64_t slots = 0;
  if (const auto shards = e.server.find("shards"); shards != e.server.end() && shards->is_array())
    for (const auto& shard : *shards) slots += number_of(shard, "connection_slots");
  if (slots > 0 && slots < s.connections)
    e.findings.push_back(
        {Grade::fatal, fmt::format("the server's shards have {} connection slots, {} are "
                                   "wanted (more --shards)",
                                   slots, s.connections)});
}

void look_at_place(const engine::Address& server, Examination& e) {
  const auto pid = static_cast<int>(number_of(e.server, "pid"));
  if (server.is_loopback() && process_name(pid).starts_with("ringtalk")) e.server_pid = pid;
  if (e.server_pid == 0) {
    e.findings.push_back({Grade::note,
                          "the server is not a process of this machine that can be looked "
                          "at: its processor time and memory are not reported"});
    return;
  }
  e.findings.push_back(
      {e.machine.cores < 4 ? Grade::warning : Grade::note,
       fmt::format(
           "generator and server share this machine's {} cores: a send on loopback does the "
           "receiver's work too, so rates are lower and latencies higher than over a network",
           e.machine.cores)});
}

}  // namespace

bool Examination::fatal() const {
  return std::ranges::any_of(findings, [](const Finding& f) { return f.grade == Grade::fatal; });
}

Examination examine(const Scenario& scenario, const engine::Address& server,
                    const nlohmann::json& status, const std::string& status_problem) {
  Examination e{.machine = this_machine(), .server = status};
  look_at_descriptors(scenario, e);
  look_at_ports(scenario, server, e);
  if (status.is_object()) {
    look_at_place(server, e);
    look_at_limits(scenario, e);
  } else {
    e.findings.push_back({Grade::warning,
                          "the server's status is not known, nor whether its rate "
                          "limits are lifted: " +
                              status_problem});
  }
  look_at_memory(scenario, e.server_pid != 0, e);
  return e;
}

std::string examination_text(const Examination& examination, bool all) {
  constexpr const char* kMarks[] = {"ok     ", "note   ", "WARNING", "FATAL  "};
  std::string text;
  for (const Finding& finding : examination.findings) {
    if (!all && finding.grade < Grade::warning) continue;
    text += fmt::format("  {} {}\n", kMarks[static_cast<size_t>(finding.grade)], finding.text);
  }
  return text;
}

}  // namespace ringtalk::loadgen
