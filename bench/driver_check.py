#!/usr/bin/env python3
"""Shows that bench_chat_driver notices what it claims to check.

Goal    A benchmark that cannot fail proves nothing: each fault of a server must end the driver with
        exit code 2 and its own words; a faultless server must end it with 0.
Method  A small server on a thread serves two users, correctly but for one fault in each run, at the
        200th message of the first user. Usage: driver_check.py BENCH_CHAT_DRIVER
"""

import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading

FAULT_AT = 200
FAULTS = {  # fault -> words that the driver must say (None: no complaint)
    "none": None,
    "drop_ack": "never acknowledged",
    "double_ack": "acked twice",
    "swap_acks": "ack out of order",
    "foreign_ack": "ack names another conversation",
    "same_ack_id": "ack id does not rise",
    "other_push_id": "ack and push name different ids",
    "drop_push": "pushed too early, one is missing",
    "double_push": "pushed twice or late",
    "swap_pushes": "pushed too early, one is missing",
    "same_push_id": "push id does not rise",
    "damage_push": "foreign or damaged bytes",
    "foreign_push": "push names another conversation",
    "numbered_push": "push with a sequence",
    "cut_body": "push does not parse",
    "bad_length": "frame length",
    "close": "connection lost: closed by the server",
    "kick": "connection lost: kicked",
}
USERS = (7, 300)


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def frame(command, sequence, body):
    return struct.pack(">IHHHHHH", 16 + len(body), 1, 0, command >> 8, command, sequence, 0) + body


def fields(*values):
    """Numbers and byte strings as protobuf fields 1, 2, 3 ..."""
    out = b""
    for tag, value in enumerate(values, 1):
        if isinstance(value, bytes):
            out += varint(tag << 3 | 2) + varint(len(value)) + value
        else:
            out += varint(tag << 3) + varint(value)
    return out


class FakeServer:
    """Two connections, one conversation; `fault` is what it does wrong, once."""

    def __init__(self, fault):
        self.fault = fault
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.peers = []
        self.next_id = 0
        self.count = 0    # messages of user 1
        self.held = None  # a frame that a swap holds back
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        for index in range(2):
            peer, _ = self.listener.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peers.append(peer)
            threading.Thread(target=self.serve, args=(index,), daemon=True).start()

    def serve(self, index):
        pending = b""
        try:
            while data := self.peers[index].recv(65536):
                pending += data
                while len(pending) >= 16 and len(pending) >= (size := int.from_bytes(pending[:4], "big")):
                    self.on_frame(index, pending[:size])
                    pending = pending[size:]
        except OSError:
            return  # the driver left, or the fault closed the connection

    def on_frame(self, index, data):
        command, sequence = struct.unpack(">HH", data[10:14])
        with self.lock:
            if command == 0x0103:
                self.peers[index].sendall(frame(0x0104, sequence, fields(1, 0)))
            elif command == 0x0301:
                self.on_message(index, sequence, data[16:])

    def on_message(self, index, sequence, body):
        text = body[body.index(b"u="):]
        author, reader = USERS[index], USERS[1 - index]
        self.next_id += 1
        ack_id = push_id = self.next_id
        fault = None
        if index == 0:
            self.count += 1
            if self.count == FAULT_AT:
                fault = self.fault
        if fault == "same_ack_id":
            ack_id = 1
        elif fault == "same_push_id":
            push_id = 1
        elif fault == "other_push_id":
            push_id += 1
            self.next_id += 1
        elif fault == "damage_push":
            text = text[:-1] + bytes([text[-1] ^ 1])
        ack_user = 5 if fault == "foreign_ack" else author
        push_from = 5 if fault == "foreign_push" else author
        ack = frame(0x0302, sequence, fields(ack_user, reader, ack_id, 1))
        push_body = fields(push_from, reader, push_id, 1_700_000_000, 1, text)
        if fault == "cut_body":
            push_body = push_body[:-1]
        push = frame(0x0301, 9 if fault == "numbered_push" else 0, push_body)
        if fault == "bad_length":
            push = b"\0\0\0\x0f" + push[4:]
        self.send(index, fault, "ack", ack)
        self.send(1 - index, fault, "push", push)
        if fault == "close":
            self.peers[1 - index].shutdown(socket.SHUT_RDWR)
        if fault == "kick":
            self.peers[1 - index].sendall(frame(0x0107, 0, fields(reader, 1)))

    def send(self, to, fault, kind, data):
        if fault == f"drop_{kind}":
            return
        if fault in (f"swap_{kind}s", f"swap_{kind}es"):
            self.held = (to, kind, data)
            return
        self.peers[to].sendall(data * 2 if fault == f"double_{kind}" else data)
        if self.held and self.held[:2] == (to, kind):
            self.peers[to].sendall(self.held[2])
            self.held = None


def check(driver, tokens, fault, words, load=("--window", "4")):
    server = FakeServer(fault)
    done = subprocess.run(
        [driver, "--connect", f"127.0.0.1:{server.port}", "--tokens", tokens, "--connections", "2",
         *load, "--seconds", "0.3", "--warmup", "0", "--drain", "0.5",
         "--server-pid", str(os.getpid())], capture_output=True, text=True, timeout=60, check=False)
    server.listener.close()
    wanted = 2 if words else 0
    good = done.returncode == wanted and (not words or words in done.stderr)
    reached = server.count >= FAULT_AT  # else the fault never happened
    print(f"{'ok' if good and reached else 'FAILED':7}{fault}: exit {done.returncode}, "
          f"{server.count} messages, {done.stderr.strip().splitlines()[:1]}")
    return good and reached


def main():
    driver = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        tokens = pathlib.Path(folder) / "tokens"
        tokens.write_text("".join(f"{user} u{user} t{user}\n" for user in USERS))
        failed = [fault for fault, words in FAULTS.items()
                  if not check(driver, tokens, fault, words)]
        for fault in ("none", "drop_push"):
            if not check(driver, tokens, fault, FAULTS[fault], ("--rate", "4000", "--burst", "8")):
                failed.append(f"open loop {fault}")
    print("failed: " + ", ".join(failed) if failed else "all as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
