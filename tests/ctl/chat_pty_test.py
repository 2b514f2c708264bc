"""Two people on two terminals, a real ringtalkd between them.

Usage: chat_pty_test.py --build-dir DIR
"""

import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "acceptance")]
sys.dont_write_bytecode = True

from server import Server, find_ringtalkd  # noqa: E402
from terminal import TIMEOUT_S, Terminal  # noqa: E402


class People:
    """The server's address in the words of ringtalkctl."""

    def __init__(self, ctl, server):
        self.ctl, self.server = ctl, server
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("RINGTALK_")}

    def base(self):
        return [self.ctl, "--http", f"127.0.0.1:{self.server.http_port}", "--data-dir", self.server.data_dir]

    def run(self, *args, code=0, stdin=""):
        done = subprocess.run([*self.base(), *args], input=stdin, capture_output=True, text=True,
                              timeout=TIMEOUT_S, env=self.env, check=False)
        assert done.returncode == code, f"{args}: exit {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def chat(self, name, *args, password=None):
        host, port = self.server.address
        return Terminal([*self.base(), "chat", name, "--server", f"{host}:{port}", "--password",
                         password or f"{name}'s password", *args], env=self.env)


def accounts(people):
    out = people.run("user", "add", "alice", "--password", "alice's password", "--nick", "Alice A")
    assert out.startswith("alice has id "), out
    sales = json.loads(people.run("department", "add", "Sales", "--json"))["id"]
    people.run("user", "add", "bob", "--password", "-", "--department", str(sales), stdin="bob's password\n")
    lost = people.run("user", "add", "nobody", "--password", "x", "--department", "77", code=1)
    assert "department: no such department" in lost, lost
    carol = json.loads(people.run("--json", "user", "add", "carol", "--password", "x"))
    assert carol["name"] == "carol" and carol["id"] > 0, carol
    assert "not added" in people.run("user", "add", "bob", "--password", "y", code=1)
    table = people.run("user", "list").splitlines()
    assert table[0].split() == ["ID", "NAME", "NICK", "DEPARTMENT", "STATUS"], table
    assert any("alice" in line and "Alice A" in line for line in table), table
    listed = json.loads(people.run("user", "list", "--json"))["users"]
    people.ids = {user["name"]: user["id"] for user in listed}
    assert {"alice", "bob", "carol"} <= {user["name"] for user in listed}, listed
    assert [user["department"] for user in listed if user["name"] == "bob"] == [sales], listed
    print("ok    accounts", flush=True)


def login_refused(people):
    with people.chat("alice", password="wrong") as terminal:
        assert terminal.exit_code() == 1
        line = terminal.expect("login refused")
        assert "wrong name or password" in line and line.isascii(), line
    print("ok    login refused", flush=True)


def token(people):
    """What `token` prints is a way in, and a kick by an operator is told."""
    text = people.run("token", "bob").strip()
    with people.chat("bob", password=f"token:{text}") as bob:
        bob.expect("logged in as bob")
        assert people.run("session", "kick", "bob").startswith("1 session of bob closed"), "kick"
        assert bob.exit_code() == 1
        assert "operator" in bob.expect("logged out: ")
    with people.chat("bob", password=f"token:{text}x") as bob:
        assert bob.exit_code() == 1
        bob.expect("login refused")
    print("ok    token", flush=True)


def conversation(people):
    with people.chat("alice", "--to", "bob") as alice, people.chat("bob") as bob:
        alice.expect_input("→ bob> ")
        bob.expect("logged in as bob")
        bob.enter("/to alice")
        bob.expect_input("→ alice> ")

        alice.type("hello b")
        alice.type("ob\r")
        alice.expect("✓ 1")
        assert bob.expect("alice: hello bob")
        bob.type("an answer that is being wr")
        bob.expect_input("→ alice> an answer that is being wr")
        alice.enter("second: 你好 🙂")
        bob.expect("alice: second: 你好 🙂")
        bob.expect_input("→ alice> an answer that is being wr")
        bob.enter("itten")
        alice.expect("bob: an answer that is being written")
        bob.expect("✓ 3")

        alice.enter("/history")
        alice.expect("3 messages with bob")
        assert alice.expect("    1 ").endswith("me → bob: hello bob")
        alice.wait(lambda: any(line.startswith("    3 ") for line in alice.screen.lines), "line 3")

        # A second device of the other class is no intruder and sees both sides.
        with people.chat("alice", "--mobile") as phone:
            phone.expect("logged in as alice")
            alice.enter("from the desk")
            phone.expect("me → bob: from the desk")
            bob.expect("alice: from the desk")
            phone.type("\x04")
            assert phone.exit_code() == 0

        # One of the same class is.
        with people.chat("alice", "--to", "bob") as second:
            second.expect_input("→ bob> ")
            assert alice.exit_code() == 1
            alice.expect("another device")
            assert alice.settings_restored()
            second.enter("from the new place")
            bob.expect("alice: from the new place")
            second.enter("/quit")
            assert second.exit_code() == 0
        bob.type("\x04")
        assert bob.exit_code() == 0
        assert bob.settings_restored()
    print("ok    conversation", flush=True)


