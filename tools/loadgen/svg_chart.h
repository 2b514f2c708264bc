// SvgChart: a line chart as inline SVG: axes with round numbers, a legend, shaded spans, a value on each point.
//
// Why  The report must open anywhere for years: no script, no font, no file but itself. Colours are CSS
//      variables of the page, so that it follows a dark screen.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace ringtalk::loadgen {

struct ChartLine {
  std::string name;
  uint32_t color = 1;  // 1…4: --line-1 …
  std::vector<std::pair<double, double>> points;
};

struct ChartSpan {  // shaded along x
  double from = 0, to = 0;
  std::string name;
};

struct Chart {
  enum class Axis : uint8_t {
    linear,
    logarithmic,
    percentile
  };  // percentile: x is 0…1, drawn as 1/(1-x)

  std::string title;
  Axis x                        = Axis::linear;
  Axis y                        = Axis::linear;
  std::string (*y_text)(double) = nullptr;  // of a value
  std::string (*y_tick)(double) = nullptr;  // of a number on the axis
  double y_unit                 = 1;        // the axis has round numbers of these
  std::vector<ChartLine> lines;
  std::vector<ChartSpan> spans;
};

// Empty if no line has two points.
std::string svg_chart(const Chart& chart);
std::string html_escaped(const std::string& text);

}  // namespace ringtalk::loadgen
