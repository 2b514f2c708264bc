#include "tools/loadgen/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace ringtalk::loadgen {
namespace {

constexpr double kWidth = 560, kHeight = 250;
constexpr double kLeft = 64, kRight = 16, kTop = 14, kBottom = 30;
constexpr size_t kMarkedPointsMax =
    400;  // beyond it a point's own value would only weigh down the page

// Round numbers that divide low…high into about five.
std::vector<double> round_steps(double low, double high) {
  const double rough = (high - low) / 5;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step        = power;
  for (const double factor : {1.0, 2.0, 5.0, 10.0})
    if (step = power * factor; step >= rough) break;
  std::vector<double> steps;
  for (double at = std::ceil(low / step) * step; at <= high + step * 1e-9; at += step)
    steps.push_back(at);
  return steps;
}

class Scale {
 public:
  Scale(Chart::Axis axis, double low, double high, double from, double to, double unit = 1)
      : axis_(axis), unit_(unit), low_(place(low)), high_(place(high)), from_(from), to_(to) {
    if (high_ <= low_) high_ = low_ + 1;
  }
  double operator()(double value) const {
    const double share = (std::max(place(value), low_) - low_) / (high_ - low_);
    return from_ + share * (to_ - from_);
  }
  std::vector<double> ticks() const {
    std::vector<double> ticks;
    if (axis_ == Chart::Axis::linear) {
      ticks = round_steps(low_ / unit_, high_ / unit_);
      for (double& tick : ticks) tick *= unit_;
      return ticks;
    }
    for (double power = std::ceil(low_ - 1e-9); power <= high_ + 1e-9; power += 1)
      ticks.push_back(axis_ == Chart::Axis::percentile ? 1 - std::pow(10, -power)
                                                       : std::pow(10, power));
    return ticks;
  }

 private:
  double place(double value) const {
    switch (axis_) {
      case Chart::Axis::linear: return value;
      case Chart::Axis::logarithmic: return std::log10(std::max(value, 1e-9));
      case Chart::Axis::percentile: return -std::log10(std::max(1 - value, 1e-6));
    }
    return value;
  }
  Chart::Axis axis_;
  double unit_;
  double low_, high_, from_, to_;
};

struct Bounds {
  double x_min = std::numeric_limits<double>::max(), x_max = std::numeric_limits<double>::lowest();
  double y_min = x_min, y_max = x_max;
};

Bounds bounds_of(const Chart& chart) {
  Bounds b;
  for (const ChartLine& line : chart.lines) {
    for (const auto& [x, y] : line.points) {
      b.x_min = std::min(b.x_min, x), b.x_max = std::max(b.x_max, x);
      if (chart.y == Chart::Axis::logarithmic && y <= 0) continue;
      b.y_min = std::min(b.y_min, y), b.y_max = std::max(b.y_max, y);
    }
  }
  if (chart.y == Chart::Axis::linear) {
    b.y_min = 0;
    b.y_max = b.y_max <= 0 ? 1 : b.y_max * 1.08;
  } else {  // whole decades
    b.y_min = std::pow(10, std::floor(std::log10(b.y_min)));
    b.y_max = std::pow(10, std::ceil(std::log10(b.y_max) + 1e-9));
  }
  return b;
}

std::string x_text(const Chart& chart, double x) {
  if (chart.x != Chart::Axis::percentile) return fmt::format("{:g} s", x);
  return x <= 0 ? "0 %" : fmt::format("{:.6g} %", x * 100);
}

}  // namespace

std::string html_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string svg_chart(const Chart& chart) {
  const bool drawable = std::ranges::any_of(
      chart.lines, [](const ChartLine& line) { return line.points.size() > 1; });
  if (!drawable) return "";
  const Bounds b = bounds_of(chart);
  if (b.y_max <= 0 || b.x_max <= b.x_min) return "";
  const Scale x(chart.x, b.x_min, b.x_max, kLeft, kWidth - kRight);
  const Scale y(chart.y, b.y_min, b.y_max, kHeight - kBottom, kTop, chart.y_unit);

  std::string out = fmt::format("<figure><figcaption>{}", html_escaped(chart.title));
  for (const ChartLine& line : chart.lines)
    if (line.points.size() > 1)
      out += fmt::format("<span class=\"key\"><i style=\"background:var(--line-{})\"></i>{}</span>",
                         line.color, html_escaped(line.name));
  out += fmt::format("</figcaption><svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
                     kWidth, kHeight, html_escaped(chart.title));
  for (const ChartSpan& span : chart.spans) {
    const double from = x(std::clamp(span.from, b.x_min, b.x_max)),
                 to   = x(std::clamp(span.to, b.x_min, b.x_max));
    if (to - from < 1) continue;
    out += fmt::format(
        "<rect class=\"span\" x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" "
        "height=\"{}\"><title>{}</title></rect>",
        from, kTop, to - from, kHeight - kTop - kBottom, html_escaped(span.name));
  }
  for (const double tick : y.ticks())
    out += fmt::format(
        "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
        "<text class=\"tick\" text-anchor=\"end\" x=\"{}\" y=\"{:.1f}\">{}</text>",
        kLeft, kWidth - kRight, y(tick), y(tick), kLeft - 8, y(tick) + 4,
        html_escaped(chart.y_tick(tick)));
  for (const double tick : x.ticks()) {
    const bool at_edge = x(tick) > kWidth - kRight - 16;
    out += fmt::format("<text class=\"tick\" text-anchor=\"{}\" x=\"{:.1f}\" y=\"{}\">{}</text>",
                       at_edge ? "end" : "middle", at_edge ? kWidth - 2 : x(tick), kHeight - 10,
                       x_text(chart, tick));
  }
  for (const ChartLine& line : chart.lines) {
    if (line.points.size() < 2) continue;
    std::string path;
    for (const auto& [px, py] : line.points) path += fmt::format("{:.1f},{:.1f} ", x(px), y(py));
    out +=
        fmt::format("<polyline style=\"stroke:var(--line-{})\" points=\"{}\"/>", line.color, path);
    if (line.points.size() > kMarkedPointsMax) continue;
    for (const auto& [px, py] : line.points)
      out += fmt::format(
          "<circle style=\"fill:var(--line-{})\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\"><title>{} {}: "
          "{}</title></circle>",
          line.color, x(px), y(py), x_text(chart, px), html_escaped(line.name),
          html_escaped(chart.y_text(py)));
  }
  return out + "</svg></figure>\n";
}

}  // namespace ringtalk::loadgen
