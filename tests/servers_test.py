#!/usr/bin/env python3
"""servers.py with a real MariaDB and Redis: what they keep, and that nothing stays of them."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True

import servers

SCRIPT = pathlib.Path(servers.__file__)
PATIENCE_S = 60
# Tells its environment and sleeps; longer than anybody would wait for it.
TELL = ("import json, os, sys, time; print(json.dumps({k: v for k, v in os.environ.items()"
        " if k.startswith('RINGTALK_TEST_')}), flush=True); time.sleep(600)")


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class MariaDb(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = servers.MariaDb(["--max-connections=10"])
        cls.addClassCleanup(cls.server.close)

    def as_user(self, text, *options):
        return subprocess.run(
            ["mariadb", "--no-defaults", f"--host={self.server.host}", f"--port={self.server.port}",
             f"--user={self.server.user}", f"--password={self.server.password}", "--batch",
             "--skip-column-names", *options], input=text, capture_output=True, text=True, timeout=PATIENCE_S)

    def test_its_user_owns_every_database_and_not_the_server(self):
        done = self.as_user("CREATE DATABASE a; USE a; CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2);"
                            "SELECT sum(n) FROM t; DROP DATABASE a")
        self.assertEqual((done.returncode, done.stdout), (0, "3\n"), done.stderr)
        self.assertIn("Access denied", self.as_user("SET GLOBAL read_only = 1").stderr)
        self.server.sql("CREATE DATABASE b; SET GLOBAL read_only = 1")
        self.addCleanup(self.server.sql, "SET GLOBAL read_only = 0; DROP DATABASE b")
        self.assertIn("read-only", self.as_user("CREATE TABLE b.t (n int)").stderr)
        self.server.sql("CREATE TABLE b.t (n int)")

    def test_strangers_do_not_get_in(self):
        for account in (["--user=root"], ["--user=nobody"], [f"--user={self.server.user}", "--password=x"]):
            done = self.as_user("SELECT 1", *account)
            self.assertIn("Access denied", done.stderr, account)

    def test_tls_is_offered_and_can_be_checked(self):
        ask = "SHOW STATUS LIKE 'Ssl_cipher'"
        checked = self.as_user(ask, f"--ssl-ca={self.server.ca}", "--ssl-verify-server-cert")
        self.assertRegex(checked.stdout, r"^Ssl_cipher\t\S+\n$", checked.stderr)
        self.assertEqual(self.as_user(ask, "--skip-ssl").stdout, "Ssl_cipher\t\n")
        with tempfile.TemporaryDirectory() as folder:
            servers.do("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem",
                       "-out", "ca.pem", "-subj", "/CN=somebody else", cwd=folder)
            other = self.as_user(ask, f"--ssl-ca={folder}/ca.pem", "--ssl-verify-server-cert")
        self.assertNotEqual(other.returncode, 0)

    def test_texts_come_back_as_they_are(self):
        text = "tab\t line\n back\\slash 😀 'quote'"
        self.server.sql("CREATE DATABASE c; CREATE TABLE c.t (a text CHARACTER SET utf8mb4, b int)")
        self.addCleanup(self.server.sql, "DROP DATABASE c")
        self.server.sql("INSERT INTO t VALUES (0x%s, 7)" % text.encode().hex(), "c")
        self.assertEqual(self.server.sql("SELECT a, b FROM t", "c"), [[text, "7"]])
        with self.assertRaisesRegex(RuntimeError, "no_such_table"):
            self.server.sql("SELECT 1 FROM no_such_table", "c")

    def test_what_was_committed_survives_kill_9(self):
        before = self.server.pid
        self.server.sql("CREATE DATABASE d; CREATE TABLE d.t (n int); INSERT INTO d.t VALUES (42)")
        self.addCleanup(self.server.sql, "DROP DATABASE d")
        self.server.kill9()
        self.assertFalse(self.server.answers())
        self.server.restart()
        self.assertNotEqual(self.server.pid, before)
        self.assertEqual(self.server.sql("SELECT n FROM d.t"), [["42"]])
        self.assertEqual(self.as_user("SELECT n FROM d.t").stdout, "42\n")

    def test_stopped_it_accepts_and_says_nothing_until_it_goes_on(self):
        self.server.stop()
        try:
            self.assertTrue(until(lambda: self.state() == "T"))
            self.assertFalse(self.server.answers())
        finally:
            self.server.cont()
        self.assertTrue(until(self.server.answers))
        self.assertTrue(self.server.running())

    def state(self):
        stat = pathlib.Path(f"/proc/{self.server.pid}/stat").read_text("ascii")
        return stat.rpartition(") ")[2][0]

    def test_the_administrator_gets_in_when_it_is_full(self):
        sleeping = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'SELECT sleep%'"
        waiting = []
        try:
            for count in range(1, 11):  # one by one: who asks takes a place himself for a moment
                waiting.append(subprocess.Popen([*self.client(), "-e", "SELECT sleep(600)"],
                                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
                self.assertTrue(until(lambda: self.server.sql(sleeping) == [[str(count)]]))
            self.assertIn("Too many connections", self.as_user("SELECT 1").stderr)
            self.assertEqual(self.server.sql("SELECT 1"), [["1"]])
        finally:
            for client in waiting:
                client.kill()
                client.wait()
        self.server.restart()

    def client(self):
        return ["mariadb", "--no-defaults", f"--host={self.server.host}", f"--port={self.server.port}",
                f"--user={self.server.user}", f"--password={self.server.password}"]


class Redis(unittest.TestCase):
    def setUp(self):
        self.server = servers.Redis()
        self.addCleanup(self.server.close)

    def test_kinds_of_answers(self):
        with self.server.resp(database=3) as redis:
            self.assertEqual(redis.many([("SET", "k", "a\r\nb"), ("GET", "k"), ("GET", "none"),
                                         ("HSET", "h", "f", 1), ("HGETALL", "h"), ("INCRBY", "n", 5)]),
                             [b"OK", b"a\r\nb", None, 1, [b"f", b"1"], 5])
            with self.assertRaisesRegex(RuntimeError, "WRONGTYPE"):
                redis.do("INCRBY", "h", 1)
            self.assertEqual(redis.do("GET", "n"), b"5")  # the connection is usable after an error
        with self.server.resp() as redis:
            self.assertIsNone(redis.do("GET", "n"))

    def test_restarts_empty_or_with_an_old_snapshot(self):
        with self.server.resp(2) as redis:
            redis.do("SET", "n", 1)
            old = self.server.snapshot()
            redis.do("SET", "n", 2)
        for prepare, expected in ((lambda: self.server.restore(old), b"1"), (self.server.restart, None),
                                  (lambda: self.server.restore(old), b"1"), (self.server.flushall, None)):
            prepare()
            with self.server.resp(2) as redis:
                self.assertEqual(redis.do("GET", "n"), expected)

    def test_a_password_is_asked_for(self):
        with servers.Redis(["--requirepass", "secret"]) as guarded:
            with guarded.resp(password="secret") as redis:
                self.assertEqual(redis.do("PING"), b"PONG")
            with guarded.resp() as redis, self.assertRaisesRegex(RuntimeError, "NOAUTH"):
                redis.do("GET", "k")


class Command(unittest.TestCase):
    """The program, with a directory for temporary files in which nothing may stay."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="rt-", dir=servers.place())
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def begin(self, *command):
        process = subprocess.Popen(
            [sys.executable, SCRIPT, "--", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=os.environ | {"TMPDIR": self.folder})
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def nothing_stays(self):
        clear = until(lambda: not os.listdir(self.folder) and not list(servers.working_in(self.folder)))
        self.assertTrue(clear, os.listdir(self.folder))

    def serving(self, process):
        """The addresses that the command was told, when it runs."""
        told = json.loads(process.stdout.readline())
        self.assertEqual(len(list(servers.working_in(self.folder))), 2)
        return told

    def test_the_exit_code_is_the_commands(self):
        for words, code in ((["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137)):
            process = self.begin(*words)
            process.communicate(timeout=PATIENCE_S)
            self.assertEqual(process.returncode, code)
            self.nothing_stays()

    def test_a_command_that_does_not_exist(self):
        process = self.begin("no-such-command")
        error = process.communicate(timeout=PATIENCE_S)[1]
        self.assertEqual(process.returncode, 127)
        self.assertIn("no-such-command", error)
        self.nothing_stays()

    def test_the_command_reaches_both(self):
        told = self.serving(self.begin(sys.executable, "-c", TELL))
        host, port, user, password = told["RINGTALK_TEST_MYSQL"].split(":")
        done = subprocess.run(["mariadb", "--no-defaults", "-h", host, "-P", port, "-u", user,
                               f"-p{password}", f"--ssl-ca={told['RINGTALK_TEST_MYSQL_CA']}",
                               "--ssl-verify-server-cert", "-Ne", "SELECT 6 * 7"],
                              capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(done.stdout, "42\n", done.stderr)
        host, port = told["RINGTALK_TEST_REDIS"].split(":")
        with servers.Resp((host, int(port))) as redis:
            self.assertEqual(redis.do("PING"), b"PONG")

    def test_nothing_stays_whatever_ends_it(self):
        for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
            process = self.begin(sys.executable, "-c", TELL)
            self.serving(process)
            process.send_signal(number)
            self.assertEqual(process.wait(PATIENCE_S), code)
            self.nothing_stays()
            self.assertEqual(process.stdout.read(), "")  # the command is gone, too: else this waits

    def test_killed_at_any_moment_of_the_start(self):
        for turn in range(6):
            process = self.begin(sys.executable, "-c", TELL)
            wanted = turn // 2 + 1  # directories
            self.assertTrue(until(lambda: len(os.listdir(self.folder)) >= wanted))
            process.send_signal(signal.SIGTERM if turn % 2 else signal.SIGKILL)
            process.wait(PATIENCE_S)
            self.nothing_stays()

    def test_ctrl_c_is_the_commands_to_decide(self):
        process = subprocess.Popen(
            [sys.executable, SCRIPT, "--", sys.executable, "-c",
             "import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: sys.exit(5));"
             "print('ready', flush=True); time.sleep(600)"],
            stdout=subprocess.PIPE, text=True, start_new_session=True,
            env=os.environ | {"TMPDIR": self.folder})
        self.assertEqual(process.stdout.readline(), "ready\n")
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
        self.assertEqual(process.returncode, 5)
        self.nothing_stays()


if __name__ == "__main__":
    unittest.main()
