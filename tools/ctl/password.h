// Password: where a secret comes from, and the form in which it goes over the wire.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/result.h"

namespace ringtalk::ctl {

inline constexpr size_t kPasswordBytesMax = 1024;

// "-" reads one line from standard input (not echoed on a terminal, and not a byte beyond the line, so
// that what follows is still there to be read); "" asks on the terminal; all else is the password.
// Errors: Errc::unsupported when "" would have to ask and standard input is no terminal, Errc::closed at
// the end of input, Errc::too_large.
Result<std::string> obtain_password(std::string_view given, std::string_view prompt);

// Lower-case hexadecimal MD5: what IMLoginReq carries.
std::string md5hex(std::string_view text);

}  // namespace ringtalk::ctl
