"""Rows G5, G6, G6b, U8 (large groups), GL1 (over 20,000 members), GR1-GR3 (changes and logins in a stream).

G5 and U8 look at what reaches the disk: records in the log (ringtalkctl store dump, on the stopped server)
and bytes the process wrote, of a group of 3 against one of 2,000. Races send from threads of their own.
"""

import os
import random
import statistics
import threading
import time

import groups
import wire
from client import Client, Failure, log_in, require, require_equal
from placing import for_each_members
from registry import row

LARGE = 2000
FREE = {"limits": {"sends_per_second": 0, "requests_per_second": 0}}


# ---- cost ----------------------------------------------------------------------------------------

def records(ctx, server):
    """{kind: records} in the store of a stopped server; None without ringtalkctl."""
    tool = os.path.join(os.path.dirname(ctx.ringtalkd), "ringtalkctl")
    if not os.access(tool, os.X_OK):
        return None
    return server.storage.records(tool)


def written(server):
    """Bytes that the process has sent towards the disk."""
    with open(f"/proc/{server.process.pid}/io", encoding="ascii") as text:
        fields = dict(line.split(": ") for line in text.read().splitlines())
    return int(fields["write_bytes"])


def sample_of(users, count, seed):
    rng = random.Random(seed)
    return [users[0], users[-1], *rng.sample(users[1:-1], count - 2)]


@row("G5", slow=True)
def no_storm(ctx):
    """100 messages/s into a group of 2,000: each member's list has it in time, nothing is written for him."""
    with ctx.server(FREE, label="G5") as server:
        author, *users = server.make_users(LARGE)
        group = groups.admin_create(server, [author, *users], author)
        require_equal(groups.admin_info(server, group)["member_count"], LARGE, "member_count")
        server.term()
        before = records(ctx, server)
        server.start()
        online = sample_of(users, 6, ctx.shards)
        clients = [log_in(server, user) for user in online]
        with log_in(server, author) as sender:
            began = time.monotonic()
            for n in range(100):
                require_equal(groups.say(sender, group, b"message %d" % n), n + 1, "msg_id")
                time.sleep(max(0.0, began + (n + 1) / 100 - time.monotonic()))
            last = sender.list(group, 0, 1, wire.GROUP)[0]["create_time"]
            late = [log_in(server, user) for user in sample_of(users, 30, 99) if user not in online]
            for client in clients + late:
                entry = groups.session(client, group)
                require(entry is not None, "a member's list lacks the group")
                require_equal((entry["updated_time"], entry["latest_msg_id"], entry["latest_msg_data"]),
                              (last, 100, b"message 99"), "row of a member")
                require_equal(groups.unread_count(client, group), 100, "unread of a member")
            took = time.monotonic() - began
            require_equal(groups.unread_count(sender, group), 0, "unread of the author")
        for client in clients:
            require_equal([n for n, _a, _d in groups.hear_many(client, group, 100)], list(range(1, 101)),
                          "ids delivered")
        for client in clients + late:
            client.close()
        require(took < 5 * ctx.patience + 1, f"sending, and looking at 36 lists, took {took:.1f} s")
        server.term()
        after = records(ctx, server)
        server.start()
        with log_in(server, users[7]) as client:
            require_equal(groups.unread_count(client, group), 100, "unread after a restart")
    if before is None:
        return "records not counted: no ringtalkctl"
    more = {kind: count - before.get(kind, 0) for kind, count in after.items()}
    # A record for each message, perhaps one for its author's position, and what a stop and a start write.
    require(100 <= sum(more.values()) <= 250, f"records for 100 messages to {LARGE} members: {more}")
    return f"records for 100 messages: {more}"


