// The report of a run as one self-contained page: no script, no font, no resource from anywhere.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace ringtalk::loadgen {

std::string report_html(const nlohmann::ordered_json& document);

}  // namespace ringtalk::loadgen
