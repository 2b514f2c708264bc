"""Rows about what is full: limits.max_connections and the tables behind it."""

import resource
import time

import wire
from client import Client, Closed, log_in, require, require_equal
from registry import row

MAX = 3
TEXT_FULL = "负载过高"


def refused_as_full(server, user, client_type=wire.WINDOWS):
    with Client(server.address) as client:
        got = client.ask_login(user.name, user.secret, client_type)
        require_equal((got["result_code"], got.fields.get("result_string")), (wire.FULL, TEXT_FULL),
                      "0x0104 for the one too many")
        client.expect_closed(5)


def comes_in(server, user, client_type=wire.WINDOWS):
    """A login when a place has just become free: the close of another is noticed soon, not at once."""
    deadline = time.monotonic() + 5
    while True:
        client = Client(server.address)
        got = client.ask_login(user.name, user.secret, client_type)
        if got["result_code"] == wire.OK:
            return client
        require_equal(got["result_code"], wire.FULL, "result_code")
        client.expect_closed(5)
        require(time.monotonic() < deadline, "still full 5 s after somebody left")
        time.sleep(0.05)


@row("C1")
def max_connections(ctx):
    """The one too many is told so at once and closed; replacing one's own session takes no place."""
    with ctx.server({"limits": {"max_connections": MAX}}, label="C1") as server:
        users = server.make_users(MAX + 2)
        late = server.make_user(password="secret")
        inside = [log_in(server, user) for user in users[:MAX]]
        for _ in range(5):
            refused_as_full(server, users[MAX])
            refused_as_full(server, late)
        refused_as_full(server, users[0], wire.IOS)  # a second device is a further session
        fresh = log_in(server, users[0], wire.MAC)   # his own class: the old one goes
        inside[0].expect(wire.KICK_USER)
        inside[0].close()
        inside[0] = fresh
        refused_as_full(server, users[MAX])
        for i, client in enumerate(inside):  # nobody inside noticed
            text = b"still here %d" % i
            msg_id = client.say(users[(i + 1) % MAX].id, text)
            require_equal(inside[(i + 1) % MAX].hear(text)["msg_id"], msg_id, "id delivered")
        inside.pop().close()
        inside.append(comes_in(server, late))
        refused_as_full(server, users[MAX])
        for client in inside:
            client.close()
        again = [comes_in(server, user) for user in users[:MAX]]
        refused_as_full(server, late)
        for client in again:
            client.close()


@row("C2", alone=True)
def full_tables(ctx):
    """More strangers than slots: those who find no place wait in the backlog and are served when there
    is one. Nobody is closed for it, and who is logged in goes on."""
    with ctx.server({"limits": {"max_connections": MAX}}, label="C2") as server:
        slots = server.metric("ringtalk_connection_slots")
        crowd = slots + slots // 4 + 40
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, crowd + 1000), hard), hard))
        a, b = server.make_users(2)
        inside = [log_in(server, user) for user in (a, b)]
        waiting = [Client(server.address) for _ in range(crowd)]
        for client in waiting:
            client.send_heartbeat()
        served = serve_all_there_is_room_for(waiting)
        require(slots // 2 <= len(served) <= slots, f"{len(served)} of {crowd} served by {slots} slots")
        text = b"through the crowd"
        require_equal(inside[0].say(b.id, text), 1, "msg_id")
        inside[1].hear(text)
        total, deadline = len(served), time.monotonic() + 60 * ctx.patience
        while waiting:
            require(served or time.monotonic() < deadline, f"{total} of {crowd} served, then no more")
            for client in served:
                client.close()
            served = serve_all_there_is_room_for(waiting)
            total += len(served)
        for client in served + inside:
            client.close()
    return f"{crowd} strangers, {slots} slots"


def serve_all_there_is_room_for(waiting):
    """Takes out of `waiting` whoever is answered, until nobody has been for half a second."""
    served, last = [], time.monotonic()
    while waiting and time.monotonic() - last < 0.5:
        still = []
        for client in waiting:
            try:
                got = client.next_frame(0)
            except Closed:
                # With less than a tenth free a stranger has ten seconds.
                require(time.monotonic() - client.connected_at > 9, "a stranger was closed, not served")
                got = True
            (still if got is None else served).append(client)
        if len(still) < len(waiting):
            last = time.monotonic()
        waiting[:] = still
        time.sleep(0.01)
    return served
