// ringtalk-loadgen: loads a server with virtual users, checks every answer, and reports.
#include <string>
#include <vector>

#include "tools/loadgen/command_line.h"

int main(int argc, char** argv) { return ringtalk::loadgen::run_command({argv, argv + argc}); }
