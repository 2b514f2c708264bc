"""Every verb of `ringtalkctl` that talks HTTP, against the interface as it is promised (fake_api.py) and,
with --build-dir, the same story against the real server.

Usage: verbs_test.py --ringtalkctl PATH [--build-dir DIR]
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "acceptance")]
sys.dont_write_bytecode = True

from fake_api import TOKEN, FakeApi  # noqa: E402
from terminal import Terminal  # noqa: E402


class Ctl:
    def __init__(self, path, address, data_dir):
        self.path, self.address, self.data_dir = path, address, data_dir
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("RINGTALK_")}

    def base(self):
        return [self.path, "--http", self.address, "--data-dir", self.data_dir]

    def __call__(self, *args, code=0, stdin="", env=None):
        done = subprocess.run([*self.base(), *args], input=stdin, capture_output=True, text=True, timeout=60,
                              env=self.env | (env or {}), check=False)
        assert done.returncode == code, f"{args}: exit {done.returncode}, not {code}: {done.stdout}{done.stderr}"
        assert "\x1b" not in done.stdout + done.stderr, "an escape sequence got through"
        self.error = done.stderr
        return done.stdout

    def json(self, *args, **options):
        return json.loads(self(*args, "--json", **options))


def said(ctl, *words):
    for word in words:
        assert word in ctl.error, f"{word!r} is not in {ctl.error!r}"


# ---- the story that both servers tell ----

def accounts(ctl, folder):
    ctl("user", "add", "alice", "--password", "pw", "--nick", "Alice A")
    secret = os.path.join(folder, "secret")
    with open(secret, "w", encoding="utf-8") as out:
        out.write("from a file\nsecond line\n")
    ctl("user", "add", "bob", "--password-file", secret)
    carol = ctl.json("user", "add", "carol", env={"RINGTALK_PASSWORD": "from the environment"})
    assert set(carol) == {"id", "name"}, carol
    ctl("user", "add", "dave", "--password-file", secret + ".none", code=2)
    said(ctl, "cannot read")
    ctl("user", "add", "dave", code=2)
    said(ctl, "--password-file FILE", "RINGTALK_PASSWORD")
    ctl("user", "add", "alice", "--password", "x", code=1)
    said(ctl, "alice not added", "user show")

    shown = ctl.json("user", "show", "alice")
    assert shown["nick"] == "Alice A" and shown["status"] == 0, shown
    assert ctl.json("user", "show", f"#{shown['id']}") == shown
    assert "nick        Alice A" in ctl("user", "show", "alice"), ctl("user", "show", "alice")
    for nobody in ("nobody", "#99999", "#x", "a b&limit=5", "李雷"):
        ctl("user", "show", nobody, code=1)
        said(ctl, "no user", "user list")

    fields = {"nick": "Alice B", "phone": "5550100", "email": "a@example.org", "avatar": "g0/a.png",
              "signature": "back on Monday", "domain": "alice"}
    options = [word for key, value in fields.items() for word in (f"--{key}", value)]
    edited = ctl.json("user", "edit", "alice", *options, "--sex", "female")
    assert edited.items() >= (fields | {"sex": 2}).items(), edited
    assert ctl.json("user", "show", "alice") == edited
    assert "sex         female" in ctl("user", "show", "alice")
    assert ctl("user", "edit", "alice", "--phone", "") == f"alice (id {shown['id']}): changed\n"
    assert ctl.json("user", "show", "alice")["phone"] == "", "what is empty is changed, too"
    ctl("user", "edit", "alice", code=2)
    said(ctl, "wants a field")
    ctl("user", "edit", "alice", "--sex", "5", code=2)
    ctl("user", "edit", "nobody", "--nick", "x", code=1)
    said(ctl, "no user nobody")
    ctl("user", "edit", "alice", "--department", "Nowhere", code=1)
    said(ctl, "no department Nowhere")

    assert "disabled" in ctl("user", "disable", "bob")
    assert [u["status"] for u in ctl.json("user", "list")["users"] if u["name"] == "bob"] == [3]
    bob = [u["id"] for u in ctl.json("user", "list")["users"] if u["name"] == "bob"][0]
    assert ctl.json("user", "enable", f"#{bob}")["status"] == 0
    ctl("user", "passwd", "bob", "--password", "-", stdin="new one\n")
    ctl("user", "passwd", "bob", "--password", "-", stdin="\n", code=2)
    print("ok    accounts", flush=True)


def departments(ctl):
    sales = ctl.json("department", "add", "Sales")
    assert sales["name"] == "Sales" and sales["id"] > 0, sales
    north = ctl.json("department", "add", "North", "--parent", "Sales", "--priority", "3")
    assert (north["parent"], north["priority"]) == (sales["id"], 3), north
    assert "renamed" in ctl("department", "rename", "North", "Far North")
    assert "moved" in ctl("department", "move", "Far North", "--parent", "0", "--priority", "1")
    listed = {d["name"]: d for d in ctl.json("department", "list")["departments"]}
    assert listed["Far North"]["parent"] == 0 and listed["Far North"]["priority"] == 1, listed
    assert "Far North" in ctl("department", "list")
    ctl("department", "move", "Sales", code=2)
    ctl("department", "rename", "Nowhere", "x", code=1)
    said(ctl, "no department Nowhere", "department list")
    ctl("user", "add", "erin", "--password", "x", "--department", "Sales")
    assert ctl.json("user", "edit", "erin", "--department", "0")["department"] == 0
    back = ctl.json("user", "edit", "erin", "--department", "Sales", "--nick", "E")
    assert (back["department"], back["nick"]) == (sales["id"], "E"), back
    ctl("department", "remove", "Sales", code=1)
    said(ctl, "not removed", "elsewhere first")
    assert "removed" in ctl("department", "remove", str(north["id"]))
    ctl("department", "rename", "Far North", "x", code=1)
    print("ok    departments", flush=True)
    return sales["id"]


def groups(ctl):
    people = {u["name"]: u["id"] for u in ctl.json("user", "list")["users"]}
    assert "created with 0 members" in ctl("group", "create", "Night shift")
    lunch = ctl.json("group", "create", "Lunch", "bob", f"#{people['carol']}", "--type", "temporary",
                     "--creator", "alice", "--avatar", "g0/l.png")
    assert (lunch["type"], lunch["member_count"], lunch["creator"], lunch["avatar"]) == (
        "temporary", 3, people["alice"], "g0/l.png"), lunch
    assert ctl.json("group", "show", "Lunch") == lunch
    for which in (str(lunch["id"]), f"#{lunch['id']}"):
        assert ctl.json("group", "show", which) == lunch, which
    assert "member_count  3" in ctl("group", "show", "Lunch")
    names = [group["name"] for group in ctl.json("group", "list")["groups"]]
    assert names == ["Night shift", "Lunch"], names
    assert [line.split()[0] for line in ctl("group", "list").splitlines()] == ["ID", "1", "2"]

    def members(group):
        return [member["user"] for member in ctl.json("group", "members", group)["members"]]

    assert "2 members added" in ctl("group", "add", "Night shift", "alice", "bob")
    assert ctl.json("group", "add", "Night shift", "bob", "carol")["changed"] == [people["carol"]]
    assert "1 member removed" in ctl("group", "remove", "Night shift", "bob", "erin")
    assert members("Night shift") == sorted((people["alice"], people["carol"]))
    table = ctl("group", "members", "Night shift").splitlines()
    assert len(table) == 3 and table[1].split()[:2] == [str(people["alice"]), "alice"], table
    assert "renamed" in ctl("group", "rename", "Night shift", "Day shift")
    assert ctl.json("group", "avatar", "Day shift", "g0/d.png")["avatar"] == "g0/d.png"
    assert ctl.json("group", "avatar", "Day shift", "")["avatar"] == ""
    assert f"{len(people) - 2} members added" in ctl("group", "everybody", "Day shift")
    assert ctl.json("group", "everybody", "Day shift")["added"] == 0
    assert len(members("Day shift")) == len(people)

    before = ctl.json("group", "list")
    for args, word in ((["show", "Nowhere"], "no group Nowhere"), (["show", "99"], "no group 99"),
                       (["rename", "Nowhere", "x"], "group list"), (["dismiss", "#99"], "no group #99"),
                       (["members", "Nowhere"], "no group"), (["everybody", "Nowhere"], "no group"),
                       (["add", "Nowhere", "bob"], "no group"),
                       (["add", "Lunch", "bob", "nobody"], "no user nobody"),
                       (["remove", "Lunch", "#9999"], "no user #9999"),
                       (["create", "x", "nobody"], "no user nobody"),
                       (["create", "x", "--creator", "nobody"], "no user nobody"),
                       (["create", ""], "name: 1 to")):
        ctl("group", *args, code=1)
        said(ctl, word)
    for args in (["add", "Lunch"], ["remove", "Lunch"], ["create"], ["rename", "Lunch"], [], ["list", "x"],
                 ["create", "x", "--type", "secret"]):
        ctl("group", *args, code=2)
    ctl("user", "disable", "erin")
    ctl("group", "add", "Lunch", "erin", code=1)
    said(ctl, "not changed", "who has not left")
    ctl("user", "enable", "erin")
    assert ctl.json("group", "list") == before, "what is refused changes nothing"

    twin = ctl.json("group", "create", "Lunch")["id"]
    ctl("group", "show", "Lunch", code=1)
    said(ctl, "several groups", "give the id")
    assert ctl.json("group", "dismiss", str(twin)) == {"id": twin, "dismissed": True}
    assert "dismissed" in ctl("group", "dismiss", "Day shift")
    ctl("group", "show", "Day shift", code=1)
    print("ok    groups", flush=True)
    return len(people)


def messages(ctl, people):
    sent = ctl.json("message", "send", "--from", "alice", "--user", "bob", "hello bob")
    assert set(sent) == {"msg_id", "time"} and sent["msg_id"] == 1, sent
    said_again = ctl("message", "send", "--from", "alice", "--user", "bob", "hello bob")
    assert said_again == "message 2 from alice to bob\n", said_again
    in_group = ctl("message", "send", "--from", "bob", "--group", "Lunch", "1")
    assert in_group == "message 1 from bob to group Lunch\n", in_group
    longest, too_long = "x" * 3068, "ä" * 1534 + "x"
    assert ctl.json("message", "send", "--from", "bob", "--group", "Lunch", longest)["msg_id"] == 2
    to_bob = ["message", "send", "--from", "alice", "--user", "bob"]
    for args, code, word in (
            ([*to_bob, "--group", "Lunch", "x"], 2, "excludes"), ([*to_bob[:4], "x"], 2, "--user or --group"),
            ([*to_bob, ""], 2, "empty"), ([*to_bob, too_long], 2, "3069 bytes of at most 3068"),
            ([*to_bob[:2], "--user", "bob", "x"], 2, "--from"), (to_bob, 2, "TEXT"), (["message"], 2, ""),
            (["message", "send", "--from", "nobody", "--user", "bob", "x"], 1, "no user nobody"),
            (["message", "send", "--from", "alice", "--user", "nobody", "x"], 1, "no user nobody"),
            (["message", "send", "--from", "alice", "--group", "Nowhere", "x"], 1, "no group Nowhere"),
            (["message", "send", "--from", "erin", "--group", "Lunch", "x"], 1, "not sent"),
            (["message", "send", "--from", "alice", "--user", "alice", "x"], 1, "is the sender")):
        ctl(*args, code=code)
        said(ctl, word)

    before = ctl.json("group", "list")
    for args, code, word in (
            (["--from", "alice", ""], 2, "empty"), (["--from", "alice", too_long], 2, "3069 bytes"),
            (["x"], 2, "--from"), (["--from", "alice"], 2, "TEXT"),
            (["--from", "nobody", "x"], 1, "no user nobody"),
            (["--from", "alice", "--group", "", "x"], 1, "not created: name")):
        ctl("announce", *args, code=code)
        said(ctl, word)
    ctl("user", "disable", "erin")
    ctl("announce", "--from", "erin", "x", code=1)
    said(ctl, "disabled")
    assert ctl.json("group", "list") == before, "an announcement that is refused makes no group"
    # A group of that name that users have made is none of ours.
    ctl("group", "create", "Announcements", "bob", "--type", "temporary")
    first = ctl.json("announce", "--from", "alice", "maintenance on Sunday")
    assert (first["group_made"], first["added"], first["members"], first["msg_id"]) == (
        True, people - 1, people - 1, 1), first
    ctl("user", "enable", "erin")
    assert ctl("announce", "--from", "bob", "maintenance is over") == (
        f"message 2 to {people} members of group {first['group']} (Announcements), 1 of them new\n")
    other = ctl.json("announce", "--from", "bob", "--group", "Canteen", "soup")
    assert other["group"] != first["group"] and other["group_made"], other
    ctl("group", "create", "Canteen")
    ctl("announce", "--from", "bob", "--group", "Canteen", "soup", code=1)
    said(ctl, "several groups are called Canteen")
    print("ok    messages", flush=True)


def imports(ctl, folder, sales):
    path = os.path.join(folder, "people.csv")

    def write(text):
        with open(path, "w", encoding="utf-8", newline="") as out:
            out.write(text)

    rows = ["\ufeffName,Nick,Department,Password\r\n", 'i1,"Last, First",Sales,\r\n', "i2,,,\r\n",
            '"two words",,,\r\n', f"i3,,{sales},\r\n", "i1,,,\r\n", "i4,,No such,\r\n", "i5,a\"b,,\r\n",
            "i6,,,secret\r\n", "i7,,\r\n", "alice,,,\r\n"]
    rows += [f"bulk{i},,,\r\n" for i in range(1200)]
    write("".join(rows))
    before = len(ctl.json("user", "list")["users"])
    dry = ctl.json("user", "import", path, "--dry-run", code=1)
    assert len(ctl.json("user", "list")["users"]) == before, "a dry run made users"
    report = ctl.json("user", "import", path, code=1)
    assert dry == report | {"dry_run": True}, (dry, report)
    assert (report["rows"], report["added"]) == (1210, 1204), report
    assert [bad["line"] for bad in report["bad"]] == [4, 6, 7, 8, 10], report["bad"]
    assert report["existing"] == [{"line": 11, "name": "alice", "error": "exists"}], report["existing"]
    i1 = ctl.json("user", "show", "i1")
    assert (i1["nick"], i1["department"]) == ("Last, First", sales), i1

    write("".join(row for i, row in enumerate(rows) if i not in (3, 5, 6, 7, 9)))
    ctl("user", "import", path, code=1)
    said(ctl, "line 2: i1: exists", "more (--json lists all)")
    out = ctl("user", "import", path, "--skip-existing")
    assert out == "1205 rows: 0 added, 1205 existing, 0 bad\n", out

    for text, word in (("", "no heading row"), ("nick\na\n", 'no column "name"'), ("name,name\n", "two columns"),
                       ("name,email\n", 'no column is called "email"'), ('"name\n', "never closed")):
        write(text)
        ctl("user", "import", path, code=1)
        said(ctl, word)
    ctl("user", "import", path + ".none", code=1)
    said(ctl, "cannot open")
    out = ctl("user", "import", "-", stdin="nick,name\nSam,sam\n")
    assert out == "1 row: 1 added, 0 existing, 0 bad\n", out
    write("name,department\nlost,4000000000\n")
    for more in ([], ["--dry-run"]):
        report = ctl.json("user", "import", path, *more, code=1)
        assert report["bad"][0]["error"] == "department: there is no department 4000000000", report
    print("ok    imports", flush=True)


def looks(ctl):
    text = ctl("status")
    assert text.startswith("ringtalkd ") and "ready" in text and "SHARD" in text, text
    assert ctl.json("status")["ready"] is True
    token = ctl("token", "alice").strip()
    assert token and " " not in token, token
    assert set(ctl.json("token", "alice")) == {"id", "name", "token"}
    ctl("token", "nobody", code=1)
    table = ctl("top", "--once", "--interval", "0.2").splitlines()
    assert table[1].split()[:2] == ["SHARD", "CONN"] and table[-1].split()[0] == "all", table
    assert len(ctl("top", "--interval", "0.2").splitlines()) == len(table)
    rates = ctl.json("top", "--interval", "0.2")
    assert len(rates["shards"]) == len(table) - 3 and rates["total"]["connections"] >= 0, rates
    ctl("top", "--interval", "0", code=2)
    assert "nothing has changed" in ctl("reload")
    assert ctl.json("reload") == {"changed": [], "restart_needed": []}
    live_top(ctl)
    print("ok    looks", flush=True)


def live_top(ctl):
    command = [*ctl.base(), "top", "--interval", "0.2"]
    for leave in (lambda t: t.type("q"), lambda t: t.type("\x03"),
                  lambda t: t.process.send_signal(signal.SIGTERM)):
        with Terminal(command, columns=60, env=ctl.env, full_screen=True) as terminal:
            terminal.wait(lambda t=terminal: any(line.startswith("all ") for line in t.screen.lines), "the total")
            terminal.resize(30)
            terminal.wait(lambda t=terminal: max(map(len, t.screen.lines)) < 30, "narrower lines")
            leave(terminal)
            assert terminal.exit_code() == 0
            assert terminal.settings_restored()
            assert terminal.raw.endswith(b"\x1b[?25h\x1b[?1049l"), terminal.raw[-40:]
    with Terminal(command, env=ctl.env, term="dumb") as terminal:
        assert terminal.exit_code() == 0
        assert b"\x1b" not in terminal.raw
        terminal.expect("SHARD")


def story(ctl, folder):
    accounts(ctl, folder)
    sales = departments(ctl)
    messages(ctl, groups(ctl))
    imports(ctl, folder, sales)
    looks(ctl)


# ---- what only a scripted server does ----

def sessions(ctl, api):
    kinds = ["windows", "android"]
    api.state.sessions = [
        {"user": 1 + i % 3, "name": f"n{i}\x1b[31m", "client_type": 1, "device": kinds[i % 2], "shard": 0,
         "address": "127.0.0.1:5", "since": int(time.time()) - 60, "idle_s": 3, "queued_bytes": 0}
        for i in range(1200)]
    assert len(ctl.json("session", "list")["sessions"]) == 1200
    assert len(ctl("session", "list").splitlines()) == 1201
    assert len(ctl.json("session", "list", "alice")["sessions"]) == 400
    ctl("session", "kick", "alice", "--device", "toaster", code=2)
    assert ctl.json("session", "kick", "alice", "--device", "mobile") == {"kicked": 200}
    assert ctl("session", "kick", "#1").startswith("200 sessions of alice closed")
    api.state.answers += [(200, {"sessions": [{"user": "x"}], "next": 0})]
    ctl("session", "list", code=1)
    print("ok    sessions", flush=True)


def troubles(ctl, api, folder):
    state = api.state
    state.ready = False
    assert "not ready, draining" in ctl("status", code=1)
    state.ready = True
    state.reload = (400, {"error": "ringtalk.toml:3: limits.sends_burst: \x1b[2J"})
    ctl("reload", code=1)
    said(ctl, "nothing was changed: ringtalk.toml:3", "config check")
    state.reload = (200, {"changed": ["limits.sends_burst"], "restart_needed": ["shards"]})
    assert ctl("reload") == ("in force now: limits.sends_burst\n"
                             "changed, but needs a restart: shards\n")
    for status, body, word in ((500, "no json", "HTTP status 500"), (200, "[]", "does not answer like"),
                               (503, {"error": "busy"}, "try again"), (401, {"error": "unauthorized"}, "--data-dir"),
                               (200, "{" * 5000, "does not answer like")):
        state.answers.append((status, body))
        ctl("status", code=1)
        said(ctl, word)
    for body in ({"departments": [5]}, {"departments": {}}, {}):
        state.answers.append((200, body))
        ctl("department", "list", code=1)
    for body in ({"groups": [5], "next": 0}, {"groups": {}, "next": 0}, {}):
        state.answers.append((200, body))
        ctl("group", "list", code=1)
    for body in ({}, {"id": 1}, {"id": "1", "name": "x", "type": "normal", "member_count": 1}):
        state.answers.append((200, body))
        ctl("group", "show", "1", code=1)
        said(ctl, "does not answer like")

    # More groups and members than a page has; what is foreign is shown escaped.
    for i in range(600):
        state.groups_made += 1
        state.groups[state.groups_made] = {
            "id": state.groups_made, "name": f"g{i}\x1b[31m", "avatar": "", "creator": 0, "type": "normal",
            "version": 1, "created": 0, "in": set(range(1, 1101))}
    assert len(ctl("group", "list").splitlines()) == 1 + len(state.groups)
    assert "\\x1b" in ctl("group", "show", str(state.groups_made))
    assert len(ctl("group", "members", str(state.groups_made)).splitlines()) == 1101

    # An import meets a server that refuses a row, one that is busy for a moment, one that goes away.
    path = os.path.join(folder, "more.csv")
    with open(path, "w", encoding="utf-8") as out:
        out.write("name,nick\n" + "".join(f"m{i},{'refused' if i in (3, 7) else ''}\n" for i in range(10)))
    report = ctl.json("user", "import", path, code=1)
    assert [bad["line"] for bad in report["bad"]] == [5, 9] and report["added"] == 8, report
    # Names that came in behind its back: all or nothing, told apart by halves.
    with open(path, "w", encoding="utf-8") as out:
        out.write("name\n" + "".join(f"z{i}\n" for i in range(40)))
    for i in (5, 6, 39):
        state.add_user({"name": f"z{i}"})
    hidden = {"users": [{k: u[k] for k in ("id", "name", "nick", "department", "status")}
                        for u in state.users.values() if not u["name"].startswith("z")], "next": 0}
    state.answers += [(200, hidden), (200, {"departments": []}), (503, {"error": "busy"})]
    report = ctl.json("user", "import", path, code=1)
    assert sorted(entry["line"] for entry in report["existing"]) == [7, 8, 41], report
    assert report["added"] == 37 and not report["bad"], report
    print("ok    troubles", flush=True)


def local(ctl, folder):
    """Verbs that need no server."""
    good, wrong = os.path.join(folder, "good.toml"), os.path.join(folder, "wrong.toml")
    with open(good, "w", encoding="utf-8") as out:
        out.write("shards = 3\n")
    with open(wrong, "w", encoding="utf-8") as out:
        out.write("shards = 3\n[limits]\nno_such = 1\nsends_burst = -1\n")
    assert ctl("config", "check", good) == f"{good}: good\n"
    ctl("config", "check", wrong, code=1)
    said(ctl, "wrong.toml:3: unknown key limits.no_such", "wrong.toml:4: limits.sends_burst", "config default")
    report = ctl.json("config", "check", wrong, code=1)
    assert not report["ok"] and len(report["errors"]) == 2, report
    manual = ctl("config", "default")
    with open(good + ".2", "w", encoding="utf-8") as out:
        out.write(manual)
    ctl("config", "check", good + ".2")
    values = ctl.json("config", "dump", good, env={"RINGTALK_LISTEN": "127.0.0.1:7000"})["settings"]
    assert values["shards"] == {"value": "3", "origin": f"{good}:1"}, values["shards"]
    assert values["listen"] == {"value": '"127.0.0.1:7000"', "origin": "RINGTALK_LISTEN"}
    assert values["http"]["origin"] == "default"
    assert f"{good}:1" in ctl("config", "dump", env={"RINGTALK_CONFIG": good})
    ctl("config", "dump", wrong, code=1)

    report = ctl.json("doctor", env={"RINGTALK_CONFIG": good})
    names = [finding["name"] for finding in report["findings"]]
    assert {"nofile", "file-max", "somaxconn", "io_uring sysctl", "memlock", "huge pages", "clock source",
            "clock steps", "fsync", "disk space", "kernel", "ports"} <= set(names), names
    assert all((finding["level"] == "ok") == (finding["fix"] == "") for finding in report["findings"]), report
    machine = os.path.join(folder, "machine")
    os.makedirs(os.path.join(machine, "proc/sys/kernel"))
    with open(os.path.join(machine, "proc/sys/kernel/io_uring_disabled"), "w", encoding="ascii") as out:
        out.write("2\n")
    text = ctl("doctor", "--root", machine, code=1)
    assert "bad  io_uring sysctl" in text and "fix: echo 'kernel.io_uring_disabled = 0'" in text, text
    assert "configuration" in ctl("doctor", "--root", machine, "--config", wrong, code=1)

    script = ctl("completion", "bash")
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    for verb in ("user", "department", "group", "message", "announce", "session", "status", "top", "doctor",
                 "config", "token", "reload", "chat"):
        assert f"' {verb}') path='{verb}'" in script, verb
    assert "completion" not in script.split("COMPREPLY=()", 1)[1], "hidden verbs stay hidden"
    for args, there in ((["frobnicate"], "ringtalkctl"), (["user", "frobnicate"], "ringtalkctl user"),
                        (["--json", "frobnicate"], "ringtalkctl")):
        ctl(*args, code=2)
        said(ctl, "no verb frobnicate", f"`{there} --help`")
    for args in ([], ["user"], ["department"], ["group"], ["session", "kick"], ["config"], ["top", "x"],
                 ["nonsense"], ["user", "import"], ["doctor", "--pid", "x"]):
        ctl(*args, code=2)
    print("ok    local", flush=True)


def real(ctl_path, build_dir, folder):
    from server import Server, find_ringtalkd
    with Server(find_ringtalkd(build_dir), shards=2, label="verbs") as server:
        if server.http("GET", "/api/v1/status")[0] == 404:
            print("      this ringtalkd has no /api/v1/status", flush=True)
            return 77
        ctl = Ctl(ctl_path, f"127.0.0.1:{server.http_port}", server.data_dir)
        story(ctl, folder)
        assert ctl.json("session", "list") == {"sessions": []}
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ringtalkctl", required=True)
    parser.add_argument("--build-dir")
    arguments = parser.parse_args()
    path = os.path.abspath(arguments.ringtalkctl)
    with tempfile.TemporaryDirectory(prefix="ringtalk-verbs-") as folder:
        if arguments.build_dir:
            return real(path, arguments.build_dir, folder)
        with FakeApi() as api:
            with open(os.path.join(folder, "admin.token"), "w", encoding="ascii") as token:
                token.write(TOKEN + "\n")
            ctl = Ctl(path, api.address, folder)
            local(ctl, folder)
            story(ctl, folder)
            sessions(ctl, api)
            troubles(ctl, api, folder)
        ctl("status", code=1)
        said(ctl, "cannot reach", "--http")
    return 0


if __name__ == "__main__":
    sys.exit(main())
