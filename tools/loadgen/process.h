// Process: processor time and memory of a process of this machine, and what machine it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace ringtalk::loadgen {

struct ProcessSample {
  double cpu_s       = 0;  // user and system, of all threads
  uint64_t rss_bytes = 0;
};
// Nothing: there is no such process here, or it may not be looked at.
std::optional<ProcessSample> sample_process(int pid);
// The name of the process, as the kernel keeps it; empty: there is none.
std::string process_name(int pid);

struct Machine {
  std::string cpu;
  uint32_t cores                  = 0;
  uint64_t memory_bytes           = 0;
  uint64_t memory_available_bytes = 0;
  std::string kernel;
  std::string host;
};
Machine this_machine();

}  // namespace ringtalk::loadgen
