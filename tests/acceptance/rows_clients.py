"""Rows D11-*: the quirks of each stock client, and D11, all of them in one run (spec/wire.md 2.1, 10.2).

A Device is a Client with the header, numbering, ids and acknowledgements of one program. It keeps count of
what it asked: each request is answered once, with its seq; no push carries a number. Rows ending in -g are
the part that needs groups.
"""

import collections
import random
import time

import groups
import wire
from checks import expect_push, require_now
from client import Client, Closed, log_in, require, require_equal
from registry import row

OPTIONAL = {wire.DEVICE_TOKEN_RES, wire.QUERY_SHIELD_RES}  # belong to rows of their own
PAGED = {wire.ALL_USERS_RES}                            # several answers to one request


class Device(Client):
    kind, version, reserved, sends_own_id = wire.WINDOWS, 1, 0, True

    def __init__(self, server, user):
        super().__init__(server.address)
        self.owed = collections.Counter()  # (answer, seq) -> how many are still to come
        self.login_seq = None
        self.user = user

    # ---- what it sends ----

    def number(self, command):
        return self.next_seq()

    def claimed(self):
        return self.user_id if self.sends_own_id else 0

    def send_body(self, command, body, seq=None):
        seq = (self.number(command) if seq is None else seq) & 0xFFFF
        self.expect_answer_to(command, seq)
        self.owes(command, seq)
        self.send_raw(wire.frame(command, body, seq, version=self.version, reserved=self.reserved))
        return seq

    def owes(self, command, seq):
        answer = wire.ANSWER_OF.get(command)
        if answer is not None:
            self.owed[answer, seq] += 1

    def message(self, to, data, seq, kind=wire.TEXT, **fields):
        self.expect_answer_to(wire.MSG_DATA, seq)
        self.owes(wire.MSG_DATA, seq)
        body = wire.encode(wire.MSG_DATA, **{
            "from_user_id": self.claimed(), "to_session_id": to, "msg_id": 0,
            "create_time": int(time.time()), "msg_type": kind, "msg_data": data, **fields})
        return wire.frame(wire.MSG_DATA, body, seq, version=self.version, reserved=self.reserved)

    def send_text(self, to, data, seq=None, kind=wire.TEXT, **fields):
        seq = (self.number(wire.MSG_DATA) if seq is None else seq) & 0xFFFF
        self.send_raw(self.message(to, data, seq, kind, **fields))
        return seq

    def ask(self, command, timeout=30, seq=None, **fields):
        return super().ask(command, timeout, seq, **({"user_id": self.claimed()} | fields))

    def send_heartbeat(self, **header):
        return super().send_heartbeat(**({"version": self.version, "reserved": self.reserved} | header))

    def enter(self):
        """Logs in."""
        before = set(self.asked[wire.LOGIN_RES])
        got = self.ask_login(self.user.name, self.user.secret, self.kind)
        require_equal(got["result_code"], wire.OK, f"login of {self.user.name}")
        [self.login_seq] = self.asked[wire.LOGIN_RES] - before
        return self

    # ---- what it gets ----

    def _check(self, got):
        wanted = super()._check(got)
        if got.command in wire.PUSHES:
            require_equal(got.seq, 0, f"number of a push: {got!r}")
        elif got.command != wire.HEARTBEAT:
            self.owed[got.command, got.seq] -= 1
            require(self.owed[got.command, got.seq] >= 0 or got.command in PAGED, f"answered twice: {got!r}")
        return wanted

    def require_settled(self):
        """Every request has had its answer."""
        self.heartbeat()
        self.pending = [got for got in self.pending if got.command not in OPTIONAL]
        left = {key: n for key, n in self.owed.items() if n > 0 and key[0] not in OPTIONAL}
        require_equal(left, {}, f"requests of {type(self).__name__} without an answer")

    def acknowledge(self, got):
        """0x0302 for a delivery, as this program fills it."""
        self.send_ack(self.user_id, self.conversation(got), got)

    def conversation(self, got):
        group = wire.session_type_of(got["msg_type"]) == wire.GROUP
        return got["to_session_id"] if group or got["from_user_id"] == self.user_id else got["from_user_id"]

    def send_ack(self, user_id, session_id, got):
        self.send(wire.MSG_ACK, seq=self.number(wire.MSG_ACK), user_id=user_id, session_id=session_id,
                  msg_id=got["msg_id"], session_type=wire.session_type_of(got["msg_type"]))

    def take(self, author, to, data, kind=wire.TEXT):
        """One delivery, checked and acknowledged."""
        got = expect_push(self, author.id, to, data, kind=kind)
        self.acknowledge(got)
        return got


