// `ringtalkctl top`: what each shard does, second by second.
//
// On a terminal it stays and redraws on the alternate screen until q; else, or with --once, it reads
// twice, prints one table (--json: one object) and ends.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>

#include "tools/ctl/command.h"
#include "tools/ctl/http_client.h"
#include "tools/ctl/printable.h"
#include "tools/ctl/raw_terminal.h"
#include "tools/ctl/top_view.h"

namespace ringtalk::ctl {

namespace {

using Clock = std::chrono::steady_clock;

constexpr char kControlC                 = 0x03;
constexpr std::string_view kEnterScreen  = "\x1b[?1049h\x1b[?25l";
constexpr std::string_view kLeaveScreen  = "\x1b[?25h\x1b[?1049l";
constexpr std::string_view kHomeAndErase = "\x1b[H\x1b[J";
constexpr std::chrono::milliseconds kMin = std::chrono::milliseconds(100);

struct TopOptions {
  bool once       = false;
  double interval = 1;  // seconds
};

volatile std::sig_atomic_t stop_requested = 0;
extern "C" void on_top_stop(int) { stop_requested = 1; }
extern "C" void on_top_resize(int) {}  // it is enough that poll() returns

void catch_signals() {
  struct sigaction action{};
  action.sa_handler = &on_top_stop;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  action.sa_handler = &on_top_resize;
  sigaction(SIGWINCH, &action, nullptr);
}

Answer<Reading> read_server(HttpClient& client) {
  auto metrics = client.text("/metrics");
  if (!metrics) return {.problem = metrics.problem, .status = metrics.status};
  Answer<Reading> out;
  out.value.at      = Clock::now();
  out.value.metrics = Metrics(metrics.value);
  auto status       = client.call(HttpClient::Method::get, "/api/v1/status");
  if (status) out.value.status = std::move(status.value);
  if (!status && status.status != 404) return {.problem = status.problem, .status = status.status};
  return out;
}

// True: q, ^C or end of input; false: the time is over.
bool wait_for_key(Clock::time_point until, const std::function<void()>& redraw) {
  while (stop_requested == 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    pollfd input{STDIN_FILENO, POLLIN, 0};
    const int ready = poll(&input, 1, static_cast<int>(left));
    if (ready < 0) {
      if (errno != EINTR) return true;
      redraw();
      continue;
    }
    if (ready == 0) return false;
    std::array<char, 64> keys;
    const ssize_t got = read(STDIN_FILENO, keys.data(), keys.size());
    if (got <= 0 && errno != EINTR) return true;
    for (ssize_t i = 0; i < got; ++i) {
      if (keys[i] == 'q' || keys[i] == 'Q' || keys[i] == kControlC) return true;
    }
  }
  return true;
}

// What fits on the screen, cut where the terminal would wrap.
std::string fitted(std::string_view text, TerminalSize size) {
  std::string out(kHomeAndErase);
  for (size_t row = 0; row + 1 < size.rows && !text.empty(); ++row) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    size_t columns = 0;
    while (!line.empty()) {
      const CodePoint point = first_code_point(line);
      columns += static_cast<size_t>(column_width(point.value));
      if (columns >= size.columns) break;
      out += line.substr(0, point.bytes);
      line.remove_prefix(point.bytes);
    }
    out += "\r\n";
  }
  return out;
}

int print_once(const Context& context, HttpClient& client, const TopOptions& options) {
  const auto before = read_server(client);
  if (!before) return fail_with(before.problem);
  usleep(static_cast<useconds_t>(options.interval * 1e6));
  const auto now = read_server(client);
  if (!now) return fail_with(now.problem);
  const auto rates = rates_between(before.value, now.value);
  if (context.json) {
    print_json(top_json(rates));
  } else {
    fmt::print("{}", top_text(now.value, rates));
  }
  return kExitOk;
}

int show_live(HttpClient& client, const TopOptions& options) {
  auto before = read_server(client);
  if (!before) return fail_with(before.problem);
  catch_signals();
  const RawTerminal terminal;
  fmt::print("{}", kEnterScreen);
  std::string text  = "reading…\n";
  const auto redraw = [&] {
    fmt::print("{}", fitted(text + "\nq quits\n", terminal_size()));
    std::fflush(stdout);
  };
  redraw();
  const auto interval = std::max<Clock::duration>(
      kMin,
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.interval)));
  while (!wait_for_key(Clock::now() + interval, redraw)) {
    auto now = read_server(client);
    if (now) {
      text   = top_text(now.value, rates_between(before.value, now.value));
      before = std::move(now);
    } else {
      text = escaped(now.problem) + "; trying again\n";
    }
    redraw();
  }
  fmt::print("{}", kLeaveScreen);
  std::fflush(stdout);
  return kExitOk;
}

bool is_live(const Context& context, const TopOptions& options) {
  if (options.once || context.json) return false;
  return RawTerminal().is_on();
}

}  // namespace

void add_top_command(CLI::App& app, Context& context) {
  auto options  = std::make_shared<TopOptions>();
  CLI::App* top = app.add_subcommand("top", "what each shard does, second by second; q quits");
  top->add_flag("--once", options->once, "one table, as when output is no terminal");
  top->add_option("--interval", options->interval, "seconds between two readings")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  top->callback([&context, options] {
    context.run = [&context, options] {
      return with_server(context, [&](HttpClient& client) {
        return is_live(context, *options) ? show_live(client, *options)
                                          : print_once(context, client, *options);
      });
    };
  });
}

}  // namespace ringtalk::ctl
