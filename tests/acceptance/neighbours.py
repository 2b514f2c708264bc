#!/usr/bin/env python3
"""What some clients do does not delay the others: p99 of active pairs with and without a disturbance.

slow_reader  A flood to users who are away, or in disturbed rounds are there and never read until the
             server closes them. Void if they were not closed as slow ones.
list_loop    Clients that ask for all users with time 0 again and again, of a directory of thousands; at
             the limits a server comes with. Void if they did not get many lists.
group_flood  Messages to a group whose 2,000 members are all there and read, on the shard of the pairs: at 1
             shard, which has a core for itself, our processes the others. (Where the readers share its
             core, the kernel runs them first, and what they cost is measured.) Void if they did not get them.

A round is the same load twice: pairs that chat in open loop (their latency from the intended send time is
what is measured), and the disturbance, run by a second process. Rounds come in pairs, one with and one
without it, in turn which is first. A pair's gain is what p99 gains; allowed is 10 % of the median baseline,
or 2 ms. No absolute time is judged. Control: a pair more, in whose disturbed round the server is stopped
for 30 ms several times a second; the comparison must notice it.

ok       The median gain is within what is allowed, after --rounds pairs or up to three times as many: it
         ends as soon as it is.
failed   The median gain is not within it after all those pairs, and three quarters of the pairs exceed it:
         noise lands on both rounds of a pair and leaves the gains on both sides. Also failed: the
         disturbance did not happen, or the control went unnoticed, three times on a quiet machine; and
         whatever else goes wrong (a neighbour loses a message or his connection).
skipped  The median is above, but fewer pairs are: no verdict. Or six times a pair or the control was void
         while the machine was busy: others had more than a third of a processor, taken from /proc/stat
         less what our three processes used. Or the baseline's own p99 is such that pauses of 30 ms cannot
         stand out: that is no property of the disturbance, and nothing could be told from it.

    neighbours.py --build-dir build [--rows slow_reader,list_loop] [--shards 1,2,4] [--rounds 7] [--seconds 1]
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import select
import signal
import statistics
import sys
import threading
import time

sys.dont_write_bytecode = True

import server as servers
import wire
from client import Failure, fresh_source, log_in, require
from registry import Skip

PAIRS = 10
SENDS_PER_PAIR_S = 80
READERS = 32
FLOOD_TEXT = "💬".encode() * 3_000
QUEUE_BYTES = 320 * 1024  # what a stalled reader takes before it is closed: queue and kernel buffer
UNPACED = {"limits": {"sends_per_second": 0, "requests_per_second": 0}}
DIRECTORY, LOOPERS = 5_000, 16
MEMBERS, GROUP_SENDS_S = 2_000, 5  # what a second process can read beside the pairs
NEIGHBOURS_UNPACED = {"limits": {"sends_per_second": 0}}
GAIN_MAX, SLACK_S = 0.10, 0.002
PATIENCE = 3  # times --rounds: so many pairs at most
REAL_SHARE = 0.75  # of all pairs exceed what is allowed: the gain is no accident
PAUSE_S, PAUSE_EVERY_S = 0.03, 0.12
PAUSE_TOLD_S = 0.025  # p99 that such pauses cause for certain
BUSY_CORES = 0.33  # of others: void rounds prove nothing
VOID_QUIET_MAX, VOID_BUSY_MAX = 3, 6


class Address:
    """What log_in() needs of a server that another process started."""

    def __init__(self, address):
        self.address = address


class User:
    def __init__(self, id, name, secret):
        self.id, self.name, self.secret = id, name, secret


# ---- the disturbances (their own process) --------------------------------------------------------

class SlowReaders:
    """A flood to users who do not read."""

    CONFIG = UNPACED
    SENDERS, USERS, OTHERS = 4, READERS, 0

    def __init__(self, server, senders, users):
        self.server, self.users, self.readers = server, users, []
        self.senders = [log_in(server, user, source=fresh_source()) for user in senders]

    def begin(self, disturb):
        self.readers = [log_in(self.server, user, wire.IOS, fresh_source(), receive_bytes=4096)
                        for user in self.users] if disturb else []

    def run(self, disturb, seconds):
        """Each user gets what fills its queue by the end of the round; every third one twice that."""
        order = [*range(len(self.users)), *range(0, len(self.users), 3)]
        per_reader = -(-QUEUE_BYTES // len(FLOOD_TEXT)) + 4
        gap = seconds / (per_reader * len(order))
        sockets = [sender.sock for sender in self.senders]
        n = 0
        began = time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            while n * gap <= now - began:
                user = self.users[order[n % len(order)]]
                self.senders[n % len(sockets)].send_raw(wire.request(
                    wire.MSG_DATA, n & 0xFFFF, from_user_id=0, to_session_id=user.id, msg_id=0, create_time=0,
                    msg_type=1, msg_data=b"%.6f " % now + FLOOD_TEXT))
                n += 1
            pause = max(0.0, began + n * gap - time.monotonic())
            for sock in select.select(sockets, [], [], pause)[0]:
                require(sock.recv(1 << 18), "a sender of the flood was closed")

    def end(self):
        for reader in self.readers:
            reader.abort()

    @staticmethod
    def count(server):
        """Connections closed because they did not read."""
        _, text = server.http("GET", "/metrics", token=False)
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith("ringtalk_closes_total{")
                   and ('cause="slow_reader"' in line or 'cause="send_stall"' in line))

    WANTED, WHAT = READERS // 4, "stalled readers were closed"


class ListLoop:
    """All users from time 0, then at once again: as fast as the server lets a client."""

    CONFIG = NEIGHBOURS_UNPACED
    SENDERS, USERS, OTHERS = 0, LOOPERS, DIRECTORY
    BEAT = wire.frame(wire.HEARTBEAT)

    def __init__(self, server, _, users):
        self.clients = [log_in(server, user, source=fresh_source()) for user in users]
        # A heartbeat behind each request: it comes back when the list is complete.
        self.wish = wire.request(wire.ALL_USERS_REQ, 1, user_id=0, latest_update_time=0) + self.BEAT

    def begin(self, disturb):
        if disturb and not all(client.beats for client in self.clients):
            for client in self.clients:
                self.ask(client)

    def ask(self, client):
        client.send_raw(self.wish)
        client.beats.append(self.BEAT)

    def run(self, disturb, seconds):
        until = time.monotonic() + seconds
        by_socket = {client.sock: client for client in self.clients}
        while (now := time.monotonic()) < until:
            if not disturb:
                time.sleep(until - now)
                return
            for sock in select.select(list(by_socket), [], [], until - now)[0]:
                client = by_socket[sock]
                client._fill(now)
                require(not client.eof, "a client that asks for lists was closed")
                done = any(got.command == wire.HEARTBEAT for got in client.arrived)
                client.arrived.clear()
                if done:
                    client.beats.popleft()
                    self.ask(client)

    def end(self):
        """Whatever is on its way arrives before the next round begins."""
        for client in self.clients:
            while client.beats:
                require(client._fill(time.monotonic() + 30) and not client.eof, "the end of a list")
                if any(got.command == wire.HEARTBEAT for got in client.arrived):
                    client.beats.popleft()
                client.arrived.clear()

    @staticmethod
    def count(server):
        return server.metric("ringtalk_contact_lists_total")

    WANTED, WHAT = LOOPERS, "lists were told"


class GroupFlood:
    """A group with everybody there."""

    CONFIG = UNPACED
    SENDERS, USERS, OTHERS = 1, MEMBERS, 0
    IDLE = True  # what 2,000 readers cost is not the server's: they step aside for whoever measures
    SHARDS = (1,)
    group = 0

    @classmethod
    def prepare(cls, server, senders, users):
        status, text = server.http("POST", "/api/v1/groups", {
            "name": "flood", "members": [user.id for user in senders + users]})
        require(status == 201, f"POST groups: {status} {text}")
        cls.group = json.loads(text)["id"]

    def __init__(self, server, senders, users):
        self.sender = log_in(server, senders[0], wire.ANDROID, fresh_source())
        self.members = [log_in(server, user, wire.ANDROID, fresh_source()) for user in users]
        self.poll = select.epoll()
        self.by_fd = {client.sock.fileno(): client.sock for client in (self.sender, *self.members)}
        for fd in self.by_fd:
            self.poll.register(fd, select.EPOLLIN)

    def begin(self, disturb):
        pass

    def run(self, disturb, seconds):
        began, n = time.monotonic(), 0
        while (now := time.monotonic()) < began + seconds:
            while disturb and n / GROUP_SENDS_S <= now - began:
                self.sender.send_raw(self.sender.message(self.group, b"to all %.6f" % now, n, wire.GROUP_TEXT))
                n += 1
            for fd, _ in self.poll.poll(min(0.05, began + seconds - now), 256):
                require(self.by_fd[fd].recv(1 << 16), "a member of the group was closed")

    def end(self):
        while ready := self.poll.poll(0.05):
            for fd, _ in ready:
                require(self.by_fd[fd].recv(1 << 16), "a member of the group was closed")

    @staticmethod
    def count(server):
        return server.metric("ringtalk_deliveries_total")

    WANTED, WHAT = MEMBERS * (GROUP_SENDS_S - 1), "deliveries in all"


def disturb_rounds(kind, pipe, address, senders, users):
    """Rounds as told over the pipe: (disturb, seconds), until None."""
    if getattr(kind, "IDLE", False):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    disturbance = kind(Address(address), senders, users)
    while (order := pipe.recv()) is not None:
        disturb, seconds = order
        disturbance.begin(disturb)
        pipe.send("ready")
        pipe.recv()
        disturbance.run(disturb, seconds)
        pipe.send("done")
        disturbance.end()


# ---- the neighbours ------------------------------------------------------------------------------

class Pair:
    def __init__(self, sender, receiver, index):
        self.sender, self.receiver = sender, receiver
        self.next_at = None
        self.offset = index / (PAIRS * SENDS_PER_PAIR_S)
        self.seq = 0


def measure(pairs, seconds):
    """Latencies in seconds, from the intended send time to the delivery, of that long a chat."""
    times = []
    by_socket = {}
    for pair in pairs:
        by_socket[pair.sender.sock] = pair.sender
        by_socket[pair.receiver.sock] = pair.receiver
    began = time.monotonic()
    for pair in pairs:
        pair.next_at = began + pair.offset
    waiting = 0
    while True:
        now = time.monotonic()
        ended = now >= began + seconds
        if ended and (waiting == 0 or now >= began + seconds + 10):
            require(waiting == 0, f"{waiting} messages were not delivered within 10 s")
            return times
        due = began + seconds + 10
        for pair in pairs:
            while not ended and pair.next_at <= now:
                pair.seq = pair.seq % 0xFFF0 + 1
                pair.sender.send_raw(pair.sender.message(pair.receiver.user_id, b"%.7f" % pair.next_at,
                                                         pair.seq))
                waiting += 1
                pair.next_at += 1 / SENDS_PER_PAIR_S
            due = min(due, pair.next_at)
        pause = 0.5 if ended else max(0.0, due - time.monotonic())
        for sock in select.select(list(by_socket), [], [], pause)[0]:
            client = by_socket[sock]
            client._fill(time.monotonic() + 1)
            at = time.monotonic()
            require(not client.eof, "a neighbour was closed")
            for got in client.arrived:
                if got.command == wire.MSG_DATA:
                    fields = wire.decode(got.command, got.body)
                    times.append(at - float(fields["msg_data"]))
                    waiting -= 1
            client.arrived.clear()


def p99(times):
    return sorted(times)[len(times) * 99 // 100]


# ---- rounds --------------------------------------------------------------------------------------

class OtherWork:
    """How busy others keep this machine from when it was made, what a hypervisor took included."""

    def __init__(self, pids):
        self.pids = pids
        self.began, self.at_first = time.monotonic(), self._ticks()

    def cores(self):
        elapsed = time.monotonic() - self.began
        return (self._ticks() - self.at_first) / os.sysconf("SC_CLK_TCK") / elapsed

    def _ticks(self):
        with open("/proc/stat", encoding="ascii") as stat:
            user, nice, system, _, _, irq, softirq, steal = map(int, stat.readline().split()[1:9])
        ours = 0
        for pid in self.pids:
            with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                ours += sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))
        return user + nice + system + irq + softirq + steal - ours


class Void(Exception):
    """What was to be measured did not happen."""

    def __init__(self, text, busy):
        super().__init__(text)
        self.busy = busy


class VoidCount:
    """Tries again what was void, and says in the end whether that was the machine's fault."""

    def __init__(self):
        self.quiet = self.busy = 0

    def until_valid(self, measured):
        while True:
            try:
                return measured()
            except Void as void:
                self.busy += void.busy
                self.quiet += not void.busy
                if self.quiet == VOID_QUIET_MAX:
                    raise Failure(f"void {self.quiet} times on a quiet machine: {void}") from None
                if self.busy == VOID_BUSY_MAX:
                    raise Skip(f"void {self.busy} times on a busy machine: {void}") from None


