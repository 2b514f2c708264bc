#!/usr/bin/env python3
"""A TCP proxy that misbehaves on demand: between an engine and its MySQL or Redis.

As a module: FaultProxy(("127.0.0.1", 3306)).address is where to connect to; its calls can be made from any
thread and take effect before they return. From a terminal or a script, one command a line:

    fault_proxy.py HOST:PORT [--port PORT] <<< 'delay 50 20 | wait 10 | silence | wait 30 | heal'

Faults   What is asked of the proxy holds for links that exist and for those to come, until heal(); what is
         done to links (cut, half_open) is done once.
Order    Bytes are late, cut or missing from a point on, never changed or out of order: it is TCP.
MySQL    Client packets are followed through the plain protocol, so that a link can be cut at a COMMIT.
         After a switch to TLS nothing is recognized.
"""

import argparse
import asyncio
import contextlib
import random
import socket
import struct
import sys
import threading

CHUNK_BYTES = 64 << 10
WAITING_CHUNKS = 64  # on their way in one direction; then reading stops, as TCP does
UP, DOWN = "up", "down"  # to the server, to the client
CLIENT_SSL = 0x0800
COM_QUERY = 3


class Statements:
    """Finds the texts of COM_QUERY in what a client sends. feed() gives (begin, end, text) of every packet
    that ends in these bytes; begin may be negative: it was in earlier ones."""

    KEPT_BYTES = 64

    def __init__(self):
        self.head, self.payload, self.left, self.at = b"", b"", 0, 0
        self.begun, self.greeted, self.opaque = 0, False, False

    def feed(self, data):
        out, place = [], 0
        while place < len(data) and not self.opaque:
            if len(self.head) < 4:
                if not self.head:
                    self.begun = self.at + place
                took = data[place:place + 4 - len(self.head)]
                self.head, place = self.head + took, place + len(took)
                if len(self.head) < 4:
                    break
                self.left, self.payload = int.from_bytes(self.head[:3], "little"), b""
            took = min(self.left, len(data) - place)
            self.payload += data[place:place + min(took, self.KEPT_BYTES - len(self.payload))]
            self.left, place = self.left - took, place + took
            if self.left == 0:
                text = self.packet()
                if text is not None:
                    out.append((self.begun - self.at, place, text))
                self.head = b""
        self.at += len(data)
        return out

    def packet(self):
        """The text if that was a statement."""
        sequence = self.head[3]
        if not self.greeted:  # the first packet of a client answers the greeting
            self.greeted = True
            flags = int.from_bytes(self.payload[:4], "little")
            self.opaque = bool(flags & CLIENT_SSL)
            return None
        if sequence == 0 and self.payload[:1] == bytes([COM_QUERY]):
            return self.payload[1:].decode("utf-8", "replace").strip().rstrip(";").upper()
        return None


class Packets:
    """Counts whole packets of a server."""

    def __init__(self):
        self.head, self.left, self.count = b"", 0, 0

    def feed(self, data):
        place = 0
        while place < len(data):
            if len(self.head) < 4:
                took = data[place:place + 4 - len(self.head)]
                self.head, place = self.head + took, place + len(took)
                if len(self.head) < 4:
                    return
                self.left = int.from_bytes(self.head[:3], "little")
            took = min(self.left, len(data) - place)
            self.left, place = self.left - took, place + took
            if self.left == 0:
                self.head, self.count = b"", self.count + 1


class Rules:
    """What heal() takes back."""

    def __init__(self):
        self.silent = False
        self.delay_s = self.jitter_s = 0.0
        self.bytes_per_s = 0    # 0: unlimited
        self.segment_bytes = 0  # 0: as they come
        self.statement = None   # StatementFault


class StatementFault:
    def __init__(self, text, how, nth, every):
        self.text, self.how, self.nth, self.every, self.seen = text.upper(), how, nth, every, 0

    def due(self, text):
        if text != self.text:
            return False
        self.seen += 1
        return self.seen % self.nth == 0 if self.every else self.seen == self.nth


class Cut(Exception):
    """The link has come to its end."""


