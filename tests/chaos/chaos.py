#!/usr/bin/env python3
"""One node under load, killed, cut off from power and starved of disk, and every promise checked afterwards.

    chaos.py [--quick] [--only PART,…] [--seed N] [--rounds N] [--build-dir build] [--test-build-dir DIR]

Each part runs worlds: a fresh server, a dozen people who write, read, come and go (crowd.py), round after
round of load and fault on the same data, then peace: everybody reads everything by a fresh client, the closed
store is read directly, and check.py judges the recorded history. Parts:

    kill       kill -9 at random moments
    points     the test build dies at each of its kill-points
    freeze     SIGSTOP under a flood, TERM under load: nobody may be forgotten
    power      power cuts (disks.py)
    control    the same without syncs: must lose, or the rig proves nothing
    io_error   every write and sync fails, the process is left alone: no acknowledgement, exit 1
    full       disk full and free again under load
    damage     bit flips and truncations of closed stores (damage.py)
    seeded     defects built into the test build: each must be found under its name

What this machine cannot do is named as not run. A history with anomalies is kept, and its place told.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "acceptance"))

import server as servers
import wire
from client import Failure, require
from crowd import Crowd
from damage import build, read_dump
from disks import LoopDisk, NotHere, fast_folder
from history import FORMAT, Recorder, group_key, read_body

CONFIG = {"limits": {"sends_per_second": 0, "requests_per_second": 0, "push_queue_bytes": 64 << 20},
          "store": {"segment_bytes": 1 << 20}}
DECISION_US = 5_000_000  # the promise is 4 s, and 1 s for the answer
USERS, GROUPS = 10, 3
EXIT_S = 10              # until a process whose disk failed must have ended
CROWD, SOUND_BYTES = 140, 100_000  # each fills its socket: together more than the 1,024 buffers of one shard
FLOODS_MAX = 6
FULL_S, RESUME_S = 60, 20
REFUSED_MIN = 200        # beyond what is refused for other reasons
ON_MYSQL = "mysql_"  # kill-points of the other store
FIRST_START = "secret_key_"  # kill-points that no later start passes
POINT_S = 6              # load until a kill-point has to be reached, or is killed otherwise
SLOW = 4                 # several tests may run beside this one, and share its processors


class World:
    """A server with its people, from the first start to the verdict."""

    def __init__(self, args, label, seed, test_build=False, env=None, disk=None, shards=None, users=USERS):
        self.args, self.label, self.disk = args, label, disk
        self.rng = random.Random(seed)
        binary = args.test_ringtalkd if test_build else args.ringtalkd
        self.shards = shards or self.rng.choice((1, 2, 4))
        self.server = servers.Server(binary, self.shards, CONFIG, env or {}, False, f"chaos-{label}",
                                     start=False)
        self.data_folder = None if disk else fast_folder("ringtalk-chaos-data-")
        self.server.data_dir = os.path.join(disk.path if disk else self.data_folder, "data")
        self.folder = tempfile.mkdtemp(prefix=f"ringtalk-history-{label}-")
        self.history = Recorder(os.path.join(self.folder, "history.jsonl"))
        self.history.write("begin", format=FORMAT, seed=seed, deadline=DECISION_US * SLOW)
        self.ready_s = []
        self.launch()
        self.crowd = Crowd(self.server, self.history, self.server.make_users(users), seed)
        self.kinds = [(user, wire.WINDOWS) for user in self.crowd.users]
        self.kinds += [(user, wire.ANDROID) for user in self.crowd.users[::3]]
        self.crowd.log_in(self.kinds)
        self.make_groups()
        self.crowd.quiet()

    def make_groups(self):
        live = {chatter.user.id: chatter for chatter in self.crowd.live()}
        for user in self.crowd.users[:GROUPS]:
            members = self.rng.sample(self.crowd.users, 5)
            live[user.id].create_group([user, *[one for one in members if one is not user]])
        made = self.crowd.turn_until(lambda: len(self.crowd.members) == GROUPS, 10)
        require(made, "groups are not made")

    def launch(self):
        began = time.monotonic()
        self.server.start()
        self.ready_s.append(time.monotonic() - began)

    # ---- rounds --------------------------------------------------------------------------------------

    def load(self, low=0.2, high=1.0):
        self.crowd.load(self.rng.uniform(low, high), self.server.running)

    def come_back(self):
        """The next start on the same data, everybody in again, and what was in doubt once more."""
        self.crowd.drain()
        self.launch()
        self.history.write("up")
        self.crowd.settle_members(self.members_of)
        self.crowd.rest()
        self.crowd.log_in(self.kinds)
        self.crowd.repeat_doubtful()

    def members_of(self, group):
        status, text = self.server.http("GET", f"/api/v1/groups/{group}/members?after=0&limit=1000")
        require(status == 200, f"members of {group}: {status} {text}")
        return [one["user"] for one in json.loads(text)["members"]]

    def still_running(self):
        require(self.server.running(), f"the server died by itself: {self.server.exit_text()}\n"
                                       f"{self.server.log_tail(20)}")

    def rush(self):
        """Some hundred sends begin in one moment; a fault milliseconds later meets them at all stages."""
        self.history.write("fault", kind="rush")
        self.server.process.send_signal(signal.SIGSTOP)
        self.crowd.flood()
        self.server.process.send_signal(signal.SIGCONT)
        self.history.write("up")
        time.sleep(self.rng.choice((0, self.rng.uniform(0, 0.004), self.rng.uniform(0, 0.03))))

    def kill(self):
        self.still_running()
        self.rush()
        self.history.write("fault", kind="kill", crash=True)
        self.server.kill9()
        self.come_back()

    def cut_power(self):
        self.still_running()
        self.rush()
        self.history.write("fault", kind="power", crash=True)
        self.disk.cut_power()
        if self.server.running():
            self.server.process.kill()
        self.wait_exit()
        self.crowd.drain()
        self.disk.restore_power()
        self.come_back()

    def fail_io(self):
        """The disk is gone, the process is not told otherwise."""
        self.still_running()
        self.history.write("fault", kind="io_error", crash=True)
        self.disk.cut_power()
        deadline = time.monotonic() + EXIT_S
        while self.server.running() and time.monotonic() < deadline:
            self.crowd.act()
            self.crowd.turn()
        require(not self.server.running(), f"still running {EXIT_S} s after its disk failed")
        require(self.server.process.returncode == 1, f"its disk failed: {self.server.exit_text()}")
        self.crowd.drain()
        self.disk.restore_power()
        self.come_back()

    def fill_disk(self):
        """Nothing can be stored, reading goes on; then there is room again, without a restart."""
        self.still_running()
        before = self.crowd.refused
        self.disk.fill(1 << 20)
        full = time.monotonic() + FULL_S
        while self.crowd.refused - before < REFUSED_MIN and time.monotonic() < full:
            self.crowd.load(0.2, self.server.running)
            self.disk.fill(0)
        require(self.crowd.refused - before >= REFUSED_MIN, f"{FULL_S} s of load did not fill the disk")
        self.crowd.load(self.rng.uniform(0.5, 2), self.server.running)
        self.disk.empty()
        acked = self.crowd.acked
        resumed = self.crowd.turn_until(lambda: self.crowd.act() or self.crowd.acked - acked > 100, RESUME_S)
        require(resumed, f"not back to work {RESUME_S} s after there was room again")

    def wait_exit(self):
        self.server.process.wait(30)

    def freeze(self):
        """Stopped while everybody writes as much as the sockets take; then it has to find everything."""
        self.still_running()
        before = self.buffers_ran_out()
        for _ in range(FLOODS_MAX):
            self.flood_frozen()
            self.load()
            if self.buffers_ran_out() > before:
                return self.crowd.quiet()
        raise Failure("no flood exhausted the receive buffers")

    def flood_frozen(self):
        self.history.write("fault", kind="freeze")
        self.server.process.send_signal(signal.SIGSTOP)
        self.crowd.burst(SOUND_BYTES, 3)
        self.crowd.load(self.rng.uniform(0.2, 0.6), self.server.running)
        self.server.process.send_signal(signal.SIGCONT)
        self.history.write("up")

    def buffers_ran_out(self):
        """How often a receive ended for want of a buffer."""
        status, text = self.server.http("GET", "/metrics", token=False)
        require(status == 200, f"/metrics: {status}")
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith("ringtalk_recv_rearmed_total{") and 'cause="enobufs"' in line)

    def drain(self):
        self.still_running()
        self.history.write("fault", kind="drain")
        self.server.process.send_signal(signal.SIGTERM)
        stopped = self.crowd.turn_until(lambda: not self.server.running(), servers.STOP_S)
        require(stopped, f"still running {servers.STOP_S} s after TERM")
        require(self.server.process.returncode == 0, f"TERM: {self.server.exit_text()}")
        self.come_back()

    def reach_point(self, name, passage):
        """Restarted with a kill-point armed, until it strikes. True if it did."""
        self.server.env["RINGTALK_KILLPOINT"] = f"{name}:{passage}"
        self.history.write("fault", kind="restart", crash=True)
        self.server.kill9()
        self.crowd.drain()
        self.server.launch()
        if self.server.wait_ready():
            self.come_in_late()
            self.crowd.load(POINT_S, self.server.running)
            if self.server.running():  # not by load: then perhaps on the way out
                self.server.process.send_signal(signal.SIGTERM)
                self.crowd.turn_until(lambda: not self.server.running(), servers.STOP_S)
        code = self.server.process.poll()
        require(code in (0, -signal.SIGKILL), f"kill-point {name}: {self.server.exit_text()}")
        del self.server.env["RINGTALK_KILLPOINT"]
        self.history.write("fault", kind="point", crash=True)
        self.come_back()
        return code != 0

    def come_in_late(self):
        """As come_back(), while the server may die at any moment."""
        self.history.write("up")
        try:
            self.crowd.settle_members(self.members_of)
            self.crowd.rest()
            self.crowd.log_in(self.kinds)
            self.crowd.repeat_doubtful()
        except (Failure, OSError):
            if self.server.running():
                raise

    # ---- the end -------------------------------------------------------------------------------------

    def judge(self, sound=True):
        """Peace, the last reading, the store, the checker. Returns its findings."""
        self.still_running()
        self.crowd.quiet()
        self.history.write("healed")
        self.crowd.count_unread()
        self.crowd.log_everybody_out()
        self.crowd.read_all()
        self.server.term()
        self.read_store(sound)
        self.history.write("done")
        self.history.close()
        done = subprocess.run([sys.executable, os.path.join(HERE, "check.py"), "--json", self.history.path],
                              capture_output=True, text=True)
        require(done.returncode in (0, 1), f"{self.history.path}: {done.stderr}")
        found = json.loads(done.stdout)
        found["ready"] = self.ready_s
        found["history"] = self.history.path
        return found

    def read_store(self, sound):
        ctl = os.path.join(self.args.build_dir, "ringtalkctl")
        done = subprocess.run([ctl, "store", "verify", self.server.data_dir], capture_output=True, text=True)
        require(done.returncode == 0 or not sound, f"store verify: {done.stdout[-500:]}{done.stderr[-300:]}")
        found = {}
        for key, id, shown_author, body in read_dump(ctl, self.server.data_dir)[0]:
            op, author, hash = read_body(body, key)
            found.setdefault(key, []).append([id, op if author == shown_author else 0, author, hash])
        for key, messages in found.items():
            self.history.write("stored", c=key, m=messages)

    def live_through(self, faults, sound=True):
        for fault in faults:
            self.load()
            fault(self)
        self.load()
        return self.judge(sound)

    def close(self, keep=False):
        if self.server.running():
            self.server.process.kill()
            self.server.process.wait()
        self.server.stopped = True
        self.server.close()
        if self.disk:
            self.disk.close()
        else:
            shutil.rmtree(self.data_folder, ignore_errors=True)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


class Sum:
    """What is said at the end: of each part, and of all."""

    def __init__(self):
        self.passed = self.failed = 0
        self.not_run = []
        self.faults = self.acknowledged = self.unknown = self.sends = 0
        self.ready = []

    def ok(self, name, text):
        self.passed += 1
        print(f"{name} ok: {text}", flush=True)

    def fail(self, name, text):
        self.failed += 1
        print(f"{name} FAILED: {text}", flush=True)

    def skip(self, name, why):
        self.not_run.append(name)
        print(f"{name} NOT RUN: {why}", flush=True)

    def add(self, found, faults):
        self.faults += faults
        self.acknowledged += found["acknowledged"]
        self.unknown += found["unknown"]
        self.sends += found["sends"]
        self.ready += found["ready"][1:]


def anomalies_text(found):
    told = [f"{kind}: {text}" for kind, texts in found["told"].items() for text in texts[:3]]
    return f"{found['anomalies']}, {found['history']}\n    " + "\n    ".join(told)


def run_world(args, total, name, faults, **world):
    """One world through those faults (functions of it). Expects no anomaly."""
    began = time.monotonic()
    one = None
    keep = True
    try:
        one = World(args, name, **world)
        found = one.live_through(faults)
        total.add(found, len(faults))
        if found["anomalies"]:
            total.fail(name, anomalies_text(found))
        else:
            keep = False
            total.ok(name, f"{len(faults)} faults, {found['acknowledged']} acknowledged, {found['doubts']} "
                           f"in doubt and {found['unknown']} still, {found['refused']} refused, "
                           f"{found['events']} events, {one.shards} shards, {time.monotonic() - began:.1f} s")
    except NotHere as error:
        keep = False
        total.skip(name, error)
    except Exception as error:
        place = f" [{one.history.path}]\n{one.server.log_tail(12)}" if one else ""
        total.fail(name, f"{type(error).__name__}: {error}{place}")
    finally:
        if one:
            one.close(keep)


def run_seeded(args, total, name, bug, kind, faults, **world):
    """A world with a defect that has to be found, under that name."""
    one = None
    try:
        one = World(args, name, test_build=True, env={"RINGTALK_SEEDED_BUG": bug}, **world)
        found = one.live_through(faults, sound=False)
        count = found["anomalies"].get(kind, 0)
        text = f"{bug}: {found['anomalies'] or 'no anomaly'}"
        if count:
            total.ok(name, f"{text}; {found['told'][kind][0]}")
        else:
            total.fail(name, f"{text}, but it must show as {kind}")
    except NotHere as error:
        total.skip(name, error)
    except Exception as error:
        tail = f"\n{one.server.log_tail(12)}" if one else ""
        total.fail(name, f"{bug}: {type(error).__name__}: {error}{tail}")
    finally:
        if one:
            one.close()


# ---- parts -----------------------------------------------------------------------------------------


def split(count, most):
    """That many faults as worlds of about equal length."""
    worlds = -(-count // most)
    return [count // worlds + (n < count % worlds) for n in range(worlds)]


def part_kill(args, total):
    for n, kills in enumerate(split(args.rounds or (10 if args.quick else 1000), 20)):
        run_world(args, total, f"kill-{n + 1}", [World.kill] * kills, seed=args.seed + n)


def part_freeze(args, total):
    for n in range(1 if args.quick else 10):
        run_world(args, total, f"freeze-{n + 1}", [World.freeze, World.drain, World.freeze],
                  seed=args.seed + 200 + n, shards=1, users=CROWD)


def part_power(args, total):
    for n, cuts in enumerate(split(args.rounds or (5 if args.quick else 300), 20)):
        run_on_disk(args, total, f"power-{n + 1}", [World.cut_power] * cuts, seed=args.seed + 300 + n)


def part_io_error(args, total):
    for n in range(1 if args.quick else 10):
        run_on_disk(args, total, f"io_error-{n + 1}", [World.fail_io] * 2, seed=args.seed + 500 + n)


def part_points(args, total):
    """Each once; in the quick form ten of them."""
    listed = subprocess.run([args.test_ringtalkd, "--list-killpoints"], capture_output=True, text=True)
    names = [name for name in listed.stdout.split() if not name.startswith((FIRST_START, ON_MYSQL))]
    if not names:
        return total.fail("points", f"{args.test_ringtalkd} knows no kill-points")
    rng = random.Random(args.seed)
    rng.shuffle(names)
    times = names * (1 if args.quick else max(1, (args.rounds or 200) // len(names)))
    reached = set()
    for n, count in enumerate(split(10 if args.quick else len(times), 10)):
        chosen, times = times[:count], times[count:]

        def strike(name, passage):
            def fault(world):
                if world.reach_point(name, passage):
                    reached.add(name)
            return fault
        faults = [strike(name, rng.randint(1, 4)) for name in chosen]
        run_world(args, total, f"points-{n + 1}", faults, seed=args.seed + 100 + n, test_build=True)
    if args.quick:
        names = names[:10]
    missed = sorted(set(names) - reached)
    print(f"kill-points reached: {len(reached)} of {len(names)}"
          + (f", not {', '.join(missed)}" if missed else ""))


def on_disk(total, name, world):
    """Calls world(disk) with a disk of its own; the world closes it."""
    try:
        disk = LoopDisk()
    except NotHere as error:
        return total.skip(name, error)
    return world(disk)


def run_on_disk(args, total, name, faults, **world):
    on_disk(total, name, lambda disk: run_world(args, total, name, faults, disk=disk, **world))


def part_full(args, total):
    for n in range(1 if args.quick else 10):
        run_on_disk(args, total, f"full-{n + 1}", [World.fill_disk] * 2, seed=args.seed + 600 + n)


def part_control(args, total):
    """Without syncs a power cut must lose what was acknowledged; else the cuts prove nothing."""
    on_disk(total, "control", lambda disk: run_seeded(
        args, total, "control", "never_sync", "lost", [World.cut_power] * 2, disk=disk, seed=args.seed + 400))


def part_seeded(args, total):
    on_disk(total, "seeded-1", lambda disk: run_seeded(
        args, total, "seeded-1", "ack_before_sync", "lost", [World.cut_power] * 8, disk=disk,
        seed=args.seed + 401))
    run_seeded(args, total, "seeded-2", "id_from_cache", "divergence", [World.kill] * 2, seed=args.seed + 402)
    run_seeded(args, total, "seeded-3", "membership_skipped", "leak", [World.kill], seed=args.seed + 403)
    run_seeded(args, total, "seeded-4", "receive_not_rearmed", "stuck", [World.freeze], seed=args.seed + 404,
               shards=1, users=CROWD)


def part_damage(args, total):
    rng = random.Random(args.seed)
    for name in ("closed", "killed"):
        try:
            store = build(args, name, rng)
        except Exception as error:
            total.fail(f"damage-{name}", f"{type(error).__name__}: {error}")
            continue
        outcomes, failures = collections.Counter(), []
        for _ in range(30 if args.quick else args.rounds or 6000):
            try:
                outcomes[store.trial(rng)] += 1
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")
        store.close()
        if failures:
            total.fail(f"damage-{name}", f"{len(failures)} of {sum(outcomes.values()) + len(failures)}\n    "
                                         + "\n    ".join(failures[:5]))
        else:
            total.ok(f"damage-{name}", ", ".join(f"{count} {what}" for what, count in outcomes.items()))


PARTS = {"kill": part_kill, "points": part_points, "freeze": part_freeze, "power": part_power,
         "control": part_control, "io_error": part_io_error, "full": part_full, "damage": part_damage,
         "seeded": part_seeded}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build-dir", default="build")
    parser.add_argument("--test-build-dir", default="build-killpoints")
    parser.add_argument("--quick", action="store_true",
                        help="20 kills, 5 power cuts, and each other part once")
    parser.add_argument("--only", help="parts, comma separated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, help="how many faults in kill, points and power")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # through every finally: disks are unmounted
    args.ringtalkd = servers.find_ringtalkd(args.build_dir)
    args.build_dir = os.path.abspath(args.build_dir)
    parts = args.only.split(",") if args.only else list(PARTS)
    if set(parts) - set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    if set(parts) & {"points", "control", "seeded"}:
        args.test_ringtalkd = servers.find_ringtalkd(args.test_build_dir)
    total = Sum()
    began = time.monotonic()
    for part in parts:
        PARTS[part](args, total)
    ready = sorted(total.ready)
    if ready:
        print(f"{total.faults} faults, {total.acknowledged} acknowledged, {total.unknown} of {total.sends} "
              f"sends unknown; ready again in {ready[len(ready) // 2]:.2f} s (median), {ready[-1]:.2f} s "
              f"(longest); seed {args.seed}, {time.monotonic() - began:.0f} s")
    if total.not_run:
        print("not run: " + ", ".join(total.not_run))
    skipped = f", {len(total.not_run)} skipped" if total.not_run else ""
    print(f"{total.passed} passed, {total.failed} failed{skipped}")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
