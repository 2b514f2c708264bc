#!/usr/bin/env python3
"""What a durable message costs through MySQL: `./dev bench store`.

    bench/store.py [--build BUILD] [--runs 3] [--seconds 4] [--only rows,half,chat] [--redis]

rows   one-row autocommit, bare transactions and our driver at 1, 64 and 1,024 rows (bench_store_mysql.cc), in
       turn, each with a database of its own in one MariaDB that is started here: its own directory below the
       build directory, innodb_flush_log_at_trx_commit=1, a buffer pool of 1 GiB
half   the driver at half of its top rate, open loop: acknowledgement p99
chat   ringtalkd on that MariaDB and ringtalk-loadgen, closed loop: everything on this machine's cores

Figures    medians of --runs; ratios compare rows of the same run only. Also in BUILD/bench/store.json.
Exit code  0 measured, 1 could not measure, 2 a message was lost, repeated or out of order
Goals      those of the project: they are printed beside the figure, and decide nothing.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "acceptance")]
import servers  # noqa: E402
import storage  # noqa: E402
from server import Server  # noqa: E402

PARTS = ("rows", "half", "chat")
CELLS = (("autocommit", 1), ("bare", 1), ("driver", 1), ("bare", 64), ("driver", 64), ("bare", 1024),
         ("driver", 1024))
ORIGINAL_PER_SECOND = 1400  # TeamTalk's own servers on two cores like these
OPTIONS = ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M")


class Failed(Exception):
    """It could not be measured, and why."""


class Bench:
    def __init__(self, options, mysql):
        self.options, self.mysql, self.out = options, mysql, {"rows": []}

    def cell(self, variant, batch, seconds, **more):
        arguments = [str(word) for name, value in more.items() for word in (f"--{name}", value)]
        done = subprocess.run(
            [self.options.build / "bench" / "bench_store_mysql", "--variant", variant, "--batch", str(batch),
             "--seconds", str(seconds), "--server-pid", str(self.mysql.pid), *arguments],
            env=os.environ | self.mysql.environment(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{variant} x{batch}: exit {done.returncode}: {done.stderr.strip()[-400:]}")
        found = json.loads(done.stdout)
        self.out["rows"].append(found)
        return found

    def rows(self):
        found = {}
        for _ in range(self.options.runs):
            for variant, batch in CELLS:
                found.setdefault((variant, batch), []).append(self.cell(variant, batch, self.options.seconds))
        print(f"{'':24}{'rows/s':>10}{'client us':>11}{'server us':>11}{'p50 us':>10}{'p99 us':>10}  of bare")
        for key in CELLS:
            at = {name: median(found[key], name) for name in found[key][0] if name != "variant"}
            bare = median(found["bare", key[1]], "rows_per_second")
            note = f"{at['rows_per_second'] / bare * 100:6.0f} %"
            if key == ("driver", 1024):
                note += verdict("   goal 70 %", at["rows_per_second"] >= 0.7 * bare)
            print(f"{key[0] + ' x' + str(key[1]):24}{at['rows_per_second']:10.0f}{at['client_us_per_row']:11.2f}"
                  f"{at['server_us_per_row']:11.2f}{at['p50_us']:10.0f}{at['p99_us']:10.0f}{note}")
        self.out["top"] = median(found["driver", 1024], "rows_per_second")

    def half(self):
        top = self.out.get("top") or self.cell("driver", 1024, self.options.seconds)["rows_per_second"]
        found = [self.cell("driver", 1024, self.options.seconds, rate=int(top / 2))
                 for _ in range(self.options.runs)]
        p99 = median(found, "p99_us")
        print(f"half of the top rate, {int(top / 2)}/s: ack p50 {median(found, 'p50_us'):.0f} us, "
              f"p99 {p99:.0f} us{verdict('   goal 20 ms', p99 <= 20_000)}")

    def chat(self):
        storage.use("mysql", self.options.build, self.mysql)
        rates = []
        for _ in range(self.options.runs):
            with Server(str(self.options.build / "ringtalkd"), self.options.shards, {"limits": {"sends_per_second": 0}}) as server:
                rates.append(self.load(server))
        rate = statistics.median(rates)
        goal = 50 * ORIGINAL_PER_SECOND
        print(f"chat, {self.options.connections} connections with {self.options.window} in flight, all processes "
              f"on {os.cpu_count()} cores: {rate:.0f} messages/s{verdict(f'   goal {goal}', rate >= goal)}")
        self.out["chat"] = rates

    def load(self, server):
        file = self.options.build / "bench" / "store-chat.json"
        done = subprocess.run(
            [self.options.build / "ringtalk-loadgen", "chat", "--server", "%s:%s" % server.address,
             "--http", f"127.0.0.1:{server.http_port}", "--data-dir", server.data_dir, "--quiet", "--json", file,
             "--duration", f"{self.options.seconds}s", "--connections", str(self.options.connections),
             "--window", str(self.options.window)],
            capture_output=True, text=True, check=False)
        if done.returncode == 2:
            raise AssertionError(f"the checker found anomalies: {done.stdout[-800:]}")
        if done.returncode not in (0, 3):  # void: the generator shares the cores, which is the question here
            raise Failed(f"ringtalk-loadgen: exit {done.returncode}: {(done.stdout + done.stderr)[-600:]}")
        return json.loads(file.read_text())["rates"]["acked_per_s"]


def verdict(goal, met):
    return goal + (" met" if met else " MISSED")


def median(cells, name):
    return statistics.median(cell[name] for cell in cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--shards", type=int, default=1, help="of chat: each has a lane of its own")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args()
    options.build = options.build.resolve()
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only: unknown part {', '.join(sorted(unknown))}")
    work = options.build / "bench" / f"store.{os.getpid()}"
    work.mkdir(parents=True)
    os.environ["TMPDIR"] = str(work)  # on the disk of the sources, where servers.py would take memory
    try:
        with servers.MariaDb(options=OPTIONS) as mysql:
            bench = Bench(options, mysql)
            for part in parts:
                getattr(bench, part)()
        (options.build / "bench" / "store.json").write_text(json.dumps(bench.out, indent=1))
    except (Failed, servers.Unavailable) as error:
        print(f"could not measure: {error}", file=sys.stderr)
        return 1
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        servers.close_all()
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
