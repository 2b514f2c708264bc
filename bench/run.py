#!/usr/bin/env python3
"""Runs the benchmark and prints one table: engine against the bare limit, in the same run.

Question       How much more than the bare kernel work does the engine cost, per durable message,
               per appended record and per idle connection?
Method         limit_chat and ringtalkd are started in turn (A B A B ...), each fresh, on free ports
               and on the same file system, and loaded by the same driver. Every figure is the median
               of --runs rounds; ratios compare medians of this run only.
Micro          bench_micro (google-benchmark), the hot parts one by one; into micro.json.
Fan-out        Messages to a group of N others, one at a time ("alone") or eight in flight: figures are
               per delivery.
Half load      Open loop at half of the engine's own top rate, once for each window. The schedule has
               the shape of its window (bursts of 16 for window 16).
What misleads  Client and server share the cores. A figure marked with * was taken while the driver
               itself was late or used a whole core: the rate is then the driver's, the latency
               partly; processor time per message stays comparable. It falls when the client never
               sleeps (a send that wakes nobody is cheaper): so the two servers take turns, and
               "client receives/message" shows how well each of them coalesces.
--quick        At most 3 minutes, for continuous integration: processor time of window 1, window 16 and of
               appends, five short rounds; only their ratios to the limit are judged, against
               baseline.json (ratios.py says how). A row that looks worse is measured five times more
               and judged on all. --accept stores the median of ten rounds instead.
Exit code      0 measured (a missed goal is printed, not an error), 1 could not measure, 2 a
               correctness check failed, 3 --quick: a ratio is more than 25 % (appends:
               100 %) worse than the stored one.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

import ratios

ROOT = pathlib.Path(__file__).resolve().parent.parent
BULK_USERS = 500  # what the server takes in one request
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 40
BATCHES = (1, 8, 64, 256, 1024)
RECORD_BYTES = 200
DRIVER_BUSY_CORES = 0.95
DRIVER_LAG_US_MAX = 1000
OTHER_LOAD_MAX = 0.7
PARTS = ("micro", "chat", "half", "log", "idle", "fanout")
GROUP_SIZES = (100, 1000, 10000)  # receivers
GROUP_WINDOWS = {"alone": 1, "8 pending": 8}
GROUP_PAYLOAD = 120
MEMBERS_AT_ONCE = 2000  # of one request
MICRO_SECONDS = 0.2  # of each benchmark
BASELINE = ROOT / "bench" / "baseline.json"
QUICK_WINDOWS = {f"w={window}: cpu us/message": window for window in (1, 16)}
# Ratios of larger batches follow the disk more than the code; and these do while others build or write, too:
# medians of five rounds went from 0.8 to 1.6 of the usual. Only twice as much is told from noise.
QUICK_BATCHES = {f"append x{batch}: cpu us/record": batch for batch in (1, 8)}
QUICK_TOLERANCES = {row: 1.0 for row in QUICK_BATCHES}
QUICK_ROUNDS = 5
QUICK_ROUNDS_MIN = 3  # of a machine so slow that five would take too long
QUICK_SECONDS_MAX = 160  # no round begins later


class SetupError(Exception):
    """The benchmark could not measure: a program is missing or did not start."""


class CorrectnessError(Exception):
    """A server lost, repeated or reordered something, or ended badly."""


class Server:
    """One server process in its own directory; a context manager that stops it by SIGTERM."""

    def __init__(self, name, command, work, ready_file):
        self.name, self.command, self.work, self.ready_file = name, command, work, ready_file
        self.ports = {}
        self.process = None

    def __enter__(self):
        self.log = open(self.work / "server.log", "wb")
        stdout = self.log
        if self.ready_file == "stdout":
            self.ready_file = self.work / "stdout.json"
            stdout = open(self.ready_file, "wb")
        self.process = subprocess.Popen(self.command, stdout=stdout, stderr=self.log)
        try:
            self.ports = self._wait_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind, value, trace):
        code = self._stop()
        if kind is None and code != 0:
            raise CorrectnessError(f"{self.name} ended with {code}: {self.tail()}")

    def _wait_ready(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise SetupError(f"{self.name} ended with {self.process.returncode}: {self.tail()}")
            try:
                text = self.ready_file.read_text()
                if text.endswith(("}", "}\n")):
                    return json.loads(text)
            except FileNotFoundError:
                pass
            time.sleep(0.02)
        raise SetupError(f"{self.name} was not ready after {START_SECONDS_MAX} s: {self.tail()}")

    def _stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        return self.process.returncode

    def tail(self):
        try:
            return (self.work / "server.log").read_text(errors="replace")[-600:].strip()
        except OSError:
            return "no log"


class Bench:
    def __init__(self, options):
        self.options = options
        self.bin = options.build / "bench"
        # Below the build directory: on the file system of the sources, and removed afterwards.
        self.work = self.bin / f"run.{os.getpid()}"
        self.runs = []       # every answer of a measuring program
        self.rows = []       # the table
        self.top_rates = {}  # (window, shards) -> messages/s of the engine
        self.turn = 0
        self.report = []  # lines of the tables

    # --- Servers ------------------------------------------------------------------------------

    def fresh_dir(self):
        self.turn += 1
        path = self.work / str(self.turn)
        path.mkdir(parents=True)
        return path

    def start_limit(self, users, program="limit_chat"):
        work = self.fresh_dir()
        lines = (f"{i} u{i:06d} none\n" for i in range(1, users + 1))
        (work / "tokens").write_text("".join(lines))
        command = [self.bin / program, "--listen", "127.0.0.1:0", "--file", work / "log"]
        if (os.cpu_count() or 1) > 1:
            command += ["--cpu", "0"]  # the engine pins its shards, too
        return Server(program, command, work, "stdout")

    def start_engine(self, shards):
        work = self.fresh_dir()
        config = work / "bench.toml"
        config.write_text("[limits]\nsends_per_second = 0\n")
        command = [self.options.build / "ringtalkd", "--config", config, "--data-dir", work / "data",
                   "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--shards", str(shards),
                   "--ports-file", work / "ports.json"]
        return Server("ringtalkd", command, work, work / "ports.json")

    @staticmethod
    def ask(server, path, body):
        """The answer to a POST to the admin API; None: there is no such path."""
        token = (server.work / "data" / "admin.token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.ports['http']}{path}", data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code in (404, 405):
                return None
            raise SetupError(f"{path}: {error.code} {error.read(300)!r}") from error
        except (OSError, ValueError) as error:
            raise SetupError(f"{path}: {error!r}; {server.tail()}") from error

    def make_users(self, server, count):
        """Users and their tokens; their ids."""
        made = []
        for first in range(1, count + 1, BULK_USERS):
            names = [f"u{i:06d}" for i in range(first, min(first + BULK_USERS, count + 1))]
            answer = self.ask(server, "/api/v1/users:bulk",
                              {"users": [{"name": name, "nick": name} for name in names], "tokens": True})
            made += answer["users"] if answer else []
        if len(made) != count:
            raise SetupError(f"users:bulk: asked for {count}, got {len(made)}")
        lines = (f"{user['id']} {user['name']} {user['token']}\n" for user in made)
        (server.work / "tokens").write_text("".join(lines))
        return [user["id"] for user in made]

    def make_group(self, server, members):
        """Its id."""
        made = None
        for done in range(0, len(members), MEMBERS_AT_ONCE):
            some = members[done:done + MEMBERS_AT_ONCE]
            path = f"/api/v1/groups/{made['id']}/members" if made else "/api/v1/groups"
            answer = self.ask(server, path, {"add": some} if made else {"name": "bench", "members": some})
            if answer is None:
                raise SetupError(f"{path}: not found")
            made = made or answer
        return made["id"]

    # --- Measuring ----------------------------------------------------------------------------

    def drive(self, server, what, driver, arguments):
        command = [self.bin / driver, "--connect", f"127.0.0.1:{server.ports['tcp']}",
                   "--tokens", server.work / "tokens", "--server-pid", str(server.ports["pid"]), "--json",
                   *map(str, arguments)]
        if server.name.startswith("limit_"):
            command.append("--raw")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        complaint = done.stderr.strip()[-1500:]
        if done.returncode == 2:
            raise CorrectnessError(f"{server.name}, {what}:\n{complaint}")
        if done.returncode != 0:
            raise SetupError(f"driver against {server.name}, {what}: exit {done.returncode}\n"
                             f"{complaint}\n{server.tail()}")
        figures = json.loads(done.stdout)
        self.runs.append({"what": what, "server": server.name, **figures})
        return figures

    def chat_once(self, what, shards, arguments):
        """One round of one server: shards 0 is the limit."""
        options = self.options
        server = self.start_engine(shards) if shards else self.start_limit(options.connections)
        with server:
            if shards:
                self.make_users(server, options.connections)
            figures = self.drive(server, what, "bench_chat_driver", [
                "--connections", options.connections, "--payload", options.payload, "--seconds",
                options.seconds, "--warmup", options.warmup, *arguments])
        shutil.rmtree(server.work)
        rate = figures["acked_per_second"]
        print(f"  {what:28} {server.name:10} {rate:10.0f} /s  "
              f"{figures['server_cpu_us_per_message']:7.3f} us cpu  "
              f"ack p99 {figures['ack_us']['p99']:9.1f} us", flush=True)
        return figures

    def rounds(self, what, arguments, shards):
        """Interleaved rounds of limit and engine; lists of figures of each."""
        limit, engine = [], []
        for _ in range(self.options.runs):
            limit.append(self.chat_once(what, 0, arguments))
            if not self.options.limit_only:
                engine.append(self.chat_once(what, shards, arguments))
        return limit, engine

    def chat(self):
        for shards in self.options.shards:
            for window in (1, 16):
                what = f"w={window}" + (f", {shards} shards" if shards > 1 else "")
                limit, engine = self.rounds(what, ["--window", window], shards)
                busy = any(r["driver_cores"] > DRIVER_BUSY_CORES for r in limit + engine)
                self.top_rates[window, shards] = median(engine or limit, "acked_per_second")
                self.row(f"{what}: cpu us/message", median(engine, "server_cpu_us_per_message"),
                         median(limit, "server_cpu_us_per_message"), ratio_max=1.5 if window == 1 else 3)
                self.row(f"{what}: client receives/message", median(engine, "receives_per_message"),
                         median(limit, "receives_per_message"))
                self.row(f"{what}: messages/s", median(engine, "acked_per_second"),
                         median(limit, "acked_per_second"), marked=busy)
                for name in ("p50", "p99"):
                    self.row(f"{what}: ack {name} us", median(engine, "ack_us", name),
                             median(limit, "ack_us", name), marked=busy)
                self.row(f"{what}: delivery p99 us", median(engine, "delivery_us", "p99"),
                         median(limit, "delivery_us", "p99"), marked=busy)

    def half_load(self):
        for (window, shards), top in self.top_rates.items():
            what = f"half of w={window}" + (f", {shards} shards" if shards > 1 else "")
            arguments = ["--window", 1, "--rate", round(top / 2), "--burst", window]
            limit, engine = self.rounds(what, arguments, shards)
            late = any(r["schedule_lag_us"]["p99"] > DRIVER_LAG_US_MAX or
                       r["driver_cores"] > DRIVER_BUSY_CORES for r in limit + engine)
            self.row(f"{what}: rate/s", median(engine, "acked_per_second"),
                     median(limit, "acked_per_second"))
            self.row(f"{what}: ack p50 us", median(engine, "ack_us", "p50"),
                     median(limit, "ack_us", "p50"), marked=late)
            self.row(f"{what}: ack p99 us", median(engine, "ack_us", "p99"),
                     median(limit, "ack_us", "p99"), engine_max=3000, marked=late)

    def append_cells(self, program, batches=BATCHES, more=()):
        work = self.fresh_dir()
        command = [self.bin / program, "--dir", work, "--batches", ",".join(map(str, batches)),
                   "--record", str(RECORD_BYTES), "--seconds", str(self.options.cell_seconds), *more]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SetupError(f"{program}: exit {done.returncode}: {done.stderr.strip()[-600:]}")
        shutil.rmtree(work)
        cells = [json.loads(line) for line in done.stdout.splitlines()]
        self.runs += [{"what": "append", "server": program, **cell} for cell in cells]
        return cells

    def log(self):
        store_program = "bench_store_append"
        has_store = (self.bin / store_program).exists()
        if not has_store:
            print("  append: no bench_store_append in this build, the limit alone is measured")
        cells = {}
        for _ in range(self.options.runs):
            found = self.append_cells("limit_log")
            if has_store:
                found += self.append_cells(store_program)
            for cell in found:
                cells.setdefault((cell["variant"], cell["batch"]), []).append(cell)
        for batch in BATCHES:
            at = {v: cells[v, batch] for v in ("ring", "direct", "plain", "store")
                  if (v, batch) in cells}
            store = at.pop("store", [])
            cheapest = min(at, key=lambda v: median(at[v], "cpu_us_per_record"))
            name = f"append x{batch}"
            self.row(f"{name}: cpu us/record (ring)", median(store, "cpu_us_per_record"),
                     median(at["ring"], "cpu_us_per_record"), ratio_max=1.5)
            if cheapest != "ring":
                self.row(f"{name}: cpu us/record ({cheapest})", median(store, "cpu_us_per_record"),
                         median(at[cheapest], "cpu_us_per_record"))
            self.row(f"{name}: records/s (ring)", median(store, "records_per_second"),
                     median(at["ring"], "records_per_second"))
            self.row(f"{name}: commit p50 us (plain)", median(store, "commit_p50_us"),
                     median(at["plain"], "commit_p50_us"))

    def idle(self):
        count = self.options.idle_connections
        idle = ["--connections", count, "--idle", "--seconds", 3]
        limit, engine = [], []
        with self.start_limit(count) as server:
            limit.append(self.drive(server, "idle", "bench_chat_driver", idle))
        shutil.rmtree(server.work)
        if not self.options.limit_only:
            with self.start_engine(self.options.shards[0]) as server:
                self.make_users(server, count)
                engine.append(self.drive(server, "idle", "bench_chat_driver", idle))
            shutil.rmtree(server.work)
        self.row(f"idle x{count}: user bytes/connection",
                 median(engine, "user_bytes_per_connection"),
                 median(limit, "user_bytes_per_connection"), engine_max=1024)
        self.row(f"idle x{count}: RSS MiB in all", scaled(median(engine, "server_rss_held"), 1 << 20),
                 scaled(median(limit, "server_rss_held"), 1 << 20))
        self.row(f"idle x{count}: logins/s", median(engine, "logins_per_second"),
                 median(limit, "logins_per_second"))

    def fanout_once(self, what, size, window, shards):
        """One round of one server: shards 0 is the limit."""
        server = self.start_engine(shards) if shards else self.start_limit(size + 1, "limit_fanout")
        with server:
            group = self.make_group(server, self.make_users(server, size + 1)) if shards else 1
            figures = self.drive(server, what, "bench_fanout_driver", [
                "--receivers", size, "--group", group, "--window", window, "--payload", GROUP_PAYLOAD,
                "--seconds", self.options.seconds / 2, "--warmup", self.options.warmup / 2])
        shutil.rmtree(server.work)
        print(f"  {what:28} {server.name:12} {figures['delivered_per_second']:10.0f} /s  "
              f"{figures['server_cpu_us_per_delivery']:7.3f} us cpu", flush=True)
        return figures

    def fanout(self):
        shards = 0 if self.options.limit_only else self.options.shards[0]
        for size in GROUP_SIZES:
            for name, window in GROUP_WINDOWS.items():
                what = f"group of {size}, {name}"
                limit, engine = [], []
                for _ in range(self.options.runs):
                    limit.append(self.fanout_once(what, size, window, 0))
                    if shards:
                        engine.append(self.fanout_once(what, size, window, shards))
                busy = any(r["driver_cores"] > DRIVER_BUSY_CORES for r in limit + engine)
                self.row(f"{what}: cpu us/delivery", median(engine, "server_cpu_us_per_delivery"),
                         median(limit, "server_cpu_us_per_delivery"), ratio_max=1.5)
                self.row(f"{what}: deliveries/s", median(engine, "delivered_per_second"),
                         median(limit, "delivered_per_second"), marked=busy)
                self.row(f"{what}: client receives/delivery", median(engine, "receives_per_delivery"),
                         median(limit, "receives_per_delivery"))
                self.row(f"{what}: all have it p99 us", median(engine, "all_have_it_us", "p99"),
                         median(limit, "all_have_it_us", "p99"), marked=busy)

    def micro(self):
        program, path = self.bin / "bench_micro", self.bin / "micro.json"
        if not program.exists():
            print("  micro: no bench_micro in this build (Debian package libbenchmark-dev), left out")
            return
        command = [program, f"--benchmark_out={path}", "--benchmark_out_format=json",
                   f"--benchmark_min_time={MICRO_SECONDS}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SetupError(f"bench_micro: exit {done.returncode}: {done.stderr.strip()[-600:]}")
        self.say(f"\n{'micro':32} {'ns, processor':>14}  each")
        for figures in json.loads(path.read_text())["benchmarks"]:
            nanoseconds = figures["cpu_time"] * {"ns": 1, "us": 1e3, "ms": 1e6}[figures["time_unit"]]
            each = figures.get("items_per_second")
            self.say(f"{figures['name']:32} {nanoseconds:14.1f}  "
                     f"{f'{1e9 / each:.1f}' if each else ''}".rstrip())

    # --- Quick ----------------------------------------------------------------------------------

    def quick_round(self, rows, measured):
        """One round of these rows, limit and engine in turn; adds their ratios to `measured`."""
        for row in (row for row in QUICK_WINDOWS if row in rows):
            arguments = ["--window", QUICK_WINDOWS[row]]
            limit, engine = (self.chat_once(row.split(":")[0], shards, arguments)["server_cpu_us_per_message"]
                             for shards in (0, 1))
            if not limit or not engine:
                raise SetupError(f"{row}: no message in a round")
            measured.setdefault(row, []).append(engine / limit)
        batches = [QUICK_BATCHES[row] for row in QUICK_BATCHES if row in rows]
        if not batches:
            return
        limit = self.append_cells("limit_log", batches, ["--variants", "ring", "--file-mib", "64"])
        engine = self.append_cells("bench_store_append", batches, ["--settle"])
        for batch, bare, ours in zip(batches, limit, engine, strict=True):
            name = next(row for row in QUICK_BATCHES if QUICK_BATCHES[row] == batch)
            measured.setdefault(name, []).append(ours["cpu_us_per_record"] / bare["cpu_us_per_record"])

    def quick_rounds(self, rows, measured, began, at_least):
        for turn in range(QUICK_ROUNDS):
            if turn >= at_least and time.monotonic() - began > QUICK_SECONDS_MAX:
                print(f"  the time is over after {turn} rounds")
                return
            self.quick_round(rows, measured)

    def quick(self):
        """The exit code."""
        commit, stored = ratios.load(BASELINE)
        load = round(os.getloadavg()[0], 1)  # before we make our own
        rows, measured, began = [*QUICK_WINDOWS, *QUICK_BATCHES], {}, time.monotonic()
        self.quick_rounds(rows, measured, began, QUICK_ROUNDS_MIN)
        verdicts = ratios.judge(measured, stored, QUICK_TOLERANCES)
        again = rows if self.options.accept else ratios.rows_in(verdicts, ratios.WORSE, ratios.UNSURE)
        if again:
            print("once more, to be stored" if self.options.accept else
                  f"looks worse, measured again: {'; '.join(again)}")
            self.quick_rounds(again, measured, began, 0)
            verdicts = ratios.judge(measured, stored, QUICK_TOLERANCES)
        self.say("")
        for line in ratios.table(verdicts):
            self.say(line)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        (self.bin / "quick.json").write_text(json.dumps({
            "time": now, "machine": machine(), "measured": measured, "stored": stored,
            "runs": self.runs}, indent=1) + "\n")
        if self.options.accept:
            ratios.save(BASELINE, measured, current_commit(), now,
                        {**machine(), "load": load})
            self.say(f"stored in {BASELINE.relative_to(ROOT)}: commit it together with its reason")
            return 0
        for line in ratios.closing_lines(verdicts, commit):
            self.say(line)
        return ratios.exit_code(verdicts)

    # --- Report -------------------------------------------------------------------------------

    def row(self, name, engine, limit, ratio_max=None, engine_max=None, marked=False):
        ratio = engine / limit if engine is not None and limit else None
        met = None
        if ratio_max is not None and ratio is not None:
            met = ratio <= ratio_max
        if engine_max is not None and engine is not None:
            met = engine <= engine_max
        goal = f"ratio <= {ratio_max:g}" if ratio_max else f"<= {engine_max:g}" if engine_max else ""
        self.rows.append({"row": name, "engine": engine, "limit": limit, "ratio": ratio,
                          "goal": goal, "met": met, "driver_bound": marked})

    def say(self, line):
        """A line of the report."""
        print(line, flush=True)
        self.report.append(line)

    def print_table(self):
        self.say(f"\n{'row':44} {'engine':>12} {'limit':>12} {'ratio':>7}  goal")
        for row in self.rows:
            verdict = {True: "met", False: "MISSED", None: ""}[row["met"]]
            star = "*" if row["driver_bound"] else " "
            self.say(f"{row['row']:44} {shown(row['engine']):>12} {shown(row['limit']):>12}{star}"
                     f"{shown(row['ratio'], 2):>7}  {row['goal']:14} {verdict}".rstrip())
        if any(row["driver_bound"] for row in self.rows):
            self.say("* the driver was late or used a whole core")
        missed = [row["row"] for row in self.rows if row["met"] is False]
        if missed:
            self.say("goals missed: " + "; ".join(missed))

    def write_results(self):
        options = {k: str(v) if isinstance(v, pathlib.Path) else v
                   for k, v in vars(self.options).items()}
        path = self.bin / "results.json"
        path.write_text(json.dumps({
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(),
            "options": options, "rows": self.rows, "runs": self.runs}, indent=1) + "\n")
        print(f"all figures: {path}")

    def run(self):
        """The exit code."""
        parts = {"micro": self.micro, "chat": self.chat, "half": self.half_load, "log": self.log,
                 "idle": self.idle, "fanout": self.fanout}
        try:
            if self.options.quick:
                return self.quick()
            for name, part in parts.items():
                if name in self.options.only:
                    part()
            return 0
        finally:
            if self.rows:
                self.print_table()
                self.write_results()
            if self.report:
                (self.bin / "report.txt").write_text("\n".join(self.report).strip() + "\n")
            shutil.rmtree(self.work, ignore_errors=True)


def median(runs, *keys):
    values = []
    for figures in runs:
        for key in keys:
            figures = figures[key]
        values.append(figures)
    return statistics.median(values) if values else None


def scaled(value, unit):
    return None if value is None else value / unit


def shown(value, digits=None):
    if value is None:
        return "-"
    if digits is None:
        digits = 3 if abs(value) < 10 else 1 if abs(value) < 10000 else 0
    return f"{value:.{digits}f}"


def machine():
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "load": os.getloadavg()}


def current_commit():
    """Of the sources; "+changes" when they differ from it."""
    command = ["git", "-C", ROOT, "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+changes"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build",
                        help="build directory (%(default)s)")
    parser.add_argument("--quick", action="store_true",
                        help="ratios against bench/baseline.json, at most 3 minutes; exit 3: one is worse")
    parser.add_argument("--accept", action="store_true", help="--quick, but store the ratios")
    parser.add_argument("--runs", type=int, default=3, help="rounds of each server (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8, help="measured per round (%(default)s)")
    parser.add_argument("--warmup", type=float, default=3, help="seconds before (%(default)s)")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--idle-connections", type=int, default=15000)
    parser.add_argument("--payload", type=int, default=100, help="bytes per body (%(default)s)")
    parser.add_argument("--shards", default="1", help="list, for example 1,2 (%(default)s)")
    parser.add_argument("--only", default=",".join(PARTS), help="parts (%(default)s)")
    parser.add_argument("--limit-only", action="store_true", help="measure without ringtalkd")
    options = parser.parse_args()
    options.cell_seconds = 1.5
    options.quick |= options.accept
    if options.quick:  # ratios of other options are other ratios
        for name in ("runs", "seconds", "warmup", "connections", "payload", "shards", "only", "limit_only"):
            if getattr(options, name) != parser.get_default(name):
                parser.error(f"--quick and --accept choose --{name.replace('_', '-')} themselves")
        options.seconds, options.warmup, options.cell_seconds = 2, 0.5, 0.6
    options.shards = [int(part) for part in options.shards.split(",")]
    options.only = options.only.split(",")
    options.build = options.build.resolve()
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"--only: unknown part {', '.join(sorted(unknown))}")
    if options.limit_only and "micro" in options.only:
        options.only.remove("micro")
    if "half" in options.only and "chat" not in options.only:
        parser.error("--only: half needs chat, whose top rate it halves")
    return options


def main():
    options = parse_options()
    needed = ["bench/limit_chat", "bench/limit_log", "bench/bench_chat_driver"]
    if "fanout" in options.only and not options.quick:
        needed += ["bench/limit_fanout", "bench/bench_fanout_driver"]
    needed += [] if options.limit_only else ["ringtalkd"]
    needed += ["bench/bench_store_append"] if options.quick else []
    missing = [name for name in needed if not (options.build / name).exists()]
    if missing:
        print(f"not built in {options.build}: {', '.join(missing)}", file=sys.stderr)
        return 1
    load = os.getloadavg()[0]
    if load > OTHER_LOAD_MAX:
        print(f"warning: this machine is busy (load {load:.1f}); the figures will be worse and uneven")
    try:
        return Bench(options).run()
    except CorrectnessError as error:
        print(f"CORRECTNESS: {error}", file=sys.stderr)
        return 2
    except (SetupError, ValueError) as error:
        print(f"could not measure: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