@row("U8", slow=True)
def counting_is_cheap(ctx):
    """What messages cost on disk does not depend on the number of members; all are counted all the same."""
    with ctx.server(FREE, label="U8") as server:
        author, *users = server.make_users(LARGE)
        small = groups.admin_create(server, [author, *users[:2]], author)
        large = groups.admin_create(server, [author, *users], author)
        cost = {small: [0, 0], large: [0, 0]}
        with log_in(server, author) as sender:
            for group in (small, large):  # what only the first message to a group writes
                groups.say(sender, group, b"first")
            time.sleep(1.5)  # what is collected for a second, such as cursors
            for turn in range(4):
                for group in (small, large) if turn % 2 else (large, small):
                    start = server.metric("ringtalk_store_commits_total"), written(server)
                    for n in range(50):
                        groups.say(sender, group, b"%d of %d" % (n, turn))
                    time.sleep(1.5)
                    end = server.metric("ringtalk_store_commits_total"), written(server)
                    for i in range(2):
                        cost[group][i] += end[i] - start[i]
        (commits, size), (commits_large, size_large) = cost[small], cost[large]
        require(commits_large <= 1.5 * commits + 20, f"commits: {commits_large} against {commits}")
        require(commits_large <= 2 * 200 + 20, f"{commits_large} commits for 200 messages")
        require(size_large <= 1.5 * size + (256 << 10), f"bytes: {size_large} against {size}")
        for user in sample_of(users, 12, ctx.shards):
            with log_in(server, user) as client:
                require_equal(groups.unread_count(client, large), 201, "unread of a member")
                client.read(large, 151, wire.GROUP)
                require_equal(groups.unread_count(client, large), 50, "unread after reading")
    return (f"200 messages: {commits} commits and {size >> 10} KiB to 3, {commits_large} and "
            f"{size_large >> 10} KiB to {LARGE}")


# ---- fan-out -------------------------------------------------------------------------------------

def read_ids(client, group, count, seconds=60):
    """The ids of the next deliveries on a connection that gets nothing else."""
    ids = []
    deadline = time.monotonic() + seconds
    while len(ids) < count:
        while client.arrived and len(ids) < count:
            got = client.arrived.popleft()
            if got.command in (wire.STATUS_NOTIFY, wire.PC_LOGIN_NOTIFY):
                continue
            wire.check_answer(got)
            require(got.command == wire.MSG_DATA and got["to_session_id"] == group, f"beside 0x0301: {got!r}")
            ids.append(got["msg_id"])
        if len(ids) < count:
            require(client._fill(deadline) and not client.eof, f"{len(ids)} of {count} messages came")
    return ids


@row("G6", alone=True)
def large_fan_out(ctx):
    """300 online: each gets every id once, in order. The sender's median ack: of 3 online, and of 300.

    Messages go to the small and the large group in turn, with a pause, so that noise meets both and no
    acknowledgement waits behind the deliveries of the message before. 2,000 online are the benchmark's.
    """
    with ctx.server(FREE, label="G6") as server:
        author, *users = server.make_users(301)
        small = groups.admin_create(server, [author, *users[:2]], author)
        large = groups.admin_create(server, [author, *users], author)
        # Half of them with phones: those need not be told of each login.
        clients = [log_in(server, user, wire.ANDROID if n % 2 else wire.WINDOWS)
                   for n, user in enumerate(users)]
        took = {small: [], large: []}
        try:
            with log_in(server, author) as sender:
                for n in range(120):
                    for group in (small, large) if n % 2 else (large, small):
                        began = time.perf_counter()
                        groups.say(sender, group, b"message %d" % n)
                        took[group].append(time.perf_counter() - began)
                        time.sleep(0.012)
                wanted = list(range(1, 121))
                for n, client in enumerate(clients):
                    if n < 2:  # both groups come here, mixed
                        for group in (small, large):
                            got = [one[0] for one in groups.hear_many(client, group, 120)]
                            require_equal(got, wanted, f"ids at member {n}")
                    else:
                        require_equal(read_ids(client, large, 120), wanted, f"ids at member {n}")
                for client in clients[::29]:
                    client.expect_nothing(0.05)
        finally:
            for client in clients:
                client.close()
    few, many = (statistics.median(took[group]) * 1e3 for group in (small, large))
    # Pair by pair: a busy machine lengthens some, waiting for 300 members would lengthen all.
    slower = sum(b > 10 * a + 0.002 * ctx.patience for a, b in zip(took[small], took[large]))
    require(slower <= 90, f"{slower} of 120 acks came far later to 301; medians {few:.2f} and {many:.2f} ms")
    return f"median ack {few:.2f} ms to 3, {many:.2f} ms to 301"


def closed_for(server, cause):
    """Connections that the server has closed for it."""
    _status, text = server.http("GET", "/metrics", token=False)
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in text.splitlines()
               if line.startswith("ringtalk_closes_total{") and f'cause="{cause}"' in line)


