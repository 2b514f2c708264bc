"""Rows O1, O4, O7 (users), P1-P6 and the presence part of P7, X1 (pass-through), A11, A12 (account).

Each function is one row of spec/features.md; its text says what the row demands where the code does
not. "Placing" means: A and B on the same shard, and on different ones in either order of their ids.
Presence is written at most once per flush interval (200 ms or more), so "nothing" is a second of it.
"""

import json
import os
import time

import wire
from checks import UNKNOWN_USER, expect_push, require_now
from client import Client, log_in, require, require_equal
from placing import for_each_placing, placed_pairs
from registry import row

NOTHING_S = 1.0  # of presence: several flush intervals


# ---- 9. users ------------------------------------------------------------------------------------

def all_users(client, stamp=0, **fields):
    """One 0x0208 of a client that asks page by page: (stamp answered, users)."""
    got = client.ask(wire.ALL_USERS_REQ, latest_update_time=stamp, **fields)
    require(got["latest_update_time"] >= stamp, f"0x0209 to {stamp}: stamp {got['latest_update_time']}")
    return got["latest_update_time"], got["user_list"]


def change_user(server, user, **fields):
    status, text = server.http("PATCH", f"/api/v1/users/{user.id}", fields)
    require_equal(status, 200, f"PATCH /api/v1/users/{user.id} {fields}: {text[:200]}")
    return json.loads(text)


def sync(client, stamp=0):
    """Asks with the stamp of the answer until there is nothing more, as iOS does over its requests."""
    out = []
    while True:
        next_stamp, users = all_users(client, stamp)
        if not users:
            require_equal(next_stamp, stamp, "stamp of an empty 0x0209")
            return stamp, out
        require(next_stamp > stamp, f"a page after {stamp} ends at {next_stamp}")
        stamp, out = next_stamp, out + users


def ids_of(users):
    return [user["user_id"] for user in users]


@row("O1")
def user_list(ctx):
    with ctx.server(label="O1") as server:
        a, b, c, *others = server.make_users(12)
        everybody = {user.id for user in (a, b, c, *others)}
        with log_in(server, a, wire.IOS) as client:
            stamp, users = sync(client)
            require_equal(sorted(ids_of(users)), sorted(everybody), "everybody at stamp 0")
            by_id = {user["user_id"]: user for user in users}
            for user in (a, b, c):
                got = by_id[user.id]
                require_equal((got["user_real_name"], got["user_nick_name"], got["department_id"],
                               got["status"]), (user.name, user.nick, 0, 0), "profile")
            require_equal(all_users(client, stamp), (stamp, []), "asked again")
            require_equal(all_users(client, stamp, user_id=b.id), (stamp, []), "another user_id")
            require_equal(all_users(client, 0xFFFFFFFF), (0xFFFFFFFF, []), "stamp 2^32-1")

            def expect_change(user, what, **wanted):
                nonlocal stamp
                stamp, users = sync(client, stamp)
                require_equal(ids_of(users), [user.id], what)
                require_equal({name: users[0].get(name) for name in wanted}, wanted, what)
                require_equal(all_users(client, stamp), (stamp, []), f"after {what}")

            change_user(server, b, signature="<b>here</b> & 'there' 💬")
            expect_change(b, "B's signature", sign_info="<b>here</b> & 'there' 💬")
            change_user(server, c, nick="Cé", phone="+49 1", email="c@example.org", sex=2,
                        avatar="g0/000/000/c.png", domain="ce")
            expect_change(c, "C's profile", user_nick_name="Cé", user_tel="+49 1",
                          email="c@example.org", user_gender=2, avatar_url="g0/000/000/c.png",
                          user_domain="ce", status=0)
            for n in range(3):  # one change each, whatever happens within one second
                change_user(server, b, signature=f"number {n}")
                expect_change(b, f"change {n}", sign_info=f"number {n}")
            change_user(server, c, disabled=True)
            expect_change(c, "one who left", status=3)  # so that clients hide him
            _, users = sync(client)
            require_equal(sorted(ids_of(users)), sorted(everybody - {c.id}), "at stamp 0 without him")
            change_user(server, c, disabled=False)
            expect_change(c, "one who came back", status=0)
            new = server.make_user()
            expect_change(new, "a new user", user_real_name=new.name, status=0)
            server.restart()
        with log_in(server, a) as client:  # Windows: all pages of one request, here one
            require_equal(all_users(client, stamp), (stamp, []), "asked again after a restart")
            _, users = all_users(client)
            require_equal(sorted(ids_of(users)), sorted(everybody | {new.id}), "at stamp 0 after it")
    return "signatures by the administration's door"


