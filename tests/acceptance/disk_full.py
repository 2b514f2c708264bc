#!/usr/bin/env python3
"""A data directory on a small file system of its own, filled to the last block under load.

Promise D5: sends are refused within 4 s, logins and reads go on, service resumes within 5 s of space
returning without a restart; nothing acknowledged is missing, nothing refused appears later. Needs root
for the mount; where that is not to be had the row says so. Run alone, this file runs only this row.
"""

import sys

if __name__ == "__main__":  # before the rows are defined: run.py imports this file to define them
    import run
    sys.exit(run.main(["--only", "D5", *sys.argv[1:]]))

import atexit
import os
import shutil
import subprocess
import tempfile
import time

import storage
import wire
from client import log_in, marked_body, require, require_equal
from registry import Skip, row

DISK_BYTES = 40 << 20
FREE_BYTES = 2 << 20   # left when the load begins
BODY_BYTES = 4000
REFUSED_S = 4.0
RESUMED_S = 5.0
LOAD_S = 60
CONFIG = {"limits": {"sends_per_second": 0}, "store": {"segment_bytes": 1 << 20}}
WINDOW = 16


class SmallDisk:
    """An ext4 image mounted on a loop device."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="ringtalk-disk-")
        self.image = os.path.join(self.folder, "image")
        self.path = os.path.join(self.folder, "disk")
        self.filler = os.path.join(self.path, "filler")
        self.mounted = False
        atexit.register(self.close)
        os.mkdir(self.path)
        with open(self.image, "wb") as image:
            image.truncate(DISK_BYTES)
        try:
            self.do("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
            self.do("mount", "-o", "loop", self.image, self.path)
        except Skip:
            self.close()
            raise
        self.mounted = True

    @staticmethod
    def do(*command):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except OSError as error:
            raise Skip(f"no small disk: {command[0]}: {error}") from None
        if done.returncode != 0:
            raise Skip(f"no small disk: {' '.join(command[:3])}: {done.stderr.strip()[-200:]}")

    def free_bytes(self):
        info = os.statvfs(self.path)
        return info.f_bavail * info.f_frsize

    def fill(self, leave):
        """Takes all space but that; what else is written meanwhile may take it back from us."""
        with open(self.filler, "ab") as filler:
            size = os.fstat(filler.fileno()).st_size
            for step in (1 << 20, 64 << 10, 4 << 10):
                while self.free_bytes() >= leave + step:
                    try:
                        os.posix_fallocate(filler.fileno(), size, step)
                    except OSError:
                        break
                    size += step

    def free(self):
        os.unlink(self.filler)

    def close(self):
        atexit.unregister(self.close)
        if self.mounted:
            subprocess.run(["umount", "-l", self.path], capture_output=True, timeout=60)
            self.mounted = False
        shutil.rmtree(self.folder, ignore_errors=True)


class Pair:
    """Who writes to whom, and what was acknowledged."""

    def __init__(self, sender, receiver):
        self.sender, self.receiver = sender, receiver
        self.client = None
        self.acked = {}    # msg_id -> text
        self.waiting = {}  # seq -> text
        self.op = 0

    def send(self, count=1):
        frames = []
        for _ in range(count):
            self.op += 1
            text = marked_body(self.sender.id, self.op, BODY_BYTES)
            seq = self.client.next_seq()
            self.waiting[seq] = text
            frames.append(self.client.message(self.receiver.id, text, seq))
        self.client.send_raw(b"".join(frames))

    def take(self, seconds):
        """Acknowledgements, until all are in or the time is up. Returns how many came."""
        deadline, came = time.monotonic() + seconds, 0
        while self.waiting:
            got = self.client.next_frame(deadline)
            if got is None:
                break
            if got.command == wire.MSG_ACK:
                text = self.waiting.pop(got.seq, None)
                require(text is not None, f"{got!r}: acknowledged after it was refused, or twice")
                require(got["msg_id"] not in self.acked, f"id {got['msg_id']} acknowledged twice")
                require(got["msg_id"] > 0, "acknowledged with id 0")
                self.acked[got["msg_id"]] = text
                came += 1
        return came

    def check(self, server):
        with log_in(server, self.receiver) as client:
            stored = {m["msg_id"]: m["msg_data"] for m in client.pull_all(self.sender.id)}
        require_equal(sorted(stored), list(range(1, len(self.acked) + 1)), "ids stored")
        for msg_id, text in self.acked.items():
            require(stored[msg_id] == text, f"message {msg_id} is not what was acknowledged")


class Load:
    """Sends that are decided: acknowledged, or counted as refused; both within the 4 s."""

    def __init__(self, ctx, server):
        self.server, self.within = server, (REFUSED_S + 1) * ctx.patience

    def round(self, pairs, each):
        """Returns (acknowledged, seconds until all were decided)."""
        before, began, came = self.refused(), time.monotonic(), 0
        for pair in pairs:
            pair.send(each)
        while True:
            came += sum(pair.take(0.02) for pair in pairs)
            took = time.monotonic() - began
            if came + self.refused() - before == len(pairs) * each:
                break
            require(took < self.within, f"after {took:.1f} s {came} of {len(pairs) * each} sends "
                                        f"acknowledged, {self.refused() - before} refused")
        for pair in pairs:
            came += pair.take(0.1)  # nothing must come after a refusal
            pair.client.heartbeat()
            pair.waiting.clear()
        require(came + self.refused() - before == len(pairs) * each, "acknowledged and refused")
        return came, took

    def refused(self):
        return self.server.metric("ringtalk_sends_refused_total")

    def until_refused(self, pairs, disk):
        """Until nothing is left that anybody could write to."""
        deadline = time.monotonic() + LOAD_S
        while sum(self.round(pairs, WINDOW)[0] for _ in range(2)) > 0:
            require(time.monotonic() < deadline, f"{LOAD_S} s of load did not fill the disk")
        disk.fill(0)  # what smaller writes could still find
        # A segment may have been prepared meanwhile, or one that did not fit gave its part back.
        quiet = 0
        while quiet < 2:
            quiet = quiet + 1 if self.round(pairs, WINDOW)[0] == 0 else 0
            require(time.monotonic() < deadline, f"{LOAD_S} s of load did not fill the disk")
            disk.fill(0)

    def all_refused(self, pairs):
        came, took = self.round(pairs, 1)
        require_equal(came, 0, "acknowledged on a full disk")
        return took

    def resumes(self, pairs):
        began = time.monotonic()
        while self.round(pairs, 1)[0] < len(pairs):
            require(time.monotonic() - began < RESUMED_S, "not all are acknowledged 5 s after space returned")
        return time.monotonic() - began


def reads_go_on(server, typed, pairs):
    """Logins of both kinds, history, unread counts; what must write says so and is not done."""
    log_in(server, typed).close()
    for pair in pairs:
        with log_in(server, pair.receiver) as client:
            page = client.list(pair.sender.id)
            newest = max(pair.acked)
            require_equal(page[0]["msg_id"], newest, "newest message in the history")
            require(page[0]["msg_data"] == pair.acked[newest], "newest message is another")
    status, text = server.http("POST", "/api/v1/users", {"name": "late", "password": "secret"})
    require(status == 201 or status >= 500, f"POST /api/v1/users on a full disk: {status} {text}")
    require("late" not in server.list_users() or status == 201, "a user that was refused is there")
    return status


def verify(server):
    ctl = os.path.join(os.path.dirname(server.ringtalkd), "ringtalkctl")
    if not os.access(ctl, os.X_OK):
        return "no ringtalkctl to verify with"
    done = subprocess.run([ctl, "store", "verify", server.data_dir], capture_output=True, text=True,
                          timeout=120)
    require_equal(done.returncode, 0, f"store verify: {done.stdout[-300:]} {done.stderr[-300:]}")
    return "verified"


@row("D5", slow=True)
def disk_full(ctx):
    if storage.is_mysql():
        raise Skip("the disk is that of MySQL")
    disk = SmallDisk()
    try:
        return fill_and_free(ctx, disk)
    finally:
        disk.close()


def fill_and_free(ctx, disk):
    with ctx.server(CONFIG, label="D5", start=False) as server:
        server.data_dir = os.path.join(disk.path, "data")
        server.start()
        typed = server.make_user(password="secret")
        users = server.make_users(12)
        pairs = [Pair(one, two) for one, two in zip(users[:4], users[4:8])]

        def connect():
            for pair in pairs:
                pair.client = log_in(server, pair.sender)

        connect()
        load = Load(ctx, server)
        require_equal(load.round(pairs, 1)[0], len(pairs), "acknowledged before the disk is full")
        remarks = []
        for turn in range(2):
            disk.fill(FREE_BYTES)
            load.until_refused(pairs, disk)
            refused = load.all_refused(pairs)
            status = reads_go_on(server, typed, pairs)
            if turn == 1:  # killed and started on the full disk: as before
                server.restart(kill=True)
                connect()
                load.until_refused(pairs, disk)  # the start cut segments that were not full
                load.all_refused(pairs)
                reads_go_on(server, typed, pairs)
            fresh = Pair(users[8 + turn], users[10 + turn])  # a conversation that never was
            fresh.client = log_in(server, fresh.sender)
            load.all_refused([fresh])
            pairs.append(fresh)
            disk.free()
            resumed = load.resumes(pairs)
            remarks.append(f"refused in {refused:.1f}s, new user {status}, resumed in {resumed:.1f}s")
        for pair in pairs:
            pair.check(server)
        disk.fill(FREE_BYTES)
        load.until_refused(pairs, disk)
        server.term()  # an orderly stop with nothing free
        remarks.append(verify(server))
        disk.fill(0)  # what the stop gave back, SQLite's shared memory with it
        server.start()
        connect()
        load.until_refused(pairs, disk)
        reads_go_on(server, typed, pairs)
        disk.free()
        load.resumes(pairs)
        for pair in pairs:
            pair.check(server)
        require_equal(load.round(pairs, 1)[0], len(pairs), "acknowledged after the restart")
        for pair in pairs:
            pair.client.close()
        acked = sum(len(pair.acked) for pair in pairs)
        server.close()
    return f"{acked} acknowledged, none lost; " + "; ".join(remarks)
