"""Runs the real ringtalkd for a row: own data directory, free ports, users through the HTTP API.

Lifetime: leave a Server by close() (or `with`): that asks it to stop and demands exit 0 within 30 s,
so a row in which the process crashed or hangs at the end fails although its answers were right.
"""

import atexit
import hashlib
import http.client
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import storage
from client import Failure, require, require_equal

START_S = 60
STOP_S = 30

_running = set()
_names = itertools.count(1)
_current = threading.local()  # the servers the row on this thread has used: whose log to show


def servers_of_row():
    if not hasattr(_current, "servers"):
        _current.servers = []
    return _current.servers


def kill_all():
    for process in list(_running):
        if process.poll() is None:
            process.kill()


atexit.register(kill_all)


def find_ringtalkd(build_dir):
    for place in ("ringtalkd", "gateway/ringtalkd"):
        path = os.path.join(os.path.abspath(build_dir), place)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    raise SystemExit(f"no ringtalkd in {build_dir}: build it first")


def md5hex(text):
    return hashlib.md5(text.encode()).hexdigest()


def toml(config):
    lines = []
    for section, entries in config.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in entries.items()]
    return "\n".join(lines) + "\n"


class User:
    """Somebody who can log in. secret is what goes into the password field of 0x0103."""

    def __init__(self, id, name, nick, password=None, token=None):
        self.id, self.name, self.nick, self.password, self.token = id, name, nick, password, token

    @property
    def secret(self):
        return md5hex(self.password) if self.password else "token:" + self.token