class Windows(Device):
    """Number 0 but for the login, messages and history markers; does not acknowledge group messages."""

    def __init__(self, server, user, login_seq=None):
        super().__init__(server, user)
        self.own_login_seq = login_seq or random.randint(2000, 60000)
        self.message_seq = random.randint(1, 999)

    def number(self, command):
        if command == wire.LOGIN_REQ:
            return self.own_login_seq
        if command == wire.MSG_DATA:
            self.message_seq += 1
            return self.message_seq
        return 0

    def _check(self, got):
        wanted = super()._check(got)
        # It would take it for the answer to its login, whatever it is.
        require(self.login_seq is None or got.seq != self.login_seq, f"the login's number: {got!r}")
        return wanted

    def acknowledge(self, got):
        if wire.session_type_of(got["msg_type"]) == wire.SINGLE:
            super().acknowledge(got)

    def synchronise(self):
        """Its requests after a login; {(type, id): [texts of unread messages]}."""
        everything = {"user_id": self.user_id, "latest_update_time": 0}
        self.send(wire.DEPARTMENTS_REQ, **everything)
        self.send(wire.ALL_USERS_REQ, **everything)
        self.send(wire.NORMAL_GROUPS_REQ, user_id=self.user_id)
        self.send(wire.SESSIONS_REQ, **everything)
        self.expect(wire.SESSIONS_RES, 30)
        self.send(wire.UNREAD_REQ, user_id=self.user_id)
        self.send(wire.OFFLINE_FILES_REQ, user_id=self.user_id)
        users = [user["user_id"] for user in self.expect(wire.ALL_USERS_RES, 30)["user_list"]]
        for at in range(0, len(users), 300):
            self.send(wire.USERS_STATUS_REQ, user_id=self.user_id, user_id_list=users[at:at + 300])
        unread = self.expect(wire.UNREAD_RES, 30)["unreadinfo_list"]
        for entry in unread:
            self.send(wire.LIST_REQ, seq=0xFF03, user_id=self.user_id, session_type=entry["session_type"],
                      session_id=entry["session_id"], msg_id_begin=entry["latest_msg_id"],
                      msg_cnt=min(entry["unread_cnt"], 100))
        out = {}
        for _ in unread:
            got = self.expect(wire.LIST_RES, 30, 0xFF03)
            out[got["session_type"], got["session_id"]] = [m["msg_data"] for m in got["msg_list"]]
        for _ in range(0, len(users), 300):
            self.expect(wire.USERS_STATUS_RES, 30)
        for command in (wire.DEPARTMENTS_RES, wire.NORMAL_GROUPS_RES, wire.OFFLINE_FILES_RES):
            self.expect(command, 30)
        self.send(wire.TIME_REQ)
        require_now(self.expect(wire.TIME_RES)["server_time"], "0x0306")
        self.pending = [got for got in self.pending if got.command not in PAGED]  # further pages
        self.require_settled()
        return out


