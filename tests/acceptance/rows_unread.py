"""Rows U1-U7 (unread and read), H1-H3, H7, H8, H11 (sessions, history), S11, S12 (sound, pictures).

Each function is one row of spec/features.md; its text says what the row demands where the code does
not. "Placing" means: A and B on the same shard, and on different ones in either order of their ids.
The rows' group parts are in rows_groups.py.
"""

import random
import time

import wire
from checks import RESTART_CONFIG, UNKNOWN_USER, expect_push, require_now
from client import log_in, marked_body, require, require_equal
from placing import for_each_placing
from registry import row

STRANGE_IDS = (0, UNKNOWN_USER, 0xFFFFFFFF)


def texts_of(server, author, to, count, tag=b"text"):
    """The author logs in, says `count` texts and leaves; returns the texts, whose ids follow each other."""
    texts = [b"%s %d" % (tag, n) for n in range(1, count + 1)]
    with log_in(server, author, wire.IOS) as sender:
        seqs = [sender.send_text(to.id, text) for text in texts]
        for seq in seqs:
            sender.ack_of(seq)
    return texts


def require_entry(entry, count, newest, data, author, kind=wire.TEXT):
    require_equal(
        (entry["session_type"], entry["unread_cnt"], entry["latest_msg_id"], entry["latest_msg_data"],
         entry["latest_msg_type"], entry["latest_msg_from_user_id"]),
        (wire.SINGLE, count, newest, data, kind, author), "entry of 0x0308")


# ---- 7. unread and read --------------------------------------------------------------------------

@row("U1")
def single_counter(ctx):
    """B offline, A sends 3, C sends 1; then what B himself writes counts for nobody but the receiver."""
    server = ctx.shared()

    def check(a, b):
        [c] = server.make_users(1)
        from_a = texts_of(server, a, b, 3, b"of A")
        from_c = texts_of(server, c, b, 1, b"of C")
        with log_in(server, b) as reader:
            entries = reader.unread()
            require_equal(set(entries), {a.id, c.id}, "who has unread messages for B")
            require_entry(entries[a.id], 3, 3, from_a[-1], a.id)
            require_entry(entries[c.id], 1, 1, from_c[-1], c.id)
            require_equal(reader.unread(user_id=a.id), entries, "another user_id in the body")
            texts_of(server, a, b, 2, b"more of A")  # delivered, and unread all the same
            reader.forget(wire.MSG_DATA)
            require_entry(reader.unread()[a.id], 5, 5, b"more of A 2", a.id)
            require_equal(reader.say(c.id, b"of B"), 2, "msg_id")
            require_entry(reader.unread()[c.id], 1, 2, b"of B", b.id)
        with log_in(server, c) as other:
            require_entry(other.unread()[b.id], 1, 2, b"of B", b.id)
        with log_in(server, a) as sender:
            require_equal(sender.unread(), {}, "unread of A, who only wrote")

    for_each_placing(server, check)


@row("U3")
def sender_counts_as_reader(ctx):
    """One-to-one part: here sending does not move the author's cursor (behaviour.md 9)."""
    server = ctx.shared()

    def check(a, b):
        texts_of(server, a, b, 5)
        with log_in(server, b) as reader:
            require_equal(reader.unread_counts(), {a.id: 5}, "unread of B")
            require_equal(reader.say(a.id, b"an answer"), 6, "msg_id")
            require_entry(reader.unread()[a.id], 5, 6, b"an answer", b.id)
            reader.read(a.id, 3)
            require_equal(reader.unread_counts(), {a.id: 2}, "unread of B above the cursor")
            reader.read(a.id, 6)
            require_equal(reader.unread_counts(), {}, "unread of B who read his own")
        with log_in(server, a) as sender:
            require_equal(sender.unread_counts(), {b.id: 1}, "unread of A")

    for_each_placing(server, check)
    return "one-to-one part"


