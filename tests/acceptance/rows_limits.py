"""Rows F7-F9 (idle limits, guard, slow reader), hello and the error PDU, pacing, sliced answers.

Rows that spec/features.md does not number: E1 hello 0x2001, E2 error PDU 0x2003 (behaviour.md 18.1), S6b
the bucket that messages and pass-through commands share, Q1 the bucket of other requests, Q2 sliced
answers (behaviour.md 2). Lower bounds of time are the specification's and strict; upper ones generous.
"""

import socket
import threading
import time

import wire
from checks import UNKNOWN_USER, expect_push
from client import Client, Closed, Failure, fresh_source, log_in, require, require_equal
from placing import for_each_placing
from registry import row
from rows_people import Clock

UNPACED = {"limits": {"sends_per_second": 0, "requests_per_second": 0}}


# ---- 1. connection -------------------------------------------------------------------------------

@row("F7", slow=True)
def idle_limits(ctx):
    """Silent PC closed after 120…122 s, silent phone after 300…302 s, a beating PC kept."""
    late = 6  # seconds that a busy machine may add to the 2 of the row
    with Clock(ctx, "F7") as clock:
        users = clock.server.make_users(10)
        pc, phone = clock.pc_s, clock.mobile_s
        groups = {"pc": [], "phone": [], "beating": []}
        for i, user in enumerate(users):  # on all shards
            name = ("pc", "phone", "beating")[i % 3]
            client = log_in(clock.server, user, wire.IOS if name == "phone" else wire.MAC)
            client.last_at = time.monotonic() + (clock.now if clock.path else 0)
            groups[name].append(client)

        def virtual():
            return time.monotonic() + (clock.now if clock.path else 0)

        def beat():
            for client in groups["beating"]:
                client.heartbeat()

        def must_be_open(names):
            for name in names:
                for client in groups[name]:
                    got = client.next_frame(time.monotonic() + 0.01)  # raises when closed
                    require(got is None, f"{name}: {got!r}")

        def must_close(name, limit):
            took = []
            for client in groups[name]:
                while True:  # the beating ones must not notice
                    try:
                        got = client.next_frame(time.monotonic() + 0.5)
                    except Closed:
                        break
                    require(got is None, f"{name}: {got!r}")
                    require(virtual() < client.last_at + limit + 2 + late, f"{name} is still open")
                    beat()
                took.append(virtual() - client.last_at)
                require(took[-1] >= limit - 0.1, f"{name} closed after {took[-1]:.1f} s")
            return max(took)

        clock.pass_by(pc * 0.5)
        beat()
        clock.pass_by(pc * 0.5 - 3)
        beat()
        must_be_open(groups)
        pc_took = must_close("pc", pc)
        beat()
        must_be_open(["phone", "beating"])
        while virtual() < groups["phone"][0].last_at + phone - 3 - pc * 0.8:
            clock.pass_by(pc * 0.8)  # "a heartbeat every 100 s keeps A@pc"
            beat()
            must_be_open(["phone", "beating"])
        clock.pass_by(max(0.0, groups["phone"][0].last_at + phone - 3 - virtual()))
        beat()
        must_be_open(["phone", "beating"])
        phone_took = must_close("phone", phone)
        beat()
        for name in groups:
            for client in groups[name]:
                client.close()
    return f"PC {pc_took:.0f}s, phone {phone_took:.0f}s" + ("" if clock.path else " (no test build)")