class Ios(Device):
    """Every body names user 0; a received 0x0304 is answered by 0x0303."""
    kind, version, reserved, sends_own_id = wire.IOS, 13, 1, False

    def acknowledge(self, got):
        self.send_ack(0, self.conversation(got), got)

    def echo_reads(self, seconds):
        """Answers each 0x0304 for that long; how many came."""
        came, until = 0, time.monotonic() + seconds
        while (got := self.next_frame(until)) is not None:
            require_equal(got.command, wire.READ_NOTIFY, f"beside 0x0304: {got!r}")
            came += 1
            self.send(wire.READ_ACK, user_id=0, session_id=got["session_id"], msg_id=got["msg_id"],
                      session_type=got["session_type"])
        return came

    def synchronise(self):
        stamp = 0
        while True:  # one page each; it continues at its next request
            got = self.ask(wire.ALL_USERS_REQ, latest_update_time=stamp)
            if not got["user_list"]:
                break
            stamp = got["latest_update_time"]
        self.ask(wire.SESSIONS_REQ, latest_update_time=0)
        unread = self.unread_all()
        self.ask(wire.USERS_STATUS_REQ, user_id_list=[self.user_id])
        self.send(wire.DEVICE_TOKEN_REQ, user_id=0, device_token="ab" * 32, client_type=wire.IOS)
        self.send(wire.QUERY_SHIELD_REQ, user_id=0)
        normal = self.ask(wire.NORMAL_GROUPS_REQ)["group_version_list"]
        if normal:
            groups.infos(self, {one["group_id"]: 0 for one in normal})
        out = {}
        for (kind, peer), entry in unread.items():
            page = self.list(peer, entry["latest_msg_id"], min(entry["unread_cnt"], 100), kind,
                             user_id=0)
            out[kind, peer] = [m["msg_data"] for m in page]
        self.require_settled()
        return out


class Mac(Ios):
    """Only what U6 needs of it: a PC that echoes reads as iOS does."""
    kind, version, reserved = wire.MAC, 1, 0


class Android(Device):
    """Acknowledges with the author's id and what the message was sent to, groups too; counts to 32766."""
    kind, version, reserved = wire.ANDROID, 6, 0x30

    def next_seq(self):
        self.seq = self.seq % 32766 + 1
        return self.seq

    def acknowledge(self, got):
        self.send_ack(got["from_user_id"], got["to_session_id"], got)

    def synchronise(self, again=False):
        self.ask(wire.DEPARTMENTS_REQ, latest_update_time=0)
        self.ask(wire.ALL_USERS_REQ, latest_update_time=int(time.time()) if again else 0)
        asks = [lambda: self.sessions_all(), lambda: groups.normal_groups(self)]
        for request in asks[::-1] if again else asks:
            request()
        unread = self.unread_all()
        known = [peer for kind, peer in self.sessions_all() if kind == wire.GROUP]
        if known:
            require_equal(set(groups.infos(self, dict.fromkeys(known, 0))), set(known), "groups of sessions")
        out = {}
        for (kind, peer), entry in unread.items():
            ids = range(entry["latest_msg_id"], entry["latest_msg_id"] - entry["unread_cnt"], -1)
            out[kind, peer] = [m["msg_data"] for m in self.by_id(peer, ids, kind)]
        self.pending = [got for got in self.pending if got.command not in PAGED]
        self.require_settled()
        return out


class Dart(Device):
    """Keeps a large number, of which the low 16 bits go out. The JavaScript client has the same header."""
    kind, version, reserved = wire.ANDROID, 0, 0

    def __init__(self, server, user, start=70_000):
        super().__init__(server, user)
        self.seq = start

    def next_seq(self):
        self.seq += 1
        return self.seq & 0xFFFF


class JavaScript(Dart):
    kind = wire.WINDOWS

    def __init__(self, server, user):
        super().__init__(server, user, 0)


def with_groups(id, **kinds):
    """Registers check(ctx, group) twice: id for the one-to-one part, id-g with groups."""
    def add(function):
        def plain(ctx):
            return function(ctx, False)

        def grouped(ctx):
            return function(ctx, True)
        plain.__name__, grouped.__name__ = function.__name__, function.__name__ + "_in_groups"
        row(id, **kinds)(plain)
        row(id + "-g", **kinds)(grouped)
        return function
    return add


def target(server, grouped, a, b):
    """(how A writes to B, message type, session type): a group of both, or B himself."""
    if grouped:
        return groups.admin_create(server, [a, b], a), wire.GROUP_TEXT, wire.GROUP
    return b.id, wire.TEXT, wire.SINGLE


# ---- each for itself -----------------------------------------------------------------------------

