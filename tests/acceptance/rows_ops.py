"""Running the server for a week: reload, signals, systemd's socket, the log, /metrics, and the drain.

Rows that spec/features.md does not number: RELOAD1 to RELOAD3 and DRAIN1 to DRAIN3 after R4 and R1 of
reliability.md 2.5, N0 the notify socket, LOG1 and LOG2 the log, M1 the form of /metrics. DRAIN1 is also D5 of
the features, D9 is theirs.
"""

import contextlib
import ctypes
import json
import os
import random
import re
import select
import signal
import socket
import time

import drain
import server as servers
from client import Client, log_in, require, require_equal
from registry import Skip, row

GOOD = """\
[limits]
idle_pc_s = 100
sends_per_second = 0
login_deadline_s = 30
[log]
level = "info"
"""

# What is wrong, the file, and what the refusal must say. Each changes idle_pc_s validly as well.
BROKEN = [
    ("syntax", "[limits]\nidle_pc_s = 60\nsends_burst =\n", ":3: "),
    ("no bracket", "[limits\nidle_pc_s = 60\n", ":1: "),
    ("key twice", "[limits]\nidle_pc_s = 60\nidle_pc_s = 61\n", ":3: "),
    ("section twice", "[limits]\nidle_pc_s = 60\n[limits]\nsends_burst = 9\n", ":3: "),
    ("unknown key", "[limits]\nidle_pc_s = 60\nidle_pcs = 60\n", ":3: unknown key limits.idle_pcs"),
    ("unknown top key", "shard = 2\n[limits]\nidle_pc_s = 60\n", ":1: unknown key shard"),
    ("unknown section", "[limits]\nidle_pc_s = 60\n[limit]\nx = 1\n", ":3: unknown key limit"),
    ("key in the wrong section", "[login]\nidle_pc_s = 60\n", ":2: unknown key login.idle_pc_s"),
    ("text for a number", "[limits]\nidle_pc_s = \"60\"\n", ":2: limits.idle_pc_s: an integer"),
    ("fraction", "[limits]\nidle_pc_s = 60.5\n", ":2: limits.idle_pc_s: an integer"),
    ("boolean", "[limits]\nidle_pc_s = true\n", ":2: limits.idle_pc_s: an integer"),
    ("list", "[limits]\nidle_pc_s = [60]\n", ":2: limits.idle_pc_s: an integer"),
    ("table", "[limits.idle_pc_s]\nx = 60\n", "limits.idle_pc_s: an integer"),
    ("section as a key", "limits = 60\n", ":1: limits is a section"),
    ("below the range", "[limits]\nidle_pc_s = 4\n", ":2: limits.idle_pc_s: 4 is outside"),
    ("above the range", "[limits]\nidle_pc_s = 86401\n", ":2: limits.idle_pc_s: 86401 is outside"),
    ("negative", "[limits]\nidle_pc_s = -1\n", ":2: limits.idle_pc_s: -1 is outside"),
    ("64 bits", "[limits]\nidle_pc_s = 9223372036854775807\n", ":2: limits.idle_pc_s: "),
    ("65 bits", "[limits]\nidle_pc_s = 9223372036854775808\n", ":2: "),
    ("bad unit", "[limits]\nidle_pc_s = 60\npush_queue_bytes = \"1 XB\"\n", ":3: limits.push_queue_bytes"),
    ("bytes overflow", "[limits]\nidle_pc_s = 60\npush_queue_bytes = \"9999999999 GiB\"\n", ":3: "),
    ("no such level", "[limits]\nidle_pc_s = 60\n[log]\nlevel = \"loud\"\n", ":4: log.level: must be one of"),
    ("list of texts", "[limits]\nidle_pc_s = 60\n[login]\nallowed_states = [0, \"a\"]\n", ":4: "),
    ("nobody could log in", "[limits]\nidle_pc_s = 60\n[login]\nallowed_states = []\n", "login.allowed_states"),
    ("conflict", "[limits]\nidle_pc_s = 60\n[store]\nsegment_bytes = 4096\n", "store.segment_bytes"),
    ("bad address", "listen = \"nowhere\"\n[limits]\nidle_pc_s = 60\n", None),  # a flag stands above it
    ("control character", "data_dir = \"a\\u0007b\"\n[limits]\nidle_pc_s = 60\n", ":1: data_dir"),
    ("not UTF-8", b"[limits]\nidle_pc_s = 60\n# \xff\xfe\n", ":3"),
    ("NUL bytes", b"\x00" * 100 + b"[limits]\nidle_pc_s = 60\n", ":1"),
    ("gone", None, "ringtalk.toml"),
    ("larger than 1 MiB", b"[limits]\nidle_pc_s = 60\n" + b"#" * (1 << 20), "larger than 1 MiB"),
    ("two errors", "[limits]\nidle_pc_s = 60\nsends_burst = 0\nsends_per_second = -1\n", ":4: limits.sends_per_second"),
]