@row("O4")
def profiles_by_id(ctx):
    server = ctx.shared()

    def check(a, b):
        with log_in(server, a) as client:
            found = client.users_info([a.id, b.id, UNKNOWN_USER])
            require_equal([(u["user_id"], u["user_real_name"], u["user_nick_name"], u["department_id"],
                            u["status"]) for u in found],
                          [(u.id, u.name, u.nick, 0, 0) for u in (a, b)], "0x0205")
            require_equal(ids_of(client.users_info([b.id, a.id])), [b.id, a.id], "in the order asked")
            require_equal(ids_of(client.users_info([b.id], user_id=b.id)), [b.id], "another user_id")
            require_equal(ids_of(client.users_info([b.id] * 50 + [a.id])), [b.id, a.id], "each once")
            for nobody in ([], [0], [0, UNKNOWN_USER, 0xFFFFFFFF]):
                require_equal(client.users_info(nobody), [], f"profiles of {nobody}")
            # The first 1000 ids count: what stands behind them is not looked at.
            require_equal(ids_of(client.users_info([UNKNOWN_USER - n for n in range(999)] + [a.id, b.id])),
                          [a.id], "of 1001 asked")

    for_each_placing(server, check)
    with ctx.server(label="O4") as own:  # not filtered by employment state
        one, gone = own.make_users(2)
        change_user(own, gone, disabled=True)
        with log_in(own, one) as client:
            require_equal([(u["user_id"], u["status"]) for u in client.users_info([gone.id])],
                          [(gone.id, 3)], "profile of one who left")


def user_ids_in(body):
    """User ids of a 0x0209, without the cost of a full decoding: (stamp, ids)."""
    at, stamp, ids = 0, None, []
    while at < len(body):
        key, at = wire.read_varint(body, at)
        value, at = wire.read_varint(body, at)
        if key == 3 << 3 | 2:
            require(body[at] == 1 << 3, "user_id is not the first field of UserInfo")
            ids.append(wire.read_varint(body, at + 1)[0])
            at += value
        elif key == 2 << 3:
            stamp = value
    return stamp, ids


def raw_pages(client, seq, wanted, seconds=60):
    """All pages that follow one 0x0208: checked frames, ids once each, stamps rising."""
    client.send(wire.ALL_USERS_REQ, seq=seq, user_id=0, latest_update_time=0)
    ids, stamps = [], []
    deadline = time.monotonic() + seconds
    while len(ids) < wanted:
        while client.arrived:
            got = client.arrived.popleft()
            if got.command in (wire.STATUS_NOTIFY, wire.PC_LOGIN_NOTIFY):
                continue
            require_equal((got.command, got.seq, got.version, got.service),
                          (wire.ALL_USERS_RES, seq, 1, 2), "a page")
            stamp, page = user_ids_in(got.body)
            require(page, "an empty page")
            stamps.append(stamp)
            ids += page
        require(time.monotonic() < deadline and not client.eof,
                f"{len(ids)} of {wanted} users in {len(stamps)} pages")
        if len(ids) < wanted:
            client._fill(deadline)
    require_equal(stamps, sorted(set(stamps)), "stamps of the pages rise")
    return ids, stamps


