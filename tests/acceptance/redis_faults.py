#!/usr/bin/env python3
"""Redis is emptied, killed, stopped, or comes back with an old content, while messages flow (promise D8).

Nobody notices on the wire: no send is refused, ids go on without a gap. And Redis is again as the original's
servers and pages expect it, by itself: last ids, unread counts, members. Each row has a MariaDB and a Redis of
its own. Run alone, this file runs only these rows.
"""

import sys

if __name__ == "__main__":  # before the rows are defined: run.py imports this file to define them
    import run
    sys.exit(run.main(["--store", "mysql", "--only", "RD*", *sys.argv[1:]]))

import time

import storage
import wire
from client import log_in, require_equal
from registry import Skip, row
from store_faults import Deployment, cycles

import servers

REBUILT_S = 10.0
NUMBERS = {"unread": 1, "group_set": 2, "sync": 3, "token": 4, "group_member": 5}  # the installer's


class Mirrored(Deployment):
    """A deployment with a Redis."""

    def __init__(self, ctx, label):
        if not storage.is_mysql():
            raise Skip("needs --store mysql")
        self.redis = servers.Redis()
        pools = {f"{pool}_{key}": value for pool, number in NUMBERS.items()
                 for key, value in (("host", self.redis.host), ("port", self.redis.port), ("db", number))}
        super().__init__(ctx, label, config={"redis": {"enabled": True} | pools})
        _, figures = self.server.http("GET", "/metrics", token=False)
        if "ringtalk_redis_rebuilds_total" not in figures:
            self.close()
            raise Skip("this ringtalkd keeps nothing in Redis")

    def close(self):
        super().close()
        self.redis.close()

    def pool(self, name):
        return self.redis.resp(NUMBERS[name])

    def differences(self):
        """What Redis says otherwise than the wire and MySQL do; nobody writes meanwhile."""
        out = []
        for writer in self.traffic.writers:
            with log_in(self.server, writer.reader, wire.ANDROID) as client:  # beside his PC
                kind, peer = ((wire.GROUP, writer.group) if writer.group else (wire.SINGLE, writer.author.id))
                entry = client.unread_all().get((kind, peer))
            wanted = {"newest": len(writer.acked), "unread": entry["unread_cnt"] if entry else 0}
            found = self.of_group(writer) if writer.group else self.of_pair(writer)
            if writer.group:
                wanted["members"] = {writer.author.id, writer.reader.id}
            if found != wanted:
                out.append((writer.author.id, peer, found, wanted))
        return out

    def of_pair(self, writer):
        small, big = sorted((writer.author.id, writer.reader.id))
        (relation,), = self.sql(f"SELECT id FROM IMRelationShip WHERE smallId = {small} AND bigId = {big}")
        with self.pool("unread") as redis:
            newest, unread = redis.many([("GET", f"msg_id_{relation}"),
                                         ("HGET", f"unread_{writer.reader.id}", writer.author.id)])
        return {"newest": int(newest or 0), "unread": int(unread or 0)}

    def of_group(self, writer):
        with self.pool("unread") as redis:
            newest, total, copy = redis.many([
                ("GET", f"group_msg_id_{writer.group}"), ("HGET", f"{writer.group}_im_group_msg", "count"),
                ("HGET", f"{writer.reader.id}_{writer.group}_im_user_group", "count")])
        with self.pool("group_member") as redis:
            members = {int(user) for user in redis.do("HKEYS", f"group_member_{writer.group}")}
        return {"newest": int(newest or 0), "unread": int(total or 0) - int(copy or 0), "members": members}

    def rebuilt(self):
        """Redis is right again, within the 10 s. Returns how long it took."""
        self.traffic.pause()
        began = time.monotonic()
        last = self.differences()
        while last and time.monotonic() - began < REBUILT_S * self.ctx.patience:
            time.sleep(0.2)
            last = self.differences()
        require_equal(last, [], f"(author, peer, in Redis, in truth) {REBUILT_S:g} s after Redis came back")
        self.traffic.sending = True
        return time.monotonic() - began

    def unnoticed(self):
        require_equal(self.traffic.refused(), 0, "sends refused because of Redis")


def through(ctx, label, fault):
    """fault(site, turn) breaks Redis and has it there again at the end."""
    with Mirrored(ctx, label) as site:
        took = [site.rebuilt()]
        for turn in range(cycles(ctx)):
            site.traffic.flows()
            fault(site, turn)
            site.traffic.flows()
            took.append(site.rebuilt())
            site.unnoticed()
        return f"right again in {max(took):.1f}s at most; {site.finish()}"


@row("RD1", slow=True)
def flushed(ctx):
    return through(ctx, "RD1", lambda site, turn: site.redis.flushall())


@row("RD2", slow=True)
def killed(ctx):
    def fault(site, turn):
        site.redis.kill9()
        site.traffic.flows()
        site.redis.start()
    return through(ctx, "RD2", fault)


@row("RD3", slow=True)
def old_snapshot(ctx):
    def fault(site, turn):
        old = site.redis.snapshot()
        site.traffic.flows(200)
        site.redis.restore(old)
    return through(ctx, "RD3", fault)


@row("RD4", slow=True)
def away(ctx):
    """It hangs, then it is gone; for longer than a send may take."""
    def fault(site, turn):
        for break_it, mend in ((site.redis.stop, site.redis.cont), (site.redis.kill9, site.redis.start)):
            break_it()
            ends = time.monotonic() + 5
            while time.monotonic() < ends:
                site.traffic.flows(20)
                site.session_lives()
            mend()
    return through(ctx, "RD4", fault)
