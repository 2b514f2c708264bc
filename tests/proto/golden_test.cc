// Goal    field tags, types and labels are those of deployed clients, in every area.
// Method  the expected bytes come from a varint encoder that knows nothing of protobuf, written
//         from the wire description; a changed tag or type shows as changed bytes.
#include <gtest/gtest.h>

#include <string>

#include "proto/buddy.pb.h"
#include "proto/ext_buddy.pb.h"
#include "proto/ext_group.pb.h"
#include "proto/ext_msg.pb.h"
#include "proto/ext_push.pb.h"
#include "proto/ext_sys.pb.h"
#include "proto/file.pb.h"
#include "proto/group.pb.h"
#include "proto/login.pb.h"
#include "proto/message.pb.h"
#include "proto/other.pb.h"
#include "proto/server.pb.h"
#include "proto/switch_service.pb.h"

namespace ringtalk::proto {
namespace {

using namespace IM::BaseDefine;

std::string hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<uint8_t>(c) >> 4];
    out += kDigits[static_cast<uint8_t>(c) & 15];
  }
  return out;
}

template <class M>
void expect_bytes(const M& message, const char* expected) {
  ASSERT_TRUE(message.IsInitialized());
  const std::string bytes = message.SerializeAsString();
  EXPECT_EQ(hex(bytes), expected) << message.GetTypeName();
  M back;
  ASSERT_TRUE(back.ParseFromString(bytes));
  EXPECT_EQ(back.SerializeAsString(), bytes);
}

TEST(Golden, Login) {
  IM::Login::IMLoginReq request;
  request.set_user_name("alice");
  request.set_password("5f4dcc3b5aa765d61d8327deb882cf99");
  request.set_online_status(USER_STATUS_ONLINE);
  request.set_client_type(CLIENT_TYPE_ANDROID);
  request.set_client_version("a/1");
  expect_bytes(request,
               "0a05616c69636512203566346463633362356161373635643631643833323764656238383263663939"
               "180120122a03612f31");

  IM::Login::IMLoginRes response;
  response.set_server_time(1700000000);
  response.set_result_code(REFUSE_REASON_NONE);
  response.set_result_string("成功");
  response.set_online_status(USER_STATUS_ONLINE);
  UserInfo& user = *response.mutable_user_info();
  user.set_user_id(7);
  user.set_user_gender(1);
  user.set_user_nick_name("爱");
  user.set_avatar_url("");
  user.set_department_id(300);
  user.set_email("a@b");
  user.set_user_real_name("alice");
  user.set_user_tel("1");
  user.set_user_domain("ai");
  user.set_status(0);
  user.set_sign_info("hi");
  response.set_session_token("t");
  expect_bytes(response,
               "0880e2cfaa0610001a06e68890e58a9f20012a27080710011a03e788b1220028ac0232036140623a05"
               "616c6963654201314a02616950005a026869a2060174");

  IM::Login::IMLoginRes failure;
  failure.set_server_time(1);
  failure.set_result_code(REFUSE_REASON_DB_VALIDATE_FAILED);
  expect_bytes(failure, "08011006");

  IM::Login::IMKickUser kick;
  kick.set_user_id(7);
  kick.set_kick_reason(KICK_REASON_DUPLICATE_USER);
  expect_bytes(kick, "08071001");

  IM::Login::IMMsgServRsp address;
  address.set_result_code(REFUSE_REASON_NONE);
  address.set_prior_ip("1.2.3.4");
  address.set_backip_ip("b");
  address.set_port(8000);
  expect_bytes(address, "08001207312e322e332e341a016220c03e");
}

TEST(Golden, Buddy) {
  IM::Buddy::IMRecentContactSessionRsp contacts;
  contacts.set_user_id(7);
  ContactSessionInfo& session = *contacts.add_contact_session_list();
  session.set_session_id(8);
  session.set_session_type(SESSION_TYPE_GROUP);
  session.set_session_status(SESSION_STATUS_OK);
  session.set_updated_time(1700000000);
  session.set_latest_msg_id(128);
  session.set_latest_msg_data(std::string("\0\xff", 2));
  session.set_latest_msg_type(MSG_TYPE_GROUP_TEXT);
  session.set_latest_msg_from_user_id(9);
  expect_bytes(contacts, "080712170808100218002080e2cfaa06288001320200ff38114009");

  IM::Buddy::IMUsersInfoReq ids;
  ids.set_user_id(0);
  ids.add_user_id_list(1);
  ids.add_user_id_list(16384);
  ids.set_attach_data("\x01");
  expect_bytes(ids, "0800100110808001a2010101");

  IM::Buddy::IMDepartmentRsp departments;
  departments.set_user_id(1);
  departments.set_latest_update_time(2);
  DepartInfo& department = *departments.add_dept_list();
  department.set_dept_id(3);
  department.set_priority(4);
  department.set_dept_name("dev");
  department.set_parent_dept_id(0);
  department.set_dept_status(DEPT_STATUS_DELETE);
  expect_bytes(departments, "080110021a0d080310041a0364657620002801");
}

