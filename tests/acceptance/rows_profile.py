"""Rows O3 (departments), O5, O6 (signature, avatar), N1 (device token), N6 (silent nights), I2v (bad input to
all of them).

Each function is one row of spec/features.md; its text says what the row demands where the code does
not. Everybody is told of a changed profile: a client sees it of those it has in `watched_profiles`.
"""

import json
import time

import wire
from checks import UNKNOWN_USER
from client import log_in, require, require_equal
from placing import for_each_placing
from registry import row

NOTHING_S = 1.3  # beyond the second for which a value may wait
HTML = "<b>here</b> & 'there' 💬"


@row("O3")
def departments_by_stamp(ctx):
    """Stamp 0: all of them, removed ones with status 1; with the stamp answered: what changed since."""
    server = ctx.shared()

    def api(method, path, body=None, status=200):
        got, text = server.http(method, "/api/v1/departments" + path, body)
        require_equal(got, status, f"{method} departments{path} {text}")
        return json.loads(text)

    def ask(client, stamp):
        found, first = {}, True
        while True:  # this client gets page by page
            got = client.ask(wire.DEPARTMENTS_REQ, user_id=0, latest_update_time=stamp)
            found |= {one["dept_id"]: one for one in got["dept_list"]}
            if not got["dept_list"]:
                require(first or got["latest_update_time"] == stamp, "the stamp of an empty answer")
                return found, stamp
            stamp, first = got["latest_update_time"], False

    top = api("POST", "", {"name": f"O3 {ctx.shards}", "priority": 7}, 201)["id"]
    below = api("POST", "", {"name": "O3 below", "parent": top}, 201)["id"]
    with log_in(server, server.make_user(), wire.IOS) as client:
        found, stamp = ask(client, 0)
        require_equal([found[top][key] for key in ("dept_name", "parent_dept_id", "priority", "dept_status")],
                      [f"O3 {ctx.shards}", 0, 7, 0], "the new department")
        require_equal(found[below]["parent_dept_id"], top, "its parent")
        require(not {top, below} & ask(client, stamp)[0].keys(), "what did not change is listed again")
        api("PATCH", f"/{below}", {"name": "O3 renamed"})
        changed, stamp = ask(client, stamp)
        require_equal(changed[below]["dept_name"], "O3 renamed", "the new name")
        require(top not in changed, "what did not change is listed")
        api("DELETE", f"/{below}")
        gone, stamp = ask(client, stamp)
        require_equal(gone[below]["dept_status"], 1, "a removed department")
        require_equal(ask(client, 0)[0][below]["dept_status"], 1, "a removed one from stamp 0")
    api("DELETE", f"/{top}")


class Kind:
    """One of the two values that everybody is told."""

    def __init__(self, name, request, response, notify, field, profile, longest, bad):
        self.name, self.request, self.response, self.notify = name, request, response, notify
        self.field, self.profile, self.longest, self.bad = field, profile, longest, bad

    def change(self, client, value, seq=None, user_id=0):
        """Changes it and returns the answer's result code."""
        value = value if isinstance(value, bytes) else value.encode()
        got = client.ask(self.request, seq=seq, user_id=user_id, **{self.field: value})
        if self is SIGNATURE:
            require_equal(got.fields.get("sign_info"), value.decode() if got["result_code"] == 0 else None,
                          "text in 0x0214")
        return got["result_code"]

    def expect_told(self, client, user, value, timeout=None):
        got = client.expect(self.notify, timeout)
        require_equal((got["changed_user_id"], got[self.field]), (user.id, value), f"0x{self.notify:04x}")

    def shown(self, client, user):
        """The value in 0x0205."""
        [info] = client.users_info([user.id])
        return info.get(self.profile, "")


SIGNATURE = Kind(
    "signature", wire.SIGNATURE_REQ, wire.SIGNATURE_RES, wire.SIGNATURE_NOTIFY, "sign_info", "sign_info",
    128, [b"x" * 129, b"y" * 60_000, "é".encode() * 64 + b"x", b"\xff", b"\xc0\x80", b"\xed\xa0\x80",
          "💬".encode()[:3], b"a\0b", b"two\nlines", b"\x1b[31m", b"\x7f", b"\xc2\x9b31m"])
