// History: messages of a conversation: 0x0309 a page, 0x030d by their ids, 0x030b the newest id.
//
//   asker's home: ask() ── page_ask ──▶ conversation's home: store.read_page() ── page_done ──▶ answer
//
// Order  The asker's session is busy until its answer is queued: requests are answered in the order
//        sent, and a reader that does not drain its answers asks no further ones.
// Shape  An answer is read in spans: a page is one span, listed ids are one span for each run of
//        neighbours, newest first.
// Bound  100 messages and 380 KiB of bodies per answer, kSpansAtOnce reads for it at once; one answer
//        per session at a time.
// Rules  A pair contains the asker by construction; of a group he is in, nothing before his first
//        message is there for him. A conversation that is not his, or not there,
//        looks like an empty one. Storage failed: no answer (an empty list would be believed). A
//        damaged message is left out; what lies before it is still read. A message that no longer
//        fits ends the answer: nothing older is in it, so that asking on finds everything.
#pragma once

#include <deque>
#include <span>
#include <string>
#include <vector>

#include "shard/context.h"
#include "shard/pool.h"

namespace ringtalk::shard {

class History {
 public:
  explicit History(Context& context) : context_(context) {}

  Taken ask(Session& session, uint16_t sequence, Bytes body);
  Taken ask_listed(Session& session, uint16_t sequence, Bytes body);
  Taken ask_newest(Session& session, uint16_t sequence, Bytes body);

  void on_page_ask(uint32_t from, const PageAsk& ask);
  void on_page_done(uint32_t from, const PageDone& done);
  void on_page(uint64_t cookie, Error error, std::span<const store::Message> page);
  void on_turn();  // what found the store's read queue full

  bool idle() const { return reads_.used() == 0; }

 private:
  static constexpr uint32_t kSpansAtOnce = 8;

  struct Span {
    uint32_t from  = 0;  // newest id, 0: the conversation's newest
    uint32_t count = 0;
  };
  struct Found {
    uint32_t msg_id;
    UserId author;
    uint32_t time;
    uint8_t type;
    std::string body;
  };
  struct Read {
    uint32_t origin = 0;
    PageAsk ask{};
    std::vector<Span> spans;
    uint32_t begun   = 0;
    uint32_t reading = 0;
    uint32_t floor   = 0;  // what is older no longer fits
    bool failed      = false;
    uint64_t bytes   = 0;  // of the bodies found
    std::vector<Found> found;
  };

  bool find_conversation(PageAsk& ask, uint32_t type) const;
  Taken submit(Session& session, PageAsk ask, std::span<const uint32_t> ids, uint32_t cost);
  void begin(uint32_t origin, const PageAsk& ask);
  void make_spans(Read& read, std::span<const uint32_t> ids) const;
  void advance(uint32_t index);
  void start(uint64_t cookie);
  Result<void> read(uint64_t cookie);
  void complete(uint32_t index);
  void reply(uint32_t origin, const PageAsk& ask, engine::PayloadRef frame);
  void settle(const PageDone& done);
  static engine::PayloadRef encode(Read& read);

  Context& context_;
  Pool<Read> reads_;
  std::deque<uint64_t> waiting_;  // cookies: index of the read << 16 | index of the span
};

}  // namespace ringtalk::shard
