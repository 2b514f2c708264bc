"""Groups as rows make, change and look at them: by the administration's door and by the protocol.

Names beginning with `admin_` go over HTTP and stand for an operator; the others act as a client that is
logged in. Every answer is checked here for its echoes, so that rows check only what they are about.
"""

import itertools
import json

import wire
from client import require, require_equal

CHUNK = 2000  # ids in one request, at most
NAME_CHARACTERS_MAX = 256
_names = itertools.count(1)
KINDS = {wire.NORMAL: "normal", wire.TEMPORARY: "temporary"}


def ids_of(users):
    return [getattr(user, "id", user) for user in users]


# ---- over HTTP -----------------------------------------------------------------------------------

def api(server, method, path, body=None, wanted=200):
    status, text = server.http(method, "/api/v1/" + path, body)
    require_equal(status, wanted, f"{method} {path} {text[:200]}")
    return json.loads(text) if text.strip() else {}


def admin_create(server, members, creator=0, kind=wire.TEMPORARY, name=None, avatar=""):
    """The id of a new group of any size."""
    ids, name = ids_of(members), name or f"group {next(_names)}"
    made = api(server, "POST", "groups", {"name": name, "avatar": avatar, "type": KINDS[kind],
                                          "creator": getattr(creator, "id", creator),
                                          "members": ids[:CHUNK]}, 201)
    for at in range(CHUNK, len(ids), CHUNK):
        admin_change(server, made["id"], add=ids[at:at + CHUNK])
    return made["id"]


def admin_info(server, group):
    return api(server, "GET", f"groups/{group}")


def admin_members(server, group):
    """{user: {"first_message", "muted"}} of all pages."""
    out, after = {}, 0
    while True:
        page = api(server, "GET", f"groups/{group}/members?after={after}&limit=1000")
        for one in page["members"]:
            require(one["user"] not in out, f"member {one['user']} listed twice")
            out[one["user"]] = {"first_message": one["first_message"], "muted": one["muted"]}
        after = page["next"]
        if not after:
            return out


def admin_change(server, group, add=None, remove=None):
    """(version, changed ids), at most CHUNK of one kind."""
    body = {"add": ids_of(add)} if add is not None else {"remove": ids_of(remove)}
    got = api(server, "POST", f"groups/{group}/members", body)
    return got["version"], got["changed"]


def admin_dismiss(server, group):
    api(server, "DELETE", f"groups/{group}", wanted=200)


def admin_say(server, author, text, **to):
    """(msg_id, time) of a message that an operator sends as the author, to group= or user=."""
    got = api(server, "POST", "messages", {"from": author.id, "text": text} | to, 201)
    return got["msg_id"], got["time"]


def state(server, group):
    """What an operator sees of it: to be the same before and after something refused."""
    return admin_info(server, group), admin_members(server, group)


# ---- as a client ---------------------------------------------------------------------------------

def create(client, members, name=None, avatar="", kind=wire.TEMPORARY, **fields):
    """One 0x0405 and its answer, whatever it says; a refusal must tell nothing."""
    name = name or f"group {next(_names)}"
    got = client.ask(wire.CREATE_GROUP_REQ, group_type=kind, group_name=name, group_avatar=avatar,
                     member_id_list=ids_of(members), **fields)
    if got["result_code"] == 0:
        require_equal(got["group_name"], name, "name echoed in 0x0406")
        require(got.fields.get("group_id", 0) > 0, f"a group without an id: {got!r}")
        require_equal(len(got["user_id_list"]), len(set(got["user_id_list"])), "members listed once")
    else:
        require_refused_create(got)
    return got


def require_refused_create(got):
    require_equal((got["result_code"], got.fields.get("group_id", 0), got["user_id_list"]), (1, 0, []),
                  "a refused 0x0406")


def create_group(client, members, **fields):
    got = create(client, members, **fields)
    require_equal(got["result_code"], 0, "result_code of 0x0406")
    return got["group_id"]


def change(client, kind, group, users, wanted=0, **fields):
    """One 0x0407; its answer. A refusal has empty lists."""
    got = client.ask(wire.CHANGE_MEMBERS_REQ, change_type=kind, group_id=group,
                     member_id_list=ids_of(users), **fields)
    require_equal((got["change_type"], got["group_id"]), (kind, group), "echo in 0x0408")
    require_equal(got["result_code"], wanted, "result_code of 0x0408")
    for name in ("cur_user_id_list", "chg_user_id_list"):
        require_equal(len(got[name]), len(set(got[name])), f"{name}: each once")
        require(wanted == 0 or not got[name], f"a refused 0x0408 lists {got[name][:5]}")
    return got