def expect_read_notify(client, peer, msg_id):
    got = client.expect(wire.READ_NOTIFY)
    require_equal(got.fields, {"user_id": client.user_id, "session_id": peer, "msg_id": msg_id,
                               "session_type": wire.SINGLE}, "0x0304")


@row("U4")
def read_acknowledgement(ctx):
    """M8 is the same row."""
    server = ctx.shared()

    def check(a, b):
        [c] = server.make_users(1)
        texts_of(server, a, b, 4)
        texts_of(server, c, b, 1)
        with (log_in(server, a) as sender, log_in(server, a, wire.IOS) as sender_phone,
              log_in(server, b) as pc, log_in(server, b, wire.ANDROID) as phone):
            pc.read(a.id, 4, user_id=a.id)  # whoever it names
            expect_read_notify(phone, a.id, 4)
            require_equal(pc.unread_counts(), {c.id: 1}, "unread after reading A")
            phone.read(c.id, 1)
            expect_read_notify(pc, c.id, 1)
            require_equal(phone.unread(), {}, "unread after reading all")
            for again in (4, 1, 0, 0xFFFFFFFF):  # the cursor does not move any more
                pc.read(a.id, again)
            for client in (sender, sender_phone, pc, phone):
                client.expect_nothing(0.15)
            require_equal(sender.say(b.id, b"one more"), 5, "msg_id")
            for device in (pc, phone):
                expect_push(device, a.id, b.id, b"one more", 5)
            sender_phone.hear(b"one more")
            require_equal(pc.unread_counts(), {a.id: 1}, "a cursor beyond the newest is one at the newest")
            phone.read(a.id, 0xFFFFFFFF)
            expect_read_notify(pc, a.id, 5)
            require_equal(pc.unread(), {}, "unread at last")
            for client in (sender, sender_phone, pc, phone):
                client.expect_nothing(0)

    for_each_placing(server, check)


@row("U5")
def partial_read(ctx):
    server = ctx.shared()

    def check(a, b):
        texts = texts_of(server, a, b, 5)
        with log_in(server, b) as reader, log_in(server, b, wire.IOS) as other:
            reader.read(a.id, 3)
            expect_read_notify(other, a.id, 3)
            require_entry(reader.unread()[a.id], 2, 5, texts[-1], a.id)
            reader.read(a.id, 2)  # never backwards
            require_equal(reader.unread_counts(), {a.id: 2}, "after an older 0x0303")
            other.expect_nothing(0.1)
            reader.read(a.id, 0)
            expect_read_notify(other, a.id, 5)
            require_equal(reader.unread(), {}, "after msg_id 0")
            reader.read(a.id, 0)
            reader.expect_nothing(0.1)
            other.expect_nothing(0)

    for_each_placing(server, check)


@row("U6")
def no_echo_loop(ctx):
    """Both devices answer every 0x0304 with 0x0303, as iOS does."""
    server = ctx.shared()

    def play(devices, seconds):
        """Lets them answer each other; returns how many 0x0304 each got."""
        heard = [0] * len(devices)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for i, device in enumerate(devices):
                got = device.next_frame(time.monotonic() + 0.02)
                if got is None or got.command != wire.READ_NOTIFY:
                    require(got is None, f"beside 0x0304: {got!r}")
                    continue
                heard[i] += 1
                device.send(wire.READ_ACK, seq=0, user_id=0, session_id=got["session_id"],
                            msg_id=got["msg_id"], session_type=got["session_type"])
        return heard

    def check(a, b):
        texts_of(server, a, b, 9)
        with log_in(server, b) as pc, log_in(server, b, wire.IOS) as phone:
            for what, moves, allowed in (
                    ("one device reads", [(pc, 3)], {(0, 1)}),
                    ("both read the same", [(pc, 5), (phone, 5)], {(0, 1), (1, 0)}),
                    ("both read, not as far", [(pc, 6), (phone, 8)], {(1, 1), (1, 0)}),
                    ("msg_id 0", [(phone, 0)], {(1, 0)})):
                for device, msg_id in moves:
                    device.send(wire.READ_ACK, seq=0, user_id=0, session_id=a.id, msg_id=msg_id,
                                session_type=wire.SINGLE)
                heard = play((pc, phone), 0.5)
                require(tuple(heard) in allowed, f"{what}: PC and phone heard {heard} 0x0304")
            require_equal(pc.unread(), {}, "unread at last")

    for_each_placing(server, check)


