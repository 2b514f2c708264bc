"""The wire as the specification has it: header, commands, enums and a strict protobuf codec.

Written from the protocol description alone and sharing no code with the engine, so that both cannot
be wrong in the same way.

Strict     decode() refuses what an old client would throw at: a missing required field, text that is
           not UTF-8, an enum value outside its table, a number over 32 bits, a wrong wire type, a
           singular field given twice. It also refuses tags that the table does not list: what the
           server must not relay (attach_data, client_msg_id, unknown fields) shows up at once.
Bound      no answer may exceed 400 KiB (Android drops the connection).
"""

import struct

HEADER = struct.Struct(">IHHHHHH")
HEADER_BYTES = 16
ANSWER_BYTES_MAX = 400 * 1024
STRANGER_FRAME_BYTES_MAX = 4 * 1024
FRAME_BYTES_MAX = 64 * 1024
MESSAGE_FRAME_BYTES_MAX = 257 * 1024
TEXT_CHARACTERS_MAX = 4096
TEXT_BYTES_MAX = 16 * 1024
SOUND_BYTES_MAX = 256 * 1024

# Commands.
MSG_SERVER_REQ, MSG_SERVER_RES = 0x0101, 0x0102
LOGIN_REQ, LOGIN_RES = 0x0103, 0x0104
LOGOUT_REQ, LOGOUT_RES = 0x0105, 0x0106
KICK_USER = 0x0107
DEVICE_TOKEN_REQ, DEVICE_TOKEN_RES = 0x0108, 0x0109
KICK_PC_REQ, KICK_PC_RES = 0x010A, 0x010B
PUSH_SHIELD_REQ, PUSH_SHIELD_RES = 0x010C, 0x010D
QUERY_SHIELD_REQ, QUERY_SHIELD_RES = 0x010E, 0x010F
SESSIONS_REQ, SESSIONS_RES = 0x0201, 0x0202
STATUS_NOTIFY, PC_LOGIN_NOTIFY = 0x0203, 0x020E
USERS_INFO_REQ, USERS_INFO_RES = 0x0204, 0x0205
REMOVE_SESSION_REQ, REMOVE_SESSION_RES, REMOVE_SESSION_NOTIFY = 0x0206, 0x0207, 0x020F
ALL_USERS_REQ, ALL_USERS_RES = 0x0208, 0x0209
USERS_STATUS_REQ, USERS_STATUS_RES = 0x020A, 0x020B
AVATAR_REQ, AVATAR_RES, AVATAR_NOTIFY = 0x020C, 0x020D, 0x0212
DEPARTMENTS_REQ, DEPARTMENTS_RES = 0x0210, 0x0211
SIGNATURE_REQ, SIGNATURE_RES, SIGNATURE_NOTIFY = 0x0213, 0x0214, 0x0215
MSG_DATA, MSG_ACK = 0x0301, 0x0302
READ_ACK, READ_NOTIFY = 0x0303, 0x0304
TIME_REQ, TIME_RES = 0x0305, 0x0306
UNREAD_REQ, UNREAD_RES = 0x0307, 0x0308
LIST_REQ, LIST_RES = 0x0309, 0x030A
LATEST_ID_REQ, LATEST_ID_RES = 0x030B, 0x030C
BY_ID_REQ, BY_ID_RES = 0x030D, 0x030E
NORMAL_GROUPS_REQ, NORMAL_GROUPS_RES = 0x0401, 0x0402
GROUP_INFO_REQ, GROUP_INFO_RES = 0x0403, 0x0404
CREATE_GROUP_REQ, CREATE_GROUP_RES = 0x0405, 0x0406
CHANGE_MEMBERS_REQ, CHANGE_MEMBERS_RES, MEMBERS_NOTIFY = 0x0407, 0x0408, 0x040B
SHIELD_REQ, SHIELD_RES = 0x0409, 0x040A
OFFLINE_FILES_REQ, OFFLINE_FILES_RES = 0x0509, 0x050A
P2P_COMMAND = 0x0601
HEARTBEAT = 0x0701
HELLO_REQ, HELLO_RES, EXT_ERROR = 0x2001, 0x2002, 0x2003

