#!/usr/bin/env python3
"""N logged-in connections with heartbeats on one ringtalkd: what each costs, one message to all, the end.

Question       What does an idle user cost, in our memory, in the kernel's and in processor time? Can they
               all log in, be heard, get one message of a group of everybody, and be sent away?
Method         ringtalkd with as many shards as N connections need under RLIMIT_NOFILE, on loopback, and
               ringtalk-loadgen's `idle` beside it, on the same cores. Users are made first and the server is
               started again, so that its memory holds connections and nothing else. Then: log all in, let
               heartbeats run, TERM while all are there; messages to a sample; a group of everybody, made
               through the API, and two messages into it, which the generator counts on each connection.
What misleads  Both ends share the machine: kernel bytes are those of a pair of sockets, rates of logins
               those of both programs together, and so is the time until everybody has a message. The
               first message into a group since a start reads its members from the disk. Whoever is in
               the group hears an answer behind the messages that his generator has not read yet; what
               the server lets wait is seen by a generator apart, with connections outside the group.
Exit code      0 measured, 1 could not measure, 2 a check failed.
"""

import argparse
import json
import math
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BULK = 500
SAMPLE_RATE = 1000  # messages per second while all are connected
STOP_SECONDS_MAX = 60
BYSTANDERS = 20  # connections outside the group
REACH_SECONDS_MAX = 300  # until everybody has a message
LIMITS = """[limits]
sends_per_second = 0
requests_per_second = 0
connects_per_second_per_address = 1000000
anonymous_per_address = 1000000
"""


class Failed(Exception):
    pass


class Server:
    def __init__(self, build, work, shards):
        self.data, self.ports_file = work / "data", work / "ports.json"
        (work / "load.toml").write_text(LIMITS)
        self.command = [build / "ringtalkd", "--config", work / "load.toml", "--data-dir", self.data,
                        "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--shards", str(shards),
                        "--ports-file", self.ports_file]
        self.log = open(work / "server.log", "ab")
        self.process = None

    def start(self):
        self.ports_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 120
        while not self.ports_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"ringtalkd did not start: see {self.log.name}")
            time.sleep(0.05)
        self.ports = json.loads(self.ports_file.read_text())
        self.token = (self.data / "admin.token").read_text().strip()

    def stop(self):
        """TERM; returns (seconds, exit code)."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return time.monotonic() - began, code

    def api(self, path, body=None, timeout=60):
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['http']}{path}",
                                         json.dumps(body).encode() if body is not None else None,
                                         {"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)

    def sessions(self):
        return sum(shard["sessions"] for shard in self.api("/api/v1/status")["shards"])

    def rss(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metric(self, name, label="", of=sum):
        """Of all shards."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        return of(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                  if line.split("{", 1)[0].split(" ", 1)[0] == f"ringtalk_{name}" and label in line)


def slab_bytes():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1]) * 1024
    return 0


def make_users(server, count, file):
    began = time.monotonic()
    with open(file, "w", encoding="ascii") as out:
        for first in range(0, count, BULK):
            names = [f"d{n}" for n in range(first, min(count, first + BULK))]
            made = server.api("/api/v1/users:bulk", {"users": [{"name": name} for name in names], "tokens": True})
            out.writelines(f"{user['id']} {user['name']} token:{user['token']}\n" for user in made["users"])
    return count / (time.monotonic() - began)


class Load:
    """ringtalk-loadgen in the background; what it says goes to files."""

    def __init__(self, options, work, server, users, name, *keys):
        self.json = work / f"{name}.json"
        self.process = subprocess.Popen(
            [options.build / "ringtalk-loadgen", "idle", "--server", f"127.0.0.1:{server.ports['tcp']}",
             "--http", f"127.0.0.1:{server.ports['http']}", "--data-dir", server.data,
             *(["--users-file", users] if users else []), "--json", self.json, "--quiet",
             f"connections={options.connections}", "connect_ms=1200000",
             f"heartbeat_ms={options.heartbeat_s * 1000}", f"logins_in_flight={options.logins_in_flight}", *keys],
            stdout=open(work / f"{name}.log", "wb"), stderr=subprocess.STDOUT)

    def until_connected(self, server, count):
        while server.sessions() < count:
            if self.process.poll() is not None:
                raise Failed(f"the load ended with {self.process.returncode}: {self.json.with_suffix('.log')}")
            time.sleep(0.2)

    def end(self):
        """Its result. Void ones (the generator was late) are results, too: the checks hold."""
        code = self.process.wait(3600)
        if code == 2:
            raise AssertionError(f"the checker found anomalies: {self.json.with_suffix('.log')}")
        if code not in (0, 3):
            raise Failed(f"the load ended with {code}: {self.json.with_suffix('.log')}")
        return json.loads(self.json.read_text())

    def finish(self):
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def interrupt(self):
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def first_id(users):
    with open(users, encoding="ascii") as file:
        return int(file.readline().split()[0])