def count(terminal, text):
    return sum(text in line for line in terminal.screen.lines[:-1])


def unread(people):
    """What was sent to somebody who is away is announced at login, shown on entering, and read then."""
    with people.chat("alice", "--to", "bob") as alice:
        alice.expect_input("→ bob> ")
        alice.expect("bob is offline")
        for i in range(25):
            alice.enter(f"while you were away {i}")
        alice.wait(lambda: count(alice, "✓ ") == 25, "25 acknowledgements", 60)
        with people.chat("bob", "--mobile") as phone, people.chat("bob") as bob:
            assert bob.expect("25 unread")
            bob.expect("   25 from alice: while you were away 24")
            alice.expect("bob is online")
            phone.expect("25 unread")
            bob.enter("/to alice")
            bob.expect("--- 10 messages with alice, oldest first")
            bob.wait(lambda: count(bob, "alice: while you were away 24") == 2, "the newest: announced and shown")
            bob.never("alice: while you were away 14")
            bob.expect("alice is online")
            phone.expect("you have read up to 30 with alice on another device")  # 0x0304
            bob.enter("/unread")
            bob.expect("nothing is unread")
            bob.enter("/more 10")
            bob.wait(lambda: count(bob, "alice: while you were away 14") == 1, "an older page")
            bob.enter("/more 100")
            bob.expect("hello bob")
            bob.enter("/more")
            bob.expect("that was the first message with alice")
            bob.enter("/who")
            assert "alice" in bob.expect(" online: ")

            # Shown while it comes in: read at once.
            alice.enter("and now?")
            bob.expect("alice: and now?")
            bob.enter("/unread")
            bob.wait(lambda: count(bob, "nothing is unread") == 2, "still nothing unread")
            bob.resize(30)
            bob.type("a line that is longer than this terminal")
            bob.wait(lambda: len(bob.screen.lines[-1]) <= 30 and "this terminal" in bob.screen.lines[-1],
                     "the end of the line")
            bob.resize(120)
            bob.expect_input("→ alice> a line that is longer than this terminal")
            bob.type("\x03")
            assert bob.exit_code() == 0 and bob.settings_restored()
            phone.type("\x04")
            assert phone.exit_code() == 0
        alice.expect("bob is offline")
        alice.enter("/quit")
        assert alice.exit_code() == 0
    print("ok    unread", flush=True)


def restart(people):
    with people.chat("alice", "--to", "bob") as alice, people.chat("bob", "--to", "alice") as bob:
        alice.expect_input("→ bob> ")
        bob.expect_input("→ alice> ")
        alice.enter("before")
        bob.expect("alice: before")
        address = people.server.address
        people.server.kill9()
        alice.expect("connecting again")
        bob.expect("connecting again")
        alice.enter("typed while it was away")
        # The same ports again: clients know no others.
        people.server.launch_on(address)
        alice.expect("connected again", 60)
        bob.expect("connected again", 60)
        alice.enter("after")
        bob.expect("alice: after")
        # In time, the one of between is stored once and shown once; else both sides know that it was not.
        alice.wait(lambda: count(alice, "not delivered") == 1 or count(alice, "✓ ") == 3, "its fate")
        delivered = count(alice, "not delivered") == 0
        bob.wait(lambda: count(bob, "alice: typed while it was away") == int(delivered), "as often as that")
        for word in ("before", "after"):
            assert count(bob, f"alice: {word}") == 1, f"{word} twice"
    print("ok    restart", flush=True)


class PinnedServer(Server):
    """A server that can come back on the port it had."""

    def launch_on(self, address):
        self.env["RINGTALK_LISTEN"] = f"{address[0]}:{address[1]}"
        self.start()

    def launch(self):
        if "RINGTALK_LISTEN" not in self.env:
            return super().launch()
        if os.path.exists(self.ports_path):
            os.unlink(self.ports_path)
        command = [self.ringtalkd, "--data-dir", self.data_dir, "--http", f"127.0.0.1:{self.http_port}",
                   "--ports-file", self.ports_path, "--shards", str(self.shards)]
        env = {k: v for k, v in os.environ.items() if not k.startswith("RINGTALK_")} | self.env
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        return None