@row("F8")
def guard(ctx):
    """Before login every command closes and says nothing; a kicked connection executes nothing."""
    server = ctx.shared()
    a, b, c = server.make_users(3)
    for command, fields in ((wire.ALL_USERS_REQ, {"latest_update_time": 0}),
                            (wire.SESSIONS_REQ, {"latest_update_time": 0}), (wire.UNREAD_REQ, {}),
                            (wire.USERS_INFO_REQ, {"user_id_list": [a.id]}),
                            (wire.USERS_STATUS_REQ, {"user_id_list": [a.id]}),
                            (wire.REMOVE_SESSION_REQ, {"session_type": 1, "session_id": b.id}),
                            (wire.LATEST_ID_REQ, {"session_type": 1, "session_id": b.id}),
                            (wire.BY_ID_REQ, {"session_type": 1, "session_id": b.id, "msg_id_list": [1]}),
                            (wire.READ_ACK, {"session_id": b.id, "msg_id": 1, "session_type": 1}),
                            (wire.OFFLINE_FILES_REQ, {}), (wire.DEPARTMENTS_REQ, {"latest_update_time": 0}),
                            (wire.HELLO_REQ, {"ext_version": 1, "features": 0})):
        with Client(server.address, fresh_source()) as stranger:
            stranger.send(command, user_id=a.id, **fields)
            stranger.expect_closed(5)
    with Client(server.address, fresh_source()) as stranger:
        stranger.send(wire.P2P_COMMAND, from_user_id=a.id, to_user_id=b.id, cmd_msg_data="x")
        stranger.expect_closed(5)
    with log_in(server, c) as other:
        other.say(a.id, b"unread")
    with log_in(server, b) as peer, log_in(server, a) as kicked:
        kicked.say(b.id, b"before the kick")
        peer.hear(b"before the kick")
        with log_in(server, a) as live:
            kicked.expect(wire.KICK_USER)
            kicked.send_text(b.id, b"from a kicked one")
            kicked.send(wire.READ_ACK, user_id=a.id, session_id=c.id, msg_id=0, session_type=1)
            kicked.send(wire.REMOVE_SESSION_REQ, user_id=a.id, session_type=1, session_id=b.id)
            kicked.send(wire.P2P_COMMAND, from_user_id=a.id, to_user_id=b.id, cmd_msg_data="x")
            for command, fields in ((wire.ALL_USERS_REQ, {"latest_update_time": 0}),
                                    (wire.SESSIONS_REQ, {"latest_update_time": 0}),
                                    (wire.UNREAD_REQ, {}), (wire.USERS_INFO_REQ, {"user_id_list": [a.id]}),
                                    (wire.USERS_STATUS_REQ, {"user_id_list": [a.id]}),
                                    (wire.HELLO_REQ, {"ext_version": 1, "features": 0})):
                kicked.send(command, user_id=a.id, **fields)
            kicked.expect_nothing()
            peer.expect_nothing(0.1)
            live.expect_nothing(0)
            require_equal(live.unread_counts(), {c.id: 1}, "unread: the kicked one's 0x0303 counts for nothing")
            require_equal(set(live.sessions()), {b.id, c.id}, "sessions: so does its 0x0206")
            require_equal(live.say(b.id, b"counts"), 2, "msg_id")
            expect_push(peer, a.id, b.id, b"counts", 2)


def count_acks(client, wanted, seconds):
    """Reads until that many 0x0302 came, without decoding each."""
    seen = 0
    deadline = time.monotonic() + seconds
    while seen < wanted:
        for got in client.arrived:
            require(got.command in (wire.MSG_ACK, wire.STATUS_NOTIFY), f"beside 0x0302: {got!r}")
            seen += got.command == wire.MSG_ACK
        client.arrived.clear()
        if seen < wanted:
            require(client._fill(deadline) and not client.eof, f"{seen} of {wanted} acknowledged")
    return seen