ANSWER_OF = {
    MSG_SERVER_REQ: MSG_SERVER_RES, LOGIN_REQ: LOGIN_RES, LOGOUT_REQ: LOGOUT_RES,
    KICK_PC_REQ: KICK_PC_RES, MSG_DATA: MSG_ACK, TIME_REQ: TIME_RES, UNREAD_REQ: UNREAD_RES,
    LIST_REQ: LIST_RES, HELLO_REQ: HELLO_RES,
    SESSIONS_REQ: SESSIONS_RES, USERS_INFO_REQ: USERS_INFO_RES, REMOVE_SESSION_REQ: REMOVE_SESSION_RES,
    ALL_USERS_REQ: ALL_USERS_RES, USERS_STATUS_REQ: USERS_STATUS_RES, DEPARTMENTS_REQ: DEPARTMENTS_RES,
    LATEST_ID_REQ: LATEST_ID_RES, BY_ID_REQ: BY_ID_RES, NORMAL_GROUPS_REQ: NORMAL_GROUPS_RES,
    OFFLINE_FILES_REQ: OFFLINE_FILES_RES,
    DEVICE_TOKEN_REQ: DEVICE_TOKEN_RES, PUSH_SHIELD_REQ: PUSH_SHIELD_RES, QUERY_SHIELD_REQ: QUERY_SHIELD_RES,
    AVATAR_REQ: AVATAR_RES, SIGNATURE_REQ: SIGNATURE_RES, GROUP_INFO_REQ: GROUP_INFO_RES,
    CREATE_GROUP_REQ: CREATE_GROUP_RES, CHANGE_MEMBERS_REQ: CHANGE_MEMBERS_RES, SHIELD_REQ: SHIELD_RES,
}
PUSHES = {KICK_USER, MSG_DATA, READ_NOTIFY, STATUS_NOTIFY, PC_LOGIN_NOTIFY, REMOVE_SESSION_NOTIFY,
          P2P_COMMAND, MEMBERS_NOTIFY, AVATAR_NOTIFY, SIGNATURE_NOTIFY}
TOLD_TO_OWN = {AVATAR_RES}  # answers that the user's other connections get with seq 0

# Enums: the values that may be on the wire.
WINDOWS, MAC, IOS, ANDROID = 1, 2, 0x11, 0x12
ONLINE, OFFLINE, LEAVE = 1, 2, 3
SINGLE, GROUP = 1, 2
TEXT, SOUND, GROUP_TEXT, GROUP_SOUND = 1, 2, 0x11, 0x12
NORMAL, TEMPORARY = 1, 2
ADD, REMOVE = 1, 2
KICK_DUPLICATE, KICK_MOBILE = 1, 2
OK, FULL, NO_STORE, REFUSED = 0, 2, 3, 6
EXT_PARAM, EXT_STORAGE, EXT_NOT_EXIST, EXT_BAD_COMMAND = 1, 2, 3, 4
EXT_NO_PERMISSION, EXT_TOO_LATE, EXT_ALREADY, EXT_LIMIT = 5, 6, 7, 8

TEXT_OK = "成功"
TEXT_WRONG = "用户名/密码错误"
TEXT_TOO_MANY = "用户名/密码错误次数太多"
SOUND_PLACEHOLDER = b"QhGXlpFjvMFUNrtl1aaPzA=="  # "[语音]" under the default key: wire.md 9.1

ENUMS = {
    "ResultType": set(range(8)),
    "KickReasonType": {1, 2},
    "UserStatType": {1, 2, 3},
    "SessionType": {1, 2},
    "MsgType": {1, 2, 0x11, 0x12},
    "ClientType": {1, 2, 0x11, 0x12},
    "SessionStatusType": {0, 1},
    "DepartmentStatusType": {0, 1},
    "GroupType": {1, 2},
    "GroupModifyType": {1, 2},
}

