"""Rows S1-S10, S13, S15 (single chat) and H5 (history) of spec/features.md.

Each function is one row; its text says what the row demands where the code does not. Users are made
fresh per row. Lower bounds of time are the specification's and strict; upper bounds are generous.
"""

import os
import random
import time

import wire
from checks import RESTART_CONFIG, UNKNOWN_USER, expect_push
from client import Failure, log_in, marked_body, read_marked_body, require, require_equal
from registry import row


# ---- 5. single chat ------------------------------------------------------------------------------

@row("S1")
def send_acknowledge_deliver(ctx):
    server = ctx.shared()
    a, b = server.make_users(2)
    with (log_in(server, a) as sender, log_in(server, b) as pc,
          log_in(server, b, wire.ANDROID) as phone):
        for n, seq in enumerate((1, 0xFF01, 0xFFFF, 0, 77), 1):
            text = b"text %d" % n
            sender.send_text(b.id, text, seq=seq)
            got = sender.expect(wire.MSG_ACK, seq=seq)
            require_equal(got.fields, {"user_id": a.id, "session_id": b.id, "msg_id": n,
                                       "session_type": wire.SINGLE}, "0x0302")
            for device in (pc, phone):
                expect_push(device, a.id, b.id, text, n)
        for client in (sender, pc, phone):
            client.expect_nothing(0.2)


@row("S2")
def own_other_devices(ctx):
    server = ctx.shared()
    a, b = server.make_users(2)
    with log_in(server, a) as pc, log_in(server, a, wire.IOS) as phone, log_in(server, b) as peer:
        for n, (sender, other) in enumerate(((pc, phone), (phone, pc)), 1):
            text = b"mine %d" % n
            require_equal(sender.say(b.id, text), n, "msg_id")
            expect_push(other, a.id, b.id, text, n)
            expect_push(peer, a.id, b.id, text, n)
            sender.expect_nothing(0.2)
        other.expect_nothing(0.1)
        peer.expect_nothing(0.1)


def exchange(a, b, count, tag):
    """a and b send in turn, in windows of 40; returns the ids in order of acknowledgement."""
    ids = []
    for start in range(0, count, 40):
        sent = []
        for i in range(start, min(start + 40, count)):
            sender, other = (a, b) if i % 2 == 0 else (b, a)
            text = b"%s %d" % (tag, i)
            sent.append((sender, other, sender.send_text(other.user_id, text), text))
        for sender, other, seq, text in sent:
            msg_id = sender.ack_of(seq)
            require_equal(other.hear(text)["msg_id"], msg_id, "id at the receiver")
            ids.append(msg_id)
    return ids