@row("F9", slow=True)
def slow_reader(ctx):
    """Nobody else notices: C and D chat on; how much they notice is neighbours.py's to measure."""
    count, window, read_to = 100_000, 500, 7
    with ctx.server(UNPACED, label="F9") as server:
        a, b, c, d = server.make_users(4)
        chat = {"times": [], "failure": None, "stop": False}

        def neighbours():
            try:
                with log_in(server, c) as one, log_in(server, d) as two:
                    while not chat["stop"]:
                        began = time.monotonic()
                        text = b"%.6f" % began
                        one.say(d.id, text)
                        two.hear(text)
                        chat["times"].append(time.monotonic() - began)
                        time.sleep(0.01)
            except BaseException as failure:
                chat["failure"] = failure

        thread = threading.Thread(target=neighbours)
        with log_in(server, a) as sender:
            for n in range(1, 11):
                sender.say(b.id, b"%d" % n)
            stalled = log_in(server, b, receive_bytes=4096)
            stalled.read(a.id, read_to)
            thread.start()
            began = time.monotonic()
            rss = server.rss_kib()
            at = 10
            body = b"x" * 60
            while at < count:
                more = min(window, count - at)
                sender.send_raw(b"".join(sender.message(b.id, b"%d %s" % (n, body), n & 0xFFFF)
                                         for n in range(at + 1, at + more + 1)))
                count_acks(sender, more, 60)
                at += more
            took = time.monotonic() - began
            grown = server.rss_kib() - rss
        chat["stop"] = True
        thread.join()
        require(chat["failure"] is None, f"C and D suffer: {chat['failure']}")
        stalled.sock.settimeout(20)
        received = 0
        try:  # what had been sent before the close, then the end
            while data := stalled.sock.recv(1 << 20):
                received += len(data)
        except ConnectionResetError:
            pass
        except TimeoutError:
            raise Failure("B, who read nothing for that long, was never closed") from None
        require(received < 2 << 20, f"{received} bytes had been sent to one who does not read")
        with log_in(server, b) as reader:
            entry = reader.unread()[a.id]
            require_equal((entry["unread_cnt"], entry["latest_msg_id"]), (count - read_to, count),
                          "unread after coming back")
            begin, checked = count, 0
            while begin > 0:  # none lost: every page, whole
                page = reader.list(a.id, begin)
                for n, got in zip(range(begin, begin - 100, -1), page):
                    require(got["msg_id"] == n and got["msg_data"].split(b" ")[0] == b"%d" % n,
                            f"message {n} is {got}")
                    checked += 1
                require(page, f"nothing from {begin} on")
                begin -= len(page)
            require_equal(checked, count, "messages in the history")
        times = sorted(chat["times"])
    return f"{count} in {took:.1f}s, RSS {grown:+d} KiB, C-D p99 {times[len(times) * 99 // 100] * 1e3:.1f} ms"


@row("F9b", slow=True)
def reader_without_progress(ctx):
    """F9's other half: little waits, far below the bound, but nothing of it moves for 15 s (here 3)."""
    config = {"limits": {"sends_per_second": 0, "requests_per_second": 0, "send_stall_s": 3,
                         "push_queue_bytes": "64 MiB"}}
    with ctx.server(config, label="F9b") as server:
        a, b, c = server.make_users(3)
        sound = b"\0\0\0\1" + b"s" * 200_000
        with log_in(server, a) as sender:
            for _ in range(4):
                sender.say(c.id, sound, wire.SOUND)
            pushed, asked = (log_in(server, user, receive_bytes=4096) for user in (b, c))
            since = time.monotonic()
            for _ in range(4):
                sender.say(b.id, sound, wire.SOUND)
            for _ in range(8):  # an answer to its own request waits likewise
                asked.send(wire.LIST_REQ, user_id=0, session_type=1, session_id=a.id, msg_id_begin=0,
                           msg_cnt=10)
            online, waited = 3, 0.0
            while online > 1:
                time.sleep(0.1)
                now, waited = server.metric("ringtalk_users_online"), time.monotonic() - since
                require(now == online or waited >= 2.7, f"{online - now} closed after {waited:.1f} s")
                require(waited < 15, f"{now - 1} who read nothing are still there after {waited:.1f} s")
                online = now
            pushed.close()
            asked.close()
            sender.expect_nothing(0)
    return f"closed after {waited:.1f}s"


# ---- 18. hello and the error PDU -----------------------------------------------------------------

def hello(client, features=63, **fields):
    got = client.ask(wire.HELLO_REQ, **{"ext_version": 1, "features": features} | fields)
    require_equal((got["result_code"], got["ext_version"]), (0, 1), "0x2002")
    require(got["features"] & ~features == 0, f"granted {got['features']:#x} of {features:#x}")
    require(got.fields.get("max_pdu", 1 << 16) <= wire.ANSWER_BYTES_MAX, "max_pdu")
    return got


