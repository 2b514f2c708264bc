"""The group half of the catalogue of reliability.md 4.4: rows I2p-I2u, in the manner of bad_input.py.

After each batch a healthy pair of users must still chat, and the group that was attacked is as it was.
"""

import json

import groups
import wire
from bad_input import CLOSE_S, NOBODY, batch, packed
from client import Failure, fresh_source, log_in, require, require_equal

STRANGE_IDS = (0, NOBODY, 0xFFFFFFFF)
ENTRIES_MAX = 2000  # of nested values in one body; more are a parser's bomb (reliability.md 4.2)
ROOM = wire.FRAME_BYTES_MAX - wire.HEADER_BYTES
MEMBERS_MAX = 2000  # of a group that a client makes
REFUSED = (400, 403, 404, 409, 422)


def create_body(members=b"", name="name", avatar="", kind=wire.TEMPORARY):
    """0x0405 whose list of members is any bytes."""
    return wire.encode(wire.CREATE_GROUP_REQ, user_id=0, group_type=kind, group_name=name,
                       group_avatar=avatar) + members


def raw_create(name, avatar=b""):
    return (wire.number_field(1, 0) + wire.number_field(2, wire.TEMPORARY) + wire.bytes_field(3, name)
            + wire.bytes_field(4, avatar))


@batch("I2p")
def creating(arena):
    """No members, 10^5, duplicates, nobodies, NORMAL; names empty, too long, 1 MiB, no UTF-8; no type."""
    server, me = arena.server, arena.users[0]
    friends = arena.users[1:6]

    def closed(name, data):
        with log_in(server, arena.users[10], wire.IOS, fresh_source()) as client:
            try:
                client.send_raw(data)
            except OSError:
                pass
            try:
                client.expect_closed(CLOSE_S)
            except Failure as failure:
                raise Failure(f"{name}: {failure}") from failure
        arena.fired += 1

    unpacked = b"".join(wire.number_field(5, n) for n in range(1, 100_001))
    closed("10^5 members", wire.frame(wire.CREATE_GROUP_REQ, create_body(unpacked)))
    closed("10^5 members, packed", wire.frame(wire.CREATE_GROUP_REQ, create_body(packed(5, range(100_000)))))
    closed("a name of 1 MiB", wire.frame(wire.CREATE_GROUP_REQ, raw_create(b"n" * (1 << 20))))
    closed("only the header of that", wire.frame(wire.CREATE_GROUP_REQ, length=(1 << 20) + 40))

    def answer(client, body):
        seq = client.send_body(wire.CREATE_GROUP_REQ, body)
        got = client.expect(wire.CREATE_GROUP_RES, 30, seq)
        require_equal(got["user_id"], client.user_id, "user_id")
        arena.fired += 1
        return got

    with log_in(server, me) as client, log_in(server, friends[0]) as friend:
        one = wire.number_field(5, friends[0].id)
        for what, body in (
                ("no members", create_body()), ("an empty packed list", create_body(packed(5, []))),
                ("nobodies", create_body(packed(5, STRANGE_IDS))),
                ("ids over 32 bits", create_body(wire.number_field(5, 1 << 40))),
                ("NORMAL", create_body(one, kind=wire.NORMAL)),
                ("an empty name", create_body(one, "")),
                ("a name of 257 characters", create_body(one, "n" * 257)),
                ("a name of 60 KB", create_body(one, "n" * 60_000)),
                ("an avatar of 257 characters", create_body(one, avatar="n" * 257)),
                ("a name that is no UTF-8", raw_create(b"\xff\xfe") + one),
                ("a surrogate in the name", raw_create(b"\xed\xa0\x80") + one),
                ("a cut character in the avatar", raw_create(b"n", b"\xf0\x9f\x92") + one)):
            try:
                groups.require_refused_create(answer(client, body))
            except Failure as failure:
                raise Failure(f"{what}: {failure}") from failure
        friend.expect_nothing(0.1)
        for what, body in (
                ("a name of 256 characters", create_body(one, "例" * 256, "p" * 256)),
                ("the largest frame of one id", create_body(packed(5, [friends[0].id] * 20_000))),
                ("one id twice, both ways", create_body(one + packed(5, [friends[0].id, me.id]))),
                ("one of many that exists", create_body(packed(5, [NOBODY + n for n in range(5000)]) + one)),
                ("a foreign user_id", create_body(one).replace(b"\x08\0", b"\x08\x7f", 1)),
                ("unknown fields", create_body(one) + wire.bytes_field(99, b"\xff" * 30_000)
                 + wire.bytes_field(20, b"attached"))):
            got = answer(client, body)
            require_equal((what, got["result_code"], sorted(got["user_id_list"])),
                          (what, 0, sorted((me.id, friends[0].id))), "created")
            require_equal(groups.info(friend, got["group_id"])["group_creator_id"], me.id, f"{what}: creator")
    crowd = server.make_users(MEMBERS_MAX + 1)
    with log_in(server, me, wire.IOS, fresh_source()) as client:
        got = answer(client, create_body(packed(5, groups.ids_of(crowd[:MEMBERS_MAX - 1]))))
        require_equal((got["result_code"], len(got["user_id_list"])), (0, MEMBERS_MAX), "2,000 in all")
        groups.require_refused_create(answer(client, create_body(packed(5, groups.ids_of(crowd)))))
    # What does not parse: ignored, the tenth closes.
    required = create_body(wire.number_field(5, me.id))
    bad = [create_body(kind=kind) for kind in (0, 3, 0x55, -1)]
    bad += [wire.number_field(1, 0) + wire.bytes_field(3, b"n") + wire.bytes_field(4, b""),
            wire.number_field(1, 0) + wire.number_field(2, 2) + wire.bytes_field(3, b"n"),
            wire.number_field(1, 0) + wire.number_field(2, 2) + wire.bytes_field(4, b""),
            wire.number_field(2, 2) + wire.bytes_field(3, b"n") + wire.bytes_field(4, b""),
            required[:-1]]
    with log_in(server, arena.users[11], wire.IOS) as client:
        for body in bad:
            client.send_body(wire.CREATE_GROUP_REQ, body)
        client.expect_nothing(0.1)
        client.send_body(wire.CREATE_GROUP_REQ, b"")
        client.expect_closed(CLOSE_S)
    arena.fired += len(bad) + 1