def one_of_many_stops_reading(ctx, cause, limits, at_least_s=0.0):
    """200 members online, one reads nothing: messages sent until he is closed, seconds that took.

    Everybody else reads each message before the next is sent, so a delivery that waits for him shows.
    """
    with ctx.server({"limits": FREE["limits"] | limits}, label="G6b") as server:
        author, slow, *users = server.make_users(200)
        group = groups.admin_create(server, [author, slow, *users], author)
        # He comes neither first nor last: nobody before or behind him may miss anything.
        sender = log_in(server, author, wire.ANDROID)
        clients = [log_in(server, user, wire.ANDROID if n % 2 else wire.WINDOWS)
                   for n, user in enumerate(users[:120])]
        stalled = log_in(server, slow, receive_bytes=4096)
        clients += [log_in(server, user, wire.ANDROID) for user in users[120:]]
        try:
            sound, sent = b"\0\0\0\1" + b"s" * 100_000, 0
            began = time.monotonic()

            def everybody_hears(data, kind):
                nonlocal sent
                sent += 1
                require_equal(groups.say(sender, group, data, kind), sent, "msg_id")
                for n, client in enumerate(clients):
                    require_equal(read_ids(client, group, 1), [sent], f"message {sent} at member {n}")

            while not closed_for(server, cause):
                took = time.monotonic() - began
                require(sent < 40 if at_least_s == 0 else took < 30 * ctx.patience,
                        f"{sent} messages and {took:.1f} s later he is still there")
                if sent < 10 or at_least_s == 0:
                    everybody_hears(sound, wire.GROUP_SOUND)
                else:  # the kernel holds all it will: the rest is a matter of time alone
                    everybody_hears(b"and on %d" % sent, wire.GROUP_TEXT)
            took, closed_after = time.monotonic() - began, sent
            require(took >= at_least_s, f"closed after {took:.1f} s")
            for n in range(5):
                everybody_hears(b"without him %d" % n, wire.GROUP_TEXT)
            require_equal(server.metric("ringtalk_users_online"), 199, "users online")
            closed = [closed_for(server, one) for one in ("slow_reader", "send_stall")]
            require_equal(sum(closed), 1, "connections closed as slow")
            with log_in(server, slow) as back:
                history = groups.pull(back, group)
                require_equal(len(history), sent, "messages in his history")
                require_equal([one["msg_data"] for one in history[-5:]],
                              [b"without him %d" % n for n in range(5)], "what he missed")
                require(history[0]["msg_data"] == sound, "a sound in his history")
                require_equal(groups.unread_count(back, group), sent, "unread")
                everybody_hears(b"with him", wire.GROUP_TEXT)
                require_equal(read_ids(back, group, 1), [sent], "delivered to him again")
        finally:
            for client in [sender, stalled, *clients]:
                client.close()
    return closed_after, took


@row("G6b", slow=True)
def slow_reader_in_a_group(ctx):
    """One of 200 stops reading: the others hear all; he is closed, by either rule, and loses nothing."""
    many, _took = one_of_many_stops_reading(ctx, "slow_reader", {"push_queue_bytes": "256 KiB"})
    _sent, waited = one_of_many_stops_reading(
        ctx, "send_stall", {"push_queue_bytes": "64 MiB", "send_stall_s": 3}, 2.7)
    return f"closed after {many} sounds of 100 KB, and after {waited:.1f} s"


