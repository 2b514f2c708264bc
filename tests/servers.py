#!/usr/bin/env python3
"""A MariaDB and a Redis of our own, for tests: private ports on 127.0.0.1, private directories.

    servers.py -- COMMAND…    starts both, runs the command with their addresses in its environment, stops
                              them; the exit code is the command's (128 + n if signal n ended it)

RINGTALK_TEST_MYSQL     host:port:user:password; the user may do everything in every database, and nothing
                        to the server, so that read_only and max_connections hold for him as for an engine
RINGTALK_TEST_MYSQL_CA  PEM file of the authority that signed the server's certificate (TLS is offered, for
                        127.0.0.1 and localhost, and not demanded)
RINGTALK_TEST_REDIS     host:port

As a module: MariaDb() and Redis() are such servers, with kill9(), stop() and cont() (SIGSTOP, SIGCONT),
restart() and close().

Lifetime  Nothing stays, whatever happens: close() at the end of `with` or of the interpreter; and when this
          process is killed, a watchdog (it reads a pipe that only we hold open) kills who works in our
          directories and removes them.
Errors    Unavailable says in one sentence what is missing.
"""

import atexit
import ctypes
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

START_S = 60
PORTS = range(18000, 28000)  # below the kernel's own choice for clients: nobody takes one during a restart
PR_SET_PDEATHSIG = 1
MEMORY_BYTES_MIN = 4 << 30


class Unavailable(Exception):
    """A server cannot be run here."""


# ---- the watchdog ----

class Watchdog:
    """One process beside us; it is told every directory before anything is started in it."""

    def __init__(self):
        self.lock, self.process = threading.Lock(), None

    def tell(self, sign, folder):
        with self.lock:
            if self.process is None:
                self.process = subprocess.Popen(
                    [sys.executable, os.path.abspath(__file__), "--watchdog"], stdin=subprocess.PIPE,
                    start_new_session=True, cwd="/")
            self.process.stdin.write(f"{sign}{folder}\n".encode())
            self.process.stdin.flush()


def working_in(folder):
    """Processes whose working directory is there."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                place = os.readlink(f"/proc/{entry}/cwd")
            except OSError:
                continue  # ended, or not ours
            if place == folder or place.startswith(folder + "/"):
                yield int(entry)


def clear(folder):
    """Ends who works there, and removes it."""
    while found := list(working_in(folder)):
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)  # until they are gone
    shutil.rmtree(folder, ignore_errors=True)


def watch():
    """The watchdog's life: ends when the pipe does."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folders = set()
    for line in sys.stdin:
        folder = line[1:].rstrip("\n")
        (folders.add if line[0] == "+" else folders.discard)(folder)
    for folder in folders:
        clear(folder)


_watchdog = Watchdog()
_open = set()
_lock = threading.Lock()


def place():
    """Memory if there is plenty: what a commit costs must not depend on who else writes to the disk. What is
    written survives kill -9 there as well, and more is not tested here."""
    if "TMPDIR" not in os.environ:
        try:
            info = os.statvfs("/dev/shm")
            if info.f_bavail * info.f_frsize >= MEMORY_BYTES_MIN and os.access("/dev/shm", os.W_OK):
                return "/dev/shm"
        except OSError:
            pass
    return tempfile.gettempdir()


def make_folder(name):
    folder = os.path.join(place(), f"ringtalk-{name}-{secrets.token_hex(6)}")
    _watchdog.tell("+", folder)
    os.mkdir(folder, 0o700)
    return folder


def remove_folder(folder):
    clear(folder)  # an installation that was interrupted may have left somebody who still writes
    _watchdog.tell("-", folder)


def close_all():
    for server in list(_open):
        server.close()
    MariaDb.forget_template()


atexit.register(close_all)


def free_port():
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def at_home(folder):
    """The environment of what runs in there: temporary files, too."""
    return os.environ | {"TMPDIR": folder}


def do(*command, cwd):
    """A command that has to succeed."""
    try:
        done = subprocess.run(command, cwd=cwd, env=at_home(cwd), capture_output=True, text=True,
                              timeout=START_S)
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed") from None
    if done.returncode != 0:
        raise Unavailable(f"{command[0]}: {(done.stderr or done.stdout).strip()[-500:]}")


# ---- what both have in common ----

