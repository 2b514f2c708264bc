// Printable: foreign text made safe and measurable for a terminal.
//
// Bound  escaped() returns at most four bytes for each byte taken ("\xNN"), eight for a code point.
// Why    a terminal obeys what it is shown: an escape sequence in a message could retitle the window,
//        fake other people's lines or, in careless terminals, type commands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ringtalk::ctl {

// Control characters (C0, DEL, C1), line and paragraph separators, direction overrides and bytes that
// are not UTF-8 become visible: "\n", "\x1b", "\u202e". All else is kept; the result is one line of UTF-8.
std::string escaped(std::string_view text);

struct CodePoint {
  char32_t value = 0;
  size_t bytes   = 1;  // 1 also for a byte that is no UTF-8: then valid is false
  bool valid     = false;
};

// text is not empty.
CodePoint first_code_point(std::string_view text);

// Columns that a terminal gives to a character: 0 (combining), 1 or 2 (East Asian wide, emoji).
int column_width(char32_t value);
size_t column_width(std::string_view text);

}  // namespace ringtalk::ctl