@row("GL1", slow=True)
def over_twenty_thousand(ctx):
    """Lists are cut at 20,000; up to there all hear of a change, beyond it the changed alone; chat works."""
    with ctx.server({"limits": {**FREE["limits"], "group_members_max": 100_000}}, label="GL1") as server:
        made = []
        for start in range(0, 20_040, 334):
            names = [{"name": f"many{n}", "nick": "x"} for n in range(start, start + 334)]
            answer = groups.api(server, "POST", "users:bulk", {"users": names}, 201)
            made += [one["id"] for one in answer["users"]]
        a, b, c, d = server.make_users(4)
        ids = [a.id, b.id] + made
        group = groups.admin_create(server, ids[:19_990], a)
        with log_in(server, a) as creator, log_in(server, b) as member, log_in(server, c) as new:
            got = groups.change(creator, wire.ADD, group, [c])
            require_equal((got["chg_user_id_list"], len(got["cur_user_id_list"])), ([c.id], 19_991), "0x0408")
            for client in (member, new):
                got = client.expect(wire.MEMBERS_NOTIFY)
                require_equal((got["chg_user_id_list"], len(got["cur_user_id_list"])), ([c.id], 19_991),
                              "0x040b below the bound")
            groups.change(creator, wire.REMOVE, group, [c])
            for client in (member, new):
                client.expect(wire.MEMBERS_NOTIFY)
            groups.admin_change(server, group, add=ids[19_990:20_042])
            time.sleep(0.5)
            for client in (creator, member):
                client.forget(wire.MEMBERS_NOTIFY)  # whether this one crosses the bound is not said
            require_equal(groups.admin_info(server, group)["member_count"], 20_042, "member_count")
            got = groups.change(creator, wire.ADD, group, [c, d])
            require_equal((sorted(got["chg_user_id_list"]), len(got["cur_user_id_list"])),
                          (sorted((c.id, d.id)), 20_000), "0x0408 beyond the bound")
            got = new.expect(wire.MEMBERS_NOTIFY)
            require_equal((got["user_id"], sorted(got["chg_user_id_list"])), (a.id, sorted((c.id, d.id))),
                          "0x040b of the changed")
            require(len(got["cur_user_id_list"]) <= 20_000, "0x040b is cut, too")
            creator.expect_nothing(0.5)
            member.expect_nothing(0)
            found = groups.info(member, group)
            require_equal(len(found["group_member_list"]), 20_000, "members in 0x0404")
            require(set(found["group_member_list"]) <= set(ids) | {c.id, d.id}, "strangers in 0x0404")
            require_equal(len(groups.admin_members(server, group)), 20_044, "members, page by page")
            require_equal(groups.say(member, group, b"all hear"), 1, "msg_id")
            for client in (creator, new):
                client.hear(b"all hear")
            groups.change(creator, wire.REMOVE, group, [c])
            require_equal(new.expect(wire.MEMBERS_NOTIFY)["chg_user_id_list"], [c.id], "0x040b of a removal")
            groups.say(member, group, b"without C")
            creator.hear(b"without C")
            for client in (creator, member, new):
                client.expect_nothing(0.2)


# ---- races ---------------------------------------------------------------------------------------

class Stream:
    """A member who writes without pause on a thread of his own; who was acknowledged when is kept."""

    def __init__(self, server, user, group, window=8, pause=0.0):
        self.client = log_in(server, user, wire.ANDROID)
        self.user, self.group, self.window, self.pause = user, group, window, pause
        self.acked = []   # (time of the acknowledgement, id), as they came
        self.begun = {}   # id -> time before it was sent
        self.failure = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            flight, n = [], 0
            while not self.stopping.is_set() or flight:
                while len(flight) < self.window and not self.stopping.is_set():
                    began = time.monotonic()
                    text = b"%d says %d" % (self.user.id, n)
                    flight.append((self.client.send_text(self.group, text, kind=wire.GROUP_TEXT), began))
                    n += 1
                seq, began = flight.pop(0)
                msg_id = self.client.ack_of(seq, 30)
                self.begun[msg_id] = began
                self.acked.append((time.monotonic(), msg_id))
                self.client.pending.clear()  # what the other writers said
                if self.pause:
                    time.sleep(self.pause)
        except (Failure, AssertionError, OSError) as failure:
            self.failure = failure
        finally:
            self.client.close()

    def stop(self):
        self.stopping.set()
        self.thread.join(60)
        require(not self.thread.is_alive(), "a writer hangs")
        if self.failure:
            raise Failure(f"a writer: {self.failure}")

    def acked_before(self, moment):
        return {n for at, n in list(self.acked) if at < moment}

    def acked_after(self, moment):
        return {n for at, n in list(self.acked) if at > moment}


class Streams:
    def __init__(self, *streams):
        self.streams = streams

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for stream in self.streams:
            stream.stopping.set()
        for stream in self.streams:
            stream.thread.join(60)
        if kind is None:
            for stream in self.streams:
                stream.stop()

    def before(self, moment):
        return set().union(*(stream.acked_before(moment) for stream in self.streams))

    def after(self, moment):
        return set().union(*(stream.acked_after(moment) for stream in self.streams))

    def begun_after(self, moment):
        return {n for stream in self.streams for n, at in list(stream.begun.items()) if at > moment}


