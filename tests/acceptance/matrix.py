"""Rows MATRIX-*: who may do what to what, every command, as a table (reliability.md 4.6).

A cell is (command, role, object). The table holds for each command and role one letter per object:

    +  done                                        C  closed at once, nothing said
    0  the normal answer, empty                    R  silence; after hello 0x2003
    1  the answer with result 1, else empty        -  silence, without effect
    =  the answer that one's own id gets           ~  silence, only one's own state may change
    ?  not said: + or 1                            l  of later rows: silence, or an answer about oneself

Whatever is not + or ~ must leave a dump of the state unchanged (groups and members as an operator sees
them, histories, lists and counters of others). All refusals of one command must be equal byte for byte but
for the echoed ids and numbers, whatever the reason and whoever asks: that it exists is told to nobody.
A command that a client may send and that is in no table is an error at start.
"""

import http.client
import time

import groups
import wire
from checks import UNKNOWN_USER
from client import Client, Closed, Failure, fresh_source, log_in, require, require_equal
from placing import shard_of
from registry import row

# Roles: before login; logged in, of no group; member and participant; creator; removed member; kicked.
U, N, M, O, F, X = "UNMOFX"
OBJECTS = ("right", "foreign", "absent", "deleted", "zero", "max")
FREE = {"limits": {"sends_per_second": 0, "requests_per_second": 0}}
CLOSE_S = 6.0
ANSWER_S = 6.0      # so that many wrong cells do not take for ever
FAILURES_MAX = 8
KICKED_FOR_S = 2.5  # a kicked connection is served for 5 s

ECHOES = {  # tags of an answer that hold the asker or what he named
    wire.LIST_RES: {1, 3, 4}, wire.LATEST_ID_RES: {1, 3}, wire.BY_ID_RES: {1, 3},
    wire.REMOVE_SESSION_RES: {1, 4}, wire.CHANGE_MEMBERS_RES: {1, 4}, wire.SHIELD_RES: {1, 2},
    wire.CREATE_GROUP_RES: {1}, wire.GROUP_INFO_RES: {1}, wire.EXT_ERROR: {1, 4},
}


def blanked(got):
    """Header and body without length, number, and the values of echoed tags: all other bytes as they came."""
    out, at = bytearray(got.raw[4:12] + got.raw[14:16]), 0
    while at < len(got.body):
        start = at
        key, at = wire.read_varint(got.body, at)
        if key & 7 == 2:
            size, at = wire.read_varint(got.body, at)
            at += size
            out += got.body[start:at]
        else:
            _value, at = wire.read_varint(got.body, at)
            out += wire.varint(key) if key >> 3 in ECHOES.get(got.command, ()) else got.body[start:at]
    return bytes(out)


class Command:
    """fields(world, role, id) -> the body; done(world, role, answer, id) checks and undoes a +.

    told(role, object): the refusal has a reason that this role may know; it is compared apart.
    """

    def __init__(self, name, command, cells, fields, done=None, ready=None, told=None):
        self.name, self.command, self.fields, self.done, self.ready = name, command, fields, done, ready
        self.told = told or (lambda _role, _object: False)
        self.cells = dict.fromkeys(U, "CCCCCC") | dict.fromkeys(X, "------") | cells
        for role, letters in self.cells.items():
            assert len(letters) == len(OBJECTS), f"{name}, role {role}: {letters}"


def cells(**of_role):
    return of_role


def everybody(letters):
    return dict.fromkeys((N, M, O, F), letters)


# ---- the world -----------------------------------------------------------------------------------