@row("E1")
def hello_row(ctx):
    server = ctx.shared()
    a, b = server.make_users(2)
    for kind in (wire.WINDOWS, wire.IOS):
        with log_in(server, a, kind) as client:
            granted = hello(client)["features"]
            require_equal(hello(client, device_id="device 7", user_id=b.id)["features"], granted, "again")
            require_equal(hello(client, features=0)["features"], 0, "features asked for: none")
            require_equal(hello(client, features=0xFFFFFFC0)["features"], 0, "unknown features")
            hello(client, ext_version=7)  # a newer client gets what this server speaks
            client.expect_nothing(0.1)


def expect_error(client, command, seq):
    """0x2003 of a refusal; returns its code."""
    got = client.expect(wire.EXT_ERROR, seq=seq)
    require_equal((got["user_id"], got["command"], got["seq"]), (client.user_id, command, seq), "0x2003")
    require(1 <= got["result_code"] <= 8, f"result_code of 0x2003: {got['result_code']}")
    return got["result_code"]


@row("E2")
def error_pdu(ctx):
    """Every refusal without a result code of its own, after hello only; what is ignored gets none."""
    server = ctx.shared()
    gone_ok = False

    def check(a, b):
        nonlocal gone_ok
        [gone] = server.make_users(1)
        status, _ = server.http("PATCH", f"/api/v1/users/{gone.id}", {"disabled": True})
        gone_ok = status == 200
        refused = {
            "empty text": (b.id, b"", wire.TEXT), "sound of 4 bytes": (b.id, b"\0\0\0\1", wire.SOUND),
            "to oneself": (a.id, b"self", wire.TEXT), "4097 characters": (b.id, b"t" * 4097, wire.TEXT),
            "not UTF-8": (b.id, b"\xff", wire.TEXT), "unknown": (UNKNOWN_USER, b"x", wire.TEXT),
            "0": (0, b"x", wire.TEXT), "2^32-1": (0xFFFFFFFF, b"x", wire.TEXT),
            "a group that is none": (b.id, b"x", wire.GROUP_TEXT),
        }
        if gone_ok:
            refused["one who left"] = (gone.id, b"x", wire.TEXT)
        with log_in(server, a) as client, log_in(server, b) as peer, log_in(server, a, wire.IOS) as stock:
            hello(client)
            codes = {}
            for what, (to, data, kind) in refused.items():
                stock.send_text(to, data, kind=kind)  # no hello: silence
                seq = client.send_text(to, data, kind=kind)
                try:
                    codes[what] = expect_error(client, wire.MSG_DATA, seq)
                except Failure as failure:
                    raise Failure(f"{what}: {failure}") from failure
            if gone_ok:
                require_equal(codes["one who left"], codes["unknown"], "one who left is as absent")
            require_equal(codes["unknown"], wire.EXT_NOT_EXIST, "code for an unknown receiver")
            require_equal(codes["unknown"], codes["2^32-1"], "unknown ids are alike")
            for to, text in ((UNKNOWN_USER, "x"), (0, "x"), (b.id, "x" * 4097)):
                seq = client.next_seq()
                client.send(wire.P2P_COMMAND, seq=seq, from_user_id=0, to_user_id=to, cmd_msg_data=text)
                expect_error(client, wire.P2P_COMMAND, seq)
            seq = client.send_text(b.id, b"keyed", client_msg_id="one key")
            client.ack_of(seq)
            seq = client.send_text(b.id, b"keyed otherwise", client_msg_id="one key")
            expect_error(client, wire.MSG_DATA, seq)
            peer.hear(b"keyed")
            stock.hear(b"keyed")
            client.send_body(0x0999, b"anything")
            client.send_body(0x0304, b"")
            client.send_body(wire.MSG_DATA, b"\xff\xff")  # ignored, not refused
            client.send_body(wire.UNREAD_REQ, b"")
            for one in (client, peer, stock):
                one.expect_nothing(0.15)
            require_equal(client.say(b.id, b"fine"), 2, "msg_id")
        with log_in(server, a) as client:  # a new connection has not said hello
            client.send_text(UNKNOWN_USER, b"x")
            client.expect_nothing(0.15)

    for_each_placing(server, check)
    return "also to one who left" if gone_ok else "no users to disable"


# ---- pacing --------------------------------------------------------------------------------------

