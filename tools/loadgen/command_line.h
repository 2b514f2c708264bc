// The commands of ringtalk-loadgen: run a scenario, compare reports, search the capacity, doctor, list.
#pragma once

#include <string>
#include <vector>

namespace ringtalk::loadgen {

// words[0] is the program's name. Returns the exit code (phases.h).
int run_command(const std::vector<std::string>& words);

}  // namespace ringtalk::loadgen