class World:
    """Users in their roles, spread over the shards, what they may reach, and witnesses of what changes."""

    def __init__(self, server, with_groups):
        self.server, self.with_groups = server, with_groups
        made = server.make_users(24)
        if server.shards > 1:  # neighbours in the list on different shards
            homes = {}
            for user in made:
                homes.setdefault(shard_of(server, user), []).append(user)
            made = [homes[shard].pop() for _ in range(24) for shard in sorted(homes) if homes[shard]]
        (self.n, self.m, self.o, self.f, self.x, self.keeper, self.p, self.q, self.extra,
         self.gone_user) = made[:10]
        self.user_of = {N: self.n, M: self.m, O: self.o, F: self.f}
        self.clients, self.said = {}, {}
        self.http = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
        self.head = {"Authorization": "Bearer " + server.admin_token()}
        self.victims()
        if with_groups:
            self.make_groups()
        groups.api(server, "PATCH", f"users/{self.gone_user.id}", {"disabled": True})
        self.witness_p = log_in(server, self.p)
        self.witness_k = log_in(server, self.keeper)
        self.live = log_in(server, self.x, wire.IOS)
        self.kicked, self.kicked_at = None, 0.0

    def victims(self):
        """Conversations: P and Q, which is nobody's business; M and O; X and O."""
        for one, other in ((self.p, self.q), (self.m, self.o), (self.x, self.o)):
            with log_in(self.server, one, wire.IOS) as a, log_in(self.server, other, wire.IOS) as b:
                for n in range(3):
                    a.say(other.id, b"to %d: %d" % (other.id, n))
                    b.say(one.id, b"to %d: %d" % (one.id, n))

    def make_groups(self):
        server, inside = self.server, [self.o, self.m, self.f, self.x, self.keeper]
        self.group = groups.admin_create(server, inside, self.o)
        self.normal = groups.admin_create(server, inside, self.o, wire.NORMAL)
        self.foreign = groups.admin_create(server, [self.p, self.q], self.p)
        self.gone = groups.admin_create(server, [*inside, self.n], self.o)
        for group, author in ((self.group, self.o), (self.normal, self.o), (self.foreign, self.p),
                              (self.gone, self.o)):
            with log_in(server, author, wire.IOS) as client:
                groups.say_many(client, group, [b"text %d" % n for n in range(4)])
        for group in (self.group, self.normal):
            groups.admin_change(server, group, remove=[self.f])
        groups.admin_dismiss(server, self.gone)
        self.ids = {"right": self.group, "foreign": self.foreign, "absent": UNKNOWN_USER,
                    "deleted": self.gone, "zero": 0, "max": 0xFFFFFFFF}

    def close(self):
        for client in (*self.clients.values(), *self.said.values(), self.witness_p, self.witness_k, self.live,
                       self.kicked):
            if client is not None:
                client.close()
        self.http.close()

    # ---- connections of the roles ----

    def client(self, role):
        if role not in self.clients or self.clients[role].eof:
            self.clients[role] = log_in(self.server, self.user_of[role], wire.ANDROID)
        return self.clients[role]

    def with_hello(self, role):
        """Another connection of his that understands 0x2003."""
        if role not in self.said or self.said[role].eof:
            self.said[role] = log_in(self.server, self.user_of[role], wire.WINDOWS)
            self.said[role].ask(wire.HELLO_REQ, ext_version=1, features=0)
        return self.said[role]

    def kicked_client(self):
        if self.kicked is None or time.monotonic() - self.kicked_at > KICKED_FOR_S:
            if self.kicked is not None:
                self.kicked.close()
            self.kicked, self.live = self.live, log_in(self.server, self.x, wire.IOS)
            self.kicked.expect(wire.KICK_USER)
            self.kicked.pending.clear()
            self.kicked_at = time.monotonic()
        return self.kicked

    # ---- looking ----

    def get(self, path):
        self.http.request("GET", "/api/v1/" + path, headers=self.head)
        answer = self.http.getresponse()
        return answer.status, answer.read()

    def dump(self):
        """What nobody's refused request may change."""
        p, k, out = self.witness_p, self.witness_k, []
        out += [p.sessions_all(), p.unread_all(), p.list(self.q.id), k.sessions_all(), k.unread_all()]
        if self.with_groups:
            for group in (self.group, self.normal, self.foreign):
                out += [self.get(f"groups/{group}"), self.get(f"groups/{group}/members?after=0&limit=1000")]
            out += [self.get(f"groups/{self.gone}"), p.list(self.foreign, 0, 5, wire.GROUP),
                    k.list(self.group, 0, 5, wire.GROUP), k.list(self.normal, 0, 5, wire.GROUP)]
        return out

    def quiet_witnesses(self):
        for client in (self.witness_p, self.witness_k):
            client.heartbeat()
            came = [got for got in client.pending if got.command != wire.SIGNATURE_NOTIFY]
            client.pending.clear()
            require(not came, f"a witness got {came[:3]}")

    def hears(self, command, where=None):
        """The keeper's delivery of what was done: afterwards nothing of it is under way to him."""
        return self.witness_k.expect(command, where=where)

    def speak(self):
        """A message to the group, so that whoever was added again has something to see."""
        groups.say(self.witness_k, self.group, b"spoken %d" % time.monotonic_ns())

    def newest(self):
        return self.witness_k.latest_id(self.group, wire.GROUP)

    def has_extra(self, wanted, group=None):
        members = groups.admin_members(self.server, group or self.group)
        if wanted != (self.extra.id in members):
            change = {"add" if wanted else "remove": [self.extra]}
            groups.admin_change(self.server, group or self.group, **change)
            self.hears(wire.MEMBERS_NOTIFY)