TEST(Golden, Message) {
  IM::Message::IMMsgData data;
  data.set_from_user_id(4294967295);
  data.set_to_session_id(128);
  data.set_msg_id(0);
  data.set_create_time(1700000000);
  data.set_msg_type(MSG_TYPE_SINGLE_AUDIO);
  data.set_msg_data(std::string("\0\0\0\5", 4));
  data.set_attach_data("a");
  data.set_client_msg_id("k");
  expect_bytes(data, "08ffffffff0f10800118002080e2cfaa062802320400000005a2010161aa01016b");

  IM::Message::IMUnreadMsgCntRsp unread;
  unread.set_user_id(7);
  unread.set_total_cnt(3);
  UnreadInfo& entry = *unread.add_unreadinfo_list();
  entry.set_session_id(8);
  entry.set_session_type(SESSION_TYPE_SINGLE);
  entry.set_unread_cnt(3);
  entry.set_latest_msg_id(99);
  entry.set_latest_msg_data("x");
  entry.set_latest_msg_type(MSG_TYPE_SINGLE_TEXT);
  entry.set_latest_msg_from_user_id(8);
  expect_bytes(unread, "080710031a0f08081001180320632a017830013808");

  IM::Message::IMGetMsgListRsp history;
  history.set_user_id(7);
  history.set_session_type(SESSION_TYPE_SINGLE);
  history.set_session_id(8);
  history.set_msg_id_begin(100);
  MsgInfo& message = *history.add_msg_list();
  message.set_msg_id(100);
  message.set_from_session_id(8);
  message.set_create_time(1);
  message.set_msg_type(MSG_TYPE_SINGLE_TEXT);
  message.set_msg_data("m");
  expect_bytes(history, "08071001180820642a0b08641008180120012a016d");
}

TEST(Golden, Group) {
  IM::Group::IMGroupCreateReq create;
  EXPECT_EQ(create.group_type(), GROUP_TYPE_TMP);
  create.set_user_id(7);
  EXPECT_FALSE(create.IsInitialized()) << "a default does not make it optional";
  create.set_group_type(GROUP_TYPE_TMP);
  create.set_group_name("g");
  create.set_group_avatar("");
  create.add_member_id_list(1);
  create.add_member_id_list(2);
  expect_bytes(create, "080710021a0167220028012802");

  IM::Group::IMGroupInfoListRsp list;
  list.set_user_id(7);
  GroupInfo& group = *list.add_group_info_list();
  group.set_group_id(5);
  group.set_version(6);
  group.set_group_name("n");
  group.set_group_avatar("");
  group.set_group_creator_id(0);
  group.set_group_type(GROUP_TYPE_NORMAL);
  group.set_shield_status(1);
  group.add_group_member_list(7);
  group.add_group_member_list(300);
  expect_bytes(list, "08071214080510061a016e2200280030013801400740ac02");

  IM::Group::IMGroupChangeMemberNotify notify;
  notify.set_user_id(7);
  notify.set_change_type(GROUP_MODIFY_TYPE_DEL);
  notify.set_group_id(5);
  notify.add_cur_user_id_list(1);
  notify.add_chg_user_id_list(2);
  expect_bytes(notify, "08071002180520012802");
}

