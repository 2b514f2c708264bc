#!/usr/bin/env python3
"""The catalogue of reliability.md 4.1-4.4 over real sockets: what no client should send, and its answer.

Table-driven: a Case is bytes and what they get before and after login. Each is sent whole, behind a
valid frame, and (small ones) split at every byte offset; after each batch a healthy pair of users must
still chat. The batches are rows I2a-I2o of run.py, those about groups, in bad_groups.py, I2p-I2u; run alone,
this file runs only them.

    C  closed at once, nothing said       I  ignored, the connection stays
    P  ignored and counted, the tenth on a connection closes; before login the first
Thread rule: a batch owns its connections; sources rotate, so that limits per address do not interfere.
"""

import sys

if __name__ == "__main__":  # before the rows are defined: run.py imports this file to define them
    import run
    sys.exit(run.main(["--only", "I2*", *sys.argv[1:]]))

import random
import select
import socket
import struct
import threading
import time

import wire
from client import Client, Closed, Failure, fresh_source, log_in, require, require_equal
from registry import row

CLOSE_S = 6.0      # "at once", on a busy machine
BATCH_SHOTS = 48   # connections of a batch open at the same time
TRAILER = wire.frame(wire.HEARTBEAT, seq=0x7A11)
LEADER = wire.frame(wire.HEARTBEAT, seq=0x1EAD)


class Case:
    """before, after: C, I, P, or None where the state does not apply."""

    def __init__(self, name, data, before="C", after="P", split=None):
        self.name, self.data, self.before, self.after = name, bytes(data), before, after
        self.split = len(data) <= 48 if split is None else split


