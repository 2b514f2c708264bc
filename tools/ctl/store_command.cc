// `ringtalkctl store`: the message log of a data directory, looked at while no server runs on it.
//
// Errors  exit 0: the log is sound. 1: it has problems (listed), or it cannot be looked at.
// Why     the lock is shared and its file never made: several may look at once, also at a read-only copy,
//         and a server cannot start meanwhile.
#include <fmt/format.h>
#include <openssl/evp.h>

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
#include "proto/utf8.h"
#include "store/embedded/verify.h"
#include "tools/ctl/command.h"
#include "tools/ctl/printable.h"
#include "tools/ctl/server_lock.h"
#include "tools/ctl/table.h"

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
  fmt::print("{} in {}; {}, {}, in {} ({} not sealed){}\n", counted(report.messages, "message"),
             counted(report.conversations, "conversation"), counted(report.records, "record"),
             counted(report.bytes, "byte"), counted(report.segments, "segment"), report.unsealed,
             report.snapshot ? ", a snapshot" : "");
  if (report.torn_bytes > 0) {
    fmt::print("a torn tail of {}: never acknowledged, cut at the next start\n",
               counted(report.torn_bytes, "byte"));
  }
  for (const std::string& problem : report.problems) fmt::print("{}\n", escaped(problem));
  const uint64_t unlisted = report.problems_count - report.problems.size();
  if (unlisted > 0) fmt::print("and {} more\n", counted(unlisted, "problem"));
  fmt::print("{}\n", report.clean() ? "sound" : counted(report.problems_count, "problem"));
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

// Content that is not UTF-8 cannot stand in JSON.
std::string base64(Bytes bytes) {
  std::string out((bytes.size() + 2) / 3 * 4, '\0');
  std::string room(out.size() + 1, '\0');  // EVP_EncodeBlock() ends it with a zero
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(room.data()),
                  reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()));
  return out.assign(room, 0, out.size());
}

// Records and places without one; a segment's end is none.
void print_json(const store::DumpEntry& entry) {
  nlohmann::json line{{"kind", entry.kind}, {"segment", entry.segment}, {"offset", entry.offset}};
  if (entry.record == nullptr) {
    line["bytes"] = entry.bytes;
  } else {
    const store::RecordHeader& header = entry.record->header;
    line["batch"]                     = header.batch;
    line["conversation"]              = fmt::format("{:016x}", header.conversation);
    line["msg_id"]                    = header.msg_id;
    line["author"]                    = header.author;
    line["time"]                      = header.time;
    line["type"]                      = header.type;
    line["bytes"]                     = header.body_bytes;
    const Bytes body                  = entry.record->body;
    if (header.kind != store::RecordKind::message) {
    } else if (proto::valid_utf8(body)) {
      line["body"] = as_text(body);
    } else {
      line["body_base64"] = base64(body);
    }
  }
  fmt::print("{}\n", line.dump());
}

int dump(const Context& context, const StoreOptions& options) {
  const auto conversation = read_conversation(options.conversation);
  if (!options.conversation.empty() && !conversation) {
    complain("--conversation wants two user ids, as 1:2");
    return kExitUsage;
  }
  uint64_t lines   = 0;
  const auto print = [&](const store::DumpEntry& entry) {
    if (context.json && entry.kind == "segment") return;
    if (lines++ >= options.limit) return;
    if (context.json) return print_json(entry);
    fmt::print("{}\n", escaped(store::dump_text(entry)));
  };
  return with_log(options.directory, [&](engine::Disk& disk) -> Result<int> {
    const auto dumped = store::dump_log(disk, conversation, print);
    if (!dumped) return std::unexpected(dumped.error());
    if (lines > options.limit && !context.json)
      fmt::print("and {} more\n", counted(lines - options.limit, "line"));
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
  verify_app->add_option("DIR", options->directory, "data directory")->type_name("DIR")->required();
  verify_app->callback([&context, options] {
    context.run = [&context, options] { return verify(context, *options); };
  });

  CLI::App* dump_app =
      store->add_subcommand("dump", "print records, one a line, in the order of the log");
  dump_app->add_option("DIR", options->directory, "data directory")->type_name("DIR")->required();
  dump_app->add_option("--conversation", options->conversation,
                       "A:B, only what these two users said");
  dump_app->add_option("--limit", options->limit, "print that many lines");
  dump_app->callback([&context, options] {
    context.run = [&context, options] { return dump(context, *options); };
  });
}

}  // namespace ringtalk::ctl
