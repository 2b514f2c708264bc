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
#include <string_view>
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

// A record, a place without one, or the end of a segment.
struct DumpEntry {
  std::string_view kind;  // "message", "control", "cursor", "block"; "damaged", "torn"; "segment"
  uint32_t segment         = 0;
  uint64_t offset          = 0;        // not of a segment
  const RecordView* record = nullptr;  // gone when the callback returns
  uint64_t bytes           = 0;        // damaged, torn
  uint64_t records         = 0;        // segment: in it
  bool sealed              = false;    // segment
};

// In log order; only the records of one conversation if asked.
Result<void> dump_log(engine::Disk& disk, std::optional<uint64_t> conversation,
                      const std::function<void(const DumpEntry&)>& print);
// One line. A body as its length and, when it is plain text, its first 60 characters.
std::string dump_text(const DumpEntry& entry);

}  // namespace ringtalk::store
