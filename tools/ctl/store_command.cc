// `ringtalkctl store`: the message log of a data directory, looked at while no server runs on it.
//
// Errors  exit 0: the log is sound. 1: it has problems (listed), or it cannot be looked at.
// Why     the lock is shared and its file never made: several may look at once, also at a read-only copy,
//         and a server cannot start meanwhile.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/disk.h"
#include "proto/ids.h"
#include "store/embedded/verify.h"
#include "tools/ctl/command.h"
#include "tools/ctl/printable.h"

namespace ringtalk::ctl {

namespace {

struct StoreOptions {
  std::string directory;
  std::string conversation;  // "A:B"
  uint64_t limit = std::numeric_limits<uint64_t>::max();
};

std::string text_of(Error error) {
  switch (error.code) {
    case Errc::not_found: return "there is no message log";
    case Errc::unsupported: return "the log was written by a newer version";
    case Errc::corrupt: return "no segment header and no snapshot can be read";
    case Errc::exists: return "a server is running on it";
    case Errc::os: return std::strerror(error.os);
    default: return fmt::format("error {}", static_cast<int>(error.code));
  }
}

// Held until the program ends. The server takes the same lock for itself alone.
Result<void> keep_servers_away(const std::string& directory) {
  const int fd = ::open((directory + "/LOCK").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return errno == ENOENT ? Result<void>{} : fail_os(errno);
  if (::flock(fd, LOCK_SH | LOCK_NB) == 0) return {};
  const int error = errno;
  ::close(fd);
  return error == EWOULDBLOCK ? fail(Errc::exists) : fail_os(error);
}

template <class Action>
int with_log(const std::string& directory, Action action) {
  auto disk = engine::open_disk(directory);
  // The disk first: it says what is wrong with the directory itself.
  const auto kept =
      disk ? keep_servers_away(directory) : Result<void>(std::unexpected(disk.error()));
  const auto done = kept ? action(**disk) : Result<int>(std::unexpected(kept.error()));
  if (done) return *done;
  complain(fmt::format("{}: {}", directory, text_of(done.error())));
  return kExitFailed;
}

void print_json(const store::VerifyReport& report) {
  using Json    = nlohmann::json;
  Json problems = Json::array();
  for (const std::string& problem : report.problems) problems.push_back(escaped(problem));
  fmt::print("{}\n", Json{{"clean", report.clean()},
                          {"segments", report.segments},
                          {"unsealed", report.unsealed},
                          {"records", report.records},
                          {"messages", report.messages},
                          {"blocks", report.blocks},
                          {"bytes", report.bytes},
                          {"conversations", report.conversations},
                          {"torn_bytes", report.torn_bytes},
                          {"snapshot", report.snapshot},
                          {"problems_count", report.problems_count},
                          {"problems", problems}}
                         .dump(2));
}

void print_text(const store::VerifyReport& report) {
  fmt::print(
      "{} messages in {} conversations; {} records, {} bytes, in {} segments ({} not sealed){}\n",
      report.messages, report.conversations, report.records, report.bytes, report.segments,
      report.unsealed, report.snapshot ? ", a snapshot" : "");
  if (report.torn_bytes > 0) {
    fmt::print("a torn tail of {} bytes: never acknowledged, cut at the next start\n",
               report.torn_bytes);
  }
  for (const std::string& problem : report.problems) fmt::print("{}\n", escaped(problem));
  const uint64_t unlisted = report.problems_count - report.problems.size();
  if (unlisted > 0) fmt::print("and {} problems more\n", unlisted);
  fmt::print("{}\n", report.clean() ? "sound" : fmt::format("{} problems", report.problems_count));
}

int verify(const Context& context, const StoreOptions& options) {
  return with_log(options.directory, [&](engine::Disk& disk) -> Result<int> {
    const auto report = store::verify_log(disk);
    if (!report) return std::unexpected(report.error());
    context.json ? print_json(*report) : print_text(*report);
    return report->clean() ? kExitOk : kExitFailed;
  });
}

// "A:B", two user ids.
std::optional<uint64_t> read_conversation(std::string_view text) {
  const char* const end = text.data() + text.size();
  uint32_t a            = 0;
  uint32_t b            = 0;
  const auto first      = std::from_chars(text.data(), end, a);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != ':') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, b);
  if (second.ec != std::errc{} || second.ptr != end || a == 0 || b == 0 || a == b)
    return std::nullopt;
  return ConversationId::single(UserId(a), UserId(b)).key;
}

int dump(const StoreOptions& options) {
  const auto conversation = read_conversation(options.conversation);
  if (!options.conversation.empty() && !conversation) {
    complain("--conversation wants two user ids, as 1:2");
    return kExitUsage;
  }
  uint64_t lines   = 0;
  const auto print = [&](const std::string& line) {
    if (lines++ < options.limit) fmt::print("{}\n", escaped(line));
  };
  return with_log(options.directory, [&](engine::Disk& disk) -> Result<int> {
    const auto dumped = store::dump_log(disk, conversation, print);
    if (!dumped) return std::unexpected(dumped.error());
    if (lines > options.limit) fmt::print("and {} lines more\n", lines - options.limit);
    return kExitOk;
  });
}

}  // namespace

void add_store_command(CLI::App& app, Context& context) {
  CLI::App* store =
      app.add_subcommand("store", "the message log, while no server runs: verify, dump");
  store->require_subcommand(1);

  auto options = std::make_shared<StoreOptions>();
  CLI::App* verify_app =
      store->add_subcommand("verify", "check every record; exit 1 if something is wrong");
  verify_app->add_option("DIR", options->directory, "data directory")
      ->type_name("DIR")
      ->required();
  verify_app->callback([&context, options] {
    context.run = [&context, options] { return verify(context, *options); };
  });

  CLI::App* dump_app =
      store->add_subcommand("dump", "print records, one a line, in the order of the log");
  dump_app->add_option("DIR", options->directory, "data directory")
      ->type_name("DIR")
      ->required();
  dump_app->add_option("--conversation", options->conversation,
                       "A:B, only what these two users said");
  dump_app->add_option("--limit", options->limit, "print that many lines");
  dump_app->callback([&context, options] { context.run = [options] { return dump(*options); }; });
}

}  // namespace ringtalk::ctl