class Attacked:
    """A group with an owner, a member and a message, whose state is compared."""

    def __init__(self, arena, kind=wire.TEMPORARY):
        self.server = arena.server
        self.owner, self.member = arena.users[20], arena.users[21]
        self.id = groups.admin_create(self.server, [self.owner, self.member], self.owner, kind)
        with log_in(self.server, self.owner, wire.IOS) as client:
            groups.say(client, self.id, b"secret")
        self.watcher = log_in(self.server, self.member, wire.ANDROID)
        self.before = self.state()

    def state(self):
        return (groups.state(self.server, self.id), groups.pull(self.watcher, self.id),
                groups.session(self.watcher, self.id), groups.unread(self.watcher, self.id))

    def require_untouched(self, after):
        require_equal(self.state(), self.before, f"the group after {after}")
        self.watcher.expect_nothing(0.05)

    def close(self):
        self.watcher.close()


@batch("I2q")
def changing_members(arena):
    """Types that are none, groups that are none, foreign groups, the owner, user_id 0, lists without end."""
    server, me = arena.server, arena.users[0]
    target = Attacked(arena)
    normal = groups.admin_create(server, arena.users[20:22], arena.users[20], wire.NORMAL)
    try:
        with log_in(server, me) as client:
            for group in (target.id, normal, *STRANGE_IDS):
                for kind in (wire.ADD, wire.REMOVE):
                    for ids in ([me], [target.owner], [target.member, me], [arena.users[1]], [], [0, NOBODY],
                                [me] * 100):
                        for claimed in (0, target.owner.id):
                            groups.change(client, kind, group, ids, wanted=1, user_id=claimed)
                            arena.fired += 1
            target.require_untouched("a stranger's changes")
        with log_in(server, target.member) as client:
            for ids in ([target.owner], [target.owner, target.member], [target.member, target.owner]):
                for claimed in (0, target.owner.id):
                    groups.change(client, wire.REMOVE, target.id, ids, wanted=1, user_id=claimed)
                    arena.fired += 1
            target.require_untouched("a member's removals")
        with log_in(server, target.owner) as client:
            for ids in ([target.owner], [target.owner, target.member], [target.owner, target.owner]):
                groups.change(client, wire.REMOVE, target.id, ids, wanted=1)  # not while others remain
                arena.fired += 1
            target.require_untouched("the owner's leaving")
            for ids in ([], [0, NOBODY, 0xFFFFFFFF], [NOBODY] * 5000):  # nobody to add: whatever the result
                seq = client.send(wire.CHANGE_MEMBERS_REQ, user_id=0, change_type=wire.ADD,
                                  group_id=target.id, member_id_list=ids)
                got = client.expect(wire.CHANGE_MEMBERS_RES, 30, seq)
                require_equal(got["chg_user_id_list"], [], "added")
                arena.fired += 1
            require_equal(len(groups.admin_members(server, target.id)), 2, "members")
            target.watcher.forget(wire.MEMBERS_NOTIFY)
        bad = [wire.encode(wire.CHANGE_MEMBERS_REQ, user_id=0, change_type=kind, group_id=target.id,
                           member_id_list=[me.id]) for kind in (0, 3, 0x55, -1, 1 << 31)]
        with log_in(server, target.owner, wire.IOS) as client:
            for n in range(9):
                client.send_body(wire.CHANGE_MEMBERS_REQ, bad[n % len(bad)])
            client.expect_nothing(0.1)
            client.send_body(wire.CHANGE_MEMBERS_REQ, bad[0])
            client.expect_closed(CLOSE_S)
        head = wire.encode(wire.CHANGE_MEMBERS_REQ, user_id=0, change_type=wire.ADD, group_id=target.id)
        for ids in (wire.number_field(4, 1) * 100_000, packed(4, [1] * 100_000)):
            with log_in(server, target.owner, wire.IOS, fresh_source()) as client:
                try:
                    client.send_raw(wire.frame(wire.CHANGE_MEMBERS_REQ, head + ids))
                except OSError:
                    pass
                client.expect_closed(CLOSE_S)
        arena.fired += 12
        require_equal(len(groups.admin_members(server, target.id)), 2, "members at last")
    finally:
        target.close()


