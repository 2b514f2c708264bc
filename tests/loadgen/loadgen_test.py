#!/usr/bin/env python3
"""ringtalk-loadgen as its user meets it: every scenario against a real server, and servers that lie.

Goal     Each scenario runs from its file and finds nothing wrong with ringtalkd; each kind of lie of a
         proxy in between is found; what is written can be read again; mistakes are named.
Method   Two shards, runs of a second. A busy machine makes results void (exit 3), which is right and no
         failure here: nothing is asserted about times.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "acceptance"))
from lying_proxy import MSG_ACK, MSG_DATA, LyingProxy, damage, drop, exchange, repeat  # noqa: E402
from server import Server, find_ringtalkd  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GROUP_CREATED = 0x0406
CLEAN, TROUBLE, ANOMALY, VOID, UNSUPPORTED, USAGE = 0, 1, 2, 3, 4, 64
FINE = (CLEAN, VOID)
SHORT = ["--duration", "1", "--warmup", "300ms", "--connections", "200"]

# What each scenario must have done, beside being free of anomalies.
SCENARIOS = {
    "idle": (["heartbeat_ms=200"], lambda d: d["total"]["heartbeats_answered"] > 100),
    "chat": (["rate=1000"], lambda d: d["measured"]["delivered"] > 500),
    "login-storm": (["churn_rate=300"], lambda d: d["measured"]["logins"] > 100),
    "reconnect-storm": (["rate=1000"], lambda d: d["total"]["cuts"] == 100 and d["storm_over_s"] > 0),
    "churn": (["rate=1000", "churn_rate=200"], lambda d: d["total"]["cuts"] > 50),
    "slow-readers": (["rate=2000", "slow_percent=10"], lambda d: d["measured"]["delivered"] > 500),
    "mixed-day": (["rate=500", "history_rate=100"],
                  lambda d: d["latency_us"]["history"]["count"] > 10 and d["total"]["reads"] > 10),
    "offline-drain": (["rate=1000"], lambda d: d["total"]["fetched"] > 200),
}
MESSAGES = {"chat", "reconnect-storm", "churn", "slow-readers", "mixed-day", "offline-drain"}

# What the proxy does to which frame, and under which names it may be counted.
LIES = [(MSG_DATA, drop, {"undelivered"}), (MSG_DATA, repeat, {"duplicate"}),
        (MSG_DATA, exchange, {"inversion"}), (MSG_DATA, damage, {"corrupted", "undelivered"}),
        (MSG_ACK, drop, {"lost"}), (MSG_ACK, repeat, {"duplicate"})]


class Bench:
    def __init__(self, loadgen, server, folder):
        self.loadgen, self.server, self.folder = loadgen, server, folder
        self.runs = 0

    def online(self):
        url = f"http://127.0.0.1:{self.server.http_port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("ringtalk_sessions{"))

    def call(self, *words):
        done = subprocess.run([self.loadgen, *words], capture_output=True, text=True, timeout=60)
        self.said = f"{' '.join(words)}\n{done.stdout}{done.stderr}"
        assert done.returncode >= 0, f"signal {-done.returncode}: {self.said}"
        return done

    def run(self, scenario, *words, to=None, accept=FINE):
        """The document of one run."""
        self.runs += 1
        self.json = os.path.join(self.folder, f"{self.runs}.json")
        done = self.call(scenario, *SHORT, *words, "--json", self.json, "--data-dir", self.server.data_dir,
                         "--server", to or "127.0.0.1:%d" % self.server.address[1],
                         "--http", f"127.0.0.1:{self.server.http_port}")
        assert done.returncode in accept, f"exit {done.returncode}: {self.said}"
        with open(self.json, encoding="utf-8") as file:
            document = json.load(file)
        assert document["exit_code"] == done.returncode, self.said
        return document, done


def check_scenarios(bench):
    for name, (words, holds) in SCENARIOS.items():
        document, done = bench.run(name, *words)
        assert document["scenario"]["name"] == name
        assert document["anomalies_total"] == 0 and not any(document["anomalies"].values()), bench.said
        assert document["drain"]["complete"], bench.said
        assert set(document["errors"]) <= {"slow reader closed by the server"}, bench.said
        assert holds(document), bench.said
        if name in MESSAGES:
            assert document["total"]["acked"] > 0 and document["latency_us"]["ack"]["p50"] > 0, bench.said
        if document["exit_code"] == VOID:
            assert document["void"] and "VOID" in done.stdout, bench.said
        assert document["rate_limits"] == "lifted" and "rate limits lifted" in done.stdout
        assert document["server_usage"]["rss_after"] > 0 and document["series"], bench.said
        yield name


def post(bench, path, body):
    token = pathlib.Path(bench.server.data_dir, "admin.token").read_text().strip()
    request = urllib.request.Request(f"http://127.0.0.1:{bench.server.http_port}/api/v1/{path}",
                                     json.dumps(body).encode(), {"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def check_groups(bench):
    """Small ones are made by clients; one above limits.group_members_max by the admin API."""
    for name, connections, size, rate in (("group", 200, 10, 300), ("group", 200, 100, 20),
                                          ("broadcast", 400, 400, 10), ("broadcast", 600, 600, 5)):
        document, _ = bench.run(name, f"connections={connections}", f"group_size={size}", f"rate={rate}")
        assert document["anomalies_total"] == 0 and not document["errors"], bench.said
        assert document["drain"]["complete"], bench.said
        total = document["total"]
        assert total["sent"] > 0 and total["acked"] == total["sent"], bench.said
        assert total["delivered"] == (size - 1) * total["sent"], bench.said
        yield f"{name} of {size}"
    users = os.path.join(bench.folder, "large.txt")
    bench.run("idle", "connections=600", "--save-users", users)
    tokenless = bench.call("broadcast", "connections=600", "group_size=600", "--users-file", users,
                           "--server", "127.0.0.1:%d" % bench.server.address[1],
                           "--http", f"127.0.0.1:{bench.server.http_port}")
    assert tokenless.returncode == TROUBLE and "admin API" in tokenless.stderr, bench.said
    yield "a large group without a token"


def check_group_lies(bench):
    for command, lie, names in (*LIES, (GROUP_CREATED, drop, None)):
        proxy = LyingProxy(bench.server.address, command, lie, 1 if names is None else 20)
        document, done = bench.run("group", "connections=20", "group_size=5", "rate=300",
                                   "--duration", "600ms", "--drain", "700ms", to=proxy.address,
                                   accept=(UNSUPPORTED,) if names is None else (ANOMALY,))
        proxy.close()
        found = {kind for kind, count in document["anomalies"].items() if count}
        assert found == (names or set()), bench.said
        assert names or "the server has no groups" in done.stderr, bench.said
        yield f"groups, {lie.__name__} {command:#06x}"


def check_watch(bench):
    """A group that somebody else writes in: who has what is counted, and what is missing is missed."""
    users = os.path.join(bench.folder, "watched.txt")
    bench.run("idle", "--save-users", users)
    with open(users, encoding="utf-8") as file:
        ids = [int(line.split()[0]) for line in file if line[0] != "#"]
    for members, codes in ((ids, FINE), (ids[1:], (ANOMALY,))):
        group = post(bench, "groups", {"name": "all", "members": members})["id"]
        stop = threading.Event()
        result = []

        def write(group=group, stop=stop, result=result):
            while bench.online() < len(ids) and not stop.wait(0.05):
                pass
            for n in range(3):
                message = {"from": ids[1], "group": group, "text": f"message {n}"}
                result.append(post(bench, "messages", message))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            document, done = bench.run("idle", "--users-file", users, f"watch_group={group}",
                                       "--duration", "2", accept=codes)
        finally:
            stop.set()
            writer.join()
        watch = document["watch"]
        assert [message["id"] for message in watch["messages"]] == [1, 2, 3], bench.said
        assert all(message["connections"] == len(members) for message in watch["messages"]), bench.said
        assert watch["missing"] == 3 * (len(ids) - len(members)), bench.said
        assert document["anomalies"]["undelivered"] == watch["missing"], bench.said
        assert document["anomalies_total"] == watch["missing"], bench.said
        assert f"on {len(members)} connections" in done.stdout, bench.said
        yield f"watch, {len(ids) - len(members)} absent"


def check_outputs(bench):
    html, hgrm, users = (os.path.join(bench.folder, name) for name in ("a.html", "a.hgrm", "users.txt"))
    document, done = bench.run("chat", "--rate", "500", "--html", html, "--hgrm", hgrm, "--save-users", users)
    first = bench.json
    with open(html, encoding="utf-8") as file:
        page = file.read()
    assert page.count("<svg") >= 5 and "http://" not in page.replace("http://127.0.0.1", ""), "page is self-contained"
    assert "<script" not in page and "url(" not in page and "<link" not in page
    with open(hgrm, encoding="utf-8") as file:
        lines = file.read().splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    values = [float(line.split()[0]) for line in lines[2:] if line and line[0] != "#"]
    assert values == sorted(values) and len(values) > 20
    assert bench.call("report", first).stdout == done.stdout, "a stored result reads as it did"

    # The same users again: what they wrote before is not taken for this run's.
    document, done = bench.run("chat", "--window", "4", "--users-file", users)
    assert document["loop"] == "closed" and "CLOSED LOOP" in done.stdout, bench.said
    assert document["anomalies_total"] == 0 and document["measured"]["acked"] > 0, bench.said
    done = bench.call("compare", first, bench.json)
    assert done.returncode == CLEAN and "acknowledged/s" in done.stdout, bench.said
    assert "one side is open loop" in done.stdout and "scenarios differ: window" in done.stdout, bench.said
    done = bench.call("compare", first, first, first, "--", first, first, first)
    assert done.returncode == CLEAN and "better" not in done.stdout and "WORSE" not in done.stdout, bench.said
    yield "outputs, users file, compare"


def check_capacity(bench):
    out = os.path.join(bench.folder, "capacity.json")
    done = bench.call("capacity", "chat", "--p99", "1s", "--rate", "100", "--rate-max", "200", "--duration", "500ms",
                      "--warmup", "100ms", "--connections", "20", "--json", out, "--data-dir", bench.server.data_dir,
                      "--server", "127.0.0.1:%d" % bench.server.address[1],
                      "--http", f"127.0.0.1:{bench.server.http_port}")
    assert done.returncode in FINE, bench.said
    with open(out, encoding="utf-8") as file:
        found = json.load(file)
    assert found["steps"] and found["rate"] <= 200, bench.said
    assert found["generator_limited"] or found["rate"] == 200, bench.said
    yield "capacity"


def check_lies(bench):
    for command, lie, names in LIES:
        proxy = LyingProxy(bench.server.address, command, lie)
        document, done = bench.run("chat", "connections=20", "--rate", "400", "--duration", "600ms", "--drain", "700ms",
                                   to=proxy.address, accept=(ANOMALY,))
        proxy.close()
        found = {kind for kind, count in document["anomalies"].items() if count}
        assert found == names and document["anomaly_samples"], bench.said
        assert "ANOMALIES" in done.stdout, bench.said
        yield f"{lie.__name__} {command:#06x}"


def check_mistakes(bench):
    wrong = os.path.join(bench.folder, "wrong.toml")
    with open(wrong, "w", encoding="utf-8") as file:
        file.write("rate = 10\nconections = 4\n")
    cases = [([wrong], f"{wrong}:2"), (["chat", "conections=4"], "conections"), (["chat", "rate=many"], "rate"),
             (["chat", "connections=7"], "pairs"), (["nothing-like-it"], "nothing-like-it"),
             (["chat", "--duration", "soon"], "duration"), (["chat", "--server", "here"], "server")]
    for words, named in cases:
        done = bench.call(*words, "--data-dir", bench.server.data_dir)
        assert done.returncode == USAGE and named in done.stderr and not done.stdout, bench.said
    torn = os.path.join(bench.folder, "torn.json")
    with open(torn, "w", encoding="utf-8") as file:
        json.dump({"tool": "ringtalk-loadgen", "format": 1, "scenario": {}, "machine": {}, "loop": "open",
                   "result": "clean"}, file)
    done = bench.call("report", torn)
    assert done.returncode == TROUBLE and "not whole" in done.stderr, bench.said
    assert bench.call("compare", wrong, wrong).returncode == TROUBLE
    assert bench.call("compare", wrong).returncode == USAGE
    assert bench.call("chat").returncode == USAGE, "no token, no users"
    _, done = bench.run("chat", to="127.0.0.1:1", *["connect_ms=1000"], accept=(TROUBLE,))
    assert "Connection refused" in done.stderr, bench.said
    with open(ROOT / "docs/LOADGEN.md", encoding="utf-8") as file:
        manual = file.read()
    for line in bench.call("list").stdout.split("Keys:")[1].splitlines()[1:]:
        if line.strip():
            assert f"| `{line.split()[0]}` |" in manual, f"docs/LOADGEN.md lacks {line}"
    assert bench.call("list").returncode == CLEAN and bench.call("--help").returncode == CLEAN
    done = bench.call("doctor", "chat", "--data-dir", bench.server.data_dir, "--http",
                      f"127.0.0.1:{bench.server.http_port}")
    assert done.returncode == CLEAN and "rate limit of sends is lifted" in done.stdout, bench.said
    yield "mistakes"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build-dir", required=True)
    options = parser.parse_args()
    loadgen = os.path.join(os.path.abspath(options.build_dir), "ringtalk-loadgen")
    config = {"limits": {"sends_per_second": 0, "group_members_max": 500}}
    passed = 0
    with tempfile.TemporaryDirectory(prefix="lg-") as folder, \
            Server(find_ringtalkd(options.build_dir), 2, config, label="loadgen") as server:
        bench = Bench(loadgen, server, folder)
        for check in (check_scenarios, check_groups, check_group_lies, check_watch,
                      check_outputs, check_capacity, check_lies, check_mistakes):
            for name in check(bench):
                passed += 1
                print(f"ok: {name}", flush=True)
    print(f"{passed} checks passed")


if __name__ == "__main__":
    main()
