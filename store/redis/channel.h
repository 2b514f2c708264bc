// Channel: one server and database, and the knowledge whether it still has all that was written to it.
//
// rt:seq       A string "<epoch>:<number>" beside the keys: epoch is random per process, numbers only grow.
//              Each pipeline begins and ends with GETSET, so that each end sees what stood there and leaves
//              its own mark in one step. Anything else than the mark left last means that the server was
//              flushed, or came back with an older snapshot, or that somebody else wrote: a loss.
//                  between two pipelines     the first GETSET finds it
//                  inside a pipeline         the second GETSET finds it
//                  snapshot of the middle    the first mark stands there, not the second
//                  a pipeline of a connection given up, run late    leaves its own mark: none is used twice
//              After a connect and after trouble a GETSET of its own goes ahead: it shows, too, whether the
//              server takes writes. Every second without a pipeline it is only read, so that an idle
//              server has nothing to save.
// After trouble  the pipeline may have been run in part or not at all: the mark from before and its own two are
//              all fine, since its commands are sent again.
// First connect  is a loss: what the process before could not write any more is not known.
// Retry        after 100 ms, doubled up to one second.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/clock.h"
#include "engine/metrics.h"
#include "store/redis/connection.h"

namespace ringtalk::store::redis {

inline constexpr std::string_view kSeqKey = "rt:seq";

class Channel {
 public:
  struct Context {
    Connect connect;
    engine::Clock& clock;
    engine::Metrics& metrics;
    uint64_t epoch;
  };

  Channel(const Context& context, Server server);

  const Server& server() const { return server_; }
  // Connects, or looks at rt:seq, if it is time to.
  void tend();
  bool ready() const { return connection_ && connection_->alive() && checked_; }
  // Replies to the commands, or null: it is to be sent again, once the channel is ready. A reply's fault is
  // none, wrong_type or other.
  const std::vector<Reply>* send(const Pipeline& commands);
  // True once after each loss.
  bool take_loss() { return std::exchange(lost_, false); }
  // Of the last failure; none while all is well.
  const Trouble& trouble() const { return trouble_; }

 private:
  std::string mark(uint64_t number) const;
  Answer<std::vector<Reply>> run(const Pipeline& pipeline);
  void look();
  void prove();
  void proven(bool lost);
  void failed(const Trouble& trouble);

  Context context_;
  const Server server_;
  std::unique_ptr<Connection> connection_;
  bool checked_ = false;  // rt:seq is as expected
  bool lost_    = false;
  bool ours_    = false;            // a mark of this process was there
  std::vector<uint64_t> expected_;  // numbers that may stand there
  uint64_t number_ = 0;             // used last
  uint64_t at_ns_  = 0;             // of the next attempt or look
  uint64_t wait_ns_;
  Trouble trouble_{Fault::none, {}};
  Pipeline pipeline_;
  std::vector<Reply> replies_;
};

}  // namespace ringtalk::store::redis
