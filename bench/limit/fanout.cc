// limit_fanout: what a durable message to a group costs in bare io_uring, with no engine around it.
//
// Question      How much processor time does the kernel alone take per delivery of a message that is
//               received once, made durable and sent to N members?
// Method        bench/limit/server.h. Each message goes to every connection but those that have sent
//               messages, and a 0x0302 of the real size to its sender. All members get the same bytes, so
//               they are kept once: a member is a position in them, and one send takes him from there to
//               the end. With several messages in flight that is one send for all of them.
// What it omits Everything that is the engine's own: no members to look up, no ids, no counts of unread
//               messages, no second shard, no limits per user.
// What misleads On loopback a send runs the peer's receive path, which both servers pay alike: with many
//               members most of the time is the kernel's, on their side.
// Bound         kStreamBytes that the slowest member has not taken; more ends the program.
#include "bench/limit/server.h"

namespace ringtalk::bench {
namespace {

constexpr uint64_t kStreamBytes = 64u << 20;  // a power of two

class FanoutLimit : public LimitServer<FanoutLimit> {
 public:
  using LimitServer::LimitServer;

  void on_first() {
    if (!unused()) return;
    connections_.clear();
    members_.clear();
  }

  void on_durable(const Batch& batch) {
    know_all();
    for (const Entry& entry : batch.entries) {
      const uint8_t* frame              = batch.bytes.data() + entry.offset;
      members_[entry.connection].speaks = true;
      append(frame, 12);
      append(kPushSequence, sizeof kPushSequence);
      append(frame + 14, entry.length - 14);
      if (connections_[entry.connection]->open) {
        answer(entry.connection, kAckFrame, sizeof kAckFrame, frame + 12);
      }
    }
    grown_ = true;
  }

  void start_sends() {
    for (uint32_t index : dirty_) {
      connections_[index]->dirty = false;
      send_next(index);
    }
    dirty_.clear();
    if (!grown_) return;
    grown_ = false;
    for (uint32_t index = 0; index < members_.size(); ++index) send_next(index);
  }

  void on_sent(uint32_t index) {
    know_all();
    Connection& c  = *connections_[index];
    Member& member = members_[index];
    if (c.sending.empty())
      member.position += member.sending;
    else
      c.sending.clear();
    if ((c.pending.empty() && !wants(member)) || c.dirty) return;
    c.dirty = true;
    dirty_.push_back(index);
  }

 private:
  static constexpr uint8_t kPushSequence[2] = {0, 0};

  struct Member {
    uint64_t position;     // in all bytes that ever were
    uint64_t sending = 0;  // bytes from there on that are in flight
    bool speaks      = false;
  };

  // Who is new hears what comes from now on.
  void know_all() { members_.resize(connections_.size(), Member{.position = end_}); }

  bool wants(const Member& member) const { return !member.speaks && member.position < end_; }

  void append(const uint8_t* bytes, size_t size) {
    if (end_ + size - oldest_ > kStreamBytes) forget_taken(size);
    for (size_t done = 0; done < size;) {
      uint64_t at = (end_ + done) % kStreamBytes;
      size_t part = std::min<uint64_t>(size - done, kStreamBytes - at);
      std::memcpy(stream_.get() + at, bytes + done, part);
      done += part;
    }
    end_ += size;
  }

  void forget_taken(size_t more) {
    oldest_ = end_;
    for (uint32_t index = 0; index < members_.size(); ++index) {
      const Member& member = members_[index];
      if (connections_[index]->open && !member.speaks) oldest_ = std::min(oldest_, member.position);
    }
    if (end_ + more - oldest_ > kStreamBytes) die("a member that does not read", E2BIG);
  }

  void send_next(uint32_t index) {
    Connection& c = *connections_[index];
    if (!c.open || c.in_flight) return;  // on_sent() lists it again
    if (!c.pending.empty()) {
      std::swap(c.sending, c.pending);
      return send(index, c.sending);
    }
    if (index >= members_.size() || !wants(members_[index])) return;
    Member& member = members_[index];
    uint64_t at    = member.position % kStreamBytes;
    member.sending = std::min(end_ - member.position, kStreamBytes - at);
    send(index, {stream_.get() + at, member.sending});
  }

  std::vector<Member> members_;  // by connection
  std::unique_ptr<uint8_t[]> stream_ = std::make_unique<uint8_t[]>(kStreamBytes);
  uint64_t end_                      = 0,
           oldest_ = 0;  // of the bytes of all messages that ever were, and of what is kept
  bool grown_      = false;
};

}  // namespace
}  // namespace ringtalk::bench

int main(int argc, char** argv) {
  return ringtalk::bench::run_limit<ringtalk::bench::FanoutLimit>(argc, argv);
}
