#!/usr/bin/env python3
"""fault_proxy.py in front of an echo, of a fake that speaks MySQL's packets, and of a real server."""

import pathlib
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.dont_write_bytecode = True

import fault_proxy
import servers
from fault_proxy import FaultProxy

PATIENCE_S = 30
QUIET_S = 0.2  # how long nothing must come where nothing may come


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class Fake:
    """A server whose connections are handled by a function, each on a thread."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address, self.serve, self.closed = self.listener.getsockname(), serve, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.handle, args=(stream,), daemon=True).start()

    def handle(self, stream):
        with stream:
            try:
                self.serve(stream)
            except (OSError, EOFError):
                pass
        self.closed += 1

    def close(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()


def echo(stream):
    while data := stream.recv(65536):
        stream.sendall(data)


def exactly(stream, size):
    data = b""
    while len(data) < size:
        got = stream.recv(size - len(data))
        if not got:
            raise EOFError
        data += got
    return data


class Case(unittest.TestCase):
    serve = staticmethod(echo)

    def setUp(self):
        self.fake = Fake(self.serve)
        self.addCleanup(self.fake.close)
        self.proxy = FaultProxy(self.fake.address)
        self.addCleanup(self.proxy.close)

    def connect(self):
        stream = socket.create_connection(self.proxy.address, PATIENCE_S)
        self.addCleanup(stream.close)
        return stream

    def quiet(self, stream):
        stream.settimeout(QUIET_S)
        with self.assertRaises(TimeoutError):
            stream.recv(1)
        stream.settimeout(PATIENCE_S)

    def talk(self, stream, text=b"hello"):
        stream.sendall(text)
        self.assertEqual(exactly(stream, len(text)), text)


class Tcp(Case):
    def test_everything_passes_and_halves_close(self):
        stream = self.connect()
        text = bytes(range(256)) * 40_000  # more than all buffers on the way
        sender = threading.Thread(target=lambda: (stream.sendall(text), stream.shutdown(socket.SHUT_WR)))
        sender.start()
        self.assertEqual(exactly(stream, len(text)), text)
        self.assertEqual(stream.recv(1), b"")
        sender.join()
        self.assertTrue(until(lambda: self.fake.closed == 1 and not self.proxy.links))

    def test_refused_until_healed(self):
        stream = self.connect()
        self.talk(stream)
        self.proxy.refuse()
        with self.assertRaises(ConnectionRefusedError):
            self.connect()
        self.talk(stream)
        self.proxy.heal()
        self.talk(self.connect())

    def test_nobody_behind_it(self):
        self.fake.close()
        stream = self.connect()
        self.assertIn(self.ending(stream), ("closed", "reset"))

    def ending(self, stream):
        try:
            return "closed" if stream.recv(1) == b"" else "data"
        except ConnectionResetError:
            return "reset"

    def test_silence_takes_all_and_gives_it_back(self):
        old = self.connect()
        self.talk(old)
        self.proxy.silence()
        old.sendall(b"late")
        new = self.connect()
        new.sendall(b"new")
        self.quiet(old)
        self.quiet(new)
        self.proxy.heal()
        self.assertEqual(exactly(old, 4), b"late")
        self.assertEqual(exactly(new, 3), b"new")

    def test_reset_and_orderly_end(self):
        streams = [self.connect() for _ in range(5)]
        for stream in streams:
            self.talk(stream)
        self.assertEqual(self.proxy.cut(), 5)
        self.assertEqual({self.ending(stream) for stream in streams}, {"reset"})
        self.assertTrue(until(lambda: self.fake.closed == 5))
        stream = self.connect()
        self.talk(stream)
        self.assertEqual(self.proxy.cut(reset=False), 1)
        self.assertEqual(self.ending(stream), "closed")
        self.talk(self.connect())

    def test_half_open(self):
        stream = self.connect()
        self.talk(stream)
        self.assertEqual(self.proxy.half_open(), 1)
        self.assertTrue(until(lambda: self.fake.closed == 1))
        stream.sendall(b"anybody?")
        self.quiet(stream)
        self.proxy.heal()
        self.quiet(stream)
        self.talk(self.connect())
        stream.close()
        self.assertTrue(until(lambda: len(self.proxy.links) == 1))

    def test_cut_at_a_byte(self):
        for direction in (fault_proxy.UP, fault_proxy.DOWN):
            self.proxy.cut_after(7, direction)
            stream, got = self.connect(), b""
            try:
                stream.sendall(b"0123456789")
                while more := stream.recv(10):
                    got += more
            except ConnectionResetError:
                pass
            # A reset may overtake what was sent before it.
            self.assertTrue(b"0123456".startswith(got), got)
            self.talk(self.connect())  # once

    def test_the_server_gets_exactly_the_bytes_before_the_cut(self):
        got = []

        def keep(stream):
            while data := stream.recv(100):
                got.append(data)
        fake = Fake(keep)
        self.addCleanup(fake.close)
        with FaultProxy(fake.address) as proxy:
            proxy.segments(1)
            with socket.create_connection(proxy.address, PATIENCE_S) as stream:
                stream.sendall(b"abc")
                self.assertTrue(until(lambda: b"".join(got) == b"abc"))
                proxy.cut_after(4, fault_proxy.UP)
                stream.sendall(b"0123456789")
                self.assertTrue(until(lambda: fake.closed == 1))
        self.assertTrue(b"abc0123".startswith(b"".join(got)), got)

    def test_late_slow_and_in_pieces(self):
        stream = self.connect()
        for slow, at_least in ((lambda: self.proxy.delay(0.1, 0.05), 0.2),
                               (lambda: self.proxy.throttle(10_000), 0.1)):
            self.proxy.heal()
            slow()
            began = time.monotonic()
            self.talk(stream, b"x" * 2000)
            self.assertGreaterEqual(time.monotonic() - began, at_least)
        self.proxy.heal()
        self.proxy.segments(1)
        self.talk(stream, bytes(range(256)) * 8)

    def test_calls_from_many_threads(self):
        def churn():
            for _ in range(30):
                stream = socket.create_connection(self.proxy.address, PATIENCE_S)
                stream.settimeout(QUIET_S)  # half-open, nothing ever comes
                try:
                    stream.sendall(b"x")
                    stream.recv(1)
                except OSError:
                    pass
                stream.close()
        threads = [threading.Thread(target=churn) for _ in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.proxy.cut()
            self.proxy.half_open()
            self.proxy.cut(reset=False)
        for thread in threads:
            thread.join()
        self.talk(self.connect())
        self.assertTrue(until(lambda: len(self.proxy.links) == 1))


def packet(sequence, payload):
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


def read_packet(stream):
    head = exactly(stream, 4)
    return head[3], exactly(stream, int.from_bytes(head[:3], "little"))


GREETING = packet(0, b"\x0ahello")
LOGIN = packet(1, b"\x00\x00\x00\x00COMMIT")
OK = packet(1, b"\x00\x00\x00\x02\x00\x00\x00")


class MySql(Case):
    def setUp(self):
        self.heard = []
        super().setUp()

    def serve(self, stream):
        stream.sendall(GREETING)
        read_packet(stream)
        stream.sendall(packet(2, OK[4:]))
        while True:
            self.heard.append(read_packet(stream)[1])
            stream.sendall(OK)

    def session(self):
        stream = self.connect()
        self.assertEqual(exactly(stream, len(GREETING)), GREETING)
        stream.sendall(LOGIN)
        exactly(stream, len(OK))
        return stream

    def query(self, stream, text):
        stream.sendall(packet(0, b"\x03" + text))
        self.assertEqual(exactly(stream, len(OK)), OK)

    def lost(self, stream, text):
        with self.assertRaises((EOFError, ConnectionResetError)):
            self.query(stream, text)

    def test_the_commit_is_in_and_its_answer_lost(self):
        self.proxy.at_statement("COMMIT")
        stream = self.session()
        self.query(stream, b"BEGIN")
        self.lost(stream, b"commit;")
        self.assertEqual(self.heard, [b"\x03BEGIN", b"\x03commit;"])
        self.query(self.session(), b"COMMIT")  # once
        self.assertEqual((self.proxy.struck, self.proxy.counts), (1, {"BEGIN": 1, "COMMIT": 2}))

    def test_the_commit_does_not_arrive(self):
        self.proxy.at_statement("COMMIT", how="before", nth=2)
        stream = self.session()
        self.query(stream, b"COMMIT")
        self.query(stream, b"BEGIN")
        self.lost(stream, b"COMMIT")
        self.assertTrue(until(lambda: self.fake.closed == 1))
        self.assertEqual(self.heard, [b"\x03COMMIT", b"\x03BEGIN"])

    def test_the_answer_does_not_come_and_the_link_stays(self):
        self.proxy.at_statement("COMMIT", how="mute")
        stream = self.session()
        stream.sendall(packet(0, b"\x03COMMIT"))
        self.quiet(stream)
        self.assertEqual(self.heard, [b"\x03COMMIT"])
        stream.close()
        self.assertTrue(until(lambda: self.fake.closed == 1 and not self.proxy.links))

    def test_every_third(self):
        self.proxy.at_statement("COMMIT", nth=3, every=True)
        stream, lost = self.session(), []
        for turn in range(1, 10):
            if turn % 3:
                self.query(stream, b"COMMIT")
            else:
                self.lost(stream, b"COMMIT")
                lost.append(turn)
                stream = self.session()
        self.assertEqual((self.proxy.struck, len(self.heard)), (3, 9))

    def test_packets_may_come_in_any_pieces(self):
        big = b"\x17" + b"COMMIT" * 50_000  # a COM_STMT_EXECUTE, whatever it holds
        for pieces in (0, 1, 3):
            self.proxy.heal()
            self.heard.clear()
            self.proxy.at_statement("COMMIT", how="before")
            if pieces == 0:
                stream = self.session()
                stream.sendall(packet(0, big) + packet(0, b"\x03BEGIN") + packet(0, b"\x03COMMIT"))
            else:
                self.proxy.segments(1000)
                stream = self.session()
                for part in (packet(0, big), packet(0, b"\x03BEGIN"), packet(0, b"\x03COMMIT")):
                    for at in range(0, len(part), 3 if len(part) < 100 else 5000):
                        stream.sendall(part[at:at + (3 if len(part) < 100 else 5000)])
            with self.assertRaises((EOFError, ConnectionResetError)):
                while True:
                    exactly(stream, len(OK))
            self.assertTrue(until(lambda: not self.proxy.links))
            self.assertNotIn(b"\x03COMMIT", self.heard)
        self.assertEqual(self.proxy.struck, 3)

    def test_a_switch_to_tls_ends_the_recognition(self):
        parser = fault_proxy.Statements()
        parser.feed(packet(1, (0x0800).to_bytes(4, "little") + bytes(28)))
        self.assertEqual(parser.feed(packet(0, b"\x03COMMIT")), [])


class RealServer(unittest.TestCase):
    def test_what_the_client_does_not_know_is_in_the_database(self):
        with servers.MariaDb() as server, FaultProxy((server.host, server.port)) as proxy:
            server.sql("CREATE DATABASE a; CREATE TABLE a.t (n int primary key)")
            for number, (how, stored) in enumerate((("after", True), ("before", False))):
                proxy.at_statement("COMMIT", how)
                done = subprocess.run(
                    ["mariadb", "--no-defaults", "--host=127.0.0.1", f"--port={proxy.port}",
                     f"--user={server.user}", f"--password={server.password}", "--skip-ssl",
                     "--skip-reconnect", "-e", f"BEGIN; INSERT INTO a.t VALUES ({number}); COMMIT"],
                    capture_output=True, text=True, timeout=PATIENCE_S)
                self.assertIn("Lost connection", done.stderr)
                self.assertTrue(until(lambda: self.settled(server)))
                found = server.sql(f"SELECT count(*) FROM a.t WHERE n = {number}")
                self.assertEqual(found, [["1" if stored else "0"]], how)

    @staticmethod
    def settled(server):
        return server.sql("SELECT count(*) FROM information_schema.innodb_trx") == [["0"]]


class Command(unittest.TestCase):
    def test_a_script(self):
        fake = Fake(echo)
        self.addCleanup(fake.close)
        script = pathlib.Path(fault_proxy.__file__)
        process = subprocess.Popen([sys.executable, script, "%s:%d" % fake.address], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        host, _, port = process.stdout.readline().strip().rpartition(":")
        with socket.create_connection((host, int(port)), PATIENCE_S) as stream:
            stream.sendall(b"x")
            self.assertEqual(stream.recv(1), b"x")
            process.stdin.write("delay 10 5 | wait 0.01 | segments 1 | heal\ncut\n")
            process.stdin.flush()
            with self.assertRaises(ConnectionResetError):
                stream.recv(1)
        process.stdin.write("explode\n")
        error = process.communicate(timeout=PATIENCE_S)[1]
        self.assertEqual(process.returncode, 2)
        self.assertIn("explode: not one of", error)


if __name__ == "__main__":
    unittest.main()