# ---- judging a cell ------------------------------------------------------------------------------

class Judge:
    def __init__(self, world):
        self.world = world
        self.count, self.failures, self.refusals, self.own = 0, [], {}, {}
        self.before = world.dump()

    def run(self, commands, ids_of):
        """ids_of(world, role): the id for each object."""
        for command in commands:
            if command.ready:
                command.ready(self.world)
                self.before = self.world.dump()
            todo = [(role, name, letter) for role, letters in command.cells.items()
                    for name, letter in zip(OBJECTS, letters)]
            for role, name, letter in sorted(todo, key=lambda cell: cell[2] in "+?~l"):
                try:
                    self.cell(command, role, letter, ids_of(self.world, role)[name], command.told(role, name))
                except (Failure, wire.WireError, OSError) as failure:
                    where = f"{command.name}, role {role}, {name} object: wanted {letter}"
                    self.failures.append(f"{where}: {failure}")
                    require(len(self.failures) < FAILURES_MAX, self.told())
                    self.recover()
                self.count += 1
        return self.count

    def told(self):
        return "\n      ".join([f"{len(self.failures)} of the first {self.count + 1} cells:", *self.failures])

    def recover(self):
        world = self.world
        for client in (*world.clients.values(), *world.said.values()):
            client.close()
        world.clients, world.said = {}, {}
        for client in (world.witness_p, world.witness_k):
            client.pending.clear()
        self.before = world.dump()

    def cell(self, command, role, letter, id, told):
        world = self.world
        if role == U:
            return self.stranger(command, letter, id)
        client = world.kicked_client() if role == X else world.client(role)
        self.ask(client, command, role, letter, id, told)
        if letter == "R":
            self.ask(world.with_hello(role), command, role, "r", id, told)
        if letter in "+?~l":
            self.before = world.dump()
        else:
            world.quiet_witnesses()
            require_equal(world.dump(), self.before, "state")
        return None

    def stranger(self, command, letter, id):
        with Client(self.world.server.address, fresh_source()) as client:
            client.send(command.command, **command.fields(self.world, U, id))
            if letter == "C":
                client.expect_closed(CLOSE_S)
            else:
                command.done(self.world, U, client.expect(wire.ANSWER_OF[command.command]), id)

    def ask(self, client, command, role, letter, id, told):
        client.heartbeat()
        client.pending.clear()  # pushes of what others may do
        seq = client.send(command.command, **command.fields(self.world, role, id))
        if letter in "-~Rl" or (letter == "+" and command.command not in wire.ANSWER_OF):
            client.heartbeat()
            answers = [got for got in client.pending if got.command not in wire.PUSHES]
            if letter == "l":
                require(all(got.seq == seq and got["user_id"] == client.user_id for got in answers),
                        f"answers {answers}")
                return
            require(not answers, f"answered by {answers[:2]}")
            if letter == "+":
                command.done(self.world, role, None, id)
            return
        expected = wire.EXT_ERROR if letter == "r" else wire.ANSWER_OF[command.command]
        got = client.expect(expected, ANSWER_S, seq)
        if letter == "=":
            self.equal(self.own, (command.name, role), got.body, "another answer than with one's own id")
        elif letter in "0r" or (letter == "1" or letter == "?" and got["result_code"] == 1):
            require(letter != "1" or got["result_code"] == 1, f"{got!r}")
            self.empty(got)
            # A refused send may say what is wrong with it; an answer says the same to all commands.
            key = (command.name if letter == "r" else got.command, got.fields.get("change_type"), told)
            self.equal(self.refusals, key, blanked(got), "a refusal that differs from others")
        else:
            require_equal(got.fields.get("result_code", 0), 0, f"result_code of {got!r}")
            if command.done:
                command.done(self.world, role, got, id)

    @staticmethod
    def equal(known, key, value, what):
        first = known.setdefault(key, value)
        require(first == value, f"{what}: {value.hex()}, not {first.hex()}")

    @staticmethod
    def empty(got):
        full = [name for name, value in got.fields.items() if isinstance(value, list) and value]
        made = got.command == wire.CREATE_GROUP_RES and "group_id" in got.fields
        latest = got.fields.get("latest_msg_id")
        require(not full and not latest and not made, f"a refusal that tells: {got!r}")