@row("O7", slow=True)
def large_list(ctx):
    """50,000 users; every PDU <= 400 KiB (the codec refuses longer); each user exactly once."""
    count = 50_000
    config = {"limits": {"requests_per_second": 0}}
    with ctx.server(config, label="O7") as server:
        expected = set()
        for start in range(0, count, 500):
            status, text = server.http("POST", "/api/v1/users:bulk", {"users": [
                {"name": f"bulk{n}", "nick": f"Nick of {n} 例"} for n in range(start, start + 500)]})
            require_equal(status, 201, f"users:bulk {text[:200]}")
            expected |= {user["id"] for user in json.loads(text)["users"]}
        asker = server.make_user()
        expected.add(asker.id)
        require_equal(len(expected), count + 1, "ids made")
        pages = {}

        def loops(kind):  # stores the stamp, ignores a second answer, continues at its next request
            ids, stamp, turns = [], 0, 0
            with log_in(server, asker, kind) as client:
                while True:
                    seq = client.send(wire.ALL_USERS_REQ, user_id=0, latest_update_time=stamp)
                    deadline = time.monotonic() + 60
                    while not any(f.command == wire.ALL_USERS_RES for f in client.arrived):
                        require(client._fill(deadline) and not client.eof, "no page")
                    got = [f for f in client.arrived if f.command == wire.ALL_USERS_RES]
                    client.arrived.clear()
                    require_equal((len(got), got[0].seq), (1, seq), "answers to one request")
                    next_stamp, page = user_ids_in(got[0].body)
                    if not page:
                        require_equal(next_stamp, stamp, "stamp of the empty answer")
                        break
                    if turns in (0, 3):  # the strict codec is too slow for all of them
                        wire.check_answer(got[0])
                    require(next_stamp > stamp, "stamps rise")
                    ids, stamp, turns = ids + page, next_stamp, turns + 1
                    client.heartbeat()  # no second answer comes by itself
                client.expect_nothing(0.3)
            pages[kind] = turns
            return ids

        def asks_once(kind):
            with log_in(server, asker, kind) as client:
                seq = 0 if kind == wire.WINDOWS else 77
                ids, stamps = raw_pages(client, seq, count + 1)
                client.expect_nothing(0.5)
                require_equal(all_users(client, stamps[-1]), (stamps[-1], []), "asked again")
            pages[kind] = len(stamps)
            return ids

        for kind, asks in ((wire.IOS, loops), (wire.MAC, loops), (wire.WINDOWS, asks_once),
                           (wire.ANDROID, asks_once)):
            ids = asks(kind)
            require_equal(len(ids), len(set(ids)), f"client {kind}: users given once")
            require_equal(len(expected - set(ids)), 0, f"client {kind}: users missing")
            require_equal(set(ids), expected, f"client {kind}: users")
        require(min(pages.values()) > 1, f"pages {pages}: the list was to be cut")
    return "pages " + " ".join(f"{kind:#x}:{n}" for kind, n in pages.items())


# ---- 4. presence ---------------------------------------------------------------------------------

def watching(client, *users):
    client.watched = {user.id for user in users}
    return client


def expect_state(client, user, state, timeout=None):
    got = client.expect(wire.STATUS_NOTIFY, timeout)
    require_equal(got["user_stat"], {"user_id": user.id, "status": state}, "0x0203")


def expect_pc_state(client, state):
    got = client.expect(wire.PC_LOGIN_NOTIFY)
    require_equal(got["login_stat"], state, "state in 0x020e")


