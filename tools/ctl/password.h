// Password: where a secret comes from, and the form in which it goes over the wire.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/result.h"

namespace CLI {
class App;
}

namespace ringtalk::ctl {

inline constexpr size_t kPasswordBytesMax = 1024;

// The first that is set counts, in this order; with none the terminal is asked.
struct PasswordSource {
  std::string given;  // --password; "-" reads one line from standard input
  std::string file;   // --password-file: its first line
  // then the variable RINGTALK_PASSWORD
};

// --password and --password-file.
void add_password_options(CLI::App& app, PasswordSource& source);

enum class Ask : unsigned char { once, twice };  // twice: a new password, typed blind

// "-" is not echoed on a terminal and takes not a byte beyond the line, so that what follows is still
// there to be read.
// Errors: Errc::unsupported when the terminal would have to be asked and standard input is none,
// Errc::closed at the end of input, Errc::refused when the two entries differ, Errc::too_large,
// Errc::os for the file.
Result<std::string> obtain_password(const PasswordSource& source, std::string_view prompt, Ask ask);

// What went wrong there, and how else it can be given.
std::string password_problem(const Error& error, const PasswordSource& source);

// Lower-case hexadecimal MD5: what IMLoginReq carries.
std::string md5hex(std::string_view text);

}  // namespace ringtalk::ctl