def run_tables(ctx, commands, ids_of, with_groups, label):
    with ctx.server(FREE, label=label) as server:
        world = World(server, with_groups)
        try:
            judge = Judge(world)
            began = time.monotonic()
            judge.run(commands, ids_of)
            require(not judge.failures, judge.told())
            return f"{judge.count} cells, {len(commands)} commands, {time.monotonic() - began:.1f}s"
        finally:
            world.close()


# ---- one's own: the id is a claimed user_id ------------------------------------------------------

def claims(**fields):
    return lambda world, role, id: {"user_id": id} | {
        name: value(world, role) if callable(value) else value for name, value in fields.items()}


def own_ids(world, role):
    own = world.user_of[role].id if role in world.user_of else world.x.id
    return {"right": own, "foreign": world.p.id, "absent": UNKNOWN_USER, "deleted": world.gone_user.id,
            "zero": 0, "max": 0xFFFFFFFF}


def self_id(world, role):
    return [world.user_of[role].id if role in world.user_of else world.x.id]


SELF = [Command(name, command, everybody("======"), claims(**fields)) for name, command, fields in (
    ("sessions", wire.SESSIONS_REQ, {"latest_update_time": 0}),
    ("unread", wire.UNREAD_REQ, {}),
    ("all users", wire.ALL_USERS_REQ, {"latest_update_time": 0}),
    ("departments", wire.DEPARTMENTS_REQ, {"latest_update_time": 0}),
    ("normal groups", wire.NORMAL_GROUPS_REQ, {}),
    ("offline files", wire.OFFLINE_FILES_REQ, {}),
    ("profiles", wire.USERS_INFO_REQ, {"user_id_list": self_id}),
    ("states", wire.USERS_STATUS_REQ, {"user_id_list": self_id}),
    ("kick PC, from a phone", wire.KICK_PC_REQ, {}),
)]
SELF += [Command(name, command, everybody("llllll"), claims(**fields)) for name, command, fields in (
    ("device token", wire.DEVICE_TOKEN_REQ, {"device_token": "ab" * 32}),
    ("night silence", wire.PUSH_SHIELD_REQ, {"shield_status": 0}),
    ("ask night silence", wire.QUERY_SHIELD_REQ, {}),
    ("avatar", wire.AVATAR_REQ, {"avatar_url": "g0/000/000/x.png"}),
    ("signature", wire.SIGNATURE_REQ, {"sign_info": "signed"}),
)]


def login_as(world, _role, id):
    """Somebody's right name and password: a second login on a connection is nothing all the same."""
    victim = {world.p.id: world.p, world.gone_user.id: world.gone_user}.get(id, world.extra)
    return {"user_name": victim.name, "password": victim.secret, "online_status": 1, "client_type": 0x12}


def no_fields(_world, _role, _id):
    return {}


def fresh_time(_world, _role, got, _id):
    require(abs(got["server_time"] - time.time()) < 5, f"time {got['server_time']}")


def told_address(_world, _role, got, _id):
    require_equal(got["result_code"], 0, "result of 0x0102")


def logged_in_as(_world, _role, got, _id):
    require(got["result_code"] in (wire.OK, wire.REFUSED), f"login: {got!r}")


SELF += [
    Command("time", wire.TIME_REQ, everybody("++++++"), no_fields, fresh_time),
    Command("second login", wire.LOGIN_REQ, cells(U="++++++", **everybody("------")), login_as, logged_in_as),
    Command("server address", wire.MSG_SERVER_REQ, cells(U="++++++", **everybody("------")), no_fields,
            told_address),
    Command("hello", wire.HELLO_REQ, everybody("======"), claims(ext_version=1, features=63)),
]