def require_changed(got, changed, current):
    """What 0x0408 or 0x040b names; the order of members is nobody's business."""
    require_equal((sorted(got["chg_user_id_list"]), sorted(got["cur_user_id_list"])),
                  (sorted(ids_of(changed)), sorted(ids_of(current))), f"changed, current of {got!r}")


def expect_change(client, by, kind, group, changed, current):
    """The push 0x040b about one change."""
    got = client.expect(wire.MEMBERS_NOTIFY)
    require_equal((got["user_id"], got["change_type"], got["group_id"]),
                  (getattr(by, "id", by), kind, group), "0x040b")
    require_changed(got, changed, current)
    return got


def infos(client, versions, **fields):
    """0x0403 with {group: version known}; {group: GroupInfo}."""
    asked = [{"group_id": group, "version": version} for group, version in versions.items()]
    got = client.ask(wire.GROUP_INFO_REQ, group_version_list=asked, **fields)
    found = {one["group_id"]: one for one in got["group_info_list"]}
    require_equal(len(found), len(got["group_info_list"]), "each group once in 0x0404")
    require(set(found) <= set(versions), f"0x0404 tells of {sorted(set(found) - set(versions))}")
    for one in found.values():
        require_equal(len(one["group_member_list"]), len(set(one["group_member_list"])), "members once")
    return found


def info(client, group, version=0, **fields):
    """The GroupInfo, or None."""
    return infos(client, {group: version}, **fields).get(group)


def normal_groups(client, **fields):
    """0x0401 as {group: version}."""
    entries = client.ask(wire.NORMAL_GROUPS_REQ, **fields)["group_version_list"]
    out = {one["group_id"]: one["version"] for one in entries}
    require_equal(len(out), len(entries), "each group once in 0x0402")
    return out


def shield(client, group, status, **fields):
    got = client.ask(wire.SHIELD_REQ, group_id=group, shield_status=status, **fields)
    require_equal(got["group_id"], group, "echo in 0x040a")
    return got["result_code"]


def say(client, group, data, kind=wire.GROUP_TEXT, **fields):
    return client.say(group, data, kind, **fields)


def say_many(client, group, texts):
    """Sends all at once; the ids, which follow the order of sending on one connection."""
    seqs = [client.send_text(group, text, kind=wire.GROUP_TEXT) for text in texts]
    ids = [client.ack_of(seq) for seq in seqs]
    require_equal(ids, sorted(ids), "ids of one connection's sends")
    return ids


def hear_many(client, group, count, timeout=None):
    """The next `count` deliveries of that group as they came: (msg_id, author, data)."""
    out = []
    for _ in range(count):
        got = client.expect(wire.MSG_DATA, timeout, where=lambda got: got["to_session_id"] == group
                            and got["msg_type"] in (wire.GROUP_TEXT, wire.GROUP_SOUND))
        out.append((got["msg_id"], got["from_user_id"], got["msg_data"]))
    return out


def pull(client, group, first=1):
    """Every message he may see, oldest first; ids are proven to be first…newest."""
    out, begin = [], 0
    while True:
        page = client.list(group, begin, kind=wire.GROUP)
        out += page
        if not page or page[-1]["msg_id"] <= first:
            break
        begin = page[-1]["msg_id"] - 1
    out.reverse()
    ids = [entry["msg_id"] for entry in out]
    require_equal(ids, list(range(first, first + len(ids))), "ids of the whole history")
    return out


def session(client, group):
    """The group's row in 0x0201, or None."""
    return client.sessions_all().get((wire.GROUP, group))


def unread(client, group):
    """The group's entry in 0x0307, or None."""
    return client.unread_all().get((wire.GROUP, group))


def unread_count(client, group):
    entry = unread(client, group)
    return entry["unread_cnt"] if entry else 0


def unseen(client, group):
    """Everything a group shows to somebody, for one who should see nothing: compared by rows."""
    return {"list": client.list(group, kind=wire.GROUP), "latest": client.latest_id(group, wire.GROUP),
            "ids": client.by_id(group, [1, 2, 3], wire.GROUP), "info": info(client, group),
            "session": session(client, group), "unread": unread(client, group)}


NOTHING = {"list": [], "latest": 0, "ids": [], "info": None, "session": None, "unread": None}