@row("S3", slow=True)
def id_sequence(ctx):
    """1000 messages with orderly restarts and kill -9 in between, also with sends in flight."""
    parts = max(2, min(10, -(-ctx.kills // 5)))
    rng = random.Random(ctx.shards)
    with ctx.server(RESTART_CONFIG, label="S3") as server:
        ua, ub = server.make_users(2)
        sent, seen, cut = {}, set(), 0
        a, b = log_in(server, ua), log_in(server, ub)
        for part in range(parts):
            ids = exchange(a, b, 1000 // parts - 10, b"part %d" % part)
            newest = len(seen) + len(ids)
            require_equal(sorted(ids), list(range(len(seen) + 1, newest + 1)), "ids of a part")
            seen.update(ids)
            for text, seq in [(b"flight %d %d" % (part, i), 0x4000 + part * 10 + i) for i in range(10)]:
                sent[text] = seq
                a.send_text(ub.id, text, seq=seq)
            kill = part % 2 == 0
            if kill:
                time.sleep(rng.random() * 0.01)
            a_acks = {}
            server.restart(kill=kill, shards=(ctx.shards, ctx.shards % 4 + 1)[part % 4 == 3])
            while True:  # what had been acknowledged before the cut counts
                try:
                    got = a.next_frame(time.monotonic() + 2)
                except (Failure, AssertionError):
                    break
                if got is None:
                    break
                if got.command == wire.MSG_ACK:
                    a_acks[got.seq] = got["msg_id"]
            a.close()
            b.close()
            a, b = log_in(server, ua), log_in(server, ub)
            flight = []
            for i in range(10):  # the same seq, target and text again: one message each
                text = b"flight %d %d" % (part, i)
                a.send_text(ub.id, text, seq=sent[text])
                flight.append(a.ack_of(sent[text]))
                if sent[text] in a_acks:
                    require_equal(flight[-1], a_acks[sent[text]], "id of a repeat after the restart")
            require_equal(flight, list(range(newest + 1, newest + 11)), "ids of the sends in flight")
            cut += 10 - len(a_acks)
            seen.update(flight)
            b.pending.clear()
            time.sleep(0.05)
            b.heartbeat()
            b.pending.clear()  # deliveries of sends that the cut had undone
        history = a.pull_all(ub.id)
        require_equal(len(history), len(seen), "messages stored")
        require_equal(len({bytes(m["msg_data"]) for m in history}), len(history), "distinct texts")
        require_equal(b.pull_all(ua.id), history, "history of the other side")
        a.close()
        b.close()
    return f"{parts} restarts, {cut} sends cut in flight"


@row("S4")
def identity(ctx):
    server = ctx.shared()
    a, b, c = server.make_users(3)
    with log_in(server, a) as sender, log_in(server, b) as peer, log_in(server, c) as other:
        for n, fields in enumerate((
                {"from_user_id": c.id, "create_time": 1}, {"from_user_id": b.id, "msg_id": 999},
                {"from_user_id": 0, "create_time": 0xFFFFFFFF}, {"attach_data": b"\x00" * 24},
                {"from_user_id": 0xFFFFFFFF, "msg_id": 0xFFFFFFFF}), 1):
            text = b"who %d" % n
            require_equal(sender.say(b.id, text, **fields), n, "msg_id")
            expect_push(peer, a.id, b.id, text, n)
        require_equal({m["from_session_id"] for m in peer.list(a.id)}, {a.id}, "authors in the history")
        require(all(abs(m["create_time"] - time.time()) < 60 for m in peer.list(a.id)), "times stored")
        for client in (sender, peer, other):
            client.expect_nothing(0.1)


@row("S5")
def sends_that_are_dropped(ctx):
    server = ctx.shared()
    a, b = server.make_users(2)
    with (log_in(server, a) as sender, log_in(server, a, wire.IOS) as phone,
          log_in(server, b) as peer):
        dropped = [
            ("empty text", b.id, b"", wire.TEXT, {}), ("empty sound", b.id, b"", wire.SOUND, {}),
            ("sound of 4 bytes", b.id, b"\0\0\0\1", wire.SOUND, {}),
            ("to oneself", a.id, b"self", wire.TEXT, {}),
            ("to oneself, forged author", a.id, b"self", wire.TEXT, {"from_user_id": b.id}),
            ("unknown receiver", UNKNOWN_USER, b"x", wire.TEXT, {}),
            ("receiver 0", 0, b"x", wire.TEXT, {}), ("receiver 2^32-1", 0xFFFFFFFF, b"x", wire.TEXT, {}),
            ("group type to a user", b.id, b"x", wire.GROUP_TEXT, {}),
            ("group sound to a user", b.id, b"\0\0\0\1x", wire.GROUP_SOUND, {}),
            ("type 0", b.id, b"x", 0, {}), ("type 3", b.id, b"x", 3, {}),
            ("type 0x55", b.id, b"x", 0x55, {}),
            ("client_msg_id of 65 bytes", b.id, b"x", wire.TEXT, {"client_msg_id": "k" * 65}),
        ]
        for what, to, data, kind, fields in dropped:
            sender.send_text(to, data, kind=kind, **fields)
            try:
                sender.expect_nothing(0.15)
                phone.expect_nothing(0)
                peer.expect_nothing(0)
            except Failure as failure:
                raise Failure(f"{what}: {failure}") from failure
        require_equal(sender.list(b.id), [], "history after refused sends")
        require_equal(sender.list(a.id), [], "history with oneself")
        require_equal(sender.say(b.id, b"real"), 1, "id of the first real message")
        expect_push(peer, a.id, b.id, b"real", 1)


@row("S6")
def rate_limit(ctx):
    """Nothing is lost; the n-th acknowledgement is not due before (n - 20) / 20 s."""
    with ctx.server(label="S6") as server:
        a, b = server.make_users(2)
        with log_in(server, a) as sender, log_in(server, b) as peer:
            began = time.monotonic()
            sender.send_raw(b"".join(sender.message(b.id, b"burst %d" % n, n) for n in range(1, 61)))
            for n in range(1, 61):
                require_equal(sender.ack_of(n, 20), n, "ids in the order sent")
                at = time.monotonic() - began
                require(at >= (n - 20) / 20 - 0.06, f"acknowledgement {n} after {at:.3f} s")
            for n in range(1, 61):
                expect_push(peer, a.id, b.id, b"burst %d" % n, n)
            require(at < 15, f"60 sends took {at:.1f} s")
            sender.heartbeat()
            # One bucket per user, whichever device sends: both are at the bottom of it now.
            with log_in(server, a, wire.IOS) as phone:
                for n in range(61, 81):
                    (sender if n % 2 else phone).send_text(b.id, b"burst %d" % n, seq=n)
                for n in range(61, 81):
                    (sender if n % 2 else phone).ack_of(n, 20)
                both = time.monotonic() - began
                require(both >= 2.94, f"80 sends of one user, two devices, in {both:.2f} s")
            require_equal(len(peer.pull_all(a.id)), 80, "messages stored")
    return f"60 in {at:.2f}s"


@row("S7")
def offline_receiver(ctx):
    server = ctx.shared()
    a, b = server.make_users(2)
    with log_in(server, a) as sender:
        require_equal(sender.say(b.id, b"for later"), 1, "msg_id")
    with log_in(server, b) as reader:
        [entry] = reader.list(a.id)
        require_equal((entry["msg_id"], entry["from_session_id"], entry["msg_data"]),
                      (1, a.id, b"for later"), "history of the receiver")
        reader.expect_nothing(0.2)
        seq = reader.send(wire.UNREAD_REQ, user_id=0)
        got = reader.expect(wire.UNREAD_RES, seq=seq)
        require_equal((got["user_id"], got["total_cnt"]), (b.id, 1), "0x0308")
        require_equal(got["unreadinfo_list"], [{
            "session_id": a.id, "session_type": wire.SINGLE, "unread_cnt": 1, "latest_msg_id": 1,
            "latest_msg_data": b"for later", "latest_msg_type": wire.TEXT,
            "latest_msg_from_user_id": a.id}], "unread entries")


@row("S8", slow=True)
def durability(ctx):
    """kill -9 right after an acknowledgement, --kills times: nothing acknowledged is ever missing."""
    rng = random.Random(100 + ctx.shards)
    with ctx.server(RESTART_CONFIG, label="S8") as server:
        users = server.make_users(4)
        pairs = [(users[0], users[1]), (users[2], users[3]), (users[1], users[2])]
        known = {pair: {} for pair in pairs}  # id -> text acknowledged
        op = acked = 0
        for turn in range(ctx.kills):
            a, b = pairs[turn % len(pairs)]
            with log_in(server, a) as sender:
                count = rng.randint(1, 30)
                wanted = rng.randint(1, count)
                texts = {}
                for i in range(count):
                    op += 1
                    texts[op & 0xFFFF] = marked_body(a.id, op, rng.choice((0, 0, 500, 4000)))
                sender.send_raw(b"".join(sender.message(b.id, text, seq) for seq, text in texts.items()))
                for _ in range(wanted):
                    got = sender.expect(wire.MSG_ACK)
                    require(got["msg_id"] not in known[a, b], f"id given twice: {got!r}")
                    known[a, b][got["msg_id"]] = texts[got.seq]
                    acked += 1
                server.kill9()
                while True:
                    try:
                        got = sender.next_frame(time.monotonic() + 2)
                    except (Failure, AssertionError):
                        break
                    if got is None:
                        break
                    if got.command == wire.MSG_ACK:
                        known[a, b][got["msg_id"]] = texts[got.seq]
                        acked += 1
            server.restart(shards=turn % 4 + 1 if turn % 5 == 4 else None)
            with log_in(server, b) as reader:
                history = {m["msg_id"]: m["msg_data"] for m in reader.pull_all(a.id)}
            for msg_id, text in known[a, b].items():
                require_equal(history.get(msg_id), text, f"kill {turn + 1}: acknowledged message {msg_id}")
            require_equal(len(set(history.values())), len(history), "distinct texts")
            known[a, b] = history
        for (a, b), history in known.items():
            with log_in(server, a) as reader:
                require_equal({m["msg_id"]: m["msg_data"] for m in reader.pull_all(b.id)}, history,
                              "final history")
    return f"{ctx.kills} kills, {acked} acknowledged"


@row("S9")
def receiver_acknowledgement(ctx):
    config = {"limits": {"sends_per_second": 0, "delivery_ack_wait_s": 2}}
    with ctx.server(config, label="S9") as server:
        a, b = server.make_users(2)
        acks, missed = "ringtalk_delivery_acks_total", "ringtalk_delivery_missed_total"

        def wait_for(name, wanted, seconds=15):
            deadline = time.monotonic() + seconds
            while server.metric(name) != wanted and time.monotonic() < deadline:
                time.sleep(0.1)
            require_equal(server.metric(name), wanted, name)

        forms = {"windows": (b.id, a.id), "ios": (0, a.id), "android": (a.id, b.id)}
        base_acks, base_missed = server.metric(acks), server.metric(missed)
        with log_in(server, a) as sender, log_in(server, b) as peer:
            for n, (form, (user_id, session_id)) in enumerate(forms.items(), 1):
                msg_id = sender.say(b.id, form.encode())
                expect_push(peer, a.id, b.id, form.encode(), msg_id)
                peer.send(wire.MSG_ACK, seq=0, user_id=user_id, session_id=session_id, msg_id=msg_id,
                          session_type=wire.SINGLE)
                peer.heartbeat()
                wait_for(acks, base_acks + n)
            msg_id = sender.say(b.id, b"read at once")
            expect_push(peer, a.id, b.id, b"read at once", msg_id)
            peer.send(wire.READ_ACK, seq=0, user_id=b.id, session_id=a.id, msg_id=msg_id,
                      session_type=wire.SINGLE)
            peer.heartbeat()
            for strange in ((b.id, a.id, 0xFFFFFFFF, 1), (b.id, UNKNOWN_USER, 1, 1), (0, 0, 0, 1),
                            (b.id, a.id, msg_id, 2)):
                peer.send(wire.MSG_ACK, seq=0, **dict(zip(
                    ("user_id", "session_id", "msg_id", "session_type"), strange)))
            time.sleep(3.2)
            peer.expect_nothing(0)
            require_equal(server.metric(missed), base_missed, "missed after all were acknowledged")
            msg_id = sender.say(b.id, b"never acknowledged")
            expect_push(peer, a.id, b.id, b"never acknowledged", msg_id)
            wait_for(missed, base_missed + 1)
            peer.expect_nothing(1)  # never a second delivery
            sender.expect_nothing(0.1)
            require_equal(server.metric(missed), base_missed + 1, "missed is counted once")


@row("S10", slow=True)
def repeat_protection(ctx):
    with ctx.server(RESTART_CONFIG, label="S10") as server:
        a, b, c = server.make_users(3)
        sender, peer = log_in(server, a), log_in(server, b)

        def again(client, wanted, text, seq, to=b, **fields):
            client.send_text(to.id, text, seq=seq, **fields)
            require_equal(client.ack_of(seq), wanted, f"id of {text!r} seq {seq}")

        again(sender, 1, b"once", 7)
        expect_push(peer, a.id, b.id, b"once", 1)
        for _ in range(3):
            again(sender, 1, b"once", 7)
        with log_in(server, a, wire.IOS) as phone:  # on any of his connections
            again(phone, 1, b"once", 7)
            sender.expect_nothing(0.1)
        again(sender, 2, b"once", 8)       # the same text said again: two messages
        again(sender, 3, b"other", 7)      # an equal seq alone means nothing
        again(sender, 1, b"once", 7, to=c)  # another conversation
        again(sender, 4, b"keyed", 20, client_msg_id="key-1")
        again(sender, 4, b"keyed", 21, client_msg_id="key-1")
        sender.send_text(b.id, b"keyed, other body", seq=22, client_msg_id="key-1")
        sender.send_text(c.id, b"keyed", seq=23, client_msg_id="key-1")
        sender.expect_nothing(0.2)
        again(sender, 5, b"keyed", 24, client_msg_id="key-2")
        for n, text in ((2, b"once"), (3, b"other"), (4, b"keyed"), (5, b"keyed")):
            got = peer.expect(wire.MSG_DATA)
            require_equal((got["msg_id"], got["msg_data"]), (n, text), "delivered to B, in order")
        peer.expect_nothing(0.2)
        for kill, shards in ((False, None), (True, None), (True, ctx.shards % 4 + 1)):
            sender.close()
            peer.close()
            if shards is None and not kill:
                sender = log_in(server, a)  # reconnect only
                again(sender, 1, b"once", 7)
                sender.close()
            server.restart(kill=kill, shards=shards)
            sender, peer = log_in(server, a), log_in(server, b)
            again(sender, 1, b"once", 7)
            again(sender, 3, b"other", 7)
            again(sender, 4, b"keyed", 30, client_msg_id="key-1")
            again(sender, 5, b"keyed", 31, client_msg_id="key-2")
            sender.send_text(b.id, b"keyed, other body", seq=32, client_msg_id="key-1")
            sender.expect_nothing(0.2)
            peer.expect_nothing(0.2)
            require_equal(len(peer.pull_all(a.id)), 5, "messages stored")
        # Two in one write: the second finds the first still waiting for the disk and joins it.
        joined, newest = 0, 5
        for turn in range(20):
            text, seq = b"twin %d" % turn, 100 + 2 * turn
            sender.send_raw(sender.message(b.id, text, seq) + sender.message(b.id, text, seq + 1))
            one, two = sender.ack_of(seq), sender.ack_of(seq + 1)
            require(one == newest + 1 and two in (one, one + 1), f"ids {one}, {two} after {newest}")
            joined += one == two
            newest = two
        require(joined > 0, "a send equal to one still in flight never joined it")
        require_equal(len(peer.pull_all(a.id)), newest, "messages stored")
        sender.close()
        peer.close()
    if not ctx.test_ringtalkd:
        return f"{joined} of 20 twins joined; stalled store needs --test-build-dir"
    env = {"RINGTALK_STALL_FSYNC_MS": "1500"}
    with ctx.server(RESTART_CONFIG, env, test_build=True, label="S10s") as server:
        a, b = server.make_users(2)
        with log_in(server, a) as sender, log_in(server, b) as peer:
            began = time.monotonic()
            sender.send_text(b.id, b"stalled", seq=1)
            time.sleep(0.4)
            sender.send_text(b.id, b"stalled", seq=2)
            sender.send_text(b.id, b"different", seq=3)
            require_equal((sender.ack_of(1), sender.ack_of(2)), (1, 1), "ids of a stalled send and its twin")
            require(time.monotonic() - began >= 1.0, "the store was not stalled")
            require_equal(sender.ack_of(3), 2, "another text is another message")
            sender.send_text(b.id, b"stalled", seq=4)
            require_equal(sender.ack_of(4), 3, "after the acknowledgement a new seq is a new message")
            for n, text in ((1, b"stalled"), (2, b"different"), (3, b"stalled")):
                got = peer.hear(text)
                require_equal((got["msg_id"], got["from_user_id"]), (n, a.id), "delivery")
            peer.expect_nothing(0.2)
            require_equal(len(peer.pull_all(a.id)), 3, "messages stored")
    return f"{joined} of 20 twins joined; stalled store tried"


@row("S13")
def content_is_opaque(ctx):
    server = ctx.shared()
    a, b = server.make_users(2)
    rng = random.Random(13)
    good = [
        ("no base64", "héllo & <b> \0\r\n ‮💬".encode(), wire.TEXT),
        ("one NUL", b"\0", wire.TEXT), ("undecryptable base64", b"AAAA" * 10, wire.TEXT),
        ("the longest text", b"t" * 4096, wire.TEXT),
        ("the longest text in bytes", "💬".encode() * 4096, wire.TEXT),
        ("4096 of two bytes", "ä".encode() * 4096, wire.TEXT),
        ("the shortest sound", b"\0\0\0\1s", wire.SOUND),
        ("a sound of any bytes", rng.randbytes(30_000), wire.SOUND),
        ("64 KiB of sound", rng.randbytes(1 << 16), wire.SOUND),
        ("the longest sound", rng.randbytes(wire.SOUND_BYTES_MAX), wire.SOUND),
    ]
    bad = [
        ("4097 characters", b"t" * 4097, wire.TEXT), ("4097 of four bytes", "💬".encode() * 4097, wire.TEXT),
        ("4097 of two bytes", "ä".encode() * 4097, wire.TEXT), ("lone 0xff", b"abc\xff", wire.TEXT),
        ("cut character", "💬".encode()[:3], wire.TEXT), ("surrogate", b"\xed\xa0\x80", wire.TEXT),
        ("overlong", b"\xc0\x80", wire.TEXT), ("above U+10FFFF", b"\xf4\x90\x80\x80", wire.TEXT),
        ("one byte of sound too many", rng.randbytes(wire.SOUND_BYTES_MAX + 1), wire.SOUND),
    ]
    with (log_in(server, a) as sender, log_in(server, b) as peer,
          log_in(server, b, wire.IOS) as phone):
        for n, (what, data, kind) in enumerate(good, 1):
            require_equal(sender.say(b.id, data, kind), n, f"id of {what}")
            for device in (peer, phone):
                expect_push(device, a.id, b.id, data, n, kind)
        for what, data, kind in bad:
            sender.send_text(b.id, data, kind=kind)
            try:
                sender.expect_nothing(0.15)
                peer.expect_nothing(0)
            except Failure as failure:
                raise Failure(f"{what}: {failure}") from failure
        history = peer.pull_all(a.id)
        require_equal([(m["msg_type"], m["msg_data"]) for m in history],
                      [(kind, data) for _what, data, kind in good], "history")
        phone.expect_nothing(0)


@row("S15")
def create_time_never_falls(ctx):
    server = ctx.shared()
    a, b = server.make_users(2)
    with log_in(server, a) as one, log_in(server, b) as two:
        for turn in range(3):
            exchange(one, two, 40, b"turn %d" % turn)
            time.sleep(0.6)
        times = [m["create_time"] for m in one.pull_all(b.id)]
        require(times == sorted(times) and len(times) == 120, f"create_time falls: {times}")
    if not ctx.test_ringtalkd:
        return "a clock set back needs --test-build-dir"
    clock = f"/tmp/ringtalk-clock-S15-{os.getpid()}-{ctx.shards}"
    try:
        with open(clock, "w", encoding="ascii") as out:
            out.write("3600000")
        with ctx.server(RESTART_CONFIG, {"RINGTALK_CLOCK_OFFSET_FILE": clock}, True, "S15") as own:
            a, b = own.make_users(2)
            with log_in(own, a) as sender:
                sender.say(b.id, b"in an hour")
            with open(clock, "w", encoding="ascii") as out:
                out.write("0")
            own.restart()  # a running process's monotonic clock cannot fall, its wall clock can
            with log_in(own, a) as sender:
                sender.say(b.id, b"now")
                first, second = (m["create_time"] for m in sender.pull_all(b.id))
                require(second >= first > time.time() + 3000, f"create_time {first}, then {second}")
    finally:
        os.unlink(clock)
    return "also with the clock set back an hour"


# ---- 8. history ----------------------------------------------------------------------------------

def check_history(client, peer, texts):
    """Every way to ask for a history of these texts (ids 1…N), N >= 150."""
    newest = len(texts)

    def page(begin, count, **how):
        return [m["msg_id"] for m in client.list(peer, begin, count, **how)]

    def down(first, last):
        return list(range(first, last - 1, -1))

    require_equal(page(0, 10), down(newest, newest - 9), "begin 0 cnt 10")
    require_equal(page(50, 10), down(50, 41), "begin 50 cnt 10")
    require_equal(page(50, 10, seq=0xFF03), down(50, 41), "seq 0xFF03")
    require_equal(page(0, 0), [], "cnt 0")
    require_equal(page(50, 0), [], "begin 50 cnt 0")
    require_equal(page(0, 1), [newest], "cnt 1")
    for count in (100, 101, 0x80000000, 0xFFFFFFFF):
        require_equal(page(0, count), down(newest, newest - 99), f"cnt {count}")
    require_equal(page(newest + 1000, 10), down(newest, newest - 9), "begin beyond the newest")
    require_equal(page(0xFFFFFFFF, 3), down(newest, newest - 2), "begin 2^32-1")
    require_equal(page(5, 100), down(5, 1), "down to the first")
    require_equal(page(1, 100), [1], "begin 1")
    for begin in (31, 32, 33, 63, 64, 65, 96, 97, 128, 129):  # around the pointer blocks of the log
        require_equal(page(begin, 40), down(begin, max(1, begin - 39)), f"begin {begin} cnt 40")
    history = client.pull_all(peer)
    require_equal([m["msg_data"] for m in history], texts, "the whole history")


@row("H5", slow=True)
def history(ctx):
    with ctx.server(RESTART_CONFIG, label="H5") as server:
        ua, ub, uc = server.make_users(3)
        texts = [marked_body(ua.id if n % 2 == 0 else ub.id, n, 6 * n) for n in range(260)]

        def fill(a, b, c, start, stop):
            for at in range(start, stop, 20):
                seqs = []
                for n in range(at, min(at + 20, stop)):
                    sender, other = (a, b) if n % 2 == 0 else (b, a)
                    sender.send_text(other.user_id, texts[n], seq=n + 1)
                    require_equal(sender.ack_of(n + 1), n + 1, "msg_id")
                    c.say(ua.id, b"beside %d" % n)
                a.pending.clear()
                b.pending.clear()

        with log_in(server, ua) as a, log_in(server, ub) as b, log_in(server, uc) as c:
            require_equal(a.list(ub.id), [], "history before the first message")
            fill(a, b, c, 0, 200)
            a.heartbeat()
            b.heartbeat()
            a.pending.clear()
            b.pending.clear()
            check_history(a, ub.id, texts[:200])
            check_history(b, ua.id, texts[:200])
            require_equal([m["msg_id"] for m in a.list(ub.id, 0, 2, user_id=uc.id)], [200, 199],
                          "user_id of somebody else in the body")
            require_equal(a.list(ua.id), [], "with oneself")
            require_equal(a.list(UNKNOWN_USER), [], "with nobody")
            require_equal(a.list(0), [], "with user 0")
            require_equal(a.list(ub.id, kind=wire.GROUP), [], "a group one is not in")
            require_equal(c.list(ub.id), [], "C has nothing with B")
            for wrong in (0, 3, 0x55):
                c.send(wire.LIST_REQ, user_id=0, session_type=wrong, session_id=ua.id, msg_id_begin=0,
                       msg_cnt=10)
            c.expect_nothing(0.2)
        for shards, kill in ((None, False), (None, True), (ctx.shards % 4 + 1, False)):
            server.restart(shards=shards, kill=kill)
            with log_in(server, ub) as b:
                check_history(b, ua.id, texts[:200])
            with log_in(server, ua) as a:
                require_equal(len(a.pull_all(uc.id)), 200, "the conversation beside it")
        with log_in(server, ua) as a, log_in(server, ub) as b, log_in(server, uc) as c:
            fill(a, b, c, 200, 260)
            a.heartbeat()
            a.pending.clear()
            check_history(a, ub.id, texts)
        server.restart(shards=ctx.shards)
        with log_in(server, ub) as b:
            check_history(b, ua.id, texts)
            for entry in b.list(ua.id):
                read_marked_body(entry["msg_data"])
