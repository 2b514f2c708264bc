"""A blocking TeamTalk client for tests: reads by poll with a time limit, checks every byte it gets.

Each frame received is checked when it arrives: header 1/0/0, service id, every required field, seq 0
in pushes, the seq of a request that was really sent in answers, heartbeats echoed byte for byte and in
order. Frames a row did not ask for stay in `pending` and fail the next expect_nothing(); presence is
dropped unless its user is in `watched`, since every login of a PC tells everybody; a changed avatar or
signature, which everybody hears of too, unless its user is in `watched_profiles`.
Thread rule: one client belongs to one thread.
"""

import collections
import itertools
import select
import socket
import struct
import time
import zlib

import wire

DEFAULT_TIMEOUT_S = 10.0  # "gets" means within 1 s on a quiet machine; a noisy one is not the engine's fault
QUIET_S = 0.4

_sources = itertools.count(0)


def fresh_source():
    """A loopback address not used before, so that per-address limits of one case do not meet the next."""
    n = next(_sources) % (200 * 250 * 250)
    return f"127.{20 + n // 62500}.{1 + n // 250 % 250}.{1 + n % 250}"


class Failure(AssertionError):
    """The server did something the specification forbids, or failed to do what it demands."""


class Closed(Failure):
    """The server closed while something was expected."""


def require(condition, text):
    if not condition:
        raise Failure(text)


def require_equal(got, wanted, what):
    if got != wanted:
        raise Failure(f"{what}: got {shorten(got)}, wanted {shorten(wanted)}")


def shorten(value):
    text = repr(value)
    return text if len(text) < 300 else f"{text[:200]}…({len(text)} characters)"


def marked_body(sender, op, size=0):
    """Self-describing text: sender|op|crc|padding. A reader can tell whether it is whole and whose it is."""
    head = f"{sender}|{op}"
    text = f"{head}|{zlib.crc32(head.encode()):08x}|"
    return (text + "x" * max(0, size - len(text))).encode()


def read_marked_body(data):
    """Returns (sender, op) or raises Failure for a body nobody sent."""
    parts = bytes(data).decode("utf-8", "replace").split("|")
    require(len(parts) == 4 and parts[2] == f"{zlib.crc32(f'{parts[0]}|{parts[1]}'.encode()):08x}"
            and set(parts[3]) <= {"x"}, f"a body nobody sent: {bytes(data[:80])!r}")
    return int(parts[0]), parts[1]


def readable(sock, seconds):
    """By poll(): select() ends at descriptor 1024."""
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