# ---- tools ---------------------------------------------------------------------------------------

def write_config(server, text):
    if os.path.exists(server.config_path):
        os.unlink(server.config_path)
    if text is not None:
        with open(server.config_path, "wb") as out:
            out.write(text.encode() if isinstance(text, str) else text)


def log_text(server):
    with open(server.log_path, encoding="utf-8", errors="replace") as log:
        return log.read()


def events(server, name):
    """Lines of that event, as objects."""
    found = []
    for line in log_text(server).splitlines():
        if line.startswith("{") and f'"event":"{name}"' in line:
            found.append(json.loads(line))
    return found


def wait_for(condition, what, within=10):
    deadline = time.monotonic() + within
    while not (got := condition()):
        require(time.monotonic() < deadline, f"{what}: not within {within} s")
        time.sleep(0.02)
    return got


def status(server):
    code, text = server.http("GET", "/api/v1/status")
    require_equal(code, 200, f"GET /api/v1/status {text[:200]}")
    return json.loads(text)


def reload(server):
    code, text = server.http("POST", "/api/v1/reload")
    return code, json.loads(text)


@contextlib.contextmanager
def configured(ctx, text=GOOD, env=None, label="ops", stderr=None):
    """A server whose file the row rewrites."""
    server = servers.Server(ctx.ringtalkd, ctx.shards, {"limits": {}}, env, ctx.keep,
                            f"{label}-{ctx.shards}", start=False)
    server.stderr = stderr
    write_config(server, text)
    with server:
        server.start()
        yield server


def strangers_open(server, count, seconds):
    """How many of so many connections without a login are still open after that time."""
    sockets = [socket.create_connection(server.address) for _ in range(count)]
    try:
        deadline = time.monotonic() + seconds
        open_ones = set(sockets)
        while open_ones and (left := deadline - time.monotonic()) > 0:
            for ready in select.select(list(open_ones), [], [], left)[0]:
                try:
                    ended = not ready.recv(100)
                except ConnectionResetError:
                    ended = True
                if ended:
                    open_ones.discard(ready)
        return len(open_ones)
    finally:
        for one in sockets:
            one.close()


# ---- reload --------------------------------------------------------------------------------------

@row("RELOAD1", slow=True)
def broken_files_change_nothing(ctx):
    """32 broken files, by HUP and by the API: each refused whole, named, and the old values go on."""
    with configured(ctx) as server:
        a, b = server.make_users(2)
        one, two = log_in(server, a), log_in(server, b)
        require_equal(status(server)["limits"]["idle_pc_s"], 100, "idle_pc_s at the start")
        refusals = 0
        for i, (name, text, says) in enumerate(BROKEN):
            write_config(server, text)
            if says is None:
                says = ":1: listen"
            code, answer = reload(server)
            require_equal(code, 400, f"{name}: {answer}")
            require(says in answer["error"], f"{name}: {answer['error']!r} does not say {says!r}")
            if i % 5 == 0:  # the same by the signal; not all, the log holds 10 a second of a kind
                before = len(events(server, "reload_refused"))
                time.sleep(1.1)
                server.process.send_signal(signal.SIGHUP)
                wait_for(lambda: len(events(server, "reload_refused")) > before, f"{name}: refusal in the log")
                refusals += 1
            require_equal(status(server)["limits"]["idle_pc_s"], 100, f"{name}: idle_pc_s")
            if i % 8 == 0:
                one.say(b.id, f"during {i}".encode())
                two.hear(f"during {i}".encode())
        told = {line["why"] for line in events(server, "reload_refused")}
        require(any(server.config_path + ":" in why for why in told), "file and line are in the log")
        write_config(server, GOOD)
        code, answer = reload(server)
        require_equal((code, answer), (200, {"changed": [], "restart_needed": []}), "the good file again")
        return f"{len(BROKEN)} files, {refusals} by HUP"


