"""The history of a chaos run: one JSON object per line, in the order in which the recorder saw it.

Every line has `t` (microseconds of the recorder's monotonic clock) and `e`. What a client does is written
before it is sent, what it gets after it is read, so the real moment lies between the two. Conversations are
"3-9" (two user ids, the smaller first) or "g7"; operations and sessions are numbered from 1 without holes.
A message is [id, op, author, hash] (in a push [op, author, hash]): what its body says of itself, and the
CRC-32 of all of the body; op 0: a body that nobody can have written.

    begin     format, seed, deadline   how long the server may take to decide a send
    login     s, u                     session s of user u is in (its answer was read)
    end       s, why                   it is gone, or the client is about to leave: logout, cut, kick, lost
    send      op, s, u, c, h           a further line with the same op is a repetition of it
    ok        op, s, id                acknowledged
    refused   op, s, code              definitely not stored
    unknown   op, s                    the connection ended without an outcome
    push      s, c, id, m              a message came
    list      s, u, c, t0, from, n, m  one page, newest first, asked at t0; final: of the last reading
    mark      s, u, c, id              read up to there; 0: all that there is
    unread    s, u, t0, n              {conversation: count}; cut: the answer was too long for all of them
    create    g, m, t0                 a group and its members
    change    x, g, add, remove        begun; then one of
    changed   x, unchanged x, doubt x  done, refused, nobody knows
    members   g, m, t0                 what the server says while no change is on its way
    fault     kind, crash              something was done to the server, which need not decide until
    up        -                        it serves again
    late      us                       the recorder did nothing for so long, or server and recorder had to
                                       wait for a processor
    quiet     since, echoed            all that was acknowledged until `since` came to everybody, or never
                                       will; echoed: each session has answered a heartbeat since
    healed    -                        no fault from here on
    stored    c, m                     the whole conversation as the closed store has it
    done      -
"""

import json
import time
import zlib

FORMAT = 1


def now_us():
    return time.monotonic_ns() // 1000


def pair_key(one, other):
    return f"{min(one, other)}-{max(one, other)}"


def group_key(group):
    return f"g{group}"


def make_body(author, op, conversation, size=0):
    """author|op|conversation|crc|padding: says whose it is, and whether it is whole."""
    head = f"{author}|{op}|{conversation}"
    padding = b"x" * max(0, size - len(head) - 10)
    return f"{head}|{zlib.crc32(padding, zlib.crc32(head.encode())):08x}|".encode() + padding


def read_body(data, conversation):
    """(op, author, hash) of a body; op 0 if it is not one, or belongs elsewhere."""
    hash = zlib.crc32(data)
    head, _, padding = bytes(data).rpartition(b"|")
    head, _, crc = head.rpartition(b"|")
    parts = head.split(b"|")
    if (len(parts) != 3 or crc != b"%08x" % zlib.crc32(padding, zlib.crc32(head))
            or parts[2] != conversation.encode()):
        return 0, 0, hash
    return int(parts[1]), int(parts[0]), hash


class Recorder:
    """Thread rule: one thread."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "w", encoding="ascii")
        self.events = 0

    def write(self, event, time=None, **fields):
        fields = {"t": now_us() if time is None else time, "e": event} | fields
        self.file.write(json.dumps(fields, separators=(",", ":")) + "\n")
        self.events += 1
        return fields["t"]

    def close(self):
        self.file.close()
