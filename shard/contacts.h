// Contacts: 0x0204 profiles by id, 0x0208 all users, 0x0210 departments.
//
//   profiles   ask() ─ the store, which any shard may ask ─ one answer
//   lists      begin() ─ what the store has beyond the roster's newest stamp, once for all lists that
//              wait for it ─ pages of the roster, one after another as the queue drains
//
// Stamps  A list names everything whose sync stamp is above the client's, lowest first, never part of
//         a stamp; the answered stamp is the largest included, or the one asked if there is none.
//         Stamp 0: everybody who has not left; else those who left too, so that clients hide them.
// Fresh   The roster is asked for news after the request came: who changed something reads it.
// Pages   400 KiB each. Windows and Android apply every answer: they get all pages at once, with the
//         same sequence number. iOS and Mac ignore a second answer but store its stamp: they
//         get one page, and go on with their next request.
// Order   The session is busy until its last page is queued.
// Bound   One list per session; one question for news per shard and roster at a time, however many
//         clients ask for however much.
// Errors  Storage failed: no answer (an empty list would be believed).
#pragma once

#include <deque>
#include <vector>

#include "proto/command.h"
#include "shard/context.h"
#include "shard/pool.h"

namespace ringtalk::shard {

class Contacts {
 public:
  explicit Contacts(Context& context)
      : context_(context),
        users_{context.rosters.users},
        departments_{context.rosters.departments} {}

  Taken profiles(Session& session, uint16_t sequence, Bytes body);
  Taken users(Session& session, uint16_t sequence, Bytes body);
  Taken departments(Session& session, uint16_t sequence, Bytes body);

  // The next pages: of new lists, and of those whose clients have read on.
  void on_turn();
  // To be asked before the loop sleeps.
  bool work_waits() const { return moved_; }

  bool idle() const { return asked_ == 0; }

 private:
  static constexpr uint32_t kRowsAtOnce   = 1000;  // encoded within one turn
  static constexpr uint32_t kPagesPerTurn = 16;
  static constexpr uint32_t kLooksPerTurn = 1024;  // at who may have read on

  struct List {
    SessionKey session;
    uint16_t sequence = 0;
    bool departments  = false;
    bool all_pages    = false;
    uint64_t asked    = 0;  // the client's stamp
    uint64_t reached  = 0;  // everything up to it was answered
    uint64_t began    = 0;  // newest stamp when the first page was made
  };
  // News of a roster, and the lists that need it.
  struct News {
    Roster& roster;
    std::vector<uint32_t> waiting{};  // lists that came after the last question
    std::vector<uint32_t> asking{};   // lists that the present question is for
    bool asked = false;               // the store has not answered
  };

  Taken begin(Session& session, uint16_t sequence, uint32_t stamp, bool departments);
  void ask_news(News& news);
  Result<void> ask_store(News& news);
  void on_rows(News& news, Result<std::vector<Roster::Row>> rows, bool more);
  bool serve(uint32_t list);  // false: its client has to read first
  void fail(uint32_t list);
  void refuse_storage(SessionKey session, proto::CommandId command, uint16_t sequence);

  Context& context_;
  News users_, departments_;
  Pool<List> lists_;
  std::deque<uint32_t> ready_;  // to be served, as their clients read
  size_t unserved_ = 0;         // looks at ready_, one after another, that served nobody
  uint32_t asked_  = 0;         // calls that the store has not answered
  bool moved_      = false;     // something may go on that on_turn() has not seen
};

}  // namespace ringtalk::shard