AVATAR = Kind(
    "avatar", wire.AVATAR_REQ, wire.AVATAR_RES, wire.AVATAR_NOTIFY, "avatar_url", "avatar_url",
    255, [b"x" * 256, b"y" * 60_000, b"\xff.png", b"a\0.png", b"a\n.png", b"\xc2\x85.png",
          b"javascript:alert(1)", b"JaVaScRiPt:alert(1)", b" javascript:alert(1)", b"data:text/html,x",
          b"file:///etc/passwd", b"ftp://example.org/a.png", b"http:", b"https://", b"\\\\host\\a.png"])


def sync_stamp(client):
    """The stamp behind everything there is; of a client that gets one page at a time."""
    stamp = 0
    while True:
        got = client.ask(wire.ALL_USERS_REQ, latest_update_time=stamp)
        if not got["user_list"]:
            return stamp
        stamp = got["latest_update_time"]


def check_change(server, kind, a, b):
    """One value of A's, seen by his other device, by B and by a phone of B's; then what is refused."""
    value = HTML if kind is SIGNATURE else "g0/000/000/a_100x100.png"
    with (log_in(server, a) as pc, log_in(server, a, wire.ANDROID) as phone, log_in(server, b) as other,
          log_in(server, b, wire.IOS) as silent):
        everybody = (pc, phone, other, silent)
        for client in everybody:
            client.watched_profiles = {a.id, b.id}
        stamp = sync_stamp(silent)

        def told(new):
            if kind is AVATAR:  # the answer goes to the user's other connections too
                got = phone.expect(wire.AVATAR_RES)
                require_equal((got.seq, got["result_code"]), (0, 0), "0x020d on the other device")
            for client in everybody:
                kind.expect_told(client, a, new)

        require_equal(kind.change(pc, value, user_id=b.id), 0, "result")  # B's id is not believed
        told(value)
        got = silent.ask(wire.ALL_USERS_REQ, latest_update_time=stamp)
        require_equal([user["user_id"] for user in got["user_list"] if user["user_id"] in (a.id, b.id)],
                      [a.id], "0x0208 with the old stamp")
        require_equal(got["user_list"][-1].get(kind.profile), value, "in 0x0209")
        require_equal((kind.shown(other, a), kind.shown(other, b)), (value, ""), "in 0x0205")
        for new in ("z" * kind.longest, "https://example.org/a.png?size=100:100", ""):
            time.sleep(1.1)
            require_equal(kind.change(pc, new), 0, f"result of {new!r}")
            told(new)
        require_equal(kind.change(pc, value), 0, "back again")
        told(value)
        stamp = sync_stamp(silent)
        for bad in kind.bad:
            require_equal(kind.change(pc, bad), 1, f"result of {bad[:40]!r}")
        for client in everybody:
            client.expect_nothing(NOTHING_S if client is pc else 0.1)
        require_equal(sync_stamp(silent), stamp, "stamp after what was refused")
        require_equal(kind.shown(other, a), value, "after what was refused")
    return value


def check_once_a_second(server, kind, a, b):
    """100 changes within two seconds: each answered, one 0x0212 (0x0215) a second, the newest value."""
    with log_in(server, a) as client, log_in(server, b, wire.IOS) as other:
        client.watched_profiles = other.watched_profiles = {a.id}
        began = time.monotonic()
        for n in range(100):
            require_equal(kind.change(client, f"n{n}"), 0, f"change {n}")
            time.sleep(0.02)
        seconds = time.monotonic() - began
        time.sleep(NOTHING_S)
        other.heartbeat()
        heard = [got[kind.field] for got in other.pending if got.command == kind.notify]
        numbers = [int(value[1:]) for value in heard]
        require_equal(numbers, sorted(set(numbers)), "values that were told, in order")
        require_equal((numbers[0], numbers[-1]), (0, 99), "the first and the last")
        require(len(numbers) <= seconds + 2, f"{len(numbers)} in {seconds:.1f} s")
        require_equal(kind.shown(other, a), "n99", "the last is stored")
    return f"{len(numbers)} of 100 told in {seconds:.1f} s"


def check_kind(ctx, kind):
    with ctx.server(label=kind.name) as server:
        pairs = []

        def check(a, b):
            pairs.append((a, b, check_change(server, kind, a, b)))
        for_each_placing(server, check)
        remark = check_once_a_second(server, kind, *server.make_users(2))
        server.restart(kill=True)  # what was answered is durable
        for a, b, value in pairs:
            with log_in(server, b, wire.IOS) as client:
                client.watched_profiles = {a.id}
                require_equal(kind.shown(client, a), value, f"{kind.name} after kill -9")
                client.expect_nothing(0)
            with log_in(server, a) as client:
                require_equal(kind.shown(client, a), value, "his own")
    return remark


