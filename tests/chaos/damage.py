"""Bit flips and truncations of a closed store: found, named, never served.

The store is copied, damaged in one place, and looked at three ways: `ringtalkctl store verify`, `store dump`,
and a server that is started on it and read by everybody. What any of them shows must be what was written; if
something is missing, somebody must have said so: verify, the server's log, or its refusal to start. Damage
without consequence (in bytes that nothing uses, in an index that is made anew) needs no name.
"""

import json
import os
import shutil
import subprocess
import time

import groups
import server as servers
import wire
from client import Failure, log_in, require
from disks import fast_folder
from history import group_key, make_body, pair_key, read_body

PAGE = 100
SHARDS = 2
USERS, STARTS, EACH = 4, 6, 12
CONFIG = {"limits": {"sends_per_second": 0, "requests_per_second": 0}, "store": {"segment_bytes": 1 << 20}}


def read_dump(ctl, directory):
    """[(conversation, id, author, body)] of a closed store, and how many places it could not read."""
    found, damaged = [], 0
    with subprocess.Popen([ctl, "store", "dump", directory, "--json"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            record = json.loads(line)
            damaged += record["kind"] in ("damaged", "torn")
            if record["kind"] != "message":
                continue
            number = int(record["conversation"], 16)
            key = pair_key(number >> 32, number & 0xFFFFFFFF) if number >> 32 else group_key(number)
            found.append((key, record["msg_id"], record["author"], record["body"].encode()))
    require(process.returncode in (0, 1), f"store dump ended with {process.returncode}")
    return found, damaged


def dump(ctl, directory):
    """{(conversation, id): (author, body)} and the number of places."""
    found, damaged = read_dump(ctl, directory)
    return {(key, id): (author, body) for key, id, author, body in found}, damaged


def build(args, name, rng):
    """A store with sealed segments, a snapshot and, if it was killed, segments that are not sealed."""
    folder = fast_folder("ringtalk-chaos-store-")
    with servers.Server(args.ringtalkd, SHARDS, CONFIG, {}, False, f"chaos-{name}", start=False) as server:
        server.data_dir = os.path.join(folder, "data")
        server.start()
        users = server.make_users(USERS)
        with log_in(server, users[0]) as client:
            group = groups.create_group(client, users)
        op = 0
        for turn in range(STARTS):
            if turn:
                server.restart(kill=turn % 2 == 0)
            for user in users:
                with log_in(server, user) as client:
                    for _ in range(EACH):
                        peer = rng.choice([one for one in users if one is not user])
                        op += 1
                        body = make_body(user.id, op, pair_key(user.id, peer.id), rng.choice((0, 100, 2000)))
                        client.say(peer.id, body)
                        op += 1
                        groups.say(client, group, make_body(user.id, op, group_key(group)))
                        client.read(peer.id, 0)
        people = look_at_people(server, group)
        server.kill9() if name == "killed" else server.term()
        server.stopped = True
    return Store(args, name, folder, users, group, people)


def look_at_people(server, group):
    """What SQLite holds, as an operator sees it."""
    return server.list_users(), groups.admin_members(server, group)


def complaints(server):
    """Lines of its log that are not mere information."""
    return [line for line in server.log_tail(500).splitlines() if not line.startswith("----")
            and '"level":"info"' not in line]


class Store:
    """A closed data directory and what is in it."""

    def __init__(self, args, name, folder, users, group, people):
        self.args, self.name, self.folder, self.users = args, name, folder, users
        self.group, self.people = group, people
        self.ctl = os.path.join(args.build_dir, "ringtalkctl")
        self.directory = os.path.join(folder, "data")
        self.messages, damaged = dump(self.ctl, self.directory)
        require(not damaged, f"{name}: {damaged} damaged places before any damage")
        for key, (_author, body) in self.messages.items():
            require(read_body(body, key[0])[0], f"{name}: {key} is not what was written")
        self.newest = {}
        for key, id in self.messages:
            self.newest[key] = max(self.newest.get(key, 0), id)
        self.files = [os.path.join(place, file)
                      for place, _, files in os.walk(self.directory) for file in files
                      if file not in ("LOCK", "secret.key", "admin.token") and not file.endswith("-shm")]
        self.files = [file for file in self.files if os.path.getsize(file)]

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def pick(self, rng):
        """A file, and a place in it: half of the time where something is known to be."""
        file = rng.choice(self.files)
        size = os.path.getsize(file)
        if rng.random() < 0.5:
            return file, rng.randrange(size)
        with open(file, "rb") as data:
            data = data.read()
        used = len(data.rstrip(b"\0"))
        return file, rng.randrange(max(1, used))

    def trial(self, rng):
        """One damage. Returns what became of it: harmless, named, refused; raises for a silent one."""
        copy = os.path.join(fast_folder("ringtalk-chaos-damage-"), "data")
        shutil.copytree(self.directory, copy)
        try:
            file, at = self.pick(rng)
            file = os.path.join(copy, os.path.relpath(file, self.directory))
            if rng.random() < 0.8:
                bit = rng.randrange(8)
                flip(file, at, bit)
                what = f"{self.name}: bit {bit} of byte {at} of {os.path.relpath(file, copy)} flipped"
            else:
                size = os.path.getsize(file)
                what = f"{self.name}: {os.path.relpath(file, copy)} of {size} bytes cut to {at}"
                os.truncate(file, at)
            try:
                return self.look(copy)
            except Failure as failure:
                raise Failure(f"{what}: {failure}") from None
        finally:
            shutil.rmtree(os.path.dirname(copy), ignore_errors=True)

    def look(self, copy):
        done = subprocess.run([self.ctl, "store", "verify", copy], capture_output=True, text=True)
        require(done.returncode in (0, 1), f"verify ended with {done.returncode}: {done.stderr[-200:]}")
        said = done.stdout + done.stderr
        self.compare(dump(self.ctl, copy)[0], done.returncode != 0 or "torn tail" in said, "dump")
        server = servers.Server(self.args.ringtalkd, SHARDS, CONFIG, {}, False, "chaos-damaged", start=False)
        server.data_dir = copy
        try:
            return self.serve(server, done.returncode != 0 or "torn tail" in said)
        finally:
            if server.running():
                server.kill9()
            server.stopped = True
            server.close()

    def serve(self, server, named):
        server.launch()
        if not server.wait_ready():
            require(server.process.returncode in (1, 2), f"start ended with {server.exit_text()}")
            require(complaints(server), "refused to start without a word")
            return "refused"
        try:
            served = self.read_all(server)
            require(look_at_people(server, self.group) == self.people, "users or members are others")
        except Failure:
            # Somebody cannot log in, or an answer is missing: right if the server says that it has a problem.
            if not server.running() or not complaints(server):
                raise
            return "named"
        require(server.running(), f"the server died: {server.exit_text()}")
        named = named or bool(complaints(server))
        self.compare(served, named, "read")
        server.term()
        return "named" if named else "harmless"

    def compare(self, found, named, how):
        for key, message in found.items():
            require(self.messages.get(key) == message,
                    f"{how} shows {key} as {message[0]}, {message[1][:60]!r}")
        missing = [key for key in self.messages if key not in found]
        require(not missing or named,
                f"{how} misses {len(missing)} messages, {missing[:3]}, and nobody said so")

    def read_all(self, server):
        found = {}
        for user in self.users:
            with log_in(server, user) as client:
                client.send(wire.HELLO_REQ, user_id=user.id, ext_version=1, features=0)
                client.expect(wire.HELLO_RES)
                for key in self.newest:
                    group = key.startswith("g")
                    if not group and str(user.id) not in key.split("-"):
                        continue
                    self.read_place(client, user, key, found)
        return found

    def read_place(self, client, user, key, found):
        """All pages; where one is empty the message asked for is damaged, and reading goes on below it."""
        group = key.startswith("g")
        peer = int(key[1:]) if group else sum(int(one) for one in key.split("-")) - user.id
        begin = self.newest[key]
        while begin > 0:
            page = read_page(client, peer, begin, wire.GROUP if group else wire.SINGLE)
            for message in page:
                found[key, message["msg_id"]] = (message["from_session_id"], message["msg_data"])
            begin = (page[-1]["msg_id"] if page else begin) - 1


def read_page(client, peer, begin, kind):
    seq = client.send(wire.LIST_REQ, user_id=client.user_id, session_type=kind, session_id=peer,
                      msg_id_begin=begin, msg_cnt=PAGE)
    deadline = time.monotonic() + 30
    while True:
        got = client.next_frame(deadline)
        require(got is not None, "a page is not answered")
        if got.command == wire.LIST_RES and got.seq == seq:
            return got["msg_list"]
        require(got.command != wire.EXT_ERROR, f"a page is refused: {got!r}")


def flip(path, at, bit):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
