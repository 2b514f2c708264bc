#!/usr/bin/env python3
"""Shows that bench_fanout_driver notices what it claims to check.

Goal    A benchmark that cannot fail proves nothing: each fault of a server must end the driver with
        exit code 2 and its own words; a faultless server must end it with 0.
Method  A small server on a thread serves a sender and two receivers, correctly but for one fault in
        each run, at the 200th message, towards the second receiver. Usage: fanout_check.py DRIVER
"""

import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading

sys.dont_write_bytecode = True

from driver_check import fields, frame

FAULT_AT = 200
FAULTS = {  # fault -> words that the driver must say (None: no complaint)
    "none": None,
    "drop_ack": "never acknowledged",
    "double_ack": "acked twice",
    "foreign_ack": "ack names another conversation",
    "other_ack_id": "another id than told elsewhere",
    "drop_push": "pushed too early, one is missing",
    "double_push": "pushed twice or late",
    "echo_push": "push to its sender",
    "other_push_id": "another id than told elsewhere",
    "same_push_id": "push id does not rise",
    "damage_push": "foreign or damaged bytes",
    "foreign_push": "push names another conversation",
    "numbered_push": "push with a sequence",
    "cut_body": "push does not parse",
    "bad_length": "frame length",
    "close": "connection lost: closed by the server",
    "kick": "connection lost: kicked",
}
USERS = (7, 300, 301)
GROUP, GROUP_TEXT, GROUP_SESSION = 900, 0x11, 2


class FakeServer:
    """Three connections, one group; `fault` is what it does wrong, once."""

    def __init__(self, fault):
        self.fault = fault
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.peers = []
        self.count = 0  # messages
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        for index in range(len(USERS)):
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
                self.on_message(sequence, data[16:])

    def on_message(self, sequence, body):
        self.count += 1
        fault = self.fault if self.count == FAULT_AT else None
        text = body[body.index(b"u="):]
        ack_id = self.count + (fault == "other_ack_id")
        ack_session = 5 if fault == "foreign_ack" else GROUP
        for receiver in (1, 2):
            self.push(receiver, text, fault if receiver == 2 else None)
        ack = frame(0x0302, sequence, fields(USERS[0], ack_session, ack_id, GROUP_SESSION))
        self.peers[0].sendall(ack * {"drop_ack": 0, "double_ack": 2}.get(fault, 1))

    def push(self, receiver, text, fault):
        push_id = self.count
        if fault == "other_push_id":
            push_id += 1
        elif fault == "same_push_id":
            push_id -= 1
        elif fault == "damage_push":
            text = text[:-1] + bytes([text[-1] ^ 1])
        group = 5 if fault == "foreign_push" else GROUP
        body = fields(USERS[0], group, push_id, 1_700_000_000, GROUP_TEXT, text)
        if fault == "cut_body":
            body = body[:-1]
        data = frame(0x0301, 9 if fault == "numbered_push" else 0, body)
        if fault == "bad_length":
            data = b"\0\0\0\x0f" + data[4:]
        self.peers[receiver].sendall(data * {"drop_push": 0, "double_push": 2}.get(fault, 1))
        if fault == "echo_push":
            self.peers[0].sendall(data)
        if fault == "close":
            self.peers[receiver].shutdown(socket.SHUT_RDWR)
        if fault == "kick":
            self.peers[receiver].sendall(frame(0x0107, 0, fields(USERS[receiver], 1)))


def check(driver, tokens, fault, words, window):
    server = FakeServer(fault)
    done = subprocess.run(
        [driver, "--connect", f"127.0.0.1:{server.port}", "--tokens", tokens, "--receivers", "2",
         "--group", str(GROUP), "--window", str(window), "--answer", "--seconds", "0.4", "--warmup", "0",
         "--drain", "0.5", "--server-pid", str(os.getpid())],
        capture_output=True, text=True, timeout=60, check=False)
    server.listener.close()
    wanted = 2 if words else 0
    good = done.returncode == wanted and (not words or words in done.stderr)
    reached = server.count >= FAULT_AT  # else the fault never happened
    print(f"{'ok' if good and reached else 'FAILED':7}{fault}, window {window}: exit {done.returncode}, "
          f"{server.count} messages, {done.stderr.strip().splitlines()[:1]}")
    return good and reached


def main():
    driver = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        tokens = pathlib.Path(folder) / "tokens"
        tokens.write_text("".join(f"{user} u{user} t{user}\n" for user in USERS))
        failed = [fault for fault, words in FAULTS.items() if not check(driver, tokens, fault, words, 4)]
        # Of a message that nothing follows, only the end of the drain tells.
        for fault, words in {"none": None, "drop_push": "deliveries that never came: 1"}.items():
            if not check(driver, tokens, fault, words, 1):
                failed.append(f"alone {fault}")
    print("failed: " + ", ".join(failed) if failed else "all as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
