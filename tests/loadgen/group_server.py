"""A TeamTalk server that knows logins and groups and nothing else, in memory; it can lie about one push.

For the generator's group scenarios, whose checks must be right before a server is there to be checked.
Users need no password; user N is named uN.
"""

import asyncio
import struct
import threading

HEADER = struct.Struct(">IHHHHHH")
LOGIN, LOGIN_ANSWER, CREATE, CREATE_ANSWER = 0x0103, 0x0104, 0x0405, 0x0406
CHANGE, CHANGE_ANSWER, MSG_DATA, MSG_ACK, HEARTBEAT = 0x0407, 0x0408, 0x0301, 0x0302, 0x0701


def varint(value):
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(tag, value):
    if isinstance(value, bytes):
        return varint(tag << 3 | 2) + varint(len(value)) + value
    return varint(tag << 3) + varint(value)


def fields_of(body):
    """Tag to the list of its values; numbers and bytes are all there is."""
    found, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte, at = body[at], at + 1
            value, shift = value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    while at < len(body):
        tag = number()
        value = number()
        if tag & 7 == 2:
            value, at = body[at:at + value], at + value
        found.setdefault(tag >> 3, []).append(value)
    return found


def frame(command, sequence, body):
    return HEADER.pack(16 + len(body), 1, 0, command >> 8, command, sequence, 0) + body


class GroupServer:
    """lie: None, "drop", "repeat" or "exchange", done to the 50th push."""

    def __init__(self, lie=None):
        self.lie, self.pushes, self.held = lie, 0, None
        self.online, self.groups, self.newest = {}, {}, {}
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self.run, args=(started,), daemon=True).start()
        started.wait()

    def run(self, started):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def serve(self, reader, writer):
        user = 0
        try:
            while True:
                head = await reader.readexactly(16)
                length, _, _, _, command, sequence, _ = HEADER.unpack(head)
                body = await reader.readexactly(length - 16)
                if command == LOGIN:
                    user = int(fields_of(body)[1][0][1:])
                    self.online[user] = writer
                    writer.write(frame(LOGIN_ANSWER, sequence, field(1, 1) + field(2, 0)))
                elif command == CREATE:
                    group = 900 + len(self.groups)
                    self.groups[group], self.newest[group] = list(fields_of(body).get(5, [])), 0
                    writer.write(frame(CREATE_ANSWER, sequence, field(1, user) + field(2, 0) + field(3, group)
                                       + field(4, b"group")))
                elif command == CHANGE:
                    asked = fields_of(body)
                    self.groups[asked[3][0]] += asked[4]
                    writer.write(frame(CHANGE_ANSWER, sequence, field(1, user) + field(2, 1) + field(3, 0)
                                       + field(4, asked[3][0])))
                elif command == MSG_DATA:
                    self.message(user, writer, sequence, fields_of(body))
                elif command == HEARTBEAT:
                    writer.write(head)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            if self.online.get(user) is writer:
                del self.online[user]

    def message(self, user, writer, sequence, sent):
        group, data = sent[2][0], sent[6][0]
        self.newest[group] += 1
        number = self.newest[group]
        writer.write(frame(MSG_ACK, sequence, field(1, user) + field(2, group) + field(3, number) + field(4, 2)))
        push = frame(MSG_DATA, 0, field(1, user) + field(2, group) + field(3, number) + field(4, 1)
                     + field(5, 0x11) + field(6, data))
        for member in self.groups[group]:
            if member != user and member in self.online:
                self.push(member, push)

    def push(self, member, push):
        writer = self.online[member]
        self.pushes += 1
        if self.held and self.held[0] == member:
            writer.write(push + self.held[1])
            self.held = None
        elif self.pushes == 50 and self.lie == "exchange":
            self.held = (member, push)
        elif self.pushes != 50 or self.lie != "drop":
            writer.write(push * (2 if self.pushes == 50 and self.lie == "repeat" else 1))