def measure_broadcast(options, work, server, users, rows):
    author, count = first_id(users), options.connections
    server.start()
    try:
        group = server.api("/api/v1/groups", {"name": "everybody"})["id"]
        began = time.monotonic()
        added = server.api(f"/api/v1/groups/{group}/members:everybody", {}, timeout=600)["added"]
        took = time.monotonic() - began
    finally:
        server.stop()
    rows.append(("members put into one group", added / took, "/s"))
    if added != count:
        raise AssertionError(f"{added} of {count} users are in the group of everybody")

    server.start()
    load = bystanders = None
    try:
        empty, posted = server.rss(), []
        load = Load(options, work, server, users, "broadcast", "rate=0", "warmup_ms=0", "duration_ms=3600000",
                    f"watch_group={group}")
        load.until_connected(server, count)
        time.sleep(2)
        rows.append(("user bytes per connection, in the group", (server.rss() - empty) / count,
                     "of ringtalkd's memory in RAM"))
        rows.append(("  of them memberships",
                     server.metric("structure_bytes", 'structure="memberships"') / count, ""))
        bystanders = Load(options, work, server, None, "bystanders", "rate=0", "warmup_ms=0",
                          "duration_ms=3600000", f"connections={BYSTANDERS}", "heartbeat_ms=100")
        bystanders.until_connected(server, count + BYSTANDERS)
        time.sleep(1)
        quiet, began = server.cpu_s(), time.monotonic()
        time.sleep(options.seconds)
        quiet = (server.cpu_s() - quiet) / (time.monotonic() - began)
        for text in ("first since the start", "second"):
            had, cpu, began = server.metric("deliveries_total"), server.cpu_s(), time.monotonic_ns()
            server.api("/api/v1/messages", {"from": author, "group": group, "text": text}, timeout=120)
            posted.append((text, began, time.monotonic_ns()))
            lag = 0
            while server.metric("deliveries_total") < had + count:
                lag = max(lag, server.metric("loop_lag_seconds", of=max))
                if time.monotonic_ns() - began > REACH_SECONDS_MAX * 1e9:
                    raise AssertionError(f"after {REACH_SECONDS_MAX} s not everybody has the message")
                time.sleep(0.1)
            written = time.monotonic_ns()
            lag = max(lag, server.metric("loop_lag_seconds", of=max))
            time.sleep(2)  # they answer it
            cpu = server.cpu_s() - cpu - quiet * (time.monotonic_ns() - began) / 1e9
            posted[-1] += (written, lag, cpu)
        rows.append(("  and groups", server.metric("structure_bytes", 'structure="groups"') / count, ""))
        apart = bystanders.finish()
        answer = load.finish()
    finally:
        server.stop()
        for running in (load, bystanders):
            if running:
                running.interrupt()
    for (text, began, stored, written, lag, cpu), message in zip(posted, answer["watch"]["messages"], strict=True):
        if message["connections"] != count:
            raise AssertionError(f"{message['connections']} of {count} connections have the {text} message")
        rows.append((f"message to all, {text}", (message["last_ns"] - began) / 1e6,
                     f"ms until {count:,} connections had it, each once"))
        rows.append(("  answered to its author", (stored - began) / 1e6, "ms"))
        rows.append(("  at the first connection", (message["first_ns"] - began) / 1e6, "ms"))
        rows.append(("  written for the last one", (written - began) / 1e6, "ms, to 100 ms"))
        rows.append(("  processor, their answers too", cpu / count * 1e6, "us per connection"))
        rows.append(("  a shard was late with its tick by", lag * 1e3, "ms, the most that was seen"))
    for who, of in (("of those in the group", answer), ("of a program apart", apart)):
        beats, total = of["latency_us"]["heartbeat"], of["total"]
        rows.append((f"heartbeats {who}", total["heartbeats"],
                     f"of them {total['heartbeats_answered']:,} answered"))
        rows.append(("  their answers' p50, p99, max", beats["p50"],
                     f"us, {beats['p99']:,.0f} us, {beats['max']:,.0f} us"))