@row("P1", slow=True)
def online_offline_push(ctx):
    server = ctx.shared()

    def check(a, b):
        with (watching(log_in(server, b), a) as pc, watching(log_in(server, b, wire.IOS), a) as phone):
            for kind, leave in ((wire.WINDOWS, "closes"), (wire.MAC, "logs out"), (wire.MAC, "resets")):
                client = watching(log_in(server, a, kind), a)
                expect_state(pc, a, wire.ONLINE)
                expect_state(client, a, wire.ONLINE)  # to all PCs, the user's own included
                require_equal(pc.statuses([a.id]), [(a.id, wire.ONLINE)], "0x020b")
                if leave == "logs out":
                    client.send(wire.LOGOUT_REQ)
                    client.expect(wire.LOGOUT_RES)
                (client.abort if leave == "resets" else client.close)()
                expect_state(pc, a, wire.OFFLINE)
                require_equal(pc.statuses([a.id]), [(a.id, wire.OFFLINE)], "0x020b")
            with log_in(server, a, wire.ANDROID):
                pc.expect_nothing(NOTHING_S)
            pc.expect_nothing(NOTHING_S)
            phone.expect_nothing(0)
            with Client(server.address) as client:  # "away" is accepted at login, never told
                client.ask_login(a.name, a.secret, wire.WINDOWS, wire.LEAVE)
                expect_state(pc, a, wire.ONLINE)
            expect_state(pc, a, wire.OFFLINE)
            phone.expect_nothing(0)

    for_each_placing(server, check)


@row("P2", slow=True)
def replaced_pc(ctx):
    """No OFFLINE of A at any time: not at the kick, nor when the kicked one is closed 5 s later."""
    server = ctx.shared()
    pairs = placed_pairs(server)
    watchers, held = [], []
    try:
        for where, a, b in pairs:
            watchers.append((where, a, watching(log_in(server, b), a)))
            held.append(log_in(server, a, wire.WINDOWS))
        for _where, a, watcher in watchers:
            expect_state(watcher, a, wire.ONLINE)
        for kind in (wire.MAC, wire.WINDOWS):
            for _where, a, watcher in watchers:
                held.append(log_in(server, a, kind))
            time.sleep(0.3)
        held[0].expect(wire.KICK_USER)
        held[0].close()  # some kicked ones close by themselves, some are closed
        deadline = time.monotonic() + 6.5
        for where, a, watcher in watchers:
            while True:
                got = watcher.next_frame(deadline)
                if got is None:
                    break
                require(got.command == wire.STATUS_NOTIFY and got["user_stat"]["status"] == wire.ONLINE,
                        f"{where}: {got!r}")
            require_equal(watcher.statuses([a.id]), [(a.id, wire.ONLINE)], f"{where}: 0x020b")
        for client in held:
            client.close()
        for where, a, watcher in watchers:
            expect_state(watcher, a, wire.OFFLINE)
            watcher.expect_nothing(0.3)
    finally:
        for client in held + [watcher for _where, _a, watcher in watchers]:
            client.close()


@row("P3")
def status_query(ctx):
    server = ctx.shared()

    def check(a, b):
        with log_in(server, a) as client:
            asked = [a.id, b.id, UNKNOWN_USER]
            on, off = wire.ONLINE, wire.OFFLINE
            require_equal(client.statuses(asked), list(zip(asked, (on, off, off))), "B away")
            with log_in(server, b, wire.ANDROID):
                require_equal(client.statuses(asked), list(zip(asked, (on, off, off))), "B with a phone")
                with log_in(server, b, wire.MAC) as pc:
                    # Another shard hears of it within shards × 250 µs and its own turn.
                    wanted, deadline = list(zip(asked, (on, on, off))), time.monotonic() + 2
                    while client.statuses(asked) != wanted:
                        require(time.monotonic() < deadline, "B with a PC")
                    require_equal(pc.statuses(asked[::-1]), list(zip(asked, (on, on, off)))[::-1],
                                  "the same order as asked")
                    again = [b.id, b.id, 0, a.id, 0xFFFFFFFF, b.id]
                    require_equal(client.statuses(again, user_id=b.id),
                                  list(zip(again, (on, on, off, on, off, on))), "one entry per id asked")
            require_equal(client.statuses([]), [], "nobody asked about")
            many = [UNKNOWN_USER - n for n in range(298)] + [a.id, b.id]  # as Windows batches
            require_equal([state for _id, state in client.statuses(many)][-2:-1], [on], "of 300")

    for_each_placing(server, check)


