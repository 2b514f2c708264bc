// Contacts: 0x0204 profiles by id, 0x0208 all users, 0x0210 departments.
//
//   ask() ─ the store, which any shard may ask ─ one answer, or page after page as the queue drains
//
// Stamps  A list names everything whose sync stamp is above the client's, lowest first, never part of
//         a stamp; the answered stamp is the largest included, or the one asked if there is none.
//         Stamp 0: everybody who has not left; else those who left too, so that clients hide them.
// Pages   400 KiB each. Windows and Android apply every answer: they get all pages at once, with the
//         same sequence number. iOS and Mac ignore a second answer but store its stamp: they
//         get one page, and go on with their next request.
// Order   The session is busy until its last page is queued.
// Bound   One list per session; kAskedMax pages of a shard at the store or here, so that the lists of
//         thousands of clients neither hold a turn nor keep logins from the database.
// Errors  Storage failed: no answer (an empty list would be believed).
#pragma once

#include <deque>

#include "proto/command.h"
#include "shard/context.h"
#include "shard/pool.h"

namespace ringtalk::shard {

class Contacts {
 public:
  explicit Contacts(Context& context) : context_(context) {}

  Taken profiles(Session& session, uint16_t sequence, Bytes body);
  Taken users(Session& session, uint16_t sequence, Bytes body);
  Taken departments(Session& session, uint16_t sequence, Bytes body);

  // The next pages: of new lists, and of those whose clients have read on.
  void on_turn();
  // A page came home, so another may be asked for. To be asked before the loop sleeps.
  bool work_waits() const { return may_ask_ && !waiting_.empty(); }

  bool idle() const { return asked_ == 0; }

 private:
  static constexpr uint32_t kRowsPerPage = 2000;
  static constexpr uint32_t kAskedMax =
      2;  // pages on their way: each is a millisecond here and there
  static constexpr uint32_t kLooksPerTurn = 256;  // at who may have read on

  struct List {
    SessionKey session;
    uint16_t sequence = 0;
    bool departments  = false;
    bool all_pages    = false;
    uint64_t asked    = 0;  // the client's stamp
    uint64_t reached  = 0;  // everything up to it was answered
  };

  Taken begin(Session& session, uint16_t sequence, uint32_t stamp, bool departments);
  Result<void> step(uint32_t list);
  void on_users(uint32_t list, Result<store::UserPage> page);
  void on_departments(uint32_t list, Result<std::vector<store::Department>> rows);
  // Its answer, or with `more` one of them, is there.
  void answered(uint32_t list, const engine::PayloadRef& frame, uint32_t entries, bool more);
  void fail(uint32_t list);
  void finish(SessionKey session, const engine::PayloadRef& frame);
  void refuse_storage(SessionKey session, proto::CommandId command, uint16_t sequence);

  Context& context_;
  Pool<List> lists_;
  std::deque<uint32_t> waiting_;  // for their clients, or for room in the store
  uint32_t asked_ = 0;            // calls that the store has not answered
  bool may_ask_   = false;        // since on_turn() looked last
};

}  // namespace ringtalk::shard