@with_groups("D11-windows")
def windows(ctx, grouped):
    """Others make every kind of push under the very number of the Windows login; markers come back."""
    server = ctx.shared()
    a, b, c = server.make_users(3)
    to, text_kind, session_kind = target(server, grouped, b, a)
    peer_of_a = to if grouped else b.id
    number = 4711
    with log_in(server, b) as other:
        other.send_text(to, b"before", seq=number, kind=text_kind)
        other.ack_of(number)
    with (Windows(server, a, number).enter() as pc, log_in(server, a, wire.ANDROID) as phone,
          log_in(server, b) as other):
        require_equal(pc.synchronise(), {(session_kind, peer_of_a): [b"before"]}, "what was unread")
        for n in range(3):
            other.send_text(to, b"push %d" % n, seq=number, kind=text_kind)
            require_equal(other.ack_of(number), 2 + n, "msg_id")
            pc.take(b, to, b"push %d" % n, text_kind)
            phone.hear(b"push %d" % n)
        phone.send_text(peer_of_a, b"own", seq=number, kind=text_kind)
        phone.ack_of(number)
        expect_push(pc, a.id, peer_of_a, b"own", 5, text_kind)
        other.hear(b"own")
        other.send_text(to, b"to be read", seq=number - 1, kind=text_kind)
        other.ack_of(number - 1)
        for device in (pc, phone):
            device.hear(b"to be read")
        phone.read(peer_of_a, 6, session_kind, seq=number)
        require_equal(pc.expect(wire.READ_NOTIFY)["msg_id"], 6, "0x0304")
        phone.send(wire.REMOVE_SESSION_REQ, seq=number, user_id=0, session_type=session_kind,
                   session_id=peer_of_a)
        require_equal(phone.expect(wire.REMOVE_SESSION_RES, seq=number)["result_code"], 0, "0x0207")
        if not grouped:
            pc.expect(wire.REMOVE_SESSION_NOTIFY)
        other.send(wire.P2P_COMMAND, seq=number, from_user_id=b.id, to_user_id=a.id, cmd_msg_data="{}")
        pc.expect(wire.P2P_COMMAND)
        phone.expect(wire.P2P_COMMAND)
        if grouped:
            groups.change(other, wire.ADD, to, [c], seq=number)
            groups.expect_change(pc, b, wire.ADD, to, [c], [a, b, c])
            phone.expect(wire.MEMBERS_NOTIFY)
        pc.watched = {c.id}
        with Windows(server, c, number).enter():
            pc.expect(wire.STATUS_NOTIFY)
        pc.expect(wire.STATUS_NOTIFY)
        for marker in (0xFF01, 0xFF02, 0xFF03):
            page = pc.list(peer_of_a, 0, 10, session_kind, seq=marker)
            require_equal([m["msg_id"] for m in page], [6, 5, 4, 3, 2, 1], f"history under {marker:#x}")
        many = [(0xFF01 + n % 3, 1 + n % 6) for n in range(30)]  # several under way with one marker
        for marker, begin in many:
            pc.send(wire.LIST_REQ, seq=marker, user_id=a.id, session_type=session_kind,
                    session_id=peer_of_a, msg_id_begin=begin, msg_cnt=1)
        for marker, begin in many:
            got = pc.expect(wire.LIST_RES, seq=marker)
            require_equal([m["msg_id"] for m in got["msg_list"]], [begin], f"in order under {marker:#x}")
        seqs = [pc.send_text(peer_of_a, b"mine %d" % n, kind=text_kind) for n in range(10)]
        require_equal([pc.ack_of(seq) for seq in seqs], list(range(7, 17)), "ids by seq alone")
        for n in range(10):
            other.hear(b"mine %d" % n)
            phone.hear(b"mine %d" % n)
        for _ in range(3):
            pc.heartbeat()
        pc.require_settled()
        for client in (pc, phone, other):
            client.expect_nothing(0.1)
        with Windows(server, a, number).enter() as second:
            got = pc.expect(wire.KICK_USER)
            require_equal(got["kick_reason"], wire.KICK_DUPLICATE, "reason of 0x0107")
            second.require_settled()