@row("P4", slow=True)
def pc_state_to_own_phone(ctx):
    server = ctx.shared()

    def check(a, b):
        with watching(log_in(server, b, wire.IOS), b) as stranger:
            phone = watching(log_in(server, a, wire.IOS), a)
            phone.expect_nothing(NOTHING_S)  # no PC is there
            pc = log_in(server, a)
            expect_pc_state(phone, wire.ONLINE)
            phone.close()
            phone = watching(log_in(server, a, wire.ANDROID), a)  # a phone that comes later
            expect_pc_state(phone, wire.ONLINE)
            other = log_in(server, a, wire.MAC)  # the PC is replaced: there is one all the time
            pc.expect(wire.KICK_USER)
            pc.close()
            got = [f for f in collect(phone, NOTHING_S) if f["login_stat"] != wire.ONLINE]
            require(not got, f"a replaced PC: {got}")
            other.close()
            expect_pc_state(phone, wire.OFFLINE)
            phone.expect_nothing(0.3)
            stranger.expect_nothing(0)
            phone.close()

    def collect(client, seconds):
        deadline, out = time.monotonic() + seconds, []
        while (got := client.next_frame(deadline)) is not None:
            out.append(got)
        return out

    for_each_placing(server, check)


class Clock:
    """The test build's clock: offset(s) is added to the server's from now on. Without it: short limits."""

    def __init__(self, ctx, label):
        self.path = f"/tmp/ringtalk-clock-{label}-{os.getpid()}-{ctx.shards}" if ctx.test_ringtalkd else None
        self.pc_s, self.mobile_s = (120, 300) if self.path else (8, 14)
        if self.path:
            self.offset(0)
            self.server = ctx.server(env={"RINGTALK_CLOCK_OFFSET_FILE": self.path}, test_build=True,
                                     label=label)
        else:
            self.server = ctx.server({"limits": {"idle_pc_s": 8, "idle_mobile_s": 14}}, label=label)

    def offset(self, seconds):
        self.now = seconds
        with open(self.path + ".new", "w", encoding="ascii") as out:
            out.write(str(int(seconds * 1000)))
        os.replace(self.path + ".new", self.path)

    def pass_by(self, seconds):
        """That much time passes for the server: at once by the clock file, else really."""
        if self.path:
            self.offset(self.now + seconds)
            time.sleep(0.15)
        else:
            time.sleep(seconds)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        try:
            self.server.__exit__(*what)
        finally:
            if self.path:
                os.unlink(self.path)


@row("P5", slow=True)
def sudden_loss(ctx):
    """A's network is cut (nothing is sent any more): OFFLINE when the idle limit strikes, not before."""
    with Clock(ctx, "P5") as clock:
        for where, a, b in placed_pairs(clock.server):
            with (watching(log_in(clock.server, b), a) as watcher,
                  log_in(clock.server, a) as lost):
                since = time.monotonic()
                expect_state(watcher, a, wire.ONLINE)
                jumped = clock.pc_s - 4
                clock.pass_by(jumped)
                watcher.expect_nothing(0.5)
                expect_state(watcher, a, wire.OFFLINE, 12)
                at = time.monotonic() - since + (jumped if clock.path else 0)
                require(at >= clock.pc_s - 0.1, f"{where}: OFFLINE after {at:.1f} s")
                require(at < clock.pc_s + 8, f"{where}: OFFLINE only after {at:.1f} s")
                lost.expect_closed(5)
                watcher.heartbeat()
    return "by the clock file" if clock.path else "limits of 8 s (no test build)"


@row("P6", slow=True)
def restart(ctx):
    with ctx.server(label="P6") as server:
        for kill in (False, True):
            pairs = placed_pairs(server)
            held = []
            for _where, a, b in pairs:
                held += [log_in(server, b), log_in(server, a)]
            server.restart(kill=kill)
            for client in held:
                client.close()
            for where, a, b in pairs:
                what = f"{where}, after {'kill -9' if kill else 'restart'}"
                with watching(log_in(server, b), a) as watcher:
                    require_equal(watcher.statuses([a.id, b.id]),
                                  [(a.id, wire.OFFLINE), (b.id, wire.ONLINE)], what)
                    watcher.expect_nothing(0.3)
                    phone = watching(log_in(server, a, wire.IOS), a)
                    with log_in(server, a) as client:
                        expect_state(watcher, a, wire.ONLINE)
                        expect_pc_state(phone, wire.ONLINE)
                        require_equal(client.statuses([b.id, a.id]),
                                      [(b.id, wire.ONLINE), (a.id, wire.ONLINE)], what)
                    expect_state(watcher, a, wire.OFFLINE)
                    expect_pc_state(phone, wire.OFFLINE)
                    phone.close()