@batch("I2r")
def asking_and_muting(arena):
    """0x0403 and 0x0401 for what is foreign, long or doubled; 0x0409 with values that are none."""
    server, me = arena.server, arena.users[0]
    target = Attacked(arena)
    try:
        own = groups.admin_create(server, [me], me)
        with log_in(server, me, wire.IOS, fresh_source()) as client:
            for claimed in (0, target.owner.id, me.id, 0xFFFFFFFF):
                for version in (0, 1, 0xFFFFFFFF):
                    require_equal(groups.infos(client, {target.id: version, NOBODY: version, 0: version},
                                               user_id=claimed), {}, "foreign groups")
                    arena.fired += 1
                require_equal(groups.normal_groups(client, user_id=claimed), {}, "foreign lists")
                for group in (target.id, *STRANGE_IDS):
                    for status in (0, 1, 7):
                        require_equal(groups.shield(client, group, status, user_id=claimed), 1, "mute")
                        arena.fired += 1
            for status in (2, 7, 0x7FFFFFFF, 0xFFFFFFFF):
                require_equal(groups.shield(client, own, status), 1, f"mute {status}")
            require_equal(groups.info(client, own)["shield_status"], 0, "after refusals")
        target.require_untouched("questions")
        entry, foreign = (wire.bytes_field(2, wire.encode_fields(
            wire.GROUP_VERSION_INFO, {"group_id": id, "version": 0})) for id in (own, target.id))
        for n, (what, body, wanted) in enumerate((
                ("one's own over and over", entry * ENTRIES_MAX, [own]),
                ("a foreign one over and over", foreign * ENTRIES_MAX, []),
                ("one's own behind many", foreign * 500 + entry, [own]))):
            with log_in(server, me, wire.IOS, fresh_source()) as client:
                seq = client.send_body(wire.GROUP_INFO_REQ, wire.number_field(1, 0) + body)
                got = client.expect(wire.GROUP_INFO_RES, 60, seq)  # W: by cost
                found = [one["group_id"] for one in got["group_info_list"]]
                require_equal(sorted(set(found)), wanted, what)
                client.heartbeat(30)
            arena.healthy(f"0x0403, case {n}")
            arena.fired += 1
        with log_in(server, me, wire.IOS, fresh_source()) as client:
            try:
                client.send_raw(wire.frame(wire.GROUP_INFO_REQ, wire.number_field(1, 0) + entry * 100_000))
            except OSError:
                pass
            client.expect_closed(CLOSE_S)
        target.require_untouched("long lists")
    finally:
        target.close()


