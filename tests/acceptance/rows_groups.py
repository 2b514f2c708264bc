"""Rows G1-G4, G7, R1-R7 (groups) and U2, U3g-U5g, H1g, H3g, H4, H5g, H6, H7g, S10g of spec/features.md.

Each function is one row; its text says what the row demands where the code does not. "Members" are
placed on one shard and scattered over different ones; where a group itself lives is not visible, so rows
make a group for each placing. Large groups and races are in rows_group_load.py, misuse in bad_groups.py.
"""

import json
import random
import time

import groups
import wire
from checks import RESTART_CONFIG, UNKNOWN_USER, expect_push
from client import Failure, log_in, require, require_equal
from groups import expect_change, ids_of, require_changed
from placing import for_each_members
from registry import row

STRANGE_IDS = (0, UNKNOWN_USER, 0xFFFFFFFF)


def quiet(*clients, seconds=0.15):
    """Nothing reaches any of them."""
    for n, client in enumerate(clients):
        client.expect_nothing(seconds if n == 0 else 0)


def require_group_entry(entry, count, newest, data, author, kind=wire.GROUP_TEXT):
    require(entry is not None, "no entry of the group in 0x0308")
    require_equal(
        (entry["session_type"], entry["unread_cnt"], entry["latest_msg_id"], entry["latest_msg_data"],
         entry["latest_msg_type"], entry["latest_msg_from_user_id"]),
        (wire.GROUP, count, newest, data, kind, author.id), "entry of 0x0308")


def texts(tag, count, first=1):
    return [b"%s %d" % (tag, n) for n in range(first, first + count)]


def group_of(server, creator, *others, kind=wire.TEMPORARY):
    return groups.admin_create(server, [creator, *others], creator, kind)


def offline_texts(server, author, group, count, tag=b"text"):
    """The author logs in with a phone, writes and leaves; the texts."""
    said = texts(tag, count)
    with log_in(server, author, wire.IOS) as sender:
        groups.say_many(sender, group, said)
    return said


# ---- 6. group chat -------------------------------------------------------------------------------