class Client:
    def __init__(self, address, source="127.0.0.1", timeout=DEFAULT_TIMEOUT_S, receive_bytes=None):
        """receive_bytes: what the kernel takes for a client that does not read; little for slow readers."""
        self.address, self.timeout = address, timeout
        self.connected_at = time.monotonic()
        self.sock = socket.socket()
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(timeout)
        self.sock.bind((source, 0))
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(30)
        self.buffer = bytearray()
        self.arrived = collections.deque()  # split, not yet checked
        self.pending = []                   # checked, not yet asked for
        self.asked = collections.defaultdict(set)  # answer command -> seqs of requests sent
        self.beats = collections.deque()    # heartbeats sent, not yet echoed
        self.eof = self.reset = False
        self.seq = 0
        self.user = None
        self.user_id = 0
        self.watched = set()                # users whose presence this row wants to see
        self.watched_profiles = set()       # users whose new avatar and signature it wants to see

    # ---- sending ----

    def send_raw(self, data):
        self.sock.sendall(data)

    def next_seq(self):
        self.seq = self.seq % 0xFFF0 + 1
        return self.seq

    def expect_answer_to(self, command, seq):
        self.asked[wire.ANSWER_OF.get(command)].add(seq)
        self.asked[wire.EXT_ERROR].add(seq)

    def send(self, command, seq=None, **fields):
        """Sends one request and returns its seq."""
        return self.send_body(command, wire.encode(command, **fields), seq)

    def send_body(self, command, body, seq=None):
        seq = self.next_seq() if seq is None else seq
        self.expect_answer_to(command, seq)
        self.send_raw(wire.frame(command, body, seq))
        return seq

    def message(self, to, data, seq, kind=wire.TEXT, **fields):
        """The bytes of a send, with its acknowledgement registered."""
        self.expect_answer_to(wire.MSG_DATA, seq)
        return wire.request(wire.MSG_DATA, seq, **{
            "from_user_id": self.user_id, "to_session_id": to, "msg_id": 0, "create_time": 0,
            "msg_type": kind, "msg_data": data, **fields})

    def send_text(self, to, data, seq=None, kind=wire.TEXT, **fields):
        seq = self.next_seq() if seq is None else seq
        self.send_raw(self.message(to, data, seq, kind, **fields))
        return seq

    def send_heartbeat(self, **header):
        raw = wire.frame(wire.HEARTBEAT, **header)
        self.beats.append(raw)
        self.send_raw(raw)
        return raw

    # ---- receiving ----

    def _fill(self, deadline):
        """Reads once. False when the deadline passed first; at the end of the stream eof is set."""
        wait = max(0.0, deadline - time.monotonic())
        if not readable(self.sock, wait):
            return False
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            data, self.reset = b"", True
        if data:
            self.buffer += data
            self.arrived.extend(wire.split(self.buffer))
        else:
            self.eof = True
        return True

    def _check(self, got):
        """True if a row should see the frame."""
        if got.command == wire.HEARTBEAT:
            require(self.beats, f"a heartbeat nobody sent: {got.raw.hex()}")
            wanted = self.beats.popleft()
            require_equal(got.raw.hex(), wanted.hex(), "echo of a heartbeat")
            return True
        wire.check_answer(got)
        if got.command == wire.STATUS_NOTIFY:
            return got["user_stat"]["user_id"] in self.watched
        if got.command == wire.PC_LOGIN_NOTIFY:
            require_equal(got["user_id"], self.user_id, "whose PC 0x020e names")
            return self.user_id in self.watched
        if got.command in (wire.AVATAR_NOTIFY, wire.SIGNATURE_NOTIFY):
            return got["changed_user_id"] in self.watched_profiles
        if got.command in wire.TOLD_TO_OWN and got.seq == 0:
            require_equal(got["user_id"], self.user_id, f"whose 0x{got.command:04x} it is")
            return True
        if got.command not in wire.PUSHES:
            require(got.seq in self.asked[got.command], f"an answer to nothing that was asked: {got!r}")
        return True

    def next_frame(self, deadline):
        """The next checked frame, None at the deadline; Closed when the stream ended."""
        while True:
            while self.arrived:
                got = self.arrived.popleft()
                if self._check(got):
                    return got
            if self.eof:
                require(self.reset or not self.buffer, "the server closed in the middle of a frame")
                raise Closed("the server closed the connection" + (" (reset)" if self.reset else ""))
            if not self._fill(deadline):
                return None

    def expect(self, command, timeout=None, seq=None, where=None):
        """The first frame of that command (and seq, and condition); others wait in `pending`."""
        def fits(got):
            return (got.command == command and (seq is None or got.seq == seq)
                    and (where is None or where(got)))
        for i, got in enumerate(self.pending):
            if fits(got):
                return self.pending.pop(i)
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            try:
                got = self.next_frame(deadline)
            except Closed as closed:
                raise Closed(f"{closed} while 0x{command:04x} was expected") from None
            if got is None:
                raise Failure(f"no 0x{command:04x}{'' if seq is None else f' seq {seq}'} within "
                              f"{timeout or self.timeout:g} s; waiting: {self.pending[:5]}")
            if fits(got):
                return got
            self.pending.append(got)

    def heartbeat(self, timeout=None, **header):
        """Sends one and waits for its echo: everything sent before has been decided by then."""
        raw = self.send_heartbeat(**({"seq": self.next_seq()} | header))
        return self.expect(wire.HEARTBEAT, timeout, where=lambda got: got.raw == raw)

    def expect_nothing(self, seconds=QUIET_S, but=()):
        """Nothing arrives for that long, nor before the echo of a heartbeat sent afterwards."""
        deadline = time.monotonic() + seconds
        while True:
            got = self.next_frame(deadline)
            if got is None:
                break
            self.pending.append(got)
        self.heartbeat()
        extra = [got for got in self.pending if got.command not in but]
        require(not extra, f"nothing should have come, but: {extra[:5]}")

    def expect_closed(self, within=DEFAULT_TIMEOUT_S, at_least=0.0, since=None, allow=()):
        """The server closes in that span (counted from `since`, or now) without sending anything else."""
        since = time.monotonic() if since is None else since
        extra = []
        while True:
            try:
                got = self.next_frame(since + within)
            except Closed:
                break
            if got is None:
                raise Failure(f"not closed {within:g} s later; got {(self.pending + extra)[:5]}")
            if got.command not in allow:
                extra.append(got)
        took = time.monotonic() - since
        extra = [got for got in self.pending if got.command not in allow] + extra
        require(not extra, f"closed, but sent before: {extra[:5]}")
        require(took >= at_least, f"closed after {took:.2f} s, not before {at_least:g} s were due")
        return took

    def read_raw(self, count, timeout=None):
        """Exactly that many bytes as they come, unchecked."""
        deadline = time.monotonic() + (timeout or self.timeout)
        out = bytearray()
        while len(out) < count:
            wait = max(0.0, deadline - time.monotonic())
            require(readable(self.sock, wait), f"{len(out)} of {count} bytes came")
            data = self.sock.recv(count - len(out))
            require(data, f"closed after {len(out)} of {count} bytes")
            out += data
        return bytes(out)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()

    def abort(self):
        """Closes with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- whole exchanges ----

    def ask_login(self, name, password, client_type=wire.WINDOWS, online_status=wire.ONLINE,
                  version="acceptance"):
        """Sends 0x0103 and returns the checked answer, whatever it says."""
        seq = self.send(wire.LOGIN_REQ, user_name=name, password=password,
                        online_status=online_status, client_type=client_type, client_version=version)
        got = self.expect(wire.LOGIN_RES, 30, seq)
        if got["result_code"] == wire.OK:
            require("user_info" in got.fields, "0x0104 without user_info")
            require_equal(got.fields.get("online_status"), online_status, "online_status of 0x0104")
            require_equal(got.fields.get("result_string"), wire.TEXT_OK, "text of 0x0104")
            require(len(got.fields.get("session_token", "")) <= 128, "session_token over 128 characters")
            self.user_id = got["user_info"]["user_id"]
        else:
            require(not {"user_info", "online_status", "session_token"} & set(got.fields),
                    f"a refused login tells too much: {got!r}")
        return got

    def ack_of(self, seq, timeout=None):
        """The msg_id that 0x0302 names for a send; 0 or less never is one."""
        got = self.expect(wire.MSG_ACK, timeout, seq)
        require(got["msg_id"] > 0, f"acknowledged with id 0: {got!r}")
        require_equal(got["user_id"], self.user_id, "user_id of 0x0302")
        return got["msg_id"]

    def say(self, to, data, kind=wire.TEXT, **fields):
        """Sends, waits for the acknowledgement, returns the id."""
        seq = self.send_text(to, data, kind=kind, **fields)
        got = self.expect(wire.MSG_ACK, seq=seq)
        require_equal((got["user_id"], got["session_id"], got["session_type"]),
                      (self.user_id, to, wire.session_type_of(kind)), "0x0302")
        require(got["msg_id"] > 0, "acknowledged with id 0")
        return got["msg_id"]

    def hear(self, data=None, timeout=None):
        """The next 0x0301 (with that content)."""
        return self.expect(wire.MSG_DATA, timeout,
                           where=None if data is None else lambda got: got["msg_data"] == data)

    def list(self, peer, begin=0, count=100, kind=wire.SINGLE, seq=None, user_id=None):
        """One 0x0309, checked: echoes, order, bound."""
        seq = self.send(wire.LIST_REQ, seq=seq, user_id=self.user_id if user_id is None else user_id,
                        session_type=kind, session_id=peer, msg_id_begin=begin, msg_cnt=count)
        got = self.expect(wire.LIST_RES, 30, seq)
        require_equal((got["user_id"], got["session_type"], got["session_id"], got["msg_id_begin"]),
                      (self.user_id, kind, peer, begin), "echoed fields of 0x030a")
        ids = [entry["msg_id"] for entry in got["msg_list"]]
        require(ids == sorted(set(ids), reverse=True), f"0x030a not newest first: {shorten(ids)}")
        require(len(ids) <= min(count, 100), f"0x030a lists {len(ids)} of {count} asked")
        require(not begin or not ids or ids[0] <= begin, f"0x030a begins at {ids[:1]}, asked {begin}")
        times = [entry["create_time"] for entry in got["msg_list"]]
        require(times == sorted(times, reverse=True), f"create_time falls with the id: {times}")
        return got["msg_list"]

    def pull_all(self, peer):
        """Every message with that peer, oldest first, ids proven to be 1…N."""
        out, begin = [], 0
        while True:
            page = self.list(peer, begin)
            out += page
            if not page or page[-1]["msg_id"] == 1:
                break
            begin = page[-1]["msg_id"] - 1
        out.reverse()
        ids = [entry["msg_id"] for entry in out]
        require_equal(ids, list(range(1, len(ids) + 1)), "ids of the whole history")
        return out

    def ask(self, command, timeout=30, seq=None, **fields):
        """One request with user_id 0 unless given, and its answer, which must name the real user."""
        seq = self.send(command, seq=seq, **({"user_id": 0} | fields))
        got = self.expect(wire.ANSWER_OF[command], timeout, seq)
        require_equal(got["user_id"], self.user_id, f"user_id of 0x{got.command:04x}")
        return got

    def unread_all(self, **fields):
        """0x0307 as {(session type, id): entry}; total_cnt and the counts are proven to agree."""
        got = self.ask(wire.UNREAD_REQ, **fields)
        entries = got["unreadinfo_list"]
        require_equal(got["total_cnt"], sum(entry["unread_cnt"] for entry in entries), "total_cnt")
        require(all(entry["unread_cnt"] > 0 for entry in entries), f"an entry of nothing: {got!r}")
        return self._by_session(entries)

    def unread(self, **fields):
        """0x0307 as {peer: entry}, of one who has nothing unread in a group."""
        return self._of_users(self.unread_all(**fields))

    def unread_counts(self):
        return {peer: entry["unread_cnt"] for peer, entry in self.unread().items()}

    def sessions_all(self, since=0, **fields):
        """0x0201 as {(session type, id): entry} in the order of the answer, proven: newest first, visible."""
        got = self.ask(wire.SESSIONS_REQ, latest_update_time=since, **fields)
        entries = got["contact_session_list"]
        times = [entry["updated_time"] for entry in entries]
        require_equal(times, sorted(times, reverse=True), "0x0202 newest first")
        require(len(entries) <= 100, f"0x0202 lists {len(entries)}")
        require(all(time > since for time in times), f"0x0202 since {since}: {times[-1:]}")
        require({entry["session_status"] for entry in entries} <= {0}, "a removed row is listed")
        return self._by_session(entries)

    def sessions(self, since=0, **fields):
        """0x0201 as {peer: entry}, of one whose groups have nothing to show."""
        return self._of_users(self.sessions_all(since, **fields))

    @staticmethod
    def _by_session(entries):
        out = {(entry["session_type"], entry["session_id"]): entry for entry in entries}
        require_equal(len(out), len(entries), "each conversation once")
        return out

    @staticmethod
    def _of_users(entries):
        require({kind for kind, _id in entries} <= {wire.SINGLE}, "session_type")
        return {peer: entry for (_kind, peer), entry in entries.items()}

    def read(self, peer, msg_id, kind=wire.SINGLE, user_id=0, seq=0):
        """0x0303; the heartbeat proves that it has been looked at here (not that it is stored)."""
        self.send(wire.READ_ACK, seq=seq, user_id=user_id, session_id=peer, msg_id=msg_id,
                  session_type=kind)
        self.heartbeat()

    def remove_session(self, peer, kind=wire.SINGLE, **fields):
        """0x0206; returns the result code."""
        got = self.ask(wire.REMOVE_SESSION_REQ, session_type=kind, session_id=peer, **fields)
        require_equal((got["session_type"], got["session_id"]), (kind, peer), "echo in 0x0207")
        return got["result_code"]

    def latest_id(self, peer, kind=wire.SINGLE, **fields):
        got = self.ask(wire.LATEST_ID_REQ, session_type=kind, session_id=peer, **fields)
        require_equal((got["session_type"], got["session_id"]), (kind, peer), "echo in 0x030c")
        return got["latest_msg_id"]

    def by_id(self, peer, ids, kind=wire.SINGLE, **fields):
        """0x030d; newest first, each once and only what was asked is proven."""
        got = self.ask(wire.BY_ID_REQ, session_type=kind, session_id=peer, msg_id_list=list(ids), **fields)
        require_equal((got["session_type"], got["session_id"]), (kind, peer), "echo in 0x030e")
        found = [entry["msg_id"] for entry in got["msg_list"]]
        require(found == sorted(set(found), reverse=True), f"0x030e not newest first: {shorten(found)}")
        require(set(found) <= set(ids) and len(found) <= 100, f"0x030e lists {shorten(found)}")
        return got["msg_list"]

    def users_info(self, ids, **fields):
        return self.ask(wire.USERS_INFO_REQ, user_id_list=list(ids), **fields)["user_info_list"]

    def statuses(self, ids, **fields):
        """0x020a as [(id, state)] in the order of the answer."""
        got = self.ask(wire.USERS_STATUS_REQ, user_id_list=list(ids), **fields)
        require({one["status"] for one in got["user_stat_list"]} <= {wire.ONLINE, wire.OFFLINE},
                f"a state that no client knows: {got!r}")
        return [(one["user_id"], one["status"]) for one in got["user_stat_list"]]

    def forget(self, *commands):
        """Drops what is waiting of these commands: deliveries that the row is not about."""
        self.heartbeat()
        self.pending = [got for got in self.pending if got.command not in commands]


def log_in(server, user, client_type=wire.WINDOWS, source="127.0.0.1", password=None,
           receive_bytes=None):
    """A connection logged in as the user; "server full" is waited out, as clients do."""
    deadline = time.monotonic() + 30
    while True:
        client = Client(server.address, source, receive_bytes=receive_bytes)
        got = client.ask_login(user.name, password or user.secret, client_type)
        if got["result_code"] == wire.FULL and time.monotonic() < deadline:
            client.close()
            time.sleep(0.3)
            continue
        require_equal(got["result_code"], wire.OK, f"login of {user.name}: {got!r}")
        require_equal(client.user_id, user.id, "user_id of the own profile")
        client.user = user
        return client
