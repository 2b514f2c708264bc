"""The administration interface as it is promised, in memory: what `ringtalkctl` may rely on.

Kept as small as the promise; storage, tokens and rules are the real server's business.
"""

import http.server
import json
import re
import threading
import time
import urllib.parse

TOKEN = "0123456789abcdef" * 4
SHARDS = 2


class State:
    def __init__(self):
        self.lock = threading.Lock()
        self.users, self.departments, self.sessions = {}, {}, []
        self.groups = {}  # by id, with a set "in" of who is in it
        self.groups_made, self.messages = 0, []
        self.answers = []  # (status, body) to give instead of the right answer
        self.asked = []    # (method, path, body)
        self.ready, self.sends = True, 0
        self.reload = (200, {"changed": [], "restart_needed": []})

    def add_user(self, fields):
        user = {"id": len(self.users) + 1, "name": fields["name"], "nick": fields.get("nick", fields["name"]),
                "department": fields.get("department", 0), "status": 0, "sex": 0, "domain": "", "phone": "",
                "email": "", "avatar": "", "signature": "", "created": int(time.time()), "stamp": 1}
        self.users[user["id"]] = user
        return user

    def taken(self, name):
        return any(user["name"] == name and user["status"] != 3 for user in self.users.values())


class Failure(Exception):
    def __init__(self, status, error):
        super().__init__(error)
        self.status, self.error = status, error


def users(state, method, _, query, body):
    if method == "POST":
        if state.taken(body["name"]):
            raise Failure(409, "name is taken")
        if " " in body["name"]:
            raise Failure(400, "name: 1 to 32 printable characters without blanks")
        user = state.add_user(body)
        return 201, {"id": user["id"], "name": user["name"]}
    if "name" in query:
        same = [u for u in state.users.values() if u["name"] == query["name"]]
        return 200, {"users": ([u for u in same if u["status"] != 3] or same)[:1]}
    rest = [u for u in state.users.values() if u["id"] > int(query["after"])]
    page = rest[:int(query["limit"])]
    return 200, {"users": page, "next": page[-1]["id"] if len(rest) > len(page) else 0}


def bulk(state, _method, _match, _query, body):
    for i, entry in enumerate(body["users"]):
        if entry.get("nick") == "refused":
            raise Failure(400, f"users[{i}]: nick: refused by the server")
    if any(state.taken(entry["name"]) for entry in body["users"]):
        raise Failure(409, "name is taken")
    return 201, {"users": [{"id": u["id"], "name": u["name"]} for u in map(state.add_user, body["users"])]}


def one_user(state, method, match, _, body):
    user = state.users.get(int(match.group(1)))
    if not user:
        raise Failure(404, "not found")
    if method == "PATCH":
        if "disabled" in body:
            if not body["disabled"] and user["status"] == 3 and state.taken(user["name"]):
                raise Failure(409, "name is taken")
            user["status"] = 3 if body["disabled"] else 0
        user |= {k: v for k, v in body.items() if k in user}
    return 200, user


def token(state, _method, match, _query, _body):
    if int(match.group(1)) not in state.users:
        raise Failure(404, "not found")
    return 201, {"token": f"token-of-{match.group(1)}"}


def departments(state, method, _, _query, body):
    if method == "GET":
        return 200, {"departments": list(state.departments.values())}
    entry = {"id": len(state.departments) + 1, "name": body["name"], "parent": body.get("parent", 0),
             "priority": body.get("priority", 0), "status": 0}
    state.departments[entry["id"]] = entry
    return 201, entry


def one_department(state, method, match, _, body):
    entry = state.departments.get(int(match.group(1)))
    if not entry or entry["status"]:
        raise Failure(404, "not found")
    if method == "DELETE":
        if any(u["department"] == entry["id"] and u["status"] != 3 for u in state.users.values()):
            raise Failure(409, "department is not empty")
        entry["status"] = 1
        return 200, entry
    entry |= body
    return 200, entry


def shown(group):
    return {k: v for k, v in group.items() if k != "in"} | {"member_count": len(group["in"])}


def page_of(rows, key, query):
    rest = [row for row in rows if row[key] > int(query["after"])]
    page = rest[:int(query["limit"])]
    return page, page[-1][key] if len(rest) > len(page) else 0


def groups(state, method, _, query, body):
    if method == "GET":
        page, next_id = page_of([shown(g) for g in state.groups.values()], "id", query)
        return 200, {"groups": page, "next": next_id}
    if not body["name"]:
        raise Failure(400, "name: 1 to 256 printable characters")
    creator = body.get("creator", 0)
    state.groups_made += 1
    group = {"id": state.groups_made, "name": body["name"], "avatar": body.get("avatar", ""),
             "type": body.get("type", "normal"), "creator": creator, "version": 1,
             "created": int(time.time()), "in": set(body.get("members", [])) | ({creator} if creator else set())}
    state.groups[group["id"]] = group
    return 201, shown(group)


def group_of(state, match):
    group = state.groups.get(int(match.group(1)))
    if not group:
        raise Failure(404, "not found")
    return group


def one_group(state, method, match, _, body):
    group = group_of(state, match)
    if method == "DELETE":
        del state.groups[group["id"]]
        return 200, {}
    group |= body or {}
    return 200, shown(group)