@row("RELOAD2")
def reload_reaches_every_shard(ctx):
    """Good values are in force on every shard at once; keys that need a restart are named and stay."""
    with configured(ctx) as server:
        require_equal(strangers_open(server, 24, 1.5), 24, "strangers open at login_deadline_s = 30")
        write_config(server, GOOD.replace("login_deadline_s = 30", "login_deadline_s = 1")
                     .replace("idle_pc_s = 100", "idle_pc_s = 90\nmax_connections = 7000") +
                     "[store]\nsegment_bytes = \"8 MiB\"\n")
        code, answer = reload(server)
        require_equal(code, 200, f"{answer}")
        require_equal(sorted(answer["changed"]), ["limits.idle_pc_s", "limits.login_deadline_s"], "changed")
        require_equal(sorted(answer["restart_needed"]), ["limits.max_connections", "store.segment_bytes"],
                      "restart_needed")
        require_equal(status(server)["limits"]["idle_pc_s"], 90, "idle_pc_s in force")
        require_equal(status(server)["limits"]["max_connections"], 0, "max_connections in force")
        require_equal(strangers_open(server, 24, 4), 0, "strangers open at login_deadline_s = 1")
        require_equal(reload(server)[1]["changed"], [], "changed the second time")
        require_equal(len(reload(server)[1]["restart_needed"]), 2, "still waiting for a restart")
        # The level of the log, by the signal; and the line about it is written whatever the level is.
        write_config(server, GOOD.replace('"info"', '"error"'))
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("log.level" in line["changed"] for line in events(server, "reloaded")),
                 "the line `reloaded` that names log.level")
        server.restart()  # with what waited, and in peace with itself
        require_equal(reload(server), (200, {"changed": [], "restart_needed": []}), "after a restart")


@row("RELOAD3")
def many_reloads_at_once(ctx):
    """Reloads in a row under chat: each asker gets an answer, values are whole, nothing else notices."""
    with configured(ctx) as server:
        a, b = server.make_users(2)
        one, two = log_in(server, a), log_in(server, b)
        for i in range(40):
            n = 100 + i % 2
            write_config(server, GOOD.replace("idle_pc_s = 100", f"idle_pc_s = {n}\nidle_mobile_s = {n}"))
            if i % 3 == 0:
                server.process.send_signal(signal.SIGHUP)
            code, answer = reload(server)
            require_equal(code, 200, f"{answer}")
            limits = status(server)["limits"]
            require_equal((limits["idle_pc_s"], limits["idle_mobile_s"]), (n, n), "both values")
            text = f"between {i}".encode()
            one.say(b.id, text)
            two.hear(text)


# ---- signals -------------------------------------------------------------------------------------

@row("D9")
def statistics_and_message_lines(ctx):
    """USR1 writes statistics; USR2 a line per message without its content, and none again."""
    secret = b"nobody may read this in a log"
    with configured(ctx) as server:
        a, b = server.make_users(2)
        one, two = log_in(server, a), log_in(server, b)
        one.say(b.id, secret)
        two.hear(secret)
        time.sleep(0.3)  # a shard counts its users ten times a second
        require_equal(events(server, "message"), [], "message lines before USR2")
        server.process.send_signal(signal.SIGUSR1)
        line = wait_for(lambda: events(server, "statistics"), "statistics")[0]
        for key in ("connections", "users", "logins", "messages", "deliveries", "missed"):
            require(key in line, f"statistics without {key}: {line}")
        require_equal((line["messages"], line["users"], line["connections"]), (1, 2, 2), "counters")
        require_equal(server.metric("ringtalk_sends_acknowledged_total"), 1, "the same in /metrics")
        wait_for(lambda: len(events(server, "shard_statistics")) == ctx.shards, "a line per shard")
        server.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: events(server, "message_lines"), "message_lines")
        for i in range(30):  # more than the 10 a second that other lines may be
            one.say(b.id, secret)
            two.hear(secret)
        lines = wait_for(lambda: len(got := events(server, "message")) >= 30 and got, "a line per message")
        require_equal(len(lines), 30, "lines")
        require_equal((lines[0]["from"], lines[0]["to"], lines[0]["msg_id"], lines[0]["bytes"]),
                      (a.id, b.id, 2, len(secret)), "fields of a line")
        require(0 <= lines[0]["shard"] < ctx.shards, "shard of a line")
        server.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: len(events(server, "message_lines")) == 2, "message_lines off")
        one.say(b.id, secret)
        require_equal(len(events(server, "message")), 30, "lines after the second USR2")
        server.process.send_signal(signal.SIGUSR1)
        again = wait_for(lambda: events(server, "statistics")[1:], "statistics")[0]
        require_equal(again["messages"], 32, "counters are never reset")
        require(secret.decode() not in log_text(server), "content in the log")
        require(a.secret not in log_text(server) and a.token not in log_text(server), "token in the log")


