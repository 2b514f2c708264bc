"""A proxy in front of a TeamTalk server that spoils exactly one message, to see whether anybody notices.

It knows nothing but the 16-byte header: frames are cut by their length, and the n-th 0x0301 from the
server is dropped, repeated, exchanged with the next one of its connection, or damaged.
"""

import socket
import struct
import threading

HEADER = struct.Struct(">IHHHHHH")
MSG_DATA, MSG_ACK = 0x0301, 0x0302


class LyingProxy:
    """lie(frame, held) returns the frames to send instead; None: not this one."""

    def __init__(self, target, command, lie, nth=20):
        self.target, self.command, self.lie, self.left = target, command, lie, nth
        self.lock = threading.Lock()
        self.door = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = "127.0.0.1:%d" % self.door.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.door.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.forward, args=(client, server), daemon=True).start()
            threading.Thread(target=self.spoil, args=(server, client), daemon=True).start()

    @staticmethod
    def forward(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def spoil(self, source, target):
        held, buffer = [], b""
        try:
            while data := source.recv(65536):
                buffer += data
                out = b""
                while len(buffer) >= HEADER.size:
                    length, _, _, _, command, _, _ = HEADER.unpack_from(buffer)
                    if len(buffer) < length:
                        break
                    frame, buffer = buffer[:length], buffer[length:]
                    out += b"".join(self.chosen(frame, command, held))
                target.sendall(out)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def chosen(self, frame, command, held):
        if command != self.command:
            return [frame]
        if held:
            return [frame, held.pop()]
        with self.lock:
            self.left -= 1
            if self.left != 0:
                return [frame]
        return self.lie(frame, held)

    def close(self):
        self.door.close()


def drop(frame, held):
    return []


def repeat(frame, held):
    return [frame, frame]


def exchange(frame, held):
    held.append(frame)
    return []


def damage(frame, held):
    """One byte in the middle of the text changes its value."""
    at = frame.rindex(b"abcdefgh")
    return [frame[:at] + b"X" + frame[at + 1:]]