@batch("I2s")
def bodies_of_group_commands(arena):
    """Each group request cut at every byte, and its fields in other codings: parsed, or ignored."""
    server = arena.server
    whole = {
        wire.NORMAL_GROUPS_REQ: wire.encode(wire.NORMAL_GROUPS_REQ, user_id=300),
        wire.GROUP_INFO_REQ: wire.encode(wire.GROUP_INFO_REQ, user_id=300, group_version_list=[
            {"group_id": NOBODY, "version": 300}, {"group_id": 300, "version": 0}]),
        wire.CREATE_GROUP_REQ: create_body(wire.number_field(5, NOBODY) * 2, "some name", "a.png"),
        wire.CHANGE_MEMBERS_REQ: wire.encode(wire.CHANGE_MEMBERS_REQ, user_id=300, change_type=1,
                                             group_id=NOBODY, member_id_list=[300, 70000]),
        wire.SHIELD_REQ: wire.encode(wire.SHIELD_REQ, user_id=300, group_id=NOBODY, shield_status=1),
    }
    for command, body in whole.items():
        for at in range(len(body)):
            with log_in(server, arena.users[at % 40], wire.IOS, fresh_source()) as client:
                seq = client.send_body(command, body[:at])
                client.heartbeat()
                try:
                    wire.decode(command, body[:at], from_client=True)
                    wanted = 1
                except wire.WireError:
                    wanted = 0
                require_equal(len(client.pending), wanted, f"answers to 0x{command:04x} cut to {at}")
                require(not wanted or client.pending[0].seq == seq, "its seq")
            arena.fired += 1
    with log_in(server, arena.users[0]) as client:
        me, friend = arena.users[0], arena.users[1]
        group = groups.create_group(client, [friend])
        for what, body in (
                ("packed", packed(4, [arena.users[2].id])),
                ("both", wire.number_field(4, arena.users[2].id) + packed(4, [arena.users[2].id])),
                ("unknown fields", wire.bytes_field(500, b"u" * 30_000) + packed(4, [arena.users[2].id]))):
            for kind in (wire.ADD, wire.REMOVE):
                head = wire.encode(wire.CHANGE_MEMBERS_REQ, user_id=0, change_type=kind, group_id=group)
                seq = client.send_body(wire.CHANGE_MEMBERS_REQ, head + body)
                got = client.expect(wire.CHANGE_MEMBERS_RES, seq=seq)
                require_equal((what, got["result_code"], got["chg_user_id_list"]),
                              (what, 0, [arena.users[2].id]), "changed")
                arena.fired += 1
        # Given twice, the last counts; so nobody is hidden behind a first value.
        twice = wire.encode(wire.SHIELD_REQ, user_id=0, group_id=NOBODY, shield_status=7) + wire.encode(
            wire.SHIELD_REQ, user_id=0, group_id=group, shield_status=1)
        seq = client.send_body(wire.SHIELD_REQ, twice)
        got = client.expect(wire.SHIELD_RES, seq=seq)
        require_equal((got["user_id"], got["group_id"], got["result_code"]), (me.id, group, 0), "0x040a")