def until_change(client, group, kind):
    """Deliveries up to the 0x040b of that kind, as they came: ids, which must follow each other."""
    ids = []
    deadline = time.monotonic() + 20
    while True:
        got = client.pending.pop(0) if client.pending else client.next_frame(deadline)
        require(got is not None, f"no 0x040b after {len(ids)} messages")
        if got.command == wire.MEMBERS_NOTIFY:
            require_equal((got["change_type"], got["group_id"]), (kind, group), "0x040b")
            return ids
        require_equal((got.command, got["to_session_id"]), (wire.MSG_DATA, group), f"beside it: {got!r}")
        ids.append(got["msg_id"])


def require_run(ids, what):
    require_equal(ids, list(range(ids[0], ids[0] + len(ids))) if ids else [], f"ids {what} follow each other")


@row("GR1", slow=True)
def membership_during_a_stream(ctx):
    """C is removed and added ten times while A and B write without pause.

    From his first id on he gets every message until he is out, and none that was begun after it was
    answered; nothing comes between the 0x040b of his removal and that of his return; his history begins at
    his first id.
    """
    server = ctx.shared()
    seen = []

    def check(a, b, c, d):
        group = groups.admin_create(server, [a, b, c, d], d)
        with log_in(server, d, wire.IOS) as owner, log_in(server, c) as member:
            with Streams(Stream(server, a, group), Stream(server, b, group)) as streams:
                first, outs = 1, []
                for turn in range(10):
                    time.sleep(0.12)
                    asked = time.monotonic()
                    if turn % 2:
                        groups.admin_change(server, group, remove=[c])
                    else:
                        groups.change(owner, wire.REMOVE, group, [c])
                    answered = time.monotonic()
                    ids = until_change(member, group, wire.REMOVE)
                    require(ids, "nothing came in 0.12 s")
                    require_equal(ids[0], first, f"first id in round {turn}")
                    require_run(ids, f"in round {turn}")
                    missing = {n for n in streams.before(asked) if n >= first} - set(ids)
                    require_equal(missing, set(), "acknowledged before the removal was asked, not delivered")
                    require_equal(member.list(group, kind=wire.GROUP), [], "history while out")
                    outs.append((answered, set(ids)))
                    member.expect_nothing(0.07)
                    if turn % 3 == 2:
                        groups.admin_change(server, group, add=[c])
                    else:
                        groups.change(owner, wire.ADD, group, [c])
                    added = time.monotonic()
                    require_equal(until_change(member, group, wire.ADD), [], "messages before his return")
                    first = groups.admin_members(server, group)[c.id]["first_message"]
                    require(first > ids[-1], f"first id {first}, had seen {ids[-1]}")
                    seen.append(len(ids))
                    owner.pending.clear()
                time.sleep(0.1)
            last = max(streams.before(time.monotonic()))
            got = [n for n, _author, _data in groups.hear_many(member, group, last - first + 1)]
            require_equal(got, list(range(first, last + 1)), "ids after the last return")
            for answered, ids in outs:
                require_equal(streams.begun_after(answered) & ids, set(), "begun after he was out")
            require(min(streams.begun_after(added), default=first) >= first, "begun after he was back")
            member.expect_nothing(0.2)
            require_equal([m["msg_id"] for m in groups.pull(member, group, first)], got, "his history")
            require_equal(groups.unread_count(member, group), len(got), "his unread")

    for_each_members(server, 4, check)
    return f"{len(seen)} rounds, {sum(seen)} messages to one who came and went"