# Fields: tag -> (name, type, label); label r required, o optional, * repeated.
USER_INFO = {
    1: ("user_id", "uint32", "r"), 2: ("user_gender", "uint32", "r"),
    3: ("user_nick_name", "string", "r"), 4: ("avatar_url", "string", "r"),
    5: ("department_id", "uint32", "r"), 6: ("email", "string", "r"),
    7: ("user_real_name", "string", "r"), 8: ("user_tel", "string", "r"),
    9: ("user_domain", "string", "r"), 10: ("status", "uint32", "r"),
    11: ("sign_info", "string", "o"),
}
MSG_INFO = {
    1: ("msg_id", "uint32", "r"), 2: ("from_session_id", "uint32", "r"),
    3: ("create_time", "uint32", "r"), 4: ("msg_type", "MsgType", "r"), 5: ("msg_data", "bytes", "r"),
}
UNREAD_INFO = {
    1: ("session_id", "uint32", "r"), 2: ("session_type", "SessionType", "r"),
    3: ("unread_cnt", "uint32", "r"), 4: ("latest_msg_id", "uint32", "r"),
    5: ("latest_msg_data", "bytes", "r"), 6: ("latest_msg_type", "MsgType", "r"),
    7: ("latest_msg_from_user_id", "uint32", "r"),
}
CONTACT_SESSION_INFO = {
    1: ("session_id", "uint32", "r"), 2: ("session_type", "SessionType", "r"),
    3: ("session_status", "SessionStatusType", "r"), 4: ("updated_time", "uint32", "r"),
    5: ("latest_msg_id", "uint32", "r"), 6: ("latest_msg_data", "bytes", "r"),
    7: ("latest_msg_type", "MsgType", "r"), 8: ("latest_msg_from_user_id", "uint32", "r"),
}
USER_STAT = {1: ("user_id", "uint32", "r"), 2: ("status", "UserStatType", "r")}
DEPART_INFO = {
    1: ("dept_id", "uint32", "r"), 2: ("priority", "uint32", "r"), 3: ("dept_name", "string", "r"),
    4: ("parent_dept_id", "uint32", "r"), 5: ("dept_status", "DepartmentStatusType", "r"),
}
GROUP_VERSION_INFO = {1: ("group_id", "uint32", "r"), 2: ("version", "uint32", "r")}
GROUP_INFO = {
    1: ("group_id", "uint32", "r"), 2: ("version", "uint32", "r"), 3: ("group_name", "string", "r"),
    4: ("group_avatar", "string", "r"), 5: ("group_creator_id", "uint32", "r"),
    6: ("group_type", "GroupType", "r"), 7: ("shield_status", "uint32", "r"),
    8: ("group_member_list", "uint32", "*"),
}
OFFLINE_FILE_INFO = {
    1: ("from_user_id", "uint32", "r"), 2: ("task_id", "string", "r"),
    3: ("file_name", "string", "r"), 4: ("file_size", "uint32", "r"),
}
IP_ADDR = {1: ("ip", "string", "r"), 2: ("port", "uint32", "r")}
STRUCTS = {
    "UserInfo": USER_INFO, "MsgInfo": MSG_INFO, "UnreadInfo": UNREAD_INFO,
    "ContactSessionInfo": CONTACT_SESSION_INFO, "UserStat": USER_STAT, "DepartInfo": DEPART_INFO,
    "GroupVersionInfo": GROUP_VERSION_INFO, "GroupInfo": GROUP_INFO,
    "OfflineFileInfo": OFFLINE_FILE_INFO, "IpAddr": IP_ADDR,
}