class Process:
    """A server process that can be killed, stopped and started again on the same port and data."""

    host = "127.0.0.1"

    def __init__(self, name):
        self.name, self.process, self.port = name, None, free_port()
        self.folder = make_folder(name)
        self.log_path = os.path.join(self.folder, "log.txt")
        with _lock:
            _open.add(self)

    def command(self):
        """The words, and the program if it is not the first of them."""
        raise NotImplementedError

    def greets(self, stream):
        """Whether a fresh connection shows that the server answers."""
        raise NotImplementedError

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, wait=True):
        words, program = self.command()
        with open(self.log_path, "ab") as log:
            try:
                self.process = subprocess.Popen(
                    words, executable=program, cwd=self.folder, env=at_home(self.folder),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            except FileNotFoundError:
                raise Unavailable(f"{program or words[0]} is not installed") from None
        if wait:
            self.wait_ready()

    def wait_ready(self):
        deadline = time.monotonic() + START_S
        while not self.answers():
            if not self.running() or time.monotonic() > deadline:
                raise Unavailable(f"{self.name} did not start: {self.log_tail()}")
            time.sleep(0.01)

    def answers(self):
        try:
            with socket.create_connection((self.host, self.port), 1) as stream:
                return self.greets(stream)
        except OSError:
            return False

    def log_tail(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()[-800:]

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """It stays connected, and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def cont(self):
        self.process.send_signal(signal.SIGCONT)

    def restart(self):
        """Killed if it runs, and started: what was committed is there."""
        if self.running():
            self.kill9()
        self.start()

    def close(self):
        with _lock:
            if self not in _open:
                return
            _open.discard(self)
        if self.running():
            self.kill9()  # the data is thrown away
        remove_folder(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---- MariaDB ----

def user_option():
    return ["--user=root"] if os.geteuid() == 0 else []  # mariadbd refuses to be root unasked


class MariaDb(Process):
    """Engines are `user` with `password`. The administrator has a port of his own, where he gets in when all
    connections are taken: sql()."""

    user = "ringtalk"
    template, template_lock = None, threading.Lock()

    def __init__(self, options=(), start=True):
        """options: further ones of mariadbd."""
        super().__init__("mariadb")
        self.options = list(options)
        self.password = secrets.token_hex(8)
        self.data = os.path.join(self.folder, "data")
        self.admin_port = free_port()
        self.ca = os.path.join(self.folder, "ca.pem")
        try:
            shutil.copytree(self.prepared(), self.data)
            self.certify()
            with open(os.path.join(self.folder, "init.sql"), "w", encoding="ascii") as init:
                init.write("DELETE FROM mysql.global_priv WHERE User = 'root';\n"
                           "FLUSH PRIVILEGES;\n"
                           f"CREATE USER IF NOT EXISTS admin@'%' IDENTIFIED BY '{self.password}';\n"
                           "GRANT ALL ON *.* TO admin@'%';\n"
                           f"CREATE USER IF NOT EXISTS {self.user}@'%' IDENTIFIED BY '{self.password}';\n"
                           f"GRANT ALL ON `%`.* TO {self.user}@'%';\n")
            if start:
                self.start()
        except BaseException:
            self.close()
            raise

    @classmethod
    def prepared(cls):
        """A data directory as the installation makes it, copied for every server: it takes seconds."""
        with cls.template_lock:
            if cls.template is None:
                folder = make_folder("mariadb-template")
                try:
                    do("mariadb-install-db", "--no-defaults", f"--datadir={folder}/data",
                       "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
                       "--innodb-log-file-size=32M", *user_option(), cwd=folder)
                except BaseException:
                    remove_folder(folder)
                    raise
                cls.template = folder
            return os.path.join(cls.template, "data")

    @classmethod
    def forget_template(cls):
        with cls.template_lock:
            if cls.template is not None:
                remove_folder(cls.template)
                cls.template = None

    def certify(self):
        """An authority and the server's certificate, for this server only."""
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        with open(os.path.join(self.folder, "names"), "w", encoding="ascii") as names:
            names.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        do("openssl", "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
           "-subj", "/CN=ringtalk test authority", cwd=self.folder)
        do("openssl", "req", *key, "-keyout", "server.key", "-out", "server.req", "-subj", "/CN=127.0.0.1",
           cwd=self.folder)
        do("openssl", "x509", "-req", "-in", "server.req", "-CA", "ca.pem", "-CAkey", "ca.key",
           "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem", cwd=self.folder)

    def command(self):
        return ["mariadbd", "--no-defaults", *user_option(), f"--datadir={self.data}",
                f"--socket={self.folder}/socket", f"--port={self.port}", f"--bind-address={self.host}",
                f"--extra-port={self.admin_port}", "--extra-max-connections=50",
                f"--pid-file={self.folder}/pid", f"--init-file={self.folder}/init.sql",
                f"--ssl-ca={self.ca}", f"--ssl-cert={self.folder}/server.pem",
                f"--ssl-key={self.folder}/server.key", "--skip-name-resolve", "--skip-log-bin",
                "--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=64M",
                "--innodb-log-file-size=32M", "--innodb-fast-shutdown=2", "--key-buffer-size=1M",
                "--aria-pagecache-buffer-size=1M", "--performance-schema=OFF", "--max-connections=200",
                "--table-open-cache=400", "--max-connect-errors=1000000000", "--local-infile=1",
                *self.options], program("mariadbd")

    def greets(self, stream):
        head = b""
        while len(head) < 5:  # length, sequence, protocol version; an error has 255 there
            got = stream.recv(5 - len(head))
            if not got:
                return False
            head += got
        return head[4] == 10

    @property
    def address(self):
        return f"{self.host}:{self.port}:{self.user}:{self.password}"

    def environment(self):
        return {"RINGTALK_TEST_MYSQL": self.address, "RINGTALK_TEST_MYSQL_CA": self.ca}

    def sql(self, text, database=None):
        """Statements of the administrator."""
        return Sql(f"{self.host}:{self.admin_port}:admin:{self.password}", database).do(text)


class Sql:
    """The command line client. do() returns the rows as texts, as they are stored; NULL is "NULL"."""

    def __init__(self, address, database=None):
        """address: host:port:user:password, as in RINGTALK_TEST_MYSQL."""
        host, port, user, password = address.split(":")
        self.words = ["mariadb", "--no-defaults", f"--host={host}", f"--port={port}", f"--user={user}",
                      f"--password={password}", "--batch", "--skip-column-names",
                      "--default-character-set=utf8mb4", "--local-infile=1"] + [database] * bool(database)

    def do(self, text):
        done = subprocess.run(self.words, input=text, capture_output=True, text=True, encoding="utf-8",
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{text[:200]!r}: {done.stderr.strip()[-300:]}")
        return [[unescape(cell) for cell in line.split("\t")] for line in done.stdout.split("\n")[:-1]]


ESCAPES = {"n": "\n", "t": "\t", "0": "\0", "\\": "\\"}


def unescape(cell):
    if "\\" not in cell:
        return cell
    out, marks = [], iter(cell)
    for mark in marks:
        out.append(ESCAPES[next(marks)] if mark == "\\" else mark)
    return "".join(out)


def program(name):
    """Debian has servers in sbin, which is not in everybody's PATH."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise Unavailable(f"{name} is not installed")
    return path


# ---- Redis ----

class Redis(Process):
    """Keeps nothing on disk by itself: a restart begins empty, or with what restore() put there."""

    def __init__(self, options=(), start=True):
        """options: further ones of redis-server."""
        super().__init__("redis")
        self.options = list(options)
        self.dump = os.path.join(self.folder, "dump.rdb")
        try:
            if start:
                self.start()
        except BaseException:
            self.close()
            raise

    def command(self):
        # Debian's redis-tools has the server under the name of the checker; it goes by the first word.
        path = shutil.which("redis-server") or program("redis-check-rdb")
        return ["redis-server", "--port", str(self.port), "--bind", self.host, "--dir", self.folder,
                "--save", "", "--appendonly", "no", "--daemonize", "no", *self.options], path

    def greets(self, stream):
        stream.sendall(b"PING\r\n")
        return stream.recv(16) in (b"+PONG\r\n", b"-NOAUTH Authenti")  # -LOADING is neither

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def environment(self):
        return {"RINGTALK_TEST_REDIS": self.address}

    def resp(self, database=0, password=None):
        return Resp((self.host, self.port), database, password)

    def flushall(self):
        with self.resp() as redis:
            redis.do("FLUSHALL")

    def snapshot(self):
        """What it holds now, for restore()."""
        with self.resp() as redis:
            redis.do("SAVE")
        with open(self.dump, "rb") as dump:
            content = dump.read()
        os.unlink(self.dump)
        return content

    def restore(self, content):
        """Killed, and started with an old content."""
        if self.running():
            self.kill9()
        with open(self.dump, "wb") as dump:
            dump.write(content)
        self.start()
        os.unlink(self.dump)


class Resp:
    """A client of Redis: do() one command, many() in one go. Texts come back as bytes."""

    def __init__(self, address, database=0, password=None, timeout=10):
        self.stream = socket.create_connection(address, timeout)
        self.reader = self.stream.makefile("rb")
        if password:
            self.do("AUTH", password)
        if database:
            self.do("SELECT", database)

    def do(self, *words):
        return self.many([words])[0]

    def many(self, commands):
        self.stream.sendall(b"".join(self.packed(words) for words in commands))
        return [self.answer() for _ in commands]

    @staticmethod
    def packed(words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)

    def answer(self):
        line = self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        count = int(rest)
        if kind == b"*":
            return None if count < 0 else [self.answer() for _ in range(count)]
        if count < 0:
            return None
        text = self.reader.read(count + 2)
        if len(text) < count + 2:
            raise ConnectionError("Redis closed the connection")
        return text[:-2]

    def close(self):
        self.reader.close()
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---- the command ----

def die_with_parent():
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def run(command, environment):
    """The command's exit code. SIGTERM is handed on; Ctrl-C reaches it by itself and it decides."""
    child = None

    def hand_on(number, _):
        if child is None:
            raise SystemExit(128 + number)
        child.send_signal(number)

    signal.signal(signal.SIGTERM, hand_on)
    with MariaDb() as mariadb, Redis() as redis:
        environment = environment | mariadb.environment() | redis.environment()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Ignored signals are inherited; the child wants the usual.
        child = subprocess.Popen(command, env=environment, preexec_fn=lambda: (
            signal.signal(signal.SIGINT, signal.SIG_DFL), die_with_parent()))
        code = child.wait()
    return 128 - code if code < 0 else code


def main(argv):
    if argv == ["--watchdog"]:
        watch()
        return 0
    if len(argv) < 2 or argv[0] != "--":
        print("usage: servers.py -- COMMAND…", file=sys.stderr)
        return 2
    try:
        return run(argv[1:], dict(os.environ))
    except Unavailable as error:
        print(f"servers.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"servers.py: {error}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
