// The report of a run for a terminal.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace ringtalk::loadgen {

std::string report_text(const nlohmann::ordered_json& document);

// 1234567 as "1,234,567"; fractions only below 100.
std::string number_text(double value);
// Microseconds in the unit that reads best: "43 us", "5.9 ms", "1.20 s".
std::string us_text(double us);
std::string bytes_text(double bytes);

}  // namespace ringtalk::loadgen