@row("U7", slow=True)
def counters_survive(ctx):
    """Orderly restart, kill -9 (a cursor is durable within 1 s), another number of shards."""
    with ctx.server(RESTART_CONFIG, label="U7") as server:
        users = server.make_users(6)
        reader = users[0]
        for n, author in enumerate(users[1:], 1):
            texts_of(server, author, reader, 3 * n)
        with log_in(server, reader) as client:
            for n, author in enumerate(users[1:], 1):
                client.read(author.id, n)
            require_equal(client.remove_session(users[5].id), 0, "result of 0x0206")
            wanted, listed = client.unread(), client.sessions()
            require_equal({author.id: wanted[author.id]["unread_cnt"] for author in users[1:5]},
                          {author.id: 2 * n for n, author in enumerate(users[1:5], 1)}, "unread")
            require(users[5].id not in wanted and users[5].id not in listed, "a removed session")
        moved = 0
        for kill, shards in ((False, None), (True, None), (True, ctx.shards % 4 + 1), (False, ctx.shards)):
            time.sleep(1.3 if kill else 0)
            server.restart(kill=kill, shards=shards)
            with log_in(server, reader) as client, log_in(server, reader, wire.IOS) as other:
                what = f"after {'kill -9' if kill else 'restart'}, {server.shards} shards"
                require_equal(client.unread(), wanted, f"0x0308 {what}")
                require_equal(client.sessions(), listed, f"0x0202 {what}")
                client.read(users[4].id, 4 + moved)  # where the cursor is: it does not move
                other.expect_nothing(0.1)
                moved += 1
                client.read(users[4].id, 4 + moved)
                expect_read_notify(other, users[4].id, 4 + moved)
                wanted = client.unread()
                require_equal(wanted[users[4].id]["unread_cnt"], 8 - moved, f"unread {what}")
    return "2 restarts, 2 kills, another shard count"


# ---- 8. sessions ---------------------------------------------------------------------------------

@row("H1", slow=True)
def recent_list(ctx):
    """105 conversations: 100 newest; the row's content, order, stamp; nothing of those never begun."""
    server = ctx.shared()
    a, *peers, silent = server.make_users(107)
    with log_in(server, a) as client:
        require_equal(client.sessions(), {}, "sessions of a new user")

        def tell(them):
            seqs = [client.send_text(peer.id, b"to %d" % peer.id) for peer in them]
            for seq in seqs:
                client.ack_of(seq)

        tell(peers[:10])
        listed = client.sessions()
        require_equal(set(listed), {peer.id for peer in peers[:10]}, "the first ten")
        for peer in peers[:10]:
            entry = listed[peer.id]
            require_equal((entry["latest_msg_id"], entry["latest_msg_data"], entry["latest_msg_type"],
                           entry["latest_msg_from_user_id"]),
                          (1, b"to %d" % peer.id, wire.TEXT, a.id), "newest message, true author")
            require_now(entry["updated_time"], "updated_time", 10)
        first = max(entry["updated_time"] for entry in listed.values())
        require_equal(client.sessions(since=first), {}, "rows after the newest")
        time.sleep(max(0.0, first + 1.05 - time.time()))
        tell(peers[10:])
        newer = {peer.id for peer in peers[10:]}
        listed = client.sessions()
        require_equal(len(listed), 100, "sessions listed of 105")
        require_equal(newer - set(listed), set(), "newer ones that older ones displaced")
        require_equal(set(client.sessions(since=first)), newer, "only rows updated after the stamp")
        for late in (int(time.time()) + 1000, 0xFFFFFFFF):
            require_equal(client.sessions(since=late), {}, f"since {late}")
        newest = max(entry["updated_time"] for entry in listed.values())
        time.sleep(max(0.0, newest + 1.05 - time.time()))
        with log_in(server, peers[0]) as peer:  # the other's message brings it up, too
            require_equal(set(peer.sessions()), {a.id}, "the other side's list")
            require_equal(peer.say(a.id, b"an answer"), 2, "msg_id")
        client.hear(b"an answer")
        [(peer_id, entry)] = client.sessions(since=newest).items()
        require_equal((peer_id, entry["latest_msg_id"], entry["latest_msg_data"],
                       entry["latest_msg_from_user_id"]),
                      (peers[0].id, 2, b"an answer", peers[0].id), "the one with news")
        require_equal(next(iter(client.sessions())), peers[0].id, "the newest is first")
        require_equal(client.sessions(user_id=silent.id), client.sessions(), "another user_id")
    with log_in(server, silent) as client:
        require_equal(client.sessions(), {}, "sessions of one who never talked")