@with_groups("D11-ios")
def ios(ctx, grouped):
    """User 0 in every body means himself; two devices that echo 0x0304 end at once."""
    server = ctx.shared()
    a, b = server.make_users(2)
    to, text_kind, session_kind = target(server, grouped, b, a)
    peer_of_a = to if grouped else b.id
    with log_in(server, b) as other:
        for n in range(9):
            other.say(to, b"text %d" % n, text_kind)
        with Ios(server, a).enter() as phone, Mac(server, a).enter() as mac:
            phone.forget(wire.PC_LOGIN_NOTIFY)
            require_equal(phone.synchronise(),
                          {(session_kind, peer_of_a): [b"text %d" % n for n in range(8, -1, -1)]}, "unread")
            for what, moves, most in (("one reads", [(phone, 3)], (0, 1)),
                                      ("both read the same", [(phone, 5), (mac, 5)], (1, 1)),
                                      ("both, not as far", [(mac, 6), (phone, 8)], (1, 1)),
                                      ("msg_id 0", [(mac, 0)], (1, 0))):
                for device, msg_id in moves:
                    device.send(wire.READ_ACK, user_id=0, session_id=peer_of_a, msg_id=msg_id,
                                session_type=session_kind)
                heard = [0, 0]
                for _ in range(4):
                    heard = [heard[0] + phone.echo_reads(0.06), heard[1] + mac.echo_reads(0.06)]
                require(0 < sum(heard) and heard[0] <= most[0] and heard[1] <= most[1],
                        f"{what}: phone and Mac heard {heard} 0x0304")
            require_equal((phone.unread_all(), mac.unread_all()), ({}, {}), "unread at last")
            seq = phone.send_text(peer_of_a, b"mine", kind=text_kind)
            require_equal(phone.ack_of(seq), 10, "msg_id")
            expect_push(mac, a.id, peer_of_a, b"mine", 10, text_kind)
            expect_push(other, a.id, peer_of_a if grouped else b.id, b"mine", 10, text_kind)
            require_equal([m["msg_id"] for m in phone.by_id(peer_of_a, [2, 9, 10], session_kind)], [10, 9, 2],
                          "filling holes")
            phone.heartbeat()
            for client in (phone, mac, other):
                client.expect_nothing(0.1, OPTIONAL)
            phone.require_settled()


@with_groups("D11-android")
def android(ctx, grouped):
    """Swapped ids in its 0x0302 settle a delivery, a group's is not awaited; answers stay below 400 KiB."""
    config = {"limits": {"sends_per_second": 0, "delivery_ack_wait_s": 2}}
    rng = random.Random(7)
    with ctx.server(config, label="D11-android") as server:
        a, b = server.make_users(2)
        to, text_kind, session_kind = target(server, grouped, b, a)
        peer_of_a = to if grouped else b.id
        acks, missed = (lambda: server.metric("ringtalk_delivery_acks_total"),
                        lambda: server.metric("ringtalk_delivery_missed_total"))
        before = acks(), missed()
        with log_in(server, b) as other, Android(server, a).enter() as phone:
            phone.seq = 32760  # passes the end of its numbers soon
            for n in range(5):
                other.say(to, b"text %d" % n, text_kind)
                phone.take(b, to, b"text %d" % n, text_kind)
            for n in range(10):
                seq = phone.send_text(peer_of_a, b"mine %d" % n, kind=text_kind)
                require_equal(phone.ack_of(seq), 6 + n, f"msg_id of seq {seq}")
                other.hear(b"mine %d" % n)
                other.send(wire.MSG_ACK, seq=0, user_id=b.id, session_id=a.id if not grouped else to,
                           msg_id=6 + n, session_type=session_kind)
            time.sleep(3.2)
            phone.heartbeat()
            require_equal(missed(), before[1], "missed deliveries")
            if not grouped:
                require_equal(acks(), before[0] + 15, "acknowledged deliveries")
            sounds = [b"\0\0\0\x1e" + rng.randbytes(30 * 1024) for _ in range(20)]
            kind = wire.GROUP_SOUND if grouped else wire.SOUND
            for sound in sounds:
                other.say(to, sound, kind)
                phone.take(b, to, sound, kind)
            found, begin, pages = [], 0, 0
            while len(found) < 20:  # a longer frame than 400 KiB is an error of the reader
                page = phone.list(peer_of_a, begin, 20 - len(found), session_kind)
                require(page, f"{len(found)} of 20 sounds")
                found += [m["msg_data"] for m in page]
                begin, pages = page[-1]["msg_id"] - 1, pages + 1
            require_equal(found[::-1], sounds, "sounds")
            require(pages >= 2, "600 KiB in one answer")
            phone.read(peer_of_a, 0, session_kind)
            phone.synchronise()
            phone.synchronise(again=True)
            phone.expect_nothing(0.1, OPTIONAL)
            other.expect_nothing(0)