class Comparison:
    """Pairs of rounds of one server and one disturbance; p99 of each, without and with it."""

    def __init__(self, server, kind, pipe, disturber, pairs, seconds):
        self.server, self.kind, self.pipe, self.pairs, self.seconds = server, kind, pipe, pairs, seconds
        self.pids = (os.getpid(), disturber, server.process.pid)
        self.base, self.slow, self.medians = [], [], {False: [], True: []}
        self.events = self.samples = 0
        self.gain = self.allowed = None

    def one_round(self, disturb, pauses=False):
        """The latencies of a round; Void if it was to be disturbed and was not."""
        others = OtherWork(self.pids)
        before = self.kind.count(self.server)
        self.pipe.send((disturb, self.seconds))
        require(self.pipe.recv() == "ready", "the disturbance")
        stop = threading.Event()

        def pause():
            while not stop.wait(PAUSE_EVERY_S):
                self.server.process.send_signal(signal.SIGSTOP)
                time.sleep(PAUSE_S)
                self.server.process.send_signal(signal.SIGCONT)

        thread = threading.Thread(target=pause)
        if pauses:
            thread.start()
        self.pipe.send("go")
        try:
            times = measure(self.pairs, self.seconds)
            require(self.pipe.recv() == "done", "the disturbance")
        finally:
            stop.set()
            if pauses:
                thread.join()
        happened = self.kind.count(self.server) - before
        if disturb and happened < self.kind.WANTED:
            cores = others.cores()
            raise Void(f"only {happened:.0f} {self.kind.WHAT}, others had {cores:.2f} processors",
                       cores > BUSY_CORES)
        self.events += happened
        return times

    def one_pair(self):
        order = (False, True) if len(self.base) % 2 == 0 else (True, False)
        times = {disturb: self.one_round(disturb) for disturb in order}
        self.base.append(p99(times[False]))
        self.slow.append(p99(times[True]))
        for disturb in order:
            self.medians[disturb].append(statistics.median(times[disturb]))
            self.samples += len(times[disturb])
        self.allowed = max(GAIN_MAX * statistics.median(self.base), SLACK_S)
        self.gain = statistics.median(self.gains())

    def gains(self):
        return [slow - base for base, slow in zip(self.base, self.slow)]

    def above(self):
        return sum(gain > self.allowed for gain in self.gains())

    def control(self):
        """p99 of a round with pauses, which must stand out from one beside it."""
        others = OtherWork(self.pids)
        bare = p99(self.one_round(False))
        paused = p99(self.one_round(True, pauses=True))
        if paused <= bare + self.allowed:
            cores = others.cores()
            raise Void(f"30 ms pauses of the server went unnoticed, p99 {bare * 1e3:.1f} ms without and "
                       f"{paused * 1e3:.1f} ms with them, others had {cores:.2f} processors",
                       cores > BUSY_CORES or bare + self.allowed > PAUSE_TOLD_S)
        return paused

    def text(self):
        base50, slow50 = (statistics.median(self.medians[disturb]) for disturb in (False, True))
        return (f"neighbours' p99 {statistics.median(self.base) * 1e3:.2f} ms without, "
                f"{statistics.median(self.slow) * 1e3:.2f} ms with it, gain {self.gain * 1e3:+.2f} of "
                f"{self.allowed * 1e3:.2f} ms allowed, above in {self.above()} of {len(self.base)} pairs; "
                f"p50 {base50 * 1e3:.2f} and {slow50 * 1e3:.2f} ms; {self.samples} messages, "
                f"{self.events:.0f} {self.kind.WHAT}")

    def figures(self):
        return {"base": self.base, "slow": self.slow, "gain": self.gain, "allowed": self.allowed,
                "samples": self.samples, "events": self.events}

    def verdict(self, rounds):
        """Raises Failure or Skip; returns the control's p99."""
        voids = VoidCount()
        while len(self.base) < rounds or (self.gain > self.allowed and len(self.base) < PATIENCE * rounds):
            voids.until_valid(self.one_pair)
        if self.gain > self.allowed:
            if self.above() >= REAL_SHARE * len(self.base):
                raise Failure(self.text())
            raise Skip(f"no verdict: {self.text()}")
        return VoidCount().until_valid(self.control)


