#!/usr/bin/env python3
"""Readers that stop do not delay their neighbours: p99 of active pairs with and without stalled readers.

A round is the same load twice: pairs that chat in open loop (their latency from the intended send time is
what is measured), and a flood to other users, run by a second process. In baseline rounds those users are
away; in stalled rounds each is there and never reads, until the server closes him. Rounds are interleaved
in pairs; the median over the pairs of what p99 gains must be <= 10 % of the median baseline, or <= 2 ms
(reliability.md S2). No absolute time is judged. Void, and a failure, if the stalled readers were not
closed as slow ones. Control: one more round in which the server is stopped for 30 ms several times a
second; the comparison must notice it.
    slow_reader.py --build-dir build [--shards 1,2,4] [--rounds 7] [--seconds 1]
"""

import argparse
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

PAIRS = 10
SENDS_PER_PAIR_S = 80
READERS = 32
FLOOD_TEXT = "💬".encode() * 3_000
QUEUE_BYTES = 320 * 1024  # what a stalled reader takes before it is closed: queue and kernel buffer
CONFIG = {"limits": {"sends_per_second": 0, "requests_per_second": 0}}
GAIN_MAX, SLACK_S = 0.10, 0.002


class Address:
    """What log_in() needs of a server that another process started."""

    def __init__(self, address):
        self.address = address


class User:
    def __init__(self, id, name, secret):
        self.id, self.name, self.secret = id, name, secret


# ---- the flood (its own process) -----------------------------------------------------------------

def flood(pipe, address, sender_users, reader_users):
    """Rounds as told over the pipe: (stalled, seconds), until None."""
    server = Address(address)
    senders = [log_in(server, user, source=fresh_source()) for user in sender_users]
    while (order := pipe.recv()) is not None:
        stalled, seconds = order
        readers = [log_in(server, user, wire.IOS, fresh_source(), receive_bytes=4096)
                   for user in reader_users] if stalled else []
        pipe.send("ready")
        pipe.recv()
        flood_round(senders, reader_users, seconds)
        pipe.send("done")
        for reader in readers:
            reader.abort()


def flood_round(senders, users, seconds):
    """Each user gets what fills its queue by the end of the round; every third one twice that."""
    order = [*range(len(users)), *range(0, len(users), 3)]
    per_reader = -(-QUEUE_BYTES // len(FLOOD_TEXT)) + 4
    gap = seconds / (per_reader * len(order))
    sockets = [sender.sock for sender in senders]
    n = 0
    began = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        while n * gap <= now - began:
            user = users[order[n % len(order)]]
            senders[n % len(senders)].send_raw(wire.request(
                wire.MSG_DATA, n & 0xFFFF, from_user_id=0, to_session_id=user.id, msg_id=0, create_time=0,
                msg_type=1, msg_data=b"%.6f " % now + FLOOD_TEXT))
            n += 1
        pause = max(0.0, began + n * gap - time.monotonic())
        for sock in select.select(sockets, [], [], pause)[0]:
            require(sock.recv(1 << 18), "a sender of the flood was closed")


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

def slow_closes(server):
    """Connections closed because they did not read."""
    _, text = server.http("GET", "/metrics", token=False)
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if line.startswith("ringtalk_closes_total{")
               and ('cause="slow_reader"' in line or 'cause="send_stall"' in line))