class Rows(list):
    """The figures, shown as they come: what is measured is not lost with what fails later."""

    def append(self, row):
        super().append(row)
        name, value, unit = row
        print(f"{name:40} {value:>14,.1f} {unit}" if isinstance(value, float) else f"{name:40} {value:>14,} {unit}",
              flush=True)


def measure(options, work):
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    shards = options.shards or max(2, math.ceil(options.connections * 1.08 / (files * 0.95)))
    server = Server(options.build, work, shards)
    users = work / "users"
    rows = Rows()
    rows.append(("connections", options.connections, ""))
    rows.append(("shards", shards, ""))
    server.start()
    rows.append(("users made", make_users(server, options.connections, users), "/s"))
    server.stop()

    slab = slab_bytes()
    server.start()
    load = None
    try:  # nothing but heartbeats, and then TERM while everybody is there
        empty, began = server.rss(), time.monotonic()
        load = Load(options, work, server, users, "idle", "rate=0", "duration_ms=3600000", "redial=false")
        load.until_connected(server, options.connections)
        took = time.monotonic() - began
        rows.append(("connects and logins", options.connections / took, f"/s, all in {took:.1f} s"))
        time.sleep(2)
        rows.append(("user bytes per connection", (server.rss() - empty) / options.connections,
                     "of ringtalkd's memory in RAM"))
        for name in ("connections", "session_table", "online_users", "directory"):
            rows.append((f"  of them {name}",
                         server.metric("structure_bytes", f'structure="{name}"') / options.connections, ""))
        rows.append(("kernel bytes per connection", (slab_bytes() - slab) / options.connections, "of slab, both ends"))
        cpu, beats, began = server.cpu_s(), server.metric("frames_in_total"), time.monotonic()
        time.sleep(options.seconds)
        passed = time.monotonic() - began
        rows.append(("heartbeats", (server.metric("frames_in_total") - beats) / passed, "/s"))
        rows.append(("processor while only heartbeats come", (server.cpu_s() - cpu) / passed * 100, "% of a core"))
    finally:
        seconds, code = server.stop()
        if load:
            load.interrupt()
    rows.append(("TERM with everybody there", seconds, f"s, exit code {code}"))
    if code != 0:
        raise AssertionError(f"ringtalkd ended with {code}")

    server.start()
    try:  # the same with messages to a sample, each of them checked
        answer = Load(options, work, server, users, "sample", f"rate={SAMPLE_RATE}",
                      f"duration_ms={options.seconds * 1000}").end()
    finally:
        server.stop()
    ack = answer["latency_us"]["ack"]
    rows.append(("messages to a sample", answer["total"]["sent"], "sent and checked"))
    rows.append(("their ack p50, p99", ack["p50"], f"us, {ack['p99']:,.0f} us"))
    measure_broadcast(options, work, server, users, rows)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("connections", type=int)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--shards", type=int, default=0, help="0: as many as the connections need")
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement (%(default)s)")
    parser.add_argument("--heartbeat-s", type=int, default=100, help="between two of a connection (%(default)s)")
    parser.add_argument("--logins-in-flight", type=int, default=500)
    parser.add_argument("--json", type=pathlib.Path, help="the figures as a file")
    options = parser.parse_args()
    options.build = options.build.resolve()
    if options.connections < 2 or options.connections % 2:
        parser.error("an even number of connections, please: they are pairs")
    work = pathlib.Path(tempfile.mkdtemp(prefix="density-", dir=options.build))
    try:
        rows = measure(options, work)
    except (Failed, OSError, urllib.error.URLError) as error:
        print(f"density: {error}", file=sys.stderr)
        return 1
    except AssertionError as error:
        print(f"density: {error}", file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps({name: value for name, value, _ in rows}, indent=1) + "\n")
    os.environ.get("KEEP") or shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