def members(state, method, match, query, body):
    group = group_of(state, match)
    if method == "GET":
        rows = [{"user": user, "first_message": 1, "muted": False} for user in sorted(group["in"])]
        page, next_id = page_of(rows, "user", query)
        return 200, {"members": page, "next": next_id}
    old = set(group["in"])
    if any(state.users[user]["status"] == 3 for user in body.get("add", [])):
        raise Failure(400, "add: each a user who has not left")
    group["in"] = (old | set(body.get("add", []))) - set(body.get("remove", []))
    group["version"] += 1
    return 200, {"version": group["version"], "changed": sorted(old ^ group["in"])}


def everybody(state, _method, match, _query, _body):
    group = group_of(state, match)
    fresh = {user["id"] for user in state.users.values() if user["status"] != 3} - group["in"]
    group["in"] |= fresh
    group["version"] += 1
    return 200, {"version": group["version"], "added": len(fresh)}


def messages(state, _method, _match, _query, body):
    if body.get("user") == body["from"]:
        raise Failure(400, "user: is the sender")
    if "group" in body and body["from"] not in state.groups[body["group"]]["in"]:
        raise Failure(404, "no such user or group, or the sender is not in it")
    state.messages.append(body)
    to = {k: v for k, v in body.items() if k in ("user", "group")}
    same = [m for m in state.messages if to.items() <= m.items()]
    return 201, {"msg_id": len(same), "time": int(time.time())}


def sessions(state, _method, _match, query, _body):
    if "user" in query:
        return 200, {"sessions": [s for s in state.sessions if s["user"] == int(query["user"])], "next": 0}
    after, limit = int(query["after"]), int(query["limit"])
    page = state.sessions[after:after + limit]
    return 200, {"sessions": page, "next": after + limit if len(state.sessions) > after + limit else 0}


def kick(state, _method, _match, _query, body):
    def hit(session):
        mobile = session["device"] in ("ios", "android")
        return session["user"] == body["user"] and body["device"] in ("all", "mobile" if mobile else "pc")
    out = [s for s in state.sessions if hit(s)]
    state.sessions = [s for s in state.sessions if not hit(s)]
    return 200, {"kicked": len(out)}


def status(state, *_):
    return 200, {"version": "0.1.0", "pid": 1, "started": int(time.time()) - 100, "uptime_s": 100,
                 "ready": state.ready, "reason": "" if state.ready else "draining",
                 "shards": [{"shard": i, "connections": 3, "sessions": 2, "users": 2, "loop_lag_ms": 0,
                             "queued_bytes": 2048, "messages": state.sends, "store": {"waiting": 0, "commits": 9}}
                            for i in range(SHARDS)],
                 "memory": {"rss": 50 << 20}, "limits": {}, "disk": {"free": 5 << 30, "total": 9 << 30}}


def reload(state, *_):
    code, body = state.reload
    if code != 200:
        raise Failure(code, body["error"])
    return code, body


ROUTES = [(re.compile(pattern + "$"), methods, handler) for pattern, methods, handler in (
    ("/api/v1/users", ("GET", "POST"), users), ("/api/v1/users:bulk", ("POST",), bulk),
    (r"/api/v1/users/(\d+)", ("GET", "PATCH"), one_user), (r"/api/v1/users/(\d+)/token", ("POST",), token),
    ("/api/v1/departments", ("GET", "POST"), departments),
    (r"/api/v1/departments/(\d+)", ("PATCH", "DELETE"), one_department),
    ("/api/v1/groups", ("GET", "POST"), groups),
    (r"/api/v1/groups/(\d+)", ("GET", "PATCH", "DELETE"), one_group),
    (r"/api/v1/groups/(\d+)/members", ("GET", "POST"), members),
    (r"/api/v1/groups/(\d+)/members:everybody", ("POST",), everybody),
    ("/api/v1/messages", ("POST",), messages),
    ("/api/v1/sessions", ("GET",), sessions), ("/api/v1/sessions:kick", ("POST",), kick),
    ("/api/v1/status", ("GET",), status), ("/api/v1/reload", ("POST",), reload))]


def metrics(state):
    state.sends += 50
    lines = []
    for shard in range(SHARDS):
        label = f'shard="{shard}"'
        lines += [f"ringtalk_sends_acknowledged_total{{{label}}} {state.sends}",
                  f"ringtalk_connections{{{label}}} 3", f"ringtalk_deliveries_total{{{label}}} {state.sends * 2}",
                  f"ringtalk_loop_busy_seconds_total{{{label}}} 0.5"]
        for name in ("loop_turn_seconds", "commit_seconds"):
            lines += [f'ringtalk_{name}_bucket{{{label},le="0.001"}} {state.sends}',
                      f'ringtalk_{name}_bucket{{{label},le="+Inf"}} {state.sends}']
    return "\n".join(lines) + "\n"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, code, body):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_one(self):
        state = self.server.state
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(body) if body else None
        path, _, query = self.path.partition("?")
        with state.lock:
            state.asked.append((self.command, self.path, body))
            if state.answers:
                return self.answer(*state.answers.pop(0))
            if path == "/metrics":
                return self.answer(200, metrics(state))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.answer(401, {"error": "unauthorized"})
            for pattern, methods, handler in ROUTES:
                match = pattern.match(path)
                if not match:
                    continue
                if self.command not in methods:
                    return self.answer(405, {"error": "method not allowed"})
                try:
                    return self.answer(*handler(state, self.command, match,
                                                dict(urllib.parse.parse_qsl(query)), body))
                except Failure as failure:
                    return self.answer(failure.status, {"error": failure.error})
            return self.answer(404, {"error": "not found"})

    do_GET = do_POST = do_PATCH = do_DELETE = handle_one

    def log_message(self, *_):
        pass


class FakeApi:
    def __init__(self):
        self.state = State()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.state = self.state
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