def one_round(server, pipe, pairs, stalled, seconds, pauses=False):
    before = slow_closes(server)
    pipe.send((stalled, seconds))
    require(pipe.recv() == "ready", "the flood")
    stop = threading.Event()

    def pause():
        while not stop.wait(0.12):
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(0.03)
            server.process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=pause)
    if pauses:
        thread.start()
    pipe.send("go")
    times = measure(pairs, seconds)
    require(pipe.recv() == "done", "the flood")
    stop.set()
    if pauses:
        thread.join()
    closed = slow_closes(server) - before
    if stalled:
        require(closed >= READERS // 4, f"void: only {closed:.0f} of {READERS} stalled readers were closed")
    return times, closed


def gain_of(baseline, stalled):
    """(what p99 gains, what it may): paired, so that a busy minute of the machine is in both."""
    gain = statistics.median(s - b for b, s in zip(baseline, stalled))
    return gain, max(GAIN_MAX * statistics.median(baseline), SLACK_S)


def compare(server, rounds, seconds):
    users = server.make_users(2 * PAIRS)
    flooders, readers = server.make_users(4), server.make_users(READERS)
    plain = [[User(user.id, user.name, user.secret) for user in group] for group in (flooders, readers)]
    pipe, far = multiprocessing.Pipe()
    process = multiprocessing.Process(target=flood, args=(far, server.address, *plain), daemon=True)
    process.start()
    try:
        pairs = [Pair(log_in(server, users[2 * i]), log_in(server, users[2 * i + 1]), i)
                 for i in range(PAIRS)]
        measure(pairs, 0.5)
        found = {False: [], True: []}
        closed = 0
        for _ in range(3):  # a busy machine: the verdict of twice, of three times as many rounds
            for n in range(rounds):
                for stalled in ((False, True), (True, False))[n % 2]:
                    times, more = one_round(server, pipe, pairs, stalled, seconds)
                    found[stalled].append(times)
                    closed += more
            base, slow = ([p99(times) for times in found[kind]] for kind in (False, True))
            gain, allowed = gain_of(base, slow)
            if gain <= allowed:
                break
        control, _ = one_round(server, pipe, pairs, True, seconds, pauses=True)
        require(p99(control) > statistics.median(base) + allowed,
                f"void: 30 ms pauses of the server went unnoticed, p99 {p99(control) * 1e3:.2f} ms")
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
    return {
        "rounds": len(base), "closed": int(closed),
        "samples": sum(map(len, found[False])) + sum(map(len, found[True])),
        "p50": [statistics.median(map(statistics.median, found[kind])) for kind in (False, True)],
        "p99": [statistics.median(base), statistics.median(slow)], "control": p99(control),
        "gain": gain, "allowed": allowed,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build-dir", default="build", help="where ringtalkd is")
    parser.add_argument("--shards", default="1,2,4", help="shard counts, one run each")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of rounds; up to three times that if in doubt")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, too")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: (servers.kill_all(), os._exit(1)))
    ringtalkd = servers.find_ringtalkd(args.build_dir)
    passed = failed = 0
    for shards in (int(text) for text in args.shards.split(",")):
        head = f"slow_reader shards={shards}"
        servers.servers_of_row().clear()
        try:
            with servers.Server(ringtalkd, shards, CONFIG, label="slow") as server:
                got = compare(server, args.rounds, args.seconds)
            (base50, slow50), (base99, slow99) = got["p50"], got["p99"]
            text = (f"neighbours' p99 {base99 * 1e3:.2f} ms without, {slow99 * 1e3:.2f} ms with stalled "
                    f"readers, gain {got['gain'] * 1e3:+.2f} of {got['allowed'] * 1e3:.2f} ms allowed; "
                    f"p50 {base50 * 1e3:.2f} and {slow50 * 1e3:.2f} ms; {got['rounds']} rounds each, "
                    f"{got['samples']} messages, {got['closed']} readers closed; control "
                    f"{got['control'] * 1e3:.1f} ms")
            if args.json:
                print(json.dumps({"shards": shards, **got}), flush=True)
            if got["gain"] > got["allowed"]:
                raise Failure(text)
        except Exception as error:
            failed += 1
            print(f"{head} FAILED: {type(error).__name__}: {error}", flush=True)
            for used in servers.servers_of_row():
                print("    | " + used.log_tail(15).replace("\n", "\n    | "), flush=True)
        else:
            passed += 1
            print(f"{head} ok ({text})", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