class Link:
    """One client and the connection made for it. All of it runs in the proxy's loop."""

    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.server = socket.socket()
        self.server.setblocking(False)
        self.task, self.pumps = None, []
        self.left = dict(proxy.left)  # bytes until the cut, by direction
        self.statements = Statements()
        self.answer = None     # Packets: the answer that the client must not see is on its way
        self.muted = False     # nothing reaches the client any more
        self.orphaned = False  # the server's side is closed
        self.reset = self.ending = False

    async def run(self):
        try:
            await self.relay()
        except Cut:
            self.reset = True
        except OSError:
            pass  # one side went: so does the other
        finally:
            self.ending = True
            await self.stop()

    def close(self, _):
        """When nothing runs any more: numbers of closed sockets are used again at once."""
        for side in (self.client, self.server):
            if self.reset and side.fileno() >= 0:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            side.close()
        self.proxy.links.discard(self)

    async def relay(self):
        loop = asyncio.get_running_loop()
        await self.while_silent()  # a black hole answers nothing: there is no connection behind it, either
        await loop.sock_connect(self.server, self.proxy.target)
        for side in (self.client, self.server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for direction, source, sink in ((UP, self.client, self.server), (DOWN, self.server, self.client)):
            queue = asyncio.Queue(WAITING_CHUNKS)
            self.pumps.append(loop.create_task(self.read(source, queue)))
            self.pumps.append(loop.create_task(self.write(direction, queue, sink)))
        try:
            await asyncio.gather(*self.pumps)
        except asyncio.CancelledError:
            if not self.orphaned:
                raise
            await self.stop()
            self.server.close()
            while await loop.sock_recv(self.client, CHUNK_BYTES):
                pass

    async def stop(self):
        for pump in self.pumps:
            pump.cancel()
        await asyncio.gather(*self.pumps, return_exceptions=True)

    async def read(self, source, queue):
        loop = asyncio.get_running_loop()
        while True:
            data = await loop.sock_recv(source, CHUNK_BYTES)
            rules = self.proxy.rules
            await queue.put((loop.time() + rules.delay_s + random.random() * rules.jitter_s, data))
            if not data:
                return

    async def write(self, direction, queue, sink):
        loop = asyncio.get_running_loop()
        while True:
            due, data = await queue.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            await self.while_silent()
            if not data:
                if not (direction == DOWN and self.muted):
                    sink.shutdown(socket.SHUT_WR)
                return
            await (self.up(data, sink) if direction == UP else self.down(data, sink))

    async def while_silent(self):
        while self.proxy.rules.silent:
            await self.proxy.changed()

    async def up(self, data, sink):
        sent = 0
        for begin, end, text in self.statements.feed(data):
            self.proxy.count(text)
            fault = self.proxy.rules.statement
            if fault is None or not fault.due(text):
                continue
            self.proxy.struck += 1
            if fault.how == "before":
                await self.forward(UP, data[sent:max(begin, sent)], sink)
                raise Cut
            self.answer, self.muted = Packets(), fault.how == "mute"
            await self.forward(UP, data[sent:end], sink)
            sent = end
        await self.forward(UP, data[sent:], sink)

    async def down(self, data, sink):
        if self.answer is not None:
            self.answer.feed(data)
            if self.answer.count > 0 and not self.muted:
                raise Cut
            return
        if not self.muted:
            await self.forward(DOWN, data, sink)

    async def forward(self, direction, data, sink):
        loop = asyncio.get_running_loop()
        place = 0
        while place < len(data):
            rules, size = self.proxy.rules, len(data) - place
            if rules.segment_bytes:
                size = min(size, rules.segment_bytes)
            if rules.bytes_per_s:
                size = min(size, max(1, rules.bytes_per_s // 20))
            left = self.left.get(direction) if direction in self.proxy.left else None
            if left is not None:
                size = min(size, left)
                self.left[direction] -= size
            await loop.sock_sendall(sink, data[place:place + size])
            place += size
            if left is not None and left == size:
                del self.proxy.left[direction]
                self.proxy.struck += 1
                raise Cut
            if rules.bytes_per_s:
                await asyncio.sleep(size / rules.bytes_per_s)
            elif rules.segment_bytes:
                await asyncio.sleep(0)
            await self.while_silent()

    async def cut(self, reset=True):
        """Both ends see the connection go: as if it was reset, or in an orderly way."""
        if not self.ending:
            self.reset = reset
            self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def half_open(self):
        """The server sees its client go; the client hears nothing of it."""
        self.muted = self.orphaned = True
        for pump in self.pumps:
            pump.cancel()


class FaultProxy:
    def __init__(self, target, port=0):
        self.target = target
        self.rules = Rules()
        self.left = {}      # direction -> bytes after which the next link to get there is cut
        self.links = set()
        self.accepted = 0   # links made so far
        self.struck = 0     # faults of cut_after() and at_statement() that have happened
        self.counts = {}    # statement -> times it went by
        self.listener, self.accepting = None, None
        self.loop = asyncio.new_event_loop()
        self.wake = asyncio.Event()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = port
        self.do(self.listen)

    @property
    def address(self):
        return "127.0.0.1", self.port

    # ---- calls, from any thread ----

    def heal(self):
        """Takes every fault back. What a silent proxy held goes on; what was muted stays so."""
        def now():
            self.rules = Rules()
            self.left.clear()
            for link in self.links:
                link.left.clear()
            self.listen()
        self.change(now)

    def refuse(self):
        """Nobody listens; links that exist stay."""
        self.do(self.unlisten)

    def silence(self):
        """A black hole: connections are accepted, and nothing goes either way."""
        self.change(lambda: setattr(self.rules, "silent", True))

    def delay(self, delay_s, jitter_s=0.0):
        self.change(lambda: vars(self.rules).update(delay_s=delay_s, jitter_s=jitter_s))

    def throttle(self, bytes_per_s):
        self.change(lambda: setattr(self.rules, "bytes_per_s", bytes_per_s))

    def segments(self, size=1):
        """Bytes arrive in pieces of that size."""
        self.change(lambda: setattr(self.rules, "segment_bytes", size))

    def cut(self, reset=True):
        """Every link that exists. Returns how many."""
        return self.each(lambda link: link.cut(reset))

    def half_open(self):
        """Every link that exists: its client is not told that the server is gone."""
        return self.each(Link.half_open)

    def cut_after(self, size, direction=DOWN):
        """The first link to forward that many bytes from now on is reset exactly there."""
        def now():
            self.left[direction] = size
            for link in self.links:
                link.left[direction] = size
        self.do(now)

    def at_statement(self, text="COMMIT", how="after", nth=1, every=False):
        """The n-th time from now (or every n-th) that a client sends this statement:
        before  the link is cut, the server does not get it
        after   the server gets it and has answered when the link is cut; the client sees no answer
        mute    the server gets it, its answer does not arrive, and the link stays, silent"""
        if how not in ("before", "after", "mute"):
            raise ValueError(how)
        self.change(lambda: setattr(self.rules, "statement", StatementFault(text, how, nth, every)))

    def close(self):
        if self.loop.is_closed():
            return
        self.do(self.unlisten)
        self.cut()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- in the loop ----

    def do(self, function):
        async def call():
            result = function()
            return await result if asyncio.iscoroutine(result) else result
        return asyncio.run_coroutine_threadsafe(call(), self.loop).result()

    def change(self, function):
        def now():
            function()
            self.wake.set()
            self.wake = asyncio.Event()
        self.do(now)

    def each(self, call):
        async def now():
            return len(await asyncio.gather(*map(call, self.links)))
        return self.do(now)

    async def changed(self):
        await self.wake.wait()

    def count(self, text):
        if len(self.counts) < 1000 or text in self.counts:
            self.counts[text] = self.counts.get(text, 0) + 1

    def listen(self):
        if self.listener is not None:
            return
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.accepting = self.loop.create_task(self.accept(self.listener))

    async def unlisten(self):
        if self.listener is not None:
            self.accepting.cancel()
            await asyncio.gather(self.accepting, return_exceptions=True)
            self.listener.close()
            self.listener = None

    async def accept(self, listener):
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listener)
            self.accepted += 1
            link = Link(self, client)
            self.links.add(link)
            link.task = loop.create_task(link.run())
            link.task.add_done_callback(link.close)


# ---- the command ----

def obey(proxy, line):
    """One command of a script: a call of FaultProxy with numbers, words, or wait SECONDS."""
    name, *words = line.split()
    if name == "wait":
        threading.Event().wait(float(words[0]))
        return
    calls = ("heal", "refuse", "silence", "delay", "throttle", "segments", "cut", "half_open", "cut_after",
             "at_statement")
    if name not in calls:
        raise ValueError(f"{name}: not one of {', '.join(calls)}, wait")
    numbers = {"delay": (float, float), "throttle": (int,), "segments": (int,), "cut_after": (int, str),
               "at_statement": (str, str, int, bool)}
    values = [kind(word) for kind, word in zip(numbers.get(name, ()), words)]
    if name == "delay":
        values = [value / 1000 for value in values]  # a script says milliseconds
    getattr(proxy, name)(*values)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("target", help="HOST:PORT behind it")
    parser.add_argument("--port", type=int, default=0, help="where to listen on 127.0.0.1; 0: any")
    args = parser.parse_args(argv)
    host, _, port = args.target.rpartition(":")
    with FaultProxy((host, int(port)), args.port) as proxy, contextlib.suppress(KeyboardInterrupt):
        print(f"{proxy.address[0]}:{proxy.port}", flush=True)
        for line in sys.stdin:
            for command in filter(None, map(str.strip, line.split("|"))):
                try:
                    obey(proxy, command)
                except (ValueError, TypeError, IndexError) as error:
                    print(f"{command}: {error}", file=sys.stderr)
                    return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
