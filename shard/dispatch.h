// Dispatch: one table of commands: who may send each, and who answers.
//
//   state of the session        what it may send
//   accepted                    0x0101, 0x0103, 0x0701; anything else closes
//   checking, moving            waits until the login is decided
//   open                        everything in the table
//   kicked                      0x0701 is echoed, 0x0105 is answered and closes, the rest is dropped
//   leaving                     nothing
//
// Unknown numbers and what only servers send are ignored and counted (a client may know more than we
// do); what only servers tell each other closes. The service number of a frame is not looked at.
//
// Identity  The session's, always: no id of oneself in a body is believed.
// Complete  Every command that a client may send has a row, or is among those that this version ignores:
//           else this does not compile.
//
// A new command is one row here, one handler in its area, one message in proto/, one test.
#pragma once

#include "proto/frame.h"
#include "shard/context.h"

namespace ringtalk::shard {

class Login;
class Messages;
class History;
class Unread;
class ReadMarks;
class SessionList;
class Contacts;
class GroupCommands;
class ProfileEdit;
class PushSettings;

class Dispatch {
 public:
  Dispatch(Context& context, Login& login, Messages& messages, History& history, Unread& unread,
           ReadMarks& read_marks, SessionList& session_list, Contacts& contacts,
           GroupCommands& groups, ProfileEdit& profile_edit, PushSettings& push_settings)
      : context_(context),
        login_(login),
        messages_(messages),
        history_(history),
        unread_(unread),
        read_marks_(read_marks),
        session_list_(session_list),
        contacts_(contacts),
        groups_(groups),
        profile_edit_(profile_edit),
        push_settings_(push_settings) {}

  // `frame` is whole. Its bytes are valid during the call only.
  Taken take(Session& session, const proto::Split& frame);

 private:
  // On what a command acts, and what the session's user must have to do with it. Its handler checks.
  enum class Relation : uint8_t {
    none,          // nothing of anybody
    self,          // oneself, whatever id the body claims
    self_mobile,   // likewise, from a phone
    directory,     // everybody may know it of everybody
    reachable,     // a user who exists and has not left
    conversation,  // reachable, but not oneself; or a group that one is in
    member,        // a group that one is in
    may_change,    // Groups::may_change()
  };
  struct Row {
    proto::CommandId command;
    uint8_t states;  // bit per SessionState
    bool paced;      // counts against the connection's requests per second
    Relation relation;
    uint32_t
        entries_max;  // of a list in the request or in one answer; 0: no list, or as long as fits
    Taken (Dispatch::*handle)(Session&, const proto::Split&);
  };
  static const Row kRows[];
  static const Row* row_of(proto::CommandId command);
  static constexpr bool is_complete();

  Taken foreign(Session& session, proto::CommandId command);

  Taken server_address(Session& session, const proto::Split& frame);
  Taken login_request(Session& session, const proto::Split& frame);
  Taken logout(Session& session, const proto::Split& frame);
  Taken device_token(Session& session, const proto::Split& frame);
  Taken kick_pc(Session& session, const proto::Split& frame);
  Taken push_shield(Session& session, const proto::Split& frame);
  Taken query_push_shield(Session& session, const proto::Split& frame);
  Taken heartbeat(Session& session, const proto::Split& frame);
  Taken message(Session& session, const proto::Split& frame);
  Taken message_ack(Session& session, const proto::Split& frame);
  Taken read_ack(Session& session, const proto::Split& frame);
  Taken server_time(Session& session, const proto::Split& frame);
  Taken unread_count(Session& session, const proto::Split& frame);
  Taken message_list(Session& session, const proto::Split& frame);
  Taken latest_message_id(Session& session, const proto::Split& frame);
  Taken messages_by_id(Session& session, const proto::Split& frame);
  Taken offline_files(Session& session, const proto::Split& frame);
  Taken session_list(Session& session, const proto::Split& frame);
  Taken remove_session(Session& session, const proto::Split& frame);
  Taken profiles(Session& session, const proto::Split& frame);
  Taken all_users(Session& session, const proto::Split& frame);
  Taken users_status(Session& session, const proto::Split& frame);
  Taken change_avatar(Session& session, const proto::Split& frame);
  Taken departments(Session& session, const proto::Split& frame);
  Taken change_signature(Session& session, const proto::Split& frame);
  Taken normal_groups(Session& session, const proto::Split& frame);
  Taken group_info(Session& session, const proto::Split& frame);
  Taken create_group(Session& session, const proto::Split& frame);
  Taken change_members(Session& session, const proto::Split& frame);
  Taken mute_group(Session& session, const proto::Split& frame);
  Taken relayed(Session& session, const proto::Split& frame);
  Taken hello_said(Session& session, const proto::Split& frame);

  Context& context_;
  Login& login_;
  Messages& messages_;
  History& history_;
  Unread& unread_;
  ReadMarks& read_marks_;
  SessionList& session_list_;
  Contacts& contacts_;
  GroupCommands& groups_;
  ProfileEdit& profile_edit_;
  PushSettings& push_settings_;
};

}  // namespace ringtalk::shard
