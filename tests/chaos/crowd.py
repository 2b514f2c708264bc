"""The people of a chaos run: some dozen connections in one loop, and everything they do and see in a history.

Python and not the load generator: what counts is how many kinds of things happen around a fault (repetitions,
reads, marks, members that come and go, logins), not how many a second; and what finds a mistake of the engine
shares no line with it. The codec is tests/acceptance/wire.py, which refuses what a strict client would.
Thread rule: one thread. Bound: WINDOW sends in flight a connection.
"""

import collections
import glob
import random
import select
import socket
import struct
import time

import wire
from client import fresh_source, require
from history import group_key, make_body, now_us, pair_key, read_body

WINDOW = 32
QUIET_S = 60          # what is not there then never comes; longer than a send may take
STARVED_EVERY_US = 500_000
LOGIN_S = 30
REPEAT_US = 40_000_000  # of the 60 s in which a repetition is one message
LATE_US = 100_000
UNREAD_CUT_BYTES = 300 * 1024  # a longer answer may have left some out
SIZES = (0, 0, 100, 100, 2000, 4000)


def starved_us(pid):
    """How long the server's shards and this process have waited for a processor, together."""
    files = ["/proc/self/schedstat"]
    for task in glob.glob(f"/proc/{pid}/task/*"):
        try:
            with open(task + "/comm", encoding="ascii") as comm:
                if comm.read().startswith("shard-"):
                    files.append(task + "/schedstat")
        except OSError:
            pass  # it ended
    total = 0
    for path in files:
        try:
            with open(path, encoding="ascii") as stat:
                total += int(stat.read().split()[1]) // 1000
        except OSError:
            pass
    return total


class Place:
    """A conversation as clients name it."""

    def __init__(self, key):
        self.key = key
        self.group = int(key[1:]) if key.startswith("g") else 0
        self.pair = () if self.group else tuple(int(one) for one in key.split("-"))
        self.kind = wire.GROUP if self.group else wire.SINGLE

    def name_for(self, user):
        return self.group or (self.pair[1] if self.pair[0] == user else self.pair[0])


class Operation:
    __slots__ = ("op", "user", "place", "body", "seq", "kind", "client_id", "begun")

    def __init__(self, op, user, place, body, seq, kind, client_id):
        self.op, self.user, self.place, self.body, self.seq = op, user, place, body, seq
        self.kind, self.client_id, self.begun = kind, client_id, now_us()