@batch("I2t", slow=True)
def in_and_out(arena):
    """One member added and removed 100 times: one 0x040b for each version, and everybody ends up the same."""
    server = arena.server
    a, b, c = arena.users[:3]
    group = groups.admin_create(server, [a, b], a)
    with (log_in(server, a, wire.IOS, fresh_source()) as owner, log_in(server, b) as member,
          log_in(server, c) as guest):
        kinds = [wire.ADD, wire.REMOVE] * 100
        seqs = [owner.send(wire.CHANGE_MEMBERS_REQ, user_id=0, change_type=kind, group_id=group,
                           member_id_list=[c.id]) for kind in kinds]
        for seq, kind in zip(seqs, kinds):
            got = owner.expect(wire.CHANGE_MEMBERS_RES, 30, seq)
            require_equal((got["result_code"], got["change_type"]), (0, kind), "0x0408")
            groups.require_changed(got, [c], [a, b, c] if kind == wire.ADD else [a, b])
        for client in (member, guest):
            for kind in kinds:
                groups.expect_change(client, a, kind, group, [c], [a, b, c] if kind == wire.ADD else [a, b])
            client.expect_nothing(0.1)
        owner.expect_nothing(0)
        require_equal(groups.info(member, group)["version"], 201, "version")
        require_equal(sorted(groups.admin_members(server, group)), sorted((a.id, b.id)), "members")
        # The same by two at once, one adds what the other removes: each answer is one of the two states.
        for _ in range(50):
            one = owner.send(wire.CHANGE_MEMBERS_REQ, user_id=0, change_type=wire.REMOVE, group_id=group,
                             member_id_list=[c.id])
            two = member.send(wire.CHANGE_MEMBERS_REQ, user_id=0, change_type=wire.ADD, group_id=group,
                              member_id_list=[c.id])
            for client, seq in ((owner, one), (member, two)):
                got = client.expect(wire.CHANGE_MEMBERS_RES, 30, seq)
                require_equal(got["result_code"], 0, "result")
                require({a.id, b.id} <= set(got["cur_user_id_list"]) <= {a.id, b.id, c.id}, f"{got!r}")
    arena.fired += 300


@batch("I2u", own_server=True)
def sends_that_miss(arena):
    """A user's number as a group, a group's as a user; not joined, dismissed; contents over their limits."""
    server = arena.server
    me, friend = arena.users[0], arena.users[1]
    with log_in(server, me) as client, log_in(server, friend) as peer:  # no group has any number yet
        for kind, data in ((wire.GROUP_TEXT, b"text"), (wire.GROUP_SOUND, b"\0\0\0\1s")):
            client.send_text(friend.id, data, kind=kind)
            client.send_text(me.id, data, kind=kind)
            arena.fired += 2
        client.expect_nothing(0.2)
        peer.expect_nothing(0)
        require_equal((client.sessions_all(), peer.sessions_all()), ({}, {}), "a user's number as a group")
    users = {user["id"] for user in server.list_users().values()}
    made, wanted = [], None
    while wanted is None and len(made) < 200:  # a group whose number is no user's
        made.append(groups.admin_create(server, [me, friend], me))
        wanted = made[-1] if made[-1] not in users else None
    foreign = groups.admin_create(server, arena.users[2:4], arena.users[2])
    gone = groups.admin_create(server, [me, friend], me)
    groups.admin_dismiss(server, gone)
    group = made[0]
    big = "💬" * 4096
    with log_in(server, me) as client, log_in(server, friend) as peer:
        tries = [(foreign, wire.GROUP_TEXT, b"text"), (gone, wire.GROUP_TEXT, b"text"),
                 *((strange, wire.GROUP_TEXT, b"text") for strange in STRANGE_IDS)]
        if wanted is not None:
            tries += [(wanted, wire.TEXT, b"text"), (wanted, wire.SOUND, b"\0\0\0\1s")]
        tries += [(group, wire.GROUP_TEXT, data) for data in (
            b"", b"x" * 4097, ("💬" * 4097).encode(), b"\xff\xfe", b"\xed\xa0\x80", "💬".encode()[:3])]
        tries += [(group, wire.GROUP_SOUND, data) for data in (
            b"", b"\0\0\0\1", b"\0" * (wire.SOUND_BYTES_MAX + 1))]
        for to, kind, data in tries:
            for fields in ({}, {"from_user_id": arena.users[2].id, "msg_id": 7}):
                client.send_text(to, data, kind=kind, **fields)
                arena.fired += 1
            client.heartbeat()
        client.send_text(group, b"text", kind=wire.GROUP_TEXT, client_msg_id="k" * 65)
        client.expect_nothing(0.2)
        peer.expect_nothing(0)
        require_equal((client.sessions_all(), client.unread_all(), groups.pull(client, group)), ({}, {}, []),
                      "what refused sends left")
        for n, (kind, data) in enumerate(((wire.GROUP_TEXT, b"x" * 4096), (wire.GROUP_TEXT, big.encode()),
                                          (wire.GROUP_SOUND, b"\0" * wire.SOUND_BYTES_MAX)), 1):
            require_equal(groups.say(client, group, data, kind), n, "msg_id at the limit")
            require_equal(peer.hear(data)["msg_id"], n, "delivered")
    over_http(arena, group, foreign, gone)


