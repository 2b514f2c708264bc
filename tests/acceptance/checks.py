"""What several rows check alike: a time near now, one delivery, one refused login."""

import time

import wire
from client import Client, Failure, fresh_source, require, require_equal

NOW_SLACK_S = 2
UNKNOWN_USER = 0x7FFFFFF0
RESTART_CONFIG = {"limits": {"sends_per_second": 0}, "store": {"segment_bytes": 1 << 20}}


def require_now(stamp, what, slack=NOW_SLACK_S):
    require(abs(stamp - time.time()) <= slack, f"{what}: {stamp} is not within {slack} s of now")


def expect_push(client, author, to, data, msg_id=None, kind=wire.TEXT):
    """The delivery of one message: every field as the specification has it."""
    got = client.hear(data)
    require_equal((got["from_user_id"], got["to_session_id"], got["msg_type"]), (author, to, kind),
                  "author, receiver and type of 0x0301")
    require_now(got["create_time"], "create_time", 5)
    if msg_id is not None:
        require_equal(got["msg_id"], msg_id, "msg_id delivered")
    require(got["msg_id"] > 0, "delivered with msg_id 0")
    return got


def refused_login(server, name, password, text=wire.TEXT_WRONG, source=None, timed=False,
                  slack=NOW_SLACK_S):
    """One login that must end in code 6 and a close. Returns the seconds the answer took."""
    texts = text if isinstance(text, tuple) else (text,)
    for _ in range(40):
        with Client(server.address, source or fresh_source()) as client:
            began = time.monotonic()
            got = client.ask_login(name, password)
            took = time.monotonic() - began
            if got["result_code"] == wire.FULL and not timed:
                time.sleep(0.25)
                continue
            require_equal(got["result_code"], wire.REFUSED, f"result_code for {name!r}")
            require(got.fields.get("result_string") in texts,
                    f"text for {name!r}: {got.fields.get('result_string')!r}, wanted {texts}")
            require_now(got["server_time"], "server_time of a refused login", slack)
            client.expect_closed(5)
            return took
    raise Failure("the server stayed full")