@row("S6b", slow=True)
def sends_and_commands_share(ctx):
    """S6 with 0x0601 among the sends: one bucket of 20/s, burst 20; nothing is dropped or reordered."""
    with ctx.server(label="S6b") as server:
        a, b = server.make_users(2)
        with log_in(server, a) as sender, log_in(server, b) as peer:
            parts = []
            for n in range(1, 61):
                parts.append(wire.request(wire.P2P_COMMAND, n, from_user_id=a.id, to_user_id=b.id,
                                          cmd_msg_data=f"command {n}") if n % 2 else
                             sender.message(b.id, b"text %d" % n, n))
            began = time.monotonic()
            sender.send_raw(b"".join(parts))
            commands, texts = [], []
            while len(commands) + len(texts) < 60:
                got = peer.next_frame(began + 20)
                require(got, f"{len(commands)} commands and {len(texts)} texts of 60 after 20 s")
                (commands if got.command == wire.P2P_COMMAND else texts).append(
                    got["cmd_msg_data"] if got.command == wire.P2P_COMMAND else got["msg_data"])
                n, at = len(commands) + len(texts), time.monotonic() - began
                require(at >= (n - 20) / 20 - 0.06, f"delivery {n} after {at:.3f} s")
            require_equal(commands, [f"command {n}" for n in range(1, 61, 2)], "commands in order")
            require_equal(texts, [b"text %d" % n for n in range(2, 61, 2)], "texts in order")
            for n in range(2, 61, 2):
                sender.ack_of(n)
            sender.expect_nothing(0.1)
        [c] = server.make_users(1)
        with log_in(server, c) as sender:  # what is refused is paced like what is taken
            began = time.monotonic()
            sender.send_raw(b"".join(sender.message(UNKNOWN_USER, b"nobody", n) for n in range(1, 41))
                            + sender.message(b.id, b"somebody", 41))
            sender.ack_of(41, 20)
            took = time.monotonic() - began
            require(took >= (41 - 20) / 20 - 0.06, f"40 refused sends and one more took {took:.3f} s")
    return f"60 in {at:.2f}s"


@row("F7b", slow=True)
def paced_is_not_idle(ctx):
    """Whoever waits for his pace is not closed for silence: it is the server that does not read."""
    limits = {"idle_pc_s": 5, "sends_per_second": 5, "sends_burst": 1}
    with ctx.server({"limits": limits}, label="F7b") as server:
        a, b = server.make_users(2)
        with log_in(server, a) as sender:
            began = time.monotonic()
            sender.send_raw(b"".join(sender.message(b.id, b"text %d" % n, n) for n in range(1, 51)))
            for n in range(1, 51):
                sender.ack_of(n, 20)
            took = time.monotonic() - began
            require(took > 9, f"50 paced sends in {took:.1f} s")
            sender.expect_closed(5 + 4 * ctx.patience)
    return f"50 in {took:.1f}s, then idle"