@row("DRAIN1", slow=True)
def term_under_load(ctx):
    """TERM under load: exit 0, clean closes, every acknowledged message there after a quick restart."""
    # One device of each reader only looks at what it got when all is over: it must not count as slow.
    config = {"limits": drain.CONFIG["limits"] | {"push_queue_bytes": "64 MiB"}}
    with servers.Server(ctx.ringtalkd, ctx.shards, config, keep=ctx.keep, label="drain1") as server:
        users = server.make_users(2 * drain.PAIRS)
        acknowledged, took = drain.drain_once(server, users, random.Random(ctx.shards), 0)
        return f"{acknowledged} acknowledged, drain {took:.2f}s"


@row("DRAIN2", slow=True)
def a_drain_that_waits_and_a_second_term(ctx):
    """While a reader stalls: door closed, readyz 503, metrics still there; a second TERM ends in 3 s."""
    with configured(ctx) as server:
        a, b, c = server.make_users(3)
        slow = Client(server.address, receive_bytes=4096)
        require_equal(slow.ask_login(b.name, b.secret)["result_code"], 0, "login of the slow reader")
        one = log_in(server, a)
        for i in range(55):
            one.say(b.id, b"x" * 4000)
        quiet = log_in(server, c)
        server.process.send_signal(signal.SIGTERM)
        began = time.monotonic()

        def door_closed():
            try:
                socket.create_connection(server.address, timeout=1).close()
                return False
            except OSError:
                return True
        wait_for(door_closed, "the door closed", 1)
        require_equal(server.http("GET", "/readyz", token=False), (503, "draining\n"), "readyz")
        require_equal(server.http("GET", "/healthz", token=False)[0], 200, "healthz")
        require_equal(server.http("GET", "/metrics", token=False)[0], 200, "metrics")
        require_equal(server.http("POST", "/api/v1/users", {"name": "late"})[0], 503, "the API")
        quiet.expect_closed(5)
        time.sleep(0.5)
        require(server.running(), "did not wait for the slow reader")
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(10 * ctx.patience)  # after the first alone the slow reader has 26 s
        require_equal(code, 0, "exit code after the second TERM")
        slow.abort()
        require_equal([len(events(server, name)) for name in ("draining", "closing_now", "stopped")],
                      [1, 1, 1], "lines in the log")
        server.start()
        with log_in(server, b) as client:
            require_equal(len(client.pull_all(a.id)), 55, "messages after the restart")
        return f"closed in {time.monotonic() - began:.1f}s"


@row("DRAIN3")
def interrupt_is_term(ctx):
    """INT drains as TERM does; HUP, USR1 and USR2 at any moment of the start end nothing."""
    with configured(ctx) as server:
        user, = server.make_users(1)
        client = log_in(server, user)
        server.process.send_signal(signal.SIGINT)
        client.expect_closed(5)
        require_equal(server.process.wait(31), 0, "exit code after INT")
        for delay in (0.0, 0.01, 0.02, 0.04, 0.08):
            server.launch()
            while not any(name.startswith("rt-log") for name in threads(server)):
                require(server.running(), "ended at the start")
                time.sleep(0.001)
            time.sleep(delay)
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                server.process.send_signal(number)
            require(server.wait_ready(), f"a signal {delay} s after the start ended it: {server.exit_text()}")
            server.term()
        server.start()