_ACK = {
    1: ("user_id", "uint32", "r"), 2: ("session_id", "uint32", "r"),
    3: ("msg_id", "uint32", "r"), 4: ("session_type", "SessionType", "r"),
}
_SINCE = {
    1: ("user_id", "uint32", "r"), 2: ("latest_update_time", "uint32", "r"),
    20: ("attach_data", "bytes", "c"),
}
_IDS = {
    1: ("user_id", "uint32", "r"), 2: ("user_id_list", "uint32", "*"),
    20: ("attach_data", "bytes", "c"),
}
_PUSH_SHIELD = {
    1: ("user_id", "uint32", "r"), 2: ("result_code", "uint32", "r"),
    3: ("shield_status", "uint32", "o"),
}
_SESSION = {
    1: ("user_id", "uint32", "r"), 2: ("session_type", "SessionType", "r"),
    3: ("session_id", "uint32", "r"), 20: ("attach_data", "bytes", "c"),
}
MESSAGES = {
    MSG_SERVER_REQ: {},
    MSG_SERVER_RES: {
        1: ("result_code", "ResultType", "r"), 2: ("prior_ip", "string", "o"),
        3: ("backip_ip", "string", "o"), 4: ("port", "uint32", "o")},
    LOGIN_REQ: {
        1: ("user_name", "string", "r"), 2: ("password", "string", "r"),
        3: ("online_status", "UserStatType", "r"), 4: ("client_type", "ClientType", "r"),
        5: ("client_version", "string", "o")},
    LOGIN_RES: {
        1: ("server_time", "uint32", "r"), 2: ("result_code", "ResultType", "r"),
        3: ("result_string", "string", "o"), 4: ("online_status", "UserStatType", "o"),
        5: ("user_info", "UserInfo", "o"), 100: ("session_token", "string", "o")},
    LOGOUT_REQ: {},
    LOGOUT_RES: {1: ("result_code", "uint32", "r")},
    KICK_USER: {1: ("user_id", "uint32", "r"), 2: ("kick_reason", "KickReasonType", "r")},
    DEVICE_TOKEN_REQ: {
        1: ("user_id", "uint32", "r"), 2: ("device_token", "string", "r"),
        3: ("client_type", "ClientType", "o"), 20: ("attach_data", "bytes", "c")},
    DEVICE_TOKEN_RES: {1: ("user_id", "uint32", "r")},
    PUSH_SHIELD_REQ: {
        1: ("user_id", "uint32", "r"), 2: ("shield_status", "uint32", "r"),
        20: ("attach_data", "bytes", "c")},
    PUSH_SHIELD_RES: _PUSH_SHIELD,
    QUERY_SHIELD_REQ: {1: ("user_id", "uint32", "r"), 20: ("attach_data", "bytes", "c")},
    QUERY_SHIELD_RES: _PUSH_SHIELD,
    KICK_PC_REQ: {1: ("user_id", "uint32", "r")},
    KICK_PC_RES: {1: ("user_id", "uint32", "r"), 2: ("result_code", "uint32", "r")},
    SESSIONS_REQ: _SINCE,
    SESSIONS_RES: {
        1: ("user_id", "uint32", "r"), 2: ("contact_session_list", "ContactSessionInfo", "*")},
    STATUS_NOTIFY: {1: ("user_stat", "UserStat", "r")},
    USERS_INFO_REQ: _IDS,
    USERS_INFO_RES: {1: ("user_id", "uint32", "r"), 2: ("user_info_list", "UserInfo", "*")},
    REMOVE_SESSION_REQ: _SESSION,
    REMOVE_SESSION_RES: {
        1: ("user_id", "uint32", "r"), 2: ("result_code", "uint32", "r"),
        3: ("session_type", "SessionType", "r"), 4: ("session_id", "uint32", "r")},
    REMOVE_SESSION_NOTIFY: {
        1: ("user_id", "uint32", "r"), 2: ("session_type", "SessionType", "r"),
        3: ("session_id", "uint32", "r")},
    ALL_USERS_REQ: _SINCE,
    ALL_USERS_RES: {
        1: ("user_id", "uint32", "r"), 2: ("latest_update_time", "uint32", "r"),
        3: ("user_list", "UserInfo", "*")},
    USERS_STATUS_REQ: _IDS,
    USERS_STATUS_RES: {1: ("user_id", "uint32", "r"), 2: ("user_stat_list", "UserStat", "*")},
    PC_LOGIN_NOTIFY: {1: ("user_id", "uint32", "r"), 2: ("login_stat", "UserStatType", "r")},
    DEPARTMENTS_REQ: _SINCE,
    DEPARTMENTS_RES: {
        1: ("user_id", "uint32", "r"), 2: ("latest_update_time", "uint32", "r"),
        3: ("dept_list", "DepartInfo", "*")},
    LATEST_ID_REQ: _SESSION,
    LATEST_ID_RES: {
        1: ("user_id", "uint32", "r"), 2: ("session_type", "SessionType", "r"),
        3: ("session_id", "uint32", "r"), 4: ("latest_msg_id", "uint32", "r")},
    BY_ID_REQ: {
        1: ("user_id", "uint32", "r"), 2: ("session_type", "SessionType", "r"),
        3: ("session_id", "uint32", "r"), 4: ("msg_id_list", "uint32", "*"),
        20: ("attach_data", "bytes", "c")},
    BY_ID_RES: {
        1: ("user_id", "uint32", "r"), 2: ("session_type", "SessionType", "r"),
        3: ("session_id", "uint32", "r"), 4: ("msg_list", "MsgInfo", "*")},
    NORMAL_GROUPS_REQ: {1: ("user_id", "uint32", "r"), 20: ("attach_data", "bytes", "c")},
    NORMAL_GROUPS_RES: {
        1: ("user_id", "uint32", "r"), 2: ("group_version_list", "GroupVersionInfo", "*")},
    OFFLINE_FILES_REQ: {1: ("user_id", "uint32", "r"), 20: ("attach_data", "bytes", "c")},
    OFFLINE_FILES_RES: {
        1: ("user_id", "uint32", "r"), 2: ("offline_file_list", "OfflineFileInfo", "*"),
        3: ("ip_addr_list", "IpAddr", "*")},
    AVATAR_REQ: {
        1: ("user_id", "uint32", "r"), 2: ("avatar_url", "string", "r"),
        20: ("attach_data", "bytes", "c")},
    AVATAR_RES: {1: ("user_id", "uint32", "r"), 2: ("result_code", "uint32", "r")},
    AVATAR_NOTIFY: {1: ("changed_user_id", "uint32", "r"), 2: ("avatar_url", "string", "r")},
    SIGNATURE_REQ: {
        1: ("user_id", "uint32", "r"), 2: ("sign_info", "string", "r"),
        20: ("attach_data", "bytes", "c")},
    SIGNATURE_RES: {
        1: ("user_id", "uint32", "r"), 2: ("result_code", "uint32", "r"),
        3: ("sign_info", "string", "o")},
    SIGNATURE_NOTIFY: {1: ("changed_user_id", "uint32", "r"), 2: ("sign_info", "string", "r")},
    GROUP_INFO_REQ: {
        1: ("user_id", "uint32", "r"), 2: ("group_version_list", "GroupVersionInfo", "*"),
        20: ("attach_data", "bytes", "c")},
    GROUP_INFO_RES: {1: ("user_id", "uint32", "r"), 2: ("group_info_list", "GroupInfo", "*")},
    CREATE_GROUP_REQ: {
        1: ("user_id", "uint32", "r"), 2: ("group_type", "GroupType", "r"),
        3: ("group_name", "string", "r"), 4: ("group_avatar", "string", "r"),
        5: ("member_id_list", "uint32", "*"), 20: ("attach_data", "bytes", "c")},
    CREATE_GROUP_RES: {
        1: ("user_id", "uint32", "r"), 2: ("result_code", "uint32", "r"), 3: ("group_id", "uint32", "o"),
        4: ("group_name", "string", "r"), 5: ("user_id_list", "uint32", "*")},
    CHANGE_MEMBERS_REQ: {
        1: ("user_id", "uint32", "r"), 2: ("change_type", "GroupModifyType", "r"),
        3: ("group_id", "uint32", "r"), 4: ("member_id_list", "uint32", "*"),
        20: ("attach_data", "bytes", "c")},
    CHANGE_MEMBERS_RES: {
        1: ("user_id", "uint32", "r"), 2: ("change_type", "GroupModifyType", "r"),
        3: ("result_code", "uint32", "r"), 4: ("group_id", "uint32", "r"),
        5: ("cur_user_id_list", "uint32", "*"), 6: ("chg_user_id_list", "uint32", "*")},
    SHIELD_REQ: {
        1: ("user_id", "uint32", "r"), 2: ("group_id", "uint32", "r"),
        3: ("shield_status", "uint32", "r"), 20: ("attach_data", "bytes", "c")},
    SHIELD_RES: {
        1: ("user_id", "uint32", "r"), 2: ("group_id", "uint32", "r"), 3: ("result_code", "uint32", "r")},
    MEMBERS_NOTIFY: {
        1: ("user_id", "uint32", "r"), 2: ("change_type", "GroupModifyType", "r"),
        3: ("group_id", "uint32", "r"), 4: ("cur_user_id_list", "uint32", "*"),
        5: ("chg_user_id_list", "uint32", "*")},
    P2P_COMMAND: {
        1: ("from_user_id", "uint32", "r"), 2: ("to_user_id", "uint32", "r"),
        3: ("cmd_msg_data", "string", "r")},
    MSG_DATA: {
        1: ("from_user_id", "uint32", "r"), 2: ("to_session_id", "uint32", "r"),
        3: ("msg_id", "uint32", "r"), 4: ("create_time", "uint32", "r"),
        5: ("msg_type", "MsgType", "r"), 6: ("msg_data", "bytes", "r"),
        20: ("attach_data", "bytes", "c"), 21: ("client_msg_id", "string", "c")},
    MSG_ACK: _ACK,
    READ_ACK: _ACK,
    READ_NOTIFY: _ACK,
    TIME_REQ: {},
    TIME_RES: {1: ("server_time", "uint32", "r")},
    UNREAD_REQ: {1: ("user_id", "uint32", "r"), 20: ("attach_data", "bytes", "c")},
    UNREAD_RES: {
        1: ("user_id", "uint32", "r"), 2: ("total_cnt", "uint32", "r"),
        3: ("unreadinfo_list", "UnreadInfo", "*")},
    LIST_REQ: {
        1: ("user_id", "uint32", "r"), 2: ("session_type", "SessionType", "r"),
        3: ("session_id", "uint32", "r"), 4: ("msg_id_begin", "uint32", "r"),
        5: ("msg_cnt", "uint32", "r"), 20: ("attach_data", "bytes", "c")},
    LIST_RES: {
        1: ("user_id", "uint32", "r"), 2: ("session_type", "SessionType", "r"),
        3: ("session_id", "uint32", "r"), 4: ("msg_id_begin", "uint32", "r"),
        5: ("msg_list", "MsgInfo", "*")},
    HEARTBEAT: {},
    HELLO_REQ: {
        1: ("user_id", "uint32", "r"), 2: ("ext_version", "uint32", "r"),
        3: ("features", "uint32", "r"), 4: ("device_id", "string", "o")},
    HELLO_RES: {
        1: ("user_id", "uint32", "r"), 2: ("result_code", "uint32", "r"),
        3: ("ext_version", "uint32", "r"), 4: ("features", "uint32", "r"),
        5: ("revoke_window", "uint32", "o"), 6: ("max_pdu", "uint32", "o"),
        7: ("priority_seq", "uint64", "o")},
    EXT_ERROR: {
        1: ("user_id", "uint32", "r"), 2: ("result_code", "uint32", "r"),
        3: ("command", "uint32", "r"), 4: ("seq", "uint32", "r"),
        5: ("retry_after_ms", "uint32", "o"), 6: ("text", "string", "o")},
}  # label c: only clients may write it; the server must neither believe nor relay it


