// Verify, dump: a log looked at from outside, while no server runs. Nothing is written.
//
// Checks   segment headers; every record's checksum; ids dense and prev right in every conversation;
//          every pointer of every block record; footers and snapshot against the records.
// Errors   what is wrong with the data is a line in `problems`, naming file and offset. A Result error is
//          only what keeps us from looking: no log, a newer format, no salt.
// Bound    memory: about 100 bytes per conversation.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/disk.h"
#include "store/embedded/segment_scan.h"

namespace ringtalk::store {

struct VerifyReport {
  uint64_t segments       = 0;
  uint64_t unsealed       = 0;
  uint64_t records        = 0;
  uint64_t messages       = 0;
  uint64_t blocks         = 0;
  uint64_t bytes          = 0;  // of records
  uint64_t conversations  = 0;
  uint64_t torn_bytes     = 0;  // no problem: never acknowledged, cut at the next start
  bool snapshot           = false;
  uint64_t problems_count = 0;
  std::vector<std::string> problems;  // the first kProblemsMax

  static constexpr size_t kProblemsMax = 1000;
  bool clean() const { return problems_count == 0; }
};

Result<VerifyReport> verify_log(engine::Disk& disk);

// One line per record, in log order; only those of one conversation if asked. Bodies as length and, when
// they are plain text, their first 60 characters.
Result<void> dump_log(engine::Disk& disk, std::optional<uint64_t> conversation,
                      const std::function<void(const std::string&)>& print);

}  // namespace ringtalk::store
