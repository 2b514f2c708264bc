"""Rows HTTP-1…: the administration interface and its door over real sockets, against honest operators
and against everybody else. reliability.md 4.5 has the abuses.

Each row needs its own users; rows that fill the door have a server of their own.
"""

import json
import socket
import threading
import time

import wire
from checks import expect_push, refused_login
from client import Failure, log_in, require, require_equal
from registry import row

PC, MOBILE = wire.WINDOWS, wire.IOS


def ask(server, method, path, body=None, wanted=200):
    status, text = server.http(method, path, body)
    require_equal(status, wanted, f"{method} {path} {json.dumps(body)[:100]} -> {text[:200]}")
    answer = json.loads(text)
    if status >= 400:
        require_equal(list(answer), ["error"], f"keys of the answer to {method} {path}")
    return answer


class Raw:
    """A socket that writes what no HTTP library would, and reads what comes."""

    def __init__(self, server, timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", server.http_port), timeout=timeout)
        self.bytes = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def answer(self):
        """(status, fields, body) of the next answer; None when the server has closed."""
        while b"\r\n\r\n" not in self.bytes:
            if not self._more():
                return None
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        lines = head.decode("ascii").split("\r\n")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        length = int(fields.get("content-length", "0"))
        while len(self.bytes) < length:
            if not self._more():
                raise Failure(f"closed inside a body: {lines[0]}")
        body, self.bytes = self.bytes[:length], self.bytes[length:]
        return int(lines[0].split()[1]), fields, body

    def _more(self):
        try:
            some = self.socket.recv(65536)
        except ConnectionError:
            return False
        self.bytes += some
        return bool(some)

    def closed(self):
        try:
            return self.answer() is None
        except socket.timeout:
            return False


def get(path="/healthz", more=b""):
    return b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n"


def post(server, path, body, more=b"", length=None):
    return (b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
            + server.admin_token().encode() + b"\r\n" + more
            + b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body)


@row("HTTP-1")
def users_are_shown_changed_and_found(ctx):
    server = ctx.shared()
    [user] = server.make_users(1)
    path = f"/api/v1/users/{user.id}"
    shown = ask(server, "GET", path)
    require_equal(set(shown), {"id", "name", "nick", "department", "status", "sex", "domain", "phone",
                               "email", "avatar", "signature", "created", "stamp"}, "keys of a user")
    wanted = {"nick": "Änne", "sex": 2, "phone": "01234567", "email": "a@example.org",
              "avatar": "/g0/1.png", "signature": "da", "domain": "aenne"}
    changed = ask(server, "PATCH", path, wanted)
    require_equal({key: changed[key] for key in wanted}, wanted, "what was changed")
    require(changed["stamp"] > shown["stamp"], "no new stamp: clients would not hear of it")
    require_equal(ask(server, "GET", path), changed, "the user afterwards")
    require_equal(ask(server, "GET", f"/api/v1/users?name={user.name}")["users"], [changed],
                  "found by name")
    ask(server, "PATCH", path, {"nick": "x", "password": ""}, wanted=400)
    require_equal(ask(server, "GET", path), changed, "after a refused change")
    ask(server, "GET", "/api/v1/users/4294967295", wanted=404)
    require_equal(server.http("GET", path, token=False)[0], 401, "without the token")


@row("HTTP-2")
def disabling_ends_everything(ctx):
    server = ctx.shared()
    a, b = server.make_users(2)
    with log_in(server, a) as pc, log_in(server, a, MOBILE) as phone, log_in(server, b) as other:
        ask(server, "PATCH", f"/api/v1/users/{a.id}", {"disabled": True})
        for device in (pc, phone):
            require_equal(device.expect(wire.KICK_USER)["kick_reason"], wire.KICK_DUPLICATE, "reason")
            device.expect_closed(within=8)
        other.send_text(a.id, b"to nobody")
        other.expect_nothing()
    require_equal(server.http("POST", f"/api/v1/users/{a.id}/token")[0], 409, "a token for the disabled")
    ask(server, "PATCH", f"/api/v1/users/{a.id}", {"disabled": False})
    a.token = ask(server, "POST", f"/api/v1/users/{a.id}/token", {}, wanted=201)["token"]
    with log_in(server, a) as again, log_in(server, b) as other:
        other.say(a.id, b"welcome back")
        again.hear(b"welcome back")


@row("HTTP-3")
def a_new_password_ends_sessions_and_tokens(ctx):
    server = ctx.shared()
    user = server.make_user(password="old")
    other_token = ask(server, "POST", f"/api/v1/users/{user.id}/token", {}, wanted=201)["token"]
    with log_in(server, user) as client:
        ask(server, "PATCH", f"/api/v1/users/{user.id}", {"password": "new"})
        client.expect(wire.KICK_USER)
        client.expect_closed(within=8)
    for stale in ("token:" + other_token, user.secret):
        refused_login(server, user.name, stale)
    user.password = "new"
    with log_in(server, user):
        pass


@row("HTTP-4")
def sessions_are_listed_and_kicked(ctx):
    server = ctx.shared()
    users = server.make_users(8)
    clients = [log_in(server, user, kind) for user in users for kind in (PC, MOBILE)]
    try:
        mine, after = [], 0
        for _ in range(10000):
            page = ask(server, "GET", f"/api/v1/sessions?limit=3&after={after}")
            require(len(page["sessions"]) <= 3, "more than asked")
            mine += [(s["user"], s["device"], s["name"]) for s in page["sessions"]
                     if s["user"] in [user.id for user in users]]
            after = page["next"]
            if not after:
                break
        require_equal(sorted(mine), sorted((u.id, d, u.name) for u in users for d in ("ios", "windows")),
                      "sessions of all pages")
        for user, pc, phone in zip(users, clients[::2], clients[1::2]):
            listed = ask(server, "GET", f"/api/v1/sessions?user={user.id}")["sessions"]
            require_equal(len(listed), 2, "his sessions")
            require_equal(listed[0]["address"], "127.0.0.1", "address")
            kicked = ask(server, "POST", "/api/v1/sessions:kick", {"user": user.id, "device": "pc"})
            require_equal(kicked, {"kicked": 1}, "PC sessions kicked")
            pc.expect(wire.KICK_USER)
            kicked = ask(server, "POST", "/api/v1/sessions:kick", {"user": user.id})
            require_equal(kicked, {"kicked": 1}, "the rest")
            phone.expect(wire.KICK_USER)
            require_equal(ask(server, "GET", f"/api/v1/sessions?user={user.id}")["sessions"], [], "after")
    finally:
        for client in clients:
            client.close()


@row("HTTP-5")
def departments(ctx):
    server = ctx.shared()
    top = ask(server, "POST", "/api/v1/departments", {"name": "Werk"}, wanted=201)
    below = ask(server, "POST", "/api/v1/departments",
                {"name": "Halle", "parent": top["id"], "priority": 4}, wanted=201)
    require(below in ask(server, "GET", "/api/v1/departments")["departments"], "not in the list")
    ask(server, "DELETE", f"/api/v1/departments/{top['id']}", wanted=409)
    ask(server, "PATCH", f"/api/v1/departments/{top['id']}", {"parent": below["id"]}, wanted=409)
    user = server.make_user(department=below["id"])
    ask(server, "DELETE", f"/api/v1/departments/{below['id']}", wanted=409)
    ask(server, "PATCH", f"/api/v1/users/{user.id}", {"department": 0})
    changed = ask(server, "PATCH", f"/api/v1/departments/{below['id']}", {"name": "Lager"})
    require_equal(changed["name"], "Lager", "new name")
    for id in (below["id"], top["id"]):
        ask(server, "DELETE", f"/api/v1/departments/{id}")
    ask(server, "DELETE", "/api/v1/departments/4294967295", wanted=404)


@row("HTTP-6")
def status_and_readiness(ctx):
    server = ctx.shared()
    require_equal(server.http("GET", "/readyz", token=False), (200, "ready\n"), "/readyz")
    status = ask(server, "GET", "/api/v1/status")
    require_equal(status["pid"], server.process.pid, "pid")
    require_equal([shard["shard"] for shard in status["shards"]], list(range(ctx.shards)), "shards")
    require(status["ready"] and status["reason"] == "", "ready")
    require(status["disk"]["free"] > 0 and status["memory"]["rss"] > 1 << 20, "disk and memory")
    for key in ("connections", "sessions", "users", "loop_lag_ms", "queued_bytes", "messages"):
        require(all(shard[key] >= 0 for shard in status["shards"]), key)
    outcome = ask(server, "POST", "/api/v1/reload", {})
    require_equal(outcome, {"changed": [], "restart_needed": []}, "nothing has changed in the file")


@row("HTTP-7")
def what_is_wrong_has_its_answer(ctx):
    server = ctx.shared()
    long = b"x" * 9000
    cases = [
        (b"GET /" + long + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, "a long request line"),
        (get(more=b"X: " + long + b"\r\n"), 431, "a long field"),
        (get(more=b"".join(b"X%d: 1\r\n" % i for i in range(64))), 431, "65 fields"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400, "no Host"),
        (get(more=b"Host: y\r\n"), 400, "two Hosts"),
        (b"GET /healthz\r\n\r\n", 400, "HTTP/0.9"),
        (b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", 400, "HTTP/2.0"),
        (get("/a\0b"), 400, "NUL in the target"),
        (get(more=b"X: a\0b\r\n"), 400, "NUL in a field"),
        (get(more=b"X\r\n"), 400, "no colon"),
        (get(more=b"X : y\r\n"), 400, "a blank before the colon"),
        (b"\x16\x03\x01\x02\x00\x01", 400, "TLS"),
        (post(server, "/api/v1/users", b"", length=-1), 400, "negative length"),
        (post(server, "/api/v1/users", b"{}x", more=b"Content-Length: 2\r\n", length=3), 400, "two lengths"),
        (post(server, "/api/v1/users", b"", length=65537), 413, "too long a body"),
        (post(server, "/api/v1/users:bulk", b"", length=(4 << 20) + 1), 413, "too long a bulk"),
        (post(server, "/api/v1/users", b"", more=b"Transfer-Encoding: chunked\r\n"), 400, "both"),
        (b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400, "gzip"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", 400, "identity"),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"e" * 20000, 400,
         "a chunk's head without end"),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400,
         "a chunk beyond 2^64"),
        (post(server, "/api/v1/users", b"{}", more=b"Expect: the-moon\r\n"), 417, "Expect"),
        (b"POST /api/v1/users:bulk HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n", 401,
         "a stranger's body is not waited for"),
    ]
    for data, wanted, name in cases:
        with Raw(server) as raw:
            raw.send(data)
            answer = raw.answer()
            require(answer is not None, f"{name}: closed without an answer")
            require_equal(answer[0], wanted, name)
            require("error" in json.loads(answer[2]), f"{name}: no reason")
            require_equal(answer[1]["connection"], "close", f"{name}: connection")
            require(raw.closed(), f"{name}: still open")
    for path, wanted in (("//healthz", 404), ("/%68ealthz", 404), ("/healthz/", 404),
                         ("http://x/healthz", 404), ("/../healthz", 404), ("/nowhere", 404)):
        with Raw(server) as raw:
            raw.send(get(path))
            require_equal(raw.answer()[0], wanted, path)
    for method in (b"DELETE", b"BREW", b"CONNECT"):
        with Raw(server) as raw:
            raw.send(get("/healthz").replace(b"GET", method, 1))
            require_equal(raw.answer()[0], 405, method.decode())
    require_equal(server.http("GET", "/healthz", token=False), (200, "ok\n"), "afterwards")


@row("HTTP-8")
def bad_json_changes_nothing(ctx):
    server = ctx.shared()
    [user] = server.make_users(1)
    before = ask(server, "GET", f"/api/v1/users/{user.id}")
    nick = b'{"nick":"evil"'
    bodies = [
        b"", b"{", b"[]", b"null", nick, nick + b',"nick":"worse"}', nick + b"}{}", nick + b"} x",
        b"\xef\xbb\xbf" + nick + b"}", nick + b',"sex":-1}', nick + b',"sex":1e999}',
        nick + b',"sex":18446744073709551616}', nick + b',"sex":"1"}', nick + b',"id":1}',
        nick + b',"x":' + b"[" * 17 + b"]" * 17 + b"}", nick + b',"x":' + b"[" * 50000,
        nick + b',"x":[' + b"1," * 30000 + b"1]}", b'{"nick":"\xff"}', b'{"nick":"\\ud800"}',
        b'{"nick":"a\\u0000b"}', b'{"nick":"a\\r\\nb"}', b'{"nick":"' + b"n" * 33 + b'"}',
        b'{"disabled":1}', b'{"password":""}', b'{"password":"' + b"p" * 1025 + b'"}',
    ]
    for body in bodies:
        with Raw(server) as raw:
            raw.send(post(server, f"/api/v1/users/{user.id}", body).replace(b"POST", b"PATCH", 1))
            status, _, text = raw.answer()
            require_equal(status, 400, f"{body[:60]!r} -> {text[:100]!r}")
            require("error" in json.loads(text), f"{body[:60]!r}: no reason")
    require_equal(ask(server, "GET", f"/api/v1/users/{user.id}"), before, "the user")


@row("HTTP-9")
def pipelined_continued_and_split(ctx):
    server = ctx.shared()
    with Raw(server) as raw:
        names = [f"pipe-{ctx.shards}-{i}-{time.monotonic_ns()}" for i in range(20)]
        raw.send(b"".join(post(server, "/api/v1/users", json.dumps({"name": n[:32]}).encode())
                          + get("/nowhere") + get() for n in names))
        got = [raw.answer()[0] for _ in range(60)]
        require_equal(got, [201, 404, 200] * 20, "answers in order")
    body = json.dumps({"name": f"cont{time.monotonic_ns()}"}).encode()
    with Raw(server) as raw:
        raw.send(post(server, "/api/v1/users", b"", more=b"Expect: 100-continue\r\n", length=len(body)))
        require_equal(raw.answer()[0], 100, "the interim answer")
        raw.send(body)
        require_equal(raw.answer()[0], 201, "the answer")
        for byte in get():
            raw.send(bytes([byte]))
        require_equal(raw.answer()[0], 200, "byte by byte")


@row("HTTP-10", slow=True)
def slow_ones_are_told_and_closed(ctx):
    server = ctx.shared()
    slow = [("no end of the header", b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n"),
            ("a header byte by byte", b"GET /healthz HT", b""),
            ("no end of the body", post(server, "/api/v1/users", b"{", length=1000), b" ")]

    def drip(name, first, more, failures):
        try:
            with Raw(server) as raw:
                raw.send(first)
                began = time.monotonic()
                raw.socket.settimeout(1)
                while True:
                    require(time.monotonic() - began < 15, f"{name}: still open")
                    try:
                        answer = raw.answer()
                        break
                    except socket.timeout:
                        raw.send(more)
                require(answer is not None and answer[0] == 408, f"{name}: {answer}")
                require(time.monotonic() - began > 4, f"{name}: too early")
        except Exception as error:  # told to the row's own thread
            failures.append(f"{name}: {error}")

    failures = []
    threads = [threading.Thread(target=drip, args=(*case, failures)) for case in slow]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    require(not failures, "; ".join(failures))


@row("HTTP-11", slow=True)
def idle_connections_are_bounded(ctx):
    """Thousands that hold the door open: it stays usable, and chat clients do not notice."""
    with ctx.server() as server:
        a, b = server.make_users(2)
        with log_in(server, a) as alice, log_in(server, b) as bob:
            held = []
            try:
                for i in range(2000):
                    held.append(socket.create_connection(("127.0.0.1", server.http_port), timeout=10))
                    if i % 500 == 499:
                        require_equal(server.http("GET", "/healthz", token=False), (200, "ok\n"),
                                      f"with {i + 1} idle ones")
                        alice.say(b.id, b"still %d" % i)
                        bob.hear(b"still %d" % i)
                open_now = server.metric("ringtalk_http_connections")
                require(open_now <= 320, f"{open_now} are open")
            finally:
                for one in held:
                    one.close()


def make_group(server, **fields):
    return ask(server, "POST", "/api/v1/groups", fields, wanted=201)


def members_of(server, path, limit=1000):
    found, after = [], 0
    while True:
        page = ask(server, "GET", f"{path}/members?limit={limit}&after={after}")
        require(len(page["members"]) <= limit, "more than asked")
        found += [member["user"] for member in page["members"]]
        after = page["next"]
        if not after:
            return found


@row("HTTP-12")
def groups_are_made_changed_and_dismissed(ctx):
    server = ctx.shared()
    a, b, c = server.make_users(3)
    group = make_group(server, name="Werk Süd", creator=a.id, members=[b.id, b.id], type="temporary")
    require_equal(set(group), {"id", "name", "avatar", "type", "creator", "version", "member_count",
                               "created"}, "keys of a group")
    require_equal((group["member_count"], group["creator"], group["type"]), (2, a.id, "temporary"),
                  "the group")
    path = f"/api/v1/groups/{group['id']}"
    require_equal(ask(server, "GET", path), group, "shown")
    page = ask(server, "GET", f"/api/v1/groups?after={group['id'] - 1}&limit=1")
    require_equal(page["groups"], [group], "listed")
    renamed = ask(server, "PATCH", path, {"name": "Werk Nord", "avatar": "g0/1.png"})
    require_equal((renamed["name"], renamed["avatar"]), ("Werk Nord", "g0/1.png"), "changed")
    before = ask(server, "GET", path)
    for body in ({}, {"name": ""}, {"name": "n" * 257}, {"name": "a\nb"}, {"type": "normal"}, {"avatar": 1}):
        ask(server, "PATCH", path, body, wanted=400)
    for body in ({}, {"name": ""}, {"name": "x", "type": "secret"}, {"name": "x", "creator": 4294967295},
                 {"name": "x", "members": []}, {"name": "x", "members": [a.id, 4294967295]},
                 {"name": "x", "members": a.id}, {"name": "x", "status": 1}):
        ask(server, "POST", "/api/v1/groups", body, wanted=400)
    for body in ({}, {"add": [c.id], "remove": [b.id]}, {"add": []}, {"add": [c.id, 4294967295]},
                 {"add": [0]}, {"add": ["x"]}, {"remove": ["x"]}, {"add": [c.id], "x": 1}):
        ask(server, "POST", f"{path}/members", body, wanted=400)
    require_equal(ask(server, "GET", path), before, "after what was refused")
    for method, below in (("PUT", ""), ("POST", ""), ("PATCH", "/members"), ("GET", "/members:everybody")):
        ask(server, method, path + below, wanted=405)
    require_equal(server.http("GET", path, token=False)[0], 401, "without the token")
    for where, length in (("/api/v1/messages", 65537), (f"{path}/members", (4 << 20) + 1)):
        with Raw(server) as raw:
            raw.send(post(server, where, b"", length=length))
            require_equal(raw.answer()[0], 413, f"{length} bytes for {where}")

    require_equal(ask(server, "DELETE", path), {}, "dismissed")
    for where in (path, "/api/v1/groups/4294967295"):
        ask(server, "GET", where, wanted=404)
        ask(server, "PATCH", where, {"name": "x"}, wanted=404)
        ask(server, "DELETE", where, wanted=404)
        ask(server, "GET", f"{where}/members", wanted=404)
        ask(server, "POST", f"{where}/members", {"add": [c.id]}, wanted=404)
        ask(server, "POST", f"{where}/members", {"remove": [a.id]}, wanted=404)
        ask(server, "POST", f"{where}/members:everybody", wanted=404)
        message = {"from": a.id, "group": int(where.rsplit("/", 1)[1]), "text": "x"}
        ask(server, "POST", "/api/v1/messages", message, wanted=404)


@row("HTTP-13")
def everybody_is_one_call(ctx):
    with ctx.server() as server:
        users = server.make_users(400)
        ask(server, "PATCH", f"/api/v1/users/{users[7].id}", {"disabled": True})
        path = f"/api/v1/groups/{make_group(server, name='all', members=[users[0].id])['id']}"
        require_equal(ask(server, "POST", f"{path}/members:everybody")["added"], 398, "added")
        wanted = [user.id for user in users if user is not users[7]]
        require_equal(members_of(server, path), wanted, "members")
        require_equal(members_of(server, path, limit=7), wanted, "members by pages of 7")
        require_equal(ask(server, "GET", path)["member_count"], 399, "member_count")
        require_equal(ask(server, "POST", f"{path}/members:everybody", {})["added"], 0, "added again")
        late = server.make_user()
        require_equal(ask(server, "POST", f"{path}/members:everybody")["added"], 1, "who came later")
        gone = ask(server, "POST", f"{path}/members", {"remove": [late.id, late.id, 4294967295]})
        require_equal(gone["changed"], [late.id], "removed")
        # More than fits into the body of other routes.
        ids = wanted * 48
        ask(server, "POST", f"{path}/members", {"add": ids})
        server.restart()
        require_equal(members_of(server, path), wanted, "members after a restart")


@row("HTTP-14")
def messages_in_a_users_name(ctx):
    server = ctx.shared()
    a, b, c = server.make_users(3)
    group = make_group(server, name="talk", members=[a.id, b.id])["id"]

    def send(wanted=201, **fields):
        message = {"from": a.id, "text": "hello"} | fields
        return ask(server, "POST", "/api/v1/messages", message, wanted=wanted)

    hello = b"nnZSBwfPCz60q69ddmfIJA=="  # under the default key: wire.md 9.1
    with log_in(server, b) as pc, log_in(server, b, MOBILE) as phone, log_in(server, a) as author:
        sent = send(user=b.id)
        require_equal(set(sent), {"msg_id", "time"}, "keys of the answer")
        require_equal(sent["msg_id"], 1, "the first id")
        for device in (pc, phone):
            expect_push(device, a.id, b.id, hello, msg_id=1)
        author.hear(hello)
        require_equal(send(user=b.id)["msg_id"], 2, "the same again is another message")
        for device in (pc, phone, author):
            device.hear(hello)
        sent = send(group=group)
        for device in (pc, phone, author):
            expect_push(device, a.id, group, hello, msg_id=sent["msg_id"], kind=wire.GROUP_TEXT)
        found = pc.list(group, kind=wire.GROUP)
        require_equal([(m["msg_id"], m["from_session_id"], bytes(m["msg_data"])) for m in found],
                      [(1, a.id, hello)], "the group's history")
        require_equal([m["msg_id"] for m in author.pull_all(b.id)], [1, 2], "the history of both")

        nowhere = 4294967295
        for status, fields in ((404, {"user": nowhere}), (404, {"group": nowhere}),
                               (404, {"from": nowhere, "user": b.id}),
                               (404, {"from": c.id, "group": group}),
                               (400, {}), (400, {"user": b.id, "group": group}), (400, {"user": a.id}),
                               (400, {"user": b.id, "text": ""}), (400, {"user": b.id, "text": "x" * 3069}),
                               (400, {"user": b.id, "text": 5}), (400, {"user": 0}),
                               (400, {"from": "a", "user": b.id}), (400, {"user": b.id, "kind": 2})):
            send(wanted=status, **fields)
        ask(server, "GET", "/api/v1/messages", wanted=405)
        send(user=b.id, text="x" * 3068)
        require_equal(len(pc.hear()["msg_data"]), 4096, "the longest text")
        phone.hear()
        author.hear()
        ask(server, "PATCH", f"/api/v1/users/{a.id}", {"disabled": True})
        for fields in ({"user": b.id}, {"group": group}):
            send(wanted=404, **fields)
        for device in (pc, phone):
            device.expect_nothing()
