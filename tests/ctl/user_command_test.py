"""`ringtalkctl user add` and `list`: foreign and broken answers, against a scripted HTTP server.

Usage: user_command_test.py --ringtalkctl PATH
"""

import argparse
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading

TOKEN = "0123456789abcdef" * 4
USERS = [{"id": i, "name": f"user{i}", "nick": f"Nick {i}", "department": i % 3, "status": 0}
         for i in range(1, 1201)]
USERS[1] |= {"name": "李雷", "nick": "\x1b[31mred\nline"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answers = []  # (status, text) to give instead of the right answer
    asked = []

    def answer(self, status, body):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_one(self, body):
        self.asked.append((self.command, self.path, body))
        if self.answers:
            return self.answer(*self.answers.pop(0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "unauthorized"})
        if self.command == "POST":
            return self.answer(201, {"id": 7, "name": body["name"]})
        query = dict(part.split("=") for part in self.path.split("?")[1].split("&"))
        rest = [user for user in USERS if user["id"] > int(query["after"])]
        page = rest[:int(query["limit"])]
        return self.answer(200, {"users": page, "next": page[-1]["id"] if len(rest) > len(page) else 0})

    def do_GET(self):
        self.handle_one(None)

    def do_POST(self):
        self.handle_one(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ringtalkctl", required=True)
    ctl = os.path.abspath(parser.parse_args().ringtalkctl)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    env = {k: v for k, v in os.environ.items() if not k.startswith("RINGTALK_")}

    def run(*args, code=0, stdin="", more_env=None, flags=True):
        base = [ctl] + (["--http", address, "--data-dir", folder] if flags else [])
        done = subprocess.run([*base, *args], input=stdin, capture_output=True, text=True, timeout=20,
                              env=env | (more_env or {}), check=False)
        assert done.returncode == code, f"{args}: exit {done.returncode}: {done.stdout}{done.stderr}"
        assert "\x1b" not in done.stdout + done.stderr, "an escape sequence got through"
        return done.stdout + done.stderr

    with tempfile.TemporaryDirectory(prefix="ringtalk-ctl-") as folder:
        assert "admin.token" in run("user", "list", code=1)  # there is none yet
        with open(os.path.join(folder, "admin.token"), "w", encoding="ascii") as token:
            token.write(TOKEN + "\n")

        assert run("user", "add", "alice", "--password", "p w", "--nick", "Alice",
                   "--department", "3") == "alice has id 7\n"
        assert Handler.asked[-1] == ("POST", "/api/v1/users", {
            "name": "alice", "password": "p w", "nick": "Alice", "department": 3}), Handler.asked[-1]
        run("user", "add", "bob", "--password", "-", stdin="from standard input\r\n")
        assert Handler.asked[-1][2] == {"name": "bob", "password": "from standard input", "department": 0}
        run("user", "add", "bob", "--password", "-", code=2)
        run("user", "add", "bob", code=2)
        Handler.answers.append((200, {"departments": [{"id": 4, "name": "-1", "status": 1}]}))
        assert "no department" in run("user", "add", "bob", "--password", "x", "--department", "-1", code=1)
        assert json.loads(run("user", "add", "carol", "--password", "x", "--json")) == {"id": 7, "name": "carol"}

        table = run("user", "list").splitlines()
        assert len(table) == 1201 and table[0].split()[0] == "ID", len(table)
        assert "\\x1b[31mred\\nline" in table[2] and "李雷" in table[2], table[2]
        assert [path for _, path, _ in Handler.asked[-3:]] == [
            f"/api/v1/users?after={after}&limit=500" for after in (0, 500, 1000)]
        assert json.loads(run("--json", "user", "list"))["users"] == USERS

        # Environment under flag.
        there = {"RINGTALK_HTTP": address, "RINGTALK_DATA_DIR": folder}
        assert len(run("user", "list", flags=False, more_env=there).splitlines()) == 1201
        run("user", "list", more_env={"RINGTALK_HTTP": "127.0.0.1:1", "RINGTALK_DATA_DIR": "/nonexistent"})

        for status, body, wanted in [
                (409, {"error": "name taken"}, "name taken"), (400, {"error": "\x1b[2J"}, "\\x1b[2J"),
                (500, "no json", "HTTP status 500"), (201, "[]", "does not answer like"),
                (201, {"id": "7", "name": 3}, "does not answer like"), (401, {"error": 1}, "HTTP status 401")]:
            Handler.answers.append((status, body))
            assert wanted in run("user", "add", "x", "--password", "x", code=1)
        for body in ("", "[]", {"users": 1, "next": 0}, {"users": [], "next": -1}, {"users": [1], "next": 0},
                     {"users": [], "next": 1 << 40}, {"users": [{"id": -1, "name": "x"}], "next": 0}):
            Handler.answers.append((200, body))
            run("user", "list", code=1)
        Handler.answers += [(200, {"users": USERS[:1], "next": 5}), (200, {"users": USERS[1:2], "next": 5})]
        assert "does not answer like" in run("user", "list", code=1)  # pages that lead nowhere

        with open(os.path.join(folder, "admin.token"), "w", encoding="ascii") as token:
            token.write("wrong\n")
        assert "unauthorized" in run("user", "list", code=1)
        with open(os.path.join(folder, "admin.token"), "wb") as token:
            token.write(b"two\r\nheaders: \x00\n")
        assert "holds no token" in run("user", "list", code=1)
        server.shutdown()
        server.server_close()
        with open(os.path.join(folder, "admin.token"), "w", encoding="ascii") as token:
            token.write(TOKEN + "\n")
        assert "cannot reach" in run("user", "list", code=1)
    print("ok    user_command")
    return 0


if __name__ == "__main__":
    sys.exit(main())