@row("P7b", slow=True)
def presence_across_shards(ctx):
    """The presence part of P7: eight users, everybody sees everybody come and go, whoever lives where."""
    server = ctx.shared()
    users = server.make_users(8)
    watched = {user.id for user in users}
    clients = []
    try:
        for user in users:
            clients.append(watching(log_in(server, user), *users))
        deadline = time.monotonic() + 5
        for i, client in enumerate(clients):
            seen = set()
            while not {user.id for user in users[i:]} <= seen:
                got = client.next_frame(deadline)
                require(got, f"user {i} saw only {sorted(seen)} of {sorted(watched)} come")
                require_equal(got["user_stat"]["status"], wire.ONLINE, "state")
                seen.add(got["user_stat"]["user_id"])
        time.sleep(0.5)
        for client in clients:
            client.forget(wire.STATUS_NOTIFY)
        for i, user in enumerate(users[:4]):
            clients[i].close()
            for client in clients[4:]:
                expect_state(client, user, wire.OFFLINE)
            require_equal(clients[5].statuses(sorted(watched)),
                          [(u.id, wire.ONLINE if u in users[i + 1:] else wire.OFFLINE)
                           for u in sorted(users, key=lambda u: u.id)], "0x020b")
        for client in clients[4:]:
            client.expect_nothing(0.3)
        # A burst of logins within one interval: the last state counts, whatever was merged on the way.
        user = users[0]
        for _ in range(10):
            log_in(server, user).close()
        with log_in(server, user):
            time.sleep(0.8)
            for client in clients[4:]:
                client.heartbeat()
                states = [f["user_stat"]["status"] for f in client.pending]
                require(states and states[-1] == wire.ONLINE, f"states after ten logins: {states}")
                client.pending.clear()
        for client in clients[4:]:
            expect_state(client, user, wire.OFFLINE)
    finally:
        for client in clients:
            client.close()


# ---- 14. pass-through ----------------------------------------------------------------------------

