#include "tools/loadgen/command_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "tools/loadgen/admin.h"
#include "tools/loadgen/capacity.h"
#include "tools/loadgen/compare.h"
#include "tools/loadgen/phases.h"
#include "tools/loadgen/report_html.h"
#include "tools/loadgen/report_json.h"
#include "tools/loadgen/report_text.h"

namespace ringtalk::loadgen {
namespace {

constexpr const char* kHelp =
    R"(Loads a ringtalk server with virtual users and checks every answer.

  ringtalk-loadgen SCENARIO [key=value | --key value]... [options]
  ringtalk-loadgen list                      the scenarios, and every key with its range
  ringtalk-loadgen doctor SCENARIO [...]     only looks whether a run would be sound
  ringtalk-loadgen compare A.json B.json     is B better or worse? [A1 A2 A3 -- B1 B2 B3]
  ringtalk-loadgen capacity SCENARIO --p99 5ms [--rate-max N] [...]
                                             the highest rate within that ack p99
  ringtalk-loadgen report A.json [--html FILE]
                                             shows a result again

  SCENARIO is a name (see list) or the path of a TOML file.

Target
  --server HOST:PORT         TeamTalk door                      127.0.0.1:8000
  --http HOST:PORT           admin API                          127.0.0.1:8080
  --data-dir DIR             the server's, holds admin.token
  --admin-token-file FILE    instead of DIR/admin.token
  --users-file FILE          lines `id name secret` instead of making users
  --save-users FILE          writes the users it made, for --users-file

Load: any key of the scenario, and these short forms
  --duration T  --warmup T  --drain T        T as 10s, 500ms or seconds
  --payload BYTES                            of payload_bytes
  --rate, --window, --seed, --connections, --threads

Output
  --json FILE                the whole result as one document
  --html FILE                one self-contained page with curves
  --hgrm FILE                ack latencies, HdrHistogram percentile text
  --progress, --quiet        a line per second on standard error, or never; else on a terminal

Exit code
   0  clean
   1  runtime trouble
   2  an anomaly: a message lost, repeated, out of order, damaged, or given to somebody else
   3  void: the generator itself was the limit
   4  the server does not have what the scenario needs
  64  wrong command line
)";

struct Options {
  Target target;
  std::string scenario;
  std::map<std::string, std::string> keys;  // of the scenario
  std::string data_dir, token_file, json, hgrm, html, save_users;
  CapacityLimits capacity;
  bool help = false;
};

// "10s", "500ms" or "10" as milliseconds; empty: none of them.
std::string milliseconds(const std::string& text) {
  double value            = 0;
  const char* const end   = text.data() + text.size();
  const auto [rest, fail] = std::from_chars(text.data(), end, value);
  const std::string_view unit(rest, static_cast<size_t>(end - rest));
  if (fail != std::errc{} || value < 0 || value > 1e9) return "";
  if (unit == "ms") return fmt::format("{:.0f}", value);
  if (unit == "s" || unit.empty()) return fmt::format("{:.0f}", value * 1000);
  if (unit == "m") return fmt::format("{:.0f}", value * 60'000);
  return "";
}

class Parser {
 public:
  explicit Parser(Options& options) : o_(options) {}

  // Empty, or what is wrong.
  std::string parse(const std::vector<std::string>& words) {
    for (size_t i = 0; i < words.size(); ++i) {
      const std::string& word = words[i];
      if (!word.starts_with("--")) {
        const size_t equals = word.find('=');
        std::string problem = equals == std::string::npos
                                  ? take_scenario(word)
                                  : set(word.substr(0, equals), word.substr(equals + 1));
        if (!problem.empty()) return problem;
        continue;
      }
      std::string key = word.substr(2);
      if (key == "help") return o_.help = true, "";
      if (key == "progress" || key == "quiet") {
        o_.target.progress = key == "progress";
        continue;
      }
      std::string value;
      if (const size_t equals = key.find('='); equals != std::string::npos) {
        value = key.substr(equals + 1);
        key.resize(equals);
      } else if (++i < words.size()) {
        value = words[i];
      } else {
        return word + ": a value is missing";
      }
      if (std::string problem = set(key, value); !problem.empty()) return problem;
    }
    return "";
  }

 private:
  std::string take_scenario(const std::string& word) {
    if (!o_.scenario.empty()) return word + ": a second scenario";
    o_.scenario = word;
    return "";
  }

  std::string set(std::string key, const std::string& value) {
    for (char& c : key)
      if (c == '-') c = '_';
    std::string problem;
    if (key == "server" || key == "http") {
      engine::Address& address = key == "server" ? o_.target.server : o_.target.http;
      return engine::parse_address(value, address, problem) ? ""
                                                            : fmt::format("--{}: {}", key, problem);
    }
    const std::map<std::string, std::string*> texts{{"data_dir", &o_.data_dir},
                                                    {"admin_token_file", &o_.token_file},
                                                    {"users_file", &o_.target.users_file},
                                                    {"json", &o_.json},
                                                    {"hgrm", &o_.hgrm},
                                                    {"save_users", &o_.save_users},
                                                    {"html", &o_.html}};
    if (const auto at = texts.find(key); at != texts.end()) {
      *at->second = value;
      return "";
    }
    if (key == "duration" || key == "warmup" || key == "drain") {
      o_.keys[key + "_ms"] = milliseconds(value);
      return o_.keys[key + "_ms"].empty()
                 ? fmt::format("--{}: a time like 10s or 500ms is expected", key)
                 : "";
    }
    if (key == "p99") {
      const std::string ms = milliseconds(value);
      double limit         = 0;  // fractions of a millisecond count here
      std::from_chars(value.data(), value.data() + value.size(), limit);
      if (ms.empty()) return "--p99: a time like 5ms is expected";
      o_.capacity.p99_ns = value.ends_with("ms") ? static_cast<uint64_t>(limit * kNsPerMs)
                                                 : std::stoull(ms) * kNsPerMs;
      return o_.capacity.p99_ns > 0 ? "" : "--p99: must be more than nothing";
    }
    if (key == "rate_max") {
      const auto [end, fail] =
          std::from_chars(value.data(), value.data() + value.size(), o_.capacity.rate_max);
      const bool good = fail == std::errc{} && end == value.data() + value.size() &&
                        o_.capacity.rate_max > 0 && o_.capacity.rate_max <= 10'000'000;
      return good ? "" : "--rate-max: 1…10000000 is expected";
    }
    if (key == "payload") key = "payload_bytes";
    o_.keys[key] = value;
    return "";
  }

  Options& o_;
};

int complain(const std::vector<std::string>& problems, int code) {
  for (const std::string& problem : problems) fmt::print(stderr, "ringtalk-loadgen: {}\n", problem);
  return code;
}

// Everything a run needs but the users; the exit code, or kExitClean.
int prepare(Options& options, Scenario& scenario) {
  if (options.scenario.empty())
    return complain({"which scenario? `ringtalk-loadgen list` names them, --help tells more"},
                    kExitUsage);
  const std::string file = find_scenario(options.scenario);
  if (file.empty())
    return complain(
        {fmt::format("no scenario {}: `ringtalk-loadgen list` names them", options.scenario)},
        kExitUsage);
  if (auto problems = load_scenario(file, options.keys, scenario); !problems.empty())
    return complain(problems, kExitUsage);
  std::string problem;
  if (options.token_file.empty() && !options.data_dir.empty())
    options.token_file = options.data_dir + "/admin.token";
  if (!options.token_file.empty()) options.target.token = read_token(options.token_file, problem);
  if (!problem.empty()) return complain({problem}, kExitUsage);
  if (options.target.token.empty() && options.target.users_file.empty())
    return complain({"--data-dir or --admin-token-file is needed to make users (or --users-file)"},
                    kExitUsage);
  return kExitClean;
}

int write_outputs(const Options& options, const RunResult& result,
                  const nlohmann::ordered_json& document) {
  std::vector<std::string> problems;
  const auto write = [&](const std::string& file, const std::string& text) {
    if (file.empty()) return;
    if (std::string problem = write_file(file, text); !problem.empty()) problems.push_back(problem);
  };
  write(options.json, document.dump(1) + "\n");
  write(options.html, report_html(document));
  write(options.hgrm, hgrm_text(result.sum.timings.ack));
  return problems.empty() ? kExitClean : complain(problems, kExitTrouble);
}

int run_one(Options options, const std::vector<std::string>& words) {
  Scenario scenario;
  if (const int code = prepare(options, scenario); code != kExitClean) return code;
  RunResult result;
  Accounts accounts;
  run_scenario(scenario, options.target, accounts, result);
  const auto document = report_document(result, words);
  if (!options.save_users.empty() && accounts.problem.empty())
    if (const std::string problem = write_accounts(options.save_users, accounts.list);
        !problem.empty())
      return complain({problem}, kExitTrouble);
  const int written = write_outputs(options, result, document);
  if (!result.problem.empty()) return complain({result.problem}, result.exit_code);
  fmt::print("{}", report_text(document));
  return result.exit_code != kExitClean ? result.exit_code : written;
}

// --- the other commands ----------------------------------------------------------------------------

int run_list() {
  for (const std::string& name : list_scenarios()) {
    Scenario scenario;
    const auto problems = load_scenario(find_scenario(name), {}, scenario);
    fmt::print("{:<16} {}\n", name, problems.empty() ? scenario.description : problems[0]);
  }
  Scenario defaults;
  const engine::ConfigSchema schema = scenario_schema(defaults);
  fmt::print("\nKeys: name, range, default, meaning\n");
  for (const engine::Setting& setting : schema.settings()) {
    std::string doc = setting.doc;
    for (size_t at = 0; (at = doc.find('\n', at)) != std::string::npos;) doc.replace(at, 1, " ");
    fmt::print("  {:<19} {:<24} {:<14} {}\n", setting.key, setting.range_text(),
               setting.default_text(), doc);
  }
  return kExitClean;
}

int run_doctor(Options options) {
  Scenario scenario;
  if (const int code = prepare(options, scenario); code != kExitClean) return code;
  Admin admin(options.target.http, options.target.token);
  const Answer status = admin.get("/api/v1/status");
  const Examination examination =
      examine(scenario, options.target.server, status.ok() ? status.value : nlohmann::json(),
              status.problem);
  fmt::print("{}", examination_text(examination, true));
  return examination.fatal() ? kExitTrouble : kExitClean;
}

int run_compare(const std::vector<std::string>& words) {
  const auto divider = std::ranges::find(words, "--");
  std::vector<std::string> a(words.begin(), divider), b;
  if (divider != words.end()) {
    b.assign(divider + 1, words.end());
  } else if (a.size() == 2) {
    b = {a[1]};
    a.pop_back();
  }
  if (a.empty() || b.empty())
    return complain({"compare A.json B.json, or compare A1.json A2.json -- B1.json B2.json"},
                    kExitUsage);
  Documents of_a, of_b;
  std::string problem;
  if (!read_documents(a, of_a, problem) || !read_documents(b, of_b, problem))
    return complain({problem}, kExitTrouble);
  fmt::print("{}", comparison_text(compare_documents(of_a, of_b)));
  return kExitClean;
}

int run_capacity(Options options) {
  // Short runs, unless told otherwise.
  options.keys.try_emplace("warmup_ms", "1000");
  options.keys.try_emplace("duration_ms", "3000");
  Scenario scenario;
  if (const int code = prepare(options, scenario); code != kExitClean) return code;
  options.target.progress = false;
  const Capacity found    = search_capacity(scenario, options.target, options.capacity);
  if (!options.json.empty()) {
    const auto text = capacity_document(found, scenario, options.capacity).dump(1) + "\n";
    if (const std::string problem = write_file(options.json, text); !problem.empty())
      return complain({problem}, kExitTrouble);
  }
  if (!found.problem.empty()) return complain({found.problem}, found.exit_code);
  fmt::print("{} messages/s with an ack p99 within {}{}\n", number_text(found.rate),
             us_text(static_cast<double>(options.capacity.p99_ns) / 1000),
             found.generator_limited ? "; at least: above it the generator was the limit" : "");
  if (found.rate > 0) return kExitClean;
  return found.generator_limited ? kExitVoid : kExitTrouble;
}

int run_report(const Options& options) {
  Documents documents;
  std::string problem;
  if (!read_documents({options.scenario}, documents, problem))
    return complain({problem}, kExitTrouble);
  if (!options.html.empty())
    if (problem = write_file(options.html, report_html(documents[0])); !problem.empty())
      return complain({problem}, kExitTrouble);
  fmt::print("{}", report_text(documents[0]));
  return kExitClean;
}

// A stored report may lack what we read: the JSON library says so by throwing.
template <class Command>
int of_documents(const Command& command) {
  try {
    return command();
  } catch (const nlohmann::json::exception& error) {
    return complain({fmt::format("a report is not whole: {}", error.what())}, kExitTrouble);
  }
}

}  // namespace

int run_command(const std::vector<std::string>& words) {
  Options options;
  options.target.progress = ::isatty(STDERR_FILENO) == 1;
  std::vector<std::string> rest(words.begin() + 1, words.end());
  if (rest.empty() || rest[0] == "help") {
    fmt::print("{}", kHelp);
    return rest.empty() ? kExitUsage : kExitClean;
  }
  if (rest[0] == "--version") {
    fmt::print("ringtalk-loadgen {}\n", RINGTALK_VERSION);
    return kExitClean;
  }
  if (rest[0] == "list") return run_list();
  if (rest[0] == "compare")
    return of_documents([&] { return run_compare({rest.begin() + 1, rest.end()}); });
  const bool named =
      rest[0] == "doctor" || rest[0] == "capacity" || rest[0] == "report" || rest[0] == "run";
  const std::string command = named ? rest[0] : "run";
  if (named) rest.erase(rest.begin());
  if (std::string problem = Parser(options).parse(rest); !problem.empty())
    return complain({problem}, kExitUsage);
  if (options.help) {
    fmt::print("{}", kHelp);
    return kExitClean;
  }
  if (command == "doctor") return run_doctor(std::move(options));
  if (command == "capacity") return run_capacity(std::move(options));
  if (command == "report") return of_documents([&] { return run_report(options); });
  return run_one(std::move(options), words);
}

}  // namespace ringtalk::loadgen
