// History: 0x0309, a page of a conversation, newest first.
//
//   asker's home: ask() ── page_ask ──▶ conversation's home: store.read_page() ── page_done ──▶ answer
//
// Order  The asker's session is busy until its answer is queued: requests are answered in the order
//        sent, and a reader that does not drain its answers asks no further ones.
// Bound  100 messages and 380 KiB of bodies per answer; one page per session at a time.
// Rules  A pair contains the asker by construction. A conversation that is not his, or not there,
//        looks like an empty one. Storage failed: no answer (an empty list would be believed).
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "shard/context.h"

namespace ringtalk::shard {

class History {
 public:
  explicit History(Context& context) : context_(context) {}

  Taken ask(Session& session, uint16_t sequence, Bytes body);

  void on_page_ask(uint32_t from, const PageAsk& ask);
  void on_page_done(uint32_t from, const PageDone& done);
  void on_page(uint64_t cookie, Error error, std::span<const store::Message> page);
  void on_turn();  // what found the store's read queue full

  bool idle() const { return used_ == 0; }

 private:
  struct Read {
    uint32_t origin = 0;
    PageAsk ask{};
    uint32_t next = ~0u;
  };

  void begin(uint32_t origin, const PageAsk& ask);
  Result<void> read(uint32_t index);
  void reply(uint32_t origin, const PageAsk& ask, engine::PayloadRef frame);
  void settle(SessionKey session, engine::PayloadRef frame);
  static engine::PayloadRef encode(const PageAsk& ask, std::span<const store::Message> page);

  Context& context_;
  std::vector<Read> reads_;  // index = cookie
  uint32_t free_ = ~0u;
  uint32_t used_ = 0;
  std::deque<uint32_t> waiting_;
};

}  // namespace ringtalk::shard