TEST(Golden, FileSwitchOtherServer) {
  IM::File::IMFileRsp offer;
  offer.set_result_code(0);
  offer.set_from_user_id(7);
  offer.set_to_user_id(8);
  offer.set_file_name("f");
  offer.set_task_id("task");
  IpAddr& address = *offer.add_ip_addr_list();
  address.set_ip("1.2.3.4");
  address.set_port(8600);
  offer.set_trans_mode(FILE_TYPE_OFFLINE);
  expect_bytes(offer, "0800100718082201662a047461736b320c0a07312e322e332e341098433802");

  IM::File::IMFileState state;
  state.set_state(CLIENT_FILE_PEER_READY);
  state.set_task_id("task");
  state.set_user_id(7);
  expect_bytes(state, "080012047461736b1807");

  IM::SwitchService::IMP2PCmdMsg command;
  command.set_from_user_id(1);
  command.set_to_user_id(2);
  command.set_cmd_msg_data("{}");
  expect_bytes(command, "080110021a027b7d");

  expect_bytes(IM::Other::IMHeartBeat(), "");

  IM::Server::IMFileTransferRsp transfer;
  transfer.set_result_code(0);
  transfer.set_from_user_id(7);
  transfer.set_to_user_id(8);
  transfer.set_file_name("f");
  transfer.set_file_size(9);
  transfer.set_task_id("t");
  transfer.set_trans_mode(FILE_TYPE_ONLINE);
  expect_bytes(transfer, "08001007180822016628093201743801");
}

TEST(Golden, Extensions) {
  IM::Ext::Sys::ExtHelloRsp hello;
  hello.set_user_id(7);
  hello.set_result_code(IM::Ext::Sys::EXT_RESULT_OK);
  hello.set_ext_version(1);
  hello.set_features(63);
  hello.set_revoke_window(120);
  hello.set_max_pdu(65536);
  hello.set_priority_seq(uint64_t{1} << 63 | 1);
  expect_bytes(hello, "080710001801203f2878308080043881808080808080808001");

  IM::Ext::Msg::MsgCtrlNotify control;
  control.set_op_user_id(7);
  control.set_session_type(SESSION_TYPE_SINGLE);
  control.set_session_id(8);
  control.set_msg_id(9);
  control.set_command(IM::Ext::Msg::MSG_CTRL_OVERRIDE);
  control.set_content("new");
  control.set_ctrl_seq(uint64_t{1} << 40);
  control.set_op_time(1700000000);
  expect_bytes(control, "0807100118082009280232036e6577388080808080204080e2cfaa06");

  IM::Ext::Msg::HotSessionRsp hot;
  hot.set_user_id(7);
  hot.set_result_code(0);
  auto& session = *hot.add_session_list();
  session.set_session_type(SESSION_TYPE_SINGLE);
  session.set_session_id(8);
  session.set_updated_time(9);
  session.set_latest_msg_id(1);
  session.set_read_msg_id(0);
  session.set_unread_cnt(1);
  auto& message = *session.add_msg_list();
  message.mutable_msg()->set_msg_id(1);
  message.mutable_msg()->set_from_session_id(7);
  message.mutable_msg()->set_create_time(2);
  message.mutable_msg()->set_msg_type(MSG_TYPE_SINGLE_TEXT);
  message.mutable_msg()->set_msg_data("");
  message.set_flags(IM::Ext::Msg::HISTORY_FLAG_REVOKED);
  message.set_op_time(5);
  session.set_group_version(2);
  hot.set_server_time(3);
  hot.set_has_more(0);
  expect_bytes(
      hot, "080710001a200801100818092001280030013a100a0a08011007180220012a0010011805400220032800");

  IM::Ext::Group::GroupEventNotify event;
  event.set_group_id(5);
  event.set_event(IM::Ext::Group::GROUP_EVENT_INFO);
  event.set_op_user_id(7);
  event.set_version(8);
  event.add_user_list(1);
  event.add_user_list(2);
  event.set_event_time(9);
  expect_bytes(event, "0805100618072008280128023809");

  IM::Ext::Buddy::FriendListRsp friends;
  friends.set_user_id(7);
  friends.set_result_code(0);
  auto& one = *friends.add_friend_list();
  one.set_user_id(8);
  one.set_remark("r");
  one.set_status(1);
  one.set_updated(9);
  friends.set_latest_update_time(10);
  expect_bytes(friends, "080710001a09080812017218012009200a");

  IM::Ext::Push::PushRegisterReq push;
  push.set_user_id(7);
  push.set_service_type(IM::Ext::Push::PUSH_SERVICE_FCM);
  push.set_package_name("p");
  push.set_token("t");
  push.set_app_version("1");
  push.set_device_id("d");
  expect_bytes(push, "080710071a01702201742a0131320164");
}

}  // namespace
}  // namespace ringtalk::proto
