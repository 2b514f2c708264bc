#include "tools/ctl/command.h"

#include <fmt/format.h>

#include <cstdio>

#include "tools/ctl/printable.h"

namespace ringtalk::ctl {

void complain(std::string_view text) { fmt::print(stderr, "ringtalkctl: {}\n", escaped(text)); }

}  // namespace ringtalk::ctl
