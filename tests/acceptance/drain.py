#!/usr/bin/env python3
"""TERM under load loses nothing: every message acknowledged is in the history after the restart.

Each drain: senders with full windows, readers that move their cursors, TERM in the middle. Then must hold:
exit 0 within 30 s; every client sees a clean close (whole frames, end of stream, no reset); restart within
5 s; each acknowledged id has its bytes; ids are 1…N, each text once; what was not acknowledged was not
stored (everybody read until the close); a cursor that was announced is still there.
    drain.py --build-dir build [--shards 1,2,4] [--drains 3]
"""

import argparse
import os
import random
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True

import server as servers
import wire
from client import Closed, log_in, marked_body, read_marked_body, require, require_equal

WINDOW = 64
PAIRS = 4
# These readers are slower than the server: its bound for slow readers, which cuts frames, is another test's matter.
CONFIG = {"limits": {"sends_per_second": 0, "requests_per_second": 0, "push_queue_bytes": 64 << 20}}
RESTART_S = 5


class Sender(threading.Thread):
    """Keeps a window of sends open until the server closes; remembers what was acknowledged."""

    def __init__(self, client, peer, rng, sent):
        super().__init__()
        self.client, self.peer, self.rng = client, peer, rng
        self.acked, self.sent, self.failure = {}, sent, None

    def run(self):
        try:
            self.pump()
        except Closed as closed:
            if "reset" in str(closed):
                self.failure = f"no clean close: {closed}"
        except BaseException as failure:
            self.failure = f"{type(failure).__name__}: {failure}"

    def pump(self):
        waiting, writable = {}, True
        while True:
            while writable and len(waiting) < WINDOW:
                seq = self.client.next_seq()
                self.sent += 1
                text = marked_body(self.client.user_id, self.sent, self.rng.choice((0, 0, 200, 4000)))
                waiting[seq] = text
                try:
                    self.client.send_text(self.peer.id, text, seq=seq)
                except OSError:  # closed meanwhile: what it had said before still counts
                    writable = False
            got = self.client.next_frame(time.monotonic() + 40)
            require(got is not None, "neither an answer nor a close for 40 s")
            if got.command == wire.MSG_ACK:
                self.acked[got["msg_id"]] = waiting.pop(got.seq)
            self.client.pending.clear()


class Listener(threading.Thread):
    """Hears everything until the server closes, and how far its user's cursor is."""

    def __init__(self, client, peer, reads):
        super().__init__()
        self.client, self.peer, self.reads = client, peer, reads
        self.announced, self.failure = 0, None

    def run(self):
        try:
            while True:
                got = self.client.next_frame(time.monotonic() + 40)
                require(got is not None, "no close for 40 s")
                if got.command == wire.READ_NOTIFY:
                    self.announced = max(self.announced, got["msg_id"])
                elif self.reads and got.command == wire.MSG_DATA and got["from_user_id"] == self.peer.id:
                    self.mark(got["msg_id"])
        except Closed as closed:
            if "reset" in str(closed):
                self.failure = f"no clean close: {closed}"
        except BaseException as failure:
            self.failure = f"{type(failure).__name__}: {failure}"

    def mark(self, msg_id):
        try:
            self.client.send(wire.READ_ACK, seq=0, user_id=0, session_id=self.peer.id, msg_id=msg_id,
                             session_type=wire.SINGLE)
        except OSError:  # closed meanwhile: what it had said before is still read
            self.reads = False


def drain_once(server, users, rng, number):
    """One TERM under load and its proof; returns (acknowledged, seconds of the drain)."""
    pairs = [(users[2 * i], users[2 * i + 1]) for i in range(PAIRS)]
    texts_before = {}
    for a, b in pairs:
        with log_in(server, a) as client:
            texts_before[a.id] = {m["msg_id"]: m["msg_data"] for m in client.pull_all(b.id)}
    readers = [Listener(log_in(server, b), a, True) for a, b in pairs]
    phones = [Listener(log_in(server, b, wire.IOS), a, False) for a, b in pairs]
    # No text twice: with the same seq_num it would be a repeat, and rightly be stored once only.
    senders = [Sender(log_in(server, a), b, rng, number * 1_000_000) for a, b in pairs]
    for thread in readers + phones + senders:
        thread.start()
    time.sleep(0.3 + rng.random() * 0.7)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(31)
    took = time.monotonic() - began
    for thread in readers + phones + senders:
        thread.join(45)
    for reader in readers + phones:
        require(reader.failure is None, f"a reader: {reader.failure}")
    for sender in senders:
        require(sender.failure is None, f"a sender: {sender.failure}")
    require_equal(code, 0, "exit code")
    require(took <= 30, f"the drain took {took:.1f} s")
    began = time.monotonic()
    server.start()
    require(time.monotonic() - began <= RESTART_S, f"restart took {time.monotonic() - began:.1f} s")
    acknowledged = 0
    for (a, b), sender, reader, phone in zip(pairs, senders, readers, phones):
        for client in (sender.client, reader.client, phone.client):
            client.close()
        with log_in(server, b) as client:
            history = {m["msg_id"]: m["msg_data"] for m in client.pull_all(a.id)}  # proves 1…N
            unread = client.unread_counts().get(a.id, 0)
        for msg_id, text in sender.acked.items():
            require_equal(history.get(msg_id), text, f"acknowledged message {msg_id}")
        require_equal(len(set(history.values())), len(history), "distinct texts")
        for text in history.values():
            require_equal(read_marked_body(text)[0], a.id, "author of a text")
        extra = set(history) - set(sender.acked) - set(texts_before[a.id])
        require(not extra, f"{len(extra)} messages stored that were never acknowledged: {sorted(extra)[:5]}")
        require(phone.announced > 0, "the cursor never moved")
        require(unread <= len(history) - phone.announced,
                f"{unread} unread of {len(history)}, but the cursor had been at {phone.announced}")
        acknowledged += len(sender.acked)
    require(acknowledged > 100, f"only {acknowledged} messages: this was no load")
    return acknowledged, took


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build-dir", default="build", help="where ringtalkd is")
    parser.add_argument("--shards", default="1,2,4", help="shard counts, one run each")
    parser.add_argument("--drains", type=int, default=3, help="drains per shard count")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep data directories and logs")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: (servers.kill_all(), os._exit(1)))
    ringtalkd = servers.find_ringtalkd(args.build_dir)
    passed = failed = 0
    for shards in (int(text) for text in args.shards.split(",")):
        rng = random.Random(args.seed * 100 + shards)
        servers.servers_of_row().clear()
        try:
            with servers.Server(ringtalkd, shards, CONFIG, keep=args.keep, label="drain") as server:
                users = server.make_users(2 * PAIRS)
                done = [drain_once(server, users, rng, number) for number in range(args.drains)]
            text = (f"{args.drains} drains, {sum(acked for acked, _ in done)} acknowledged, none lost, "
                    f"longest {max(took for _, took in done):.2f}s")
        except Exception as error:
            failed += 1
            print(f"drain shards={shards} FAILED: {type(error).__name__}: {error}", flush=True)
            for used in servers.servers_of_row():
                print("    | " + used.log_tail(20).replace("\n", "\n    | "), flush=True)
        else:
            passed += 1
            print(f"drain shards={shards} ok ({text})", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