@with_groups("D11-dart")
def dart_and_javascript(ctx, grouped):
    """Version 0, numbers beyond 16 bits, texts whose length byte is wrong: taken as they are."""
    server = ctx.shared()
    for program in (Dart, JavaScript):
        a, b = server.make_users(2)
        to, text_kind, session_kind = target(server, grouped, a, b)
        with program(server, a).enter() as client, log_in(server, b) as other:
            if program is Dart:
                client.seq = (3 << 16) - 4  # its low 16 bits pass 0
            for n in range(8):
                data = b"no base64, no length %d" % n + b"\0" * n
                seq = client.send_text(to, data, kind=text_kind)
                require_equal(client.ack_of(seq), n + 1, f"msg_id of seq {seq}")
                expect_push(other, a.id, to, data, n + 1, text_kind)
            require_equal(client.ask(wire.ALL_USERS_REQ, latest_update_time=0)["user_id"], a.id, "0x0209")
            require_equal(set(client.sessions_all()), {(session_kind, to)}, "sessions")
            require_equal(len(client.list(to, 0, 20, session_kind)), 8, "history")
            if grouped:
                require_equal(groups.info(client, to)["version"], 1, "group")
            client.pending = [got for got in client.pending if got.command not in PAGED]
            client.heartbeat()
            client.require_settled()
            client.expect_nothing(0.1)


# ---- all together --------------------------------------------------------------------------------

def everybody_chats(devices, tag):
    """Each writes to each; both acknowledgements in the form of the program."""
    for sender in devices:
        for peer in devices:
            if peer is not sender:
                text = b"%s of %d to %d" % (tag, sender.user_id, peer.user_id)
                seq = sender.send_text(peer.user_id, text)
                got = peer.take(sender.user, peer.user_id, text)
                require_equal(sender.ack_of(seq), got["msg_id"], "msg_id at both ends")


