// The document of a run, from which every other output is made; --json writes it.
//
// Format  docs/LOADGEN.md. `format` rises when a key changes its meaning; new keys may come any time.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/loadgen/phases.h"

namespace ringtalk::loadgen {

inline constexpr int kReportFormat = 1;

nlohmann::ordered_json report_document(const RunResult& result,
                                       const std::vector<std::string>& command_line);

// HdrHistogram's percentile text of the acknowledgement latencies, in ms.
std::string hgrm_text(const engine::Histogram& histogram);

// Empty: written. Otherwise what went wrong.
std::string write_file(const std::string& file, const std::string& text);

}  // namespace ringtalk::loadgen