@row("O5", slow=True)
def signature(ctx):
    return check_kind(ctx, SIGNATURE)


@row("O6", slow=True)
def avatar(ctx):
    return check_kind(ctx, AVATAR)


# ---- notifications -------------------------------------------------------------------------------

def register(client, token, user_id=0):
    got = client.ask(wire.DEVICE_TOKEN_REQ, user_id=user_id, device_token=token)
    require_equal(set(got.fields), {"user_id"}, "fields of 0x0109")


@row("N1")
def device_token(ctx):
    """From a mobile device: 0x0109 with the user's id; from a PC: nothing. One token per user, and it
    belongs to whoever registered it last."""
    with ctx.server(label="N1") as server:
        a, b, c, d = server.make_users(4)
        hex_token = "0123456789abcdef" * 4
        with log_in(server, a, wire.IOS) as phone, log_in(server, a) as pc:
            register(phone, hex_token, user_id=b.id)
            for kind in (wire.WINDOWS, wire.IOS):  # the body's client_type means nothing
                pc.send(wire.DEVICE_TOKEN_REQ, user_id=a.id, device_token="of a PC", client_type=kind)
            pc.expect_nothing()
        with log_in(server, b, wire.ANDROID) as phone:
            register(phone, "first")
            register(phone, "x" * 256)
            register(phone, "%s%n '; DROP TABLE user; --")
        with log_in(server, c, wire.ANDROID) as phone:
            register(phone, "moves")
        with log_in(server, d, wire.IOS) as phone:
            register(phone, "moves")
        server.kill9()
        wanted = {a.id: ("ios", hex_token), b.id: ("android", "%s%n '; DROP TABLE user; --"),
                  d.id: ("ios", "moves")}
        require_equal(server.storage.push_tokens(), wanted, "tokens after kill -9")
        server.start()
        with log_in(server, a) as client:  # logging in does not touch it
            client.heartbeat()
        with log_in(server, d, wire.IOS) as phone:
            register(phone, "")  # takes it back
        del wanted[d.id]
        server.term()
        require_equal(server.storage.push_tokens(), wanted, "tokens after a restart")
        server.start()


def set_shield(client, value, user_id=0):
    got = client.ask(wire.PUSH_SHIELD_REQ, user_id=user_id, shield_status=value)
    return got["result_code"], got.fields.get("shield_status")


def shield(client, user_id=0):
    got = client.ask(wire.QUERY_SHIELD_REQ, user_id=user_id)
    return got["result_code"], got.fields.get("shield_status")


@row("N6")
def night_silence(ctx):
    """0x010c 1: result 0, and 0x010e shows 1, on every device of the user and after a restart."""
    with ctx.server(label="N6") as server:
        def check(a, b):
            with log_in(server, a) as pc, log_in(server, a, wire.IOS) as phone, log_in(server, b) as other:
                require_equal(shield(phone), (0, 0), "at first")
                require_equal(set_shield(phone, 1, user_id=b.id), (0, 1), "switched on")
                require_equal((shield(pc), shield(phone)), ((0, 1), (0, 1)), "on both devices")
                require_equal((shield(other), shield(other, user_id=a.id)), ((0, 0), (0, 0)), "B's")
                for bad in (2, 7, 0x80000000, 0xFFFFFFFF):
                    require_equal(set_shield(pc, bad), (1, None), f"value {bad}")
                    require_equal(shield(pc), (0, 1), f"after value {bad}")
                for client in (pc, phone, other):
                    client.expect_nothing(0.1)
            users.append(a)
        users = []
        for_each_placing(server, check)
        server.restart(kill=True)
        for user in users:
            with log_in(server, user, wire.ANDROID) as client:
                require_equal(shield(client), (0, 1), "after kill -9")
                require_equal(set_shield(client, 0), (0, 0), "switched off")
                require_equal(shield(client), (0, 0), "off")
    return "what a night keeps back belongs to push"


# ---- bad input -----------------------------------------------------------------------------------