@row("H2")
def two_directions(ctx):
    server = ctx.shared()

    def check(a, b):
        texts_of(server, b, a, 1, b"hello")
        with (log_in(server, a) as pc, log_in(server, a, wire.ANDROID) as phone,
              log_in(server, b) as peer):
            for turn in range(2):
                require_equal(pc.remove_session(b.id, user_id=b.id), 0, "result_code of 0x0207")
                got = phone.expect(wire.REMOVE_SESSION_NOTIFY)
                require_equal(got.fields, {"user_id": a.id, "session_type": wire.SINGLE,
                                           "session_id": b.id}, "0x020f")
                require(b.id not in pc.sessions(), "A's list still has B")
                require(a.id in peer.sessions(), "B's list lacks A")
                require_equal(pc.remove_session(b.id), 1, "result_code of the repeat")
                for client in (pc, phone, peer):
                    client.expect_nothing(0.1)
                text = b"again %d" % turn
                if turn == 0:  # revived from the other side, then from one's own
                    msg_id = peer.say(a.id, text)
                    for device in (pc, phone):
                        expect_push(device, b.id, a.id, text, msg_id)
                else:
                    msg_id = pc.say(b.id, text)
                    expect_push(phone, a.id, b.id, text, msg_id)
                    expect_push(peer, a.id, b.id, text, msg_id)
                require_equal(pc.sessions()[b.id]["latest_msg_data"], text, "A's list shows B again")
                require_equal(peer.sessions()[a.id]["latest_msg_data"], text, "B's list")
            require_equal([m["msg_id"] for m in pc.list(b.id)], [3, 2, 1], "the history stays")
            for strange in (*STRANGE_IDS, a.id):
                require_equal(pc.remove_session(strange), 1, f"removal of {strange}")
            require_equal(pc.remove_session(b.id, wire.GROUP), 1, "removal of a group that is none")
            for client in (pc, phone, peer):
                client.expect_nothing(0)

    for_each_placing(server, check)


@row("H3")
def removal_clears_unread(ctx):
    server = ctx.shared()

    def check(a, b):
        [c] = server.make_users(1)
        texts_of(server, b, a, 2)
        texts_of(server, c, a, 1)
        with log_in(server, a) as client:
            require_equal(client.unread_counts(), {b.id: 2, c.id: 1}, "unread before")
            require_equal(client.remove_session(b.id), 0, "result of 0x0206")
            require_equal(client.unread_counts(), {c.id: 1}, "unread after")
        texts_of(server, b, a, 1, b"later")
        with log_in(server, a) as client:
            require_equal(client.unread_counts(), {b.id: 1, c.id: 1}, "unread after a new message")
            require(b.id in client.sessions(), "the session is there again")

    for_each_placing(server, check)