@row("G1")
def send_to_a_group(ctx):
    """Identity, time and id are the server's; a stranger and the sending connection get nothing."""
    server = ctx.shared()

    def check(a, b, c, d):
        for kind in (wire.TEMPORARY, wire.NORMAL):
            group = group_of(server, a, b, c, kind=kind)
            with (log_in(server, a) as pc, log_in(server, a, wire.ANDROID) as own, log_in(server, b) as b_pc,
                  log_in(server, b, wire.IOS) as b_phone, log_in(server, c) as other,
                  log_in(server, d) as stranger):
                everybody = (pc, own, b_pc, b_phone, other, stranger)
                n = 0
                for author, sender in ((a, pc), (a, own), (b, b_phone), (c, other)):
                    for seq, fields in ((1, {}), (0xFF01, {"from_user_id": d.id, "create_time": 1}),
                                        (0xFFFF, {"msg_id": 999}), (0, {"attach_data": b"\0" * 24}),
                                        (77, {"from_user_id": 0, "create_time": 0xFFFFFFFF})):
                        n += 1
                        text = b"kind %d text %d" % (kind, n)
                        sender.send_text(group, text, seq=seq, kind=wire.GROUP_TEXT, **fields)
                        got = sender.expect(wire.MSG_ACK, seq=seq)
                        require_equal(got.fields, {"user_id": author.id, "session_id": group, "msg_id": n,
                                                   "session_type": wire.GROUP}, "0x0302")
                        for device in (pc, own, b_pc, b_phone, other):
                            if device is not sender:
                                expect_push(device, author.id, group, text, n, wire.GROUP_TEXT)
                quiet(*everybody)
                history = [(m["msg_id"], m["from_session_id"], m["msg_type"])
                           for m in groups.pull(b_pc, group)]
                wanted = [(i, (a, a, b, c)[(i - 1) // 5].id, wire.GROUP_TEXT) for i in range(1, n + 1)]
                require_equal(history, wanted, "history of B")
                # Receivers acknowledge, or not, each in the form of its client: no answer to anybody.
                for user_id, session_id in ((b.id, group), (0, group), (a.id, b.id)):
                    b_pc.send(wire.MSG_ACK, seq=0, user_id=user_id, session_id=session_id, msg_id=n,
                              session_type=wire.GROUP)
                quiet(*everybody)

    for_each_members(server, 4, check)


@row("G2")
def not_a_member(ctx):
    """A stranger, one who was removed, one who left, a dismissed group, an absent one: nothing at all.

    After hello each gets the same 0x2003.
    """
    server = ctx.shared()

    def check(a, b, c, d):
        group = group_of(server, a, b, c)
        gone = group_of(server, a, b, c, d)
        groups.admin_dismiss(server, gone)
        groups.admin_change(server, group, remove=[c])
        with (log_in(server, a) as creator, log_in(server, b) as member, log_in(server, c) as former,
              log_in(server, d) as stranger):
            require_equal(groups.say(creator, group, b"before"), 1, "msg_id")
            expect_push(member, a.id, group, b"before", 1, wire.GROUP_TEXT)
            tries = [(stranger, group), (former, group), (stranger, gone), (creator, gone), (member, gone)]
            tries += [(member, strange) for strange in STRANGE_IDS]
            for sender, to in tries:
                for kind, data in ((wire.GROUP_TEXT, b"text"), (wire.GROUP_SOUND, b"\0\0\0\1sound")):
                    sender.send_text(to, data, kind=kind)
                    sender.send_text(to, data, kind=kind, from_user_id=a.id)
                    sender.heartbeat()
            quiet(creator, member, former, stranger)
            refusals = set()
            for sender, to in tries:
                sender.ask(wire.HELLO_REQ, ext_version=1, features=0)
                seq = sender.send_text(to, b"text", kind=wire.GROUP_TEXT)
                got = sender.expect(wire.EXT_ERROR, seq=seq)
                require_equal((got["command"], got["seq"]), (wire.MSG_DATA, seq), "what 0x2003 refuses")
                refusals.add((got["result_code"], got.fields.get("text"), got.fields.get("retry_after_ms")))
            require_equal(len(refusals), 1, f"a refusal tells why it was refused: {refusals}")
            require_equal(groups.say(creator, group, b"after"), 2, "id after the refused ones")
            expect_push(member, a.id, group, b"after", 2, wire.GROUP_TEXT)
            quiet(creator, member, former, stranger)

    for_each_members(server, 4, check)


def exchange(members, group, count, tag, newest=0):
    """All members write in turn, in windows of 30; ids follow, the same for all, in order at each."""
    for start in range(0, count, 30):
        window = range(start, min(start + 30, count))
        said = {}
        for i in window:
            sender = members[i % len(members)]
            said[sender, sender.send_text(group, b"%s %d" % (tag, i), kind=wire.GROUP_TEXT)] = i
        ids = {}
        for (sender, seq), i in said.items():
            msg_id = sender.ack_of(seq)
            require(msg_id not in ids, f"id {msg_id} given twice")
            ids[msg_id] = (sender.user_id, b"%s %d" % (tag, i))
        require_equal(sorted(ids), list(range(newest + 1, newest + len(window) + 1)), "ids of a window")
        for client in members:
            others = {n: one for n, one in ids.items() if one[0] != client.user_id}
            came = groups.hear_many(client, group, len(others))
            require_equal([n for n, _author, _data in came], sorted(others), "order of delivery")
            require_equal({n: (author, data) for n, author, data in came}, others, "what came under them")
        newest += len(window)
    return newest


@row("G3", slow=True)
def group_ids(ctx):
    """1000 messages of three members: ids 1…1000, the same for all, over a restart and a kill -9."""
    with ctx.server(RESTART_CONFIG, label="G3") as server:
        def check(*users):
            group = group_of(server, *users)
            newest = 0
            for part, count in enumerate((400, 300, 300)):
                clients = [log_in(server, user) for user in users]
                newest = exchange(clients, group, count, b"part %d" % part, newest)
                histories = [[(m["msg_id"], m["from_session_id"], m["create_time"], m["msg_data"])
                              for m in groups.pull(client, group)] for client in clients]
                require(histories[0] == histories[1] == histories[2], "histories of the members differ")
                require_equal(len(histories[0]), newest, "messages stored")
                times = [one[2] for one in histories[0]]
                require_equal(times, sorted(times), "create_time falls with the id")
                for client in clients:
                    client.expect_nothing(0)
                    client.close()
                if part < 2:
                    server.restart(kill=part == 1)
        for_each_members(server, 3, check)


@row("G4")
def group_sound(ctx):
    """S11 in a group: unchanged everywhere, a placeholder in the lists; wrong lengths are refused."""
    server = ctx.shared()
    rng = random.Random(14)

    def check(a, b, c):
        group = group_of(server, a, b, c)
        sounds = [b"\0\0\0\1s", b"\0\0\0\x07" + rng.randbytes(5000), b"\xff" * 4 + b"\0" * 4096,
                  b"\0\0\0\x3c" + rng.randbytes(wire.SOUND_BYTES_MAX - 4)]
        with (log_in(server, a) as sender, log_in(server, a, wire.IOS) as own, log_in(server, b) as peer,
              log_in(server, b, wire.ANDROID) as phone):
            for n, data in enumerate(sounds, 1):
                require_equal(groups.say(sender, group, data, wire.GROUP_SOUND), n, "msg_id")
                for device in (own, peer, phone):
                    expect_push(device, a.id, group, data, n, wire.GROUP_SOUND)
            for bad in (b"", b"\0\0\0\1", sounds[3] + b"x"):
                sender.send_text(group, bad, kind=wire.GROUP_SOUND)
            quiet(sender, own, peer, phone)
            for client in (sender, peer):
                require_equal([(m["msg_type"], m["msg_data"]) for m in groups.pull(client, group)],
                              [(wire.GROUP_SOUND, data) for data in sounds], "history")
                require_equal([m["msg_data"] for m in client.by_id(group, [1, 3], wire.GROUP)],
                              [sounds[2], sounds[0]], "by ids")
                entry = groups.session(client, group)
                require_equal((entry["latest_msg_type"], entry["latest_msg_data"]),
                              (wire.GROUP_SOUND, wire.SOUND_PLACEHOLDER), "0x0202 shows the placeholder")
            require_group_entry(groups.unread(peer, group), 4, 4, wire.SOUND_PLACEHOLDER, a,
                                wire.GROUP_SOUND)
            groups.say(sender, group, b"and a text")
            require_equal(groups.session(peer, group)["latest_msg_data"], b"and a text", "the text after it")
        with log_in(server, c) as late:
            require_equal([m["msg_data"] for m in groups.pull(late, group)][:4], sounds, "history of C")

    for_each_members(server, 3, check)


@row("G7")
def join_time(ctx):
    """Who is added sees the messages after it alone, none of the same second; again after a re-addition."""
    server = ctx.shared()

    def check(a, b, c):
        group = group_of(server, a, b)
        with log_in(server, a) as sender, log_in(server, b) as member, log_in(server, c) as new:
            newest, version = 0, 1
            for turn, by in enumerate(("creator", "member", "operator")):
                newest = groups.say_many(sender, group, texts(b"before %d" % turn, 5))[-1]
                member.forget(wire.MSG_DATA)
                if by == "operator":
                    version, changed = groups.admin_change(server, group, add=[c])
                    require_equal(changed, [c.id], "changed, as the operator sees it")
                else:
                    groups.change({"creator": sender, "member": member}[by], wire.ADD, group, [c])
                new.expect(wire.MEMBERS_NOTIFY)
                first = newest + 1
                require_equal(groups.admin_members(server, group)[c.id]["first_message"], first,
                              "first id that C may see")
                require_equal((groups.session(new, group), groups.unread(new, group)), (None, None),
                              "a group that shows nothing yet")
                require_equal((new.latest_id(group, wire.GROUP), new.list(group, kind=wire.GROUP),
                               new.by_id(group, range(1, first), wire.GROUP)), (0, [], []),
                              "nothing of what was before")
                said = texts(b"after %d" % turn, 3)
                newest = groups.say_many(sender, group, said)[-1]
                require_equal([data for _n, _by, data in groups.hear_many(new, group, 3)], said, "delivered")
                for begin in (0, newest, 0xFFFFFFFF):
                    require_equal([m["msg_data"] for m in new.list(group, begin, kind=wire.GROUP)],
                                  said[::-1], f"history from {begin}")
                for begin in (first - 1, 1):
                    require_equal(new.list(group, begin, kind=wire.GROUP), [], f"history from {begin}")
                require_equal([m["msg_id"] for m in new.by_id(group, range(1, newest + 3), wire.GROUP)],
                              list(range(newest, first - 1, -1)), "by ids")
                require_equal(new.latest_id(group, wire.GROUP), newest, "latest id")
                require_group_entry(groups.unread(new, group), 3, newest, said[-1], a)
                require_equal(groups.session(new, group)["latest_msg_id"], newest, "0x0202")
                groups.change(sender, wire.REMOVE, group, [c])
                new.expect(wire.MEMBERS_NOTIFY)
                require_equal(groups.unseen(new, group), groups.NOTHING, "what is left for C")
                for client in (sender, member):
                    client.forget(wire.MSG_DATA, wire.MEMBERS_NOTIFY)
            quiet(sender, member, new)

    for_each_members(server, 3, check)


@row("S10g")
def repeats_in_a_group(ctx):
    """S10 in a group: equal seq, target and text is one message; client_msg_id holds over a kill -9."""
    with ctx.server(RESTART_CONFIG, label="S10g") as server:
        a, b = server.make_users(2)
        group, other = group_of(server, a, b), group_of(server, a, b)

        def again(client, wanted, text, seq, to=None, **fields):
            client.send_text(to or group, text, seq=seq, kind=wire.GROUP_TEXT, **fields)
            require_equal(client.ack_of(seq), wanted, f"id of {text!r} seq {seq}")

        sender, peer = log_in(server, a), log_in(server, b)
        for _ in range(3):
            again(sender, 1, b"once", 7)
        again(sender, 2, b"once", 8)
        again(sender, 1, b"once", 7, other)
        again(sender, 3, b"keyed", 9, client_msg_id="key")
        again(sender, 3, b"keyed", 10, client_msg_id="key")
        for bad in ((group, b"other body"), (other, b"keyed")):
            sender.send_text(*bad, seq=11, kind=wire.GROUP_TEXT, client_msg_id="key")
        sender.expect_nothing(0.2)
        require_equal([n for n, _a, _d in groups.hear_many(peer, group, 3)], [1, 2, 3], "delivered once")
        require_equal(len(groups.hear_many(peer, other, 1)), 1, "the other group")
        quiet(peer)
        sender.close()
        peer.close()
        server.restart(kill=True)
        with log_in(server, a) as sender, log_in(server, b) as peer:
            again(sender, 1, b"once", 7)
            again(sender, 3, b"keyed", 12, client_msg_id="key")
            again(sender, 4, b"new", 13)
            require_equal([n for n, _a, _d in groups.hear_many(peer, group, 1)], [4], "after the kill")
            require_equal(len(groups.pull(peer, group)), 4, "messages stored")


# ---- 7. unread and read --------------------------------------------------------------------------

@row("U2")
def group_counter(ctx):
    """B and C offline, A sends 5: 5 for each, 0 for A; each reads for himself."""
    server = ctx.shared()

    def check(a, b, c):
        group = group_of(server, a, b, c)
        said = offline_texts(server, a, group, 5)
        with log_in(server, b) as reader, log_in(server, c) as other:
            for client in (reader, other):
                require_group_entry(groups.unread(client, group), 5, 5, said[-1], a)
            reader.read(group, 5, wire.GROUP)
            require_equal(groups.unread(reader, group), None, "unread of B after reading")
            require_equal(groups.unread_count(other, group), 5, "unread of C, who did not")
            said = offline_texts(server, a, group, 2, b"more")
            require_group_entry(groups.unread(reader, group), 2, 7, said[-1], a)
            require_group_entry(groups.unread(other, group), 7, 7, said[-1], a)
            single = offline_single(server, a, b)
            require_equal({key: one["unread_cnt"] for key, one in reader.unread_all().items()},
                          {(wire.GROUP, group): 2, (wire.SINGLE, a.id): single}, "both kinds counted")
        with log_in(server, a) as sender:
            require_equal(sender.unread_all(), {}, "unread of A, who only wrote")

    for_each_members(server, 3, check)


def offline_single(server, author, to, count=3):
    with log_in(server, author, wire.IOS) as sender:
        for n in range(count):
            sender.say(to.id, b"single %d" % n)
    return count


@row("U3g")
def sender_has_read(ctx):
    """In a group sending counts as reading, on all of the author's devices; 0x0304 may tell them."""
    server = ctx.shared()

    def check(a, b):
        group = group_of(server, a, b)
        offline_texts(server, a, group, 5)
        with log_in(server, b) as reader, log_in(server, b, wire.IOS) as phone:
            require_equal(groups.unread_count(reader, group), 5, "unread of B")
            require_equal(groups.say(reader, group, b"an answer"), 6, "msg_id")
            for client in (reader, phone):
                require_equal(groups.unread(client, group), None, "unread of B, who answered")
            offline_texts(server, a, group, 2, b"later")
            require_equal(groups.unread_count(phone, group), 2, "unread of B after two more")
        with log_in(server, a) as sender:
            require_equal(groups.unread(sender, group), None, "unread of A, who wrote last")
            require_equal(groups.admin_say(server, a, "by the operator", group=group)[0], 9, "msg_id")
        with log_in(server, b) as reader:
            require_equal(groups.unread_count(reader, group), 3, "unread of B, one by the operator's door")

    for_each_members(server, 2, check)


def expect_group_read(client, group, msg_id):
    got = client.expect(wire.READ_NOTIFY)
    require_equal(got.fields, {"user_id": client.user_id, "session_id": group, "msg_id": msg_id,
                               "session_type": wire.GROUP}, "0x0304")


@row("U4g")
def group_read_acknowledgement(ctx):
    """Only the reader's own other connections hear of it, once, and only if it moved."""
    server = ctx.shared()

    def check(a, b, c):
        group, second = group_of(server, a, b, c), group_of(server, a, b)
        offline_texts(server, a, group, 4)
        offline_texts(server, a, second, 1)
        with (log_in(server, a) as author, log_in(server, c) as third, log_in(server, b) as pc,
              log_in(server, b, wire.ANDROID) as phone):
            pc.read(group, 4, wire.GROUP, user_id=a.id)  # whoever it names
            expect_group_read(phone, group, 4)
            require_equal(set(pc.unread_all()), {(wire.GROUP, second)}, "unread after reading one")
            phone.read(second, 0, wire.GROUP)
            expect_group_read(pc, second, 1)
            require_equal(phone.unread_all(), {}, "unread after reading all")
            for again in (4, 1, 0, 0xFFFFFFFF):
                pc.read(group, again, wire.GROUP)
            pc.read(group, 4, wire.SINGLE)  # no conversation with a user of that number
            quiet(author, third, pc, phone)
            require_equal(groups.say(author, group, b"one more"), 5, "msg_id")
            for device in (pc, phone, third):
                expect_push(device, a.id, group, b"one more", 5, wire.GROUP_TEXT)
            require_equal(groups.unread_count(pc, group), 1, "a cursor beyond the newest is at it")
            phone.read(group, 0xFFFFFFFF, wire.GROUP)
            expect_group_read(pc, group, 5)
            require_equal(pc.unread_all(), {}, "unread at last")
            quiet(author, third, pc, phone)

    for_each_members(server, 3, check)


@row("U5g")
def partial_group_read(ctx):
    """5 unread, the 3rd read: 2 left; one's own messages never count, those before joining neither."""
    server = ctx.shared()

    def check(a, b, c):
        group = group_of(server, a, b)
        offline_texts(server, a, group, 2, b"before")
        groups.admin_change(server, group, add=[c])
        said = offline_texts(server, a, group, 5)  # ids 3…7
        with log_in(server, c) as reader, log_in(server, c, wire.IOS) as other:
            require_group_entry(groups.unread(reader, group), 5, 7, said[-1], a)
            reader.read(group, 1, wire.GROUP)  # below what he may see: joining has read that
            quiet(other)
            reader.read(group, 5, wire.GROUP)
            expect_group_read(other, group, 5)
            require_group_entry(groups.unread(reader, group), 2, 7, said[-1], a)
            reader.read(group, 4, wire.GROUP)
            require_equal(groups.unread_count(reader, group), 2, "never backwards")
            reader.read(group, 0, wire.GROUP)
            expect_group_read(other, group, 7)
            require_equal(groups.unread(reader, group), None, "after msg_id 0")
            quiet(reader, other)

    for_each_members(server, 3, check)


# ---- 8. sessions, history ------------------------------------------------------------------------

@row("H1g", slow=True)
def mixed_session_list(ctx):
    """Users and groups in one list, newest first, at most 100; a group shows once it has a message."""
    server = ctx.shared()
    a, b = server.make_users(2)
    peers = server.make_users(60)
    made = [group_of(server, a, b) for _ in range(60)]
    with log_in(server, a) as client, log_in(server, b) as other:
        require_equal((client.sessions_all(), other.sessions_all()), ({}, {}), "no rows for groups just made")
        order = []
        for n, (peer, group) in enumerate(zip(peers, made)):
            client.say(peer.id, b"to a user")
            groups.say(client if n % 2 else other, group, b"to group %d" % n)
            order += [(wire.SINGLE, peer.id), (wire.GROUP, group)]
            if n == 29:
                time.sleep(1.05)  # the order of the list is by seconds
        client.forget(wire.MSG_DATA)
        listed = client.sessions_all()
        require_equal(len(listed), 100, "sessions listed")
        require_equal(set(order[60:]) - set(listed), set(), "newer sessions displaced by older ones")
        for n, group in enumerate(made[30:], 30):
            entry = listed[wire.GROUP, group]
            require_equal((entry["latest_msg_id"], entry["latest_msg_data"], entry["latest_msg_type"],
                           entry["latest_msg_from_user_id"], entry["session_status"]),
                          (1, b"to group %d" % n, wire.GROUP_TEXT, (a if n % 2 else b).id, 0), "its row")
        newest = max(entry["updated_time"] for entry in listed.values())
        time.sleep(max(0.0, newest + 1.05 - time.time()))
        require_equal(client.sessions_all(since=newest), {}, "nothing since the newest")
        groups.say(other, made[0], b"again")
        client.hear(b"again")
        since = client.sessions_all(since=newest)
        require_equal({key: one["latest_msg_data"] for key, one in since.items()},
                      {(wire.GROUP, made[0]): b"again"}, "the one with news")
        require_equal(next(iter(client.sessions_all())), (wire.GROUP, made[0]), "the newest is first")
        require_equal(set(other.sessions_all()), {(wire.GROUP, group) for group in made}, "B's list")


@row("H3g")
def group_removal_clears_unread(ctx):
    """Removing the session, and being removed from the group, both leave nothing unread."""
    server = ctx.shared()

    def check(a, b):
        group, second = group_of(server, a, b), group_of(server, a, b)
        offline_texts(server, a, group, 2)
        offline_texts(server, a, second, 3)
        with log_in(server, b) as client:
            require_equal((groups.unread_count(client, group), groups.unread_count(client, second)), (2, 3),
                          "unread before")
            require_equal(client.remove_session(group, wire.GROUP), 0, "result of 0x0206")
            require_equal(set(client.unread_all()), {(wire.GROUP, second)}, "unread after")
            groups.admin_change(server, second, remove=[b])
            client.forget(wire.MEMBERS_NOTIFY)
            require_equal((client.unread_all(), client.sessions_all()), ({}, {}), "removed from the other")
            groups.admin_change(server, second, add=[b])
            client.forget(wire.MEMBERS_NOTIFY)
            require_equal((client.unread_all(), client.sessions_all()), ({}, {}), "added again")

    for_each_members(server, 2, check)


@row("H4")
def group_session_removal(ctx):
    """No 0x020f; others' messages do not bring it back, though they count as unread; one's own does."""
    server = ctx.shared()

    def check(a, b, c):
        group = group_of(server, a, b, c)
        with (log_in(server, a) as pc, log_in(server, a, wire.ANDROID) as phone, log_in(server, b) as peer,
              log_in(server, c) as third):
            everybody = (pc, phone, peer, third)
            require_equal(pc.remove_session(group, wire.GROUP), 1, "nothing to remove before a message")
            groups.say(peer, group, b"hello")
            for client in (pc, phone, third):
                client.hear(b"hello")
            newest = 1
            for turn in range(2):
                require(groups.session(pc, group) is not None, "the group is listed")
                require_equal(pc.remove_session(group, wire.GROUP, user_id=b.id), 0, "result of 0x0207")
                require_equal((groups.session(pc, group), groups.session(phone, group)), (None, None),
                              "A's list")
                require(groups.session(third, group) is not None, "C's list lacks it, too")
                require_equal(groups.unread(pc, group), None, "unread of a removed session")
                require_equal(pc.remove_session(group, wire.GROUP), 1, "result of the repeat")
                quiet(*everybody)
                for n in range(2):
                    newest += 1
                    require_equal(groups.say(peer, group, b"others %d %d" % (turn, n)), newest, "msg_id")
                    for client in (pc, phone, third):
                        client.hear(b"others %d %d" % (turn, n))
                require_equal((groups.session(pc, group), groups.session(phone, group)), (None, None),
                              "hidden though others talk")
                require_equal([m["msg_id"] for m in pc.list(group, kind=wire.GROUP)],
                              list(range(newest, 0, -1)), "the history stays")
                newest += 1
                own = b"own %d" % turn
                require_equal(groups.say(phone if turn else pc, group, own), newest, "msg_id")
                for client in (pc if turn else phone, peer, third):
                    client.hear(own)
                require_equal(groups.session(pc, group)["latest_msg_data"], own, "it shows again")
            for strange in STRANGE_IDS:
                require_equal(pc.remove_session(strange, wire.GROUP), 1, f"removal of {strange}")
            quiet(*everybody)

    for_each_members(server, 3, check)


@row("H5g")
def group_history(ctx):
    """Pages, bounds and markers as with a user (H5)."""
    server = ctx.shared()

    def check(a, b):
        group = group_of(server, a, b)
        said = texts(b"text", 130)
        with log_in(server, a) as sender, log_in(server, b) as reader:
            groups.say_many(sender, group, said)
            reader.forget(wire.MSG_DATA)
            for begin, count, wanted in ((0, 10, range(130, 120, -1)), (50, 10, range(50, 40, -1)),
                                         (0, 0, ()), (0, 1000, range(130, 30, -1)), (1, 10, (1,)),
                                         (5, 0xFFFFFFFF, range(5, 0, -1)), (0xFFFFFFFF, 1, (130,)),
                                         (131, 2, (130, 129))):
                for seq in (0xFF01, 0xFF02, 0xFF03, 0):
                    page = reader.list(group, begin, count, wire.GROUP, seq=seq)
                    require_equal([(m["msg_id"], m["msg_data"]) for m in page],
                                  [(n, said[n - 1]) for n in wanted], f"begin {begin}, {count} asked")
            require_equal(len(groups.pull(sender, group)), 130, "the author's history")
            require_equal({m["from_session_id"] for m in reader.list(group, kind=wire.GROUP, user_id=a.id)},
                          {a.id}, "authors, another user_id in the body")

    for_each_members(server, 2, check)


def fields_of(client, command, group, **fields):
    """The answer without the echoed id: to be equal for what is foreign and what is not there."""
    got = client.ask(command, **fields)
    got.fields.pop("session_id", None)
    return got.fields


@row("H6")
def foreign_history(ctx):
    """Who is not a member, was one, or asks of a dismissed group sees what he sees of an absent one."""
    server = ctx.shared()

    def check(a, b, c, d):
        group, gone = group_of(server, a, b, c), group_of(server, a, b, c, d)
        for one in (group, gone):
            offline_texts(server, a, one, 5)
        with log_in(server, c) as former:
            require_equal(len(former.list(group, kind=wire.GROUP)), 5, "C while he belongs to it")
            groups.admin_change(server, group, remove=[c])
            groups.admin_dismiss(server, gone)
            former.forget(wire.MEMBERS_NOTIFY)
            with log_in(server, d) as stranger, log_in(server, a) as creator:
                for client, asked in ((stranger, group), (former, group), (stranger, gone), (former, gone),
                                      (creator, gone)):
                    for claimed in (a.id, client.user_id, 0):
                        for command, fields in (
                                (wire.LIST_REQ, {"msg_id_begin": 0, "msg_cnt": 100}),
                                (wire.LIST_REQ, {"msg_id_begin": 3, "msg_cnt": 2}),
                                (wire.LATEST_ID_REQ, {}), (wire.BY_ID_REQ, {"msg_id_list": [1, 2, 3, 4, 5]})):
                            seen, absent = (fields_of(client, command, one, user_id=claimed, session_id=one,
                                                     session_type=wire.GROUP, **fields)
                                            for one in (asked, UNKNOWN_USER))
                            require_equal(seen, absent, f"0x{command:04x} of a group that is not his")
                            require_equal((seen.get("msg_list", []), seen.get("latest_msg_id", 0)), ([], 0),
                                          f"0x{command:04x} tells something")
                    require_equal(groups.unseen(client, asked), groups.NOTHING, "all the rest")
                require_equal(len(groups.pull(creator, group)), 5, "the creator's own history")

    for_each_members(server, 4, check)


@row("H7g")
def group_ids_and_latest(ctx):
    server = ctx.shared()

    def ids(entries):
        return [entry["msg_id"] for entry in entries]

    def check(a, b, c):
        group = group_of(server, a, b)
        with log_in(server, a) as one, log_in(server, b) as two, log_in(server, c) as stranger:
            require_equal((one.latest_id(group, wire.GROUP), one.by_id(group, [1, 2], wire.GROUP)), (0, []),
                          "before the first")
            said = texts(b"text", 120)
            groups.say_many(one, group, said)
            two.forget(wire.MSG_DATA)
            for client in (one, two):
                require_equal([(m["msg_id"], m["msg_data"], m["from_session_id"], m["msg_type"])
                               for m in client.by_id(group, [3, 1, 999], wire.GROUP)],
                              [(3, said[2], a.id, wire.GROUP_TEXT), (1, said[0], a.id, wire.GROUP_TEXT)],
                              "0x030d [3, 1, 999]")
                require_equal(client.latest_id(group, wire.GROUP), 120, "0x030b")
                require_equal(client.latest_id(group, wire.GROUP, user_id=c.id), 120, "another user_id")
                for asked, wanted in (([], []), ([0], []), ([0xFFFFFFFF, 0, 121], []), ([7], [7]),
                                      ([5, 5, 5, 2, 5], [5, 2]), ([120, 1, 75], [120, 75, 1])):
                    require_equal(ids(client.by_id(group, asked, wire.GROUP)), wanted, f"0x030d {asked}")
                require_equal(len(client.by_id(group, range(1, 121), wire.GROUP)), 100, "of 120 asked")
            require_equal((stranger.latest_id(group, wire.GROUP), stranger.by_id(group, [1], wire.GROUP)),
                          (0, []), "C looks in")

    for_each_members(server, 3, check)


# ---- 10. groups ----------------------------------------------------------------------------------

@row("R1")
def create_a_group(ctx):
    """Members once, the creator always; nobody is told. Refused: NORMAL, no name, no members, nobody."""
    server = ctx.shared()

    def check(a, b, c):
        with (log_in(server, a) as client, log_in(server, a, wire.IOS) as own, log_in(server, b) as member,
              log_in(server, c) as third):
            for listed, wanted in (([a, b, b, c], [a, b, c]), ([b, c], [a, b, c]), ([b], [a, b]),
                                   ([a], [a]), ([b, UNKNOWN_USER, 0, 0xFFFFFFFF, c], [a, b, c])):
                name, avatar = f"name 例 {len(listed)}", "g0/000/000/x.png"
                got = groups.create(client, listed, name, avatar, user_id=c.id)
                require_equal(got["result_code"], 0, f"result for {len(listed)} listed")
                require_equal(sorted(got["user_id_list"]), sorted(ids_of(wanted)), "members of 0x0406")
                group = got["group_id"]
                seen = groups.admin_info(server, group)
                require_equal((seen["id"], seen["name"], seen["avatar"], seen["type"], seen["creator"],
                               seen["version"], seen["member_count"]),
                              (group, name, avatar, "temporary", a.id, 1, len(wanted)), "for the operator")
                require_equal(groups.admin_members(server, group),
                              {user.id: {"first_message": 1, "muted": False} for user in wanted}, "members")
                quiet(client, own, member, third)
                require_equal(member.sessions_all(), {}, "no rows come with a group")
            # Members learn of it from the first message, and ask.
            groups.say(client, group, b"welcome")
            for device, user in ((own, a), (member, b), (third, c)):
                expect_push(device, a.id, group, b"welcome", 1, wire.GROUP_TEXT)
                found = groups.info(device, group)
                require_equal(sorted(found.pop("group_member_list")), sorted(ids_of((a, b, c))), "members")
                require_equal(found, {"group_id": group, "version": 1, "group_name": name,
                                      "group_avatar": avatar, "group_creator_id": a.id,
                                      "group_type": wire.TEMPORARY, "shield_status": 0}, "0x0404")
            for what, members, fields in (
                    ("NORMAL", [a, b], {"kind": wire.NORMAL}), ("no name", [a, b], {"name": ""}),
                    ("no members", [], {}), ("nobody", [UNKNOWN_USER, 0], {})):
                seq = client.next_seq()
                client.send(wire.CREATE_GROUP_REQ, seq=seq, user_id=a.id, group_avatar="",
                            group_type=fields.get("kind", wire.TEMPORARY),
                            group_name=fields.get("name", "refused"), member_id_list=ids_of(members))
                got = client.expect(wire.CREATE_GROUP_RES, seq=seq)
                try:
                    require_equal(got["user_id"], a.id, "user_id")
                    groups.require_refused_create(got)
                except Failure as failure:
                    raise Failure(f"{what}: {failure}") from failure
            quiet(client, own, member, third)

    for_each_members(server, 3, check)


@row("R2")
def add_members(ctx):
    """A member adds to a temporary group: 0x0408 to him, one 0x040b to each other connection of all."""
    server = ctx.shared()

    def check(a, b, c, d, e):
        with (log_in(server, a) as creator, log_in(server, b) as by, log_in(server, b, wire.IOS) as own,
              log_in(server, c) as member, log_in(server, d) as pc, log_in(server, d, wire.ANDROID) as phone,
              log_in(server, e) as stranger):
            everybody = (creator, by, own, member, pc, phone, stranger)
            group = groups.create_group(creator, [a, b, c])
            offline_texts(server, c, group, 5)
            for client in everybody:
                client.forget(wire.MSG_DATA)
            got = groups.change(by, wire.ADD, group, [d], user_id=e.id)
            require_changed(got, [d], [a, b, c, d])
            for client in (creator, own, member, pc, phone):
                expect_change(client, b, wire.ADD, group, [d], [a, b, c, d])
            quiet(*everybody)
            require_equal((groups.unread(pc, group), groups.session(pc, group)), (None, None),
                          "unread and list of D")
            require_equal(groups.info(pc, group)["version"], 2, "version")
            require_equal(groups.admin_info(server, group)["member_count"], 4, "member_count")
            require_equal(groups.say(pc, group, b"I am D"), 6, "id of the new member's message")
            for client in (creator, by, own, member, phone):
                expect_push(client, d.id, group, b"I am D", 6, wire.GROUP_TEXT)
            # Those who are in already, and nobodies, are passed over; e comes once.
            got = groups.change(creator, wire.ADD, group, [a, d, e, e, UNKNOWN_USER, 0])
            require_changed(got, [e], [a, b, c, d, e])
            for client in (by, own, member, pc, phone, stranger):
                expect_change(client, a, wire.ADD, group, [e], [a, b, c, d, e])
            require_equal(groups.info(stranger, group)["version"], 3, "version")
            # Nothing to change is no error.
            got = groups.change(creator, wire.ADD, group, [e])
            require_changed(got, [], [a, b, c, d, e])
            require(groups.info(stranger, group)["version"] in (3, 4), "version after no change")
            time.sleep(0.2)  # whether others hear of it is not said
            for client in everybody:
                client.forget(wire.MEMBERS_NOTIFY)
            # The operator: user 0.
            before = groups.admin_info(server, group)["version"]
            version, changed = groups.admin_change(server, group, remove=[e])
            require_equal((version, changed), (before + 1, [e.id]), "version and changed over HTTP")
            for client in (creator, by, own, member, pc, phone, stranger):
                expect_change(client, 0, wire.REMOVE, group, [e], [a, b, c, d])
            version, changed = groups.admin_change(server, group, add=[e, a])
            require_equal((version, changed), (before + 2, [e.id]), "version and changed over HTTP")
            for client in (creator, by, own, member, pc, phone, stranger):
                expect_change(client, 0, wire.ADD, group, [e], [a, b, c, d, e])
            quiet(*everybody)

    for_each_members(server, 5, check)
    normal_group_is_its_creators(server)


def normal_group_is_its_creators(server):
    """NORMAL: its creator adds and removes, a member only himself; creator 0: the operator alone."""
    a, b, c = server.make_users(3)
    group, nobodys = (groups.admin_create(server, [a, b], creator, wire.NORMAL) for creator in (a, 0))
    with log_in(server, a) as creator, log_in(server, b) as member:
        for client, of in ((member, group), (creator, nobodys), (member, nobodys)):
            for kind, ids in ((wire.ADD, [c]), (wire.REMOVE, [a if client is member else b])):
                groups.change(client, kind, of, ids, wanted=1)
        quiet(creator, member)
        require_changed(groups.change(creator, wire.ADD, group, [c]), [c], [a, b, c])
        member.expect(wire.MEMBERS_NOTIFY)
        require_changed(groups.change(creator, wire.REMOVE, group, [c]), [c], [a, b])
        member.expect(wire.MEMBERS_NOTIFY)
        require_equal(groups.change(creator, wire.REMOVE, nobodys, [a])["result_code"], 0, "leaving it")
        expect_change(member, a, wire.REMOVE, nobodys, [a], [b])
        quiet(creator, member)


@row("R3")
def remove_members(ctx):
    """The creator removes anybody but himself; a member only himself; who is out is out at once."""
    server = ctx.shared()

    def check(a, b, c, d):
        with (log_in(server, a) as creator, log_in(server, b) as member, log_in(server, b, wire.IOS) as phone,
              log_in(server, c) as out, log_in(server, c, wire.ANDROID) as out_phone,
              log_in(server, d) as stranger):
            everybody = (creator, member, phone, out, out_phone, stranger)
            group = groups.create_group(creator, [a, b, c])
            groups.say(creator, group, b"one")
            for client in (member, phone, out, out_phone):
                client.hear(b"one")
            before = groups.state(server, group)
            for client, ids in ((member, [c]), (member, [a]), (out, [b, c]), (stranger, [c]), (stranger, [d]),
                                (creator, [a])):  # the owner not while others remain
                groups.change(client, wire.REMOVE, group, ids, wanted=1)
            require_equal(groups.state(server, group), before, "the group after refusals")
            quiet(*everybody)
            require_changed(groups.change(creator, wire.REMOVE, group, [c]), [c], [a, b])
            for client in (member, phone, out, out_phone):
                expect_change(client, a, wire.REMOVE, group, [c], [a, b])
            for client in (out, out_phone):
                require_equal(groups.unseen(client, group), groups.NOTHING, "what C sees of it")
                client.send_text(group, b"I am out", kind=wire.GROUP_TEXT)
            require_equal(groups.say(creator, group, b"two"), 2, "id after C's dropped messages")
            for client in (member, phone):
                expect_push(client, a.id, group, b"two", 2, wire.GROUP_TEXT)
            quiet(*everybody)
            require_equal(groups.info(member, group)["version"], 2, "version")
            # One leaves: his other devices and those who stay hear of it.
            require_changed(groups.change(member, wire.REMOVE, group, [b]), [b], [a])
            for client in (phone, creator):
                expect_change(client, b, wire.REMOVE, group, [b], [a])
            groups.change(member, wire.REMOVE, group, [b], wanted=1)
            groups.change(member, wire.ADD, group, [b], wanted=1)
            require_equal(groups.unseen(phone, group), groups.NOTHING, "what B sees of it")
            require_equal(groups.say(creator, group, b"alone"), 3, "msg_id")
            quiet(*everybody)
            # The last one is its creator: now he may go, and come back.
            require_changed(groups.change(creator, wire.REMOVE, group, [a]), [a], [])
            require_equal((groups.admin_info(server, group)["member_count"],
                           groups.admin_members(server, group)), (0, {}), "an empty group")
            quiet(*everybody)

    for_each_members(server, 4, check)


@row("R4")
def list_of_normal_groups(ctx):
    """Id and version of NORMAL groups alone, of the asker alone; the version rises with each change."""
    server = ctx.shared()

    def check(a, b, c):
        normal = [group_of(server, a, b, kind=wire.NORMAL) for _ in range(3)]
        temporary = group_of(server, a, b)
        with log_in(server, a) as client, log_in(server, c) as stranger:
            require_equal(groups.normal_groups(client), {group: 1 for group in normal}, "0x0402")
            require_equal(groups.normal_groups(client, user_id=c.id), {group: 1 for group in normal},
                          "another user_id")
            require_equal(groups.normal_groups(stranger), {}, "0x0402 of a stranger")
            groups.admin_change(server, normal[1], add=[c])
            groups.admin_change(server, temporary, add=[c])
            groups.admin_dismiss(server, normal[2])
            require_equal(groups.normal_groups(client), {normal[0]: 1, normal[1]: 2}, "after changes")
            require_equal(groups.normal_groups(stranger), {normal[1]: 2}, "of the new member")
            groups.admin_change(server, normal[1], remove=[a])
            require_equal(groups.normal_groups(client), {normal[0]: 1}, "after leaving one")
            groups.api(server, "PATCH", f"groups/{normal[0]}", {"name": "renamed", "avatar": "new.png"})
            found = groups.info(client, normal[0])
            require_equal((found["group_name"], found["group_avatar"]), ("renamed", "new.png"), "0x0404")

    for_each_members(server, 3, check)


@row("R5")
def info_by_version(ctx):
    """Version known 0 or older: all of it; the current one: absent. A stranger, a former member: absent."""
    server = ctx.shared()

    def check(a, b, c, d):
        group, second = group_of(server, a, b, c), group_of(server, b, a, kind=wire.NORMAL)
        groups.admin_change(server, group, remove=[c])
        with (log_in(server, a) as client, log_in(server, b) as member, log_in(server, c) as former,
              log_in(server, d) as stranger):
            require_equal(groups.info(client, group), {
                "group_id": group, "version": 2, "group_name": groups.admin_info(server, group)["name"],
                "group_avatar": "", "group_creator_id": a.id, "group_type": wire.TEMPORARY,
                "shield_status": 0, "group_member_list": groups.info(client, group)["group_member_list"]},
                "0x0404")
            require_equal(sorted(groups.info(client, group)["group_member_list"]), sorted(ids_of((a, b))),
                          "members")
            for known, there in ((0, True), (1, True), (2, False), (3, False), (0xFFFFFFFF, False)):
                require_equal(groups.info(client, group, known) is not None, there, f"version {known} known")
            both = groups.infos(member, {group: 1, UNKNOWN_USER: 0, second: 0, 0: 0})
            require_equal(sorted(both), sorted((group, second)), "several asked")
            require_equal((both[second]["group_type"], both[second]["group_creator_id"]),
                          (wire.NORMAL, b.id), "of the NORMAL one")
            require_equal(sorted(groups.infos(member, {group: 2, second: 0})), [second], "the newer alone")
            require_equal(groups.infos(member, {}), {}, "none asked")
            for client in (former, stranger):
                for claimed in (a.id, 0):
                    require_equal(groups.infos(client, {group: 0, second: 0, UNKNOWN_USER: 0},
                                               user_id=claimed), {}, "one who is not in it")

    for_each_members(server, 4, check)


@row("R6")
def mute(ctx):
    """Stored for the member alone, shown in 0x0404 to him alone; no push is the push rows' matter."""
    server = ctx.shared()

    def check(a, b, c):
        group = group_of(server, a, b)
        with log_in(server, a) as client, log_in(server, b) as other, log_in(server, c) as stranger:
            for status in (1, 1, 0, 1):
                require_equal(groups.shield(client, group, status, user_id=b.id), 0, "result of 0x040a")
                found = groups.info(client, group)
                require_equal((found["shield_status"], found["version"]), (status, 1), "0x0404 of A")
                require_equal(groups.info(other, group)["shield_status"], 0, "0x0404 of B")
                muted = [user for user, one in groups.admin_members(server, group).items() if one["muted"]]
                require_equal(muted, [a.id] if status else [], "who is muted, for the operator")
            for value in (2, 7, 0xFFFFFFFF):
                require_equal(groups.shield(client, group, value), 1, f"result for {value}")
            for asked in (group, *STRANGE_IDS):
                require_equal(groups.shield(stranger, asked, 1), 1, "result for one who is not in it")
            require_equal(groups.info(client, group)["shield_status"], 1, "after refusals")
            groups.say(other, group, b"still delivered")
            expect_push(client, b.id, group, b"still delivered", 1, wire.GROUP_TEXT)
            require_equal(groups.unread_count(client, group), 1, "and counted")
            groups.admin_change(server, group, remove=[a])
            require_equal(groups.shield(client, group, 0), 1, "result for one who is out")
            quiet(stranger)

    for_each_members(server, 3, check)
    return "without push"


@row("R7", slow=True)
def members_survive(ctx):
    """Restart, kill -9, other shard counts: membership, names, mutes, ids, cursors, sessions, floors."""
    with ctx.server(RESTART_CONFIG, label="R7") as server:
        a, b, c, d = server.make_users(4)
        made = [group_of(server, a, b, c), group_of(server, b, a, c, kind=wire.NORMAL)]
        made.append(group_of(server, a, b))
        lone = group_of(server, a)
        with log_in(server, a) as client, log_in(server, b) as other:
            for n, group in enumerate(made):
                groups.say_many(other, group, texts(b"of %d" % n, 4 + n))
                client.read(group, 1 + n, wire.GROUP)
            groups.change(client, wire.ADD, made[0], [d])
            groups.say(other, made[0], b"seen by D")
            groups.change(client, wire.REMOVE, made[0], [c])
            require_equal(groups.shield(client, made[1], 1), 0, "mute")
            require_equal(client.remove_session(made[2], wire.GROUP), 0, "session removed")
            require_changed(groups.change(client, wire.REMOVE, lone, [a]), [a], [])

        def picture():
            out = {group: groups.state(server, group) for group in (*made, lone)}
            for user in (a, b, c, d):
                with log_in(server, user) as client:
                    out[user.id] = (client.unread_all(), client.sessions_all(), groups.normal_groups(client),
                                    [groups.unseen(client, group) for group in made])
            return out

        wanted = picture()
        require_equal({key[1]: entry["unread_cnt"] for key, entry in wanted[a.id][0].items()},
                      {made[0]: 4, made[1]: 3}, "unread of A")
        newest = {made[0]: 5, made[1]: 5, made[2]: 6}
        for kill, shards in ((False, None), (True, None), (True, ctx.shards % 4 + 1), (False, ctx.shards)):
            time.sleep(1.3 if kill else 0)  # a cursor is durable within 1 s
            server.restart(kill=kill, shards=shards)
            what = f"after {'kill -9' if kill else 'restart'}, {server.shards} shards"
            got = picture()
            for key, value in wanted.items():
                require_equal(got[key], value, f"{key} {what}")
        with log_in(server, a) as client, log_in(server, b) as other:
            for group in made:
                require_equal(groups.say(other, group, b"go on"), newest[group] + 1, "the next id")
                expect_push(client, b.id, group, b"go on", newest[group] + 1, wire.GROUP_TEXT)
            # The empty one is filled again by its creator, then, emptied again, over HTTP.
            groups.change(other, wire.ADD, lone, [b], wanted=1)
            require_changed(groups.change(client, wire.ADD, lone, [a]), [a], [a])
            require_changed(groups.change(client, wire.ADD, lone, [b]), [b], [a, b])
            expect_change(other, a, wire.ADD, lone, [b], [a, b])
            require_equal(groups.say(other, lone, b"alive"), 1, "the first id")
            expect_push(client, b.id, lone, b"alive", 1, wire.GROUP_TEXT)
            groups.admin_change(server, lone, remove=[a, b])
            require_equal(groups.admin_members(server, lone), {}, "emptied")
            groups.admin_change(server, lone, add=[b])
            for device in (client, other, other):
                device.expect(wire.MEMBERS_NOTIFY)
            require_equal(groups.say(other, lone, b"again"), 2, "ids go on")
            require_equal([m["msg_id"] for m in groups.pull(other, lone, 2)], [2], "B's floor")
            quiet(client, other)
    return "2 restarts, 2 kills, another shard count"


@row("S14")
def the_engines_own_codec(ctx):
    """Texts that the administration writes come in the form of the stock clients: wire.md 9.1's vectors."""
    server = ctx.shared()
    a, b = server.make_users(2)
    vectors = {"hello": b"nnZSBwfPCz60q69ddmfIJA==", "[语音]": b"QhGXlpFjvMFUNrtl1aaPzA==",
               "0123456789ab": b"pjioVtcJuh77LuSiew7aJw==",
               "0123456789abc": b"TAzR6N1CfvlADH+XckBekQr+GZ43+2mMfQMFqTsGBjY=",
               "0123456789abcdef": b"BY1wZOT9JPljcE5qNjw9cQfU6OB7fpsvZh6GP3dYB9g="}
    with log_in(server, b) as client:
        for n, (text, content) in enumerate(vectors.items(), 1):
            status, answer = server.http("POST", "/api/v1/messages",
                                         {"from": a.id, "user": b.id, "text": text})
            require_equal((status, json.loads(answer)["msg_id"]), (201, n), f"{text}: {answer}")
            got = client.hear(content)
            require_equal((got["from_user_id"], got["msg_id"], got["msg_type"]), (a.id, n, wire.TEXT), text)
        require_equal([m["msg_data"] for m in client.list(a.id)], list(vectors.values())[::-1], "history")