# ---- one-to-one: the id is a user ----------------------------------------------------------------

def peers(world, role):
    partner = {M: world.o, O: world.m, X: world.o}.get(role, world.keeper)
    return {"right": partner.id, "foreign": world.q.id, "absent": UNKNOWN_USER, "deleted": world.gone_user.id,
            "zero": 0, "max": 0xFFFFFFFF}


def session(kind, **fields):
    return lambda world, role, id: {"user_id": 0, "session_type": kind, "session_id": id} | {
        name: value(world) if callable(value) else value for name, value in fields.items()}


def message(kind, data, **fields):
    def made(world, _role, id):
        return {"from_user_id": world.p.id, "to_session_id": id, "msg_id": 77, "create_time": 1,
                "msg_type": kind, "msg_data": data + b" %d" % time.monotonic_ns()} | fields
    return made


def has_messages(_world, _role, got, _id):
    require(got["msg_list"], f"nothing in {got!r}")


def has_latest(_world, _role, got, _id):
    require(got["latest_msg_id"] > 0, f"nothing in {got!r}")


def revive_single(world, role, _got, id):
    """0x0206 was done; a message of his own brings the conversation back."""
    client = world.client(role)
    require((wire.SINGLE, id) not in client.sessions_all(), "a removed session is listed")
    client.say(id, b"again %d" % time.monotonic_ns())


def stored_single(world, role, got, id):
    require_equal((got["user_id"], got["session_id"], got["session_type"]),
                  (world.user_of[role].id, id, wire.SINGLE), "0x0302")
    newest = world.client(role).list(id, 0, 1)[0]
    require_equal((newest["msg_id"], newest["from_session_id"]), (got["msg_id"], world.user_of[role].id),
                  "the message stored")
    if id == world.keeper.id:
        world.hears(wire.MSG_DATA, lambda got: got["from_user_id"] == world.user_of[role].id)


def command_relayed(world, role, _got, id):
    if id == world.keeper.id:
        got = world.hears(wire.P2P_COMMAND)
        require_equal(got["from_user_id"], world.user_of[role].id, "author of 0x0601")


def three_roles(n, others):
    """A removed member of a group is a stranger here."""
    return cells(N=n, F=n, M=others, O=others)


USER = [
    Command("list", wire.LIST_REQ, three_roles("000000", "+00000"),
            session(wire.SINGLE, msg_id_begin=0, msg_cnt=50), has_messages),
    Command("list from id 2^32-1", wire.LIST_REQ, three_roles("000000", "+00000"),
            session(wire.SINGLE, msg_id_begin=0xFFFFFFFF, msg_cnt=50), has_messages),
    Command("latest id", wire.LATEST_ID_REQ, three_roles("000000", "+00000"), session(wire.SINGLE),
            has_latest),
    Command("by ids", wire.BY_ID_REQ, three_roles("000000", "+00000"),
            session(wire.SINGLE, msg_id_list=[1, 2, 3, 4]), has_messages),
    Command("delivery acknowledgement", wire.MSG_ACK, everybody("------"), session(wire.SINGLE, msg_id=2)),
    Command("read mark", wire.READ_ACK, three_roles("------", "~-----"), session(wire.SINGLE, msg_id=1)),
    Command("remove session", wire.REMOVE_SESSION_REQ, three_roles("111111", "+11111"), session(wire.SINGLE),
            revive_single),
    Command("pass-through", wire.P2P_COMMAND, everybody("++RRRR"),
            lambda world, _role, id: {"from_user_id": world.p.id, "to_user_id": id, "cmd_msg_data": "{}"},
            command_relayed),
    Command("group text to a user", wire.MSG_DATA, everybody("RRRRRR"), message(wire.GROUP_TEXT, b"text")),
    Command("text", wire.MSG_DATA, everybody("++RRRR"), message(wire.TEXT, b"text"), stored_single),
    Command("sound", wire.MSG_DATA, everybody("++RRRR"), message(wire.SOUND, b"\0\0\0\1s"), stored_single),
    Command("empty text", wire.MSG_DATA, everybody("RRRRRR"), message(wire.TEXT, b"", msg_data=b""),
            told=lambda _role, name: name in ("right", "foreign")),  # that a user exists is no secret
]


# ---- groups: the id is a group -------------------------------------------------------------------

