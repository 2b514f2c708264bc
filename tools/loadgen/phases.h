// Phases: leads a run: users, threads, connect, warm-up, measure, drain; watches both processes.
//
// Thread rule  Called from the main thread, which sleeps between the seconds; the load is on the workers'.
// Errors       RunResult::problem with its exit code; then nothing else of the result is filled.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/config.h"
#include "tools/loadgen/doctor.h"
#include "tools/loadgen/process.h"
#include "tools/loadgen/scenario.h"
#include "tools/loadgen/users.h"
#include "tools/loadgen/worker.h"

namespace ringtalk::loadgen {

// Documented in --help and docs/LOADGEN.md.
enum ExitCode : int {
  kExitClean       = 0,
  kExitTrouble     = 1,
  kExitAnomaly     = 2,
  kExitVoid        = 3,
  kExitUnsupported = 4,
  kExitUsage       = 64,
};

struct Target {
  engine::Address server{"127.0.0.1", 8000};
  engine::Address http{"127.0.0.1", 8080};
  std::string token;       // of the admin API; empty: none is at hand
  std::string users_file;  // instead of making users
  bool progress = false;   // a line per second on standard error
};

// One second of all workers and of both processes.
struct SecondRow {
  uint64_t index = 0;  // since the run began
  std::string phase;
  Tally tally;
  engine::Histogram ack, delivery, login;
  uint32_t online        = 0;
  bool whole             = false;  // false: the run ended within it
  double server_cores    = -1;     // -1: not known
  uint64_t server_rss    = 0;
  double generator_cores = 0;
  uint64_t generator_rss = 0;
};

struct Usage {  // of one process over the measurement
  bool known          = false;
  double cpu_s        = 0;
  uint64_t rss_before = 0;  // before anybody connected
  uint64_t rss_idle   = 0;  // all connected, no load yet
  uint64_t rss_after  = 0;
};

struct RunResult {
  std::string problem;
  int exit_code = kExitClean;

  Scenario scenario;
  Examination examination;
  uint32_t threads  = 0;
  double users_s    = 0;  // making them; 0: read from a file
  double connect_s  = 0;
  double measured_s = 0;
  Worker::Outcome sum;
  std::vector<std::unique_ptr<SecondRow>> rows;
  Usage server, generator;
  std::vector<std::string> void_reasons;
  bool interrupted = false;
};

// accounts: reused by several runs against one server; made when empty.
void run_scenario(const Scenario& scenario, const Target& target, Accounts& accounts,
                  RunResult& result);

// The share of recorded values that are above `value`.
double share_above(const engine::Histogram& histogram, uint64_t value);
// When a send counts as late.
uint64_t late_ns(const Timings& timings);

}  // namespace ringtalk::loadgen
