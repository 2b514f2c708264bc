#!/usr/bin/env python3
"""Dies at every named kill-point under load, restarts, and looks for anything acknowledged that is gone.

For each name that `ringtalkd --list-killpoints` prints (a build with -Dkillpoints=true):
  1. a plain start makes users and some history, and stops in order
  2. a start with RINGTALK_KILLPOINT=name[:n] takes load from several senders until the process dies;
     if it does not, it is asked to stop, started again, started with another shard count (points of
     recovery, sealing, draining); a name never reached is a failure
  3. a plain start; everybody logs in again and pulls every conversation: what was acknowledged is there
     under its id, ids are 1…N, no text is under two ids, sends in doubt are repeated and stay single,
     new sends work; in half of the cases the same once more with another shard count
One line per name, then the sum. Segments are 1 MiB, so that rolls, footers and snapshots happen.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True

import server
import storage
import wire
from client import (Failure, log_in, marked_body, read_marked_body, require, require_equal,
                    shorten)

CONFIG = {"limits": {"sends_per_second": 0}, "store": {"segment_bytes": 1 << 20}}
LOAD_S = 8          # one stretch of load; reached points die long before
LOAD_LONG_S = 25    # the second try of a name that was not reached
REPEAT_WINDOW_S = 45


ON_MYSQL = "mysql_"  # those of the other store
FIRST_START = ("secret_key_",)  # names of kill-points that no later start and no load passes


class World:
    """What the outside knows: users, what was acknowledged under which id, what is in doubt."""

    def __init__(self, rng):
        self.rng = rng
        self.users = []
        self.made = {}     # name -> id: users whose creation was answered
        self.acked = {}    # (smaller id, larger id) -> {msg_id: text}
        self.doubt = []    # (sender, receiver, seq, text, when): sent, no answer seen
        self.op = 0
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.wrong = None

    def next_text(self, sender, size):
        with self.lock:
            self.op += 1
            return marked_body(sender.id, self.op, size), self.op & 0xFFFF

    def ack(self, sender, receiver, msg_id, text):
        pair = (min(sender.id, receiver.id), max(sender.id, receiver.id))
        with self.lock:
            known = self.acked.setdefault(pair, {})
            if known.setdefault(msg_id, text) != text:
                self.wrong = f"{pair}: id {msg_id} acknowledged for two texts"

    def add_users(self, users):
        with self.lock:
            self.users += users
            self.made |= {user.name: user.id for user in users}

    def acked_count(self):
        return sum(len(ids) for ids in self.acked.values())


def drain(client, waiting, world, sender, seconds):
    """Takes acknowledgements until all are in, the time is up, or the server is gone (False then)."""
    deadline = time.monotonic() + seconds
    while waiting:
        try:
            got = client.next_frame(deadline)
        except (AssertionError, OSError):
            return False
        if got is None:
            return True
        if got.command == wire.MSG_ACK and got.seq in waiting:
            receiver, text, _when = waiting.pop(got.seq)
            world.ack(sender, receiver, got["msg_id"], text)
    return True


def send_load(target, world, sender, peers):
    """One sender: windows of 16 to random peers, read marks in between, until the end or the death."""
    rng = random.Random(sender.id * 7919 + world.op)
    waiting = {}
    try:
        client = log_in(target, sender)
    except (AssertionError, OSError):
        return
    alive = True
    try:
        while alive and not world.stop.is_set():
            frames = []
            for _ in range(rng.randint(1, 16)):
                receiver = rng.choice(peers)
                text, seq = world.next_text(sender, rng.choice((0, 100, 2000, 4000)))
                if seq in waiting:
                    continue
                waiting[seq] = (receiver, text, time.monotonic())
                frames.append(client.message(receiver.id, text, seq))
            peer = rng.choice(peers)
            frames.append(wire.request(wire.READ_ACK, 0, user_id=0, session_id=peer.id, msg_id=0,
                                       session_type=wire.SINGLE))
            client.send_raw(b"".join(frames))
            alive = drain(client, waiting, world, sender, 10)
            client.pending.clear()
    except OSError:
        drain(client, waiting, world, sender, 1)
    with world.lock:
        world.doubt += [(sender, receiver, seq, text, when)
                        for seq, (receiver, text, when) in waiting.items()]
    client.close()


def make_load(target, world):
    """Users come and start conversations: the slow tables are written, too."""
    while not world.stop.is_set() and target.running():
        try:
            fresh = target.make_users(2)
            world.add_users(fresh)
            one, two = fresh
            with log_in(target, one) as client:
                text, seq = world.next_text(one, 50)
                waiting = {seq: (two, text, time.monotonic())}
                client.send_text(two.id, text, seq=seq)
                drain(client, waiting, world, one, 10)
                with world.lock:
                    world.doubt += [(one, *waiting[s][:1], s, *waiting[s][1:]) for s in waiting]
            one_more = target.make_user(password="secret")
            world.add_users([one_more])
            log_in(target, one_more).close()
        except (AssertionError, OSError, ValueError, server.http.client.HTTPException):
            pass  # died in between: what was not answered is owed nothing
        world.stop.wait(0.05)


def run_load(target, world, seconds):
    """True if the process died under it."""
    world.stop.clear()
    base = world.users[:6]
    threads = [threading.Thread(target=send_load, args=(target, world, sender,
                                                        [u for u in base if u is not sender]))
               for sender in base[:4]]
    threads.append(threading.Thread(target=make_load, args=(target, world)))
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    while target.running() and time.monotonic() < deadline:
        time.sleep(0.01)
    died = not target.running()
    world.stop.set()
    for thread in threads:
        thread.join(60)
        require(not thread.is_alive(), "a sender hangs")
    return died or not target.running()


def stop_or_die(target):
    """SIGTERM: True if it died of the kill-point on its way out, False if it ended well."""
    target.process.send_signal(signal.SIGTERM)
    try:
        target.process.wait(server.STOP_S)
    except subprocess.TimeoutExpired:
        raise Failure(f"still running {server.STOP_S} s after SIGTERM") from None
    code = target.process.returncode
    require(code in (0, -signal.SIGKILL), f"ended with {target.exit_text()}")
    return code != 0


def start_or_die(target, shards):
    target.shards = shards
    target.launch()
    return not target.wait_ready()


def reach(target, name, passage, shards, world):
    """Runs until the kill-point strikes; returns where it did, or None."""
    target.env["RINGTALK_KILLPOINT"] = name if passage == 1 else f"{name}:{passage}"
    other = shards % 4 + 1
    try:
        for where, count, seconds in (("load", shards, LOAD_S), ("load after a restart", shards, LOAD_S),
                                      ("load with other shards", other, LOAD_LONG_S)):
            if start_or_die(target, count):
                return f"start before {where}"
            if run_load(target, world, seconds):
                return where
            if stop_or_die(target):
                return f"stop after {where}"
        return None
    finally:
        if target.running():
            target.kill9()
        if target.process.returncode not in (0, -signal.SIGKILL):
            raise Failure(f"died by {target.exit_text()}, not by the kill-point")
        del target.env["RINGTALK_KILLPOINT"]


def check(target, world):
    """Everybody pulls everything. Returns the number of messages found."""
    require(not world.wrong, world.wrong)
    listed = target.list_users()
    for name, id in world.made.items():
        require(name in listed, f"user {name}, whose creation was answered, is gone")
        require_equal(listed[name]["id"], id, f"id of user {name}")
    people = {user.id: user for user in world.users}
    now = time.monotonic()
    for sender, receiver, seq, text, when in world.doubt:  # the same send again: one message, one id
        if now - when > REPEAT_WINDOW_S:
            continue
        with log_in(target, sender) as client:
            client.send_text(receiver.id, text, seq=seq)
            world.ack(sender, receiver, client.ack_of(seq), text)
    pairs = set(world.acked) | {(min(s.id, r.id), max(s.id, r.id)) for s, r, *_ in world.doubt}
    world.doubt.clear()
    found = 0
    for small, large in sorted(pairs):
        with log_in(target, people[small]) as client:
            history = client.pull_all(large)  # proves 1…N without a gap
        texts = {}
        for entry in history:
            author, op = read_marked_body(entry["msg_data"])
            require(author == entry["from_session_id"], f"message {entry['msg_id']} of {author} under "
                                                        f"the name of {entry['from_session_id']}")
            require(op not in texts, f"{small}-{large}: op {op} under ids {texts.get(op)} and "
                                     f"{entry['msg_id']}")
            texts[op] = entry["msg_id"]
        stored = {entry["msg_id"]: entry["msg_data"] for entry in history}
        for msg_id, text in world.acked.get((small, large), {}).items():
            require(stored.get(msg_id) == text, f"{small}-{large}: acknowledged message {msg_id} is "
                    f"{'missing' if msg_id not in stored else 'another: ' + shorten(stored[msg_id])}")
        world.acked[small, large] = stored  # whatever was seen once must stay
        found += len(history)
    one, two = world.users[:2]
    pair = (min(one.id, two.id), max(one.id, two.id))
    with log_in(target, one) as sender, log_in(target, two) as receiver:
        for _ in range(5):
            text, seq = world.next_text(one, 100)
            sender.send_text(two.id, text, seq=seq)
            msg_id = sender.ack_of(seq)
            require_equal(msg_id, len(world.acked.get(pair, {})) + 1, "id of a new message")
            require_equal(receiver.hear(text)["msg_id"], msg_id, "id delivered")
            world.ack(one, two, msg_id, text)
    return found


def run_point(ringtalkd, name, passage, shards, other_shards, seed, keep):
    world = World(random.Random(seed))
    began = time.monotonic()
    with server.Server(ringtalkd, shards, CONFIG, {}, keep, f"kill-{name}") as target:
        world.add_users(target.make_users(6))
        base = world.users[:6]
        for sender in base[:3]:
            with log_in(target, sender) as client:
                for receiver in base[3:]:
                    text, seq = world.next_text(sender, 1000)
                    client.send_text(receiver.id, text, seq=seq)
                    world.ack(sender, receiver, client.ack_of(seq), text)
        target.term()
        where = reach(target, name, passage, shards, world)
        if where is None and passage != 1:
            where = reach(target, name, 1, shards, world)
        acked = world.acked_count()
        target.shards = shards
        ready = time.monotonic()
        target.start()
        ready = time.monotonic() - ready
        found = check(target, world)
        if other_shards:
            target.restart(shards=shards % 4 + 1)
            check(target, world)
            target.restart(shards=shards)
            check(target, world)
        require(where is not None, "not reached, however much load")
        target.close()
    return (f"died at {where}, {acked} acknowledged, {found} found, ready again in {ready:.2f}s, "
            f"{time.monotonic() - began:.1f}s in all")


def run_first_start(ringtalkd, name, shards, keep):
    """Points that only the very first start on an empty directory passes."""
    with server.Server(ringtalkd, shards, CONFIG, {"RINGTALK_KILLPOINT": name}, keep, f"kill-{name}",
                       start=False) as target:
        require(start_or_die(target, shards), "not reached at the first start")
        require_equal(target.process.returncode, -signal.SIGKILL, "how it ended")
        del target.env["RINGTALK_KILLPOINT"]
        target.start()
        one, two = target.make_users(2)
        with log_in(target, one) as sender, log_in(target, two) as receiver:
            sender.send_text(two.id, b"first words", seq=7)
            require_equal(sender.ack_of(7), 1, "id of the first message")
            receiver.hear(b"first words")
        target.close()
    return "died at the first start, the second one works"


def list_points(ringtalkd):
    done = subprocess.run([ringtalkd, "--list-killpoints"], capture_output=True, text=True, timeout=30)
    names = done.stdout.split()
    if done.returncode or not names:
        raise SystemExit(f"{ringtalkd} knows no kill-points: build it with -Dkillpoints=true\n{done.stderr}")
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--test-build-dir", default="build-killpoints", help="a build with kill-points")
    parser.add_argument("--schema-build-dir", default="build", help="whose make_schema is used")
    parser.add_argument("--only", help="names, comma separated")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="how often each name, with other passages")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep data directories and logs")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: (server.kill_all(), os._exit(1)))
    ringtalkd = server.find_ringtalkd(args.test_build_dir)
    names = args.only.split(",") if args.only else list_points(ringtalkd)
    rng = random.Random(args.seed)
    passed = failed = 0
    turns = [(turn, i, name) for turn in range(args.rounds) for i, name in enumerate(names)]
    for mysql in (False, True):  # behind the others: there is no way back
        for turn, i, name in turns:
            if name.startswith(ON_MYSQL) != mysql:
                continue
            if mysql:
                storage.use("mysql", args.schema_build_dir)
            passage = 1 if turn == 0 and i % 2 == 0 else rng.randint(1, 20 if turn else 4)
            server.servers_of_row().clear()
            try:
                if name.startswith(FIRST_START):
                    text = run_first_start(ringtalkd, name, args.shards, args.keep)
                else:
                    text = run_point(ringtalkd, name, passage, args.shards, (i + turn) % 2 == 0,
                                     args.seed + i, args.keep)
            except Exception as error:
                failed += 1
                print(f"{name}:{passage} FAILED: {type(error).__name__}: {error}", flush=True)
                for used in server.servers_of_row():
                    print("    | " + used.log_tail(20).replace("\n", "\n    | "), flush=True)
            else:
                passed += 1
                print(f"{name}:{passage} ok: {text}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