# ---- systemd -------------------------------------------------------------------------------------

def threads(server):
    """Names of the process's threads, with their ids."""
    found = {}
    folder = f"/proc/{server.process.pid}/task"
    try:
        for tid in os.listdir(folder):
            with open(f"{folder}/{tid}/comm", encoding="ascii") as name:
                found[name.read().strip()] = int(tid)
    except OSError:
        pass
    return found


class Stopped:
    """One thread of the server, standing still."""

    ATTACH, DETACH = 16, 17

    def __init__(self, server, name):
        self.tid = threads(server)[name]
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.libc.ptrace.restype = ctypes.c_long

    def __enter__(self):
        if self.libc.ptrace(self.ATTACH, self.tid, None, None) != 0:
            raise Skip(f"ptrace: {os.strerror(ctypes.get_errno())}")
        os.waitpid(self.tid, 0x40000000)  # __WALL
        return self

    def __exit__(self, *_):
        self.libc.ptrace(self.DETACH, self.tid, None, None)


class Manager:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, ctx, abstract):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"ringtalk-row-{os.getpid()}-{ctx.shards}-{time.monotonic_ns()}"
        self.path = None if abstract else f"/tmp/{name}"
        self.variable = "@" + name if abstract else self.path
        self.socket.bind("\0" + name if abstract else self.path)
        self.heard = []

    def listen(self, seconds, until=None):
        """What came in that time, as lists of lines; ends early with the line `until`."""
        began, deadline = len(self.heard), time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                break
            self.heard.append((time.monotonic(), self.socket.recv(4096).decode().split("\n")))
            if until and until in self.heard[-1][1]:
                return [lines for _, lines in self.heard[began:]]
        require(until is None, f"{until} not within {seconds} s: {self.heard[began:]}")
        return [lines for _, lines in self.heard[began:]]

    def close(self):
        self.socket.close()
        if self.path:
            os.unlink(self.path)


@row("N0", slow=True)
def the_notify_socket(ctx):
    """READY once the ports are open, RELOADING and READY, WATCHDOG only while every shard turns, STOPPING."""
    manager = Manager(ctx, abstract=ctx.shards % 2 == 0)
    try:
        with configured(ctx, env={"NOTIFY_SOCKET": manager.variable, "WATCHDOG_USEC": "1000000"}) as server:
            before = manager.listen(5, "READY=1")
            require_equal([lines for lines in before[:-1] if lines[0].split("=")[0] != "STATUS"], [],
                          "sent before READY")
            require(before[-1][1].startswith("STATUS=serving on 127.0.0.1:"), f"{before[-1]}")
            Client(server.address).close()
            fed = manager.listen(2.2)
            count = sum("WATCHDOG=1" in lines for lines in fed)
            require(3 <= count <= 6, f"{count} times fed in 2.2 s at WATCHDOG_USEC = 1 s")
            server.process.send_signal(signal.SIGHUP)
            lines = manager.listen(5, "RELOADING=1") and manager.heard[-1][1]
            stamp = int(lines[1].removeprefix("MONOTONIC_USEC="))
            require(abs(stamp - time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6) < 2e6, f"{lines}")
            manager.listen(5, "READY=1")
            write_config(server, "nonsense")
            server.process.send_signal(signal.SIGHUP)
            manager.listen(5, "RELOADING=1")
            manager.listen(5, "READY=1")  # refused, and serving all the same
            with Stopped(server, f"shard-{ctx.shards - 1}"):
                manager.listen(0.7)  # what was due before
                starved = manager.listen(2.5)
                require(not any("WATCHDOG=1" in lines for lines in starved),
                        f"fed although a shard stands: {starved}")
                lines = wait_for(lambda: events(server, "watchdog_withheld"), "watchdog_withheld")
                require_equal([line["stalled_shard"] for line in lines], [ctx.shards - 1],
                              "the lines about it, and the shard that they name")
            manager.listen(3, "WATCHDOG=1")
            server.process.send_signal(signal.SIGTERM)
            manager.listen(5, "STOPPING=1")
            require_equal(server.process.wait(31), 0, "exit code")
            require(not any("WATCHDOG=1" in lines for lines in manager.listen(0.2)), "fed after STOPPING")
            server.env = {}
            write_config(server, GOOD)
            server.start()
    finally:
        manager.close()