def over_http(arena, group, foreign, gone):
    """The administration's door: nothing wrong is done or answered by 5xx, and no half of a change."""
    server = arena.server
    before = [groups.state(server, one) for one in (group, foreign)]
    me = arena.users[0].id
    for method, path, body, codes in (
            ("POST", "groups", {"name": "", "members": [me]}, (400,)),
            ("POST", "groups", {"name": "n" * 257, "members": [me]}, (400,)),
            ("POST", "groups", {"name": "n", "members": [me], "type": "odd"}, (400,)),
            ("POST", "groups", {"name": "n", "members": "all"}, (400,)),
            ("POST", "groups", {"name": "n", "members": [me] * 20_001}, (400, 413)),
            ("POST", "groups", {"name": "n", "members": [me], "unknown": 1}, (400,)),
            ("POST", "groups", {"members": [me]}, (400,)),
            ("GET", "groups/0", None, (400, 404)), ("GET", f"groups/{NOBODY}", None, (404,)),
            ("GET", f"groups/{gone}", None, (404,)), ("GET", f"groups/{gone}/members", None, (404,)),
            ("GET", "groups/none", None, (400, 404)), ("DELETE", f"groups/{gone}", None, (404,)),
            ("DELETE", f"groups/{NOBODY}", None, (404,)),
            ("PATCH", f"groups/{group}", {"name": ""}, (400,)),
            ("PATCH", f"groups/{gone}", {"name": "n"}, (404,)),
            ("POST", f"groups/{gone}/members", {"add": [me]}, (404,)),
            ("POST", f"groups/{NOBODY}/members", {"remove": [me]}, (404,)),
            ("POST", f"groups/{group}/members", {"add": [me] * 20_001}, (400, 413)),
            ("POST", f"groups/{group}/members", {"add": "me"}, (400,)),
            ("POST", f"groups/{group}/members", {}, (400,)),
            ("POST", "messages", {"from": me, "group": foreign, "text": "x"}, REFUSED),
            ("POST", "messages", {"from": me, "group": gone, "text": "x"}, REFUSED),
            ("POST", "messages", {"from": NOBODY, "group": group, "text": "x"}, REFUSED),
            ("POST", "messages", {"from": me, "user": me, "text": "x"}, REFUSED),
            ("POST", "messages", {"from": me, "user": NOBODY, "text": "x"}, REFUSED),
            ("POST", "messages", {"from": me, "group": group, "user": me, "text": "x"}, (400,)),
            ("POST", "messages", {"from": me, "group": group, "text": ""}, (400,)),
            ("POST", "messages", {"from": me, "group": group}, (400,))):
        status, text = server.http(method, "/api/v1/" + path, body)
        require(status in codes, f"{method} {path} {str(body)[:80]}: {status} {text[:200]}")
        require("error" in json.loads(text), f"{method} {path}: {text[:200]}")
        arena.fired += 1
    for method, path in (("POST", "groups"), ("GET", f"groups/{group}"), ("DELETE", f"groups/{group}"),
                         ("PATCH", f"groups/{group}"), ("GET", f"groups/{group}/members"),
                         ("POST", f"groups/{group}/members"), ("POST", "messages")):
        status, _text = server.http(method, "/api/v1/" + path, token=False)
        require_equal(status, 401, f"{method} {path} without the token")
    require_equal([groups.state(server, one) for one in (group, foreign)], before, "the groups after it all")
