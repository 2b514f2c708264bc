// Effective: what a server started now would run with, and where each value comes from.
//
// Order   as ringtalkd: environment over file over default; its command line cannot be seen from here.
// Errors  those of engine::ConfigSchema, one line each, and those of settings_conflicts().
#pragma once

#include <map>
#include <string>
#include <vector>

#include "gateway/settings.h"

namespace ringtalk::ctl {

struct EffectiveValue {
  std::string path;    // "limits.sends_per_second"
  std::string value;   // as in the file; "(hidden)" for secrets
  std::string origin;  // "default", "FILE:LINE" or the variable's name
};

struct Effective {
  gateway::Settings settings;
  std::vector<EffectiveValue> values;  // in the order of the manual
  std::vector<std::string> errors;     // none: the rest is good
  std::vector<std::string> warnings;
};

// file: "" for none. environment: engine::read_environment(), or nothing to look at the file alone.
Effective read_effective(const std::string& file,
                         const std::map<std::string, std::string>& environment);

// A text that is called password, secret, token or key.
bool is_secret(const engine::Setting& setting);

}  // namespace ringtalk::ctl
