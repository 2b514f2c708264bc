// MessageReader: pages of conversations, read on threads and connections of their own: a page never waits
// behind a batch that is written, nor the other way round.
//
//   shard ─ read() ─▶ the least busy PageWorker ─ SELECT … ORDER BY rtSeq DESC ─▶ collect() ─▶ Sink::on_page
//
// Thread rule  read(), collect() on the shard; SQL on the workers' threads (run_some() in a simulator).
// Which server The replica, if there is one, when its answer begins with the message that has to be the
//              first: ids have no gaps, and a replica applies commits in their order, so it then has all
//              below, too. Else (it is behind, away, or that message is hidden) the master is asked.
// Old rows     Below Conversation::taken the original's own rows follow, by msgId; of those that share an id
//              the one that came last counts.
// Errors       os: no server answered. One that could not be reached is not tried for kAwayNs: whoever waits
//              behind hears so at once.
// Bound        kPagesMax pages for each shard, kMessagesMax messages and kBytesMax of bodies a page.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/bell.h"
#include "engine/clock.h"
#include "engine/worker.h"
#include "store/mysql/connection.h"
#include "store/mysql/conversations.h"
#include "store/store.h"

namespace ringtalk::store {

class PageWorker;

class MessageReader {
 public:
  static constexpr uint32_t kPagesMax    = 64;
  static constexpr uint32_t kMessagesMax = 128;
  static constexpr uint32_t kBytesMax    = kMiB;
  static constexpr uint64_t kAwayNs      = 500 * kNsPerMs;

  struct Options {
    sql::Connect master;
    sql::Connect replica;  // null: none
    uint32_t shards      = 1;
    uint32_t connections = 4;
  };

  MessageReader(const Options& options, engine::Clock& clock);
  ~MessageReader();

  // Shard: `conversation` as it is now. Errc::full: too many at once.
  Result<void> read(uint32_t shard, const PageRequest& request, const Conversation& conversation,
                    Sink& sink);
  uint32_t collect(uint32_t shard);
  bool has_finished(uint32_t shard) const;
  uint32_t reading(uint32_t shard) const { return shards_[shard].out; }

  void set_bell(uint32_t shard, engine::Bell* bell);
  void start();
  void stop();
  uint32_t run_some();

 private:
  struct Shard {
    uint32_t out = 0;                // pages
    std::vector<uint32_t> out_with;  // each worker
  };
  class PageJob;

  std::vector<std::unique_ptr<PageWorker>> workers_;
  std::vector<Shard> shards_;  // each its shard's
};

}  // namespace ringtalk::store
