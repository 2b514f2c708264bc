#include "tools/ctl/printable.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "engine/base/assert.h"

namespace ringtalk::ctl {

namespace {

bool is_hostile(char32_t value) {
  return value < 0x20 || (value >= 0x7f && value < 0xa0)           // C0, DEL, C1
         || value == 0x061c || value == 0x200e || value == 0x200f  // direction marks
         || (value >= 0x2028 && value <= 0x202e)  // separators, embeddings, overrides
         || (value >= 0x2066 && value <= 0x2069)  // isolates
         || value == 0xfeff || (value >= 0xfff9 && value <= 0xfffb) ||
         (value >= 0xe0000 && value <= 0xe007f);  // invisible tags
}

void append_escape(std::string& out, char32_t value) {
  switch (value) {
    case U'\n': out += "\\n"; return;
    case U'\r': out += "\\r"; return;
    case U'\t': out += "\\t"; return;
    default: break;
  }
  const auto number = static_cast<uint32_t>(value);
  if (number < 0x80) {
    fmt::format_to(std::back_inserter(out), "\\x{:02x}", number);
  } else {
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", number);
  }
}

struct Range {
  char32_t first;
  char32_t last;
};

// Unicode 15 blocks, coarsely: enough to keep the cursor where the terminal has it.
constexpr std::array kNarrow = {Range{0x300, 0x36f},   Range{0x483, 0x489},   Range{0x591, 0x5bd},
                                Range{0x610, 0x61a},   Range{0x64b, 0x65f},   Range{0xe31, 0xe31},
                                Range{0xe34, 0xe3a},   Range{0xe47, 0xe4e},   Range{0x1ab0, 0x1aff},
                                Range{0x1dc0, 0x1dff}, Range{0x200b, 0x200d}, Range{0x20d0, 0x20ff},
                                Range{0xfe00, 0xfe0f}, Range{0xfe20, 0xfe2f}};
constexpr std::array kWide   = {
    Range{0x1100, 0x115f},   Range{0x231a, 0x231b},   Range{0x2e80, 0x303e},
    Range{0x3041, 0xa4cf},   Range{0xa960, 0xa97f},   Range{0xac00, 0xd7a3},
    Range{0xf900, 0xfaff},   Range{0xfe30, 0xfe6f},   Range{0xff00, 0xff60},
    Range{0xffe0, 0xffe6},   Range{0x1f300, 0x1f64f}, Range{0x1f680, 0x1f6ff},
    Range{0x1f900, 0x1f9ff}, Range{0x20000, 0x3fffd}};

template <size_t N>
bool within(const std::array<Range, N>& ranges, char32_t value) {
  const auto at = std::ranges::lower_bound(ranges, value, {}, &Range::last);
  return at != ranges.end() && at->first <= value;
}

}  // namespace

CodePoint first_code_point(std::string_view text) {
  RT_ASSERT(!text.empty());
  const auto byte  = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto first = byte(0);
  if (first < 0x80) return {first, 1, true};
  const size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < bytes) return {first, 1, false};
  char32_t value = first & (0x7f >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {first, 1, false};
    value = value << 6 | (byte(i) & 0x3f);
  }
  const bool overlong  = (bytes == 3 && value < 0x800) || (bytes == 4 && value < 0x10000);
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (overlong || surrogate || value > 0x10ffff) return {first, 1, false};
  return {value, bytes, true};
}

std::string escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint point = first_code_point(text);
    if (!point.valid) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned>(point.value));
    } else if (is_hostile(point.value)) {
      append_escape(out, point.value);
    } else {
      out += text.substr(0, point.bytes);
    }
    text.remove_prefix(point.bytes);
  }
  return out;
}

int column_width(char32_t value) {
  if (value < 0x300) return 1;
  if (within(kNarrow, value)) return 0;
  return within(kWide, value) ? 2 : 1;
}

size_t column_width(std::string_view text) {
  size_t columns = 0;
  while (!text.empty()) {
    const CodePoint point = first_code_point(text);
    columns += static_cast<size_t>(column_width(point.value));
    text.remove_prefix(point.bytes);
  }
  return columns;
}

}  // namespace ringtalk::ctl