# ---- the log -------------------------------------------------------------------------------------

@row("LOG1")
def a_log_that_nobody_reads(ctx):
    """Standard error is a full pipe: chat goes on, lines are dropped and counted, the end is not late."""
    reader, writer = os.pipe()
    try:
        with configured(ctx, label="pipe", stderr=writer) as server:
            a, b = server.make_users(2)
            one, two = log_in(server, a), log_in(server, b)
            server.process.send_signal(signal.SIGUSR2)
            time.sleep(0.2)
            slowest = 0.0
            for i in range(1500):  # a line each: 64 KiB of pipe and 1,024 lines of queue are not enough
                began = time.monotonic()
                one.say(b.id, b"line %d" % i)
                slowest = max(slowest, time.monotonic() - began)
                two.hear(b"line %d" % i)
            dropped = server.metric("ringtalk_log_dropped_total")
            require(dropped > 100, f"{dropped} lines dropped")
            require(slowest < 2 * ctx.patience, f"a message took {slowest:.2f} s")
            server.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            require_equal(server.process.wait(31 * ctx.patience), 0, "exit code")
            require(time.monotonic() - began < 10 * ctx.patience, "the end waited for the reader of the log")
            server.stderr = None
            server.start()
            return f"{dropped} dropped, slowest message {slowest * 1000:.0f} ms"
    finally:
        os.close(reader)
        os.close(writer)


