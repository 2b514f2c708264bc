// Commands: every number of the protocol, who may send it, and its name for logs.
//
// A name is the body's message name in snake case, Req and Rsp/Res spelled out: 0x0103 carries
// IMLoginReq and is login_request. A new command is one line of RT_PROTO_COMMANDS.
//
//   client    a request or report of clients; servers answer or act
//   server    an answer or a push; from a client it is ignored (it may know more than we do)
//   both      either side may start it
//   internal  between original servers; from a client it closes the connection
#pragma once

#include <cstdint>
#include <string_view>

namespace ringtalk::proto {

enum class Direction : uint8_t { unknown, client, server, both, internal };

// clang-format off
#define RT_PROTO_COMMANDS(X) \
  /* login */                                          \
  X(0x0101, client,   msg_serv_request)                \
  X(0x0102, server,   msg_serv_response)               \
  X(0x0103, client,   login_request)                   \
  X(0x0104, server,   login_response)                  \
  X(0x0105, client,   logout_request)                  \
  X(0x0106, server,   logout_response)                 \
  X(0x0107, server,   kick_user)                       \
  X(0x0108, client,   device_token_request)            \
  X(0x0109, server,   device_token_response)           \
  X(0x010a, client,   kick_pc_client_request)          \
  X(0x010b, server,   kick_pc_client_response)         \
  X(0x010c, client,   push_shield_request)             \
  X(0x010d, server,   push_shield_response)            \
  X(0x010e, client,   query_push_shield_request)       \
  X(0x010f, server,   query_push_shield_response)      \
  /* buddy */                                          \
  X(0x0201, client,   recent_contact_session_request)  \
  X(0x0202, server,   recent_contact_session_response) \
  X(0x0203, server,   user_stat_notify)                \
  X(0x0204, client,   users_info_request)              \
  X(0x0205, server,   users_info_response)             \
  X(0x0206, client,   remove_session_request)          \
  X(0x0207, server,   remove_session_response)         \
  X(0x0208, client,   all_user_request)                \
  X(0x0209, server,   all_user_response)               \
  X(0x020a, client,   users_stat_request)              \
  X(0x020b, server,   users_stat_response)             \
  X(0x020c, client,   change_avatar_request)           \
  X(0x020d, server,   change_avatar_response)          \
  X(0x020e, server,   pc_login_status_notify)          \
  X(0x020f, server,   remove_session_notify)           \
  X(0x0210, client,   department_request)              \
  X(0x0211, server,   department_response)             \
  X(0x0212, server,   avatar_changed_notify)           \
  X(0x0213, client,   change_sign_info_request)        \
  X(0x0214, server,   change_sign_info_response)       \
  X(0x0215, server,   sign_info_changed_notify)        \
  /* message */                                        \
  X(0x0301, both,     msg_data)                        \
  X(0x0302, both,     msg_data_ack)                    \
  X(0x0303, client,   msg_data_read_ack)               \
  X(0x0304, server,   msg_data_read_notify)            \
  X(0x0305, client,   client_time_request)             \
  X(0x0306, server,   client_time_response)            \
  X(0x0307, client,   unread_msg_cnt_request)          \
  X(0x0308, server,   unread_msg_cnt_response)         \
  X(0x0309, client,   get_msg_list_request)            \
  X(0x030a, server,   get_msg_list_response)           \
  X(0x030b, client,   get_latest_msg_id_request)       \
  X(0x030c, server,   get_latest_msg_id_response)      \
  X(0x030d, client,   get_msg_by_id_request)           \
  X(0x030e, server,   get_msg_by_id_response)          \
  /* group */                                          \
  X(0x0401, client,   normal_group_list_request)       \
  X(0x0402, server,   normal_group_list_response)      \
  X(0x0403, client,   group_info_list_request)         \
  X(0x0404, server,   group_info_list_response)        \
  X(0x0405, client,   group_create_request)            \
  X(0x0406, server,   group_create_response)           \
  X(0x0407, client,   group_change_member_request)     \
  X(0x0408, server,   group_change_member_response)    \
  X(0x0409, client,   group_shield_request)            \
  X(0x040a, server,   group_shield_response)           \
  X(0x040b, server,   group_change_member_notify)      \
  /* file; the first five on the file connection */    \
  X(0x0501, client,   file_login_request)              \
  X(0x0502, server,   file_login_response)             \
  X(0x0503, both,     file_state)                      \
  X(0x0504, both,     file_pull_data_request)          \
  X(0x0505, both,     file_pull_data_response)         \
  X(0x0506, client,   file_request)                    \
  X(0x0507, server,   file_response)                   \
  X(0x0508, server,   file_notify)                     \
  X(0x0509, client,   file_has_offline_request)        \
  X(0x050a, server,   file_has_offline_response)       \
  X(0x050b, client,   file_add_offline_request)        \
  X(0x050c, client,   file_del_offline_request)        \
  /* switch */                                         \
  X(0x0601, both,     p2p_cmd_msg)                     \
  /* other */                                          \
  X(0x0701, both,     heartbeat)                       \
  X(0x0702, internal, stop_receive_packet)             \
  X(0x0703, internal, validate_request)                \
  X(0x0704, internal, validate_response)               \
  X(0x0705, internal, get_device_token_request)        \
  X(0x0706, internal, get_device_token_response)       \
  X(0x0707, internal, role_set)                        \
  X(0x0708, internal, online_user_info)                \
  X(0x0709, internal, msg_serv_info)                   \
  X(0x070a, internal, user_status_update)              \
  X(0x070b, internal, user_cnt_update)                 \
  X(0x070d, internal, server_kick_user)                \
  X(0x070e, internal, server_pc_login_status_notify)   \
  X(0x070f, internal, push_to_user_request)            \
  X(0x0710, internal, push_to_user_response)           \
  X(0x0711, internal, group_get_shield_request)        \
  X(0x0712, internal, group_get_shield_response)       \
  X(0x0731, internal, file_transfer_request)           \
  X(0x0732, internal, file_transfer_response)          \
  X(0x0733, internal, file_server_ip_request)          \
  X(0x0734, internal, file_server_ip_response)         \
  /* extension: hello and refusals */                  \
  X(0x2001, client,   ext_hello_request)               \
  X(0x2002, server,   ext_hello_response)              \
  X(0x2003, server,   ext_error)                       \
  /* extension: message control, sync, history */      \
  X(0x2101, client,   msg_ctrl_request)                \
  X(0x2102, server,   msg_ctrl_response)               \
  X(0x2103, server,   msg_ctrl_notify)                 \
  X(0x2104, client,   priority_sync_request)           \
  X(0x2105, server,   priority_sync_response)          \
  X(0x2106, client,   hot_session_request)             \
  X(0x2107, server,   hot_session_response)            \
  X(0x2108, client,   history_pull_request)            \
  X(0x2109, server,   history_pull_response)           \
  /* extension: groups */                              \
  X(0x2201, client,   group_join_request)              \
  X(0x2202, server,   group_join_response)             \
  X(0x2203, client,   group_quit_request)              \
  X(0x2204, server,   group_quit_response)             \
  X(0x2205, client,   group_dismiss_request)           \
  X(0x2206, server,   group_dismiss_response)          \
  X(0x2207, client,   group_transfer_request)          \
  X(0x2208, server,   group_transfer_response)         \
  X(0x2209, client,   group_update_info_request)       \
  X(0x220a, server,   group_update_info_response)      \
  X(0x220b, client,   group_members_request)           \
  X(0x220c, server,   group_members_response)          \
  X(0x220d, client,   group_is_member_request)         \
  X(0x220e, server,   group_is_member_response)        \
  X(0x220f, client,   group_sync_request)              \
  X(0x2210, server,   group_sync_response)             \
  X(0x2211, server,   group_event_notify)              \
  /* extension: friends */                             \
  X(0x2301, client,   friend_add_request)              \
  X(0x2302, server,   friend_add_response)             \
  X(0x2303, client,   friend_del_request)              \
  X(0x2304, server,   friend_del_response)             \
  X(0x2305, client,   friend_list_request)             \
  X(0x2306, server,   friend_list_response)            \
  X(0x2307, server,   friend_notify)                   \
  /* extension: push vendors */                        \
  X(0x2401, client,   push_register_request)           \
  X(0x2402, server,   push_register_response)          \
  X(0x2403, client,   push_unregister_request)         \
  X(0x2404, server,   push_unregister_response)
// clang-format on

enum class CommandId : uint16_t {
#define RT_PROTO_ENUMERATOR(number, direction, name) name = number,
  RT_PROTO_COMMANDS(RT_PROTO_ENUMERATOR)
#undef RT_PROTO_ENUMERATOR
};

constexpr uint16_t raw(CommandId command) { return static_cast<uint16_t>(command); }

// What goes into the header's service field: clients route incoming frames by it.
constexpr uint16_t service_of(CommandId command) { return raw(command) >> 8; }

// Who may send this number. The server-to-server ranges are internal even where unlisted.
constexpr Direction direction(CommandId command) {
  switch (command) {
#define RT_PROTO_DIRECTION(number, direction, name) \
  case CommandId::name: return Direction::direction;
    RT_PROTO_COMMANDS(RT_PROTO_DIRECTION)
#undef RT_PROTO_DIRECTION
  }
  const uint16_t number = raw(command);
  if (number >= 0x0702 && number <= 0x07ff) return Direction::internal;
  return number >> 8 == 0x08 ? Direction::internal : Direction::unknown;
}

// "unknown" for a number that is not in the list.
constexpr std::string_view name(CommandId command) {
  switch (command) {
#define RT_PROTO_NAME(number, direction, name) \
  case CommandId::name: return #name;
    RT_PROTO_COMMANDS(RT_PROTO_NAME)
#undef RT_PROTO_NAME
  }
  return "unknown";
}

// Extension services (0x20…0x24): pushes of theirs go only to connections that said hello.
constexpr bool is_extension(CommandId command) {
  return service_of(command) >= 0x20 && service_of(command) <= 0x24;
}

static_assert(service_of(CommandId::msg_data) == 0x03);
static_assert(direction(CommandId::heartbeat) == Direction::both);
static_assert(direction(CommandId(0x070c)) == Direction::internal, "a hole in the list");
static_assert(direction(CommandId(0x0801)) == Direction::internal);
static_assert(direction(CommandId(0x0216)) == Direction::unknown);

}  // namespace ringtalk::proto