def compare(server, kind, rounds, seconds):
    """(the comparison, p99 of its control) of a row that is ok."""
    users = server.make_users(2 * PAIRS)
    for done in range(0, kind.OTHERS, 1000):
        server.make_users(min(1000, kind.OTHERS - done))
    groups = [[User(user.id, user.name, user.secret) for user in (server.make_users(count) if count else [])]
              for count in (kind.SENDERS, kind.USERS)]
    if hasattr(kind, "prepare"):
        kind.prepare(server, *groups)
    pipe, far = multiprocessing.Pipe()
    process = multiprocessing.Process(target=disturb_rounds, args=(kind, far, server.address, *groups),
                                      daemon=True)
    process.start()
    try:
        pairs = [Pair(log_in(server, users[2 * i]), log_in(server, users[2 * i + 1]), i)
                 for i in range(PAIRS)]
        measure(pairs, 0.5)
        comparison = Comparison(server, kind, pipe, process.pid, pairs, seconds)
        control = comparison.verdict(rounds)
        for pair in pairs:
            pair.sender.close()
            pair.receiver.close()
    finally:
        try:
            pipe.send(None)
        except OSError:
            pass
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
    return comparison, control


ROWS = {"slow_reader": SlowReaders, "list_loop": ListLoop, "group_flood": GroupFlood}


