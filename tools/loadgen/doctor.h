// Doctor: looks at both machines' conditions before a run, for what would spoil it or must be known.
//
// Findings  fatal: the run cannot be what was asked; warning: it can, but read the result with this in mind.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/config.h"
#include "tools/loadgen/process.h"
#include "tools/loadgen/scenario.h"

namespace ringtalk::loadgen {

struct Finding {
  enum class Grade : uint8_t { good, note, warning, fatal };
  Grade grade;
  std::string text;
};

struct Examination {
  Machine machine;
  nlohmann::json server;   // of GET /api/v1/status; null: it was not asked or did not answer
  int server_pid     = 0;  // 0: not a process of this machine
  bool limits_lifted = false;
  bool limits_known  = false;
  uint32_t threads   = 1;  // that the scenario needs
  std::vector<Finding> findings;

  bool fatal() const;
};

Examination examine(const Scenario& scenario, const engine::Address& server,
                    const nlohmann::json& status, const std::string& status_problem);

// One line per finding, for a terminal.
std::string examination_text(const Examination& examination, bool all);

}  // namespace ringtalk::loadgen