class Chatter:
    """One connection, from its login to its end."""

    def __init__(self, crowd, user, client_type=wire.WINDOWS):
        self.crowd, self.user, self.client_type = crowd, user, client_type
        self.session = 0       # its number in the history; 0: not logged in
        self.login_at = 0
        self.closed = self.leaving = False
        self.sends = {}        # seq -> Operation
        self.decided = {}      # seq -> Operation: for what should not come any more
        self.asks = {}         # seq -> what was asked
        self.pages = collections.deque()  # places still to be read to the end
        self.expected, self.newest = {}, {}  # place key -> id
        self.beats = 0
        self.inbuf, self.outbuf = bytearray(), bytearray()
        self.watched = select.EPOLLIN
        self.sock = socket.socket()
        self.sock.bind((fresh_source(), 0))
        self.sock.settimeout(5)
        self.sock.connect(crowd.server.address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        crowd.add(self)
        self.request(wire.LOGIN_REQ, ("login",), user_name=user.name, password=user.secret,
                     online_status=wire.ONLINE, client_type=client_type, client_version="chaos")

    # ---- bytes ---------------------------------------------------------------------------------------

    def write(self, data):
        if self.closed:
            return
        self.outbuf += data
        self.flush()

    def flush(self):
        try:
            while self.outbuf:
                del self.outbuf[:self.sock.send(self.outbuf[:1 << 18])]
        except BlockingIOError:
            pass
        except OSError:
            self.outbuf.clear()  # the end of the stream is read, with what came before it
        self.crowd.watch(self)

    def read(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self.close("lost")
        self.inbuf += data
        for got in wire.split(self.inbuf):
            if not self.closed:
                self.take(got)

    def close(self, why, reset=False):
        """The end of it: what has no outcome now never gets one."""
        if self.closed:
            return
        self.closed = True
        history = self.crowd.history
        if self.session and not self.leaving:
            history.write("end", s=self.session, why=why)
        for operation in self.sends.values():
            history.write("unknown", op=operation.op, s=self.session)
            self.crowd.doubtful.append(operation)
        self.sends.clear()
        for asked in self.asks.values():
            if asked[0] == "change":
                history.write("doubt", x=asked[1])
                self.crowd.changing.discard(asked[2])
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.crowd.remove(self)
        self.sock.close()

    # ---- what it does --------------------------------------------------------------------------------

    def request(self, command, asked, **fields):
        seq = self.crowd.next_seq(self.user)
        self.asks[seq] = asked
        self.write(wire.request(command, seq, **fields))

    def idle(self):
        return not self.sends and not self.asks and not self.pages

    def send(self, operation):
        self.sends[operation.seq] = operation
        self.crowd.history.write("send", op=operation.op, s=self.session, u=self.user.id,
                                 c=operation.place.key, h=self.crowd.hash_of(operation))
        more = {"client_msg_id": operation.client_id} if operation.client_id else {}
        self.write(wire.request(
            wire.MSG_DATA, operation.seq, from_user_id=self.user.id, msg_id=0, create_time=0,
            to_session_id=operation.place.name_for(self.user.id), msg_type=operation.kind,
            msg_data=operation.body, **more))

    def list(self, place, begin, count, final=False):
        self.request(wire.LIST_REQ, ("list", place, begin, count, now_us(), final), user_id=self.user.id,
                     session_type=place.kind, session_id=place.name_for(self.user.id), msg_id_begin=begin,
                     msg_cnt=count)

    def mark(self, place, id):
        self.crowd.history.write("mark", s=self.session, u=self.user.id, c=place.key, id=id)
        self.write(wire.request(wire.READ_ACK, 0, user_id=self.user.id, msg_id=id, session_type=place.kind,
                                session_id=place.name_for(self.user.id)))

    def unread(self):
        self.request(wire.UNREAD_REQ, ("unread", now_us()), user_id=self.user.id)

    def beat(self):
        self.beats += 1
        self.write(wire.frame(wire.HEARTBEAT))

    def change(self, group, add, remove):
        number = self.crowd.begin_change(group)
        self.crowd.history.write("change", x=number, g=group_key(group), add=add, remove=remove)
        self.request(wire.CHANGE_MEMBERS_REQ, ("change", number, group, add, remove), user_id=self.user.id,
                     change_type=wire.ADD if add else wire.REMOVE, group_id=group,
                     member_id_list=add or remove)

    def create_group(self, members):
        self.request(wire.CREATE_GROUP_REQ, ("create", now_us()), user_id=self.user.id,
                     group_type=wire.TEMPORARY, group_name="chaos", group_avatar="",
                     member_id_list=[user.id for user in members])

    def log_out(self):
        self.leaving = True
        self.crowd.history.write("end", s=self.session, why="logout")
        self.request(wire.LOGOUT_REQ, ("logout",))

    def read_everything(self, places):
        self.pages.extend(places)
        self.list(self.pages[0], 0, 100, final=True)

    # ---- what it gets --------------------------------------------------------------------------------

    def take(self, got):
        if got.command == wire.HEARTBEAT:
            self.beats -= 1
            return
        wire.check_answer(got)
        handler = self.HANDLERS.get(got.command)
        if handler:
            handler(self, got)

    def answered(self, got):
        asked = self.asks.pop(got.seq, None)
        require(asked is not None, f"an answer to nothing that was asked: {got!r}")
        return asked

    def on_login(self, got):
        self.answered(got)
        if got["result_code"] != wire.OK:
            # No store: on a full disk, beside somebody's write. Clients try again.
            require(got["result_code"] in (wire.FULL, wire.NO_STORE), f"login of {self.user.name}: {got!r}")
            return self.close("refused")
        require(got["user_info"]["user_id"] == self.user.id, f"login of {self.user.id} answered {got!r}")
        self.session = self.crowd.next_session()
        self.login_at = self.crowd.history.write("login", s=self.session, u=self.user.id)
        self.request(wire.HELLO_REQ, ("hello",), user_id=self.user.id, ext_version=1, features=0)

    def on_ack(self, got):
        require(got["msg_id"] > 0, f"acknowledged with id 0: {got!r}")
        operation = self.sends.pop(got.seq, None) or self.decided.get(got.seq)
        require(operation is not None, f"acknowledged, never sent: {got!r}")
        self.decided[got.seq] = operation
        self.crowd.acked += 1
        self.crowd.history.write("ok", op=operation.op, s=self.session, id=got["msg_id"])
        self.note(operation.place.key, got["msg_id"])
        self.crowd.expect(operation, got["msg_id"], self)

    def note(self, key, id):
        self.newest[key] = max(self.newest.get(key, 0), id)

    def on_error(self, got):
        if got["command"] != wire.MSG_DATA:
            asked = self.answered(got)
            if asked[0] == "list" and asked[5]:
                self.list(*asked[1:4], final=True)
            return
        operation = self.sends.pop(got.seq, None)
        require(operation is not None, f"refused, never sent: {got!r}")
        self.decided[got.seq] = operation
        self.crowd.refused += 1
        self.crowd.history.write("refused", op=operation.op, s=self.session, code=got["result_code"])

    def on_message(self, got):
        if got["msg_type"] in (wire.GROUP_TEXT, wire.GROUP_SOUND):
            key = group_key(got["to_session_id"])
        else:
            key = pair_key(got["from_user_id"], got["to_session_id"])
        op, author, hash = read_body(got["msg_data"], key)
        if author != got["from_user_id"]:
            op = 0  # shown under another name
        self.crowd.history.write("push", s=self.session, c=key, id=got["msg_id"], m=[op, author, hash])
        self.note(key, got["msg_id"])

    def on_kick(self, _got):
        self.close("kick")

    def on_list(self, got):
        _, place, begin, count, asked_at, final = self.answered(got)
        found = []
        for message in got["msg_list"]:
            op, author, hash = read_body(message["msg_data"], place.key)
            found.append([message["msg_id"], op if author == message["from_session_id"] else 0, author, hash])
        fields = {"from": begin, "final": 1} if final else {"from": begin}
        self.crowd.history.write("list", s=self.session, u=self.user.id, c=place.key, t0=asked_at, n=count,
                                 m=found, **fields)
        if not final:
            return
        if found and found[-1][0] > 1:
            return self.list(place, found[-1][0] - 1, 100, final=True)
        self.pages.popleft()
        if self.pages:
            self.list(self.pages[0], 0, 100, final=True)

    def on_unread(self, got):
        _, asked_at = self.answered(got)
        counts = {}
        for entry in got["unreadinfo_list"]:
            group = entry["session_type"] == wire.GROUP
            key = group_key(entry["session_id"]) if group else pair_key(self.user.id, entry["session_id"])
            require(key not in counts, f"{key} twice in 0x0308")
            counts[key] = entry["unread_cnt"]
        cut = {"cut": 1} if len(got.body) > UNREAD_CUT_BYTES else {}
        self.crowd.history.write("unread", s=self.session, u=self.user.id, t0=asked_at, n=counts, **cut)

    def on_changed(self, got):
        _, number, group, add, remove = self.answered(got)
        done = got["result_code"] == 0
        self.crowd.history.write("changed" if done else "unchanged", x=number)
        self.crowd.changing.discard(group)
        if done:
            self.crowd.members[group] = (self.crowd.members[group] | set(add)) - set(remove)

    def on_created(self, got):
        _, asked_at = self.answered(got)
        require(got["result_code"] == 0, f"no group: {got!r}")
        members = sorted(got["user_id_list"])
        self.crowd.history.write("create", g=group_key(got["group_id"]), m=members, t0=asked_at)
        self.crowd.members[got["group_id"]] = set(members)
        self.crowd.owners[got["group_id"]] = self.user.id

    def on_logged_out(self, got):
        self.answered(got)
        self.close("logout")

    HANDLERS = {
        wire.LOGIN_RES: on_login, wire.MSG_ACK: on_ack, wire.EXT_ERROR: on_error, wire.MSG_DATA: on_message,
        wire.KICK_USER: on_kick, wire.LIST_RES: on_list, wire.UNREAD_RES: on_unread, wire.HELLO_RES: answered,
        wire.CHANGE_MEMBERS_RES: on_changed, wire.CREATE_GROUP_RES: on_created,
        wire.LOGOUT_RES: on_logged_out,
    }


class Crowd:
    def __init__(self, server, history, users, seed):
        self.server, self.history, self.users = server, history, users
        self.rng = random.Random(seed)
        self.poll = select.epoll()
        self.chatters = {}     # descriptor -> Chatter
        self.doubtful = []     # operations whose connection died first
        self.members, self.owners = {}, {}
        self.changing, self.changes = set(), 0
        self.ops = self.sessions = self.acked = self.refused = 0
        self.seqs = collections.Counter()
        self.hashes = {}
        self.places = {}
        self.looked = now_us()
        self.starved = self.starved_pid = self.asked_starved = 0

    # ---- numbers -------------------------------------------------------------------------------------

    def next_seq(self, user):
        """Of the user and not the connection: a repetition keeps its own."""
        self.seqs[user.id] = self.seqs[user.id] % 0xFFF0 + 1
        return self.seqs[user.id]

    def next_session(self):
        self.sessions += 1
        return self.sessions

    def begin_change(self, group):
        self.changes += 1
        self.changing.add(group)
        return self.changes

    def place(self, key):
        if key not in self.places:
            self.places[key] = Place(key)
        return self.places[key]

    def hash_of(self, operation):
        return read_body(operation.body, operation.place.key)[2]

    # ---- the loop ------------------------------------------------------------------------------------

    def add(self, chatter):
        self.chatters[chatter.sock.fileno()] = chatter
        self.poll.register(chatter.sock.fileno(), select.EPOLLIN)

    def remove(self, chatter):
        self.poll.unregister(chatter.sock.fileno())
        del self.chatters[chatter.sock.fileno()]

    def watch(self, chatter):
        wanted = select.EPOLLIN | (select.EPOLLOUT if chatter.outbuf else 0)
        if not chatter.closed and chatter.watched != wanted:
            self.poll.modify(chatter.sock.fileno(), wanted)
            chatter.watched = wanted

    def turn(self, wait_s=0.01):
        """Whatever came, once round."""
        now = now_us()
        if now - self.looked > LATE_US:
            self.history.write("late", us=now - self.looked)
        if now - self.asked_starved > STARVED_EVERY_US:
            self.note_starved(now)
        for descriptor, events in self.poll.poll(wait_s):
            chatter = self.chatters.get(descriptor)
            if chatter and events & select.EPOLLOUT:
                chatter.flush()
            if chatter and not chatter.closed and events & ~select.EPOLLOUT:
                chatter.read()
        self.looked = now_us()

    def note_starved(self, now):
        """Time in which the shards, or we, were ready to run and had no processor is nobody's delay."""
        starved = starved_us(self.server.process.pid)
        if starved - self.starved > LATE_US // 2 and self.starved_pid == self.server.process.pid:
            self.history.write("late", us=starved - self.starved)
        self.starved, self.starved_pid, self.asked_starved = starved, self.server.process.pid, now

    def turn_until(self, condition, seconds):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.turn()
        return True

    def rest(self):
        """The caller did something else meanwhile, with nothing on its way."""
        self.looked = now_us()

    def live(self):
        return [one for one in self.chatters.values() if one.session and not one.leaving]

    # ---- coming and going ------------------------------------------------------------------------------

    def log_in(self, wanted):
        """A session for each (user, client type); "server full" is waited out."""
        deadline = time.monotonic() + LOGIN_S
        missing = list(wanted)
        while missing:
            waiting = [Chatter(self, *one) for one in missing]
            ready = self.turn_until(lambda: all(one.closed or (one.session and not one.asks)
                                                for one in waiting), LOGIN_S)
            require(ready, "logins are not answered")
            missing = [(one.user, one.client_type) for one in waiting if one.closed]
            require(not missing or time.monotonic() < deadline, f"{len(missing)} cannot log in")

    def drain(self):
        """The server is gone: what it had said is read to the end of each stream."""
        require(self.turn_until(lambda: not self.chatters, 10), "connections outlive the server")

    def cut_all(self):
        for chatter in list(self.chatters.values()):
            chatter.close("cut")

    # ---- load ----------------------------------------------------------------------------------------

    def fresh_operation(self, chatter, size=None, kind=None):
        user, rng = chatter.user.id, self.rng
        groups = [group for group, members in self.members.items() if user in members or rng.random() < 0.02]
        if groups and kind is None and rng.random() < 0.5:
            place = self.place(group_key(rng.choice(groups)))
        else:
            place = self.place(pair_key(user, rng.choice([one.id for one in self.users if one.id != user])))
        self.ops += 1
        body = make_body(user, self.ops, place.key, rng.choice(SIZES) if size is None else size)
        client_id = f"{user}-{self.ops}" if rng.random() < 0.2 else None
        kind = kind or (wire.GROUP_TEXT if place.group else wire.TEXT)
        return Operation(self.ops, user, place, body, self.next_seq(chatter.user), kind, client_id)

    def some_place(self, chatter):
        mine = [place for place in self.places.values() if place.group or chatter.user.id in place.pair]
        return self.rng.choice(mine) if mine else None

    def act(self):
        """One thing that somebody does."""
        live = self.live()
        if not live:
            return
        rng, chatter = self.rng, self.rng.choice(live)
        what = rng.random()
        place = self.some_place(chatter)
        if what < 0.80 or place is None:
            for _ in range(min(rng.randint(1, 8), WINDOW - len(chatter.sends))):
                chatter.send(self.fresh_operation(chatter))
        elif what < 0.88:
            if len(chatter.asks) < 3:
                newest = chatter.newest.get(place.key, 0)
                chatter.list(place, rng.choice((0, rng.randint(0, newest))), rng.choice((1, 10, 100)))
        elif what < 0.94:
            chatter.mark(place, rng.choice((0, chatter.newest.get(place.key, 0))))
        elif what < 0.97:
            if len(chatter.asks) < 3:
                chatter.unread()
        elif what < 0.985:
            self.change_members()
        elif what < 0.99 and not any(asked[0] == "change" for asked in chatter.asks.values()):
            self.leave(chatter)

    def change_members(self):
        free = [group for group in self.members if group not in self.changing]
        if not free:
            return
        group = self.rng.choice(free)
        owner = [one for one in self.live() if one.user.id == self.owners[group]]
        user = self.rng.choice([one.id for one in self.users if one.id != self.owners[group]])
        inside = user in self.members[group]
        if owner and (not inside or len(self.members[group]) > 2):
            owner[0].change(group, [] if inside else [user], [user] if inside else [])

    def leave(self, chatter):
        """Out, and in again: orderly, by a cut, by a reset, or pushed out by one's own next login."""
        way = self.rng.choice(("logout", "cut", "reset", "kick"))
        if way == "logout" and chatter.sends:
            way = "kick"
        if way == "logout":
            chatter.log_out()
        elif way != "kick":
            chatter.close("cut", reset=way == "reset")
        try:
            Chatter(self, chatter.user, chatter.client_type)
        except OSError:
            pass  # the server is about to be found dead

    def load(self, seconds, alive, actions_per_turn=3):
        """People do things until the time is up or the server is gone."""
        deadline = time.monotonic() + seconds
        self.rest()
        while time.monotonic() < deadline and alive():
            for _ in range(actions_per_turn):
                self.act()
            self.turn(0.002)

    def burst(self, bytes_each, count):
        """Everybody sends long sounds at once: far more than the server's receive buffers hold."""
        for chatter in self.live():
            for _ in range(count):
                chatter.send(self.fresh_operation(chatter, bytes_each, wire.SOUND))

    def flood(self):
        """Full windows everywhere."""
        for chatter in self.live():
            while len(chatter.sends) < WINDOW and not chatter.outbuf:
                chatter.send(self.fresh_operation(chatter))

    def repeat_doubtful(self):
        """Sends whose outcome nobody knows, once more: under the same number, or the client's own id."""
        doubtful, self.doubtful = self.doubtful, []
        mine = {chatter.user.id: chatter for chatter in self.live()}
        for operation in doubtful:
            chatter = mine.get(operation.user)
            if chatter and now_us() - operation.begun < REPEAT_US and operation.seq not in chatter.sends:
                chatter.send(operation)

    def expect(self, operation, id, sender):
        """Acknowledged: these sessions must get it, or have it by their own acknowledgement."""
        place = operation.place
        if place.group in self.changing:
            return
        for chatter in self.chatters.values():
            if not chatter.session or chatter.login_at >= operation.begun or chatter is sender:
                continue
            if chatter.user.id in (self.members[place.group] if place.group else place.pair):
                chatter.expected[place.key] = max(chatter.expected.get(place.key, 0), id)

    def missing(self):
        """What acknowledged messages have not come to whom, of those who are still in."""
        out = []
        for chatter in self.live():
            for key, id in chatter.expected.items():
                place = self.place(key)
                inside = not place.group or chatter.user.id in self.members[place.group]
                if inside and chatter.newest.get(key, 0) < id:
                    out.append((chatter.session, key, id))
        return out

    def quiet(self):
        """Nobody does anything until everything has its outcome and everybody his messages, or never will."""
        self.turn_until(lambda: not any(one.sends or one.asks for one in self.chatters.values()), QUIET_S)
        for chatter in list(self.chatters.values()):
            if chatter.sends or chatter.asks:
                chatter.close("cut")  # forgotten by the server: nobody waits for it again
        for chatter in self.live():
            chatter.beat()
        echoed = self.turn_until(lambda: all(one.beats == 0 for one in self.live()), QUIET_S)
        since = now_us()
        self.turn_until(lambda: not self.missing(), QUIET_S)
        self.history.write("quiet", since=since, echoed=echoed)

    # ---- the end -------------------------------------------------------------------------------------

    def count_unread(self):
        """Marks and counts with nothing else going on: exact."""
        for chatter in self.live():
            for place in [self.some_place(chatter) for _ in range(3)]:
                chatter.mark(place, self.rng.choice((0, chatter.newest.get(place.key, 0))))
            chatter.unread()
        self.quiet()

    def log_everybody_out(self):
        for chatter in self.live():
            chatter.log_out()
        self.turn_until(lambda: not self.chatters, QUIET_S)
        self.cut_all()

    def read_all(self):
        """A fresh client of every user reads all he could have, and tries what is not his."""
        everything = [self.place(key) for key in list(self.places)]
        self.log_in([(user, wire.ANDROID) for user in self.users])
        for chatter in self.live():
            mine = [place for place in everything if place.group or chatter.user.id in place.pair]
            if mine:
                chatter.read_everything(mine)
        ended = self.turn_until(lambda: all(one.idle() for one in self.chatters.values()), 120)
        require(ended, "the last reading does not end")
        self.cut_all()

    def settle_members(self, members_of):
        """After a restart: who is in which group, by the administration."""
        require(not self.changing, "a change is on its way")
        for group in self.members:
            asked = now_us()
            self.members[group] = set(members_of(group))
            self.history.write("members", g=group_key(group), m=sorted(self.members[group]), t0=asked)