@contextlib.contextmanager
def beside_the_shard(wanted):
    """Off the first core, which a single shard has taken, where there is another one."""
    cores = os.sched_getaffinity(0)
    if wanted and len(cores) > 1:
        os.sched_setaffinity(0, cores - {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build-dir", default="build", help="where ringtalkd is")
    parser.add_argument("--rows", default="slow_reader,list_loop", help=f"what disturbs: {', '.join(ROWS)}")
    parser.add_argument("--shards", default="1,2,4", help="shard counts, one run each")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of rounds; up to three times that")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, too")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: (servers.kill_all(), os._exit(1)))
    ringtalkd = servers.find_ringtalkd(args.build_dir)
    passed = failed = skipped = 0
    runs = [(row, int(shards)) for row in args.rows.split(",") for shards in args.shards.split(",")
            if int(shards) in getattr(ROWS[row], "SHARDS", (int(shards),))]
    for row, shards in runs:
        head = f"{row} shards={shards}"
        servers.servers_of_row().clear()
        try:
            with servers.Server(ringtalkd, shards, ROWS[row].CONFIG, label="neighbours") as server, \
                    beside_the_shard(hasattr(ROWS[row], "SHARDS")):
                comparison, control = compare(server, ROWS[row], args.rounds, args.seconds)
        except Skip as skip:
            skipped += 1
            print(f"{head} skipped: {skip}", flush=True)
        except Exception as error:
            failed += 1
            print(f"{head} FAILED: {type(error).__name__}: {error}", flush=True)
            for used in servers.servers_of_row():
                print("    | " + used.log_tail(15).replace("\n", "\n    | "), flush=True)
        else:
            passed += 1
            if args.json:
                print(json.dumps({"row": row, "shards": shards, "control": control,
                                  **comparison.figures()}), flush=True)
            print(f"{head} ok ({comparison.text()}; control {control * 1e3:.1f} ms)", flush=True)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
