// GroupCommands: 0x0401 … 0x0409, what members ask of their groups and do with them.
//
//   0x0401 list     from memory                    0x0405 create   the store, then Groups: open
//   0x0403 info     Groups, group by group         0x0407 change   Groups: add, remove
//   0x0409 mute     the store
//
// Rules  Clients make temporary groups only. A group that does not exist and one that is not for the
//        asker look the same, byte for byte: left out of 0x0404, result 1 in the others.
// Order  The session is busy until its answer is queued.
// Bound  kInfosAtOnce questions for one 0x0403; 380 KiB of groups in its answer, the first that fit.
// Errors Storage failed: result 1; 0x0404 is not answered (an empty list would be believed).
#pragma once

#include <string>
#include <vector>

#include "proto/base_define.pb.h"
#include "shard/context.h"
#include "shard/pool.h"

namespace ringtalk::shard {

class GroupCommands {
 public:
  explicit GroupCommands(Context& context) : context_(context) {}

  Taken list(Session& session, uint16_t sequence, Bytes body);
  Taken info(Session& session, uint16_t sequence, Bytes body);
  Taken create(Session& session, uint16_t sequence, Bytes body);
  Taken change(Session& session, uint16_t sequence, Bytes body);
  Taken mute(Session& session, uint16_t sequence, Bytes body);

  bool idle() const { return infos_.used() + asked_ == 0; }

 private:
  static constexpr uint32_t kInfosAtOnce = 16;

  struct Wanted {
    GroupId group{};
    uint32_t version = 0;
    engine::PayloadRef found;  // IM.BaseDefine.GroupInfo
  };
  struct Infos {
    SessionKey session;
    uint16_t sequence = 0;
    uint32_t begun    = 0;
    uint32_t asking   = 0;
    size_t bytes      = 0;
    bool failed       = false;
    bool advancing    = false;
    std::vector<Wanted> wanted;
  };
  struct NewGroup {
    SessionKey session;
    UserId user{};
    uint16_t sequence = 0;
    std::string name;
    std::vector<UserId> members;
  };

  void advance(uint32_t infos);
  void on_info(uint32_t infos, uint32_t place, Error error, engine::PayloadRef found);
  void complete(uint32_t infos);
  void on_made(const NewGroup& group, const Result<store::Group>& made);
  void answer_create(Session& session, const NewGroup& group, GroupId made);
  void answer_change(Session& session, uint16_t sequence, GroupId group,
                     IM::BaseDefine::GroupModifyType type, const std::vector<UserId>& named,
                     const engine::PayloadRef& changed);
  void answer_mute(Session& session, uint16_t sequence, GroupId group, bool done);
  // Its session, if it still waits; it does not any more.
  Session* release(SessionKey session);

  Context& context_;
  Pool<Infos> infos_;
  uint32_t asked_ = 0;  // questions that are not answered, but those of infos_
};

}  // namespace ringtalk::shard