def stored(people):
    """Last: the log of all that was said, looked at while no server runs, sound and damaged."""
    server, folder = people.server, people.server.data_dir
    assert "a server is running" in people.run("store", "verify", folder, code=1)
    address = server.address
    server.term()
    out = people.run("store", "verify", folder)
    assert out.endswith("sound\n"), out
    report = json.loads(people.run("store", "verify", folder, "--json"))
    assert report["clean"] and report["messages"] >= 63, report
    pair = f"{people.ids['alice']}:{people.ids['bob']}"
    lines = [line for line in people.run("store", "dump", folder, "--conversation", pair).splitlines()
             if " message " in line]
    assert len(lines) == report["messages"] - 31, f"{len(lines)} lines, {report}"
    few = people.run("store", "dump", folder, "--limit", "3").splitlines()
    assert len(few) == 4 and few[3].startswith("and "), few
    rows = [json.loads(line) for line in
            people.run("store", "dump", folder, "--conversation", pair, "--json").splitlines()]
    assert {row["kind"] for row in rows} >= {"message", "cursor"}, rows[:3]
    messages = [row for row in rows if row["kind"] == "message"]
    assert len(messages) == len(lines) and all(len(row["body"]) == row["bytes"] for row in messages), messages[:3]
    assert set(messages[0]) == {"kind", "segment", "offset", "batch", "conversation", "msg_id", "author", "time",
                                "type", "bytes", "body"}, messages[0]
    assert len(people.run("store", "dump", folder, "--json", "--limit", "3").splitlines()) == 3
    people.run("store", "dump", folder, "--conversation", "1:1", code=2)
    people.run("store", "verify", folder + "/nothing", code=1)
    assert "no message log" in people.run("store", "verify", os.path.join(folder, "log"), code=1)

    segment = max((os.path.join(folder, "log", name) for name in os.listdir(os.path.join(folder, "log"))
                   if os.path.getsize(os.path.join(folder, "log", name)) > 8192), key=os.path.getmtime)
    with open(segment, "r+b") as log:  # the first record's checksummed bytes
        log.seek(4096 + 24)
        byte = log.read(1)
        log.seek(4096 + 24)
        log.write(bytes([byte[0] ^ 1]))
        log.flush()
        out = people.run("store", "verify", folder, code=1)
        assert out.endswith(("1 problem\n", " problems\n")), out
        report = json.loads(people.run("store", "verify", folder, "--json", code=1))
        assert not report["clean"] and report["problems"], report
        places = [json.loads(line) for line in people.run("store", "dump", folder, "--json").splitlines()]
        assert any(place["kind"] in ("damaged", "torn") and place["bytes"] > 0 for place in places), places[:3]
        log.seek(4096 + 24)
        log.write(byte)
    people.run("store", "verify", folder)
    server.launch_on(address)
    print("ok    stored", flush=True)


def pipes(people):
    host, port = people.server.address
    text = "".join(f"line {i // 2}\n" for i in range(30))  # the same words twice are two messages
    out = people.run("chat", "carol", "--password", "x", "--to", "bob", "--server", f"{host}:{port}", stdin=text)
    ids = [int(line[2:]) for line in out.splitlines() if line.startswith("✓ ")]
    assert ids == list(range(1, 31)), out
    assert "not delivered" not in out and "\x1b" not in out, out

    def carol(*args, text="hi\n", code=1):
        return people.run("chat", "carol", "--password", "x", "--server", f"{host}:{port}", *args, stdin=text, code=code)
    carol("--to", "bob", text="", code=0)
    assert "no user nobody" in carol("--to", "nobody", text="")
    assert "no user nobody" in carol("--to", "nobody")
    assert "not delivered: hi" in carol("--to", "#99999")  # the server acknowledges no such message
    out = carol("--to", "#99999", text="lost\n/to bob\narrives\n")
    assert "not delivered: lost" in out and "✓ 31" in out, out
    assert "not sent" in carol("--to", "bob", text="x" * 3069)
    assert "was skipped" in carol("--to", "bob", text="x" * 100_000)
    assert "to whom" in carol()
    print("ok    pipes", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build-dir", required=True)
    build_dir = parser.parse_args().build_dir
    with PinnedServer(find_ringtalkd(build_dir), shards=2, label="ctl") as server:
        people = People(os.path.join(os.path.abspath(build_dir), "ringtalkctl"), server)
        accounts(people)
        login_refused(people)
        token(people)
        conversation(people)
        unread(people)
        pipes(people)
        restart(people)
        stored(people)
    return 0


if __name__ == "__main__":
    sys.exit(main())