@row("LOG2")
def log_lines_are_json_and_bounded(ctx):
    """Every line is one JSON object with time, level and event; a flood of refusals is summed up."""
    with configured(ctx) as server:
        write_config(server, "bad\n")
        for _ in range(40):
            require_equal(reload(server)[0], 400, "a broken file")
        time.sleep(1.2)
        lines = [line for line in log_text(server).splitlines() if not line.startswith("----")]
        for line in lines:
            entry = json.loads(line)
            require(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"]), line)
            require(entry["level"] in ("debug", "info", "warn", "error"), line)
            require(entry["event"], line)
        told = len(events(server, "reload_refused"))
        summed = sum(line["count"] for line in events(server, "log_suppressed")
                     if line["cause"] == "reload_refused")
        require_equal(told + summed, 40, f"{told} lines and {summed} summed up")
        write_config(server, GOOD)


# ---- /metrics ------------------------------------------------------------------------------------

SAMPLE = re.compile(r"(?P<name>[a-z_][a-z0-9_]*)(?:\{(?P<labels>[^{}]*)\})? (?P<value>[-+]?(?:Inf|[0-9.e+-]+))")
LABEL = re.compile(r'([a-z_][a-z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
BAD_UNITS = ("ms", "us", "ns", "millis", "micros", "kb", "kib", "mb", "mib", "percent", "minutes", "hours")


def parse_metrics(text):
    """A strict reader of the text format: {family: (type, {(name, labels): value})}, or a failure."""
    families, order, helped = {}, [], set()
    require(text.endswith("\n"), "the last line has no end")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, about = line[7:].partition(" ")
            require(name not in helped and about, f"HELP twice or empty: {line}")
            helped.add(name)
            continue
        if line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            require(name in helped and name not in families, f"TYPE without HELP, or twice: {line}")
            require(kind in ("counter", "gauge", "histogram"), line)
            families[name] = (kind, {})
            order.append(name)
            continue
        match = SAMPLE.fullmatch(line)
        require(match, f"not a sample: {line!r}")
        name, labels = match["name"], match["labels"]
        pairs = LABEL.findall(labels) if labels else []
        require(",".join(f'{k}="{v}"' for k, v in pairs) == (labels or ""), f"labels: {line!r}")
        require(len({k for k, _ in pairs}) == len(pairs), f"label twice: {line!r}")
        require(order, f"sample before any TYPE: {line!r}")
        family = order[-1]  # samples of a family stand together
        allowed = {family} if families[family][0] != "histogram" else {
            family + "_bucket", family + "_sum", family + "_count"}
        require(name in allowed, f"{line!r} in the family {family}")
        key = (name, tuple(sorted(pairs)))
        require(key not in families[family][1], f"twice: {line!r}")
        families[family][1][key] = float(match["value"])
    return families


def check_family(name, kind, samples, shards):
    require(name.startswith("ringtalk_"), f"{name}: prefix")
    words = name.split("_")
    require(not set(words) & set(BAD_UNITS), f"{name}: not a base unit")
    require((kind == "counter") == name.endswith("_total"), f"{name}: _total is for counters, all of them")
    require("_total" not in name.removesuffix("_total"), name)
    require(samples, f"{name}: no samples")
    for (sample, labels), value in samples.items():
        labels = dict(labels)
        require(not set(labels) & {"user", "user_id", "name", "address", "ip", "session", "connection"},
                f"{name}: label that grows with use: {labels}")
        if "shard" in labels:
            require(labels["shard"] in map(str, range(shards)), f"{name}: shard {labels['shard']}")
        if kind != "gauge":
            require(value >= 0, f"{sample}{labels}: {value}")
    if kind == "histogram":
        check_histogram(name, samples)


def check_histogram(name, samples):
    series = {}
    for (sample, labels), value in samples.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        part = series.setdefault(rest, {"buckets": []})
        if sample.endswith("_bucket"):
            part["buckets"].append((float(dict(labels)["le"].replace("+Inf", "inf")), value))
        else:
            part[sample.removeprefix(name)] = value
    for rest, part in series.items():
        bounds = [bound for bound, _ in part["buckets"]]
        counts = [count for _, count in part["buckets"]]
        require(bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), f"{name}{rest}: {bounds}")
        require(counts == sorted(counts), f"{name}{rest}: buckets are not cumulative")
        require_equal(counts[-1], part["_count"], f"{name}{rest}: +Inf and _count")
        require("_sum" in part, f"{name}{rest}: no _sum")


@row("M1")
def metrics_are_well_formed(ctx):
    """/metrics: form, names, units, types, labels; counters only grow; the process's own are true."""
    with configured(ctx) as server:
        read = lambda: parse_metrics(server.http("GET", "/metrics", token=False)[1])  # noqa: E731
        before = read()
        for name, (kind, samples) in before.items():
            check_family(name, kind, samples, ctx.shards)
        a, b = server.make_users(2)
        one, two = log_in(server, a), log_in(server, b)
        for i in range(20):
            one.say(b.id, b"m%d" % i)
            two.hear(b"m%d" % i)
        # Gauges are set by each shard's tick.
        online = lambda: sum(read()["ringtalk_users_online"][1].values())  # noqa: E731
        wait_for(lambda: online() == 2, "two users online")
        after = read()
        require_equal(set(after), set(before), "families")
        for name, (kind, samples) in after.items():
            require_equal(set(samples), set(before[name][1]), f"{name}: series")
            if kind == "gauge":
                continue
            for key, value in samples.items():
                if kind == "counter" or not key[0].endswith("_sum"):
                    require(value >= before[name][1][key], f"{key} fell from {before[name][1][key]} to {value}")
        total = lambda name: sum(after["ringtalk_" + name][1].values())  # noqa: E731
        require_equal(total("sends_acknowledged_total"), 20, "messages")
        for name in ("loop_lag_seconds", "lane_events_waiting", "send_queue_bytes", "sends_refused_total",
                     "store_damages", "store_out_of_space", "build_info", "process_open_fds",
                     "process_max_fds", "process_cpu_seconds_total", "repeat_window_bytes"):
            require("ringtalk_" + name in after, f"no {name}")
        for name in ("loop_lag_seconds", "connections", "sends_total"):
            require_equal(len({dict(labels)["shard"] for _, labels in after["ringtalk_" + name][1]}), ctx.shards,
                          f"shards of {name}")
        started = total("process_start_time_seconds")
        require(0 <= time.time() - started < 300, f"started {time.time() - started:.0f} s ago")
        rss = total("process_resident_memory_bytes")
        require(abs(rss / 1024 - server.rss_kib()) < 0.3 * server.rss_kib(), f"{rss} bytes against {server.rss_kib()} KiB")
        fds = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        require(abs(total("process_open_fds") - fds) <= 3, f"{total('process_open_fds')} fds, {fds} in /proc")
        return f"{len(after)} families, {sum(len(samples) for _, samples in after.values())} series"