# ---- 8. history ----------------------------------------------------------------------------------

@row("H7")
def by_ids_and_latest_id(ctx):
    server = ctx.shared()

    def ids(entries):
        return [entry["msg_id"] for entry in entries]

    def check(a, b):
        [c] = server.make_users(1)
        with log_in(server, a) as one, log_in(server, b) as two, log_in(server, c) as stranger:
            require_equal((one.latest_id(b.id), one.by_id(b.id, [1, 2])), (0, []), "before the first")
            texts = [b"text %d" % n for n in range(1, 151)]
            seqs = [one.send_text(b.id, text) for text in texts]
            for seq in seqs:
                one.ack_of(seq)
            two.forget(wire.MSG_DATA)
            for client, peer in ((one, b), (two, a)):
                found = client.by_id(peer.id, [3, 1, 999])
                require_equal([(m["msg_id"], m["msg_data"], m["from_session_id"], m["msg_type"])
                               for m in found],
                              [(3, texts[2], a.id, wire.TEXT), (1, texts[0], a.id, wire.TEXT)],
                              "0x030d [3, 1, 999]")
                require_equal(client.latest_id(peer.id), 150, "0x030b")
                require_equal(client.latest_id(peer.id, user_id=c.id), 150, "0x030b, another user_id")
                for asked, wanted in (([], []), ([0], []), ([0xFFFFFFFF, 0, 151], []), ([7], [7]),
                                      ([5, 5, 5, 2, 5], [5, 2]), ([150, 1, 75], [150, 75, 1]),
                                      ([0xFFFFFFFF, 150, 0], [150]),
                                      (list(range(1, 101)), list(range(100, 0, -1)))):
                    require_equal(ids(client.by_id(peer.id, asked)), wanted, f"0x030d {asked[:5]}")
                require_equal(len(client.by_id(peer.id, range(1, 151))), 100, "of 150 asked")
                for strange in (*STRANGE_IDS, client.user_id):
                    require_equal((client.latest_id(strange), client.by_id(strange, [1, 2])), (0, []),
                                  f"with {strange}")
                require_equal((client.latest_id(peer.id, wire.GROUP),
                               client.by_id(peer.id, [1], wire.GROUP)), (0, []), "as a group")
            for peer in (a, b):
                require_equal((stranger.latest_id(peer.id), stranger.by_id(peer.id, [1, 2, 3])), (0, []),
                              "C looks in")

    for_each_placing(server, check)


