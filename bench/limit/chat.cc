// limit_chat: what durable one-to-one chat costs in bare io_uring, with no engine around it.
//
// Question      How much processor time does the kernel alone take per message that is received, made
//               durable, delivered, acknowledged and acknowledged by its receiver?
// Method        One thread, one ring, direct descriptors, multishot receive from a buffer ring. The k-th
//               accepted connection talks to the k^1-th. All frames that arrive while a commit is in
//               flight form the next batch: one WRITE with RWF_DSYNC into a zero-filled file.
//               Then each message goes to the peer and a 0x0302 of the real size to its sender; all that
//               is pending for a connection leaves in one send, one send in flight per connection.
// What it omits Everything that is the engine's own: no parsing beyond length and command, no ids, no
//               checksums, no login check, no second shard, no limits per user.
// What misleads On loopback a send runs the peer's receive path, which both servers pay alike. The file
//               wraps, so its pages stay in the page cache; a real log moves on to new segments.
#include "bench/limit/server.h"

namespace ringtalk::bench {
namespace {

class ChatLimit : public LimitServer<ChatLimit> {
 public:
  using LimitServer::LimitServer;

  // A second client run pairs from zero again; indexes still named by a batch keep their meaning.
  void on_first() {
    if (unused()) connections_.clear();
    if (connections_.size() % 2 == 1) {
      connections_.push_back(std::make_unique<Connection>());
      connections_.back()->open = false;
    }
  }

  void on_durable(const Batch& batch) {
    static constexpr uint8_t kPushSequence[2] = {0, 0};
    for (const Entry& entry : batch.entries) {
      const uint8_t* frame = batch.bytes.data() + entry.offset;
      uint32_t peer        = entry.connection ^ 1;
      if (peer < connections_.size() && connections_[peer]->open) {
        answer(peer, frame, entry.length, kPushSequence);
      }
      if (connections_[entry.connection]->open) {
        answer(entry.connection, kAckFrame, sizeof kAckFrame, frame + 12);
      }
    }
  }

  void start_sends() {
    for (uint32_t index : dirty_) {
      Connection& c = *connections_[index];
      c.dirty       = false;
      if (!c.open || c.in_flight) continue;  // on_sent() lists it again
      std::swap(c.sending, c.pending);
      send(index, c.sending);
    }
    dirty_.clear();
  }

  void on_sent(uint32_t index) {
    Connection& c = *connections_[index];
    c.sending.clear();
    if (!c.pending.empty() && !c.dirty) {
      c.dirty = true;
      dirty_.push_back(index);
    }
  }
};

}  // namespace
}  // namespace ringtalk::bench

int main(int argc, char** argv) {
  return ringtalk::bench::run_limit<ringtalk::bench::ChatLimit>(argc, argv);
}