@row("X1")
def p2p_command(ctx):
    server = ctx.shared()
    shake = '{"service_id":1,"cmd_id":65537,"content":"shakewindow"}'
    contents = [shake, "no JSON at all 💬 \u202e\0\r\n", "x" * 4096, "ä" * 2048]

    def command(client, to, text, claimed):
        client.send(wire.P2P_COMMAND, seq=client.next_seq(), from_user_id=claimed, to_user_id=to,
                    cmd_msg_data=text)

    def check(a, b):
        [c] = server.make_users(1)
        with (log_in(server, a) as pc, log_in(server, a, wire.IOS) as own, log_in(server, b) as peer,
              log_in(server, b, wire.ANDROID) as phone, log_in(server, c) as other):
            for sender, mine in ((pc, own), (own, pc)):
                for text in contents:
                    for claimed in (a.id, c.id, b.id, 0, 0xFFFFFFFF):
                        command(sender, b.id, text, claimed)
                        for device in (mine, peer, phone):
                            got = device.expect(wire.P2P_COMMAND)
                            require_equal(got.fields, {"from_user_id": a.id, "to_user_id": b.id,
                                                       "cmd_msg_data": text}, "0x0601")
            for client in (pc, own, peer, phone, other):
                client.expect_nothing(0.1)
            for to in (0, UNKNOWN_USER, 0xFFFFFFFF):
                command(pc, to, shake, a.id)
            command(pc, b.id, "x" * 4097, a.id)
            for bad in (b"\xff\xfe", b"\xed\xa0\x80", "💬".encode()[:3]):
                pc.send_raw(wire.frame(wire.P2P_COMMAND, wire.number_field(1, a.id)
                                       + wire.number_field(2, b.id) + wire.bytes_field(3, bad), 7))
            for client in (pc, own, peer, phone, other):
                client.expect_nothing(0.15)
            # What no field of ours is does not come through, however much of it there is.
            stowaway = (wire.number_field(1, a.id) + wire.number_field(2, c.id) + wire.bytes_field(3, b"hi")
                        + wire.bytes_field(20, b"attached") + wire.bytes_field(99, b"\xff" * 50_000))
            pc.send_raw(wire.frame(wire.P2P_COMMAND, stowaway, 7))
            for client in (other, own):
                got = client.expect(wire.P2P_COMMAND)
                require_equal(got.fields, {"from_user_id": a.id, "to_user_id": c.id, "cmd_msg_data": "hi"}, "0x0601")
                require(len(got.body) < 100, f"{len(got.body)} bytes came through")
            command(pc, c.id, shake, a.id)
            other.expect(wire.P2P_COMMAND)
            own.expect(wire.P2P_COMMAND)
        with log_in(server, a) as pc:  # B is away: lost
            command(pc, b.id, shake, a.id)
            pc.heartbeat()
        with log_in(server, b) as peer:
            peer.expect_nothing(0.3)
            require_equal((peer.unread(), peer.sessions(), peer.list(a.id)), ({}, {}, []),
                          "what a command leaves behind")

    for_each_placing(server, check)


# ---- 3. account ----------------------------------------------------------------------------------

@row("A11")
def heartbeat(ctx):
    """F1's echo for each client's own header, among other requests, on PC and mobile."""
    server = ctx.shared()
    [a] = server.make_users(1)
    for kind, version, reserved in ((wire.WINDOWS, 1, 0), (wire.MAC, 1, 0), (wire.IOS, 13, 1),
                                    (wire.ANDROID, 6, 0x30), (wire.WINDOWS, 0, 0)):
        with log_in(server, a, kind) as client:
            for n in range(20):
                seq = client.send(wire.TIME_REQ)
                client.send_heartbeat(seq=n, version=version, reserved=reserved)
                client.send(wire.UNREAD_REQ, user_id=0)
                client.expect(wire.TIME_RES, seq=seq)
            for _ in range(20):
                client.expect(wire.HEARTBEAT)  # byte for byte and in order: the client checks
                client.expect(wire.UNREAD_RES)
            client.expect_nothing(0.1)


def require_answers(client, *commands):
    """Each of them was answered, before a heartbeat sent now."""
    client.heartbeat()
    came = {got.command for got in client.pending}
    require(came >= set(commands), f"no answer {[f'0x{c:04x}' for c in set(commands) - came]}")
    client.pending = [got for got in client.pending if got.command not in commands]