@row("Q1", slow=True)
def request_bucket(ctx):
    """50/s, burst 200, per connection; a request costs 1 + entries/100; 0x0302 and 0x0303 are free."""
    remarks = {}
    failures = []

    def paced(name, client, count, cost, command, answer, fields, free=200):
        """The n-th answer is not due before (n * cost - burst) / 50 s, and all come, in order."""
        try:
            began = time.monotonic()
            for seq in range(1, count + 1):
                client.expect_answer_to(command, seq)
            client.send_raw(b"".join(wire.request(command, seq, **fields) for seq in range(1, count + 1)))
            for n in range(1, count + 1):
                got = client.next_frame(began + 40)
                require(got and (got.command, got.seq) == (answer, n), f"answer {n}: {got!r}")
                # A request may be let in on credit: it is the one before that must have been paid.
                at = time.monotonic() - began
                due = ((n - 1) * cost - free) / 50
                require(at >= due - 0.08, f"answer {n} after {at:.2f} s, due after {due:.2f} s")
            remarks[name] = f"{name} {at:.1f}s"
            require(at < (count * cost - free) / 50 + 6, f"{count} took {at:.1f} s")
        except BaseException as failure:
            failures.append(f"{name}: {failure}")

    with ctx.server({"limits": {"sends_per_second": 0}}, label="Q1") as server:
        a, b, c, d, e, f, g, peer = server.make_users(8)
        with log_in(server, a) as sender:
            for n in range(100):
                sender.send_text(peer.id, b"%d" % n)
            count_acks(sender, 100, 30)
        many = [UNKNOWN_USER - n for n in range(1000)]
        single = {"user_id": 0, "session_type": 1, "session_id": peer.id}
        jobs = [
            ("time", b, 330, 1, wire.TIME_REQ, wire.TIME_RES, {}),
            ("profiles", c, 32, 11, wire.USERS_INFO_REQ, wire.USERS_INFO_RES,
             {"user_id": 0, "user_id_list": many}),
            ("states", d, 32, 11, wire.USERS_STATUS_REQ, wire.USERS_STATUS_RES,
             {"user_id": 0, "user_id_list": many}),
            ("history", e, 170, 2, wire.LIST_REQ, wire.LIST_RES,
             {**single, "msg_id_begin": 0, "msg_cnt": 100}),
            ("by id", f, 170, 2, wire.BY_ID_REQ, wire.BY_ID_RES,
             {**single, "msg_id_list": list(range(1, 101))}),
        ]
        clients = [log_in(server, job[1]) for job in jobs]
        threads = [threading.Thread(target=paced, args=(job[0], client, *job[2:]))
                   for job, client in zip(jobs, clients)]
        with log_in(server, g) as free, log_in(server, peer) as other:
            for thread in threads:
                thread.start()
            began = time.monotonic()
            free.send_raw(b"".join(
                wire.request(command, 0, user_id=0, session_id=peer.id, msg_id=1, session_type=1)
                for _ in range(3000) for command in (wire.READ_ACK, wire.MSG_ACK)))
            free.heartbeat(20)
            took = time.monotonic() - began
            require(took < 12, f"6000 of 0x0302 and 0x0303 took {took:.1f} s: are they free?")
            # Who is not over his rate does not wait for those who are.
            slowest = 0.0
            for n in range(20):
                began = time.monotonic()
                free.say(peer.id, b"beside %d" % n)
                other.hear(b"beside %d" % n)
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.05)
            require(slowest < 2, f"a neighbour waited {slowest:.2f} s")
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()
    require(not failures, "; ".join(failures))
    return ", ".join(remarks.values())


@row("Q2", slow=True)
def sliced_answers(ctx):
    """200 answers of nearly 400 KiB to one who does not read yet: made one at a time, all of them, in order."""
    config = UNPACED
    with ctx.server(config, label="Q2") as server:
        a, b = server.make_users(2)
        with log_in(server, a) as sender:
            sounds = [b"\0\0\0\1" + bytes([n]) * 30_000 for n in range(13)]
            for data in sounds:
                sender.say(b.id, data, wire.SOUND)
        asks = 200
        with log_in(server, b, receive_bytes=16384) as reader, log_in(server, a) as neighbour:
            reader.heartbeat()
            before = server.rss_kib()
            reader.send_raw(b"".join(
                wire.request(wire.LIST_REQ, seq, user_id=0, session_type=1, session_id=a.id, msg_id_begin=0,
                             msg_cnt=13) for seq in range(1, asks + 1)))
            time.sleep(2)
            neighbour.heartbeat()
            grown = server.rss_kib() - before
            require(grown < 12 * 1024, f"{grown} KiB for answers that nobody reads")
            reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            size = None
            deadline = time.monotonic() + 60
            for seq in range(1, asks + 1):
                got = None
                while got is None or got.command == wire.STATUS_NOTIFY:
                    while not reader.arrived:
                        require(reader._fill(deadline) and not reader.eof, f"{seq - 1} of {asks} answers")
                    got = reader.arrived.popleft()
                require_equal((got.command, got.seq), (wire.LIST_RES, seq), "answers in order")
                size = size or len(got.raw)
                require_equal(len(got.raw), size, "bytes of an answer")
            require(size >= 300_000, f"an answer of {size} bytes")
            reader.expect_nothing(0.1)
    return f"{asks} x {size // 1024} KiB, RSS {grown:+d} KiB meanwhile"