@row("I2v")
def profile_bad_input(ctx):
    """reliability.md 4.3 and 4.4: tokens that are none, foreign ids, refusals only to who said hello."""
    with ctx.server(label="I2v") as server:
        a, b = server.make_users(2)
        bad_tokens = [("x" * 257, wire.EXT_LIMIT), ("y" * 65_000, wire.EXT_LIMIT), ("a\0b", wire.EXT_PARAM),
                      ("line\n", wire.EXT_PARAM), ("é", wire.EXT_PARAM), (b"\xff", wire.EXT_PARAM)]
        with log_in(server, a, wire.IOS) as stock, log_in(server, b, wire.ANDROID) as capable:
            capable.ask(wire.HELLO_REQ, ext_version=1, features=0)
            for phone, token in ((stock, "kept"), (capable, "kept too")):
                register(phone, token)
            for token, why in bad_tokens:
                stock.send(wire.DEVICE_TOKEN_REQ, user_id=0, device_token=token)
                seq = capable.send(wire.DEVICE_TOKEN_REQ, user_id=0, device_token=token)
                got = capable.expect(wire.EXT_ERROR, seq=seq)
                require_equal((got["command"], got["result_code"]), (wire.DEVICE_TOKEN_REQ, why),
                              f"0x2003 for {token[:10]!r}")
            for phone in (stock, capable):
                phone.expect_nothing(0.1)
            for claimed in (0, b.id, UNKNOWN_USER, 0xFFFFFFFF):  # whatever is claimed, it is one's own
                register(stock, f"claimed {claimed}", user_id=claimed)
                require_equal(set_shield(stock, 1, user_id=claimed), (0, 1), f"shield as {claimed}")
                require_equal(SIGNATURE.change(stock, f"as {claimed}", user_id=claimed), 0, "signature")
                require_equal(AVATAR.change(stock, f"as/{claimed}", user_id=claimed), 0, "avatar")
            require_equal(shield(capable), (0, 0), "B's shield")
            require_equal((SIGNATURE.shown(stock, b), AVATAR.shown(stock, b)), ("", ""), "B's profile")
            # A field given twice: the last one counts; unknown fields and attach_data do not.
            body = wire.encode(wire.SIGNATURE_REQ, user_id=b.id, sign_info="\0 first")
            seq = stock.send_body(wire.SIGNATURE_REQ, body + wire.bytes_field(500, b"u" * 50_000)
                                  + wire.encode(wire.SIGNATURE_REQ, user_id=0, sign_info="last",
                                                attach_data=b"\0" * 40))
            got = stock.expect(wire.SIGNATURE_RES, seq=seq)
            require_equal((got["user_id"], got["result_code"], got["sign_info"]), (a.id, 0, "last"), "0x0214")
        for command, value in ((wire.DEVICE_TOKEN_REQ, "device_token"), (wire.SIGNATURE_REQ, "sign_info"),
                               (wire.AVATAR_REQ, "avatar_url"), (wire.PUSH_SHIELD_REQ, "shield_status"),
                               (wire.QUERY_SHIELD_REQ, None)):
            lacks_user = wire.encode(command, **({value: 1 if value == "shield_status" else "x"}
                                                 if value else {}))
            with log_in(server, b, wire.ANDROID) as client:
                for broken in (lacks_user, b"", b"\x08", b"\x08\x00\x12\x7fx"):
                    if command == wire.QUERY_SHIELD_REQ and broken.startswith(b"\x08\x00"):
                        continue
                    client.send_body(command, broken)
                client.expect_nothing(0.1)
        server.term()
        require_equal(server.storage.push_tokens(), {a.id: ("ios", f"claimed {0xFFFFFFFF}"),
                                              b.id: ("android", "kept too")}, "tokens in the end")
        server.start()
        with log_in(server, b, wire.IOS) as client:
            require_equal((SIGNATURE.shown(client, a), AVATAR.shown(client, a)),
                          ("last", f"as/{0xFFFFFFFF}"), "A's profile")
            require_equal(shield(client), (0, 0), "B's shield in the end")
    check_storage_that_is_away(ctx)


def check_storage_that_is_away(ctx):
    """The database takes nothing: result 1, and nobody else is told."""
    with ctx.server(label="I2v", own_storage=True) as server:
        a, b = server.make_users(2)
        with log_in(server, a, wire.IOS) as client, log_in(server, b) as other:
            other.watched_profiles = {a.id}
            with server.storage.refusing_writes():
                for kind in (SIGNATURE, AVATAR):
                    require_equal(kind.change(client, "x"), 1, f"{kind.name} while the database is held")
                require_equal(set_shield(client, 1), (1, None), "shield while the database is held")
                client.send(wire.DEVICE_TOKEN_REQ, user_id=0, device_token="x")
                client.heartbeat()
                client.expect_nothing(0)
            other.expect_nothing(NOTHING_S)
            require_equal(SIGNATURE.change(client, "now"), 0, "signature afterwards")
            SIGNATURE.expect_told(other, a, "now")