class WireError(AssertionError):
    """Bytes that a strict client would refuse."""


def service_of(command):
    return command >> 8


def session_type_of(kind):
    """SINGLE or GROUP, of a message type."""
    return GROUP if kind in (GROUP_TEXT, GROUP_SOUND) else SINGLE


# ---- writing -------------------------------------------------------------------------------------

def varint(value):
    """Base-128 varint; negative numbers take ten bytes, as proto2 writes them."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number_field(tag, value):
    return varint(tag << 3) + varint(value)


def bytes_field(tag, value):
    return varint(tag << 3 | 2) + varint(len(value)) + value


def encode_fields(table, values):
    left = dict(values)
    out = bytearray()
    for tag, (name, kind, _label) in sorted(table.items()):
        if name not in left:
            continue
        value = left.pop(name)
        for one in value if isinstance(value, list) else [value]:
            if kind in STRUCTS:
                out += bytes_field(tag, encode_fields(STRUCTS[kind], one))
            elif kind in ("string", "bytes"):
                out += bytes_field(tag, one.encode() if isinstance(one, str) else bytes(one))
            else:
                out += number_field(tag, one)
    if left:
        raise ValueError(f"no such fields: {sorted(left)}")
    return bytes(out)


def encode(command, **values):
    """The body of a message. Nothing is checked: tests send wrong values on purpose."""
    return encode_fields(MESSAGES[command], values)


def frame(command, body=b"", seq=0, version=1, flag=0, service=None, reserved=0, length=None):
    """One PDU; every header field can be set to something wrong."""
    service = service_of(command) if service is None else service
    length = HEADER_BYTES + len(body) if length is None else length
    return HEADER.pack(length, version, flag, service, command, seq & 0xFFFF, reserved) + body


def request(command, seq=0, **values):
    return frame(command, encode(command, **values), seq)


# ---- reading -------------------------------------------------------------------------------------

def read_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data):
            raise WireError("varint cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift >= 70:
            raise WireError("varint longer than ten bytes")
    if value >> 64:
        raise WireError("varint over 64 bits")
    return value, at


def _number(kind, name, value):
    if kind in ENUMS:
        if value not in ENUMS[kind]:
            raise WireError(f"{name}: {value} is no {kind}")
    elif kind == "uint32" and value >> 32:
        raise WireError(f"{name}: {value} is over 32 bits")
    return value


def _blob(kind, name, value):
    if kind == "string":
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise WireError(f"{name}: not UTF-8 ({error})") from error
    if kind in STRUCTS:
        return decode_fields(STRUCTS[kind], value)
    return value


def decode_fields(table, data, from_client=False):
    out = {name: [] for name, _kind, label in table.values() if label == "*"}
    at = 0
    data = bytes(data)
    while at < len(data):
        key, at = read_varint(data, at)
        tag, wire_type = key >> 3, key & 7
        if tag not in table:
            raise WireError(f"unlisted tag {tag}")
        name, kind, label = table[tag]
        if label == "c" and not from_client:
            raise WireError(f"{name} must not come from the server")
        if kind in ("string", "bytes") or kind in STRUCTS:
            if wire_type != 2:
                raise WireError(f"{name}: wire type {wire_type}")
            size, at = read_varint(data, at)
            if size > len(data) - at:
                raise WireError(f"{name}: {size} bytes announced, {len(data) - at} left")
            value = _blob(kind, name, data[at:at + size])
            at += size
        else:
            if wire_type != 0:
                raise WireError(f"{name}: wire type {wire_type}")
            value, at = read_varint(data, at)
            value = _number(kind, name, value)
        if label == "*":
            out[name].append(value)
        elif name in out:
            raise WireError(f"{name} given twice")
        else:
            out[name] = value
    for name, _kind, label in table.values():
        if label == "r" and name not in out:
            raise WireError(f"required {name} is missing")
    return out


def decode(command, body, from_client=False):
    if command not in MESSAGES:
        raise WireError(f"no client understands command 0x{command:04x}")
    return decode_fields(MESSAGES[command], body, from_client)


class Frame:
    """One PDU as received: header fields, body, raw bytes; fields once decoded."""

    def __init__(self, raw):
        self.raw = bytes(raw)
        (self.length, self.version, self.flag, self.service, self.command, self.seq,
         self.reserved) = HEADER.unpack_from(self.raw)
        self.body = self.raw[HEADER_BYTES:]
        self.fields = {}

    def __getitem__(self, name):
        return self.fields[name]

    def __repr__(self):
        shown = {k: (f"<{len(v)} bytes>" if isinstance(v, bytes) and len(v) > 40 else v)
                 for k, v in self.fields.items() if not isinstance(v, list) or len(v) < 6}
        return f"0x{self.command:04x} seq={self.seq} {shown or self.body[:24].hex()}"


def split(buffer):
    """Takes the whole frames off the front of a bytearray."""
    out = []
    while len(buffer) >= HEADER_BYTES:
        length = int.from_bytes(buffer[:4], "big")
        if not HEADER_BYTES <= length <= ANSWER_BYTES_MAX:
            raise WireError(f"server sent a frame of length {length}: {bytes(buffer[:16]).hex()}")
        if len(buffer) < length:
            break
        out.append(Frame(buffer[:length]))
        del buffer[:length]
    return out


def check_answer(got):
    """Header and body of something the server sent (heartbeats apart: those are echoes)."""
    if (got.version, got.flag, got.reserved) != (1, 0, 0):
        raise WireError(f"header of {got!r}: version {got.version} flag {got.flag} "
                        f"reserved {got.reserved}, not 1 0 0")
    if got.service != service_of(got.command):
        raise WireError(f"service id of {got!r} is {got.service}")
    got.fields = decode(got.command, got.body)
    if got.command in PUSHES and got.seq != 0:
        raise WireError(f"a push must have seq 0: {got!r}")