class Server:
    def __init__(self, ringtalkd, shards, config=None, env=None, keep=False, label="server",
                 start=True, wrapper=(), own_storage=False):
        """wrapper: words in front of the command, of something that becomes the server (exec).
        own_storage: nobody else's store is disturbed by what is done to this one's."""
        self.ringtalkd, self.shards, self.env, self.keep, self.label = (
            ringtalkd, shards, dict(env or {}), keep, label)
        self.wrapper = list(wrapper)
        self.folder = tempfile.mkdtemp(prefix=f"ringtalk-{label}-")
        self.data_dir = os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "log.txt")
        self.ports_path = os.path.join(self.folder, "ports.json")
        self.config_path = None
        self.stderr = None  # a descriptor: standard error goes there instead of the log file
        self.storage = storage.storage_of(self, own_storage)
        config = dict(config or {})
        for section, entries in self.storage.config.items():
            config[section] = config.get(section, {}) | entries
        if config:
            self.config_path = os.path.join(self.folder, "ringtalk.toml")
            with open(self.config_path, "w", encoding="utf-8") as out:
                out.write(toml(config))
        self.process = None
        self.address = self.http_port = None
        self.use()
        if start:
            self.start()

    def use(self):
        """Remembers this server for the report of the row on this thread."""
        if self not in servers_of_row():
            servers_of_row().append(self)

    # ---- life ----

    def launch(self):
        """Starts the process without waiting for it to be ready."""
        if os.path.exists(self.ports_path):
            os.unlink(self.ports_path)
        command = [*self.wrapper, self.ringtalkd, "--data-dir", self.data_dir, "--listen", "127.0.0.1:0",
                   "--http", "127.0.0.1:0", "--ports-file", self.ports_path,
                   "--shards", str(self.shards)]
        if self.config_path:
            command += ["--config", self.config_path]
        env = {k: v for k, v in os.environ.items() if not k.startswith("RINGTALK_")} | self.env
        with open(self.log_path, "ab") as log:
            log.write(f"---- {' '.join(command)} {self.env or ''}\n".encode())
            log.flush()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log if self.stderr is None else self.stderr,
                                            env=env)
        _running.add(self.process)

    def wait_ready(self, timeout=START_S):
        """True when the ports file is there, False when the process died first."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if os.path.exists(self.ports_path):
                with open(self.ports_path, encoding="utf-8") as ports_file:
                    ports = json.load(ports_file)
                require_equal(ports["pid"], self.process.pid, "pid in the ports file")
                self.address = ("127.0.0.1", ports["tcp"])
                self.http_port = ports["http"]
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.005)
        raise Failure(f"ringtalkd not ready within {timeout} s")

    def start(self):
        self.launch()
        if not self.wait_ready():
            raise Failure(f"ringtalkd ended at start with {self.process.returncode}")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill9(self):
        require(self.running(), f"the server is gone already: {self.exit_text()}")
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        _running.discard(self.process)

    def term(self):
        """Orderly stop; anything but exit 0 within 30 s is a failure."""
        require(self.running(), f"the server died by itself: {self.exit_text()}")
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failure(f"still running {STOP_S} s after SIGTERM") from None
        finally:
            _running.discard(self.process)
        require_equal(code, 0, "exit code after SIGTERM")

    def restart(self, shards=None, kill=False):
        if self.running():
            if kill:
                self.kill9()
            else:
                self.term()
        self.shards = shards or self.shards
        self.start()

    def exit_text(self):
        code = self.process.returncode if self.process else None
        return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit {code}"

    def close(self):
        try:
            if self.process is not None and not getattr(self, "stopped", False):
                self.stopped = True
                self.term()
        finally:
            if self.running():
                self.process.kill()
                self.process.wait()
            if not self.keep:
                self.storage.close()
                self.log_tail_text = self.log_tail()
                shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.close()
            return
        crashed = not self.running() and self.process.returncode not in (0, -signal.SIGKILL)
        try:
            self.close()
        except Failure:
            if crashed and issubclass(kind, Exception):
                raise Failure(f"{error} [the server died: {self.exit_text()}]") from error

    # ---- looking ----

    def log_tail(self, lines=15):
        try:
            with open(self.log_path, "rb") as log:
                text = log.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return getattr(self, "log_tail_text", "")
        return "\n".join(text[-lines:])

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        raise Failure("no VmRSS")

    # ---- HTTP ----

    def admin_token(self):
        with open(os.path.join(self.data_dir, "admin.token"), encoding="ascii") as token:
            return token.read().strip()

    def http(self, method, path, body=None, token=True):
        """Returns (status, text)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=60)
        try:
            headers = {"Authorization": "Bearer " + self.admin_token()} if token else {}
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8")
        finally:
            connection.close()

    def make_user(self, name=None, password=None, nick=None, department=0):
        """One user; with a password he logs in by it, else by a session token."""
        name = name or f"u{next(_names)}"
        nick = nick or name.capitalize()
        fields = {"name": name, "nick": nick, "department": department}
        fields |= {"password": password} if password else {"token": True}
        status, text = self.http("POST", "/api/v1/users", fields)
        require_equal(status, 201, f"POST /api/v1/users {text}")
        answer = json.loads(text)
        require_equal(answer["name"], name, "name of the new user")
        return User(answer["id"], name, nick, password, answer.get("token"))

    def make_users(self, count):
        """Users with session tokens, 500 in one go."""
        made = []
        while len(made) < count:
            made += self.make_bulk(min(count - len(made), 500))
        return made

    def make_bulk(self, count):
        names = [f"u{next(_names)}" for _ in range(count)]
        status, text = self.http("POST", "/api/v1/users:bulk", {
            "users": [{"name": name, "nick": name.capitalize()} for name in names], "tokens": True})
        require_equal(status, 201, f"POST /api/v1/users:bulk {text[:200]}")
        made = json.loads(text)["users"]
        require_equal([user["name"] for user in made], names, "names of the new users")
        return [User(user["id"], user["name"], user["name"].capitalize(), token=user["token"])
                for user in made]

    def list_users(self):
        """Every user the server knows, by name."""
        out, after = {}, 0
        while True:
            status, text = self.http("GET", f"/api/v1/users?after={after}&limit=500")
            require_equal(status, 200, f"GET /api/v1/users {text[:200]}")
            answer = json.loads(text)
            out |= {user["name"]: user for user in answer["users"]}
            after = answer["next"]
            if not after:
                return out

    def turns(self):
        """(turns that used 2 ms of processor time, turns, seconds its shards were ready and had none)."""
        waited = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                if (task / "comm").read_text().startswith("shard-"):
                    waited += int((task / "schedstat").read_text().split()[1])
            except OSError:
                pass  # a thread that just ended
        return (self.metric("ringtalk_loop_held_turns_total"), self.metric("ringtalk_loop_turns_total"),
                waited / 1e9)

    def metric(self, name):
        """The sum of a metric over its labels."""
        status, text = self.http("GET", "/metrics", token=False)
        require_equal(status, 200, "GET /metrics")
        found = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                 if line.startswith((name + " ", name + "{"))]
        require(found, f"/metrics has no {name}")
        return int(sum(found))
