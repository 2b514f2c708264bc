#include "tools/ctl/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/assert.h"
#include "tools/ctl/printable.h"

namespace ringtalk::ctl {

Table::Table(std::vector<std::string> headings) {
  for (std::string& heading : headings) {
    right_.push_back(heading.ends_with('>'));
    if (right_.back()) heading.pop_back();
  }
  lines_.push_back(std::move(headings));
}

void Table::add(const std::vector<std::string>& cells) {
  RT_ASSERT(cells.size() == right_.size());
  std::vector<std::string> line;
  line.reserve(cells.size());
  for (const std::string& cell : cells) line.push_back(escaped(cell));
  lines_.push_back(std::move(line));
}

std::string Table::text() const {
  std::vector<size_t> widths(right_.size());
  for (const auto& line : lines_) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], column_width(line[i]));
  }
  std::string out;
  for (const auto& line : lines_) {
    for (size_t i = 0; i < line.size(); ++i) {
      const size_t blanks = widths[i] - column_width(line[i]);
      if (i > 0) out += "  ";
      if (right_[i]) out.append(blanks, ' ');
      out += line[i];
      if (!right_[i]) out.append(blanks, ' ');
    }
    while (out.ends_with(' ')) out.pop_back();
    out += '\n';
  }
  return out;
}

std::string counted(uint64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string short_number(double value) {
  constexpr const char* kUnits[] = {"", "k", "M", "G", "T"};
  size_t unit                    = 0;
  while (std::abs(value) >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  const bool whole = unit == 0 || std::abs(value) >= 9.95;
  return fmt::format("{:.{}f}{}", value, whole ? 0 : 1, kUnits[unit]);
}

std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit                    = 0;
  while (bytes >= 1024 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<uint64_t>(std::max(0.0, seconds));
  if (whole < 120) return fmt::format("{} s", whole);
  if (whole < 7200) return fmt::format("{} min", whole / 60);
  if (whole < 172'800) return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
  return fmt::format("{} d {:02} h", whole / 86'400, whole / 3600 % 24);
}

}  // namespace ringtalk::ctl