@row("A12")
def sync_after_login(ctx):
    """The requests of Windows, iOS and Android after a login, in their order.

    Normal groups (0x0401) and departments (0x0210) are answered, too; what with, their own rows say.
    """
    server = ctx.shared()
    a, b, c = server.make_users(3)
    for author, texts in ((b, [b"one", b"two", b"three"]), (c, [b"four"])):
        with log_in(server, author) as sender:
            for text in texts:
                sender.say(a.id, text)
    wanted = {b.id: [b"three", b"two", b"one"], c.id: [b"four"]}
    with log_in(server, a, wire.WINDOWS) as client:
        client.send(wire.DEPARTMENTS_REQ, seq=0, user_id=a.id, latest_update_time=0)
        client.send(wire.ALL_USERS_REQ, seq=0, user_id=a.id, latest_update_time=0)
        client.send(wire.NORMAL_GROUPS_REQ, seq=0, user_id=a.id)
        client.send(wire.SESSIONS_REQ, seq=0, user_id=a.id, latest_update_time=0)
        sessions = client.expect(wire.SESSIONS_RES, 30)["contact_session_list"]
        require_equal({entry["session_id"] for entry in sessions}, {b.id, c.id}, "sessions")
        client.send(wire.UNREAD_REQ, seq=0, user_id=a.id)
        client.send(wire.OFFLINE_FILES_REQ, seq=0, user_id=a.id)
        users = []
        while a.id not in ids_of(users) or c.id not in ids_of(users):
            users += client.expect(wire.ALL_USERS_RES, 30)["user_list"]
        asked = [ids_of(users)[at:at + 300] for at in range(0, len(users), 300)]
        for batch in asked:
            client.send(wire.USERS_STATUS_REQ, seq=0, user_id=a.id, user_id_list=batch)
        unread = client.expect(wire.UNREAD_RES)
        require_equal(unread["total_cnt"], 4, "total_cnt")
        for entry in unread["unreadinfo_list"]:
            client.send(wire.LIST_REQ, seq=0xFF03, user_id=a.id, session_type=entry["session_type"],
                        session_id=entry["session_id"], msg_id_begin=entry["latest_msg_id"],
                        msg_cnt=min(entry["unread_cnt"], 100))
        files = client.expect(wire.OFFLINE_FILES_RES)
        require_equal((files["user_id"], files["offline_file_list"]), (a.id, []), "0x050a")
        for batch in asked:
            states = client.expect(wire.USERS_STATUS_RES, 30)["user_stat_list"]
            require_equal([one["user_id"] for one in states], batch, "order of 0x020b")
            if a.id in batch:
                require_equal(states[batch.index(a.id)]["status"], wire.ONLINE, "own state")
        for entry in unread["unreadinfo_list"]:
            got = client.expect(wire.LIST_RES, seq=0xFF03)
            require_equal([m["msg_data"] for m in got["msg_list"]], wanted[got["session_id"]], "0x030a")
            client.read(got["session_id"], entry["latest_msg_id"])
        seq = client.send(wire.TIME_REQ, seq=0)
        require_now(client.expect(wire.TIME_RES, seq=seq)["server_time"], "0x0306")
        require_answers(client, wire.DEPARTMENTS_RES, wire.NORMAL_GROUPS_RES)
        client.expect_nothing(0.1)
    with log_in(server, a, wire.IOS) as client:
        stamp, users = sync(client)
        require(a.id in ids_of(users), "iOS: oneself among the users")
        require_equal(set(client.sessions()), {b.id, c.id}, "iOS: sessions")
        require_equal(client.unread(), {}, "iOS: unread after Windows read all")
        require_equal(client.statuses([a.id]), [(a.id, wire.OFFLINE)], "iOS: own state, no PC")
        client.expect_nothing(0.1)
    with log_in(server, b) as sender:
        sender.say(a.id, b"five")
    with log_in(server, a, wire.ANDROID) as client:
        client.send(wire.DEPARTMENTS_REQ, seq=1, user_id=a.id, latest_update_time=0)
        now = int(time.time())  # Android stores its own clock, never the server's stamp
        client.send(wire.ALL_USERS_REQ, seq=2, user_id=a.id, latest_update_time=now)
        client.send(wire.SESSIONS_REQ, seq=3, user_id=a.id, latest_update_time=0)
        client.send(wire.NORMAL_GROUPS_REQ, seq=4, user_id=a.id)
        client.send(wire.UNREAD_REQ, seq=5, user_id=a.id)
        client.expect(wire.ALL_USERS_RES, seq=2)
        require_equal(len(client.expect(wire.SESSIONS_RES, seq=3)["contact_session_list"]), 2,
                      "Android: sessions")
        [entry] = client.expect(wire.UNREAD_RES, seq=5)["unreadinfo_list"]
        require_equal((entry["session_id"], entry["unread_cnt"], entry["latest_msg_data"]),
                      (b.id, 1, b"five"), "Android: unread")
        require_answers(client, wire.DEPARTMENTS_RES, wire.NORMAL_GROUPS_RES)
        client.forget(wire.ALL_USERS_RES)
        client.expect_nothing(0.1)