@row("D11", slow=True)
def mixed_clients(ctx):
    """Windows, iOS, Android (and Dart): synchronising, chat, a group made, used and changed, read, listed.

    Each device checks the service id and number of every answer, one answer per request, 0 in every push.
    """
    server = ctx.shared()
    users = server.make_users(4)
    w, i, a, d = users
    windows, ios, android, dart = (program(server, user).enter()
                                   for program, user in zip((Windows, Ios, Android, Dart), users))
    devices = (windows, ios, android, dart)
    try:
        for device in devices[:3]:
            require_equal(device.synchronise(), {}, "unread of a newcomer")
        everybody_chats(devices, b"hello")
        # Android makes a group, nobody hears of it; from the first message they know, and ask.
        group = groups.create_group(android, [a, w, i, w], user_id=a.id)
        for device in devices:
            device.expect_nothing(0.05, OPTIONAL)
        inside = [windows, ios, android]

        def in_group(sender, text, kind=wire.GROUP_TEXT):
            seq = sender.send_text(group, text, kind=kind)
            ids = {sender.ack_of(seq)}
            for device in inside:
                if device is not sender:
                    ids.add(device.take(sender.user, group, text, kind)["msg_id"])
            require_equal(len(ids), 1, "one id for everybody")
            return ids.pop()

        in_group(android, b"welcome")
        for device in (windows, ios):
            found = groups.info(device, group)
            require_equal((sorted(found["group_member_list"]), found["group_creator_id"]),
                          (sorted(groups.ids_of((w, i, a))), a.id), "0x0404")
        for n in range(5):
            for device in inside:
                in_group(device, b"%d in the group %d" % (device.user_id, n))
        in_group(windows, b"\0\0\0\3sound", wire.GROUP_SOUND)
        # iOS, a member, adds; Android, the creator, removes.
        groups.require_changed(groups.change(ios, wire.ADD, group, [d]), [d], users)
        for device in (windows, android, dart):
            groups.expect_change(device, i, wire.ADD, group, [d], users)
        inside.append(dart)
        floor = in_group(dart, b"thank you")
        in_group(windows, b"and read this")
        require_equal([m["msg_id"] for m in dart.list(group, kind=wire.GROUP)], [floor + 1, floor],
                      "what the new one may see")
        require_equal(groups.shield(ios, group, 1), 0, "mute")
        # Reading: each moves his own position only; what one sends, he has read.
        for device, count in ((ios, 4), (android, 3), (dart, 1), (windows, 0)):
            require_equal(groups.unread_count(device, group), count, f"unread of {type(device).__name__}")
        for device in (ios, android, dart):
            device.read(group, floor + 1, wire.GROUP, user_id=device.claimed())
            require_equal(groups.unread_count(device, group), 0, "unread after reading")
        for device in devices:
            for peer in users:
                if peer is not device.user:
                    device.read(peer.id, 0, user_id=device.claimed())
            require_equal(device.unread_all(), {}, "nothing unread at all")
        # History, each in its own way, the same for all three.
        seen = (windows.list(group, 0, 100, wire.GROUP, seq=0xFF01),
                ios.list(group, 0, 100, wire.GROUP, user_id=0),
                android.by_id(group, range(1, floor + 2), wire.GROUP))
        require(seen[0] == seen[1] == seen[2] and len(seen[0]) == floor + 1, "histories differ")
        require_equal(ios.latest_id(group, wire.GROUP), floor + 1, "0x030c")
        groups.require_changed(groups.change(android, wire.REMOVE, group, [d]), [d], [w, i, a])
        for device in (windows, ios, dart):
            groups.expect_change(device, a, wire.REMOVE, group, [d], [w, i, a])
        inside.remove(dart)
        require_equal(groups.unseen(dart, group), groups.NOTHING, "what is left to the removed one")
        in_group(ios, b"without dart")
        require_equal(windows.remove_session(group, wire.GROUP, user_id=w.id), 0, "session removed")
        require(groups.session(windows, group) is None, "it is listed still")
        in_group(windows, b"and back")
        require(groups.session(windows, group) is not None, "it is not listed")
        for device in devices:
            device.require_settled()
            device.expect_nothing(0.1)
        # Away and back: what was missed is asked for in each one's order, and is the same.
        windows.close()
        ios.close()
        inside = [android]
        last = [b"missed %d" % n for n in range(3)]
        for text in last:
            in_group(android, text)
        seq = android.send_text(w.id, b"missed alone")
        android.ack_of(seq)
        windows, ios = Windows(server, w).enter(), Ios(server, i).enter()
        require_equal(windows.synchronise(), {(wire.GROUP, group): last[::-1],
                                              (wire.SINGLE, a.id): [b"missed alone"]}, "Windows is back")
        # It had read all but what Windows said after its own last message.
        require_equal(ios.synchronise(), {(wire.GROUP, group): [*last[::-1], b"and back"]}, "iOS is back")
        android.close()
        android = Android(server, a).enter()
        require_equal(android.synchronise(again=True), {}, "Android had written last")
        inside = [windows, ios, android]
        in_group(windows, b"all here again")
        everybody_chats((windows, ios, android, dart), b"good bye")
        for device in (windows, ios, android, dart):
            device.require_settled()
            device.expect_nothing(0.1, OPTIONAL)
        for device in (ios, android):
            device.send(wire.LOGOUT_REQ)
            device.expect(wire.LOGOUT_RES)
            try:
                device.heartbeat()
                require(False, "served after logging out")
            except (Closed, OSError):
                pass
    finally:
        for device in (windows, ios, android, dart):
            device.close()