class Shot:
    """One case on one connection: the parts to write, and what must come of it."""

    def __init__(self, name, parts, outcome, echoes=()):
        self.name, self.parts, self.outcome = name, list(parts), outcome
        self.echoes = list(echoes)  # heartbeats among the parts that a surviving connection echoes
        self.sock = None
        self.received = bytearray()
        self.closed = False

    def write(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True

    def read(self):
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.received += data
        self.closed = self.closed or not data

    def frames(self):
        frames = wire.split(bytearray(self.received))
        return [f.raw for f in frames if f.command not in (wire.STATUS_NOTIFY, wire.PC_LOGIN_NOTIFY)]

    def done(self):
        if self.outcome == "C":
            return self.closed
        return self.closed or len(self.frames()) >= len(self.echoes)

    def verify(self):
        got = self.frames()
        if self.outcome == "C":
            require(self.closed, f"{self.name}: not closed within {CLOSE_S:g} s")
            require(got == self.echoes[:len(got)], f"{self.name}: closed, but said {got}")
        else:
            require(not self.closed, f"{self.name}: closed, should have been ignored")
            require_equal([raw.hex() for raw in got], [raw.hex() for raw in self.echoes], self.name)


def shots_of(case, logged_in):
    outcome = case.after if logged_in else case.before
    if outcome is None:
        return []
    outcome = "C" if outcome == "P" and not logged_in else outcome
    tail = [] if outcome == "C" else [TRAILER]
    name = f"{case.name} ({'after' if logged_in else 'before'} login"
    ends = b"".join(tail)
    shots = [Shot(f"{name}, whole)", [case.data + ends], outcome, tail),
             Shot(f"{name}, behind a valid frame)", [LEADER + case.data + ends], outcome,
                  [LEADER] + tail)]
    if case.split:
        shots += [Shot(f"{name}, split at {at})", [case.data[:at], case.data[at:] + ends], outcome, tail)
                  for at in range(1, len(case.data))]
    return shots


class Arena:
    """The server under fire, attackers of it, and two healthy users that must not notice."""

    def __init__(self, server, attackers=BATCH_SHOTS):
        self.server = server
        self.users = server.make_users(attackers)
        one, two = server.make_users(2)
        self.one, self.two = log_in(server, one), log_in(server, two)
        self.fired = 0

    def healthy(self, after, strangers_may_write=False):
        try:
            text = b"healthy %d" % self.fired
            msg_id = self.one.say(self.two.user_id, text)
            require_equal(self.two.hear(text)["msg_id"], msg_id, "id delivered")
            for client in (self.one, self.two):
                if strangers_may_write:
                    client.heartbeat()
                    client.pending = [got for got in client.pending if got.command != wire.MSG_DATA]
                client.expect_nothing(0)
        except (Failure, OSError) as failure:
            raise Failure(f"after {after}: healthy users suffer: {failure}") from failure
        require(self.server.running(), f"after {after}: the server died")

    def connect(self, shot, i, logged_in):
        if logged_in:
            client = log_in(self.server, self.users[i], wire.ANDROID, fresh_source())
        else:
            client = Client(self.server.address, fresh_source())
        shot.sock = client.sock
        shot.received += b"".join(got.raw for got in client.arrived) + client.buffer

    def fire(self, shots, logged_in, what, gap=0.015):
        """All shots in batches: first parts to all, then second parts, so that a split really is one."""
        for start in range(0, len(shots), BATCH_SHOTS):
            batch = shots[start:start + BATCH_SHOTS]
            try:
                for i, shot in enumerate(batch):
                    self.connect(shot, i, logged_in)
                for turn in range(max(len(shot.parts) for shot in batch)):
                    if turn:
                        time.sleep(gap)
                    for shot in batch:
                        if turn < len(shot.parts) and not shot.closed:
                            shot.write(shot.parts[turn])
                self.collect(batch)
                for shot in batch:
                    shot.verify()
                self.fired += len(batch)
            finally:
                for shot in batch:
                    if shot.sock:
                        shot.sock.close()
            self.healthy(f"{what}, {batch[-1].name}")

    @staticmethod
    def collect(batch):
        deadline = time.monotonic() + CLOSE_S
        settle = None
        while time.monotonic() < deadline:
            open_ones = {shot.sock: shot for shot in batch if not shot.closed}
            if all(shot.done() for shot in batch):  # a little longer: nothing more may follow
                settle = settle or time.monotonic() + 0.03
                if time.monotonic() >= settle:
                    return
            if not open_ones:
                return
            for sock in select.select(list(open_ones), [], [], 0.02)[0]:
                open_ones[sock].read()

    def fire_cases(self, cases, what):
        for logged_in in (False, True):
            self.fire([shot for case in cases for shot in shots_of(case, logged_in)], logged_in, what)

    def close(self):
        for client in (self.one, self.two):
            client.close()


def batch(id, slow=False, own_server=False):
    """A row that gets an Arena (on the shared server) and says how many cases it fired."""
    def fight(function, server):
        arena = Arena(server)
        try:
            before = server.turns()
            remark = function(arena)
            arena.healthy(id, own_server)
            long, turns, waited = (now - then for now, then in zip(server.turns(), before))
            # Rows that run at the same time share them: --jobs 1 tells them apart.
            return (f"{remark or f'{arena.fired} cases'}; {long} of {turns} turns above 2 ms, "
                    f"{waited * 1e3:.0f} ms without a processor")
        finally:
            arena.close()

    def add(function):
        def run(ctx):
            if not own_server:
                return fight(function, ctx.shared())
            with ctx.server({"limits": {"sends_per_second": 0}}, label=id) as server:
                return fight(function, server)
        run.__name__ = function.__name__
        row(id, slow=slow)(run)
        return function
    return add


def list_body(**changed):
    return wire.encode(wire.LIST_REQ, **{"user_id": 0, "session_type": 1, "session_id": 300,
                                         "msg_id_begin": 0, "msg_cnt": 0, **changed})


# The messages a client may send whose every strict prefix is unparsable: the last field is required.
NOBODY = 0x7FFFFF77  # a user id that does not exist: what is valid by accident must reach no other row
WHOLE = {
    wire.LIST_REQ: list_body(session_id=NOBODY, msg_id_begin=70000, msg_cnt=10),
    wire.MSG_DATA: wire.encode(wire.MSG_DATA, from_user_id=1, to_session_id=NOBODY, msg_id=0,
                               create_time=0, msg_type=1, msg_data=b"some text"),
    wire.MSG_ACK: wire.encode(wire.MSG_ACK, user_id=1, session_id=NOBODY, msg_id=3, session_type=1),
    wire.READ_ACK: wire.encode(wire.READ_ACK, user_id=1, session_id=NOBODY, msg_id=3, session_type=1),
    wire.UNREAD_REQ: wire.encode(wire.UNREAD_REQ, user_id=300),
    wire.SESSIONS_REQ: wire.encode(wire.SESSIONS_REQ, user_id=300, latest_update_time=70000),
    wire.REMOVE_SESSION_REQ: wire.encode(wire.REMOVE_SESSION_REQ, user_id=300, session_type=1,
                                         session_id=NOBODY),
    wire.ALL_USERS_REQ: wire.encode(wire.ALL_USERS_REQ, user_id=300, latest_update_time=0xFFFFFFFF),
    wire.LATEST_ID_REQ: wire.encode(wire.LATEST_ID_REQ, user_id=300, session_type=1, session_id=NOBODY),
    wire.P2P_COMMAND: wire.encode(wire.P2P_COMMAND, from_user_id=1, to_user_id=NOBODY,
                                  cmd_msg_data="shake"),
    wire.OFFLINE_FILES_REQ: wire.encode(wire.OFFLINE_FILES_REQ, user_id=300),
    wire.HELLO_REQ: wire.encode(wire.HELLO_REQ, user_id=300, ext_version=1, features=300),
    wire.KICK_PC_REQ: wire.encode(wire.KICK_PC_REQ, user_id=300),
    wire.DEVICE_TOKEN_REQ: wire.encode(wire.DEVICE_TOKEN_REQ, user_id=300, device_token="%s%n"),
    wire.PUSH_SHIELD_REQ: wire.encode(wire.PUSH_SHIELD_REQ, user_id=300, shield_status=300),
    wire.QUERY_SHIELD_REQ: wire.encode(wire.QUERY_SHIELD_REQ, user_id=300),
    wire.AVATAR_REQ: wire.encode(wire.AVATAR_REQ, user_id=300, avatar_url="g0/a.png"),
    wire.SIGNATURE_REQ: wire.encode(wire.SIGNATURE_REQ, user_id=300, sign_info="<b>here</b>"),
}
LOGIN_BODY = wire.encode(wire.LOGIN_REQ, user_name="nobody", password="x" * 32, online_status=1,
                         client_type=1)


# ---- 4.1 framing ---------------------------------------------------------------------------------

def header(length, command=wire.HEARTBEAT):
    return wire.frame(command, length=length)


@batch("I2a")
def lengths(arena):
    cases = [Case(f"length {n}", header(n), after="C") for n in range(16)]
    for n in (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 1 << 20, 1 << 24):
        for command in (wire.HEARTBEAT, wire.MSG_DATA, wire.LOGIN_REQ):
            cases.append(Case(f"length {n} cmd 0x{command:04x}", header(n, command), after="C",
                              split=command == wire.MSG_DATA))
    # A header is enough: nothing is waited for, nothing allocated.
    cases += [
        Case("stranger's limit + 1", header(4097, wire.LOGIN_REQ), after=None),
        Case("stranger's 64 KiB", header(65536, wire.LOGIN_REQ), after=None),
        Case("stranger's message limit", header(wire.MESSAGE_FRAME_BYTES_MAX, wire.MSG_DATA), after=None),
        Case("64 KiB + 1", header(65537, 0x0309), after="C"),
        Case("64 KiB + 1, unknown command", header(65537, 0x0999), after="C"),
        Case("message limit + 1", header(wire.MESSAGE_FRAME_BYTES_MAX + 1, wire.MSG_DATA), after="C"),
        Case("64 KiB exactly", wire.frame(0x0999, b"x" * (65536 - 16)), before=None, after="I",
             split=False),
        Case("message limit exactly, text over its own limit",
             wire.frame(wire.MSG_DATA, message_of_size(wire.MESSAGE_FRAME_BYTES_MAX - 16, NOBODY)),
             before=None, after="I", split=False),
        Case("body longer than announced",
             wire.frame(wire.READ_ACK, WHOLE[wire.READ_ACK] + b"\xff" * 16,
                        length=16 + len(WHOLE[wire.READ_ACK])), after="C", split=False),
        Case("body cut by a wrong length, its tail read as a header",
             wire.frame(wire.MSG_DATA, WHOLE[wire.MSG_DATA] + b"\xee" * 16, length=20), after="C",
             split=False),
        Case("empty frame inside a frame", wire.frame(0x0999, b"\0" * 16, length=16),
             after="C", split=False),
    ]
    arena.fire_cases(cases, "lengths")
    # The largest frame a stranger may send is read and judged.
    body = LOGIN_BODY + wire.bytes_field(5, b"v" * (4096 - 16 - len(LOGIN_BODY) - 3))
    require_equal(len(body), 4080, "body of the largest frame")
    with Client(arena.server.address, fresh_source()) as client:
        seq = client.send_body(wire.LOGIN_REQ, body)
        require_equal(client.expect(wire.LOGIN_RES, 30, seq)["result_code"], wire.REFUSED,
                      "login in a 4 KiB frame")
        client.expect_closed(CLOSE_S)


def message_of_size(size, to):
    head = wire.encode(wire.MSG_DATA, from_user_id=1, to_session_id=to, msg_id=0, create_time=0,
                       msg_type=1)
    return head + wire.bytes_field(6, b"x" * (size - len(head) - 4))


@batch("I2b")
def commands(arena):
    cases = [Case(f"unknown command 0x{c:04x}", wire.frame(c, body), after="I", split=c == 0x0999)
             for c in (0x0000, 0x0001, 0x00FF, 0x0100, 0x0110, 0x0199, 0x0216, 0x030F, 0x03FF, 0x040C,
                       0x050D, 0x0602, 0x0700, 0x0900, 0x0999, 0x1FFF, 0x2500, 0x8000, 0xFFFF)
             for body in (b"", b"anything at all")]
    cases += [Case(f"only servers send 0x{c:04x}", wire.frame(c, body), after="I",
                   split=c == wire.LOGIN_RES)
              for c in (0x0102, 0x0104, 0x0106, 0x0107, 0x0109, 0x010B, 0x010D, 0x010F, 0x0202, 0x0203,
                        0x0205, 0x0207, 0x0209, 0x020B, 0x020D, 0x020E, 0x020F, 0x0211, 0x0212, 0x0214,
                        0x0215, 0x0304, 0x0306, 0x0308, 0x030A, 0x030C, 0x030E, 0x0402, 0x0404, 0x0406,
                        0x0408, 0x040A, 0x040B, 0x0507, 0x0508, 0x050A, 0x2002, 0x2003)
              for body in (b"", b"\x08\x00\x10\x00")]
    cases += [Case(f"internal 0x{c:04x}", wire.frame(c), after="C", split=c == 0x070D)
              for c in [*range(0x0702, 0x0735), 0x0735, 0x0780, 0x07FE, 0x07FF, 0x0800, 0x0801, 0x08FF]]
    cases += [Case(f"before login 0x{c:04x}", wire.frame(c, body), after=None, split=c == wire.TIME_REQ)
              for c in dict.fromkeys([0x0105, 0x0108, 0x010A, 0x010C, 0x010E, 0x0201, 0x0204, 0x0206, 0x0208, 0x020A,
                        0x020C, 0x0210, 0x0213, 0x0305, 0x030B, 0x030D, 0x0401, 0x0403, 0x0405, 0x0407,
                        0x0409, 0x0501, 0x0506, 0x0509, 0x0601, 0x2001, *WHOLE])
              for body in (WHOLE.get(c, b"\x08\x01"), b"")]
    arena.fire_cases(cases, "commands")
    every = [Case(f"internal 0x{c:04x}", wire.frame(c), after=None, split=False)
             for c in [*range(0x0735, 0x0800), *range(0x0800, 0x0900)]]
    arena.fire([shots_of(case, False)[0] for case in every], False, "internal commands")


@batch("I2c")
def other_protocols(arena):
    rng = random.Random(4)
    noise = [bytes([rng.randint(1, 255)]) + rng.randbytes(rng.randint(15, 3000)) for _ in range(24)]
    cases = [
        Case("TLS hello", bytes.fromhex("160301020001fc0303") + rng.randbytes(500), after="C", split=False),
        Case("HTTP GET", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", after="C"),
        Case("HTTP POST", b"POST /api/v1/users HTTP/1.1\r\nContent-Length: 9\r\n\r\n{\"a\":1}\r\n",
             after="C", split=False),
        Case("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", after="C"),
        Case("SSH banner", b"SSH-2.0-OpenSSH_9.2p1\r\n", after="C"),
        Case("PROXY header", b"PROXY TCP4 10.0.0.1 10.0.0.2 5000 8000\r\n", after="C"),
        Case("PROXY v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\x7f\0\0\1" * 3, after="C"),
        Case("zeros", b"\0" * 32, after="C"), Case("4 KiB of zeros", b"\0" * 4096, after="C"),
        Case("ones", b"\xff" * 32, after="C"),
        Case("little-endian length", struct.pack("<IHHHHHH", 16, 1, 0, 7, 0x701, 0, 0), after="C"),
    ] + [Case(f"random {i}", data, after="C", split=False) for i, data in enumerate(noise)]
    arena.fire_cases(cases, "other protocols")


@batch("I2d")
def headers_that_do_not_matter(arena):
    server = arena.server
    rng = random.Random(41)
    with log_in(server, arena.users[0]) as client:
        for i in range(60):
            seq = (0xFFFF, 0, 1, 0xFFFE, 5, 5)[i % 6]
            client.expect_answer_to(wire.TIME_REQ, seq)
            client.send_raw(wire.frame(wire.TIME_REQ, seq=seq, version=rng.randrange(1 << 16),
                                       flag=rng.randrange(1 << 16), service=rng.randrange(1 << 16),
                                       reserved=rng.randrange(1 << 16)))
            client.expect(wire.TIME_RES, seq=seq)
        client.expect_nothing(0.1)
        arena.fired += 60
        # A heartbeat is at most 64 bytes in all; longer ones do not parse, the tenth closes.
        for text_bytes in (0, 14, 46):  # two bytes of tag and length: 46 make 64 in all
            raw = wire.frame(wire.HEARTBEAT, wire.bytes_field(1, b"h" * text_bytes), seq=text_bytes)
            client.beats.append(raw)
            client.send_raw(raw)
            client.expect(wire.HEARTBEAT)
        for text_bytes in (47, 48, 1000, 60_000):
            client.send_raw(wire.frame(wire.HEARTBEAT, wire.bytes_field(1, b"h" * text_bytes), seq=9))
        client.expect_nothing(0.2)
        for _ in range(6):
            client.send_raw(wire.frame(wire.HEARTBEAT, wire.bytes_field(1, b"h" * 47), seq=9))
        client.expect_closed(CLOSE_S)
        arena.fired += 13
    with Client(server.address, fresh_source()) as stranger:
        stranger.send_raw(wire.frame(wire.HEARTBEAT, wire.bytes_field(1, b"h" * 60)))
        stranger.expect_closed(CLOSE_S)
    # 0x0101 is allowed before login: answered if the address query is served here, then closed.
    with Client(server.address, fresh_source()) as stranger:
        stranger.send(wire.MSG_SERVER_REQ)
        stranger.expect_closed(CLOSE_S, allow=(wire.MSG_SERVER_RES,))


@batch("I2e")
def strangers_flood(arena):
    """More than 8 frames or 16 KiB before login closes; so does nothing that stays below."""
    server = arena.server
    with Client(server.address, fresh_source()) as stranger:
        for _ in range(8):
            stranger.heartbeat()
        stranger.send_raw(wire.frame(wire.HEARTBEAT))
        stranger.expect_closed(CLOSE_S)
    with Client(server.address, fresh_source()) as stranger:
        raw = wire.frame(wire.HEARTBEAT)
        stranger.beats.extend([raw] * 8)
        try:
            stranger.send_raw(raw * 5000)
        except OSError:
            pass
        stranger.expect_closed(CLOSE_S, allow=(wire.HEARTBEAT,))
    with Client(server.address, fresh_source()) as stranger:  # behind a login that is being checked
        big = wire.encode(wire.LOGIN_REQ, user_name="nobody", password="x" * 32, online_status=1,
                          client_type=1, client_version="v" * 3900)
        stranger.expect_answer_to(wire.LOGIN_REQ, 1)
        try:
            stranger.send_raw(wire.frame(wire.LOGIN_REQ, big, 1) * 40)
        except OSError:
            pass
        stranger.expect_closed(30, allow=(wire.LOGIN_RES,))
    for _ in range(3):  # many at once, from many addresses: none is served more than his share
        crowd = [Client(server.address, fresh_source()) for _ in range(60)]
        for stranger in crowd:
            stranger.beats.extend([wire.frame(wire.HEARTBEAT)] * 8)
            try:
                stranger.send_raw(wire.frame(wire.HEARTBEAT) * 100)
            except OSError:
                pass
        for stranger in crowd:
            stranger.expect_closed(CLOSE_S, allow=(wire.HEARTBEAT,))
            stranger.close()
        arena.healthy("a crowd of strangers")
    return f"{3 + 180} floods"


@batch("I2f", slow=True)
def frames_that_never_end(arena):
    """A partial frame: the login deadline before login, 15 s + 1 s per 4 KiB after it."""
    server = arena.server
    results = {}

    def wait(name, client, at_least, since):
        try:
            results[name] = client.expect_closed(22, at_least, since=since)
        except Failure as failure:
            results[name] = failure

    threads = []
    whole = wire.frame(wire.LIST_REQ, WHOLE[wire.LIST_REQ])
    for i, (name, data) in enumerate((("15 header bytes", whole[:15]), ("16 bytes", whole[:16]),
                                      ("1 byte", whole[:1]), ("all but one", whole[:-1]))):
        client = log_in(server, arena.users[i], wire.IOS, fresh_source())
        since = time.monotonic()
        client.send_raw(data)
        threads.append(threading.Thread(target=wait, args=(f"{name} after login", client, 14.9, since)))
        stranger = Client(server.address, fresh_source())
        stranger.send_raw(wire.frame(wire.LOGIN_REQ, LOGIN_BODY)[:len(data)])
        threads.append(threading.Thread(target=wait, args=(f"{name} before login", stranger, 14.9,
                                                           stranger.connected_at)))
    def drip(name, client, data):
        """One byte a second earns nothing: 1 s more per 4 KiB is no second per byte."""
        since = client.connected_at
        try:
            for at in range(25):
                client.send_raw(data[at:at + 1])
                time.sleep(1)
        except OSError:
            results[name] = time.monotonic() - since
            return
        results[name] = Failure("a drip of one byte per second is still served after 25 s")

    for logged_in in (False, True):
        client = (log_in(server, arena.users[10], wire.IOS, fresh_source()) if logged_in
                  else Client(server.address, fresh_source()))
        client.connected_at = time.monotonic()
        data = wire.frame(wire.LIST_REQ if logged_in else wire.LOGIN_REQ, b"\x0a\x20" + b"x" * 64)
        threads.append(threading.Thread(target=drip, args=(f"drip {logged_in}", client, data)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, result in results.items():
        require(not isinstance(result, Failure), f"{name}: {result}")
    return f"{len(results)} connections, closed after " \
           f"{min(results.values()):.1f}-{max(results.values()):.1f}s"


@batch("I2g")
def sockets_misused(arena):
    server = arena.server
    # Half-close after requests: everything is answered, then closed.
    with Client(server.address, fresh_source()) as client:
        user = arena.users[0]
        client.expect_answer_to(wire.LOGIN_REQ, 1)
        client.expect_answer_to(wire.TIME_REQ, 2)
        client.send_raw(wire.request(wire.LOGIN_REQ, 1, user_name=user.name, password=user.secret,
                                     online_status=1, client_type=1) + wire.request(wire.TIME_REQ, 2))
        client.half_close()
        require_equal(client.expect(wire.LOGIN_RES, 30, 1)["result_code"], wire.OK, "login half-closed")
        client.expect(wire.TIME_RES, seq=2)
        client.expect_closed(CLOSE_S)
    with log_in(server, arena.users[1]) as client:
        client.send_text(arena.one.user_id, b"last words", seq=9)
        client.half_close()
        arena.one.hear(b"last words")
        try:
            client.expect(wire.MSG_ACK, seq=9)
            client.expect_closed(CLOSE_S)
        except OSError as error:
            raise Failure(f"half-closed sender: {error}") from error
    with Client(server.address, fresh_source()) as client:
        client.half_close()
        client.expect_closed(CLOSE_S)
    # RST with requests unread, in the middle of a frame, at once.
    for i in range(40):
        client = (log_in(server, arena.users[2 + i % 8], source=fresh_source()) if i % 2 else
                  Client(server.address, fresh_source()))
        client.send_raw((b"", wire.frame(wire.TIME_REQ), wire.frame(wire.HEARTBEAT) * 7,
                         wire.frame(wire.LIST_REQ, WHOLE[wire.LIST_REQ])[:20])[i // 2 % 4])
        client.abort()
    # An out-of-band byte is no part of the stream.
    for logged_in in (False, True):
        client = (log_in(server, arena.users[3]) if logged_in
                  else Client(server.address, fresh_source()))
        with client:
            client.heartbeat()
            client.sock.send(b"!", socket.MSG_OOB)
            client.heartbeat()
            raw = client.send_heartbeat(seq=1)
            client.sock.send(b"?", socket.MSG_OOB)
            client.expect(wire.HEARTBEAT, where=lambda got: got.raw == raw)
            client.heartbeat()
    arena.fired += 48


@batch("I2h", slow=True)
def ten_thousand_heartbeats(arena):
    """10,000 in one write: echoed in order, at the pace of the request bucket (burst 200, 50/s) or faster."""
    server = arena.server
    with log_in(server, arena.users[0]) as client:
        sent = [wire.frame(wire.HEARTBEAT, seq=i & 0xFFFF) for i in range(10_000)]
        client.beats.extend(sent)
        began = time.monotonic()
        writer = threading.Thread(target=lambda: client.send_raw(b"".join(sent)), daemon=True)
        writer.start()
        got = 0
        while got < 10_000 and time.monotonic() - began < 8:
            frame = client.next_frame(began + 8)
            got += frame is not None
            if got % 1000 == 0:
                arena.healthy(f"{got} heartbeats")
        took = time.monotonic() - began
        writer.join(5)
        require(not writer.is_alive(), "160 KB do not even fit into the socket buffers")
        require(got == 10_000 or got >= 200 + 50 * 6, f"{got} of 10,000 echoed in {took:.1f} s")
    arena.fired += 10_000
    return f"{got} echoed in {took:.1f}s" + ("" if got == 10_000 else ", the rest waits unread (W)")


# ---- 4.2 protobuf and text -----------------------------------------------------------------------

@batch("I2i")
def bodies(arena):
    cases = []
    for command, body in WHOLE.items():
        for at in range(len(body)):
            cases.append(Case(f"0x{command:04x} truncated to {at}", wire.frame(command, body[:at]),
                              before=None, split=False))
    for at in range(len(LOGIN_BODY)):
        cases.append(Case(f"login truncated to {at}", wire.frame(wire.LOGIN_REQ, LOGIN_BODY[:at]),
                          after=None, split=at == len(LOGIN_BODY) - 1))
    good = list_body()
    for name, bad in {
            "varint of 11 bytes": b"\x08" + b"\x80" * 10 + b"\x01" + good[2:],
            "varint without end": good + b"\x08" + b"\xff" * 40,
            "tag 0": good + b"\x00\x00", "tag 0 with bytes": good + b"\x02\x01x",
            "wire type 6": good + b"\x3e\x00", "wire type 7": good + b"\x3f\x00",
            "wire type of a known field": b"\x0a\x01\x00" + good[2:],
            "end group without start": good + b"\x3c", "start group without end": good + b"\x3b",
            "groups nested 60,000 deep": good + b"\x3b" * 60_000,
            "groups nested and closed 30,000 deep": good + b"\x3b" * 30_000 + b"\x3c" * 30_000,
            "length beyond the body": good + b"\x3a\x7f", "length 2^31": good + b"\x3a\x80\x80\x80\x80\x08",
            "length 2^32-1": good + b"\x3a\xff\xff\xff\xff\x0f",
            "length 2^64-1": good + b"\x3a" + b"\xff" * 9 + b"\x01",
            "fixed64 cut": good + b"\x39\x00\x00", "fixed32 cut": good + b"\x3d\x00",
            "enum 0x55": list_body(session_type=0x55), "enum 0": list_body(session_type=0),
            "enum -1": list_body(session_type=-1), "enum over 32 bits": list_body(session_type=1 << 33 | 5),
            "nothing but unknown fields": b"\x3a\x01x" * 10, "empty": b"",
            "missing user_id": good[2:],
    }.items():
        cases.append(Case(f"0x0309 {name}", wire.frame(wire.LIST_REQ, bad), split=False))
    for name, bad in {
            "type 0x55": dict(msg_type=0x55), "type 0": dict(msg_type=0), "type -1": dict(msg_type=-1),
    }.items():
        fields = dict(from_user_id=0, to_session_id=NOBODY, msg_id=0, create_time=0, msg_type=1,
                      msg_data=b"x")
        cases.append(Case(f"0x0301 {name}", wire.request(wire.MSG_DATA, 3, **{**fields, **bad}),
                          split=False))
    for name, bad in {
            "online_status 0": dict(online_status=0), "online_status 4": dict(online_status=4),
            "client_type 0": dict(client_type=0), "client_type 3": dict(client_type=3),
            "client_type 0x55": dict(client_type=0x55), "client_type -1": dict(client_type=-1),
    }.items():
        fields = dict(user_name="nobody", password="x" * 32, online_status=1, client_type=1)
        cases.append(Case(f"login {name}", wire.request(wire.LOGIN_REQ, 1, **{**fields, **bad}),
                          after=None))
    arena.fire_cases(cases, "bodies")
    check_tenth_closes(arena)
    check_odd_but_valid(arena)
    check_swarms(arena)


def check_tenth_closes(arena):
    """Nine of any kind are ignored, in any mixture with what is merely unknown; the tenth closes."""
    with log_in(arena.server, arena.users[0], wire.ANDROID) as client:
        for i in range(9):
            command = list(WHOLE)[i % len(WHOLE)]
            client.send_body(command, WHOLE[command][:-1])
            client.send_body(0x0999, b"\xff")
            client.send_body(0x0304, b"\xff")
        client.expect_nothing(0.1)
        client.send_body(wire.LIST_REQ, b"\xff")
        client.expect_closed(CLOSE_S)
    arena.fired += 10


def check_odd_but_valid(arena):
    """What proto2 allows is answered: repeats of a field, unknown fields, other orders, ten-byte numbers."""
    one, server = arena.one, arena.server
    with log_in(server, arena.users[1]) as client:
        ids = [client.say(one.user_id, b"odd %d" % n) for n in range(3)]
        for n in range(3):
            one.hear(b"odd %d" % n)
        base = dict(user_id=7, session_type=1, session_id=one.user_id, msg_id_begin=0, msg_cnt=100)
        fields = [wire.number_field(tag, value) for tag, value in enumerate(base.values(), 1)]
        good = b"".join(fields)
        for name, body in {
                "fields in reverse": b"".join(reversed(fields)),
                "given twice, the last wins": wire.encode(wire.LIST_REQ, **{**base, "session_id": 1}) + good,
                "unknown fields": good + wire.bytes_field(500, b"u" * 60_000),
                "unknown fields in front": wire.number_field(99, 1) + b"\x3d1234\x3912345678" + good,
                "a balanced unknown group": good + b"\x3b\x08\x01\x3c",
                "attach_data": good + wire.bytes_field(20, b"\0\0\0\1" * 6),
                "long varints": b"\x88\x00\x07" + good[2:],
                "msg_cnt -1 in ten bytes": good + wire.number_field(5, -1),
                "user_id over 32 bits": good + wire.number_field(1, 1 << 40 | 3),
        }.items():
            seq = client.send_body(wire.LIST_REQ, body)
            try:
                got = client.expect(wire.LIST_RES, seq=seq)
            except Failure as failure:
                raise Failure(f"{name}: {failure}") from failure
            require_equal((got["user_id"], got["session_id"]), (client.user_id, one.user_id), name)
            require_equal([m["msg_id"] for m in got["msg_list"]], ids[::-1], name)
            arena.fired += 1
        # The receiver's strict decoder refuses any tag but the six of the specification.
        for text, extra in ((b"odd 3", wire.bytes_field(20, b"attach" * 9)),
                            (b"odd 4", wire.bytes_field(200, b"u" * 30_000)),
                            (b"odd 5", b"\x3b\x08\x01\x3c"), (b"odd 6", wire.number_field(7, 1))):
            body = wire.encode(wire.MSG_DATA, from_user_id=0, to_session_id=one.user_id, msg_id=0,
                               create_time=0, msg_type=1, msg_data=text)
            seq = client.send_body(wire.MSG_DATA, body + extra)
            msg_id = client.ack_of(seq)
            require_equal(one.hear(text)["msg_id"], msg_id, f"id of {text!r}")
            arena.fired += 1
        client.expect_nothing(0.1)


def check_swarms(arena):
    """10^5 tiny fields or sub-messages in one frame: refused or skipped, never relayed, nobody waits."""
    one, server = arena.one, arena.server
    with log_in(server, arena.users[2]) as client:
        body = wire.encode(wire.MSG_DATA, from_user_id=0, to_session_id=one.user_id, msg_id=0,
                           create_time=0, msg_type=1, msg_data=b"swarm")
        for name, swarm in {"unknown sub-messages": b"\x3a\x00" * 100_000,
                            "unknown numbers": b"\x38\x00" * 100_000,
                            "user ids": b"\x08\x01" * 100_000,
                            "empty contents": b"\x32\x00" * 100_000}.items():
            before = client.next_seq()
            client.expect_answer_to(wire.MSG_DATA, before)
            began = time.monotonic()
            client.send_raw(wire.frame(wire.MSG_DATA, swarm + body, before))
            one.heartbeat()
            require(time.monotonic() - began < 3, f"10^5 {name}: others waited")
            client.heartbeat()
            try:
                client.expect(wire.MSG_ACK, 0.7, before)
                one.hear(b"swarm")
            except Closed:
                raise
            except Failure:
                pass  # refused: nothing may have been delivered, as the check of the healthy pair shows
            arena.healthy(f"10^5 {name}")
            arena.fired += 1
        for command in (0x0308, 0x030A, 0x0202, 0x0209):  # answers: a client has nothing to tell here
            client.send_body(command, b"\x1a\x00" * 32_000)
        client.send_body(wire.LIST_REQ, b"\x3a\x00" * 32_000)
        client.expect_nothing(0.1)


@batch("I2k", own_server=True)
def mutations(arena):
    """Valid frames with bits flipped, bytes cut, doubled or swapped: whatever they mean, nobody else notices."""
    rng = random.Random(1000 + arena.server.shards)
    frames = [wire.frame(command, body, 5) for command, body in WHOLE.items()]
    frames += [wire.frame(wire.HEARTBEAT), wire.frame(wire.TIME_REQ),
               wire.frame(wire.LOGIN_REQ, LOGIN_BODY)]
    for turn in range(6):
        clients = []
        for i in range(40):
            logged_in = i % 2 == 0
            client = (log_in(arena.server, arena.users[i], wire.ANDROID, fresh_source()) if logged_in
                      else Client(arena.server.address, fresh_source()))
            data = bytearray(b"".join(rng.choices(frames, k=rng.randint(1, 6))))
            for _ in range(rng.randint(1, 5)):
                at = rng.randrange(len(data))
                what = rng.randrange(4)
                if what == 0:
                    data[at] ^= 1 << rng.randrange(8)
                elif what == 1:
                    del data[at:at + rng.randint(1, 9)]
                elif what == 2:
                    data[at:at] = data[at:at + rng.randint(1, 40)]
                else:
                    data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
                if not data:
                    data = bytearray(b"\0")
            cut = rng.randrange(len(data) + 1)
            clients.append((client, bytes(data[cut:])))
            try:
                client.send_raw(bytes(data[:cut]))
            except OSError:
                pass
        time.sleep(0.01)
        for client, rest in clients:
            try:
                client.send_raw(rest)
            except OSError:
                pass
        time.sleep(0.02)
        for i, (client, _) in enumerate(clients):
            (client.abort if i % 3 == 0 else client.close)()
        arena.fired += 40
        arena.healthy(f"mutations, turn {turn}", strangers_may_write=True)


# ---- 4.3 login -----------------------------------------------------------------------------------

@batch("I2j")
def logins(arena):
    server = arena.server
    victim = server.make_user(password="secret")
    secret = victim.secret
    names = ["' or 1=1 -- ", "%", "_", "'", '"', "\\", "a\0b", victim.name + "\0", "n" * 3800, "",
             victim.name + " ", " " + victim.name, victim.name.upper(), victim.name.replace("u", "ｕ"),
             "\r\n", "‮abc", "💬" * 8, "%s%n%x", "../../etc/passwd", "null"]
    passwords = ["", "secret", secret.upper(), secret[:31], secret + "0", "z" * 32, "\0" * 32,
                 "token:", "token:" + "0" * 64, "token:" + "A" * 3000, "token:%s%n", "'" * 32, "p" * 3800]

    def attempt(name, password):
        for _ in range(40):
            with Client(server.address, fresh_source()) as client:
                got = client.ask_login(name, password)
                if got["result_code"] == wire.FULL:
                    time.sleep(0.25)
                    continue
                require_equal((got["result_code"], got.fields.get("result_string")),
                              (wire.REFUSED, wire.TEXT_WRONG), f"login {name[:40]!r} {password[:40]!r}")
                client.expect_closed(CLOSE_S)
                arena.fired += 1
                return
        raise Failure("the server stayed full")

    for name in names:
        attempt(name, secret)
    for password in passwords:
        attempt(victim.name, password)
    # Text that is not UTF-8: no login; refused like any wrong name, or as unparsable.
    for field in (1, 2, 5):
        body = b"".join(wire.bytes_field(tag, b"\xff\xfe\xc0" if tag == field else good) for tag, good in
                        ((1, victim.name.encode()), (2, secret.encode()))) \
            + wire.number_field(3, 1) + wire.number_field(4, 1) \
            + wire.bytes_field(5, b"\xff\xfe" if field == 5 else b"v")
        with Client(server.address, fresh_source()) as client:
            client.send_body(wire.LOGIN_REQ, body, seq=1)
            if field != 5:  # client_version is only for logs: either way is fine as long as it is one of two
                client.expect_closed(CLOSE_S, allow=(wire.LOGIN_RES,))
        arena.fired += 1
    # Flapping: each login kicks its predecessor of the class, and only that.
    user = arena.users[5]
    with log_in(server, user, wire.IOS) as phone:
        previous = None
        for _ in range(30):
            now = log_in(server, user, source=fresh_source())
            if previous:
                require_equal(previous.expect(wire.KICK_USER)["kick_reason"], wire.KICK_DUPLICATE, "kick")
                previous.close()
            previous = now
        previous.expect_nothing(0.1)
        phone.expect_nothing(0)
        previous.close()
    # A flood of wrong passwords from one address locks nobody out elsewhere.
    here = fresh_source()
    for _ in range(14):
        with Client(server.address, here) as client:
            require(client.ask_login(victim.name, "f" * 32)["result_code"] in (wire.REFUSED, wire.FULL),
                    "a wrong password was let in")
    log_in(server, victim, source=fresh_source()).close()
    # Requests behind a login wait for it, and are thrown away when it fails.
    with Client(server.address, fresh_source()) as client:
        client.expect_answer_to(wire.LOGIN_REQ, 1)
        client.expect_answer_to(wire.TIME_REQ, 2)
        client.send_raw(wire.request(wire.LOGIN_REQ, 1, user_name=victim.name, password="0" * 32,
                                     online_status=1, client_type=1) + wire.request(wire.TIME_REQ, 2))
        require(client.expect(wire.LOGIN_RES, 30, 1)["result_code"] != wire.OK, "wrong password")
        client.expect_closed(CLOSE_S)


# ---- 4.4 buddies, messages -----------------------------------------------------------------------

FOREIGN_IDS = (0, NOBODY, 0xFFFFFFFF)


class Victims:
    """Two users with something between them: three messages each way, one read, both lists."""

    def __init__(self, server):
        self.v, self.w = server.make_users(2)
        with log_in(server, self.v, wire.IOS) as one, log_in(server, self.w, wire.IOS) as two:
            for n in range(3):
                one.say(self.w.id, b"secret %d" % n)
                two.say(self.v.id, b"answer %d" % n)
            one.read(self.w.id, 2)
            two.forget(wire.MSG_DATA)
        self.server = server
        self.before = self.state()

    def state(self):
        out = []
        for user, peer in ((self.v, self.w), (self.w, self.v)):
            with log_in(self.server, user, wire.IOS) as client:
                out += [client.unread(), client.sessions(), client.list(peer.id), client.latest_id(peer.id)]
        return out

    def require_untouched(self, after):
        require_equal(self.state(), self.before, f"the victims' state after {after}")


@batch("I2l")
def foreign_ids(arena):
    """Every id field foreign, 0, 2^32-1; every session type: one's own data, or nothing; no trace left."""
    server = arena.server
    victims = Victims(server)
    v, w = victims.v, victims.w
    with (log_in(server, arena.users[0]) as client, log_in(server, v, wire.ANDROID) as online,
          log_in(server, arena.users[0], wire.IOS) as other):
        me = client.user_id
        friend = arena.users[1]
        client.say(friend.id, b"mine")
        other.hear(b"mine")
        own_sessions, own_list = client.sessions(), client.list(friend.id)
        everybody = (v.id, w.id, me, *FOREIGN_IDS)
        for claimed in everybody:
            require_equal(client.unread(user_id=claimed), {}, f"unread as {claimed}")
            require_equal(client.sessions(user_id=claimed), own_sessions, f"sessions as {claimed}")
            require_equal(client.list(friend.id, user_id=claimed), own_list, f"history as {claimed}")
            require_equal(client.latest_id(friend.id, user_id=claimed), 1, f"latest id as {claimed}")
            require_equal(client.by_id(friend.id, [1], user_id=claimed), own_list, f"by id as {claimed}")
            require_equal([u["user_id"] for u in client.users_info([me], user_id=claimed)], [me], "profile")
            require_equal(client.statuses([me], user_id=claimed), [(me, wire.ONLINE)], "state")
            require_equal(client.ask(wire.OFFLINE_FILES_REQ, user_id=claimed)["offline_file_list"], [],
                          "files")
            for kind in (wire.SINGLE, wire.GROUP):
                for peer in everybody:
                    require_equal(client.latest_id(peer, kind, user_id=claimed), 0, f"with {peer}")
                    require_equal(client.by_id(peer, [1, 2, 3], kind, user_id=claimed), [], f"with {peer}")
                    require_equal(client.list(peer, kind=kind, user_id=claimed), [], f"with {peer}")
                    require_equal(client.remove_session(peer, kind, user_id=claimed), 1, f"with {peer}")
                    for msg_id in (0, 1, 6, 0xFFFFFFFF):
                        for command in (wire.READ_ACK, wire.MSG_ACK):
                            client.send(command, seq=0, user_id=claimed, session_id=peer, msg_id=msg_id,
                                        session_type=kind)
                    arena.fired += 12
        for to in FOREIGN_IDS:
            for claimed in everybody:
                client.send(wire.P2P_COMMAND, seq=1, from_user_id=claimed, to_user_id=to, cmd_msg_data="x")
                arena.fired += 1
        client.expect_nothing(0.1)
        for silent in (online, other):
            silent.expect_nothing(0)
        arena.healthy("foreign ids")
    victims.require_untouched("foreign ids")
    # A type that is none makes the body unparsable, whatever else is right.
    bad = []
    for kind in (0, 3, 0x55, -1, 1 << 33 | 5):
        single = {"user_id": 0, "session_type": kind, "session_id": v.id}
        bad += [wire.frame(wire.REMOVE_SESSION_REQ, wire.encode(wire.REMOVE_SESSION_REQ, **single)),
                wire.frame(wire.LATEST_ID_REQ, wire.encode(wire.LATEST_ID_REQ, **single)),
                wire.frame(wire.BY_ID_REQ, wire.encode(wire.BY_ID_REQ, **single, msg_id_list=[1])),
                wire.frame(wire.READ_ACK, wire.encode(wire.READ_ACK, **single, msg_id=1)),
                wire.frame(wire.LIST_REQ, wire.encode(wire.LIST_REQ, **single, msg_id_begin=0, msg_cnt=1))]
    for start in range(0, len(bad), 9):
        with log_in(server, arena.users[2], wire.IOS) as client:
            for raw in bad[start:start + 9]:
                client.send_raw(raw)
            client.expect_nothing(0.05)
            for raw in bad[:10 - len(bad[start:start + 9])]:
                client.send_raw(raw)
            client.expect_closed(CLOSE_S)
        arena.fired += 9
    victims.require_untouched("wrong session types")


def packed(tag, values):
    return wire.bytes_field(tag, b"".join(wire.varint(value) for value in values))


@batch("I2m", slow=True)
def lists_of_ids(arena):
    """10^5 ids, duplicates, packed and unpacked, 0 and 2^32-1: closed by framing, or cut and answered."""
    server = arena.server
    head = {wire.USERS_INFO_REQ: wire.number_field(1, 0), wire.USERS_STATUS_REQ: wire.number_field(1, 0),
            wire.BY_ID_REQ: wire.encode(wire.BY_ID_REQ, user_id=0, session_type=1, session_id=NOBODY)}
    tag = {wire.USERS_INFO_REQ: 2, wire.USERS_STATUS_REQ: 2, wire.BY_ID_REQ: 4}
    for command in head:  # no frame holds 10^5: closed as soon as its header is there
        for ids in (wire.number_field(tag[command], 1) * 100_000, packed(tag[command], [1] * 100_000)):
            with log_in(server, arena.users[0], wire.IOS) as client:
                try:
                    client.send_raw(wire.frame(command, head[command] + ids))
                except OSError:
                    pass
                client.expect_closed(CLOSE_S)
            arena.fired += 1
    arena.healthy("10^5 ids")
    room = wire.FRAME_BYTES_MAX - 16 - 32
    peer = arena.users[9]
    answered = []

    def ask(user, command, wanted, n):
        """The largest frame of that command in the n-th coding, on a connection with a full bucket."""
        me = user.id
        ids = (wire.number_field(tag[command], 1) * (room // 2), packed(tag[command], [1] * (room - 8)),
                packed(tag[command], [me] * ((room - 8) // len(wire.varint(me)))),
                packed(tag[command], [0xFFFFFFFF, me] * (room // 10)),
                packed(tag[command], range(1, 20_000)))[n]
        try:
            with log_in(server, user, wire.IOS, fresh_source()) as client:
                base = head[command]
                if command == wire.BY_ID_REQ:
                    client.say(peer.id, b"one of few")
                    base = wire.encode(wire.BY_ID_REQ, user_id=0, session_type=1, session_id=peer.id)
                began = time.monotonic()
                seq = client.send_body(command, base + ids)
                got = client.expect(wire.ANSWER_OF[command], 30, seq)  # W: by cost, up to 13 s
                wanted(n, got, ids)
                client.heartbeat(30)
                answered.append(time.monotonic() - began)
        except Failure as failure:
            failures.append(f"0x{command:04x}, coding {n}: {failure}")

    def profiles(n, got, _ids):
        found = [user["user_id"] for user in got["user_info_list"]]
        require(len(found) == len(set(found)) <= 1000, f"{len(found)} profiles")
        require_equal(len(found), {0: 1, 1: 1, 2: 1, 3: 1}.get(n, len(found)), "profiles of one id")

    def states(n, got, ids):
        asked = room // 2 if n == 0 else len(unpack(ids))
        require_equal(len(got["user_stat_list"]), asked, "one entry per id asked")

    def messages(n, got, _ids):
        ids = [m["msg_id"] for m in got["msg_list"]]
        require(ids == sorted(set(ids), reverse=True) and len(ids) <= 100, f"messages {ids[:5]}")

    def unpack(field):
        _key, at = wire.read_varint(field, 0)
        _size, at = wire.read_varint(field, at)
        out = []
        while at < len(field):
            value, at = wire.read_varint(field, at)
            out.append(value)
        return out

    failures = []
    kinds = ((wire.USERS_INFO_REQ, profiles), (wire.USERS_STATUS_REQ, states), (wire.BY_ID_REQ, messages))
    threads = [threading.Thread(target=ask, args=(arena.users[10 + 5 * i + n], *kind, n))
               for i, kind in enumerate(kinds) for n in range(5)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        arena.healthy("the largest lists")
        time.sleep(0.2)
    require(not failures, "; ".join(failures))
    arena.fired += len(threads)
    return f"{arena.fired} cases, the largest lists answered within {max(answered):.1f}s"


@batch("I2n")
def bodies_of_lists(arena):
    """Truncations of what ends in a list; fields given twice, unknown ones, other codings: as I2i's."""
    server = arena.server
    me, peer = arena.users[0], arena.users[1]
    with log_in(server, me) as client:
        ids = [client.say(peer.id, b"few %d" % n) for n in range(3)]
        bodies = {
            wire.USERS_INFO_REQ: wire.encode(wire.USERS_INFO_REQ, user_id=300, user_id_list=[me.id, 70000]),
            wire.USERS_STATUS_REQ: wire.encode(wire.USERS_STATUS_REQ, user_id=300,
                                               user_id_list=[me.id, 70000]),
            wire.BY_ID_REQ: wire.encode(wire.BY_ID_REQ, user_id=300, session_type=1, session_id=peer.id,
                                        msg_id_list=[300, 1]),
        }
        for command, body in bodies.items():  # each either parses (and is answered) or is ignored
            for at in range(len(body)):
                with log_in(server, arena.users[2], wire.IOS) as victim:
                    seq = victim.send_body(command, body[:at])
                    victim.heartbeat()
                    require(len(victim.pending) <= 1, f"0x{command:04x} cut to {at}: {victim.pending}")
                    try:
                        wire.decode(command, body[:at], from_client=True)
                        wanted = 1
                    except wire.WireError:
                        wanted = 0
                    require_equal(len(victim.pending), wanted, f"answers to 0x{command:04x} cut to {at}")
                    require(not wanted or victim.pending[0].seq == seq, "its seq")
                arena.fired += 1
        twice = wire.encode(wire.BY_ID_REQ, user_id=1, session_type=2, session_id=1)
        for name, body, wanted in (
                ("packed", wire.encode(wire.BY_ID_REQ, user_id=0, session_type=1, session_id=peer.id)
                 + packed(4, ids), ids[::-1]),
                ("packed and unpacked", wire.number_field(4, ids[0])
                 + wire.encode(wire.BY_ID_REQ, user_id=0, session_type=1, session_id=peer.id)
                 + packed(4, ids[1:]), ids[::-1]),
                ("given twice, the last wins", twice
                 + wire.encode(wire.BY_ID_REQ, user_id=0, session_type=1, session_id=peer.id,
                               msg_id_list=ids), ids[::-1]),
                ("unknown fields and attach_data", wire.bytes_field(500, b"u" * 50_000)
                 + wire.encode(wire.BY_ID_REQ, user_id=0, session_type=1, session_id=peer.id,
                               msg_id_list=ids, attach_data=b"\0" * 40), ids[::-1]),
                ("ids over 32 bits are cut as proto2 cuts them, or skipped",
                 wire.encode(wire.BY_ID_REQ, user_id=0, session_type=1, session_id=peer.id)
                 + wire.number_field(4, 1 << 40), []),
                ("an empty packed list", wire.encode(wire.BY_ID_REQ, user_id=0, session_type=1,
                                                     session_id=peer.id) + packed(4, []), [])):
            seq = client.send_body(wire.BY_ID_REQ, body)
            got = client.expect(wire.BY_ID_RES, seq=seq)
            require_equal((got["session_type"], got["session_id"]), (1, peer.id), name)
            require_equal([m["msg_id"] for m in got["msg_list"]], wanted, name)
            arena.fired += 1
        for name, body in (
                ("a list cut inside an id", bodies[wire.USERS_STATUS_REQ][:-1]),
                ("a packed list cut inside an id", wire.number_field(1, 0) + b"\x12\x02\x01\x80"),
                ("a packed list longer than the body", wire.number_field(1, 0) + b"\x12\x7f\x01"),
                ("ids as fixed32", wire.number_field(1, 0) + b"\x15\x01\0\0\0"),
                ("an id of 11 bytes", wire.number_field(1, 0) + b"\x10" + b"\x80" * 10 + b"\x01")):
            client.send_body(wire.USERS_STATUS_REQ, body)
            # proto2 keeps a known tag of another wire type as an unknown field: then there is an answer.
            client.heartbeat()
            require(len(client.pending) <= (name == "ids as fixed32"), f"{name}: {client.pending}")
            client.pending.clear()
            arena.fired += 1
        # Swarms of what is cheap to send.
        client.send_raw(b"".join(
            wire.request(wire.READ_ACK, 0, user_id=0, session_id=peer.id, msg_id=n % 5, session_type=1)
            for n in range(2000)))
        client.heartbeat(20)
        client.send_raw(b"".join(
            wire.request(wire.MSG_ACK, 0, user_id=0, session_id=n, msg_id=n, session_type=1 + n % 2)
            for n in range(2000)))
        client.heartbeat(20)
        client.expect_nothing(0.1)
        arena.fired += 4000


@batch("I2o")
def read_marks_beyond(arena):
    """0x0303 beyond the newest, below the mark, for nobody: it never hides a message that comes later."""
    server = arena.server
    a, b = arena.users[0], arena.users[1]
    with (log_in(server, a) as author, log_in(server, b) as reader,
          log_in(server, b, wire.ANDROID) as other):
        for peer in (a.id, b.id, *FOREIGN_IDS):  # nothing has been said yet
            for msg_id in (0, 1, 0xFFFFFFFF):
                reader.read(peer, msg_id)
                arena.fired += 1
        other.expect_nothing(0.1)
        for n in range(1, 4):
            require_equal(author.say(b.id, b"mark %d" % n), n, "msg_id")
            reader.hear(b"mark %d" % n)
            other.hear(b"mark %d" % n)
            require_equal(reader.unread_counts(), {a.id: 1}, f"unread after message {n}")
            reader.read(a.id, 0xFFFFFFFF)
            require_equal(other.expect(wire.READ_NOTIFY)["msg_id"], n, "0x0304 names what exists")
            require_equal(reader.unread(), {}, "unread after reading")
            for below in (1, n, 0x7FFFFFFF):
                reader.read(a.id, below)
            other.expect_nothing(0.05)
            arena.fired += 4
        author.expect_nothing(0.05)