@row("GR2", slow=True)
def logins_during_a_stream(ctx):
    """Members log in at random moments of a stream: a list asked at once and the pushes leave no hole.

    What was begun after 0x0104 is pushed; what was under way then is in the list or pushed, or both; each
    id is pushed once, in order.
    """
    server = ctx.shared()
    rng = random.Random(ctx.shards)
    counted = []

    def check(a, b, w, *readers):
        group = groups.admin_create(server, [a, b, w, *readers], a)
        others = [Stream(server, user, group, pause=0.001) for user in (a, b)]
        with Streams(*others) as streams, log_in(server, w, wire.ANDROID) as writer:
            said = 0

            def write(count):
                nonlocal said
                seqs = []
                for _ in range(count):
                    said += 1
                    seqs.append(writer.send_text(group, b"in flight %d" % said, kind=wire.GROUP_TEXT))
                    time.sleep(rng.random() * 0.0005)
                return seqs

            for turn in range(16):
                user = readers[turn % len(readers)]
                with Client(server.address) as client:
                    flight = write(rng.randint(0, 4))
                    seq = client.send(wire.LOGIN_REQ, user_name=user.name, password=user.secret,
                                      online_status=wire.ONLINE, client_type=rng.choice((wire.MAC, wire.IOS)),
                                      client_version="acceptance")
                    flight += write(rng.randint(1, 8))
                    require_equal(client.expect(wire.LOGIN_RES, 30, seq)["result_code"], wire.OK, "login")
                    client.user_id = user.id
                    ready = time.monotonic()
                    page = [m["msg_id"] for m in client.list(group, kind=wire.GROUP)]
                    due = {writer.ack_of(number, 30) for number in write(4)}
                    for number in flight:
                        writer.ack_of(number, 30)
                    due |= streams.begun_after(ready) & streams.before(time.monotonic())
                    writer.pending.clear()
                    got = []
                    while not got or got[-1] < max(due):
                        got.append(client.expect(wire.MSG_DATA)["msg_id"])
                    require_run(got, f"at login {turn}")
                    require_run(page[::-1], f"in the list at login {turn}")
                    newest = page[0] if page else 0
                    require(got[0] <= newest + 1, f"listed to {newest}, pushed from {got[0]}, login {turn}")
                    require_equal(due - set(got), set(), f"begun after login {turn}, not pushed")
                    counted.append(newest + 1 - got[0])
                    time.sleep(rng.random() * 0.02)

    for_each_members(server, 6, check)
    return f"{len(counted)} logins, {sum(counted)} messages in both the list and the pushes"


@row("GR3", slow=True)
def group_changes_at_once(ctx):
    """Members add, an operator removes, all at once: versions follow each other, everybody agrees at last."""
    server = ctx.shared()

    def check(a, b, c, d):
        extra = server.make_users(8)
        group = groups.admin_create(server, [a, b, c, d], a)
        failures, versions = [], []

        def adds(user, people):
            try:
                with log_in(server, user, wire.IOS) as client:
                    for one in people * 3:
                        groups.change(client, wire.ADD, group, [one])
            except (Failure, AssertionError, OSError) as failure:
                failures.append(failure)

        def removes(people):
            try:
                for one in people * 3:
                    versions.append(groups.admin_change(server, group, remove=[one])[0])
            except (Failure, AssertionError, OSError) as failure:
                failures.append(failure)

        with log_in(server, d) as watcher:
            threads = [threading.Thread(target=adds, args=(user, extra[at:] + extra[:at]))
                       for user, at in ((a, 0), (b, 3), (c, 5))]
            threads.append(threading.Thread(target=removes, args=(extra,)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            require(not failures, f"{failures}")
            require_equal(versions, sorted(versions), "versions never fall")
            time.sleep(0.3)
            members = set(groups.admin_members(server, group))
            require(set(groups.ids_of((a, b, c, d))) <= members, "those who stayed")
            seen = groups.info(watcher, group)
            require_equal(set(seen["group_member_list"]), members, "0x0404 and the operator's list")
            info = groups.admin_info(server, group)
            require_equal((info["member_count"], info["version"]), (len(members), seen["version"]), "0x0404")
            # The last 0x040b is the state: pushes come in the order of the versions.
            watcher.heartbeat()
            pushes = [got for got in watcher.pending if got.command == wire.MEMBERS_NOTIFY]
            require(pushes, "no 0x040b at all")
            require_equal(set(pushes[-1]["cur_user_id_list"]), members, "the last 0x040b")
            now = set(groups.ids_of((a, b, c, d)))
            for got in pushes:
                changed = set(got["chg_user_id_list"])
                now = now | changed if got["change_type"] == wire.ADD else now - changed
                require_equal(set(got["cur_user_id_list"]), now, "each 0x040b follows from the one before")
            watcher.pending.clear()

    for_each_members(server, 4, check)