def group_ids(world, _role):
    return world.ids


def normal_ids(world, _role):
    return world.ids | {"right": world.normal}


def new_member_ids(world, _role):
    return {"right": world.keeper.id, "foreign": world.q.id, "absent": UNKNOWN_USER,
            "deleted": world.gone_user.id, "zero": 0, "max": 0xFFFFFFFF}


def stored_in_group(world, role, got, id):
    require_equal((got["user_id"], got["session_id"], got["session_type"]),
                  (world.user_of[role].id, id, wire.GROUP), "0x0302")
    heard = world.hears(wire.MSG_DATA)
    require_equal((heard["msg_id"], heard["from_user_id"], heard["to_session_id"]),
                  (got["msg_id"], world.user_of[role].id, id), "what the others get")


def revive_group(world, role, _got, id):
    client = world.client(role)
    require(groups.session(client, id) is None, "a removed session is listed")
    groups.say(client, id, b"again %d" % time.monotonic_ns())
    world.hears(wire.MSG_DATA)


def has_info(world, _role, got, id):
    require_equal([one["group_id"] for one in got["group_info_list"]], [id], "groups told of")
    require(world.keeper.id in got["group_info_list"][0]["group_member_list"], "members told of")


def members(kind, who):
    return lambda world, role, id: {"user_id": 0, "change_type": kind, "group_id": id,
                                    "member_id_list": [who(world, role)]}


def of_extra(world, _role):
    return world.extra.id


def of_owner(world, _role):
    return world.o.id


def of_self(world, role):
    return self_id(world, role)[0]


def extra_added(world, _role, got, id):
    require_equal(got["chg_user_id_list"], [world.extra.id], "changed")
    world.hears(wire.MEMBERS_NOTIFY)
    world.has_extra(False, id)


def extra_removed(world, _role, got, id):
    require_equal(got["chg_user_id_list"], [world.extra.id], "changed")
    world.hears(wire.MEMBERS_NOTIFY)
    world.has_extra(True, id)


def nothing_added(world, _role, got, _id):
    require_equal(got["chg_user_id_list"], [], "changed")
    time.sleep(0.1)
    world.witness_k.forget(wire.MEMBERS_NOTIFY)


def self_removed(world, role, got, id):
    require_equal(got["chg_user_id_list"], [world.user_of[role].id], "changed")
    world.hears(wire.MEMBERS_NOTIFY)
    groups.admin_change(world.server, id, add=[world.user_of[role]])
    world.hears(wire.MEMBERS_NOTIFY)
    if id == world.group:
        world.speak()


def made_group(world, role, got, _id):
    require(world.user_of[role].id in got["user_id_list"] and got["group_id"] > 0, f"{got!r}")


def recent_ids(world):
    return list(range(max(1, world.newest() - 4), world.newest() + 1))


def creating(kind):
    return lambda world, _role, id: {"user_id": world.p.id, "group_type": kind, "group_name": "made",
                                     "group_avatar": "", "member_id_list": [id]}


def shielding(status):
    return lambda _world, _role, id: {"user_id": 0, "group_id": id, "shield_status": status}


def in_it(refused, allowed="+", creator=None):
    """Strangers and former members are refused everything, members and the creator all but the right one."""
    return cells(N=refused * 6, F=refused * 6, M=allowed + refused * 5, O=(creator or allowed) + refused * 5)


