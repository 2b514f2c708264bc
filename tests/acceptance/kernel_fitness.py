#!/usr/bin/env python3
"""Kernels other than this one: io_uring missing, forbidden or too old, and one whose rings only rings
can wake.

A seccomp filter (refuse.py) plays the kernel. Run alone, this file runs only these rows.
"""

import sys

if __name__ == "__main__":  # before the rows are defined: run.py imports this file to define them
    import run
    sys.exit(run.main(["--only", "K*", *sys.argv[1:]]))

import os
import statistics
import subprocess
import time

import refuse
from checks import expect_push
from client import Client, log_in, require, require_equal
from registry import Skip, row
from server import md5hex

# Which refusal of io_uring_setup, and what the message must name for the reader to act on.
UNFIT = {
    "ENOSYS": ("Linux 6.1", "seccomp"),             # no io_uring at all, or a container that hides it
    "EPERM": ("kernel.io_uring_disabled", "seccomp"),  # the sysctl, or a container that forbids it
    "EINVAL": ("Linux 6.1",),                        # flags that older kernels do not know
}
EXIT_UNFIT = 3
HOP_S = 0.05  # a wake-up that came by itself; who is not woken notices at the next tick, 0.1 s
ROUNDS = 60


def require_filters():
    probe = subprocess.run([*refuse.wrapper("io_uring_setup=EPERM"), "/bin/true"], capture_output=True,
                           text=True, timeout=30)
    if probe.returncode != 0:
        raise Skip(f"no seccomp filters here: {probe.stderr.strip()[-200:]}")


def contents(folder):
    """What is in the directory: name, size and time of change of every file."""
    out = {}
    for path, _, names in os.walk(folder):
        for name in names:
            info = os.stat(os.path.join(path, name))
            out[os.path.join(path, name)] = (info.st_size, info.st_mtime_ns)
    return out


def ends_unfit(server, error):
    server.wrapper = refuse.wrapper(f"io_uring_setup={error}")
    server.launch()
    require(not server.wait_ready(), f"{error}: ready without io_uring")
    require_equal(server.process.returncode, EXIT_UNFIT, f"{error}: exit code")
    said = server.log_tail(1)
    require(said.startswith("ringtalkd: io_uring: "), f"{error}: last words {said!r}")
    for word in UNFIT[error]:
        require(word in said, f"{error}: {said!r} does not name {word}")
    server.wrapper = []


@row("K1")
def kernel_unfit(ctx):
    """Exit 3 with the reason and the remedy, and the data directory as it was before."""
    require_filters()
    with ctx.server(label="K1", start=False) as server:
        for error in UNFIT:
            ends_unfit(server, error)
            require(not os.path.exists(server.data_dir), f"{error}: made a data directory")
        server.start()
        a, b = server.make_users(2)
        with log_in(server, a) as client:
            require_equal(client.say(b.id, b"kept"), 1, "id of the first message")
        server.term()
        before = contents(server.data_dir)
        for error in UNFIT:
            ends_unfit(server, error)
            require_equal(contents(server.data_dir), before, f"{error}: files of the data directory")
        server.start()
        with log_in(server, b) as client:
            require_equal([m["msg_data"] for m in client.list(a.id)], [b"kept"], "history")


def eventfds(server):
    folder = f"/proc/{server.process.pid}/fd"
    return sum(os.readlink(os.path.join(folder, fd)) == "anon_inode:[eventfd]" for fd in os.listdir(folder))


def processor_s(server):
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@row("K2", alone=True)
def bell_of_older_kernels(ctx):
    """Before 6.13 a thread without a ring cannot ring one: workers wake the shards by an eventfd."""
    require_filters()
    with ctx.server(label="K2", wrapper=refuse.wrapper("io_uring_register:31=EINVAL")) as server:
        require_equal(eventfds(server), ctx.shards, "eventfds, one a shard")
        bells = server.metric("ringtalk_doorbells_total")
        users = server.make_users(8)
        clients = [log_in(server, user) for user in users]
        hops = []
        for i in range(ROUNDS):  # one at a time: whoever is needed sleeps
            sender, receiver = clients[i % 8], (i + 1 + i // 8) % 8
            if users[receiver] is sender.user:
                continue
            time.sleep(0.005)
            began = time.monotonic()
            text = b"round %d" % i
            msg_id = sender.say(users[receiver].id, text)
            expect_push(clients[receiver], sender.user.id, users[receiver].id, text, msg_id)
            hops.append(time.monotonic() - began)
        jobs = []
        for _ in range(ROUNDS // 3):  # SQLite's thread rings the shard that serves HTTP
            time.sleep(0.005)
            began = time.monotonic()
            require_equal(len(server.make_users(1)), 1, "users made")
            jobs.append(time.monotonic() - began)
        typed = server.make_user(password="secret")
        checks = []
        for _ in range(ROUNDS // 6):  # SQLite's thread, then a password thread; the last two hit the memory
            time.sleep(0.005)
            with Client(server.address) as client:
                began = time.monotonic()
                client.ask_login(typed.name, md5hex("wrong"))
                checks.append(time.monotonic() - began)
                client.expect_closed(5)
            log_in(server, typed).close()
        for what, times in (("message", hops), ("user made", jobs)):
            median = statistics.median(times)
            require(median < HOP_S * ctx.patience, f"{what}: median {median * 1000:.0f} ms: nobody is woken")
        if ctx.shards > 1:
            require(server.metric("ringtalk_doorbells_total") > bells, "no shard woke another")
        before = processor_s(server)
        time.sleep(1)
        spent = processor_s(server) - before
        require(spent < 0.2 * ctx.patience, f"idle, and yet {spent:.2f} s of processor time in 1 s")
        for client in clients:
            client.close()
    return (f"message {statistics.median(hops) * 1000:.1f}ms, user {statistics.median(jobs) * 1000:.1f}ms, "
            f"password {statistics.median(checks) * 1000:.0f}ms, idle {spent * 100:.0f}% of a core")