def fits_well(got):
    """An answer that was cut: below 400 KiB, and not for want of trying."""
    require(len(got.raw) <= wire.ANSWER_BYTES_MAX, f"{got!r} has {len(got.raw)} bytes")
    require(len(got.raw) >= wire.ANSWER_BYTES_MAX * 3 // 4, f"{got!r} has only {len(got.raw)} bytes")


@row("H8", slow=True)
def answer_size(ctx):
    """Also of 0x030e, 0x0202 and 0x0308, whose newest entries that fit are listed."""
    rng = random.Random(8)
    config = {"limits": {"sends_per_second": 0, "requests_per_second": 0}}
    with ctx.server(config, label="H8") as server:
        a, b, *many = server.make_users(44)
        sounds = [b"\0\0\0\x1e" + rng.randbytes(30 * 1024) for _ in range(100)]
        with log_in(server, a) as sender:
            for sound in sounds:
                sender.say(b.id, sound, wire.SOUND)
        with log_in(server, b) as reader:
            require_equal([m["msg_data"] for m in reader.pull_all(a.id)], sounds, "history, asking on")
            got = reader.ask(wire.LIST_REQ, session_type=wire.SINGLE, session_id=a.id, msg_id_begin=0,
                             msg_cnt=100)
            fits_well(got)
            got = reader.ask(wire.BY_ID_REQ, session_type=wire.SINGLE, session_id=a.id,
                             msg_id_list=list(range(1, 101)))
            fits_well(got)
            found, left = {}, set(range(1, 101))
            while left:
                page = reader.by_id(a.id, left)
                require(page, f"nothing of {len(left)} ids that exist")
                require_equal({m["msg_id"] for m in page}, set(sorted(left)[-len(page):]),
                              "the newest that fit")
                found |= {m["msg_id"]: m["msg_data"] for m in page}
                left -= set(found)
            require_equal([found[n] for n in range(1, 101)], sounds, "by ids, asking on")
            big = "💬".encode() * 4096
            for n, author in enumerate(many):
                with log_in(server, author) as sender:
                    sender.say(b.id, big)
                if n == 20:
                    time.sleep(1.05)  # the order of the list is by seconds
            reader.forget(wire.MSG_DATA)
            got = reader.ask(wire.SESSIONS_REQ, latest_update_time=0)
            fits_well(got)
            sessions = reader.sessions()
            missing = {author.id for author in many[21:]} - set(sessions)
            require_equal(missing, set(), "newer sessions displaced by older ones")
            fits_well(reader.ask(wire.UNREAD_REQ))
            unread = reader.unread()  # total_cnt sums those listed
            require(len(unread) >= 20, f"{len(unread)} entries of 0x0308")
            rounds = 0
            while unread:  # what is read makes room for the rest
                for peer in unread:
                    reader.read(peer, 0)
                unread = reader.unread()
                rounds += 1
            require(rounds >= 2, "0x0308 showed 43 entries of 16 KiB at once")


@row("H11", slow=True)
def cold_storage(ctx):
    """Messages of sealed segments, identical after restarts, by 0x0309, 0x030d, 0x030b and in the lists.

    0x2108 belongs to its own row.
    """
    rng = random.Random(11)
    with ctx.server(RESTART_CONFIG | {"limits": {"sends_per_second": 0, "requests_per_second": 0}},
                    label="H11") as server:
        a, b, c, d = server.make_users(4)
        wanted = []
        with log_in(server, a) as one, log_in(server, b) as two, log_in(server, c) as filler:
            for n in range(200):
                sender, other = (one, b) if n % 3 else (two, a)
                if n % 20 == 7:
                    data, kind = b"\0\0\0\x05" + rng.randbytes(rng.randint(1, 100_000)), wire.SOUND
                else:
                    data, kind = marked_body(sender.user_id, n, rng.choice((0, 100, 4000))), wire.TEXT
                require_equal(sender.say(other.id, data, kind), n + 1, "msg_id")
                wanted.append((n + 1, sender.user_id, kind, data))
            for n in range(400):  # pushes the conversation out of whatever is kept warm
                filler.say(d.id, marked_body(c.id, n, 4000))
        stamps = None
        for kill, shards in ((False, None), (True, None), (False, ctx.shards % 4 + 1), (True, ctx.shards)):
            server.restart(kill=kill, shards=shards)
            what = f"after {'kill -9' if kill else 'restart'}, {server.shards} shards"
            with log_in(server, a) as one, log_in(server, b) as two:
                for client, peer in ((one, b), (two, a)):
                    history = client.pull_all(peer.id)
                    require_equal([(m["msg_id"], m["from_session_id"], m["msg_type"], m["msg_data"])
                                   for m in history], wanted, f"0x0309 {what}")
                    times = [m["create_time"] for m in history]
                    stamps = stamps or times
                    require_equal(times, stamps, f"create_time {what}")
                    asked = rng.sample(range(1, 201), 40)
                    require_equal([(m["msg_id"], m["from_session_id"], m["msg_type"], m["msg_data"])
                                   for m in client.by_id(peer.id, asked)][::-1],
                                  [wanted[n - 1] for n in sorted(asked)], f"0x030d {what}")
                    require_equal(client.latest_id(peer.id), 200, f"0x030b {what}")
                    entry = client.sessions()[peer.id]
                    require_equal((entry["latest_msg_id"], entry["latest_msg_from_user_id"]),
                                  (200, wanted[-1][1]), f"0x0202 {what}")
                    count = sum(author == peer.id for _id, author, _kind, _data in wanted)
                    require_equal(client.unread_counts(), {peer.id: count}, f"0x0308 {what}")


# ---- 5. sound and pictures -----------------------------------------------------------------------

@row("S11")
def sound(ctx):
    server = ctx.shared()
    rng = random.Random(12)

    def check(a, b):
        sounds = [b"\0\0\0\1s", b"\0\0\0\x07" + rng.randbytes(5000), b"\xff\xff\xff\xff" + b"\0" * 4096]
        with (log_in(server, a) as sender, log_in(server, a, wire.IOS) as own,
              log_in(server, b) as peer, log_in(server, b, wire.ANDROID) as phone):
            for n, data in enumerate(sounds, 1):
                require_equal(sender.say(b.id, data, wire.SOUND), n, "msg_id")
                for device in (own, peer, phone):
                    expect_push(device, a.id, b.id, data, n, wire.SOUND)
            for client, other in ((sender, b), (peer, a)):
                require_equal([(m["msg_type"], m["msg_data"]) for m in client.pull_all(other.id)],
                              [(wire.SOUND, data) for data in sounds], "history")
                require_equal([m["msg_data"] for m in client.by_id(other.id, [1, 3])],
                              [sounds[2], sounds[0]], "by ids")
                entry = client.sessions()[other.id]
                require_equal((entry["latest_msg_type"], entry["latest_msg_data"]),
                              (wire.SOUND, wire.SOUND_PLACEHOLDER), "0x0202 shows the placeholder")
            require_entry(peer.unread()[a.id], 3, 3, wire.SOUND_PLACEHOLDER, a.id, wire.SOUND)
            sender.say(b.id, b"and a text")
            require_equal(peer.sessions()[a.id]["latest_msg_data"], b"and a text", "the text after it")

    for_each_placing(server, check)


# A picture's marker as such, and encrypted under the default key: alone, and with text and another one.
PICTURES = (
    "&$#@~^@[{:http://127.0.0.1:8700/g0/000/001/1637_100x80.png:}]&$~@#@".encode(),
    b"dgjzZcuwYVvgiMtBlzoa8eN8fHjZTwqiCiw3dkhroNkWX9Tdb2U6LMJKI/Io8n7bHCWC/Fq8Lw/h1mQj+UiWzX/2hXvZLevQ"
    b"wa7LsHDboHY=",
    b"QbJukNPSnKLUsJhzZcsNqcKtOBI5Q3ZKZcrz7xLiGWvihGrY3S7vmKYtSppqhkocFZxFkiGhwtM+0VhLvTM8qGHiAqLJtCmg"
    b"JicOURSUZxisXSFplQoEbaH353BIGSIOuLVW5zgKm9JwNEx89JGu8EgIPlQMs6TGKah9Yo2ItW4=",
)


@row("S12")
def picture_text(ctx):
    """Markers pass unchanged everywhere; the push text belongs to the push rows."""
    server = ctx.shared()

    def check(a, b):
        with log_in(server, a) as sender, log_in(server, b) as peer:
            for n, data in enumerate(PICTURES, 1):
                require_equal(sender.say(b.id, data), n, "msg_id")
                expect_push(peer, a.id, b.id, data, n)
                require_entry(peer.unread()[a.id], n, n, data, a.id)
                require_equal(sender.sessions()[b.id]["latest_msg_data"], data, "0x0202")
            require_equal([m["msg_data"] for m in peer.pull_all(a.id)], list(PICTURES), "history")

    for_each_placing(server, check)
    return "without push text"
