"""`ringtalkctl chat` against a scripted server: the cases a healthy server does not produce.

Usage: chat_terminal_test.py --ringtalkctl PATH [CASE...]
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "acceptance")]
sys.dont_write_bytecode = True

import wire  # noqa: E402
from terminal import TIMEOUT_S, Terminal  # noqa: E402

ALICE, BOB = 1, 2
HELLO = b"nnZSBwfPCz60q69ddmfIJA=="  # "hello", sealed
CASES = []
ALL_USERS_REQ, ALL_USERS_RES, STATUSES_REQ = 0x0208, 0x0209, 0x020A
QUIET = {wire.HEARTBEAT, wire.MSG_ACK, wire.READ_ACK, wire.UNREAD_REQ, ALL_USERS_REQ, STATUSES_REQ}


def case(function):
    CASES.append(function)
    return function


def equal(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock):
        self.sock, self.buffer, self.frames = sock, bytearray(), []
        sock.settimeout(TIMEOUT_S)

    def next(self, command):
        """The next frame, which must be that command; QUIET ones are passed over unless they are it."""
        while True:
            while not self.frames:
                data = self.sock.recv(65536)
                assert data, f"closed while 0x{command:04x} was expected"
                self.buffer += data
                self.frames = wire.split(self.buffer)
            got = self.frames.pop(0)
            if got.command in QUIET and got.command != command:
                continue
            got.fields = wire.decode(got.command, got.body, from_client=True)
            assert got.command == command, f"{got!r} instead of 0x{command:04x}"
            return got

    def send(self, command, seq=0, **fields):
        self.sock.sendall(wire.request(command, seq, **fields))

    def accept_login(self, password=None, token="some-token"):
        got = self.next(wire.LOGIN_REQ)
        equal(got["user_name"], "alice")
        if password:
            equal(got["password"], password)
        self.send(wire.LOGIN_RES, got.seq, server_time=int(time.time()), result_code=0,
                  result_string=wire.TEXT_OK, online_status=1, session_token=token, user_info=dict(
                      user_id=ALICE, user_gender=0, user_nick_name="Alice", avatar_url="",
                      department_id=0, email="", user_real_name="alice", user_tel="", user_domain="",
                      status=0))

    def list(self, *entries):
        """Answers a history request; entries are (id, author, content), newest first."""
        got = self.next(wire.LIST_REQ)
        self.send(wire.LIST_RES, got.seq, user_id=ALICE, session_type=1, session_id=got["session_id"],
                  msg_id_begin=got["msg_id_begin"], msg_list=[
                      dict(msg_id=i, from_session_id=author, create_time=int(time.time()), msg_type=1,
                           msg_data=content) for i, author, content in entries])
        return got

    def acknowledge(self, got, msg_id):
        self.send(wire.MSG_ACK, got.seq, user_id=ALICE, session_id=got["to_session_id"], msg_id=msg_id,
                  session_type=1)

    def push(self, msg_id, content, author=BOB):
        self.send(wire.MSG_DATA, 0, from_user_id=author, to_session_id=ALICE, msg_id=msg_id,
                  create_time=int(time.time()), msg_type=1, msg_data=content)

    def logout(self):
        got = self.next(wire.LOGOUT_REQ)
        self.send(wire.LOGOUT_RES, got.seq, result_code=0)

    def close(self):
        self.sock.close()


class Server:
    def __init__(self):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.settimeout(TIMEOUT_S)
        self.port = self.sock.getsockname()[1]
        self.peers = []

    def accept(self):
        self.peers.append(Peer(self.sock.accept()[0]))
        return self.peers[-1]

    def command(self, *more):
        return [CTL, "--data-dir", "/nonexistent", "chat", "alice", "--password", "secret", "--server",
                f"127.0.0.1:{self.port}", *more]

    def terminal(self, *more, **options):
        return Terminal(self.command(*more), **options)

    def pipe(self, *more):
        return subprocess.Popen(self.command(*more), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for peer in self.peers:
            peer.close()
        self.sock.close()


def finish(process, code, stdin=None):
    out, err = process.communicate(stdin, timeout=TIMEOUT_S)
    assert process.returncode == code, f"exit {process.returncode}, wanted {code}: {out!r} {err!r}"
    return out.decode(), err.decode()


@case
def pipes_have_no_prompt_and_wait_for_the_acknowledgements():
    with Server() as server:
        process = server.pipe("--to", "#2")
        process.stdin.write(b"hello\n\nsecond line")  # the last has no end
        process.stdin.close()
        process.stdin = None
        peer = server.accept()
        peer.accept_login("5ebe2294ecd0e0f08eab7690d2a6ee69")  # md5 of "secret"
        peer.list()
        first, second = peer.next(wire.MSG_DATA), peer.next(wire.MSG_DATA)
        equal(first["msg_data"], HELLO)
        equal(first["to_session_id"], BOB)
        assert first.seq not in (0, second.seq)
        peer.acknowledge(first, 41)
        time.sleep(0.2)
        peer.acknowledge(second, 42)
        peer.logout()
        out, err = finish(process, 0)
        assert "✓ 41\n✓ 42\n" in out, out
        assert "\x1b" not in out and "\r" not in out and "> " not in out, out
        equal(err, "")


@case
def output_is_flushed_line_by_line():
    with Server() as server:
        process = server.pipe("--to", "#2")
        peer = server.accept()
        peer.accept_login()
        peer.list()
        peer.push(1, HELLO)
        os.set_blocking(process.stdout.fileno(), True)
        while True:
            line = process.stdout.readline().decode()
            assert line, "ended"
            if "#2: hello" in line:
                break
        process.stdin.close()
        process.stdin = None
        peer.logout()
        finish(process, 0)


@case
def a_refused_login_exits_1():
    for code, words in ((6, "wrong name or password"), (2, "no room"), (3, "storage"), (7, "no\\x1b[2Jway")):
        with Server() as server:
            process = server.pipe()
            peer = server.accept()
            got = peer.next(wire.LOGIN_REQ)
            peer.send(wire.LOGIN_RES, got.seq, server_time=1, result_code=code, result_string="no\x1b[2Jway")
            peer.close()
            out, err = finish(process, 1)
            assert words in err and f"(code {code})" in err and "\x1b" not in err + out, err


@case
def wrong_command_lines_exit_2():
    for args in ([], ["chat"], ["chat", "a", "--no-such"], ["chat", "a", "--password", "x", "--server", "x"],
                 ["chat", "a", "--password", "x", "--aes-key", "short"], ["chat", "a"], ["user"],
                 ["--http", "x", "user", "list"]):
        process = subprocess.run([CTL, *args], stdin=subprocess.DEVNULL, capture_output=True,
                                 timeout=TIMEOUT_S, check=False)
        assert process.returncode == 2, f"{args}: exit {process.returncode} {process.stderr!r}"


@case
def a_reader_that_leaves_ends_it():
    with Server() as server:
        process = server.pipe("--to", "#2")
        peer = server.accept()
        peer.accept_login()
        peer.list()
        assert b"logged in" in process.stdout.readline()
        process.stdout.close()
        peer.push(1, HELLO)
        equal(process.wait(TIMEOUT_S), 1)
        process.stdin.close()
        process.stderr.close()


@case
def no_server_exits_1():
    with Server() as server:
        command = server.command()
    process = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S,
                             check=False)
    equal(process.returncode, 1)
    assert b"cannot reach" in process.stderr, process.stderr


@case
def what_is_typed_survives_what_arrives():
    with Server() as server, server.terminal("--to", "#2") as alice:
        peer = server.accept()
        peer.accept_login()
        peer.list()
        alice.expect("talking to #2")
        alice.expect_input("→ #2> ")
        alice.type("half a sen")
        alice.expect_input("→ #2> half a sen")
        peer.push(1, HELLO)
        alice.expect("#2: hello")
        alice.expect_input("→ #2> half a sen")
        alice.type("tense\x1b[D")  # and the cursor stays where it was
        alice.expect_input("→ #2> half a sentense")
        peer.push(2, HELLO)
        alice.wait(lambda: sum("#2: hello" in line for line in alice.screen.lines) == 2, "a second hello")
        alice.type("\x7fc\r")
        equal(len(peer.next(wire.MSG_DATA)["msg_data"]), 44)
        alice.expect("→ #2> half a sentence")
        alice.expect_input("→ #2> ")
        alice.enter("/quit")  # one send has no answer yet: it is waited for
        alice.expect("not delivered: half a sentence", 10)
        peer.logout()
        equal(alice.exit_code(), 0)
        assert alice.settings_restored(), "the terminal is left raw"


@case
def hostile_texts_do_nothing_to_the_terminal():
    with Server() as server, server.terminal("--to", "#2") as alice:
        peer = server.accept()
        peer.accept_login()
        peer.list()
        alice.expect_input("→ #2> ")
        peer.push(1, b"\x1b]0;owned\x07\x1b[2J\r\n12:00:00 boss: fake \x9b31m \xe2\x80\xae")
        line = alice.expect("owned")
        assert "\\x1b]0;owned\\x07\\x1b[2J\\r\\n12:00:00 boss: fake \\x9b31m \\u202e" in line, line
        assert b"\x1b]" not in alice.raw and b"\x1b[2J" not in alice.raw and b"\xe2\x80\xae" not in alice.raw
        alice.type("\x04")
        peer.logout()
        equal(alice.exit_code(), 0)


@case
def without_an_acknowledgement_not_delivered_after_six_seconds():
    with Server() as server, server.terminal("--to", "#2") as alice:
        peer = server.accept()
        peer.accept_login()
        peer.list()
        alice.expect_input("→ #2> ")
        since = time.monotonic()
        alice.enter("hello")
        got = peer.next(wire.MSG_DATA)
        alice.expect("not delivered: hello", 10)
        took = time.monotonic() - since
        assert 5.9 < took < 8, took
        peer.acknowledge(got, 7)
        alice.expect("✓ 7 (late")


@case
def a_broken_connection_comes_back_by_token_and_repeats():
    with Server() as server, server.terminal("--to", "#2") as alice:
        peer = server.accept()
        peer.accept_login("5ebe2294ecd0e0f08eab7690d2a6ee69", token="tok 1")
        peer.list((4, BOB, HELLO))
        alice.expect_input("→ #2> ")
        alice.enter("hello")
        before = peer.next(wire.MSG_DATA)
        peer.close()
        alice.expect("connecting again")
        alice.type("typed mean")
        peer = server.accept()
        peer.accept_login("token:tok 1", token="tok 2")
        peer.list((6, BOB, HELLO), (5, ALICE, HELLO), (4, BOB, HELLO))  # 5 is the unanswered one
        after = peer.next(wire.MSG_DATA)
        equal((after.seq, after.body), (before.seq, before.body))
        peer.acknowledge(after, 5)
        alice.expect("✓ 5")
        alice.expect("(missed)")
        equal(sum("(missed)" in line for line in alice.screen.lines), 1)
        alice.expect_input("→ #2> typed mean")
        alice.never("not delivered")


@case
def a_kick_ends_it_for_good():
    with Server() as server, server.terminal("--to", "#2") as alice:
        peer = server.accept()
        peer.accept_login()
        peer.list()
        alice.expect_input("→ #2> ")
        peer.send(wire.KICK_USER, 0, user_id=ALICE, kick_reason=1)
        equal(alice.exit_code(), 1)
        alice.expect("another device")
        assert alice.settings_restored()
        server.sock.settimeout(1)
        try:
            server.accept()
        except TimeoutError:
            return
        raise AssertionError("it came back after a kick")


@case
def history_and_the_other_commands():
    with Server() as server, server.terminal() as alice:
        peer = server.accept()
        peer.accept_login()
        alice.expect("/to NAME chooses")
        alice.enter("hello")
        alice.expect("to whom?")
        alice.enter("/to bob")
        alice.expect("no user bob: names are not known here")
        alice.enter("/to 1")
        alice.expect("that is you")
        alice.enter("/to 2")
        peer.list()
        alice.expect_input("→ #2> ")
        alice.enter("/history 2")
        got = peer.list((2, BOB, HELLO), (1, ALICE, b"not sealed"))
        equal(got["msg_cnt"], 2)
        first = alice.expect("(does not decrypt) not sealed")
        assert first.startswith("    1 ") and "me → #2" in first, first
        alice.expect("#2: hello")
        alice.enter("/history x")
        alice.expect("/history wants a number")
        alice.enter("/nonsense \x01")
        alice.expect("no command /nonsense")
        alice.enter("/help")
        alice.expect("/quit         log out")
        alice.enter("x" * 3069)
        alice.expect("not sent: 3069 bytes of at most 3068")
        alice.enter("//to is a word")
        peer.acknowledge(peer.next(wire.MSG_DATA), 3)
        alice.expect("✓ 3")


@case
def entering_marks_as_read_and_names_come_from_the_user_list():
    with Server() as server, server.terminal("--to", "bob") as alice:
        peer = server.accept()
        peer.accept_login()
        got = peer.next(ALL_USERS_REQ)
        peer.send(ALL_USERS_RES, got.seq, user_id=ALICE, latest_update_time=5, user_list=[dict(
            user_id=BOB, user_gender=0, user_nick_name="Bob", avatar_url="", department_id=0, email="",
            user_real_name="bob", user_tel="", user_domain="", status=0)])
        equal(peer.list((8, BOB, HELLO), (7, BOB, HELLO))["msg_cnt"], 10)
        alice.expect("talking to bob")
        got = peer.next(wire.READ_ACK)
        equal((got["session_id"], got["msg_id"], got["session_type"]), (BOB, 8, wire.SINGLE))
        peer.push(9, HELLO)
        equal(peer.next(wire.READ_ACK)["msg_id"], 9)
        peer.push(1, HELLO, author=3)  # somebody else's conversation stays unread
        peer.push(10, HELLO)
        equal(peer.next(wire.READ_ACK)["msg_id"], 10)
        alice.enter("/more 5")
        equal(peer.list((6, BOB, HELLO))["msg_id_begin"], 6)
        peer.send(wire.READ_NOTIFY, 0, user_id=ALICE, session_id=BOB, msg_id=12, session_type=wire.SINGLE)
        alice.expect("you have read up to 12 with bob on another device")
        alice.type("\x03")
        peer.logout()
        equal(alice.exit_code(), 0)
        assert alice.settings_restored()


@case
def a_dumb_terminal_gets_plain_lines():
    with Server() as server, server.terminal("--to", "#2", term="dumb") as alice:
        peer = server.accept()
        peer.accept_login()
        peer.list((1, BOB, HELLO))
        alice.expect("#2: hello")
        alice.type("hello\n")
        equal(peer.next(wire.MSG_DATA)["msg_data"], HELLO)
        alice.type("/quit\n")
        alice.expect("not delivered", 10)
        peer.logout()
        equal(alice.exit_code(), 0)
        assert b"\x1b" not in alice.raw


@case
def a_signal_restores_the_terminal():
    with Server() as server, server.terminal("--to", "#2") as alice:
        peer = server.accept()
        peer.accept_login()
        peer.list()
        alice.expect_input("→ #2> ")
        assert not alice.settings_restored(), "the terminal should be raw meanwhile"
        alice.process.send_signal(signal.SIGTERM)
        equal(alice.exit_code(), 0)
        assert alice.settings_restored()


@case
def the_password_is_asked_for_without_echo():
    with Server() as server:
        command = [arg for arg in server.command() if arg not in ("--password", "secret")]
        with Terminal(command) as alice:
            alice.wait(lambda: alice.screen.lines[-1].startswith("password of alice:"), "the question")
            alice.type("secret\n")
            peer = server.accept()
            peer.accept_login("5ebe2294ecd0e0f08eab7690d2a6ee69")
            alice.expect("logged in as alice (Alice), id 1")
            alice.never("secret")
        with Terminal(command) as alice:
            alice.wait(lambda: alice.screen.lines[-1].startswith("password of alice:"), "the question")
            alice.type("sec\x03")
            equal(alice.exit_code(), 2)
            assert alice.settings_restored(), "^C left the terminal mute"
        process = subprocess.Popen([*command, "--password", "-", "--to", "2"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(b"secret\nhello\n")  # the first line is the password, the rest is chat
        process.stdin.close()
        process.stdin = None
        peer = server.accept()
        peer.accept_login("5ebe2294ecd0e0f08eab7690d2a6ee69")
        peer.list()
        peer.acknowledge(peer.next(wire.MSG_DATA), 1)
        peer.logout()
        finish(process, 0)


def main():
    global CTL
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ringtalkctl", required=True)
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    CTL = os.path.abspath(arguments.ringtalkctl)
    for name in list(os.environ):
        if name.startswith("RINGTALK_"):
            del os.environ[name]
    failed = 0
    for function in CASES:
        if arguments.cases and function.__name__ not in arguments.cases:
            continue
        try:
            function()
            print(f"ok    {function.__name__}", flush=True)
        except Exception:  # noqa: BLE001: one case does not stop the others
            failed += 1
            print(f"FAIL  {function.__name__}\n{traceback.format_exc()}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
