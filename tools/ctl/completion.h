// Completion: the words of a command line, as a script for bash.
//
// Why  made from CLI11's own tables when the package is built: a new verb or option is in it at once, and
//      nothing has to be kept in step.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace ringtalk::ctl {

// Verbs and options of every level. What takes a value of a fixed set offers the set, FILE and DIR what
// the file system has, other values nothing. Hidden verbs and options stay hidden.
std::string bash_completion(const CLI::App& app);

}  // namespace ringtalk::ctl