GROUP = [
    Command("group list", wire.LIST_REQ, in_it("0"), session(wire.GROUP, msg_id_begin=0, msg_cnt=50),
            has_messages),
    Command("group list of no message", wire.LIST_REQ, everybody("000000"),
            session(wire.GROUP, msg_id_begin=1, msg_cnt=0)),
    Command("group latest id", wire.LATEST_ID_REQ, in_it("0"), session(wire.GROUP), has_latest),
    Command("group by ids", wire.BY_ID_REQ, in_it("0"), session(wire.GROUP, msg_id_list=recent_ids),
            has_messages),
    Command("group info", wire.GROUP_INFO_REQ, in_it("0"),
            lambda _world, _role, id: {"user_id": 0, "group_version_list": [{"group_id": id, "version": 0}]},
            has_info),
    Command("group delivery acknowledgement", wire.MSG_ACK, everybody("------"),
            session(wire.GROUP, msg_id=2)),
    Command("group read mark", wire.READ_ACK, in_it("-", "~"), session(wire.GROUP, msg_id=3)),
    Command("mute", wire.SHIELD_REQ, in_it("1"), shielding(1)),
    Command("mute 7", wire.SHIELD_REQ, everybody("111111"), shielding(7)),
    Command("remove group session", wire.REMOVE_SESSION_REQ, in_it("1"), session(wire.GROUP), revive_group),
    Command("group text", wire.MSG_DATA, in_it("R"), message(wire.GROUP_TEXT, b"text"), stored_in_group),
    Command("group sound", wire.MSG_DATA, in_it("R"), message(wire.GROUP_SOUND, b"\0\0\0\1s"),
            stored_in_group),
    Command("empty group text", wire.MSG_DATA, everybody("RRRRRR"),
            message(wire.GROUP_TEXT, b"", msg_data=b""),
            told=lambda role, name: role in (M, O) and name == "right"),
    Command("add somebody", wire.CHANGE_MEMBERS_REQ, in_it("1"), members(wire.ADD, of_extra), extra_added,
            lambda world: world.has_extra(False)),
    Command("add oneself", wire.CHANGE_MEMBERS_REQ, in_it("1"), members(wire.ADD, of_self), nothing_added),
    Command("remove somebody", wire.CHANGE_MEMBERS_REQ, in_it("1", "1", "+"), members(wire.REMOVE, of_extra),
            extra_removed, lambda world: world.has_extra(True)),
    Command("remove the owner", wire.CHANGE_MEMBERS_REQ, in_it("1", "1"), members(wire.REMOVE, of_owner)),
    Command("remove oneself", wire.CHANGE_MEMBERS_REQ, in_it("1", "+", "1"), members(wire.REMOVE, of_self),
            self_removed),
]
NORMAL = [
    Command("add to a NORMAL one", wire.CHANGE_MEMBERS_REQ, in_it("1", "1", "+"), members(wire.ADD, of_extra),
            extra_added, lambda world: world.has_extra(False, world.normal)),
    Command("remove from a NORMAL one", wire.CHANGE_MEMBERS_REQ, in_it("1", "1", "+"),
            members(wire.REMOVE, of_extra), extra_removed, lambda world: world.has_extra(True, world.normal)),
    Command("leave a NORMAL one", wire.CHANGE_MEMBERS_REQ, in_it("1", "+", "1"),
            members(wire.REMOVE, of_self), self_removed),
]
CREATE = [
    Command("create with", wire.CREATE_GROUP_REQ, everybody("++1?11"), creating(wire.TEMPORARY), made_group),
    Command("create NORMAL with", wire.CREATE_GROUP_REQ, everybody("111111"), creating(wire.NORMAL)),
]

ELSEWHERE = {wire.LOGOUT_REQ, wire.HEARTBEAT}  # rows A10, F8 and A11: they end or echo whatever they meet
_tables = {command.command for command in SELF + USER + GROUP + NORMAL + CREATE}
_missing = {*wire.ANSWER_OF, wire.MSG_ACK, wire.READ_ACK, wire.P2P_COMMAND} - _tables - ELSEWHERE
if _missing:
    raise AssertionError(f"commands in no table of the matrix: {sorted(f'0x{c:04x}' for c in _missing)}")


@row("MATRIX-SELF", slow=True)
def matrix_of_claimed_ids(ctx):
    """Whoever the body names, the answer is about the asker."""
    return run_tables(ctx, SELF, own_ids, False, "MATRIX-SELF")


@row("MATRIX-USER", slow=True)
def matrix_of_users(ctx):
    return run_tables(ctx, USER, peers, False, "MATRIX-USER")


@row("MATRIX-GROUP", slow=True)
def matrix_of_groups(ctx):
    return run_tables(ctx, GROUP, group_ids, True, "MATRIX-GROUP")


@row("MATRIX-NORMAL", slow=True)
def matrix_of_normal_groups(ctx):
    return run_tables(ctx, NORMAL, normal_ids, True, "MATRIX-NORMAL")


@row("MATRIX-CREATE", slow=True)
def matrix_of_new_groups(ctx):
    """The object is the one member listed."""
    return run_tables(ctx, CREATE, new_member_ids, True, "MATRIX-CREATE")
