// `ringtalkctl doctor`: is this machine fit for a server, and what makes it so.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "tools/ctl/command.h"
#include "tools/ctl/doctor.h"
#include "tools/ctl/effective.h"
#include "tools/ctl/http_client.h"
#include "tools/ctl/printable.h"

namespace ringtalk::ctl {

namespace {

using Level = Finding::Level;

struct DoctorFlags {
  std::string config;
  std::string root;
  uint32_t pid = 0;
};

// The running server's process: its limits count, not those of this shell. "self" if none answers.
std::string process_of(const Context& context, uint32_t pid) {
  if (pid != 0) return fmt::format("{}", pid);
  const auto address = parse_address(context.http);
  const auto token   = read_admin_token(context.data_dir);
  if (!address || !token) return "self";
  const auto status =
      HttpClient(*address, token.value).call(HttpClient::Method::get, "/api/v1/status");
  uint32_t number = 0;
  if (!status || !read_number(status.value, "pid", number)) return "self";
  const std::string name = fmt::format("{}", number);
  return std::filesystem::exists("/proc/" + name + "/limits") ? name : "self";
}

void print_findings(const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    fmt::print("{:<5}{:<16} {}\n", level_text(finding.level), finding.name, escaped(finding.text));
    if (!finding.fix.empty()) fmt::print("     {:<16} fix: {}\n", "", escaped(finding.fix));
  }
}

int examine_machine(const Context& context, const DoctorFlags& flags) {
  const char* variable   = std::getenv("RINGTALK_CONFIG");
  const std::string file = flags.config.empty() && variable != nullptr ? variable : flags.config;
  const Effective config = read_effective(file, engine::read_environment());
  std::vector<Finding> findings;
  for (const std::string& error : config.errors) {
    findings.push_back({"configuration", Level::bad, error,
                        "ringtalkctl config check " + (file.empty() ? "FILE" : file)});
  }
  for (Finding& finding :
       examine({.root     = flags.root,
                .process  = flags.root.empty() ? process_of(context, flags.pid) : "self",
                .data_dir = context.data_dir,
                .doors    = {config.settings.listen.port, config.settings.http.port}})) {
    findings.push_back(std::move(finding));
  }
  const auto is_bad = [](const Finding& finding) { return finding.level == Level::bad; };
  const bool fit    = std::ranges::none_of(findings, is_bad);
  if (context.json) {
    Json list = Json::array();
    for (const Finding& finding : findings) {
      list.push_back({{"name", finding.name},
                      {"level", level_text(finding.level)},
                      {"text", finding.text},
                      {"fix", finding.fix}});
    }
    print_json({{"ok", fit}, {"findings", std::move(list)}});
  } else {
    print_findings(findings);
  }
  return fit ? kExitOk : kExitFailed;
}

}  // namespace

void add_doctor_command(CLI::App& app, Context& context) {
  auto flags       = std::make_shared<DoctorFlags>();
  CLI::App* doctor = app.add_subcommand(
      "doctor", "is this machine fit for a server; each fault with its fix; exit 1 if one is bad");
  doctor->add_option("--config", flags->config, "the server's TOML file, for its ports")
      ->type_name("FILE");
  doctor->add_option("--pid", flags->pid,
                     "process whose limits count (default: the running server, else this shell)");
  doctor->add_option("--root", flags->root, "look at /proc and /sys below this directory only")
      ->group("");
  doctor->callback([&context, flags] {
    context.run = [&context, flags] { return examine_machine(context, *flags); };
  });
}

}  // namespace ringtalk::ctl
